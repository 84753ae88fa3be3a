//! One vector of any kind: what a search asks for.

use crate::model::{SparseVector, Value};

/// A vector as a search compares it.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// Singles, for every dense type.
    Dense(Vec<f32>),
    /// Bits, eight a byte.
    Bits(Vec<u8>),
    /// Pairs of index and value.
    Sparse(SparseVector),
}

impl Vector {
    /// The vector in a value; `None` for a value of another type.
    #[must_use]
    pub fn of(value: Value) -> Option<Self> {
        match value {
            Value::Vector(components) => Some(Self::Dense(components)),
            Value::Bits(bytes) => Some(Self::Bits(bytes)),
            Value::Sparse(pairs) => Some(Self::Sparse(pairs)),
            _ => None,
        }
    }

    /// The kind, for error texts.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dense(_) => "VECTOR_FLOAT",
            Self::Bits(_) => "VECTOR_BINARY",
            Self::Sparse(_) => "VECTOR_SPARSE_U32_F32",
        }
    }
}

impl From<Vec<f32>> for Vector {
    fn from(components: Vec<f32>) -> Self {
        Self::Dense(components)
    }
}
