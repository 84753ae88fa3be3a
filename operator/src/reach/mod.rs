//! Whether an address answers, and how it shows itself over TLS. Knows hosts and ports, no dependency and no policy.
//!
//! A connection is opened and closed again; nothing is asked over it. What is wrong beyond that (a password, a bucket that
//! belongs to somebody else) the engine finds out, and its pods say so.

mod secure;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use secure::{Insecure, Trust, secure};

/// How long an address may take. Unit: seconds.
const PATIENCE_SECONDS: u64 = 3;
/// What an HTTP/2 client says first: that it is one, and that it has no wishes.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Looks whether addresses answer.
#[async_trait]
pub trait Reach: Send + Sync + 'static {
    /// Connects to `address`, a `host:port`.
    ///
    /// # Errors
    /// Why it does not answer.
    async fn dial(&self, address: &str) -> Result<(), Silence>;

    /// Connects to an HTTP/2 server by TLS and waits until it says something, which it does once it took our certificate.
    /// Returns its own, in the binary form.
    ///
    /// # Errors
    /// Why it does not answer, is not trusted, or does not trust us.
    async fn greet(&self, address: &str, trust: &Trust) -> Result<Vec<u8>, Silence>;
}

/// Why an address does not answer.
#[derive(Debug, Error)]
pub enum Silence {
    /// The connection was refused, or the name is not known.
    #[error("{source}")]
    Refused {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It cannot be trusted.
    #[error("{source}")]
    Insecure {
        /// Why.
        #[source]
        source: Insecure,
    },
    /// It ended the connection after it had seen our certificate.
    #[error("it does not take our certificate: {text}")]
    Distrusted {
        /// What it said.
        text: String,
    },
    /// Nobody answered.
    #[error("no answer within {PATIENCE_SECONDS} s")]
    TimedOut,
}

/// The network.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetReach;

#[async_trait]
impl Reach for NetReach {
    async fn dial(&self, address: &str) -> Result<(), Silence> {
        match timeout(Duration::from_secs(PATIENCE_SECONDS), TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(Silence::Refused { source }),
            Err(_) => Err(Silence::TimedOut),
        }
    }

    async fn greet(&self, address: &str, trust: &Trust) -> Result<Vec<u8>, Silence> {
        let limit = Duration::from_secs(PATIENCE_SECONDS);
        timeout(limit, greet(address, trust)).await.unwrap_or(Err(Silence::TimedOut))
    }
}

async fn greet(address: &str, trust: &Trust) -> Result<Vec<u8>, Silence> {
    let stream = TcpStream::connect(address).await.map_err(|source| Silence::Refused { source })?;
    let mut stream = secure(stream, trust).await.map_err(|source| Silence::Insecure { source })?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
    let shown = shown.map(|certificate| certificate.to_vec()).unwrap_or_default();
    let distrusted = |text: String| Silence::Distrusted { text };
    stream.write_all(PREFACE).await.map_err(|error| distrusted(error.to_string()))?;
    match stream.read_u8().await {
        Ok(_) => Ok(shown),
        Err(error) => Err(distrusted(error.to_string())),
    }
}

type Answer = Box<dyn Fn(&Trust) -> Result<Vec<u8>, String> + Send>;

/// Addresses in memory, for tests: all answer but those that were silenced.
#[derive(Default)]
pub struct MemoryReach {
    silent: Mutex<BTreeMap<String, String>>,
    secure: Mutex<BTreeMap<String, Answer>>,
}

impl MemoryReach {
    /// Silences an address.
    pub fn silence(&self, address: &str, why: &str) {
        lock(&self.silent).insert(address.to_owned(), why.to_owned());
    }

    /// Lets an address answer again.
    pub fn restore(&self, address: &str) {
        lock(&self.silent).remove(address);
    }

    /// Lets an address speak TLS: `answer` says what it shows to a caller, or why it does not take him.
    pub fn speak(&self, address: &str, answer: impl Fn(&Trust) -> Result<Vec<u8>, String> + Send + 'static) {
        lock(&self.secure).insert(address.to_owned(), Box::new(answer));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[async_trait]
impl Reach for MemoryReach {
    async fn dial(&self, address: &str) -> Result<(), Silence> {
        match lock(&self.silent).get(address) {
            None => Ok(()),
            Some(why) => Err(Silence::Refused { source: std::io::Error::other(why.clone()) }),
        }
    }

    async fn greet(&self, address: &str, trust: &Trust) -> Result<Vec<u8>, Silence> {
        self.dial(address).await?;
        let secure = lock(&self.secure);
        let answer = secure.get(address).map(|answer| answer(trust));
        let answer = answer.unwrap_or_else(|| Err("it speaks no TLS".to_owned()));
        answer.map_err(|text| Silence::Distrusted { text })
    }
}
