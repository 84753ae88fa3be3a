//! Search window by window (SINDI): every list is cut where a window of rows ends, and the scores of one window are added up,
//! list by list, before those of the next.
//!
//! The scores of a window are so few that they stay near the processor, whatever order lists name rows in, and a row takes two
//! bytes in a list. A window whose lists together cannot lift a row above the bar is left out. Sums are made in the order that
//! all ways of searching have, so the answer is the same to the bit.

use super::inverted::{Postings, Term};
use super::prune::{bar, is_allowed, slack};
use super::{Scoring, near};
use crate::index::Error;
use crate::index::top::Top;
use crate::model::{Bitset, SparseRow, SparseRows};

/// Lists that together name less than one of so many rows of a window are followed again for the rows with a score; looking
/// through the scores of the window costs as much, at more.
const SCATTERED: usize = 8;
/// Scores that are looked at together.
const LANES: usize = 32;
/// The least score that is one.
const LEAST: f32 = f32::from_bits(1);

/// Lists of windows.
#[derive(Debug)]
pub(super) struct Windows {
    /// Rows of each window but the last.
    size: u16,
    /// Of all windows.
    rows: usize,
    windows: Vec<Postings<u16>>,
}

impl Windows {
    /// Turns the rows around, `size` of them at a time: at least one, and as many as two bytes number.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `stop` said so.
    pub(super) fn of(all: &SparseRows, size: usize, stop: &dyn Fn() -> bool) -> Result<Self, Error> {
        let size = u16::try_from(size).unwrap_or(u16::MAX).max(1);
        let window =
            |start: usize| Postings::of(all, start..(start + usize::from(size)).min(all.len()), stop);
        let windows = (0..all.len()).step_by(size.into()).map(window).collect::<Result<_, _>>()?;
        Ok(Self { size, rows: all.len(), windows })
    }

    /// How many rows have the index.
    pub(super) fn having(&self, index: u32) -> usize {
        self.windows.iter().map(|window| window.having(index)).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(self.windows.as_slice()) + self.windows.iter().map(Postings::memory_bytes).sum::<usize>()
    }

    /// Offers `top` what may be among the nearest.
    pub(super) fn nearest(
        &self,
        query: SparseRow<'_>,
        scoring: Scoring<'_>,
        allowed: Option<&Bitset>,
        top: &mut Top,
    ) {
        self.walk(query, scoring, allowed, |row, score| {
            top.offer(near(score, row));
            bar(top)
        });
    }

    /// Calls `visit` with every allowed row that has a score.
    pub(super) fn each_score(
        &self,
        query: SparseRow<'_>,
        scoring: Scoring<'_>,
        allowed: Option<&Bitset>,
        mut visit: impl FnMut(u32, f32),
    ) {
        self.walk(query, scoring, allowed, |row, score| {
            visit(row, score);
            0.0
        });
    }

    /// Calls `visit` with allowed rows and their scores. It says each time below which score a row is of no use any more; at that
    /// score one is that comes before those it knows.
    fn walk(
        &self,
        query: SparseRow<'_>,
        scoring: Scoring<'_>,
        allowed: Option<&Bitset>,
        mut visit: impl FnMut(u32, f32) -> f32,
    ) {
        let size = usize::from(self.size);
        let mut scores = vec![0.0_f32; size.min(self.rows)];
        let mut least = LEAST;
        for (window, start) in self.windows.iter().zip((0..).step_by(size)) {
            if allowed.is_some_and(|allowed| !may_have(allowed, start, size)) {
                continue;
            }
            let terms = window.terms(query, scoring);
            let bound: f32 = terms.iter().map(|term| term.bound).sum();
            // All rows before this window are known: at the bar a row of it is too late.
            if terms.is_empty() || (least > LEAST && bound * slack(terms.len()) <= least) {
                continue;
            }
            let scores = &mut scores[..size.min(self.rows - start)];
            add_up(&terms, start, scoring, scores);
            let mut look = |place: usize, score: f32, least: &mut f32| {
                let row = (start + place) as u32;
                if score >= *least && is_allowed(allowed, row) {
                    *least = visit(row, score).max(LEAST);
                }
            };
            let listed: usize = terms.iter().map(|term| term.rows.len()).sum();
            if listed < scores.len() / SCATTERED {
                for &place in terms.iter().flat_map(|term| term.rows) {
                    let place = usize::from(place);
                    look(place, std::mem::take(&mut scores[place]), &mut least);
                }
                continue;
            }
            for (some, first) in scores.chunks_mut(LANES).zip((0..).step_by(LANES)) {
                // Counted, not searched: that is done to many at once.
                if some.iter().filter(|score| **score >= least).count() > 0 {
                    some.iter().zip(first..).for_each(|(&score, place)| look(place, score, &mut least));
                }
                some.fill(0.0);
            }
        }
    }
}

/// Adds what the rows of a window, which begins at row `start`, gain by each term.
fn add_up(terms: &[Term<'_, u16>], start: usize, scoring: Scoring<'_>, scores: &mut [f32]) {
    for term in terms {
        for (&place, &value) in term.rows.iter().zip(term.values) {
            let place = usize::from(place);
            scores[place] += term.weight * scoring.part((start + place) as u32, value);
        }
    }
}

/// Whether one of the `size` rows from `start` on may be allowed: some close to them are taken for them.
fn may_have(allowed: &Bitset, start: usize, size: usize) -> bool {
    let words = allowed.words();
    let end = (start + size).div_ceil(64).min(words.len());
    words.get(start / 64..end).is_some_and(|words| words.iter().any(|word| *word != 0))
}
