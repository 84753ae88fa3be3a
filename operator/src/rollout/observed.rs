//! How far a Deployment is.

use k8s_openapi::api::apps::v1::Deployment;

/// A Deployment, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How far it is.
    pub progress: Progress,
    /// Pods that serve.
    pub ready: i32,
    /// Pods that there should be.
    pub wanted: i32,
    /// Pods that run the template, no more than there should be.
    pub updated: i32,
}

/// How far a Deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No pods are wanted and none is left.
    Stopped,
    /// No pods are wanted, some are left.
    Stopping,
    /// Pods are being replaced or started.
    Updating,
    /// All pods run the template and serve.
    Done,
    /// All pods run the template and not all serve.
    NotReady,
    /// Kubernetes has given up; why.
    Stuck(String),
}

impl Observed {
    /// Reads the status of a Deployment, which counts only once it is about the current spec.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = deployment.status.clone().unwrap_or_default();
        let current = status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0);
        let total = status.replicas.unwrap_or(0);
        let updated = status.updated_replicas.unwrap_or(0);
        let ready = status.ready_replicas.unwrap_or(0);
        let terminating = status.terminating_replicas.unwrap_or(0);
        let stuck = status.conditions.iter().flatten().find_map(|condition| {
            let failed = (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True");
            failed.then(|| condition.message.clone().or_else(|| condition.reason.clone()).unwrap_or_default())
        });
        let progress = match (wanted, stuck) {
            (0, _) if current && total == 0 && terminating == 0 => Progress::Stopped,
            (0, _) => Progress::Stopping,
            _ if !current => Progress::Updating,
            // The old pods may all serve while the new ones do not.
            (_, Some(why)) if ready < wanted || updated < wanted || total > updated => Progress::Stuck(why),
            _ if updated < wanted || total > updated => Progress::Updating,
            _ if ready < wanted => Progress::NotReady,
            _ => Progress::Done,
        };
        Self { progress, ready, wanted, updated: if current { updated.min(wanted) } else { 0 } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn observed(replicas: i32, generation: i64, status: Value) -> Progress {
        let deployment: Deployment = from_value(json!({
            "metadata": {"name": "a", "generation": generation},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
            "status": status,
        }))
        .unwrap();
        Observed::of(&deployment).progress
    }

    #[test]
    fn a_status_of_an_older_spec_does_not_count() {
        let status =
            json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});

        assert_eq!(observed(1, 2, status.clone()), Progress::Updating);
        assert_eq!(observed(1, 1, status), Progress::Done);
    }

    #[test]
    fn no_wanted_pods_is_stopping_until_the_last_is_gone() {
        assert_eq!(observed(0, 2, json!({"observedGeneration": 1, "replicas": 1})), Progress::Stopping);
        assert_eq!(observed(0, 1, json!({"observedGeneration": 1, "replicas": 1})), Progress::Stopping);
        assert_eq!(observed(0, 1, json!({"observedGeneration": 1})), Progress::Stopped);
    }

    #[test]
    fn a_pod_that_runs_and_does_not_serve_is_not_an_update() {
        let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1});

        assert_eq!(observed(1, 1, status), Progress::NotReady);
    }

    #[test]
    fn what_kubernetes_has_given_up_carries_its_reason() {
        let status = json!({"observedGeneration": 1, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota exceeded"},
        ]});

        assert_eq!(observed(1, 1, status), Progress::Stuck("quota exceeded".into()));

        let surge = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "False", "message": "timed out"}]});
        assert_eq!(observed(1, 1, surge), Progress::Stuck("timed out".into()));
    }
}
