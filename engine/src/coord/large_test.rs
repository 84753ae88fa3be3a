//! Manifests and garbage that are too large for a record, over several leaders.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::drive::{Coordinator, CoordinatorParts};
use super::place::PlaceSettings;
use super::{CompactionLimits, Error, Limits, lead, record};
use crate::base::{
    ChannelName, CollectionId, FieldId, Kind, Kinded as _, NodeId, PartitionId, Position, RealClock,
    SegmentId, TaskSet, Timestamp,
};
use crate::blob::{self, BlobEntry, Blobs, MemoryBlobs};
use crate::builder::Workshop;
use crate::meta::{self, MemoryMetas, Metas, Txn, Versioned};
use crate::model::{ChannelManifest, ColumnRef, DataType, ObjectRef, SegmentManifest};
use crate::rpc::{self, Coord as _, Duties, Flushed, LocalNodes, NewCollection, NodeInfo, Report, Served};
use crate::segment::fixture::schema;

pub(super) struct World {
    pub(super) metas: Arc<Doubtful>,
    pub(super) blobs: Arc<MemoryBlobs>,
}

/// Metadata of which one flush is committed and said to have failed, once it is told so.
pub(super) struct Doubtful {
    inner: Arc<MemoryMetas>,
    lie: AtomicBool,
}

#[async_trait]
impl Metas for Doubtful {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        let is_flush = txn.writes.iter().any(|write| write.key().starts_with("channels/"));
        let committed = self.inner.commit(txn).await?;
        if is_flush && self.lie.swap(false, Ordering::Relaxed) {
            return Err(meta::Error::Store {
                doing: meta::Doing::Commit,
                place: "here".to_owned(),
                kind: Kind::Unavailable,
                source: "the answer was lost".into(),
            });
        }
        Ok(committed)
    }
}

/// Metadata that takes its time over the bound of time.
struct Slow(Arc<Doubtful>);

#[async_trait]
impl Metas for Slow {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.0.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        if txn.writes.iter().any(|write| write.key() == "coord/time") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.0.commit(txn).await
    }
}

/// A bucket that holds objects up while it is told to.
struct Held {
    inner: Arc<MemoryBlobs>,
    /// What keys of objects begin with that are held up: the next one, or all.
    prefix: &'static str,
    holds: AtomicBool,
    holds_all: bool,
    held: AtomicBool,
    gate: Notify,
}

impl Held {
    fn new(inner: &Arc<MemoryBlobs>, prefix: &'static str, holds_all: bool) -> Arc<Self> {
        let (holds, held) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { inner: Arc::clone(inner), prefix, holds, holds_all, held, gate: Notify::new() })
    }
}

#[async_trait]
impl Blobs for Held {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), blob::Error> {
        if key.starts_with(self.prefix) && self.holds.load(Ordering::Acquire) {
            self.holds.store(self.holds_all, Ordering::Release);
            self.held.store(true, Ordering::Release);
            self.gate.notified().await;
        }
        self.inner.create(key, body).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, blob::Error> {
        self.inner.read(key).await
    }

    async fn read_range(&self, key: &str, range: std::ops::Range<u64>) -> Result<Bytes, blob::Error> {
        self.inner.read_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, blob::Error> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), blob::Error> {
        self.inner.delete(key).await
    }
}

/// A writer without any log.
struct NoLogs;

fn nothing_here() -> rpc::Error {
    rpc::Error::Stale { what: "every channel".to_owned() }
}

#[async_trait]
impl rpc::Writer for NoLogs {
    async fn write(&self, _: rpc::Write) -> Result<rpc::Written, rpc::Error> {
        Err(nothing_here())
    }

    async fn flush(&self, _: &ChannelName) -> Result<(), rpc::Error> {
        Err(nothing_here())
    }

    async fn mark(&self, _: &ChannelName) -> Result<rpc::Mark, rpc::Error> {
        Err(nothing_here())
    }

    async fn tail(&self, _: &ChannelName, _: Position) -> Result<rpc::Tail, rpc::Error> {
        Err(nothing_here())
    }

    async fn forget(&self, _: &[ChannelName]) -> Result<(), rpc::Error> {
        Ok(())
    }
}

impl World {
    pub(super) fn new() -> Self {
        let metas = Doubtful { inner: MemoryMetas::new(), lie: AtomicBool::new(false) };
        Self { metas: Arc::new(metas), blobs: MemoryBlobs::new() }
    }

    /// The next leader, with a node that builds.
    pub(super) async fn lead(&self) -> Result<Arc<Coordinator>, Error> {
        self.lead_with(Arc::clone(&self.metas) as _).await
    }

    /// The same, over other metadata.
    pub(super) async fn lead_with(&self, metas: Arc<dyn Metas>) -> Result<Arc<Coordinator>, Error> {
        self.lead_over(metas, Arc::clone(&self.blobs) as _).await
    }

    /// The same, and over another bucket.
    async fn lead_over(
        &self,
        metas: Arc<dyn Metas>,
        blobs: Arc<dyn Blobs>,
    ) -> Result<Arc<Coordinator>, Error> {
        let nodes = LocalNodes::new();
        let builder = Some(Workshop::new(Arc::clone(&self.blobs) as _, 1) as _);
        let writer = Some(Arc::new(NoLogs) as _);
        nodes.open("a", Served { builder, writer, ..Served::default() });
        let last = lead::read(metas.as_ref()).await?.map(|(version, _)| version);
        let epoch = lead::take_over(metas.as_ref(), last, "a", None).await?;
        let compaction = CompactionLimits { enabled: false, ..CompactionLimits::default() };
        let parts = CoordinatorParts {
            metas,
            blobs,
            clock: RealClock::new(),
            dial: nodes,
            flaw: None,
            limits: Limits {
                databases: 9,
                collections: 9,
                partitions: 9,
                min_rows_to_index: 1_000_000,
                groups: 1_000,
                compaction,
            },
            placing: PlaceSettings { settle: Duration::ZERO, ..PlaceSettings::default() },
            address: "a".to_owned(),
            alone: true,
            former: None,
        };
        let coord = Coordinator::start(parts, epoch).await?;
        coord.leads_until(Duration::MAX);
        Ok(coord)
    }

    /// The keys of stored objects below a prefix.
    pub(super) async fn stored(&self, prefix: &str) -> BTreeSet<String> {
        self.blobs.list(prefix).await.unwrap().into_iter().map(|entry| entry.key).collect()
    }

    async fn largest_record(&self) -> usize {
        let records = self.metas.list("").await.unwrap();
        records.iter().map(|(_, record)| record.value.len()).max().unwrap_or(0)
    }
}

pub(super) async fn create_named(
    coord: &Coordinator,
    name: &str,
) -> Result<(CollectionId, PartitionId), rpc::Error> {
    let made = coord.create_collection(NewCollection {
        database: String::new(),
        name: name.to_owned(),
        schema: schema(DataType::Int64),
        shards: 1,
        properties: Vec::new(),
        consistency: 0,
        partitions_by_key: 0,
    });
    let made = made.await?;
    Ok((made.id, made.partitions[0].id))
}

async fn create(coord: &Coordinator) -> (CollectionId, PartitionId) {
    create_named(coord, "c").await.unwrap()
}

/// Commits a flush of as many segments as `count`, which are not stored.
async fn flush(coord: &Coordinator, (collection, partition): (CollectionId, PartitionId), count: u32) {
    commit(coord, (collection, partition), count).await.unwrap();
}

pub(super) async fn commit(
    coord: &Coordinator,
    (collection, partition): (CollectionId, PartitionId),
    count: u32,
) -> Result<(), rpc::Error> {
    let first = coord.allocate_ids(count).await.unwrap();
    let segment = |id: i64| {
        let key = format!("segments/{collection}/{id}/scalars.parquet");
        SegmentManifest {
            id: SegmentId(id),
            partition,
            rows: 1_000,
            oldest: Timestamp(5),
            newest: Timestamp(6),
            clean_through: Timestamp::ZERO,
            clustered_by: None,
            instants: Vec::new(),
            stats: None,
            columns: vec![ColumnRef {
                fields: vec![FieldId(100)],
                object: ObjectRef { key, size_bytes: 10_000, crc32: 7 },
            }],
            indexes: Vec::new(),
        }
    };
    let from = coord.manifests(collection).await.unwrap()[0].checkpoint;
    let flushed = Flushed {
        collection,
        channel: ChannelName::of(collection, 0),
        from,
        to: Position(from.0 + 1),
        segments: (first..first + i64::from(count)).map(segment).collect(),
        deletes: Vec::new(),
        named_through: Timestamp::ZERO,
    };
    coord.commit_flush(flushed).await
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_large_manifest_is_in_objects_and_the_next_leader_reads_the_same() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    // 20,000 segments, of which no record could hold the tenth part.
    for _ in 0..40 {
        flush(&coord, place, 500).await;
    }
    let known = coord.manifests(place.0).await.unwrap();
    assert_eq!(known[0].segments.len(), 20_000);

    let next = world.lead().await.unwrap();

    assert_eq!(next.manifests(place.0).await.unwrap(), known);
    assert!(world.largest_record().await < 4_096);
    let late = coord.create_group("late", rpc::GroupConfig::default()).await;
    assert!(late.is_err_and(|error| error.is_stale()), "the leader before commits nothing");
    flush(&next, place, 1).await;
    let named: BTreeSet<String> = next.catalog.read().named_objects_of(place.0).collect();
    let in_bucket = world.stored("manifests/").await;
    assert!(named.iter().filter(|key| key.starts_with("manifests/")).all(|key| in_bucket.contains(key)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replaced_manifests_nothing_stays_and_of_current_ones_everything() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    for _ in 0..60 {
        flush(&coord, place, 20).await;
    }
    let current: BTreeSet<String> =
        coord.catalog.read().named_objects_of(place.0).filter(|key| key.starts_with("manifests/")).collect();
    let stored = world.stored("manifests/").await;
    assert!(current.is_subset(&stored) && current.len() < stored.len(), "replaced ones stay for a while");
    // As if their time had come.
    let due: Vec<_> = coord.catalog.read().garbage.values().cloned().collect();
    assert!(due.iter().all(|garbage| garbage.not_before_unix_ms > 0));
    let again = due.into_iter().map(|garbage| {
        super::change::Change::PutGarbage(super::catalog::Garbage { not_before_unix_ms: 0, ..garbage })
    });
    let again: Vec<_> = again.collect();
    coord.change("let it go", |_| Ok(again.clone())).await.unwrap();
    beat(&coord).await;

    let tasks = TaskSet::new();
    tasks.start("work", |stop| Arc::clone(&coord).work(stop));
    until("removed", async || coord.catalog.read().garbage.is_empty()).await;

    assert_eq!(world.stored("manifests/").await, current);
    world.lead().await.unwrap();
    tasks.stop();
    tasks.join().await.unwrap();
}

/// The node that builds says that it is there.
async fn beat(coord: &Coordinator) {
    let duties = Duties { builds: true, writes: true, ..Duties::default() };
    let node = NodeInfo { id: NodeId(1), address: "a".to_owned(), duties, ..NodeInfo::default() };
    coord.beat(Report { node, ..Report::default() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_drop_of_very_much_leaves_is_removed_to_the_last_object() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    flush(&coord, place, 12_000).await;
    let sealed: Vec<String> = coord.catalog.read().named_objects_of(place.0).collect();
    assert!(sealed.len() > 24_000);
    for key in sealed.iter().filter(|key| key.starts_with("segments/")) {
        world.blobs.create(key, Bytes::from_static(b"x")).await.unwrap();
    }

    coord.drop_collection("", "c").await.unwrap();

    assert!(world.largest_record().await < 4_096);
    let garbage = coord.catalog.read().garbage.clone();
    let next = world.lead().await.unwrap();
    assert_eq!(next.catalog.read().garbage, garbage, "the next leader knows all that is to go");
    beat(&next).await;
    assert_eq!(next.next_garbage(), None, "nothing goes before the bucket knows what this leader knows");
    let tasks = TaskSet::new();
    tasks.start("work", |stop| Arc::clone(&next).work(stop));
    tasks.start("mirror", |stop| Arc::clone(&next).keep_mirror(stop));
    until("removed", async || next.catalog.read().garbage.is_empty()).await;
    until("and the list", async || world.stored("garbage/").await.is_empty()).await;
    for prefix in ["segments/", "manifests/"] {
        assert!(world.stored(prefix).await.is_empty(), "{prefix}");
    }
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_that_was_held_up_does_not_drop_what_was_made_anew_under_the_name() {
    let world = World::new();
    let blobs = Held::new(&world.blobs, "garbage/", false);
    let coord = world.lead_over(Arc::clone(&world.metas) as _, Arc::clone(&blobs) as _).await.unwrap();
    let place = create(&coord).await;
    flush(&coord, place, 1_000).await;
    blobs.holds.store(true, Ordering::Release);

    let meanwhile = async {
        until("the first is held up", async || blobs.held.load(Ordering::Acquire)).await;
        coord.drop_collection("", "c").await.unwrap();
        let anew = create(&coord).await;
        flush(&coord, anew, 1_000).await;
        blobs.gate.notify_one();
        anew
    };
    let (dropped, anew) = tokio::join!(coord.drop_collection("", "c"), meanwhile);

    dropped.unwrap();
    assert_eq!(coord.manifests(anew.0).await.unwrap()[0].segments.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_no_longer_for_its_page_breaks_no_commit_off() {
    let world = World::new();
    let blobs = Held::new(&world.blobs, super::page::PAGES, true);
    let metas = Arc::new(Slow(Arc::clone(&world.metas)));
    let coord = world.lead_over(metas, Arc::clone(&blobs) as _).await.unwrap();
    create(&coord).await;
    blobs.holds.store(true, Ordering::Release);

    // The second waits for the first one's page, and begins its own just before it has waited long enough itself. By then no time
    // is left of what was made durable.
    let (first, second) = tokio::join!(create_named(&coord, "first"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        create_named(&coord, "second").await
    });

    assert!(first.is_ok() && second.is_ok());
    assert!(!coord.is_unsure());
}

#[tokio::test]
async fn a_manifest_in_a_record_of_an_earlier_version_is_read_and_moves_out_with_its_next_change() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    flush(&coord, place, 100).await;
    let known = ChannelManifest::clone(&coord.manifests(place.0).await.unwrap()[0]);
    let key = format!("channels/{}", ChannelName::of(place.0, 0));
    let old = record::encode(&key, &known).unwrap();
    assert!(old.len() > 10_000);
    world.metas.commit(Txn::new().put(key, old)).await.unwrap();

    let next = world.lead().await.unwrap();
    assert_eq!(*next.manifests(place.0).await.unwrap()[0], known);
    flush(&next, place, 1).await;

    assert!(world.largest_record().await < 4_096);
    let last = world.lead().await.unwrap();
    assert_eq!(last.manifests(place.0).await.unwrap(), next.manifests(place.0).await.unwrap());
}

#[tokio::test]
async fn a_damaged_manifest_is_named_and_never_used() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    flush(&coord, place, 100).await;
    let key = world.stored("manifests/").await.pop_first().unwrap();
    let mut body = world.blobs.read(&key).await.unwrap().to_vec();
    body[200] ^= 4;
    world.blobs.delete(&key).await.unwrap();
    world.blobs.create(&key, body.into()).await.unwrap();

    let next = world.lead().await.unwrap();

    let refused = next.manifests(place.0).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Corrupt);
    assert!(refused.to_string().contains(&key), "{refused}");
}

#[tokio::test]
async fn flushes_of_one_channel_at_the_same_time_as_others_lose_nothing() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    flush(&coord, place, 100).await;
    let index = |at: i64| {
        let (coord, collection) = (Arc::clone(&coord), place.0);
        async move {
            let segment = coord.manifests(collection).await.unwrap()[0].segments[at as usize].id;
            coord
                .change("touch a segment", |catalog| {
                    let mut manifest = ChannelManifest::clone(&catalog.manifests[&collection][0]);
                    let one = manifest.segments.iter_mut().find(|one| one.id == segment).unwrap();
                    one.rows += 1;
                    let channel = ChannelName::of(collection, 0);
                    Ok(vec![super::change::Change::PutManifest { collection, shard: 0, channel, manifest }])
                })
                .await
        }
    };

    let changes = futures::future::join_all((0..50).map(index)).await;

    assert!(changes.iter().all(Result::is_ok));
    let rows: u64 = coord.manifests(place.0).await.unwrap()[0].segments.iter().map(|one| one.rows).sum();
    assert_eq!(rows, 100_050);
    assert_eq!(
        world.lead().await.unwrap().manifests(place.0).await.unwrap(),
        coord.manifests(place.0).await.unwrap()
    );
}

#[tokio::test]
async fn a_leader_that_may_have_missed_its_own_commit_removes_nothing() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create(&coord).await;
    flush(&coord, place, 100).await;

    world.metas.lie.store(true, Ordering::Relaxed);
    let lost = commit(&coord, place, 100).await.unwrap_err();

    assert_eq!(lost.kind(), Kind::Unavailable);
    assert!(coord.is_unsure());
    assert_eq!(coord.manifests(place.0).await.unwrap()[0].segments.len(), 100);
    assert!(coord.next_garbage().is_none());
    assert_eq!(world.lead().await.unwrap().manifests(place.0).await.unwrap()[0].segments.len(), 200);
}
