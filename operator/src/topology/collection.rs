//! A collection: what is done next about it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::differ::{self, Difference, Part};
use super::fields::{fields_differ, spec_faults, wanted_schema};
use super::index::{definition, wanted_indexes};
use super::rivals::{kept, manages, older_rival, rivals};
use super::{
    Database, EngineAlias, EngineCollection, EngineIndex, Loading, NewCollection, Reason, Step, Wait,
};
use crate::crd::{CollectionFate, Kept, LoadState, MilvusCollection, Policy};

/// Everything that decides about a collection.
#[derive(Clone, Debug)]
pub struct CollectionPicture<'a> {
    /// The object, with its last status.
    pub object: &'a MilvusCollection,
    /// All objects of the namespace, this one too.
    pub others: &'a [MilvusCollection],
    /// Whether our finalizer holds it.
    pub held: bool,
    /// Its database.
    pub database: Database,
    /// The collection, `None` if there is none, or why it is not known.
    pub engine: Result<Option<&'a EngineCollection>, Wait>,
    /// Where the aliases lead that the spec lists; those that do not exist are not there.
    pub aliases: &'a BTreeMap<String, EngineAlias>,
    /// Query nodes in each group that the spec names; groups that do not exist are not there.
    pub nodes: &'a BTreeMap<String, usize>,
    /// The time now.
    pub now: Timestamp,
}

/// What is done next about a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionAction {
    /// The object is held by our finalizer.
    Hold,
    /// The object is let go.
    LetGo,
    /// This is what the object takes in hand; the status says so before it is done.
    Keep(Kept),
    /// The collection is made.
    Create(NewCollection),
    /// The collection is dropped, with its rows.
    Drop,
    /// These properties are set.
    SetProperties(BTreeMap<String, String>),
    /// These properties are removed.
    DeleteProperties(Vec<String>),
    /// An index is made.
    CreateIndex(EngineIndex),
    /// An index is dropped.
    DropIndex(String),
    /// All of it is in memory, once in each of these groups.
    Load(Vec<String>),
    /// It is no longer in memory.
    Release,
    /// An alias is made.
    CreateAlias(String),
    /// An alias that leads elsewhere leads here.
    MoveAlias(String),
    /// An alias is dropped.
    DropAlias(String),
}

/// The next step.
#[must_use]
pub fn collection(picture: &CollectionPicture<'_>) -> Step<CollectionAction> {
    match picture.object.metadata.deletion_timestamp {
        Some(_) => leave(picture),
        None => keep(picture).unwrap_or_else(Step::Wait),
    }
}

fn keep(picture: &CollectionPicture<'_>) -> Result<Step<CollectionAction>, Wait> {
    let object = picture.object;
    invalid(object).map_or(Ok(()), Err)?;
    picture.database.missing(&object.spec.milvus.name).map_or(Ok(()), Err)?;
    let found = picture.engine.clone()?;
    let managed = manages(object, found);
    let through_alias = found.is_some_and(|found| found.name != object.collection());
    let drops = drops(object) && managed && !through_alias;
    if picture.held && !drops {
        return Ok(Step::Act(CollectionAction::LetGo));
    }
    if !managed {
        return observe(picture, found);
    }
    if let Some(older) = older_rival(picture, found) {
        let message =
            format!("MilvusCollection {}, which is older, manages the collection", older.name_any());
        return Err(Wait::new(Reason::AnotherManages, message));
    }
    if drops && !picture.held {
        return Ok(Step::Act(CollectionAction::Hold));
    }
    match found {
        None => make(object),
        Some(found) if through_alias => by_alias(picture, found),
        Some(found) => manage(picture, found),
    }
}

/// Why the spec cannot be carried out, whatever there is.
pub(super) fn invalid(object: &MilvusCollection) -> Option<Wait> {
    let faults = spec_faults(object);
    (!faults.is_empty()).then(|| Wait::new(Reason::InvalidField, faults.join("; ")))
}

fn drops(object: &MilvusCollection) -> bool {
    object.spec.deletion_policy == Some(CollectionFate::Delete) && object.spec.policy != Some(Policy::Observe)
}

fn not_there(object: &MilvusCollection) -> Wait {
    let message = format!("there is no collection {} in database {}", object.collection(), object.database());
    Wait::new(Reason::CollectionNotFound, message)
}

/// A collection that does not exist: that it is about to be made is written down first.
fn make(object: &MilvusCollection) -> Result<Step<CollectionAction>, Wait> {
    let schema = object.spec.schema.as_ref().ok_or_else(|| not_there(object))?;
    let begun = Kept { made: true, ..listed(object) };
    if recorded(object) != Some(&begun) {
        return Ok(Step::Act(CollectionAction::Keep(begun)));
    }
    // What is wrong with it was said before.
    let wanted =
        wanted_schema(schema).map_err(|faults| Wait::new(Reason::InvalidField, faults.join("; ")))?;
    Ok(Step::Act(CollectionAction::Create(NewCollection {
        schema: wanted,
        shards: schema.shards.unwrap_or(1),
        partitions: schema.partitions.unwrap_or(0),
        consistency: schema.consistency.unwrap_or_default(),
        properties: differ::wanted_properties(object),
    })))
}

fn recorded(object: &MilvusCollection) -> Option<&Kept> {
    object.status.as_ref()?.kept.as_ref()
}

/// What the spec lists.
fn listed(object: &MilvusCollection) -> Kept {
    let sorted = |names: BTreeSet<String>| names.into_iter().collect();
    Kept {
        indexes: sorted(wanted_indexes(object).into_iter().map(|index| index.name).collect()),
        aliases: sorted(object.spec.aliases.iter().cloned().collect()),
        properties: sorted(object.spec.properties.keys().cloned().collect()),
        ..Kept::default()
    }
}

/// What the spec lists, and what it listed before and is still there.
fn taken_in_hand(object: &MilvusCollection, found: &EngineCollection, before: &Kept) -> Kept {
    let listed = listed(object);
    let all = |listed: Vec<String>, before: &[String], is_there: &dyn Fn(&String) -> bool| {
        let left = before.iter().filter(|name| is_there(name)).cloned();
        listed.into_iter().chain(left).collect::<BTreeSet<String>>().into_iter().collect()
    };
    Kept {
        id: before.id.clone(),
        made: before.made,
        indexes: all(listed.indexes, &before.indexes, &|name| {
            found.indexes.iter().any(|index| index.name == *name)
        }),
        aliases: all(listed.aliases, &before.aliases, &|name| found.aliases.contains(name)),
        properties: all(listed.properties, &before.properties, &|name| found.properties.contains_key(name)),
        definitions: before.definitions.clone(),
        letting_go: before.letting_go.clone(),
        reload: before.reload.clone(),
    }
}

/// Aliases that nobody lists any more, each since when.
fn let_go(
    picture: &CollectionPicture<'_>,
    found: &EngineCollection,
    kept: &Kept,
) -> BTreeMap<String, String> {
    let goes = differ::unlisted(picture, found, kept);
    let since = |alias: &String| {
        let known = kept.letting_go.get(alias).cloned();
        (alias.clone(), known.unwrap_or_else(|| picture.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
    };
    goes.map(since).collect()
}

/// Sentences about fields that are not those of the spec.
pub(super) fn drift(object: &MilvusCollection, found: &EngineCollection) -> Vec<String> {
    let wanted = object.spec.schema.as_ref().and_then(|schema| wanted_schema(schema).ok());
    wanted.map(|wanted| fields_differ(&wanted, &found.schema)).unwrap_or_default()
}

fn manage(picture: &CollectionPicture<'_>, found: &EngineCollection) -> Result<Step<CollectionAction>, Wait> {
    let object = picture.object;
    let load = differ::load_of(object);
    let drift = drift(object, found);
    let mut kept = taken_in_hand(object, found, &kept(object, found));
    kept.letting_go = let_go(picture, found, &kept);
    let index = if drift.is_empty() { differ::indexes(object, found, &kept) } else { Ok(None) };
    // Nothing is taken in hand that the engine would refuse.
    if let Err(wait) = &index
        && wait.reason == Reason::InvalidField
    {
        return Err(wait.clone());
    }
    kept.definitions.retain(|name, _| kept.indexes.contains(name));
    if let Ok(Some(Difference { action: CollectionAction::CreateIndex(index), .. })) = &index {
        kept.definitions.insert(index.name.clone(), definition(index));
    }
    let releases = matches!(&index, Ok(Some(Difference { action: CollectionAction::Release, .. })));
    if releases {
        whole(found, load.state)?;
        if load.state != Some(LoadState::Released) {
            kept.reload = differ::groups(found);
        }
    } else if found.loading != Loading::Not || load.state == Some(LoadState::Released) {
        kept.reload.clear();
    }
    if recorded(object) != Some(&kept) {
        return Ok(Step::Act(CollectionAction::Keep(kept)));
    }
    if drift.is_empty() {
        if let Some(difference) = differ::properties(object, found, &kept)? {
            return Ok(Step::Act(difference.action));
        }
        match &index {
            Ok(Some(difference)) => return Ok(Step::Act(difference.action.clone())),
            // What is in use stays as it is, and all else goes on.
            Err(wait) if wait.reason != Reason::IndexInUse => return Err(wait.clone()),
            Ok(None) | Err(_) => {}
        }
    }
    if let Some(step) = loads(picture, found, &kept)? {
        return Ok(step);
    }
    if !drift.is_empty() {
        let message = format!("{}; nothing but load is carried out, and no row is touched", drift.join("; "));
        return Err(Wait::new(Reason::SchemaDiffers, message));
    }
    if let Some(difference) = differ::aliases(picture, found, &kept)? {
        return Ok(Step::Act(difference.action));
    }
    index?;
    rest(found)
}

/// A collection of which only some partitions are loaded is not released for an index: they would not come back alone.
fn whole(found: &EngineCollection, state: Option<LoadState>) -> Result<(), Wait> {
    if state.is_none() && found.replicas.iter().any(|replica| replica.partial) {
        let message = "only some partitions are loaded, and the change of an index would load all: release them first, or say \
                       spec.load.state";
        return Err(Wait::new(Reason::LoadedInPart, message));
    }
    Ok(())
}

fn loads(
    picture: &CollectionPicture<'_>,
    found: &EngineCollection,
    kept: &Kept,
) -> Result<Option<Step<CollectionAction>>, Wait> {
    let Some(difference) = differ::load(&differ::load_of(picture.object), found, &kept.reload)? else {
        return Ok(None);
    };
    if let CollectionAction::Load(groups) = &difference.action {
        room(groups, picture.nodes)?;
    }
    Ok(Some(Step::Act(difference.action)))
}

/// What is named by an alias is loaded and released, and nothing else is done: the alias may lead elsewhere at any time.
fn by_alias(
    picture: &CollectionPicture<'_>,
    found: &EngineCollection,
) -> Result<Step<CollectionAction>, Wait> {
    if let Some(step) = loads(picture, found, &Kept::default())? {
        return Ok(step);
    }
    let spec = &picture.object.spec;
    let more = spec.schema.is_some()
        || !spec.indexes.is_empty()
        || !spec.aliases.is_empty()
        || !spec.properties.is_empty()
        || spec.deletion_policy == Some(CollectionFate::Delete);
    if more {
        let message = format!(
            "spec.name: {} is an alias of {}, through which nothing but load is carried out",
            picture.object.collection(),
            found.name
        );
        return Err(Wait::new(Reason::NamedByAlias, message));
    }
    rest(found)
}

fn rest(found: &EngineCollection) -> Result<Step<CollectionAction>, Wait> {
    match found.loading {
        Loading::Under(percent) => {
            let progress = || format!("{percent} % can be read from its replicas");
            Err(Wait::new(Reason::Loading, found.trouble.clone().unwrap_or_else(progress)))
        }
        Loading::Not | Loading::Done => Ok(Step::Rest),
    }
}

/// A collection that is only looked at: every difference is said.
fn observe(
    picture: &CollectionPicture<'_>,
    found: Option<&EngineCollection>,
) -> Result<Step<CollectionAction>, Wait> {
    let found = found.ok_or_else(|| not_there(picture.object))?;
    let said = differences(picture, found);
    if said.is_empty() { rest(found) } else { Err(Wait::new(Reason::Differs, said.join("; "))) }
}

/// How the collection differs from the spec, part by part.
pub(super) fn differences(picture: &CollectionPicture<'_>, found: &EngineCollection) -> Vec<String> {
    let object = picture.object;
    let kept = kept(object, found);
    let mut said = drift(object, found);
    let mut part = |part: Part| match part {
        Ok(None) => {}
        Ok(Some(difference)) => said.push(difference.said),
        Err(wait) => said.push(wait.message),
    };
    if found.name == object.collection() {
        part(differ::properties(object, found, &kept));
        part(differ::indexes(object, found, &kept));
        part(differ::aliases(picture, found, &kept));
    }
    part(differ::load(&differ::load_of(object), found, &kept.reload));
    said
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

/// An object that goes. Its collection goes with it only if it says so and the collection is its own alone: the very one that it
/// managed, under its own name, and that no other object manages.
fn leave(picture: &CollectionPicture<'_>) -> Step<CollectionAction> {
    let object = picture.object;
    if !picture.held {
        return Step::Rest;
    }
    let let_go = Step::Act(CollectionAction::LetGo);
    match picture.database {
        Database::Missing | Database::Leaving => return let_go,
        Database::NotTakenOver => {
            let wait = picture.database.missing(&object.spec.milvus.name);
            return wait.map_or(let_go, Step::Wait);
        }
        Database::Here => {}
    }
    let found = match picture.engine.clone() {
        Ok(None) => return let_go,
        Ok(Some(found)) => found,
        Err(wait) => return Step::Wait(wait),
    };
    let kept = kept(object, found);
    let its_own = found.name == object.collection() && recorded(object) == Some(&kept);
    if !drops(object)
        || !its_own
        || !manages(object, Some(found))
        || rivals(picture, Some(found)).any(|_| true)
    {
        return let_go;
    }
    match kept.aliases.iter().find(|alias| found.aliases.contains(alias)) {
        Some(alias) => Step::Act(CollectionAction::DropAlias(alias.clone())),
        None => Step::Act(CollectionAction::Drop),
    }
}
