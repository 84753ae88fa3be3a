//! What an operator sees of a process: metrics, traces and health. Holds no domain values.
//!
//! Nobody else names the metrics library. Nothing here is process-wide except the trace subscriber that
//! [`start_tracing`] installs once.

mod health;
mod metrics;
pub mod names;
mod process;
mod trace;

pub use health::Health;
pub use metrics::{Counter, CounterBy, Gauge, GaugeBy, Histogram, HistogramBy, LogMetrics, Metrics};
pub use trace::{TraceError, TraceFormat, TraceSettings, start_tracing};
