//! Calls about collections.

use std::sync::Arc;
use std::time::Duration;

use contract::pb::common::{KeyValuePair, Status};
use contract::pb::milvus::{
    AlterCollectionFieldRequest, AlterCollectionRequest, BatchDescribeCollectionRequest,
    BatchDescribeCollectionResponse, BoolResponse, CreateCollectionRequest, DescribeCollectionRequest,
    DescribeCollectionResponse, DropCollectionRequest, GetCollectionStatisticsRequest,
    GetCollectionStatisticsResponse, HasCollectionRequest, RenameCollectionRequest, ShowCollectionsRequest,
    ShowCollectionsResponse, ShowType, TruncateCollectionRequest, TruncateCollectionResponse,
};
use futures::future::try_join_all;

use super::{Caller, models, rows};
use crate::base::{CollectionId, Kind, Kinded as _, PartitionId};
use crate::model::DataType;
use crate::proxy::convert::params;
use crate::proxy::convert::schema::{
    check_collection_name, check_one_ttl, check_properties, check_warmup, describe as describe_info,
    new_collection,
};
use crate::proxy::convert::search::QUERY_MODE;
use crate::proxy::convert::status::{failure, success};
use crate::proxy::convert::times::TIMEZONE;
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, CollectionChange, CollectionInfo, CollectionRef, Refusal, TTL, TTL_FIELD};

/// Attempts to seal all rows of a collection, while its channels move from one owner to another.
const SEALS: usize = 10;
/// The pause between them: long enough for routes to a new owner to come.
const SEAL_AGAIN: Duration = Duration::from_millis(200);

/// Makes a collection.
pub async fn create(
    proxy: &Proxy,
    caller: Caller,
    request: CreateCollectionRequest,
) -> Result<Status, Error> {
    let database = caller.database(&request.db_name);
    proxy.admit_one(&caller, Asked::Collection, About::database(&database))?;
    create_admitted(proxy, &caller, request).await
}

/// Makes a collection for a call that was let through.
pub(super) async fn create_admitted(
    proxy: &Proxy,
    caller: &Caller,
    request: CreateCollectionRequest,
) -> Result<Status, Error> {
    let database = caller.database(&request.db_name);
    let databases = proxy.coord().databases().await?;
    let named = databases.into_iter().find(|known| known.name == database);
    let properties = named.map(|known| known.properties).unwrap_or_default();
    let zone = properties.into_iter().find(|(key, _)| key == TIMEZONE).map(|(_, name)| name);
    let collection = new_collection(database, zone, request)?;
    models::check(proxy, &collection.schema).await?;
    proxy.coord().create_collection(collection).await?;
    Ok(success())
}

/// Drops a collection; one that does not exist is fine, and so is a database that does not.
pub async fn drop(proxy: &Proxy, caller: Caller, request: DropCollectionRequest) -> Result<Status, Error> {
    check_collection_name(&request.collection_name)?;
    let database = caller.database(&request.db_name);
    proxy.admit_one(&caller, Asked::Collection, About::database(&database))?;
    match proxy.coord().drop_collection(&database, &request.collection_name).await {
        Ok(())
        | Err(rpc::Error::Refused(Refusal::DatabaseNotFound { .. } | Refusal::CollectionNotFound { .. })) => {
            Ok(success())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether there is such a collection.
pub async fn has(
    proxy: &Proxy,
    caller: Caller,
    request: HasCollectionRequest,
) -> Result<BoolResponse, Error> {
    let value = match proxy.info(&caller, &request.db_name, &request.collection_name).await {
        Ok(_) => true,
        Err(Error::Peer(rpc::Error::Refused(Refusal::CollectionNotFound { .. }))) => false,
        Err(error) => return Err(error),
    };
    Ok(BoolResponse { status: Some(success()), value })
}

/// One collection by name, alias or id.
pub async fn describe(
    proxy: &Proxy,
    caller: Caller,
    request: DescribeCollectionRequest,
) -> Result<DescribeCollectionResponse, Error> {
    let info = if request.collection_name.is_empty() && request.collection_id != 0 {
        find(proxy, CollectionRef::Id(CollectionId(request.collection_id))).await?
    } else {
        find(proxy, caller.collection(&request.db_name, &request.collection_name)?).await?
    };
    Ok(describe_info(&info))
}

/// A collection that is to be described: its absence has words of its own, which clients look for.
async fn find(proxy: &Proxy, collection: CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
    proxy.coord().collection(collection).await.map_err(|error| match error {
        rpc::Error::Refused(Refusal::CollectionNotFound { database, collection }) => {
            Error::DescribeNotFound { database, collection }
        }
        other => other.into(),
    })
}

/// Several collections; each has a status of its own.
pub async fn batch_describe(
    proxy: &Proxy,
    caller: Caller,
    request: BatchDescribeCollectionRequest,
) -> Result<BatchDescribeCollectionResponse, Error> {
    let names = request.collection_name.iter().map(|name| caller.collection(&request.db_name, name));
    let ids = request.collection_id.iter().map(|id| Ok(CollectionRef::Id(CollectionId(*id))));
    let mut responses = Vec::new();
    for collection in names.chain(ids) {
        let found = match collection {
            Ok(collection) => find(proxy, collection).await,
            Err(error) => Err(error),
        };
        responses.push(match found {
            Ok(info) => describe_info(&info),
            Err(error) => DescribeCollectionResponse { status: Some(failure(&error)), ..Default::default() },
        });
    }
    Ok(BatchDescribeCollectionResponse { status: Some(success()), responses })
}

/// The collections of a database: all, or those that are loaded.
#[expect(deprecated, reason = "clients still send and read what newer ones leave out")]
pub async fn show(
    proxy: &Proxy,
    caller: Caller,
    request: ShowCollectionsRequest,
) -> Result<ShowCollectionsResponse, Error> {
    let in_memory = request.r#type == ShowType::InMemory as i32;
    let database = caller.database(&request.db_name);
    let view = proxy.visible(caller.login.as_ref()).await?;
    let collections = proxy.coord().collections(&database).await?;
    let shown = collections.iter().filter(|info| view.shows(&database, Some(&info.name)));
    let mut answer = ShowCollectionsResponse { status: Some(success()), ..Default::default() };
    for info in shown {
        if in_memory {
            if !request.collection_names.is_empty() && !request.collection_names.contains(&info.name) {
                continue;
            }
            let percent = match proxy.coord().load_progress(CollectionRef::Id(info.id)).await {
                // One that is damaged keeps the others from nobody.
                Err(error) if error.kind() == Kind::Corrupt => Some(0),
                progress => progress?,
            };
            let Some(percent) = percent else { continue };
            answer.in_memory_percentages.push(i64::from(percent));
            answer.query_service_available.push(percent == 100);
        }
        answer.collection_names.push(info.name.clone());
        answer.collection_ids.push(info.id.0);
        answer.created_timestamps.push(info.created.0);
        answer.created_utc_timestamps.push(info.created.unix_ms());
        answer.shards_num.push(i32::try_from(info.channels.len()).unwrap_or(i32::MAX));
    }
    Ok(answer)
}

/// Gives a collection another name, maybe in another database.
pub async fn rename(
    proxy: &Proxy,
    caller: Caller,
    request: RenameCollectionRequest,
) -> Result<Status, Error> {
    let collection = caller.collection_unchecked(&request.db_name, &request.old_name);
    check_collection_name(&request.new_name)?;
    let database =
        if request.new_db_name.is_empty() { caller.database(&request.db_name) } else { request.new_db_name };
    for of in [&caller.database(&request.db_name), &database] {
        proxy.admit_one(&caller, Asked::Alteration, About::database(of))?;
    }
    let change = CollectionChange::Rename { database, name: request.new_name };
    proxy.coord().alter_collection(collection, change).await?;
    Ok(success())
}

/// Sets or removes properties.
pub async fn alter(proxy: &Proxy, caller: Caller, request: AlterCollectionRequest) -> Result<Status, Error> {
    match (request.properties.is_empty(), request.delete_keys.is_empty()) {
        (true, true) => return Err(Error::NothingToAlter),
        (false, false) => return Err(Error::AlterBoth),
        _ => {}
    }
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Alteration, About::collection(&info))?;
    let change = if request.delete_keys.is_empty() {
        let set = params::pairs(request.properties);
        check_properties(&info.schema, &set)?;
        if set.iter().any(|(key, _)| [TTL, TTL_FIELD].contains(&key.as_str())) {
            check_one_ttl(&after(&info.properties, &set))?;
        }
        if set.iter().any(|(key, _)| key == "dynamicfield.enabled") {
            return Err(Error::AlterDynamic);
        }
        check_query_mode(&info, set.iter().map(|(key, _)| key.as_str()))?;
        check_not_loaded(&info, "alter", set.iter().map(|(key, _)| key.as_str()))?;
        CollectionChange::SetProperties(set)
    } else {
        if request.delete_keys.iter().any(|key| key == "dynamicfield.enabled") {
            return Err(Error::DeleteDynamic);
        }
        check_query_mode(&info, request.delete_keys.iter().map(String::as_str))?;
        check_not_loaded(&info, "delete", request.delete_keys.iter().map(String::as_str))?;
        CollectionChange::DeleteProperties(request.delete_keys)
    };
    proxy.coord().alter_collection(CollectionRef::Id(info.id), change).await?;
    Ok(success())
}

/// Properties once some have been set.
fn after(old: &[(String, String)], set: &[(String, String)]) -> Vec<(String, String)> {
    let is_kept = |(key, _): &&(String, String)| set.iter().all(|(other, _)| other != key);
    old.iter().filter(is_kept).chain(set).cloned().collect()
}

/// How a collection is queried decides in Milvus how its vectors are indexed.
fn check_query_mode<'a>(info: &CollectionInfo, mut keys: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let has_index = info.indexes.iter().any(|index| index.metric.is_some());
    if has_index && keys.any(|key| key == QUERY_MODE) { Err(Error::AlterQueryMode) } else { Ok(()) }
}

/// Properties that decide how data is held in memory stay as they are while it is held.
fn check_not_loaded<'a>(
    info: &CollectionInfo,
    verb: &'static str,
    mut keys: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    if info.load.is_none() {
        return Ok(());
    }
    let held = keys.find_map(|key| match key {
        "mmap.enabled" => Some("mmap"),
        key if key.starts_with("warmup.") => Some("warmup"),
        _ => None,
    });
    match held {
        Some(what) => Err(Error::AlterHeldLoaded { verb, what, collection: info.name.clone() }),
        None => Ok(()),
    }
}

/// Removes all rows, and keeps everything else. A row that is written meanwhile may stay or go.
pub async fn truncate(
    proxy: &Proxy,
    caller: Caller,
    request: TruncateCollectionRequest,
) -> Result<TruncateCollectionResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Truncate, About::collection(&info))?;
    // What is sealed goes in one step for every reader.
    seal_all(proxy, &info).await?;
    proxy.coord().alter_collection(CollectionRef::Id(info.id), CollectionChange::Truncate).await?;
    Ok(TruncateCollectionResponse { status: Some(success()) })
}

/// Seals every row that was acknowledged before. A flush alone may have gone to an owner that was replaced, which seals only
/// what it knows of.
async fn seal_all(proxy: &Proxy, info: &CollectionInfo) -> Result<(), Error> {
    // Only who owns the channel marks it, and all that was acknowledged lies before the mark.
    let marks = try_join_all(info.channels.iter().map(|channel| proxy.writer().mark(channel))).await?;
    for attempt in 0..SEALS {
        if attempt > 0 {
            proxy.clock().sleep(SEAL_AGAIN).await;
        }
        rows::seal(proxy, info).await?;
        let manifests = proxy.coord().manifests(info.id).await?;
        let mut sealed = manifests.iter().map(|manifest| manifest.checkpoint);
        if marks.iter().all(|mark| sealed.next().is_some_and(|checkpoint| checkpoint >= mark.end)) {
            return Ok(());
        }
    }
    let reason = format!("not all rows of {} could be sealed, nothing was removed, try again", info.name);
    Err(rpc::Error::Failed { call: "truncate collection", kind: Kind::Unavailable, reason }.into())
}

/// Sets or removes type parameters of a field.
pub async fn alter_field(
    proxy: &Proxy,
    caller: Caller,
    request: AlterCollectionFieldRequest,
) -> Result<Status, Error> {
    if request.properties.is_empty() && request.delete_keys.is_empty() {
        return Err(Error::NothingToAlter);
    }
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Alteration, About::collection(&info))?;
    let field = info.schema.field(&request.field_name);
    if field.is_none() && info.schema.struct_field(&request.field_name).is_none() {
        return Err(Error::AlteredField { field: request.field_name, collection: info.name.clone() });
    }
    let is_part = field.is_none_or(|field| info.schema.struct_of(field.id).is_some());
    for KeyValuePair { key, value } in &request.properties {
        if is_part && key == "max_capacity" {
            // The parts of a struct have one bound.
            return Err(Error::FixedFieldParam { key: key.clone() });
        }
        let data_type = field.map_or(DataType::Json, |field| field.data_type);
        check_field_param(data_type, &request.field_name, key, value)?;
    }
    // Without one of these nobody could read the rows that are there.
    let is_needed = |key: &&String| matches!(key.as_str(), "dim" | "max_length" | "max_capacity");
    if let Some(key) = request.delete_keys.iter().find(is_needed) {
        return Err(Error::FixedFieldParam { key: key.clone() });
    }
    let changed = request.properties.iter().map(|pair| &pair.key).chain(&request.delete_keys);
    for key in changed.filter(|_| info.load.is_some()) {
        match key.as_str() {
            "mmap.enabled" | "mmap_enabled" => {
                return Err(Error::AlterFieldLoaded { collection: info.name.clone() });
            }
            "warmup" => return Err(Error::AlterWarmupLoaded { collection: info.name.clone() }),
            _ => {}
        }
    }
    let change = CollectionChange::SetFieldParams {
        field: request.field_name,
        params: params::pairs(request.properties),
        removed: request.delete_keys,
    };
    proxy.coord().alter_collection(CollectionRef::Id(info.id), change).await?;
    Ok(success())
}

fn check_field_param(data_type: DataType, field: &str, key: &str, value: &str) -> Result<(), Error> {
    match key {
        "max_length" if data_type != DataType::VarChar => Err(Error::MaxLengthOfOther),
        "max_length" => match value.parse::<u32>() {
            Ok(1..=65_535) => Ok(()),
            _ => Err(Error::MaxLengthRange { field: field.to_owned(), value: value.to_owned() }),
        },
        "mmap.enabled" | "mmap_enabled" if params::boolean(value).is_none() => {
            Err(Error::MmapValue { value: value.to_owned() })
        }
        "max_capacity" if !matches!(value.parse::<u32>(), Ok(1..=4_096)) => {
            let text = "the maximum capacity specified for a Array should be in (0, 4096]: invalid parameter";
            Err(Error::Checked { code: 1100, text: text.to_owned() })
        }
        "warmup" => check_warmup(value),
        "mmap.enabled" | "mmap_enabled" | "field.skipLoad" | "max_capacity" | "field.description" => Ok(()),
        // Of a collection, and without meaning here, where Milvus takes them, too.
        other if other.starts_with("warmup.") => Ok(()),
        other => Err(Error::FixedFieldParam { key: other.to_owned() }),
    }
}

/// How many rows are stored in sealed segments, deleted ones included.
pub async fn statistics(
    proxy: &Proxy,
    caller: Caller,
    request: GetCollectionStatisticsRequest,
) -> Result<GetCollectionStatisticsResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let stats = row_count(stored_rows(proxy, info.id, None).await?);
    Ok(GetCollectionStatisticsResponse { status: Some(success()), stats })
}

/// Rows in the sealed segments of a collection, or of one partition of it.
pub async fn stored_rows(
    proxy: &Proxy,
    collection: CollectionId,
    partition: Option<PartitionId>,
) -> Result<u64, Error> {
    let channels = proxy.coord().manifests(collection).await?;
    let segments = channels.iter().flat_map(|channel| &channel.segments);
    Ok(segments
        .filter(|segment| partition.is_none_or(|id| segment.partition == id))
        .map(|segment| segment.rows)
        .sum())
}

/// The statistics that clients read.
pub fn row_count(rows: u64) -> Vec<KeyValuePair> {
    vec![KeyValuePair { key: "row_count".to_owned(), value: rows.to_string() }]
}
