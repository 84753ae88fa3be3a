//! The metrics of one process, as typed handles.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus::proto::{LabelPair, MetricFamily};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use crate::base::NodeId;

use super::names as n;
use super::process;

/// A number that only grows. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Counter(prometheus::IntCounter);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// `more` more.
    pub fn add(&self, more: u64) {
        self.0.inc_by(more);
    }

    /// The count so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get()
    }
}

/// A number that goes up and down. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Gauge(prometheus::IntGauge);

impl Gauge {
    /// Replaces the number.
    pub fn set(&self, number: i64) {
        self.0.set(number);
    }

    /// Changes the number by `change`.
    pub fn add(&self, change: i64) {
        self.0.add(change);
    }

    /// The number now.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.0.get()
    }
}

/// Counts of measurements by size. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Histogram(prometheus::Histogram);

impl Histogram {
    /// Takes one measurement in the metric's unit.
    pub fn observe(&self, measured: f64) {
        self.0.observe(measured);
    }

    /// How many measurements were taken.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.get_sample_count()
    }
}

/// Counters told apart by `N` labels. Cloning shares them.
#[derive(Clone, Debug)]
pub struct CounterBy<const N: usize>(IntCounterVec);

impl<const N: usize> CounterBy<N> {
    /// The counter of these label values, in the order that the metric's documentation gives.
    #[must_use]
    pub fn with(&self, values: [&str; N]) -> Counter {
        Counter(self.0.with_label_values(&values))
    }

    /// Drops the counter of these label values, for a thing that is gone.
    pub fn forget(&self, values: [&str; N]) {
        // Not being there is what was asked for.
        drop(self.0.remove_label_values(&values));
    }
}

/// Gauges told apart by `N` labels. Cloning shares them.
#[derive(Clone, Debug)]
pub struct GaugeBy<const N: usize>(IntGaugeVec);

impl<const N: usize> GaugeBy<N> {
    /// The gauge of these label values, in the order that the metric's documentation gives.
    #[must_use]
    pub fn with(&self, values: [&str; N]) -> Gauge {
        Gauge(self.0.with_label_values(&values))
    }

    /// Drops the gauge of these label values, for a thing that is gone.
    pub fn forget(&self, values: [&str; N]) {
        drop(self.0.remove_label_values(&values));
    }
}

/// Histograms told apart by `N` labels. Cloning shares them.
#[derive(Clone, Debug)]
pub struct HistogramBy<const N: usize>(HistogramVec);

impl<const N: usize> HistogramBy<N> {
    /// The histogram of these label values, in the order that the metric's documentation gives.
    #[must_use]
    pub fn with(&self, values: [&str; N]) -> Histogram {
        Histogram(self.0.with_label_values(&values))
    }

    /// Drops the histogram of these label values, for a thing that is gone.
    pub fn forget(&self, values: [&str; N]) {
        drop(self.0.remove_label_values(&values));
    }
}

/// The metrics of the log.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Time from an append to its acknowledgement. Unit: s.
    pub append_seconds: Histogram,
    /// Bytes written, with what frames them.
    pub bytes_total: Counter,
}

/// Every metric of one process. Made once by assembly and passed down; `node_id` is on all that Milvus has it on.
///
/// Label values are given in the order in which a field's documentation names the labels.
#[derive(Debug)]
pub struct Metrics {
    /// `function_name`, `status`, `db_name`, `collection_name`.
    pub proxy_req_count: CounterBy<4>,
    /// `function_name`. Unit: ms.
    pub proxy_req_latency: HistogramBy<1>,
    /// `db_name`, `collection_name`.
    pub proxy_search_vectors_count: CounterBy<2>,
    /// `db_name`, `collection_name`.
    pub proxy_insert_vectors_count: CounterBy<2>,
    /// `db_name`, `collection_name`.
    pub proxy_upsert_vectors_count: CounterBy<2>,
    /// `db_name`, `collection_name`.
    pub proxy_delete_vectors_count: CounterBy<2>,
    /// `query_type`, `db_name`, `collection_name`. Unit: ms.
    pub proxy_sq_latency: HistogramBy<3>,
    /// `msg_type`, `db_name`, `collection_name`. Unit: ms.
    pub proxy_mutation_latency: HistogramBy<3>,
    /// `msg_type`, `collection_name`.
    pub proxy_receive_bytes_count: CounterBy<2>,
    /// No labels.
    pub proxy_send_bytes_count: CounterBy<0>,
    /// No labels.
    pub proxy_ended_total: CounterBy<0>,
    /// No labels.
    pub proxy_failed_total: CounterBy<0>,
    /// `query_type`.
    pub proxy_slow_query_count: CounterBy<1>,
    /// `query_type`. Unit: ms.
    pub proxy_sq_wait_result_latency: HistogramBy<1>,

    /// `db_name`.
    pub rootcoord_collection_num: GaugeBy<1>,
    /// No labels.
    pub rootcoord_partition_num: GaugeBy<0>,
    /// No labels.
    pub rootcoord_credential_num: GaugeBy<0>,
    /// No labels.
    pub rootcoord_num_of_roles: GaugeBy<0>,
    /// No labels.
    pub rootcoord_proxy_num: GaugeBy<0>,
    /// No labels.
    pub querycoord_collection_num: GaugeBy<0>,
    /// No labels.
    pub damaged_collections: GaugeBy<0>,
    /// No labels.
    pub querycoord_querynode_num: GaugeBy<0>,
    /// No labels.
    pub datacoord_collection_num: GaugeBy<0>,
    /// `segment_state`.
    pub datacoord_segment_num: GaugeBy<1>,
    /// `db_name`, `collection_id`, `collection_name`.
    pub datacoord_stored_rows_num: GaugeBy<3>,
    /// `db_name`, `collection_id`, `collection_name`. Unit: bytes.
    pub datacoord_stored_binlog_size: GaugeBy<3>,
    /// `db_name`, `collection_id`, `collection_name`. Unit: bytes.
    pub datacoord_stored_index_files_size: GaugeBy<3>,
    /// No labels.
    pub datacoord_index_node_num: GaugeBy<0>,
    /// No labels.
    pub datacoord_datanode_num: GaugeBy<0>,
    /// `node_id`, `role_name`.
    pub num_node: GaugeBy<2>,

    /// No labels but the node.
    pub querynode_collection_num: GaugeBy<0>,
    /// `collection_id`, `segment_state`.
    pub querynode_segment_num: GaugeBy<2>,
    /// `db_name`, `collection_name`, `collection_id`, `segment_state`.
    pub querynode_entity_num: GaugeBy<4>,
    /// `collection_id`.
    pub querynode_dml_vchannel_num: GaugeBy<1>,
    /// `query_type`, `status`.
    pub querynode_sq_req_count: CounterBy<2>,
    /// `query_type`. Unit: ms.
    pub querynode_sq_req_latency: HistogramBy<1>,
    /// No labels but the node.
    pub querynode_search_nq: HistogramBy<0>,
    /// No labels but the node.
    pub querynode_search_topk: HistogramBy<0>,

    /// No labels but the node. Unit: ms.
    pub datanode_compaction_latency: HistogramBy<0>,
    /// `status`.
    pub indexnode_index_task_count: CounterBy<1>,
    /// No labels but the node. Unit: ms.
    pub indexnode_build_index_latency: HistogramBy<0>,

    /// The log's own.
    pub log: LogMetrics,
    /// `index_type`. Unit: s.
    pub index_build_seconds: HistogramBy<1>,
    /// `work`. Unit: bytes.
    pub passing_bytes: GaugeBy<1>,
    /// `work`. Unit: bytes.
    pub passing_waiting_bytes: GaugeBy<1>,
    /// No labels. Unit: bytes.
    pub memory_limit_bytes: GaugeBy<0>,
    /// No labels. Unit: bytes.
    pub disk_used_bytes: GaugeBy<0>,
    /// No labels. Unit: bytes.
    pub disk_limit_bytes: GaugeBy<0>,

    registry: Registry,
    /// Names of what carries `node_id`.
    of_node: BTreeSet<&'static str>,
    /// Which node the process is.
    node: AtomicI64,
}

impl Metrics {
    /// The metrics of the process that is `node`, all at zero; 0 while it has no number, see [`Self::number`].
    #[must_use]
    pub fn new(node: NodeId) -> Arc<Self> {
        let (of_node, of_all) = Making::pair(Registry::new());
        let collection = [n::DB_NAME, n::COLLECTION_NAME];
        let stored = [n::DB_NAME, n::COLLECTION_ID, n::COLLECTION_NAME];
        of_all.gauge(n::BUILD_INFO, [n::VERSION]).with([env!("CARGO_PKG_VERSION")]).set(1);
        Arc::new(Self {
            proxy_req_count: of_node
                .counter(n::PROXY_REQ_COUNT, [n::FUNCTION_NAME, n::STATUS, n::DB_NAME, n::COLLECTION_NAME]),
            proxy_req_latency: of_node.ms(n::PROXY_REQ_LATENCY, [n::FUNCTION_NAME]),
            proxy_search_vectors_count: of_node.counter(n::PROXY_SEARCH_VECTORS_COUNT, collection),
            proxy_insert_vectors_count: of_node.counter(n::PROXY_INSERT_VECTORS_COUNT, collection),
            proxy_upsert_vectors_count: of_node.counter(n::PROXY_UPSERT_VECTORS_COUNT, collection),
            proxy_delete_vectors_count: of_node.counter(n::PROXY_DELETE_VECTORS_COUNT, collection),
            proxy_sq_latency: of_node
                .ms(n::PROXY_SQ_LATENCY, [n::QUERY_TYPE, n::DB_NAME, n::COLLECTION_NAME]),
            proxy_mutation_latency: of_node
                .ms(n::PROXY_MUTATION_LATENCY, [n::MSG_TYPE, n::DB_NAME, n::COLLECTION_NAME]),
            proxy_receive_bytes_count: of_node
                .counter(n::PROXY_RECEIVE_BYTES_COUNT, [n::MSG_TYPE, n::COLLECTION_NAME]),
            proxy_send_bytes_count: of_node.counter(n::PROXY_SEND_BYTES_COUNT, []),
            proxy_ended_total: of_node.counter(n::PROXY_ENDED_TOTAL, []),
            proxy_failed_total: of_node.counter(n::PROXY_FAILED_TOTAL, []),
            proxy_slow_query_count: of_node.counter(n::PROXY_SLOW_QUERY_COUNT, [n::QUERY_TYPE]),
            proxy_sq_wait_result_latency: of_node.ms(n::PROXY_SQ_WAIT_RESULT_LATENCY, [n::QUERY_TYPE]),

            rootcoord_collection_num: of_all.gauge(n::ROOTCOORD_COLLECTION_NUM, [n::DB_NAME]),
            rootcoord_partition_num: of_all.gauge(n::ROOTCOORD_PARTITION_NUM, []),
            rootcoord_credential_num: of_all.gauge(n::ROOTCOORD_CREDENTIAL_NUM, []),
            rootcoord_num_of_roles: of_all.gauge(n::ROOTCOORD_NUM_OF_ROLES, []),
            rootcoord_proxy_num: of_all.gauge(n::ROOTCOORD_PROXY_NUM, []),
            querycoord_collection_num: of_all.gauge(n::QUERYCOORD_COLLECTION_NUM, []),
            damaged_collections: of_all.gauge(n::DAMAGED_COLLECTIONS, []),
            querycoord_querynode_num: of_all.gauge(n::QUERYCOORD_QUERYNODE_NUM, []),
            datacoord_collection_num: of_all.gauge(n::DATACOORD_COLLECTION_NUM, []),
            datacoord_segment_num: of_all.gauge(n::DATACOORD_SEGMENT_NUM, [n::SEGMENT_STATE]),
            datacoord_stored_rows_num: of_all.gauge(n::DATACOORD_STORED_ROWS_NUM, stored),
            datacoord_stored_binlog_size: of_all.gauge(n::DATACOORD_STORED_BINLOG_SIZE, stored),
            datacoord_stored_index_files_size: of_all.gauge(n::DATACOORD_STORED_INDEX_FILES_SIZE, stored),
            datacoord_index_node_num: of_all.gauge(n::DATACOORD_INDEX_NODE_NUM, []),
            datacoord_datanode_num: of_all.gauge(n::DATACOORD_DATANODE_NUM, []),
            num_node: of_all.gauge(n::NUM_NODE, [n::NODE_ID, n::ROLE_NAME]),

            querynode_collection_num: of_node.gauge(n::QUERYNODE_COLLECTION_NUM, []),
            querynode_segment_num: of_node
                .gauge(n::QUERYNODE_SEGMENT_NUM, [n::COLLECTION_ID, n::SEGMENT_STATE]),
            querynode_entity_num: of_node.gauge(
                n::QUERYNODE_ENTITY_NUM,
                [n::DB_NAME, n::COLLECTION_NAME, n::COLLECTION_ID, n::SEGMENT_STATE],
            ),
            querynode_dml_vchannel_num: of_node.gauge(n::QUERYNODE_DML_VCHANNEL_NUM, [n::COLLECTION_ID]),
            querynode_sq_req_count: of_node.counter(n::QUERYNODE_SQ_REQ_COUNT, [n::QUERY_TYPE, n::STATUS]),
            querynode_sq_req_latency: of_node.ms(n::QUERYNODE_SQ_REQ_LATENCY, [n::QUERY_TYPE]),
            querynode_search_nq: of_node.histogram(n::QUERYNODE_SEARCH_NQ, [], &n::COUNT_BUCKETS),
            querynode_search_topk: of_node.histogram(n::QUERYNODE_SEARCH_TOPK, [], &n::COUNT_BUCKETS),

            datanode_compaction_latency: of_node.ms(n::DATANODE_COMPACTION_LATENCY, []),
            indexnode_index_task_count: of_node.counter(n::INDEXNODE_INDEX_TASK_COUNT, [n::STATUS]),
            indexnode_build_index_latency: of_node.ms(n::INDEXNODE_BUILD_INDEX_LATENCY, []),

            log: LogMetrics {
                append_seconds: of_node
                    .histogram(n::LOG_APPEND_SECONDS, [], &n::APPEND_SECONDS_BUCKETS)
                    .with([]),
                bytes_total: of_node.counter(n::LOG_BYTES_TOTAL, []).with([]),
            },
            index_build_seconds: of_node.histogram(
                n::INDEX_BUILD_SECONDS,
                [n::INDEX_TYPE],
                &n::BUILD_SECONDS_BUCKETS,
            ),
            passing_bytes: of_node.gauge(n::PASSING_BYTES, [n::WORK]),
            passing_waiting_bytes: of_node.gauge(n::PASSING_WAITING_BYTES, [n::WORK]),
            memory_limit_bytes: of_all.gauge(n::MEMORY_LIMIT_BYTES, []),
            disk_used_bytes: of_all.gauge(n::DISK_USED_BYTES, []),
            disk_limit_bytes: of_all.gauge(n::DISK_LIMIT_BYTES, []),
            registry: of_all.registry,
            of_node: of_node.names.into_inner(),
            node: AtomicI64::new(node.0),
        })
    }

    /// Says which node the process is: it is numbered only once a coordinator answers, long after the first handles were given
    /// away. Whatever was counted by then is the node's.
    pub fn number(&self, node: NodeId) {
        self.node.store(node.0, Ordering::Relaxed);
    }

    /// All metrics in Prometheus's text format, with memory, descriptors and processor time of the process.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut families = self.registry.gather();
        let of_node = families.iter_mut().filter(|family| self.of_node.contains(family.name()));
        label(of_node, n::NODE_ID, &self.node.load(Ordering::Relaxed).to_string());
        // Families with the same name and different labels cannot be registered, so encoding has no reason to fail.
        let mut text = TextEncoder::new().encode_to_string(&families).unwrap_or_default();
        process::encode(&mut text);
        text
    }
}

/// Puts a label on every line, among the others by its name.
fn label<'a>(families: impl Iterator<Item = &'a mut MetricFamily>, name: &str, value: &str) {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    for metric in families.flat_map(MetricFamily::mut_metric) {
        let mut labels = metric.take_label();
        let at = labels.partition_point(|other| other.name() < name);
        labels.insert(at, pair.clone());
        metric.set_label(labels);
    }
}

/// Where new metrics are registered, with the names of those that were.
struct Making {
    registry: Registry,
    names: RefCell<BTreeSet<&'static str>>,
}

impl Making {
    /// Two that register in the same place, so that no name is in both.
    fn pair(registry: Registry) -> (Self, Self) {
        let names = RefCell::default;
        (Self { registry: registry.clone(), names: names() }, Self { registry, names: names() })
    }

    fn counter<const N: usize>(&self, name: &'static str, labels: [&str; N]) -> CounterBy<N> {
        CounterBy(self.register(name, IntCounterVec::new(opts(name), &labels)))
    }

    fn gauge<const N: usize>(&self, name: &'static str, labels: [&str; N]) -> GaugeBy<N> {
        GaugeBy(self.register(name, IntGaugeVec::new(opts(name), &labels)))
    }

    fn ms<const N: usize>(&self, name: &'static str, labels: [&str; N]) -> HistogramBy<N> {
        self.histogram(name, labels, &n::MS_BUCKETS)
    }

    fn histogram<const N: usize>(
        &self,
        name: &'static str,
        labels: [&str; N],
        buckets: &[f64],
    ) -> HistogramBy<N> {
        let opts = HistogramOpts { common_opts: opts(name), buckets: buckets.to_vec() };
        HistogramBy(self.register(name, HistogramVec::new(opts, &labels)))
    }

    #[expect(clippy::expect_used, reason = "names and labels are constants, and a test registers every one")]
    fn register<M: Collector + Clone + 'static>(&self, name: &'static str, made: prometheus::Result<M>) -> M {
        let made = made.expect("constant names are well formed");
        self.names.borrow_mut().insert(name);
        self.registry.register(Box::new(made.clone())).expect("constant names differ");
        made
    }
}

fn opts(name: &str) -> Opts {
    Opts::new(name, help(name))
}

/// A help text from the name: dashboards read names, and the constants' documentation says the rest.
fn help(name: &str) -> String {
    name.trim_start_matches("milvus_").trim_start_matches("redkite_").replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milvus_names_come_out_exactly_as_dashboards_ask_for_them() {
        let metrics = Metrics::new(NodeId(7));

        metrics.proxy_req_count.with(["Search", n::STATUS_SUCCESS, "default", "books"]).inc();
        metrics.proxy_req_latency.with(["Search"]).observe(3.0);
        metrics.rootcoord_collection_num.with(["default"]).set(2);
        metrics.log.bytes_total.add(10);

        let text = metrics.encode();
        for line in [
            "milvus_proxy_req_count{collection_name=\"books\",db_name=\"default\",\
             function_name=\"Search\",node_id=\"7\",status=\"success\"} 1\n",
            "milvus_proxy_req_latency_bucket{function_name=\"Search\",node_id=\"7\",le=\"4\"} 1\n",
            "milvus_rootcoord_collection_num{db_name=\"default\"} 2\n",
            "redkite_log_bytes_total{node_id=\"7\"} 10\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_node_that_is_numbered_late_has_its_number_on_what_was_counted_before() {
        let metrics = Metrics::new(NodeId(0));
        let counter = metrics.proxy_slow_query_count.with(["search"]);
        let shown = || {
            let text = metrics.encode();
            let lines = text.lines().filter(|line| line.starts_with("milvus_proxy_slow_query_count"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };

        counter.inc();
        let before = shown();
        metrics.number(NodeId(12));
        counter.inc();

        assert_eq!(before, ["milvus_proxy_slow_query_count{node_id=\"0\",query_type=\"search\"} 1"]);
        assert_eq!(shown(), ["milvus_proxy_slow_query_count{node_id=\"12\",query_type=\"search\"} 2"]);
    }

    #[test]
    fn two_processes_in_one_program_count_apart() {
        let (one, other) = (Metrics::new(NodeId(1)), Metrics::new(NodeId(2)));

        one.indexnode_index_task_count.with([n::STATUS_SUCCESS]).inc();

        assert_eq!(other.indexnode_index_task_count.with([n::STATUS_SUCCESS]).count(), 0);
    }

    #[test]
    fn a_forgotten_label_set_is_no_longer_served() {
        let metrics = Metrics::new(NodeId(1));
        metrics.rootcoord_collection_num.with(["gone"]).set(1);

        metrics.rootcoord_collection_num.forget(["gone"]);

        assert!(!metrics.encode().contains("gone"));
    }
}
