//! Redkite engine: the vector database as a library of rooms; `ARCHITECTURE.md` has the map.

pub mod admin;
pub mod agent;
pub mod assembly;
pub mod base;
pub mod blob;
pub mod builder;
pub mod calendar;
pub mod coord;
pub mod ctl;
pub mod disk;
pub mod exec;
pub mod expr;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod index;
pub mod inference;
pub mod intake;
pub mod log;
pub mod meta;
pub mod model;
pub mod obs;
pub mod plan;
pub mod proxy;
pub mod querier;
pub mod router;
pub mod rpc;
pub mod secure;
pub mod segment;
pub mod shape;
pub mod text;
pub mod writer;
