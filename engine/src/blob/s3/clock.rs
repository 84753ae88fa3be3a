//! The time that requests are signed with.
//!
//! S3 refuses a request whose time is a quarter of an hour or more from its own. Nothing else in Redkite minds a machine
//! whose clock is wrong, so neither does this: every answer says what time the server has, and a request that was refused
//! for its time is sent once more with that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use tracing::warn;

/// Clocks that differ by less are no reason to refuse a request. Unit: seconds.
const TOLERATED: i64 = 60;
/// For how long after a correction a refusal may be one of a request that was signed before. Unit: seconds.
const LATE: i64 = 60;
/// No correction yet.
const NEVER: i64 = i64::MIN / 2;

/// The time of this machine, as corrected by what the server says.
#[derive(Clone, Debug)]
pub(super) struct ServerTime {
    machine: SharedTimeSource,
    known: Arc<Known>,
}

#[derive(Debug)]
struct Known {
    /// How far the server is ahead of this machine. Unit: seconds.
    ahead: AtomicI64,
    /// When that was found out, by this machine's clock. Unit: seconds since 1970.
    since: AtomicI64,
}

impl ServerTime {
    /// The time of a server that nothing has been heard of yet.
    pub fn new(machine: SharedTimeSource) -> Self {
        let known = Known { ahead: AtomicI64::new(0), since: AtomicI64::new(NEVER) };
        Self { machine, known: Arc::new(known) }
    }

    /// Takes over what time it was at the server when it refused a request. Whether it may have refused it for its time.
    fn refused(&self, server: i64) -> bool {
        let here = secs(self.machine.now());
        let ahead = server - here;
        if (ahead - self.known.ahead.load(Ordering::Relaxed)).abs() < TOLERATED {
            return here - self.known.since.load(Ordering::Relaxed) < LATE;
        }
        self.known.ahead.store(ahead, Ordering::Relaxed);
        self.known.since.store(here, Ordering::Relaxed);
        warn!(
            seconds = ahead,
            "the object store's clock is ahead of this machine's; requests are signed with its time"
        );
        true
    }
}

impl TimeSource for ServerTime {
    fn now(&self) -> SystemTime {
        let ahead = self.known.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        let now = self.machine.now();
        let there = if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        there.unwrap_or(now)
    }
}

impl ClassifyRetry for ServerTime {
    fn name(&self) -> &'static str {
        "time of the server"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refusal = context.response().filter(|response| response.status().as_u16() == 403);
        if refusal.and_then(time_of).is_some_and(|server| self.refused(server)) {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }
}

fn secs(time: SystemTime) -> i64 {
    DateTime::from(time).secs()
}

/// When an answer was made, by the server's clock. Unit: seconds since 1970.
fn time_of(answer: &HttpResponse) -> Option<i64> {
    let date = answer.headers().get("date")?;
    DateTime::from_str(date, Format::HttpDate).ok().map(|date| date.secs())
}

#[cfg(test)]
mod tests {
    use aws_smithy_async::time::StaticTimeSource;

    use super::*;

    #[test]
    fn a_refusal_is_one_of_the_time_if_clocks_differ_or_did_a_moment_ago() {
        let machine = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let time = ServerTime::new(SharedTimeSource::new(StaticTimeSource::new(machine)));

        let found: Vec<_> = [100_030, 103_600, 103_570, 96_400, 99_990]
            .into_iter()
            .map(|server| (time.refused(server), secs(time.now())))
            .collect();

        let same = (false, 100_000);
        assert_eq!(found, [same, (true, 103_600), (true, 103_600), (true, 96_400), (true, 99_990)]);
    }
}
