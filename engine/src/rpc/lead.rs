//! Who leads, as the coordinator shows it.

use serde::{Deserialize, Serialize};

/// The coordinator that leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeadInfo {
    /// Where calls to it go.
    pub address: String,
    /// Its epoch: grows with each change of the leader.
    pub epoch: u64,
    /// Whether it has listened for long enough to move things and to declare nodes lost.
    pub settled: bool,
    /// Its version.
    pub version: String,
    /// The version of the formats that the cluster writes.
    pub format: u32,
    /// The newest version that it can write.
    pub newest_format: u32,
    /// The cluster's id.
    pub cluster: String,
    /// Work for the nodes that build; `None` from a version that does not count it.
    pub jobs: Option<JobCount>,
}

/// Work for the nodes that build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobCount {
    /// Jobs that no node is at.
    pub waiting: u32,
    /// Jobs that nodes are at.
    pub running: u32,
}
