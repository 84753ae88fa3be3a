//! Rows of JSON to columns of the wire: what an insert and an upsert of REST carry.
//!
//! A row is read in place and added to the columns before the next one is looked at. Values keep what they say: a number is
//! taken exactly as it is written, a JSON field and dynamic keys keep their texts. Source: wire specification 4.1.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::pb::schema::{
    ArrayArray, BoolArray, DoubleArray, FieldData, FloatArray, GeometryWktArray, IntArray, JsonArray,
    LongArray, ScalarField, SparseFloatArray, StringArray, VectorArray, VectorField, field_data,
    scalar_field, vector_field,
};
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::json::{Pairs, compact, number, parsed, shown_raw, unreadable, whole};
use super::{Error, narrow, sparse, wire_type};
use crate::model::{DYNAMIC_FIELD, DataType, ElementType, Field, Schema, StructField, boolean};

/// Most rows of one request.
const MAX_ROWS: usize = 4 << 20;

/// Which fields rows must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All but those that have a default, may be null or are made by the server.
    Whole,
    /// Only the key; a field is in all rows or in none.
    Partial,
}

/// The columns that some rows make, and how many rows there are. `text` is a list of objects, or one object.
///
/// # Errors
/// [`Error::NotJson`] for what is no rows; for the first value that does not fit, what and where it is.
pub fn columns(schema: &Schema, text: &str, kind: Rows) -> Result<(u32, Vec<FieldData>), Error> {
    let mut table = Table::new(schema, Meta::Refused);
    if text.trim_start().starts_with('[') {
        let mut flaw = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = reader.deserialize_seq(Each { table: &mut table, flaw: &mut flaw });
        let read = read.and_then(|()| reader.end());
        if let Some(flaw) = flaw {
            return Err(flaw);
        }
        read.map_err(|reason| unreadable(&reason))?;
    } else {
        table.add(text)?;
    }
    let rows = u32::try_from(table.rows).unwrap_or(u32::MAX);
    Ok((rows, table.finish(kind)?))
}

/// Adds each row of a list as it is read, so that nothing is kept of a row but its values.
struct Each<'t, 'a> {
    table: &'t mut Table<'a>,
    /// Why a row was not added.
    flaw: &'t mut Option<Error>,
}

impl<'de> Visitor<'de> for Each<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(row) = rows.next_element::<&RawValue>()? {
            let added = if self.table.rows == MAX_ROWS {
                Err(Error::NotJson { reason: format!("it has more than {MAX_ROWS} rows") })
            } else {
                self.table.add(row.get())
            };
            if let Err(error) = added {
                *self.flaw = Some(error);
                return Err(A::Error::custom("a row is wrong"));
            }
        }
        Ok(())
    }
}

/// What the key is, in a row, that is called as the field of dynamic keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// One that no row may have.
    Refused,
    /// An object, or the text of one, that has dynamic keys: so files have them.
    Keys,
}

/// The columns so far.
pub struct Table<'a> {
    columns: Vec<Column<'a>>,
    places: HashMap<&'a str, usize>,
    /// Of each struct, the places of its parts and what each is called in it.
    structs: HashMap<&'a str, Vec<(&'a str, usize)>>,
    /// The dynamic keys of each row, where the schema is open.
    dynamic: Option<Vec<String>>,
    has_dynamic: bool,
    meta: Meta,
    rows: usize,
}

impl<'a> Table<'a> {
    /// No row yet.
    #[must_use]
    pub fn new(schema: &'a Schema, meta: Meta) -> Self {
        let fields = schema.fields.iter().filter(|field| !field.is_dynamic);
        let columns: Vec<Column<'a>> = fields.map(Column::new).collect();
        let places =
            columns.iter().enumerate().map(|(at, column)| (column.field.name.as_str(), at)).collect();
        let dynamic = schema.dynamic().map(|_| Vec::new());
        let parts = |of: &'a StructField| {
            let place = |(at, column): (usize, &Column<'a>)| {
                of.parts.contains(&column.field.id).then(|| (of.bare(&column.field.name), at))
            };
            (of.name.as_str(), columns.iter().enumerate().filter_map(place).collect())
        };
        let structs = schema.structs.iter().map(parts).collect();
        Self { columns, places, structs, dynamic, has_dynamic: false, meta, rows: 0 }
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row: the text of an object.
    ///
    /// # Errors
    /// For the first value that does not fit, what and where it is. The rows are of no use then.
    pub fn add(&mut self, text: &str) -> Result<(), Error> {
        let Pairs(pairs) = serde_json::from_str(text).map_err(|reason| unreadable(&reason))?;
        self.add_pairs(pairs.iter().map(|(key, raw)| (key.as_str(), *raw)))
    }

    /// Adds a row: its keys with their values.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_pairs<'p>(
        &mut self,
        pairs: impl Iterator<Item = (&'p str, &'p RawValue)>,
    ) -> Result<(), Error> {
        let row = self.rows;
        let mut rest = String::new();
        for (key, raw) in pairs {
            if let Some(place) = self.places.get(key) {
                self.columns[*place].add(row, raw)?;
            } else if let Some(parts) = self.structs.get(key) {
                add_structs(&mut self.columns, key, parts, row, raw)?;
            } else if self.dynamic.is_some() && key == DYNAMIC_FIELD && self.meta == Meta::Keys {
                for (key, value) in keys_within(raw, row)? {
                    push_pair(&mut rest, key, &value);
                }
            } else if self.dynamic.is_some() {
                push_pair(&mut rest, key.to_owned(), raw.get());
            } else {
                return Err(Error::RowField { field: super::shown(key), row });
            }
        }
        if let Some(dynamic) = &mut self.dynamic {
            self.has_dynamic |= !rest.is_empty();
            rest.push_str(if rest.is_empty() { "{}" } else { "}" });
            dynamic.push(rest);
        }
        self.rows += 1;
        Ok(())
    }

    /// The columns of all rows.
    ///
    /// # Errors
    /// For a field that some rows lack which must have it.
    pub fn finish(self, kind: Rows) -> Result<Vec<FieldData>, Error> {
        let mut done = Vec::new();
        for column in self.columns {
            done.extend(column.finish(self.rows, kind)?);
        }
        if let Some(texts) = self.dynamic.filter(|_| self.has_dynamic) {
            let data = texts.into_iter().map(Bytes::from).collect();
            done.push(FieldData {
                r#type: wire_type(DataType::Json).into(),
                field_name: DYNAMIC_FIELD.to_owned(),
                is_dynamic: true,
                field: Some(scalars(scalar_field::Data::JsonData(JsonArray { data }))),
                ..Default::default()
            });
        }
        Ok(done)
    }
}

/// Adds one row's array of structs, a list of objects, to the columns of the parts of a struct.
fn add_structs(
    columns: &mut [Column<'_>],
    name: &str,
    parts: &[(&str, usize)],
    row: usize,
    raw: &RawValue,
) -> Result<(), Error> {
    if raw.get() == "null" {
        return parts.iter().try_for_each(|(_, place)| columns[*place].add(row, raw));
    }
    let wrong = |reason: String| Error::InsertData { reason: format!("row {row}, field {name}: {reason}") };
    let objects: Vec<Pairs<'_>> = serde_json::from_str(raw.get())
        .map_err(|reason| wrong(format!("an array of structs is a list of objects: {reason}")))?;
    let mut elements: Vec<Vec<&RawValue>> = parts.iter().map(|_| Vec::with_capacity(objects.len())).collect();
    for (at, Pairs(pairs)) in objects.iter().enumerate() {
        for (key, value) in pairs {
            let place = parts.iter().position(|(part, _)| *part == key.as_str());
            let place = place.ok_or_else(|| wrong(format!("it has no sub-field {}", super::shown(key))))?;
            if elements[place].len() != at {
                return Err(wrong(format!("element {at} has {} twice", super::shown(key))));
            }
            elements[place].push(*value);
        }
        if let Some(missing) = elements.iter().position(|elements| elements.len() != at + 1) {
            return Err(wrong(format!("element {at} has no {}", parts[missing].0)));
        }
    }
    let mut each = parts.iter().zip(&elements);
    each.try_for_each(|((_, place), elements)| columns[*place].add_elements(row, elements, raw))
}

/// The dynamic keys that are given as one value: an object, or the text of one.
fn keys_within(raw: &RawValue, row: usize) -> Result<Vec<(String, String)>, Error> {
    let text;
    let object = if raw.get().starts_with('"') {
        text = serde_json::from_str::<String>(raw.get()).map_err(|reason| unreadable(&reason))?;
        text.trim()
    } else {
        raw.get()
    };
    if object == "null" || object.is_empty() {
        return Ok(Vec::new());
    }
    let pairs = serde_json::from_str(object).map_err(|reason| {
        let reason = format!("row {row} has dynamic keys that are no object: {reason}");
        Error::InsertData { reason }
    });
    let Pairs(pairs) = pairs?;
    Ok(pairs.into_iter().map(|(key, value)| (key, value.get().to_owned())).collect())
}

fn push_pair(rest: &mut String, key: String, value: &str) {
    rest.push(if rest.is_empty() { '{' } else { ',' });
    rest.push_str(&Json::String(key).to_string());
    rest.push(':');
    rest.push_str(&compact(value));
}

fn scalars(data: scalar_field::Data) -> field_data::Field {
    field_data::Field::Scalars(ScalarField { data: Some(data), ..Default::default() })
}

/// One column so far: the values that are there, and for each row up to the last one given whether it has one.
struct Column<'a> {
    field: &'a Field,
    values: field_data::Field,
    /// The values of a column of binary vectors, which the wire has as one piece.
    bits: Vec<u8>,
    valid: Vec<bool>,
    given: usize,
    last: Option<usize>,
}

impl<'a> Column<'a> {
    fn new(field: &'a Field) -> Self {
        Self { field, values: empty(field), bits: Vec::new(), valid: Vec::new(), given: 0, last: None }
    }

    fn add(&mut self, row: usize, raw: &RawValue) -> Result<(), Error> {
        let wrong = || self.wrong(row, raw);
        if self.last == Some(row) {
            let reason = format!("row {row} has the key {} twice", self.field.name);
            return Err(Error::InsertData { reason });
        }
        if raw.get() == "null" {
            if !self.field.nullable && self.field.default.is_none() {
                return Err(wrong());
            }
        } else {
            let pushed = match &mut self.values {
                field_data::Field::Scalars(ScalarField { data: Some(data), .. }) => {
                    push_scalar(data, self.field.data_type, raw)
                }
                field_data::Field::Vectors(VectorField { data: Some(data), .. }) => {
                    push_vector(data, &mut self.bits, self.field, raw)?
                }
                _ => None,
            };
            if pushed.is_none() {
                return Err(self.wrong(row, raw));
            }
        }
        self.valid.resize(row, false);
        self.valid.push(raw.get() != "null");
        self.given += 1;
        self.last = Some(row);
        Ok(())
    }

    /// Adds the elements of one row of a column of arrays; `raw` is all of what they are in.
    fn add_elements(&mut self, row: usize, elements: &[&RawValue], raw: &RawValue) -> Result<(), Error> {
        if self.last == Some(row) {
            let reason = format!("row {row} has the key {} twice", self.field.name);
            return Err(Error::InsertData { reason });
        }
        let pushed = match (&mut self.values, self.field.data_type) {
            (
                field_data::Field::Scalars(ScalarField {
                    data: Some(scalar_field::Data::ArrayData(all)),
                    ..
                }),
                DataType::Array(element),
            ) => array_of(element, elements).map(|row| all.data.push(row)),
            (
                field_data::Field::Vectors(VectorField {
                    data: Some(vector_field::Data::VectorArray(all)),
                    ..
                }),
                DataType::ArrayOfVector(element),
            ) => {
                let one = Field { data_type: element.vector(), ..self.field.clone() };
                vectors_of(&one, elements)?.map(|row| all.data.push(row))
            }
            _ => None,
        };
        pushed.ok_or_else(|| self.wrong(row, raw))?;
        self.valid.resize(row, false);
        self.valid.push(true);
        self.given += 1;
        self.last = Some(row);
        Ok(())
    }

    fn wrong(&self, row: usize, raw: &RawValue) -> Error {
        Error::RowValue {
            field: self.field.name.clone(),
            row,
            data_type: self.field.data_type.name(),
            value: shown_raw(raw),
        }
    }

    /// The column, or none where no row has the field and none must.
    fn finish(mut self, rows: usize, kind: Rows) -> Result<Option<FieldData>, Error> {
        let field = self.field;
        if self.given == 0 {
            // What must be there is missed where the rows of both APIs are checked.
            return Ok(None);
        }
        let may_lack = field.nullable || field.default.is_some();
        if self.given < rows && kind == Rows::Partial {
            return Err(Error::PartialRows { field: field.name.clone() });
        }
        self.valid.resize(rows, false);
        if !may_lack && let Some(row) = self.valid.iter().position(|there| !there) {
            return Err(Error::RowWithoutField { field: field.name.clone(), row });
        }
        if let field_data::Field::Vectors(VectorField {
            data: Some(vector_field::Data::BinaryVector(bits)),
            ..
        }) = &mut self.values
        {
            *bits = std::mem::take(&mut self.bits).into();
        }
        let valid_data = if self.valid.contains(&false) { self.valid } else { Vec::new() };
        Ok(Some(FieldData {
            r#type: wire_type(field.data_type).into(),
            field_name: field.name.clone(),
            valid_data,
            field: Some(self.values),
            ..Default::default()
        }))
    }
}

/// A column of the field's type without values. Narrow vectors are collected as the singles that they are.
fn empty(field: &Field) -> field_data::Field {
    use scalar_field::Data;
    let data = match field.data_type {
        DataType::Bool => Data::BoolData(BoolArray::default()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Data::IntData(IntArray::default()),
        DataType::Int64 => Data::LongData(LongArray::default()),
        DataType::Float => Data::FloatData(FloatArray::default()),
        DataType::Double => Data::DoubleData(DoubleArray::default()),
        DataType::VarChar | DataType::Text | DataType::Timestamptz => {
            Data::StringData(StringArray::default())
        }
        DataType::Geometry => Data::GeometryWktData(GeometryWktArray::default()),
        DataType::Json => Data::JsonData(JsonArray::default()),
        DataType::Array(element) => Data::ArrayData(ArrayArray {
            element_type: wire_type(element.scalar()).into(),
            ..Default::default()
        }),
        DataType::ArrayOfVector(element) => {
            let dim = i64::try_from(field.dim()).unwrap_or(i64::MAX);
            let element_type = wire_type(element.vector()).into();
            let all = VectorArray { dim, data: Vec::new(), element_type };
            let data = Some(vector_field::Data::VectorArray(all));
            return field_data::Field::Vectors(VectorField { dim, data, ..Default::default() });
        }
        DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::Int8Vector
        | DataType::BinaryVector
        | DataType::SparseFloatVector => {
            let data = match field.data_type {
                DataType::BinaryVector => vector_field::Data::BinaryVector(Bytes::new()),
                DataType::SparseFloatVector => {
                    vector_field::Data::SparseFloatVector(SparseFloatArray::default())
                }
                _ => vector_field::Data::FloatVector(FloatArray::default()),
            };
            let dim = i64::try_from(field.dim()).unwrap_or(i64::MAX);
            return field_data::Field::Vectors(VectorField { dim, data: Some(data), ..Default::default() });
        }
    };
    scalars(data)
}

/// Adds a value to a column of scalars; `None` if it is not of the type.
fn push_scalar(column: &mut scalar_field::Data, data_type: DataType, raw: &RawValue) -> Option<()> {
    use scalar_field::Data;
    match (column, data_type) {
        (Data::BoolData(all), _) => all.data.push(truth(raw)?),
        (Data::IntData(all), data_type) => {
            let value = i32::try_from(whole(number(raw)?)?).ok()?;
            let fits = match data_type {
                DataType::Int8 => i8::try_from(value).is_ok(),
                DataType::Int16 => i16::try_from(value).is_ok(),
                _ => true,
            };
            fits.then(|| all.data.push(value))?;
        }
        (Data::LongData(all), _) => all.data.push(whole(number(raw)?)?),
        (Data::FloatData(all), _) => all.data.push(finite(number(raw)?.parse().ok()?)?),
        (Data::DoubleData(all), _) => {
            let value: f64 = number(raw)?.parse().ok()?;
            value.is_finite().then(|| all.data.push(value))?;
        }
        (Data::StringData(all), DataType::Timestamptz) => {
            all.data.push(serde_json::from_str(raw.get()).ok()?);
        }
        (Data::StringData(all), _) => all.data.push(text(raw)?),
        (Data::GeometryWktData(all), _) => all.data.push(serde_json::from_str(raw.get()).ok()?),
        (Data::JsonData(all), _) => all.data.push(compact(raw.get()).into()),
        (Data::ArrayData(all), DataType::Array(element)) => all.data.push(array(element, raw)?),
        _ => return None,
    }
    Some(())
}

fn truth(raw: &RawValue) -> Option<bool> {
    let text = raw.get();
    boolean(text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text))
}

fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

/// A text; of a number, what is written.
fn text(raw: &RawValue) -> Option<String> {
    if raw.get().starts_with('"') {
        serde_json::from_str(raw.get()).ok()
    } else {
        number(raw).map(str::to_owned)
    }
}

fn array(element: ElementType, raw: &RawValue) -> Option<ScalarField> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
    array_of(element, &elements)
}

fn array_of(element: ElementType, elements: &[&RawValue]) -> Option<ScalarField> {
    let scalar = element.scalar();
    let mut data = element_column(scalar)?;
    for &element in elements {
        if element.get() == "null" {
            return None;
        }
        push_scalar(&mut data, scalar, element)?;
    }
    Some(ScalarField { data: Some(data), ..Default::default() })
}

fn element_column(scalar: DataType) -> Option<scalar_field::Data> {
    use scalar_field::Data;
    Some(match scalar {
        DataType::Bool => Data::BoolData(BoolArray::default()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => Data::IntData(IntArray::default()),
        DataType::Int64 => Data::LongData(LongArray::default()),
        DataType::Float => Data::FloatData(FloatArray::default()),
        DataType::Double => Data::DoubleData(DoubleArray::default()),
        DataType::VarChar => Data::StringData(StringArray::default()),
        _ => return None,
    })
}

/// Adds a vector to a column; `None` if it is none of the field's.
///
/// # Errors
/// [`Error::VectorDim`] for one of another length, [`Error::NotJson`] for a sparse one that is none.
fn push_vector(
    column: &mut vector_field::Data,
    all_bits: &mut Vec<u8>,
    field: &Field,
    raw: &RawValue,
) -> Result<Option<()>, Error> {
    use vector_field::Data;
    match column {
        Data::SparseFloatVector(all) => {
            let Json::Object(pairs) = parsed(raw.get())? else { return Ok(None) };
            all.contents.push(sparse::of_json(&pairs)?);
        }
        Data::BinaryVector(_) => {
            let Some(bits) = bits(raw) else { return Ok(None) };
            check_dim(field, bits.len() * 8)?;
            all_bits.extend(bits);
        }
        Data::FloatVector(all) => {
            let Some(singles) = singles(field.data_type, raw) else { return Ok(None) };
            check_dim(field, singles.len())?;
            all.data.extend(singles);
        }
        _ => return Ok(None),
    }
    Ok(Some(()))
}

/// The vectors of one row of a column of arrays of them; `one` is a field of single ones.
fn vectors_of(one: &Field, elements: &[&RawValue]) -> Result<Option<VectorField>, Error> {
    let field_data::Field::Vectors(mut row) = empty(one) else { return Ok(None) };
    let Some(data) = &mut row.data else { return Ok(None) };
    let mut bits = Vec::new();
    for element in elements {
        if push_vector(data, &mut bits, one, element)?.is_none() {
            return Ok(None);
        }
    }
    if let vector_field::Data::BinaryVector(all) = data {
        *all = bits.into();
    }
    Ok(Some(row))
}

fn check_dim(field: &Field, components: usize) -> Result<(), Error> {
    if components == field.dim() {
        return Ok(());
    }
    let actual = i64::try_from(components).unwrap_or(i64::MAX);
    Err(Error::VectorDim { field: field.name.clone(), dim: field.dim(), actual })
}

/// The bytes of a binary vector: base64, or a list.
fn bits(raw: &RawValue) -> Option<Vec<u8>> {
    if raw.get().starts_with('"') { base64(raw) } else { serde_json::from_str(raw.get()).ok() }
}

fn base64(raw: &RawValue) -> Option<Vec<u8>> {
    STANDARD.decode(serde_json::from_str::<String>(raw.get()).ok()?).ok()
}

/// The components of a dense vector: a list, for half-precision ones also base64.
fn singles(data_type: DataType, raw: &RawValue) -> Option<Vec<f32>> {
    let is_half = matches!(data_type, DataType::Float16Vector | DataType::BFloat16Vector);
    if is_half && raw.get().starts_with('"') {
        let bytes = base64(raw)?;
        return bytes.len().is_multiple_of(2).then(|| narrow::from_bytes(data_type, &bytes));
    }
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests;
