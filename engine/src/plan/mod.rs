//! What is asked and how answers are put together: search and query plans, their partial results, merge and rank.
//!
//! Pure: no segments, no nodes, no I/O.

mod query;
mod search;

pub use query::{QueryKind, QueryPlan, QueryRows, merge_query};
pub use search::{Range, SearchHits, SearchPlan, merge_search};
