//! Calls between duties: one trait per duty. Duties never import each other; they meet here.
//!
//! In one process a duty's own object serves as the client of its peers; [`net`] carries calls between processes. Knows
//! no decisions and no duty's room.

mod builder;
mod coord;
mod dial;
mod fsck;
mod group;
mod import;
mod lead;
mod local;
pub mod net;
mod node;
mod policy;
mod querier;
mod refusal;
mod route;
mod steer;
mod writer;

pub use builder::{Builder, ClusterBy, CompactJob, IndexJob, StoredObject};
pub use coord::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionPlan, CompactionState,
    CompactionStep, Coord, DatabaseInfo, Flushed, Followed, IndexProgress, LoadSpec, NewCollection, NewIndex,
    RETENTION, ReplicaSpec, TTL, TTL_FIELD,
};
pub use dial::{Dial, Reader};
pub use fsck::{Fsck, Resized, Unread};
pub use group::{
    DEFAULT_GROUP, GroupConfig, GroupInfo, GroupNode, Left, NodeStatus, ReplicaInfo, ReplicaShard,
};
pub use import::{
    ImportDone, ImportFormat, ImportInfo, ImportJob, ImportOptions, ImportPlace, ImportState, ImportTask,
    NewImport,
};
pub use lead::{DamagedCollection, JobCount, LeadInfo, Wants};
pub use local::{LocalNodes, Served};
pub use node::{
    Duties, Follower, HeldChannel, HeldCollection, HoldChannel, HoldOrder, LoadReport, Measured, NodeInfo,
    NodeState, OpenChannel, OrderNumber, Orders, OwnOrder, Report, Usage,
};
pub use policy::PolicyChange;
pub use querier::Querier;
pub use refusal::Refusal;
pub use route::{
    ChannelShare, Consistency, Extent, NodeShare, Owner, Place, ReadAfter, ReplicaRoute, Routes, Share,
    TimeSpan, covers,
};
pub use steer::{HeldParts, HeldTransfer, SteerChange, Steering};
pub use writer::{Mark, Operation, Request, Tail, Write, Writer, Written};

use crate::base::{Kind, Kinded, chain};

/// Why a call between duties failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer understood and said no: the user's doing.
    #[error("{0}")]
    Refused(Refusal),
    /// The peer is not, or no longer, the one to ask; it did nothing. Ask for the routes again, then the right one.
    #[error("{what} is not here")]
    Stale {
        /// What was asked for.
        what: String,
    },
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

    /// Whether the caller asked the wrong node, which did nothing.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Stale { .. })
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
            Self::Stale { .. } => Kind::Unavailable,
            Self::Failed { kind, .. } => *kind,
        }
    }
}
