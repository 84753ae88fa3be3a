//! JSON texts, read in place: a body of megabytes is taken apart without becoming a tree, which has many times its size.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::{Error, shown};

/// Most values of a text that becomes a tree: a tree takes up to 36 times the room of its text.
const MAX_VALUES: usize = 4 << 20;
/// Most keys of an object that is read key by key.
const MAX_KEYS: usize = 32 << 10;

/// The pairs of an object in the order of the text; a key that comes twice is there twice.
#[derive(Debug, Default)]
pub struct Pairs<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs<'de>;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    if pairs.len() == MAX_KEYS {
                        return Err(A::Error::custom(format_args!("it has more than {MAX_KEYS} keys")));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Milvus's words for a text that is not what it should be.
#[must_use]
pub fn unreadable(reason: &serde_json::Error) -> Error {
    Error::NotJson { reason: super::cut(&reason.to_string(), 200) }
}

/// A text as a tree.
///
/// # Errors
/// [`Error::NotJson`] for what is no JSON, and for more values than a tree may have.
pub fn parsed(text: &str) -> Result<Json, Error> {
    if text.len() > MAX_VALUES && values_of(text) > MAX_VALUES {
        return Err(Error::NotJson { reason: format!("it has more than {MAX_VALUES} values") });
    }
    serde_json::from_str(text).map_err(|reason| unreadable(&reason))
}

/// At least as many values as a text has.
fn values_of(text: &str) -> usize {
    let (mut count, mut quoted, mut escaped) = (1, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// A text without the white space between its values: numbers and the order of keys stay as they are.
#[must_use]
pub fn compact(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let wanted = |letter: &char| {
        if escaped {
            escaped = false;
        } else if *letter == '\\' {
            escaped = quoted;
        } else if *letter == '"' {
            quoted = !quoted;
        }
        quoted || !letter.is_ascii_whitespace()
    };
    text.chars().filter(wanted).collect()
}

/// What a number, or a text that holds one, says; `None` for everything else.
#[must_use]
pub fn number(raw: &RawValue) -> Option<&str> {
    let text = raw.get();
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text).trim();
    let begins = inner.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    begins.then_some(inner)
}

/// The whole number that a text says, also as `1e3` or `7.0`; `None` for a fraction and for what 64 bits do not hold.
#[must_use]
pub fn whole(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (digits, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let all: i64 = format!("{digits}{fraction}").parse().ok()?;
    if all == 0 {
        return Some(0);
    }
    let power = 10_i64.checked_pow(shift.unsigned_abs());
    match (shift, power) {
        (0.., power) => all.checked_mul(power?),
        (_, Some(power)) => (all % power == 0).then_some(all / power),
        (_, None) => None,
    }
}

/// A single as Go prints it: with as few digits as tell it from its neighbours.
#[must_use]
pub fn single(value: f32) -> Json {
    value.to_string().parse::<f64>().map_or_else(|_| json!(value), |value| json!(value))
}

/// Singles as Go prints them.
#[must_use]
pub fn singles(values: &[f32]) -> Json {
    values.iter().copied().map(single).collect()
}

/// The beginning of a text, as errors show it.
#[must_use]
pub fn shown_raw(raw: &RawValue) -> String {
    shown(raw.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        let cases = [
            ("42", Some(42)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("1e3", Some(1000)),
            ("1.50e1", Some(15)),
            ("1500E-2", Some(15)),
            ("1.5", None),
            ("15e-2", None),
            ("1e300", None),
            ("0e999999999", Some(0)),
            ("0.0", Some(0)),
            ("", None),
            ("x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(whole(text), expected, "{text}");
        }
    }

    #[test]
    fn singles_have_as_few_digits_as_they_need() {
        assert_eq!(singles(&[0.1, 1.0, -2.5e-8, f32::MAX]).to_string(), "[0.1,1.0,-2.5e-8,3.4028235e+38]");
    }

    #[test]
    fn white_space_goes_and_everything_else_stays() {
        assert_eq!(
            compact("{ \"a b\" : [1.50 ,\n 2], \"\\\" x\": \"\\\\\" }"),
            r#"{"a b":[1.50,2],"\" x":"\\"}"#
        );
    }

    #[test]
    fn a_tree_has_no_more_values_than_there_is_room_for() {
        let many = |count: usize| format!("[{}1]", "1,".repeat(count));

        assert_eq!(values_of(r#"{"a": [1, 2], "b,[{": "\",", "c": {}}"#), 7);
        assert!(parsed(&many(1000)).is_ok());
        assert!(parsed(&many(MAX_VALUES)).is_err());
    }
}
