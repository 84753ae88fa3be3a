//! Redkite engine: the vector database as a library of rooms; `ARCHITECTURE.md` has the map.

pub mod base;
pub mod expr;
pub mod log {
    //! Placeholder until the room lands: only the codec of records.
    pub mod record;
}
pub mod model;
pub mod plan;
pub mod rpc;
