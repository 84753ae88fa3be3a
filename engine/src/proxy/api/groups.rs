//! Calls about resource groups.

use std::collections::HashMap;

use contract::pb::common::Status;
use contract::pb::milvus::{
    CreateResourceGroupRequest, DescribeResourceGroupRequest, DescribeResourceGroupResponse,
    DropResourceGroupRequest, ListResourceGroupsRequest, ListResourceGroupsResponse, TransferNodeRequest,
    TransferReplicaRequest, UpdateResourceGroupsRequest,
};

use super::Caller;
use crate::base::CollectionId;
use crate::proxy::convert::group;
use crate::proxy::convert::schema::check_group_name;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, CollectionRef, Refusal};

/// Makes a group; an identical one is fine.
pub async fn create(proxy: &Proxy, _: Caller, request: CreateResourceGroupRequest) -> Result<Status, Error> {
    check_group_name(&request.resource_group)?;
    let config = group::config(&request.resource_group, request.config)?;
    proxy.coord().create_group(&request.resource_group, config).await?;
    Ok(success())
}

/// Drops an empty group; one that does not exist is fine.
pub async fn drop(proxy: &Proxy, _: Caller, request: DropResourceGroupRequest) -> Result<Status, Error> {
    check_group_name(&request.resource_group)?;
    proxy.coord().drop_group(&request.resource_group).await?;
    Ok(success())
}

/// Replaces what some groups ask for, all or none.
pub async fn update(proxy: &Proxy, _: Caller, request: UpdateResourceGroupsRequest) -> Result<Status, Error> {
    let mut configs = Vec::with_capacity(request.resource_groups.len());
    for (name, config) in request.resource_groups {
        check_group_name(&name)?;
        let config = group::config(&name, Some(config))?;
        configs.push((name, config));
    }
    configs.sort_by(|left, right| left.0.cmp(&right.0));
    if !configs.is_empty() {
        proxy.coord().update_groups(configs).await?;
    }
    Ok(success())
}

/// One group, and who is in it.
pub async fn describe(
    proxy: &Proxy,
    _: Caller,
    request: DescribeResourceGroupRequest,
) -> Result<DescribeResourceGroupResponse, Error> {
    let wanted = request.resource_group;
    let found = proxy.coord().groups().await?.into_iter().find(|group| group.name == wanted);
    let Some(found) = found else { return Err(Refusal::ResourceGroupNotFound { group: wanted }.into()) };
    let ids = found.replicas.keys().chain(found.outgoing.keys()).chain(found.incoming.keys());
    let mut names: HashMap<CollectionId, String> = HashMap::new();
    for id in ids {
        match proxy.coord().collection(CollectionRef::Id(*id)).await {
            Ok(info) => {
                names.insert(*id, info.name.clone());
            }
            // Dropped meanwhile.
            Err(rpc::Error::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let resource_group = group::to_wire(found, |id| names.get(&id).cloned());
    Ok(DescribeResourceGroupResponse { status: Some(success()), resource_group: Some(resource_group) })
}

/// The names of all groups, the default one first.
pub async fn list(
    proxy: &Proxy,
    _: Caller,
    _: ListResourceGroupsRequest,
) -> Result<ListResourceGroupsResponse, Error> {
    let groups = proxy.coord().groups().await?;
    let resource_groups = groups.into_iter().map(|group| group.name).collect();
    Ok(ListResourceGroupsResponse { status: Some(success()), resource_groups })
}

/// Moves the claim on some nodes from one group to another.
pub async fn transfer_nodes(proxy: &Proxy, _: Caller, request: TransferNodeRequest) -> Result<Status, Error> {
    let (from, to) = (&request.source_resource_group, &request.target_resource_group);
    check_transfer(from, to)?;
    let count = transfer_count("node", i64::from(request.num_node))?;
    proxy.coord().transfer_nodes(from, to, count).await?;
    Ok(success())
}

/// Moves some copies of a collection from one group to another.
pub async fn transfer_replicas(
    proxy: &Proxy,
    caller: Caller,
    request: TransferReplicaRequest,
) -> Result<Status, Error> {
    let (from, to) = (&request.source_resource_group, &request.target_resource_group);
    check_transfer(from, to)?;
    let count = transfer_count("replica", request.num_replica)?;
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.coord().transfer_replicas(from, to, CollectionRef::Id(info.id), count).await?;
    Ok(success())
}

fn check_transfer(from: &str, to: &str) -> Result<(), Error> {
    check_group_name(from)?;
    check_group_name(to)?;
    if from == to { Err(Error::SameGroup { group: from.to_owned() }) } else { Ok(()) }
}

fn transfer_count(what: &'static str, count: i64) -> Result<u32, Error> {
    u32::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::TransferCount { what, count })
}
