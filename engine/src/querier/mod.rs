//! The duty that holds data in memory and answers searches: loads sealed segments, follows the log, serves reads.
//!
//! Is told over `rpc` what to serve; knows no metadata store and no wire API.

mod serve;
mod shard;

pub use serve::{QuerierParts, QueryNode};

use crate::base::{ChannelName, Kind, Kinded, SegmentId};
use crate::{log, segment};

/// Why the querier could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sealed segment could not be loaded.
    #[error("cannot load segment {segment}")]
    LoadSegment {
        /// Which one.
        segment: SegmentId,
        /// Why.
        #[source]
        source: segment::Error,
    },
    /// A file of deletes could not be loaded.
    #[error("cannot load deletes of {channel}")]
    LoadDeletes {
        /// Whose deletes.
        channel: ChannelName,
        /// Why.
        #[source]
        source: segment::Error,
    },
    /// The log could not be followed.
    #[error("cannot follow the log of {channel}")]
    Follow {
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
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::LoadSegment { source, .. } | Self::LoadDeletes { source, .. } => source.kind(),
            Self::Follow { source, .. } => source.kind(),
            Self::BadRecord { .. } => Kind::Corrupt,
        }
    }
}
