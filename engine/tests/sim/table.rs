//! The rows of both worlds: a key, a value, and a vector that follows from the value.

use std::sync::Arc;

use engine::base::FieldId;
use engine::model::{Batch, Column, ColumnData, DataType, Field, Keys, Schema};

pub const DIM: usize = 4;
pub const KEY: FieldId = FieldId(100);
pub const VALUE: FieldId = FieldId(101);
pub const VECTOR: FieldId = FieldId(102);

fn field(id: FieldId, name: &str, data_type: DataType) -> Field {
    let type_params =
        if data_type.is_vector() { vec![("dim".to_owned(), DIM.to_string())] } else { Vec::new() };
    Field {
        id,
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary: id == KEY,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params,
    }
}

pub fn schema() -> Schema {
    let fields = vec![
        field(KEY, "id", DataType::Int64),
        field(VALUE, "value", DataType::Int64),
        field(VECTOR, "vector", DataType::FloatVector),
    ];
    Schema {
        description: String::new(),
        fields,
        enable_dynamic_field: false,
        functions: Vec::new(),
        structs: Vec::new(),
        youngest_dropped: None,
    }
}

pub fn vector(value: i64) -> [f32; DIM] {
    [value as f32, 1.0, (value % 7) as f32, -(value as f32)]
}

pub fn batch(rows: &[(i64, i64)]) -> (Arc<Keys>, Arc<Batch>) {
    let keys: Vec<i64> = rows.iter().map(|(key, _)| *key).collect();
    let values: Vec<i64> = rows.iter().map(|(_, value)| *value).collect();
    let vectors = values.iter().flat_map(|value| vector(*value)).collect();
    let column = |field, data| Column { field, data, valid: None };
    let columns = vec![
        column(KEY, ColumnData::Int64(keys.clone())),
        column(VALUE, ColumnData::Int64(values)),
        column(VECTOR, ColumnData::FloatVector { dim: DIM, values: vectors }),
    ];
    (Arc::new(Keys::Int(keys)), Arc::new(Batch { rows: rows.len(), columns }))
}
