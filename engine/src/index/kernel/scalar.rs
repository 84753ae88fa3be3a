//! The plain forms: what every SIMD form must agree with, and the form of processors without one.

use super::bits::bit_forms;
use super::{HIGH_PART, Table, batch_forms, bits, code_forms, narrow_forms, plain_tile};

pub(in crate::index) const TABLE: Table = Table {
    name: "scalar",
    dot,
    l2,
    dot_gather,
    l2_gather,
    dot_rows,
    l2_rows,
    dot_tile,
    l2_tile,
    code_gather,
    code_rows,
    byte_gather,
    nibble_gather,
    bits: bits::SCALAR,
};

/// How many sums run side by side, so that the compiler may keep them in one register.
const LANES: usize = 8;

unsafe fn dot(left: *const f32, right: *const f32, dim: usize) -> f32 {
    // SAFETY: the caller gives two runs of `dim` floats.
    let (left, right) =
        unsafe { (std::slice::from_raw_parts(left, dim), std::slice::from_raw_parts(right, dim)) };
    sum(left, right, |left, right| left * right)
}

unsafe fn l2(left: *const f32, right: *const f32, dim: usize) -> f32 {
    // SAFETY: the caller gives two runs of `dim` floats.
    let (left, right) =
        unsafe { (std::slice::from_raw_parts(left, dim), std::slice::from_raw_parts(right, dim)) };
    sum(left, right, |left, right| (left - right) * (left - right))
}

fn sum(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (left_parts, left_rest) = left.as_chunks::<LANES>();
    let (right_parts, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left_parts.iter().zip(right_parts) {
        for lane in 0..LANES {
            lanes[lane] += term(left[lane], right[lane]);
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(&left, &right)| term(left, right)).sum();
    lanes.iter().sum::<f32>() + rest
}

#[inline]
fn prefetch_row(_row: *const u8, _bytes: usize) {}

batch_forms!(; dot, dot_gather, dot_rows);
batch_forms!(; l2, l2_gather, l2_rows);

plain_tile!(dot_rows, dot_tile);
plain_tile!(l2_rows, l2_tile);

unsafe fn code_dot(high: *const i8, low: *const i8, codes: *const u8, stride: usize) -> f32 {
    // SAFETY: the caller gives three runs of `stride` bytes.
    let (high, low, codes) = unsafe {
        (
            std::slice::from_raw_parts(high, stride),
            std::slice::from_raw_parts(low, stride),
            std::slice::from_raw_parts(codes, stride),
        )
    };
    let (mut highs, mut lows) = (0i32, 0i32);
    for ((&high, &low), &code) in high.iter().zip(low).zip(codes) {
        highs += i32::from(high) * i32::from(code);
        lows += i32::from(low) * i32::from(code);
    }
    highs as f32 * HIGH_PART + lows as f32
}

code_forms!(; code_dot, code_gather, code_rows);

unsafe fn byte_dot(query: *const i8, codes: *const u8, stride: usize) -> i32 {
    // SAFETY: the caller gives two runs of `stride` bytes.
    let (query, codes) =
        unsafe { (std::slice::from_raw_parts(query, stride), std::slice::from_raw_parts(codes, stride)) };
    query.iter().zip(codes).map(|(&weight, &code)| i32::from(weight) * i32::from(code)).sum()
}

unsafe fn nibble_dot(query: *const i8, codes: *const u8, stride: usize) -> i32 {
    // SAFETY: the caller gives `stride` bytes of codes and twice as many of the query.
    let (query, codes) =
        unsafe { (std::slice::from_raw_parts(query, stride * 2), std::slice::from_raw_parts(codes, stride)) };
    let mut sum = 0;
    for (weights, codes) in query.chunks_exact(128).zip(codes.chunks_exact(64)) {
        let (lower, upper) = weights.split_at(64);
        for ((&lower, &upper), &code) in lower.iter().zip(upper).zip(codes) {
            sum += i32::from(lower) * i32::from(code & 15) + i32::from(upper) * i32::from(code >> 4);
        }
    }
    sum
}

narrow_forms!(; byte_dot, byte_gather);
narrow_forms!(; nibble_dot, nibble_gather);

unsafe fn xor(left: *const u64, right: *const u64, words: usize) -> u32 {
    // SAFETY: the caller gives two runs of `words` words.
    let (left, right) =
        unsafe { (std::slice::from_raw_parts(left, words), std::slice::from_raw_parts(right, words)) };
    left.iter().zip(right).map(|(left, right)| (left ^ right).count_ones()).sum()
}

unsafe fn and(left: *const u64, right: *const u64, words: usize) -> u32 {
    // SAFETY: the caller gives two runs of `words` words.
    let (left, right) =
        unsafe { (std::slice::from_raw_parts(left, words), std::slice::from_raw_parts(right, words)) };
    left.iter().zip(right).map(|(left, right)| (left & right).count_ones()).sum()
}

bit_forms!(; xor, xor_gather, xor_rows);
bit_forms!(; and, and_gather, and_rows);
