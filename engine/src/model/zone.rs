//! What is known of a column without looking at its rows.

use super::{Column, ColumnData, Value};
use crate::base::FieldId;

/// Longer texts are not kept as bounds.
const LONGEST_TEXT: usize = 256;

/// What the values of one column of some rows have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The column.
    pub field: FieldId,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows.
    pub rows: u64,
    /// Least and greatest value; `None` if they are not known. No value is NaN if they are.
    pub span: Option<(Value, Value)>,
}

impl Zone {
    /// What is known of `column`, having looked at all of it.
    #[must_use]
    pub fn of(column: &Column) -> Self {
        let rows = column.data.len();
        let nulls = column.valid.as_ref().map_or(0, |valid| rows.saturating_sub(valid.count())) as u64;
        let valid = (0..rows).filter(|&row| column.is_valid(row));
        let span = match &column.data {
            ColumnData::Bool(all) => {
                span(valid.map(|row| all[row])).map(|(a, b)| (Value::Bool(a), Value::Bool(b)))
            }
            ColumnData::Int8(all) => ints(span(valid.map(|row| i64::from(all[row])))),
            ColumnData::Int16(all) => ints(span(valid.map(|row| i64::from(all[row])))),
            ColumnData::Int32(all) => ints(span(valid.map(|row| i64::from(all[row])))),
            ColumnData::Int64(all) => ints(span(valid.map(|row| all[row]))),
            ColumnData::Float(all) if valid.clone().any(|row| all[row].is_nan()) => None,
            ColumnData::Float(all) => {
                span(valid.map(|row| all[row])).map(|(a, b)| (Value::Float(a), Value::Float(b)))
            }
            ColumnData::Double(all) if valid.clone().any(|row| all[row].is_nan()) => None,
            ColumnData::Double(all) => {
                span(valid.map(|row| all[row])).map(|(a, b)| (Value::Double(a), Value::Double(b)))
            }
            ColumnData::VarChar(all) if valid.clone().any(|row| all.get(row).len() > LONGEST_TEXT) => None,
            ColumnData::VarChar(all) => span(valid.map(|row| all.get(row)))
                .map(|(a, b)| (Value::Text(a.to_owned()), Value::Text(b.to_owned()))),
            ColumnData::Json(_)
            | ColumnData::Geometry(_)
            | ColumnData::Array(_)
            | ColumnData::FloatVector { .. }
            | ColumnData::BinaryVector { .. }
            | ColumnData::SparseVector(_) => None,
        };
        Self { field: column.field, nulls, rows: rows as u64, span }
    }
}

/// Least and greatest of values that all have an order.
fn span<T: Copy + PartialOrd>(values: impl Iterator<Item = T>) -> Option<(T, T)> {
    values.fold(None, |span, value| {
        let (least, greatest) = span.unwrap_or((value, value));
        Some((if value < least { value } else { least }, if value > greatest { value } else { greatest }))
    })
}

fn ints(span: Option<(i64, i64)>) -> Option<(Value, Value)> {
    span.map(|(least, greatest)| (Value::Int(least), Value::Int(greatest)))
}
