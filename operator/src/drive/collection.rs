//! One reconcile of one `MilvusCollection`: the engine is told what the collection is to be, and its state is reported.

use std::collections::BTreeMap;

use contract::names;
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::topology::{Found, next, place_of, unsaid};
use super::{Driver, Error, Next, step};
use crate::cluster::{Place, get_as, list_all_as};
use crate::crd::{Kept, MilvusCollection, Policy};
use crate::engine_admin::{AliasChange, Target};
use crate::topology::{
    CollectionAction, CollectionPicture, Database, EngineAlias, EngineCollection, Reason, Step, Wait,
    collection, collection_status,
};

/// Steps of one reconcile: a collection that is made takes one for itself, each index and each alias, and some for the record of
/// them. More are left to the next one.
const MOST_STEPS: usize = 24;

/// What the engine has that a collection's object is about.
#[derive(Default)]
struct Looked {
    found: Option<EngineCollection>,
    /// Where the aliases lead that the spec lists.
    aliases: BTreeMap<String, EngineAlias>,
    /// Query nodes of each group.
    nodes: BTreeMap<String, usize>,
}

impl Driver {
    /// Brings a collection to what the `MilvusCollection` at `place` says, step by step.
    ///
    /// # Errors
    /// If a call to the API server failed.
    pub async fn reconcile_collection(&self, place: &Place) -> Result<Next, Error> {
        for round in 0..=MOST_STEPS {
            let found = get_as::<MilvusCollection>(self.cluster.as_ref(), place).await;
            let Some(object) = found.map_err(step("read the collection of"))? else {
                return Ok(Next::Waiting);
            };
            let held = object.finalizers().iter().any(|held| held == names::COLLECTION_FINALIZER);
            if object.metadata.deletion_timestamp.is_some() && !held {
                // Nothing in the engine goes with it.
                return Ok(Next::Waiting);
            }
            let database = self.find_database(&place.namespace, &object.spec.milvus.name).await?;
            let others = list_all_as::<MilvusCollection>(self.cluster.as_ref(), &place.namespace).await;
            let others = others.map_err(step("find the collections of"))?;
            let looked = self.look_at_collection(&object, &database).await;
            let (looked, away) = match looked {
                Ok(looked) => (looked, None),
                Err(wait) => (Looked::default(), Some(wait)),
            };
            let picture = CollectionPicture {
                object: &object,
                others: &others,
                held,
                database: database.database(),
                engine: away.map_or(Ok(looked.found.as_ref()), Err),
                aliases: &looked.aliases,
                nodes: &looked.nodes,
                now: (self.now)(),
            };
            let wait = match collection(&picture) {
                Step::Rest => None,
                Step::Wait(wait) => Some(wait),
                Step::Act(_) if round == MOST_STEPS => {
                    Some(Wait::new(Reason::Changing, "the engine is being told"))
                }
                Step::Act(CollectionAction::LetGo) if object.metadata.deletion_timestamp.is_some() => {
                    self.hold_collection(&object, false).await?;
                    return Ok(Next::Waiting);
                }
                Step::Act(action) => match self.act_on_collection(&object, &database, &action).await? {
                    None => continue,
                    refused => refused,
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

    async fn look_at_collection(&self, object: &MilvusCollection, database: &Found) -> Result<Looked, Wait> {
        if database.database() != Database::Here {
            return Err(Wait::new(Reason::EngineUnreachable, "there is no database that could be told"));
        }
        let door = self.door(database).await?;
        let within = object.database();
        let found = self.engine.collection(&door, within, &object.collection()).await;
        let mut looked = Looked { found: found.map_err(|error| unsaid(&error))?, ..Looked::default() };
        if looked.found.is_some() {
            for alias in &object.spec.aliases {
                let leads = self.engine.alias(&door, within, alias).await.map_err(|error| unsaid(&error))?;
                looked.aliases.extend(leads.map(|leads| (alias.clone(), leads)));
            }
        }
        if object.spec.policy != Some(Policy::Observe) && looked.found.is_some() {
            let groups = self.engine.groups(&door).await.map_err(|error| unsaid(&error))?;
            looked.nodes = groups.into_iter().map(|(name, group)| (name, group.nodes.len())).collect();
        }
        Ok(looked)
    }

    /// Does one step; answers with why the engine does not do it.
    async fn act_on_collection(
        &self,
        object: &MilvusCollection,
        database: &Found,
        action: &CollectionAction,
    ) -> Result<Option<Wait>, Error> {
        match action {
            CollectionAction::Hold => self.hold_collection(object, true).await?,
            CollectionAction::LetGo => self.hold_collection(object, false).await?,
            CollectionAction::Keep(kept) => self.write_kept(object, kept).await?,
            CollectionAction::Create(_)
            | CollectionAction::Drop
            | CollectionAction::SetProperties(_)
            | CollectionAction::DeleteProperties(_)
            | CollectionAction::CreateIndex(_)
            | CollectionAction::DropIndex(_)
            | CollectionAction::Load(_)
            | CollectionAction::Release
            | CollectionAction::CreateAlias(_)
            | CollectionAction::MoveAlias(_)
            | CollectionAction::DropAlias(_) => {
                return Ok(self.tell_of_collection(object, database, action).await.err());
            }
        }
        Ok(None)
    }

    async fn tell_of_collection(
        &self,
        object: &MilvusCollection,
        database: &Found,
        action: &CollectionAction,
    ) -> Result<(), Wait> {
        let door = self.door(database).await?;
        let name = object.collection();
        let of = Target { at: &door, database: object.database(), name: &name };
        let engine = self.engine.as_ref();
        let (told, reason) = match action {
            CollectionAction::Hold | CollectionAction::LetGo | CollectionAction::Keep(_) => return Ok(()),
            CollectionAction::Create(new) => (engine.create_collection(of, new).await, "CollectionMade"),
            CollectionAction::Drop => (engine.drop_collection(of).await, "CollectionDropped"),
            CollectionAction::SetProperties(set) => (engine.set_properties(of, set).await, "PropertiesSet"),
            CollectionAction::DeleteProperties(names) => {
                (engine.delete_properties(of, names).await, "PropertiesRemoved")
            }
            CollectionAction::CreateIndex(index) => (engine.create_index(of, index).await, "IndexMade"),
            CollectionAction::DropIndex(index) => (engine.drop_index(of, index).await, "IndexDropped"),
            CollectionAction::Load(groups) => {
                (engine.load(&door, of.database, of.name, groups).await, "CollectionLoaded")
            }
            CollectionAction::Release => {
                (engine.release(&door, of.database, of.name).await, "CollectionReleased")
            }
            CollectionAction::CreateAlias(alias) => {
                (engine.change_alias(of, alias, AliasChange::Create).await, "AliasMade")
            }
            CollectionAction::MoveAlias(alias) => {
                (engine.change_alias(of, alias, AliasChange::Move).await, "AliasMoved")
            }
            CollectionAction::DropAlias(alias) => {
                (engine.change_alias(of, alias, AliasChange::Drop).await, "AliasDropped")
            }
        };
        told.map_err(|error| unsaid(&error))?;
        self.did(object.object_ref(&()), reason, done(&name, action)).await;
        Ok(())
    }

    /// Writes down what the object takes in hand; all else of its status stays.
    async fn write_kept(&self, object: &MilvusCollection, kept: &Kept) -> Result<(), Error> {
        let mut status = object.status.clone().unwrap_or_default();
        status.kept = Some(kept.clone());
        let kind = ApiResource::erase::<MilvusCollection>(&());
        self.write_status(&kind, &place_of(object), json!(status)).await
    }

    /// Puts our finalizer on the object, or takes it away.
    async fn hold_collection(&self, object: &MilvusCollection, hold: bool) -> Result<(), Error> {
        let others = object.finalizers().iter().filter(|held| *held != names::COLLECTION_FINALIZER);
        let mut finalizers: Vec<String> = others.cloned().collect();
        if hold {
            finalizers.push(names::COLLECTION_FINALIZER.to_owned());
        }
        let version = object.resource_version().unwrap_or_default();
        let kind = ApiResource::erase::<MilvusCollection>(&());
        self.cluster
            .set_finalizers(&kind, &place_of(object), &version, &finalizers)
            .await
            .map_err(step("hold a collection of"))
    }
}

/// What was done, for an event.
fn done(name: &str, action: &CollectionAction) -> String {
    match action {
        CollectionAction::Hold | CollectionAction::LetGo | CollectionAction::Keep(_) => String::new(),
        CollectionAction::Create(_) => format!("collection {name} was made"),
        CollectionAction::Drop => format!("collection {name} was dropped, as spec.deletionPolicy says"),
        CollectionAction::SetProperties(set) => {
            let names: Vec<&str> = set.keys().map(String::as_str).collect();
            format!("collection {name} has other values of {}", names.join(", "))
        }
        CollectionAction::DeleteProperties(names) => {
            format!("collection {name} no longer has {}", names.join(", "))
        }
        CollectionAction::CreateIndex(index) => format!("index {} of {name} was made", index.name),
        CollectionAction::DropIndex(index) => format!("index {index} of {name} was dropped"),
        CollectionAction::Load(groups) => {
            format!("collection {name} is to have replicas in {}", groups.join(", "))
        }
        CollectionAction::Release => format!("collection {name} is to take no memory"),
        CollectionAction::CreateAlias(alias) => format!("alias {alias} of {name} was made"),
        CollectionAction::MoveAlias(alias) => format!("alias {alias} leads to {name} now"),
        CollectionAction::DropAlias(alias) => format!("alias {alias} of {name} was dropped"),
    }
}
