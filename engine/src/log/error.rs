//! What can go wrong with a log.

use std::fmt;
use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::base::{ChannelName, Kind, Kinded};
use crate::blob;

use super::Position;

/// What was done to a file or a topic when it failed.
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
    /// Cutting a file, or a topic's beginning.
    Truncate,
    /// Making a client of the log's server.
    Connect,
    /// Shutting older writers out.
    Fence,
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
            Self::Connect => "connect for",
            Self::Fence => "fence",
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
    /// The object store failed.
    #[error("cannot reach the log objects of channel {channel}")]
    Object {
        /// The channel.
        channel: ChannelName,
        /// What the store said.
        #[source]
        source: Arc<blob::Error>,
    },
    /// The object store gave no definite answer within the time allowed.
    #[error("the object store gave no answer about {key} in time")]
    Late {
        /// The object.
        key: String,
    },
    /// A stored object is not what was written.
    #[error("the log object {key} is damaged: {why}")]
    DamagedObject {
        /// The object.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An object was written so late that its name had been given up meanwhile.
    #[error("the log object {key} was written after its name had been given up")]
    Outlived {
        /// The object.
        key: String,
    },
    /// A call on Kafka failed.
    #[error("cannot {doing} the Kafka topic {topic}")]
    Kafka {
        /// What was attempted.
        doing: Doing,
        /// The topic; a pattern if it was about many.
        topic: String,
        /// What the client said.
        #[source]
        source: Arc<KafkaError>,
    },
    /// Kafka did not answer within the deadline.
    #[error("cannot {doing} the Kafka topic {topic} within {limit_ms} ms")]
    KafkaTimeout {
        /// What was attempted.
        doing: Doing,
        /// The topic.
        topic: String,
        /// The deadline of such calls. Unit: ms.
        limit_ms: u64,
    },
    /// Messages of a topic are not what was written.
    #[error("the Kafka topic {topic} is damaged at offset {offset}: {why}")]
    DamagedTopic {
        /// The topic.
        topic: String,
        /// The offset of the message.
        offset: i64,
        /// What is wrong there.
        why: &'static str,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Fenced { .. } | Self::Outlived { .. } => Kind::Fenced,
            Self::Removed { .. } | Self::Truncated { .. } => Kind::NotFound,
            Self::Ahead { .. } | Self::TooLarge { .. } | Self::BadName { .. } => Kind::Invalid,
            Self::QueueFull { .. } => Kind::Exhausted,
            Self::Poisoned { .. } | Self::Stopped { .. } | Self::Late { .. } | Self::KafkaTimeout { .. } => {
                Kind::Unavailable
            }
            Self::Object { source, .. } => source.kind(),
            Self::File { source, .. } => Kinded::kind(source.as_ref()),
            Self::Damaged { .. } | Self::DamagedObject { .. } | Self::DamagedTopic { .. } => Kind::Corrupt,
            Self::Kafka { source, .. } => kind_of_kafka(source),
        }
    }
}

/// What the caller should do about an error of Kafka: most pass by themselves.
fn kind_of_kafka(error: &KafkaError) -> Kind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => Kind::Invalid,
        KafkaError::AdminOp(code) => kind_of_code(*code),
        _ => error.rdkafka_error_code().map_or(Kind::Unavailable, kind_of_code),
    }
}

fn kind_of_code(code: RDKafkaErrorCode) -> Kind {
    match code {
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed
        | RDKafkaErrorCode::TransactionalIdAuthorizationFailed => Kind::Denied,
        RDKafkaErrorCode::InvalidTopic
        | RDKafkaErrorCode::InvalidReplicationFactor
        | RDKafkaErrorCode::InvalidConfig
        | RDKafkaErrorCode::PolicyViolation
        | RDKafkaErrorCode::MessageSizeTooLarge => Kind::Invalid,
        RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::InvalidMessage => Kind::Corrupt,
        _ => Kind::Unavailable,
    }
}
