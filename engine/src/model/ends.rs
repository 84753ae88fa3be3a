//! Rows of different lengths, kept one after the other with where each ends.

use std::ops::Range;

/// Where row `row` is; nowhere past the end.
pub(super) fn range_of(ends: &[u64], row: usize) -> Range<usize> {
    let Some(&end) = ends.get(row) else { return 0..0 };
    let start = if row == 0 { 0 } else { ends[row - 1] };
    to_index(start)..to_index(end)
}

pub(super) fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
