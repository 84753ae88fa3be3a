//! The coordinator: catalog, ids and time, what is loaded, index jobs, garbage. The catalog's only writer.
//!
//! Decisions are pure functions in `decide`, from a [`catalog::Catalog`] to [`change::Change`]s; [`Coordinator`] commits
//! them in one transaction and only then applies them. No blobs, no segment bytes, no wire types.

mod catalog;
mod change;
mod decide;
mod drive;
mod jobs;
mod record;
mod time;

pub use drive::{Coordinator, Limits, Peers};

use crate::base::{Kind, Kinded};
use crate::meta;

/// Why the coordinator could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog could not be read at the start.
    #[error("cannot read the catalog below {prefix}")]
    ReadCatalog {
        /// Which records.
        prefix: &'static str,
        /// Why.
        #[source]
        source: meta::Error,
    },
    /// A record of the catalog is not what this version writes.
    #[error("the catalog record {key} cannot be understood")]
    BadRecord {
        /// Which record.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A change could not be made durable.
    #[error("cannot commit a change of the catalog")]
    Commit {
        /// Why.
        #[source]
        source: meta::Error,
    },
    /// Another coordinator has taken over.
    #[error("another coordinator has taken over the catalog")]
    Deposed,
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::ReadCatalog { source, .. } | Self::Commit { source } => source.kind(),
            Self::BadRecord { .. } => Kind::Corrupt,
            Self::Deposed => Kind::Fenced,
        }
    }
}
