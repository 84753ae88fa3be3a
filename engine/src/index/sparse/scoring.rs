//! What a component of a row counts under an index that a query has too: itself, or, for the words of texts, ever less the
//! more of them there are.

use crate::model::SparseRows;

/// How counts of words are weighed: Okapi BM25 without the rarity of the word, which is in the query.
///
/// A word that is `n` times in a text of `length` words counts `n (k1 + 1) / (n + k1 (1 - b + b length / average))`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saturation {
    /// How slowly more of one word counts less; at least 0, where it counts 1 however often it is there.
    pub k1: f32,
    /// How much long texts are held back; 0 to 1.
    pub b: f32,
    /// Words of a text on average; more than 0.
    pub average: f32,
}

impl Saturation {
    fn of(self, count: f32, length: f32) -> f32 {
        let Self { k1, b, average } = self;
        count * (k1 + 1.0) / (count + k1 * (1.0 - b + b * length / average))
    }
}

/// How many words the texts of a block have.
#[derive(Debug)]
pub(super) struct Lengths {
    by_row: Vec<f32>,
    /// Of the shortest row.
    shortest: f32,
    /// Of all rows together.
    pub(super) total: u64,
}

impl Lengths {
    pub(super) fn of(rows: &SparseRows) -> Self {
        let by_row: Vec<f32> = rows.iter().map(|row| row.values.iter().sum()).collect();
        let shortest = by_row.iter().copied().reduce(f32::min).unwrap_or(0.0);
        // Counts are whole numbers; what is none, a defect would have put there.
        let total = by_row.iter().map(|length| *length as u64).sum();
        Self { by_row, shortest, total }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.by_row.capacity() * 4
    }
}

/// How components count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scoring<'a> {
    /// As they are.
    Product,
    /// As counts of words.
    Saturated {
        /// How they are weighed.
        by: Saturation,
        /// Of the rows.
        lengths: &'a Lengths,
    },
}

impl Scoring<'_> {
    /// What `value` counts in row `row`.
    #[inline]
    pub(super) fn part(self, row: u32, value: f32) -> f32 {
        match self {
            Self::Product => value,
            Self::Saturated { by, lengths } => by.of(value, lengths.by_row[row as usize]),
        }
    }

    /// No value up to `greatest` counts more, in whatever row.
    pub(super) fn most(self, greatest: f32) -> f32 {
        match self {
            Self::Product => greatest,
            Self::Saturated { by, lengths } => by.of(greatest, lengths.shortest),
        }
    }
}
