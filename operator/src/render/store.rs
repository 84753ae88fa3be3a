//! Stores that run beside the database: what `inCluster` says about them.
//!
//! Chart values are honoured where they mean something for a plain workload: image, number of members, resources, volume,
//! placement. The others are kept in the spec and do nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::dependency::{Facts, Subject};
use super::fields::Faults;
use super::storage::Bucket;
use super::{FaultReason, Platform, quantity};
use crate::crd::{DeletionPolicy, InCluster, Typed};

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    /// Metadata.
    Etcd,
    /// Objects.
    Objects,
}

impl StoreKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Etcd, Self::Objects];

    /// Name of the store of an object; the peer's releases are called so too.
    #[must_use]
    pub fn name(self, instance: &str) -> String {
        match self {
            Self::Etcd => format!("{instance}-etcd"),
            Self::Objects => format!("{instance}-minio"),
        }
    }

    /// Where it stands in a spec.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Etcd => "spec.dependencies.etcd.inCluster",
            Self::Objects => "spec.dependencies.storage.inCluster",
        }
    }

    /// Port its clients use.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Etcd => 2379,
            Self::Objects => 9000,
        }
    }

    const fn default_size(self) -> &'static str {
        match self {
            Self::Etcd => "10Gi",
            Self::Objects => "50Gi",
        }
    }

    /// Members where the spec says nothing: metadata outlives the loss of one.
    const fn default_members(self) -> i32 {
        match self {
            Self::Etcd => 3,
            Self::Objects => 1,
        }
    }
}

/// A store beside the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Which one.
    pub kind: StoreKind,
    /// Number of its processes.
    pub members: i32,
    /// What they run.
    pub image: String,
    /// Pull policy.
    pub pull_policy: String,
    /// Size of each member's volume; `None` keeps the data in the pod alone.
    pub size: Option<Quantity>,
    /// Class of the volumes.
    pub storage_class: Option<String>,
    /// CPU and memory.
    pub resources: Option<ResourceRequirements>,
    /// Labels a node must have.
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Taints that are tolerated.
    pub tolerations: Option<Vec<Toleration>>,
    /// Affinity.
    pub affinity: Option<Affinity>,
    /// Labels of the pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    pub pod_annotations: BTreeMap<String, String>,
}

/// Reads what a spec says about a store beside the database.
pub(super) fn read(
    kind: StoreKind,
    in_cluster: Option<&InCluster>,
    platform: &Platform,
    facts: &Facts,
    faults: &mut Faults,
) -> Store {
    let none = Value::Null;
    let values = in_cluster.and_then(|policy| policy.values.as_ref()).map_or(&none, crate::crd::Open::value);
    let path = format!("{}.values", kind.path());
    let members = match (kind, facts.stores.get(&kind)) {
        (StoreKind::Etcd, Some(fact)) => fact.members,
        (StoreKind::Etcd, None) => members(&path, kind, values, faults),
        (StoreKind::Objects, _) => 1,
    };
    let persistent = values.pointer("/persistence/enabled") != Some(&Value::Bool(false));
    let size = text(values, "/persistence/size").unwrap_or_else(|| kind.default_size().to_owned());
    let size = Quantity(size);
    if quantity::bytes(&size).is_none() {
        let message = format!("'{}' is no size", size.0);
        faults.add(FaultReason::InvalidField, format!("{path}.persistence.size"), message);
    }
    let own = match kind {
        StoreKind::Etcd => &platform.etcd_image,
        StoreKind::Objects => &platform.storage_image,
    };
    Store {
        kind,
        members,
        image: image(kind, values).unwrap_or_else(|| own.clone()),
        pull_policy: text(values, "/image/pullPolicy").unwrap_or_else(|| "IfNotPresent".to_owned()),
        size: persistent.then_some(size),
        storage_class: text(values, "/persistence/storageClass")
            .or_else(|| text(values, "/persistence/storageClassName")),
        resources: read_value(&path, "resources", values, faults),
        node_selector: read_value(&path, "nodeSelector", values, faults),
        tolerations: read_value(&path, "tolerations", values, faults),
        affinity: read_value(&path, "affinity", values, faults),
        pod_labels: read_value(&path, "podLabels", values, faults).unwrap_or_default(),
        pod_annotations: read_value(&path, "podAnnotations", values, faults).unwrap_or_default(),
    }
}

fn members(path: &str, kind: StoreKind, values: &Value, faults: &mut Faults) -> i32 {
    match values.get("replicaCount") {
        None | Some(Value::Null) => kind.default_members(),
        Some(value) => match value.as_i64().and_then(|count| i32::try_from(count).ok()) {
            Some(count @ 1..=9) => count,
            _ => {
                let message = format!("{value} is no number of members from 1 to 9");
                faults.add(FaultReason::InvalidField, format!("{path}.replicaCount"), message);
                1
            }
        },
    }
}

/// The image that the values name. For objects it counts only if it is a server that we know how to start.
fn image(kind: StoreKind, values: &Value) -> Option<String> {
    let repository = text(values, "/image/repository")?;
    if kind == StoreKind::Objects && !repository.ends_with("versitygw") {
        return None;
    }
    let registry = text(values, "/image/registry").map(|registry| format!("{registry}/")).unwrap_or_default();
    let version = match (text(values, "/image/digest"), text(values, "/image/tag")) {
        (Some(digest), _) => format!("@{digest}"),
        (None, Some(tag)) => format!(":{tag}"),
        (None, None) => String::new(),
    };
    Some(format!("{registry}{repository}{version}"))
}

fn text(values: &Value, pointer: &str) -> Option<String> {
    values.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn read_value<T: DeserializeOwned>(path: &str, key: &str, values: &Value, faults: &mut Faults) -> Option<T> {
    let value = values.get(key).filter(|value| !value.is_null())?;
    // A chart's `requests:` with nothing behind it says nothing.
    let mut value = value.clone();
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, inner| !inner.is_null());
    }
    // Through `Typed`, since quantities may be numbers.
    let wrapped = Typed::<Wrapped<T>>::new(serde_json::json!({ key: value }));
    match wrapped.read() {
        Ok(read) => read.0.into_values().next(),
        Err(error) => {
            faults.add(FaultReason::InvalidField, format!("{path}.{key}"), error.to_string());
            None
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Wrapped<T>(BTreeMap<String, T>);

/// Address of one member of the etcd beside the database.
pub(super) fn etcd_member(subject: &Subject<'_>, at: i32) -> String {
    let name = StoreKind::Etcd.name(subject.name);
    format!("{name}-{at}.{name}-headless.{}:{}", subject.namespace, StoreKind::Etcd.port())
}

/// The bucket of the object store beside the database.
pub(super) fn bucket(subject: &Subject<'_>) -> Bucket {
    let name = StoreKind::Objects.name(subject.name);
    Bucket {
        host: format!("{name}.{}", subject.namespace),
        port: StoreKind::Objects.port(),
        secret: Some(name),
        azure: false,
        external: false,
    }
}

/// What becomes of a store when its object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays and runs on.
    Stays,
    /// It goes, its volumes stay.
    Goes,
    /// It goes with its volumes.
    GoesWithVolumes,
}

/// Reads the deletion policy of a store; the peer's default is to keep it.
#[must_use]
pub fn fate(in_cluster: Option<&InCluster>) -> Fate {
    match in_cluster.map(|policy| (policy.deletion_policy, policy.pvc_deletion)) {
        Some((Some(DeletionPolicy::Delete), Some(true))) => Fate::GoesWithVolumes,
        Some((Some(DeletionPolicy::Delete), _)) => Fate::Goes,
        _ => Fate::Stays,
    }
}
