//! Levels on which the components of vectors are held: as many of equal distance for each dimension, over a range of its own.
//!
//! A component `x` of dimension `d` is held as the number of the nearest level `low[d] + step[d] * number`. A query is turned
//! once into integer weights, so that comparing it with a row is a product of small integers.

use super::VectorBlock;
use super::block::inverse_norm;
use super::kernel::Kernels;
use crate::model::Metric;

/// The largest weight of a query of one byte per component.
const MAX_WEIGHT: f32 = 127.0;
/// A float with this added has its integer part in its lowest bits, rounded to nearest.
pub(super) const ROUNDER: f32 = 12_582_912.0;
/// So many standard deviations to both sides of the mean are worth levels when there are few of them: a wider range makes
/// all rows less exact for the sake of a few.
const CLIPPED_AT: f32 = 2.9;

/// The levels of all dimensions, under one metric.
pub(super) struct Grid {
    pub(super) metric: Metric,
    pub(super) kernels: Kernels,
    /// What is taken off every vector before anything else: the middle of the ranges for L2, nothing otherwise.
    pub(super) centre: Vec<f32>,
    pub(super) low: Vec<f32>,
    pub(super) step: Vec<f32>,
    /// The highest level's number.
    highest: f32,
}

/// A query of one byte per component, to be scaled and shifted.
#[derive(Default)]
pub(super) struct NarrowQuery {
    values: Vec<f32>,
    pub(super) weights: Vec<i8>,
    scale: f32,
    base: f32,
    square: f32,
}

impl Grid {
    /// Levels numbered up to `highest`, from the least to the greatest component of each dimension.
    pub(super) fn whole(block: &VectorBlock, metric: Metric, highest: u8) -> Self {
        let mut least = vec![f32::INFINITY; block.dim()];
        let mut most = vec![f32::NEG_INFINITY; block.dim()];
        for row in 0..block.rows() {
            let scale = row_scale(block, metric, row);
            for ((least, most), &value) in least.iter_mut().zip(&mut most).zip(block.row(row)) {
                *least = least.min(value * scale);
                *most = most.max(value * scale);
            }
        }
        Self::of(block, metric, least, most, highest)
    }

    /// Levels numbered up to `highest`, where most components of each dimension are; what lies outside is held as the
    /// nearest of them.
    pub(super) fn clipped(block: &VectorBlock, metric: Metric, highest: u8) -> Self {
        let whole = Self::whole(block, metric, highest);
        let count = block.rows().max(1) as f32;
        let mut sums = vec![0.0f64; block.dim()];
        let mut squares = vec![0.0f64; block.dim()];
        for row in 0..block.rows() {
            let scale = row_scale(block, metric, row);
            for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(block.row(row)) {
                let value = f64::from(value * scale);
                *sum += value;
                *square += value * value;
            }
        }
        let spread = |place: usize| {
            let mean = sums[place] / f64::from(count);
            let deviation = (squares[place] / f64::from(count) - mean * mean).max(0.0).sqrt();
            (mean as f32, deviation as f32 * CLIPPED_AT)
        };
        let (mut least, mut most) = (Vec::new(), Vec::new());
        for place in 0..block.dim() {
            let (mean, reach) = spread(place);
            let low = whole.low[place] + whole.centre[place];
            least.push(low.max(mean - reach));
            most.push((low + whole.step[place] * whole.highest).min(mean + reach));
        }
        Self::of(block, metric, least, most, highest)
    }

    fn of(block: &VectorBlock, metric: Metric, least: Vec<f32>, most: Vec<f32>, highest: u8) -> Self {
        let highest = f32::from(highest);
        let step = least.iter().zip(&most).map(|(least, most)| (most - least) / highest).collect();
        let centre: Vec<f32> = match metric {
            Metric::L2 => least.iter().zip(&most).map(|(least, most)| least + (most - least) / 2.0).collect(),
            _ => vec![0.0; block.dim()],
        };
        let low = least.iter().zip(&centre).map(|(least, centre)| least - centre).collect();
        Self { metric, kernels: block.kernels(), centre, low, step, highest }
    }

    /// Bytes of memory held.
    pub(super) const fn memory_bytes(&self) -> usize {
        (self.centre.len() + self.low.len() + self.step.len()) * 4
    }

    /// A vector as it is compared: scaled, and with the centre taken off.
    pub(super) fn shift(&self, from: &[f32], scale: f32, to: &mut [f32]) {
        for ((to, from), centre) in to.iter_mut().zip(from).zip(&self.centre) {
            *to = from * scale - centre;
        }
    }

    /// The numbers of the levels nearest to the components of row `row`, which is left in `vector` as it is compared.
    pub(super) fn levels<'a>(
        &'a self,
        block: &VectorBlock,
        row: usize,
        vector: &'a mut Vec<f32>,
    ) -> impl Iterator<Item = u8> + 'a {
        vector.resize(self.low.len(), 0.0);
        self.shift(block.row(row), row_scale(block, self.metric, row), vector);
        vector.iter().zip(&self.low).zip(&self.step).map(|((x, low), &step)| {
            let level = if step > 0.0 { (x - low) / step } else { 0.0 };
            (level.clamp(0.0, self.highest) + ROUNDER).to_bits() as u8
        })
    }

    /// The components that `levels` stand for.
    pub(super) fn decode(&self, levels: impl Iterator<Item = u8>, out: &mut Vec<f32>) {
        out.clear();
        out.extend(
            levels.zip(&self.low).zip(&self.step).map(|((level, low), step)| low + step * f32::from(level)),
        );
    }

    /// Makes a query of one byte per component of `vector`, filled up to `slots` bytes.
    pub(super) fn prepare(&self, vector: &[f32], slots: usize, query: &mut NarrowQuery) {
        let scale = if self.metric == Metric::Cosine { inverse_norm(self.kernels, vector) } else { 1.0 };
        query.values.clear();
        query.values.resize(vector.len(), 0.0);
        self.shift(vector, scale, &mut query.values);
        self.weigh(slots, query);
    }

    /// The same of the vector that `levels` stand for.
    pub(super) fn prepare_levels(
        &self,
        levels: impl Iterator<Item = u8>,
        slots: usize,
        query: &mut NarrowQuery,
    ) {
        self.decode(levels, &mut query.values);
        self.weigh(slots, query);
    }

    fn weigh(&self, slots: usize, query: &mut NarrowQuery) {
        query.base = self.kernels.dot(&query.values, &self.low);
        query.square =
            if self.metric == Metric::L2 { self.kernels.dot(&query.values, &query.values) } else { 0.0 };
        let mut largest = 0.0f32;
        for (value, step) in query.values.iter_mut().zip(&self.step) {
            *value *= step;
            largest = largest.max(value.abs());
        }
        let usable = largest > 0.0 && largest.is_finite();
        let inverse = if usable { MAX_WEIGHT / largest } else { 0.0 };
        query.scale = if usable { largest / MAX_WEIGHT } else { 0.0 };
        query.weights.clear();
        query.weights.resize(slots, 0);
        for (weight, value) in query.weights.iter_mut().zip(&query.values) {
            *weight = (value * inverse + ROUNDER).to_bits() as i8;
        }
    }

    /// Turns the sums over the codes of rows `ids` into distances. `squares` are the squared lengths of the decoded rows,
    /// under L2.
    pub(super) fn finish(&self, query: &NarrowQuery, squares: &[f32], ids: &[u32], out: &mut [f32]) {
        if self.metric == Metric::L2 {
            for (value, &id) in out.iter_mut().zip(ids) {
                let product = query.base + query.scale * *value;
                *value = (query.square + squares[id as usize] - 2.0 * product).max(0.0);
            }
        } else {
            for value in out {
                *value = 0.0 - (query.base + query.scale * *value);
            }
        }
    }
}

/// What a row is multiplied by before it is compared.
pub(super) fn row_scale(block: &VectorBlock, metric: Metric, row: usize) -> f32 {
    if metric == Metric::Cosine { block.inverse_norms()[row] } else { 1.0 }
}
