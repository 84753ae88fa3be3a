//! One reconcile of one `MilvusCollection`: the engine is told how the collection is loaded, and its state is reported.

use std::collections::BTreeMap;

use kube::Resource;
use kube::core::ApiResource;
use serde_json::json;

use super::topology::{Found, MOST_STEPS, next, unsaid};
use super::{Driver, Error, Next, step};
use crate::cluster::{Place, get_as};
use crate::crd::{MilvusCollection, Policy};
use crate::topology::{
    CollectionAction, CollectionPicture, Database, EngineCollection, Reason, Step, Wait, collection,
    collection_status,
};

impl Driver {
    /// Brings the replicas of a collection to what the `MilvusCollection` at `place` says, step by step.
    ///
    /// # Errors
    /// If a call to the API server failed.
    pub async fn reconcile_collection(&self, place: &Place) -> Result<Next, Error> {
        for round in 0..=MOST_STEPS {
            let found = get_as::<MilvusCollection>(self.cluster.as_ref(), place).await;
            let Some(object) = found.map_err(step("read the collection of"))? else {
                return Ok(Next::Waiting);
            };
            if object.metadata.deletion_timestamp.is_some() {
                // Nothing in the engine goes with it.
                return Ok(Next::Waiting);
            }
            let database = self.find_database(&place.namespace, &object.spec.milvus.name).await?;
            let looked = self.look_at_collection(&object, &database).await;
            let (engine, nodes) = match &looked {
                Ok((found, nodes)) => (Ok(found.as_ref()), nodes.clone()),
                Err(wait) => (Err(wait.clone()), BTreeMap::new()),
            };
            let picture =
                CollectionPicture { object: &object, database: database.database(), engine, nodes: &nodes };
            let wait = match collection(&picture) {
                Step::Rest => None,
                Step::Wait(wait) => Some(wait),
                Step::Act(_) if round == MOST_STEPS => {
                    Some(Wait::new(Reason::Changing, "the engine is being told"))
                }
                Step::Act(action) => match self.act_on_collection(&object, &database, &action).await {
                    Ok(()) => continue,
                    Err(wait) => Some(wait),
                },
            };
            let status = collection_status(&picture, wait.as_ref(), (self.now)());
            if object.status.as_ref() != Some(&status) {
                let kind = ApiResource::erase::<MilvusCollection>(&());
                self.write_status(&kind, place, json!(status)).await?;
            }
            return Ok(next(wait.as_ref()));
        }
        Ok(Next::Missing)
    }

    /// The collection, and how many query nodes the groups have that it may be placed in.
    async fn look_at_collection(
        &self,
        object: &MilvusCollection,
        database: &Found,
    ) -> Result<(Option<EngineCollection>, BTreeMap<String, usize>), Wait> {
        if database.database() != Database::Here {
            return Err(Wait::new(Reason::EngineUnreachable, "there is no database"));
        }
        let door = self.door(database).await?;
        let name = object.collection();
        let found = self.engine.collection(&door, object.database(), &name).await;
        let found = found.map_err(|error| unsaid(&error))?;
        let acts = object.spec.policy == Policy::Manage && object.spec.load.is_some();
        let groups = match acts {
            true => self.groups_of(database).await?,
            false => BTreeMap::new(),
        };
        let nodes = groups.into_iter().map(|(name, group)| (name, group.nodes.len())).collect();
        Ok((found, nodes))
    }

    async fn act_on_collection(
        &self,
        object: &MilvusCollection,
        database: &Found,
        action: &CollectionAction,
    ) -> Result<(), Wait> {
        let door = self.door(database).await?;
        let (within, name) = (object.database(), object.collection());
        let (told, reason, message) = match action {
            CollectionAction::Load(groups) => (
                self.engine.load(&door, within, &name, groups).await,
                "CollectionLoaded",
                format!("collection {name} is to have replicas in {}", groups.join(", ")),
            ),
            CollectionAction::Release => (
                self.engine.release(&door, within, &name).await,
                "CollectionReleased",
                format!("collection {name} is to take no memory"),
            ),
        };
        told.map_err(|error| unsaid(&error))?;
        self.did(object.object_ref(&()), reason, message).await;
        Ok(())
    }
}
