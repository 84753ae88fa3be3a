//! Certificates of one database: who issued them, until when they hold, what to do next.
//!
//! [`decide`] is the state machine of renewal and of a new authority; [`read`] says what is public of a certificate and what
//! is wrong with a Secret; [`issue`] makes certificates. Pure: no Kubernetes, no network; time, serial numbers and keys
//! are given. Private keys are in [`Key`], which shows nothing of itself.

mod decide;
mod issue;
mod parse;
mod read;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use thiserror::Error;

pub use decide::{Authorities, Issued, Picture, PodSight, Purpose, Step, Wish, decide};
pub use issue::{Order, authority, certificate, new_key};
pub use read::{BadSecret, Certificate, Expected, read_secret};

/// Key of the certificate in a Secret, with its chain; as cert-manager writes it.
pub const CERTIFICATE: &str = "tls.crt";
/// Key of the private key in a Secret.
pub const PRIVATE_KEY: &str = "tls.key";
/// Key of the authorities to trust in a Secret.
pub const AUTHORITY: &str = "ca.crt";

/// A private key in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// The key that this text is.
    #[must_use]
    pub fn new(pem: String) -> Self {
        Self(pem)
    }

    /// The text, for a Secret.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A certificate with its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// What the certificate says.
    pub certificate: Certificate,
    /// The certificate in PEM.
    pub pem: String,
    /// Its key.
    pub key: Key,
}

/// Why a certificate could not be made or read.
#[derive(Debug, Error)]
pub enum Error {
    /// A key could not be made.
    #[error("cannot make a private key")]
    Key {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate could not be issued.
    #[error("cannot issue a certificate for {subject}")]
    Issue {
        /// For whom.
        subject: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// It cannot be issued by this one.
    #[error("{subject} is not an authority that the operator made")]
    Authority {
        /// Whose certificate it is.
        subject: String,
    },
    /// A time is beyond what a certificate can say.
    #[error("a certificate cannot hold from or until second {seconds}")]
    Time {
        /// The time. Unit: seconds since 1970.
        seconds: i64,
    },
    /// It is not PEM.
    #[error("it is not in PEM format: {text}")]
    Pem {
        /// What the parser says.
        text: String,
    },
    /// There is no certificate in it.
    #[error("there is no certificate in it")]
    Empty,
    /// It is no certificate.
    #[error("it is no X.509 certificate: {text}")]
    Certificate {
        /// What the parser says.
        text: String,
    },
}
