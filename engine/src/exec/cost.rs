//! What a plan costs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::Clock;

/// Processor time of the threads that help the calling one: only they know what they used.
pub struct Cost<'a> {
    clock: &'a dyn Clock,
    /// Unit: nanoseconds.
    helpers: AtomicU64,
}

impl<'a> Cost<'a> {
    /// Nothing yet.
    #[must_use]
    pub const fn new(clock: &'a dyn Clock) -> Self {
        Self { clock, helpers: AtomicU64::new(0) }
    }

    /// Does `work` on the calling thread, which helps.
    pub(super) fn help<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.clock.thread_cpu();
        let done = work();
        let used = self.clock.thread_cpu().saturating_sub(before).as_nanos();
        self.helpers.fetch_add(u64::try_from(used).unwrap_or(u64::MAX), Ordering::Relaxed);
        done
    }

    /// What all helpers used.
    #[must_use]
    pub fn of_helpers(&self) -> Duration {
        Duration::from_nanos(self.helpers.load(Ordering::Relaxed))
    }
}
