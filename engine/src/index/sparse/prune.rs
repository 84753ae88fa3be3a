//! Search row by row that leaves out what cannot be among the nearest: MaxScore and WAND.
//!
//! Both know of each list the most that it can add to a score. Rows come in ascending order, so that of equal scores the ones
//! already kept stay, and a newcomer has to be *above* the least of them. Bounds are sums of singles in another order than
//! scores, so they are taken a little greater than they are.

use super::inverted::Term;
use super::{Scoring, near, seek};
use crate::index::top::Top;
use crate::model::Bitset;

/// Past the last row of every list.
const END: u32 = u32::MAX;

/// A place in a list.
struct Cursor<'a> {
    term: Term<'a>,
    /// Number of the term in the query.
    number: usize,
    at: usize,
}

impl Cursor<'_> {
    fn row(&self) -> u32 {
        self.term.rows.get(self.at).copied().unwrap_or(END)
    }

    /// What the row here gains by this term.
    fn gain(&self, scoring: Scoring<'_>) -> f32 {
        self.term.weight * scoring.part(self.term.rows[self.at], self.term.values[self.at])
    }

    /// Goes on to the first row that is not before `row`.
    fn seek(&mut self, row: u32) {
        self.at += seek(&self.term.rows[self.at..], row);
    }
}

fn cursors<'a>(terms: &[Term<'a>]) -> Vec<Cursor<'a>> {
    terms.iter().zip(0..).map(|(term, number)| Cursor { term: *term, number, at: 0 }).collect()
}

/// By what factor a bound may be below a sum of the same numbers in another order.
pub(super) fn slack(terms: usize) -> f32 {
    1.0 + 4.0 * f32::EPSILON * (terms as f32 + 2.0)
}

/// What one row gains by each term of the query, to be summed in their order.
struct Gains {
    by_term: Vec<f32>,
}

impl Gains {
    fn sum(&mut self) -> f32 {
        let sum = self.by_term.iter().fold(0.0, |sum, gain| sum + gain);
        self.by_term.fill(0.0);
        sum
    }
}

/// The score that a newcomer has to exceed; below every score while there is room.
pub(super) fn bar(top: &Top) -> f32 {
    top.bar().map_or(f32::NEG_INFINITY, |farthest| 0.0 - farthest.distance())
}

pub(super) fn is_allowed(allowed: Option<&Bitset>, row: u32) -> bool {
    allowed.is_none_or(|allowed| allowed.contains(row as usize))
}

/// Offers `top` what may be among the nearest. Lists whose bounds together do not exceed the bar are looked into only for
/// rows that other lists have.
pub(super) fn max_score(terms: &[Term<'_>], scoring: Scoring<'_>, allowed: Option<&Bitset>, top: &mut Top) {
    let mut cursors = cursors(terms);
    cursors.sort_by(|left, right| left.term.bound.total_cmp(&right.term.bound));
    let slack = slack(terms.len());
    let bounds: Vec<f32> = cursors
        .iter()
        .scan(0.0, |sum, cursor| {
            *sum += cursor.term.bound;
            Some(*sum)
        })
        .collect();
    let mut gains = Gains { by_term: vec![0.0; terms.len()] };
    let mut least = bar(top);
    // Lists before this one do not bring in rows.
    let mut first = 0;
    while first < cursors.len() {
        let row = cursors[first..].iter().map(Cursor::row).min().unwrap_or(END);
        if row == END {
            return;
        }
        let is_wanted = is_allowed(allowed, row);
        let mut known = 0.0;
        for cursor in cursors[first..].iter_mut().filter(|cursor| cursor.row() == row) {
            if is_wanted {
                let gain = cursor.gain(scoring);
                gains.by_term[cursor.number] = gain;
                known += gain;
            }
            cursor.at += 1;
        }
        if !is_wanted {
            continue;
        }
        let mut is_beaten = false;
        for list in (0..first).rev() {
            if (known + bounds[list]) * slack <= least {
                is_beaten = true;
                break;
            }
            let cursor = &mut cursors[list];
            cursor.seek(row);
            if cursor.row() == row {
                let gain = cursor.gain(scoring);
                gains.by_term[cursor.number] = gain;
                known += gain;
            }
        }
        let score = gains.sum();
        if is_beaten || score <= 0.0 {
            continue;
        }
        top.offer(near(score, row));
        least = bar(top);
        while first < cursors.len() && bounds[first] * slack <= least {
            first += 1;
        }
    }
}

/// Offers `top` what may be among the nearest. With the lists by the row they are at, no row before the one at which their
/// bounds together exceed the bar can do so.
pub(super) fn wand(terms: &[Term<'_>], scoring: Scoring<'_>, allowed: Option<&Bitset>, top: &mut Top) {
    let mut cursors = cursors(terms);
    let slack = slack(terms.len());
    let mut gains = Gains { by_term: vec![0.0; terms.len()] };
    loop {
        cursors.sort_by_key(Cursor::row);
        let least = bar(top);
        let mut sum = 0.0;
        let exceeds = |cursor: &Cursor<'_>| {
            sum += cursor.term.bound;
            cursor.row() == END || sum * slack > least
        };
        let Some(pivot) = cursors.iter().position(exceeds) else { return };
        let row = cursors[pivot].row();
        if row == END {
            return;
        }
        if cursors[0].row() < row {
            // The lists before it have nothing to look for before `row`.
            cursors[..pivot].iter_mut().for_each(|cursor| cursor.seek(row));
            continue;
        }
        let is_wanted = is_allowed(allowed, row);
        for cursor in cursors.iter_mut().take_while(|cursor| cursor.row() == row) {
            if is_wanted {
                gains.by_term[cursor.number] = cursor.gain(scoring);
            }
            cursor.at += 1;
        }
        let score = gains.sum();
        if is_wanted && score > 0.0 {
            top.offer(near(score, row));
        }
    }
}
