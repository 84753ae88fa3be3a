//! The table of settings that people read.

use std::fmt::Write as _;

use crate::role::Role;

/// When a change of a setting takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At the next start.
    Restart,
    /// While running.
    Running,
}

/// One setting, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, with dots.
    pub name: &'static str,
    /// What it does, its unit and range.
    pub meaning: &'static str,
    /// When a change takes effect.
    pub effect: Effect,
}

const fn key(name: &'static str, meaning: &'static str) -> Key {
    Key { name, meaning, effect: Effect::Restart }
}

/// One that is read again while the process runs.
const fn live(name: &'static str, meaning: &'static str) -> Key {
    Key { name, meaning, effect: Effect::Running }
}

/// The roles that each setting concerns, by the longest beginning of its name that is listed; a standalone has them all.
const COMPONENTS: &[(&str, &[Role])] = &[
    ("common.gracefulTime", &[Role::Proxy]),
    ("common.retentionDuration", &[Role::Proxy, Role::Coordinator]),
    ("common.security.authorizationEnabled", &[Role::Proxy]),
    ("common.security.defaultRootPassword", &[Role::Proxy]),
    ("common.security.enablePublicPrivilege", &[Role::Proxy]),
    ("common.security.internaltlsEnabled", &ROLES),
    ("common.security.rootShouldBindRole", &[Role::Proxy]),
    ("common.security.superUsers", &[Role::Proxy]),
    ("common.security.tlsMode", &[Role::Proxy]),
    ("common.storageType", &ROLES),
    ("credential", &[Role::Proxy]),
    ("dataCoord", &[Role::Coordinator]),
    ("dataCoord.segment", &[Role::DataNode, Role::StreamingNode]),
    ("dataCoord.segment.maxSize", &[Role::Coordinator, Role::DataNode, Role::StreamingNode]),
    ("etcd", &ROLES),
    ("function", &[Role::Proxy]),
    ("indexCoord", &[Role::Coordinator]),
    ("internaltls", &ROLES),
    ("kafka", &ROLES),
    ("localStorage", &ROLES),
    ("log", &ROLES),
    ("minio", &ROLES),
    ("mq", &ROLES),
    ("proxy", &[Role::Proxy]),
    ("queryNode.gracefulStopTimeout", &ROLES),
    ("queryNode.segcore", &[Role::QueryNode]),
    ("quotaAndLimits", &[Role::Proxy]),
    ("quotaAndLimits.limitWriting.growingSegmentsSizeProtection", &[Role::DataNode, Role::StreamingNode]),
    ("quotaAndLimits.limitWriting.memProtection", &[Role::DataNode, Role::StreamingNode]),
    ("redkite.admin", &ROLES),
    ("redkite.advertise", &ROLES),
    ("redkite.auditLog", &[Role::Proxy]),
    ("redkite.buildThreads", &[Role::DataNode]),
    ("redkite.cache", &[Role::QueryNode]),
    ("redkite.cluster.callTimeoutMs", &ROLES),
    ("redkite.cluster.leaderTtlMs", &[Role::Coordinator]),
    ("redkite.cluster.lostAfterMs", &[Role::Coordinator]),
    ("redkite.cluster.preferOwnZone", &[Role::Proxy]),
    ("redkite.createBucket", &ROLES),
    ("redkite.datanode", &[Role::DataNode]),
    ("redkite.functionHosts", &[Role::Proxy]),
    ("redkite.internalListen", &ROLES),
    ("redkite.memory", &[Role::QueryNode, Role::DataNode, Role::StreamingNode]),
    ("redkite.metricsListen", &ROLES),
    ("redkite.reportedVersion", &[Role::Proxy]),
    ("rootCoord", &[Role::Coordinator]),
    ("streaming", &[Role::DataNode, Role::StreamingNode]),
    ("tls", &[Role::Proxy]),
];

/// The roles of a cluster.
const ROLES: [Role; 5] =
    [Role::Proxy, Role::Coordinator, Role::QueryNode, Role::DataNode, Role::StreamingNode];

/// The roles of a cluster that a setting concerns: those to start anew when it changes.
#[must_use]
pub fn components(name: &str) -> &'static [Role] {
    let begins =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let listed = COMPONENTS.iter().filter(|(prefix, _)| begins(prefix));
    listed.max_by_key(|(prefix, _)| prefix.len()).map(|(_, roles)| *roles).unwrap_or_default()
}

/// Every setting, ascending by name. A test keeps it equal to [`super::Settings`].
pub const KEYS: &[Key] = &[
    key("common.gracefulTime", "How old a read of consistency level Bounded may be. Milliseconds."),
    key(
        "common.retentionDuration",
        "How far back a read may go in collections without the property `timetravel.retention.seconds`; 0 for not at all. Seconds.",
    ),
    key(
        "common.security.authorizationEnabled",
        "Whether users have to say who they are, and may do only what their roles may.",
    ),
    key("common.security.defaultRootPassword", "Root's password until it is given another one."),
    key(
        "common.security.enablePublicPrivilege",
        "Whether every user may see collections, aliases and indexes.",
    ),
    key(
        "common.security.internaltlsEnabled",
        "Whether calls between nodes are encrypted and authenticated by certificates of both sides.",
    ),
    key("common.security.rootShouldBindRole", "Whether root, too, may do only what its roles may."),
    key(
        "common.security.superUsers",
        "Users who may set passwords without saying the old one, with commas between them.",
    ),
    key(
        "common.security.tlsMode",
        "The client port: 0 in clear text, 1 TLS, 2 TLS with certificates of clients.",
    ),
    key(
        "common.storageType",
        "Where sealed data goes: `local` or `remote` (also `minio`). Empty: remote if `minio.address` is set.",
    ),
    key(
        "credential",
        "Secrets of services that compute with models, by a name of yours: `credential.<name>.apikey`; the `credential` of a service lists those that are for it, and functions name one of them. In the environment `MILVUS_CONF_CREDENTIAL_<NAME>_APIKEY`.",
    ),
    key(
        "dataCoord.compaction.clustering.autoEnable",
        "Whether a collection with a clustering key is clustered without being asked, once so much of it is not that it makes a segment.",
    ),
    key(
        "dataCoord.compaction.clustering.enable",
        "Whether collections with a clustering key are clustered, by themselves or on demand.",
    ),
    key(
        "dataCoord.compaction.enableAutoCompaction",
        "Whether sealed segments are compacted without being asked. A collection's property `collection.autocompaction.enabled` can say no.",
    ),
    key("dataCoord.enableCompaction", "Whether sealed segments are compacted, by themselves or on demand."),
    key(
        "dataCoord.segment.maxIdleTime",
        "A channel is sealed once its oldest unsealed row is so old. Seconds, at least 1.",
    ),
    key(
        "dataCoord.segment.maxSize",
        "A channel is sealed once it holds so much. Compaction makes segments of that size, in a standalone of up to four times that where they are of vectors, and of a sixteenth of the memory at most. MiB, 1 to 8192.",
    ),
    key("etcd.auth.enabled", "Whether to log in to etcd."),
    key("etcd.auth.password", "The password; give it by environment, never in a file in Git."),
    key(
        "etcd.auth.passwordFile",
        "File with the password, read again when it changes; counts instead of the password. Milvus does not have it.",
    ),
    key("etcd.auth.userName", "As whom to log in to etcd."),
    key(
        "etcd.endpoints",
        "Addresses of etcd's members, separated by commas. Empty: metadata is kept in the data directory.",
    ),
    key("etcd.requestTimeout", "A request to etcd that takes longer has failed. Milliseconds, at least 100."),
    key("etcd.rootPath", "Everything of Redkite's in etcd is below this prefix."),
    key("etcd.ssl.enabled", "Whether to speak TLS to etcd."),
    key("etcd.ssl.tlsCACert", "File of the certificate authority to trust."),
    key("etcd.ssl.tlsCert", "File of our certificate."),
    key("etcd.ssl.tlsKey", "File of our certificate's key."),
    key("etcd.ssl.tlsMinVersion", "The lowest version to speak, `1.2` or `1.3`. Empty: 1.2."),
    key(
        "function.rerank.model.providers",
        "Services that rank, by name (tei, vllm, cohere, voyageai, siliconflow, dashscope): `enable` (true), `url` instead of the usual one, names of the `credential`s that it may be sent, with commas between: the first one where a ranker names none.",
    ),
    key(
        "function.textEmbedding.providers",
        "Services that make vectors of texts, by name (tei, openai, azure_openai, siliconflow, voyageai, cohere, dashscope): `enable` (true), `url` instead of the usual one, names of the `credential`s that it may be sent, with commas between: the first one where a function names none, and `resource_name` of azure_openai.",
    ),
    key(
        "indexCoord.segment.minSegmentNumRowsToEnableIndex",
        "Sealed segments with fewer rows are scanned instead of indexed.",
    ),
    key("internaltls.caPemPath", "File of the authority that signs the nodes' certificates."),
    key("internaltls.serverKeyPath", "File of the node's key."),
    key("internaltls.serverPemPath", "File of the node's certificate, with its chain."),
    key("internaltls.sni", "Name that every node's certificate must be for. Empty: the one in its address."),
    key("kafka.brokerList", "Addresses of the brokers, separated by commas."),
    key("kafka.readTimeout", "How long to wait for the brokers. Seconds, at least 1."),
    key("kafka.saslMechanisms", "How to log in to Kafka: `PLAIN`, `SCRAM-SHA-256`, …"),
    key("kafka.saslPassword", "The password; give it by environment, never in a file in Git."),
    key("kafka.saslUsername", "As whom to log in to Kafka."),
    key("kafka.securityProtocol", "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."),
    key("kafka.ssl.enabled", "Whether to speak TLS to Kafka."),
    key("kafka.ssl.tlsCaCert", "File of the certificate authority to trust."),
    key("kafka.ssl.tlsCert", "File of our certificate."),
    key("kafka.ssl.tlsKey", "File of our certificate's key."),
    key(
        "kafka.ssl.tlsKeyPassword",
        "Password of the key's file; give it by environment, never in a file in Git.",
    ),
    key("localStorage.path", "Directory of everything kept locally; `--data-dir` sets it."),
    key(
        "log.compat",
        "What lines of `log.format` `json` look like: `milvus` (`time` as `2006/01/02 15:04:05.000 +00:00`, levels in capitals) or `guide` (`time` by ISO 8601, levels in small letters).",
    ),
    key(
        "log.file.maxAge",
        "Files that were put away are removed once they are so old. Days. 0 or less: never.",
    ),
    key("log.file.maxBackups", "How many files that were put away are kept. 0 or less: all."),
    key(
        "log.file.maxSize",
        "The file is put away, and another begun, before it is larger. MiB. 0: the default.",
    ),
    key(
        "log.file.rootPath",
        "Folder of the file of log lines, `<role>.log`, for this process alone; SIGUSR1 opens the file anew. Empty: no file.",
    ),
    key("log.format", "`text` or `json`."),
    key(
        "log.level",
        "`trace`, `debug`, `info`, `warn`, `error`, or `fatal`: nothing but why the process ends. `PUT /log/level` on the port of metrics changes it until the next start.",
    ),
    key("log.stdout", "Whether log lines go to the standard output, beside the file if there is one."),
    live("minio.accessKeyID", "Access key of the object store. Empty: the machine's own credentials."),
    key("minio.address", "`host`, `host:port` or URL of the object store. Empty: none."),
    key("minio.bucketName", "The bucket."),
    key(
        "minio.cloudProvider",
        "`aws` or another name of an S3 service; `gcp` for Google's own API, `azure` for Azure's.",
    ),
    live(
        "minio.gcpCredentialJSON",
        "The key of a Google service account, as JSON; give it by environment, never in a file in Git.",
    ),
    key("minio.port", "Port, where the address has none. 0: the scheme's."),
    key("minio.region", "The service's region."),
    key("minio.requestTimeoutMs", "A request that takes longer is tried again. Milliseconds, at least 100."),
    key("minio.rootPath", "Everything of Redkite's is below this prefix of the bucket."),
    live(
        "minio.secretAccessKey",
        "Secret key of the object store; give it by environment, never in a file in Git.",
    ),
    live("minio.ssl.tlsCACert", "File of the certificate authority to trust besides the usual ones."),
    live("minio.useIAM", "Whether credentials come from the machine's role."),
    key("minio.useSSL", "Whether to speak TLS to the object store."),
    key("minio.useVirtualHost", "Whether the bucket stands in the host name instead of the path."),
    key(
        "mq.type",
        "Which log holds what is not sealed: `kafka` with `kafka.brokerList` is Kafka; every other name is the object log in a cluster and the file log in a standalone.",
    ),
    key(
        "proxy.grpc.serverMaxRecvSize",
        "Largest request. Bytes; rows of one write to a shard never take more than 256 MiB.",
    ),
    key("proxy.grpc.serverMaxSendSize", "Largest answer over gRPC. Bytes."),
    key("proxy.listen", "Address for clients, gRPC and REST alike; `--listen` sets it."),
    key(
        "proxy.port",
        "The port for clients, on all addresses, where neither `proxy.listen` nor `--listen` is set.",
    ),
    key(
        "proxy.replicaSelectionPolicy",
        "Which copy of a collection a read goes to: `look_aside` (the less busy of two) or `round_robin`.",
    ),
    key(
        "proxy.slowQuerySpanInSeconds",
        "Searches and queries that take longer are logged as slow, with `latency_ms`, database, collection and kind. Seconds. 0: none is.",
    ),
    key(
        "queryNode.gracefulStopTimeout",
        "How long a node that is to stop waits while nothing is taken over from it. Seconds.",
    ),
    key(
        "queryNode.segcore.interimIndex.enableIndex",
        "Whether rows that are not sealed are indexed in memory, some 10,000 at a time.",
    ),
    key("queryNode.segcore.interimIndex.nlist", "Lists of such an index, at least 1."),
    key("queryNode.segcore.interimIndex.nprobe", "Lists that a search of such an index reads, at least 1."),
    key("quotaAndLimits.compactionRate.db.max", "Compactions asked for in each database. Calls a second."),
    key("quotaAndLimits.compactionRate.enabled", "Whether rates of `compactionRate` are kept."),
    key(
        "quotaAndLimits.compactionRate.max",
        "Compactions asked for in all databases together. Calls a second; negative: no limit.",
    ),
    key("quotaAndLimits.dbRate.enabled", "Whether the rate of `dbRate` is kept."),
    key(
        "quotaAndLimits.dbRate.max",
        "Databases made, dropped and altered. Calls a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.ddl.collectionRate",
        "Collections made, dropped, loaded and released, in all databases together. Calls a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.ddl.db.collectionRate",
        "Collections made, dropped, loaded and released, in each database. Calls a second.",
    ),
    key(
        "quotaAndLimits.ddl.db.partitionRate",
        "Partitions made, dropped, loaded and released, in each database. Calls a second.",
    ),
    key("quotaAndLimits.ddl.enabled", "Whether rates of `ddl` are kept."),
    key(
        "quotaAndLimits.ddl.partitionRate",
        "Partitions made, dropped, loaded and released, in all databases together. Calls a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.dml.deleteRate.collection.max",
        "Requests to delete in each collection. MB a second. A collection's property `collection.deleteRate.max.mb` counts instead.",
    ),
    key("quotaAndLimits.dml.deleteRate.db.max", "Requests to delete in each database. MB a second."),
    key(
        "quotaAndLimits.dml.deleteRate.max",
        "Requests to delete in all databases together. MB a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.dml.deleteRate.partition.max",
        "Requests to delete in each partition that the request names. MB a second.",
    ),
    key("quotaAndLimits.dml.enabled", "Whether rates of `dml` are kept."),
    key(
        "quotaAndLimits.dml.insertRate.collection.max",
        "Requests to insert in each collection. MB a second. A collection's property `collection.insertRate.max.mb` counts instead.",
    ),
    key("quotaAndLimits.dml.insertRate.db.max", "Requests to insert in each database. MB a second."),
    key(
        "quotaAndLimits.dml.insertRate.max",
        "Requests to insert in all databases together. MB a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.dml.insertRate.partition.max",
        "Requests to insert in each partition that the request names. MB a second.",
    ),
    key(
        "quotaAndLimits.dml.upsertRate.collection.max",
        "Requests to upsert in each collection. MB a second. A collection's property `collection.upsertRate.max.mb` counts instead.",
    ),
    key("quotaAndLimits.dml.upsertRate.db.max", "Requests to upsert in each database. MB a second."),
    key(
        "quotaAndLimits.dml.upsertRate.max",
        "Requests to upsert in all databases together. MB a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.dml.upsertRate.partition.max",
        "Requests to upsert in each partition that the request names. MB a second.",
    ),
    key("quotaAndLimits.dql.enabled", "Whether rates of `dql` are kept."),
    key(
        "quotaAndLimits.dql.queryRate.collection.max",
        "Queries in each collection. Queries a second. A collection's property `collection.queryRate.max.qps` counts instead.",
    ),
    key("quotaAndLimits.dql.queryRate.db.max", "Queries in each database. Queries a second."),
    key(
        "quotaAndLimits.dql.queryRate.max",
        "Queries in all databases together. Queries a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.dql.queryRate.partition.max",
        "Queries in each partition that the request names. Queries a second.",
    ),
    key(
        "quotaAndLimits.dql.searchRate.collection.max",
        "Vectors that are searched for in each collection. Vectors a second. A collection's property `collection.searchRate.max.vps` counts instead.",
    ),
    key(
        "quotaAndLimits.dql.searchRate.db.max",
        "Vectors that are searched for in each database. Vectors a second.",
    ),
    key(
        "quotaAndLimits.dql.searchRate.max",
        "Vectors that are searched for in all databases together. Vectors a second; negative: no limit.",
    ),
    key(
        "quotaAndLimits.dql.searchRate.partition.max",
        "Vectors that are searched for in each partition that the request names. Vectors a second.",
    ),
    key(
        "quotaAndLimits.enabled",
        "Whether there are limits of rates (code 8) and denials (code 9); what protects memory has switches of its own. Each of several proxies gives its part of a rate.",
    ),
    key("quotaAndLimits.flushRate.collection.max", "Flushes of each collection. Calls a second."),
    key("quotaAndLimits.flushRate.db.max", "Flushes of collections in each database. Calls a second."),
    key(
        "quotaAndLimits.flushRate.enabled",
        "Whether rates of `flushRate` are kept; Milvus keeps them by default.",
    ),
    key(
        "quotaAndLimits.flushRate.max",
        "Flushes of collections in all databases together. Calls a second; negative: no limit.",
    ),
    key("quotaAndLimits.indexRate.db.max", "Indexes made and dropped in each database. Calls a second."),
    key("quotaAndLimits.indexRate.enabled", "Whether rates of `indexRate` are kept."),
    key(
        "quotaAndLimits.indexRate.max",
        "Indexes made and dropped in all databases together. Calls a second; negative: no limit.",
    ),
    key("quotaAndLimits.limitReading.forceDeny", "Whether all reads are refused. Code 9."),
    key("quotaAndLimits.limitWriting.forceDeny", "Whether all writes are refused. Code 9."),
    key(
        "quotaAndLimits.limitWriting.growingSegmentsSizeProtection.enabled",
        "Whether writes are slowed down and then refused while too much of what was written is not sealed.",
    ),
    key(
        "quotaAndLimits.limitWriting.growingSegmentsSizeProtection.highWaterLevel",
        "They are refused from this part of the owning node's memory on.",
    ),
    key(
        "quotaAndLimits.limitWriting.growingSegmentsSizeProtection.lowWaterLevel",
        "They are slowed down from this part of the owning node's memory on.",
    ),
    key(
        "quotaAndLimits.limitWriting.memProtection.enabled",
        "Whether writes are slowed down and then refused while query nodes have too little memory.",
    ),
    key(
        "quotaAndLimits.limitWriting.memProtection.queryNodeMemoryHighWaterLevel",
        "They are refused from this part of a query node's memory on.",
    ),
    key(
        "quotaAndLimits.limitWriting.memProtection.queryNodeMemoryLowWaterLevel",
        "They are slowed down from this part of a query node's memory on.",
    ),
    key("redkite.admin.tokenFile", "File of the token that calls between nodes and the admin API carry."),
    key(
        "redkite.advertise",
        "Address that other nodes call this one by. Empty: the listening address, or this machine's.",
    ),
    key(
        "redkite.auditLog",
        "Whether it is logged who did what: lines of the target `audit`, for changes and for what was refused.",
    ),
    key("redkite.buildThreads", "Threads that build an index. 0: as many as there are processors."),
    key(
        "redkite.cache.budgetMb",
        "What a query node keeps of the object store on its disk. MiB. 0: nothing.",
    ),
    key(
        "redkite.cluster.callTimeoutMs",
        "A call between nodes, or a client's, that takes longer has failed. Milliseconds, at least 1000.",
    ),
    key(
        "redkite.cluster.leaderTtlMs",
        "A leader that has not renewed its lead for so long is replaced. Milliseconds, at least 1000.",
    ),
    key(
        "redkite.cluster.lostAfterMs",
        "A node that has been silent for so long is lost. Milliseconds, at least 500.",
    ),
    key(
        "redkite.cluster.preferOwnZone",
        "Whether a proxy reads from copies whose nodes are all in its own zone, while one of them works. Label `ZONE` (`MILVUS_SERVER_LABEL_ZONE` in the environment) says where a node is.",
    ),
    key("redkite.createBucket", "Whether to make the bucket if it is not there."),
    key(
        "redkite.datanode.writes",
        "Whether data nodes own channels too, where there are no streaming nodes.",
    ),
    key(
        "redkite.functionHosts",
        "The only hosts (`host` or `host:port`, with commas between, each with `http://` or `https://` before it or not) that users may name as endpoints of functions and rankers, besides the services' own places. One with a port is sent credentials, too, over HTTPS, or over HTTP if it says `http://`. Empty: every host but link-local ones and those of metadata, and none is sent a credential.",
    ),
    key(
        "redkite.internalListen",
        "Address of calls between nodes and of the admin API; `--internal-listen` sets it. Empty: 0.0.0.0:19529; for a standalone that has neither `redkite.admin.tokenFile` nor `internaltls`, 127.0.0.1:19529.",
    ),
    key(
        "redkite.memory.limitMb",
        "What a node may hold of loaded data and of rows that are not sealed. MiB. 0: the machine's or the container's memory, less what the program and its work need.",
    ),
    key("redkite.memory.loadShare", "The share of that memory that loading may fill. 0.1 to 1."),
    key("redkite.metricsListen", "Address of `/healthz` and `/metrics`; `--metrics-listen` sets it."),
    key("redkite.reportedVersion", "The version of Milvus that clients are told."),
    key("rootCoord.maxDatabaseNum", "Most databases, at least 1."),
    key("rootCoord.maxGeneralCapacity", "Most collections in all databases together, at least 1."),
    key("rootCoord.maxPartitionNum", "Most partitions of one collection, at least 1."),
    key(
        "streaming.flush.growingSegmentBytesHwmThreshold",
        "The fullest channels are sealed once what a node has not sealed is this part of its memory, 0.01 to 1.",
    ),
    key(
        "streaming.flush.growingSegmentBytesLwmThreshold",
        "They are sealed until it is this part of the memory.",
    ),
    key(
        "tls.caPemPath",
        "File of the authority that signs clients' certificates, for `common.security.tlsMode` 2.",
    ),
    key("tls.serverKeyPath", "File of the key of the client port's certificate."),
    key("tls.serverPemPath", "File of the client port's certificate, with its chain."),
    key("tls.sni", "Unused on the client port; accepted as Milvus accepts it."),
];

/// The reference as a Markdown table; `defaults` gives the default of a key as text.
#[must_use]
pub fn markdown(defaults: impl Fn(&str) -> String) -> String {
    let mut page = String::from(
        "# Settings of the engine\n\nGenerated by `make gen`. A setting comes from the defaults below, then from the files given by `--config` in\norder, then from the environment (`minio.accessKeyID` is `MINIO_ACCESS_KEY_ID` or `REDKITE__MINIO__ACCESSKEYID`), then\nfrom flags. Unknown keys are reported once and ignored.\n\n| key | default | meaning | takes effect |\n| --- | --- | --- | --- |\n",
    );
    for Key { name, meaning, effect } in KEYS {
        let effect = match effect {
            Effect::Restart => "at the next start",
            Effect::Running => "while running",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{name}` | `{}` | {meaning} | {effect} |", defaults(name));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::{COMPONENTS, KEYS, components};
    use crate::role::Role;

    #[test]
    fn every_setting_concerns_some_role_and_every_row_some_setting() {
        let nobodys: Vec<_> =
            KEYS.iter().map(|key| key.name).filter(|name| components(name).is_empty()).collect();
        let idle: Vec<_> = COMPONENTS
            .iter()
            .filter(|(prefix, roles)| {
                !KEYS.iter().any(|key| key.name.starts_with(prefix) && components(key.name) == *roles)
            })
            .collect();

        assert!(nobodys.is_empty(), "{nobodys:?}");
        assert!(idle.is_empty(), "{idle:?}");
    }

    #[test]
    fn the_longest_beginning_counts() {
        let writers: &[Role] = &[Role::DataNode, Role::StreamingNode];

        assert_eq!(components("dataCoord.segment.maxIdleTime"), writers);
        assert_eq!(components("dataCoord.enableCompaction"), [Role::Coordinator]);
    }
}
