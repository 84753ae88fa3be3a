//! Exact distances of one query to rows of a block, smaller is nearer.

use super::VectorBlock;
use super::block::inverse_norm;
use super::kernel::Kernels;
use super::top::{Near, distance_of};
use crate::model::Metric;

/// One query against one block under one metric.
#[derive(Clone, Copy)]
pub(super) struct Exact<'a> {
    block: &'a VectorBlock,
    metric: Metric,
    query: &'a [f32],
    kernels: Kernels,
    /// One over the query's length, under COSINE.
    inverse: f32,
}

impl<'a> Exact<'a> {
    /// The query must have the block's dimension.
    pub(super) fn new(block: &'a VectorBlock, metric: Metric, query: &'a [f32]) -> Self {
        let kernels = block.kernels();
        let inverse = if metric == Metric::Cosine { inverse_norm(kernels, query) } else { 1.0 };
        Self { block, metric, query, kernels, inverse }
    }

    /// The distances of rows `ids`, into `out`.
    pub(super) fn gather(&self, ids: &[u32], out: &mut Vec<f32>) {
        let values = self.block.values();
        match self.metric {
            Metric::L2 => self.kernels.l2_gather(self.query, values, ids, out),
            _ => self.kernels.dot_gather(self.query, values, ids, out),
        }
        if self.metric == Metric::Cosine {
            let norms = self.block.inverse_norms();
            for (value, &id) in out.iter_mut().zip(ids) {
                *value *= self.inverse * norms[id as usize];
            }
        }
        self.finish(out);
    }

    /// The distances of `count` rows from `start` on, into `out`; rows past the end are left out.
    pub(super) fn run(&self, start: usize, count: usize, out: &mut Vec<f32>) {
        let rows = self.block.rows();
        let (start, end) = (start.min(rows), start.saturating_add(count).min(rows));
        let values = &self.block.values()[start * self.block.dim()..end * self.block.dim()];
        match self.metric {
            Metric::L2 => self.kernels.l2_rows(self.query, values, out),
            _ => self.kernels.dot_rows(self.query, values, out),
        }
        self.weigh(start, out);
    }

    /// The same for four queries at once, reading each row once: `out` becomes four runs of one distance per row.
    pub(super) fn run_four(four: [&Self; 4], start: usize, count: usize, out: &mut Vec<f32>) {
        let block = four[0].block;
        let (start, end) = (start.min(block.rows()), start.saturating_add(count).min(block.rows()));
        let values = &block.values()[start * block.dim()..end * block.dim()];
        let queries = four.map(|one| one.query);
        match four[0].metric {
            Metric::L2 => four[0].kernels.l2_tile(queries, values, out),
            _ => four[0].kernels.dot_tile(queries, values, out),
        }
        if end > start {
            for (one, out) in four.into_iter().zip(out.chunks_exact_mut(end - start)) {
                one.weigh(start, out);
            }
        }
    }

    /// The nearest of `rows` by exact distance, each once computed, in order.
    pub(super) fn rank(&self, rows: &[u32]) -> Vec<Near> {
        let mut distances = Vec::with_capacity(rows.len());
        self.gather(rows, &mut distances);
        let mut ranked: Vec<Near> =
            distances.into_iter().zip(rows).map(|(distance, &row)| Near::new(distance, row)).collect();
        ranked.sort_unstable();
        ranked
    }

    /// Turns products of the rows from `start` on into distances.
    fn weigh(&self, start: usize, out: &mut [f32]) {
        if self.metric == Metric::Cosine {
            for (value, norm) in out.iter_mut().zip(&self.block.inverse_norms()[start..]) {
                *value *= self.inverse * norm;
            }
        }
        self.finish(out);
    }

    fn finish(&self, out: &mut [f32]) {
        if self.metric == Metric::Cosine {
            // Rounding must not leave the range that clients are promised.
            for value in out.iter_mut() {
                *value = value.clamp(-1.0, 1.0);
            }
        }
        for value in out {
            *value = distance_of(self.metric, *value);
        }
    }
}
