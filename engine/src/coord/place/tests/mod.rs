//! Claims about placement.

mod claims;
mod cluster;
mod figures;
mod simulation;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{
    ChannelName, CollectionId, DatabaseId, FieldId, NodeId, PartitionId, Position, SegmentId, Timestamp,
};
use crate::model::{
    ChannelManifest, ColumnRef, DataType, Field, ObjectRef, Partition, Schema, SegmentManifest,
};
use crate::rpc::{CollectionInfo, DEFAULT_GROUP, Duties, GroupConfig, LoadSpec, NodeInfo, ReplicaSpec};

/// What a test breaks on purpose, to see that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Nodes let go of what routes in use still need.
    ReleaseEarly,
    /// Routes name what nodes have not loaded yet.
    PublishEarly,
}

const PARTITIONS: [PartitionId; 2] = [PartitionId(1), PartitionId(2)];

fn info(id: i64, shards: u32, load: Option<LoadSpec>) -> Arc<CollectionInfo> {
    let id = CollectionId(id);
    let partition = |id: &PartitionId| Partition { id: *id, name: format!("p{id}"), created_unix_ms: 0 };
    Arc::new(CollectionInfo {
        id,
        name: format!("c{id}"),
        database: DatabaseId(1),
        database_name: "default".to_owned(),
        schema: Arc::new(Schema {
            description: String::new(),
            fields: vec![vectors()],
            enable_dynamic_field: false,
            functions: Vec::new(),
            structs: Vec::new(),
        }),
        channels: (0..shards).map(|shard| ChannelName::of(id, shard)).collect(),
        partitions: PARTITIONS.iter().map(partition).collect(),
        partitions_by_key: 0,
        aliases: Vec::new(),
        properties: Vec::new(),
        consistency: 0,
        created: Timestamp::ZERO,
        updated: Timestamp::ZERO,
        partitioned: Timestamp::ZERO,
        indexes: Vec::new(),
        load,
        recorded: true,
    })
}

/// One replica in each of the groups; ids from 1.
fn loaded_in(groups: &[&str]) -> Option<LoadSpec> {
    let replicas = (1..).zip(groups).map(|(id, group)| ReplicaSpec { id, group: (*group).to_owned() });
    Some(LoadSpec { partitions: None, replicas: replicas.collect() })
}

fn loaded() -> Option<LoadSpec> {
    loaded_in(&[DEFAULT_GROUP])
}

const VECTORS: FieldId = FieldId(100);

fn vectors() -> Field {
    Field {
        id: VECTORS,
        name: "vectors".to_owned(),
        description: String::new(),
        data_type: DataType::FloatVector,
        is_primary: false,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: Vec::new(),
    }
}

/// A segment of vectors that take `bytes` of memory.
fn segment(id: i64, partition: PartitionId, bytes: u64) -> SegmentManifest {
    let object = ObjectRef { key: format!("s{id}"), size_bytes: bytes, crc32: 0 };
    SegmentManifest {
        id: SegmentId(id),
        partition,
        rows: 0,
        oldest: Timestamp::ZERO,
        newest: Timestamp::ZERO,
        clean_through: Timestamp::ZERO,
        clustered_by: None,
        instants: Vec::new(),
        stats: None,
        columns: vec![ColumnRef { fields: vec![VECTORS], object }],
        indexes: Vec::new(),
    }
}

/// A manifest up to `checkpoint` with segments of the first partition, as pairs of id and bytes.
fn manifest(checkpoint: u64, segments: &[(i64, u64)]) -> Arc<ChannelManifest> {
    let segments = segments.iter().map(|(id, bytes)| segment(*id, PARTITIONS[0], *bytes));
    Arc::new(ChannelManifest {
        checkpoint: Position(checkpoint),
        segments: segments.collect(),
        deletes: Vec::new(),
        ..ChannelManifest::default()
    })
}

/// A node with every duty.
fn node(id: i64) -> NodeInfo {
    NodeInfo {
        id: NodeId(id),
        address: format!("node-{id}:1"),
        host: format!("host-{id}"),
        role: "all".to_owned(),
        duties: Duties { proxies: true, writes: true, queries: true, builds: true },
        labels: BTreeMap::new(),
        memory_bytes: 0,
        version: "1".to_owned(),
        newest_format: 1,
        maps_vectors: true,
        processors: 0,
        machine_bytes: 0,
    }
}

fn labelled(id: i64, labels: &[(&str, &str)]) -> NodeInfo {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NodeInfo { labels, ..node(id) }
}

fn group(requests: u32, limits: u32) -> GroupConfig {
    GroupConfig { requests, limits, ..GroupConfig::default() }
}
