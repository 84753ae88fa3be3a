//! One open channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::base::{ChannelName, CollectionId, Position, Timestamp};
use crate::log::{LogWriter, record};
use crate::rpc::Coord;
use crate::writer::Error;

/// What has not been sealed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// Bytes of log records.
    pub bytes: u64,
    /// When the oldest of them was written, on the monotonic clock.
    pub since: Option<Duration>,
}

/// One channel that this process may write to.
pub struct Channel {
    /// Its name.
    pub name: ChannelName,
    /// Whose it is.
    pub collection: CollectionId,
    log: Arc<dyn LogWriter>,
    /// Held from taking a timestamp to taking a position, so that both have one order.
    ordering: tokio::sync::Mutex<()>,
    /// Position after the last acknowledged record.
    durable_end: AtomicU64,
    /// One flush at a time; has the checkpoint that the next one starts from.
    pub flushing: tokio::sync::Mutex<Position>,
    /// What a flush would seal.
    pub unsealed: Mutex<Unsealed>,
}

impl Channel {
    /// A channel whose sealed data reaches to `checkpoint`.
    pub fn new(
        name: ChannelName,
        collection: CollectionId,
        log: Arc<dyn LogWriter>,
        checkpoint: Position,
    ) -> Self {
        // Everything found in the log at opening is durable and counts as acknowledged.
        let durable_end = AtomicU64::new(log.next_position().0);
        Self {
            name,
            collection,
            log,
            ordering: tokio::sync::Mutex::new(()),
            durable_end,
            flushing: tokio::sync::Mutex::new(checkpoint),
            unsealed: Mutex::new(Unsealed::default()),
        }
    }

    /// The position after the last acknowledged record.
    pub fn durable_end(&self) -> Position {
        Position(self.durable_end.load(Ordering::Acquire))
    }

    /// Gives an encoded record its timestamp, appends it and waits until it is durable.
    ///
    /// # Errors
    /// If no timestamp is to be had or the log fails. Not cancel safe: a dropped call may have written.
    pub async fn write(
        &self,
        mut encoded: BytesMut,
        coord: &dyn Coord,
        now: Duration,
    ) -> Result<Timestamp, Error> {
        let bytes = encoded.len() as u64;
        let (at, appending) = {
            let _ordered = self.ordering.lock().await;
            let at = coord.allocate_timestamps(1).await.map_err(|source| self.no_help(source))?;
            record::stamp(&mut encoded, at);
            let payload: Bytes = encoded.freeze();
            let appending = self.log.append(payload).map_err(|source| self.append_failed(source))?;
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
        Error::Append { channel: self.name.clone(), source }
    }

    /// The coordinator failed us.
    pub fn no_help(&self, source: crate::rpc::Error) -> Error {
        Error::Coordinate { channel: self.name.clone(), source }
    }
}
