//! The vectors of one field of one segment.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Error;
use super::kernel::{AlignedFloats, Kernels, SharedFloats};

/// An immutable matrix of `f32` vectors: row-major, shape `[rows, dim]`, without gaps, the first row on a cache line.
///
/// Shared by `Arc`: the segment holds it, and every index over it holds the same one.
pub struct VectorBlock {
    dim: usize,
    rows: usize,
    values: Values,
    kernels: Kernels,
    /// Filled by the first COSINE search or build.
    inverse_norms: OnceLock<Vec<f32>>,
}

/// Where the components are.
enum Values {
    /// In memory of this block's own.
    Held(AlignedFloats),
    /// In bytes that somebody else keeps, most likely mapped from a file.
    Shared(SharedFloats),
}

impl Values {
    fn as_slice(&self) -> &[f32] {
        match self {
            Self::Held(values) => values.as_slice(),
            Self::Shared(values) => values.as_slice(),
        }
    }
}

impl std::fmt::Debug for VectorBlock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "VectorBlock({} x {})", self.rows, self.dim)
    }
}

impl VectorBlock {
    /// A block of `values`: row after row, `dim` components each.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if `values` are not whole rows.
    pub fn new(dim: usize, values: &[f32]) -> Result<Arc<Self>, Error> {
        Self::from_chunks(dim, [values])
    }

    /// A block of the values of `chunks`, one after another. A chunk may begin and end within a row.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if the values are not whole rows.
    pub fn from_chunks<'a>(
        dim: usize,
        chunks: impl IntoIterator<Item = &'a [f32], IntoIter: Clone>,
    ) -> Result<Arc<Self>, Error> {
        let chunks = chunks.into_iter();
        let len = chunks.clone().map(<[f32]>::len).sum();
        let mut values = AlignedFloats::zeros(len);
        let mut rest = values.as_mut_slice();
        for chunk in chunks {
            let (here, after) = rest.split_at_mut(chunk.len());
            here.copy_from_slice(chunk);
            rest = after;
        }
        Self::of(dim, values)
    }

    /// A block of little-endian `f32` values, row after row.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if the bytes are not whole rows.
    pub fn from_le_bytes(dim: usize, bytes: &[u8]) -> Result<Arc<Self>, Error> {
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Error::RaggedBlock { bytes: bytes.len(), dim });
        }
        let mut values = AlignedFloats::zeros(words.len());
        for (value, word) in values.as_mut_slice().iter_mut().zip(words) {
            *value = f32::from_le_bytes(*word);
        }
        Self::of(dim, values)
    }

    /// A block of the little-endian `f32` values that are in `bytes`, without a copy of them where they can be read as they
    /// lie. They do not count as memory of the block.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if the bytes are not whole rows.
    pub fn shared(dim: usize, bytes: Bytes) -> Result<Arc<Self>, Error> {
        match SharedFloats::of(bytes) {
            Ok(values) => Self::over(dim, Values::Shared(values)),
            Err(bytes) => Self::from_le_bytes(dim, &bytes),
        }
    }

    /// A block of `bytes` bytes that are put in piece by piece; all its memory is taken now.
    #[must_use]
    pub fn filling(bytes: usize) -> Filling {
        Filling { values: AlignedFloats::zeros(bytes / 4), filled: 0, missing: bytes }
    }

    fn of(dim: usize, values: AlignedFloats) -> Result<Arc<Self>, Error> {
        Self::over(dim, Values::Held(values))
    }

    fn over(dim: usize, values: Values) -> Result<Arc<Self>, Error> {
        let len = values.as_slice().len();
        let ragged = Error::RaggedBlock { bytes: len * 4, dim };
        let rows = match len.checked_rem(dim) {
            Some(0) => len / dim,
            None if len == 0 => 0,
            _ => return Err(ragged),
        };
        if rows > i32::MAX as usize {
            return Err(Error::TooManyRows { rows });
        }
        Ok(Arc::new(Self { dim, rows, values, kernels: Kernels::detect(), inverse_norms: OnceLock::new() }))
    }

    /// Components of each row.
    #[must_use]
    pub const fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The components of row `row`; empty past the end.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        self.values.as_slice().get(row * self.dim..(row + 1) * self.dim).unwrap_or_default()
    }

    /// All values, row after row.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        self.values.as_slice()
    }

    /// One over the length of each row, 0 for a zero row (so that its cosine is 0). Computed at the first call.
    #[must_use]
    pub fn inverse_norms(&self) -> &[f32] {
        self.inverse_norms
            .get_or_init(|| (0..self.rows).map(|row| inverse_norm(self.kernels, self.row(row))).collect())
    }

    /// Bytes of memory held, without what is shared.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let held = if self.is_shared() { 0 } else { self.values.as_slice().len() * 4 };
        held + self.inverse_norms.get().map_or(0, |norms| norms.len() * 4)
    }

    /// Whether its values are in bytes that somebody else keeps.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.values, Values::Shared(_))
    }

    /// The distance functions to use on this block.
    #[must_use]
    pub const fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Refuses a query of another dimension.
    pub(super) const fn check_query(&self, query: &[f32]) -> Result<(), Error> {
        if query.len() == self.dim || self.rows == 0 {
            Ok(())
        } else {
            Err(Error::WrongDim { expected: self.dim, actual: query.len() })
        }
    }
}

/// One over the length of `vector`; 0 for a zero vector, and for one whose squares exceed a float.
pub(super) fn inverse_norm(kernels: Kernels, vector: &[f32]) -> f32 {
    let square = kernels.dot(vector, vector);
    if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 }
}

/// A block that is being filled.
pub struct Filling {
    values: AlignedFloats,
    /// How many values are in.
    filled: usize,
    /// How many bytes are still to come.
    missing: usize,
}

impl std::fmt::Debug for Filling {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Filling({} values, {} bytes to come)", self.filled, self.missing)
    }
}

impl Filling {
    /// Puts in the next values, little-endian.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if the bytes are no whole values or more than are to come; nothing is put in then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (words, rest) = bytes.as_chunks::<4>();
        let ragged = Error::RaggedBlock { bytes: bytes.len(), dim: 0 };
        let Some(missing) = self.missing.checked_sub(bytes.len()).filter(|_| rest.is_empty()) else {
            return Err(ragged);
        };
        let Some(places) = self.values.as_mut_slice().get_mut(self.filled..self.filled + words.len()) else {
            return Err(ragged);
        };
        for (value, word) in places.iter_mut().zip(words) {
            *value = f32::from_le_bytes(*word);
        }
        (self.filled, self.missing) = (self.filled + words.len(), missing);
        Ok(())
    }

    /// The block, with `dim` components a row.
    ///
    /// # Errors
    /// [`Error::RaggedBlock`] if bytes are missing or the values are not whole rows.
    pub fn finish(self, dim: usize) -> Result<Arc<VectorBlock>, Error> {
        if self.missing > 0 {
            return Err(Error::RaggedBlock { bytes: self.filled * 4, dim });
        }
        VectorBlock::of(dim, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_constructors_give_the_same_rows() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let bytes: Vec<u8> = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();

        let blocks = [
            VectorBlock::new(3, &values).unwrap(),
            VectorBlock::from_chunks(3, [&values[..2], &[], &values[2..]]).unwrap(),
            VectorBlock::from_le_bytes(3, &bytes).unwrap(),
            VectorBlock::shared(3, Bytes::from(bytes.clone())).unwrap(),
            // Not where a float may lie.
            VectorBlock::shared(3, Bytes::from([&[0], bytes.as_slice()].concat()).slice(1..)).unwrap(),
        ];

        for block in blocks {
            assert_eq!((block.rows(), block.dim()), (2, 3));
            assert_eq!((block.row(0), block.row(1)), (&values[..3], &values[3..]));
            assert_eq!(block.row(2), &[] as &[f32]);
        }
    }

    #[test]
    fn values_that_are_no_whole_rows_are_refused() {
        assert_eq!(VectorBlock::new(2, &[1.0]).unwrap_err(), Error::RaggedBlock { bytes: 4, dim: 2 });
        assert_eq!(
            VectorBlock::from_le_bytes(1, &[0; 5]).unwrap_err(),
            Error::RaggedBlock { bytes: 5, dim: 1 }
        );
        assert_eq!(
            VectorBlock::shared(2, Bytes::from(vec![0; 12])).unwrap_err(),
            Error::RaggedBlock { bytes: 12, dim: 2 }
        );
        assert_eq!(
            VectorBlock::shared(1, Bytes::from(vec![0; 5])).unwrap_err(),
            Error::RaggedBlock { bytes: 5, dim: 1 }
        );
        assert_eq!(VectorBlock::new(0, &[1.0]).unwrap_err(), Error::RaggedBlock { bytes: 4, dim: 0 });
    }

    #[test]
    fn a_block_is_filled_piece_by_piece_and_only_with_whole_values() {
        let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut filling = VectorBlock::filling(16);

        filling.push(&bytes[..4]).unwrap();
        assert_eq!(filling.push(&bytes[4..7]).unwrap_err(), Error::RaggedBlock { bytes: 3, dim: 0 });
        filling.push(&bytes[4..]).unwrap();
        assert_eq!(filling.push(&bytes[..4]).unwrap_err(), Error::RaggedBlock { bytes: 4, dim: 0 });

        let block = filling.finish(2).unwrap();
        assert_eq!((block.row(0), block.row(1)), (&[1.0, 2.0][..], &[3.0, 4.0][..]));
        assert_eq!(VectorBlock::filling(8).finish(2).unwrap_err(), Error::RaggedBlock { bytes: 0, dim: 2 });
    }

    #[test]
    fn a_zero_row_has_no_direction() {
        let block = VectorBlock::new(2, &[3.0, 4.0, 0.0, 0.0]).unwrap();

        assert_eq!(block.inverse_norms(), [0.2, 0.0]);
    }
}
