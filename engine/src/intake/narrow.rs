//! Vectors whose components are narrower than singles: on the wire in their own form, inside as the singles that they are
//! exactly, so that what comes back is bit for bit what came.

use bytes::Bytes;
use contract::pb::schema::{FloatArray, vector_field};
use half::{bf16, f16};

use super::Error;
use crate::model::DataType;

/// Bytes of one component on the wire; 0 for what is no dense vector.
#[must_use]
pub const fn component_bytes(data_type: DataType) -> usize {
    match data_type {
        DataType::FloatVector => 4,
        DataType::Float16Vector | DataType::BFloat16Vector => 2,
        DataType::Int8Vector => 1,
        _ => 0,
    }
}

/// A kind of vector as error texts name it.
#[must_use]
pub const fn kind(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Float16Vector => "float16",
        DataType::BFloat16Vector => "bfloat16",
        DataType::Int8Vector => "int8",
        _ => "float",
    }
}

/// The components of vectors of `data_type` as the wire has them, little-endian; an incomplete last one is left out.
#[must_use]
pub fn from_bytes(data_type: DataType, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match data_type {
        DataType::Float16Vector => pairs().map(|pair| f16::from_le_bytes(*pair).to_f32()).collect(),
        DataType::BFloat16Vector => pairs().map(|pair| bf16::from_le_bytes(*pair).to_f32()).collect(),
        DataType::Int8Vector => bytes.iter().map(|byte| f32::from(byte.cast_signed())).collect(),
        _ => bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
    }
}

/// Singles as components of `data_type`: rounded to the nearest that it has. One beyond its range becomes infinite, which no
/// field takes.
///
/// # Errors
/// [`Error::IntegerRange`] for a component of an 8-bit vector that is no whole number of 8 bits.
pub fn from_singles(data_type: DataType, mut values: Vec<f32>) -> Result<Vec<f32>, Error> {
    match data_type {
        DataType::Float16Vector => {
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        DataType::BFloat16Vector => {
            values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
        }
        DataType::Int8Vector => {
            let is_int8 = |value: f32| value.fract() == 0.0 && (-128.0..=127.0).contains(&value);
            if let Some(row) = values.iter().position(|value| !is_int8(*value)) {
                let (low, high) = (i8::MIN.into(), i8::MAX.into());
                return Err(Error::IntegerRange { row, value: whole(values[row]), low, high });
            }
        }
        _ => {}
    }
    Ok(values)
}

#[expect(clippy::cast_possible_truncation, reason = "only shown in an error")]
const fn whole(value: f32) -> i32 {
    value as i32
}

/// The payload of a column of `data_type` on the wire.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "components of 8-bit vectors are whole numbers of 8 bits"
)]
pub fn to_wire(data_type: DataType, values: Vec<f32>) -> vector_field::Data {
    use vector_field::Data;
    match data_type {
        DataType::Float16Vector => {
            Data::Float16Vector(bytes_of(&values, |value| f16::from_f32(value).to_le_bytes()))
        }
        DataType::BFloat16Vector => {
            Data::Bfloat16Vector(bytes_of(&values, |value| bf16::from_f32(value).to_le_bytes()))
        }
        DataType::Int8Vector => Data::Int8Vector(bytes_of(&values, |value| (value as i8).to_le_bytes())),
        _ => Data::FloatVector(FloatArray { data: values }),
    }
}

fn bytes_of<const W: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; W]) -> Bytes {
    values.iter().flat_map(|value| bytes(*value)).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(data: &vector_field::Data) -> &[u8] {
        use vector_field::Data;
        match data {
            Data::Float16Vector(bytes) | Data::Bfloat16Vector(bytes) | Data::Int8Vector(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_narrow_number_comes_back_bit_for_bit() {
        let pairs: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let singles: Vec<u8> = (0..=u8::MAX).collect();
        for (data_type, all) in [
            (DataType::Float16Vector, &pairs),
            (DataType::BFloat16Vector, &pairs),
            (DataType::Int8Vector, &singles),
        ] {
            let width = component_bytes(data_type);
            let finite: Vec<u8> = all
                .chunks(width)
                .filter(|component| from_bytes(data_type, component)[0].is_finite())
                .flatten()
                .copied()
                .collect();

            let found = to_wire(data_type, from_bytes(data_type, &finite));

            assert!(finite.len() > all.len() / 10 * 9);
            assert_eq!(bytes(&found), finite, "{}", data_type.name());
        }
    }

    #[test]
    fn singles_are_rounded_and_what_does_not_fit_is_refused() {
        let rounded = |data_type, value| from_singles(data_type, vec![value]).map(|values| values[0]);

        assert_eq!(rounded(DataType::Float16Vector, 0.1).ok(), Some(f16::from_f32(0.1).to_f32()));
        assert_eq!(rounded(DataType::Float16Vector, 1e6).ok(), Some(f32::INFINITY));
        assert_eq!(rounded(DataType::BFloat16Vector, 1e6).ok(), Some(999_424.0));
        assert_eq!(rounded(DataType::Int8Vector, -128.0).ok(), Some(-128.0));
        for value in [128.0, 0.5, f32::NAN] {
            assert!(rounded(DataType::Int8Vector, value).is_err(), "{value}");
        }
    }
}
