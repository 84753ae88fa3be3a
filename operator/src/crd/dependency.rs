//! `spec.dependencies`: metadata store, object storage, message stream.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Open;

/// What the engine stands on. What is not external is embedded in a standalone; beside a cluster etcd and an S3 server run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependencies {
    /// The message stream. An external `kafka` is used; every other type means the engine's own log, in files of a standalone
    /// or in the object storage of a cluster. A condition says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg_stream_type: Option<MsgStreamType>,
    /// The metadata store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
    /// Apache Pulsar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulsar: Option<Pulsar>,
    /// Apache Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<Kafka>,
    /// RocksMQ of the peer; its `persistence` shapes the data volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rocksmq: Option<LocalMq>,
    /// NatsMQ of the peer; its `persistence` shapes the data volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub natsmq: Option<LocalMq>,
    /// Woodpecker of the peer; its `persistence` shapes the data volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub woodpecker: Option<Woodpecker>,
    /// The object storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The text embedding service of the peer. Accepted, not started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tei: Option<Tei>,
    /// Accepted, not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_msg_stream: Option<Open<Value>>,
}

/// Kind of message stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MsgStreamType {
    /// Apache Pulsar.
    Pulsar,
    /// Apache Kafka.
    Kafka,
    /// Woodpecker.
    Woodpecker,
    /// RocksMQ.
    Rocksmq,
    /// NatsMQ.
    Natsmq,
    /// Something of the user's.
    Custom,
    /// The default.
    #[default]
    #[serde(rename = "")]
    Unset,
}

impl MsgStreamType {
    /// The word in the manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pulsar => "pulsar",
            Self::Kafka => "kafka",
            Self::Woodpecker => "woodpecker",
            Self::Rocksmq => "rocksmq",
            Self::Natsmq => "natsmq",
            Self::Custom => "custom",
            Self::Unset => "",
        }
    }
}

/// A dependency that runs beside the database. Charts are not installed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InCluster {
    /// Chart values. Of etcd and storage in cluster mode these are used: `replicaCount`, `image`, `persistence`, `resources`,
    /// `nodeSelector`, `tolerations`, `affinity`, `podLabels`, `podAnnotations`; of storage in standalone mode
    /// `persistence.size`, for the data volume. The others are kept and do nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Open<Value>>,
    /// Accepted, not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart_version: Option<String>,
    /// `Retain` (default) or `Delete` when the object is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// With `deletionPolicy: Delete`, whether the volumes go too. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_deletion: Option<bool>,
}

/// What becomes of a dependency when the object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It goes too.
    Delete,
    /// It stays.
    Retain,
}

/// The metadata store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = needed("endpoints", "spec.dependencies.etcd.endpoints")))]
pub struct Etcd {
    /// Addresses, `host:port` each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub endpoints: Option<Vec<String>>,
    /// Whether etcd is run by somebody else. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
    /// How it runs beside the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// Apache Pulsar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = needed("endpoint", "spec.dependencies.pulsar.endpoint")))]
pub struct Pulsar {
    /// Address, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether Pulsar is run by somebody else. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
    /// How it runs beside the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// Apache Kafka.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = needed("brokerList", "spec.dependencies.kafka.brokerList")))]
pub struct Kafka {
    /// Addresses of brokers, `host:port` each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub broker_list: Option<Vec<String>>,
    /// Whether Kafka is run by somebody else. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
    /// Secret with keys `username`, `password` and, optional, `ca.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
    /// How it runs beside the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// The object storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = needed("endpoint", "spec.dependencies.storage.endpoint")))]
pub struct Storage {
    /// Kind of storage. Default MinIO; MinIO and S3 are one protocol.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<StorageType>,
    /// Whether the storage is run by somebody else. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
    /// Address, `host` or `host:port`. Without a port: 443 with `config.minio.useSSL`, else 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Secret in the same namespace with keys `accesskey` and `secretkey`. Unset: the pod's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
    /// TLS of the peer's own probe. Accepted; the engine's TLS is in `config.minio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl: Option<StorageSsl>,
    /// How it runs beside the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// Kind of object storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageType {
    /// MinIO.
    #[default]
    MinIO,
    /// S3 and what speaks it.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// The default.
    #[serde(rename = "")]
    Unset,
}

/// TLS of the peer's own probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageSsl {
    /// Whether TLS is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Secret with key `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate_ref: Option<String>,
    /// Whether a wrong certificate is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}

/// A message queue in the engine's own process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalMq {
    /// Its volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
}

/// Woodpecker of the peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = needed("quorumBufferPools", "spec.dependencies.woodpecker.quorumBufferPools")))]
pub struct Woodpecker {
    /// Whether it is run by somebody else. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<bool>,
    /// Its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub quorum_buffer_pools: Option<Vec<BufferPool>>,
    /// Its volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
}

/// Servers of one Woodpecker pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BufferPool {
    /// Name of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Addresses, `host:port` each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<Vec<String>>,
}

/// The data volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Persistence {
    /// Whether the peer would make a volume. Redkite's standalone always has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether the volume, with all data, is removed with the object. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc_deletion: Option<bool>,
    /// The volume's claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<Claim>,
}

/// The claim of the data volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Name of a claim that exists already; it is used as it is and never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_claim: Option<String>,
    /// Labels of the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// A PersistentVolumeClaimSpec. Default: ReadWriteOnce, 5Gi. After creation only a larger size takes effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Open<PersistentVolumeClaimSpec>>,
}

/// The text embedding service of the peer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tei {
    /// Whether the peer would start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How it runs beside the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_cluster: Option<InCluster>,
}

/// The rule that an external dependency has an address.
fn needed(field: &str, path: &str) -> Value {
    json!([{
        "rule": format!("!has(self.external) || !self.external || (has(self.{field}) && size(self.{field}) > 0)"),
        "message": format!("{path} is needed when external is true"),
    }])
}
