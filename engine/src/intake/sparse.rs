//! Sparse vectors: on the wire as runs of pairs, a `u32` index and an `f32` value each, little-endian; in JSON as
//! `{"7": 0.5}` or `{"indices": [7], "values": [0.5]}`.

use contract::pb::schema::SparseFloatArray;
use serde_json::{Map, Value as Json, json};

use super::json::single;
use super::{Error, shown};
use crate::model::{SparseRow, SparseRows, SparseVector};

/// The vectors of a column on the wire; values are checked with the rows.
///
/// # Errors
/// [`Error::SparseLength`] or [`Error::SparseOrder`] for one that is none.
pub fn of_wire(contents: &[Vec<u8>]) -> Result<SparseRows, Error> {
    let mut rows = SparseRows::new();
    for content in contents {
        rows.push(vector(content)?.as_row());
    }
    Ok(rows)
}

/// One vector of the wire, whose values are still to be checked.
///
/// # Errors
/// As [`of_wire`].
pub fn vector(content: &[u8]) -> Result<SparseVector, Error> {
    let (pairs, rest) = content.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Error::SparseLength { length: content.len() });
    }
    let pair = |[a, b, c, d, e, f, g, h]: [u8; 8]| {
        (u32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h]))
    };
    let (indices, values): (Vec<u32>, Vec<f32>) = pairs.iter().copied().map(pair).unzip();
    if indices.is_sorted_by(|left, right| left < right) {
        Ok(SparseVector { indices, values })
    } else {
        Err(Error::SparseOrder)
    }
}

/// One vector as the wire has it.
#[must_use]
pub fn bytes(row: SparseRow<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(row.indices.len() * 8);
    for (index, value) in row.iter() {
        bytes.extend_from_slice(&index.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The vectors of the `wanted` rows as a column of the wire.
#[must_use]
pub fn to_wire(rows: &SparseRows, wanted: impl Fn(usize) -> bool) -> SparseFloatArray {
    let contents = (0..rows.len()).filter(|row| wanted(*row)).map(|row| bytes(rows.get(row))).collect();
    SparseFloatArray { contents, dim: rows.dim() }
}

/// One vector of JSON, in either form, in any order of its indices, as the wire has it.
///
/// # Errors
/// [`Error::NotJson`] for what is no such vector.
pub fn of_json(object: &Map<String, Json>) -> Result<Vec<u8>, Error> {
    let refuse =
        || Error::NotJson { reason: format!("{} is no sparse vector", shown(&json!(object).to_string())) };
    let mut pairs: Vec<(u32, f32)> = match (object.get("indices"), object.get("values")) {
        (Some(Json::Array(indices)), Some(Json::Array(values))) if object.len() == 2 => {
            if indices.len() != values.len() {
                return Err(refuse());
            }
            let index = |index: &Json| index.as_u64().and_then(|index| u32::try_from(index).ok());
            let pairs = indices.iter().zip(values);
            let pairs = pairs.map(|(at, value)| Some((index(at)?, component(value)?)));
            pairs.collect::<Option<_>>().ok_or_else(refuse)?
        }
        _ => {
            let pairs = object.iter().map(|(at, value)| Some((at.trim().parse().ok()?, component(value)?)));
            pairs.collect::<Option<_>>().ok_or_else(refuse)?
        }
    };
    pairs.sort_by_key(|(index, _)| *index);
    let (indices, values): (Vec<u32>, Vec<f32>) = pairs.into_iter().unzip();
    Ok(bytes(SparseRow { indices: &indices, values: &values }))
}

#[expect(clippy::cast_possible_truncation, reason = "vectors are made of singles")]
fn component(value: &Json) -> Option<f32> {
    value.as_f64().map(|number| number as f32)
}

/// One vector of the wire as JSON: `{"7": 0.5}`.
#[must_use]
pub fn to_json(content: &[u8]) -> Json {
    let Ok(vector) = vector(content) else { return Json::Null };
    vector
        .as_row()
        .iter()
        .map(|(index, value)| (index.to_string(), single(value)))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(pairs: &[(u32, f32)]) -> Vec<u8> {
        let (indices, values): (Vec<u32>, Vec<f32>) = pairs.iter().copied().unzip();
        bytes(SparseRow { indices: &indices, values: &values })
    }

    #[test]
    fn a_column_goes_out_as_it_came_in() {
        let contents = vec![wire(&[(1, 0.5), (70_000, 2.0)]), wire(&[]), wire(&[(0, 1.0)])];
        assert_eq!(contents[0][..], [1, 0, 0, 0, 0, 0, 0, 0x3f, 0x70, 0x11, 1, 0, 0, 0, 0, 0x40]);

        let rows = of_wire(&contents).unwrap();

        assert_eq!(to_wire(&rows, |_| true), SparseFloatArray { contents: contents.clone(), dim: 70_001 });
        assert_eq!(to_wire(&rows, |row| row == 2).contents, contents[2..]);
    }

    #[test]
    fn what_is_no_vector_is_refused_in_milvus_words() {
        let text = |content: &[u8]| vector(content).unwrap_err().to_string();

        assert_eq!(text(&[0; 9]), "invalid data length in sparse float vector: 9: invalid parameter");
        let unsorted = "unsorted or same indices in sparse float vector: invalid parameter";
        assert_eq!(text(&wire(&[(2, 1.0), (1, 1.0)])), unsorted);
        assert_eq!(text(&wire(&[(2, 1.0), (2, 1.0)])), unsorted);
    }

    #[test]
    fn json_has_two_forms() {
        let read = |text: &str| of_json(&serde_json::from_str(text).unwrap());

        assert_eq!(read(r#"{"9": 1, "2": 0.5}"#).unwrap(), wire(&[(2, 0.5), (9, 1.0)]));
        assert_eq!(
            read(r#"{"indices": [9, 2], "values": [1.0, 0.5]}"#).unwrap(),
            wire(&[(2, 0.5), (9, 1.0)])
        );
        assert_eq!(read("{}").unwrap(), wire(&[]));
        for bad in [
            r#"{"-1": 1}"#,
            r#"{"a": 1}"#,
            r#"{"1": "x"}"#,
            r#"{"indices": [1], "values": []}"#,
            r#"{"indices": [4294967296], "values": [1]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(to_json(&wire(&[(2, 0.5), (9, 1.0)])), json!({"2": 0.5, "9": 1.0}));
    }
}
