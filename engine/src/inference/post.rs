//! The seam to the network: one request with a JSON body, one bounded answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::is_forbidden;
use crate::base::{Secret, chain};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// Why some addresses are not asked.
pub(super) const NEVER: &str = "its address is never asked";

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whom.
    pub url: Url,
    /// A header that says who asks, and its secret value.
    pub login: Option<(&'static str, Secret)>,
    /// JSON.
    pub body: Bytes,
    /// The longest answer that is read. Unit: bytes.
    pub most: usize,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
    /// After how long it may be asked again, where it says so.
    pub again: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
    /// Its name stands for an address that is never asked.
    #[error("{NEVER}")]
    Forbidden,
    /// It cannot prove who it is.
    #[error("{0}")]
    Untrusted(String),
    /// It is longer than it may be.
    #[error("it has more than {most} bytes")]
    TooLong {
        /// The most.
        most: usize,
    },
}

/// Sends requests.
#[async_trait]
pub trait Post: Send + Sync + 'static {
    /// Sends one and reads the answer, whatever its status. Follows no redirect.
    async fn post(&self, request: Request) -> Result<Answer, Failure>;
}

/// Reaches nobody.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

#[async_trait]
impl Post for Nowhere {
    async fn post(&self, _: Request) -> Result<Answer, Failure> {
        Err(Failure::Unreachable("this process asks no models".to_owned()))
    }
}

/// Sends requests over the network.
#[derive(Clone, Debug)]
pub struct HttpPost {
    client: reqwest::Client,
}

impl HttpPost {
    /// A client that trusts as `tls` says. Does not connect yet.
    ///
    /// # Errors
    /// If the TLS library refuses its settings, which would be a defect.
    pub fn new(tls: rustls::ClientConfig) -> Result<Self, String> {
        Self::by_names_of(tls, Arc::new(System))
    }

    /// The same, with names from somewhere else.
    pub(super) fn by_names_of(
        mut tls: rustls::ClientConfig,
        names: Arc<dyn Resolve>,
    ) -> Result<Self, String> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT)
            // A redirect could lead to where requests must not go.
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Guarded(names))
            // What the environment says about proxies is nobody's setting here.
            .no_proxy()
            .user_agent(concat!("redkite/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(|client| Self { client }).map_err(|error| chain(&error))
    }
}

#[async_trait]
impl Post for HttpPost {
    async fn post(&self, request: Request) -> Result<Answer, Failure> {
        let Request { url, login, body, most } = request;
        let mut sent = self.client.post(url).header("content-type", "application/json").body(body);
        if let Some((name, secret)) = login {
            let mut value = http::HeaderValue::from_str(secret.reveal())
                .map_err(|_| Failure::Unreachable("the credential is no value of a header".to_owned()))?;
            value.set_sensitive(true);
            sent = sent.header(name, value);
        }
        let mut answer = sent.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let again = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let again = again.map(Duration::from_secs);
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > most {
                return Err(Failure::TooLong { most });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: body.freeze(), again })
    }
}

/// Why a request failed: what no second attempt would change is told apart.
fn failed(error: reqwest::Error) -> Failure {
    if is_caused_by::<NeverAsked>(&error) {
        return Failure::Forbidden;
    }
    let is_untrusted = is_caused_by::<rustls::Error>(&error);
    let reason = chain(&error.without_url());
    if is_untrusted { Failure::Untrusted(reason) } else { Failure::Unreachable(reason) }
}

/// Whether an error of some type is among the causes of another one.
fn is_caused_by<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        // Errors of IO say what the error in them has as its source, not the error itself.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => error.source(),
        };
    }
    false
}

/// A name that stands for an address that is never asked.
#[derive(Debug, thiserror::Error)]
#[error("the host stands for an address that is never asked")]
struct NeverAsked;

/// Resolves names, but none to an address that must not be asked: what a name stands for may change after it was checked.
#[derive(Clone)]
struct Guarded(Arc<dyn Resolve>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            if found.iter().any(|address| is_forbidden(address.ip())) {
                return Err(NeverAsked.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Names as this machine knows them.
#[derive(Clone, Copy, Debug)]
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
