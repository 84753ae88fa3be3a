//! Who says how many pods a workload has.

use k8s_openapi::api::apps::v1::Deployment;

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
