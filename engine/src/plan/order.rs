//! Rows in the order of their values.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::base::FieldId;
use crate::model::{Batch, Column, Value};

/// One field that rows are put in order by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorting {
    /// The field.
    pub field: FieldId,
    /// A path of keys into a JSON field; empty for the whole value.
    pub path: Vec<String>,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// Fields that rows are put in order by, the weightiest first. What is missing counts as larger than everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The fields.
    pub by: Vec<Sorting>,
}

impl Order {
    /// The columns that are needed.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> {
        self.by.iter().map(|sorting| sorting.field)
    }

    /// What rows are compared by, taken out of their columns once.
    #[must_use]
    pub fn keys(&self, rows: &Batch) -> Vec<SortKey> {
        let columns: Vec<Option<&Column>> = self.fields().map(|field| rows.column(field)).collect();
        let key = |row| {
            let values = self.by.iter().zip(&columns);
            SortKey(
                values
                    .map(|(sorting, column)| column.map_or(Value::Null, |it| sorting.value(it, row)))
                    .collect(),
            )
        };
        (0..rows.rows).map(key).collect()
    }

    /// Which of two rows comes first.
    #[must_use]
    pub fn compare(&self, left: &SortKey, right: &SortKey) -> Ordering {
        let pairs = left.0.iter().zip(&right.0).zip(&self.by);
        let one = |((left, right), sorting): ((&Value, &Value), &Sorting)| {
            let is_null = |value: &Value| *value == Value::Null;
            let order = is_null(left).cmp(&is_null(right)).then_with(|| compare(left, right));
            if sorting.descending { order.reverse() } else { order }
        };
        pairs.map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// The values that a row is compared by.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey(Vec<Value>);

impl Sorting {
    fn value(&self, column: &Column, row: usize) -> Value {
        match column.value(row) {
            Value::Json(text) => self.at_path(&text),
            value => value,
        }
    }

    /// What the path leads to; nothing where it leads to no number, text or truth value.
    fn at_path(&self, text: &str) -> Value {
        let Ok(json) = serde_json::from_str::<Json>(text) else { return Value::Null };
        let found = self.path.iter().try_fold(&json, |json, key| json.get(key));
        match found {
            Some(Json::Bool(truth)) => Value::Bool(*truth),
            Some(Json::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Value::Int(whole),
                (None, Some(double)) => Value::Double(double),
                (None, None) => Value::Null,
            },
            Some(Json::String(text)) => Value::Text(text.clone()),
            _ => Value::Null,
        }
    }
}

/// Values of one type by their natural order. A path may lead to values of several types: truth values, then numbers, then
/// texts.
fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (left, right) => match (number(left), number(right)) {
            (Some(one), Some(other)) => one.total_cmp(&other).then_with(|| exactly(left, right)),
            _ => kind(left).cmp(&kind(right)),
        },
    }
}

/// Numbers that are the same as doubles: whole ones first and by themselves, so that the order of all is one.
fn exactly(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Int(_), _) => Ordering::Less,
        (_, Value::Int(_)) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(f64::from(*number)),
        Value::Double(number) => Some(*number),
        _ => None,
    }
}

const fn kind(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) | Value::Float(_) | Value::Double(_) => 1,
        Value::Text(_) => 2,
        _ => 3,
    }
}
