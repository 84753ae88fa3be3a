//! `entities/search` and `entities/hybrid_search`: the REST forms of searches, answered by the same code as gRPC's.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use contract::pb::common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue};
use contract::pb::milvus::search_request::SearchInput;
use contract::pb::milvus::{HybridSearchRequest, SearchRequest, SearchResults};
use contract::pb::schema::{
    FunctionSchema, FunctionScore, FunctionType, IDs, LongArray, SearchResultData, StringArray,
    TemplateArrayValue, TemplateValue, i_ds, template_array_value, template_value,
};
use prost::Message as _;
use serde_json::{Map, Value as Json, json};

use super::{Data, Visit, values};
use crate::intake::Error as Rejected;
use crate::model::DataType;
use crate::proxy::api::{hybrid, search as searches};
use crate::proxy::convert::params::{plain, shown};
use crate::proxy::convert::{json, sparse};
use crate::proxy::{Error, Proxy};
use crate::rpc::CollectionInfo;

/// Milvus's names of the requests, in complaints about missing keys.
const REQUEST: &str = "SearchReqV2";
const HYBRID_REQUEST: &str = "HybridSearchReq";
const SUB_REQUEST: &str = "SubSearchReq";
/// Hits per query, and rows of a query, where the client says nothing.
pub const DEFAULT_LIMIT: i64 = 100;

/// Nearest neighbours; the hits of all queries in one list.
pub async fn search(proxy: &Proxy, visit: Visit) -> Data {
    let takes_int64 = visit.takes_int64;
    let info = info_of(proxy, &visit).await;
    let request = request(&visit, info.as_deref())?;
    answer(searches::search(proxy, visit.caller, request).await?, takes_int64)
}

/// Nearest neighbours in several fields, ranked as one.
pub async fn hybrid(proxy: &Proxy, visit: Visit) -> Data {
    let takes_int64 = visit.takes_int64;
    let info = info_of(proxy, &visit).await;
    let request = hybrid_request(&visit, info.as_deref())?;
    answer(hybrid::search(proxy, visit.caller, request).await?, takes_int64)
}

fn answer(results: SearchResults, takes_int64: bool) -> Data {
    let results = results.results.unwrap_or_default();
    let mut rows = values::rows(&results.fields_data, takes_int64)?;
    rows.resize_with(results.scores.len(), Map::new);
    let hits = rows.into_iter().enumerate().map(|(at, row)| hit(row, &results, at, takes_int64)).collect();
    let mut answer = super::data(Json::Array(hits));
    answer.insert("topks".to_owned(), json!(results.topks));
    answer.insert("cost".to_owned(), json!(0));
    Ok(answer)
}

fn hit(mut row: Map<String, Json>, results: &SearchResultData, at: usize, takes_int64: bool) -> Json {
    row.insert("distance".to_owned(), json::single(results.scores[at]));
    row.insert("id".to_owned(), values::id(results.ids.as_ref(), at, takes_int64));
    Json::Object(row)
}

fn request(visit: &Visit, info: Option<&CollectionInfo>) -> Result<SearchRequest, Error> {
    let collection_name = visit.required(REQUEST, "collectionName")?;
    let level = visit.level()?;
    let (nq, search_input) = input(REQUEST, &visit.body, info)?;
    Ok(SearchRequest {
        collection_name,
        nq,
        dsl: visit.text("filter"),
        output_fields: visit.texts("outputFields"),
        partition_names: visit.texts("partitionNames"),
        search_params: search_params(&visit.body, "searchParams"),
        use_default_consistency: level.is_none(),
        consistency_level: level.unwrap_or_default(),
        expr_template_values: templates(&visit.body)?,
        search_input: Some(search_input),
        function_score: function_score(&visit.body),
        ..Default::default()
    })
}

fn hybrid_request(visit: &Visit, info: Option<&CollectionInfo>) -> Result<HybridSearchRequest, Error> {
    let collection_name = visit.required(HYBRID_REQUEST, "collectionName")?;
    let Some(searches) = visit.body.get("search").and_then(Json::as_array) else {
        return Err(Error::missing(HYBRID_REQUEST, "search"));
    };
    let one = |search: &Json| {
        let search = search.as_object().ok_or_else(|| Error::missing(HYBRID_REQUEST, "search"))?;
        let (nq, search_input) = input(SUB_REQUEST, search, info)?;
        Ok(SearchRequest {
            nq,
            dsl: search.get("filter").map(plain).unwrap_or_default(),
            search_params: search_params(search, "params"),
            expr_template_values: templates(search)?,
            search_input: Some(search_input),
            ..Default::default()
        })
    };
    let level = visit.level()?;
    Ok(HybridSearchRequest {
        collection_name,
        requests: searches.iter().map(one).collect::<Result<_, Error>>()?,
        rank_params: rank_params(&visit.body),
        output_fields: visit.texts("outputFields"),
        partition_names: visit.texts("partitionNames"),
        use_default_consistency: level.is_none(),
        consistency_level: level.unwrap_or_default(),
        function_score: function_score(&visit.body),
        ..Default::default()
    })
}

/// What a hybrid search is ranked by, as gRPC carries it.
fn rank_params(body: &Map<String, Json>) -> Vec<KeyValuePair> {
    let mut pairs = vec![pair("limit", body.get("limit").map_or_else(|| DEFAULT_LIMIT.to_string(), plain))];
    pairs.extend(body.get("offset").map(|offset| pair("offset", plain(offset))));
    if let Some(rerank) = body.get("rerank").and_then(Json::as_object) {
        pairs.extend(
            ["strategy", "params"].into_iter().filter_map(|key| Some(pair(key, plain(rerank.get(key)?)))),
        );
    }
    pairs.extend(grouping(body));
    pairs.extend(times(body));
    pairs
}

/// How hits come by groups, as gRPC carries it.
fn grouping(body: &Map<String, Json>) -> impl Iterator<Item = KeyValuePair> {
    let names = [
        ("groupingField", "group_by_field"),
        ("groupSize", "group_size"),
        ("strictGroupSize", "strict_group_size"),
    ];
    let order = body.get("orderByFields").map(|fields| pair("order_by_fields", joined(fields)));
    names.into_iter().filter_map(|(ours, wire)| Some(pair(wire, plain(body.get(ours)?)))).chain(order)
}

/// How instants are read and shown, as gRPC carries it.
pub fn times(body: &Map<String, Json>) -> impl Iterator<Item = KeyValuePair> {
    let names = [("timezone", "timezone"), ("timeFields", "time_fields"), ("time_fields", "time_fields")];
    let given = |name| body.get(name).filter(|value| !value.is_null());
    names.into_iter().filter_map(move |(ours, wire)| Some(pair(wire, joined(given(ours)?))))
}

/// A function score as gRPC carries it.
fn function_score(body: &Map<String, Json>) -> Option<FunctionScore> {
    let score = body.get("functionScore")?.as_object()?;
    let pairs = |object: Option<&Json>| -> Vec<KeyValuePair> {
        let object = object.and_then(Json::as_object);
        object.into_iter().flatten().map(|(key, value)| pair(key, plain(value))).collect()
    };
    let function = |function: &Json| FunctionSchema {
        name: function.get("name").map(plain).unwrap_or_default(),
        r#type: FunctionType::Rerank.into(),
        input_field_names: match function.get("inputFieldNames").and_then(Json::as_array) {
            Some(names) => names.iter().map(plain).collect(),
            None => Vec::new(),
        },
        params: pairs(function.get("params")),
        ..Default::default()
    };
    let functions = score.get("functions").and_then(Json::as_array);
    Some(FunctionScore {
        functions: functions.into_iter().flatten().map(function).collect(),
        params: pairs(score.get("params")),
    })
}

/// What the variables of a filter stand for.
///
/// # Errors
/// [`Error::WrongKind`] for what is no object.
pub fn templates(body: &Map<String, Json>) -> Result<HashMap<String, TemplateValue>, Error> {
    match body.get("exprParams") {
        None => Ok(HashMap::new()),
        Some(Json::Object(params)) => {
            Ok(params.iter().map(|(name, value)| (name.clone(), template(value))).collect())
        }
        Some(other) => {
            let actual = shown(&other.to_string());
            Err(Error::WrongKind { what: "exprParams", wanted: "an object", actual })
        }
    }
}

/// A list as gRPC carries it: its texts between commas.
pub fn joined(list: &Json) -> String {
    match list {
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => plain(other),
    }
}

/// What is searched for, and how many queries that is: vectors, or keys of rows that have them.
fn input(
    request: &'static str,
    body: &Map<String, Json>,
    info: Option<&CollectionInfo>,
) -> Result<(i64, SearchInput), Error> {
    if let Some(ids) = body.get("ids").and_then(Json::as_array).filter(|_| !body.contains_key("data")) {
        let numbers: Option<Vec<i64>> = ids.iter().map(Json::as_i64).collect();
        let id_field = match numbers {
            Some(data) => i_ds::IdField::IntId(LongArray { data }),
            None => i_ds::IdField::StrId(StringArray { data: ids.iter().map(plain).collect() }),
        };
        return Ok((0, SearchInput::Ids(IDs { id_field: Some(id_field) })));
    }
    let group = placeholders(request, body, info.and_then(|info| kind_of_field(info, body)))?;
    let nq = i64::try_from(group.placeholders[0].values.len()).unwrap_or(i64::MAX);
    Ok((nq, SearchInput::PlaceholderGroup(Bytes::from(group.encode_to_vec()))))
}

/// What a body with `data` and `annsField` searches for in the collection that a visit is about, and how many queries that is.
///
/// # Errors
/// If there are no vectors, or one is none.
pub async fn searched(
    proxy: &Proxy,
    visit: &Visit,
    request: &'static str,
    body: &Map<String, Json>,
) -> Result<(i64, SearchInput), Error> {
    input(request, body, info_of(proxy, visit).await.as_deref())
}

/// The query vectors as gRPC carries them: lists of numbers, objects for sparse vectors, texts of base64 for the bytes of all
/// others, lists of any of these for lists of vectors, and texts themselves for a field that is computed from texts; `field` is its type and whether it is so, where
/// that is known.
fn placeholders(
    request: &'static str,
    body: &Map<String, Json>,
    field: Option<(DataType, bool)>,
) -> Result<PlaceholderGroup, Error> {
    let data_type = field.map(|(data_type, _)| data_type);
    let Some(data) = body.get("data").and_then(Json::as_array).filter(|data| !data.is_empty()) else {
        return Err(Error::missing(request, "data"));
    };
    // A single vector may come without the list around it.
    let whole;
    let vectors = if data[0].is_number() {
        whole = [Json::Array(data.clone())];
        whole.as_slice()
    } else {
        data.as_slice()
    };
    let is_of_vectors =
        |query: &Json| query.as_array().is_some_and(|all| all.first().is_some_and(|one| !one.is_number()));
    let are_lists = is_of_vectors(&vectors[0]);
    let first = if are_lists { &vectors[0][0] } else { &vectors[0] };
    let kind = match first {
        Json::Object(_) => PlaceholderType::SparseFloatVector,
        Json::String(_) if field.is_some_and(|(_, is_computed)| is_computed) => PlaceholderType::VarChar,
        Json::String(_) => match data_type {
            Some(DataType::Float16Vector) => PlaceholderType::Float16Vector,
            Some(DataType::BFloat16Vector) => PlaceholderType::BFloat16Vector,
            Some(DataType::Int8Vector) => PlaceholderType::Int8Vector,
            Some(DataType::FloatVector) => PlaceholderType::FloatVector,
            _ => PlaceholderType::BinaryVector,
        },
        _ if data_type == Some(DataType::BinaryVector) => PlaceholderType::BinaryVector,
        _ => PlaceholderType::FloatVector,
    };
    let query = |query: &Json| match query {
        Json::Array(list) if are_lists => {
            let parts = list.iter().map(|vector| bytes_of(vector, kind)).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.concat())
        }
        vector => bytes_of(vector, kind),
    };
    let values = vectors.iter().map(query).collect::<Result<_, Error>>()?;
    let kind = if are_lists { of_lists(kind) } else { kind };
    let tag = "$0".to_owned();
    let placeholder = PlaceholderValue { tag, r#type: kind.into(), values, ..Default::default() };
    Ok(PlaceholderGroup { placeholders: vec![placeholder] })
}

/// The type of lists of vectors of a type.
const fn of_lists(kind: PlaceholderType) -> PlaceholderType {
    match kind {
        PlaceholderType::FloatVector => PlaceholderType::EmbListFloatVector,
        PlaceholderType::Float16Vector => PlaceholderType::EmbListFloat16Vector,
        PlaceholderType::BFloat16Vector => PlaceholderType::EmbListBFloat16Vector,
        PlaceholderType::Int8Vector => PlaceholderType::EmbListInt8Vector,
        PlaceholderType::BinaryVector => PlaceholderType::EmbListBinaryVector,
        PlaceholderType::SparseFloatVector => PlaceholderType::EmbListSparseFloatVector,
        other => other,
    }
}

fn bytes_of(vector: &Json, kind: PlaceholderType) -> Result<Vec<u8>, Error> {
    match (vector, kind) {
        (Json::Object(pairs), PlaceholderType::SparseFloatVector) => Ok(sparse::of_json(pairs)?),
        (Json::String(text), PlaceholderType::VarChar) => Ok(text.clone().into_bytes()),
        (Json::String(text), kind) if kind != PlaceholderType::SparseFloatVector => {
            use base64::Engine as _;
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map_err(|reason| not_json(format!("a vector is not base64: {reason}")))
        }
        (Json::Array(components), PlaceholderType::BinaryVector) => {
            let byte = |one: &Json| one.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes: Option<Vec<u8>> = components.iter().map(byte).collect();
            bytes.ok_or_else(|| {
                let found = shown(&vector.to_string());
                not_json(format!("json: cannot unmarshal {found} into the bytes of a binary vector"))
            })
        }
        (Json::Array(components), PlaceholderType::FloatVector) => {
            let mut bytes = Vec::with_capacity(components.len() * size_of::<f32>());
            for component in components {
                bytes.extend_from_slice(&single(component)?.to_le_bytes());
            }
            Ok(bytes)
        }
        _ => Err(not_json(format!("json: cannot unmarshal {} into a vector", shown(&vector.to_string())))),
    }
}

fn not_json(reason: String) -> Error {
    Rejected::NotJson { reason }.into()
}

/// The collection that is searched, for what JSON alone does not tell. What is wrong with its name, the search says.
async fn info_of(proxy: &Proxy, visit: &Visit) -> Option<Arc<CollectionInfo>> {
    proxy.info(&visit.caller, "", visit.body.get("collectionName")?.as_str()?).await.ok()
}

/// The type of the field that a search, or one of several, names, and whether it is computed; of the only vector field if it
/// names none.
fn kind_of_field(info: &CollectionInfo, body: &Map<String, Json>) -> Option<(DataType, bool)> {
    let named = body.get("annsField").map(plain).unwrap_or_default();
    let mut fields = info.schema.searched().filter(|field| named.is_empty() || field.name == named);
    let computed = |id| info.schema.function_of(id).is_some();
    // Of an array of vectors, the type of one of them.
    fields.next().map(|field| (field.data_type.element(), computed(field.id)))
}

#[expect(clippy::cast_possible_truncation, reason = "vectors are made of singles")]
fn single(component: &Json) -> Result<f32, Error> {
    component.as_f64().map(|number| number as f32).ok_or_else(|| {
        let found = shown(&component.to_string());
        not_json(format!("json: cannot unmarshal {found} into a vector component of type float32"))
    })
}

/// The parameters as gRPC carries them: pairs of texts. `object` is the key of what holds the index's among others.
fn search_params(body: &Map<String, Json>, object: &str) -> Vec<KeyValuePair> {
    let mut pairs = vec![
        pair("anns_field", body.get("annsField").map(plain).unwrap_or_default()),
        pair("topk", body.get("limit").map_or_else(|| DEFAULT_LIMIT.to_string(), plain)),
    ];
    pairs.extend(body.get("offset").map(|offset| pair("offset", plain(offset))));
    pairs.extend(grouping(body));
    pairs.extend(times(body));
    let named = |key: &str, value: &Json| match key {
        "metricType" | "metric_type" => Some(pair("metric_type", plain(value))),
        "ignoreGrowing" | "ignore_growing" => Some(pair("ignore_growing", plain(value))),
        _ => None,
    };
    pairs.extend(body.iter().filter_map(|(key, value)| named(key, value)));
    let Some(params) = body.get(object).and_then(Json::as_object) else { return pairs };
    let mut inner = params.get("params").and_then(Json::as_object).cloned().unwrap_or_default();
    for (key, value) in params.iter().filter(|(key, _)| *key != "params") {
        match named(key, value) {
            Some(pair) => pairs.push(pair),
            None => {
                inner.insert(key.clone(), value.clone());
            }
        }
    }
    pairs.push(pair("params", Json::Object(inner).to_string()));
    pairs
}

/// A pair of the wire.
pub fn pair(key: &str, value: String) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value }
}

/// A JSON value as the value of a template variable; what has no form there has no value.
pub fn template(value: &Json) -> TemplateValue {
    use template_value::Val;
    let val = match value {
        Json::Bool(value) => Some(Val::BoolVal(*value)),
        Json::Number(number) => {
            // A whole number beyond 64 bits is none that a field can have.
            let other = || number.as_f64().filter(|_| number.is_f64()).map(Val::FloatVal);
            number.as_i64().map(Val::Int64Val).or_else(other)
        }
        Json::String(text) => Some(Val::StringVal(text.clone())),
        Json::Array(values) => {
            let data = values.iter().map(|value| Bytes::from(value.to_string())).collect();
            let data = template_array_value::Data::JsonData(contract::pb::schema::JsonArray { data });
            Some(Val::ArrayVal(TemplateArrayValue { data: Some(data) }))
        }
        Json::Null | Json::Object(_) => None,
    };
    TemplateValue { val }
}
