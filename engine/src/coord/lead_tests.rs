//! Two candidates, of which one is not heard by the metadata any more, and a node that beats.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpListener;

use super::{Candidacy, CandidacyParts, CompactionLimits, LeadSettings, Limits, find_leader};
use crate::agent::{Agent, AgentParts};
use crate::base::{Clock, Kind, NodeTime, RealClock, TaskSet};
use crate::blob::MemoryBlobs;
use crate::meta::{self, Doing, MemoryMetas, Metas, Txn, Versioned};
use crate::rpc::net::{CoordClient, FindLeader, NetDial, NetSettings, Security, ServeParts, serve};
use crate::rpc::{Coord as _, Duties, NodeInfo, NodeState, Report, Served};

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

/// A candidate that serves; so long a silence of nodes that no test waits for it.
async fn candidate(metas: Arc<dyn Metas>, tasks: &TaskSet) -> Arc<Candidacy> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ttl, address) = (Duration::from_millis(600), listener.local_addr().unwrap().to_string());
    let candidacy = Candidacy::new(CandidacyParts {
        metas,
        blobs: MemoryBlobs::new(),
        clock: RealClock::new(),
        dial: dial(),
        limits: Limits {
            databases: 9,
            collections: 9,
            partitions: 9,
            min_rows_to_index: 1_000,
            groups: 9,
            compaction: CompactionLimits::default(),
        },
        lost_after: Duration::from_secs(600),
        lead: LeadSettings { ttl, every: ttl / 6, alone: false, address },
        flaw: None,
    });
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
