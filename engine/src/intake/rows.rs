//! Columns of the wire to whole rows: what `Insert` and `Upsert` carry.
//!
//! Values move, they are not copied, wherever wire and model hold them alike (numbers and vectors).

use contract::pb::schema::{FieldData, ScalarField, VectorField, field_data, scalar_field, vector_field};

use super::{Error, arrays, functions, narrow, sparse, structs};
use crate::calendar::{self, TimeZone};
use crate::model::{
    Batch, Bitset, ByteRows, Column, ColumnData, DYNAMIC_FIELD, DataType, Field, Function, FunctionKind,
    Schema, Texts, Value,
};
use crate::shape;

/// What to make of a primary key's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyColumn {
    /// The client gives it, unless the server makes it: then it must be absent and the column stays empty.
    ByAutoId,
    /// The client may give it although the server makes keys too.
    Allowed,
    /// The client must give it.
    Required,
}

/// Which computed columns rows may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// None.
    Computed,
    /// Those that a model would be asked for.
    MayBeGiven,
}

/// The columns that a request carries, one place per field of the schema, `None` where the request has none.
#[derive(Debug)]
pub struct Sent {
    /// Rows of every column.
    pub rows: usize,
    /// The columns in schema order.
    pub columns: Vec<Option<Column>>,
}

/// What the vectors, numbers and defaults of one request may take. Unit: bytes.
const MAX_ROWS_BYTES: usize = 1 << 30;

/// Takes the columns of a request apart. Times without an offset are times in `zone`.
///
/// # Errors
/// What Milvus says about a column that the schema does not have, that has another type, or the wrong number of values.
pub fn sent(
    schema: &Schema,
    zone: &TimeZone,
    (fields, rows): (Vec<FieldData>, u32),
    (keys, outputs): (KeyColumn, Outputs),
) -> Result<Sent, Error> {
    let rows = rows as usize;
    if rows == 0 {
        return Err(Error::NoRows);
    }
    // What is not sent takes its place all the same: a small request must not become more than there is memory for.
    let row_bytes: usize = schema.fields.iter().map(|field| 8 + vector_bytes(field)).sum();
    let default_bytes = schema.fields.iter().map(|field| default_bytes(field, &fields, rows)).sum::<usize>();
    if rows.saturating_mul(row_bytes).saturating_add(default_bytes) > MAX_ROWS_BYTES {
        return Err(Error::RowsTooLarge { rows, limit: MAX_ROWS_BYTES });
    }
    let count = fields.len();
    let fields = structs::flattened(schema, fields)?;
    let mut columns: Vec<Option<Column>> = schema.fields.iter().map(|_| None).collect();
    for data in fields {
        let place = place_of(schema, &data, count)?;
        let field = &schema.fields[place];
        let may_be_given = outputs == Outputs::MayBeGiven && schema.embedding_of(field.id).is_some();
        if schema.function_of(field.id).is_some() && !may_be_given {
            return Err(Error::ComputedField { field: field.name.clone() });
        }
        if columns[place].is_some() {
            return Err(Error::DuplicateField { field: field.name.clone() });
        }
        if field.is_primary && field.auto_id && keys == KeyColumn::ByAutoId {
            return Err(Error::KeyWithAutoId { field: field.name.clone() });
        }
        columns[place] = Some(column(field, zone, data, rows)?);
    }
    let primary = schema.primary();
    if keys == KeyColumn::Required
        && schema.position(primary.id).is_some_and(|place| columns[place].is_none())
    {
        return Err(Error::UpsertWithoutKey { field: primary.name.clone() });
    }
    Ok(Sent { rows, columns })
}

impl Sent {
    /// The functions whose models have to be asked, since the request does not carry what they would say.
    #[must_use]
    pub fn to_ask<'a>(&self, schema: &'a Schema) -> Vec<&'a Function> {
        let is_missing = |function: &&Function| {
            let place = schema.position(function.output);
            place.is_some_and(|place| self.columns[place].is_none())
        };
        let embeddings =
            schema.functions.iter().filter(|function| function.kind == FunctionKind::TextEmbedding);
        embeddings.filter(is_missing).collect()
    }

    /// Whole rows: absent columns become defaults, nulls or empty objects. The column of a key that the server makes
    /// stays without values; [`fill_keys`] gives it some.
    ///
    /// # Errors
    /// [`Error::FieldMissing`] for a field that must have a value.
    pub fn whole(self, schema: &Schema) -> Result<Batch, Error> {
        let rows = self.rows;
        let columns = self.columns.into_iter().zip(&schema.fields).map(|(column, field)| match column {
            Some(column) => Ok(column),
            None if schema.function_of(field.id).is_some() => Ok(functions::not_computed(field, rows)),
            None => absent(field, rows).map_err(|error| match (error, schema.struct_of(field.id)) {
                // Whoever sends none of its parts has left out the struct.
                (Error::FieldMissing { .. }, Some(of)) => Error::FieldMissing { field: of.name.clone() },
                (error, _) => error,
            }),
        });
        Ok(Batch { rows, columns: columns.collect::<Result<_, _>>()? })
    }
}

/// Bytes of one vector of a field in memory, beside what is in the request anyway.
fn vector_bytes(field: &Field) -> usize {
    if !field.data_type.is_vector() {
        return 0;
    }
    if field.data_type == DataType::BinaryVector { field.dim() / 8 } else { field.dim() * 4 }
}

/// Bytes that the default of a field takes in the rows that have no value of their own.
fn default_bytes(field: &Field, fields: &[FieldData], rows: usize) -> usize {
    let length = match &field.default {
        Some(Value::Text(text)) => text.len(),
        Some(Value::Shape(bytes)) => bytes.len(),
        _ => return 0,
    };
    let missing = match fields.iter().find(|data| data.field_name == field.name) {
        None => rows,
        Some(data) => {
            let inner = match &data.field {
                Some(field_data::Field::Scalars(scalars)) => scalars.valid_data.as_slice(),
                _ => &[],
            };
            let valid = if inner.is_empty() { &data.valid_data } else { inner };
            valid.iter().filter(|present| !**present).count()
        }
    };
    missing.saturating_mul(length)
}

/// The position in the schema of the field that `data` is for.
fn place_of(schema: &Schema, data: &FieldData, count: usize) -> Result<usize, Error> {
    let by_name = |name: &str| schema.fields.iter().position(|field| field.name == name);
    if data.is_dynamic || data.field_name == DYNAMIC_FIELD {
        return by_name(DYNAMIC_FIELD).ok_or(Error::MetaWithoutDynamic);
    }
    by_name(&data.field_name).ok_or_else(|| Error::MoreFields {
        expected: schema
            .fields
            .iter()
            .filter(|field| !field.is_dynamic && schema.function_of(field.id).is_none())
            .filter(|field| schema.struct_of(field.id).is_none())
            .count()
            + schema.structs.len(),
        actual: count,
    })
}

/// The column of a field that the request does not carry.
fn absent(field: &Field, rows: usize) -> Result<Column, Error> {
    if field.is_primary && field.auto_id {
        return Ok(Column::empty(field));
    }
    let fill = match &field.default {
        Some(default) => default.clone(),
        None if field.is_dynamic => Value::Json("{}".to_owned()),
        None if field.nullable => Value::Null,
        None => return Err(Error::FieldMissing { field: field.name.clone() }),
    };
    filled(field, &fill, rows)
}

/// `rows` times one value.
fn filled(field: &Field, value: &Value, rows: usize) -> Result<Column, Error> {
    let mut column = Column::empty(field);
    for _ in 0..rows {
        column.data.push(value).map_err(|mismatch| Error::Defect { reason: mismatch.to_string() })?;
    }
    if matches!(value, Value::Null) {
        column.valid = Some(Bitset::none(rows));
    }
    Ok(column)
}

/// Gives the column of the primary key the keys that the server made: numbers, or their decimal texts.
pub fn fill_keys(schema: &Schema, batch: &mut Batch, first: i64) {
    let rows = batch.rows;
    let primary = schema.primary();
    let Some(place) = schema.position(primary.id) else { return };
    let keys = (first..).take(rows);
    batch.columns[place].data = if primary.data_type == DataType::VarChar {
        let mut texts = Texts::new();
        keys.for_each(|key| texts.push(&key.to_string()));
        ColumnData::VarChar(texts)
    } else {
        ColumnData::Int64(keys.collect())
    };
}

/// One column of the wire as a column of the model, nulls and defaults put in.
fn column(field: &Field, zone: &TimeZone, data: FieldData, rows: usize) -> Result<Column, Error> {
    let FieldData { field: payload, valid_data, .. } = data;
    let (values, valid) = match payload {
        Some(field_data::Field::Scalars(ScalarField { valid_data: inner, data })) => {
            (scalars(field, zone, data)?, either(inner, valid_data))
        }
        Some(field_data::Field::Vectors(VectorField { dim, valid_data: inner, data })) => {
            (vectors(field, dim, data)?, either(inner, valid_data))
        }
        // Without any array the message has no payload at all.
        None if matches!(field.data_type, DataType::Array(_) | DataType::ArrayOfVector(_))
            && field.nullable =>
        {
            (ColumnData::empty(field), valid_data)
        }
        Some(field_data::Field::StructArrays(_)) | None => return Err(wrong_type(field, "nil")),
    };
    if valid.is_empty() {
        if values.len() != rows {
            return Err(Error::RowCount { field: field.name.clone(), expected: rows, actual: values.len() });
        }
        return Ok(Column { field: field.id, data: values, valid: None });
    }
    if (!field.nullable && field.default.is_none()) || valid.len() != rows {
        let expected = if field.nullable || field.default.is_some() { rows } else { 0 };
        return Err(Error::ValidLength { field: field.name.clone(), expected, actual: valid.len() });
    }
    let present = valid.iter().filter(|&&present| present).count();
    if values.len() != present {
        return Err(Error::CompactLength { expected: present, actual: values.len() });
    }
    if present == rows {
        return Ok(Column { field: field.id, data: values, valid: None });
    }
    spread(field, values, &valid)
}

fn either(inner: Vec<bool>, outer: Vec<bool>) -> Vec<bool> {
    if inner.is_empty() { outer } else { inner }
}

/// Puts a default or a null between the values that are there. `values` holds one value per `true` of `valid`.
fn spread(field: &Field, values: ColumnData, valid: &[bool]) -> Result<Column, Error> {
    // One row more than there are values: the one for the gaps. Then the rows are picked.
    let mut with_gap = values;
    let gap = with_gap.len();
    let fill = field.default.as_ref().unwrap_or(&Value::Null);
    with_gap.push(fill).map_err(|mismatch| Error::Defect { reason: mismatch.to_string() })?;
    let mut next = 0;
    let rows: Vec<usize> = valid
        .iter()
        .map(|&present| {
            if present {
                next += 1;
                next - 1
            } else {
                gap
            }
        })
        .collect();
    let mask = field.default.is_none().then(|| Bitset::from_fn(valid.len(), |row| valid[row]));
    Ok(Column { field: field.id, data: with_gap.take(&rows), valid: mask })
}

pub(super) fn wrong_type(field: &Field, actual: &'static str) -> Error {
    let expected = match field.data_type {
        DataType::Bool => "bool",
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int",
        DataType::Int64 => "long",
        DataType::Float => "float",
        DataType::Double => "double",
        DataType::VarChar | DataType::Text => "string",
        DataType::Json => "json",
        DataType::Timestamptz => "timestamptz string",
        DataType::Geometry => "geometry",
        DataType::Array(element) => element.scalar().name(),
        DataType::FloatVector => "float vector",
        DataType::Float16Vector => "float16 vector",
        DataType::BFloat16Vector => "bfloat16 vector",
        DataType::Int8Vector => "int8 vector",
        DataType::BinaryVector => "binary vector",
        DataType::SparseFloatVector => "sparse float vector",
        DataType::ArrayOfVector(_) => "array of vectors",
    };
    Error::FieldType { field: field.name.clone(), expected, actual }
}

/// The values of a scalar column.
fn scalars(field: &Field, zone: &TimeZone, data: Option<scalar_field::Data>) -> Result<ColumnData, Error> {
    use scalar_field::Data;
    Ok(match (field.data_type, data) {
        (DataType::Bool, Some(Data::BoolData(values))) => ColumnData::Bool(values.data),
        (DataType::Int8, Some(Data::IntData(values))) => ColumnData::Int8(int8(&values.data)?),
        (DataType::Int16, Some(Data::IntData(values))) => ColumnData::Int16(int16(&values.data)?),
        (DataType::Int32, Some(Data::IntData(values))) => ColumnData::Int32(values.data),
        (DataType::Int64, Some(Data::LongData(values))) => ColumnData::Int64(values.data),
        (DataType::Float, Some(Data::FloatData(values))) => ColumnData::Float(values.data),
        (DataType::Double, Some(Data::DoubleData(values))) => ColumnData::Double(values.data),
        (DataType::VarChar | DataType::Text, Some(Data::StringData(values))) => {
            ColumnData::VarChar(values.data.iter().map(String::as_str).collect())
        }
        (DataType::Json, Some(Data::JsonData(values))) => {
            let mut texts = Texts::new();
            for (row, bytes) in values.data.iter().enumerate() {
                texts.push(
                    std::str::from_utf8(bytes)
                        .map_err(|_| Error::NotUtf8 { field: field.name.clone(), row })?,
                );
            }
            ColumnData::Json(texts)
        }
        (DataType::Timestamptz, Some(Data::StringData(values))) => {
            let instant = |text: &String| {
                calendar::parse(text, zone)
                    .map_err(|source| not_stored(field, "got invalid timestamptz string", text, &source))
            };
            ColumnData::Int64(values.data.iter().map(instant).collect::<Result<_, _>>()?)
        }
        (DataType::Timestamptz, Some(Data::TimestamptzData(values))) => {
            let known = calendar::EARLIEST..=calendar::LATEST;
            if let Some(wrong) = values.data.iter().find(|instant| !known.contains(instant)) {
                let source = calendar::Error::Range { text: wrong.to_string() };
                return Err(not_stored(field, "got invalid timestamptz string", &wrong.to_string(), &source));
            }
            ColumnData::Int64(values.data)
        }
        (DataType::Geometry, Some(Data::GeometryWktData(values))) => {
            let mut shapes = ByteRows::new();
            for text in &values.data {
                let shape = shape::parse(text);
                let shape = shape.map_err(|source| {
                    not_stored(field, "failed to insert invalid geometry", text, &source)
                })?;
                shapes.push(&shape);
            }
            ColumnData::Geometry(shapes)
        }
        (DataType::Array(element), Some(Data::ArrayData(values))) => arrays::of_wire(element, values.data)?,
        (DataType::ArrayOfVector(_), data) if data.is_some() || !field.nullable => {
            return Err(wrong_type(field, data.as_ref().map_or("nil", payload_name)));
        }
        // An older client sends a field without any valid value with no payload at all.
        (_, None) if field.nullable || field.default.is_some() => ColumnData::empty(field),
        (_, data) => return Err(wrong_type(field, data.as_ref().map_or("nil", payload_name))),
    })
}

/// A value of a field that is a text which says none.
fn not_stored(field: &Field, what: &str, text: &str, source: &dyn std::fmt::Display) -> Error {
    let (name, shown) = (&field.name, super::shown(text));
    Error::Checked {
        code: 1100,
        text: format!("{what} '{shown}': {source}, field name: {name}: invalid parameter"),
    }
}

/// A payload as error texts name it.
pub const fn payload_name(data: &scalar_field::Data) -> &'static str {
    use scalar_field::Data;
    match data {
        Data::BoolData(_) => "bool array",
        Data::IntData(_) => "int array",
        Data::LongData(_) => "long array",
        Data::FloatData(_) => "float array",
        Data::DoubleData(_) => "double array",
        Data::StringData(_) => "string array",
        Data::JsonData(_) => "json array",
        Data::ArrayData(_) => "array array",
        Data::TimestamptzData(_) => "timestamptz array",
        Data::GeometryWktData(_) => "geometry wkt array",
        _ => "other array",
    }
}

/// 8-bit numbers, which the wire carries as 32-bit ones.
pub fn int8(values: &[i32]) -> Result<Vec<i8>, Error> {
    narrow(values, i8::MIN.into(), i8::MAX.into())
}

/// 16-bit numbers, which the wire carries as 32-bit ones.
pub fn int16(values: &[i32]) -> Result<Vec<i16>, Error> {
    narrow(values, i16::MIN.into(), i16::MAX.into())
}

fn narrow<T: TryFrom<i32>>(values: &[i32], low: i32, high: i32) -> Result<Vec<T>, Error> {
    let fit = |(row, &value): (usize, &i32)| {
        T::try_from(value).map_err(|_| Error::IntegerRange { row, value, low, high })
    };
    values.iter().enumerate().map(fit).collect()
}

/// The values of a vector column. Narrow vectors may also come as singles. The dimension that comes with sparse ones says
/// nothing.
pub(super) fn vectors(
    field: &Field,
    dim: i64,
    data: Option<vector_field::Data>,
) -> Result<ColumnData, Error> {
    use vector_field::Data;
    if let DataType::ArrayOfVector(element) = field.data_type {
        return structs::vectors_of_wire(field, element, data);
    }
    let expected = field.dim().max(1);
    let data_type = field.data_type;
    if data_type == DataType::SparseFloatVector {
        return match data {
            Some(Data::SparseFloatVector(rows)) => {
                sparse::of_wire(&rows.contents).map(ColumnData::SparseVector)
            }
            None if field.nullable => Ok(ColumnData::empty(field)),
            None => Err(wrong_type(field, "nil")),
            Some(_) => Err(wrong_type(field, "other vector")),
        };
    }
    if data.is_some() && (usize::try_from(dim).is_ok_and(|dim| dim != expected) || dim < 0) {
        return Err(Error::VectorDim { field: field.name.clone(), dim: expected, actual: dim });
    }
    let (kind, width, given, values) = match (data_type, data) {
        (DataType::BinaryVector, Some(Data::BinaryVector(bytes))) => {
            if !(bytes.len() * 8).is_multiple_of(expected) {
                return Err(Error::BitsLength { length: bytes.len() * 8, dim: expected });
            }
            return Ok(ColumnData::BinaryVector { dim: expected, bytes: bytes.into() });
        }
        (_, Some(Data::FloatVector(values))) if data_type.is_dense() => {
            ("float", 1, values.data.len(), narrow::from_singles(data_type, values.data)?)
        }
        (DataType::Float16Vector, Some(Data::Float16Vector(bytes)))
        | (DataType::BFloat16Vector, Some(Data::Bfloat16Vector(bytes)))
        | (DataType::Int8Vector, Some(Data::Int8Vector(bytes))) => {
            let width = narrow::component_bytes(data_type);
            (narrow::kind(data_type), width, bytes.len(), narrow::from_bytes(data_type, &bytes))
        }
        (_, None) if field.nullable => return Ok(ColumnData::empty(field)),
        (_, None) => return Err(wrong_type(field, "nil")),
        (_, Some(_)) => return Err(wrong_type(field, "other vector")),
    };
    if given % (width * expected) != 0 {
        return Err(Error::VectorLength { kind, length: given, dim: expected });
    }
    Ok(ColumnData::FloatVector { dim: expected, values })
}
