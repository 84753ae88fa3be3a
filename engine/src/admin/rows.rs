//! Rows as JSON.

use serde_json::{Map, Number, Value as Json};

use crate::model::{Batch, Keys, Schema, Value};

/// One value. Numbers that JSON does not have become `null`, as does no value.
pub(super) fn value(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => value.into(),
        Value::Int(value) => value.into(),
        Value::Float(value) => single(value),
        Value::Double(value) => value.into(),
        Value::Text(text) => text.into(),
        // What a client stored is JSON; text that is not would be damage, and shows as it is.
        Value::Json(text) => serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
        Value::Array(elements) => elements.into_iter().map(self::value).collect(),
        Value::Shape(bytes) => crate::shape::to_text(&bytes).into(),
        Value::Vector(values) => vector(&values),
        Value::Bits(bytes) => bytes.into_iter().map(Json::from).collect(),
        Value::Sparse(pairs) => {
            let pair = |(index, value): (u32, f32)| (index.to_string(), single(value));
            Json::Object(pairs.as_row().iter().map(pair).collect())
        }
    }
}

/// The components of a vector.
fn vector(values: &[f32]) -> Json {
    values.iter().copied().map(single).collect()
}

/// A single-precision number with its own digits, not those of the double nearest to it.
fn single(value: f32) -> Json {
    value.to_string().parse().ok().and_then(Number::from_f64).map_or(Json::Null, Json::Number)
}

/// Row `row` of a batch, by field name.
pub(super) fn row(schema: &Schema, batch: &Batch, row: usize) -> Json {
    let column = |column: &crate::model::Column| {
        let name = schema.field_by_id(column.field).map(|field| field.name.clone());
        (name.unwrap_or_else(|| column.field.to_string()), value(column.value(row)))
    };
    Json::Object(batch.columns.iter().map(column).collect::<Map<_, _>>())
}

/// Keys as a list.
pub(super) fn keys(keys: &Keys) -> Json {
    let key = |key| match key {
        crate::model::Key::Int(number) => Json::from(number),
        crate::model::Key::Text(text) => Json::from(text.as_ref()),
    };
    keys.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::value;
    use crate::model::Value;

    #[test]
    fn values_become_what_a_person_wrote() {
        let values = [
            Value::Null,
            Value::Int(i64::MAX),
            Value::Float(0.1),
            Value::Double(0.25),
            Value::Double(f64::NAN),
            Value::Json(r#"{"b":1,"a":[2]}"#.to_owned()),
            Value::Array(vec![Value::Text("a".to_owned()), Value::Int(1)]),
            Value::Vector(vec![0.5, f32::MIN_POSITIVE]),
        ];

        let texts = values.map(|one| value(one).to_string());

        assert_eq!(
            texts,
            [
                "null",
                "9223372036854775807",
                "0.1",
                "0.25",
                "null",
                r#"{"b":1,"a":[2]}"#,
                r#"["a",1]"#,
                "[0.5,1.1754944e-38]"
            ]
        );
    }
}
