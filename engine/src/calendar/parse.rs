//! Texts to instants.

use super::civil::{Civil, SECOND};
use super::{EARLIEST, Error, LATEST, TimeZone};

/// Longest text that errors repeat whole. Unit: letters.
const SHOWN: usize = 64;
/// Greatest offset from UTC. Unit: seconds.
const MOST_OFFSET: i64 = 16 * 3600 - 1;

pub(super) fn instant(text: &str, zone: &TimeZone) -> Result<i64, Error> {
    let shown = || text.chars().take(SHOWN).collect::<String>();
    let format = || Error::Format { text: shown() };
    let no_such_time = || Error::NoSuchTime { text: shown() };
    let mut rest = text.as_bytes();
    let (civil, offset) = written(&mut rest).ok_or_else(format)?;
    if !civil.exists() || civil.year == 0 || offset.is_some_and(|offset| offset.abs() > MOST_OFFSET) {
        return Err(no_such_time());
    }
    let offset = match offset {
        Some(offset) => offset,
        None => i64::from(zone.offset_of(&civil).ok_or_else(no_such_time)?),
    };
    let instant = civil.in_utc().and_then(|local| local.checked_sub(offset * SECOND));
    instant
        .filter(|instant| (EARLIEST..=LATEST).contains(instant))
        .ok_or_else(|| Error::Range { text: shown() })
}

/// What is written, to the end: a date and time that need not exist, and the offset in seconds.
fn written(rest: &mut &[u8]) -> Option<(Civil, Option<i64>)> {
    let year = number(rest, 4)?;
    sign(rest, b"-")?;
    let month = number(rest, 2)?;
    sign(rest, b"-")?;
    let day = number(rest, 2)?;
    sign(rest, b"Tt ")?;
    let hour = number(rest, 2)?;
    sign(rest, b":")?;
    let minute = number(rest, 2)?;
    sign(rest, b":")?;
    let second = number(rest, 2)?;
    let mut micros = 0;
    if sign(rest, b".,").is_some() {
        let digits = rest.iter().take_while(|digit| digit.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        let (fraction, after) = rest.split_at(digits);
        *rest = after;
        let kept = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        micros = kept.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    }
    let offset = match sign(rest, b"Zz+-") {
        None => None,
        Some(b'Z' | b'z') => Some(0),
        Some(side) => {
            let hours = number(rest, 2)?;
            sign(rest, b":")?;
            let minutes = number(rest, 2)?;
            let seconds = if sign(rest, b":").is_some() { number(rest, 2)? } else { 0 };
            if minutes > 59 || seconds > 59 {
                return None;
            }
            let size = (hours * 60 + minutes) * 60 + seconds;
            Some(if side == b'-' { -size } else { size })
        }
    };
    rest.is_empty().then_some((Civil { year, month, day, hour, minute, second, micros }, offset))
}

/// A number of just so many digits.
fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (taken, after) = rest.split_at_checked(digits)?;
    *rest = after;
    taken.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// The next byte, if it is one of `any`.
fn sign(rest: &mut &[u8], any: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    any.contains(first).then(|| {
        *rest = after;
        *first
    })
}
