//! The `MilvusCluster` object: how clusters were written before `Milvus` had a mode.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Components, Dependencies, MilvusStatus, Open};

/// A cluster, carried out by a `Milvus` of the same name that belongs to it. Write a `Milvus` with `mode: cluster` instead.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "milvus.io",
    version = "v1alpha1",
    kind = "MilvusCluster",
    plural = "milvusclusters",
    singular = "milvuscluster",
    shortname = "mc",
    shortname = "mic",
    namespaced,
    status = "MilvusStatus",
    derive = "PartialEq",
    doc = "A Milvus-compatible vector database as a cluster; superseded by Milvus.",
    printcolumn(json_path = ".status.status", name = "Status", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
pub struct MilvusClusterSpec {
    /// See `Milvus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Components>,
    /// See `Milvus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// See `Milvus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Open<Value>>,
}
