//! What an operator sees of a process: metrics, traces and health. Holds no domain values.
//!
//! Nobody else names the metrics library. Nothing here is process-wide except the trace subscriber that
//! [`Lines::start`] installs once.

mod health;
mod lines;
mod log_file;
mod metrics;
pub mod names;
mod process;
mod trace;

pub use health::{ComponentHealth, Health};
pub use lines::Compat;
pub use log_file::LogFileSettings;
pub use metrics::{Counter, CounterBy, Gauge, GaugeBy, Histogram, HistogramBy, LogMetrics, Metrics};
pub use process::ProcessFigures;
pub use trace::{Lines, TraceError, TraceFormat, TraceSettings};

/// An instant in UTC, written as `format` says. Unit: Unix milliseconds.
fn time_text(unix_ms: u64, format: &str) -> String {
    let instant = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    instant.unwrap_or(jiff::Timestamp::MAX).strftime(format).to_string()
}

#[cfg(test)]
mod fixture {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use crate::base::Clock;

    /// A clock that stands still until a test moves its hand.
    pub struct Hand(pub AtomicU64);

    impl Hand {
        pub fn at(unix_ms: u64) -> Arc<Self> {
            Arc::new(Self(AtomicU64::new(unix_ms)))
        }
    }

    #[async_trait::async_trait]
    impl Clock for Hand {
        fn unix_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn thread_cpu(&self) -> Duration {
            Duration::ZERO
        }

        async fn sleep(&self, _span: Duration) {}
    }
}
