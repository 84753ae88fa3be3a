//! Upserts that replace only some columns of a row.

use std::collections::HashMap;

use contract::pb::schema::field_partial_update_op::OpType;
use contract::pb::schema::{FieldData, FieldPartialUpdateOp};
use serde_json::{Map, Value as Json};

use super::reads::current_rows;
use crate::base::FieldId;
use crate::intake::Error as Rejected;
use crate::model::{Batch, Column, ColumnData, DataType, Field, Function, Key, Keys, Schema, Texts, Value};
use crate::proxy::convert::rows::Sent;
use crate::proxy::convert::texts;
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;

/// What to do with the arrays of a field instead of replacing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayOp {
    /// Adds what was sent at the end.
    Append,
    /// Removes each element that equals one that was sent.
    Remove,
}

/// An operation on the arrays of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldOp {
    field: FieldId,
    op: ArrayOp,
}

/// The operations on single fields that are not whole replacement.
///
/// # Errors
/// Milvus's words for a field that was not sent, that is the key, or that has no arrays.
pub fn checked_ops(
    schema: &Schema,
    ops: &[FieldPartialUpdateOp],
    fields: &[FieldData],
) -> Result<Vec<FieldOp>, Error> {
    let mut checked = Vec::new();
    for op in ops {
        let name = || op.field_name.clone();
        let sent = fields.iter().any(|field| field.field_name == op.field_name);
        let field = schema.field(&op.field_name).filter(|_| sent);
        let field = field.ok_or_else(|| Error::FieldOpTarget { field: name() })?;
        if field.is_primary {
            return Err(Error::FieldOpKey { field: name() });
        }
        let named = op.op().as_str_name();
        let array_op = match op.op() {
            OpType::Replace => continue,
            OpType::ArrayAppend => ArrayOp::Append,
            OpType::ArrayRemove => ArrayOp::Remove,
            _ => return Err(Error::FieldOpNotBuilt { op: named, field: name() }),
        };
        if !matches!(field.data_type, DataType::Array(_)) {
            let data_type = field.data_type.name();
            return Err(Error::FieldOpType { op: named, field: name(), data_type });
        }
        checked.push(FieldOp { field: field.id, op: array_op });
    }
    Ok(checked)
}

/// Fills the columns that were not sent from the rows that are there now. A key without a row is an insert: then every
/// column that must have a value must have been sent.
///
/// A model is asked anew about texts that were sent, and about rows that were not there; else its vectors stay. The functions to
/// ask come along.
pub async fn merge<'a>(
    proxy: &Proxy,
    info: &'a CollectionInfo,
    partition: &str,
    ops: &[FieldOp],
    sent: Sent,
) -> Result<(Batch, Vec<&'a Function>), Error> {
    let schema = &info.schema;
    let primary = schema.primary();
    let partition = info.partition(partition).map(|partition| partition.id);
    let keys = schema.position(primary.id).and_then(|place| sent.columns[place].as_ref());
    let keys = keys.and_then(|column| Keys::from_column(&column.data));
    let keys = keys.ok_or_else(|| Rejected::UpsertWithoutKey { field: primary.name.clone() })?;
    // Before each of them gets a copy of the row that is there.
    super::rows::check_no_duplicates(&keys)?;
    let found = current_rows(proxy, info, &keys, partition).await?;
    let places: HashMap<Key, usize> = found.keys.iter().enumerate().map(|(row, key)| (key, row)).collect();
    let now: Vec<Option<usize>> = keys.iter().map(|key| places.get(&key).copied()).collect();
    let is_sent = |field| schema.position(field).is_some_and(|place| sent.columns[place].is_some());
    let mut to_ask = sent.to_ask(schema);
    to_ask.retain(|function| is_sent(function.input) || now.contains(&None));
    let is_asked = |field: FieldId| to_ask.iter().any(|function| function.output == field);
    let columns = sent.columns.into_iter().zip(&schema.fields).map(|(column, field)| match column {
        Some(column) if field.is_dynamic => Ok(merged_objects(column, &found.rows, &now)),
        Some(column) => match ops.iter().find(|op| op.field == field.id) {
            Some(op) => changed_arrays(op.op, field, &column, &found.rows, &now),
            None => Ok(column),
        },
        None if schema.embedding_of(field.id).is_some() && !is_asked(field.id) => {
            current(field, &found.rows, &now)
        }
        None if schema.function_of(field.id).is_some() => Ok(texts::not_computed(field, now.len())),
        None => current(field, &found.rows, &now),
    });
    let rows = Batch { rows: sent.rows, columns: columns.collect::<Result<_, _>>()? };
    Ok((rows, to_ask))
}

/// A column of current values; rows that are not there get the default or no value.
fn current(field: &Field, found: &Batch, now: &[Option<usize>]) -> Result<Column, Error> {
    let fill = match &field.default {
        Some(default) => Some(default.clone()),
        None if field.is_dynamic => Some(Value::Json("{}".to_owned())),
        None if field.nullable => Some(Value::Null),
        None => None,
    };
    let values = found.column(field.id);
    let mut column = Column::empty(field);
    let mut valid = Vec::with_capacity(now.len());
    for row in now {
        let value = match (row, values) {
            (Some(row), Some(values)) => values.value(*row),
            _ => fill.clone().ok_or_else(|| Rejected::FieldMissing { field: field.name.clone() })?,
        };
        valid.push(!matches!(value, Value::Null));
        column.data.push(&value).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })?;
    }
    if valid.contains(&false) {
        column.valid = Some(crate::model::Bitset::from_fn(valid.len(), |row| valid[row]));
    }
    Ok(column)
}

/// The arrays of a field as they are after `op` with what was sent. A row that is not there, or has no array, has none to
/// begin with; there is nothing to remove from it.
fn changed_arrays(
    op: ArrayOp,
    field: &Field,
    sent: &Column,
    found: &Batch,
    now: &[Option<usize>],
) -> Result<Column, Error> {
    let over = |length: usize| {
        let (field, limit) = (field.name.clone(), field.max_capacity());
        (length > limit).then_some(Error::FieldOpCapacity { field, length, limit })
    };
    if let ColumnData::Array(arrays) = &sent.data
        && let Some(error) = (0..arrays.len()).find_map(|row| over(arrays.range(row).len()))
    {
        return Err(error);
    }
    let values = found.column(field.id);
    let mut column = Column::empty(field);
    let mut valid = Vec::with_capacity(now.len());
    for (at, row) in now.iter().enumerate() {
        let old = row.zip(values).map_or(Value::Null, |(row, values)| values.value(row));
        let value = match (op, old, sent.value(at)) {
            (ArrayOp::Append, Value::Array(mut all), Value::Array(more)) => {
                all.extend(more);
                Value::Array(all)
            }
            (ArrayOp::Append, Value::Null, more) => more,
            (ArrayOp::Remove, Value::Array(mut all), Value::Array(gone)) => {
                all.retain(|element| !gone.contains(element));
                Value::Array(all)
            }
            (ArrayOp::Remove, Value::Null, _) if row.is_none() || !field.nullable => Value::Array(Vec::new()),
            (_, old, _) => old,
        };
        if let Value::Array(elements) = &value
            && let Some(error) = over(elements.len())
        {
            return Err(error);
        }
        valid.push(!matches!(value, Value::Null));
        column.data.push(&value).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })?;
    }
    if valid.contains(&false) {
        column.valid = Some(crate::model::Bitset::from_fn(valid.len(), |row| valid[row]));
    }
    Ok(column)
}

/// Dynamic keys merge one by one: what was sent wins, what was not stays.
fn merged_objects(column: Column, found: &Batch, now: &[Option<usize>]) -> Column {
    let ColumnData::Json(sent) = &column.data else { return column };
    let Some(Column { data: ColumnData::Json(stored), .. }) = found.column(column.field) else {
        return column;
    };
    let mut merged = Texts::new();
    for (row, text) in sent.iter().enumerate() {
        match now.get(row).copied().flatten() {
            Some(old) => merged.push(&merged_object(stored.get(old), text)),
            None => merged.push(text),
        }
    }
    Column { data: ColumnData::Json(merged), ..column }
}

fn merged_object(old: &str, new: &str) -> String {
    let Ok(Json::Object(new_keys)) = serde_json::from_str::<Json>(new) else { return new.to_owned() };
    let mut all: Map<String, Json> = serde_json::from_str(old).unwrap_or_default();
    all.extend(new_keys);
    Json::Object(all).to_string()
}
