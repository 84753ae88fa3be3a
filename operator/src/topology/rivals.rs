//! Whose a collection is, and whose an alias, where several objects name one.

use kube::ResourceExt;

use super::fields::{fields_differ, wanted_schema};
use super::{CollectionPicture, EngineCollection};
use crate::crd::{Kept, MilvusCollection, Policy};

/// What an object has taken in hand of this very collection. What it had of another one of the same name is nobody's any more.
pub(super) fn kept(object: &MilvusCollection, found: &EngineCollection) -> Kept {
    let recorded = object.status.as_ref().and_then(|status| status.kept.clone()).unwrap_or_default();
    let id = found.id.to_string();
    match &recorded.id {
        Some(known) if *known == id => recorded,
        // It was being made, and this is what came of it, if it is what was asked for.
        None if recorded.made && is_of_spec(object, found) => Kept { id: Some(id), ..recorded },
        Some(_) | None => Kept { id: Some(id), ..Kept::default() },
    }
}

fn is_of_spec(object: &MilvusCollection, found: &EngineCollection) -> bool {
    let wanted = object.spec.schema.as_ref().and_then(|schema| wanted_schema(schema).ok());
    found.name == object.collection()
        && wanted.is_some_and(|wanted| fields_differ(&wanted, &found.schema).is_empty())
}

/// Whether an object is to change the collection, as far as it says itself; `None`: there is none yet.
pub(super) fn manages(object: &MilvusCollection, found: Option<&EngineCollection>) -> bool {
    match (object.spec.policy, found) {
        (Some(Policy::Manage), _) => true,
        (Some(Policy::Observe), _) => false,
        (None, None) => object.spec.schema.is_some(),
        (None, Some(found)) => kept(object, found).made,
    }
}

/// The other objects that manage the same collection of the same database: by its own name, or by one that leads to it.
pub(super) fn rivals<'a>(
    picture: &'a CollectionPicture<'_>,
    found: Option<&'a EngineCollection>,
) -> impl Iterator<Item = &'a MilvusCollection> {
    let own = picture.object.collection();
    others(picture).filter(move |other| {
        let name = other.collection();
        let leads = found.is_some_and(|found| found.name == name || found.aliases.contains(&name));
        (name == own || leads) && manages(other, found)
    })
}

/// The older object that manages the same collection, if there is one.
pub(super) fn older_rival<'a>(
    picture: &'a CollectionPicture<'_>,
    found: Option<&'a EngineCollection>,
) -> Option<&'a MilvusCollection> {
    rivals(picture, found).find(|other| age(other) < age(picture.object))
}

/// The older object that lists an alias and would move it, if there is one.
pub(super) fn older_holder<'a>(
    picture: &'a CollectionPicture<'_>,
    alias: &str,
) -> Option<&'a MilvusCollection> {
    let acts = |other: &MilvusCollection| {
        let managed = || other.status.as_ref().is_some_and(|status| status.managed);
        other.spec.policy.map_or_else(managed, |policy| policy == Policy::Manage)
    };
    others(picture).find(|other| {
        other.spec.aliases.iter().any(|listed| listed == alias)
            && acts(other)
            && age(other) < age(picture.object)
    })
}

/// Whether any other object lists an alias and may want to move it.
pub(super) fn is_listed_elsewhere(picture: &CollectionPicture<'_>, alias: &str) -> bool {
    others(picture).any(|other| {
        other.spec.policy != Some(Policy::Observe)
            && other.metadata.deletion_timestamp.is_none()
            && other.spec.aliases.iter().any(|listed| listed == alias)
    })
}

/// Other objects about the same database of the same cluster.
fn others<'a>(picture: &'a CollectionPicture<'_>) -> impl Iterator<Item = &'a MilvusCollection> {
    let object = picture.object;
    picture.others.iter().filter(move |other| {
        other.name_any() != object.name_any()
            && other.spec.milvus == object.spec.milvus
            && other.database() == object.database()
    })
}

fn age(object: &MilvusCollection) -> impl Ord + use<> {
    (object.metadata.creation_timestamp.as_ref().map(|made| made.0), object.name_any())
}
