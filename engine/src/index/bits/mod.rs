//! Binary vectors: their block, exact search over it, and the index types `BIN_FLAT` and `BIN_IVF_FLAT`.

mod exact;
mod lists;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use exact::BitExact;
pub(super) use exact::{jaccard, ones_of};
use lists::Lists;

use super::artifact::{self, Head};
use super::flat::{Run, each_run};
use super::kernel::Kernels;
use super::top::{Near, Top};
use super::{Error, Hit, IndexSpec, IndexType, Range, SearchParams};
use crate::model::{Bitset, Metric};

/// An immutable matrix of bits: row-major, each row up to whole 64-bit words.
pub struct BitBlock {
    dim: usize,
    rows: usize,
    words: Vec<u64>,
    kernels: Kernels,
    /// Bits set in each row; filled by the first JACCARD search or build.
    ones: OnceLock<Vec<u32>>,
}

impl std::fmt::Debug for BitBlock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "BitBlock({} x {})", self.rows, self.dim)
    }
}

impl BitBlock {
    /// A block of the rows of `chunks`, one chunk after another: `dim / 8` bytes each.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if a chunk has no whole rows or `dim` is no multiple of 8, [`Error::TooManyRows`].
    pub fn from_chunks<'a>(
        dim: usize,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Arc<Self>, Error> {
        let width = dim / 8;
        let mut words = Vec::new();
        for chunk in chunks {
            let is_whole = dim.is_multiple_of(8) && chunk.len().checked_rem(width) == Some(0);
            if !is_whole && !chunk.is_empty() {
                return Err(Error::RaggedBlock { bytes: chunk.len(), dim });
            }
            words.reserve_exact(chunk.len().checked_div(width).unwrap_or(0) * width.div_ceil(8));
            for row in chunk.chunks_exact(width.max(1)) {
                push_words(&mut words, row);
            }
        }
        Self::of(dim, words)
    }

    /// A block of the rows of `pieces`, one after another: those of a block, which has the dimension, or so many zeros.
    ///
    /// # Errors
    /// [`Error::TooManyRows`].
    pub fn joined(dim: usize, pieces: &[(Option<&Self>, usize)]) -> Result<Arc<Self>, Error> {
        let width = dim.div_ceil(64);
        let mut words = Vec::with_capacity(pieces.iter().map(|(_, rows)| rows * width).sum());
        for (block, rows) in pieces {
            match block {
                Some(block) => words.extend_from_slice(&block.words),
                None => words.resize(words.len() + rows * width, 0),
            }
        }
        Self::of(dim, words)
    }

    fn of(dim: usize, words: Vec<u64>) -> Result<Arc<Self>, Error> {
        let rows = words.len().checked_div(dim.div_ceil(64)).unwrap_or(0);
        if rows > i32::MAX as usize {
            return Err(Error::TooManyRows { rows });
        }
        Ok(Arc::new(Self { dim, rows, words, kernels: Kernels::detect(), ones: OnceLock::new() }))
    }

    /// Bits of each row.
    #[must_use]
    pub const fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    const fn row_words(&self) -> usize {
        self.dim.div_ceil(64)
    }

    /// The words of row `row`; none past the end.
    fn words_of(&self, row: usize) -> &[u64] {
        let width = self.row_words();
        self.words.get(row * width..(row + 1) * width).unwrap_or_default()
    }

    /// The bytes of row `row`; none past the end.
    pub fn bytes_of(&self, row: usize) -> impl Iterator<Item = u8> + '_ {
        self.words_of(row).iter().flat_map(|word| word.to_le_bytes()).take(self.dim / 8)
    }

    /// How many bits are set in each row. Counted at the first call.
    fn ones(&self) -> &[u32] {
        self.ones.get_or_init(|| (0..self.rows).map(|row| ones_of(self.words_of(row))).collect())
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.words.len() * 8 + self.ones.get().map_or(0, |ones| ones.len() * 4)
    }

    fn check_query(&self, query: &[u8]) -> Result<(), Error> {
        if query.len() * 8 == self.dim || self.rows == 0 {
            Ok(())
        } else {
            Err(Error::WrongBits { expected: self.dim / 8, actual: query.len() })
        }
    }

    /// The `k` rows nearest to `query`, nearest first, equal scores by ascending row.
    ///
    /// # Errors
    /// [`Error::WrongBits`] for a query of another dimension.
    pub fn search(
        &self,
        metric: Metric,
        query: &[u8],
        k: usize,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        self.check_query(query)?;
        let mut top = Top::new(k, self.rows);
        if k > 0 {
            scan(&BitExact::new(self, metric, query), self.rows, allowed, |near| {
                // Rows that do not match are infinitely far under the metrics of structures.
                if near.hit(metric).score.is_finite() {
                    top.offer(near);
                }
            });
        }
        Ok(top.into_sorted().into_iter().map(|near| near.hit(metric)).collect())
    }

    /// Up to `limit` rows whose score is in `range`, nearest first, equal scores by ascending row.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn range_search(
        &self,
        metric: Metric,
        query: &[u8],
        range: &Range,
        limit: usize,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        self.check_query(query)?;
        let mut top = Top::new(limit, self.rows);
        if limit > 0 {
            scan(&BitExact::new(self, metric, query), self.rows, allowed, |near| {
                if range.contains(metric, near.hit(metric).score) {
                    top.offer(near);
                }
            });
        }
        Ok(top.into_sorted().into_iter().map(|near| near.hit(metric)).collect())
    }
}

/// Adds the words of a row of bytes.
pub(super) fn push_words(words: &mut Vec<u64>, row: &[u8]) {
    let (whole, rest) = row.as_chunks::<8>();
    words.extend(whole.iter().map(|bytes| u64::from_le_bytes(*bytes)));
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words.push(u64::from_le_bytes(last));
    }
}

/// Computes the distance of every allowed row below `rows` and hands it to `visit`, in row order.
fn scan(exact: &BitExact<'_>, rows: usize, allowed: Option<&Bitset>, mut visit: impl FnMut(Near)) {
    let mut distances = Vec::new();
    each_run(rows, allowed, &mut |run| match run {
        Run::Whole { start, count } => {
            exact.run(start, count, &mut distances);
            (start as u32..).zip(&distances).for_each(|(row, &distance)| visit(Near::new(distance, row)));
        }
        Run::Some(ids) => {
            exact.gather(ids, &mut distances);
            ids.iter().zip(&distances).for_each(|(&row, &distance)| visit(Near::new(distance, row)));
        }
    });
}

/// The index types of binary vectors. Without lists every allowed row is compared.
#[derive(Debug)]
pub struct BitIndex {
    index_type: IndexType,
    metric: Metric,
    block: Arc<BitBlock>,
    lists: Option<Lists>,
}

impl BitIndex {
    /// Builds what `spec` asks for over `block`, on `threads` threads; the result does not depend on their number.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `stop` said so.
    pub(super) fn build(
        spec: &IndexSpec,
        block: Arc<BitBlock>,
        threads: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        let has_lists = spec.index_type == IndexType::BinIvfFlat && block.rows > 0;
        let lists = has_lists.then(|| Lists::build(spec, &block, threads, stop)).transpose()?;
        Ok(Self { index_type: spec.index_type, metric: spec.metric, block, lists })
    }

    /// Brings back an index from what [`Self::encode`] gave.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if `bytes` are not such, or were written for a block of another shape.
    pub(super) fn decode(bytes: &[u8], block: Arc<BitBlock>) -> Result<Self, Error> {
        let (head, body) = artifact::open(bytes, (block.dim, block.rows))?;
        let lists = match head.index_type {
            IndexType::BinFlat if body.is_empty() => None,
            IndexType::BinIvfFlat if block.rows == 0 && body.is_empty() => None,
            IndexType::BinIvfFlat => Some(Lists::decode(body, &block)?),
            _ => return Err(Error::Corrupt { what: "it is no index of binary vectors" }),
        };
        if !head.metric.is_of_bits() {
            return Err(Error::Corrupt { what: "its metric is none of binary vectors" });
        }
        Ok(Self { index_type: head.index_type, metric: head.metric, block, lists })
    }

    /// The index without its vectors.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = self.lists.as_ref().map(Lists::encode).unwrap_or_default();
        let head = Head { index_type: self.index_type, metric: self.metric };
        artifact::seal(head, (self.block.dim, self.block.rows), &body)
    }

    /// The type that was built.
    #[must_use]
    pub const fn index_type(&self) -> IndexType {
        self.index_type
    }

    /// The metric that was built for.
    #[must_use]
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// Bytes of memory held besides the block.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.lists.as_ref().map_or(0, Lists::memory_bytes)
    }

    /// The `k` rows nearest to `query`, with the promises of [`super::VectorIndex::search`].
    ///
    /// # Errors
    /// [`Error::WrongBits`] for a query of another dimension.
    pub fn search(
        &self,
        query: &[u8],
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        let Some(lists) = self.lists.as_ref().filter(|_| k > 0) else {
            return self.block.search(self.metric, query, k, allowed);
        };
        self.block.check_query(query)?;
        let rows = lists.candidates(self.metric, query, k, params, allowed);
        let mut top = Top::new(k, rows.len());
        let mut distances = Vec::new();
        let exact = BitExact::new(&self.block, self.metric, query);
        exact.gather(&rows, &mut distances);
        // What does not match is infinitely far.
        let found = rows.iter().zip(&distances).filter(|(_, distance)| distance.is_finite());
        found.for_each(|(&row, &distance)| top.offer(Near::new(distance, row)));
        Ok(top.into_sorted().into_iter().map(|near| near.hit(self.metric)).collect())
    }

    /// As [`BitBlock::range_search`]: how many lists a range reaches into is not known, so all rows are compared.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn range_search(
        &self,
        query: &[u8],
        range: &Range,
        limit: usize,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        self.block.range_search(self.metric, query, range, limit, allowed)
    }
}
