//! Clients of the cluster: workers that write and read rows, one that makes and drops collections, and one that flushes,
//! compacts and changes the number of copies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use contract::role::Role;
use engine::assembly::Door;
use engine::base::{Kind, Kinded as _, PartitionId, Rng as _, SeededRng, Timestamp};
use engine::expr::{self, Templates};
use engine::plan::QueryKind;
use engine::rpc::{CollectionInfo, Consistency, Error};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::oracle::{Level, Oracle, Outcome, WORKERS};
use super::rows::{self, Change, SHARDS, named};
use super::site::Site;
use super::world::World;

/// How long a client waits for an answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How long writes through another proxy may stay unseen by a `Bounded` read. Unit: microseconds.
const GRACEFUL_US: u64 = 5_500_000;
/// The collection that workers share.
pub const MAIN: &str = "main";

/// Which calls may not fail in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Works {
    Everything,
    These(&'static [&'static str]),
}

/// What an application does all the time.
pub const USE: &[&str] =
    &["write", "query", "query of a session", "search", "query by key", "bounded query", "eventual query"];

/// What is promised of what clients do.
#[derive(Clone, Copy, Debug)]
pub struct Promises {
    pub works: Works,
    /// The longest time without an acknowledged write to a channel.
    pub writes_within: Option<Duration>,
    /// A write that fails says within this time that something is away.
    pub writes_fail_within: Option<Duration>,
    /// A write that is acknowledged takes no longer.
    pub writes_take: Option<Duration>,
    /// What an application does all the time ends within this time, well or not.
    pub use_ends_within: Option<Duration>,
}

impl Promises {
    pub const NOTHING: Self = Self {
        works: Works::These(&[]),
        writes_within: None,
        writes_fail_within: None,
        writes_take: None,
        use_ends_within: None,
    };
}

/// What all clients of a run share.
pub struct Clients {
    pub world: Arc<World>,
    pub oracle: Mutex<Oracle>,
    pub info: Arc<CollectionInfo>,
    promises: Promises,
    /// When a write to each channel was last acknowledged. Unit: microseconds.
    written: Mutex<[u64; SHARDS as usize]>,
    /// How long writes took that were acknowledged, since somebody asked for that.
    took: Mutex<Vec<Duration>>,
    /// Clocks are right in this run, so a `Bounded` read can be held to its bound.
    pub has_true_clocks: bool,
    pub operations: AtomicU64,
    pub failed: AtomicU64,
    pub stop: AtomicBool,
    values: AtomicI64,
}

impl Clients {
    pub fn new(
        world: Arc<World>,
        info: Arc<CollectionInfo>,
        promises: Promises,
        has_true_clocks: bool,
    ) -> Arc<Self> {
        let written = Mutex::new([world.now_us(); SHARDS as usize]);
        Arc::new(Self {
            world,
            oracle: Mutex::default(),
            info,
            promises,
            written,
            took: Mutex::default(),
            has_true_clocks,
            operations: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            values: AtomicI64::new(0),
        })
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One operation of a client.
    pub async fn ask<T: Send + 'static>(
        &self,
        proxy: &Site,
        call: &'static str,
        work: impl FnOnce(Door) -> BoxFuture<'static, Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let began = self.world.now_us();
        let answer = self.world.ask(proxy, call, LIMIT, work).await;
        let took = Duration::from_micros(self.world.now_us() - began);
        if self.promises.use_ends_within.is_some_and(|limit| took > limit) && USE.contains(&call) {
            self.world.violated(format!("{call} through {} took {took:?}", proxy.address));
        }
        self.operations.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &answer {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let has_to_work = match self.promises.works {
                Works::Everything => true,
                Works::These(calls) => calls.contains(&call),
            };
            if has_to_work {
                self.world.violated(format!("{call} through {} has to work: {error}", proxy.address));
            }
        }
        let address = &proxy.address;
        match &answer {
            Ok(_) => self.world.tell(format_args!("{call} through {address}: done")),
            Err(error) => self.world.tell(format_args!("{call} through {address}: {error}")),
        }
        answer
    }

    /// A write to a channel that began then has ended.
    fn written(&self, shard: usize, began: u64, error: Option<&Error>) {
        let now = self.world.now_us();
        let took = Duration::from_micros(now - began);
        match error {
            None => {
                self.look_at_writes(shard);
                self.written.lock()[shard] = now;
                self.took.lock().push(took);
                if self.promises.writes_take.is_some_and(|limit| took > limit) {
                    self.world.violated(format!("a write of channel {shard} took {took:?}"));
                }
            }
            Some(error) => {
                let limit = self.promises.writes_fail_within;
                if limit.is_some_and(|limit| took > limit || error.kind() != Kind::Unavailable) {
                    self.world.violated(format!("a write failed after {took:?} with {error}"));
                }
            }
        }
    }

    /// Whether a channel has gone without writes for longer than is promised.
    fn look_at_writes(&self, shard: usize) {
        let since = Duration::from_micros(self.world.now_us() - self.written.lock()[shard]);
        if self.promises.writes_within.is_some_and(|limit| since > limit) {
            self.world.violated(format!("no write of channel {shard} was acknowledged for {since:?}"));
        }
    }

    pub fn look_at_all_writes(&self) {
        (0..SHARDS as usize).for_each(|shard| self.look_at_writes(shard));
    }

    pub fn all_written_since(&self, at: u64) -> bool {
        self.written.lock().iter().all(|written| *written > at)
    }

    /// How long writes took that were acknowledged since this was asked last, ascending.
    pub fn take_times_of_writes(&self) -> Vec<Duration> {
        let mut took = std::mem::take(&mut *self.took.lock());
        took.sort_unstable();
        took
    }

    pub fn proxy(&self, rng: &SeededRng) -> Arc<Site> {
        let proxies = self.world.sites_of(Role::Proxy);
        Arc::clone(&proxies[rng.below(proxies.len() as u64) as usize])
    }
}

fn life_of(site: &Site) -> (usize, u64) {
    (site.number, site.life().map_or(0, |life| life.number))
}

/// One client that writes its own keys and reads everybody's.
pub struct Worker {
    clients: Arc<Clients>,
    number: i64,
    rng: Arc<SeededRng>,
    /// Its newest write.
    newest: Timestamp,
    next: i64,
}

impl Worker {
    pub fn new(clients: Arc<Clients>, number: i64) -> Self {
        let rng = SeededRng::new(clients.world.rng.next_u64());
        Self { clients, number, rng, newest: Timestamp::ZERO, next: 0 }
    }

    pub async fn work(mut self, think_ms: u64, only_writes: bool) {
        while !self.clients.is_over() {
            tokio::time::sleep(Duration::from_millis(self.rng.below(think_ms))).await;
            let chance = if only_writes { 0 } else { self.rng.below(100) };
            match chance {
                0..45 => {
                    let shard = self.rng.below(SHARDS as u64) as i64;
                    self.write(shard).await;
                }
                45..60 => self.query("query", Consistency::Strong, Level::Strong).await,
                60..68 => self.search().await,
                68..75 => self.query_own().await,
                75..83 => {
                    let (newest, worker) = (self.newest, self.number);
                    let session = Consistency::Session(newest);
                    self.query("query of a session", session, Level::Session { worker }).await;
                }
                83..92 => self.query("bounded query", Consistency::Bounded, Level::Eventually).await,
                _ => self.query("eventual query", Consistency::Eventually, Level::Eventually).await,
            }
        }
    }

    fn fresh_key(&mut self, shard: i64) -> i64 {
        self.next += 1;
        (self.next * SHARDS + shard) * WORKERS + self.number
    }

    fn change(&mut self, shard: i64) -> Change {
        let known: Vec<i64> = self.clients.oracle.lock().keys_of(self.number);
        let mut known: Vec<i64> = known.into_iter().filter(|key| key / WORKERS % SHARDS == shard).collect();
        let mut some = Vec::new();
        while some.len() < 1 + self.rng.below(3) as usize && !known.is_empty() {
            some.push(known.swap_remove(self.rng.below(known.len() as u64) as usize));
        }
        let value = || self.clients.values.fetch_add(1, Ordering::Relaxed);
        match self.rng.below(10) {
            0..3 if !some.is_empty() => Change::Delete(some),
            3..6 if !some.is_empty() => {
                let mut rows: Vec<(i64, i64)> = some.into_iter().map(|key| (key, value())).collect();
                let value = value();
                rows.push((self.fresh_key(shard), value));
                Change::Upsert(rows)
            }
            kind => {
                let count = 1 + self.rng.below(4);
                let keys: Vec<i64> = (0..count).map(|_| self.fresh_key(shard)).collect();
                let value = || self.clients.values.fetch_add(1, Ordering::Relaxed);
                let rows = keys.into_iter().map(|key| (key, value())).collect();
                if kind % 2 == 0 { Change::Insert(rows) } else { Change::Upsert(rows) }
            }
        }
    }

    /// Tries until a write to this channel is acknowledged.
    pub async fn write_patiently(&mut self, shard: i64) {
        while !self.write(shard).await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Whether it was acknowledged.
    async fn write(&mut self, shard: i64) -> bool {
        let clients = Arc::clone(&self.clients);
        let change = self.change(shard);
        let proxy = clients.proxy(&self.rng);
        let partitions = &clients.info.partitions;
        let partition: PartitionId = partitions[self.rng.below(partitions.len() as u64) as usize].id;
        let write = change.write(&clients.info, shard as usize, partition);
        let now = clients.world.now_us();
        let deed = clients.oracle.lock().begin(now, life_of(&proxy), &change.effects());
        let (number, worker) = (deed.number, self.number);
        clients.world.tell(format_args!("worker {worker} begins write {number}: {change:?}"));
        let answer = clients
            .ask(&proxy, "write", move |door| async move { door.writer.write(write).await }.boxed())
            .await;
        clients.written(shard as usize, now, answer.as_ref().err());
        let is_done = answer.is_ok();
        *deed.outcome.lock() = match answer {
            Ok(written) => {
                self.newest = self.newest.max(written.at);
                Outcome::Done(clients.world.now_us())
            }
            Err(_) => Outcome::Unknown,
        };
        is_done
    }

    async fn query(&mut self, call: &'static str, consistency: Consistency, level: Level) {
        let clients = Arc::clone(&self.clients);
        let proxy = clients.proxy(&self.rng);
        let (began, via) = (clients.world.now_us(), life_of(&proxy));
        let level = match consistency {
            Consistency::Bounded if clients.has_true_clocks => {
                Level::Bounded { before: began.saturating_sub(GRACEFUL_US), via }
            }
            _ => level,
        };
        let plan = rows::query(clients.info.id, QueryKind::Rows);
        let answer = clients
            .ask(&proxy, call, move |door| async move { door.reader.query(plan, consistency).await }.boxed())
            .await;
        let Ok(answer) = answer else { return };
        let ended = clients.world.now_us();
        let found = rows::read_back(&answer.rows);
        self.judge(found.and_then(|found| clients.oracle.lock().check(level, began, ended, &found)));
    }

    async fn search(&mut self) {
        let clients = Arc::clone(&self.clients);
        let proxy = clients.proxy(&self.rng);
        let began = clients.world.now_us();
        let plan = rows::search(clients.info.id);
        let answer = clients
            .ask(&proxy, "search", move |door| {
                async move { door.reader.search(plan, Consistency::Strong).await }.boxed()
            })
            .await;
        let Ok(answer) = answer else { return };
        let ended = clients.world.now_us();
        let found = rows::read_back(&answer.rows);
        self.judge(found.and_then(|found| clients.oracle.lock().check(Level::Strong, began, ended, &found)));
    }

    /// A query by key, of a few keys of this worker.
    async fn query_own(&mut self) {
        let clients = Arc::clone(&self.clients);
        let mut keys = clients.oracle.lock().keys_of(self.number);
        keys.truncate(5);
        if keys.is_empty() {
            return;
        }
        let proxy = clients.proxy(&self.rng);
        let began = clients.world.now_us();
        let text = format!("id in {keys:?}");
        let filter = expr::parse(&text, &clients.info.schema, &Templates::default()).expect("a filter");
        let mut plan = rows::query(clients.info.id, QueryKind::Rows);
        plan.filter = Some(filter);
        let answer = clients
            .ask(&proxy, "query by key", move |door| {
                async move { door.reader.query(plan, Consistency::Strong).await }.boxed()
            })
            .await;
        let Ok(answer) = answer else { return };
        let ended = clients.world.now_us();
        let checked = rows::read_back(&answer.rows).and_then(|found| {
            // Nobody but this worker, who waits, changes them: all are there.
            if let Some(missing) = keys.iter().find(|key| found.get(**key).is_none()) {
                return Err(format!("key {missing} is there and was not found by {text}"));
            }
            clients.oracle.lock().check_some(Level::Strong, began, ended, &found)
        });
        self.judge(checked);
    }

    fn judge(&self, checked: Result<(), String>) {
        if let Err(wrong) = checked {
            let number = self.number;
            self.clients.world.violated(format!("worker {number}: {wrong}"));
        }
    }
}

/// Makes collections, fills, reads and drops them, one after the other.
pub async fn make_and_drop(clients: Arc<Clients>) {
    let rng = SeededRng::new(clients.world.rng.next_u64());
    let mut number = 0;
    while !clients.is_over() {
        number += 1;
        let name = format!("passing_{number}");
        if let Err(error) = pass(&clients, &rng, &name).await {
            clients.world.tell(format_args!("{name}: {error}"));
        }
        // Dropping what is not there is fine, so it can be tried until it works.
        loop {
            let proxy = clients.proxy(&rng);
            let dropped = name.clone();
            let drop_it = move |door: Door| {
                async move { door.coord.drop_collection(rows::DATABASE, &dropped).await }.boxed()
            };
            if clients.ask(&proxy, "drop a collection", drop_it).await.is_ok() || clients.is_over() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(500 + rng.below(8_000))).await;
    }
}

/// The life of one collection up to where it is dropped.
async fn pass(clients: &Arc<Clients>, rng: &SeededRng, name: &str) -> Result<(), Error> {
    let proxy = clients.proxy(rng);
    let wanted = rows::new_collection(name, 1);
    let info = clients
        .ask(&proxy, "make a collection", |door| {
            async move { door.coord.create_collection(wanted).await }.boxed()
        })
        .await?;
    // Another proxy knows of it at once.
    let proxy = clients.proxy(rng);
    let partition = named(name);
    let make = |door: Door| async move { door.coord.create_partition(partition, "side").await }.boxed();
    clients.ask(&proxy, "make a partition", make).await?;
    let index = rows::new_index(name);
    clients
        .ask(&proxy, "make an index", |door| async move { door.coord.create_index(index).await }.boxed())
        .await?;
    let rows: Vec<(i64, i64)> =
        (0..5).map(|key| (key, clients.values.fetch_add(1, Ordering::Relaxed))).collect();
    let write = Change::Upsert(rows.clone()).write(&info, 0, info.partitions[0].id);
    clients.ask(&proxy, "write", move |door| async move { door.writer.write(write).await }.boxed()).await?;
    let collection = named(name);
    let load = |door: Door| async move { door.coord.load(collection, None, 1, Vec::new()).await }.boxed();
    clients.ask(&proxy, "load", load).await?;
    loop {
        let collection = named(name);
        let progress = |door: Door| async move { door.coord.load_progress(collection).await }.boxed();
        if clients.ask(&proxy, "see how far it is loaded", progress).await? == Some(100) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let proxy = clients.proxy(rng);
    let plan = rows::query(info.id, QueryKind::Rows);
    let read = |door: Door| async move { door.reader.query(plan, Consistency::Strong).await }.boxed();
    let found = rows::read_back(&clients.ask(&proxy, "query", read).await?.rows);
    if found.as_ref().ok() != rows::Found::new(rows.clone()).as_ref() {
        clients.world.violated(format!("{name} has {found:?} instead of {rows:?}"));
    }
    let collection = named(name);
    let release = |door: Door| async move { door.coord.release(collection, None).await }.boxed();
    clients.ask(&proxy, "release", release).await?;
    let collection = named(name);
    let unmake = |door: Door| async move { door.coord.drop_partition(collection, "side").await }.boxed();
    clients.ask(&proxy, "drop a partition", unmake).await
}

/// Seals, compacts, and changes how many copies there are.
pub async fn look_after(clients: Arc<Clients>, most_replicas: u64) {
    let rng = SeededRng::new(clients.world.rng.next_u64());
    while !clients.is_over() {
        tokio::time::sleep(Duration::from_millis(300 + rng.below(6_000))).await;
        let proxy = clients.proxy(&rng);
        let id = clients.info.id;
        match rng.below(10) {
            0..6 => {
                let channel = clients.info.channels[rng.below(SHARDS as u64) as usize].clone();
                let flush = move |door: Door| async move { door.writer.flush(&channel).await }.boxed();
                drop(clients.ask(&proxy, "flush", flush).await);
            }
            6..8 => {
                let compact = move |door: Door| async move { door.coord.compact(id, false).await }.boxed();
                drop(clients.ask(&proxy, "compact", compact).await);
            }
            _ => {
                let replicas = 1 + rng.below(most_replicas) as u32;
                let load = move |door: Door| {
                    async move { door.coord.load(named(MAIN), None, replicas, Vec::new()).await }.boxed()
                };
                drop(clients.ask(&proxy, "change the number of copies", load).await);
            }
        }
    }
}
