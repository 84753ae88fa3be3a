//! `/v1/vector/…`: the API before version 2. Success is code 200, and collections have one vector.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use contract::pb::milvus::*;
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Map, Value as Json, json};

use super::create::{self, Short};
use super::{Data, Door, Version, Visit, answer, collections, data, entities, nothing, search};
use crate::proxy::access::table::Asks;
use crate::proxy::convert::json_schema::shown_field;
use crate::proxy::{Error, Proxy};

/// Milvus's names of the requests, in complaints about missing keys.
const CREATE: &str = "CreateCollectionReq";
const DESCRIBE: &str = "DescribeCollectionReq";
const SEARCH: &str = "SearchReq";
const DELETE: &str = "DeleteReq";

/// What the short form leaves open here.
const SHORT: Short = Short { metric: "L2", auto_id: true, names: ["primaryField", "vectorField"] };

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route(
            "/collections",
            get(handler!(V1, "RestListCollections", ShowCollectionsRequest, collections::list)),
        )
        .route(
            "/collections/describe",
            get(handler!(V1, "RestDescribeCollection", DescribeCollectionRequest, describe)),
        )
        .route(
            "/collections/create",
            post(handler!(V1, "RestCreateCollection", CreateCollectionRequest, create)),
        )
        .route(
            "/collections/drop",
            post(handler!(V1, "RestDropCollection", DropCollectionRequest, collections::drop)),
        )
        .route("/insert", post(handler!(V1, "RestInsert", InsertRequest, insert)))
        .route("/upsert", post(handler!(V1, "RestUpsert", UpsertRequest, upsert)))
        .route("/delete", post(handler!(V1, "RestDelete", DeleteRequest, delete)))
        .route("/get", post(handler!(V1, "RestGet", QueryRequest, get_rows)))
        .route("/query", post(handler!(V1, "RestQuery", QueryRequest, query)))
        .route("/search", post(handler!(V1, "RestSearch", SearchRequest, search)))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let name = visit.required(CREATE, "collectionName")?;
    let (schema, indexes) = create::short(&visit, &name, SHORT)?;
    create::make(proxy, visit, schema, indexes).await
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(DESCRIBE, "collectionName")?;
    let request =
        DescribeCollectionRequest { collection_name: collection_name.clone(), ..Default::default() };
    let shown = crate::proxy::api::collections::describe(proxy, visit.caller.clone(), request).await?;
    let indexes = collections::shown_indexes(proxy, &visit, &collection_name).await?;
    let load = collections::shown_load(proxy, &visit, collection_name).await?;
    let schema = shown.schema.unwrap_or_default();
    let field = |field: &contract::pb::schema::FieldSchema| {
        let all = shown_field(field);
        // This version puts the parameter that matters behind the type.
        let size = field.type_params.iter().find(|pair| pair.key == "dim" || pair.key == "max_length");
        let data_type = all.get("type").and_then(Json::as_str).unwrap_or_default();
        let data_type =
            size.map_or_else(|| data_type.to_owned(), |pair| format!("{data_type}({})", pair.value));
        json!({
            "name": field.name,
            "type": data_type,
            "primaryKey": field.is_primary_key,
            "autoId": field.auto_id,
            "description": field.description,
        })
    };
    Ok(data(json!({
        "collectionName": shown.collection_name,
        "description": schema.description,
        "fields": schema.fields.iter().map(field).collect::<Vec<_>>(),
        "indexes": indexes,
        "load": load,
        "shardsNum": shown.shards_num,
        "enableDynamicField": schema.enable_dynamic_field,
    })))
}

/// An answer of version 2 as this version has it: nothing but the data.
fn only_data(mut answer: Map<String, Json>) -> Map<String, Json> {
    answer.retain(|key, _| key == "data");
    answer
}

async fn insert(proxy: &Proxy, visit: Visit) -> Data {
    entities::insert(proxy, visit).await.map(only_data)
}

async fn upsert(proxy: &Proxy, visit: Visit) -> Data {
    entities::upsert(proxy, visit).await.map(only_data)
}

/// Rows by a filter, or by their keys.
async fn delete(proxy: &Proxy, mut visit: Visit) -> Data {
    let collection_name = visit.required(DELETE, "collectionName")?;
    if visit.text("filter").is_empty() {
        let ids = visit.body.get("id").ok_or_else(|| Error::missing(DELETE, "filter"))?;
        let ids = if ids.is_array() { ids.clone() } else { json!([ids]) };
        let (filter, (name, _)) = entities::by_keys(proxy, &visit, &collection_name, &ids).await?;
        visit.body.insert("filter".to_owned(), json!(filter));
        visit.body.insert("exprParams".to_owned(), json!({ name: ids }));
    }
    entities::delete(proxy, visit).await?;
    Ok(nothing())
}

async fn get_rows(proxy: &Proxy, visit: Visit) -> Data {
    entities::get(proxy, visit).await.map(only_data)
}

async fn query(proxy: &Proxy, visit: Visit) -> Data {
    entities::query(proxy, visit).await.map(only_data)
}

/// One vector is searched for.
async fn search(proxy: &Proxy, mut visit: Visit) -> Data {
    visit.required(SEARCH, "collectionName")?;
    let vector = visit.body.remove("vector").ok_or_else(|| Error::missing(SEARCH, "vector"))?;
    visit.body.insert("data".to_owned(), json!([vector]));
    if let Some(params) = visit.body.remove("params") {
        visit.body.insert("searchParams".to_owned(), json!({ "params": params }));
    }
    search::search(proxy, visit).await.map(only_data)
}
