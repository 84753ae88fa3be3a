//! A second evaluator that shares no code with the room: one row and one value at a time, JSON as whole trees.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::schema;
use crate::model::Value;

/// The value of field `name` in a row of [`schema`].
pub fn value<'a>(row: &'a [Value], name: &str) -> &'a Value {
    let at = schema().fields.iter().position(|field| field.name == name).expect("the field exists");
    &row[at]
}

/// Whether an operator accepts an order; without one, only `!=` does.
pub fn accepts(sign: &str, order: Option<Ordering>) -> bool {
    match (sign, order) {
        ("!=", None) => true,
        (_, None) => false,
        ("<", Some(order)) => order == Ordering::Less,
        ("<=", Some(order)) => order != Ordering::Greater,
        (">", Some(order)) => order == Ordering::Greater,
        (">=", Some(order)) => order != Ordering::Less,
        ("==", Some(order)) => order == Ordering::Equal,
        ("!=", Some(order)) => order != Ordering::Equal,
        (other, _) => panic!("no operator {other}"),
    }
}

/// A number as a fraction of whole numbers: every value of these tests is one exactly.
pub fn fraction(value: f64) -> (i128, i128) {
    let (mut number, mut divisor) = (value, 1);
    while number.fract() != 0.0 {
        number *= 2.0;
        divisor *= 2;
    }
    (number as i128, divisor)
}

/// The order of two fractions.
pub fn order(left: (i128, i128), right: (i128, i128)) -> Ordering {
    (left.0 * right.1).cmp(&(right.0 * left.1))
}

/// `left sign right` of two numbers, each whole or not; whole division drops the fraction.
pub fn compute(left: (i128, i128), sign: &str, right: (i128, i128), are_whole: bool) -> (i128, i128) {
    match sign {
        "+" => (left.0 * right.1 + right.0 * left.1, left.1 * right.1),
        "-" => (left.0 * right.1 - right.0 * left.1, left.1 * right.1),
        "*" => (left.0 * right.0, left.1 * right.1),
        "/" if are_whole => (left.0 / right.0, 1),
        "%" => (left.0 % right.0, 1),
        other => panic!("no operator {other}"),
    }
}

/// What is in field `name` of a row, as JSON; `None` for a row without the value.
pub fn json(row: &[Value], name: &str) -> Option<Json> {
    match value(row, name) {
        Value::Json(text) => Some(serde_json::from_str(text).expect("the tests' JSON is valid")),
        _ => None,
    }
}

/// A JSON number as a fraction, and whether it is whole by its writing.
pub fn number(json: &Json) -> Option<((i128, i128), bool)> {
    match (json.as_i64(), json.as_f64()) {
        (Some(whole), _) => Some(((i128::from(whole), 1), true)),
        (None, Some(double)) => Some((fraction(double), false)),
        _ => None,
    }
}

/// The order of two JSON values of one class.
pub fn order_json(left: &Json, right: &Json) -> Option<Ordering> {
    match (left, right) {
        (Json::Bool(left), Json::Bool(right)) => Some(left.cmp(right)),
        (Json::String(left), Json::String(right)) => Some(left.cmp(right)),
        (Json::Array(left), Json::Array(right)) => {
            let are_equal = left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| order_json(left, right) == Some(Ordering::Equal));
            are_equal.then_some(Ordering::Equal)
        }
        _ => Some(order(number(left)?.0, number(right)?.0)),
    }
}

/// Whether anything but nulls and empty containers is in the value.
pub fn has_content(json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Array(elements) => elements.iter().any(has_content),
        Json::Object(members) => members.values().any(has_content),
        _ => true,
    }
}

/// Whether the text matches a pattern, by trying everything.
pub fn is_like(text: &[char], pattern: &[char]) -> bool {
    match (text, pattern) {
        ([], []) => true,
        (_, ['%', rest @ ..]) => (0..=text.len()).any(|skipped| is_like(&text[skipped..], rest)),
        ([_, text @ ..], ['_', rest @ ..]) => is_like(text, rest),
        ([letter, text @ ..], ['\\', wanted, rest @ ..]) => letter == wanted && is_like(text, rest),
        ([letter, text @ ..], [wanted, rest @ ..]) => letter == wanted && is_like(text, rest),
        _ => false,
    }
}
