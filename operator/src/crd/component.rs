//! `spec.components`: the workloads.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, LocalObjectReference, Probe, ResourceRequirements, SecurityContext,
    Toleration, TopologySpreadConstraint, Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Open, Typed};

/// What every workload can say about its pods. In `spec.components` it is the default of all components.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentSpec {
    /// Stops rolling out changes to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Labels added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Annotations added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_annotations: Option<BTreeMap<String, String>>,
    /// Image. An upstream Milvus image is mapped to Redkite's by the image catalog. Changing it rolls the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Version of the image where its tag does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Replaces the arguments of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<String>>,
    /// Adds `--run-with-subprocess` to the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_with_sub_process: Option<bool>,
    /// Pull policy. Default IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secrets: Option<Vec<Typed<LocalObjectReference>>>,
    /// Environment of the container, merged by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<Typed<EnvVar>>>,
    /// Scheduler of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// Labels a node must have.
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
    /// CPU and memory of the container. Changing it rolls the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Typed<ResourceRequirements>>,
    /// Mounts, merged by mountPath; the name `_remove` removes the mount at that path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_mounts: Option<Vec<Typed<VolumeMount>>>,
    /// Volumes of the pods, merged by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Vec<Open<Volume>>>,
    /// ServiceAccount of the pods. Unset: one without rights is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Whether the pods use the node's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// DNS policy of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<String>,
    /// Probes of the container; each missing one keeps its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Open<Probes>>,
    /// Security context of the container, merged over the restricted default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Open<SecurityContext>>,
}

/// The three probes of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Until it succeeds the other two wait.
    pub startup_probe: Option<Probe>,
    /// When it fails the container is restarted.
    pub liveness_probe: Option<Probe>,
    /// While it fails no client reaches the pod.
    pub readiness_probe: Option<Probe>,
}

/// The workloads. Fields beside the components are defaults for all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = components_rules()))]
pub struct Components {
    /// Defaults of all components.
    #[serde(flatten)]
    pub global: ComponentSpec,
    /// Whether the Service names its target ports by name (default) or by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port_type: Option<TargetPortType>,
    /// Order of an image change. Standalone has one workload and no order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_update_mode: Option<ImageUpdateMode>,
    /// False: a coordinator has no standby, its pod is replaced. A standalone always replaces its pod, since one process at a
    /// time may hold the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_rolling_update: Option<bool>,
    /// Whether no PodMonitor is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_metric: Option<bool>,
    /// Interval of the PodMonitor, as Prometheus writes durations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^(|0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"
    ))]
    pub metric_interval: Option<String>,
    /// Labels added to every metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_labels: Option<BTreeMap<String, String>>,
    /// Accepted, not used: there is no init container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_image: Option<String>,
    /// Accepted, not used: there is no idle Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dummy_image: Option<String>,
    /// Accepted, not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_tool_image: Option<bool>,
    /// True: a change of `spec.config` restarts no pod, unless pods are given something else beside the file: a password that comes or goes,
    /// the folder of log files, how long query nodes may take to stop. Unset or false: it restarts those that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_config_map_only: Option<bool>,
    /// Accepted: 2 or 3 as the peer counts; one workload per component is kept either way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_mode: Option<i64>,
    /// Accepted; replicas are left alone only where they are -1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_manual_mode: Option<bool>,
    /// Name of the ConfigMap with the settings. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_config_map: Option<String>,
    /// Accepted: the pods never run as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// Whether a streaming node runs in cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming_mode: Option<bool>,
    /// Serves clients in cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// The coordinator of cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix_coord: Option<Component>,
    /// A coordinator of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_coord: Option<Component>,
    /// A coordinator of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_coord: Option<Component>,
    /// A coordinator of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_coord: Option<Component>,
    /// A coordinator of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_coord: Option<Component>,
    /// Builds and compacts in cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_node: Option<GroupedComponent>,
    /// Searches in cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_node: Option<GroupedComponent>,
    /// Builds indexes in older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_node: Option<Component>,
    /// Owns the log in cluster mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming_node: Option<GroupedComponent>,
    /// The one process of standalone mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone: Option<Standalone>,
    /// Change data capture of the peer. Accepted, not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdc: Option<Component>,
}

/// One component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its pods, over the defaults.
    #[serde(flatten)]
    pub spec: ComponentSpec,
    /// Number of pods. Default 1; 0 stops the component; -1 leaves the number to an autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub replicas: Option<i32>,
    /// More containers beside the engine's; their ports are added to the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecars: Option<Vec<Open<Container>>>,
    /// Containers that run before the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_containers: Option<Vec<Open<Container>>>,
    /// Autoscaler of the component. Accepted, not used yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hpa: Option<Open<Value>>,
    /// Workload with volumes of its own. Accepted, not used yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<Open<Value>>,
    /// Pace of a roll. Accepted, not used yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<Open<Value>>,
}

/// How clients reach the database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// Type of the Service.
    #[serde(default)]
    pub service_type: ServiceType,
    /// Port of the Service. Default 19530.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<i32>,
    /// A second port of the Service for REST; it leads to the same container port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub service_restful_port: Option<i32>,
    /// Labels of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_labels: Option<BTreeMap<String, String>>,
    /// Annotations of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_annotations: Option<BTreeMap<String, String>>,
    /// Ingress to the Service. Removing it removes the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
}

/// The one process of standalone mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standalone {
    /// Its pod.
    #[serde(flatten)]
    pub component: Component,
    /// Its Service.
    #[serde(flatten)]
    pub serving: Serving,
}

/// Serves clients in cluster mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Its pods.
    #[serde(flatten)]
    pub component: GroupedComponent,
    /// Its Service.
    #[serde(flatten)]
    pub serving: Serving,
}

/// A component that can be split into workloads of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupedComponent {
    /// Its pods.
    #[serde(flatten)]
    pub component: Component,
    /// Workloads of their own, each with its number of pods and its placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Option<Vec<Group>>,
}

/// A workload of its own within a component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Name, a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Number of pods; -1 leaves it to an autoscaler.
    #[schemars(range(min = -1))]
    pub replicas: i32,
    /// Labels added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Environment added to the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_env: Option<Vec<Typed<EnvVar>>>,
    /// Labels a node must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Affinity of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Open<Affinity>>,
    /// Taints the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Typed<Toleration>>>,
    /// Spread of the pods over the topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<Typed<TopologySpreadConstraint>>>,
}

/// Ingress to the client Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Labels of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Class of the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// Host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<String>>,
    /// Secret with a certificate → host names it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_refs: Option<BTreeMap<String, Vec<String>>>,
}

/// Type of the client Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reached from within the cluster.
    #[default]
    ClusterIP,
    /// Reached on a port of every node.
    NodePort,
    /// Reached through a load balancer.
    LoadBalancer,
}

impl ServiceType {
    /// The word in a Service.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// How the Service names its target ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetPortType {
    /// By name.
    #[default]
    String,
    /// By number.
    Integer,
}

/// Order of an image change over the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ImageUpdateMode {
    /// In the order of an upgrade.
    RollingUpgrade,
    /// In the order of a downgrade.
    RollingDowngrade,
    /// All components at once.
    All,
    /// All components at once, without waiting for anything.
    Force,
}

fn components_rules() -> Value {
    json!([{
        "rule": "!has(self.rollingMode) || self.rollingMode in [0, 2, 3]",
        "message": "spec.components.rollingMode must be 2 or 3",
    }])
}
