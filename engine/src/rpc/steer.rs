//! What operators steer by hand, as the coordinator is asked for it and as it shows it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::{ChannelName, NodeId, SegmentId};

/// A change of what operators steer by hand. Each says what is to be, so that saying it twice does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SteerChange {
    /// Whether nothing is moved only for balance. Nodes that are lost or drain are relieved all the same.
    SuspendBalance(bool),
    /// Nothing that the catalog does not need any more is removed from the store for so long from now on. A pause that was
    /// asked for before and ends later stays.
    PauseGarbage {
        /// For how long. Unit: seconds.
        seconds: u64,
    },
    /// Ends the pause.
    ResumeGarbage,
    /// Whether a query node is given nothing more to hold. What it has stays there.
    SuspendNode {
        /// Which node.
        node: NodeId,
        /// Whether, or not any more.
        on: bool,
    },
}

/// What operators steer by hand, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Steering {
    /// Whether nothing is moved only for balance.
    pub balance_suspended: bool,
    /// For how long from now nothing is removed from the store; 0 if there is no pause. Unit: milliseconds.
    pub garbage_paused_ms: u64,
    /// Query nodes that are given nothing more to hold.
    pub suspended: BTreeSet<NodeId>,
}

/// Parts that a query node is to hand to others of the same replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTransfer {
    /// Who has them.
    pub from: NodeId,
    /// Who is to have them; `None` for the emptiest of each replica.
    pub to: Option<NodeId>,
    /// Which parts.
    pub parts: HeldParts,
}

/// Parts of what a query node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldParts {
    /// These sealed segments; none named: all.
    Segments(Vec<SegmentId>),
    /// The rows of these channels that are not sealed; none named: of all channels that it follows.
    Channels(Vec<ChannelName>),
}
