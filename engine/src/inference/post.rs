//! The seam to the network: one request with a JSON body, one bounded answer.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::is_forbidden;
use crate::base::{Secret, chain};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

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
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
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
    pub fn new(mut tls: rustls::ClientConfig) -> Result<Self, String> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT)
            // A redirect could lead to where requests must not go.
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Guarded)
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
        let failed = |error: reqwest::Error| Failure::Unreachable(chain(&error.without_url()));
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
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > most {
                return Err(Failure::TooLong { most });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: body.freeze() })
    }
}

/// Resolves names, but none to an address that must not be asked: what a name stands for may change after it was checked.
#[derive(Clone, Copy, Debug)]
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(addresses(name))
    }
}

async fn addresses(name: Name) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
    if found.iter().any(|address| is_forbidden(address.ip())) {
        return Err("the host stands for an address that is never asked".into());
    }
    Ok(Box::new(found.into_iter()))
}
