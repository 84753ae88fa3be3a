//! Time zones by name.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::AmbiguousOffset;

use super::civil::{Civil, DAY};
use super::{EARLIEST, Error, LATEST};

/// A time zone: how far the clocks of a place are ahead of UTC, and when. The rules are those that this build came with.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeZone {
    rules: jiff::tz::TimeZone,
}

impl Default for TimeZone {
    fn default() -> Self {
        Self { rules: jiff::tz::TimeZone::UTC }
    }
}

impl TimeZone {
    /// The zone with an IANA name, such as `Asia/Shanghai`.
    ///
    /// # Errors
    /// [`Error::Zone`] if there is none.
    pub fn named(name: &str) -> Result<Self, Error> {
        let unknown = || Error::Zone { name: name.chars().take(64).collect() };
        if name.len() > 64 {
            return Err(unknown());
        }
        jiff::tz::TimeZone::get(name).map(|rules| Self { rules }).map_err(|_| unknown())
    }

    /// How far clocks are ahead of UTC at an instant. Unit: seconds.
    pub(super) fn offset_at(&self, instant: i64) -> i32 {
        // The library does not know the last day of all, and is not sure about the one before. No zone changes its clocks then.
        let near = instant.clamp(EARLIEST, LATEST - 3 * DAY);
        let near = Timestamp::from_microsecond(near).unwrap_or(Timestamp::UNIX_EPOCH);
        self.rules.to_offset(near).seconds()
    }

    /// How far clocks that show `civil` are ahead of UTC; where that is not certain, as before the clocks were changed.
    /// `None` for a date that does not exist. Unit: seconds.
    pub(super) fn offset_of(&self, civil: &Civil) -> Option<i32> {
        let year = i16::try_from(civil.year).ok()?;
        let small = |number: i64| i8::try_from(number).ok();
        let (month, day) = (small(civil.month)?, small(civil.day)?);
        let (hour, minute, second) = (small(civil.hour)?, small(civil.minute)?, small(civil.second)?);
        let nanos = i32::try_from(civil.micros * 1000).ok()?;
        let shown = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
        let (AmbiguousOffset::Unambiguous { offset: before }
        | AmbiguousOffset::Gap { before, .. }
        | AmbiguousOffset::Fold { before, .. }) = self.rules.to_ambiguous_timestamp(shown).offset();
        Some(before.seconds())
    }
}
