//! The `MilvusCollection` object: how many replicas an existing collection has, and where they are.
#![expect(clippy::duplicated_attributes, reason = "each printer column has its own `type_`")]

use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Condition, DatabaseRef};

/// Whether an existing collection is in memory, in how many replicas, and in which resource groups. It never makes, changes or
/// drops data; deleting the object changes nothing in the database.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "redkite.io",
    version = "v1alpha1",
    kind = "MilvusCollection",
    plural = "milvuscollections",
    singular = "milvuscollection",
    shortname = "mcoll",
    namespaced,
    status = "MilvusCollectionStatus",
    derive = "PartialEq",
    doc = "Replicas and placement of one collection of a Milvus.",
    printcolumn(json_path = ".spec.milvus.name", name = "Milvus", type_ = "string"),
    printcolumn(json_path = ".status.load.state", name = "State", type_ = "string"),
    printcolumn(json_path = ".status.load.replicaNum", name = "Replicas", type_ = "integer"),
    printcolumn(
        json_path = r#".status.conditions[?(@.type=="InSync")].status"#,
        name = "InSync",
        type_ = "string"
    ),
    printcolumn(
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        name = "Ready",
        type_ = "string"
    ),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct MilvusCollectionSpec {
    /// The database, in the same namespace. It cannot be changed.
    pub milvus: DatabaseRef,
    /// Database within it. Default `default`. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub database: Option<String>,
    /// The collection, or an alias of it. Default: the name of the object. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// `Observe` (default): differences are shown and nothing is changed. `Manage`: the engine is brought to what `load` says.
    #[serde(default)]
    pub policy: Policy,
    /// What is to be in memory, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// Whether the operator acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Policy {
    /// It only looks.
    #[default]
    Observe,
    /// It acts.
    Manage,
}

/// What is to be in memory, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// `Loaded`: the whole collection is in memory. `Released`: it is not. Unset: clients decide, and replicas are as said
    /// while it is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LoadState>,
    /// Copies in memory. Default: one for each of `resourceGroups`; without these, as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub replicas: Option<i32>,
    /// Resource groups, by their names in the engine: none for the default one, one for all copies, else one for each copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub resource_groups: Vec<String>,
}

/// Whether a collection is in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoadState {
    /// It can be searched.
    Loaded,
    /// It takes no memory.
    Released,
}

/// What is, as of `observedGeneration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusCollectionStatus {
    /// What holds, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The collection's number in the engine, as text: it does not fit the numbers of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadStatus>,
    /// The generation of the spec that everything here is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What of a collection is in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadStatus {
    /// `NotLoaded`, `Loading` or `Loaded`.
    pub state: String,
    /// Part that can be read. Unit: percent.
    pub percent: i64,
    /// Copies.
    pub replica_num: i32,
    /// Whether only some partitions are wanted in memory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Each copy, by resource group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaStatus>,
}

/// One copy of a collection in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its resource group.
    pub resource_group: String,
    /// Its number in the engine, as text.
    pub id: String,
    /// Query nodes that hold some of it, by their numbers in the engine.
    pub nodes: Vec<i64>,
    /// Shards of the collection.
    pub shards: i32,
    /// Shards of which a query node follows the newest rows.
    pub followed_shards: i32,
}

impl MilvusCollection {
    /// The database within the `Milvus`.
    #[must_use]
    pub fn database(&self) -> &str {
        self.spec.database.as_deref().unwrap_or("default")
    }

    /// The collection's name.
    #[must_use]
    pub fn collection(&self) -> String {
        self.spec.name.clone().unwrap_or_else(|| self.name_any())
    }
}

fn rules() -> Value {
    let same = |field: &str| {
        json!({
            "rule": format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"),
            "message": format!("spec.{field} cannot be changed"),
        })
    };
    json!([
        {"rule": "self.milvus.name == oldSelf.milvus.name", "message": "spec.milvus.name cannot be changed"},
        same("database"),
        same("name"),
        {"rule": "!has(self.load) || !has(self.load.resourceGroups) || size(self.load.resourceGroups) < 2 \
                  || !has(self.load.replicas) || self.load.replicas == size(self.load.resourceGroups)",
            "message": "spec.load.resourceGroups must name one group, or one for each of spec.load.replicas"},
    ])
}
