//! The typed tree: what remains of an expression once names, types and constants are settled.

use std::collections::{BTreeSet, HashSet};
use std::fmt::{Display, Formatter};
use std::sync::Arc;

use crate::base::FieldId;
use crate::calendar::Interval;
use crate::expr::Literal;
use crate::expr::literal::write_text;
use crate::expr::pattern::Pattern;
use crate::expr::set::Set;
use crate::expr::shapes::ShapeTest;
use crate::expr::syntax::{Arithmetic, Compare, Step};
use crate::model::{DataType, Field, Key, Keys};
use crate::text::{Rule, TextMatch};

/// A statement about a row: true, false, or unknown where a value is missing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Predicate {
    /// The same for every row. Only ever the whole tree.
    Always(bool),
    /// The contrary; never of a `Not`.
    Not(Box<Predicate>),
    /// All hold: two or more, none of them an `All`.
    All(Vec<Predicate>),
    /// One holds: two or more, none of them an `Any`.
    Any(Vec<Predicate>),
    /// A value compared with a constant.
    Compare {
        /// The value.
        operand: Operand,
        /// The comparison.
        compare: Compare,
        /// The constant, of the operand's class; anything for a JSON path.
        value: Literal,
    },
    /// Two columns of one class compared.
    CompareColumns {
        /// Left column.
        left: ColumnName,
        /// The comparison.
        compare: Compare,
        /// Right column.
        right: ColumnName,
    },
    /// The text of one column begins with that of another.
    Begins {
        /// The column of texts.
        column: ColumnName,
        /// The column of what they begin with.
        with: ColumnName,
    },
    /// A value is one of many.
    In {
        /// The value, without arithmetic.
        operand: Operand,
        /// The many.
        set: Set,
    },
    /// A text matches a pattern, of `like` or of `=~`.
    Like {
        /// The text, without arithmetic.
        operand: Operand,
        /// The pattern.
        pattern: Pattern,
    },
    /// The row has no value in the column.
    IsNull(ColumnName),
    /// There is something at the path: neither nothing, nor null, nor containers of only these. Never unknown.
    Exists {
        /// The JSON column.
        column: ColumnName,
        /// The path, not empty.
        path: Vec<Step>,
    },
    /// The array at the path holds elements equal to the values.
    Contains {
        /// The JSON column, or a column of arrays.
        column: ColumnName,
        /// The path, empty for the whole value.
        path: Vec<Step>,
        /// How many of the values must be there.
        quantity: Quantity,
        /// The values.
        values: Vec<Literal>,
    },
    /// An instant, so many months and so much more later, compared with a constant one.
    Later {
        /// The column of instants.
        column: ColumnName,
        /// How much later.
        by: Interval,
        /// The comparison.
        compare: Compare,
        /// The constant, in microseconds since 1970.
        value: i64,
    },
    /// A shape is so.
    Shape {
        /// The column of shapes.
        column: ColumnName,
        /// How.
        test: ShapeTest,
    },
    /// So many elements of an array of structs are so.
    Elements {
        /// How many.
        share: Share,
        /// Name of the struct.
        of: Arc<str>,
        /// A part of the struct, which tells how many elements there are.
        part: ColumnName,
        /// What is said of an element: its columns are parts of the struct, by element and not by row.
        inner: Box<Predicate>,
    },
    /// The text has some words, or a phrase.
    TextMatch {
        /// The column of texts.
        column: ColumnName,
        /// What it must have, with the column's analyzer.
        wanted: TextMatch,
    },
}

/// How many of some values an array must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// At least one.
    One,
    /// Every one.
    Every,
}

/// How many of the elements of an array must be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// At least one; and whoever looks at elements is to see these only.
    Filter,
    /// Every one; so it is where there is none.
    All,
    /// At least one.
    Any,
    /// At least so many.
    Least(u64),
    /// At most so many.
    Most(u64),
    /// Just so many.
    Exact(u64),
}

impl Share {
    /// Whether `found` of `all` elements are such a share.
    pub(super) const fn is_met(self, found: usize, all: usize) -> bool {
        let count = found as u64;
        match self {
            Self::Filter | Self::Any => found > 0,
            Self::All => found == all,
            Self::Least(least) => count >= least,
            Self::Most(most) => count <= most,
            Self::Exact(exact) => count == exact,
        }
    }
}

/// A column by its name and number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ColumnName {
    /// Number of the field.
    pub id: FieldId,
    /// Name of the field.
    pub name: Arc<str>,
    /// Its type.
    pub data_type: DataType,
}

impl ColumnName {
    /// The column of `field`.
    pub(super) fn of(field: &Field) -> Self {
        Self { id: field.id, name: field.name.as_str().into(), data_type: field.data_type }
    }
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    /// The column it comes from.
    pub column: ColumnName,
    /// What of the column's value.
    pub access: Access,
    /// What is done to it, with a constant number as the right operand.
    pub arithmetic: Option<(Arithmetic, Literal)>,
}

/// What of a column's value is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// All of it.
    Whole,
    /// What is at a path inside JSON, empty for the whole value; or the one element of an array that an index names.
    Path(Vec<Step>),
    /// Number of elements of the array at a path inside JSON, 0 if there is none; of an array with an empty path.
    Length(Vec<Step>),
}

/// What values can be compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Truth values.
    Bool,
    /// Whole numbers.
    Int,
    /// Numbers.
    Float,
    /// Texts.
    Text,
    /// Whatever is inside JSON.
    Json,
    /// Instants, as whole numbers.
    Time,
    /// A shape.
    Shape,
    /// A whole array.
    Array,
    /// A vector.
    Vector,
}

impl Operand {
    /// A whole JSON value as what is at the empty path, which may be a number, a text or a list.
    pub(super) fn looked_into(mut self) -> Self {
        if self.column.data_type == DataType::Json && self.access == Access::Whole {
            self.access = Access::Path(Vec::new());
        }
        self
    }

    /// What the value can be compared with.
    pub(super) fn class(&self) -> Class {
        match (&self.access, self.value_type()) {
            (Access::Length(_), _) => Class::Int,
            (_, DataType::Bool) => Class::Bool,
            (_, data_type) if data_type.is_integer() => {
                if matches!(self.arithmetic, Some((_, Literal::Double(_)))) {
                    Class::Float
                } else {
                    Class::Int
                }
            }
            (_, data_type) if data_type.is_number() => Class::Float,
            (_, text) if text.is_text() => Class::Text,
            (_, DataType::Json) => Class::Json,
            (_, DataType::Timestamptz) => Class::Time,
            (_, DataType::Geometry) => Class::Shape,
            (_, DataType::Array(_)) => Class::Array,
            _ => Class::Vector,
        }
    }

    /// The type of the value: the column's, or that of an element of it.
    pub(super) const fn value_type(&self) -> DataType {
        match (&self.access, self.column.data_type) {
            (Access::Path(_), DataType::Array(element)) => element.scalar(),
            (_, data_type) => data_type,
        }
    }

    /// Whether the value can stand before `in`.
    fn can_be_listed(&self) -> bool {
        self.arithmetic.is_none() && !matches!(self.access, Access::Length(_)) && self.class() != Class::Array
    }

    /// The type as error texts name it.
    pub(super) fn type_name(&self) -> &'static str {
        match (self.class(), &self.access, &self.arithmetic) {
            (Class::Int, Access::Length(_), _) | (Class::Int, _, Some(_)) => DataType::Int64.name(),
            (Class::Float, _, Some(_)) => DataType::Double.name(),
            _ => self.value_type().name(),
        }
    }
}

impl Predicate {
    /// Levels from here down, 1 for a leaf.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Not(inner) | Self::Elements { inner, .. } => inner.depth() + 1,
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::depth).max().unwrap_or(0) + 1,
            _ => 1,
        }
    }

    /// Adds the columns that are read.
    pub(super) fn collect_fields(&self, fields: &mut BTreeSet<FieldId>) {
        match self {
            Self::Always(_) => {}
            Self::Not(inner) => inner.collect_fields(fields),
            Self::Elements { part, inner, .. } => {
                fields.insert(part.id);
                inner.collect_fields(fields);
            }
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect_fields(fields)),
            Self::Compare { operand, .. } | Self::In { operand, .. } | Self::Like { operand, .. } => {
                fields.insert(operand.column.id);
            }
            Self::CompareColumns { left, right, .. } | Self::Begins { column: left, with: right } => {
                fields.extend([left.id, right.id]);
            }
            Self::IsNull(column)
            | Self::Exists { column, .. }
            | Self::Contains { column, .. }
            | Self::Later { column, .. }
            | Self::Shape { column, .. }
            | Self::TextMatch { column, .. } => {
                fields.insert(column.id);
            }
        }
    }

    /// Whether texts are analysed, shapes compared or elements looked at, which takes long.
    pub(super) fn is_long_work(&self) -> bool {
        match self {
            // An array has any number of elements.
            Self::TextMatch { .. } | Self::Shape { .. } | Self::Elements { .. } => true,
            Self::Not(inner) => inner.is_long_work(),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::is_long_work),
            _ => false,
        }
    }

    /// Whether elements are chosen, not rows alone.
    pub(super) fn has_element_filter(&self) -> bool {
        match self {
            Self::Elements { share, .. } => *share == Share::Filter,
            Self::Not(inner) => inner.has_element_filter(),
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::has_element_filter),
            _ => false,
        }
    }

    /// The struct whose elements are chosen.
    pub(super) fn struct_of_elements(&self) -> Option<&str> {
        match self {
            Self::Elements { share: Share::Filter, of, .. } => Some(of),
            Self::All(parts) | Self::Any(parts) => parts.iter().find_map(Self::struct_of_elements),
            _ => None,
        }
    }

    /// The keys that this lists, each once, if it does nothing else.
    pub(super) fn keys(&self, primary: &Field) -> Option<Keys> {
        let (operand, values) = match self {
            Self::In { operand, set } => (operand, set.values()),
            Self::Compare { operand, compare: Compare::Equal, value } => {
                (operand, std::slice::from_ref(value))
            }
            _ => return None,
        };
        if operand.column.id != primary.id || operand.access != Access::Whole || operand.arithmetic.is_some()
        {
            return None;
        }
        let mut keys = Keys::empty(primary.data_type);
        let (mut numbers, mut texts) = (HashSet::new(), HashSet::new());
        for value in values {
            match (value, primary.data_type) {
                (Literal::Int(key), DataType::Int64) => {
                    if numbers.insert(*key) {
                        keys.push(&Key::Int(*key));
                    }
                }
                (Literal::Text(key), DataType::VarChar) => {
                    if texts.insert(key.as_str()) {
                        keys.push(&Key::Text(Arc::from(key.as_str())));
                    }
                }
                _ => return None,
            }
        }
        Some(keys)
    }

    /// What is compared or looked up.
    const fn listed_operand(&self) -> Option<&Operand> {
        match self {
            Self::Compare { operand, .. } | Self::In { operand, .. } => Some(operand),
            _ => None,
        }
    }

    /// The contrary.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Always(holds) => Self::Always(!holds),
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// All of `parts`, flat and without constants.
    pub(super) fn all(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Always(true) => {}
                Self::Always(false) => return Self::Always(false),
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            0 => Self::Always(true),
            1 => flat.remove(0),
            _ => Self::All(flat),
        }
    }

    /// One of `parts`, flat and without constants; equalities of one value become one look-up.
    pub(super) fn any(parts: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Self::Always(false) => {}
                Self::Always(true) => return Self::Always(true),
                Self::Any(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        let mut flat = join_equalities(flat);
        match flat.len() {
            0 => Self::Always(false),
            1 => flat.remove(0),
            _ => Self::Any(flat),
        }
    }
}

/// Values whose equalities are looked for: a bound on the work for a chain of many different ones.
const JOINED_OPERANDS: usize = 16;

/// Joins `x == 1`, `x == 2`, `x in [3]` of one chain to `x in [1, 2, 3]` at the place of the first.
fn join_equalities(parts: Vec<Predicate>) -> Vec<Predicate> {
    let mut joined: Vec<Predicate> = Vec::with_capacity(parts.len());
    let mut groups: Vec<(usize, Vec<Literal>)> = Vec::new();
    for part in parts {
        let values = match &part {
            Predicate::Compare { operand, compare: Compare::Equal, value } if operand.can_be_listed() => {
                Some(std::slice::from_ref(value))
            }
            Predicate::In { set, .. } => Some(set.values()),
            _ => None,
        };
        let Some(values) = values else {
            joined.push(part);
            continue;
        };
        let group = groups.iter_mut().find(|(at, _)| joined[*at].listed_operand() == part.listed_operand());
        if let Some((_, all)) = group {
            all.extend_from_slice(values);
            continue;
        }
        if groups.len() < JOINED_OPERANDS {
            groups.push((joined.len(), values.to_vec()));
        }
        joined.push(part);
    }
    for (at, values) in groups {
        let is_chain = match &joined[at] {
            Predicate::In { set, .. } => set.values().len() < values.len(),
            _ => values.len() > 1,
        };
        if is_chain && let Some(operand) = joined[at].listed_operand().cloned() {
            let set = Set::new(values, operand.class());
            joined[at] = Predicate::In { operand, set };
        }
    }
    joined
}

impl Display for Predicate {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Always(holds) => write!(out, "{holds}"),
            Self::Not(inner) => write!(out, "not ({inner})"),
            Self::All(parts) => write_joined(parts, " and ", out),
            Self::Any(parts) => write_joined(parts, " or ", out),
            Self::Compare { operand, compare, value } => write!(out, "{operand} {} {value}", compare.sign()),
            Self::CompareColumns { left, compare, right } => {
                write!(out, "{} {} {}", left.name, compare.sign(), right.name)
            }
            Self::Begins { column, with } => write!(out, "starts_with({}, {})", column.name, with.name),
            Self::In { operand, set } => write!(out, "{operand} in {set}"),
            Self::Like { operand, pattern } => {
                write!(out, "{operand} {} ", if pattern.is_regex() { "=~" } else { "like" })?;
                write_text(pattern.text(), out)
            }
            Self::IsNull(column) => write!(out, "{} is null", column.name),
            Self::Exists { column, path } => {
                write!(out, "exists {}", column.name)?;
                write_path(path, out)
            }
            Self::Contains { column, path, quantity, values } => {
                let name = if *quantity == Quantity::One { "json_contains_any" } else { "json_contains_all" };
                write!(out, "{name}({}", column.name)?;
                write_path(path, out)?;
                out.write_str(", [")?;
                for (at, value) in values.iter().enumerate() {
                    write!(out, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                out.write_str("])")
            }
            Self::Later { column, by, compare, value } => {
                write!(out, "{} + INTERVAL '{by}' {} {value}", column.name, compare.sign())
            }
            Self::Shape { column, test } => test.write(&column.name, out),
            Self::Elements { share, of, inner, .. } => {
                let (name, threshold) = match share {
                    Share::Filter => ("element_filter", None),
                    Share::All => ("match_all", None),
                    Share::Any => ("match_any", None),
                    Share::Least(count) => ("match_least", Some(count)),
                    Share::Most(count) => ("match_most", Some(count)),
                    Share::Exact(count) => ("match_exact", Some(count)),
                };
                write!(out, "{name}({of}, {inner}")?;
                if let Some(count) = threshold {
                    write!(out, ", threshold={count}")?;
                }
                out.write_str(")")
            }
            Self::TextMatch { column, wanted } => {
                let name = match wanted.rule() {
                    Rule::Words { .. } => "text_match",
                    Rule::Phrase { .. } => "phrase_match",
                };
                write!(out, "{name}({}, ", column.name)?;
                write_text(wanted.text(), out)?;
                match wanted.rule() {
                    Rule::Words { least } => write!(out, ", minimum_should_match={least})"),
                    Rule::Phrase { slop } => write!(out, ", {slop})"),
                }
            }
        }
    }
}

impl Display for Operand {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        match &self.access {
            Access::Whole => out.write_str(&self.column.name)?,
            Access::Path(path) => {
                out.write_str(&self.column.name)?;
                write_path(path, out)?;
            }
            Access::Length(path) => {
                write!(out, "array_length({}", self.column.name)?;
                write_path(path, out)?;
                out.write_str(")")?;
            }
        }
        match &self.arithmetic {
            Some((operator, value)) => write!(out, " {} {value}", operator.sign()),
            None => Ok(()),
        }
    }
}

fn write_joined(parts: &[Predicate], between: &str, out: &mut Formatter<'_>) -> std::fmt::Result {
    for (at, part) in parts.iter().enumerate() {
        write!(out, "{}({part})", if at == 0 { "" } else { between })?;
    }
    Ok(())
}

fn write_path(path: &[Step], out: &mut Formatter<'_>) -> std::fmt::Result {
    for step in path {
        out.write_str("[")?;
        match step {
            Step::Key(key) => write_text(key, out)?,
            Step::Index(index) => write!(out, "{index}")?,
        }
        out.write_str("]")?;
    }
    Ok(())
}
