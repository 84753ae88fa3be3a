//! When a read is slow enough to be asked of a second copy.

use std::time::Duration;

/// How many of the last reads are looked at.
const SAMPLES: usize = 128;
/// Fewer than this say nothing.
const ENOUGH: usize = 32;
/// The limit is worked out anew after so many reads.
const EVERY: usize = 16;
/// What a second question costs, in the unit in which each read earns its percentage.
const PRICE: u32 = 100;
/// Most that can be saved up: five second questions in a row.
const MOST: u32 = 5 * PRICE;
/// A read that takes less than so many times the usual time is not slow. One in twenty takes longer than nineteen even when
/// all copies are as busy as they can be; asking again then would only make them busier.
const OF_USUAL: u32 = 2;

/// How long the last reads of one collection took, and what may still be spent on second questions.
#[derive(Debug, Default)]
pub struct Pace {
    /// Ring of the last times. Unit: microseconds.
    samples: Vec<u32>,
    next: usize,
    slow: Option<Duration>,
    saved: u32,
}

impl Pace {
    /// A read begins: it earns `percent` of a second question.
    pub fn begin(&mut self, percent: u32) {
        self.saved = (self.saved + percent).min(MOST);
    }

    /// A read took so long.
    pub fn took(&mut self, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        if self.samples.len() < SAMPLES {
            self.samples.push(micros);
        } else {
            self.samples[self.next % SAMPLES] = micros;
        }
        self.next += 1;
        if self.samples.len() >= ENOUGH && self.next.is_multiple_of(EVERY) {
            let mut sorted = self.samples.clone();
            let place = sorted.len() * 95 / 100;
            let (below, p95, _) = sorted.select_nth_unstable(place);
            let p95 = *p95;
            let middle = below.len() / 2;
            let (_, usual, _) = below.select_nth_unstable(middle);
            self.slow = Some(Duration::from_micros(u64::from(p95.max(usual.saturating_mul(OF_USUAL)))));
        }
    }

    /// How long to wait for the first copy: the 95th percentile of the last reads, at least twice what is usual and at
    /// least `least`. `None` while too few reads have been seen.
    pub fn limit(&self, least: Duration) -> Option<Duration> {
        self.slow.map(|slow| slow.max(least))
    }

    /// Whether a second question is paid for; then it is spent.
    pub fn spend(&mut self) -> bool {
        let is_paid = self.saved >= PRICE;
        if is_paid {
            self.saved -= PRICE;
        }
        is_paid
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pace;

    #[test]
    fn one_read_in_twenty_may_be_asked_twice() {
        let mut pace = Pace::default();
        let mut spent = 0;

        for _ in 0..10_000 {
            pace.begin(5);
            spent += u32::from(pace.spend());
        }

        assert_eq!(spent, 500);
    }

    #[test]
    fn what_is_saved_up_has_an_end() {
        let mut pace = Pace::default();
        (0..10_000).for_each(|_| pace.begin(5));

        assert_eq!((0..100).filter(|_| pace.spend()).count(), 5);
    }

    #[test]
    fn the_limit_is_what_one_read_in_twenty_exceeds() {
        let mut pace = Pace::default();
        let least = Duration::from_millis(5);
        assert_eq!(pace.limit(least), None);

        (1..=128).for_each(|ms| pace.took(Duration::from_millis(if ms > 120 { 50 + ms } else { ms / 2 })));

        assert_eq!(pace.limit(least), Some(Duration::from_millis(172)));
        assert_eq!(pace.limit(Duration::from_secs(1)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn where_all_reads_take_long_none_is_slow() {
        let mut pace = Pace::default();

        // All copies are busy: every read waits, and none for much longer than the others.
        (1..=128).for_each(|ms| pace.took(Duration::from_millis(100 + ms / 4)));

        let limit = pace.limit(Duration::from_millis(5)).unwrap();
        assert!(limit > Duration::from_millis(200), "{limit:?}");
    }
}
