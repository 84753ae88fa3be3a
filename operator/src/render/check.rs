//! `Milvus` → [`Checked`]: the one place where a spec is read.

use std::collections::BTreeMap;

use contract::names;
use kube::ResourceExt;
use serde_json::Value;

use super::fields::Faults;
use super::workload::{self, Workload};
use super::{Catalog, DataClaim, DataStore, Image, image, settings, storage};
use crate::crd::{
    Components, Dependencies, Ingress, Milvus, Mode, MsgStreamType, Serving, Standalone, TargetPortType,
};

pub use super::storage::deletes_data;

/// What the installation provides to every object.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// Image of the engine.
    pub engine_image: String,
    /// Pull policy where the spec has none; empty means IfNotPresent.
    pub pull_policy: String,
    /// Upstream images → ours.
    pub catalog: Catalog,
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
}

impl FaultReason {
    /// The word in a condition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidField => "InvalidField",
            Self::NotSupported => "NotSupported",
            Self::Refused => "RefusedByApiServer",
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
    /// What runs.
    pub image: Image,
    /// Version that the spec names.
    pub version: Option<String>,
    /// The pod.
    pub(super) workload: Workload,
    /// How clients reach it.
    pub serving: Serving,
    /// Whether the Service names its target ports by number.
    pub target_ports_by_number: bool,
    /// Name of the ConfigMap.
    pub config_map: String,
    /// Content of `user.yaml`.
    pub settings: Value,
    /// Content of `hook.yaml`.
    pub hook: Option<Value>,
    /// Whether a change of settings restarts the pod.
    pub config_rolls: bool,
    /// Where objects are.
    pub store: DataStore,
    /// Where files are.
    pub claim: DataClaim,
    /// The stream the spec asks for.
    pub stream: MsgStreamType,
    /// Whether the spec asks for an etcd that somebody else runs.
    pub external_etcd: bool,
    /// What was accepted and is not used.
    pub notes: Vec<String>,
}

impl Checked {
    /// Number of pods the spec asks for; `None` leaves it to an autoscaler.
    #[must_use]
    pub fn replicas(&self) -> Option<i32> {
        self.workload.replicas
    }

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
pub fn check(milvus: &Milvus, platform: &Platform) -> Result<Checked, Vec<Fault>> {
    let mut faults = Faults::default();
    if milvus.spec.mode == Mode::Cluster {
        faults.add(
            FaultReason::NotSupported,
            "spec.mode",
            "cluster mode is not supported yet: this version runs standalone only",
        );
        return Err(faults.0);
    }
    let (no_components, no_standalone, no_dependencies) =
        (Components::default(), Standalone::default(), Dependencies::default());
    let components = milvus.spec.components.as_ref().unwrap_or(&no_components);
    let standalone = components.standalone.as_ref().unwrap_or(&no_standalone);
    let dependencies = milvus.spec.dependencies.as_ref().unwrap_or(&no_dependencies);
    let config =
        open_map(milvus.spec.config.as_ref().map(crate::crd::Open::value), "spec.config", &mut faults);
    let hook = open_map(
        milvus.spec.hook_config.as_ref().map(crate::crd::Open::value),
        "spec.hookConfig",
        &mut faults,
    );
    let tls = config
        .and_then(|config| config.pointer("/minio/useSSL"))
        .is_some_and(|value| value == &Value::Bool(true));

    let name = milvus.name_any();
    check_name(&name, &mut faults);
    let store = storage::store(dependencies, tls, &mut faults);
    let workload =
        workload::read(&components.global, &standalone.component, &platform.pull_policy, &mut faults);
    let named = workload.image.as_deref();
    let checked = Checked {
        image: image::resolve(
            milvus.annotations().get(names::ANNOTATION_IMAGE).map(String::as_str),
            named,
            &platform.catalog,
            &platform.engine_image,
        ),
        version: components.global.version.clone(),
        serving: standalone.serving.clone(),
        target_ports_by_number: components.target_port_type == Some(TargetPortType::Integer),
        config_map: components
            .active_config_map
            .clone()
            .filter(|map| !map.is_empty())
            .unwrap_or_else(|| name.clone()),
        settings: settings::user(&name, config, &store),
        hook: hook.cloned(),
        config_rolls: components.update_config_map_only != Some(true),
        claim: storage::claim(dependencies, &mut faults),
        stream: dependencies.msg_stream_type.unwrap_or_default(),
        external_etcd: dependencies.etcd.as_ref().is_some_and(|etcd| etcd.external == Some(true)),
        notes: notes(components, dependencies),
        namespace: milvus.namespace().unwrap_or_default(),
        uid: milvus.uid().unwrap_or_default(),
        generation: milvus.metadata.generation.unwrap_or_default(),
        name,
        workload,
        store,
    };
    if faults.0.is_empty() { Ok(checked) } else { Err(faults.0) }
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
fn notes(components: &Components, dependencies: &Dependencies) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |applies: bool, text: &str| {
        if applies {
            notes.push(text.to_owned());
        }
    };
    note(components.cdc.is_some(), "spec.components.cdc: change data capture is not started");
    note(
        dependencies.tei.as_ref().is_some_and(|tei| tei.enabled == Some(true)),
        "spec.dependencies.tei: the embedding service is not started",
    );
    note(
        dependencies.etcd.as_ref().is_some_and(|etcd| etcd.external == Some(true)),
        "spec.dependencies.etcd: standalone keeps its metadata in its data volume",
    );
    notes
}
