//! The fields of a collection, as a `MilvusCollection` says them.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::NumberOrText;

/// The fields of a collection. What is said here is used when it is made; functions (such as BM25) are not among it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema_rules()))]
pub struct CollectionSchema {
    /// Words about the collection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// The fields, in order: one primary key, at least one vector.
    #[schemars(length(min = 2, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub fields: Vec<CollectionField>,
    /// Whether rows may have keys beside these fields. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_dynamic_field: Option<bool>,
    /// Shards. Default 1. Only looked at when the collection is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub shards: Option<i32>,
    /// Partitions that a partition key spreads rows over. Default 16. Only looked at when the collection is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: Option<i64>,
    /// How fresh reads are where the client does not say. Default `Bounded`. Only looked at when the collection is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
}

/// How fresh reads are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Consistency {
    /// Every write that was acknowledged before.
    Strong,
    /// The client's own writes.
    Session,
    /// Everything older than a few seconds.
    #[default]
    Bounded,
    /// What there is.
    Eventually,
}

/// One field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = field_rules()))]
pub struct CollectionField {
    /// Its name.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Words about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Whether it is the key of rows: `Int64` or `VarChar`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<bool>,
    /// Whether the engine draws the key's values. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_id: Option<bool>,
    /// Dimensions of a dense or binary vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 262_144))]
    pub dim: Option<i64>,
    /// Longest text of a `VarChar`, or of one in an `Array`. Unit: bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub max_length: Option<i64>,
    /// Most values of an `Array`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_capacity: Option<i64>,
    /// Type of the values of an `Array`: a scalar one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element_type: Option<FieldType>,
    /// Whether rows may leave it out. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nullable: Option<bool>,
    /// The value of rows that leave it out: a boolean, number or text as the type asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub default: Option<Value>,
    /// Whether it decides in which partition a row is: `Int64` or `VarChar`. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<bool>,
    /// More type parameters by Milvus's names, such as `mmap.enabled`. Only looked at when the collection is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "super::collection::texts")]
    pub params: BTreeMap<String, NumberOrText>,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FieldType {
    /// True or false.
    Bool,
    /// 8 bits.
    Int8,
    /// 16 bits.
    Int16,
    /// 32 bits.
    Int32,
    /// 64 bits.
    #[default]
    Int64,
    /// A single.
    Float,
    /// A double.
    Double,
    /// Text of at most `maxLength` bytes.
    VarChar,
    /// A JSON value.
    #[serde(rename = "JSON")]
    Json,
    /// Up to `maxCapacity` values of `elementType`.
    Array,
    /// Singles.
    FloatVector,
    /// Halves.
    Float16Vector,
    /// Halves with the range of singles.
    #[serde(rename = "BFloat16Vector")]
    BFloat16Vector,
    /// Bytes.
    Int8Vector,
    /// Bits.
    BinaryVector,
    /// Values by index.
    SparseFloatVector,
}

impl FieldType {
    /// The word in a spec.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::Int8 => "Int8",
            Self::Int16 => "Int16",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Float => "Float",
            Self::Double => "Double",
            Self::VarChar => "VarChar",
            Self::Json => "JSON",
            Self::Array => "Array",
            Self::FloatVector => "FloatVector",
            Self::Float16Vector => "Float16Vector",
            Self::BFloat16Vector => "BFloat16Vector",
            Self::Int8Vector => "Int8Vector",
            Self::BinaryVector => "BinaryVector",
            Self::SparseFloatVector => "SparseFloatVector",
        }
    }
}

/// Any JSON value.
fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

fn schema_rules() -> Value {
    json!([
        {"rule": "self.fields.filter(field, has(field.primaryKey) && field.primaryKey).size() == 1",
            "message": "spec.schema.fields: one field must have primaryKey: true"},
        {"rule": "self.fields.exists(field, field.type.endsWith('Vector'))",
            "message": "spec.schema.fields: one field must be a vector"},
        {"rule": "self.fields.filter(field, has(field.partitionKey) && field.partitionKey).size() <= 1",
            "message": "spec.schema.fields: at most one field can have partitionKey: true"},
        {"rule": "!has(self.partitions) || self.fields.exists(field, has(field.partitionKey) && field.partitionKey)",
            "message": "spec.schema.partitions needs a field with partitionKey: true"},
    ])
}

fn field_rules() -> Value {
    json!([
        {"rule": "(self.type.endsWith('Vector') && self.type != 'SparseFloatVector') == has(self.dim)",
            "message": "dim is for dense and binary vectors, and these need it"},
        {"rule": "(self.type == 'VarChar' || self.type == 'Array' && has(self.elementType) && self.elementType == 'VarChar') \
                  == has(self.maxLength)",
            "message": "maxLength is for VarChar and for arrays of it, and these need it"},
        {"rule": "(self.type == 'Array') == has(self.elementType) && (self.type == 'Array') == has(self.maxCapacity)",
            "message": "elementType and maxCapacity are for Array, and it needs both"},
        {"rule": "!has(self.elementType) || !(self.elementType in ['Array', 'JSON']) && !self.elementType.endsWith('Vector')",
            "message": "elementType must be a scalar type"},
        {"rule": "!has(self.primaryKey) || !self.primaryKey || self.type in ['Int64', 'VarChar']",
            "message": "primaryKey is for Int64 and VarChar"},
        {"rule": "!has(self.primaryKey) || !self.primaryKey || !has(self.nullable) || !self.nullable",
            "message": "a primary key cannot be nullable"},
        {"rule": "!has(self.autoId) || !self.autoId || has(self.primaryKey) && self.primaryKey",
            "message": "autoId is for the primary key"},
        {"rule": "!has(self.partitionKey) || !self.partitionKey || self.type in ['Int64', 'VarChar']",
            "message": "partitionKey is for Int64 and VarChar"},
    ])
}
