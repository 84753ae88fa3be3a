//! How fresh reads are, where data is, and resource groups, as clients see them.

use contract::pb::common::ConsistencyLevel;

use super::*;
use crate::base::{ChannelName, CollectionId, Timestamp};
use crate::rpc::Consistency;

#[tokio::test]
async fn reads_are_as_fresh_as_their_client_asks() {
    let (proxy, twin) = with_twin(false, 1).await;
    let time = Timestamp::from_unix_ms(1_700_000_000_000);
    let ask = |level: ConsistencyLevel, use_default_consistency, guarantee_timestamp| SearchRequest {
        consistency_level: level.into(),
        use_default_consistency,
        guarantee_timestamp,
        ..search_request(&[("topk", "1")], &[&[0.0, 0.0]])
    };
    let requests = [
        ask(ConsistencyLevel::Strong, false, 0),
        ask(ConsistencyLevel::Strong, false, 2),
        ask(ConsistencyLevel::Strong, false, time.0),
        ask(ConsistencyLevel::Bounded, false, 2),
        ask(ConsistencyLevel::Eventually, false, 1),
        // The collection is `Strong`.
        ask(ConsistencyLevel::Eventually, true, 1),
    ];

    for request in requests {
        assert_eq!(said(search(&proxy, request).await.status), (0, String::new()));
    }

    let asked = std::mem::take(&mut *twin.asked.lock());
    assert_eq!(
        asked,
        [
            Consistency::Strong,
            Consistency::Bounded,
            Consistency::Session(time),
            Consistency::Bounded,
            Consistency::Eventually,
            Consistency::Strong,
        ]
    );
    insert(&proxy, 1, vec![ids(&[1]), vectors(2, &[0.0, 1.0]), ages(&[1])]).await;
    upsert(&proxy, 1, vec![ids(&[1]), ages(&[2])], true).await;
    let delete = DeleteRequest {
        collection_name: "c".to_owned(),
        expr: "age > 0".to_owned(),
        consistency_level: ConsistencyLevel::Eventually.into(),
        ..Default::default()
    };
    proxy.delete(Request::new(delete)).await.unwrap();
    assert_eq!(*twin.asked.lock(), [Consistency::Strong, Consistency::Strong]);
}

#[tokio::test]
async fn an_iterator_waits_for_the_instant_it_reads_at() {
    let (proxy, twin) = with_twin(false, 1).await;

    let first = query(&proxy, "id > 0", &["id"], &[("limit", "1"), ("iterator", "True")]).await;

    assert_eq!(*twin.asked.lock(), [Consistency::Session(Timestamp(first.session_ts))]);
}

#[tokio::test]
async fn a_flush_seals_every_channel() {
    let (proxy, twin) = with_twin(false, 3).await;
    let request = FlushRequest { collection_names: vec!["c".to_owned()], ..Default::default() };

    let flushed = proxy.flush(Request::new(request)).await.unwrap().into_inner();

    assert_eq!(said(flushed.status), (0, String::new()));
    let mut channels = twin.flushed.lock().clone();
    channels.sort();
    let id: CollectionId = channels[0].collection().unwrap();
    assert_eq!(channels, (0..3).map(|shard| ChannelName::of(id, shard)).collect::<Vec<_>>());
}

/// A proxy with the loaded collections `c` and `d`, a manifest of the first of which is damaged.
async fn beside_damaged() -> (Proxy, Arc<Twin>) {
    let (proxy, twin) = with_twin(false, 1).await;
    make_loaded(&proxy, "d", false, 1).await;
    let hurt = rpc::CollectionRef::Name { database: "default".to_owned(), name: "c".to_owned() };
    let hurt = proxy.coord().collection(hurt).await.unwrap().id;
    twin.damaged.lock().push(hurt);
    (proxy, twin)
}

#[tokio::test]
#[expect(deprecated, reason = "clients still send and read what newer ones leave out")]
async fn a_collection_that_is_damaged_is_shown_as_not_loaded_beside_those_that_are() {
    let (proxy, _twin) = beside_damaged().await;
    let show = async |r#type: ShowType| {
        let request = ShowCollectionsRequest { r#type: r#type.into(), ..Default::default() };
        proxy.show_collections(Request::new(request)).await.unwrap().into_inner()
    };

    let loaded = show(ShowType::InMemory).await;

    assert_eq!(said(loaded.status), (0, String::new()));
    assert_eq!(loaded.collection_names, ["c", "d"]);
    assert_eq!(loaded.in_memory_percentages, [0, 100]);
    assert_eq!(loaded.query_service_available, [false, true]);
    assert_eq!(show(ShowType::All).await.collection_names, ["c", "d"]);
}

#[tokio::test]
async fn a_flush_of_everything_flushes_what_it_can_and_names_what_it_cannot() {
    let (proxy, twin) = beside_damaged().await;
    let flush_all = async || {
        let answer = proxy.flush_all(Request::new(FlushAllRequest::default())).await.unwrap().into_inner();
        said(answer.status)
    };

    let (code, text) = flush_all().await;

    assert_eq!(code, 2, "{text}");
    let begin = "1 of 2 collections are not flushed (default.c), all others are: flush failed: a manifest of";
    assert!(text.starts_with(begin), "{text}");
    let other = rpc::CollectionRef::Name { database: "default".to_owned(), name: "d".to_owned() };
    let other = proxy.coord().collection(other).await.unwrap().id;
    assert_eq!(*twin.flushed.lock(), [ChannelName::of(other, 0)]);

    twin.damaged.lock().clear();
    assert_eq!(flush_all().await, (0, String::new()));
    assert_eq!(twin.flushed.lock().len(), 3);
}

fn group_config(requests: i32, limits: Option<i32>) -> contract::pb::rg::ResourceGroupConfig {
    let limit = |node_num| contract::pb::rg::ResourceGroupLimit { node_num };
    contract::pb::rg::ResourceGroupConfig {
        requests: Some(limit(requests)),
        limits: limits.map(limit),
        ..Default::default()
    }
}

#[tokio::test]
async fn resource_groups_are_made_shown_changed_and_dropped() {
    let proxy = with_collection(false, 1).await;
    let create = async |name: &str, config| {
        let request = CreateResourceGroupRequest {
            resource_group: name.to_owned(),
            config: Some(config),
            ..Default::default()
        };
        said(Some(proxy.create_resource_group(Request::new(request)).await.unwrap().into_inner()))
    };
    let describe = async |name: &str| {
        let request = DescribeResourceGroupRequest { resource_group: name.to_owned(), ..Default::default() };
        proxy.describe_resource_group(Request::new(request)).await.unwrap().into_inner()
    };
    let drop = async |name: &str| {
        let request = DropResourceGroupRequest { resource_group: name.to_owned(), ..Default::default() };
        said(Some(proxy.drop_resource_group(Request::new(request)).await.unwrap().into_inner()))
    };
    let list = async || {
        let answer = proxy.list_resource_groups(Request::new(ListResourceGroupsRequest::default()));
        answer.await.unwrap().into_inner().resource_groups
    };

    assert_eq!(create("rg", group_config(2, None)).await, (0, String::new()));
    assert_eq!(create("rg", group_config(2, Some(2))).await, (0, String::new()));
    assert_eq!(create("rg", group_config(1, None)).await.0, 301);
    assert_eq!(create("rg2", group_config(-1, None)).await.0, 303);
    let (code, text) = create("1rg", group_config(1, None)).await;
    assert!(code == 1100 && text.starts_with("Invalid resource group name 1rg. the first"), "{code} {text}");
    let (code, text) = create("", group_config(1, None)).await;
    assert!(code == 1100 && text.starts_with("resource group name couldn't be empty"), "{code} {text}");
    assert_eq!(list().await, ["__default_resource_group", "rg"]);

    let group = describe("rg").await.resource_group.unwrap();
    assert_eq!((group.capacity, group.num_available_node), (2, 0));
    assert_eq!(group.config.unwrap().limits.unwrap().node_num, 2);
    let group = describe("__default_resource_group").await.resource_group.unwrap();
    assert_eq!((group.capacity, group.num_available_node), (1_000_000, 1));
    assert_eq!(group.num_loaded_replica, [("c".to_owned(), 1)].into());
    assert_eq!(group.nodes[0].hostname, "h7");
    let missing = said(describe("x").await.status);
    assert_eq!(missing, (300, "resource group not found[rg=x]".to_owned()));

    let update = UpdateResourceGroupsRequest {
        resource_groups: [("rg".to_owned(), group_config(0, Some(0)))].into(),
        ..Default::default()
    };
    assert_good(&proxy.update_resource_groups(Request::new(update)).await.unwrap().into_inner());
    assert_eq!(drop("rg").await, (0, String::new()));
    assert_eq!(drop("rg").await, (0, String::new()));
    assert_eq!(
        drop("__default_resource_group").await,
        (303, "default resource group is not deletable".to_owned())
    );
}

#[tokio::test]
async fn transfers_are_checked_before_they_are_tried() {
    let proxy = with_collection(false, 1).await;
    let nodes = async |source: &str, target: &str, num_node| {
        let request = TransferNodeRequest {
            source_resource_group: source.to_owned(),
            target_resource_group: target.to_owned(),
            num_node,
            ..Default::default()
        };
        proxy.transfer_node(Request::new(request)).await.unwrap().into_inner().code
    };
    let replicas = async |target: &str, collection: &str, num_replica| {
        let request = TransferReplicaRequest {
            source_resource_group: "__default_resource_group".to_owned(),
            target_resource_group: target.to_owned(),
            collection_name: collection.to_owned(),
            num_replica,
            ..Default::default()
        };
        proxy.transfer_replica(Request::new(request)).await.unwrap().into_inner().code
    };

    assert_eq!(nodes("rg", "rg", 1).await, 1100);
    assert_eq!(nodes("rg", "rg2", 0).await, 1100);
    assert_eq!(nodes("rg", "rg2", 1).await, 300);
    assert_eq!(nodes("__default_resource_group", "rg2", 2).await, 304);
    assert_eq!(replicas("rg", "c", 0).await, 1100);
    assert_eq!(replicas("rg", "x", 1).await, 100);
    assert_eq!(replicas("rg", "c", 1).await, 300);
}

#[tokio::test]
async fn it_is_shown_where_a_collection_is() {
    let proxy = with_collection(false, 2).await;
    let name = || "c".to_owned();
    let replicas = async || {
        let request =
            GetReplicasRequest { collection_name: name(), with_shard_nodes: true, ..Default::default() };
        proxy.get_replicas(Request::new(request)).await.unwrap().into_inner()
    };
    let loaded = async || {
        let request = GetQuerySegmentInfoRequest { collection_name: name(), ..Default::default() };
        proxy.get_query_segment_info(Request::new(request)).await.unwrap().into_inner()
    };
    let balance = async |src_node_id| {
        let request = LoadBalanceRequest { collection_name: name(), src_node_id, ..Default::default() };
        proxy.load_balance(Request::new(request)).await.unwrap().into_inner().code
    };
    insert(&proxy, 2, vec![ids(&[1, 2]), vectors(2, &[0.0; 4])]).await;

    let shown = replicas().await.replicas;
    let shards: Vec<_> =
        shown[0].shard_replicas.iter().map(|shard| (shard.leader_id, shard.node_ids.clone())).collect();
    assert_eq!((shown.len(), shown[0].node_ids.clone()), (1, vec![7]));
    assert_eq!(shards, [(7, vec![7]), (7, vec![7])]);
    assert_eq!(shown[0].resource_group_name, "__default_resource_group");
    let segments: Vec<_> =
        loaded().await.infos.into_iter().map(|one| (one.num_rows, one.is_sorted, one.node_ids)).collect();
    assert_eq!(segments, [(2, true, vec![7])]);
    let request = GetPersistentSegmentInfoRequest { collection_name: name(), ..Default::default() };
    let stored = proxy.get_persistent_segment_info(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(
        stored.infos.iter().map(|segment| (segment.num_rows, segment.state)).collect::<Vec<_>>(),
        [(2, 4)]
    );
    assert_eq!((balance(7).await, balance(8).await), (0, 1100));

    let release = ReleaseCollectionRequest { collection_name: name(), ..Default::default() };
    assert_good(&proxy.release_collection(Request::new(release)).await.unwrap().into_inner());
    let (code, text) = said(replicas().await.status);
    assert!(code == 400 && text.starts_with("replica not found[collection="), "{code} {text}");
    assert_eq!(said(loaded().await.status).0, 101);
}

/// The groups of the copies of `c` after a load that asks for so many, in these groups; or how it is refused.
async fn groups_of_copies(
    (proxy, twin): &(Proxy, Arc<Twin>),
    replica_number: i32,
    resource_groups: &[&str],
) -> Result<Vec<String>, String> {
    let request = LoadCollectionRequest {
        collection_name: "c".to_owned(),
        replica_number,
        resource_groups: resource_groups.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    };
    let status = proxy.load_collection(Request::new(request)).await.unwrap().into_inner();
    if status.code != 0 {
        return Err(status.reason);
    }
    let collection = rpc::CollectionRef::Name { database: "default".to_owned(), name: "c".to_owned() };
    let info = rpc::Coord::collection(&**twin, collection).await.unwrap();
    Ok(info.load.as_ref().unwrap().replicas.iter().map(|replica| replica.group.clone()).collect())
}

#[tokio::test]
async fn a_load_takes_what_it_does_not_say_from_its_collection_and_then_from_its_database() {
    let both = with_twin(false, 1).await;
    let proxy = &both.0;
    let alter = async |properties: &[(&str, &str)]| {
        let properties = properties.iter().map(|(key, value)| pair(key, value)).collect();
        let request =
            AlterCollectionRequest { collection_name: "c".to_owned(), properties, ..Default::default() };
        assert_good(&proxy.alter_collection(Request::new(request)).await.unwrap().into_inner());
    };
    let alter_database = async |properties: &[(&str, &str)]| {
        let properties = properties.iter().map(|(key, value)| pair(key, value)).collect();
        let request = AlterDatabaseRequest { properties, ..Default::default() };
        assert_good(&proxy.alter_database(Request::new(request)).await.unwrap().into_inner());
    };
    let own = |groups: &[&str]| Ok(groups.iter().map(|&group| group.to_owned()).collect::<Vec<_>>());
    let default = rpc::DEFAULT_GROUP;
    assert_eq!(groups_of_copies(&both, 0, &[]).await, own(&[default]));

    alter_database(&[("database.replica.number", "2"), ("database.resource_groups", "a, b")]).await;
    assert_eq!(groups_of_copies(&both, 0, &[]).await, own(&["a", "b"]));
    assert_eq!(groups_of_copies(&both, 0, &["c"]).await, own(&["c", "c"]));

    alter(&[("collection.replica.number", "3"), ("collection.resource_groups", "d")]).await;
    assert_eq!(groups_of_copies(&both, 0, &[]).await, own(&["d", "d", "d"]));
    assert_eq!(groups_of_copies(&both, 1, &[]).await, own(&["d"]));

    alter(&[("collection.replica.number", "many"), ("collection.resource_groups", " , ")]).await;
    assert_eq!(groups_of_copies(&both, 0, &[]).await, own(&["a", "b"]), "what says nothing sensible");
    alter(&[("collection.replica.number", "4000000000")]).await;
    let refused = groups_of_copies(&both, 0, &["a"]).await.unwrap_err();
    assert!(refused.contains("4000000000"), "more copies than nodes: {refused}");
    alter(&[("collection.replica.number", "many")]).await;
    let refused = "resource group num can only be 0, 1 or same as replica number".to_owned();
    assert_eq!(groups_of_copies(&both, 3, &[]).await, Err(refused));
}
