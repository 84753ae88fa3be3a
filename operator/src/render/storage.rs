//! Where the data is: the volume of the pod, and the object storage if it is somebody else's.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::fields::Faults;
use super::{FaultReason, quantity};
use crate::crd::{
    DataPolicy, DeletionPolicy, Dependencies, InCluster, MilvusSpec, MsgStreamType, Persistence, StorageType,
};

/// Size of the data volume when nothing says otherwise.
const DEFAULT_SIZE: &str = "5Gi";

/// Where objects are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataStore {
    /// In files on the data volume.
    Embedded,
    /// In a bucket.
    Bucket(Bucket),
}

/// An object storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Secret with the keys; none means the pod's own identity.
    pub secret: Option<String>,
    /// Whether it is Azure's.
    pub azure: bool,
    /// Whether somebody else runs it.
    pub external: bool,
}

/// The claim behind the data volume.
#[derive(Clone, Debug, PartialEq)]
pub enum DataClaim {
    /// One that exists already.
    Existing(String),
    /// One we make.
    Ours {
        /// Labels beside ours.
        labels: BTreeMap<String, String>,
        /// Annotations.
        annotations: BTreeMap<String, String>,
        /// Size, access modes, storage class.
        spec: Box<PersistentVolumeClaimSpec>,
    },
}

/// Reads `spec.dependencies.storage` of an external one. `tls` is `config.minio.useSSL`, `identity` is
/// `config.minio.useIAM`: the pod's own identity counts and no Secret is looked at.
pub(super) fn store(
    dependencies: &Dependencies,
    tls: bool,
    identity: bool,
    faults: &mut Faults,
) -> DataStore {
    let Some(storage) = dependencies.storage.as_ref().filter(|storage| storage.external == Some(true)) else {
        return DataStore::Embedded;
    };
    let path = "spec.dependencies.storage.endpoint";
    let endpoint = storage.endpoint.as_deref().unwrap_or_default();
    let endpoint =
        endpoint.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, port) = match endpoint.rsplit_once(':') {
        Some((host, port)) => (host, port.trim_end_matches('>').parse::<u16>().ok()),
        None => (endpoint, Some(if tls { 443 } else { 80 })),
    };
    if host.is_empty() {
        faults.add(FaultReason::InvalidField, path, "an address is needed when external is true");
    }
    let Some(port) = port else {
        faults.add(
            FaultReason::InvalidField,
            path,
            format!("'{endpoint}' does not end in a port between 0 and 65535"),
        );
        return DataStore::Embedded;
    };
    let secret = storage.secret_ref.clone().filter(|name| !name.is_empty() && !identity);
    let azure = storage.kind == Some(StorageType::Azure);
    DataStore::Bucket(Bucket { host: host.to_owned(), port, secret, azure, external: true })
}

/// Reads the claim of the data volume from `persistence` of the message stream, else from the size of the storage.
pub(super) fn claim(dependencies: &Dependencies, faults: &mut Faults) -> DataClaim {
    let (path, persistence) = persistence(dependencies);
    let written = persistence.and_then(|persistence| persistence.persistent_volume_claim.as_ref());
    if let Some(existing) =
        written.and_then(|claim| claim.existing_claim.clone()).filter(|name| !name.is_empty())
    {
        return DataClaim::Existing(existing);
    }
    let path = format!("{path}.persistentVolumeClaim.spec");
    let mut spec = faults.open(&path, written.and_then(|claim| claim.spec.as_ref())).unwrap_or_default();
    spec.access_modes.get_or_insert_with(|| vec!["ReadWriteOnce".to_owned()]);
    let requests = spec
        .resources
        .get_or_insert_with(VolumeResourceRequirements::default)
        .requests
        .get_or_insert_default();
    let size = requests
        .entry("storage".to_owned())
        .or_insert_with(|| storage_size(dependencies).unwrap_or_else(|| Quantity(DEFAULT_SIZE.to_owned())));
    if quantity::bytes(size).is_none() {
        let text = size.0.clone();
        faults.add(
            FaultReason::InvalidField,
            format!("{path}.resources.requests.storage"),
            format!("'{text}' is no size"),
        );
    }
    DataClaim::Ours {
        labels: written.and_then(|claim| claim.labels.clone()).unwrap_or_default(),
        annotations: written.and_then(|claim| claim.annotations.clone()).unwrap_or_default(),
        spec: Box::new(spec),
    }
}

/// Reads the claim that each pod of a cluster gets where the stream in force asks for persistence. One claim for all, as the
/// peer makes it, could not be mounted on several nodes.
pub(super) fn claim_per_pod(dependencies: &Dependencies, faults: &mut Faults) -> Option<DataClaim> {
    let woodpecker = dependencies.woodpecker.as_ref()?.persistence.as_ref()?;
    if woodpecker.enabled != Some(true) || dependencies.msg_stream_type != Some(MsgStreamType::Woodpecker) {
        return None;
    }
    // The size that the spec wants for the object storage is none of a pod's.
    let alone = Dependencies { storage: None, ..dependencies.clone() };
    match claim(&alone, faults) {
        ours @ DataClaim::Ours { .. } => Some(ours),
        DataClaim::Existing(_) => None,
    }
}

/// The `persistence` that shapes the data volume: of the stream in force, else of whichever is written.
fn persistence(dependencies: &Dependencies) -> (&'static str, Option<&Persistence>) {
    let rocksmq = dependencies.rocksmq.as_ref().and_then(|mq| mq.persistence.as_ref());
    let natsmq = dependencies.natsmq.as_ref().and_then(|mq| mq.persistence.as_ref());
    let woodpecker = dependencies.woodpecker.as_ref().and_then(|mq| mq.persistence.as_ref());
    let candidates = [
        ("spec.dependencies.woodpecker.persistence", woodpecker, MsgStreamType::Woodpecker),
        ("spec.dependencies.rocksmq.persistence", rocksmq, MsgStreamType::Rocksmq),
        ("spec.dependencies.natsmq.persistence", natsmq, MsgStreamType::Natsmq),
    ];
    let chosen = dependencies.msg_stream_type.unwrap_or_default();
    candidates
        .iter()
        .find(|(_, value, kind)| *kind == chosen && value.is_some())
        .or_else(|| candidates.iter().find(|(_, value, _)| value.is_some()))
        .map_or((candidates[0].0, None), |(path, value, _)| (*path, *value))
}

/// The size that the manifest wants for the storage, whose place the data volume takes.
fn storage_size(dependencies: &Dependencies) -> Option<Quantity> {
    let values = dependencies.storage.as_ref()?.in_cluster.as_ref()?.values.as_ref()?.value();
    let size = Quantity(values.pointer("/persistence/size")?.as_str()?.to_owned());
    quantity::bytes(&size).map(|_| size)
}

/// Whether deleting the object removes its data volume. A claim the user made is never removed.
#[must_use]
pub fn deletes_data(spec: &MilvusSpec) -> bool {
    let none = Dependencies::default();
    let dependencies = spec.dependencies.as_ref().unwrap_or(&none);
    if matches!(claim(dependencies, &mut Faults::default()), DataClaim::Existing(_)) {
        return false;
    }
    match spec.redkite.as_ref().and_then(|redkite| redkite.data_policy) {
        Some(policy) => policy == DataPolicy::Delete,
        None => {
            persistence(dependencies).1.is_some_and(|persistence| persistence.pvc_deletion == Some(true))
                || stores_are_deleted(dependencies)
        }
    }
}

/// Whether each store that lives on the volume is to be deleted with its volumes.
fn stores_are_deleted(dependencies: &Dependencies) -> bool {
    let goes = |in_cluster: Option<&InCluster>| {
        in_cluster.is_some_and(|policy| {
            policy.deletion_policy == Some(DeletionPolicy::Delete) && policy.pvc_deletion == Some(true)
        })
    };
    let etcd = dependencies.etcd.as_ref();
    let storage = dependencies.storage.as_ref();
    let metadata = goes(etcd.and_then(|etcd| etcd.in_cluster.as_ref()));
    let objects = storage.is_some_and(|storage| storage.external == Some(true))
        || goes(storage.and_then(|storage| storage.in_cluster.as_ref()));
    metadata && objects
}

/// `minio.*` settings of a bucket.
pub(super) fn settings(store: &DataStore) -> Value {
    match store {
        DataStore::Embedded => Value::Null,
        DataStore::Bucket(bucket) => {
            let mut minio = serde_json::json!({"address": bucket.host, "port": bucket.port});
            if bucket.azure {
                minio["cloudProvider"] = "azure".into();
            }
            if !bucket.external {
                minio["useSSL"] = false.into();
                minio["useIAM"] = false.into();
            }
            serde_json::json!({"common": {"storageType": "remote"}, "minio": minio})
        }
    }
}

/// Name of the claim we make.
pub(super) fn claim_name(instance: &str) -> String {
    format!("{instance}-data")
}

/// Environment variables that carry the keys, with the key of the Secret each is read from.
pub(super) const KEYS: [(&str, &str); 2] =
    [(names::ENV_ACCESS_KEY, names::SECRET_ACCESS_KEY), (names::ENV_SECRET_KEY, names::SECRET_SECRET_KEY)];
