//! Key-value pairs of the wire.

use contract::pb::common::KeyValuePair;

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

/// What Go's `strconv.ParseBool` takes.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What of a value an error may repeat. Unit: bytes.
const SHOWN: usize = 64;

/// The beginning of a text, as errors show it: never a whole value of a client's, which may have megabytes.
#[must_use]
pub fn shown(text: &str) -> String {
    cut(text, SHOWN)
}

/// At most `most` bytes of a text, with a mark where something was left out.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// A JSON value as the text that a key-value pair would carry: strings without quotes, everything else as written.
#[must_use]
pub fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, shown};

    #[test]
    fn an_error_shows_the_beginning_of_a_long_value() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aöb", 2), "a…");
        assert_eq!(shown(&"x".repeat(1 << 20)).len(), 64 + "…".len());
    }
}
