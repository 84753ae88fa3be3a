//! Walks over a graph towards a query.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::graph::Links;
use crate::index::space::Space;
use crate::index::top::{Near, Top};
use crate::model::Bitset;

/// What a walk needs besides the graph; kept and reused from walk to walk.
pub(super) struct Scratch<S: Space> {
    /// The query of the walk.
    pub(super) query: S::Query,
    /// The query of comparisons between rows, while a graph is built.
    pub(super) other: S::Query,
    visited: Visited,
    rows: usize,
    fresh: Vec<u32>,
    distances: Vec<f32>,
    pool: Pool,
}

impl<S: Space> Scratch<S> {
    /// For graphs of `rows` rows.
    pub(super) fn new(rows: usize) -> Self {
        Self {
            query: S::Query::default(),
            other: S::Query::default(),
            visited: Visited::new(rows),
            rows,
            fresh: Vec::new(),
            distances: Vec::new(),
            pool: Pool::default(),
        }
    }
}

/// Which rows a walk has seen: a bit for each, so that those of a whole segment stay in the first or second cache.
struct Visited {
    words: Vec<u64>,
    /// The words that are not zero, some of them more than once.
    touched: Vec<u32>,
}

impl Visited {
    fn new(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], touched: Vec::new() }
    }

    fn clear(&mut self) {
        if self.touched.len() * 4 >= self.words.len() {
            self.words.fill(0);
        } else {
            for &word in &self.touched {
                self.words[word as usize] = 0;
            }
        }
        self.touched.clear();
    }

    /// Marks `row`; says whether it was new.
    #[inline]
    fn insert(&mut self, row: u32) -> bool {
        let (number, bit) = (row / 64, 1u64 << (row % 64));
        let word = &mut self.words[number as usize];
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.touched.push(number);
        true
    }
}

/// The nearest `ef` seen so far in order, each expanded or not yet. For the sizes that walks use, moving a few words
/// beats a heap.
#[derive(Default)]
struct Pool {
    entries: Vec<Entry>,
    ef: usize,
    /// No entry before this one is unexpanded.
    cursor: usize,
}

/// A candidate: its distance, then its row, then whether its links were followed. In one word, so that a thousand of them
/// move quickly. Rows are below 2 to the 31st.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

impl Entry {
    const CLOSED: u64 = 1;

    #[inline]
    const fn open(near: Near) -> Self {
        let word = near.word();
        Self(word & !0xffff_ffff | (word & 0x7fff_ffff) << 1)
    }

    #[inline]
    const fn is_open(self) -> bool {
        self.0 & Self::CLOSED == 0
    }

    #[inline]
    const fn near(self) -> Near {
        Near::of_word(self.0 & !0xffff_ffff | (self.0 & 0xffff_ffff) >> 1)
    }
}

impl Pool {
    fn reset(&mut self, ef: usize) {
        self.entries.clear();
        self.ef = ef;
        self.cursor = 0;
    }

    #[inline]
    fn offer(&mut self, near: Near) {
        let entry = Entry::open(near);
        if self.entries.len() == self.ef {
            if self.entries.last().is_none_or(|last| entry >= *last) {
                return;
            }
            self.entries.pop();
        }
        let place = self.entries.partition_point(|known| *known < entry);
        self.entries.insert(place, entry);
        self.cursor = self.cursor.min(place);
    }

    /// The nearest open entry, which is closed by this.
    fn next(&mut self) -> Option<Near> {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            self.cursor += 1;
            if entry.is_open() {
                entry.0 |= Entry::CLOSED;
                return Some(entry.near());
            }
        }
        None
    }

    /// The nearest open entry, which stays open.
    fn peek(&self) -> Option<u32> {
        self.entries[self.cursor.min(self.entries.len())..]
            .iter()
            .find(|entry| entry.is_open())
            .map(|entry| entry.near().row())
    }
}

/// From `start`, the row on `level` that none of its links beats.
pub(super) fn descend<S: Space>(
    space: &S,
    links: &impl Links,
    level: u8,
    start: Near,
    scratch: &mut Scratch<S>,
) -> Near {
    let mut best = start;
    loop {
        scratch.fresh.clear();
        links.each(best.row(), level, |row| scratch.fresh.push(row));
        space.distances(&scratch.query, &scratch.fresh, &mut scratch.distances);
        let nearest = scratch
            .distances
            .iter()
            .zip(&scratch.fresh)
            .map(|(&distance, &row)| Near::new(distance, row))
            .min();
        match nearest {
            Some(nearest) if nearest < best => best = nearest,
            _ => return best,
        }
    }
}

/// The distance of one row.
pub(super) fn distance_to<S: Space>(space: &S, row: u32, scratch: &mut Scratch<S>) -> Near {
    space.distances(&scratch.query, &[row], &mut scratch.distances);
    Near::new(scratch.distances.first().copied().unwrap_or(f32::INFINITY), row)
}

/// The nearest `ef` rows that a walk on `level` from `start` sees, nearest first.
pub(super) fn nearest<S: Space>(
    space: &S,
    links: &impl Links,
    level: u8,
    start: Near,
    ef: usize,
    scratch: &mut Scratch<S>,
) -> Vec<Near> {
    scratch.visited.clear();
    scratch.visited.insert(start.row());
    scratch.pool.reset(ef);
    scratch.pool.offer(start);
    while let Some(near) = scratch.pool.next() {
        scratch.fresh.clear();
        links.each(near.row(), level, |row| {
            if scratch.visited.insert(row) {
                space.hint(row);
                scratch.fresh.push(row);
            }
        });
        if let Some(next) = scratch.pool.peek() {
            links.hint(next);
        }
        space.distances(&scratch.query, &scratch.fresh, &mut scratch.distances);
        for (&row, &distance) in scratch.fresh.iter().zip(&scratch.distances) {
            scratch.pool.offer(Near::new(distance, row));
        }
    }
    scratch.pool.entries.iter().map(|entry| entry.near()).collect()
}

/// As [`nearest`] on the lowest layer, but only rows in `allowed` are kept; the walk leads through the others too.
/// Nothing once more than `budget` rows were compared: then the caller is better off comparing all allowed rows.
pub(super) fn nearest_allowed<S: Space>(
    space: &S,
    links: &impl Links,
    start: Near,
    ef: usize,
    allowed: &Bitset,
    budget: usize,
    scratch: &mut Scratch<S>,
) -> Option<Vec<Near>> {
    scratch.visited.clear();
    scratch.visited.insert(start.row());
    let mut open = BinaryHeap::from([Reverse(start)]);
    let mut found = Top::new(ef, scratch.rows);
    if allowed.contains(start.row() as usize) {
        found.offer(start);
    }
    let mut compared = 0;
    while let Some(Reverse(near)) = open.pop() {
        if found.bar().is_some_and(|bar| near > bar) {
            break;
        }
        scratch.fresh.clear();
        links.each(near.row(), 0, |row| {
            if scratch.visited.insert(row) {
                scratch.fresh.push(row);
            }
        });
        if let Some(Reverse(next)) = open.peek() {
            links.hint(next.row());
        }
        compared += scratch.fresh.len();
        if compared > budget {
            return None;
        }
        space.distances(&scratch.query, &scratch.fresh, &mut scratch.distances);
        for (&row, &distance) in scratch.fresh.iter().zip(&scratch.distances) {
            let near = Near::new(distance, row);
            if found.bar().is_some_and(|bar| near > bar) {
                continue;
            }
            open.push(Reverse(near));
            if allowed.contains(row as usize) {
                found.offer(near);
            }
        }
    }
    Some(found.into_sorted())
}

/// Chooses up to `room` of `candidates` (nearest first) to link to: each nearer to the origin than to any chosen before,
/// so that links point in different directions. Source: Malkov and Yashunin, arXiv 1603.09320, algorithm 4.
pub(super) fn diverse<S: Space>(
    space: &S,
    candidates: &[Near],
    room: usize,
    scratch: &mut Scratch<S>,
) -> Vec<u32> {
    if candidates.len() < room {
        return candidates.iter().map(|near| near.row()).collect();
    }
    let mut chosen = Vec::with_capacity(room);
    let mut left: Vec<Near> = candidates.to_vec();
    while let Some((&next, rest)) = left.split_first() {
        chosen.push(next.row());
        if chosen.len() == room {
            break;
        }
        scratch.fresh.clear();
        scratch.fresh.extend(rest.iter().map(|near| near.row()));
        space.prepare_row(next.row(), &mut scratch.other);
        space.distances(&scratch.other, &scratch.fresh, &mut scratch.distances);
        let kept = rest
            .iter()
            .zip(&scratch.distances)
            .filter(|(near, between)| **between >= near.distance())
            .map(|(near, _)| *near)
            .collect();
        left = kept;
    }
    chosen
}
