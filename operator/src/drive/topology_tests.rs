//! Resource groups and collections against the twins of the API server and of the engine.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, from_value, json};

use super::{Driver, Meters, Next, Windows};
use crate::cluster::{Cluster, MemoryCluster, Place};
use crate::crd::{Milvus, MilvusCollection, MilvusResourceGroup};
use crate::engine_admin::{Engine, MemoryEngine};
use crate::reach::{MemoryReach, Reach};
use crate::render::Platform;

/// A database, its engine, and the operator.
struct World {
    cluster: Arc<MemoryCluster>,
    engine: Arc<MemoryEngine>,
    driver: Driver,
}

const POD: &str = "db-milvus-querynode-gold";

impl World {
    fn new() -> Self {
        let cluster = Arc::new(MemoryCluster::default());
        let engine = Arc::new(MemoryEngine::default());
        let driver = Driver {
            cluster: Arc::clone(&cluster) as Arc<dyn Cluster>,
            reach: Arc::new(MemoryReach::default()) as Arc<dyn Reach>,
            engine: Arc::clone(&engine) as Arc<dyn Engine>,
            platform: Platform { engine_image: "redkite/engine:1".into(), ..Platform::default() },
            home: None,
            now: || Timestamp::UNIX_EPOCH,
            random: || Ok("drawn".to_owned()),
            new_key: || Ok(crate::certificates::tests::key()),
            meters: Arc::new(Meters::new().unwrap()),
            windows: Windows::default(),
        };
        let world = Self { cluster, engine, driver };
        world.put::<Milvus>("db", json!({"mode": "cluster"}));
        world.proxy();
        world
    }

    /// A proxy that serves: the engine is told things there.
    fn proxy(&self) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "db-milvus-proxy-0", "namespace": "ns", "labels": {
                "app.kubernetes.io/instance": "db", "app.kubernetes.io/component": "proxy"}},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.cluster.put(&ApiResource::erase::<Pod>(&()), from_value(pod).unwrap());
    }

    /// A Deployment of another operator.
    fn foreign(&self) {
        let found = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "db-milvus-proxy", "namespace": "ns", "labels": {
                "app.kubernetes.io/instance": "db", "app.kubernetes.io/name": "milvus"}},
            "spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "proxy", "image": "milvusdb/milvus:v2.6.11"}]}}},
        });
        self.cluster.put(&ApiResource::erase::<Deployment>(&()), from_value(found).unwrap());
    }

    fn put<K: kube::Resource<DynamicType = ()>>(&self, name: &str, spec: Value) {
        let kind = ApiResource::erase::<K>(&());
        let mut object =
            self.cluster.objects().remove(&(kind.kind.clone(), place(name))).unwrap_or_else(|| {
                from_value(json!({
                    "apiVersion": kind.api_version, "kind": kind.kind,
                    "metadata": {"name": name, "namespace": "ns"},
                }))
                .unwrap()
            });
        object.data["spec"] = spec;
        self.cluster.put(&kind, object);
    }

    fn object(&self, kind: &str, name: &str) -> Option<DynamicObject> {
        self.cluster.objects().remove(&(kind.to_owned(), place(name)))
    }

    /// Brings all objects to what the specs say, as far as it goes.
    async fn settle(&self) {
        for _ in 0..4 {
            for (kind, at) in self.cluster.objects().into_keys() {
                match kind.as_str() {
                    "Milvus" => drop(self.driver.reconcile(&at).await.unwrap()),
                    "MilvusResourceGroup" => drop(self.driver.reconcile_group(&at).await.unwrap()),
                    "MilvusCollection" => drop(self.driver.reconcile_collection(&at).await.unwrap()),
                    _ => {}
                }
            }
        }
    }

    /// Starts the pods of the group, whose query nodes join the engine.
    fn roll_out(&self, hosts: &[&str]) {
        let mut found = self.object("Deployment", POD).unwrap();
        let count = hosts.len();
        found.data["status"] = json!({
            "observedGeneration": found.metadata.generation, "replicas": count, "updatedReplicas": count,
            "readyReplicas": count, "availableReplicas": count,
        });
        self.cluster.put(&ApiResource::erase::<Deployment>(&()), found);
        self.engine.set_nodes("gold", hosts);
    }

    fn said(&self, kind: &str, name: &str, condition: &str) -> String {
        let object = self.object(kind, name).unwrap();
        let conditions = object.data["status"]["conditions"].as_array().unwrap().clone();
        let found = conditions.iter().find(|found| found["type"] == condition).unwrap();
        let word = |field: &str| found[field].as_str().unwrap().to_owned();
        format!("{} {}: {}", word("status"), word("reason"), word("message"))
    }

    fn delete<K: kube::Resource<DynamicType = ()>>(&self, name: &str) {
        self.cluster.begin_delete(&ApiResource::erase::<K>(&()), &place(name));
    }
}

fn place(name: &str) -> Place {
    Place::new("ns", name)
}

fn of_db(mut spec: Value) -> Value {
    spec["milvus"] = json!({"name": "db"});
    spec
}

#[tokio::test]
async fn a_group_gets_its_place_in_the_engine_and_pods_of_its_own() {
    let world = World::new();
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 2})));

    world.settle().await;

    assert_eq!(world.engine.changes(), ["make gold"]);
    let pods = world.object("Deployment", POD).unwrap();
    assert_eq!(pods.data["spec"]["replicas"], 2);
    let env = &pods.data["spec"]["template"]["spec"]["containers"][0]["env"];
    let label = json!({"name": "MILVUS_SERVER_LABEL_RESOURCE_GROUP", "value": "gold"});
    assert!(env.as_array().unwrap().contains(&label), "{env}");
    assert_eq!(world.said("MilvusResourceGroup", "gold", "Ready"), "False PodsNotReady: 0 of 2 pods serve");
    world.roll_out(&["gold-1", "gold-2"]);
    world.settle().await;
    let status = world.object("MilvusResourceGroup", "gold").unwrap().data["status"].clone();
    insta::assert_json_snapshot!(status);
}

#[tokio::test]
async fn a_scaled_group_has_more_pods_and_more_room() {
    let world = World::new();
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));
    world.settle().await;

    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 3})));
    world.settle().await;

    assert_eq!(world.engine.changes(), ["make gold", "change gold to 0..3"]);
    assert_eq!(world.object("Deployment", POD).unwrap().data["spec"]["replicas"], 3);
    assert!(world.object("PodDisruptionBudget", POD).is_some());
}

#[tokio::test]
async fn settled_objects_are_not_written_again() {
    let world = World::new();
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));
    world.engine.add_collection("default", "rows");
    world.put::<MilvusCollection>(
        "rows",
        of_db(json!({"policy": "Manage", "load": {"state": "Loaded", "resourceGroups": ["gold"]}})),
    );
    world.settle().await;
    world.roll_out(&["gold-1"]);
    world.settle().await;
    let before = (world.cluster.objects(), world.engine.changes());

    let next = world.driver.reconcile_group(&place("gold")).await.unwrap();
    let also = world.driver.reconcile_collection(&place("rows")).await.unwrap();

    assert_eq!((next, also), (Next::Relying, Next::Relying));
    assert_eq!((world.cluster.objects(), world.engine.changes()), before);
}

#[tokio::test]
async fn a_group_that_is_deleted_goes_only_when_nothing_is_read_from_it() {
    let world = World::new();
    world.engine.set_nodes("__default_resource_group", &["db-1"]);
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));
    world.engine.add_collection("default", "rows");
    world.put::<MilvusCollection>(
        "rows",
        of_db(json!({"policy": "Manage", "load": {"state": "Loaded", "resourceGroups": ["gold"]}})),
    );
    world.settle().await;
    world.roll_out(&["gold-1"]);
    world.settle().await;

    world.delete::<MilvusResourceGroup>("gold");
    world.settle().await;

    let holds =
        "True StillHoldsReplicas: replicas of rows are in the group: it goes once they are moved or released";
    assert_eq!(world.said("MilvusResourceGroup", "gold", "Stalled"), holds);
    assert!(world.object("Deployment", POD).is_some());
    world.put::<MilvusCollection>("rows", of_db(json!({"policy": "Manage", "load": {"replicas": 1}})));
    world.settle().await;
    world.settle().await;
    assert!(world.object("MilvusResourceGroup", "gold").is_none());
    assert!(world.object("Deployment", POD).is_none());
    assert_eq!(
        world.engine.changes(),
        [
            "make gold",
            "load rows in gold",
            "load rows in __default_resource_group",
            "change gold to 0..0",
            "drop gold",
        ]
    );
}

#[tokio::test]
async fn a_collection_waits_for_its_group_and_is_never_changed_while_observed() {
    let world = World::new();
    world.engine.add_collection("default", "rows");
    let load = json!({"state": "Loaded", "resourceGroups": ["gold"]});
    world.put::<MilvusCollection>("rows", of_db(json!({"load": load})));

    world.settle().await;

    let differs = world.said("MilvusCollection", "rows", "InSync");
    assert_eq!(differs, "False Differs: the collection is not loaded");
    world.put::<MilvusCollection>("rows", of_db(json!({"policy": "Manage", "load": load})));
    world.settle().await;
    let waits = world.said("MilvusCollection", "rows", "Ready");
    assert_eq!(waits, "False GroupNotFound: resource group gold does not exist");
    assert_eq!(world.engine.changes(), Vec::<String>::new());
    world.engine.set_nodes("gold", &["gold-1"]);
    world.settle().await;
    assert_eq!(world.said("MilvusCollection", "rows", "Ready"), "True Settled: every replica can be read");
    assert_eq!(world.engine.changes(), ["load rows in gold"]);
}

#[tokio::test]
async fn deleting_a_collection_object_leaves_the_collection_as_it_is() {
    let world = World::new();
    world.engine.add_collection("default", "rows");
    world.put::<MilvusCollection>("rows", of_db(json!({"policy": "Manage", "load": {"state": "Loaded"}})));
    world.engine.set_nodes("__default_resource_group", &["db-1"]);
    world.settle().await;

    world.delete::<MilvusCollection>("rows");
    world.settle().await;

    assert!(world.object("MilvusCollection", "rows").is_none());
    assert_eq!(world.engine.changes(), ["load rows in __default_resource_group"]);
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_and_tried_again() {
    let world = World::new();
    world.engine.set_away(true);
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));

    world.settle().await;
    let next = world.driver.reconcile_group(&place("gold")).await.unwrap();

    assert_eq!(next, Next::Missing);
    assert_eq!(
        world.said("MilvusResourceGroup", "gold", "Ready"),
        "False EngineUnreachable: cannot list resource groups at 10.0.0.1:19529: connection refused"
    );
    world.engine.set_away(false);
    world.settle().await;
    assert_eq!(world.engine.changes(), ["make gold"]);
}

#[tokio::test]
async fn a_database_that_goes_takes_its_groups_pods_and_holds_no_object_back() {
    let world = World::new();
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));
    world.settle().await;
    world.engine.set_away(true);

    world.delete::<Milvus>("db");
    world.delete::<MilvusResourceGroup>("gold");
    world.settle().await;
    world.settle().await;

    assert!(world.object("Milvus", "db").is_none());
    assert!(world.object("MilvusResourceGroup", "gold").is_none());
    assert!(world.object("Deployment", POD).is_none());
}

fn books() -> Value {
    of_db(json!({
        "schema": {"fields": [
            {"name": "id", "type": "Int64", "primaryKey": true},
            {"name": "vector", "type": "FloatVector", "dim": 4},
        ]},
        "indexes": [{"field": "vector", "type": "HNSW", "metric": "L2", "params": {"M": 8}}],
        "load": {"state": "Loaded"},
        "aliases": ["live"],
        "properties": {"collection.ttl.seconds": 60},
    }))
}

const MADE: [&str; 4] = [
    "make collection books",
    "make index vector of books",
    "load books in __default_resource_group",
    "make alias live of books",
];

#[tokio::test]
async fn a_collection_is_made_with_everything_that_its_object_says_and_rests() {
    let world = World::new();
    world.engine.set_nodes("__default_resource_group", &["db-1"]);
    world.put::<MilvusCollection>("books", books());

    world.settle().await;

    assert_eq!(world.engine.changes(), MADE);
    assert_eq!(world.said("MilvusCollection", "books", "Ready"), "True Settled: every replica can be read");
    let status = world.object("MilvusCollection", "books").unwrap().data["status"].clone();
    assert_eq!(status["managed"], true, "{status}");
    let kept = json!({"id": "1", "made": true, "indexes": ["vector"], "aliases": ["live"],
                      "properties": ["collection.ttl.seconds"],
                      "definitions": {"vector": "vector: M=8 index_type=HNSW metric_type=L2"}});
    assert_eq!(status["kept"], kept);
    assert_eq!(world.engine.asked().unwrap().token.as_deref(), Some("drawn"));
    let before = world.cluster.objects();
    assert_eq!(world.driver.reconcile_collection(&place("books")).await.unwrap(), Next::Relying);
    assert_eq!((world.cluster.objects(), world.engine.changes().len()), (before, MADE.len()));
}

#[tokio::test]
async fn an_alias_that_goes_from_one_object_to_another_leads_somewhere_at_every_moment() {
    let world = World::new();
    world.engine.set_nodes("__default_resource_group", &["db-1"]);
    world.put::<MilvusCollection>("books", books());
    world.settle().await;
    let (mut old, new) = (books(), books());
    old["aliases"] = json!([]);

    world.put::<MilvusCollection>("books", old);
    world.put::<MilvusCollection>("books-v2", {
        let mut new = new;
        new["name"] = json!("books_v2");
        new
    });
    world.settle().await;

    let changes = world.engine.changes();
    assert_eq!(changes.last().unwrap(), "move alias live to books_v2");
    assert!(!changes.iter().any(|change| change.starts_with("drop")), "{changes:?}");
    assert_eq!(world.said("MilvusCollection", "books", "Ready"), "True Settled: every replica can be read");
    assert_eq!(
        world.said("MilvusCollection", "books-v2", "Ready"),
        "True Settled: every replica can be read"
    );
}

#[tokio::test]
async fn a_collection_goes_with_its_object_where_that_is_said() {
    let world = World::new();
    world.engine.set_nodes("__default_resource_group", &["db-1"]);
    let mut spec = books();
    spec["deletionPolicy"] = json!("Delete");
    world.put::<MilvusCollection>("books", spec);
    world.settle().await;

    world.delete::<MilvusCollection>("books");
    world.settle().await;

    assert!(world.object("MilvusCollection", "books").is_none());
    assert_eq!(world.engine.changes()[MADE.len()..], ["drop alias live", "drop collection books"]);
}

/// Broken off after any number of calls, the next reconcile goes on from there, makes everything once and forgets nothing.
#[tokio::test]
async fn a_collection_that_is_broken_off_anywhere_ends_the_same() {
    for calls in 0..40 {
        for carried_out in [false, true] {
            let world = World::new();
            world.engine.set_nodes("__default_resource_group", &["db-1"]);
            world.put::<MilvusCollection>("books", books());
            world.cluster.cut_after(calls, carried_out);
            drop(world.driver.reconcile_collection(&place("books")).await);
            world.cluster.mend();
            world.settle().await;

            assert_eq!(world.engine.changes(), MADE, "{calls} {carried_out}");
            let status = world.object("MilvusCollection", "books").unwrap().data["status"].clone();
            assert_eq!(status["kept"]["aliases"], json!(["live"]), "{calls} {carried_out}");
        }
    }
}

#[tokio::test]
async fn nothing_is_done_beside_pods_that_were_not_taken_over() {
    let world = World::new();
    world.foreign();
    world.put::<MilvusCollection>("books", books());
    world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));

    world.settle().await;

    assert_eq!(world.engine.changes(), Vec::<String>::new());
    let said = "False NotTakenOver: Milvus db runs pods of another operator, which Redkite has not taken over: its condition \
                SpecAccepted says how";
    assert_eq!(world.said("MilvusCollection", "books", "Ready"), said);
    assert_eq!(world.said("MilvusResourceGroup", "gold", "Ready"), said);
    assert!(world.object("Deployment", POD).is_none());
}

/// Broken off after any number of calls, the next reconcile goes on from there and ends the same.
#[tokio::test]
async fn a_group_that_is_broken_off_anywhere_ends_the_same() {
    for calls in 0..12 {
        for carried_out in [false, true] {
            let world = World::new();
            world.settle().await;
            world.put::<MilvusResourceGroup>("gold", of_db(json!({"replicas": 1})));
            world.cluster.cut_after(calls, carried_out);
            drop(world.driver.reconcile_group(&place("gold")).await);
            world.cluster.mend();
            world.settle().await;
            world.roll_out(&["gold-1"]);
            world.settle().await;

            let ready = world.said("MilvusResourceGroup", "gold", "Ready");
            assert_eq!(ready, "True Settled: 1 query nodes are in the group", "{calls} {carried_out}");
            assert_eq!(world.engine.changes(), ["make gold"], "{calls} {carried_out}");

            world.delete::<MilvusResourceGroup>("gold");
            world.cluster.cut_after(calls, carried_out);
            drop(world.driver.reconcile_group(&place("gold")).await);
            world.cluster.mend();
            world.settle().await;
            assert!(world.object("MilvusResourceGroup", "gold").is_none(), "{calls} {carried_out}");
            let expected = ["make gold", "change gold to 0..0", "drop gold"];
            assert_eq!(world.engine.changes(), expected, "{calls} {carried_out}");
        }
    }
}
