//! A release of another operator under the name of an object: left alone, and replaced only where the object allows it.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};

use super::*;

const THEIRS: &str = "db-milvus-mixcoord";

/// A cluster of the peer's, with its settings.
fn peer(spec: Value, allowed: bool) -> Arc<MemoryCluster> {
    let cluster = Arc::new(MemoryCluster::default());
    let mut object = milvus(spec);
    if allowed {
        object.metadata.annotations = Some([("redkite.io/take-over".to_owned(), "true".to_owned())].into());
    }
    cluster.put(&kind(), object);
    let labels = json!({"app.kubernetes.io/instance": "db", "app.kubernetes.io/name": "milvus",
                        "app.kubernetes.io/managed-by": "milvus-operator"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": THEIRS, "namespace": "ns", "labels": labels},
        "spec": {"replicas": 1, "selector": {}, "template": {"spec": {"containers": [
            {"name": "mixcoord", "image": "milvusdb/milvus:v2.6.11"}]}}},
    });
    cluster.put(&ApiResource::erase::<Deployment>(&()), from_value(deployment).unwrap());
    let settings = "etcd: {rootPath: db}\nminio: {bucketName: db, rootPath: files}\n";
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db", "namespace": "ns", "labels": labels},
        "data": {"user.yaml": settings},
    });
    cluster.put(&ApiResource::erase::<ConfigMap>(&()), from_value(map).unwrap());
    cluster
}

fn theirs(cluster: &MemoryCluster) -> Option<DynamicObject> {
    cluster.objects().remove(&("Deployment".to_owned(), Place::new("ns", THEIRS)))
}

/// Everything but the `Milvus` itself.
fn beside(cluster: &MemoryCluster) -> BTreeMap<String, Value> {
    content(cluster).into_iter().filter(|(name, _)| !name.starts_with("Milvus ")).collect()
}

#[tokio::test]
async fn a_release_of_the_peer_goes_on_as_it_is_and_a_condition_says_why() {
    let cluster = peer(json!({"mode": "cluster"}), false);
    let before = beside(&cluster);

    settle(&driver(&cluster)).await;

    assert_eq!(beside(&cluster), before);
    let (state, message) = said(&cluster, "SpecAccepted");
    assert_eq!(state, "False ForeignRelease");
    assert!(message.contains("db-milvus-mixcoord (milvusdb/milvus:v2.6.11)"), "{message}");
    assert!(message.contains("redkite.io/take-over: \"true\""), "{message}");
}

#[tokio::test]
async fn allowed_it_stays_while_redkite_would_be_pointed_at_its_data() {
    let cluster = peer(json!({"mode": "cluster", "config": {"etcd": {"rootPath": "kite"}}}), true);
    let before = beside(&cluster);

    settle(&driver(&cluster)).await;

    assert_eq!(beside(&cluster), before);
    let (state, message) = said(&cluster, "SpecAccepted");
    assert_eq!(state, "False ForeignData");
    assert!(message.starts_with("spec.config.minio.rootPath: "), "{message}");
}

#[tokio::test]
async fn allowed_and_with_places_of_its_own_redkite_takes_over() {
    let places = json!({"etcd": {"rootPath": "kite"}, "minio": {"rootPath": "kite"}});
    let cluster = peer(json!({"mode": "cluster", "config": places}), true);
    let driver = driver(&cluster);

    settle(&driver).await;
    settle(&driver).await;

    assert!(theirs(&cluster).is_some_and(|found| {
        found.metadata.annotations.is_some_and(|all| all.contains_key("redkite.io/rendered"))
    }));
    assert_eq!(said(&cluster, "SpecAccepted").0, "True Accepted");
    let notes: Vec<String> = cluster.notes().into_iter().map(|note| note.reason).collect();
    assert!(notes.contains(&"TakenOver".to_owned()), "{notes:?}");
}

/// The identity of everything but Deployments.
fn identities(cluster: &MemoryCluster) -> BTreeMap<String, Option<String>> {
    let objects = cluster.objects().into_iter().filter(|((kind, _), _)| kind != "Deployment");
    objects.map(|((kind, place), object)| (format!("{kind} {place}"), object.metadata.uid)).collect()
}

/// What Helm made beside the peer's cluster.
fn stores(cluster: &MemoryCluster) -> BTreeMap<String, Value> {
    let mut all = beside(cluster);
    all.retain(|name, _| name.contains("db-etcd") || name.contains("db-minio"));
    all
}

#[tokio::test]
async fn a_take_over_keeps_the_identity_of_all_but_the_deployments_and_the_stores_as_they_are() {
    let places = json!({"etcd": {"rootPath": "kite"}, "minio": {"rootPath": "kite"}});
    let cluster = peer(json!({"mode": "cluster", "config": places}), true);
    let (service, set, claim) = (
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<PersistentVolumeClaim>(&()),
    );
    for (kind, name) in [
        (&service, "db-milvus"),
        (&service, "db-etcd"),
        (&service, "db-minio"),
        (&set, "db-etcd"),
        (&set, "db-minio"),
        (&claim, "data-db-etcd-0"),
    ] {
        let object = json!({"apiVersion": kind.api_version, "kind": kind.kind,
                            "metadata": {"name": name, "namespace": "ns", "uid": format!("{}-{name}", kind.kind)}});
        cluster.put(kind, from_value(object).unwrap());
    }
    let (before, as_made) = (identities(&cluster), stores(&cluster));
    assert_eq!(as_made.len(), 5);
    let driver = driver(&cluster);

    settle(&driver).await;
    settle(&driver).await;

    assert_eq!(said(&cluster, "SpecAccepted").0, "True Accepted");
    let mut after = identities(&cluster);
    after.retain(|name, _| before.contains_key(name));
    assert_eq!(after, before);
    assert_eq!(stores(&cluster), as_made);
}

#[tokio::test]
async fn an_override_that_names_an_image_of_milvus_is_refused() {
    let cluster = Arc::new(MemoryCluster::default());
    let mut object = milvus(json!({}));
    let image = ("redkite.io/image".to_owned(), "milvusdb/milvus:v2.6.11".to_owned());
    object.metadata.annotations = Some([image].into());
    cluster.put(&kind(), object);

    settle(&driver(&cluster)).await;

    let (state, message) = said(&cluster, "SpecAccepted");
    assert_eq!(state, "False EngineRefused");
    assert!(
        message.starts_with("metadata.annotations[redkite.io/image]: milvusdb/milvus:v2.6.11 "),
        "{message}"
    );
    assert_eq!(beside(&cluster).len(), 0);
}
