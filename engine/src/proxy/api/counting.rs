//! Every call is counted when it comes and when it ends, also if its client does not wait for that; reads that take long are
//! told in the log, without what they were about in detail.

use std::time::Duration;

use crate::base::Kind;
use crate::proxy::access::table::Target;
use crate::proxy::{Ended, Proxy};

/// The most that is shown of a name. Unit: characters.
const SHOWN: usize = 255;

/// The name that metrics and logs have for reads, by the call of gRPC: over REST, too, that is what they ask for.
pub const fn read_kind(call: &str) -> Option<&'static str> {
    match call.as_bytes() {
        b"Search" => Some("search"),
        b"Query" => Some("query"),
        b"HybridSearch" => Some("hybrid_search"),
        _ => None,
    }
}

/// The name that metrics have for calls whose requests or answers carry rows.
pub const fn rows_kind(call: &str) -> Option<&'static str> {
    match call.as_bytes() {
        b"Insert" => Some("insert"),
        b"Upsert" => Some("upsert"),
        b"Delete" => Some("delete"),
        _ => read_kind(call),
    }
}

/// A call under way. Dropped before its end was told, it was given up by its client.
pub struct Counting<'a> {
    proxy: &'a Proxy,
    call: &'static str,
    /// The call of gRPC.
    asks: &'static str,
    started: Duration,
    /// What a read is about.
    about: Option<Target>,
    is_open: bool,
}

impl Proxy {
    /// Counts a call that came, and that asks for what `asks` does over gRPC; `about` is asked for reads alone.
    pub(super) fn began(
        &self,
        call: &'static str,
        asks: &'static str,
        about: impl FnOnce() -> Target,
    ) -> Counting<'_> {
        if let Some(meter) = self.meter() {
            meter.began(call);
        }
        let about = (read_kind(asks).is_some() && self.settings().slow_query.is_some()).then(about);
        Counting { proxy: self, call, asks, started: self.clock().monotonic(), about, is_open: true }
    }
}

impl Counting<'_> {
    /// The call has ended, by this failure or without one.
    pub fn ended(mut self, failure: Option<Kind>) {
        self.end(failure.map_or(Ended::Done, Ended::Failed));
    }

    fn end(&mut self, end: Ended) {
        self.is_open = false;
        let took = self.proxy.clock().monotonic().saturating_sub(self.started);
        if let Some(meter) = self.proxy.meter() {
            meter.ended(self.call, rows_kind(self.asks), end, took);
        }
        let (Some(kind), Some(about), Some(slow)) =
            (read_kind(self.asks), &self.about, self.proxy.settings().slow_query)
        else {
            return;
        };
        if took < slow {
            return;
        }
        let cut = |text: &str| text.chars().take(SHOWN).collect::<String>();
        let outcome = match end {
            Ended::Done => "done",
            Ended::Failed(_) => "failed",
            Ended::GivenUp => "given up",
        };
        tracing::warn!(
            latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            kind,
            database = cut(&about.database),
            collection = about.names.first().map(|name| cut(name)).unwrap_or_default(),
            outcome,
            "slow query"
        );
        if let Some(meter) = self.proxy.meter() {
            meter.slow(kind);
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.end(Ended::GivenUp);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::proxy::twin::Twin;
    use crate::proxy::{Meter, ProxyParts, ProxySettings};

    #[derive(Default)]
    struct Noted(Mutex<Vec<String>>);

    impl Meter for Noted {
        fn began(&self, call: &'static str) {
            self.0.lock().push(format!("{call} began"));
        }

        fn ended(&self, call: &'static str, _: Option<&'static str>, end: Ended, _took: Duration) {
            self.0.lock().push(format!("{call} {end:?}"));
        }

        fn changed(&self, _call: &'static str, _rows: usize) {}

        fn searched(&self, _queries: usize) {}

        fn received(&self, _kind: &'static str, _bytes: usize) {}

        fn sent(&self, _bytes: usize) {}

        fn slow(&self, kind: &'static str) {
            self.0.lock().push(format!("slow {kind}"));
        }
    }

    fn about() -> Target {
        Target { database: "default".to_owned(), names: vec!["books".to_owned()] }
    }

    fn noted(slow_query: Option<Duration>, run: impl FnOnce(&Proxy)) -> Vec<String> {
        let meter = Arc::new(Noted::default());
        let settings = ProxySettings { slow_query, ..ProxySettings::default() };
        let parts = ProxyParts { meter: Some(Arc::clone(&meter) as _), settings, ..Twin::new().parts() };
        run(&Proxy::new(parts));
        meter.0.lock().clone()
    }

    #[test]
    fn a_call_is_counted_when_it_comes_and_by_how_it_ends() {
        let said = noted(None, |proxy| {
            proxy.began("Search", "Search", about).ended(None);
            proxy.began("Insert", "Insert", about).ended(Some(Kind::Invalid));
            drop(proxy.began("Query", "Query", about));
        });

        assert_eq!(
            said,
            [
                "Search began",
                "Search Done",
                "Insert began",
                "Insert Failed(Invalid)",
                "Query began",
                "Query GivenUp"
            ]
        );
    }

    #[test]
    fn reads_that_take_as_long_as_asked_are_slow_and_other_calls_never_are() {
        let said = noted(Some(Duration::ZERO), |proxy| {
            proxy.began("HybridSearch", "HybridSearch", about).ended(None);
            proxy.began("Insert", "Insert", about).ended(None);
        });
        let patient = noted(Some(Duration::MAX), |proxy| proxy.began("Search", "Search", about).ended(None));

        assert_eq!(
            said,
            ["HybridSearch began", "HybridSearch Done", "slow hybrid_search", "Insert began", "Insert Done"]
        );
        assert_eq!(patient, ["Search began", "Search Done"]);
    }
}
