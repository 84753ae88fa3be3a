//! How far all workloads of a database are together.

use super::{Observed, Progress, Turn};
use crate::render::{Live, Objects, WorkloadObjects};

/// All workloads, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// How far they are together.
    pub progress: Progress,
    /// Whether every component that is to have pods has one that serves.
    pub serves: bool,
    /// Whether an image is being changed.
    pub image_changes: bool,
    /// One sentence about the pods.
    pub message: String,
    /// Pods that serve.
    pub ready: i32,
}

impl Total {
    /// Reads the workloads; `turns` says for each whether it was given what its spec says.
    #[must_use]
    pub fn of(live: &Objects<Live>, turns: &[Turn]) -> Self {
        let workloads: Vec<(&WorkloadObjects, Observed)> =
            live.workloads.iter().map(|workload| (workload, Observed::of(&workload.deployment))).collect();
        let waiting = turns.iter().filter(|turn| **turn != Turn::Now).count();
        let (ready, wanted) = workloads
            .iter()
            .fold((0, 0), |(ready, wanted), (_, one)| (ready + one.ready, wanted + one.wanted));
        Self {
            progress: together(&workloads, waiting),
            serves: wanted > 0 && every_component_serves(&workloads),
            image_changes: turns.iter().any(|turn| matches!(turn, Turn::After(_))),
            message: message(&workloads, turns, ready, wanted),
            ready,
        }
    }
}

fn together(workloads: &[(&WorkloadObjects, Observed)], waiting: usize) -> Progress {
    use Progress::{Done, NotReady, Stopped, Stopping, Stuck, Updating};
    if workloads.iter().all(|(_, one)| one.wanted == 0) {
        let stopped = workloads.iter().all(|(_, one)| one.progress == Stopped);
        return if stopped { Stopped } else { Stopping };
    }
    let stuck = workloads.iter().find_map(|(workload, one)| match &one.progress {
        Stuck(why) => Some(Stuck(named(workloads, workload, why))),
        _ => None,
    });
    let any = |wanted: &[Progress]| workloads.iter().any(|(_, one)| wanted.contains(&one.progress));
    match stuck {
        Some(stuck) => stuck,
        None if waiting > 0 || any(&[Updating, Stopping]) => Updating,
        None if any(&[NotReady]) => NotReady,
        None => Done,
    }
}

/// A component may be split into groups; one pod of any of them is enough.
fn every_component_serves(workloads: &[(&WorkloadObjects, Observed)]) -> bool {
    workloads.iter().all(|(workload, one)| {
        one.wanted == 0
            || workloads.iter().any(|(other, found)| other.component == workload.component && found.ready > 0)
    })
}

/// With one workload alone there is nothing to name.
fn named(workloads: &[(&WorkloadObjects, Observed)], workload: &WorkloadObjects, text: &str) -> String {
    if workloads.len() == 1 { text.to_owned() } else { format!("{}: {text}", workload.label()) }
}

fn message(workloads: &[(&WorkloadObjects, Observed)], turns: &[Turn], ready: i32, wanted: i32) -> String {
    let mut message = format!("{ready} of {wanted} pods serve");
    if workloads.len() > 1 {
        let missing: Vec<String> = workloads
            .iter()
            .filter(|(_, one)| one.ready < one.wanted)
            .map(|(workload, one)| format!("{} {} of {}", workload.label(), one.ready, one.wanted))
            .collect();
        if !missing.is_empty() {
            message = format!("{message} ({})", missing.join(", "));
        }
    }
    let waits: Vec<String> = workloads
        .iter()
        .zip(turns)
        .filter_map(|((workload, _), turn)| match turn {
            Turn::Now => None,
            Turn::Step(count) => Some(format!("{} goes to {count} pods first", workload.label())),
            Turn::After(first) => Some(format!("{} waits for {first}", workload.label())),
        })
        .collect();
    if !waits.is_empty() {
        message = format!("{message}; {}", waits.join(", "));
    }
    message
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{from_value, json};

    use super::*;
    use crate::render::{Component, Wanted};

    fn workload(component: Component, group: Option<&str>, wanted: i32, ready: i32) -> WorkloadObjects {
        let deployment: Deployment = from_value(json!({
            "metadata": {"name": component.name(), "generation": 1},
            "spec": {"replicas": wanted, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": ready},
        }))
        .unwrap();
        WorkloadObjects {
            component,
            group: group.map(str::to_owned),
            deployment,
            budget: Wanted::Absent(String::new()),
        }
    }

    fn serves(workloads: &[WorkloadObjects]) -> bool {
        let observed: Vec<(&WorkloadObjects, Observed)> =
            workloads.iter().map(|workload| (workload, Observed::of(&workload.deployment))).collect();
        every_component_serves(&observed)
    }

    #[test]
    fn a_proxy_without_a_pod_that_serves_is_no_database_that_does() {
        let all = |proxies| {
            [
                workload(Component::MixCoord, None, 1, 1),
                workload(Component::QueryNode, Some("a"), 2, 2),
                workload(Component::QueryNode, Some("b"), 2, 0),
                workload(Component::DataNode, None, 0, 0),
                workload(Component::Proxy, None, 2, proxies),
            ]
        };

        assert!(!serves(&all(0)));
        assert!(serves(&all(1)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let workloads =
            [workload(Component::QueryNode, Some("a"), 2, 1), workload(Component::Proxy, None, 1, 1)];
        let observed: Vec<(&WorkloadObjects, Observed)> =
            workloads.iter().map(|workload| (workload, Observed::of(&workload.deployment))).collect();

        let turns = [Turn::Now, Turn::After("querynode".to_owned())];
        assert_eq!(
            message(&observed, &turns, 2, 3),
            "2 of 3 pods serve (querynode-a 1 of 2); proxy waits for querynode"
        );
    }
}
