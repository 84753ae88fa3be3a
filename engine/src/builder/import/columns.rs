//! Columns of files as columns of the public protocol.
//!
//! Whatever format a file has, its columns become [`Values`] first, of which there are few kinds; here is said which of them a
//! field takes.

use bytes::Bytes;
use contract::pb::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, GeometryWktArray, IntArray, JsonArray,
    LongArray, ScalarField, SparseFloatArray, StringArray, VectorArray, VectorField, field_data,
    scalar_field, vector_field,
};
use serde_json::Value as Json;

use crate::intake::{narrow, sparse, wire_type};
use crate::model::{DataType, ElementType, Field, VectorElement};

/// Values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Truths.
    Bools(Vec<bool>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Singles.
    Singles(Vec<f32>),
    /// Doubles.
    Doubles(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
    /// Bytes: where each value ends, and all of them.
    Bytes {
        /// The end of each value.
        ends: Vec<usize>,
        /// One value after the other.
        bytes: Vec<u8>,
    },
    /// Lists: where each one ends, and the elements of all.
    Lists {
        /// The end of each list.
        ends: Vec<usize>,
        /// One list after the other.
        items: Box<Values>,
    },
    /// Sparse vectors as the protocol has them.
    Sparse(Vec<Vec<u8>>),
}

/// What does not fit: the place of the value among those that are there, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub struct Misfit {
    /// Which value.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bools(all) => all.len(),
            Self::Ints(all) => all.len(),
            Self::Singles(all) => all.len(),
            Self::Doubles(all) => all.len(),
            Self::Texts(all) => all.len(),
            Self::Bytes { ends, .. } | Self::Lists { ends, .. } => ends.len(),
            Self::Sparse(all) => all.len(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Bools(_) => "truths",
            Self::Ints(_) => "whole numbers",
            Self::Singles(_) | Self::Doubles(_) => "fractions",
            Self::Texts(_) => "texts",
            Self::Bytes { .. } => "bytes",
            Self::Lists { .. } => "lists",
            Self::Sparse(_) => "sparse vectors",
        }
    }
}

/// The column of `field`: `values` are those of the rows that `valid` says have one; of all rows if it is empty.
///
/// # Errors
/// For values of a kind that the field does not take, and for the first one that does not fit.
pub fn to_wire(field: &Field, values: Values, valid: Vec<bool>) -> Result<FieldData, Misfit> {
    // An empty column of a file may be of any kind.
    let values = if values.len() == 0 { none_of(field.data_type) } else { values };
    let (values, valid) = without_nulls(field, values, valid);
    let payload = if let DataType::ArrayOfVector(element) = field.data_type {
        let Values::Lists { ends, items } = values else { return Err(wrong_kind(field, &values)) };
        field_data::Field::Vectors(vector_arrays(field, element, &ends, *items)?)
    } else if field.data_type.is_vector() {
        let dim = i64::try_from(field.dim()).unwrap_or(i64::MAX);
        field_data::Field::Vectors(VectorField {
            dim,
            data: Some(vectors(field, values)?),
            ..Default::default()
        })
    } else {
        let data = scalars(field, field.data_type, values)?;
        field_data::Field::Scalars(ScalarField { data: Some(data), ..Default::default() })
    };
    Ok(FieldData {
        r#type: wire_type(field.data_type).into(),
        field_name: field.name.clone(),
        is_dynamic: field.is_dynamic,
        valid_data: valid,
        field: Some(payload),
        ..Default::default()
    })
}

/// Takes the JSON text `null` for no value where a field may have none: writers of files have no other way to say it.
fn without_nulls(field: &Field, values: Values, valid: Vec<bool>) -> (Values, Vec<bool>) {
    let is_json = matches!(field.data_type, DataType::Json | DataType::SparseFloatVector);
    match values {
        Values::Texts(texts) if is_json && field.nullable && texts.iter().any(|text| text == "null") => {
            let mut each = texts.iter();
            let valid = if valid.is_empty() { vec![true; texts.len()] } else { valid };
            let is_there = |there: bool| there && each.next().is_some_and(|text| text != "null");
            let valid = valid.into_iter().map(is_there).collect();
            (Values::Texts(texts.into_iter().filter(|text| text != "null").collect()), valid)
        }
        values => (values, valid),
    }
}

fn wrong_kind(field: &Field, values: &Values) -> Misfit {
    let why = format!("field {} of type {} takes no {}", field.name, field.data_type.name(), values.kind());
    Misfit { at: 0, why }
}

fn scalars(field: &Field, data_type: DataType, values: Values) -> Result<scalar_field::Data, Misfit> {
    use scalar_field::Data;
    Ok(match (data_type, values) {
        (DataType::Bool, Values::Bools(data)) => Data::BoolData(BoolArray { data }),
        (DataType::Int8, Values::Ints(all)) => {
            Data::IntData(IntArray { data: ints(field, &all, i8::MIN.into(), i8::MAX.into())? })
        }
        (DataType::Int16, Values::Ints(all)) => {
            Data::IntData(IntArray { data: ints(field, &all, i16::MIN.into(), i16::MAX.into())? })
        }
        (DataType::Int32, Values::Ints(all)) => {
            Data::IntData(IntArray { data: ints(field, &all, i32::MIN, i32::MAX)? })
        }
        (DataType::Int64, Values::Ints(data)) => Data::LongData(LongArray { data }),
        (DataType::Float, values) => Data::FloatData(FloatArray { data: singles(field, values)? }),
        (DataType::Double, Values::Singles(all)) => {
            Data::DoubleData(DoubleArray { data: all.into_iter().map(f64::from).collect() })
        }
        (DataType::Double, Values::Doubles(data)) => Data::DoubleData(DoubleArray { data }),
        #[expect(clippy::cast_precision_loss, reason = "what is nearest is what the field can hold")]
        (DataType::Double, Values::Ints(all)) => {
            Data::DoubleData(DoubleArray { data: all.into_iter().map(|value| value as f64).collect() })
        }
        (DataType::VarChar | DataType::Text | DataType::Timestamptz, Values::Texts(data)) => {
            Data::StringData(StringArray { data })
        }
        (DataType::Geometry, Values::Texts(data)) => Data::GeometryWktData(GeometryWktArray { data }),
        (DataType::Json, Values::Texts(all)) => {
            Data::JsonData(JsonArray { data: all.into_iter().map(Bytes::from).collect() })
        }
        (DataType::Array(element), Values::Lists { ends, items }) => {
            Data::ArrayData(arrays(field, element, &ends, *items)?)
        }
        (_, values) => return Err(wrong_kind(field, &values)),
    })
}

fn ints(field: &Field, all: &[i64], low: i32, high: i32) -> Result<Vec<i32>, Misfit> {
    let fit = |(at, value): (usize, &i64)| match i32::try_from(*value) {
        Ok(fitting) if (low..=high).contains(&fitting) => Ok(fitting),
        _ => Err(Misfit { at, why: format!("{value} of field {} is not in [{low}, {high}]", field.name) }),
    };
    all.iter().enumerate().map(fit).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "what is nearest is what the field can hold")]
#[expect(clippy::cast_precision_loss, reason = "what is nearest is what the field can hold")]
fn singles(field: &Field, values: Values) -> Result<Vec<f32>, Misfit> {
    match values {
        Values::Singles(all) => Ok(all),
        // A double beyond all singles becomes infinite, which no field takes.
        Values::Doubles(all) => Ok(all.into_iter().map(|value| value as f32).collect()),
        Values::Ints(all) => Ok(all.into_iter().map(|value| value as f32).collect()),
        values => Err(wrong_kind(field, &values)),
    }
}

/// One column a row, as the protocol has arrays.
fn arrays(field: &Field, element: ElementType, ends: &[usize], items: Values) -> Result<ArrayArray, Misfit> {
    use scalar_field::Data;
    let scalar = element.scalar();
    // An empty column of a file may be of any kind.
    let items = if items.len() == 0 { none_of(scalar) } else { items };
    let all = scalars(field, scalar, items)
        .map_err(|misfit| Misfit { at: ends.partition_point(|end| *end <= misfit.at), why: misfit.why })?;
    let mut start = 0;
    let data = ends.iter().map(|&end| {
        let range = start..end;
        start = end;
        let data = match &all {
            Data::BoolData(all) => Data::BoolData(BoolArray { data: all.data[range].to_vec() }),
            Data::IntData(all) => Data::IntData(IntArray { data: all.data[range].to_vec() }),
            Data::LongData(all) => Data::LongData(LongArray { data: all.data[range].to_vec() }),
            Data::FloatData(all) => Data::FloatData(FloatArray { data: all.data[range].to_vec() }),
            Data::DoubleData(all) => Data::DoubleData(DoubleArray { data: all.data[range].to_vec() }),
            Data::StringData(all) => Data::StringData(StringArray { data: all.data[range].to_vec() }),
            // Elements are none of the others.
            other => other.clone(),
        };
        ScalarField { data: Some(data), ..Default::default() }
    });
    Ok(ArrayArray { data: data.collect(), element_type: wire_type(scalar).into() })
}

/// The vectors of each row as a column of their own, as the protocol has arrays of vectors.
fn vector_arrays(
    field: &Field,
    element: VectorElement,
    ends: &[usize],
    items: Values,
) -> Result<VectorField, Misfit> {
    use vector_field::Data;
    let dim = i64::try_from(field.dim()).unwrap_or(i64::MAX);
    let one = Field { data_type: element.vector(), ..field.clone() };
    // An empty column of a file may be of any kind.
    let all = if items.len() == 0 {
        Data::FloatVector(FloatArray::default())
    } else {
        vectors(&one, items)
            .map_err(|misfit| Misfit { at: ends.partition_point(|end| *end <= misfit.at), why: misfit.why })?
    };
    let width = match one.data_type {
        DataType::BinaryVector => one.dim() / 8,
        other => one.dim() * narrow::component_bytes(other),
    };
    let mut start = 0;
    let row = |end: &usize| {
        let range = std::mem::replace(&mut start, *end)..*end;
        let bytes = |all: &Bytes| all.slice(range.start * width..range.end * width);
        let data = match &all {
            Data::FloatVector(all) => {
                let data = all.data[range.start * one.dim()..range.end * one.dim()].to_vec();
                Data::FloatVector(FloatArray { data })
            }
            Data::BinaryVector(all) => Data::BinaryVector(bytes(all)),
            Data::Float16Vector(all) => Data::Float16Vector(bytes(all)),
            Data::Bfloat16Vector(all) => Data::Bfloat16Vector(bytes(all)),
            Data::Int8Vector(all) => Data::Int8Vector(bytes(all)),
            // Arrays are of none of the others.
            other => other.clone(),
        };
        // What has no vector says nothing of their kind.
        VectorField { dim, data: (!range.is_empty()).then_some(data), ..Default::default() }
    };
    let data = ends.iter().map(row).collect();
    let all = VectorArray { dim, data, element_type: wire_type(one.data_type).into() };
    Ok(VectorField { dim, data: Some(Data::VectorArray(all)), ..Default::default() })
}

/// No value, of a kind that fields of the type take.
fn none_of(data_type: DataType) -> Values {
    match data_type {
        DataType::Bool => Values::Bools(Vec::new()),
        DataType::Float => Values::Singles(Vec::new()),
        DataType::Double => Values::Doubles(Vec::new()),
        text if text.is_text() => Values::Texts(Vec::new()),
        DataType::Timestamptz | DataType::Geometry | DataType::Json => Values::Texts(Vec::new()),
        DataType::Array(_) | DataType::ArrayOfVector(_) => {
            Values::Lists { ends: Vec::new(), items: Box::new(Values::Ints(Vec::new())) }
        }
        DataType::SparseFloatVector => Values::Sparse(Vec::new()),
        vector if vector.is_vector() => Values::Bytes { ends: Vec::new(), bytes: Vec::new() },
        _ => Values::Ints(Vec::new()),
    }
}

fn vectors(field: &Field, values: Values) -> Result<vector_field::Data, Misfit> {
    use vector_field::Data;
    let data_type = field.data_type;
    if data_type == DataType::SparseFloatVector {
        let contents = match values {
            Values::Sparse(contents) => contents,
            Values::Texts(texts) => sparse_of(&texts)?,
            values => return Err(wrong_kind(field, &values)),
        };
        return Ok(Data::SparseFloatVector(SparseFloatArray { contents, ..Default::default() }));
    }
    let in_bytes = match data_type {
        DataType::BinaryVector => field.dim() / 8,
        other => field.dim() * narrow::component_bytes(other),
    };
    match (data_type, values) {
        (DataType::BinaryVector, values) => {
            Ok(Data::BinaryVector(bytes_of(field, values, in_bytes, 0, 255)?.into()))
        }
        (DataType::Int8Vector, values @ (Values::Lists { .. } | Values::Bytes { .. })) => {
            Ok(Data::Int8Vector(bytes_of(field, values, in_bytes, -128, 127)?.into()))
        }
        (_, Values::Lists { ends, items }) if matches!(*items, Values::Singles(_) | Values::Doubles(_)) => {
            check_lengths(field, &ends, field.dim())?;
            Ok(Data::FloatVector(FloatArray { data: singles(field, *items)? }))
        }
        (DataType::FloatVector, Values::Lists { ends, items }) => {
            check_lengths(field, &ends, field.dim())?;
            Ok(Data::FloatVector(FloatArray { data: singles(field, *items)? }))
        }
        (DataType::FloatVector, Values::Bytes { ends, bytes }) => {
            check_lengths(field, &ends, in_bytes)?;
            Ok(Data::FloatVector(FloatArray { data: narrow::from_bytes(data_type, &bytes) }))
        }
        (DataType::Float16Vector, values @ (Values::Lists { .. } | Values::Bytes { .. })) => {
            Ok(Data::Float16Vector(bytes_of(field, values, in_bytes, 0, 255)?.into()))
        }
        (DataType::BFloat16Vector, values @ (Values::Lists { .. } | Values::Bytes { .. })) => {
            Ok(Data::Bfloat16Vector(bytes_of(field, values, in_bytes, 0, 255)?.into()))
        }
        (_, values) => Err(wrong_kind(field, &values)),
    }
}

fn sparse_of(texts: &[String]) -> Result<Vec<Vec<u8>>, Misfit> {
    let one = |(at, text): (usize, &String)| {
        let parsed = serde_json::from_str(text).map_err(|error| error.to_string());
        let object = parsed.and_then(|json| match json {
            Json::Object(object) => Ok(object),
            _ => Err("a sparse vector must be an object".to_owned()),
        });
        let vector = object.and_then(|object| sparse::of_json(&object).map_err(|error| error.to_string()));
        vector.map_err(|why| Misfit { at, why })
    };
    texts.iter().enumerate().map(one).collect()
}

/// Vectors that come as bytes, or as lists of numbers of eight bits.
fn bytes_of(field: &Field, values: Values, width: usize, low: i64, high: i64) -> Result<Vec<u8>, Misfit> {
    match values {
        Values::Bytes { ends, bytes } => {
            check_lengths(field, &ends, width)?;
            Ok(bytes)
        }
        Values::Lists { ends, items } => {
            let Values::Ints(all) = *items else { return Err(wrong_kind(field, &items)) };
            check_lengths(field, &ends, width)?;
            let byte = |(at, value): (usize, &i64)| match u8::try_from(value & 0xff) {
                Ok(byte) if (low..=high).contains(value) => Ok(byte),
                _ => Err(Misfit {
                    at: at / width.max(1),
                    why: format!("{value} of field {} is not in [{low}, {high}]", field.name),
                }),
            };
            all.iter().enumerate().map(byte).collect()
        }
        values => Err(wrong_kind(field, &values)),
    }
}

/// Whether each list has as many elements as a vector of the field has parts.
fn check_lengths(field: &Field, ends: &[usize], width: usize) -> Result<(), Misfit> {
    let mut start = 0;
    for (at, &end) in ends.iter().enumerate() {
        let found = end - start;
        if found != width {
            let (name, dim) = (&field.name, field.dim());
            let why =
                format!("the vector of field {name} has {found} parts and not {width}, its dim is {dim}");
            return Err(Misfit { at, why });
        }
        start = end;
    }
    Ok(())
}
