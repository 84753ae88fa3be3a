//! The API types: what a user may write, what it means, and the schema the API server checks it with.
//!
//! Types and documentation only: no client, no rendering, no decision. The doc comments of the fields are what
//! `kubectl explain` shows.

mod collection;
mod component;
mod condition;
mod dependency;
mod fields;
mod milvus;
mod milvus_cluster;
mod open;
mod redkite;
mod resource_group;
mod rollout;
mod scaling;
mod schema;
mod status;
mod upgrade;

pub use collection::{
    CollectionFate, CollectionIndex, IndexStatus, Kept, Load, LoadState, LoadStatus, MilvusCollection,
    MilvusCollectionSpec, MilvusCollectionStatus, NumberOrText, Policy, ReplicaStatus, text_of,
};
pub use component::{
    Component, ComponentSpec, Components, Group, GroupedComponent, ImageUpdateMode, Ingress, Probes, Proxy,
    ServiceType, Serving, Standalone, TargetPortType,
};
pub use condition::{Condition, ConditionStatus, ConditionType};
pub use dependency::{
    BufferPool, Claim, DeletionPolicy, Dependencies, Etcd, InCluster, Kafka, LocalMq, MsgStreamType,
    Persistence, Pulsar, Storage, StorageSsl, StorageType, Tei, Woodpecker,
};
pub use fields::{CollectionField, CollectionSchema, Consistency, FieldType};
pub use milvus::{Milvus, MilvusSpec, Mode};
pub use milvus_cluster::{MilvusCluster, MilvusClusterSpec};
pub use open::{Open, Typed};
pub use redkite::{Certificates, ClientCertificates, DataPolicy, NetworkPolicy, NodeCertificates, Redkite};
pub use resource_group::{
    DatabaseRef, GroupCache, GroupCollection, GroupNode, GroupTemplate, MilvusResourceGroup,
    MilvusResourceGroupSpec, MilvusResourceGroupStatus, NodeCount,
};
pub use rollout::{
    CompleteRollout, OnFailure, RejectedRollout, Rollout, RolloutFailure, RolloutState, RolloutStatus,
};
pub use scaling::{Autoscaling, AutoscalingStatus, JobScaling, QueryScaling, QueryTargets, ScalingStatus};
pub use schema::{BadObject, DefinitionError, definitions, files, read, read_cluster};
pub use status::{MilvusStatus, Phase, RedkiteStatus};
pub use upgrade::{MilvusRef, MilvusUpgrade, MilvusUpgradeSpec, MilvusUpgradeStatus, Operation};
