//! Half a byte per component: an eighth of the full vectors, to walk a graph by.
//!
//! For most vectors of hundreds of dimensions sixteen levels lead a walk as well as full vectors do, since what it finds is
//! compared again; whether they do is measured ([`Nibbles::if_they_lead`]). Lists of `IVF_PQ` have them unmeasured.

use super::VectorBlock;
use super::exact::Exact;
use super::grid::{Grid, NarrowQuery};
use super::kernel::{AlignedBytes, prefetch_code};
use super::space::Space;
use super::top::Near;
use crate::model::Metric;

/// The number of the highest of the levels.
const HIGHEST: u8 = 15;
/// Below this dimension, half-byte codes take as many cache lines as byte codes do.
const LEAST_DIM: usize = 96;
/// Rows that the measurement compares, and how many of them it asks for the nearest of.
const SAMPLE_ROWS: usize = 4096;
const SAMPLE_QUERIES: usize = 64;
/// Of a query's nearest so many, by codes twice as many must contain [`LEAST_FOUND`] of 100.
const SAMPLE_NEAREST: usize = 10;
const LEAST_FOUND: usize = 99;

/// The codes of all rows of a block under one metric.
pub(super) struct Nibbles {
    grid: Grid,
    rows: usize,
    /// Bytes of a row, in whole cache lines: each line holds 128 components, the first 64 in the lower halves.
    stride: usize,
    bytes: AlignedBytes,
    /// The squared lengths of the decoded rows, under L2.
    squares: Vec<f32>,
}

impl Nibbles {
    /// The codes of `block`, if a walk by them finds the same rows.
    pub(super) fn if_they_lead(block: &VectorBlock, metric: Metric) -> Option<Self> {
        if block.dim() < LEAST_DIM || block.rows() == 0 {
            return None;
        }
        let codes = Self::new(block, metric);
        codes.lead(block).then_some(codes)
    }

    /// Encodes all rows of `block`.
    pub(super) fn new(block: &VectorBlock, metric: Metric) -> Self {
        let (dim, rows) = (block.dim(), block.rows());
        let stride = dim.div_ceil(128) * 64;
        let mut codes = Self {
            grid: Grid::clipped(block, metric, HIGHEST),
            rows,
            stride,
            bytes: AlignedBytes::zeros(rows * stride),
            squares: Vec::new(),
        };
        let (mut vector, mut decoded) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let line = &mut codes.bytes.as_mut_slice()[row * stride..][..stride];
            for (place, level) in codes.grid.levels(block, row, &mut vector).enumerate() {
                line[place / 128 * 64 + place % 64] |= level << (place % 128 / 64 * 4);
            }
            if metric == Metric::L2 {
                codes.grid.decode(codes.levels(row), &mut decoded);
                codes.squares.push(codes.grid.kernels.dot(&decoded, &decoded));
            }
        }
        codes
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.as_slice().len() + self.grid.memory_bytes() + self.squares.len() * 4
    }

    fn levels(&self, row: usize) -> impl Iterator<Item = u8> + '_ {
        let line = &self.bytes.as_slice()[row * self.stride..][..self.stride];
        (0..self.grid.low.len())
            .map(|place| line[place / 128 * 64 + place % 64] >> (place % 128 / 64 * 4) & 15)
    }

    /// Whether the nearest by codes contain the truly nearest, in a sample.
    pub(super) fn lead(&self, block: &VectorBlock) -> bool {
        let sample: Vec<u32> =
            (0..self.rows).step_by(self.rows.div_ceil(SAMPLE_ROWS)).map(|row| row as u32).collect();
        let mut query = NarrowQuery::default();
        let mut distances = Vec::new();
        let (mut found, mut wanted) = (0, 0);
        for &row in sample.iter().step_by(sample.len().div_ceil(SAMPLE_QUERIES)) {
            let vector = block.row(row as usize);
            let mut truth = Exact::new(block, self.grid.metric, vector).rank(&sample);
            truth.truncate(SAMPLE_NEAREST);
            self.prepare(vector, &mut query);
            self.distances(&query, &sample, &mut distances);
            let mut near: Vec<Near> =
                sample.iter().zip(&distances).map(|(&row, &distance)| Near::new(distance, row)).collect();
            near.sort_unstable();
            near.truncate(SAMPLE_NEAREST * 2);
            wanted += truth.len();
            found +=
                truth.iter().filter(|true_one| near.iter().any(|near| near.row() == true_one.row())).count();
        }
        found * 100 >= wanted * LEAST_FOUND
    }
}

impl Space for Nibbles {
    type Query = NarrowQuery;

    fn prepare(&self, vector: &[f32], query: &mut NarrowQuery) {
        self.grid.prepare(vector, self.stride * 2, query);
    }

    fn prepare_row(&self, row: u32, query: &mut NarrowQuery) {
        self.grid.prepare_levels(self.levels(row as usize), self.stride * 2, query);
    }

    fn distances(&self, query: &NarrowQuery, ids: &[u32], out: &mut Vec<f32>) {
        self.grid.kernels.nibble_gather(&query.weights, &self.bytes, ids, out);
        self.grid.finish(query, &self.squares, ids, out);
    }

    fn hint(&self, row: u32) {
        prefetch_code(&self.bytes, self.stride, row);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn distances_are_those_of_the_decoded_rows(
            (dim, values, query) in (1usize..300, 1usize..12).prop_flat_map(|(dim, rows)| (
                Just(dim),
                prop::collection::vec(-2.0f32..2.0, dim * rows),
                prop::collection::vec(-2.0f32..2.0, dim),
            ))
        ) {
            let block = VectorBlock::new(dim, &values).unwrap();
            let ids: Vec<u32> = (0..block.rows() as u32).rev().collect();
            for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
                let codes = Nibbles::new(&block, metric);
                let (mut decoded, mut all) = (Vec::new(), Vec::new());
                for row in 0..block.rows() {
                    codes.grid.decode(codes.levels(row), &mut decoded);
                    all.extend(decoded.iter().zip(&codes.grid.centre).map(|(value, centre)| value + centre));
                }
                // Under COSINE the decoded rows are of length one, or nearly so.
                let plain = if metric == Metric::L2 { Metric::L2 } else { Metric::Ip };
                let rows = VectorBlock::new(dim, &all).unwrap();
                let scale = if metric == Metric::Cosine {
                    crate::index::block::inverse_norm(block.kernels(), &query)
                } else {
                    1.0
                };
                let scaled: Vec<f32> = query.iter().map(|value| value * scale).collect();
                let exact = Exact::new(&rows, plain, &scaled);
                let (mut wanted, mut found) = (Vec::new(), Vec::new());
                exact.gather(&ids, &mut wanted);
                let mut prepared = NarrowQuery::default();
                codes.prepare(&query, &mut prepared);
                codes.distances(&prepared, &ids, &mut found);
                let shifted = scaled.iter().zip(&codes.grid.centre).map(|(value, centre)| value - centre);
                let largest =
                    shifted.zip(&codes.grid.step).map(|(value, step)| (value * step).abs()).fold(0.0, f32::max);
                for ((found, wanted), &id) in found.iter().zip(&wanted).zip(&ids) {
                    // Each weight is off by up to half a 127th of the largest, times its level.
                    let levels: f32 = codes.levels(id as usize).map(f32::from).sum();
                    let twice = if metric == Metric::L2 { 2.0 } else { 1.0 };
                    let slack = twice * 0.51 * largest / 127.0 * levels + 0.01;
                    prop_assert!((found - wanted).abs() <= slack, "{metric}: {found} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn what_half_bytes_blur_is_walked_by_bytes() {
        // Rows in close pairs, with two components a thousand times as wide as what tells the pairs apart.
        let dim = 128;
        let spread = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1u64 << 24) as f32;
        let values: Vec<f32> = (0..2000u64)
            .flat_map(|row| {
                (0..dim as u64).map(move |place| {
                    let wide = if place < 100 { 1.0 } else { 0.0 };
                    spread(row / 40 * 131 + place) * wide + spread(row * 131 + place + 7) * 0.01
                })
            })
            .collect();
        let block = VectorBlock::new(dim, &values).unwrap();

        assert!(Nibbles::if_they_lead(&block, Metric::L2).is_none());
    }
}
