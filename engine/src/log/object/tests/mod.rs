//! Tests of the object log: the contract on one node and on two, races of owners, faults of the store, damage.

mod faults;
mod measure;
mod model;
mod races;
mod seeded;

use bytes::Bytes;

use crate::base::{Kind, Kinded as _, NodeId, RealClock, SeededRng};
use crate::blob::{LocalBlobs, MemoryBlobs};
use crate::log::conformance;
use crate::obs::Metrics;

use super::*;
use faults::{Faults, FaultyBlobs, Node, node, small};

fn name() -> ChannelName {
    ChannelName("c".into())
}

async fn append(writer: &Arc<dyn LogWriter>, payload: impl Into<Bytes>) -> Result<Position, Error> {
    writer.append(payload.into())?.durable().await
}

async fn read_all(logs: &ObjectLogs, from: Position) -> Result<Vec<(u64, Bytes)>, Error> {
    let mut reader = logs.read(&name(), from).await?;
    let mut records = Vec::new();
    while let Some((position, payload)) = reader.try_next().await? {
        records.push((position.0, payload));
    }
    Ok(records)
}

/// A channel whose owner is in one process and whose readers are in another.
struct Apart {
    owner: Arc<ObjectLogs>,
    other: Arc<ObjectLogs>,
}

#[async_trait]
impl Logs for Apart {
    async fn open(&self, channel: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, Error> {
        self.owner.open(channel, term).await
    }

    async fn read(&self, channel: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, Error> {
        self.other.read(channel, from).await
    }

    async fn truncate(&self, channel: &ChannelName, before: Position) -> Result<(), Error> {
        self.other.truncate(channel, before).await
    }

    async fn remove(&self, channel: &ChannelName) -> Result<(), Error> {
        self.owner.remove(channel).await
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, Error> {
        self.other.channels().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_log_keeps_the_contract_in_memory() {
    for settings in [ObjectLogSettings::default(), small()] {
        let node = node(MemoryBlobs::new(), 1, settings);
        conformance::run(node.logs).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_log_keeps_the_contract_on_a_slow_store() {
    let faults = Faults { delay_ms: 40, ..Faults::default() };
    let node = node(FaultyBlobs::new(MemoryBlobs::new(), 5, faults), 1, ObjectLogSettings::default());
    conformance::run(node.logs).await;
}

#[tokio::test(start_paused = true)]
async fn readers_in_another_process_keep_the_contract() {
    for settings in [ObjectLogSettings::default(), small()] {
        let blobs = MemoryBlobs::new();
        let nodes = [node(blobs.clone(), 1, settings.clone()), node(blobs, 2, settings)];
        let [owner, other] = nodes.each_ref().map(|node| node.logs.clone());
        conformance::run(Arc::new(Apart { owner, other })).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_log_keeps_the_contract_in_a_directory() {
    for settings in [ObjectLogSettings::default(), small()] {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(dir.path().join("blobs"), SeededRng::new(2)).await.unwrap();
        let metrics = Metrics::new(NodeId(1)).log.clone();
        let (tasks, clock, rng) = (TaskSet::new(), RealClock::new(), SeededRng::new(1));
        let logs = ObjectLogs::new(blobs, tasks.clone(), clock, rng, metrics, settings);
        conformance::run(logs).await;
        tasks.stop();
        tasks.join().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_let_go_is_in_memory_no_more() {
    let node = node(MemoryBlobs::new(), 1, ObjectLogSettings::default());
    let writer = node.logs.open(&name(), 1).await.unwrap();
    for number in 0..3u8 {
        append(&writer, vec![number; 40]).await.unwrap();
    }
    let id = node.logs.channels.lock().by_name[&name()].id;
    let kept = || [0, 1, 2].map(|position| node.logs.recent.find(id, position).is_some());
    let before = kept();

    node.logs.let_go(&name(), Position(2));

    assert_eq!((before, kept()), ([true; 3], [false, false, true]));
}

#[tokio::test(start_paused = true)]
async fn records_and_terms_are_there_for_the_next_process() {
    let blobs = MemoryBlobs::new();
    let before = node(blobs.clone(), 1, small());
    let writer = before.logs.open(&name(), 3).await.unwrap();
    for number in 0..30u8 {
        append(&writer, vec![number; 40]).await.unwrap();
    }
    before.logs.truncate(&name(), Position(12)).await.unwrap();
    before.tasks.stop();
    before.tasks.join().await.unwrap();
    drop((before, writer));

    let after = node(blobs, 2, small());

    assert_eq!(after.logs.channels().await.unwrap(), [name()]);
    assert_eq!(after.logs.open(&name(), 3).await.err().unwrap().kind(), Kind::Fenced);
    let expected = (12..30).map(|number: u8| (u64::from(number), Bytes::from(vec![number; 40])));
    assert_eq!(read_all(&after.logs, Position(12)).await.unwrap(), expected.collect::<Vec<_>>());
    assert!(matches!(read_all(&after.logs, Position(11)).await, Err(Error::Truncated { .. })));
    assert_eq!(after.logs.open(&name(), 4).await.unwrap().next_position(), Position(30));
}

#[tokio::test(start_paused = true)]
async fn many_small_chunks_are_read_several_at_a_time() {
    let blobs = MemoryBlobs::new();
    let before = node(blobs.clone(), 1, small());
    let writer = before.logs.open(&name(), 1).await.unwrap();
    for _ in 0..1_000 {
        append(&writer, "x").await.unwrap();
    }
    let slow = FaultyBlobs::new(blobs, 1, Faults { delay_ms: 20, ..Faults::default() });
    let after = node(slow.clone(), 2, small());
    let began = tokio::time::Instant::now();

    assert_eq!(read_all(&after.logs, Position::FIRST).await.unwrap().len(), 1_000);

    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    let calls = slow.calls.load(std::sync::atomic::Ordering::Relaxed);
    assert!(calls < 2 * 1_000 + 60, "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn truncation_frees_chunks_but_no_fences() {
    let blobs = MemoryBlobs::new();
    let node = node(blobs.clone(), 1, small());
    for term in 1..=3 {
        let writer = node.logs.open(&name(), term).await.unwrap();
        append(&writer, "x").await.unwrap();
        append(&writer, "y").await.unwrap();
    }

    node.logs.truncate(&name(), Position(5)).await.unwrap();

    let left = blobs.list("wal/c/000000/chunk/").await.unwrap();
    let life = Life::new(&name(), 0);
    let left = left.iter().map(|entry| life.sequence_of(&entry.key).unwrap()).collect::<Vec<_>>();
    assert_eq!(left, [1, 4, 7, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_young_chunk_stays_until_it_is_old_enough() {
    let blobs = MemoryBlobs::new();
    let node = node(blobs.clone(), 1, ObjectLogSettings { min_age_ms: 10_000, ..small() });
    let writer = node.logs.open(&name(), 1).await.unwrap();
    append(&writer, "x").await.unwrap();
    append(&writer, "y").await.unwrap();
    let chunks = async || blobs.list("wal/c/000000/chunk/").await.unwrap().len();

    node.logs.truncate(&name(), Position(1)).await.unwrap();
    assert_eq!(chunks().await, 3);
    tokio::time::advance(std::time::Duration::from_secs(11)).await;
    node.logs.truncate(&name(), Position(2)).await.unwrap();

    assert_eq!(chunks().await, 1);
}

#[tokio::test(start_paused = true)]
async fn damage_is_told_and_never_served() {
    for (chunk, bit) in [(2, 300), (3, 8 * 150), (4, 20 * 8)] {
        let blobs = MemoryBlobs::new();
        let before = node(blobs.clone(), 1, small());
        let writer = before.logs.open(&name(), 1).await.unwrap();
        for payload in ["a", "b", "c", "d"] {
            append(&writer, vec![payload.as_bytes()[0]; 40]).await.unwrap();
        }
        let key = Life::new(&name(), 0).chunk(chunk);
        let mut object = blobs.read(&key).await.unwrap().to_vec();
        object[bit / 8] ^= 1 << (bit % 8);
        blobs.delete(&key).await.unwrap();
        blobs.create(&key, object.into()).await.unwrap();

        let after = node(blobs, 2, small());
        let read = read_all(&after.logs, Position::FIRST).await;

        assert_eq!(read.unwrap_err().kind(), Kind::Corrupt, "chunk {chunk}, bit {bit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_chunk_is_no_tail() {
    let blobs = MemoryBlobs::new();
    let before = node(blobs.clone(), 1, small());
    let writer = before.logs.open(&name(), 1).await.unwrap();
    for payload in ["a", "b", "c"] {
        append(&writer, payload).await.unwrap();
    }
    let mut reader = before.logs.read(&name(), Position::FIRST).await.unwrap();
    drop(writer);
    let life = Life::new(&name(), 0);
    let third = blobs.read(&life.chunk(3)).await.unwrap();
    blobs.delete(&life.chunk(3)).await.unwrap();
    blobs.create(&life.chunk(3), blobs.read(&life.chunk(4)).await.unwrap()).await.unwrap();

    let after = node(blobs, 2, small());

    assert_eq!(after.logs.open(&name(), 2).await.err().unwrap().kind(), Kind::Corrupt);
    assert_eq!(reader.next().await.unwrap().1, Bytes::from("a"));
    assert!(!third.is_empty());
}

#[tokio::test(start_paused = true)]
async fn too_much_waiting_is_refused_and_uses_no_position() {
    let faults = Faults { delay_ms: 100, ..Faults::default() };
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 1, faults);
    let node = node(blobs, 1, ObjectLogSettings { queue_bytes: 1_000, ..small() });
    let writer = node.logs.open(&name(), 1).await.unwrap();

    let mut taken = Vec::new();
    let error = loop {
        match writer.append(Bytes::from(vec![1; 100])) {
            Ok(appending) => taken.push(appending),
            Err(error) => break error,
        }
    };

    assert_eq!(error.kind(), Kind::Exhausted);
    let count = taken.len() as u64;
    for appending in taken {
        appending.durable().await.unwrap();
    }
    assert_eq!(append(&writer, "next").await.unwrap(), Position(count));
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_a_chunk_goes_alone() {
    let blobs = MemoryBlobs::new();
    let node = node(blobs.clone(), 1, small());
    let writer = node.logs.open(&name(), 1).await.unwrap();
    let payloads = [10, 500, 10, 10].map(|length| Bytes::from(vec![7; length]));

    let appending = payloads.each_ref().map(|payload| writer.append(payload.clone()).unwrap());
    for appending in appending {
        appending.durable().await.unwrap();
    }

    let read = read_all(&node.logs, Position::FIRST).await.unwrap();
    assert_eq!(read.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>(), payloads);
    let sizes = blobs.list("wal/c/000000/chunk/").await.unwrap();
    let sizes = sizes.iter().map(|entry| entry.size_bytes - 144).collect::<Vec<_>>();
    assert_eq!(sizes, [0, 14, 504, 28]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_owner_and_its_readers_ask_the_store_nothing() {
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 1, Faults::default());
    let node = node(blobs.clone(), 1, small());
    let writer = node.logs.open(&name(), 1).await.unwrap();
    append(&writer, "x").await.unwrap();
    let mut reader = node.logs.read(&name(), Position(1)).await.unwrap();
    let calls = || blobs.calls.load(std::sync::atomic::Ordering::Relaxed);
    let before = calls();

    let waited = tokio::time::timeout(std::time::Duration::from_secs(3600), reader.next()).await;

    assert!(waited.is_err());
    assert_eq!(calls(), before);
}

/// A log of 3,000 records, each in a chunk of its own, and its owner.
async fn long_log() -> (Arc<FaultyBlobs>, Node, Arc<dyn LogWriter>) {
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 1, Faults::default());
    let owner = node(blobs.clone(), 1, small());
    let writer = owner.logs.open(&name(), 1).await.unwrap();
    for number in 0..3_000_u16 {
        append(&writer, number.to_le_bytes().to_vec()).await.unwrap();
    }
    (blobs, owner, writer)
}

async fn waypoints(blobs: &FaultyBlobs) -> Vec<u64> {
    let life = Life::new(&name(), 0);
    let notes = blobs.list(&life.waypoints()).await.unwrap();
    notes.iter().map(|note| life.waypoint_of(&note.key).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_opening_elsewhere_looks_at_few_of_very_many_chunks_and_misses_nothing() {
    let (blobs, _owner, old) = long_log().await;
    let calls = || blobs.calls.load(std::sync::atomic::Ordering::Relaxed);

    let before = calls();
    let new = node(blobs.clone(), 2, small());
    let writer = new.logs.open(&name(), 2).await.unwrap();
    let opened = calls() - before;
    let before = calls();
    let last = new.logs.read(&name(), Position(2_990)).await.unwrap().next().await.unwrap();
    let read = calls() - before;

    assert!(opened < 400 && read < 300, "{opened} requests to open, {read} to read");
    assert_eq!((writer.next_position(), last.0), (Position(3_000), Position(2_990)));
    assert_eq!(append(&old, "late").await.unwrap_err().kind(), Kind::Fenced);
    append(&writer, "new").await.unwrap();
    let all = read_all(&node(blobs, 3, small()).logs, Position(0)).await.unwrap();
    let first: Vec<_> = (0..3_000_u16).map(|number| Bytes::from(number.to_le_bytes().to_vec())).collect();
    assert_eq!(all.iter().map(|(_, payload)| payload.clone()).take(3_000).collect::<Vec<_>>(), first);
    assert_eq!(all.last(), Some(&(3_000, Bytes::from("new"))));
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_was_away_for_long_looks_at_few_of_the_chunks_since() {
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 1, Faults::default());
    let former = node(blobs.clone(), 1, small());
    append(&former.logs.open(&name(), 1).await.unwrap(), "first").await.unwrap();
    let between = node(blobs.clone(), 2, small());
    let writer = between.logs.open(&name(), 2).await.unwrap();
    for number in 1..3_000_u16 {
        append(&writer, number.to_le_bytes().to_vec()).await.unwrap();
    }
    let calls = || blobs.calls.load(std::sync::atomic::Ordering::Relaxed);

    let before = calls();
    let again = former.logs.open(&name(), 3).await.unwrap();
    let opened = calls() - before;

    assert!(opened < 700, "{opened} requests to open");
    assert_eq!(again.next_position(), Position(3_000));
    append(&again, "last").await.unwrap();
    let all = read_all(&former.logs, Position(0)).await.unwrap();
    assert_eq!((all.len(), all.last()), (3_001, Some(&(3_000, Bytes::from("last")))));
}

#[tokio::test(start_paused = true)]
async fn a_waypoint_that_is_missing_or_damaged_is_passed_over() {
    let (blobs, _owner, _) = long_log().await;
    let life = Life::new(&name(), 0);
    for number in [1, 2, 3, 6, 11] {
        blobs.delete(&life.waypoint(number)).await.unwrap();
    }
    for number in [2, 11] {
        blobs.create(&life.waypoint(number), Bytes::from_static(b"damaged")).await.unwrap();
    }

    let next = node(blobs.clone(), 2, small());
    let writer = next.logs.open(&name(), 2).await.unwrap();

    assert_eq!(writer.next_position(), Position(3_000));
    assert_eq!(read_all(&node(blobs, 3, small()).logs, Position(0)).await.unwrap().len(), 3_000);
}

#[tokio::test(start_paused = true)]
async fn waypoints_go_with_what_they_lead_over() {
    let (blobs, _owner, _) = long_log().await;
    assert_eq!(waypoints(&blobs).await, (1..=11).collect::<Vec<_>>());
    let other = node(blobs.clone(), 2, small());

    other.logs.truncate(&name(), Position(2_000)).await.unwrap();
    let left = waypoints(&blobs).await;
    let next = other.logs.open(&name(), 2).await.unwrap().next_position();
    other.logs.remove(&name()).await.unwrap();

    assert_eq!((left, next), ((8..=11).collect::<Vec<_>>(), Position(3_000)));
    assert_eq!(waypoints(&blobs).await, Vec::<u64>::new());
}
