//! `spec.redkite`: fields the peer's object does not have.

use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Autoscaling, Open, Rollout};

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
    /// Certificates of the pods. Unset: none but those that `config` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// What is done when new pods do not come right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Numbers of pods that follow the load. Needs `mode: cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

/// Certificates of the pods: from Secrets of yours, in cert-manager's form (`tls.crt`, `tls.key`, `ca.crt`), or issued by the
/// operator, from an authority in Secret `<name>-authority`. Certificates change while the pods run, without a restart; to begin
/// or to end with them restarts the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// TLS on the client port. `{}` has the operator issue the certificate, in Secret `<name>-client-tls`, whose `ca.crt` is what
    /// clients trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
    /// TLS with certificates of both sides for calls between the pods of a cluster. `{}` has the operator issue it, in Secret
    /// `<name>-node-tls`. A standalone has no such calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCertificates>,
    /// Days that an issued certificate holds. It is replaced when a third of them is left. Default 90.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub certificate_days: Option<i64>,
    /// Days that the operator's authority holds, at least three times `certificateDays`. A new one is introduced when a third of
    /// them is left. Default 1095.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 36500))]
    pub authority_days: Option<i64>,
    /// Hours that a new authority stands in `ca.crt` before the client port shows its certificates: the time that clients have to
    /// read that file again. Default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 8760))]
    pub overlap_hours: Option<i64>,
    /// Any word; a new one makes the operator replace its authority and all certificates of it now, as after a key was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub rotation: Option<String>,
}

/// TLS on the client port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificates {
    /// Secret with `tls.crt` and `tls.key`. Unset: the operator issues the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Whether clients must show a certificate of an authority in `ca.crt` of that Secret. The operator shows the Secret's own
    /// certificate. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual: Option<bool>,
    /// Names and addresses that an issued certificate is for, beside those of the Service and `localhost`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub names: Vec<String>,
}

/// TLS with certificates of both sides between pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCertificates {
    /// Secret with `tls.crt`, `tls.key` and `ca.crt` for all pods. Unset: the operator issues the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// A name that the certificate in that Secret is for. Needed with `secretName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
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
