//! Planned objects → live ones.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, Error, Place, apply_as, get_as};
use crate::render::{Live, Objects, Planned, Wanted, fit_claim};

/// Applies all objects. The workload comes last, so that what its pods mount and run as exists before them.
///
/// Safe to repeat and to break off: each object is applied whole, and those after the break are applied the next time.
pub(super) async fn apply(
    cluster: &dyn Cluster,
    planned: Objects<Planned>,
    uid: &str,
) -> Result<Objects<Live>, Error> {
    let Objects { service_account, config_map, claim, service, ingress, deployment, .. } = planned;
    let place = Place::of(&deployment.metadata);
    let service_account = want(cluster, service_account, &place, uid).await?;
    let config_map = apply_as(cluster, &config_map).await?;
    let claim = match claim {
        None => None,
        Some(claim) => Some(apply_claim(cluster, claim).await?),
    };
    let service = apply_as(cluster, &service).await?;
    let ingress = want(cluster, ingress, &place, uid).await?;
    let deployment = apply_as(cluster, &deployment).await?;
    Ok(Objects::live(service_account, config_map, claim, service, ingress, deployment))
}

async fn apply_claim(
    cluster: &dyn Cluster,
    planned: PersistentVolumeClaim,
) -> Result<PersistentVolumeClaim, Error> {
    let existing = get_as::<PersistentVolumeClaim>(cluster, &Place::of(&planned.metadata)).await?;
    let fitted = match &existing {
        None => planned,
        Some(existing) => fit_claim(planned, existing),
    };
    apply_as(cluster, &fitted).await
}

/// Applies an object that is wanted, deletes one that is not and that we made for this `Milvus`.
async fn want<K>(
    cluster: &dyn Cluster,
    wanted: Wanted<K>,
    beside: &Place,
    uid: &str,
) -> Result<Wanted<K>, Error>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    match wanted {
        Wanted::Present(object) => Ok(Wanted::Present(apply_as(cluster, &object).await?)),
        Wanted::Absent(name) => {
            let place = Place::new(&beside.namespace, &name);
            if let Some(found) = get_as::<K>(cluster, &place).await? {
                let ours = found.owner_references().iter().any(|owner| owner.uid == uid);
                if let (true, Some(found)) = (ours, found.uid()) {
                    cluster.delete(&ApiResource::erase::<K>(&()), &place, &found).await?;
                }
            }
            Ok(Wanted::Absent(name))
        }
    }
}
