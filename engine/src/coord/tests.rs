//! The coordinator with one node that builds, in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::catalog::Compaction;
use super::change::Change;
use super::drive::{CompactionLimits, Coordinator, CoordinatorParts, Limits};
use super::place::PlaceSettings;
use crate::base::{
    ChannelName, Clock as _, CollectionId, Kind, Kinded as _, NodeId, PartitionId, Position, RealClock,
    SegmentId, TaskSet, TestClock, Timestamp,
};
use crate::blob::{Blobs as _, MemoryBlobs};
use crate::builder::Workshop;
use crate::coord::decide::{SPARED_MS, Sizes};
use crate::meta::{self, MemoryMetas, Metas, Txn, Versioned};
use crate::model::{DataType, Function, FunctionKind, Keys, Schema, SegmentManifest, StructField};
use crate::rpc::{
    CollectionChange, CollectionInfo, CollectionRef, CompactionPlan, CompactionState, CompactionStep,
    Coord as _, DEFAULT_GROUP, Duties, Flushed, HeldChannel, HeldCollection, JobCount, LoadSpec, LocalNodes,
    NewCollection, NewIndex, NodeInfo, OrderNumber, Refusal, ReplicaSpec, Report, Served, SteerChange,
};
use crate::segment::fixture::{KEY, NUMBER, Row, batch, schema};
use crate::segment::{Deletes, write_deletes, write_segment};

struct Cluster {
    parts: CoordinatorParts,
    coord: Arc<Coordinator>,
    blobs: Arc<MemoryBlobs>,
    tasks: TaskSet,
    collection: CollectionId,
    partition: PartitionId,
    checkpoint: u64,
    /// The orders that the node saw last.
    seen: Mutex<OrderNumber>,
}

/// Metadata right after whose next commit another coordinator leads, and some time passes.
struct Overtaken(Arc<dyn Metas>, AtomicBool);

#[async_trait]
impl Metas for Overtaken {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.0.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        let committed = self.0.commit(txn).await;
        if self.1.swap(false, Ordering::Relaxed) {
            let (version, _) = super::lead::read(self.0.as_ref()).await.unwrap().unwrap();
            super::lead::take_over(self.0.as_ref(), Some(version), "b").await.unwrap();
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        committed
    }
}

impl Cluster {
    async fn new(limits: CompactionLimits) -> Self {
        Self::of(limits, schema(DataType::Int64)).await
    }

    async fn of(limits: CompactionLimits, schema: Schema) -> Self {
        let (nodes, blobs) = (LocalNodes::new(), MemoryBlobs::new());
        let builder = Some(Workshop::new(Arc::clone(&blobs) as _, 1) as _);
        nodes.open("a", Served { builder, ..Served::default() });
        let metas = MemoryMetas::new();
        let epoch = super::lead::take_over(metas.as_ref(), None, "a").await.unwrap();
        let parts = CoordinatorParts {
            metas,
            blobs: Arc::clone(&blobs) as _,
            clock: RealClock::new(),
            dial: nodes,
            limits: Limits {
                databases: 9,
                collections: 9,
                partitions: 9,
                min_rows_to_index: 1_000,
                groups: 9,
                compaction: limits,
            },
            placing: PlaceSettings {
                settle: Duration::ZERO,
                lost_after: Duration::from_secs(600),
                ..PlaceSettings::default()
            },
            address: "a".to_owned(),
            alone: true,
            flaw: None,
        };
        let coord = Coordinator::start(parts.clone(), epoch).await.unwrap();
        coord.leads_until(Duration::MAX);
        let tasks = TaskSet::new();
        tasks.start("work", |stop| Arc::clone(&coord).work(stop));
        let made = coord.create_collection(NewCollection {
            database: String::new(),
            name: "c".to_owned(),
            schema,
            shards: 1,
            properties: Vec::new(),
            consistency: 0,
            partitions_by_key: 0,
        });
        let made = made.await.unwrap();
        let cluster = Self {
            parts,
            coord,
            blobs,
            tasks,
            collection: made.id,
            partition: made.partitions[0].id,
            checkpoint: 0,
            seen: Mutex::default(),
        };
        cluster.beat(&[]).await;
        cluster
    }

    /// Nobody does any work any more.
    async fn pause(&self) {
        self.tasks.stop();
        self.tasks.join().await.unwrap();
    }

    /// Another coordinator leads, and the node reports to it.
    async fn change_leader(&mut self) {
        self.pause().await;
        let metas = self.parts.metas.as_ref();
        let (version, _) = super::lead::read(metas).await.unwrap().unwrap();
        let epoch = super::lead::take_over(metas, Some(version), "a").await.unwrap();
        self.coord = Coordinator::start(self.parts.clone(), epoch).await.unwrap();
        self.coord.leads_until(Duration::MAX);
        self.tasks = TaskSet::new();
        self.tasks.start("work", |stop| Arc::clone(&self.coord).work(stop));
        self.beat(&[]).await;
    }

    /// The node reports to hold these segments.
    async fn beat(&self, segments: &[SegmentId]) {
        self.beat_with(segments, Vec::new()).await;
    }

    /// And finds these objects of indexes damaged.
    async fn beat_with(&self, segments: &[SegmentId], damaged: Vec<(SegmentId, String)>) {
        self.report(segments, None, Position(self.checkpoint), damaged).await;
    }

    /// And the rows from a position on, and has come to another one.
    async fn follow_to(&self, segments: &[SegmentId], from: Option<Position>, applied: Position) {
        self.report(segments, from, applied, Vec::new()).await;
    }

    async fn report(
        &self,
        segments: &[SegmentId],
        growing_from: Option<Position>,
        applied: Position,
        damaged: Vec<(SegmentId, String)>,
    ) {
        let duties = Duties { builds: true, queries: true, ..Duties::default() };
        let channel = HeldChannel {
            channel: ChannelName::of(self.collection, 0),
            segments: segments.to_vec(),
            growing_from,
            applied,
            needs_from: applied,
        };
        let held = HeldCollection {
            collection: self.collection,
            channels: vec![channel],
            bytes: 0,
            failure: None,
            is_full: false,
            damaged,
            harm: None,
            extent: crate::rpc::Extent::Unsaid,
        };
        let node = NodeInfo { id: NodeId(1), address: "a".to_owned(), duties, ..NodeInfo::default() };
        let seen = *self.seen.lock();
        let report = Report { node, seen, held: vec![held], ..Report::default() };
        *self.seen.lock() = self.coord.beat(report).await.unwrap().number;
    }

    /// A flush of rows with these keys, and of deletes of others.
    async fn flush(&mut self, rows: &[i64], deleted: &[i64]) {
        let at = self.coord.allocate_timestamps(1).await.unwrap();
        let id = self.coord.allocate_segment().await.unwrap();
        let (schema, channel) = (schema(DataType::Int64), ChannelName::of(self.collection, 0));
        let rows: Vec<Row> = rows.iter().map(|&key| Row::of(key, key)).collect();
        let mut flushed = Flushed {
            collection: self.collection,
            channel: channel.clone(),
            from: Position(self.checkpoint),
            to: Position(self.checkpoint + 1),
            segments: Vec::new(),
            deletes: Vec::new(),
            named_through: Timestamp::ZERO,
        };
        if !rows.is_empty() {
            let (batch, times) = (batch(&schema, &rows), vec![at; rows.len()]);
            let blobs = self.blobs.as_ref();
            let written =
                write_segment(blobs, self.collection, id, self.partition, &schema, &batch, &times).await;
            flushed.segments.push(written.unwrap());
        }
        if !deleted.is_empty() {
            let deletes = Deletes {
                keys: Keys::Int(deleted.to_vec()),
                times: vec![at; deleted.len()],
                partitions: vec![None; deleted.len()],
            };
            let serial = self.coord.allocate_ids(1).await.unwrap();
            let written =
                write_deletes(self.blobs.as_ref(), self.collection, &channel, serial, &deletes).await;
            flushed.deletes.push(written.unwrap());
        }
        self.coord.commit_flush(flushed).await.unwrap();
        self.checkpoint += 1;
    }

    async fn segments(&self) -> Vec<SegmentManifest> {
        self.coord.manifests(self.collection).await.unwrap()[0].segments.clone()
    }

    async fn until(&self, what: &str, mut done: impl AsyncFnMut() -> bool) {
        let waited = async {
            while !done().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
        assert!(waited.is_ok(), "{what}");
    }

    async fn has(&self, segment: &SegmentManifest) -> bool {
        self.blobs.read(&segment.columns[0].object.key).await.is_ok()
    }

    async fn stop(self) {
        self.tasks.stop();
        self.tasks.join().await.unwrap();
    }
}

fn no_grace() -> CompactionLimits {
    CompactionLimits { grace: Duration::ZERO, ..CompactionLimits::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_segments_become_one_and_stay_stored_while_a_node_holds_them() {
    let mut cluster = Cluster::new(no_grace()).await;
    for first in [0, 10, 20] {
        cluster.flush(&[first, first + 1, first + 2, first + 3], &[]).await;
    }
    let old = cluster.segments().await;
    assert_eq!(old.len(), 3);
    cluster.beat(&[old[1].id]).await;

    cluster.flush(&[30, 31, 32], &[1, 2]).await;
    cluster.until("merged", async || cluster.segments().await.len() == 1).await;

    let rows: u64 = cluster.segments().await.iter().map(|one| one.rows).sum();
    assert_eq!(rows, 13, "rows that were deleted are gone");
    assert_eq!(cluster.coord.manifests(cluster.collection).await.unwrap()[0].deletes, []);
    cluster.coord.wake.notify_one();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(cluster.has(&old[0]).await && cluster.has(&old[1]).await, "held objects stay");
    cluster.beat(&[]).await;
    cluster.coord.wake.notify_one();
    cluster.until("removed", async || !cluster.has(&old[0]).await && !cluster.has(&old[1]).await).await;
    let left = cluster.blobs.list("segments/").await.unwrap();
    assert_eq!(left.len(), 4, "scalars, vectors, statistics and manifest of one segment: {left:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_operator_keeps_garbage_nothing_is_removed_under_the_next_leader_either() {
    let mut cluster = Cluster::new(no_grace()).await;
    cluster.coord.steer(SteerChange::PauseGarbage { seconds: 3_600 }).await.unwrap();
    cluster.coord.steer(SteerChange::SuspendBalance(true)).await.unwrap();
    cluster.coord.steer(SteerChange::SuspendNode { node: NodeId(1), on: true }).await.unwrap();
    let unknown = cluster.coord.steer(SteerChange::SuspendNode { node: NodeId(7), on: true }).await;
    for first in [0, 10, 20] {
        cluster.flush(&[first, first + 1, first + 2, first + 3], &[]).await;
    }
    let old = cluster.segments().await;
    cluster.flush(&[30, 31, 32], &[1, 2]).await;
    cluster.until("merged", async || cluster.segments().await.len() == 1).await;
    cluster.until("nothing runs", async || cluster.coord.job_count().running == 0).await;
    cluster.beat(&[]).await;

    let waits = |cluster: &Cluster| {
        let garbage = cluster.coord.catalog.read().garbage.len();
        (garbage > 0, cluster.coord.next_garbage().is_none())
    };
    assert_eq!(waits(&cluster), (true, true));
    assert_eq!(cluster.coord.job_count().waiting, 0, "what is to stay is no work that waits");
    cluster.change_leader().await;
    // With it, the bucket has all that the former leader committed; before, nothing would be removed anyway.
    cluster.flush(&[40], &[]).await;
    // Nor before the node has said that it goes by the orders of this leader.
    cluster.beat(&[]).await;
    assert_eq!(waits(&cluster), (true, true));
    for segment in &old {
        assert!(cluster.has(segment).await);
    }
    let steering = cluster.coord.steering().await.unwrap();
    assert!(steering.garbage_paused_ms > 3_500_000, "{steering:?}");
    assert_eq!((steering.balance_suspended, steering.suspended), (true, [NodeId(1)].into()));
    assert_eq!(unknown.unwrap_err().to_string(), "there is no query node 7");

    cluster.coord.steer(SteerChange::ResumeGarbage).await.unwrap();
    for segment in &old {
        cluster.until("removed", async || !cluster.has(segment).await).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_waits_for_the_right_to_commit_gets_it_while_an_overtaken_compaction_is_noted() {
    let mut cluster = Cluster::new(CompactionLimits { automatic: false, ..no_grace() }).await;
    cluster.flush(&[1, 2], &[]).await;
    cluster.flush(&[3, 4], &[]).await;
    let old = cluster.segments().await;
    cluster.beat(&[old[0].id, old[1].id]).await;
    let id = cluster.coord.compact(cluster.collection, false).await.unwrap();
    cluster.until("merged", async || cluster.coord.compaction(id).await.unwrap().executing == 0).await;

    let right = cluster.coord.writing.lock().await;
    cluster.beat(&[]).await;
    cluster.coord.wake.notify_one();
    cluster.until("removed", async || !cluster.has(&old[0]).await && !cluster.has(&old[1]).await).await;
    let gone = CompactionPlan {
        sources: vec![SegmentId(1)],
        targets: Vec::new(),
        cluster_by: None,
        expiry: Default::default(),
        step: CompactionStep::Executing,
    };
    let overtaken = Compaction { id: 7, collection: cluster.collection, plans: vec![gone] };
    cluster.coord.commit(vec![Change::PutCompaction(overtaken)]).await.unwrap();
    // The removal is in line for the right by now, and the note after it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(right);

    cluster.until("noted", async || cluster.coord.compaction(7).await.unwrap().completed == 1).await;
    cluster.until("forgotten", async || cluster.coord.catalog.read().garbage.is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_that_is_asked_for_says_how_far_it_is() {
    let off = CompactionLimits { automatic: false, ..CompactionLimits::default() };
    let mut cluster = Cluster::new(off).await;
    cluster.flush(&[1, 2], &[]).await;
    cluster.flush(&[3, 4], &[]).await;
    cluster.flush(&[], &[1, 2, 3, 4]).await;
    let sources: Vec<SegmentId> = cluster.segments().await.iter().map(|one| one.id).collect();

    let id = cluster.coord.compact(cluster.collection, false).await.unwrap();
    cluster.until("done", async || cluster.coord.compaction(id).await.unwrap().executing == 0).await;

    let state = cluster.coord.compaction(id).await.unwrap();
    assert_eq!((state.completed, state.failed, state.plans.len()), (1, 0, 1));
    assert_eq!((&state.plans[0].sources, state.plans[0].step), (&sources, CompactionStep::Completed));
    assert_eq!(cluster.segments().await, []);
    assert_eq!(cluster.coord.compaction(1).await.unwrap(), CompactionState::default());
    assert!(cluster.coord.compact(CollectionId(1), false).await.is_err());
    let stored = cluster.blobs.list("segments/").await.unwrap();
    assert_eq!(stored.len(), 8, "what was replaced stays for a while");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_counted_until_a_node_has_done_it() {
    let off = CompactionLimits { automatic: false, grace: Duration::ZERO, ..CompactionLimits::default() };
    let mut cluster = Cluster::new(off).await;
    let count = async |cluster: &Cluster| cluster.coord.lead().await.unwrap().jobs.unwrap();
    cluster.flush(&[1, 2], &[]).await;
    cluster.flush(&[3, 4], &[]).await;
    assert_eq!(count(&cluster).await, JobCount::default(), "nothing is to be done");

    cluster.pause().await;
    cluster.coord.compact(cluster.collection, false).await.unwrap();
    assert_eq!(count(&cluster).await, JobCount { waiting: 1, running: 0 });

    cluster.change_leader().await;
    cluster.until("nothing waits", async || count(&cluster).await == JobCount::default()).await;
    assert_eq!(cluster.segments().await.len(), 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_goes_on_under_another_leader_and_its_state_is_known_there() {
    let off = CompactionLimits { automatic: false, ..CompactionLimits::default() };
    let mut cluster = Cluster::new(off).await;
    cluster.flush(&[1, 2], &[]).await;
    cluster.flush(&[3, 4], &[]).await;
    let sources: Vec<SegmentId> = cluster.segments().await.iter().map(|one| one.id).collect();
    cluster.pause().await;
    let id = cluster.coord.compact(cluster.collection, false).await.unwrap();
    assert_eq!(cluster.coord.compaction(id).await.unwrap().executing, 1);

    cluster.change_leader().await;
    let known = cluster.coord.compaction(id).await.unwrap();
    assert_eq!((known.plans.len(), &known.plans[0].sources), (1, &sources));
    cluster.until("done", async || cluster.coord.compaction(id).await.unwrap().executing == 0).await;

    cluster.change_leader().await;
    let known = cluster.coord.compaction(id).await.unwrap();
    let made: Vec<SegmentId> = cluster.segments().await.iter().map(|one| one.id).collect();
    assert_eq!((known.completed, made.len(), &known.plans[0].targets), (1, 1, &made));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_is_clustered_on_demand_once_and_only_by_a_key() {
    let limits =
        CompactionLimits { automatic: false, sizes: Sizes::of(5_000), ..CompactionLimits::default() };
    let mut schema = schema(DataType::Int64);
    schema.fields[1].is_clustering_key = true;
    let mut cluster = Cluster::of(limits.clone(), schema).await;
    for first in 0..4 {
        let keys: Vec<i64> = (0..40).map(|key| key * 4 + first).collect();
        cluster.flush(&keys, &[]).await;
    }
    let before = cluster.segments().await.len();

    let id = cluster.coord.compact(cluster.collection, true).await.unwrap();
    cluster.until("done", async || cluster.coord.compaction(id).await.unwrap().executing == 0).await;

    let state = cluster.coord.compaction(id).await.unwrap();
    let segments = cluster.segments().await;
    let made: Vec<SegmentId> = segments.iter().map(|one| one.id).collect();
    assert_eq!((before, state.completed, &state.plans[0].targets), (4, 1, &made));
    assert!(made.len() > 1 && segments.iter().all(|one| one.clustered_by == Some(NUMBER)));
    assert_eq!(segments.iter().map(|one| one.rows).sum::<u64>(), 160);
    let again = cluster.coord.compact(cluster.collection, true).await.unwrap();
    assert_eq!(cluster.coord.compaction(again).await.unwrap().plans, [], "there is nothing left to do");
    let merge = cluster.coord.compact(cluster.collection, false).await.unwrap();
    assert_eq!(cluster.coord.compaction(merge).await.unwrap().plans, [], "what is clustered is not merged");
    cluster.stop().await;

    let cluster = Cluster::new(limits).await;
    let refused = cluster.coord.compact(cluster.collection, true).await.unwrap_err();
    assert_eq!(refused.to_string(), "collection c has no clustering key");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_a_node_finds_damaged_is_built_again() {
    let mut cluster =
        Cluster::new(CompactionLimits { automatic: false, ..CompactionLimits::default() }).await;
    let index = NewIndex {
        collection: CollectionRef::Id(cluster.collection),
        name: "v".to_owned(),
        field: "v".to_owned(),
        params: [("index_type", "HNSW"), ("metric_type", "L2"), ("M", "8"), ("efConstruction", "16")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
    };
    cluster.coord.create_index(index).await.unwrap();
    cluster.flush(&(0..1_000).collect::<Vec<_>>(), &[]).await;
    let built = async || cluster.segments().await[0].indexes.first().map(|index| index.object.key.clone());
    cluster.until("an index", async || built().await.is_some()).await;
    let (segment, damaged) = (cluster.segments().await[0].id, built().await.unwrap());

    cluster.beat_with(&[segment], vec![(segment, "segments/1/2/index-3-4.bin".to_owned())]).await;
    assert_eq!(built().await.as_ref(), Some(&damaged), "nobody names that object");
    cluster.beat_with(&[segment], vec![(segment, damaged.clone())]).await;

    cluster.until("another", async || built().await.is_some_and(|key| key != damaged)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_segment_is_given_up_and_the_others_are_compacted() {
    let off = CompactionLimits { automatic: false, ..CompactionLimits::default() };
    let mut cluster = Cluster::new(off).await;
    cluster.flush(&[1, 2], &[]).await;
    cluster.flush(&[3, 4], &[]).await;
    let lost = cluster.segments().await[0].columns[0].object.key.clone();
    cluster.blobs.delete(&lost).await.unwrap();

    let id = cluster.coord.compact(cluster.collection, false).await.unwrap();
    cluster.until("given up", async || cluster.coord.compaction(id).await.unwrap().failed == 1).await;

    assert_eq!(cluster.segments().await.len(), 2);
    let found = cluster.coord.fsck().await.unwrap();
    assert_eq!(found.missing, [lost]);
    assert_eq!(found.orphans, Vec::<String>::new(), "what is young is no orphan");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_orphan_is_swept_and_what_is_named_stays() {
    let mut cluster = Cluster::new(CompactionLimits::default()).await;
    cluster.flush(&[1, 2], &[]).await;
    let now = cluster.coord.allocate_timestamps(1).await.unwrap();
    let of = |ms| format!("segments/1/{}/scalars.parquet", Timestamp::minus_ms(now, ms).as_id());
    let (orphan, young) = (of(SPARED_MS + 100_000), of(SPARED_MS - 100_000));
    for key in [&orphan, &young] {
        cluster.blobs.create(key, bytes::Bytes::from_static(b"x")).await.unwrap();
    }

    cluster.coord.steer(SteerChange::PauseGarbage { seconds: 3_600 }).await.unwrap();
    cluster.coord.remove_orphans().await.unwrap();
    assert!(cluster.blobs.read(&orphan).await.is_ok(), "an operator keeps what is there");
    cluster.coord.steer(SteerChange::ResumeGarbage).await.unwrap();
    cluster.tasks.start("sweep", |stop| Arc::clone(&cluster.coord).sweep(stop));
    cluster.until("swept", async || cluster.blobs.read(&orphan).await.is_err()).await;

    assert!(cluster.blobs.read(&young).await.is_ok());
    assert!(cluster.has(&cluster.segments().await[0]).await);
    let known = cluster.coord.collection(CollectionRef::Id(cluster.collection)).await;
    assert!(known.is_ok());
    cluster.stop().await;
}

#[tokio::test]
async fn a_flush_committed_by_a_leader_that_is_replaced_at_once_does_not_pass_for_undone() {
    let mut cluster = Cluster::new(no_grace()).await;
    cluster.pause().await;
    let metas = Arc::new(Overtaken(Arc::clone(&cluster.parts.metas), AtomicBool::new(false)));
    let clock = TestClock::starting_at(RealClock::new().unix_ms());
    let parts = CoordinatorParts { metas: Arc::clone(&metas) as _, clock, ..cluster.parts.clone() };
    let (version, _) = super::lead::read(metas.as_ref()).await.unwrap().unwrap();
    let epoch = super::lead::take_over(metas.as_ref(), Some(version), "a").await.unwrap();
    let coord = Coordinator::start(parts, epoch).await.unwrap();
    coord.leads_until(Duration::MAX);
    let flushed = Flushed {
        collection: cluster.collection,
        channel: ChannelName::of(cluster.collection, 0),
        from: Position(0),
        to: Position(1),
        segments: Vec::new(),
        deletes: Vec::new(),
        named_through: Timestamp::ZERO,
    };

    tokio::time::pause();
    metas.1.store(true, Ordering::Relaxed);
    let refused = coord.commit_flush(flushed).await.unwrap_err();
    tokio::time::resume();

    // Whoever is told that nothing was done asks the successor, who has to say that the checkpoint has moved.
    assert_eq!((refused.kind(), refused.is_stale()), (Kind::Unavailable, false), "{refused}");
    cluster.change_leader().await;
    assert_eq!(cluster.coord.manifests(cluster.collection).await.unwrap()[0].checkpoint, Position(1));
    cluster.stop().await;
}

#[tokio::test]
async fn a_node_that_is_not_to_own_a_channel_hears_so_for_good() {
    let cluster = Cluster::new(no_grace()).await;

    let refused = cluster.coord.channel_term(&ChannelName::of(cluster.collection, 0), NodeId(5)).await;

    let refused = refused.unwrap_err();
    assert_eq!((refused.kind(), refused.is_stale()), (Kind::Conflict, false), "{refused}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_wait_for_the_format_that_has_them() {
    let cluster = Cluster::new(no_grace()).await;
    let function = Function {
        id: 1,
        name: "f".to_owned(),
        description: String::new(),
        kind: FunctionKind::Bm25,
        input: NUMBER,
        output: KEY,
        params: Vec::new(),
    };
    let wanted = || NewCollection {
        database: String::new(),
        name: "texts".to_owned(),
        schema: Schema { functions: vec![function.clone()], ..schema(DataType::Int64) },
        shards: 1,
        properties: Vec::new(),
        consistency: 0,
        partitions_by_key: 0,
    };

    let refused = cluster.coord.create_collection(wanted()).await.unwrap_err().to_string();
    assert!(refused.contains("functions need format 2 and the cluster writes 1"), "{refused}");
    let of_structs = StructField {
        id: crate::base::FieldId(900),
        name: "s".to_owned(),
        description: String::new(),
        nullable: false,
        parts: vec![NUMBER],
        type_params: Vec::new(),
    };
    let structs = vec![of_structs];
    let with_structs = NewCollection { schema: Schema { structs, ..schema(DataType::Int64) }, ..wanted() };
    let refused = cluster.coord.create_collection(with_structs).await.unwrap_err().to_string();
    assert!(refused.contains("arrays of structs need format 2"), "{refused}");
    let mut field = schema(DataType::Int64).fields[1].clone();
    for (data_type, named) in [(DataType::Timestamptz, "Timestamptz"), (DataType::Geometry, "Geometry")] {
        (field.data_type, field.name, field.id) = (data_type, "new".to_owned(), crate::base::FieldId(900));
        let expected = format!(
            "the data type {named} of field new needs format 2 and the cluster writes 1: run redkite ctl finalize"
        );
        let mut with_field = NewCollection { schema: schema(DataType::Int64), ..wanted() };
        with_field.schema.fields.push(field.clone());
        let refused = cluster.coord.create_collection(with_field).await.unwrap_err().to_string();
        assert!(refused.contains(&expected), "{refused}");
        let change = CollectionChange::AddField { field: field.clone() };
        let to = CollectionRef::Id(cluster.collection);
        let refused = cluster.coord.alter_collection(to, change).await.unwrap_err().to_string();
        assert!(refused.contains(&expected), "{refused}");
    }
    for (key, value, named) in [
        ("metric_type", "MHJACCARD", "the metric type MHJACCARD"),
        ("inverted_index_algo", "SINDI", "the algorithm SINDI of sparse indexes"),
        ("params", r#"{"inverted_index_algo": "BLOCK_MAX_WAND"}"#, "the algorithm BLOCK_MAX_WAND"),
    ] {
        let index = NewIndex {
            collection: CollectionRef::Id(cluster.collection),
            name: String::new(),
            field: "v".to_owned(),
            params: vec![(key.to_owned(), value.to_owned())],
        };
        let refused = cluster.coord.create_index(index).await.unwrap_err().to_string();
        assert!(refused.contains(named) && refused.contains("needs format 2"), "{refused}");
    }
    cluster.pause().await;
    let metas = cluster.parts.metas.as_ref();
    metas.commit(super::format::put(Txn::new(), 2).unwrap()).await.unwrap();
    let (version, _) = super::lead::read(metas).await.unwrap().unwrap();
    let epoch = super::lead::take_over(metas, Some(version), "a").await.unwrap();
    let next = Coordinator::start(cluster.parts.clone(), epoch).await.unwrap();
    next.leads_until(Duration::MAX);
    next.create_collection(wanted()).await.unwrap();
    let found = CollectionRef::Name { database: String::new(), name: "texts".to_owned() };
    assert_eq!(next.collection(found).await.unwrap().schema.functions, std::slice::from_ref(&function));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_answers_when_no_route_names_what_it_dropped() {
    let mut cluster = Cluster::new(no_grace()).await;
    cluster.pause().await;
    cluster.flush(&[1, 2], &[]).await;
    let old = cluster.segments().await[0].id;
    let id = cluster.collection;
    let info = cluster.coord.collection(CollectionRef::Id(id)).await.unwrap();
    let replicas = vec![ReplicaSpec { id: 1, group: DEFAULT_GROUP.to_owned() }];
    let load = Some(LoadSpec { partitions: None, replicas });
    let loaded = CollectionInfo { load, ..CollectionInfo::clone(&info) };
    let load = |_: &_| Ok::<_, Refusal>(vec![Change::PutCollection(loaded.clone())]);
    cluster.coord.settle(load).await.unwrap().unwrap();
    let from = Some(Position(cluster.checkpoint));
    cluster.follow_to(&[old], from, Position(1)).await;
    let segments = async || {
        let routes = cluster.coord.routes(id).await.unwrap();
        let shares = routes.replicas.iter().flat_map(|replica| &replica.nodes);
        let channels = shares.flat_map(|node| node.share.channels.clone());
        channels.map(|channel| channel.segments).collect::<Vec<_>>()
    };
    assert_eq!(segments().await, [vec![old]]);
    // The node has not come to the checkpoint of the rows that are sealed next.
    let flushed = Flushed {
        collection: id,
        channel: ChannelName::of(id, 0),
        from: Position(1),
        to: Position(2),
        segments: Vec::new(),
        deletes: Vec::new(),
        named_through: Timestamp::ZERO,
    };
    cluster.coord.commit_flush(flushed).await.unwrap();

    let truncated = async {
        let change = CollectionChange::Truncate;
        cluster.coord.alter_collection(CollectionRef::Id(id), change).await.unwrap();
        segments().await
    };
    let follower = async {
        cluster.until("it is truncated", async || cluster.segments().await.is_empty()).await;
        let before = segments().await;
        cluster.follow_to(&[old], from, Position(2)).await;
        before
    };
    let (after, before) = tokio::join!(truncated, follower);

    assert_eq!((before, after), (vec![vec![old]], vec![vec![]]));
    cluster.stop().await;
}
