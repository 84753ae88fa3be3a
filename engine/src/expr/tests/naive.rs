//! A second evaluator that shares no code with the room: one row and one value at a time, JSON as whole trees.

use std::cmp::Ordering;
use std::collections::BTreeSet;

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

/// A regular expression as a tree, looked for by trying everything.
#[derive(Clone, Debug)]
pub enum Search {
    Letter(char),
    Any,
    OneOf(Vec<char>, bool),
    Then(Vec<Self>),
    Or(Vec<Self>),
    Times(Box<Self>, usize, Option<usize>),
    Start,
    End,
}

impl Search {
    /// The regular expression as users write it.
    pub fn text(&self) -> String {
        let letter = |letter: &char| {
            if "\\.+*?()|[]{}^$-".contains(*letter) { format!("\\{letter}") } else { letter.to_string() }
        };
        let joined = |parts: &[Self], between| parts.iter().map(Self::text).collect::<Vec<_>>().join(between);
        match self {
            Self::Letter(one) => letter(one),
            Self::Any => ".".to_owned(),
            Self::OneOf(letters, negated) => {
                let letters: String = letters.iter().map(letter).collect();
                format!("[{}{letters}]", if *negated { "^" } else { "" })
            }
            Self::Then(parts) => joined(parts, ""),
            Self::Or(parts) => format!("(?:{})", joined(parts, "|")),
            Self::Times(inner, 0, None) => format!("(?:{})*", inner.text()),
            Self::Times(inner, 1, None) => format!("(?:{})+", inner.text()),
            Self::Times(inner, 0, Some(1)) => format!("(?:{})?", inner.text()),
            Self::Times(inner, low, None) => format!("(?:{}){{{low},}}", inner.text()),
            Self::Times(inner, low, Some(high)) => format!("(?:{}){{{low},{high}}}", inner.text()),
            Self::Start => "^".to_owned(),
            Self::End => "$".to_owned(),
        }
    }

    /// Where matches end that begin at `at`.
    fn ends(&self, text: &[char], at: usize) -> BTreeSet<usize> {
        let one = |is_match: bool, end| if is_match { BTreeSet::from([end]) } else { BTreeSet::new() };
        let next = |inner: &Self, from: &BTreeSet<usize>| -> BTreeSet<usize> {
            from.iter().flat_map(|at| inner.ends(text, *at)).collect()
        };
        match self {
            Self::Letter(wanted) => one(text.get(at) == Some(wanted), at + 1),
            Self::Any => one(at < text.len(), at + 1),
            Self::OneOf(letters, negated) => {
                one(text.get(at).is_some_and(|letter| letters.contains(letter) != *negated), at + 1)
            }
            Self::Then(parts) => parts.iter().fold(BTreeSet::from([at]), |from, part| next(part, &from)),
            Self::Or(parts) => parts.iter().flat_map(|part| part.ends(text, at)).collect(),
            Self::Times(inner, low, high) => {
                let mut reached = BTreeSet::from([at]);
                let mut all = if *low == 0 { reached.clone() } else { BTreeSet::new() };
                // More rounds than letters reach nothing new.
                for round in 1..=high.unwrap_or(low + text.len() + 1) {
                    reached = next(inner, &reached);
                    if round >= *low {
                        all.extend(&reached);
                    }
                }
                all
            }
            Self::Start => one(at == 0, at),
            Self::End => one(at == text.len(), at),
        }
    }

    /// Whether there is a match anywhere.
    pub fn is_in(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        (0..=text.len()).any(|at| !self.ends(&text, at).is_empty())
    }
}
