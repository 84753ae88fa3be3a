//! TLS as a caller: to the engine's ports.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom a caller trusts, and what it shows of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Trust {
    /// Certificates of the authorities, in PEM.
    pub authorities: String,
    /// The name that the server's certificate must have.
    pub name: String,
    /// Own certificate and private key, in PEM.
    pub identity: Option<(String, String)>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authorities: _, name, identity } = self;
        f.debug_struct("Trust").field("name", name).field("identity", &identity.is_some()).finish()
    }
}

/// Why a connection is not secure.
#[derive(Debug, Error)]
pub enum Insecure {
    /// What we trust or show cannot be used.
    #[error("cannot use the certificates for {name}: {text}")]
    Unusable {
        /// The server.
        name: String,
        /// What is wrong with them. Nothing of a private key is in it.
        text: String,
    },
    /// The two did not come to terms.
    #[error("no TLS with {name}: {source}")]
    Handshake {
        /// The server.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Comes to terms with the server at the other end of `stream`, for HTTP/2.
///
/// # Errors
/// [`Insecure`]. A server that does not like our certificate says so only after this.
pub async fn secure(stream: TcpStream, trust: &Trust) -> Result<TlsStream<TcpStream>, Insecure> {
    let connector = TlsConnector::from(Arc::new(config(trust)?));
    let name = ServerName::try_from(trust.name.clone())
        .map_err(|error| Insecure::Unusable { name: trust.name.clone(), text: error.to_string() })?;
    let done = connector.connect(name, stream).await;
    done.map_err(|source| Insecure::Handshake { name: trust.name.clone(), source })
}

fn config(trust: &Trust) -> Result<ClientConfig, Insecure> {
    let unusable = |text: String| Insecure::Unusable { name: trust.name.clone(), text };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&trust.authorities).map_err(unusable)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &trust.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|_| unusable("the private key is not in PEM format".to_owned()))?;
            builder
                .with_client_auth_cert(certificates(certificate).map_err(unusable)?, key)
                .map_err(|error| unusable(error.to_string()))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}
