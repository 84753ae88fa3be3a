//! Nearest-neighbour search.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use crate::base::{CollectionId, FieldId, PartitionId, Timestamp};
use crate::expr::Filter;
use crate::model::{Batch, Key, Keys, Metric, TypeMismatch};

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
    /// The vector field.
    pub field: FieldId,
    /// How nearness is measured.
    pub metric: Metric,
    /// The query vectors, each of the field's dimension.
    pub queries: Vec<Vec<f32>>,
    /// Hits wanted per query: limit and offset together, at least 1.
    pub count: usize,
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
    /// The output fields of the hits, one row a hit.
    pub rows: Batch,
}

/// Puts partial results of one search together: the nearest `plan.count` hits per query, each key once (its nearest hit).
///
/// Ties are ordered by primary key ascending, so that the pages of one search never overlap. No part gives no hits.
///
/// # Errors
/// [`TypeMismatch`] if parts carry different output columns, which would be a defect of a node.
pub fn merge_search(plan: &SearchPlan, parts: Vec<SearchHits>) -> Result<SearchHits, TypeMismatch> {
    let mut parts = parts.into_iter();
    let Some(mut all) = parts.next() else {
        return Ok(SearchHits {
            counts: vec![0; plan.queries.len()],
            keys: Keys::Int(Vec::new()),
            scores: Vec::new(),
            rows: Batch::default(),
        });
    };
    // Where the hits of each query start, for every part, in the joined lists.
    let mut spans = vec![spans_of(&all.counts, 0)];
    for part in parts {
        spans.push(spans_of(&part.counts, all.scores.len()));
        all.scores.extend_from_slice(&part.scores);
        all.rows.extend(&part.rows)?;
        for key in part.keys.iter() {
            all.keys.push(&key);
        }
    }
    let mut counts = Vec::with_capacity(plan.queries.len());
    let mut chosen = Vec::new();
    for query in 0..plan.queries.len() {
        let hits = spans.iter().filter_map(|part| part.get(query)).flat_map(|&(start, end)| start..end);
        let nearest = nearest(plan, &all, hits.collect());
        counts.push(nearest.len());
        chosen.extend(nearest);
    }
    Ok(SearchHits {
        counts,
        keys: all.keys.take(&chosen),
        scores: chosen.iter().map(|&hit| all.scores[hit]).collect(),
        rows: all.rows.take(&chosen),
    })
}

fn spans_of(counts: &[usize], offset: usize) -> Vec<(usize, usize)> {
    let mut start = offset;
    counts
        .iter()
        .map(|count| {
            let span = (start, start + count);
            start += count;
            span
        })
        .collect()
}

/// The best hits of one query, nearest first, each key once.
fn nearest(plan: &SearchPlan, all: &SearchHits, mut hits: Vec<usize>) -> Vec<usize> {
    hits.sort_by(|&left, &right| {
        plan.metric
            .nearest_first(all.scores[left], all.scores[right])
            .then_with(|| compare_keys(&all.keys, left, right))
    });
    let mut seen: HashSet<Key> = HashSet::with_capacity(plan.count.min(hits.len()));
    hits.retain(|&hit| seen.len() < plan.count && seen.insert(all.keys.get(hit)));
    hits
}

fn compare_keys(keys: &Keys, left: usize, right: usize) -> Ordering {
    match keys {
        Keys::Int(keys) => keys[left].cmp(&keys[right]),
        Keys::Text(keys) => keys.get(left).cmp(keys.get(right)),
    }
}
