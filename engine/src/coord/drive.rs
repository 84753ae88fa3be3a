//! Commits decisions and answers the calls of other duties.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::info;

use crate::base::{
    ChannelName, Clock, CollectionId, DatabaseId, IndexId, Kind, Kinded, SegmentId, Timestamp,
};
use crate::coord::catalog::{Catalog, DEFAULT_DATABASE};
use crate::coord::change::Change;
use crate::coord::decide::{self, Decision};
use crate::coord::time::{Allocation, Allocator};
use crate::coord::{Error, record};
use crate::meta::{Metas, Txn};
use crate::model::ChannelManifest;
use crate::rpc::{
    self, AliasChange, Builder, CollectionChange, CollectionInfo, CollectionRef, Coord, DatabaseInfo,
    Flushed, IndexProgress, NewCollection, NewIndex, Querier, Refusal, Target, Writer,
};

/// Record whose version is this coordinator's right to commit.
const EPOCH: &str = "coord/epoch";
/// Record of the bound below which time and ids may be handed out.
const TIME: &str = "coord/time";

/// How much of everything there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Databases.
    pub databases: usize,
    /// Collections in all databases together.
    pub collections: usize,
    /// Partitions of one collection.
    pub partitions: usize,
    /// Sealed segments with fewer rows are scanned instead of indexed.
    pub min_rows_to_index: u64,
    /// Query nodes, and so replicas, that there can be.
    pub query_nodes: usize,
}

/// The duties that the coordinator drives.
#[derive(Clone)]
pub struct Peers {
    /// Removes logs of dropped channels.
    pub writer: Arc<dyn Writer>,
    /// Is told what to serve.
    pub querier: Arc<dyn Querier>,
    /// Builds indexes and removes objects.
    pub builder: Arc<dyn Builder>,
}

/// The catalog's one writer.
pub struct Coordinator {
    metas: Arc<dyn Metas>,
    clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) catalog: RwLock<Catalog>,
    times: Mutex<Allocator>,
    /// Held over a decision, its commit and its application; has the version of [`EPOCH`].
    writing: tokio::sync::Mutex<u64>,
    pub(super) peers: OnceLock<Peers>,
    /// Something changed that queriers should hear of.
    pub(super) changed: Notify,
    /// Something changed that may make work.
    pub(super) wake: Notify,
    versions: AtomicU64,
    /// Why an index of a segment cannot be built.
    pub(super) failures: Mutex<HashMap<(SegmentId, IndexId), String>>,
}

impl Coordinator {
    /// Reads the catalog and takes over its leadership: from now on every older coordinator fails to commit.
    ///
    /// # Errors
    /// If the catalog cannot be read or the leadership cannot be made durable.
    pub async fn start(
        metas: Arc<dyn Metas>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Arc<Self>, Error> {
        let commit_failed = |source| Error::Commit { source };
        let epoch = metas
            .commit(Txn::new().put(EPOCH, Bytes::from(clock.unix_ms().to_string())))
            .await
            .map_err(commit_failed)?;
        let read_failed = |source| Error::ReadCatalog { prefix: TIME, source };
        let bound = match metas.get(TIME).await.map_err(read_failed)? {
            Some(stored) => record::decode(TIME, &stored.value)?,
            None => Timestamp::ZERO,
        };
        let catalog = record::read(metas.as_ref()).await?;
        let collections = catalog.collections.len();
        let coordinator = Arc::new(Self {
            metas,
            clock,
            limits,
            catalog: RwLock::new(catalog),
            times: Mutex::new(Allocator::starting_at(bound)),
            writing: tokio::sync::Mutex::new(epoch),
            peers: OnceLock::new(),
            changed: Notify::new(),
            wake: Notify::new(),
            versions: AtomicU64::new(0),
            failures: Mutex::new(HashMap::new()),
        });
        coordinator.make_default_database().await?;
        info!(epoch, collections, "coordinator leads");
        Ok(coordinator)
    }

    /// Introduces the duties that the coordinator drives. Later calls change nothing.
    pub fn connect(&self, peers: Peers) {
        // A second introduction would be a defect of assembly; the first one stands.
        let _ = self.peers.set(peers);
        self.changed.notify_one();
        self.wake.notify_one();
    }

    async fn make_default_database(&self) -> Result<(), Error> {
        if self.catalog.read().database(DEFAULT_DATABASE).is_ok() {
            return Ok(());
        }
        let created = self.timestamps(1).await?;
        let id = DatabaseId(1);
        let name = DEFAULT_DATABASE.to_owned();
        let database = DatabaseInfo { id, name, created, properties: Vec::new() };
        let epoch = self.writing.lock().await;
        self.commit(*epoch, vec![Change::PutDatabase(database)]).await
    }

    async fn timestamps(&self, count: u32) -> Result<Timestamp, Error> {
        loop {
            let allocation = self.times.lock().allocate(count, self.clock.unix_ms());
            let bound = match allocation {
                Allocation::Given(first) => return Ok(first),
                Allocation::Extend(bound) => bound,
            };
            let epoch = self.writing.lock().await;
            let bytes = serde_json::to_vec(&serde_json::json!({ "version": 1, "value": bound }))
                .map_err(|source| Error::BadRecord { key: TIME.to_owned(), source })?;
            let txn = Txn::new().expect_version(EPOCH, *epoch).put(TIME, Bytes::from(bytes));
            self.metas.commit(txn).await.map_err(commit_error)?;
            self.times.lock().extend(bound);
        }
    }

    /// Makes changes durable and then takes them over. `epoch` proves that the caller holds the writing lock.
    async fn commit(&self, epoch: u64, changes: Vec<Change>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut txn = Txn::new().expect_version(EPOCH, epoch);
        for change in &changes {
            txn = record::write(txn, change)?;
        }
        self.metas.commit(txn).await.map_err(commit_error)?;
        let mut catalog = self.catalog.write();
        for change in changes {
            catalog.apply(change);
        }
        self.changed.notify_one();
        self.wake.notify_one();
        Ok(())
    }

    /// Decides on the catalog as it is, commits, and says what was decided on in an error.
    pub(super) async fn change(
        &self,
        call: &'static str,
        decide: impl FnOnce(&Catalog) -> Decision + Send,
    ) -> Result<(), rpc::Error> {
        let epoch = self.writing.lock().await;
        let changes = decide(&self.catalog.read())?;
        self.commit(*epoch, changes).await.map_err(|error| rpc::Error::failed(call, &error))
    }

    async fn fresh(&self, call: &'static str, count: u32) -> Result<Timestamp, rpc::Error> {
        self.timestamps(count).await.map_err(|error| rpc::Error::failed(call, &error))
    }

    /// What a querier should serve of a collection; `None` if it should serve nothing of it.
    pub(super) fn target(&self, id: CollectionId) -> Option<Target> {
        let catalog = self.catalog.read();
        let info = catalog.collections.get(&id).filter(|info| info.load.is_some())?;
        let manifests = catalog.manifests.get(&id)?.clone();
        // Taken under the lock: a later version never shows an older catalog.
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Target { info: Arc::clone(info), manifests, version })
    }
}

fn commit_error(source: crate::meta::Error) -> Error {
    // The only expectation of every commit is the epoch.
    if source.kind() == Kind::Conflict { Error::Deposed } else { Error::Commit { source } }
}

#[async_trait]
impl Coord for Coordinator {
    async fn allocate_timestamps(&self, count: u32) -> Result<Timestamp, rpc::Error> {
        self.fresh("allocate timestamps", count).await
    }

    async fn allocate_ids(&self, count: u32) -> Result<i64, rpc::Error> {
        let first = self.fresh("allocate ids", count).await?;
        Ok(first.as_id())
    }

    async fn create_database(&self, name: &str, properties: Vec<(String, String)>) -> Result<(), rpc::Error> {
        let fresh = self.fresh("create database", 1).await?;
        self.change("create database", |catalog| {
            decide::create_database(catalog, &self.limits, name, properties, fresh)
        })
        .await
    }

    async fn drop_database(&self, name: &str) -> Result<(), rpc::Error> {
        self.change("drop database", |catalog| decide::drop_database(catalog, name)).await
    }

    async fn alter_database(
        &self,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), rpc::Error> {
        self.change("alter database", |catalog| decide::alter_database(catalog, name, &set, &removed)).await
    }

    async fn databases(&self) -> Result<Vec<DatabaseInfo>, rpc::Error> {
        Ok(self.catalog.read().databases.values().map(|database| DatabaseInfo::clone(database)).collect())
    }

    async fn create_collection(&self, collection: NewCollection) -> Result<Arc<CollectionInfo>, rpc::Error> {
        let fresh = self.fresh("create collection", 1 + collection.partitions_by_key.max(1)).await?;
        self.change("create collection", |catalog| {
            decide::create_collection(catalog, &self.limits, &collection, fresh)
        })
        .await?;
        let NewCollection { database, name, .. } = collection;
        self.collection(CollectionRef::Name { database, name }).await
    }

    async fn drop_collection(&self, database: &str, name: &str) -> Result<(), rpc::Error> {
        let fresh = self.fresh("drop collection", 1).await?;
        self.change("drop collection", |catalog| decide::drop_collection(catalog, database, name, fresh))
            .await
    }

    async fn alter_collection(
        &self,
        collection: CollectionRef,
        change: CollectionChange,
    ) -> Result<(), rpc::Error> {
        let now = self.fresh("alter collection", 1).await?;
        self.change("alter collection", |catalog| {
            decide::alter_collection(catalog, &collection, &change, now)
        })
        .await
    }

    async fn collection(&self, collection: CollectionRef) -> Result<Arc<CollectionInfo>, rpc::Error> {
        Ok(Arc::clone(self.catalog.read().collection(&collection)?))
    }

    async fn collections(&self, database: &str) -> Result<Vec<Arc<CollectionInfo>>, rpc::Error> {
        let catalog = self.catalog.read();
        let database = catalog.database(database)?;
        Ok(catalog.collections_of(database.id).cloned().collect())
    }

    async fn create_partition(&self, collection: CollectionRef, name: &str) -> Result<(), rpc::Error> {
        let fresh = self.fresh("create partition", 1).await?;
        self.change("create partition", |catalog| {
            decide::create_partition(catalog, &self.limits, &collection, name, fresh)
        })
        .await
    }

    async fn drop_partition(&self, collection: CollectionRef, name: &str) -> Result<(), rpc::Error> {
        let fresh = self.fresh("drop partition", 1).await?;
        self.change("drop partition", |catalog| decide::drop_partition(catalog, &collection, name, fresh))
            .await
    }

    async fn alter_alias(&self, database: &str, alias: &str, change: AliasChange) -> Result<(), rpc::Error> {
        self.change("alter alias", |catalog| decide::alter_alias(catalog, database, alias, &change)).await
    }

    async fn create_index(&self, index: NewIndex) -> Result<(), rpc::Error> {
        let fresh = self.fresh("create index", 1).await?;
        self.change("create index", |catalog| decide::create_index(catalog, &index, fresh)).await
    }

    async fn drop_index(&self, collection: CollectionRef, name: &str) -> Result<(), rpc::Error> {
        let fresh = self.fresh("drop index", 1).await?;
        self.change("drop index", |catalog| decide::drop_index(catalog, &collection, name, fresh)).await
    }

    async fn alter_index(
        &self,
        collection: CollectionRef,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), rpc::Error> {
        self.change("alter index", |catalog| decide::alter_index(catalog, &collection, name, &set, &removed))
            .await
    }

    async fn indexes(&self, collection: CollectionRef) -> Result<Vec<IndexProgress>, rpc::Error> {
        let catalog = self.catalog.read();
        let info = catalog.collection(&collection)?;
        let manifests = catalog.manifests.get(&info.id).map_or(&[][..], Vec::as_slice);
        let failures = self.failures.lock();
        let failure = |id| failures.iter().find(|((_, index), _)| *index == id).map(|(_, why)| why.clone());
        let min_rows = self.limits.min_rows_to_index;
        let progress = |index| decide::progress(index, manifests, min_rows, failure(index.id));
        Ok(info.indexes.iter().map(progress).collect())
    }

    async fn load(
        &self,
        collection: CollectionRef,
        partitions: Option<Vec<String>>,
        replicas: u32,
        resource_groups: Vec<String>,
    ) -> Result<(), rpc::Error> {
        let nodes = self.limits.query_nodes;
        self.change("load", |catalog| {
            decide::load(catalog, &collection, partitions.as_deref(), replicas, &resource_groups, nodes)
        })
        .await
    }

    async fn release(
        &self,
        collection: CollectionRef,
        partitions: Option<Vec<String>>,
    ) -> Result<(), rpc::Error> {
        self.change("release", |catalog| decide::release(catalog, &collection, partitions.as_deref())).await
    }

    async fn load_progress(&self, collection: CollectionRef) -> Result<Option<u8>, rpc::Error> {
        let info = self.collection(collection).await?;
        if info.load.is_none() {
            return Ok(None);
        }
        let Some(peers) = self.peers.get() else { return Ok(Some(0)) };
        // The querier hears of a load a moment after the catalog does.
        Ok(Some(peers.querier.progress(info.id).await?.map_or(0, |progress| progress.percent)))
    }

    async fn manifests(&self, collection: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, rpc::Error> {
        let catalog = self.catalog.read();
        let manifests = catalog.manifests.get(&collection).cloned();
        let not_found = || Refusal::CollectionNotFound {
            database: DEFAULT_DATABASE.to_owned(),
            collection: collection.to_string(),
        };
        Ok(manifests.ok_or_else(not_found)?)
    }

    async fn commit_flush(&self, flushed: Flushed) -> Result<(), rpc::Error> {
        let epoch = self.writing.lock().await;
        let decision = decide::commit_flush(&self.catalog.read(), &flushed);
        let change = decision.map_err(|stale| match stale {
            decide::Stale::Dropped => rpc::Error::Refused(Refusal::CollectionNotFound {
                database: DEFAULT_DATABASE.to_owned(),
                collection: flushed.collection.to_string(),
            }),
            decide::Stale::Moved => rpc::Error::Failed {
                call: "commit flush",
                kind: Kind::Conflict,
                reason: format!("the checkpoint of {} has moved", flushed.channel),
            },
        })?;
        let committed = self.commit(*epoch, vec![change]).await;
        committed.map_err(|error| rpc::Error::failed("commit flush", &error))
    }

    async fn channel_term(&self, channel: &ChannelName) -> Result<u64, rpc::Error> {
        let failed = |error: Error| rpc::Error::failed("give a term", &error);
        let key = record::term_key(channel.as_str());
        let epoch = self.writing.lock().await;
        let txn = Txn::new().expect_version(EPOCH, *epoch).put(key, Bytes::new());
        // Versions only grow, so the version that the put got is a term that was never given before.
        self.metas.commit(txn).await.map_err(|source| failed(commit_error(source)))
    }
}
