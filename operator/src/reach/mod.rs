//! Whether an address answers. Knows hosts and ports, no dependency and no policy.
//!
//! A connection is opened and closed again; nothing is said over it. What is wrong beyond that (a password, a bucket that
//! belongs to somebody else) the engine finds out, and its pods say so.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an address may take. Unit: seconds.
const PATIENCE_SECONDS: u64 = 3;

/// Looks whether addresses answer.
#[async_trait]
pub trait Reach: Send + Sync + 'static {
    /// Connects to `address`, a `host:port`.
    ///
    /// # Errors
    /// Why it does not answer.
    async fn dial(&self, address: &str) -> Result<(), Silence>;
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
}

/// Addresses in memory, for tests: all answer but those that were silenced.
#[derive(Debug, Default)]
pub struct MemoryReach {
    silent: Mutex<BTreeMap<String, String>>,
}

impl MemoryReach {
    /// Silences an address.
    pub fn silence(&self, address: &str, why: &str) {
        self.silent
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(address.to_owned(), why.to_owned());
    }

    /// Lets an address answer again.
    pub fn restore(&self, address: &str) {
        self.silent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(address);
    }
}

#[async_trait]
impl Reach for MemoryReach {
    async fn dial(&self, address: &str) -> Result<(), Silence> {
        let silent = self.silent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match silent.get(address) {
            None => Ok(()),
            Some(why) => Err(Silence::Refused { source: std::io::Error::other(why.clone()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_listens_answers_and_one_that_does_not_says_why() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();

        NetReach.dial(&address).await.unwrap();
        drop(listener);
        let error = NetReach.dial(&address).await.unwrap_err();

        assert!(error.to_string().contains("refused"), "{error}");
    }
}
