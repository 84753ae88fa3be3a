//! Planned objects → live ones.

use std::collections::BTreeMap;

use contract::names;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::core::{ApiResource, DynamicObject};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::{Cluster, Error, Kind, Place, apply_as, get_as};
use crate::render::{
    Live, Objects, Planned, StoreObjects, Wanted, WorkloadObjects, fit_claim, fit_deployment,
    fit_stateful_set, pod_monitor_kind,
};
use crate::rollout::{Turn, replicas};

/// Applying for one object.
pub(super) struct Applier<'a> {
    pub(super) cluster: &'a dyn Cluster,
    /// Namespace of everything.
    pub(super) namespace: &'a str,
    /// Identity of the `Milvus`, which says what is ours.
    pub(super) uid: &'a str,
    /// Deployments that exist, by name.
    pub(super) running: &'a BTreeMap<String, Deployment>,
    /// For each workload, whether its turn has come.
    pub(super) turns: &'a [Turn],
    /// Whether a change of settings restarts the pods that it concerns.
    pub(super) config_rolls: bool,
}

impl Applier<'_> {
    /// Applies all objects. What pods mount, run as and stand on comes first, the engine last.
    ///
    /// Safe to repeat and to break off: each object is applied whole, and those after the break are applied the next time.
    pub(super) async fn apply(&self, mut planned: Objects<Planned>) -> Result<Objects<Live>, Error> {
        let Objects {
            service_account,
            config_map,
            settings_secret,
            claim,
            service,
            ingress,
            policies,
            pod_monitor,
            stores,
            workloads,
            ..
        } = &mut planned;
        self.want(service_account).await?;
        *config_map = apply_as(self.cluster, config_map).await?;
        self.want(settings_secret).await?;
        if let Some(claim) = claim {
            *claim = self.claim(claim.clone()).await?;
        }
        *service = apply_as(self.cluster, service).await?;
        self.want(ingress).await?;
        for policy in policies {
            self.want(policy).await?;
        }
        self.pod_monitor(pod_monitor).await?;
        for store in stores {
            self.store(store).await?;
        }
        for (workload, turn) in workloads.iter_mut().zip(self.turns) {
            self.workload(workload, turn).await?;
        }
        Ok(planned.at_stage())
    }

    async fn claim(&self, planned: PersistentVolumeClaim) -> Result<PersistentVolumeClaim, Error> {
        let place = Place::of(&planned.metadata);
        let existing = get_as::<PersistentVolumeClaim>(self.cluster, &place).await?;
        let fitted = match &existing {
            None => planned,
            Some(existing) => fit_claim(planned, existing),
        };
        apply_as(self.cluster, &fitted).await
    }

    /// Where nobody knows the kind there is nothing to make or to remove.
    async fn pod_monitor(&self, wanted: &Wanted<DynamicObject>) -> Result<(), Error> {
        let kind = pod_monitor_kind();
        let done = match wanted {
            Wanted::Present(object) => {
                // Asked first: a write that is refused each time is a write too.
                let label = (names::LABEL_INSTANCE, object.name_any());
                match self.cluster.list(&kind, self.namespace, (label.0, &label.1)).await {
                    Ok(_) => self.cluster.apply(&kind, object).await.map(drop),
                    Err(error) => Err(error),
                }
            }
            Wanted::Absent(name) => {
                let place = Place::new(self.namespace, name);
                let found = match self.cluster.get(&kind, &place).await {
                    Err(error) if error.kind() == Kind::NotFound => None,
                    found => found?,
                };
                let ours =
                    found.filter(|found| found.owner_references().iter().any(|owner| owner.uid == self.uid));
                match ours.and_then(|found| found.uid()) {
                    Some(uid) => self.cluster.delete(&kind, &place, &uid).await,
                    None => Ok(()),
                }
            }
        };
        match done {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn store(&self, store: &mut StoreObjects) -> Result<(), Error> {
        let StoreObjects { kind: _, services, budget, stateful_set } = store;
        for service in services {
            *service = apply_as(self.cluster, service).await?;
        }
        if let Some(budget) = budget {
            *budget = apply_as(self.cluster, budget).await?;
        }
        let existing = get_as::<StatefulSet>(self.cluster, &Place::of(&stateful_set.metadata)).await?;
        let fitted = match &existing {
            None => stateful_set.clone(),
            Some(existing) => fit_stateful_set(stateful_set.clone(), existing),
        };
        *stateful_set = apply_as(self.cluster, &fitted).await?;
        Ok(())
    }

    /// A workload whose turn has not come goes on as it is.
    async fn workload(&self, workload: &mut WorkloadObjects, turn: &Turn) -> Result<(), Error> {
        let WorkloadObjects { component: _, group: _, deployment, budget } = workload;
        self.want(budget).await?;
        let running = deployment.metadata.name.as_ref().and_then(|name| self.running.get(name));
        if let Some(running) = running.filter(|_| !self.config_rolls) {
            *deployment = fit_deployment(deployment.clone(), running);
        }
        if let Some(spec) = deployment.spec.as_mut() {
            spec.replicas = match turn {
                Turn::Step(count) => Some(*count),
                _ => replicas(spec.replicas, running, names::FIELD_MANAGER),
            };
        }
        match (turn, running) {
            (Turn::After(_), Some(running)) => *deployment = running.clone(),
            _ => *deployment = apply_as(self.cluster, deployment).await?,
        }
        Ok(())
    }

    /// Applies an object that is wanted, deletes one that is not and that we made for this `Milvus`.
    pub(super) async fn want<K>(&self, wanted: &mut Wanted<K>) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        match wanted {
            Wanted::Present(object) => *object = apply_as(self.cluster, object).await?,
            Wanted::Absent(name) => self.remove::<K>(name).await?,
        }
        Ok(())
    }

    /// Deletes the object of this name, if there is one and it is ours.
    pub(super) async fn remove<K>(&self, name: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let place = Place::new(self.namespace, name);
        let Some(found) = get_as::<K>(self.cluster, &place).await? else { return Ok(()) };
        let ours = found.owner_references().iter().any(|owner| owner.uid == self.uid);
        if let (true, None, Some(uid)) = (ours, &found.meta().deletion_timestamp, found.uid()) {
            self.cluster.delete(&ApiResource::erase::<K>(&()), &place, &uid).await?;
        }
        Ok(())
    }
}
