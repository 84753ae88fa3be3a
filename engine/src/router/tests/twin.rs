//! A coordinator and nodes that do as a test tells them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::base::{
    ChannelName, Clock, CollectionId, DatabaseId, FieldId, Kind, NodeId, NodeTime, PartitionId, Position,
    SeededRng, SegmentId, TestClock, Timestamp,
};
use crate::model::access::Policy;
use crate::model::{Batch, ChannelManifest, Column, ColumnData, DataType, Field, Keys, Metric, Schema};
use crate::plan::{Groups, Operand, QueryKind, QueryPlan, QueryRows, SearchHits, SearchPlan};
use crate::router::{CatalogCache, Router, RouterParts, RouterSettings};
use crate::rpc::*;

pub const C: CollectionId = CollectionId(1);

/// The only channel of most tests.
pub fn channel() -> ChannelName {
    ChannelName::of(C, 0)
}

pub fn unavailable() -> Error {
    Error::Failed { call: "twin", kind: Kind::Unavailable, reason: "away".to_owned() }
}

fn stale() -> Error {
    Error::Stale { what: "it".to_owned() }
}

/// A node: owner of channels and holder of data.
#[derive(Default)]
pub struct NodeTwin {
    pub dead: AtomicBool,
    /// Never answers a write.
    pub hangs: AtomicBool,
    /// Owns every channel.
    pub owns: AtomicBool,
    /// Does the next write and loses the answer.
    pub loses: AtomicBool,
    /// Does not know of anything that it has done before.
    pub forgets: AtomicBool,
    /// Does not hold what it is asked for.
    pub stale: AtomicBool,
    /// Does not come to have what a read must see, which it says after ten seconds.
    pub behind: AtomicBool,
    pub slow_ms: AtomicU64,
    pub reads: AtomicUsize,
    pub keys: Mutex<Vec<i64>>,
    pub after: Mutex<Vec<ReadAfter>>,
    pub written: Mutex<Vec<Write>>,
    pub at: AtomicU64,
    pub refuses: Mutex<Option<Refusal>>,
    /// Is of a version that knows no aggregates.
    pub old: AtomicBool,
    /// The times that each channel of its part can be read at.
    pub span: Mutex<TimeSpan>,
    /// The shares that were read.
    pub shares: Mutex<Vec<Arc<Share>>>,
}

impl NodeTwin {
    fn owned(&self) -> Result<(), Error> {
        if self.dead.load(Ordering::Relaxed) {
            Err(unavailable())
        } else if self.owns.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(stale())
        }
    }

    /// Waits until what a read must see is here.
    async fn follow(&self, after: ReadAfter) -> Result<(), Error> {
        let is_here = after == ReadAfter::Nothing || !self.behind.load(Ordering::Relaxed);
        if !is_here && !self.dead.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        if is_here && !self.dead.load(Ordering::Relaxed) { Ok(()) } else { Err(unavailable()) }
    }
}

#[async_trait]
impl Writer for NodeTwin {
    async fn write(&self, write: Write) -> Result<Written, Error> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.owned()?;
        if write.request.is_some_and(|request| request.is_repeat) && self.forgets.load(Ordering::Relaxed) {
            let reason = "not known any more".to_owned();
            return Err(Error::Failed { call: "write", kind: Kind::Exhausted, reason });
        }
        self.written.lock().push(write);
        if self.loses.swap(false, Ordering::Relaxed) {
            return Err(unavailable());
        }
        Ok(Written { at: Timestamp(self.at.fetch_add(1, Ordering::Relaxed)) })
    }

    async fn flush(&self, _: &ChannelName) -> Result<(), Error> {
        self.owned()
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.owned()?;
        let shard = if *channel == ChannelName::of(C, 1) { 7 } else { 3 };
        Ok(Mark { end: Position(1), at: Timestamp(shard), now: Timestamp(shard) })
    }

    async fn tail(&self, _: &ChannelName, _: Position) -> Result<Tail, Error> {
        self.owned()?;
        Ok(Box::pin(futures::stream::empty()))
    }

    async fn forget(&self, _: &[ChannelName]) -> Result<(), Error> {
        if self.dead.load(Ordering::Relaxed) { Err(unavailable()) } else { Ok(()) }
    }
}

#[async_trait]
impl Querier for NodeTwin {
    async fn search(&self, _: SearchPlan, _: Arc<Share>, _: ReadAfter) -> Result<SearchHits, Error> {
        Err(stale())
    }

    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.after.lock().push(after);
        self.shares.lock().push(share);
        let slow = Duration::from_millis(self.slow_ms.load(Ordering::Relaxed));
        tokio::time::sleep(slow).await;
        self.follow(after).await?;
        if self.stale.load(Ordering::Relaxed) {
            return Err(stale());
        }
        if let Some(refusal) = self.refuses.lock().clone() {
            return Err(refusal.into());
        }
        let keys = self.keys.lock().clone();
        let count = keys.len();
        let column = Column { field: FieldId(100), valid: None, data: ColumnData::Int64(keys.clone()) };
        if let QueryKind::Aggregates(aggregates) = &plan.kind
            && !self.old.load(Ordering::Relaxed)
        {
            let mut groups = Groups::new(aggregates);
            let by = vec![Operand::Column(&column); aggregates.by.len()];
            let of = vec![Operand::Column(&column); aggregates.of.len()];
            groups.add(0..count, &by, &of).unwrap();
            return Ok(groups.into_rows());
        }
        Ok(QueryRows {
            keys: Keys::Int(keys),
            times: vec![Timestamp(1); count],
            rows: Batch { rows: count, columns: vec![column] },
            count: count as u64,
        })
    }

    async fn reach(
        &self,
        _: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error> {
        self.after.lock().push(after);
        self.follow(after).await?;
        Ok(vec![*self.span.lock(); share.channels.len()])
    }
}

/// The coordinator, and the way to the nodes.
pub struct World {
    pub nodes: Mutex<HashMap<String, Arc<NodeTwin>>>,
    /// Real holders of data, in place of a node's twin.
    pub queriers: Mutex<HashMap<String, Arc<dyn Querier>>>,
    pub routes: Mutex<Option<Arc<Routes>>>,
    pub info: Mutex<Option<Arc<CollectionInfo>>>,
    pub policy: Mutex<Arc<Policy>>,
    pub away: AtomicBool,
    /// How often something was asked.
    pub asked: AtomicUsize,
    pub ids: AtomicI64,
    /// The clock of the proxy's machine.
    pub clock: Arc<TestClock>,
    /// What the proxy has heard of the time.
    pub time: Arc<NodeTime>,
    /// How long an answer is on its way, after it was made.
    pub slow_ms: AtomicU64,
}

impl World {
    pub fn new() -> Arc<Self> {
        let clock = TestClock::starting_at(100_000);
        Arc::new(Self {
            time: NodeTime::new(Arc::clone(&clock) as _),
            clock,
            nodes: Mutex::default(),
            queriers: Mutex::default(),
            routes: Mutex::new(None),
            info: Mutex::new(Some(Arc::new(info("c", 1)))),
            policy: Mutex::default(),
            away: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            ids: AtomicI64::new(1),
            slow_ms: AtomicU64::new(0),
        })
    }

    /// The node of this number.
    pub fn node(&self, number: i64) -> Arc<NodeTwin> {
        Arc::clone(self.nodes.lock().entry(number.to_string()).or_default())
    }

    /// Publishes new routes: who owns the channels, and the nodes of each copy.
    pub fn publish(&self, owner: Option<i64>, replicas: &[&[i64]]) {
        self.publish_as(owner, replicas, true);
    }

    pub fn publish_as(&self, owner: Option<i64>, replicas: &[&[i64]], wanted: bool) {
        let place = |number: i64| Place { node: NodeId(number), address: number.to_string().into() };
        let share = |number: &i64| NodeShare { place: place(*number), share: Arc::default() };
        let replica = |(id, nodes): (i64, &&[i64])| ReplicaRoute {
            id,
            group: DEFAULT_GROUP.to_owned(),
            zone: format!("zone-{id}"),
            nodes: nodes.iter().map(share).collect(),
            partitions: None,
        };
        let mut routes = self.routes.lock();
        let version = routes.as_ref().map_or(1, |routes| routes.version + 1);
        *routes = Some(Arc::new(Routes {
            collection: C,
            version,
            owners: vec![Owner { channel: channel(), place: owner.map(place), term: version }],
            replicas: (1..).zip(replicas).map(replica).collect(),
            wanted,
            partitions: None,
            readable: Extent::Unsaid,
            listening: false,
            harm: None,
        }));
    }

    /// No copy is there, since something is damaged.
    pub fn publish_harm(&self, harm: &str) {
        self.publish(None, &[]);
        let mut routes = self.routes.lock();
        let harm = Some(harm.to_owned());
        *routes = routes.take().map(|routes| Arc::new(Routes { harm, ..(*routes).clone() }));
    }

    /// The copy of this number has only these partitions; those of `wanted` are to be loaded.
    pub fn publish_part(&self, replica: i64, there: &[i64], wanted: &[i64]) {
        let of = |ids: &[i64]| Some(ids.iter().copied().map(PartitionId).collect::<Vec<_>>());
        let mut routes = self.routes.lock();
        let mut changed = Routes::clone(routes.as_ref().unwrap());
        changed.version += 1;
        changed.partitions = of(wanted);
        for route in &mut changed.replicas {
            route.partitions = if route.id == replica { of(there) } else { of(wanted) };
        }
        *routes = Some(Arc::new(changed));
    }

    /// What a read sees that names no partition.
    pub fn publish_readable(&self, readable: &[i64]) {
        let mut routes = self.routes.lock();
        let mut changed = Routes::clone(routes.as_ref().unwrap());
        changed.version += 1;
        changed.readable = Extent::These(readable.iter().copied().map(PartitionId).collect());
        *routes = Some(Arc::new(changed));
    }

    /// Gives every node of every copy a part of the only channel.
    pub fn spread(&self) {
        let part = ChannelShare { channel: channel(), segments: Vec::new(), growing_from: None };
        let share = Arc::new(Share { channels: vec![part], ..Share::default() });
        let mut routes = self.routes.lock();
        *routes = routes.take().map(|routes| {
            let mut routes = (*routes).clone();
            routes.version += 1;
            let nodes = routes.replicas.iter_mut().flat_map(|replica| &mut replica.nodes);
            nodes.for_each(|node| node.share = Arc::clone(&share));
            Arc::new(routes)
        });
    }

    /// The catalog says that the collection is loaded as a whole.
    pub fn load(&self) {
        let load = Some(LoadSpec { partitions: None, replicas: Vec::new() });
        let mut known = self.info.lock();
        *known = known.take().map(|info| Arc::new(CollectionInfo { load, ..(*info).clone() }));
    }

    /// Publishes what a new leader says that does not know yet which copies there are.
    pub fn publish_listening(&self, partitions: Option<Vec<PartitionId>>) {
        self.publish(None, &[]);
        let mut routes = self.routes.lock();
        *routes =
            routes.take().map(|routes| Arc::new(Routes { listening: true, partitions, ..(*routes).clone() }));
    }

    /// A router that asks this coordinator directly.
    pub fn router(self: &Arc<Self>) -> Arc<Router> {
        self.router_with(RouterSettings::default(), None)
    }

    pub fn router_with(
        self: &Arc<Self>,
        settings: RouterSettings,
        cache: Option<Arc<CatalogCache>>,
    ) -> Arc<Router> {
        let coord: Arc<dyn Coord> = match &cache {
            Some(cache) => Arc::clone(cache) as Arc<dyn Coord>,
            None => Arc::clone(self) as Arc<dyn Coord>,
        };
        Router::new(RouterParts {
            coord,
            cache,
            dial: Arc::clone(self) as Arc<dyn Dial>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            time: Arc::clone(&self.time),
            rng: SeededRng::new(5),
            settings,
        })
    }

    async fn answer<T>(&self, answer: Option<T>) -> Result<T, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let is_away = self.away.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(self.slow_ms.load(Ordering::Relaxed))).await;
        if is_away {
            return Err(unavailable());
        }
        let missing = || Refusal::CollectionNotFound { database: "d".to_owned(), collection: "c".to_owned() };
        answer.ok_or_else(|| missing().into())
    }
}

impl Dial for World {
    fn writer(&self, address: &str) -> Arc<dyn Writer> {
        Arc::clone(self.nodes.lock().entry(address.to_owned()).or_default()) as Arc<dyn Writer>
    }

    fn querier(&self, address: &str) -> Arc<dyn Querier> {
        if let Some(real) = self.queriers.lock().get(address) {
            return Arc::clone(real);
        }
        Arc::clone(self.nodes.lock().entry(address.to_owned()).or_default()) as Arc<dyn Querier>
    }

    fn builder(&self, _: &str) -> Arc<dyn Builder> {
        panic!("nobody builds here")
    }
}

/// A collection with one integer key.
pub fn info(name: &str, updated: u64) -> CollectionInfo {
    let key = Field {
        id: FieldId(100),
        name: "id".to_owned(),
        description: String::new(),
        data_type: DataType::Int64,
        is_primary: true,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: Vec::new(),
    };
    CollectionInfo {
        id: C,
        name: name.to_owned(),
        database: DatabaseId(1),
        database_name: "d".to_owned(),
        schema: Arc::new(Schema {
            description: String::new(),
            fields: vec![key],
            enable_dynamic_field: false,
            functions: Vec::new(),
            structs: Vec::new(),
        }),
        channels: vec![channel()],
        partitions: Vec::new(),
        partitions_by_key: 0,
        aliases: vec!["a".to_owned()],
        properties: Vec::new(),
        consistency: 2,
        created: Timestamp(1),
        updated: Timestamp(updated),
        partitioned: Timestamp::ZERO,
        indexes: Vec::new(),
        load: None,
        recorded: true,
    }
}

pub fn query() -> QueryPlan {
    QueryPlan {
        collection: C,
        partitions: None,
        filter: None,
        limit: None,
        order: None,
        output: vec![FieldId(100)],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
        kind: QueryKind::Rows,
    }
}

pub fn search() -> SearchPlan {
    SearchPlan {
        collection: C,
        partitions: None,
        field: FieldId(101),
        metric: Metric::L2,
        queries: vec![vec![0.0].into()],
        count: 1,
        grouping: None,
        params: Default::default(),
        range: None,
        filter: None,
        output: Vec::new(),
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

fn rows(keys: &[i64]) -> Arc<Batch> {
    let column = Column { field: FieldId(100), valid: None, data: ColumnData::Int64(keys.to_vec()) };
    Arc::new(Batch { rows: keys.len(), columns: vec![column] })
}

fn to(operation: Operation) -> Write {
    Write::new(C, channel(), operation)
}

pub fn insert(key: i64) -> Write {
    to(Operation::Insert { partition: PartitionId(1), rows: rows(&[key]) })
}

pub fn delete(key: i64) -> Write {
    to(Operation::Delete { partition: None, keys: Arc::new(Keys::Int(vec![key])) })
}

pub fn upsert(replaced: i64, key: i64) -> Write {
    let replaced = Arc::new(Keys::Int(vec![replaced]));
    to(Operation::Upsert { partition: PartitionId(1), replaced, rows: rows(&[key]) })
}

#[async_trait]
impl Coord for World {
    async fn allocate_timestamps(&self, _: u32) -> Result<Timestamp, Error> {
        Err(stale())
    }

    async fn allocate_ids(&self, count: u32) -> Result<i64, Error> {
        self.answer(Some(self.ids.fetch_add(i64::from(count), Ordering::Relaxed))).await
    }

    async fn create_database(&self, _: &str, _: Vec<(String, String)>) -> Result<(), Error> {
        Ok(())
    }

    async fn drop_database(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn alter_database(&self, _: &str, _: Vec<(String, String)>, _: Vec<String>) -> Result<(), Error> {
        Ok(())
    }

    async fn databases(&self) -> Result<Vec<DatabaseInfo>, Error> {
        Ok(Vec::new())
    }

    async fn create_collection(&self, _: NewCollection) -> Result<Arc<CollectionInfo>, Error> {
        Err(stale())
    }

    async fn drop_collection(&self, _: &str, _: &str) -> Result<(), Error> {
        *self.info.lock() = None;
        Ok(())
    }

    async fn alter_collection(&self, _: CollectionRef, change: CollectionChange) -> Result<(), Error> {
        let mut known = self.info.lock();
        let updated = known.as_ref().map_or(1, |info| info.updated.0 + 1);
        let name = match change {
            CollectionChange::Rename { name, .. } => name,
            _ => "c".to_owned(),
        };
        *known = Some(Arc::new(info(&name, updated)));
        Ok(())
    }

    async fn collection(&self, wanted: CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
        let found = self.info.lock().clone().filter(|info| match &wanted {
            CollectionRef::Id(id) => info.id == *id,
            CollectionRef::Name { name, .. } => info.name == *name || info.aliases.contains(name),
        });
        self.answer(found).await
    }

    async fn collections(&self, _: &str) -> Result<Vec<Arc<CollectionInfo>>, Error> {
        Ok(Vec::new())
    }

    async fn create_partition(&self, _: CollectionRef, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn drop_partition(&self, _: CollectionRef, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn alter_alias(&self, _: &str, _: &str, _: AliasChange) -> Result<(), Error> {
        Ok(())
    }

    async fn create_index(&self, _: NewIndex) -> Result<(), Error> {
        Ok(())
    }

    async fn drop_index(&self, _: CollectionRef, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn alter_index(
        &self,
        _: CollectionRef,
        _: &str,
        _: Vec<(String, String)>,
        _: Vec<String>,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn indexes(&self, _: CollectionRef) -> Result<Vec<IndexProgress>, Error> {
        Ok(Vec::new())
    }

    async fn load(
        &self,
        _: CollectionRef,
        _: Option<Vec<String>>,
        _: u32,
        _: Vec<String>,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn release(&self, _: CollectionRef, _: Option<Vec<String>>) -> Result<(), Error> {
        Ok(())
    }

    async fn load_progress(&self, _: CollectionRef) -> Result<Option<u8>, Error> {
        Ok(None)
    }

    async fn manifests(&self, _: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, Error> {
        Ok(Vec::new())
    }

    async fn commit_flush(&self, _: Flushed) -> Result<(), Error> {
        Ok(())
    }

    async fn keep_flush(&self, _: &ChannelName, _: i64) -> Result<(), Error> {
        Ok(())
    }

    async fn followed(&self, channels: Vec<ChannelName>) -> Result<Vec<Followed>, Error> {
        Ok(vec![Followed::default(); channels.len()])
    }

    async fn channel_term(&self, _: &ChannelName, _: NodeId) -> Result<u64, Error> {
        Ok(1)
    }

    async fn allocate_node(&self) -> Result<NodeId, Error> {
        Err(stale())
    }

    async fn beat(&self, _: Report) -> Result<Orders, Error> {
        Err(stale())
    }

    async fn routes(&self, _: CollectionId) -> Result<Arc<Routes>, Error> {
        let routes = self.routes.lock().clone();
        self.answer(routes).await
    }

    async fn create_group(&self, _: &str, _: GroupConfig) -> Result<(), Error> {
        Ok(())
    }

    async fn drop_group(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn update_groups(&self, _: Vec<(String, GroupConfig)>) -> Result<(), Error> {
        Ok(())
    }

    async fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        Ok(Vec::new())
    }

    async fn transfer_nodes(&self, _: &str, _: &str, _: u32) -> Result<(), Error> {
        Ok(())
    }

    async fn transfer_replicas(&self, _: &str, _: &str, _: CollectionRef, _: u32) -> Result<(), Error> {
        Ok(())
    }

    async fn replicas(&self, _: CollectionId) -> Result<Vec<ReplicaInfo>, Error> {
        Ok(Vec::new())
    }

    async fn nodes(&self) -> Result<Vec<NodeStatus>, Error> {
        let status = |address: &String| NodeStatus {
            info: NodeInfo {
                id: NodeId(address.parse().unwrap()),
                address: address.clone(),
                duties: Duties { writes: true, ..Duties::default() },
                ..NodeInfo::default()
            },
            ..NodeStatus::default()
        };
        Ok(self.nodes.lock().keys().map(status).collect())
    }

    async fn balance(
        &self,
        _: CollectionId,
        _: NodeId,
        _: Vec<NodeId>,
        _: Vec<SegmentId>,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn drain(&self, _: NodeId, _: bool) -> Result<(), Error> {
        Ok(())
    }

    async fn steer(&self, _: SteerChange) -> Result<(), Error> {
        Ok(())
    }

    async fn steering(&self) -> Result<Steering, Error> {
        Ok(Steering::default())
    }

    async fn transfer_held(&self, _: HeldTransfer) -> Result<(), Error> {
        Ok(())
    }

    async fn compact(&self, _: CollectionId, _: bool) -> Result<i64, Error> {
        Ok(0)
    }

    async fn compaction(&self, _: i64) -> Result<CompactionState, Error> {
        Ok(CompactionState::default())
    }

    async fn import(&self, _: NewImport) -> Result<i64, Error> {
        Ok(0)
    }

    async fn imports(&self, _: Option<i64>) -> Result<Vec<ImportInfo>, Error> {
        Ok(Vec::new())
    }

    async fn end_import(&self, _: i64, _: bool) -> Result<(), Error> {
        Ok(())
    }

    async fn policy(&self) -> Result<Arc<Policy>, Error> {
        let policy = Arc::clone(&self.policy.lock());
        self.answer(Some(policy)).await
    }

    async fn change_policy(&self, _: PolicyChange) -> Result<(), Error> {
        Ok(())
    }

    async fn lead(&self) -> Result<LeadInfo, Error> {
        Ok(LeadInfo::default())
    }

    async fn resign(&self) -> Result<LeadInfo, Error> {
        Ok(LeadInfo::default())
    }

    async fn fsck(&self) -> Result<Fsck, Error> {
        Ok(Fsck::default())
    }

    async fn finalize(&self, format: u32) -> Result<(u32, u32), Error> {
        Ok((format, format))
    }
}
