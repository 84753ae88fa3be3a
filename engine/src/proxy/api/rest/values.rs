//! Columns of the wire as JSON, with the habits of Milvus's REST API.
//!
//! 64-bit integers are texts unless the client takes numbers, JSON fields are texts, dynamic keys are keys of the row.
//! Source: wire specification 4.1.

use contract::pb::schema::{FieldData, IDs, field_data, i_ds, scalar_field, vector_field};
use serde_json::{Map, Value as Json, json};

use crate::proxy::convert::{arrays, sparse};

/// Row `row` of some columns as a JSON object.
pub fn row(columns: &[FieldData], row: usize, takes_int64: bool) -> Map<String, Json> {
    let mut object = Map::new();
    for column in columns {
        let value = value(column, row, takes_int64);
        match value {
            Json::String(text) if column.is_dynamic => {
                let keys: Map<String, Json> = serde_json::from_str(&text).unwrap_or_default();
                object.extend(keys);
            }
            value => {
                object.insert(column.field_name.clone(), value);
            }
        }
    }
    object
}

/// A 64-bit integer.
fn int64(value: i64, takes_int64: bool) -> Json {
    if takes_int64 { json!(value) } else { json!(value.to_string()) }
}

/// Primary key `at`.
pub fn id(ids: Option<&IDs>, at: usize, takes_int64: bool) -> Json {
    match ids.and_then(|ids| ids.id_field.as_ref()) {
        Some(i_ds::IdField::IntId(ids)) => ids.data.get(at).map_or(Json::Null, |id| int64(*id, takes_int64)),
        Some(i_ds::IdField::StrId(ids)) => ids.data.get(at).map_or(Json::Null, |id| json!(id)),
        _ => Json::Null,
    }
}

fn value(column: &FieldData, row: usize, takes_int64: bool) -> Json {
    if column.valid_data.get(row) == Some(&false) {
        return Json::Null;
    }
    match &column.field {
        Some(field_data::Field::Scalars(scalars)) => scalar(scalars.data.as_ref(), row, takes_int64),
        Some(field_data::Field::Vectors(vectors)) => {
            // Vectors of rows without one are left out of the column.
            let row = column.valid_data.iter().take(row).filter(|valid| **valid).count()
                + if column.valid_data.is_empty() { row } else { 0 };
            let dim = usize::try_from(vectors.dim).unwrap_or(0);
            match &vectors.data {
                Some(vector_field::Data::FloatVector(all)) => {
                    all.data.get(row * dim..(row + 1) * dim).map_or(Json::Null, |vector| json!(vector))
                }
                Some(vector_field::Data::Float16Vector(all) | vector_field::Data::Bfloat16Vector(all)) => {
                    base64(all, row, dim * 2)
                }
                Some(vector_field::Data::Int8Vector(all)) => base64(all, row, dim),
                Some(vector_field::Data::BinaryVector(all)) => base64(all, row, dim / 8),
                Some(vector_field::Data::SparseFloatVector(all)) => {
                    all.contents.get(row).map_or(Json::Null, |content| sparse::to_json(content))
                }
                _ => Json::Null,
            }
        }
        _ => Json::Null,
    }
}

/// Bytes `row` of a column with `width` each.
fn base64(all: &[u8], row: usize, width: usize) -> Json {
    use base64::Engine as _;
    let encode = |bytes| json!(base64::engine::general_purpose::STANDARD.encode(bytes));
    all.get(row * width..(row + 1) * width).map_or(Json::Null, encode)
}

fn scalar(data: Option<&scalar_field::Data>, row: usize, takes_int64: bool) -> Json {
    use scalar_field::Data;
    let found = match data {
        Some(Data::BoolData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::IntData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::LongData(values)) => values.data.get(row).map(|value| int64(*value, takes_int64)),
        Some(Data::FloatData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::DoubleData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::StringData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::ArrayData(values)) => values.data.get(row).map(arrays::dumped),
        Some(Data::JsonData(values)) => {
            values.data.get(row).map(|value| json!(String::from_utf8_lossy(value)))
        }
        _ => None,
    };
    found.unwrap_or(Json::Null)
}
