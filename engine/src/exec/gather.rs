//! The output columns of chosen rows.

use std::sync::Arc;

use super::Error;
use crate::base::{FieldId, Timestamp};
use crate::model::{Batch, Bitset, Column, ColumnData, Field, Keys, Schema, TypeMismatch, Value};
use crate::segment::{KeyColumn, KeyRef, Part, Vectors};

/// One chosen row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    /// Which part.
    pub(super) part: u32,
    /// Which row of it.
    pub(super) row: u32,
}

/// The values of `output` for `chosen`, in their order.
pub(super) fn columns(
    schema: &Schema,
    output: &[FieldId],
    parts: &[Arc<Part>],
    chosen: &[Chosen],
) -> Result<Batch, Error> {
    let columns = output.iter().map(|&id| {
        let field = schema.field_by_id(id).ok_or(Error::NoField { field: id })?;
        column(field, parts, chosen).map_err(|source| Error::Columns { source })
    });
    Ok(Batch { rows: chosen.len(), columns: columns.collect::<Result<_, _>>()? })
}

/// The primary keys of `chosen`, in their order.
pub(super) fn keys(schema: &Schema, parts: &[Arc<Part>], chosen: &[Chosen]) -> Keys {
    let mut keys = Keys::empty(schema.primary().data_type);
    if let (Keys::Int(_), Some(of_parts)) = (&keys, int_keys(parts)) {
        let one = |chosen: &Chosen| of_parts[chosen.part as usize][chosen.row as usize];
        return Keys::Int(chosen.iter().map(one).collect());
    }
    for chosen in chosen {
        match (&mut keys, parts[chosen.part as usize].key(chosen.row as usize)) {
            (Keys::Int(keys), KeyRef::Int(key)) => keys.push(key),
            (Keys::Text(keys), KeyRef::Text(key)) => keys.push(key),
            // One collection has keys of one type.
            _ => {}
        }
    }
    keys
}

/// The keys of every part, if they are integers.
pub(super) fn int_keys(parts: &[Arc<Part>]) -> Option<Vec<&[i64]>> {
    fn of_part(part: &Arc<Part>) -> Option<&[i64]> {
        match part.keys() {
            KeyColumn::Int(keys) => Some(keys),
            KeyColumn::Text(_) => None,
        }
    }
    parts.iter().map(of_part).collect()
}

/// When the rows of `chosen` were written, in their order.
pub(super) fn times(parts: &[Arc<Part>], chosen: &[Chosen]) -> Vec<Timestamp> {
    let mut of_parts: Vec<_> = parts.iter().map(|part| part.times()).collect();
    chosen.iter().map(|chosen| of_parts[chosen.part as usize].of(chosen.row as usize)).collect()
}

fn column(field: &Field, parts: &[Arc<Part>], chosen: &[Chosen]) -> Result<Column, TypeMismatch> {
    if field.data_type.is_vector() {
        return vectors(field, parts, chosen);
    }
    let sources: Vec<Option<&Column>> = parts.iter().map(|part| part.column(field.id)).collect();
    let absent = sources.contains(&None).then(|| Column::absent(field, 1));
    let mut data = ColumnData::empty(field);
    if absent.is_some() || !gathered(&mut data, &sources, chosen) {
        for chosen in chosen {
            match (sources[chosen.part as usize], &absent) {
                (Some(source), _) => push(&mut data, &source.data, chosen.row as usize)?,
                (None, Some(absent)) => push(&mut data, &absent.data, 0)?,
                (None, None) => {}
            }
        }
    }
    let is_whole = sources.iter().flatten().all(|source| source.valid.is_none())
        && absent.as_ref().is_none_or(|absent| absent.valid.is_none());
    let is_valid = |at: usize| match (sources[chosen[at].part as usize], &absent) {
        (Some(source), _) => source.is_valid(chosen[at].row as usize),
        (None, absent) => absent.as_ref().is_some_and(|absent| absent.is_valid(0)),
    };
    let valid = (!is_whole).then(|| Bitset::from_fn(chosen.len(), is_valid));
    Ok(Column { field: field.id, data, valid })
}

/// Fills `data`, which is empty, with values that all have one size; whether it did. What comes one by one in [`push`] comes
/// here without asking for each value what it is of.
fn gathered(data: &mut ColumnData, sources: &[Option<&Column>], chosen: &[Chosen]) -> bool {
    macro_rules! of_types {
        ($($kind:ident)+) => {
            match data {
                $(ColumnData::$kind(all) => {
                    let mut values = Vec::with_capacity(sources.len());
                    for source in sources {
                        let Some(ColumnData::$kind(of_part)) = source.map(|column| &column.data) else {
                            return false;
                        };
                        values.push(of_part.as_slice());
                    }
                    all.extend(chosen.iter().map(|chosen| values[chosen.part as usize][chosen.row as usize]));
                    true
                })+
                _ => false,
            }
        };
    }
    of_types!(Bool Int8 Int16 Int32 Int64 Float Double)
}

fn vectors(field: &Field, parts: &[Arc<Part>], chosen: &[Chosen]) -> Result<Column, TypeMismatch> {
    let sources: Vec<Option<&Vectors>> = parts.iter().map(|part| part.vectors(field.id)).collect();
    let mut data = ColumnData::empty(field);
    if let ColumnData::FloatVector { dim, values } = &mut data {
        values.reserve(*dim * chosen.len());
    }
    let mut valid = Bitset::all(chosen.len());
    for (at, chosen) in chosen.iter().enumerate() {
        let row = chosen.row as usize;
        match sources[chosen.part as usize] {
            Some(vectors) if vectors.block.try_push_row(row, &mut data) => {
                if vectors.valid.as_ref().is_some_and(|valid| !valid.contains(row)) {
                    valid.remove(at);
                }
            }
            _ => {
                data.push(&Value::Null)?;
                valid.remove(at);
            }
        }
    }
    let valid = (field.nullable && valid.count() < chosen.len()).then_some(valid);
    Ok(Column { field: field.id, data, valid })
}

/// Adds row `row` of `source` to `data`.
fn push(data: &mut ColumnData, source: &ColumnData, row: usize) -> Result<(), TypeMismatch> {
    match (data, source) {
        (ColumnData::Bool(all), ColumnData::Bool(from)) => all.push(from[row]),
        (ColumnData::Int8(all), ColumnData::Int8(from)) => all.push(from[row]),
        (ColumnData::Int16(all), ColumnData::Int16(from)) => all.push(from[row]),
        (ColumnData::Int32(all), ColumnData::Int32(from)) => all.push(from[row]),
        (ColumnData::Int64(all), ColumnData::Int64(from)) => all.push(from[row]),
        (ColumnData::Float(all), ColumnData::Float(from)) => all.push(from[row]),
        (ColumnData::Double(all), ColumnData::Double(from)) => all.push(from[row]),
        (ColumnData::VarChar(all), ColumnData::VarChar(from))
        | (ColumnData::Json(all), ColumnData::Json(from)) => {
            all.push(from.get(row));
        }
        (ColumnData::Geometry(all), ColumnData::Geometry(from)) => all.push(from.get(row)),
        (ColumnData::Array(all), ColumnData::Array(from)) => return all.push_from(from, row),
        (data, source) => {
            return Err(TypeMismatch { expected: data.data_type(), found: source.data_type() });
        }
    }
    Ok(())
}
