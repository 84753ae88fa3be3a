//! `spec.redkite`: fields the peer's object does not have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What only Redkite has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redkite {
    /// What becomes of the data volume `<name>-data` when the object is deleted. `Retain` keeps it, `Delete` removes it
    /// with all data. Unset: it is removed if `persistence.pvcDeletion` of the message stream is true, or if every store
    /// that is not external has `deletionPolicy: Delete` and `pvcDeletion: true`; else it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_policy: Option<DataPolicy>,
}

/// What becomes of data when its object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataPolicy {
    /// The volume stays and is found again by an object of the same name.
    Retain,
    /// The volume is removed.
    Delete,
}
