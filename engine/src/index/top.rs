//! Distances that order as integers, and the nearest few of many.

use std::collections::BinaryHeap;

use super::Hit;
use crate::model::Metric;

/// A row with its distance (smaller is nearer), ordered by distance, then by row. NaN is farthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(u64);

impl Near {
    /// Row `row` at `distance`.
    #[inline]
    pub(super) fn new(distance: f32, row: u32) -> Self {
        Self(u64::from(ordered(distance)) << 32 | u64::from(row))
    }

    /// The distance's order in the upper half, the row in the lower.
    #[inline]
    pub(super) const fn word(self) -> u64 {
        self.0
    }

    /// What [`Self::word`] gave.
    #[inline]
    pub(super) const fn of_word(word: u64) -> Self {
        Self(word)
    }

    /// The row.
    #[inline]
    pub(super) const fn row(self) -> u32 {
        self.0 as u32
    }

    /// The distance.
    #[inline]
    pub(super) fn distance(self) -> f32 {
        let bits = (self.0 >> 32) as u32;
        f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
    }

    /// As a hit of `metric`, whose distances are as [`distance_of`] makes them.
    pub(super) fn hit(self, metric: Metric) -> Hit {
        let distance = self.distance();
        Hit { row: self.row(), score: if metric.larger_is_nearer() { 0.0 - distance } else { distance } }
    }
}

/// The distance of a score: smaller is nearer, whatever the metric.
#[inline]
pub(super) fn distance_of(metric: Metric, score: f32) -> f32 {
    // Subtraction from zero never gives a negative zero, which would order before zero.
    if metric.larger_is_nearer() { 0.0 - score } else { score }
}

/// Bits that order as unsigned integers as the floats do.
#[inline]
const fn ordered(distance: f32) -> u32 {
    if distance.is_nan() {
        return u32::MAX;
    }
    let bits = distance.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The nearest `k` of what is offered.
#[derive(Debug)]
pub(super) struct Top {
    k: usize,
    heap: BinaryHeap<Near>,
}

impl Top {
    /// Room for `k`; `expected` is how many may be offered at most.
    pub(super) fn new(k: usize, expected: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k.min(expected)) }
    }

    /// Keeps `near` if it is among the nearest so far.
    #[inline]
    pub(super) fn offer(&mut self, near: Near) {
        if self.heap.len() < self.k {
            self.heap.push(near);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && near < *farthest
        {
            *farthest = near;
        }
    }

    /// The farthest kept, once `k` are kept: what a newcomer has to beat.
    #[inline]
    pub(super) fn bar(&self) -> Option<Near> {
        if self.heap.len() == self.k { self.heap.peek().copied() } else { None }
    }

    /// What was kept, nearest first.
    pub(super) fn into_sorted(self) -> Vec<Near> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_distance_then_row_with_nan_last() {
        let ascending = [
            (f32::NEG_INFINITY, 9),
            (-2.0, 3),
            (-0.5, 3),
            (0.0, 1),
            (0.0, 2),
            (1e-30, 0),
            (7.0, 0),
            (f32::INFINITY, 0),
        ];

        let made: Vec<Near> = ascending.iter().map(|&(distance, row)| Near::new(distance, row)).collect();

        assert!(made.is_sorted());
        assert!(made.iter().all(|&near| near < Near::new(f32::NAN, 0) && near < Near::new(-f32::NAN, 0)));
        let back: Vec<(f32, u32)> = made.iter().map(|near| (near.distance(), near.row())).collect();
        assert_eq!(back, ascending);
    }

    #[test]
    fn the_nearest_are_kept() {
        let mut top = Top::new(2, 9);
        for (distance, row) in [(3.0, 0), (1.0, 5), (2.0, 2), (1.0, 4)] {
            top.offer(Near::new(distance, row));
        }

        assert_eq!(top.bar(), Some(Near::new(1.0, 5)));
        assert_eq!(top.into_sorted(), [Near::new(1.0, 4), Near::new(1.0, 5)]);
    }
}
