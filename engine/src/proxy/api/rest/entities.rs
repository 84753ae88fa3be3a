//! `entities/…`: the REST form of the calls about rows. Searches are in `search`.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::common::KeyValuePair;
use contract::pb::milvus::*;
use contract::pb::schema::{FieldData, IDs, TemplateValue};
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Map, Value as Json, json};

use super::search::{self, DEFAULT_LIMIT, pair, template, templates};
use super::{Data, Door, Version, Visit, answer, data, values};
use crate::intake::Error as Rejected;
use crate::proxy::access::table::Asks;
use crate::proxy::api::{reads, rows};
use crate::proxy::convert::json_rows::{Rows, columns};
use crate::proxy::convert::params::plain;
use crate::proxy::convert::query::COUNT;
use crate::proxy::{Error, Proxy};

/// Milvus's names of the requests, in complaints about missing keys.
const ROWS: &str = "CollectionDataReq";
const DELETE: &str = "CollectionFilterReq";
const GET: &str = "CollectionIDReq";
const QUERY: &str = "QueryReqV2";
/// Name of the template variable that stands for the keys of a `get`.
const IDS: &str = "ids";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/insert", endpoint!("RestInsert", InsertRequest, insert))
        .route("/upsert", endpoint!("RestUpsert", UpsertRequest, upsert))
        .route("/delete", endpoint!("RestDelete", DeleteRequest, delete))
        .route("/get", endpoint!("RestGet", QueryRequest, get))
        .route("/query", endpoint!("RestQuery", QueryRequest, query))
        .route("/search", endpoint!("RestSearch", SearchRequest, search::search))
        .route("/hybrid_search", endpoint!("RestHybridSearch", HybridSearchRequest, search::hybrid))
        .route("/advanced_search", endpoint!("RestHybridSearch", HybridSearchRequest, search::hybrid))
}

/// The rows of a request as columns of the collection that they are for.
async fn sent(
    proxy: &Proxy,
    visit: &Visit,
    collection_name: &str,
    kind: Rows,
) -> Result<(u32, Vec<FieldData>), Error> {
    let rows = visit.rows.as_ref().ok_or_else(|| Error::missing(ROWS, "data"))?;
    let info = proxy.info(&visit.caller, "", collection_name).await?;
    let not_text = |_| Rejected::NotJson { reason: "it is not UTF-8".to_owned() };
    Ok(columns(&info.schema, std::str::from_utf8(rows).map_err(not_text)?, kind)?)
}

/// Adds rows.
pub async fn insert(proxy: &Proxy, mut visit: Visit) -> Data {
    let collection_name = visit.required(ROWS, "collectionName")?;
    let (num_rows, fields_data) = sent(proxy, &visit, &collection_name, Rows::Whole).await?;
    visit.rows = None;
    let request = InsertRequest {
        collection_name,
        partition_name: visit.text("partitionName"),
        fields_data,
        num_rows,
        ..Default::default()
    };
    let done = rows::insert(proxy, visit.caller, request).await?;
    Ok(changed(["insertCount", "insertIds"], done.insert_cnt, done.i_ds.as_ref(), visit.takes_int64))
}

/// Replaces rows, or adds those that are not there.
pub async fn upsert(proxy: &Proxy, mut visit: Visit) -> Data {
    let collection_name = visit.required(ROWS, "collectionName")?;
    let partial_update = visit.body.get("partialUpdate").and_then(Json::as_bool).unwrap_or_default();
    let kind = if partial_update { Rows::Partial } else { Rows::Whole };
    let (num_rows, fields_data) = sent(proxy, &visit, &collection_name, kind).await?;
    visit.rows = None;
    let request = UpsertRequest {
        collection_name,
        partition_name: visit.text("partitionName"),
        fields_data,
        num_rows,
        partial_update,
        ..Default::default()
    };
    let done = rows::upsert(proxy, visit.caller, request).await?;
    Ok(changed(["upsertCount", "upsertIds"], done.upsert_cnt, done.i_ds.as_ref(), visit.takes_int64))
}

fn changed(
    [count_key, ids_key]: [&str; 2],
    count: i64,
    ids: Option<&IDs>,
    takes_int64: bool,
) -> Map<String, Json> {
    with_cost(data(json!({ count_key: count, ids_key: values::ids(ids, takes_int64) })))
}

/// An answer about rows, which tells what it cost: nothing is counted.
fn with_cost(mut answer: Map<String, Json>) -> Map<String, Json> {
    answer.insert("cost".to_owned(), json!(0));
    answer
}

/// Removes rows.
pub async fn delete(proxy: &Proxy, visit: Visit) -> Data {
    let request = DeleteRequest {
        collection_name: visit.required(DELETE, "collectionName")?,
        expr: visit.required(DELETE, "filter")?,
        partition_name: visit.text("partitionName"),
        expr_template_values: templates(&visit.body)?,
        ..Default::default()
    };
    let done = rows::delete(proxy, visit.caller, request).await?;
    Ok(with_cost(data(json!({ "deleteCount": done.delete_cnt }))))
}

/// The filter for the rows of some keys, and what its variable stands for.
///
/// # Errors
/// If the collection is not there.
pub async fn by_keys(
    proxy: &Proxy,
    visit: &Visit,
    collection_name: &str,
    ids: &Json,
) -> Result<(String, (String, TemplateValue)), Error> {
    let info = proxy.info(&visit.caller, "", collection_name).await?;
    let primary = info.schema.primary();
    let one = |id: &Json| match (primary.data_type, id) {
        (crate::model::DataType::VarChar, id) => Json::String(plain(id)),
        // Numbers of 64 bits come as texts, too.
        (_, Json::String(text)) => text.trim().parse::<i64>().map_or_else(|_| id.clone(), |id| json!(id)),
        (_, id) => id.clone(),
    };
    let ids: Vec<Json> = match ids {
        Json::Array(ids) => ids.iter().map(one).collect(),
        id => vec![one(id)],
    };
    let filter = format!("{} in {{{IDS}}}", primary.name);
    Ok((filter, (IDS.to_owned(), template(&Json::Array(ids)))))
}

/// The rows of some keys.
pub async fn get(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(GET, "collectionName")?;
    let ids = visit.body.get("id").or_else(|| visit.body.get("ids"));
    let ids = ids.ok_or_else(|| Error::missing(GET, "id"))?;
    let (expr, variable) = by_keys(proxy, &visit, &collection_name, ids).await?;
    let level = visit.level()?;
    let request = QueryRequest {
        collection_name,
        expr,
        expr_template_values: [variable].into(),
        output_fields: output_fields(&visit),
        query_params: search::times(&visit.body).collect(),
        partition_names: visit.texts("partitionNames"),
        use_default_consistency: level.is_none(),
        consistency_level: level.unwrap_or_default(),
        ..Default::default()
    };
    shown(proxy, visit, request).await
}

/// Rows by filter.
pub async fn query(proxy: &Proxy, visit: Visit) -> Data {
    let level = visit.level()?;
    let output_fields = output_fields(&visit);
    let request = QueryRequest {
        collection_name: visit.required(QUERY, "collectionName")?,
        expr: visit.text("filter"),
        expr_template_values: templates(&visit.body)?,
        query_params: query_params(&visit, &output_fields),
        output_fields,
        partition_names: visit.texts("partitionNames"),
        use_default_consistency: level.is_none(),
        consistency_level: level.unwrap_or_default(),
        ..Default::default()
    };
    shown(proxy, visit, request).await
}

fn output_fields(visit: &Visit) -> Vec<String> {
    let named = visit.texts("outputFields");
    if named.is_empty() { vec!["*".to_owned()] } else { named }
}

/// The parameters of a query as gRPC carries them. The one row of a count of all is not limited.
fn query_params(visit: &Visit, output_fields: &[String]) -> Vec<KeyValuePair> {
    let mut pairs = Vec::new();
    let named = |key| visit.body.get(key).filter(|fields| !fields.is_null()).map(search::joined);
    let group_by = named("groupByFields").unwrap_or_default();
    let is_grouped = group_by.split(',').any(|name| !name.trim().is_empty());
    if is_grouped || !output_fields.iter().any(|name| name.trim() == COUNT) {
        let limit = visit.body.get("limit").map_or_else(|| DEFAULT_LIMIT.to_string(), plain);
        pairs.push(pair("limit", limit));
        pairs.extend(visit.body.get("offset").map(|offset| pair("offset", plain(offset))));
    }
    pairs.extend(search::times(&visit.body));
    for (ours, wire) in [("orderByFields", "order_by_fields"), ("groupByFields", "group_by_fields")] {
        pairs.extend(named(ours).map(|fields| pair(wire, fields)));
    }
    pairs
}

/// The rows that a query finds.
async fn shown(proxy: &Proxy, visit: Visit, request: QueryRequest) -> Data {
    let takes_int64 = visit.takes_int64;
    let found = reads::query(proxy, visit.caller, request).await?;
    let rows = values::rows(&found.fields_data, takes_int64)?;
    Ok(with_cost(data(rows.into_iter().map(Json::Object).collect())))
}
