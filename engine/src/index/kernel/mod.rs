//! Distance kernels and the aligned memory they read. The only place of the engine with `unsafe` code, but for
//! the mapping of files (`disk::Scratch`).
//!
//! [`Kernels::detect`] picks the widest instruction set the processor has, once per object that computes distances.
//! Every SIMD form has a scalar twin, and a property test compares the two. Lengths and row numbers are checked here,
//! so that callers stay safe code.

#![expect(
    unsafe_code,
    reason = "SIMD loads, prefetches and aligned buffers; each wrapper checks its bounds first"
)]

mod bits;
#[cfg(target_arch = "x86_64")]
mod bits_x86;
mod buffer;
mod narrow;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use buffer::{AlignedBytes, AlignedFloats, SharedFloats};
pub use narrow::prefetch_code;

/// One vector against one vector of `dim` components.
type Pair = unsafe fn(left: *const f32, right: *const f32, dim: usize) -> f32;
/// One vector against rows `ids` of a matrix.
type Gather = unsafe fn(
    query: *const f32,
    matrix: *const f32,
    dim: usize,
    ids: *const u32,
    count: usize,
    out: *mut f32,
);
/// One vector against `count` rows on end.
type Rows = unsafe fn(query: *const f32, rows: *const f32, dim: usize, count: usize, out: *mut f32);
/// Four vectors against `count` rows on end; `out` is four runs of `out_stride`.
type Tile = unsafe fn(
    queries: [*const f32; 4],
    rows: *const f32,
    dim: usize,
    count: usize,
    out: *mut f32,
    out_stride: usize,
);
/// A split integer query against rows `ids` of byte codes.
type CodeGather = unsafe fn(
    high: *const i8,
    low: *const i8,
    codes: *const u8,
    stride: usize,
    ids: *const u32,
    count: usize,
    out: *mut f32,
);
/// A split integer query against `count` rows of byte codes on end.
type CodeRows =
    unsafe fn(high: *const i8, low: *const i8, codes: *const u8, stride: usize, count: usize, out: *mut f32);

/// The functions of one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Table {
    name: &'static str,
    dot: Pair,
    l2: Pair,
    dot_gather: Gather,
    l2_gather: Gather,
    dot_rows: Rows,
    l2_rows: Rows,
    dot_tile: Tile,
    l2_tile: Tile,
    code_gather: CodeGather,
    code_rows: CodeRows,
    byte_gather: narrow::NarrowGather,
    nibble_gather: narrow::NarrowGather,
    bits: bits::BitTable,
}

/// Distance functions of this processor. Small and cheap to copy; carried by the objects that compute distances.
#[derive(Clone, Copy)]
pub struct Kernels(Table);

impl std::fmt::Debug for Kernels {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Kernels({})", self.0.name)
    }
}

/// Weight of the high part of a split integer query, see [`Kernels::code_gather`].
pub const HIGH_PART: f32 = 128.0;

impl Kernels {
    /// The widest instruction set of this processor.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self(scalar::TABLE))
    }

    /// Every instruction set this processor has, narrowest first; the first is always the scalar one.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self(scalar::TABLE)];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("fma")
                && std::is_x86_feature_detected!("popcnt")
            {
                found.push(Self(x86::avx2::TABLE));
                if std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512vnni")
                {
                    found.push(Self(x86::avx512::TABLE_VNNI));
                } else if std::is_x86_feature_detected!("avx512f") {
                    found.push(Self(x86::avx512::TABLE));
                }
                if std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512vpopcntdq")
                    && let Some(Self(widest)) = found.last_mut()
                {
                    widest.bits = bits_x86::avx512::TABLE;
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(neon::TABLE));
        }
        found
    }

    /// The name of the instruction set, for logs and benches.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.0.name
    }

    /// Inner product of two vectors of equal length; 0 if their lengths differ.
    #[must_use]
    pub fn dot(&self, left: &[f32], right: &[f32]) -> f32 {
        if left.len() != right.len() {
            return 0.0;
        }
        // SAFETY: both point to `left.len()` readable floats.
        unsafe { (self.0.dot)(left.as_ptr(), right.as_ptr(), left.len()) }
    }

    /// Squared Euclidean distance of two vectors of equal length; infinite if their lengths differ.
    #[must_use]
    pub fn l2(&self, left: &[f32], right: &[f32]) -> f32 {
        if left.len() != right.len() {
            return f32::INFINITY;
        }
        // SAFETY: both point to `left.len()` readable floats.
        unsafe { (self.0.l2)(left.as_ptr(), right.as_ptr(), left.len()) }
    }

    /// Inner product of `query` with each row `ids` of `matrix` (row-major, rows as long as `query`), into `out`.
    ///
    /// # Panics
    /// If a row number is past the end of `matrix`: a defect of the caller.
    pub fn dot_gather(&self, query: &[f32], matrix: &[f32], ids: &[u32], out: &mut Vec<f32>) {
        gather(self.0.dot_gather, query, matrix, ids, out);
    }

    /// Squared Euclidean distance of `query` to each row `ids` of `matrix`, into `out`.
    ///
    /// # Panics
    /// If a row number is past the end of `matrix`: a defect of the caller.
    pub fn l2_gather(&self, query: &[f32], matrix: &[f32], ids: &[u32], out: &mut Vec<f32>) {
        gather(self.0.l2_gather, query, matrix, ids, out);
    }

    /// Inner product of `query` with each row of `rows` (row-major, rows as long as `query`), into `out`.
    pub fn dot_rows(&self, query: &[f32], rows: &[f32], out: &mut Vec<f32>) {
        each_row(self.0.dot_rows, query, rows, out);
    }

    /// Squared Euclidean distance of `query` to each row of `rows`, into `out`.
    pub fn l2_rows(&self, query: &[f32], rows: &[f32], out: &mut Vec<f32>) {
        each_row(self.0.l2_rows, query, rows, out);
    }

    /// Inner products of four queries with each row of `rows`, reading each row once. `out` becomes four runs of one
    /// product per row, in the order of `queries`. All queries must be equally long; `out` is left empty if not.
    pub fn dot_tile(&self, queries: [&[f32]; 4], rows: &[f32], out: &mut Vec<f32>) {
        tile(self.0.dot_tile, queries, rows, out);
    }

    /// As [`Self::dot_tile`], with squared Euclidean distances.
    pub fn l2_tile(&self, queries: [&[f32]; 4], rows: &[f32], out: &mut Vec<f32>) {
        tile(self.0.l2_tile, queries, rows, out);
    }

    /// Product of a split integer query with each row `ids` of byte codes, into `out`: the sum over the bytes of a row
    /// of `code * (HIGH_PART * high + low)`. Rows may have up to 65,536 bytes before a 32-bit sum could overflow.
    ///
    /// The query is two runs of as many bytes as a row has (`high.len()` is the row's length and a multiple of 64).
    ///
    /// # Panics
    /// If a row number is past the end of `codes` or the query's halves differ in length: defects of the caller.
    pub fn code_gather(
        &self,
        high: &[i8],
        low: &[i8],
        codes: &AlignedBytes,
        ids: &[u32],
        out: &mut Vec<f32>,
    ) {
        let stride = high.len();
        assert!(
            stride == low.len() && stride > 0 && stride.is_multiple_of(64),
            "a query is not as long as a code row"
        );
        let rows = codes.as_slice().len() / stride;
        assert!(ids.iter().all(|&id| (id as usize) < rows), "a row number is past the end of the codes");
        out.clear();
        out.resize(ids.len(), 0.0);
        // SAFETY: the query has `stride` bytes twice, every id was checked, and `out` has one place per id.
        unsafe {
            let codes = codes.as_slice().as_ptr();
            let out = out.as_mut_ptr();
            (self.0.code_gather)(high.as_ptr(), low.as_ptr(), codes, stride, ids.as_ptr(), ids.len(), out);
        }
    }

    /// As [`Self::code_gather`], for `count` rows on end from row `start`; rows past the end are left out.
    ///
    /// # Panics
    /// If the query's halves differ in length: a defect of the caller.
    pub fn code_rows(
        &self,
        high: &[i8],
        low: &[i8],
        codes: &AlignedBytes,
        start: usize,
        count: usize,
        out: &mut Vec<f32>,
    ) {
        let stride = high.len();
        assert!(
            stride == low.len() && stride > 0 && stride.is_multiple_of(64),
            "a query is not as long as a code row"
        );
        let rows = codes.as_slice().len() / stride;
        let start = start.min(rows);
        let count = count.min(rows - start);
        out.clear();
        out.resize(count, 0.0);
        let run = &codes.as_slice()[start * stride..];
        // SAFETY: `run` has at least `count` rows of `stride` bytes, and `out` has one place for each.
        unsafe {
            (self.0.code_rows)(high.as_ptr(), low.as_ptr(), run.as_ptr(), stride, count, out.as_mut_ptr());
        }
    }
}

fn gather(kernel: Gather, query: &[f32], matrix: &[f32], ids: &[u32], out: &mut Vec<f32>) {
    let dim = query.len();
    let rows = matrix.len().checked_div(dim).unwrap_or(0);
    assert!(ids.iter().all(|&id| (id as usize) < rows), "a row number is past the end of the matrix");
    out.clear();
    out.resize(ids.len(), 0.0);
    // SAFETY: every id was checked against the rows that `matrix` has, and `out` has one place per id.
    unsafe { kernel(query.as_ptr(), matrix.as_ptr(), dim, ids.as_ptr(), ids.len(), out.as_mut_ptr()) }
}

fn each_row(kernel: Rows, query: &[f32], rows: &[f32], out: &mut Vec<f32>) {
    let dim = query.len();
    let count = rows.len().checked_div(dim).unwrap_or(0);
    out.clear();
    out.resize(count, 0.0);
    // SAFETY: `count * dim <= rows.len()`, and `out` has `count` places.
    unsafe { kernel(query.as_ptr(), rows.as_ptr(), dim, count, out.as_mut_ptr()) }
}

fn tile(kernel: Tile, queries: [&[f32]; 4], rows: &[f32], out: &mut Vec<f32>) {
    out.clear();
    let dim = queries[0].len();
    if dim == 0 || queries.iter().any(|query| query.len() != dim) {
        return;
    }
    let count = rows.len() / dim;
    out.resize(count * 4, 0.0);
    // SAFETY: four queries of `dim` floats, `count * dim <= rows.len()`, and `out` has four runs of `count`.
    unsafe { kernel(queries.map(<[f32]>::as_ptr), rows.as_ptr(), dim, count, out.as_mut_ptr(), count) }
}

/// Asks the processor to have the first bytes of `values` at hand soon. Never faults.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is a hint and reads nothing; SSE is part of the x86-64 baseline.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = values.as_ptr().cast::<i8>();
        let mut offset = 0;
        while offset < std::mem::size_of_val(values) {
            _mm_prefetch::<_MM_HINT_T0>(start.add(offset));
            offset += 64;
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Writes the batch forms of one instruction set from its one-pair function. `prefetch_row` hints one whole row.
macro_rules! batch_forms {
    ($($feature:literal)?; $pair:ident, $gather:ident, $rows:ident) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $gather(
            query: *const f32,
            matrix: *const f32,
            dim: usize,
            ids: *const u32,
            count: usize,
            out: *mut f32,
        ) {
            // SAFETY: the caller gives `count` ids of rows inside the matrix and as many places in `out`.
            unsafe {
                const AHEAD: usize = 2;
                for next in 0..count.min(AHEAD) {
                    prefetch_row(matrix.add(*ids.add(next) as usize * dim).cast(), dim * 4);
                }
                for place in 0..count {
                    if place + AHEAD < count {
                        prefetch_row(matrix.add(*ids.add(place + AHEAD) as usize * dim).cast(), dim * 4);
                    }
                    *out.add(place) = $pair(query, matrix.add(*ids.add(place) as usize * dim), dim);
                }
            }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn $rows(query: *const f32, rows: *const f32, dim: usize, count: usize, out: *mut f32) {
            // SAFETY: the caller gives `count` rows of `dim` floats and as many places in `out`.
            unsafe {
                for place in 0..count {
                    *out.add(place) = $pair(query, rows.add(place * dim), dim);
                }
            }
        }
    };
}

/// Writes the batch forms over byte codes from a one-row function.
macro_rules! code_forms {
    ($($feature:literal)?; $pair:ident, $gather:ident, $rows:ident) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $gather(
            high: *const i8,
            low: *const i8,
            codes: *const u8,
            stride: usize,
            ids: *const u32,
            count: usize,
            out: *mut f32,
        ) {
            // SAFETY: the caller gives `count` ids of rows inside the codes and as many places in `out`.
            unsafe {
                const AHEAD: usize = 4;
                for next in 0..count.min(AHEAD) {
                    prefetch_row(codes.add(*ids.add(next) as usize * stride), stride);
                }
                for place in 0..count {
                    if place + AHEAD < count {
                        prefetch_row(codes.add(*ids.add(place + AHEAD) as usize * stride), stride);
                    }
                    *out.add(place) = $pair(high, low, codes.add(*ids.add(place) as usize * stride), stride);
                }
            }
        }

        $(#[target_feature(enable = $feature)])?
        unsafe fn $rows(
            high: *const i8,
            low: *const i8,
            codes: *const u8,
            stride: usize,
            count: usize,
            out: *mut f32,
        ) {
            // SAFETY: the caller gives `count` rows of `stride` bytes and as many places in `out`.
            unsafe {
                for place in 0..count {
                    *out.add(place) = $pair(high, low, codes.add(place * stride), stride);
                }
            }
        }
    };
}

/// Writes a tile form that reads the rows once per query, for sets without a form of their own.
macro_rules! plain_tile {
    ($rows:ident, $tile:ident) => {
        unsafe fn $tile(
            queries: [*const f32; 4],
            rows: *const f32,
            dim: usize,
            count: usize,
            out: *mut f32,
            out_stride: usize,
        ) {
            for (number, query) in queries.into_iter().enumerate() {
                // SAFETY: the caller gives `count` rows and four runs of `out_stride >= count` places.
                unsafe { $rows(query, rows, dim, count, out.add(number * out_stride)) };
            }
        }
    };
}

use narrow::narrow_forms;
use {batch_forms, code_forms, plain_tile};
