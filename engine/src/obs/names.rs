//! Names of metrics, labels and buckets. Milvus's where Milvus has one, so that its public dashboards work; ours begin
//! with `redkite_`. Latencies under Milvus's names are in milliseconds, ours in seconds.

/// Requests by function and status.
pub const PROXY_REQ_COUNT: &str = "milvus_proxy_req_count";
/// Time from a request's arrival to its answer. Unit: ms.
pub const PROXY_REQ_LATENCY: &str = "milvus_proxy_req_latency";
/// Query vectors searched for.
pub const PROXY_SEARCH_VECTORS_COUNT: &str = "milvus_proxy_search_vectors_count";
/// Rows inserted or upserted.
pub const PROXY_INSERT_VECTORS_COUNT: &str = "milvus_proxy_insert_vectors_count";
/// Rows upserted.
pub const PROXY_UPSERT_VECTORS_COUNT: &str = "milvus_proxy_upsert_vectors_count";
/// Rows deleted.
pub const PROXY_DELETE_VECTORS_COUNT: &str = "milvus_proxy_delete_vectors_count";
/// Time of searches and queries at the proxy. Unit: ms.
pub const PROXY_SQ_LATENCY: &str = "milvus_proxy_sq_latency";
/// Time of inserts, upserts and deletes at the proxy. Unit: ms.
pub const PROXY_MUTATION_LATENCY: &str = "milvus_proxy_mutation_latency";
/// Bytes of requests that carry rows.
pub const PROXY_RECEIVE_BYTES_COUNT: &str = "milvus_proxy_receive_bytes_count";
/// Bytes of answers that carry rows.
pub const PROXY_SEND_BYTES_COUNT: &str = "milvus_proxy_send_bytes_count";
/// Searches and queries that took longer than `proxy.slowQuerySpanInSeconds`.
pub const PROXY_SLOW_QUERY_COUNT: &str = "milvus_proxy_slow_query_count";
/// Requests that have ended, however.
pub const PROXY_ENDED_TOTAL: &str = "redkite_proxy_ended_total";
/// Requests that failed, and not by their client's doing: what they needed was away, lost or broken.
pub const PROXY_FAILED_TOTAL: &str = "redkite_proxy_failed_total";
/// Time that searches and queries wait for what the nodes have found. Unit: ms.
pub const PROXY_SQ_WAIT_RESULT_LATENCY: &str = "milvus_proxy_sq_wait_result_latency";

/// Collections.
pub const ROOTCOORD_COLLECTION_NUM: &str = "milvus_rootcoord_collection_num";
/// Partitions.
pub const ROOTCOORD_PARTITION_NUM: &str = "milvus_rootcoord_partition_num";
/// Users, root among them.
pub const ROOTCOORD_CREDENTIAL_NUM: &str = "milvus_rootcoord_credential_num";
/// Roles.
pub const ROOTCOORD_NUM_OF_ROLES: &str = "milvus_rootcoord_num_of_roles";
/// Proxies.
pub const ROOTCOORD_PROXY_NUM: &str = "milvus_rootcoord_proxy_num";
/// Collections being or having been loaded.
pub const QUERYCOORD_COLLECTION_NUM: &str = "milvus_querycoord_collection_num";
/// Query nodes.
pub const QUERYCOORD_QUERYNODE_NUM: &str = "milvus_querycoord_querynode_num";
/// Collections with data.
pub const DATACOORD_COLLECTION_NUM: &str = "milvus_datacoord_collection_num";
/// Segments by state.
pub const DATACOORD_SEGMENT_NUM: &str = "milvus_datacoord_segment_num";
/// Rows in sealed segments.
pub const DATACOORD_STORED_ROWS_NUM: &str = "milvus_datacoord_stored_rows_num";
/// Bytes of sealed rows in the store, without indexes.
pub const DATACOORD_STORED_BINLOG_SIZE: &str = "milvus_datacoord_stored_binlog_size";
/// Bytes of indexes in the store.
pub const DATACOORD_STORED_INDEX_FILES_SIZE: &str = "milvus_datacoord_stored_index_files_size";
/// Nodes that build indexes.
pub const DATACOORD_INDEX_NODE_NUM: &str = "milvus_datacoord_index_node_num";
/// Data nodes.
pub const DATACOORD_DATANODE_NUM: &str = "milvus_datacoord_datanode_num";

/// Nodes by role; each is 1.
pub const NUM_NODE: &str = "milvus_num_node";

/// Collections loaded on a node.
pub const QUERYNODE_COLLECTION_NUM: &str = "milvus_querynode_collection_num";
/// Segments loaded on a node.
pub const QUERYNODE_SEGMENT_NUM: &str = "milvus_querynode_segment_num";
/// Rows loaded on a node.
pub const QUERYNODE_ENTITY_NUM: &str = "milvus_querynode_entity_num";
/// Channels followed by a node.
pub const QUERYNODE_DML_VCHANNEL_NUM: &str = "milvus_querynode_dml_vchannel_num";
/// Searches and queries of a node by status.
pub const QUERYNODE_SQ_REQ_COUNT: &str = "milvus_querynode_sq_req_count";
/// Time of searches and queries on a node. Unit: ms.
pub const QUERYNODE_SQ_REQ_LATENCY: &str = "milvus_querynode_sq_req_latency";

/// Vectors that a search on a node is for.
pub const QUERYNODE_SEARCH_NQ: &str = "milvus_querynode_search_nq";
/// Rows that a search on a node is to find for each vector.
pub const QUERYNODE_SEARCH_TOPK: &str = "milvus_querynode_search_topk";

/// Always 1, with the version.
pub const BUILD_INFO: &str = "milvus_build_info";

/// Time of a compaction. Unit: ms.
pub const DATANODE_COMPACTION_LATENCY: &str = "milvus_datanode_compaction_latency";
/// Index tasks by status.
pub const INDEXNODE_INDEX_TASK_COUNT: &str = "milvus_indexnode_index_task_count";
/// Time of building an index. Unit: ms.
pub const INDEXNODE_BUILD_INDEX_LATENCY: &str = "milvus_indexnode_build_index_latency";

/// Time from an append to its acknowledgement. Unit: s.
pub const LOG_APPEND_SECONDS: &str = "redkite_log_append_seconds";
/// Bytes written to the log.
pub const LOG_BYTES_TOTAL: &str = "redkite_log_bytes_total";
/// Time of building an index. Unit: s.
pub const INDEX_BUILD_SECONDS: &str = "redkite_index_build_seconds";

/// Collections of which a manifest is damaged or lost: they alone are refused.
pub const DAMAGED_COLLECTIONS: &str = "redkite_damaged_collections";

/// Memory that work in passing is taken to need by kind of work: steps of flushes, loads, and jobs. Unit: bytes.
pub const PASSING_BYTES: &str = "redkite_passing_bytes";
/// Memory that work waits for by kind of work. Unit: bytes.
pub const PASSING_WAITING_BYTES: &str = "redkite_passing_waiting_bytes";

/// Memory that the process may use: its container's limit, else the machine's. Unit: bytes.
pub const MEMORY_LIMIT_BYTES: &str = "redkite_memory_limit_bytes";
/// Gauge: what of it the process takes, without pages of files.
pub const MEMORY_USED_BYTES: &str = "redkite_memory_used_bytes";
/// What is used of the volume that `localStorage.path` is on, by anybody. Unit: bytes.
pub const DISK_USED_BYTES: &str = "redkite_disk_used_bytes";
/// What can be used of that volume, used or free. Unit: bytes.
pub const DISK_LIMIT_BYTES: &str = "redkite_disk_limit_bytes";

/// Memory of the process that is resident. Unit: bytes.
pub const PROCESS_RESIDENT_MEMORY_BYTES: &str = "process_resident_memory_bytes";
/// Open file descriptors of the process.
pub const PROCESS_OPEN_FDS: &str = "process_open_fds";
/// Processor time of the process. Unit: s.
pub const PROCESS_CPU_SECONDS_TOTAL: &str = "process_cpu_seconds_total";

/// Label: the node.
pub const NODE_ID: &str = "node_id";
/// Label: the function of the API.
pub const FUNCTION_NAME: &str = "function_name";
/// Label: how it ended, one of the `STATUS_*`.
pub const STATUS: &str = "status";
/// Label: the database.
pub const DB_NAME: &str = "db_name";
/// Label: the collection.
pub const COLLECTION_NAME: &str = "collection_name";
/// Label: the collection's id.
pub const COLLECTION_ID: &str = "collection_id";
/// Label: one of the `QUERY_TYPE_*`.
pub const QUERY_TYPE: &str = "query_type";
/// Label: one of the `MSG_TYPE_*`.
pub const MSG_TYPE: &str = "msg_type";
/// Label: a segment's state.
pub const SEGMENT_STATE: &str = "segment_state";
/// Label: an index type.
pub const INDEX_TYPE: &str = "index_type";
/// Label: the version of this program.
pub const VERSION: &str = "version";
/// Label: a role.
pub const ROLE_NAME: &str = "role_name";
/// Label: a kind of work, `flush`, `load` or `job`.
pub const WORK: &str = "work";

/// Status: every request, counted when it arrives.
pub const STATUS_TOTAL: &str = "total";
/// Status: done.
pub const STATUS_SUCCESS: &str = "success";
/// Status: failed.
pub const STATUS_FAIL: &str = "fail";
/// Status: given up by its client.
pub const STATUS_CANCEL: &str = "cancel";
/// Query type: search.
pub const QUERY_TYPE_SEARCH: &str = "search";
/// Query type: query.
pub const QUERY_TYPE_QUERY: &str = "query";
/// Query type: hybrid search.
pub const QUERY_TYPE_HYBRID_SEARCH: &str = "hybrid_search";
/// Message type: insert.
pub const MSG_TYPE_INSERT: &str = "insert";
/// Message type: delete.
pub const MSG_TYPE_DELETE: &str = "delete";
/// Message type: upsert.
pub const MSG_TYPE_UPSERT: &str = "upsert";

/// Buckets of latencies: 1 ms doubled 17 times, as Milvus has them. Unit: ms.
pub const MS_BUCKETS: [f64; 18] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
    32768.0, 65536.0, 131_072.0,
];
/// Buckets of numbers of things, doubled from 1 to what a client may ask for.
pub const COUNT_BUCKETS: [f64; 15] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];
/// Buckets of log appends. Unit: s.
pub const APPEND_SECONDS_BUCKETS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 2.0, 8.0];
/// Buckets of index builds. Unit: s.
pub const BUILD_SECONDS_BUCKETS: [f64; 10] = [0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0];
