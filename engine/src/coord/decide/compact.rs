//! Which segments to make one, and what becomes of the result.

use std::collections::BTreeSet;

use super::Decision;
use super::garbage::leave_held;
use crate::base::{ChannelName, CollectionId, FieldId, PartitionId, SegmentId, Timestamp};
use crate::coord::catalog::{Catalog, Compaction};
use crate::coord::change::Change;
use crate::model::{ChannelManifest, DeleteManifest, Expiry, IndexRef, Schema, SegmentManifest};
use crate::rpc::{CollectionInfo, CollectionRef, CompactionPlan, CompactionStep, Refusal};

/// Small segments that are worth merging without being asked.
const ENOUGH: usize = 4;
/// A segment is rewritten once more than one in so many of its rows may be deleted.
const DELETED_ONE_IN: u64 = 5;
/// A segment is rewritten once more than one in so many of its rows may have expired: since that grows by itself, a row is
/// rewritten about as often as it takes to halve the span of its segment.
const EXPIRED_ONE_IN: u64 = 2;
/// What expired less than so long ago is not looked for without being asked: by then no proxy takes it for a row any more. Unit:
/// milliseconds.
const EXPIRED_FOR_MS: u64 = 10_000;
/// A segment is rewritten once it needs more delete files than this: each is read when the segment is loaded.
const MANY_FILES: usize = 100;
/// A collection's property that turns automatic compaction off.
const PROPERTY: &str = "collection.autocompaction.enabled";

/// How large segments are made. Unit: stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// What a merged segment has of rows without their vectors, and a clustered one of all.
    pub any: u64,
    /// What a merged segment has in all; at least `any`. Vectors are joined as they are stored, where everything else is unpacked
    /// for that and takes many times as much, so a segment may have more of them.
    pub merged: u64,
}

impl Sizes {
    /// The same whatever the rows are.
    #[must_use]
    pub const fn of(bytes: u64) -> Self {
        Self { any: bytes, merged: bytes }
    }

    /// The same while every node that holds data has `room` for so much more: it keeps what is merged until it has loaded the result, and
    /// as long as that does not fit it goes on with the old segments and whatever comes after them in the log.
    #[must_use]
    pub fn within(self, room: u64) -> Self {
        // A segment takes more in memory than stored, and two may be on their way.
        Self { merged: self.merged.min(room / 2).max(self.any), ..self }
    }

    /// What a segment counts of `merged`: the bytes of what is no vector so many times that a segment of nothing else has `any`.
    fn weight(self, segment: &SegmentManifest, schema: &Schema) -> u64 {
        let dense = segment.dense_bytes(schema);
        let others = u128::from(segment.stored_bytes().saturating_sub(dense));
        let others = others * u128::from(self.merged) / u128::from(self.any.max(1));
        u64::try_from(others).unwrap_or(u64::MAX).saturating_add(dense)
    }
}

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
    /// By which field's values rows are spread over the new segments; `None` where they become one.
    pub cluster_by: Option<FieldId>,
    /// Rows that do not stay.
    pub expiry: Expiry,
    /// Rows that were deleted later than this stay; `None` for none.
    pub keeps_since: Option<Timestamp>,
}

impl CompactPlan {
    /// Whether no row is left, so that nobody has to look.
    pub fn leaves_nothing(&self) -> bool {
        self.sources.iter().all(|source| self.expiry.is_all_of(source))
    }
}

/// When a compaction is planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The cluster's time.
    pub now: Timestamp,
    /// How long collections that do not say so keep what is gone. Unit: seconds.
    pub retention_s: u64,
}

impl Moment {
    fn keeps_since(self, info: &CollectionInfo) -> Option<Timestamp> {
        info.keeps_since(self.now, self.retention_s)
    }
}

/// What to compact next of a collection, if anything; none of the segments that `taken` says are being worked on.
///
/// First come segments of which all rows have expired at `when`: they are dropped. Then, where there are none, it
/// merges small segments, below half of what `sizes` allow, up to about that (rows hidden by deletes count), and where rows are to
/// be clustered no larger than that makes them;
/// automatically only four or more of them, none greater than all others together, so that a row is rewritten as often as
/// its segment doubles. Else rewrites a segment of which deletes may hide more than a fifth, or more than half may have expired, or
/// that many files of deletes apply to; on demand one that any file applies to or of which any row may have expired.
pub fn next_compaction(
    info: &CollectionInfo,
    manifests: &[std::sync::Arc<ChannelManifest>],
    sizes: Sizes,
    (pace, when): (Pace, Moment),
    taken: impl Fn(SegmentId) -> bool,
) -> Option<CompactPlan> {
    if pace == Pace::Automatic && is_off(info) {
        return None;
    }
    let sizes = if clustering_key(info).is_some() { Sizes::of(sizes.any) } else { sizes };
    let weight = |one: &SegmentManifest| sizes.weight(one, &info.schema);
    let (expiry, keeps_since) = (expiry_at(info, pace, when), when.keeps_since(info));
    let plan = |channel: &ChannelName, manifest: &ChannelManifest, chosen: BTreeSet<SegmentId>| CompactPlan {
        collection: info.id,
        channel: channel.clone(),
        sources: manifest.segments.iter().filter(|one| chosen.contains(&one.id)).cloned().collect(),
        deletes: manifest.deletes.clone(),
        cluster_by: None,
        expiry,
        keeps_since,
    };
    let channels = || info.channels.iter().zip(manifests);
    let of_partitions = |choose: &dyn Fn(&ChannelManifest, PartitionId) -> Option<BTreeSet<SegmentId>>| {
        channels().find_map(|(channel, manifest)| {
            let chosen = info.partitions.iter().find_map(|partition| choose(manifest, partition.id))?;
            Some(plan(channel, manifest, chosen))
        })
    };
    let expired = of_partitions(&|manifest, partition| expired_ones(manifest, partition, expiry, &taken));
    let merged = || {
        of_partitions(&|manifest, partition| {
            small_ones(manifest, partition, (sizes.merged, &weight), pace, &taken)
        })
    };
    expired.or_else(merged).or_else(|| {
        channels().find_map(|(channel, manifest)| {
            let id = worn(info, manifest, (pace, expiry, keeps_since), &taken)?;
            Some(plan(channel, manifest, BTreeSet::from([id])))
        })
    })
}

/// The rows that a compaction need not keep.
fn expiry_at(info: &CollectionInfo, pace: Pace, when: Moment) -> Expiry {
    let until = match pace {
        Pace::Manual => when.now,
        Pace::Automatic => when.now.minus_ms(EXPIRED_FOR_MS),
    };
    // Whoever reads the past is shown what had not expired then.
    info.expiry(until.min(when.keeps_since(info).unwrap_or(Timestamp::MAX)))
}

/// Segments of a partition of which all rows have expired.
fn expired_ones(
    manifest: &ChannelManifest,
    partition: PartitionId,
    expiry: Expiry,
    taken: impl Fn(SegmentId) -> bool,
) -> Option<BTreeSet<SegmentId>> {
    let is_expired =
        |one: &&SegmentManifest| one.partition == partition && expiry.is_all_of(one) && !taken(one.id);
    let ids: BTreeSet<SegmentId> = manifest.segments.iter().filter(is_expired).map(|one| one.id).collect();
    (!ids.is_empty()).then_some(ids)
}

/// Whether the user wants no automatic compaction.
fn is_off(info: &CollectionInfo) -> bool {
    info.properties.iter().any(|(key, value)| key == PROPERTY && value.eq_ignore_ascii_case("false"))
}

/// Sources of one clustering, in segments of the greatest size: what one node reads for each of them.
const CLUSTERED_AT_ONCE: u64 = 8;

/// The field by whose values a collection's rows are to be near each other.
fn clustering_key(info: &CollectionInfo) -> Option<FieldId> {
    let field = info.schema.fields.iter().find(|field| field.is_clustering_key)?;
    (!field.data_type.is_vector()).then_some(field.id)
}

/// Segments to cluster next, if any; none of the segments that `taken` says are being worked on. What is not clustered is
/// put together with what is, as much as one node can do at once, so that ranges of values overlap little. Automatically
/// only once there are `max_bytes` that are not clustered; on demand whatever is not. Doing it again does nothing.
pub fn next_clustering(
    info: &CollectionInfo,
    manifests: &[std::sync::Arc<ChannelManifest>],
    max_bytes: u64,
    (pace, when): (Pace, Moment),
    taken: impl Fn(SegmentId) -> bool,
) -> Option<CompactPlan> {
    let key = clustering_key(info)?;
    if pace == Pace::Automatic && is_off(info) {
        return None;
    }
    let worth = if pace == Pace::Manual { 1 } else { max_bytes };
    info.channels.iter().zip(manifests).find_map(|(channel, manifest)| {
        let chosen = info.partitions.iter().find_map(|partition| {
            let free =
                || manifest.segments.iter().filter(|one| one.partition == partition.id && !taken(one.id));
            let is_clustered = |one: &SegmentManifest| one.clustered_by == Some(key);
            let open: u64 = free().filter(|one| !is_clustered(one)).map(SegmentManifest::stored_bytes).sum();
            if open < worth {
                return None;
            }
            let mut ordered: Vec<&SegmentManifest> = free().collect();
            // The largest of what is clustered come last: they have least to gain.
            ordered.sort_by_key(|one| {
                (is_clustered(one), if is_clustered(one) { one.stored_bytes() } else { 0 })
            });
            let mut sum = 0;
            let fits = |one: &&&SegmentManifest| {
                let is_first = sum == 0;
                sum += one.stored_bytes();
                is_first || sum <= max_bytes.saturating_mul(CLUSTERED_AT_ONCE)
            };
            Some(ordered.iter().take_while(fits).map(|one| one.id).collect::<BTreeSet<_>>())
        })?;
        Some(CompactPlan {
            collection: info.id,
            channel: channel.clone(),
            sources: manifest.segments.iter().filter(|one| chosen.contains(&one.id)).cloned().collect(),
            deletes: manifest.deletes.clone(),
            cluster_by: Some(key),
            expiry: expiry_at(info, pace, when),
            keeps_since: when.keeps_since(info),
        })
    })
}

/// How many segments a plan makes at most.
pub fn most_outputs(plan: &CompactPlan, max_bytes: u64) -> u32 {
    if plan.cluster_by.is_none() {
        return 1;
    }
    let bytes: u64 = plan.sources.iter().map(SegmentManifest::stored_bytes).sum();
    u32::try_from(bytes.div_ceil(max_bytes.max(1))).unwrap_or(u32::MAX).max(1)
}

/// Small segments of a partition that are worth merging, up to the most that one may weigh.
fn small_ones(
    manifest: &ChannelManifest,
    partition: PartitionId,
    (most, weight): (u64, &dyn Fn(&SegmentManifest) -> u64),
    pace: Pace,
    taken: impl Fn(SegmentId) -> bool,
) -> Option<BTreeSet<SegmentId>> {
    let is_small = |one: &&SegmentManifest| {
        // What is clustered would not be any more.
        let is_clustered = one.clustered_by.is_some();
        one.partition == partition && weight(one) <= most / 2 && !is_clustered && !taken(one.id)
    };
    let small = manifest.segments.iter().filter(is_small);
    let mut sizes: Vec<(u64, SegmentId)> = small.map(|one| (weight(one), one.id)).collect();
    sizes.sort_unstable();
    let enough = if pace == Pace::Manual { 2 } else { ENOUGH };
    if sizes.len() < enough {
        return None;
    }
    let mut sum = 0;
    let fitting = sizes.iter().take_while(|(bytes, _)| {
        sum += bytes;
        sum <= most
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
    (pace, expiry, keeps_since): (Pace, Expiry, Option<Timestamp>),
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
        // What later deletes hide stays, and so do they.
        let is_due = |file: &DeleteManifest| keeps_since.is_none_or(|since| file.newest <= since);
        let files =
            || manifest.deletes.iter().zip(&spread).filter(|(file, _)| one.needs(file) && is_due(file));
        let count = files().count();
        let share = |&(deletes, rows): &(u64, u64)| {
            u64::try_from(u128::from(deletes) * u128::from(one.rows) / u128::from(rows.max(1)))
                .unwrap_or(u64::MAX)
        };
        let deleted = files().map(|(_, spread)| share(spread)).fold(0, u64::saturating_add).min(one.rows);
        let expired = expiry.rows_of(one);
        let is_worth = match pace {
            Pace::Manual => count > 0 || expiry.may_be_of(one),
            Pace::Automatic => {
                let is_old = expired > one.rows / EXPIRED_ONE_IN;
                deleted > one.rows / DELETED_ONE_IN || is_old || count > MANY_FILES
            }
        };
        is_worth.then_some((deleted.saturating_add(expired), count, one.id))
    });
    worth.max().map(|(_, _, id)| id)
}

/// Compactions that are remembered.
const REMEMBERED: usize = 1_000;

/// Plans the compaction of a collection as it is at `when`, to be known as `id`; none of the segments in `claimed`. A `major`
/// one clusters. The oldest compactions are forgotten when there are very many.
pub fn ask_compaction(
    catalog: &Catalog,
    collection: CollectionId,
    (id, when): (i64, Moment),
    major: bool,
    sizes: Sizes,
    claimed: &BTreeSet<SegmentId>,
) -> Decision {
    let info = catalog.collection(&CollectionRef::Id(collection))?;
    let manifests = catalog.manifests.get(&collection).map_or(&[][..], Vec::as_slice);
    let pace = (Pace::Manual, when);
    let mut claimed = claimed.clone();
    let mut plans = Vec::new();
    // Segments whose index is built now are planned for all the same, and wait for that.
    if major && clustering_key(info).is_none() {
        let text = format!("collection {} has no clustering key", info.name);
        return Err(Refusal::BadParameter { text });
    }
    loop {
        let is_claimed = |id| claimed.contains(&id);
        let next = if major {
            next_clustering(info, manifests, sizes.any, pace, is_claimed)
        } else {
            next_compaction(info, manifests, sizes, pace, is_claimed)
        };
        let Some(plan) = next else { break };
        let sources: Vec<SegmentId> = plan.sources.iter().map(|source| source.id).collect();
        claimed.extend(&sources);
        let (targets, step) = (Vec::new(), CompactionStep::Executing);
        let CompactPlan { cluster_by, expiry, .. } = plan;
        plans.push(CompactionPlan { sources, targets, cluster_by, expiry, step });
    }
    let many = (catalog.compactions.len() + 1).saturating_sub(REMEMBERED);
    let forgotten = catalog.compactions.keys().take(many).map(|old| Change::RemoveCompaction(*old));
    let asked = Change::PutCompaction(Compaction { id, collection, plans });
    Ok(std::iter::once(asked).chain(forgotten).collect())
}

/// Notes how a plan of a compaction has ended; `None` if nobody remembers it or it is known already.
pub fn note_compaction(
    catalog: &Catalog,
    (id, at): (i64, usize),
    step: CompactionStep,
    targets: Vec<SegmentId>,
) -> Option<Change> {
    let mut known = catalog.compactions.get(&id)?.clone();
    let plan = known.plans.get_mut(at).filter(|plan| plan.step == CompactionStep::Executing)?;
    (plan.step, plan.targets) = (step, targets);
    Some(Change::PutCompaction(known))
}

/// What a plan that was asked for asks to do, as the catalog is at `when`; `None` if some of its segments are gone. What had
/// expired when it was asked for stays if it has not any more.
pub fn plan_of(
    catalog: &Catalog,
    collection: CollectionId,
    asked: &CompactionPlan,
    when: Moment,
) -> Option<CompactPlan> {
    let sources = &asked.sources;
    let info = catalog.collections.get(&collection)?;
    let manifests = catalog.manifests.get(&collection)?;
    info.channels.iter().zip(manifests).find_map(|(channel, manifest)| {
        let found = manifest.segments.iter().filter(|one| sources.contains(&one.id));
        let found: Vec<SegmentManifest> = found.cloned().collect();
        let expiry = asked.expiry.and(expiry_at(info, Pace::Manual, when));
        // They were to be dropped, however many they are, and not to become one.
        let were_gone = found.iter().all(|one| asked.expiry.is_all_of(one));
        let are_there = were_gone && !found.iter().all(|one| expiry.is_all_of(one));
        (!found.is_empty() && found.len() == sources.len() && !are_there).then(|| CompactPlan {
            collection,
            channel: channel.clone(),
            sources: found,
            deletes: manifest.deletes.clone(),
            cluster_by: asked.cluster_by,
            expiry,
            keeps_since: when.keeps_since(info),
        })
    })
}

/// Whether all that had expired when a compaction was planned still has at `when`: how long rows live may have been changed
/// since, and then they are seen again.
pub fn has_still_expired(catalog: &Catalog, plan: &CompactPlan, when: Moment) -> bool {
    let info = catalog.collections.get(&plan.collection);
    info.is_none_or(|info| plan.expiry.and(expiry_at(info, Pace::Manual, when)) == plan.expiry)
}

/// Leaves what a compaction made that is not to be taken.
pub fn give_up_compaction(plan: &CompactPlan, outputs: &[SegmentManifest], fresh: Timestamp) -> Compacted {
    Compacted { changes: discard_compaction(plan.collection, outputs, fresh), taken: false }
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
/// `fresh` is an unused number.
pub fn commit_compaction(
    catalog: &Catalog,
    plan: &CompactPlan,
    outputs: &[SegmentManifest],
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Compacted {
    let stale = || give_up_compaction(plan, outputs, fresh);
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
    let rows = |segments: &[SegmentManifest]| segments.iter().map(|segment| segment.rows).sum::<u64>();
    let rows_made = rows(&outputs);
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
    let expired = replaced.iter().filter(|segment| plan.expiry.may_be_of(segment));
    let expired = expired.map(|segment| segment.newest.max(segment.clean_through)).max().unwrap_or_default();
    manifest.expired_through = old.expired_through.max(expired);
    let is_less = rows_made < rows(&replaced);
    manifest.history_from = old.history();
    manifest.pin_history(if is_less { plan.keeps_since.unwrap_or(fresh) } else { Timestamp::ZERO });
    let kept_from = super::deletes_kept_from(catalog, plan.collection);
    let applied = drop_applied(&mut manifest, old.newest(), kept_from);
    // Who still holds a segment that was replaced before may need these files to load it.
    let earlier = if applied.is_empty() { BTreeSet::new() } else { leaving(catalog, plan.collection) };
    dropped.extend(applied);
    let mut changes = vec![Change::PutManifest {
        collection: plan.collection,
        shard,
        channel: plan.channel.clone(),
        manifest,
    }];
    let mut left = leave_held(plan.collection, &replaced, dropped, fresh, not_before_unix_ms);
    if let Some(Change::PutGarbage(record)) = &mut left {
        record.segments.extend(&earlier);
    }
    changes.extend(left);
    Compacted { changes, taken: true }
}

/// Segments of a collection that were replaced and that somebody may hold.
pub fn leaving(catalog: &Catalog, collection: CollectionId) -> BTreeSet<SegmentId> {
    let records = catalog.garbage.values().filter(|record| record.collection == Some(collection));
    records.flat_map(|record| &record.segments).copied().collect()
}

/// Leaves what a compaction made that is not wanted.
fn discard_compaction(
    collection: CollectionId,
    outputs: &[SegmentManifest],
    fresh: Timestamp,
) -> Vec<Change> {
    leave_held(collection, outputs, Vec::new(), fresh, 0).into_iter().collect()
}

/// Takes out the delete files that no segment needs; returns their keys. Keeps one if nothing else tells how new the
/// channel is: an owner gives no time that is not later. Keeps those of `kept_from` and later: rows of that time are to come.
fn drop_applied(
    manifest: &mut ChannelManifest,
    newest: Timestamp,
    kept_from: Option<Timestamp>,
) -> Vec<String> {
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for file in std::mem::take(&mut manifest.deletes) {
        let is_needed = kept_from.is_some_and(|from| file.newest >= from)
            || manifest.segments.iter().any(|segment| segment.needs(&file));
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
pub(super) mod tests;
