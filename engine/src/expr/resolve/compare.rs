//! Comparisons: which operands go together.

use super::{Typed, class_of, fits};
use crate::calendar::Interval;
use crate::expr::literal::order;
use crate::expr::predicate::{Access, Class, ColumnName, Operand, Predicate};
use crate::expr::syntax::Compare;
use crate::expr::{Error, Literal};
use crate::model::DataType;

/// Which side of a comparison the constant is on: error texts keep the order of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

pub(super) fn compare_typed(left: Typed, compare: Compare, right: Typed) -> Result<Typed, Error> {
    let mismatch = Error::Comparison { left: left.type_name(), right: right.type_name() };
    let (left, right) = (instant_of(left, &right)?, right);
    let (right, left) = (instant_of(right, &left)?, left);
    match (left, right) {
        (Typed::Later(column, by), Typed::Literal(Literal::Int(value))) => {
            later(column, by, compare, value).map(Typed::Predicate)
        }
        (Typed::Literal(Literal::Int(value)), Typed::Later(column, by)) => {
            later(column, by, compare.flipped(), value).map(Typed::Predicate)
        }
        (Typed::Literal(left), Typed::Literal(right)) => {
            let is_equality = matches!(compare, Compare::Equal | Compare::NotEqual);
            let order = match (&left, &right) {
                (Literal::List(_), Literal::List(_)) if is_equality => {
                    (left == right).then_some(std::cmp::Ordering::Equal)
                }
                _ => Some(order(&left, &right).ok_or(mismatch)?),
            };
            Ok(Typed::Literal(Literal::Bool(compare.accepts(order))))
        }
        (Typed::Operand(operand), Typed::Literal(value)) => {
            compare_operand(operand, compare, value, Side::Right).map(Typed::Predicate)
        }
        (Typed::Literal(value), Typed::Operand(operand)) => {
            compare_operand(operand, compare.flipped(), value, Side::Left).map(Typed::Predicate)
        }
        (Typed::Operand(left), Typed::Operand(right)) => {
            compare_columns(left, compare, right, mismatch).map(Typed::Predicate)
        }
        _ => Err(mismatch),
    }
}

/// A constant instant as the number that columns of instants are compared with.
fn instant_of(one: Typed, other: &Typed) -> Result<Typed, Error> {
    let Typed::Instant(instant) = one else { return Ok(one) };
    match other {
        Typed::Operand(operand) if operand.class() != Class::Time => {
            Err(Error::NotTimestamptz { field: operand.column.name.to_string() })
        }
        Typed::Operand(_) | Typed::Later(..) => Ok(Typed::Literal(Literal::Int(instant))),
        _ => Ok(Typed::Instant(instant)),
    }
}

/// An instant so much later, compared with a constant. Without months the constant may as well be earlier.
fn later(column: ColumnName, by: Interval, compare: Compare, value: i64) -> Result<Predicate, Error> {
    if by.months != 0 {
        return Ok(Predicate::Later { column, by, compare, value });
    }
    let operand = Operand { column, access: Access::Whole, arithmetic: None };
    let value = Literal::Int(value.saturating_sub(by.micros));
    compare_operand(operand, compare, value, Side::Right)
}

pub(super) fn compare_operand(
    operand: Operand,
    compare: Compare,
    value: Literal,
    side: Side,
) -> Result<Predicate, Error> {
    let operand = operand.looked_into();
    let class = operand.class();
    let is_equality = matches!(compare, Compare::Equal | Compare::NotEqual);
    let is_fitting = match (class, &value) {
        (Class::Array, _) if !is_equality => return Err(Error::WholeArray),
        (Class::Array, Literal::List(values)) => {
            if let DataType::Array(element) = operand.column.data_type
                && let Some(value) = values.iter().find(|value| !fits(value, class_of(element.scalar())))
            {
                return Err(Error::ListCast { text: value.to_string(), to: element.scalar().name() });
            }
            true
        }
        (Class::Int, Literal::Double(_)) => {
            return Err(Error::Cast { to: operand.type_name(), value: value.wire_text() });
        }
        (Class::Json, value) if operand.arithmetic.is_some() => value.number().is_some(),
        (Class::Json, Literal::List(_)) => is_equality,
        (class, value) => fits(value, class),
    };
    if is_fitting {
        return Ok(Predicate::Compare { operand, compare, value });
    }
    let (field, constant) = (operand.type_name(), value.type_name());
    let (left, right) = if side == Side::Right { (field, constant) } else { (constant, field) };
    Err(Error::Comparison { left, right })
}

fn compare_columns(
    left: Operand,
    compare: Compare,
    right: Operand,
    mismatch: Error,
) -> Result<Predicate, Error> {
    if left.arithmetic.is_some() || right.arithmetic.is_some() {
        return Err(Error::ArithmeticFields);
    }
    let is_json = |operand: &Operand| operand.column.data_type == DataType::Json;
    if is_json(&left) || is_json(&right) {
        return Err(Error::TwoJsonColumns);
    }
    let is_array = |operand: &Operand| matches!(operand.column.data_type, DataType::Array(_));
    if is_array(&left) || is_array(&right) {
        return Err(Error::WholeArray);
    }
    let is_number = |class| matches!(class, Class::Int | Class::Float);
    let is_fitting = match (left.class(), right.class()) {
        (Class::Bool, Class::Bool) | (Class::Text, Class::Text) | (Class::Time, Class::Time) => true,
        (left, right) => is_number(left) && is_number(right),
    };
    if !is_fitting {
        return Err(mismatch);
    }
    Ok(Predicate::CompareColumns { left: left.column, compare, right: right.column })
}
