//! Calls over loopback: what is asked and answered arrives as it was, and what breaks is told apart.

mod double;
mod fails;
mod sample;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::net::TcpListener;

use self::double::{Double, compare_coords};
use self::sample::{Sample, refusals};
use super::convert::CompactAnswer;
use super::coord_call::Repeat;
use super::{NetDial, NetSettings, Security, ServeParts, Served, serve};
use crate::base::{ChannelName, CollectionId, Kind, Position, RealClock, RequestId, TaskSet, Timestamp};
use crate::expr::{Templates, parse};
use crate::model::{Schema, SegmentManifest};
use crate::plan::{QueryKind, QueryPlan, SearchPlan};
use crate::rpc::*;

/// A node that serves on loopback until it is dropped.
struct Node {
    address: String,
    tasks: TaskSet,
}

impl Node {
    async fn start(served: Served, security: Security) -> Self {
        Self::on("127.0.0.1:0", served, security).await
    }

    async fn on(address: &str, served: Served, security: Security) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tasks = TaskSet::new();
        let parts =
            ServeParts { served, security, clock: RealClock::new(), grace: Duration::from_millis(50) };
        tasks.start("serve", |stop| async move { Ok(serve(listener, parts, stop).await?) });
        Self { address, tasks }
    }

    async fn stop(self) {
        self.tasks.stop();
        self.tasks.join().await.unwrap();
    }
}

fn dial() -> Arc<NetDial> {
    NetDial::new(Security::Trusted, NetSettings::default(), RealClock::new())
}

/// A double in this process, one behind a port, and the way to that.
async fn pair() -> (Arc<Double>, Arc<Double>, Node, Arc<NetDial>) {
    let (here, there) = (Arc::new(Double::default()), Arc::new(Double::default()));
    let node = Node::start(there.served(), Security::Trusted).await;
    (here, there, node, dial())
}

fn schema() -> Schema {
    let mut field = crate::model::Field::sample();
    field.is_dynamic = false;
    field.name = "d".to_owned();
    Schema { fields: vec![field], ..Schema::sample() }
}

/// A search with a filter, everything set.
fn search() -> SearchPlan {
    let text = "d in [0.1, 5, 1e300] and not (d < -0.3 or d is null)";
    let filter = parse(text, &schema(), &Templates::new()).unwrap();
    SearchPlan { filter: Some(filter), ..SearchPlan::sample() }
}

/// A query with a filter, everything set.
fn query() -> QueryPlan {
    QueryPlan { filter: search().filter, ..QueryPlan::sample() }
}

#[tokio::test]
async fn every_call_of_the_coordinator_arrives_as_it_was_made() {
    let (here, there, node, dial) = pair().await;
    let coord = dial.coord(&node.address);

    let calls = compare_coords(here.as_ref(), coord.as_ref()).await;
    let mut more = Vec::new();
    for change in [
        CollectionChange::DeleteProperties(Vec::sample()),
        CollectionChange::Rename { database: String::sample(), name: String::sample() },
        CollectionChange::AddField { field: Sample::sample() },
        CollectionChange::Truncate,
        CollectionChange::SetFieldParams {
            field: String::sample(),
            params: Vec::sample(),
            removed: Vec::sample(),
        },
    ] {
        let collection = CollectionRef::Id(Sample::sample());
        more.push(here.alter_collection(collection.clone(), change.clone()).await);
        more.push(coord.alter_collection(collection, change).await);
    }
    for change in [AliasChange::Alter { collection: String::sample() }, AliasChange::Drop] {
        more.push(here.alter_alias("a", "b", change.clone()).await);
        more.push(coord.alter_alias("a", "b", change).await);
    }

    assert!(more.iter().all(Result::is_ok));
    assert_eq!(there.take(), here.take());
    let once: Vec<_> =
        calls.into_iter().filter(|(_, repeat)| *repeat == Repeat::Unsafe).map(|(call, _)| call).collect();
    assert_eq!(
        once,
        [
            "create_database",
            "drop_database",
            "alter_alias",
            "commit_flush",
            "transfer_nodes",
            "transfer_replicas",
            "balance",
            "transfer_held",
            "compact",
            "import",
            "change_policy",
            "resign"
        ]
    );
}

#[tokio::test]
async fn a_report_with_numbers_that_are_none_still_arrives() {
    let (_, there, node, dial) = pair().await;
    let load = LoadReport { queue_wait_ms: f64::NAN, p99_ms: f64::INFINITY, ..LoadReport::sample() };

    dial.coord(&node.address).beat(Report { load, ..Report::sample() }).await.unwrap();

    let load = LoadReport { queue_wait_ms: 0.0, p99_ms: 0.0, ..load };
    assert_eq!(there.take(), [format!("beat {:?}", (&Report { load, ..Report::sample() },))]);
}

#[tokio::test]
async fn every_call_of_a_writer_arrives_as_it_was_made() {
    let (here, there, node, dial) = pair().await;
    let remote = dial.writer(&node.address);
    let channel = ChannelName::sample();
    let operations = [
        Operation::Insert { partition: Sample::sample(), rows: Arc::sample() },
        Operation::Delete { partition: Sample::sample(), keys: Arc::new(crate::model::Keys::Int(vec![3])) },
        Operation::Delete { partition: None, keys: Arc::new(crate::plan::SearchHits::sample().keys) },
        Operation::Upsert {
            partition: Sample::sample(),
            replaced: Arc::new(crate::plan::SearchHits::sample().keys),
            rows: Arc::sample(),
        },
    ];
    let number = RequestId(u128::MAX - 5);
    let writes = operations.map(|operation| Write::new(Sample::sample(), channel.clone(), operation));
    let request = |is_repeat| Some(Request { id: number, since: Timestamp::sample(), is_repeat });
    let [first, second, ..] = writes.clone();
    let sent = Write { request: request(false), client: Some(RequestId(1)), ..first };
    let again = Write { request: request(true), ..second };
    let mut answers = [Vec::new(), Vec::new()];

    for (writer, said) in [here.as_ref() as &dyn Writer, remote.as_ref()].into_iter().zip(&mut answers) {
        for write in writes.clone().into_iter().chain([sent.clone(), again.clone()]) {
            said.push(format!("{:?}", writer.write(write).await));
        }
        said.push(format!("{:?}", writer.flush(&channel).await));
        said.push(format!("{:?}", writer.mark(&channel).await));
        let walk = writer.tail(&channel, Position::sample()).await.unwrap();
        said.push(format!("{:?}", walk.collect::<Vec<_>>().await));
        said.push(format!("{:?}", writer.forget(&[channel.clone(), channel.clone()]).await));
    }

    let [here_said, there_said] = answers;
    assert_eq!(there_said, here_said);
    assert_eq!(there.take(), here.take());
}

#[tokio::test]
async fn every_call_of_a_querier_arrives_as_it_was_made() {
    let (here, there, node, dial) = pair().await;
    let remote = dial.querier(&node.address);
    let bare = SearchPlan {
        grouping: None,
        partitions: None,
        queries: Vec::new(),
        range: Some(crate::plan::Range { outer: 0.5, inner: None }),
        ignore_growing: false,
        ..SearchPlan::sample()
    };
    let rows = QueryPlan {
        partitions: Some(Vec::new()),
        limit: None,
        order: None,
        kind: QueryKind::Rows,
        ..query()
    };
    let afters = [ReadAfter::Nothing, ReadAfter::Time(Sample::sample()), ReadAfter::Everything];

    for after in afters {
        for plan in [search(), bare.clone()] {
            let left = here.search(plan.clone(), Arc::sample(), after).await;
            assert_eq!(remote.search(plan, Arc::sample(), after).await, left);
        }
        for plan in [query(), rows.clone()] {
            let left = here.query(plan.clone(), Arc::default(), after).await;
            assert_eq!(remote.query(plan, Arc::default(), after).await, left);
        }
        let collection = CollectionId::sample();
        let left = here.reach(collection, Arc::sample(), after).await;
        assert_eq!(remote.reach(collection, Arc::sample(), after).await, left);
    }

    assert_eq!(there.take(), here.take());
}

#[test]
fn a_compaction_by_a_node_that_does_not_know_what_to_keep_does_not_count() {
    let made = vec![SegmentManifest::sample()];
    let said = |answer: &CompactAnswer| serde_json::to_value(answer).unwrap();
    let heard = |value: &serde_json::Value, asked: Option<u64>| {
        let answer: CompactAnswer = serde_json::from_value(value.clone()).unwrap();
        answer.checked(asked.map(Timestamp))
    };
    // As earlier versions say it.
    let plain = said(&CompactAnswer::of(made.clone(), None));
    assert_eq!(plain, serde_json::to_value(&made).unwrap());
    let kept = said(&CompactAnswer::of(made.clone(), Some(Timestamp(7))));

    assert_eq!([heard(&plain, None), heard(&kept, Some(7))], [Some(made.clone()), Some(made)]);
    assert_eq!([heard(&plain, Some(7)), heard(&kept, Some(8)), heard(&kept, None)], [None, None, None]);
    let nothing = said(&CompactAnswer::of(Vec::new(), None));
    assert_eq!((heard(&nothing, Some(7)), heard(&nothing, None)), (None, Some(Vec::new())));
}

#[tokio::test]
async fn every_call_of_a_builder_arrives_as_it_was_made() {
    let (here, there, node, dial) = pair().await;
    let remote = dial.builder(&node.address);

    let left = here.build_index(IndexJob::sample()).await;
    let right = remote.build_index(IndexJob::sample()).await;
    assert_eq!(
        remote.compact(CompactJob::sample()).await,
        Builder::compact(here.as_ref(), CompactJob::sample()).await
    );
    assert_eq!(
        remote.import(ImportJob::sample()).await,
        Builder::import(here.as_ref(), ImportJob::sample()).await
    );
    assert_eq!(remote.list_objects("segments/").await, here.list_objects("segments/").await);
    here.remove_objects(Vec::sample()).await.unwrap();
    remote.remove_objects(Vec::sample()).await.unwrap();

    assert_eq!(right, left);
    assert_eq!(there.take(), here.take());
}

#[tokio::test]
async fn every_error_of_a_duty_travels_whole() {
    let (_, there, node, dial) = pair().await;
    let (coord, writer) = (dial.coord(&node.address), dial.writer(&node.address));
    let (querier, builder) = (dial.querier(&node.address), dial.builder(&node.address));
    let failures = Kind::ALL.map(|kind| Error::Failed { call: "mark", kind, reason: "a: b".to_owned() });
    let stale = Error::Stale { what: "the channel".to_owned() };
    let channel = ChannelName::sample();

    for error in refusals().into_iter().map(Error::Refused).chain([stale]).chain(failures) {
        there.fail(error.clone());

        assert_eq!(writer.mark(&channel).await, Err(error.clone()));
        if matches!(error, Error::Failed { .. }) {
            continue;
        }
        let write = Operation::Insert { partition: Sample::sample(), rows: Arc::sample() };
        let write = Write::new(Sample::sample(), channel.clone(), write);
        assert_eq!(writer.write(write).await, Err(error.clone()));
        assert_eq!(writer.tail(&channel, Position(0)).await.err(), Some(error.clone()));
        assert_eq!(querier.search(search(), Arc::sample(), ReadAfter::Nothing).await, Err(error.clone()));
        assert_eq!(querier.query(query(), Arc::sample(), ReadAfter::Nothing).await, Err(error.clone()));
        let reached = querier.reach(CollectionId::sample(), Arc::sample(), ReadAfter::Nothing).await;
        assert_eq!(reached, Err(error.clone()));
        assert_eq!(builder.build_index(IndexJob::sample()).await, Err(error.clone()));
        assert_eq!(coord.databases().await, Err(error.clone()));
    }
}

#[tokio::test]
async fn a_failure_of_a_call_inside_a_call_keeps_its_name() {
    let (_, there, node, dial) = pair().await;
    let reason = "the disk is full".to_owned();
    there.fail(Error::Failed { call: "append", kind: Kind::Exhausted, reason });

    let failed = dial.writer(&node.address).flush(&ChannelName::sample()).await;

    let reason = "append failed: the disk is full".to_owned();
    assert_eq!(failed, Err(Error::Failed { call: "flush", kind: Kind::Exhausted, reason }));
}

#[tokio::test]
async fn a_duty_that_is_not_served_is_stale() {
    let node = Node::start(Served::default(), Security::Trusted).await;
    let dial = dial();

    let answers = [
        dial.writer(&node.address).flush(&ChannelName::sample()).await,
        dial.builder(&node.address).remove_objects(Vec::new()).await,
        dial.coord(&node.address).drop_group("g").await,
        dial.querier(&node.address).query(query(), Arc::default(), ReadAfter::Nothing).await.map(drop),
    ];

    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(Error::is_stale)), "{answers:?}");
}

#[tokio::test]
async fn calls_to_oneself_stay_in_the_process() {
    let own = Arc::new(Double::default());
    let dial = dial();
    // Nobody listens there.
    dial.stay("127.0.0.1:1".to_owned(), own.served());

    dial.writer("127.0.0.1:1").flush(&ChannelName::sample()).await.unwrap();
    dial.builder("127.0.0.1:1").remove_objects(Vec::new()).await.unwrap();
    dial.coord("127.0.0.1:1").databases().await.unwrap();
    dial.querier("127.0.0.1:1").query(query(), Arc::default(), ReadAfter::Nothing).await.unwrap();

    assert_eq!(own.take().len(), 4);
}

#[tokio::test]
#[ignore = "measures"]
async fn time_of_a_search_over_loopback() {
    let (_, there, node, dial) = pair().await;
    let plan = SearchPlan { queries: vec![vec![0.5; 384].into()], filter: None, ..SearchPlan::sample() };
    let querier = dial.querier(&node.address);
    for _ in 0..5 {
        let start = std::time::Instant::now();
        for _ in 0..1000 {
            querier.search(plan.clone(), Arc::sample(), ReadAfter::Nothing).await.unwrap();
        }
        println!("{} µs a search", start.elapsed().as_micros() / 1000);
        there.take();
    }
}
