//! Any history of writes, flushes and compactions, committed in any order, against a naive list of rows: what is sealed and
//! the log after it give exactly the rows of the model, also to a reader with a manifest of a while ago, and to one who reads the
//! past as far as it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::base::{Position, Rng as _, SeededRng};
use crate::blob::{Blobs as _, MemoryBlobs};
use crate::coord::catalog::Garbage;
use crate::coord::decide::{LISTED, commit_flush, compare, spared};
use crate::exec::{Readable, query};
use crate::model::{Batch, ColumnData, DataType, Keys, Schema};
use crate::plan::{QueryKind, QueryPlan};
use crate::rpc::Flushed;
use crate::segment::fixture::{KEY, NUMBER, Row, batch, keys, schema};
use crate::segment::{self, Deletes, Growing, Sealed};

const COLLECTION: CollectionId = CollectionId(1);
/// For how long, in writes, replaced objects stay.
const GRACE: u64 = 15;

/// One record of the log; its position is its place there.
#[derive(Clone)]
struct Record {
    at: Timestamp,
    deletes: Vec<(i64, Option<PartitionId>)>,
    rows: Vec<Row>,
    partition: PartitionId,
}

struct World {
    rng: Arc<SeededRng>,
    blobs: Arc<MemoryBlobs>,
    schema: Arc<Schema>,
    catalog: Catalog,
    log: Vec<Record>,
    next: i64,
    flushing: Vec<Flushed>,
    compacting: Vec<(CompactPlan, Vec<SegmentManifest>)>,
    /// What was written before has expired, where rows do not live for a certain time. Only grows.
    expired_before: Timestamp,
    /// For how long rows live, in times.
    lives: Option<u64>,
    /// For how long, in times, what is gone is kept; `None` for not at all.
    retention: Option<u64>,
    /// Reads of the past.
    travelled: usize,
    /// Manifests of a while ago, with the time.
    older: Vec<(u64, ChannelManifest)>,
    /// Objects of flushes that were refused.
    refused: BTreeSet<String>,
    taken: usize,
    stale: usize,
    clustered: usize,
    dropped: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut info = super::tests::info(&[1, 2]);
        let mut schema = schema(DataType::Int64);
        schema.fields[1].is_clustering_key = true;
        info.schema = Arc::new(schema);
        let schema = Arc::clone(&info.schema);
        let mut catalog = Catalog::default();
        catalog.apply(Change::PutCollection(info));
        Self {
            rng: SeededRng::new(seed),
            blobs: MemoryBlobs::new(),
            schema,
            catalog,
            log: Vec::new(),
            next: 1,
            flushing: Vec::new(),
            compacting: Vec::new(),
            expired_before: Timestamp::ZERO,
            lives: seed.is_multiple_of(4).then_some(400),
            retention: (seed % 4 <= 1).then_some(300),
            travelled: 0,
            older: Vec::new(),
            refused: BTreeSet::new(),
            taken: 0,
            stale: 0,
            clustered: 0,
            dropped: 0,
        }
    }

    fn below(&self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn fresh(&mut self) -> i64 {
        self.next += 100;
        self.next
    }

    fn now(&self) -> u64 {
        self.log.len() as u64
    }

    /// What was written before has expired for a reader at a time.
    fn expired_at(&self, read_at: Timestamp) -> Timestamp {
        let of = |span| Timestamp(read_at.0.min(self.now() * 10).saturating_sub(span));
        self.lives.map_or(self.expired_before, of)
    }

    fn kept_since(&self) -> Option<Timestamp> {
        self.retention.map(|span| Timestamp((self.now() * 10).saturating_sub(span)))
    }

    fn manifest(&self) -> ChannelManifest {
        ChannelManifest::clone(&self.catalog.manifests[&COLLECTION][0])
    }

    fn write(&mut self) {
        let at = Timestamp(self.now() * 10 + 10);
        let partition = PartitionId(1 + self.below(2) as i64);
        let first = self.below(12) as i64;
        let chosen: Vec<i64> = (first..=first + self.below(4) as i64).collect();
        let row = |key: i64| Row::of(key, self.next + key + at.0 as i64 * 100);
        let mut rows: Vec<Row> = chosen.iter().map(|&key| row(key)).collect();
        let mut deletes = Vec::new();
        match self.below(4) {
            0 => {
                let some = (self.below(2) == 0).then_some(partition);
                deletes.extend(chosen.iter().map(|&key| (key, some)));
                rows.clear();
            }
            1 => deletes.extend(chosen.iter().map(|&key| (key, None))),
            // Of two rows of one key and time, the same one must count before and after.
            2 => rows.push(Row::of(first, -1)),
            _ => {}
        }
        self.log.push(Record { at, deletes, rows, partition });
    }

    /// Seals what is not sealed, without committing it.
    async fn flush(&mut self) {
        let from = self.manifest().checkpoint;
        let records = self.log[from.0 as usize..].to_vec();
        let mut flushed = Flushed {
            collection: COLLECTION,
            channel: ChannelName::of(COLLECTION, 0),
            from,
            to: Position(self.log.len() as u64),
            segments: Vec::new(),
            deletes: Vec::new(),
            named_through: Timestamp::ZERO,
        };
        for partition in [PartitionId(1), PartitionId(2)] {
            let mine = || records.iter().filter(|record| record.partition == partition);
            let rows: Vec<Row> = mine().flat_map(|record| record.rows.clone()).collect();
            let times: Vec<Timestamp> =
                mine().flat_map(|record| vec![record.at; record.rows.len()]).collect();
            if !rows.is_empty() {
                let (id, rows) = (SegmentId(self.fresh()), batch(&self.schema, &rows));
                let written = segment::write_segment(
                    self.blobs.as_ref(),
                    COLLECTION,
                    id,
                    partition,
                    &self.schema,
                    &rows,
                    &times,
                );
                flushed.segments.push(written.await.unwrap());
            }
        }
        let each: Vec<(Timestamp, i64, Option<PartitionId>)> = records
            .iter()
            .flat_map(|record| record.deletes.iter().map(|(key, some)| (record.at, *key, *some)))
            .collect();
        if !each.is_empty() {
            let deletes = Deletes {
                keys: Keys::Int(each.iter().map(|one| one.1).collect()),
                times: each.iter().map(|one| one.0).collect(),
                partitions: each.iter().map(|one| one.2).collect(),
            };
            let (serial, channel) = (self.fresh(), flushed.channel.clone());
            let written =
                segment::write_deletes(self.blobs.as_ref(), COLLECTION, &channel, serial, &deletes).await;
            flushed.deletes.push(written.unwrap());
        }
        self.flushing.push(flushed);
    }

    /// Compacts some segments as they are now, without committing it. Some may be in another compaction already.
    async fn compact(&mut self) {
        let manifest = self.manifest();
        let info = Arc::clone(&self.catalog.collections[&COLLECTION]);
        let manifests = [Arc::new(manifest.clone())];
        let pace = if self.below(3) == 0 { Pace::Automatic } else { Pace::Manual };
        let pace = (pace, Moment::default());
        let busy: BTreeSet<SegmentId> =
            manifest.segments.iter().map(|segment| segment.id).filter(|_| self.below(4) == 0).collect();
        let max_bytes = [4_000, 20_000, 1_000_000][self.below(3)];
        let is_busy = |id| busy.contains(&id);
        let planned = match self.below(3) {
            0 => next_clustering(&info, &manifests, max_bytes, pace, is_busy),
            _ => next_compaction(&info, &manifests, Sizes::of(max_bytes), pace, is_busy),
        };
        let Some(mut plan) = planned else { return };
        plan.expiry.written_before = self.expired_at(self.kept_since().unwrap_or(Timestamp::MAX));
        plan.keeps_since = self.kept_since();
        let id = SegmentId(self.fresh());
        let clustering = plan.cluster_by.map(|field| segment::Clustering { field, max_bytes });
        let rules = segment::Rules { clustering, expiry: plan.expiry, keeps_since: plan.keeps_since };
        let (sources, deletes) = (&plan.sources, &plan.deletes);
        let made =
            segment::compact(self.blobs.as_ref(), COLLECTION, id, &self.schema, sources, deletes, rules);
        // The sources may have been replaced and removed long ago; then there is nothing to commit.
        let made: Vec<SegmentManifest> = made.await.unwrap();
        assert!(made.len() <= most_outputs(&plan, max_bytes) as usize);
        self.clustered += usize::from(made.len() > 1);
        let before: u64 = plan.sources.iter().map(|source| source.rows).sum();
        self.dropped += before - made.iter().map(|made| made.rows).sum::<u64>();
        self.compacting.push((plan, made));
    }

    fn commit_flush(&mut self) {
        if self.flushing.is_empty() {
            return;
        }
        let flushed = self.flushing.remove(self.below(self.flushing.len()));
        match commit_flush(&self.catalog, &flushed, Timestamp(self.next as u64)) {
            Ok(changes) => changes.into_iter().for_each(|change| self.catalog.apply(change)),
            Err(_) => {
                let segments = flushed.segments.iter().flat_map(SegmentManifest::objects);
                let files = flushed.deletes.iter().map(|file| file.object.key.clone());
                self.refused.extend(segments.chain(files));
            }
        }
    }

    fn commit_compaction(&mut self) {
        if self.compacting.is_empty() {
            return;
        }
        let (plan, made) = self.compacting.remove(self.below(self.compacting.len()));
        let before = self.manifest();
        let fresh = Timestamp(self.fresh() as u64);
        let done = commit_compaction(&self.catalog, &plan, &made, fresh, self.now() + GRACE);
        done.changes.into_iter().for_each(|change| self.catalog.apply(change));
        if done.taken {
            self.taken += 1;
        } else {
            self.stale += 1;
            assert_eq!(self.manifest(), before, "what is stale changes nothing");
        }
        assert_eq!(self.manifest().checkpoint, before.checkpoint);
        assert!(self.manifest().newest() >= before.newest());
    }

    async fn collect(&mut self) {
        let is_due = |garbage: &&Garbage| garbage.not_before_unix_ms <= self.now();
        let due: Vec<Garbage> = self.catalog.garbage.values().filter(is_due).cloned().collect();
        for garbage in due {
            assert_eq!(spared(&self.catalog, &garbage), Vec::<String>::new());
            for key in &garbage.objects {
                self.blobs.delete(key).await.unwrap();
            }
            self.catalog.apply(Change::RemoveGarbage(garbage.id));
        }
    }

    /// All rows that have not expired, read at a time by a manifest and the log from its checkpoint on: key, number and time; and
    /// how many there are.
    async fn read(
        &self,
        manifest: &ChannelManifest,
        read_at: Timestamp,
    ) -> (Vec<(i64, i64, Timestamp)>, u64) {
        let mut sealed = Vec::new();
        for segment in &manifest.segments {
            let loaded =
                Sealed::load(self.blobs.as_ref(), Arc::clone(&self.schema), segment, &[]).await.unwrap();
            for file in manifest.deletes.iter().filter(|file| segment.needs(file)) {
                loaded.delete(&segment::read_deletes(self.blobs.as_ref(), file).await.unwrap());
            }
            sealed.push(Arc::new(loaded));
        }
        let growing = Growing::new(Arc::clone(&self.schema));
        for (at, record) in self.log.iter().enumerate().skip(manifest.checkpoint.0 as usize) {
            for (key, some) in &record.deletes {
                let deletes =
                    Deletes { keys: Keys::Int(vec![*key]), times: vec![record.at], partitions: vec![*some] };
                sealed.iter().for_each(|sealed| sealed.delete(&deletes));
                growing.delete(&keys(&self.schema, &[*key]), record.at, *some);
            }
            if !record.rows.is_empty() {
                let rows: Batch = batch(&self.schema, &record.rows);
                growing.append(Position(at as u64), record.partition, record.at, &rows);
            }
        }
        let on = Readable { sealed, growing: vec![Arc::new(growing)] };
        let plan = |kind| QueryPlan {
            collection: COLLECTION,
            partitions: None,
            filter: None,
            limit: None,
            order: None,
            output: vec![KEY, NUMBER],
            read_at,
            expired_before: self.expired_at(read_at),
            ignore_growing: false,
            kind,
        };
        let found = query(&plan(QueryKind::Rows), &self.schema, &on).unwrap();
        let count = query(&plan(QueryKind::Count), &self.schema, &on).unwrap().count;
        let rows = match (&found.keys, found.rows.columns.get(1).map(|column| &column.data)) {
            (Keys::Int(keys), Some(ColumnData::Int64(numbers))) => keys
                .iter()
                .zip(numbers)
                .zip(&found.times)
                .map(|((key, number), at)| (*key, *number, *at))
                .collect(),
            other => panic!("{other:?}"),
        };
        (rows, count)
    }

    /// Some of what there is lives no longer.
    fn expire(&mut self) {
        let now = Timestamp(self.now() * 10);
        let span = (now.0.saturating_sub(self.expired_before.0) / 2) as usize;
        self.expired_before.0 += self.below(span.max(1)) as u64;
    }

    /// What the model has at a time: of each key the newest row that no delete hides and that has not expired, of several of one time the
    /// first.
    fn expected(&self, read_at: Timestamp) -> (Vec<(i64, i64, Timestamp)>, u64) {
        let mut newest = std::collections::BTreeMap::<i64, (i64, Timestamp)>::new();
        let mut count = 0;
        let log = &self.log[..self.log.partition_point(|record| record.at <= read_at)];
        let living = |(_, record): &(usize, &Record)| record.at >= self.expired_at(read_at);
        for (place, record) in log.iter().enumerate().filter(living) {
            for row in &record.rows {
                let hides = |(key, some): &(i64, Option<PartitionId>)| {
                    *key == row.key && some.is_none_or(|some| some == record.partition)
                };
                if log[place + 1..].iter().any(|later| later.deletes.iter().any(hides)) {
                    continue;
                }
                count += 1;
                let known = newest.entry(row.key).or_insert((row.number, record.at));
                if record.at > known.1 {
                    *known = (row.number, record.at);
                }
            }
        }
        (newest.into_iter().map(|(key, (number, at))| (key, number, at)).collect(), count)
    }

    async fn check(&mut self) {
        let manifest = self.manifest();
        let newest = Timestamp::MAX;
        let expected = self.expected(newest);
        assert_eq!(self.read(&manifest, newest).await, expected);
        if let Some(since) = self.kept_since() {
            let from = manifest.history();
            assert!(from <= since.max(Timestamp(1)), "history from {from}, to be kept since {since}");
            let past = Timestamp(from.0 + self.rng.below((self.now() * 10).saturating_sub(from.0) + 1));
            assert_eq!(
                self.read(&manifest, past).await,
                self.expected(past),
                "at {past}, kept from {from} on"
            );
            self.travelled += 1;
        }
        let now = self.now();
        self.older.retain(|(since, _)| *since + GRACE > now);
        if !self.older.is_empty() {
            let (_, older) = self.older[self.below(self.older.len())].clone();
            assert_eq!(self.read(&older, newest).await, expected, "by an older manifest");
        }
        self.older.push((now, manifest));
    }

    /// Nothing is lost, and nothing is left but what refused flushes left.
    async fn fsck(&self) {
        let mut listed = BTreeMap::new();
        for prefix in LISTED {
            let entries = self.blobs.list(prefix).await.unwrap().into_iter();
            listed.extend(entries.map(|entry| (entry.key, entry.size_bytes)));
        }
        let found = compare(&self.catalog, &self.catalog, &listed, &BTreeSet::new(), Timestamp::MAX);
        assert_eq!((found.missing, found.strange, found.resized), (Vec::new(), Vec::new(), Vec::new()));
        assert_eq!(found.orphans.into_iter().collect::<BTreeSet<_>>(), self.refused);
    }
}

#[tokio::test]
async fn whatever_is_compacted_and_whenever_it_is_committed_the_rows_are_those_of_the_model() {
    let (mut taken, mut stale, mut clustered, mut dropped, mut travelled) = (0, 0, 0, 0, 0);
    for seed in 0..25 {
        let mut world = World::new(seed);
        for _ in 0..180 {
            match world.below(15) {
                14 if seed % 4 == 2 => world.expire(),
                0 => world.flush().await,
                1 | 2 => world.commit_flush(),
                3 | 4 => world.compact().await,
                5 => world.commit_compaction(),
                6 => world.collect().await,
                7 => world.check().await,
                _ => world.write(),
            }
        }
        while !world.flushing.is_empty() {
            world.commit_flush();
        }
        while !world.compacting.is_empty() {
            world.commit_compaction();
        }
        world.check().await;
        for _ in 0..GRACE {
            world.write();
        }
        world.collect().await;
        world.check().await;
        world.fsck().await;
        taken += world.taken;
        stale += world.stale;
        clustered += world.clustered;
        dropped += world.dropped;
        travelled += world.travelled;
    }
    let counts = (taken, stale, clustered, dropped, travelled);
    let is_enough = taken > 50 && stale > 20 && clustered > 10 && dropped > 100 && travelled > 50;
    assert!(is_enough, "{counts:?}");
}
