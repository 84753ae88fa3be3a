//! `collections/…`: the REST form of the calls about collections. What makes one is in `create`, what changes its
//! schema in `schemas`.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::common::{ConsistencyLevel, KeyValuePair, LoadState};
use contract::pb::milvus::*;
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Map, Value as Json, json};

use super::indexes::{described, param};
use super::{Data, Door, Version, Visit, answer, compaction, create, data, nothing};
use crate::proxy::access::table::Asks;
use crate::proxy::api::{collections, load, rows};
use crate::proxy::convert::json_schema::{shown_field, shown_function, shown_pairs, shown_struct};
use crate::proxy::{Error, Proxy};

/// Milvus's names of the requests, in complaints about missing keys.
const COLLECTION: &str = "CollectionNameReq";
const RENAME: &str = "RenameCollectionReq";
const WITH_PROPERTIES: &str = "CollectionReqWithProperties";
const WITHOUT_PROPERTIES: &str = "DropCollectionPropertiesReq";
const FIELD: &str = "CollectionFieldReqWithParams";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/list", endpoint!("RestListCollections", ShowCollectionsRequest, list))
        .route("/has", endpoint!("RestHasCollection", HasCollectionRequest, has))
        .route("/describe", endpoint!("RestDescribeCollection", DescribeCollectionRequest, describe))
        .route("/get_stats", endpoint!("RestGetCollectionStats", GetCollectionStatisticsRequest, stats))
        .route("/get_load_state", endpoint!("RestGetLoadState", GetLoadStateRequest, load_state))
        .route("/create", endpoint!("RestCreateCollection", CreateCollectionRequest, create::create))
        .route("/drop", endpoint!("RestDropCollection", DropCollectionRequest, drop))
        .route("/rename", endpoint!("RestRenameCollection", RenameCollectionRequest, rename))
        .route("/load", endpoint!("RestLoadCollection", LoadCollectionRequest, load))
        .route("/refresh_load", endpoint!("RestRefreshLoad", LoadCollectionRequest, refresh_load))
        .route("/release", endpoint!("RestReleaseCollection", ReleaseCollectionRequest, release))
        .route("/flush", endpoint!("RestFlush", FlushRequest, flush))
        .route("/truncate", endpoint!("RestTruncateCollection", TruncateCollectionRequest, truncate))
        .route("/alter_properties", endpoint!("RestAlterCollection", AlterCollectionRequest, alter))
        .route("/drop_properties", endpoint!("RestAlterCollection", AlterCollectionRequest, drop_properties))
        .route(
            "/fields/alter_properties",
            endpoint!("RestAlterCollectionField", AlterCollectionFieldRequest, alter_field),
        )
        .route("/compact", endpoint!("RestCompact", ManualCompactionRequest, compaction::compact))
        .route(
            "/get_compaction_state",
            endpoint!("RestGetCompactionState", GetCompactionStateRequest, compaction::state),
        )
}

/// The names of the collections of a database.
pub async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let shown = collections::show(proxy, visit.caller, ShowCollectionsRequest::default()).await?;
    Ok(data(json!(shown.collection_names)))
}

async fn has(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = HasCollectionRequest { collection_name, ..Default::default() };
    Ok(data(json!({ "has": collections::has(proxy, visit.caller, request).await?.value })))
}

/// A collection with its indexes and whether it is in memory, as far as these may be seen.
pub async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request =
        DescribeCollectionRequest { collection_name: collection_name.clone(), ..Default::default() };
    let shown = collections::describe(proxy, visit.caller.clone(), request).await?;
    let indexes = shown_indexes(proxy, &visit, &collection_name).await?;
    let load = shown_load(proxy, &visit, collection_name).await?;
    let schema = shown.schema.unwrap_or_default();
    let level = ConsistencyLevel::try_from(shown.consistency_level).unwrap_or(ConsistencyLevel::Bounded);
    Ok(data(json!({
        "collectionName": shown.collection_name,
        "collectionID": shown.collection_id,
        "description": schema.description,
        "autoId": schema.fields.iter().any(|field| field.auto_id),
        "enableDynamicField": schema.enable_dynamic_field,
        "fields": schema.fields.iter().map(shown_field).collect::<Vec<_>>(),
        "structFields": schema.struct_array_fields.iter().map(shown_struct).collect::<Vec<_>>(),
        "functions": schema.functions.iter().map(shown_function).collect::<Vec<_>>(),
        "indexes": indexes,
        "load": load,
        "shardsNum": shown.shards_num,
        "partitionsNum": shown.num_partitions,
        "consistencyLevel": level.as_str_name(),
        "aliases": shown.aliases,
        "properties": shown_pairs(&shown.properties),
        "externalSource": "",
        "externalSpec": "",
    })))
}

/// The indexes of a collection, shown to who may see them.
pub async fn shown_indexes(proxy: &Proxy, visit: &Visit, name: &str) -> Result<Vec<Json>, Error> {
    let rule = DescribeIndexRequest::RULE;
    if !proxy.permits(&visit.caller, rule, visit.target(rule, true)).await {
        return Ok(Vec::new());
    }
    let indexes = described(proxy, visit, name.to_owned()).await?;
    let one = |index: &IndexDescription| {
        json!({
            "indexName": index.index_name,
            "fieldName": index.field_name,
            "metricType": param(index, "metric_type"),
        })
    };
    Ok(indexes.iter().map(one).collect())
}

/// Whether a collection is in memory, shown to who may see it.
pub async fn shown_load(proxy: &Proxy, visit: &Visit, collection_name: String) -> Result<String, Error> {
    let rule = GetLoadStateRequest::RULE;
    if !proxy.permits(&visit.caller, rule, visit.target(rule, true)).await {
        return Ok(String::new());
    }
    let request = GetLoadStateRequest { collection_name, ..Default::default() };
    let state = load::state(proxy, visit.caller.clone(), request).await?.state;
    Ok(LoadState::try_from(state).unwrap_or_default().as_str_name().to_owned())
}

async fn stats(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = GetCollectionStatisticsRequest { collection_name, ..Default::default() };
    Ok(row_count(&collections::statistics(proxy, visit.caller, request).await?.stats))
}

/// Statistics of the wire as REST shows them.
pub fn row_count(stats: &[KeyValuePair]) -> Map<String, Json> {
    let count = stats.iter().find(|pair| pair.key == "row_count");
    let count: i64 = count.and_then(|pair| pair.value.parse().ok()).unwrap_or_default();
    data(json!({ "rowCount": count }))
}

async fn load_state(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let partition_names = visit.texts("partitionNames");
    let request = GetLoadStateRequest {
        collection_name: collection_name.clone(),
        partition_names: partition_names.clone(),
        ..Default::default()
    };
    let state = load::state(proxy, visit.caller.clone(), request).await?.state;
    let state = LoadState::try_from(state).unwrap_or_default();
    let progress = if matches!(state, LoadState::Loading | LoadState::Loaded) {
        let request = GetLoadingProgressRequest { collection_name, partition_names, ..Default::default() };
        load::progress(proxy, visit.caller, request).await?.progress
    } else {
        0
    };
    Ok(data(json!({ "loadState": state.as_str_name(), "loadProgress": progress, "message": "" })))
}

/// Drops a collection.
pub async fn drop(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = DropCollectionRequest { collection_name, ..Default::default() };
    collections::drop(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn rename(proxy: &Proxy, visit: Visit) -> Data {
    let request = RenameCollectionRequest {
        old_name: visit.required(RENAME, "collectionName")?,
        new_name: visit.required(RENAME, "newCollectionName")?,
        new_db_name: visit.text("newDbName"),
        ..Default::default()
    };
    collections::rename(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn load(proxy: &Proxy, visit: Visit) -> Data {
    load_as(proxy, visit, false).await
}

async fn refresh_load(proxy: &Proxy, visit: Visit) -> Data {
    load_as(proxy, visit, true).await
}

async fn load_as(proxy: &Proxy, visit: Visit, refresh: bool) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = LoadCollectionRequest { collection_name, refresh, ..Default::default() };
    load::load(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn release(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = ReleaseCollectionRequest { collection_name, ..Default::default() };
    load::release(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn flush(proxy: &Proxy, visit: Visit) -> Data {
    let collection_names = vec![visit.required(COLLECTION, "collectionName")?];
    rows::flush(proxy, visit.caller, FlushRequest { collection_names, ..Default::default() }).await?;
    Ok(nothing())
}

async fn truncate(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = TruncateCollectionRequest { collection_name, ..Default::default() };
    collections::truncate(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn alter(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterCollectionRequest {
        collection_name: visit.required(WITH_PROPERTIES, "collectionName")?,
        properties: visit.required_pairs(WITH_PROPERTIES, "properties")?,
        ..Default::default()
    };
    collections::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_properties(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterCollectionRequest {
        collection_name: visit.required(WITHOUT_PROPERTIES, "collectionName")?,
        delete_keys: visit.required_texts(WITHOUT_PROPERTIES, "propertyKeys")?,
        ..Default::default()
    };
    collections::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn alter_field(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterCollectionFieldRequest {
        collection_name: visit.required(FIELD, "collectionName")?,
        field_name: visit.required(FIELD, "fieldName")?,
        properties: visit.pairs("fieldParams"),
        ..Default::default()
    };
    collections::alter_field(proxy, visit.caller, request).await?;
    Ok(nothing())
}
