//! Between the public wire types and the engine's own: the only place of the proxy that knows both.

pub mod aggregate;
pub mod arrays;
pub mod consistency;
pub mod filter;
pub mod group;
pub mod grouping;
pub mod highlight;
pub mod index;
pub mod json_schema;
pub mod lists;
pub mod output;
pub mod params;
pub mod query;
pub mod query_aggregates;
pub mod rank;
pub mod schema;
pub mod search;
pub mod status;
pub mod texts;
pub mod times;
pub mod travel;

// What rows are made of is taken in elsewhere.
pub use crate::intake::{json, json_rows, narrow, rows, sparse};
