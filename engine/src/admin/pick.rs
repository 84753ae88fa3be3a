//! Which collections are meant, with what is sealed of them.

use std::sync::Arc;

use contract::admin::CollectionFilter;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::base::{CollectionId, Kind, Kinded as _};
use crate::model::ChannelManifest;
use crate::rpc::{CollectionInfo, CollectionRef, Coord, Error};

/// Questions to the coordinator at a time.
const AT_ONCE: usize = 16;
/// The database that is meant where none is named.
const DEFAULT_DATABASE: &str = "default";

/// The collection called `name`, by its name, alias or number.
pub(super) fn reference(database: &str, name: &str) -> CollectionRef {
    if let Ok(id) = name.parse() {
        return CollectionRef::Id(CollectionId(id));
    }
    let database = if database.is_empty() { DEFAULT_DATABASE } else { database };
    CollectionRef::Name { database: database.to_owned(), name: name.to_owned() }
}

/// The collections that a filter lets through, by database and age.
///
/// # Errors
/// `DatabaseNotFound`, `CollectionNotFound` for what the filter names.
pub(super) async fn collections(
    coord: &dyn Coord,
    filter: Option<CollectionFilter>,
) -> Result<Vec<Arc<CollectionInfo>>, Error> {
    let CollectionFilter { database, collection } = filter.unwrap_or_default();
    if !collection.is_empty() {
        return Ok(vec![coord.collection(reference(&database, &collection)).await?]);
    }
    if !database.is_empty() {
        return coord.collections(&database).await;
    }
    let mut all = Vec::new();
    for database in coord.databases().await? {
        all.extend(unless_gone(coord.collections(&database.name).await)?.unwrap_or_default());
    }
    Ok(all)
}

/// What `ask` answers about each collection, in their order.
///
/// # Errors
/// The first that `ask` fails with.
pub(super) async fn each<T, F>(
    infos: Vec<Arc<CollectionInfo>>,
    ask: impl Fn(Arc<CollectionInfo>) -> F,
) -> Result<Vec<T>, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    stream::iter(infos).map(ask).buffered(AT_ONCE).try_collect().await
}

/// What is sealed of a collection, nothing if it was dropped meanwhile; or what of that is damaged, in words.
pub(super) async fn sealed(
    coord: &dyn Coord,
    info: &CollectionInfo,
) -> Result<Result<Vec<Arc<ChannelManifest>>, String>, Error> {
    match coord.manifests(info.id).await {
        Err(Error::Failed { kind: Kind::Corrupt, reason, .. }) => Ok(Err(reason)),
        other => Ok(Ok(unless_gone(other)?.unwrap_or_default())),
    }
}

/// `None` for what was dropped between two questions.
pub(super) fn unless_gone<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Error::Refused(refusal)) if refusal.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
