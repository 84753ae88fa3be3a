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
use crate::rpc::Mark;
use crate::writer::Error;

/// What has not been sealed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// Bytes of log records.
    pub bytes: u64,
    /// When the oldest of them was written, on the monotonic clock.
    pub since: Option<Duration>,
}

/// What is known of a channel when it is opened.
pub struct Opened {
    /// Its name.
    pub name: ChannelName,
    /// Whose it is.
    pub collection: CollectionId,
    /// Type of the collection's keys.
    pub primary: DataType,
    /// Sealed data reaches to this position.
    pub checkpoint: Position,
    /// The latest time in the channel.
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
    /// One flush at a time; has the checkpoint that the next one starts from.
    pub flushing: tokio::sync::Mutex<Position>,
    /// What a flush would seal.
    pub unsealed: Mutex<Unsealed>,
    /// Sealed stretches of the log that may go, oldest first: up to which position, and since when, on the monotonic clock.
    pub sealed: Mutex<VecDeque<(Position, Duration)>>,
    closed: CancellationToken,
    /// Says so when nobody has this any more.
    _closing: DropGuard,
}

impl Channel {
    /// A channel that was just opened.
    pub fn new(of: Opened, log: Arc<dyn LogWriter>, time: Arc<NodeTime>) -> Self {
        // Everything found in the log at opening is durable and counts as acknowledged.
        let durable_end = AtomicU64::new(log.next_position().0);
        let (ordering, flushing) = (Mutex::new(of.newest), tokio::sync::Mutex::new(of.checkpoint));
        let (unsealed, sealed) = (Mutex::default(), Mutex::default());
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        Self { of, log, time, ordering, durable_end, flushing, unsealed, sealed, closed, _closing: guard }
    }

    /// Cancelled once this channel is closed. Who waits for that must not hold the channel.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// The position after the last acknowledged record.
    pub fn durable_end(&self) -> Position {
        Position(self.durable_end.load(Ordering::Acquire))
    }

    /// The position before which the log has been sealed for `pause` or longer; each is given once.
    pub fn outlived(&self, pause: Duration, now: Duration) -> Option<Position> {
        let mut sealed = self.sealed.lock();
        let mut outlived = None;
        while let Some((position, _)) = sealed.pop_front_if(|(_, since)| now.saturating_sub(*since) >= pause)
        {
            outlived = Some(position);
        }
        outlived
    }

    /// How far the channel has come. Says nothing about whether this process still owns it.
    pub fn mark(&self) -> Mark {
        let mut last = self.ordering.lock();
        // Every record that has a time has its position too, acknowledged or not.
        let at = self.time.next().max(*last);
        *last = at;
        Mark { end: self.log.next_position(), at }
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
