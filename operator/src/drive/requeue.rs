//! When an object is looked at again: one table for successes, one for failures.

use std::time::Duration;

use crate::cluster::Kind;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The object is as its spec says; only drift that no watch shows can change it.
    Settled,
    /// As above, but the object stands on something outside that may change or go away without a word: a store, a Secret.
    Relying,
    /// Something is under way that a watch will report; look again in case it does not.
    Moving,
    /// Something is missing that no watch reports.
    Missing,
    /// A number of pods follows the load, which no watch reports.
    Measuring,
    /// An engine is doing what it was told, which no watch reports and which takes seconds.
    Following,
    /// Only a change of the object can help, or the object is gone.
    Waiting,
}

impl Next {
    /// When to look again; `None`: at the next event.
    #[must_use]
    pub const fn after(self) -> Option<Duration> {
        match self {
            Self::Settled => Some(Duration::from_secs(600)),
            Self::Relying => Some(Duration::from_secs(60)),
            Self::Moving => Some(Duration::from_secs(30)),
            Self::Missing | Self::Measuring => Some(Duration::from_secs(10)),
            Self::Following => Some(Duration::from_secs(2)),
            Self::Waiting => None,
        }
    }
}

/// How long to wait after a failure of this kind.
#[must_use]
pub const fn delay(kind: Kind) -> Duration {
    match kind {
        Kind::Conflict | Kind::NotFound => Duration::from_secs(1),
        Kind::Unavailable => Duration::from_secs(5),
        Kind::Exhausted => Duration::from_secs(15),
        Kind::Invalid | Kind::Denied | Kind::Internal => Duration::from_secs(60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_delay() {
        let table: Vec<(&str, u64)> =
            Kind::ALL.iter().map(|kind| (kind.label(), delay(*kind).as_secs())).collect();

        assert_eq!(
            table,
            [
                ("invalid", 60),
                ("denied", 60),
                ("not_found", 1),
                ("conflict", 1),
                ("exhausted", 15),
                ("unavailable", 5),
                ("internal", 60)
            ]
        );
    }
}
