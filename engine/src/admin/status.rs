//! What a call comes to, as gRPC says it.

use tonic::{Code, Status};

use crate::base::{Kind, Kinded as _, chain};
use crate::rpc::{Error, Refusal};

/// The status of a call that failed.
pub(super) fn status(error: &Error) -> Status {
    let code = match error {
        Error::Refused(Refusal::NoOtherCandidate | Refusal::NotFinal { .. }) => Code::FailedPrecondition,
        other => code_of(other.kind()),
    };
    Status::new(code, chain(error))
}

/// The code for a kind of failure.
pub(super) const fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Denied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Exists => Code::AlreadyExists,
        Kind::Conflict => Code::Aborted,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Fenced | Kind::Unavailable => Code::Unavailable,
        Kind::Corrupt => Code::DataLoss,
        Kind::Internal => Code::Internal,
    }
}

/// The status of something of this process's own that failed.
pub(super) fn failed(doing: &str, cause: &(impl std::error::Error + crate::base::Kinded)) -> Status {
    Status::new(code_of(cause.kind()), format!("cannot {doing}: {}", chain(cause)))
}
