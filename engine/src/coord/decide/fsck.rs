//! What is stored against what the catalog names.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{CollectionId, SegmentId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::rpc::{Fsck, Resized, Unread};

/// The prefixes below which every object is named by the catalog or is garbage.
pub const LISTED: [&str; 5] = ["segments/", "deletes/", "manifests/", "garbage/", "imports/"];

/// Compares a listing of the store with the catalog.
///
/// - `before`, `after`: the catalog from before and from after the listing.
/// - `listed`: all objects below [`LISTED`] with their sizes in bytes.
/// - `in_work`: segments that a job under way reads or writes; everything of theirs is spared.
///   What a damaged manifest may name is none, whatever the other ones say.
/// - `until`: only what was begun before this time is an orphan. Names tell: they carry numbers that are times.
pub fn compare(
    before: &Catalog,
    after: &Catalog,
    listed: &BTreeMap<String, u64>,
    in_work: &BTreeSet<SegmentId>,
    until: Timestamp,
) -> Fsck {
    let named_before: BTreeSet<String> = before.named_objects().collect();
    let named_after: BTreeSet<String> = after.named_objects().collect();
    let garbage = [before, after].into_iter().flat_map(|catalog| catalog.garbage.values());
    let leaving: BTreeSet<&String> = garbage.flat_map(|garbage| &garbage.objects).collect();
    // What flushes that take long have written. Their numbers are times too, so all that is younger than the oldest goes on.
    let kept = [before, after].into_iter().flat_map(|catalog| catalog.flushes.values().copied());
    let until = kept.chain([until.as_id()]).min().unwrap_or_default();
    let mut found = Fsck { named: named_after.len() as u64, ..Fsck::default() };
    for key in listed.keys() {
        let is_named = named_before.contains(key) || named_after.contains(key);
        let may_be = before.may_name(key) || after.may_name(key);
        if is_named || may_be || leaving.contains(key) {
            continue;
        }
        let Some(number) = born(key) else {
            found.strange.push(key.clone());
            continue;
        };
        let is_spared = segment_of(key).is_some_and(|(_, segment)| in_work.contains(&segment));
        if !is_spared && number < until {
            found.orphans.push(key.clone());
        }
    }
    let lost = named_before.intersection(&named_after).filter(|key| !listed.contains_key(*key));
    found.missing = lost.cloned().collect();
    for object in after.named_refs() {
        if let Some(&size) = listed.get(&object.key).filter(|size| **size != object.size_bytes) {
            let key = object.key.clone();
            found.resized.push(Resized { key, expected: object.size_bytes, found: size });
        }
    }
    let damage = after.unreadable.values().flatten();
    found.unread = damage.map(|one| Unread { key: one.key.clone(), why: one.to_string() }).collect();
    found.resized.sort_by(|left, right| left.key.cmp(&right.key));
    found
}

/// The segment whose object has this key.
fn segment_of(key: &str) -> Option<(CollectionId, SegmentId)> {
    let mut parts = key.strip_prefix("segments/")?.split('/');
    let (collection, segment) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((CollectionId(collection), SegmentId(segment)))
}

/// The newest number in a key: not later than the object was begun. `None` for a key of a form that is not known.
pub fn born(key: &str) -> Option<i64> {
    if let Some((_, segment)) = segment_of(key) {
        let (_, name) = key.rsplit_once('/')?;
        let serial = name.strip_prefix("index-").and_then(|rest| rest.strip_suffix(".bin")?.rsplit_once('-'));
        return match serial {
            Some((_, serial)) => serial.parse().ok(),
            None => Some(segment.0),
        };
    }
    let (folder, name) = key.rsplit_once('/')?;
    let is_known = matches!(folder, "garbage" | "imports")
        || folder.starts_with("deletes/")
        || folder.starts_with("manifests/");
    if is_known { name.strip_suffix(".bin")?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::coord::catalog::Garbage;
    use crate::coord::change::Change;
    use crate::model::{ChannelManifest, ColumnRef, ObjectRef, SegmentManifest};

    fn object(key: &str) -> ObjectRef {
        ObjectRef { key: key.to_owned(), size_bytes: 1, crc32: 0 }
    }

    fn catalog(segments: &[i64]) -> Catalog {
        let segment = |id: &i64| SegmentManifest {
            id: SegmentId(*id),
            partition: crate::base::PartitionId(1),
            rows: 1,
            oldest: Timestamp(1),
            newest: Timestamp(1),
            clean_through: Timestamp::ZERO,
            clustered_by: None,
            instants: Vec::new(),
            stats: Some(object(&format!("segments/1/{id}/stats.bin"))),
            columns: vec![ColumnRef {
                fields: Vec::new(),
                object: object(&format!("segments/1/{id}/scalars.parquet")),
            }],
            indexes: Vec::new(),
        };
        let manifest = ChannelManifest {
            segments: segments.iter().map(segment).collect(),
            ..ChannelManifest::default()
        };
        let mut catalog = Catalog::default();
        catalog.manifests.insert(CollectionId(1), vec![Arc::new(manifest)]);
        let objects = vec!["segments/1/40/scalars.parquet".to_owned()];
        catalog.apply(Change::PutGarbage(Garbage { id: 9, objects, ..Garbage::default() }));
        catalog
    }

    fn whole(segment: i64) -> [String; 3] {
        ["manifest.json", "scalars.parquet", "stats.bin"].map(|name| format!("segments/1/{segment}/{name}"))
    }

    #[test]
    fn planted_orphans_and_a_planted_loss_are_found() {
        let orphan = [
            "deletes/1/c/70.bin",
            "garbage/71.bin",
            "manifests/1/c/72.bin",
            "segments/1/10/index-3-80.bin",
            "segments/8/60/manifest.json",
        ];
        let young = [
            "deletes/1/c/100.bin",
            "garbage/101.bin",
            "manifests/1/c/102.bin",
            "segments/1/10/index-3-100.bin",
            "segments/8/101/manifest.json",
        ];
        let spared = ["segments/1/55/scalars.parquet", "segments/1/40/scalars.parquet"];
        let strange = ["deletes/1/c/x.tmp", "segments/readme"];
        let mut listed: Vec<String> = [orphan, young]
            .concat()
            .iter()
            .chain(&spared)
            .chain(&strange)
            .map(|key| (*key).to_owned())
            .collect();
        listed.extend(whole(10));
        listed.extend(whole(20));
        let sizes = |key: String| {
            let size = if key == "segments/1/20/stats.bin" { 7 } else { 1 };
            (key, size)
        };
        let listed = listed.into_iter().map(sizes).collect();
        // What is committed or removed while the listing is made is neither lost nor an orphan.
        let (before, after) = (catalog(&[10, 20, 30, 31]), catalog(&[10, 20, 30, 32]));

        let found = compare(&before, &after, &listed, &BTreeSet::from([SegmentId(55)]), Timestamp(100));

        let resized = Resized { key: "segments/1/20/stats.bin".to_owned(), expected: 1, found: 7 };
        let expected = Fsck {
            orphans: orphan.map(str::to_owned).into(),
            missing: whole(30).into(),
            strange: strange.map(str::to_owned).into(),
            resized: vec![resized],
            unread: Vec::new(),
            named: 12,
        };
        assert_eq!(found, expected);
    }
}
