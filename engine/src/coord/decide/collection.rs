//! Collections, their partitions and aliases.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compact::leaving;
use super::garbage::{leave, leave_held};
use super::schema::alter_schema;
use super::{Decision, merged};
use crate::base::{ChannelName, CollectionId, PartitionId, Timestamp};
use crate::coord::Limits;
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::{ChannelManifest, DeleteManifest, Partition, SegmentManifest};
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
    let channels: Vec<ChannelName> = (0..wanted.shards).map(|shard| ChannelName::of(id, shard)).collect();
    // From the beginning, so that one that is gone is not taken for that of an empty channel.
    let manifests = channels.iter().enumerate().map(|(shard, channel)| Change::PutManifest {
        collection: id,
        shard,
        channel: channel.clone(),
        manifest: ChannelManifest::default(),
    });
    let manifests: Vec<Change> = manifests.collect();
    let mut changes = vec![Change::PutCollection(CollectionInfo {
        id,
        name: wanted.name.clone(),
        database: database.id,
        database_name: database.name.clone(),
        schema: Arc::new(wanted.schema.clone()),
        channels,
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
        recorded: true,
    })];
    changes.extend(manifests);
    Ok(changes)
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

/// - `now`: an unused number.
/// - `not_before_unix_ms`: nobody who comes after this needs what goes with a field.
pub fn alter_collection(
    catalog: &Catalog,
    collection: &CollectionRef,
    change: &CollectionChange,
    now: Timestamp,
    not_before_unix_ms: u64,
) -> Decision {
    let old = catalog.collection(collection)?;
    let mut new = CollectionInfo { updated: now, ..CollectionInfo::clone(old) };
    match change {
        CollectionChange::SetProperties(set) => new.properties = merged(&old.properties, set, &[]),
        CollectionChange::DeleteProperties(removed) => new.properties = merged(&old.properties, &[], removed),
        CollectionChange::Rename { database, name } => rename(catalog, collection, &mut new, database, name)?,
        CollectionChange::AddField { .. }
        | CollectionChange::AddStruct { .. }
        | CollectionChange::DropField { .. }
        | CollectionChange::AddFunction { .. }
        | CollectionChange::AlterFunction { .. }
        | CollectionChange::DropFunction { .. } => {
            return alter_schema(catalog, old, change, now, not_before_unix_ms);
        }
        // See [`truncate_collection`].
        CollectionChange::Truncate => return Ok(Vec::new()),
        CollectionChange::SetFieldParams { field, params, removed } => {
            let mut schema = new.schema.as_ref().clone();
            let not_found = || Refusal::Rule { text: format!("field not found[field={field}]") };
            let of_fields = schema.fields.iter_mut().map(|known| (&known.name, &mut known.type_params));
            let of_structs = schema.structs.iter_mut().map(|known| (&known.name, &mut known.type_params));
            let place = of_fields.chain(of_structs).find(|(name, _)| *name == field);
            let (_, type_params) = place.ok_or_else(not_found)?;
            *type_params = merged(type_params, params, removed);
            new.schema = Arc::new(schema);
        }
    }
    Ok(vec![Change::PutCollection(new)])
}

/// Drops all sealed rows of a collection at once. What is not sealed stays, so whoever asks has it sealed first.
///
/// - `fresh`: an unused number.
/// - `not_before_unix_ms`: nobody who comes after this needs the objects.
pub fn truncate_collection(
    catalog: &Catalog,
    collection: &CollectionRef,
    fresh: Timestamp,
    not_before_unix_ms: u64,
) -> Decision {
    let info = catalog.collection(collection)?;
    let kept_from = super::deletes_kept_from(catalog, info.id);
    let (mut changes, mut gone, mut objects) = (Vec::new(), Vec::new(), Vec::new());
    for (shard, manifest) in catalog.manifests.get(&info.id).into_iter().flatten().enumerate() {
        if manifest.segments.is_empty() {
            continue;
        }
        gone.extend(manifest.segments.iter().cloned());
        // One file of deletes stays, if there is one: it tells how new the channel is.
        let kept = manifest.deletes.iter().max_by_key(|file| file.newest).cloned();
        // So do those that rows to come will need.
        let is_needed = |file: &DeleteManifest| kept_from.is_some_and(|from| file.newest >= from);
        let is_gone = |file: &&DeleteManifest| kept.as_ref() != Some(*file) && !is_needed(file);
        objects.extend(manifest.deletes.iter().filter(is_gone).map(|file| file.object.key.clone()));
        let manifest = ChannelManifest {
            checkpoint: manifest.checkpoint,
            segments: Vec::new(),
            expired_through: manifest.expired_through,
            history_from: fresh.max(manifest.history_from),
            named_through: manifest.named_through,
            emptied: manifest.newest(),
            deletes: manifest.deletes.iter().filter(|file| !is_gone(file)).cloned().collect(),
        };
        let channel = info.channels[shard].clone();
        changes.push(Change::PutManifest { collection: info.id, shard, channel, manifest });
    }
    // Who still holds a segment that was replaced before may need the files to load it.
    let earlier = if objects.is_empty() { BTreeSet::new() } else { leaving(catalog, info.id) };
    let mut left = leave_held(info.id, &gone, objects, fresh, not_before_unix_ms);
    if let Some(Change::PutGarbage(record)) = &mut left {
        record.segments.extend(&earlier);
    }
    changes.extend(left);
    Ok(changes)
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
        // Also where all its rows are in the log still: the next flush leaves them out.
        kept.pin_history(fresh);
        kept.segments.retain(|segment| segment.partition != id);
        let gone = manifest.segments.iter().filter(|segment| segment.partition == id);
        objects.extend(gone.flat_map(SegmentManifest::objects));
        let channel = old.channels[shard].clone();
        changes.push(Change::PutManifest { collection: old.id, shard, channel, manifest: kept });
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

#[cfg(test)]
mod tests {
    use super::super::compact::tests::{catalog, file, info, segment};
    use super::*;
    use crate::base::{FieldId, Position, SegmentId};
    use crate::model::fixture::schema_of;
    use crate::model::{DYNAMIC_FIELD, DataType, Field, Schema};

    fn field(id: i64, name: &str) -> Field {
        Field {
            id: FieldId(id),
            name: name.to_owned(),
            description: String::new(),
            data_type: DataType::Int64,
            is_primary: id == 100,
            auto_id: false,
            is_dynamic: name == DYNAMIC_FIELD,
            nullable: id != 100,
            default: None,
            is_partition_key: false,
            is_clustering_key: false,
            type_params: Vec::new(),
        }
    }

    #[test]
    fn a_field_is_added_before_the_hidden_one_under_a_number_of_its_own() {
        let mut info = info(&[1]);
        let fields = vec![field(100, "id"), field(101, DYNAMIC_FIELD)];
        info.schema = Arc::new(Schema { enable_dynamic_field: true, ..schema_of(fields) });
        let id = CollectionRef::Id(info.id);
        let mut catalog = Catalog::default();
        catalog.apply(Change::PutCollection(info));
        let mut add = |name: &str| {
            let change = CollectionChange::AddField { field: field(0, name) };
            let changes = alter_collection(&catalog, &id, &change, Timestamp(7), 0)?;
            changes.into_iter().for_each(|change| catalog.apply(change));
            Ok(catalog.collection(&id)?.clone())
        };

        let added = add("a").and_then(|_| add("b")).unwrap();
        let fields: Vec<_> =
            added.schema.fields.iter().map(|field| (field.id.0, field.name.as_str())).collect();
        assert_eq!(fields, [(100, "id"), (102, "a"), (103, "b"), (101, DYNAMIC_FIELD)]);
        assert_eq!(added.updated, Timestamp(7), "clients see that their schema is old");
        let refused: Refusal = add("a").unwrap_err();
        assert_eq!(refused, Refusal::Rule { text: "duplicated field name a".to_owned() });
    }

    #[test]
    fn truncating_leaves_the_collection_and_what_tells_how_new_the_channel_is() {
        let manifest = ChannelManifest {
            checkpoint: Position(77),
            segments: vec![segment(5, 10, 100), segment(6, 20, 200)],
            deletes: vec![file(300, 1), file(250, 1)],
            ..ChannelManifest::default()
        };
        let old = catalog(&[1], manifest.clone());
        let id = CollectionRef::Id(info(&[1]).id);

        let changes = truncate_collection(&old, &id, Timestamp(500), 60_000).unwrap();

        let kept = ChannelManifest {
            segments: Vec::new(),
            deletes: vec![file(300, 1)],
            history_from: Timestamp(500),
            emptied: Timestamp(300),
            ..manifest.clone()
        };
        let channel = ChannelName::of(info(&[1]).id, 0);
        let [Change::PutManifest { channel: put, manifest: left, .. }, Change::PutGarbage(garbage)] =
            &changes[..]
        else {
            panic!("{changes:?}")
        };
        assert_eq!((put, left), (&channel, &kept));
        let mut objects: Vec<String> = manifest.segments.iter().flat_map(SegmentManifest::objects).collect();
        objects.push(manifest.deletes[1].object.key.clone());
        assert_eq!((&garbage.objects, garbage.not_before_unix_ms), (&objects, 60_000));
        assert_eq!(garbage.segments, manifest.segments.iter().map(|segment| segment.id).collect::<Vec<_>>());
        let mut new = old;
        changes.into_iter().for_each(|change| new.apply(change));
        assert_eq!(
            truncate_collection(&new, &id, Timestamp(501), 0),
            Ok(Vec::new()),
            "nothing is left to do"
        );
    }
    #[test]
    fn delete_files_that_are_truncated_stay_while_an_earlier_segment_may_need_them() {
        let manifest = ChannelManifest {
            checkpoint: Position(77),
            segments: vec![segment(5, 10, 100)],
            deletes: vec![file(300, 1), file(250, 1)],
            ..ChannelManifest::default()
        };
        let mut catalog = catalog(&[1], manifest);
        let id = info(&[1]).id;
        let left = leave_held(id, &[segment(3, 10, 50)], Vec::new(), Timestamp(400), 0).unwrap();
        catalog.apply(left);
        let elsewhere = leave_held(CollectionId(2), &[segment(4, 10, 50)], Vec::new(), Timestamp(401), 0);
        catalog.apply(elsewhere.unwrap());

        let changes = truncate_collection(&catalog, &CollectionRef::Id(id), Timestamp(500), 0).unwrap();

        let Some(Change::PutGarbage(garbage)) = changes.last() else { panic!("{changes:?}") };
        assert_eq!(garbage.objects.last(), Some(&file(250, 1).object.key));
        assert_eq!(garbage.segments, [SegmentId(5), SegmentId(3)]);
    }
}
