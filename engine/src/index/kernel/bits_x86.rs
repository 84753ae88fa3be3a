//! Bits on x86-64: bytes looked up four bits at a time (AVX2), or counted by an instruction of their own (AVX-512).

use std::arch::x86_64::*;

use super::bits::{BitTable, bit_forms};
use super::x86::prefetch_row;

/// AVX2: 32 bytes at a time.
pub(in crate::index) mod avx2 {
    use super::*;

    pub(in crate::index) const TABLE: BitTable = BitTable { xor_rows, xor_gather, and_rows, and_gather };

    /// How many bits are set, in four sums of 64 bits.
    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn ones(bits: __m256i) -> __m256i {
        let counts = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let low = _mm256_set1_epi8(15);
        let lower = _mm256_shuffle_epi8(counts, _mm256_and_si256(bits, low));
        let upper = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16::<4>(bits), low));
        _mm256_sad_epu8(_mm256_add_epi8(lower, upper), _mm256_setzero_si256())
    }

    #[inline]
    #[target_feature(enable = "avx2,popcnt")]
    fn total(sums: __m256i) -> u32 {
        let pair = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        (_mm_cvtsi128_si64(pair) + _mm_extract_epi64::<1>(pair)) as u32
    }

    macro_rules! pair {
        ($name:ident, $both:ident, $one:expr) => {
            #[inline]
            #[target_feature(enable = "avx2,popcnt")]
            unsafe fn $name(left: *const u64, right: *const u64, words: usize) -> u32 {
                let mut sums = _mm256_setzero_si256();
                let (mut at, mut rest) = (0, 0);
                // SAFETY: every load ends at or before `words`, which the caller vouches for.
                unsafe {
                    while at + 4 <= words {
                        let bits = $both(
                            _mm256_loadu_si256(left.add(at).cast()),
                            _mm256_loadu_si256(right.add(at).cast()),
                        );
                        sums = _mm256_add_epi64(sums, ones(bits));
                        at += 4;
                    }
                    while at < words {
                        let one: fn(u64, u64) -> u64 = $one;
                        rest += one(*left.add(at), *right.add(at)).count_ones();
                        at += 1;
                    }
                }
                total(sums) + rest
            }
        };
    }

    pair!(xor, _mm256_xor_si256, |left, right| left ^ right);
    pair!(and, _mm256_and_si256, |left, right| left & right);
    bit_forms!("avx2,popcnt"; xor, xor_gather, xor_rows);
    bit_forms!("avx2,popcnt"; and, and_gather, and_rows);
}

/// AVX-512 with VPOPCNTDQ: 64 bytes at a time, the rest under a mask.
pub(in crate::index) mod avx512 {
    use super::*;

    pub(in crate::index) const TABLE: BitTable = BitTable { xor_rows, xor_gather, and_rows, and_gather };

    macro_rules! pair {
        ($name:ident, $both:ident) => {
            #[inline]
            #[target_feature(enable = "avx512f,avx512vpopcntdq")]
            unsafe fn $name(left: *const u64, right: *const u64, words: usize) -> u32 {
                let mut sums = _mm512_setzero_si512();
                let mut at = 0;
                // SAFETY: every load ends at or before `words`, the last under a mask of what is left.
                unsafe {
                    while at + 8 <= words {
                        let bits = $both(
                            _mm512_loadu_si512(left.add(at).cast()),
                            _mm512_loadu_si512(right.add(at).cast()),
                        );
                        sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(bits));
                        at += 8;
                    }
                    if at < words {
                        let mask = ((1u32 << (words - at)) - 1) as __mmask8;
                        let bits = $both(
                            _mm512_maskz_loadu_epi64(mask, left.add(at).cast()),
                            _mm512_maskz_loadu_epi64(mask, right.add(at).cast()),
                        );
                        sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(bits));
                    }
                }
                _mm512_reduce_add_epi64(sums) as u32
            }
        };
    }

    pair!(xor, _mm512_xor_si512);
    pair!(and, _mm512_and_si512);
    bit_forms!("avx512f,avx512vpopcntdq"; xor, xor_gather, xor_rows);
    bit_forms!("avx512f,avx512vpopcntdq"; and, and_gather, and_rows);
}
