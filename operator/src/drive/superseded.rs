//! One reconcile of one `MilvusCluster`: keeps a `Milvus` of the same name as it says, and reports what that one reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{Driver, Error, Next, step};
use crate::cluster::{Place, encode};
use crate::crd::{
    Condition, ConditionStatus, ConditionType, Milvus, MilvusCluster, MilvusStatus, Phase, read, read_cluster,
};
use crate::render::milvus_of;

/// The peer's finalizer of these objects. It is not needed: the `Milvus` has its own.
const FINALIZER: &str = "milvuscluster.milvus.io/finalizer";

impl Driver {
    /// Brings the `Milvus` of the `MilvusCluster` at `place` to what it says.
    ///
    /// # Errors
    /// If a call to the API server failed, or the object is no `MilvusCluster`.
    pub async fn reconcile_cluster(&self, place: &Place) -> Result<Next, Error> {
        let kind = ApiResource::erase::<MilvusCluster>(&());
        let found = self.cluster.get(&kind, place).await.map_err(step("read the MilvusCluster of"))?;
        let Some(object) = found else { return Ok(Next::Waiting) };
        let cluster = read_cluster(object).map_err(|source| Error::Read { source })?;
        if cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            let rest: Vec<String> =
                cluster.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
            let version = cluster.resource_version().unwrap_or_default();
            self.cluster
                .set_finalizers(&kind, place, &version, &rest)
                .await
                .map_err(step("release the MilvusCluster of"))?;
        }
        if cluster.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Waiting);
        }
        let of_milvus = ApiResource::erase::<Milvus>(&());
        let existing = self.cluster.get(&of_milvus, place).await.map_err(step("read"))?;
        let existing = existing.map(read).transpose().map_err(|source| Error::Read { source })?;
        let status = match existing.as_ref().filter(|found| !belongs(found.owner_references(), &cluster)) {
            Some(_) => taken(&cluster),
            None => {
                let wanted = encode(&of_milvus, place, &milvus_of(&cluster)).map_err(step("write"))?;
                let live = self.cluster.apply(&of_milvus, &wanted).await.map_err(step("write"))?;
                let live = read(live).map_err(|source| Error::Read { source })?;
                passed_on(&cluster, &live)
            }
        };
        if cluster.status.as_ref() != Some(&status) {
            let mut object = DynamicObject::new(&cluster.name_any(), &kind).data(json!({"status": status}));
            object.metadata.namespace = cluster.namespace();
            let told = self.cluster.apply_status(&kind, &object).await;
            told.map_err(step("write the status of the MilvusCluster of"))?;
        }
        Ok(Next::Settled)
    }
}

fn belongs(owners: &[OwnerReference], cluster: &MilvusCluster) -> bool {
    owners.iter().any(|owner| Some(&owner.uid) == cluster.meta().uid.as_ref())
}

/// What the `Milvus` reports. It is about the cluster's spec only if it is about the `Milvus`'s newest one.
fn passed_on(cluster: &MilvusCluster, milvus: &Milvus) -> MilvusStatus {
    let mut status = milvus.status.clone().unwrap_or_default();
    let current = status.observed_generation == milvus.metadata.generation;
    let before = cluster.status.as_ref().and_then(|status| status.observed_generation);
    status.observed_generation = if current { cluster.metadata.generation } else { before };
    for condition in &mut status.conditions {
        condition.observed_generation = status.observed_generation;
    }
    status
}

/// A `Milvus` of this name that is somebody else's is left alone.
fn taken(cluster: &MilvusCluster) -> MilvusStatus {
    let message = format!(
        "metadata.name: a Milvus {} exists that does not belong to this MilvusCluster",
        cluster.name_any()
    );
    let condition = |kind: ConditionType, status| Condition {
        kind: kind.name().to_owned(),
        status,
        last_transition_time: None,
        reason: Some("NameTaken".to_owned()),
        message: Some(message.clone()),
        observed_generation: cluster.metadata.generation,
    };
    MilvusStatus {
        status: Phase::Unhealthy,
        conditions: vec![
            condition(ConditionType::SpecAccepted, ConditionStatus::False),
            condition(ConditionType::Ready, ConditionStatus::False),
            condition(ConditionType::Stalled, ConditionStatus::True),
        ],
        observed_generation: cluster.metadata.generation,
        ..MilvusStatus::default()
    }
}
