//! `collections/create`: in short form a key, a vector, an index and loaded; in long form what the schema says.

use contract::pb::common::{ConsistencyLevel, KeyValuePair};
use contract::pb::milvus::{CreateCollectionRequest, CreateIndexRequest, LoadCollectionRequest};
use contract::pb::schema::{CollectionSchema, DataType, FieldSchema};
use prost::Message as _;
use serde_json::{Map, Value as Json};

use super::{Data, Visit, indexes, nothing, visit};
use crate::proxy::access::table::Asks as _;
use crate::proxy::api::{collections, index, load};
use crate::proxy::convert::json_schema::{flag, schema};
use crate::proxy::convert::params::{pairs, plain, shown};
use crate::proxy::convert::{self, json};
use crate::proxy::limits::{About, Asked, Demand};
use crate::proxy::{Error, Proxy};

/// Milvus's name of the request, in complaints about missing keys.
const REQUEST: &str = "CollectionReq";
const ID_TYPES: &str = "[Int64, VarChar]";
/// Keys of `params` that are properties of the collection under another name.
const RENAMED: [(&str, &str); 2] =
    [("ttlSeconds", "collection.ttl.seconds"), ("partitionKeyIsolation", "partitionkey.isolation")];
/// Keys of `params` that are no properties.
const OTHERS: [&str; 5] =
    ["shardsNum", "partitionsNum", "consistencyLevel", "enableDynamicField", "max_length"];

/// What the short form leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    /// The metric where none is named.
    pub metric: &'static str,
    /// Whether the server makes keys where nothing is said.
    pub auto_id: bool,
    /// Under which keys the names of the two fields are.
    pub names: [&'static str; 2],
}

/// The short form of version 2.
const SHORT: Short =
    Short { metric: "COSINE", auto_id: false, names: ["primaryFieldName", "vectorFieldName"] };

/// Makes a collection; with indexes, it is loaded too.
pub async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let name = visit.required(REQUEST, "collectionName")?;
    let (schema, indexes) = match visit.body.get("schema") {
        Some(json) => {
            let list = visit.body.get("indexParams").and_then(Json::as_array);
            let list = list.map(Vec::as_slice).unwrap_or_default();
            (schema(&name, json)?, indexes::wanted(&name, list)?)
        }
        None => short(&visit, &name, SHORT)?,
    };
    make(proxy, visit, schema, indexes).await
}

/// Makes a collection with these indexes, and loads it if there are some. All is checked before anything is made.
pub async fn make(
    proxy: &Proxy,
    visit: Visit,
    schema: CollectionSchema,
    indexes: Vec<CreateIndexRequest>,
) -> Data {
    let request = request(&visit, schema)?;
    if indexes.is_empty() {
        collections::create(proxy, visit.caller, request).await?;
        return Ok(nothing());
    }
    let caller = visit.caller.clone();
    let mut also =
        visit.also(proxy, [CreateIndexRequest::RULE, LoadCollectionRequest::RULE]).await?.into_iter();
    check_indexes(&request, &indexes)?;
    let collection_name = request.collection_name.clone();
    // Refused between two of its steps, it would leave a collection that is not what was asked for.
    let database = caller.database(&request.db_name);
    let about = About::database(&database);
    let demand = |asked: Asked, cost: usize| Demand { asked, about, cost: cost as u64 };
    proxy.admit_all(&caller, &[demand(Asked::Collection, 2), demand(Asked::Index, indexes.len())])?;
    collections::create_admitted(proxy, &caller, request).await?;
    let info = proxy.info(&caller, "", &collection_name).await?;
    let mut indexed = Ok(());
    for request in indexes {
        indexed = index::create_admitted(proxy, &info, request).await.map(drop);
        if indexed.is_err() {
            break;
        }
    }
    if let Some(checked) = also.next() {
        checked.ended(proxy, indexed.as_ref().err().map(Error::code));
    }
    indexed?;
    let request = LoadCollectionRequest { collection_name, ..Default::default() };
    let loaded = load::load_admitted(proxy, &info, request).await;
    if let Some(checked) = also.next() {
        checked.ended(proxy, loaded.as_ref().err().map(Error::code));
    }
    loaded.map(|_| nothing())
}

/// Sees that each index fits the schema that the collection is to have.
fn check_indexes(request: &CreateCollectionRequest, indexes: &[CreateIndexRequest]) -> Result<(), Error> {
    let new = convert::schema::new_collection(String::new(), None, request.clone())?;
    for index in indexes {
        let field = new.schema.field(&index.field_name).or_else(|| new.schema.dynamic());
        let field = field.ok_or_else(|| Error::IndexedField { field: shown(&index.field_name) })?;
        convert::schema::check_index_name(&index.index_name)?;
        let given = pairs(index.extra_params.clone());
        convert::index::checked(&new.schema, field, &index.field_name, given)?;
    }
    Ok(())
}

/// The call of gRPC for a schema and what `params` say.
fn request(visit: &Visit, mut schema: CollectionSchema) -> Result<CreateCollectionRequest, Error> {
    if schema.description.is_empty() {
        schema.description = visit.text("description");
    }
    let none = Map::new();
    let params = visit.body.get("params").and_then(Json::as_object).unwrap_or(&none);
    let level = params.get("consistencyLevel").or_else(|| visit.body.get("consistencyLevel")).map(plain);
    let level = visit::level(&level.unwrap_or_default())?.unwrap_or(ConsistencyLevel::Bounded.into());
    let property = |(key, value): (&String, &Json)| {
        let renamed = RENAMED.iter().find(|(ours, _)| ours == key).map_or(key.as_str(), |(_, wire)| wire);
        (!OTHERS.contains(&key.as_str()))
            .then(|| KeyValuePair { key: renamed.to_owned(), value: plain(value) })
    };
    Ok(CreateCollectionRequest {
        collection_name: schema.name.clone(),
        shards_num: i32::try_from(count(params, "shardsNum")?).unwrap_or(i32::MAX),
        num_partitions: count(params, "partitionsNum")?,
        consistency_level: level,
        properties: params.iter().filter_map(property).collect(),
        schema: schema.encode_to_vec(),
        ..Default::default()
    })
}

/// A whole number, also as a text; 0 where there is no such key.
fn count(params: &Map<String, Json>, key: &'static str) -> Result<i64, Error> {
    let Some(value) = params.get(key) else { return Ok(0) };
    let wrong =
        || Error::WrongKind { what: key, wanted: "a whole number", actual: shown(&value.to_string()) };
    json::whole(&plain(value)).ok_or_else(wrong)
}

/// What the short form asks for.
///
/// # Errors
/// If there is no dimension, or a key of a type that is none.
pub fn short(
    visit: &Visit,
    name: &str,
    form: Short,
) -> Result<(CollectionSchema, Vec<CreateIndexRequest>), Error> {
    let none = Map::new();
    let params = visit.body.get("params").and_then(Json::as_object).unwrap_or(&none);
    let dim = count(&visit.body, "dimension")?;
    if dim == 0 {
        let reason = format!(
            "dimension is required for quickly create collection(default metric type: {})",
            form.metric
        );
        return Err(Error::MissingParameter { reason });
    }
    let [primary_name, vector_name] = form.names.map(|key| visit.text(key));
    let or = |name: String, default: &str| if name.is_empty() { default.to_owned() } else { name };
    let key_type = match visit.text("idType").as_str() {
        "" | "Int64" => DataType::Int64,
        "VarChar" | "Varchar" => DataType::VarChar,
        other => return Err(Error::Choice { what: "idType", choice: ID_TYPES, actual: shown(other) }),
    };
    let pair = |key: &str, value: String| KeyValuePair { key: key.to_owned(), value };
    let length = params.get("max_length").filter(|_| key_type == DataType::VarChar).map(plain);
    let auto_id = flag(&visit.body, "autoID")?.or(flag(&visit.body, "autoId")?).unwrap_or(form.auto_id);
    let vector_name = or(vector_name, "vector");
    let primary = FieldSchema {
        name: or(primary_name, "id"),
        is_primary_key: true,
        auto_id,
        data_type: key_type.into(),
        type_params: length.into_iter().map(|length| pair("max_length", length)).collect(),
        ..Default::default()
    };
    let vector = FieldSchema {
        name: vector_name.clone(),
        data_type: DataType::FloatVector.into(),
        type_params: vec![pair("dim", dim.to_string())],
        ..Default::default()
    };
    let schema = CollectionSchema {
        name: name.to_owned(),
        fields: vec![primary, vector],
        enable_dynamic_field: flag(params, "enableDynamicField")?.unwrap_or(true),
        ..Default::default()
    };
    let index = CreateIndexRequest {
        collection_name: name.to_owned(),
        index_name: vector_name.clone(),
        field_name: vector_name,
        extra_params: vec![pair("metric_type", or(visit.text("metricType"), form.metric))],
        ..Default::default()
    };
    Ok((schema, vec![index]))
}
