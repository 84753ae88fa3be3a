//! Settings of the engine: plain data with Milvus's key names; `Default` is the truth. What Milvus does not have is
//! below `redkite`.

mod reference;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use reference::{Effect, KEYS, Key, components, markdown};

/// Settings whose names people choose: a section for each name, of texts. By section, the names of its texts that the environment
/// may set.
pub const OPEN: [(&str, &[&str]); 3] = [
    ("credential", &["apikey"]),
    ("function.rerank.model.providers", &PROVIDER),
    ("function.textEmbedding.providers", &PROVIDER),
];
const PROVIDER: [&str; 4] = ["enable", "url", "credential", "resource_name"];

/// A value that is never shown: `Debug` hides it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The secret itself, for the one who needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if self.0.is_empty() { "(none)" } else { "(hidden)" })
    }
}

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}, but should be {expected}")]
pub struct OutOfRange {
    /// The key.
    pub key: &'static str,
    /// What was given.
    pub found: String,
    /// What would be right.
    pub expected: &'static str,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type),+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}

section! {
    /// All settings.
    Settings {
        /// Everything about storage and format that all components share.
        common: Common = Common::default(),
        /// The catalog's limits.
        root_coord: RootCoord = RootCoord::default(),
        /// Sealing.
        data_coord: DataCoord = DataCoord::default(),
        /// Indexing.
        index_coord: IndexCoord = IndexCoord::default(),
        /// Requests.
        proxy: Proxy = Proxy::default(),
        /// Local directories.
        local_storage: LocalStorage = LocalStorage::default(),
        /// The object store, whichever it is.
        minio: Minio = Minio::default(),
        /// Metadata of a cluster.
        etcd: Etcd = Etcd::default(),
        /// Which log holds what is not sealed.
        mq: Mq = Mq::default(),
        /// Kafka as the log.
        kafka: Kafka = Kafka::default(),
        /// Query nodes.
        query_node: QueryNode = QueryNode::default(),
        /// Streaming nodes.
        streaming: Streaming = Streaming::default(),
        /// What clients may do.
        quota_and_limits: QuotaAndLimits = QuotaAndLimits::default(),
        /// Encryption of clients' connections.
        tls: TlsFiles = TlsFiles::default(),
        /// Encryption of calls between nodes.
        internaltls: TlsFiles = TlsFiles::default(),
        /// Services that compute with models.
        function: Function = Function::default(),
        /// Secrets by name, each as `apikey`, for services that compute with models.
        credential: BTreeMap<String, BTreeMap<String, Secret>> = BTreeMap::new(),
        /// Log lines.
        log: Log = Log::default(),
        /// What Milvus does not have.
        redkite: Redkite = Redkite::default(),
    }
}

section! {
    /// `function`
    Function {
        /// `function.textEmbedding`
        text_embedding: Services = Services::default(),
        /// `function.rerank`
        rerank: Rerank = Rerank::default(),
    }
}

section! {
    /// `function.rerank`
    Rerank {
        /// `function.rerank.model`
        model: Services = Services::default(),
    }
}

section! {
    /// `function.textEmbedding` and `function.rerank.model`
    Services {
        /// By name of a service, `enable`, `url`, `credential` and `resource_name`.
        providers: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new(),
    }
}

section! {
    /// `common`
    Common {
        /// Where sealed data goes: `local`, or `remote` (also `minio`) for the object store. Empty: remote if `minio.address` is set.
        storage_type: String = String::new(),
        /// How old a read of consistency level Bounded may be. Unit: milliseconds.
        graceful_time: u64 = 5_000,
        /// How far back a read may go in collections without `timetravel.retention.seconds`; 0 for not at all. Unit: seconds.
        retention_duration: u64 = 0,
        /// `common.security`
        security: Security = Security::default(),
    }
}

section! {
    /// `common.security`
    Security {
        /// Whether users have to say who they are, and may do only what their roles may.
        authorization_enabled: bool = false,
        /// Root's password until it is given another one.
        default_root_password: Secret = Secret::new("Milvus".to_owned()),
        /// Users who may set passwords without saying the old one, with commas between them.
        super_users: String = String::new(),
        /// Whether root, too, may do only what its roles may.
        root_should_bind_role: bool = false,
        /// Whether every user may see collections, aliases and indexes.
        enable_public_privilege: bool = true,
        /// The client port: 0 in clear text, 1 TLS, 2 TLS with certificates of clients.
        tls_mode: u8 = 0,
        /// Whether calls between nodes are encrypted and authenticated by certificates of both sides.
        #[serde(rename = "internaltlsEnabled")]
        internal_tls_enabled: bool = false,
    }
}

section! {
    /// `tls` and `internaltls`
    TlsFiles {
        /// File of the certificate, with its chain.
        server_pem_path: String = String::new(),
        /// File of the certificate's key.
        server_key_path: String = String::new(),
        /// File of the authority that signs the other side's certificates.
        ca_pem_path: String = String::new(),
        /// Name that the other side's certificate must be for; empty: the one in its address.
        sni: String = String::new(),
    }
}

section! {
    /// `etcd`
    Etcd {
        /// Addresses of the members, separated by commas.
        endpoints: String = String::new(),
        /// Everything of ours is below this prefix.
        root_path: String = "by-dev".to_owned(),
        /// A request that takes longer has failed. Unit: milliseconds. At least 100.
        request_timeout: u64 = 5_000,
        /// `etcd.auth`
        auth: EtcdAuth = EtcdAuth::default(),
        /// `etcd.ssl`
        ssl: EtcdSsl = EtcdSsl::default(),
    }
}

section! {
    /// `etcd.auth`
    EtcdAuth {
        /// Whether to log in.
        enabled: bool = false,
        /// As whom.
        user_name: String = String::new(),
        /// The password.
        password: Secret = Secret::default(),
        /// File with the password, read again when it changes; counts instead of `password`. Milvus does not have it.
        password_file: String = String::new(),
    }
}

section! {
    /// `etcd.ssl`
    EtcdSsl {
        /// Whether to speak TLS.
        enabled: bool = false,
        /// File of our certificate.
        tls_cert: String = String::new(),
        /// File of our certificate's key.
        tls_key: String = String::new(),
        /// File of the certificate authority to trust.
        #[serde(rename = "tlsCACert")]
        tls_ca_cert: String = String::new(),
        /// The lowest version to speak, `1.2` or `1.3`. Empty: 1.2.
        tls_min_version: String = String::new(),
    }
}

section! {
    /// `mq`
    Mq {
        /// `default`, `kafka`, or another of Milvus's names, which mean the object log.
        r#type: String = "default".to_owned(),
    }
}

section! {
    /// `kafka`
    Kafka {
        /// Addresses of the brokers, separated by commas.
        broker_list: String = String::new(),
        /// As whom to log in.
        sasl_username: String = String::new(),
        /// The password.
        sasl_password: Secret = Secret::default(),
        /// How to log in: `PLAIN`, `SCRAM-SHA-256`, …
        sasl_mechanisms: String = String::new(),
        /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
        security_protocol: String = String::new(),
        /// How long to wait for the brokers. Unit: seconds. At least 1.
        read_timeout: u64 = 10,
        /// `kafka.ssl`
        ssl: KafkaSsl = KafkaSsl::default(),
    }
}

section! {
    /// `kafka.ssl`
    KafkaSsl {
        /// Whether to speak TLS.
        enabled: bool = false,
        /// File of our certificate.
        tls_cert: String = String::new(),
        /// File of our certificate's key.
        tls_key: String = String::new(),
        /// File of the certificate authority to trust.
        #[serde(rename = "tlsCaCert")]
        tls_ca_cert: String = String::new(),
        /// Password of the key's file.
        tls_key_password: Secret = Secret::default(),
    }
}

section! {
    /// `queryNode`
    QueryNode {
        /// How long a node that is to stop waits while nothing is taken over from it. Unit: seconds.
        graceful_stop_timeout: u64 = 30,
        /// `queryNode.segcore`
        segcore: Segcore = Segcore::default(),
    }
}

section! {
    /// `queryNode.segcore`
    Segcore {
        /// `queryNode.segcore.interimIndex`
        interim_index: InterimIndex = InterimIndex::default(),
    }
}

section! {
    /// `queryNode.segcore.interimIndex`
    InterimIndex {
        /// Whether large parts of rows that are not sealed are indexed.
        enable_index: bool = true,
        /// Lists of such an index. At least 1.
        nlist: usize = 128,
        /// Lists that a search of such an index reads. At least 1.
        nprobe: usize = 16,
    }
}

section! {
    /// `streaming`
    Streaming {
        /// `streaming.flush`
        flush: StreamingFlush = StreamingFlush::default(),
    }
}

section! {
    /// `streaming.flush`
    StreamingFlush {
        /// The fullest channels are sealed once what is not sealed is so large a part of the node's memory. 0.01 ..= 1.
        growing_segment_bytes_hwm_threshold: f64 = 0.2,
        /// They are sealed until it is this part. At most the other.
        growing_segment_bytes_lwm_threshold: f64 = 0.1,
    }
}

section! {
    /// `quotaAndLimits`. A rate that is negative limits nothing.
    QuotaAndLimits {
        /// Whether there are limits of rates and denials; what protects memory has switches of its own.
        enabled: bool = true,
        /// `quotaAndLimits.ddl`
        ddl: DdlRates = DdlRates::default(),
        /// `quotaAndLimits.dbRate`
        db_rate: DatabaseRate = DatabaseRate::default(),
        /// `quotaAndLimits.indexRate`
        index_rate: CallRate = CallRate::default(),
        /// `quotaAndLimits.flushRate`
        flush_rate: FlushRate = FlushRate::default(),
        /// `quotaAndLimits.compactionRate`
        compaction_rate: CallRate = CallRate::default(),
        /// `quotaAndLimits.dml`
        dml: DmlRates = DmlRates::default(),
        /// `quotaAndLimits.dql`
        dql: DqlRates = DqlRates::default(),
        /// `quotaAndLimits.limitReading`
        limit_reading: LimitReading = LimitReading::default(),
        /// `quotaAndLimits.limitWriting`
        limit_writing: LimitWriting = LimitWriting::default(),
    }
}

section! {
    /// A rate of something.
    MaxRate {
        /// So much a second.
        max: f64 = -1.0,
    }
}

section! {
    /// `quotaAndLimits.ddl`
    DdlRates {
        /// Whether the rates below are kept.
        enabled: bool = false,
        /// Collections made, dropped, loaded and released. Unit: calls a second.
        collection_rate: f64 = -1.0,
        /// Partitions made, dropped, loaded and released. Unit: calls a second.
        partition_rate: f64 = -1.0,
        /// `quotaAndLimits.ddl.db`
        db: DdlRatesOfDatabase = DdlRatesOfDatabase::default(),
    }
}

section! {
    /// `quotaAndLimits.ddl.db`
    DdlRatesOfDatabase {
        /// As for all databases together, for each.
        collection_rate: f64 = -1.0,
        /// As for all databases together, for each.
        partition_rate: f64 = -1.0,
    }
}

section! {
    /// `quotaAndLimits.dbRate`
    DatabaseRate {
        /// Whether the rate is kept.
        enabled: bool = false,
        /// Databases made, dropped and altered. Unit: calls a second.
        max: f64 = -1.0,
    }
}

section! {
    /// `quotaAndLimits.indexRate` and `quotaAndLimits.compactionRate`
    CallRate {
        /// Whether the rates below are kept.
        enabled: bool = false,
        /// In all databases together. Unit: calls a second.
        max: f64 = -1.0,
        /// In each database.
        db: MaxRate = MaxRate::default(),
    }
}

section! {
    /// `quotaAndLimits.flushRate`
    FlushRate {
        /// Whether the rates below are kept. Milvus's default is that they are.
        enabled: bool = false,
        /// In all databases together. Unit: collections a second.
        max: f64 = -1.0,
        /// In each database.
        db: MaxRate = MaxRate::default(),
        /// Of each collection.
        collection: MaxRate = MaxRate { max: 0.1 },
    }
}

section! {
    /// One of the rates of reads and writes.
    DataRate {
        /// In all databases together. Unit: vectors of searches, queries, or MB of writes, a second.
        max: f64 = -1.0,
        /// In each database.
        db: MaxRate = MaxRate::default(),
        /// In each collection.
        collection: MaxRate = MaxRate::default(),
        /// In each partition.
        partition: MaxRate = MaxRate::default(),
    }
}

section! {
    /// `quotaAndLimits.dml`
    DmlRates {
        /// Whether the rates below are kept.
        enabled: bool = false,
        /// What is inserted.
        insert_rate: DataRate = DataRate::default(),
        /// What is upserted.
        upsert_rate: DataRate = DataRate::default(),
        /// Requests to delete.
        delete_rate: DataRate = DataRate::default(),
    }
}

section! {
    /// `quotaAndLimits.dql`
    DqlRates {
        /// Whether the rates below are kept.
        enabled: bool = false,
        /// Vectors that are searched for.
        search_rate: DataRate = DataRate::default(),
        /// Queries.
        query_rate: DataRate = DataRate::default(),
    }
}

section! {
    /// `quotaAndLimits.limitReading`
    LimitReading {
        /// Whether all reads are refused.
        force_deny: bool = false,
    }
}

section! {
    /// `quotaAndLimits.limitWriting`
    LimitWriting {
        /// Whether all writes are refused.
        force_deny: bool = false,
        /// `quotaAndLimits.limitWriting.memProtection`
        mem_protection: MemProtection = MemProtection::default(),
        /// `quotaAndLimits.limitWriting.growingSegmentsSizeProtection`
        growing_segments_size_protection: GrowingProtection = GrowingProtection::default(),
    }
}

section! {
    /// `quotaAndLimits.limitWriting.memProtection`
    MemProtection {
        /// Whether writes are slowed down and refused while query nodes have too little memory.
        enabled: bool = true,
        /// From this part of a query node's memory on they are slowed down. 0 ..= 1.
        query_node_memory_low_water_level: f64 = 0.85,
        /// From this part on they are refused. Above the other.
        query_node_memory_high_water_level: f64 = 0.95,
    }
}

section! {
    /// `quotaAndLimits.limitWriting.growingSegmentsSizeProtection`
    GrowingProtection {
        /// Whether writes are slowed down and refused while too much is not sealed.
        enabled: bool = true,
        /// From this part of the node's memory on they are slowed down. 0 ..= 1.
        low_water_level: f64 = 0.2,
        /// From this part on they are refused. Above the other.
        high_water_level: f64 = 0.4,
    }
}

section! {
    /// `rootCoord`
    RootCoord {
        /// Most databases. At least 1.
        max_database_num: usize = 64,
        /// Most partitions of one collection. At least 1.
        max_partition_num: usize = 1_024,
        /// Most collections in all databases together. At least 1.
        max_general_capacity: usize = 65_536,
    }
}

section! {
    /// `dataCoord`
    DataCoord {
        /// `dataCoord.segment`
        segment: Segment = Segment::default(),
        /// Whether sealed segments are compacted, by themselves or on demand.
        enable_compaction: bool = true,
        /// `dataCoord.compaction`
        compaction: Compaction = Compaction::default(),
    }
}

section! {
    /// `dataCoord.compaction`
    Compaction {
        /// Whether sealed segments are compacted without being asked.
        enable_auto_compaction: bool = true,
        /// `dataCoord.compaction.clustering`
        clustering: Clustering = Clustering::default(),
    }
}

section! {
    /// `dataCoord.compaction.clustering`
    Clustering {
        /// Whether collections with a clustering key are clustered.
        enable: bool = true,
        /// Whether without being asked, once a segment's worth of rows is not.
        auto_enable: bool = true,
    }
}

section! {
    /// `dataCoord.segment`
    Segment {
        /// A channel is sealed once it holds so much. Unit: MiB. 1 ..= 8192.
        max_size: u64 = 512,
        /// A channel is sealed once its oldest unsealed row is so old. Unit: seconds. At least 1.
        max_idle_time: u64 = 600,
    }
}

section! {
    /// `indexCoord`
    IndexCoord {
        /// `indexCoord.segment`
        segment: IndexSegment = IndexSegment::default(),
    }
}

section! {
    /// `indexCoord.segment`
    IndexSegment {
        /// Sealed segments with fewer rows are scanned instead of indexed.
        min_segment_num_rows_to_enable_index: u64 = 1_024,
    }
}

section! {
    /// `proxy`
    Proxy {
        /// Address for clients, gRPC and REST alike; the flag `--listen` sets it.
        listen: String = "0.0.0.0:19530".to_owned(),
        /// The port of that address, where the address is not set.
        port: u16 = 19_530,
        /// `proxy.grpc`
        grpc: ProxyGrpc = ProxyGrpc::default(),
        /// Which copy of a collection a read goes to: `look_aside` (the less busy of two) or `round_robin`.
        replica_selection_policy: String = "look_aside".to_owned(),
        /// Searches and queries that take longer are logged. Unit: seconds. 0: none is.
        slow_query_span_in_seconds: f64 = 5.0,
    }
}

section! {
    /// `proxy.grpc`
    ProxyGrpc {
        /// Largest request over gRPC. Unit: bytes. 1 ..= 2147483647.
        server_max_recv_size: usize = 67_108_864,
        /// Largest answer over gRPC. Unit: bytes. 1 ..= 2147483647.
        server_max_send_size: usize = 268_435_456,
    }
}

section! {
    /// `localStorage`
    LocalStorage {
        /// Directory of everything kept locally; the flag `--data-dir` sets it.
        path: String = "./redkite-data".to_owned(),
    }
}

section! {
    /// `minio`
    Minio {
        /// `host`, `host:port` or URL of the object store. Empty: none.
        address: String = String::new(),
        /// Port, where the address has none. 0: the scheme's.
        port: u16 = 0,
        /// Access key. Empty with `useIAM`, or to take the machine's own credentials.
        #[serde(rename = "accessKeyID")]
        access_key_id: String = String::new(),
        /// Secret key.
        secret_access_key: Secret = Secret::default(),
        /// Whether to speak TLS.
        #[serde(rename = "useSSL")]
        use_ssl: bool = false,
        /// `minio.ssl`
        ssl: MinioSsl = MinioSsl::default(),
        /// The bucket.
        bucket_name: String = "a-bucket".to_owned(),
        /// Everything of ours is below this prefix.
        root_path: String = "files".to_owned(),
        /// Whether credentials come from the machine's role.
        #[serde(rename = "useIAM")]
        use_iam: bool = false,
        /// `aws` or another name of an S3 service; `gcp`; `azure`.
        cloud_provider: String = "aws".to_owned(),
        /// The key of a Google service account, as JSON.
        #[serde(rename = "gcpCredentialJSON")]
        gcp_credential_json: Secret = Secret::default(),
        /// The service's region.
        region: String = String::new(),
        /// Whether the bucket stands in the host name instead of the path.
        use_virtual_host: bool = false,
        /// A request that takes longer is tried again. Unit: milliseconds. At least 100.
        request_timeout_ms: u64 = 10_000,
    }
}

section! {
    /// `minio.ssl`
    MinioSsl {
        /// File of the certificate authority to trust besides the usual ones.
        #[serde(rename = "tlsCACert")]
        tls_ca_cert: String = String::new(),
    }
}

section! {
    /// `log`
    Log {
        /// `trace`, `debug`, `info`, `warn`, `error`, or `fatal`.
        level: String = "info".to_owned(),
        /// `text` or `json`.
        format: String = "text".to_owned(),
        /// Whose keys and values lines of `json` have: `milvus` or `guide`.
        compat: String = "milvus".to_owned(),
        /// Whether lines go to the standard output.
        stdout: bool = true,
        /// `log.file`
        file: LogFile = LogFile::default(),
    }
}

section! {
    /// `log.file`
    LogFile {
        /// Folder of the file of log lines, which is named after the role. Empty: no file.
        root_path: String = String::new(),
        /// The file is put away before it is larger. Unit: MiB. 0: the default.
        max_size: u64 = 300,
        /// Files that were put away are removed once they are so old. Unit: days. 0 or less: never.
        max_age: i64 = 10,
        /// How many files that were put away are kept. 0 or less: all.
        max_backups: i64 = 20,
    }
}

section! {
    /// `redkite`
    Redkite {
        /// Address of `/healthz` and `/metrics`; the flag `--metrics-listen` sets it.
        metrics_listen: String = "0.0.0.0:9091".to_owned(),
        /// The version of Milvus that clients are told.
        reported_version: String = "3.0.1".to_owned(),
        /// Threads that build an index. 0: as many as there are processors.
        build_threads: usize = 0,
        /// Whether to make the bucket if it is not there.
        create_bucket: bool = true,
        /// Address of calls between nodes and of the admin API; the flag `--internal-listen` sets it. Empty: 0.0.0.0:19529;
        /// for a standalone without a token file or certificates of nodes, 127.0.0.1:19529.
        internal_listen: String = String::new(),
        /// Whether it is logged who did what: lines of the target `audit`, for changes and for what was refused.
        audit_log: bool = false,
        /// Address that other nodes call this one by. Empty: the listening address, or this machine's.
        advertise: String = String::new(),
        /// The only hosts that users may name as endpoints, with commas between; empty: all that are not forbidden.
        function_hosts: String = String::new(),
        /// `redkite.admin`
        admin: Admin = Admin::default(),
        /// `redkite.datanode`
        datanode: DataNode = DataNode::default(),
        /// `redkite.cluster`
        cluster: Cluster = Cluster::default(),
        /// `redkite.memory`
        memory: Memory = Memory::default(),
        /// `redkite.cache`
        cache: Cache = Cache::default(),
    }
}

section! {
    /// `redkite.admin`
    Admin {
        /// File of the token that calls between nodes and the admin API carry.
        token_file: String = String::new(),
    }
}

section! {
    /// `redkite.datanode`
    DataNode {
        /// Whether data nodes own channels too, where there are no streaming nodes.
        writes: bool = false,
    }
}

section! {
    /// `redkite.cluster`
    Cluster {
        /// A node that has been silent for so long is lost. Unit: milliseconds. At least 500.
        lost_after_ms: u64 = 5_000,
        /// A leader that has not renewed its lead for so long is replaced. Unit: milliseconds. At least 1000.
        leader_ttl_ms: u64 = 6_000,
        /// A call between nodes, or a client's, that takes longer has failed. Unit: milliseconds. At least 1000.
        call_timeout_ms: u64 = 10_000,
        /// Whether a proxy reads from copies in its own zone while one of them works.
        prefer_own_zone: bool = true,
    }
}

section! {
    /// `redkite.memory`
    Memory {
        /// What a node may hold of loaded data. Unit: MiB. 0: the machine's or the container's memory.
        limit_mb: u64 = 0,
        /// The share of it that loading may fill. 0.1 to 1.
        load_share: f64 = 0.85,
    }
}

section! {
    /// `redkite.cache`
    Cache {
        /// What a query node keeps of the object store on its disk. Unit: MiB. 0: nothing.
        budget_mb: u64 = 0,
    }
}

impl Settings {
    /// Levels of water: the lower ones below the upper ones.
    fn validate_water(
        &self,
        check: impl Fn(bool, &'static str, String, &'static str) -> Result<(), OutOfRange>,
    ) -> Result<(), OutOfRange> {
        let StreamingFlush {
            growing_segment_bytes_hwm_threshold: high,
            growing_segment_bytes_lwm_threshold: low,
        } = self.streaming.flush;
        let key = "streaming.flush.growingSegmentBytesHwmThreshold";
        check((0.01..=1.0).contains(&high), key, high.to_string(), "0.01 to 1")?;
        let key = "streaming.flush.growingSegmentBytesLwmThreshold";
        check((0.0..=high).contains(&low), key, low.to_string(), "0 to growingSegmentBytesHwmThreshold")?;
        let limits = &self.quota_and_limits.limit_writing;
        let (low, high) = (
            limits.mem_protection.query_node_memory_low_water_level,
            limits.mem_protection.query_node_memory_high_water_level,
        );
        let key = "quotaAndLimits.limitWriting.memProtection.queryNodeMemoryLowWaterLevel";
        check((0.0..high).contains(&low), key, low.to_string(), "0 to queryNodeMemoryHighWaterLevel")?;
        let growing = &limits.growing_segments_size_protection;
        let key = "quotaAndLimits.limitWriting.growingSegmentsSizeProtection.lowWaterLevel";
        let low = growing.low_water_level;
        check((0.0..growing.high_water_level).contains(&low), key, low.to_string(), "0 to highWaterLevel")
    }

    /// Checks what each value alone cannot say.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub fn validate(&self) -> Result<(), OutOfRange> {
        let check = |right: bool, key, found: String, expected| {
            if right { Ok(()) } else { Err(OutOfRange { key, found, expected }) }
        };
        let segment = &self.data_coord.segment;
        let kinds = ["", "local", "remote", "minio", "opendal"];
        let storage = self.common.storage_type.clone();
        check(
            kinds.contains(&storage.as_str()),
            "common.storageType",
            storage.clone(),
            "local, remote or minio",
        )?;
        let remote = !matches!(storage.as_str(), "" | "local");
        let address = &self.minio.address;
        check(
            !remote || !address.is_empty(),
            "minio.address",
            address.clone(),
            "set, since common.storageType is remote",
        )?;
        let max_size = segment.max_size;
        check(
            (1..=8_192).contains(&max_size),
            "dataCoord.segment.maxSize",
            max_size.to_string(),
            "1 to 8192 MiB",
        )?;
        let idle = segment.max_idle_time;
        check(idle >= 1, "dataCoord.segment.maxIdleTime", idle.to_string(), "at least 1 second")?;
        let databases = self.root_coord.max_database_num;
        check(databases >= 1, "rootCoord.maxDatabaseNum", databases.to_string(), "at least 1")?;
        let partitions = self.root_coord.max_partition_num;
        check(partitions >= 1, "rootCoord.maxPartitionNum", partitions.to_string(), "at least 1")?;
        let collections = self.root_coord.max_general_capacity;
        check(collections >= 1, "rootCoord.maxGeneralCapacity", collections.to_string(), "at least 1")?;
        let timeout = self.minio.request_timeout_ms;
        check(timeout >= 100, "minio.requestTimeoutMs", timeout.to_string(), "at least 100 milliseconds")?;
        self.validate_water(check)?;
        let InterimIndex { nlist, nprobe, .. } = self.query_node.segcore.interim_index;
        check(nlist >= 1, "queryNode.segcore.interimIndex.nlist", nlist.to_string(), "at least 1")?;
        check(nprobe >= 1, "queryNode.segcore.interimIndex.nprobe", nprobe.to_string(), "at least 1")?;
        let policy = self.proxy.replica_selection_policy.clone();
        let policies = ["look_aside", "round_robin"];
        let known = policies.contains(&policy.as_str());
        check(known, "proxy.replicaSelectionPolicy", policy, "look_aside or round_robin")?;
        let ProxyGrpc { server_max_recv_size: received, server_max_send_size: sent } = self.proxy.grpc;
        let is_size = |bytes: usize| (1..=0x7fff_ffff).contains(&bytes);
        let sizes = "1 to 2147483647 bytes";
        check(is_size(received), "proxy.grpc.serverMaxRecvSize", received.to_string(), sizes)?;
        check(is_size(sent), "proxy.grpc.serverMaxSendSize", sent.to_string(), sizes)?;
        let mode = self.common.security.tls_mode;
        check(mode <= 2, "common.security.tlsMode", mode.to_string(), "0, 1 or 2")?;
        let timeout = self.etcd.request_timeout;
        check(timeout >= 100, "etcd.requestTimeout", timeout.to_string(), "at least 100 milliseconds")?;
        let timeout = self.kafka.read_timeout;
        check(timeout >= 1, "kafka.readTimeout", timeout.to_string(), "at least 1 second")?;
        let Cluster { lost_after_ms: lost, leader_ttl_ms: ttl, call_timeout_ms: call, .. } =
            self.redkite.cluster;
        check(lost >= 500, "redkite.cluster.lostAfterMs", lost.to_string(), "at least 500 milliseconds")?;
        check(ttl >= 1_000, "redkite.cluster.leaderTtlMs", ttl.to_string(), "at least 1000 milliseconds")?;
        check(
            call >= 1_000,
            "redkite.cluster.callTimeoutMs",
            call.to_string(),
            "at least 1000 milliseconds",
        )?;
        self.validate_services(check)?;
        let share = self.redkite.memory.load_share;
        check((0.1..=1.0).contains(&share), "redkite.memory.loadShare", share.to_string(), "0.1 to 1")?;
        self.validate_log(check)
    }

    /// Services that compute with models: whether they may be used is a truth value, and their addresses, which errors must not
    /// show, have no secrets in them.
    fn validate_services(
        &self,
        check: impl Fn(bool, &'static str, String, &'static str) -> Result<(), OutOfRange>,
    ) -> Result<(), OutOfRange> {
        let sections = [
            ("function.textEmbedding.providers", &self.function.text_embedding),
            ("function.rerank.model.providers", &self.function.rerank.model),
        ];
        for (key, Services { providers }) in sections {
            for (name, texts) in providers {
                let enable = texts.get("enable").map_or("", String::as_str).to_ascii_lowercase();
                let is_known = ["", "true", "false"].contains(&enable.as_str());
                check(is_known, key, format!("{enable} as {name}.enable"), "true or false")?;
                let url = texts.get("url").map_or("", |url| url.trim());
                let has_scheme = ["http://", "https://"].iter().any(|scheme| {
                    url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                });
                let is_plain = url.is_empty() || has_scheme && !url.contains(['@', '?', '#']);
                let expected = "http:// or https:// without user, password, query and fragment";
                check(is_plain, key, format!("something else as {name}.url"), expected)?;
            }
        }
        Ok(())
    }

    /// Log lines.
    fn validate_log(
        &self,
        check: impl Fn(bool, &'static str, String, &'static str) -> Result<(), OutOfRange>,
    ) -> Result<(), OutOfRange> {
        let span = self.proxy.slow_query_span_in_seconds;
        let right = (0.0..=86_400.0).contains(&span);
        check(right, "proxy.slowQuerySpanInSeconds", span.to_string(), "0 to 86400 seconds")?;
        let size = self.log.file.max_size;
        check(size <= 1 << 20, "log.file.maxSize", size.to_string(), "0 to 1048576 MiB")?;
        let age = self.log.file.max_age;
        check(age <= 36_500, "log.file.maxAge", age.to_string(), "at most 36500 days")?;
        let compat = self.log.compat.clone();
        let known = ["milvus", "guide"].contains(&compat.as_str());
        check(known, "log.compat", compat, "milvus or guide")?;
        let level = self.log.level.to_ascii_lowercase();
        let levels = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];
        check(
            levels.contains(&level.as_str()),
            "log.level",
            level.clone(),
            "trace, debug, info, warn, error or fatal",
        )?;
        let format = self.log.format.clone();
        check(["text", "json"].contains(&format.as_str()), "log.format", format.clone(), "text or json")
    }

    /// Whether sealed data goes to the object store.
    #[must_use]
    pub fn stores_remotely(&self) -> bool {
        match self.common.storage_type.as_str() {
            "local" => false,
            "" => !self.minio.address.is_empty(),
            _ => true,
        }
    }
}
