//! Indexes of scalar columns: the rows that a statement holds for, without a look at the others.
//!
//! An index is a value beside the column that it is of, made once for rows that never change, and says the same as a look at
//! every row: what it finds is exactly what holds ([`Answer::is_exact`]), or a few rows that are compared one by one.
//! It has one of four forms. [`Order`] has the rows by value, for comparisons, `in` and the beginnings of texts; of few
//! values it has a set of rows each. [`Buckets`] have rows by hash, of the elements of arrays or of the pieces of texts.
//! [`Boxes`] have rows by where their shapes are.

mod answer;
mod boxes;
mod buckets;
mod order;
mod source;

pub(super) use answer::{Answer, find};
use boxes::Boxes;
use buckets::{Buckets, add_elements, add_grams, add_json_elements};
use order::Order;
use source::{Class, Source};

use crate::base::FieldId;
use crate::expr::json;
use crate::expr::syntax::Step;
use crate::model::{Column, ColumnData, DataType, Field, IndexDefinition};

/// An index that is to be made of one column: what of its values, and for which statements.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnIndexSpec {
    field: FieldId,
    /// Where the values are inside JSON; empty for the values of the column themselves.
    path: Vec<Step>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Comparisons of whole values.
    Order,
    /// Comparisons of what is of one class at the path.
    JsonOrder(Class),
    /// Elements of arrays.
    Members,
    /// Pieces of texts, of so many letters.
    Grams(usize),
    /// Boxes around shapes.
    Boxes,
}

impl ColumnIndexSpec {
    /// The index that does what the user asked for by `definition` on `field`: its type decides only between whole values
    /// and pieces of texts, the rest follows from the field and from the values. `None` where none is made: of vectors, of
    /// JSON values as a whole, and of types for other fields.
    #[must_use]
    pub fn of(definition: &IndexDefinition, field: &Field) -> Option<Self> {
        if definition.field != field.id || field.data_type.is_searched() {
            return None;
        }
        let kind = definition.index_type.to_ascii_uppercase();
        let letters = || definition.param("min_gram")?.parse().ok().filter(|letters| *letters > 0);
        let (path, form) = match field.data_type {
            DataType::Json => {
                let target = definition.json_target(field)?;
                let form = match target.cast.as_str() {
                    "VARCHAR" if kind == "NGRAM" => Form::Grams(letters()?),
                    "BOOL" => Form::JsonOrder(Class::Bool),
                    "DOUBLE" => Form::JsonOrder(Class::Number),
                    "VARCHAR" => Form::JsonOrder(Class::Text),
                    "ARRAY_BOOL" | "ARRAY_DOUBLE" | "ARRAY_VARCHAR" => Form::Members,
                    _ => return None,
                };
                (steps_of(&target.pointer), form)
            }
            DataType::VarChar if kind == "NGRAM" => (Vec::new(), Form::Grams(letters()?)),
            DataType::Array(_) => (Vec::new(), Form::Members),
            DataType::Geometry => (Vec::new(), Form::Boxes),
            _ if kind == "RTREE" => return None,
            _ => (Vec::new(), Form::Order),
        };
        Some(Self { field: field.id, path, form })
    }

    /// The field whose column it is of.
    #[must_use]
    pub const fn field(&self) -> FieldId {
        self.field
    }

    /// What making the index of `column` takes at most in memory, the index included. Unit: bytes.
    #[must_use]
    pub fn bytes(&self, column: &Column) -> u64 {
        let rows = column.data.len();
        let bytes = match (self.form, &column.data) {
            // Values with their rows, in a vector that doubles as it grows, and then the rows.
            (Form::Order, ColumnData::VarChar(_)) => rows * 56,
            (Form::Order, _) => rows * 36,
            (Form::JsonOrder(_), _) => rows * 104,
            // A box with its row, twice while they are put in order, and the nodes above.
            (Form::Boxes, _) => rows * 144,
            (Form::Members, ColumnData::Array(arrays)) => (arrays.elements().len() + rows * 8) * 4,
            // At most one element or piece begins at each byte.
            (Form::Members | Form::Grams(_), data) => data.memory_bytes() * 4 + rows * 52,
        };
        bytes as u64
    }

    /// Whether the index is of what is at `path` of `field`.
    fn is_of(&self, field: FieldId, path: &[Step]) -> bool {
        self.field == field && self.path == path
    }
}

/// The steps of a JSON pointer. A number is the place of an element, or the key of a member that is called so.
fn steps_of(pointer: &str) -> Vec<Step> {
    let step = |step: &str| {
        let key = step.replace("~1", "/").replace("~0", "~");
        match key.parse::<u64>() {
            Ok(index) if index.to_string() == key => Step::Index(index),
            _ => Step::Key(key),
        }
    };
    pointer.split('/').skip(1).map(step).collect()
}

/// A made index of one column.
#[derive(Debug)]
pub struct ColumnIndex {
    spec: ColumnIndexSpec,
    rows: usize,
    /// Rows with a value in the column.
    valid: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Order(Order),
    Buckets(Buckets),
    Boxes(Boxes),
}

impl ColumnIndex {
    /// Makes the index that `spec` says of `column`. CPU work of about as long as sorting the column takes. `None` if the
    /// column does not fit, or has more rows or elements than 32 bits can number.
    #[must_use]
    pub fn build(spec: &ColumnIndexSpec, column: &Column) -> Option<Self> {
        let rows = column.data.len();
        u32::try_from(rows).ok()?;
        let body = match (spec.form, &column.data) {
            (Form::Members, ColumnData::Array(arrays)) => {
                Body::Buckets(Buckets::build(rows, |row, hashes| {
                    if column.is_valid(row) {
                        add_elements(arrays, row, hashes);
                    }
                })?)
            }
            (Form::Members, ColumnData::Json(texts)) => {
                Body::Buckets(Buckets::build(rows, |row, hashes| {
                    let found = json::find(texts.get(row), &spec.path).filter(|_| column.is_valid(row));
                    found.into_iter().for_each(|text| add_json_elements(text, hashes));
                })?)
            }
            (Form::Boxes, ColumnData::Geometry(shapes)) => Body::Boxes(Boxes::build(column, shapes)),
            (Form::Boxes, _) => return None,
            (Form::Grams(letters), _) => {
                let source = spec.source(column)?;
                Body::Buckets(Buckets::build(rows, |row, hashes| {
                    let text = source.text_at(row).filter(|_| column.is_valid(row));
                    text.iter().for_each(|text| add_grams(text, letters, hashes));
                })?)
            }
            _ => Body::Order(Order::build(&spec.source(column)?)),
        };
        let valid = column.valid.as_ref().map_or(rows, crate::model::Bitset::count);
        Some(Self { spec: spec.clone(), rows, valid, body })
    }

    /// The field whose column it is of.
    #[must_use]
    pub const fn field(&self) -> FieldId {
        self.spec.field
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.body {
                Body::Order(order) => order.memory_bytes(),
                Body::Buckets(buckets) => buckets.memory_bytes(),
                Body::Boxes(boxes) => boxes.memory_bytes(),
            }
    }
}

impl ColumnIndexSpec {
    /// The single values that the index is of; `None` if the column has another type.
    fn source<'a>(&'a self, column: &'a Column) -> Option<Source<'a>> {
        let class = match self.form {
            Form::JsonOrder(class) => class,
            Form::Order | Form::Members | Form::Grams(_) | Form::Boxes => Class::Text,
        };
        match &column.data {
            ColumnData::Json(_) if self.form == Form::Order => None,
            ColumnData::Json(texts) => Some(Source::Json { column, texts, path: &self.path, class }),
            ColumnData::Array(_) | ColumnData::Geometry(_) => None,
            data if data.data_type().is_vector() => None,
            _ => Some(Source::Column(column)),
        }
    }
}
