//! What was seen lately.

use std::collections::VecDeque;

use k8s_openapi::jiff::Timestamp;

use super::{Jobs, NodeLoad};

/// Looks, oldest first, each with its time. What is older than it was told to keep is forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Window<T> {
    looks: VecDeque<(Timestamp, T)>,
}

/// Looks at the query nodes that one number is about.
pub type QueryWindow = Window<Vec<NodeLoad>>;
/// Looks at the jobs.
pub type JobWindow = Window<Jobs>;

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { looks: VecDeque::new() }
    }
}

/// Looks that follow each other faster replace each other. Unit: seconds.
const APART_SECONDS: i64 = 5;
/// Looks that are further apart do not show what was between them. Unit: seconds.
const GAP_SECONDS: i64 = 60;

impl<T> Window<T> {
    /// Adds a look and forgets those that are older than `keep_seconds`, but for one, which shows how things were at that time.
    pub fn add(&mut self, now: Timestamp, look: T, keep_seconds: i64) {
        let before = self.looks.len().checked_sub(2).and_then(|at| self.looks.get(at));
        if before.is_some_and(|(at, _)| seconds(*at, now) < APART_SECONDS) {
            self.looks.pop_back();
        }
        let last = self.looks.back().map(|(at, _)| seconds(*at, now));
        if last.is_some_and(|apart| !(0..=GAP_SECONDS).contains(&apart)) {
            self.looks.clear();
        }
        self.looks.push_back((now, look));
        while self.looks.get(1).is_some_and(|(at, _)| seconds(*at, now) >= keep_seconds) {
            self.looks.pop_front();
        }
    }

    /// The last look.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.looks.back().map(|(_, look)| look)
    }

    /// The looks since `from`.
    pub fn since(&self, from: Timestamp) -> impl Iterator<Item = &T> {
        self.looks.iter().filter(move |(at, _)| *at >= from).map(|(_, look)| look)
    }

    /// Whether every look of the last `span_seconds` is so, and they reach back that far; none is looked at from before
    /// `from`.
    pub fn all(
        &self,
        now: Timestamp,
        span_seconds: i64,
        from: Timestamp,
        mut is_so: impl FnMut(&T) -> bool,
    ) -> bool {
        let mut covered = false;
        for (at, look) in self.looks.iter().rev() {
            if *at < from || !is_so(look) {
                return false;
            }
            if seconds(*at, now) >= span_seconds {
                covered = true;
                break;
            }
        }
        covered
    }
}

/// Unit: seconds.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second().saturating_sub(from.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_span_counts_only_if_it_was_seen_whole() {
        let mut window = Window::default();
        for second in [0, 10, 20, 30] {
            window.add(at(second), second, 30);
        }

        let all = |span, from| window.all(at(30), span, at(from), |look| *look >= 0);
        assert!(all(30, 0) && all(20, 0) && all(20, 10));
        assert!(!all(31, 0), "nobody looked so early");
        assert!(!all(30, 10), "what was before does not count");
        assert!(!window.all(at(30), 30, at(0), |look| *look != 10));
    }

    #[test]
    fn a_gap_shows_nothing_and_what_is_old_is_forgotten() {
        let mut window = Window::default();
        for second in [0, 10, 20, 90] {
            window.add(at(second), second, 600);
        }
        assert_eq!(window.since(at(0)).copied().collect::<Vec<_>>(), [90]);

        for second in (100..1_000).step_by(10) {
            window.add(at(second), second, 60);
        }
        assert_eq!(window.since(at(0)).count(), 7);
    }

    #[test]
    fn many_looks_in_a_row_take_the_room_of_few() {
        let mut window = Window::default();
        for second in 0..1_000 {
            window.add(at(second), second, 600);
        }

        assert!(window.since(at(0)).count() <= 152);
        assert!(window.all(at(999), 500, at(0), |_| true), "and still show a span");
    }
}
