//! What a read must see, from what its client asks.

use crate::base::Timestamp;
use crate::rpc::{Consistency, ReadAfter};

/// What a node must have applied before it answers.
///
/// `now` is the proxy's time, `newest` the newest write that went through this proxy to the collection, `graceful_ms`
/// how far behind `Bounded` may be. Source: wire specification 2.3.
#[must_use]
pub fn read_after(
    consistency: Consistency,
    now: Timestamp,
    graceful_ms: u64,
    newest: Timestamp,
) -> ReadAfter {
    match consistency {
        Consistency::Strong => ReadAfter::Everything,
        Consistency::Session(time) => ReadAfter::Time(time),
        Consistency::History(time) => ReadAfter::History(time),
        Consistency::Bounded => ReadAfter::Time(now.minus_ms(graceful_ms).max(newest)),
        Consistency::Eventually => ReadAfter::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::read_after;
    use crate::base::Timestamp;
    use crate::rpc::{Consistency, ReadAfter};

    #[test]
    fn each_level_becomes_what_a_node_understands() {
        let (now, session) = (Timestamp::from_unix_ms(20_000), Timestamp::from_unix_ms(7));
        let old = Timestamp::from_unix_ms(1);
        let fresh = Timestamp::from_unix_ms(19_999);
        let after = |consistency, newest| read_after(consistency, now, 5_000, newest);

        assert_eq!(after(Consistency::Strong, fresh), ReadAfter::Everything);
        assert_eq!(after(Consistency::Session(session), fresh), ReadAfter::Time(session));
        assert_eq!(after(Consistency::History(session), fresh), ReadAfter::History(session));
        assert_eq!(after(Consistency::Bounded, old), ReadAfter::Time(Timestamp::from_unix_ms(15_000)));
        assert_eq!(after(Consistency::Bounded, fresh), ReadAfter::Time(fresh));
        assert_eq!(after(Consistency::Eventually, fresh), ReadAfter::Nothing);
    }
}
