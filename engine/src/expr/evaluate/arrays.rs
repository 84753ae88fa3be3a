//! What filters say of arrays and of their elements.

use super::{Wanted, choose};
use crate::expr::Literal;
use crate::expr::literal::Number;
use crate::expr::predicate::{Access, Quantity};
use crate::expr::set::as_single;
use crate::expr::syntax::{Compare, Step};
use crate::model::{Arrays, Bitset, ColumnData};

/// The rows whose element at the index that is `path` passes `test`, which is given the elements of those rows, of the wanted
/// ones, that have one. `None` if the path is no index, or if `test` says so.
pub(super) fn at(
    arrays: &Arrays,
    path: &[Step],
    wanted: Wanted<'_>,
    test: impl FnOnce(&ColumnData) -> Option<Bitset>,
) -> Option<Bitset> {
    let [Step::Index(index)] = path else { return None };
    let index = usize::try_from(*index).unwrap_or(usize::MAX);
    let is_wanted = |row| wanted.is_none_or(|wanted| wanted.contains(row));
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for row in (0..arrays.len()).filter(|&row| is_wanted(row)) {
        let range = arrays.range(row);
        if index < range.len() {
            rows.push(row);
            places.push(range.start + index);
        }
    }
    let mut passed = Bitset::none(arrays.len());
    test(&arrays.elements().take(&places))?.iter().for_each(|at| passed.insert(rows[at]));
    Some(passed)
}

/// Compares the lengths of arrays with a number, or whole arrays with a list.
pub(super) fn compare(
    arrays: &Arrays,
    access: &Access,
    compare: Compare,
    value: &Literal,
    wanted: Wanted<'_>,
) -> Option<Bitset> {
    match (access, value) {
        (Access::Length(_), Literal::Int(value)) => Some(choose(arrays.len(), wanted, |row| {
            let length = i64::try_from(arrays.range(row).len()).unwrap_or(i64::MAX);
            compare.accepts(Some(length.cmp(value)))
        })),
        (Access::Whole, Literal::List(values)) => Some(choose(arrays.len(), wanted, |row| {
            let range = arrays.range(row);
            let is_equal = range.len() == values.len()
                && range.zip(values).all(|(at, value)| equals(arrays.elements(), at, value));
            is_equal == (compare == Compare::Equal)
        })),
        _ => None,
    }
}

/// Whether array `row` holds as many of `values` as asked.
pub(super) fn contains(arrays: &Arrays, row: usize, quantity: Quantity, values: &[Literal]) -> bool {
    let holds = |value: &Literal| arrays.range(row).any(|at| equals(arrays.elements(), at, value));
    match quantity {
        Quantity::One => values.iter().any(holds),
        Quantity::Every => values.iter().all(holds),
    }
}

/// Whether the element, which exists, equals the constant; singles are compared as singles.
fn equals(elements: &ColumnData, at: usize, value: &Literal) -> bool {
    match (elements, value) {
        (ColumnData::Bool(all), Literal::Bool(value)) => all[at] == *value,
        (ColumnData::Int8(all), Literal::Int(value)) => i64::from(all[at]) == *value,
        (ColumnData::Int16(all), Literal::Int(value)) => i64::from(all[at]) == *value,
        (ColumnData::Int32(all), Literal::Int(value)) => i64::from(all[at]) == *value,
        (ColumnData::Int64(all), Literal::Int(value)) => all[at] == *value,
        (ColumnData::Float(all), value) => as_single(value) == Some(all[at]),
        (ColumnData::Double(all), value) => {
            let order = value.number().and_then(|value| Number::Double(all[at]).order(value));
            order == Some(std::cmp::Ordering::Equal)
        }
        (ColumnData::VarChar(all), Literal::Text(value)) => all.get(at) == value,
        _ => false,
    }
}
