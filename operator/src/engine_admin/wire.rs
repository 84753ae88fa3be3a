//! Schemas, indexes and properties as Milvus's API carries them.

use std::collections::BTreeMap;

use contract::pb::common::{ConsistencyLevel, KeyValuePair};
use contract::pb::milvus::{CreateCollectionRequest, IndexDescription};
use contract::pb::schema::{self, DataType, FieldSchema, ValueField, value_field};
use prost::Message as _;

use crate::crd::{Consistency, FieldType};
use crate::topology::{EngineField, EngineIndex, EngineSchema, NewCollection};

/// Name of the hidden field that holds dynamic keys.
const DYNAMIC_FIELD: &str = "$meta";
/// Parameters of an index that are JSON text with more of them in it.
const NESTED: &str = "params";

/// The call that makes a collection.
pub(super) fn create(database: &str, name: &str, new: &NewCollection) -> CreateCollectionRequest {
    let schema = schema::CollectionSchema {
        name: name.to_owned(),
        description: new.schema.description.clone(),
        fields: new.schema.fields.iter().map(field_to).collect(),
        enable_dynamic_field: new.schema.dynamic,
        ..schema::CollectionSchema::default()
    };
    CreateCollectionRequest {
        db_name: database.to_owned(),
        collection_name: name.to_owned(),
        schema: schema.encode_to_vec(),
        shards_num: new.shards,
        num_partitions: new.partitions,
        consistency_level: match new.consistency {
            Consistency::Strong => ConsistencyLevel::Strong,
            Consistency::Session => ConsistencyLevel::Session,
            Consistency::Bounded => ConsistencyLevel::Bounded,
            Consistency::Eventually => ConsistencyLevel::Eventually,
        }
        .into(),
        properties: pairs_to(&new.properties),
        ..CreateCollectionRequest::default()
    }
}

fn field_to(field: &EngineField) -> FieldSchema {
    let kind = field.kind.map_or(DataType::None, kind_to);
    FieldSchema {
        name: field.name.clone(),
        description: field.description.clone(),
        data_type: kind.into(),
        element_type: field.element.map_or(DataType::None, kind_to).into(),
        is_primary_key: field.primary,
        auto_id: field.auto_id,
        nullable: field.nullable,
        is_partition_key: field.partition_key,
        default_value: field.default.as_deref().and_then(|text| default_to(field.kind?, text)),
        type_params: pairs_to(&field.params),
        ..FieldSchema::default()
    }
}

/// The fields that a collection has.
pub(super) fn schema_from(found: schema::CollectionSchema) -> EngineSchema {
    let shown = |field: &FieldSchema| !field.is_dynamic && field.name != DYNAMIC_FIELD;
    EngineSchema {
        description: found.description,
        dynamic: found.enable_dynamic_field,
        fields: found.fields.into_iter().filter(shown).map(field_from).collect(),
    }
}

fn field_from(found: FieldSchema) -> EngineField {
    EngineField {
        kind: kind_from(found.data_type()),
        element: kind_from(found.element_type()),
        default: found.default_value.clone().and_then(default_from),
        name: found.name,
        description: found.description,
        primary: found.is_primary_key,
        auto_id: found.auto_id,
        nullable: found.nullable,
        partition_key: found.is_partition_key,
        params: pairs_from(found.type_params),
    }
}

const fn kind_to(kind: FieldType) -> DataType {
    match kind {
        FieldType::Bool => DataType::Bool,
        FieldType::Int8 => DataType::Int8,
        FieldType::Int16 => DataType::Int16,
        FieldType::Int32 => DataType::Int32,
        FieldType::Int64 => DataType::Int64,
        FieldType::Float => DataType::Float,
        FieldType::Double => DataType::Double,
        FieldType::VarChar => DataType::VarChar,
        FieldType::Json => DataType::Json,
        FieldType::Array => DataType::Array,
        FieldType::FloatVector => DataType::FloatVector,
        FieldType::Float16Vector => DataType::Float16Vector,
        FieldType::BFloat16Vector => DataType::BFloat16Vector,
        FieldType::Int8Vector => DataType::Int8Vector,
        FieldType::BinaryVector => DataType::BinaryVector,
        FieldType::SparseFloatVector => DataType::SparseFloatVector,
    }
}

/// `None` for a type that no spec can name.
fn kind_from(kind: DataType) -> Option<FieldType> {
    const ALL: [FieldType; 16] = [
        FieldType::Bool,
        FieldType::Int8,
        FieldType::Int16,
        FieldType::Int32,
        FieldType::Int64,
        FieldType::Float,
        FieldType::Double,
        FieldType::VarChar,
        FieldType::Json,
        FieldType::Array,
        FieldType::FloatVector,
        FieldType::Float16Vector,
        FieldType::BFloat16Vector,
        FieldType::Int8Vector,
        FieldType::BinaryVector,
        FieldType::SparseFloatVector,
    ];
    ALL.into_iter().find(|known| kind_to(*known) == kind)
}

/// A default value; one that is no text of its type is none.
fn default_to(kind: FieldType, text: &str) -> Option<ValueField> {
    use value_field::Data;
    let data = match kind {
        FieldType::Bool => Data::BoolData(text.parse().ok()?),
        FieldType::Int8 | FieldType::Int16 | FieldType::Int32 => Data::IntData(text.parse().ok()?),
        FieldType::Int64 => Data::LongData(text.parse().ok()?),
        FieldType::Float => Data::FloatData(text.parse().ok()?),
        FieldType::Double => Data::DoubleData(text.parse().ok()?),
        FieldType::VarChar => Data::StringData(text.to_owned()),
        FieldType::Json
        | FieldType::Array
        | FieldType::FloatVector
        | FieldType::Float16Vector
        | FieldType::BFloat16Vector
        | FieldType::Int8Vector
        | FieldType::BinaryVector
        | FieldType::SparseFloatVector => return None,
    };
    Some(ValueField { data: Some(data) })
}

fn default_from(value: ValueField) -> Option<String> {
    use value_field::Data;
    Some(match value.data? {
        Data::BoolData(value) => value.to_string(),
        Data::IntData(value) => value.to_string(),
        Data::LongData(value) | Data::TimestamptzData(value) => value.to_string(),
        Data::FloatData(value) => value.to_string(),
        Data::DoubleData(value) => value.to_string(),
        Data::StringData(value) => value,
        Data::BytesData(value) => String::from_utf8_lossy(&value).into_owned(),
        Data::DateData(_) | Data::TimeData(_) => return Some("another value".to_owned()),
    })
}

/// An index, each parameter beside the others.
pub(super) fn index_from(found: IndexDescription) -> EngineIndex {
    let mut params = pairs_from(found.params);
    if let Some(text) = params.remove(NESTED)
        && let Ok(nested) = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&text)
    {
        let plain = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        params.extend(nested.into_iter().map(|(key, value)| (key, plain(value))));
    }
    EngineIndex { name: found.index_name, field: found.field_name, params }
}

pub(super) fn pairs_to(pairs: &BTreeMap<String, String>) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: key.clone(), value: value.clone() }).collect()
}

pub(super) fn pairs_from(pairs: Vec<KeyValuePair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}
