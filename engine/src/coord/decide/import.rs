//! What becomes of imports.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::garbage::leave;
use crate::base::{CollectionId, NAMED_MS, PartitionId, SegmentId, Timestamp};
use crate::coord::catalog::{Catalog, Import};
use crate::coord::change::Change;
use crate::coord::decide::Decision;
use crate::coord::stored::{self, Piece};
use crate::model::{ChannelManifest, SegmentManifest};
use crate::rpc::{
    CollectionInfo, CollectionRef, ImportDone, ImportInfo, ImportPlace, ImportState, ImportTask, NewImport,
    Refusal,
};

/// Most imports that are not over. Source: wire specification 7.
const MAX_OPEN: usize = 1024;
/// Most imports that are over and still shown.
const MAX_OVER: usize = 1024;
/// How long imports that are over are shown. Unit: milliseconds.
const SHOWN_MS: u64 = 3 * 60 * 60 * 1000;
/// Most of them that are forgotten at once.
const FORGOTTEN: usize = 64;
/// Most pieces of one import: all its rows are to be named in one transaction.
const MAX_PIECES: usize = 4096;

/// What is to be done about an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportWork {
    /// A node is to look at files, or to make segments of some of their rows.
    Step {
        /// Which import.
        id: i64,
        /// Which of its sets of files.
        task: usize,
    },
    /// It cannot go on.
    Fail {
        /// Which import.
        id: i64,
        /// Why.
        reason: String,
    },
    /// All rows are there, and somebody has to say whether they are wanted.
    Hold {
        /// Which import.
        id: i64,
    },
    /// All rows are there and wanted.
    Commit {
        /// Which import.
        id: i64,
    },
    /// Its rows are in the collection, and those who read it are to know.
    Publish {
        /// Which import.
        id: i64,
    },
}

/// The import that a call is to begin, if one under the same name has begun it: a client that has not heard of that asks again. One
/// that failed is tried anew.
pub fn begun_import(catalog: &Catalog, new: &NewImport, now_ms: u64) -> Option<i64> {
    let is_it = |import: &&Import| {
        let info = &import.info;
        let files = info.tasks.iter().map(|task| &task.files);
        import.named == new.named
            && info.state != ImportState::Failed
            && info.created_unix_ms.saturating_add(NAMED_MS) > now_ms
            && (info.collection, info.partition, &info.options)
                == (new.collection, new.partition, &new.options)
            && files.eq(&new.files)
    };
    let mut named = catalog.imports.values().rev().filter(|_| !new.named.is_empty());
    named.find(is_it).map(|import| import.info.id)
}

/// Begins an import under the number `id`, and forgets some that were over long ago.
pub fn create_import(catalog: &Catalog, new: &NewImport, id: i64, now_ms: u64) -> Decision {
    let info = catalog.collection(&CollectionRef::Id(new.collection))?;
    let open = catalog.imports.values().filter(|import| !import.info.state.is_over()).count();
    if open >= MAX_OPEN {
        let text = format!(
            "there are {open} import jobs that are not over, and no more may be: commit or abort those that wait, or try again later: importing data failed"
        );
        return Err(Refusal::Import { text });
    }
    let partition_name = match new.partition {
        None if info.schema.partition_key().is_some() => String::new(),
        wanted => {
            let partition = info.partitions.iter().find(|partition| Some(partition.id) == wanted);
            let missing = || Refusal::PartitionNotFound {
                partition: wanted.map(|id| id.to_string()).unwrap_or_default(),
            };
            partition.ok_or_else(missing)?.name.clone()
        }
    };
    let task = |files: &Vec<String>| ImportTask { files: files.clone(), ..ImportTask::default() };
    let begun = ImportInfo {
        id,
        collection: info.id,
        collection_name: info.name.clone(),
        database: info.database_name.clone(),
        partition: new.partition,
        partition_name,
        options: new.options.clone(),
        may_commit: new.options.commits,
        state: ImportState::Pending,
        reason: String::new(),
        tasks: new.files.iter().map(task).collect(),
        created_unix_ms: now_ms,
        ended_unix_ms: 0,
    };
    let over: Vec<&Import> = catalog.imports.values().filter(|import| import.info.state.is_over()).collect();
    let surplus = over.len().saturating_sub(MAX_OVER - 1);
    let is_old = |import: &Import| import.info.ended_unix_ms.saturating_add(SHOWN_MS) < now_ms;
    let forgotten = over.iter().enumerate().filter(|(at, import)| *at < surplus || is_old(import));
    let forgotten = forgotten.take(FORGOTTEN).map(|(_, import)| Change::RemoveImport(import.info.id));
    let import = Import {
        info: begun,
        named: new.named.clone(),
        at: None,
        is_committed: false,
        pieces: Vec::new(),
        segments: Vec::new(),
    };
    Ok(std::iter::once(Change::PutImport(import)).chain(forgotten).collect())
}

/// What is to be done next about an import; `None` while it waits for somebody.
pub fn work_of(catalog: &Catalog, import: &Import, now_ms: u64) -> Option<ImportWork> {
    let info = &import.info;
    let id = info.id;
    // What was done of it may be in a manifest that is damaged: it waits until that can be read.
    if info.state.is_over() || catalog.damage_of(info.collection).is_some() {
        return None;
    }
    if import.is_committed {
        return Some(ImportWork::Publish { id });
    }
    if let Some(reason) = obstacle(catalog, info, now_ms) {
        return Some(ImportWork::Fail { id, reason });
    }
    // All files are looked at before any row is taken: most of what is wrong is found then.
    let unseen = info.tasks.iter().position(|task| task.next.is_none() && !task.is_done());
    let open = || info.tasks.iter().position(|task| !task.is_done());
    if let Some(task) = unseen.or_else(open) {
        return Some(ImportWork::Step { id, task });
    }
    match (info.may_commit, info.state) {
        (true, _) => Some(ImportWork::Commit { id }),
        (false, ImportState::Uncommitted) => None,
        (false, _) => Some(ImportWork::Hold { id }),
    }
}

/// Why an import cannot go on.
fn obstacle(catalog: &Catalog, info: &ImportInfo, now_ms: u64) -> Option<String> {
    let Some(collection) = catalog.collections.get(&info.collection) else {
        return Some(format!("collection {} has been dropped", info.collection_name));
    };
    if let Some(partition) = info.partition
        && !has_partition(collection, partition)
    {
        return Some(format!("partition {} has been dropped", info.partition_name));
    }
    // Who has heard that the rows will come may rely on it.
    let limit = info.options.timeout_ms.filter(|_| !info.is_promised())?;
    let is_late = info.created_unix_ms.saturating_add(limit) < now_ms;
    is_late.then(|| format!("import timeout, it took longer than {limit} ms"))
}

fn has_partition(collection: &CollectionInfo, id: PartitionId) -> bool {
    collection.partitions.iter().any(|partition| partition.id == id)
}

/// Takes over what a node made of the rows of a set of files from `from` on, named by `piece`. `None` if somebody else was
/// faster, or nobody wants it any more; then it is to be thrown away.
pub fn commit_step(
    catalog: &Catalog,
    (id, task): (i64, usize),
    from: Option<ImportPlace>,
    done: &ImportDone,
    piece: Option<Piece>,
    now_ms: u64,
) -> Option<Result<Change, String>> {
    let import = catalog.imports.get(&id).filter(|import| !import.info.state.is_over())?;
    let old = import.info.tasks.get(task).filter(|task| task.next == from && !task.is_done())?;
    let mut import = import.clone();
    import.info.state = ImportState::Importing;
    import.info.tasks[task] = ImportTask {
        files: done.files.clone(),
        bytes: done.bytes,
        read: done.read,
        rows: old.rows + done.rows,
        total: done.total,
        next: done.next,
        ended_unix_ms: if done.next.is_none() { now_ms.max(1) } else { 0 },
    };
    if let Some(piece) = piece {
        import.pieces.push(piece);
        import.segments.push(Arc::new(done.segments.clone()));
    }
    if import.pieces.len() > MAX_PIECES {
        return Some(Err(
            "there are too many rows for one import, import some of the files at a time".to_owned()
        ));
    }
    Some(Ok(Change::PutImport(import)))
}

/// Notes that all rows are there, or that they are to have the time `at`.
///
/// From then on compactions leave deletes in place that are newer than that.
pub fn hold_import(catalog: &Catalog, id: i64, at: Option<Timestamp>) -> Option<Change> {
    let import =
        catalog.imports.get(&id).filter(|import| !import.info.state.is_over() && !import.is_committed)?;
    let mut import = import.clone();
    match at {
        Some(at) => import.at = Some(at),
        None => import.info.state = ImportState::Uncommitted,
    }
    Some(Change::PutImport(import))
}

/// Puts all rows of an import into the collection, at once.
///
/// - `at`: the time of the rows, noted before ([`hold_import`]). Every record up to it lies before the checkpoints.
/// - `fresh`: an unused number.
///
/// # Errors
/// Why its rows can be put nowhere.
pub fn commit_import(
    catalog: &Catalog,
    id: i64,
    at: Timestamp,
    fresh: Timestamp,
    now_ms: u64,
) -> Result<Vec<Change>, String> {
    let Some(import) = catalog.imports.get(&id) else { return Ok(Vec::new()) };
    if import.info.state.is_over() || import.is_committed || import.at != Some(at) {
        return Ok(Vec::new());
    }
    if let Some(reason) = obstacle(catalog, &import.info, now_ms) {
        return Err(reason);
    }
    let Some(info) = catalog.collections.get(&import.info.collection) else { return Ok(Vec::new()) };
    let mut manifests: Vec<Option<ChannelManifest>> = vec![None; info.channels.len()];
    let known = catalog.manifests.get(&info.id).map_or(&[][..], Vec::as_slice);
    for (shard, segment) in import.segments.iter().flat_map(|some| some.iter()) {
        let shard = *shard as usize;
        let place = manifests.get_mut(shard).zip(known.get(shard));
        let Some((place, old)) = place.filter(|_| has_partition(info, segment.partition)) else {
            return Err("a partition or channel of its rows has gone".to_owned());
        };
        let manifest = place.get_or_insert_with(|| {
            let mut manifest = ChannelManifest::clone(old);
            manifest.pin_history(Timestamp::ZERO);
            manifest
        });
        manifest.segments.push(SegmentManifest { oldest: at, newest: at, ..segment.clone() });
    }
    let changed = manifests.into_iter().enumerate().filter_map(|(shard, manifest)| {
        let channel = info.channels[shard].clone();
        Some(Change::PutManifest { collection: info.id, shard, channel, manifest: manifest? })
    });
    let pieces = import.pieces.iter().map(|piece| stored::import_key(piece.number)).collect();
    let mut committed = import.clone();
    committed.is_committed = true;
    committed.pieces.clear();
    committed.segments.clear();
    let mut changes: Vec<Change> = changed.collect();
    changes.push(Change::PutImport(committed));
    changes.extend(leave(Vec::new(), pieces, fresh));
    Ok(changes)
}

/// Notes that those who read a collection know of the rows of an import.
pub fn publish_import(catalog: &Catalog, id: i64, now_ms: u64) -> Option<Change> {
    let import =
        catalog.imports.get(&id).filter(|import| import.is_committed && !import.info.state.is_over())?;
    let mut import = import.clone();
    (import.info.state, import.info.ended_unix_ms) = (ImportState::Completed, now_ms);
    Some(Change::PutImport(import))
}

/// Gives up an import; what it has stored is garbage. Nothing if it is over or committed.
///
/// `fresh` is an unused number.
pub fn fail_import(catalog: &Catalog, id: i64, reason: &str, fresh: Timestamp, now_ms: u64) -> Vec<Change> {
    let Some(import) = catalog.imports.get(&id) else { return Vec::new() };
    if import.info.state.is_over() || import.is_committed {
        return Vec::new();
    }
    let segments = import.segments.iter().flat_map(|some| some.iter());
    let objects = segments.flat_map(|(_, segment)| segment.objects());
    let pieces = import.pieces.iter().map(|piece| stored::import_key(piece.number));
    let objects: Vec<String> = objects.chain(pieces).collect();
    let mut failed = import.clone();
    failed.pieces.clear();
    failed.segments.clear();
    failed.info.state = ImportState::Failed;
    failed.info.reason = reason.to_owned();
    failed.info.ended_unix_ms = now_ms;
    std::iter::once(Change::PutImport(failed)).chain(leave(Vec::new(), objects, fresh)).collect()
}

/// What somebody says about an import: that its rows are wanted, or that they are not. What was said before and done may be said again.
///
/// `fresh` is an unused number.
pub fn end_import(catalog: &Catalog, id: i64, commits: bool, fresh: Timestamp, now_ms: u64) -> Decision {
    let refuse = |why: &str| Refusal::Import { text: format!("{why}, jobID={id}: importing data failed") };
    let import = catalog.imports.get(&id).ok_or_else(|| refuse("import job not found"))?;
    let info = &import.info;
    match (commits, info.state) {
        (true, ImportState::Completed) => Ok(Vec::new()),
        (true, state) if info.may_commit && state != ImportState::Failed => Ok(Vec::new()),
        (true, ImportState::Uncommitted) => {
            // What is accepted here is carried out, so what is in its way is looked at first.
            if let Some(reason) = obstacle(catalog, info, now_ms) {
                return Err(refuse(&format!("import job cannot be committed, {reason}")));
            }
            let mut import = import.clone();
            import.info.may_commit = true;
            Ok(vec![Change::PutImport(import)])
        }
        (true, state) => {
            Err(refuse(&format!("import job is in state {}, expected Uncommitted", state.name())))
        }
        (false, ImportState::Failed) => Ok(Vec::new()),
        (false, state) if state.is_over() || import.is_committed || info.is_promised() => {
            Err(refuse("import job is committed and cannot be aborted"))
        }
        (false, _) => Ok(fail_import(catalog, id, "aborted by user", fresh, now_ms)),
    }
}

/// From which time on deletes of a collection must stay, whether or not a segment needs them: rows that will have it are
/// about to come.
pub fn deletes_kept_from(catalog: &Catalog, collection: CollectionId) -> Option<Timestamp> {
    let waiting = catalog.imports.values().filter(|import| {
        import.info.collection == collection && !import.is_committed && !import.info.state.is_over()
    });
    waiting.filter_map(|import| import.at).min()
}

/// The segments of an import that those are to hold who hold what is loaded of its collection.
pub fn wanted_of(info: &CollectionInfo, segments: &[(SegmentId, PartitionId)]) -> BTreeSet<SegmentId> {
    let Some(load) = &info.load else { return BTreeSet::new() };
    let is_loaded = |partition| load.partitions.as_ref().is_none_or(|loaded| loaded.contains(&partition));
    segments.iter().filter(|(_, partition)| is_loaded(*partition)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compact::tests::{catalog, info, segment};
    use super::*;
    use crate::rpc::ImportOptions;

    const ID: i64 = 40;
    const AT: Timestamp = Timestamp(900);
    const FRESH: Timestamp = Timestamp(1000);
    /// When the import began. Unit: milliseconds.
    const BEGAN: u64 = 1000;

    /// A catalog with an import all of whose files are read: into two segments, which one object lists.
    fn read(options: ImportOptions) -> Catalog {
        let mut catalog = catalog(&[1], ChannelManifest::default());
        let info = info(&[1]);
        let import = Import {
            info: ImportInfo {
                id: ID,
                collection: info.id,
                collection_name: info.name,
                database: info.database_name,
                partition: Some(PartitionId(1)),
                partition_name: "p1".to_owned(),
                may_commit: options.commits,
                options,
                state: ImportState::Importing,
                reason: String::new(),
                tasks: vec![ImportTask { rows: 30, ended_unix_ms: BEGAN + 50, ..ImportTask::default() }],
                created_unix_ms: BEGAN,
                ended_unix_ms: 0,
            },
            named: String::new(),
            at: None,
            is_committed: false,
            pieces: vec![Piece { number: 7, size_bytes: 10, crc32: 1 }],
            segments: vec![Arc::new(vec![(0, segment(5, 10, 0)), (0, segment(6, 20, 0))])],
        };
        catalog.apply(Change::PutImport(import));
        catalog
    }

    fn of_two_phases(timeout_ms: Option<u64>) -> ImportOptions {
        ImportOptions { commits: false, timeout_ms, ..ImportOptions::default() }
    }

    /// A catalog with an import that waits for a word.
    fn waiting(timeout_ms: Option<u64>) -> Catalog {
        let mut catalog = read(of_two_phases(timeout_ms));
        assert_eq!(work(&catalog, BEGAN + 100), Some(ImportWork::Hold { id: ID }));
        let held = hold_import(&catalog, ID, None);
        apply(&mut catalog, held);
        catalog
    }

    fn apply(catalog: &mut Catalog, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| catalog.apply(change));
    }

    fn work(catalog: &Catalog, now_ms: u64) -> Option<ImportWork> {
        work_of(catalog, &catalog.imports[&ID], now_ms)
    }

    fn state(catalog: &Catalog) -> &'static str {
        catalog.imports[&ID].info.shown_state()
    }

    fn seen(catalog: &Catalog) -> Vec<SegmentManifest> {
        catalog.manifests[&info(&[1]).id][0].segments.clone()
    }

    fn garbage(catalog: &Catalog) -> BTreeSet<String> {
        catalog.garbage.values().flat_map(|garbage| garbage.objects.clone()).collect()
    }

    /// How many changes a word makes, or the code and text of its refusal.
    fn said(catalog: &Catalog, commits: bool, now_ms: u64) -> Result<usize, (i32, String)> {
        let decided = end_import(catalog, ID, commits, FRESH, now_ms);
        decided.map(|changes| changes.len()).map_err(|refusal| (refusal.code(), refusal.to_string()))
    }

    fn refused(why: &str) -> Result<usize, (i32, String)> {
        Err((2100, format!("{why}, jobID={ID}: importing data failed")))
    }

    #[test]
    fn rows_that_wait_are_in_no_manifest_until_they_are_wanted_and_then_all_at_one_time() {
        let mut catalog = waiting(None);
        let collection = info(&[1]).id;
        let now = BEGAN + 1000;
        assert_eq!((work(&catalog, now), state(&catalog), seen(&catalog)), (None, "Uncommitted", Vec::new()));

        let accepted = end_import(&catalog, ID, true, FRESH, now).unwrap();
        apply(&mut catalog, accepted);
        let commit = Some(ImportWork::Commit { id: ID });
        assert_eq!(
            (work(&catalog, now), state(&catalog), seen(&catalog)),
            (commit, "Committing", Vec::new())
        );
        assert_eq!(deletes_kept_from(&catalog, collection), None);

        let noted = hold_import(&catalog, ID, Some(AT));
        apply(&mut catalog, noted);
        assert_eq!((deletes_kept_from(&catalog, collection), seen(&catalog)), (Some(AT), Vec::new()));

        let committed = commit_import(&catalog, ID, AT, FRESH, now).unwrap();
        apply(&mut catalog, committed);
        let timed = |id, bytes| SegmentManifest { oldest: AT, newest: AT, ..segment(id, bytes, 0) };
        assert_eq!(seen(&catalog), [timed(5, 10), timed(6, 20)]);
        assert_eq!(garbage(&catalog), BTreeSet::from([stored::import_key(7)]));
        assert_eq!(deletes_kept_from(&catalog, collection), None);
        assert_eq!(work(&catalog, now), Some(ImportWork::Publish { id: ID }));

        let published = publish_import(&catalog, ID, now);
        apply(&mut catalog, published);
        assert_eq!((work(&catalog, now), state(&catalog)), (None, "Completed"));
        assert_eq!(commit_import(&catalog, ID, AT, FRESH, now), Ok(Vec::new()), "they come once");
    }

    #[test]
    fn rows_that_are_given_up_are_garbage_at_once_and_never_seen() {
        let mut catalog = waiting(None);
        let now = BEGAN + 1000;
        let named: BTreeSet<String> = catalog.named_objects().collect();
        let segments = [segment(5, 10, 0), segment(6, 20, 0)];
        let objects = segments.iter().flat_map(SegmentManifest::objects).chain([stored::import_key(7)]);
        let objects: BTreeSet<String> = objects.collect();
        assert_eq!(named, objects, "nothing of what waits is an orphan");

        let given_up = end_import(&catalog, ID, false, FRESH, now).unwrap();
        apply(&mut catalog, given_up);

        assert_eq!(garbage(&catalog), named);
        assert_eq!((catalog.named_objects().count(), seen(&catalog)), (0, Vec::new()));
        let info = &catalog.imports[&ID].info;
        assert_eq!((info.state, info.reason.as_str()), (ImportState::Failed, "aborted by user"));
        assert_eq!(work(&catalog, now), None);
        // What was under way for it comes too late.
        assert_eq!(hold_import(&catalog, ID, Some(AT)), None);
        assert_eq!(commit_import(&catalog, ID, AT, FRESH, now), Ok(Vec::new()));
        assert_eq!(commit_step(&catalog, (ID, 0), None, &ImportDone::default(), None, now), None);
    }

    #[test]
    fn a_word_may_be_said_again_and_one_against_it_is_refused() {
        let now = BEGAN + 1000;
        let mut committed = waiting(None);
        let mut aborted = committed.clone();
        let changes = end_import(&committed, ID, true, FRESH, now).unwrap();
        apply(&mut committed, changes);
        let changes = end_import(&aborted, ID, false, FRESH, now).unwrap();
        apply(&mut aborted, changes);

        let against = "import job is committed and cannot be aborted";
        assert_eq!(said(&committed, true, now), Ok(0));
        assert_eq!(said(&committed, false, now), refused(against), "also before its rows are there");
        assert_eq!(said(&aborted, false, now), Ok(0));
        let wrong = "import job is in state Failed, expected Uncommitted";
        assert_eq!(said(&aborted, true, now), refused(wrong));

        let noted = hold_import(&committed, ID, Some(AT));
        apply(&mut committed, noted);
        let changes = commit_import(&committed, ID, AT, FRESH, now).unwrap();
        apply(&mut committed, changes);
        let published = publish_import(&committed, ID, now);
        apply(&mut committed, published);
        assert_eq!(said(&committed, true, now), Ok(0));
        assert_eq!(said(&committed, false, now), refused(against));
    }

    #[test]
    fn a_word_about_what_does_not_wait_for_one_is_refused_or_changes_nothing() {
        let now = BEGAN + 1000;
        let early = "import job is in state Importing, expected Uncommitted";

        assert_eq!(said(&Catalog::default(), true, now), refused("import job not found"));
        assert_eq!(said(&Catalog::default(), false, now), refused("import job not found"));
        assert_eq!(said(&read(of_two_phases(None)), true, now), refused(early));
        assert_eq!(said(&read(of_two_phases(None)), false, now), Ok(2), "the import, and its garbage");
        // One that waits for nobody is committed anyway, and may be given up until it is.
        assert_eq!(said(&read(ImportOptions::default()), true, now), Ok(0));
        assert_eq!(said(&read(ImportOptions::default()), false, now), Ok(2));
    }

    #[test]
    fn an_import_that_waits_too_long_fails_unless_its_rows_were_promised() {
        let mut catalog = waiting(Some(500));
        let (in_time, late) = (BEGAN + 500, BEGAN + 501);
        let reason = "import timeout, it took longer than 500 ms";
        let fail = Some(ImportWork::Fail { id: ID, reason: reason.to_owned() });
        assert_eq!((work(&catalog, in_time), work(&catalog, late)), (None, fail));
        let refusal = refused(&format!("import job cannot be committed, {reason}"));
        assert_eq!(said(&catalog, true, late), refusal);

        let accepted = end_import(&catalog, ID, true, FRESH, in_time).unwrap();
        apply(&mut catalog, accepted);

        assert_eq!(work(&catalog, late), Some(ImportWork::Commit { id: ID }));
        let noted = hold_import(&catalog, ID, Some(AT));
        apply(&mut catalog, noted);
        let committed = commit_import(&catalog, ID, AT, FRESH, late).unwrap();
        apply(&mut catalog, committed);
        assert_eq!(seen(&catalog).len(), 2);
    }

    #[test]
    fn an_import_whose_partition_is_dropped_fails_whatever_was_said() {
        let mut catalog = waiting(None);
        let accepted = end_import(&catalog, ID, true, FRESH, BEGAN).unwrap();
        apply(&mut catalog, accepted);

        catalog.apply(Change::PutCollection(info(&[2])));

        let reason = "partition p1 has been dropped".to_owned();
        assert_eq!(work(&catalog, BEGAN), Some(ImportWork::Fail { id: ID, reason }));
    }

    #[test]
    fn imports_that_wait_are_bounded_in_number() {
        let mut catalog = waiting(None);
        let import = catalog.imports[&ID].clone();
        for id in (ID..).take(MAX_OPEN) {
            let info = ImportInfo { id, ..import.info.clone() };
            catalog.apply(Change::PutImport(Import { info, ..import.clone() }));
        }
        let new = NewImport {
            collection: import.info.collection,
            partition: import.info.partition,
            files: vec![vec!["a.json".to_owned()]],
            options: ImportOptions::default(),
            named: String::new(),
        };

        let refusal = create_import(&catalog, &new, 1, BEGAN).unwrap_err().to_string();
        assert!(refusal.starts_with("there are 1024 import jobs that are not over"), "{refusal}");
        let given_up = end_import(&catalog, ID, false, FRESH, BEGAN).unwrap();
        apply(&mut catalog, given_up);
        assert!(create_import(&catalog, &new, 1, BEGAN).is_ok());
    }
}
