//! Deleting a `Milvus`: its pods end first, then its data goes if the policy says so, then the object.

use contract::names;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{Error, Next, step};
use crate::cluster::{Cluster, Place, get_as};
use crate::crd::Milvus;
use crate::render::deletes_data;

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
        let workload = Place::new(&namespace, format!("{name}-milvus-standalone"));
        if still_there::<Deployment>(cluster, &workload, milvus).await? {
            return Ok(Removal::Waiting("waiting for the pods to end"));
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

/// Deletes what the object owns at `place`; true while it is still there.
async fn still_there<K>(cluster: &dyn Cluster, place: &Place, milvus: &Milvus) -> Result<bool, Error>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let Some(found) = get_as::<K>(cluster, place).await.map_err(step("delete the workload of"))? else {
        return Ok(false);
    };
    let owner = milvus.uid();
    if !found.owner_references().iter().any(|reference| Some(&reference.uid) == owner.as_ref()) {
        return Ok(false);
    }
    if let (None, Some(uid)) = (&found.meta().deletion_timestamp, found.uid()) {
        let kind = ApiResource::erase::<K>(&());
        cluster.delete(&kind, place, &uid).await.map_err(step("delete the workload of"))?;
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
