//! How a collection differs from what its spec says, and what would be done about it, one part at a time.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::index::{definition, faults_with, is_as_wanted, wanted_indexes};
use super::rivals::{is_listed_elsewhere, older_holder};
use super::{
    CollectionAction, CollectionPicture, EngineCollection, EngineIndex, Loading, Reason, Wait, placement,
};
use crate::crd::{Kept, Load, LoadState, MilvusCollection, text_of};

/// How long an alias that nobody lists stays: two objects that hand it over are not changed at one instant. Unit: seconds.
const GRACE_SECONDS: i64 = 30;

/// What would be done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) action: CollectionAction,
    pub(super) said: String,
}

/// What comes of looking at one part: it is as it should be, or something would be done, or cannot be.
pub(super) type Part = Result<Option<Difference>, Wait>;

fn would(action: CollectionAction, said: impl Into<String>) -> Part {
    Ok(Some(Difference { action, said: said.into() }))
}

/// The properties that a spec wants.
pub(super) fn wanted_properties(object: &MilvusCollection) -> BTreeMap<String, String> {
    object.spec.properties.iter().map(|(key, value)| (key.clone(), text_of(value))).collect()
}

pub(super) fn properties(object: &MilvusCollection, found: &EngineCollection, kept: &Kept) -> Part {
    let wanted = wanted_properties(object);
    let differs = |(key, value): &(&String, &String)| found.properties.get(*key) != Some(*value);
    let set: BTreeMap<String, String> =
        wanted.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect();
    if !set.is_empty() {
        let names: Vec<&str> = set.keys().map(String::as_str).collect();
        let said = format!("properties {} are not as they should be", names.join(", "));
        return would(CollectionAction::SetProperties(set), said);
    }
    let old = |key: &&String| !wanted.contains_key(*key) && found.properties.contains_key(*key);
    let gone: Vec<String> = kept.properties.iter().filter(old).cloned().collect();
    if gone.is_empty() {
        return Ok(None);
    }
    let said = format!("properties {} are no longer listed", gone.join(", "));
    would(CollectionAction::DeleteProperties(gone), said)
}

/// Whether an index cannot go while its collection is in memory.
fn is_of_vector(index: &EngineIndex) -> bool {
    index.params.contains_key("metric_type")
}

/// Before anything is released or dropped for an index, nothing may be wrong with it. What is there as it should be is not asked.
fn check_definitions(wanted: &[EngineIndex], found: &EngineCollection) -> Result<(), Wait> {
    let is_there = |wanted: &EngineIndex| {
        found.indexes.iter().any(|index| index.name == wanted.name && is_as_wanted(index, wanted))
    };
    let changed = wanted.iter().filter(|wanted| !is_there(wanted));
    let faults: Vec<String> = changed.flat_map(|wanted| faults_with(wanted, &found.schema)).collect();
    if faults.is_empty() { Ok(()) } else { Err(Wait::new(Reason::InvalidField, faults.join("; "))) }
}

/// Indexes that go first, then those that come: a field has one at a time.
pub(super) fn indexes(object: &MilvusCollection, found: &EngineCollection, kept: &Kept) -> Part {
    let wanted = wanted_indexes(object);
    let is_loaded = found.loading != Loading::Not;
    let drop = |index: &EngineIndex, said: String| {
        let action = match is_loaded && is_of_vector(index) {
            true => CollectionAction::Release,
            false => CollectionAction::DropIndex(index.name.clone()),
        };
        would(action, said)
    };
    check_definitions(&wanted, found)?;
    for index in &found.indexes {
        let listed = wanted.iter().find(|wanted| wanted.name == index.name);
        match listed {
            Some(listed) if is_as_wanted(index, listed) => {}
            Some(listed) if kept.definitions.get(&index.name) == Some(&definition(listed)) => {
                let message = format!(
                    "index {} was made as spec.indexes[{}] says, and the engine has it as {}: it is not made again; list it as \
                     it is, or drop it",
                    index.name,
                    listed.field,
                    definition(index)
                );
                return Err(Wait::new(Reason::IndexDiffers, message));
            }
            Some(_) => return drop(index, format!("index {} has another definition", index.name)),
            None if kept.indexes.contains(&index.name) => {
                let follows = wanted.iter().any(|wanted| wanted.field == index.field);
                let released = load_of(object).state == Some(LoadState::Released);
                if is_loaded && is_of_vector(index) && !follows && !released {
                    let message = format!(
                        "index {} is no longer listed and goes once the collection is released, which it cannot be searched \
                         without",
                        index.name
                    );
                    return Err(Wait::new(Reason::IndexInUse, message));
                }
                return drop(index, format!("index {} is no longer listed", index.name));
            }
            None => {}
        }
    }
    let missing =
        wanted.into_iter().find(|wanted| found.indexes.iter().all(|index| index.name != wanted.name));
    let Some(missing) = missing else { return Ok(None) };
    if let Some(other) = found.indexes.iter().find(|index| index.field == missing.field) {
        let message = format!(
            "spec.indexes[{}]: the field has index {}, which is not this object's; give the index that name, or drop it",
            missing.field, other.name
        );
        return Err(Wait::new(Reason::IndexInTheWay, message));
    }
    let said = format!("there is no index {}", missing.name);
    would(CollectionAction::CreateIndex(missing), said)
}

/// The load of a spec.
pub(super) fn load_of(object: &MilvusCollection) -> Load {
    object.spec.load.clone().unwrap_or_default()
}

/// How what is in memory differs from what the spec says. `reload` is where it was before an index was changed.
pub(super) fn load(load: &Load, found: &EngineCollection, reload: &[String]) -> Part {
    let now = groups(found);
    let wanted = placement(load);
    let partial = found.replicas.iter().any(|replica| replica.partial);
    let place = |said: String, groups: Vec<String>| would(CollectionAction::Load(groups), said);
    match (found.loading, load.state) {
        (Loading::Not, Some(LoadState::Released)) => Ok(None),
        (Loading::Not, None) if reload.is_empty() => Ok(None),
        (Loading::Not, _) => {
            let default = || vec![contract::names::DEFAULT_RESOURCE_GROUP.to_owned()];
            let before = || if reload.is_empty() { default() } else { reload.to_vec() };
            place("the collection is not loaded".to_owned(), wanted.unwrap_or_else(before))
        }
        (_, Some(LoadState::Released)) => would(CollectionAction::Release, "the collection is loaded"),
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
pub(super) fn groups(found: &EngineCollection) -> Vec<String> {
    let mut groups: Vec<String> = found.replicas.iter().map(|replica| replica.group.clone()).collect();
    groups.sort();
    groups
}

pub(super) fn aliases(picture: &CollectionPicture<'_>, found: &EngineCollection, kept: &Kept) -> Part {
    let listed = &picture.object.spec.aliases;
    for alias in listed {
        let leads = picture.aliases.get(alias);
        if leads.is_some_and(|leads| leads.collection == found.name) {
            continue;
        }
        if let Some(other) = older_holder(picture, alias) {
            let message = format!(
                "spec.aliases: MilvusCollection {}, which is older, lists {alias} too",
                other.name_any()
            );
            return Err(Wait::new(Reason::AliasTaken, message));
        }
        let Some(leads) = leads else {
            return would(CollectionAction::CreateAlias(alias.clone()), format!("there is no alias {alias}"));
        };
        if leads.loaded && found.loading != Loading::Done {
            let message = format!(
                "alias {alias} leads to {}, which is loaded: it is moved once all of {} can be read",
                leads.collection, found.name
            );
            return Err(Wait::new(Reason::AliasWaits, message));
        }
        let said = format!("alias {alias} leads to {}", leads.collection);
        return would(CollectionAction::MoveAlias(alias.clone()), said);
    }
    let Some(alias) = unlisted(picture, found, kept).next() else { return Ok(None) };
    let since = kept.letting_go.get(alias).and_then(|since| since.parse::<Timestamp>().ok());
    match since {
        Some(since) if picture.now.as_second() < since.as_second() + GRACE_SECONDS => {
            let message = format!(
                "alias {alias} is no longer listed and goes {GRACE_SECONDS} s after {since}, unless another object lists it"
            );
            Err(Wait::new(Reason::AliasGoes, message))
        }
        Some(_) | None => {
            would(CollectionAction::DropAlias(alias.clone()), format!("alias {alias} is no longer listed"))
        }
    }
}

/// Aliases that were listed and lead here still, and that no object lists any more.
pub(super) fn unlisted<'a>(
    picture: &'a CollectionPicture<'_>,
    found: &'a EngineCollection,
    kept: &'a Kept,
) -> impl Iterator<Item = &'a String> {
    kept.aliases.iter().filter(|alias| {
        !picture.object.spec.aliases.contains(alias)
            && found.aliases.contains(alias)
            && !is_listed_elsewhere(picture, alias)
    })
}
