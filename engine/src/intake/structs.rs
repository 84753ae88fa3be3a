//! Structs of the wire: there the parts of one are the columns of one column.

use contract::pb::schema::{DataType as WireType, FieldData, VectorField, field_data, vector_field};

use super::{Error, rows};
use crate::model::{Arrays, ColumnData, Field, Schema, VectorElement, part_name};

/// The columns of a request with the parts of structs in place of the structs, by the names that they have in the schema.
///
/// # Errors
/// [`Error::StructParts`] for a struct that comes as something else, or without one of its parts or with one more.
pub fn flattened(schema: &Schema, fields: Vec<FieldData>) -> Result<Vec<FieldData>, Error> {
    if schema.structs.is_empty() {
        return Ok(fields);
    }
    let mut flat = Vec::with_capacity(fields.len());
    for data in fields {
        let Some(of) = schema.struct_field(&data.field_name) else {
            flat.push(data);
            continue;
        };
        let wrong = |what: String| Error::StructParts { field: of.name.clone(), what };
        let Some(field_data::Field::StructArrays(parts)) = data.field else {
            return Err(wrong("is sent as something else than an array of structs".to_owned()));
        };
        if parts.fields.len() != of.parts.len() {
            let (expected, actual) = (of.parts.len(), parts.fields.len());
            return Err(wrong(format!("has {expected} sub-fields, but {actual} were sent")));
        }
        for part in parts.fields {
            // Clients name parts by themselves; some name them as the schema does.
            let name = part_name(&of.name, of.bare(&part.field_name));
            if schema.field(&name).is_none_or(|known| !of.parts.contains(&known.id)) {
                return Err(wrong(format!("has no sub-field {}", super::shown(&part.field_name))));
            }
            flat.push(FieldData { field_name: name, is_dynamic: false, ..part });
        }
    }
    Ok(flat)
}

/// The columns of [`flattened`] with structs in place of their parts, which come in any order.
#[must_use]
pub fn folded(schema: &Schema, fields: Vec<FieldData>) -> Vec<FieldData> {
    let mut folded: Vec<FieldData> = Vec::with_capacity(fields.len());
    for part in fields {
        let of = schema.field(&part.field_name).and_then(|field| schema.struct_of(field.id));
        let Some(of) = of else {
            folded.push(part);
            continue;
        };
        let part = FieldData { field_name: of.bare(&part.field_name).to_owned(), ..part };
        let known = folded.iter_mut().find(|data| data.field_id == of.id.0 && data.field_name == of.name);
        match known.and_then(|data| data.field.as_mut()) {
            Some(field_data::Field::StructArrays(parts)) => parts.fields.push(part),
            _ => folded.push(FieldData {
                r#type: WireType::ArrayOfStruct.into(),
                field_name: of.name.clone(),
                field_id: of.id.0,
                field: Some(field_data::Field::StructArrays(contract::pb::schema::StructArrayField {
                    fields: vec![part],
                })),
                ..Default::default()
            }),
        }
    }
    folded
}

/// The arrays of a column of arrays of vectors. A row without any payload is an empty array.
///
/// # Errors
/// As for a column of vectors of that type.
pub fn vectors_of_wire(
    field: &Field,
    element: VectorElement,
    data: Option<vector_field::Data>,
) -> Result<ColumnData, Error> {
    let all = match data {
        Some(vector_field::Data::VectorArray(all)) => all,
        None if field.nullable => return Ok(ColumnData::empty(field)),
        _ => return Err(rows::wrong_type(field, "other vector")),
    };
    let one = Field { data_type: element.vector(), nullable: false, ..field.clone() };
    let known = i64::try_from(field.dim()).unwrap_or(i64::MAX);
    let mut arrays = Arrays::of_vectors(element, field.dim());
    for VectorField { dim, data, .. } in all.data {
        // Where a row says no dimension of its own, that of all of them holds.
        let dim = if dim == 0 { all.dim } else { dim };
        match data {
            None => arrays.push_none(),
            Some(data) => {
                let is_empty = is_empty(&data);
                let vectors = rows::vectors(&one, if is_empty { known } else { dim }, Some(data))?;
                let pushed = arrays.push(&vectors);
                pushed.map_err(|mismatch| Error::Defect { reason: mismatch.to_string() })?;
            }
        }
    }
    Ok(ColumnData::Array(arrays))
}

fn is_empty(data: &vector_field::Data) -> bool {
    use vector_field::Data;
    match data {
        Data::FloatVector(values) => values.data.is_empty(),
        Data::BinaryVector(bytes)
        | Data::Float16Vector(bytes)
        | Data::Bfloat16Vector(bytes)
        | Data::Int8Vector(bytes) => bytes.is_empty(),
        Data::SparseFloatVector(_) | Data::VectorArray(_) => false,
    }
}

#[cfg(test)]
mod tests;
