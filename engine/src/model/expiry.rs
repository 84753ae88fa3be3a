//! Which rows have lived as long as they may.

use super::{Instants, SegmentManifest};
use crate::base::{FieldId, Timestamp};

/// Rows that have expired; by default none have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Expiry {
    /// Those that were written before this time.
    #[serde(default)]
    pub written_before: Timestamp,
    /// Those whose value of a `Timestamptz` field is not after an instant, in microseconds since 1970. No value, no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_field: Option<(FieldId, i64)>,
}

impl Expiry {
    /// Whether no row has expired.
    #[must_use]
    pub fn is_never(&self) -> bool {
        *self == Self::default()
    }

    /// The rows that have expired by this and by `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let by_field = match (self.by_field, other.by_field) {
            (Some((one, until)), Some((field, at))) if one == field => Some((one, until.min(at))),
            _ => None,
        };
        Self { written_before: self.written_before.min(other.written_before), by_field }
    }

    /// Whether all rows of a segment have expired, as far as its manifest tells.
    #[must_use]
    pub fn is_all_of(&self, segment: &SegmentManifest) -> bool {
        let is_over = |(field, until): (FieldId, i64)| match instants(segment, field) {
            Some(Instants { nulls: 0, span: Some((_, greatest)), .. }) => *greatest <= until,
            _ => false,
        };
        segment.newest < self.written_before || self.by_field.is_some_and(is_over)
    }

    /// Whether some row of a segment may have expired.
    #[must_use]
    pub fn may_be_of(&self, segment: &SegmentManifest) -> bool {
        let may_be_over = |(field, until): (FieldId, i64)| match instants(segment, field) {
            Some(known) => known.span.is_some_and(|(least, _)| least <= until),
            None => true,
        };
        segment.oldest < self.written_before || self.by_field.is_some_and(may_be_over)
    }

    /// How many rows of a segment have expired, if times of writing and instants lie evenly between the least and the greatest.
    #[must_use]
    pub fn rows_of(&self, segment: &SegmentManifest) -> u64 {
        let (oldest, newest) = (i128::from(segment.oldest.0), i128::from(segment.newest.0));
        let written = share(segment.rows, (oldest, newest), i128::from(self.written_before.0) - 1);
        let over = self.by_field.and_then(|(field, until)| {
            let known = instants(segment, field)?;
            let (least, greatest) = known.span?;
            let rows = segment.rows.saturating_sub(known.nulls);
            Some(share(rows, (i128::from(least), i128::from(greatest)), i128::from(until)))
        });
        written.max(over.unwrap_or(0))
    }
}

fn instants(segment: &SegmentManifest, field: FieldId) -> Option<&Instants> {
    segment.instants.iter().find(|known| known.field == field)
}

/// How many of `rows` numbers that lie evenly from `least` to `greatest` are not above `last`.
fn share(rows: u64, (least, greatest): (i128, i128), last: i128) -> u64 {
    let span = (greatest - least + 1).max(1);
    let gone = (last - least + 1).clamp(0, span);
    // More rows than any segment has, and no overflow: a span is below 2^65.
    let rows = i128::from(rows.min(1 << 48));
    u64::try_from(rows * gone / span).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_by_two_is_no_more_than_by_either() {
        let expiry = |before, by_field: Option<(i64, i64)>| Expiry {
            written_before: Timestamp(before),
            by_field: by_field.map(|(field, at)| (FieldId(field), at)),
        };

        let both = |one: Expiry, other: Expiry| [one.and(other), other.and(one)];

        assert_eq!(both(expiry(5, None), expiry(9, None)), [expiry(5, None); 2]);
        assert_eq!(both(expiry(5, None), Expiry::default()), [Expiry::default(); 2]);
        assert_eq!(both(expiry(0, Some((7, 3))), expiry(0, Some((7, 2)))), [expiry(0, Some((7, 2))); 2]);
        assert_eq!(both(expiry(0, Some((7, 3))), expiry(4, Some((8, 3)))), [Expiry::default(); 2]);
    }

    #[test]
    fn what_is_known_of_a_segment_says_how_much_of_it_has_expired() {
        let segment = |instants: &str| -> SegmentManifest {
            let text = r#"{"id":1,"partition":2,"rows":10,"oldest":20,"newest":29,"columns":[],"indexes":[],"instants":"#;
            serde_json::from_str(&format!("{text}{instants}}}")).unwrap()
        };
        let (unknown, some) = (segment("[]"), segment(r#"[{"field":7,"nulls":2,"span":[-4,3]}]"#));
        let (all, none) = (
            segment(r#"[{"field":7,"nulls":0,"span":[-4,5]}]"#),
            segment(r#"[{"field":7,"nulls":10,"span":null}]"#),
        );
        let say = |expiry: Expiry, of: &SegmentManifest| {
            (expiry.is_all_of(of), expiry.may_be_of(of), expiry.rows_of(of))
        };
        let written = |before| Expiry { written_before: Timestamp(before), by_field: None };
        let over = |until| Expiry { written_before: Timestamp::ZERO, by_field: Some((FieldId(7), until)) };

        let ages = [0, 20, 21, 25, 29, 30, 99].map(|before| say(written(before), &unknown));
        let ends = [i64::MIN, -5, -4, 0, 3, i64::MAX].map(|until| say(over(until), &some));

        let sure = (true, true, 10);
        let part = |rows| (false, true, rows);
        let nothing = (false, false, 0);
        assert_eq!(ages, [nothing, nothing, part(1), part(5), part(9), sure, sure]);
        assert_eq!(ends, [nothing, nothing, part(1), part(5), part(8), part(8)]);
        assert_eq!([say(over(4), &all), say(over(5), &all)], [part(9), sure]);
        assert_eq!([say(over(99), &unknown), say(over(99), &none)], [part(0), nothing]);
    }

    #[test]
    fn nothing_has_expired_by_a_record_that_says_nothing() {
        assert!(serde_json::from_str::<Expiry>("{}").unwrap().is_never());
    }
}
