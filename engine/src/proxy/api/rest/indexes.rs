//! `indexes/…`: the REST form of the calls about indexes.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::common::{IndexState, KeyValuePair};
use contract::pb::milvus::{
    AlterIndexRequest, CreateIndexRequest, DescribeIndexRequest, DropIndexRequest, IndexDescription,
};
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Map, Value as Json, json};

use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::proxy::access::table::Asks;
use crate::proxy::api::index;
use crate::proxy::convert::json_schema::shown_pairs;
use crate::proxy::convert::params::{plain, shown};
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, Refusal};

/// Milvus's names of the requests, in complaints about missing keys.
const COLLECTION: &str = "CollectionNameReq";
const CREATE: &str = "IndexParamReq";
const PARAM: &str = "IndexParam";
const ONE: &str = "IndexReq";
const WITH_PROPERTIES: &str = "IndexReqWithProperties";
const WITHOUT_PROPERTIES: &str = "DropIndexPropertiesReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/list", endpoint!("RestListIndexes", DescribeIndexRequest, list))
        .route("/describe", endpoint!("RestDescribeIndex", DescribeIndexRequest, describe))
        .route("/create", endpoint!("RestCreateIndex", CreateIndexRequest, create))
        .route("/drop", endpoint!("RestDropIndex", DropIndexRequest, drop))
        .route("/alter_properties", endpoint!("RestAlterIndex", AlterIndexRequest, alter))
        .route("/drop_properties", endpoint!("RestAlterIndex", AlterIndexRequest, drop_properties))
}

/// The indexes of a collection, none of them also where there are none.
pub async fn described(
    proxy: &Proxy,
    visit: &Visit,
    collection_name: String,
) -> Result<Vec<IndexDescription>, Error> {
    let request = DescribeIndexRequest { collection_name, ..Default::default() };
    match index::describe(proxy, visit.caller.clone(), request).await {
        Ok(shown) => Ok(shown.index_descriptions),
        Err(Error::Peer(rpc::Error::Refused(Refusal::IndexNotFound { .. }))) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let names = described(proxy, &visit, collection_name).await?.into_iter().map(|index| index.index_name);
    Ok(data(names.collect()))
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let request = DescribeIndexRequest {
        collection_name: visit.required(ONE, "collectionName")?,
        index_name: visit.required(ONE, "indexName")?,
        ..Default::default()
    };
    let found = index::describe(proxy, visit.caller, request).await?.index_descriptions;
    Ok(data(found.iter().map(shown_index).collect()))
}

/// The value of a parameter of an index; empty if it has none.
pub fn param<'a>(index: &'a IndexDescription, key: &str) -> &'a str {
    index.params.iter().find(|pair| pair.key == key).map_or("", |pair| pair.value.as_str())
}

fn shown_index(index: &IndexDescription) -> Json {
    json!({
        "indexName": index.index_name,
        "fieldName": index.field_name,
        "indexType": param(index, "index_type"),
        "metricType": param(index, "metric_type"),
        "totalRows": index.total_rows,
        "indexedRows": index.indexed_rows,
        "pendingRows": index.pending_index_rows,
        "indexState": IndexState::try_from(index.state).unwrap_or_default().as_str_name(),
        "failReason": index.index_state_fail_reason,
        "minIndexVersion": index.min_index_version,
        "maxIndexVersion": index.max_index_version,
        "indexParams": shown_pairs(&index.params),
    })
}

/// What a list of `indexParams` asks for, in its order.
///
/// # Errors
/// If an entry is none or names no field.
pub fn wanted(collection_name: &str, list: &[Json]) -> Result<Vec<CreateIndexRequest>, Error> {
    let one = |json: &Json| {
        let wrong =
            || Error::WrongKind { what: "indexParams", wanted: "objects", actual: shown(&json.to_string()) };
        let object = json.as_object().ok_or_else(wrong)?;
        let field_name = object.get("fieldName").map(plain).unwrap_or_default();
        if field_name.is_empty() {
            return Err(Error::missing(PARAM, "fieldName"));
        }
        Ok(CreateIndexRequest {
            collection_name: collection_name.to_owned(),
            field_name,
            index_name: object.get("indexName").map(plain).unwrap_or_default(),
            extra_params: params(object),
            ..Default::default()
        })
    };
    list.iter().map(one).collect()
}

/// The parameters of an index as gRPC carries them.
fn params(object: &Map<String, Json>) -> Vec<KeyValuePair> {
    let mut all: Vec<KeyValuePair> = Vec::new();
    for (ours, wire) in [("indexType", "index_type"), ("metricType", "metric_type")] {
        let value = object.get(ours).map(plain).unwrap_or_default();
        if !value.is_empty() {
            all.push(KeyValuePair { key: wire.to_owned(), value });
        }
    }
    let more = object.get("params").or_else(|| object.get("indexConfig")).and_then(Json::as_object);
    let mut rest = Map::new();
    for (key, value) in more.into_iter().flatten() {
        // Said twice, once of them beside the others: the one beside them counts.
        match key.as_str() {
            "index_type" | "metric_type" if !all.iter().any(|known| known.key == *key) => {
                all.push(KeyValuePair { key: key.clone(), value: plain(value) });
            }
            "index_type" | "metric_type" => {}
            _ => {
                rest.insert(key.clone(), value.clone());
            }
        }
    }
    // The other ones go together, as the clients of gRPC send them and look for them again.
    if !rest.is_empty() {
        all.push(KeyValuePair { key: "params".to_owned(), value: Json::Object(rest).to_string() });
    }
    all
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(CREATE, "collectionName")?;
    let list = visit.body.get("indexParams").and_then(Json::as_array);
    let list = list.ok_or_else(|| Error::missing(CREATE, "indexParams"))?;
    for request in wanted(&collection_name, list)? {
        index::create(proxy, visit.caller.clone(), request).await?;
    }
    Ok(nothing())
}

async fn drop(proxy: &Proxy, visit: Visit) -> Data {
    let request = DropIndexRequest {
        collection_name: visit.required(ONE, "collectionName")?,
        index_name: visit.required(ONE, "indexName")?,
        ..Default::default()
    };
    index::drop(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn alter(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterIndexRequest {
        collection_name: visit.required(WITH_PROPERTIES, "collectionName")?,
        index_name: visit.required(WITH_PROPERTIES, "indexName")?,
        extra_params: visit.required_pairs(WITH_PROPERTIES, "properties")?,
        ..Default::default()
    };
    index::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_properties(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterIndexRequest {
        collection_name: visit.required(WITHOUT_PROPERTIES, "collectionName")?,
        index_name: visit.required(WITHOUT_PROPERTIES, "indexName")?,
        delete_keys: visit.required_texts(WITHOUT_PROPERTIES, "propertyKeys")?,
        ..Default::default()
    };
    index::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}
