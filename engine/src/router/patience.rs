//! How long to try, and how long to wait in between.

use std::time::Duration;

use crate::base::Rng;

/// First pause. Unit: milliseconds.
const SHORTEST_MS: u64 = 10;
/// Longest pause. Unit: milliseconds.
const LONGEST_MS: u64 = 500;

/// The pauses of one call: doubling from 10 to 500 ms, each shortened by up to half at random so that callers that
/// failed together do not come back together. The time runs from the first failure on, for a call that was slow to fail
/// deserves a second try as well.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    until: Option<Duration>,
    pauses: u32,
}

impl Patience {
    /// Patience for `limit`.
    pub const fn new(limit: Duration) -> Self {
        Self { limit, until: None, pauses: 0 }
    }

    /// Patience until `end` (monotonic), however long the first try takes.
    pub const fn until(end: Duration) -> Self {
        Self { limit: Duration::ZERO, until: Some(end), pauses: 0 }
    }

    /// How long to wait after a failure at `now` (monotonic); `None` to give up.
    pub fn next(&mut self, now: Duration, rng: &dyn Rng) -> Option<Duration> {
        let until = *self.until.get_or_insert(now + self.limit);
        let left = until.checked_sub(now).filter(|left| !left.is_zero())?;
        let full = (SHORTEST_MS << self.pauses.min(6)).min(LONGEST_MS);
        self.pauses += 1;
        let micros = full * 500 + rng.below(full * 500 + 1);
        Some(Duration::from_micros(micros).min(left))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Patience;
    use crate::base::SeededRng;

    #[test]
    fn pauses_double_up_to_half_a_second_and_end_with_the_limit() {
        let rng = SeededRng::new(7);
        let mut patience = Patience::new(Duration::from_secs(2));
        let mut now = Duration::from_secs(100);
        let mut pauses = Vec::new();

        while let Some(pause) = patience.next(now, rng.as_ref()) {
            now += pause;
            pauses.push(pause);
        }

        let bounds = [10, 20, 40, 80, 160, 320, 500, 500, 500, 500, 500];
        for (pause, full) in pauses[..pauses.len() - 1].iter().zip(bounds) {
            let full = Duration::from_millis(full);
            assert!(*pause >= full / 2 && *pause <= full, "{pause:?} of {full:?}");
        }
        assert_eq!(now, Duration::from_secs(102));
    }
}
