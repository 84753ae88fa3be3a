//! A resource group: what the engine is told next, and when its pods may go.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::told::{Standing, conditions};
use super::{Database, EngineGroup, NodeClaims, Reason, Step, Wait, claims};
use crate::crd::{GroupCollection, MilvusResourceGroup, MilvusResourceGroupStatus};

/// The workload of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// Pods there should be.
    pub wanted: i32,
    /// Pods there are.
    pub total: i32,
    /// Pods that serve.
    pub ready: i32,
    /// Whether all is as its template says.
    pub complete: bool,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Selects the pods.
    pub selector: String,
}

/// Everything that decides about a group.
#[derive(Clone, Debug)]
pub struct GroupPicture<'a> {
    /// The object, with its last status.
    pub object: &'a MilvusResourceGroup,
    /// Whether our finalizer holds it.
    pub held: bool,
    /// Its database.
    pub database: Database,
    /// What is wrong with the spec: a sentence for each field.
    pub faults: &'a [String],
    /// Whether an older object is about the same group of the engine.
    pub taken: bool,
    /// Its workload; `None` while there is none.
    pub pods: Option<Pods>,
    /// All groups of the engine, or why they are not known.
    pub engine: Result<&'a BTreeMap<String, EngineGroup>, Wait>,
}

/// What is done next about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// The object is held by our finalizer.
    Hold,
    /// The engine gets the group.
    Create(NodeClaims),
    /// The group claims this instead.
    Update(NodeClaims),
    /// The pods end.
    RemovePods,
    /// The engine drops the group.
    Drop,
    /// The object is let go.
    Release,
}

/// The next step.
#[must_use]
pub fn group(picture: &GroupPicture<'_>) -> Step<GroupAction> {
    match picture.object.metadata.deletion_timestamp {
        Some(_) => leave(picture),
        None => keep(picture).unwrap_or_else(Step::Wait),
    }
}

fn keep(picture: &GroupPicture<'_>) -> Result<Step<GroupAction>, Wait> {
    invalid(picture).map_or(Ok(()), Err)?;
    let name = &picture.object.spec.milvus.name;
    picture.database.missing(name).map_or(Ok(()), Err)?;
    if !picture.held {
        return Ok(Step::Act(GroupAction::Hold));
    }
    let known = picture.engine.clone()?;
    let names: BTreeSet<&str> = known.keys().map(String::as_str).collect();
    let wanted = claims(picture.object, &names);
    let Some(found) = known.get(&picture.object.engine_name()) else {
        return Ok(Step::Act(GroupAction::Create(wanted)));
    };
    if found.claims != wanted {
        return Ok(Step::Act(GroupAction::Update(wanted)));
    }
    let spec = &picture.object.spec;
    let mut others = spec.transfer_from.iter().chain(&spec.transfer_to);
    if let Some(missing) = others.find(|name| !names.contains(name.as_str())) {
        let message = format!("resource group {missing}, which the spec names, does not exist");
        return Err(Wait::new(Reason::GroupNotFound, message));
    }
    serves(picture, found).map_or(Ok(Step::Rest), Err)
}

/// Why the group is not what it should be, although the engine was told.
fn serves(picture: &GroupPicture<'_>, found: &EngineGroup) -> Option<Wait> {
    let wanted = picture.object.replicas();
    let Some(pods) = &picture.pods else {
        return Some(Wait::new(Reason::PodsNotReady, "the pods are about to be made"));
    };
    if pods.wanted != wanted || !pods.complete {
        let message = format!("{} of {wanted} pods serve", pods.ready);
        return Some(Wait::new(Reason::PodsNotReady, message));
    }
    let nodes = i32::try_from(found.nodes.len()).unwrap_or(i32::MAX);
    let needed = wanted.max(found.claims.requests);
    if nodes < needed {
        let message = format!("{nodes} of {needed} query nodes are in the group");
        return Some(Wait::new(Reason::GroupTooSmall, message));
    }
    if nodes == 0 && !found.replicas.is_empty() {
        let message = format!("the group has no query node for replicas of {}", listed(found));
        return Some(Wait::new(Reason::GroupTooSmall, message));
    }
    None
}

/// A group goes when nothing is read from it: its claims first, so that nobody else's nodes take the places of its own, then
/// its pods, then the group.
fn leave(picture: &GroupPicture<'_>) -> Step<GroupAction> {
    if !picture.held {
        return Step::Rest;
    }
    // One that is held was made when its pods were ours: it goes once they are again.
    match picture.database {
        Database::NotTakenOver if !picture.taken => {
            let wait = picture.database.missing(&picture.object.spec.milvus.name);
            return wait.map_or(Step::Rest, Step::Wait);
        }
        Database::Here if !picture.taken => {}
        Database::Here | Database::NotTakenOver | Database::Missing | Database::Leaving => {
            return Step::Act(GroupAction::Release);
        }
    }
    let known = match picture.engine.clone() {
        Ok(known) => known,
        Err(wait) => return Step::Wait(wait),
    };
    let found = known.get(&picture.object.engine_name());
    if let Some(found) = found.filter(|found| !found.replicas.is_empty()) {
        let message = format!(
            "replicas of {} are in the group: it goes once they are moved or released",
            listed(found)
        );
        return Step::Wait(Wait::new(Reason::StillHoldsReplicas, message));
    }
    if found.is_some_and(|found| found.claims != NodeClaims::default()) {
        return Step::Act(GroupAction::Update(NodeClaims::default()));
    }
    match (&picture.pods, found) {
        (Some(pods), _) if pods.leaving => {
            Step::Wait(Wait::new(Reason::PodsNotReady, "waiting for the pods to hand over and to end"))
        }
        (Some(_), _) => Step::Act(GroupAction::RemovePods),
        (None, Some(_)) => Step::Act(GroupAction::Drop),
        (None, None) => Step::Act(GroupAction::Release),
    }
}

fn invalid(picture: &GroupPicture<'_>) -> Option<Wait> {
    let mut sentences = picture.faults.to_vec();
    if picture.taken {
        let name = picture.object.engine_name();
        sentences.push(format!("spec.name: an older object is about resource group {name}"));
    }
    (!sentences.is_empty()).then(|| Wait::new(Reason::InvalidField, sentences.join("; ")))
}

fn listed(found: &EngineGroup) -> String {
    found.replicas.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// The status after `step` was decided; `wait` is why it, or what it led to, is not done.
#[must_use]
pub fn group_status(
    picture: &GroupPicture<'_>,
    wait: Option<&Wait>,
    now: Timestamp,
) -> MilvusResourceGroupStatus {
    let before = picture.object.status.clone().unwrap_or_default();
    let generation = picture.object.metadata.generation;
    let found = picture.engine.as_ref().ok().and_then(|known| known.get(&picture.object.engine_name()));
    let found = found.filter(|_| !picture.taken);
    let invalid = invalid(picture);
    let in_sync = picture.engine.as_ref().ok().map(|known| {
        let names = known.keys().map(String::as_str).collect();
        found.is_some_and(|found| found.claims == claims(picture.object, &names))
    });
    let nodes = found.map(|found| i32::try_from(found.nodes.len()).unwrap_or(i32::MAX));
    let standing = Standing {
        invalid: invalid.as_ref(),
        in_sync,
        wait,
        done: format!("{} query nodes are in the group", nodes.unwrap_or(0)),
    };
    let unknown = picture.engine.is_err();
    MilvusResourceGroupStatus {
        conditions: conditions(&standing, &before.conditions, generation, now),
        // While the engine is away, what it said last is the best there is.
        nodes: match found {
            None if unknown => before.nodes,
            found => found.map(|found| found.nodes.clone()).unwrap_or_default(),
        },
        node_num: if unknown { before.node_num } else { nodes },
        collections: match found {
            None if unknown => before.collections,
            found => found.into_iter().flat_map(|found| &found.replicas).map(collection).collect(),
        },
        replicas: picture.pods.as_ref().map(|pods| pods.total),
        ready_replicas: picture.pods.as_ref().map(|pods| pods.ready),
        selector: picture.pods.as_ref().map(|pods| pods.selector.clone()),
        autoscaling: before.autoscaling,
        observed_generation: generation,
    }
}

fn collection((name, replicas): (&String, &i32)) -> GroupCollection {
    GroupCollection { name: name.clone(), replicas: *replicas }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::crd::GroupNode;

    fn object(spec: Value, deleting: bool) -> MilvusResourceGroup {
        let mut spec = spec;
        spec["milvus"] = json!({"name": "db"});
        let stamp = deleting.then_some("2026-01-01T00:00:00Z");
        from_value(json!({
            "metadata": {"name": "gold", "generation": 3, "deletionTimestamp": stamp}, "spec": spec,
        }))
        .unwrap()
    }

    fn pods(wanted: i32, ready: i32) -> Pods {
        Pods {
            wanted,
            total: ready,
            ready,
            complete: wanted == ready,
            leaving: false,
            selector: "a=b".into(),
        }
    }

    fn found(requests: i32, limits: i32, nodes: i64, replicas: &[&str]) -> EngineGroup {
        EngineGroup {
            claims: NodeClaims { requests, limits, ..NodeClaims::default() },
            nodes: (1..=nodes).map(|id| GroupNode { id, host: format!("pod-{id}") }).collect(),
            replicas: replicas.iter().map(|name| ((*name).to_owned(), 1)).collect(),
        }
    }

    fn engine(groups: &[(&str, EngineGroup)]) -> BTreeMap<String, EngineGroup> {
        groups.iter().map(|(name, group)| ((*name).to_owned(), group.clone())).collect()
    }

    fn picture<'a>(
        object: &'a MilvusResourceGroup,
        pods: Option<Pods>,
        engine: &'a BTreeMap<String, EngineGroup>,
    ) -> GroupPicture<'a> {
        GroupPicture {
            object,
            held: true,
            database: Database::Here,
            faults: &[],
            taken: false,
            pods,
            engine: Ok(engine),
        }
    }

    fn wait(reason: Reason, message: &str) -> Step<GroupAction> {
        Step::Wait(Wait::new(reason, message))
    }

    #[test]
    fn a_group_is_held_then_made_then_filled() {
        let object = object(json!({"replicas": 2}), false);
        let none = BTreeMap::new();
        let claims = NodeClaims { requests: 0, limits: 2, ..NodeClaims::default() };

        let free = GroupPicture { held: false, ..picture(&object, None, &none) };
        assert_eq!(group(&free), Step::Act(GroupAction::Hold));
        assert_eq!(group(&picture(&object, None, &none)), Step::Act(GroupAction::Create(claims)));
        let made = engine(&[("gold", found(0, 2, 0, &[]))]);
        let starting = wait(Reason::PodsNotReady, "the pods are about to be made");
        assert_eq!(group(&picture(&object, None, &made)), starting);
        let one = wait(Reason::PodsNotReady, "1 of 2 pods serve");
        assert_eq!(group(&picture(&object, Some(pods(2, 1)), &made)), one);
        let outside = wait(Reason::GroupTooSmall, "0 of 2 query nodes are in the group");
        assert_eq!(group(&picture(&object, Some(pods(2, 2)), &made)), outside);
        let full = engine(&[("gold", found(0, 2, 2, &[]))]);
        assert_eq!(group(&picture(&object, Some(pods(2, 2)), &full)), Step::Rest);
    }

    #[test]
    fn what_somebody_changed_in_the_engine_is_put_back() {
        let object =
            object(json!({"replicas": 1, "requests": {"nodeNum": 1}, "limits": {"nodeNum": 3}}), false);
        let drifted = engine(&[("gold", found(5, 9, 1, &[]))]);

        let step = group(&picture(&object, Some(pods(1, 1)), &drifted));

        let claims = NodeClaims { requests: 1, limits: 3, ..NodeClaims::default() };
        assert_eq!(step, Step::Act(GroupAction::Update(claims)));
    }

    #[test]
    fn two_groups_that_name_each_other_can_be_applied_in_any_order() {
        let object = object(json!({"replicas": 1, "transferFrom": ["silver"]}), false);
        let named = NodeClaims { limits: 1, transfer_from: vec!["silver".into()], ..NodeClaims::default() };

        let alone = engine(&[("gold", found(0, 1, 1, &[]))]);
        let waits =
            wait(Reason::GroupNotFound, "resource group silver, which the spec names, does not exist");
        assert_eq!(group(&picture(&object, Some(pods(1, 1)), &alone)), waits);
        let both = engine(&[("gold", found(0, 1, 1, &[])), ("silver", found(0, 1, 1, &[]))]);
        assert_eq!(group(&picture(&object, Some(pods(1, 1)), &both)), Step::Act(GroupAction::Update(named)));
    }

    #[test]
    fn a_deleted_group_waits_for_its_replicas_and_goes_pods_first() {
        let object = object(json!({"replicas": 1}), true);
        let full = engine(&[("gold", found(0, 1, 1, &["rows"]))]);
        let empty = engine(&[("gold", found(0, 1, 1, &[]))]);
        let unclaimed = engine(&[("gold", found(0, 0, 1, &[]))]);
        let gone = BTreeMap::new();
        let leaving = Some(Pods { leaving: true, ..pods(1, 1) });

        let holds = "replicas of rows are in the group: it goes once they are moved or released";
        let ending = "waiting for the pods to hand over and to end";
        let table = [
            (Some(pods(1, 1)), &full, wait(Reason::StillHoldsReplicas, holds)),
            (Some(pods(1, 1)), &empty, Step::Act(GroupAction::Update(NodeClaims::default()))),
            (Some(pods(1, 1)), &unclaimed, Step::Act(GroupAction::RemovePods)),
            (leaving, &unclaimed, wait(Reason::PodsNotReady, ending)),
            (None, &unclaimed, Step::Act(GroupAction::Drop)),
            (None, &gone, Step::Act(GroupAction::Release)),
        ];
        for (pods, engine, expected) in table {
            assert_eq!(group(&picture(&object, pods, engine)), expected);
        }
    }

    #[test]
    fn an_object_never_drops_the_group_of_an_older_one_nor_waits_for_a_database_that_goes() {
        let object = object(json!({}), true);
        let full = engine(&[("gold", found(0, 1, 1, &["rows"]))]);
        let taken = GroupPicture { taken: true, ..picture(&object, None, &full) };
        let leaving = GroupPicture { database: Database::Leaving, ..picture(&object, None, &full) };

        assert_eq!(group(&taken), Step::Act(GroupAction::Release));
        assert_eq!(group(&leaving), Step::Act(GroupAction::Release));
    }

    #[test]
    fn a_status_says_who_is_in_the_group_and_keeps_it_while_the_engine_is_away() {
        let mut object = object(json!({"replicas": 2}), false);
        let full = engine(&[("gold", found(0, 2, 2, &["rows"]))]);

        let status = group_status(&picture(&object, Some(pods(2, 2)), &full), None, Timestamp::UNIX_EPOCH);

        insta::assert_json_snapshot!(status);
        object.status = Some(status.clone());
        let away = Wait::new(Reason::EngineUnreachable, "no answer");
        let picture = GroupPicture { engine: Err(away.clone()), ..picture(&object, Some(pods(2, 2)), &full) };
        let later = group_status(&picture, Some(&away), Timestamp::UNIX_EPOCH);
        assert_eq!((later.nodes, later.collections), (status.nodes, status.collections));
    }
}
