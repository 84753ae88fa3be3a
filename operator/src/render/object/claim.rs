//! The claim of the data volume.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::crd::Mode;
use crate::render::{Checked, DataClaim, quantity, storage};

/// The claim of a standalone, without an owner: data outlives its object unless the deletion policy says otherwise.
pub(super) fn render(checked: &Checked) -> Option<PersistentVolumeClaim> {
    if checked.mode != Mode::Standalone {
        return None;
    }
    let Some(DataClaim::Ours { labels, annotations, spec }) = &checked.claim else { return None };
    let mut all = labels.clone();
    all.extend(checked.labels());
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(storage::claim_name(&checked.name)),
            namespace: Some(checked.namespace.clone()),
            labels: Some(all),
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(spec.as_ref().clone()),
        status: None,
    })
}

/// The claim to apply where one exists: all that cannot change stays, the size only grows.
#[must_use]
pub fn fit_claim(
    mut planned: PersistentVolumeClaim,
    existing: &PersistentVolumeClaim,
) -> PersistentVolumeClaim {
    let (Some(wanted), Some(found)) = (planned.spec.as_mut(), existing.spec.as_ref()) else { return planned };
    let size = |spec: &k8s_openapi::api::core::v1::PersistentVolumeClaimSpec| {
        spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage").cloned())
    };
    let larger = match (size(wanted), size(found)) {
        (Some(wanted), Some(found)) => Some(quantity::larger(found, wanted)),
        (wanted, found) => wanted.or(found),
    };
    *wanted = found.clone();
    if let Some(larger) = larger {
        wanted
            .resources
            .get_or_insert_default()
            .requests
            .get_or_insert_default()
            .insert("storage".to_owned(), larger);
    }
    planned
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn claim(spec: serde_json::Value) -> PersistentVolumeClaim {
        from_value(json!({"metadata": {"name": "db-data"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_claim_grows_and_keeps_what_cannot_change() {
        let existing =
            claim(json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeName": "pv-1",
            "resources": {"requests": {"storage": "5Gi"}}}));
        let planned =
            claim(json!({"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "8Gi"}}}));

        let fitted = fit_claim(planned, &existing);

        assert_eq!(
            fitted,
            claim(json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "volumeName": "pv-1",
                "resources": {"requests": {"storage": "8Gi"}}}))
        );
    }

    #[test]
    fn a_claim_never_shrinks() {
        let existing = claim(json!({"resources": {"requests": {"storage": "8Gi"}}}));
        let planned = claim(json!({"resources": {"requests": {"storage": "5Gi"}}}));

        assert_eq!(fit_claim(planned, &existing), existing);
    }
}
