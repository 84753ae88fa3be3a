//! Segments: rows in memory while they grow, immutable objects once they are sealed, and what a reader sees of both.
//!
//! [`write_segment`] and [`write_deletes`] make objects and return manifests as values; whoever commits them is elsewhere.
//! [`Sealed`] and [`Growing`] hold rows in memory and apply deletes; both are made of [`Part`]s, which `exec` reads.
//!
//! A row has a time. A delete of a key at a time hides the rows of that key that are older than it. A reader at `read_at`
//! sees the rows not newer than that and not hidden by a delete not newer than that; it is exact for every `read_at` up
//! to which all writes were applied. [`compact`] drops hidden rows for good: a reader at a time before the delete misses
//! them then, if that time is not later than the newest delete that was sealed when the segments were compacted.
//!
//! No catalog, no channels' logs, no plans.

mod build;
mod compact;
mod deletes;
mod error;
mod field;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod growing;
mod hiding;
mod interim;
mod keys;
mod moved;
mod needs;
mod object;
mod part;
mod runs;
mod scalars;
mod sealed;
mod stats;
mod store;
mod vectors;

pub use build::build_index;
pub use compact::{Clustering, Compute, Rules, compact, segments_of};
pub use deletes::{Deletes, read_deletes, remove_deletes, write_deletes};
pub use error::{Error, Harm};
pub use field::FieldSearch;
pub use growing::Growing;
pub use interim::{InterimSettings, InterimSpec};
pub use keys::KeyRef;
pub use needs::{build_bytes, compaction_bytes, load_bytes};
pub use part::{Part, Vectors, Visible};
pub use sealed::{OnDisk, Sealed};
pub use store::{remove_segment, write_segment};
// What a search in a part takes, gives and refuses; whoever searches parts needs no other name of the room `index`.
pub use crate::index::{Error as SearchError, Hit, Lists, Range as ScoreRange, SearchParams};
pub(crate) use keys::{KeyColumn, key_at};

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod kinds_test;
#[cfg(test)]
mod tests;
