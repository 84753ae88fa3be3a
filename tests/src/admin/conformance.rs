//! What every server of the API answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use contract::admin as pb;
use pb::admin_client::AdminClient;
use tonic::Code;
use tonic::transport::Channel;

/// Runs every claim against a server that has one query node, nothing loaded, and no coordinator that stands by.
///
/// # Panics
/// If one of them does not hold.
pub async fn conformance(client: &AdminClient<Channel>) {
    the_leader_is_the_same_everywhere(client.clone()).await;
    a_node_is_emptied_and_taken_back(client.clone()).await;
    a_node_that_is_not_there_is_refused(client.clone()).await;
    resource_groups_come_change_and_go(client.clone()).await;
    the_only_candidate_keeps_the_lead(client.clone()).await;
    loads_are_those_of_query_nodes(client.clone()).await;
    what_is_not_there_is_not_found(client.clone()).await;
    settings_are_in_order_and_keep_secrets(client.clone()).await;
    formats_only_grow(client.clone()).await;
}

async fn nodes(client: &mut AdminClient<Channel>) -> pb::ListNodesResponse {
    client.list_nodes(pb::ListNodesRequest {}).await.unwrap().into_inner()
}

async fn the_leader_is_the_same_everywhere(mut client: AdminClient<Channel>) {
    let of_nodes = nodes(&mut client).await.leader.unwrap();
    let of_cluster = client.get_cluster(pb::GetClusterRequest {}).await.unwrap().into_inner().leader.unwrap();

    assert_eq!(of_nodes, of_cluster);
    assert!(!of_nodes.address.is_empty() && of_nodes.epoch > 0, "{of_nodes:?}");
}

async fn a_node_is_emptied_and_taken_back(mut client: AdminClient<Channel>) {
    let node = nodes(&mut client).await.nodes.remove(0);
    assert_eq!(node.state(), pb::NodeState::Ready);

    let request = pb::StartDrainRequest { node: node.id.to_string() };
    let started = client.start_drain(request.clone()).await.unwrap().into_inner().progress.unwrap();
    assert_eq!(started.node.unwrap().state(), pb::NodeState::Draining);
    client.start_drain(request).await.expect("asking again changes nothing");
    let asked = pb::GetDrainRequest { node: node.address.clone() };
    let progress = client.get_drain(asked).await.unwrap().into_inner().progress.unwrap();
    assert_eq!((progress.channels, progress.segments, progress.followed), (0, 0, 0));
    assert!(progress.done, "a node that has nothing is empty at once");

    let request = pb::StopDrainRequest { node: node.id.to_string() };
    let stopped = client.stop_drain(request).await.unwrap().into_inner().progress.unwrap();
    assert!(!stopped.done);
    assert_eq!(nodes(&mut client).await.nodes[0].state(), pb::NodeState::Ready);
}

async fn a_node_that_is_not_there_is_refused(mut client: AdminClient<Channel>) {
    let request = pb::StartDrainRequest { node: "nobody:1".to_owned() };
    let refused = client.start_drain(request).await.unwrap_err();

    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "there is no node nobody:1"));
}

async fn resource_groups_come_change_and_go(mut client: AdminClient<Channel>) {
    let config = |limits| pb::ResourceGroupConfig { requests: 0, limits, ..Default::default() };
    let create = |name: &str, limits| pb::CreateResourceGroupRequest {
        name: name.to_owned(),
        config: Some(config(limits)),
    };
    client.create_resource_group(create("gold", 1)).await.unwrap();
    client.create_resource_group(create("gold", 1)).await.expect("an identical one is fine");
    let differs = client.create_resource_group(create("gold", 2)).await.unwrap_err();
    let misnamed = client.create_resource_group(create("no spaces", 1)).await.unwrap_err();
    assert_eq!((differs.code(), misnamed.code()), (Code::AlreadyExists, Code::InvalidArgument));

    let update = |name: &str, limits| pb::UpdateResourceGroupsRequest {
        configs: [(name.to_owned(), config(limits))].into(),
    };
    client.update_resource_groups(update("gold", 0)).await.unwrap();
    let unknown = client.update_resource_groups(update("silver", 0)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let listed = client.list_resource_groups(pb::ListResourceGroupsRequest {}).await.unwrap().into_inner();
    let names: Vec<_> = listed.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["__default_resource_group", "gold"]);
    assert_eq!(listed.groups[1].config, Some(config(0)));

    let request = pb::DropResourceGroupRequest { name: "gold".to_owned() };
    client.drop_resource_group(request.clone()).await.unwrap();
    client.drop_resource_group(request).await.expect("one that is gone is fine");
    let listed = client.list_resource_groups(pb::ListResourceGroupsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.groups.len(), 1);
}

async fn the_only_candidate_keeps_the_lead(mut client: AdminClient<Channel>) {
    let refused = client.resign(pb::ResignRequest {}).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition);
}

async fn loads_are_those_of_query_nodes(mut client: AdminClient<Channel>) {
    let node = nodes(&mut client).await.nodes.remove(0);
    let loads = client.list_loads(pb::ListLoadsRequest {}).await.unwrap().into_inner().loads;

    let ids: Vec<_> = loads.iter().map(|load| load.node).collect();
    assert_eq!(ids, [node.id]);
    assert_eq!((loads[0].bytes_to_load, loads[0].collections.len()), (0, 0));
}

async fn what_is_not_there_is_not_found(mut client: AdminClient<Channel>) {
    let filter = pb::CollectionFilter { database: String::new(), collection: "nothing".to_owned() };
    let request = pb::ListCollectionsRequest { filter: Some(filter) };
    let refused = client.list_collections(request).await.unwrap_err();

    assert_eq!(refused.code(), Code::NotFound);
}

async fn settings_are_in_order_and_keep_secrets(mut client: AdminClient<Channel>) {
    let settings = client.list_settings(pb::ListSettingsRequest {}).await.unwrap().into_inner().settings;

    assert!(settings.is_sorted_by(|left, right| left.key < right.key));
    let token = settings.iter().find(|setting| setting.key == "redkite.admin.tokenFile").unwrap();
    assert!(!token.components.is_empty() && !token.meaning.is_empty());
    let secret = settings.iter().find(|setting| setting.key == "minio.secretAccessKey").unwrap();
    assert!(["", "(hidden)"].contains(&secret.value.as_str()));
}

async fn formats_only_grow(mut client: AdminClient<Channel>) {
    let before = client.get_cluster(pb::GetClusterRequest {}).await.unwrap().into_inner();
    let newest = before.newest_format;
    let too_far = client.finalize(pb::FinalizeRequest { format: newest + 1 }).await.unwrap_err();
    assert_eq!(too_far.code(), Code::FailedPrecondition);

    let raised = client.finalize(pb::FinalizeRequest { format: 0 }).await.unwrap().into_inner();
    let again = client.finalize(pb::FinalizeRequest { format: newest }).await.unwrap().into_inner();

    assert_eq!(raised, pb::FinalizeResponse { from: before.format, to: newest });
    assert_eq!(again, pb::FinalizeResponse { from: newest, to: newest });
}
