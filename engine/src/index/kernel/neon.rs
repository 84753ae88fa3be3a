//! Forms for aarch64: NEON, 4 floats at a time.

use super::{Table, batch_forms, plain_tile, scalar};
use std::arch::aarch64::*;

pub(in crate::index) const TABLE: Table = Table {
    name: "neon",
    dot,
    l2,
    dot_gather,
    l2_gather,
    dot_rows,
    l2_rows,
    dot_tile,
    l2_tile,
    ..scalar::TABLE
};

#[inline]
fn prefetch_row(_row: *const u8, _bytes: usize) {}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot(left: *const f32, right: *const f32, dim: usize) -> f32 {
    let mut sums = [vdupq_n_f32(0.0); 4];
    let mut at = 0;
    // SAFETY: every load ends at or before `dim`, which the caller vouches for.
    unsafe {
        while at + 16 <= dim {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let from = at + lane * 4;
                *sum = vfmaq_f32(*sum, vld1q_f32(left.add(from)), vld1q_f32(right.add(from)));
            }
            at += 16;
        }
        let mut result = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
        while at < dim {
            result += *left.add(at) * *right.add(at);
            at += 1;
        }
        result
    }
}

#[inline]
#[target_feature(enable = "neon")]
unsafe fn l2(left: *const f32, right: *const f32, dim: usize) -> f32 {
    let mut sums = [vdupq_n_f32(0.0); 4];
    let mut at = 0;
    // SAFETY: every load ends at or before `dim`, which the caller vouches for.
    unsafe {
        while at + 16 <= dim {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let from = at + lane * 4;
                let gap = vsubq_f32(vld1q_f32(left.add(from)), vld1q_f32(right.add(from)));
                *sum = vfmaq_f32(*sum, gap, gap);
            }
            at += 16;
        }
        let mut result = vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])));
        while at < dim {
            let gap = *left.add(at) - *right.add(at);
            result += gap * gap;
            at += 1;
        }
        result
    }
}

batch_forms!("neon"; dot, dot_gather, dot_rows);
batch_forms!("neon"; l2, l2_gather, l2_rows);

plain_tile!(dot_rows, dot_tile);
plain_tile!(l2_rows, l2_tile);
