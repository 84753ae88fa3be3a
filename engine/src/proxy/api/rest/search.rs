//! `entities/search`: the REST form of a search, answered by the same code as gRPC's.

use bytes::Bytes;
use contract::pb::common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue};
use contract::pb::milvus::SearchRequest;
use contract::pb::milvus::search_request::SearchInput;
use contract::pb::schema::{
    SearchResultData, TemplateArrayValue, TemplateValue, template_array_value, template_value,
};
use prost::Message as _;
use serde_json::{Map, Value as Json, json};

use super::{Visit, missing, values};
use crate::proxy::api::reads;
use crate::proxy::convert::consistency;
use crate::proxy::convert::params::plain;
use crate::proxy::{Error, Proxy};

/// Milvus's name of the request, in complaints about missing keys.
const REQUEST: &str = "SearchReqV2";
/// Hits per query where the client says nothing.
const DEFAULT_LIMIT: i64 = 100;

/// Nearest neighbours; the hits of all queries in one list.
pub async fn search(proxy: &Proxy, visit: Visit) -> Result<Map<String, Json>, Error> {
    let takes_int64 = visit.takes_int64;
    let request = request(&visit)?;
    let results = reads::search(proxy, visit.caller, request).await?.results.unwrap_or_default();
    let hits: Vec<Json> = (0..results.scores.len()).map(|at| hit(&results, at, takes_int64)).collect();
    let mut answer = super::data(Json::Array(hits));
    answer.insert("topks".to_owned(), json!(results.topks));
    answer.insert("cost".to_owned(), json!(0));
    Ok(answer)
}

fn hit(results: &SearchResultData, at: usize, takes_int64: bool) -> Json {
    let mut row = values::row(&results.fields_data, at, takes_int64);
    row.insert("distance".to_owned(), json!(results.scores[at]));
    row.insert("id".to_owned(), values::id(results.ids.as_ref(), at, takes_int64));
    Json::Object(row)
}

fn request(visit: &Visit) -> Result<SearchRequest, Error> {
    let collection_name = visit.required(REQUEST, "collectionName")?;
    let group = placeholders(visit)?;
    let expr_template_values = match visit.body.get("exprParams").and_then(Json::as_object) {
        Some(params) => params.iter().map(|(name, value)| (name.clone(), template(value))).collect(),
        None => Default::default(),
    };
    let level = consistency::level_named(&visit.text("consistencyLevel"));
    Ok(SearchRequest {
        collection_name,
        nq: i64::try_from(group.placeholders[0].values.len()).unwrap_or(i64::MAX),
        dsl: visit.text("filter"),
        output_fields: visit.texts("outputFields"),
        partition_names: visit.texts("partitionNames"),
        search_params: search_params(visit),
        use_default_consistency: level.is_none(),
        consistency_level: level.unwrap_or_default(),
        expr_template_values,
        search_input: Some(SearchInput::PlaceholderGroup(Bytes::from(group.encode_to_vec()))),
        ..Default::default()
    })
}

/// The query vectors as gRPC carries them.
fn placeholders(visit: &Visit) -> Result<PlaceholderGroup, Error> {
    let Some(data) = visit.body.get("data").and_then(Json::as_array).filter(|data| !data.is_empty()) else {
        return Err(missing(REQUEST, "data"));
    };
    // A single vector may come without the list around it.
    let vectors: Vec<&[Json]> = if data[0].is_number() {
        vec![data.as_slice()]
    } else {
        data.iter().map(|vector| vector.as_array().map_or(&[][..], Vec::as_slice)).collect()
    };
    let bytes = |vector: &[Json]| -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(vector.len() * size_of::<f32>());
        for component in vector {
            bytes.extend_from_slice(&single(component)?.to_le_bytes());
        }
        Ok(bytes)
    };
    let values = vectors.into_iter().map(bytes).collect::<Result<_, _>>()?;
    let placeholder = PlaceholderValue {
        tag: "$0".to_owned(),
        r#type: PlaceholderType::FloatVector.into(),
        values,
        ..Default::default()
    };
    Ok(PlaceholderGroup { placeholders: vec![placeholder] })
}

#[expect(clippy::cast_possible_truncation, reason = "vectors are made of singles")]
fn single(component: &Json) -> Result<f32, Error> {
    component.as_f64().map(|number| number as f32).ok_or_else(|| Error::NotJson {
        reason: format!("json: cannot unmarshal {component} into a vector component of type float32"),
    })
}

/// The parameters as gRPC carries them: pairs of texts.
fn search_params(visit: &Visit) -> Vec<KeyValuePair> {
    let mut pairs = vec![
        pair("anns_field", visit.text("annsField")),
        pair("topk", visit.body.get("limit").map_or_else(|| DEFAULT_LIMIT.to_string(), plain)),
    ];
    if let Some(offset) = visit.body.get("offset") {
        pairs.push(pair("offset", plain(offset)));
    }
    if let Some(field) = visit.body.get("groupingField") {
        pairs.push(pair("group_by_field", plain(field)));
    }
    let Some(params) = visit.body.get("searchParams").and_then(Json::as_object) else { return pairs };
    let mut inner = params.get("params").and_then(Json::as_object).cloned().unwrap_or_default();
    for (key, value) in params {
        match key.as_str() {
            "metricType" | "metric_type" => pairs.push(pair("metric_type", plain(value))),
            "ignoreGrowing" | "ignore_growing" => pairs.push(pair("ignore_growing", plain(value))),
            "params" => {}
            other => {
                inner.insert(other.to_owned(), value.clone());
            }
        }
    }
    pairs.push(pair("params", Json::Object(inner).to_string()));
    pairs
}

fn pair(key: &str, value: String) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value }
}

/// A JSON value as the value of a template variable; what has no form there has no value.
fn template(value: &Json) -> TemplateValue {
    use template_value::Val;
    let val = match value {
        Json::Bool(value) => Some(Val::BoolVal(*value)),
        Json::Number(number) => {
            number.as_i64().map(Val::Int64Val).or_else(|| number.as_f64().map(Val::FloatVal))
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
