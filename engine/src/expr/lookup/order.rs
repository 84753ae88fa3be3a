//! Rows of a column in the order of their values.

use std::cmp::Ordering;
use std::ops::Range;

use super::source::{Class, Source};
use crate::model::{Bitset, ColumnData};

/// Values up to which each has a set of its rows: with so many a set takes as much memory as a list of all rows.
const MOST_SETS: usize = 32;

/// The rows that have a value of one class, by value. Values themselves stay in the column: whoever looks for one compares
/// with the rows of some places, as in any search by halves.
#[derive(Debug)]
pub(super) enum Order {
    /// All rows of the column, whose values ascend with them. One place a row.
    AsRows(usize),
    /// One place a row; rows of equal values ascend.
    Rows(Vec<u32>),
    /// One place a value, of which there are few.
    Sets(Vec<Run>),
}

/// The rows of one value.
#[derive(Debug)]
pub(super) struct Run {
    /// One of them.
    first: u32,
    rows: Bitset,
    count: usize,
}

impl Order {
    /// The order of what `source` has.
    pub(super) fn build(source: &Source<'_>) -> Self {
        fn ints<T: Copy + Into<i64>>(source: &Source<'_>, values: &[T]) -> Order {
            let pairs = source.rows().map(|row| (values[row].into(), row as u32)).collect();
            sorted(pairs, i64::cmp, source.len())
        }
        match source {
            Source::Column(column) => match &column.data {
                ColumnData::Bool(values) => {
                    let pairs = source.rows().map(|row| (values[row], row as u32)).collect();
                    sorted(pairs, bool::cmp, source.len())
                }
                ColumnData::Int8(values) => ints(source, values),
                ColumnData::Int16(values) => ints(source, values),
                ColumnData::Int32(values) => ints(source, values),
                ColumnData::Int64(values) => ints(source, values),
                ColumnData::Float(values) => doubles(source, |row| f64::from(values[row])),
                ColumnData::Double(values) => doubles(source, |row| values[row]),
                ColumnData::VarChar(texts) => {
                    let pairs = source.rows().map(|row| (texts.get(row), row as u32)).collect();
                    sorted(pairs, |left, right| left.cmp(right), source.len())
                }
                ColumnData::Json(_)
                | ColumnData::Geometry(_)
                | ColumnData::Array(_)
                | ColumnData::FloatVector { .. }
                | ColumnData::BinaryVector { .. }
                | ColumnData::SparseVector(_) => Self::Rows(Vec::new()),
            },
            Source::Json { class, .. } => {
                let all = source.rows();
                match class {
                    Class::Bool => {
                        let pairs = all.filter_map(|row| Some((source.bool_at(row)?, row as u32))).collect();
                        sorted(pairs, bool::cmp, source.len())
                    }
                    Class::Number => {
                        let pairs =
                            all.filter_map(|row| Some((source.number_at(row)?, row as u32))).collect();
                        let compare = |left: &_, right: &_| source.order_numbers(left, right);
                        sorted(pairs, compare, source.len())
                    }
                    Class::Text => {
                        let pairs = all.filter_map(|row| Some((source.text_at(row)?, row as u32))).collect();
                        sorted(pairs, |left, right| left.cmp(right), source.len())
                    }
                }
            }
        }
    }

    /// How many places there are.
    pub(super) const fn places(&self) -> usize {
        match self {
            Self::AsRows(rows) => *rows,
            Self::Rows(rows) => rows.len(),
            Self::Sets(runs) => runs.len(),
        }
    }

    /// How many rows there are.
    pub(super) fn total(&self) -> usize {
        self.count(&(0..self.places()))
    }

    /// The first place whose rows do not pass `test`; all places before it do, and none after it.
    pub(super) fn partition(&self, test: impl Fn(usize) -> bool) -> usize {
        match self {
            Self::AsRows(rows) => {
                let (mut low, mut high) = (0, *rows);
                while low < high {
                    let middle = usize::midpoint(low, high);
                    if test(middle) { low = middle + 1 } else { high = middle }
                }
                low
            }
            Self::Rows(rows) => rows.partition_point(|&row| test(row as usize)),
            Self::Sets(runs) => runs.partition_point(|run| test(run.first as usize)),
        }
    }

    /// How many rows the places have.
    pub(super) fn count(&self, places: &Range<usize>) -> usize {
        match self {
            Self::AsRows(_) | Self::Rows(_) => places.len(),
            Self::Sets(runs) => runs_of(runs, places).iter().map(|run| run.count).sum(),
        }
    }

    /// About how many rows or words of rows have to be touched to choose the rows of the places.
    pub(super) fn effort(&self, places: &Range<usize>) -> usize {
        match self {
            Self::AsRows(_) => places.len() / 64 + 1,
            Self::Rows(_) => places.len(),
            Self::Sets(runs) => runs_of(runs, places).iter().map(|run| run.rows.words().len()).sum(),
        }
    }

    /// Chooses the rows of the places.
    pub(super) fn insert(&self, places: &Range<usize>, chosen: &mut Bitset) {
        match self {
            Self::AsRows(_) => chosen.insert_range(places.clone()),
            Self::Rows(rows) => rows_of(rows, places).for_each(|row| chosen.insert(row)),
            Self::Sets(runs) => runs_of(runs, places).iter().for_each(|run| chosen.unite(&run.rows)),
        }
    }

    /// Drops the rows of the places.
    pub(super) fn remove(&self, places: &Range<usize>, chosen: &mut Bitset) {
        match self {
            Self::AsRows(_) => {
                let mut others = Bitset::none(chosen.len());
                others.insert_range(places.clone());
                others.invert();
                chosen.intersect(&others);
            }
            Self::Rows(rows) => rows_of(rows, places).for_each(|row| chosen.remove(row)),
            Self::Sets(runs) => {
                for run in runs_of(runs, places) {
                    let mut others = run.rows.clone();
                    others.invert();
                    chosen.intersect(&others);
                }
            }
        }
    }

    /// Adds the rows of the places to a list, in no order.
    pub(super) fn list(&self, places: &Range<usize>, rows: &mut Vec<usize>) {
        match self {
            Self::AsRows(_) => rows.extend(places.clone()),
            Self::Rows(all) => rows.extend(rows_of(all, places)),
            Self::Sets(runs) => runs_of(runs, places).iter().for_each(|run| rows.extend(run.rows.iter())),
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::AsRows(_) => 0,
            Self::Rows(rows) => rows.len() * 4,
            Self::Sets(runs) => {
                runs.iter().map(|run| run.rows.words().len() * 8 + size_of::<Run>()).sum::<usize>()
            }
        }
    }
}

fn runs_of<'a>(runs: &'a [Run], places: &Range<usize>) -> &'a [Run] {
    runs.get(places.clone()).unwrap_or_default()
}

fn rows_of<'a>(rows: &'a [u32], places: &Range<usize>) -> impl Iterator<Item = usize> + use<'a> {
    rows.get(places.clone()).unwrap_or_default().iter().map(|&row| row as usize)
}

/// The order of numbers; NaN has no place in it, and both zeros are one.
fn doubles(source: &Source<'_>, value: impl Fn(usize) -> f64) -> Order {
    let all = source.rows().map(|row| (value(row) + 0.0, row as u32));
    sorted(all.filter(|(value, _)| !value.is_nan()).collect(), f64::total_cmp, source.len())
}

/// The order of some of the rows of a column of `len` rows, which come ascending, by their values.
fn sorted<T>(mut pairs: Vec<(T, u32)>, compare: impl Fn(&T, &T) -> Ordering, len: usize) -> Order {
    if pairs.len() == len && pairs.is_sorted_by(|left, right| compare(&left.0, &right.0).is_le()) {
        return Order::AsRows(len);
    }
    pairs.sort_unstable_by(|left, right| compare(&left.0, &right.0).then(left.1.cmp(&right.1)));
    let runs: Vec<&[(T, u32)]> =
        pairs.chunk_by(|left, right| compare(&left.0, &right.0).is_eq()).take(MOST_SETS + 1).collect();
    if runs.len() > MOST_SETS {
        return Order::Rows(pairs.iter().map(|pair| pair.1).collect());
    }
    let run = |pairs: &&[(T, u32)]| {
        let mut rows = Bitset::none(len);
        pairs.iter().for_each(|pair| rows.insert(pair.1 as usize));
        Run { first: pairs.first().map_or(0, |pair| pair.1), rows, count: pairs.len() }
    };
    Order::Sets(runs.iter().map(run).collect())
}
