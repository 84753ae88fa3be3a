//! What is stored against what the catalog names, as the coordinator shows it.

use serde::{Deserialize, Serialize};

/// What does not fit together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fsck {
    /// Stored objects that nothing names and that were begun long enough ago, ascending: they can go.
    pub orphans: Vec<String>,
    /// Objects that manifests name and the store lacks, ascending: rows are lost.
    pub missing: Vec<String>,
    /// Stored objects below the prefixes that no version of this program is known to write, ascending: left alone.
    pub strange: Vec<String>,
    /// Objects whose size is not the one that manifests say, ascending by key.
    pub resized: Vec<Resized>,
    /// Records and objects of manifests that are damaged or lost: what these name is not known.
    pub unread: Vec<Unread>,
    /// Objects that manifests name.
    pub named: u64,
}

/// A manifest that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The record or the object that is damaged or lost.
    pub key: String,
    /// What is wrong, in words.
    pub why: String,
}

/// An object with a wrong size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resized {
    /// Its key.
    pub key: String,
    /// The size that its manifest says. Unit: bytes.
    pub expected: u64,
    /// The size that it has. Unit: bytes.
    pub found: u64,
}
