//! What waits to be removed: records of a size that a transaction and a builder can take.

use std::collections::BTreeSet;

use crate::base::{ChannelName, CollectionId, SegmentId, Timestamp};
use crate::coord::catalog::{Catalog, Garbage};
use crate::coord::change::Change;
use crate::model::SegmentManifest;

/// Keys in one record.
const KEYS: usize = 1_000;
/// Records that one decision leaves: what is more becomes orphans, which a sweep finds. Keeps the transaction small.
pub const RECORDS: u32 = 16;

/// Records for `objects` that nobody needs; `channels` come with the first. None for nothing.
///
/// `fresh` is the first of [`RECORDS`] unused numbers.
pub fn leave(channels: Vec<ChannelName>, objects: Vec<String>, fresh: Timestamp) -> Vec<Change> {
    if channels.is_empty() && objects.is_empty() {
        return Vec::new();
    }
    let mut pieces = objects.chunks(KEYS).map(<[String]>::to_vec);
    let first = Garbage { channels, objects: pieces.next().unwrap_or_default(), ..Garbage::default() };
    let rest = pieces.map(|objects| Garbage { objects, ..Garbage::default() });
    numbered(std::iter::once(first).chain(rest), fresh)
}

/// Records for segments and other objects that somebody may still be reading.
///
/// - `fresh`: the first of [`RECORDS`] unused numbers.
/// - `not_before_unix_ms`: nobody who comes after this needs them.
pub fn leave_held(
    collection: CollectionId,
    segments: &[SegmentManifest],
    objects: Vec<String>,
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Vec<Change> {
    let ids: Vec<SegmentId> = segments.iter().map(|segment| segment.id).collect();
    let all: Vec<String> = segments.iter().flat_map(SegmentManifest::objects).chain(objects).collect();
    let record = |objects: &[String]| Garbage {
        objects: objects.to_vec(),
        collection: Some(collection),
        segments: ids.clone(),
        not_before_unix_ms,
        ..Garbage::default()
    };
    numbered(all.chunks(KEYS).map(record), fresh)
}

fn numbered(records: impl Iterator<Item = Garbage>, fresh: Timestamp) -> Vec<Change> {
    let number = |offset: u64| Timestamp(fresh.0 + offset).as_id();
    let records = records.take(RECORDS as usize).zip(0..);
    records.map(|(record, at)| Change::PutGarbage(Garbage { id: number(at), ..record })).collect()
}

/// The objects of a record that a manifest names all the same, which must never be: they stay.
pub fn spared(catalog: &Catalog, garbage: &Garbage) -> Vec<String> {
    let going: BTreeSet<&String> = garbage.objects.iter().collect();
    // Keys name their collection, so the others need not be looked at.
    let collection = |key: &&String| key.split('/').nth(1)?.parse().ok().map(CollectionId);
    let collections: BTreeSet<CollectionId> = going.iter().filter_map(collection).collect();
    let named = collections.into_iter().flat_map(|id| catalog.named_objects_of(id));
    named.filter(|key| going.contains(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_objects_are_split_over_records_of_a_thousand() {
        let objects: Vec<String> = (0..2_500).map(|number| format!("o{number}")).collect();

        let changes = leave(vec![ChannelName::of(CollectionId(1), 0)], objects, Timestamp(10));

        let sizes: Vec<(i64, usize, usize)> = changes
            .iter()
            .map(|change| match change {
                Change::PutGarbage(one) => (one.id, one.objects.len(), one.channels.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes, [(10, 1_000, 1), (11, 1_000, 0), (12, 500, 0)]);
        assert_eq!(leave(Vec::new(), Vec::new(), Timestamp(1)), []);
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let read: Garbage = serde_json::from_str(r#"{"id":4,"channels":[],"objects":["a"]}"#).unwrap();

        assert_eq!(read, Garbage { id: 4, objects: vec!["a".to_owned()], ..Garbage::default() });
    }
}
