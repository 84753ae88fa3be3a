//! Memory that starts on a cache line, so that no wide load of a row straddles two.

use bytes::Bytes;

/// One cache line of floats.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct FloatLine([f32; 16]);

/// One cache line of bytes.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct ByteLine([u8; 64]);

/// A fixed number of floats, the first on a cache line.
pub struct AlignedFloats {
    lines: Vec<FloatLine>,
    len: usize,
}

impl AlignedFloats {
    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let mut lines: Vec<FloatLine> = Vec::with_capacity(len.div_ceil(16));
        advise_huge_pages(lines.as_ptr().cast(), len * 4);
        lines.resize(len.div_ceil(16), FloatLine([0.0; 16]));
        Self { lines, len }
    }

    /// All values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: the lines are `16 * lines.len() >= len` floats on end, without padding between them.
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
    lines: Vec<ByteLine>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let mut lines: Vec<ByteLine> = Vec::with_capacity(len.div_ceil(64));
        advise_huge_pages(lines.as_ptr().cast(), len);
        lines.resize(len.div_ceil(64), ByteLine([0; 64]));
        Self { lines, len }
    }

    /// All values in order.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the lines are `64 * lines.len() >= len` bytes on end, without padding between them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// All values in order, to change.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Asks the kernel for huge pages under freshly reserved memory: random rows of a large matrix miss the TLB otherwise.
/// A refusal changes nothing but speed.
#[cfg(target_os = "linux")]
fn advise_huge_pages(start: *const u8, bytes: usize) {
    const HUGE_PAGE: usize = 2 << 20;
    const MADV_HUGEPAGE: i32 = 14;
    unsafe extern "C" {
        fn madvise(start: *mut std::ffi::c_void, bytes: usize, advice: i32) -> i32;
    }
    let first = (start as usize).next_multiple_of(HUGE_PAGE);
    let end = (start as usize + bytes) / HUGE_PAGE * HUGE_PAGE;
    if first < end {
        // SAFETY: the range lies inside one allocation of ours; the advice changes how it is backed, not its content.
        let _ = unsafe { madvise(first as *mut std::ffi::c_void, end - first, MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_start: *const u8, _bytes: usize) {}
