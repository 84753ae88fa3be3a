//! What the server says of itself: its nodes, their state, and whether all is well.

use std::sync::atomic::Ordering;

use contract::pb::common::StateCode;
use serde_json::{Value as Json, json};

use super::*;
use crate::base::{CollectionId, NodeId, Timestamp};
use crate::proxy::access::{Login, Rights};
use crate::proxy::{AccessSettings, LimitSettings, ProxyParts, ProxySettings};
use crate::rpc::{
    DamagedCollection, Duties, LeadInfo, LoadReport, NodeInfo, NodeState, NodeStatus, Usage, Wants,
};

/// 2023-11-14T22:13:20Z.
const JOINED: u64 = 1_700_000_000_000;

fn node(id: i64, role: &str, duties: Duties) -> NodeStatus {
    let info = NodeInfo {
        id: NodeId(id),
        address: format!("10.0.0.{id}:19529"),
        host: format!("pod-{id}"),
        role: role.to_owned(),
        duties,
        labels: [("SECRET".to_owned(), "s3cr3t".to_owned())].into(),
        memory_bytes: 1 << 30,
        version: "0.7.0".to_owned(),
        processors: 4,
        machine_bytes: 2 << 30,
        ..NodeInfo::default()
    };
    let usage = Usage {
        processors: 1.0,
        memory_bytes: 1 << 20,
        disk_bytes: 1_500_000_000,
        disk_limit_bytes: 4_000_000_000,
    };
    NodeStatus {
        info,
        group: "__default_resource_group".to_owned(),
        since: Timestamp::from_unix_ms(JOINED),
        load: LoadReport { usage, ..LoadReport::default() },
        ..NodeStatus::default()
    }
}

/// The proxy of the twin, a node that writes, one that reads and hands over, and one that builds.
fn nodes() -> Vec<NodeStatus> {
    let none = Duties::default();
    vec![
        node(3, "proxy", Duties { proxies: true, ..none }),
        node(4, "streamingnode", Duties { writes: true, ..none }),
        NodeStatus {
            state: NodeState::Draining,
            remaining: 2,
            ..node(5, "querynode", Duties { queries: true, ..none })
        },
        node(6, "datanode", Duties { builds: true, ..none }),
    ]
}

/// So many collections, so many of them to be loaded, and one node that reads, one that writes.
fn wanting(collections: u64, to_load: u64) -> Wants {
    Wants { collections, to_load, readers: 1, writers: 1, ..Wants::default() }
}

fn lead() -> LeadInfo {
    LeadInfo {
        address: "10.0.0.2:19529".to_owned(),
        settled: true,
        version: "0.8.0".to_owned(),
        since: Timestamp::from_unix_ms(JOINED + 1500),
        wants: Some(wanting(0, 0)),
        ..LeadInfo::default()
    }
}

/// A proxy of a cluster, and what is behind it.
fn in_cluster() -> (Proxy, Arc<Twin>) {
    let twin = Twin::new();
    *twin.lead.lock() = lead();
    *twin.nodes.lock() = nodes();
    let settings = ProxySettings { is_alone: false, ..ProxySettings::default() };
    let node = nodes().remove(0).info;
    (Proxy::new(ProxyParts { settings, node, ..twin.parts() }), twin)
}

async fn metrics(proxy: &Proxy, request: &str) -> GetMetricsResponse {
    let request = GetMetricsRequest { request: request.to_owned(), ..Default::default() };
    proxy.get_metrics(Request::new(request)).await.unwrap().into_inner()
}

/// The entries of the nodes.
async fn entries(proxy: &Proxy) -> Vec<Json> {
    let answer = metrics(proxy, r#"{"metric_type": "system_info"}"#).await;
    assert_eq!(said(answer.status), (0, String::new()));
    assert_eq!(answer.component_name, format!("proxy{}", proxy.node().id));
    let answer: Json = serde_json::from_str(&answer.response).unwrap();
    answer["nodes_info"].as_array().unwrap().clone()
}

fn edge(to: i64, how: &str, what: &str) -> Json {
    json!({ "connected_identifier": to, "type": how, "target_type": what })
}

#[tokio::test]
async fn every_component_has_an_entry_with_the_number_of_its_node() {
    let (proxy, _twin) = in_cluster();

    let entries = entries(&proxy).await;

    let named: Vec<_> = entries
        .iter()
        .map(|entry| (entry["infos"]["type"].as_str().unwrap(), entry["identifier"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        named,
        [
            ("proxy", 3),
            ("mixcoord", 0),
            ("rootcoord", 0),
            ("datacoord", 0),
            ("querycoord", 0),
            ("streamingnode", 4),
            ("querynode", 5),
            ("datanode", 6),
        ]
    );
    let connected: Vec<_> = entries.iter().map(|entry| entry["connected"].clone()).collect();
    let none = Json::Null;
    assert_eq!(
        connected,
        [
            json!([
                edge(0, "forward", "mixcoord"),
                edge(0, "forward", "rootcoord"),
                edge(0, "forward", "datacoord"),
                edge(0, "forward", "querycoord"),
                edge(4, "forward", "streamingnode"),
                edge(5, "forward", "querynode"),
            ]),
            json!([
                edge(3, "manage", "proxy"),
                edge(4, "manage", "streamingnode"),
                edge(5, "manage", "querynode"),
                edge(6, "manage", "datanode"),
            ]),
            json!([edge(3, "manage", "proxy")]),
            json!([edge(4, "manage", "streamingnode"), edge(6, "manage", "datanode")]),
            json!([edge(5, "manage", "querynode")]),
            none.clone(),
            json!([edge(4, "forward", "streamingnode")]),
            none,
        ]
    );
}

#[tokio::test]
async fn an_entry_says_what_its_node_reported_and_no_label() {
    let (proxy, _twin) = in_cluster();
    let before = proxy.time().now().unix_ms();

    let entries = entries(&proxy).await;

    let mut querier = entries[6]["infos"].clone();
    let updated = querier["updated_time"].take();
    let updated = crate::calendar::parse(updated.as_str().unwrap(), &Default::default()).unwrap();
    assert!(updated / 1000 >= i64::try_from(before).unwrap(), "{updated} is before {before}");
    assert_eq!(
        querier,
        json!({
            "has_error": false,
            "error_reason": "",
            "name": "querynode",
            "hardware_infos": {
                "ip": "10.0.0.5",
                "cpu_core_count": 4,
                "cpu_core_usage": 25.0,
                "memory": 2_147_483_648_u64,
                "memory_usage": 1_048_576,
                "disk": 4.0,
                "disk_usage": 1.5,
            },
            "system_info": {
                "system_version": "0.7.0",
                "deploy_mode": "DISTRIBUTED",
                "build_version": "3.0.1",
                "build_time": "unknown",
                "used_go_version": "none",
            },
            "system_configurations": {
                "role": "querynode",
                "hostname": "pod-5",
                "data_memory_bytes": 1_073_741_824,
                "resource_group": "__default_resource_group",
            },
            "created_time": "2023-11-14T22:13:20Z",
            "updated_time": null,
            "type": "querynode",
            "id": 5,
        })
    );
    let coordinator = &entries[1]["infos"];
    assert_eq!(coordinator["hardware_infos"]["ip"], "10.0.0.2");
    assert_eq!(coordinator["system_info"]["system_version"], "0.8.0");
    assert_eq!(coordinator["created_time"], "2023-11-14T22:13:21.5Z");
    let all = Json::Array(entries).to_string();
    assert!(!all.contains("s3cr3t"), "{all}");
}

#[tokio::test]
async fn the_node_that_was_asked_shows_what_it_takes_now() {
    let (_, twin) = in_cluster();
    let usage = Usage { processors: 2.0, memory_bytes: 7, disk_bytes: 0, disk_limit_bytes: 0 };
    let node = nodes().remove(0).info;
    let proxy = Proxy::new(ProxyParts { node, usage: Some(Arc::new(move || usage)), ..twin.parts() });

    let hardware: Vec<_> =
        entries(&proxy).await.iter().map(|entry| entry["infos"]["hardware_infos"].clone()).collect();

    assert_eq!(hardware[0]["cpu_core_usage"], 50.0);
    assert_eq!(hardware[0]["memory_usage"], 7);
    assert_eq!(hardware[5]["memory_usage"], 1_048_576, "of another node what it reported");
    assert_eq!(hardware[1]["memory_usage"], 0, "a coordinator reports nothing");
}

#[tokio::test]
async fn a_standalone_is_every_component_under_its_one_number() {
    let twin = Twin::new();
    let all = Duties { proxies: true, writes: true, queries: true, builds: true };
    let mut alone = node(8, "standalone", all);
    alone.info.address = "local".to_owned();
    *twin.nodes.lock() = vec![alone.clone()];
    *twin.lead.lock() = LeadInfo { address: "local".to_owned(), ..lead() };
    let proxy = Proxy::new(ProxyParts { node: alone.info, ..twin.parts() });

    let entries = entries(&proxy).await;

    let types: Vec<_> =
        entries.iter().map(|entry| entry["infos"]["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        types,
        [
            "proxy",
            "streamingnode",
            "querynode",
            "datanode",
            "mixcoord",
            "rootcoord",
            "datacoord",
            "querycoord"
        ]
    );
    for entry in &entries {
        let infos = &entry["infos"];
        assert_eq!((&entry["identifier"], &infos["id"]), (&json!(8), &json!(8)));
        assert_eq!(infos["system_info"]["deploy_mode"], "STANDALONE");
        assert_eq!(infos["hardware_infos"]["ip"], "pod-8", "nobody calls it, so it has no address");
        assert_eq!(infos["hardware_infos"]["cpu_core_count"], 4);
    }
}

#[tokio::test]
async fn without_its_coordinator_a_proxy_shows_itself_and_what_is_wrong() {
    let (proxy, twin) = in_cluster();
    twin.leaderless.store(true, Ordering::Relaxed);

    let errors: Vec<_> = entries(&proxy)
        .await
        .iter()
        .map(|entry| {
            let infos = &entry["infos"];
            (infos["type"].as_str().unwrap().to_owned(), infos["error_reason"].as_str().unwrap().to_owned())
        })
        .collect();
    let states = states(&proxy).await.1;

    let of = |name: &str, reason: &str| (name.to_owned(), reason.to_owned());
    let away = "lead failed: no node is known to lead";
    let wanted = ["mixcoord", "rootcoord", "datacoord", "querycoord"].map(|name| of(name, away));
    assert_eq!(errors, [vec![of("proxy", "")], wanted.to_vec()].concat());
    let abnormal = |name: &str| (name.to_owned(), 0, StateCode::Abnormal);
    let coordinators = ["mixcoord", "rootcoord", "datacoord", "querycoord"].map(abnormal);
    assert_eq!(states, [vec![("proxy".to_owned(), 3, StateCode::Healthy)], coordinators.to_vec()].concat());
}

#[tokio::test]
async fn a_request_for_other_metrics_is_refused() {
    let (proxy, _twin) = in_cluster();
    let bad = "failed to parse the request of metrics: ";
    let deep = format!(r#"{{"metric_type": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let long = format!(r#"{{"metric_type": "{}"}}"#, "é".repeat(100_000));
    let cut = format!("metric not found[metric={}]", "é".repeat(64));
    let words = format!(r#""{}""#, "x".repeat(100_000));
    let cases = [
        ("", 1100, bad),
        ("system_info", 1100, bad),
        ("{", 1100, bad),
        ("null", 1100, bad),
        (r#""system_info""#, 1100, bad),
        (r#"["system_info"]"#, 1100, bad),
        (words.as_str(), 1100, bad),
        (deep.as_str(), 1100, bad),
        ("{}", 1100, "failed to parse the request of metrics: metric_type not found in request: invalid"),
        (r#"{"metric_type": null}"#, 1100, "metric_type is not a text: invalid parameter"),
        (r#"{"metric_type": 1}"#, 1100, "metric_type is not a text: invalid parameter"),
        (r#"{"metric_type": ""}"#, 1200, "metric not found[metric=]"),
        (r#"{"metric_type": "System_info"}"#, 1200, "metric not found[metric=System_info]"),
        (r#"{"metric_type": "system_statistics"}"#, 1200, "metric not found[metric=system_statistics]"),
        (long.as_str(), 1200, cut.as_str()),
    ];

    for (request, code, text) in cases {
        let answer = metrics(&proxy, request).await;
        let short: String = request.chars().take(80).collect();
        let (found, reason) = said(answer.status);
        assert!(found == code && reason.contains(text), "{short}: {found} {reason}");
        assert!(reason.len() < 400, "{short}: {} bytes", reason.len());
        assert_eq!(answer.response, "", "{short}");
    }
    let more = metrics(&proxy, r#"{"verbose": true, "metric_type": "system_info", "x": [1]}"#).await;
    assert_eq!(said(more.status), (0, String::new()), "what is not known beside it is no matter");
}

/// The state of the component that was asked, and those of all.
async fn states(proxy: &Proxy) -> (ComponentInfo, Vec<(String, i64, StateCode)>) {
    let answer = proxy.get_component_states(Request::new(GetComponentStatesRequest {})).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!(said(answer.status), (0, String::new()));
    let all = answer.subcomponent_states.iter();
    let shown = all.map(|one| (one.role.clone(), one.node_id, one.state_code()));
    (answer.state.unwrap(), shown.collect())
}

#[tokio::test]
async fn the_states_of_all_components_are_shown_and_one_that_hands_over_is_stopping() {
    let (proxy, twin) = in_cluster();

    let (own, all) = states(&proxy).await;

    let of = |name: &str, id, state| (name.to_owned(), id, state);
    assert_eq!(
        all,
        [
            of("proxy", 3, StateCode::Healthy),
            of("mixcoord", 0, StateCode::Healthy),
            of("rootcoord", 0, StateCode::Healthy),
            of("datacoord", 0, StateCode::Healthy),
            of("querycoord", 0, StateCode::Healthy),
            of("streamingnode", 4, StateCode::Healthy),
            of("querynode", 5, StateCode::Stopping),
            of("datanode", 6, StateCode::Healthy),
        ]
    );
    let extra = [
        ("role", "proxy"),
        ("hostname", "pod-3"),
        ("version", "0.7.0"),
        ("resource_group", "__default_resource_group"),
        ("remaining", "0"),
    ];
    let extra_info = extra.iter().map(|(key, value)| pair(key, value)).collect();
    let healthy = StateCode::Healthy.into();
    let expected = ComponentInfo { node_id: 3, role: "proxy".to_owned(), state_code: healthy, extra_info };
    assert_eq!(own, expected);

    twin.nodes.lock().remove(0);
    assert_eq!(states(&proxy).await.0.state_code(), StateCode::Initializing, "it has not joined");
    twin.lead.lock().settled = false;
    let (own, all) = states(&proxy).await;
    assert_eq!(own.state_code(), StateCode::Healthy, "a leader that listens has not heard of all");
    assert_eq!(all[1], of("mixcoord", 0, StateCode::Initializing));
}

async fn health(proxy: &Proxy, request: Request<CheckHealthRequest>) -> (bool, Vec<String>, Vec<QuotaState>) {
    let answer = proxy.check_health(request).await.unwrap().into_inner();
    assert_eq!(said(answer.status.clone()), (0, String::new()));
    let states = answer.quota_states().collect();
    (answer.is_healthy, answer.reasons, states)
}

async fn checked(proxy: &Proxy) -> (bool, Vec<String>, Vec<QuotaState>) {
    health(proxy, Request::new(CheckHealthRequest {})).await
}

fn ill(reasons: &[&str]) -> (bool, Vec<String>, Vec<QuotaState>) {
    (false, reasons.iter().map(|&reason| reason.to_owned()).collect(), Vec::new())
}

fn well() -> (bool, Vec<String>, Vec<QuotaState>) {
    (true, Vec::new(), Vec::new())
}

#[tokio::test]
async fn a_cluster_is_healthy_only_while_its_nodes_can_do_what_is_asked_of_them() {
    let (proxy, twin) = in_cluster();
    let found = async |wants: Wants| {
        twin.lead.lock().wants = Some(wants);
        checked(&proxy).await
    };
    assert_eq!(found(wanting(4, 3)).await, well());
    assert_eq!(found(Wants::default()).await, well(), "nothing is asked of nodes that are not there");

    let no_writer = "no node takes part that writes, and there are 4 collections";
    let no_reader = "no query node takes part, and 3 collections are to be loaded";
    let ownerless = "9 channels have no owner, nothing can be written to them";
    let orphaned = Wants { ownerless: 9, ..wanting(4, 3) };
    let unread = Wants { readers: 0, ..orphaned.clone() };
    let alone = Wants { writers: 0, ..unread.clone() };
    assert_eq!(found(orphaned).await, ill(&[ownerless]));
    assert_eq!(found(unread).await, ill(&[no_reader, ownerless]));
    assert_eq!(found(alone.clone()).await, ill(&[no_reader, no_writer]));
    assert_eq!(found(Wants { readers: 0, ..wanting(4, 0) }).await, well(), "nothing is to be loaded");

    twin.lead.lock().settled = false;
    assert_eq!(found(alone).await, well(), "a leader that listens does not know who is there");
    *twin.lead.lock() = LeadInfo { wants: None, ..lead() };
    assert_eq!(checked(&proxy).await, well(), "a leader of an earlier version does not say");
}

#[tokio::test]
async fn nodes_are_not_listed_with_all_that_they_hold_to_see_whether_all_is_well() {
    let (proxy, twin) = in_cluster();

    checked(&proxy).await;
    let after_health = *twin.listings.lock();
    states(&proxy).await;

    assert_eq!((after_health, *twin.listings.lock()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_coordinator_nothing_is_healthy_and_that_is_said_soon() {
    let (proxy, twin) = in_cluster();
    twin.leaderless.store(true, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();

    let away = checked(&proxy).await;
    twin.silent.store(true, Ordering::Relaxed);
    let silent = checked(&proxy).await;
    let took = begun.elapsed();

    let reason = "the coordinator cannot be reached: lead failed: no node is known to lead";
    assert_eq!(away, ill(&[reason]));
    assert_eq!(silent, ill(&["the coordinator cannot be reached: it did not answer in 3 s"]));
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(states(&proxy).await.0.state_code(), StateCode::Healthy, "it answers by itself");
    assert_eq!(entries(&proxy).await.len(), 5);
}

fn set_aside(id: i64, name: &str) -> DamagedCollection {
    DamagedCollection {
        id: CollectionId(id),
        database: "default".to_owned(),
        name: name.to_owned(),
        what: "the manifest of channel x is damaged".to_owned(),
    }
}

#[tokio::test]
async fn collections_that_are_set_aside_are_named_to_who_may_see_them() {
    let (_, twin) = in_cluster();
    let wants = |damaged: Vec<DamagedCollection>| Some(Wants { damaged, ..wanting(200, 0) });
    twin.lead.lock().wants = wants(vec![set_aside(7, "c"), set_aside(8, "d")]);
    let access = AccessSettings { enabled: true, ..AccessSettings::default() };
    let proxy = Proxy::new(ProxyParts { access, ..twin.parts() });
    let by = |user: &str, rights: Rights| {
        let mut request = Request::new(CheckHealthRequest {});
        request.extensions_mut().insert(Login { user: user.into(), rights });
        request
    };

    let seen = health(&proxy, by("root", Rights::All)).await;
    let unseen = health(&proxy, by("ann", Rights::OfRoles)).await;

    assert_eq!(
        seen,
        ill(&[
            "collection default.c (7) is set aside: the manifest of channel x is damaged",
            "collection default.d (8) is set aside: the manifest of channel x is damaged",
        ])
    );
    assert_eq!(unseen, ill(&["2 collections that are not named here are set aside: they are damaged"]));

    twin.lead.lock().wants = wants((0..130).map(|id| set_aside(id, "c")).collect());
    let (_, reasons, _) = health(&proxy, by("root", Rights::All)).await;
    assert_eq!(reasons.len(), 101);
    assert_eq!(reasons[100], "30 collections that are not named here are set aside: they are damaged");
}

#[tokio::test]
async fn what_is_denied_is_said_and_is_no_illness() {
    let (_, twin) = in_cluster();
    let proxy = Proxy::new(twin.parts());
    let deny = async |key: &str, value: &str| {
        let request = AlterDatabaseRequest { properties: vec![pair(key, value)], ..Default::default() };
        assert_good(&proxy.alter_database(Request::new(request)).await.unwrap().into_inner());
    };
    let admin = "access has been disabled by the administrator";

    deny("database.force.deny.writing", "true").await;
    deny("database.force.deny.ddl", "true").await;
    let by_database = checked(&proxy).await;
    deny("database.force.deny.writing", "false").await;
    deny("database.force.deny.ddl", "false").await;
    let none = checked(&proxy).await;
    let limits = LimitSettings { denies_reads: true, ..LimitSettings::default() };
    let everywhere = checked(&Proxy::new(ProxyParts { limits: limits.clone(), ..twin.parts() })).await;
    let limits = LimitSettings { enabled: false, ..limits };
    let off = checked(&Proxy::new(ProxyParts { limits, ..twin.parts() })).await;

    let of_default = |what: &str| format!("{what} of database default are denied: {admin}");
    let reasons = vec![of_default("writes"), of_default("changes of the catalog")];
    assert_eq!(by_database, (true, reasons, vec![QuotaState::DenyToWrite, QuotaState::DenyToDdl]));
    assert_eq!(none, well());
    assert_eq!(everywhere, (true, vec![format!("reads are denied: {admin}")], vec![QuotaState::DenyToRead]));
    assert_eq!(off, well());
}

#[tokio::test]
async fn a_client_is_told_whether_the_database_is_one_process() {
    let (proxy, twin) = in_cluster();
    let mode = async |proxy: &Proxy| {
        let answer = proxy.connect(Request::new(ConnectRequest::default())).await.unwrap().into_inner();
        answer.server_info.unwrap().deploy_mode
    };

    assert_eq!(mode(&proxy).await, "DISTRIBUTED");
    assert_eq!(mode(&Proxy::new(twin.parts())).await, "STANDALONE");
}
