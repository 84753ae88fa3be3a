//! Short codes against a query of one byte per component: what a walk over a graph reads.
//!
//! A walk needs distances that are good enough to turn the right way, from as few cache lines as possible; what it finds is
//! compared again with the full vectors. So the query is one byte per component here, where an exact scan
//! ([`Kernels::code_rows`]) has two.

use super::{AlignedBytes, Kernels, prefetch};

/// A query of one byte per component against rows `ids` of codes; the sums, as floats, into `out`.
pub(super) type NarrowGather = unsafe fn(
    query: *const i8,
    codes: *const u8,
    stride: usize,
    ids: *const u32,
    count: usize,
    out: *mut f32,
);

impl Kernels {
    /// The sum over the bytes of each row `ids` of `code * weight`, into `out`. `query` is as long as a row, a multiple of
    /// 64. Rows may have up to 65,536 bytes before a 32-bit sum could overflow.
    ///
    /// # Panics
    /// If a row number is past the end of `codes`: a defect of the caller.
    pub fn byte_gather(&self, query: &[i8], codes: &AlignedBytes, ids: &[u32], out: &mut Vec<f32>) {
        self.narrow(self.0.byte_gather, query, query.len(), codes, ids, out);
    }

    /// The same over rows of half-byte codes. Of a run of 128 weights of `query` the first 64 belong to the lower halves of
    /// the run's 64 bytes, and the others to the upper ones.
    ///
    /// # Panics
    /// If a row number is past the end of `codes`: a defect of the caller.
    pub fn nibble_gather(&self, query: &[i8], codes: &AlignedBytes, ids: &[u32], out: &mut Vec<f32>) {
        assert!(query.len().is_multiple_of(128), "a query is not two weights for each byte of a code row");
        self.narrow(self.0.nibble_gather, query, query.len() / 2, codes, ids, out);
    }

    fn narrow(
        &self,
        kernel: NarrowGather,
        query: &[i8],
        stride: usize,
        codes: &AlignedBytes,
        ids: &[u32],
        out: &mut Vec<f32>,
    ) {
        assert!(stride > 0 && stride.is_multiple_of(64), "a query is not as long as a code row");
        let rows = codes.as_slice().len() / stride;
        assert!(ids.iter().all(|&id| (id as usize) < rows), "a row number is past the end of the codes");
        out.clear();
        out.resize(ids.len(), 0.0);
        // SAFETY: the query is as long as the kernel reads, every id was checked, and `out` has one place per id.
        unsafe {
            let codes = codes.as_slice().as_ptr();
            kernel(query.as_ptr(), codes, stride, ids.as_ptr(), ids.len(), out.as_mut_ptr());
        }
    }
}

/// Asks the processor to have row `row` of `codes` at hand soon.
#[inline]
pub fn prefetch_code(codes: &AlignedBytes, stride: usize, row: u32) {
    if let Some(row) = codes.as_slice().get(row as usize * stride..).and_then(|rest| rest.get(..stride)) {
        prefetch(row);
    }
}

/// Writes the gather form of one instruction set from its one-row function.
macro_rules! narrow_forms {
    ($($feature:literal)?; $one:ident, $gather:ident) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $gather(
            query: *const i8,
            codes: *const u8,
            stride: usize,
            ids: *const u32,
            count: usize,
            out: *mut f32,
        ) {
            // SAFETY: the caller gives `count` ids of rows inside the codes and as many places in `out`.
            unsafe {
                const AHEAD: usize = 6;
                for next in 0..count.min(AHEAD) {
                    prefetch_row(codes.add(*ids.add(next) as usize * stride), stride);
                }
                for place in 0..count {
                    if place + AHEAD < count {
                        prefetch_row(codes.add(*ids.add(place + AHEAD) as usize * stride), stride);
                    }
                    *out.add(place) = $one(query, codes.add(*ids.add(place) as usize * stride), stride) as f32;
                }
            }
        }
    };
}

pub(super) use narrow_forms;
