//! One reconcile of one `MilvusUpgrade`.

use kube::core::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use super::{Driver, Error, Next, step};
use crate::cluster::{Note, Place, get_as};
use crate::crd::{Milvus, MilvusUpgrade, read};
use crate::rollout::{UpgradeStep, upgrade};

impl Driver {
    /// Does the next step of the `MilvusUpgrade` at `place`.
    ///
    /// # Errors
    /// If a call to the API server failed.
    pub async fn reconcile_upgrade(&self, place: &Place) -> Result<Next, Error> {
        let order = get_as::<MilvusUpgrade>(self.cluster.as_ref(), place)
            .await
            .map_err(step("read the order about"))?;
        let Some(order) = order.filter(|order| order.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Waiting);
        };
        let namespace = order.spec.milvus.namespace.clone().unwrap_or_else(|| place.namespace.clone());
        let database = Place::new(namespace, &order.spec.milvus.name);
        let of_milvus = ApiResource::erase::<Milvus>(&());
        let found = self.cluster.get(&of_milvus, &database).await.map_err(step("read"))?;
        let milvus = found.map(read).transpose().map_err(|source| Error::Read { source })?;
        let UpgradeStep { set_image, status } = upgrade(&order, milvus.as_ref(), (self.now)());
        // First what to put back, then the change: broken off in between, the next try knows what there was.
        if order.status.as_ref() != Some(&status) {
            let kind = ApiResource::erase::<MilvusUpgrade>(&());
            let mut object = DynamicObject::new(&order.name_any(), &kind).data(json!({"status": status}));
            object.metadata.namespace = order.namespace();
            self.cluster.apply_status(&kind, &object).await.map_err(step("tell about the upgrade of"))?;
            let state = |order: &MilvusUpgrade| order.status.as_ref().and_then(|status| status.state.clone());
            if state(&order) != status.state {
                let message =
                    format!("the upgrade of {database} is at {}", status.state.clone().unwrap_or_default());
                self.note(&order, &message).await;
            }
        }
        if let Some(image) = set_image {
            info!(%database, image, "setting the image that the order names");
            let patch = json!({"spec": {"components": {"image": image}}});
            self.cluster.merge(&of_milvus, &database, &patch).await.map_err(step("upgrade"))?;
            return Ok(Next::Moving);
        }
        Ok(match status.state.as_deref() {
            Some("Succeeded" | "RollbackedSucceeded") => Next::Waiting,
            _ => Next::Missing,
        })
    }

    async fn note(&self, order: &MilvusUpgrade, message: &str) {
        let note = Note {
            regarding: order.object_ref(&()),
            warning: false,
            reason: "Upgrade".to_owned(),
            action: "Reconcile".to_owned(),
            message: message.to_owned(),
        };
        if let Err(error) = self.cluster.publish(&note).await {
            warn!(%error, "an event was not published");
        }
    }
}
