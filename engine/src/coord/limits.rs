//! How much of everything there may be, and when segments are compacted.

use std::time::Duration;

use crate::coord::decide::Sizes;

/// How much of everything there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Databases.
    pub databases: usize,
    /// Collections in all databases together.
    pub collections: usize,
    /// Partitions of one collection.
    pub partitions: usize,
    /// Sealed segments with fewer rows are scanned instead of indexed.
    pub min_rows_to_index: u64,
    /// Resource groups.
    pub groups: usize,
    /// When segments are compacted.
    pub compaction: CompactionLimits,
}

/// When segments are compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionLimits {
    /// Whether at all, also on demand.
    pub enabled: bool,
    /// Whether without being asked.
    pub automatic: bool,
    /// Whether collections with a clustering key are clustered at all, also on demand.
    pub clusters: bool,
    /// Whether that is done without being asked.
    pub clusters_by_itself: bool,
    /// How large segments are made.
    pub sizes: Sizes,
    /// How long replaced objects stay, at least.
    pub grace: Duration,
    /// How long what is gone can be read as it was in collections that do not say so. Unit: seconds.
    pub retention_s: u64,
}

impl Default for CompactionLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            automatic: true,
            clusters: true,
            clusters_by_itself: true,
            sizes: Sizes::of(512 << 20),
            grace: Duration::from_secs(60),
            retention_s: 0,
        }
    }
}
