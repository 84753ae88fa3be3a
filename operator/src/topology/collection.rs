//! A collection: what the engine is told next about its replicas.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::told::{Standing, conditions};
use super::{Database, EngineCollection, EngineReplica, Loading, Reason, Step, Wait, placement};
use crate::crd::{
    Load, LoadState, LoadStatus, MilvusCollection, MilvusCollectionStatus, Policy, ReplicaStatus,
};

/// Everything that decides about a collection.
#[derive(Clone, Debug)]
pub struct CollectionPicture<'a> {
    /// The object, with its last status.
    pub object: &'a MilvusCollection,
    /// Its database.
    pub database: Database,
    /// The collection, `None` if there is none, or why it is not known.
    pub engine: Result<Option<&'a EngineCollection>, Wait>,
    /// Query nodes in each group that the spec names; groups that do not exist are not there.
    pub nodes: &'a BTreeMap<String, usize>,
}

/// What is done next about a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionAction {
    /// All of it is in memory, once in each of these groups.
    Load(Vec<String>),
    /// It is no longer in memory.
    Release,
}

/// The next step.
#[must_use]
pub fn collection(picture: &CollectionPicture<'_>) -> Step<CollectionAction> {
    decide(picture).unwrap_or_else(Step::Wait)
}

fn decide(picture: &CollectionPicture<'_>) -> Result<Step<CollectionAction>, Wait> {
    let object = picture.object;
    let milvus = &object.spec.milvus.name;
    match picture.database {
        Database::Here => {}
        Database::Missing => {
            let message = format!("spec.milvus.name: there is no Milvus {milvus}");
            return Err(Wait::new(Reason::MilvusNotFound, message));
        }
        Database::Leaving => {
            return Err(Wait::new(Reason::MilvusDeleting, format!("Milvus {milvus} is being deleted")));
        }
    }
    let Some(found) = picture.engine.clone()? else {
        let message =
            format!("there is no collection {} in database {}", object.collection(), object.database());
        return Err(Wait::new(Reason::CollectionNotFound, message));
    };
    let load = object.spec.load.clone().unwrap_or_default();
    match (difference(&load, found)?, object.spec.policy) {
        (Some(difference), Policy::Observe) => Err(Wait::new(Reason::Differs, difference.said)),
        (Some(Difference { action: CollectionAction::Load(groups), .. }), Policy::Manage) => {
            room(&groups, picture.nodes)?;
            Ok(Step::Act(CollectionAction::Load(groups)))
        }
        (Some(difference), Policy::Manage) => Ok(Step::Act(difference.action)),
        (None, _) => match found.loading {
            Loading::Under(percent) => {
                let progress = || format!("{percent} % can be read from its replicas");
                Err(Wait::new(Reason::Loading, found.trouble.clone().unwrap_or_else(progress)))
            }
            Loading::Not | Loading::Done => Ok(Step::Rest),
        },
    }
}

/// What would be done, and why.
struct Difference {
    action: CollectionAction,
    said: String,
}

/// How the engine differs from what the spec says, if it does.
fn difference(load: &Load, found: &EngineCollection) -> Result<Option<Difference>, Wait> {
    let now = groups(found);
    let wanted = placement(load);
    let partial = found.replicas.iter().any(|replica| replica.partial);
    let place = |said: String, groups: Vec<String>| {
        Ok(Some(Difference { action: CollectionAction::Load(groups), said }))
    };
    match (found.loading, load.state) {
        (Loading::Not, Some(LoadState::Loaded)) => {
            let default = || vec![contract::names::DEFAULT_RESOURCE_GROUP.to_owned()];
            place("the collection is not loaded".to_owned(), wanted.unwrap_or_else(default))
        }
        (Loading::Not, _) => Ok(None),
        (_, Some(LoadState::Released)) => Ok(Some(Difference {
            action: CollectionAction::Release,
            said: "the collection is loaded".to_owned(),
        })),
        (_, state) => match wanted {
            Some(wanted) if wanted != now && partial && state.is_none() => Err(Wait::new(
                Reason::LoadedInPart,
                "only some partitions are loaded, and another placement would load all: spec.load.state must be Loaded for it",
            )),
            Some(wanted) if wanted != now => {
                place(format!("replicas are in {}, not in {}", now.join(", "), wanted.join(", ")), wanted)
            }
            _ if partial && state == Some(LoadState::Loaded) => {
                place("only some partitions are loaded".to_owned(), now)
            }
            _ => Ok(None),
        },
    }
}

/// The group of each copy, sorted.
fn groups(found: &EngineCollection) -> Vec<String> {
    let mut groups: Vec<String> = found.replicas.iter().map(|replica| replica.group.clone()).collect();
    groups.sort();
    groups
}

/// Copies go only where query nodes are: what is read now stays until the new copies can be read.
fn room(groups: &[String], nodes: &BTreeMap<String, usize>) -> Result<(), Wait> {
    let mut wanted: BTreeMap<&str, usize> = BTreeMap::new();
    for group in groups {
        *wanted.entry(group).or_default() += 1;
    }
    for (group, copies) in wanted {
        match nodes.get(group) {
            None => {
                let message = format!("resource group {group} does not exist");
                return Err(Wait::new(Reason::GroupNotFound, message));
            }
            Some(there) if *there < copies => {
                let message = format!("resource group {group} has {there} query nodes for {copies} replicas");
                return Err(Wait::new(Reason::GroupTooSmall, message));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

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
    let load = object.spec.load.clone().unwrap_or_default();
    let in_sync = found.map(|found| matches!(difference(&load, found), Ok(None)));
    let standing = Standing {
        invalid: None,
        in_sync,
        wait,
        done: match found.map(|found| found.loading) {
            Some(Loading::Done) => "every replica can be read".to_owned(),
            _ => "the collection is not loaded".to_owned(),
        },
    };
    let unknown = picture.engine.is_err();
    MilvusCollectionStatus {
        conditions: conditions(&standing, &before.conditions, generation, now),
        id: if unknown { before.id } else { found.map(|found| found.id.to_string()) },
        load: if unknown { before.load } else { found.map(loaded) },
        observed_generation: generation,
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn object(policy: &str, load: Value) -> MilvusCollection {
        from_value(json!({
            "metadata": {"name": "rows", "generation": 2},
            "spec": {"milvus": {"name": "db"}, "policy": policy, "load": load},
        }))
        .unwrap()
    }

    fn found(loading: Loading, groups: &[&str]) -> EngineCollection {
        let replica = |(at, group): (i64, &&str)| EngineReplica {
            id: 10 + at,
            group: (*group).to_owned(),
            nodes: vec![at],
            followed: vec![true, at == 0],
            partial: false,
        };
        EngineCollection { id: 7, loading, trouble: None, replicas: (0..).zip(groups).map(replica).collect() }
    }

    fn decided(
        policy: &str,
        load: Value,
        found: &EngineCollection,
        nodes: &[(&str, usize)],
    ) -> Step<CollectionAction> {
        let nodes = nodes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let object = object(policy, load);
        collection(&CollectionPicture {
            object: &object,
            database: Database::Here,
            engine: Ok(Some(found)),
            nodes: &nodes,
        })
    }

    fn loads(groups: &[&str]) -> Step<CollectionAction> {
        Step::Act(CollectionAction::Load(groups.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn wait(reason: Reason, message: &str) -> Step<CollectionAction> {
        Step::Wait(Wait::new(reason, message))
    }

    #[test]
    fn replicas_go_where_the_spec_says_and_rest_there() {
        let load = json!({"replicas": 2, "resourceGroups": ["silver", "gold"]});
        let nodes = [("gold", 1), ("silver", 1)];
        let default = contract::names::DEFAULT_RESOURCE_GROUP;

        let from_default = decided("Manage", load.clone(), &found(Loading::Done, &[default]), &nodes);
        assert_eq!(from_default, loads(&["gold", "silver"]));
        let moving = decided("Manage", load.clone(), &found(Loading::Under(40), &["silver", "gold"]), &nodes);
        assert_eq!(moving, wait(Reason::Loading, "40 % can be read from its replicas"));
        let there = decided("Manage", load, &found(Loading::Done, &["gold", "silver"]), &nodes);
        assert_eq!(there, Step::Rest);
    }

    #[test]
    fn replicas_wait_for_groups_with_query_nodes() {
        let load = json!({"replicas": 2, "resourceGroups": ["gold"]});
        let here = found(Loading::Done, &["silver"]);

        let missing = wait(Reason::GroupNotFound, "resource group gold does not exist");
        assert_eq!(decided("Manage", load.clone(), &here, &[]), missing);
        let small = wait(Reason::GroupTooSmall, "resource group gold has 1 query nodes for 2 replicas");
        assert_eq!(decided("Manage", load.clone(), &here, &[("gold", 1)]), small);
        assert_eq!(decided("Manage", load, &here, &[("gold", 2)]), loads(&["gold", "gold"]));
    }

    #[test]
    fn an_observed_collection_is_never_changed() {
        let load = json!({"state": "Released"});

        let step = decided("Observe", load, &found(Loading::Done, &["gold"]), &[]);

        assert_eq!(step, wait(Reason::Differs, "the collection is loaded"));
    }

    #[test]
    fn whether_it_is_loaded_is_the_clients_choice_unless_the_spec_says_it() {
        let default = contract::names::DEFAULT_RESOURCE_GROUP;
        let (not, done) = (found(Loading::Not, &[]), found(Loading::Done, &["gold"]));
        let nodes = [(default, 1), ("gold", 1)];

        assert_eq!(decided("Manage", json!({"replicas": 1}), &not, &nodes), Step::Rest);
        assert_eq!(decided("Manage", json!({"state": "Loaded"}), &not, &nodes), loads(&[default]));
        assert_eq!(decided("Manage", json!({"state": "Loaded"}), &done, &nodes), Step::Rest);
        let released = Step::Act(CollectionAction::Release);
        assert_eq!(decided("Manage", json!({"state": "Released"}), &done, &nodes), released);
        assert_eq!(decided("Manage", json!({"state": "Released"}), &not, &nodes), Step::Rest);
    }

    #[test]
    fn partitions_that_nobody_asked_for_are_not_loaded_along_with_a_move() {
        let mut here = found(Loading::Done, &["silver"]);
        here.replicas[0].partial = true;
        let nodes = [("gold", 1), ("silver", 1)];

        let step = decided("Manage", json!({"resourceGroups": ["gold"]}), &here, &nodes);
        assert!(matches!(&step, Step::Wait(wait) if wait.reason == Reason::LoadedInPart), "{step:?}");
        let whole = decided("Manage", json!({"state": "Loaded"}), &here, &nodes);
        assert_eq!(whole, loads(&["silver"]));
    }

    #[test]
    fn a_status_shows_each_replica() {
        let object = object("Manage", json!({"resourceGroups": ["gold", "silver"]}));
        let found = found(Loading::Done, &["silver", "gold"]);
        let picture = CollectionPicture {
            object: &object,
            database: Database::Here,
            engine: Ok(Some(&found)),
            nodes: &BTreeMap::new(),
        };

        insta::assert_json_snapshot!(collection_status(&picture, None, Timestamp::UNIX_EPOCH));
    }
}
