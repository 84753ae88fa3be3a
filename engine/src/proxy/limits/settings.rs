//! What is counted and how much of it there may be.

use std::collections::BTreeMap;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// Vectors to search for.
    Search,
    /// Queries.
    Query,
    /// Bytes of inserts.
    Insert,
    /// Bytes of upserts.
    Upsert,
    /// Bytes of deletes.
    Delete,
    /// Imports. They have no rate.
    Import,
    /// Collections to make, drop, load or release.
    Collection,
    /// Collections to change without rows: names, properties, fields and aliases. They have no rate.
    Alteration,
    /// Collections to empty. They have no rate.
    Truncate,
    /// Partitions to make, drop, load or release.
    Partition,
    /// Indexes to make or drop.
    Index,
    /// Collections to flush.
    Flush,
    /// Collections to compact.
    Compaction,
    /// Databases to make, drop or alter.
    Database,
}

impl Asked {
    /// Whether it reads or writes rows, or neither.
    pub(super) const fn side(self) -> Side {
        match self {
            Self::Search | Self::Query => Side::Reads,
            Self::Insert | Self::Upsert | Self::Delete | Self::Import | Self::Truncate => Side::Writes,
            Self::Collection
            | Self::Alteration
            | Self::Partition
            | Self::Index
            | Self::Flush
            | Self::Compaction
            | Self::Database => Side::Neither,
        }
    }

    /// The property of a collection that has its rate, and of how much that is a number.
    pub(super) const fn property(self) -> Option<(&'static str, f64)> {
        match self {
            Self::Search => Some(("collection.searchRate.max.vps", 1.0)),
            Self::Query => Some(("collection.queryRate.max.qps", 1.0)),
            Self::Insert => Some(("collection.insertRate.max.mb", MB)),
            Self::Upsert => Some(("collection.upsertRate.max.mb", MB)),
            Self::Delete => Some(("collection.deleteRate.max.mb", MB)),
            Self::Import
            | Self::Collection
            | Self::Alteration
            | Self::Truncate
            | Self::Partition
            | Self::Index
            | Self::Flush
            | Self::Compaction
            | Self::Database => None,
        }
    }

    /// The properties of a database that deny it.
    pub(super) const fn denials(self) -> &'static [&'static str] {
        match self {
            Self::Search | Self::Query => &["database.force.deny.reading"],
            Self::Insert | Self::Upsert | Self::Delete | Self::Import => &["database.force.deny.writing"],
            Self::Truncate => &[
                "database.force.deny.writing",
                "database.force.deny.ddl",
                "database.force.deny.collectionDDL",
            ],
            Self::Collection | Self::Alteration => {
                &["database.force.deny.ddl", "database.force.deny.collectionDDL"]
            }
            Self::Partition => &["database.force.deny.ddl", "database.force.deny.partitionDDL"],
            Self::Index => &["database.force.deny.ddl", "database.force.deny.index"],
            Self::Flush => &["database.force.deny.ddl", "database.force.deny.flush"],
            Self::Compaction => &["database.force.deny.ddl", "database.force.deny.compaction"],
            // Else no denial could be taken back.
            Self::Database => &[],
        }
    }
}

/// Bytes of a MB, as Milvus counts them.
pub const MB: f64 = 1_048_576.0;

/// What becomes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Reads,
    Writes,
    Neither,
}

/// How much a second there may be of something; a negative number is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In all databases together.
    pub all: f64,
    /// In each database.
    pub database: f64,
    /// In each collection.
    pub collection: f64,
    /// In each partition.
    pub partition: f64,
}

impl Rate {
    /// No limit.
    pub const NONE: Self = Self { all: -1.0, database: -1.0, collection: -1.0, partition: -1.0 };
}

/// The limits of a proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSettings {
    /// Whether there are any, also those that collections and databases have of their own.
    pub enabled: bool,
    /// The rates that are kept.
    pub rates: BTreeMap<Asked, Rate>,
    /// Whether all reads are refused.
    pub denies_reads: bool,
    /// Whether all writes are refused.
    pub denies_writes: bool,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { enabled: true, rates: BTreeMap::new(), denies_reads: false, denies_writes: false }
    }
}

impl LimitSettings {
    pub(super) fn denies(&self, asked: Asked) -> bool {
        match asked.side() {
            Side::Reads => self.denies_reads,
            Side::Writes => self.denies_writes,
            Side::Neither => false,
        }
    }
}
