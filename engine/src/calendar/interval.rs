//! Durations as ISO 8601 writes them.

use super::civil::{Civil, DAY, SECOND, days_in};
use super::{EARLIEST, Error, LATEST};

/// A duration: months, and what is always as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Years and months. Unit: months.
    pub months: i64,
    /// Weeks, days and times of day. Unit: microseconds.
    pub micros: i64,
}

/// Longest duration: the span of all instants. Unit: months.
const MOST_MONTHS: i64 = 12 * 10_000;
/// The same. Unit: microseconds.
const MOST_MICROS: i64 = LATEST - EARLIEST;

impl Interval {
    /// The duration that a text like `P1Y2M3DT4H5M6.5S` or `P2W` says.
    ///
    /// # Errors
    /// [`Error::Interval`] for any other, and for one longer than all times.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::read(text).ok_or_else(|| Error::Interval { text: text.chars().take(64).collect() })
    }

    fn read(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let mut rest = text.strip_prefix('P')?;
        let mut units: &[(char, i64, i64)] = &[('Y', 12, 0), ('M', 1, 0), ('W', 0, 7 * DAY), ('D', 0, DAY)];
        let mut found = Self { months: 0, micros: 0 };
        let (mut is_time, mut count) = (false, 0);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('T') {
                if is_time || after.is_empty() {
                    return None;
                }
                is_time = true;
                rest = after;
                units = &[('H', 0, 3600 * SECOND), ('M', 0, 60 * SECOND), ('S', 0, SECOND)];
            }
            let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
            let number: i64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let mut fraction = "";
            if let Some(after) = rest.strip_prefix(['.', ',']) {
                let end = after.find(|letter: char| !letter.is_ascii_digit())?;
                (fraction, rest) = after.split_at(end);
                if !is_time || !(1..=9).contains(&fraction.len()) || !rest.starts_with('S') {
                    return None;
                }
            }
            let unit = rest.chars().next()?;
            let at = units.iter().position(|(known, ..)| *known == unit)?;
            let (_, months, micros) = units[at];
            units = &units[at + 1..];
            rest = &rest[unit.len_utf8()..];
            found.months = found.months.checked_add(number.checked_mul(months)?)?;
            found.micros = found.micros.checked_add(number.checked_mul(micros)?)?;
            let kept = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
            if !fraction.is_empty() {
                let part = kept.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
                found.micros = found.micros.checked_add(part)?;
            }
            count += 1;
        }
        if count == 0 || found.months > MOST_MONTHS || found.micros > MOST_MICROS {
            return None;
        }
        Some(if negative { found.reversed() } else { found })
    }

    /// The same backwards.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { months: -self.months, micros: -self.micros }
    }

    /// The instant so much later: first the months, in UTC and to the last day of a month that is too short, then the rest.
    #[must_use]
    pub fn after(self, instant: i64) -> i64 {
        let mut later = instant;
        if self.months != 0 {
            let civil = Civil::of(instant, 0);
            let months = civil.year * 12 + civil.month - 1 + self.months;
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            let day = civil.day.min(days_in(year, month));
            // The years of all instants and all durations together are far from the ends of 64 bits.
            later = Civil { year, month, day, ..civil }.in_utc().unwrap_or(instant);
        }
        later.saturating_add(self.micros)
    }
}

impl std::fmt::Display for Interval {
    /// The text that parses to this duration.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let negative = self.months < 0 || self.micros < 0;
        let (months, micros) = (self.months.unsigned_abs(), self.micros.unsigned_abs());
        let (days, seconds) = (micros / DAY.unsigned_abs(), micros % DAY.unsigned_abs());
        write!(out, "{}P{months}M{days}D", if negative { "-" } else { "" })?;
        if seconds > 0 {
            let second = SECOND.unsigned_abs();
            write!(out, "T{}.{:06}S", seconds / second, seconds % second)?;
        }
        Ok(())
    }
}
