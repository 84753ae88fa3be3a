//! How long a node may believe that its channels are its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::sooner;

/// The end of the time for which nobody else can have been made owner of this node's channels.
///
/// On the monotonic clock, which goes on while a process is stopped: a process that was stopped for long finds its lease
/// over. The lease decides only whether a mark needs a proof by the log; that no two owners ever acknowledge is the log's
/// own promise.
#[derive(Debug, Default)]
pub struct Lease {
    until_ns: AtomicU64,
}

impl Lease {
    /// The coordinator answered a call that was sent at `sent`. Its clock may run a little faster than this node's: what that can
    /// make of `span` does not count.
    pub fn renew(&self, sent: Duration, span: Duration) {
        let until = u64::try_from(sent.saturating_add(sooner(span)).as_nanos()).unwrap_or(u64::MAX);
        self.until_ns.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether it still holds at `now`.
    pub fn holds(&self, now: Duration) -> bool {
        now.as_nanos() < u128::from(self.until_ns.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Lease;

    #[test]
    fn a_lease_counts_from_when_its_call_was_sent() {
        let lease = Lease::default();
        let second = Duration::from_secs(1);

        lease.renew(10 * second, 5 * second);
        lease.renew(9 * second, 5 * second);

        assert!(lease.holds(Duration::from_millis(14_642)));
        assert!(!lease.holds(Duration::from_millis(14_643)));
    }
}
