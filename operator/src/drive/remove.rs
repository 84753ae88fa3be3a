//! Deleting a `Milvus`: its pods end first, then its data goes if the policy says so, then the object.

use contract::names;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{Error, Next, step};
use crate::cluster::{Cluster, Place, get_as, list_as};
use crate::crd::{InCluster, Milvus};
use crate::render::{Fate, StoreKind, deletes_data, fate};

/// Kubernetes's own finalizer of `kubectl delete --cascade=orphan`: what the object made is to stay.
const ORPHAN: &str = "orphan";

/// What is still to be waited for, or nothing.
pub(super) enum Removal {
    /// The object is let go.
    Done,
    /// Something is still ending.
    Waiting(&'static str),
}

/// Does the next step of a deletion. Safe to repeat and to break off at any point.
pub(super) async fn remove(cluster: &dyn Cluster, milvus: &Milvus) -> Result<Removal, Error> {
    let finalizers = milvus.finalizers();
    if !finalizers.iter().any(|finalizer| finalizer == names::FINALIZER) {
        return Ok(Removal::Done);
    }
    let namespace = milvus.namespace().unwrap_or_default();
    let name = milvus.name_any();
    if !finalizers.iter().any(|finalizer| finalizer == ORPHAN) {
        let label = (names::LABEL_INSTANCE, name.as_str());
        let workloads = list_as::<Deployment>(cluster, &namespace, label).await;
        let mut waiting = false;
        for found in workloads.map_err(step("delete the workloads of"))? {
            waiting |= still_there(cluster, &found, milvus).await?;
        }
        if waiting {
            return Ok(Removal::Waiting("waiting for the pods to end"));
        }
        for kind in StoreKind::ALL {
            if remove_store(cluster, milvus, kind).await? {
                return Ok(Removal::Waiting("waiting for the stores to end"));
            }
        }
        let claim = Place::new(&namespace, format!("{name}-data"));
        if deletes_data(&milvus.spec) {
            delete_claim(cluster, &claim, &name).await?;
        }
    }
    let rest: Vec<String> =
        finalizers.iter().filter(|finalizer| *finalizer != names::FINALIZER).cloned().collect();
    let version = milvus.resource_version().unwrap_or_default();
    let kind = ApiResource::erase::<Milvus>(&());
    cluster
        .set_finalizers(&kind, &Place::new(namespace, name), &version, &rest)
        .await
        .map_err(step("release"))?;
    Ok(Removal::Done)
}

impl Removal {
    /// When to look again.
    pub(super) const fn next(&self) -> Next {
        match self {
            Self::Done => Next::Waiting,
            Self::Waiting(_) => Next::Missing,
        }
    }
}

/// Deletes what the object owns; true while it is still there.
async fn still_there(cluster: &dyn Cluster, found: &Deployment, milvus: &Milvus) -> Result<bool, Error> {
    let owner = milvus.uid();
    if !found.owner_references().iter().any(|reference| Some(&reference.uid) == owner.as_ref()) {
        return Ok(false);
    }
    if let (None, Some(uid)) = (&found.metadata.deletion_timestamp, found.uid()) {
        let kind = ApiResource::erase::<Deployment>(&());
        let place = Place::of(&found.metadata);
        cluster.delete(&kind, &place, &uid).await.map_err(step("delete the workloads of"))?;
    }
    Ok(true)
}

/// Removes a store beside the database, if it is ours and its policy says so; true while its pods end.
async fn remove_store(cluster: &dyn Cluster, milvus: &Milvus, kind: StoreKind) -> Result<bool, Error> {
    let fate = fate(in_cluster(milvus, kind));
    if fate == Fate::Stays {
        return Ok(false);
    }
    let (namespace, instance) = (milvus.namespace().unwrap_or_default(), milvus.name_any());
    let name = kind.name(&instance);
    let place = Place::new(&namespace, &name);
    if remove_rendered::<StatefulSet>(cluster, &place).await? {
        return Ok(true);
    }
    for service in [name.clone(), format!("{name}-headless")] {
        remove_rendered::<Service>(cluster, &Place::new(&namespace, service)).await?;
    }
    remove_rendered::<PodDisruptionBudget>(cluster, &place).await?;
    if fate == Fate::GoesWithVolumes {
        // Claims of a StatefulSet carry the labels of its pods.
        let label = (names::LABEL_INSTANCE, instance.as_str());
        let claims = list_as::<PersistentVolumeClaim>(cluster, &namespace, label).await;
        for claim in claims.map_err(step("delete the data of"))? {
            let of_store = claim.name_any().starts_with(&format!("data-{name}-"));
            if let (true, None, Some(uid)) = (of_store, &claim.metadata.deletion_timestamp, claim.uid()) {
                let kind = ApiResource::erase::<PersistentVolumeClaim>(&());
                let place = Place::of(&claim.metadata);
                cluster.delete(&kind, &place, &uid).await.map_err(step("delete the data of"))?;
            }
        }
        // Last, since it opens what the volumes hold.
        remove_rendered::<Secret>(cluster, &place).await?;
    }
    Ok(false)
}

fn in_cluster(milvus: &Milvus, kind: StoreKind) -> Option<&InCluster> {
    let dependencies = milvus.spec.dependencies.as_ref()?;
    match kind {
        StoreKind::Etcd => dependencies.etcd.as_ref()?.in_cluster.as_ref(),
        StoreKind::Objects => dependencies.storage.as_ref()?.in_cluster.as_ref(),
    }
}

/// Deletes the object at `place` if we made it; true while it is there.
async fn remove_rendered<K>(cluster: &dyn Cluster, place: &Place) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let Some(found) = get_as::<K>(cluster, place).await.map_err(step("delete the stores of"))? else {
        return Ok(false);
    };
    if !found.annotations().contains_key(names::ANNOTATION_RENDERED) {
        return Ok(false);
    }
    if let (None, Some(uid)) = (&found.meta().deletion_timestamp, found.uid()) {
        let kind = ApiResource::erase::<K>(&());
        cluster.delete(&kind, place, &uid).await.map_err(step("delete the stores of"))?;
    }
    Ok(true)
}

/// Deletes the data volume, if it carries the label of this object.
async fn delete_claim(cluster: &dyn Cluster, place: &Place, name: &str) -> Result<(), Error> {
    let Some(found) =
        get_as::<PersistentVolumeClaim>(cluster, place).await.map_err(step("delete the data of"))?
    else {
        return Ok(());
    };
    let ours = found.labels().get(names::LABEL_INSTANCE).is_some_and(|instance| instance == name);
    if let (true, Some(uid)) = (ours, found.uid()) {
        let kind = ApiResource::erase::<PersistentVolumeClaim>(&());
        cluster.delete(&kind, place, &uid).await.map_err(step("delete the data of"))?;
    }
    Ok(())
}
