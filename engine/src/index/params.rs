//! What a search request may ask of an index.

use serde_json::{Map, Value};

use super::spec::{Form, share_of};
use super::{Error, IndexType, Saturation};
use crate::model::Metric;

/// The least `ef` of a graph search that names none.
const DEFAULT_EF: usize = 64;
/// The `ef` of each `level` of an automatic index, from 1 on: a level costs about a third more than the one before.
const LEVEL_EFS: [usize; 10] = [DEFAULT_EF, 88, 120, 160, 216, 288, 384, 512, 688, 920];
/// The greatest `bm25_k1`.
const MAX_K1: f32 = 3.0;
/// The least `bm25_avgdl`: texts are at most so many times longer that singles can tell.
const LEAST_AVERAGE: f32 = 1e-6;
/// How many lists a search reads that does not say.
const DEFAULT_NPROBE: usize = 8;

/// Which scores a range search answers with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The farther bound, itself outside the range.
    pub radius: f32,
    /// The nearer bound, itself inside the range; none if the range reaches to the nearest.
    pub range_filter: Option<f32>,
}

impl Range {
    /// Whether `score` lies in the range: `range_filter <= d < radius` for distances, `radius < s <= range_filter`
    /// for similarities.
    #[must_use]
    pub fn contains(&self, metric: Metric, score: f32) -> bool {
        let near_enough = if metric.larger_is_nearer() { score > self.radius } else { score < self.radius };
        let far_enough = self
            .range_filter
            .is_none_or(|bound| if metric.larger_is_nearer() { score <= bound } else { score >= bound });
        near_enough && far_enough
    }

    /// Whether `score`, and so every farther one, is too far.
    #[must_use]
    pub fn is_beyond(&self, metric: Metric, score: f32) -> bool {
        if metric.larger_is_nearer() { score <= self.radius } else { score >= self.radius }
    }
}

/// Search parameters that were checked. The default leaves every choice to the index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchParams {
    /// Candidates kept by a graph walk; at least `k`.
    pub ef: Option<usize>,
    /// Lists read of an inverted file.
    pub nprobe: Option<usize>,
    /// How many times `k` candidates are compared by their full vectors; at least 1.
    pub refine_k: Option<f32>,
    /// Which share of a sparse query's smallest components is left out of finding rows; less than 1.
    pub drop_ratio: Option<f32>,
    /// How counts of words are weighed, under the metric of texts.
    pub saturation: Option<Saturation>,
    /// Set for a range search.
    pub range: Option<Range>,
}

impl SearchParams {
    /// Reads the request's `params` for a search of `k` rows. Parameters of other index types, and unknown ones, are
    /// ignored. Numbers may come as text.
    ///
    /// # Errors
    /// The refusals of Milvus, in its words: ranges, types, `ef` below `k`, bounds the wrong way round.
    pub fn parse(
        index_type: IndexType,
        metric: Metric,
        params: &Map<String, Value>,
        k: usize,
    ) -> Result<Self, Error> {
        let range = parse_range(metric, params)?;
        let mut parsed = Self { range, ..Self::default() };
        match index_type.form() {
            Form::Flat => {}
            Form::Graph if index_type == IndexType::DiskAnn => {
                parsed.ef = search_list(params, k, range.is_some())?;
            }
            Form::Graph => {
                let graph = |value, low, high| Error::OutOfRange { key: "ef", value, low, high };
                parsed.ef = integer(params, "ef", 1, i64::from(i32::MAX), graph)?;
                // Milvus lets a walk over product codes keep fewer candidates than are wanted; here it keeps as many.
                if matches!(index_type, IndexType::HnswPq | IndexType::HnswPrq) {
                    parsed.ef = parsed.ef.map(|ef| ef.max(k));
                }
                if range.is_none() {
                    parsed.check_ef(k)?;
                }
                if index_type == IndexType::Auto {
                    let level = integer(params, "level", 1, LEVEL_EFS.len() as i64, in_json("level"))?;
                    let ef = level.and_then(|level| LEVEL_EFS.get(level - 1));
                    parsed.ef = parsed.ef.or(ef.map(|ef| *ef.max(&k)));
                } else if index_type != IndexType::Hnsw {
                    parsed.refine_k = factor(params, "refine_k")?;
                }
            }
            Form::Lists => {
                parsed.nprobe = integer(params, "nprobe", 1, 65_536, in_json("nprobe"))?;
                check_lists(index_type, params, k, range.is_some())?;
            }
            Form::Postings => {
                let given = params.get("drop_ratio_search").filter(|value| !value.is_null());
                let text = given.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                parsed.drop_ratio = text.map(|text| share_of("drop_ratio_search", &text)).transpose()?;
                check_ratio(params)?;
                if metric == Metric::Bm25 {
                    parsed.saturation = Some(saturation(params)?);
                }
            }
        }
        Ok(parsed)
    }

    /// Refuses an `ef` below `k`.
    pub(super) fn check_ef(&self, k: usize) -> Result<(), Error> {
        match self.ef {
            Some(ef) if ef < k => Err(Error::EfBelowK { ef, k }),
            _ => Ok(()),
        }
    }

    /// The candidates to keep in a graph walk for `k` rows.
    pub(super) fn ef_for(&self, k: usize) -> usize {
        self.ef.unwrap_or(DEFAULT_EF).max(k)
    }

    /// The candidates of a graph walk for `k` rows that are compared by their full vectors, if the client names them.
    pub(super) fn refined_for(&self, k: usize) -> Option<usize> {
        self.refine_k.map(|factor| ((k as f64 * f64::from(factor)).ceil() as usize).max(k))
    }

    /// The lists to read of `lists`.
    pub(super) fn nprobe_for(&self, lists: usize) -> usize {
        self.nprobe.unwrap_or(DEFAULT_NPROBE).clamp(1, lists.max(1))
    }
}

/// Checks by how much Milvus corrects its bounds of lists. Bounds are exact here, so it chooses nothing.
fn check_ratio(params: &Map<String, Value>) -> Result<(), Error> {
    let (key, least, most) = ("dim_max_score_ratio", 0.5, 1.3);
    match number(params, key)? {
        Some(ratio) if !(least..=most).contains(&ratio) => {
            Err(Error::FloatOutOfRange { key, value: ratio.to_string(), least, most })
        }
        _ => Ok(()),
    }
}

/// The candidates of a walk of `DISKANN`, which has two names for them.
fn search_list(params: &Map<String, Value>, k: usize, is_range: bool) -> Result<Option<usize>, Error> {
    let most = i64::from(i32::MAX);
    for key in ["search_list", "search_list_size"] {
        match integer(params, key, 1, most, in_json(key))? {
            Some(size) if size < k && !is_range => return Err(Error::SearchListBelowK { size, k }),
            Some(size) => return Ok(Some(size)),
            None => {}
        }
    }
    Ok(None)
}

/// Checks what only some types of inverted files know. All rows of the lists read are compared exactly here, so these
/// choose nothing.
fn check_lists(
    index_type: IndexType,
    params: &Map<String, Value>,
    k: usize,
    is_range: bool,
) -> Result<(), Error> {
    match index_type {
        IndexType::Scann => {
            let most = i64::from(i32::MAX);
            match integer(params, "reorder_k", 1, most, in_json("reorder_k"))? {
                Some(reorder_k) if reorder_k < k && !is_range => Err(Error::ReorderBelowK { reorder_k, k }),
                _ => Ok(()),
            }
        }
        IndexType::IvfRabitq => {
            integer(params, "rbq_bits_query", 0, 8, in_json("rbq_bits_query"))?;
            factor(params, "refine_k").map(drop)
        }
        _ => Ok(()),
    }
}

fn in_json(key: &'static str) -> impl Fn(String, i64, i64) -> Error {
    move |value, low, high| Error::OutOfRangeInJson { key, value, low, high }
}

/// How counts of words are weighed; whoever asks names the average length, as no part knows that of all texts.
fn saturation(params: &Map<String, Value>) -> Result<Saturation, Error> {
    let of = |key, least, most, default| -> Result<f32, Error> {
        let value = number(params, key)?.unwrap_or(default);
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(Error::FloatOutOfRange { key, value: value.to_string(), least, most })
        }
    };
    Ok(Saturation {
        k1: of("bm25_k1", 0.0, MAX_K1, 1.2)?,
        b: of("bm25_b", 0.0, 1.0, 0.75)?,
        average: of("bm25_avgdl", LEAST_AVERAGE, f32::MAX, 100.0)?,
    })
}

/// A number of at least 1.
fn factor(params: &Map<String, Value>, key: &'static str) -> Result<Option<f32>, Error> {
    let Some(value) = params.get(key) else { return Ok(None) };
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let number = text.trim().parse().map_err(|_| Error::NoFloat { key, value: text.clone() });
            Some(number?)
        }
        _ => None,
    };
    let number = number.ok_or_else(|| Error::NoNumberInJson { key, value: value.to_string() })? as f32;
    if number >= 1.0 && number.is_finite() {
        Ok(Some(number))
    } else {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Err(Error::FactorTooSmall { key, value })
    }
}

fn integer(
    params: &Map<String, Value>,
    key: &'static str,
    low: i64,
    high: i64,
    refuse: impl Fn(String, i64, i64) -> Error,
) -> Result<Option<usize>, Error> {
    let Some(value) = params.get(key) else { return Ok(None) };
    let conflict = || Error::TypeConflict { key, value: value.to_string() };
    let number = match value {
        Value::Number(number) if number.is_f64() => return Err(conflict()),
        // What is no `i64` is an unsigned number above all ranges.
        Value::Number(number) => number.as_i64().unwrap_or(i64::MAX),
        Value::String(text) => text.trim().parse().map_err(|_| conflict())?,
        _ => return Err(conflict()),
    };
    if (low..=high).contains(&number) {
        Ok(usize::try_from(number).ok())
    } else {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Err(refuse(text, low, high))
    }
}

fn parse_range(metric: Metric, params: &Map<String, Value>) -> Result<Option<Range>, Error> {
    let radius = number(params, "radius")?;
    let range_filter = number(params, "range_filter")?;
    match (radius, range_filter) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::RangeFilterAlone),
        (Some(radius), Some(range_filter)) if metric.larger_is_nearer() && range_filter <= radius => {
            Err(Error::RangeNotAbove { range_filter, radius })
        }
        (Some(radius), Some(range_filter)) if !metric.larger_is_nearer() && range_filter >= radius => {
            Err(Error::RangeNotBelow { range_filter, radius })
        }
        (Some(radius), range_filter) => Ok(Some(Range { radius, range_filter })),
    }
}

fn number(params: &Map<String, Value>, key: &'static str) -> Result<Option<f32>, Error> {
    let Some(value) = params.get(key) else { return Ok(None) };
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.map(|number| Some(number as f32)).ok_or_else(|| Error::NotNumber { key, value: value.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(index_type: IndexType, metric: Metric, json: &str) -> Result<SearchParams, String> {
        let params: Map<String, Value> = serde_json::from_str(json).unwrap();
        SearchParams::parse(index_type, metric, &params, 10).map_err(|error| error.to_string())
    }

    #[test]
    fn refusals_are_in_milvus_words() {
        let cases = [
            (IndexType::Hnsw, r#"{"ef":1}"#, "ef(1) should be larger than k(10)"),
            (IndexType::Hnsw, r#"{"ef":-1}"#, "param 'ef' (-1) should be in range [1, 2147483647]"),
            (
                IndexType::Hnsw,
                r#"{"ef":2147483648}"#,
                "param 'ef' (2147483648) should be in range [1, 2147483647]",
            ),
            (IndexType::Hnsw, r#"{"ef":32.0}"#, "Type conflict in json: param 'ef' (32.0) should be integer"),
            (IndexType::Hnsw, r#"{"ef":[64]}"#, "Type conflict in json: param 'ef' ([64]) should be integer"),
            (IndexType::Hnsw, r#"{"ef":"x"}"#, "Type conflict in json: param 'ef' (\"x\") should be integer"),
            (
                IndexType::IvfFlat,
                r#"{"nprobe":-1}"#,
                "Out of range in json: param 'nprobe' (-1) should be in range [1, 65536]",
            ),
            (
                IndexType::HnswSq,
                r#"{"refine_k":0}"#,
                "Out of range in json: param 'refine_k' (0) should be in range [1, 3.4028235e+38]",
            ),
            (IndexType::HnswPq, r#"{"refine_k":"x"}"#, "invalid float value, key: 'refine_k', value: 'x'"),
            (
                IndexType::HnswPq,
                r#"{"refine_k":null}"#,
                "Type conflict in json: param 'refine_k' (null) should be a number",
            ),
            (
                IndexType::HnswSq,
                r#"{"ef":null}"#,
                "Type conflict in json: param 'ef' (null) should be integer",
            ),
            (IndexType::DiskAnn, r#"{"search_list":9}"#, "search_list_size(9) should be larger than k(10)"),
            (
                IndexType::DiskAnn,
                r#"{"search_list_size":0}"#,
                "Out of range in json: param 'search_list_size' (0) should be in range [1, 2147483647]",
            ),
            (IndexType::Scann, r#"{"reorder_k":9}"#, "reorder_k(9) should be larger than k(10)"),
            (
                IndexType::IvfRabitq,
                r#"{"rbq_bits_query":9}"#,
                "Out of range in json: param 'rbq_bits_query' (9) should be in range [0, 8]",
            ),
            (
                IndexType::Auto,
                r#"{"level":11}"#,
                "Out of range in json: param 'level' (11) should be in range [1, 10]",
            ),
            (
                IndexType::SparseWand,
                r#"{"drop_ratio_search":"1.0"}"#,
                "Out of range in json: param 'drop_ratio_search' (1.0) should be in range [0.000000, 1.000000)",
            ),
            (
                IndexType::SparseInverted,
                r#"{"drop_ratio_search":[1]}"#,
                "Type conflict in json: param 'drop_ratio_search' ([1]) should be a number",
            ),
            (IndexType::Auto, r#"{"ef":9}"#, "ef(9) should be larger than k(10)"),
            (IndexType::Flat, r#"{"range_filter":1}"#, "range_filter requires radius to be set"),
            (
                IndexType::Flat,
                r#"{"radius":1,"range_filter":2}"#,
                "range_filter(2) must be less than radius(1)",
            ),
            (IndexType::Flat, r#"{"radius":"a"}"#, "param 'radius' (\"a\") is invalid: type must be number"),
        ];
        for (index_type, json, text) in cases {
            assert_eq!(parse(index_type, Metric::L2, json), Err(text.to_owned()), "{json}");
        }
        assert_eq!(
            parse(IndexType::Flat, Metric::Ip, r#"{"radius":2,"range_filter":1}"#),
            Err("range_filter(1) must be greater than radius(2)".to_owned())
        );
    }

    #[test]
    fn parameters_of_other_indexes_are_ignored() {
        let parsed = parse(IndexType::IvfFlat, Metric::Ip, r#"{"ef":-1,"nprobe":"16","level":2}"#);

        assert_eq!(parsed, Ok(SearchParams { nprobe: Some(16), ..SearchParams::default() }));
    }

    #[test]
    fn a_level_stands_for_candidates_unless_they_are_named() {
        let ef = |json| parse(IndexType::Auto, Metric::Ip, json).unwrap().ef;

        assert_eq!(ef("{}"), None);
        assert_eq!(ef(r#"{"level":"3"}"#), Some(120));
        assert_eq!(ef(r#"{"level":3,"ef":40}"#), Some(40));
        assert!(LEVEL_EFS.is_sorted());
    }

    #[test]
    fn a_walk_over_product_codes_keeps_at_least_as_many_as_are_wanted() {
        let ef = |index_type| parse(index_type, Metric::L2, r#"{"ef":1}"#).map(|parsed| parsed.ef);

        assert_eq!(ef(IndexType::HnswPq), Ok(Some(10)));
        assert_eq!(ef(IndexType::HnswSq), Err("ef(1) should be larger than k(10)".to_owned()));
    }

    #[test]
    fn a_range_is_half_open_on_the_far_side() {
        let range = Range { radius: 2.0, range_filter: Some(1.0) };
        let scores = [0.5, 1.0, 1.5, 2.0, 2.5];

        assert_eq!(scores.map(|score| range.contains(Metric::L2, score)), [false, true, true, false, false]);
        let range = Range { radius: 1.0, range_filter: Some(2.0) };
        assert_eq!(scores.map(|score| range.contains(Metric::Ip, score)), [false, false, true, true, false]);
    }
}
