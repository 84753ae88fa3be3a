//! What a graph walks over: something that compares a prepared query with rows.

use super::VectorBlock;
use super::block::inverse_norm;
use super::top::distance_of;
use crate::model::Metric;

/// Distances from a prepared query to rows, smaller is nearer; exact or nearly so.
pub(super) trait Space: Sync {
    /// A query in the form this space compares fastest. Buffers are reused from query to query.
    type Query: Default + Send;

    /// Prepares a vector of the block's dimension.
    fn prepare(&self, vector: &[f32], query: &mut Self::Query);

    /// Prepares the vector of row `row`.
    fn prepare_row(&self, row: u32, query: &mut Self::Query);

    /// The distances of rows `ids`, into `out`.
    fn distances(&self, query: &Self::Query, ids: &[u32], out: &mut Vec<f32>);

    /// Hints that row `row` will be compared soon.
    fn hint(&self, _row: u32) {}
}

/// The `f32` rows themselves.
pub(super) struct FullSpace<'a> {
    pub(super) block: &'a VectorBlock,
    pub(super) metric: Metric,
}

/// A query of [`FullSpace`].
#[derive(Default)]
pub(super) struct FullQuery {
    values: Vec<f32>,
    inverse: f32,
}

impl Space for FullSpace<'_> {
    type Query = FullQuery;

    fn prepare(&self, vector: &[f32], query: &mut FullQuery) {
        query.values.clear();
        query.values.extend_from_slice(vector);
        query.inverse =
            if self.metric == Metric::Cosine { inverse_norm(self.block.kernels(), vector) } else { 1.0 };
    }

    fn prepare_row(&self, row: u32, query: &mut FullQuery) {
        self.prepare(self.block.row(row as usize), query);
    }

    fn distances(&self, query: &FullQuery, ids: &[u32], out: &mut Vec<f32>) {
        let (kernels, values) = (self.block.kernels(), self.block.values());
        match self.metric {
            Metric::L2 => kernels.l2_gather(&query.values, values, ids, out),
            _ => kernels.dot_gather(&query.values, values, ids, out),
        }
        if self.metric == Metric::Cosine {
            let norms = self.block.inverse_norms();
            for (value, &id) in out.iter_mut().zip(ids) {
                *value *= query.inverse * norms[id as usize];
            }
        }
        for value in out.iter_mut() {
            *value = distance_of(self.metric, *value);
        }
    }
}
