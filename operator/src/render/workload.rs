//! The pod that a component asks for: its own fields over the defaults of all components.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvVar, LocalObjectReference, ResourceRequirements, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};

use super::FaultReason;
use super::fields::Faults;
use crate::crd::{Component, ComponentSpec, Probes};

/// A component's pod, read and merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Workload {
    pub(super) replicas: Option<i32>,
    pub(super) paused: bool,
    pub(super) pod_labels: BTreeMap<String, String>,
    pub(super) pod_annotations: BTreeMap<String, String>,
    pub(super) image: Option<String>,
    pub(super) pull_policy: String,
    pub(super) pull_secrets: Vec<LocalObjectReference>,
    pub(super) commands: Vec<String>,
    pub(super) with_subprocess: bool,
    pub(super) env: Vec<EnvVar>,
    pub(super) scheduler: Option<String>,
    pub(super) node_selector: Option<BTreeMap<String, String>>,
    pub(super) affinity: Option<Affinity>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) spread: Vec<TopologySpreadConstraint>,
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
/// Volumes that every pod has.
const OWN_VOLUMES: [&str; 3] = [CONFIG_VOLUME, DATA_VOLUME, SCRATCH_VOLUME];
/// Mounts of this name remove the mount at their path.
const REMOVE: &str = "_remove";
/// Where the defaults stand.
const GLOBAL: &str = "spec.components";
/// Where the component stands.
const OWN: &str = "spec.components.standalone";

/// Reads the component's pod. `pull_policy` holds where the spec has none.
pub(super) fn read(
    global: &ComponentSpec,
    own: &Component,
    pull_policy: &str,
    faults: &mut Faults,
) -> Workload {
    let spec = &own.spec;
    let security = [(GLOBAL, &global.security_context), (OWN, &spec.security_context)]
        .map(|(path, value)| faults.open(&format!("{path}.securityContext"), value.as_ref()));
    let [global_security, own_security] = security;
    let probes = [(GLOBAL, &global.probes), (OWN, &spec.probes)]
        .map(|(path, value)| faults.open(&format!("{path}.probes"), value.as_ref()));
    let [global_probes, own_probes] = probes;
    let affinity = [(GLOBAL, &global.affinity), (OWN, &spec.affinity)]
        .map(|(path, value)| faults.typed(&format!("{path}.affinity"), value.as_ref()));
    let [global_affinity, own_affinity] = affinity;
    let resources = [(GLOBAL, &global.resources), (OWN, &spec.resources)]
        .map(|(path, value)| faults.typed(&format!("{path}.resources"), value.as_ref()));
    let [global_resources, own_resources] = resources;
    let policy = spec.image_pull_policy.clone().or_else(|| global.image_pull_policy.clone());
    let workload = Workload {
        replicas: replicas(own.replicas, faults),
        paused: spec.paused == Some(true) || global.paused == Some(true),
        pod_labels: union(global.pod_labels.as_ref(), spec.pod_labels.as_ref()),
        pod_annotations: union(global.pod_annotations.as_ref(), spec.pod_annotations.as_ref()),
        image: named(spec.image.as_ref()).or_else(|| named(global.image.as_ref())),
        pull_policy: pull(
            policy.as_deref().filter(|policy| !policy.is_empty()).unwrap_or(pull_policy),
            faults,
        ),
        pull_secrets: either(
            faults,
            "imagePullSecrets",
            &spec.image_pull_secrets,
            &global.image_pull_secrets,
        ),
        commands: spec.commands.clone().or_else(|| global.commands.clone()).unwrap_or_default(),
        with_subprocess: spec.run_with_sub_process.or(global.run_with_sub_process) == Some(true),
        env: by_name(
            faults.typed_list(&format!("{GLOBAL}.env"), global.env.as_ref()),
            faults.typed_list(&format!("{OWN}.env"), spec.env.as_ref()),
            |variable| &variable.name,
        ),
        scheduler: named(spec.scheduler_name.as_ref()).or_else(|| named(global.scheduler_name.as_ref())),
        node_selector: spec.node_selector.clone().or_else(|| global.node_selector.clone()),
        affinity: own_affinity.or(global_affinity),
        tolerations: either(faults, "tolerations", &spec.tolerations, &global.tolerations),
        spread: either(
            faults,
            "topologySpreadConstraints",
            &spec.topology_spread_constraints,
            &global.topology_spread_constraints,
        ),
        resources: own_resources.or(global_resources),
        mounts: mounts(
            faults.typed_list(&format!("{GLOBAL}.volumeMounts"), global.volume_mounts.as_ref()),
            faults.typed_list(&format!("{OWN}.volumeMounts"), spec.volume_mounts.as_ref()),
        ),
        volumes: by_name(
            faults.open_list(&format!("{GLOBAL}.volumes"), global.volumes.as_ref()),
            faults.open_list(&format!("{OWN}.volumes"), spec.volumes.as_ref()),
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
        sidecars: faults.open_list(&format!("{OWN}.sidecars"), own.sidecars.as_ref()),
        init_containers: faults.open_list(&format!("{OWN}.initContainers"), own.init_containers.as_ref()),
    };
    check_mounts(&workload, faults);
    workload
}

/// Every mount has a volume: of the spec, or one that every pod of ours has.
fn check_mounts(workload: &Workload, faults: &mut Faults) {
    for mount in &workload.mounts {
        let known = OWN_VOLUMES.contains(&mount.name.as_str())
            || workload.volumes.iter().any(|volume| volume.name == mount.name);
        if !known {
            let message = format!(
                "the mount at {} names volume '{}', which is not there",
                mount.mount_path, mount.name
            );
            faults.add(FaultReason::InvalidField, format!("{OWN}.volumeMounts"), message);
        }
    }
}

fn replicas(wanted: Option<i32>, faults: &mut Faults) -> Option<i32> {
    match wanted {
        None => Some(1),
        Some(-1) => None,
        Some(count @ (0 | 1)) => Some(count),
        Some(count) => {
            faults.add(
                FaultReason::NotSupported,
                format!("{OWN}.replicas"),
                format!(
                    "{count} is not 0 or 1: one process at a time may hold the data of a standalone database"
                ),
            );
            None
        }
    }
}

fn pull(policy: &str, faults: &mut Faults) -> String {
    match policy {
        "" => "IfNotPresent".to_owned(),
        "Always" | "IfNotPresent" | "Never" => policy.to_owned(),
        other => {
            let message = format!("'{other}' is not Always, IfNotPresent or Never");
            faults.add(FaultReason::InvalidField, format!("{OWN}.imagePullPolicy"), message);
            String::new()
        }
    }
}

fn named(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn union(
    global: Option<&BTreeMap<String, String>>,
    own: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let pairs = global.into_iter().flatten().chain(own.into_iter().flatten());
    pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The component's list if it has one, else the default's.
fn either<T: serde::de::DeserializeOwned>(
    faults: &mut Faults,
    field: &str,
    own: &Option<Vec<crate::crd::Typed<T>>>,
    global: &Option<Vec<crate::crd::Typed<T>>>,
) -> Vec<T> {
    let (root, list) = if own.is_some() { (OWN, own) } else { (GLOBAL, global) };
    faults.typed_list(&format!("{root}.{field}"), list.as_ref())
}

/// Both lists, items of `own` in place of those of the same name.
fn by_name<T>(global: Vec<T>, own: Vec<T>, name: impl Fn(&T) -> &String) -> Vec<T> {
    let mut merged: Vec<T> =
        global.into_iter().filter(|item| !own.iter().any(|over| name(over) == name(item))).collect();
    merged.extend(own);
    merged
}

fn mounts(global: Vec<VolumeMount>, own: Vec<VolumeMount>) -> Vec<VolumeMount> {
    let merged = by_name(global, own, |mount| &mount.mount_path);
    merged.into_iter().filter(|mount| mount.name != REMOVE).collect()
}
