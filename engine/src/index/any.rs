//! Vectors of any kind, and indexes over them: each kind has a block, queries and index types of its own.

use std::ops::Range as Rows;
use std::sync::Arc;

use super::bits::{BitBlock, BitIndex};
use super::sparse::{Saturation, SparseBlock, SparseIndex};
use super::{
    Error, Hit, IndexSpec, IndexType, Range, SearchParams, VectorBlock, VectorIndex, build, decode, flat,
};
use crate::model::{Bitset, ColumnData, Metric, SparseRows, Value, Vector};

/// The vectors of one field of one segment. Cheap to copy.
#[derive(Clone, Debug)]
pub enum Block {
    /// Of numbers.
    Dense(Arc<VectorBlock>),
    /// Of bits.
    Bits(Arc<BitBlock>),
    /// Of pairs of index and value.
    Sparse(Arc<SparseBlock>),
}

/// Some rows to put into a block.
pub enum Piece<'a> {
    /// The rows of a block.
    Of(&'a Block),
    /// So many rows without a vector.
    None(usize),
}

impl Block {
    /// The vectors of a column; `None` for a column of something else.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if the values are not whole rows, [`Error::TooManyRows`].
    pub fn of_column(data: &ColumnData) -> Option<Result<Self, Error>> {
        match data {
            ColumnData::FloatVector { dim, values } => Some(VectorBlock::new(*dim, values).map(Self::Dense)),
            ColumnData::BinaryVector { dim, bytes } => {
                Some(BitBlock::from_chunks(*dim, [bytes.as_slice()]).map(Self::Bits))
            }
            ColumnData::SparseVector(rows) => Some(SparseBlock::new(rows.clone()).map(Self::Sparse)),
            _ => None,
        }
    }

    /// The rows of all `pieces`, one piece after another. `None` if no piece has a block.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if the blocks are not of one kind and dimension, [`Error::TooManyRows`].
    pub fn joined(pieces: &[Piece<'_>]) -> Result<Option<Self>, Error> {
        let first = pieces.iter().find_map(|piece| match piece {
            Piece::Of(block) => Some(*block),
            Piece::None(_) => None,
        });
        let Some(first) = first else { return Ok(None) };
        let gaps = pieces.iter().map(|piece| if let Piece::None(rows) = piece { *rows } else { 0 });
        let gap = gaps.max().unwrap_or(0);
        match first {
            Self::Dense(first) => join_dense(first.dim(), gap, pieces).map(Self::Dense),
            Self::Bits(first) => join_bits(first.dim(), pieces).map(Self::Bits),
            Self::Sparse(_) => join_sparse(pieces).map(Self::Sparse),
        }
        .map(Some)
    }

    /// A copy of some rows, which exist.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] never, as long as they do.
    pub fn slice(&self, range: Rows<usize>) -> Result<Self, Error> {
        let mut rows = self.no_rows();
        range.for_each(|row| self.push_row(row, &mut rows));
        Self::of_column(&rows).unwrap_or(Err(Error::RaggedBlock { bytes: 0, dim: self.dim() }))
    }

    /// A column for vectors of this kind and dimension, without a row.
    #[must_use]
    pub fn no_rows(&self) -> ColumnData {
        match self {
            Self::Dense(block) => ColumnData::FloatVector { dim: block.dim().max(1), values: Vec::new() },
            Self::Bits(block) => ColumnData::BinaryVector { dim: block.dim().max(8), bytes: Vec::new() },
            Self::Sparse(_) => ColumnData::SparseVector(SparseRows::new()),
        }
    }

    /// Adds row `row` to a column of this kind and dimension. Whether it did: not to a column of another.
    pub fn try_push_row(&self, row: usize, to: &mut ColumnData) -> bool {
        match (self, to) {
            (Self::Dense(block), ColumnData::FloatVector { dim, values }) if *dim == block.dim() => {
                values.extend_from_slice(block.row(row));
            }
            (Self::Bits(block), ColumnData::BinaryVector { dim, bytes }) if *dim == block.dim() => {
                bytes.extend(block.bytes_of(row));
            }
            (Self::Sparse(block), ColumnData::SparseVector(rows)) => rows.push(block.values().get(row)),
            _ => return false,
        }
        true
    }

    /// Row `row`, which exists.
    #[must_use]
    pub fn value(&self, row: usize) -> Value {
        let mut one = self.no_rows();
        self.push_row(row, &mut one);
        one.value(0)
    }

    fn push_row(&self, row: usize, to: &mut ColumnData) {
        self.try_push_row(row, to);
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Dense(block) => block.rows(),
            Self::Bits(block) => block.rows(),
            Self::Sparse(block) => block.rows(),
        }
    }

    /// Components or bits of each row; 0 for sparse rows.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Dense(block) => block.dim(),
            Self::Bits(block) => block.dim(),
            Self::Sparse(_) => 0,
        }
    }

    /// Words of 32 bits that comparing one row reads, on average.
    #[must_use]
    pub fn words_per_row(&self) -> usize {
        match self {
            Self::Dense(block) => block.dim(),
            Self::Bits(block) => block.dim().div_ceil(32),
            Self::Sparse(block) => 2 * block.pairs() / block.rows().max(1) + 1,
        }
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Dense(block) => block.memory_bytes(),
            Self::Bits(block) => block.memory_bytes(),
            Self::Sparse(block) => block.memory_bytes(),
        }
    }

    /// The `k` allowed rows nearest to each query, without an index, with the promises of [`VectorIndex::search`]; of sparse
    /// rows only those that have an index in common with the query. `saturation` says that these are counts of words.
    ///
    /// # Errors
    /// [`Error::WrongKind`], [`Error::WrongDim`] or [`Error::WrongBits`] for a query that cannot be compared with the rows.
    pub fn search(
        &self,
        metric: Metric,
        queries: &[&Vector],
        k: usize,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        if let Self::Dense(block) = self {
            let queries: Vec<&[f32]> = queries.iter().map(|query| dense(query)).collect::<Result<_, _>>()?;
            return flat::search_block_many(block, metric, &queries, k, allowed);
        }
        let one = |query: &&Vector| match (self, query) {
            (Self::Bits(block), Vector::Bits(query)) => block.search(metric, query, k, allowed),
            (Self::Sparse(block), Vector::Sparse(query)) => {
                Ok(block.search(query.as_row(), k, saturation, allowed))
            }
            (block, query) => Err(block.refusal(query)),
        };
        queries.iter().map(one).collect()
    }

    /// Up to `limit` allowed rows with a score in `range`, without an index.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn range_search(
        &self,
        metric: Metric,
        query: &Vector,
        range: &Range,
        limit: usize,
        saturation: Option<Saturation>,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        match (self, query) {
            (Self::Dense(block), Vector::Dense(query)) => {
                flat::range_search_block(block, metric, query, range, limit, allowed)
            }
            (Self::Bits(block), Vector::Bits(query)) => {
                block.range_search(metric, query, range, limit, allowed)
            }
            (Self::Sparse(block), Vector::Sparse(query)) => {
                Ok(block.range_search(query.as_row(), range, limit, saturation, allowed))
            }
            (block, query) => Err(block.refusal(query)),
        }
    }

    const fn refusal(&self, query: &Vector) -> Error {
        let expected = match self {
            Self::Dense(_) => "VECTOR_FLOAT",
            Self::Bits(_) => "VECTOR_BINARY",
            Self::Sparse(_) => "VECTOR_SPARSE_U32_F32",
        };
        Error::WrongKind { expected, actual: query.kind() }
    }
}

const fn dense(query: &Vector) -> Result<&[f32], Error> {
    match query {
        Vector::Dense(query) => Ok(query.as_slice()),
        other => Err(Error::WrongKind { expected: "VECTOR_FLOAT", actual: other.kind() }),
    }
}

/// What is said of blocks that do not belong together.
const fn ragged(dim: usize) -> Error {
    Error::RaggedBlock { bytes: 0, dim }
}

fn join_dense(dim: usize, gap: usize, pieces: &[Piece<'_>]) -> Result<Arc<VectorBlock>, Error> {
    let zeros = vec![0.0; gap * dim];
    let mut chunks: Vec<&[f32]> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        chunks.push(match piece {
            Piece::None(rows) => &zeros[..rows * dim],
            Piece::Of(Block::Dense(block)) if block.dim() == dim => block.values(),
            Piece::Of(_) => return Err(ragged(dim)),
        });
    }
    VectorBlock::from_chunks(dim, chunks.iter().copied())
}

fn join_bits(dim: usize, pieces: &[Piece<'_>]) -> Result<Arc<BitBlock>, Error> {
    let blocks = pieces.iter().map(|piece| match piece {
        Piece::None(rows) => Ok((None, *rows)),
        Piece::Of(Block::Bits(block)) if block.dim() == dim => Ok((Some(block.as_ref()), block.rows())),
        Piece::Of(_) => Err(ragged(dim)),
    });
    let blocks: Vec<(Option<&BitBlock>, usize)> = blocks.collect::<Result<_, _>>()?;
    BitBlock::joined(dim, &blocks)
}

fn join_sparse(pieces: &[Piece<'_>]) -> Result<Arc<SparseBlock>, Error> {
    let mut all = SparseRows::new();
    for piece in pieces {
        match piece {
            Piece::None(rows) => (0..*rows).for_each(|_| all.push_none()),
            Piece::Of(Block::Sparse(block)) => all.extend_range(block.values(), 0..block.rows()),
            Piece::Of(_) => return Err(ragged(0)),
        }
    }
    SparseBlock::new(all)
}

/// A built index over a [`Block`]. Cheap to copy.
#[derive(Clone)]
pub enum Index {
    /// Over numbers.
    Dense(Arc<dyn VectorIndex>),
    /// Over bits.
    Bits(Arc<BitIndex>),
    /// Over pairs of index and value.
    Sparse(Arc<SparseIndex>),
}

impl Index {
    /// As [`build`], over vectors of any kind.
    ///
    /// # Errors
    /// As [`build`]; [`Error::Corrupt`] for a type that the kind of `block` does not have, which would be a defect.
    pub fn build(
        spec: &IndexSpec,
        block: &Block,
        threads: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        match (block, spec.index_type) {
            (Block::Bits(block), IndexType::BinFlat | IndexType::BinIvfFlat) => {
                BitIndex::build(spec, Arc::clone(block), threads, stop)
                    .map(|index| Self::Bits(Arc::new(index)))
            }
            (Block::Sparse(block), IndexType::SparseInverted | IndexType::SparseWand) => {
                SparseIndex::build(spec, Arc::clone(block), stop).map(|index| Self::Sparse(Arc::new(index)))
            }
            (Block::Dense(block), index_type) if index_type.is_dense() => {
                build(spec, Arc::clone(block), threads, stop).map(|index| Self::Dense(Arc::from(index)))
            }
            _ => Err(Error::Corrupt { what: "its type is for vectors of another kind" }),
        }
    }

    /// Brings back an index from what [`Self::encode`] gave, over the block it was built on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if `bytes` are not such, or were written for a block of another shape.
    pub fn decode(bytes: &[u8], block: &Block) -> Result<Self, Error> {
        Self::decode_for(bytes, block, None)
    }

    /// As [`Self::decode`], laid out in memory as `wanted` says where the stored form leaves that open.
    ///
    /// # Errors
    /// As there.
    pub fn decode_for(bytes: &[u8], block: &Block, wanted: Option<&IndexSpec>) -> Result<Self, Error> {
        Ok(match block {
            Block::Dense(block) => Self::Dense(Arc::from(decode(bytes, Arc::clone(block))?)),
            Block::Bits(block) => Self::Bits(Arc::new(BitIndex::decode(bytes, Arc::clone(block))?)),
            Block::Sparse(block) => {
                Self::Sparse(Arc::new(SparseIndex::decode(bytes, Arc::clone(block), wanted)?))
            }
        })
    }

    /// The index without its vectors.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Dense(index) => index.encode(),
            Self::Bits(index) => index.encode(),
            Self::Sparse(index) => index.encode(),
        }
    }

    /// The type that was built.
    #[must_use]
    pub fn index_type(&self) -> IndexType {
        match self {
            Self::Dense(index) => index.index_type(),
            Self::Bits(index) => index.index_type(),
            Self::Sparse(index) => index.index_type(),
        }
    }

    /// The metric that was built for.
    #[must_use]
    pub fn metric(&self) -> Metric {
        match self {
            Self::Dense(index) => index.metric(),
            Self::Bits(index) => index.metric(),
            Self::Sparse(index) => index.metric(),
        }
    }

    /// Bytes of memory held besides the block.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Dense(index) => index.memory_bytes(),
            Self::Bits(index) => index.memory_bytes(),
            Self::Sparse(index) => index.memory_bytes(),
        }
    }

    /// The `k` allowed rows nearest to `query`, as [`VectorIndex::search`].
    ///
    /// # Errors
    /// As there, and [`Error::WrongKind`].
    pub fn search(
        &self,
        query: &Vector,
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        match (self, query) {
            (Self::Dense(index), query) => index.search(dense(query)?, k, params, allowed),
            (Self::Bits(index), Vector::Bits(query)) => index.search(query, k, params, allowed),
            (Self::Sparse(index), Vector::Sparse(query)) => {
                Ok(index.search(query.as_row(), k, params, allowed))
            }
            (index, query) => Err(index.refusal(query)),
        }
    }

    /// Up to `limit` allowed rows with a score in `range`, as [`VectorIndex::range_search`].
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn range_search(
        &self,
        query: &Vector,
        range: &Range,
        limit: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        match (self, query) {
            (Self::Dense(index), query) => index.range_search(dense(query)?, range, limit, params, allowed),
            (Self::Bits(index), Vector::Bits(query)) => index.range_search(query, range, limit, allowed),
            (Self::Sparse(index), Vector::Sparse(query)) => {
                Ok(index.range_search(query.as_row(), range, limit, params.saturation, allowed))
            }
            (index, query) => Err(index.refusal(query)),
        }
    }

    const fn refusal(&self, query: &Vector) -> Error {
        let expected = match self {
            Self::Dense(_) => "VECTOR_FLOAT",
            Self::Bits(_) => "VECTOR_BINARY",
            Self::Sparse(_) => "VECTOR_SPARSE_U32_F32",
        };
        Error::WrongKind { expected, actual: query.kind() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataType, SparseVector};

    fn column(rows: &[Value], mut data: ColumnData) -> ColumnData {
        rows.iter().for_each(|row| data.push(row).unwrap());
        data
    }

    fn columns() -> [ColumnData; 3] {
        let dense = |at: f32| Value::Vector(vec![at, 1.0]);
        let bits = |at: u8| Value::Bits(vec![at, 0xf0, 1]);
        let sparse = |at| Value::Sparse(SparseVector { indices: vec![at, 9], values: vec![1.0, 0.5] });
        [
            column(
                &[dense(0.0), dense(1.0), dense(2.0)],
                ColumnData::FloatVector { dim: 2, values: Vec::new() },
            ),
            column(&[bits(0), bits(1), bits(3)], ColumnData::BinaryVector { dim: 24, bytes: Vec::new() }),
            column(&[sparse(0), sparse(1), sparse(2)], ColumnData::none_of(DataType::SparseFloatVector)),
        ]
    }

    fn rows_of(block: &Block) -> ColumnData {
        let mut rows = block.no_rows();
        (0..block.rows()).for_each(|row| assert!(block.try_push_row(row, &mut rows)));
        rows
    }

    #[test]
    fn blocks_of_every_kind_are_joined_and_cut() {
        for data in columns() {
            let block = Block::of_column(&data).unwrap().unwrap();
            let pieces = [Piece::None(1), Piece::Of(&block), Piece::None(2), Piece::Of(&block)];
            let joined = Block::joined(&pieces).unwrap().unwrap();

            let mut wanted = block.no_rows();
            for piece in &pieces {
                match piece {
                    Piece::None(rows) => (0..*rows).for_each(|_| wanted.push(&Value::Null).unwrap()),
                    Piece::Of(_) => wanted.extend(&data).unwrap(),
                }
            }
            assert_eq!(rows_of(&joined), wanted);
            assert_eq!(rows_of(&joined.slice(2..7).unwrap()), wanted.take(&[2, 3, 4, 5, 6]));
            assert!(Block::joined(&[Piece::None(3)]).unwrap().is_none());
        }
    }

    #[test]
    fn a_query_of_another_kind_is_refused() {
        let queries = [
            Vector::Dense(vec![1.0, 0.0]),
            Vector::Bits(vec![1, 0xf0, 1]),
            Vector::Sparse(SparseVector { indices: vec![1], values: vec![1.0] }),
        ];
        let types = [IndexType::Flat, IndexType::BinFlat, IndexType::SparseInverted];
        let metrics = [Metric::L2, Metric::Hamming, Metric::Ip];
        for (kind, data) in columns().iter().enumerate() {
            let block = Block::of_column(data).unwrap().unwrap();
            let spec = IndexSpec { index_type: types[kind], ..IndexSpec::flat(metrics[kind]) };
            let index = Index::build(&spec, &block, 1, &|| false).unwrap();
            let index = Index::decode(&index.encode(), &block).unwrap();
            assert_eq!((index.index_type(), index.metric()), (types[kind], metrics[kind]));
            for (at, query) in queries.iter().enumerate() {
                let found = [
                    block.search(metrics[kind], &[query], 1, None, None).map(|found| found[0].len()),
                    index.search(query, 1, &SearchParams::default(), None).map(|found| found.len()),
                ];
                assert_eq!(found.map(|found| found.ok()), [(at == kind).then_some(1); 2], "{kind} {at}");
            }
            let other = IndexSpec { index_type: types[(kind + 1) % 3], ..spec };
            assert!(Index::build(&other, &block, 1, &|| false).is_err());
        }
    }
}
