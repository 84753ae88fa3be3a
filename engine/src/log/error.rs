//! What can go wrong with a log.

use std::fmt;
use std::sync::Arc;

use crate::base::{ChannelName, Kind, Kinded};

use super::Position;

/// What was done to a file when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Making a file or directory.
    Create,
    /// Writing at a file's end.
    Append,
    /// Making a file or directory durable.
    Sync,
    /// Reading a file.
    Read,
    /// Listing a directory.
    List,
    /// Removing a file or directory.
    Remove,
    /// Cutting a file.
    Truncate,
}

impl fmt::Display for Doing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Create => "create",
            Self::Append => "append to",
            Self::Sync => "sync",
            Self::Read => "read",
            Self::List => "list",
            Self::Remove => "remove",
            Self::Truncate => "truncate",
        })
    }
}

/// Why a call on a log failed. Cheap to clone: one failed write fails many appends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A newer writer has taken over, or took over before.
    #[error("term {term} of channel {channel} is fenced by term {seen}")]
    Fenced {
        /// The channel.
        channel: ChannelName,
        /// The term that lost.
        term: u64,
        /// The highest term seen.
        seen: u64,
    },
    /// The channel was removed.
    #[error("the channel {channel} was removed")]
    Removed {
        /// The channel.
        channel: ChannelName,
    },
    /// The records asked for were given up by a truncation.
    #[error("position {position} of channel {channel} was truncated away; the first left is {first}")]
    Truncated {
        /// The channel.
        channel: ChannelName,
        /// The position asked for.
        position: Position,
        /// The first position that can be read.
        first: Position,
    },
    /// The position asked for is not even the next one to come.
    #[error("position {position} of channel {channel} is after the next one, {next}")]
    Ahead {
        /// The channel.
        channel: ChannelName,
        /// The position asked for.
        position: Position,
        /// The position of the next record to come.
        next: Position,
    },
    /// A payload is larger than a record can be.
    #[error("a payload of {size_bytes} bytes is too large for a log record")]
    TooLarge {
        /// Its length. Unit: bytes.
        size_bytes: usize,
    },
    /// Too much waits to be written.
    #[error("{waiting_bytes} bytes already wait to be written to channel {channel}")]
    QueueFull {
        /// The channel.
        channel: ChannelName,
        /// What waits. Unit: bytes.
        waiting_bytes: usize,
    },
    /// A write failed, so this writer can promise nothing any more.
    #[error("the writer of channel {channel} gave up after a failed write")]
    Poisoned {
        /// The channel.
        channel: ChannelName,
        /// The failure.
        #[source]
        source: Arc<Error>,
    },
    /// The writer's task was stopped before the record was written.
    #[error("the writer of channel {channel} has stopped")]
    Stopped {
        /// The channel.
        channel: ChannelName,
    },
    /// The name cannot be a channel's.
    #[error("{channel:?} is no channel name: {why}")]
    BadName {
        /// The name.
        channel: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {doing} the log file {file}")]
    File {
        /// What was attempted.
        doing: Doing,
        /// The file or directory, relative to the log's own.
        file: String,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Stored bytes are not what was written.
    #[error("the log file {file} is damaged at byte {offset}: {why}")]
    Damaged {
        /// The file, relative to the log's own directory.
        file: String,
        /// Where in the file. Unit: bytes.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Fenced { .. } => Kind::Fenced,
            Self::Removed { .. } | Self::Truncated { .. } => Kind::NotFound,
            Self::Ahead { .. } | Self::TooLarge { .. } | Self::BadName { .. } => Kind::Invalid,
            Self::QueueFull { .. } => Kind::Exhausted,
            Self::Poisoned { .. } | Self::Stopped { .. } => Kind::Unavailable,
            Self::File { source, .. } => Kinded::kind(source.as_ref()),
            Self::Damaged { .. } => Kind::Corrupt,
        }
    }
}
