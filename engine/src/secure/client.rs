//! The side that calls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::files::{File, Watched, authorities, certificates, private_key};
use super::{Error, REREAD, provider};
use crate::base::Clock;

/// What a client trusts, and what it shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorSettings {
    /// PEM file of the authorities that servers must have their certificate from.
    pub authorities: PathBuf,
    /// PEM files of its own certificate and private key; `None` to come without.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that every server's certificate must have; `None` for the host that is called.
    pub server_name: Option<String>,
    /// Protocols spoken inside, best first.
    pub protocols: Vec<String>,
    /// How often the files are looked at again, at most.
    pub reread: Duration,
}

impl ConnectorSettings {
    /// For calls over HTTP/2 to servers with a certificate for the host that is called.
    #[must_use]
    pub fn new(authorities: PathBuf, identity: Option<(PathBuf, PathBuf)>) -> Self {
        Self { authorities, identity, server_name: None, protocols: vec!["h2".to_owned()], reread: REREAD }
    }
}

/// Turns connections to servers into secure ones. New files are taken over for new connections.
pub struct Connector {
    configs: Watched<Arc<ClientConfig>>,
    server_name: Option<String>,
}

impl Connector {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`Error`] if they cannot be read or used.
    pub async fn open(settings: ConnectorSettings, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let ConnectorSettings { authorities, identity, server_name, protocols, reread } = settings;
        let paths = std::iter::once(authorities)
            .chain(identity.into_iter().flat_map(|(certificate, key)| [certificate, key]))
            .collect();
        let make = move |files: &[File]| config(files, &protocols).map(Arc::new);
        Ok(Self { configs: Watched::open(paths, reread, clock, make).await?, server_name })
    }

    /// Comes to terms with the server at the other end of `stream`, which was called as `host`. The caller limits how
    /// long that may take. A server that does not like our certificate may say so only after this.
    ///
    /// # Errors
    /// [`Error::Name`], and [`Error::Handshake`] if the server is not the one it should be.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> Result<TlsStream<TcpStream>, Error> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name =
            ServerName::try_from(name.to_owned()).map_err(|_| Error::Name { name: name.to_owned() })?;
        let connector = TlsConnector::from(Arc::clone(&*self.configs.current().await));
        connector.connect(name, stream).await.map_err(|source| Error::Handshake { source })
    }
}

/// A configuration of the files of authorities and, maybe, own certificate and key.
fn config(files: &[File], protocols: &[String]) -> Result<ClientConfig, Error> {
    let [trusted, identity @ ..] = files else {
        return Err(Error::Empty { path: PathBuf::new(), what: "certificate" });
    };
    let unusable = |source| Error::Unusable { path: trusted.path.clone(), source };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(authorities(trusted)?);
    let mut config = match identity {
        [certificate, key] => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|source| Error::Unusable { path: certificate.path.clone(), source })?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.clone().into_bytes()).collect();
    Ok(config)
}
