//! The pod that a component asks for: its own fields over the defaults of all components.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, LocalObjectReference, ResourceRequirements, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};

use super::component::Written;
use super::fields::Faults;
use super::{Component, FaultReason, Image};
use crate::crd::{self, ComponentSpec, Group, Probes};

/// A workload of a component: all of it, or one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The component.
    pub component: Component,
    /// The group, where the component is split.
    pub group: Option<String>,
    /// The `MilvusResourceGroup` whose pods these are.
    pub resource_group: Option<String>,
    /// Number of pods; `None` leaves it to an autoscaler.
    pub replicas: Option<i32>,
    /// What its pods run.
    pub image: Image,
    pub(super) pod: Pod,
}

/// A component's pod, read and merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pod {
    pub(super) paused: bool,
    pub(super) pod_labels: BTreeMap<String, String>,
    pub(super) pod_annotations: BTreeMap<String, String>,
    pub(super) named_image: Option<String>,
    pub(super) pull_policy: String,
    pub(super) pull_secrets: Vec<LocalObjectReference>,
    pub(super) commands: Vec<String>,
    pub(super) with_subprocess: bool,
    pub(super) env: Vec<EnvVar>,
    pub(super) scheduler: Option<String>,
    pub(super) node_selector: Option<BTreeMap<String, String>>,
    pub(super) affinity: Option<Affinity>,
    pub(super) tolerations: Vec<Toleration>,
    /// `None` where nothing is said.
    pub(super) spread: Option<Vec<TopologySpreadConstraint>>,
    pub(super) resources: Option<ResourceRequirements>,
    pub(super) mounts: Vec<VolumeMount>,
    pub(super) volumes: Vec<Volume>,
    pub(super) service_account: Option<String>,
    pub(super) priority_class: Option<String>,
    pub(super) host_network: bool,
    pub(super) dns_policy: Option<String>,
    pub(super) probes: Probes,
    pub(super) security: Option<SecurityContext>,
    pub(super) sidecars: Vec<Container>,
    pub(super) init_containers: Vec<Container>,
}

/// Volume of the settings.
pub(super) const CONFIG_VOLUME: &str = "milvus-config";
/// Volume of the data.
pub(super) const DATA_VOLUME: &str = "data";
/// Volume of scratch files, since the image is read-only.
pub(super) const SCRATCH_VOLUME: &str = "milvus-tmp";
/// Volume of log files.
pub(super) const LOG_VOLUME: &str = "redkite-logs";
/// Volume of the token of calls between nodes.
pub(super) const ADMIN_VOLUME: &str = "redkite-admin";
/// Volume of the authority of Kafka's certificates.
pub(super) const KAFKA_VOLUME: &str = "redkite-kafka";
/// Volume of the certificate of the client port.
pub(super) const CLIENT_TLS_VOLUME: &str = "redkite-client-tls";
/// Volume of the certificate of calls between nodes.
pub(super) const NODE_TLS_VOLUME: &str = "redkite-node-tls";
/// Volumes that every pod has.
const OWN_VOLUMES: [&str; 3] = [CONFIG_VOLUME, DATA_VOLUME, SCRATCH_VOLUME];
/// Mounts of this name remove the mount at their path.
const REMOVE: &str = "_remove";
/// Where the defaults stand.
const GLOBAL: &str = "spec.components";

/// Reads the workloads of a component: one, or one for each group. `resolve` finds the image that a named one stands for.
pub(super) fn read(
    component: Component,
    global: &ComponentSpec,
    written: &Written<'_>,
    pull_policy: &str,
    resolve: &dyn Fn(Option<&str>) -> Image,
    faults: &mut Faults,
) -> Vec<Workload> {
    let none = crd::Component::default();
    let own = written.own.unwrap_or(&none);
    let pod = read_pod(component.path(), global, own, pull_policy, faults);
    let image = resolve(pod.named_image.as_deref());
    if written.groups.is_empty() {
        let replicas = replicas(component, &format!("{}.replicas", component.path()), own.replicas, faults);
        return vec![Workload { component, group: None, resource_group: None, replicas, image, pod }];
    }
    let groups = written.groups.iter().enumerate();
    groups
        .map(|(at, group)| {
            let path = format!("{}.groups[{at}]", component.path());
            check_group(&path, group, &written.groups[..at], faults);
            Workload {
                component,
                group: Some(group.name.clone()),
                resource_group: None,
                replicas: replicas(component, &format!("{path}.replicas"), Some(group.replicas), faults),
                image: image.clone(),
                pod: in_group(&path, pod.clone(), group, faults),
            }
        })
        .collect()
}

/// The pod of a component with what a group says laid over it. What is there but empty clears what is inherited.
fn in_group(path: &str, pod: Pod, group: &Group, faults: &mut Faults) -> Pod {
    let extra = faults.typed_list(&format!("{path}.extraEnv"), group.extra_env.as_ref());
    Pod {
        pod_labels: union(Some(&pod.pod_labels), group.labels.as_ref()),
        pod_annotations: union(Some(&pod.pod_annotations), group.annotations.as_ref()),
        env: by_name(pod.env, extra, |variable| &variable.name),
        node_selector: group.node_selector.clone().or(pod.node_selector),
        affinity: faults.open(&format!("{path}.affinity"), group.affinity.as_ref()).or(pod.affinity),
        tolerations: match &group.tolerations {
            Some(list) => faults.typed_list(&format!("{path}.tolerations"), Some(list)),
            None => pod.tolerations,
        },
        spread: match &group.topology_spread_constraints {
            Some(list) => Some(faults.typed_list(&format!("{path}.topologySpreadConstraints"), Some(list))),
            None => pod.spread,
        },
        ..pod
    }
}

/// Prefixes of keys that only an operator or Kubernetes itself may set on a group.
const RESERVED: [&str; 3] = ["kubectl.kubernetes.io/", "milvus.io/", "deployment.kubernetes.io/"];

fn check_group(path: &str, group: &Group, before: &[Group], faults: &mut Faults) {
    let mut wrong = |field: &str, message: String| {
        faults.add(FaultReason::InvalidField, format!("{path}.{field}"), message);
    };
    let name = group.name.as_str();
    if !is_label(name) {
        wrong("name", format!("'{name}' is no DNS label"));
    }
    if before.iter().any(|other| other.name == group.name) {
        wrong("name", format!("'{name}' is there twice"));
    }
    for (field, keys) in [("labels", &group.labels), ("annotations", &group.annotations)] {
        check_keys(&format!("{path}.{field}"), keys.as_ref(), faults);
    }
}

/// Whether a name can be a label of DNS.
pub(super) fn is_label(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(letter)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Keys of labels or annotations that a user may not set.
pub(super) fn check_keys(path: &str, keys: Option<&BTreeMap<String, String>>, faults: &mut Faults) {
    for key in keys.into_iter().flat_map(BTreeMap::keys) {
        if RESERVED.iter().any(|prefix| key.starts_with(prefix)) {
            faults.add(FaultReason::InvalidField, path, format!("'{key}' is reserved"));
        }
    }
}

/// Reads the component's pod. `pull_policy` holds where the spec has none.
fn read_pod(
    path: &'static str,
    global: &ComponentSpec,
    own: &crd::Component,
    pull_policy: &str,
    faults: &mut Faults,
) -> Pod {
    let spec = &own.spec;
    let security = [(GLOBAL, &global.security_context), (path, &spec.security_context)]
        .map(|(root, value)| faults.open(&format!("{root}.securityContext"), value.as_ref()));
    let [global_security, own_security] = security;
    let probes = [(GLOBAL, &global.probes), (path, &spec.probes)]
        .map(|(root, value)| faults.open(&format!("{root}.probes"), value.as_ref()));
    let [global_probes, own_probes] = probes;
    let affinity = [(GLOBAL, &global.affinity), (path, &spec.affinity)]
        .map(|(root, value)| faults.typed(&format!("{root}.affinity"), value.as_ref()));
    let [global_affinity, own_affinity] = affinity;
    let resources = [(GLOBAL, &global.resources), (path, &spec.resources)]
        .map(|(root, value)| faults.typed(&format!("{root}.resources"), value.as_ref()));
    let [global_resources, own_resources] = resources;
    let policy = spec.image_pull_policy.clone().or_else(|| global.image_pull_policy.clone());
    let pod = Pod {
        paused: spec.paused == Some(true) || global.paused == Some(true),
        pod_labels: union(global.pod_labels.as_ref(), spec.pod_labels.as_ref()),
        pod_annotations: union(global.pod_annotations.as_ref(), spec.pod_annotations.as_ref()),
        named_image: named(spec.image.as_ref()).or_else(|| named(global.image.as_ref())),
        pull_policy: pull(
            path,
            policy.as_deref().filter(|policy| !policy.is_empty()).unwrap_or(pull_policy),
            faults,
        ),
        pull_secrets: either(
            faults,
            path,
            "imagePullSecrets",
            &spec.image_pull_secrets,
            &global.image_pull_secrets,
        ),
        commands: spec.commands.clone().or_else(|| global.commands.clone()).unwrap_or_default(),
        with_subprocess: spec.run_with_sub_process.or(global.run_with_sub_process) == Some(true),
        env: by_name(
            faults.typed_list(&format!("{GLOBAL}.env"), global.env.as_ref()),
            faults.typed_list(&format!("{path}.env"), spec.env.as_ref()),
            |variable| &variable.name,
        ),
        scheduler: named(spec.scheduler_name.as_ref()).or_else(|| named(global.scheduler_name.as_ref())),
        node_selector: spec.node_selector.clone().or_else(|| global.node_selector.clone()),
        affinity: own_affinity.or(global_affinity),
        tolerations: either(faults, path, "tolerations", &spec.tolerations, &global.tolerations),
        spread: match spec.topology_spread_constraints.is_some()
            || global.topology_spread_constraints.is_some()
        {
            false => None,
            true => Some(either(
                faults,
                path,
                "topologySpreadConstraints",
                &spec.topology_spread_constraints,
                &global.topology_spread_constraints,
            )),
        },
        resources: own_resources.or(global_resources),
        mounts: mounts(
            faults.typed_list(&format!("{GLOBAL}.volumeMounts"), global.volume_mounts.as_ref()),
            faults.typed_list(&format!("{path}.volumeMounts"), spec.volume_mounts.as_ref()),
        ),
        volumes: by_name(
            faults.open_list(&format!("{GLOBAL}.volumes"), global.volumes.as_ref()),
            faults.open_list(&format!("{path}.volumes"), spec.volumes.as_ref()),
            |volume| &volume.name,
        ),
        service_account: named(spec.service_account_name.as_ref())
            .or_else(|| named(global.service_account_name.as_ref())),
        priority_class: named(spec.priority_class_name.as_ref())
            .or_else(|| named(global.priority_class_name.as_ref())),
        host_network: spec.host_network == Some(true) || global.host_network == Some(true),
        dns_policy: named(spec.dns_policy.as_ref()).or_else(|| named(global.dns_policy.as_ref())),
        probes: own_probes.or(global_probes).unwrap_or_default(),
        security: own_security.or(global_security),
        sidecars: faults.open_list(&format!("{path}.sidecars"), own.sidecars.as_ref()),
        init_containers: faults.open_list(&format!("{path}.initContainers"), own.init_containers.as_ref()),
    };
    check_mounts(path, &pod, faults);
    pod
}

/// Every mount has a volume: of the spec, or one that every pod of ours has.
fn check_mounts(path: &str, pod: &Pod, faults: &mut Faults) {
    for mount in &pod.mounts {
        let known = OWN_VOLUMES.contains(&mount.name.as_str())
            || pod.volumes.iter().any(|volume| volume.name == mount.name);
        if !known {
            let message = format!(
                "the mount at {} names volume '{}', which is not there",
                mount.mount_path, mount.name
            );
            faults.add(FaultReason::InvalidField, format!("{path}.volumeMounts"), message);
        }
    }
}

fn replicas(component: Component, path: &str, wanted: Option<i32>, faults: &mut Faults) -> Option<i32> {
    let wrong = match (component, wanted) {
        (_, None) => return Some(1),
        (_, Some(-1)) => return None,
        (Component::Standalone, Some(count)) if count > 1 => (
            FaultReason::NotSupported,
            format!(
                "{count} is not 0 or 1: one process at a time may hold the data of a standalone database"
            ),
        ),
        (_, Some(count)) if count >= 0 => return Some(count),
        (_, Some(count)) => (FaultReason::InvalidField, format!("{count} is below -1")),
    };
    faults.add(wrong.0, path, wrong.1);
    None
}

fn pull(path: &str, policy: &str, faults: &mut Faults) -> String {
    match policy {
        "" => "IfNotPresent".to_owned(),
        "Always" | "IfNotPresent" | "Never" => policy.to_owned(),
        other => {
            let message = format!("'{other}' is not Always, IfNotPresent or Never");
            faults.add(FaultReason::InvalidField, format!("{path}.imagePullPolicy"), message);
            String::new()
        }
    }
}

fn named(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

pub(super) fn union(
    global: Option<&BTreeMap<String, String>>,
    own: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let pairs = global.into_iter().flatten().chain(own.into_iter().flatten());
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The component's list if it has one, else the default's.
fn either<T: serde::de::DeserializeOwned>(
    faults: &mut Faults,
    path: &'static str,
    field: &str,
    own: &Option<Vec<crate::crd::Typed<T>>>,
    global: &Option<Vec<crate::crd::Typed<T>>>,
) -> Vec<T> {
    let (root, list) = if own.is_some() { (path, own) } else { (GLOBAL, global) };
    faults.typed_list(&format!("{root}.{field}"), list.as_ref())
}

/// Both lists, items of `own` in place of those of the same name.
pub(super) fn by_name<T>(global: Vec<T>, own: Vec<T>, name: impl Fn(&T) -> &String) -> Vec<T> {
    let mut merged: Vec<T> =
        global.into_iter().filter(|item| !own.iter().any(|over| name(over) == name(item))).collect();
    merged.extend(own);
    merged
}

fn mounts(global: Vec<VolumeMount>, own: Vec<VolumeMount>) -> Vec<VolumeMount> {
    let merged = by_name(global, own, |mount| &mount.mount_path);
    merged.into_iter().filter(|mount| mount.name != REMOVE).collect()
}
