//! The vectors of one field on their way into a new segment.

use crate::index::Block;
use crate::model::{ColumnData, SparseRows};

/// The vectors of one field while they come together, source by source.
pub(super) enum Moved {
    /// Each in its place.
    Placed(ColumnData),
    /// As they came, and which of them goes to each place.
    Listed(SparseRows, Vec<Option<usize>>),
}

impl Moved {
    /// Nothing yet of `rows` rows of vectors as those of `block`.
    pub(super) fn new(block: &Block, rows: usize) -> Self {
        match block.no_rows() {
            ColumnData::FloatVector { dim, .. } => {
                Self::Placed(ColumnData::FloatVector { dim, values: vec![0.0; rows * dim] })
            }
            ColumnData::BinaryVector { dim, .. } => {
                Self::Placed(ColumnData::BinaryVector { dim, bytes: vec![0; rows * (dim / 8)] })
            }
            _ => Self::Listed(SparseRows::new(), vec![None; rows]),
        }
    }

    /// Takes over row `row` of `block` as row `place`. Whether it did: not from a block of another kind or dimension.
    pub(super) fn take(&mut self, block: &Block, row: usize, place: usize) -> bool {
        match (self, block) {
            (Self::Placed(ColumnData::FloatVector { dim, values }), Block::Dense(block))
                if *dim == block.dim() =>
            {
                values[place * *dim..(place + 1) * *dim].copy_from_slice(block.row(row));
            }
            (Self::Placed(ColumnData::BinaryVector { dim, bytes }), Block::Bits(block))
                if *dim == block.dim() =>
            {
                let bytes = &mut bytes[place * (*dim / 8)..(place + 1) * (*dim / 8)];
                bytes.iter_mut().zip(block.bytes_of(row)).for_each(|(to, from)| *to = from);
            }
            (Self::Listed(rows, places), Block::Sparse(block)) => {
                places[place] = Some(rows.len());
                rows.push(block.values().get(row));
            }
            _ => return false,
        }
        true
    }

    /// All rows; those that nothing was taken over for hold zeros, or are empty.
    pub(super) fn into_column(self) -> ColumnData {
        match self {
            Self::Placed(column) => column,
            Self::Listed(mut rows, places) => {
                let none = rows.len();
                rows.push_none();
                let places: Vec<usize> = places.into_iter().map(|place| place.unwrap_or(none)).collect();
                ColumnData::SparseVector(rows.take(&places))
            }
        }
    }
}
