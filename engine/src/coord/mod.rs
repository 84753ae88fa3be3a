//! The coordinator: catalog, ids and time, what is loaded, index jobs, garbage. The catalog's only writer.
//!
//! Decisions are pure functions in `decide`, from a [`catalog::Catalog`] to [`change::Change`]s, and the state machine in
//! `place`; [`drive::Coordinator`] commits changes in one transaction and only then applies them. [`Candidacy`] makes a
//! process lead, or stand by. No blobs, no segment bytes, no wire types.

mod candidacy;
mod catalog;
mod change;
mod compaction;
#[cfg(test)]
mod crash_tests;
mod decide;
mod drains;
mod drive;
mod format;
mod jobs;
mod lead;
#[cfg(test)]
mod lead_tests;
mod members;
mod place;
mod record;
mod sweep;
#[cfg(test)]
mod tests;
mod time;

pub use candidacy::{Candidacy, CandidacyParts, find_leader};
pub use drive::{CompactionLimits, Limits};
pub use format::read as read_format;
pub use lead::LeadSettings;

use crate::base::{Kind, Kinded};
use crate::{meta, rpc};

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
    /// The lead could not be renewed, so another coordinator may have taken over. Nothing was done.
    #[error("the lead of the cluster was not renewed in time")]
    NotRenewed,
    /// The cluster was finalized to formats that this build does not read.
    #[error(
        "the cluster was finalized to format {format}, and this version reads up to {}: run a later version",
        crate::base::newest_format()
    )]
    NewerFormat {
        /// The version of the formats.
        format: u32,
    },
    /// Another coordinator has taken over.
    #[error("another coordinator has taken over the catalog")]
    Deposed,
}

impl Error {
    /// Why a commit failed: the only expectation of every commit is the epoch.
    fn of_commit(source: meta::Error) -> Self {
        if source.kind() == Kind::Conflict { Self::Deposed } else { Self::Commit { source } }
    }

    /// What a caller of `call` is told. A coordinator that does not lead did nothing: its successor is the one to ask.
    fn answer(self, call: &'static str) -> rpc::Error {
        match self {
            Self::Deposed | Self::NotRenewed => {
                rpc::Error::Stale { what: "the lead of the cluster".to_owned() }
            }
            other => rpc::Error::failed(call, &other),
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::ReadCatalog { source, .. } | Self::Commit { source } => source.kind(),
            Self::BadRecord { .. } => Kind::Corrupt,
            Self::NewerFormat { .. } => Kind::Invalid,
            Self::Deposed => Kind::Fenced,
            Self::NotRenewed => Kind::Unavailable,
        }
    }
}
