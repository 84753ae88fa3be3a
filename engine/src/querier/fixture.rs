//! An owner of channels in memory, and what tests of query nodes say to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{QuerierParts, QuerierSettings, QueryNode};
use crate::base::{
    ChannelName, CollectionId, DatabaseId, Kind, PartitionId, Passing, Position, RealClock, SegmentId,
    TaskSet, Timestamp,
};
use crate::blob::MemoryBlobs;
use crate::disk::Scratch;
use crate::log::record;
use crate::model::{Batch, ChannelManifest, DataType, IndexDefinition, Keys, Schema};
use crate::plan::{QueryKind, QueryPlan};
use crate::rpc::{
    ChannelShare, CollectionInfo, Error, Follower as _, HeldChannel, HeldCollection, HoldChannel, HoldOrder,
    LoadSpec, Mark, OrderNumber, Orders, Report, Share, Tail, Write, Writer, Written,
};
use crate::segment::fixture::{KEY, NUMBER, Row, batch, schema};

pub(super) const COLLECTION: CollectionId = CollectionId(7);

#[derive(Default)]
struct Log {
    first: u64,
    records: Vec<Bytes>,
    newest: Timestamp,
    /// Records from here on are not sent yet.
    gate: Option<u64>,
    /// What is found damaged when it is read.
    damaged: Option<Position>,
}

/// Owns all channels. A record is durable as soon as it is written.
#[derive(Default)]
pub(super) struct Owner {
    logs: Mutex<HashMap<ChannelName, Log>>,
    changed: watch::Sender<()>,
    /// Whether every call fails.
    pub(super) is_down: AtomicBool,
    /// Nodes, by number, that nothing is sent to for now.
    paused: Mutex<HashSet<usize>>,
    /// Tails given, and how many of the first of them are sent nothing any more.
    tails: AtomicUsize,
    silent: AtomicUsize,
    /// Marks given.
    pub(super) marks: AtomicUsize,
    /// Records that were taken and will be lost: marks count them.
    pub(super) doomed: AtomicU64,
    /// Whether a write is always under way: then marks have the time of the channel's last record.
    pub(super) is_busy: AtomicBool,
    /// Calls, and waits of tails, that found it down.
    pub(super) refusals: AtomicUsize,
}

impl Owner {
    pub(super) fn insert(&self, channel: &ChannelName, at: u64, partition: i64, rows: &[Row]) -> Position {
        let encoded = record::encode_insert(PartitionId(partition), &batch(&schema(DataType::Int64), rows));
        self.append(channel, at, encoded)
    }

    pub(super) fn insert_batch(&self, channel: &ChannelName, at: u64, rows: &Batch) -> Position {
        self.append(channel, at, record::encode_insert(PartitionId(1), rows))
    }

    pub(super) fn delete(
        &self,
        channel: &ChannelName,
        at: u64,
        partition: Option<i64>,
        keys: &[i64],
    ) -> Position {
        let keys = Keys::Int(keys.to_vec());
        self.append(channel, at, record::encode_delete(partition.map(PartitionId), &keys))
    }

    pub(super) fn upsert(&self, channel: &ChannelName, at: u64, partition: i64, rows: &[Row]) -> Position {
        let keys = Keys::Int(rows.iter().map(|row| row.key).collect());
        let rows = batch(&schema(DataType::Int64), rows);
        self.append(channel, at, record::encode_upsert(PartitionId(partition), &keys, &rows))
    }

    fn append(&self, channel: &ChannelName, at: u64, mut encoded: BytesMut) -> Position {
        record::stamp(&mut encoded, Timestamp(at));
        let mut logs = self.logs.lock();
        let log = logs.entry(channel.clone()).or_default();
        let position = Position(log.first + log.records.len() as u64);
        log.records.push(encoded.freeze());
        log.newest = Timestamp(at);
        drop(logs);
        self.changed.send_replace(());
        position
    }

    /// The position after the last record.
    pub(super) fn end(&self, channel: &ChannelName) -> Position {
        let logs = self.logs.lock();
        logs.get(channel).map_or(Position(0), |log| Position(log.first + log.records.len() as u64))
    }

    pub(super) fn truncate(&self, channel: &ChannelName, before: Position) {
        let mut logs = self.logs.lock();
        let log = logs.entry(channel.clone()).or_default();
        let count = before.0.saturating_sub(log.first) as usize;
        log.records.drain(..count);
        log.first += count as u64;
        drop(logs);
        self.changed.send_replace(());
    }

    /// Sends only records before `gate` from now on.
    pub(super) fn set_gate(&self, channel: &ChannelName, gate: Option<u64>) {
        self.logs.lock().entry(channel.clone()).or_default().gate = gate;
        self.changed.send_replace(());
    }

    /// Damages a record, or mends it.
    pub(super) fn damage(&self, channel: &ChannelName, position: Option<u64>) {
        self.logs.lock().entry(channel.clone()).or_default().damaged = position.map(Position);
        self.changed.send_replace(());
    }

    /// Sends nothing to a node, or everything again.
    pub(super) fn set_paused(&self, node: usize, is_paused: bool) {
        let mut paused = self.paused.lock();
        if is_paused {
            paused.insert(node);
        } else {
            paused.remove(&node);
        }
        drop(paused);
        self.changed.send_replace(());
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
        self.changed.send_replace(());
    }

    /// Sends nothing any more to whoever follows it now, as if it had been stopped; the next owner is this one too.
    pub(super) fn fall_silent(&self) {
        self.silent.store(self.tails.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), Error> {
        if self.is_down.load(Ordering::SeqCst) {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Stale { what: "the owner".to_owned() });
        }
        Ok(())
    }

    /// The record at `position`, if it is to be sent already.
    fn record(&self, channel: &ChannelName, position: Position) -> Result<Option<Bytes>, Error> {
        self.check()?;
        let mut logs = self.logs.lock();
        let log = logs.entry(channel.clone()).or_default();
        let Some(index) = position.0.checked_sub(log.first) else {
            return Err(Error::Failed { call: "tail", kind: Kind::NotFound, reason: "truncated".to_owned() });
        };
        if log.damaged == Some(position) {
            let reason = "a checksum is wrong".to_owned();
            return Err(Error::Failed { call: "tail", kind: Kind::Corrupt, reason });
        }
        let is_open = log.gate.is_none_or(|gate| position.0 < gate);
        Ok(log.records.get(index as usize).filter(|_| is_open).cloned())
    }
}

/// The owner as a node sees it, which has a number.
pub(super) struct Client(pub(super) Arc<Owner>, pub(super) usize);

#[async_trait]
impl Writer for Client {
    async fn write(&self, _: Write) -> Result<Written, Error> {
        unreachable!("a querier does not write")
    }

    async fn flush(&self, _: &ChannelName) -> Result<(), Error> {
        unreachable!("a querier does not flush")
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error> {
        tokio::task::yield_now().await;
        self.0.check()?;
        self.0.marks.fetch_add(1, Ordering::SeqCst);
        let mut logs = self.0.logs.lock();
        // Times of all channels come from one clock.
        let now = logs.values().map(|log| log.newest).max().unwrap_or_default();
        let log = logs.entry(channel.clone()).or_default();
        let at = if self.0.is_busy.load(Ordering::SeqCst) { log.newest } else { now };
        let doomed = self.0.doomed.load(Ordering::SeqCst);
        let end = Position(log.first + log.records.len() as u64 + doomed);
        Ok(Mark { end, at, now })
    }

    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, Error> {
        self.0.record(channel, from)?;
        let state = (Arc::clone(&self.0), channel.clone(), from, self.0.changed.subscribe());
        let (node, number) = (self.1, self.0.tails.fetch_add(1, Ordering::SeqCst));
        Ok(Box::pin(futures::stream::unfold(
            state,
            move |(owner, channel, position, mut changed)| async move {
                loop {
                    changed.mark_unchanged();
                    let is_silent = number < owner.silent.load(Ordering::SeqCst);
                    let is_paused = is_silent || owner.paused.lock().contains(&node);
                    let next = owner.record(&channel, position);
                    match next.map(|record| record.filter(|_| !is_paused)) {
                        Ok(Some(record)) => {
                            return Some((
                                Ok((position, record)),
                                (owner, channel, position.next(), changed),
                            ));
                        }
                        Ok(None) => changed.changed().await.unwrap(),
                        Err(error) => return Some((Err(error), (owner, channel, position, changed))),
                    }
                }
            },
        )))
    }

    async fn forget(&self, _: &[ChannelName]) -> Result<(), Error> {
        unreachable!("a querier forgets nothing")
    }
}

/// A query node under test and the number of its last orders.
pub(super) struct Node {
    pub(super) querier: Arc<QueryNode>,
    pub(super) number: u64,
}

impl Node {
    pub(super) fn new(
        owner: &Arc<Owner>,
        blobs: &Arc<MemoryBlobs>,
        tasks: &TaskSet,
        settings: QuerierSettings,
    ) -> Self {
        Self::numbered(0, owner, blobs, tasks, settings)
    }

    /// A node that the owner knows by a number.
    pub(super) fn numbered(
        number: usize,
        owner: &Arc<Owner>,
        blobs: &Arc<MemoryBlobs>,
        tasks: &TaskSet,
        settings: QuerierSettings,
    ) -> Self {
        Self::having(Passing::default(), None, number, (owner, blobs, tasks), settings)
    }

    /// The same, whose loads share memory with other work, and which may have a place for vectors on its disk.
    pub(super) fn having(
        memory: Passing,
        scratch: Option<Arc<Scratch>>,
        number: usize,
        (owner, blobs, tasks): (&Arc<Owner>, &Arc<MemoryBlobs>, &TaskSet),
        settings: QuerierSettings,
    ) -> Self {
        let querier = QueryNode::new(QuerierParts {
            blobs: Arc::clone(blobs) as _,
            writer: Arc::new(Client(Arc::clone(owner), number)),
            clock: RealClock::new(),
            tasks: tasks.clone(),
            memory,
            scratch,
            settings,
        });
        Self { querier, number: 0 }
    }

    /// Gives orders, newer than all before.
    pub(super) fn order(&mut self, hold: Vec<HoldOrder>) {
        self.number += 1;
        self.obey(self.number, hold);
    }

    /// Gives orders that name nothing, but that what there is of `keep` is to stay.
    pub(super) fn keep(&mut self, keep: Vec<CollectionId>) {
        self.number += 1;
        let number = OrderNumber { epoch: 1, number: self.number };
        self.querier.obey(&Orders { number, whole: true, keep, ..Default::default() }, Duration::ZERO);
    }

    /// Gives orders again, or old ones.
    pub(super) fn obey(&self, number: u64, hold: Vec<HoldOrder>) {
        let number = OrderNumber { epoch: 1, number };
        let orders = Orders { number, whole: true, hold, ..Default::default() };
        self.querier.obey(&orders, Duration::ZERO);
    }

    pub(super) fn report(&self) -> Report {
        let mut report = Report::default();
        self.querier.report(&mut report);
        report
    }

    pub(super) fn held(&self) -> Option<HeldCollection> {
        self.report().held.into_iter().find(|held| held.collection == COLLECTION)
    }

    pub(super) fn channel(&self, channel: &ChannelName) -> Option<HeldChannel> {
        self.held()?.channels.into_iter().find(|held| held.channel == *channel)
    }

    /// Waits until the node reports something.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                self.querier.changed().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "{what} did not come: {:?}", self.report().held);
    }

    /// Waits until the node reports segments of a channel ready, and rows from `growing_from` on.
    pub(super) async fn until_ready(&self, wanted: &HoldChannel) {
        self.until("being ready", |node| {
            let Some(held) = node.channel(&wanted.channel) else { return false };
            held.segments == wanted.segments
                && match wanted.growing_from {
                    Some(from) => held.growing_from.is_some_and(|held| held <= from),
                    None => held.growing_from.is_none(),
                }
        })
        .await;
    }
}

pub(super) fn channel(number: u32) -> ChannelName {
    ChannelName::of(COLLECTION, number)
}

pub(super) fn info(channels: u32, indexes: Vec<IndexDefinition>) -> Arc<CollectionInfo> {
    let schema: Arc<Schema> = Arc::new(schema(DataType::Int64));
    Arc::new(CollectionInfo {
        id: COLLECTION,
        name: "c".to_owned(),
        database: DatabaseId(1),
        database_name: "default".to_owned(),
        schema,
        channels: (0..channels).map(channel).collect(),
        partitions: Vec::new(),
        partitions_by_key: 0,
        aliases: Vec::new(),
        properties: Vec::new(),
        consistency: 0,
        created: Timestamp::ZERO,
        updated: Timestamp::ZERO,
        partitioned: Timestamp::ZERO,
        indexes,
        load: Some(LoadSpec::default()),
        recorded: true,
    })
}

pub(super) fn hold(manifest: &ChannelManifest, segments: &[i64], growing_from: Option<u64>) -> HoldChannel {
    HoldChannel {
        channel: channel(0),
        manifest: Arc::new(manifest.clone()),
        segments: segments.iter().copied().map(SegmentId).collect(),
        growing_from: growing_from.map(Position),
    }
}

pub(super) fn order(channels: Vec<HoldChannel>) -> HoldOrder {
    let count = channels.len().max(1) as u32;
    HoldOrder { info: info(count, Vec::new()), channels }
}

pub(super) fn share(segments: &[i64], growing_from: Option<u64>) -> Arc<Share> {
    let share = ChannelShare {
        channel: channel(0),
        segments: segments.iter().copied().map(SegmentId).collect(),
        growing_from: growing_from.map(Position),
    };
    Arc::new(Share { channels: vec![share], ..Share::default() })
}

pub(super) fn all_rows(kind: QueryKind) -> QueryPlan {
    QueryPlan {
        collection: COLLECTION,
        partitions: None,
        filter: None,
        limit: None,
        order: None,
        output: vec![KEY, NUMBER],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
        kind,
    }
}
