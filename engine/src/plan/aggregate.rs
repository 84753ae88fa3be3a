//! Aggregates: what is counted and measured of groups of rows, and how what nodes found becomes one answer.
//!
//! All rows that match count, those among them that have one key. What a node found of a group can be put together with what
//! another one found of it, in any order and any number of steps: sums of whole numbers are exact however large, an average
//! travels as a sum and a count. Groups come ascending or descending by all their values, so the first of each part are enough
//! for the first of all.

use super::QueryRows;
use super::groups::Groups;
use super::tally::Tally;
use crate::base::{FieldId, Kind, Kinded};
use crate::model::{Batch, Column, ColumnData, DataType, Keys, TypeMismatch, Value};

/// Most groups of a query. With a limit only as many as are wanted count.
pub(super) const MOST_GROUPS: usize = 100_000;
/// Most memory that groups of a query take, about. Unit: bytes.
pub(super) const MOST_BYTES: usize = 48 << 20;

/// What is wanted of groups of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregates {
    /// The fields whose values make a group, the weightiest in the order of groups first. Of none, all rows are one group.
    pub by: Vec<GroupField>,
    /// What is counted and measured of each group.
    pub of: Vec<Aggregate>,
    /// At most so many groups.
    pub limit: Option<usize>,
}

/// A scalar field that groups have one value of: whole numbers, truth values or texts. Rows without a value are a group, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupField {
    /// The field.
    pub field: FieldId,
    /// Whether groups come from the largest value to the smallest, where no value counts as larger than everything.
    pub descending: bool,
}

/// One thing that is counted or measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// What is done with the values.
    pub op: AggregateOp,
    /// Whose values; `None` to count rows.
    pub field: Option<FieldId>,
}

/// What is done with values. Rows without a value do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateOp {
    /// How many there are.
    Count,
    /// All of them added up; of numbers only.
    Sum,
    /// Their mean; of numbers only.
    Average,
    /// The least; of numbers and texts.
    Least,
    /// The greatest; of numbers and texts.
    Greatest,
}

/// Why parts of an answer could not be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Parts have columns of different types, which would be a defect of a node.
    #[error(transparent)]
    Columns {
        /// Which types.
        source: TypeMismatch,
    },
    /// More groups than a query may have.
    #[error("a query has at most {MOST_GROUPS} groups, set a limit of no more or narrow the filter")]
    ManyGroups,
    /// Groups with longer texts than a query may have.
    #[error("the groups of a query take at most {MOST_BYTES} bytes, set a lower limit or narrow the filter")]
    LargeGroups,
    /// A sum that its type cannot hold.
    #[error("a sum is out of the range of Int64")]
    Sum,
    /// Aggregates of a type that has none.
    #[error("values of type {} are not aggregated so", data_type.name())]
    Type {
        /// Which type.
        data_type: DataType,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Columns { .. } => Kind::Internal,
            Self::ManyGroups | Self::LargeGroups | Self::Sum | Self::Type { .. } => Kind::Invalid,
        }
    }
}

/// The groups of a whole answer in their order: by column, the value of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aggregated {
    /// How many groups there are.
    pub groups: usize,
    /// By field of [`Aggregates::by`], the values that make the groups.
    pub by: Vec<Vec<Value>>,
    /// By aggregate, what was found: [`Value::Null`] where there was no value to look at. A sum is an integer or a double, as
    /// what was added up; an average is a double.
    pub of: Vec<Vec<Value>>,
}

/// The field of column `at` of an answer with groups; no field of a user has such a number.
const fn answer(at: usize) -> FieldId {
    FieldId(-1 - at as i64)
}

/// Columns that each aggregate has in an answer, some of them absent.
const WIDTH: usize = 3;

impl Aggregates {
    /// The fields whose values are needed.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> {
        let by = self.by.iter().map(|group| group.field);
        by.chain(self.of.iter().filter_map(|aggregate| aggregate.field))
    }

    /// Whether an answer is one of a node that knows aggregates.
    #[must_use]
    pub fn is_answer(found: &QueryRows) -> bool {
        found.rows.column(answer(0)).is_some()
    }

    /// Puts what nodes found together. An answer without groups is returned as it is: it is one of a node that knows no
    /// aggregates, and whoever asked sees that it has none.
    pub(super) fn merge(&self, parts: Vec<QueryRows>) -> Result<QueryRows, Error> {
        let mut groups = Groups::new(self);
        for part in parts {
            match Part::of(self, &part.rows) {
                Some(columns) => groups.add_part(&columns)?,
                None => return Ok(part),
            }
        }
        Ok(groups.into_rows())
    }

    /// The answer that all nodes together gave; `None` for one of a node that knows no aggregates.
    ///
    /// # Errors
    /// [`Error::Sum`] for a sum of integers that is none.
    pub fn finish(&self, found: &QueryRows) -> Result<Option<Aggregated>, Error> {
        let Some(part) = Part::of(self, &found.rows) else { return Ok(None) };
        if self.by.is_empty() && part.rows.is_empty() {
            // The one group there is, of no row.
            let of = self.of.iter().map(|aggregate| vec![aggregate.of_nothing()]);
            return Ok(Some(Aggregated { groups: 1, by: Vec::new(), of: of.collect() }));
        }
        let values = |column: &&Column| (0..part.rows.len()).map(|row| column.value(row)).collect();
        let of = self.of.iter().zip(&part.of).map(|(aggregate, columns)| match columns {
            None => Ok(part.rows.iter().map(|count| Value::Int(*count)).collect()),
            Some(columns) => columns.finish(aggregate.op, part.rows.len()),
        });
        Ok(Some(Aggregated {
            groups: part.rows.len(),
            by: part.by.iter().map(values).collect(),
            of: of.collect::<Result<_, _>>()?,
        }))
    }
}

impl Aggregate {
    /// What is found where there is no row.
    const fn of_nothing(&self) -> Value {
        match self.op {
            AggregateOp::Count => Value::Int(0),
            AggregateOp::Sum | AggregateOp::Average | AggregateOp::Least | AggregateOp::Greatest => {
                Value::Null
            }
        }
    }
}

/// What a node found, as columns with a row a group.
pub(super) struct Part<'a> {
    /// Rows of each group.
    pub(super) rows: &'a [i64],
    /// The values that make the groups. None of either where there is no group.
    pub(super) by: Vec<&'a Column>,
    /// By aggregate; nothing for those of rows.
    pub(super) of: Vec<Option<Tallied<'a>>>,
}

/// What a node found of one aggregate.
#[derive(Clone, Copy)]
pub(super) enum Tallied<'a> {
    /// How many values.
    Counts(&'a [i64]),
    /// Sums as upper and lower half, and of how many values.
    Wholes(&'a [i64], &'a [i64], &'a [i64]),
    /// Sums, and of how many values.
    Doubles(&'a [f64], &'a [i64]),
    /// The value that is the least or the greatest.
    Extremes(&'a Column),
}

impl<'a> Part<'a> {
    fn of(aggregates: &Aggregates, found: &'a Batch) -> Option<Self> {
        let longs = |at: usize| match &found.column(answer(at))?.data {
            ColumnData::Int64(values) => Some(values.as_slice()),
            _ => None,
        };
        let rows = longs(0)?;
        if rows.is_empty() {
            return Some(Self { rows, by: Vec::new(), of: Vec::new() });
        }
        let first = 1 + aggregates.by.len();
        let by = (1..first).map(|at| found.column(answer(at))).collect::<Option<_>>()?;
        let of = aggregates.of.iter().enumerate().map(|(at, aggregate)| {
            let at = first + at * WIDTH;
            Some(match aggregate {
                Aggregate { field: None, .. } => None,
                Aggregate { op: AggregateOp::Count, .. } => Some(Tallied::Counts(longs(at)?)),
                Aggregate { op: AggregateOp::Least | AggregateOp::Greatest, .. } => {
                    Some(Tallied::Extremes(found.column(answer(at))?))
                }
                Aggregate { op: AggregateOp::Sum | AggregateOp::Average, .. } => {
                    Some(match &found.column(answer(at))?.data {
                        ColumnData::Double(sums) => Tallied::Doubles(sums, longs(at + 2)?),
                        _ => Tallied::Wholes(longs(at)?, longs(at + 1)?, longs(at + 2)?),
                    })
                }
            })
        });
        Some(Self { rows, by, of: of.collect::<Option<_>>()? })
    }
}

impl Tallied<'_> {
    fn finish(&self, op: AggregateOp, groups: usize) -> Result<Vec<Value>, Error> {
        let is_mean = op == AggregateOp::Average;
        let one = |at: usize| {
            Ok(match self {
                Self::Counts(counts) => Value::Int(counts[at]),
                Self::Extremes(column) => column.value(at),
                Self::Wholes(_, _, counts) | Self::Doubles(_, counts) if counts[at] == 0 => Value::Null,
                Self::Wholes(upper, lower, counts) => match whole(upper[at], lower[at]) {
                    sum if is_mean => Value::Double(sum as f64 / counts[at] as f64),
                    sum => Value::Int(i64::try_from(sum).map_err(|_| Error::Sum)?),
                },
                Self::Doubles(sums, counts) if is_mean => Value::Double(sums[at] / counts[at] as f64),
                Self::Doubles(sums, _) => Value::Double(sums[at]),
            })
        };
        (0..groups).map(one).collect()
    }
}

/// A sum of its two halves.
pub(super) const fn whole(upper: i64, lower: i64) -> i128 {
    // The lower half has no sign of its own.
    ((upper as i128) << 64) | (lower as u64 as i128)
}

/// Groups as the answer of a query, in the order given. `rows`, `by` and `of` are as in [`Part`].
pub(super) fn into_rows(rows: Vec<i64>, by: Vec<Column>, of: Vec<Option<Tally>>) -> QueryRows {
    let (groups, first) = (rows.len(), 1 + by.len());
    let mut columns = vec![long(0, rows)];
    columns.extend((1..).zip(by).map(|(at, column)| Column { field: answer(at), ..column }));
    for (at, tally) in of.into_iter().enumerate() {
        let at = first + at * WIDTH;
        match tally {
            None => {}
            Some(Tally::Counts(counts)) => columns.push(long(at, counts)),
            Some(Tally::Wholes { sums, counts }) => {
                columns.push(long(at, sums.iter().map(|sum| (sum >> 64) as i64).collect()));
                columns.push(long(at + 1, sums.iter().map(|sum| *sum as i64).collect()));
                columns.push(long(at + 2, counts));
            }
            Some(Tally::Doubles { sums, counts }) => {
                let data = ColumnData::Double(sums);
                columns.push(Column { field: answer(at), data, valid: None });
                columns.push(long(at + 2, counts));
            }
            Some(Tally::Extremes { values, data_type }) => {
                columns.push(Column { field: answer(at), ..super::groups::column_of(data_type, &values) });
            }
        }
    }
    QueryRows {
        keys: Keys::Int(Vec::new()),
        times: Vec::new(),
        rows: Batch { rows: groups, columns },
        count: groups as u64,
    }
}

fn long(at: usize, values: Vec<i64>) -> Column {
    Column { field: answer(at), data: ColumnData::Int64(values), valid: None }
}
