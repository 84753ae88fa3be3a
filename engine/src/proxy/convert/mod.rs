//! Between the public wire types and the engine's own: the only place of the proxy that knows both.

pub mod aggregate;
pub mod arrays;
pub mod consistency;
pub mod filter;
pub mod group;
pub mod grouping;
pub mod index;
pub mod json;
pub mod json_rows;
pub mod json_schema;
pub mod narrow;
pub mod output;
pub mod params;
pub mod query;
pub mod rank;
pub mod rows;
pub mod schema;
pub mod search;
pub mod sparse;
pub mod status;
pub mod texts;
pub mod times;
