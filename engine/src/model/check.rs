//! The check of rows against a schema, before they are accepted.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::IgnoredAny;

use crate::base::{Kind, Kinded};
use crate::model::{
    Arrays, Batch, Column, ColumnData, DYNAMIC_FIELD, DataType, Field, Schema, SparseRows, StructField, Texts,
};

/// Longest text of one JSON value. Unit: bytes.
pub const MAX_JSON_BYTES: usize = 65_536;

/// Why rows cannot be stored. `Display` is Milvus's text where Milvus has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// There is no row.
    #[error("num_rows should be greater than 0: invalid parameter[expected=invalid num_rows][actual=0]")]
    NoRows,
    /// A field has no column.
    #[error("fieldSchema({field}) has no corresponding fieldData pass in: invalid parameter")]
    MissingColumn {
        /// Name of the field.
        field: String,
    },
    /// A column belongs to no field, or two to one.
    #[error("more fieldData has pass in")]
    ExtraColumn,
    /// A column has more or fewer values than there are rows.
    #[error(
        "the num_rows ({found}) of field ({field}) is not equal to passed num_rows ({rows}): invalid parameter[expected={rows}][actual={found}]"
    )]
    RowCount {
        /// Name of the field.
        field: String,
        /// Values in the column.
        found: usize,
        /// Rows.
        rows: usize,
    },
    /// A column of another type.
    #[error("field {field} takes {expected}, but got {found}: invalid parameter")]
    ColumnType {
        /// Name of the field.
        field: String,
        /// The field's type.
        expected: &'static str,
        /// The column's type.
        found: &'static str,
    },
    /// A vector column of another dimension.
    #[error(
        "the dim ({found}) of field data({field}) is not equal to schema dim ({dim}): invalid parameter[expected={dim}][actual={found}]"
    )]
    Dim {
        /// Name of the field.
        field: String,
        /// The field's dimension.
        dim: usize,
        /// The column's dimension.
        found: usize,
    },
    /// A row lacks a value that it must have.
    #[error("the length of valid_data of field({field}) is wrong")]
    Null {
        /// Name of the field.
        field: String,
    },
    /// A number that is none.
    #[error("value '{value}' is not a number or infinity")]
    NotFinite {
        /// `NaN`, `+Inf` or `-Inf`.
        value: &'static str,
    },
    /// An index of a sparse vector that no dimension has.
    #[error("invalid index in sparse float vector: must be less than 2^32-1: invalid parameter")]
    SparseIndex,
    /// A component of a sparse vector below zero.
    #[error("negative value in sparse float vector: invalid parameter")]
    SparseNegative,
    /// A text longer than its field takes.
    #[error(
        "length of {kind} field {field} exceeds max length, row number: {row}, length: {length}, max length: {limit}: invalid parameter[expected=valid length string][actual=string length exceeds max length]"
    )]
    TextLength {
        /// What error texts call such fields: `varchar` or `text`.
        kind: &'static str,
        /// Name of the field.
        field: String,
        /// Row, from 0.
        row: usize,
        /// Bytes of the text.
        length: usize,
        /// Bytes that the field takes.
        limit: usize,
    },
    /// An array with more elements than its field takes.
    #[error(
        "the length ({length}) of {row}th array exceeds max capacity ({limit}): invalid parameter[expected=valid length array][actual=array length exceeds max capacity]"
    )]
    ArrayLength {
        /// Row, from 0.
        row: usize,
        /// Elements.
        length: usize,
        /// Elements that the field takes.
        limit: usize,
    },
    /// Arrays of different lengths in the parts of one struct.
    #[error(
        "the parts of struct array field {field} differ in length, row number: {row}: {part} has {found} elements, {first} has {expected}: invalid parameter"
    )]
    StructLength {
        /// Name of the struct.
        field: String,
        /// Row, from 0.
        row: usize,
        /// Name of the part.
        part: String,
        /// Elements of it.
        found: usize,
        /// Name of the first part.
        first: String,
        /// Elements of that one.
        expected: usize,
    },
    /// A struct that is there in some of its parts only.
    #[error(
        "struct array field {field} is null in some of its sub-fields only, row number: {row}: invalid parameter"
    )]
    StructNull {
        /// Name of the struct.
        field: String,
        /// Row, from 0.
        row: usize,
    },
    /// A text in an array that is longer than its field takes.
    #[error(
        "length of Array array field \"{field}\" exceeds max length, row number: {row}, array index: {at}, length: {length}, max length: {limit}: invalid parameter"
    )]
    ElementLength {
        /// Name of the field.
        field: String,
        /// Row, from 0.
        row: usize,
        /// Place in the array, from 0.
        at: usize,
        /// Bytes of the text.
        length: usize,
        /// Bytes that the field takes.
        limit: usize,
    },
    /// A JSON value of more than [`MAX_JSON_BYTES`].
    #[error(
        "length of json field {field} exceeds max length, row number: {row}, length: {length}, max length: {MAX_JSON_BYTES}: invalid parameter[expected=valid length json string][actual=length exceeds max length]"
    )]
    JsonLength {
        /// Name of the field.
        field: String,
        /// Row, from 0.
        row: usize,
        /// Bytes of the value.
        length: usize,
    },
    /// A text that is no JSON value.
    #[error("the json value of field {field}, row number: {row}, is not valid: {reason}: invalid parameter")]
    Json {
        /// Name of the field.
        field: String,
        /// Row, from 0.
        row: usize,
        /// What the parser says.
        reason: String,
    },
    /// Dynamic keys of a row that are no JSON object.
    #[error("the dynamic field only accepts json maps, row number: {row}: invalid parameter")]
    DynamicObject {
        /// Row, from 0.
        row: usize,
    },
    /// A dynamic key that is the hidden field's name.
    #[error("cannot set json key to: {DYNAMIC_FIELD}: invalid parameter")]
    DynamicKey,
    /// A dynamic key that is the name of a field.
    #[error("dynamic field name cannot include the static field name: {field}: invalid parameter")]
    DynamicStatic {
        /// Name of the field.
        field: String,
    },
}

impl RowError {
    /// The code under which Milvus reports it.
    #[must_use]
    pub const fn milvus_code(&self) -> i32 {
        match self {
            Self::NotFinite { .. } => 65_535,
            _ => 1100,
        }
    }
}

impl Kinded for RowError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Checks whole rows against `schema`: every column is there once, complete and of the right type; numbers are
/// finite; texts and JSON fit; dynamic keys name no field. The order of columns is free.
///
/// # Errors
/// [`RowError`] for the first rule that is broken: columns first, then values field by field in schema order.
pub fn check_batch(schema: &Schema, batch: &Batch) -> Result<(), RowError> {
    if batch.rows == 0 {
        return Err(RowError::NoRows);
    }
    for field in &schema.fields {
        let column =
            batch.column(field.id).ok_or_else(|| RowError::MissingColumn { field: field.name.clone() })?;
        check_shape(field, column, batch.rows)?;
    }
    if batch.columns.len() > schema.fields.len() {
        return Err(RowError::ExtraColumn);
    }
    schema
        .fields
        .iter()
        .filter_map(|field| batch.column(field.id).map(|column| (field, column)))
        .try_for_each(|(field, column)| check_values(schema, field, column))?;
    schema.structs.iter().try_for_each(|one| check_struct(schema, one, batch))
}

/// Checks that the parts of a struct have arrays of one length in each row, or none of them has one.
fn check_struct(schema: &Schema, of: &StructField, batch: &Batch) -> Result<(), RowError> {
    let part = |field: &Field| match batch.column(field.id).map(|column| (column, &column.data)) {
        Some((column, ColumnData::Array(arrays))) => Some((of.bare(&field.name).to_owned(), column, arrays)),
        _ => None,
    };
    let parts: Vec<_> = schema.parts(of).filter_map(part).collect();
    let Some(((first, first_column, first_arrays), others)) = parts.split_first() else { return Ok(()) };
    for (name, column, arrays) in others {
        let is_equal = arrays.ends() == first_arrays.ends() && column.valid == first_column.valid;
        for row in if is_equal { 0..0 } else { 0..batch.rows } {
            if column.is_valid(row) != first_column.is_valid(row) {
                return Err(RowError::StructNull { field: of.name.clone(), row });
            }
            let (found, expected) = (arrays.range(row).len(), first_arrays.range(row).len());
            if found != expected {
                let (field, part, first) = (of.name.clone(), name.clone(), first.clone());
                return Err(RowError::StructLength { field, row, part, found, first, expected });
            }
        }
    }
    Ok(())
}

fn check_shape(field: &Field, column: &Column, rows: usize) -> Result<(), RowError> {
    let name = || field.name.clone();
    if column.data.data_type() != field.data_type.held_as() {
        let (expected, found) = (field.data_type.name(), column.data.data_type().name());
        return Err(RowError::ColumnType { field: name(), expected, found });
    }
    if let ColumnData::Array(arrays) = &column.data
        && let ColumnData::FloatVector { dim, .. } | ColumnData::BinaryVector { dim, .. } = arrays.elements()
        && *dim != field.dim()
    {
        return Err(RowError::Dim { field: name(), dim: field.dim(), found: *dim });
    }
    if let ColumnData::FloatVector { dim, values } = &column.data
        && (*dim != field.dim() || !values.len().is_multiple_of((*dim).max(1)))
    {
        return Err(RowError::Dim { field: name(), dim: field.dim(), found: *dim });
    }
    if let ColumnData::BinaryVector { dim, bytes } = &column.data
        && (*dim != field.dim() || !bytes.len().is_multiple_of((*dim / 8).max(1)))
    {
        return Err(RowError::Dim { field: name(), dim: field.dim(), found: *dim });
    }
    if column.data.len() != rows {
        return Err(RowError::RowCount { field: name(), found: column.data.len(), rows });
    }
    match &column.valid {
        Some(valid) if valid.len() != rows || !field.nullable && valid.count() < rows => {
            Err(RowError::Null { field: name() })
        }
        _ => Ok(()),
    }
}

fn check_values(schema: &Schema, field: &Field, column: &Column) -> Result<(), RowError> {
    match &column.data {
        ColumnData::Float(values) | ColumnData::FloatVector { values, .. } => {
            check_finite(values.iter().copied().map(f64::from))
        }
        ColumnData::Double(values) => check_finite(values.iter().copied()),
        ColumnData::VarChar(texts) => check_texts(field, texts),
        ColumnData::Json(texts) if field.is_dynamic => check_dynamic(schema, field, texts),
        ColumnData::Json(texts) => (0..texts.len())
            .filter(|&row| column.is_valid(row))
            .try_for_each(|row| check_json(field, texts, row)),
        ColumnData::Array(arrays) => check_arrays(field, arrays),
        ColumnData::SparseVector(sparse) => check_sparse(sparse),
        // What became bytes was checked as a text.
        ColumnData::Geometry(_)
        | ColumnData::BinaryVector { .. }
        | ColumnData::Bool(_)
        | ColumnData::Int8(_)
        | ColumnData::Int16(_)
        | ColumnData::Int32(_)
        | ColumnData::Int64(_) => Ok(()),
    }
}

fn check_finite(mut values: impl Iterator<Item = f64>) -> Result<(), RowError> {
    match values.find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(value) if value.is_nan() => Err(RowError::NotFinite { value: "NaN" }),
        Some(value) => Err(RowError::NotFinite { value: if value > 0.0 { "+Inf" } else { "-Inf" } }),
    }
}

/// Checks what sparse vectors hold; the order of the indices is [`SparseRows`]' own business.
///
/// # Errors
/// [`RowError`] for an index that no dimension has, or a value that is none or below zero.
pub fn check_sparse(sparse: &SparseRows) -> Result<(), RowError> {
    let (indices, values, _) = sparse.parts();
    if indices.contains(&u32::MAX) {
        return Err(RowError::SparseIndex);
    }
    check_finite(values.iter().copied().map(f64::from))?;
    if values.iter().any(|value| *value < 0.0) { Err(RowError::SparseNegative) } else { Ok(()) }
}

fn check_texts(field: &Field, texts: &Texts) -> Result<(), RowError> {
    let limit = field.max_length();
    match texts.iter().enumerate().find(|(_, text)| text.len() > limit) {
        None => Ok(()),
        Some((row, text)) => {
            let kind = if field.data_type == DataType::Text { "text" } else { "varchar" };
            Err(RowError::TextLength { kind, field: field.name.clone(), row, length: text.len(), limit })
        }
    }
}

fn check_arrays(field: &Field, arrays: &Arrays) -> Result<(), RowError> {
    let limit = field.max_capacity();
    let lengths = (0..arrays.len()).map(|row| arrays.range(row).len());
    if let Some((row, length)) = lengths.enumerate().find(|(_, length)| *length > limit) {
        return Err(RowError::ArrayLength { row, length, limit });
    }
    match arrays.elements() {
        ColumnData::Float(values) | ColumnData::FloatVector { values, .. } => {
            check_finite(values.iter().copied().map(f64::from))
        }
        ColumnData::Double(values) => check_finite(values.iter().copied()),
        ColumnData::VarChar(texts) => (0..arrays.len()).try_for_each(|row| {
            let limit = field.max_length();
            match arrays.range(row).zip(0..).find(|(element, _)| texts.get(*element).len() > limit) {
                None => Ok(()),
                Some((element, at)) => {
                    let (field, length) = (field.name.clone(), texts.get(element).len());
                    Err(RowError::ElementLength { field, row, at, length, limit })
                }
            }
        }),
        _ => Ok(()),
    }
}

fn check_json_length(field: &Field, text: &str, row: usize) -> Result<(), RowError> {
    if text.len() <= MAX_JSON_BYTES {
        return Ok(());
    }
    Err(RowError::JsonLength { field: field.name.clone(), row, length: text.len() })
}

fn check_json(field: &Field, texts: &Texts, row: usize) -> Result<(), RowError> {
    let text = texts.get(row);
    check_json_length(field, text, row)?;
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|reason| RowError::Json {
        field: field.name.clone(),
        row,
        reason: reason.to_string(),
    })
}

fn check_dynamic(schema: &Schema, field: &Field, texts: &Texts) -> Result<(), RowError> {
    for (row, text) in texts.iter().enumerate() {
        check_json(field, texts, row)?;
        let keys: HashMap<Cow<'_, str>, IgnoredAny> =
            serde_json::from_str(text).map_err(|_| RowError::DynamicObject { row })?;
        if keys.contains_key(DYNAMIC_FIELD) {
            return Err(RowError::DynamicKey);
        }
        if let Some(field) = schema.fields.iter().find(|field| keys.contains_key(field.name.as_str())) {
            return Err(RowError::DynamicStatic { field: field.name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_batch;
    use crate::base::FieldId;
    use crate::model::check_schema::{FieldRequest, SchemaRequest, check_schema};
    use crate::model::{Batch, Bitset, ColumnData, Schema, Value};

    fn schema() -> Schema {
        let field = |name: &str, data_type, (param, value): (&str, &str)| FieldRequest {
            name: name.to_owned(),
            data_type,
            is_primary: name == "id",
            nullable: name == "j",
            type_params: vec![(param.to_owned(), value.to_owned())],
            ..FieldRequest::default()
        };
        let array = |name: &str, element_type| FieldRequest {
            name: name.to_owned(),
            data_type: 22,
            element_type,
            type_params: [("max_capacity", "2"), ("max_length", "3")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
            ..FieldRequest::default()
        };
        let fields = vec![
            field("id", 5, ("", "")),
            field("v", 101, ("dim", "2")),
            field("s", 21, ("max_length", "4")),
            field("f", 10, ("", "")),
            field("d", 11, ("", "")),
            field("j", 23, ("", "")),
            array("a", 5),
            array("t", 21),
            array("n", 10),
        ];
        let request = SchemaRequest {
            name: "c".to_owned(),
            fields,
            enable_dynamic_field: true,
            functions: Vec::new(),
            ..SchemaRequest::default()
        };
        check_schema(&request).expect("the schema is good")
    }

    fn two_rows() -> Batch {
        let schema = schema();
        let mut batch = Batch::empty(&schema);
        for id in 0..2 {
            let row = [
                Value::Int(id),
                Value::Vector(vec![1.0, 2.0]),
                Value::Text("文".to_owned()),
                Value::Float(1.0),
                Value::Double(1.0),
                Value::Json(r#"[1, {"s": "free"}]"#.to_owned()),
                Value::Array(vec![Value::Int(1), Value::Int(2)]),
                Value::Array(vec![Value::Text("文".to_owned())]),
                Value::Array(Vec::new()),
                Value::Json(r#"{"k": {"s": 1}}"#.to_owned()),
            ];
            for (column, value) in batch.columns.iter_mut().zip(&row) {
                column.data.push(value).expect("the value is of the field's type");
            }
            batch.rows += 1;
        }
        batch
    }

    fn set(batch: &mut Batch, at: usize, value: &Value) {
        let mut data = batch.columns[at].data.take(&[0]);
        data.push(value).expect("the value is of the field's type");
        batch.columns[at].data = data;
    }

    fn refusal(change: impl FnOnce(&mut Batch)) -> (i32, String) {
        let mut batch = two_rows();
        change(&mut batch);
        let error = check_batch(&schema(), &batch).expect_err("the rows are bad");
        (error.milvus_code(), error.to_string())
    }

    #[test]
    fn good_rows_pass_whatever_the_order_of_columns() {
        let mut batch = two_rows();
        batch.columns.reverse();
        let json = batch.columns.iter_mut().find(|column| column.field == FieldId(105)).expect("there");
        json.valid = Some(Bitset::from_fn(2, |row| row == 1));
        assert_eq!(check_batch(&schema(), &batch), Ok(()));
    }

    #[test]
    fn refusals_speak_as_milvus_does() {
        type Change = fn(&mut Batch);
        let cases: &[(Change, i32, &str)] = &[
            (|rows| *rows = Batch::empty(&schema()), 1100, "num_rows should be greater than 0"),
            (
                |rows| _ = rows.columns.remove(2),
                1100,
                "fieldSchema(s) has no corresponding fieldData pass in: invalid parameter",
            ),
            (|rows| rows.columns.push(rows.columns[0].clone()), 1100, "more fieldData has pass in"),
            (
                |rows| rows.columns[0].data = ColumnData::Int64(vec![1]),
                1100,
                "the num_rows (1) of field (id) is not equal to passed num_rows (2): invalid parameter[expected=2][actual=1]",
            ),
            (
                |rows| rows.columns[0].valid = Some(Bitset::none(2)),
                1100,
                "the length of valid_data of field(id) is wrong",
            ),
            (
                |rows| set(rows, 1, &Value::Vector(vec![1.0, f32::NAN])),
                65535,
                "value 'NaN' is not a number or infinity",
            ),
            (
                |rows| set(rows, 3, &Value::Float(f32::INFINITY)),
                65535,
                "value '+Inf' is not a number or infinity",
            ),
            (
                |rows| set(rows, 4, &Value::Double(f64::NEG_INFINITY)),
                65535,
                "value '-Inf' is not a number or infinity",
            ),
            (
                |rows| set(rows, 2, &Value::Text("文文".to_owned())),
                1100,
                "length of varchar field s exceeds max length, row number: 1, length: 6, max length: 4",
            ),
            (
                |rows| set(rows, 5, &Value::Json("[1,]".to_owned())),
                1100,
                "the json value of field j, row number: 1, is not valid",
            ),
            (
                |rows| set(rows, 5, &Value::Json(format!("\"{}\"", "x".repeat(65_535)))),
                1100,
                "length of json field j exceeds max length, row number: 1, length: 65537, max length: 65536",
            ),
            (
                |rows| set(rows, 6, &Value::Array(vec![Value::Int(1); 3])),
                1100,
                "the length (3) of 1th array exceeds max capacity (2): invalid parameter[expected=valid length array][actual=array length exceeds max capacity]",
            ),
            (
                |rows| {
                    let texts = ["abc", "abcd"].map(|text| Value::Text(text.to_owned()));
                    set(rows, 7, &Value::Array(texts.to_vec()));
                },
                1100,
                "length of Array array field \"t\" exceeds max length, row number: 1, array index: 1, length: 4, max length: 3",
            ),
            (
                |rows| set(rows, 8, &Value::Array(vec![Value::Float(f32::NAN)])),
                65535,
                "value 'NaN' is not a number or infinity",
            ),
            (
                |rows| set(rows, 9, &Value::Json("[]".to_owned())),
                1100,
                "the dynamic field only accepts json maps, row number: 1",
            ),
            (
                |rows| set(rows, 9, &Value::Json(r#"{"$meta": 1}"#.to_owned())),
                1100,
                "cannot set json key to: $meta",
            ),
            (
                |rows| set(rows, 9, &Value::Json(r#"{"\u0073": 1}"#.to_owned())),
                1100,
                "dynamic field name cannot include the static field name: s",
            ),
            (
                |rows| set(rows, 9, &Value::Json("{".to_owned())),
                1100,
                "the json value of field $meta, row number: 1, is not valid",
            ),
        ];
        for (change, code, text) in cases {
            let (found_code, found) = refusal(change);
            assert!(
                found_code == *code && found.starts_with(text),
                "{found_code} {found}, expected {code} {text}"
            );
        }
    }
}
