//! The duty that owns channels.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use super::Error;
use crate::base::{ChannelName, CollectionId, PartitionId, Position, RequestId, Timestamp};
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

/// Which of all writes it is, so that it may be sent again and is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// A time that the coordinator had said before the write was first sent: the write takes effect later than that, if it
    /// does. Zero if it had said none.
    pub since: Timestamp,
    /// Whether it was sent before, and may have taken effect.
    pub is_repeat: bool,
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
    /// Which one it is; a router gives one to a write that has none.
    pub request: Option<Request>,
    /// What its client calls the call that it is of, if it says so. The owner takes the same insert under the same name for the
    /// one that it has done.
    pub client: Option<RequestId>,
}

impl Write {
    /// A write that nobody sends again.
    #[must_use]
    pub const fn new(collection: CollectionId, channel: ChannelName, operation: Operation) -> Self {
        Self { collection, channel, operation, request: None, client: None }
    }
}

/// Answer to a write: it is durable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The instant at which the write took effect.
    pub at: Timestamp,
}

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// Every write acknowledged before the call lies before this position.
    pub end: Position,
    /// Every write at or before this time lies before `end`, and every later write gets a later time. Less than `now` while writes are
    /// under way: whether they will be there, and of which time, is not decided.
    pub at: Timestamp,
    /// The owner's time when it was asked. Who comes with a time up to this one misses nothing before `end` that was acknowledged.
    pub now: Timestamp,
}

/// A walk along a channel's durable records, as the owner sends them.
pub type Tail = Pin<Box<dyn Stream<Item = Result<(Position, Bytes), Error>> + Send>>;

/// The duty that owns channels: order, durability, flush. Every call about a channel that the node does not own fails
/// with [`Error::is_stale`], and nothing was done.
#[async_trait]
pub trait Writer: Send + Sync + 'static {
    /// Writes durably; a write that is sent again takes effect once, and has the answer of the first time. Not cancel safe: a
    /// dropped call may or may not have taken effect.
    ///
    /// # Errors
    /// Nothing was acknowledged; whether it took effect is unknown unless the kind is `Invalid`, `NotFound` or
    /// [`Error::is_stale`], which of a repeat say only that it took no effect this time.
    async fn write(&self, write: Write) -> Result<Written, Error>;

    /// Seals everything written to the channel before the call and returns once that is committed.
    ///
    /// # Errors
    /// Whatever kept the channel from being sealed.
    async fn flush(&self, channel: &ChannelName) -> Result<(), Error>;

    /// How far the channel has come. The answer holds for the whole cluster: an owner that may have been replaced does
    /// not give one.
    ///
    /// # Errors
    /// If the channel cannot be opened, or the owner cannot prove that it still is one.
    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error>;

    /// The channel's durable records from `from` on, for as long as the stream is read. Ends with an error.
    ///
    /// # Errors
    /// Kind `NotFound` if `from` was truncated away.
    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, Error>;

    /// Removes the logs of channels of a collection that was dropped; a node that owns none of them can do it too.
    ///
    /// # Errors
    /// If a log cannot be removed; calling again is safe.
    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error>;
}
