//! What some of the named plans do, and what they measure meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use contract::role::Role;
use engine::assembly::Door;
use engine::base::{NodeId, Position, RequestId, Rng, SeededRng, TaskSet, TestClock};
use engine::blob::Doing;
use engine::expr::{self, Templates};
use engine::log::record::{self, Message};
use engine::log::{self, Logs as _, ObjectLogSettings, ObjectLogs};
use engine::obs::Metrics;
use engine::plan::QueryKind;
use engine::rpc::{CollectionInfo, Consistency, Error};
use futures::FutureExt as _;
use futures::future::{self, Either};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::clients::Clients;
use super::faults::{self, span};
use super::plans::{MINUTE, change_the_catalog, load_another, owner};
use super::rows::{self, Change, Found, SHARDS};
use super::site::Site;
use super::weather::Fault;

/// How long nobody changes the catalog after a leader was killed, at most.
const LEADERLESS: Duration = Duration::from_secs(10);
/// How long a move of a channel stops its writes, at most.
pub const MOVE: Duration = Duration::from_secs(1);
/// The most calls to a busy store for each that is needed.
const AMPLIFIED: u64 = 2;
/// How much longer writes take with a busy store, at most.
const SLOWED: u32 = 5;
/// How long a client waits that then sends the same again.
const IMPATIENT: Duration = Duration::from_millis(350);
/// How long such a client goes without an answer once nothing goes wrong any more, at most.
const ANSWERED: Duration = MINUTE;

/// The leader is killed every 20 s for ten minutes. Each time the catalog can be changed again soon.
pub async fn kill_leaders(clients: &Clients, rng: &SeededRng) {
    let world = &clients.world;
    let mut longest = Duration::ZERO;
    for turn in 0..30 {
        let next = Instant::now() + Duration::from_secs(20);
        let Some(leader) = world.leader().await else {
            return world.violated("nobody leads".to_owned());
        };
        let name = format!("after_{turn}");
        let killed = faults::kill(world, rng, &leader, Fault::KillLeader);
        let ((), took) = future::join(killed, change_the_catalog(clients, &name, LEADERLESS)).await;
        let Some(took) = took else { return };
        longest = longest.max(took);
        tokio::time::sleep_until(next).await;
    }
    world.note(format!("the catalog was changed within {longest:?} after each of 30 leaders"));
}

/// What writes and the object store had to do with each other in a while.
struct Measured {
    writes: usize,
    p99: Duration,
    calls: u64,
    creates: u64,
    objects: u64,
    kinds: BTreeMap<(Doing, String), u64>,
}

/// Since this was asked last.
fn measured(clients: &Clients) -> Measured {
    let took = clients.take_times_of_writes();
    let calls = clients.world.take_store_calls();
    Measured {
        writes: took.len(),
        p99: took.get(took.len() * 99 / 100).copied().unwrap_or_default(),
        calls: calls.all,
        creates: calls.creates,
        objects: calls.objects.len() as u64,
        kinds: calls.kinds,
    }
}

/// For ten minutes the store refuses 15 of 100 calls, each of which its client repeats twice at most. A minute before tells what is
/// usual of a store that is not as near as the next process.
pub async fn refuse(clients: &Clients) {
    let world = &clients.world;
    {
        let mut weather = world.weather.lock();
        (weather.store_slow_from_ms, weather.store_slow_ms, weather.store_repeats) = (20, 60, 2);
    }
    measured(clients);
    tokio::time::sleep(MINUTE).await;
    let well = measured(clients);
    world.weather.lock().store_errors_permille = 150;
    tokio::time::sleep(10 * MINUTE).await;
    world.weather.lock().store_errors_permille = 0;
    let busy = measured(clients);
    let Measured { writes, p99, calls, creates, objects, kinds } = busy;
    for ((doing, kind), count) in kinds {
        let before = well.kinds.get(&(doing, kind.clone())).copied().unwrap_or_default();
        world.note(format!(
            "{doing} {kind}: {:.2} a write, {:.2} before",
            count as f64 / writes as f64,
            before as f64 / well.writes as f64,
        ));
    }
    world.note(format!(
        "p99 of {writes} writes {p99:?}, of {} before {:?}; {creates} calls for {objects} objects; \
         {:.2} calls a write, {:.2} before",
        well.writes,
        well.p99,
        calls as f64 / writes as f64,
        well.calls as f64 / well.writes as f64,
    ));
    if p99 > SLOWED * well.p99 {
        world.violated(format!("p99 of writes is {p99:?} instead of {:?}", well.p99));
    }
    if creates > AMPLIFIED * objects {
        world.violated(format!("{creates} calls for {objects} objects"));
    }
    if calls * well.writes as u64 > AMPLIFIED * well.calls * writes as u64 {
        world.violated(format!(
            "{calls} calls for {writes} writes, {} for {} before",
            well.calls, well.writes
        ));
    }
}

/// For ten minutes the store takes 200 to 400 ms, breaks 15 of 100 calls off, half of them after they were done, and is away for
/// five seconds of every fifteen. Something is written all the time.
pub async fn slow_down(clients: &Clients) {
    let world = &clients.world;
    {
        let mut weather = world.weather.lock();
        (weather.store_slow_from_ms, weather.store_slow_ms) = (200, 400);
        (weather.store_errors_permille, weather.store_lost_permille) = (75, 75);
    }
    clients.take_times_of_writes();
    let mut fewest = usize::MAX;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        world.weather.lock().is_store_down = true;
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.weather.lock().is_store_down = false;
        let writes = clients.take_times_of_writes().len();
        fewest = fewest.min(writes);
        if writes == 0 {
            world.violated("nothing was written for 15 s".to_owned());
        }
    }
    world.note(format!("{fewest} writes in 15 s at least"));
}

/// Clients of a collection each of whose channels somebody writes to ten times a second.
struct Steady<'a> {
    clients: &'a Clients,
    info: Arc<CollectionInfo>,
    slowest: Mutex<Duration>,
    writes: AtomicU64,
}

impl Steady<'_> {
    async fn write(&self, shard: usize, rng: &SeededRng) {
        let world = &self.clients.world;
        for key in 0.. {
            tokio::time::sleep(span(rng, 50, 150)).await;
            let partition = self.info.partitions[0].id;
            let write = Change::Upsert(vec![(key, key)]).write(&self.info, shard, partition);
            let began = Instant::now();
            let proxy = self.clients.proxy(rng);
            let wrote = |door: Door| async move { door.writer.write(write).await }.boxed();
            let answer = world.ask(&proxy, "write", MINUTE, wrote).await;
            let took = began.elapsed();
            self.writes.fetch_add(1, Ordering::Relaxed);
            let mut slowest = self.slowest.lock();
            *slowest = took.max(*slowest);
            if let Err(error) = answer {
                world.violated(format!("a write of {} failed: {error}", self.info.channels[shard]));
            } else if took > MOVE {
                world.violated(format!("a write of {} took {took:?}", self.info.channels[shard]));
            }
        }
    }

    /// How long the slowest write took since this was asked last.
    fn take_slowest(&self) -> Duration {
        std::mem::take(&mut *self.slowest.lock())
    }
}

/// Owners leave one after the other, once they own nothing, and others come in their place, for which channels are moved. No write
/// fails by that, and none waits for long.
pub async fn come_and_go(clients: &Clients, rng: &SeededRng) {
    let Some(info) = load_another(clients, "many", 9).await else { return };
    let steady = Steady { clients, info, slowest: Mutex::default(), writes: AtomicU64::new(0) };
    let rngs: Vec<_> = steady.info.channels.iter().map(|_| SeededRng::new(rng.next_u64())).collect();
    let writing = future::join_all(rngs.iter().enumerate().map(|(shard, rng)| steady.write(shard, rng)));
    let moving = std::pin::pin!(take_turns(clients, rng, &steady));
    match future::select(moving, std::pin::pin!(writing)).await {
        Either::Left(((), _)) | Either::Right((_, _)) => {}
    }
    clients.world.note(format!("{} writes", steady.writes.load(Ordering::Relaxed)));
}

async fn take_turns(clients: &Clients, rng: &SeededRng, steady: &Steady<'_>) {
    let world = &clients.world;
    let (mut moves, mut leaving, mut coming) = (0, Duration::ZERO, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let usual = steady.take_slowest();
    for site in world.sites_of(Role::StreamingNode) {
        if !leave(clients, &site).await {
            return world.violated(format!("{} still owns channels", site.address));
        }
        // What it was told to let go of it closes.
        tokio::time::sleep(Duration::from_secs(5)).await;
        faults::kill_for(world, &site, Fault::Kill, span(rng, 1_000, 5_000)).await;
        leaving = leaving.max(steady.take_slowest());
        let before = world.moves();
        tokio::time::sleep(Duration::from_secs(75)).await;
        coming = coming.max(steady.take_slowest());
        if world.moves() == before {
            world.violated(format!("nothing was moved to {}", site.address));
        }
        moves += world.moves() - before;
    }
    world.note(format!(
        "the slowest write took {coming:?} amid {moves} moves for balance, {leaving:?} while owners left, {usual:?} before"
    ));
}

/// Whether a node owns nothing a while after it was asked to.
async fn leave(clients: &Clients, site: &Site) -> bool {
    let world = &clients.world;
    let node = world.node_at(site);
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    let drain = move |door: Door| async move { door.coord.drain(node, true).await }.boxed();
    if let Err(error) = world.ask(&proxy, "drain", MINUTE, drain).await {
        world.violated(format!("{} cannot be emptied: {error}", site.address));
    }
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if world.owns_nothing(site) {
            return true;
        }
    }
    false
}

/// Clients that send an insert again and again under one name until it is answered, for which they do not wait long.
struct Blind<'a> {
    clients: &'a Clients,
    info: Arc<CollectionInfo>,
    next: AtomicI64,
    repeats: AtomicU64,
    is_over: AtomicBool,
    /// What was acknowledged.
    rows: Mutex<Vec<(i64, i64)>>,
}

impl Blind<'_> {
    async fn insert(&self, rng: &SeededRng) {
        while !self.is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(span(rng, 50, 1_000)).await;
            let first = self.next.fetch_add(3, Ordering::Relaxed);
            let added: Vec<_> = (first..=first + rng.below(3) as i64).map(|key| (key, key)).collect();
            let (shard, partition) = (rng.below(SHARDS as u64) as usize, self.info.partitions[0].id);
            let mut write = Change::Insert(added.clone()).write(&self.info, shard, partition);
            write.client = Some(RequestId(first.unsigned_abs().into()));
            loop {
                let proxy = self.clients.proxy(rng);
                let sent = write.clone();
                let wrote = |door: Door| async move { door.writer.write(sent).await }.boxed();
                if self.clients.world.ask(&proxy, "write", IMPATIENT, wrote).await.is_ok() {
                    break;
                }
                self.repeats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(span(rng, 0, 200)).await;
            }
            self.rows.lock().extend(added);
        }
    }

    /// Every row is there once.
    async fn look(&self) {
        let world = &self.clients.world;
        let wanted = Found::new(self.rows.lock().clone()).expect("each key is given once");
        for proxy in world.sites_of(Role::Proxy) {
            let [rows, count] =
                [QueryKind::Rows, QueryKind::Count].map(|kind| rows::query(self.info.id, kind));
            let read = |door: Door| {
                async move {
                    let rows = door.reader.query(rows, Consistency::Strong).await?;
                    Ok::<_, Error>((rows, door.reader.query(count, Consistency::Strong).await?.count))
                }
                .boxed()
            };
            match world.ask(&proxy, "query", MINUTE, read).await {
                Ok((rows, count)) => {
                    let found = rows::read_back(&rows.rows);
                    if found.as_ref() != Ok(&wanted) || count != wanted.len() as u64 {
                        world.violated(format!("{count} rows of {}: {found:?}", wanted.len()));
                        self.explain(&proxy, &wanted).await;
                    }
                }
                Err(error) => world.violated(format!("rows that were sent blindly: {error}")),
            }
        }
    }
}

/// Where a row was inserted: its key, and the record that it is in.
type Inserted = (i64, String);

impl Blind<'_> {
    /// Says of each key that is not there once how often it is there, and which records the logs still have of it.
    async fn explain(&self, proxy: &Site, wanted: &Found) {
        let world = &self.clients.world;
        let inserted = self.inserted().await;
        for (key, _) in wanted.iter() {
            let mut plan = rows::query(self.info.id, QueryKind::Count);
            let filter = expr::parse(&format!("id == {key}"), &self.info.schema, &Templates::default());
            plan.filter = Some(filter.expect("a filter"));
            let read = |door: Door| async move { door.reader.query(plan, Consistency::Strong).await }.boxed();
            let count = world.ask(proxy, "query", MINUTE, read).await.map(|found| found.count);
            if count == Ok(1) {
                continue;
            }
            let of_key = inserted.iter().filter(|(other, _)| *other == key);
            let records: Vec<&str> = of_key.map(|(_, record)| record.as_str()).collect();
            world.violated(format!("key {key} is there {count:?} times: {}", records.join(", ")));
        }
    }

    /// What the logs of the collection's channels have of inserts.
    async fn inserted(&self) -> Vec<Inserted> {
        let world = &self.clients.world;
        let clock = TestClock::starting_at(world.now_us() / 1_000);
        let (rng, metrics) = (Arc::clone(&world.rng) as Arc<dyn Rng>, Metrics::new(NodeId(0)).log.clone());
        let settings = ObjectLogSettings::default();
        let logs = ObjectLogs::new(world.blobs(), TaskSet::new(), clock, rng, metrics, settings);
        let mut inserted = Vec::new();
        for channel in &self.info.channels {
            let reader = match logs.read(channel, Position(0)).await {
                Err(log::Error::Truncated { first, .. }) => logs.read(channel, first).await,
                reader => reader,
            };
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(error) => {
                    world.violated(format!("the log of {channel} cannot be read: {error}"));
                    continue;
                }
            };
            while let Ok(Some((position, payload))) = reader.try_next().await {
                let Ok(Message::Insert { at, rows, .. }) = record::decode(&payload, &self.info.schema) else {
                    continue;
                };
                let origin = record::origin_of(&payload);
                let record = format!("record {position} of {channel}, at {at:?}, {origin:?}");
                let keys = rows::read_back(&rows).unwrap_or_default();
                inserted.extend(keys.iter().map(|(key, _)| (key, record.clone())));
            }
        }
        inserted
    }
}

/// Owners are killed and stopped and messages are lost, while clients insert into a collection to which nobody does anything else.
pub async fn repeat_blindly(clients: &Clients, rng: &SeededRng) {
    let world = &clients.world;
    let Some(info) = load_another(clients, "blind", SHARDS as u32).await else { return };
    let blind = Blind {
        clients,
        info,
        next: AtomicI64::new(1),
        repeats: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        rows: Mutex::default(),
    };
    let rngs: Vec<_> = (0..4).map(|_| SeededRng::new(rng.next_u64())).collect();
    let inserting = future::join_all(rngs.iter().map(|rng| blind.insert(rng)));
    let hurting = async {
        world.weather.lock().loss_permille = 30;
        world.weather.lock().reset_permille = 30;
        for turn in 0..8 {
            let site = owner(clients, rng);
            if turn % 4 == 3 {
                faults::pause(world, &site, span(rng, 10_000, 30_000)).await;
            } else {
                faults::kill(world, rng, &site, Fault::Kill).await;
            }
            tokio::time::sleep(span(rng, 5_000, 20_000)).await;
        }
        world.weather.lock().loss_permille = 0;
        world.weather.lock().reset_permille = 0;
        blind.is_over.store(true, Ordering::Relaxed);
        Instant::now()
    };
    let (_, ended) = future::join(inserting, hurting).await;
    let waited = ended.elapsed();
    if waited > ANSWERED {
        world.violated(format!("clients that do not wait for long were answered after {waited:?}"));
    }
    blind.look().await;
    let (repeats, rows) = (blind.repeats.load(Ordering::Relaxed), blind.rows.lock().len());
    world.note(format!("{rows} rows after {repeats} repeats"));
    if repeats < 20 {
        world.violated(format!("too little was repeated: {repeats}"));
    }
}
