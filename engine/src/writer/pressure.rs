//! When to seal, when writers are slowed down or refused, and when sealed records may go. Decisions over values.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{NAMED_MS, Position};

/// The longest that a write is held up before it is done.
const SLOWEST: Duration = Duration::from_secs(1);
/// How long records stay in the log once they are sealed: at least, and at most if somebody seems to need them still. Those of
/// calls that clients have named stay as long as they are looked for.
const KEEP: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(NAMED_MS));

/// When channels are sealed without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushLimits {
    /// A channel, once so many bytes of its log are not sealed.
    pub bytes: u64,
    /// A channel, once its oldest unsealed record is so old.
    pub age: Duration,
    /// About so many bytes of log are sealed in one step: a step is in memory as a whole.
    pub step_bytes: u64,
    /// The fullest channels, once all together hold so much.
    pub high_bytes: u64,
    /// They are sealed until all together hold less than this.
    pub low_bytes: u64,
}

/// Two levels: above the lower one writers are slowed down, from the upper one on they are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Water {
    /// From here on it is slow.
    pub low: f64,
    /// From here on there is none.
    pub high: f64,
}

impl Water {
    /// Never slow.
    pub const NONE: Self = Self { low: f64::INFINITY, high: f64::INFINITY };

    /// How a write is to be treated.
    pub(super) fn at(&self, level: f64) -> Stand {
        if level >= self.high {
            return Stand::Full;
        }
        let part = (level - self.low) / (self.high - self.low);
        if part > 0.0 { Stand::Slow(SLOWEST.mul_f64(part.min(1.0))) } else { Stand::Free }
    }
}

/// How much may be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteLimits {
    /// By bytes of log that are not sealed, of all channels of this node.
    pub unsealed_bytes: Water,
    /// By how full the memory of query nodes is that hold the rows, 0 to 1.
    pub memory: Water,
}

/// How a write is to be treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stand {
    /// At once.
    Free,
    /// After so long.
    Slow(Duration),
    /// Not at all.
    Full,
}

/// What has not been sealed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// Bytes of log records.
    pub bytes: u64,
    /// When the oldest of them was written, on the monotonic clock.
    pub since: Option<Duration>,
}

/// The channels to seal now, by their place in `all`: those that are large or old, then the fullest if all together are
/// too much.
pub(super) fn due(all: &[Unsealed], limits: FlushLimits, now: Duration) -> Vec<usize> {
    let is_due = |unsealed: &Unsealed| {
        let old = unsealed.since.is_some_and(|since| now.saturating_sub(since) >= limits.age);
        unsealed.bytes >= limits.bytes || (unsealed.bytes > 0 && old)
    };
    let (mut chosen, mut others): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|&at| is_due(&all[at]));
    let total: u64 = all.iter().map(|one| one.bytes).sum();
    if total < limits.high_bytes {
        return chosen;
    }
    let mut left = total - chosen.iter().map(|&at| all[at].bytes).sum::<u64>();
    others.sort_by_key(|&at| std::cmp::Reverse(all[at].bytes));
    for at in others {
        if left < limits.low_bytes || all[at].bytes == 0 {
            break;
        }
        left -= all[at].bytes;
        chosen.push(at);
    }
    chosen
}

/// A stretch of the log that is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The position after its last record.
    pub to: Position,
    /// Since when, on the monotonic clock.
    pub since: Duration,
    /// Whether it has inserts that clients have named.
    pub is_named: bool,
}

/// The position before which all that is sealed has been read by who follows too: from there on it waits to be given up, and
/// hardly anybody reads it. `None` for nothing.
pub(super) fn read_by_all(sealed: &VecDeque<Sealed>, needed_from: Option<Position>) -> Option<Position> {
    let needed = needed_from?;
    sealed.iter().map(|stretch| stretch.to).take_while(|to| *to <= needed).last()
}

/// The position before which records may go, each given once. `sealed` has stretches, oldest first. `needed_from` is what
/// followers still need; `None` if that is not known.
pub(super) fn may_go(
    sealed: &mut VecDeque<Sealed>,
    needed_from: Option<Position>,
    now: Duration,
) -> Option<Position> {
    let mut gone = None;
    let is_over = |stretch: &mut Sealed| {
        let age = now.saturating_sub(stretch.since);
        let is_free = !stretch.is_named && needed_from.is_some_and(|needed| stretch.to <= needed);
        age >= KEEP.1 || (age >= KEEP.0 && is_free)
    };
    while let Some(stretch) = sealed.pop_front_if(is_over) {
        gone = Some(stretch.to);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FlushLimits = FlushLimits {
        bytes: 100,
        age: Duration::from_secs(10),
        step_bytes: 50,
        high_bytes: 150,
        low_bytes: 60,
    };

    fn unsealed(bytes: u64, since: u64) -> Unsealed {
        Unsealed { bytes, since: Some(Duration::from_secs(since)) }
    }

    fn due_at(all: &[Unsealed], now: u64) -> Vec<usize> {
        due(all, LIMITS, Duration::from_secs(now))
    }

    #[test]
    fn a_large_channel_is_due_at_once() {
        assert_eq!(due_at(&[unsealed(100, 5)], 5), [0]);
    }

    #[test]
    fn a_small_channel_is_due_once_it_is_old() {
        assert_eq!(due_at(&[unsealed(1, 5)], 14), Vec::<usize>::new());
        assert_eq!(due_at(&[unsealed(1, 5)], 15), [0]);
    }

    #[test]
    fn an_empty_channel_is_never_due() {
        assert_eq!(due_at(&[Unsealed::default()], 1_000), Vec::<usize>::new());
    }

    #[test]
    fn the_fullest_channels_are_due_once_all_together_are_too_much() {
        let all = [unsealed(30, 5), unsealed(50, 5), unsealed(69, 5), Unsealed::default()];
        assert_eq!(due_at(&all, 5), Vec::<usize>::new(), "149 bytes are not too much");

        let all = [unsealed(30, 5), unsealed(50, 5), unsealed(70, 5), Unsealed::default()];
        assert_eq!(due_at(&all, 5), [2, 1], "30 bytes are left, less than 60");
        let all = [unsealed(30, 5), unsealed(100, 5), unsealed(20, 5)];
        assert_eq!(due_at(&all, 5), [1], "what is due for its size counts as gone");
    }

    #[test]
    fn writers_are_slowed_down_more_and_more_and_then_refused() {
        let water = Water { low: 0.5, high: 1.0 };

        let stands = [0.0, 0.5, 0.75, 1.0, 7.0].map(|level| water.at(level));

        let slow = Stand::Slow(Duration::from_millis(500));
        assert_eq!(stands, [Stand::Free, Stand::Free, slow, Stand::Full, Stand::Full]);
        assert_eq!(Water::NONE.at(1e300), Stand::Free);
    }

    #[test]
    fn records_go_when_nobody_needs_them_but_neither_at_once_nor_never() {
        let second = Duration::from_secs;
        let stretch = |to, since| Sealed { to: Position(to), since: second(since), is_named: false };
        let of = |stretches: [Sealed; 3], needed: Option<u64>, now: u64| {
            let mut sealed = VecDeque::from(stretches);
            may_go(&mut sealed, needed.map(Position), second(now)).map(|position| (position.0, sealed.len()))
        };
        let stretches = [stretch(10, 100), stretch(20, 110), stretch(30, 120)];
        let after = |needed, now| of(stretches, needed, now);

        assert_eq!(after(Some(30), 104), None, "too soon");
        assert_eq!(after(Some(30), 116), Some((20, 1)));
        assert_eq!(after(Some(19), 200), Some((10, 2)), "a follower is behind");
        assert_eq!(after(Some(9), 200), None);
        assert_eq!(after(None, 699), None, "nobody knows what is needed");
        assert_eq!(after(None, 711), Some((20, 1)), "and nobody waits for ever");
        let named = [stretches[0], Sealed { is_named: true, ..stretches[1] }, stretches[2]];
        assert_eq!(of(named, Some(30), 709), Some((10, 2)), "one of the second may be made again");
        assert_eq!(of(named, Some(30), 710), Some((30, 0)));
    }

    #[test]
    fn what_is_sealed_and_followed_is_read_by_all_at_once_whoever_named_it() {
        let stretch = |to, is_named| Sealed { to: Position(to), since: Duration::from_secs(100), is_named };
        let sealed = VecDeque::from([stretch(10, false), stretch(20, true), stretch(30, false)]);
        let read =
            |needed: Option<u64>| read_by_all(&sealed, needed.map(Position)).map(|position| position.0);

        assert_eq!([read(None), read(Some(9))], [None, None]);
        assert_eq!([read(Some(20)), read(Some(29)), read(Some(u64::MAX))], [Some(20), Some(20), Some(30)]);
        assert_eq!(read_by_all(&VecDeque::new(), Some(Position(5))), None);
    }
}
