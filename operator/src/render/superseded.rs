//! `MilvusCluster` → the `Milvus` that carries it out.

use kube::{Resource, ResourceExt};

use crate::crd::{Milvus, MilvusCluster, MilvusSpec, Mode};

/// The `Milvus` of the same name, with the labels and annotations of the cluster, that belongs to it.
#[must_use]
pub fn milvus_of(cluster: &MilvusCluster) -> Milvus {
    let spec = MilvusSpec {
        mode: Mode::Cluster,
        components: cluster.spec.components.clone(),
        dependencies: cluster.spec.dependencies.clone(),
        config: cluster.spec.config.clone(),
        ..MilvusSpec::default()
    };
    let mut milvus = Milvus::new(&cluster.name_any(), spec);
    milvus.metadata.namespace = cluster.namespace();
    milvus.metadata.labels = cluster.metadata.labels.clone();
    // What a client-side apply remembers is about the other object.
    let own = |(key, _): &(&String, &String)| !key.starts_with("kubectl.kubernetes.io/");
    let annotations = cluster.annotations().iter().filter(own);
    let annotations: std::collections::BTreeMap<String, String> =
        annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
    milvus.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    milvus.metadata.owner_references = cluster.controller_owner_ref(&()).map(|owner| vec![owner]);
    milvus
}
