//! Exact distances of one query to rows of bits.

use super::BitBlock;
use super::push_words;
use crate::model::Metric;

/// One query against one block under one metric.
pub(super) struct BitExact<'a> {
    block: &'a BitBlock,
    metric: Metric,
    query: Vec<u64>,
    /// Bits set in the query.
    ones: u32,
}

impl<'a> BitExact<'a> {
    /// The query must have the block's dimension.
    pub(super) fn new(block: &'a BitBlock, metric: Metric, query: &[u8]) -> Self {
        let mut words = Vec::with_capacity(query.len().div_ceil(8));
        push_words(&mut words, query);
        Self::of_words(block, metric, words)
    }

    pub(super) fn of_words(block: &'a BitBlock, metric: Metric, query: Vec<u64>) -> Self {
        let ones = query.iter().map(|word| word.count_ones()).sum();
        Self { block, metric, query, ones }
    }

    /// The distances of rows `ids`, into `out`.
    pub(super) fn gather(&self, ids: &[u32], out: &mut Vec<f32>) {
        let (kernels, words) = (self.block.kernels, &self.block.words);
        let mut counts = Vec::new();
        if self.metric == Metric::Jaccard {
            kernels.common_gather(&self.query, words, ids, &mut counts);
            self.share(&counts, ids.iter().map(|&id| id as usize), out);
        } else {
            kernels.differing_gather(&self.query, words, ids, &mut counts);
            out.clear();
            out.extend(counts.iter().map(|&count| count as f32));
        }
    }

    /// The distances of `count` rows from `start` on, into `out`; rows past the end are left out.
    pub(super) fn run(&self, start: usize, count: usize, out: &mut Vec<f32>) {
        let width = self.query.len();
        let (start, end) = (start.min(self.block.rows), start.saturating_add(count).min(self.block.rows));
        let words = &self.block.words[start * width..end * width];
        let mut counts = Vec::new();
        if self.metric == Metric::Jaccard {
            self.block.kernels.common_rows(&self.query, words, &mut counts);
            self.share(&counts, start..end, out);
        } else {
            self.block.kernels.differing_rows(&self.query, words, &mut counts);
            out.clear();
            out.extend(counts.iter().map(|&count| count as f32));
        }
    }

    /// Turns counts of common bits into distances.
    fn share(&self, common: &[u32], rows: impl Iterator<Item = usize>, out: &mut Vec<f32>) {
        let ones = self.block.ones();
        out.clear();
        out.extend(common.iter().zip(rows).map(|(&common, row)| {
            let either = self.ones + ones[row] - common;
            if either == 0 { 1.0 } else { (either - common) as f32 / either as f32 }
        }));
    }
}
