//! What a search asks, from the wire; its hits, to the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::pb::common::{KeyValuePair, PlaceholderGroup, PlaceholderType};
use contract::pb::schema::{SearchIteratorV2Results, SearchResultData};
use prost::Message as _;

use super::narrow;
use super::output::{self, Output};
use super::params::{boolean, plain};
use crate::model::{DataType, Field, Metric, Schema};
use crate::plan::{Range, SearchHits};
use crate::proxy::Error;
use crate::rpc::CollectionInfo;

/// Most hits of one query, offset included. Source: wire specification 2.9.
pub const WINDOW: i64 = 16_384;

/// Parameters that only the index understands; some clients send them beside `params` instead of inside.
const INDEX_PARAMS: [&str; 11] = [
    "ef",
    "nprobe",
    "search_list",
    "reorder_k",
    "refine_k",
    "max_empty_result_buckets",
    "drop_ratio_search",
    "level",
    "rbq_bits_query",
    "search_width",
    "itopk_size",
];

/// Parameters that `params` may carry although they are not the index's.
const NOT_INDEX_PARAMS: [&str; 12] = [
    "metric_type",
    "anns_field",
    "topk",
    "limit",
    "offset",
    "round_decimal",
    "ignore_growing",
    "radius",
    "range_filter",
    "page_retain_order",
    "hints",
    "params",
];

/// The parameters of a search, read and checked as far as they can be without a schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchParams {
    /// Name of the vector field; empty where the only one is meant.
    pub anns_field: String,
    /// Hits wanted per query.
    pub limit: usize,
    /// Hits skipped per query.
    pub offset: usize,
    /// The metric the client expects; empty for whatever the index has.
    pub metric: String,
    /// Digits after the point to round scores to; `None` for all.
    pub round_decimal: Option<i32>,
    /// Whether rows that are not sealed yet are left out.
    pub ignore_growing: bool,
    /// Parameters of the index.
    pub index: BTreeMap<String, String>,
    /// Milvus's `radius`.
    pub radius: Option<f32>,
    /// Milvus's `range_filter`.
    pub range_filter: Option<f32>,
    /// Whether the search belongs to an iterator, whose pages must all see the same instant.
    pub iterator: bool,
    /// Set for an iterator of the second kind.
    pub batch: Option<IteratorBatch>,
    /// The collection that an iterator started on.
    pub collection_id: Option<String>,
}

/// Where an iterator of the second kind stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IteratorBatch {
    /// Hits per batch.
    pub size: usize,
    /// Score of the last hit seen: the next batch lies strictly beyond.
    pub last_bound: Option<f32>,
    /// The name the iterator got with its first batch.
    pub token: String,
}

/// Reads the parameters of a search.
///
/// # Errors
/// Milvus's words for the first parameter that is wrong.
pub fn params(pairs: &[KeyValuePair]) -> Result<SearchParams, Error> {
    let mut read = SearchParams::default();
    let (mut topk, mut offset, mut batch, mut is_second_kind) = (None, None, IteratorBatch::default(), false);
    for KeyValuePair { key, value } in pairs {
        match key.as_str() {
            "anns_field" => read.anns_field.clone_from(value),
            "topk" | "limit" => topk = Some(whole("topk", value)?),
            "offset" => offset = Some(whole("offset", value)?),
            "metric_type" => read.metric.clone_from(value),
            "round_decimal" => read.round_decimal = decimals(value)?,
            "ignore_growing" => {
                read.ignore_growing =
                    boolean(value).ok_or_else(|| Error::IgnoreGrowing { value: value.clone() })?;
            }
            "params" => read.merge_json(value)?,
            "range_filter" => read.range_filter = number("range_filter", value)?,
            "iterator" => read.iterator = boolean(value).unwrap_or(false),
            "search_iter_v2" => is_second_kind = boolean(value).unwrap_or(false),
            "search_iter_batch_size" => {
                batch.size = usize::try_from(whole("search_iter_batch_size", value)?).unwrap_or(0)
            }
            "search_iter_last_bound" => batch.last_bound = number("search_iter_last_bound", value)?,
            "search_iter_id" => batch.token.clone_from(value),
            "collection_id" => read.collection_id = Some(value.clone()),
            other => read.merge_other(other, value)?,
        }
    }
    read.limit = window("topk", topk.ok_or(Error::NoTopk { name: "topk" })?)?;
    let offset = offset.unwrap_or(0);
    if offset != 0 {
        read.offset = window("offset", offset)?;
        window("offset+topk", topk.unwrap_or(0).saturating_add(offset))?;
    }
    if is_second_kind {
        if batch.size != 0 {
            read.limit = window("search_iter_batch_size", i64::try_from(batch.size).unwrap_or(i64::MAX))?;
        }
        read.batch = Some(batch);
    }
    Ok(read)
}

impl SearchParams {
    /// Takes over what the JSON text `params` carries.
    fn merge_json(&mut self, text: &str) -> Result<(), Error> {
        if text.is_empty() || text == "{}" {
            return Ok(());
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
            .map_err(|reason| Error::SearchParamsJson { reason: reason.to_string() })?;
        for (key, value) in &object {
            match key.as_str() {
                "radius" => self.radius = Some(json_number("radius", value)?),
                "range_filter" => self.range_filter = Some(json_number("range_filter", value)?),
                "metric_type" if self.metric.is_empty() => self.metric = plain(value),
                "ignore_growing" => {
                    let value = plain(value);
                    self.ignore_growing = boolean(&value).ok_or(Error::IgnoreGrowing { value })?;
                }
                "params" if value.is_object() => self.merge_json(&value.to_string())?,
                "group_by_field" | "hints" | "order_by_fields" => self.merge_other(key, &plain(value))?,
                key if NOT_INDEX_PARAMS.contains(&key) => {}
                key => {
                    self.index.insert(key.to_owned(), plain(value));
                }
            }
        }
        Ok(())
    }

    fn merge_other(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "radius" => self.radius = number("radius", value)?,
            "group_by_field" | "group_by_fields" if !value.is_empty() => {
                return Err(if self.iterator {
                    Error::GroupByIteration
                } else {
                    Error::ReadNotBuilt { what: "group by" }
                });
            }
            "order_by_fields" if !value.is_empty() => return Err(Error::ReadNotBuilt { what: "order by" }),
            "hints" if !matches!(value, "" | "iterative_filter" | "disable") => {
                return Err(Error::Hint { hint: value.to_owned() });
            }
            key if INDEX_PARAMS.contains(&key) => {
                self.index.insert(key.to_owned(), value.to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// The vector field to search.
    ///
    /// # Errors
    /// If the name means no vector field, or none is given and there are several.
    pub fn field<'a>(&self, schema: &'a Schema) -> Result<&'a Field, Error> {
        if self.anns_field.is_empty() {
            let mut vectors = schema.vectors();
            return match (vectors.next(), vectors.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Error::ManyVectorFields),
            };
        }
        let named = || self.anns_field.clone();
        let field = schema.field(&self.anns_field).ok_or_else(|| Error::SearchField { field: named() })?;
        if field.data_type.is_vector() { Ok(field) } else { Err(Error::SearchScalar { field: named() }) }
    }

    /// The metric to search by: the index's, which the client may repeat.
    ///
    /// # Errors
    /// [`Error::MetricMismatch`] if the client names another.
    pub fn metric(&self, info: &CollectionInfo, field: &Field) -> Result<Metric, Error> {
        let wanted = Metric::from_name(&self.metric);
        match info.index_on(field.id).and_then(|index| index.metric) {
            Some(metric) if self.metric.is_empty() || wanted == Some(metric) => Ok(metric),
            Some(metric) => {
                Err(Error::MetricMismatch { expected: metric.name().to_owned(), actual: self.metric.clone() })
            }
            None => wanted.ok_or(Error::NoMetric),
        }
    }

    /// The band that scores must lie in.
    ///
    /// # Errors
    /// If the two bounds contradict each other, or the near one comes alone.
    pub fn range(&self, metric: Metric) -> Result<Option<Range>, Error> {
        let band = match (self.radius, self.range_filter) {
            (None, None) => None,
            (None, Some(_)) => return Err(Error::RangeWithoutRadius),
            (Some(outer), inner) => {
                check_order(metric, outer, inner)?;
                Some(Range { outer, inner })
            }
        };
        let Some(last) = self.batch.as_ref().and_then(|batch| batch.last_bound) else { return Ok(band) };
        // Strictly beyond the last score: the next number that a score can be is the first allowed one.
        let (farthest, beyond) = if metric.larger_is_nearer() {
            (f32::NEG_INFINITY, last.next_down())
        } else {
            (f32::INFINITY, last.next_up())
        };
        let inner = match band.and_then(|band| band.inner) {
            Some(inner) if metric.larger_is_nearer() => inner.min(beyond),
            Some(inner) => inner.max(beyond),
            None => beyond,
        };
        Ok(Some(Range { outer: band.map_or(farthest, |band| band.outer), inner: Some(inner) }))
    }
}

fn check_order(metric: Metric, radius: f32, range_filter: Option<f32>) -> Result<(), Error> {
    let Some(range_filter) = range_filter else { return Ok(()) };
    let (fits, relation) = if metric.larger_is_nearer() {
        (range_filter > radius, "greater")
    } else {
        (range_filter < radius, "less")
    };
    if fits {
        Ok(())
    } else {
        Err(Error::RangeOrder { metric: metric.name(), range_filter, relation, radius })
    }
}

fn whole(name: &'static str, text: &str) -> Result<i64, Error> {
    text.trim().parse().map_err(|_| Error::NotNumber { name, value: text.to_owned() })
}

fn window(name: &'static str, value: i64) -> Result<usize, Error> {
    usize::try_from(value).ok().filter(|_| (1..=WINDOW).contains(&value)).ok_or(Error::Window { name, value })
}

fn decimals(text: &str) -> Result<Option<i32>, Error> {
    match text.trim().parse() {
        Ok(-1) => Ok(None),
        Ok(digits @ 0..=6) => Ok(Some(digits)),
        _ => Err(Error::RoundDecimal { value: text.to_owned() }),
    }
}

fn number(name: &'static str, text: &str) -> Result<Option<f32>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.trim().parse().map(Some).map_err(|_| Error::RangeNotNumber { name })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores are singles; so are the bounds they are compared with"
)]
fn json_number(name: &'static str, value: &serde_json::Value) -> Result<f32, Error> {
    value.as_f64().map(|number| number as f32).ok_or(Error::RangeNotNumber { name })
}

/// The query vectors of a placeholder group.
///
/// # Errors
/// If the bytes are no group, the vectors are not of the field's type and dimension or not finite, or they are not `nq`.
pub fn queries(group: &Bytes, field: &Field, nq: i64) -> Result<Vec<Vec<f32>>, Error> {
    let group = PlaceholderGroup::decode(group.as_ref())
        .map_err(|reason| Error::PlaceholderBytes { reason: reason.to_string() })?;
    let Some(placeholder) = group.placeholders.into_iter().next() else { return Err(Error::NoSearchInput) };
    check_count(nq, placeholder.values.len())?;
    let sent = check_type(field, placeholder.r#type)?;
    placeholder.values.iter().map(|bytes| query(bytes, field, sent)).collect()
}

/// Checks the number of queries.
///
/// # Errors
/// [`Error::QueryCount`] out of range, [`Error::QueryCountDiffers`] if `nq` says something else than there is.
pub fn check_count(nq: i64, values: usize) -> Result<(), Error> {
    let count = i64::try_from(values).unwrap_or(i64::MAX);
    // Some clients leave nq out.
    let nq = if nq == 0 && count > 0 { count } else { nq };
    if !(1..=WINDOW).contains(&nq) {
        return Err(Error::QueryCount { nq });
    }
    if nq == count { Ok(()) } else { Err(Error::QueryCountDiffers { nq, values }) }
}

/// The type of the vectors in a placeholder, which the field must take: its own, or singles.
fn check_type(field: &Field, placeholder: i32) -> Result<DataType, Error> {
    let sent = match PlaceholderType::try_from(placeholder) {
        Ok(PlaceholderType::FloatVector) => Some(DataType::FloatVector),
        Ok(PlaceholderType::Float16Vector) => Some(DataType::Float16Vector),
        Ok(PlaceholderType::BFloat16Vector) => Some(DataType::BFloat16Vector),
        Ok(PlaceholderType::Int8Vector) => Some(DataType::Int8Vector),
        _ => None,
    };
    if let Some(sent) = sent.filter(|sent| *sent == DataType::FloatVector || *sent == field.data_type) {
        return Ok(sent);
    }
    let search_type = PlaceholderType::try_from(placeholder)
        .map_or_else(|_| placeholder.to_string(), |known| known.as_str_name().to_owned());
    Err(Error::QueryType { field_type: field.data_type.name(), search_type })
}

fn query(bytes: &[u8], field: &Field, sent: DataType) -> Result<Vec<f32>, Error> {
    let expected = field.dim() * narrow::component_bytes(sent);
    if bytes.len() != expected {
        return Err(Error::QuerySize { expected, actual: bytes.len() });
    }
    let vector = narrow::from_singles(field.data_type, narrow::from_bytes(sent, bytes))?;
    if vector.iter().all(|component| component.is_finite()) { Ok(vector) } else { Err(Error::QueryNotFinite) }
}

/// The hits of a search as the wire has them: skipped and rounded as asked.
///
/// # Errors
/// [`Error::Answer`] if the hits do not carry what was asked for.
pub fn results(
    schema: &Schema,
    params: &SearchParams,
    output: &Output,
    hits: SearchHits,
) -> Result<SearchResultData, Error> {
    let SearchHits { counts, keys, mut scores, rows } = hits;
    let (counts, keys, rows) = if params.offset == 0 {
        (counts, keys, rows)
    } else {
        let kept = past_offset(&counts, params.offset);
        scores = kept.iter().map(|&hit| scores[hit]).collect();
        let counts = counts.iter().map(|count| count.saturating_sub(params.offset)).collect();
        (counts, keys.take(&kept), rows.take(&kept))
    };
    let last_score = scores.last().copied();
    if let Some(digits) = params.round_decimal {
        round(&mut scores, digits);
    }
    let fields_data =
        if output.fields.is_empty() { Vec::new() } else { output::fields_data(schema, output, rows)? };
    let iterator = params.batch.as_ref().map(|batch| SearchIteratorV2Results {
        token: batch.token.clone(),
        last_bound: last_score.or(batch.last_bound).unwrap_or_default(),
    });
    Ok(SearchResultData {
        num_queries: to_i64(counts.len()),
        top_k: to_i64(params.limit),
        fields_data,
        scores,
        ids: Some(output::ids(if keys.is_empty() {
            crate::model::Keys::empty(schema.primary().data_type)
        } else {
            keys
        })),
        topks: counts.into_iter().map(to_i64).collect(),
        output_fields: output.names.clone(),
        search_iterator_v2_results: iterator,
        primary_field_name: schema.primary().name.clone(),
        ..Default::default()
    })
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The hits that stay when every query's first `offset` hits go.
fn past_offset(counts: &[usize], offset: usize) -> Vec<usize> {
    let mut start = 0;
    let mut kept = Vec::new();
    for &count in counts {
        kept.extend(start + offset.min(count)..start + count);
        start += count;
    }
    kept
}

#[expect(clippy::cast_possible_truncation, reason = "a rounded single is a single")]
fn round(scores: &mut [f32], digits: i32) {
    let unit = 10_f64.powi(digits);
    for score in scores {
        *score = ((f64::from(*score) * unit).round() / unit) as f32;
    }
}
