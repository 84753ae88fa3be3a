//! What indexes say of one statement.

use std::ops::Range;

use super::buckets::{Buckets, hash_literal};
use super::order::Order;
use super::source::Source;
use super::{Body, ColumnIndex, Form};
use crate::expr::predicate::{Access, ColumnName, Operand, Predicate, Quantity};
use crate::expr::syntax::{Compare, Step};
use crate::expr::{Literal, Rows};
use crate::model::{Bitset, Column, ColumnData, DataType};

/// A list of constants is looked up if each stands for at least so many rows of the column.
const ROWS_PER_CONSTANT: usize = 64;

/// The rows of a column that a statement may be true of, before they are gathered.
#[derive(Debug)]
pub(in crate::expr) struct Answer<'i> {
    /// The column that the statement is about.
    pub column: &'i Column,
    rows: Found<'i>,
    /// How many rows there are, at most.
    pub count: usize,
    /// About how many rows or words of rows gathering them touches.
    pub effort: usize,
    /// Whether the statement is true of all of them; else they have to be looked at.
    pub is_exact: bool,
}

#[derive(Debug)]
enum Found<'i> {
    /// The rows at some places.
    Places(&'i Order, Vec<Range<usize>>),
    /// The rows that have a value and are at no such place.
    Others(&'i Order, Vec<Range<usize>>),
    /// The rows in one of the lists, each of which ascends.
    One(Vec<&'i [u32]>),
    /// The rows in every list.
    Every(Vec<&'i [u32]>),
    /// These rows.
    Listed(Vec<u32>),
}

/// What the cheapest index says of `predicate`; `None` if there is none that can.
pub(in crate::expr) fn find<'i>(predicate: &Predicate, rows: &'i dyn Rows) -> Option<Answer<'i>> {
    if rows.indexes().is_empty() {
        return None;
    }
    let (name, path) = target(predicate)?;
    let column = rows.column(name.id)?;
    let is_fitting = column.data.data_type() == name.data_type.held_as() && column.data.len() == rows.len();
    let of_values = |index: &&std::sync::Arc<ColumnIndex>| index.spec.is_of(name.id, path);
    let fitting =
        rows.indexes().iter().filter(of_values).filter(|index| is_fitting && index.rows == rows.len());
    fitting.filter_map(|index| index.answer(predicate, column)).min_by_key(|answer| answer.effort)
}

/// Which values a statement is about, if indexes can know of it.
fn target(predicate: &Predicate) -> Option<(&ColumnName, &[Step])> {
    match predicate {
        Predicate::Compare { operand, .. }
        | Predicate::In { operand, .. }
        | Predicate::Like { operand, .. } => {
            let Operand { column, access, arithmetic: None } = operand else { return None };
            match access {
                Access::Whole => Some((column, &[])),
                Access::Path(path) if column.data_type == DataType::Json => Some((column, path)),
                Access::Path(_) | Access::Length(_) => None,
            }
        }
        Predicate::Contains { column, path, .. } => Some((column, path)),
        Predicate::Shape { column, .. } => Some((column, &[])),
        _ => None,
    }
}

impl ColumnIndex {
    fn answer<'i>(&'i self, predicate: &Predicate, column: &'i Column) -> Option<Answer<'i>> {
        match &self.body {
            Body::Order(order) => {
                let source = self.spec.source(column)?;
                let looked = Looked { order, source, valid: self.valid };
                match predicate {
                    Predicate::Compare { compare, value, .. } => looked.compare(*compare, value),
                    Predicate::In { set, .. } => looked.is_in(set.values()),
                    Predicate::Like { pattern, .. } => looked.begins(pattern),
                    _ => None,
                }
            }
            Body::Boxes(boxes) => match predicate {
                Predicate::Shape { test, .. } => {
                    let rows = boxes.find(test)?;
                    let count = rows.len();
                    // Of most rows nothing is won, and a list of them takes memory.
                    if count > column.data.len() / 2 {
                        return None;
                    }
                    Some(Answer { column, rows: Found::Listed(rows), count, effort: count, is_exact: false })
                }
                _ => None,
            },
            Body::Buckets(buckets) => match (predicate, self.spec.form) {
                (Predicate::Contains { quantity, values, .. }, Form::Members) => {
                    contains(buckets, column, *quantity, values)
                }
                (Predicate::Like { pattern, .. }, Form::Grams(letters)) => {
                    let pieces = pattern.pieces();
                    let mut hashes = Vec::new();
                    pieces.iter().for_each(|piece| super::add_grams(piece, letters, &mut hashes));
                    (!hashes.is_empty()).then(|| every(buckets, column, hashes))
                }
                (
                    Predicate::Compare { compare: Compare::Equal, value: Literal::Text(text), .. },
                    Form::Grams(letters),
                ) => {
                    let mut hashes = Vec::new();
                    super::add_grams(text, letters, &mut hashes);
                    (!hashes.is_empty()).then(|| every(buckets, column, hashes))
                }
                _ => None,
            },
        }
    }
}

fn contains<'i>(
    buckets: &'i Buckets,
    column: &'i Column,
    quantity: Quantity,
    values: &[Literal],
) -> Option<Answer<'i>> {
    let is_single =
        matches!(&column.data, ColumnData::Array(all) if matches!(all.elements(), ColumnData::Float(_)));
    let hashes: Vec<u64> =
        values.iter().map(|value| hash_literal(value, is_single)).collect::<Option<_>>()?;
    if hashes.is_empty() {
        return None;
    }
    Some(match quantity {
        Quantity::Every => every(buckets, column, hashes),
        Quantity::One => {
            let lists: Vec<&[u32]> = hashes.into_iter().map(|hash| buckets.rows(hash)).collect();
            let count = lists.iter().map(|list| list.len()).sum();
            Answer { column, rows: Found::One(lists), count, effort: count, is_exact: false }
        }
    })
}

/// The rows that are in the buckets of all hashes, of which there is one or more.
fn every<'i>(buckets: &'i Buckets, column: &'i Column, mut hashes: Vec<u64>) -> Answer<'i> {
    hashes.sort_unstable();
    hashes.dedup();
    let mut lists: Vec<&[u32]> = hashes.into_iter().map(|hash| buckets.rows(hash)).collect();
    lists.sort_by_key(|list| list.len());
    let count = lists.first().map_or(0, |list| list.len());
    Answer { column, rows: Found::Every(lists), count, effort: count, is_exact: false }
}

/// An order with the values of its rows.
struct Looked<'i> {
    order: &'i Order,
    source: Source<'i>,
    /// Rows with a value in the column.
    valid: usize,
}

impl<'i> Looked<'i> {
    /// The places of values less than the constant, and of those not greater, as where they end.
    fn bounds(&self, value: &Literal) -> (usize, usize) {
        let order = |row| self.source.order(row, value);
        let less = self.order.partition(|row| order(row).is_some_and(std::cmp::Ordering::is_lt));
        (less, self.order.partition(|row| order(row).is_some_and(std::cmp::Ordering::is_le)))
    }

    fn compare(&self, compare: Compare, value: &Literal) -> Option<Answer<'i>> {
        if !self.source.fits(value) {
            return None;
        }
        let (less, not_greater) = self.bounds(value);
        let (equal, end) = (less..not_greater, self.order.places());
        Some(match compare {
            Compare::Less => self.span(0..less, true),
            Compare::LessEqual => self.span(0..not_greater, true),
            Compare::Greater => self.span(not_greater..end, true),
            Compare::GreaterEqual => self.span(less..end, true),
            Compare::Equal => self.span(equal, true),
            // What cannot be compared is unequal.
            Compare::NotEqual => self.others(Vec::from([equal])),
        })
    }

    fn is_in(&self, values: &[Literal]) -> Option<Answer<'i>> {
        let is_short = values.len().saturating_mul(ROWS_PER_CONSTANT) <= self.source.len();
        if !is_short || !values.iter().all(|value| self.source.fits(value)) {
            return None;
        }
        let place = |value: &Literal| {
            let (less, not_greater) = self.bounds(value);
            less..not_greater
        };
        let mut places: Vec<Range<usize>> =
            values.iter().map(place).filter(|places| !places.is_empty()).collect();
        // Equal constants have equal places, all others none in common.
        places.sort_unstable_by_key(|places| places.start);
        places.dedup();
        Some(self.places(places, true))
    }

    /// The texts that begin as the pattern does.
    fn begins(&self, pattern: &crate::expr::pattern::Pattern) -> Option<Answer<'i>> {
        let (start, is_all) = pattern.start()?;
        let is_known = is_all || pattern.is_exact() || !start.is_empty();
        if !is_known || !self.source.fits(&Literal::Text(String::new())) {
            return None;
        }
        if pattern.is_exact() {
            return self.compare(Compare::Equal, &Literal::Text(start));
        }
        let is_less = |text: &str| text < start.as_str();
        let is_not_behind = |text: &str| text < start.as_str() || text.starts_with(start.as_str());
        let text = |row| self.source.text_at(row);
        let from = self.order.partition(|row| text(row).is_some_and(|text| is_less(&text)));
        let to = self.order.partition(|row| text(row).is_some_and(|text| is_not_behind(&text)));
        Some(self.span(from..to, is_all))
    }

    fn span(&self, places: Range<usize>, is_exact: bool) -> Answer<'i> {
        self.places(Vec::from([places]), is_exact)
    }

    fn places(&self, places: Vec<Range<usize>>, is_exact: bool) -> Answer<'i> {
        let count = places.iter().map(|places| self.order.count(places)).sum();
        // If every value has a place, it may be less work to leave rows out.
        if let [one] = places.as_slice()
            && count > self.valid / 2
            && self.order.total() == self.valid
        {
            let rest = vec![0..one.start, one.end..self.order.places()];
            return Answer { is_exact, ..self.others(rest) };
        }
        let effort = places.iter().map(|places| self.order.effort(places)).sum();
        Answer {
            column: self.source.column(),
            rows: Found::Places(self.order, places),
            count,
            effort,
            is_exact,
        }
    }

    fn others(&self, places: Vec<Range<usize>>) -> Answer<'i> {
        let left_out: usize = places.iter().map(|places| self.order.count(places)).sum();
        let effort = places.iter().map(|places| self.order.effort(places)).sum();
        let count = self.valid.saturating_sub(left_out);
        Answer {
            column: self.source.column(),
            rows: Found::Others(self.order, places),
            count,
            effort,
            is_exact: true,
        }
    }
}

impl Answer<'_> {
    /// The rows as a set.
    pub(in crate::expr) fn set(&self) -> Bitset {
        let len = self.column.data.len();
        let mut chosen = match &self.rows {
            Found::Others(..) => self.column.valid.clone().unwrap_or_else(|| Bitset::all(len)),
            _ => Bitset::none(len),
        };
        match &self.rows {
            Found::Places(order, places) => {
                places.iter().for_each(|places| order.insert(places, &mut chosen))
            }
            Found::Others(order, places) => {
                places.iter().for_each(|places| order.remove(places, &mut chosen))
            }
            Found::One(lists) => {
                lists.iter().copied().flatten().for_each(|&row| chosen.insert(row as usize));
            }
            Found::Every(lists) => in_all(lists).into_iter().for_each(|row| chosen.insert(row)),
            Found::Listed(rows) => rows.iter().for_each(|&row| chosen.insert(row as usize)),
        }
        chosen
    }

    /// Whether the index names the rows, and not those that are left out.
    pub(in crate::expr) const fn is_listed(&self) -> bool {
        !matches!(self.rows, Found::Others(..))
    }

    /// The rows, in no order; none if they are [not listed](Self::is_listed).
    pub(in crate::expr) fn list(&self) -> Vec<usize> {
        let mut rows = Vec::with_capacity(self.count);
        match &self.rows {
            Found::Places(order, places) => places.iter().for_each(|places| order.list(places, &mut rows)),
            Found::Others(..) => {}
            Found::One(lists) => rows.extend(lists.iter().copied().flatten().map(|&row| row as usize)),
            Found::Every(lists) => rows = in_all(lists),
            Found::Listed(listed) => rows.extend(listed.iter().map(|&row| row as usize)),
        }
        rows
    }
}

/// The rows in every list, the shortest of which comes first.
fn in_all(lists: &[&[u32]]) -> Vec<usize> {
    /// So few are looked at at once.
    const FEW: usize = 64;
    let Some((first, rest)) = lists.split_first() else { return Vec::new() };
    let mut rows: Vec<u32> = first.to_vec();
    for list in rest {
        if rows.len() <= FEW {
            break;
        }
        rows.retain(|row| list.binary_search(row).is_ok());
    }
    rows.into_iter().map(|row| row as usize).collect()
}
