//! One byte per component, with a range of its own for each dimension.
//!
//! A quarter of the memory traffic of the full vectors. A component `x` of dimension `d` is held as the nearest of 256
//! levels `low[d] + step[d] * code`. A query is turned once into integer weights, so that comparing it with a row is a
//! product of bytes. The distances are near enough to walk a graph by; with [`Codes::slack`] they also bound the exact
//! ones, so that a scan over codes can leave out only rows that cannot be among the nearest.

use super::VectorBlock;
use super::block::inverse_norm;
use super::exact::Exact;
use super::flat::{Run, each_run};
use super::grid::{Grid, NarrowQuery, ROUNDER};
use super::kernel::{AlignedBytes, HIGH_PART, prefetch_code};
use super::space::Space;
use super::top::{Near, Top};
use crate::model::memory::CODED_DIM;
use crate::model::{Bitset, Metric};

/// The number of the highest of a component's levels.
const HIGHEST: u8 = 255;
/// The largest weight of a query: `HIGH_PART * 127`.
const MAX_WEIGHT: f32 = 127.0 * HIGH_PART;

/// The codes of all rows of a block under one metric.
pub(super) struct Codes {
    grid: Grid,
    rows: usize,
    /// Bytes of a row: the dimension, up to whole cache lines.
    stride: usize,
    bytes: AlignedBytes,
    /// The squared lengths of the decoded rows, under L2.
    squares: Vec<f32>,
    /// The greatest distance of a vector from what its code decodes to.
    worst: f32,
    /// The greatest length of a decoded row.
    longest: f32,
}

/// A query as integer weights `HIGH_PART * high + low`, to be scaled and shifted: exact enough to bound distances with.
#[derive(Default)]
struct SplitQuery {
    values: Vec<f32>,
    high: Vec<i8>,
    low: Vec<i8>,
    scale: f32,
    base: f32,
    square: f32,
}

impl Codes {
    /// The codes of `block`, unless its vectors are too short for them to pay.
    pub(super) fn if_they_pay(block: &VectorBlock, metric: Metric) -> Option<Self> {
        (block.dim() >= CODED_DIM).then(|| Self::new(block, metric))
    }

    /// Encodes all rows of `block`.
    fn new(block: &VectorBlock, metric: Metric) -> Self {
        let (dim, rows) = (block.dim(), block.rows());
        let stride = dim.next_multiple_of(64);
        let mut codes = Self {
            grid: Grid::whole(block, metric, HIGHEST),
            rows,
            stride,
            bytes: AlignedBytes::zeros(rows * stride),
            squares: Vec::new(),
            worst: 0.0,
            longest: 0.0,
        };
        codes.fill(block);
        codes
    }

    /// Writes the codes, and learns how far they are off.
    fn fill(&mut self, block: &VectorBlock) {
        let (mut vector, mut decoded) = (Vec::new(), Vec::new());
        for row in 0..self.rows {
            let code = &mut self.bytes.as_mut_slice()[row * self.stride..][..self.stride];
            for (code, level) in code.iter_mut().zip(self.grid.levels(block, row, &mut vector)) {
                *code = level;
            }
            self.grid.decode(self.code(row), &mut decoded);
            let kernels = self.grid.kernels;
            self.worst = self.worst.max(kernels.l2(&vector, &decoded).sqrt());
            let square = kernels.dot(&decoded, &decoded);
            self.longest = self.longest.max(square.sqrt());
            if self.grid.metric == Metric::L2 {
                self.squares.push(square);
            }
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.as_slice().len() + self.grid.memory_bytes() + self.squares.len() * 4
    }

    fn code(&self, row: usize) -> impl Iterator<Item = u8> + '_ {
        self.bytes.as_slice()[row * self.stride..][..self.grid.low.len()].iter().copied()
    }

    /// A query for scans.
    fn split(&self, vector: &[f32]) -> SplitQuery {
        let grid = &self.grid;
        let scale = if grid.metric == Metric::Cosine { inverse_norm(grid.kernels, vector) } else { 1.0 };
        let mut query = SplitQuery::default();
        query.values.resize(vector.len(), 0.0);
        grid.shift(vector, scale, &mut query.values);
        query.base = grid.kernels.dot(&query.values, &grid.low);
        query.square =
            if grid.metric == Metric::L2 { grid.kernels.dot(&query.values, &query.values) } else { 0.0 };
        let mut largest = 0.0f32;
        for (value, step) in query.values.iter_mut().zip(&grid.step) {
            *value *= step;
            largest = largest.max(value.abs());
        }
        let usable = largest > 0.0 && largest.is_finite();
        let inverse = if usable { MAX_WEIGHT / largest } else { 0.0 };
        query.scale = if usable { largest / MAX_WEIGHT } else { 0.0 };
        query.high.resize(self.stride, 0);
        query.low.resize(self.stride, 0);
        for ((value, high), low) in query.values.iter().zip(&mut query.high).zip(&mut query.low) {
            let weight = (value * inverse + ROUNDER).to_bits() as i32 - ROUNDER.to_bits() as i32;
            let upper = (weight + 64) >> 7;
            *high = upper as i8;
            *low = (weight - (upper << 7)) as i8;
        }
        query
    }

    /// Turns sums over codes into distances; `id_of` gives the row of each place.
    fn finish(&self, query: &SplitQuery, out: &mut [f32], id_of: impl Fn(usize) -> usize) {
        if self.grid.metric == Metric::L2 {
            for (place, value) in out.iter_mut().enumerate() {
                let product = query.base + query.scale * *value;
                *value = (query.square + self.squares[id_of(place)] - 2.0 * product).max(0.0);
            }
        } else {
            for value in out {
                *value = 0.0 - (query.base + query.scale * *value);
            }
        }
    }

    /// How far the exact distance of a row may lie from its distance by code: no row's exact distance differs by more
    /// than the first number under IP and COSINE; under L2 it bounds the difference of the distances' square roots, and
    /// the second number bounds the rounding of the squares.
    fn slack(&self, query: &SplitQuery, length: f32) -> (f32, f32) {
        // Each weight is off by up to half a unit (and a little for its own rounding), each code is at most 255.
        let weights = query.scale * 0.51 * f32::from(HIGHEST) * self.grid.low.len() as f32;
        let rounding = 16.0 * f32::EPSILON * (length + self.longest + self.worst).powi(2);
        match self.grid.metric {
            Metric::L2 => (self.worst, 2.0 * weights + rounding),
            _ => (length * self.worst + weights + rounding, 0.0),
        }
    }

    /// The exactly nearest `k` allowed rows, nearest first: scans codes, then compares those full vectors that may count.
    pub(super) fn nearest(
        &self,
        vector: &[f32],
        exact: &Exact<'_>,
        k: usize,
        allowed: Option<&Bitset>,
    ) -> Vec<Near> {
        self.nearest_in(vector, exact, k, |visit| each_run(self.rows, allowed, visit))
    }

    /// As [`Self::nearest`], among the rows of the runs that `runs` hands out.
    pub(super) fn nearest_in(
        &self,
        vector: &[f32],
        exact: &Exact<'_>,
        k: usize,
        runs: impl FnOnce(&mut dyn FnMut(Run<'_>)),
    ) -> Vec<Near> {
        let query = self.split(vector);
        let length = match self.grid.metric {
            Metric::L2 => query.square.sqrt(),
            Metric::Cosine => 1.0,
            _ => self.grid.kernels.dot(vector, vector).sqrt(),
        };
        let slack = self.slack(&query, length);
        let mut top = Top::new(k, self.rows);
        let mut bar = f32::INFINITY;
        let mut kept: Vec<Near> = Vec::new();
        let mut distances = Vec::new();
        runs(&mut |run| {
            self.distances_of(&query, &run, &mut distances);
            for (place, &distance) in distances.iter().enumerate() {
                // Written so that NaN is kept.
                if distance > bar {
                    continue;
                }
                let row = match run {
                    Run::Whole { start, .. } => (start + place) as u32,
                    Run::Some(ids) => ids[place],
                };
                let near = Near::new(distance, row);
                kept.push(near);
                top.offer(near);
                if let Some(farthest) = top.bar() {
                    bar = self.reach(farthest.distance(), slack);
                }
            }
        });
        let rows: Vec<u32> = kept
            .into_iter()
            .filter(|near| {
                let distance = near.distance();
                distance.is_nan() || distance <= bar
            })
            .map(Near::row)
            .collect();
        let mut ranked = exact.rank(&rows);
        ranked.truncate(k);
        ranked
    }

    fn distances_of(&self, query: &SplitQuery, run: &Run<'_>, out: &mut Vec<f32>) {
        match *run {
            Run::Whole { start, count } => {
                self.grid.kernels.code_rows(&query.high, &query.low, &self.bytes, start, count, out);
                self.finish(query, out, |place| start + place);
            }
            Run::Some(ids) => {
                self.grid.kernels.code_gather(&query.high, &query.low, &self.bytes, ids, out);
                self.finish(query, out, |place| ids[place] as usize);
            }
        }
    }

    /// The greatest distance by code that a row nearer than one at `distance` by code can have.
    fn reach(&self, distance: f32, (slack, rounding): (f32, f32)) -> f32 {
        match self.grid.metric {
            Metric::L2 => {
                let root = (distance + rounding).sqrt() + 2.0 * slack;
                root * root * (1.0 + 4.0 * f32::EPSILON) + rounding
            }
            _ => distance + 2.0 * slack,
        }
    }
}

impl Space for Codes {
    type Query = NarrowQuery;

    fn prepare(&self, vector: &[f32], query: &mut NarrowQuery) {
        self.grid.prepare(vector, self.stride, query);
    }

    fn prepare_row(&self, row: u32, query: &mut NarrowQuery) {
        self.grid.prepare_levels(self.code(row as usize), self.stride, query);
    }

    fn distances(&self, query: &NarrowQuery, ids: &[u32], out: &mut Vec<f32>) {
        self.grid.kernels.byte_gather(&query.weights, &self.bytes, ids, out);
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
    use crate::index::flat;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn a_scan_over_codes_finds_exactly_what_a_scan_over_vectors_finds(
            (dim, values, query, offset, k, picks) in (1usize..80, 1usize..150).prop_flat_map(|(dim, rows)| (
                Just(dim),
                prop::collection::vec(-1.0f32..1.0, dim * rows),
                prop::collection::vec(-1.0f32..1.0, dim),
                prop_oneof![Just(0.0f32), Just(100.0f32)],
                1usize..12,
                prop::option::of(prop::collection::vec(any::<bool>(), rows)),
            ))
        ) {
            let values: Vec<f32> = values.iter().map(|value| value + offset).collect();
            let block = VectorBlock::new(dim, &values).unwrap();
            let allowed = picks.map(|picks| Bitset::from_fn(picks.len(), |row| picks[row]));
            for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
                let exact = Exact::new(&block, metric, &query);
                let codes = Codes::new(&block, metric);
                let found: Vec<_> =
                    codes.nearest(&query, &exact, k, allowed.as_ref()).into_iter().map(|near| near.hit(metric)).collect();
                let wanted = flat::search_block(&block, metric, &query, k, allowed.as_ref()).unwrap();
                let scores = |hits: &[crate::index::Hit]| hits.iter().map(|hit| hit.score).collect::<Vec<_>>();
                prop_assert_eq!(scores(&found), scores(&wanted), "{}", metric);
            }
        }
    }
}
