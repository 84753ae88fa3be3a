//! The coordinator: catalog, ids and time, what is loaded, index jobs, garbage. The catalog's only writer.
//!
//! Decisions are pure functions in `decide`, from a [`catalog::Catalog`] to [`change::Change`]s, and the state machine in
//! `place`; [`drive::Coordinator`] commits changes in one transaction and only then applies them. [`Candidacy`] makes a
//! process lead, or stand by. No segment bytes, no wire types; blobs only in `shelf`, for what is too large for a record.

mod candidacy;
mod catalog;
mod change;
mod commit;
mod compaction;
#[cfg(test)]
mod crash_tests;
mod damage;
#[cfg(test)]
mod damage_test;
mod decide;
mod drains;
mod drive;
mod flaw;
mod format;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod imports;
#[cfg(test)]
mod imports_test;
mod jobs;
#[cfg(test)]
mod large_test;
mod lead;
#[cfg(test)]
mod lead_tests;
mod limits;
mod members;
mod mirror;
#[cfg(test)]
mod mortal;
mod newer;
mod page;
mod place;
mod rebuild;
#[cfg(test)]
mod rebuild_test;
mod record;
mod shelf;
mod steer;
mod stored;
mod sweep;
mod terms;
#[cfg(test)]
mod tests;
mod time;
mod truncate;

#[cfg(test)]
pub(crate) use damage_test::beside_damaged;

pub use candidacy::{Candidacy, CandidacyParts, find_leader};
pub use decide::Sizes;
pub use flaw::Flaw;
pub use format::{put as put_format, read as read_format};
pub use lead::LeadSettings;
pub use limits::{CompactionLimits, Limits};
pub use page::{CLUSTER, Image, REBUILDING};
pub use rebuild::{LogEnds, Rebuilt, check_empty, newest_generation, own_generation, read_mirror, rebuild};

use crate::base::{ChannelName, Kind, Kinded};
use crate::{blob, meta, rpc};

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
    /// A record of the catalog that was written is not there any more.
    #[error("the catalog record {key} is gone")]
    NoRecord {
        /// Which record.
        key: String,
    },
    /// An object of the catalog could not be read or stored.
    #[error("the catalog's object {key} is out of reach")]
    Store {
        /// Which object.
        key: String,
        /// Why.
        #[source]
        source: blob::Error,
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
    /// A catalog is to be made anew where there is one.
    #[error("the metadata is not empty: it has {found}")]
    NotEmpty {
        /// What is there.
        found: String,
    },
    /// There is nothing to make a catalog from.
    #[error("the object store has no copy of a catalog")]
    NoMirror,
    /// It is not known how far a log goes.
    #[error("cannot see whether the log of {channel} is there")]
    Log {
        /// Which log.
        channel: ChannelName,
        /// Why.
        #[source]
        source: rpc::Error,
    },
    /// Somebody else makes the catalog anew, or writes it still.
    #[error("the catalog is being written or made anew by somebody else")]
    StillWritten,
    /// The catalog was made anew elsewhere.
    #[error(
        "this metadata is old: it was made anew elsewhere, which the object store says is generation {newest}"
    )]
    Superseded {
        /// The newest.
        newest: u64,
    },
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
            Self::Store { source, .. } => source.kind(),
            Self::BadRecord { .. } | Self::NoRecord { .. } => Kind::Corrupt,
            Self::NotEmpty { .. } | Self::StillWritten | Self::Superseded { .. } => Kind::Conflict,
            Self::Log { source, .. } => source.kind(),
            Self::NoMirror => Kind::NotFound,
            Self::NewerFormat { .. } => Kind::Invalid,
            Self::Deposed => Kind::Fenced,
            Self::NotRenewed => Kind::Unavailable,
        }
    }
}
