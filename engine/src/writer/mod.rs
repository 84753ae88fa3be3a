//! The duty that owns channels: order, durability, flush.
//!
//! Keeps no rows: what is not sealed is in the log, and a flush reads it back from there, exactly as recovery does.
//! No metadata store, no query code.

mod channel;
mod drive;
#[cfg(test)]
mod fixture;
mod flush;
mod former;
#[cfg(test)]
mod lapsed_test;
mod lease;
mod pressure;
mod recall;
#[cfg(test)]
mod repeats_test;
mod requests;
mod steps;
#[cfg(test)]
mod tests;

pub use drive::{ChannelWriter, WriterParts};
pub use pressure::{FlushLimits, Water, WriteLimits};

use crate::base::{ChannelName, Kind, Kinded};
use crate::{log, segment};

/// Why the writer could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The channel could not be taken over.
    #[error("cannot open the log of {channel}")]
    OpenLog {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: log::Error,
    },
    /// A write was not accepted, or is not known to be durable.
    #[error("cannot append to the log of {channel}")]
    Append {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: log::Error,
    },
    /// A write was sent again so late that nobody knows any more whether the log has it.
    #[error("whether the log of {channel} has the write that was sent before is not known any more")]
    Forgotten {
        /// Which channel.
        channel: ChannelName,
    },
    /// Records, or the whole log, could not be given up.
    #[error("cannot give up records of {channel}")]
    GiveUp {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: log::Error,
    },
    /// The log could not be read back for a flush.
    #[error("cannot read the log of {channel} back")]
    ReadLog {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: log::Error,
    },
    /// A record of the log makes no sense.
    #[error("a record in the log of {channel} cannot be understood")]
    BadRecord {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: log::record::Error,
    },
    /// Sealed data could not be stored.
    #[error("cannot seal rows of {channel}")]
    Seal {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: segment::Error,
    },
    /// Rows of one channel do not have the same columns.
    #[error("rows of {channel} do not fit together")]
    Mismatch {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: crate::model::TypeMismatch,
    },
    /// The coordinator did not answer as needed.
    #[error("the coordinator did not help with {channel}")]
    Coordinate {
        /// Which channel.
        channel: ChannelName,
        /// Why.
        #[source]
        source: crate::rpc::Error,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::OpenLog { source, .. }
            | Self::GiveUp { source, .. }
            | Self::Append { source, .. }
            | Self::ReadLog { source, .. } => source.kind(),
            Self::Forgotten { .. } => Kind::Exhausted,
            Self::BadRecord { .. } => Kind::Corrupt,
            Self::Seal { source, .. } => source.kind(),
            Self::Mismatch { .. } => Kind::Internal,
            Self::Coordinate { source, .. } => source.kind(),
        }
    }
}
