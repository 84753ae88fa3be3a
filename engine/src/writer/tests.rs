//! Claims about owners of channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use parking_lot::Mutex;

use super::fixture::{COLLECTION, PARTITION, World, channel, insert, records};
use super::{FlushLimits, Water};
use crate::base::{
    ChannelName, Clock, Kind, Kinded as _, NodeId, Passing, Position, Rng as _, SeededRng, Shares, TaskSet,
    TestClock, Timestamp, Work,
};
use crate::blob::{Blobs as _, Doing, FaultPlan, FaultyBlobs};
use crate::log::record::stamp_of;
use crate::log::{Error as LogError, LogReader, LogWriter, Logs};
use crate::rpc::{
    Error, Followed, Follower as _, Operation, OrderNumber, Orders, OwnOrder, Refusal, Report, Write,
    Writer as _,
};

const START_MS: u64 = 1_700_000_000_000;
const LEASE: Duration = Duration::from_secs(5);

fn world() -> World {
    World::new(TestClock::starting_at(START_MS))
}

/// A clock beside another one: off by some time, and only as fast as `rate` thousandths.
struct Skewed {
    inner: Arc<dyn Clock>,
    off_ms: i64,
    rate: u32,
}

#[async_trait]
impl Clock for Skewed {
    fn unix_ms(&self) -> u64 {
        self.inner.unix_ms().saturating_add_signed(self.off_ms)
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic() * self.rate / 1_000
    }

    fn thread_cpu(&self) -> Duration {
        self.inner.thread_cpu()
    }

    async fn sleep(&self, span: Duration) {
        self.inner.sleep(span).await;
    }
}

/// Waits until `done`, for as long as that takes on the paused clock.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3_600), waited).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(start_paused = true)]
async fn a_write_after_a_change_of_owner_is_later_than_every_mark_of_the_old_owner() {
    let world = world();
    let fast: Arc<dyn Clock> =
        Arc::new(Skewed { inner: Arc::clone(&world.clock), off_ms: 3_600_000, rate: 1_050 });
    let slow: Arc<dyn Clock> =
        Arc::new(Skewed { inner: Arc::clone(&world.clock), off_ms: -3_600_000, rate: 990 });
    let (old, new) = (world.node(1, fast), world.node(2, slow));
    world.order(1, &old, true, LEASE);
    old.write(insert(&[1])).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let shown = old.mark(&channel()).await.unwrap();

    world.order(2, &new, true, LEASE);
    let written = new.write(insert(&[2])).await.unwrap();

    assert_eq!(shown.end, Position(1));
    assert!(written.at > shown.at, "{} is not later than {}", written.at, shown.at);
    assert_eq!(records(world.logs.as_ref(), Position(0)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_clock_is_slow_is_sure_of_nothing_once_it_may_have_been_lost() {
    let world = world();
    let slow: Arc<dyn Clock> = Arc::new(Skewed { inner: Arc::clone(&world.clock), off_ms: 0, rate: 950 });
    let node = world.node(1, slow);
    world.order(1, &node, true, LEASE);
    node.write(insert(&[1])).await.unwrap();

    tokio::time::sleep(LEASE).await;
    node.mark(&channel()).await.unwrap();

    assert_eq!(records(world.logs.as_ref(), Position(0)).await.len(), 2, "the write and the mark's proof");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_and_is_owner_again_shows_what_was_written_meanwhile() {
    let world = world();
    let (first, second) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &first, true, LEASE);
    first.write(insert(&[1])).await.unwrap();
    world.order(2, &second, true, LEASE);
    second.write(insert(&[2])).await.unwrap();

    // Both orders come before it has looked after its channels.
    world.order(1, &first, false, LEASE);
    world.order(1, &first, true, LEASE);
    let mark = first.mark(&channel()).await.unwrap();

    assert_eq!(mark.end, Position(2));
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_the_log_proves_is_of_before_the_log_was_asked() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::ZERO);
    let written = node.write(insert(&[1])).await.unwrap();

    let mark = node.mark(&channel()).await.unwrap();

    let all = records(world.logs.as_ref(), Position(0)).await;
    let [_, (position, at)] = all[..] else { panic!("the write and the proof: {all:?}") };
    assert_eq!(mark.end, position);
    // Whoever opens the channel next begins after the proof, so after the mark.
    assert!(written.at <= mark.at && mark.at < at, "{} <= {} < {at}", written.at, mark.at);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_ahead_of_the_coordinators_time_proves_its_marks_by_the_log() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    // It went on by itself while nobody led, and so far has shown that to other channels.
    old.parts.time.hear(Timestamp::from_unix_ms(START_MS + 60_000));
    let ahead = old.parts.time.next();
    world.order(1, &old, true, LEASE);
    let shown = old.mark(&channel()).await.unwrap();

    world.order(2, &new, true, LEASE);
    let written = new.write(insert(&[2])).await.unwrap();

    assert!(shown.at > ahead && written.at > shown.at, "{} is not later than {}", written.at, shown.at);
}

#[tokio::test(start_paused = true)]
async fn a_mark_within_the_lease_of_a_channel_that_was_just_opened_and_written_costs_no_append() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);

    let opened = node.mark(&channel()).await.unwrap();
    node.write(insert(&[1])).await.unwrap();
    let written = node.mark(&channel()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let later = node.mark(&channel()).await.unwrap();

    assert_eq!([opened.end, written.end, later.end], [Position(0), Position(1), Position(1)]);
    assert_eq!(records(world.logs.as_ref(), Position(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waited_long_for_its_channel_is_not_done_and_later_ones_are() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    world.leader.known.lock().term_takes = Duration::from_secs(10);

    let waited = node.write(insert(&[1])).await.unwrap_err();
    node.write(insert(&[2])).await.unwrap();

    assert!(waited.is_stale(), "{waited}");
    assert_eq!(records(world.logs.as_ref(), Position(0)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_opens_its_channels_by_what_a_coordinator_of_an_earlier_version_understands() {
    let world = world();
    world.leader.known.lock().is_older = true;
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);

    let written = node.write(insert(&[1])).await.unwrap();

    assert!(written.at > world.leader.known.lock().last);
}

#[tokio::test(start_paused = true)]
async fn over_ten_thousand_changes_of_owner_positions_and_times_only_grow_and_nothing_is_missing() {
    let seeds = std::env::var("REDKITE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in 0..seeds {
        change_owners(world(), seed, 10_000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn over_ten_thousand_changes_of_owner_an_object_log_keeps_one_order_too() {
    let seeds = std::env::var("REDKITE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in 0..seeds {
        change_owners(World::on_objects(TestClock::starting_at(START_MS)), seed, 10_000).await;
    }
}

/// Nodes whose clocks are off and differ in speed take the channel from each other; former owners go on trying.
async fn change_owners(world: World, seed: u64, changes: u64) {
    let rng = SeededRng::new(seed);
    let nodes: Vec<_> = (0..5)
        .map(|node| {
            let off_ms = rng.below(7_200_000) as i64 - 3_600_000;
            let clock = Skewed { inner: Arc::clone(&world.clock), off_ms, rate: 950 + rng.below(101) as u32 };
            world.node(node, Arc::new(clock))
        })
        .collect();
    let mut acknowledged: Vec<Timestamp> = Vec::new();
    let mut shown = Timestamp::ZERO;
    let (mut seen, mut last) = (Position(0), Timestamp::ZERO);
    let mut owner = 0;
    let mut reader = world.logs.read(&channel(), seen).await.unwrap();
    for change in 0..changes {
        let former = owner;
        owner = rng.below(5) as usize;
        world.order(owner as i64, &nodes[owner], true, LEASE);
        for _ in 0..rng.below(3) {
            acknowledged.push(nodes[owner].write(insert(&[change as i64])).await.unwrap().at);
        }
        if former != owner {
            // It has not heard yet. What it is asked now it may do only if the log lets it, which takes it for the owner.
            if rng.below(2) == 0
                && let Ok(written) = nodes[former].write(insert(&[-1])).await
            {
                acknowledged.push(written.at);
            }
            world.order(former as i64, &nodes[former], false, Duration::ZERO);
            let refused = nodes[former].write(insert(&[-2])).await.unwrap_err();
            assert!(refused.is_stale(), "seed {seed}, change {change}: {refused}");
        }
        let mark = nodes[owner].mark(&channel()).await.unwrap();
        assert!(mark.at >= shown, "seed {seed}, change {change}: {} after {shown}", mark.at);
        if let Some(newest) = acknowledged.last() {
            assert!(*newest <= mark.at, "seed {seed}, change {change}");
        }
        shown = mark.at;
        while let Some((position, payload)) = reader.try_next().await.unwrap() {
            let at = stamp_of(&payload).unwrap();
            assert_eq!(position, seen, "seed {seed}, change {change}: a reader sees no gap");
            assert!(at > last, "seed {seed}, change {change}: {at} after {last}");
            (seen, last) = (position.next(), at);
        }
        assert!(mark.end == seen && mark.at >= last, "seed {seed}, change {change}");
        tokio::time::sleep(Duration::from_millis(rng.below(40))).await;
        if rng.below(100) == 0 {
            nodes[owner].flush(&channel()).await.unwrap();
            let checkpoint = world.leader.known.lock().manifest.checkpoint;
            let logs = &nodes[owner].parts.logs;
            logs.truncate(&channel(), Position(checkpoint.0.min(seen.0))).await.unwrap();
        }
    }
    assert!(acknowledged.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}");
    let flushed: u64 = world.leader.known.lock().manifest.segments.iter().map(|segment| segment.rows).sum();
    nodes[owner].flush(&channel()).await.unwrap();
    let rows: u64 = world.leader.known.lock().manifest.segments.iter().map(|segment| segment.rows).sum();
    assert!(flushed <= rows);
    assert_eq!(rows, acknowledged.len() as u64, "seed {seed}: each acknowledged row is sealed once");
}

#[tokio::test(start_paused = true)]
async fn a_flush_goes_in_steps_that_fit_into_memory() {
    let mut world = world();
    world.flushes = FlushLimits { step_bytes: 1, ..world.flushes };
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    for key in 0..5 {
        node.write(insert(&[key, key + 10])).await.unwrap();
    }

    node.flush(&channel()).await.unwrap();

    let known = world.leader.known.lock();
    let steps: Vec<(u64, u64, u64)> = known
        .flushed
        .iter()
        .map(|one| (one.from.0, one.to.0, one.segments.iter().map(|segment| segment.rows).sum()))
        .collect();
    assert_eq!(steps, [(0, 1, 2), (1, 2, 2), (2, 3, 2), (3, 4, 2), (4, 5, 2)]);
    assert!(known.flushed.iter().flat_map(|one| &one.segments).all(|segment| segment.partition == PARTITION));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_memory_beside_other_flushes_and_for_nothing_else() {
    let mut world = world();
    world.memory = Passing::new(Shares { flushes: 10, loads: 10, jobs: 10 });
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    node.write(insert(&[1, 2])).await.unwrap();
    let _job = world.memory.admit(Work::Job, 1_000_000).await;
    let other = world.memory.admit(Work::Flush, 10).await;
    let name = channel();
    let mut flush = Box::pin(node.flush(&name));

    assert!((&mut flush).now_or_never().is_none());
    let (held, waiting) = world.memory.figures(Work::Flush);
    assert!(held == 10 && waiting > 10, "{waiting}");
    assert_eq!(world.blobs.list("").await.unwrap(), []);
    drop(other);
    flush.await.unwrap();

    assert_eq!(world.leader.known.lock().flushed.len(), 1);
    assert_eq!(world.memory.figures(Work::Flush), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_is_refused_leaves_no_object() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    node.write(insert(&[1, 2, 3])).await.unwrap();
    let keys = Arc::new(crate::model::Keys::Int(vec![1]));
    let delete = Operation::Delete { partition: None, keys };
    node.write(Write { operation: delete, ..insert(&[]) }).await.unwrap();
    world.leader.known.lock().refusal = Some(Kind::Conflict);

    let refused = node.flush(&channel()).await.unwrap_err();

    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(world.blobs.list("").await.unwrap(), []);
    world.leader.known.lock().refusal = None;
    node.flush(&channel()).await.unwrap();
    let stored = world.blobs.list("").await.unwrap();
    let names: Vec<&str> =
        stored.iter().filter_map(|entry| entry.key.rsplit_once('/')).map(|one| one.1).collect();
    let of_segment = ["manifest.json", "scalars.parquet", "stats.bin", "vector-103.bin"];
    assert_eq!(
        (names.len(), &names[1..]),
        (5, &of_segment[..]),
        "what there would have been to remove: {names:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_takes_long_says_so_and_is_committed() {
    let world = world();
    let plan =
        FaultPlan { delay_permille: 1_000, max_delay_ms: 3_600_000, ..FaultPlan::of(&[Doing::Create]) };
    let slow =
        FaultyBlobs::new(Arc::clone(&world.blobs) as _, plan, Arc::clone(&world.clock), SeededRng::new(3));
    let node = world.node_on(1, Arc::clone(&world.clock), slow);
    world.order(1, &node, true, LEASE);
    node.write(insert(&[1, 2, 3])).await.unwrap();
    let began = world.clock.monotonic();

    node.flush(&channel()).await.unwrap();

    let took = world.clock.monotonic() - began;
    let known = world.leader.known.lock();
    assert!(took > Duration::from_secs(30 * 60), "the test is of no use if it took only {took:?}");
    assert!(known.kept.len() as u64 >= took.as_secs() / 660, "{} times in {took:?}", known.kept.len());
    let number = known.flushed[0].segments[0].id.0;
    assert!(known.kept.iter().all(|since| *since == known.kept[0] && *since < number));
}

#[tokio::test(start_paused = true)]
async fn sealed_records_stay_until_no_follower_needs_them() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));
    for key in 0..4 {
        node.write(insert(&[key])).await.unwrap();
    }
    let has_first = async || world.logs.read(&channel(), Position(0)).await.is_ok();
    let follow = |needs_from: Option<u64>| {
        world.leader.known.lock().followed = Followed { needs_from: needs_from.map(Position), fullness: 0.0 };
    };
    follow(Some(3));
    node.flush(&channel()).await.unwrap();

    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(has_first().await, "a follower needs record 3 and what is sealed goes as a whole");
    follow(None);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(has_first().await, "it is not known who needs what");
    follow(Some(4));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!has_first().await);
    tasks.stop();
    tasks.join().await.unwrap();
}

/// Logs that note what they are told to keep in memory no more.
struct Noting {
    inner: Arc<dyn Logs>,
    noted: Arc<Mutex<Vec<Position>>>,
}

#[async_trait]
impl Logs for Noting {
    async fn open(&self, name: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, LogError> {
        self.inner.open(name, term).await
    }

    async fn read(&self, name: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        self.inner.read(name, from).await
    }

    async fn truncate(&self, name: &ChannelName, before: Position) -> Result<(), LogError> {
        self.inner.truncate(name, before).await
    }

    fn let_go(&self, _: &ChannelName, before: Position) {
        self.noted.lock().push(before);
    }

    async fn remove(&self, name: &ChannelName) -> Result<(), LogError> {
        self.inner.remove(name).await
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, LogError> {
        self.inner.channels().await
    }
}

#[tokio::test(start_paused = true)]
async fn sealed_records_leave_memory_once_those_who_follow_have_read_them_and_stay_in_the_log() {
    let mut world = world();
    let noted = Arc::new(Mutex::new(Vec::new()));
    world.logs = Arc::new(Noting { inner: Arc::clone(&world.logs), noted: Arc::clone(&noted) });
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    for key in 0..4 {
        node.write(insert(&[key])).await.unwrap();
    }
    let follow = async |needs_from: u64| {
        let followed = Followed { needs_from: Some(Position(needs_from)), fullness: 0.0 };
        world.leader.known.lock().followed = followed;
        node.ask_followers().await;
        node.truncate_sealed().await;
    };

    follow(4).await;
    let unsealed = noted.lock().len();
    node.flush(&channel()).await.unwrap();
    follow(3).await;
    let unread = noted.lock().len();
    follow(4).await;

    assert_eq!((unsealed, unread, noted.lock().as_slice()), (0, 0, [Position(4)].as_slice()));
    assert!(world.logs.read(&channel(), Position(0)).await.is_ok(), "it is sealed only just now");
}

#[tokio::test(start_paused = true)]
async fn nobody_keeps_sealed_records_for_ever() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));
    node.write(insert(&[1])).await.unwrap();
    node.flush(&channel()).await.unwrap();

    tokio::time::sleep(Duration::from_secs(620)).await;

    assert!(
        world.logs.read(&channel(), Position(0)).await.is_err(),
        "its followers were silent for ten minutes"
    );
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sealed_is_bounded_and_writes_go_on_by_themselves_once_it_is_sealed() {
    let mut world = world();
    let bytes = 4_000.0;
    world.flushes = FlushLimits { high_bytes: 2_000, low_bytes: 500, ..world.flushes };
    world.writes.unsealed_bytes = Water { low: 3_000.0, high: bytes };
    world.leader.known.lock().refusal = Some(Kind::Unavailable);
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));

    let mut written = 0;
    let refused = loop {
        match node.write(insert(&(written..written + 10).collect::<Vec<_>>())).await {
            Ok(_) => written += 10,
            Err(error) => break error,
        }
        assert!(written < 10_000, "nothing was ever refused");
    };

    let Error::Refused(Refusal::RateLimited { reason }) = &refused else { panic!("{refused}") };
    assert!(reason.ends_with("bytes that were written are not sealed yet, try again later"), "{reason}");
    assert_eq!(refused.kind(), Kind::Exhausted);
    let held = node.unsealed_bytes.load(Ordering::Relaxed) as f64;
    assert!((bytes..bytes * 1.5).contains(&held), "{held} bytes are not sealed");
    world.leader.known.lock().refusal = None;
    until("the channel is sealed", || !world.leader.known.lock().flushed.is_empty()).await;
    until("the count is low", || node.unsealed_bytes.load(Ordering::Relaxed) < 2_000).await;
    node.write(insert(&[written])).await.unwrap();
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_fullest_channel_is_sealed_under_pressure_without_being_asked() {
    let mut world = world();
    world.flushes = FlushLimits { high_bytes: 2_000, low_bytes: 500, ..world.flushes };
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));
    let most = AtomicU64::new(0);
    for key in 0..600 {
        node.write(insert(&[key])).await.unwrap();
        most.fetch_max(node.unsealed_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert!(world.leader.known.lock().flushed.len() > 5);
    assert!(most.load(Ordering::Relaxed) < 4_000, "{most:?}");
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_query_nodes_are_full_rows_are_refused_and_deletes_are_not() {
    let mut world = world();
    world.writes.memory = Water { low: 0.85, high: 0.95 };
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));
    node.write(insert(&[1])).await.unwrap();
    let fill = |fullness| world.leader.known.lock().followed = Followed { needs_from: None, fullness };

    fill(0.90);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let began = world.clock.monotonic();
    node.write(insert(&[2])).await.unwrap();
    let took = world.clock.monotonic() - began;
    assert!((Duration::from_millis(450)..Duration::from_millis(600)).contains(&took), "half way: {took:?}");

    fill(0.95);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let refused = node.write(insert(&[3])).await.unwrap_err();
    let reason = "the memory of query nodes is 95 % full, delete or release data or add memory".to_owned();
    assert_eq!(refused, Error::Refused(Refusal::QuotaExceeded { reason }));
    let keys = Arc::new(crate::model::Keys::Int(vec![1]));
    let delete = Operation::Delete { partition: None, keys };
    node.write(Write { operation: delete, ..insert(&[]) }).await.unwrap();

    fill(0.5);
    tokio::time::sleep(Duration::from_secs(3)).await;
    node.write(insert(&[3])).await.unwrap();
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rows_are_taken_again_once_there_is_memory_although_all_is_sealed_and_given_up() {
    let mut world = world();
    world.writes.memory = Water { low: 0.85, high: 0.95 };
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, Duration::MAX);
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));
    let fill = |fullness| {
        world.leader.known.lock().followed = Followed { needs_from: Some(Position(1)), fullness };
    };
    fill(0.95);
    node.write(insert(&[1])).await.unwrap();
    node.flush(&channel()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.logs.read(&channel(), Position(0)).await.is_err(), "what is sealed was given up");
    node.write(insert(&[2])).await.unwrap_err();

    fill(0.5);
    tokio::time::sleep(Duration::from_secs(3)).await;

    node.write(insert(&[2])).await.unwrap();
    tasks.stop();
    tasks.join().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_takes_long_to_open_holds_up_no_other() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    let other = ChannelName::of(COLLECTION, 1);
    world.leader.known.lock().unanswered = Some(channel());
    world.leader.known.lock().owner = Some(NodeId(1));
    let own = [channel(), other.clone()].map(|channel| OwnOrder { channel, collection: COLLECTION, term: 1 });
    let number = OrderNumber { epoch: 1, number: 1 };
    let orders = Orders { number, own: Some(own.to_vec()), lease: Duration::MAX, ..Orders::default() };
    node.obey(&orders, world.clock.monotonic());
    let tasks = TaskSet::new();
    let keeping = Arc::clone(&node);
    tasks.start("keep", |stop| keeping.keep(stop));

    let opened = || {
        let mut report = Report::default();
        node.report(&mut report);
        report.channels.into_iter().map(|open| open.channel).collect::<Vec<_>>()
    };
    until("the other channel is open", || opened() == [other.clone()]).await;
    let write = Write { channel: other.clone(), ..insert(&[1]) };
    tokio::time::timeout(Duration::from_secs(1), node.write(write)).await.unwrap().unwrap();

    let none =
        Orders { number: OrderNumber { epoch: 1, number: 2 }, own: Some(Vec::new()), ..Orders::default() };
    node.obey(&none, world.clock.monotonic());
    until("it is closed", || opened().is_empty()).await;
    tasks.stop();
    tasks.join().await.unwrap();
}
