//! The `MilvusCollection` object: a collection with its indexes, its names, its properties, and how it is loaded.
#![expect(clippy::duplicated_attributes, reason = "each printer column has its own `type_`")]

use std::collections::BTreeMap;

use kube::{CustomResource, ResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};

use super::{CollectionSchema, Condition, DatabaseRef};

/// A collection of a database: its fields, indexes, aliases and properties, and how it is loaded. Where there is none of that name
/// and the object has a schema, it is made. Rows are never changed; they are dropped only with `deletionPolicy: Delete`.
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
    doc = "One collection of a Milvus: schema, indexes, aliases, properties, replicas and placement.",
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
    /// Database within it. Default `default`. It must exist. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub database: Option<String>,
    /// The collection. Default: the name of the object. Where it is an alias of a collection, only `load` is carried out: nothing
    /// else is made or changed through an alias. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// `Observe`: differences are shown and nothing is changed. `Manage`: the engine is brought to what the spec says. Default:
    /// `Manage` for a collection that this object made, `Observe` for one that was there before. Of several objects that manage one
    /// collection the oldest does; the others say so and change nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Fields of the collection, used when it is made. Where a collection that exists has others, that is shown in the condition
    /// `InSync` and nothing but `load` is carried out: data is neither rewritten nor dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<CollectionSchema>,
    /// Indexes, one a field. Indexes that are not listed are left alone, unless they were listed before: then they are dropped. A
    /// changed definition is carried out by dropping the index and making it anew; a collection that is loaded is released for
    /// that, which ends searches, and loaded again afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["field"]))]
    pub indexes: Vec<CollectionIndex>,
    /// What is to be in memory, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Other names of the collection. One that leads to another collection is moved in one step, so that it leads to either at
    /// every moment; if that one is loaded, not before this one is. Of several objects that list an alias the oldest has it.
    /// Aliases that are not listed are left alone, unless they were listed before: then they are dropped half a minute later, or
    /// left to the object that lists them by then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)), extend("x-kubernetes-list-type" = "set"))]
    pub aliases: Vec<String>,
    /// Properties by Milvus's names, such as `collection.ttl.seconds`. Numbers may stand without quotes. Those that are not listed
    /// are left alone, unless they were listed before: then they are removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub properties: BTreeMap<String, NumberOrText>,
    /// What becomes of the collection when the object is deleted. `Retain` (default): nothing. `Delete`: it is dropped with all its
    /// rows, if this object manages it under its own name and no other object does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<CollectionFate>,
}

/// An index of a field. Milvus's names and rules hold for types, metrics and parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CollectionIndex {
    /// The field.
    #[schemars(length(min = 1, max = 255))]
    pub field: String,
    /// Name of the index. Default: the field's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub name: Option<String>,
    /// Type, such as `HNSW` or `INVERTED`. Default `AUTOINDEX`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub kind: Option<String>,
    /// Metric of a vector: `L2`, `IP`, `COSINE`, `HAMMING` or `JACCARD`. Every type but `AUTOINDEX` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub metric: Option<String>,
    /// Parameters by Milvus's names, such as `M` and `efConstruction`. Numbers may stand without quotes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts")]
    pub params: BTreeMap<String, NumberOrText>,
}

/// What becomes of a collection when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CollectionFate {
    /// It stays.
    #[default]
    Retain,
    /// It is dropped.
    Delete,
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
    /// The collection's own name, where the spec names an alias of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// Whether this object is the one that changes the collection.
    #[serde(default)]
    pub managed: bool,
    /// Its indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexStatus>,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What this object has taken in hand and will remove once the spec does not list it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// What is in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadStatus>,
    /// The generation of the spec that everything here is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// An index, as the engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexStatus {
    /// Its name.
    pub name: String,
    /// Its field.
    pub field: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What an object has taken in hand. It is written before it is done, so that nothing is forgotten that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Number of the collection that this is about, as text; none while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the object made the collection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// Names of indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<String>,
    /// Aliases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Names of properties.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<String>,
    /// Definitions that indexes were made with, by the names of the indexes. One that the engine keeps otherwise is not made again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub definitions: BTreeMap<String, String>,
    /// Aliases that are no longer listed, each with the time since when; they are dropped half a minute later, unless another object
    /// lists them by then. RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub letting_go: BTreeMap<String, String>,
    /// Resource groups, one for each copy, in which a collection is to be loaded again that was released for a change of an index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reload: Vec<String>,
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

/// A map of texts; numbers may stand without quotes.
pub(super) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"x-kubernetes-int-or-string": true},
    })
}

/// A number or a text. A number of any size: one object with a value that is not read would hide all objects of its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NumberOrText {
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

/// The text of a value that may be a number.
#[must_use]
pub fn text_of(value: &NumberOrText) -> String {
    match value {
        NumberOrText::Number(number) => number.to_string(),
        NumberOrText::Text(text) => text.clone(),
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
        {"rule": "!has(self.policy) || self.policy != 'Observe' || !has(self.deletionPolicy) || self.deletionPolicy != 'Delete'",
            "message": "spec.deletionPolicy: Delete needs spec.policy: Manage; Observe changes nothing"},
        {"rule": "!has(self.name) || !has(self.aliases) || !(self.name in self.aliases)",
            "message": "spec.aliases: a collection's own name is no alias of it"},
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn a_value_may_be_a_text_or_a_number_of_any_size() {
        let properties = json!({"a": 3_153_600_000_i64, "b": -1, "c": "1", "d": u64::MAX, "e": 1.5});
        let spec = json!({"milvus": {"name": "db"}, "properties": properties});

        let read: MilvusCollectionSpec = from_value(spec.clone()).unwrap();

        let texts: Vec<String> = read.properties.values().map(text_of).collect();
        assert_eq!(texts, ["3153600000", "-1", "1", "18446744073709551615", "1.5"]);
        assert_eq!(serde_json::to_value(read).unwrap()["properties"], spec["properties"]);
    }
}
