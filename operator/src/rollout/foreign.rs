//! A release of another operator under the name of an object: pods of upstream's image, and data in upstream's format. It is left
//! alone until the object says that its pods may be replaced, and also then while Redkite would be pointed at that data.

use std::collections::{BTreeMap, BTreeSet};

use contract::names;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::render::{Fault, FaultReason};

/// Workloads of another operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRelease {
    /// The Deployments, by name, with the identity of each.
    pub workloads: BTreeMap<String, String>,
    /// What their pods run.
    pub images: BTreeSet<String>,
}

impl ForeignRelease {
    /// The release among the workloads that carry the object's label, if there is one: what Redkite made carries its annotation.
    #[must_use]
    pub fn of(running: &BTreeMap<String, Deployment>) -> Option<Self> {
        let foreign =
            || running.values().filter(|found| !found.annotations().contains_key(names::ANNOTATION_RENDERED));
        let image = |found: &Deployment| {
            let pod = found.spec.as_ref()?.template.spec.as_ref()?;
            pod.containers.first()?.image.clone()
        };
        let workloads: BTreeMap<String, String> =
            foreign().map(|found| (found.name_any(), found.uid().unwrap_or_default())).collect();
        (!workloads.is_empty()).then(|| Self { workloads, images: foreign().filter_map(image).collect() })
    }

    /// Why its pods are not replaced. `allowed`: the object says that they may be; `shared`: what of its data Redkite would be pointed
    /// at, a sentence for each field. Nothing: they may go.
    #[must_use]
    pub fn stays(&self, allowed: bool, shared: &[Fault]) -> Vec<Fault> {
        if allowed {
            return shared.to_vec();
        }
        let listed = |names: Vec<&str>| names.join(", ");
        let workloads = listed(self.workloads.keys().map(String::as_str).collect());
        let images = listed(self.images.iter().map(String::as_str).collect());
        vec![Fault {
            reason: FaultReason::ForeignRelease,
            path: "metadata.name".to_owned(),
            message: format!(
                "Deployments {workloads} ({images}) were made by another operator and go on as they are: Redkite reads no data \
                 of Milvus and would begin without rows. Once the rows are copied elsewhere and that operator is stopped, \
                 annotation {}: \"true\" has these Deployments deleted and Redkite's pods started in their place",
                names::ANNOTATION_TAKE_OVER
            ),
        }]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn running(rendered: bool) -> BTreeMap<String, Deployment> {
        let annotations = if rendered { json!({"redkite.io/rendered": "true"}) } else { json!({}) };
        let found: Deployment = from_value(json!({
            "metadata": {"name": "db-milvus-proxy", "uid": "u1", "annotations": annotations},
            "spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "proxy", "image": "milvusdb/milvus:v2.6.11"}]}}},
        }))
        .unwrap();
        BTreeMap::from([(found.name_any(), found)])
    }

    #[test]
    fn what_redkite_made_is_no_release_of_another_operator() {
        assert_eq!(ForeignRelease::of(&running(true)), None);
        assert_eq!(
            ForeignRelease::of(&running(false)),
            Some(ForeignRelease {
                workloads: BTreeMap::from([("db-milvus-proxy".to_owned(), "u1".to_owned())]),
                images: BTreeSet::from(["milvusdb/milvus:v2.6.11".to_owned()]),
            })
        );
    }

    #[test]
    fn a_release_stays_until_it_may_go_and_while_its_data_is_pointed_at() {
        let release = ForeignRelease::of(&running(false)).unwrap();
        let shared = vec![Fault {
            reason: FaultReason::ForeignData,
            path: "spec.config.etcd.rootPath".to_owned(),
            message: "the metadata there is Milvus's".to_owned(),
        }];

        let reasons = |faults: Vec<Fault>| faults.iter().map(|fault| fault.reason).collect::<Vec<_>>();
        assert_eq!(reasons(release.stays(false, &[])), [FaultReason::ForeignRelease]);
        assert_eq!(release.stays(true, &shared), shared);
        assert_eq!(release.stays(true, &[]), []);
    }
}
