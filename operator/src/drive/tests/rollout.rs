//! Rollouts that do not come right: what is held, what is told, what is put back.

use std::cell::Cell;

use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::crd::{RolloutState, RolloutStatus};
use crate::rollout::Calls;

const OLD: &str = "example/engine:1";
const BAD: &str = "example/engine:2";
const GOOD: &str = "example/engine:3";

fn spec(image: &str, rollout: Value) -> Value {
    json!({"mode": "cluster", "components": {"image": image}, "redkite": {"rollout": rollout}})
}

fn pods() -> ApiResource {
    ApiResource::erase::<Pod>(&())
}

/// Plays Kubernetes: every Deployment gets a pod of its template beside the old one. One with the bad image never serves, and the
/// old pod stays; any other takes the old one's place.
fn play(cluster: &MemoryCluster) {
    roll_out(cluster);
    for ((kind, place), mut object) in cluster.objects() {
        if kind != "Deployment" {
            continue;
        }
        let template = object.data["spec"]["template"].clone();
        let image = template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
        let pod = Place::new("ns", format!("{}-{}", place.name, image.replace([':', '/'], "-")));
        let bad = image == BAD;
        if !bad {
            for ((kind, place_of), _) in cluster.objects() {
                if kind == "Pod" && place_of.name.starts_with(&place.name) && place_of != pod {
                    cluster.begin_delete(&pods(), &place_of);
                }
            }
        }
        let state = match bad {
            true => json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
            false => json!({"running": {}}),
        };
        let mut made = template;
        made["apiVersion"] = json!("v1");
        made["kind"] = json!("Pod");
        made["metadata"]["name"] = json!(pod.name);
        made["metadata"]["namespace"] = json!("ns");
        made["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "name": format!("{}-5d4", place.name), "uid": "set"}]);
        made["status"] = json!({"conditions": [{"type": "Ready", "status": if bad { "False" } else { "True" }}],
            "containerStatuses": [{"name": "engine", "image": image, "imageID": "", "ready": !bad, "restartCount": 0,
                "state": state}]});
        cluster.put(&pods(), from_value(made).unwrap());
        if bad {
            object.data["status"] = json!({"observedGeneration": object.metadata.generation, "replicas": 2,
                "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
            cluster.put(&ApiResource::erase::<Deployment>(&()), object);
        }
    }
}

/// Reconciles and plays Kubernetes until neither changes anything; a call that fails is another operator's turn.
async fn rest(cluster: &Arc<MemoryCluster>) -> usize {
    let mut kills = 0;
    let mut before = Vec::new();
    for _ in 0..60 {
        let failed = driver(cluster).reconcile(&place()).await.is_err();
        if failed {
            kills += 1;
            cluster.mend();
        }
        play(cluster);
        let now =
            (content(cluster), cluster.objects()[&("Milvus".to_owned(), place())].data["status"].clone());
        before.push(now.clone());
        if !failed && before.len() > 2 && before.iter().rev().take(3).all(|one| *one == now) {
            return kills;
        }
    }
    panic!("it does not come to rest");
}

async fn running(rollout: Value) -> Arc<MemoryCluster> {
    let cluster = cluster_with(spec(OLD, rollout));
    rest(&cluster).await;
    assert_eq!(rollout_of(&cluster).state, RolloutState::Complete);
    cluster
}

fn rollout_of(cluster: &MemoryCluster) -> RolloutStatus {
    status(cluster).redkite.unwrap().rollout.unwrap()
}

/// Components that run this image.
fn with(cluster: &MemoryCluster, image: &str) -> Vec<String> {
    images(cluster).into_iter().filter(|(_, found)| found == image).map(|(name, _)| name).collect()
}

/// Warnings about the rollout since the last look.
fn warnings(cluster: &MemoryCluster) -> Vec<String> {
    let notes = cluster.notes().into_iter();
    notes
        .filter(|note| note.reason.starts_with("Roll"))
        .map(|note| format!("{} {}", note.reason, note.warning))
        .collect()
}

#[tokio::test]
async fn an_image_that_cannot_run_stops_at_the_first_component_and_serves_on() {
    let cluster = running(json!({})).await;

    edit(&cluster, spec(BAD, json!({})));
    rest(&cluster).await;

    assert_eq!(with(&cluster, BAD), ["mixcoord"]);
    assert_eq!(status(&cluster).status, Phase::Healthy);
    assert_eq!(said(&cluster, "MilvusReady").0, "True ReasonMilvusHealthy");
    let (word, message) = said(&cluster, "Stalled");
    assert_eq!(word, "True RolloutPaused");
    for words in [
        "paused at mixcoord (Deployment db-milvus-mixcoord)",
        "pod db-milvus-mixcoord-example-engine-2: ImagePullBackOff: Back-off pulling image",
        "Name an image that can be pulled",
        "onFailure: Rollback puts example/engine:1 back",
    ] {
        assert!(message.contains(words), "{message} lacks {words}");
    }
    assert_eq!(said(&cluster, "Reconciling").0, "False Settled");
    let rollout = rollout_of(&cluster);
    assert_eq!(rollout.summary, "paused at mixcoord: 0 of 5 components, 1 of 5 pods");
    assert_eq!(rollout.failure.unwrap().reason, "ImagePull");
    assert_eq!(warnings(&cluster), ["RolloutPaused true"]);
}

#[tokio::test]
async fn a_corrected_image_goes_on_by_itself_and_is_counted() {
    let cluster = running(json!({})).await;
    edit(&cluster, spec(BAD, json!({})));
    rest(&cluster).await;

    edit(&cluster, spec(GOOD, json!({})));
    driver(&cluster).reconcile(&place()).await.unwrap();
    // The pod of the bad image is still there, and says nothing about the new one.
    assert_eq!(rollout_of(&cluster).state, RolloutState::Rolling);
    assert_eq!(rollout_of(&cluster).summary, "0 of 5 components, 0 of 5 pods");
    play(&cluster);
    driver(&cluster).reconcile(&place()).await.unwrap();
    assert_eq!(rollout_of(&cluster).summary, "1 of 5 components, 1 of 5 pods");
    assert_eq!(said(&cluster, "Stalled").0, "False NotStalled");
    rest(&cluster).await;

    assert_eq!(with(&cluster, GOOD).len(), 5);
    assert_eq!(rollout_of(&cluster).summary, "complete");
    assert_eq!(said(&cluster, "Ready").0, "True Ready");
}

#[tokio::test]
async fn a_trouble_that_passes_lets_the_rollout_go_on() {
    let cluster = running(json!({})).await;
    edit(&cluster, spec(BAD, json!({})));
    rest(&cluster).await;

    // The registry is back: the very pod that could not start serves.
    for _ in 0..6 {
        roll_out(&cluster);
        for ((kind, _), mut pod) in cluster.objects() {
            if kind == "Pod" {
                pod.data["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
                cluster.put(&pods(), pod);
            }
        }
        driver(&cluster).reconcile(&place()).await.unwrap();
    }

    assert_eq!(with(&cluster, BAD).len(), 5);
    assert_eq!((rollout_of(&cluster).state, rollout_of(&cluster).failure), (RolloutState::Complete, None));
}

#[tokio::test]
async fn told_to_roll_back_it_puts_the_old_images_back_until_the_spec_changes() {
    let told = || json!({"onFailure": "Rollback"});
    let cluster = running(told()).await;
    let before = deployments(&cluster);

    edit(&cluster, spec(BAD, told()));
    rest(&cluster).await;

    assert_eq!(deployments(&cluster), before);
    assert_eq!(cluster.objects()[&("Milvus".to_owned(), place())].data["spec"], spec(BAD, told()));
    assert_eq!(
        (status(&cluster).status, rollout_of(&cluster).state),
        (Phase::Healthy, RolloutState::RolledBack)
    );
    let words = ["MilvusReady", "MilvusUpdated", "Ready", "Reconciling", "Stalled"]
        .map(|kind| said(&cluster, kind).0);
    assert_eq!(
        words,
        [
            "True ReasonMilvusHealthy",
            "False RolledBack",
            "False RolledBack",
            "False Settled",
            "True RolledBack"
        ]
    );
    assert!(said(&cluster, "Stalled").1.contains("example/engine:1 takes its place"));
    assert_eq!(warnings(&cluster), ["RolledBack true"]);

    edit(&cluster, spec(GOOD, told()));
    rest(&cluster).await;
    assert_eq!((with(&cluster, GOOD).len(), rollout_of(&cluster).rejected), (5, None));
    assert_eq!(said(&cluster, "Ready").0, "True Ready");
}

#[tokio::test]
async fn a_paused_rollout_is_rolled_back_once_the_spec_says_so() {
    let cluster = running(json!({})).await;
    edit(&cluster, spec(BAD, json!({})));
    rest(&cluster).await;

    edit(&cluster, spec(BAD, json!({"onFailure": "Rollback"})));
    rest(&cluster).await;

    assert_eq!((with(&cluster, OLD).len(), rollout_of(&cluster).state), (5, RolloutState::RolledBack));
}

#[tokio::test]
async fn a_failure_half_way_goes_back_in_the_other_order() {
    let told = || json!({"onFailure": "Rollback"});
    let late = |image: &str, node: &str| {
        let mut spec = spec(image, told());
        spec["components"]["queryNode"] = json!({"image": node});
        spec
    };
    let cluster = cluster_with(late(OLD, OLD));
    rest(&cluster).await;
    edit(&cluster, late(GOOD, BAD));
    let mut seen = Vec::new();
    for _ in 0..20 {
        driver(&cluster).reconcile(&place()).await.unwrap();
        play(&cluster);
        let now = [with(&cluster, GOOD), with(&cluster, BAD)].concat();
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }

    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            list(&["mixcoord"]),
            list(&["mixcoord", "streamingnode"]),
            list(&["mixcoord", "streamingnode", "querynode"]),
            list(&["mixcoord", "streamingnode"]),
            list(&["mixcoord"]),
            list(&[]),
        ]
    );
    assert_eq!(rollout_of(&cluster).state, RolloutState::RolledBack);
}

/// Workloads as they are asked for.
fn deployments(cluster: &MemoryCluster) -> BTreeMap<String, Value> {
    content(cluster).into_iter().filter(|(name, _)| name.starts_with("Deployment ")).collect()
}

#[tokio::test]
async fn killed_in_the_middle_of_a_rollout_that_fails_it_comes_to_the_same_end() {
    // Every call of every reconcile would take minutes: each story is broken off at places of its own.
    for (offset, policy) in [(0, "Pause"), (5, "Rollback")] {
        let told = || json!({"onFailure": policy});
        let story = [BAD, GOOD];
        let calm = running(told()).await;
        let mut expected = Vec::new();
        for image in story {
            edit(&calm, spec(image, told()));
            rest(&calm).await;
            expected.push((deployments(&calm), rollout_of(&calm).state));
        }
        let (mut kills, start) = (0, running(told()).await);
        for at in (offset..offset + 55).step_by(11) {
            for carried_out in [false, true] {
                let cluster = Arc::new(MemoryCluster::default());
                for ((kind, _), object) in start.objects() {
                    cluster.put(&kind_of(&kind, &object), object);
                }
                for (image, expected) in story.into_iter().zip(&expected) {
                    edit(&cluster, spec(image, told()));
                    cluster.cut_after(at, carried_out);
                    kills += rest(&cluster).await;
                    cluster.mend();
                    let found = (deployments(&cluster), rollout_of(&cluster).state);
                    assert_eq!(
                        &found, expected,
                        "{policy} {image}: killed after {at} calls, carried out: {carried_out}"
                    );
                }
            }
        }
        assert!(kills > 10, "only {kills} kills happened");
    }
}

fn kind_of(kind: &str, object: &DynamicObject) -> ApiResource {
    let types = object.types.clone().unwrap();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind))
}

#[tokio::test]
async fn an_order_to_upgrade_takes_the_image_back_once_the_rollout_is_paused() {
    for (told, taken_back) in [(None, true), (Some(false), false)] {
        let cluster = running(json!({})).await;
        let kind = ApiResource::erase::<MilvusUpgrade>(&());
        let mut order = json!({"apiVersion": "milvus.io/v1beta1", "kind": "MilvusUpgrade",
            "metadata": {"name": "up", "namespace": "ns"}, "spec": {"milvus": {"name": "db"},
            "sourceVersion": "2.6.0", "targetVersion": "2.6.1", "targetImage": BAD}});
        if let Some(told) = told {
            order["spec"]["rollbackIfFailed"] = json!(told);
        }
        cluster.put(&kind, from_value(order).unwrap());
        let order = Place::new("ns", "up");
        for _ in 0..4 {
            driver(&cluster).reconcile_upgrade(&order).await.unwrap();
            rest(&cluster).await;
        }
        driver(&cluster).reconcile_upgrade(&order).await.unwrap();

        let state = cluster.objects()[&("MilvusUpgrade".to_owned(), order)].data["status"]["state"].clone();
        match taken_back {
            true => {
                assert_eq!(state, "RollbackedSucceeded");
                assert_eq!(
                    (with(&cluster, OLD).len(), rollout_of(&cluster).state),
                    (5, RolloutState::Complete)
                );
            }
            false => {
                assert_eq!(state, "NewVersionStarting");
                assert_eq!(rollout_of(&cluster).state, RolloutState::Paused);
            }
        }
    }
}

#[tokio::test]
async fn the_bound_of_the_spec_is_kubernetes_bound_too() {
    let cluster = running(json!({"progressDeadlineSeconds": 120})).await;

    let workload = &content(&cluster)["Deployment ns/db-milvus-proxy"];
    assert_eq!(workload["spec"]["progressDeadlineSeconds"], 120);
}

#[tokio::test]
async fn what_comes_after_a_pod_that_crashed_a_moment_ago_waits() {
    let cluster = running(json!({})).await;
    edit(&cluster, spec(GOOD, json!({})));
    driver(&cluster).reconcile(&place()).await.unwrap();
    play(&cluster);
    let crashed = |at: &str| {
        for ((kind, place), mut pod) in cluster.objects() {
            if kind == "Pod" && place.name.starts_with("db-milvus-mixcoord") {
                let container = &mut pod.data["status"]["containerStatuses"][0];
                container["restartCount"] = json!(1);
                container["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": at}});
                cluster.put(&pods(), pod);
            }
        }
    };

    crashed("1969-12-31T23:59:30Z");
    assert_eq!(driver(&cluster).reconcile(&place()).await.unwrap(), Next::Missing);
    assert_eq!(with(&cluster, GOOD), ["mixcoord"]);
    crashed("1969-12-31T23:58:59Z");
    driver(&cluster).reconcile(&place()).await.unwrap();
    assert_eq!(with(&cluster, GOOD), ["mixcoord", "streamingnode"]);
}

thread_local! {
    static SECOND: Cell<i64> = const { Cell::new(0) };
}

fn later() -> Timestamp {
    Timestamp::from_second(SECOND.get()).unwrap()
}

const PROXY: &str = "10.0.0.7";

/// A database that runs, with a proxy that tells what it has counted.
struct Busy {
    cluster: Arc<MemoryCluster>,
    engine: Arc<MemoryEngine>,
    driver: Driver,
    counted: Cell<Calls>,
}

impl Busy {
    async fn new(rollout: Value) -> Self {
        let cluster = running(rollout).await;
        let engine = Arc::new(MemoryEngine::default());
        let driver =
            Driver { engine: Arc::clone(&engine) as Arc<dyn Engine>, now: later, ..driver(&cluster) };
        let busy = Self { cluster, engine, driver, counted: Cell::new(Calls::default()) };
        busy.pass(0).await;
        busy
    }

    /// Ten seconds go by, in which Kubernetes does what it was told and a hundred requests end, so many of them badly.
    async fn pass(&self, failed: u64) -> Next {
        SECOND.set(SECOND.get() + 10);
        play(&self.cluster);
        for ((kind, at), mut object) in self.cluster.objects() {
            if kind == "Pod" && at.name.starts_with("db-milvus-proxy") {
                object.data["status"]["podIP"] = json!(PROXY);
                self.cluster.put(&pods(), object);
            }
        }
        let before = self.counted.get();
        self.counted.set(Calls { ended: before.ended + 100, failed: before.failed + failed });
        self.engine.set_calls(&format!("{PROXY}:19529"), self.counted.get());
        self.driver.reconcile(&place()).await.unwrap()
    }
}

#[tokio::test]
async fn requests_that_begin_to_fail_pause_a_rollout_and_it_goes_on_once_they_do_not() {
    let busy = Busy::new(json!({})).await;
    edit(&busy.cluster, spec(GOOD, json!({})));
    busy.pass(0).await;

    let next = busy.pass(40).await;

    assert_eq!((with(&busy.cluster, GOOD), next), (vec!["mixcoord".to_owned()], Next::Missing));
    let failure = rollout_of(&busy.cluster).failure.unwrap();
    assert_eq!((failure.component.as_str(), failure.reason.as_str()), ("mixcoord", "Errors"));
    assert_eq!(said(&busy.cluster, "Stalled").0, "True RolloutPaused");
    let told = said(&busy.cluster, "Stalled").1;
    assert!(told.contains("40.0 % of 100 requests failed within 30 s"), "{told}");
    assert_eq!(warnings(&busy.cluster), ["RolloutPaused true"]);
    busy.pass(40).await;
    assert_eq!(with(&busy.cluster, GOOD), ["mixcoord"]);

    let mut last = Vec::new();
    for _ in 0..20 {
        busy.pass(0).await;
        let given = with(&busy.cluster, GOOD).len();
        last.push((given, rollout_of(&busy.cluster).state, said(&busy.cluster, "Ready").0));
    }
    let watching = (5, RolloutState::Rolling, "False Watching".to_owned());
    assert!(last.contains(&watching), "{last:?}");
    assert_eq!(last.pop(), Some((5, RolloutState::Complete, "True Ready".to_owned())));
}

#[tokio::test]
async fn an_image_with_which_requests_fail_is_taken_back_where_the_spec_says_so() {
    let told = || json!({"onFailure": "Rollback"});
    let busy = Busy::new(told()).await;
    edit(&busy.cluster, spec(GOOD, told()));
    busy.pass(0).await;

    busy.pass(40).await;
    assert_eq!(rollout_of(&busy.cluster).state, RolloutState::RollingBack);
    for _ in 0..4 {
        busy.pass(40).await;
    }

    assert_eq!(with(&busy.cluster, OLD).len(), 5);
    let rollout = rollout_of(&busy.cluster);
    assert_eq!(
        (rollout.state, rollout.failure.unwrap().reason.as_str()),
        (RolloutState::RolledBack, "Errors")
    );
    assert_eq!(said(&busy.cluster, "Ready").0, "False RolledBack");
}

#[tokio::test]
async fn requests_that_fail_as_ever_or_are_not_looked_at_hold_nothing_up() {
    for (rollout, usual) in [(json!({}), 4), (json!({"maxErrorPercent": 100}), 60)] {
        let busy = Busy::new(rollout.clone()).await;
        edit(&busy.cluster, spec(GOOD, rollout));

        for _ in 0..12 {
            busy.pass(usual).await;
            assert_eq!(rollout_of(&busy.cluster).failure, None);
        }

        assert_eq!(
            (with(&busy.cluster, GOOD).len(), rollout_of(&busy.cluster).state),
            (5, RolloutState::Complete)
        );
    }
}
