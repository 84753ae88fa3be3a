//! The world of one seed: machines, what lies between them, and what everybody can see from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use contract::role::Role;
use contract::settings::Settings;
use engine::assembly::{Door, Node, NodeCalls, NodeSeams};
use engine::base::{ChannelName, Clock, CollectionId, NodeId, Rng, SeededRng, SegmentId, newest_format};
use engine::blob::{Blobs, Doing, MemoryBlobs};
use engine::log::{ObjectLogSettings, ObjectLogs};
use engine::meta::{MemoryMetas, Metas, Txn};
use engine::model::ChannelManifest;
use engine::obs::Metrics;
use engine::rpc::net::{CoordClient, FindLeader, ReachCoord};
use engine::rpc::{Error, Orders, Report, Routes};
use engine::{coord, log};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::Xxh3;

use super::net::SiteDial;
use super::numbers::Series;
use super::site::{Life, Site};
use super::stores::{SiteBlobs, SiteMetas};
use super::weather::{End, Fault, Fired, Weather};

/// The true wall time at which the world begins. Unit: ms.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// How long a call to the coordinator is tried again, as in production.
const PATIENCE: Duration = Duration::from_secs(30);
/// A node that has not been heard of for so long may count as lost.
const FRESH: Duration = Duration::from_secs(3);

/// A rule that is left out on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    Log(log::Flaw),
    Coord(coord::Flaw),
    /// Nobody says which request a write is.
    Nameless,
}

/// What an outsider knows of a process: what it was told, and when it was last answered.
#[derive(Default)]
struct Known {
    life: u64,
    node: NodeId,
    /// When it sent the report that a leader answered last, and in which epoch. A leader that was stopped meanwhile counts
    /// from when it had heard of it, not from when it answers.
    heard: Option<(tokio::time::Instant, u64)>,
    /// Segments that it is to hold.
    ordered: BTreeMap<CollectionId, BTreeSet<SegmentId>>,
    /// What those segments and their channels looked like then.
    manifests: BTreeMap<CollectionId, Vec<Arc<ChannelManifest>>>,
    /// Channels that it owns, and since when.
    owned: (BTreeSet<ChannelName>, Option<tokio::time::Instant>),
    /// By which routes a proxy reads.
    routes: BTreeMap<CollectionId, Arc<Routes>>,
    /// Counts the orders that had a proxy forget routes.
    forgotten: u64,
}

impl Known {
    /// Whether it is to hold what has this key.
    fn holds(&self, collection: CollectionId, segment: Option<SegmentId>, key: &str) -> bool {
        let ordered = self.ordered.get(&collection);
        let is_ordered = |segment: SegmentId| ordered.is_some_and(|segments| segments.contains(&segment));
        let Some(segment) = segment else {
            let mut manifests = self.manifests.get(&collection).into_iter().flatten();
            return manifests.any(|manifest| manifest.deletes.iter().any(|file| file.object.key == key));
        };
        if !key.contains("/index") {
            return is_ordered(segment);
        }
        let manifests = self.manifests.get(&collection).into_iter().flatten();
        let mut known = manifests.flat_map(|manifest| &manifest.segments);
        is_ordered(segment)
            && known
                .any(|known| known.id == segment && known.indexes.iter().any(|index| index.object.key == key))
    }

    /// Whether the leader of that epoch, or of any, cannot count it as lost.
    fn is_fresh(&self, epoch: Option<u64>) -> bool {
        self.heard.is_some_and(|(at, of)| at.elapsed() < FRESH && epoch.is_none_or(|epoch| epoch == of))
    }
}

/// Calls to the object store, of all machines.
#[derive(Default)]
pub struct StoreCalls {
    pub all: u64,
    /// Those that were to make an object, and the objects that they were to make.
    pub creates: u64,
    pub objects: BTreeSet<String>,
    /// What was asked of which kind of object.
    pub kinds: BTreeMap<(Doing, String), u64>,
}

/// Whom an outsider takes for the owner of a channel.
#[derive(Clone, Copy)]
struct Ownership {
    site: usize,
    life: u64,
    /// When the channel was last taken from a process that took part.
    moved: Option<tokio::time::Instant>,
}

pub struct World {
    pub rng: Arc<SeededRng>,
    pub weather: Mutex<Weather>,
    pub sites: Vec<Arc<Site>>,
    pub defect: Option<Defect>,
    blobs: Arc<MemoryBlobs>,
    metas: Arc<MemoryMetas>,
    settings: Settings,
    background: Mutex<JoinSet<()>>,
    began: tokio::time::Instant,
    fired: Mutex<Fired>,
    trace: Mutex<(Xxh3, u64)>,
    known: Mutex<BTreeMap<usize, Known>>,
    owners: Mutex<BTreeMap<ChannelName, Ownership>>,
    /// How long a channel has to stay where it was moved to while its owner takes part.
    rests: Mutex<Option<Duration>>,
    moves: AtomicU64,
    /// Collections that stay, of which removals and what nodes let go of are watched.
    watched: Mutex<BTreeSet<CollectionId>>,
    violations: Mutex<Vec<String>>,
    /// Numbers that were given out, by what they number.
    numbers: Mutex<BTreeMap<String, Series>>,
    refused: AtomicU64,
    fenced: AtomicU64,
    store_calls: Mutex<StoreCalls>,
    /// What plans have measured, in words.
    notes: Mutex<Vec<String>>,
    is_loud: bool,
}

impl World {
    pub fn new(rng: Arc<SeededRng>, roles: &[Role], defect: Option<Defect>, is_loud: bool) -> Arc<Self> {
        let sites =
            roles.iter().enumerate().map(|(number, role)| Arc::new(Site::new(number, *role))).collect();
        Arc::new(Self {
            rng,
            weather: Mutex::default(),
            sites,
            defect,
            blobs: MemoryBlobs::new(),
            metas: MemoryMetas::new(),
            settings: settings(),
            background: Mutex::default(),
            began: tokio::time::Instant::now(),
            fired: Mutex::default(),
            trace: Mutex::new((Xxh3::new(), 0)),
            known: Mutex::default(),
            owners: Mutex::default(),
            rests: Mutex::default(),
            moves: AtomicU64::new(0),
            watched: Mutex::default(),
            violations: Mutex::default(),
            numbers: Mutex::default(),
            refused: AtomicU64::new(0),
            fenced: AtomicU64::new(0),
            store_calls: Mutex::default(),
            notes: Mutex::default(),
            is_loud,
        })
    }

    pub fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs) as _
    }

    pub fn metas(&self) -> Arc<dyn Metas> {
        Arc::clone(&self.metas) as _
    }

    /// Time since the beginning. Unit: microseconds.
    pub fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// Runs something that belongs to no process.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut background = self.background.lock();
        while background.try_join_next().is_some() {}
        background.spawn(work);
    }

    pub fn site_at(&self, address: &str) -> Option<Arc<Site>> {
        self.sites.iter().find(|site| site.address == address).cloned()
    }

    pub fn sites_of(&self, role: Role) -> Vec<Arc<Site>> {
        self.sites.iter().filter(|site| site.role == role).cloned().collect()
    }

    pub fn is_blocked(&self, from: End, to: End) -> bool {
        self.weather.lock().blocked.contains(&(from, to))
    }

    /// A line of the run's story: part of its fingerprint, and shown if somebody listens.
    pub fn tell(&self, line: std::fmt::Arguments<'_>) {
        let text = format!("{:>9.3} {line}", self.now_us() as f64 / 1e6);
        if self.is_loud {
            println!("{text}");
        }
        let mut trace = self.trace.lock();
        trace.0.update(text.as_bytes());
        trace.1 += 1;
    }

    /// The fingerprint of the run so far, and how many lines it is of.
    pub fn trace(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.0.digest(), trace.1)
    }

    /// A fault has happened.
    pub fn fired(&self, fault: Fault) {
        *self.fired.lock().entry(fault).or_default() += 1;
        let now = self.now_us();
        let mut trace = self.trace.lock();
        trace.0.update(&now.to_le_bytes());
        trace.0.update(&[fault as u8]);
    }

    pub fn all_fired(&self) -> Fired {
        self.fired.lock().clone()
    }

    /// Something happened that must never happen.
    pub fn violated(&self, what: String) {
        self.tell(format_args!("{what}"));
        self.violations.lock().push(what);
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// A figure that the run's report shows.
    pub fn note(&self, what: String) {
        self.tell(format_args!("-- {what}"));
        self.notes.lock().push(what);
    }

    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().clone()
    }

    /// A machine asks something of the object store.
    pub fn asked_of_store(&self, doing: Doing, key: &str) {
        let mut calls = self.store_calls.lock();
        calls.all += 1;
        let kind = key.split('/').next().unwrap_or_default().to_owned();
        *calls.kinds.entry((doing, kind)).or_default() += 1;
        if doing == Doing::Create {
            calls.creates += 1;
            calls.objects.insert(key.to_owned());
        }
    }

    /// What was asked of the object store since this was asked last.
    pub fn take_store_calls(&self) -> StoreCalls {
        std::mem::take(&mut *self.store_calls.lock())
    }

    /// A node was asked for what it does not hold: the read is repeated by newer routes.
    pub fn refused_read(&self, what: &str) {
        self.tell(format_args!("refused: {what}"));
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused_reads(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A log took nothing of what a process had to write, since there was another owner.
    pub fn saw_fence(&self, call: &str) {
        self.tell(format_args!("fenced: {call}"));
        self.fenced.fetch_add(1, Ordering::Relaxed);
    }

    pub fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::Relaxed)
    }

    /// Somebody asks for a number; what follows the greatest that was heard so far.
    pub fn numbered(&self, series: &str) -> u64 {
        self.numbers.lock().get(series).map_or(0, Series::end)
    }

    /// Somebody hears numbers that it asked for then.
    pub fn number(&self, series: &str, since: u64, first: u64, count: u64) {
        let taken = self.numbers.lock().entry(series.to_owned()).or_default().take(since, first, count);
        if let Err(wrong) = taken {
            self.violated(format!("{series}: {wrong}"));
        }
    }

    /// The machine whose process was told last that it owns the channel.
    pub fn owner_of(&self, channel: &ChannelName) -> Option<Arc<Site>> {
        let known = self.known.lock();
        let owners = known.iter().filter(|(site, known)| {
            let lives = self.sites[**site].life().is_some_and(|life| life.number == known.life);
            lives && known.owned.0.contains(channel)
        });
        let newest = owners.max_by_key(|(_, known)| known.owned.1);
        newest.map(|(site, _)| Arc::clone(&self.sites[*site]))
    }

    /// Whether the process of a machine was told that it owns no channel.
    pub fn owns_nothing(&self, site: &Site) -> bool {
        self.known.lock().get(&site.number).is_some_and(|known| known.owned.0.is_empty())
    }

    /// The number of the node on a machine, as its process says.
    pub fn node_at(&self, site: &Site) -> NodeId {
        self.known.lock().get(&site.number).map_or_else(NodeId::default, |known| known.node)
    }

    /// The collection stays: from now on nothing of it may be removed that a node is to hold, and nobody may be told to let go of
    /// what is still read.
    pub fn watch(&self, collection: CollectionId) {
        self.watched.lock().insert(collection);
    }

    /// A process sends its report.
    pub fn reported(&self, site: usize, life: u64, report: &Report) {
        let mut known = self.known.lock();
        let known = known.entry(site).or_default();
        if known.life != life {
            *known = Known { life, ..Known::default() };
        }
        known.node = report.node.id;
    }

    /// A process gets orders, for a report that it sent then. Nobody may be told to let go of what a live proxy still sends
    /// reads to.
    pub fn ordered(&self, site: usize, life: u64, sent: tokio::time::Instant, orders: &Orders) {
        let mut all = self.known.lock();
        let known = all.entry(site).or_default();
        if known.life != life {
            return;
        }
        let node = known.node;
        known.heard = Some((sent, orders.number.epoch));
        if orders.whole {
            known.routes.clear();
        }
        for forgotten in orders.changed.iter().chain(&orders.rerouted) {
            known.routes.remove(forgotten);
        }
        known.forgotten +=
            u64::from(orders.whole || !(orders.changed.is_empty() && orders.rerouted.is_empty()));
        let mut taken = BTreeSet::new();
        if let Some(own) = &orders.own {
            let channels: BTreeSet<_> = own.iter().map(|order| order.channel.clone()).collect();
            taken = &channels - &known.owned.0;
            known.owned = (channels, Some(tokio::time::Instant::now()));
        }
        let mut fresh = if orders.whole { BTreeMap::new() } else { known.ordered.clone() };
        if orders.whole {
            known.manifests.retain(|collection, _| orders.keep.contains(collection));
        }
        for kept in &orders.keep {
            fresh.extend(known.ordered.get(kept).map(|segments| (*kept, segments.clone())));
        }
        for released in &orders.release {
            fresh.remove(released);
            known.manifests.remove(released);
        }
        for hold in &orders.hold {
            let segments =
                hold.channels.iter().flat_map(|channel| channel.segments.iter().copied()).collect();
            fresh.insert(hold.info.id, segments);
            let manifests = hold.channels.iter().map(|channel| Arc::clone(&channel.manifest)).collect();
            known.manifests.insert(hold.info.id, manifests);
        }
        let before = std::mem::replace(&mut known.ordered, fresh.clone());
        let mut wrong = Vec::new();
        for (collection, segments) in before {
            let kept = fresh.get(&collection);
            let released: BTreeSet<SegmentId> = segments
                .into_iter()
                .filter(|segment| kept.is_none_or(|kept| !kept.contains(segment)))
                .collect();
            if released.is_empty() || !self.watched.lock().contains(&collection) {
                continue;
            }
            for (proxy, reader) in all.iter() {
                let lives = self.sites[*proxy].life().is_some_and(|life| life.number == reader.life);
                let routes = reader.routes.get(&collection).filter(|_| lives);
                let asked = routes.and_then(|routes| asked_of(routes, node, &released));
                if let Some(segment) = asked.filter(|_| reader.is_fresh(Some(orders.number.epoch))) {
                    let (address, proxy) = (&self.sites[site].address, &self.sites[*proxy].address);
                    wrong.push(format!(
                        "{address} is to let go of segment {segment}, which {proxy} still reads there"
                    ));
                }
            }
        }
        for channel in taken {
            wrong.extend(self.own(&all, channel, (site, life)));
        }
        drop(all);
        wrong.into_iter().for_each(|wrong| self.violated(wrong));
    }

    /// A process owns a channel from now on. What is wrong with that.
    fn own(
        &self,
        known: &BTreeMap<usize, Known>,
        channel: ChannelName,
        (site, life): (usize, u64),
    ) -> Option<String> {
        let mut owners = self.owners.lock();
        let before = owners.get(&channel).copied();
        let takes_part = |former: &Ownership| {
            let lives = self.sites[former.site].life().is_some_and(|life| life.number == former.life);
            let is_known = |known: &Known| known.life == former.life && known.is_fresh(None);
            lives && known.get(&former.site).is_some_and(is_known)
        };
        let is_moved =
            before.is_some_and(|former| (former.site, former.life) != (site, life) && takes_part(&former));
        let last = before.and_then(|former| former.moved);
        let now = tokio::time::Instant::now();
        let moved = if is_moved { Some(now) } else { last };
        owners.insert(channel.clone(), Ownership { site, life, moved });
        if !is_moved {
            return None;
        }
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.tell(format_args!("{channel} was moved to {}", self.sites[site].address));
        let rested = now - last?;
        let is_early = self.rests.lock().is_some_and(|least| rested < least);
        is_early.then(|| format!("{channel} is moved again after {rested:?}"))
    }

    /// From now on a channel that was taken from an owner that took part has to stay for so long.
    pub fn have_channels_rest(&self, least: Duration) {
        *self.rests.lock() = Some(least);
    }

    /// How often a channel was taken from an owner that took part.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// How often a process was told to forget routes.
    pub fn forgotten(&self, site: usize) -> u64 {
        self.known.lock().get(&site).map_or(0, |known| known.forgotten)
    }

    /// A proxy gets routes; it keeps them unless it was told to forget some since it asked.
    pub fn routed(&self, site: usize, life: u64, asked_at: u64, routes: &Arc<Routes>) {
        let mut known = self.known.lock();
        let Some(known) = known.get_mut(&site) else { return };
        if known.life == life && known.forgotten == asked_at && self.sites[site].role == Role::Proxy {
            known.routes.insert(routes.collection, Arc::clone(routes));
        }
    }

    /// A sealed object, an index or deletes are about to be removed.
    pub fn look_at_removal(&self, key: &str) {
        let mut parts = key.split('/');
        let (Some(kind @ ("segments" | "deletes")), Some(collection), Some(segment)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let Ok(collection) = collection.parse().map(CollectionId) else { return };
        // Nobody reads what was dropped, though nodes may hold it until they hear of that.
        if !self.watched.lock().contains(&collection) {
            return;
        }
        let segment = segment.parse().ok().map(SegmentId).filter(|_| kind == "segments");
        let known = self.known.lock();
        let holder = known.iter().find(|(site, known)| {
            let lives = self.sites[**site].life().is_some_and(|life| life.number == known.life);
            lives && known.is_fresh(None) && known.holds(collection, segment, key)
        });
        let holder = holder.map(|(site, _)| self.sites[*site].address.clone());
        drop(known);
        if let Some(holder) = holder {
            self.violated(format!("{key} is removed while {holder} is to hold it"));
        }
    }

    /// Starts a process on a machine.
    pub fn boot(self: &Arc<Self>, site: &Arc<Site>) {
        let life = site.begin(BEGIN_MS + self.now_us() / 1_000);
        let tasks = life.tasks.clone();
        let (world, site) = (Arc::clone(self), Arc::clone(site));
        tasks.start("run a process", move |_| async move {
            world.run(site, life).await;
            Ok(())
        });
    }

    async fn run(self: Arc<Self>, site: Arc<Site>, life: Arc<Life>) {
        let clock: Arc<dyn Clock> = Arc::clone(&life.clock) as _;
        let rng = SeededRng::new(self.rng.next_u64());
        let blobs: Arc<dyn Blobs> = Arc::new(SiteBlobs { world: Arc::clone(&self), site: Arc::clone(&site) });
        let metas: Arc<dyn Metas> = Arc::new(SiteMetas { world: Arc::clone(&self), site: Arc::clone(&site) });
        let logs = self.logs(&life, &blobs, &rng);
        let dial = Arc::new(SiteDial { world: Arc::clone(&self), from: Arc::clone(&site) });
        let find = Arc::new(Records { metas: Arc::clone(&metas) });
        let reach: Arc<dyn ReachCoord> = Arc::clone(&dial) as _;
        let coord = CoordClient::over(find, reach, Arc::clone(&clock), PATIENCE);
        let published = Arc::clone(&life);
        let calls = NodeCalls {
            address: site.address.clone(),
            dial,
            coord: Some(Arc::new(coord)),
            publish: Box::new(move |served, _| *published.served.lock() = Some(served)),
        };
        let flaw = match self.defect {
            Some(Defect::Coord(flaw)) => Some(flaw),
            _ => None,
        };
        let seams = NodeSeams {
            blobs,
            metas: Some(metas),
            scratch: None,
            logs,
            clock,
            rng,
            alone: false,
            lock: None,
            flaw,
            usage: None,
        };
        match Node::start(site.role, seams, calls, &self.settings, &life.tasks).await {
            Ok(node) => {
                *life.door.lock() = node.door;
                *life.agent.lock() = node.agent;
                let (address, id) = (&site.address, node.id);
                self.tell(format_args!("{address} is node {id}"));
            }
            Err(error) => self.violated(format!("{} does not start: {error}", site.address)),
        }
    }

    fn logs(&self, life: &Life, blobs: &Arc<dyn Blobs>, rng: &Arc<SeededRng>) -> Arc<dyn log::Logs> {
        let clock: Arc<dyn Clock> = Arc::clone(&life.clock) as _;
        let rng: Arc<dyn Rng> = Arc::clone(rng) as _;
        let (blobs, tasks) = (Arc::clone(blobs), life.tasks.clone());
        let (metrics, settings) = (Metrics::new(NodeId(1)).log.clone(), ObjectLogSettings::default());
        match self.defect {
            Some(Defect::Log(flaw)) => {
                ObjectLogs::leaving_out(flaw, blobs, tasks, clock, rng, metrics, settings)
            }
            _ => ObjectLogs::new(blobs, tasks, clock, rng, metrics, settings),
        }
    }

    /// A call of a client to the proxy on a machine.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        proxy: &Site,
        call: &'static str,
        limit: Duration,
        work: impl FnOnce(Door) -> BoxFuture<'static, Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let make = |life: &Life| life.door.lock().clone().map(work);
        self.call(None, &proxy.address, call, limit, make).await
    }

    /// Notes what the first process of a new cluster does: nobody of an earlier version is to read what it writes.
    pub async fn make_anew(&self) {
        let txn = coord::put_format(Txn::new(), newest_format());
        self.metas.commit(txn.expect("a format")).await.expect("the metadata answers");
    }

    /// The machine whose coordinator leads, as the metadata has it.
    pub async fn leader(&self) -> Option<Arc<Site>> {
        let address = coord::find_leader(self.metas.as_ref()).await.ok().flatten()?;
        self.site_at(&address)
    }
}

/// A segment among `segments` that reads by these routes ask of a node.
fn asked_of(routes: &Routes, node: NodeId, segments: &BTreeSet<SegmentId>) -> Option<SegmentId> {
    let shares = routes.replicas.iter().flat_map(|replica| &replica.nodes);
    let of_node = shares.filter(|share| share.place.node == node);
    let mut asked = of_node.flat_map(|share| &share.share.channels).flat_map(|channel| &channel.segments);
    asked.find(|segment| segments.contains(segment)).copied()
}

/// Finds the leader by the record that it keeps in the metadata, as in production.
struct Records {
    metas: Arc<dyn Metas>,
}

#[async_trait]
impl FindLeader for Records {
    async fn leader(&self, _not: Option<&str>) -> Option<String> {
        coord::find_leader(self.metas.as_ref()).await.ok().flatten()
    }
}

/// Small segments, often sealed and soon compacted, so that five minutes see much of a segment's life.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.index_coord.segment.min_segment_num_rows_to_enable_index = 8;
    settings.redkite.build_threads = 1;
    settings.redkite.memory.limit_mb = 1_024;
    settings.data_coord.segment.max_idle_time = 20;
    settings
}
