//! Opens the channels that this node owns, writes to them, and seals them by demand, size and age.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{
    ChannelName, Clock, CollectionId, DRIFT, Kind, Kinded, NodeId, NodeTime, Origin, Passing, Position,
    Timestamp,
};
use crate::blob::Blobs;
use crate::log::{LogReader, Logs, record};
use crate::model::ChannelManifest;
use crate::rpc::{
    self, CollectionRef, Coord, Follower, Mark, OpenChannel, Operation, OrderNumber, Orders, OwnOrder,
    Report, Tail, Write, Writer, Written,
};
use crate::writer::Error;
use crate::writer::channel::{AHEAD_MS, Channel, Entry, Opened, Outcome, Progress};
use crate::writer::lease::Lease;
use crate::writer::pressure::{FlushLimits, WriteLimits};

/// How often the writer looks for channels that are due.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How long a write waits at most for its channel to be opened. Whoever sent it may have done it again at another owner in
/// the meantime, and gone on: done after all it would undo what was written to its keys since.
const PATIENCE: Duration = Duration::from_secs(3);

/// Channels that are opened at the same time because they are ours; others wait, unless somebody writes to them.
const OPENED_AT_ONCE: usize = 16;

/// How much later than the coordinator's time an owner that was replaced may have shown: what it may be ahead by, and what its
/// monotonic clock was faster by than the coordinator's time within a lease, which is five seconds where nobody set another.
const SHOWN_MS: u64 = AHEAD_MS + 5_000 / DRIFT as u64;

/// What a writer needs.
pub struct WriterParts {
    /// Says what collections look like; gives ids and terms; takes flushes.
    pub coord: Arc<dyn Coord>,
    /// Where records go.
    pub logs: Arc<dyn Logs>,
    /// Where sealed data goes.
    pub blobs: Arc<dyn Blobs>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The cluster's time.
    pub time: Arc<NodeTime>,
    /// When to seal.
    pub limits: FlushLimits,
    /// How much may be written.
    pub writes: WriteLimits,
    /// What steps of flushes share with other work.
    pub memory: Passing,
    /// This node.
    pub node: NodeId,
}

/// The writer duty.
pub struct ChannelWriter {
    pub(super) parts: WriterParts,
    /// What the coordinator says is ours; a channel is opened when it is first needed.
    owned: RwLock<Owned>,
    pub(super) channels: RwLock<HashMap<ChannelName, Arc<Channel>>>,
    /// Channels that are still ours and whose log has failed, until they are open again.
    lapsed: Mutex<HashMap<ChannelName, Arc<Progress>>>,
    /// Held while a channel is opened, so that each is opened once. One that takes long holds up no other.
    opening: Mutex<HashMap<ChannelName, Arc<tokio::sync::Mutex<()>>>>,
    lease: Lease,
    /// The version of the formats that the cluster writes, as far as was heard; it only grows.
    pub(super) format: AtomicU32,
    /// Whether writes are refused; read for as long as a write takes.
    held: tokio::sync::RwLock<bool>,
    /// Bytes of log that are not sealed, of all channels, about.
    pub(super) unsealed_bytes: AtomicU64,
    /// The channels that are ours have changed.
    reordered: Notify,
    /// There is much that is not sealed.
    pub(super) full: Notify,
    /// The open channels have changed.
    changed: Notify,
}

#[derive(Default)]
struct Owned {
    number: OrderNumber,
    channels: BTreeMap<ChannelName, OwnOrder>,
}

fn no_right(name: &ChannelName) -> rpc::Error {
    rpc::Error::Stale { what: format!("the right to write to {name}") }
}

impl ChannelWriter {
    /// A writer that owns nothing yet.
    #[must_use]
    pub fn new(parts: WriterParts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            owned: RwLock::default(),
            channels: RwLock::default(),
            lapsed: Mutex::default(),
            opening: Mutex::default(),
            lease: Lease::default(),
            format: AtomicU32::new(0),
            held: tokio::sync::RwLock::new(false),
            unsealed_bytes: AtomicU64::new(0),
            reordered: Notify::new(),
            full: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// Refuses writes from now on, or takes them again. Those that were under way are done when this returns; who is
    /// refused may try again.
    pub async fn hold(&self, on: bool) {
        *self.held.write().await = on;
    }

    fn order(&self, name: &ChannelName) -> Result<OwnOrder, rpc::Error> {
        self.owned.read().channels.get(name).cloned().ok_or_else(|| no_right(name))
    }

    async fn channel(&self, name: &ChannelName) -> Result<Arc<Channel>, rpc::Error> {
        let order = self.order(name)?;
        if let Some(open) = self.channels.read().get(name) {
            return Ok(Arc::clone(open));
        }
        let turn = Arc::clone(self.opening.lock().entry(name.clone()).or_default());
        let opened = {
            let _one_at_a_time = turn.lock().await;
            self.open_once(name, &order).await
        };
        drop(turn);
        self.opening.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        opened
    }

    async fn open_once(&self, name: &ChannelName, order: &OwnOrder) -> Result<Arc<Channel>, rpc::Error> {
        if let Some(open) = self.channels.read().get(name) {
            return Ok(Arc::clone(open));
        }
        let channel = Arc::new(self.open(name, order.collection).await?);
        // The right may have been taken away meanwhile, or given anew after another had it; then nobody is to find the
        // channel open.
        let owned = self.owned.read();
        if owned.channels.get(name) != Some(order) {
            return Err(no_right(name));
        }
        self.channels.write().insert(name.clone(), Arc::clone(&channel));
        self.lapsed.lock().remove(name);
        drop(owned);
        self.changed.notify_one();
        Ok(channel)
    }

    async fn open(&self, name: &ChannelName, collection: CollectionId) -> Result<Channel, rpc::Error> {
        let WriterParts { coord, logs, clock, time, .. } = &self.parts;
        let info = coord.collection(CollectionRef::Id(collection)).await?;
        let shard = info.channels.iter().position(|channel| channel == name);
        let (term, shown) = self.right(name).await?;
        let failed =
            |source| rpc::Error::failed("open channel", &Error::OpenLog { channel: name.clone(), source });
        let log = logs.open(name, term).await.map_err(failed)?;
        // Only now is the manifest final: an owner before us commits no flush after its log was fenced, or it commits
        // one that starts from the checkpoint we see, and ours is refused.
        let manifests = coord.manifests(collection).await?;
        let manifest = shard.and_then(|shard| manifests.get(shard)).cloned().unwrap_or_default();
        let (checkpoint, end) = (manifest.checkpoint, log.next_position());
        let named_through = manifest.named_through;
        let newest = self.newest(name, &manifest, end).await?;
        // An owner before us may have shown a later time than that of its last record, but not than the coordinator's when it
        // gave us the term.
        let shown = shown.plus_ms(SHOWN_MS);
        let primary = info.schema.primary().data_type;
        let (name, newest) = (name.clone(), newest.max(shown));
        let of = Opened { name, collection, shard, term, primary, checkpoint, named_through, end, newest };
        let channel = Channel::new(of, log, Arc::clone(time), clock.monotonic());
        info!(channel = %channel.of.name, %term, %checkpoint, %end, "channel opened");
        Ok(channel)
    }

    /// The right to open a channel: its term, and the coordinator's time.
    async fn right(&self, name: &ChannelName) -> Result<(u64, Timestamp), rpc::Error> {
        let WriterParts { coord, node, .. } = &self.parts;
        let given = match coord.open_channel(name, *node).await {
            // One of an earlier version does not understand the call.
            Err(error) if error.kind() == Kind::Internal => match coord.channel_term(name, *node).await {
                Ok(term) => coord.allocate_timestamps(1).await.map(|now| (term, now)),
                Err(error) => Err(error),
            },
            given => given,
        };
        given.map_err(|error| if error.kind() == Kind::Conflict { no_right(name) } else { error })
    }

    /// The latest time in a channel: of what is sealed, or of the last record.
    async fn newest(
        &self,
        name: &ChannelName,
        manifest: &ChannelManifest,
        end: Position,
    ) -> Result<Timestamp, rpc::Error> {
        let sealed = manifest.newest();
        if end <= manifest.checkpoint {
            return Ok(sealed);
        }
        let failed =
            |source| rpc::Error::failed("open channel", &Error::ReadLog { channel: name.clone(), source });
        let mut reader = self.parts.logs.read(name, Position(end.0 - 1)).await.map_err(failed)?;
        let (_, last) = reader.next().await.map_err(failed)?;
        Ok(sealed.max(record::stamp_of(&last).unwrap_or_default()))
    }

    /// Whether this opening of a channel is still the one in use.
    fn is_open(&self, channel: &Arc<Channel>) -> bool {
        self.channels.read().get(&channel.of.name).is_some_and(|open| Arc::ptr_eq(open, channel))
    }

    /// Lets go of a channel that can no longer be written to; the next use opens it again with a greater term.
    fn give_up(&self, channel: &Arc<Channel>) {
        let mut open = self.channels.write();
        if open.get(&channel.of.name).is_some_and(|known| Arc::ptr_eq(known, channel)) {
            open.remove(&channel.of.name);
            self.changed.notify_one();
        }
    }

    /// The same for one whose log has failed. Nobody acknowledges anything then, and while no other can be owner, what was acknowledged
    /// is all there is: reads that ask how far the channel has come need not wait for the log.
    fn lapse(&self, channel: &Arc<Channel>) {
        // What is open was opened under the present order, and no other order comes meanwhile.
        let _ordered = self.owned.read();
        if self.is_open(channel) {
            self.lapsed.lock().insert(channel.of.name.clone(), channel.progress());
            self.give_up(channel);
        }
    }

    /// Somebody else has opened the channel: this opening answers for it no longer.
    fn forget_lapsed(&self, channel: &Arc<Channel>) {
        let mut lapsed = self.lapsed.lock();
        if lapsed.get(&channel.of.name).is_some_and(|known| Arc::ptr_eq(known, &channel.progress())) {
            lapsed.remove(&channel.of.name);
        }
    }

    /// How far a channel has come whose log has failed; `None` if it is open, or another may own it.
    fn mark_of_lapsed(&self, name: &ChannelName) -> Option<Mark> {
        let lapsed = || self.lapsed.lock().get(name).cloned();
        let progress = lapsed()?;
        let mark = progress.mark(self.parts.time.next());
        // Looked at after the mark was taken, as for one that is open.
        let is_ours = self.lease.holds(self.parts.clock.monotonic())
            && lapsed().is_some_and(|now| Arc::ptr_eq(&now, &progress));
        is_ours.then_some(mark)
    }

    /// An owner before us may have committed a last flush after we had looked: then what we believe of the channel is old,
    /// its checkpoint has moved or the log before it is gone.
    pub(super) fn give_up_if_sealed_by_another(&self, channel: &Arc<Channel>, error: &rpc::Error) {
        if matches!(error.kind(), Kind::Conflict | Kind::NotFound) {
            self.give_up(channel);
        }
    }

    /// The channel, unless it takes so long to open that a write is not to be done any more.
    async fn channel_soon(&self, name: &ChannelName) -> Result<Arc<Channel>, rpc::Error> {
        let clock = &self.parts.clock;
        let began = clock.monotonic();
        let channel = self.channel(name).await?;
        if clock.monotonic().saturating_sub(began) > PATIENCE {
            return Err(rpc::Error::Stale { what: format!("a write that waited for {name}") });
        }
        Ok(channel)
    }

    /// Appends to this very opening of the channel, which is fenced if there was another owner since.
    pub(super) async fn append(&self, channel: &Arc<Channel>, entry: Entry) -> Result<Outcome, rpc::Error> {
        let written = channel.write(entry, self.parts.clock.monotonic()).await;
        written.map_err(|error| {
            match error.kind() {
                Kind::Unavailable => self.lapse(channel),
                Kind::Fenced => {
                    self.give_up(channel);
                    self.forget_lapsed(channel);
                }
                _ => {}
            }
            rpc::Error::failed("write", &error)
        })
    }

    /// Opens the channels that are ours and seals those that are due, until `stop`.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::join!(self.keep_open(&stop), self.keep_sealed(&stop));
        Ok(())
    }

    async fn keep_open(&self, stop: &CancellationToken) {
        let mut opening = FuturesUnordered::new();
        // Those that failed among them: what cannot be opened now is not tried again at once.
        let (mut under_way, mut failed) = (BTreeSet::new(), BTreeSet::new());
        loop {
            for name in self.missing() {
                if opening.len() < OPENED_AT_ONCE && under_way.insert(name.clone()) {
                    opening.push(self.open_missing(name));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.reordered.notified() => {}
                Some((name, opened)) = opening.next() => {
                    if opened {
                        under_way.remove(&name);
                    } else {
                        failed.insert(name);
                    }
                    continue;
                }
                () = self.parts.clock.sleep(LOOK) => {}
            }
            under_way.retain(|name| !failed.contains(name));
            failed.clear();
        }
    }

    async fn keep_sealed(&self, stop: &CancellationToken) {
        loop {
            self.seal_due().await;
            self.ask_followers().await;
            self.truncate_sealed().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.full.notified() => {}
                () = self.parts.clock.sleep(LOOK) => {}
            }
        }
    }

    /// Takes over which channels are ours. What was opened under an order that is over is closed at once: should the right
    /// come back, another owner may have written since, and the lease would let the old opening answer for the channel.
    /// Whoever still writes to it finishes; the log writes what was appended.
    fn own(&self, number: OrderNumber, own: &[OwnOrder]) {
        let mut owned = self.owned.write();
        if number < owned.number {
            return;
        }
        owned.number = number;
        let now = own.iter().map(|order| (order.channel.clone(), order.clone())).collect();
        let before = std::mem::replace(&mut owned.channels, now);
        let mut open = self.channels.write();
        let count = open.len();
        let is_as_before = |name: &ChannelName| owned.channels.get(name) == before.get(name);
        open.retain(|name, _| is_as_before(name));
        self.lapsed.lock().retain(|name, _| is_as_before(name));
        if open.len() < count {
            self.changed.notify_one();
        }
        drop((open, owned));
        self.reordered.notify_one();
    }

    /// The channels that are ours and not open.
    fn missing(&self) -> Vec<ChannelName> {
        let (owned, open) = (self.owned.read(), self.channels.read());
        owned.channels.keys().filter(|name| !open.contains_key(*name)).cloned().collect()
    }

    /// Opens a channel; whether it is open now.
    async fn open_missing(&self, name: ChannelName) -> (ChannelName, bool) {
        let opened = self.channel(&name).await;
        if let Err(error) = &opened
            && !error.is_stale()
        {
            warn!(channel = %name, %error, "channel was not opened");
        }
        (name, opened.is_ok())
    }
}

/// The records of a channel's log, until it is closed here, and then those that are known to be durable. Who follows a channel must not
/// keep it open: while its log has a writer in this process, readers wait for that one, and would never see what the next owner writes.
/// What is shown counts as durable before it is: later reads elsewhere must not miss it.
fn walk(
    channel: ChannelName,
    reader: Box<dyn LogReader>,
    progress: Arc<Progress>,
    closed: CancellationToken,
) -> Tail {
    let records = futures::stream::unfold(Some(reader), move |reader| {
        let (channel, progress, closed) = (channel.clone(), Arc::clone(&progress), closed.clone());
        async move {
            let mut reader = reader?;
            // A call of the reader that is dropped has taken nothing.
            let next = tokio::select! {
                biased;
                () = closed.cancelled() => None,
                next = reader.next() => Some(next),
            };
            let next = match next {
                Some(next) => next,
                None if reader.position() >= progress.end() => return None,
                None => reader.next().await,
            };
            match next {
                Ok((position, bytes)) => {
                    progress.note(position, record::stamp_of(&bytes).unwrap_or_default());
                    Some((Ok((position, bytes)), Some(reader)))
                }
                Err(source) => {
                    let error = Error::ReadLog { channel, source };
                    Some((Err(rpc::Error::failed("follow a log", &error)), None))
                }
            }
        }
    });
    records.boxed()
}

#[async_trait]
impl Writer for ChannelWriter {
    async fn write(&self, write: Write) -> Result<Written, rpc::Error> {
        let encoded = match &write.operation {
            Operation::Insert { partition, rows } => record::encode_insert(*partition, rows),
            Operation::Delete { partition, keys } => record::encode_delete(*partition, keys),
            Operation::Upsert { partition, replaced, rows } => {
                record::encode_upsert(*partition, replaced, rows)
            }
        };
        let channel = self.channel_soon(&write.channel).await?;
        let origin = Origin { request: write.request.map(|request| request.id), client: write.client };
        let entry = self.entry(encoded, origin, write.request);
        if let Some(at) = self.recall(&channel, &entry).await? {
            return Ok(Written { at });
        }
        self.admit(&channel, &write.operation).await?;
        let held = self.held.read().await;
        if *held {
            return Err(rpc::Error::Stale { what: format!("{}, which takes no writes now", write.channel) });
        }
        let bytes = entry.bytes.len() as u64;
        match self.append(&channel, entry).await? {
            Outcome::Done(at) => {
                self.count(bytes);
                Ok(Written { at })
            }
            Outcome::Before(place) => Ok(Written { at: self.settle(&channel, place).await? }),
        }
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), rpc::Error> {
        let channel = self.channel(channel).await?;
        let sealed = self.seal(&channel).await;
        if let Err(error) = &sealed {
            self.give_up_if_sealed_by_another(&channel, error);
        }
        sealed.map(drop)
    }

    async fn mark(&self, name: &ChannelName) -> Result<Mark, rpc::Error> {
        if let Some(mark) = self.mark_of_lapsed(name) {
            return Ok(mark);
        }
        let channel = self.channel(name).await?;
        let mark = channel.mark();
        let is_bounded = channel.is_bounded(&mark);
        // Looked at after the mark was taken: a process that was stopped in between finds its lease over.
        if is_bounded && self.lease.holds(self.parts.clock.monotonic()) && self.is_open(&channel) {
            return Ok(mark);
        }
        // The log answers for us: it takes nothing from an owner that was replaced. What it says of the mark that was taken
        // before, it does not say of a later one: another owner may have begun in between, after this record's time.
        let channel = self.channel(name).await?;
        let mark = channel.mark();
        self.prove(&channel).await?;
        Ok(mark)
    }

    async fn tail(&self, name: &ChannelName, from: Position) -> Result<Tail, rpc::Error> {
        let lapsed = self.lapsed.lock().get(name).cloned();
        let (progress, closed) = match lapsed {
            Some(progress) => {
                let closed = CancellationToken::new();
                closed.cancel();
                (progress, closed)
            }
            None => {
                let channel = self.channel(name).await?;
                (channel.progress(), channel.closed())
            }
        };
        let failed =
            |source| rpc::Error::failed("follow a log", &Error::ReadLog { channel: name.clone(), source });
        let reader = self.parts.logs.read(name, from).await.map_err(failed)?;
        Ok(walk(name.clone(), reader, progress, closed))
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), rpc::Error> {
        for name in channels {
            let open = self.channels.write().remove(name);
            self.lapsed.lock().remove(name);
            if let Some(channel) = open {
                // A flush that still runs must not read a log that is being removed.
                let _idle = channel.flushing.lock().await;
            }
            let removed = self.parts.logs.remove(name).await;
            removed.map_err(|source| {
                rpc::Error::failed("forget channel", &Error::GiveUp { channel: name.clone(), source })
            })?;
        }
        Ok(())
    }
}

#[async_trait]
impl Follower for ChannelWriter {
    fn report(&self, report: &mut Report) {
        let owned = self.owned.read();
        let open = self.channels.read();
        report.channels.extend(open.values().map(|channel| OpenChannel {
            channel: channel.of.name.clone(),
            term: owned.channels.get(&channel.of.name).map_or(0, |order| order.term),
            opened: channel.of.term,
            unsealed_bytes: channel.unsealed.lock().bytes,
        }));
    }

    fn obey(&self, orders: &Orders, sent: Duration) {
        self.format.fetch_max(orders.format, Ordering::Relaxed);
        if let Some(own) = &orders.own {
            self.own(orders.number, own);
        }
        // Only now: whoever finds the lease renewed must not find a channel that went with the same answer.
        self.lease.renew(sent, orders.lease);
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures::StreamExt as _;

    use super::{Channel, Opened, walk};
    use crate::base::{ChannelName, CollectionId, NodeTime, Position, RealClock, Timestamp};
    use crate::log::{Logs as _, MemoryLogs};
    use crate::model::DataType;

    #[tokio::test]
    async fn a_walk_along_a_log_ends_when_its_channel_is_closed_and_does_not_keep_it_open() {
        let (logs, name) = (MemoryLogs::new(), ChannelName("c".into()));
        let log = logs.open(&name, 1).await.unwrap();
        log.append(Bytes::from_static(b"one")).unwrap().durable().await.unwrap();
        let of = Opened {
            name: name.clone(),
            collection: CollectionId(1),
            term: 1,
            primary: DataType::Int64,
            shard: Some(0),
            checkpoint: Position(0),
            named_through: Timestamp::ZERO,
            newest: Timestamp::ZERO,
            end: Position(0),
        };
        let channel = Channel::new(of, log, NodeTime::new(RealClock::new()), Duration::ZERO);
        let reader = logs.read(&name, Position(0)).await.unwrap();
        let mut records = walk(name, reader, channel.progress(), channel.closed());
        assert_eq!(records.next().await.unwrap().unwrap(), (Position(0), Bytes::from_static(b"one")));

        drop(channel);

        let ended = tokio::time::timeout(Duration::from_secs(20), records.next()).await.unwrap();
        assert!(ended.is_none());
    }
}
