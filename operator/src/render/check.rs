//! `Milvus` → [`Checked`]: the one place where a spec is read.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::component::Written;
use super::dependency::{self, Facts, Log, MetaStore, Prints, Subject};
use super::fields::Faults;
use super::settings::UserSettings;
use super::store::Store;
use super::workload::{self, Workload};
use super::{
    Catalog, Certificates, Component, DataClaim, DataStore, Image, Level, certificates, component, image,
    resource_group, settings, storage,
};
use crate::crd::{
    Components, Dependencies, ImageUpdateMode, Ingress, Milvus, MilvusResourceGroup, Mode, MsgStreamType,
    Open, Rollout, Serving, TargetPortType,
};

pub use super::storage::deletes_data;

/// What the installation provides to every object.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// Image of the engine.
    pub engine_image: String,
    /// Pull policy where the spec has none; empty means IfNotPresent.
    pub pull_policy: String,
    /// Image of etcd, where it runs beside a database.
    pub etcd_image: String,
    /// Image of the S3 server, where it runs beside a database.
    pub storage_image: String,
    /// Namespace of the operator; empty outside a cluster.
    pub home: String,
    /// Upstream images → ours.
    pub catalog: Catalog,
}

/// How metrics are scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// How often, as Prometheus writes durations.
    pub interval: String,
    /// Labels that every metric gets.
    pub labels: BTreeMap<String, String>,
}

/// One field that cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its class.
    pub reason: FaultReason,
    /// The field, as `kubectl explain` names it, with positions in lists.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// Class of a wrong field; becomes the reason of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// The value is not what the field takes.
    InvalidField,
    /// The value is right and this version cannot do it.
    NotSupported,
    /// The API server refused the object that the spec asks for.
    Refused,
    /// The image is no engine of Redkite's.
    EngineRefused,
    /// The pods are those of another operator.
    ForeignRelease,
    /// Redkite would be pointed at data of Milvus's own format.
    ForeignData,
}

impl FaultReason {
    /// The word in a condition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidField => "InvalidField",
            Self::NotSupported => "NotSupported",
            Self::Refused => "RefusedByApiServer",
            Self::EngineRefused => "EngineRefused",
            Self::ForeignRelease => "ForeignRelease",
            Self::ForeignData => "ForeignData",
        }
    }
}

/// A `Milvus` object that can be carried out. Exists only if every field was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Name of the object, and the root of all names.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity, for owner references.
    pub uid: String,
    /// Generation of the spec that was checked.
    pub generation: i64,
    /// How it is made up.
    pub mode: Mode,
    /// What the components run where they name nothing else.
    pub image: Image,
    /// Which components that image stands for.
    pub level: Level,
    /// Version that the spec names.
    pub version: Option<String>,
    /// Order of a change of image.
    pub update: ImageUpdateMode,
    /// What is done when a rollout does not come right.
    pub rollout: Rollout,
    /// Whether coordinators stand by while another leads.
    pub standby: bool,
    /// The workloads, in the order of an upgrade.
    pub workloads: Vec<Workload>,
    /// Deployments of resource groups that are wrong or on their way out: they are neither changed nor removed.
    pub left_alone: Vec<String>,
    /// How clients reach it.
    pub serving: Serving,
    /// Whether the Service names its target ports by number.
    pub target_ports_by_number: bool,
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Content of `user.yaml`, its secrets apart.
    pub settings: UserSettings,
    /// Content of `hook.yaml`.
    pub hook: Option<Value>,
    /// Whether a change of settings restarts the pods that it concerns.
    pub config_rolls: bool,
    /// `queryNode.gracefulStopTimeout`. Unit: seconds.
    pub patience_seconds: i64,
    /// Where metadata is.
    pub meta: MetaStore,
    /// Where objects are.
    pub store: DataStore,
    /// Where what is not sealed yet is.
    pub log: Log,
    /// Stores that run beside the database.
    pub stores: Vec<Store>,
    /// Where files are: of a standalone; of each pod of a cluster, if the spec asks for persistence.
    pub claim: Option<DataClaim>,
    /// The stream the spec asks for.
    pub stream: MsgStreamType,
    /// How metrics are scraped; `None` if the spec asks for no monitor.
    pub metrics: Option<Metrics>,
    /// Whether budgets for evictions are made.
    pub budgets: bool,
    /// Who may connect; `None` if no policy is asked for, empty for everybody.
    pub clients: Option<Vec<NetworkPolicyPeer>>,
    /// What the pods show and trust.
    pub certificates: Certificates,
    /// Prints of the Secrets that the spec names and that exist.
    pub secrets: BTreeMap<String, Prints>,
    /// Namespace of the operator.
    pub home: String,
    /// What was accepted and is not used.
    pub notes: Vec<String>,
}

impl Checked {
    /// The Ingress the spec asks for.
    #[must_use]
    pub fn ingress(&self) -> Option<&Ingress> {
        self.serving.ingress.as_ref()
    }

    /// Port of the client Service.
    #[must_use]
    pub fn port(&self) -> i32 {
        self.serving.port.filter(|port| *port > 0).unwrap_or(i32::from(names::API_PORT))
    }

    /// Labels that select what belongs to this object.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (names::LABEL_INSTANCE, self.name.as_str()),
            (names::LABEL_MANAGED_BY, names::MANAGED_BY_VALUE),
            (names::LABEL_NAME, names::NAME_VALUE),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }
}

/// Reads a spec whole.
///
/// # Errors
/// Every field that cannot be carried out. Then nothing of the object is rendered.
pub fn check(milvus: &Milvus, platform: &Platform, facts: &Facts) -> Result<Checked, Vec<Fault>> {
    let mut faults = Faults::default();
    let (no_components, no_dependencies) = (Components::default(), Dependencies::default());
    let components = milvus.spec.components.as_ref().unwrap_or(&no_components);
    let dependencies = milvus.spec.dependencies.as_ref().unwrap_or(&no_dependencies);
    let config = open_map(milvus.spec.config.as_ref().map(Open::value), "spec.config", &mut faults);
    let hook = open_map(milvus.spec.hook_config.as_ref().map(Open::value), "spec.hookConfig", &mut faults);
    let mode = milvus.spec.mode;
    let name = milvus.name_any();
    let namespace = milvus.namespace().unwrap_or_default();
    check_name(&name, &mut faults);
    let subject = Subject { name: &name, namespace: &namespace, mode, config };
    let foundation = dependency::read(&subject, dependencies, platform, facts, &mut faults);

    let overriding = milvus.annotations().get(names::ANNOTATION_IMAGE).map(String::as_str);
    let resolve =
        |named: Option<&str>| image::resolve(overriding, named, &platform.catalog, &platform.engine_image);
    let global_image = components.global.image.as_deref().filter(|image| !image.is_empty());
    let level = image::level(components.global.version.as_deref(), global_image, &platform.catalog);
    let wanted = component::wanted(mode, components, level);
    let read = |component: Component, written: &Written<'_>, faults: &mut Faults| {
        workload::read(component, &components.global, written, &platform.pull_policy, &resolve, faults)
    };
    let mut workloads: Vec<Workload> = wanted
        .iter()
        .flat_map(|component| read(*component, &component::written(components, *component), &mut faults))
        .collect();
    let own = component::written(components, Component::QueryNode).own;
    // What is wrong with it was found above.
    let query_nodes = read(Component::QueryNode, &Written { own, groups: &[] }, &mut Faults::default());
    let left_alone = add_resource_groups(milvus, &facts.groups, query_nodes.first(), &mut workloads);
    check_workload_names(&name, &workloads, &mut faults);
    check_images(overriding.is_some(), platform, &workloads, &mut faults);
    check_autoscaling(milvus, components, &wanted, &mut faults);
    let own = own_settings(mode, &wanted);
    let redkite = milvus.spec.redkite.as_ref();
    let asked = redkite.and_then(|redkite| redkite.certificates.as_ref());
    let has_calls = certificates::has_node_calls(milvus);
    let certificates = certificates::read(asked, has_calls, &name, &namespace, &mut faults);
    let checked = Checked {
        mode,
        image: match mode {
            Mode::Standalone => workloads.first().map(|workload| workload.image.clone()),
            Mode::Cluster => None,
        }
        .unwrap_or_else(|| resolve(global_image)),
        level,
        version: components.global.version.clone(),
        update: components.image_update_mode.unwrap_or(ImageUpdateMode::RollingUpgrade),
        rollout: redkite.and_then(|redkite| redkite.rollout.clone()).unwrap_or_default(),
        standby: components.enable_rolling_update != Some(false),
        serving: serving(mode, components),
        target_ports_by_number: components.target_port_type == Some(TargetPortType::Integer),
        config_map: text_or(components.active_config_map.as_ref(), &name),
        settings: settings::user(&name, config, &own, &foundation, &certificates::settings(&certificates)),
        hook: hook.cloned(),
        config_rolls: components.update_config_map_only != Some(true),
        patience_seconds: patience_seconds(config),
        claim: match mode {
            Mode::Standalone => Some(storage::claim(dependencies, &mut faults)),
            Mode::Cluster => storage::claim_per_pod(dependencies, &mut faults),
        },
        stream: dependencies.msg_stream_type.unwrap_or_default(),
        metrics: (components.disable_metric != Some(true)).then(|| Metrics {
            interval: text_or(components.metric_interval.as_ref(), "30s"),
            labels: components.metric_labels.clone().unwrap_or_default(),
        }),
        budgets: redkite.and_then(|redkite| redkite.disruption_budgets) != Some(false),
        clients: clients(redkite.and_then(|redkite| redkite.network_policy.as_ref()), &mut faults),
        certificates,
        secrets: facts.secrets.clone(),
        home: platform.home.clone(),
        notes: notes(
            &subject,
            components,
            dependencies,
            level,
            &foundation.log,
            asked.filter(|_| !has_calls),
        ),
        uid: milvus.uid().unwrap_or_default(),
        generation: milvus.metadata.generation.unwrap_or_default(),
        workloads,
        left_alone,
        meta: foundation.meta,
        store: foundation.store,
        log: foundation.log,
        stores: foundation.stores,
        namespace: namespace.clone(),
        name: name.clone(),
    };
    if faults.0.is_empty() { Ok(checked) } else { Err(faults.0) }
}

/// Puts the workloads of resource groups behind those of query nodes, of which they have what the spec says of the latter. Returns the
/// names of the Deployments that are to be left alone.
fn add_resource_groups(
    milvus: &Milvus,
    groups: &[MilvusResourceGroup],
    query_nodes: Option<&Workload>,
    workloads: &mut Vec<Workload>,
) -> Vec<String> {
    let mut left_alone = Vec::new();
    for group in groups {
        if !is_wanted(group, milvus, groups) {
            left_alone.push(resource_group::resource_group_workload(group));
            continue;
        }
        let last = workloads.iter().rposition(|workload| workload.component == Component::QueryNode);
        if let (Some(query_nodes), Some(last)) = (query_nodes, last) {
            workloads.insert(last + 1, resource_group::read(group, query_nodes));
        }
    }
    left_alone
}

/// What is written, unless that is nothing.
fn text_or(written: Option<&String>, default: &str) -> String {
    written.filter(|text| !text.is_empty()).map_or_else(|| default.to_owned(), Clone::clone)
}

/// Whether a resource group is to have pods as it says.
fn is_wanted(group: &MilvusResourceGroup, milvus: &Milvus, all: &[MilvusResourceGroup]) -> bool {
    group.metadata.deletion_timestamp.is_none()
        && !resource_group::is_taken(group, all)
        && resource_group::resource_group_faults(group, milvus).is_empty()
}

/// Whether the engine's nodes take only each other's calls, over TLS.
#[must_use]
pub fn nodes_need_tls(milvus: &Milvus) -> bool {
    let config = milvus.spec.config.as_ref().map(Open::value);
    let enabled = config.and_then(|config| config.pointer("/common/security/internaltlsEnabled"));
    enabled.is_some_and(|enabled| enabled.as_bool().or_else(|| enabled.as_str()?.parse().ok()) == Some(true))
}

/// Settings that only the operator knows.
fn own_settings(mode: Mode, wanted: &[Component]) -> Value {
    let token = format!("{}/{}", names::ADMIN_DIR, names::ADMIN_TOKEN_KEY);
    let mut own = json!({"redkite": {"admin": {"tokenFile": token}}});
    if mode == Mode::Cluster && !wanted.contains(&Component::StreamingNode) {
        // Somebody has to own the channels of the log.
        own["redkite"]["datanode"] = json!({"writes": true});
    }
    own
}

fn serving(mode: Mode, components: &Components) -> Serving {
    let found = match mode {
        Mode::Standalone => components.standalone.as_ref().map(|standalone| &standalone.serving),
        Mode::Cluster => components.proxy.as_ref().map(|proxy| &proxy.serving),
    };
    found.cloned().unwrap_or_default()
}

/// How long a node that is to stop waits while nothing is taken over from it.
fn patience_seconds(config: Option<&Value>) -> i64 {
    let default = contract::settings::Settings::default().query_node.graceful_stop_timeout;
    let written = config.and_then(|config| config.pointer("/queryNode/gracefulStopTimeout"));
    let written = written.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
    written.filter(|seconds| *seconds >= 0).unwrap_or_else(|| i64::try_from(default).unwrap_or(i64::MAX))
}

fn clients(
    policy: Option<&crate::crd::NetworkPolicy>,
    faults: &mut Faults,
) -> Option<Vec<NetworkPolicyPeer>> {
    let policy = policy.filter(|policy| policy.enabled == Some(true))?;
    Some(faults.open_items("spec.redkite.networkPolicy.clients", policy.clients.as_ref()))
}

/// An image of upstream's that was named to run as it is: our pods are made for our engine, and the data is in its format.
fn check_images(overridden: bool, platform: &Platform, workloads: &[Workload], faults: &mut Faults) {
    let runs = workloads.iter().map(|workload| workload.image.reference.as_str());
    let Some(wrong) =
        runs.filter(|image| *image != platform.engine_image).find(|image| image::is_milvus(image))
    else {
        return;
    };
    let path = if overridden { "metadata.annotations[redkite.io/image]" } else { "spec.components.image" };
    let by = if overridden { "" } else { ", by the image catalog" };
    let message = format!(
        "{wrong} is an image of Milvus{by}: the pods need one of Redkite's. A spec may name Milvus's images, for which \
         Redkite's own runs"
    );
    faults.add(FaultReason::EngineRefused, path, message);
}

/// The names of Deployments of groups must fit into a label of their pods, and two of them must not meet.
fn check_workload_names(name: &str, workloads: &[Workload], faults: &mut Faults) {
    for workload in workloads {
        let Some(group) = &workload.group else { continue };
        let length = format!("{name}-milvus-{}-{group}", workload.component.name()).len();
        if length > 253 {
            let path = format!("{}.groups", workload.component.path());
            let message =
                format!("the name of the workload of group '{group}' would have {length} characters");
            faults.add(FaultReason::InvalidField, path, message);
        }
    }
}

/// Only a number that nobody else sets can follow the load.
fn check_autoscaling(milvus: &Milvus, components: &Components, wanted: &[Component], faults: &mut Faults) {
    let redkite = milvus.spec.redkite.as_ref();
    let Some(autoscaling) = redkite.and_then(|redkite| redkite.autoscaling.as_ref()) else { return };
    let path = "spec.redkite.autoscaling";
    if milvus.spec.mode == Mode::Standalone {
        faults.add(
            FaultReason::NotSupported,
            path,
            "a standalone database is one process; it needs mode: cluster",
        );
        return;
    }
    let query =
        autoscaling.query_node.as_ref().map(|rule| (Component::QueryNode, "queryNode", rule.min, rule.max));
    let data =
        autoscaling.data_node.as_ref().map(|rule| (Component::DataNode, "dataNode", rule.min, rule.max));
    for (component, field, min, max) in [query, data].into_iter().flatten() {
        let path = format!("{path}.{field}");
        let written = component::written(components, component);
        if min.is_some_and(|min| min > max) {
            faults.add(
                FaultReason::InvalidField,
                format!("{path}.min"),
                format!("must not be more than {max}, max"),
            );
        }
        if !written.groups.is_empty() {
            let message = format!(
                "{}.groups have numbers of their own; a MilvusResourceGroup can follow the load by itself",
                component.path()
            );
            faults.add(FaultReason::NotSupported, path, message);
        } else if written.own.is_some_and(|own| own.replicas == Some(-1)) {
            let message = format!("{}.replicas: -1 leaves the number to somebody else", component.path());
            faults.add(FaultReason::InvalidField, path, message);
        } else if component == Component::DataNode
            && !wanted.contains(&Component::StreamingNode)
            && min.unwrap_or(0) < 1
        {
            let message = "must be 1 at least where no streaming node runs: data nodes keep the log there";
            faults.add(FaultReason::InvalidField, format!("{path}.min"), message);
        }
    }
}

/// The Service's name has a suffix and must stay a DNS label.
fn check_name(name: &str, faults: &mut Faults) {
    let dns_label = name.starts_with(|first: char| first.is_ascii_lowercase()) && !name.contains('.');
    if !dns_label || name.len() > 63 - "-milvus".len() {
        faults.add(
            FaultReason::InvalidField,
            "metadata.name",
            "must start with a letter, have no dot and at most 56 characters, to name a Service",
        );
    }
}

fn open_map<'a>(value: Option<&'a Value>, path: &str, faults: &mut Faults) -> Option<&'a Value> {
    match value {
        None | Some(Value::Null) => None,
        Some(value @ Value::Object(_)) => Some(value),
        Some(_) => {
            faults.add(FaultReason::InvalidField, path, "must be a map of settings");
            None
        }
    }
}

/// What a user may expect and does not get, so that it is said instead of silently left out.
fn notes(
    subject: &Subject<'_>,
    components: &Components,
    dependencies: &Dependencies,
    level: Level,
    log: &Log,
    idle_certificates: Option<&crate::crd::Certificates>,
) -> Vec<String> {
    let cluster = subject.mode == Mode::Cluster;
    let mut notes = Vec::new();
    let mut note = |applies: bool, text: String| {
        if applies {
            notes.push(text);
        }
    };
    note(components.cdc.is_some(), "spec.components.cdc: change data capture is not run".to_owned());
    note(
        dependencies.tei.as_ref().is_some_and(|tei| tei.enabled == Some(true)),
        "spec.dependencies.tei: the embedding service is not run".to_owned(),
    );
    note(
        idle_certificates.is_some_and(|asked| asked.nodes.is_some()),
        "spec.redkite.certificates.nodes: a standalone has no calls between pods".to_owned(),
    );
    let port = subject.config.and_then(|config| config.pointer("/proxy/port"));
    let port = port.map(|port| port.as_str().map_or_else(|| port.to_string(), str::to_owned));
    note(
        port.is_some_and(|port| port != "null" && port != names::API_PORT.to_string()),
        format!("spec.config.{}: clients are served on {}", settings::CLIENT_PORT, names::API_PORT),
    );
    let folded = |component: Component| {
        cluster && level != Level::Before26 && component::written(components, component).own.is_some()
    };
    for component in Component::OLD_COORDS {
        note(folded(component), format!("{}: folded into mixCoord", component.path()));
    }
    note(
        folded(Component::IndexNode) && level == Level::From26,
        format!("{}: folded into dataNode", Component::IndexNode.path()),
    );
    let broker = match dependencies.msg_stream_type.unwrap_or_default() {
        MsgStreamType::Unset | MsgStreamType::Woodpecker => None,
        MsgStreamType::Kafka if matches!(log, Log::Kafka { .. }) => None,
        other => Some(other),
    };
    if let Some(broker) = broker.filter(|_| cluster) {
        note(
            true,
            format!(
                "spec.dependencies.msgStreamType: {} is not run, the log is kept in the object store",
                broker.name()
            ),
        );
    }
    let values = |in_cluster: Option<&crate::crd::InCluster>, pointer: &str| {
        in_cluster
            .and_then(|policy| policy.values.as_ref())
            .and_then(|values| values.value().pointer(pointer))
            .is_some_and(|value| value == &Value::Bool(true))
    };
    let etcd = dependencies.etcd.as_ref().filter(|etcd| etcd.external != Some(true));
    let etcd = etcd.and_then(|etcd| etcd.in_cluster.as_ref());
    note(
        cluster && (values(etcd, "/auth/rbac/enabled") || values(etcd, "/auth/rbac/create")),
        "spec.dependencies.etcd.inCluster.values.auth: no users are set up; spec.redkite.networkPolicy keeps others out"
            .to_owned(),
    );
    notes
}
