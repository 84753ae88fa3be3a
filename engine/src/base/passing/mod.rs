//! Memory for work in passing: what loads, flushes, compactions, builds and imports need besides what stays, counted together.

mod ledger;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use self::ledger::Ledger;
pub use self::ledger::{Shares, Work};

/// The memory that the work of one process shares. Cloning shares it.
///
/// A piece of work that holds a [`Permit`] never asks for a second one, and whoever asks holds nothing that a holder waits
/// for: so none waits for another in a circle.
#[derive(Clone, Debug)]
pub struct Passing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Mutex<Ledger>,
    /// Counts how often somebody who waited got memory.
    admitted: watch::Sender<u64>,
}

impl Default for Passing {
    fn default() -> Self {
        Self::new(Shares::UNLIMITED)
    }
}

impl Passing {
    /// Memory of which nothing is taken.
    #[must_use]
    pub fn new(shares: Shares) -> Self {
        Self(Arc::new(Inner { ledger: Mutex::new(Ledger::new(shares)), admitted: watch::Sender::new(0) }))
    }

    /// Waits until there is memory for a piece of work that is taken to need `bytes`. Cancel safe: who gives up leaves the
    /// queue.
    pub async fn admit(&self, work: Work, bytes: u64) -> Permit {
        let mut admitted = self.0.admitted.subscribe();
        let number = self.0.ledger.lock().ask(work, bytes);
        // From here on it is given back whatever happens, also while it waits.
        let permit = Permit { of: Arc::clone(&self.0), number };
        while !self.0.ledger.lock().has(number) {
            // The sender lives as long as this does.
            if admitted.changed().await.is_err() {
                break;
            }
        }
        permit
    }

    /// What there is for a kind of work. Unit: bytes.
    #[must_use]
    pub fn share(&self, work: Work) -> u64 {
        self.0.ledger.lock().share(work)
    }

    /// Bytes that pieces of a kind have, and bytes that others wait for.
    #[must_use]
    pub fn figures(&self, work: Work) -> (u64, u64) {
        self.0.ledger.lock().figures(work)
    }
}

/// Memory of one piece of work; given back when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the memory back"]
pub struct Permit {
    of: Arc<Inner>,
    number: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let has_admitted = self.of.ledger.lock().leave(self.number);
        if has_admitted {
            self.of.admitted.send_modify(|times| *times += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn passing() -> Passing {
        Passing::new(Shares { flushes: 10, loads: 10, jobs: 100 })
    }

    #[tokio::test]
    async fn who_does_not_fit_waits_until_a_permit_is_dropped() {
        let passing = passing();
        let first = passing.admit(Work::Job, 60).await;
        let mut second = Box::pin(passing.admit(Work::Job, 60));

        assert!((&mut second).now_or_never().is_none());
        assert_eq!(passing.figures(Work::Job), (60, 60));
        drop(first);

        let _second = second.await;
        assert_eq!(passing.figures(Work::Job), (60, 0));
    }

    #[tokio::test]
    async fn who_is_dropped_while_waiting_leaves_the_queue_and_lets_the_next_one_pass() {
        let passing = passing();
        let _first = passing.admit(Work::Job, 60).await;
        let mut large = Box::pin(passing.admit(Work::Job, 60));
        let mut small = Box::pin(passing.admit(Work::Job, 40));
        assert!((&mut large).now_or_never().is_none() && (&mut small).now_or_never().is_none());

        drop(large);

        let _small = small.await;
        assert_eq!(passing.figures(Work::Job), (100, 0));
    }

    #[tokio::test]
    async fn memory_that_comes_after_its_waiter_was_dropped_goes_to_the_next_one() {
        let passing = passing();
        let first = passing.admit(Work::Job, 60).await;
        let mut second = Box::pin(passing.admit(Work::Job, 60));
        let mut third = Box::pin(passing.admit(Work::Job, 60));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());

        drop(first);
        drop(second);

        let _third = third.await;
        assert_eq!(passing.figures(Work::Job), (60, 0));
    }
}
