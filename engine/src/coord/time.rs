//! Handing out time and ids: both come from one ever-growing number whose upper bound is made durable ahead of use.

use crate::base::Timestamp;

/// How far ahead of the clock the durable bound is set, in milliseconds.
const WINDOW_MS: u64 = 3_000;

/// The allocator's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocator {
    /// The next timestamp to give.
    next: Timestamp,
    /// Nothing at or past this may be given until a later bound is durable.
    bound: Timestamp,
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
    pub const fn starting_at(durable_bound: Timestamp) -> Self {
        Self { next: durable_bound, bound: durable_bound }
    }

    /// Takes `count` timestamps, none earlier than the clock's `now_ms`.
    pub fn allocate(&mut self, count: u32, now_ms: u64) -> Allocation {
        let first = self.next.max(Timestamp::from_unix_ms(now_ms));
        let after = Timestamp(first.0.saturating_add(u64::from(count)));
        if after > self.bound {
            return Allocation::Extend(Timestamp::from_unix_ms(after.unix_ms() + WINDOW_MS));
        }
        self.next = after;
        Allocation::Given(first)
    }

    /// What time it is, without taking any: at least the latest given, at least the clock's.
    pub fn now(&self, now_ms: u64) -> Timestamp {
        self.next.max(Timestamp::from_unix_ms(now_ms))
    }

    /// A later bound is durable now.
    pub fn extend(&mut self, bound: Timestamp) {
        self.bound = self.bound.max(bound);
    }
}

#[cfg(test)]
mod tests {
    use super::{Allocation, Allocator};
    use crate::base::Timestamp;

    #[test]
    fn time_never_goes_back_when_the_clock_does() {
        let mut allocator = Allocator::starting_at(Timestamp::ZERO);
        allocator.extend(Timestamp::from_unix_ms(10_000));

        let first = allocator.allocate(1, 5_000);
        let second = allocator.allocate(1, 4_000);

        assert_eq!(first, Allocation::Given(Timestamp::from_unix_ms(5_000)));
        assert_eq!(second, Allocation::Given(Timestamp::from_unix_ms(5_000).next()));
    }

    #[test]
    fn nothing_is_given_past_the_durable_bound() {
        let mut allocator = Allocator::starting_at(Timestamp::from_unix_ms(5_000));

        let refused = allocator.allocate(1, 4_000);

        assert_eq!(refused, Allocation::Extend(Timestamp::from_unix_ms(8_000)));
    }
}
