//! Bits in common and bits that differ: one row of 64-bit words against many.

use super::{Kernels, scalar};

/// A query of `words` words against `count` rows on end.
pub(super) type BitRows =
    unsafe fn(query: *const u64, rows: *const u64, words: usize, count: usize, out: *mut u32);
/// A query of `words` words against rows `ids` of a matrix.
pub(super) type BitGather = unsafe fn(
    query: *const u64,
    matrix: *const u64,
    words: usize,
    ids: *const u32,
    count: usize,
    out: *mut u32,
);

/// The functions over bits of one instruction set.
#[derive(Clone, Copy)]
pub(in crate::index) struct BitTable {
    pub(super) xor_rows: BitRows,
    pub(super) xor_gather: BitGather,
    pub(super) and_rows: BitRows,
    pub(super) and_gather: BitGather,
}

impl Kernels {
    /// How many bits of `query` differ from each row of `rows` (rows as long as `query`), into `out`.
    pub fn differing_rows(&self, query: &[u64], rows: &[u64], out: &mut Vec<u32>) {
        each_row(self.0.bits.xor_rows, query, rows, out);
    }

    /// How many bits are set in `query` and in each row of `rows`, into `out`.
    pub fn common_rows(&self, query: &[u64], rows: &[u64], out: &mut Vec<u32>) {
        each_row(self.0.bits.and_rows, query, rows, out);
    }

    /// As [`Self::differing_rows`], of rows `ids` of `matrix`.
    ///
    /// # Panics
    /// If a row number is past the end of `matrix`: a defect of the caller.
    pub fn differing_gather(&self, query: &[u64], matrix: &[u64], ids: &[u32], out: &mut Vec<u32>) {
        gather(self.0.bits.xor_gather, query, matrix, ids, out);
    }

    /// As [`Self::common_rows`], of rows `ids` of `matrix`.
    ///
    /// # Panics
    /// If a row number is past the end of `matrix`: a defect of the caller.
    pub fn common_gather(&self, query: &[u64], matrix: &[u64], ids: &[u32], out: &mut Vec<u32>) {
        gather(self.0.bits.and_gather, query, matrix, ids, out);
    }
}

fn each_row(kernel: BitRows, query: &[u64], rows: &[u64], out: &mut Vec<u32>) {
    let count = rows.len().checked_div(query.len()).unwrap_or(0);
    out.clear();
    out.resize(count, 0);
    // SAFETY: `rows` has at least `count` rows of `query.len()` words, and `out` has one place for each.
    unsafe { kernel(query.as_ptr(), rows.as_ptr(), query.len(), count, out.as_mut_ptr()) }
}

fn gather(kernel: BitGather, query: &[u64], matrix: &[u64], ids: &[u32], out: &mut Vec<u32>) {
    let rows = matrix.len().checked_div(query.len()).unwrap_or(0);
    assert!(ids.iter().all(|&id| (id as usize) < rows), "a row number is past the end of the matrix");
    out.clear();
    out.resize(ids.len(), 0);
    // SAFETY: every id was checked against the rows that `matrix` has, and `out` has one place per id.
    unsafe {
        kernel(query.as_ptr(), matrix.as_ptr(), query.len(), ids.as_ptr(), ids.len(), out.as_mut_ptr());
    }
}

/// Writes both batch forms of one instruction set from its one-pair function.
macro_rules! bit_forms {
    ($($feature:literal)?; $pair:ident, $gather:ident, $rows:ident) => {
        $(#[target_feature(enable = $feature)])?
        pub(super) unsafe fn $gather(
            query: *const u64,
            matrix: *const u64,
            words: usize,
            ids: *const u32,
            count: usize,
            out: *mut u32,
        ) {
            // SAFETY: the caller gives `count` ids of rows inside the matrix and as many places in `out`.
            unsafe {
                const AHEAD: usize = 4;
                for next in 0..count.min(AHEAD) {
                    prefetch_row(matrix.add(*ids.add(next) as usize * words).cast(), words * 8);
                }
                for place in 0..count {
                    if place + AHEAD < count {
                        prefetch_row(matrix.add(*ids.add(place + AHEAD) as usize * words).cast(), words * 8);
                    }
                    *out.add(place) = $pair(query, matrix.add(*ids.add(place) as usize * words), words);
                }
            }
        }

        $(#[target_feature(enable = $feature)])?
        pub(super) unsafe fn $rows(query: *const u64, rows: *const u64, words: usize, count: usize, out: *mut u32) {
            // SAFETY: the caller gives `count` rows of `words` words and as many places in `out`.
            unsafe {
                for place in 0..count {
                    *out.add(place) = $pair(query, rows.add(place * words), words);
                }
            }
        }
    };
}

pub(super) use bit_forms;

/// The plain forms.
pub(super) const SCALAR: BitTable = BitTable {
    xor_rows: scalar::xor_rows,
    xor_gather: scalar::xor_gather,
    and_rows: scalar::and_rows,
    and_gather: scalar::and_gather,
};
