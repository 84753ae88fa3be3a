//! What a search asks, from the wire; its hits, to the wire.

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::pb::common::{KeyValuePair, PlaceholderGroup, PlaceholderType};
use contract::pb::schema::{FieldData, LongArray, SearchIteratorV2Results, SearchResultData};
use prost::Message as _;

use super::grouping::{GroupParams, is_grouping};
use super::highlight::Highlighting;
use super::output::{self, Output};
use super::params::{boolean, plain};
use super::times::Times;
use super::travel::TRAVEL;
use super::{narrow, sparse};
use crate::base::FieldId;
use crate::model::check::check_sparse;
use crate::model::{Column, DataType, Field, Metric, Schema, SparseRows, Vector};
use crate::plan::{Range, SearchHits, groups_of};
use crate::proxy::Error;
use crate::rpc::CollectionInfo;

/// Most hits of one query, offset included. Source: wire specification 2.9.
pub const WINDOW: i64 = 16_384;
/// Most vectors of all lists of one search, each of which is compared with every vector of every row.
const MAX_LISTED: usize = 131_072;
/// Most hits of one query of a collection whose mode is the one of large results.
const LARGE_WINDOW: i64 = 1_000_000;
/// The property that says how a collection is queried, and the mode of large results.
pub const QUERY_MODE: &str = "query_mode";
/// Its only value.
pub const LARGE_TOPK: &str = "large_topk";
/// Most hits of all queries of one search together.
const MOST_HITS: usize = 1 << 28;

/// Most hits of one query of a collection, or rows of a query, offset included.
#[must_use]
pub fn window_of(info: &CollectionInfo) -> i64 {
    let is_large = info.properties.iter().any(|(key, value)| key == QUERY_MODE && value == LARGE_TOPK);
    if is_large { LARGE_WINDOW } else { WINDOW }
}

/// Checks how many hits `queries` queries may find together.
///
/// # Errors
/// [`Error::TooManyHits`] for more than memory is kept for.
pub fn check_hits(queries: usize, count: usize) -> Result<(), Error> {
    if queries.saturating_mul(count) > MOST_HITS {
        return Err(Error::TooManyHits { queries, count, limit: MOST_HITS });
    }
    Ok(())
}

/// Parameters that only the index understands; some clients send them beside `params` instead of inside.
const INDEX_PARAMS: [&str; 12] = [
    "ef",
    "nprobe",
    "search_list",
    "reorder_k",
    "refine_k",
    "max_empty_result_buckets",
    "drop_ratio_search",
    "dim_max_score_ratio",
    "level",
    "rbq_bits_query",
    "search_width",
    "itopk_size",
];

/// Parameters that `params` may carry although they are not the index's.
const NOT_INDEX_PARAMS: [&str; 15] = [
    TRAVEL,
    "timezone",
    "time_fields",
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
    /// How hits come by groups.
    pub groups: GroupParams,
    /// Which of a field's several analyzers the texts of the search are for; `None` for the default one.
    pub analyzer_name: Option<String>,
    /// The fields that hits are put in order by; empty for their scores.
    pub order_by: String,
    /// Which queries have no vector to search by, ascending: those by the keys of rows without one.
    pub without: Vec<usize>,
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

/// Reads the parameters of a search that finds at most `most` hits of each query.
///
/// # Errors
/// Milvus's words for the first parameter that is wrong.
pub fn params(pairs: &[KeyValuePair], most: i64) -> Result<SearchParams, Error> {
    let window = |name, value| window(name, value, most);
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
            "analyzer_name" => read.analyzer_name = Some(value.clone()),
            "collection_id" => read.collection_id = Some(value.clone()),
            key if is_grouping(key) => read.groups.read(key, value)?,
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
    read.check_combination()?;
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
                "analyzer_name" => self.analyzer_name = Some(plain(value)),
                "params" if value.is_object() => self.merge_json(&value.to_string())?,
                key if is_grouping(key) => self.groups.read(key, &plain(value))?,
                "hints" | "order_by_fields" => self.merge_other(key, &plain(value))?,
                key if NOT_INDEX_PARAMS.contains(&key) => {}
                key => {
                    self.index.insert(key.to_owned(), plain(value));
                }
            }
        }
        Ok(())
    }

    /// Refuses what cannot be wanted together.
    fn check_combination(&self) -> Result<(), Error> {
        if self.batch.is_some() && self.offset != 0 {
            return Err(Error::IteratorOffset);
        }
        let (by_groups, is_range) = (self.groups.field.is_some(), self.radius.is_some());
        let iterates = self.iterator || self.batch.is_some();
        match (by_groups, iterates, self.order_by.is_empty()) {
            (true, true, _) => Err(Error::GroupByIteration),
            (_, true, false) => Err(Error::OrderSearchIterator),
            (true, ..) if is_range => Err(Error::GroupByRange),
            _ => Ok(()),
        }
    }

    fn merge_other(&mut self, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "radius" => self.radius = number("radius", value)?,
            "order_by_fields" => value.clone_into(&mut self.order_by),
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
            let mut vectors = schema.searched();
            return match (vectors.next(), vectors.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Error::ManyVectorFields),
            };
        }
        let named = || self.anns_field.clone();
        let field = schema.field(&self.anns_field).ok_or_else(|| Error::SearchField { field: named() })?;
        if field.data_type.is_searched() { Ok(field) } else { Err(Error::SearchScalar { field: named() }) }
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
            None => wanted.filter(|metric| metric.suits(field.data_type)).ok_or(Error::NoMetric),
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

fn window(name: &'static str, value: i64, most: i64) -> Result<usize, Error> {
    let count = usize::try_from(value).ok().filter(|_| (1..=most).contains(&value));
    count.ok_or(Error::Window { name, value, most })
}

pub(super) fn decimals(text: &str) -> Result<Option<i32>, Error> {
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

/// The query vectors of a placeholder group; under a metric of lists each of them is the vectors of a list on end.
///
/// # Errors
/// If the bytes are no group, the vectors are not of the field's type and dimension or not finite, or they are not `nq`; if
/// lists have more vectors than one search takes.
pub fn queries(group: &Bytes, field: &Field, metric: Metric, nq: i64) -> Result<Vec<Vector>, Error> {
    let group = PlaceholderGroup::decode(group.as_ref())
        .map_err(|reason| Error::PlaceholderBytes { reason: reason.to_string() })?;
    let Some(placeholder) = group.placeholders.into_iter().next() else { return Err(Error::NoSearchInput) };
    check_count(nq, placeholder.values.len())?;
    let are_lists = metric.of_lists().is_some();
    let sent = check_type(field, are_lists, placeholder.r#type)?;
    if are_lists {
        let bytes: usize = placeholder.values.iter().map(Vec::len).sum();
        let vectors = bytes / vector_bytes(field, sent).max(1);
        if vectors > MAX_LISTED {
            let text = format!(
                "the embedding lists of a search may have {MAX_LISTED} vectors, but have {vectors}: invalid parameter"
            );
            return Err(Error::Checked { code: 1100, text });
        }
    }
    placeholder.values.iter().map(|bytes| query(bytes, field, sent, are_lists)).collect()
}

/// How many queries a placeholder group has; none if it is not one.
pub fn count_queries(group: &Bytes) -> u64 {
    let group = PlaceholderGroup::decode(group.as_ref()).unwrap_or_default();
    group.placeholders.first().map_or(0, |placeholder| placeholder.values.len() as u64)
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
fn check_type(field: &Field, are_lists: bool, placeholder: i32) -> Result<DataType, Error> {
    let sent = match PlaceholderType::try_from(placeholder) {
        Ok(PlaceholderType::EmbListFloatVector) if are_lists => Some(DataType::FloatVector),
        Ok(PlaceholderType::EmbListFloat16Vector) if are_lists => Some(DataType::Float16Vector),
        Ok(PlaceholderType::EmbListBFloat16Vector) if are_lists => Some(DataType::BFloat16Vector),
        Ok(PlaceholderType::EmbListInt8Vector) if are_lists => Some(DataType::Int8Vector),
        Ok(PlaceholderType::EmbListBinaryVector) if are_lists => Some(DataType::BinaryVector),
        _ if are_lists => None,
        Ok(PlaceholderType::FloatVector) => Some(DataType::FloatVector),
        Ok(PlaceholderType::Float16Vector) => Some(DataType::Float16Vector),
        Ok(PlaceholderType::BFloat16Vector) => Some(DataType::BFloat16Vector),
        Ok(PlaceholderType::Int8Vector) => Some(DataType::Int8Vector),
        Ok(PlaceholderType::BinaryVector) => Some(DataType::BinaryVector),
        Ok(PlaceholderType::SparseFloatVector) => Some(DataType::SparseFloatVector),
        _ => None,
    };
    let data_type = match field.data_type {
        DataType::ArrayOfVector(element) => element.vector(),
        other => other,
    };
    let fits = |sent: &DataType| *sent == data_type || *sent == DataType::FloatVector && data_type.is_dense();
    if let Some(sent) = sent.filter(fits) {
        return Ok(sent);
    }
    let search_type = PlaceholderType::try_from(placeholder)
        .map_or_else(|_| placeholder.to_string(), |known| known.as_str_name().to_owned());
    Err(Error::QueryType { field_type: field.data_type.name(), search_type })
}

/// Bytes of one vector of `field` that comes as the type `sent`, which is not sparse.
fn vector_bytes(field: &Field, sent: DataType) -> usize {
    if sent == DataType::BinaryVector { field.dim() / 8 } else { field.dim() * narrow::component_bytes(sent) }
}

fn query(bytes: &[u8], field: &Field, sent: DataType, is_list: bool) -> Result<Vector, Error> {
    if sent == DataType::SparseFloatVector {
        let vector = sparse::vector(bytes)?;
        let one: SparseRows = [vector.as_row()].into_iter().collect();
        check_sparse(&one)
            .map_err(|error| Error::Checked { code: error.milvus_code(), text: error.to_string() })?;
        return Ok(Vector::Sparse(vector));
    }
    let is_bits = sent == DataType::BinaryVector;
    let expected = vector_bytes(field, sent);
    let is_whole = bytes.len() == expected;
    if !is_whole && (!is_list || bytes.is_empty() || !bytes.len().is_multiple_of(expected)) {
        return Err(Error::QuerySize { expected, actual: bytes.len() });
    }
    if is_bits {
        return Ok(Vector::Bits(bytes.to_vec()));
    }
    let vector = narrow::from_singles(field.data_type.element(), narrow::from_bytes(sent, bytes))?;
    if vector.iter().all(|component| component.is_finite()) {
        Ok(Vector::Dense(vector))
    } else {
        Err(Error::QueryNotFinite)
    }
}

/// How the hits of a search, or of several, are given to the client.
#[derive(Clone, Debug, Default)]
pub struct Giving {
    /// Hits wanted per query, or groups.
    pub limit: usize,
    /// Hits skipped per query, or groups.
    pub offset: usize,
    /// Digits after the point to round scores to; `None` for all.
    pub round_decimal: Option<i32>,
    /// The field whose values are the groups that hits come by.
    pub group_field: Option<FieldId>,
    /// The metric by whose scores elements of rows come, the nearest first, instead of group after group.
    pub elements_by: Option<Metric>,
    /// Where an iterator of the second kind stands.
    pub batch: Option<IteratorBatch>,
    /// What is highlighted in texts of the hits.
    pub highlighting: Option<Highlighting>,
}

/// The hits of a search as the wire has them: skipped and rounded as asked.
///
/// # Errors
/// [`Error::Answer`] if the hits do not carry what was asked for; as [`Highlighting::results`].
pub fn results(
    schema: &Schema,
    giving: &Giving,
    output: &Output,
    hits: SearchHits,
) -> Result<SearchResultData, Error> {
    let hits = past_offset(giving, hits);
    let hits = match giving.elements_by {
        Some(metric) if hits.elements().is_some() => hits.nearest_first(metric),
        _ => hits,
    };
    let group_by_field_value =
        giving.group_field.map(|field| group_values(schema, field, &hits, &output.times)).transpose()?;
    let highlighted = giving.highlighting.as_ref().map(|highlighting| highlighting.results(&hits));
    let highlight_results = highlighted.transpose()?.unwrap_or_default();
    let elements = hits.elements().map(|elements| LongArray { data: elements.to_vec() });
    let SearchHits { counts, keys, mut scores, rows } = hits;
    let last_score = scores.last().copied();
    if let Some(digits) = giving.round_decimal {
        round(&mut scores, digits);
    }
    let fields_data =
        if output.fields.is_empty() { Vec::new() } else { output::fields_data(schema, output, rows)? };
    let iterator = giving.batch.as_ref().map(|batch| SearchIteratorV2Results {
        token: batch.token.clone(),
        last_bound: last_score.or(batch.last_bound).unwrap_or_default(),
    });
    Ok(SearchResultData {
        num_queries: to_i64(counts.len()),
        top_k: to_i64(giving.limit),
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
        group_by_field_values: group_by_field_value.iter().cloned().collect(),
        group_by_field_value,
        primary_field_name: schema.primary().name.clone(),
        highlight_results,
        element_indices: elements,
        ..Default::default()
    })
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The hits that stay when every query's first hits, or groups, are skipped.
fn past_offset(giving: &Giving, hits: SearchHits) -> SearchHits {
    if giving.offset == 0 {
        return hits;
    }
    let spans: Vec<std::ops::Range<usize>> = match giving.group_field {
        None => hits
            .spans()
            .into_iter()
            .map(|span| (span.start + giving.offset).min(span.end)..span.end)
            .collect(),
        Some(field) => groups_of(&hits, field)
            .into_iter()
            .map(|groups| {
                let end = groups.last().map_or(0, |(_, range)| range.end);
                groups.get(giving.offset).map_or(end, |(_, range)| range.start)..end
            })
            .collect(),
    };
    let counts = spans.iter().map(ExactSizeIterator::len).collect();
    hits.chosen(counts, &spans.into_iter().flatten().collect::<Vec<_>>())
}

/// The groups of the hits, as a column.
fn group_values(
    schema: &Schema,
    field: FieldId,
    hits: &SearchHits,
    times: &Times,
) -> Result<FieldData, Error> {
    let missing = || Error::Answer { reason: format!("no column for the groups of field {field}") };
    let known = schema.field_by_id(field).ok_or_else(missing)?;
    match hits.rows.column(field) {
        Some(column) => Ok(output::field_data(known, column.clone(), None, times)),
        None if hits.scores.is_empty() => Ok(output::field_data(known, Column::empty(known), None, times)),
        None => Err(missing()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a rounded single is a single")]
fn round(scores: &mut [f32], digits: i32) {
    let unit = 10_f64.powi(digits);
    for score in scores {
        *score = ((f64::from(*score) * unit).round() / unit) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check_schema::{FieldRequest, SchemaRequest, check_schema};
    use crate::model::{Batch, ColumnData, Keys};
    use crate::plan::ELEMENT;

    /// Two groups of two elements each, group after group.
    fn elements() -> SearchHits {
        let column =
            |field, values: &[i64]| Column { field, data: ColumnData::Int64(values.to_vec()), valid: None };
        SearchHits {
            counts: vec![4],
            keys: Keys::Int(vec![1, 1, 2, 2]),
            scores: vec![0.9, 0.5, 0.8, 0.7],
            rows: Batch {
                rows: 4,
                columns: vec![column(FieldId(100), &[1, 1, 2, 2]), column(ELEMENT, &[0, 1, 2, 0])],
            },
        }
    }

    #[test]
    fn elements_of_groups_come_by_their_scores_once_groups_are_skipped() {
        let field = |name: &str, data_type, params: &[(&str, &str)]| FieldRequest {
            name: name.to_owned(),
            data_type,
            is_primary: name == "id",
            type_params: params.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..FieldRequest::default()
        };
        let fields = vec![field("id", 5, &[]), field("v", 101, &[("dim", "2")])];
        let request = SchemaRequest { name: "c".to_owned(), fields, ..SchemaRequest::default() };
        let schema = check_schema(&request).unwrap();
        let output = Output { fields: Vec::new(), keys: None, names: Vec::new(), times: Times::default() };
        let given = |offset, elements_by| {
            let giving = Giving {
                limit: 2,
                offset,
                group_field: Some(FieldId(100)),
                elements_by,
                ..Giving::default()
            };
            let found = results(&schema, &giving, &output, elements()).unwrap();
            (found.scores, found.element_indices.unwrap().data)
        };

        assert_eq!(given(0, Some(Metric::Cosine)), (vec![0.9, 0.8, 0.7, 0.5], vec![0, 2, 0, 1]));
        assert_eq!(given(1, Some(Metric::Cosine)), (vec![0.8, 0.7], vec![2, 0]));
        assert_eq!(given(0, None), (vec![0.9, 0.5, 0.8, 0.7], vec![0, 1, 2, 0]));
    }
}
