//! Hybrid time on one node: follows the coordinator's time by the node's own monotonic clock.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Clock, Timestamp};

/// What a node believes the cluster's time to be.
///
/// Between two readings of the coordinator's time it goes on by the monotonic clock, so that a wall clock that is wrong or
/// jumps does not matter once the node has joined. It never shows the same time twice and never goes back.
pub struct NodeTime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// The last time that was shown.
    last: Timestamp,
    /// The coordinator's time when it was last heard of, or the wall clock's at the start.
    heard: Timestamp,
    /// When that was, on the monotonic clock.
    heard_at: Duration,
    /// Whether the coordinator has said anything yet.
    is_told: bool,
}

impl State {
    /// The coordinator's time, at `monotonic`.
    fn reckoned(&self, monotonic: Duration) -> Timestamp {
        let gone = u64::try_from(monotonic.saturating_sub(self.heard_at).as_millis()).unwrap_or(0);
        Timestamp::from_unix_ms(self.heard.unix_ms().saturating_add(gone))
    }
}

impl NodeTime {
    /// Starts with the wall clock's time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let heard = Timestamp::from_unix_ms(clock.unix_ms());
        let heard_at = clock.monotonic();
        let state = State { last: Timestamp::ZERO, heard, heard_at, is_told: false };
        Arc::new(Self { clock, state: Mutex::new(state) })
    }

    /// A time later than every one that this method has given before.
    pub fn next(&self) -> Timestamp {
        let monotonic = self.clock.monotonic();
        let mut state = self.state.lock();
        state.last = state.reckoned(monotonic).max(state.last.next());
        state.last
    }

    /// The time now: not before any that [`Self::next`] has given, and given to others as well.
    pub fn now(&self) -> Timestamp {
        let monotonic = self.clock.monotonic();
        let state = self.state.lock();
        state.reckoned(monotonic).max(state.last)
    }

    /// The coordinator's time now, by what was last heard of it: earlier than [`Self::now`] on a node that was ahead.
    pub fn reckoned(&self) -> Timestamp {
        let monotonic = self.clock.monotonic();
        self.state.lock().reckoned(monotonic)
    }

    /// The last time that the coordinator has said, so for certain not later than its time is now; zero if it has said none.
    pub fn told(&self) -> Timestamp {
        let state = self.state.lock();
        if state.is_told { state.heard } else { Timestamp::ZERO }
    }

    /// Sets the time to the coordinator's, as it was just now. One that says the same time again may not say a later one
    /// yet: that is no reason to reckon anew from it, so that time stands still here, too.
    pub fn hear(&self, now: Timestamp) {
        let monotonic = self.clock.monotonic();
        let mut state = self.state.lock();
        state.is_told = true;
        if now != state.heard {
            (state.heard, state.heard_at) = (now, monotonic);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::NodeTime;
    use crate::base::{TestClock, Timestamp};

    #[tokio::test]
    async fn time_follows_the_coordinator_and_never_goes_back() {
        let time = NodeTime::new(TestClock::starting_at(5_000));
        let own = time.next();

        time.hear(Timestamp::from_unix_ms(9_000_000));
        let ahead = time.next();
        time.hear(Timestamp::from_unix_ms(1_000));
        let held = time.next();
        let shown = time.now();

        assert_eq!(own.unix_ms(), 5_000);
        assert_eq!(ahead.unix_ms(), 9_000_000);
        assert_eq!((held, shown), (ahead.next(), held));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_was_told_is_the_coordinators_and_not_one_of_the_clock_here() {
        let time = NodeTime::new(TestClock::starting_at(5_000));
        let before = time.told();

        time.hear(Timestamp::from_unix_ms(9_000));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        time.next();

        assert_eq!((before, time.told()), (Timestamp::ZERO, Timestamp::from_unix_ms(9_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_is_said_again_does_not_stop_the_reckoning_from_it() {
        let time = NodeTime::new(TestClock::starting_at(5_000));
        let mut shown = Vec::new();

        for said_ms in [9_000, 9_000, 9_000, 9_500] {
            time.hear(Timestamp::from_unix_ms(said_ms));
            tokio::time::advance(Duration::from_secs(1)).await;
            shown.push((time.reckoned().unix_ms(), time.next().unix_ms()));
        }

        assert_eq!(shown, [(10_000, 10_000), (11_000, 11_000), (12_000, 12_000), (10_500, 12_000)]);
    }
}
