//! Runs of bytes, one a row.

use super::ends::{range_of, to_index};

/// Runs of bytes one after the other, with where each ends.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ByteRows {
    bytes: Vec<u8>,
    /// End of each run in `bytes`.
    ends: Vec<u64>,
}

impl ByteRows {
    /// No row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row at the end.
    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len() as u64);
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Row `row`; empty past the end.
    #[must_use]
    pub fn get(&self, row: usize) -> &[u8] {
        &self.bytes[range_of(&self.ends, row)]
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The bytes of all rows, and where each row ends in them: what a codec stores.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u64]) {
        (&self.bytes, &self.ends)
    }

    /// The rows that [`Self::parts`] was taken from; `None` unless the ends ascend to the end of `bytes`.
    #[must_use]
    pub fn from_parts(bytes: Vec<u8>, ends: Vec<u64>) -> Option<Self> {
        let is_whole = ends.is_sorted() && to_index(ends.last().copied().unwrap_or(0)) == bytes.len();
        is_whole.then_some(Self { bytes, ends })
    }

    /// Bytes of memory that the rows take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 8
    }
}

impl<'a> FromIterator<&'a [u8]> for ByteRows {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(rows: I) -> Self {
        let mut all = Self::new();
        for row in rows {
            all.push(row);
        }
        all
    }
}
