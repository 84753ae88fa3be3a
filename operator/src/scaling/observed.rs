//! What the engine reports, as far as decisions need it.

/// One report about a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Whether the leader has heard of all nodes.
    pub settled: bool,
    /// All query nodes.
    pub nodes: Vec<NodeLoad>,
    /// Work for data nodes; `None` if the engine does not count it.
    pub jobs: Option<Jobs>,
}

/// How busy a query node is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeLoad {
    /// The name of its pod.
    pub host: String,
    /// Where calls to it go.
    pub address: String,
    /// Whether it takes what it is given; not so while it leaves.
    pub stays: bool,
    /// How long a search waited for a thread, 99th percentile. Unit: milliseconds.
    pub queue_wait_ms: f64,
    /// How long a search took, 99th percentile. Unit: milliseconds.
    pub p99_ms: f64,
    /// Processor time of searches. Unit: processors.
    pub search_cpu: f64,
    /// What it holds of loaded data. Unit: bytes.
    pub held_bytes: u64,
    /// What it may hold. Unit: bytes; 0 for no limit.
    pub memory_bytes: u64,
    /// What is ordered and not loaded yet. Unit: bytes.
    pub bytes_to_load: u64,
}

/// Work for data nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Jobs that no node is at.
    pub waiting: u32,
    /// Jobs that nodes are at.
    pub running: u32,
}
