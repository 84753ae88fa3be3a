//! Reconciles against the memory twin: what is made, what is said, and that breaking off anywhere does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, from_value, json};

use super::{Driver, Meters, Next, Windows};
use crate::cluster::{Cluster, MemoryCluster, Place};
use crate::crd::{
    Milvus, MilvusCluster, MilvusCollection, MilvusResourceGroup, MilvusStatus, MilvusUpgrade, Phase, read,
};
use crate::engine_admin::{Engine, MemoryEngine};
use crate::reach::{MemoryReach, Reach};
use crate::render::Platform;

mod certificates;
mod defects;
mod foreign;
mod rollout;
mod scaling;

fn place() -> Place {
    Place::new("ns", "db")
}

fn kind() -> ApiResource {
    ApiResource::erase::<Milvus>(&())
}

fn milvus(spec: Value) -> DynamicObject {
    from_value(json!({
        "apiVersion": "milvus.io/v1beta1", "kind": "Milvus",
        "metadata": {"name": "db", "namespace": "ns", "uid": "uid-db"}, "spec": spec,
    }))
    .unwrap()
}

fn driver(cluster: &Arc<MemoryCluster>) -> Driver {
    Driver {
        cluster: Arc::clone(cluster) as Arc<dyn Cluster>,
        reach: Arc::new(MemoryReach::default()) as Arc<dyn Reach>,
        engine: Arc::new(MemoryEngine::default()) as Arc<dyn Engine>,
        platform: Platform {
            engine_image: "redkite/engine:1".into(),
            etcd_image: "example/etcd:1".into(),
            storage_image: "example/versitygw:1".into(),
            ..Platform::default()
        },
        home: None,
        now: || Timestamp::UNIX_EPOCH,
        random: || Ok("drawn".to_owned()),
        new_key: || Ok(crate::certificates::tests::key()),
        meters: Arc::new(Meters::new().unwrap()),
        windows: Windows::default(),
    }
}

fn cluster_with(spec: Value) -> Arc<MemoryCluster> {
    let cluster = Arc::new(MemoryCluster::default());
    cluster.put(&kind(), milvus(spec));
    cluster
}

/// Changes the spec as `kubectl apply` would.
fn edit(cluster: &MemoryCluster, spec: Value) {
    let mut object = cluster.objects()[&("Milvus".to_owned(), place())].clone();
    object.data["spec"] = spec;
    cluster.put(&kind(), object);
}

/// Reports all workloads as fully rolled out, as Kubernetes would.
fn roll_out(cluster: &MemoryCluster) {
    for ((of, place), mut object) in cluster.objects() {
        if !matches!(of.as_str(), "Deployment" | "StatefulSet") {
            continue;
        }
        let replicas = object.data["spec"]["replicas"].as_i64().unwrap_or(1);
        object.data["status"] = json!({
            "observedGeneration": object.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
        });
        let kind = match of.as_str() {
            "Deployment" => ApiResource::erase::<Deployment>(&()),
            _ => ApiResource::erase::<StatefulSet>(&()),
        };
        assert_eq!(place, Place::of(&object.metadata));
        cluster.put(&kind, object);
    }
}

fn status(cluster: &MemoryCluster) -> MilvusStatus {
    let object = cluster.objects()[&("Milvus".to_owned(), place())].clone();
    read(object).unwrap().status.unwrap()
}

fn said(cluster: &MemoryCluster, kind: &str) -> (String, String) {
    let status = status(cluster);
    let condition = status.conditions.into_iter().find(|condition| condition.kind == kind).unwrap();
    (format!("{:?} {}", condition.status, condition.reason.unwrap()), condition.message.unwrap())
}

/// Everything but versions, which count calls, and the status's own fields.
fn content(cluster: &MemoryCluster) -> BTreeMap<String, Value> {
    let plain = |object: &DynamicObject| {
        let mut value = serde_json::to_value(object).unwrap();
        let metadata = value["metadata"].as_object_mut().unwrap();
        metadata.remove("resourceVersion");
        metadata.remove("generation");
        metadata.remove("uid");
        value.as_object_mut().unwrap().remove("status");
        value
    };
    cluster
        .objects()
        .iter()
        .map(|((kind, place), object)| (format!("{kind} {place}"), plain(object)))
        .collect()
}

/// Reconciles until an object needs nothing more.
async fn settle(driver: &Driver) -> Next {
    for _ in 0..20 {
        let next = driver.reconcile(&place()).await.unwrap();
        if next != Next::Moving {
            return next;
        }
        // The twin has no Deployment controller; the caller plays it.
        if driver.reconcile(&place()).await.unwrap() == next {
            return next;
        }
    }
    panic!("the object does not settle");
}

#[tokio::test]
async fn an_empty_spec_makes_the_objects_of_a_standalone_and_becomes_healthy() {
    let cluster = cluster_with(json!({}));
    let driver = driver(&cluster);

    settle(&driver).await;
    assert_eq!(status(&cluster).status, Phase::Pending);
    roll_out(&cluster);
    let next = settle(&driver).await;

    assert_eq!(next, Next::Settled);
    let kinds: Vec<String> = content(&cluster).into_keys().collect();
    assert_eq!(
        kinds,
        [
            "ConfigMap ns/db",
            "Deployment ns/db-milvus-standalone",
            "Milvus ns/db",
            "PersistentVolumeClaim ns/db-data",
            "PodMonitor ns/db",
            "Secret ns/db-admin",
            "Service ns/db-milvus",
            "ServiceAccount ns/db-milvus",
        ]
    );
    insta::assert_json_snapshot!(status(&cluster));
    let told: Vec<String> = cluster.notes().into_iter().map(|note| note.message).collect();
    assert_eq!(told, ["the database went from Pending to Healthy"]);
}

#[tokio::test]
async fn a_settled_object_is_not_written_again() {
    let cluster = cluster_with(json!({}));
    let driver = driver(&cluster);
    settle(&driver).await;
    roll_out(&cluster);
    settle(&driver).await;
    let before = cluster.objects();

    driver.reconcile(&place()).await.unwrap();

    assert_eq!(cluster.objects(), before);
}

#[tokio::test]
async fn d7_the_spec_is_never_rewritten() {
    let spec =
        json!({"components": {"image": "milvusdb/milvus:v2.6.0"}, "config": {"log": {"level": "debug"}}});
    let cluster = cluster_with(spec.clone());
    let driver = driver(&cluster);

    settle(&driver).await;

    assert_eq!(cluster.objects()[&("Milvus".to_owned(), place())].data["spec"], spec);
}

#[tokio::test]
async fn image_config_resources_and_replicas_take_effect_and_what_is_taken_back_goes() {
    let cluster = cluster_with(json!({"components": {"standalone": {"ingress": {"hosts": ["db.example"]}}}}));
    let driver = driver(&cluster);
    settle(&driver).await;
    let ingress = ("Ingress".to_owned(), Place::new("ns", "db-milvus"));
    let workload = ("Deployment".to_owned(), Place::new("ns", "db-milvus-standalone"));
    assert!(cluster.objects().contains_key(&ingress));
    let hash = |cluster: &MemoryCluster| {
        let template = &cluster.objects()[&workload].data["spec"]["template"];
        template["metadata"]["annotations"]["checksum/config"].clone()
    };
    let before = hash(&cluster);

    edit(
        &cluster,
        json!({"config": {"log": {"level": "debug"}}, "components": {
            "image": "redkite/engine:2", "resources": {"limits": {"cpu": 2}}, "standalone": {"replicas": 0}}}),
    );
    settle(&driver).await;

    assert!(!cluster.objects().contains_key(&ingress));
    assert_ne!(hash(&cluster), before);
    let spec = cluster.objects()[&workload].data["spec"].clone();
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(
        (spec["replicas"].clone(), container["image"].clone(), container["resources"].clone()),
        (json!(0), json!("redkite/engine:2"), json!({"limits": {"cpu": "2"}}))
    );
    roll_out(&cluster);
    settle(&driver).await;
    assert_eq!(status(&cluster).status, Phase::Stopped);
    assert_eq!(said(&cluster, "MilvusReady").0, "False MilvusStopped");
}

#[tokio::test]
async fn that_only_the_config_map_is_to_change_restarts_nothing_when_it_is_turned_on_nor_while_it_is() {
    let cluster = cluster_with(json!({}));
    let driver = driver(&cluster);
    settle(&driver).await;
    let template = || {
        let workload = ("Deployment".to_owned(), Place::new("ns", "db-milvus-standalone"));
        cluster.objects()[&workload].data["spec"]["template"].clone()
    };
    let settings = || {
        let map = ("ConfigMap".to_owned(), Place::new("ns", "db"));
        cluster.objects()[&map].data["data"]["user.yaml"].as_str().unwrap().to_owned()
    };
    let spec = |only: bool, level: &str| json!({"components": {"updateConfigMapOnly": only}, "config": {"log": {"level": level}}});
    edit(&cluster, spec(false, "info"));
    settle(&driver).await;
    let before = template();

    for (only, level) in [(true, "info"), (false, "info"), (true, "debug"), (true, "warn")] {
        edit(&cluster, spec(only, level));
        settle(&driver).await;

        assert_eq!(template(), before, "{only} {level}");
        assert!(settings().contains(&format!("level: {level}")), "{}", settings());
    }
    edit(&cluster, spec(false, "info"));
    settle(&driver).await;
    assert_eq!(template(), before, "the settings are those that the pods began with");
    edit(&cluster, spec(false, "warn"));
    settle(&driver).await;
    assert_ne!(template(), before);
}

#[tokio::test]
async fn a_wrong_field_is_named_and_nothing_is_made() {
    let cluster = cluster_with(json!({"components": {"standalone": {"replicas": 3}}}));
    let driver = driver(&cluster);

    driver.reconcile(&place()).await.unwrap();
    let next = driver.reconcile(&place()).await.unwrap();

    assert_eq!(next, Next::Waiting);
    assert_eq!(content(&cluster).into_keys().collect::<Vec<_>>(), ["Milvus ns/db"]);
    assert_eq!(
        said(&cluster, "SpecAccepted"),
        (
            "False NotSupported".to_owned(),
            "spec.components.standalone.replicas: 3 is not 0 or 1: one process at a time may hold the data of a \
             standalone database"
                .to_owned()
        )
    );
    assert_eq!(said(&cluster, "Stalled").0, "True NotSupported");
}

/// Reconciles and rolls out until nothing changes any more.
async fn run(cluster: &Arc<MemoryCluster>) -> Next {
    let driver = driver(cluster);
    for _ in 0..30 {
        let next = settle(&driver).await;
        let before = content(cluster);
        roll_out(cluster);
        let next = match settle(&driver).await {
            Next::Moving => next,
            other => other,
        };
        if content(cluster) == before && next != Next::Moving {
            return next;
        }
    }
    panic!("the object does not come to rest");
}

/// Image of each workload that exists.
fn images(cluster: &MemoryCluster) -> BTreeMap<String, String> {
    let deployments = cluster.objects().into_iter().filter(|((kind, _), _)| kind == "Deployment");
    deployments
        .map(|((_, place), object)| {
            let image = &object.data["spec"]["template"]["spec"]["containers"][0]["image"];
            (place.name.trim_start_matches("db-milvus-").to_owned(), image.as_str().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_cluster_with_stores_beside_it_is_made_and_becomes_healthy() {
    let cluster = cluster_with(json!({"mode": "cluster"}));

    let next = run(&cluster).await;

    assert_eq!(next, Next::Settled);
    let kinds: Vec<String> = content(&cluster).into_keys().collect();
    assert_eq!(
        kinds,
        [
            "ConfigMap ns/db",
            "Deployment ns/db-milvus-datanode",
            "Deployment ns/db-milvus-mixcoord",
            "Deployment ns/db-milvus-proxy",
            "Deployment ns/db-milvus-querynode",
            "Deployment ns/db-milvus-streamingnode",
            "Milvus ns/db",
            "PodDisruptionBudget ns/db-etcd",
            "PodMonitor ns/db",
            "Secret ns/db-admin",
            "Secret ns/db-minio",
            "Service ns/db-etcd",
            "Service ns/db-etcd-headless",
            "Service ns/db-milvus",
            "Service ns/db-minio",
            "ServiceAccount ns/db-milvus",
            "StatefulSet ns/db-etcd",
            "StatefulSet ns/db-minio",
        ]
    );
    insta::assert_json_snapshot!(status(&cluster));
}

#[tokio::test]
async fn a_secret_is_drawn_once_and_never_again() {
    let cluster = cluster_with(json!({"mode": "cluster"}));
    run(&cluster).await;
    let token = || content(&cluster)["Secret ns/db-admin"].clone();
    let before = token();

    let second = Driver { random: || Ok("another".to_owned()), ..driver(&cluster) };
    settle(&second).await;

    assert_eq!(token(), before);
}

#[tokio::test]
async fn a_new_image_goes_from_component_to_component_and_stops_at_one_that_is_not_ready() {
    let image = |image: &str| json!({"mode": "cluster", "components": {"image": image}});
    let cluster = cluster_with(image("example/engine:1"));
    run(&cluster).await;
    let driver = driver(&cluster);

    edit(&cluster, image("example/engine:2"));
    settle(&driver).await;

    let changed = |cluster: &MemoryCluster| -> Vec<String> {
        images(cluster).into_iter().filter(|(_, image)| image.ends_with(":2")).map(|(name, _)| name).collect()
    };
    assert_eq!(changed(&cluster), ["mixcoord"]);
    // It serves all the while.
    assert_eq!(
        (status(&cluster).status, said(&cluster, "MilvusReady").0.as_str()),
        (Phase::Healthy, "True ReasonMilvusHealthy")
    );
    assert_eq!(said(&cluster, "MilvusUpdated").0, "False MilvusUpgradingImage");
    assert!(said(&cluster, "MilvusUpdated").1.contains("proxy waits for db-milvus-mixcoord"));
    roll_out(&cluster);
    settle(&driver).await;
    assert_eq!(changed(&cluster), ["mixcoord", "streamingnode"]);
    run(&cluster).await;
    assert_eq!(changed(&cluster).len(), 5);
    assert_eq!(said(&cluster, "MilvusUpdated").0, "True MilvusComponentsUpdated");
}

#[tokio::test]
async fn components_that_a_new_version_does_not_have_go_once_the_others_serve() {
    let image =
        |tag: &str| json!({"mode": "cluster", "components": {"image": format!("milvusdb/milvus:{tag}")}});
    let cluster = cluster_with(image("v2.5.4"));
    run(&cluster).await;
    assert!(images(&cluster).contains_key("indexnode"));

    edit(&cluster, image("v2.6.0"));
    settle(&driver(&cluster)).await;

    let both = images(&cluster);
    assert!(both.contains_key("indexnode") && both.contains_key("streamingnode"));
    run(&cluster).await;
    assert_eq!(
        images(&cluster).into_keys().collect::<Vec<_>>(),
        ["datanode", "mixcoord", "proxy", "querynode", "streamingnode"]
    );
}

#[tokio::test]
async fn a_dependency_that_does_not_answer_is_named_and_its_return_is_seen() {
    let spec = json!({"mode": "cluster", "dependencies": {
        "etcd": {"external": true, "endpoints": ["e0:2379", "e1:2379"]},
        "storage": {"external": true, "endpoint": "s3.example:9000"},
        "msgStreamType": "kafka", "kafka": {"external": true, "brokerList": ["k:9092"]}}});
    let cluster = cluster_with(spec);
    let reach = Arc::new(MemoryReach::default());
    for address in ["e0:2379", "k:9092", "s3.example:9000"] {
        reach.silence(address, "connection refused");
    }
    let driver = Driver { reach: Arc::clone(&reach) as Arc<dyn Reach>, ..driver(&cluster) };
    assert_eq!(settle(&driver).await, Next::Missing);

    assert_eq!(
        ["EtcdReady", "StorageReady", "MsgStreamReady"].map(|kind| said(&cluster, kind).0),
        ["True EtcdReady", "False ClientError", "False ConnectionFailed"]
    );
    assert_eq!(
        said(&cluster, "MsgStreamReady").1,
        "spec.dependencies.kafka.brokerList[0]: k:9092 does not answer: connection refused"
    );
    // The objects are there all the same: the engine waits for what it stands on.
    assert_eq!(images(&cluster).len(), 5);
    for address in ["e0:2379", "k:9092", "s3.example:9000"] {
        reach.restore(address);
    }
    roll_out(&cluster);
    assert_eq!(settle(&driver).await, Next::Relying);
    assert_eq!(said(&cluster, "MsgStreamReady").0, "True MsgStreamReady");
}

#[tokio::test]
async fn the_mode_of_a_database_that_runs_is_not_changed() {
    for (from, to) in [("standalone", "cluster"), ("cluster", "standalone")] {
        let cluster = cluster_with(json!({"mode": from}));
        run(&cluster).await;
        let before = images(&cluster);

        edit(&cluster, json!({"mode": to}));
        settle(&driver(&cluster)).await;

        assert_eq!(images(&cluster), before);
        assert_eq!(said(&cluster, "SpecAccepted").0, "False NotSupported");
        assert!(said(&cluster, "SpecAccepted").1.starts_with("spec.mode: "));
    }
}

#[tokio::test]
async fn deleting_a_cluster_keeps_its_stores_or_removes_them_as_their_policies_say() {
    let gone = json!({"deletionPolicy": "Delete", "pvcDeletion": true});
    let kept = delete_all(&cluster_with(json!({"mode": "cluster"}))).await;
    let half = delete_all(&cluster_with(json!({"mode": "cluster", "dependencies": {
        "etcd": {"inCluster": {"deletionPolicy": "Delete"}}, "storage": {"inCluster": gone}}})))
    .await;
    let none = delete_all(&cluster_with(json!({"mode": "cluster", "dependencies": {
        "etcd": {"inCluster": gone}, "storage": {"inCluster": gone}}})))
    .await;

    assert_eq!(
        kept,
        [
            "PodDisruptionBudget ns/db-etcd",
            "Secret ns/db-minio",
            "Service ns/db-etcd",
            "Service ns/db-etcd-headless",
            "Service ns/db-minio",
            "StatefulSet ns/db-etcd",
            "StatefulSet ns/db-minio",
        ]
    );
    assert_eq!(half, Vec::<String>::new());
    assert_eq!(none, Vec::<String>::new());
}

#[tokio::test]
async fn a_group_that_is_taken_back_goes_with_its_budget() {
    let groups = |names: &[&str]| {
        let groups: Vec<Value> = names.iter().map(|name| json!({"name": name, "replicas": 2})).collect();
        json!({"mode": "cluster", "components": {"queryNode": {"groups": groups}}})
    };
    let cluster = cluster_with(groups(&["a", "b"]));
    run(&cluster).await;
    assert!(content(&cluster).contains_key("PodDisruptionBudget ns/db-milvus-querynode-b"));

    edit(&cluster, groups(&["a"]));
    run(&cluster).await;

    let left = content(&cluster);
    assert!(left.contains_key("Deployment ns/db-milvus-querynode-a"));
    for kind in ["Deployment", "PodDisruptionBudget"] {
        assert!(!left.contains_key(&format!("{kind} ns/db-milvus-querynode-b")), "{kind}");
    }
}

#[tokio::test]
async fn a_missing_storage_secret_is_named_and_found_once_it_is_there() {
    let spec = json!({"dependencies": {"storage": {
        "external": true, "type": "S3", "endpoint": "s3.example:443", "secretRef": "keys"}}});
    let cluster = cluster_with(spec);
    let driver = driver(&cluster);

    assert_eq!(settle(&driver).await, Next::Missing);
    assert_eq!(
        said(&cluster, "StorageReady"),
        (
            "False SecretNotExist".to_owned(),
            "spec.dependencies.storage.secretRef: Secret keys does not exist in ns".to_owned()
        )
    );
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "ns"},
        "data": {"accesskey": "YQ==", "secretkey": "c2VjcmV0"}});
    cluster.put(&ApiResource::erase::<Secret>(&()), from_value(secret).unwrap());
    settle(&driver).await;

    assert_eq!(said(&cluster, "StorageReady").0, "True StorageReady");
    let all = serde_json::to_string(
        &content(&cluster).into_iter().filter(|(key, _)| !key.starts_with("Secret")).collect::<Vec<_>>(),
    );
    assert!(!all.unwrap().contains("c2VjcmV0"));
}

#[tokio::test]
async fn a_workload_of_the_peer_is_left_alone() {
    let cluster = cluster_with(json!({}));
    let theirs: DynamicObject = from_value(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "db-milvus-standalone", "namespace": "ns", "labels": {
            "app.kubernetes.io/instance": "db", "app.kubernetes.io/name": "milvus",
            "app.kubernetes.io/managed-by": "milvus-operator"}},
        "spec": {"selector": {}, "template": {}}}))
    .unwrap();
    cluster.put(&ApiResource::erase::<Deployment>(&()), theirs);
    let before = content(&cluster)["Deployment ns/db-milvus-standalone"].clone();
    let driver = driver(&cluster);

    driver.reconcile(&place()).await.unwrap();
    driver.reconcile(&place()).await.unwrap();

    assert_eq!(content(&cluster)["Deployment ns/db-milvus-standalone"], before);
    assert_eq!(said(&cluster, "SpecAccepted").0, "False ForeignRelease");
}

async fn delete_all(cluster: &Arc<MemoryCluster>) -> Vec<String> {
    let driver = driver(cluster);
    settle(&driver).await;
    cluster.begin_delete(&kind(), &place());
    for _ in 0..5 {
        driver.reconcile(&place()).await.unwrap();
    }
    content(cluster).into_keys().collect()
}

#[tokio::test]
async fn deleting_keeps_the_data_volume() {
    let left = delete_all(&cluster_with(json!({}))).await;

    assert_eq!(left, ["PersistentVolumeClaim ns/db-data"]);
}

#[tokio::test]
async fn deleting_removes_the_data_volume_where_the_policy_says_so() {
    let gone = json!({"deletionPolicy": "Delete", "pvcDeletion": true});
    for spec in [
        json!({"redkite": {"dataPolicy": "Delete"}}),
        json!({"dependencies": {"woodpecker": {"persistence": {"pvcDeletion": true}}}}),
        json!({"dependencies": {"etcd": {"inCluster": gone}, "storage": {"inCluster": gone}}}),
    ] {
        assert_eq!(delete_all(&cluster_with(spec)).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn one_store_that_stays_keeps_the_volume_that_holds_it() {
    let gone = json!({"deletionPolicy": "Delete", "pvcDeletion": true});
    let left = delete_all(&cluster_with(json!({"dependencies": {"etcd": {"inCluster": gone}}}))).await;

    assert_eq!(left, ["PersistentVolumeClaim ns/db-data"]);
}

/// The story of one object: made, changed, deleted with its data. Each act is a change by the user.
fn acts() -> [fn(&MemoryCluster); 3] {
    [
        |_| {},
        |cluster| {
            edit(cluster, json!({"config": {"log": {"level": "debug"}}, "redkite": {"dataPolicy": "Delete"}}))
        },
        |cluster| cluster.begin_delete(&kind(), &place()),
    ]
}

/// Reconciles with as many tries as it takes, restarting the operator after each failure; returns their number.
async fn persist(cluster: &Arc<MemoryCluster>) -> usize {
    let mut failures = 0;
    for _ in 0..8 {
        if driver(cluster).reconcile(&place()).await.is_err() {
            failures += 1;
            cluster.mend();
        }
    }
    failures
}

#[tokio::test]
async fn killed_at_every_step_and_restarted_it_converges_to_the_same_objects() {
    let spec = || json!({"components": {"standalone": {"ingress": {"hosts": ["db.example"]}}}});
    let calm = cluster_with(spec());
    let mut expected = Vec::new();
    for act in acts() {
        act(&calm);
        persist(&calm).await;
        expected.push(content(&calm));
    }
    let mut kills = 0;
    for at in 0..60 {
        for carried_out in [false, true] {
            let cluster = cluster_with(spec());
            for (act, expected) in acts().into_iter().zip(&expected) {
                act(&cluster);
                cluster.cut_after(at, carried_out);
                kills += persist(&cluster).await;
                cluster.mend();
                assert_eq!(
                    &content(&cluster),
                    expected,
                    "killed after {at} calls, carried out: {carried_out}"
                );
            }
        }
    }
    assert!(kills > 60, "only {kills} kills happened");
}

#[tokio::test]
async fn two_copies_at_once_converge_to_the_same_objects() {
    let one = cluster_with(json!({}));
    let two = cluster_with(json!({}));
    for act in acts() {
        act(&one);
        act(&two);
        persist(&one).await;
        tokio::join!(persist(&two), persist(&two));

        assert_eq!(content(&one), content(&two));
    }
}

/// Rights of a chart, as `group/resource verb`.
fn granted() -> Vec<String> {
    use serde::Deserialize;
    let text = include_str!("../../../config/install.yaml");
    let documents =
        serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let mut granted = Vec::new();
    for document in documents {
        for rule in document["rules"].as_array().into_iter().flatten() {
            for (group, resource) in list(&rule["apiGroups"]).iter().zip(list(&rule["resources"])) {
                granted.extend(
                    list(&rule["verbs"]).into_iter().map(|verb| format!("{group}/{resource} {verb}")),
                );
            }
        }
    }
    granted
}

/// Makes a resource group and a collection, and removes both again.
async fn live_beside(cluster: &Arc<MemoryCluster>) {
    let engine = Arc::new(MemoryEngine::default());
    engine.add_collection("default", "rows");
    let operator = Driver { engine: engine as Arc<dyn Engine>, ..driver(cluster) };
    let kinds = [ApiResource::erase::<MilvusResourceGroup>(&()), ApiResource::erase::<MilvusCollection>(&())];
    for kind in &kinds {
        let object = json!({"apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"name": "rows", "namespace": "ns"}, "spec": {"milvus": {"name": "db"}, "replicas": 2}});
        cluster.put(kind, from_value(object).unwrap());
    }
    let rows = Place::new("ns", "rows");
    for gone in [false, true] {
        for kind in kinds.iter().filter(|_| gone) {
            cluster.begin_delete(kind, &rows);
        }
        for _ in 0..3 {
            operator.reconcile(&place()).await.unwrap();
            operator.reconcile_group(&rows).await.unwrap();
            operator.reconcile_collection(&rows).await.unwrap();
        }
    }
    assert!(!cluster.objects().contains_key(&("MilvusResourceGroup".to_owned(), rows)));
}

#[tokio::test]
async fn every_call_of_a_whole_life_is_granted_by_the_chart() {
    use crate::cluster::Verb;
    let storage = json!({"external": true, "endpoint": "s3.example", "secretRef": "keys"});
    let cluster = cluster_with(json!({"components": {"standalone": {"ingress": {"hosts": ["db.example"]}}}}));
    let operator = Driver { home: Some("home".into()), ..driver(&cluster) };
    settle(&operator).await;
    edit(
        &cluster,
        json!({"components": {"serviceAccountName": "mine"}, "redkite": {"dataPolicy": "Delete"},
            "dependencies": {"storage": storage}}),
    );
    settle(&operator).await;
    cluster.begin_delete(&kind(), &place());
    persist(&cluster).await;
    let calls = cluster.verbs();
    let gone = json!({"inCluster": {"deletionPolicy": "Delete", "pvcDeletion": true}});
    let cluster = cluster_with(json!({"mode": "cluster", "redkite": {"networkPolicy": {"enabled": true}},
        "components": {"proxy": {"replicas": 2}}, "config": {"etcd": {"auth": {"password": "x"}}},
        "dependencies": {"etcd": gone, "storage": gone}}));
    run(&cluster).await;
    live_beside(&cluster).await;
    cluster.begin_delete(&kind(), &place());
    persist(&cluster).await;
    let resources: BTreeMap<&str, &str> = [
        ("Milvus", "milvus.io/milvuses"),
        ("MilvusResourceGroup", "redkite.io/milvusresourcegroups"),
        ("MilvusCollection", "redkite.io/milvuscollections"),
        ("Deployment", "apps/deployments"),
        ("Service", "/services"),
        ("ConfigMap", "/configmaps"),
        ("ServiceAccount", "/serviceaccounts"),
        ("PersistentVolumeClaim", "/persistentvolumeclaims"),
        ("Secret", "/secrets"),
        ("Pod", "/pods"),
        ("PodMonitor", "monitoring.coreos.com/podmonitors"),
        ("StatefulSet", "apps/statefulsets"),
        ("NetworkPolicy", "networking.k8s.io/networkpolicies"),
        ("PodDisruptionBudget", "policy/poddisruptionbudgets"),
        ("Ingress", "networking.k8s.io/ingresses"),
    ]
    .into();

    let granted = granted();
    for (verb, kind) in calls.into_iter().chain(cluster.verbs()) {
        let resource = resources[kind.as_str()];
        let needed = match verb {
            Verb::Get => vec![format!("{resource} get")],
            Verb::List => vec![format!("{resource} list")],
            Verb::Apply => vec![format!("{resource} create"), format!("{resource} patch")],
            Verb::ApplyStatus => vec![format!("{resource}/status patch")],
            Verb::Patch => vec![format!("{resource} patch")],
            Verb::Delete => vec![format!("{resource} delete")],
            Verb::Publish => {
                vec!["events.k8s.io/events create".to_owned(), "events.k8s.io/events patch".to_owned()]
            }
        };
        for right in needed {
            assert!(granted.contains(&right), "{right} is not granted");
        }
    }
}

#[tokio::test]
async fn a_milvus_cluster_is_carried_out_by_a_milvus_of_its_own_and_reports_what_that_reports() {
    let cluster = Arc::new(MemoryCluster::default());
    let kind = ApiResource::erase::<MilvusCluster>(&());
    let object = json!({"apiVersion": "milvus.io/v1alpha1", "kind": "MilvusCluster",
        "metadata": {"name": "db", "namespace": "ns", "uid": "uid-old", "finalizers": ["milvuscluster.milvus.io/finalizer"]},
        "spec": {"components": {"queryNode": {"replicas": 2}}}});
    cluster.put(&kind, from_value(object).unwrap());

    driver(&cluster).reconcile_cluster(&place()).await.unwrap();
    run(&cluster).await;
    driver(&cluster).reconcile_cluster(&place()).await.unwrap();

    let objects = cluster.objects();
    let milvus = &objects[&("Milvus".to_owned(), place())];
    assert_eq!(milvus.data["spec"], json!({"mode": "cluster", "components": {"queryNode": {"replicas": 2}}}));
    let old = &objects[&("MilvusCluster".to_owned(), place())];
    assert_eq!(old.data["status"]["status"], "Healthy");
    assert_eq!(old.data["status"]["observedGeneration"], json!(old.metadata.generation));
    assert_eq!(old.metadata.finalizers, None);
}

#[tokio::test]
async fn a_milvus_that_belongs_to_nobody_is_not_overwritten_by_a_milvus_cluster() {
    let cluster = cluster_with(json!({}));
    let kind = ApiResource::erase::<MilvusCluster>(&());
    let object = json!({"apiVersion": "milvus.io/v1alpha1", "kind": "MilvusCluster",
        "metadata": {"name": "db", "namespace": "ns", "uid": "uid-old"}, "spec": {}});
    cluster.put(&kind, from_value(object).unwrap());

    driver(&cluster).reconcile_cluster(&place()).await.unwrap();

    let objects = cluster.objects();
    assert_eq!(objects[&("Milvus".to_owned(), place())].data["spec"], json!({}));
    let status = &objects[&("MilvusCluster".to_owned(), place())].data["status"];
    assert_eq!(status["conditions"][0]["reason"], "NameTaken");
}

#[tokio::test]
async fn an_order_to_upgrade_changes_the_image_and_nothing_else() {
    let spec = json!({"mode": "cluster", "components": {"image": "milvusdb/milvus:v2.6.0", "queryNode": {"replicas": 2}}});
    let cluster = cluster_with(spec);
    run(&cluster).await;
    let kind = ApiResource::erase::<MilvusUpgrade>(&());
    let order = json!({"apiVersion": "milvus.io/v1beta1", "kind": "MilvusUpgrade",
        "metadata": {"name": "up", "namespace": "ns"},
        "spec": {"milvus": {"name": "db"}, "sourceVersion": "2.6.0", "targetVersion": "2.6.1"}});
    cluster.put(&kind, from_value(order).unwrap());
    let order = Place::new("ns", "up");

    driver(&cluster).reconcile_upgrade(&order).await.unwrap();
    run(&cluster).await;
    let next = driver(&cluster).reconcile_upgrade(&order).await.unwrap();

    assert_eq!(next, Next::Waiting);
    let objects = cluster.objects();
    assert_eq!(
        objects[&("Milvus".to_owned(), place())].data["spec"]["components"],
        json!({"image": "milvusdb/milvus:v2.6.1", "queryNode": {"replicas": 2}})
    );
    assert_eq!(objects[&("MilvusUpgrade".to_owned(), order)].data["status"]["state"], "Succeeded");
}

#[tokio::test]
async fn a_cluster_without_the_kinds_of_prometheus_gets_everything_else() {
    for disabled in [false, true] {
        let cluster = cluster_with(json!({"components": {"disableMetric": disabled}}));
        cluster.does_not_know("PodMonitor");

        assert_eq!(run(&cluster).await, Next::Settled);
        assert_eq!(status(&cluster).status, Phase::Healthy);
    }
}
