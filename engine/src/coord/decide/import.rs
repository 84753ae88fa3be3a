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
        let text =
            format!("there are {open} imports that are not over, try again later: importing data failed");
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
    let limit = info.options.timeout_ms?;
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

/// What somebody says about an import: that its rows are wanted, or that they are not.
///
/// `fresh` is an unused number.
pub fn end_import(catalog: &Catalog, id: i64, commits: bool, fresh: Timestamp, now_ms: u64) -> Decision {
    let refuse = |what: &str| Refusal::Import {
        text: format!("import job {what}, jobID={id}: importing data failed"),
    };
    let import = catalog.imports.get(&id).ok_or_else(|| refuse("not found"))?;
    match (commits, import.info.state) {
        (true, ImportState::Failed) => Err(refuse("has failed, expected Uncommitted")),
        (true, ImportState::Completed) => Ok(Vec::new()),
        (true, _) if import.info.may_commit => Ok(Vec::new()),
        (true, ImportState::Uncommitted) => {
            let mut import = import.clone();
            import.info.may_commit = true;
            Ok(vec![Change::PutImport(import)])
        }
        (true, _) => Err(refuse("is under way, expected Uncommitted")),
        (false, ImportState::Failed) => Ok(Vec::new()),
        (false, _) if import.info.state == ImportState::Completed || import.is_committed => {
            Err(refuse("is committed and cannot be aborted"))
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
