//! The log: ordered records per channel. Append, read, fence by term, truncate. Knows bytes, not rows.
//!
//! What every implementation promises, and `conformance` checks:
//! - An acknowledged append is durable: whatever is switched off, the record is there under its position.
//! - Order per channel is total, positions have no gaps, and appends are never reordered.
//! - A writer that was fenced never acknowledges again.
//! - A reader sees durable records only. Records that were written completely when a process died, but not yet
//!   acknowledged, may be kept at the tail; then they are durable and every reader sees them from then on.
//! - A torn tail is cut; damage before it is an error of kind `Corrupt`, and a damaged record is never served.
//!
//! Not for metadata (`meta`), and not for finding anything: a reader goes forward only.

#[cfg(test)]
mod conformance;
mod error;
mod file;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod kafka;
mod memory;
mod object;
mod queue;
mod recent;
pub mod record;
mod writing;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::base::ChannelName;

pub use crate::base::Position;
pub use error::{Doing, Error};
pub use file::{FileLogSettings, FileLogs};
pub use kafka::{KafkaLogs, KafkaSettings};
pub use memory::MemoryLogs;
pub use object::{Flaw, ObjectLogSettings, ObjectLogs};
pub use writing::{Acknowledge, Appending};

/// The largest payload of one record. Unit: bytes.
pub const MAX_PAYLOAD_BYTES: usize = 256 << 20;

/// Longest channel name. Unit: bytes; it becomes a directory's name, escaped to at most three times that.
const MAX_NAME_BYTES: usize = 80;

/// Refuses a channel name that not every implementation could hold.
fn check_name(channel: &ChannelName) -> Result<(), Error> {
    let name = channel.as_str();
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(Error::BadName { channel: name.to_owned(), why: "a name has 1 to 80 bytes" });
    }
    Ok(())
}

/// Logs of channels. A channel comes into being when it is first opened.
///
/// Calls that change something are not cancel safe: dropped, they may have happened, and repeating them is right.
/// After a dropped `open` that means a greater term.
#[async_trait]
pub trait Logs: Send + Sync + 'static {
    /// Makes the caller the one writer of `channel`. Once this returns, writers of lower terms are fenced: they
    /// acknowledge nothing more, and everything they had acknowledged lies before the new writer's first position.
    /// The term is remembered durably.
    ///
    /// # Errors
    /// [`Error::Fenced`] if an equal or higher term was opened before. Kinds of the store otherwise.
    async fn open(&self, channel: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, Error>;

    /// A reader whose first record is the one at `from`, which may also be the next one to come. A channel that
    /// nobody has opened yet can be read from its first position on.
    ///
    /// # Errors
    /// [`Error::Truncated`] (kind `NotFound`) if `from` was truncated away, [`Error::Ahead`] (kind `Invalid`) if it
    /// lies after the next position.
    async fn read(&self, channel: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, Error>;

    /// Gives up every record before `before`; a position after the last record means all. Afterwards they cannot be
    /// read; their space comes back sooner or later. Never gives a position out again.
    ///
    /// # Errors
    /// Kinds of the store.
    async fn truncate(&self, channel: &ChannelName, before: Position) -> Result<(), Error>;

    /// Says that hardly anybody will read the records before `before` any more: none of them need be kept in memory. They can
    /// still be read.
    fn let_go(&self, channel: &ChannelName, before: Position) {
        // Most logs keep none.
        let _ = (channel, before);
    }

    /// Removes the channel with all its records and its terms; no error if there is none. Its writer is fenced and
    /// its readers get [`Error::Removed`]. Opening the name again begins a new channel at position 0.
    ///
    /// # Errors
    /// Kinds of the store.
    async fn remove(&self, channel: &ChannelName) -> Result<(), Error>;

    /// Every channel that was opened and not removed, ascending by name.
    ///
    /// # Errors
    /// Kinds of the store.
    async fn channels(&self) -> Result<Vec<ChannelName>, Error>;
}

/// The one writer of a channel. Dropping it gives the channel up: what was appended before is still written and
/// acknowledged.
pub trait LogWriter: Send + Sync + 'static {
    /// Takes `payload` for the next position. Positions follow the order of the calls. Does not wait: the record is
    /// durable once [`Appending::durable`] says so, and it is written whether or not somebody waits.
    ///
    /// # Errors
    /// [`Error::Fenced`] after a newer writer took over, [`Error::QueueFull`] (kind `Exhausted`) while too much
    /// waits to be written, [`Error::TooLarge`] for a payload over [`MAX_PAYLOAD_BYTES`], [`Error::Poisoned`] (kind
    /// `Unavailable`) for ever after a write failed: the channel must be opened again with a greater term. In all
    /// these cases no position was used.
    fn append(&self, payload: Bytes) -> Result<Appending, Error>;

    /// The position that the next append will get. Right after `open`: the end of what a replay gives.
    fn next_position(&self) -> Position;
}

/// A walk along a channel.
#[async_trait]
pub trait LogReader: Send {
    /// The next durable record in order; waits until there is one. Cancel safe: a dropped call has taken nothing.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the channel was truncated past this reader, [`Error::Removed`], kind `Corrupt` for
    /// damage. After an error the reader stays where it was.
    async fn next(&mut self) -> Result<(Position, Bytes), Error>;

    /// Like [`Self::next`], but `None` if no durable record is there now. May wait for a file, never for a writer.
    /// Cancel safe.
    ///
    /// # Errors
    /// Those of [`Self::next`].
    async fn try_next(&mut self) -> Result<Option<(Position, Bytes)>, Error>;

    /// The position of the record that comes next.
    fn position(&self) -> Position;
}
