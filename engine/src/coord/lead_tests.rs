//! Two candidates, of which one is not heard by the metadata any more, and a node that beats.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::{Candidacy, CandidacyParts, CompactionLimits, LeadSettings, Limits, find_leader, lead, record};
use crate::agent::{Agent, AgentParts};
use crate::base::{Clock, Kind, NodeId, NodeTime, RealClock, TaskSet, TestClock, Timestamp, sooner};
use crate::blob::{Blobs, MemoryBlobs};
use crate::meta::{self, Doing, MemoryMetas, Metas, Txn, Versioned, Write};
use crate::model::DataType;
use crate::rpc::net::{
    CoordClient, FindLeader, NetDial, NetSettings, Security, ServeParts, WholeCalls, serve,
};
use crate::rpc::{
    AliasChange, CollectionRef, Coord as _, Dial, Duties, LocalNodes, NewCollection, NodeInfo, NodeState,
    OpenChannel, OrderNumber, OwnOrder, Report, Served,
};
use crate::segment::fixture::schema;

/// Metadata that one process may be cut off from.
struct Cut {
    metas: Arc<MemoryMetas>,
    is_cut: AtomicBool,
}

impl Cut {
    fn check(&self) -> Result<(), meta::Error> {
        if !self.is_cut.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (place, kind) = ("behind the cut".to_owned(), Kind::Unavailable);
        Err(meta::Error::Store { doing: Doing::Read, place, kind, source: "cut".into() })
    }
}

#[async_trait]
impl Metas for Cut {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.check()?;
        self.metas.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.check()?;
        self.metas.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        self.check()?;
        self.metas.commit(txn).await
    }
}

struct Records(Arc<MemoryMetas>);

#[async_trait]
impl FindLeader for Records {
    async fn leader(&self, _: Option<&str>) -> Option<String> {
        find_leader(self.0.as_ref()).await.unwrap()
    }
}

fn dial() -> Arc<NetDial> {
    NetDial::new(Security::Trusted, NetSettings::default(), RealClock::new())
}

/// What a candidate needs; so long a silence of nodes that no test waits for it.
fn parts(
    metas: Arc<dyn Metas>,
    clock: Arc<dyn Clock>,
    dial: Arc<dyn Dial>,
    lead: LeadSettings,
) -> CandidacyParts {
    CandidacyParts {
        metas,
        blobs: MemoryBlobs::new(),
        clock,
        dial,
        limits: Limits {
            databases: 9,
            collections: 9,
            partitions: 9,
            min_rows_to_index: 1_000,
            groups: 9,
            compaction: CompactionLimits::default(),
        },
        lost_after: Duration::from_secs(600),
        lead,
        flaw: None,
    }
}

/// A candidate that serves.
async fn candidate(metas: Arc<dyn Metas>, tasks: &TaskSet) -> Arc<Candidacy> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ttl, address) = (Duration::from_millis(600), listener.local_addr().unwrap().to_string());
    let lead = LeadSettings { ttl, every: ttl / 6, alone: false, address };
    let candidacy = Candidacy::new(parts(metas, RealClock::new(), dial(), lead));
    let served = Served { coord: Some(Arc::clone(&candidacy) as _), ..Served::default() };
    let (clock, grace) = (RealClock::new(), Duration::from_millis(50));
    let parts = ServeParts { served, security: Security::Trusted, clock, grace };
    tasks.start("serve", |stop| async move { Ok(serve(listener, parts, stop).await?) });
    let standing = Arc::clone(&candidacy);
    tasks.start("lead", |stop| standing.run(stop));
    candidacy
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "{what}");
}

/// A node that beats to whoever leads.
async fn node(metas: &Arc<MemoryMetas>, tasks: &TaskSet) -> NodeInfo {
    let coord = Arc::new(CoordClient::new(Arc::new(Records(Arc::clone(metas))), dial()));
    let duties = Duties { queries: true, ..Duties::default() };
    let id = coord.allocate_node().await.unwrap();
    let info = NodeInfo { id, address: "nowhere".to_owned(), duties, ..NodeInfo::default() };
    let clock: Arc<dyn Clock> = RealClock::new();
    let time = NodeTime::new(Arc::clone(&clock));
    let parts = AgentParts { coord, clock, time, node: info.clone(), followers: Vec::new() };
    let agent = Agent::new(parts);
    tasks.start("beat", |stop| agent.run(stop));
    info
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_to_the_new_leader_once_its_lease_is_not_renewed() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let cut = Arc::new(Cut { metas: Arc::clone(&metas), is_cut: AtomicBool::new(false) });
    let first = candidate(Arc::clone(&cut) as _, &tasks).await;
    until("the first leads", async || first.leads()).await;
    let second = candidate(Arc::clone(&metas) as _, &tasks).await;
    let info = node(&metas, &tasks).await;
    let knows = async |leader: &Candidacy| leader.nodes().await.is_ok_and(|nodes| nodes.len() == 1);
    until("the node has joined", async || knows(&first).await).await;

    cut.is_cut.store(true, Ordering::Relaxed);
    until("the node is with the second", async || knows(&second).await).await;

    // The first does not know, and says by its own clock what it cannot be sure of.
    let beat = first.beat(Report { node: info, ..Report::default() }).await.unwrap();
    assert_eq!((first.leads(), beat.lease), (true, Duration::ZERO));
    let change = first.create_database("d", Vec::new()).await;
    assert!(
        change.is_err_and(|error| error.is_stale()),
        "nothing is begun that the second would not know of"
    );
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_to_be_emptied_is_so_under_the_next_leader_too() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let first = candidate(Arc::clone(&metas) as _, &tasks).await;
    until("the first leads", async || first.leads()).await;
    let second = candidate(Arc::clone(&metas) as _, &tasks).await;
    let info = node(&metas, &tasks).await;
    let states = async |leader: &Candidacy| {
        let nodes = leader.nodes().await.unwrap_or_default();
        nodes.iter().map(|node| node.state).collect::<Vec<_>>()
    };
    until("the node has joined", async || states(&first).await == [NodeState::Serving]).await;

    first.drain(info.id, true).await.unwrap();
    first.resign().await.unwrap();

    until("the node is with the second", async || states(&second).await.len() == 1).await;
    assert_eq!(states(&second).await, [NodeState::Draining]);
    second.drain(info.id, false).await.unwrap();
    assert_eq!(states(&second).await, [NodeState::Serving]);
    tasks.stop();
    tasks.join().await.unwrap();
}

/// Metadata that is some way off, so that much is under way when a leader is told to stop.
struct Far(Arc<MemoryMetas>);

/// How long a call is on its way there, and its answer on the way back.
const WAY: Duration = Duration::from_millis(2);

#[async_trait]
impl Metas for Far {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.0.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        tokio::time::sleep(WAY).await;
        let committed = self.0.commit(txn).await;
        tokio::time::sleep(WAY).await;
        committed
    }
}

/// A candidate with a process of its own, whose tasks are all there is of it: its calls are done to their end, as long as somebody
/// waits for them.
async fn process(metas: &Arc<MemoryMetas>, blobs: &Arc<dyn Blobs>) -> (Arc<Candidacy>, TaskSet) {
    let tasks = TaskSet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ttl, address) = (Duration::from_millis(600), listener.local_addr().unwrap().to_string());
    let lead = LeadSettings { ttl, every: ttl / 6, alone: false, address };
    let far = Arc::new(Far(Arc::clone(metas)));
    let parts = CandidacyParts { blobs: Arc::clone(blobs), ..parts(far, RealClock::new(), dial(), lead) };
    let candidacy = Candidacy::new(parts);
    let calls = WholeCalls::new(Arc::clone(&candidacy) as _, tasks.clone());
    let served = Served { coord: Some(calls as _), ..Served::default() };
    let (clock, grace) = (RealClock::new(), Duration::from_secs(10));
    let parts = ServeParts { served, security: Security::Trusted, clock, grace };
    tasks.start("serve", |stop| async move { Ok(serve(listener, parts, stop).await?) });
    let standing = Arc::clone(&candidacy);
    tasks.start("lead", |stop| standing.run(stop));
    (candidacy, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_fails_or_is_done_twice_while_one_leader_after_another_is_told_to_stop() {
    let (metas, blobs) = (MemoryMetas::new(), MemoryBlobs::new() as Arc<dyn Blobs>);
    let first = process(&metas, &blobs).await;
    until("the first leads", async || first.0.leads()).await;
    let coord = CoordClient::new(Arc::new(Records(Arc::clone(&metas))), dial());
    let (made, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // Each is refused the second time, so that none may be done twice.
    let change = async |name: &str| {
        let mut failed = Vec::new();
        while !over.load(Ordering::Relaxed) {
            failed.extend(coord.create_database(name, Vec::new()).await.err());
            failed.extend(coord.drop_database(name).await.err());
            made.fetch_add(1, Ordering::Relaxed);
        }
        failed
    };
    let replace = async {
        let (_, mut leading) = first;
        for _ in 0..3 {
            let (next, tasks) = process(&metas, &blobs).await;
            let before = made.load(Ordering::Relaxed);
            until("changes are made", async || made.load(Ordering::Relaxed) > before + 5).await;
            // As SIGTERM does.
            leading.stop();
            leading.join().await.unwrap();
            until("the next one leads", async || next.leads()).await;
            leading = tasks;
        }
        let before = made.load(Ordering::Relaxed);
        until("changes go on", async || made.load(Ordering::Relaxed) > before + 5).await;
        over.store(true, Ordering::Relaxed);
        leading
    };

    let (one, other, last) = tokio::join!(change("one"), change("other"), replace);

    assert_eq!((one, other), (Vec::new(), Vec::new()));
    let left: Vec<_> = coord.databases().await.unwrap().into_iter().map(|database| database.name).collect();
    assert_eq!(left, ["default"]);
    last.stop();
    last.join().await.unwrap();
}

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const TTL: Duration = Duration::from_secs(6);
/// For how long a leader listens before it gives orders: as long as it takes until a node is lost.
const LISTENS: Duration = Duration::from_secs(600);

/// A candidate on simulated time, whose clock shows `wall_ms` now.
fn stand(metas: Arc<dyn Metas>, wall_ms: u64, alone: bool, tasks: &TaskSet) -> Arc<Candidacy> {
    let lead = LeadSettings { ttl: TTL, every: TTL / 6, alone, address: "nowhere".to_owned() };
    let candidacy = Candidacy::new(parts(metas, TestClock::starting_at(wall_ms), LocalNodes::new(), lead));
    let standing = Arc::clone(&candidacy);
    tasks.start("lead", |stop| standing.run(stop));
    candidacy
}

/// The time that a leader tells a node, and for how long that may be sure of what it owns.
async fn told(leader: &Candidacy, id: NodeId) -> (Timestamp, Duration) {
    let node = NodeInfo { id, address: "n".to_owned(), ..NodeInfo::default() };
    let orders = leader.beat(Report { node, ..Report::default() }).await.unwrap();
    (orders.now, orders.lease)
}

#[tokio::test(start_paused = true)]
async fn owners_begin_after_all_that_a_leader_said_although_its_clock_was_wrong() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let cut = Arc::new(Cut { metas: Arc::clone(&metas), is_cut: AtomicBool::new(false) });
    let first = stand(Arc::clone(&cut) as _, START_MS + HOUR_MS, false, &tasks);
    until("the first leads", async || first.leads()).await;
    let node = first.allocate_node().await.unwrap();
    let second = stand(Arc::clone(&metas) as _, START_MS, false, &tasks);
    // Nothing was given since the node was numbered that would have made a bound durable.
    tokio::time::sleep(LISTENS).await;
    let (now, lease) = told(&first, node).await;
    assert!(
        now > Timestamp::from_unix_ms(START_MS + HOUR_MS + 600_000) && lease > TTL / 2,
        "{now}, {lease:?}"
    );
    // The latest that the node shows while it may be sure that nobody else owns what it does.
    let shown = now.plus_ms(lease.as_millis() as u64);

    cut.is_cut.store(true, Ordering::Relaxed);
    until("the second leads", async || second.leads()).await;

    let begun = second.allocate_timestamps(1).await.unwrap();
    assert!(begun >= shown, "{begun} is before {shown}");
    // What the first goes on to say is bounded, and whoever hears it may be sure of nothing.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (now, lease) = told(&first, node).await;
    assert!(now <= begun && lease.is_zero(), "{now}, {lease:?}");
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_time_goes_on_under_the_next_leader_whether_its_wall_clock_is_an_hour_ahead_or_behind() {
    for wall_ms in [START_MS + HOUR_MS, START_MS - HOUR_MS] {
        let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
        let cut = Arc::new(Cut { metas: Arc::clone(&metas), is_cut: AtomicBool::new(false) });
        let began = tokio::time::Instant::now();
        let first = stand(Arc::clone(&cut) as _, START_MS, false, &tasks);
        until("the first leads", async || first.leads()).await;
        let second = stand(Arc::clone(&metas) as _, wall_ms, false, &tasks);
        // Long enough for the second to see the lead renewed.
        tokio::time::sleep(2 * TTL).await;

        cut.is_cut.store(true, Ordering::Relaxed);
        until("the second leads", async || second.leads()).await;

        let now = second.allocate_timestamps(1).await.unwrap().unix_ms();
        let right = START_MS + began.elapsed().as_millis() as u64;
        assert!(now.abs_diff(right) < 1_000, "{now} instead of {right}");
        tasks.stop();
        tasks.join().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn no_time_is_lost_to_a_leader_that_is_gone_before_its_first_renewal() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let bound = |now_ms: u64| Some(Timestamp::from_unix_ms(now_ms).plus_ms(sooner(TTL).as_millis() as u64));
    let first = lead::take_over(metas.as_ref(), None, "a", bound(START_MS)).await.unwrap();
    let next = stand(Arc::clone(&metas) as _, START_MS - HOUR_MS, false, &tasks);
    tokio::time::sleep(TTL / 2).await;

    lead::take_over(metas.as_ref(), Some(first), "b", bound(START_MS + 20_000)).await.unwrap();
    let began = tokio::time::Instant::now();
    until("the next leads", async || next.leads()).await;

    let now = next.allocate_timestamps(1).await.unwrap().unix_ms();
    let right = START_MS + 20_000 + began.elapsed().as_millis() as u64;
    assert!(now.abs_diff(right) < 1_000, "{now} instead of {right}");
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_listens_gives_no_lease_to_who_goes_by_the_orders_of_another() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let first = stand(Arc::clone(&metas) as _, START_MS, false, &tasks);
    until("the first leads", async || first.leads()).await;
    let duties = Duties { writes: true, ..Duties::default() };
    let id = first.allocate_node().await.unwrap();
    let node = NodeInfo { id, address: "n".to_owned(), duties, ..NodeInfo::default() };
    let beat = async |leader: &Candidacy, seen| {
        let orders = leader.beat(Report { node: node.clone(), seen, ..Report::default() }).await.unwrap();
        (orders.number, !orders.lease.is_zero())
    };
    tokio::time::sleep(LISTENS).await;
    let (seen, is_sure) = beat(&first, OrderNumber::default()).await;
    assert_eq!((is_sure, beat(&first, seen).await), (true, (seen, true)));
    let second = stand(Arc::clone(&metas) as _, START_MS, false, &tasks);

    first.resign().await.unwrap();
    until("the second leads", async || second.leads()).await;

    // It may be opening a channel that the second will believe to be nobody's.
    assert_eq!(beat(&second, seen).await, (seen, false));
    tokio::time::sleep(LISTENS).await;
    let (later, is_sure) = beat(&second, seen).await;
    assert!(is_sure && later.epoch > seen.epoch, "{later:?} after {seen:?}");
    assert_eq!(beat(&second, later).await, (later, true));
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_nodes_at_a_leader_that_goes_is_sent_to_the_next_one_at_once() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let first = stand(Arc::clone(&metas) as _, START_MS, false, &tasks);
    until("the first leads", async || first.leads()).await;
    make_aliased(&first).await;
    let begun = tokio::time::Instant::now();

    // It listens for ten minutes before it counts nodes, and nobody reports to it any more.
    let meant = CollectionRef::Name { database: String::new(), name: "a".to_owned() };
    let (loaded, resigned) = tokio::join!(first.load(meant, None, 1, Vec::new()), first.resign());

    resigned.unwrap();
    let error = loaded.unwrap_err();
    assert!(error.is_stale(), "{error}");
    assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_does_not_reach_the_metadata_says_so_until_it_does() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let cut = Arc::new(Cut { metas: Arc::clone(&metas), is_cut: AtomicBool::new(false) });
    let leader = stand(Arc::clone(&cut) as _, START_MS, false, &tasks);
    until("it leads", async || leader.leads()).await;
    let later = async |is_cut: bool| {
        cut.is_cut.store(is_cut, Ordering::Relaxed);
        tokio::time::sleep(2 * TTL).await;
        leader.lead().await.unwrap().unrenewed
    };

    let said = [later(false).await, later(true).await, later(false).await];

    assert_eq!(said, [false, true, false]);
    tasks.stop();
    tasks.join().await.unwrap();
}

/// A node that owns what it is told to, and opens it at once.
struct Owner {
    node: NodeInfo,
    seen: OrderNumber,
    owns: Vec<OwnOrder>,
}

impl Owner {
    async fn new(leader: &Candidacy) -> Self {
        let duties = Duties { writes: true, ..Duties::default() };
        let id = leader.allocate_node().await.unwrap();
        let node = NodeInfo { id, address: format!("n{id}"), duties, ..NodeInfo::default() };
        Self { node, seen: OrderNumber::default(), owns: Vec::new() }
    }

    async fn beat(&mut self, leader: &Candidacy) {
        let open = |order: &OwnOrder| OpenChannel {
            channel: order.channel.clone(),
            term: order.term,
            opened: 0,
            unsealed_bytes: 0,
        };
        let channels = self.owns.iter().map(open).collect();
        let report = Report { node: self.node.clone(), seen: self.seen, channels, ..Report::default() };
        let orders = leader.beat(report).await.unwrap();
        self.seen = orders.number;
        self.owns = orders.own.unwrap_or_else(|| std::mem::take(&mut self.owns));
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_on_its_way_when_the_metadata_goes_away_arrives_by_a_term_that_is_given_once() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let cut = Arc::new(Cut { metas: Arc::clone(&metas), is_cut: AtomicBool::new(false) });
    let leader = stand(Arc::clone(&cut) as _, START_MS, false, &tasks);
    until("it leads", async || leader.leads()).await;
    let mut one = Owner::new(&leader).await;
    one.beat(&leader).await;
    tokio::time::sleep(LISTENS).await;
    let wanted = NewCollection {
        database: String::new(),
        name: "c".to_owned(),
        schema: schema(DataType::Int64),
        shards: 2,
        properties: Vec::new(),
        consistency: 0,
        partitions_by_key: 0,
    };
    leader.create_collection(wanted).await.unwrap();
    until("one has all", async || {
        one.beat(&leader).await;
        one.owns.len() == 2
    })
    .await;
    let mut terms = BTreeSet::new();
    for order in &one.owns {
        terms.insert(leader.channel_term(&order.channel, one.node.id).await.unwrap());
    }
    let mut other = Owner::new(&leader).await;
    other.beat(&leader).await;
    until("a channel goes", async || {
        one.beat(&leader).await;
        one.owns.len() == 1
    })
    .await;

    cut.is_cut.store(true, Ordering::Relaxed);
    tokio::time::sleep(10 * TTL).await;
    until("it arrives", async || {
        one.beat(&leader).await;
        other.beat(&leader).await;
        other.owns.len() == 1
    })
    .await;

    let channel = &other.owns[0].channel;
    let newest = terms.last().copied();
    let term = leader.channel_term(channel, other.node.id).await.unwrap();
    assert!(Some(term) > newest, "{term} after {terms:?}");
    let again = leader.channel_term(channel, other.node.id).await.unwrap_err();
    assert!(again.is_stale(), "{again}");
    let former = leader.channel_term(channel, one.node.id).await.unwrap_err();
    assert!(former.is_stale(), "{former}");
    tasks.stop();
    tasks.join().await.unwrap();
}

/// What becomes of a commit, which happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It comes.
    Comes,
    /// It says that nobody knows.
    Unknown,
    /// It comes after a second.
    Late,
    /// It never comes.
    Never,
}

/// Metadata, and how the next commit is answered that puts something under a key that begins so.
struct Doubtful {
    metas: Arc<MemoryMetas>,
    next: Mutex<(&'static str, Answer)>,
}

impl Doubtful {
    fn new(metas: &Arc<MemoryMetas>) -> Arc<Self> {
        Arc::new(Self { metas: Arc::clone(metas), next: Mutex::new(("", Answer::Comes)) })
    }

    fn answer_next(&self, prefix: &'static str, answer: Answer) {
        *self.next.lock() = (prefix, answer);
    }
}

#[async_trait]
impl Metas for Doubtful {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.metas.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.metas.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        let answer = {
            let mut next = self.next.lock();
            let puts = |write: &Write| matches!(write, Write::Put { key, .. } if key.starts_with(next.0));
            if txn.writes.iter().any(puts) {
                std::mem::replace(&mut *next, ("", Answer::Comes)).1
            } else {
                Answer::Comes
            }
        };
        let version = self.metas.commit(txn).await?;
        match answer {
            Answer::Comes => {}
            Answer::Late => tokio::time::sleep(Duration::from_secs(1)).await,
            Answer::Never => std::future::pending().await,
            Answer::Unknown => {
                let (place, kind, source) = ("in doubt".to_owned(), Kind::Unavailable, "no answer".into());
                return Err(meta::Error::Store { doing: Doing::Commit, place, kind, source });
            }
        }
        Ok(version)
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_alone_and_doubts_a_commit_gives_ids_and_times_as_before() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    // As a leader with others beside it would leave it: of no meaning here.
    let far = Timestamp::from_unix_ms(START_MS + 24 * HOUR_MS);
    metas.commit(Txn::new().put(lead::SAID, record::encode(lead::SAID, &far).unwrap())).await.unwrap();
    let doubtful = Doubtful::new(&metas);
    let alone = stand(Arc::clone(&doubtful) as _, START_MS, true, &tasks);
    until("it leads", async || alone.leads()).await;
    let node = alone.allocate_node().await.unwrap();
    let before = alone.allocate_timestamps(1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(500)).await;
    let (now, lease) = told(&alone, node).await;
    assert!(now >= before.plus_ms(500_000), "{now}");
    assert_eq!(lease, Duration::from_secs(600), "only the silence after which a node is lost bounds it");

    doubtful.answer_next("coord/time", Answer::Unknown);
    alone.allocate_timestamps(1).await.unwrap_err();

    until("it leads again", async || alone.allocate_ids(1).await.is_ok()).await;
    let (time, id) = (alone.allocate_timestamps(1).await.unwrap(), alone.allocate_ids(1).await.unwrap());
    assert!(now < time && time.as_id() < id, "{now}, {time}, {id}");
    assert!(time < far, "{time}");
    let kept = lead::said(metas.as_ref()).await.unwrap();
    assert_eq!(kept, far, "it keeps no such record");
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_comes_late_does_not_take_back_how_far_a_leader_may_go() {
    let metas = MemoryMetas::new();
    let epoch = lead::take_over(metas.as_ref(), None, "a", None).await.unwrap();
    let leader = lead::Leader { address: "a".to_owned(), resigned: false };
    let renew = async |version, said| {
        lead::renew(metas.as_ref(), epoch, version, said, &leader, Some(Timestamp(said))).await
    };

    let later = renew(epoch, 9).await.unwrap();
    let late = renew(epoch, 7).await.map_err(|error| error.to_string());
    let said = lead::said(metas.as_ref()).await.unwrap();

    assert_eq!((late, said), (Err(super::Error::Deposed.to_string()), Timestamp(9)));
    // It finds that it leads all the same, and renews again.
    assert_eq!(lead::version(metas.as_ref(), epoch).await.unwrap(), later);
    renew(later, 11).await.unwrap();
    lead::take_over(metas.as_ref(), None, "b", None).await.unwrap_err();
}

/// Collections `a` and `b`, and an alias `x` of `a`.
async fn make_aliased(leader: &Candidacy) {
    for name in ["a", "b"] {
        let collection = NewCollection {
            database: String::new(),
            name: name.to_owned(),
            schema: schema(DataType::Int64),
            shards: 1,
            properties: Vec::new(),
            consistency: 0,
            partitions_by_key: 0,
        };
        leader.create_collection(collection).await.unwrap();
    }
    leader.alter_alias("", "x", AliasChange::Create { collection: "a".to_owned() }).await.unwrap();
}

/// Every collection with its aliases.
async fn aliases(leader: &Candidacy) -> Vec<(String, Vec<String>)> {
    let infos = leader.collections("").await.unwrap();
    infos.iter().map(|info| (info.name.clone(), info.aliases.clone())).collect()
}

fn alter(collection: &str) -> AliasChange {
    AliasChange::Alter { collection: collection.to_owned() }
}

/// What is left of an alias after a change of unknown outcome, right after which another one puts a record that both are about.
async fn alias_after(lost: Answer) -> Vec<(String, Vec<String>)> {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let doubtful = Doubtful::new(&metas);
    let leader = stand(Arc::clone(&doubtful) as _, START_MS, false, &tasks);
    until("it leads", async || leader.leads()).await;
    make_aliased(&leader).await;

    doubtful.answer_next("collections/", lost);
    let changed = leader.alter_alias("", "x", alter("b"));
    let changed = tokio::time::timeout(Duration::from_millis(50), changed).await;
    assert!(changed.is_err() || changed.is_ok_and(|changed| changed.is_err_and(|error| !error.is_stale())));
    let next = leader.alter_alias("", "y", AliasChange::Create { collection: "b".to_owned() }).await;
    assert!(next.is_err_and(|error| error.is_stale()), "it was decided on what may be old");

    until("it leads again", async || leader.create_database("d", Vec::new()).await.is_ok()).await;
    leader.alter_alias("", "y", AliasChange::Create { collection: "b".to_owned() }).await.unwrap();
    let left = aliases(&leader).await;
    leader.alter_alias("", "x", alter("a")).await.unwrap();
    tasks.stop();
    tasks.join().await.unwrap();
    left
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_on_what_may_be_old_after_a_commit_of_unknown_outcome() {
    let left = alias_after(Answer::Unknown).await;

    let all = [("a", vec![]), ("b", vec!["x".to_owned(), "y".to_owned()])];
    assert_eq!(left, all.map(|(name, aliases)| (name.to_owned(), aliases)));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_broken_off_amid_its_commit_is_not_forgotten() {
    let left = alias_after(Answer::Never).await;

    let all = [("a", vec![]), ("b", vec!["x".to_owned(), "y".to_owned()])];
    assert_eq!(left, all.map(|(name, aliases)| (name.to_owned(), aliases)));
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_caller_gives_up_is_done_to_its_end_and_the_lead_goes_on() {
    let (metas, tasks) = (MemoryMetas::new(), TaskSet::new());
    let doubtful = Doubtful::new(&metas);
    let leader = stand(Arc::clone(&doubtful) as _, START_MS, false, &tasks);
    until("it leads", async || leader.leads()).await;
    let calls = WholeCalls::new(Arc::clone(&leader) as _, tasks.clone());
    let epoch = leader.lead().await.unwrap().epoch;

    doubtful.answer_next("databases/", Answer::Late);
    let called =
        tokio::time::timeout(Duration::from_millis(50), calls.create_database("d", Vec::new())).await;
    assert!(called.is_err(), "nobody waited");
    tokio::time::sleep(Duration::from_secs(2)).await;

    let names: Vec<_> = calls.databases().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(
        (names, leader.lead().await.unwrap().epoch),
        (vec!["default".to_owned(), "d".to_owned()], epoch)
    );
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test]
async fn what_a_leader_sent_before_its_last_commit_does_nothing_when_it_comes_late() {
    let metas = MemoryMetas::new();
    let epoch = lead::take_over(metas.as_ref(), None, "a", None).await.unwrap();
    let of = |turn, number, value: &'static str| {
        let txn = Txn::new().expect_version(lead::EPOCH, epoch).expect_version(lead::TURN, turn);
        txn.mark(lead::TURN, lead::mark_of(epoch, number)).put("k", value)
    };
    let (late, next) = (of(epoch, 1, "old"), of(epoch, 2, "new"));
    metas.commit(next).await.unwrap();

    let ended = metas.commit(late).await;

    assert!(matches!(ended, Err(meta::Error::Conflict { key }) if key == lead::TURN));
    assert_eq!(metas.get("k").await.unwrap().unwrap().value, "new");
}
