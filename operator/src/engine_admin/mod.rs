//! What the operator asks of a running engine: resource groups, collections with their indexes, aliases and properties, how they are
//! loaded, how busy it is, and how many requests fail.
//!
//! [`NetEngine`] makes calls of Milvus's own gRPC API, and of the admin API for what that does not have, both on the port of calls
//! between nodes, as an administrator; [`MemoryEngine`] is its twin for tests. Knows no Kubernetes and no policy. No call reads or
//! writes rows.

mod memory;
mod net;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use thiserror::Error;

use crate::reach::Trust;
use crate::rollout::Calls;
use crate::scaling::LoadReport;
use crate::topology::{EngineAlias, EngineCollection, EngineGroup, EngineIndex, NewCollection, NodeClaims};

pub use memory::MemoryEngine;
pub use net::NetEngine;

/// Where an engine is told things.
#[derive(Clone, PartialEq, Eq)]
pub struct Door {
    /// Its `host:port`.
    pub address: String,
    /// Whom to trust there, if it speaks TLS.
    pub trust: Option<Trust>,
    /// What is shown in every call, where nodes know each other by a token.
    pub token: Option<String>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, trust, token } = self;
        f.debug_struct("Door")
            .field("address", address)
            .field("trust", trust)
            .field("token", &token.is_some())
            .finish()
    }
}

impl Door {
    /// An engine that speaks clear text.
    pub fn plain(address: impl Into<String>) -> Self {
        Self { address: address.into(), trust: None, token: None }
    }
}

/// A collection of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The engine.
    pub at: &'a Door,
    /// The database.
    pub database: &'a str,
    /// The collection's name.
    pub name: &'a str,
}

/// What becomes of an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasChange {
    /// It is made.
    Create,
    /// It leads to the collection from now on.
    Move,
    /// It goes.
    Drop,
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

    /// Makes a collection; an identical one is fine.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is another one of this name, no such database, or the engine cannot make such a collection.
    async fn create_collection(&self, of: Target<'_>, collection: &NewCollection) -> Result<(), Error>;

    /// Drops a collection with its rows; one that is gone is fine.
    ///
    /// # Errors
    /// [`Error::Refused`] if the name is an alias, or aliases lead to it.
    async fn drop_collection(&self, of: Target<'_>) -> Result<(), Error>;

    /// Sets properties of a collection.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is none, or a value does not fit.
    async fn set_properties(
        &self,
        of: Target<'_>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), Error>;

    /// Removes properties of a collection; those that are gone are fine.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such collection.
    async fn delete_properties(&self, of: Target<'_>, names: &[String]) -> Result<(), Error>;

    /// Makes an index; an identical one is fine.
    ///
    /// # Errors
    /// [`Error::Refused`] if the field has another one, or the engine cannot make such an index.
    async fn create_index(&self, of: Target<'_>, index: &EngineIndex) -> Result<(), Error>;

    /// Drops an index; one that is gone is fine.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is in use.
    async fn drop_index(&self, of: Target<'_>, name: &str) -> Result<(), Error>;

    /// Where an alias leads; `None` if there is no such alias.
    ///
    /// # Errors
    /// [`Error`].
    async fn alias(&self, at: &Door, database: &str, alias: &str) -> Result<Option<EngineAlias>, Error>;

    /// Makes an alias of a collection, or moves or drops one.
    ///
    /// # Errors
    /// [`Error::Refused`] if the alias is taken, or is not there to be moved.
    async fn change_alias(&self, of: Target<'_>, alias: &str, change: AliasChange) -> Result<(), Error>;

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

    /// How many requests of clients have ended at this process since it started.
    ///
    /// # Errors
    /// [`Error`].
    async fn calls(&self, at: &Door) -> Result<Calls, Error>;

    /// How busy it is.
    ///
    /// # Errors
    /// [`Error`].
    async fn load_report(&self, at: &Door) -> Result<LoadReport, Error>;
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
/// There is no such alias.
const ALIAS_NOT_FOUND: i32 = 1600;
/// There is no such index.
const INDEX_NOT_FOUND: i32 = 700;
/// There is no such database.
const DATABASE_NOT_FOUND: i32 = 800;
