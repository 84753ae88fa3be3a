//! One open channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::{ChannelName, CollectionId, NodeTime, Position, Timestamp};
use crate::log::{LogWriter, record};
use crate::model::DataType;
use crate::rpc::{Followed, Mark};
use crate::writer::Error;
use crate::writer::pressure::Unsealed;

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
    /// Sealed data reaches to this position.
    pub checkpoint: Position,
    /// The log reached to this position.
    pub end: Position,
    /// No earlier owner gave or showed a later time than this.
    pub newest: Timestamp,
}

/// One channel that this process may write to.
pub struct Channel {
    /// What is known of it.
    pub of: Opened,
    log: Arc<dyn LogWriter>,
    time: Arc<NodeTime>,
    /// The time of the last record; held from taking a time to taking a position, so that both have one order.
    ordering: Mutex<Timestamp>,
    /// Position after the last acknowledged record.
    durable_end: AtomicU64,
    /// The latest time that the next owner finds in the log, or knows of as this one does.
    durable_at: AtomicU64,
    /// One flush at a time; has the checkpoint that the next one starts from.
    pub flushing: tokio::sync::Mutex<Position>,
    /// What a flush would seal.
    pub unsealed: Mutex<Unsealed>,
    /// How those who follow it are doing.
    pub followed: Mutex<Followed>,
    /// Sealed stretches of the log that may go, oldest first: up to which position, and since when, on the monotonic clock.
    pub sealed: Mutex<VecDeque<(Position, Duration)>>,
    closed: CancellationToken,
    /// Says so when nobody has this any more.
    _closing: DropGuard,
}

impl Channel {
    /// A channel that was just opened.
    pub fn new(of: Opened, log: Arc<dyn LogWriter>, time: Arc<NodeTime>, now: Duration) -> Self {
        // Everything found in the log at opening is durable and counts as acknowledged.
        let (durable_end, durable_at) = (AtomicU64::new(of.end.0), AtomicU64::new(of.newest.0));
        let (ordering, flushing) = (Mutex::new(of.newest), tokio::sync::Mutex::new(of.checkpoint));
        // How large a rest is shows when it is sealed; that it is there is enough for its age to count.
        let is_rest = of.end > of.checkpoint;
        let unsealed = Mutex::new(Unsealed { bytes: u64::from(is_rest), since: is_rest.then_some(now) });
        let (followed, sealed) = (Mutex::default(), Mutex::default());
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        Self {
            of,
            log,
            time,
            ordering,
            durable_end,
            durable_at,
            flushing,
            unsealed,
            followed,
            sealed,
            closed,
            _closing: guard,
        }
    }

    /// Cancelled once this channel is closed. Who waits for that must not hold the channel.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// The position after the last acknowledged record.
    pub fn durable_end(&self) -> Position {
        Position(self.durable_end.load(Ordering::Acquire))
    }

    /// Notes that a step of a flush has sealed a stretch of the log, in which it read `bytes` of records that came since
    /// the channel was opened. `began` is set if what is left came after that.
    pub fn note_sealed(
        &self,
        from: Position,
        to: Position,
        bytes: u64,
        began: Option<Duration>,
        now: Duration,
    ) {
        let is_rest = (from..to).contains(&Position(self.of.end.0.saturating_sub(1)));
        let mut unsealed = self.unsealed.lock();
        unsealed.bytes = unsealed.bytes.saturating_sub(bytes + u64::from(is_rest && unsealed.bytes > 0));
        unsealed.since = began.or(unsealed.since).filter(|_| unsealed.bytes > 0);
        drop(unsealed);
        self.sealed.lock().push_back((to, now));
    }

    /// How far the channel has come. Says nothing about whether this process still owns it.
    pub fn mark(&self) -> Mark {
        let mut last = self.ordering.lock();
        // Every record that has a time has its position too, acknowledged or not.
        let at = self.time.next().max(*last);
        *last = at;
        Mark { end: self.log.next_position(), at }
    }

    /// Whether the next owner is sure to begin after this mark although the log has nothing of it: not on a node that goes
    /// ahead of the coordinator's time, by which that owner begins.
    pub fn is_bounded(&self, mark: &Mark) -> bool {
        let durable = Timestamp(self.durable_at.load(Ordering::Acquire));
        mark.at <= durable.max(self.time.reckoned().plus_ms(AHEAD_MS))
    }

    /// Gives an encoded record its time, appends it and waits until it is durable.
    ///
    /// # Errors
    /// If the log fails. Not cancel safe: a dropped call may have written.
    pub async fn write(&self, mut encoded: BytesMut, now: Duration) -> Result<Timestamp, Error> {
        let bytes = encoded.len() as u64;
        let (at, appending) = {
            let mut last = self.ordering.lock();
            let at = self.time.next().max(last.next());
            record::stamp(&mut encoded, at);
            let payload: Bytes = encoded.freeze();
            let appending = self.log.append(payload).map_err(|source| self.append_failed(source))?;
            *last = at;
            (at, appending)
        };
        {
            let mut unsealed = self.unsealed.lock();
            unsealed.bytes += bytes;
            unsealed.since.get_or_insert(now);
        }
        let position = appending.durable().await.map_err(|source| self.append_failed(source))?;
        self.durable_end.fetch_max(position.next().0, Ordering::AcqRel);
        self.durable_at.fetch_max(at.0, Ordering::AcqRel);
        Ok(at)
    }

    fn append_failed(&self, source: crate::log::Error) -> Error {
        Error::Append { channel: self.of.name.clone(), source }
    }

    /// The coordinator failed us.
    pub fn no_help(&self, source: crate::rpc::Error) -> Error {
        Error::Coordinate { channel: self.of.name.clone(), source }
    }
}
