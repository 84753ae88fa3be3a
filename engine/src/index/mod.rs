//! Vector indexes: build and search them over vectors in memory.
//!
//! A [`Block`] holds the vectors of one segment's field: numbers, bits or sparse pairs. Every index shares that block and
//! never copies it. [`Block::search`] needs no index; [`Index::build`] makes what an [`IndexSpec`] asks for, [`Index::decode`]
//! brings back what [`Index::encode`] wrote. Every search answers with exact scores. For numbers alone there are [`flat`],
//! [`build`], [`decode`] and [`VectorIndex`].
//!
//! No object keys, no collections, no filter syntax (a filter arrives as a [`Bitset`]), no clock, no I/O.

mod any;
mod artifact;
mod bits;
mod block;
mod codes;
mod error;
mod exact;
pub mod flat;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod grid;
mod hnsw;
mod ivf;
pub mod kernel;
mod kmeans;
mod lists;
mod members;
mod nibbles;
mod params;
mod range;
mod space;
mod sparse;
mod spec;
#[cfg(test)]
mod tests;
mod top;

use std::sync::Arc;

pub use any::{Block, Index, Piece};
pub use bits::{BitBlock, BitIndex};
pub use block::{Filling, VectorBlock};
pub use error::Error;
pub use lists::{ListQuery, Lists};
pub use params::{Range, SearchParams};
pub use sparse::{Algorithm, Saturation, SparseBlock, SparseIndex};
use spec::Form;
pub use spec::{IndexSpec, IndexType, Width};

use crate::model::{Bitset, Metric};

/// One row found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The row in the block.
    pub row: u32,
    /// The raw score of the metric: squared distance for `L2`, similarity for `IP` and `COSINE`.
    pub score: f32,
}

/// A searchable index over one [`VectorBlock`].
pub trait VectorIndex: Send + Sync {
    /// The type that was built.
    fn index_type(&self) -> IndexType;

    /// The metric that was built for.
    fn metric(&self) -> Metric;

    /// The vectors the index is about.
    fn block(&self) -> &Arc<VectorBlock>;

    /// The `k` rows nearest to `query`, nearest first, equal scores by ascending row. Only rows in `allowed` count, if
    /// it is given; rows past its end are not allowed. Always gives `k` rows, or all allowed rows if there are fewer.
    ///
    /// # Errors
    /// [`Error::WrongDim`] for a query of another dimension, [`Error::EfBelowK`] for an `ef` below `k`.
    fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error>;

    /// Up to `limit` rows whose score is in `range`, nearest first, equal scores by ascending row.
    ///
    /// # Errors
    /// As [`Self::search`].
    fn range_search(
        &self,
        query: &[f32],
        range: &Range,
        limit: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        range::by_growing_k(self, query, range, limit, params, allowed)
    }

    /// Bytes of memory held besides the block.
    fn memory_bytes(&self) -> usize;

    /// The index without its vectors, for [`decode`].
    fn encode(&self) -> Vec<u8>;
}

/// Builds what `spec` asks for over `block`, on `threads` threads (at least one). CPU work: call it where blocking is
/// allowed. The same spec and block give the same index when `threads` is 1.
///
/// `stop` is asked every few rows; once it says yes, the build ends early.
///
/// # Errors
/// [`Error::Stopped`] when `stop` said so, [`Error::TooManyRows`] for a block of more than 2^31 - 1 rows.
pub fn build(
    spec: &IndexSpec,
    block: Arc<VectorBlock>,
    threads: usize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Box<dyn VectorIndex>, Error> {
    match spec.index_type.form() {
        Form::Flat => Ok(Box::new(flat::Flat::new(spec.metric, block))),
        Form::Graph => Ok(Box::new(hnsw::Hnsw::build(spec, block, threads, stop)?)),
        Form::Lists => Ok(Box::new(ivf::Ivf::build(spec, block, threads, stop)?)),
        Form::Postings => Err(Error::Corrupt { what: "its type is for sparse vectors" }),
    }
}

/// Brings back an index from what [`VectorIndex::encode`] gave, over the block it was built on.
///
/// # Errors
/// [`Error::Corrupt`] if `bytes` are not such, or were written for a block of another shape.
pub fn decode(bytes: &[u8], block: Arc<VectorBlock>) -> Result<Box<dyn VectorIndex>, Error> {
    let (head, body) = artifact::open(bytes, (block.dim(), block.rows()))?;
    if !head.index_type.is_dense() {
        return Err(Error::Corrupt { what: "it is an index of vectors of another kind" });
    }
    match head.index_type.form() {
        Form::Flat => Ok(Box::new(flat::Flat::new(head.metric, block))),
        Form::Graph => Ok(Box::new(hnsw::Hnsw::decode(head, body, block)?)),
        Form::Lists => Ok(Box::new(ivf::Ivf::decode(head, body, block)?)),
        Form::Postings => Err(Error::Corrupt { what: "its type is for sparse vectors" }),
    }
}
