//! Columns of the wire as JSON, with the habits of Milvus's REST API.
//!
//! 64-bit integers are texts unless the client takes numbers, JSON fields are texts, dynamic keys are keys of the row, an array
//! of structs is a list of objects.
//! Source: wire specification 4.1.

use contract::pb::schema::{
    FieldData, IDs, ScalarField, VectorField, field_data, i_ds, scalar_field, vector_field,
};
use serde_json::{Map, Value as Json, json};

use crate::proxy::Error;
use crate::proxy::convert::json::{single, singles};
use crate::proxy::convert::{arrays, sparse};

/// Most numbers of vectors in one answer: in JSON each takes some 100 bytes of memory until it is sent.
const MAX_COMPONENTS: usize = 8 << 20;

/// The rows of some columns as JSON objects.
///
/// # Errors
/// [`Error::AnswerTooLarge`] for vectors of more numbers than there is room for.
pub fn rows(columns: &[FieldData], takes_int64: bool) -> Result<Vec<Map<String, Json>>, Error> {
    if columns.iter().map(components).sum::<usize>() > MAX_COMPONENTS {
        return Err(Error::AnswerTooLarge { limit: MAX_COMPONENTS });
    }
    let count = columns.iter().map(len).max().unwrap_or(0);
    // Vectors of rows without one are left out of their column: each column has a place of its own.
    let mut places = vec![0; columns.len()];
    Ok((0..count).map(|at| row(columns, &mut places, at, takes_int64)).collect())
}

/// How many numbers the vectors of a column have, where they are shown one by one.
fn components(column: &FieldData) -> usize {
    match &column.field {
        Some(field_data::Field::Vectors(vectors)) => match &vectors.data {
            Some(vector_field::Data::FloatVector(all)) => all.data.len(),
            Some(vector_field::Data::SparseFloatVector(all)) => {
                all.contents.iter().map(|content| content.len() / 8).sum()
            }
            Some(vector_field::Data::VectorArray(all)) => {
                let singles = |row: &VectorField| match &row.data {
                    Some(vector_field::Data::FloatVector(all)) => all.data.len(),
                    _ => 0,
                };
                all.data.iter().map(singles).sum()
            }
            _ => 0,
        },
        Some(field_data::Field::StructArrays(parts)) => parts.fields.iter().map(components).sum(),
        _ => 0,
    }
}

/// How many rows a column has.
fn len(column: &FieldData) -> usize {
    use scalar_field::Data;
    if !column.valid_data.is_empty() {
        return column.valid_data.len();
    }
    match &column.field {
        Some(field_data::Field::Scalars(scalars)) => match &scalars.data {
            Some(Data::BoolData(values)) => values.data.len(),
            Some(Data::IntData(values)) => values.data.len(),
            Some(Data::LongData(values)) => values.data.len(),
            Some(Data::FloatData(values)) => values.data.len(),
            Some(Data::DoubleData(values)) => values.data.len(),
            Some(Data::StringData(values)) => values.data.len(),
            Some(Data::GeometryWktData(values)) => values.data.len(),
            Some(Data::ArrayData(values)) => values.data.len(),
            Some(Data::JsonData(values)) => values.data.len(),
            _ => 0,
        },
        Some(field_data::Field::Vectors(vectors)) => {
            let dim = usize::try_from(vectors.dim).unwrap_or(0).max(1);
            match &vectors.data {
                Some(vector_field::Data::FloatVector(all)) => all.data.len() / dim,
                Some(vector_field::Data::Float16Vector(all) | vector_field::Data::Bfloat16Vector(all)) => {
                    all.len() / (dim * 2)
                }
                Some(vector_field::Data::Int8Vector(all)) => all.len() / dim,
                Some(vector_field::Data::BinaryVector(all)) => all.len() / (dim / 8).max(1),
                Some(vector_field::Data::SparseFloatVector(all)) => all.contents.len(),
                Some(vector_field::Data::VectorArray(all)) => all.data.len(),
                _ => 0,
            }
        }
        Some(field_data::Field::StructArrays(parts)) => parts.fields.first().map_or(0, len),
        _ => 0,
    }
}

/// Row `row` of some columns; `places` are those of the next vector of each column.
fn row(columns: &[FieldData], places: &mut [usize], row: usize, takes_int64: bool) -> Map<String, Json> {
    let mut object = Map::new();
    for (column, place) in columns.iter().zip(places) {
        let value = value(column, row, place, takes_int64);
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

/// All primary keys.
pub fn ids(ids: Option<&IDs>, takes_int64: bool) -> Json {
    match ids.and_then(|ids| ids.id_field.as_ref()) {
        Some(i_ds::IdField::IntId(ids)) => ids.data.iter().map(|id| int64(*id, takes_int64)).collect(),
        Some(i_ds::IdField::StrId(ids)) => json!(ids.data),
        _ => json!([]),
    }
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

fn value(column: &FieldData, row: usize, place: &mut usize, takes_int64: bool) -> Json {
    if column.valid_data.get(row) == Some(&false) {
        return Json::Null;
    }
    match &column.field {
        Some(field_data::Field::Scalars(scalars)) => scalar(scalars.data.as_ref(), row, takes_int64),
        Some(field_data::Field::Vectors(vectors)) => {
            let row = *place;
            *place += 1;
            vector(vectors, row)
        }
        Some(field_data::Field::StructArrays(parts)) => structs(&parts.fields, row, takes_int64),
        _ => Json::Null,
    }
}

/// Vector `row` of a column.
fn vector(vectors: &VectorField, row: usize) -> Json {
    let dim = usize::try_from(vectors.dim).unwrap_or(0);
    match &vectors.data {
        Some(vector_field::Data::FloatVector(all)) => {
            all.data.get(row * dim..(row + 1) * dim).map_or(Json::Null, singles)
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

/// The array of structs of row `row`, of which `parts` have a column each: a list of objects.
fn structs(parts: &[FieldData], row: usize, takes_int64: bool) -> Json {
    if parts.iter().any(|part| part.valid_data.get(row) == Some(&false)) {
        return Json::Null;
    }
    let mut objects: Vec<Map<String, Json>> = Vec::new();
    for part in parts {
        // The elements of the row are a column of their own.
        let element = FieldData { field: None, ..Default::default() };
        let column = match &part.field {
            Some(field_data::Field::Scalars(ScalarField {
                data: Some(scalar_field::Data::ArrayData(all)),
                ..
            })) => all.data.get(row).cloned().map(field_data::Field::Scalars),
            Some(field_data::Field::Vectors(VectorField {
                data: Some(vector_field::Data::VectorArray(all)),
                ..
            })) => all.data.get(row).cloned().map(field_data::Field::Vectors),
            _ => None,
        };
        let column = FieldData { field: column, ..element };
        let count = len(&column);
        if objects.len() < count {
            objects.resize_with(count, Map::new);
        }
        let mut place = 0;
        for (at, object) in objects.iter_mut().enumerate().take(count) {
            object.insert(part.field_name.clone(), value(&column, at, &mut place, takes_int64));
        }
    }
    objects.into_iter().map(Json::Object).collect()
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
        Some(Data::FloatData(values)) => values.data.get(row).copied().map(single),
        Some(Data::DoubleData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::StringData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::GeometryWktData(values)) => values.data.get(row).map(|value| json!(value)),
        Some(Data::ArrayData(values)) => values.data.get(row).map(arrays::dumped),
        Some(Data::JsonData(values)) => {
            values.data.get(row).map(|value| json!(String::from_utf8_lossy(value)))
        }
        _ => None,
    };
    found.unwrap_or(Json::Null)
}
