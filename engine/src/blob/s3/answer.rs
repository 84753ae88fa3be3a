//! What an answer of the server stands for.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::base::{Kind, chain};
use crate::blob::{Doing, Error};

/// What a request failed with, in short: without headers, and so without anything secret.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Answer {
    /// Status of the server's answer; none if there was no answer.
    status: Option<u16>,
    code: Option<String>,
    text: String,
}

impl Answer {
    /// The failure of a request.
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = error.code().map(str::to_owned);
        let text = match (status, error.message()) {
            (Some(status), message) => {
                let code = code.as_deref().unwrap_or("no code");
                format!("status {status}, {code}: {}", message.unwrap_or("no message"))
            }
            (None, _) => chain(error),
        };
        Self { status, code, text }
    }

    /// A failure of another sort, at a time when the server had begun to answer.
    pub fn broken_off(error: &(dyn StdError + 'static)) -> Self {
        Self { status: None, code: None, text: chain(error) }
    }

    fn is(&self, status: u16, code: &str) -> bool {
        self.status == Some(status) || self.code.as_deref() == Some(code)
    }

    /// The key does not exist, or at a bucket request the bucket.
    pub fn is_not_found(&self) -> bool {
        self.is(404, "NoSuchKey")
    }

    /// The bucket does not exist.
    pub fn is_no_bucket(&self) -> bool {
        self.code.as_deref() == Some("NoSuchBucket")
    }

    /// The condition of a conditional request does not hold.
    pub fn is_condition_failed(&self) -> bool {
        self.is(412, "PreconditionFailed")
    }

    /// Another conditional request for the key is under way.
    pub fn is_condition_raced(&self) -> bool {
        self.code.as_deref() == Some("ConditionalRequestConflict") || self.status == Some(409)
    }

    /// The server does not know conditional requests.
    pub fn is_not_implemented(&self) -> bool {
        self.is(501, "NotImplemented")
    }

    /// The range lies outside the object.
    pub fn is_bad_range(&self) -> bool {
        self.is(416, "InvalidRange")
    }

    fn kind(&self) -> Kind {
        match self.status {
            Some(401 | 403) => Kind::Denied,
            Some(404) => Kind::NotFound,
            Some(409 | 412) => Kind::Conflict,
            Some(507) => Kind::Exhausted,
            Some(408 | 429) | None => Kind::Unavailable,
            Some(400..500) => Kind::Invalid,
            Some(_) => Kind::Unavailable,
        }
    }

    /// The error of this room.
    pub fn into_error(self, doing: Doing, key: &str) -> Error {
        // A bucket that went away is the store being away, not an object.
        let kind = if self.is_no_bucket() { Kind::Unavailable } else { self.kind() };
        Error::Remote { doing, key: key.to_owned(), kind, source: Box::new(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kinded as _;

    #[test]
    fn each_status_has_its_kind() {
        let answer = |status| Answer { status, code: None, text: String::new() };
        for (status, kind) in [
            (None, Kind::Unavailable),
            (Some(400), Kind::Invalid),
            (Some(403), Kind::Denied),
            (Some(404), Kind::NotFound),
            (Some(412), Kind::Conflict),
            (Some(429), Kind::Unavailable),
            (Some(500), Kind::Unavailable),
            (Some(503), Kind::Unavailable),
            (Some(507), Kind::Exhausted),
        ] {
            assert_eq!(answer(status).into_error(Doing::Read, "k").kind(), kind, "{status:?}");
        }
    }
}
