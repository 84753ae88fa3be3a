//! Search without an index: every allowed row is compared.

use std::sync::Arc;

use super::codes::Codes;
use super::exact::Exact;
use super::top::{Near, Top};
use super::{Error, Hit, IndexType, Range, SearchParams, VectorBlock, VectorIndex, artifact};
use crate::model::{Bitset, Metric};

/// Rows compared at a time: their distances stay in the first cache.
const RUN_ROWS: usize = 512;
/// With several queries, rows read at a time: about this many bytes stay in the second cache for the next queries.
const SHARED_RUN_BYTES: usize = 256 << 10;

/// The `k` rows of `block` nearest to `query`, with the promises of [`VectorIndex::search`].
///
/// # Errors
/// [`Error::WrongDim`] for a query of another dimension.
pub fn search_block(
    block: &VectorBlock,
    metric: Metric,
    query: &[f32],
    k: usize,
    allowed: Option<&Bitset>,
) -> Result<Vec<Hit>, Error> {
    block.check_query(query)?;
    let exact = Exact::new(block, metric, query);
    let mut top = Top::new(k, block.rows());
    scan(&exact, block.rows(), allowed, |near| top.offer(near));
    Ok(top.into_sorted().into_iter().map(|near| near.hit(metric)).collect())
}

/// As [`search_block`] for several queries, which share each pass over the block. One answer per query, in order.
///
/// # Errors
/// [`Error::WrongDim`] if any query is of another dimension.
pub fn search_block_many(
    block: &VectorBlock,
    metric: Metric,
    queries: &[&[f32]],
    k: usize,
    allowed: Option<&Bitset>,
) -> Result<Vec<Vec<Hit>>, Error> {
    for query in queries {
        block.check_query(query)?;
    }
    let crowded = allowed.is_none_or(|allowed| allowed.count() * 2 > block.rows());
    if queries.len() < 4 || !crowded {
        return queries.iter().map(|query| search_block(block, metric, query, k, allowed)).collect();
    }
    let exacts: Vec<Exact<'_>> = queries.iter().map(|query| Exact::new(block, metric, query)).collect();
    let mut tops: Vec<Top> = queries.iter().map(|_| Top::new(k, block.rows())).collect();
    let run_rows = (SHARED_RUN_BYTES / (block.dim().max(1) * 4)).clamp(16, 8192);
    let mut distances = Vec::new();
    for start in (0..block.rows()).step_by(run_rows) {
        for (exacts, tops) in exacts.chunks(4).zip(tops.chunks_mut(4)) {
            // A short last group repeats its first query; the surplus answers are dropped by the zip below.
            let four = std::array::from_fn(|place| exacts.get(place).unwrap_or(&exacts[0]));
            Exact::run_four(four, start, run_rows, &mut distances);
            for (top, distances) in tops.iter_mut().zip(distances.chunks_exact((distances.len() / 4).max(1)))
            {
                offer_run(top, start, distances, allowed);
            }
        }
    }
    // Sums of the shared pass may differ in the last bit from those of a lone query, whose answer must be the same.
    Ok(exacts
        .iter()
        .zip(tops)
        .map(|(exact, top)| {
            let rows: Vec<u32> = top.into_sorted().into_iter().map(Near::row).collect();
            exact.rank(&rows).into_iter().map(|near| near.hit(metric)).collect()
        })
        .collect())
}

/// Up to `limit` rows of `block` whose score is in `range`, with the promises of [`VectorIndex::range_search`].
///
/// # Errors
/// [`Error::WrongDim`] for a query of another dimension.
pub fn range_search_block(
    block: &VectorBlock,
    metric: Metric,
    query: &[f32],
    range: &Range,
    limit: usize,
    allowed: Option<&Bitset>,
) -> Result<Vec<Hit>, Error> {
    block.check_query(query)?;
    let exact = Exact::new(block, metric, query);
    let mut top = Top::new(limit, block.rows());
    scan(&exact, block.rows(), allowed, |near| {
        if range.contains(metric, near.hit(metric).score) {
            top.offer(near);
        }
    });
    Ok(top.into_sorted().into_iter().map(|near| near.hit(metric)).collect())
}

fn offer_run(top: &mut Top, start: usize, distances: &[f32], allowed: Option<&Bitset>) {
    for (row, &distance) in (start..).zip(distances) {
        if allowed.is_none_or(|allowed| allowed.contains(row)) {
            top.offer(Near::new(distance, row as u32));
        }
    }
}

/// Computes the distance of every allowed row below `rows` and hands it to `visit`, in row order.
pub(super) fn scan(exact: &Exact<'_>, rows: usize, allowed: Option<&Bitset>, mut visit: impl FnMut(Near)) {
    let mut distances = Vec::with_capacity(RUN_ROWS);
    each_run(rows, allowed, &mut |run| match run {
        Run::Whole { start, count } => {
            exact.run(start, count, &mut distances);
            for (row, &distance) in (start as u32..).zip(&distances) {
                visit(Near::new(distance, row));
            }
        }
        Run::Some(ids) => {
            exact.gather(ids, &mut distances);
            for (&row, &distance) in ids.iter().zip(&distances) {
                visit(Near::new(distance, row));
            }
        }
    });
}

/// A part of the allowed rows.
pub(super) enum Run<'a> {
    /// Rows on end.
    Whole {
        /// The first row.
        start: usize,
        /// How many.
        count: usize,
    },
    /// These rows, ascending.
    Some(&'a [u32]),
}

/// Cuts the allowed rows below `rows` into runs of at most [`RUN_ROWS`], ascending.
pub(super) fn each_run(rows: usize, allowed: Option<&Bitset>, visit: &mut dyn FnMut(Run<'_>)) {
    let mut ids = Vec::with_capacity(RUN_ROWS);
    for start in (0..rows).step_by(RUN_ROWS) {
        let count = RUN_ROWS.min(rows - start);
        let Some(allowed) = allowed else {
            visit(Run::Whole { start, count });
            continue;
        };
        ids.clear();
        for number in start / 64..(start + count).div_ceil(64) {
            let mut rest = allowed.words().get(number).copied().unwrap_or(0);
            while rest != 0 {
                let row = number * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                if row < start + count {
                    ids.push(row as u32);
                }
            }
        }
        if ids.len() == count {
            visit(Run::Whole { start, count });
        } else if !ids.is_empty() {
            visit(Run::Some(&ids));
        }
    }
}

/// The index type `FLAT`: exact, nothing to choose. Scans byte codes where that is cheaper, and compares the full vectors
/// of all rows that may be among the nearest.
pub struct Flat {
    metric: Metric,
    block: Arc<VectorBlock>,
    codes: Option<Codes>,
}

impl std::fmt::Debug for Flat {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Flat({} over {:?})", self.metric, self.block)
    }
}

impl Flat {
    /// Searches `block` under `metric`. Reads the block once.
    #[must_use]
    pub fn new(metric: Metric, block: Arc<VectorBlock>) -> Self {
        let codes = Codes::if_they_pay(&block, metric);
        Self { metric, block, codes }
    }
}

impl VectorIndex for Flat {
    fn index_type(&self) -> IndexType {
        IndexType::Flat
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn block(&self) -> &Arc<VectorBlock> {
        &self.block
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        _params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        let Some(codes) = &self.codes else {
            return search_block(&self.block, self.metric, query, k, allowed);
        };
        self.block.check_query(query)?;
        let exact = Exact::new(&self.block, self.metric, query);
        Ok(codes.nearest(query, &exact, k, allowed).into_iter().map(|near| near.hit(self.metric)).collect())
    }

    fn range_search(
        &self,
        query: &[f32],
        range: &Range,
        limit: usize,
        _params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        range_search_block(&self.block, self.metric, query, range, limit, allowed)
    }

    fn memory_bytes(&self) -> usize {
        self.codes.as_ref().map_or(0, Codes::memory_bytes)
    }

    fn encode(&self) -> Vec<u8> {
        artifact::seal(
            artifact::Head { index_type: IndexType::Flat, metric: self.metric },
            (self.block.dim(), self.block.rows()),
            &[],
        )
    }
}
