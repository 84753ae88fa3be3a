//! A coordinator of one collection with one channel, for tests of owners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{ChannelWriter, FlushLimits, Water, WriteLimits, WriterParts};
use crate::base::{
    ChannelName, Clock, CollectionId, Kind, NodeId, NodeTime, PartitionId, Passing, Position,
    REQUESTS_FORMAT, SeededRng, SegmentId, TaskSet, Timestamp,
};
use crate::blob::{Blobs, MemoryBlobs};
use crate::log::{Logs, MemoryLogs, ObjectLogSettings, ObjectLogs};
use crate::model::access::Policy;
use crate::model::{ChannelManifest, DataType, Partition};
use crate::obs::Metrics;
use crate::rpc::fixture::collection;
use crate::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Error, Flushed, Followed, Follower as _, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo,
    IndexProgress, LeadInfo, NewCollection, NewImport, NewIndex, NodeStatus, Operation, OrderNumber, Orders,
    OwnOrder, PolicyChange, ReplicaInfo, Report, Routes, SteerChange, Steering, Write,
};
use crate::segment::fixture::{Row, batch, schema};

pub(super) const COLLECTION: CollectionId = CollectionId(7);
pub(super) const PARTITION: PartitionId = PartitionId(3);

/// The channel of [`COLLECTION`].
pub(super) fn channel() -> ChannelName {
    ChannelName::of(COLLECTION, 0)
}

pub(super) fn insert(keys: &[i64]) -> Write {
    let rows: Vec<Row> = keys.iter().map(|key| Row::of(*key, *key)).collect();
    let rows = Arc::new(batch(&schema(DataType::Int64), &rows));
    Write::new(COLLECTION, channel(), Operation::Insert { partition: PARTITION, rows })
}

/// What the coordinator knows.
pub(super) struct Known {
    pub(super) manifest: ChannelManifest,
    pub(super) flushed: Vec<Flushed>,
    pub(super) kept: Vec<i64>,
    pub(super) followed: Followed,
    /// Why nothing can be committed.
    pub(super) refusal: Option<Kind>,
    /// How long a term is waited for.
    pub(super) term_takes: Duration,
    pub(super) owner: Option<NodeId>,
    /// Whether it is of a version that does not know the call by which channels are opened.
    pub(super) is_older: bool,
    /// The channel whose owner gets no answer.
    pub(super) unanswered: Option<ChannelName>,
    term: u64,
    pub(super) last: Timestamp,
}

/// The coordinator.
pub(super) struct Leader {
    pub(super) info: Mutex<Arc<CollectionInfo>>,
    clock: Arc<dyn Clock>,
    pub(super) known: Mutex<Known>,
}

impl Leader {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let info = CollectionInfo {
            channels: vec![channel()],
            partitions: vec![Partition { id: PARTITION, name: "_default".to_owned(), created_unix_ms: 0 }],
            ..collection(COLLECTION, schema(DataType::Int64))
        };
        let known = Known {
            manifest: ChannelManifest::default(),
            flushed: Vec::new(),
            kept: Vec::new(),
            followed: Followed::default(),
            refusal: None,
            term_takes: Duration::ZERO,
            owner: None,
            is_older: false,
            unanswered: None,
            term: 0,
            last: Timestamp::ZERO,
        };
        Arc::new(Self { info: Mutex::new(Arc::new(info)), clock, known: Mutex::new(known) })
    }

    /// The time now: later than every one before.
    pub(super) fn now(&self) -> Timestamp {
        let mut known = self.known.lock();
        known.last = Timestamp::from_unix_ms(self.clock.unix_ms()).max(known.last.next());
        known.last
    }
}

/// Storage, a coordinator and nodes that may own the channel.
pub(super) struct World {
    pub(super) leader: Arc<Leader>,
    /// The logs as somebody without a node sees them.
    pub(super) logs: Arc<dyn Logs>,
    /// Where the chunks of logs are and what works on them; `None` for logs in memory, which all nodes share.
    chunks: Option<(Arc<MemoryBlobs>, TaskSet)>,
    pub(super) blobs: Arc<MemoryBlobs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) flushes: FlushLimits,
    pub(super) writes: WriteLimits,
    pub(super) memory: Passing,
    /// The version of the formats that the cluster writes.
    pub(super) format: u32,
    orders: Mutex<BTreeMap<i64, u64>>,
}

impl World {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let flushes = FlushLimits {
            bytes: u64::MAX,
            age: Duration::MAX,
            step_bytes: u64::MAX,
            high_bytes: u64::MAX,
            low_bytes: u64::MAX,
        };
        Self {
            leader: Leader::new(Arc::clone(&clock)),
            logs: MemoryLogs::new(),
            chunks: None,
            blobs: MemoryBlobs::new(),
            clock,
            flushes,
            writes: WriteLimits { unsealed_bytes: Water::NONE, memory: Water::NONE },
            memory: Passing::default(),
            format: REQUESTS_FORMAT,
            orders: Mutex::default(),
        }
    }

    /// The same with logs of objects, to which each node has a way of its own.
    pub(super) fn on_objects(clock: Arc<dyn Clock>) -> Self {
        let (chunks, tasks) = (MemoryBlobs::new(), TaskSet::new());
        let logs = object_logs(&chunks, &tasks, &clock, -1);
        Self { logs, chunks: Some((chunks, tasks)), ..Self::new(clock) }
    }

    /// A node whose clock is `clock` and that owns nothing yet.
    pub(super) fn node(&self, node: i64, clock: Arc<dyn Clock>) -> Arc<ChannelWriter> {
        self.node_on(node, clock, Arc::clone(&self.blobs) as _)
    }

    /// The same over another store.
    pub(super) fn node_on(
        &self,
        node: i64,
        clock: Arc<dyn Clock>,
        blobs: Arc<dyn Blobs>,
    ) -> Arc<ChannelWriter> {
        let time = NodeTime::new(Arc::clone(&clock));
        time.hear(self.leader.now());
        let logs = match &self.chunks {
            Some((chunks, tasks)) => object_logs(chunks, tasks, &clock, node),
            None => Arc::clone(&self.logs),
        };
        ChannelWriter::new(WriterParts {
            coord: Arc::clone(&self.leader) as _,
            logs,
            blobs,
            clock,
            time,
            tasks: TaskSet::new(),
            limits: self.flushes,
            writes: self.writes,
            memory: self.memory.clone(),
            node: NodeId(node),
        })
    }

    /// Says to a node that it owns the channel, with a lease of `lease`, or that it owns nothing.
    pub(super) fn order(&self, node: i64, writer: &ChannelWriter, owns: bool, lease: Duration) {
        let number = {
            let mut orders = self.orders.lock();
            let number = orders.entry(node).or_default();
            *number += 1;
            *number
        };
        let own = OwnOrder { channel: channel(), collection: COLLECTION, term: 1 };
        let orders = Orders {
            number: OrderNumber { epoch: 1, number },
            own: Some(if owns { vec![own] } else { Vec::new() }),
            lease,
            format: self.format,
            ..Orders::default()
        };
        if owns {
            self.leader.known.lock().owner = Some(NodeId(node));
        }
        writer.parts.time.hear(self.leader.now());
        writer.obey(&orders, writer.parts.clock.monotonic());
    }
}

fn object_logs(
    chunks: &Arc<MemoryBlobs>,
    tasks: &TaskSet,
    clock: &Arc<dyn Clock>,
    node: i64,
) -> Arc<dyn Logs> {
    let (blobs, metrics) = (Arc::clone(chunks) as _, Metrics::new(NodeId(node)).log.clone());
    let rng = SeededRng::new(node.unsigned_abs());
    ObjectLogs::new(blobs, tasks.clone(), Arc::clone(clock), rng, metrics, ObjectLogSettings::default())
}

/// What an owner asks for, as written, and the other calls, which fail the test.
macro_rules! coordinator {
    ({ $($asked:tt)* } $(fn $name:ident($($type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Coord for Leader {
            $($asked)*

            $(async fn $name(&self, $(_: $type),*) -> Result<$answer, Error> {
                unreachable!("an owner does not ask for this")
            })+
        }
    };
}

coordinator! {
    {
        async fn allocate_timestamps(&self, _: u32) -> Result<Timestamp, Error> {
            Ok(self.now())
        }

        async fn allocate_ids(&self, _: u32) -> Result<i64, Error> {
            Ok(self.now().as_id())
        }

        async fn collection(&self, _: CollectionRef) -> Result<Arc<CollectionInfo>, Error> {
            Ok(Arc::clone(&self.info.lock()))
        }

        async fn manifests(&self, _: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, Error> {
            Ok(vec![Arc::new(self.known.lock().manifest.clone())])
        }

        async fn commit_flush(&self, flushed: Flushed) -> Result<(), Error> {
            let mut known = self.known.lock();
            let refused = |kind| Error::Failed { call: "commit flush", kind, reason: "for the test".to_owned() };
            if let Some(kind) = known.refusal {
                return Err(refused(kind));
            }
            if known.manifest.checkpoint != flushed.from {
                return Err(refused(Kind::Conflict));
            }
            known.manifest.checkpoint = flushed.to;
            known.manifest.named_through = known.manifest.named_through.max(flushed.named_through);
            known.manifest.segments.extend(flushed.segments.clone());
            known.manifest.deletes.extend(flushed.deletes.clone());
            known.flushed.push(flushed);
            Ok(())
        }

        async fn keep_flush(&self, _: &ChannelName, since: i64) -> Result<(), Error> {
            self.known.lock().kept.push(since);
            Ok(())
        }

        async fn followed(&self, channels: Vec<ChannelName>) -> Result<Vec<Followed>, Error> {
            Ok(vec![self.known.lock().followed; channels.len()])
        }

        async fn open_channel(&self, channel: &ChannelName, node: NodeId) -> Result<(u64, Timestamp), Error> {
            if self.known.lock().is_older {
                let reason = "a message is damaged".to_owned();
                return Err(Error::Failed { call: "coord", kind: Kind::Internal, reason });
            }
            Ok((self.channel_term(channel, node).await?, self.now()))
        }

        async fn channel_term(&self, channel: &ChannelName, node: NodeId) -> Result<u64, Error> {
            let takes = self.known.lock().term_takes;
            self.clock.sleep(takes).await;
            if self.known.lock().unanswered.as_ref() == Some(channel) {
                std::future::pending::<()>().await;
            }
            let mut known = self.known.lock();
            if known.owner != Some(node) {
                return Err(Error::Failed {
                    call: "give a term",
                    kind: Kind::Conflict,
                    reason: format!("{node} is not to own {channel}"),
                });
            }
            known.term += 1;
            Ok(known.term)
        }
    }

    fn create_database(&str, Vec<(String, String)>) -> ();
    fn drop_database(&str) -> ();
    fn alter_database(&str, Vec<(String, String)>, Vec<String>) -> ();
    fn databases() -> Vec<DatabaseInfo>;
    fn create_collection(NewCollection) -> Arc<CollectionInfo>;
    fn drop_collection(&str, &str) -> ();
    fn alter_collection(CollectionRef, CollectionChange) -> ();
    fn collections(&str) -> Vec<Arc<CollectionInfo>>;
    fn create_partition(CollectionRef, &str) -> ();
    fn drop_partition(CollectionRef, &str) -> ();
    fn alter_alias(&str, &str, AliasChange) -> ();
    fn create_index(NewIndex) -> ();
    fn drop_index(CollectionRef, &str) -> ();
    fn alter_index(CollectionRef, &str, Vec<(String, String)>, Vec<String>) -> ();
    fn indexes(CollectionRef) -> Vec<IndexProgress>;
    fn load(CollectionRef, Option<Vec<String>>, u32, Vec<String>) -> ();
    fn release(CollectionRef, Option<Vec<String>>) -> ();
    fn load_progress(CollectionRef) -> Option<u8>;
    fn allocate_node() -> NodeId;
    fn beat(Report) -> Orders;
    fn routes(CollectionId) -> Arc<Routes>;
    fn create_group(&str, GroupConfig) -> ();
    fn drop_group(&str) -> ();
    fn update_groups(Vec<(String, GroupConfig)>) -> ();
    fn groups() -> Vec<GroupInfo>;
    fn transfer_nodes(&str, &str, u32) -> ();
    fn transfer_replicas(&str, &str, CollectionRef, u32) -> ();
    fn replicas(CollectionId) -> Vec<ReplicaInfo>;
    fn nodes() -> Vec<NodeStatus>;
    fn balance(CollectionId, NodeId, Vec<NodeId>, Vec<SegmentId>) -> ();
    fn drain(NodeId, bool) -> ();
    fn steer(SteerChange) -> ();
    fn steering() -> Steering;
    fn transfer_held(HeldTransfer) -> ();
    fn compact(CollectionId, bool) -> i64;
    fn compaction(i64) -> CompactionState;
    fn import(NewImport) -> i64;
    fn imports(Option<i64>) -> Vec<ImportInfo>;
    fn end_import(i64, bool) -> ();
    fn policy() -> Arc<Policy>;
    fn change_policy(PolicyChange) -> ();
    fn lead() -> LeadInfo;
    fn resign() -> LeadInfo;
    fn fsck() -> Fsck;
    fn finalize(u32) -> (u32, u32);
}

/// Positions and times of all records of the channel from `from` on.
pub(super) async fn records(logs: &dyn Logs, from: Position) -> Vec<(Position, Timestamp)> {
    let mut reader = logs.read(&channel(), from).await.unwrap();
    let mut all = Vec::new();
    while let Some((position, payload)) = reader.try_next().await.unwrap() {
        all.push((position, crate::log::record::stamp_of(&payload).unwrap()));
    }
    all
}
