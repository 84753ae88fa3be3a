//! Hybrid time, as Milvus has it on the wire.

/// Bits of the logical counter below the milliseconds.
const LOGICAL_BITS: u32 = 18;

/// Hybrid timestamp: the upper 46 bits are Unix milliseconds, the lower 18 bits a logical counter.
///
/// Totally ordered across a cluster. Source: the coordinator's allocator; wire format of Milvus.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// After everything.
    pub const MAX: Self = Self(u64::MAX);

    /// The first timestamp of a millisecond.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: u64) -> Self {
        Self(unix_ms << LOGICAL_BITS)
    }

    /// The physical part, in Unix milliseconds.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// This timestamp as a fresh id: ids and time come from one ever-growing number. Half of the range is never reached.
    #[must_use]
    pub fn as_id(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The next timestamp.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// So many milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms << LOGICAL_BITS))
    }

    /// This time less `ms` milliseconds, not below zero.
    #[must_use]
    pub const fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms << LOGICAL_BITS))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}
