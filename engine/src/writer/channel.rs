//! One open channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::{ChannelName, CollectionId, NAMED_MS, NodeTime, Position, Timestamp};
use crate::log::{LogWriter, record};
use crate::model::DataType;
use crate::rpc::{Followed, Mark, Request};
use crate::writer::Error;
use crate::writer::former::Reached;
use crate::writer::pressure::{Sealed, Unsealed};
use crate::writer::requests::{Known, Place, Requests, Signed};

/// How much later than the coordinator's time a mark may be that the log does not prove. A node is ahead of it by what an
/// answer takes to come, each time anew.
pub const AHEAD_MS: u64 = 50;

/// What is known of a channel when it is opened.
pub struct Opened {
    /// Its name.
    pub name: ChannelName,
    /// Whose it is.
    pub collection: CollectionId,
    /// The term of its log.
    pub term: u64,
    /// Type of the collection's keys.
    pub primary: DataType,
    /// Its place among those of the collection; `None` if it is none of them any more.
    pub shard: Option<usize>,
    /// Sealed data reaches to this position.
    pub checkpoint: Position,
    /// The newest time of a sealed insert that its client has named.
    pub named_through: Timestamp,
    /// The log reached to this position.
    pub end: Position,
    /// No earlier owner gave or showed a later time than this.
    pub newest: Timestamp,
}

/// A write as it goes into the log.
pub struct Entry {
    /// The record, without its time.
    pub bytes: BytesMut,
    /// What it says of where it comes from.
    pub signed: Signed,
    /// Which request it is of; `None` for one that nobody sends again.
    pub request: Option<Request>,
}

impl Entry {
    /// A time before that of its record, wherever that is.
    pub fn since(&self) -> Timestamp {
        self.request.map_or(Timestamp::ZERO, |request| request.since)
    }

    /// Whether it was sent before.
    pub fn is_repeat(&self) -> bool {
        self.request.is_some_and(|request| request.is_repeat)
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and took effect at this time.
    Done(Timestamp),
    /// It is in the log from an earlier try, durable or on the way to it.
    Before(Place),
}

/// How far a channel's log is known to be durable. Outlives the opening of the channel: what was acknowledged stays so while the log
/// is away.
#[derive(Debug)]
pub struct Progress {
    /// Position after the last record that is known to be durable: one that was acknowledged, or that somebody who follows has seen.
    end: AtomicU64,
    /// The latest time that the next owner finds in the log, or knows of as this one does.
    at: AtomicU64,
}

impl Progress {
    fn new(end: Position, at: Timestamp) -> Self {
        Self { end: AtomicU64::new(end.0), at: AtomicU64::new(at.0) }
    }

    /// Notes that the record at `position`, of the time `at`, is durable, and with it every one before.
    pub fn note(&self, position: Position, at: Timestamp) {
        self.end.fetch_max(position.next().0, Ordering::AcqRel);
        self.at.fetch_max(at.0, Ordering::AcqRel);
    }

    /// The position after the last record that is known to be durable.
    pub fn end(&self) -> Position {
        Position(self.end.load(Ordering::Acquire))
    }

    fn at(&self) -> Timestamp {
        Timestamp(self.at.load(Ordering::Acquire))
    }

    /// What is certain at `now` whatever becomes of records that are under way.
    pub fn mark(&self, now: Timestamp) -> Mark {
        // In this order: an end that is noted in between is later than the time.
        let at = self.at();
        Mark { end: self.end(), at, now: now.max(at) }
    }
}

/// What has one order with the log.
struct Order {
    /// The time of the last record.
    last: Timestamp,
    /// What the log holds.
    requests: Requests,
}

/// One channel that this process may write to.
pub struct Channel {
    /// What is known of it.
    pub of: Opened,
    log: Arc<dyn LogWriter>,
    time: Arc<NodeTime>,
    /// Held from taking a time to taking a position, so that both have one order.
    ordering: Mutex<Order>,
    /// How far back it is known which requests the log holds.
    pub reached: tokio::sync::Mutex<Reached>,
    /// Whether names of calls were looked for in what earlier owners wrote.
    pub knows_names: AtomicBool,
    progress: Arc<Progress>,
    /// One flush at a time; has the checkpoint that the next one starts from.
    pub flushing: tokio::sync::Mutex<Position>,
    /// What a flush would seal.
    pub unsealed: Mutex<Unsealed>,
    /// How those who follow it are doing.
    pub followed: Mutex<Followed>,
    /// Sealed stretches of the log that may go, oldest first.
    pub sealed: Mutex<VecDeque<Sealed>>,
    /// Records before this position are sealed.
    sealed_to: AtomicU64,
    closed: CancellationToken,
    /// Says so when nobody has this any more.
    _closing: DropGuard,
}

impl Channel {
    /// A channel that was just opened.
    pub fn new(of: Opened, log: Arc<dyn LogWriter>, time: Arc<NodeTime>, now: Duration) -> Self {
        // Everything found in the log at opening is durable and counts as acknowledged.
        let progress = Arc::new(Progress::new(of.end, of.newest));
        let order = Order { last: of.newest, requests: Requests::new(of.newest) };
        let reached = Reached { from: of.end, floor: of.newest, is_all: false };
        let (ordering, flushing) = (Mutex::new(order), tokio::sync::Mutex::new(of.checkpoint));
        // How large a rest is shows when it is sealed; that it is there is enough for its age to count.
        let is_rest = of.end > of.checkpoint;
        let unsealed = Mutex::new(Unsealed { bytes: u64::from(is_rest), since: is_rest.then_some(now) });
        // What an earlier owner has sealed and kept for its names.
        let is_named = of.named_through > Timestamp::ZERO && of.named_through.plus_ms(NAMED_MS) > of.newest;
        let kept = is_named.then_some(Sealed { to: of.checkpoint, since: now, is_named });
        let (followed, sealed) = (Mutex::default(), Mutex::new(VecDeque::from_iter(kept)));
        let sealed_to = AtomicU64::new(of.checkpoint.0);
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        Self {
            of,
            log,
            time,
            ordering,
            reached: tokio::sync::Mutex::new(reached),
            knows_names: AtomicBool::new(false),
            progress,
            flushing,
            unsealed,
            followed,
            sealed,
            sealed_to,
            closed,
            _closing: guard,
        }
    }

    /// Cancelled once this channel is closed. Who waits for that must not hold the channel.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// How far its log is known to be durable; goes on without the channel.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// The position after the last record that is known to be durable.
    pub fn durable_end(&self) -> Position {
        self.progress.end()
    }

    /// How many bytes of records a step of a flush that begins at `from` has, at most `most`.
    pub fn step_bytes(&self, from: Position, most: u64) -> u64 {
        // What earlier owners wrote is not counted.
        if from < self.of.end { most } else { most.min(self.unsealed.lock().bytes) }
    }

    /// Notes that a step of a flush has sealed a stretch of the log from `from` on, in which it read `bytes` of records that came
    /// since the channel was opened. `began` is set if what is left came after that.
    pub fn note_sealed(&self, from: Position, bytes: u64, began: Option<Duration>, sealed: Sealed) {
        let is_rest = (from..sealed.to).contains(&Position(self.of.end.0.saturating_sub(1)));
        let mut unsealed = self.unsealed.lock();
        unsealed.bytes = unsealed.bytes.saturating_sub(bytes + u64::from(is_rest && unsealed.bytes > 0));
        unsealed.since = began.or(unsealed.since).filter(|_| unsealed.bytes > 0);
        drop(unsealed);
        self.sealed_to.fetch_max(sealed.to.0, Ordering::AcqRel);
        self.sealed.lock().push_back(sealed);
    }

    /// Whether a record is sealed, as far as this owner knows.
    pub fn is_sealed(&self, place: &Place) -> bool {
        place.position.0 < self.sealed_to.load(Ordering::Acquire)
    }

    /// How far the channel has come. Says nothing about whether this process still owns it. What is under way is not waited for: it
    /// is later than the mark's time `at`, and a read that began before it was acknowledged may miss it.
    pub fn mark(&self) -> Mark {
        let mut order = self.ordering.lock();
        // Every record that has a time has its position too, acknowledged or not.
        let (now, end) = (self.time.next().max(order.last), self.log.next_position());
        order.last = now;
        if self.progress.end() >= end { Mark { end, at: now, now } } else { self.progress.mark(now) }
    }

    /// Whether the next owner is sure to begin after this mark although the log has nothing of it: not on a node that goes
    /// ahead of the coordinator's time, by which that owner begins.
    pub fn is_bounded(&self, mark: &Mark) -> bool {
        mark.at <= self.progress.at().max(self.time.reckoned().plus_ms(AHEAD_MS))
    }

    /// The time now, as this node has it.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// What is known of a write.
    pub fn known(&self, entry: &Entry) -> Known {
        self.ordering.lock().requests.find(&entry.signed, entry.since())
    }

    /// Whether requests of earlier owners may still be added.
    pub fn takes_former(&self) -> bool {
        self.ordering.lock().requests.takes_former()
    }

    /// From now on nothing that was inserted up to `at` passes for a call that its client makes again.
    pub fn clear_names(&self, at: Timestamp) {
        self.ordering.lock().requests.clear(at);
    }

    /// Adds requests of earlier owners, as [`Requests::note_former`] says.
    pub fn note_former(&self, former: &[(Signed, Place)], floor: Timestamp) {
        self.ordering.lock().requests.note_former(former, floor);
    }

    /// Gives an encoded record its time, appends it and waits until it is durable, unless the log has it already.
    ///
    /// # Errors
    /// If the log fails, or [`Error::Forgotten`] for a repeat of which nobody can tell whether the log has it. Not cancel safe:
    /// a dropped call may have written.
    pub async fn write(&self, entry: Entry, now: Duration) -> Result<Outcome, Error> {
        let bytes = entry.bytes.len() as u64;
        let (at, appending) = {
            let mut order = self.ordering.lock();
            match order.requests.find(&entry.signed, entry.since()) {
                Known::There(place) | Known::Named(place) => return Ok(Outcome::Before(place)),
                Known::Forgotten if entry.is_repeat() => return Err(self.forgotten()),
                Known::Forgotten | Known::Not => {}
            }
            // Later than when it was sent, so that its record is found by that.
            let at = self.time.next().max(order.last.next()).max(entry.since().next());
            let mut encoded = entry.bytes;
            record::stamp(&mut encoded, at);
            let payload: Bytes = encoded.freeze();
            let appending = self.log.append(payload).map_err(|source| self.append_failed(source))?;
            order.last = at;
            order.requests.note(&entry.signed, Place { position: appending.position, at });
            (at, appending)
        };
        {
            let mut unsealed = self.unsealed.lock();
            unsealed.bytes += bytes;
            unsealed.since.get_or_insert(now);
        }
        let position = appending.durable().await.map_err(|source| self.append_failed(source))?;
        self.progress.note(position, at);
        Ok(Outcome::Done(at))
    }

    /// Nobody can tell whether the log has a write.
    pub fn forgotten(&self) -> Error {
        Error::Forgotten { channel: self.of.name.clone() }
    }

    fn append_failed(&self, source: crate::log::Error) -> Error {
        Error::Append { channel: self.of.name.clone(), source }
    }

    /// The coordinator failed us.
    pub fn no_help(&self, source: crate::rpc::Error) -> Error {
        Error::Coordinate { channel: self.of.name.clone(), source }
    }
}
