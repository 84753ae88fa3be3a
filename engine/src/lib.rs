//! Redkite engine: the vector database as a library of rooms; `ARCHITECTURE.md` has the map.

pub mod base;
pub mod expr;
pub mod model;
