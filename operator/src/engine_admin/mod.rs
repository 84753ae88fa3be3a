//! What the operator asks of a running engine: resource groups, how collections are loaded, and how busy it is.
//!
//! [`NetEngine`] uses Milvus's own gRPC API through the client Service, and the admin API of a pod for what that does not have;
//! [`MemoryEngine`] is its twin for tests. Knows no Kubernetes and no policy. No call reads or writes rows.

mod memory;
mod net;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use thiserror::Error;

use crate::reach::Trust;
use crate::scaling::LoadReport;
use crate::topology::{EngineCollection, EngineGroup, NodeClaims};

pub use memory::MemoryEngine;
pub use net::NetEngine;

/// Where an engine is told things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its `host:port`.
    pub address: String,
    /// Whom to trust there, if it speaks TLS.
    pub trust: Option<Trust>,
}

impl Door {
    /// An engine that speaks clear text.
    pub fn plain(address: impl Into<String>) -> Self {
        Self { address: address.into(), trust: None }
    }
}

/// The engine's management. All calls are safe to repeat.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// All resource groups, by name.
    ///
    /// # Errors
    /// [`Error`].
    async fn groups(&self, at: &Door) -> Result<BTreeMap<String, EngineGroup>, Error>;

    /// Makes a group.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is one that claims something else.
    async fn create_group(&self, at: &Door, name: &str, claims: &NodeClaims) -> Result<(), Error>;

    /// Replaces what a group claims.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such group, or the claims contradict themselves.
    async fn update_group(&self, at: &Door, name: &str, claims: &NodeClaims) -> Result<(), Error>;

    /// Drops a group; one that is gone is fine.
    ///
    /// # Errors
    /// [`Error::Refused`] if it still claims nodes, holds replicas, or is named by another group.
    async fn drop_group(&self, at: &Door, name: &str) -> Result<(), Error>;

    /// A collection, or `None` if there is none of this name or alias.
    ///
    /// # Errors
    /// [`Error`].
    async fn collection(
        &self,
        at: &Door,
        database: &str,
        name: &str,
    ) -> Result<Option<EngineCollection>, Error>;

    /// Loads a collection, or changes how it is loaded: one copy for each of `groups`. What can be read now stays so.
    ///
    /// # Errors
    /// [`Error::Refused`] if a group does not exist or has too few query nodes.
    async fn load(&self, at: &Door, database: &str, name: &str, groups: &[String]) -> Result<(), Error>;

    /// Takes a collection out of memory.
    ///
    /// # Errors
    /// [`Error`].
    async fn release(&self, at: &Door, database: &str, name: &str) -> Result<(), Error>;

    /// How busy it is, from the admin API of one of its pods, to whoever shows `token`.
    ///
    /// # Errors
    /// [`Error`].
    async fn load_report(&self, at: &Door, token: &str) -> Result<LoadReport, Error>;
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody answers there.
    #[error("cannot {attempt} at {address}")]
    Unreachable {
        /// What was attempted.
        attempt: String,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine says no.
    #[error("cannot {attempt}: {text} (code {code})")]
    Refused {
        /// What was attempted.
        attempt: String,
        /// The engine's code.
        code: i32,
        /// The engine's words.
        text: String,
    },
}

/// What kind of failure a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Trying again may help.
    Unavailable,
    /// Something has to change first.
    Refused,
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } => Kind::Unavailable,
            Self::Refused { .. } => Kind::Refused,
        }
    }

    /// The error with its causes, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(next) = cause {
            line = format!("{line}: {next}");
            cause = next.source();
        }
        line
    }
}

/// There is no such resource group.
const GROUP_NOT_FOUND: i32 = 300;
/// There is another one of that name.
const GROUP_EXISTS: i32 = 301;
/// A group claims what it cannot.
const GROUP_ILLEGAL: i32 = 303;
/// There is no such collection.
const COLLECTION_NOT_FOUND: i32 = 100;
/// There is no such database.
const DATABASE_NOT_FOUND: i32 = 800;
