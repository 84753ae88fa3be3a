//! What ran before, for a rollback.

use std::collections::BTreeMap;

use super::Checked;
use crate::crd::{CompleteRollout, Milvus};

/// The object as if its spec named the version that `complete` has. Which components there are follows from that; what they
/// run is then [`Checked::with_images`]'s. All other fields stay as they are now.
#[must_use]
pub fn as_before(milvus: &Milvus, complete: &CompleteRollout) -> Milvus {
    let mut before = milvus.clone();
    let components = before.spec.components.get_or_insert_default();
    components.global.image = complete.image.clone();
    components.global.version = complete.version.clone();
    before
}

impl Checked {
    /// The image of each component, by its name.
    #[must_use]
    pub fn images(&self) -> BTreeMap<String, String> {
        self.workloads
            .iter()
            .map(|workload| (workload.component.name().to_owned(), workload.image.reference.clone()))
            .collect()
    }

    /// The same with these images, of the components that are named.
    #[must_use]
    pub fn with_images(mut self, images: &BTreeMap<String, String>) -> Self {
        for workload in &mut self.workloads {
            if let Some(image) = images.get(workload.component.name()) {
                workload.image.reference.clone_from(image);
            }
        }
        // One image for all is what the status calls the database's.
        let mut all: Vec<&String> = images.values().collect();
        all.dedup();
        if let [one] = all.as_slice() {
            self.image.reference.clone_from(one);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::render::{Facts, Platform, check, render};

    fn milvus(components: serde_json::Value) -> Milvus {
        from_value(json!({"metadata": {"name": "db", "namespace": "ns", "uid": "u"},
            "spec": {"mode": "cluster", "components": components}}))
        .unwrap()
    }

    fn checked(milvus: &Milvus) -> Checked {
        check(milvus, &Platform::default(), &Facts::default()).unwrap()
    }

    #[test]
    fn a_rollback_renders_the_very_templates_that_ran_before() {
        let old = checked(&milvus(
            json!({"image": "example/engine:1", "version": "2.5", "proxy": {"image": "example/p:1"}}),
        ));
        let complete = CompleteRollout {
            image: old.image.named.clone(),
            version: old.version.clone(),
            images: old.images(),
        };
        let bad =
            milvus(json!({"image": "example/engine:2", "version": "2.6", "proxy": {"image": "example/p:2"}}));
        assert_ne!(render(&checked(&bad)), render(&old));

        let back = checked(&as_before(&bad, &complete)).with_images(&complete.images);

        assert_eq!(render(&back), render(&old));
    }
}
