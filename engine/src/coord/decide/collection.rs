//! Collections, their partitions and aliases.

use std::sync::Arc;

use super::garbage::leave;
use super::{Decision, merged};
use crate::base::{ChannelName, CollectionId, PartitionId, Timestamp};
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::coord::drive::Limits;
use crate::model::{ChannelManifest, Partition, SegmentManifest};
use crate::rpc::{AliasChange, CollectionChange, CollectionInfo, CollectionRef, NewCollection, Refusal};

/// Name of the partition that every collection has.
const DEFAULT_PARTITION: &str = "_default";

/// `fresh` is the first of as many unused numbers as the collection needs: one, and one per partition.
pub fn create_collection(
    catalog: &Catalog,
    limits: &Limits,
    wanted: &NewCollection,
    fresh: Timestamp,
) -> Decision {
    let database = catalog.database(&wanted.database)?;
    if let Some(existing) = catalog.named(database.id, &wanted.name) {
        let same = existing.name == wanted.name
            && *existing.schema == wanted.schema
            && existing.channels.len() == wanted.shards as usize
            && existing.properties == wanted.properties;
        let differs = || Refusal::CollectionDiffers { collection: wanted.name.clone() };
        return if same { Ok(Vec::new()) } else { Err(differs()) };
    }
    if catalog.collections.len() >= limits.collections {
        return Err(Refusal::TooManyCollections { limit: limits.collections });
    }
    let number = |offset: u64| Timestamp(fresh.0 + offset).as_id();
    let id = CollectionId(number(0));
    let partition = |offset: u32, name: String| Partition {
        id: PartitionId(number(1 + u64::from(offset))),
        name,
        created_unix_ms: fresh.unix_ms(),
    };
    let partitions = match wanted.partitions_by_key {
        0 => vec![partition(0, DEFAULT_PARTITION.to_owned())],
        count => (0..count).map(|at| partition(at, format!("{DEFAULT_PARTITION}_{at}"))).collect(),
    };
    Ok(vec![Change::PutCollection(CollectionInfo {
        id,
        name: wanted.name.clone(),
        database: database.id,
        database_name: database.name.clone(),
        schema: Arc::new(wanted.schema.clone()),
        channels: (0..wanted.shards).map(|shard| ChannelName::of(id, shard)).collect(),
        partitions,
        partitions_by_key: wanted.partitions_by_key,
        aliases: Vec::new(),
        properties: wanted.properties.clone(),
        consistency: wanted.consistency,
        created: fresh,
        updated: fresh,
        partitioned: fresh,
        indexes: Vec::new(),
        load: None,
    })])
}

pub fn drop_collection(catalog: &Catalog, database: &str, name: &str, fresh: Timestamp) -> Decision {
    // What is gone already was dropped: the call is idempotent, also for a database that is gone.
    let Ok(database) = catalog.database(database) else { return Ok(Vec::new()) };
    let Some(collection) = catalog.named(database.id, name) else { return Ok(Vec::new()) };
    if collection.name != name {
        return Err(Refusal::DropByAlias { alias: name.to_owned() });
    }
    if !collection.aliases.is_empty() {
        let aliases = collection.aliases.join(", ");
        return Err(Refusal::CollectionHasAliases { collection: name.to_owned(), aliases });
    }
    let objects = catalog.named_objects_of(collection.id).collect();
    let mut changes = vec![Change::RemoveCollection(CollectionInfo::clone(collection))];
    changes.extend(leave(collection.channels.clone(), objects, fresh));
    Ok(changes)
}

pub fn alter_collection(
    catalog: &Catalog,
    collection: &CollectionRef,
    change: &CollectionChange,
    now: Timestamp,
) -> Decision {
    let old = catalog.collection(collection)?;
    let mut new = CollectionInfo { updated: now, ..CollectionInfo::clone(old) };
    match change {
        CollectionChange::SetProperties(set) => new.properties = merged(&old.properties, set, &[]),
        CollectionChange::DeleteProperties(removed) => new.properties = merged(&old.properties, &[], removed),
        CollectionChange::Rename { database, name } => rename(catalog, collection, &mut new, database, name)?,
        CollectionChange::SetFieldParams { field, params, removed } => {
            let mut schema = new.schema.as_ref().clone();
            let not_found = || Refusal::Rule { text: format!("field not found[field={field}]") };
            let place = schema.fields.iter_mut().find(|known| &known.name == field).ok_or_else(not_found)?;
            place.type_params = merged(&place.type_params, params, removed);
            new.schema = Arc::new(schema);
        }
    }
    Ok(vec![Change::PutCollection(new)])
}

fn rename(
    catalog: &Catalog,
    collection: &CollectionRef,
    new: &mut CollectionInfo,
    database: &str,
    name: &str,
) -> Result<(), Refusal> {
    if let CollectionRef::Name { name: called, .. } = collection
        && *called != new.name
    {
        return Err(Refusal::RenameByAlias { alias: called.clone() });
    }
    let target = if database.is_empty() { &new.database_name } else { database };
    let target = catalog.database(target)?;
    if target.id == new.database && name == new.name {
        return Err(Refusal::RenameToItself);
    }
    if catalog.named(target.id, name).is_some() {
        return Err(Refusal::CollectionNameTaken { database: target.name.clone(), name: name.to_owned() });
    }
    if target.id != new.database && !new.aliases.is_empty() {
        let text =
            "fail to rename db name, must drop all aliases of this collection before rename".to_owned();
        return Err(Refusal::Rule { text });
    }
    new.database = target.id;
    new.database_name.clone_from(&target.name);
    name.clone_into(&mut new.name);
    Ok(())
}

pub fn create_partition(
    catalog: &Catalog,
    limits: &Limits,
    collection: &CollectionRef,
    name: &str,
    fresh: Timestamp,
) -> Decision {
    let old = catalog.collection(collection)?;
    if old.partition(name).is_some() {
        return Ok(Vec::new());
    }
    if old.partitions.len() >= limits.partitions {
        return Err(Refusal::TooManyPartitions { limit: limits.partitions, collection: old.name.clone() });
    }
    let mut new = CollectionInfo { partitioned: fresh, ..CollectionInfo::clone(old) };
    new.partitions.push(Partition {
        id: PartitionId(fresh.as_id()),
        name: name.to_owned(),
        created_unix_ms: fresh.unix_ms(),
    });
    Ok(vec![Change::PutCollection(new)])
}

pub fn drop_partition(
    catalog: &Catalog,
    collection: &CollectionRef,
    name: &str,
    fresh: Timestamp,
) -> Decision {
    let old = catalog.collection(collection)?;
    if name == DEFAULT_PARTITION {
        return Err(Refusal::DropDefaultPartition);
    }
    let Some(partition) = old.partition(name) else { return Ok(Vec::new()) };
    if let Some(load) = &old.load
        && load.partitions.as_ref().is_none_or(|loaded| loaded.contains(&partition.id))
    {
        return Err(Refusal::DropLoadedPartition);
    }
    let id = partition.id;
    let mut new = CollectionInfo { partitioned: fresh, ..CollectionInfo::clone(old) };
    new.partitions.retain(|known| known.id != id);
    let mut changes = vec![Change::PutCollection(new)];
    let mut objects = Vec::new();
    for (shard, manifest) in catalog.manifests.get(&old.id).into_iter().flatten().enumerate() {
        let mut kept = ChannelManifest::clone(manifest);
        kept.segments.retain(|segment| segment.partition != id);
        if kept.segments.len() < manifest.segments.len() {
            let gone = manifest.segments.iter().filter(|segment| segment.partition == id);
            objects.extend(gone.flat_map(SegmentManifest::objects));
            let channel = old.channels[shard].clone();
            changes.push(Change::PutManifest { collection: old.id, shard, channel, manifest: kept });
        }
    }
    changes.extend(leave(Vec::new(), objects, fresh));
    Ok(changes)
}

pub fn alter_alias(catalog: &Catalog, database: &str, alias: &str, change: &AliasChange) -> Decision {
    let database = catalog.database(database)?;
    let named = catalog.named(database.id, alias);
    let holder = named.filter(|holder| holder.name != alias);
    let not_found = || Refusal::AliasNotFound { database: database.name.clone(), alias: alias.to_owned() };
    let target = |name: &str| {
        catalog.named(database.id, name).filter(|target| target.name == name).ok_or_else(|| {
            Refusal::CollectionNotFound { database: database.name.clone(), collection: name.to_owned() }
        })
    };
    match change {
        AliasChange::Create { collection } => {
            if named.is_some_and(|named| named.name == alias) {
                return Err(Refusal::AliasIsCollection {
                    database: database.name.clone(),
                    alias: alias.to_owned(),
                });
            }
            let target = target(collection)?;
            match holder {
                Some(holder) if holder.id == target.id => Ok(Vec::new()),
                Some(holder) => Err(Refusal::AliasTaken {
                    database: database.name.clone(),
                    alias: alias.to_owned(),
                    collection: holder.name.clone(),
                }),
                None => Ok(vec![Change::PutCollection(with_alias(target, alias))]),
            }
        }
        AliasChange::Alter { collection } => {
            let holder = holder.ok_or_else(not_found)?;
            let target = target(collection)?;
            if holder.id == target.id {
                return Ok(Vec::new());
            }
            let moved = Change::PutCollection(with_alias(target, alias));
            Ok(vec![Change::PutCollection(without_alias(holder, alias)), moved])
        }
        AliasChange::Drop => {
            let holder = holder.ok_or_else(not_found)?;
            Ok(vec![Change::PutCollection(without_alias(holder, alias))])
        }
    }
}

fn with_alias(collection: &CollectionInfo, alias: &str) -> CollectionInfo {
    let mut new = collection.clone();
    new.aliases.push(alias.to_owned());
    new.aliases.sort();
    new
}

fn without_alias(collection: &CollectionInfo, alias: &str) -> CollectionInfo {
    let mut new = collection.clone();
    new.aliases.retain(|known| known != alias);
    new
}
