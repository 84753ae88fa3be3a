//! What is counted and measured of groups, a value a group.

use std::cmp::Ordering;

use super::aggregate::{AggregateOp, Error, Tallied, whole};
use crate::model::{Bitset, Column, ColumnData, DataType, TypeMismatch, Value};

/// Values of rows.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// None are needed: the rows themselves count.
    Rows,
    /// A value a row.
    Column(&'a Column),
    /// The same value for every row: the only one of the column.
    Same(&'a Column),
    /// Only which rows have one; `None` says all of them.
    Valid(Option<&'a Bitset>),
}

impl<'a> Operand<'a> {
    /// The column that has the value of row `row`, and where.
    pub(super) const fn at(&self, row: usize) -> Option<(&'a Column, usize)> {
        match self {
            Self::Column(column) => Some((column, row)),
            Self::Same(column) => Some((column, 0)),
            Self::Rows | Self::Valid(_) => None,
        }
    }

    fn has(&self, row: usize) -> bool {
        match self {
            Self::Rows => true,
            Self::Column(column) => column.is_valid(row),
            Self::Same(column) => column.is_valid(0),
            Self::Valid(valid) => valid.is_none_or(|valid| valid.contains(row)),
        }
    }

    const fn column(&self) -> Option<&'a Column> {
        match self {
            Self::Column(column) | Self::Same(column) => Some(column),
            Self::Rows | Self::Valid(_) => None,
        }
    }
}

/// A row of a part and the place of its group; `None` for one that is not wanted.
pub(super) type Placed = (usize, Option<usize>);

/// What was found of one aggregate so far, by place of a group.
#[derive(Clone, Debug)]
pub(super) enum Tally {
    Counts(Vec<i64>),
    Wholes {
        sums: Vec<i128>,
        counts: Vec<i64>,
    },
    Doubles {
        sums: Vec<f64>,
        counts: Vec<i64>,
    },
    /// [`Value::Null`] where no value was seen.
    Extremes {
        values: Vec<Value>,
        data_type: DataType,
    },
}

impl Tally {
    /// Of nothing yet, for values of `operand`.
    ///
    /// # Errors
    /// [`Error::Type`] for values that are not measured so.
    pub(super) fn new(op: AggregateOp, operand: &Operand<'_>) -> Result<Self, Error> {
        let (sums, counts) = (Vec::new(), Vec::new());
        let data_type = match operand.column() {
            _ if op == AggregateOp::Count => return Ok(Self::Counts(Vec::new())),
            Some(column) => column.data.data_type(),
            None => return Err(Error::Type { data_type: DataType::FloatVector }),
        };
        match op {
            AggregateOp::Least | AggregateOp::Greatest
                if data_type.is_number() || data_type == DataType::VarChar =>
            {
                Ok(Self::Extremes { values: Vec::new(), data_type })
            }
            AggregateOp::Sum | AggregateOp::Average if data_type.is_integer() => {
                Ok(Self::Wholes { sums: Vec::new(), counts })
            }
            AggregateOp::Sum | AggregateOp::Average if data_type.is_number() => {
                Ok(Self::Doubles { sums, counts })
            }
            _ => Err(Error::Type { data_type }),
        }
    }

    /// Of nothing yet, to put what nodes found together.
    pub(super) const fn like(part: Tallied<'_>) -> Self {
        match part {
            Tallied::Counts(_) => Self::Counts(Vec::new()),
            Tallied::Wholes(..) => Self::Wholes { sums: Vec::new(), counts: Vec::new() },
            Tallied::Doubles(..) => Self::Doubles { sums: Vec::new(), counts: Vec::new() },
            Tallied::Extremes(column) => {
                Self::Extremes { values: Vec::new(), data_type: column.data.data_type() }
            }
        }
    }

    /// Makes room for so many groups.
    pub(super) fn grow(&mut self, groups: usize) {
        match self {
            Self::Counts(counts) => counts.resize(groups, 0),
            Self::Wholes { sums, counts } => {
                sums.resize(groups, 0);
                counts.resize(groups, 0);
            }
            Self::Doubles { sums, counts } => {
                sums.resize(groups, 0.0);
                counts.resize(groups, 0);
            }
            Self::Extremes { values, .. } => values.resize(groups, Value::Null),
        }
    }

    /// Adds the values of rows. Returns by how many bytes the texts grew.
    ///
    /// # Errors
    /// [`Error::Columns`] if the values are of another type than those before.
    pub(super) fn add(
        &mut self,
        op: AggregateOp,
        operand: &Operand<'_>,
        placed: &[Placed],
    ) -> Result<isize, Error> {
        let wanted = placed.iter().filter_map(|(row, place)| Some((*row, (*place)?)));
        let wanted = wanted.filter(|(row, _)| operand.has(*row));
        if let Self::Counts(counts) = self {
            wanted.for_each(|(_, place)| counts[place] += 1);
            return Ok(0);
        }
        let Some(column) = operand.column() else {
            return Err(Error::Type { data_type: DataType::FloatVector });
        };
        // Where all rows have the same value, it is at the start.
        let at = |row: usize| if matches!(operand, Operand::Same(_)) { 0 } else { row };
        let mut grown = 0;
        macro_rules! sums {
            ($values:expr, $sums:expr, $counts:expr, $type:ty) => {
                wanted.for_each(|(row, place)| {
                    $sums[place] += <$type>::from($values[at(row)]);
                    $counts[place] += 1;
                })
            };
        }
        match (self, &column.data) {
            (Self::Wholes { sums, counts }, ColumnData::Int8(all)) => sums!(all, sums, counts, i128),
            (Self::Wholes { sums, counts }, ColumnData::Int16(all)) => sums!(all, sums, counts, i128),
            (Self::Wholes { sums, counts }, ColumnData::Int32(all)) => sums!(all, sums, counts, i128),
            (Self::Wholes { sums, counts }, ColumnData::Int64(all)) => sums!(all, sums, counts, i128),
            (Self::Doubles { sums, counts }, ColumnData::Float(all)) => sums!(all, sums, counts, f64),
            (Self::Doubles { sums, counts }, ColumnData::Double(all)) => sums!(all, sums, counts, f64),
            (Self::Extremes { values, data_type }, data) if *data_type == data.data_type() => {
                wanted.for_each(|(row, place)| grown += better(op, &mut values[place], data, at(row)));
            }
            (this, data) => return Err(this.mismatch(data.data_type())),
        }
        Ok(grown)
    }

    /// Adds what a node found of the groups `groups`.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub(super) fn add_part(
        &mut self,
        op: AggregateOp,
        part: Tallied<'_>,
        groups: &[Placed],
    ) -> Result<isize, Error> {
        let wanted = groups.iter().filter_map(|(at, place)| Some((*at, (*place)?)));
        let mut grown = 0;
        // What comes from another node may be anything, and must not overflow.
        match (self, part) {
            (Self::Counts(counts), Tallied::Counts(more)) => {
                wanted.for_each(|(at, place)| counts[place] = counts[place].saturating_add(more[at]));
            }
            (Self::Wholes { sums, counts }, Tallied::Wholes(upper, lower, more)) => {
                wanted.for_each(|(at, place)| {
                    sums[place] = sums[place].wrapping_add(whole(upper[at], lower[at]));
                    counts[place] = counts[place].saturating_add(more[at]);
                });
            }
            (Self::Doubles { sums, counts }, Tallied::Doubles(some, more)) => {
                wanted.for_each(|(at, place)| {
                    sums[place] += some[at];
                    counts[place] = counts[place].saturating_add(more[at]);
                });
            }
            (Self::Extremes { values, data_type }, Tallied::Extremes(column))
                if *data_type == column.data.data_type() =>
            {
                wanted.filter(|(at, _)| column.is_valid(*at)).for_each(|(at, place)| {
                    grown += better(op, &mut values[place], &column.data, at);
                });
            }
            (this, Tallied::Extremes(column)) => return Err(this.mismatch(column.data.data_type())),
            (this, Tallied::Counts(_) | Tallied::Wholes(..)) => return Err(this.mismatch(DataType::Int64)),
            (this, Tallied::Doubles(..)) => return Err(this.mismatch(DataType::Double)),
        }
        Ok(grown)
    }

    /// Keeps the groups at `places`, in their order.
    pub(super) fn take(&mut self, places: &[usize]) {
        match self {
            Self::Counts(counts) => *counts = pick(counts, places),
            Self::Wholes { sums, counts } => {
                *sums = pick(sums, places);
                *counts = pick(counts, places);
            }
            Self::Doubles { sums, counts } => {
                *sums = pick(sums, places);
                *counts = pick(counts, places);
            }
            Self::Extremes { values, .. } => {
                *values =
                    places.iter().map(|place| std::mem::replace(&mut values[*place], Value::Null)).collect();
            }
        }
    }

    /// Bytes of the texts in it.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Self::Extremes { values, .. } => values.iter().map(text_bytes).sum(),
            Self::Counts(_) | Self::Wholes { .. } | Self::Doubles { .. } => 0,
        }
    }

    fn mismatch(&self, found: DataType) -> Error {
        let expected = match self {
            Self::Counts(_) | Self::Wholes { .. } => DataType::Int64,
            Self::Doubles { .. } => DataType::Double,
            Self::Extremes { data_type, .. } => *data_type,
        };
        Error::Columns { source: TypeMismatch { expected, found } }
    }
}

fn pick<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|place| values[*place]).collect()
}

fn text_bytes(value: &Value) -> usize {
    if let Value::Text(text) = value { text.len() } else { 0 }
}

/// Puts the value of row `row` in the place of `best` if it is better. Returns by how many bytes texts grew.
fn better(op: AggregateOp, best: &mut Value, data: &ColumnData, row: usize) -> isize {
    let wanted = if op == AggregateOp::Least { Ordering::Less } else { Ordering::Greater };
    if let ColumnData::VarChar(texts) = data {
        let text = texts.get(row);
        // Compared in place, so that only better ones are copied.
        let is_better =
            if let Value::Text(known) = &*best { text.cmp(known.as_str()) == wanted } else { true };
        if !is_better {
            return 0;
        }
        let before = text_bytes(best) as isize;
        *best = Value::Text(text.to_owned());
        return text.len() as isize - before;
    }
    let value = data.value(row);
    let order = match (&value, &*best) {
        (Value::Int(value), Value::Int(best)) => value.cmp(best),
        (Value::Float(value), Value::Float(best)) => value.total_cmp(best),
        (Value::Double(value), Value::Double(best)) => value.total_cmp(best),
        _ => wanted,
    };
    if order == wanted {
        *best = value;
    }
    0
}
