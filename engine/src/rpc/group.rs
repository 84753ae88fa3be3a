//! Resource groups and replicas, as the coordinator shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{HeldCollection, LoadReport, NodeInfo, NodeState, OpenChannel};
use crate::base::{ChannelName, CollectionId, NodeId, PartitionId, SegmentId, Timestamp};

/// The group that every query node without another one is in. It always exists.
pub const DEFAULT_GROUP: &str = "__default_resource_group";

/// What a resource group asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupConfig {
    /// Query nodes it needs.
    pub requests: u32,
    /// Query nodes it takes at most.
    pub limits: u32,
    /// Groups whose surplus nodes it takes first, in order.
    pub transfer_from: Vec<String>,
    /// Groups that its surplus nodes go to first, in order.
    pub transfer_to: Vec<String>,
    /// Only nodes with all of these labels.
    pub node_filter: BTreeMap<String, String>,
}

/// A resource group and who is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub config: GroupConfig,
    /// The query nodes in it, ascending by id.
    pub nodes: Vec<GroupNode>,
    /// Replicas in it, by collection.
    pub replicas: BTreeMap<CollectionId, u32>,
    /// Nodes outside that serve replicas of this group until they are moved, by collection.
    pub outgoing: BTreeMap<CollectionId, u32>,
    /// Nodes inside that serve replicas of other groups until they are moved, by collection.
    pub incoming: BTreeMap<CollectionId, u32>,
}

/// A member of a resource group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupNode {
    /// The node.
    pub id: NodeId,
    /// Its address.
    pub address: String,
    /// The name of its machine or pod.
    pub host: String,
}

/// One copy of a collection in memory, as it is placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaInfo {
    /// Its id.
    pub id: i64,
    /// Its collection.
    pub collection: CollectionId,
    /// Partitions that are loaded; empty for all.
    pub partitions: Vec<PartitionId>,
    /// Its resource group.
    pub group: String,
    /// Its nodes, ascending by id.
    pub nodes: Vec<NodeId>,
    /// By channel: the node that follows it, with its address, and all nodes that hold something of it.
    pub shards: Vec<ReplicaShard>,
    /// Segments by node.
    pub segments: Vec<(NodeId, SegmentId)>,
    /// Whether every row of it can be read now.
    pub complete: bool,
}

/// One channel of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaShard {
    /// Its name.
    pub channel: ChannelName,
    /// The node that holds its rows that are not sealed; 0 while there is none.
    pub leader: NodeId,
    /// The leader's address.
    pub address: String,
    /// Nodes that hold something of it, ascending.
    pub nodes: Vec<NodeId>,
}

/// A node as the coordinator sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Who it is.
    pub info: NodeInfo,
    /// Whether it wants work.
    pub state: NodeState,
    /// Its resource group; empty for none.
    pub group: String,
    /// When it joined.
    pub since: Timestamp,
    /// Channels it owns.
    pub channels: Vec<ChannelName>,
    /// Collections of which it holds something.
    pub collections: Vec<CollectionId>,
    /// Segments it holds.
    pub segments: u64,
    /// Things it still has to hand over before it can go: channels, segments, followed channels.
    pub remaining: u64,
    /// How busy it is.
    pub load: LoadReport,
    /// Channels it reports to have open.
    #[serde(default)]
    pub open: Vec<OpenChannel>,
    /// Data it reports to hold.
    #[serde(default)]
    pub held: Vec<HeldCollection>,
    /// The same as `remaining`, by kind.
    #[serde(default)]
    pub left: Left,
}

/// What a node still has to hand over before it can go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Left {
    /// Channels that it owns or still has open.
    pub channels: u64,
    /// Sealed segments that it is still to hold.
    pub segments: u64,
    /// Channels whose unsealed rows it is still to hold.
    pub followed: u64,
}
