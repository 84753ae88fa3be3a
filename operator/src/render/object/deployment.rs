//! The engine's workload.

use std::collections::BTreeMap;

use contract::names;
use contract::role::Role;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, SeccompProfile, SecretKeySelector, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{config_map, owned, service_name};
use crate::render::workload::{CONFIG_VOLUME, DATA_VOLUME, SCRATCH_VOLUME};
use crate::render::{Checked, DataClaim, DataStore, hash, storage};

/// Name of the container's API port.
pub(super) const API_PORT_NAME: &str = "milvus";
/// Name of the container's metrics port.
pub(super) const METRICS_PORT_NAME: &str = "metrics";

/// How long a pod may take to hand its memory to the disk. Unit: seconds.
const GRACE_SECONDS: i64 = 60;
/// The component, and the name of its container.
const ROLE: Role = Role::Standalone;

/// Deployment of the standalone engine. Recreate, because one process at a time may hold the data.
pub(super) fn render(checked: &Checked) -> Deployment {
    let mut labels = checked.labels();
    labels.insert(names::LABEL_COMPONENT.to_owned(), ROLE.name().to_owned());
    let mut metadata = owned(checked, format!("{}-{}", service_name(checked), ROLE.name()));
    metadata.labels = Some(labels.clone());
    metadata.annotations = Some([(names::ANNOTATION_RENDERED.to_owned(), "true".to_owned())].into());
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: checked.workload.replicas,
            paused: checked.workload.paused.then_some(true),
            selector: LabelSelector { match_labels: Some(labels.clone()), match_expressions: None },
            strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
            revision_history_limit: Some(3),
            template: template(checked, &labels),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn template(checked: &Checked, selector: &BTreeMap<String, String>) -> PodTemplateSpec {
    let workload = &checked.workload;
    let mut labels = workload.pod_labels.clone();
    labels.extend(selector.clone());
    labels.insert(names::LABEL_SERVICE.to_owned(), "true".to_owned());
    let mut annotations = workload.pod_annotations.clone();
    if checked.config_rolls {
        let mut text = config_map::text(&checked.settings);
        text.extend(checked.hook.as_ref().map(config_map::text));
        annotations.insert(names::ANNOTATION_CONFIG_HASH.to_owned(), hash::of(&text));
    }
    let mut containers = vec![container(checked)];
    containers.extend(workload.sidecars.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers,
            init_containers: some(workload.init_containers.clone()),
            volumes: Some(volumes(checked)),
            service_account_name: Some(
                workload.service_account.clone().unwrap_or_else(|| service_name(checked)),
            ),
            image_pull_secrets: some(workload.pull_secrets.clone()),
            scheduler_name: workload.scheduler.clone(),
            node_selector: workload.node_selector.clone().filter(|selector| !selector.is_empty()),
            affinity: workload.affinity.clone(),
            tolerations: some(workload.tolerations.clone()),
            topology_spread_constraints: some(workload.spread.clone()),
            priority_class_name: workload.priority_class.clone(),
            host_network: workload.host_network.then_some(true),
            dns_policy: workload.dns_policy.clone(),
            termination_grace_period_seconds: Some(GRACE_SECONDS),
            security_context: Some(pod_security()),
            enable_service_links: Some(false),
            ..PodSpec::default()
        }),
    }
}

fn container(checked: &Checked) -> Container {
    let workload = &checked.workload;
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let (command, args) = command(checked);
    Container {
        name: ROLE.name().to_owned(),
        image: Some(checked.image.reference.clone()),
        image_pull_policy: Some(workload.pull_policy.clone()),
        command,
        args: Some(args),
        ports: Some(vec![port(API_PORT_NAME, names::API_PORT), port(METRICS_PORT_NAME, names::METRICS_PORT)]),
        env: some(environment(checked)),
        resources: workload.resources.clone(),
        volume_mounts: Some(mounts(checked)),
        startup_probe: Some(workload.probes.startup_probe.clone().unwrap_or_else(|| probe(2, 300, 2))),
        liveness_probe: Some(workload.probes.liveness_probe.clone().unwrap_or_else(|| probe(10, 6, 5))),
        readiness_probe: Some(workload.probes.readiness_probe.clone().unwrap_or_else(|| probe(5, 2, 3))),
        security_context: Some(container_security(workload.security.as_ref())),
        ..Container::default()
    }
}

/// Command and arguments: those of the image, unless the spec replaces them. `milvus` in front of them, as the peer's
/// users write it, means the image's own binary.
fn command(checked: &Checked) -> (Option<Vec<String>>, Vec<String>) {
    let settings = format!("{}/{}", names::CONFIG_DIR, names::CONFIG_KEY);
    let own = ["--config", settings.as_str(), "--data-dir", names::DATA_DIR].map(str::to_owned);
    let mut command = None;
    let mut args: Vec<String> = match checked.workload.commands.split_first() {
        None => vec!["run".to_owned(), ROLE.name().to_owned()],
        Some((first, rest)) if first.rsplit('/').next() == Some("milvus") => rest.to_vec(),
        Some((first, _)) if first == "run" => checked.workload.commands.clone(),
        Some((first, rest)) => {
            command = Some(vec![first.clone()]);
            rest.to_vec()
        }
    };
    if args.first().is_some_and(|first| first == "run") {
        args.extend(own);
        if checked.workload.with_subprocess {
            args.push("--run-with-subprocess".to_owned());
        }
    }
    (command, args)
}

/// Environment: keys of the object storage by reference, then the user's, which win.
fn environment(checked: &Checked) -> Vec<EnvVar> {
    let mut environment = Vec::new();
    if let DataStore::External(external) = &checked.store
        && let Some(secret) = &external.secret
    {
        for (variable, key) in storage::KEYS {
            environment.push(EnvVar {
                name: variable.to_owned(),
                value: None,
                value_from: Some(EnvVarSource {
                    secret_key_ref: Some(SecretKeySelector {
                        name: secret.clone(),
                        key: key.to_owned(),
                        optional: None,
                    }),
                    ..EnvVarSource::default()
                }),
            });
        }
    }
    environment.retain(|ours| !checked.workload.env.iter().any(|theirs| theirs.name == ours.name));
    environment.extend(checked.workload.env.clone());
    environment
}

/// Name of the data volume: `data`, as mounts of the peer's users call it, unless a volume of theirs has that name.
fn data_volume(checked: &Checked) -> &'static str {
    let taken = checked.workload.volumes.iter().any(|volume| volume.name == DATA_VOLUME);
    if taken { "milvus-data" } else { DATA_VOLUME }
}

fn volumes(checked: &Checked) -> Vec<Volume> {
    let claim_name = match &checked.claim {
        DataClaim::Existing(name) => name.clone(),
        DataClaim::Ours { .. } => storage::claim_name(&checked.name),
    };
    let mut volumes = vec![
        Volume {
            name: CONFIG_VOLUME.to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: checked.config_map.clone(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: data_volume(checked).to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource { claim_name, read_only: None }),
            ..Volume::default()
        },
        Volume {
            name: SCRATCH_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ];
    volumes.retain(|ours| !checked.workload.volumes.iter().any(|theirs| theirs.name == ours.name));
    volumes.extend(checked.workload.volumes.clone());
    volumes
}

fn mounts(checked: &Checked) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only: Option<bool>| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount(CONFIG_VOLUME, names::CONFIG_DIR, Some(true)),
        mount(data_volume(checked), names::DATA_DIR, None),
        mount(SCRATCH_VOLUME, "/tmp", None),
    ];
    mounts.retain(|ours| !checked.workload.mounts.iter().any(|theirs| theirs.mount_path == ours.mount_path));
    mounts.extend(checked.workload.mounts.clone());
    mounts
}

fn probe(period_seconds: i32, failure_threshold: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(names::HEALTH_PATH.to_owned()),
            port: IntOrString::Int(i32::from(names::METRICS_PORT)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(timeout_seconds),
        ..Probe::default()
    }
}

/// What Pod Security "restricted" asks of a pod, and the group that owns the volume.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(names::IMAGE_USER),
        run_as_group: Some(names::IMAGE_USER),
        fs_group: Some(names::IMAGE_USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// What it asks of a container; fields the user sets take the place of ours.
fn container_security(over: Option<&SecurityContext>) -> SecurityContext {
    let over = over.cloned().unwrap_or_default();
    SecurityContext {
        allow_privilege_escalation: over.allow_privilege_escalation.or(Some(false)),
        read_only_root_filesystem: over.read_only_root_filesystem.or(Some(true)),
        capabilities: over
            .capabilities
            .or_else(|| Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None })),
        ..over
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
