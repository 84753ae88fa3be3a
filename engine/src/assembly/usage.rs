//! What the process takes of its machine: measured now and then, and told to the coordinator with every report.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::machine::Disk;
use crate::obs::ProcessFigures;
use crate::rpc::{Follower, Measured, Orders, Report, Usage};

/// What was measured last.
#[derive(Debug, Default)]
pub struct Taken {
    usage: Mutex<Usage>,
    /// When processor time was measured last, on the monotonic clock, and how much there was. Unit: seconds.
    before: Mutex<Option<(Duration, f64)>>,
}

impl Taken {
    /// Nothing is known yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes over what was measured at `now`, on the monotonic clock. What could not be is 0.
    pub fn note(&self, now: Duration, process: &ProcessFigures, disk: Option<Disk>) {
        let time = process.cpu_seconds.map(|seconds| (now, seconds));
        let before = std::mem::replace(&mut *self.before.lock(), time);
        *self.usage.lock() = Usage {
            processors: before.zip(time).map_or(0.0, |(before, time)| busy(before, time)),
            memory_bytes: process.held_bytes.unwrap_or(0),
            disk_bytes: disk.map_or(0, |disk| disk.used),
            disk_limit_bytes: disk.map_or(0, |disk| disk.limit),
        };
    }

    /// Says what was measured last.
    pub fn measured(self: &Arc<Self>) -> Measured {
        let taken = Arc::clone(self);
        Arc::new(move || *taken.usage.lock())
    }
}

/// Processors that were busy between two measurements, each a time and how much processor time there was by then.
fn busy((began, spent): (Duration, f64), (ended, spent_then): (Duration, f64)) -> f64 {
    let took = ended.saturating_sub(began).as_secs_f64();
    if took == 0.0 { 0.0 } else { (spent_then - spent).max(0.0) / took }
}

/// Adds what the process takes to the reports of its node.
pub struct Telling(pub Measured);

#[async_trait::async_trait]
impl Follower for Telling {
    fn report(&self, report: &mut Report) {
        report.load.usage = (self.0)();
    }

    fn obey(&self, _: &Orders, _: Duration) {}

    async fn changed(&self) {
        // No report is made for it: each one carries it.
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_those_that_were_busy_since_the_last_measurement() {
        let taken = Taken::new();
        let process =
            |cpu_seconds| ProcessFigures { held_bytes: Some(7 << 20), cpu_seconds: Some(cpu_seconds) };
        let disk = Some(Disk { used: 30, limit: 100 });
        let mut report = Report::default();

        taken.note(Duration::from_secs(10), &process(4.0), disk);
        let first = taken.measured()();
        taken.note(Duration::from_secs(20), &process(19.0), disk);
        Telling(taken.measured()).report(&mut report);

        let known = Usage { processors: 0.0, memory_bytes: 7 << 20, disk_bytes: 30, disk_limit_bytes: 100 };
        assert_eq!(first, known, "there is nothing to compare with");
        assert_eq!(report.load.usage, Usage { processors: 1.5, ..known });
    }

    #[test]
    fn what_cannot_be_measured_is_nothing() {
        let taken = Taken::new();
        let unknown = ProcessFigures { held_bytes: None, cpu_seconds: None };

        taken.note(
            Duration::from_secs(1),
            &ProcessFigures { held_bytes: Some(1), cpu_seconds: Some(1.0) },
            None,
        );
        taken.note(Duration::from_secs(2), &unknown, None);
        let nothing = taken.measured()();
        taken.note(
            Duration::from_secs(3),
            &ProcessFigures { held_bytes: None, cpu_seconds: Some(9.0) },
            None,
        );

        assert_eq!(nothing, Usage::default());
        assert_eq!(taken.measured()(), Usage::default(), "since when is not known");
    }

    #[test]
    fn two_measurements_at_one_time_say_nothing() {
        let at = Duration::from_secs(5);
        assert_eq!([busy((at, 1.0), (at, 2.0)), busy((at, 2.0), (2 * at, 1.0))], [0.0, 0.0]);
    }
}
