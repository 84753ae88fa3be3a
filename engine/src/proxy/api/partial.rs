//! Upserts that replace only some columns of a row.

use std::collections::HashMap;

use contract::pb::schema::field_partial_update_op::OpType;
use contract::pb::schema::{FieldData, FieldPartialUpdateOp};
use serde_json::{Map, Value as Json};

use super::models;
use super::reads::current_rows;
use crate::base::FieldId;
use crate::inference;
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
        // The arrays of the parts of a struct change together: else parts of different elements would meet.
        if schema.struct_of(field.id).is_some() {
            return Err(Error::FieldOpNotBuilt { op: named, field: name() });
        }
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
/// Models are asked about texts that were sent, and about the default text of rows that were not there; else vectors stay. They are
/// asked before the rows are read, since what others write while a model thinks must not be lost.
pub async fn merge(
    proxy: &Proxy,
    info: &CollectionInfo,
    partition: &str,
    ops: &[FieldOp],
    sent: Sent,
) -> Result<Batch, Error> {
    let schema = &info.schema;
    let primary = schema.primary();
    let partition = info.partition(partition).map(|partition| partition.id);
    let sent_of = |field| schema.position(field).and_then(|place| sent.columns[place].as_ref());
    let keys = sent_of(primary.id).and_then(|column| Keys::from_column(&column.data));
    let keys = keys.ok_or_else(|| Rejected::UpsertWithoutKey { field: primary.name.clone() })?;
    // Before each of them gets a copy of the row that is there.
    super::rows::check_no_duplicates(&keys)?;
    let (of_sent, of_default): (Vec<_>, Vec<_>) =
        sent.to_ask(schema).into_iter().partition(|function| sent_of(function.input).is_some());
    let inputs: Vec<&Column> = of_sent.iter().filter_map(|function| sent_of(function.input)).collect();
    let embedded = models::embedded(proxy, schema, &of_sent, &inputs).await?;
    let mut embedded: HashMap<FieldId, ColumnData> =
        of_sent.iter().map(|function| function.output).zip(embedded).collect();
    let mut found = current_rows(proxy, info, &keys, partition).await?;
    let mut now = places(&keys, &found.keys);
    let mut defaults = HashMap::new();
    if let Some(row) = now.iter().position(Option::is_none).filter(|_| !of_default.is_empty()) {
        defaults = default_vectors(proxy, schema, &of_default, row).await?;
        found = current_rows(proxy, info, &keys, partition).await?;
        now = places(&keys, &found.keys);
    }
    let columns = sent.columns.into_iter().zip(&schema.fields).map(|(column, field)| match column {
        Some(column) if field.is_dynamic => Ok(merged_objects(column, &found.rows, &now)),
        Some(column) => match ops.iter().find(|op| op.field == field.id) {
            Some(op) => changed_arrays(op.op, field, &column, &found.rows, &now),
            None => Ok(column),
        },
        None => match embedded.remove(&field.id) {
            Some(data) => Ok(Column { field: field.id, data, valid: None }),
            None if schema.function_of(field.id).is_some() && schema.embedding_of(field.id).is_none() => {
                Ok(texts::not_computed(field, now.len()))
            }
            None => {
                let fill = defaults.remove(&field.id).or_else(|| default_of(field));
                current(field, fill.as_ref(), &found.rows, &now)
            }
        },
    });
    Ok(Batch { rows: sent.rows, columns: columns.collect::<Result<_, _>>()? })
}

/// Where each key is among the rows that are there.
fn places(keys: &Keys, found: &Keys) -> Vec<Option<usize>> {
    let places: HashMap<Key, usize> = found.iter().enumerate().map(|(row, key)| (key, row)).collect();
    keys.iter().map(|key| places.get(&key).copied()).collect()
}

/// By output of some functions, the vector of the text that rows get which bring none: the first of them is `row`.
async fn default_vectors(
    proxy: &Proxy,
    schema: &Schema,
    functions: &[&Function],
    row: usize,
) -> Result<HashMap<FieldId, Value>, Error> {
    let mut inputs = Vec::with_capacity(functions.len());
    for function in functions {
        let field = schema.field_by_id(function.input);
        let Some((field, Some(text))) = field.map(|field| (field, &field.default)) else {
            return Err(match field.filter(|field| !field.nullable) {
                Some(field) => Rejected::FieldMissing { field: field.name.clone() }.into(),
                None => inference::Error::EmptyText { row }.into(),
            });
        };
        let mut column = Column::empty(field);
        column.data.push(text).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })?;
        inputs.push(column);
    }
    let inputs: Vec<&Column> = inputs.iter().collect();
    let vectors = models::embedded(proxy, schema, functions, &inputs).await?;
    Ok(functions
        .iter()
        .map(|function| function.output)
        .zip(vectors.iter().map(|data| data.value(0)))
        .collect())
}

/// The value of a row that brings none; none where it must bring one.
fn default_of(field: &Field) -> Option<Value> {
    match &field.default {
        Some(default) => Some(default.clone()),
        None if field.is_dynamic => Some(Value::Json("{}".to_owned())),
        None if field.nullable => Some(Value::Null),
        None => None,
    }
}

/// A column of current values; rows that are not there get `fill`.
fn current(
    field: &Field,
    fill: Option<&Value>,
    found: &Batch,
    now: &[Option<usize>],
) -> Result<Column, Error> {
    let values = found.column(field.id);
    let mut column = Column::empty(field);
    let mut valid = Vec::with_capacity(now.len());
    for row in now {
        let value = match (row, values) {
            (Some(row), Some(values)) => values.value(*row),
            _ => fill.cloned().ok_or_else(|| Rejected::FieldMissing { field: field.name.clone() })?,
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
