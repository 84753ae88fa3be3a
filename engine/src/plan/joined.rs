//! Hits of several answers side by side, so that some of them can be chosen.

use std::cmp::Ordering;
use std::ops::Range;

use super::SearchHits;
use crate::model::{Batch, Keys, TypeMismatch};

/// The hits of some answers in one list, and where each answer's hits of each query are.
pub(super) struct Joined {
    pub(super) all: SearchHits,
    /// By answer and query.
    spans: Vec<Vec<Range<usize>>>,
}

impl Joined {
    /// `None` without an answer.
    pub(super) fn new(parts: Vec<SearchHits>) -> Result<Option<Self>, TypeMismatch> {
        // Answers without a hit need not know the type of the keys, nor the columns.
        let first = parts.iter().position(|part| !part.scores.is_empty()).unwrap_or(0);
        let mut spans = vec![Vec::new(); parts.len()];
        let mut parts: Vec<(usize, SearchHits)> = parts.into_iter().enumerate().collect();
        if parts.is_empty() {
            return Ok(None);
        }
        let (_, mut all) = parts.remove(first);
        spans[first] = spans_of(&all.counts, 0);
        for (at, part) in parts {
            spans[at] = spans_of(&part.counts, all.scores.len());
            if part.scores.is_empty() {
                continue;
            }
            all.scores.extend_from_slice(&part.scores);
            all.rows.extend(&part.rows)?;
            all.keys.extend(&part.keys);
        }
        Ok(Some(Self { all, spans }))
    }

    /// The hits of `query` in every answer, answer after answer.
    pub(super) fn hits(&self, query: usize) -> impl Iterator<Item = usize> {
        self.answers(query).flatten()
    }

    /// The hits of `query`, by answer.
    pub(super) fn answers(&self, query: usize) -> impl Iterator<Item = Range<usize>> {
        self.spans.iter().map(move |spans| spans.get(query).cloned().unwrap_or(0..0))
    }
}

impl SearchHits {
    /// No hit for any of `queries` queries.
    #[must_use]
    pub fn none(queries: usize) -> Self {
        Self {
            counts: vec![0; queries],
            keys: Keys::Int(Vec::new()),
            scores: Vec::new(),
            rows: Batch::default(),
        }
    }

    /// One answer for several queries, given one answer for each.
    ///
    /// # Errors
    /// [`TypeMismatch`] if the answers carry different output columns, which would be a defect of a node.
    pub fn of_each_query(answers: Vec<Self>) -> Result<Self, TypeMismatch> {
        let Some(joined) = Joined::new(answers)? else { return Ok(Self::none(0)) };
        let spans = joined.spans.iter().map(|spans| spans.first().cloned().unwrap_or(0..0));
        let counts = spans.clone().map(|span| span.len()).collect();
        Ok(joined.all.chosen(counts, &spans.flatten().collect::<Vec<_>>()))
    }

    /// The chosen hits in the order given, `counts` of each query.
    #[must_use]
    pub fn chosen(&self, counts: Vec<usize>, chosen: &[usize]) -> Self {
        Self {
            counts,
            keys: self.keys.take(chosen),
            scores: chosen.iter().map(|&hit| self.scores[hit]).collect(),
            rows: self.rows.take(chosen),
        }
    }

    /// Where the hits of each query are.
    #[must_use]
    pub fn spans(&self) -> Vec<Range<usize>> {
        spans_of(&self.counts, 0)
    }
}

fn spans_of(counts: &[usize], offset: usize) -> Vec<Range<usize>> {
    let mut start = offset;
    counts
        .iter()
        .map(|count| {
            let span = start..start + count;
            start += count;
            span
        })
        .collect()
}

pub(super) fn compare_keys(keys: &Keys, left: usize, right: usize) -> Ordering {
    match keys {
        Keys::Int(keys) => keys[left].cmp(&keys[right]),
        Keys::Text(keys) => keys.get(left).cmp(keys.get(right)),
    }
}
