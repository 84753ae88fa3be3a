//! Arrays of the wire: there each row is a column of its own.

use contract::pb::schema::{ScalarField, scalar_field};

use super::{Error, rows};
use crate::model::{Arrays, ColumnData, ElementType};

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
        arrays.push(&elements).map_err(|mismatch| Error::Defect { reason: mismatch.to_string() })?;
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

#[cfg(test)]
mod tests {
    use contract::pb::schema::{IntArray, StringArray};

    use super::*;

    fn row(data: scalar_field::Data) -> ScalarField {
        ScalarField { data: Some(data), ..Default::default() }
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
