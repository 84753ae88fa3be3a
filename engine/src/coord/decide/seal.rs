//! What becomes of new immutable objects.

use crate::base::{ChannelName, CollectionId, SegmentId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::{ChannelManifest, IndexRef};
use crate::rpc::Flushed;

/// Why new objects are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The collection or channel is gone.
    Dropped,
    /// The channel's checkpoint is not where the flush started.
    Moved,
    /// The new objects were begun so long ago that a sweep may take them for orphans.
    Late,
    /// A manifest of the collection is damaged, so it is not known whether they are taken already: how it is called.
    Unreadable(String),
}

/// New objects are taken only so long after their number was given out, unless their flush was kept meanwhile.
pub const TAKEN_FOR_MS: u64 = 15 * 60 * 1_000;

/// A sweep spares all for longer, so that what it removes cannot be taken any more, whatever its own length.
pub const SPARED_MS: u64 = 2 * TAKEN_FOR_MS;

/// Whether objects with this number may be gone by now.
fn may_be_swept(number: i64, now: Timestamp) -> bool {
    number < now.minus_ms(TAKEN_FOR_MS).as_id()
}

/// Spares what a flush writes that began with number `since`, for as long as it takes; `None` if that is so already.
pub fn keep_flush(
    catalog: &Catalog,
    channel: &ChannelName,
    since: i64,
    now: Timestamp,
) -> Result<Option<Change>, Stale> {
    let collection =
        channel.collection().and_then(|id| catalog.collections.get(&id)).ok_or(Stale::Dropped)?;
    if !collection.channels.contains(channel) {
        return Err(Stale::Dropped);
    }
    if catalog.flushes.get(channel) == Some(&since) {
        return Ok(None);
    }
    if may_be_swept(since, now) {
        return Err(Stale::Late);
    }
    Ok(Some(Change::KeepFlush { channel: channel.clone(), since }))
}

/// Adds what a flush made and moves the checkpoint. Segments of partitions that were dropped meanwhile are left out.
///
/// `now` is not earlier than the numbers that were given out for the objects.
pub fn commit_flush(catalog: &Catalog, flushed: &Flushed, now: Timestamp) -> Result<Vec<Change>, Stale> {
    // Before anything else, which would tell the writer that nothing was done.
    if let Some(damage) = catalog.damage_of(flushed.collection) {
        return Err(Stale::Unreadable(damage.to_string()));
    }
    let begun = flushed.segments.iter().map(|segment| segment.id.0);
    let files = flushed.deletes.iter().filter_map(|file| super::fsck::born(&file.object.key));
    let kept = catalog.flushes.get(&flushed.channel).copied();
    let is_late = |number| may_be_swept(number, now) && kept.is_none_or(|since| number < since);
    if begun.chain(files).any(is_late) {
        return Err(Stale::Late);
    }
    let collection = catalog.collections.get(&flushed.collection).ok_or(Stale::Dropped)?;
    let place = collection.channels.iter().position(|channel| *channel == flushed.channel);
    let shard = place.ok_or(Stale::Dropped)?;
    let manifests = catalog.manifests.get(&flushed.collection).ok_or(Stale::Dropped)?;
    let old = manifests.get(shard).ok_or(Stale::Dropped)?;
    if old.checkpoint != flushed.from || flushed.to < flushed.from {
        return Err(Stale::Moved);
    }
    let mut manifest = ChannelManifest::clone(old);
    manifest.pin_history(Timestamp::ZERO);
    manifest.checkpoint = flushed.to;
    manifest.named_through = manifest.named_through.max(flushed.named_through);
    let exists = |id| collection.partitions.iter().any(|partition| partition.id == id);
    manifest.segments.extend(flushed.segments.iter().filter(|segment| exists(segment.partition)).cloned());
    manifest.deletes.extend(flushed.deletes.iter().cloned());
    let put = Change::PutManifest {
        collection: flushed.collection,
        shard,
        channel: flushed.channel.clone(),
        manifest,
    };
    let forget = kept.map(|_| Change::ForgetFlush(flushed.channel.clone()));
    Ok(std::iter::once(put).chain(forget).collect())
}

/// Takes an index whose object under `key` is damaged or lost off its segment, so that it is built again; `None` if no
/// segment names it any more. What is left of the object is swept as an orphan.
pub fn lose_index(catalog: &Catalog, id: CollectionId, segment: SegmentId, key: &str) -> Option<Change> {
    let collection = catalog.collections.get(&id)?;
    let manifests = catalog.manifests.get(&id)?;
    let is_it = |known: &IndexRef| known.object.key == key;
    let has_it =
        |known: &crate::model::SegmentManifest| known.id == segment && known.indexes.iter().any(is_it);
    let shard = manifests.iter().position(|manifest| manifest.segments.iter().any(has_it))?;
    let mut manifest = ChannelManifest::clone(&manifests[shard]);
    for known in manifest.segments.iter_mut().filter(|known| known.id == segment) {
        known.indexes.retain(|known| !is_it(known));
    }
    Some(Change::PutManifest { collection: id, shard, channel: collection.channels[shard].clone(), manifest })
}

/// Adds a built index to its segment; `None` if segment or index are gone or the index is there already.
pub fn commit_index(
    catalog: &Catalog,
    id: CollectionId,
    segment: SegmentId,
    built: &IndexRef,
) -> Option<Change> {
    let collection = catalog.collections.get(&id)?;
    collection.indexes.iter().find(|index| index.id == built.index)?;
    let manifests = catalog.manifests.get(&id)?;
    let shard =
        manifests.iter().position(|manifest| manifest.segments.iter().any(|known| known.id == segment))?;
    let mut manifest = ChannelManifest::clone(&manifests[shard]);
    let place = manifest.segments.iter_mut().find(|known| known.id == segment)?;
    if place.indexes.iter().any(|known| known.index == built.index) {
        return None;
    }
    place.indexes.push(built.clone());
    Some(Change::PutManifest { collection: id, shard, channel: collection.channels[shard].clone(), manifest })
}
