//! The duty that holds data in memory and answers searches: loads sealed segments, follows the log, serves reads.
//!
//! What to hold it learns from orders, one per collection, and a task per collection works towards the newest of them
//! ([`QueryNode`] starts it). Reads name what they want exactly; what is not held is refused at once. Nothing is let go
//! of before an order says so.
//!
//! Knows no metadata store, no placement and no wire API.

mod budget;
mod fresh;
mod held;
mod interim;
mod jobs;
mod keeper;
mod load;
mod node;
mod plan;
mod read;
mod shard;
mod table;
mod tail;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod race_test;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn_test;

use std::sync::Arc;
use std::time::Duration;

pub use node::{HeldFigures, QueryNode};

use crate::base::{ChannelName, Clock, Kind, Kinded, Passing, Position, SegmentId, TaskSet};
use crate::blob::Blobs;
use crate::disk::Scratch;
use crate::rpc::Writer;
use crate::segment::InterimSettings;
use crate::{log, rpc, segment};

/// What a querier needs.
pub struct QuerierParts {
    /// Sealed data.
    pub blobs: Arc<dyn Blobs>,
    /// The owners of all channels, wherever they are: says how far a channel has come, and sends its records.
    pub writer: Arc<dyn Writer>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where keepers and followers run.
    pub tasks: TaskSet,
    /// What loads need besides that which stays, which they share with other work.
    pub memory: Passing,
    /// Where vectors lie that need not be in memory; `None` holds all there.
    pub scratch: Option<Arc<Scratch>>,
    /// How it is to behave.
    pub settings: QuerierSettings,
}

/// How a querier is to behave.
#[derive(Clone, Debug)]
pub struct QuerierSettings {
    /// Memory of the node. Unit: bytes; 0 for no limit.
    pub memory_bytes: u64,
    /// The share of it that loaded data may take, 0 to 1.
    pub memory_share: f64,
    /// Segments that are loaded at the same time, at least 1.
    pub load_parallel: usize,
    /// How fast segments are fetched at most. Unit: bytes a second; `None` for as fast as they come.
    pub load_bytes_per_s: Option<u64>,
    /// How long a read waits for the log to be applied far enough.
    pub follow_deadline: Duration,
    /// How long after a failure loading is tried again.
    pub retry: Duration,
    /// How large parts of rows that are not sealed are indexed; `None` for not at all.
    pub interim: Option<InterimSettings>,
}

impl Default for QuerierSettings {
    fn default() -> Self {
        Self {
            memory_bytes: 0,
            memory_share: 0.85,
            load_parallel: 2,
            load_bytes_per_s: None,
            follow_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            interim: Some(InterimSettings::default()),
        }
    }
}

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
    /// There is no memory for a segment or for an index over it.
    #[error("cannot load segment {segment}: {wanted} bytes are needed and {free} of {limit} are free")]
    NoMemory {
        /// Which one.
        segment: SegmentId,
        /// What it is taken to need. Unit: bytes.
        wanted: u64,
        /// What is left. Unit: bytes.
        free: u64,
        /// What there is in all. Unit: bytes.
        limit: u64,
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
        source: rpc::Error,
    },
    /// The stream of records ended without saying why.
    #[error("the log of {channel} ended")]
    Ended {
        /// Which channel.
        channel: ChannelName,
    },
    /// Nothing came that somebody waits for.
    #[error("the owner of {channel} has fallen silent")]
    Silent {
        /// Which channel.
        channel: ChannelName,
    },
    /// Records were sealed and given up before they were applied here.
    #[error("the log of {channel} no longer has the record at {position}")]
    Truncated {
        /// Which channel.
        channel: ChannelName,
        /// The record that was wanted.
        position: Position,
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
    /// A thread ended by a defect.
    #[error("work on {channel} broke off: {cause}")]
    Broke {
        /// For which channel.
        channel: ChannelName,
        /// What the runtime said.
        cause: String,
    },
}

impl Error {
    /// What of the data is damaged or lost, in words for a client: no keys, no places, no more than which part of what.
    fn harm(&self) -> Option<String> {
        match self {
            Self::LoadSegment { segment, source } => {
                let harm = source.harm()?;
                Some(format!("the {} of segment {segment} are {harm}", harm.part))
            }
            Self::LoadDeletes { channel, source } => {
                let harm = source.harm()?;
                Some(format!("the {} of {channel} are {harm}", harm.part))
            }
            // The owner reads its log with checksums; what it says is damaged is of the log.
            Self::Follow { channel, .. } | Self::BadRecord { channel, .. }
                if self.kind() == Kind::Corrupt =>
            {
                Some(format!("the log of {channel} is damaged"))
            }
            Self::NoMemory { .. }
            | Self::Follow { .. }
            | Self::Ended { .. }
            | Self::Silent { .. }
            | Self::Truncated { .. }
            | Self::BadRecord { .. }
            | Self::Broke { .. } => None,
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::LoadSegment { source, .. } | Self::LoadDeletes { source, .. } => source.kind(),
            Self::NoMemory { .. } => Kind::Exhausted,
            Self::Follow { source, .. } => source.kind(),
            Self::Ended { .. } | Self::Silent { .. } => Kind::Unavailable,
            Self::Truncated { .. } => Kind::NotFound,
            Self::BadRecord { source, .. } => source.kind(),
            Self::Broke { .. } => Kind::Internal,
        }
    }
}
