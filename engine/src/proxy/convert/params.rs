//! Key-value pairs of the wire.

use contract::pb::common::KeyValuePair;

pub use crate::intake::{cut, shown};
pub use crate::model::boolean;

/// Pairs of the wire as pairs of the model, in order.
#[must_use]
pub fn pairs(params: Vec<KeyValuePair>) -> Vec<(String, String)> {
    params.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// Pairs of the model as pairs of the wire, in order.
#[must_use]
pub fn to_wire(pairs: &[(String, String)]) -> Vec<KeyValuePair> {
    pairs.iter().map(|(key, value)| KeyValuePair { key: key.clone(), value: value.clone() }).collect()
}

/// A JSON value as the text that a key-value pair would carry: strings without quotes, everything else as written.
#[must_use]
pub fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
