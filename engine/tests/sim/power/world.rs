//! The world of one seed: storage that outlives the node, and lives of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::role::Role;
use contract::settings::Settings;
use engine::assembly::{Door, Node, NodeCalls, NodeSeams};
use engine::base::{
    ChannelName, Clock, CollectionId, FieldId, NodeId, PartitionId, Rng, SeededRng, TaskSet, TestClock,
    Timestamp,
};
use engine::blob::{Blobs, LocalBlobs};
use engine::disk::{Disk, SimDisk, SimFiles};
use engine::log::{FileLogSettings, FileLogs};
use engine::meta::{Metas, RedbMetas};
use engine::model::{Batch, ColumnData, Keys};
use engine::obs::Metrics;
use engine::plan::{QueryKind, QueryPlan};
use engine::rpc::{
    CollectionInfo, CollectionRef, Consistency, LocalNodes, NewCollection, NewIndex, Operation, Write,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::model::{Change, Model};
use crate::table::{DIM, KEY, VALUE, VECTOR, batch, schema, vector};

#[path = "crash_points.rs"]
mod crash_points;

use crash_points::Wire;

/// Workers; each owns the keys that leave its number when divided by this, and writes to one channel.
const WORKERS: usize = 4;
const SHARDS: u32 = 2;
/// About as many steps as a life has that change the catalog or local objects.
const STEPS: u64 = 600;

/// What happened in all lives of all seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub crashes: u64,
    pub acknowledged: u64,
    pub flushes: u64,
    pub in_flight_at_crash: u64,
    pub unsealed_at_crash: u64,
    pub amid_a_step: u64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.acknowledged += other.acknowledged;
        self.flushes += other.flushes;
        self.in_flight_at_crash += other.in_flight_at_crash;
        self.unsealed_at_crash += other.unsealed_at_crash;
        self.amid_a_step += other.amid_a_step;
    }
}

pub struct World {
    seed: u64,
    life: u64,
    rng: Arc<SeededRng>,
    /// What the power leaves of the log, and of the catalog and local objects.
    disk: Arc<SimDisk>,
    files: Arc<SimFiles>,
    wire: Option<Arc<Wire>>,
    unix_ms: u64,
}

/// What is left of a life.
struct Left {
    disk: Arc<SimDisk>,
    files: Arc<SimFiles>,
    model: Model,
    totals: Totals,
}

/// One node and what its workers share.
struct Life {
    door: Door,
    blobs: Arc<dyn Blobs>,
    info: Arc<CollectionInfo>,
    model: Arc<Mutex<Model>>,
    totals: Arc<Mutex<Totals>>,
    rng: Arc<SeededRng>,
    values: Mutex<i64>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            life: 0,
            rng: SeededRng::new(seed),
            disk: SimDisk::new(),
            files: SimFiles::new(),
            wire: None,
            unix_ms: 1_700_000_000_000,
        }
    }

    fn story(&self) -> String {
        format!("seed {} life {}", self.seed, self.life)
    }

    /// Starts the node, checks what it finds, lets workers work, and takes the power away: at a random moment, or amid a step
    /// of the catalog or of local objects, also while the node starts.
    pub fn live_and_lose_power(&mut self, model: &mut Model) -> Totals {
        self.life += 1;
        let runtime = runtime();
        let work_for = Duration::from_micros(2_000 + self.rng.below(60_000));
        let (shared, totals) = (Arc::new(Mutex::new(std::mem::take(model))), Arc::default());
        let (left, ended) = (Arc::new(Mutex::new(None)), Arc::new(Notify::new()));
        let steps = if self.rng.below(2) == 0 { u64::MAX } else { self.rng.below(STEPS) };
        self.end_amid_step(steps, &shared, &totals, &left, &ended);
        runtime.block_on(async {
            let lived = async {
                let life = self.start(Arc::clone(&shared), Arc::clone(&totals)).await;
                self.find_and_compare(&life).await;
                let workers = (0..WORKERS).map(|worker| work(Arc::clone(&life), worker));
                let flusher = flush_now_and_then(Arc::clone(&life));
                tokio::select! {
                    () = tokio::time::sleep(work_for) => {}
                    _ = futures::future::join_all(workers) => unreachable!("workers never stop"),
                    () = flusher => unreachable!("the flusher never stops"),
                }
            };
            tokio::select! {
                biased;
                () = ended.notified() => {}
                () = lived => {}
            }
        });
        // Everything that ran is gone at once; then disks forget what they were not told to keep.
        drop(runtime);
        let at_step = left.lock().take();
        let Left { disk, files, model: at_end, mut totals } = at_step.unwrap_or_else(|| Left {
            disk: self.disk.crash(self.rng.as_ref()),
            files: self.files.crash(self.rng.as_ref()),
            model: shared.lock().clone(),
            totals: *totals.lock(),
        });
        (self.disk, self.files, *model) = (disk, files, at_end);
        self.unix_ms += 1_000;
        totals.crashes = 1;
        totals.in_flight_at_crash = model.in_flight() as u64;
        totals
    }

    /// Has the power go before step `steps` of the files: what is left then is put into `left`. What is done after that
    /// is not seen by anybody.
    fn end_amid_step(
        &self,
        steps: u64,
        model: &Arc<Mutex<Model>>,
        totals: &Arc<Mutex<Totals>>,
        left: &Arc<Mutex<Option<Left>>>,
        ended: &Arc<Notify>,
    ) {
        let to_go = AtomicU64::new(steps);
        let (disk, files) = (Arc::clone(&self.disk), Arc::downgrade(&self.files));
        let (model, totals, left, ended) =
            (Arc::clone(model), Arc::clone(totals), Arc::clone(left), Arc::clone(ended));
        let rng = SeededRng::new(self.rng.next_u64());
        self.files.watch(move || {
            let Some(files) = files.upgrade() else { return };
            if to_go.fetch_sub(1, Ordering::SeqCst) != 0 {
                return;
            }
            let (model, mut totals) = (model.lock().clone(), *totals.lock());
            totals.amid_a_step = 1;
            let (disk, files) = (disk.crash(rng.as_ref()), files.crash(rng.as_ref()));
            *left.lock() = Some(Left { disk, files, model, totals });
            ended.notify_one();
        });
    }

    /// Starts the node once more and compares.
    pub fn check(&mut self, model: &mut Model) {
        self.life += 1;
        let runtime = runtime();
        runtime.block_on(async {
            let life = self.start(Arc::new(Mutex::new(std::mem::take(model))), Arc::default()).await;
            self.find_and_compare(&life).await;
        });
    }

    async fn start(&self, model: Arc<Mutex<Model>>, totals: Arc<Mutex<Totals>>) -> Arc<Life> {
        let clock: Arc<dyn Clock> = TestClock::starting_at(self.unix_ms);
        let tasks = TaskSet::new();
        let metrics = Metrics::new(NodeId(1));
        let disk: Arc<dyn Disk> = Arc::clone(&self.disk) as _;
        let small =
            FileLogSettings { segment_bytes: 4 << 10, recent_bytes: 2 << 10, ..FileLogSettings::default() };
        let logs = FileLogs::new(disk, tasks.clone(), Arc::clone(&clock), metrics.log.clone(), small);
        let mut settings = Settings::default();
        settings.index_coord.segment.min_segment_num_rows_to_enable_index = 8;
        settings.redkite.build_threads = 1;
        settings.data_coord.segment.max_idle_time = 1;
        let rng = SeededRng::new(self.rng.next_u64());
        let opened = LocalBlobs::open_in(Arc::clone(&self.files) as _, "/data/blobs", Arc::clone(&rng) as _);
        let mut blobs: Arc<dyn Blobs> = opened.await.expect("the objects are opened");
        let opened = RedbMetas::open_simulated(Arc::clone(&self.files), "/data/meta.redb");
        let mut metas: Arc<dyn Metas> = opened.await.expect("the catalog is opened");
        if let Some(wire) = &self.wire {
            (blobs, metas) = wire.around(blobs, metas);
        }
        let (kept, rng) = (Arc::clone(&blobs), SeededRng::new(self.rng.next_u64()));
        let seams = NodeSeams {
            blobs,
            metas: Some(metas),
            scratch: None,
            logs,
            clock,
            rng,
            alone: true,
            lock: None,
            flaw: None,
            usage: None,
        };
        let local = LocalNodes::new();
        let calls = NodeCalls {
            address: "local".to_owned(),
            dial: Arc::clone(&local) as _,
            coord: None,
            publish: Box::new(move |served, _| local.open("local", served)),
        };
        let node = Node::start(Role::Standalone, seams, calls, &settings, &tasks).await;
        let door = node.expect("the node starts").door.expect("a standalone has a door");
        // The set aborts its tasks when it is dropped; the runtime ends them all at once instead.
        std::mem::forget(tasks);
        let info = prepare(&door).await;
        let rng = SeededRng::new(self.rng.next_u64());
        let values = Mutex::new(self.life as i64 * 1_000_000);
        Arc::new(Life { door, blobs: kept, info, model, totals, rng, values })
    }

    async fn find_and_compare(&self, life: &Life) {
        let found = find(life).await;
        life.model.lock().compare(worker_of, &found, &self.story());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

fn worker_of(key: i64) -> usize {
    key as usize % WORKERS
}

/// The collection, made, indexed and loaded, however far an earlier life got with that.
async fn prepare(node: &Door) -> Arc<CollectionInfo> {
    let wanted = NewCollection {
        database: "default".to_owned(),
        name: "rows".to_owned(),
        schema: schema(),
        shards: SHARDS,
        partitions_by_key: 0,
        consistency: 0,
        properties: Vec::new(),
    };
    let info = node.coord.create_collection(wanted).await.expect("the collection is made");
    let collection = CollectionRef::Id(info.id);
    let param = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let index = NewIndex {
        collection: collection.clone(),
        name: String::new(),
        field: "vector".to_owned(),
        params: vec![
            param("index_type", "HNSW"),
            param("metric_type", "L2"),
            param("M", "4"),
            param("efConstruction", "8"),
        ],
    };
    node.coord.create_index(index).await.expect("the index is made");
    node.coord.load(collection.clone(), None, 1, Vec::new()).await.expect("the load is wanted");
    while node.coord.load_progress(collection.clone()).await.expect("loading goes on") != Some(100) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    info
}

/// Every row, by value; a key that is there twice is a failure of its own.
async fn find(life: &Life) -> BTreeMap<i64, i64> {
    let plan = |kind| QueryPlan {
        collection: life.info.id,
        partitions: None,
        filter: None,
        limit: None,
        order: None,
        output: vec![KEY, VALUE, VECTOR],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
        kind,
    };
    let rows =
        life.door.reader.query(plan(QueryKind::Rows), Consistency::Strong).await.expect("the rows are found");
    let count = life
        .door
        .reader
        .query(plan(QueryKind::Count), Consistency::Strong)
        .await
        .expect("the rows are counted");
    assert_eq!(count.count, rows.keys.len() as u64, "no key is there twice");
    let (ColumnData::Int64(keys), ColumnData::Int64(values)) =
        (data(&rows.rows, KEY), data(&rows.rows, VALUE))
    else {
        panic!("the columns have their types")
    };
    let ColumnData::FloatVector { values: vectors, .. } = data(&rows.rows, VECTOR) else { panic!("vectors") };
    for (row, value) in values.iter().enumerate() {
        assert_eq!(
            vectors[row * DIM..(row + 1) * DIM],
            vector(*value),
            "the vector of a row is the row's own"
        );
    }
    keys.iter().copied().zip(values.iter().copied()).collect()
}

fn data(rows: &Batch, field: FieldId) -> &ColumnData {
    &rows.column(field).expect("the column was asked for").data
}

async fn work(life: Arc<Life>, worker: usize) {
    loop {
        let change = next_change(&life, worker);
        life.model.lock().begin(worker, change.clone());
        let write = write_of(&life.info, worker, &change);
        life.door.writer.write(write).await.expect("the write is acknowledged");
        life.model.lock().acknowledge(worker);
        {
            let mut totals = life.totals.lock();
            totals.acknowledged += 1;
            totals.unsealed_at_crash = 1;
        }
        if life.rng.below(4) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn next_change(life: &Life, worker: usize) -> Change {
    let fresh = || {
        let mut values = life.values.lock();
        *values += 1;
        *values
    };
    let known = life.model.lock().keys(worker);
    let some = |most: u64| 1 + life.rng.below(most) as usize;
    let pick = || known[life.rng.below(known.len() as u64) as usize];
    match life.rng.below(10) {
        0..=2 if !known.is_empty() => Change::Remove((0..some(3)).map(|_| pick()).collect()),
        3..=5 if !known.is_empty() => {
            let mut rows: BTreeMap<i64, i64> = (0..some(3)).map(|_| (pick(), fresh())).collect();
            rows.insert(fresh() * WORKERS as i64 + worker as i64, fresh());
            Change::Put(rows.into_iter().collect())
        }
        _ => {
            Change::Put((0..some(20)).map(|_| (fresh() * WORKERS as i64 + worker as i64, fresh())).collect())
        }
    }
}

/// Puts are upserts: whether a key is new makes no difference to them.
fn write_of(info: &CollectionInfo, worker: usize, change: &Change) -> Write {
    let channel: ChannelName = info.channels[worker % info.channels.len()].clone();
    let partition: PartitionId = info.partitions[0].id;
    let operation = match change {
        Change::Put(rows) => {
            let (replaced, rows) = batch(rows);
            Operation::Upsert { partition, replaced, rows }
        }
        Change::Remove(keys) => {
            Operation::Delete { partition: None, keys: Arc::new(Keys::Int(keys.clone())) }
        }
    };
    let collection: CollectionId = info.id;
    Write::new(collection, channel, operation)
}

async fn flush_now_and_then(life: Arc<Life>) {
    loop {
        tokio::time::sleep(Duration::from_millis(2 + life.rng.below(30))).await;
        for channel in &life.info.channels {
            life.door.writer.flush(channel).await.expect("the flush is done");
        }
        let mut totals = life.totals.lock();
        totals.flushes += 1;
        totals.unsealed_at_crash = 0;
    }
}
