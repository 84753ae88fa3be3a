//! Claims about writes that are sent again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::{ChannelName, Kind, Kinded as _, Position, RequestId, TestClock, Timestamp};
use crate::log::{Error as LogError, LogReader, LogWriter, Logs, record};
use crate::model::Keys;
use crate::rpc::{Operation, Request, Write, Writer as _, Written};
use crate::writer::ChannelWriter;
use crate::writer::fixture::{COLLECTION, World, channel, insert, records};

const START_MS: u64 = 1_700_000_000_000;
const LEASE: Duration = Duration::from_secs(5);

fn world() -> World {
    World::new(TestClock::starting_at(START_MS))
}

/// The same, whose cluster writes this version of the formats.
fn writing(format: u32) -> World {
    let mut world = world();
    world.format = format;
    world
}

/// A write that is sent for the first time.
fn first(world: &World, number: u128, write: Write) -> Write {
    let request = Request { id: RequestId(number), since: world.leader.now(), is_repeat: false };
    Write { request: Some(request), ..write }
}

/// The same, sent again.
fn again(write: &Write) -> Write {
    let request = write.request.map(|request| Request { is_repeat: true, ..request });
    Write { request, ..write.clone() }
}

fn named(name: u128, write: Write) -> Write {
    Write { client: Some(RequestId(name)), ..write }
}

fn delete(keys: &[i64]) -> Write {
    let keys = Arc::new(Keys::Int(keys.to_vec()));
    Write::new(COLLECTION, channel(), Operation::Delete { partition: None, keys })
}

async fn count(world: &World) -> usize {
    records(world.logs.as_ref(), Position(0)).await.len()
}

/// Records that add rows.
async fn inserts(world: &World) -> usize {
    let mut reader = world.logs.read(&channel(), Position(0)).await.unwrap();
    let mut count = 0;
    for _ in 0..self::count(world).await {
        count += usize::from(record::is_insert(&reader.next().await.unwrap().1));
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_sent_again_is_done_once_and_has_the_same_answer() {
    for (format, write) in [(1, insert(&[1])), (2, insert(&[1])), (2, delete(&[1]))] {
        let world = writing(format);
        let node = world.node(1, Arc::clone(&world.clock));
        world.order(1, &node, true, LEASE);
        let write = first(&world, 7, write);

        let written = node.write(write.clone()).await.unwrap();
        let repeated = node.write(again(&write)).await;
        let late = node.write(write).await;

        assert_eq!((repeated, late), (Ok(written), Ok(written)));
        assert_eq!(count(&world).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_insert_that_is_repeated_at_the_next_owner_is_there_once() {
    for on_objects in [false, true] {
        let clock = TestClock::starting_at(START_MS);
        let world = if on_objects { World::on_objects(clock) } else { World::new(clock) };
        let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
        world.order(1, &old, true, LEASE);
        let mut writes = Vec::new();
        for number in 0..300 {
            writes.push(first(&world, number, insert(&[i64::try_from(number).unwrap()])));
        }
        let mut written = Vec::new();
        for write in &writes {
            written.push(old.write(write.clone()).await.unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }

        world.order(2, &new, true, LEASE);
        for (write, written) in writes.iter().zip(&written).rev() {
            assert_eq!(new.write(again(write)).await, Ok(*written));
        }
        // A request that was on its way all the time.
        let late = new.write(writes[299].clone()).await;

        assert_eq!(late, Ok(written[299]));
        assert_eq!(count(&world).await, 300);
    }
}

#[tokio::test(start_paused = true)]
async fn an_insert_that_did_not_get_to_the_former_owner_is_done_by_its_repeat() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    old.write(first(&world, 1, insert(&[1]))).await.unwrap();
    let lost = first(&world, 2, insert(&[2]));
    old.write(first(&world, 3, insert(&[3]))).await.unwrap();

    world.order(2, &new, true, LEASE);
    let repeated = new.write(again(&lost)).await.unwrap();
    let once_more = new.write(again(&lost)).await;

    assert_eq!(once_more, Ok(repeated));
    assert_eq!(count(&world).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_the_log_may_have_lost_is_refused_and_a_first_try_is_not() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let (early, late) = (first(&world, 1, insert(&[1])), first(&world, 2, insert(&[2])));
    old.write(early.clone()).await.unwrap();
    let kept = old.write(late.clone()).await.unwrap();
    world.logs.truncate(&channel(), Position(1)).await.unwrap();

    world.order(2, &new, true, LEASE);
    let repeated = new.write(again(&early)).await.unwrap_err();
    let known = new.write(again(&late)).await;
    let other =
        Write { request: early.request.map(|request| Request { id: RequestId(3), ..request }), ..early };
    let first_try = new.write(other).await;

    assert!(!repeated.is_stale() && repeated.to_string().contains("not known any more"), "{repeated}");
    assert_eq!(repeated.kind(), Kind::Exhausted);
    assert_eq!(known, Ok(kept));
    assert!(first_try.is_ok(), "{first_try:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_an_earlier_format_may_be_of_any_request() {
    let world = writing(1);
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let before = first(&world, 1, insert(&[1]));
    old.write(before.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = first(&world, 2, insert(&[2]));

    world.order(2, &new, true, LEASE);
    let repeated = new.write(again(&before)).await.unwrap_err();
    let lost = new.write(again(&after)).await;

    assert!(repeated.to_string().contains("not known any more"), "{repeated}");
    assert!(lost.is_ok(), "{lost:?}");
    assert_eq!(count(&world).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_format_leaves_open_stays_open_however_far_the_log_is_read_back() {
    let world = writing(1);
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let mut writes = Vec::new();
    for number in 0..200 {
        let write = first(&world, number, insert(&[i64::try_from(number).unwrap()]));
        old.write(write.clone()).await.unwrap();
        writes.push(write);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    world.order(2, &new, true, LEASE);
    for write in [&writes[199], &writes[198], &writes[100], &writes[0]] {
        let repeated = new.write(again(write)).await.unwrap_err();
        assert!(repeated.to_string().contains("not known any more"), "{repeated}");
    }

    assert_eq!(count(&world).await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_sent_again_while_it_is_under_way_is_acknowledged_only_when_it_is_durable() {
    let world = World::on_objects(TestClock::starting_at(START_MS));
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    let write = first(&world, 1, insert(&[1]));

    let (once, twice) = futures::join!(node.write(write.clone()), node.write(again(&write)));

    assert_eq!(once.unwrap(), twice.unwrap());
    assert_eq!(count(&world).await, 2, "the write, and the proof that it is durable");
}

#[tokio::test(start_paused = true)]
async fn requests_are_forgotten_after_a_while_and_no_repeat_is_guessed_at() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    let (write, unsent) = (first(&world, 1, insert(&[1])), first(&world, 2, insert(&[2])));
    node.write(write.clone()).await.unwrap();

    tokio::time::sleep(Duration::from_secs(61)).await;
    node.write(first(&world, 3, insert(&[3]))).await.unwrap();

    for write in [write, unsent] {
        let repeated = node.write(again(&write)).await.unwrap_err();
        assert!(repeated.to_string().contains("not known any more"), "{repeated}");
    }
    assert_eq!(count(&world).await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_rows_under_the_same_name_are_added_once_whichever_owner_is_asked() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    // Each is a call of its own, so each has a request of its own.
    let numbers = std::cell::Cell::new(0);
    let call = |name, write| {
        numbers.set(numbers.get() + 1);
        named(name, first(&world, numbers.get(), write))
    };

    let written = old.write(call(1, insert(&[1]))).await.unwrap();
    let repeated = old.write(call(1, insert(&[1]))).await;
    old.write(call(1, insert(&[2]))).await.unwrap();
    let before_another = old.write(call(1, insert(&[1]))).await;
    old.write(call(2, insert(&[1]))).await.unwrap();
    old.write(first(&world, 99, insert(&[1]))).await.unwrap();
    world.order(2, &new, true, LEASE);
    tokio::time::sleep(Duration::from_secs(400)).await;
    let elsewhere = new.write(call(1, insert(&[1]))).await;

    assert_eq!([repeated, before_another, elsewhere], [Ok(written), Ok(written), Ok(written)]);
    assert_eq!(inserts(&world).await, 4, "1 and 2 under the first name, 1 under the second, 1 without");
}

/// How logs are read.
#[derive(Clone, Copy)]
enum Reads {
    /// As they are.
    Usual,
    /// Each beginning takes so long.
    Take(Duration),
    /// They cannot be.
    Fail,
}

/// Logs that are slow to read or cannot be read now and then, though they can be written.
struct Hindered(Arc<dyn Logs>, Arc<Mutex<Reads>>);

impl Hindered {
    /// A world with such logs, and what says how they are read.
    fn world() -> (World, Arc<Mutex<Reads>>) {
        let (mut world, reads) = (world(), Arc::new(Mutex::new(Reads::Usual)));
        world.logs = Arc::new(Self(Arc::clone(&world.logs), Arc::clone(&reads)));
        (world, reads)
    }
}

#[async_trait::async_trait]
impl Logs for Hindered {
    async fn open(&self, name: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, LogError> {
        self.0.open(name, term).await
    }

    async fn read(&self, name: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        let reads = *self.1.lock();
        match reads {
            Reads::Usual => {}
            Reads::Take(time) => tokio::time::sleep(time).await,
            Reads::Fail => return Err(LogError::Stopped { channel: name.clone() }),
        }
        self.0.read(name, from).await
    }

    async fn truncate(&self, name: &ChannelName, before: Position) -> Result<(), LogError> {
        self.0.truncate(name, before).await
    }

    async fn remove(&self, name: &ChannelName) -> Result<(), LogError> {
        self.0.remove(name).await
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, LogError> {
        self.0.channels().await
    }
}

/// A channel that the second of two nodes has opened, after the first had done insert 1, with what was said of that.
async fn taken_over() -> (World, Arc<Mutex<Reads>>, [Arc<ChannelWriter>; 2], Written) {
    let (world, reads) = Hindered::world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let written = old.write(named(1, insert(&[1]))).await.unwrap();
    world.order(2, &new, true, LEASE);
    // The channel is open by then.
    new.write(insert(&[2])).await.unwrap();
    (world, reads, [old, new], written)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_new_under_a_name_while_the_log_cannot_be_read() {
    let (world, reads, [_old, new], written) = taken_over().await;
    *reads.lock() = Reads::Fail;
    let refused = new.write(named(1, insert(&[1]))).await.unwrap_err();
    new.write(insert(&[3])).await.unwrap();
    *reads.lock() = Reads::Usual;
    let repeated = new.write(named(1, insert(&[1]))).await;

    assert_eq!((refused.kind(), repeated, inserts(&world).await), (Kind::Unavailable, Ok(written), 3));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_waits_as_long_as_the_log_takes_to_be_read_is_answered_and_adds_nothing_twice() {
    let (world, reads, [_old, new], written) = taken_over().await;
    *reads.lock() = Reads::Take(Duration::from_secs(1));

    let began = tokio::time::Instant::now();
    let answer = loop {
        let call = new.write(named(1, insert(&[1])));
        if let Ok(answer) = tokio::time::timeout(Duration::from_millis(350), call).await {
            break answer;
        }
    };
    let took = began.elapsed();

    *reads.lock() = Reads::Usual;
    assert_eq!((answer, inserts(&world).await), (Ok(written), 2));
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_an_earlier_owner_took_is_answered_however_short_its_client_waits() {
    let (world, reads) = Hindered::world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let write = first(&world, 1, insert(&[1]));
    let written = old.write(write.clone()).await.unwrap();
    world.order(2, &new, true, LEASE);
    new.write(insert(&[2])).await.unwrap();
    *reads.lock() = Reads::Take(Duration::from_secs(1));

    let mut answer = None;
    for _ in 0..20 {
        let call = new.write(again(&write));
        answer = answer.or(tokio::time::timeout(Duration::from_millis(350), call).await.ok());
    }

    *reads.lock() = Reads::Usual;
    assert_eq!((answer, inserts(&world).await), (Some(Ok(written)), 2));
}

#[tokio::test(start_paused = true)]
async fn names_are_known_of_earlier_owners_although_the_present_one_has_forgotten_requests() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let written = old.write(named(1, insert(&[1]))).await.unwrap();
    world.order(2, &new, true, LEASE);
    new.write(insert(&[2])).await.unwrap();
    // Later than the channel was opened, so that nothing is read back for these.
    tokio::time::sleep(Duration::from_secs(2)).await;
    new.write(first(&world, 1, insert(&[3]))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    new.write(first(&world, 2, insert(&[4]))).await.unwrap();

    let repeated = new.write(named(1, insert(&[1]))).await;

    assert_eq!((repeated, inserts(&world).await), (Ok(written), 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_log_that_is_given_up_while_it_is_read_back_is_known_by_its_name() {
    let (world, reads) = Hindered::world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    old.write(named(1, insert(&[1]))).await.unwrap();
    let kept = old.write(named(2, insert(&[2]))).await.unwrap();
    world.order(2, &new, true, LEASE);
    new.write(insert(&[3])).await.unwrap();
    *reads.lock() = Reads::Take(Duration::from_secs(1));

    // After it was looked where to begin, and before it is begun there.
    let truncated = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        world.logs.truncate(&channel(), Position(1)).await
    };
    let (repeated, truncated) = futures::join!(new.write(named(2, insert(&[2]))), truncated);

    truncated.unwrap();
    assert_eq!(repeated, Ok(kept));
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_under_a_name_can_be_added_again_under_it() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    for write in [insert(&[1]), delete(&[1]), insert(&[1]), insert(&[1])] {
        old.write(named(1, write)).await.unwrap();
    }
    assert_eq!(inserts(&world).await, 2);
    // Whoever removes them, and under whatever name.
    let removal = first(&world, 99, delete(&[1]));
    old.write(removal).await.unwrap();

    world.order(2, &new, true, LEASE);
    new.write(named(1, insert(&[1]))).await.unwrap();
    new.write(named(1, insert(&[1]))).await.unwrap();

    assert_eq!(inserts(&world).await, 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_sealed_is_known_by_its_name_until_all_of_the_collection_was_dropped() {
    let world = world();
    let (old, new) = (world.node(1, Arc::clone(&world.clock)), world.node(2, Arc::clone(&world.clock)));
    world.order(1, &old, true, LEASE);
    let first = old.write(named(1, insert(&[1]))).await.unwrap();
    let second = old.write(named(2, insert(&[2]))).await.unwrap();
    old.flush(&channel()).await.unwrap();
    let third = old.write(named(3, insert(&[3]))).await.unwrap();
    let by_the_same = old.write(named(1, insert(&[1]))).await;

    world.order(2, &new, true, LEASE);
    let by_the_next = new.write(named(2, insert(&[2]))).await;
    // After both were opened.
    world.leader.known.lock().manifest.emptied = second.at;
    let dropped = new.write(named(2, insert(&[2]))).await.unwrap();
    let added = new.write(named(2, insert(&[2]))).await;
    let kept = new.write(named(3, insert(&[3]))).await;

    assert_eq!((by_the_same, by_the_next, kept), (Ok(first), Ok(second), Ok(third)));
    assert!(dropped.at > third.at, "{dropped:?} is another than {second:?}");
    assert_eq!(added, Ok(dropped));
}

#[tokio::test(start_paused = true)]
async fn the_log_keeps_what_is_sealed_as_long_as_its_names_are_looked_for_whoever_owns_it() {
    let world = world();
    world.leader.known.lock().followed.needs_from = Some(Position(u64::MAX));
    let nodes: Vec<_> = (1..=3).map(|node| world.node(node, Arc::clone(&world.clock))).collect();
    let mut answers = Vec::new();
    for (number, node) in (1..).zip(&nodes) {
        world.order(number, node, true, Duration::from_secs(3_600));
        // Nothing of this is looked for, and what was sealed before is all that could be.
        node.write(insert(&[number])).await.unwrap();
        node.flush(&channel()).await.unwrap();
        node.ask_followers().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        node.truncate_sealed().await;
        answers.push(node.write(named(1, insert(&[0]))).await.unwrap());
        node.flush(&channel()).await.unwrap();
    }
    assert_eq!(answers, [answers[0]; 3]);

    tokio::time::sleep(Duration::from_secs(600)).await;
    nodes[2].truncate_sealed().await;
    let gone = world.logs.read(&channel(), Position(0)).await.err();
    assert!(matches!(gone, Some(LogError::Truncated { .. })), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_takes_effect_after_the_time_at_which_it_was_sent() {
    let world = world();
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    let since = Timestamp::from_unix_ms(world.clock.unix_ms() + 3_000);
    let request = Some(Request { id: RequestId(1), since, is_repeat: false });

    // The coordinator is ahead of what this owner has heard of it.
    let written = node.write(Write { request, ..insert(&[1]) }).await.unwrap();

    assert_eq!(written.at, since.next());
}
