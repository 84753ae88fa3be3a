//! Whether new pods come right: what has failed, and what is not to be trusted yet.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;

use super::trouble::{said_of_container, unscheduled};
use super::{Observed, Progress, Turn};
use crate::crd::RolloutFailure;
use crate::render::WorkloadObjects;

/// How long a workload may make no progress where the spec says nothing, which is Kubernetes' own bound. Unit: seconds.
const PROGRESS_SECONDS: i32 = 600;
/// How long a pod that has crashed must serve before those that wait for it go on. Unit: seconds.
const STEADY_SECONDS: i64 = 60;
/// Crashes after which a container is not expected to come right by itself. One may be an accident.
const CRASHES: i32 = 2;

/// What pods are looked at with.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// Pods of the database, of all its workloads.
    pub pods: &'a [Pod],
    /// How long a pod may not serve, if the spec says it. Unit: seconds.
    pub bound_seconds: Option<i32>,
    /// What was found before; it is kept while it holds, so that a report does not change with every retry of Kubernetes.
    pub before: Option<&'a RolloutFailure>,
    /// The time now.
    pub now: Timestamp,
}

/// The first workload, in the order of an upgrade, that was given its new template and whose new pods do not come right.
#[must_use]
pub fn failure(live: &[WorkloadObjects], turns: &[Turn], look: &Look<'_>) -> Option<RolloutFailure> {
    let found = live.iter().zip(turns).find_map(|(workload, turn)| match turn {
        Turn::After(_) => None,
        Turn::Now | Turn::Step(_) => of_workload(workload, look),
    })?;
    let same = |before: &&RolloutFailure| {
        (&before.workload, &before.pod, &before.reason) == (&found.workload, &found.pod, &found.reason)
    };
    Some(look.before.filter(same).cloned().unwrap_or(found))
}

fn of_workload(workload: &WorkloadObjects, look: &Look<'_>) -> Option<RolloutFailure> {
    let deployment = &workload.deployment;
    let progress = Observed::of(deployment).progress;
    if matches!(progress, Progress::Done | Progress::Stopped | Progress::Stopping) {
        return None;
    }
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let pods = new_pods(deployment, look.pods);
    let known = |pod: &Pod| {
        look.before.is_some_and(|before| before.workload == name && before.pod == pod.metadata.name)
    };
    let failed =
        pods.iter().find_map(|pod| Some((*pod, broken(pod, known(pod)).or_else(|| late(pod, look))?)));
    let (pod, reason, message) = match (failed, progress) {
        (Some((pod, (reason, message))), _) => (Some(pod), reason, message),
        // Kubernetes has given up on the Deployment: why is best known by a pod of it that does not serve.
        (None, Progress::Stuck(why)) => {
            let pod = pods.iter().find(|pod| !serves(pod)).copied();
            let more = pod.and_then(unscheduled).map(|more| format!("{why}; {more}"));
            (pod, "DeploymentStuck", more.unwrap_or(why))
        }
        (None, _) => return None,
    };
    Some(RolloutFailure {
        component: workload.label(),
        workload: name,
        pod: pod.and_then(|pod| pod.metadata.name.clone()),
        reason: reason.to_owned(),
        message,
        since: look.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// What is wrong with a pod that does not serve and will not by waiting alone. What Kubernetes tries again at once counts only
/// where the pod is `known` to have failed: between two tries it looks as if nothing had happened.
fn broken(pod: &Pod, known: bool) -> Option<(&'static str, String)> {
    if serves(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let inits = status.init_container_statuses.iter().flatten();
    inits.chain(status.container_statuses.iter().flatten()).find_map(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        let word = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
        let reason = match word {
            "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => "ImagePull",
            "ErrImagePull" if known => "ImagePull",
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => "Config",
            _ if !container.ready && container.restart_count >= CRASHES => "Crash",
            "CrashLoopBackOff" if known => "Crash",
            _ => return None,
        };
        Some((reason, said_of_container(container)))
    })
}

/// A pod that has not served for the whole of the bound.
fn late(pod: &Pod, look: &Look<'_>) -> Option<(&'static str, String)> {
    let bound = look.bound_seconds.unwrap_or(PROGRESS_SECONDS);
    let since = match condition(pod, "Ready") {
        Some((true, _)) => return None,
        Some((false, Some(since))) => since,
        _ => pod.metadata.creation_timestamp.as_ref()?.0,
    };
    let waited = look.now.duration_since(since).as_secs();
    (waited > i64::from(bound)).then(|| {
        let why = unscheduled(pod).or_else(|| unready(pod)).unwrap_or_default();
        (
            "NotReady",
            format!("it has not served for {bound} s: {why}").trim_end_matches([':', ' ']).to_owned(),
        )
    })
}

/// Workloads with a new pod that serves and has crashed a moment ago: what comes after them does not go on yet.
#[must_use]
pub fn unsteady<'a>(
    running: impl Iterator<Item = &'a Deployment>,
    pods: &[Pod],
    now: Timestamp,
) -> BTreeSet<String> {
    let crashed = |status: &ContainerStatus| {
        let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let at = ended.and_then(|ended| ended.finished_at.as_ref());
        status.restart_count > 0 && at.is_some_and(|at| now.duration_since(at.0).as_secs() < STEADY_SECONDS)
    };
    let any = |pod: &&Pod| {
        let status = pod.status.as_ref();
        status.is_some_and(|status| status.container_statuses.iter().flatten().any(crashed))
    };
    running
        .filter(|deployment| new_pods(deployment, pods).iter().any(any))
        .filter_map(|deployment| deployment.metadata.name.clone())
        .collect()
}

/// Pods of the Deployment that run its template, by name. Those of an older one say nothing about the new.
fn new_pods<'a>(deployment: &Deployment, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let Some(spec) = &deployment.spec else { return Vec::new() };
    let mut found: Vec<&Pod> = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| owned(deployment, pod) && runs(pod, &spec.template))
        .collect();
    found.sort_by_key(|pod| pod.metadata.name.clone());
    found
}

/// A pod belongs to a ReplicaSet, which is named after its Deployment and a hash.
fn owned(deployment: &Deployment, pod: &Pod) -> bool {
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut sets = owners.filter(|owner| owner.kind == "ReplicaSet");
    sets.any(|set| set.name.rsplit_once('-').map(|(name, _)| name) == deployment.metadata.name.as_deref())
}

/// Whether a pod was made from the template. What admission has added to it does not count.
fn runs(pod: &Pod, template: &PodTemplateSpec) -> bool {
    let (Some(spec), Some(wanted)) = (&pod.spec, &template.spec) else { return false };
    let wanted_annotations =
        template.metadata.iter().flat_map(|metadata| metadata.annotations.iter().flatten());
    let annotations = pod.metadata.annotations.as_ref();
    let annotated = wanted_annotations
        .into_iter()
        .all(|(key, value)| annotations.and_then(|annotations| annotations.get(key)) == Some(value));
    let inits = wanted.init_containers.iter().flatten();
    annotated
        && wanted.containers.iter().all(|one| spec.containers.iter().any(|found| contains(found, one)))
        && inits
            .into_iter()
            .all(|one| spec.init_containers.iter().flatten().any(|found| contains(found, one)))
}

fn contains(found: &Container, wanted: &Container) -> bool {
    let resources = |container: &Container| container.resources.clone().unwrap_or_default();
    let (has, asks) = (resources(found), resources(wanted));
    let pairs = [(asks.limits, has.limits), (asks.requests, has.requests)];
    let enough = pairs.into_iter().all(|(asks, has)| {
        let has = has.unwrap_or_default();
        asks.unwrap_or_default().iter().all(|(key, value)| has.get(key) == Some(value))
    });
    let variables = wanted.env.iter().flatten();
    let same = (&found.name, &found.image, &found.command, &found.args)
        == (&wanted.name, &wanted.image, &wanted.command, &wanted.args);
    same && enough && variables.into_iter().all(|one| found.env.iter().flatten().any(|env| env == one))
}

fn serves(pod: &Pod) -> bool {
    matches!(condition(pod, "Ready"), Some((true, _)))
}

/// Whether a condition of a pod holds, and since when.
fn condition(pod: &Pod, kind: &str) -> Option<(bool, Option<Timestamp>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status == "True", found.last_transition_time.as_ref().map(|time| time.0)))
}

fn unready(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")?.message.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::render::{Component, Wanted};

    fn template(image: &str) -> Value {
        json!({"metadata": {"annotations": {"checksum/config": "a"}}, "spec": {"containers": [{"name": "proxy",
            "image": image, "args": ["run"], "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": "1"}}}]}})
    }

    /// A proxy that was given image `new`; its status says that no pod of it serves yet.
    fn workload(condition: Value) -> WorkloadObjects {
        let deployment: Deployment = from_value(json!({
            "metadata": {"name": "db-milvus-proxy", "generation": 1},
            "spec": {"replicas": 1, "selector": {}, "template": template("new")},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1,
                "conditions": condition},
        }))
        .unwrap();
        WorkloadObjects {
            component: Component::Proxy,
            group: None,
            deployment,
            budget: Wanted::Absent(String::new()),
        }
    }

    fn pod(image: &str, status: Value) -> Pod {
        let mut pod = template(image);
        pod["metadata"]["name"] = json!(format!("p-{image}"));
        pod["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:00Z");
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "db-milvus-proxy-5d4", "uid": "u"}]);
        // What admission adds.
        pod["metadata"]["annotations"]["more"] = json!("x");
        pod["spec"]["containers"][0]["resources"]["requests"] = json!({"cpu": "1"});
        pod["status"] = status;
        from_value(pod).unwrap()
    }

    fn container(restarts: i32, state: Value) -> Value {
        json!({"containerStatuses": [{"name": "proxy", "image": "a", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state,
            "lastState": {"terminated": {"exitCode": 1, "message": "Error: etcd.auth is refused\n",
                "finishedAt": "1970-01-01T00:00:30Z"}}}]})
    }

    fn waiting(word: &str) -> Value {
        json!({"waiting": {"reason": word, "message": "what Kubernetes says"}})
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn found(pods: &[Pod], before: Option<&RolloutFailure>, seconds: i64) -> Option<RolloutFailure> {
        let look = Look { pods, bound_seconds: None, before, now: at(seconds) };
        failure(&[workload(json!([]))], &[Turn::Now], &look)
    }

    fn reason(pods: &[Pod], before: Option<&RolloutFailure>, seconds: i64) -> Option<String> {
        found(pods, before, seconds).map(|failure| failure.reason)
    }

    #[test]
    fn an_image_that_cannot_be_pulled_names_component_pod_and_kubernetes_words() {
        let mut status = container(0, waiting("ImagePullBackOff"));
        status["containerStatuses"][0]["lastState"] = json!({});

        assert_eq!(
            found(&[pod("new", status)], None, 5),
            Some(RolloutFailure {
                component: "proxy".into(),
                workload: "db-milvus-proxy".into(),
                pod: Some("p-new".into()),
                reason: "ImagePull".into(),
                message: "ImagePullBackOff: what Kubernetes says".into(),
                since: "1970-01-01T00:00:05Z".into(),
            })
        );
    }

    #[test]
    fn what_waiting_cannot_cure_is_a_failure_and_what_starts_is_none() {
        let table = [
            (0, waiting("ContainerCreating"), None),
            (0, waiting("ErrImagePull"), None),
            (0, waiting("InvalidImageName"), Some("ImagePull")),
            (0, waiting("ErrImageNeverPull"), Some("ImagePull")),
            (0, waiting("CreateContainerConfigError"), Some("Config")),
            (1, waiting("CrashLoopBackOff"), None),
            (2, waiting("CrashLoopBackOff"), Some("Crash")),
            (2, json!({"running": {}}), Some("Crash")),
            (1, json!({"running": {}}), None),
        ];
        for (restarts, state, wanted) in table {
            let pods = [pod("new", container(restarts, state.clone()))];
            assert_eq!(reason(&pods, None, 5).as_deref(), wanted, "{restarts} {state}");
        }
    }

    #[test]
    fn a_pod_of_the_template_before_says_nothing_about_the_new_one() {
        let old = pod("old", container(9, waiting("CrashLoopBackOff")));
        assert_eq!(found(std::slice::from_ref(&old), None, 5), None);

        let mut other = pod("new", container(9, waiting("CrashLoopBackOff")));
        other.metadata.annotations = None;
        assert_eq!(found(&[other], None, 5), None, "it has other settings");
        let mut theirs = pod("new", container(9, waiting("CrashLoopBackOff")));
        theirs.metadata.owner_references.as_mut().unwrap()[0].name = "db-milvus-proxy-gold-5d4".into();
        assert_eq!(found(&[theirs], None, 5), None, "it is another workload's");
        let mut leaving = pod("new", container(9, waiting("CrashLoopBackOff")));
        leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
        assert_eq!(found(&[leaving], None, 5), None, "it is on its way out");
    }

    #[test]
    fn a_report_stays_the_same_while_kubernetes_tries_again() {
        let first = found(&[pod("new", container(0, waiting("ImagePullBackOff")))], None, 5);
        let again = [pod("new", container(0, waiting("ErrImagePull")))];
        assert_eq!(found(&again, first.as_ref(), 35), first);

        let first = found(&[pod("new", container(2, waiting("CrashLoopBackOff")))], None, 5);
        let again = [pod("new", container(3, json!({"running": {}})))];
        assert_eq!(found(&again, first.as_ref(), 35), first);
    }

    #[test]
    fn a_pod_that_serves_is_no_failure_however_often_it_crashed() {
        let mut status = container(5, json!({"running": {}}));
        status["conditions"] = json!([{"type": "Ready", "status": "True"}]);

        assert_eq!(found(&[pod("new", status)], None, 5), None);
    }

    #[test]
    fn probes_that_fail_for_the_whole_bound_are_a_failure() {
        let unready = json!({"conditions": [{"type": "Ready", "status": "False",
            "lastTransitionTime": "1970-01-01T00:01:00Z", "message": "containers with unready status: [proxy]"}]});
        let pods = [pod("new", unready)];

        assert_eq!(found(&pods, None, 660), None);
        let failure = found(&pods, None, 661).unwrap();
        assert_eq!(
            (failure.reason.as_str(), failure.message.as_str()),
            ("NotReady", "it has not served for 600 s: containers with unready status: [proxy]")
        );
        let look = Look { pods: &pods, bound_seconds: Some(30), before: None, now: at(91) };
        assert!(failure_of(&look).is_some(), "the bound of the spec");
    }

    fn failure_of(look: &Look<'_>) -> Option<RolloutFailure> {
        failure(&[workload(json!([]))], &[Turn::Now], look)
    }

    #[test]
    fn a_deployment_that_kubernetes_gave_up_is_a_failure_unless_it_waits_for_its_turn() {
        let given_up = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet has timed out progressing."}]);
        let quota = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]);
        let nowhere = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/2 nodes fit"}]});
        let pods = [pod("new", nowhere)];
        let look = |pods| Look { pods, bound_seconds: None, before: None, now: at(5) };
        let of = |conditions, pods, turn| {
            let mut workload = workload(conditions);
            let status = workload.deployment.status.as_mut().unwrap();
            status.ready_replicas = Some(0);
            failure(&[workload], &[turn], &look(pods))
        };

        let found = of(given_up.clone(), &pods, Turn::Now).unwrap();
        assert_eq!(
            (found.reason.as_str(), found.message.as_str(), found.pod.as_deref()),
            (
                "DeploymentStuck",
                "ReplicaSet has timed out progressing.; Unschedulable: 0/2 nodes fit",
                Some("p-new")
            )
        );
        let found = of(quota, &[], Turn::Now).unwrap();
        assert_eq!((found.message.as_str(), found.pod), ("exceeded quota", None));
        assert_eq!(of(given_up, &pods, Turn::After("db-milvus-mixcoord".into())), None);
    }

    #[test]
    fn a_new_pod_that_crashed_a_moment_ago_is_not_steady() {
        let deployment = workload(json!([])).deployment;
        let named = |pods: &[Pod], seconds| {
            unsteady([&deployment].into_iter(), pods, at(seconds)).into_iter().collect::<Vec<_>>()
        };
        let crashed = [pod("new", container(1, json!({"running": {}})))];

        assert_eq!(named(&crashed, 60), ["db-milvus-proxy"]);
        assert_eq!(named(&crashed, 90), Vec::<String>::new());
        assert_eq!(named(&[pod("old", container(1, json!({"running": {}})))], 60), Vec::<String>::new());
        assert_eq!(named(&[pod("new", container(0, json!({"running": {}})))], 60), Vec::<String>::new());
    }
}
