//! Who leads, as the coordinator shows it.

use serde::{Deserialize, Serialize};

use crate::base::{CollectionId, Timestamp};

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
    /// Since when it leads; 0 from a version that does not say it.
    pub since: Timestamp,
    /// What the catalog asks of the nodes; `None` from a version that does not say it.
    pub wants: Option<Wants>,
}

/// What the catalog asks of the nodes, who is there for it, and what of it cannot be served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wants {
    /// Collections.
    pub collections: u64,
    /// Those among them that are to be loaded.
    pub to_load: u64,
    /// Channels that no node owns or is about to own, without those of collections that are set aside. This and the counts of
    /// nodes mean nothing while the leader is not settled.
    pub ownerless: u64,
    /// Nodes that take part and hold data.
    pub readers: u64,
    /// Nodes that take part and own channels.
    pub writers: u64,
    /// Collections that are set aside since a manifest is damaged or lost, ascending by id.
    pub damaged: Vec<DamagedCollection>,
}

/// A collection that is set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DamagedCollection {
    /// Its id.
    pub id: CollectionId,
    /// The name of its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// What is damaged or lost, in words for clients.
    pub what: String,
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
