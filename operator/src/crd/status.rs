//! Status of a `Milvus` object.

use k8s_openapi::api::networking::v1::IngressStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AutoscalingStatus, Condition, Open, RolloutStatus, Typed};

/// What is, as of `observedGeneration`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MilvusStatus {
    /// One word for the state: Pending, Healthy, Unhealthy, Stopped or Deleting.
    #[serde(default)]
    pub status: Phase,
    /// What holds, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Where clients connect, `host:port`. Empty when the address cannot be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Address of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Typed<IngressStatus>>,
    /// State of each component's Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components_deploy_status: Option<Open<Value>>,
    /// State of each group's Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_groups_deploy_status: Option<Open<Value>>,
    /// Rolling mode in force, as the peer counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_mode_version: Option<i64>,
    /// The generation of the spec that everything here is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The image that the spec names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_image: Option<String>,
    /// The version that the spec names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// Pods that serve now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What only Redkite reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redkite: Option<RedkiteStatus>,
}

/// What only Redkite reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedkiteStatus {
    /// The image that the pods run, after the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Which components the image that the spec names stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Parts of the spec that were accepted and are not used, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How far the rollout of the spec is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Numbers of pods that follow the load, and why they are what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
}

/// One word for the state of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not ready yet for the first time.
    #[default]
    Pending,
    /// Serves.
    Healthy,
    /// Served before and does not now, or cannot start.
    Unhealthy,
    /// No pods, as the spec asks for.
    Stopped,
    /// Being deleted.
    Deleting,
}

impl Phase {
    /// The word itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
            Self::Stopped => "Stopped",
            Self::Deleting => "Deleting",
        }
    }
}
