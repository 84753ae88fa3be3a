//! Schemas and rows for tests of segments and of what reads them.

use crate::base::FieldId;
use crate::model::fixture::schema_of;
use crate::model::{Batch, Bitset, ColumnData, DataType, Field, Keys, Schema, Value};

pub(crate) const KEY: FieldId = FieldId(100);
pub(crate) const NUMBER: FieldId = FieldId(101);
pub(crate) const NOTE: FieldId = FieldId(102);
pub(crate) const VECTOR: FieldId = FieldId(103);
pub(crate) const ADDED: FieldId = FieldId(104);
pub(crate) const DIM: usize = 3;

pub(crate) fn field(id: FieldId, name: &str, data_type: DataType) -> Field {
    Field {
        id,
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary: id == KEY,
        auto_id: false,
        is_dynamic: false,
        nullable: id != KEY && id != NUMBER,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: if data_type.is_vector() {
            vec![("dim".to_owned(), DIM.to_string())]
        } else {
            Vec::new()
        },
    }
}

/// A key of `key`, a number `n`, a nullable text `note`, a nullable vector `v` of three components.
pub(crate) fn schema(key: DataType) -> Schema {
    let fields = vec![
        field(KEY, "id", key),
        field(NUMBER, "n", DataType::Int64),
        field(NOTE, "note", DataType::VarChar),
        field(VECTOR, "v", DataType::FloatVector),
    ];
    schema_of(fields)
}

/// One row of [`schema`]; the key is a number or that number as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) key: i64,
    pub(crate) number: i64,
    pub(crate) note: Option<String>,
    pub(crate) vector: Option<[f32; DIM]>,
}

impl Row {
    /// A row that follows from its key and a number.
    pub(crate) fn of(key: i64, number: i64) -> Self {
        Self {
            key,
            number,
            note: (number % 3 != 0).then(|| format!("note {number}")),
            vector: (number % 7 != 6)
                .then(|| [number as f32, (number * number % 11) as f32, key as f32 / 4.0]),
        }
    }

    /// The vector's value, as a gathered column gives it.
    pub(crate) fn vector_value(&self) -> Value {
        self.vector.map_or(Value::Null, |vector| Value::Vector(vector.to_vec()))
    }

    pub(crate) fn note_value(&self) -> Value {
        self.note.clone().map_or(Value::Null, Value::Text)
    }
}

/// Keys of the type that `schema` has.
pub(crate) fn keys(schema: &Schema, keys: &[i64]) -> Keys {
    if schema.primary().data_type == DataType::Int64 {
        return Keys::Int(keys.to_vec());
    }
    Keys::Text(keys.iter().map(|key| text_key(*key)).collect::<Vec<_>>().iter().map(String::as_str).collect())
}

/// A number as text that orders as the number does.
pub(crate) fn text_key(key: i64) -> String {
    format!("key{key:04}")
}

pub(crate) fn batch(schema: &Schema, rows: &[Row]) -> Batch {
    let mut batch = Batch::empty(schema);
    batch.rows = rows.len();
    let mut notes = ColumnData::VarChar(crate::model::Texts::new());
    let mut vectors = ColumnData::FloatVector { dim: DIM, values: Vec::new() };
    for row in rows {
        notes.push(&row.note_value()).unwrap();
        vectors.push(&row.vector_value()).unwrap();
    }
    let all_keys: Vec<i64> = rows.iter().map(|row| row.key).collect();
    batch.columns[0].data = match keys(schema, &all_keys) {
        Keys::Int(keys) => ColumnData::Int64(keys),
        Keys::Text(keys) => ColumnData::VarChar(keys),
    };
    batch.columns[1].data = ColumnData::Int64(rows.iter().map(|row| row.number).collect());
    batch.columns[2].data = notes;
    batch.columns[3].data = vectors;
    for (column, is_valid) in [
        (2, rows.iter().map(|row| row.note.is_some()).collect::<Vec<_>>()),
        (3, rows.iter().map(|row| row.vector.is_some()).collect()),
    ] {
        if is_valid.contains(&false) {
            batch.columns[column].valid = Some(Bitset::from_fn(rows.len(), |row| is_valid[row]));
        }
    }
    batch
}
