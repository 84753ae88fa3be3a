//! How a rollout goes: what a spec may say about it, and what a status tells.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done when new pods do not come right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// What follows when pods of a new template cannot start, crash, or do not serve in time, or requests fail. `Pause` (default): nothing
    /// further is rolled, what serves goes on serving, and the rollout goes on by itself once the pods come right or the
    /// spec is corrected. `Rollback`: besides, the images that ran before are put back where they were changed; the spec stays
    /// as it is, and the next change of it is a new try. Settings are not put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// How long a workload may make no progress, and a new pod may not serve, before that counts as a failure. Unit: seconds.
    /// Default 600. More where pods have much to load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub progress_deadline_seconds: Option<i32>,
    /// While new images are rolled out: how many of the requests that the proxies end within 30 seconds may fail for a reason of the
    /// database's. More, if it is also twice what was usual before, counts as a failure. Requests that are wrong, denied or refused
    /// for their rate do not count, and fewer than 20 requests say nothing. Unit: percent. Default 5. 100: not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_error_percent: Option<i32>,
}

/// What follows when new pods do not come right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Nothing further is rolled.
    #[default]
    Pause,
    /// The images that ran before are put back.
    Rollback,
}

/// How far the rollout of the spec is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// One word for it: Complete, Rolling, Paused, RollingBack or RolledBack.
    #[serde(default)]
    pub state: RolloutState,
    /// The same in one line, with the numbers below.
    #[serde(default)]
    pub summary: String,
    /// Components of which all pods are as the spec says and serve.
    #[serde(default)]
    pub updated_components: i32,
    /// Components in all.
    #[serde(default)]
    pub components: i32,
    /// Pods that are as the spec says.
    #[serde(default)]
    pub updated_pods: i32,
    /// Pods in all.
    #[serde(default)]
    pub pods: i32,
    /// What did not come right, while the rollout is paused or rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RolloutFailure>,
    /// The attempt that was given up and is not made again until spec or images change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedRollout>,
    /// What was last rolled out completely: what a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<CompleteRollout>,
}

/// One word for how far a rollout is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// All pods are as the spec says, or were and one of them is away.
    Complete,
    /// Pods are being started or replaced.
    #[default]
    Rolling,
    /// New pods do not come right; nothing further is rolled.
    Paused,
    /// The images that ran before are being put back.
    RollingBack,
    /// The images that ran before run again; the spec names others.
    RolledBack,
}

/// What did not come right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutFailure {
    /// The component, with its group if it has one.
    pub component: String,
    /// Its Deployment.
    pub workload: String,
    /// The pod, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// One word: ImagePull, Crash, Config, NotReady, DeploymentStuck or Errors.
    pub reason: String,
    /// What Kubernetes and the pod's last words say.
    pub message: String,
    /// When it was first seen. RFC 3339, UTC, whole seconds.
    pub since: String,
}

/// An attempt that was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedRollout {
    /// Generation of the spec.
    pub generation: i64,
    /// Image by component.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}

/// What was last rolled out completely.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompleteRollout {
    /// The image that the spec named, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The version that the spec named, if it named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Image by component.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}
