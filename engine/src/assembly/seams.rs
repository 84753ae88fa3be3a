//! Opens the seams of a process: where its role keeps the catalog, the log and sealed data.

use std::fs::File;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use contract::role::{Duty, Role};
use contract::settings::{Etcd, Settings};
use tracing::warn;

use crate::assembly::adopt::adopt;
use crate::assembly::duties::share_of;
use crate::assembly::growth::refuse_moved;
use crate::assembly::identity::{Claimed, claim};
use crate::assembly::reread::{REREAD, Rereader};
use crate::assembly::{Error, NodeSeams, Surroundings, machine, stores};
use crate::base::{Clock, Kind, Kinded as _, Rng, Secret, TaskSet, chain};
use crate::blob::{Blobs, CachedBlobs, DiskCacheSettings, ProbeSettings, keeps_creates_apart};
use crate::disk::{OsDisk, Scratch};
use crate::log::{FileLogSettings, FileLogs, KafkaLogs, KafkaSettings, Logs, ObjectLogSettings, ObjectLogs};
use crate::meta::{self, EtcdMetas, EtcdSettings, EtcdTls, EtcdUser, Metas, RedbMetas};
use crate::obs::{Health, Metrics};

/// Keys of sealed data begin with one of these.
const SEALED: [&str; 2] = ["segments/", "deletes/"];
/// How often a start that waits for an address tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Opens everything that outlives the process. A standalone keeps in its data directory, which is locked until the result
/// is dropped and what it keeps there is closed, whatever no setting puts elsewhere; a role of a cluster keeps nothing there that it could not lose.
///
/// An address that does not answer is tried again for as long as it takes, and named in `/healthz`.
///
/// # Errors
/// Whatever cannot be opened, with its name.
pub async fn open_seams(role: Role, settings: &Settings, around: &Surroundings) -> Result<NodeSeams, Error> {
    let Surroundings { clock, rng, tasks, health, metrics, sources, .. } = around;
    let (clock, rng) = (Arc::clone(clock), Arc::clone(rng));
    let root = Path::new(&settings.local_storage.path);
    let alone = role == Role::Standalone;
    if !alone && !settings.stores_remotely() {
        return Err(Error::NoBucket { role: role.name() });
    }
    let lock = if alone { Some(Arc::new(lock_directory(root)?)) } else { None };
    let start = Start { role, health, clock: &clock };
    let bucket = Needed::bucket(settings);
    let store = start.patiently(&bucket, || stores::open(settings, root, &clock, &rng)).await?;
    let blobs = Arc::clone(&store.blobs);
    let etcd = Needed::etcd(settings);
    let metas = start.patiently(&etcd, || open_metas(role, settings, root, lock.as_ref(), &clock)).await?;
    let both = etcd.and(&bucket);
    let mut sealed = None;
    if let Some(metas) = &metas {
        let claimed = start.patiently(&both, || may_start(role, alone, &blobs, metas, &rng)).await?;
        if let Claimed::Sealed(whose) = claimed {
            sealed = Some((Arc::clone(metas), whose));
        }
    }
    if !alone && !logs_to_kafka(settings) {
        start.patiently(&bucket, || probe(blobs.as_ref(), rng.as_ref())).await?;
    }
    let logs = start
        .patiently(&Needed::kafka(settings), || {
            open_logs(role, settings, root, lock.as_ref(), &blobs, &clock, &rng, metrics, tasks)
        })
        .await?;
    if let Some((metas, whose)) = sealed {
        start
            .patiently(&both, || async {
                match claim(&blobs, metas.as_ref(), rng.as_ref()).await? {
                    Claimed::Ours => Ok(()),
                    Claimed::Sealed(_) => {
                        adopt(&blobs, metas.as_ref(), &logs, &whose, clock.as_ref()).await.map(drop)
                    }
                }
            })
            .await?;
    }
    let reader = Rereader { store, sources: Arc::clone(sources), clock: Arc::clone(&clock), every: REREAD };
    tasks.start("read credentials again", |stop| reader.run(stop));
    let blobs = cached(role, settings, root, blobs, &clock).await?;
    let alone = alone && settings.etcd.endpoints.is_empty();
    let scratch = scratch(role, root).await;
    Ok(NodeSeams { blobs, metas, scratch, logs, clock, rng, alone, lock, flaw: None, usage: None })
}

/// Whether this bucket and this metadata are ones to start with; a cluster's coordinator may take over a sealed catalog.
async fn may_start(
    role: Role,
    alone: bool,
    blobs: &Arc<dyn Blobs>,
    metas: &Arc<dyn Metas>,
    rng: &Arc<dyn Rng>,
) -> Result<Claimed, Error> {
    match claim(blobs, metas.as_ref(), rng.as_ref()).await? {
        Claimed::Sealed(_) if !role.duties().contains(&Duty::Coord) => Err(Error::CatalogWaits),
        // Its log is in a directory that may be here: whether it is, only its owner can say.
        Claimed::Sealed(whose) if alone => Err(Error::CatalogLost { cluster: whose.cluster }),
        claimed => Ok(claimed),
    }
}

/// Something outside the process that a start needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Needed {
    /// What it is and where.
    what: String,
    /// The settings that say who we are to it.
    credentials: &'static str,
}

impl Needed {
    fn bucket(settings: &Settings) -> Self {
        let (address, bucket) = (&settings.minio.address, &settings.minio.bucket_name);
        Self {
            what: format!("the object store at {address}, bucket {bucket}"),
            credentials: "minio.accessKeyID and minio.secretAccessKey",
        }
    }

    fn etcd(settings: &Settings) -> Self {
        Self { what: format!("etcd at {}", settings.etcd.endpoints), credentials: "etcd.auth and etcd.ssl" }
    }

    fn kafka(settings: &Settings) -> Self {
        Self {
            what: format!("Kafka at {}", settings.kafka.broker_list),
            credentials: "kafka.saslUsername, kafka.saslPassword and kafka.ssl",
        }
    }

    fn and(&self, other: &Self) -> Self {
        Self {
            what: format!("{} or {}", self.what, other.what),
            credentials: "etcd.auth, etcd.ssl, minio.accessKeyID and minio.secretAccessKey",
        }
    }
}

/// A start that waits for what it needs.
struct Start<'a> {
    role: Role,
    health: &'a Health,
    clock: &'a Arc<dyn Clock>,
}

impl Start<'_> {
    /// Tries until it works or fails for good; says in `/healthz` what is being waited for.
    async fn patiently<T, F>(&self, needed: &Needed, mut open: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let Self { role, health, clock } = self;
        let mut told = false;
        loop {
            match open().await {
                // A standalone that cannot start says so at once: nothing else will bring its parts up.
                Err(error) if error.kind() == Kind::Unavailable && *role != Role::Standalone => {
                    let reason = chain(&error);
                    if !told {
                        warn!(what = needed.what, reason, "waiting");
                        told = true;
                    }
                    health.failing(role.name(), format!("waiting for {}: {reason}", needed.what));
                    clock.sleep(RETRY).await;
                }
                Err(error) if error.kind() == Kind::Denied => {
                    let Needed { what, credentials: settings } = needed.clone();
                    return Err(Error::Refused { what, settings, source: Box::new(error) });
                }
                other => {
                    if told {
                        health.failing(role.name(), "starting");
                    }
                    return other;
                }
            }
        }
    }
}

pub(super) async fn open_metas(
    role: Role,
    settings: &Settings,
    root: &Path,
    lock: Option<&Arc<File>>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Metas>>, Error> {
    let failed = |source| match source {
        meta::Error::InUse { .. } => Error::DataDirectoryInUse { path: root.to_owned() },
        source => Error::OpenMetas { source },
    };
    let etcd = &settings.etcd;
    if !etcd.endpoints.is_empty() {
        let metas = EtcdMetas::connect(etcd_settings(etcd), Arc::clone(clock)).await.map_err(failed)?;
        return Ok(Some(metas));
    }
    if role == Role::Standalone {
        let metas = RedbMetas::open_locked(root.join("meta.redb"), lock.cloned()).await.map_err(failed)?;
        return Ok(Some(metas));
    }
    Err(Error::NoCatalog { role: role.name() })
}

fn etcd_settings(etcd: &Etcd) -> EtcdSettings {
    let list = |text: &str| {
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
    };
    let path = |text: &str| if text.is_empty() { None } else { Some(text.into()) };
    EtcdSettings {
        endpoints: list(&etcd.endpoints),
        root: etcd.root_path.clone(),
        user: etcd.auth.enabled.then(|| EtcdUser {
            name: etcd.auth.user_name.clone(),
            password: Secret::new(etcd.auth.password.reveal()),
            password_file: path(&etcd.auth.password_file),
        }),
        tls: etcd.ssl.enabled.then(|| EtcdTls {
            ca_file: etcd.ssl.tls_ca_cert.clone().into(),
            cert_file: path(&etcd.ssl.tls_cert),
            key_file: path(&etcd.ssl.tls_key),
            min_version: etcd.ssl.tls_min_version.clone(),
        }),
        request_timeout_ms: etcd.request_timeout,
        ..EtcdSettings::default()
    }
}

#[expect(clippy::too_many_arguments, reason = "each is one seam that a log stands on")]
pub(super) async fn open_logs(
    role: Role,
    settings: &Settings,
    root: &Path,
    lock: Option<&Arc<File>>,
    blobs: &Arc<dyn Blobs>,
    clock: &Arc<dyn Clock>,
    rng: &Arc<dyn Rng>,
    metrics: &Metrics,
    tasks: &TaskSet,
) -> Result<Arc<dyn Logs>, Error> {
    if logs_to_kafka(settings) {
        let (clock, metrics) = (Arc::clone(clock), metrics.log.clone());
        let logs = KafkaLogs::connect(kafka_settings(settings), tasks.clone(), clock, metrics).await;
        return Ok(logs.map_err(|source| Error::OpenLogs { source })?);
    }
    if role == Role::Standalone {
        let folder = root.join("log");
        let disk =
            OsDisk::open_locked(&folder, lock.cloned()).await.map_err(|source| match source.kind() {
                std::io::ErrorKind::ResourceBusy => Error::DataDirectoryInUse { path: root.to_owned() },
                _ => Error::DataDirectory { path: folder, source },
            })?;
        let sizes = FileLogSettings::default();
        let sizes = FileLogSettings { recent_bytes: recent_bytes(sizes.recent_bytes, settings), ..sizes };
        return Ok(FileLogs::new(disk, tasks.clone(), Arc::clone(clock), metrics.log.clone(), sizes));
    }
    if !matches!(settings.mq.r#type.as_str(), "" | "default" | "woodpecker") {
        warn!(
            asked = settings.mq.r#type,
            "this kind of log is not built: the log is kept in the object store"
        );
    }
    let (clock, rng) = (Arc::clone(clock), Arc::clone(rng));
    let sizes = ObjectLogSettings::default();
    let sizes = ObjectLogSettings { recent_bytes: recent_bytes(sizes.recent_bytes, settings), ..sizes };
    Ok(ObjectLogs::new(Arc::clone(blobs), tasks.clone(), clock, rng, metrics.log.clone(), sizes))
}

/// What a log keeps of its latest records: `most`, or a thirty-second part of the memory if that is less.
fn recent_bytes(most: usize, settings: &Settings) -> usize {
    let memory = match settings.redkite.memory.limit_mb << 20 {
        0 => machine::memory_bytes(),
        limit => limit,
    };
    usize::try_from(share_of(memory, 1.0 / 32.0)).map_or(most, |share| most.min(share))
}

fn logs_to_kafka(settings: &Settings) -> bool {
    settings.mq.r#type == "kafka" && !settings.kafka.broker_list.is_empty()
}

/// Refuses a store that cannot hold the object log: one that lets two writers of one name both believe they won.
async fn probe(blobs: &dyn Blobs, rng: &dyn Rng) -> Result<(), Error> {
    let found = keeps_creates_apart(blobs, rng, ProbeSettings::default()).await;
    let verdict = found.map_err(|source| Error::OpenBlobs { source })?;
    if verdict.is_apart() { Ok(()) } else { Err(Error::UnfitForLog { why: verdict.to_string() }) }
}

fn kafka_settings(settings: &Settings) -> KafkaSettings {
    let kafka = &settings.kafka;
    let path = |text: &str| if text.is_empty() { None } else { Some(text.into()) };
    KafkaSettings {
        broker_list: kafka.broker_list.clone(),
        sasl_username: kafka.sasl_username.clone(),
        sasl_password: Secret::new(kafka.sasl_password.reveal()),
        sasl_mechanisms: kafka.sasl_mechanisms.clone(),
        security_protocol: kafka.security_protocol.clone(),
        ssl_enabled: kafka.ssl.enabled,
        tls_cert: path(&kafka.ssl.tls_cert),
        tls_key: path(&kafka.ssl.tls_key),
        tls_ca_cert: path(&kafka.ssl.tls_ca_cert),
        tls_key_password: Secret::new(kafka.ssl.tls_key_password.reveal()),
        read_timeout: Duration::from_secs(kafka.read_timeout),
        ..KafkaSettings::default()
    }
}

/// A query node keeps what it loads on its disk, within a budget.
async fn cached(
    role: Role,
    settings: &Settings,
    root: &Path,
    blobs: Arc<dyn Blobs>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Blobs>, Error> {
    let budget_bytes = settings.redkite.cache.budget_mb << 20;
    if budget_bytes == 0 || role != Role::QueryNode {
        return Ok(blobs);
    }
    let folder = root.join("cache");
    // Sealed data only: log records are read once.
    let prefixes = SEALED.map(str::to_owned).into();
    let sizes = DiskCacheSettings { folder, budget_bytes, prefixes, ..DiskCacheSettings::default() };
    let opened = CachedBlobs::open(blobs, sizes, Arc::clone(clock)).await;
    Ok(opened.map_err(|source| Error::OpenBlobs { source })?)
}

/// A folder for vectors that a query node need not hold in memory. One that cannot be used costs memory and nothing else.
async fn scratch(role: Role, root: &Path) -> Option<Arc<Scratch>> {
    if !role.duties().contains(&Duty::Querier) {
        return None;
    }
    let folder = root.join("scratch");
    let opened = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || {
            let scratch = Scratch::open(folder)?;
            if scratch.is_in_memory()? {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::Unsupported,
                    "its files are held in memory",
                ));
            }
            Ok(scratch)
        }
    });
    let opened = opened.await.map_err(std::io::Error::other).flatten();
    let warned = opened.inspect_err(|error| {
        let folder = folder.display();
        warn!(%folder, %error, "vectors cannot be put on the disk; all are held in memory");
    });
    warned.ok()
}

/// Makes the directory if need be, and keeps every other process out of it.
pub(super) fn lock_directory(root: &Path) -> Result<File, Error> {
    let failed = |source| Error::DataDirectory { path: root.to_owned(), source };
    std::fs::create_dir_all(root).map_err(failed)?;
    let lock = File::create(root.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => refuse_moved(root).map(|()| lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::DataDirectoryInUse { path: root.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
