//! Memory that starts on a cache line, so that no wide load of a row straddles two.

use bytes::Bytes;
use memmap2::MmapMut;

/// From here on memory comes from the system itself. It is asked for huge pages then, since random rows of a large matrix miss
/// the TLB otherwise; and in the allocator's memory that wish would outlive the matrix: whatever came to lie there next, were it a
/// single word, would take a huge page. Unit: bytes.
const LARGE: usize = 4 << 20;

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// Whole cache lines, zeros at first.
enum Lines {
    /// Of the allocator.
    Held(Vec<Line>),
    /// Of the system, which has them back the moment that this is dropped.
    Mapped(MmapMut),
}

impl Lines {
    /// So many. Panics if that is more than can be addressed, as a vector does.
    fn zeros(lines: usize) -> Self {
        let held = || Self::Held(vec![Line([0; 64]); lines]);
        let bytes = lines.checked_mul(size_of::<Line>());
        let Some(bytes) = bytes.filter(|bytes| *bytes >= LARGE) else { return held() };
        // A system without a mapping to spare may have memory all the same.
        let Ok(map) = MmapMut::map_anon(bytes) else { return held() };
        // A refusal changes nothing but speed.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Self::Mapped(map)
    }

    fn as_ptr(&self) -> *const u8 {
        match self {
            Self::Held(lines) => lines.as_ptr().cast(),
            Self::Mapped(map) => map.as_ptr(),
        }
    }

    fn as_mut_ptr(&mut self) -> *mut u8 {
        match self {
            Self::Held(lines) => lines.as_mut_ptr().cast(),
            Self::Mapped(map) => map.as_mut_ptr(),
        }
    }
}

/// A fixed number of floats, the first on a cache line.
pub struct AlignedFloats {
    lines: Lines,
    len: usize,
}

impl AlignedFloats {
    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        // Counted in lines, never in bytes: those of a wrong length might wrap around to few.
        Self { lines: Lines::zeros(len.div_ceil(16)), len }
    }

    /// All values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: the lines have room for `len` floats on end, begin where a float may, and any four bytes are a float.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// All values in order, to change.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as in `as_slice`, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Floats in bytes that others may share, such as those of a mapped file.
pub struct SharedFloats {
    bytes: Bytes,
}

impl SharedFloats {
    /// The little-endian floats in `bytes`; the bytes back, where this machine does not read them as they lie: if they begin
    /// within a float, are no whole floats, or its own order is another.
    ///
    /// # Errors
    /// The bytes.
    pub fn of(bytes: Bytes) -> Result<Self, Bytes> {
        let (before, _, after) = split(&bytes);
        let is_whole = before.is_empty() && after.is_empty();
        if is_whole && cfg!(target_endian = "little") { Ok(Self { bytes }) } else { Err(bytes) }
    }

    /// All values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        split(&self.bytes).1
    }
}

/// The floats in `bytes`, and what is before and after them.
fn split(bytes: &[u8]) -> (&[u8], &[f32], &[u8]) {
    // SAFETY: any four bytes are a float.
    unsafe { bytes.align_to::<f32>() }
}

/// A fixed number of bytes, the first on a cache line.
pub struct AlignedBytes {
    lines: Lines,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        Self { lines: Lines::zeros(len.div_ceil(64)), len }
    }

    /// All values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the lines have room for `len` bytes on end.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr(), self.len) }
    }

    /// All values in order, to change.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_memory_is_the_systems_and_small_memory_the_allocators() {
        let large = LARGE / 64;
        for (lines, is_mapped) in
            [(0, false), (2, false), (large - 1, false), (large, true), (large + 2, true)]
        {
            let found = Lines::zeros(lines);

            assert_eq!(matches!(found, Lines::Mapped(_)), is_mapped, "{lines} lines");
        }
    }

    #[test]
    #[should_panic(expected = "capacity overflow")]
    fn a_length_whose_bytes_cannot_be_counted_is_refused_and_not_taken_for_a_small_one() {
        let _ = AlignedFloats::zeros(usize::MAX / 4 + 2);
    }

    #[test]
    fn memory_of_any_size_is_of_zeros_begins_on_a_cache_line_and_holds_what_is_written() {
        for len in [0, 1, 16, 17, LARGE, LARGE + 1] {
            let (mut bytes, mut floats) = (AlignedBytes::zeros(len), AlignedFloats::zeros(len));
            assert!(bytes.as_slice().len() == len && bytes.as_slice().iter().all(|byte| *byte == 0));
            assert!(floats.as_slice().len() == len && floats.as_slice().iter().all(|float| *float == 0.0));
            assert_eq!(bytes.as_slice().as_ptr().align_offset(64), 0);
            assert_eq!(floats.as_slice().as_ptr().align_offset(64), 0);

            bytes.as_mut_slice().iter_mut().for_each(|byte| *byte = 7);
            floats.as_mut_slice().iter_mut().for_each(|float| *float = 0.5);

            assert!(bytes.as_slice().iter().all(|byte| *byte == 7));
            assert!(floats.as_slice().iter().all(|float| *float == 0.5));
        }
    }
}
