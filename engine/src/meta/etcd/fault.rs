//! Why one attempt at one member failed, and whether what was asked may have happened all the same.

use std::error::Error as StdError;

use tonic::{Code, ConnectError, Status};

use crate::base::{Kind, chain};
use crate::meta::{Doing, Error};

use super::settings::name;

/// What a failed attempt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing was sent.
    Unreached,
    /// It may have happened or not, or may happen yet.
    Lost,
    /// etcd, or one side of the handshake, does not accept the other.
    Denied,
    /// etcd does not take such a request.
    Invalid,
    /// etcd has no room.
    Exhausted,
    /// The revision that was to be read is gone.
    Compacted,
}

impl What {
    /// Whether it certainly did not happen and never will.
    pub(super) fn is_undone(self) -> bool {
        self != Self::Lost
    }

    /// Whether another attempt at once, at any member, is worth it.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::Unreached | Self::Lost)
    }

    fn kind(self) -> Kind {
        match self {
            Self::Unreached | Self::Lost | Self::Compacted => Kind::Unavailable,
            Self::Denied => Kind::Denied,
            Self::Invalid => Kind::Invalid,
            Self::Exhausted => Kind::Exhausted,
        }
    }
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Fault {
    pub what: What,
    pub said: Said,
}

/// What there is to say about a failed attempt. Texts carry addresses and names of settings, never a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum Said {
    #[error("{member} answers {code:?}: {message}")]
    Status { member: String, code: Code, message: String },
    #[error("{member} refuses {setting}: {message}")]
    Refused { member: String, setting: &'static str, message: String },
    #[error("no connection to {member}: {message}")]
    NoConnection { member: String, message: String },
    #[error("{setting} does not vouch for {member}: {message}")]
    Untrusted { member: String, setting: &'static str, message: String },
    #[error("no answer within {limit_ms} ms")]
    Late { limit_ms: u128 },
}

impl Fault {
    /// No member answered in time.
    pub(super) fn late(limit: std::time::Duration) -> Self {
        Self { what: What::Lost, said: Said::Late { limit_ms: limit.as_millis() } }
    }

    /// `self`, but with its outcome open: something else may have happened too.
    pub(super) fn lost(self) -> Self {
        Self { what: What::Lost, ..self }
    }

    /// The error of the call that failed by it.
    pub(super) fn error(self, doing: Doing, place: &str) -> Error {
        let (kind, source) = (self.what.kind(), Box::new(self.said));
        Error::Store { doing, place: place.to_owned(), kind, source }
    }
}

/// What a request was for; etcd refuses a password with the same code as a malformed request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A token for user and password.
    Token,
    /// Anything else.
    Data,
}

/// The fault of an attempt at `member`. `alert` is what the server said
/// instead of answering on its last connection.
pub(super) fn classify(
    source: etcd_client::Error,
    asked: Asked,
    member: &str,
    alert: Option<String>,
) -> Fault {
    let member = member.to_owned();
    let etcd_client::Error::GRpcStatus(status) = source else {
        let message = source.to_string();
        return Fault { what: What::Lost, said: Said::Status { member, code: Code::Unknown, message } };
    };
    let Some(cause) = status.source() else {
        let what = said_by_server(&status, asked);
        let message = status.message().to_owned();
        if what == What::Denied {
            return Fault { what, said: Said::Refused { member, setting: name::USER, message } };
        }
        return Fault { what, said: Said::Status { member, code: status.code(), message } };
    };
    let message = chain(cause);
    let (what, said) = match (tls_error(cause), find::<ConnectError>(cause), alert) {
        (Some(rustls::Error::InvalidCertificate(_)), ..) => {
            (What::Denied, Said::Untrusted { member, setting: name::CA, message })
        }
        (Some(rustls::Error::AlertReceived(_)), ..) => {
            (What::Denied, Said::Refused { member, setting: name::CERT, message })
        }
        (_, Some(_), _) => (What::Unreached, Said::NoConnection { member, message }),
        // In TLS 1.3 a server looks at our certificate after our first bytes, which it then drops unread.
        (_, None, Some(message)) => (What::Denied, Said::Refused { member, setting: name::CERT, message }),
        (_, None, None) => (What::Lost, Said::NoConnection { member, message }),
    };
    Fault { what, said }
}

fn said_by_server(status: &Status, asked: Asked) -> What {
    match status.code() {
        Code::InvalidArgument if asked == Asked::Token => What::Denied,
        Code::Unauthenticated | Code::PermissionDenied => What::Denied,
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented => What::Invalid,
        Code::ResourceExhausted => What::Exhausted,
        Code::OutOfRange => What::Compacted,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => What::Lost,
    }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The TLS library's own error. An I/O error hides what it carries from `source`.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = find::<rustls::Error>(error) {
        return Some(found);
    }
    tls_error(find::<std::io::Error>(error)?.get_ref()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: Status, asked: Asked) -> What {
        classify(etcd_client::Error::GRpcStatus(status), asked, "a:1", None).what
    }

    fn unconnected(cause: std::io::Error) -> Status {
        Status::from_error(Box::new(ConnectError(Box::new(cause))))
    }

    #[test]
    fn only_what_certainly_did_not_happen_is_called_undone() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);

        assert_eq!(of(unconnected(refused), Asked::Data), What::Unreached);
        assert_eq!(of(Status::from_error(Box::new(broken)), Asked::Data), What::Lost);
        assert_eq!(of(Status::unavailable("leader changed"), Asked::Data), What::Lost);
        assert_eq!(of(Status::deadline_exceeded("slow"), Asked::Data), What::Lost);
        assert_eq!(of(Status::invalid_argument("too large"), Asked::Data), What::Invalid);
        assert_eq!(of(Status::invalid_argument("wrong password"), Asked::Token), What::Denied);
        assert_eq!(of(Status::permission_denied("no"), Asked::Data), What::Denied);
        assert_eq!(of(Status::out_of_range("compacted"), Asked::Data), What::Compacted);
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_denied_with_the_setting() {
        let error = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let status = unconnected(std::io::Error::new(std::io::ErrorKind::InvalidData, error));

        let fault = classify(etcd_client::Error::GRpcStatus(status), Asked::Data, "a:1", None);

        assert_eq!(fault.what, What::Denied);
        assert!(matches!(fault.said, Said::Untrusted { setting: name::CA, .. }), "{fault:?}");
    }
}
