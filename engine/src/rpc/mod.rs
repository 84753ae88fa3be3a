//! Calls between duties: one trait per duty. Duties never import each other; they meet here.
//!
//! In one process a duty's own object serves as the client of its peers. Knows no decisions and no duty's room.

mod builder;
mod coord;
mod querier;
mod refusal;
mod writer;

pub use builder::{Builder, IndexJob};
pub use coord::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, Coord, DatabaseInfo, Flushed,
    IndexProgress, LoadSpec, NewCollection, NewIndex, Target,
};
pub use querier::{LoadProgress, Querier};
pub use refusal::Refusal;
pub use writer::{Operation, Write, Writer, Written};

use crate::base::{Kind, Kinded, chain};

/// Why a call between duties failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer understood and said no: the user's doing.
    #[error("{0}")]
    Refused(Refusal),
    /// The peer could not do it now.
    #[error("{call} failed: {reason}")]
    Failed {
        /// Which call.
        call: &'static str,
        /// What kind of failure the peer reports.
        kind: Kind,
        /// The peer's whole chain of causes, as text.
        reason: String,
    },
}

impl Error {
    /// A failure of `call`, with the whole chain of its cause.
    pub fn failed(call: &'static str, cause: &(impl std::error::Error + Kinded)) -> Self {
        Self::Failed { call, kind: cause.kind(), reason: chain(cause) }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::Failed { kind, .. } => *kind,
        }
    }
}
