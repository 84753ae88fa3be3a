//! For every index the rows that have it.

use std::collections::HashMap;
use std::ops::Range;

use super::Scoring;
use crate::index::Error;
use crate::model::{SparseRow, SparseRows};

/// Whether to go on is asked once for so many rows.
const ASKED: usize = 1024;

/// The number of a row in lists: as wide as the greatest of them needs.
pub(super) trait Number: Copy + Default {
    /// `number`, which fits.
    fn of(number: usize) -> Self;
}

impl Number for u32 {
    fn of(number: usize) -> Self {
        number as Self
    }
}

impl Number for u16 {
    fn of(number: usize) -> Self {
        number as Self
    }
}

/// The rows of every index, ascending, with their values.
#[derive(Debug)]
pub(super) struct Postings<N = u32> {
    /// The indices that some row has, ascending.
    indices: Vec<u32>,
    /// Where the list of each index starts, and the end of the last.
    starts: Vec<usize>,
    rows: Vec<N>,
    values: Vec<f32>,
    /// The greatest value of each list.
    greatest: Vec<f32>,
}

/// One index of a query, and the list of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term<'a, N = u32> {
    /// What the query has there.
    pub(super) weight: f32,
    /// The rows that have the index, ascending.
    pub(super) rows: &'a [N],
    /// What they have there.
    pub(super) values: &'a [f32],
    /// No row gains more by this index.
    pub(super) bound: f32,
}

impl<N: Number> Postings<N> {
    /// Turns some rows of `all` around; the first of them is number 0.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `stop` said so.
    pub(super) fn of(all: &SparseRows, range: Range<usize>, stop: &dyn Fn() -> bool) -> Result<Self, Error> {
        let ask = |number: usize| {
            if number.is_multiple_of(ASKED) && stop() { Err(Error::Stopped) } else { Ok(()) }
        };
        let mut counts: HashMap<u32, usize> = HashMap::new();
        let mut pairs = 0;
        for (number, row) in range.clone().map(|row| all.get(row)).enumerate() {
            ask(number)?;
            pairs += row.indices.len();
            for index in row.indices {
                *counts.entry(*index).or_default() += 1;
            }
        }
        let mut indices: Vec<u32> = counts.keys().copied().collect();
        indices.sort_unstable();
        let mut starts = Vec::with_capacity(indices.len() + 1);
        let mut start = 0;
        for index in &indices {
            starts.push(start);
            // From here on the number of the list.
            if let Some(count) = counts.get_mut(index) {
                start += std::mem::replace(count, starts.len() - 1);
            }
        }
        starts.push(start);
        let mut next = starts.clone();
        let (mut rows, mut values) = (vec![N::default(); pairs], vec![0.0; pairs]);
        let mut greatest = vec![0.0_f32; indices.len()];
        for (number, row) in range.enumerate() {
            ask(number)?;
            for (index, value) in all.get(row).iter() {
                let list = counts[&index];
                let place = &mut next[list];
                (rows[*place], values[*place]) = (N::of(number), value);
                greatest[list] = greatest[list].max(value);
                *place += 1;
            }
        }
        Ok(Self { indices, starts, rows, values, greatest })
    }

    /// The lists that may add to a score, by ascending index.
    pub(super) fn terms(&self, query: SparseRow<'_>, scoring: Scoring<'_>) -> Vec<Term<'_, N>> {
        let term = |(index, weight): (u32, f32)| {
            let list = self.indices.binary_search(&index).ok()?;
            let range = self.starts[list]..self.starts[list + 1];
            let bound = weight * scoring.most(self.greatest[list]);
            (bound > 0.0).then(|| Term {
                weight,
                rows: &self.rows[range.clone()],
                values: &self.values[range],
                bound,
            })
        };
        query.iter().filter_map(term).collect()
    }

    /// How many rows have the index.
    pub(super) fn having(&self, index: u32) -> usize {
        let list = self.indices.binary_search(&index).ok();
        list.map_or(0, |list| self.starts[list + 1] - self.starts[list])
    }

    pub(super) fn memory_bytes(&self) -> usize {
        (self.indices.len() + self.values.len() + self.greatest.len()) * 4
            + size_of_val(self.rows.as_slice())
            + self.starts.len() * 8
    }
}
