//! Which rows have lived as long as they may.

use super::SegmentManifest;
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
        segment.newest < self.written_before
    }

    /// Whether some row of a segment may have expired.
    #[must_use]
    pub fn may_be_of(&self, segment: &SegmentManifest) -> bool {
        self.by_field.is_some() || segment.oldest < self.written_before
    }
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
    fn nothing_has_expired_by_a_record_that_says_nothing() {
        assert!(serde_json::from_str::<Expiry>("{}").unwrap().is_never());
    }
}
