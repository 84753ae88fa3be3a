//! What users store: schemas, values, columns, keys, and the check of rows against a schema.
//!
//! No wire types, no async, no storage.

mod bitset;
mod metric;

pub use bitset::Bitset;
pub use metric::Metric;
