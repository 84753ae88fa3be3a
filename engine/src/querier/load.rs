//! How busy the node is with reads: what it reports of that, from the last seconds.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Seconds that are remembered.
const SECONDS: usize = 10;
/// Four sizes to each doubling, up to about nine minutes.
const SIZES: usize = 108;

/// Durations of the last seconds, by their size.
#[derive(Debug)]
struct Ring {
    seconds: [Second; SECONDS],
}

#[derive(Clone, Copy, Debug)]
struct Second {
    /// Which one.
    number: u64,
    counts: [u32; SIZES],
    sum: Duration,
}

impl Ring {
    const fn new() -> Self {
        let empty = Second { number: 0, counts: [0; SIZES], sum: Duration::ZERO };
        Self { seconds: [empty; SECONDS] }
    }

    fn add(&mut self, now: Duration, took: Duration) {
        let number = now.as_secs();
        let second = &mut self.seconds[number as usize % SECONDS];
        if second.number != number {
            *second = Second { number, counts: [0; SIZES], sum: Duration::ZERO };
        }
        second.counts[size_of(took)] += 1;
        second.sum += took;
    }

    fn recent(&self, now: Duration) -> impl Iterator<Item = &Second> {
        let now = now.as_secs();
        self.seconds.iter().filter(move |second| second.number + SECONDS as u64 > now)
    }

    /// What 99 of 100 durations did not exceed, up to a fifth too long; 0 without any.
    fn p99(&self, now: Duration) -> Duration {
        let counts: Vec<u64> =
            (0..SIZES).map(|size| self.recent(now).map(|one| u64::from(one.counts[size])).sum()).collect();
        let mut above = counts.iter().sum::<u64>() / 100;
        for (size, &count) in counts.iter().enumerate().rev().filter(|(_, count)| **count > 0) {
            if count > above {
                return longest_of(size);
            }
            above -= count;
        }
        Duration::ZERO
    }

    /// All durations together, per second that passed.
    fn share(&self, now: Duration) -> f64 {
        let sum: Duration = self.recent(now).map(|second| second.sum).sum();
        sum.as_secs_f64() / now.as_secs_f64().clamp(1.0, SECONDS as f64)
    }
}

/// The size of a duration: its place among powers of two of microseconds, in quarters.
fn size_of(took: Duration) -> usize {
    let micros = took.as_micros().clamp(4, 1 << 60) as u64;
    let doublings = micros.ilog2();
    let quarter = (micros >> (doublings - 2)) & 3;
    (((doublings - 2) as usize) * 4 + quarter as usize).min(SIZES - 1)
}

/// The longest duration of a size.
fn longest_of(size: usize) -> Duration {
    let (doublings, quarter) = (size / 4, size as u64 % 4);
    Duration::from_micros((5 + quarter) << doublings)
}

/// Counts reads. Cheap enough for each of them.
#[derive(Debug)]
pub(super) struct Gauge {
    reads: AtomicU32,
    rings: Mutex<Rings>,
}

#[derive(Debug)]
struct Rings {
    took: Ring,
    waited: Ring,
    computed: Ring,
}

/// What a gauge shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) reads: u32,
    pub(super) queue_wait_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) search_cpu: f64,
}

/// One read that is under way until this is dropped.
pub(super) struct Reading<'a>(&'a Gauge);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.reads.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long the parts of a read took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    /// All of it.
    pub(super) took: Duration,
    /// Waiting for a thread.
    pub(super) waited: Duration,
    /// Processor time of the threads that computed.
    pub(super) computed: Duration,
}

impl Gauge {
    pub(super) const fn new() -> Self {
        let rings = Rings { took: Ring::new(), waited: Ring::new(), computed: Ring::new() };
        Self { reads: AtomicU32::new(0), rings: Mutex::new(rings) }
    }

    pub(super) fn begin(&self) -> Reading<'_> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Reading(self)
    }

    /// A read ended at `now`, on the monotonic clock.
    pub(super) fn ended(&self, now: Duration, spans: Spans) {
        let mut rings = self.rings.lock();
        rings.took.add(now, spans.took);
        rings.waited.add(now, spans.waited);
        rings.computed.add(now, spans.computed);
    }

    pub(super) fn show(&self, now: Duration) -> Shown {
        let rings = self.rings.lock();
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        Shown {
            reads: self.reads.load(Ordering::Relaxed),
            // The shortest size counts as no wait at all.
            queue_wait_ms: ms(rings.waited.p99(now).saturating_sub(longest_of(0))),
            p99_ms: ms(rings.took.p99(now)),
            search_cpu: rings.computed.share(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_duration_is_shown_at_most_a_quarter_too_long() {
        for micros in (4..3_000_000).step_by(997) {
            let shown = longest_of(size_of(Duration::from_micros(micros))).as_micros() as u64;
            assert!(shown >= micros && shown <= micros + micros / 4 + 1, "{micros} is shown as {shown}");
        }
    }

    #[test]
    fn one_slow_read_in_a_hundred_is_the_99th_percentile_only_with_another() {
        let mut ring = Ring::new();
        (0..99).for_each(|_| ring.add(at(50), Duration::from_micros(1_000)));
        ring.add(at(50), at(1));

        assert!(ring.p99(at(50)) < Duration::from_micros(1_300));
        ring.add(at(50), at(1));
        assert!(ring.p99(at(50)) >= at(1));
    }

    #[test]
    fn what_is_ten_seconds_old_is_forgotten() {
        let mut ring = Ring::new();
        ring.add(at(100), at(5));

        assert!(ring.p99(at(109)) >= at(5));
        assert!((ring.share(at(109)) - 0.5).abs() < 1e-9);
        assert_eq!((ring.p99(at(110)), ring.share(at(110))), (Duration::ZERO, 0.0));
    }

    #[test]
    fn reads_under_way_are_counted() {
        let gauge = Gauge::new();
        let (one, _two) = (gauge.begin(), gauge.begin());
        drop(one);

        assert_eq!(gauge.show(at(1)).reads, 1);
    }
}
