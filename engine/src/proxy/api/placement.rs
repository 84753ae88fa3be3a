//! Calls about where a collection's data is.

use std::collections::BTreeMap;

use contract::pb::common::{SegmentLevel, SegmentState, Status};
use contract::pb::milvus::{
    GetPersistentSegmentInfoRequest, GetPersistentSegmentInfoResponse, GetQuerySegmentInfoRequest,
    GetQuerySegmentInfoResponse, GetReplicasRequest, GetReplicasResponse, LoadBalanceRequest,
    PersistentSegmentInfo, QuerySegmentInfo, ReplicaInfo, ShardReplica,
};

use super::Caller;
use crate::base::{CollectionId, NodeId, SegmentId};
use crate::model::{SegmentManifest, memory};
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, CollectionInfo, CollectionRef, Refusal};

/// The copies of a collection and their nodes.
pub async fn replicas(
    proxy: &Proxy,
    caller: Caller,
    request: GetReplicasRequest,
) -> Result<GetReplicasResponse, Error> {
    let info = if request.collection_name.is_empty() && request.collection_id != 0 {
        proxy.coord().collection(CollectionRef::Id(CollectionId(request.collection_id))).await?
    } else {
        proxy.info(&caller, &request.db_name, &request.collection_name).await?
    };
    let placed = proxy.coord().replicas(info.id).await?;
    if placed.is_empty() {
        return Err(Error::NoReplicas { collection: info.id.to_string() });
    }
    let replicas = placed.into_iter().map(|replica| shown(replica, request.with_shard_nodes)).collect();
    Ok(GetReplicasResponse { status: Some(success()), replicas })
}

fn shown(replica: rpc::ReplicaInfo, with_shard_nodes: bool) -> ReplicaInfo {
    let shard = |shard: rpc::ReplicaShard| ShardReplica {
        leader_id: shard.leader.0,
        leader_addr: shard.address,
        dm_channel_name: shard.channel.as_str().to_owned(),
        node_ids: if with_shard_nodes { numbers(&shard.nodes) } else { Vec::new() },
    };
    ReplicaInfo {
        replica_id: replica.id,
        collection_id: replica.collection.0,
        partition_ids: replica.partitions.iter().map(|partition| partition.0).collect(),
        shard_replicas: replica.shards.into_iter().map(shard).collect(),
        node_ids: numbers(&replica.nodes),
        resource_group_name: replica.group,
        ..Default::default()
    }
}

fn numbers(nodes: &[NodeId]) -> Vec<i64> {
    nodes.iter().map(|node| node.0).collect()
}

/// Moves segments between the nodes of a copy.
pub async fn balance(proxy: &Proxy, caller: Caller, request: LoadBalanceRequest) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let to = request.dst_node_i_ds.into_iter().map(NodeId).collect();
    let segments = request.sealed_segment_i_ds.into_iter().map(SegmentId).collect();
    proxy.coord().balance(info.id, NodeId(request.src_node_id), to, segments).await?;
    Ok(success())
}

/// Sealed segments in memory, and the nodes that hold them.
#[expect(deprecated, reason = "old clients read the one node, newer ones the list")]
pub async fn loaded_segments(
    proxy: &Proxy,
    caller: Caller,
    request: GetQuerySegmentInfoRequest,
) -> Result<GetQuerySegmentInfoResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let replicas = proxy.coord().replicas(info.id).await?;
    if replicas.is_empty() {
        return Err(Refusal::CollectionNotLoaded { collection: info.id.to_string() }.into());
    }
    let mut holders: BTreeMap<SegmentId, Vec<i64>> = BTreeMap::new();
    for (node, segment) in replicas.iter().flat_map(|replica| &replica.segments) {
        holders.entry(*segment).or_default().push(node.0);
    }
    let manifests = proxy.coord().manifests(info.id).await?;
    // What a query node takes of its memory.
    let on_disk = memory::fields_on_disk(&info.schema, &info.indexes);
    let needs = memory::Needs::new(&info.schema, &info.indexes, &on_disk);
    let mut infos = Vec::new();
    for segment in manifests.iter().flat_map(|channel| &channel.segments) {
        let Some(mut nodes) = holders.remove(&segment.id) else { continue };
        nodes.sort_unstable();
        nodes.dedup();
        let (index_name, index_id) = index_of(&info, segment);
        infos.push(QuerySegmentInfo {
            segment_id: segment.id.0,
            collection_id: info.id.0,
            partition_id: segment.partition.0,
            mem_size: to_i64(needs.segment_bytes(segment)),
            num_rows: to_i64(segment.rows),
            index_name,
            index_id,
            node_id: nodes.first().copied().unwrap_or_default(),
            state: SegmentState::Sealed.into(),
            node_ids: nodes,
            level: SegmentLevel::L1.into(),
            // Whoever holds a segment has the order of its keys.
            is_sorted: true,
            ..Default::default()
        });
    }
    Ok(GetQuerySegmentInfoResponse { status: Some(success()), infos })
}

/// The index built over a segment, the one over vectors first: its name and id.
fn index_of(info: &CollectionInfo, segment: &SegmentManifest) -> (String, i64) {
    let built =
        |index: &&crate::model::IndexDefinition| segment.indexes.iter().any(|built| built.index == index.id);
    let index = info.indexes.iter().filter(built).max_by_key(|index| (index.metric.is_some(), -index.id.0));
    index.map(|index| (index.name.clone(), index.id.0)).unwrap_or_default()
}

fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Sealed segments in the store.
pub async fn stored_segments(
    proxy: &Proxy,
    caller: Caller,
    request: GetPersistentSegmentInfoRequest,
) -> Result<GetPersistentSegmentInfoResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let mut infos = Vec::new();
    let flushed = i32::from(SegmentState::Flushed);
    if request.states.is_empty() || request.states.contains(&flushed) {
        let manifests = proxy.coord().manifests(info.id).await?;
        for (channel, manifest) in info.channels.iter().zip(&manifests) {
            infos.extend(manifest.segments.iter().map(|segment| PersistentSegmentInfo {
                segment_id: segment.id.0,
                collection_id: info.id.0,
                partition_id: segment.partition.0,
                num_rows: to_i64(segment.rows),
                state: flushed,
                level: SegmentLevel::L1.into(),
                insert_channel: channel.as_str().to_owned(),
                ..Default::default()
            }));
        }
    }
    Ok(GetPersistentSegmentInfoResponse { status: Some(success()), infos })
}
