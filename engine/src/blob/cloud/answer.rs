//! What a failure of the client library stands for.

use object_store::Error as Failure;

use crate::base::Kind;
use crate::blob::{Doing, Error};

use super::transport::{Refused, find};

/// Longest text of a failure that is kept. Unit: characters.
const MAX_TEXT_CHARS: usize = 500;

/// What a request failed with, in short.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Answer(String);

/// A call that took too long with all its requests.
#[derive(Debug, thiserror::Error)]
#[error("not done after {0} ms")]
struct TooLong(u64);

/// What the server refused with, if it answered.
fn refused(failure: &Failure) -> Option<&Refused> {
    find(failure)
}

fn has_status(failure: &Failure, statuses: &[u16]) -> bool {
    refused(failure).is_some_and(|refused| statuses.contains(&refused.status))
}

/// The bucket does not exist.
pub(super) fn is_no_bucket(failure: &Failure) -> bool {
    let codes = ["NoSuchBucket", "ContainerNotFound"];
    has_status(failure, &[404])
        && refused(failure).is_some_and(|refused| codes.iter().any(|code| refused.text.contains(code)))
}

/// The object does not exist, or at a request to the bucket the bucket.
pub(super) fn is_not_found(failure: &Failure) -> bool {
    matches!(failure, Failure::NotFound { .. }) || has_status(failure, &[404])
}

/// The key is taken, or another request for it is under way.
pub(super) fn is_taken(failure: &Failure) -> bool {
    has_status(failure, &[409, 412])
}

/// The range lies outside the object.
pub(super) fn is_bad_range(failure: &Failure) -> bool {
    has_status(failure, &[416])
}

/// The kind that `failure` stands for. Without an answer the store is away, and so it is without its bucket.
pub(super) fn kind(failure: &Failure) -> Kind {
    if is_no_bucket(failure) {
        return Kind::Unavailable;
    }
    match refused(failure).map(|refused| refused.status) {
        Some(401 | 403) => Kind::Denied,
        Some(404) => Kind::NotFound,
        Some(409 | 412) => Kind::Conflict,
        Some(507) => Kind::Exhausted,
        Some(408 | 429) => Kind::Unavailable,
        Some(400..500) => Kind::Invalid,
        Some(_) => Kind::Unavailable,
        None => match failure {
            Failure::NotFound { .. } => Kind::NotFound,
            Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. } => Kind::Denied,
            Failure::InvalidPath { .. } | Failure::UnknownConfigurationKey { .. } => Kind::Invalid,
            Failure::NotSupported { .. } | Failure::NotImplemented { .. } => Kind::Internal,
            _ => Kind::Unavailable,
        },
    }
}

/// The error of this room.
pub(super) fn error(failure: &Failure, doing: Doing, key: &str) -> Error {
    let text = failure.to_string().chars().take(MAX_TEXT_CHARS).collect();
    Error::Remote { doing, key: key.to_owned(), kind: kind(failure), source: Box::new(Answer(text)) }
}

/// The error of a call that took too long.
pub(super) fn too_long(after_ms: u64, doing: Doing, key: &str) -> Error {
    let source = Box::new(TooLong(after_ms));
    Error::Remote { doing, key: key.to_owned(), kind: Kind::Unavailable, source }
}
