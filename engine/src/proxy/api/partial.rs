//! Upserts that replace only some columns of a row.

use std::collections::HashMap;

use contract::pb::schema::field_partial_update_op::OpType;
use contract::pb::schema::{FieldData, FieldPartialUpdateOp};
use serde_json::{Map, Value as Json};

use super::reads::current_rows;
use crate::model::{Batch, Column, ColumnData, Field, Key, Keys, Texts, Value};
use crate::proxy::convert::rows::Sent;
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;

/// Checks operations on single fields: only whole replacement is possible on the types there are.
pub fn check_ops(ops: &[FieldPartialUpdateOp], fields: &[FieldData]) -> Result<(), Error> {
    for op in ops {
        if !fields.iter().any(|field| field.field_name == op.field_name) {
            return Err(Error::FieldOpTarget { field: op.field_name.clone() });
        }
        if op.op() != OpType::Replace {
            return Err(Error::FieldOpNotBuilt { op: op.op().as_str_name(), field: op.field_name.clone() });
        }
    }
    Ok(())
}

/// Fills the columns that were not sent from the rows that are there now. A key without a row is an insert: then every
/// column that must have a value must have been sent.
pub async fn merge(
    proxy: &Proxy,
    info: &CollectionInfo,
    partition: &str,
    sent: Sent,
) -> Result<Batch, Error> {
    let schema = &info.schema;
    let primary = schema.primary();
    let partition = info.partition(partition).map(|partition| partition.id);
    let keys = schema.position(primary.id).and_then(|place| sent.columns[place].as_ref());
    let keys = keys.and_then(|column| Keys::from_column(&column.data));
    let keys = keys.ok_or_else(|| Error::UpsertWithoutKey { field: primary.name.clone() })?;
    let found = current_rows(proxy, info, &keys, partition).await?;
    let places: HashMap<Key, usize> = found.keys.iter().enumerate().map(|(row, key)| (key, row)).collect();
    let now: Vec<Option<usize>> = keys.iter().map(|key| places.get(&key).copied()).collect();
    let columns = sent.columns.into_iter().zip(&schema.fields).map(|(column, field)| match column {
        Some(column) if field.is_dynamic => Ok(merged_objects(column, &found.rows, &now)),
        Some(column) => Ok(column),
        None => current(field, &found.rows, &now),
    });
    Ok(Batch { rows: sent.rows, columns: columns.collect::<Result<_, _>>()? })
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
            _ => fill.clone().ok_or_else(|| Error::FieldMissing { field: field.name.clone() })?,
        };
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
