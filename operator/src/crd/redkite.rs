//! `spec.redkite`: fields the peer's object does not have.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Open, Rollout};

/// What only Redkite has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redkite {
    /// What becomes of the data volume `<name>-data` when the object is deleted. `Retain` keeps it, `Delete` removes it
    /// with all data. Unset: it is removed if `persistence.pvcDeletion` of the message stream is true, or if every store
    /// that is not external has `deletionPolicy: Delete` and `pvcDeletion: true`; else it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_policy: Option<DataPolicy>,
    /// Who may connect to the pods. Unset: no policy is made, anybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// Whether a budget for evictions is made for each workload of more than one pod. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budgets: Option<bool>,
    /// What is done when new pods do not come right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Who may connect to the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether policies are made: clients reach 19530, monitoring reaches 9091, calls between nodes come from pods of the
    /// same object and from the operator, and the stores in the cluster are reached from the pods alone. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Clients that are let in, as NetworkPolicyPeers. Unset or empty: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<Open<NetworkPolicyPeer>>>,
}

/// What becomes of data when its object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DataPolicy {
    /// The volume stays and is found again by an object of the same name.
    Retain,
    /// The volume is removed.
    Delete,
}
