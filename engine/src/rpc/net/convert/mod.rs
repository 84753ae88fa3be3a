//! Values to messages and back. Reading fails with a [`Damaged`] that says what is wrong with the message.

mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod read;
mod write;

pub(super) use error::{answered, error_from, error_to, unreadable};
pub(super) use read::{
    after_from, after_to, hits_from, hits_to, query_from, query_to, rows_from, rows_to, search_from,
    search_to, share_from, share_to, spans_from, spans_to,
};
pub(super) use write::{write_from, write_to};

use bytes::Bytes;
use contract::internal as pb;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::model::SegmentManifest;
use crate::rpc::Error;

/// A message that is not what it should be; says in which way.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damaged {
    #[error("it lacks {0}")]
    Lacks(&'static str),
    #[error("it has an unknown {0}")]
    Unknown(&'static str),
    #[error("{0} cannot be read")]
    Bytes(&'static str, #[source] crate::model::wire::Damaged),
    #[error("its description cannot be read")]
    Json(#[source] serde_json::Error),
}

/// What a compaction has made, as nodes say it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum CompactAnswer {
    /// With what was deleted later than this, as it was asked to. A node of an earlier version does not know that it was, and says the
    /// other thing.
    Kept { since: Timestamp, made: Vec<SegmentManifest> },
    /// Without what is deleted.
    Made(Vec<SegmentManifest>),
}

impl CompactAnswer {
    pub(super) fn of(made: Vec<SegmentManifest>, since: Option<Timestamp>) -> Self {
        match since {
            Some(since) => Self::Kept { since, made },
            None => Self::Made(made),
        }
    }

    /// What was made, if all was kept that was deleted later than `asked`.
    pub(super) fn checked(self, asked: Option<Timestamp>) -> Option<Vec<SegmentManifest>> {
        match (self, asked) {
            (Self::Made(made), None) => Some(made),
            (Self::Kept { since, made }, Some(asked)) if since == asked => Some(made),
            _ => None,
        }
    }
}

/// A description as JSON.
pub(super) fn json<T: Serialize>(call: &'static str, value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| unreadable(call, &Damaged::Json(error)))
}

/// The value described.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    serde_json::from_slice(bytes).map_err(Damaged::Json)
}

/// The answer to a call whose value is described.
pub(super) fn answer<T: Serialize>(call: &'static str, outcome: Result<T, Error>) -> pb::Answer {
    match outcome.and_then(|value| json(call, &value)) {
        Ok(value) => pb::Answer { error: None, value },
        Err(error) => pb::Answer { error: Some(error_to(&error)), value: Bytes::new() },
    }
}

/// What the answer says.
pub(super) fn from_answer<T: DeserializeOwned>(call: &'static str, answer: pb::Answer) -> Result<T, Error> {
    answered(call, answer.error)?;
    from_json(&answer.value).map_err(|damaged| unreadable(call, &damaged))
}
