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
        let ones = ones_of(&query);
        Self { block, metric, query, ones }
    }

    /// The distances of rows `ids`, into `out`.
    pub(super) fn gather(&self, ids: &[u32], out: &mut Vec<f32>) {
        let (kernels, words) = (self.block.kernels, &self.block.words);
        let mut counts = Vec::new();
        let rows = ids.iter().map(|&id| self.block.words_of(id as usize));
        if self.metric == Metric::MhJaccard {
            self.agree(rows, out);
        } else if matches!(self.metric, Metric::Substructure | Metric::Superstructure) {
            self.contain(rows, out);
        } else if self.metric == Metric::Jaccard {
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
        let rows = words.chunks_exact(width.max(1));
        if self.metric == Metric::MhJaccard {
            self.agree(rows, out);
        } else if matches!(self.metric, Metric::Substructure | Metric::Superstructure) {
            self.contain(rows, out);
        } else if self.metric == Metric::Jaccard {
            self.block.kernels.common_rows(&self.query, words, &mut counts);
            self.share(&counts, start..end, out);
        } else {
            self.block.kernels.differing_rows(&self.query, words, &mut counts);
            out.clear();
            out.extend(counts.iter().map(|&count| count as f32));
        }
    }

    /// The distances of signatures: less where more places of 32 bits are the same.
    fn agree<'r>(&self, rows: impl Iterator<Item = &'r [u64]>, out: &mut Vec<f32>) {
        let places = (self.block.dim / 32).max(1);
        // The last word of an odd number of places is half empty, in every row.
        let padding = self.query.len() * 2 - places.min(self.query.len() * 2);
        out.clear();
        out.extend(rows.map(|row| {
            let same = |(one, other): (&u64, &u64)| {
                let differing = one ^ other;
                usize::from(differing & u64::from(u32::MAX) == 0) + usize::from(differing >> 32 == 0)
            };
            let agreeing: usize = self.query.iter().zip(row).map(same).sum();
            0.0 - (agreeing - padding.min(agreeing)) as f32 / places as f32
        }));
    }

    /// The distances of structures: nothing or everything.
    fn contain<'r>(&self, rows: impl Iterator<Item = &'r [u64]>, out: &mut Vec<f32>) {
        let is_within = |part: &u64, whole: &u64| part & whole == *part;
        out.clear();
        out.extend(rows.map(|row| {
            let mut words = self.query.iter().zip(row);
            let matches = if self.metric == Metric::Substructure {
                words.all(|(query, row)| is_within(query, row))
            } else {
                words.all(|(query, row)| is_within(row, query))
            };
            if matches { 0.0 } else { f32::INFINITY }
        }));
    }

    /// Turns counts of common bits into distances.
    fn share(&self, common: &[u32], rows: impl Iterator<Item = usize>, out: &mut Vec<f32>) {
        let ones = self.block.ones();
        out.clear();
        out.extend(
            common.iter().zip(rows).map(|(&common, row)| jaccard(common, self.ones + ones[row] - common)),
        );
    }
}

/// How many bits of a row are set.
pub(in crate::index) fn ones_of(words: &[u64]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

/// The distance by `JACCARD` of two rows that have `common` bits of the `either` that one of them has; 1 if none has any.
pub(in crate::index) fn jaccard(common: u32, either: u32) -> f32 {
    if either == 0 { 1.0 } else { (either - common) as f32 / either as f32 }
}
