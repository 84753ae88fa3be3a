//! Runs one plan over segments: which rows a reader may see, which of them match, which are nearest, what is returned.
//!
//! Synchronous and CPU only; call it where a thread may be busy. Who asked and where answers go is not known here.

mod aggregate;
mod allow;
mod cost;
mod error;
mod gather;
mod groups;
mod lists;
mod query;
mod search;
mod share;

#[cfg(test)]
mod groups_test;
#[cfg(test)]
mod interim_test;
#[cfg(test)]
mod lists_test;
#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod texts_test;

use std::sync::Arc;

pub use aggregate::aggregate;
pub use cost::Cost;
pub use error::Error;
pub use query::{query, query_weight};
#[cfg(test)]
pub(crate) use search::search;
pub use search::search_at_cost;

use crate::base::PartitionId;
use crate::segment::{Growing, Part, Sealed};

/// The segments that one call reads: each row of the collection's part is in exactly one of them.
#[derive(Clone, Debug, Default)]
pub struct Readable {
    /// Sealed ones.
    pub sealed: Vec<Arc<Sealed>>,
    /// Those still growing.
    pub growing: Vec<Arc<Growing>>,
}

impl Readable {
    /// The partitions of rows that are still growing; some more than once.
    pub fn growing_partitions(&self) -> Vec<PartitionId> {
        let mut found = Vec::new();
        for growing in &self.growing {
            growing.parts().iter().for_each(|part| found.extend_from_slice(part.partitions()));
        }
        found
    }

    /// All parts to read.
    fn parts(&self, ignore_growing: bool) -> Vec<Arc<Part>> {
        let mut parts: Vec<Arc<Part>> = self.sealed.iter().map(|sealed| Arc::clone(sealed.part())).collect();
        if !ignore_growing {
            for growing in &self.growing {
                parts.extend(growing.parts().iter().map(Arc::clone));
            }
        }
        parts
    }
}
