//! The engine's workloads: one Deployment for each component, or for each group of one.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, Lifecycle, LifecycleHandler,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile, SecurityContext, SleepAction,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{config_map, owned, secret, service_name, volumes, workload_name};
use crate::crd::Mode;
use crate::render::dependency::Log;
use crate::render::workload::Workload;
use crate::render::{Checked, Component, DataStore, hash, quantity, settings, storage};

/// Name of the container's API port.
pub(super) const API_PORT_NAME: &str = "milvus";
/// Name of the container's metrics port.
pub(super) const METRICS_PORT_NAME: &str = "metrics";

/// Name of the port of calls between nodes.
const INTERNAL_PORT_NAME: &str = "internal";

/// How long a pod may take to end what is under way. Unit: seconds.
const GRACE_SECONDS: i64 = 60;
/// How long a pod without a limit of memory may take to hand over what it has. Unit: seconds.
const HAND_OVER_SECONDS: i64 = 1_800;
/// The least that others take over of what a pod holds, in any second. Unit: bytes.
const HAND_OVER_RATE: f64 = 8_388_608.0;
/// How long a proxy still takes new connections after it was told to end, until every node has heard of it. Unit: seconds.
const LEAVE_SECONDS: i64 = 5;

/// Deployment of one workload.
pub(super) fn render(checked: &Checked, workload: &Workload) -> Deployment {
    let labels = labels(checked, workload);
    let mut metadata = owned(checked, workload_name(checked, workload));
    let group =
        workload.resource_group.iter().map(|group| (names::LABEL_RESOURCE_GROUP.to_owned(), group.clone()));
    metadata.labels = Some(labels.clone().into_iter().chain(group).collect());
    metadata.annotations = Some([(names::ANNOTATION_RENDERED.to_owned(), "true".to_owned())].into());
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: workload.replicas,
            paused: workload.pod.paused.then_some(true),
            selector: LabelSelector { match_labels: Some(labels.clone()), match_expressions: None },
            strategy: Some(strategy(checked, workload)),
            revision_history_limit: Some(3),
            progress_deadline_seconds: checked.rollout.progress_deadline_seconds,
            template: template(checked, workload, &labels),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Fits a planned workload to the one that exists, where a change of settings is to restart no pod: the hash of the settings stays
/// as it is, or away where there is none. Pods that began with older settings are renewed once that is allowed again.
#[must_use]
pub fn fit_deployment(mut planned: Deployment, existing: &Deployment) -> Deployment {
    let hash = |spec: &DeploymentSpec| {
        spec.template.metadata.as_ref()?.annotations.as_ref()?.get(names::ANNOTATION_CONFIG_HASH).cloned()
    };
    let kept = existing.spec.as_ref().and_then(hash);
    if let Some(metadata) = planned.spec.as_mut().and_then(|spec| spec.template.metadata.as_mut()) {
        let mut fitted = metadata.annotations.take().unwrap_or_default();
        match kept {
            Some(hash) => fitted.insert(names::ANNOTATION_CONFIG_HASH.to_owned(), hash),
            None => fitted.remove(names::ANNOTATION_CONFIG_HASH),
        };
        metadata.annotations = (!fitted.is_empty()).then_some(fitted);
    }
    planned
}

/// Labels that select the pods of one workload.
pub(super) fn labels(checked: &Checked, workload: &Workload) -> BTreeMap<String, String> {
    let mut labels = checked.labels();
    labels.insert(names::LABEL_COMPONENT.to_owned(), workload.component.name().to_owned());
    if let Some(group) = &workload.group {
        labels.insert(names::LABEL_GROUP.to_owned(), group.clone());
    }
    labels
}

/// A new pod serves before an old one goes, but where only one process at a time may hold the data, and where a spec says
/// that coordinators have no standby.
fn strategy(checked: &Checked, workload: &Workload) -> DeploymentStrategy {
    let alone = match workload.component {
        Component::Standalone => true,
        component => component.role() == contract::role::Role::Coordinator && !checked.standby,
    };
    match alone {
        true => DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None },
        false => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        },
    }
}

/// How long a pod may take to end. One that holds data ends by itself once nothing is left, or once nothing has been taken over
/// for `queryNode.gracefulStopTimeout`; this bounds only one that does neither, by the time that all it can hold takes.
fn grace_seconds(checked: &Checked, workload: &Workload) -> i64 {
    if !workload.component.hands_over() {
        return GRACE_SECONDS;
    }
    let limits = workload.pod.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let memory = limits.and_then(|limits| quantity::bytes(limits.get("memory")?));
    let patience = checked.patience_seconds.saturating_mul(2).saturating_add(GRACE_SECONDS);
    match memory {
        Some(bytes) => patience.saturating_add((bytes / HAND_OVER_RATE) as i64),
        None => HAND_OVER_SECONDS.max(patience),
    }
}

fn template(checked: &Checked, workload: &Workload, selector: &BTreeMap<String, String>) -> PodTemplateSpec {
    let pod = &workload.pod;
    let mut labels = pod.pod_labels.clone();
    labels.extend(selector.clone());
    if workload.component.serves_clients() {
        labels.insert(names::LABEL_SERVICE.to_owned(), "true".to_owned());
    }
    let mut annotations = pod.pod_annotations.clone();
    let mut text = settings::concerning(&checked.settings.plain, workload.component);
    text.extend(checked.hook.as_ref().map(config_map::text));
    text.push_str(&secret::fingerprint(checked));
    annotations.insert(names::ANNOTATION_CONFIG_HASH.to_owned(), hash::of(&text));
    let engine = container(checked, workload);
    if let Some(print) = secrets_print(checked, &engine) {
        annotations.insert(names::ANNOTATION_SECRETS_HASH.to_owned(), print);
    }
    let mut containers = vec![engine];
    containers.extend(pod.sidecars.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers,
            init_containers: some(pod.init_containers.clone()),
            volumes: Some(volumes::volumes(checked, workload)),
            service_account_name: Some(pod.service_account.clone().unwrap_or_else(|| service_name(checked))),
            image_pull_secrets: some(pod.pull_secrets.clone()),
            scheduler_name: pod.scheduler.clone(),
            node_selector: pod.node_selector.clone().filter(|selector| !selector.is_empty()),
            affinity: pod.affinity.clone(),
            tolerations: some(pod.tolerations.clone()),
            topology_spread_constraints: some(spread(checked, workload, selector)),
            priority_class_name: pod.priority_class.clone(),
            host_network: pod.host_network.then_some(true),
            dns_policy: pod.dns_policy.clone(),
            termination_grace_period_seconds: Some(grace_seconds(checked, workload)),
            security_context: Some(pod_security()),
            enable_service_links: Some(false),
            ..PodSpec::default()
        }),
    }
}

/// Changes when a value does that the engine reads from a Secret at its start alone: by environment, and the authority of
/// Kafka's certificates. Other files are read again while it runs, so that a new certificate restarts nobody.
fn secrets_print(checked: &Checked, engine: &Container) -> Option<String> {
    let variables = engine.env.iter().flatten();
    let by_environment =
        variables.filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
    let mut read: Vec<(&str, &str)> =
        by_environment.map(|from| (from.name.as_str(), from.key.as_str())).collect();
    if let Log::Kafka { secret: Some(name), authority: true, .. } = &checked.log {
        read.push((name, names::SECRET_KAFKA_CA));
    }
    let prints: Vec<&str> = read
        .into_iter()
        .filter_map(|(secret, key)| checked.secrets.get(secret)?.get(key).map(String::as_str))
        .collect();
    (!prints.is_empty()).then(|| prints.join("-"))
}

/// The constraints of the spec; without any, pods of a cluster are spread over zones and nodes as well as it goes.
fn spread(
    checked: &Checked,
    workload: &Workload,
    selector: &BTreeMap<String, String>,
) -> Vec<TopologySpreadConstraint> {
    if checked.mode == Mode::Standalone || workload.pod.spread.is_some() {
        return workload.pod.spread.clone().unwrap_or_default();
    }
    let over = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector { match_labels: Some(selector.clone()), match_expressions: None }),
        // Pods of an old template are on their way out and count for nothing.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    vec![over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")]
}

fn container(checked: &Checked, workload: &Workload) -> Container {
    let pod = &workload.pod;
    let (command, args) = command(workload);
    let probes = &pod.probes;
    Container {
        name: workload.component.name().to_owned(),
        image: Some(workload.image.reference.clone()),
        image_pull_policy: Some(pod.pull_policy.clone()),
        command,
        args: Some(args),
        ports: Some(ports(workload.component)),
        env: some(environment(checked, workload)),
        resources: pod.resources.clone(),
        volume_mounts: Some(volumes::mounts(checked, workload)),
        // A process that waits for an address that is away must not be restarted for it: only readiness asks whether it
        // serves.
        startup_probe: Some(
            probes.startup_probe.clone().unwrap_or_else(|| probe(names::LIVE_PATH, 2, 300, 2)),
        ),
        liveness_probe: Some(
            probes.liveness_probe.clone().unwrap_or_else(|| probe(names::LIVE_PATH, 10, 6, 5)),
        ),
        readiness_probe: Some(
            probes.readiness_probe.clone().unwrap_or_else(|| probe(names::HEALTH_PATH, 5, 2, 3)),
        ),
        lifecycle: (workload.component == Component::Proxy).then(leave_slowly),
        security_context: Some(container_security(pod.security.as_ref())),
        // The last lines of a process that could not start name the setting that is wrong.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn leave_slowly() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction { seconds: LEAVE_SECONDS }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn ports(component: Component) -> Vec<ContainerPort> {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mut ports = Vec::new();
    if component.serves_clients() {
        ports.push(port(API_PORT_NAME, names::API_PORT));
    }
    ports.push(port(METRICS_PORT_NAME, names::METRICS_PORT));
    ports.push(port(INTERNAL_PORT_NAME, names::INTERNAL_PORT));
    ports
}

/// Command and arguments: those of the image, unless the spec replaces them. `milvus` in front of them, as the peer's
/// users write it, means the image's own binary.
fn command(workload: &Workload) -> (Option<Vec<String>>, Vec<String>) {
    let settings = format!("{}/{}", names::CONFIG_DIR, names::CONFIG_KEY);
    let own = ["--config", settings.as_str(), "--data-dir", names::DATA_DIR].map(str::to_owned);
    let mut command = None;
    let mut args: Vec<String> = match workload.pod.commands.split_first() {
        None => vec!["run".to_owned(), workload.component.name().to_owned()],
        Some((first, rest)) if first.rsplit('/').next() == Some("milvus") => rest.to_vec(),
        Some((first, _)) if first == "run" => workload.pod.commands.clone(),
        Some((first, rest)) => {
            command = Some(vec![first.clone()]);
            rest.to_vec()
        }
    };
    if args.first().is_some_and(|first| first == "run") {
        args.extend(own);
        if workload.pod.with_subprocess {
            args.push("--run-with-subprocess".to_owned());
        }
    }
    (command, args)
}

/// Environment: what Secrets hold by reference, then the user's, which win.
fn environment(checked: &Checked, workload: &Workload) -> Vec<EnvVar> {
    let mut environment = Vec::new();
    if let DataStore::Bucket(bucket) = &checked.store
        && let Some(name) = &bucket.secret
    {
        environment.extend(storage::KEYS.map(|(variable, key)| secret::variable(variable, name, key)));
    }
    if let Log::Kafka { secret: Some(name), .. } = &checked.log {
        environment.push(secret::variable(names::ENV_KAFKA_USER, name, names::SECRET_KAFKA_USER));
        environment.push(secret::variable(names::ENV_KAFKA_PASSWORD, name, names::SECRET_KAFKA_PASSWORD));
    }
    let settings = secret::name(checked);
    let keys = checked.settings.secret.keys();
    environment.extend(keys.map(|key| secret::variable(key, &settings, key)));
    environment.retain(|ours| !workload.pod.env.iter().any(|theirs| theirs.name == ours.name));
    environment.extend(workload.pod.env.clone());
    environment
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32, timeout_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
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
pub(super) fn pod_security() -> PodSecurityContext {
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
pub(super) fn container_security(over: Option<&SecurityContext>) -> SecurityContext {
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

pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
