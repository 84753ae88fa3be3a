//! Reconciles against the memory twin: what is made, what is said, and that breaking off anywhere does no harm.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, from_value, json};

use super::{Driver, Meters, Next};
use crate::cluster::{Cluster, MemoryCluster, Place};
use crate::crd::{Milvus, MilvusStatus, Phase, read};
use crate::render::Platform;

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
        platform: Platform { engine_image: "redkite/engine:1".into(), ..Platform::default() },
        home: None,
        now: || Timestamp::UNIX_EPOCH,
        meters: Arc::new(Meters::new().unwrap()),
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

/// Reports the Deployment as fully rolled out, as Kubernetes would.
fn roll_out(cluster: &MemoryCluster) {
    let key = ("Deployment".to_owned(), Place::new("ns", "db-milvus-standalone"));
    let mut object = cluster.objects()[&key].clone();
    let replicas = object.data["spec"]["replicas"].as_i64().unwrap_or(1);
    object.data["status"] = json!({
        "observedGeneration": object.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
    });
    cluster.put(&ApiResource::erase::<Deployment>(&()), object);
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
async fn the_spec_is_never_rewritten() {
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

#[tokio::test]
async fn cluster_mode_is_refused_plainly() {
    let cluster = cluster_with(json!({"mode": "cluster"}));
    let driver = driver(&cluster);

    driver.reconcile(&place()).await.unwrap();
    driver.reconcile(&place()).await.unwrap();

    assert_eq!(content(&cluster).into_keys().collect::<Vec<_>>(), ["Milvus ns/db"]);
    assert_eq!(
        said(&cluster, "Ready").1,
        "spec.mode: cluster mode is not supported yet: this version runs standalone only"
    );
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
        "metadata": {"name": "db-milvus-standalone", "namespace": "ns"},
        "spec": {"selector": {}, "template": {}}}))
    .unwrap();
    cluster.put(&ApiResource::erase::<Deployment>(&()), theirs);
    let before = content(&cluster)["Deployment ns/db-milvus-standalone"].clone();
    let driver = driver(&cluster);

    driver.reconcile(&place()).await.unwrap();
    driver.reconcile(&place()).await.unwrap();

    assert_eq!(content(&cluster)["Deployment ns/db-milvus-standalone"], before);
    assert_eq!(said(&cluster, "SpecAccepted").0, "False NotSupported");
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
        |cluster| edit(cluster, json!({"config": {"a": 1}, "redkite": {"dataPolicy": "Delete"}})),
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
    let resources: BTreeMap<&str, &str> = [
        ("Milvus", "milvus.io/milvuses"),
        ("Deployment", "apps/deployments"),
        ("Service", "/services"),
        ("ConfigMap", "/configmaps"),
        ("ServiceAccount", "/serviceaccounts"),
        ("PersistentVolumeClaim", "/persistentvolumeclaims"),
        ("Secret", "/secrets"),
        ("Ingress", "networking.k8s.io/ingresses"),
    ]
    .into();

    let granted = granted();
    for (verb, kind) in cluster.verbs() {
        let resource = resources[kind.as_str()];
        let needed = match verb {
            Verb::Get => vec![format!("{resource} get")],
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
