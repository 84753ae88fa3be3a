//! The `Milvus` object.
#![expect(clippy::duplicated_attributes, reason = "each printer column has its own `type_`")]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Components, Dependencies, MilvusStatus, Open, Redkite};

/// A vector database: how it is made up, where it keeps its data, and how it is configured.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "milvus.io",
    version = "v1beta1",
    kind = "Milvus",
    plural = "milvuses",
    singular = "milvus",
    shortname = "mi",
    namespaced,
    status = "MilvusStatus",
    derive = "PartialEq",
    doc = "A Milvus-compatible vector database.",
    printcolumn(
        json_path = ".spec.mode",
        name = "Mode",
        type_ = "string",
        description = "How it is made up"
    ),
    printcolumn(
        json_path = ".status.status",
        name = "Status",
        type_ = "string",
        description = "State of the database"
    ),
    printcolumn(
        json_path = r#".status.conditions[?(@.type=="MilvusUpdated")].status"#,
        name = "Updated",
        type_ = "string",
        description = "Whether the pods run what the spec asks for"
    ),
    printcolumn(
        json_path = ".status.redkite.rollout.summary",
        name = "Rollout",
        type_ = "string",
        description = "How far the rollout is",
        priority = 1
    ),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules()))]
pub struct MilvusSpec {
    /// `standalone` (default): all work in one process. `cluster`: one workload per component. It cannot be changed while the
    /// database runs.
    #[serde(default)]
    pub mode: Mode,
    /// The workloads: images, resources, replicas, placement. Changing it rolls the pods it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Components>,
    /// Metadata store, object storage and message stream. What is not external is embedded in a standalone, and runs beside a
    /// cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Dependencies>,
    /// Settings in the shape of `milvus.yaml`, merged over the defaults. Changing it restarts the pods that it
    /// concerns, unless `components.updateConfigMapOnly` is true. Unknown keys are reported by the engine and ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Open<Value>>,
    /// Settings in the shape of `hook.yaml`, mounted beside the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_config: Option<Open<Value>>,
    /// What only Redkite has. A manifest without it works with other operators too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redkite: Option<Redkite>,
}

/// How a database is made up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One process.
    #[default]
    Standalone,
    /// One workload per component.
    Cluster,
}

fn rules() -> Value {
    json!([{
        "rule": "!(has(self.components) && has(self.components.enableRollingUpdate) && self.components.enableRollingUpdate \
                 && (!has(self.mode) || self.mode == 'standalone') && has(self.dependencies) \
                 && has(self.dependencies.msgStreamType) && self.dependencies.msgStreamType in ['rocksmq', 'natsmq'])",
        "message": "spec.components.enableRollingUpdate cannot be true in standalone mode with rocksmq or natsmq: two pods \
                    cannot share their volume"
    }, {
        "rule": "!has(self.redkite) || !has(self.redkite.autoscaling) || (has(self.mode) && self.mode == 'cluster')",
        "message": "spec.redkite.autoscaling needs mode: cluster"
    }, {
        "rule": follows("queryNode"),
        "message": "spec.redkite.autoscaling.queryNode: spec.components.queryNode.replicas: -1 leaves the number to somebody else"
    }, {
        "rule": follows("dataNode"),
        "message": "spec.redkite.autoscaling.dataNode: spec.components.dataNode.replicas: -1 leaves the number to somebody else"
    }])
}

/// A number follows the load only where it is not left to somebody else.
fn follows(component: &str) -> String {
    format!(
        "!(has(self.redkite) && has(self.redkite.autoscaling) && has(self.redkite.autoscaling.{component}) \
         && has(self.components) && has(self.components.{component}) && has(self.components.{component}.replicas) \
         && self.components.{component}.replicas == -1)"
    )
}
