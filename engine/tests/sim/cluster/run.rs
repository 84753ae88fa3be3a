//! One seed: a cluster is started, used and hurt for five minutes, healed, and looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::role::Role;
use engine::base::{Rng as _, SeededRng};
use engine::plan::QueryKind;
use engine::rpc::{CollectionInfo, Consistency, Error};
use futures::FutureExt as _;
use tokio::task::JoinSet;

use super::clients::{self, Clients, MAIN, Worker};
use super::faults::{self, Plan};
use super::oracle::{Level, PROBE};
use super::plans::{self, Script};
use super::rows::{self, Found, SHARDS, named};
use super::site::Site;
use super::weather::Fault;
use super::world::{Defect, World};

/// How long clients and faults go on, at least.
const SPAN: Duration = Duration::from_secs(300);
/// How long they go on at most, should operations be slow.
const LONGEST: Duration = Duration::from_secs(1_800);
/// How long after the last fault every channel takes a write and every proxy answers a Strong read, at the latest.
const PROGRESS: Duration = Duration::from_secs(15);
/// How long after the last fault everything has to be as it should.
const REST: Duration = Duration::from_secs(180);
const BRIEF: Duration = Duration::from_secs(30);

/// What came of a seed.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Report {
    pub seed: u64,
    /// Fingerprint of everything that happened, in its order.
    pub trace: u64,
    pub lines: u64,
    pub operations: u64,
    pub failed: u64,
    pub rows: u64,
    /// Faults that were meant to happen.
    pub planned: Vec<String>,
    /// Faults that happened.
    pub fired: BTreeMap<String, u64>,
    pub violations: Vec<String>,
    /// Reads that came to a node after it had let go of what they were of, and were made again.
    pub refused_reads: u64,
    /// What former owners had left to write or to prove, and the log did not take.
    pub fenced: u64,
    /// How long after the last fault all went on. Unit: ms.
    pub progress_ms: u64,
    /// What a named plan has measured.
    pub notes: Vec<String>,
}

pub fn run(seed: u64, script: Option<Script>, defect: Option<Defect>, is_loud: bool) -> Report {
    super::entropy::follow(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let report = runtime.block_on(live(seed, script, defect, is_loud));
    // Ends all that still runs at once.
    runtime.shutdown_background();
    report
}

async fn live(seed: u64, script: Option<Script>, defect: Option<Defect>, is_loud: bool) -> Report {
    let rng = SeededRng::new(seed);
    let plan = script.map_or_else(|| Plan::of(seed, &rng), Script::plan);
    let world = World::new(Arc::clone(&rng), &plan.roles, defect, is_loud);
    world.tell(format_args!("{plan:?}"));
    if plan.faults.contains(&Fault::ClockSkew) {
        faults::skew(&world, &rng);
    }
    // One of some runs is of a cluster that an earlier version has made.
    if plan.script.is_some() || rng.below(4) > 0 {
        world.make_anew().await;
    }
    world.sites.iter().for_each(|site| world.boot(site));
    let mut done = Done::default();
    match prepare(&world, &plan).await {
        Ok(info) => done = use_and_hurt(&world, &plan, info, &rng).await,
        Err(error) => world.violated(format!("the cluster does not get ready: {error}")),
    }
    let fired = world.all_fired();
    for fault in &plan.faults {
        if !fired.contains_key(fault) {
            world.violated(format!("{fault:?} never happened"));
        }
    }
    let (trace, lines) = world.trace();
    let Done { operations, failed, rows, progress_ms } = done;
    Report {
        seed,
        trace,
        lines,
        operations,
        failed,
        rows,
        planned: plan.faults.iter().map(|fault| format!("{fault:?}")).collect(),
        fired: fired.into_iter().map(|(fault, count)| (format!("{fault:?}"), count)).collect(),
        violations: world.violations(),
        refused_reads: world.refused_reads(),
        fenced: world.fenced(),
        progress_ms,
        notes: world.notes(),
    }
}

/// Tries until it works.
async fn patiently<T, F>(mut work: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let until = tokio::time::Instant::now() + REST;
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(error) if tokio::time::Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The collection, made, indexed and loaded.
async fn prepare(world: &Arc<World>, plan: &Plan) -> Result<Arc<CollectionInfo>, Error> {
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    patiently(|| {
        let wanted = rows::new_collection(MAIN, SHARDS as u32);
        world.ask(&proxy, "make", BRIEF, |door| {
            async move { door.coord.create_collection(wanted).await }.boxed()
        })
    })
    .await?;
    patiently(|| {
        world.ask(&proxy, "make", BRIEF, |door| {
            async move { door.coord.create_partition(named(MAIN), "other").await }.boxed()
        })
    })
    .await?;
    patiently(|| {
        let index = rows::new_index(MAIN);
        world.ask(&proxy, "make", BRIEF, |door| async move { door.coord.create_index(index).await }.boxed())
    })
    .await?;
    let replicas = plan.replicas as u32;
    patiently(|| {
        world.ask(&proxy, "load", BRIEF, move |door| {
            async move { door.coord.load(named(MAIN), None, replicas, Vec::new()).await }.boxed()
        })
    })
    .await?;
    patiently(|| {
        world.ask(&proxy, "load", BRIEF, |door| {
            async move {
                let progress = door.coord.load_progress(named(MAIN)).await?;
                let slow = || Error::Stale { what: format!("all of it ({progress:?})") };
                (progress == Some(100)).then_some(()).ok_or_else(slow)
            }
            .boxed()
        })
    })
    .await?;
    // Every process is there.
    for site in &world.sites {
        patiently(|| async {
            let is_there = site.life().is_some_and(|life| life.served.lock().is_some());
            is_there.then_some(()).ok_or_else(|| Error::Stale { what: site.address.clone() })
        })
        .await?;
    }
    for proxy in world.sites_of(Role::Proxy) {
        patiently(|| async {
            let has_door = proxy.life().is_some_and(|life| life.door.lock().is_some());
            has_door.then_some(()).ok_or_else(|| Error::Stale { what: proxy.address.clone() })
        })
        .await?;
    }
    let find = |door: engine::assembly::Door| async move { door.coord.collection(named(MAIN)).await }.boxed();
    world.ask(&proxy, "find", BRIEF, find).await
}

/// Operations, those that failed, rows in the end, and how long after the last fault all went on.
#[derive(Default)]
struct Done {
    operations: u64,
    failed: u64,
    rows: u64,
    progress_ms: u64,
}

async fn use_and_hurt(world: &Arc<World>, plan: &Plan, info: Arc<CollectionInfo>, rng: &SeededRng) -> Done {
    world.watch(info.id);
    let clients = Clients::new(Arc::clone(world), info, plan.promises, plan.has_true_clocks());
    let mut working = JoinSet::new();
    for number in 0..PROBE {
        working.spawn(Worker::new(Arc::clone(&clients), number).work(plan.think_ms, number < plan.writers));
    }
    working.spawn(clients::make_and_drop(Arc::clone(&clients)));
    working.spawn(clients::look_after(Arc::clone(&clients), plan.replicas));
    let mut hurting = JoinSet::new();
    if let Some(script) = plan.script {
        let (own, clients) = (SeededRng::new(rng.next_u64()), Arc::clone(&clients));
        hurting.spawn(async move { script.play(&clients, &own).await });
    } else {
        for fault in &plan.faults {
            let own = SeededRng::new(rng.next_u64());
            hurting.spawn(faults::strike_on(Arc::clone(world), own, *fault));
        }
    }
    let began = tokio::time::Instant::now();
    let is_over = || match plan.script {
        Some(_) => began.elapsed() >= LONGEST,
        None => began.elapsed() >= SPAN && clients.operations.load(Ordering::Relaxed) >= plan.operations,
    };
    while !is_over() && began.elapsed() < LONGEST {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let is_played = match hurting.try_join_next() {
            Some(played) => played.is_ok_and(|()| plan.script.is_some()),
            None => false,
        };
        if is_played || !world.violations().is_empty() {
            break;
        }
    }
    hurting.shutdown().await;
    clients.look_at_all_writes();
    faults::heal(world);
    let progress_ms = if world.violations().is_empty() { progress(&clients).await } else { 0 };
    clients.stop.store(true, Ordering::Relaxed);
    while working.join_next().await.is_some() {}
    let rows = if world.violations().is_empty() { rest(&clients).await } else { 0 };
    if plan.script == Some(Script::Orphans) && world.violations().is_empty() {
        plans::sweep(&clients).await;
    }
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    let (operations, failed) = (count(&clients.operations), count(&clients.failed));
    Done { operations, failed, rows, progress_ms }
}

/// Waits until every channel takes a write and every proxy answers a Strong read; how long that takes. Unit: ms.
async fn progress(clients: &Arc<Clients>) -> u64 {
    let world = &clients.world;
    let began = tokio::time::Instant::now();
    let writes = async {
        let mut probe = Worker::new(Arc::clone(clients), PROBE);
        for shard in 0..SHARDS {
            probe.write_patiently(shard).await;
        }
        world.tell(format_args!("-- every channel is written to"));
    };
    let reads = async {
        for proxy in world.sites_of(Role::Proxy) {
            let read = || {
                let plan = rows::query(clients.info.id, QueryKind::Count);
                world.ask(&proxy, "count", BRIEF, |door| {
                    async move { door.reader.query(plan, Consistency::Strong).await }.boxed()
                })
            };
            if let Err(error) = patiently(read).await {
                world.tell(format_args!("{} does not answer: {error}", proxy.address));
            }
        }
        world.tell(format_args!("-- every proxy answers"));
    };
    if tokio::time::timeout(REST, futures::future::join(writes, reads)).await.is_err() {
        world.violated(format!("writes or reads do not go on {REST:?} after the last fault"));
    }
    let took = began.elapsed();
    if took > PROGRESS {
        world.violated(format!("writes and reads go on {took:?} after the last fault"));
    }
    took.as_millis() as u64
}

/// Waits until everything works, then compares what every proxy shows. Returns how many rows there are.
async fn rest(clients: &Clients) -> u64 {
    let world = &clients.world;
    let mut all: Option<Found> = None;
    for proxy in world.sites_of(Role::Proxy) {
        let began = std::cell::Cell::new(0);
        let found = patiently(|| {
            began.set(world.now_us());
            let plan = rows::query(clients.info.id, QueryKind::Rows);
            world.ask(&proxy, "query", BRIEF, |door| {
                async move { door.reader.query(plan, Consistency::Strong).await }.boxed()
            })
        })
        .await;
        let found = match found {
            Ok(found) => rows::read_back(&found.rows),
            Err(error) => Err(format!("{} does not come to rest: {error}", proxy.address)),
        };
        let found = match found {
            Ok(found) => found,
            Err(wrong) => {
                world.violated(wrong);
                return 0;
            }
        };
        let checked = {
            let mut oracle = clients.oracle.lock();
            let whole = oracle.check_whole(&found);
            whole.and_then(|()| oracle.check(Level::Strong, began.get(), world.now_us(), &found))
        };
        if let Err(wrong) = checked {
            world.violated(format!("at rest: {wrong}"));
        }
        count_alike(clients, &proxy, &found).await;
        if all.as_ref().is_some_and(|other| *other != found) {
            world.violated("two proxies show different rows at rest".to_owned());
        }
        all = Some(found);
    }
    settle(clients).await;
    all.map_or(0, |rows| rows.len() as u64)
}

/// What is counted and what is searched are the same rows.
async fn count_alike(clients: &Clients, proxy: &Site, found: &Found) {
    let world = &clients.world;
    let counted = patiently(|| {
        let plan = rows::query(clients.info.id, QueryKind::Count);
        world.ask(proxy, "count", BRIEF, |door| {
            async move { door.reader.query(plan, Consistency::Strong).await }.boxed()
        })
    })
    .await;
    match counted {
        Ok(counted) if counted.count == found.len() as u64 => {}
        Ok(counted) => {
            world.violated(format!("{} rows are counted, {} are there", counted.count, found.len()))
        }
        Err(error) => world.violated(format!("counting does not come to rest: {error}")),
    }
    let hits = patiently(|| {
        let plan = rows::search(clients.info.id);
        world.ask(proxy, "search", BRIEF, |door| {
            async move { door.reader.search(plan, Consistency::Strong).await }.boxed()
        })
    })
    .await;
    match hits.map(|hits| rows::read_back(&hits.rows)) {
        Ok(Ok(hits)) if hits == *found => {}
        Ok(hits) => world.violated(format!("a search finds {hits:?}, a query {found:?}")),
        Err(error) => world.violated(format!("searching does not come to rest: {error}")),
    }
}

/// Every node takes part, everything is loaded, and every object that the catalog names is there.
async fn settle(clients: &Clients) {
    let world = &clients.world;
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    let id = clients.info.id;
    let wanted = world.sites.iter().filter(|site| site.role != Role::Coordinator).count();
    let settled = patiently(|| {
        world.ask(&proxy, "settle", BRIEF, move |door| {
            async move {
                let nodes = door.coord.nodes().await?.len();
                let progress = door.coord.load_progress(named(MAIN)).await?;
                let what = format!("{nodes} nodes of {wanted}, loaded {progress:?}");
                if nodes != wanted || progress != Some(100) {
                    return Err(Error::Stale { what });
                }
                door.coord.manifests(id).await
            }
            .boxed()
        })
    })
    .await;
    let manifests = match settled {
        Ok(manifests) => manifests,
        Err(error) => {
            let seen = world.ask(&proxy, "look", BRIEF, move |door| {
                async move { Ok((door.coord.replicas(id).await?, door.coord.nodes().await?)) }.boxed()
            });
            world.tell(format_args!("at the end: {:#?}", seen.await));
            return world.violated(format!("the cluster does not come to rest: {error}"));
        }
    };
    for manifest in manifests {
        let objects = manifest.segments.iter().flat_map(|segment| segment.objects());
        for key in objects.chain(manifest.deletes.iter().map(|file| file.object.key.clone())) {
            if world.blobs().read(&key).await.is_err() {
                world.violated(format!("{key}, which the catalog names, is lost"));
            }
        }
    }
}
