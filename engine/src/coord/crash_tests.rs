//! The coordinator dies at each of its commits in turn, before it or right after: whatever it was asked for is there as a
//! whole or not at all, and the next one that is asked the same finishes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::drive::{Coordinator, CoordinatorParts};
use super::mortal::Mortal;
use super::place::PlaceSettings;
use super::{CompactionLimits, Limits};
use crate::base::{ChannelName, Kinded as _, Position, RealClock, TaskSet, Timestamp};
use crate::blob::{Blobs as _, MemoryBlobs};
use crate::builder::Workshop;
use crate::meta::{MemoryMetas, Metas as _};
use crate::model::{DataType, ObjectRef, SegmentManifest};
use crate::rpc::{
    AliasChange, CollectionRef, Coord as _, Duties, Error, Flushed, GroupConfig, LocalNodes, Mark,
    NewCollection, NewIndex, NodeInfo, Report, Served, Tail, Write, Writer, Written,
};
use crate::segment::fixture::schema;

/// Notes which channels' logs were removed.
#[derive(Default)]
struct Logs(Mutex<BTreeSet<ChannelName>>);

#[async_trait]
impl Writer for Logs {
    async fn write(&self, _: Write) -> Result<Written, Error> {
        panic!("nobody writes here")
    }

    async fn flush(&self, _: &ChannelName) -> Result<(), Error> {
        panic!("nobody flushes here")
    }

    async fn mark(&self, _: &ChannelName) -> Result<Mark, Error> {
        panic!("nobody asks here")
    }

    async fn tail(&self, _: &ChannelName, _: Position) -> Result<Tail, Error> {
        panic!("nobody follows here")
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error> {
        self.0.lock().extend(channels.iter().cloned());
        Ok(())
    }
}

/// What outlives coordinators, and how they die.
struct World {
    metas: Arc<MemoryMetas>,
    blobs: Arc<MemoryBlobs>,
    logs: Arc<Logs>,
    nodes: Arc<LocalNodes>,
    /// Every object that a committed flush named. What a flush left that was not is found by the sweep.
    named: Mutex<BTreeSet<String>>,
    /// What every coordinator saw, the newest last.
    seen: Mutex<Vec<Arc<Mortal>>>,
}

impl World {
    fn new() -> Self {
        let (blobs, logs, nodes) = (MemoryBlobs::new(), Arc::new(Logs::default()), LocalNodes::new());
        let builder = Some(Workshop::new(Arc::clone(&blobs) as _, 1) as _);
        nodes.open("a", Served { builder, writer: Some(Arc::clone(&logs) as _), ..Served::default() });
        Self {
            metas: MemoryMetas::new(),
            blobs,
            logs,
            nodes,
            named: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// A coordinator that dies at its `dies_at`-th commit, with the one node there is.
    async fn coordinator(&self, dies_at: usize, afterwards: bool) -> Result<Arc<Coordinator>, super::Error> {
        let metas = Mortal::new(&self.metas, dies_at, afterwards);
        self.seen.lock().push(Arc::clone(&metas));
        let found = super::lead::read(self.metas.as_ref()).await?.map(|(version, _)| version);
        let epoch = super::lead::take_over(self.metas.as_ref(), found, "a", None).await?;
        let parts = CoordinatorParts {
            metas,
            blobs: Arc::clone(&self.blobs) as _,
            clock: RealClock::new(),
            dial: Arc::clone(&self.nodes) as _,
            limits: Limits {
                databases: 9,
                collections: 9,
                partitions: 9,
                min_rows_to_index: 1_000_000,
                groups: 9,
                compaction: CompactionLimits {
                    enabled: false,
                    grace: Duration::ZERO,
                    ..CompactionLimits::default()
                },
            },
            placing: PlaceSettings {
                settle: Duration::ZERO,
                lost_after: Duration::from_secs(600),
                ..PlaceSettings::default()
            },
            address: "a".to_owned(),
            alone: false,
            former: None,
            flaw: None,
        };
        let coordinator = Coordinator::start(parts, epoch).await?;
        let duties = Duties { builds: true, queries: true, writes: true, ..Duties::default() };
        let node =
            NodeInfo { id: crate::base::NodeId(1), address: "a".to_owned(), duties, ..NodeInfo::default() };
        coordinator.place(|placer, now| placer.report(Report { node, ..Report::default() }, now));
        Ok(coordinator)
    }

    /// Whether the newest coordinator is dead.
    fn is_dead(&self) -> bool {
        self.seen.lock().last().is_some_and(|metas| metas.is_dead())
    }

    /// Whether any was.
    fn has_died(&self) -> bool {
        self.seen.lock().iter().any(|metas| metas.is_dead())
    }

    async fn is_clean(&self) -> bool {
        self.metas.list("garbage/").await.unwrap().is_empty()
    }

    /// An object that a flush left.
    async fn object(&self, key: String) -> ObjectRef {
        self.blobs.create(&key, bytes::Bytes::from_static(b"x")).await.unwrap();
        ObjectRef { key, size_bytes: 1, crc32: 0 }
    }
}

/// One thing that a client asks for. Says whether what it found is what it wanted done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Groups,
    Database,
    Create,
    Partition,
    Index,
    Flush,
    Load,
    Transfer,
    Alias,
    DropPartition,
    DropAlias,
    Drop,
    DropDatabase,
}

const STEPS: [Step; 13] = [
    Step::Groups,
    Step::Database,
    Step::Create,
    Step::Partition,
    Step::Index,
    Step::Flush,
    Step::Load,
    Step::Transfer,
    Step::Alias,
    Step::DropPartition,
    Step::DropAlias,
    Step::Drop,
    Step::DropDatabase,
];

fn named() -> CollectionRef {
    CollectionRef::Name { database: "d".to_owned(), name: "c".to_owned() }
}

fn partition() -> Option<Vec<String>> {
    Some(vec!["p".to_owned()])
}

async fn ask(world: &World, coord: &Coordinator, step: Step) -> Result<(), Error> {
    let text = str::to_owned;
    match step {
        Step::Groups => {
            for name in ["one", "two"] {
                let config = GroupConfig { requests: 0, limits: 1, ..GroupConfig::default() };
                coord.create_group(name, config).await?;
            }
            Ok(())
        }
        Step::Database => coord.create_database("d", Vec::new()).await,
        Step::Create => {
            let collection = NewCollection {
                database: text("d"),
                name: text("c"),
                schema: schema(DataType::Int64),
                shards: 3,
                properties: Vec::new(),
                consistency: 0,
                partitions_by_key: 0,
            };
            coord.create_collection(collection).await.map(drop)
        }
        Step::Partition => coord.create_partition(named(), "p").await,
        Step::Index => {
            let params = [("index_type", "FLAT"), ("metric_type", "L2")];
            let params = params.map(|(key, value)| (text(key), text(value))).into();
            let vector = schema(DataType::Int64).vectors().next().unwrap().name.clone();
            coord.create_index(NewIndex { collection: named(), name: text("i"), field: vector, params }).await
        }
        Step::Flush => flush(world, coord).await,
        Step::Load => coord.load(named(), None, 2, vec![text("one"), text("two")]).await,
        Step::Transfer => coord.transfer_replicas("one", "two", named(), 1).await,
        Step::Alias => coord.alter_alias("d", "also", AliasChange::Create { collection: text("c") }).await,
        Step::DropPartition => {
            coord.release(named(), partition()).await?;
            coord.drop_partition(named(), "p").await
        }
        Step::DropAlias => coord.alter_alias("d", "also", AliasChange::Drop).await,
        Step::Drop => coord.drop_collection("d", "c").await,
        Step::DropDatabase => coord.drop_database("d").await,
    }
}

/// A flush of each channel: one segment in each partition.
async fn flush(world: &World, coord: &Coordinator) -> Result<(), Error> {
    let info = coord.collection(named()).await?;
    let manifests = coord.manifests(info.id).await?;
    for (channel, manifest) in info.channels.iter().zip(manifests) {
        if manifest.checkpoint == Position(1) {
            continue;
        }
        let mut segments = Vec::new();
        for partition in &info.partitions {
            let id = coord.allocate_segment().await?;
            let object = world.object(format!("segments/{}/{id}/scalars.parquet", info.id)).await;
            segments.push(SegmentManifest {
                id,
                partition: partition.id,
                rows: 1,
                oldest: Timestamp::ZERO,
                newest: Timestamp::ZERO,
                clean_through: Timestamp::ZERO,
                columns: vec![crate::model::ColumnRef { fields: Vec::new(), object }],
                indexes: Vec::new(),
                stats: None,
                clustered_by: None,
                instants: Vec::new(),
            });
        }
        let (from, to) = (Position(0), Position(1));
        let flushed = Flushed {
            collection: info.id,
            channel: channel.clone(),
            from,
            to,
            segments,
            deletes: Vec::new(),
            named_through: Timestamp::ZERO,
        };
        coord.commit_flush(flushed).await?;
    }
    Ok(())
}

/// Whether the step is done, as a client can tell. Panics on what is half done.
async fn is_done(coord: &Coordinator, step: Step) -> bool {
    let info = coord.collection(named()).await.ok();
    let loaded = |group: &str| {
        let load = info.as_ref().and_then(|info| info.load.as_ref());
        load.map_or(0, |load| load.replicas.iter().filter(|replica| replica.group == group).count())
    };
    let databases: Vec<String> =
        coord.databases().await.unwrap().into_iter().map(|database| database.name).collect();
    match step {
        Step::Groups => coord.groups().await.unwrap().len() == 3,
        Step::Database => databases.contains(&"d".to_owned()),
        Step::Create => info.is_some_and(|info| {
            assert_eq!((info.channels.len(), info.partitions.len()), (3, 1));
            true
        }),
        Step::Partition => info.is_some_and(|info| info.partition("p").is_some()),
        Step::Index => info.is_some_and(|info| info.indexes.len() == 1),
        Step::Flush => {
            let manifests = coord.manifests(info.unwrap().id).await.unwrap();
            manifests.iter().all(|manifest| {
                let done = manifest.checkpoint == Position(1);
                assert_eq!(manifest.segments.len(), if done { 2 } else { 0 });
                done
            })
        }
        Step::Load => loaded("one") == 1 && loaded("two") == 1,
        Step::Transfer => {
            assert_eq!(loaded("one") + loaded("two"), 2, "no replica is lost or made on the way");
            loaded("two") == 2
        }
        Step::Alias => info.is_some_and(|info| info.aliases == ["also"]),
        Step::DropPartition => {
            let info = info.unwrap();
            let manifests = coord.manifests(info.id).await.unwrap();
            let left: usize = manifests.iter().map(|manifest| manifest.segments.len()).sum();
            let gone = info.partition("p").is_none();
            assert_eq!(left, if gone { 3 } else { 6 }, "all channels let go of the partition at once");
            gone
        }
        Step::DropAlias => info.is_some_and(|info| info.aliases.is_empty()),
        Step::Drop => info.is_none(),
        Step::DropDatabase => !databases.contains(&"d".to_owned()),
    }
}

/// A client that goes on until everything is done, by however many coordinators. The first dies at its `dies_at`-th
/// commit. Returns whether it did.
async fn run(dies_at: usize, afterwards: bool) -> bool {
    let world = World::new();
    let mut died = false;
    let mut coord = match world.coordinator(dies_at, afterwards).await {
        Ok(coord) => coord,
        Err(_) => {
            died = true;
            world.coordinator(usize::MAX, false).await.unwrap()
        }
    };
    for step in STEPS {
        let asked = ask(&world, &coord, step).await;
        if let Err(error) = &asked {
            let kind = error.kind();
            assert!(!died && kind == crate::base::Kind::Unavailable, "{step:?}, {dies_at}: {error:?}");
            died = true;
            coord = world.coordinator(usize::MAX, false).await.unwrap();
            // What the client does not know it looks up, and asks again for what is not done.
            if !is_done(&coord, step).await {
                ask(&world, &coord, step).await.unwrap();
            }
        }
        assert!(is_done(&coord, step).await, "{step:?}, {dies_at}");
        if step == Step::Flush {
            let info = coord.collection(named()).await.unwrap();
            let manifests = coord.manifests(info.id).await.unwrap();
            let segments = manifests.iter().flat_map(|manifest| &manifest.segments);
            world.named.lock().extend(segments.flat_map(SegmentManifest::objects));
        }
    }
    cleaned(&world, coord).await;
    died |= world.has_died();
    left_as_it_should_be(&world, (dies_at, afterwards)).await;
    died
}

/// Removes what the catalog let go of, by one more coordinator if the first dies of it.
async fn cleaned(world: &World, mut coord: Arc<Coordinator>) {
    for _ in 0..2 {
        let tasks = TaskSet::new();
        tasks.start("work", |stop| Arc::clone(&coord).work(stop));
        tasks.start("mirror", |stop| Arc::clone(&coord).keep_mirror(stop));
        let over = async {
            while !world.is_clean().await && !world.is_dead() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), over).await;
        tasks.stop();
        tasks.join().await.unwrap();
        assert!(ended.is_ok(), "garbage stays");
        if world.is_clean().await {
            return;
        }
        coord = world.coordinator(usize::MAX, false).await.unwrap();
    }
    panic!("garbage stays");
}

/// Nothing of what was dropped is left, in no record, no log and no object.
async fn left_as_it_should_be(world: &World, case: (usize, bool)) {
    for prefix in ["collections/", "channels/", "terms/", "garbage/"] {
        let left: Vec<String> =
            world.metas.list(prefix).await.unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(left, Vec::<String>::new(), "{case:?}");
    }
    assert_eq!(world.metas.list("databases/").await.unwrap().len(), 1, "{case:?}");
    assert_eq!(world.metas.list("groups/").await.unwrap().len(), 2, "{case:?}");
    assert_eq!(world.logs.0.lock().len() % 3, 0, "{case:?}");
    assert!(!world.logs.0.lock().is_empty(), "{case:?}");
    let stored: BTreeSet<String> =
        world.blobs.list("").await.unwrap().into_iter().map(|entry| entry.key).collect();
    let named = world.named.lock();
    assert_eq!(named.len(), 12, "six segments, of a column and a description each: {case:?}");
    assert_eq!(stored.intersection(&*named).collect::<Vec<_>>(), Vec::<&String>::new(), "{case:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_a_coordinator_died_of_is_whole_or_absent_and_the_next_one_finishes_it() {
    for afterwards in [false, true] {
        let mut dies_at = 1;
        while run(dies_at, afterwards).await {
            dies_at += 1;
        }
        assert!(dies_at > STEPS.len(), "every step commits at least once: {dies_at}");
    }
}
