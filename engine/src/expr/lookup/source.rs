//! What an index is of: the values of a column, or what is at one path of its JSON values.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::expr::Literal;
use crate::expr::json::{Found, find};
use crate::expr::literal::Number;
use crate::expr::set::as_single;
use crate::expr::syntax::Step;
use crate::model::{Column, ColumnData, DataType, Texts};

/// What values in JSON are taken as; what is of another class is not in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Bool,
    Number,
    Text,
}

impl Class {
    /// The class that the constant is of.
    const fn of(value: &Literal) -> Option<Self> {
        match value {
            Literal::Bool(_) => Some(Self::Bool),
            Literal::Int(_) | Literal::Double(_) => Some(Self::Number),
            Literal::Text(_) => Some(Self::Text),
            Literal::List(_) => None,
        }
    }
}

/// Values by row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// Those of a column of numbers, truth values or texts.
    Column(&'a Column),
    /// Those of one class at a path.
    Json { column: &'a Column, texts: &'a Texts, path: &'a [Step], class: Class },
}

impl<'a> Source<'a> {
    /// The column.
    pub(super) const fn column(&self) -> &'a Column {
        match self {
            Self::Column(column) | Self::Json { column, .. } => column,
        }
    }

    /// How many rows the column has.
    pub(super) fn len(&self) -> usize {
        self.column().data.len()
    }

    /// The rows with a value in the column, ascending.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> + use<'a> {
        let column = self.column();
        (0..column.data.len()).filter(|&row| column.is_valid(row))
    }

    fn found(&self, row: usize) -> Option<Found<'a>> {
        match self {
            Self::Column(_) => None,
            Self::Json { texts, path, .. } => find(texts.get(row), path).and_then(Found::read),
        }
    }

    /// The truth value at the path.
    pub(super) fn bool_at(&self, row: usize) -> Option<bool> {
        if let Some(Found::Bool(value)) = self.found(row) { Some(value) } else { None }
    }

    /// The number at the path; nothing for what cannot be ordered.
    pub(super) fn number_at(&self, row: usize) -> Option<Number> {
        match self.found(row) {
            Some(Found::Number(number)) => number.order(number).map(|_| number),
            _ => None,
        }
    }

    /// The text of the column or at the path.
    pub(super) fn text_at(&self, row: usize) -> Option<Cow<'a, str>> {
        if let Self::Column(Column { data: ColumnData::VarChar(texts), .. }) = self {
            return Some(Cow::Borrowed(texts.get(row)));
        }
        if let Some(Found::Text(text)) = self.found(row) { Some(text) } else { None }
    }

    /// The order of two of [`Self::number_at`].
    pub(super) fn order_numbers(&self, left: &Number, right: &Number) -> Ordering {
        left.order(*right).unwrap_or(Ordering::Equal)
    }

    /// Whether every value in an index of this can be compared with the constant.
    pub(super) fn fits(&self, value: &Literal) -> bool {
        let is_nan = matches!(value, Literal::Double(value) if value.is_nan());
        let class = Class::of(value).filter(|_| !is_nan);
        match self {
            Self::Json { class: own, .. } => class == Some(*own),
            Self::Column(column) => match column.data.data_type() {
                DataType::Bool => class == Some(Class::Bool),
                DataType::VarChar => class == Some(Class::Text),
                DataType::Float | DataType::Double => class == Some(Class::Number),
                data_type if data_type.is_integer() => matches!(value, Literal::Int(_)),
                _ => false,
            },
        }
    }

    /// The order of the value of a row to a constant that [fits](Self::fits), as filters have it.
    pub(super) fn order(&self, row: usize, value: &Literal) -> Option<Ordering> {
        let Self::Column(column) = self else { return self.found(row)?.order(value) };
        match (&column.data, value) {
            (ColumnData::Bool(values), Literal::Bool(right)) => Some(values[row].cmp(right)),
            (ColumnData::Int8(values), Literal::Int(right)) => Some(i64::from(values[row]).cmp(right)),
            (ColumnData::Int16(values), Literal::Int(right)) => Some(i64::from(values[row]).cmp(right)),
            (ColumnData::Int32(values), Literal::Int(right)) => Some(i64::from(values[row]).cmp(right)),
            (ColumnData::Int64(values), Literal::Int(right)) => Some(values[row].cmp(right)),
            // Singles are compared as singles.
            (ColumnData::Float(values), right) => values[row].partial_cmp(&as_single(right)?),
            (ColumnData::Double(values), right) => Number::Double(values[row]).order(right.number()?),
            (ColumnData::VarChar(texts), Literal::Text(right)) => Some(texts.get(row).cmp(right.as_str())),
            _ => None,
        }
    }
}
