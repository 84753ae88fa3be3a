//! The log against a real Kafka: `tests/kafka/run` starts one and sets `REDKITE_TEST_KAFKA`.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::base::{Kind as ErrorKind, Kinded as _, NodeId, RealClock, Secret};
use crate::log::conformance;
use crate::obs::Metrics;

use super::*;

/// Nodes of one test on the Kafka of the environment, each with its own clients.
struct World {
    brokers: String,
    prefix: String,
    clock: Arc<RealClock>,
    tasks: TaskSet,
}

impl World {
    /// `None` without a Kafka.
    fn new(test: &str) -> Option<Self> {
        let Ok(brokers) = std::env::var("REDKITE_TEST_KAFKA") else {
            println!("skipped: REDKITE_TEST_KAFKA names no Kafka");
            return None;
        };
        let clock = RealClock::new();
        // Runs share one Kafka, and so do the tests of a run.
        let prefix = format!("test-{test}-{}", clock.unix_ms());
        Some(Self { brokers, prefix, clock, tasks: TaskSet::new() })
    }

    async fn node(&self) -> Arc<KafkaLogs> {
        self.node_within(Duration::from_secs(30)).await
    }

    async fn node_within(&self, call_timeout: Duration) -> Arc<KafkaLogs> {
        let settings = KafkaSettings {
            broker_list: self.brokers.clone(),
            topic_prefix: self.prefix.clone(),
            read_timeout: call_timeout,
            call_timeout,
            ..KafkaSettings::default()
        };
        let metrics = Metrics::new(NodeId(1)).log.clone();
        KafkaLogs::connect(settings, self.tasks.clone(), self.clock.clone(), metrics).await.unwrap()
    }

    /// Appends in groups until the writer is told to stop or fails; what was acknowledged goes to `acknowledged`.
    fn load(
        &self,
        writer: Arc<dyn LogWriter>,
        term: u64,
        acknowledged: Arc<Mutex<BTreeMap<Position, Bytes>>>,
    ) {
        self.tasks.start("load", move |stop| async move {
            let mut number = 0;
            while !stop.is_cancelled() {
                let (mut group, mut ended) = (Vec::new(), None);
                for _ in 0..20 {
                    let payload = payload(term, number);
                    let Ok(appending) = writer.append(payload.clone()) else { return Ok(()) };
                    group.push((appending, payload));
                    number += 1;
                }
                for (appending, payload) in group {
                    match appending.durable().await {
                        Ok(position) => drop(acknowledged.lock().insert(position, payload)),
                        Err(error) => ended = Some(error),
                    }
                }
                if let Some(error) = ended {
                    println!("term {term} ends: {error:?}");
                }
            }
            Ok(())
        });
    }

    /// Waits until the number of acknowledged records has grown by `more`.
    async fn wait_for(&self, acknowledged: &Mutex<BTreeMap<Position, Bytes>>, more: usize) {
        let wanted = acknowledged.lock().len() + more;
        let wait = async {
            while acknowledged.lock().len() < wanted {
                self.clock.sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("appends go on");
    }
}

fn payload(term: u64, number: u64) -> Bytes {
    Bytes::from(format!("{term}/{number}"))
}

fn channel(name: &str) -> ChannelName {
    ChannelName(name.into())
}

async fn append(writer: &dyn LogWriter, payload: impl Into<Bytes>) -> Position {
    writer.append(payload.into()).unwrap().durable().await.unwrap()
}

async fn all(logs: &dyn Logs, name: &ChannelName, from: Position) -> Vec<(Position, Bytes)> {
    let mut reader = logs.read(name, from).await.unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.try_next().await.unwrap() {
        records.push(record);
    }
    records
}

/// Checks that a replay gives every acknowledged record at its position, without gaps, and of each term a beginning of
/// what it appended, in order.
fn check_replay(records: &[(Position, Bytes)], acknowledged: &BTreeMap<Position, Bytes>) {
    let mut numbers = BTreeMap::<u64, u64>::new();
    let mut last_term = 0;
    for (expected, (position, found)) in (0..).zip(records) {
        assert_eq!(*position, Position(expected));
        let text = std::str::from_utf8(found).unwrap();
        let (term, number) = text.split_once('/').unwrap();
        let (term, number) = (term.parse::<u64>().unwrap(), number.parse::<u64>().unwrap());
        assert!(term >= last_term, "a fenced writer's record came after {last_term}: {text}");
        last_term = term;
        let next = numbers.entry(term).or_default();
        assert_eq!(number, *next, "term {term} at {position}");
        *next += 1;
    }
    let replayed = records.iter().cloned().collect::<BTreeMap<_, _>>();
    for (position, payload) in acknowledged {
        assert_eq!(replayed.get(position), Some(payload), "acknowledged at {position}");
    }
    let extra = records.len() - acknowledged.len();
    println!("{} records replayed, {extra} of them not acknowledged", records.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_log_keeps_the_contract() {
    let Some(world) = World::new("contract") else { return };
    conformance::run(world.node().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_fence_each_other_under_load() {
    let Some(world) = World::new("contested") else { return };
    let (one, two) = (world.node().await, world.node().await);
    let name = channel("contested");
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));

    for term in 1..=10 {
        let node = if term % 2 == 0 { &two } else { &one };
        let writer = node.open(&name, term).await.unwrap();
        world.load(writer, term, acknowledged.clone());
        world.wait_for(&acknowledged, 100).await;
        assert_eq!(one.open(&name, term).await.err().unwrap().kind(), ErrorKind::Fenced);
        assert_eq!(two.open(&name, term).await.err().unwrap().kind(), ErrorKind::Fenced);
    }
    world.wait_for(&acknowledged, 100).await;
    world.tasks.stop();
    world.tasks.join().await.unwrap();

    let records = all(&*one, &name, Position::FIRST).await;
    assert_eq!(all(&*two, &name, Position::FIRST).await, records);
    check_replay(&records, &acknowledged.lock());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_openers_at_the_same_time_at_most_one_acknowledges() {
    let Some(world) = World::new("race") else { return };
    let (one, two) = (world.node().await, world.node().await);
    let name = channel("race");

    let opened = tokio::join!(one.open(&name, 1), two.open(&name, 2));

    let mut acknowledged = 0;
    for writer in [opened.0, opened.1].into_iter().flatten() {
        match writer.append(Bytes::from("x")).unwrap().durable().await {
            Ok(position) => {
                assert_eq!(position, Position(0));
                acknowledged += 1;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced),
        }
    }
    assert!(acknowledged <= 1);
    let writer = one.open(&name, 3).await.unwrap();
    assert_eq!(append(&*writer, "y").await, Position(acknowledged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_acknowledged() {
    let Some(world) = World::new("killed") else { return };
    let Ok(restart) = std::env::var("REDKITE_TEST_KAFKA_RESTART") else {
        println!("skipped: REDKITE_TEST_KAFKA_RESTART is no command that kills and restarts Kafka");
        return;
    };
    let logs = world.node_within(Duration::from_secs(60)).await;
    let name = channel("killed");
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let mut follower = logs.read(&name, Position::FIRST).await.unwrap();
    world.load(logs.open(&name, 1).await.unwrap(), 1, acknowledged.clone());
    world.wait_for(&acknowledged, 500).await;

    for term in 2..=3 {
        let status = tokio::process::Command::new("sh").args(["-c", &restart]).status().await.unwrap();
        assert!(status.success());
        println!("restarted with {} acknowledged", acknowledged.lock().len());
        world.load(logs.open(&name, term).await.unwrap(), term, acknowledged.clone());
        world.wait_for(&acknowledged, 500).await;
    }
    world.tasks.stop();
    world.tasks.join().await.unwrap();

    let records = all(&*logs, &name, Position::FIRST).await;
    check_replay(&records, &acknowledged.lock());
    for record in records {
        assert_eq!(follower.next().await.unwrap(), record);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_position_is_found_by_a_node_that_knows_nothing() {
    let Some(world) = World::new("far") else { return };
    let name = channel("far");
    let writer = world.node().await.open(&name, 1).await.unwrap();
    for group in 0..40 {
        let appending = (0..50).map(|number| writer.append(payload(1, group * 50 + number)).unwrap());
        for appending in appending.collect::<Vec<_>>() {
            appending.durable().await.unwrap();
        }
    }

    let other = world.node().await;

    for from in [0, 1, 49, 50, 999, 1000, 1777, 1999] {
        let mut reader = other.read(&name, Position(from)).await.unwrap();
        assert_eq!(reader.next().await.unwrap(), (Position(from), payload(1, from)));
    }
    other.truncate(&name, Position(1777)).await.unwrap();
    let third = world.node().await;
    let error = third.read(&name, Position(1776)).await.err().unwrap();
    assert!(matches!(error, Error::Truncated { first: Position(1777), .. }), "{error:?}");
    assert_eq!(all(&*third, &name, Position(1777)).await.len(), 223);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_go_on_when_everything_was_truncated() {
    let Some(world) = World::new("empty") else { return };
    let name = channel("empty");
    let writer = world.node().await.open(&name, 7).await.unwrap();
    for _ in 0..3 {
        append(&*writer, "x").await;
    }

    let other = world.node().await;
    other.truncate(&name, Position(u64::MAX)).await.unwrap();
    other.truncate(&name, Position(u64::MAX)).await.unwrap();

    assert!(all(&*world.node().await, &name, Position(3)).await.is_empty());
    let error = other.read(&name, Position(2)).await.err().unwrap();
    assert!(matches!(error, Error::Truncated { first: Position(3), .. }), "{error:?}");
    assert_eq!(world.node().await.open(&name, 7).await.err().unwrap().kind(), ErrorKind::Fenced);
    let writer = world.node().await.open(&name, 8).await.unwrap();
    assert_eq!(append(&*writer, "y").await, Position(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_larger_than_a_message_comes_back_whole() {
    let Some(world) = World::new("large") else { return };
    let logs = world.node().await;
    let name = channel("large");
    let writer = logs.open(&name, 1).await.unwrap();
    let large = (0..20_000_000u32).map(|number| (number % 251) as u8).collect::<Bytes>();
    append(&*writer, "before").await;
    append(&*writer, large.clone()).await;
    append(&*writer, "after").await;

    let records = all(&*world.node().await, &name, Position(1)).await;

    assert!(records[0].1 == large);
    assert_eq!(records[1], (Position(2), Bytes::from("after")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_another_node_removes_is_gone() {
    let Some(world) = World::new("removed") else { return };
    let (one, two) = (world.node_within(Duration::from_secs(5)).await, world.node().await);
    let name = channel("removed");
    let writer = one.open(&name, 5).await.unwrap();
    append(&*writer, "x").await;
    let mut reader = one.read(&name, Position(1)).await.unwrap();
    assert!(reader.try_next().await.unwrap().is_none());

    two.remove(&name).await.unwrap();

    let late = writer.append(Bytes::from("late")).unwrap().durable().await.unwrap_err();
    assert!(matches!(late, Error::Removed { .. }), "{late:?}");
    let told =
        tokio::time::timeout(Duration::from_secs(45), reader.next()).await.expect("the reader is told");
    assert!(matches!(told, Err(Error::Removed { .. })), "{told:?}");
    assert!(!one.channels().await.unwrap().contains(&name));
    let writer = two.open(&name, 1).await.unwrap();
    assert_eq!(append(&*writer, "y").await, Position(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_somebody_else_is_damage() {
    let Some(world) = World::new("damaged") else { return };
    let logs = world.node().await;
    let name = channel("damaged");
    let writer = logs.open(&name, 1).await.unwrap();
    append(&*writer, "x").await;
    let topic = names::topic_of(&world.prefix, &name).unwrap();
    let settings = KafkaSettings { broker_list: world.brokers.clone(), ..KafkaSettings::default() };
    let producer: FutureProducer = settings.client().create().unwrap();

    let record = FutureRecord::<[u8], [u8]>::to(&topic).payload(b"other");
    producer.send(record, Duration::from_secs(10)).await.unwrap();

    let mut reader = logs.read(&name, Position::FIRST).await;
    let error = match &mut reader {
        Ok(reader) => {
            assert_eq!(reader.next().await.unwrap().0, Position(0));
            assert_eq!(reader.next().await.unwrap_err().kind(), ErrorKind::Corrupt);
            reader.next().await.unwrap_err()
        }
        Err(error) => error.clone(),
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(logs.open(&name, 2).await.err().unwrap().kind(), ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_in_time_when_nobody_answers() {
    let clock = RealClock::new();
    let settings = KafkaSettings {
        // Nobody listens on the port of discarded bytes here.
        broker_list: "127.0.0.1:9".to_owned(),
        read_timeout: Duration::from_millis(500),
        ..KafkaSettings::default()
    };
    let metrics = Metrics::new(NodeId(1)).log.clone();

    let connect = KafkaLogs::connect(settings, TaskSet::new(), clock, metrics);
    let ended = tokio::time::timeout(Duration::from_secs(10), connect).await.expect("it ends");

    assert_eq!(ended.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_and_a_certificate_let_in() {
    let (Ok(brokers), Ok(ca)) =
        (std::env::var("REDKITE_TEST_KAFKA_SECURE"), std::env::var("REDKITE_TEST_KAFKA_CA"))
    else {
        println!("skipped: REDKITE_TEST_KAFKA_SECURE and REDKITE_TEST_KAFKA_CA name no Kafka with TLS");
        return;
    };
    let clock = RealClock::new();
    let folder = tempfile::tempdir().unwrap();
    let believed = folder.path().join("ca.pem");
    let settings = KafkaSettings {
        broker_list: brokers,
        sasl_username: "redkite".to_owned(),
        sasl_password: Secret::new("secret-of-the-test".to_owned()),
        ssl_enabled: true,
        tls_ca_cert: Some(believed.clone()),
        read_timeout: Duration::from_secs(5),
        topic_prefix: format!("test-secure-{}", clock.unix_ms()),
        ..KafkaSettings::default()
    };
    let connect = |settings| {
        KafkaLogs::connect(settings, TaskSet::new(), clock.clone(), Metrics::new(NodeId(1)).log.clone())
    };
    let stranger = rcgen::generate_simple_self_signed(vec!["stranger".to_owned()]).unwrap();

    // Whom we do not believe is not talked to; the file is read anew by the next call, of the same logs too.
    std::fs::copy(&ca, &believed).unwrap();
    let logs = connect(settings.clone()).await.unwrap();
    std::fs::write(&believed, stranger.cert.pem()).unwrap();
    assert_eq!(logs.channels().await.unwrap_err().kind(), ErrorKind::Unavailable);
    std::fs::copy(&ca, &believed).unwrap();
    let writer = logs.open(&channel("secure"), 1).await.unwrap();
    assert_eq!(append(&*writer, "x").await, Position(0));

    let wrong = KafkaSettings { sasl_password: Secret::new("not-that-word".to_owned()), ..settings };
    let refused = connect(wrong).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
    assert!(!format!("{refused:?}").contains("not-that-word"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures, claims nothing"]
async fn figures() {
    let Some(world) = World::new("figures") else { return };
    let clock = world.clock.clone();
    let mut begin = clock.monotonic();
    let mut tell = |what: &str| {
        println!("{what}: {:.1} ms", (clock.monotonic() - begin).as_secs_f64() * 1e3);
        begin = clock.monotonic();
    };
    let logs = world.node().await;
    tell("connect");
    let name = channel("figures");
    logs.open(&name, 1).await.unwrap();
    tell("open a new channel");
    let writer = logs.open(&name, 2).await.unwrap();
    tell("open it again");
    for _ in 0..100 {
        append(&*writer, vec![7; 1000]).await;
    }
    tell("100 appends of 1 kB, one after the other");
    let appending = (0..20_000).map(|_| writer.append(vec![7; 1000].into()).unwrap()).collect::<Vec<_>>();
    for appending in appending {
        appending.durable().await.unwrap();
    }
    tell("20000 appends of 1 kB at once");
    assert_eq!(all(&*logs, &name, Position::FIRST).await.len(), 20_100);
    tell("reading them");
    let other = world.node().await;
    tell("connect");
    let mut reader = other.read(&name, Position(12_345)).await.unwrap();
    tell("finding one by a node that knows nothing");
    reader.next().await.unwrap();
    tell("its first record");
    let mut reader = other.read(&name, Position(20_100)).await.unwrap();
    assert!(reader.try_next().await.unwrap().is_none());
    tell("a reader at the end");
    for _ in 0..20 {
        assert!(reader.try_next().await.unwrap().is_none());
    }
    tell("20 looks at the end");
    for _ in 0..20 {
        let (read, _) = tokio::join!(reader.next(), append(&*writer, "x"));
        read.unwrap();
    }
    tell("20 appends, each read by another node");
    logs.truncate(&name, Position(10_000)).await.unwrap();
    tell("truncate");
    logs.remove(&name).await.unwrap();
    tell("remove");
}
