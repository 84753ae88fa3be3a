//! Which segments to make one, and what becomes of the result.

use std::collections::BTreeSet;

use super::garbage::leave_held;
use crate::base::{ChannelName, CollectionId, PartitionId, SegmentId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::{ChannelManifest, DeleteManifest, IndexRef, SegmentManifest};
use crate::rpc::CollectionInfo;

/// Small segments that are worth merging without being asked.
const ENOUGH: usize = 4;
/// A segment is rewritten once more than one in so many of its rows may be deleted.
const DELETED_ONE_IN: u64 = 5;
/// A segment is rewritten once it needs more delete files than this: each is read when the segment is loaded.
const MANY_FILES: usize = 100;
/// A collection's property that turns automatic compaction off.
const PROPERTY: &str = "collection.autocompaction.enabled";

/// How eagerly to look for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Only what is worth its cost.
    Automatic,
    /// Whatever can be made better.
    Manual,
}

/// Segments to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactPlan {
    /// Whose they are.
    pub collection: CollectionId,
    /// The channel.
    pub channel: ChannelName,
    /// Segments of one partition, oldest first; never empty.
    pub sources: Vec<SegmentManifest>,
    /// All delete files of the channel.
    pub deletes: Vec<DeleteManifest>,
}

/// What to compact next of a collection, if anything; none of the segments that `taken` says are being worked on.
///
/// Merges small segments, below half of `max_bytes`, up to about that size (stored bytes; rows hidden by deletes count);
/// automatically only four or more of them, none greater than all others together, so that a row is rewritten as often as
/// its segment doubles. Else rewrites a segment of which deletes may hide more than a fifth, or that many files of deletes
/// apply to; on demand one that any file applies to.
pub fn next_compaction(
    info: &CollectionInfo,
    manifests: &[std::sync::Arc<ChannelManifest>],
    max_bytes: u64,
    pace: Pace,
    taken: impl Fn(SegmentId) -> bool,
) -> Option<CompactPlan> {
    let is_off = |(key, value): &(String, String)| key == PROPERTY && value.eq_ignore_ascii_case("false");
    if pace == Pace::Automatic && info.properties.iter().any(is_off) {
        return None;
    }
    let plan = |channel: &ChannelName, manifest: &ChannelManifest, chosen: BTreeSet<SegmentId>| CompactPlan {
        collection: info.id,
        channel: channel.clone(),
        sources: manifest.segments.iter().filter(|one| chosen.contains(&one.id)).cloned().collect(),
        deletes: manifest.deletes.clone(),
    };
    let channels = || info.channels.iter().zip(manifests);
    let merged = channels().find_map(|(channel, manifest)| {
        let chosen = info
            .partitions
            .iter()
            .find_map(|partition| small_ones(manifest, partition.id, max_bytes, pace, &taken))?;
        Some(plan(channel, manifest, chosen))
    });
    merged.or_else(|| {
        channels().find_map(|(channel, manifest)| {
            let id = worn(info, manifest, pace, &taken)?;
            Some(plan(channel, manifest, BTreeSet::from([id])))
        })
    })
}

/// Small segments of a partition that are worth merging.
fn small_ones(
    manifest: &ChannelManifest,
    partition: PartitionId,
    max_bytes: u64,
    pace: Pace,
    taken: impl Fn(SegmentId) -> bool,
) -> Option<BTreeSet<SegmentId>> {
    let is_small = |one: &&SegmentManifest| {
        one.partition == partition && one.stored_bytes() <= max_bytes / 2 && !taken(one.id)
    };
    let small = manifest.segments.iter().filter(is_small);
    let mut sizes: Vec<(u64, SegmentId)> = small.map(|one| (one.stored_bytes(), one.id)).collect();
    sizes.sort_unstable();
    let enough = if pace == Pace::Manual { 2 } else { ENOUGH };
    if sizes.len() < enough {
        return None;
    }
    let mut sum = 0;
    let fitting = sizes.iter().take_while(|(bytes, _)| {
        sum += bytes;
        sum <= max_bytes
    });
    let fitting = fitting.count();
    let is_full = fitting < sizes.len();
    sizes.truncate(fitting);
    if pace == Pace::Automatic && !is_full {
        while let Some((&(largest, _), others)) = sizes.split_last() {
            if largest <= others.iter().map(|(bytes, _)| bytes).sum() {
                break;
            }
            sizes.pop();
        }
        if sizes.len() < enough {
            return None;
        }
    }
    // As many as fit, when more are there than fit, make a segment that is small no more.
    (sizes.len() >= 2).then(|| sizes.into_iter().map(|(_, id)| id).collect())
}

/// The segment that would gain most by being rewritten.
fn worn(
    info: &CollectionInfo,
    manifest: &ChannelManifest,
    pace: Pace,
    taken: impl Fn(SegmentId) -> bool,
) -> Option<SegmentId> {
    // By file: deletes, and rows that they may hide. Which rows they do hide is not known, so they count as spread evenly.
    let spread: Vec<(u64, u64)> = manifest
        .deletes
        .iter()
        .map(|file| {
            (file.rows, manifest.segments.iter().filter(|one| one.needs(file)).map(|one| one.rows).sum())
        })
        .collect();
    let candidates = manifest.segments.iter().filter(|one| {
        !taken(one.id) && info.partitions.iter().any(|partition| partition.id == one.partition)
    });
    let worth = candidates.filter_map(|one| {
        let files = || manifest.deletes.iter().zip(&spread).filter(|(file, _)| one.needs(file));
        let count = files().count();
        let share = |&(deletes, rows): &(u64, u64)| {
            u64::try_from(u128::from(deletes) * u128::from(one.rows) / u128::from(rows.max(1)))
                .unwrap_or(u64::MAX)
        };
        let deleted = files().map(|(_, spread)| share(spread)).fold(0, u64::saturating_add).min(one.rows);
        let is_worth = match pace {
            Pace::Manual => count > 0,
            Pace::Automatic => deleted > one.rows / DELETED_ONE_IN || count > MANY_FILES,
        };
        is_worth.then_some((deleted, count, one.id))
    });
    worth.max().map(|(_, _, id)| id)
}

/// The plan to make these segments one, as the catalog is now; `None` if some are gone.
pub fn plan_of(catalog: &Catalog, collection: CollectionId, sources: &[SegmentId]) -> Option<CompactPlan> {
    let info = catalog.collections.get(&collection)?;
    let manifests = catalog.manifests.get(&collection)?;
    info.channels.iter().zip(manifests).find_map(|(channel, manifest)| {
        let found = manifest.segments.iter().filter(|one| sources.contains(&one.id));
        let found: Vec<SegmentManifest> = found.cloned().collect();
        (!found.is_empty() && found.len() == sources.len()).then(|| CompactPlan {
            collection,
            channel: channel.clone(),
            sources: found,
            deletes: manifest.deletes.clone(),
        })
    })
}

/// Whether all sources of a plan are in the catalog still; what a builder reads is.
pub fn still_there(catalog: &Catalog, plan: &CompactPlan) -> bool {
    place(catalog, plan).is_some()
}

/// The collection, the place of the channel in it, and its manifest, if that has all sources.
fn place<'a>(
    catalog: &'a Catalog,
    plan: &CompactPlan,
) -> Option<(&'a CollectionInfo, usize, &'a ChannelManifest)> {
    let info = catalog.collections.get(&plan.collection)?;
    let shard = info.channels.iter().position(|channel| *channel == plan.channel)?;
    let manifest = catalog.manifests.get(&plan.collection)?.get(shard)?;
    let has = |source: &SegmentManifest| manifest.segments.iter().any(|known| known.id == source.id);
    plan.sources.iter().all(has).then_some((info, shard, manifest))
}

/// What became of a compaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Compacted {
    /// The changes to commit.
    pub changes: Vec<Change>,
    /// Whether the new segments are taken; else they are garbage.
    pub taken: bool,
}

/// Puts `outputs` in the place of the sources, all at once; the sources become garbage, to be removed after
/// `not_before_unix_ms`, and so do delete files that no segment needs any more. When a source is gone, the outputs are the
/// garbage. The checkpoint stays what it is.
///
/// `fresh` is the first of [`super::RECORDS`] unused numbers.
pub fn commit_compaction(
    catalog: &Catalog,
    plan: &CompactPlan,
    outputs: &[SegmentManifest],
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Compacted {
    let stale = || Compacted { changes: discard_compaction(plan.collection, outputs, fresh), taken: false };
    let Some((info, shard, old)) = place(catalog, plan) else { return stale() };
    let exists = |id| info.partitions.iter().any(|partition| partition.id == id);
    // Files that came meanwhile hold later deletes. If one does not, the outputs claim too much.
    let late =
        old.deletes.iter().filter(|file| !plan.deletes.iter().any(|known| known.object == file.object));
    let is_exceeded = |file: &DeleteManifest| outputs.iter().any(|made| made.clean_through >= file.newest);
    if late.clone().any(is_exceeded) || outputs.iter().any(|made| !exists(made.partition)) {
        return stale();
    }
    let mut dropped = Vec::new();
    let mut outputs = outputs.to_vec();
    for made in &mut outputs {
        // An index may have been dropped while it was built.
        let is_known = |built: &IndexRef| info.indexes.iter().any(|index| index.id == built.index);
        dropped.extend(made.indexes.iter().filter(|one| !is_known(one)).map(|one| one.object.key.clone()));
        made.indexes.retain(is_known);
    }
    let is_source = |id: SegmentId| plan.sources.iter().any(|source| source.id == id);
    let mut manifest = ChannelManifest { segments: Vec::new(), ..old.clone() };
    let mut replaced = Vec::new();
    for segment in &old.segments {
        if !is_source(segment.id) {
            manifest.segments.push(segment.clone());
            continue;
        }
        if replaced.is_empty() {
            manifest.segments.append(&mut outputs);
        }
        replaced.push(segment.clone());
    }
    dropped.extend(drop_applied(&mut manifest, old.newest()));
    let mut changes = vec![Change::PutManifest {
        collection: plan.collection,
        shard,
        channel: plan.channel.clone(),
        manifest,
    }];
    changes.extend(leave_held(plan.collection, &replaced, dropped, fresh, not_before_unix_ms));
    Compacted { changes, taken: true }
}

/// Leaves what a compaction made that is not wanted.
fn discard_compaction(
    collection: CollectionId,
    outputs: &[SegmentManifest],
    fresh: Timestamp,
) -> Vec<Change> {
    leave_held(collection, outputs, Vec::new(), fresh, 0)
}

/// Takes out the delete files that no segment needs; returns their keys. Keeps one if nothing else tells how new the
/// channel is: an owner gives no time that is not later.
fn drop_applied(manifest: &mut ChannelManifest, newest: Timestamp) -> Vec<String> {
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for file in std::mem::take(&mut manifest.deletes) {
        let is_needed = manifest.segments.iter().any(|segment| segment.needs(&file));
        if is_needed { &mut kept } else { &mut gone }.push(file);
    }
    manifest.deletes = kept;
    if manifest.newest() < newest
        && let Some(place) = gone.iter().position(|file| file.newest == newest)
    {
        manifest.deletes.push(gone.remove(place));
    }
    gone.into_iter().map(|file| file.object.key).collect()
}

#[cfg(test)]
mod model_test;
#[cfg(test)]
mod tests;
