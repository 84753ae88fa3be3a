//! Who says how many pods a workload has.

use k8s_openapi::api::apps::v1::Deployment;

use super::{Observed, Progress};
use crate::render::WorkloadObjects;

/// The number of pods to apply where a spec says `planned`; `None` says nothing about it.
///
/// A spec that leaves the number to an autoscaler must not fall back to one pod at that moment: as long as the number is ours
/// alone, what runs is said again. Once an autoscaler or a person has set it, it is theirs.
#[must_use]
pub fn replicas(planned: Option<i32>, running: Option<&Deployment>, manager: &str) -> Option<i32> {
    match (planned, running) {
        (None, Some(running)) if only_ours(running, manager) => {
            running.spec.as_ref().and_then(|spec| spec.replicas)
        }
        _ => planned,
    }
}

/// Whether fewer pods than run are asked of a workload whose pods hold what others must take over, and some are to stay.
#[must_use]
pub fn shrinks(planned: &WorkloadObjects, running: Option<&Deployment>) -> bool {
    let wanted = planned.deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let runs = running.and_then(|running| running.spec.as_ref()?.replicas);
    let fewer = wanted.zip(runs).is_some_and(|(wanted, runs)| 0 < wanted && wanted < runs);
    fewer && planned.component.hands_over()
}

/// The number of pods on the way to a smaller one, `None` where it may be had at once. One pod leaves at a time: the next only
/// when the one before is gone and all that stay serve, so that what it hands over is never handed to one that leaves next.
#[must_use]
pub fn shrink(planned: &WorkloadObjects, running: Option<&Deployment>, leaving: usize) -> Option<i32> {
    let running = running.filter(|running| shrinks(planned, Some(running)))?;
    let runs = running.spec.as_ref()?.replicas?;
    let wanted = planned.deployment.spec.as_ref()?.replicas?;
    let calm = leaving == 0 && Observed::of(running).progress == Progress::Done;
    match (calm, runs - 1) {
        (true, next) if next == wanted => None,
        (true, next) => Some(next),
        (false, _) => Some(runs),
    }
}

/// Whether the number of pods is a field of `manager`, and of nobody else.
fn only_ours(running: &Deployment, manager: &str) -> bool {
    let owners: Vec<&str> = running
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
        })
        .filter_map(|entry| entry.manager.as_deref())
        .collect();
    owners == [manager]
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::render::{Component, Wanted};

    fn running(managers: &[&str]) -> Deployment {
        let fields: Vec<_> = managers
            .iter()
            .map(|manager| json!({"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {}}}}))
            .collect();
        from_value(json!({"metadata": {"name": "a", "managedFields": fields},
            "spec": {"replicas": 7, "selector": {}, "template": {}}}))
        .unwrap()
    }

    #[test]
    fn an_autoscaler_takes_over_the_number_that_runs() {
        assert_eq!(replicas(None, Some(&running(&["us"])), "us"), Some(7));
        assert_eq!(replicas(None, Some(&running(&["hpa"])), "us"), None);
        assert_eq!(replicas(None, Some(&running(&["us", "hpa"])), "us"), None);
    }

    fn step(component: Component, planned: i32, runs: i32, ready: i32, leaving: usize) -> Option<i32> {
        let of = |replicas: i32| -> Deployment {
            from_value(json!({"metadata": {"name": "a", "generation": 1},
                "spec": {"replicas": replicas, "selector": {}, "template": {}},
                "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready}}))
            .unwrap()
        };
        let budget = Wanted::Absent(String::new());
        let planned = WorkloadObjects { component, group: None, deployment: of(planned), budget };
        shrink(&planned, Some(&of(runs)), leaving)
    }

    #[test]
    fn d16_the_next_pod_leaves_when_the_one_before_is_gone() {
        use Component::{Proxy, QueryNode};
        assert_eq!(step(QueryNode, 1, 3, 3, 0), Some(2));
        assert_eq!(step(QueryNode, 1, 2, 2, 1), Some(2), "one is still leaving");
        assert_eq!(step(QueryNode, 1, 2, 1, 0), Some(2), "one that stays does not serve");
        assert_eq!(step(QueryNode, 1, 2, 2, 0), None, "the last step is what the spec says");
        assert_eq!(step(QueryNode, 3, 1, 1, 0), None, "more come at once");
        assert_eq!(step(QueryNode, 0, 3, 3, 0), None, "nobody is left to take over");
        assert_eq!(step(Proxy, 1, 3, 3, 0), None, "it holds nothing");
    }

    #[test]
    fn a_number_in_the_spec_counts() {
        assert_eq!(replicas(Some(3), Some(&running(&["hpa"])), "us"), Some(3));
    }

    #[test]
    fn a_workload_that_does_not_exist_yet_starts_as_its_spec_says() {
        assert_eq!(replicas(Some(3), None, "us"), Some(3));
        assert_eq!(replicas(None, None, "us"), None);
    }
}
