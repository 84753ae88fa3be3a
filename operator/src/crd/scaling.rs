//! Numbers of pods that follow the load: what a spec may say about it, and what a status tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Numbers of pods that follow the load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// Query nodes that are in no group of their own. Their number follows how busy they are and how much they are to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_node: Option<QueryScaling>,
    /// Data nodes. Their number follows the indexes, compactions and removals that wait; without any it goes down to `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_node: Option<JobScaling>,
}

/// How many query nodes there are. `replicas` beside it is only where it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = bounds()))]
pub struct QueryScaling {
    /// Never fewer than this. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: Option<i32>,
    /// Never more than this.
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,
    /// What is too much. One of them is enough for more nodes; all must be well below for fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<QueryTargets>,
    /// How long a target must be passed before nodes are added. What is ordered to be loaded and does not fit is answered at once.
    /// Unit: seconds. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub up_after_seconds: Option<i32>,
    /// How long one node fewer must have been enough before one is removed, and how long after a change that is at the
    /// earliest. Unit: seconds. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 86_400))]
    pub down_after_seconds: Option<i32>,
}

/// What is too much for query nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryTargets {
    /// Processor time of searches, in percent of the pods' CPU limit (or request, if there is no limit), over all nodes.
    /// Without either it is not looked at. Default 70.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 95))]
    pub cpu_percent: Option<i32>,
    /// Loaded data and data to be loaded, in percent of the memory that nodes may fill, over all nodes. Default 70.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 85))]
    pub memory_percent: Option<i32>,
    /// How long a search waits for a thread, 99th percentile of the busiest node. Unit: milliseconds. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub queue_wait_ms: Option<i32>,
    /// How long a search takes in a node, 99th percentile of the slowest node. Unit: milliseconds. Unset: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600_000))]
    pub p99_ms: Option<i32>,
}

/// How many data nodes there are. `replicas` beside it is only where it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = bounds()))]
pub struct JobScaling {
    /// Never fewer than this. Default 0: no data node runs while nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: Option<i32>,
    /// Never more than this.
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,
    /// Jobs, waiting and running, for which there is one node. A node does one at a time. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub jobs_per_node: Option<i32>,
    /// How long there must have been no job before nodes are removed. Unit: seconds. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 86_400))]
    pub idle_seconds: Option<i32>,
}

/// What was decided last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingStatus {
    /// Pods that there are to be.
    pub replicas: i32,
    /// One word for why: Began, Bounds, Cpu, Memory, QueueWait, P99, Calm, Jobs or Idle.
    pub reason: String,
    /// The same in one sentence, with the numbers that decided.
    pub message: String,
    /// When it was decided. RFC 3339, UTC, whole seconds.
    pub since: String,
    /// Processor time of searches when nodes were last added for the load, in thousandths of a processor. As long as it has
    /// not fallen well below that, none is removed: fewer were not enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_at_cpu_millis: Option<i64>,
}

/// What was decided last, by component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// Query nodes that are in no group of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_node: Option<ScalingStatus>,
    /// Data nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_node: Option<ScalingStatus>,
}

fn bounds() -> Value {
    json!([{"rule": "!has(self.min) || self.min <= self.max", "message": "min must not be more than max"}])
}
