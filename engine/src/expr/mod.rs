//! Filters: the text of an expression, checked against a schema, to the set of rows for which it holds.
//!
//! Knows columns in memory, and indexes of them ([`ColumnIndex`]). Knows no segments, no indexes of vectors, no wire types,
//! and nothing waits here.

mod error;
mod evaluate;
mod few;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod json;
mod lexer;
mod literal;
mod lookup;
mod parser;
mod pattern;
mod predicate;
mod resolve;
mod set;
mod shapes;
mod syntax;
#[cfg(test)]
mod tests;
mod wire;
mod zone;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use error::Error;
pub use literal::Literal;
pub use lookup::{ColumnIndex, ColumnIndexSpec};

use crate::base::FieldId;
use crate::calendar::TimeZone;
use crate::expr::predicate::Predicate;
use crate::model::wire::{Damaged, Reader};
use crate::model::{Batch, Bitset, Column, ColumnData, Keys, Schema, Zone};

/// Values of the template variables of an expression, by name.
pub type Templates = BTreeMap<String, Literal>;

/// The values of one field, one a row.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The values.
    pub data: &'a ColumnData,
    /// Which rows have a value; `None` says all of them.
    pub valid: Option<&'a Bitset>,
}

impl<'a> Values<'a> {
    /// Those of `column`.
    const fn of(column: &'a Column) -> Self {
        Self { data: &column.data, valid: column.valid.as_ref() }
    }

    /// Whether row `row` has a value.
    fn is_valid(&self, row: usize) -> bool {
        self.valid.is_none_or(|valid| valid.contains(row))
    }
}

/// Rows that a filter can read, column by column.
pub trait Rows {
    /// How many rows there are.
    fn len(&self) -> usize;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The column of `field` with one value per row; `None` if these rows have none.
    fn column(&self, field: FieldId) -> Option<&Column>;

    /// The values of `field`, one per row; `None` if these rows have none. Rows without columns of their own have values too.
    fn values(&self, field: FieldId) -> Option<Values<'_>> {
        self.column(field).map(Values::of)
    }

    /// Indexes of some of the columns, made of just these rows.
    fn indexes(&self) -> &[Arc<ColumnIndex>] {
        &[]
    }
}

impl Rows for Batch {
    fn len(&self) -> usize {
        self.rows
    }

    fn column(&self, field: FieldId) -> Option<&Column> {
        Batch::column(self, field)
    }
}

/// An expression that was checked against one schema: names are columns, constants are folded.
///
/// `Display` writes a text without template variables that parses over the same schema to an equal filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    predicate: Predicate,
}

/// Parses `text` over `schema`, with `templates` in place of its variables.
///
/// # Errors
/// Every [`Error`] but [`Error::Column`]: the text is not of the language, names no field, or mixes types.
pub fn parse(text: &str, schema: &Schema, templates: &Templates) -> Result<Filter, Error> {
    parse_in(text, schema, templates, &TimeZone::default())
}

/// As [`parse`]; times without an offset are times in `zone`.
///
/// # Errors
/// As for [`parse`].
pub fn parse_in(
    text: &str,
    schema: &Schema,
    templates: &Templates,
    zone: &TimeZone,
) -> Result<Filter, Error> {
    let node = parser::parse(text)?;
    resolve::resolve(text, node, schema, (templates, zone)).map(|predicate| Filter { predicate })
}

impl Filter {
    /// The rows for which the expression is true: neither false nor unknown for want of a value. Each statement is looked up
    /// in an index if there is one and that is cheaper than comparing the rows that are still asked about.
    ///
    /// # Errors
    /// [`Error::Column`] if `rows` lacks one of [`Filter::fields`].
    pub fn evaluate(&self, rows: &dyn Rows) -> Result<Bitset, Error> {
        evaluate::evaluate(&self.predicate, rows)
    }

    /// As [`Self::evaluate`], as a list that ascends, if indexes leave so few rows that no set of all rows is needed; `None` if
    /// they do not.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn evaluate_few(&self, rows: &dyn Rows) -> Result<Option<Vec<usize>>, Error> {
        few::few(&self.predicate, rows)
    }

    /// The elements of the arrays of a struct that the expression lets through, all arrays of `rows` on end, if it chooses
    /// elements (`element_filter`); `None` if it chooses rows alone. Elements of rows that are not `wanted` are not looked at,
    /// and are none of them.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn elements(&self, rows: &dyn Rows, wanted: Option<&Bitset>) -> Result<Option<Bitset>, Error> {
        evaluate::chosen_elements(&self.predicate, rows, wanted)
    }

    /// The struct whose elements the expression chooses, if it does.
    #[must_use]
    pub fn struct_of_elements(&self) -> Option<&str> {
        self.predicate.struct_of_elements()
    }

    /// How many rows [`Self::evaluate_few`] would look at; `None` if it would give no list.
    #[must_use]
    pub fn few_rows(&self, rows: &dyn Rows) -> Option<usize> {
        few::Plan::of(&self.predicate, rows).map(|plan| plan.count())
    }

    /// How the expression is evaluated over `rows`, for people: what is looked up, and what every row is compared for.
    #[must_use]
    pub fn explain(&self, rows: &dyn Rows) -> String {
        few::explain(&self.predicate, rows)
    }

    /// Whether the expression may be true of some of the rows that `zones` tells about; a `false` is certain. `zones` gives
    /// what is known of a column, `None` for nothing.
    #[must_use]
    pub fn may_hold<'a>(&self, zones: &dyn Fn(FieldId) -> Option<&'a Zone>) -> bool {
        zone::may_hold(&self.predicate, zones)
    }

    /// The primary keys, each once, in the order as written, if the expression is exactly a list of them or equality
    /// with one.
    #[must_use]
    pub fn keys(&self, schema: &Schema) -> Option<Keys> {
        self.predicate.keys(schema.primary())
    }

    /// The filter of the rows that match both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let parts = |predicate| match predicate {
            Predicate::All(parts) => parts,
            one => vec![one],
        };
        let predicate = match (self.predicate, other.predicate) {
            (Predicate::Always(true), one) | (one, Predicate::Always(true)) => one,
            (Predicate::Always(false), _) | (_, Predicate::Always(false)) => Predicate::Always(false),
            (left, right) => Predicate::All(parts(left).into_iter().chain(parts(right)).collect()),
        };
        Self { predicate }
    }

    /// Whether it analyses texts, compares shapes or looks at elements of structs: too long a work for a thread that answers
    /// requests, however few rows there are.
    #[must_use]
    pub fn is_long_work(&self) -> bool {
        self.predicate.is_long_work()
    }

    /// Whether the expression is true of every row, whatever it holds.
    #[must_use]
    pub const fn is_always_true(&self) -> bool {
        matches!(self.predicate, Predicate::Always(true))
    }

    /// The filter as bytes, for another node.
    #[must_use]
    pub fn to_bytes(&self) -> bytes::Bytes {
        let mut out = bytes::BytesMut::new();
        wire::put_predicate(&mut out, &self.predicate);
        out.freeze()
    }

    /// The filter that [`Self::to_bytes`] was taken from.
    ///
    /// # Errors
    /// If the bytes are not that, or were made by a later version that knows more. Never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let predicate = wire::read_predicate(&mut reader, 0)?;
        if reader.remaining() == 0 {
            Ok(Self { predicate })
        } else {
            Err(Damaged("it has bytes after its end"))
        }
    }

    /// The columns that the expression reads, ascending, without repeats.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldId> {
        let mut fields = std::collections::BTreeSet::new();
        self.predicate.collect_fields(&mut fields);
        fields.into_iter().collect()
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.predicate.fmt(out)
    }
}
