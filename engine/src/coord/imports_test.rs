//! The coordinator dies at each of its commits in turn while rows are imported, or the node that builds at each of its puts:
//! the next one goes on, and every row comes once, or none does and nothing is left. So it is with rows that wait for a word,
//! whichever it is.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::drive::{Coordinator, CoordinatorParts};
use super::mortal::Mortal;
use super::place::PlaceSettings;
use super::{CompactionLimits, Limits};
use crate::base::{
    ChannelName, Clock, FUNCTIONS_FORMAT, Kind, NodeId, Position, RealClock, TaskSet, Timestamp,
};
use crate::blob::{self, BlobEntry, Blobs, MemoryBlobs};
use crate::builder::Workshop;
use crate::meta::MemoryMetas;
use crate::model::DataType;
use crate::rpc::{
    CollectionInfo, CollectionRef, Coord as _, Duties, Error, ImportInfo, ImportOptions, ImportState,
    LocalNodes, Mark, NewCollection, NewImport, NodeInfo, OpenChannel, OrderNumber, Report, Served, Tail,
    Write, Writer, Written,
};
use crate::segment::fixture::schema;

/// The object store as a process sees it that dies at its `dies_at`-th put.
struct MortalBlobs {
    blobs: Arc<MemoryBlobs>,
    puts: AtomicUsize,
    dies_at: usize,
    /// Whether that put still happens.
    afterwards: bool,
}

impl MortalBlobs {
    fn is_dead(&self) -> bool {
        self.puts.load(Ordering::Relaxed) >= self.dies_at
    }

    fn lives(&self, doing: blob::Doing, key: &str) -> Result<(), blob::Error> {
        let (kind, key) = (Kind::Unavailable, key.to_owned());
        let dead = || blob::Error::Remote { doing, key, kind, source: "dead".into() };
        if self.is_dead() { Err(dead()) } else { Ok(()) }
    }
}

#[async_trait]
impl Blobs for MortalBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), blob::Error> {
        self.lives(blob::Doing::Create, key)?;
        let number = self.puts.fetch_add(1, Ordering::Relaxed) + 1;
        if number < self.dies_at || (number == self.dies_at && self.afterwards) {
            self.blobs.create(key, body).await?;
        }
        self.lives(blob::Doing::Create, key)
    }

    async fn read(&self, key: &str) -> Result<Bytes, blob::Error> {
        self.lives(blob::Doing::Read, key)?;
        self.blobs.read(key).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, blob::Error> {
        self.lives(blob::Doing::Read, key)?;
        self.blobs.read_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, blob::Error> {
        self.lives(blob::Doing::List, prefix)?;
        self.blobs.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), blob::Error> {
        self.lives(blob::Doing::Delete, key)?;
        self.blobs.delete(key).await
    }
}

/// The machine's clock, two hours ahead.
struct Later(Arc<RealClock>);

#[async_trait]
impl Clock for Later {
    fn unix_ms(&self) -> u64 {
        self.0.unix_ms() + 2 * 3_600_000
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn thread_cpu(&self) -> Duration {
        self.0.thread_cpu()
    }

    async fn sleep(&self, span: Duration) {
        self.0.sleep(span).await;
    }
}

/// A channel that is always far ahead.
struct Ahead;

#[async_trait]
impl Writer for Ahead {
    async fn write(&self, _: Write) -> Result<Written, Error> {
        Ok(Written { at: Timestamp::MAX })
    }

    async fn flush(&self, _: &ChannelName) -> Result<(), Error> {
        Ok(())
    }

    async fn mark(&self, _: &ChannelName) -> Result<Mark, Error> {
        panic!("nobody asks here")
    }

    async fn tail(&self, _: &ChannelName, _: Position) -> Result<Tail, Error> {
        panic!("nobody follows here")
    }

    async fn forget(&self, _: &[ChannelName]) -> Result<(), Error> {
        Ok(())
    }
}

/// What outlives coordinators.
struct World {
    metas: Arc<MemoryMetas>,
    blobs: Arc<MemoryBlobs>,
    nodes: Arc<LocalNodes>,
}

/// One life of a coordinator.
struct Life {
    coord: Arc<Coordinator>,
    metas: Arc<Mortal>,
    tasks: TaskSet,
}

impl World {
    async fn new() -> Self {
        let world = Self { metas: MemoryMetas::new(), blobs: MemoryBlobs::new(), nodes: LocalNodes::new() };
        world.serve(None);
        world
    }

    /// What the one node answers, which builds by this way to the store, or does not build.
    fn serve(&self, blobs: Option<Arc<dyn Blobs>>) {
        let builder = blobs.map(|blobs| Workshop::new(blobs, 1) as _);
        self.nodes.open("a", Served { builder, writer: Some(Arc::new(Ahead) as _), ..Served::default() });
    }

    /// The node builds.
    fn work(&self) {
        self.serve(Some(Arc::clone(&self.blobs) as _));
    }

    async fn life(&self, dies_at: usize, afterwards: bool) -> Result<Life, super::Error> {
        self.life_by(RealClock::new(), dies_at, afterwards).await
    }

    async fn life_by(
        &self,
        clock: Arc<dyn Clock>,
        dies_at: usize,
        afterwards: bool,
    ) -> Result<Life, super::Error> {
        let metas = Mortal::new(&self.metas, dies_at, afterwards);
        let found = super::lead::read(self.metas.as_ref()).await?.map(|(version, _)| version);
        let epoch = super::lead::take_over(self.metas.as_ref(), found, "a", None).await?;
        let parts = CoordinatorParts {
            metas: Arc::clone(&metas) as _,
            blobs: Arc::clone(&self.blobs) as _,
            clock,
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
            alone: true,
            former: None,
            flaw: None,
        };
        let coord = Coordinator::start(parts, epoch).await?;
        coord.leads_until(Duration::MAX);
        coord.format.store(FUNCTIONS_FORMAT, Ordering::Release);
        let tasks = TaskSet::new();
        tasks.start("work", |stop| Arc::clone(&coord).work(stop));
        tasks.start("mirror", |stop| Arc::clone(&coord).keep_mirror(stop));
        tasks.start("watch", |stop| Arc::clone(&coord).watch(stop));
        let beating = Arc::clone(&coord);
        tasks.start("beat", |stop| async move {
            let (mut seen, mut channels) = (OrderNumber::default(), Vec::new());
            while !stop.is_cancelled() {
                let duties = Duties { builds: true, writes: true, ..Duties::default() };
                let newest_format = FUNCTIONS_FORMAT;
                let node = NodeInfo {
                    id: NodeId(1),
                    address: "a".to_owned(),
                    duties,
                    newest_format,
                    ..NodeInfo::default()
                };
                let report = Report { node, seen, channels: Vec::clone(&channels), ..Report::default() };
                let orders = tokio::select! {
                    () = stop.cancelled() => break,
                    orders = beating.beat(report) => orders,
                };
                let Ok(orders) = orders else { break };
                seen = orders.number;
                if let Some(own) = orders.own {
                    let open = |order: &crate::rpc::OwnOrder| OpenChannel {
                        channel: order.channel.clone(),
                        term: order.term,
                        opened: 0,
                        unsealed_bytes: 0,
                    };
                    channels = own.iter().map(open).collect();
                }
            }
            Ok(())
        });
        Ok(Life { coord, metas, tasks })
    }

    /// All objects but the files to import.
    async fn objects(&self) -> BTreeSet<String> {
        let prefixes = super::decide::LISTED;
        let mut all = BTreeSet::new();
        for prefix in prefixes {
            all.extend(self.blobs.list(prefix).await.unwrap().into_iter().map(|entry| entry.key));
        }
        all
    }
}

impl Life {
    /// Waits until `done` says so; `None` if the coordinator died before.
    async fn until<T>(&self, mut done: impl FnMut(&Coordinator) -> Option<T>) -> Option<T> {
        let began = std::time::Instant::now();
        loop {
            if let Some(done) = done(&self.coord) {
                return Some(done);
            }
            if self.metas.is_dead() {
                return None;
            }
            let (imports, garbage) =
                (self.coord.known_imports(None), self.coord.catalog.read().garbage.len());
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{imports:?}, {garbage} to remove, dies at {} of {:?}",
                self.metas.dies_at,
                self.metas.commits
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the rows of an import are in the collection, or will never be; says whether they are to be seen, as the story
    /// goes, if that is waited for. `None` if the coordinator died before.
    async fn over(&self, id: i64, story: Story) -> Option<ImportInfo> {
        let waits = |import: &ImportInfo| import.state == ImportState::Uncommitted || import.state.is_over();
        let found = |coord: &Coordinator| coord.known_imports(Some(id)).into_iter().find(waits);
        let import = self.until(found).await?;
        if import.state == ImportState::Uncommitted {
            // Whoever did not hear of it says it again.
            let _unheard = self.coord.end_import(id, story != Story::Aborted).await;
        }
        self.until(|coord| over(coord, id)).await
    }

    async fn end(self) {
        self.tasks.stop();
        self.tasks.join().await.unwrap();
    }
}

fn named() -> CollectionRef {
    CollectionRef::Name { database: String::new(), name: "c".to_owned() }
}

/// What an import is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    /// All rows can be taken.
    Good,
    /// A row cannot.
    Bad,
    /// All rows can be taken, and are to be seen once its client says so.
    Held,
    /// The same, and its client says that they are not wanted.
    Aborted,
}

impl Story {
    /// Whether its rows wait for a word.
    const fn waits(self) -> bool {
        matches!(self, Self::Held | Self::Aborted)
    }
}

/// A collection with two shards, and files for it. Nobody builds yet.
async fn begin(world: &World, story: Story) -> i64 {
    let schema = schema(DataType::Int64);
    let lines = |from: i64, count: i64| {
        let mut lines = String::new();
        for key in from..from + count {
            let mut row = serde_json::Map::new();
            for field in &schema.fields {
                let value = match field.data_type {
                    _ if field.is_primary => serde_json::json!(key),
                    DataType::FloatVector => serde_json::json!(vec![0.5; field.dim()]),
                    DataType::VarChar => serde_json::json!("note"),
                    _ => serde_json::json!(1),
                };
                row.insert(field.name.clone(), value);
            }
            lines.push_str(&serde_json::Value::Object(row).to_string());
            lines.push('\n');
        }
        lines
    };
    let mut second = lines(100, 50);
    if story == Story::Bad {
        second.push_str("{\"nothing\": 1}\n");
    }
    world.blobs.create("in/a.jsonl", lines(0, 100).into()).await.unwrap();
    world.blobs.create("in/b.jsonl", second.into()).await.unwrap();
    let life = world.life(usize::MAX, true).await.unwrap();
    let made = life.coord.create_collection(NewCollection {
        database: String::new(),
        name: "c".to_owned(),
        schema,
        shards: 2,
        properties: Vec::new(),
        consistency: 0,
        partitions_by_key: 0,
    });
    let made = made.await.unwrap();
    let import = NewImport {
        collection: made.id,
        partition: Some(made.partitions[0].id),
        files: vec![vec!["in/a.jsonl".to_owned()], vec!["in/b.jsonl".to_owned()]],
        options: ImportOptions { commits: !story.waits(), ..ImportOptions::default() },
        named: String::new(),
    };
    let id = life.coord.import(import).await.unwrap();
    life.end().await;
    id
}

fn over(coord: &Coordinator, id: i64) -> Option<ImportInfo> {
    coord.known_imports(Some(id)).into_iter().find(|import| import.state.is_over())
}

/// Compares what an import has left with what it is to leave.
async fn compare(life: &Life, story: Story, import: &ImportInfo, what: &str) {
    let collection = life.coord.collection(named()).await.unwrap();
    let manifests = life.coord.manifests(collection.id).await.unwrap();
    let segments: Vec<_> = manifests.iter().flat_map(|manifest| manifest.segments.clone()).collect();
    let imported: u64 = segments.iter().map(|segment| segment.rows).sum();
    let times: BTreeSet<Timestamp> =
        segments.iter().flat_map(|segment| [segment.oldest, segment.newest]).collect();
    match story {
        Story::Bad => {
            assert_eq!((import.state, imported), (ImportState::Failed, 0), "{what}");
            assert!(import.reason.contains("in/b.jsonl"), "{what}");
        }
        Story::Aborted => {
            let left = (import.state, imported, import.reason.as_str());
            assert_eq!(left, (ImportState::Failed, 0, "aborted by user"), "{what}");
        }
        Story::Good | Story::Held => {
            assert_eq!((import.state, imported, import.rows()), (ImportState::Completed, 150, 150), "{what}");
            assert_eq!(times.len(), 1, "{what}");
        }
    }
}

fn has_no_garbage(coord: &Coordinator) -> Option<()> {
    coord.catalog.read().garbage.is_empty().then_some(())
}

async fn survives(dies_at: usize, afterwards: bool, story: Story) -> bool {
    let world = World::new().await;
    let id = begin(&world, story).await;
    world.work();
    let mut died = false;
    if let Ok(mortal) = world.life(dies_at, afterwards).await {
        died = mortal.over(id, story).await.is_none();
        mortal.end().await;
    } else {
        died |= true;
    }
    let life = world.life(usize::MAX, true).await.unwrap();
    let import = life.over(id, story).await.unwrap();
    life.until(has_no_garbage).await.unwrap();

    let what = format!("dead at {dies_at}, afterwards {afterwards}: {import:?}");
    compare(&life, story, &import, &what).await;
    // What is left of a step that was not committed is younger than what the sweep takes; all else is named.
    let named: BTreeSet<String> = life.coord.catalog.read().named_objects().collect();
    let objects = world.objects().await;
    assert!(named.is_subset(&objects), "{what}: {:?}", named.difference(&objects));
    if !died {
        assert_eq!(objects, named, "{what}");
    }
    life.end().await;
    died
}

/// The same, but the node that builds dies at a put and is started anew; two hours later nothing is left that nobody names.
async fn survives_its_builder(dies_at: usize, afterwards: bool, story: Story) -> bool {
    let world = World::new().await;
    let id = begin(&world, story).await;
    let (blobs, puts) = (Arc::clone(&world.blobs), AtomicUsize::new(0));
    let mortal = Arc::new(MortalBlobs { blobs, puts, dies_at, afterwards });
    world.serve(Some(Arc::clone(&mortal) as _));
    let life = world.life(usize::MAX, true).await.unwrap();
    let ended = |coord: &Coordinator| {
        let waits = |import: &ImportInfo| import.state == ImportState::Uncommitted || import.state.is_over();
        (mortal.is_dead() || coord.known_imports(Some(id)).iter().any(waits)).then_some(())
    };
    life.until(ended).await.unwrap();
    world.work();
    let import = life.over(id, story).await.unwrap();
    let what = format!("builder dead at {dies_at}, afterwards {afterwards}: {import:?}");
    compare(&life, story, &import, &what).await;
    life.end().await;

    let life = world.life_by(Arc::new(Later(RealClock::new())), usize::MAX, true).await.unwrap();
    let began = std::time::Instant::now();
    while life.coord.compare_stored().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody lists objects: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    life.tasks.start("sweep", |stop| Arc::clone(&life.coord).sweep(stop));
    loop {
        let named: BTreeSet<String> = life.coord.catalog.read().named_objects().collect();
        let objects = world.objects().await;
        if objects == named {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what}: {objects:?} instead of {named:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    compare(&life, story, &import, &what).await;
    life.end().await;
    mortal.is_dead()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_import_come_once_or_not_at_all_whenever_a_leader_dies() {
    for story in [Story::Good, Story::Bad, Story::Held, Story::Aborted] {
        let runs = (1..16).flat_map(|dies_at| [(dies_at, false), (dies_at, true)]);
        let runs = runs.map(|(dies_at, afterwards)| survives(dies_at, afterwards, story));
        let died = futures::future::join_all(runs).await;
        assert!(died.iter().filter(|died| **died).count() > 8, "it dies early enough: {died:?}");
        assert!(died.iter().any(|died| !died), "it lives long enough: {died:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_import_come_once_or_not_at_all_whenever_the_node_that_reads_them_dies() {
    for story in [Story::Good, Story::Bad, Story::Held, Story::Aborted] {
        let runs = (1..40).flat_map(|dies_at| [(dies_at, false), (dies_at, true)]);
        let runs = runs.map(|(dies_at, afterwards)| survives_its_builder(dies_at, afterwards, story));
        let died = futures::future::join_all(runs).await;
        assert!(died.iter().filter(|died| **died).count() >= 4, "it dies early enough: {died:?}");
        assert!(died.iter().any(|died| !died), "it lives long enough: {died:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_promised_come_under_the_next_leader_without_another_word() {
    let world = World::new().await;
    let id = begin(&world, Story::Held).await;
    world.work();
    let life = world.life(usize::MAX, true).await.unwrap();
    let waits = |coord: &Coordinator| {
        let import = coord.known_imports(Some(id)).pop()?;
        (import.state == ImportState::Uncommitted).then_some(())
    };
    life.until(waits).await.unwrap();
    // Nobody answers for the channels any more, so the rows get no time from this leader.
    let builder = Some(Workshop::new(Arc::clone(&world.blobs) as _, 1) as _);
    world.nodes.open("a", Served { builder, ..Served::default() });

    life.coord.end_import(id, true).await.unwrap();

    let refused = life.coord.end_import(id, false).await.unwrap_err().to_string();
    assert!(refused.starts_with("import job is committed and cannot be aborted"), "{refused}");
    let collection = life.coord.collection(named()).await.unwrap();
    let manifests = life.coord.manifests(collection.id).await.unwrap();
    assert_eq!(manifests.iter().map(|manifest| manifest.segments.len()).sum::<usize>(), 0);
    life.end().await;
    world.work();
    let life = world.life(usize::MAX, true).await.unwrap();
    let import = life.until(|coord| over(coord, id)).await.unwrap();
    compare(&life, Story::Held, &import, "promised").await;
    life.end().await;
}

/// An import of one file into the first partition.
fn import_of(collection: &CollectionInfo, file: &str, name: &str) -> NewImport {
    NewImport {
        collection: collection.id,
        partition: Some(collection.partitions[0].id),
        files: vec![vec![file.to_owned()]],
        options: ImportOptions::default(),
        named: name.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_asked_for_again_under_its_name_is_begun_once() {
    let world = World::new().await;
    let id = begin(&world, Story::Good).await;
    world.work();
    let life = world.life(usize::MAX, true).await.unwrap();
    life.until(|coord| over(coord, id)).await.unwrap();

    let collection = life.coord.collection(named()).await.unwrap();
    let import = |name: &str, file: &str| import_of(&collection, file, name);
    let asked = [
        import("a", "in/a.jsonl"),
        import("a", "in/a.jsonl"),
        import("a", "in/b.jsonl"),
        import("b", "in/a.jsonl"),
        import("", "in/a.jsonl"),
        import("", "in/a.jsonl"),
    ];
    let mut begun = Vec::new();
    for import in asked {
        begun.push(life.coord.import(import).await.unwrap());
    }
    // Over by then, and known all the same.
    life.until(|coord| over(coord, begun[0])).await.unwrap();
    begun.push(life.coord.import(import("a", "in/a.jsonl")).await.unwrap());

    assert_eq!((begun[1], begun[6]), (begun[0], begun[0]));
    let others: BTreeSet<i64> = begun.iter().copied().collect();
    assert_eq!(others.len(), 5, "{begun:?}");
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_refused_before_the_cluster_is_finalized() {
    let world = World::new().await;
    let id = begin(&world, Story::Good).await;
    world.work();
    let life = world.life(usize::MAX, true).await.unwrap();
    life.until(|coord| over(coord, id)).await.unwrap();
    life.coord.format.store(1, Ordering::Release);

    let collection = life.coord.collection(named()).await.unwrap();
    let import = import_of(&collection, "in/a.jsonl", "");
    let text = life.coord.import(import).await.unwrap_err().to_string();

    assert!(
        text.starts_with("imports need format 2 and the cluster writes 1: run redkite ctl finalize"),
        "{text}"
    );
    life.end().await;
}
