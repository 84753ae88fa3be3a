//! Arrays of the model as the wire has them: there each row is a column of its own.

use contract::pb::schema::{ArrayArray, ScalarField, VectorArray, VectorField, scalar_field, vector_field};
use serde_json::{Value as Json, json};

use super::json::single;
use super::{narrow, output};
use crate::model::{Arrays, ColumnData, Field};

/// Arrays as the wire has them.
#[must_use]
pub fn to_wire(arrays: &Arrays) -> ArrayArray {
    let row = |row: usize| {
        let elements = arrays.elements().take(&arrays.range(row).collect::<Vec<_>>());
        ScalarField { data: Some(output::scalar(elements, None)), ..Default::default() }
    };
    ArrayArray {
        data: (0..arrays.len()).map(row).collect(),
        element_type: output::wire_type(arrays.data_type().element()).into(),
    }
}

/// Arrays of vectors of `field` as the wire has them: there the vectors of each row are a column of their own.
#[must_use]
pub fn vectors_to_wire(field: &Field, arrays: &Arrays) -> VectorField {
    let element = field.data_type.element();
    let dim = i64::try_from(field.dim()).unwrap_or(i64::MAX);
    let row = |row: usize| {
        let range = arrays.range(row);
        let data = match arrays.elements() {
            ColumnData::FloatVector { dim, values } => {
                narrow::to_wire(element, values[range.start * dim..range.end * dim].to_vec())
            }
            ColumnData::BinaryVector { dim, bytes } => {
                let width = dim / 8;
                let bytes = bytes[range.start * width..range.end * width].to_vec();
                vector_field::Data::BinaryVector(bytes.into())
            }
            // Arrays of vectors have no other elements.
            _ => return VectorField { dim, ..Default::default() },
        };
        VectorField { dim, data: Some(data), ..Default::default() }
    };
    let all = VectorArray {
        dim,
        data: (0..arrays.len()).map(row).collect(),
        element_type: output::wire_type(element).into(),
    };
    VectorField { dim, data: Some(vector_field::Data::VectorArray(all)), ..Default::default() }
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
    use contract::pb::schema::LongArray;

    use super::*;
    use crate::intake::arrays::of_wire;
    use crate::model::{ColumnData, ElementType};

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
}
