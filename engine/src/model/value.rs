//! Single values and primary keys.

use std::sync::Arc;

use crate::model::SparseVector;

/// One value of one field.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// `Bool`.
    Bool(bool),
    /// `Int8` to `Int64`, and `Timestamptz` in microseconds since 1970.
    Int(i64),
    /// `Float`.
    Float(f32),
    /// `Double`.
    Double(f64),
    /// `VarChar`.
    Text(String),
    /// `Json`, as text.
    Json(String),
    /// `Array`; no element is [`Self::Null`].
    Array(Vec<Value>),
    /// Every dense vector of numbers.
    Vector(Vec<f32>),
    /// `BinaryVector`: its bits, eight a byte.
    Bits(Vec<u8>),
    /// `SparseFloatVector`.
    Sparse(SparseVector),
    /// `Geometry`, as WKB.
    Shape(Vec<u8>),
}

/// One primary key. Ordered as Milvus orders them: numbers by value, texts by bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Key {
    /// Of an `Int64` key.
    Int(i64),
    /// Of a `VarChar` key.
    Text(Arc<str>),
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(number) => number.fmt(out),
            Self::Text(text) => text.fmt(out),
        }
    }
}
