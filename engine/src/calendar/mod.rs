//! Instants as users write them: texts in time zones, durations, and the parts of a date.
//!
//! An instant is a number: microseconds since 1970 in UTC. Dates are reckoned here and not by the library of time zones, whose
//! instants end a day before the year 9999 does. Knows no columns and no wire.

mod civil;
mod interval;
mod parse;
#[cfg(test)]
mod tests;
mod zone;

use civil::Civil;

pub use interval::Interval;
pub use zone::TimeZone;

/// 0001-01-01T00:00:00Z.
pub const EARLIEST: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
pub const LATEST: i64 = 253_402_300_799_999_999;

/// Why a text says no instant, zone, part or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text has no form that an instant has.
    #[error("invalid timestamp string: '{text}'. Does not match any known format")]
    Format {
        /// The text.
        text: String,
    },
    /// The date or the time of day does not exist.
    #[error("invalid timestamp string: '{text}'. There is no such date or time")]
    NoSuchTime {
        /// The text.
        text: String,
    },
    /// The instant is before the year 1 or after the year 9999 in UTC.
    #[error("invalid timestamp string: '{text}'. It is not between the years 0001 and 9999 in UTC")]
    Range {
        /// The text.
        text: String,
    },
    /// No time zone has this name.
    #[error("unknown or invalid IANA Time Zone ID: {name}")]
    Zone {
        /// The name.
        name: String,
    },
    /// No part of a date has this name.
    #[error("unsupported field for extraction: {name}, fields should be separated by ',' or ' '")]
    Part {
        /// The name.
        name: String,
    },
    /// The text is no duration.
    #[error("invalid ISO 8601 duration: '{text}'")]
    Interval {
        /// The text.
        text: String,
    },
}

/// A part of a date and time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The year.
    Year,
    /// The month, from 1.
    Month,
    /// The day of the month, from 1.
    Day,
    /// The hour, from 0.
    Hour,
    /// The minute.
    Minute,
    /// The second.
    Second,
    /// The microseconds past the second.
    Microsecond,
}

impl Part {
    const ALL: [(&'static str, Self); 7] = [
        ("year", Self::Year),
        ("month", Self::Month),
        ("day", Self::Day),
        ("hour", Self::Hour),
        ("minute", Self::Minute),
        ("second", Self::Second),
        ("microsecond", Self::Microsecond),
    ];

    /// The parts that a list names, with commas or blanks between the names.
    ///
    /// # Errors
    /// [`Error::Part`] for a name of none.
    pub fn list(text: &str) -> Result<Vec<Self>, Error> {
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        let part = |name: &str| {
            let known = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            known.map(|(_, part)| *part).ok_or_else(|| Error::Part { name: name.chars().take(64).collect() })
        };
        names.map(part).collect()
    }
}

/// The instant that `text` says; one without an offset is a time in `zone`.
///
/// A date and a time of day with `T` or a blank between them, up to nine digits behind the second of which six are kept, and
/// at the end `Z`, an offset like `+08:00`, or nothing. A time that a zone leaves out is as much later as the zone leaves
/// out; of a time that comes twice it is the first.
///
/// # Errors
/// [`Error::Format`], [`Error::NoSuchTime`] or [`Error::Range`].
pub fn parse(text: &str, zone: &TimeZone) -> Result<i64, Error> {
    parse::instant(text, zone)
}

/// An instant as text in `zone`, such as `2025-01-01T08:00:00.5+08:00`; `Z` where the offset is none.
#[must_use]
pub fn show(instant: i64, zone: &TimeZone) -> String {
    use std::fmt::Write as _;
    let offset = zone.offset_at(instant);
    let Civil { year, month, day, hour, minute, second, micros } = Civil::of(instant, offset);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if micros != 0 {
        let digits = format!("{micros:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    if offset == 0 {
        text.push('Z');
        return text;
    }
    let size = offset.unsigned_abs();
    text.push(if offset < 0 { '-' } else { '+' });
    // Writing to a text does not fail.
    let _ = write!(text, "{:02}:{:02}", size / 3600, size / 60 % 60);
    if !size.is_multiple_of(60) {
        let _ = write!(text, ":{:02}", size % 60);
    }
    text
}

/// Parts of an instant in `zone`, in the order of `parts`.
#[must_use]
pub fn parts(instant: i64, zone: &TimeZone, parts: &[Part]) -> Vec<i64> {
    let civil = Civil::of(instant, zone.offset_at(instant));
    let part = |part: &Part| match part {
        Part::Year => civil.year,
        Part::Month => civil.month,
        Part::Day => civil.day,
        Part::Hour => civil.hour,
        Part::Minute => civil.minute,
        Part::Second => civil.second,
        Part::Microsecond => civil.micros,
    };
    parts.iter().map(part).collect()
}
