//! `/api/v1/…`: what Milvus once had on the port for operators, here on the port of clients and behind the same checks.
//!
//! Takes the messages of gRPC as JSON, and the shorter form that a guide shows: names of types, `params`, `limit`. Answers as Go
//! prints the messages: what is empty is left out. A failure is `{error_code, reason, code}`.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::pb::common::KeyValuePair;
use contract::pb::milvus::*;
use contract::pb::schema::{
    CollectionSchema, DataType, FieldData, FieldSchema, IDs, field_data, i_ds, scalar_field, vector_field,
};
use http::{Extensions, HeaderMap, Uri};
use prost::Message as _;
use serde_json::{Map, Value as Json, json};

use super::search::{self, pair, searched};
use super::{Data, Door, Version, Visit, answer};
use crate::intake::Error as Rejected;
use crate::proxy::access::table::Asks;
use crate::proxy::api::{collections, index, load, reads, rows, search as searches};
use crate::proxy::convert::json::singles;
use crate::proxy::convert::json_rows::{Rows, columns};
use crate::proxy::convert::json_schema::{flag, pairs, shown_pairs};
use crate::proxy::convert::params::{plain, shown};
use crate::proxy::convert::{arrays, json};
use crate::proxy::{Error, Proxy};

/// Longest name of a field. Unit: bytes.
const MOST_NAME: usize = 255;
/// Most columns that come with one request.
const MOST_COLUMNS: usize = 256;
/// What complaints about missing keys name.
const REQUEST: &str = "Request";

/// These paths.
pub fn router() -> Router<Proxy> {
    let collection = post(handler!(Legacy, "LegacyCreateCollection", CreateCollectionRequest, create))
        .delete(handler!(Legacy, "LegacyDropCollection", DropCollectionRequest, drop_collection))
        .get(handler!(Legacy, "LegacyDescribeCollection", DescribeCollectionRequest, describe));
    let loaded = post(handler!(Legacy, "LegacyLoadCollection", LoadCollectionRequest, load_collection))
        .delete(handler!(Legacy, "LegacyReleaseCollection", ReleaseCollectionRequest, release));
    let entities = post(handler!(Legacy, "LegacyInsert", InsertRequest, insert)).delete(handler!(
        Legacy,
        "LegacyDelete",
        DeleteRequest,
        delete
    ));
    let index = post(handler!(Legacy, "LegacyCreateIndex", CreateIndexRequest, create_index))
        .delete(handler!(Legacy, "LegacyDropIndex", DropIndexRequest, drop_index))
        .get(handler!(Legacy, "LegacyDescribeIndex", DescribeIndexRequest, describe_index));
    Router::new()
        .route("/health", get(handler!(Legacy, "LegacyHealth", GetVersionRequest, health)))
        .route("/collection", collection)
        .route(
            "/collection/info",
            get(handler!(Legacy, "LegacyDescribeCollection", DescribeCollectionRequest, describe)),
        )
        .route(
            "/collection/existence",
            get(handler!(Legacy, "LegacyHasCollection", HasCollectionRequest, has)),
        )
        .route(
            "/collection/statistics",
            get(handler!(Legacy, "LegacyGetCollectionStats", GetCollectionStatisticsRequest, statistics)),
        )
        .route("/collection/load", loaded)
        .route("/collections", get(handler!(Legacy, "LegacyListCollections", ShowCollectionsRequest, list)))
        .route("/entities", entities)
        .route("/persist", post(handler!(Legacy, "LegacyFlush", FlushRequest, flush)))
        .route("/index", index)
        .route("/search", post(handler!(Legacy, "LegacySearch", SearchRequest, search_rows)))
        .route("/query", post(handler!(Legacy, "LegacyQuery", QueryRequest, query)))
}

/// An answer with a good status and these keys.
fn with_status(keys: Json) -> Map<String, Json> {
    let mut answer = Map::from_iter([("status".to_owned(), json!({}))]);
    if let Json::Object(keys) = keys {
        answer.extend(keys);
    }
    answer
}

async fn health(_: &Proxy, _: Visit) -> Data {
    Ok(Map::from_iter([("status".to_owned(), json!("ok"))]))
}

async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let found = collections::show(proxy, visit.caller, ShowCollectionsRequest::default()).await?;
    Ok(with_status(json!({
        "collection_names": found.collection_names,
        "collection_ids": found.collection_ids,
        "created_timestamps": found.created_timestamps,
        "created_utc_timestamps": found.created_utc_timestamps,
    })))
}

async fn has(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = HasCollectionRequest { collection_name, ..Default::default() };
    let value = collections::has(proxy, visit.caller, request).await?.value;
    Ok(with_status(if value { json!({ "value": true }) } else { json!({}) }))
}

async fn statistics(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = GetCollectionStatisticsRequest { collection_name, ..Default::default() };
    let stats = collections::statistics(proxy, visit.caller, request).await?.stats;
    Ok(with_status(json!({ "stats": shown_pairs(&stats) })))
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = DescribeCollectionRequest { collection_name, ..Default::default() };
    let found = collections::describe(proxy, visit.caller, request).await?;
    let schema = found.schema.unwrap_or_default();
    let field = |field: &FieldSchema| {
        json!({
            "fieldID": field.field_id,
            "name": field.name,
            "is_primary_key": field.is_primary_key,
            "autoID": field.auto_id,
            "description": field.description,
            "data_type": field.data_type,
            "type_params": shown_pairs(&field.type_params),
        })
    };
    Ok(with_status(json!({
        "schema": {
            "name": schema.name,
            "description": schema.description,
            "fields": schema.fields.iter().map(field).collect::<Vec<_>>(),
            "enable_dynamic_field": schema.enable_dynamic_field,
        },
        "collectionID": found.collection_id,
        "collection_name": found.collection_name,
        "shards_num": found.shards_num,
        "aliases": found.aliases,
        "consistency_level": found.consistency_level,
        "created_timestamp": found.created_timestamp,
    })))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let name = visit.text("collectionName");
    let object = visit.body.get("schema").and_then(Json::as_object);
    let object = object.ok_or_else(|| Error::missing(REQUEST, "schema"))?;
    let fields = object.get("fields").and_then(Json::as_array);
    let schema = CollectionSchema {
        name: name.clone(),
        description: object.get("description").map(plain).unwrap_or_default(),
        fields: fields.into_iter().flatten().map(field).collect::<Result<_, _>>()?,
        enable_dynamic_field: flag(object, "enable_dynamic_field")?.unwrap_or(false),
        ..Default::default()
    };
    let request = CreateCollectionRequest {
        collection_name: name,
        schema: schema.encode_to_vec(),
        shards_num: visit.body.get("shards_num").map(number).transpose()?.unwrap_or(0),
        consistency_level: visit.body.get("consistency_level").map(number).transpose()?.unwrap_or(0),
        ..Default::default()
    };
    collections::create(proxy, visit.caller, request).await?;
    Ok(Map::new())
}

fn number(json: &Json) -> Result<i32, Error> {
    let found = json::whole(&plain(json)).and_then(|number| i32::try_from(number).ok());
    let wrong =
        || Error::WrongKind { what: "a key", wanted: "a whole number", actual: shown(&json.to_string()) };
    found.ok_or_else(wrong)
}

fn field(json: &Json) -> Result<FieldSchema, Error> {
    let wrong = || Error::WrongKind { what: "fields", wanted: "objects", actual: shown(&json.to_string()) };
    let object = json.as_object().ok_or_else(wrong)?;
    let data_type = match object.get("data_type").or_else(|| object.get("dtype")) {
        Some(Json::String(name)) => {
            let known = DataType::from_str_name(name);
            known.ok_or_else(|| Error::DataTypeName { name: shown(name) })?.into()
        }
        Some(json) => number(json)?,
        None => return Err(Error::missing(REQUEST, "data_type")),
    };
    let mut type_params = object.get("type_params").map(key_values).unwrap_or_default();
    type_params.extend(object.get("params").map(pairs).unwrap_or_default());
    Ok(FieldSchema {
        name: object.get("name").map(plain).unwrap_or_default(),
        description: object.get("description").map(plain).unwrap_or_default(),
        is_primary_key: flag(object, "is_primary_key")?.or(flag(object, "is_primary")?).unwrap_or(false),
        auto_id: flag(object, "autoID")?.or(flag(object, "auto_id")?).unwrap_or(false),
        element_type: object.get("element_type").map(number).transpose()?.unwrap_or(0),
        data_type,
        type_params,
        ..Default::default()
    })
}

/// A list of `{key, value}` as the wire has it.
fn key_values(json: &Json) -> Vec<KeyValuePair> {
    let one = |json: &Json| Some(pair(json.get("key")?.as_str()?, plain(json.get("value")?)));
    json.as_array().into_iter().flatten().filter_map(one).collect()
}

async fn drop_collection(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = DropCollectionRequest { collection_name, ..Default::default() };
    collections::drop(proxy, visit.caller, request).await?;
    Ok(Map::new())
}

async fn load_collection(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = LoadCollectionRequest { collection_name, ..Default::default() };
    load::load(proxy, visit.caller, request).await?;
    Ok(Map::new())
}

async fn release(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = ReleaseCollectionRequest { collection_name, ..Default::default() };
    load::release(proxy, visit.caller, request).await?;
    Ok(Map::new())
}

async fn flush(proxy: &Proxy, visit: Visit) -> Data {
    let collection_names = visit.texts("collection_names");
    rows::flush(proxy, visit.caller, FlushRequest { collection_names, ..Default::default() }).await?;
    Ok(with_status(json!({})))
}

async fn create_index(proxy: &Proxy, visit: Visit) -> Data {
    let request = CreateIndexRequest {
        collection_name: visit.text("collectionName"),
        field_name: visit.text("field_name"),
        index_name: visit.text("index_name"),
        extra_params: visit.body.get("extra_params").map(key_values).unwrap_or_default(),
        ..Default::default()
    };
    index::create(proxy, visit.caller, request).await?;
    Ok(Map::new())
}

async fn drop_index(proxy: &Proxy, visit: Visit) -> Data {
    let request = DropIndexRequest {
        collection_name: visit.text("collectionName"),
        field_name: visit.text("field_name"),
        index_name: visit.text("index_name"),
        ..Default::default()
    };
    index::drop(proxy, visit.caller, request).await?;
    Ok(Map::new())
}

async fn describe_index(proxy: &Proxy, visit: Visit) -> Data {
    let request = DescribeIndexRequest {
        collection_name: visit.text("collectionName"),
        index_name: visit.text("index_name"),
        ..Default::default()
    };
    let found = index::describe(proxy, visit.caller, request).await?.index_descriptions;
    let one = |index: &IndexDescription| {
        json!({
            "index_name": index.index_name,
            "indexID": index.index_id,
            "params": shown_pairs(&index.params),
            "field_name": index.field_name,
            "state": index.state,
        })
    };
    Ok(with_status(json!({ "index_descriptions": found.iter().map(one).collect::<Vec<_>>() })))
}

/// The rows of columns of JSON, as a text that is a list of them. Each row repeats the names, so none is longer than a name may be.
fn rows_of(fields: &[Json], named: Option<&Json>) -> Result<String, Error> {
    let mut table: Vec<Map<String, Json>> = Vec::new();
    let expected = match named {
        Some(json) => usize::try_from(number(json)?).ok(),
        None => fields.first().and_then(|field| Some(field.get("field")?.as_array()?.len())),
    };
    if fields.len() > MOST_COLUMNS {
        return Err(Rejected::NotJson { reason: format!("it has more than {MOST_COLUMNS} columns") }.into());
    }
    for column in fields {
        let name = column.get("field_name").map(plain).unwrap_or_default();
        if name.len() > MOST_NAME {
            return Err(Rejected::RowField { field: shown(&name), row: 0 }.into());
        }
        let values = column.get("field").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        if Some(values.len()) != expected {
            let (expected, actual) = (expected.unwrap_or(0), values.len());
            return Err(Rejected::RowCount { field: shown(&name), expected, actual }.into());
        }
        table.resize_with(values.len(), Map::new);
        for (row, value) in table.iter_mut().zip(values) {
            row.insert(name.clone(), value.clone());
        }
    }
    Ok(Json::Array(table.into_iter().map(Json::Object).collect()).to_string())
}

async fn insert(proxy: &Proxy, mut visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let info = proxy.info(&visit.caller, "", &collection_name).await?;
    let fields = visit.body.remove("fields_data");
    let fields = fields.as_ref().and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = rows_of(fields, visit.body.get("num_rows"))?;
    let (num_rows, fields_data) = columns(&info.schema, &text, Rows::Whole)?;
    drop(text);
    let request = InsertRequest {
        collection_name,
        partition_name: visit.text("partition_name"),
        fields_data,
        num_rows,
        ..Default::default()
    };
    let done = rows::insert(proxy, visit.caller, request).await?;
    Ok(with_status(json!({
        "IDs": ids(done.i_ds.as_ref()),
        "succ_index": done.succ_index,
        "insert_cnt": done.insert_cnt,
        "timestamp": done.timestamp,
    })))
}

async fn delete(proxy: &Proxy, visit: Visit) -> Data {
    let request = DeleteRequest {
        collection_name: visit.text("collectionName"),
        partition_name: visit.text("partition_name"),
        expr: visit.text("expr"),
        ..Default::default()
    };
    let done = rows::delete(proxy, visit.caller, request).await?;
    Ok(with_status(json!({ "delete_cnt": done.delete_cnt, "timestamp": done.timestamp })))
}

async fn query(proxy: &Proxy, visit: Visit) -> Data {
    let request = QueryRequest {
        collection_name: visit.text("collectionName"),
        expr: visit.text("expr"),
        output_fields: visit.texts("output_fields"),
        partition_names: visit.texts("partition_names"),
        query_params: visit.body.get("query_params").map(key_values).unwrap_or_default(),
        use_default_consistency: true,
        ..Default::default()
    };
    let found = reads::query(proxy, visit.caller, request).await?;
    let columns: Vec<Json> = found.fields_data.iter().map(column).collect();
    Ok(with_status(json!({ "fields_data": columns, "collection_name": found.collection_name })))
}

async fn search_rows(proxy: &Proxy, mut visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let mut search_params = visit.body.get("search_params").map(key_values).unwrap_or_default();
    if !search_params.iter().any(|pair| pair.key == "topk") {
        let limit = visit.body.get("limit").map_or_else(|| search::DEFAULT_LIMIT.to_string(), plain);
        search_params.push(pair("topk", limit));
    }
    if let Some(params) = visit.body.get("params").filter(|params| params.is_object()) {
        search_params.push(pair("params", params.to_string()));
    }
    let field = search_params.iter().find(|pair| pair.key == "anns_field");
    let field = field.map(|pair| pair.value.clone()).unwrap_or_default();
    let vectors = visit.body.remove("vectors").unwrap_or_default();
    let input = Map::from_iter([("data".to_owned(), vectors), ("annsField".to_owned(), json!(field))]);
    let (nq, search_input) = searched(proxy, &visit, REQUEST, &input).await?;
    let request = SearchRequest {
        collection_name,
        nq,
        dsl: visit.text("dsl"),
        output_fields: visit.texts("output_fields"),
        partition_names: visit.texts("partition_names"),
        search_params,
        search_input: Some(search_input),
        use_default_consistency: true,
        ..Default::default()
    };
    let found = searches::search(proxy, visit.caller, request).await?;
    let results = found.results.unwrap_or_default();
    let columns: Vec<Json> = results.fields_data.iter().map(column).collect();
    Ok(with_status(json!({
        "results": {
            "num_queries": results.num_queries,
            "top_k": results.top_k,
            "fields_data": columns,
            "scores": singles(&results.scores),
            "ids": ids(results.ids.as_ref()),
            "topks": results.topks,
        },
        "collection_name": found.collection_name,
    })))
}

/// Keys as Go prints the message that holds them.
fn ids(ids: Option<&IDs>) -> Json {
    match ids.and_then(|ids| ids.id_field.as_ref()) {
        Some(i_ds::IdField::IntId(ids)) => json!({ "IdField": { "IntId": { "data": ids.data } } }),
        Some(i_ds::IdField::StrId(ids)) => json!({ "IdField": { "StrId": { "data": ids.data } } }),
        _ => json!({ "IdField": null }),
    }
}

/// A column as Go prints the message that it is.
fn column(column: &FieldData) -> Json {
    let field = match &column.field {
        Some(field_data::Field::Scalars(scalars)) => {
            let shown = match &scalars.data {
                Some(scalar_field::Data::JsonData(all)) => {
                    let data: Vec<String> = all.data.iter().map(|text| STANDARD.encode(text)).collect();
                    json!({ "Data": { "JsonData": { "data": data } } })
                }
                Some(scalar_field::Data::ArrayData(all)) => {
                    let data: Vec<Json> = all.data.iter().map(arrays::dumped).collect();
                    json!({ "Data": { "ArrayData": { "data": data, "element_type": all.element_type } } })
                }
                _ => arrays::dumped(scalars),
            };
            json!({ "Scalars": shown })
        }
        Some(field_data::Field::Vectors(vectors)) => {
            json!({ "Vectors": { "dim": vectors.dim, "Data": vector_data(vectors.data.as_ref()) } })
        }
        _ => Json::Null,
    };
    json!({ "type": column.r#type, "field_name": column.field_name, "Field": field, "field_id": column.field_id })
}

fn vector_data(data: Option<&vector_field::Data>) -> Json {
    use vector_field::Data;
    match data {
        Some(Data::FloatVector(all)) => json!({ "FloatVector": { "data": singles(&all.data) } }),
        Some(Data::BinaryVector(all)) => json!({ "BinaryVector": STANDARD.encode(all) }),
        Some(Data::Float16Vector(all)) => json!({ "Float16Vector": STANDARD.encode(all) }),
        Some(Data::Bfloat16Vector(all)) => json!({ "Bfloat16Vector": STANDARD.encode(all) }),
        Some(Data::Int8Vector(all)) => json!({ "Int8Vector": STANDARD.encode(all) }),
        Some(Data::SparseFloatVector(all)) => {
            let contents: Vec<String> = all.contents.iter().map(|content| STANDARD.encode(content)).collect();
            json!({ "SparseFloatVector": { "contents": contents, "dim": all.dim } })
        }
        _ => Json::Null,
    }
}
