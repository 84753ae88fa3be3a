//! The duty that owns channels.

use std::sync::Arc;

use async_trait::async_trait;

use super::Error;
use crate::base::{ChannelName, CollectionId, PartitionId, Position, Timestamp};
use crate::model::{Batch, Keys};

/// What to do to a channel. Each takes effect as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Adds rows; keys that exist already get one more row.
    Insert {
        /// Where the rows go.
        partition: PartitionId,
        /// Whole rows, in the schema's column order.
        rows: Arc<Batch>,
    },
    /// Hides all rows of these keys that exist now.
    Delete {
        /// Only in this partition, or in all.
        partition: Option<PartitionId>,
        /// The keys.
        keys: Arc<Keys>,
    },
    /// Hides all rows of `replaced`, then adds `rows`, at one instant.
    Upsert {
        /// Where the rows go.
        partition: PartitionId,
        /// Keys whose older rows go away.
        replaced: Arc<Keys>,
        /// Whole rows, in the schema's column order.
        rows: Arc<Batch>,
    },
}

/// One write to one channel.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose channel it is.
    pub collection: CollectionId,
    /// The channel.
    pub channel: ChannelName,
    /// What to do.
    pub operation: Operation,
}

/// Answer to a write: it is durable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The instant at which the write took effect.
    pub at: Timestamp,
}

/// The duty that owns channels: order, durability, flush.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Writes durably. Not cancel safe: a dropped call may or may not have taken effect.
    ///
    /// # Errors
    /// Nothing was acknowledged; whether it took effect is unknown unless the kind is `Invalid` or `NotFound`.
    async fn write(&self, write: Write) -> Result<Written, Error>;

    /// Seals everything written to the collection before the call and returns once that is committed.
    ///
    /// # Errors
    /// Whatever kept a channel from being sealed; channels sealed before it stay sealed.
    async fn flush(&self, collection: CollectionId) -> Result<(), Error>;

    /// The position after the last durable write to a channel: who has applied everything before it sees every write
    /// acknowledged before the call.
    ///
    /// # Errors
    /// If the channel cannot be opened.
    async fn durable_end(&self, channel: &ChannelName) -> Result<Position, Error>;

    /// Gives up the channels of a collection that was dropped and removes their logs.
    ///
    /// # Errors
    /// If a log cannot be removed; calling again is safe.
    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error>;
}
