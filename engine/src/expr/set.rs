//! The many constants of `in`, ready for look-ups.

use std::collections::HashSet;
use std::fmt::{Display, Formatter};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::expr::Literal;
use crate::expr::json::Found;
use crate::expr::literal::Number;
use crate::expr::predicate::Class;

/// Constants as written, with a table to look a value up.
#[derive(Clone, Debug)]
pub(super) struct Set {
    values: Vec<Literal>,
    table: Arc<Table>,
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

#[derive(Debug, Default)]
struct Table {
    bools: [bool; 2],
    ints: HashSet<i64, Quick>,
    /// Bits of numbers that are not whole or not within 64 bits.
    doubles: HashSet<u64, Quick>,
    /// Bits of what the numbers are as singles.
    singles: HashSet<u32, Quick>,
    texts: HashSet<Box<str>, Quick>,
    lists: Vec<Literal>,
}

impl Set {
    /// The set of `values`, which all fit `class`.
    pub(super) fn new(values: Vec<Literal>, class: Class) -> Self {
        let mut table = Table::default();
        match class {
            Class::Int => table.ints.reserve(values.len()),
            Class::Text => table.texts.reserve(values.len()),
            _ => {}
        }
        for value in &values {
            match value {
                Literal::Bool(value) => table.bools[usize::from(*value)] = true,
                Literal::Int(value) => {
                    table.ints.insert(*value);
                }
                Literal::Double(value) => match whole(*value) {
                    Some(value) => {
                        table.ints.insert(value);
                    }
                    None => {
                        table.doubles.insert(value.to_bits());
                    }
                },
                Literal::Text(text) => {
                    table.texts.insert(text.as_str().into());
                }
                Literal::List(_) => table.lists.push(value.clone()),
            }
            if class == Class::Float
                && let Some(single) = as_single(value)
            {
                table.singles.insert(single_bits(single));
            }
        }
        Self { values, table: Arc::new(table) }
    }

    /// The constants as written.
    pub(super) fn values(&self) -> &[Literal] {
        &self.values
    }

    /// Whether the truth value is in the set.
    pub(super) fn has_bool(&self, value: bool) -> bool {
        self.table.bools[usize::from(value)]
    }

    /// Whether the whole number is in the set.
    #[inline]
    pub(super) fn has_int(&self, value: i64) -> bool {
        self.table.ints.contains(&value)
    }

    /// Whether the single is what one of the constants is as a single.
    #[inline]
    pub(super) fn has_single(&self, value: f32) -> bool {
        self.table.singles.contains(&single_bits(value))
    }

    /// Whether the number is in the set.
    #[inline]
    pub(super) fn has_double(&self, value: f64) -> bool {
        match whole(value) {
            Some(value) => self.table.ints.contains(&value),
            None => self.table.doubles.contains(&value.to_bits()),
        }
    }

    /// Whether the text is in the set.
    #[inline]
    pub(super) fn has_text(&self, text: &str) -> bool {
        self.table.texts.contains(text)
    }

    /// Whether the JSON value is in the set.
    pub(super) fn has_json(&self, found: &Found<'_>) -> bool {
        match found {
            Found::Null | Found::Object => false,
            Found::Bool(value) => self.has_bool(*value),
            Found::Number(Number::Int(value)) => i64::try_from(*value).is_ok_and(|value| self.has_int(value)),
            Found::Number(Number::Double(value)) => self.has_double(*value),
            Found::Text(text) => self.has_text(text),
            Found::Array(_) => self.table.lists.iter().any(|list| found.equals(list)),
        }
    }
}

impl Display for Set {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str("[")?;
        for (at, value) in self.values.iter().enumerate() {
            write!(out, "{}{value}", if at == 0 { "" } else { ", " })?;
        }
        out.write_str("]")
    }
}

/// The constant as the single that a `Float` field compares it as.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "Milvus narrows constants for Float fields"
)]
pub(super) fn as_single(value: &Literal) -> Option<f32> {
    match value {
        Literal::Int(value) => Some(*value as f32),
        Literal::Double(value) => Some(*value as f32),
        _ => None,
    }
}

/// Bits that are the same for both zeros.
fn single_bits(value: f32) -> u32 {
    (value + 0.0).to_bits()
}

/// The 64-bit integer that equals the number.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
pub(super) fn whole(value: f64) -> Option<i64> {
    // 2^63: the first double above every 64-bit integer.
    const EDGE: f64 = 9_223_372_036_854_775_808.0;
    ((-EDGE..EDGE).contains(&value) && value.fract() == 0.0).then_some(value as i64)
}

type Quick = BuildHasherDefault<QuickHasher>;

/// A fast hasher for constants that the user himself wrote: no defence against chosen collisions.
#[derive(Debug, Default)]
struct QuickHasher(u64);

impl QuickHasher {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    fn mix(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(Self::FACTOR);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        // The table takes its tag from the highest bits and its slot from the lowest.
        self.0.wrapping_mul(Self::FACTOR)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.mix(xxhash_rust::xxh3::xxh3_64(bytes));
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_i64(&mut self, value: i64) {
        self.mix(value.cast_unsigned());
    }
}
