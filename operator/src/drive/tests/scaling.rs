//! Numbers of pods that follow the load: what is read, what is told, and what stays when nothing can be read.

use std::cell::Cell;

use k8s_openapi::api::core::v1::{Pod, Secret};

use super::*;
use crate::crd::QueryScaling;
use crate::engine_admin::Door;
use crate::reach::Trust;
use crate::scaling::{Jobs, LoadReport, NodeLoad};

thread_local! {
    static SECOND: Cell<i64> = const { Cell::new(0) };
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000 + SECOND.get()).unwrap()
}

const QUERY: &str = "db-milvus-querynode";
const DATA: &str = "db-milvus-datanode";

struct Followed {
    cluster: Arc<MemoryCluster>,
    engine: Arc<MemoryEngine>,
    driver: Driver,
}

impl Followed {
    fn new(autoscaling: Value) -> Self {
        Self::with(json!({"redkite": {"autoscaling": autoscaling}}))
    }

    fn with(mut spec: Value) -> Self {
        spec["mode"] = json!("cluster");
        spec["components"] = json!({"queryNode": {"replicas": 1, "resources": {"limits": {"cpu": "2"}}}});
        let cluster = cluster_with(spec);
        let engine = Arc::new(MemoryEngine::default());
        let driver = Driver { engine: Arc::clone(&engine) as Arc<dyn Engine>, now, ..driver(&cluster) };
        Self { cluster, engine, driver }
    }

    /// Pods that serve, as many as each Deployment asks for.
    fn serve(&self) {
        roll_out(&self.cluster);
        for ((kind, at), object) in self.cluster.objects() {
            if kind != "Deployment" {
                continue;
            }
            for number in 0..object.data["spec"]["replicas"].as_i64().unwrap_or(1) {
                let pod: DynamicObject = from_value(json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": format!("{}-{number}", at.name), "namespace": "ns",
                        "labels": object.data["spec"]["template"]["metadata"]["labels"]},
                    "status": {"podIP": "10.0.0.9", "conditions": [{"type": "Ready", "status": "True"}]},
                }))
                .unwrap();
                self.cluster.put(&ApiResource::erase::<Pod>(&()), pod);
            }
        }
    }

    /// Each query node uses so many processors, and jobs wait.
    fn load(&self, cpu: f64, jobs: Option<Jobs>) {
        let node = |number| NodeLoad {
            host: format!("{QUERY}-{number}"),
            stays: true,
            search_cpu: cpu,
            ..NodeLoad::default()
        };
        let nodes = (0..self.number(QUERY)).map(node).collect();
        self.engine.set_load(LoadReport { settled: true, nodes, jobs });
    }

    /// Looks every ten seconds.
    async fn pass(&self, seconds: i64) -> Next {
        let mut next = Next::Waiting;
        for _ in 0..seconds / 10 {
            SECOND.set(SECOND.get() + 10);
            next = self.driver.reconcile(&place()).await.unwrap();
        }
        next
    }

    fn number(&self, name: &str) -> i64 {
        let found = self.cluster.objects().remove(&("Deployment".to_owned(), Place::new("ns", name)));
        found.unwrap().data["spec"]["replicas"].as_i64().unwrap()
    }

    fn told(&self, reason: &str) -> Vec<String> {
        let notes = self.cluster.notes().into_iter().filter(|note| note.reason == reason);
        notes.map(|note| note.message).collect()
    }
}

#[tokio::test]
async fn query_nodes_follow_the_load_and_the_object_says_why() {
    let world = Followed::new(json!({"queryNode": {"max": 4}}));
    world.pass(20).await;
    assert_eq!(said(&world.cluster, "ScalingActive").0, "False NotServing");
    world.serve();
    world.load(1.9, None);

    let next = world.pass(60).await;

    assert_eq!((world.number(QUERY), next), (2, Next::Measuring));
    let why = "searches use 1.90 processors, 1.40 are for one node";
    assert_eq!(world.told("ScaledUp"), [format!("query nodes: from 1 to 2 (Cpu): {why}")]);
    let active = ("True FollowsLoad".to_owned(), format!("query nodes: 2 (Cpu: {why})"));
    assert_eq!(said(&world.cluster, "ScalingActive"), active);
    let text = world.driver.meters.text();
    let line = r#"redkite_operator_autoscaling_replicas{namespace="ns",workload="db-milvus-querynode"} 2"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn nothing_is_written_while_the_load_stays() {
    let world = Followed::new(json!({"queryNode": {"max": 4}}));
    world.pass(20).await;
    world.serve();
    world.load(0.5, None);
    world.pass(60).await;
    let before = world.cluster.objects();

    world.pass(1_200).await;

    assert_eq!(world.cluster.objects(), before);
}

#[tokio::test]
async fn nothing_changes_while_the_load_cannot_be_read() {
    let world = Followed::new(json!({"queryNode": {"max": 4}}));
    world.pass(20).await;
    world.serve();
    world.load(1.9, None);
    world.pass(60).await;
    world.serve();

    world.engine.set_away(true);
    world.pass(1_200).await;

    assert_eq!(world.number(QUERY), 2);
    let (reason, message) = said(&world.cluster, "ScalingActive");
    assert_eq!(reason, "False LoadUnknown");
    assert!(message.contains("cannot read the load at 10.0.0.9:19529: connection refused"), "{message}");
    assert_eq!(world.told("LoadUnknown").len(), 1, "it is told once");
}

#[tokio::test]
async fn nodes_that_take_only_each_other_are_asked_as_one_of_them() {
    let redkite = json!({"autoscaling": {"queryNode": {"max": 4}}, "certificates": {"nodes": {}}});
    let world = Followed::with(json!({"redkite": redkite}));
    world.pass(20).await;
    world.serve();
    world.load(0.5, None);

    world.pass(10).await;

    let secret =
        world.cluster.objects().remove(&("Secret".to_owned(), Place::new("ns", "db-node-tls"))).unwrap();
    let secret: Secret = from_value(serde_json::to_value(secret).unwrap()).unwrap();
    let text = |key: &str| String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap();
    let trust = Trust {
        authorities: format!("{}\n{}", text("ca.crt"), text("tls.crt")),
        name: "nodes.db.ns".to_owned(),
        identity: Some((text("tls.crt"), text("tls.key"))),
    };
    let door =
        Door { address: "10.0.0.9:19529".to_owned(), trust: Some(trust), token: Some("drawn".to_owned()) };
    assert_eq!(world.engine.asked(), Some(door));
    assert_eq!(said(&world.cluster, "ScalingActive").0, "True FollowsLoad");
}

#[tokio::test]
async fn nodes_whose_certificate_nobody_named_are_not_asked_in_clear_text() {
    let world = Followed::with(json!({
        "redkite": {"autoscaling": {"queryNode": {"max": 4}}},
        "config": {"common": {"security": {"internaltlsEnabled": true}}},
    }));
    world.pass(20).await;
    world.serve();
    world.load(1.9, None);

    world.pass(60).await;

    assert_eq!(world.engine.asked(), None);
    assert_eq!(world.number(QUERY), 1);
    let (reason, message) = said(&world.cluster, "ScalingActive");
    assert_eq!(reason, "False LoadUnknown");
    assert!(message.ends_with("name it in spec.redkite.certificates.nodes.secretName"), "{message}");
}

#[tokio::test]
async fn a_node_leaves_when_one_fewer_is_enough() {
    let world = Followed::new(json!({"queryNode": {"max": 4, "downAfterSeconds": 60}}));
    world.pass(20).await;
    world.serve();
    world.load(1.9, None);
    world.pass(60).await;
    world.serve();

    world.load(0.1, None);
    world.pass(100).await;

    assert_eq!(world.number(QUERY), 1);
    assert_eq!(
        world.told("ScaledDown"),
        ["query nodes: from 2 to 1 (Calm): one node fewer was enough for 60 s"]
    );
}

#[tokio::test]
async fn data_nodes_go_without_jobs_and_come_with_them() {
    let world = Followed::new(json!({"dataNode": {"max": 3, "idleSeconds": 60}}));
    world.pass(20).await;
    world.serve();
    world.load(0.0, Some(Jobs::default()));
    world.pass(100).await;
    assert_eq!(world.number(DATA), 0);
    world.serve();
    world.pass(10).await;
    assert_eq!(said(&world.cluster, "MilvusReady").0, "True ReasonMilvusHealthy");

    world.load(0.0, Some(Jobs { waiting: 7, running: 0 }));
    world.pass(10).await;

    assert_eq!(world.number(DATA), 2);
    let why = "7 jobs wait and 0 run, for 4 of which there is one node";
    assert_eq!(world.told("ScaledUp"), [format!("data nodes: from 0 to 2 (Jobs): {why}")]);
}

#[tokio::test]
async fn an_engine_that_does_not_count_its_jobs_keeps_its_data_nodes() {
    let world = Followed::new(json!({"dataNode": {"max": 3, "idleSeconds": 60}}));
    world.pass(20).await;
    world.serve();
    world.load(0.0, None);

    world.pass(600).await;

    assert_eq!(world.number(DATA), 1);
    assert_eq!(said(&world.cluster, "ScalingActive").0, "False LoadUnknown");
}

#[tokio::test]
async fn a_number_that_is_left_to_somebody_else_is_not_written() {
    let cluster = cluster_with(json!({"mode": "cluster", "components": {"queryNode": {"replicas": -1}}}));
    let driver = driver(&cluster);
    for _ in 0..3 {
        driver.reconcile(&place()).await.unwrap();
        roll_out(&cluster);
    }

    let found = cluster.objects().remove(&("Deployment".to_owned(), Place::new("ns", QUERY))).unwrap();
    assert_eq!(found.data["spec"].get("replicas"), None);
    assert_eq!(status(&cluster).redkite.unwrap().autoscaling, None);
}

#[tokio::test]
async fn a_number_that_cannot_follow_the_load_is_refused_with_its_field() {
    let table = [
        (
            json!({"redkite": {"autoscaling": {"queryNode": {"max": 3}}}}),
            "spec.redkite.autoscaling: a standalone database is one process; it needs mode: cluster",
        ),
        (
            json!({"mode": "cluster", "components": {"queryNode": {"replicas": -1}},
                "redkite": {"autoscaling": {"queryNode": {"max": 3}}}}),
            "spec.redkite.autoscaling.queryNode: spec.components.queryNode.replicas: -1 leaves the number to somebody else",
        ),
        (
            json!({"mode": "cluster", "redkite": {"autoscaling": {"queryNode": {"min": 4, "max": 3}}}}),
            "spec.redkite.autoscaling.queryNode.min: must not be more than 3, max",
        ),
        (
            json!({"mode": "cluster", "components": {"queryNode": {"groups": [{"name": "a", "replicas": 1}]}},
                "redkite": {"autoscaling": {"queryNode": {"max": 3}}}}),
            "spec.redkite.autoscaling.queryNode: spec.components.queryNode.groups have numbers of their own; a \
             MilvusResourceGroup can follow the load by itself",
        ),
        (
            json!({"mode": "cluster", "components": {"version": "v2.4.0"},
                "redkite": {"autoscaling": {"dataNode": {"max": 3}}}}),
            "spec.redkite.autoscaling.dataNode.min: must be 1 at least where no streaming node runs: data nodes keep the log there",
        ),
    ];
    for (spec, sentence) in table {
        let cluster = cluster_with(spec);
        let driver = driver(&cluster);
        for _ in 0..2 {
            driver.reconcile(&place()).await.unwrap();
        }
        assert_eq!(said(&cluster, "SpecAccepted").1, sentence);
    }
}

#[tokio::test]
async fn a_resource_group_follows_the_load_of_its_own_nodes() {
    let world = Followed::new(json!({}));
    let group: DynamicObject = from_value(json!({
        "apiVersion": "redkite.io/v1alpha1", "kind": "MilvusResourceGroup",
        "metadata": {"name": "gold", "namespace": "ns"},
        "spec": {"milvus": {"name": "db"}, "replicas": 1, "autoscaling": QueryScaling { max: 4, ..Default::default() }},
    }))
    .unwrap();
    world.cluster.put(&ApiResource::erase::<MilvusResourceGroup>(&()), group);
    let gold = Place::new("ns", "gold");
    // The engine is told by its proxies.
    world.pass(30).await;
    world.serve();
    for _ in 0..3 {
        world.driver.reconcile_group(&gold).await.unwrap();
        world.pass(10).await;
    }
    world.serve();
    let gib = 1_u64 << 30;
    let node = |name: &str, bytes_to_load| NodeLoad {
        host: format!("{name}-0"),
        stays: true,
        memory_bytes: 10 * gib,
        bytes_to_load,
        ..NodeLoad::default()
    };
    let nodes = vec![node(QUERY, 0), node("db-milvus-querynode-gold", 20 * gib)];
    world.engine.set_load(LoadReport { settled: true, nodes, jobs: None });

    world.driver.reconcile_group(&gold).await.unwrap();
    world.pass(10).await;

    assert_eq!((world.number(QUERY), world.number("db-milvus-querynode-gold")), (1, 3));
    assert_eq!(world.engine.changes(), ["make gold", "change gold to 0..3"]);
    let why = "21474836480 bytes are to be loaded, and with what is loaded they need 3 nodes";
    assert_eq!(world.told("ScaledUp"), [format!("from 1 to 3 (Memory): {why}")]);
    let object = &world.cluster.objects()[&("MilvusResourceGroup".to_owned(), gold)];
    let found = object.data["status"]["conditions"].as_array().unwrap().clone();
    let active = found.into_iter().find(|one| one["type"] == "ScalingActive").unwrap();
    assert_eq!(active["reason"], "FollowsLoad");
}
