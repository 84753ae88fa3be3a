//! Forms for x86-64: AVX2 with FMA, and AVX-512.

use super::{HIGH_PART, Table, batch_forms, bits_x86, code_forms, narrow_forms};
use std::arch::x86_64::*;

/// Hints all cache lines of one row.
#[inline]
pub(super) fn prefetch_row(row: *const u8, bytes: usize) {
    let mut offset = 0;
    while offset < bytes {
        // SAFETY: a prefetch reads nothing and never faults; SSE is part of the x86-64 baseline.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(offset).cast()) };
        offset += 64;
    }
}

/// AVX2 with FMA: 8 floats at a time.
pub(in crate::index) mod avx2 {
    use super::*;

    pub(in crate::index) const TABLE: Table = Table {
        name: "avx2",
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
        bits: bits_x86::avx2::TABLE,
    };

    #[target_feature(enable = "avx2,fma")]
    fn total(sums: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn dot(left: *const f32, right: *const f32, dim: usize) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut at = 0;
        // SAFETY: every load ends at or before `dim`, which the caller vouches for.
        unsafe {
            while at + 32 <= dim {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let from = at + lane * 8;
                    *sum = _mm256_fmadd_ps(
                        _mm256_loadu_ps(left.add(from)),
                        _mm256_loadu_ps(right.add(from)),
                        *sum,
                    );
                }
                at += 32;
            }
            while at + 8 <= dim {
                sums[0] =
                    _mm256_fmadd_ps(_mm256_loadu_ps(left.add(at)), _mm256_loadu_ps(right.add(at)), sums[0]);
                at += 8;
            }
            let sums = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
            let mut result = total(sums);
            while at < dim {
                result += *left.add(at) * *right.add(at);
                at += 1;
            }
            result
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn l2(left: *const f32, right: *const f32, dim: usize) -> f32 {
        let mut sums = [_mm256_setzero_ps(); 4];
        let mut at = 0;
        // SAFETY: every load ends at or before `dim`, which the caller vouches for.
        unsafe {
            while at + 32 <= dim {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let from = at + lane * 8;
                    let gap =
                        _mm256_sub_ps(_mm256_loadu_ps(left.add(from)), _mm256_loadu_ps(right.add(from)));
                    *sum = _mm256_fmadd_ps(gap, gap, *sum);
                }
                at += 32;
            }
            while at + 8 <= dim {
                let gap = _mm256_sub_ps(_mm256_loadu_ps(left.add(at)), _mm256_loadu_ps(right.add(at)));
                sums[0] = _mm256_fmadd_ps(gap, gap, sums[0]);
                at += 8;
            }
            let sums = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
            let mut result = total(sums);
            while at < dim {
                let gap = *left.add(at) - *right.add(at);
                result += gap * gap;
                at += 1;
            }
            result
        }
    }

    batch_forms!("avx2,fma"; dot, dot_gather, dot_rows);
    batch_forms!("avx2,fma"; l2, l2_gather, l2_rows);

    macro_rules! tile {
        ($name:ident, |$query:ident, $row:ident, $sum:ident| $step:expr, |$one:ident, $other:ident| $term:expr) => {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn $name(
                queries: [*const f32; 4],
                rows: *const f32,
                dim: usize,
                count: usize,
                out: *mut f32,
                out_stride: usize,
            ) {
                // SAFETY: every load ends at or before `dim` of a row or query, every store is in its run of `out`.
                unsafe {
                    for number in 0..count {
                        let row = rows.add(number * dim);
                        let mut sums = [_mm256_setzero_ps(); 4];
                        let mut at = 0;
                        while at + 8 <= dim {
                            let $row = _mm256_loadu_ps(row.add(at));
                            for (sum, query) in sums.iter_mut().zip(queries) {
                                let ($query, $sum) = (_mm256_loadu_ps(query.add(at)), *sum);
                                *sum = $step;
                            }
                            at += 8;
                        }
                        for (place, (sum, query)) in sums.into_iter().zip(queries).enumerate() {
                            let mut result = total(sum);
                            for rest in at..dim {
                                let ($one, $other) = (*query.add(rest), *row.add(rest));
                                result += $term;
                            }
                            *out.add(place * out_stride + number) = result;
                        }
                    }
                }
            }
        };
    }

    tile!(dot_tile, |query, row, sum| _mm256_fmadd_ps(query, row, sum), |one, other| one * other);
    tile!(
        l2_tile,
        |query, row, sum| {
            let gap = _mm256_sub_ps(query, row);
            _mm256_fmadd_ps(gap, gap, sum)
        },
        |one, other| (one - other) * (one - other)
    );

    #[target_feature(enable = "avx2,fma")]
    unsafe fn code_dot(high: *const i8, low: *const i8, codes: *const u8, stride: usize) -> f32 {
        let mut highs = _mm256_setzero_si256();
        let mut lows = _mm256_setzero_si256();
        let mut at = 0;
        // SAFETY: `stride` is a multiple of 64, and all three runs have that many bytes.
        unsafe {
            while at < stride {
                // 16 bits per product: 8-bit products of unsigned by signed bytes would saturate when paired.
                let code = _mm256_cvtepu8_epi16(_mm_loadu_si128(codes.add(at).cast()));
                let upper = _mm256_cvtepi8_epi16(_mm_loadu_si128(high.add(at).cast()));
                let lower = _mm256_cvtepi8_epi16(_mm_loadu_si128(low.add(at).cast()));
                highs = _mm256_add_epi32(highs, _mm256_madd_epi16(code, upper));
                lows = _mm256_add_epi32(lows, _mm256_madd_epi16(code, lower));
                at += 16;
            }
        }
        total(_mm256_fmadd_ps(_mm256_cvtepi32_ps(highs), _mm256_set1_ps(HIGH_PART), _mm256_cvtepi32_ps(lows)))
    }

    code_forms!("avx2,fma"; code_dot, code_gather, code_rows);

    #[target_feature(enable = "avx2,fma")]
    fn whole(sums: __m256i) -> i32 {
        let half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b1110>(half));
        _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<1>(pair)))
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn byte_dot(query: *const i8, codes: *const u8, stride: usize) -> i32 {
        let mut sums = _mm256_setzero_si256();
        let mut at = 0;
        // SAFETY: `stride` is a multiple of 64, and both runs have that many bytes.
        unsafe {
            while at < stride {
                // 16 bits per product, as in `code_dot`.
                let code = _mm256_cvtepu8_epi16(_mm_loadu_si128(codes.add(at).cast()));
                let weight = _mm256_cvtepi8_epi16(_mm_loadu_si128(query.add(at).cast()));
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(code, weight));
                at += 16;
            }
        }
        whole(sums)
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn nibble_dot(query: *const i8, codes: *const u8, stride: usize) -> i32 {
        let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
        let mut sums = _mm256_setzero_si256();
        let mut at = 0;
        // SAFETY: `stride` is a multiple of 64, and the query has two bytes for each.
        unsafe {
            while at < stride {
                let weights = query.add(at / 64 * 128 + at % 64);
                let code = _mm256_loadu_si256(codes.add(at).cast());
                // Two products of at most 15 * 128 each, four to a sum: 16 bits hold them.
                let lower =
                    _mm256_maddubs_epi16(_mm256_and_si256(code, low), _mm256_loadu_si256(weights.cast()));
                let upper = _mm256_maddubs_epi16(
                    _mm256_and_si256(_mm256_srli_epi16::<4>(code), low),
                    _mm256_loadu_si256(weights.add(64).cast()),
                );
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_add_epi16(lower, upper), ones));
                at += 32;
            }
        }
        whole(sums)
    }

    narrow_forms!("avx2,fma"; byte_dot, byte_gather);
    narrow_forms!("avx2,fma"; nibble_dot, nibble_gather);
}

/// AVX-512: 16 floats at a time, the rest under a mask; byte codes with VNNI where the processor has it.
pub(in crate::index) mod avx512 {
    use super::*;

    pub(in crate::index) const TABLE: Table = Table {
        name: "avx512",
        dot,
        l2,
        dot_gather,
        l2_gather,
        dot_rows,
        l2_rows,
        dot_tile,
        l2_tile,
        ..avx2::TABLE
    };

    pub(in crate::index) const TABLE_VNNI: Table =
        Table { name: "avx512+vnni", code_gather, code_rows, byte_gather, nibble_gather, ..TABLE };

    /// The mask of the last `rest` (under 16) lanes.
    #[inline]
    const fn tail(rest: usize) -> __mmask16 {
        ((1u32 << rest) - 1) as __mmask16
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn dot(left: *const f32, right: *const f32, dim: usize) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        let mut at = 0;
        // SAFETY: every load ends at or before `dim`, or masks out what is past it.
        unsafe {
            while at + 64 <= dim {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let from = at + lane * 16;
                    *sum = _mm512_fmadd_ps(
                        _mm512_loadu_ps(left.add(from)),
                        _mm512_loadu_ps(right.add(from)),
                        *sum,
                    );
                }
                at += 64;
            }
            while at + 16 <= dim {
                sums[0] =
                    _mm512_fmadd_ps(_mm512_loadu_ps(left.add(at)), _mm512_loadu_ps(right.add(at)), sums[0]);
                at += 16;
            }
            if at < dim {
                let mask = tail(dim - at);
                let values = _mm512_maskz_loadu_ps(mask, left.add(at));
                sums[1] = _mm512_fmadd_ps(values, _mm512_maskz_loadu_ps(mask, right.add(at)), sums[1]);
            }
        }
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn l2(left: *const f32, right: *const f32, dim: usize) -> f32 {
        let mut sums = [_mm512_setzero_ps(); 4];
        let mut at = 0;
        // SAFETY: every load ends at or before `dim`, or masks out what is past it.
        unsafe {
            while at + 64 <= dim {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let from = at + lane * 16;
                    let gap =
                        _mm512_sub_ps(_mm512_loadu_ps(left.add(from)), _mm512_loadu_ps(right.add(from)));
                    *sum = _mm512_fmadd_ps(gap, gap, *sum);
                }
                at += 64;
            }
            while at + 16 <= dim {
                let gap = _mm512_sub_ps(_mm512_loadu_ps(left.add(at)), _mm512_loadu_ps(right.add(at)));
                sums[0] = _mm512_fmadd_ps(gap, gap, sums[0]);
                at += 16;
            }
            if at < dim {
                let mask = tail(dim - at);
                let values = _mm512_maskz_loadu_ps(mask, left.add(at));
                let gap = _mm512_sub_ps(values, _mm512_maskz_loadu_ps(mask, right.add(at)));
                sums[1] = _mm512_fmadd_ps(gap, gap, sums[1]);
            }
        }
        _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])))
    }

    batch_forms!("avx512f"; dot, dot_gather, dot_rows);
    batch_forms!("avx512f"; l2, l2_gather, l2_rows);

    /// Four queries by two rows: eight sums stay in registers, six loads feed eight multiply-adds.
    macro_rules! tile {
        ($name:ident, $pair:ident, |$query:ident, $row:ident, $sum:ident| $step:expr) => {
            #[target_feature(enable = "avx512f")]
            unsafe fn $name(
                queries: [*const f32; 4],
                rows: *const f32,
                dim: usize,
                count: usize,
                out: *mut f32,
                out_stride: usize,
            ) {
                // SAFETY: every load ends at or before `dim` of a row or query or masks out what is past it, and every
                // store is inside its run of `out`.
                unsafe {
                    let mut number = 0;
                    while number + 2 <= count {
                        let pair = [rows.add(number * dim), rows.add((number + 1) * dim)];
                        let mut sums = [[_mm512_setzero_ps(); 2]; 4];
                        let mut at = 0;
                        while at < dim {
                            let mask = if at + 16 <= dim { 0xffff } else { tail(dim - at) };
                            let values = pair.map(|row| _mm512_maskz_loadu_ps(mask, row.add(at)));
                            for (sums, query) in sums.iter_mut().zip(queries) {
                                let $query = _mm512_maskz_loadu_ps(mask, query.add(at));
                                for (sum, $row) in sums.iter_mut().zip(values) {
                                    let $sum = *sum;
                                    *sum = $step;
                                }
                            }
                            at += 16;
                        }
                        for (place, sums) in sums.into_iter().enumerate() {
                            *out.add(place * out_stride + number) = _mm512_reduce_add_ps(sums[0]);
                            *out.add(place * out_stride + number + 1) = _mm512_reduce_add_ps(sums[1]);
                        }
                        number += 2;
                    }
                    if number < count {
                        for (place, query) in queries.into_iter().enumerate() {
                            *out.add(place * out_stride + number) = $pair(query, rows.add(number * dim), dim);
                        }
                    }
                }
            }
        };
    }

    tile!(dot_tile, dot, |query, row, sum| _mm512_fmadd_ps(query, row, sum));
    tile!(l2_tile, l2, |query, row, sum| {
        let gap = _mm512_sub_ps(query, row);
        _mm512_fmadd_ps(gap, gap, sum)
    });

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn code_dot(high: *const i8, low: *const i8, codes: *const u8, stride: usize) -> f32 {
        let mut highs = _mm512_setzero_si512();
        let mut lows = _mm512_setzero_si512();
        let mut at = 0;
        // SAFETY: `stride` is a multiple of 64, and all three runs have that many bytes.
        unsafe {
            while at < stride {
                let code = _mm512_loadu_si512(codes.add(at).cast());
                highs = _mm512_dpbusd_epi32(highs, code, _mm512_loadu_si512(high.add(at).cast()));
                lows = _mm512_dpbusd_epi32(lows, code, _mm512_loadu_si512(low.add(at).cast()));
                at += 64;
            }
        }
        let highs = _mm512_cvtepi32_ps(highs);
        _mm512_reduce_add_ps(_mm512_fmadd_ps(highs, _mm512_set1_ps(HIGH_PART), _mm512_cvtepi32_ps(lows)))
    }

    code_forms!("avx512f,avx512bw,avx512vnni"; code_dot, code_gather, code_rows);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn byte_dot(query: *const i8, codes: *const u8, stride: usize) -> i32 {
        let mut sums = [_mm512_setzero_si512(); 2];
        let mut at = 0;
        // SAFETY: `stride` is a multiple of 64, and both runs have that many bytes.
        unsafe {
            while at + 128 <= stride {
                for (half, sum) in sums.iter_mut().enumerate() {
                    let code = _mm512_loadu_si512(codes.add(at + half * 64).cast());
                    let weight = _mm512_loadu_si512(query.add(at + half * 64).cast());
                    *sum = _mm512_dpbusd_epi32(*sum, code, weight);
                }
                at += 128;
            }
            if at < stride {
                let code = _mm512_loadu_si512(codes.add(at).cast());
                sums[0] = _mm512_dpbusd_epi32(sums[0], code, _mm512_loadu_si512(query.add(at).cast()));
            }
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn nibble_dot(query: *const i8, codes: *const u8, stride: usize) -> i32 {
        let low = _mm512_set1_epi8(15);
        let (mut lower, mut upper) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        let mut at = 0;
        // SAFETY: `stride` is a multiple of 64, and the query has two bytes for each.
        unsafe {
            while at < stride {
                let code = _mm512_loadu_si512(codes.add(at).cast());
                let weights = query.add(at * 2);
                let below = _mm512_and_si512(code, low);
                let above = _mm512_and_si512(_mm512_srli_epi16::<4>(code), low);
                lower = _mm512_dpbusd_epi32(lower, below, _mm512_loadu_si512(weights.cast()));
                upper = _mm512_dpbusd_epi32(upper, above, _mm512_loadu_si512(weights.add(64).cast()));
                at += 64;
            }
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(lower, upper))
    }

    narrow_forms!("avx512f,avx512bw,avx512vnni"; byte_dot, byte_gather);
    narrow_forms!("avx512f,avx512bw,avx512vnni"; nibble_dot, nibble_gather);
}
