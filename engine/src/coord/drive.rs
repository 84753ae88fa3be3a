//! Commits decisions and answers the calls of other duties.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{
    ChannelName, Clock, CollectionId, DatabaseId, FIRST_FORMAT, FUNCTIONS_FORMAT, IndexId, Kind, NodeId,
    SegmentId, Timestamp, newest_format,
};
use crate::blob::Blobs;
use crate::coord::catalog::{Catalog, DEFAULT_DATABASE};
use crate::coord::change::Change;
use crate::coord::compaction::Compactions;
use crate::coord::damage::Damage;
use crate::coord::decide::{self, LoadRequest, Sizes};
use crate::coord::imports::Imports;
use crate::coord::jobs::{Lost, Running};
use crate::coord::members::{self, Members};
use crate::coord::mirror::Mirror;
use crate::coord::page::CLUSTER;
use crate::coord::place::{PlaceSettings, Placer};
use crate::coord::shelf::Shelf;
use crate::coord::steer::{self, Steer};
use crate::coord::terms::term_of;
use crate::coord::time::{Allocation, Allocator, Said, Seen};
use crate::coord::{Error, Flaw, drains, format, lead, record};
use crate::meta::{Metas, Txn};
use crate::model::access::Policy;
use crate::model::{ChannelManifest, Field, Metric, index_param};
use crate::rpc::{
    self, AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Dial, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress, LeadInfo,
    NewCollection, NewImport, NewIndex, NodeState, NodeStatus, OrderNumber, Orders, PolicyChange, Refusal,
    ReplicaInfo, Report, Routes, SteerChange, Steering, Wants,
};

/// How long a beat waits for news.
const BEAT: Duration = Duration::from_secs(1);
/// Algorithms of sparse indexes that came with functions.
const NEWER_ALGORITHMS: [&str; 3] = ["SINDI", "BLOCK_MAX_MAXSCORE", "BLOCK_MAX_WAND"];
/// How long a change waits for proxies that do not answer; they are lost a little later.
pub(super) const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// Record of the bound below which time and ids may be handed out.
pub(super) const TIME: &str = "coord/time";

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
    /// Resource groups.
    pub groups: usize,
    /// When segments are compacted.
    pub compaction: CompactionLimits,
}

/// When segments are compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionLimits {
    /// Whether at all, also on demand.
    pub enabled: bool,
    /// Whether without being asked.
    pub automatic: bool,
    /// Whether collections with a clustering key are clustered at all, also on demand.
    pub clusters: bool,
    /// Whether that is done without being asked.
    pub clusters_by_itself: bool,
    /// How large segments are made.
    pub sizes: Sizes,
    /// How long replaced objects stay, at least.
    pub grace: Duration,
    /// How long what is gone can be read as it was in collections that do not say so. Unit: seconds.
    pub retention_s: u64,
}

impl Default for CompactionLimits {
    fn default() -> Self {
        Self {
            enabled: true,
            automatic: true,
            clusters: true,
            clusters_by_itself: true,
            sizes: Sizes::of(512 << 20),
            grace: Duration::from_secs(60),
            retention_s: 0,
        }
    }
}

/// What a coordinator stands on.
#[derive(Clone)]
pub struct CoordinatorParts {
    /// The catalog's store.
    pub metas: Arc<dyn Metas>,
    /// Where that of the catalog is kept that is too large for a record.
    pub blobs: Arc<dyn Blobs>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Reaches the nodes that do the work.
    pub dial: Arc<dyn Dial>,
    /// How much of everything there may be.
    pub limits: Limits,
    /// How nodes are given work.
    pub placing: PlaceSettings,
    /// Where calls to this process go.
    pub address: String,
    /// Whether no other process can ever lead.
    pub alone: bool,
    /// A rule that a test leaves out.
    pub flaw: Option<Flaw>,
}

/// The commits of one leader.
pub(super) struct Turn {
    /// The version of the record that the next one replaces.
    pub version: u64,
    /// How many were begun.
    pub count: u64,
}

/// The catalog's one writer, for as long as it leads.
pub struct Coordinator {
    pub(super) parts: CoordinatorParts,
    pub(super) epoch: u64,
    /// Its commits.
    pub(super) turn: Mutex<Turn>,
    pub(super) catalog: RwLock<Catalog>,
    times: Mutex<Allocator>,
    /// Held over a decision, its commit and its application.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// The catalog's objects.
    pub(super) shelf: Shelf,
    /// What of the catalog is in the bucket.
    pub(super) mirror: Mirror,
    pub(super) placer: Mutex<Placer>,
    /// The newest orders, so that waiting beats look again.
    placed: watch::Sender<OrderNumber>,
    /// Counts reports, so that who waits for proxies looks again.
    pub(super) reported: watch::Sender<u64>,
    /// Something changed that may make work.
    pub(super) wake: Notify,
    /// A channel is to move, and there is no term for its next owner.
    pub(super) lacking: Notify,
    /// Until when, on the monotonic clock, nobody else can lead.
    leads_until: Mutex<Duration>,
    /// Another coordinator has committed.
    pub(super) deposed: CancellationToken,
    /// A commit may have happened that is not in `catalog`.
    pub(super) unsure: AtomicBool,
    /// Tells that it may have.
    pub(super) doubted: Notify,
    /// Which nodes the record names: others get no lease.
    pub(super) members: Mutex<Members>,
    /// Somebody asked it to give up the lead.
    resigning: CancellationToken,
    /// The version of the records that it writes.
    pub(super) format: AtomicU32,
    /// The cluster's id.
    cluster: String,
    assignments: AtomicU64,
    /// Why an index of a segment cannot be built.
    pub(super) failures: Mutex<HashMap<(SegmentId, IndexId), String>>,
    /// Indexes that nodes found damaged, by the keys of their objects.
    pub(super) lost: Mutex<BTreeSet<Lost>>,
    /// Jobs under way.
    pub(super) running: Mutex<Running>,
    /// Compactions that were asked for, and segments that cannot be compacted.
    pub(super) compactions: Mutex<Compactions>,
    /// Imports that something is being done about.
    pub(super) imports: Mutex<Imports>,
    /// What operators steer by hand.
    pub(super) steer: Mutex<Steer>,
    /// Held while what nobody needs is removed from the store.
    pub(super) removing: tokio::sync::Mutex<()>,
}

impl Coordinator {
    /// Reads the catalog, as the leader of `epoch`.
    ///
    /// # Errors
    /// If the catalog cannot be read, but for manifests that are damaged or lost; [`Error::Deposed`] if another one leads by
    /// now.
    pub async fn start(parts: CoordinatorParts, epoch: u64) -> Result<Arc<Self>, Error> {
        let read_failed = |source| Error::ReadCatalog { prefix: TIME, source };
        let bound = match parts.metas.get(TIME).await.map_err(read_failed)? {
            Some(stored) => record::decode(TIME, &stored.value)?,
            None => Timestamp::ZERO,
        };
        // Alone, nobody outlives this process to whom a former one could have said a time.
        let said = if parts.alone { Timestamp::ZERO } else { lead::said(parts.metas.as_ref()).await? };
        let times = Allocator::starting_at(bound.max(said), Seen::on(parts.clock.as_ref()));
        let format = format::read(parts.metas.as_ref()).await?;
        let cluster = parts.metas.get(CLUSTER).await;
        let cluster = cluster.map_err(|source| Error::ReadCatalog { prefix: CLUSTER, source })?;
        let shelf = Shelf::new(Arc::clone(&parts.blobs));
        let catalog = record::read(parts.metas.as_ref(), &shelf).await?;
        let damage: Vec<&Damage> = catalog.unreadable.values().flatten().collect();
        for one in &damage {
            warn!(channel = %one.channel, error = one.why, "a manifest is damaged or lost: its collection alone is refused");
        }
        let spoilt = damage.iter().filter(|one| one.is_of_record()).map(|one| one.key.clone()).collect();
        let expected = members::read(parts.metas.as_ref()).await?;
        let drains = drains::read(parts.metas.as_ref()).await?;
        let steer = steer::read(parts.metas.as_ref()).await?;
        let mirror = Mirror::open(parts.metas.as_ref(), &shelf, bound, &spoilt).await?;
        let collections = catalog.collections.len();
        let now = parts.clock.monotonic();
        let mut placer =
            Placer::new(epoch, parts.placing.clone(), now, Timestamp::from_unix_ms(parts.clock.unix_ms()));
        placer.put_groups(catalog.groups.clone(), now);
        for id in catalog.unreadable.keys() {
            let what = catalog.damage_of(*id).map(ToString::to_string).unwrap_or_default();
            placer.set_aside(*id, what);
        }
        for (id, info) in &catalog.collections {
            let manifests = catalog.manifests.get(id).cloned().unwrap_or_default();
            placer.put_collection(Arc::clone(info), manifests, now);
        }
        for (channel, version) in record::terms(parts.metas.as_ref()).await? {
            placer.note_term(&channel, term_of(mirror.generation, version));
        }
        placer.expect(expected.clone(), now);
        placer.keep_drains(drains);
        placer.steer(!steer.balance_suspended, steer.suspended.clone());
        let coordinator = Arc::new(Self {
            parts,
            epoch,
            turn: Mutex::new(Turn { version: epoch, count: 0 }),
            catalog: RwLock::new(catalog),
            times: Mutex::new(times),
            writing: tokio::sync::Mutex::new(()),
            shelf,
            mirror,
            placer: Mutex::new(placer),
            placed: watch::Sender::new(OrderNumber::default()),
            reported: watch::Sender::new(0),
            wake: Notify::new(),
            lacking: Notify::new(),
            leads_until: Mutex::new(Duration::ZERO),
            deposed: CancellationToken::new(),
            members: Mutex::new(Members::of(expected.unwrap_or_default())),
            unsure: AtomicBool::new(false),
            doubted: Notify::new(),
            resigning: CancellationToken::new(),
            format: AtomicU32::new(format),
            cluster: cluster.map_or(String::new(), |id| String::from_utf8_lossy(&id.value).into_owned()),
            assignments: AtomicU64::new(epoch << 24),
            failures: Mutex::new(HashMap::new()),
            lost: Mutex::default(),
            running: Mutex::default(),
            compactions: Mutex::default(),
            imports: Mutex::default(),
            steer: Mutex::new(steer),
            removing: tokio::sync::Mutex::default(),
        });
        coordinator.make_default_database().await?;
        info!(epoch, collections, "coordinator leads");
        Ok(coordinator)
    }

    /// Cancelled once another coordinator is known to lead.
    pub fn deposed(&self) -> CancellationToken {
        self.deposed.clone()
    }

    /// Cancelled once somebody asked it to give up the lead.
    pub fn resigning(&self) -> CancellationToken {
        self.resigning.clone()
    }

    /// What a renewal of the lead that is begun now and holds for `ttl` has to make durable.
    pub fn say(&self, ttl: Duration) -> Said {
        self.times.lock().say(self.seen(), ttl)
    }

    /// The lead was renewed, and what was [to be said](Self::say) with it is durable.
    pub fn renewed(&self, said: Said) {
        // First the bound: a lease that reaches further than the last one goes with a time that is told by it.
        self.times.lock().renewed(said);
        self.leads_until(said.until);
    }

    /// Nobody else can lead before `until`, on the monotonic clock.
    pub fn leads_until(&self, until: Duration) {
        let mut known = self.leads_until.lock();
        *known = until.max(*known);
    }

    /// Changes where things are placed, and lets waiting beats look again.
    pub(super) fn place<T>(&self, change: impl FnOnce(&mut Placer, Duration) -> T) -> T {
        let now = self.parts.clock.monotonic();
        let (answer, newest, lacks) = {
            let mut placer = self.placer.lock();
            let answer = change(&mut placer, now);
            for (channel, node) in placer.wanted_terms() {
                // This number only tells assignments apart; the term that the log knows is given when a channel is opened.
                let number = self.assignments.fetch_add(1, Ordering::Relaxed) + 1;
                placer.grant(&channel, node, number, now);
            }
            (answer, placer.number(), placer.missing_terms().next().is_some())
        };
        if lacks {
            self.lacking.notify_one();
        }
        self.placed.send_if_modified(|known| newest > *known && std::mem::replace(known, newest) != newest);
        answer
    }

    /// Waits until every proxy has heard of `number`, or until it must be gone or lost.
    pub(super) async fn heard(&self, number: OrderNumber) {
        let mut reported = self.reported.subscribe();
        let all_heard = async {
            while !self.placer.lock().proxies_saw(number) {
                if reported.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = all_heard => {}
            () = self.parts.clock.sleep(HEARD_WITHIN) => {}
        }
    }

    async fn make_default_database(&self) -> Result<(), Error> {
        if self.catalog.read().database(DEFAULT_DATABASE).is_ok() {
            return Ok(());
        }
        let created = self.timestamps(1).await?;
        let id = DatabaseId(1);
        let name = DEFAULT_DATABASE.to_owned();
        let database = DatabaseInfo { id, name, created, properties: Vec::new() };
        let _one_at_a_time = self.writing.lock().await;
        self.commit(vec![Change::PutDatabase(database)]).await.map(drop)
    }

    pub(super) async fn timestamps(&self, count: u32) -> Result<Timestamp, Error> {
        loop {
            let allocation = self.times.lock().allocate(count, self.seen());
            let bound = match allocation {
                Allocation::Given(first) => return Ok(first),
                Allocation::Extend(bound) => bound,
            };
            let _one_at_a_time = self.writing.lock().await;
            self.commit_txn(Txn::new().put(TIME, record::encode(TIME, &bound)?)).await?;
            self.times.lock().extend(bound);
            self.mirror.note_bound(bound);
        }
    }

    /// A leader that was not heard for so long that another one may lead begins nothing: its callers are better off with
    /// that one, and are sure that nothing was done. It goes on once it has renewed the lead.
    pub(super) fn check_lead(&self) -> Result<(), Error> {
        let until = *self.leads_until.lock();
        let is_over = !until.is_zero() && until < self.parts.clock.monotonic();
        if is_over { Err(Error::NotRenewed) } else { Ok(()) }
    }

    pub(super) async fn fresh(&self, call: &'static str, count: u32) -> Result<Timestamp, rpc::Error> {
        self.timestamps(count).await.map_err(|error| error.answer(call))
    }
}

/// What a writer hears whose flush is not taken.
fn refused_flush(call: &'static str, channel: &ChannelName, stale: decide::Stale) -> rpc::Error {
    let conflict = |reason| rpc::Error::Failed { call, kind: Kind::Conflict, reason };
    match stale {
        decide::Stale::Dropped => rpc::Error::Refused(Refusal::CollectionNotFound {
            database: DEFAULT_DATABASE.to_owned(),
            collection: channel.collection().map_or_else(|| channel.to_string(), |id| id.to_string()),
        }),
        decide::Stale::Moved => conflict(format!("the checkpoint of {channel} has moved")),
        decide::Stale::Late => conflict(format!("the flush of {channel} was begun too long ago")),
        decide::Stale::Unreadable(reason) => rpc::Error::Failed { call, kind: Kind::Unavailable, reason },
    }
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
            decide::create_database(catalog, &self.parts.limits, name, properties.clone(), fresh)
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
        self.check_schema(&collection)?;
        let fresh = self.fresh("create collection", 1 + collection.partitions_by_key.max(1)).await?;
        self.change("create collection", |catalog| {
            decide::create_collection(catalog, &self.parts.limits, &collection, fresh)
        })
        .await?;
        let NewCollection { database, name, .. } = collection;
        self.collection(CollectionRef::Name { database, name }).await
    }

    async fn drop_collection(&self, database: &str, name: &str) -> Result<(), rpc::Error> {
        let fresh = self.fresh("drop collection", 1).await?;
        let of = |catalog: &Catalog| {
            let database = catalog.database(database).ok()?;
            catalog.named(database.id, name).map(|info| info.id)
        };
        let meant = of(&self.catalog.read());
        self.change("drop collection", |catalog| {
            // It may have been dropped by another call and made anew since; that one is not meant.
            let is_meant = of(catalog) == meant;
            if is_meant { decide::drop_collection(catalog, database, name, fresh) } else { Ok(Vec::new()) }
        })
        .await
    }

    async fn alter_collection(
        &self,
        collection: CollectionRef,
        change: CollectionChange,
    ) -> Result<(), rpc::Error> {
        if change == CollectionChange::Truncate {
            return self.truncate(collection).await;
        }
        if let CollectionChange::AddField { field } = &change {
            self.check_type(field)?;
        }
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
            decide::create_partition(catalog, &self.parts.limits, &collection, name, fresh)
        })
        .await
    }

    async fn drop_partition(&self, collection: CollectionRef, name: &str) -> Result<(), rpc::Error> {
        self.check_named("drop partition", &collection)?;
        let fresh = self.fresh("drop partition", 1).await?;
        let of = |catalog: &Catalog| {
            let info = catalog.collection(&collection).ok()?;
            Some((info.id, info.partition(name).map(|partition| partition.id)))
        };
        let meant = of(&self.catalog.read());
        self.change("drop partition", |catalog| {
            // As above.
            let is_meant = of(catalog) == meant;
            if is_meant { decide::drop_partition(catalog, &collection, name, fresh) } else { Ok(Vec::new()) }
        })
        .await
    }

    async fn alter_alias(&self, database: &str, alias: &str, change: AliasChange) -> Result<(), rpc::Error> {
        self.change("alter alias", |catalog| decide::alter_alias(catalog, database, alias, &change)).await
    }

    async fn create_index(&self, index: NewIndex) -> Result<(), rpc::Error> {
        self.check_index(&index)?;
        let fresh = self.fresh("create index", 1).await?;
        self.change("create index", |catalog| decide::create_index(catalog, &index, fresh)).await
    }

    async fn drop_index(&self, collection: CollectionRef, name: &str) -> Result<(), rpc::Error> {
        self.check_named("drop index", &collection)?;
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
        self.check_named("describe indexes", &collection)?;
        let catalog = self.catalog.read();
        let info = catalog.collection(&collection)?;
        let manifests = catalog.manifests.get(&info.id).map_or(&[][..], Vec::as_slice);
        let failures = self.failures.lock();
        let failure = |id| failures.iter().find(|((_, index), _)| *index == id).map(|(_, why)| why.clone());
        let min_rows = self.parts.limits.min_rows_to_index;
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
        self.listened().await;
        let fresh = self.fresh("load", replicas.max(1)).await?;
        let asked = LoadRequest { partitions: partitions.as_deref(), replicas, groups: &resource_groups };
        let nodes = |group: &str| self.placer.lock().query_nodes(group);
        self.change("load", |catalog| decide::load(catalog, &collection, &asked, nodes, fresh)).await
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
        self.check_readable("load", info.id)?;
        let loaded = self.placer.lock().loaded(info.id);
        loaded.map(Some).map_err(|hindrance| {
            let kind = if hindrance.is_full { Kind::Exhausted } else { Kind::Unavailable };
            rpc::Error::Failed { call: "load", kind, reason: hindrance.reason }
        })
    }

    async fn manifests(&self, collection: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, rpc::Error> {
        self.check_readable("manifests", collection)?;
        let catalog = self.catalog.read();
        let manifests = catalog.manifests.get(&collection).cloned();
        let not_found = || Refusal::CollectionNotFound {
            database: DEFAULT_DATABASE.to_owned(),
            collection: collection.to_string(),
        };
        Ok(manifests.ok_or_else(not_found)?)
    }

    async fn commit_flush(&self, flushed: Flushed) -> Result<(), rpc::Error> {
        let settled = self.settle(|catalog| decide::commit_flush(catalog, &flushed, self.timestamps_now()));
        let settled = settled.await.map_err(|error| error.answer("commit flush"))?;
        settled.map_err(|stale| refused_flush("commit flush", &flushed.channel, stale))?;
        // The log may go once this is answered: then all can be made anew from the bucket without it. A leader that is
        // replaced meanwhile has committed all the same: told that it did nothing, the caller would ask the successor, hear
        // that somebody else moved the checkpoint, and remove what the catalog names.
        self.mirrored_flush().await.map_err(|error| rpc::Error::Failed {
            call: "mirror a flush that is committed",
            kind: Kind::Unavailable,
            reason: error.to_string(),
        })
    }

    async fn keep_flush(&self, channel: &ChannelName, since: i64) -> Result<(), rpc::Error> {
        let settled = self.settle(|catalog| {
            let change = decide::keep_flush(catalog, channel, since, self.timestamps_now())?;
            Ok(change.into_iter().collect())
        });
        let settled = settled.await.map_err(|error| error.answer("keep a flush"))?;
        settled.map(drop).map_err(|stale| refused_flush("keep a flush", channel, stale))
    }

    async fn followed(&self, channels: Vec<ChannelName>) -> Result<Vec<Followed>, rpc::Error> {
        let placer = self.placer.lock();
        Ok(channels.iter().map(|channel| placer.followers_of(channel)).collect())
    }

    async fn channel_term(&self, channel: &ChannelName, node: NodeId) -> Result<u64, rpc::Error> {
        self.give_term(channel, node).await
    }

    async fn open_channel(
        &self,
        channel: &ChannelName,
        node: NodeId,
    ) -> Result<(u64, Timestamp), rpc::Error> {
        let term = self.give_term(channel, node).await?;
        // Only now, since the former owner is none any more.
        let now = self.times.lock().shown(self.seen());
        Ok((term, now))
    }

    async fn allocate_node(&self) -> Result<NodeId, rpc::Error> {
        let _one_at_a_time = self.writing.lock().await;
        self.number_node().await.map_err(|error| error.answer("number a node"))
    }

    async fn beat(&self, report: Report) -> Result<Orders, rpc::Error> {
        let (reads, writes) =
            (report.node.newest_format.max(FIRST_FORMAT), self.format.load(Ordering::Acquire));
        if reads < writes {
            // It read the version just before it was raised.
            let text = format!("the cluster writes format {writes}, and this node reads up to {reads}");
            return Err(Refusal::Rule { text }.into());
        }
        let (node, seen, leaving) = (report.node.id, report.seen, report.state == NodeState::Leaving);
        let mut placed = self.placed.subscribe();
        self.note_lost(&report);
        self.place(|placer, now| placer.report(report, now));
        if leaving {
            self.members.lock().left(node);
        }
        self.reported.send_modify(|count| *count += 1);
        let wait = self.parts.clock.sleep(BEAT);
        tokio::pin!(wait);
        let mut patient = !leaving;
        loop {
            // Looked at before the time is: that is told by this renewal or a later one.
            let lease = self.lease(node);
            let now = self.told();
            // Only now: whoever has heard of a format finds that everybody reads it.
            let format = self.format.load(Ordering::Acquire);
            if let Some(orders) = self.placer.lock().orders(node, seen, now, lease) {
                return Ok(Orders { format, ..orders });
            }
            if !patient {
                let group = self.placer.lock().group_of(node);
                // Who goes by an earlier leader's orders may open what this one, that does not know of it, gives to another.
                let lease = if seen.epoch == self.epoch { lease } else { Duration::ZERO };
                return Ok(Orders { number: seen, now, lease, group, format, ..Orders::default() });
            }
            tokio::select! {
                () = &mut wait => patient = false,
                changed = placed.changed() => patient = changed.is_ok(),
            }
        }
    }

    async fn routes(&self, collection: CollectionId) -> Result<Arc<Routes>, rpc::Error> {
        let not_found = || Refusal::CollectionNotFound {
            database: DEFAULT_DATABASE.to_owned(),
            collection: collection.to_string(),
        };
        Ok(self.placer.lock().routes(collection).ok_or_else(not_found)?)
    }

    async fn create_group(&self, name: &str, config: GroupConfig) -> Result<(), rpc::Error> {
        let limit = self.parts.limits.groups;
        self.change("create resource group", |catalog| {
            decide::create_group(catalog, limit, name, config.clone())
        })
        .await
    }

    async fn drop_group(&self, name: &str) -> Result<(), rpc::Error> {
        self.change("drop resource group", |catalog| decide::drop_group(catalog, name)).await
    }

    async fn update_groups(&self, configs: Vec<(String, GroupConfig)>) -> Result<(), rpc::Error> {
        self.change("update resource groups", |catalog| decide::update_groups(catalog, &configs)).await
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, rpc::Error> {
        Ok(self.placer.lock().groups())
    }

    async fn transfer_nodes(&self, from: &str, to: &str, count: u32) -> Result<(), rpc::Error> {
        self.listened().await;
        let nodes = self.placer.lock().query_nodes(from);
        self.change("transfer nodes", |catalog| decide::transfer_nodes(catalog, from, to, count, nodes)).await
    }

    async fn transfer_replicas(
        &self,
        from: &str,
        to: &str,
        collection: CollectionRef,
        count: u32,
    ) -> Result<(), rpc::Error> {
        self.change("transfer replicas", |catalog| {
            decide::transfer_replicas(catalog, from, to, &collection, count)
        })
        .await
    }

    async fn replicas(&self, collection: CollectionId) -> Result<Vec<ReplicaInfo>, rpc::Error> {
        Ok(self.placer.lock().replicas(collection))
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, rpc::Error> {
        Ok(self.placer.lock().nodes())
    }

    async fn balance(
        &self,
        collection: CollectionId,
        from: NodeId,
        to: Vec<NodeId>,
        segments: Vec<SegmentId>,
    ) -> Result<(), rpc::Error> {
        let moved = self.place(|placer, now| placer.balance(collection, from, &to, &segments, now));
        Ok(moved.map_err(|text| Refusal::BadParameter { text })?)
    }

    async fn drain(&self, node: NodeId, on: bool) -> Result<(), rpc::Error> {
        self.drain_node(node, on).await
    }

    async fn steer(&self, change: SteerChange) -> Result<(), rpc::Error> {
        self.steer_by_hand(change).await
    }

    async fn steering(&self) -> Result<Steering, rpc::Error> {
        Ok(self.steered())
    }

    async fn transfer_held(&self, transfer: HeldTransfer) -> Result<(), rpc::Error> {
        self.transfer(transfer).await
    }

    async fn compact(&self, collection: CollectionId, major: bool) -> Result<i64, rpc::Error> {
        let id = self.allocate_ids(1).await?;
        self.ask_compaction(id, collection, major).await?;
        Ok(id)
    }

    async fn compaction(&self, id: i64) -> Result<CompactionState, rpc::Error> {
        Ok(self.compaction_state(id))
    }

    async fn import(&self, import: NewImport) -> Result<i64, rpc::Error> {
        self.check_format(|| "imports need".to_owned())?;
        self.check_readable("import", import.collection)?;
        self.begin_import(import).await
    }

    async fn imports(&self, id: Option<i64>) -> Result<Vec<ImportInfo>, rpc::Error> {
        Ok(self.known_imports(id))
    }

    async fn end_import(&self, id: i64, commits: bool) -> Result<(), rpc::Error> {
        self.end_known_import(id, commits).await
    }

    async fn policy(&self) -> Result<Arc<Policy>, rpc::Error> {
        Ok(Arc::clone(&self.catalog.read().policy))
    }

    async fn change_policy(&self, change: PolicyChange) -> Result<(), rpc::Error> {
        self.change("change who may do what", |catalog| decide::change_policy(catalog, &change)).await
    }

    async fn lead(&self) -> Result<LeadInfo, rpc::Error> {
        let (settled, since, wants) = {
            let placer = self.placer.lock();
            (placer.is_settled(), placer.started_at(), placer.wants())
        };
        Ok(LeadInfo {
            address: self.parts.address.clone(),
            epoch: self.epoch,
            settled,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format: self.format.load(Ordering::Acquire),
            newest_format: newest_format(),
            cluster: self.cluster.clone(),
            jobs: Some(self.job_count()),
            since,
            wants: Some(Wants { damaged: self.damages(), ..wants }),
        })
    }

    async fn resign(&self) -> Result<LeadInfo, rpc::Error> {
        if self.parts.alone {
            return Err(Refusal::NoOtherCandidate.into());
        }
        let led = self.lead().await?;
        self.resigning.cancel();
        Ok(led)
    }

    async fn fsck(&self) -> Result<Fsck, rpc::Error> {
        self.compare_stored().await
    }

    async fn finalize(&self, format: u32) -> Result<(u32, u32), rpc::Error> {
        self.listened().await;
        let (now, to) = {
            // Whoever joins meanwhile has read the record before, or refuses to start after it.
            let _one_at_a_time = self.writable().await;
            let now = self.format.load(Ordering::Acquire);
            let to = format::decide(format, now, newest_format(), &self.placer.lock().nodes())?;
            if to != now {
                let txn = format::put(Txn::new(), to).map_err(|error| error.answer("finalize"))?;
                self.commit_txn(txn).await.map_err(|error| error.answer("finalize"))?;
                self.format.store(to, Ordering::Release);
                info!(from = now, to, "the cluster writes a newer format");
            }
            (now, to)
        };
        // Whoever makes the catalog anew must not begin with an older one.
        self.mirrored_flush().await?;
        Ok((now, to))
    }
}

impl Coordinator {
    /// Refuses functions, arrays of structs, and types of fields that came with them, while a version that does not know them may read the
    /// catalog.
    fn check_schema(&self, collection: &NewCollection) -> Result<(), Refusal> {
        if !collection.schema.functions.is_empty() {
            self.check_format(|| "functions need".to_owned())?;
        }
        if !collection.schema.structs.is_empty() {
            self.check_format(|| "arrays of structs need".to_owned())?;
        }
        collection.schema.fields.iter().try_for_each(|field| self.check_type(field))
    }

    /// Refuses a field of a type that came with functions, as [`Self::check_schema`] does.
    fn check_type(&self, field: &Field) -> Result<(), Refusal> {
        if !field.data_type.is_newer() {
            return Ok(());
        }
        self.check_format(|| {
            format!("the data type {} of field {} needs", field.data_type.name(), field.name)
        })
    }

    /// Refuses metrics and algorithms that came with functions, as [`Self::check_schema`] does.
    fn check_index(&self, index: &NewIndex) -> Result<(), Refusal> {
        let named = |key| index_param(&index.params, key);
        if let Some(metric @ (Metric::Substructure | Metric::Superstructure | Metric::MhJaccard)) =
            named("metric_type").and_then(|name| Metric::from_name(&name))
        {
            self.check_format(|| format!("the metric type {} needs", metric.name()))?;
        }
        match named("inverted_index_algo") {
            Some(name) if NEWER_ALGORITHMS.contains(&name.as_str()) => {
                self.check_format(|| format!("the algorithm {name} of sparse indexes needs"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what came with functions while the cluster writes an earlier format. `what` needs it, with its verb.
    fn check_format(&self, what: impl FnOnce() -> String) -> Result<(), Refusal> {
        let format = self.format.load(Ordering::Acquire);
        if format >= FUNCTIONS_FORMAT {
            return Ok(());
        }
        let text = format!(
            "{} format {FUNCTIONS_FORMAT} and the cluster writes {format}: run redkite ctl finalize once no process of an \
             earlier version is left",
            what()
        );
        Err(Refusal::Rule { text })
    }

    /// The time now, for decisions of its own. Not told to anybody, so nothing has to be made durable for it.
    pub(super) fn timestamps_now(&self) -> Timestamp {
        self.times.lock().now(self.seen())
    }

    /// When a compaction is planned now.
    pub(super) fn moment(&self) -> decide::Moment {
        decide::Moment { now: self.told(), retention_s: self.parts.limits.compaction.retention_s }
    }

    /// The time now, as nodes are told it.
    pub(super) fn told(&self) -> Timestamp {
        self.times.lock().tell(self.seen())
    }

    fn seen(&self) -> Seen {
        Seen::on(self.parts.clock.as_ref())
    }

    /// For how long from now a node may be sure of its channels; zero for one that a new leader would not expect.
    pub(super) fn lease(&self, node: NodeId) -> Duration {
        if !self.members.lock().has(node) {
            return Duration::ZERO;
        }
        self.leads_for().min(self.parts.placing.lost_after)
    }

    /// For how long from now nobody else can lead.
    pub(super) fn leads_for(&self) -> Duration {
        self.leads_until.lock().saturating_sub(self.parts.clock.monotonic())
    }
}
