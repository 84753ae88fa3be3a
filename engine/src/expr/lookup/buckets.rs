//! Rows by hashes of what each of them has several of: elements of arrays, pieces of texts.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::expr::Literal;
use crate::expr::json::{Elements, Found};
use crate::expr::literal::Number;
use crate::expr::set::{as_single, whole};
use crate::model::{Arrays, ColumnData};

const FEWEST: usize = 1 << 8;
const MOST: usize = 1 << 20;

/// The rows of each bucket, ascending, each once. What hashes alike is in one bucket, so that a bucket has all rows that have
/// something, and maybe others.
#[derive(Debug)]
pub(super) struct Buckets {
    /// Where the rows of each bucket end; a power of two of them.
    ends: Vec<u32>,
    rows: Vec<u32>,
}

impl Buckets {
    /// The buckets of `len` rows, of which `each` adds the hashes to a list. Asks twice for each row. `None` if rows and what
    /// they have are too many to be counted.
    pub(super) fn build(len: usize, each: impl Fn(usize, &mut Vec<u64>)) -> Option<Self> {
        let buckets = len.saturating_mul(2).next_power_of_two().clamp(FEWEST, MOST);
        let mut hashes = Vec::new();
        let mut visit = |row: usize, add: &mut dyn FnMut(usize, usize)| {
            hashes.clear();
            each(row, &mut hashes);
            hashes.iter_mut().for_each(|hash| *hash &= buckets as u64 - 1);
            hashes.sort_unstable();
            hashes.dedup();
            hashes.iter().for_each(|&hash| add(hash as usize, row));
        };
        let mut counts = vec![0_usize; buckets];
        (0..len).for_each(|row| visit(row, &mut |bucket, _| counts[bucket] += 1));
        let mut starts = Vec::with_capacity(buckets);
        let mut total = 0;
        for count in counts {
            starts.push(u32::try_from(total).ok()?);
            total += count;
        }
        u32::try_from(total.max(len)).ok()?;
        let mut rows = vec![0_u32; total];
        (0..len).for_each(|row| {
            visit(row, &mut |bucket, row| {
                rows[starts[bucket] as usize] = row as u32;
                starts[bucket] += 1;
            });
        });
        // What began as the start of each bucket has moved to its end.
        Some(Self { ends: starts, rows })
    }

    /// The rows that have something of this hash, and maybe others, ascending.
    pub(super) fn rows(&self, hash: u64) -> &[u32] {
        let bucket = (hash & (self.ends.len() as u64 - 1)) as usize;
        let start = bucket.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.rows.get(start as usize..self.ends[bucket] as usize).unwrap_or_default()
    }

    /// Bytes of memory held.
    pub(super) const fn memory_bytes(&self) -> usize {
        (self.ends.len() + self.rows.len()) * 4
    }
}

/// The hash of a text; also of a piece of one.
pub(super) fn hash_text(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// Hashes of each run of `letters` letters of a text.
pub(super) fn add_grams(text: &str, letters: usize, hashes: &mut Vec<u64>) {
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).skip(letters.max(1));
    let starts = text.char_indices().map(|(at, _)| at);
    hashes.extend(starts.zip(ends).map(|(start, end)| hash_text(&text[start..end])));
}

fn hash_bool(value: bool) -> u64 {
    xxh3_64_with_seed(&[u8::from(value)], 1)
}

fn hash_int(value: i64) -> u64 {
    xxh3_64_with_seed(&value.to_le_bytes(), 2)
}

/// Equal numbers have one hash, however they are written.
fn hash_double(value: f64) -> u64 {
    match whole(value) {
        Some(value) => hash_int(value),
        None => xxh3_64_with_seed(&value.to_bits().to_le_bytes(), 3),
    }
}

/// The hash of a constant that elements are to equal; `None` for a list. `is_single` if the elements are singles.
pub(super) fn hash_literal(value: &Literal, is_single: bool) -> Option<u64> {
    match value {
        Literal::Bool(value) => Some(hash_bool(*value)),
        Literal::Int(_) | Literal::Double(_) if is_single => {
            as_single(value).map(|value| hash_double(value.into()))
        }
        Literal::Int(value) => Some(hash_int(*value)),
        Literal::Double(value) => Some(hash_double(*value)),
        Literal::Text(text) => Some(hash_text(text)),
        Literal::List(_) => None,
    }
}

/// Hashes of the elements of array `row`.
pub(super) fn add_elements(arrays: &Arrays, row: usize, hashes: &mut Vec<u64>) {
    let range = arrays.range(row);
    match arrays.elements() {
        ColumnData::Bool(all) => hashes.extend(range.map(|at| hash_bool(all[at]))),
        ColumnData::Int8(all) => hashes.extend(range.map(|at| hash_int(all[at].into()))),
        ColumnData::Int16(all) => hashes.extend(range.map(|at| hash_int(all[at].into()))),
        ColumnData::Int32(all) => hashes.extend(range.map(|at| hash_int(all[at].into()))),
        ColumnData::Int64(all) => hashes.extend(range.map(|at| hash_int(all[at]))),
        ColumnData::Float(all) => hashes.extend(range.map(|at| hash_double(all[at].into()))),
        ColumnData::Double(all) => hashes.extend(range.map(|at| hash_double(all[at]))),
        ColumnData::VarChar(all) => hashes.extend(range.map(|at| hash_text(all.get(at)))),
        ColumnData::Json(_)
        | ColumnData::Geometry(_)
        | ColumnData::Array(_)
        | ColumnData::FloatVector { .. }
        | ColumnData::BinaryVector { .. }
        | ColumnData::SparseVector(_) => {}
    }
}

/// Hashes of the single values among the elements of the JSON array `text`.
pub(super) fn add_json_elements(text: &str, hashes: &mut Vec<u64>) {
    let hash = |element: &str| match Found::read(element)? {
        Found::Bool(value) => Some(hash_bool(value)),
        Found::Number(Number::Int(value)) => i64::try_from(value).ok().map(hash_int),
        Found::Number(Number::Double(value)) => Some(hash_double(value)),
        Found::Text(text) => Some(hash_text(&text)),
        Found::Null | Found::Object | Found::Array(_) => None,
    };
    hashes.extend(Elements::of(text).filter_map(hash));
}
