//! The clock seam: nothing else in the engine reads the time or sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

/// Time as the engine needs it.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time in Unix milliseconds; may jump.
    fn unix_ms(&self) -> u64;

    /// Monotonic time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;

    /// Processor time that the calling thread has used: never moves while the thread waits.
    fn thread_cpu(&self) -> Duration;

    /// Completes after `span`. Cancel safe.
    async fn sleep(&self, span: Duration);
}

/// Monotonic clocks of two machines run apart by less than one part in so many: one may be five hundredths too fast or too
/// slow, or both be a little wrong.
pub const DRIFT: u32 = 14;

/// What has ended on this machine's clock before `span`, begun no earlier, ends on another's.
#[must_use]
pub fn sooner(span: Duration) -> Duration {
    span - span / DRIFT
}

/// The machine's clock.
#[derive(Debug)]
pub struct RealClock {
    started: Instant,
}

impl RealClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now() })
    }
}

#[async_trait]
impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn unix_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn thread_cpu(&self) -> Duration {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(used).unwrap_or_default()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// A clock for tests and simulation: wall time moves with the runtime's (possibly paused) time from a chosen start.
///
/// Every reading also moves it by one microsecond, so that a loop that waits for time to pass ends.
#[derive(Debug)]
pub struct TestClock {
    start_unix_ms: u64,
    started: tokio::time::Instant,
    readings: AtomicU64,
}

impl TestClock {
    /// A clock that shows `start_unix_ms` now. Call it inside a runtime.
    #[must_use]
    pub fn starting_at(start_unix_ms: u64) -> Arc<Self> {
        Arc::new(Self { start_unix_ms, started: tokio::time::Instant::now(), readings: AtomicU64::new(0) })
    }
}

#[async_trait]
impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        let elapsed = self.monotonic();
        self.start_unix_ms + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn monotonic(&self) -> Duration {
        let readings = self.readings.fetch_add(1, Ordering::Relaxed);
        self.started.elapsed() + Duration::from_micros(readings)
    }

    /// As long as the simulated time that passes: work takes none there.
    fn thread_cpu(&self) -> Duration {
        self.monotonic()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn processor_time_counts_work_and_not_waiting() {
        let clock = RealClock::new();
        let before = (clock.thread_cpu(), clock.monotonic());
        clock.sleep(Duration::from_millis(50)).await;
        let waited = (clock.thread_cpu() - before.0, clock.monotonic() - before.1);
        let mut sum = 0_u64;
        while clock.thread_cpu() - before.0 < waited.0 + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }

        assert!(waited.0 < waited.1 / 2, "{waited:?}");
    }
}
