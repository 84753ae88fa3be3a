//! Handing out time and ids: both come from one ever-growing number whose upper bound is made durable ahead of use.
//!
//! Time that is only said, to nodes, which reckon on from it, has a bound of its own: the leader makes it durable with each
//! renewal of the lead, and whoever leads next begins there. So nothing that a node shows within a lease of the one is later
//! than what the other gives, whatever their wall clocks say.
//!
//! Nor does the time leap with the wall clock of who leads next: a candidate that has followed what was said goes on from there by
//! its monotonic clock.

use std::time::Duration;

use crate::base::{Clock, Timestamp};

/// How far ahead of the clock the durable bound is set, in milliseconds.
const WINDOW_MS: u64 = 3_000;

/// Of so many milliseconds one is left out while the wall clock is behind, until it has caught up, and one is added while it is
/// ahead of a time that was taken over. That little is within what owners leave for clocks that run fast.
const DRAWN_BY: u32 = 1_024;

/// A wall clock that is no further ahead of a time that was taken over is taken for right: when that was said is not known better.
/// Unit: milliseconds.
const UNSURE_MS: u64 = 1_000;

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

/// What a candidate knows of the time that former leaders have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Former {
    /// None of them has said a later one.
    bound: Timestamp,
    /// What the time was when that bound was made.
    at: Timestamp,
    /// When it was made at the latest, on the candidate's monotonic clock.
    since: Duration,
    /// Whether it was made only shortly before. Else that may have been any time ago.
    is_fresh: bool,
}

impl Former {
    /// Of a bound that a leader has made for the next `span`, which the candidate saw first at `since`. `is_fresh` says that it had
    /// seen another one before.
    pub fn of(bound: Timestamp, span: Duration, since: Duration, is_fresh: bool) -> Self {
        Self { bound, at: bound.minus_ms(begun_ms(span)), since, is_fresh }
    }

    /// The bound of what the next leader says for `span`, if it takes over now.
    pub fn next_bound(self, seen: Seen, span: Duration) -> Timestamp {
        Allocator::following(Timestamp::ZERO, self, seen).say(seen, span).bound
    }
}

/// The whole milliseconds of a span.
fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The milliseconds of a span, counting one that is not whole.
fn begun_ms(span: Duration) -> u64 {
    u64::try_from(span.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
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
    /// When it began, on the monotonic clock.
    began: Duration,
    /// How far the wall clock was ahead then of the time that was taken over. Unit: milliseconds.
    apart_ms: u64,
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
            began: seen.monotonic,
            apart_ms: 0,
        }
    }

    /// After a change of leader: the time goes on where the former one's has come to since. How far the wall clock here is ahead of
    /// that says nothing about the time that has gone, and it is drawn to it slowly; where it is set forward later, that is
    /// followed. If nobody can tell how long ago the former leader's time was said, the wall clock counts, as at a start.
    pub fn following(durable_bound: Timestamp, former: Former, seen: Seen) -> Self {
        let gone_ms = whole_ms(seen.monotonic.saturating_sub(former.since));
        let next = durable_bound.max(former.bound).max(former.at.plus_ms(gone_ms));
        let ahead_ms = seen.wall_ms.saturating_sub(next.unix_ms());
        let apart_ms = if former.is_fresh && ahead_ms > UNSURE_MS { ahead_ms } else { 0 };
        Self { apart_ms, ..Self::starting_at(next, seen) }
    }

    /// The wall clock's time, less what is not made up for yet.
    fn wall_ms(&self, seen: Seen) -> u64 {
        let made_up_ms = whole_ms(seen.monotonic.saturating_sub(self.began) / DRAWN_BY);
        seen.wall_ms.saturating_sub(self.apart_ms.saturating_sub(made_up_ms))
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

    /// What time it is, without taking any: at least the latest given, at least the wall clock's, as far as that is followed. It
    /// goes on while that is behind.
    pub fn now(&mut self, seen: Seen) -> Timestamp {
        let gone = seen.monotonic.saturating_sub(self.since);
        let reckoned = self.at_ms.saturating_add(whole_ms(gone - gone / DRAWN_BY));
        let ahead = self.wall_ms(seen).max(self.next.unix_ms());
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
        now.min(bound.minus_ms(begun_ms(until.saturating_sub(seen.monotonic))))
    }

    /// A time before which everything lies that anybody has shown so far by what this leader has given or told; it takes none, and
    /// the next leader begins after it. Nodes that go ahead of what they are told do so by the log alone.
    pub fn shown(&mut self, seen: Seen) -> Timestamp {
        self.tell(seen).max(self.next)
    }

    /// What a renewal has to make durable that is begun now and holds for `span`.
    pub fn say(&mut self, seen: Seen, span: Duration) -> Said {
        let bound = self.now(seen).plus_ms(begun_ms(span));
        Said { bound, until: seen.monotonic.saturating_add(span) }
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

    use super::{Allocation, Allocator, Former, Said, Seen};
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

    /// Of a leader that has made a bound at 100 s of Unix time, which was first seen when the monotonic clock showed 1 s.
    fn former(is_fresh: bool) -> Former {
        Former::of(ms(106_000), TTL, Duration::from_secs(1), is_fresh)
    }

    /// An hour and 100 s.
    const AHEAD_MS: u64 = 3_700_000;

    #[test]
    fn whoever_leads_next_goes_on_with_the_time_and_makes_up_slowly_for_a_wall_clock_that_is_an_hour_ahead() {
        let mut next = Allocator::following(ms(103_000), former(true), seen(AHEAD_MS, 8_500));

        let times = [(0, 0), (1_024_000, 1_024_000), (2_048_000, 2_048_000)]
            .map(|(wall_ms, gone_ms)| next.now(seen(AHEAD_MS + wall_ms, 8_500 + gone_ms)).unix_ms());

        assert_eq!(times, [107_500, 1_132_500, 2_157_500]);
    }

    #[test]
    fn however_long_nobody_led_no_time_is_lost_to_who_has_followed_the_last_leader() {
        let begun = |monotonic_ms| {
            Allocator::following(ms(103_000), former(true), seen(4_000, monotonic_ms))
                .now(seen(4_000, monotonic_ms))
                .unix_ms()
        };

        // A leader that has resigned may have said what it was allowed to, so the next one cannot begin before.
        assert_eq!([1_200, 7_000, 8_000, 601_000].map(begun), [106_000, 106_000, 107_000, 700_000]);
    }

    #[test]
    fn a_wall_clock_that_is_ahead_by_no_more_than_what_nobody_can_know_is_taken_for_right() {
        let mut next = Allocator::following(ms(103_000), former(true), seen(108_100, 8_500));

        assert_eq!(next.now(seen(108_100, 8_500)), ms(108_100));
    }

    #[test]
    fn the_wall_clock_counts_where_nobody_can_tell_how_long_ago_the_last_leader_said_its_time() {
        let mut ahead = Allocator::following(ms(103_000), former(false), seen(AHEAD_MS, 8_500));
        let mut behind = Allocator::following(ms(103_000), former(false), seen(4_000, 8_500));

        let times = [ahead.now(seen(AHEAD_MS, 8_500)), behind.now(seen(4_000, 8_500))];

        assert_eq!(times, [ms(AHEAD_MS), ms(107_500)]);
    }

    #[test]
    fn a_wall_clock_that_is_set_forward_while_its_machine_leads_is_followed() {
        let mut next = Allocator::following(ms(103_000), former(true), seen(AHEAD_MS, 8_500));

        let times = [0, 60_000].map(|set_ms| next.now(seen(AHEAD_MS + set_ms, 8_500)).unix_ms());

        assert_eq!(times, [107_500, 167_500]);
    }

    #[test]
    fn whoever_takes_over_bounds_what_it_says_by_the_time_that_it_goes_on_with() {
        let bounds = [true, false].map(|is_fresh| former(is_fresh).next_bound(seen(AHEAD_MS, 8_500), TTL));

        assert_eq!(bounds, [ms(113_500), ms(AHEAD_MS + 6_000)]);
    }

    #[test]
    fn nothing_is_given_past_the_durable_bound_by_who_goes_on_with_the_time_either() {
        let mut next = Allocator::following(ms(103_000), former(true), seen(4_000, 8_500));

        assert_eq!(next.allocate(1, seen(4_000, 8_500)), Allocation::Extend(ms(110_500)));
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
