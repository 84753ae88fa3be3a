//! What the engine has, as far as decisions need it.

use std::collections::BTreeMap;

use crate::crd::{Consistency, FieldType, GroupNode};

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
    /// Its own name, also where it was asked for by an alias.
    pub name: String,
    /// Its fields.
    pub schema: EngineSchema,
    /// Its indexes.
    pub indexes: Vec<EngineIndex>,
    /// Its other names, ascending.
    pub aliases: Vec<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Whether it is in memory.
    pub loading: Loading,
    /// Why it cannot be loaded now, as the engine says.
    pub trouble: Option<String>,
    /// Its copies in memory.
    pub replicas: Vec<EngineReplica>,
}

/// The fields of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSchema {
    /// Words about the collection.
    pub description: String,
    /// The fields, in order, without the hidden one of dynamic keys.
    pub fields: Vec<EngineField>,
    /// Whether rows may have keys beside them.
    pub dynamic: bool,
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineField {
    /// Its name.
    pub name: String,
    /// Its type; `None` for one that no spec can name.
    pub kind: Option<FieldType>,
    /// Type of an array's values.
    pub element: Option<FieldType>,
    /// Words about it.
    pub description: String,
    /// Whether it is the key of rows.
    pub primary: bool,
    /// Whether the engine draws its values.
    pub auto_id: bool,
    /// Whether rows may leave it out.
    pub nullable: bool,
    /// Whether it decides in which partition a row is.
    pub partition_key: bool,
    /// The value of rows that leave it out, as text.
    pub default: Option<String>,
    /// Parameters of its type: `dim`, `max_length`, `max_capacity` and others.
    pub params: BTreeMap<String, String>,
}

/// An index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineIndex {
    /// Its name.
    pub name: String,
    /// Its field.
    pub field: String,
    /// Its definition: `index_type`, `metric_type` and the parameters, each beside the others.
    pub params: BTreeMap<String, String>,
}

/// Where an alias leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineAlias {
    /// The own name of the collection.
    pub collection: String,
    /// Whether that is in memory, or about to be.
    pub loaded: bool,
}

/// A collection that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewCollection {
    /// Its fields.
    pub schema: EngineSchema,
    /// Shards.
    pub shards: i32,
    /// Partitions of a partition key; 0 for the engine's choice.
    pub partitions: i64,
    /// How fresh reads are where the client does not say.
    pub consistency: Consistency,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
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
