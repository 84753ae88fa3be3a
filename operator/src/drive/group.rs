//! One reconcile of one `MilvusResourceGroup`. Its pods are made with its database's; here the engine is told, and the pods of
//! a group that goes are ended.

use contract::names;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::topology::{Found, MOST_STEPS, next, place_of, unsaid};
use super::{Driver, Error, Next, find, step};
use crate::cluster::{Place, get_as};
use crate::crd::MilvusResourceGroup;
use crate::render::{is_taken, resource_group_faults, resource_group_workload};
use crate::rollout::{Observed, Progress};
use crate::topology::{Database, GroupAction, GroupPicture, Pods, Reason, Step, Wait, group, group_status};

impl Driver {
    /// Brings the engine of its database to what the `MilvusResourceGroup` at `place` says, step by step.
    ///
    /// # Errors
    /// If a call to the API server failed. What was done stays done, and the next reconcile goes on from there.
    pub async fn reconcile_group(&self, place: &Place) -> Result<Next, Error> {
        let mut scaled = None;
        for round in 0..=MOST_STEPS {
            let found = get_as::<MilvusResourceGroup>(self.cluster.as_ref(), place).await;
            let Some(mut object) = found.map_err(step("read the resource group of"))? else {
                return Ok(Next::Waiting);
            };
            let written = object.status.clone();
            let database = self.find_database(&place.namespace, &object.spec.milvus.name).await?;
            if scaled.is_none() {
                scaled = Some(self.scale_group(&object, database.milvus.as_ref()).await?);
            }
            let follows = scaled.iter().flatten().next();
            // From here on its number is what the load asks for.
            object.status.get_or_insert_default().autoscaling = follows.map(|(status, _)| status.clone());
            let faults: Vec<String> = database
                .milvus
                .iter()
                .flat_map(|milvus| resource_group_faults(&object, milvus))
                .map(|fault| format!("{}: {}", fault.path, fault.message))
                .collect();
            let others =
                find::groups(self.cluster.as_ref(), &place.namespace, &object.spec.milvus.name).await?;
            let engine = match database.database() {
                Database::Here => self.groups_of(&database).await,
                _ => Err(Wait::new(Reason::EngineUnreachable, "there is no database")),
            };
            let picture = GroupPicture {
                object: &object,
                held: object.finalizers().iter().any(|held| held == names::GROUP_FINALIZER),
                database: database.database(),
                faults: &faults,
                taken: is_taken(&object, &others),
                pods: self.pods_of(&object).await?,
                engine: engine.as_ref().map_err(Clone::clone),
            };
            let wait = match group(&picture) {
                Step::Rest => None,
                Step::Wait(wait) => Some(wait),
                Step::Act(GroupAction::Release) => {
                    self.hold_group(&object, false).await?;
                    return Ok(Next::Waiting);
                }
                Step::Act(_) if round == MOST_STEPS => {
                    Some(Wait::new(Reason::Changing, "the engine is being told"))
                }
                Step::Act(action) => match self.act_on_group(&object, &database, &action).await? {
                    None => continue,
                    refused => refused,
                },
            };
            let mut status = group_status(&picture, wait.as_ref(), (self.now)());
            if let Some((_, standing)) = follows {
                let before =
                    object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                status.conditions.push(standing.condition(before, object.metadata.generation, (self.now)()));
            }
            if written.as_ref() != Some(&status) {
                let kind = ApiResource::erase::<MilvusResourceGroup>(&());
                self.write_status(&kind, place, json!(status)).await?;
            }
            return Ok(match next(wait.as_ref()) {
                Next::Relying if follows.is_some() => Next::Measuring,
                next => next,
            });
        }
        Ok(Next::Missing)
    }

    /// Does one step; answers with why the engine does not do it.
    async fn act_on_group(
        &self,
        object: &MilvusResourceGroup,
        database: &Found,
        action: &GroupAction,
    ) -> Result<Option<Wait>, Error> {
        let name = object.engine_name();
        let door = match self.door(database).await {
            Ok(door) => door,
            Err(wait) => return Ok(Some(wait)),
        };
        let engine = self.engine.as_ref();
        let (told, reason, message) = match action {
            GroupAction::Hold => {
                self.hold_group(object, true).await?;
                return Ok(None);
            }
            GroupAction::Release => {
                self.hold_group(object, false).await?;
                return Ok(None);
            }
            GroupAction::RemovePods => {
                self.remove_pods(object, database).await?;
                return Ok(None);
            }
            GroupAction::Create(claims) => (
                engine.create_group(&door, &name, claims).await,
                "GroupCreated",
                format!("resource group {name} was made in the engine"),
            ),
            GroupAction::Update(claims) => (
                engine.update_group(&door, &name, claims).await,
                "GroupChanged",
                format!(
                    "resource group {name} now requests {} and takes at most {} query nodes",
                    claims.requests, claims.limits
                ),
            ),
            GroupAction::Drop => (
                engine.drop_group(&door, &name).await,
                "GroupDropped",
                format!("resource group {name} was dropped in the engine"),
            ),
        };
        match told {
            Err(error) => Ok(Some(unsaid(&error))),
            Ok(()) => {
                self.did(object.object_ref(&()), reason, message).await;
                Ok(None)
            }
        }
    }

    /// The workload of a group.
    async fn pods_of(&self, object: &MilvusResourceGroup) -> Result<Option<Pods>, Error> {
        let place = Place::new(object.namespace().unwrap_or_default(), resource_group_workload(object));
        let found = get_as::<Deployment>(self.cluster.as_ref(), &place).await;
        let found = found.map_err(step("look at the workloads of"))?;
        let ours = |found: &Deployment| {
            found.labels().get(names::LABEL_RESOURCE_GROUP).is_some_and(|name| *name == object.name_any())
        };
        Ok(found.filter(ours).map(|found| pods(&found)))
    }

    /// Ends the pods of a group: what its database made for it.
    async fn remove_pods(&self, object: &MilvusResourceGroup, database: &Found) -> Result<(), Error> {
        let place = Place::new(object.namespace().unwrap_or_default(), resource_group_workload(object));
        let owner = database.milvus.as_ref().and_then(ResourceExt::uid);
        self.remove_owned::<PodDisruptionBudget>(&place, owner.as_deref()).await?;
        self.remove_owned::<Deployment>(&place, owner.as_deref()).await
    }

    async fn remove_owned<K>(&self, place: &Place, owner: Option<&str>) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let failed = || step("end the pods of a resource group of");
        let Some(found) = get_as::<K>(self.cluster.as_ref(), place).await.map_err(failed())? else {
            return Ok(());
        };
        let ours = found.owner_references().iter().any(|reference| Some(reference.uid.as_str()) == owner);
        match (ours, &found.meta().deletion_timestamp, found.uid()) {
            (true, None, Some(uid)) => {
                let kind = ApiResource::erase::<K>(&());
                self.cluster.delete(&kind, place, &uid).await.map_err(failed())
            }
            _ => Ok(()),
        }
    }

    /// Puts our finalizer on the object, or takes it away.
    async fn hold_group(&self, object: &MilvusResourceGroup, hold: bool) -> Result<(), Error> {
        let others = object.finalizers().iter().filter(|held| *held != names::GROUP_FINALIZER);
        let mut finalizers: Vec<String> = others.cloned().collect();
        if hold {
            finalizers.push(names::GROUP_FINALIZER.to_owned());
        }
        let version = object.resource_version().unwrap_or_default();
        let kind = ApiResource::erase::<MilvusResourceGroup>(&());
        self.cluster
            .set_finalizers(&kind, &place_of(object), &version, &finalizers)
            .await
            .map_err(step("hold a resource group of"))
    }
}

fn pods(found: &Deployment) -> Pods {
    let observed = Observed::of(found);
    let selector =
        found.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let selector: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Pods {
        wanted: observed.wanted,
        total: found.status.as_ref().and_then(|status| status.replicas).unwrap_or(0),
        ready: observed.ready,
        complete: matches!(observed.progress, Progress::Done | Progress::Stopped),
        leaving: found.metadata.deletion_timestamp.is_some(),
        selector: selector.join(","),
    }
}
