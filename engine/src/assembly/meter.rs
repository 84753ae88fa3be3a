//! Counters of the duties, under Milvus's names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::base::{Clock, CollectionId, Kind};
use crate::model::{IndexRef, SegmentManifest};
use crate::obs::{Metrics, names};
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};
use crate::proxy::{Ended, Meter};
use crate::rpc::{
    Builder, CompactJob, Consistency, Error, ImportDone, ImportJob, IndexJob, Querier, ReadAfter, Reader,
    Served, Share, StoredObject, TimeSpan,
};

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

/// Whether a request that fails in this way fails for a reason of the database's, which no client can mend.
const fn is_ours(kind: Kind) -> bool {
    match kind {
        Kind::Fenced | Kind::Unavailable | Kind::Corrupt | Kind::Internal => true,
        Kind::Invalid | Kind::Denied | Kind::NotFound | Kind::Exists | Kind::Conflict | Kind::Exhausted => {
            false
        }
    }
}

/// Counts into the process's metrics.
pub struct ProxyMeter(Arc<Metrics>);

impl ProxyMeter {
    /// A meter that shows from the start what may stay at nothing for long.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        // Whatever is asked for is there from then on.
        for counter in [
            &metrics.proxy_search_vectors_count,
            &metrics.proxy_insert_vectors_count,
            &metrics.proxy_upsert_vectors_count,
            &metrics.proxy_delete_vectors_count,
        ] {
            let _ = counter.with(["", ""]);
        }
        for counter in
            [&metrics.proxy_send_bytes_count, &metrics.proxy_ended_total, &metrics.proxy_failed_total]
        {
            let _ = counter.with([]);
        }
        for kind in [names::QUERY_TYPE_SEARCH, names::QUERY_TYPE_QUERY, names::QUERY_TYPE_HYBRID_SEARCH] {
            let _ = metrics.proxy_slow_query_count.with([kind]);
            let _ = metrics.proxy_receive_bytes_count.with([kind, ""]);
        }
        Self(metrics)
    }
}

impl Meter for ProxyMeter {
    fn began(&self, call: &'static str) {
        self.0.proxy_req_count.with([call, names::STATUS_TOTAL, "", ""]).inc();
    }

    fn ended(&self, call: &'static str, kind: Option<&'static str>, end: Ended, took: Duration) {
        let status = match end {
            Ended::Done => names::STATUS_SUCCESS,
            Ended::Failed(_) => names::STATUS_FAIL,
            Ended::GivenUp => names::STATUS_CANCEL,
        };
        self.0.proxy_req_count.with([call, status, "", ""]).inc();
        self.0.proxy_ended_total.with([]).inc();
        if matches!(end, Ended::Failed(kind) if is_ours(kind)) {
            self.0.proxy_failed_total.with([]).inc();
        }
        self.0.proxy_req_latency.with([call]).observe(ms(took));
        match kind {
            Some(
                read @ (names::QUERY_TYPE_SEARCH | names::QUERY_TYPE_HYBRID_SEARCH | names::QUERY_TYPE_QUERY),
            ) => self.0.proxy_sq_latency.with([read, "", ""]).observe(ms(took)),
            Some(change) => self.0.proxy_mutation_latency.with([change, "", ""]).observe(ms(took)),
            None => {}
        }
    }

    fn changed(&self, call: &'static str, rows: usize) {
        let rows = rows as u64;
        match call {
            "Delete" => self.0.proxy_delete_vectors_count.with(["", ""]).add(rows),
            "Upsert" => {
                self.0.proxy_upsert_vectors_count.with(["", ""]).add(rows);
                self.0.proxy_insert_vectors_count.with(["", ""]).add(rows);
            }
            _ => self.0.proxy_insert_vectors_count.with(["", ""]).add(rows),
        }
    }

    fn searched(&self, queries: usize) {
        self.0.proxy_search_vectors_count.with(["", ""]).add(queries as u64);
    }

    fn received(&self, kind: &'static str, bytes: usize) {
        self.0.proxy_receive_bytes_count.with([kind, ""]).add(bytes as u64);
    }

    fn sent(&self, bytes: usize) {
        self.0.proxy_send_bytes_count.with([]).add(bytes as u64);
    }

    fn slow(&self, kind: &'static str) {
        self.0.proxy_slow_query_count.with([kind]).inc();
    }
}

/// Measures how long what stands behind it takes.
pub struct Measured<T: ?Sized> {
    inner: Arc<T>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// The duties of a node, with counters around those that read and build.
#[must_use]
pub fn measured(served: Served, metrics: &Arc<Metrics>, clock: &Arc<dyn Clock>) -> Served {
    let querier = served.querier.map(|inner| Measured::new(inner, metrics, clock) as Arc<dyn Querier>);
    let builder = served.builder.map(|inner| {
        let _ = metrics.datanode_compaction_latency.with([]);
        let _ = metrics.indexnode_build_index_latency.with([]);
        for status in [names::STATUS_SUCCESS, names::STATUS_FAIL] {
            let _ = metrics.indexnode_index_task_count.with([status]);
        }
        Measured::new(inner, metrics, clock) as Arc<dyn Builder>
    });
    Served { querier, builder, ..served }
}

/// Reads of a proxy, with what they wait for measured.
#[must_use]
pub fn measured_reader(
    inner: Arc<dyn Reader>,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn Reader> {
    Measured::new(inner, metrics, clock)
}

impl<T: ?Sized> Measured<T> {
    fn new(inner: Arc<T>, metrics: &Arc<Metrics>, clock: &Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { inner, metrics: Arc::clone(metrics), clock: Arc::clone(clock) })
    }

    fn since(&self, started: Duration) -> Duration {
        self.clock.monotonic().saturating_sub(started)
    }

    fn waited(&self, kind: &str, started: Duration) {
        self.metrics.proxy_sq_wait_result_latency.with([kind]).observe(ms(self.since(started)));
    }

    fn read<A>(&self, kind: &str, started: Duration, outcome: &Result<A, Error>) {
        self.metrics.querynode_sq_req_count.with([kind, status(outcome)]).inc();
        self.metrics.querynode_sq_req_latency.with([kind]).observe(ms(self.since(started)));
    }
}

const fn status<A>(outcome: &Result<A, Error>) -> &'static str {
    if outcome.is_ok() { names::STATUS_SUCCESS } else { names::STATUS_FAIL }
}

#[async_trait]
impl Reader for Measured<dyn Reader> {
    async fn search(&self, plan: SearchPlan, consistency: Consistency) -> Result<SearchHits, Error> {
        let started = self.clock.monotonic();
        let outcome = self.inner.search(plan, consistency).await;
        self.waited(names::QUERY_TYPE_SEARCH, started);
        outcome
    }

    async fn query(&self, plan: QueryPlan, consistency: Consistency) -> Result<QueryRows, Error> {
        let started = self.clock.monotonic();
        let outcome = self.inner.query(plan, consistency).await;
        self.waited(names::QUERY_TYPE_QUERY, started);
        outcome
    }

    async fn pin(&self, collection: CollectionId) -> Result<crate::base::Timestamp, Error> {
        self.inner.pin(collection).await
    }
}

#[async_trait]
impl Querier for Measured<dyn Querier> {
    async fn search(
        &self,
        plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, Error> {
        let started = self.clock.monotonic();
        let size = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.metrics.querynode_search_nq.with([]).observe(size(plan.queries.len()));
        self.metrics.querynode_search_topk.with([]).observe(size(plan.count));
        let outcome = self.inner.search(plan, share, after).await;
        self.read(names::QUERY_TYPE_SEARCH, started, &outcome);
        outcome
    }

    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error> {
        let started = self.clock.monotonic();
        let outcome = self.inner.query(plan, share, after).await;
        self.read(names::QUERY_TYPE_QUERY, started, &outcome);
        outcome
    }

    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error> {
        self.inner.reach(collection, share, after).await
    }
}

#[async_trait]
impl Builder for Measured<dyn Builder> {
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error> {
        let (started, index_type) = (self.clock.monotonic(), job.index.index_type.clone());
        let outcome = self.inner.build_index(job).await;
        self.metrics.indexnode_index_task_count.with([status(&outcome)]).inc();
        if outcome.is_ok() {
            let took = self.since(started);
            self.metrics.indexnode_build_index_latency.with([]).observe(ms(took));
            self.metrics.index_build_seconds.with([&index_type]).observe(took.as_secs_f64());
        }
        outcome
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, Error> {
        let started = self.clock.monotonic();
        let outcome = self.inner.compact(job).await;
        if outcome.is_ok() {
            self.metrics.datanode_compaction_latency.with([]).observe(ms(self.since(started)));
        }
        outcome
    }

    async fn import(&self, job: ImportJob) -> Result<ImportDone, Error> {
        self.inner.import(job).await
    }

    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, Error> {
        self.inner.list_objects(prefix).await
    }

    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error> {
        self.inner.remove_objects(keys).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;

    /// The numbers of a metric, without its name and its node.
    fn numbers(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.encode();
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let lines = lines.filter(|line| line.starts_with(['{', ' ']));
        lines.map(|line| line.replace("node_id=\"1\",", "").replace(",node_id=\"1\"", "")).collect()
    }

    #[test]
    fn every_request_is_in_the_total_and_in_one_of_the_ends() {
        let metrics = Metrics::new(NodeId(1));
        let meter = ProxyMeter::new(Arc::clone(&metrics));
        for end in [Ended::Done, Ended::Done, Ended::Failed(Kind::Invalid), Ended::GivenUp] {
            meter.began("Search");
            meter.ended("Search", Some("search"), end, Duration::from_millis(3));
        }

        let labels = "{collection_name=\"\",db_name=\"\",function_name=\"Search\",status=";
        assert_eq!(
            numbers(&metrics, "milvus_proxy_req_count"),
            [("cancel", 1), ("fail", 1), ("success", 2), ("total", 4)]
                .map(|(status, count)| format!("{labels}\"{status}\"}} {count}"))
        );
        assert_eq!(
            numbers(&metrics, "milvus_proxy_sq_latency_count"),
            ["{collection_name=\"\",db_name=\"\",query_type=\"search\"} 4"]
        );
    }

    #[test]
    fn only_what_fails_for_a_reason_of_the_database_s_counts_as_its_failure() {
        let metrics = Metrics::new(NodeId(1));
        let meter = ProxyMeter::new(Arc::clone(&metrics));
        let ends = Kind::ALL.map(Ended::Failed).into_iter().chain([Ended::Done, Ended::GivenUp]);
        for end in ends {
            meter.ended("Search", Some("search"), end, Duration::from_millis(3));
        }

        assert_eq!(metrics.proxy_ended_total.with([]).count(), 12);
        assert_eq!(metrics.proxy_failed_total.with([]).count(), 4);
    }

    #[test]
    fn bytes_and_rows_are_counted_by_what_carries_them() {
        let metrics = Metrics::new(NodeId(1));
        let meter = ProxyMeter::new(Arc::clone(&metrics));

        meter.received("insert", 30);
        meter.received("insert", 12);
        meter.sent(7);
        meter.changed("Upsert", 2);
        meter.changed("Insert", 3);

        let received = numbers(&metrics, "milvus_proxy_receive_bytes_count");
        assert!(
            received.contains(&"{collection_name=\"\",msg_type=\"insert\"} 42".to_owned()),
            "{received:?}"
        );
        let count = |counter: &crate::obs::CounterBy<2>| counter.with(["", ""]).count();
        assert_eq!(metrics.proxy_send_bytes_count.with([]).count(), 7);
        assert_eq!(count(&metrics.proxy_upsert_vectors_count), 2);
        assert_eq!(count(&metrics.proxy_insert_vectors_count), 5);
    }
}
