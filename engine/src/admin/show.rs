//! From what the coordinator knows to the words of the API.

use std::collections::BTreeMap;

use contract::admin as pb;

use crate::base::{ChannelName, CollectionId, NodeId, SegmentId};
use crate::model::{ChannelManifest, SegmentManifest};
use crate::rpc::{
    CollectionInfo, GroupConfig, GroupInfo, LeadInfo, NodeState, NodeStatus, OpenChannel, Owner, ReplicaInfo,
    Resized, Unread,
};

pub(super) fn leader(lead: LeadInfo) -> pb::Leader {
    let LeadInfo { address, epoch, settled, version, .. } = lead;
    pb::Leader { address, epoch, settled, version }
}

const fn state(state: NodeState) -> pb::NodeState {
    match state {
        NodeState::Serving => pb::NodeState::Ready,
        NodeState::Draining => pb::NodeState::Draining,
        NodeState::Leaving => pb::NodeState::Leaving,
    }
}

/// Loaded data that a node reports to hold. Unit: bytes.
pub(super) fn held_bytes(status: &NodeStatus) -> u64 {
    status.held.iter().map(|held| held.bytes).sum()
}

pub(super) fn node(status: &NodeStatus) -> pb::Node {
    let info = &status.info;
    pb::Node {
        id: info.id.0,
        role: info.role.clone(),
        address: info.address.clone(),
        host: info.host.clone(),
        labels: info.labels.clone(),
        resource_group: status.group.clone(),
        state: state(status.state).into(),
        version: info.version.clone(),
        memory_bytes: info.memory_bytes,
        joined_unix_ms: status.since.unix_ms(),
        channels: status.channels.len() as u64,
        segments: status.segments,
        held_bytes: held_bytes(status),
        newest_format: info.newest_format,
    }
}

/// How busy a query node is; `names` are those of the collections, by database.
pub(super) fn load(status: &NodeStatus, names: &BTreeMap<CollectionId, (String, String)>) -> pb::NodeLoad {
    let (info, load) = (&status.info, &status.load);
    let mut collections: Vec<_> = status
        .held
        .iter()
        .map(|held| {
            let (database, name) = names.get(&held.collection).cloned().unwrap_or_default();
            pb::CollectionMemory {
                collection: held.collection.0,
                database,
                name,
                bytes: held.bytes,
                failure: held.failure.clone().unwrap_or_default(),
            }
        })
        .collect();
    collections.sort_by_key(|memory| (std::cmp::Reverse(memory.bytes), memory.collection));
    pb::NodeLoad {
        node: info.id.0,
        address: info.address.clone(),
        host: info.host.clone(),
        resource_group: status.group.clone(),
        reads: load.reads,
        queue_wait_ms: load.queue_wait_ms,
        p99_ms: load.p99_ms,
        search_cpu: load.search_cpu,
        held_bytes: load.held_bytes,
        memory_bytes: info.memory_bytes,
        bytes_to_load: load.bytes_to_load,
        collections,
        state: state(status.state).into(),
    }
}

/// A collection; `loaded` is how far it is loaded, or why it cannot be.
pub(super) fn collection<M: AsRef<ChannelManifest>>(
    info: &CollectionInfo,
    manifests: &[M],
    loaded: Result<Option<u8>, String>,
) -> pb::Collection {
    let segments = || manifests.iter().flat_map(|manifest| &manifest.as_ref().segments);
    let deletes = manifests.iter().flat_map(|manifest| &manifest.as_ref().deletes);
    let sealed: u64 = segments().map(|segment| segment.stored_bytes() + index_bytes(segment)).sum();
    let (percent, failure) = match loaded {
        Ok(percent) => (percent.unwrap_or_default(), String::new()),
        Err(reason) => (0, reason),
    };
    pb::Collection {
        id: info.id.0,
        database: info.database_name.clone(),
        name: info.name.clone(),
        sealed_rows: segments().map(|segment| segment.rows).sum(),
        segments: segments().count() as u64,
        bytes: sealed + deletes.map(|file| file.object.size_bytes).sum::<u64>(),
        shards: count(info.channels.len()),
        partitions: count(info.partitions.len()),
        replicas: count(info.load.as_ref().map_or(0, |load| load.replicas.len())),
        loaded_percent: percent.into(),
        failure,
        created_unix_ms: info.created.unix_ms(),
    }
}

/// A channel; `owner` is who is to have it, and `nodes` say who has it and who follows it.
pub(super) fn channel(
    info: &CollectionInfo,
    name: &ChannelName,
    manifest: &ChannelManifest,
    owner: Option<&Owner>,
    nodes: &[NodeStatus],
) -> pb::Channel {
    let place = owner.and_then(|owner| owner.place.as_ref());
    let open = place.and_then(|place| opened(nodes, place.node, name));
    pb::Channel {
        name: name.to_string(),
        collection: info.id.0,
        database: info.database_name.clone(),
        collection_name: info.name.clone(),
        owner: place.map_or(0, |place| place.node.0),
        owner_address: place.map(|place| place.address.to_string()).unwrap_or_default(),
        assignment: owner.map_or(0, |owner| owner.term),
        term: open.map_or(0, |open| open.term),
        checkpoint: manifest.checkpoint.0,
        checkpoint_unix_ms: manifest.newest().unix_ms(),
        unsealed_bytes: open.map_or(0, |open| open.unsealed_bytes),
        segments: manifest.segments.len() as u64,
        delete_files: manifest.deletes.len() as u64,
        followers: nodes.iter().filter_map(|node| follower(node, info.id, name)).collect(),
    }
}

fn opened<'a>(nodes: &'a [NodeStatus], owner: NodeId, name: &ChannelName) -> Option<&'a OpenChannel> {
    let status = nodes.iter().find(|status| status.info.id == owner)?;
    status.open.iter().find(|open| open.channel == *name)
}

fn follower(status: &NodeStatus, collection: CollectionId, name: &ChannelName) -> Option<pb::Follower> {
    let held = status.held.iter().find(|held| held.collection == collection)?;
    let held = held.channels.iter().find(|held| held.channel == *name)?;
    Some(pb::Follower {
        node: status.info.id.0,
        applied: held.applied.0,
        growing_from: held.growing_from.map(|position| position.0),
        segments: held.segments.len() as u64,
    })
}

/// The nodes that report to hold each segment of a collection, ascending.
pub(super) fn holders(nodes: &[NodeStatus], collection: CollectionId) -> BTreeMap<SegmentId, Vec<i64>> {
    let mut holders: BTreeMap<SegmentId, Vec<i64>> = BTreeMap::new();
    for status in nodes {
        let held = status.held.iter().filter(|held| held.collection == collection);
        for segment in held.flat_map(|held| &held.channels).flat_map(|held| &held.segments) {
            holders.entry(*segment).or_default().push(status.info.id.0);
        }
    }
    holders
}

pub(super) fn segment(
    info: &CollectionInfo,
    channel: &ChannelName,
    segment: &SegmentManifest,
    nodes: Vec<i64>,
) -> pb::Segment {
    pb::Segment {
        id: segment.id.0,
        collection: info.id.0,
        database: info.database_name.clone(),
        collection_name: info.name.clone(),
        partition: segment.partition.0,
        channel: channel.to_string(),
        rows: segment.rows,
        bytes: segment.stored_bytes(),
        index_bytes: index_bytes(segment),
        indexes: segment.indexes.iter().map(|index| index.index.0).collect(),
        nodes,
        oldest_unix_ms: segment.oldest.unix_ms(),
        newest_unix_ms: segment.newest.unix_ms(),
    }
}

fn index_bytes(segment: &SegmentManifest) -> u64 {
    segment.indexes.iter().map(|index| index.object.size_bytes).sum()
}

pub(super) fn unread(manifest: Unread) -> pb::DamagedObject {
    let Unread { key, why } = manifest;
    pb::DamagedObject { key, what: why }
}

pub(super) fn resized(object: Resized) -> pb::DamagedObject {
    let Resized { key, expected, found } = object;
    pb::DamagedObject { key, what: format!("it has {found} bytes instead of {expected}") }
}

pub(super) fn replica(info: &CollectionInfo, replica: ReplicaInfo) -> pb::Replica {
    pb::Replica {
        id: replica.id,
        collection: info.id.0,
        database: info.database_name.clone(),
        collection_name: info.name.clone(),
        resource_group: replica.group,
        nodes: replica.nodes.iter().map(|node| node.0).collect(),
        segments: replica.segments.len() as u64,
        complete: replica.complete,
    }
}

pub(super) fn group(info: GroupInfo) -> pb::ResourceGroup {
    let GroupConfig { requests, limits, transfer_from, transfer_to, node_filter } = info.config;
    pb::ResourceGroup {
        name: info.name,
        config: Some(pb::ResourceGroupConfig { requests, limits, transfer_from, transfer_to, node_filter }),
        nodes: info.nodes.iter().map(|node| node.id.0).collect(),
        replicas: info.replicas.values().sum(),
    }
}

pub(super) fn group_config(config: Option<pb::ResourceGroupConfig>) -> GroupConfig {
    let pb::ResourceGroupConfig { requests, limits, transfer_from, transfer_to, node_filter } =
        config.unwrap_or_default();
    GroupConfig { requests, limits, transfer_from, transfer_to, node_filter }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
