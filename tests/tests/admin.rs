//! The admin API and `redkite ctl` against a standalone in this process, and the twin against the same claims.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod admin {
    pub mod client;
    pub mod standalone;
}

use std::path::Path;

use admin::client::fill;
use admin::standalone::{Standalone, ctl_at};
use contract::admin as pb;
use contract::pb::milvus::ListResourceGroupsRequest;
use contract::pb::milvus::milvus_service_client::MilvusServiceClient;
use pb::admin_client::AdminClient;
use pb::admin_server::AdminServer;
use serde_json::{Value, json};
use system_tests::admin::{Twin, conformance};
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

async fn client(address: &str) -> AdminClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    AdminClient::new(endpoint.connect().await.unwrap())
}

/// Serves a twin for as long as a test asks it.
async fn beside(twin: &Twin, test: impl AsyncFnOnce(String)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let routes = tonic::service::Routes::new(AdminServer::new(twin.clone()));
    let server = tonic::transport::Server::builder().add_routes(routes);
    let serving = server.serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));

    tokio::select! {
        () = test(address) => {}
        ended = serving => panic!("the twin's server ended: {ended:?}"),
    }
}

#[tokio::test]
async fn the_twin_conforms() {
    let twin = Twin::new(&["pod-1:19529"]);

    beside(&twin, async |address: String| conformance(&client(&address).await).await).await;
}

#[tokio::test]
async fn waiting_for_an_empty_node_outlasts_a_change_of_the_leader() {
    let twin = Twin::new(&["pod-1:19529"]);
    twin.burden(1, 1, 2);
    twin.be_away(2);

    beside(&twin, async |address: String| {
        let answer = ctl_at(&address, "drain start pod-1 --wait 60 -o json").await;

        assert_eq!((answer.code, answer.err.as_str()), (0, ""));
        let shown: Value = serde_json::from_str(&answer.out).unwrap();
        assert_eq!((&shown["done"], &shown["segments"]), (&json!(true), &json!(0)));
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_not_empty_in_time_is_an_exit_code_and_says_what_is_left() {
    let twin = Twin::new(&["pod-1:19529"]);
    twin.burden(1, 3, 5);

    beside(&twin, async |address: String| {
        let answer = ctl_at(&address, "drain start 1 --wait 0").await;

        let left = "3 channels to own, 5 segments and 0 channels to follow";
        let text = format!("redkite ctl: node 1 still has {left}; it goes on handing over\n");
        assert_eq!((answer.code, answer.out.as_str(), answer.err), (6, "", text));
    })
    .await;
}

#[tokio::test]
async fn one_that_hangs_up_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();

    let answer = tokio::select! {
        answer = ctl_at(&address, "nodes") => answer,
        () = async { while listener.accept().await.is_ok() {} } => panic!("the listener ended"),
    };

    assert_eq!((answer.code, answer.out.as_str()), (3, ""), "{}", answer.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_of_clients_does_not_have_the_admin_api() {
    let standalone = Standalone::start(|_, _| {}).await;

    let answer = ctl_at(&standalone.clients, "nodes").await;

    let text = "redkite ctl: nothing answers this call there: it is another port than that of calls between nodes, or an older version\n";
    assert_eq!((answer.code, answer.out.as_str(), answer.err.as_str()), (1, "", text));

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standalone_conforms() {
    let standalone = Standalone::start(|_, _| {}).await;

    conformance(&client(&standalone.inside).await).await;

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_carry_the_number_by_which_the_node_is_known() {
    let standalone = Standalone::start(|_, _| {}).await;

    let node = &standalone.ctl_json("nodes").await["nodes"][0]["id"];

    let text = standalone.metrics.encode();
    let shown = text.lines().filter_map(|line| line.split("node_id=").nth(1)?.split('"').nth(1));
    let shown: std::collections::BTreeSet<&str> = shown.collect();
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), [node.to_string()]);

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_standalone_holds_is_shown() {
    let standalone = Standalone::start(|_, _| {}).await;
    fill(&standalone.clients, "shown", 2_000).await;
    let lists = async |command: &str| standalone.ctl_json(command).await;

    let loaded = |shown: &Value| shown["collections"][0]["loaded_percent"] == 100;
    let collections = standalone.ctl_until("collections shown", loaded).await;
    let one = &collections["collections"][0];
    assert_eq!(
        (&one["name"], &one["sealed_rows"], &one["segments"]),
        (&json!("shown"), &json!(2000), &json!(1))
    );
    assert_eq!((&one["replicas"], &one["loaded_percent"]), (&json!(1), &json!(100)));
    let channels = lists("channels shown").await;
    let channel = &channels["channels"][0];
    assert_eq!((&channel["owner"], &channel["collection_name"]), (&json!(1), &json!("shown")));
    assert!(channel["term"].as_u64().unwrap() > 0, "{channel}");
    assert_eq!(channel["followers"][0]["node"], json!(1));
    let segments = lists("segments shown").await;
    let segment = &segments["segments"][0];
    assert_eq!((&segment["rows"], &segment["nodes"]), (&json!(2000), &json!([1])));
    let replicas = lists("replicas shown").await;
    assert_eq!(
        (&replicas["replicas"][0]["complete"], &replicas["replicas"][0]["nodes"]),
        (&json!(true), &json!([1]))
    );
    let loads = lists("load").await;
    let memory = &loads["loads"][0]["collections"][0];
    assert_eq!(memory["name"], json!("shown"));
    assert!(memory["bytes"].as_u64().unwrap() > 2_000 * 8 * 4, "{memory}");

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_log_and_of_a_segment_are_dumped_as_they_were_written() {
    let standalone = Standalone::start(|_, _| {}).await;
    fill(&standalone.clients, "dumped", 50).await;
    let segment = standalone.ctl_json("segments dumped").await["segments"][0].clone();
    let channel = segment["channel"].as_str().unwrap();

    let lines = standalone.ctl(&format!("dump segment {}", segment["id"])).await.ok_lines();
    let rows: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 50);
    // The first three were deleted after the segment was sealed, which the log has and no sealed file of deletes.
    let ids: Vec<_> = rows.iter().map(|row| row["row"]["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (0..50).collect::<Vec<_>>());
    assert_eq!(rows[7]["row"]["title"], json!("title 7"));
    assert_eq!(rows[7]["row"]["vec"].as_array().unwrap().len(), 8);
    let limited = standalone.ctl(&format!("dump segment {} --limit 2", segment["id"])).await.ok_lines();
    assert_eq!(limited, lines[..2]);

    let lines = standalone.ctl(&format!("dump log {channel}")).await.ok_lines();
    let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((&records[0]["kind"], &records[0]["keys"]), (&json!("delete"), &json!([0, 1, 2])));
    let unknown = standalone.ctl("dump segment 1").await;
    assert_eq!((unknown.code, unknown.err.as_str()), (1, "redkite ctl: there is no sealed segment 1\n"));

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_finds_what_was_planted_and_nothing_else() {
    let standalone = Standalone::start(|_, _| {}).await;
    fill(&standalone.clients, "checked", 100).await;
    let sound = standalone.ctl("fsck --checksums -o json").await;
    assert_eq!((sound.code, sound.err.as_str()), (0, ""));
    let sound: Value = serde_json::from_str(&sound.out).unwrap();
    assert!(sound["named"].as_u64().unwrap() >= 3 && sound["bytes_read"].as_u64().unwrap() > 0, "{sound}");

    let files = objects(&standalone.data().join("blobs"));
    let of = |end: &str| files.iter().find(|file| file.to_str().unwrap().ends_with(end)).unwrap();
    let mut turned = std::fs::read(of("scalars.parquet")).unwrap();
    let middle = turned.len() / 2;
    turned[middle] ^= 1;
    std::fs::write(of("scalars.parquet"), turned).unwrap();
    std::fs::remove_file(of("manifest.json")).unwrap();
    let vectors = files.iter().find(|file| file.to_str().unwrap().contains("vector-")).unwrap();
    std::fs::write(vectors, b"short").unwrap();

    let quick = standalone.ctl("fsck -o json").await;
    let whole = standalone.ctl("fsck --checksums -o json").await;

    assert_eq!((quick.code, whole.code), (5, 5));
    let damaged = |text: &str| -> Vec<String> {
        let found: Value = serde_json::from_str(text).unwrap();
        let ends = |one: &Value| one["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        found["damaged"].as_array().unwrap().iter().map(ends).collect()
    };
    assert_eq!(damaged(&quick.out).len(), 1, "sizes alone: {}", quick.out);
    assert_eq!(damaged(&whole.out).len(), 2, "{}", whole.out);
    let found: Value = serde_json::from_str(&whole.out).unwrap();
    assert_eq!((found["missing"].as_array().unwrap().len(), &found["orphans"]), (1, &json!([])));
    assert_eq!(whole.err, "redkite ctl: 1 objects are missing and 2 are damaged: rows are lost\n");

    standalone.stop().await;
}

fn objects(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(objects(&path)) } else { all.push(path) }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_shows_the_token_is_let_in() {
    let standalone = Standalone::start(|settings, folder| {
        std::fs::write(folder.join("token"), "right\n").unwrap();
        std::fs::write(folder.join("other"), "wrong\n").unwrap();
        settings.redkite.admin.token_file = folder.join("token").to_str().unwrap().to_owned();
    })
    .await;
    let with = async |file: &str| {
        let file = standalone.folder.path().join(file);
        standalone.ctl(&format!("nodes --token-file {}", file.display())).await
    };

    let (none, wrong, right) = (standalone.ctl("nodes").await, with("other").await, with("token").await);

    let refused = "redkite ctl: not let in: the token is not that of this cluster\n";
    assert_eq!((none.code, none.err.as_str(), none.out.as_str()), (4, refused, ""));
    assert_eq!((wrong.code, wrong.err.as_str()), (4, refused));
    assert_eq!((right.code, right.err.as_str()), (0, ""));

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_the_token_administers_milvus_whatever_users_there_are() {
    let standalone = Standalone::start(|settings, folder| {
        std::fs::write(folder.join("token"), "right\n").unwrap();
        settings.redkite.admin.token_file = folder.join("token").to_str().unwrap().to_owned();
        settings.common.security.authorization_enabled = true;
    })
    .await;
    let list = async |address: &str, token: &str| {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = MilvusServiceClient::new(endpoint.connect().await.unwrap());
        let mut request = tonic::Request::new(ListResourceGroupsRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        match client.list_resource_groups(request).await {
            Ok(answer) => answer.into_inner().resource_groups.join(" "),
            Err(status) => format!("{:?}", status.code()),
        }
    };

    assert_eq!(list(&standalone.inside, "right").await, "__default_resource_group");
    assert_eq!(list(&standalone.inside, "wrong").await, "Unauthenticated");
    assert_eq!(list(&standalone.clients, "right").await, "Unauthenticated");

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_answers_in_every_form() {
    let standalone = Standalone::start(|_, _| {}).await;
    fill(&standalone.clients, "forms", 10).await;
    let commands = [
        "process",
        "settings",
        "settings minio --changed",
        "cluster",
        "nodes",
        "load",
        "load --collections",
        "collections",
        "collections --database default",
        "channels forms",
        "checkpoints",
        "segments",
        "replicas",
        "groups list",
        "fsck",
        "drain status 1",
        "finalize",
    ];
    for command in commands {
        for form in ["table", "json", "yaml"] {
            let answer = standalone.ctl(&format!("{command} -o {form}")).await;
            assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{command} -o {form}");
            match form {
                "json" => drop(serde_json::from_str::<Value>(&answer.out).expect(command)),
                _ => assert!(answer.out.ends_with('\n'), "{command} -o {form}: {}", answer.out),
            }
        }
    }

    standalone.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_something_says_so_and_what_cannot_be_done_says_why() {
    let standalone = Standalone::start(|_, _| {}).await;
    let told = async |command: &str| {
        let answer = standalone.ctl(command).await;
        (answer.code, answer.out + &answer.err)
    };

    let create = "groups create gold --requests 0 --limits 1 --node-filter zone=a";
    assert_eq!(told(create).await, (0, "resource group gold is there\n".to_owned()));
    assert_eq!(told("groups update gold").await, (0, "resource group gold is changed\n".to_owned()));
    assert_eq!(told("groups drop gold").await, (0, "resource group gold is gone\n".to_owned()));
    let text = "redkite ctl: resource group not found[rg=gold]\n";
    assert_eq!(
        told("groups transfer-nodes --from gold --to __default_resource_group").await,
        (1, text.to_owned())
    );
    let text = "redkite ctl: no other process can take over the lead\n";
    assert_eq!(told("resign").await, (1, text.to_owned()));
    let (code, text) = told("drain start 1 --wait 5").await;
    assert!(code == 0 && text.contains("draining"), "{text}");
    let (code, text) = told("drain stop 1").await;
    assert!(code == 0 && text.contains("ready"), "{text}");
    let text = "redkite ctl: there is no node 9\n";
    assert_eq!(told("drain status 9").await, (1, text.to_owned()));
    let (code, text) = told("nodes --address 127.0.0.1:1").await;
    assert!(code == 3 && text.starts_with("redkite ctl: cannot reach 127.0.0.1:1: "), "{text}");
    let (code, text) = told("nodes --token-file /nowhere").await;
    assert!(
        code == 2 && text.starts_with("redkite ctl: cannot use the credentials: cannot read /nowhere"),
        "{text}"
    );

    standalone.stop().await;
}
