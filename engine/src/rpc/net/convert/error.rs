//! Errors travel whole, in the answer.

use bytes::Bytes;
use contract::internal as pb;
use pb::error::Why;

use super::Damaged;
use crate::base::{Kind, chain};
use crate::rpc::{Error, Refusal};

/// The error as a message.
pub(in crate::rpc::net) fn error_to(error: &Error) -> pb::Error {
    let why = match error {
        Error::Refused(refusal) => Why::Refused(pb::Refused {
            // A refusal is made of texts and numbers, which JSON has; without it, the text remains.
            refusal: serde_json::to_vec(refusal).map(Bytes::from).unwrap_or_default(),
            text: refusal.to_string(),
        }),
        Error::Stale { what } => Why::Stale(what.clone()),
        Error::Failed { call, kind, reason } => Why::Failed(pb::Failure {
            call: (*call).to_owned(),
            kind: kind.label().to_owned(),
            reason: reason.clone(),
        }),
    };
    pb::Error { why: Some(why) }
}

/// The error that the peer of `call` reports. Names of calls are constants here, so a failure that the peer reports of
/// another call carries that one's name in its reason.
pub(in crate::rpc::net) fn error_from(call: &'static str, error: pb::Error) -> Error {
    match error.why {
        Some(Why::Refused(refused)) => match serde_json::from_slice::<Refusal>(&refused.refusal) {
            Ok(refusal) => Error::Refused(refusal),
            // A later version refuses what this one does not know yet: its text still tells the user.
            Err(_) => Error::Refused(Refusal::Rule { text: refused.text }),
        },
        Some(Why::Stale(what)) => Error::Stale { what },
        Some(Why::Failed(failure)) => {
            let kind = Kind::from_label(&failure.kind).unwrap_or(Kind::Internal);
            let reason = if failure.call == call {
                failure.reason
            } else {
                format!("{} failed: {}", failure.call, failure.reason)
            };
            Error::Failed { call, kind, reason }
        }
        None => Error::Failed {
            call,
            kind: Kind::Internal,
            reason: "the peer gives a reason that this version does not know".to_owned(),
        },
    }
}

/// Goes on if an answer has no error.
pub(in crate::rpc::net) fn answered(call: &'static str, error: Option<pb::Error>) -> Result<(), Error> {
    error.map_or(Ok(()), |error| Err(error_from(call, error)))
}

/// What a message that cannot be read makes of its call.
pub(in crate::rpc::net) fn unreadable(call: &'static str, damaged: &Damaged) -> Error {
    Error::Failed { call, kind: Kind::Internal, reason: format!("a message is damaged: {}", chain(damaged)) }
}
