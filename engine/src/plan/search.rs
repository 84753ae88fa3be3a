//! Nearest-neighbour search.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use super::group::{Grouping, best_of_groups, groups_by};
use super::joined::{Joined, compare_keys};
use crate::base::{CollectionId, FieldId, PartitionId, Timestamp};
use crate::expr::Filter;
use crate::model::{Batch, ColumnData, Keys, Metric, TypeMismatch, Vector};

/// The number of the column, last of those of the hits, that says which element of its row's array of vectors each hit is, where
/// single elements were searched. No field has it.
pub const ELEMENT: FieldId = FieldId(-1);

/// Only hits whose score lies in a band. `L2`: `inner <= score < outer`; similarities: `outer < score <= inner`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Milvus's `radius`: the bound on the far side, excluded.
    pub outer: f32,
    /// Milvus's `range_filter`: the bound on the near side, included.
    pub inner: Option<f32>,
}

/// One search over one collection, for one or more query vectors.
#[derive(Clone, Debug)]
pub struct SearchPlan {
    /// Where to search.
    pub collection: CollectionId,
    /// Only in these partitions; `None` for all loaded ones.
    pub partitions: Option<Vec<PartitionId>>,
    /// The vector field, or the field of arrays of vectors.
    pub field: FieldId,
    /// How nearness is measured.
    pub metric: Metric,
    /// The query vectors, each of the field's kind and dimension; under a metric of lists the vectors of a list on end.
    pub queries: Vec<Vector>,
    /// Hits wanted per query, or groups of hits: limit and offset together, at least 1.
    pub count: usize,
    /// Set if hits come by groups; their field is one of `output`.
    pub grouping: Option<Grouping>,
    /// Parameters of the index (`ef`, `nprobe`, …), as the client sent them.
    pub params: BTreeMap<String, String>,
    /// Only hits in this band.
    pub range: Option<Range>,
    /// Only rows that match.
    pub filter: Option<Filter>,
    /// Fields to return with each hit.
    pub output: Vec<FieldId>,
    /// Rows and deletes after this time are not seen.
    pub read_at: Timestamp,
    /// Rows from before this time have expired and are not seen; [`Timestamp::ZERO`] where none has.
    pub expired_before: Timestamp,
    /// Whether rows that are not sealed yet are left out.
    pub ignore_growing: bool,
}

/// Hits of every query of a search, flat: first those of query 0, nearest first, then those of query 1, …
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHits {
    /// How many hits each query has.
    pub counts: Vec<usize>,
    /// Primary keys of the hits.
    pub keys: Keys,
    /// Scores of the hits, as the metric gives them.
    pub scores: Vec<f32>,
    /// The output fields of the hits, one row a hit; behind them [`ELEMENT`], where elements were searched.
    pub rows: Batch,
}

impl SearchHits {
    /// Which element of its row each hit is, where elements were searched.
    #[must_use]
    pub fn elements(&self) -> Option<&[i64]> {
        match &self.rows.column(ELEMENT)?.data {
            ColumnData::Int64(elements) => Some(elements),
            _ => None,
        }
    }

    /// The same hits as hits of whole rows.
    #[must_use]
    pub fn of_rows(mut self) -> Self {
        self.rows.columns.retain(|column| column.field != ELEMENT);
        self
    }
}

/// Puts partial results of one search together: the nearest `plan.count` hits per query, each key once (its nearest hit), or
/// each element of a key.
///
/// Ties are ordered by primary key ascending, so that the pages of one search never overlap. No part gives no hits. With
/// [`SearchPlan::grouping`] the hits come group after group, see [`best_of_groups`].
///
/// # Errors
/// [`TypeMismatch`] if parts carry different output columns, which would be a defect of a node.
pub fn merge_search(plan: &SearchPlan, parts: Vec<SearchHits>) -> Result<SearchHits, TypeMismatch> {
    let queries = plan.queries.len();
    let Some(joined) = Joined::new(parts)? else { return Ok(SearchHits::none(queries)) };
    let mut counts = Vec::with_capacity(queries);
    let mut chosen = Vec::new();
    for query in 0..queries {
        let nearest = nearest(plan, &joined.all, joined.hits(query).collect());
        counts.push(nearest.len());
        chosen.extend(nearest);
    }
    Ok(joined.all.chosen(counts, &chosen))
}

/// Keeps the first hit of each key, and at most `wanted`.
fn keep_first<K: Eq + Hash>(hits: &mut Vec<usize>, wanted: usize, key: impl Fn(usize) -> K) {
    let mut seen: HashSet<K> = HashSet::with_capacity(wanted.min(hits.len()));
    hits.retain(|&hit| seen.len() < wanted && seen.insert(key(hit)));
}

/// The best hits of one query, nearest first, each key or element once.
fn nearest(plan: &SearchPlan, all: &SearchHits, mut hits: Vec<usize>) -> Vec<usize> {
    let elements = all.elements();
    let element = |hit: usize| elements.map(|elements| elements[hit]);
    hits.sort_by(|&left, &right| {
        plan.metric
            .nearest_first(all.scores[left], all.scores[right])
            .then_with(|| compare_keys(&all.keys, left, right))
            .then_with(|| element(left).cmp(&element(right)))
    });
    let wanted = if plan.grouping.is_some() { usize::MAX } else { plan.count };
    match &all.keys {
        Keys::Int(keys) => keep_first(&mut hits, wanted, |hit| (keys[hit], element(hit))),
        Keys::Text(keys) => keep_first(&mut hits, wanted, |hit| (keys.get(hit), element(hit))),
    }
    let Some(grouping) = plan.grouping else { return hits };
    best_of_groups(hits, groups_by(all, grouping.field), plan.count, grouping.size)
        .into_iter()
        .flatten()
        .collect()
}
