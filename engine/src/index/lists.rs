//! Lists of vectors, one a row, compared exactly: vector by vector, or as wholes.

use std::ops::Range;

use super::Error;
use super::bits::{jaccard, ones_of, push_words};
use super::block::inverse_norm;
use super::kernel::Kernels;
use crate::model::{Arrays, Bitset, ColumnData, Metric, Vector};

/// The vectors of all lists on end.
#[derive(Clone, Copy)]
enum Elements<'a> {
    Dense { dim: usize, values: &'a [f32] },
    Bits { dim: usize, bytes: &'a [u8] },
}

/// The lists of some rows, ready to be compared under one metric.
pub struct Lists<'a> {
    arrays: &'a Arrays,
    elements: Elements<'a>,
    /// What two vectors are compared by.
    metric: Metric,
    kernels: Kernels,
    /// How many vectors the rows have that are compared.
    vectors: usize,
    /// One over the length of each vector that is compared, under COSINE; of the others zero.
    inverse: Vec<f32>,
}

/// The vectors of a query, checked against the lists that it is for, and room to compare them in.
pub struct ListQuery<'a> {
    vectors: QueryVectors<'a>,
    /// One over the length of each, under COSINE.
    inverse: Vec<f32>,
    room: Room,
}

enum QueryVectors<'a> {
    Dense(&'a [f32]),
    /// Each up to whole words.
    Bits(Vec<u64>),
}

/// What is computed of some vectors, kept from row to row.
#[derive(Default)]
struct Room {
    /// Their scores.
    scores: Vec<f32>,
    /// The vectors themselves, each up to whole words, where they are bits.
    words: Vec<u64>,
    /// Bits set in each, under JACCARD.
    ones: Vec<u32>,
    /// Bits that each has in common with a vector of the query, or that differ.
    counts: Vec<u32>,
}

impl<'a> Lists<'a> {
    /// The lists that `arrays` are, of which `rows` are to be compared by `metric`: one of lists, or of single vectors; of
    /// their vectors, counted over all rows, `chosen` ones alone, if these are given. `None` for arrays of something else than
    /// vectors, and for a metric that does not suit them.
    #[must_use]
    pub fn new(arrays: &'a Arrays, rows: &[u32], chosen: Option<&Bitset>, metric: Metric) -> Option<Self> {
        let metric = metric.of_lists().unwrap_or(metric);
        let elements = match arrays.elements() {
            ColumnData::FloatVector { dim, values } => Elements::Dense { dim: *dim, values },
            ColumnData::BinaryVector { dim, bytes } => Elements::Bits { dim: *dim, bytes },
            _ => return None,
        };
        metric.suits(arrays.data_type()).then_some(())?;
        let kernels = Kernels::detect();
        let inverse = match elements {
            Elements::Dense { dim, values } if metric == Metric::Cosine => {
                let mut inverse = vec![0.0; arrays.elements().len()];
                let is_compared = |at: &usize| chosen.is_none_or(|chosen| chosen.contains(*at));
                for at in rows.iter().flat_map(|row| arrays.range(*row as usize)).filter(is_compared) {
                    inverse[at] = inverse_norm(kernels, &values[at * dim..(at + 1) * dim]);
                }
                inverse
            }
            _ => Vec::new(),
        };
        let vectors = rows.iter().map(|row| arrays.range(*row as usize).len()).sum();
        Some(Self { arrays, elements, metric, kernels, vectors, inverse })
    }

    /// Which vectors, counted over all rows, are those of row `row`.
    #[must_use]
    pub fn range(&self, row: usize) -> Range<usize> {
        self.arrays.range(row)
    }

    /// Words of 32 bits that the vectors of the rows have that are compared.
    #[must_use]
    pub const fn words(&self) -> usize {
        match self.elements {
            Elements::Dense { dim, .. } => self.vectors * dim,
            Elements::Bits { dim, .. } => self.vectors * dim.div_ceil(32),
        }
    }

    /// A query: one vector or several on end.
    ///
    /// # Errors
    /// [`Error::WrongDim`], [`Error::WrongBits`] for what is no whole vectors of the dimension and kind, or none at all.
    pub fn query<'q>(&self, query: &'q Vector) -> Result<ListQuery<'q>, Error> {
        match (self.elements, query) {
            (Elements::Dense { dim, .. }, Vector::Dense(values)) => {
                if values.is_empty() || !values.len().is_multiple_of(dim) {
                    return Err(Error::WrongDim { expected: dim, actual: values.len() });
                }
                let inverse = if self.metric == Metric::Cosine {
                    values.chunks_exact(dim).map(|vector| inverse_norm(self.kernels, vector)).collect()
                } else {
                    Vec::new()
                };
                Ok(ListQuery { vectors: QueryVectors::Dense(values), inverse, room: Room::default() })
            }
            (Elements::Bits { dim, .. }, Vector::Bits(bytes)) => {
                if bytes.is_empty() || !bytes.len().is_multiple_of(dim / 8) {
                    return Err(Error::WrongBits { expected: dim / 8, actual: bytes.len() });
                }
                let mut words = Vec::new();
                bytes.chunks_exact(dim / 8).for_each(|vector| push_words(&mut words, vector));
                let vectors = QueryVectors::Bits(words);
                Ok(ListQuery { vectors, inverse: Vec::new(), room: Room::default() })
            }
            (elements, _) => Err(match elements {
                Elements::Dense { dim, .. } => Error::WrongDim { expected: dim, actual: 0 },
                Elements::Bits { dim, .. } => Error::WrongBits { expected: dim / 8, actual: 0 },
            }),
        }
    }

    /// How near the list of row `row`, one of those that are compared, is: for each vector of the query the best score of a
    /// vector of the list, added up. `None` for an empty list.
    pub fn max_sim(&self, query: &mut ListQuery<'_>, row: usize) -> Option<f32> {
        let range = self.range(row);
        if range.is_empty() {
            return None;
        }
        self.take_bits(&mut query.room, &range);
        let mut sum = 0.0_f32;
        for vector in 0..query.len(self) {
            self.compare(query, vector, range.clone());
            let scores = query.room.scores.iter().copied();
            let best = if self.metric.larger_is_nearer() {
                scores.fold(f32::NEG_INFINITY, f32::max)
            } else {
                scores.fold(f32::INFINITY, f32::min)
            };
            sum += best;
        }
        Some(sum)
    }

    /// The scores of the vectors `range`, counted over all rows and all of them compared ones, against the first one of the
    /// query, in order.
    pub fn scores<'q>(&self, query: &'q mut ListQuery<'_>, range: Range<usize>) -> &'q [f32] {
        self.take_bits(&mut query.room, &range);
        self.compare(query, 0, range);
        &query.room.scores
    }

    /// Takes the vectors `range` into the room, where they are bits.
    fn take_bits(&self, room: &mut Room, range: &Range<usize>) {
        let Elements::Bits { dim, bytes } = self.elements else { return };
        let width = dim / 8;
        let rows = bytes[range.start * width..range.end * width].chunks_exact(width);
        room.words.clear();
        rows.for_each(|row| push_words(&mut room.words, row));
        room.ones.clear();
        if self.metric == Metric::Jaccard {
            room.ones.extend(room.words.chunks_exact(dim.div_ceil(64)).map(ones_of));
        }
    }

    /// The scores of the vectors `range`, which the room has if they are bits, against one of the query, into the room.
    fn compare(&self, query: &mut ListQuery<'_>, at: usize, range: Range<usize>) {
        let Room { scores, words, ones, counts } = &mut query.room;
        scores.clear();
        match (self.elements, &query.vectors) {
            (Elements::Dense { dim, values }, QueryVectors::Dense(query_values)) => {
                let vector = &query_values[at * dim..(at + 1) * dim];
                let rows = &values[range.start * dim..range.end * dim];
                match self.metric {
                    Metric::L2 => self.kernels.l2_rows(vector, rows, scores),
                    _ => self.kernels.dot_rows(vector, rows, scores),
                }
                if self.metric == Metric::Cosine {
                    let inverse = query.inverse[at];
                    for (score, norm) in scores.iter_mut().zip(&self.inverse[range]) {
                        // Rounding must not leave the range that clients are promised.
                        *score = (*score * inverse * norm).clamp(-1.0, 1.0);
                    }
                }
            }
            (Elements::Bits { dim, .. }, QueryVectors::Bits(query_words)) => {
                let width = dim.div_ceil(64);
                let vector = &query_words[at * width..(at + 1) * width];
                if self.metric == Metric::Jaccard {
                    self.kernels.common_rows(vector, words, counts);
                    let of_query = ones_of(vector);
                    let apart = |(common, of_row): (&u32, &u32)| jaccard(*common, of_query + of_row - common);
                    scores.extend(counts.iter().zip(ones.iter()).map(apart));
                } else {
                    self.kernels.differing_rows(vector, words, counts);
                    scores.extend(counts.iter().map(|&count| count as f32));
                }
            }
            // A query was made for these lists.
            _ => {}
        }
    }
}

impl ListQuery<'_> {
    /// How many vectors it has.
    fn len(&self, of: &Lists<'_>) -> usize {
        match (&self.vectors, of.elements) {
            (QueryVectors::Dense(values), Elements::Dense { dim, .. }) => values.len() / dim,
            (QueryVectors::Bits(words), Elements::Bits { dim, .. }) => words.len() / dim.div_ceil(64),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::VectorElement;

    fn lists(dim: usize, rows: &[Vec<Vec<f32>>]) -> Arrays {
        let mut all = Arrays::of_vectors(VectorElement::Float, dim);
        for row in rows {
            all.push(&ColumnData::FloatVector { dim, values: row.concat() }).unwrap();
        }
        all
    }

    /// One score, computed in the plainest way.
    fn naive(metric: Metric, left: &[f32], right: &[f32]) -> f64 {
        let pairs = || left.iter().zip(right).map(|(left, right)| (f64::from(*left), f64::from(*right)));
        let dot: f64 = pairs().map(|(left, right)| left * right).sum();
        let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        match metric {
            Metric::L2 => pairs().map(|(left, right)| (left - right).powi(2)).sum(),
            Metric::Cosine if norm(left) * norm(right) == 0.0 => 0.0,
            Metric::Cosine => dot / (norm(left) * norm(right)),
            _ => dot,
        }
    }

    fn vectors(dim: usize, most: usize) -> impl Strategy<Value = Vec<Vec<f32>>> {
        prop::collection::vec(prop::collection::vec(-2_f32..2.0, dim..=dim), 0..=most)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lists_are_as_near_as_their_vectors_say(
            (dim, rows, query) in (1_usize..20).prop_flat_map(|dim| {
                (Just(dim), prop::collection::vec(vectors(dim, 5), 1..8), vectors(dim, 4))
            }),
            which in 0_usize..4,
        ) {
            let whole = [Metric::MaxSim, Metric::MaxSimCosine, Metric::MaxSimIp, Metric::MaxSimL2][which];
            let single = whole.of_lists().unwrap();
            let arrays = lists(dim, &rows);
            let lists = Lists::new(&arrays, &(0..rows.len() as u32).collect::<Vec<_>>(), None, whole).unwrap();
            let flat = Vector::Dense(query.concat());
            if query.is_empty() {
                prop_assert!(lists.query(&flat).is_err());
                return Ok(());
            }
            let mut prepared = lists.query(&flat).unwrap();
            for (at, row) in rows.iter().enumerate() {
                let best = |vector: &Vec<f32>| {
                    let scores = row.iter().map(|one| naive(single, vector, one));
                    if single == Metric::L2 { scores.fold(f64::INFINITY, f64::min) } else { scores.fold(f64::NEG_INFINITY, f64::max) }
                };
                let expected = (!row.is_empty()).then(|| query.iter().map(best).sum::<f64>());
                let found = lists.max_sim(&mut prepared, at).map(f64::from);
                prop_assert_eq!(found.is_some(), expected.is_some());
                if let (Some(found), Some(expected)) = (found, expected) {
                    prop_assert!((found - expected).abs() < 1e-3, "row {}: {} and not {}", at, found, expected);
                }
                let found = lists.scores(&mut prepared, lists.range(at));
                let expected: Vec<f64> = row.iter().map(|one| naive(single, &query[0], one)).collect();
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-3);
                }
            }
        }

        #[test]
        fn lists_of_bits_are_as_far_apart_as_bit_by_bit(
            (width, rows, query) in (1_usize..40).prop_flat_map(|width| {
                let vector = || prop::collection::vec(any::<u8>(), width..=width);
                let rows = prop::collection::vec(prop::collection::vec(vector(), 1..5), 1..6);
                (Just(width), rows, vector())
            }),
            is_jaccard in any::<bool>(),
        ) {
            let metric = if is_jaccard { Metric::Jaccard } else { Metric::Hamming };
            let dim = width * 8;
            let mut arrays = Arrays::of_vectors(VectorElement::Binary, dim);
            for row in &rows {
                arrays.push(&ColumnData::BinaryVector { dim, bytes: row.concat() }).unwrap();
            }
            let all: Vec<u32> = (0..rows.len() as u32).collect();
            let lists = Lists::new(&arrays, &all, None, metric).unwrap();
            let flat = Vector::Bits(query.clone());
            let mut prepared = lists.query(&flat).unwrap();
            let apart = |vector: &Vec<u8>| -> f32 {
                let count = |bits: fn(u8, u8) -> u8| -> u32 {
                    query.iter().zip(vector).map(|(left, right)| bits(*left, *right).count_ones()).sum()
                };
                let (both, either) = (count(|left, right| left & right), count(|left, right| left | right));
                match (is_jaccard, either) {
                    (false, _) => (either - both) as f32,
                    (true, 0) => 1.0,
                    (true, _) => (either - both) as f32 / either as f32,
                }
            };
            for (at, row) in rows.iter().enumerate() {
                let found = lists.scores(&mut prepared, lists.range(at)).to_vec();
                let expected: Vec<f32> = row.iter().map(apart).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn lists_of_bits_are_compared_by_bits() {
        let mut arrays = Arrays::of_vectors(VectorElement::Binary, 8);
        arrays.push(&ColumnData::BinaryVector { dim: 8, bytes: vec![0b1111, 0b0001] }).unwrap();
        arrays.push_none();
        let query = Vector::Bits(vec![0b0011, 0b1111_0001]);

        let hamming = Lists::new(&arrays, &[0, 1], None, Metric::MaxSimHamming).unwrap();
        let mut prepared = hamming.query(&query).unwrap();
        assert_eq!(hamming.max_sim(&mut prepared, 0), Some(1.0 + 4.0));
        assert_eq!(hamming.max_sim(&mut prepared, 1), None);
        let jaccard = Lists::new(&arrays, &[0, 1], None, Metric::Jaccard).unwrap();
        let mut prepared = jaccard.query(&query).unwrap();
        assert_eq!(jaccard.scores(&mut prepared, 0..2), [0.5, 0.5]);
    }

    #[test]
    fn queries_that_are_no_whole_vectors_are_refused() {
        let arrays = lists(2, &[vec![vec![1.0, 2.0]]]);
        let lists = Lists::new(&arrays, &[0], None, Metric::MaxSimIp).unwrap();

        for wrong in [Vector::Dense(vec![1.0; 3]), Vector::Dense(Vec::new()), Vector::Bits(vec![1])] {
            assert!(lists.query(&wrong).is_err(), "{wrong:?}");
        }
        assert!(Lists::new(&arrays, &[0], None, Metric::Hamming).is_none());
    }
}
