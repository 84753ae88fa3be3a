//! What requests came, and how long PUTs took.

use http::{Method, Uri};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    method: String,
    is_log: bool,
}

impl Kind {
    /// The kind of a request: keys of the log begin with `wal` below the root; a listing names its prefix.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default().replace("%2F", "/");
        let named = if query.contains("list-type") { query.as_str() } else { uri.path() };
        let is_list = query.contains("list-type");
        let is_log = named.contains("/wal/") || named.contains("/wal-channels/");
        Self { method: if is_list { "LIST".to_owned() } else { method.to_string() }, is_log }
    }
}

/// Counts and times.
#[derive(Debug, Default)]
pub struct Figures {
    times: BTreeMap<Kind, Vec<Duration>>,
}

impl Figures {
    /// A request that was answered after `took`.
    pub fn add(&mut self, kind: Kind, took: Duration) {
        self.times.entry(kind).or_default().push(took);
    }

    /// As the driver reads them.
    pub fn into_json(self) -> Value {
        let side = |is_log: bool| {
            let mine = self.times.iter().filter(|(kind, _)| kind.is_log == is_log);
            let counts: BTreeMap<_, _> =
                mine.map(|(kind, times)| (kind.method.clone(), times.len())).collect();
            let put = Kind { method: "PUT".to_owned(), is_log };
            let mut puts = self.times.get(&put).cloned().unwrap_or_default();
            puts.sort_unstable();
            json!({"requests": counts.values().sum::<usize>(), "by_method": counts,
                "put_p50_ms": quantile(&puts, 50), "put_p99_ms": quantile(&puts, 99)})
        };
        json!({"log": side(true), "other": side(false)})
    }
}

/// The nearest-rank percentile of sorted times, in milliseconds; 0 of none.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::{Figures, Kind};
    use http::{Method, Uri};
    use serde_json::json;
    use std::time::Duration;

    #[test]
    fn requests_are_counted_by_method_for_the_log_and_for_the_rest() {
        let mut figures = Figures::default();
        let mut came = |method: Method, uri: &'static str, ms| {
            figures.add(Kind::of(&method, &Uri::from_static(uri)), Duration::from_millis(ms));
        };
        came(Method::PUT, "/things/files/wal/c/000000/chunk/1", 10);
        came(Method::PUT, "/things/files/wal/c/000000/chunk/2", 30);
        came(Method::GET, "/things?list-type=2&prefix=files%2Fwal%2Fc%2F", 5);
        came(Method::PUT, "/things/files/segments/1/rows", 7);

        assert_eq!(
            figures.into_json(),
            json!({
                "log": {"requests": 3, "by_method": {"LIST": 1, "PUT": 2}, "put_p50_ms": 10.0, "put_p99_ms": 30.0},
                "other": {"requests": 1, "by_method": {"PUT": 1}, "put_p50_ms": 7.0, "put_p99_ms": 7.0},
            })
        );
    }
}
