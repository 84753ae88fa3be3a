//! The system's randomness, made to follow from the seed: hash maps order their entries by it, and the runtime's `select!`
//! takes its branches by it.

#![allow(
    unsafe_code,
    reason = "the system's function is replaced, which the standard library allows for this very use"
)]

use std::sync::atomic::{AtomicU64, Ordering};

static SEED: AtomicU64 = AtomicU64::new(0);

/// From now on the system's randomness follows from `seed`: the same bytes at each call, so that it does not matter which
/// thread asks first.
pub fn follow(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
}

/// Takes the place of the C library's `getrandom`, which the standard library looks up by name.
///
/// # Safety
/// `buffer` must point to `length` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: that is what the caller promises.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    let mut state = SEED.load(Ordering::Relaxed);
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
    }
    length as isize
}
