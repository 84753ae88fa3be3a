//! What is asked and how answers are put together: search and query plans, their partial results, merge and rank.
//!
//! Pure: no segments, no nodes, no I/O.

mod group;
mod joined;
mod order;
mod query;
mod rank;
mod rescore;
mod search;
mod terms;
#[cfg(test)]
mod tests;

pub use group::{Group, Grouping, best_of_groups, groups_of};
pub use order::{Order, Sorting};
pub use query::{QueryKind, QueryPlan, QueryRows, merge_query};
pub use rank::{Fusion, Mode, RankPlan, rank, text_of};
pub use rescore::{Boost, Boosting, Combine, Curve, Decay, Random};
pub use search::{Range, SearchHits, SearchPlan, merge_search};
pub use terms::TermStatistics;
