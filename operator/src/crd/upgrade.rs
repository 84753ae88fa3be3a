//! The `MilvusUpgrade` object: one change of version of one database.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// An order to bring one `Milvus` to another version, carried out once as an ordinary change of its image. Redkite has no
/// metadata of version 2.1 to migrate: tool image, backup volume and retries are accepted and not used.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "milvus.io",
    version = "v1beta1",
    kind = "MilvusUpgrade",
    plural = "milvusupgrades",
    singular = "milvusupgrade",
    namespaced,
    status = "MilvusUpgradeStatus",
    derive = "PartialEq",
    doc = "One change of version of one Milvus.",
    printcolumn(json_path = ".status.state", name = "State", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
pub struct MilvusUpgradeSpec {
    /// `upgrade` (default), or `rollback` to the image that ran before.
    #[serde(default)]
    pub operation: Operation,
    /// The database.
    pub milvus: MilvusRef,
    /// Version that runs now. At least 2.0.0.
    pub source_version: String,
    /// Version to run. At least 2.2.0.
    pub target_version: String,
    /// Image to run. Default: `milvusdb/milvus:v` and the target version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_image: Option<String>,
    /// Accepted, not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_image: Option<String>,
    /// Accepted, not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retry: Option<i32>,
    /// Whether the image that ran before is put back once Kubernetes gives the new one up. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_if_failed: Option<bool>,
    /// Accepted, not used.
    #[serde(default, rename = "backupPVC", skip_serializing_if = "Option::is_none")]
    pub backup_pvc: Option<String>,
}

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// To the target.
    #[default]
    Upgrade,
    /// Back to the source.
    Rollback,
}

/// Which database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusRef {
    /// Its namespace. Default: that of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusUpgradeStatus {
    /// One word of the peer's: NewVersionStarting, Succeeded, RollbackOldVersionStarting, RollbackedSucceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What holds: CheckingUpgrationState, Upgraded, Rollbacked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The image that the spec named before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_image: Option<String>,
    /// Whether the old image is being put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_rollbacking: Option<bool>,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
