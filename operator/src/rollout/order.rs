//! Which workload is given a new image when.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;

use super::{Observed, Progress};
use crate::crd::ImageUpdateMode;
use crate::render::WorkloadObjects;

/// Whether a workload may be given what its spec says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// Now, but with this number of pods for the time being: one leaves at a time.
    Step(i32),
    /// Only once the workload of this name is complete: it comes first and is not there yet.
    After(String),
}

/// For each planned workload, in the order they were planned in, whether its turn has come. `live` has the Deployments that
/// exist, by name.
///
/// Only a change of image is ordered: coordinators first, proxies last, the other way round for a downgrade; each waits until
/// the one before it is complete with its image, and steady if it is named in `unsteady`. One that never becomes complete holds up all that come after it, which go
/// on as they are. Everything else, and what does not exist yet, goes at once.
#[must_use]
pub fn order(
    planned: &[WorkloadObjects],
    live: &BTreeMap<String, Deployment>,
    mode: ImageUpdateMode,
    unsteady: &BTreeSet<String>,
) -> Vec<Turn> {
    let mut turns = vec![Turn::Now; planned.len()];
    let mut positions: Vec<usize> = (0..planned.len()).collect();
    match mode {
        ImageUpdateMode::All | ImageUpdateMode::Force => return turns,
        ImageUpdateMode::RollingUpgrade => {}
        ImageUpdateMode::RollingDowngrade => positions.reverse(),
    }
    let mut first: Option<String> = None;
    for at in positions {
        let (Some(workload), Some(turn)) = (planned.get(at), turns.get_mut(at)) else { continue };
        let name = name(&workload.deployment);
        let found = live.get(&name);
        let changes = found.is_some_and(|found| image(found) != image(&workload.deployment));
        if let (true, Some(first)) = (changes, &first) {
            *turn = Turn::After(first.clone());
        }
        let complete = found.is_some_and(|found| {
            let paused = found.spec.as_ref().is_some_and(|spec| spec.paused == Some(true));
            !changes
                && !unsteady.contains(&name)
                && (paused || matches!(Observed::of(found).progress, Progress::Done | Progress::Stopped))
        });
        if !complete {
            first.get_or_insert(name);
        }
    }
    turns
}

/// Deployments that no spec asks for any more and that may go now: once everything that is asked for serves, so that what
/// takes their place is there before they hand over.
#[must_use]
pub fn leftovers(
    planned: &[WorkloadObjects],
    live: &BTreeMap<String, Deployment>,
    complete: bool,
) -> Vec<String> {
    if !complete {
        return Vec::new();
    }
    let wanted = |found: &&String| planned.iter().any(|workload| &name(&workload.deployment) == *found);
    live.keys().filter(|found| !wanted(found)).cloned().collect()
}

fn name(deployment: &Deployment) -> String {
    deployment.metadata.name.clone().unwrap_or_default()
}

/// What the engine's container, the first of its pod, runs.
fn image(deployment: &Deployment) -> Option<&String> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_ref()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::render::{Component, Wanted};

    const ORDER: [Component; 5] = [
        Component::MixCoord,
        Component::StreamingNode,
        Component::QueryNode,
        Component::DataNode,
        Component::Proxy,
    ];

    fn deployment(component: Component, image: &str, ready: i32) -> Deployment {
        from_value(json!({
            "metadata": {"name": component.name(), "generation": 1},
            "spec": {"replicas": 1, "selector": {}, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready},
        }))
        .unwrap()
    }

    fn planned(image: &str) -> Vec<WorkloadObjects> {
        ORDER
            .into_iter()
            .map(|component| WorkloadObjects {
                component,
                group: None,
                deployment: deployment(component, image, 0),
                budget: Wanted::Absent(String::new()),
            })
            .collect()
    }

    /// Carries out whatever turn has come, lets it become ready, and notes the order in which images changed.
    fn trace(
        mode: ImageUpdateMode,
        live: &mut BTreeMap<String, Deployment>,
        image: &str,
    ) -> Vec<Vec<String>> {
        let planned = planned(image);
        let mut passes = Vec::new();
        for _ in 0..10 {
            let turns = order(&planned, live, mode, &BTreeSet::new());
            let mut changed = Vec::new();
            for (workload, turn) in planned.iter().zip(turns) {
                let name = name(&workload.deployment);
                let differs = live
                    .get(&name)
                    .is_none_or(|found| super::image(found) != super::image(&workload.deployment));
                if turn == Turn::Now && differs {
                    live.insert(name.clone(), deployment(workload.component, image, 1));
                    changed.push(name);
                }
            }
            if changed.is_empty() {
                break;
            }
            passes.push(changed);
        }
        passes
    }

    fn running(image: &str) -> BTreeMap<String, Deployment> {
        ORDER
            .into_iter()
            .map(|component| (component.name().to_owned(), deployment(component, image, 1)))
            .collect()
    }

    #[test]
    fn an_upgrade_goes_from_coordinators_to_proxies_and_a_downgrade_back() {
        let forward = ["mixcoord", "streamingnode", "querynode", "datanode", "proxy"];
        let one = |name: &str| vec![name.to_owned()];

        let up = trace(ImageUpdateMode::RollingUpgrade, &mut running("old"), "new");
        let down = trace(ImageUpdateMode::RollingDowngrade, &mut running("new"), "old");

        assert_eq!(up, forward.map(one));
        assert_eq!(down, forward.into_iter().rev().map(one).collect::<Vec<_>>());
    }

    #[test]
    fn everything_at_once_where_the_spec_says_so_and_where_nothing_runs_yet() {
        for mode in [ImageUpdateMode::All, ImageUpdateMode::Force] {
            assert_eq!(trace(mode, &mut running("old"), "new").len(), 1);
        }
        assert_eq!(trace(ImageUpdateMode::RollingUpgrade, &mut BTreeMap::new(), "new").len(), 1);
    }

    #[test]
    fn a_workload_that_does_not_become_ready_holds_up_those_after_it() {
        let mut live = running("old");
        live.insert("mixcoord".to_owned(), deployment(Component::MixCoord, "new", 0));

        let turns = order(&planned("new"), &live, ImageUpdateMode::RollingUpgrade, &BTreeSet::new());

        let after = Turn::After("mixcoord".to_owned());
        assert_eq!(turns, [Turn::Now, after.clone(), after.clone(), after.clone(), after]);
        // Taken back, nothing is held: the one that was changed may go back at once.
        assert_eq!(
            order(&planned("old"), &live, ImageUpdateMode::RollingUpgrade, &BTreeSet::new()),
            vec![Turn::Now; 5]
        );
    }

    #[test]
    fn a_workload_that_serves_and_has_just_crashed_holds_up_those_after_it() {
        let mut live = running("old");
        live.insert("mixcoord".to_owned(), deployment(Component::MixCoord, "new", 1));
        let turns = |unsteady: &[&str]| {
            let unsteady = unsteady.iter().map(|name| (*name).to_owned()).collect();
            order(&planned("new"), &live, ImageUpdateMode::RollingUpgrade, &unsteady)
        };

        assert_eq!(turns(&[])[1], Turn::Now);
        assert_eq!(turns(&["mixcoord"])[1], Turn::After("mixcoord".to_owned()));
    }

    #[test]
    fn what_no_spec_asks_for_goes_only_when_the_rest_serves() {
        let mut live = running("new");
        live.insert("indexnode".to_owned(), deployment(Component::IndexNode, "old", 1));

        assert_eq!(leftovers(&planned("new"), &live, false), Vec::<String>::new());
        assert_eq!(leftovers(&planned("new"), &live, true), ["indexnode"]);
    }
}
