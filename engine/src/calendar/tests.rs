use proptest::prelude::*;

use super::civil::{Civil, date_of, days_of};
use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::named(name).unwrap()
}

const ZONES: [&str; 8] = [
    "UTC",
    "Asia/Shanghai",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "Australia/Lord_Howe",
];

#[test]
fn texts_are_instants() {
    let shanghai = zone("Asia/Shanghai");
    let new_york = zone("America/New_York");
    let utc = TimeZone::default();
    let cases = [
        ("1970-01-01T00:00:00Z", &utc, 0),
        ("1970-01-01 00:00:00.000001Z", &utc, 1),
        ("1970-01-01T08:00:00", &shanghai, 0),
        ("1970-01-01T08:00:00+08:00", &new_york, 0),
        ("1969-12-31T23:59:59.9999999Z", &utc, -1),
        ("2000-01-01T00:00:00+15:59", &utc, 946_684_800_000_000 - 57_540_000_000),
        ("2000-01-01T00:00:00-15:59", &utc, 946_684_800_000_000 + 57_540_000_000),
        ("0001-01-01T00:00:00Z", &utc, EARLIEST),
        ("9999-12-31T23:59:59.999999Z", &utc, LATEST),
        // The hour from 2 to 3 did not exist; the one from 1 to 2 came twice.
        ("2024-03-10T02:30:00", &new_york, 1_710_055_800_000_000),
        ("2024-11-03T01:30:00", &new_york, 1_730_611_800_000_000),
    ];
    for (text, zone, instant) in cases {
        assert_eq!(parse(text, zone), Ok(instant), "{text}");
    }
}

#[test]
fn texts_that_are_no_instants_are_refused() {
    let utc = TimeZone::default();
    let cases = [
        ("", "invalid timestamp string: ''. Does not match any known format"),
        ("soon", "invalid timestamp string: 'soon'. Does not match any known format"),
        ("2025-01-01", "invalid timestamp string: '2025-01-01'. Does not match any known format"),
        (
            "2025-1-1T00:00:00",
            "invalid timestamp string: '2025-1-1T00:00:00'. Does not match any known format",
        ),
        (
            "2025-01-01T00:00:00 Z",
            "invalid timestamp string: '2025-01-01T00:00:00 Z'. Does not match any known format",
        ),
        (
            "2025-01-01T00:00:00.Z",
            "invalid timestamp string: '2025-01-01T00:00:00.Z'. Does not match any known format",
        ),
        (
            "2025-13-01T00:00:00",
            "invalid timestamp string: '2025-13-01T00:00:00'. There is no such date or time",
        ),
        (
            "2023-02-29T00:00:00",
            "invalid timestamp string: '2023-02-29T00:00:00'. There is no such date or time",
        ),
        (
            "2025-01-01T24:00:00",
            "invalid timestamp string: '2025-01-01T24:00:00'. There is no such date or time",
        ),
        (
            "2025-01-01T00:00:00+16:00",
            "invalid timestamp string: '2025-01-01T00:00:00+16:00'. There is no such date or time",
        ),
        (
            "0000-01-01T00:00:00Z",
            "invalid timestamp string: '0000-01-01T00:00:00Z'. There is no such date or time",
        ),
        (
            "0001-01-01T00:00:00+00:01",
            "invalid timestamp string: '0001-01-01T00:00:00+00:01'. It is not between the years 0001 and 9999 in UTC",
        ),
        (
            "9999-12-31T23:59:59-00:01",
            "invalid timestamp string: '9999-12-31T23:59:59-00:01'. It is not between the years 0001 and 9999 in UTC",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text, &utc).unwrap_err().to_string(), expected);
    }
    let unknown = TimeZone::named("Mars/Base").unwrap_err().to_string();
    assert_eq!(unknown, "unknown or invalid IANA Time Zone ID: Mars/Base");
}

#[test]
fn instants_are_shown_without_needless_digits() {
    let shown = |instant, name| show(instant, &zone(name));
    assert_eq!(shown(0, "UTC"), "1970-01-01T00:00:00Z");
    assert_eq!(shown(1_500_000, "Asia/Shanghai"), "1970-01-01T08:00:01.5+08:00");
    assert_eq!(shown(-1, "Etc/GMT+12"), "1969-12-31T11:59:59.999999-12:00");
    // Clocks had no whole minutes yet.
    assert_eq!(shown(-2_500_000_000_000_000, "Asia/Shanghai"), "1890-10-12T03:39:03+08:05:43");
    assert_eq!(shown(EARLIEST, "Etc/GMT+12"), "0000-12-31T12:00:00-12:00");
    assert_eq!(shown(LATEST, "Pacific/Kiritimati"), "10000-01-01T13:59:59.999999+14:00");
}

#[test]
fn parts_are_of_the_time_in_the_zone() {
    let wanted = Part::list("year, month day,hour,minute second,microsecond").unwrap();
    let found = parts(1_500_000, &zone("Asia/Shanghai"), &wanted);
    assert_eq!(found, [1970, 1, 1, 8, 0, 1, 500_000]);
    let unknown = Part::list("year,age").unwrap_err().to_string();
    assert_eq!(unknown, "unsupported field for extraction: age, fields should be separated by ',' or ' '");
}

#[test]
fn durations_are_added_by_the_calendar() {
    let utc = TimeZone::default();
    let added =
        |from: &str, by: &str| show(Interval::parse(by).unwrap().after(parse(from, &utc).unwrap()), &utc);
    assert_eq!(added("2024-01-31T10:00:00Z", "P1M"), "2024-02-29T10:00:00Z");
    assert_eq!(added("2024-02-29T10:00:00Z", "P1Y"), "2025-02-28T10:00:00Z");
    assert_eq!(added("2024-02-29T10:00:00Z", "-P1Y2M"), "2022-12-29T10:00:00Z");
    assert_eq!(added("2024-12-31T23:00:00Z", "P1DT1H30M1.25S"), "2025-01-02T00:30:01.25Z");
    assert_eq!(added("2024-01-01T00:00:00Z", "P2W"), "2024-01-15T00:00:00Z");
    assert_eq!(added("2024-01-01T00:00:00Z", "P0D"), "2024-01-01T00:00:00Z");
    for text in ["", "P", "PT", "P1", "P1DT", "1D", "P1M1Y", "P1.5D", "P1H", "PT1D", "P-1D", "P99999999999Y"]
    {
        let refused = Interval::parse(text).unwrap_err().to_string();
        assert_eq!(refused, format!("invalid ISO 8601 duration: '{text}'"));
    }
}

#[test]
fn days_are_counted_as_one_counts_them() {
    let (mut days, mut date) = (days_of(1, 1, 1), (1, 1, 1));
    while date.0 < 10_000 {
        assert_eq!((date_of(days), days_of(date.0, date.1, date.2)), (date, days));
        days += 1;
        date = match date {
            (year, 12, 31) => (year + 1, 1, 1),
            (year, month, day) if day == civil::days_in(year, month) => (year, month + 1, 1),
            (year, month, day) => (year, month, day + 1),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_in_any_zone_says_the_same_instant(
        instant in prop_oneof![EARLIEST..=LATEST, Just(EARLIEST), Just(LATEST), 0..4_000_000_000_000_000_i64],
        name in prop::sample::select(&ZONES),
    ) {
        let text = show(instant, &zone(name));
        let civil = Civil::of(instant, zone(name).offset_at(instant));
        if (1..=9999).contains(&civil.year) {
            prop_assert_eq!(parse(&text, &TimeZone::default()), Ok(instant), "{}", text);
        }
    }

    /// The last day of the year 9999 and the first of the year 1 as any other.
    #[test]
    fn a_time_without_offset_is_shown_as_it_was_written(
        year in prop_oneof![Just(1_i64), Just(9999), 2000..=9999_i64],
        (month, day, hour, second) in (prop_oneof![Just(1_i64), Just(12)], 1..=31_i64, 0..24_i64, 0..60_i64),
        name in prop::sample::select(&ZONES),
    ) {
        let zone = zone(name);
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:07:{second:02}");
        match parse(&text, &zone) {
            Ok(instant) => prop_assert!(show(instant, &zone).starts_with(&text), "{} {}", text, show(instant, &zone)),
            Err(error) => {
                let is_range = matches!(error, Error::Range { .. });
                prop_assert!(is_range && (year == 1 || year == 9999));
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(text in "[0-9TZ:+ .-]{0,32}|.{0,12}") {
        let _ = parse(&text, &TimeZone::default());
        let _ = Interval::parse(&text);
    }

    #[test]
    fn durations_parse_to_themselves(months in 0..2000_i64, micros in 0..1_000_000_000_000_i64, back: bool) {
        let interval = Interval { months, micros };
        let interval = if back { interval.reversed() } else { interval };
        prop_assert_eq!(Interval::parse(&interval.to_string()), Ok(interval));
    }
}
