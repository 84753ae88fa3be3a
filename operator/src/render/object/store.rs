//! Stores beside the database, as plain objects: StatefulSet, Services, budget.
//!
//! They have no owner: data outlives its object unless the deletion policy says otherwise.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, Service, ServicePort,
    ServiceSpec, TCPSocketAction, TopologySpreadConstraint, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deployment::{container_security, pod_security};
use super::secret::variable;
use crate::render::{Checked, Store, StoreKind};

/// Port of calls between members of etcd.
pub(super) const ETCD_PEER_PORT: u16 = 2380;
/// Port of etcd's health and metrics.
pub(super) const ETCD_METRICS_PORT: u16 = 2381;
/// Volume of a member's data, and where it is mounted.
const DATA: &str = "data";
/// Folder of the data.
const DATA_DIR: &str = "/data";

/// The objects of one store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreObjects {
    /// Which store.
    pub kind: StoreKind,
    /// Where its clients connect, and where its members find each other.
    pub services: Vec<Service>,
    /// Evictions at once, where there are several members.
    pub budget: Option<PodDisruptionBudget>,
    /// Its processes.
    pub stateful_set: StatefulSet,
}

/// Labels that select the pods of a store. Its name is not `milvus`, so that nothing which selects the database's pods
/// selects them.
pub(super) fn labels(checked: &Checked, kind: StoreKind) -> BTreeMap<String, String> {
    let word = match kind {
        StoreKind::Etcd => "etcd",
        StoreKind::Objects => "minio",
    };
    let mut labels = checked.labels();
    labels.insert(names::LABEL_NAME.to_owned(), word.to_owned());
    labels.insert(names::LABEL_COMPONENT.to_owned(), word.to_owned());
    labels
}

/// The objects of a store.
pub(super) fn render(checked: &Checked, store: &Store) -> StoreObjects {
    let name = store.kind.name(&checked.name);
    let labels = labels(checked, store.kind);
    let mut services = vec![service(checked, &name, store.kind, Reach::Clients)];
    if store.kind == StoreKind::Etcd {
        services.push(service(checked, &headless(&name), store.kind, Reach::Members));
    }
    let budget = (store.members > 1).then(|| PodDisruptionBudget {
        metadata: metadata(checked, name.clone(), &labels),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(&labels)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    });
    StoreObjects {
        kind: store.kind,
        services,
        budget,
        stateful_set: stateful_set(checked, store, name, labels),
    }
}

fn headless(name: &str) -> String {
    format!("{name}-headless")
}

fn metadata(checked: &Checked, name: String, labels: &BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(checked.namespace.clone()),
        labels: Some(labels.clone()),
        annotations: Some([(names::ANNOTATION_RENDERED.to_owned(), "true".to_owned())].into()),
        ..ObjectMeta::default()
    }
}

fn selector(labels: &BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels.clone()), match_expressions: None }
}

/// For whom a Service is.
#[derive(Clone, Copy, PartialEq)]
enum Reach {
    Clients,
    Members,
}

fn service(checked: &Checked, name: &str, kind: StoreKind, reach: Reach) -> Service {
    let labels = labels(checked, kind);
    let port = |name: &str, number: u16| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let word = match kind {
        StoreKind::Etcd => "client",
        StoreKind::Objects => "http",
    };
    let mut ports = vec![port(word, kind.port())];
    if reach == Reach::Members {
        ports.push(port("peer", ETCD_PEER_PORT));
    }
    Service {
        metadata: metadata(checked, name.to_owned(), &labels),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: (reach == Reach::Members).then(|| "None".to_owned()),
            // Members have to find each other before they are ready.
            publish_not_ready_addresses: (reach == Reach::Members).then_some(true),
            selector: Some(labels),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn stateful_set(
    checked: &Checked,
    store: &Store,
    name: String,
    labels: BTreeMap<String, String>,
) -> StatefulSet {
    let claim = store.size.clone().map(|size| PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(DATA.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: store.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), size)].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    });
    StatefulSet {
        metadata: metadata(checked, name.clone(), &labels),
        spec: Some(StatefulSetSpec {
            replicas: Some(store.members),
            service_name: Some(match store.kind {
                StoreKind::Etcd => headless(&name),
                StoreKind::Objects => name.clone(),
            }),
            // Members of etcd are ready only together.
            pod_management_policy: Some("Parallel".to_owned()),
            selector: selector(&labels),
            template: template(checked, store, &name, &labels, claim.is_none()),
            volume_claim_templates: claim.map(|claim| vec![claim]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn template(
    checked: &Checked,
    store: &Store,
    name: &str,
    labels: &BTreeMap<String, String>,
    scratch: bool,
) -> PodTemplateSpec {
    let mut all = store.pod_labels.clone();
    all.extend(labels.clone());
    let spread = |key: &str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(labels)),
        ..TopologySpreadConstraint::default()
    };
    let spreads = vec![spread("topology.kubernetes.io/zone"), spread("kubernetes.io/hostname")];
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all),
            annotations: (!store.pod_annotations.is_empty()).then(|| store.pod_annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(checked, store, name)],
            volumes: scratch.then(|| {
                vec![Volume {
                    name: DATA.to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource::default()),
                    ..Volume::default()
                }]
            }),
            node_selector: store.node_selector.clone(),
            affinity: store.affinity.clone(),
            tolerations: store.tolerations.clone(),
            topology_spread_constraints: (store.members > 1).then_some(spreads),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(pod_security()),
            termination_grace_period_seconds: Some(30),
            ..PodSpec::default()
        }),
    }
}

fn container(checked: &Checked, store: &Store, name: &str) -> Container {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let (word, command, args, env, ports) = match store.kind {
        StoreKind::Etcd => (
            "etcd",
            Some(vec!["etcd".to_owned()]),
            etcd_arguments(checked, store, name),
            vec![pod_name()],
            vec![
                port("client", store.kind.port()),
                port("peer", ETCD_PEER_PORT),
                port("metrics", ETCD_METRICS_PORT),
            ],
        ),
        StoreKind::Objects => (
            "minio",
            // The image's own entry point takes arguments; where its binary is differs between builds.
            None,
            ["--port", ":9000", "posix", DATA_DIR].map(str::to_owned).into(),
            vec![
                variable("ROOT_ACCESS_KEY", name, names::SECRET_ACCESS_KEY),
                variable("ROOT_SECRET_KEY", name, names::SECRET_SECRET_KEY),
            ],
            vec![port("http", store.kind.port())],
        ),
    };
    Container {
        name: word.to_owned(),
        image: Some(store.image.clone()),
        image_pull_policy: Some(store.pull_policy.clone()),
        command,
        args: Some(args),
        env: Some(env),
        ports: Some(ports),
        resources: store.resources.clone(),
        volume_mounts: Some(vec![VolumeMount {
            name: DATA.to_owned(),
            mount_path: DATA_DIR.to_owned(),
            ..VolumeMount::default()
        }]),
        readiness_probe: Some(readiness(store.kind)),
        security_context: Some(container_security(None)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// Arguments of a member of etcd. All members are named from the start, so none has to be added later.
fn etcd_arguments(checked: &Checked, store: &Store, name: &str) -> Vec<String> {
    let domain = format!("{}.{}", headless(name), checked.namespace);
    let peer = |member: &str| format!("http://{member}.{domain}:{ETCD_PEER_PORT}");
    let members: Vec<String> = (0..store.members)
        .map(|at| format!("{name}-{at}"))
        .map(|member| format!("{member}={}", peer(&member)))
        .collect();
    vec![
        "--name=$(POD_NAME)".to_owned(),
        format!("--data-dir={DATA_DIR}/etcd"),
        format!("--listen-client-urls=http://0.0.0.0:{}", store.kind.port()),
        format!("--advertise-client-urls=http://$(POD_NAME).{domain}:{}", store.kind.port()),
        format!("--listen-peer-urls=http://0.0.0.0:{ETCD_PEER_PORT}"),
        format!("--initial-advertise-peer-urls={}", peer("$(POD_NAME)")),
        format!("--listen-metrics-urls=http://0.0.0.0:{ETCD_METRICS_PORT}"),
        format!("--initial-cluster={}", members.join(",")),
        format!("--initial-cluster-token={}-{}", checked.namespace, name),
        "--initial-cluster-state=new".to_owned(),
        "--auto-compaction-mode=periodic".to_owned(),
        "--auto-compaction-retention=30m".to_owned(),
        "--quota-backend-bytes=4294967296".to_owned(),
    ]
}

fn pod_name() -> EnvVar {
    EnvVar {
        name: "POD_NAME".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "metadata.name".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn readiness(kind: StoreKind) -> Probe {
    let mut probe = Probe {
        period_seconds: Some(5),
        failure_threshold: Some(3),
        timeout_seconds: Some(3),
        ..Probe::default()
    };
    match kind {
        StoreKind::Etcd => {
            probe.http_get = Some(HTTPGetAction {
                path: Some("/health".to_owned()),
                port: IntOrString::Int(i32::from(ETCD_METRICS_PORT)),
                ..HTTPGetAction::default()
            });
        }
        StoreKind::Objects => {
            probe.tcp_socket =
                Some(TCPSocketAction { port: IntOrString::Int(i32::from(kind.port())), host: None });
        }
    }
    probe
}

/// The StatefulSet to apply where one exists: volumes and members cannot change.
#[must_use]
pub fn fit_stateful_set(mut planned: StatefulSet, existing: &StatefulSet) -> StatefulSet {
    let (Some(wanted), Some(found)) = (planned.spec.as_mut(), existing.spec.as_ref()) else { return planned };
    wanted.volume_claim_templates = found.volume_claim_templates.clone().map(|claims| {
        let own = |claim: PersistentVolumeClaim| PersistentVolumeClaim {
            metadata: ObjectMeta { name: claim.metadata.name, ..ObjectMeta::default() },
            spec: claim.spec,
            status: None,
        };
        claims.into_iter().map(own).collect()
    });
    wanted.pod_management_policy = found.pod_management_policy.clone();
    wanted.service_name = found.service_name.clone();
    planned
}
