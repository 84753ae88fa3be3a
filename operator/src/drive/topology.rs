//! What reconciles of resource groups and of collections share: their database, its engine, and how they end.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::doors::{Asked, Closed};
use super::{Driver, Error, Next, find, step};
use crate::cluster::{Note, Place};
use crate::crd::{Milvus, read};
use crate::engine_admin::{self, Door, Kind};
use crate::rollout::ForeignRelease;
use crate::topology::{Database, EngineGroup, Reason, Wait};

/// Steps of one reconcile. More are left to the next one.
pub(super) const MOST_STEPS: usize = 6;

/// The database that an object is about.
pub(super) struct Found {
    pub(super) milvus: Option<Milvus>,
    /// Whether its pods are those of another operator.
    foreign: bool,
}

impl Found {
    pub(super) fn database(&self) -> Database {
        match &self.milvus {
            None => Database::Missing,
            Some(milvus) if milvus.metadata.deletion_timestamp.is_some() => Database::Leaving,
            Some(_) if self.foreign => Database::NotTakenOver,
            Some(_) => Database::Here,
        }
    }
}

impl Driver {
    /// The `Milvus` of this name.
    pub(super) async fn find_database(&self, namespace: &str, name: &str) -> Result<Found, Error> {
        let kind = ApiResource::erase::<Milvus>(&());
        let found = self.cluster.get(&kind, &Place::new(namespace, name)).await.map_err(step("read"))?;
        let milvus = found.map(read).transpose().map_err(|source| Error::Read { source })?;
        let foreign = match &milvus {
            Some(milvus) => {
                ForeignRelease::of(&find::running(self.cluster.as_ref(), milvus).await?).is_some()
            }
            None => false,
        };
        Ok(Found { milvus, foreign })
    }

    /// Where its engine is told things.
    pub(super) async fn door(&self, found: &Found) -> Result<Door, Wait> {
        let unreachable = |message: String| Wait::new(Reason::EngineUnreachable, message);
        let Some(milvus) = &found.milvus else {
            return Err(unreachable("there is no database".to_owned()));
        };
        match self.doors(milvus, Asked::Milvus).await {
            Ok(Ok(doors)) => {
                let first = doors.each.into_iter().next();
                first.ok_or_else(|| unreachable("no pod serves that could be told".to_owned()))
            }
            Ok(Err(Closed::NotServing)) => Err(unreachable("no pod serves that could be told".to_owned())),
            Ok(Err(Closed::Unknown(why))) => Err(unreachable(why)),
            Err(error) => Err(unreachable(error.to_string())),
        }
    }

    /// All resource groups of its engine.
    pub(super) async fn groups_of(&self, found: &Found) -> Result<BTreeMap<String, EngineGroup>, Wait> {
        let door = self.door(found).await?;
        self.engine.groups(&door).await.map_err(|error| unsaid(&error))
    }

    /// Says what was done to the engine.
    pub(super) async fn did(&self, regarding: ObjectReference, reason: &str, message: String) {
        info!(%message, "told the engine");
        let note = Note {
            regarding,
            warning: false,
            reason: reason.to_owned(),
            action: "Reconcile".to_owned(),
            message,
        };
        if let Err(error) = self.cluster.publish(&note).await {
            warn!(%error, "an event was not published");
        }
    }

    /// Writes a status.
    pub(super) async fn write_status(
        &self,
        kind: &ApiResource,
        place: &Place,
        status: Value,
    ) -> Result<(), Error> {
        let mut object = DynamicObject::new(&place.name, kind).data(json!({"status": status}));
        object.metadata.namespace = Some(place.namespace.clone());
        self.cluster.apply_status(kind, &object).await.map_err(step("write the status beside"))
    }
}

/// Why the engine was not told, or does not take it.
pub(super) fn unsaid(error: &engine_admin::Error) -> Wait {
    let reason = match error.kind() {
        Kind::Unavailable => Reason::EngineUnreachable,
        Kind::Refused => Reason::EngineRefused,
    };
    Wait::new(reason, error.line())
}

/// When to look again: no watch tells what an engine does.
pub(super) const fn next(wait: Option<&Wait>) -> Next {
    match wait {
        None => Next::Relying,
        // The object of a collection that is moved may be applied right beside it.
        Some(Wait { reason: Reason::StillHoldsReplicas, .. }) => Next::Missing,
        Some(wait) if wait.reason.needs_somebody() => Next::Relying,
        Some(Wait {
            reason:
                Reason::Loading
                | Reason::Changing
                | Reason::GroupTooSmall
                | Reason::AliasWaits
                | Reason::AliasGoes,
            ..
        }) => Next::Following,
        Some(_) => Next::Missing,
    }
}

/// How an error names the object it is about.
pub(super) fn place_of(object: &impl ResourceExt) -> Place {
    Place::of(object.meta())
}
