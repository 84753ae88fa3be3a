//! What is wrong with rows, in Milvus's words and with its codes.

use crate::base::{Kind, Kinded};

/// Why rows are not taken. `Display` is the text on the wire, [`Error::code`] the number; both are Milvus 3.0's.
///
/// Source: wire specification, codes (1.2) and rules of rows (2.2, 4.1).
#[derive(Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each variant is; the fields are what they name")]
pub enum Error {
    /// The words come from the checks of the data model.
    #[error("{text}")]
    Checked { code: i32, text: String },
    /// A schema or a column is not what it must be by now.
    #[error("{reason}")]
    Defect { reason: String },
    #[error("num_rows should be greater than 0: invalid parameter[expected=invalid num_rows][actual=0]")]
    NoRows,
    #[error("fieldSchema({field}) has no corresponding fieldData pass in: invalid parameter")]
    FieldMissing { field: String },
    #[error("more fieldData has pass in: invalid parameter[expected={expected}][actual={actual}]")]
    MoreFields { expected: usize, actual: usize },
    #[error("duplicated field {field} in fields data: invalid parameter")]
    DuplicateField { field: String },
    #[error("struct array field {field} {what}: invalid parameter")]
    StructParts { field: String, what: String },
    #[error(
        "the num_rows ({actual}) of field ({field}) is not equal to passed num_rows ({expected}): invalid parameter[expected={expected}][actual={actual}]"
    )]
    RowCount { field: String, expected: usize, actual: usize },
    #[error(
        "the length of valid_data of field({field}) is wrong: invalid parameter[expected={expected}][actual={actual}]"
    )]
    ValidLength { field: String, expected: usize, actual: usize },
    #[error("the length of field is wrong: invalid parameter[expected={expected}][actual={actual}]")]
    CompactLength { expected: usize, actual: usize },
    #[error(
        "field '{field}' is illegal, array type mismatch: invalid parameter[expected=need {expected} array][actual=got {actual}]"
    )]
    FieldType { field: String, expected: &'static str, actual: &'static str },
    #[error("insert data does not match: invalid parameter[expected={expected}][actual={actual}]")]
    ElementType { expected: &'static str, actual: &'static str },
    #[error(
        "the dim ({actual}) of field data({field}) is not equal to schema dim ({dim}): invalid parameter[expected={dim}][actual={actual}]"
    )]
    VectorDim { field: String, dim: usize, actual: i64 },
    #[error("the length({length}) of {kind} data should divide the dim({dim}): invalid parameter")]
    VectorLength { kind: &'static str, length: usize, dim: usize },
    #[error("the length({length}) of all bits should divide the dim({dim}): invalid parameter")]
    BitsLength { length: usize, dim: usize },
    #[error("invalid data length in sparse float vector: {length}: invalid parameter")]
    SparseLength { length: usize },
    #[error("unsorted or same indices in sparse float vector: invalid parameter")]
    SparseOrder,
    #[error(
        "the {row}th element ({value}) out of range: [{low}, {high}]: invalid parameter[expected=integer doesn't overflow][actual=out of range]"
    )]
    IntegerRange { row: usize, value: i32, low: i32, high: i32 },
    #[error(
        "can not assign primary field data when auto id enabled and allow_insert_auto_id is false {field}: invalid parameter"
    )]
    KeyWithAutoId { field: String },
    #[error("must assign pk when upsert, primary field: {field}: invalid parameter")]
    UpsertWithoutKey { field: String },
    #[error("{rows} rows take more than {limit} bytes: invalid parameter")]
    RowsTooLarge { rows: usize, limit: usize },
    #[error("without dynamic schema enabled, the field name cannot be set to $meta: invalid parameter")]
    MetaWithoutDynamic,
    #[error("the json value of field {field}, row number: {row}, is not UTF-8: invalid parameter")]
    NotUtf8 { field: String, row: usize },
    #[error(
        "unexpected function output field {field}: it is computed and cannot be given: invalid parameter"
    )]
    ComputedField { field: String },
    #[error(
        "no model is asked in an import: the file has no column {field}, which collection.function.allowInsertNonBM25FunctionOutputs lets it have: invalid parameter"
    )]
    NotAsked { field: String },
    #[error("can only accept json format request, error: {reason}")]
    NotJson { reason: String },
    #[error("fail to deal the insert data, error: {reason}")]
    InsertData { reason: String },
    #[error("fail to deal the insert data, error: row {row} has no value for field {field}")]
    RowWithoutField { field: String, row: usize },
    #[error(
        "fail to deal the insert data, error: field {field} is given in some rows of a partial update only"
    )]
    PartialRows { field: String },
    #[error(
        "fail to deal the insert data, error: row {row} has pass more field without dynamic schema, please check it: {field}"
    )]
    RowField { field: String, row: usize },
    #[error(
        "fail to deal the insert data, error: cannot use {value} as {data_type} for field {field}, row {row}"
    )]
    RowValue { field: String, row: usize, data_type: &'static str, value: String },
}

impl Error {
    /// Milvus's code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Checked { code, .. } => *code,
            Self::Defect { .. } => 5,
            Self::NotJson { .. } => 1801,
            Self::InsertData { .. }
            | Self::RowWithoutField { .. }
            | Self::PartialRows { .. }
            | Self::RowField { .. }
            | Self::RowValue { .. } => 1804,
            _ => 1100,
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Defect { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }
}
