//! The side that is called.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::{File, Watched, authorities, certificates, private_key};
use super::{Error, REREAD, provider};
use crate::base::Clock;

/// What a server shows of itself, and what it wants to see of its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptorSettings {
    /// PEM file of its certificate, followed by those in between up to the authority.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// PEM file of the authorities that clients must have their certificate from; `None` to let clients come without.
    pub client_authorities: Option<PathBuf>,
    /// Protocols spoken inside, best first: `h2`, `http/1.1`.
    pub protocols: Vec<String>,
    /// How long a handshake may take.
    pub handshake_limit: Duration,
    /// How often the files are looked at again, at most.
    pub reread: Duration,
}

impl AcceptorSettings {
    /// With the usual limits, for clients of gRPC and REST, with or without certificates of their own.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf, client_authorities: Option<PathBuf>) -> Self {
        Self {
            certificate,
            key,
            client_authorities,
            protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            handshake_limit: Duration::from_secs(10),
            reread: REREAD,
        }
    }
}

/// Turns accepted connections into secure ones. New files are taken over for new connections; those there are live on.
pub struct Acceptor {
    configs: Watched<Arc<ServerConfig>>,
    handshake_limit: Duration,
    clock: Arc<dyn Clock>,
}

impl Acceptor {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`Error`] if they cannot be read or used.
    pub async fn open(settings: AcceptorSettings, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let AcceptorSettings { certificate, key, client_authorities, protocols, handshake_limit, reread } =
            settings;
        let paths = [certificate, key].into_iter().chain(client_authorities).collect();
        let make = move |files: &[File]| config(files, &protocols).map(Arc::new);
        let configs = Watched::open(paths, reread, Arc::clone(&clock), make).await?;
        Ok(Self { configs, handshake_limit, clock })
    }

    /// Comes to terms with the client at the other end of `stream`. Takes a round trip or two: never call it where the
    /// next connection is waited for.
    ///
    /// # Errors
    /// [`Error::Handshake`] and [`Error::TooSlow`]: only this connection is lost.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let limit = self.handshake_limit;
        let acceptor = TlsAcceptor::from(Arc::clone(&*self.configs.current().await));
        tokio::select! {
            accepted = acceptor.accept(stream) => accepted.map_err(|source| Error::Handshake { source }),
            () = self.clock.sleep(limit) => Err(Error::TooSlow { limit }),
        }
    }
}

/// A configuration of the files of certificate, key and, maybe, authorities of the clients.
pub(super) fn config(files: &[File], protocols: &[String]) -> Result<ServerConfig, Error> {
    let [certificate, key, rest @ ..] = files else {
        return Err(Error::Empty { path: PathBuf::new(), what: "certificate" });
    };
    let unusable = |source| Error::Unusable { path: certificate.path.clone(), source };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match rest.first() {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(file)?), provider())
                    .build()
                    .map_err(|source| Error::Verifier { path: file.path.clone(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_single_cert(certificates(certificate)?, private_key(key)?).map_err(unusable)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    Ok(config)
}
