//! The typed tree over columns: one pass per node, whole columns at a time, or none where an index answers.

use std::cmp::Ordering;

use crate::expr::few::Taken;
use crate::expr::json::{Elements, Found, array_length, equals, find, has_content};
use crate::expr::literal::Number;
use crate::expr::lookup;
use crate::expr::predicate::{Access, ColumnName, Operand, Predicate, Quantity};
use crate::expr::set::{Set, as_single};
use crate::expr::syntax::{Arithmetic, Compare, Step};
use crate::expr::{Error, Literal, Rows, Values};
use crate::model::{Bitset, ColumnData, Texts};

mod arrays;
mod elements;
mod texts;

pub(super) use elements::chosen as chosen_elements;

/// The rows for which `predicate` is true.
pub(super) fn evaluate(predicate: &Predicate, rows: &dyn Rows) -> Result<Bitset, Error> {
    Evaluation { rows }.truth(predicate, None).map(|truth| truth.yes)
}

/// For which rows a statement is true, and for which it is true or false.
struct Truth {
    /// True. A subset of `known`.
    yes: Bitset,
    /// Not unknown; `None` says all rows.
    known: Option<Bitset>,
}

impl Truth {
    /// The statement is false, not unknown.
    fn no(&self) -> Bitset {
        let mut no = self.yes.clone();
        no.invert();
        if let Some(known) = &self.known {
            no.intersect(known);
        }
        no
    }
}

/// The rows that somebody still asks about; of others any answer will do. `None` is all rows.
type Wanted<'a> = Option<&'a Bitset>;

struct Evaluation<'r> {
    rows: &'r dyn Rows,
}

impl<'r> Evaluation<'r> {
    fn truth(&self, predicate: &Predicate, wanted: Wanted<'_>) -> Result<Truth, Error> {
        match self.looked_up(predicate, wanted)? {
            Some(truth) => Ok(truth),
            None => self.compared(predicate, wanted),
        }
    }

    /// What an index says, if there is one and asking it is cheaper than comparing rows.
    fn looked_up(&self, predicate: &Predicate, wanted: Wanted<'_>) -> Result<Option<Truth>, Error> {
        let Some(answer) = lookup::find(predicate, self.rows) else { return Ok(None) };
        let length = self.rows.len();
        let asked = wanted.map_or(length, Bitset::count);
        let afterwards =
            if answer.is_exact { 0 } else { compare_price(predicate, length, answer.count.min(asked)) };
        if answer.effort * PRICE_OF_A_ROW + length / 64 + afterwards > compare_price(predicate, length, asked)
        {
            return Ok(None);
        }
        let mut chosen = answer.set();
        if answer.is_exact {
            return known_where_valid(Values::of(answer.column), chosen).map(Some);
        }
        if let Some(wanted) = wanted {
            chosen.intersect(wanted);
        }
        self.compared(predicate, Some(&chosen)).map(Some)
    }

    /// What comparing rows says; parts of a tree may still be looked up.
    fn compared(&self, predicate: &Predicate, wanted: Wanted<'_>) -> Result<Truth, Error> {
        let length = self.rows.len();
        match predicate {
            Predicate::Always(true) => Ok(Truth { yes: Bitset::all(length), known: None }),
            Predicate::Always(false) => Ok(Truth { yes: Bitset::none(length), known: None }),
            Predicate::Not(inner) => {
                let inner = self.truth(inner, wanted)?;
                Ok(Truth { yes: inner.no(), known: inner.known })
            }
            Predicate::All(parts) => self.all(parts.iter().collect(), wanted),
            Predicate::Any(parts) => self.any(parts, wanted),
            Predicate::Compare { operand, compare, value } => {
                let column = self.column(&operand.column)?;
                let yes = compare_value(column, operand, *compare, value, wanted);
                known_where_valid(column, yes.ok_or(Error::Column { field: operand.column.id })?)
            }
            Predicate::CompareColumns { left, compare, right } => self.compare_columns(left, *compare, right),
            Predicate::Begins { column, with } => self.begins(column, with),
            Predicate::In { operand, set } => {
                let column = self.column(&operand.column)?;
                let yes = is_in(column.data, &operand.access, set, wanted);
                known_where_valid(column, yes.ok_or(Error::Column { field: operand.column.id })?)
            }
            Predicate::Like { operand, pattern } => self.like(operand, pattern, wanted),
            Predicate::IsNull(column) => {
                let column = self.column(column)?;
                let mut yes = column.valid.cloned().unwrap_or_else(|| Bitset::all(length));
                yes.invert();
                Ok(Truth { yes, known: None })
            }
            Predicate::Exists { column, path } => {
                let (column, texts) = self.json(column)?;
                let yes = choose(texts.len(), wanted, |row| {
                    column.is_valid(row) && find(texts.get(row), path).is_some_and(has_content)
                });
                Ok(Truth { yes, known: None })
            }
            Predicate::Contains { column, path, quantity, values } => {
                self.contains(column, path, *quantity, values, wanted)
            }
            Predicate::Later { column: name, by, compare, value } => {
                let column = self.column(name)?;
                let ColumnData::Int64(instants) = column.data else {
                    return Err(Error::Column { field: name.id });
                };
                let yes =
                    choose(length, wanted, |row| compare.accepts(Some(by.after(instants[row]).cmp(value))));
                known_where_valid(column, yes)
            }
            Predicate::Shape { column: name, test } => {
                let column = self.column(name)?;
                let ColumnData::Geometry(shapes) = column.data else {
                    return Err(Error::Column { field: name.id });
                };
                let yes = test
                    .chosen(shapes, |test| choose(length, wanted, |row| column.is_valid(row) && test(row)));
                known_where_valid(column, yes)
            }
            Predicate::Elements { share, part, inner, .. } => {
                let (column, all) = self.arrays(part)?;
                let passed = self.elements(inner, all, wanted)?;
                let yes = choose(all.len(), wanted, |row| {
                    let range = all.range(row);
                    share.is_met(range.clone().filter(|&at| passed.contains(at)).count(), range.len())
                });
                known_where_valid(column, yes)
            }
            Predicate::TextMatch { column, wanted: words } => self.text_match(column, words, wanted),
        }
    }

    fn column(&self, name: &ColumnName) -> Result<Values<'r>, Error> {
        let missing = Error::Column { field: name.id };
        let column = self.rows.values(name.id).ok_or_else(|| missing.clone())?;
        let is_fitting =
            column.data.data_type() == name.data_type.held_as() && column.data.len() == self.rows.len();
        if is_fitting { Ok(column) } else { Err(missing) }
    }

    fn json(&self, name: &ColumnName) -> Result<(Values<'r>, &'r Texts), Error> {
        let column = self.column(name)?;
        match column.data {
            ColumnData::Json(texts) => Ok((column, texts)),
            _ => Err(Error::Column { field: name.id }),
        }
    }

    /// False if one part is, true if all are. Later parts see only the rows that no earlier one made false.
    fn all(&self, parts: Vec<&Predicate>, wanted: Wanted<'_>) -> Result<Truth, Error> {
        let length = self.rows.len();
        let mut open = wanted.cloned().unwrap_or_else(|| Bitset::all(length));
        let mut yes = open.clone();
        let mut is_known = true;
        let parts = self.cheapest_first(parts);
        let mut rest = parts.as_slice();
        while let Some((part, others)) = rest.split_first() {
            let truth = match self.narrowed(rest, &open)? {
                Some(truth) => {
                    rest = &[];
                    truth
                }
                None => {
                    rest = others;
                    self.truth(part, Some(&open))?
                }
            };
            is_known &= truth.known.is_none();
            if is_known {
                open.intersect(&truth.yes);
                yes.clone_from(&open);
            } else {
                let mut not_false = truth.no();
                not_false.invert();
                open.intersect(&not_false);
                yes.intersect(&truth.yes);
            }
        }
        let known = (!is_known).then(|| {
            // What is neither false nor true by now is unknown.
            open.invert();
            open.unite(&yes);
            open
        });
        Ok(Truth { yes, known })
    }

    /// True if one part is, false if all are. Later parts see only the rows that no earlier one made true.
    fn any(&self, parts: &[Predicate], wanted: Wanted<'_>) -> Result<Truth, Error> {
        let length = self.rows.len();
        let mut open = wanted.cloned().unwrap_or_else(|| Bitset::all(length));
        let mut yes = Bitset::none(length);
        let mut no = Bitset::all(length);
        let mut is_known = true;
        for part in self.cheapest_first(parts.iter().collect()) {
            let truth = self.truth(part, Some(&open))?;
            is_known &= truth.known.is_none();
            if !is_known {
                no.intersect(&truth.no());
            } else {
                let mut not_true = truth.yes.clone();
                not_true.invert();
                no.intersect(&not_true);
            }
            yes.unite(&truth.yes);
            let mut rest = truth.yes;
            rest.invert();
            open.intersect(&rest);
        }
        let known = (!is_known).then(|| {
            no.unite(&yes);
            no
        });
        Ok(Truth { yes, known })
    }

    /// Whether all of `parts` hold, found in a copy of the rows that are still asked about, if these are few.
    fn narrowed(&self, parts: &[&Predicate], open: &Bitset) -> Result<Option<Truth>, Error> {
        let length = self.rows.len();
        if length < NARROWED_ROWS || open.count() * NARROWED_SHARE > length {
            return Ok(None);
        }
        let rows: Vec<usize> = open.iter().collect();
        let Some(taken) = Taken::of(parts, self.rows, &rows) else { return Ok(None) };
        let truth = Evaluation { rows: &taken }.all(parts.to_vec(), None)?;
        let mut yes = Bitset::none(length);
        truth.yes.iter().for_each(|at| yes.insert(rows[at]));
        let known = truth.known.map(|known| {
            let mut all = Bitset::all(length);
            (0..rows.len()).filter(|&at| !known.contains(at)).for_each(|at| all.remove(rows[at]));
            all
        });
        Ok(Some(Truth { yes, known }))
    }

    /// The parts in the order in which they are tried: those that an index knows of by how few rows it finds, then what costs
    /// little to compare; JSON late, as every row costs a parse, and texts to analyse last.
    fn cheapest_first<'p>(&self, mut parts: Vec<&'p Predicate>) -> Vec<&'p Predicate> {
        parts.sort_by_cached_key(|part| match lookup::find(part, self.rows) {
            Some(answer) if answer.count <= self.rows.len() / 2 => (0, answer.count),
            _ => (1 + cost(part), 0),
        });
        parts
    }

    fn compare_columns(
        &self,
        left: &ColumnName,
        compare: Compare,
        right: &ColumnName,
    ) -> Result<Truth, Error> {
        let (left_column, right_column) = (self.column(left)?, self.column(right)?);
        let length = self.rows.len();
        let yes = match (left_column.data, right_column.data) {
            (ColumnData::VarChar(lefts), ColumnData::VarChar(rights)) => {
                Bitset::from_fn(length, |row| compare.accepts(Some(lefts.get(row).cmp(rights.get(row)))))
            }
            (ColumnData::Bool(lefts), ColumnData::Bool(rights)) => {
                Bitset::from_fn(length, |row| compare.accepts(Some(lefts[row].cmp(&rights[row]))))
            }
            (ColumnData::Int64(lefts), ColumnData::Int64(rights)) => {
                Bitset::from_fn(length, |row| compare.accepts(Some(lefts[row].cmp(&rights[row]))))
            }
            (lefts, rights) => Bitset::from_fn(length, |row| {
                let numbers = number_at(lefts, row).zip(number_at(rights, row));
                compare.accepts(numbers.and_then(|(left, right)| left.order(right)))
            }),
        };
        known_where_both(left_column, right_column, yes)
    }

    /// What arrays hold, those of a column or those in JSON.
    fn contains(
        &self,
        name: &ColumnName,
        path: &[Step],
        quantity: Quantity,
        values: &[Literal],
        wanted: Wanted<'_>,
    ) -> Result<Truth, Error> {
        if matches!(name.data_type, crate::model::DataType::Array(_)) {
            let (column, all) = self.arrays(name)?;
            let yes = choose(all.len(), wanted, |row| arrays::contains(all, row, quantity, values));
            return known_where_valid(column, yes);
        }
        let (column, texts) = self.json(name)?;
        let yes = choose(texts.len(), wanted, |row| contains(texts.get(row), path, quantity, values));
        known_where_valid(column, yes)
    }

    fn begins(&self, column: &ColumnName, with: &ColumnName) -> Result<Truth, Error> {
        let (texts, starts) = (self.column(column)?, self.column(with)?);
        let (ColumnData::VarChar(all), ColumnData::VarChar(beginnings)) = (texts.data, starts.data) else {
            return Err(Error::Column { field: column.id });
        };
        let begins = |row: usize| all.get(row).starts_with(beginnings.get(row));
        known_where_both(texts, starts, Bitset::from_fn(self.rows.len(), begins))
    }
}

/// A statement about two values is unknown where one of them is missing.
fn known_where_both(left: Values<'_>, right: Values<'_>, yes: Bitset) -> Result<Truth, Error> {
    let truth = known_where_valid(left, yes)?;
    let mut both = known_where_valid(right, truth.yes)?;
    if let (Some(known), Some(more)) = (&mut both.known, &truth.known) {
        known.intersect(more);
    }
    Ok(Truth { known: both.known.or(truth.known), yes: both.yes })
}

/// A statement about values is unknown where there is none.
fn known_where_valid(column: Values<'_>, mut yes: Bitset) -> Result<Truth, Error> {
    if let Some(valid) = column.valid {
        yes.intersect(valid);
    }
    Ok(Truth { yes, known: column.valid.cloned() })
}

/// The wanted rows that pass `test`, which is asked about these only.
fn choose(length: usize, wanted: Wanted<'_>, mut test: impl FnMut(usize) -> bool) -> Bitset {
    match wanted {
        None => Bitset::from_fn(length, test),
        Some(wanted) => {
            let mut chosen = Bitset::none(length);
            wanted.iter().filter(|&row| test(row)).for_each(|row| chosen.insert(row));
            chosen
        }
    }
}

/// The rows whose value passes `test`.
fn select<T: Copy>(values: &[T], test: impl Fn(T) -> bool) -> Bitset {
    let mut rest = values.iter();
    Bitset::from_fn(values.len(), |_| rest.next().is_some_and(|&value| test(value)))
}

/// Touching one row that an index names, in units of comparing a number of one row after the other.
const PRICE_OF_A_ROW: usize = 4;
/// Rows of which a copy of a few is worth making.
const NARROWED_ROWS: usize = 4096;
/// One row in so many is few.
const NARROWED_SHARE: usize = 64;

/// What comparing `asked` of `length` rows costs, in units of one number; numbers are compared for all rows.
fn compare_price(predicate: &Predicate, length: usize, asked: usize) -> usize {
    match cost(predicate) {
        0 | 1 => length,
        2 => asked.saturating_mul(8),
        _ => asked.saturating_mul(64),
    }
}

fn cost(predicate: &Predicate) -> u8 {
    match predicate {
        Predicate::Always(_) | Predicate::IsNull(_) => 0,
        Predicate::Not(inner) => cost(inner),
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().map(cost).max().unwrap_or(0),
        Predicate::Like { pattern, .. } if pattern.is_regex() => 4,
        Predicate::Compare { operand, .. }
        | Predicate::In { operand, .. }
        | Predicate::Like { operand, .. } => match operand.column.data_type {
            crate::model::DataType::Json => 3,
            text if text.is_text() => 2,
            crate::model::DataType::Array(_) => 2,
            _ => 1,
        },
        Predicate::CompareColumns { .. } | Predicate::Begins { .. } | Predicate::Later { .. } => 2,
        Predicate::Exists { .. } | Predicate::Contains { .. } | Predicate::Elements { .. } => 3,
        Predicate::TextMatch { .. } | Predicate::Shape { .. } => 4,
    }
}

/// Compares column `operand` with a constant; `None` if the column does not fit the tree.
fn compare_value(
    column: Values<'_>,
    operand: &Operand,
    compare: Compare,
    value: &Literal,
    wanted: Wanted<'_>,
) -> Option<Bitset> {
    match (column.data, &operand.access) {
        (ColumnData::Json(texts), Access::Path(path)) => Some(choose(texts.len(), wanted, |row| {
            compare.accepts(order_json(texts.get(row), path, operand.arithmetic.as_ref(), value))
        })),
        (ColumnData::Json(texts), Access::Length(path)) => {
            let Literal::Int(value) = value else { return None };
            Some(choose(texts.len(), wanted, |row| {
                let length = find(texts.get(row), path).map_or(0, array_length);
                compare.accepts(Some(i64::try_from(length).unwrap_or(i64::MAX).cmp(value)))
            }))
        }
        (ColumnData::Array(all), Access::Path(path)) => arrays::at(all, path, wanted, |elements| {
            compare_scalars(elements, operand.arithmetic.as_ref(), compare, value, None)
        }),
        (ColumnData::Array(all), access) => arrays::compare(all, access, compare, value, wanted),
        (data, Access::Whole) => compare_scalars(data, operand.arithmetic.as_ref(), compare, value, wanted),
        _ => None,
    }
}

fn compare_scalars(
    data: &ColumnData,
    arithmetic: Option<&(Arithmetic, Literal)>,
    compare: Compare,
    value: &Literal,
    wanted: Wanted<'_>,
) -> Option<Bitset> {
    match arithmetic {
        None => compare_whole(data, compare, value, wanted),
        Some((operator, right)) => compare_computed(data, *operator, right, compare, value),
    }
}

fn compare_whole(data: &ColumnData, compare: Compare, value: &Literal, wanted: Wanted<'_>) -> Option<Bitset> {
    Some(match (data, value) {
        (ColumnData::Bool(values), Literal::Bool(right)) => {
            select(values, |value| compare.accepts(Some(value.cmp(right))))
        }
        (ColumnData::Int8(values), Literal::Int(right)) => compare_ints(values, compare, *right),
        (ColumnData::Int16(values), Literal::Int(right)) => compare_ints(values, compare, *right),
        (ColumnData::Int32(values), Literal::Int(right)) => compare_ints(values, compare, *right),
        (ColumnData::Int64(values), Literal::Int(right)) => compare_ints(values, compare, *right),
        (ColumnData::Float(values), literal) => {
            let right = as_single(literal)?;
            match compare {
                Compare::Less => select(values, |value| value < right),
                Compare::LessEqual => select(values, |value| value <= right),
                Compare::Greater => select(values, |value| value > right),
                Compare::GreaterEqual => select(values, |value| value >= right),
                Compare::Equal => select(values, |value| value == right),
                Compare::NotEqual => select(values, |value| value != right),
            }
        }
        (ColumnData::Double(values), Literal::Double(right)) => {
            select(values, |value| compare.accepts(value.partial_cmp(right)))
        }
        (ColumnData::Double(values), literal) => {
            let right = literal.number()?;
            select(values, |value| compare.accepts(Number::Double(value).order(right)))
        }
        (ColumnData::VarChar(texts), Literal::Text(right)) => {
            choose(texts.len(), wanted, |row| compare.accepts(Some(texts.get(row).cmp(right.as_str()))))
        }
        _ => return None,
    })
}

fn compare_ints<T: Copy + Into<i64>>(values: &[T], compare: Compare, right: i64) -> Bitset {
    match compare {
        Compare::Less => select(values, |value| value.into() < right),
        Compare::LessEqual => select(values, |value| value.into() <= right),
        Compare::Greater => select(values, |value| value.into() > right),
        Compare::GreaterEqual => select(values, |value| value.into() >= right),
        Compare::Equal => select(values, |value| value.into() == right),
        Compare::NotEqual => select(values, |value| value.into() != right),
    }
}

/// Compares `column operator right` with a constant, exactly for whole numbers.
fn compare_computed(
    data: &ColumnData,
    operator: Arithmetic,
    right: &Literal,
    compare: Compare,
    value: &Literal,
) -> Option<Bitset> {
    let (bound, right_number) = (value.number()?, right.number()?);
    let test = |left: Number| {
        compare.accepts(left.apply(operator, right_number).and_then(|result| result.order(bound)))
    };
    let whole = |left: i64| match *right {
        Literal::Int(right) => match apply_int(left, operator, right) {
            Some(result) => compare.accepts(Number::Int(i128::from(result)).order(bound)),
            None => test(Number::Int(i128::from(left))),
        },
        _ => test(Number::Int(i128::from(left))),
    };
    Some(match data {
        ColumnData::Int8(values) => select(values, |value| whole(value.into())),
        ColumnData::Int16(values) => select(values, |value| whole(value.into())),
        ColumnData::Int32(values) => select(values, |value| whole(value.into())),
        ColumnData::Int64(values) => select(values, whole),
        ColumnData::Float(values) => select(values, |value| test(Number::Double(value.into()))),
        ColumnData::Double(values) => select(values, |value| test(Number::Double(value))),
        _ => return None,
    })
}

/// The fast way for results within 64 bits; `None` outside.
#[inline]
const fn apply_int(left: i64, operator: Arithmetic, right: i64) -> Option<i64> {
    match operator {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Modulo => left.checked_rem(right),
    }
}

/// The order of what is at `path` to a constant; `None` if nothing is there or it is of another class.
fn order_json(
    text: &str,
    path: &[Step],
    arithmetic: Option<&(Arithmetic, Literal)>,
    value: &Literal,
) -> Option<Ordering> {
    let found = Found::read(find(text, path)?)?;
    let Some((operator, right)) = arithmetic else { return found.order(value) };
    let Found::Number(left) = found else { return None };
    left.apply(*operator, right.number()?)?.order(value.number()?)
}

fn is_in(data: &ColumnData, access: &Access, set: &Set, wanted: Wanted<'_>) -> Option<Bitset> {
    Some(match (data, access) {
        (ColumnData::Array(all), Access::Path(path)) => {
            return arrays::at(all, path, wanted, |elements| is_in(elements, &Access::Whole, set, None));
        }
        (ColumnData::Json(texts), Access::Path(path)) => choose(texts.len(), wanted, |row| {
            find(texts.get(row), path).and_then(Found::read).is_some_and(|found| set.has_json(&found))
        }),
        (ColumnData::Bool(values), Access::Whole) => select(values, |value| set.has_bool(value)),
        (ColumnData::Int8(values), Access::Whole) => select(values, |value| set.has_int(value.into())),
        (ColumnData::Int16(values), Access::Whole) => select(values, |value| set.has_int(value.into())),
        (ColumnData::Int32(values), Access::Whole) => select(values, |value| set.has_int(value.into())),
        (ColumnData::Int64(values), Access::Whole) => select(values, |value| set.has_int(value)),
        (ColumnData::Float(values), Access::Whole) => select(values, |value| set.has_single(value)),
        (ColumnData::Double(values), Access::Whole) => select(values, |value| set.has_double(value)),
        (ColumnData::VarChar(texts), Access::Whole) => {
            choose(texts.len(), wanted, |row| set.has_text(texts.get(row)))
        }
        _ => return None,
    })
}

/// Whether the array at `path` holds as many of `values` as asked; what is no array holds nothing.
fn contains(text: &str, path: &[Step], quantity: Quantity, values: &[Literal]) -> bool {
    let Some(Found::Array(text)) = find(text, path).and_then(Found::read) else { return false };
    let holds = |value: &Literal| Elements::of(text).any(|element| equals(element, value));
    match quantity {
        Quantity::One => values.iter().any(holds),
        Quantity::Every => values.iter().all(holds),
    }
}

fn number_at(data: &ColumnData, row: usize) -> Option<Number> {
    match data {
        ColumnData::Int8(values) => values.get(row).map(|&value| Number::Int(value.into())),
        ColumnData::Int16(values) => values.get(row).map(|&value| Number::Int(value.into())),
        ColumnData::Int32(values) => values.get(row).map(|&value| Number::Int(value.into())),
        ColumnData::Int64(values) => values.get(row).map(|&value| Number::Int(value.into())),
        ColumnData::Float(values) => values.get(row).map(|&value| Number::Double(value.into())),
        ColumnData::Double(values) => values.get(row).map(|&value| Number::Double(value)),
        _ => None,
    }
}
