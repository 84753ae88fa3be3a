//! The long parts of a keeper's work. Each gives a value that says what came out; the keeper decides what that means.

use std::sync::Arc;

use tracing::warn;

use super::Error;
use super::budget::{Room, index_bytes, index_passing_bytes, known_indexes};
use super::held::Shared;
use super::shard::Shard;
use super::table::Entry;
use crate::base::{
    ChannelName, FieldId, Kind, Kinded as _, Position, SegmentId, TaskError, Work, chain, heavy,
};
use crate::disk::{Reads, Reserved};
use crate::model::{
    ChannelManifest, DeleteManifest, IndexDefinition, IndexRef, Schema, SegmentManifest,
    memory::{self, Needs},
};
use crate::segment::{self, Deletes, OnDisk, Sealed};

/// What came out of a job.
pub(super) enum Done {
    /// A segment was loaded and has had the deletes of its manifest's files.
    Loaded { channel: ChannelName, segment: SegmentId, result: Result<Entry, Error> },
    /// A segment may join a shard, if that is still the one: it has had every delete before `since`.
    Caught { channel: ChannelName, entry: Entry, target: Arc<Shard>, since: Option<Position> },
    /// The indexes of a segment were loaded, but for one whose object is damaged or lost, by its key.
    /// `of` are the indexes that the collection had then.
    Indexed {
        channel: ChannelName,
        segment: SegmentId,
        of: Vec<IndexDefinition>,
        result: Result<(), Error>,
        damaged: Option<String>,
    },
    /// Segments may go from one shard to the one that takes its place.
    Adopted { channel: ChannelName, target: Arc<Shard>, result: Result<Vec<(Entry, Position)>, Error> },
    /// What failed may be tried again.
    RetryDue,
    /// Nothing to do about it.
    Nothing,
}

/// What loading takes from an order.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) channel: ChannelName,
    pub(super) schema: Arc<Schema>,
    pub(super) manifest: Arc<ChannelManifest>,
    pub(super) indexes: Vec<IndexDefinition>,
}

/// Loads a segment with its indexes and applies the deletes in the files of its manifest. Waits for its turn; takes memory
/// for what stays before it begins, then waits for memory for what passes. Who has a turn, or memory for what stays, never
/// holds up who has memory for what passes.
///
/// # Errors
/// [`Error::NoMemory`] before anything was done; if something cannot be loaded.
pub(super) async fn load(
    shared: &Shared,
    source: &Source,
    segment: &SegmentManifest,
) -> Result<Entry, Error> {
    let _turn = shared.loads.acquire().await;
    let (on_disk, _reserved) = place_on_disk(shared, source, segment).await;
    let bytes = Needs::new(&source.schema, &source.indexes, &on_disk).segment_bytes(segment);
    let room = shared.admit(segment.id, bytes)?;
    shared.pace(bytes).await;
    let indexes = known_indexes(segment, &source.indexes);
    let others = indexes.iter().map(|(built, _)| &built.object).chain(&segment.stats);
    let deletes = source.manifest.deletes.iter().filter(|file| segment.needs(file));
    let passing = segment::load_bytes(&segment.columns, others, deletes).max(index_passing_bytes(
        &source.schema,
        segment,
        &indexes,
    ));
    let permit = shared.parts.memory.admit(Work::Load, passing).await;
    let blobs = shared.parts.blobs.as_ref();
    let schema = Arc::clone(&source.schema);
    let fields: Vec<_> = on_disk.iter().map(|field| (*field, reads_of(*field, &indexes))).collect();
    let disk = shared.parts.scratch.as_ref().map(|scratch| OnDisk { scratch, fields: &fields });
    let loaded = Sealed::load_onto(blobs, schema, segment, &[], disk).await;
    let sealed = Arc::new(loaded.map_err(|cause| Error::LoadSegment { segment: segment.id, source: cause })?);
    for (built, definition) in &indexes {
        // A segment is whole without its index, only slower. Once it has joined, what is missing is tried again and told.
        if let Err(error) = sealed.attach_index(blobs, built, definition).await {
            let segment = segment.id;
            warn!(%segment, key = built.object.key, error = chain(&error), "a segment goes without its index");
        }
    }
    apply_files(shared, source, vec![Arc::clone(&sealed)]).await?;
    drop(permit);
    make_column_indexes(shared, source, &sealed, &room).await;
    room.set(sealed.memory_bytes() as u64);
    Ok(Entry { sealed, room: Arc::new(room) })
}

/// The fields of a segment whose vectors go to the disk, with the room for them there until they are written. Where there is not
/// enough they are held in memory, if they fit.
async fn place_on_disk(
    shared: &Shared,
    source: &Source,
    segment: &SegmentManifest,
) -> (Vec<FieldId>, Option<Reserved>) {
    let on_disk = shared.on_disk(&source.schema, &source.indexes);
    let bytes = memory::bytes_on_disk(segment, &on_disk);
    let Some(scratch) = shared.parts.scratch.as_ref().filter(|_| bytes > 0) else {
        return (Vec::new(), None);
    };
    let scratch = Arc::clone(scratch);
    let reserved = heavy("look for room on the disk", move || scratch.reserve(bytes)).await;
    let why = match reserved.map_err(std::io::Error::other).flatten() {
        Ok(Some(reserved)) => return (on_disk, Some(reserved)),
        Ok(None) => "there is too little room".to_owned(),
        Err(error) => chain(&error),
    };
    warn!(segment = %segment.id, bytes, why, "vectors are held in memory instead of on the disk");
    (Vec::new(), None)
}

/// How the vectors of a field on the disk are read: by what its index looks at. Without one yet, all are compared.
fn reads_of(field: FieldId, indexes: &[(IndexRef, IndexDefinition)]) -> Reads {
    let is_single = |(_, definition): &(IndexRef, IndexDefinition)| {
        definition.field == field && memory::reads_single_rows(definition)
    };
    if indexes.iter().any(is_single) { Reads::Single } else { Reads::InOrder }
}

/// Loads the indexes of a segment that it does not use yet.
///
/// # Errors
/// As [`load`]; where an object is to blame for ever, with its key.
pub(super) async fn load_indexes(
    shared: &Shared,
    source: &Source,
    segment: &SegmentManifest,
    entry: &Entry,
) -> Result<(), (Error, Option<String>)> {
    let _turn = shared.loads.acquire().await;
    let mut missing = known_indexes(segment, &source.indexes);
    missing.retain(|(built, _)| !entry.sealed.uses_index(built));
    let bytes = index_bytes(&source.schema, segment, &missing);
    if let Err(full) = shared.admit_more(segment.id, &entry.room, bytes) {
        make_column_indexes(shared, source, &entry.sealed, &entry.room).await;
        entry.room.set(entry.sealed.memory_bytes() as u64);
        return Err((full, None));
    }
    shared.pace(bytes).await;
    let passing = segment::load_bytes([], missing.iter().map(|(built, _)| &built.object), [])
        .max(index_passing_bytes(&source.schema, segment, &missing));
    let permit = shared.parts.memory.admit(Work::Load, passing).await;
    let mut result = Ok(());
    for (built, definition) in &missing {
        let attached = entry.sealed.attach_index(shared.parts.blobs.as_ref(), built, definition).await;
        result = attached.map_err(|cause| {
            let is_lost = matches!(cause.kind(), Kind::Corrupt | Kind::NotFound);
            let damaged = is_lost.then(|| built.object.key.clone());
            (Error::LoadSegment { segment: segment.id, source: cause }, damaged)
        });
        if result.is_err() {
            break;
        }
    }
    drop(permit);
    make_column_indexes(shared, source, &entry.sealed, &entry.room).await;
    entry.room.set(entry.sealed.memory_bytes() as u64);
    result
}

/// Makes the indexes of scalar columns that a segment lacks, one after the other. A segment is whole without them, only
/// slower to filter: one for which there is no memory is left out until the segment is loaded again.
async fn make_column_indexes(shared: &Shared, source: &Source, sealed: &Sealed, room: &Room) {
    let segment = sealed.id();
    for (id, spec) in sealed.lacking_column_indexes(&source.schema, &source.indexes) {
        room.set(sealed.memory_bytes() as u64);
        let made = match shared.admit_more(segment, room, sealed.column_index_bytes(&spec)) {
            Ok(()) => {
                let made = sealed.make_column_index(id, spec).await;
                made.map_err(|cause| Error::LoadSegment { segment, source: cause })
            }
            Err(full) => Err(full),
        };
        if let Err(error) = made {
            warn!(%segment, index = %id, error = chain(&error), "a segment goes without an index of a column");
            sealed.do_without(id);
        }
    }
}

/// Gets a loaded segment ready to join `target`: waits until the target has applied everything before `checkpoint`, up
/// to which the segment has had all deletes, then gives it the deletes since. `None` if the target was retired meanwhile
/// or has forgotten some of them.
pub(super) async fn catch_up(target: &Arc<Shard>, entry: &Entry, checkpoint: Position) -> Option<Position> {
    if !target.wait_applied(checkpoint).await {
        return None;
    }
    let (target, sealed) = (Arc::clone(target), Arc::clone(&entry.sealed));
    heavy("catch up on deletes", move || target.catch_up(&sealed, checkpoint)).await.ok().flatten()
}

/// Gets `entries` of `old` ready to join `target`, which is to take its place. Where the log was followed without a gap
/// they only need what the target remembers. Where `old` fell behind, those that the manifest lists get its files of
/// deletes, and the others are left out: nothing can tell what they lack.
///
/// # Errors
/// If a file of deletes cannot be loaded.
pub(super) async fn adopt(
    shared: &Shared,
    source: &Source,
    old: &Arc<Shard>,
    target: &Arc<Shard>,
    mut entries: Vec<Entry>,
) -> Result<Vec<(Entry, Position)>, Error> {
    if !old.side().lost {
        // One that only lags gets there; it need not be waited for for ever, since it may be lost any moment.
        tokio::select! {
            _ = old.wait_applied(target.remembers_from()) => {}
            () = shared.parts.clock.sleep(shared.parts.settings.follow_deadline) => {}
        }
    }
    let mut since = old.applied();
    if since < target.remembers_from() {
        let is_listed = |entry: &Entry| source.manifest.segments.iter().any(|one| one.id == entry.id());
        entries.retain(is_listed);
        let sealed = entries.iter().map(|entry| Arc::clone(&entry.sealed)).collect();
        apply_files(shared, source, sealed).await?;
        since = source.manifest.checkpoint;
    }
    let mut ready = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(since) = catch_up(target, &entry, since).await {
            ready.push((entry, since));
        }
    }
    // Readers must not be taken back in time. One that is lost has nobody left that reads it.
    if !old.side().lost {
        target.wait_applied(old.applied()).await;
    }
    Ok(ready)
}

/// Applies the deletes in files to segments, as far as they can matter to them.
async fn apply_files(shared: &Shared, source: &Source, segments: Vec<Arc<Sealed>>) -> Result<(), Error> {
    let is_needed = |file: &&DeleteManifest| segments.iter().any(|sealed| sealed.manifest().needs(file));
    for file in source.manifest.deletes.iter().filter(is_needed) {
        let read = segment::read_deletes(shared.parts.blobs.as_ref(), file).await;
        let failed = |cause| Error::LoadDeletes { channel: source.channel.clone(), source: cause };
        let deletes: Deletes = read.map_err(failed)?;
        let segments = segments.clone();
        let applied = heavy("apply deletes", move || {
            segments.iter().for_each(|sealed| sealed.delete(&deletes));
        });
        let broke =
            |error: TaskError| Error::Broke { channel: source.channel.clone(), cause: error.to_string() };
        applied.await.map_err(broke)?;
    }
    Ok(())
}
