//! Arrays of the wire and of the model: on the wire each row is a column of its own.

use contract::pb::schema::{ArrayArray, ScalarField, scalar_field};
use serde_json::{Value as Json, json};

use super::json::single;
use super::output;
use super::rows;
use crate::model::{Arrays, ColumnData, ElementType};
use crate::proxy::Error;

/// The arrays of a column whose elements are `element`. A row without any payload is an empty array: that is how some
/// clients send one.
///
/// # Errors
/// [`Error::ElementType`] for elements of another type, [`Error::IntegerRange`] for a number that does not fit.
pub fn of_wire(element: ElementType, rows: Vec<ScalarField>) -> Result<ColumnData, Error> {
    use scalar_field::Data;
    let mut arrays = Arrays::new(element);
    for row in rows {
        let elements = match (element, row.data) {
            (_, None) => ColumnData::none_of(element.scalar()),
            (ElementType::Bool, Some(Data::BoolData(values))) => ColumnData::Bool(values.data),
            (ElementType::Int8, Some(Data::IntData(values))) => ColumnData::Int8(rows::int8(&values.data)?),
            (ElementType::Int16, Some(Data::IntData(values))) => {
                ColumnData::Int16(rows::int16(&values.data)?)
            }
            (ElementType::Int32, Some(Data::IntData(values))) => ColumnData::Int32(values.data),
            (ElementType::Int64, Some(Data::LongData(values))) => ColumnData::Int64(values.data),
            (ElementType::Float, Some(Data::FloatData(values))) => ColumnData::Float(values.data),
            (ElementType::Double, Some(Data::DoubleData(values))) => ColumnData::Double(values.data),
            (ElementType::VarChar, Some(Data::StringData(values))) => {
                ColumnData::VarChar(values.data.iter().map(String::as_str).collect())
            }
            (_, Some(data)) => {
                let (expected, actual) = (element_name(element), rows::payload_name(&data));
                return Err(Error::ElementType { expected, actual });
            }
        };
        arrays.push(&elements).map_err(|mismatch| Error::Answer { reason: mismatch.to_string() })?;
    }
    Ok(ColumnData::Array(arrays))
}

const fn element_name(element: ElementType) -> &'static str {
    match element {
        ElementType::Bool => "bool array",
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 => "int array",
        ElementType::Int64 => "long array",
        ElementType::Float => "float array",
        ElementType::Double => "double array",
        ElementType::VarChar => "string array",
    }
}

/// Arrays as the wire has them.
#[must_use]
pub fn to_wire(arrays: &Arrays) -> ArrayArray {
    let row = |row: usize| {
        let elements = arrays.elements().take(&arrays.range(row).collect::<Vec<_>>());
        ScalarField { data: Some(output::scalar(elements, None)), ..Default::default() }
    };
    ArrayArray {
        data: (0..arrays.len()).map(row).collect(),
        element_type: output::wire_type(arrays.element().scalar()).into(),
    }
}

/// One array as Milvus's REST API shows it: what Go prints of the message that holds it.
#[must_use]
pub fn dumped(row: &ScalarField) -> Json {
    use scalar_field::Data;
    // Go leaves out what is empty.
    fn list<T: serde::Serialize>(name: &str, data: &[T]) -> Json {
        json!({ name: if data.is_empty() { json!({}) } else { json!({ "data": data }) } })
    }
    let data = match &row.data {
        Some(Data::BoolData(values)) => list("BoolData", &values.data),
        Some(Data::IntData(values)) => list("IntData", &values.data),
        Some(Data::LongData(values)) => list("LongData", &values.data),
        Some(Data::FloatData(values)) => {
            let shown: Vec<Json> = values.data.iter().copied().map(single).collect();
            list("FloatData", &shown)
        }
        Some(Data::DoubleData(values)) => list("DoubleData", &values.data),
        Some(Data::StringData(values)) => list("StringData", &values.data),
        _ => Json::Null,
    };
    json!({ "Data": data })
}

#[cfg(test)]
mod tests {
    use contract::pb::schema::{IntArray, LongArray, StringArray};

    use super::*;

    fn row(data: scalar_field::Data) -> ScalarField {
        ScalarField { data: Some(data), ..Default::default() }
    }

    #[test]
    fn arrays_come_back_as_they_came_and_an_empty_message_is_an_empty_array() {
        let longs = |data: &[i64]| row(scalar_field::Data::LongData(LongArray { data: data.to_vec() }));

        let found = of_wire(ElementType::Int64, vec![longs(&[1, 2]), ScalarField::default(), longs(&[3])]);

        let Ok(ColumnData::Array(arrays)) = found else { panic!("{found:?}") };
        let sent = to_wire(&arrays);
        assert_eq!(sent.data, [longs(&[1, 2]), longs(&[]), longs(&[3])]);
        assert_eq!(sent.element_type, 5);
        let dumps: Vec<String> = sent.data.iter().map(|row| dumped(row).to_string()).collect();
        assert_eq!(
            dumps,
            [
                r#"{"Data":{"LongData":{"data":[1,2]}}}"#,
                r#"{"Data":{"LongData":{}}}"#,
                r#"{"Data":{"LongData":{"data":[3]}}}"#
            ]
        );
    }

    #[test]
    fn elements_of_another_type_or_out_of_range_are_refused() {
        let texts = row(scalar_field::Data::StringData(StringArray { data: vec!["a".to_owned()] }));
        let ints = row(scalar_field::Data::IntData(IntArray { data: vec![1, 128] }));

        let refused = |element, row| of_wire(element, vec![row]).expect_err("it does not fit").to_string();

        assert_eq!(
            refused(ElementType::Int64, texts),
            "insert data does not match: invalid parameter[expected=long array][actual=string array]"
        );
        assert_eq!(
            refused(ElementType::Int8, ints),
            "the 1th element (128) out of range: [-128, 127]: invalid parameter[expected=integer doesn't overflow][actual=out of range]"
        );
    }
}
