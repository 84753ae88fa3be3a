//! Rows of the model to columns of the wire: what `Query` and `Search` return.

use std::collections::BTreeSet;

use contract::pb::schema::{
    ArrayArray, BoolArray, DataType as WireType, DoubleArray, FieldData, FloatArray, GeometryWktArray, IDs,
    IntArray, JsonArray, LongArray, ScalarField, StringArray, VectorField, field_data, i_ds, scalar_field,
    vector_field,
};

use super::times::Times;
use super::{arrays, narrow, sparse};
use crate::base::FieldId;
use crate::calendar;
use crate::intake::structs;
pub use crate::intake::wire_type;
use crate::model::{Batch, Column, ColumnData, DYNAMIC_FIELD, DataType, Field, Keys, Schema, Texts};
use crate::proxy::Error;
use crate::shape;

/// Which values a read returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The fields to read, in the order in which they are returned; `$meta` among them where a dynamic key is wanted.
    pub fields: Vec<FieldId>,
    /// Of the dynamic keys only these; `None` for all.
    pub keys: Option<BTreeSet<String>>,
    /// The names as the answer lists them.
    pub names: Vec<String>,
    /// How instants are shown.
    pub times: Times,
}

/// Resolves the names that a client wants back. Instants come as `times` says.
///
/// `*` stands for every field but counts of words, and all dynamic keys; a name that is no field is a dynamic key where the schema is open.
///
/// # Errors
/// [`Error::OutputField`] for a name that means nothing, and Milvus's words for paths.
pub fn resolve(schema: &Schema, wanted: &[String], times: Times) -> Result<Output, Error> {
    let mut output = Output { fields: Vec::new(), keys: Some(BTreeSet::new()), names: Vec::new(), times };
    for name in wanted {
        let name = name.trim();
        if name == "*" {
            for field in schema.fields.iter().filter(|field| schema.counts_of(field.id).is_none()) {
                output.add_named(field, schema.struct_of(field.id).map_or(&field.name, |of| &of.name));
            }
            output.keys = None;
        } else if let Some(field) = schema.field(name) {
            if schema.counts_of(field.id).is_some() {
                return Err(Error::ComputedOutput { field: name.to_owned() });
            }
            output.add_field(field);
            if field.is_dynamic {
                output.keys = None;
            }
        } else if let Some(of) = schema.struct_field(name) {
            schema.parts(of).for_each(|part| output.add_named(part, name));
        } else {
            output.add_key(schema, name)?;
        }
    }
    Ok(output)
}

impl Output {
    fn add_field(&mut self, field: &Field) {
        self.add_named(field, &field.name);
    }

    /// Adds a field that the answer lists under `name`, which several may share.
    fn add_named(&mut self, field: &Field, name: &str) {
        if self.fields.contains(&field.id) {
            return;
        }
        self.fields.push(field.id);
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    fn add_key(&mut self, schema: &Schema, name: &str) -> Result<(), Error> {
        let Some(dynamic) = schema.dynamic() else {
            let is_subkey = name.split_once('[').and_then(|(field, _)| schema.field(field)).is_some();
            return Err(if is_subkey {
                Error::OutputSubkey
            } else {
                Error::OutputField { field: name.to_owned() }
            });
        };
        let key = dynamic_key(schema, name)?;
        if !self.fields.contains(&dynamic.id) {
            self.fields.push(dynamic.id);
        }
        if let Some(keys) = &mut self.keys {
            keys.insert(key);
        }
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        Ok(())
    }

    /// Makes sure that a field is read and returned first.
    pub fn with_first(mut self, field: &Field) -> Self {
        if let Some(at) = self.fields.iter().position(|id| *id == field.id) {
            self.fields.remove(at);
            self.names.retain(|name| *name != field.name);
        }
        self.fields.insert(0, field.id);
        self.names.insert(0, field.name.clone());
        self
    }
}

/// The dynamic key that a name means: the name itself, or the one key of `$meta["key"]`.
///
/// # Errors
/// Milvus's words for a name that cannot be one.
pub fn dynamic_key(schema: &Schema, name: &str) -> Result<String, Error> {
    let Some((field, path)) = name.split_once('[') else {
        let mut letters = name.chars();
        let starts_well = letters.next().is_some_and(|first| first == '_' || first.is_alphabetic());
        if !starts_well || !letters.all(|letter| letter == '_' || letter.is_alphanumeric()) {
            return Err(Error::OutputName { field: name.to_owned() });
        }
        return Ok(name.to_owned());
    };
    if field != DYNAMIC_FIELD {
        return Err(if schema.field(field).is_some() { Error::OutputSubkey } else { Error::OutputLevels });
    }
    let inner = path.strip_suffix(']').unwrap_or(path);
    if inner.contains('[') {
        return Err(Error::OutputLevels);
    }
    let key = inner.trim_matches(['"', '\'']);
    if key.is_empty() { Err(Error::OutputName { field: name.to_owned() }) } else { Ok(key.to_owned()) }
}

/// The columns of `rows` that `output` wants, in its order, parts of structs as such. A column that a peer left out is an error of the peer.
///
/// # Errors
/// [`Error::Answer`] for a missing column.
pub fn fields_data(schema: &Schema, output: &Output, mut rows: Batch) -> Result<Vec<FieldData>, Error> {
    let mut columns = Vec::with_capacity(output.fields.len());
    for id in &output.fields {
        let Some(field) = schema.field_by_id(*id) else { continue };
        let at = rows
            .columns
            .iter()
            .position(|column| column.field == *id)
            .ok_or_else(|| Error::Answer { reason: format!("no column for field {}", field.name) })?;
        let column = rows.columns.swap_remove(at);
        let keys = if field.is_dynamic { output.keys.as_ref() } else { None };
        columns.push(field_data(field, column, keys, &output.times));
    }
    Ok(structs::folded(schema, columns))
}

/// One column as the wire has it: scalars and arrays dense with placeholders, vectors compact, `valid_data` where the field is nullable.
#[must_use]
pub fn field_data(
    field: &Field,
    column: Column,
    keys: Option<&BTreeSet<String>>,
    times: &Times,
) -> FieldData {
    if field.data_type == DataType::Timestamptz
        && let ColumnData::Int64(instants) = &column.data
    {
        return instants_data(field, &column, instants, times);
    }
    let rows = column.data.len();
    let valid: Vec<bool> =
        if field.nullable { (0..rows).map(|row| column.is_valid(row)).collect() } else { Vec::new() };
    let dim = field.dim();
    let payload = match column.data {
        ColumnData::FloatVector { values, .. } => {
            let values = if valid.contains(&false) { compact(&values, dim, &valid) } else { values };
            let data = narrow::to_wire(field.data_type, values);
            let dim = i64::try_from(dim).unwrap_or(i64::MAX);
            field_data::Field::Vectors(VectorField { dim, data: Some(data), ..Default::default() })
        }
        ColumnData::BinaryVector { bytes, .. } => {
            let bytes = if valid.contains(&false) { compact(&bytes, dim / 8, &valid) } else { bytes };
            let data = Some(vector_field::Data::BinaryVector(bytes.into()));
            let dim = i64::try_from(dim).unwrap_or(i64::MAX);
            field_data::Field::Vectors(VectorField { dim, data, ..Default::default() })
        }
        ColumnData::SparseVector(rows) => {
            let all = sparse::to_wire(&rows, |row| valid.get(row) != Some(&false));
            let (dim, data) = (all.dim, Some(vector_field::Data::SparseFloatVector(all)));
            field_data::Field::Vectors(VectorField { dim, data, ..Default::default() })
        }
        ColumnData::Array(arrays) if matches!(field.data_type, DataType::ArrayOfVector(_)) => {
            field_data::Field::Vectors(arrays::vectors_to_wire(field, &arrays))
        }
        scalars => field_data::Field::Scalars(ScalarField {
            data: Some(scalar(scalars, keys)),
            ..Default::default()
        }),
    };
    FieldData {
        r#type: wire_type(field.data_type).into(),
        field_name: field.name.clone(),
        field_id: field.id.0,
        is_dynamic: field.is_dynamic,
        valid_data: valid,
        field: Some(payload),
    }
}

/// Instants as texts, or as lists of the parts that are wanted.
fn instants_data(field: &Field, column: &Column, instants: &[i64], times: &Times) -> FieldData {
    let rows = 0..instants.len();
    let data = if times.parts.is_empty() {
        let text = |row: usize| {
            if column.is_valid(row) { calendar::show(instants[row], &times.zone) } else { String::new() }
        };
        scalar_field::Data::StringData(StringArray { data: rows.clone().map(text).collect() })
    } else {
        let list = |row: usize| {
            let parts = if column.is_valid(row) { times.parts.as_slice() } else { &[] };
            let data = calendar::parts(instants[row], &times.zone, parts);
            ScalarField { data: Some(scalar_field::Data::LongData(LongArray { data })), ..Default::default() }
        };
        let element_type = WireType::Int64.into();
        scalar_field::Data::ArrayData(ArrayArray { data: rows.clone().map(list).collect(), element_type })
    };
    let wire_type = if times.parts.is_empty() { WireType::Timestamptz } else { WireType::Array };
    FieldData {
        r#type: wire_type.into(),
        field_name: field.name.clone(),
        field_id: field.id.0,
        is_dynamic: false,
        valid_data: if field.nullable { rows.map(|row| column.is_valid(row)).collect() } else { Vec::new() },
        field: Some(field_data::Field::Scalars(ScalarField { data: Some(data), ..Default::default() })),
    }
}

/// The vectors of the rows that have one.
fn compact<T: Copy>(values: &[T], dim: usize, valid: &[bool]) -> Vec<T> {
    let rows = values.chunks_exact(dim.max(1)).zip(valid);
    rows.filter(|(_, valid)| **valid).flat_map(|(row, _)| row.iter().copied()).collect()
}

/// The values of a scalar column; of JSON objects only `keys`, if there are any.
#[must_use]
pub fn scalar(values: ColumnData, keys: Option<&BTreeSet<String>>) -> scalar_field::Data {
    use scalar_field::Data;
    match values {
        ColumnData::Bool(data) => Data::BoolData(BoolArray { data }),
        ColumnData::Int8(data) => ints(data),
        ColumnData::Int16(data) => ints(data),
        ColumnData::Int32(data) => Data::IntData(IntArray { data }),
        ColumnData::Int64(data) => Data::LongData(LongArray { data }),
        // A vector never comes here; its components would be the honest answer.
        ColumnData::Float(data) | ColumnData::FloatVector { values: data, .. } => {
            Data::FloatData(FloatArray { data })
        }
        ColumnData::BinaryVector { bytes, .. } => ints(bytes),
        ColumnData::SparseVector(rows) => Data::FloatData(FloatArray { data: rows.parts().1.to_vec() }),
        ColumnData::Double(data) => Data::DoubleData(DoubleArray { data }),
        ColumnData::VarChar(texts) => {
            Data::StringData(StringArray { data: texts.iter().map(str::to_owned).collect() })
        }
        ColumnData::Json(texts) => Data::JsonData(JsonArray { data: json(&texts, keys) }),
        ColumnData::Geometry(shapes) => {
            // Of a row without a shape there are no bytes.
            let text = |bytes: &[u8]| shape::to_text(bytes).unwrap_or_default();
            Data::GeometryWktData(GeometryWktArray { data: shapes.iter().map(text).collect() })
        }
        ColumnData::Array(arrays) => Data::ArrayData(arrays::to_wire(&arrays)),
    }
}

fn ints<T: Into<i32>>(data: Vec<T>) -> scalar_field::Data {
    scalar_field::Data::IntData(IntArray { data: data.into_iter().map(Into::into).collect() })
}

fn json(texts: &Texts, keys: Option<&BTreeSet<String>>) -> Vec<bytes::Bytes> {
    let one = |text: &str| match keys {
        None => bytes::Bytes::copy_from_slice(text.as_bytes()),
        Some(keys) => selected(text, keys).into(),
    };
    texts.iter().map(one).collect()
}

/// The object `text` with only the keys of `keys`; what is no object becomes an empty one.
#[must_use]
pub fn selected(text: &str, keys: &BTreeSet<String>) -> String {
    if text == "{}" {
        return text.to_owned();
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(mut object) => {
            object.retain(|key, _| keys.contains(key));
            serde_json::Value::Object(object).to_string()
        }
        Err(_) => "{}".to_owned(),
    }
}

/// Primary keys as the wire has them.
#[must_use]
pub fn ids(keys: Keys) -> IDs {
    let id_field = match keys {
        Keys::Int(data) => i_ds::IdField::IntId(LongArray { data }),
        Keys::Text(texts) => {
            i_ds::IdField::StrId(StringArray { data: texts.iter().map(str::to_owned).collect() })
        }
    };
    IDs { id_field: Some(id_field) }
}
