//! Handing out time and ids: both come from one ever-growing number whose upper bound is made durable ahead of use.
//!
//! Time that is only said, to nodes, which reckon on from it, has a bound of its own: the leader makes it durable with each
//! renewal of the lead, and whoever leads next begins there. So nothing that a node shows within a lease of the one is later
//! than what the other gives, whatever their wall clocks say.

use std::time::Duration;

use crate::base::{Clock, Timestamp};

/// How far ahead of the clock the durable bound is set, in milliseconds.
const WINDOW_MS: u64 = 3_000;

/// While the wall clock is behind, of so many milliseconds one is left out, until it has caught up. That little is within what
/// owners leave for clocks that run fast.
const SLOWER_BY: u32 = 1_024;

/// What both clocks of the leader show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The wall clock, in Unix milliseconds.
    pub wall_ms: u64,
    /// The monotonic clock.
    pub monotonic: Duration,
}

impl Seen {
    /// What `clock` shows now.
    pub fn on(clock: &dyn Clock) -> Self {
        Self { wall_ms: clock.unix_ms(), monotonic: clock.monotonic() }
    }
}

/// How far the leader may go in what it says, by a renewal of the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The next leader begins here.
    pub bound: Timestamp,
    /// There is no next leader before this, on the monotonic clock.
    pub until: Duration,
}

/// The allocator's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// The next timestamp to give.
    next: Timestamp,
    /// Nothing at or past this may be given until a later bound is durable.
    bound: Timestamp,
    /// What time it was, in Unix milliseconds, when time last was not by the monotonic clock.
    at_ms: u64,
    /// When that was, on the monotonic clock.
    since: Duration,
    /// The latest renewal; `None` if nobody else can ever lead.
    said: Option<Said>,
}

/// What to do about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Give this one and the `count - 1` after it.
    Given(Timestamp),
    /// Make this bound durable, tell [`Allocator::extend`], and ask again.
    Extend(Timestamp),
}

impl Allocator {
    /// After a start: nothing below the last durable bound is ever given again.
    pub const fn starting_at(durable_bound: Timestamp, seen: Seen) -> Self {
        Self {
            next: durable_bound,
            bound: durable_bound,
            at_ms: durable_bound.unix_ms(),
            since: seen.monotonic,
            said: None,
        }
    }

    /// Takes `count` timestamps, none earlier than the time now.
    pub fn allocate(&mut self, count: u32, seen: Seen) -> Allocation {
        let first = self.now(seen);
        let after = Timestamp(first.0.saturating_add(u64::from(count)));
        if after > self.bound {
            return Allocation::Extend(Timestamp::from_unix_ms(after.unix_ms() + WINDOW_MS));
        }
        self.next = after;
        Allocation::Given(first)
    }

    /// What time it is, without taking any: at least the latest given, at least the wall clock's. It goes on while that is
    /// behind.
    pub fn now(&mut self, seen: Seen) -> Timestamp {
        let gone = seen.monotonic.saturating_sub(self.since);
        let gone = u64::try_from((gone - gone / SLOWER_BY).as_millis()).unwrap_or(u64::MAX);
        let reckoned = self.at_ms.saturating_add(gone);
        let ahead = seen.wall_ms.max(self.next.unix_ms());
        if ahead >= reckoned {
            (self.at_ms, self.since) = (ahead, seen.monotonic.max(self.since));
        }
        self.next.max(Timestamp::from_unix_ms(ahead.max(reckoned)))
    }

    /// What time to tell those who reckon on from it until the lead may be another's: they do not get past the bound. Where
    /// the wall clock leaps, this follows it with the next renewal.
    pub fn tell(&mut self, seen: Seen) -> Timestamp {
        let now = self.now(seen);
        let Some(Said { bound, until }) = self.said else { return now };
        let left = until.saturating_sub(seen.monotonic).as_micros().div_ceil(1_000);
        now.min(bound.minus_ms(u64::try_from(left).unwrap_or(u64::MAX)))
    }

    /// A time before which everything lies that anybody has shown so far by what this leader has given or told; it takes none, and
    /// the next leader begins after it. Nodes that go ahead of what they are told do so by the log alone.
    pub fn shown(&mut self, seen: Seen) -> Timestamp {
        self.tell(seen).max(self.next)
    }

    /// What a renewal has to make durable that is begun now and holds for `span`.
    pub fn say(&mut self, seen: Seen, span: Duration) -> Said {
        let ms = u64::try_from(span.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        Said { bound: self.now(seen).plus_ms(ms), until: seen.monotonic.saturating_add(span) }
    }

    /// A later bound of what is given is durable now.
    pub fn extend(&mut self, bound: Timestamp) {
        self.bound = self.bound.max(bound);
    }

    /// The bound of what is said is durable now, with a renewal.
    pub const fn renewed(&mut self, said: Said) {
        self.said = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Allocation, Allocator, Said, Seen};
    use crate::base::Timestamp;

    const TTL: Duration = Duration::from_secs(6);

    fn seen(wall_ms: u64, monotonic_ms: u64) -> Seen {
        Seen { wall_ms, monotonic: Duration::from_millis(monotonic_ms) }
    }

    fn ms(unix_ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }

    fn started_at(wall_ms: u64) -> Allocator {
        let mut allocator = Allocator::starting_at(Timestamp::ZERO, seen(wall_ms, 0));
        allocator.extend(Timestamp::MAX);
        allocator
    }

    #[test]
    fn time_never_goes_back_when_the_clock_does() {
        let mut allocator = started_at(5_000);

        let first = allocator.allocate(1, seen(5_000, 0));
        let second = allocator.allocate(1, seen(4_000, 0));

        assert_eq!(first, Allocation::Given(ms(5_000)));
        assert_eq!(second, Allocation::Given(ms(5_000).next()));
    }

    #[test]
    fn time_does_not_stand_still_while_the_clock_is_behind_and_lets_it_catch_up() {
        let mut allocator = started_at(10_000_000);

        let times = [
            seen(10_000_000, 0),
            seen(6_400_000, 0),
            seen(7_424_000, 1_024_000),
            seen(10_000_000, 3_600_000),
            // Three and a half seconds were left out by now, so a clock that is a second behind is right again.
            seen(13_599_000, 3_600_000),
        ]
        .map(|seen| allocator.now(seen).unix_ms());

        assert_eq!(times, [10_000_000, 10_000_000, 11_023_000, 13_596_484, 13_599_000]);
    }

    #[test]
    fn nothing_is_given_past_the_durable_bound() {
        let mut allocator = Allocator::starting_at(ms(5_000), seen(4_000, 0));

        let refused = allocator.allocate(1, seen(4_000, 0));

        assert_eq!(refused, Allocation::Extend(ms(8_000)));
    }

    #[test]
    fn time_begins_at_the_bound_and_goes_on_from_there_although_the_clock_is_behind() {
        let mut allocator = Allocator::starting_at(ms(5_000_000), seen(4_000, 70));

        let times = [seen(4_000, 70), seen(5_024, 1_094)].map(|seen| allocator.now(seen));

        assert_eq!(times, [ms(5_000_000), ms(5_001_023)]);
    }

    #[test]
    fn whoever_reckons_on_from_what_is_told_until_another_may_lead_does_not_pass_the_bound() {
        let mut allocator = started_at(100_000);
        let said = allocator.say(seen(100_000, 0), TTL);
        allocator.renewed(said);

        let told = [
            seen(100_000, 0),
            seen(101_000, 1_000),
            // The clock leaps by an hour: that is not durable yet.
            seen(3_702_000, 2_000),
            seen(3_706_000, 6_000),
            seen(3_709_000, 9_000),
        ]
        .map(|seen| allocator.tell(seen));
        let renewed = allocator.say(seen(3_710_000, 10_000), TTL);
        allocator.renewed(renewed);

        assert_eq!(said, Said { bound: ms(106_000), until: TTL });
        assert_eq!(told, [100_000, 101_000, 102_000, 106_000, 106_000].map(ms));
        assert_eq!(renewed, Said { bound: ms(3_716_000), until: Duration::from_secs(16) });
        assert_eq!(allocator.tell(seen(3_711_000, 11_000)), ms(3_711_000));
    }

    #[test]
    fn what_was_given_ahead_of_the_clock_is_told_no_sooner_than_it_is_bounded() {
        let mut allocator = started_at(100_000);
        let said = allocator.say(seen(100_000, 0), TTL);
        allocator.renewed(said);

        let given = allocator.allocate(20 << 18, seen(100_000, 0));
        let told = allocator.tell(seen(100_000, 0));

        assert_eq!((given, told), (Allocation::Given(ms(100_000)), ms(100_000)));
        assert_eq!(allocator.now(seen(100_001, 1)), ms(100_020));
    }

    #[test]
    fn what_was_shown_is_told_without_a_bound_that_is_not_durable_yet() {
        let mut times = Allocator::starting_at(Timestamp::from_unix_ms(1_000), seen(2_000, 0));
        let said = times.say(seen(2_000, 0), TTL);
        times.renewed(said);
        let bound = times.say(seen(2_000, 0), TTL).bound;
        let early = times.shown(seen(4_000, 2_000));

        // Hours without a renewal, and a wall clock that leaps.
        let late = times.shown(seen(9_000_000, 8_000_000));

        assert_eq!((early, late), (Timestamp::from_unix_ms(4_000), bound));
        assert!(matches!(times.allocate(1, seen(9_000_000, 8_000_000)), Allocation::Extend(_)));
        // Whoever leads next begins there, although its wall clock is behind; and after all that it gives.
        let mut next = Allocator::starting_at(bound, seen(1_000, 0));
        assert_eq!(next.shown(seen(1_000, 0)), bound);
        next.extend(bound.plus_ms(1_000));
        let Allocation::Given(given) = next.allocate(5, seen(1_000, 0)) else { panic!("within the bound") };
        assert!(next.shown(seen(1_000, 0)) > given);
    }
}
