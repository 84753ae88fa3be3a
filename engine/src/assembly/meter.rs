//! The proxy's counters, under Milvus's names.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Kind;
use crate::obs::Metrics;
use crate::proxy::Meter;

/// Counts into the process's metrics.
pub struct ProxyMeter(pub Arc<Metrics>);

impl Meter for ProxyMeter {
    fn ended(&self, call: &'static str, failure: Option<Kind>, took: Duration) {
        let status = if failure.is_some() { "fail" } else { "success" };
        let ms = took.as_secs_f64() * 1_000.0;
        self.0.proxy_req_count.with([call, status, "", ""]).inc();
        self.0.proxy_req_latency.with([call]).observe(ms);
        let query_type = match call {
            "Search" => "search",
            "Query" => "query",
            _ => return,
        };
        self.0.proxy_sq_latency.with([query_type, "", ""]).observe(ms);
        self.0.querynode_sq_req_count.with([query_type, status]).inc();
    }

    fn changed(&self, call: &'static str, rows: usize) {
        let counter = match call {
            "Delete" => &self.0.proxy_delete_vectors_count,
            _ => &self.0.proxy_insert_vectors_count,
        };
        counter.with(["", ""]).add(rows as u64);
    }
}
