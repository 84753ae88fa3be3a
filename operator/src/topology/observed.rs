//! What the engine has, as far as decisions need it.

use std::collections::BTreeMap;

use crate::crd::GroupNode;

/// What a resource group claims in the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeClaims {
    /// Query nodes it needs.
    pub requests: i32,
    /// Query nodes it takes at most.
    pub limits: i32,
    /// Groups from which missing nodes come first, in order.
    pub transfer_from: Vec<String>,
    /// Groups to which surplus nodes go first, in order.
    pub transfer_to: Vec<String>,
    /// Labels that nodes must have which are not pinned to it; ours never ask for any.
    pub node_filter: BTreeMap<String, String>,
}

/// A resource group as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineGroup {
    /// What it claims.
    pub claims: NodeClaims,
    /// Its query nodes.
    pub nodes: Vec<GroupNode>,
    /// Replicas in it, by collection.
    pub replicas: BTreeMap<String, i32>,
}

/// Whether a collection is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loading {
    /// It is not, and is not to be.
    #[default]
    Not,
    /// So many percent of it can be read.
    Under(i64),
    /// All of it can be read.
    Done,
}

/// A collection as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineCollection {
    /// Its number.
    pub id: i64,
    /// Whether it is in memory.
    pub loading: Loading,
    /// Why it cannot be loaded now, as the engine says.
    pub trouble: Option<String>,
    /// Its copies in memory.
    pub replicas: Vec<EngineReplica>,
}

/// A copy of a collection in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineReplica {
    /// Its number.
    pub id: i64,
    /// Its resource group.
    pub group: String,
    /// Whether only some partitions are wanted in it.
    pub partial: bool,
    /// Its query nodes, ascending.
    pub nodes: Vec<i64>,
    /// For each shard, whether a query node follows its newest rows.
    pub followed: Vec<bool>,
}
