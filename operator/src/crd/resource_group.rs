//! The `MilvusResourceGroup` object: query nodes of their own for some collections.
#![expect(clippy::duplicated_attributes, reason = "each printer column has its own `type_`")]

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Condition, QueryScaling, ScalingStatus, Typed};

/// A group of query nodes that hold the replicas placed in it and no others. Its pods are those of the database's query nodes
/// with the template laid over them; image and settings change with the database's.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "redkite.io",
    version = "v1alpha1",
    kind = "MilvusResourceGroup",
    plural = "milvusresourcegroups",
    singular = "milvusresourcegroup",
    shortname = "mrg",
    namespaced,
    status = "MilvusResourceGroupStatus",
    derive = "PartialEq",
    doc = "A resource group of a Milvus, with query nodes of its own.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(json_path = ".spec.milvus.name", name = "Milvus", type_ = "string"),
    printcolumn(json_path = ".spec.replicas", name = "Replicas", type_ = "integer"),
    printcolumn(json_path = ".status.nodeNum", name = "Nodes", type_ = "integer"),
    printcolumn(
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        name = "Ready",
        type_ = "string"
    ),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct MilvusResourceGroupSpec {
    /// The database, in the same namespace and with `mode: cluster`. It cannot be changed.
    pub milvus: DatabaseRef,
    /// Name in the engine: letters, digits and underscores. Default: the name of the object. It cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub name: Option<String>,
    /// Query nodes of its own. Also changed by `kubectl scale` and by an autoscaler. Where `autoscaling` is given, this is only
    /// where it begins. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub replicas: Option<i32>,
    /// Its number of query nodes follows the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<QueryScaling>,
    /// Query nodes it needs. What its own do not make up is taken from other groups. Default 0: its own are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<NodeCount>,
    /// Query nodes it takes at most; its own always stay in it. Default: the larger of `replicas` and `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<NodeCount>,
    /// Groups, by their names in the engine, from which nodes that are missing are taken first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub transfer_from: Vec<String>,
    /// Groups, by their names in the engine, to which nodes that are too many go first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub transfer_to: Vec<String>,
    /// What its pods have of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<GroupTemplate>,
}

/// A database in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseRef {
    /// Name of the `Milvus` object.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// A number of query nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCount {
    /// How many.
    #[schemars(range(min = 0))]
    pub node_num: i32,
}

/// What the pods of a group have of their own; what is not said is as with the database's query nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupTemplate {
    /// Labels added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Environment added to the container. Each `MILVUS_SERVER_LABEL_<KEY>` is a label of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<Typed<EnvVar>>>,
    /// CPU and memory of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Typed<ResourceRequirements>>,
    /// Labels a node must have. With `topology.kubernetes.io/zone` the query nodes also carry the label `ZONE`, which proxies
    /// of that zone prefer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Affinity of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Typed<Affinity>>,
    /// Taints the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Typed<Toleration>>>,
    /// Spread of the pods over the topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<Typed<TopologySpreadConstraint>>>,
    /// A disk on which the query nodes keep what they load of the object store. Unset: what `redkite.cache.budgetMb` in the config of
    /// the database says, on scratch space of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<GroupCache>,
}

/// A disk on which query nodes keep what they load of the object store: a container that starts again reads it from there. It goes
/// with its pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupCache {
    /// Its size as Kubernetes writes it, such as `20Gi`, 2Mi at least. Nine tenths of it are used.
    #[schemars(length(min = 1, max = 32))]
    pub size: String,
    /// The StorageClass of a volume for each pod. Unset: scratch space of the machine (an `emptyDir` with this limit).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// What is, as of `observedGeneration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusResourceGroupStatus {
    /// What holds, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Query nodes in the group, as the engine says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<GroupNode>,
    /// How many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_num: Option<i32>,
    /// Collections with replicas in the group, as the engine says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<GroupCollection>,
    /// Pods of its own that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Pods of its own that serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Selects its pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How many query nodes of its own the load asks for, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<ScalingStatus>,
    /// The generation of the spec that everything here is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A query node in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupNode {
    /// Its number in the engine.
    pub id: i64,
    /// Its pod.
    pub host: String,
}

/// A collection with replicas in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupCollection {
    /// Its name.
    pub name: String,
    /// Replicas of it in this group.
    pub replicas: i32,
}

impl MilvusResourceGroup {
    /// Its name in the engine.
    #[must_use]
    pub fn engine_name(&self) -> String {
        self.spec.name.clone().unwrap_or_else(|| self.name_any())
    }

    /// Query nodes of its own that there should be.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        let written = self.spec.replicas.unwrap_or(1);
        let Some(rule) = &self.spec.autoscaling else { return written };
        let decided = self.status.as_ref().and_then(|status| status.autoscaling.as_ref());
        let number = decided.map_or(written, |decided| decided.replicas);
        number.max(rule.min.unwrap_or(1)).min(rule.max)
    }
}

fn rules() -> Value {
    let reserved = names::DEFAULT_RESOURCE_GROUP;
    json!([
        {"rule": format!("!has(self.name) || self.name != '{reserved}'"),
            "message": "spec.name: the default group is there without an object"},
        {"rule": "self.milvus.name == oldSelf.milvus.name", "message": "spec.milvus.name cannot be changed"},
        {"rule": "has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)",
            "message": "spec.name cannot be changed"},
        {"rule": "!has(self.limits) || !has(self.requests) || self.limits.nodeNum >= self.requests.nodeNum",
            "message": "spec.limits.nodeNum must not be less than spec.requests.nodeNum"},
    ])
}
