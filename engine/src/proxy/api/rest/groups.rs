//! `resource_groups/…`: the REST form of the calls about resource groups.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::common::KeyValuePair;
use contract::pb::milvus::{
    CreateResourceGroupRequest, DescribeResourceGroupRequest, DropResourceGroupRequest,
    ListResourceGroupsRequest, ResourceGroup, TransferReplicaRequest, UpdateResourceGroupsRequest,
};
use contract::pb::rg::{
    ResourceGroupConfig, ResourceGroupLimit, ResourceGroupNodeFilter, ResourceGroupTransfer,
};
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Value as Json, json};

use super::{Data, Door, Version, Visit, answer, data};
use crate::proxy::access::table::Asks;
use crate::proxy::api::groups;
use crate::proxy::convert::params::plain;
use crate::proxy::{Error, Proxy};

/// Milvus's name of the requests, in complaints about missing keys.
const REQUEST: &str = "ResourceGroupReq";
/// The same for a transfer.
const TRANSFER: &str = "TransferReplicaReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/create", endpoint!("RestCreateResourceGroup", CreateResourceGroupRequest, create))
        .route("/alter", endpoint!("RestUpdateResourceGroups", UpdateResourceGroupsRequest, alter))
        .route("/drop", endpoint!("RestDropResourceGroup", DropResourceGroupRequest, drop))
        .route("/describe", endpoint!("RestDescribeResourceGroup", DescribeResourceGroupRequest, describe))
        .route("/list", endpoint!("RestListResourceGroups", ListResourceGroupsRequest, list))
        .route(
            "/transfer_replica",
            endpoint!("RestTransferReplica", TransferReplicaRequest, transfer_replica),
        )
}

/// Makes a group.
async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let resource_group = visit.required(REQUEST, "name")?;
    let config = visit.body.get("config").map(config);
    let request = CreateResourceGroupRequest { resource_group, config, ..Default::default() };
    groups::create(proxy, visit.caller, request).await?;
    Ok(data(json!({})))
}

/// Replaces what groups ask for: one by `name` and `config`, or several by `resource_groups`.
async fn alter(proxy: &Proxy, visit: Visit) -> Data {
    let resource_groups = match visit.body.get("resource_groups").and_then(Json::as_object) {
        Some(several) => several.iter().map(|(name, one)| (name.clone(), config(one))).collect(),
        None => {
            let one = visit.body.get("config").map(config).unwrap_or_default();
            [(visit.required(REQUEST, "name")?, one)].into()
        }
    };
    let request = UpdateResourceGroupsRequest { resource_groups, ..Default::default() };
    groups::update(proxy, visit.caller, request).await?;
    Ok(data(json!({})))
}

/// Drops a group.
async fn drop(proxy: &Proxy, visit: Visit) -> Data {
    let resource_group = visit.required(REQUEST, "name")?;
    let request = DropResourceGroupRequest { resource_group, ..Default::default() };
    groups::drop(proxy, visit.caller, request).await?;
    Ok(data(json!({})))
}

/// One group.
async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let resource_group = visit.required(REQUEST, "name")?;
    let request = DescribeResourceGroupRequest { resource_group, ..Default::default() };
    let shown = groups::describe(proxy, visit.caller, request).await?;
    Ok(data(shown.resource_group.map_or(Json::Null, group)))
}

/// The names of all groups.
async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let shown = groups::list(proxy, visit.caller, ListResourceGroupsRequest::default()).await?;
    Ok(data(json!(shown.resource_groups)))
}

/// Moves copies of a collection between groups.
async fn transfer_replica(proxy: &Proxy, visit: Visit) -> Data {
    let request = TransferReplicaRequest {
        source_resource_group: visit.required(TRANSFER, "sourceRgName")?,
        target_resource_group: visit.required(TRANSFER, "targetRgName")?,
        collection_name: visit.required(TRANSFER, "collectionName")?,
        num_replica: visit
            .body
            .get("replicaNum")
            .and_then(Json::as_i64)
            .ok_or_else(|| Error::missing(TRANSFER, "replicaNum"))?,
        ..Default::default()
    };
    groups::transfer_replicas(proxy, visit.caller, request).await?;
    Ok(data(json!({})))
}

/// What a group asks for, from JSON with the names of the wire.
fn config(json: &Json) -> ResourceGroupConfig {
    let limit = |key: &str| {
        let count = json.get(key)?.get("node_num")?.as_i64()?;
        Some(ResourceGroupLimit { node_num: i32::try_from(count).unwrap_or(i32::MAX) })
    };
    let groups = |key: &str| {
        let list = json.get(key).and_then(Json::as_array).into_iter().flatten();
        let names = list.filter_map(|one| one.get("resource_group").and_then(Json::as_str));
        names.map(|name| ResourceGroupTransfer { resource_group: name.to_owned() }).collect()
    };
    let labels = json.get("node_filter").and_then(|filter| filter.get("node_labels")?.as_array());
    let node_filter = labels
        .map(|labels| ResourceGroupNodeFilter { node_labels: labels.iter().filter_map(label).collect() });
    ResourceGroupConfig {
        requests: limit("requests"),
        limits: limit("limits"),
        transfer_from: groups("transfer_from"),
        transfer_to: groups("transfer_to"),
        node_filter,
    }
}

fn label(json: &Json) -> Option<KeyValuePair> {
    Some(KeyValuePair { key: json.get("key")?.as_str()?.to_owned(), value: plain(json.get("value")?) })
}

fn group(group: ResourceGroup) -> Json {
    let config = group.config.unwrap_or_default();
    let count = |limit: Option<ResourceGroupLimit>| json!({ "node_num": limit.unwrap_or_default().node_num });
    let groups = |list: Vec<ResourceGroupTransfer>| -> Vec<Json> {
        list.into_iter().map(|one| json!({ "resource_group": one.resource_group })).collect()
    };
    let labels = config.node_filter.unwrap_or_default().node_labels;
    let labels: Vec<Json> =
        labels.into_iter().map(|label| json!({ "key": label.key, "value": label.value })).collect();
    let node = |node: &contract::pb::common::NodeInfo| json!({ "node_id": node.node_id, "address": node.address, "hostname": node.hostname });
    json!({
        "name": group.name,
        "capacity": group.capacity,
        "num_available_node": group.num_available_node,
        "num_loaded_replica": group.num_loaded_replica,
        "num_outgoing_node": group.num_outgoing_node,
        "num_incoming_node": group.num_incoming_node,
        "config": {
            "requests": count(config.requests),
            "limits": count(config.limits),
            "transfer_from": groups(config.transfer_from),
            "transfer_to": groups(config.transfer_to),
            "node_filter": { "node_labels": labels },
        },
        "nodes": group.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{alter, create, describe, list};
    use crate::proxy::Proxy;
    use crate::proxy::api::rest::Visit;
    use crate::proxy::twin::Twin;

    #[tokio::test]
    async fn a_group_made_over_rest_is_shown_as_it_was_asked_for() {
        let proxy = Proxy::new(Twin::new().parts());
        let config = json!({
            "requests": { "node_num": 1 },
            "limits": { "node_num": 3 },
            "transfer_from": [{ "resource_group": "__default_resource_group" }],
            "transfer_to": [],
            "node_filter": { "node_labels": [{ "key": "zone", "value": "a" }] },
        });

        create(&proxy, Visit::of(&json!({ "name": "rg", "config": config }))).await.unwrap();
        let shown = describe(&proxy, Visit::of(&json!({ "name": "rg" }))).await.unwrap();
        let several = json!({ "resource_groups": { "rg": { "requests": { "node_num": 0 } } } });
        alter(&proxy, Visit::of(&several)).await.unwrap();
        let changed = describe(&proxy, Visit::of(&json!({ "name": "rg" }))).await.unwrap();
        let names = list(&proxy, Visit::of(&json!({}))).await.unwrap();

        assert_eq!((&shown["data"]["config"], &shown["data"]["capacity"]), (&config, &json!(1)));
        assert_eq!(changed["data"]["config"]["limits"], json!({ "node_num": 0 }));
        assert_eq!(names["data"], json!(["__default_resource_group", "rg"]));
        let error = create(&proxy, Visit::of(&json!({}))).await.unwrap_err();
        assert_eq!(error.code(), 1802);
    }
}
