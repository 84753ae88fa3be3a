//! Settings of the engine: plain data with Milvus's key names; `Default` is the truth. What Milvus does not have is
//! below `redkite`.

mod reference;

use serde::{Deserialize, Serialize};

pub use reference::{Effect, KEYS, Key, markdown};

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
        /// Log lines.
        log: Log = Log::default(),
        /// What Milvus does not have.
        redkite: Redkite = Redkite::default(),
    }
}

section! {
    /// `common`
    Common {
        /// Where sealed data goes: `local`, or `remote` (also `minio`) for the object store. Empty: remote if `minio.address` is set.
        storage_type: String = String::new(),
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
        /// `aws` or another name of an S3 service.
        cloud_provider: String = "aws".to_owned(),
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
        /// `trace`, `debug`, `info`, `warn` or `error`.
        level: String = "info".to_owned(),
        /// `text` or `json`.
        format: String = "text".to_owned(),
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
    }
}

impl Settings {
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
        let level = self.log.level.to_ascii_lowercase();
        let levels = ["trace", "debug", "info", "warn", "error", "fatal", "panic"];
        check(
            levels.contains(&level.as_str()),
            "log.level",
            level.clone(),
            "trace, debug, info, warn or error",
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
