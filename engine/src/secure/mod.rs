//! Connections that are encrypted and authenticated: TLS on either side, and shared tokens, from files that may change
//! while we run. Knows files and sockets, not what is said over them.

mod client;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod server;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;
use std::time::Duration;

pub use client::{Connector, ConnectorSettings};
pub use server::{Acceptor, AcceptorSettings};
pub use token::Tokens;

use crate::base::{Kind, Kinded};

/// How often files are looked at again, at most, unless the settings say otherwise.
pub const REREAD: Duration = Duration::from_secs(3);

/// What kept a connection from being secure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is not PEM.
    #[error("{} is not in PEM format", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file lacks what it is for.
    #[error("{} has no {what} in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// Certificate, key and authorities do not make a configuration.
    #[error("cannot use the certificate or key of {}", path.display())]
    Unusable {
        /// The file of the certificate.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: rustls::Error,
    },
    /// The authorities cannot judge clients.
    #[error("cannot judge clients by {}", path.display())]
    Verifier {
        /// The file of the authorities.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// What is to be called is no name that a certificate can have.
    #[error("{name} is neither a host name nor an address")]
    Name {
        /// The name.
        name: String,
    },
    /// The peer and we did not come to terms.
    #[error("the TLS handshake failed")]
    Handshake {
        /// What broke it off.
        #[source]
        source: std::io::Error,
    },
    /// The peer did not come to terms in time.
    #[error("the TLS handshake took longer than {limit:?}")]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } => Kinded::kind(source),
            Self::Pem { .. }
            | Self::Empty { .. }
            | Self::Unusable { .. }
            | Self::Verifier { .. }
            | Self::Name { .. } => Kind::Invalid,
            Self::Handshake { .. } => Kind::Denied,
            Self::TooSlow { .. } => Kind::Unavailable,
        }
    }
}

/// The one implementation of cryptography; given to each configuration, so that there is no default of the process.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
