//! Who owns a channel and who serves a collection: what a router needs to know.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{ChannelName, CollectionId, NodeId, PartitionId, Position, SegmentId, Timestamp};

/// Where calls about one node go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// Its address, for [`super::Dial`].
    pub address: Arc<str>,
}

/// Who may write to a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The channel.
    pub channel: ChannelName,
    /// Its owner; `None` while there is no node for it.
    pub place: Option<Place>,
    /// The owner's term.
    pub term: u64,
}

/// What one node contributes to a read of one channel. Over all nodes of a replica the shares of a channel hold every
/// row exactly once: sealed segments as listed, and the rows from the position on that no listed segment holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelShare {
    /// The channel.
    pub channel: ChannelName,
    /// Sealed segments to read, ascending.
    pub segments: Vec<SegmentId>,
    /// Rows to read that are not in segments: those at this position and after it.
    pub growing_from: Option<Position>,
}

/// What one node contributes to a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// By channel.
    pub channels: Vec<ChannelShare>,
    /// Of which partitions these are all the rows. Of others, which are being loaded, there may be some.
    #[serde(default)]
    pub extent: Extent,
    /// The time that each channel is read at, in the order of `channels`; empty for whatever time the node has come to.
    /// Later rows and deletes are not seen. Routes have none: a read whose channels are spread over nodes sets them.
    #[serde(default)]
    pub times: Vec<Timestamp>,
}

/// Of which partitions something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// Somebody of a version that does not say it: of all that is asked for.
    #[default]
    Unsaid,
    /// Of all partitions, also those to come.
    All,
    /// Of these.
    These(Vec<PartitionId>),
}

impl Extent {
    /// That of a list of partitions; `None` for all.
    #[must_use]
    pub fn of(partitions: Option<&[PartitionId]>) -> Self {
        partitions.map_or(Self::All, |list| Self::These(list.to_vec()))
    }

    /// The list of partitions; `None` for all.
    #[must_use]
    pub fn partitions(&self) -> Option<&[PartitionId]> {
        match self {
            Self::Unsaid | Self::All => None,
            Self::These(list) => Some(list),
        }
    }

    /// Whether it is of all that is `wanted`; `None` for all partitions.
    #[must_use]
    pub fn covers(&self, wanted: Option<&[PartitionId]>) -> bool {
        match self {
            Self::Unsaid | Self::All => true,
            Self::These(there) => covers(Some(there), wanted),
        }
    }
}

/// Times that a node can read its part of a channel at, without waiting and without error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSpan {
    /// Before this, rows that were deleted since are missing: they were dropped when segments were compacted.
    pub from: Timestamp,
    /// Everything up to this time has been applied.
    pub to: Timestamp,
}

/// One node's part of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeShare {
    /// The node.
    pub place: Place,
    /// What it contributes.
    pub share: Arc<Share>,
}

/// One whole copy of a collection in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaRoute {
    /// Its id.
    pub id: i64,
    /// The resource group it is in.
    pub group: String,
    /// The zone that all of its nodes are in; empty if they are not, or have none.
    #[serde(default)]
    pub zone: String,
    /// Its nodes' parts: together every row once.
    pub nodes: Vec<NodeShare>,
    /// Of which partitions it has the rows: fewer than are wanted while others are being loaded. `None` for all, and from
    /// leaders of versions that do not say it.
    #[serde(default)]
    pub partitions: Option<Vec<PartitionId>>,
}

impl ReplicaRoute {
    /// Whether it has the rows of `wanted`; `None` for all partitions.
    #[must_use]
    pub fn covers(&self, wanted: Option<&[PartitionId]>) -> bool {
        covers(self.partitions.as_deref(), wanted)
    }
}

/// Whether what there is of some partitions is all of `wanted`; `None` for all partitions.
#[must_use]
pub fn covers(there: Option<&[PartitionId]>, wanted: Option<&[PartitionId]>) -> bool {
    match (there, wanted) {
        (None, _) => true,
        (Some(_), None) => false,
        // Mostly they are the same, and there may be a thousand.
        (Some(there), Some(wanted)) => {
            there == wanted || wanted.iter().all(|partition| there.contains(partition))
        }
    }
}

/// How a collection is written and read, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// The collection.
    pub collection: CollectionId,
    /// Grows with each change, also over changes of the leader.
    pub version: u64,
    /// By channel, in the order of the collection's channels.
    pub owners: Vec<Owner>,
    /// Copies that can be read now; empty while none is complete.
    pub replicas: Vec<ReplicaRoute>,
    /// Whether the collection is to be loaded at all.
    pub wanted: bool,
    /// Which partitions are to be loaded; `None` for all.
    #[serde(default)]
    pub partitions: Option<Vec<PartitionId>>,
    /// What a read sees that names no partition. Fewer than are to be loaded while no copy has all of these: then as many as one
    /// has. Copies that have less are not read.
    #[serde(default)]
    pub readable: Extent,
    /// Whether a leader said this that does not know yet which copies there are: its predecessor's, if somebody
    /// remembers them.
    #[serde(default)]
    pub listening: bool,
    /// What is damaged or lost, in words for clients, if that is why no copy is complete, or nobody owns any channel.
    #[serde(default)]
    pub harm: Option<String>,
}

impl Routes {
    /// What a copy must have for a read of `named`; `None` for all partitions. Those of `named` that are not to be loaded it
    /// need not have: a node refuses them.
    #[must_use]
    pub fn needed(&self, named: Option<&[PartitionId]>) -> Option<Vec<PartitionId>> {
        let to_load = self.partitions.as_deref();
        match (named, &self.readable) {
            (Some(named), _) => {
                let is_to_load = |id: &&PartitionId| to_load.is_none_or(|list| list.contains(id));
                Some(named.iter().filter(is_to_load).copied().collect())
            }
            (None, Extent::These(list)) => Some(list.clone()),
            (None, Extent::All) => None,
            (None, Extent::Unsaid) => to_load.map(<[_]>::to_vec),
        }
    }
}

/// What a read must see, as a node understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAfter {
    /// Nothing in particular.
    Nothing,
    /// Every write up to this time.
    Time(Timestamp),
    /// The same, and all that was there at this time and is gone by now.
    History(Timestamp),
    /// Every write acknowledged before the call.
    Everything,
}

/// What a client asks of a read. Source: wire specification 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees everything acknowledged before the call, wherever it was written.
    Strong,
    /// Sees what the client itself wrote, up to this time.
    Session(Timestamp),
    /// Sees what was there at this time, or nothing if some of it is lost.
    History(Timestamp),
    /// Sees everything older than the grace time, and what was written through the same proxy.
    Bounded,
    /// Sees whatever is there.
    Eventually,
}
