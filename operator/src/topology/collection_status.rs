//! What a `MilvusCollection` says of its collection.

use k8s_openapi::jiff::Timestamp;

use super::collection::{differences, invalid};
use super::rivals::{manages, older_rival};
use super::told::{Standing, conditions};
use super::{CollectionPicture, EngineCollection, EngineIndex, EngineReplica, Loading, Wait};
use crate::crd::{IndexStatus, LoadStatus, MilvusCollectionStatus, ReplicaStatus};

/// The status; `wait` is why all is not as it should be.
#[must_use]
pub fn collection_status(
    picture: &CollectionPicture<'_>,
    wait: Option<&Wait>,
    now: Timestamp,
) -> MilvusCollectionStatus {
    let object = picture.object;
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let found = picture.engine.as_ref().ok().copied().flatten();
    let invalid = invalid(object);
    let standing = Standing {
        invalid: invalid.as_ref(),
        in_sync: found.map(|found| differences(picture, found).is_empty()),
        wait,
        done: match found.map(|found| found.loading) {
            Some(Loading::Done) => "every replica can be read".to_owned(),
            _ => "the collection is not loaded".to_owned(),
        },
    };
    let conditions = conditions(&standing, &before.conditions, generation, now);
    // While the engine is away, what it said last is the best there is.
    if picture.engine.is_err() {
        return MilvusCollectionStatus { conditions, observed_generation: generation, ..before };
    }
    let managed = found
        .is_some_and(|found| manages(object, Some(found)) && older_rival(picture, Some(found)).is_none());
    MilvusCollectionStatus {
        conditions,
        id: found.map(|found| found.id.to_string()),
        collection: found.map(|found| found.name.clone()).filter(|name| *name != object.collection()),
        managed,
        indexes: found.into_iter().flat_map(|found| &found.indexes).map(index).collect(),
        aliases: found.map(|found| found.aliases.clone()).unwrap_or_default(),
        kept: before.kept,
        load: found.map(loaded),
        observed_generation: generation,
    }
}

fn index(found: &EngineIndex) -> IndexStatus {
    IndexStatus {
        name: found.name.clone(),
        field: found.field.clone(),
        kind: found.params.get("index_type").cloned().unwrap_or_default(),
    }
}

fn loaded(found: &EngineCollection) -> LoadStatus {
    let (state, percent) = match found.loading {
        Loading::Not => ("NotLoaded", 0),
        Loading::Under(percent) => ("Loading", percent),
        Loading::Done => ("Loaded", 100),
    };
    let mut replicas: Vec<ReplicaStatus> = found.replicas.iter().map(replica).collect();
    replicas.sort();
    LoadStatus {
        state: state.to_owned(),
        percent,
        replica_num: i32::try_from(replicas.len()).unwrap_or(i32::MAX),
        partial: found.replicas.iter().any(|replica| replica.partial),
        replicas,
    }
}

fn replica(found: &EngineReplica) -> ReplicaStatus {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    ReplicaStatus {
        resource_group: found.group.clone(),
        id: found.id.to_string(),
        nodes: found.nodes.clone(),
        shards: count(found.followed.len()),
        followed_shards: count(found.followed.iter().filter(|followed| **followed).count()),
    }
}
