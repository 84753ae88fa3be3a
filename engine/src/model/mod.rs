//! What users store: schemas, values, columns, keys, and the check of rows against a schema; and who may
//! do what with them.
//!
//! No types of protocols, no async, no storage.

pub mod access;
mod arrays;
mod bitset;
mod byte_rows;
pub mod check;
pub mod check_schema;
mod column;
mod ends;
mod expiry;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod json_path;
mod manifest;
pub mod memory;
mod metric;
pub mod name;
mod schema;
mod sparse;
mod texts;
mod value;
mod vector;
pub mod wire;
mod zone;

pub use arrays::Arrays;
pub use bitset::Bitset;
pub use byte_rows::ByteRows;
pub use column::{Batch, Column, ColumnData, Keys, TypeMismatch};
pub use expiry::Expiry;
pub use json_path::{JsonPath, JsonTarget};
pub use manifest::{
    ChannelManifest, ColumnRef, DESCRIPTION, DeleteManifest, IndexRef, Instants, ObjectRef, SegmentManifest,
};
pub use metric::Metric;
pub use schema::{
    DYNAMIC_FIELD, DataType, ElementType, FIRST_FIELD, Field, Function, FunctionKind, FunctionOutput,
    IndexDefinition, MAX_LONG_TEXT_BYTES, Partition, Schema, StructField, VectorElement, boolean,
    index_param, part_name,
};
pub use sparse::{SparseRow, SparseRows, SparseVector};
pub use texts::Texts;
pub use value::{Key, Value};
pub use vector::Vector;
pub use zone::Zone;
