//! When the next chunk sets out.

use std::time::Duration;

use crate::log::queue::Backlog;

/// Until when appends are collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// A chunk sets out now.
    Now,
    /// A chunk sets out after this time, or when something changes before.
    After(Duration),
    /// First something must change.
    No,
}

/// What the decision looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub backlog: Option<Backlog>,
    /// Chunks under way.
    pub flying: usize,
    /// How many may be.
    pub slots: usize,
    /// How long a chunk took lately.
    pub put_time: Duration,
    /// On the monotonic clock.
    pub now: Duration,
}

/// How large and how late a chunk may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub chunk_bytes: usize,
    pub linger_min: Duration,
    pub linger_max: Duration,
}

/// An idle channel writes at once. While a chunk is under way, appends are collected until they fill one, or for as
/// long as spreads the slots evenly over the time that a chunk takes.
pub(super) fn ready(traffic: Traffic, bounds: Bounds) -> Ready {
    let Some(backlog) = traffic.backlog else { return Ready::No };
    if traffic.flying >= traffic.slots {
        return Ready::No;
    }
    if traffic.flying == 0 || backlog.bytes >= bounds.chunk_bytes {
        return Ready::Now;
    }
    let slots = u32::try_from(traffic.slots).unwrap_or(u32::MAX).max(1);
    let linger = (traffic.put_time / slots).min(bounds.linger_max).max(bounds.linger_min);
    match (backlog.since + linger).saturating_sub(traffic.now) {
        Duration::ZERO => Ready::Now,
        left => Ready::After(left),
    }
}

/// The time that chunks take, with the latest one taken in; old ones count ever less.
pub(super) fn smoothed(before: Duration, latest: Duration) -> Duration {
    if before.is_zero() { latest } else { (before * 3 + latest) / 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn after(bytes: usize, flying: usize, put_ms: u64, waited_ms: u64) -> Ready {
        let backlog = Some(Backlog { bytes, since: ms(1_000) });
        let now = ms(1_000 + waited_ms);
        let bounds = Bounds { chunk_bytes: 100, linger_min: ms(5), linger_max: ms(200) };
        ready(Traffic { backlog, flying, slots: 4, put_time: ms(put_ms), now }, bounds)
    }

    #[test]
    fn an_idle_channel_writes_at_once_and_a_busy_one_collects() {
        assert_eq!(after(1, 0, 80, 0), Ready::Now);
        assert_eq!(after(1, 1, 80, 0), Ready::After(ms(20)));
        assert_eq!(after(1, 1, 80, 15), Ready::After(ms(5)));
        assert_eq!(after(1, 1, 80, 20), Ready::Now);
        assert_eq!(after(100, 3, 80, 0), Ready::Now);
        assert_eq!(after(100, 4, 80, 900), Ready::No);
    }

    #[test]
    fn the_linger_stays_within_its_bounds() {
        assert_eq!(after(1, 1, 0, 0), Ready::After(ms(5)));
        assert_eq!(after(1, 1, 60_000, 0), Ready::After(ms(200)));
        let idle = Traffic { backlog: None, flying: 0, slots: 4, put_time: ms(1), now: ms(0) };
        let bounds = Bounds { chunk_bytes: 1, linger_min: ms(1), linger_max: ms(1) };
        assert_eq!(ready(idle, bounds), Ready::No);
    }

    #[test]
    fn the_time_of_a_chunk_follows_the_latest_ones() {
        assert_eq!(smoothed(Duration::ZERO, ms(80)), ms(80));
        assert_eq!(smoothed(ms(80), ms(40)), ms(70));
    }
}
