//! Databases.

use super::{Decision, merged};
use crate::base::{DatabaseId, Timestamp};
use crate::coord::Limits;
use crate::coord::catalog::{Catalog, DEFAULT_DATABASE};
use crate::coord::change::Change;
use crate::rpc::{DatabaseInfo, Refusal};

pub fn create_database(
    catalog: &Catalog,
    limits: &Limits,
    name: &str,
    properties: Vec<(String, String)>,
    fresh: Timestamp,
) -> Decision {
    if catalog.databases.values().any(|database| database.name == name) {
        return Err(Refusal::DatabaseExists { database: name.to_owned() });
    }
    if catalog.databases.len() >= limits.databases {
        return Err(Refusal::TooManyDatabases { limit: limits.databases });
    }
    let id = DatabaseId(fresh.as_id());
    Ok(vec![Change::PutDatabase(DatabaseInfo { id, name: name.to_owned(), created: fresh, properties })])
}

pub fn drop_database(catalog: &Catalog, name: &str) -> Decision {
    if name == DEFAULT_DATABASE {
        return Err(Refusal::DropDefaultDatabase);
    }
    let database = catalog.database(name)?;
    if catalog.collections_of(database.id).next().is_some() {
        return Err(Refusal::DatabaseNotEmpty { database: name.to_owned() });
    }
    Ok(vec![Change::RemoveDatabase(database.id)])
}

pub fn alter_database(
    catalog: &Catalog,
    name: &str,
    set: &[(String, String)],
    removed: &[String],
) -> Decision {
    let database = catalog.database(name)?;
    let properties = merged(&database.properties, set, removed);
    Ok(vec![Change::PutDatabase(DatabaseInfo { properties, ..DatabaseInfo::clone(database) })])
}
