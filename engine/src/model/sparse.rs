//! Sparse vectors: pairs of an index and a value, one list of them a row.

use std::ops::Range;

use super::ends::{range_of, to_index};

/// One sparse vector: indices ascending, each once, a value for each.
#[derive(Clone, Debug, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct SparseVector {
    /// Which components are not zero.
    pub indices: Vec<u32>,
    /// These components.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// The vector, borrowed.
    #[must_use]
    pub fn as_row(&self) -> SparseRow<'_> {
        SparseRow { indices: &self.indices, values: &self.values }
    }
}

/// One row of [`SparseRows`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseRow<'a> {
    /// Which components are not zero, ascending.
    pub indices: &'a [u32],
    /// These components.
    pub values: &'a [f32],
}

impl SparseRow<'_> {
    /// The pairs of index and value.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.indices.iter().copied().zip(self.values.iter().copied())
    }

    /// A copy that stands alone.
    #[must_use]
    pub fn to_vector(self) -> SparseVector {
        SparseVector { indices: self.indices.to_vec(), values: self.values.to_vec() }
    }
}

/// Sparse vectors one after the other, with where each ends.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SparseRows {
    indices: Vec<u32>,
    values: Vec<f32>,
    /// End of each row in both.
    ends: Vec<u64>,
}

impl SparseRows {
    /// No row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

    /// Where the pairs of row `row` are; nowhere past the end.
    #[must_use]
    pub fn range(&self, row: usize) -> Range<usize> {
        range_of(&self.ends, row)
    }

    /// Row `row`; empty past the end.
    #[must_use]
    pub fn get(&self, row: usize) -> SparseRow<'_> {
        let range = self.range(row);
        SparseRow { indices: &self.indices[range.clone()], values: &self.values[range] }
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = SparseRow<'_>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Adds `row`, whose indices ascend, at the end.
    pub fn push(&mut self, row: SparseRow<'_>) {
        let pairs = row.indices.len().min(row.values.len());
        self.indices.extend_from_slice(&row.indices[..pairs]);
        self.values.extend_from_slice(&row.values[..pairs]);
        self.ends.push(self.indices.len() as u64);
    }

    /// Adds an empty row at the end.
    pub fn push_none(&mut self) {
        self.ends.push(self.indices.len() as u64);
    }

    /// Adds the rows `range` of `other`, which has them, at the end.
    pub fn extend_range(&mut self, other: &Self, range: Range<usize>) {
        range.for_each(|row| self.push(other.get(row)));
    }

    /// The chosen rows, in the order given. Every one must exist.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let mut taken = Self::new();
        rows.iter().for_each(|&row| taken.push(self.get(row)));
        taken
    }

    /// All indices, all values, and where each row ends in them: what a codec stores.
    #[must_use]
    pub fn parts(&self) -> (&[u32], &[f32], &[u64]) {
        (&self.indices, &self.values, &self.ends)
    }

    /// The rows that [`Self::parts`] was taken from; `None` unless the ends ascend to the end of both lists and the indices of
    /// every row ascend.
    #[must_use]
    pub fn from_parts(indices: Vec<u32>, values: Vec<f32>, ends: Vec<u64>) -> Option<Self> {
        let whole = to_index(ends.last().copied().unwrap_or(0));
        if whole != indices.len() || whole != values.len() || !ends.is_sorted() {
            return None;
        }
        let rows = Self { indices, values, ends };
        let is_sorted = rows.iter().all(|row| row.indices.is_sorted_by(|left, right| left < right));
        is_sorted.then_some(rows)
    }

    /// One more than the greatest index; 0 if every row is empty. Milvus calls it the dimension of a batch.
    #[must_use]
    pub fn dim(&self) -> i64 {
        self.indices.iter().max().map_or(0, |&index| i64::from(index) + 1)
    }

    /// Bytes of memory that the rows take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.indices.capacity() * 4 + self.values.capacity() * 4 + self.ends.capacity() * 8
    }
}

impl<'a> FromIterator<SparseRow<'a>> for SparseRows {
    fn from_iter<I: IntoIterator<Item = SparseRow<'a>>>(rows: I) -> Self {
        let mut all = Self::new();
        rows.into_iter().for_each(|row| all.push(row));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[&[(u32, f32)]]) -> SparseRows {
        let mut rows = SparseRows::new();
        for pairs in all {
            let (indices, values): (Vec<u32>, Vec<f32>) = pairs.iter().copied().unzip();
            rows.push(SparseVector { indices, values }.as_row());
        }
        rows
    }

    #[test]
    fn rows_are_taken_joined_and_read_back() {
        let mut all = rows(&[&[(1, 0.5), (7, 2.0)], &[]]);
        all.extend_range(&rows(&[&[(3, 1.0)], &[(0, 4.0)]]), 1..2);

        assert_eq!(all, rows(&[&[(1, 0.5), (7, 2.0)], &[], &[(0, 4.0)]]));
        assert_eq!(all.take(&[2, 0, 0]), rows(&[&[(0, 4.0)], &[(1, 0.5), (7, 2.0)], &[(1, 0.5), (7, 2.0)]]));
        assert_eq!((all.dim(), rows(&[&[]]).dim()), (8, 0));
        assert_eq!(all.get(9).indices, [0; 0]);
    }

    #[test]
    fn only_whole_and_sorted_rows_are_made_of_parts() {
        let made = |indices: &[u32], ends: &[u64]| {
            SparseRows::from_parts(indices.to_vec(), vec![1.0; indices.len()], ends.to_vec())
        };

        assert_eq!(made(&[5, 1, 2], &[1, 3]), Some(rows(&[&[(5, 1.0)], &[(1, 1.0), (2, 1.0)]])));
        assert_eq!(made(&[5, 2, 1], &[1, 3]), None);
        assert_eq!(made(&[5, 2, 2], &[1, 3]), None);
        assert_eq!(made(&[1, 2], &[1]), None);
        assert_eq!(made(&[1, 2], &[2, 1]), None);
    }
}
