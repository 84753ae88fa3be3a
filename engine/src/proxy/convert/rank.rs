//! How hits are ranked anew, from the wire: the rank parameters of a hybrid search, and function scores.

use std::collections::BTreeMap;

use contract::pb::common::KeyValuePair;
use contract::pb::schema::{FunctionSchema, FunctionScore, FunctionType};
use serde_json::{Map, Value as Json};

use super::filter;
use super::grouping::{GroupParams, is_grouping};
use super::params::{boolean, plain};
use super::query::check_window;
use super::texts::refused;
use crate::base::FieldId;
use crate::calendar::TimeZone;
use crate::expr::Filter;
use crate::inference;
use crate::model::{DataType, Field, Schema};
use crate::plan::{Boost, Boosting, Combine, Curve, Decay, Fusion, Mode, Random};
use crate::proxy::Error;
use crate::text::{self, MAX_QUERY_BYTES};

/// Most searches in one hybrid search. Source: wire specification 2.11.
pub const MAX_REQUESTS: usize = 1024;
/// Milvus's `k` of reciprocal ranks where the client says nothing.
const DEFAULT_K: f32 = 60.0;
/// Milvus's `decay` where the client says nothing.
const DEFAULT_DECAY: f64 = 0.5;

/// The rank parameters of a hybrid search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankParams {
    /// Hits wanted per query.
    pub limit: usize,
    /// Hits skipped per query.
    pub offset: usize,
    /// Digits after the point to round scores to; `None` for all.
    pub round_decimal: Option<i32>,
    /// How hits come by groups.
    pub groups: GroupParams,
    /// How the scores of a group become its score.
    pub group_scorer: Mode,
    strategy: String,
    params: Map<String, Json>,
}

/// How scores change.
#[derive(Clone, Debug, PartialEq)]
pub enum Ranker {
    /// The scores of one or more searches become new ones.
    Fusion(Fusion),
    /// The scores of one search are raised for some rows.
    Boosting(Boosting),
    /// The scores of one or more searches are those that a model gives.
    Model(Judging),
}

/// What a model is asked about hits.
#[derive(Clone, Debug, PartialEq)]
pub struct Judging {
    /// The field of the texts that are judged.
    pub field: FieldId,
    /// By query, what the texts should answer.
    pub queries: Vec<String>,
    /// Who is asked, and how.
    pub params: Vec<(String, String)>,
}

/// Reads the rank parameters of a hybrid search that finds at most `most` hits of each query.
///
/// # Errors
/// Milvus's words for the first parameter that is wrong.
pub fn params(pairs: &[KeyValuePair], most: i64) -> Result<RankParams, Error> {
    let mut read = RankParams::default();
    let (mut limit, mut offset) = (None, 0);
    for KeyValuePair { key, value } in pairs {
        match key.as_str() {
            "limit" => limit = Some(whole("limit", value)?),
            "offset" => offset = whole("offset", value)?,
            "round_decimal" => read.round_decimal = super::search::decimals(value)?,
            "strategy" => read.strategy.clone_from(value),
            "params" => read.params = object(value)?,
            "rank_group_scorer" => {
                read.group_scorer = mode(value).ok_or_else(|| Error::GroupScorer { name: value.clone() })?;
            }
            key if is_grouping(key) => read.groups.read(key, value)?,
            _ => {}
        }
    }
    let limit = limit.ok_or(Error::NoRankLimit)?;
    check_window(offset, limit, most)?;
    read.limit = usize::try_from(limit).unwrap_or(0);
    read.offset = usize::try_from(offset).unwrap_or(0);
    Ok(read)
}

impl RankParams {
    /// How the scores of `searches` searches become one.
    ///
    /// # Errors
    /// Milvus's words for a strategy that is none, or parameters that do not fit it.
    pub fn fusion(&self, searches: usize) -> Result<Fusion, Error> {
        match self.strategy.as_str() {
            "" | "rrf" => reciprocal(self.params.get("k")),
            "weighted" => weighted(&self.params, searches),
            other => Err(Error::RankStrategy { strategy: other.to_owned() }),
        }
    }
}

/// What a function score does to the hits of `searches` searches with `queries` queries each; `None` if it holds no function.
///
/// # Errors
/// Milvus's words for a function that is none, or parameters that do not fit it.
pub fn ranker(
    score: &FunctionScore,
    schema: &Schema,
    zone: &TimeZone,
    (searches, queries): (usize, i64),
) -> Result<Option<Ranker>, Error> {
    let Some(first) = score.functions.first() else { return Ok(None) };
    if let Some(other) = score.functions.iter().find(|function| function.r#type() != FunctionType::Rerank) {
        return Err(Error::NotReranker { name: other.name.clone() });
    }
    let params = pairs(&first.params);
    let name = params.get("reranker").map(|name| name.to_lowercase()).unwrap_or_default();
    if name == "boost" {
        return boosting(score, schema, zone).map(Ranker::Boosting).map(Some);
    }
    if score.functions.len() > 1 {
        return Err(Error::ManyRerankers);
    }
    let values: Map<String, Json> = params.iter().map(|(key, value)| (key.clone(), parsed(value))).collect();
    let fusion = match name.as_str() {
        "rrf" => reciprocal(values.get("k"))?,
        "weighted" => weighted(&values, searches)?,
        "decay" => decayed(first, &params, schema)?,
        "model" => return model(first, &params, schema, queries).map(|asked| Some(Ranker::Model(asked))),
        "" => return Err(Error::NoReranker),
        _ => return Err(Error::Reranker { name }),
    };
    Ok(Some(Ranker::Fusion(fusion)))
}

#[expect(clippy::cast_possible_truncation, reason = "scores are singles")]
fn reciprocal(k: Option<&Json>) -> Result<Fusion, Error> {
    let Some(k) = k else { return Ok(Fusion::Reciprocal { k: DEFAULT_K }) };
    let k = k.as_f64().ok_or_else(|| Error::RankNumber { name: "k", value: plain(k) })?;
    if k > 0.0 && k < 16_384.0 { Ok(Fusion::Reciprocal { k: k as f32 }) } else { Err(Error::RankK { k }) }
}

#[expect(clippy::cast_possible_truncation, reason = "scores are singles")]
fn weighted(params: &Map<String, Json>, searches: usize) -> Result<Fusion, Error> {
    let weights = params.get("weights").and_then(Json::as_array).ok_or(Error::NoWeights)?;
    let weight = |weight: &Json| {
        let number = weight.as_f64();
        let number = number.ok_or_else(|| Error::RankNumber { name: "weight", value: plain(weight) })?;
        if (0.0..=1.0).contains(&number) {
            Ok(number as f32)
        } else {
            Err(Error::RankWeight { weight: number })
        }
    };
    let weights = weights.iter().map(weight).collect::<Result<Vec<_>, _>>()?;
    if weights.len() != searches {
        return Err(Error::RankWeightCount { expected: searches, actual: weights.len() });
    }
    let normalised = match params.get("norm_score") {
        None => false,
        Some(value) => boolean(&plain(value))
            .ok_or_else(|| Error::RankNumber { name: "norm_score", value: plain(value) })?,
    };
    Ok(Fusion::Weighted { weights, normalised })
}

fn decayed(
    function: &FunctionSchema,
    params: &BTreeMap<String, String>,
    schema: &Schema,
) -> Result<Fusion, Error> {
    let [input] = function.input_field_names.as_slice() else {
        return Err(Error::DecayInputs { count: function.input_field_names.len() });
    };
    let field = numeric(schema, input)?;
    let number = |name: &'static str| {
        let parse = |text: &String| {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| Error::RankNumber { name, value: text.clone() })
        };
        params.get(name).map(parse).transpose()
    };
    let curve = match params.get("function").map(String::as_str) {
        Some("gauss") => Curve::Gauss,
        Some("exp") => Curve::Exponential,
        Some("linear") => Curve::Linear,
        Some(other) => return Err(Error::DecayCurve { name: other.to_owned() }),
        None => return Err(Error::DecayMissing { name: "function" }),
    };
    let decay = Decay {
        field: field.id,
        curve,
        origin: number("origin")?.ok_or(Error::DecayMissing { name: "origin" })?,
        scale: number("scale")?.ok_or(Error::DecayMissing { name: "scale" })?,
        offset: number("offset")?.unwrap_or(0.0),
        decay: number("decay")?.unwrap_or(DEFAULT_DECAY),
    };
    if decay.scale <= 0.0 {
        return Err(Error::DecayRange { name: "scale", wanted: "> 0", value: decay.scale });
    }
    if decay.offset < 0.0 {
        return Err(Error::DecayRange { name: "offset", wanted: ">= 0", value: decay.offset });
    }
    if decay.decay <= 0.0 || decay.decay >= 1.0 {
        return Err(Error::DecayRange { name: "decay", wanted: "in range (0, 1)", value: decay.decay });
    }
    let mode = match params.get("score_mode") {
        None => Mode::Max,
        Some(name) => mode(name).ok_or_else(|| Error::ScoreMode { name: name.clone() })?,
    };
    Ok(Fusion::Decayed { decay, mode })
}

/// What a model as a ranker is asked. Whom is for whoever asks.
fn model(
    function: &FunctionSchema,
    params: &BTreeMap<String, String>,
    schema: &Schema,
    queries: i64,
) -> Result<Judging, Error> {
    let [input] = function.input_field_names.as_slice() else {
        return Err(Error::ModelInputs { count: function.input_field_names.len() });
    };
    let field = match schema.field(input) {
        None => return Err(Error::RerankField { field: input.clone() }),
        Some(field) if field.data_type.is_text() => field.id,
        Some(other) => {
            return Err(Error::ModelType { field: input.clone(), data_type: other.data_type.name() });
        }
    };
    inference::ranks(params.get("provider").map(String::as_str).unwrap_or_default())?;
    let texts = params.get("queries").ok_or(Error::ModelQueries)?;
    let texts: Vec<String> = serde_json::from_str(texts)
        .map_err(|reason| Error::ModelQueriesJson { reason: reason.to_string() })?;
    if let Some(text) = texts.iter().find(|text| text.len() > MAX_QUERY_BYTES) {
        return Err(refused(&text::Error::TextTooLong { bytes: text.len() }).into());
    }
    if i64::try_from(texts.len()) != Ok(queries) {
        return Err(Error::ModelQueryCount { texts: texts.len(), queries });
    }
    let params = params.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Judging { field, queries: texts, params })
}

fn numeric<'a>(schema: &'a Schema, name: &str) -> Result<&'a Field, Error> {
    let field = schema.field(name).ok_or_else(|| Error::RerankField { field: name.to_owned() })?;
    match field.data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double => Ok(field),
        other => Err(Error::DecayType { field: name.to_owned(), data_type: other.name() }),
    }
}

fn boosting(score: &FunctionScore, schema: &Schema, zone: &TimeZone) -> Result<Boosting, Error> {
    let modes = pairs(&score.params);
    let mode = |name: &'static str| match modes.get(name).map(|mode| mode.to_lowercase()).as_deref() {
        None | Some("multiply") => Ok(Combine::Multiply),
        Some("sum") => Ok(Combine::Sum),
        Some(other) => Err(Error::BoostMode { name, value: other.to_owned() }),
    };
    let boosts =
        score.functions.iter().map(|function| boost(function, schema, zone)).collect::<Result<_, _>>()?;
    Ok(Boosting { boosts, functions: mode("function_mode")?, score: mode("boost_mode")? })
}

fn boost(function: &FunctionSchema, schema: &Schema, zone: &TimeZone) -> Result<Boost, Error> {
    let params = pairs(&function.params);
    let name = params.get("reranker").map(String::as_str).unwrap_or_default();
    if !name.eq_ignore_ascii_case("boost") {
        return Err(Error::ManyRerankers);
    }
    let weight = params.get("weight").ok_or(Error::NoBoostWeight)?;
    let weight = weight.trim().parse::<f32>().ok().filter(|weight| weight.is_finite());
    let weight = weight.ok_or_else(|| Error::RankNumber {
        name: "weight",
        value: params.get("weight").cloned().unwrap_or_default(),
    })?;
    let filter = match params.get("filter") {
        Some(text) => filter::of_read(text, schema, zone, Default::default())
            .map_err(|error| Error::BoostFilter { reason: error.to_string() })?,
        None => None,
    };
    let random = params.get("random_score").map(|text| random(text, schema)).transpose()?;
    // Boosts are computed on threads that answer requests.
    if filter.as_ref().is_some_and(Filter::is_long_work) {
        return Err(Error::ReadNotBuilt {
            what: "text_match, a geometry function or a statement about elements in the filter of a boost",
        });
    }
    Ok(Boost { filter, weight, random })
}

fn random(text: &str, schema: &Schema) -> Result<Random, Error> {
    let wrong = || Error::RankNumber { name: "random_score", value: text.to_owned() };
    let values = match serde_json::from_str(text) {
        Ok(Json::Object(values)) => values,
        _ => return Err(wrong()),
    };
    let seed = match values.get("seed") {
        None => 0,
        Some(seed) => plain(seed).trim().parse().map_err(|_| wrong())?,
    };
    let field = match values.get("field").and_then(Json::as_str) {
        None => None,
        Some(name) => {
            Some(schema.field(name).ok_or_else(|| Error::RerankField { field: name.to_owned() })?.id)
        }
    };
    Ok(Random { seed, field })
}

fn mode(name: &str) -> Option<Mode> {
    match name.to_lowercase().as_str() {
        "max" => Some(Mode::Max),
        "sum" => Some(Mode::Sum),
        "avg" => Some(Mode::Average),
        _ => None,
    }
}

fn pairs(pairs: &[KeyValuePair]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect()
}

/// A text as the JSON value that it stands for; what is no JSON stays a text.
fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
}

fn object(text: &str) -> Result<Map<String, Json>, Error> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(|reason| Error::RankParamsJson { reason: reason.to_string() })
}

fn whole(name: &'static str, text: &str) -> Result<i64, Error> {
    text.trim().parse().map_err(|_| Error::RankNumber { name, value: text.to_owned() })
}
