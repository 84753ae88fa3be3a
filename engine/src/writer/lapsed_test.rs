//! Claims about what an owner says of its channels while their log takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;

use super::ChannelWriter;
use super::fixture::{World, channel, insert};
use crate::base::{ChannelName, Kind, Kinded as _, Position, TestClock};
use crate::log::{Acknowledge, Appending, Error as LogError, LogReader, LogWriter, Logs};
use crate::rpc::{Error, Writer as _, Written};

const START_MS: u64 = 1_700_000_000_000;
const LEASE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Appends are neither taken nor refused.
    Hangs,
    Away,
}

/// Logs that take no appends for a while.
struct Moody {
    inner: Arc<dyn Logs>,
    state: Arc<State>,
}

struct State {
    mood: Mutex<Mood>,
    hanging: Mutex<Vec<Hanging>>,
    count: AtomicU64,
}

struct Hanging {
    to: Arc<dyn LogWriter>,
    payload: Bytes,
    acknowledge: Acknowledge,
}

impl State {
    /// What hangs fails, and so does every call until the log is well again. `lands` if it is in the log all the same.
    fn fail(&self, lands: bool) {
        *self.mood.lock() = Mood::Away;
        self.count.store(0, Ordering::SeqCst);
        for Hanging { to, payload, acknowledge } in self.hanging.lock().drain(..) {
            if lands {
                drop(to.append(payload));
            }
            acknowledge.settle(Err(LogError::Stopped { channel: channel() }));
        }
    }

    fn is(&self, mood: Mood) -> bool {
        *self.mood.lock() == mood
    }
}

struct MoodyWriter {
    inner: Arc<dyn LogWriter>,
    state: Arc<State>,
}

impl LogWriter for MoodyWriter {
    fn append(&self, payload: Bytes) -> Result<Appending, LogError> {
        if self.state.is(Mood::Away) {
            return Err(LogError::Stopped { channel: channel() });
        }
        if self.state.is(Mood::Well) {
            return self.inner.append(payload);
        }
        let (appending, acknowledge) = Appending::begin(channel(), self.next_position());
        self.state.count.fetch_add(1, Ordering::SeqCst);
        self.state.hanging.lock().push(Hanging { to: Arc::clone(&self.inner), payload, acknowledge });
        Ok(appending)
    }

    fn next_position(&self) -> Position {
        Position(self.inner.next_position().0 + self.state.count.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Logs for Moody {
    async fn open(&self, name: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, LogError> {
        if !self.state.is(Mood::Well) {
            return Err(LogError::Stopped { channel: name.clone() });
        }
        let inner = self.inner.open(name, term).await?;
        Ok(Arc::new(MoodyWriter { inner, state: Arc::clone(&self.state) }))
    }

    async fn read(&self, name: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        self.inner.read(name, from).await
    }

    async fn truncate(&self, name: &ChannelName, before: Position) -> Result<(), LogError> {
        self.inner.truncate(name, before).await
    }

    async fn remove(&self, name: &ChannelName) -> Result<(), LogError> {
        self.inner.remove(name).await
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, LogError> {
        self.inner.channels().await
    }
}

/// The owner of the channel, and what its log does.
fn owner() -> (World, Arc<State>, Arc<ChannelWriter>) {
    let mut world = World::new(TestClock::starting_at(START_MS));
    let state =
        Arc::new(State { mood: Mutex::new(Mood::Well), hanging: Mutex::default(), count: AtomicU64::new(0) });
    world.logs = Arc::new(Moody { inner: Arc::clone(&world.logs), state: Arc::clone(&state) });
    let node = world.node(1, Arc::clone(&world.clock));
    world.order(1, &node, true, LEASE);
    (world, state, node)
}

/// A write that the log neither takes nor refuses.
fn hanging<'a>(node: &'a ChannelWriter, log: &State) -> BoxFuture<'a, Result<Written, Error>> {
    *log.mood.lock() = Mood::Hangs;
    let mut write = node.write(insert(&[2])).boxed();
    assert!((&mut write).now_or_never().is_none());
    write
}

#[tokio::test(start_paused = true)]
async fn a_mark_does_not_wait_for_a_write_that_is_under_way_and_says_that_its_time_is_open() {
    let (_world, log, node) = owner();
    let first = node.write(insert(&[1])).await.unwrap();

    let _hanging = hanging(&node, &log);
    let mark = node.mark(&channel()).await.unwrap();

    assert_eq!((mark.end, mark.at), (Position(1), first.at));
    assert!(mark.now > first.at, "{} is not later than {}", mark.now, first.at);
}

#[tokio::test(start_paused = true)]
async fn while_its_log_is_away_an_owner_marks_what_was_acknowledged_as_long_as_nobody_else_can_be_owner() {
    let (world, log, node) = owner();
    let first = node.write(insert(&[1])).await.unwrap();
    let hanging = hanging(&node, &log);

    log.fail(true);
    assert_eq!(hanging.await.unwrap_err().kind(), Kind::Unavailable);
    let away = node.mark(&channel()).await.unwrap();
    assert_eq!(node.write(insert(&[3])).await.unwrap_err().kind(), Kind::Unavailable);
    tokio::time::sleep(LEASE).await;
    let without_a_lease = node.mark(&channel()).await;
    world.order(1, &node, true, LEASE);
    let again = node.mark(&channel()).await.unwrap();

    *log.mood.lock() = Mood::Well;
    let fourth = node.write(insert(&[4])).await.unwrap();
    let well = node.mark(&channel()).await.unwrap();

    // The second write is in the log after all: later than all that was said of the channel before it was known.
    assert_eq!([away.end, again.end, well.end], [Position(1), Position(1), Position(3)]);
    assert_eq!([away.at, again.at], [first.at; 2]);
    assert_eq!(without_a_lease.unwrap_err().kind(), Kind::Unavailable);
    assert!(again.now < fourth.at && fourth.at <= well.at);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_was_shown_lies_before_every_later_mark_although_its_writer_never_heard_of_it() {
    let (_world, log, node) = owner();
    node.write(insert(&[1])).await.unwrap();
    let mut tail = node.tail(&channel(), Position(1)).await.unwrap();
    let hanging = hanging(&node, &log);

    log.fail(true);
    let (position, _) = tail.next().await.unwrap().unwrap();
    assert_eq!(hanging.await.unwrap_err().kind(), Kind::Unavailable);
    let mark = node.mark(&channel()).await.unwrap();

    assert_eq!((position, mark.end), (Position(1), Position(2)));
}

#[tokio::test(start_paused = true)]
async fn an_owner_without_a_log_that_is_owner_no_more_says_nothing() {
    let (world, log, node) = owner();
    node.write(insert(&[1])).await.unwrap();
    log.fail(false);
    assert_eq!(node.write(insert(&[2])).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(node.mark(&channel()).await.unwrap().end, Position(1));

    // Both orders come before it has looked after its channels.
    world.order(1, &node, false, LEASE);
    let replaced = node.mark(&channel()).await.unwrap_err();
    world.order(1, &node, true, LEASE);
    let owner_again = node.mark(&channel()).await.unwrap_err();

    assert!(replaced.is_stale(), "{replaced}");
    assert_eq!(owner_again.kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn followers_get_what_was_acknowledged_and_no_more_while_the_log_takes_nothing() {
    let (_world, log, node) = owner();
    node.write(insert(&[1])).await.unwrap();
    let begun = node.tail(&channel(), Position(0)).await.unwrap();

    log.fail(false);
    assert_eq!(node.write(insert(&[2])).await.unwrap_err().kind(), Kind::Unavailable);
    let anew = node.tail(&channel(), Position(0)).await.unwrap();

    for tail in [begun, anew] {
        let positions: Vec<_> = tail.map(|record| record.unwrap().0).collect().await;
        assert_eq!(positions, [Position(0)]);
    }
}
