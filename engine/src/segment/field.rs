//! Search in the vectors of one field of one part: by its index if it has one that fits, else by comparing every row.

use serde_json::{Map, Value};

use super::interim::Interim;
use super::part::{Part, Vectors};
use crate::index::{Block, Error, Hit, Index, IndexType, Range, SearchParams};
use crate::model::{Bitset, Metric, Vector};

/// The vectors of one field of one part, ready to be searched under one metric.
pub struct FieldSearch<'a> {
    vectors: &'a Vectors,
    metric: Metric,
    index: Option<Index>,
    /// Answers where there is no index.
    interim: Option<Interim>,
}

impl<'a> FieldSearch<'a> {
    /// Search in `vectors` of `part`. An index that was built for another metric is left aside.
    #[must_use]
    pub fn new(part: &Part, vectors: &'a Vectors, metric: Metric) -> Self {
        let index = part.index(vectors.field).filter(|index| index.metric() == metric);
        let interim = if index.is_some() { None } else { part.interim(vectors.field) };
        Self { vectors, metric, index, interim: interim.filter(|interim| interim.index.metric() == metric) }
    }

    /// Whether an index answers.
    #[must_use]
    pub const fn is_indexed(&self) -> bool {
        self.index.is_some() || self.interim.is_some()
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.vectors.block.rows()
    }

    /// Words of 32 bits that comparing one row reads, on average.
    #[must_use]
    pub fn words_per_row(&self) -> usize {
        self.vectors.block.words_per_row()
    }

    /// The words of all texts whose counts these are, and how many rows have each of `terms`; nothing for other vectors.
    #[must_use]
    pub fn term_statistics(&self, terms: &[u32]) -> Option<(u64, Vec<u64>)> {
        let Block::Sparse(block) = &self.vectors.block else { return None };
        let index = self.index.as_ref().or(self.interim.as_ref().map(|interim| &interim.index));
        let having = match index {
            Some(Index::Sparse(index)) => index.having(terms),
            _ => block.having(terms),
        };
        Some((block.words(), having))
    }

    /// The client's parameters for a search of `k` rows, checked against the index.
    ///
    /// # Errors
    /// What the index refuses, in Milvus's words.
    pub fn params(&self, given: &Map<String, Value>, k: usize) -> Result<SearchParams, Error> {
        let unindexed = match self.vectors.block {
            Block::Dense(_) => IndexType::Flat,
            Block::Bits(_) => IndexType::BinFlat,
            Block::Sparse(_) => IndexType::SparseInverted,
        };
        let index_type = self.index.as_ref().map_or(unindexed, Index::index_type);
        let params = SearchParams::parse(index_type, self.metric, given, k)?;
        Ok(match &self.interim {
            Some(interim) => interim.adapt(params, k),
            None => params,
        })
    }

    /// The `k` nearest allowed rows to each query, nearest first, equal scores by row.
    ///
    /// # Errors
    /// A query of another dimension, or parameters that do not fit `k`.
    pub fn search(
        &self,
        queries: &[&Vector],
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        match (&self.index, &self.interim) {
            (Some(index), _) => queries.iter().map(|query| index.search(query, k, params, allowed)).collect(),
            (None, Some(interim)) => {
                let params = interim.widen(params, allowed);
                queries.iter().map(|query| interim.index.search(query, k, &params, allowed)).collect()
            }
            (None, None) => self.vectors.block.search(self.metric, queries, k, params.saturation, allowed),
        }
    }

    /// Up to `limit` allowed rows with a score in `range` for each query, nearest first, equal scores by row. Without an index
    /// of its own, rows are compared one by one: an interim index does not know how many of its lists a range reaches into.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn range_search(
        &self,
        queries: &[&Vector],
        range: &Range,
        limit: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        let one = |query: &&Vector| match &self.index {
            Some(index) => index.range_search(query, range, limit, params, allowed),
            None => {
                let saturation = params.saturation;
                self.vectors.block.range_search(self.metric, query, range, limit, saturation, allowed)
            }
        };
        queries.iter().map(one).collect()
    }
}
