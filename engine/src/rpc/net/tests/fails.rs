//! What breaks on the way, who leads, and who is let in.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;

use super::*;
use crate::base::Kinded as _;
use crate::rpc::net::{CoordClient, FindLeader};
use crate::secure::fixture::Authority;
use crate::secure::{Acceptor, AcceptorSettings, Connector, ConnectorSettings, Tokens};

fn quick() -> NetSettings {
    NetSettings {
        brief: Duration::from_millis(200),
        patience: Duration::from_millis(600),
        backoff: Duration::from_millis(1),
        backoff_most: Duration::from_millis(5),
        ..NetSettings::default()
    }
}

fn quick_dial() -> Arc<NetDial> {
    NetDial::new(Security::Trusted, quick(), RealClock::new())
}

/// A builder whose calls never end; tells when one began and when one was dropped.
#[derive(Default)]
struct Endless {
    begun: Notify,
    dropped: Arc<Notify>,
}

struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Builder for Endless {
    async fn build_index(&self, _: IndexJob) -> Result<crate::model::IndexRef, Error> {
        let _told = Told(Arc::clone(&self.dropped));
        self.begun.notify_one();
        std::future::pending().await
    }

    async fn import(&self, _: crate::rpc::ImportJob) -> Result<crate::rpc::ImportDone, Error> {
        std::future::pending().await
    }

    async fn compact(&self, _: crate::rpc::CompactJob) -> Result<Vec<crate::model::SegmentManifest>, Error> {
        std::future::pending().await
    }

    async fn list_objects(&self, _: &str) -> Result<Vec<crate::rpc::StoredObject>, Error> {
        std::future::pending().await
    }

    async fn remove_objects(&self, _: Vec<String>) -> Result<(), Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_stale_because_nothing_was_done() {
    let node = Node::start(Served::default(), Security::Trusted).await;
    let address = node.address.clone();
    node.stop().await;
    let writer = quick_dial().writer(&address);

    let first = writer.flush(&ChannelName::sample()).await;
    let at_once = writer.flush(&ChannelName::sample()).await;

    assert!(first.as_ref().is_err_and(Error::is_stale), "{first:?}");
    assert!(at_once.as_ref().is_err_and(Error::is_stale), "{at_once:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_leaves_its_outcome_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tasks = TaskSet::new();
    tasks.start("hang up", |_| async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            // The call is on its way once more than the preface has come.
            let mut some = [0; 200];
            stream.read_exact(&mut some).await?;
        }
    });

    let outcome = quick_dial().writer(&address).flush(&ChannelName::sample()).await;

    let Err(error) = outcome else { panic!("nobody answered") };
    assert!(!error.is_stale() && error.kind() == Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn the_first_call_after_a_restart_of_the_peer_gets_through() {
    let (_, there, node, _) = pair().await;
    let dial = quick_dial();
    let address = node.address.clone();
    dial.writer(&address).flush(&ChannelName::sample()).await.unwrap();

    node.stop().await;
    let node = Node::on(&address, there.served(), Security::Trusted).await;
    let outcome = dial.writer(&address).flush(&ChannelName::sample()).await;

    assert_eq!(outcome, Ok(()));
    node.stop().await;
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline() {
    let endless = Arc::new(Endless::default());
    let node = Node::start(Served { builder: Some(endless), ..Served::default() }, Security::Trusted).await;
    let settings = NetSettings { remove: Duration::from_millis(30), ..quick() };
    let dial = NetDial::new(Security::Trusted, settings, RealClock::new());

    let outcome = dial.builder(&node.address).remove_objects(Vec::new()).await;

    assert_eq!(outcome.map_err(|error| (error.kind(), error.is_stale())), Err((Kind::Unavailable, false)));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_dropped_by_the_peer_too() {
    let endless = Arc::new(Endless::default());
    let served = Served { builder: Some(Arc::clone(&endless) as _), ..Served::default() };
    let node = Node::start(served, Security::Trusted).await;
    let builder = quick_dial().builder(&node.address);

    tokio::select! {
        _ = builder.build_index(IndexJob::sample()) => panic!("it never ends"),
        () = endless.begun.notified() => {}
    }

    endless.dropped.notified().await;
}

#[tokio::test]
async fn a_walk_ends_when_its_node_stops() {
    struct Silent;
    #[async_trait]
    impl Writer for Silent {
        async fn write(&self, _: Write) -> Result<Written, Error> {
            std::future::pending().await
        }
        async fn flush(&self, _: &ChannelName) -> Result<(), Error> {
            std::future::pending().await
        }
        async fn mark(&self, _: &ChannelName) -> Result<Mark, Error> {
            std::future::pending().await
        }
        async fn tail(&self, _: &ChannelName, _: Position) -> Result<Tail, Error> {
            Ok(Box::pin(futures::stream::pending()))
        }
        async fn forget(&self, _: &[ChannelName]) -> Result<(), Error> {
            std::future::pending().await
        }
    }
    let served = Served { writer: Some(Arc::new(Silent)), ..Served::default() };
    let node = Node::start(served, Security::Trusted).await;
    let mut walk =
        quick_dial().writer(&node.address).tail(&ChannelName::sample(), Position(0)).await.unwrap();

    let (item, ()) = tokio::join!(walk.next(), node.stop());

    assert_eq!(item.map(|item| item.map_err(|error| error.kind())), Some(Err(Kind::Unavailable)));
    assert!(walk.next().await.is_none());
}

/// Names the addresses in turn, the last one for ever.
struct InTurn {
    addresses: Vec<String>,
    asked: AtomicU32,
}

#[async_trait]
impl FindLeader for InTurn {
    async fn leader(&self, _: Option<&str>) -> Option<String> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst) as usize;
        self.addresses.get(turn).or(self.addresses.last()).cloned()
    }
}

fn client(addresses: &[&str]) -> CoordClient {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    CoordClient::new(Arc::new(InTurn { addresses, asked: AtomicU32::new(0) }), quick_dial())
}

#[tokio::test]
async fn every_call_goes_to_the_leader_wherever_it_is_now() {
    let (old, new) = (Arc::new(Double::default()), Arc::new(Double::default()));
    let here = Double::default();
    old.fail(Error::Stale { what: "the lead".to_owned() });
    let first = Node::start(old.served(), Security::Trusted).await;
    let second = Node::start(new.served(), Security::Trusted).await;
    let client = client(&["127.0.0.1:1", &first.address, &second.address]);

    compare_coords(&here, &client).await;

    assert_eq!(new.take(), here.take());
    assert_eq!(old.take().len(), 1, "the leader is remembered");
}

#[tokio::test]
async fn a_leader_in_doubt_is_kept_until_another_one_is_known() {
    let (old, new) = (Arc::new(Double::default()), Arc::new(Double::default()));
    let first = Node::start(old.served(), Security::Trusted).await;
    let second = Node::start(new.served(), Security::Trusted).await;
    let client = client(&[&first.address, &first.address, &second.address]);

    for _ in 0..3 {
        client.drop_group("g").await.unwrap();
        client.doubt();
    }
    client.drop_group("g").await.unwrap();

    assert_eq!((old.take().len(), new.take().len()), (2, 2));
}

/// Knows who leads at first, and is away from then on.
struct Once {
    address: String,
    asked: AtomicU32,
}

#[async_trait]
impl FindLeader for Once {
    async fn leader(&self, _: Option<&str>) -> Option<String> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return Some(self.address.clone());
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_leader_in_doubt_is_asked_on_while_nobody_can_say_who_leads() {
    let leader = Arc::new(Double::default());
    let node = Node::start(leader.served(), Security::Trusted).await;
    let find = Arc::new(Once { address: node.address.clone(), asked: AtomicU32::new(0) });
    let client = CoordClient::new(find, quick_dial());
    client.drop_group("g").await.unwrap();

    client.doubt();
    client.drop_group("g").await.unwrap();

    assert_eq!(leader.take().len(), 2);
}

#[tokio::test]
async fn a_call_of_unknown_outcome_is_repeated_only_if_that_does_no_harm() {
    let (old, new) = (Arc::new(Double::default()), Arc::new(Double::default()));
    let reason = "the store is away".to_owned();
    old.fail(Error::Failed { call: "any", kind: Kind::Unavailable, reason });
    let first = Node::start(old.served(), Security::Trusted).await;
    let second = Node::start(new.served(), Security::Trusted).await;

    let unsafe_one = client(&[&first.address, &second.address]).drop_database("d").await;
    let safe_one = client(&[&first.address, &second.address]).drop_group("g").await;

    assert_eq!(unsafe_one.map_err(|error| error.kind()), Err(Kind::Unavailable));
    assert_eq!(safe_one, Ok(()));
    assert_eq!(old.take(), ["drop_database (\"d\",)", "drop_group (\"g\",)"]);
    assert_eq!(new.take(), ["drop_group (\"g\",)"]);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let leader = Arc::new(Double::default());
    leader.fail(Refusal::DropDefaultDatabase.into());
    let node = Node::start(leader.served(), Security::Trusted).await;

    let outcome = client(&[&node.address]).drop_database("default").await;

    assert_eq!(outcome, Err(Refusal::DropDefaultDatabase.into()));
    assert_eq!(leader.take().len(), 1);
}

#[tokio::test]
async fn without_a_leader_calls_fail_when_patience_ends() {
    let nobody = client(&[]).databases().await;
    let nobody_there = client(&["127.0.0.1:1"]).databases().await;

    assert_eq!(nobody.map_err(|error| error.kind()), Err(Kind::Unavailable));
    assert!(nobody_there.is_err_and(|error| error.is_stale()));
}

#[tokio::test]
async fn only_who_knows_the_token_is_let_in() {
    let folder = TempDir::new().unwrap();
    let tokens = async |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Arc::new(Tokens::open(folder.path().join(name), Duration::ZERO, RealClock::new()).await.unwrap())
    };
    let there = Arc::new(Double::default());
    let node = Node::start(there.served(), Security::Token(tokens("right", "secret").await)).await;
    let mut outcomes = Vec::new();

    let knows = Security::Token(tokens("same", "secret").await);
    let guesses = Security::Token(tokens("wrong", "guess").await);
    for security in [knows, guesses, Security::Trusted] {
        let dial = NetDial::new(security, quick(), RealClock::new());
        let outcome = dial.writer(&node.address).flush(&ChannelName::sample()).await;
        outcomes.push(outcome.map_err(|error| error.kind()));
    }

    assert_eq!(outcomes, [Ok(()), Err(Kind::Denied), Err(Kind::Denied)]);
    assert_eq!(there.take().len(), 1);
}

#[tokio::test]
async fn only_nodes_of_the_same_authority_talk_over_mutual_tls() {
    let folder = TempDir::new().unwrap();
    let (ours, theirs) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let security = async |authority: &Authority, trusted: &str, name: &str| {
        let (certificate, key) = authority.certify(name);
        let trusted = folder.path().join(trusted);
        let acceptor = AcceptorSettings::new(certificate.clone(), key.clone(), Some(trusted.clone()));
        let connector = ConnectorSettings::new(trusted, Some((certificate, key)));
        Security::MutualTls {
            acceptor: Arc::new(Acceptor::open(acceptor, RealClock::new()).await.unwrap()),
            connector: Arc::new(Connector::open(connector, RealClock::new()).await.unwrap()),
        }
    };
    let there = Arc::new(Double::default());
    let node = Node::start(there.served(), security(&ours, "ours.pem", "node").await).await;
    let mut outcomes = Vec::new();

    let friend = security(&ours, "ours.pem", "friend").await;
    let stranger = security(&theirs, "ours.pem", "stranger").await;
    let other = security(&theirs, "theirs.pem", "other").await;
    for security in [friend, stranger, other, Security::Trusted] {
        let dial = NetDial::new(security, quick(), RealClock::new());
        let outcome = dial.writer(&node.address).flush(&ChannelName::sample()).await;
        outcomes.push(outcome.map_err(|error| error.kind()));
    }

    let refused = Err(Kind::Unavailable);
    assert_eq!(outcomes, [Ok(()), refused, refused, refused]);
    assert_eq!(there.take().len(), 1);
}
