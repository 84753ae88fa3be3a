//! The object log: channels as chains of objects in an object store, which is all it needs.
//!
//! A channel is a chain of chunks under the numbers 1, 2, 3 and so on. A chunk is created only if its number is free,
//! is written once as a whole and never changed; a torn chunk cannot exist, so whatever is not as it was written is
//! damage. `chain` has the rules by which chunks count, `chunk` and `boundary` the bytes.
//!
//! **Owners.** An owner begins its term with a fence: a chunk without records at the first free number. From then on
//! readers skip chunks of smaller terms. An owner acknowledges a chunk only once all its chunks before are durable,
//! so the lowest number that it still waits for decides: the owner after it took that very number for its fence.
//! What the old owner had under way behind it does not count, whenever it lands. A chunk found under a number that
//! an owner wants is its own (an earlier attempt whose answer was lost), or stale (it takes the next number), or of a
//! newer owner (it is fenced). A record that was acknowledged in the moment of a hand-over lies before the fence.
//!
//! **Names used again.** Truncation frees numbers: first a boundary says so, then the chunks go. A zombie may then
//! create a chunk under a freed number, and nothing in its way says that it was used. Whoever looks at the boundary
//! after the creation knows: it was moved before the number was freed. These rules say who must look, and none trusts
//! a clock:
//! 1. Fences are never freed, nor the removal at a life's end. The lowest number of a superseded owner that is not its
//!    own is one of these, or a stale chunk between its last one and the next fence. At a fence its creation fails
//!    for ever, however late, and it acknowledges nothing. Stale chunks are freed, but come only within `MAX_PIPELINE`
//!    numbers after an owner's fence, since an owner before has no more under way. There, an owner has one chunk
//!    under way and looks at the boundary before it acknowledges it.
//!    It looks, too, before it takes the next number because a stale chunk lies at the one it wanted: if that was given
//!    up, its own chunk may have lain there and counted.
//! 2. An opening counts only if, after its fence is there, the chain from the newest boundary on leads to it.
//! 3. A reader looks at the boundary before it believes a fence, a removal, damage, or records within `MAX_PIPELINE`
//!    numbers after their fence. Later records of the term that a zombie wrote are what was there before, since a
//!    writer has one body for each number; of smaller terms they are skipped, and what follows then is not linked to
//!    what the reader knows, so that it looks at the boundary and learns that it was overtaken.
//!
//! As a further guard, should somebody have deleted fences in the store, a writer whose chunk took longer than
//! `stall_limit_ms` looks at the boundary before it acknowledges.
//!
//! **Lives.** A removal is a chunk too, and competes for the next number like a fence. After it the life is over; the
//! next opening begins another life under another prefix. Of a life that is over there remain its fences, its removal
//! and one small object that says so.
//!
//! **Waypoints.** Once in `WAYPOINT_EVERY` chunks an owner notes the chain behind a chunk that it has acknowledged. All numbers
//! up to there are taken, so the note stays true until a boundary passes it, whoever wrote it. Whoever knows nothing of a
//! channel begins at the last one instead of looking at every chunk since the boundary, and whoever knows an old end goes on from
//! there; without any, it looks at all.
//!
//! **Cost.** An owner spends a request per chunk, three for its first ones, and nothing while idle. Readers in its process are told of appends;
//! a reader elsewhere polls while it waits, and so does one here once no owner is here. While an owner has not found
//! out that it was superseded, readers in its process do not see what the new owner writes. Listing only finds what can be freed, and the channels there are.

mod boundary;
mod chain;
mod channel;
mod chunk;
mod flaw;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
mod linger;
mod names;
mod owning;
mod reader;
mod store;
mod writing;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tracing::info;

use crate::base::{ChannelName, Clock, Rng, TaskSet};
use crate::blob::Blobs;
use crate::obs::LogMetrics;

use super::queue::{Queue, Writer};
use super::recent::Recent;
use super::{Error, LogReader, LogWriter, Logs, Position, check_name};
use channel::Channel;
pub use flaw::Flaw;
use flaw::Flaws;
use names::{Life, MARKERS};
use owning::Claim;
use reader::Reader;
use store::Store;
use writing::Writing;

/// Sizes and times of the object log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ObjectLogSettings {
    /// A chunk has at most this much; a larger record goes alone. Unit: bytes.
    pub max_chunk_bytes: usize,
    /// While a chunk is under way, appends are collected for at least this long or until they fill one. Unit: ms.
    pub linger_min_ms: u64,
    /// And at most this long, however long a chunk takes. Unit: ms.
    pub linger_max_ms: u64,
    /// Most chunks of one channel under way at once. Range: 1 to 8; beyond, the nearest holds.
    pub pipeline: u64,
    /// Appends are refused (kind `Exhausted`) while more than this waits in a channel. Unit: bytes.
    pub queue_bytes: usize,
    /// What all channels together keep of their latest chunks in memory for readers. Unit: bytes.
    pub recent_bytes: usize,
    /// A call on the object store is repeated for this long; a writer whose chunk is not stored then is poisoned.
    /// Unit: ms.
    pub deadline_ms: u64,
    /// A writer whose chunk took longer looks at the boundary before it acknowledges. Unit: ms.
    pub stall_limit_ms: u64,
    /// First pause between two looks of a reader that waits for an owner elsewhere; it doubles. Unit: ms.
    pub poll_min_ms: u64,
    /// Longest such pause. Unit: ms.
    pub poll_max_ms: u64,
    /// Chunks younger than this are not freed; a later truncation frees them. 0 is safe. Unit: ms.
    pub min_age_ms: u64,
}

impl Default for ObjectLogSettings {
    fn default() -> Self {
        Self {
            max_chunk_bytes: 8 << 20,
            linger_min_ms: 5,
            linger_max_ms: 200,
            pipeline: 4,
            queue_bytes: 256 << 20,
            recent_bytes: 256 << 20,
            deadline_ms: 30_000,
            stall_limit_ms: 10_000,
            poll_min_ms: 50,
            poll_max_ms: 1_000,
            min_age_ms: 0,
        }
    }
}

/// Logs in an object store that other processes may use at the same time.
///
/// A poisoned writer's last chunks may have been stored or not, and may even be stored later; opening the channel
/// again with a greater term decides it.
pub struct ObjectLogs {
    store: Arc<Store>,
    recent: Arc<Recent<chain::Chain>>,
    tasks: TaskSet,
    metrics: LogMetrics,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    by_name: BTreeMap<ChannelName, Arc<Channel>>,
    next_id: u64,
}

impl ObjectLogs {
    /// The logs in `blobs`. Writing tasks run in `tasks`: told to stop, they write what waits and end.
    #[must_use]
    pub fn new(
        blobs: Arc<dyn Blobs>,
        tasks: TaskSet,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        metrics: LogMetrics,
        settings: ObjectLogSettings,
    ) -> Arc<Self> {
        Self::with_flaws(Store { blobs, clock, rng, settings, flaws: Flaws::default() }, tasks, metrics)
    }

    /// The same with a rule left out, for tests that show that leaving it out is found.
    #[must_use]
    pub fn leaving_out(
        flaw: Flaw,
        blobs: Arc<dyn Blobs>,
        tasks: TaskSet,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        metrics: LogMetrics,
        settings: ObjectLogSettings,
    ) -> Arc<Self> {
        let flaws = Flaws { left_out: Some(flaw) };
        Self::with_flaws(Store { blobs, clock, rng, settings, flaws }, tasks, metrics)
    }

    fn with_flaws(store: Store, tasks: TaskSet, metrics: LogMetrics) -> Arc<Self> {
        let recent = Arc::new(Recent::new(store.settings.recent_bytes));
        Arc::new(Self { store: Arc::new(store), recent, tasks, metrics, channels: Mutex::default() })
    }

    /// What this process knows of the present life of `name`, which may have ended since.
    async fn channel(&self, name: &ChannelName) -> Result<Arc<Channel>, Error> {
        check_name(name)?;
        if let Some(channel) = self.known(name) {
            return Ok(channel);
        }
        let life = self.store.present_life(name).await?;
        let mut channels = self.channels.lock();
        // Somebody else may have been as far meanwhile; then that one holds.
        if let Some(channel) = channels.by_name.get(name).filter(|channel| !channel.view.lock().removed) {
            return Ok(channel.clone());
        }
        channels.next_id += 1;
        let channel = Channel::new(life, channels.next_id);
        channels.by_name.insert(name.clone(), channel.clone());
        Ok(channel)
    }

    fn known(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        let channels = self.channels.lock();
        channels.by_name.get(name).filter(|channel| !channel.view.lock().removed).cloned()
    }

    /// The same with the gate held.
    async fn hold(&self, name: &ChannelName) -> Result<(Arc<Channel>, OwnedMutexGuard<()>), Error> {
        loop {
            let channel = self.channel(name).await?;
            let gate = channel.gate.clone().lock_owned().await;
            if !channel.view.lock().removed {
                return Ok((channel, gate));
            }
        }
    }

    /// Forgets a life that is over.
    fn forget(&self, channel: &Arc<Channel>) {
        channel.end();
        self.recent.forget(channel.id);
        let mut channels = self.channels.lock();
        let name = &channel.life.channel;
        if channels.by_name.get(name).is_some_and(|known| Arc::ptr_eq(known, channel)) {
            channels.by_name.remove(name);
        }
    }

    /// Starts the task of a new writer, whose fence `fence` ends with, and gives its handle.
    fn start_writer(&self, channel: &Arc<Channel>, fence: chain::Chain) -> Arc<dyn LogWriter> {
        let name = channel.life.channel.clone();
        let queue =
            Arc::new(Queue::new(name.clone(), fence.term, fence.next, self.store.settings.queue_bytes));
        {
            let mut view = channel.view.lock();
            if let Some(owner) = view.owner.replace(queue.clone()) {
                owner.close(Error::Fenced { channel: name, term: owner.term, seen: fence.term });
            }
        }
        channel.changed.send_replace(());
        let writing = Writing {
            store: self.store.clone(),
            recent: self.recent.clone(),
            channel: channel.clone(),
            queue: queue.clone(),
            metrics: self.metrics.clone(),
            fence,
        };
        self.tasks.start("log writer", |stop| writing.run(stop));
        Arc::new(Writer { queue, clock: self.store.clock.clone() })
    }

    /// A reader in the present life, or `None` if that life ended meanwhile.
    async fn read_life(&self, channel: &Arc<Channel>, from: Position) -> Result<Option<Reader>, Error> {
        // The owner's process knows the tail, unless somebody knows of more.
        let is_plain = {
            let view = channel.view.lock();
            view.owner.is_some() && from.0 <= view.tail.next
        };
        if !is_plain {
            match self.store.catch_up(channel).await {
                Ok(_) => {}
                Err(Error::Removed { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let (next, chain) = {
            let view = channel.view.lock();
            (Position(view.tail.next), view.chain_before(from.0))
        };
        match channel.check(from.0) {
            Ok(()) => {}
            Err(Error::Removed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        if from > next {
            let channel = channel.life.channel.clone();
            return Err(Error::Ahead { channel, position: from, next });
        }
        let (store, recent) = (self.store.clone(), self.recent.clone());
        Ok(Some(Reader::new(store, recent, channel.clone(), from.0, chain)))
    }
}

#[async_trait]
impl Logs for ObjectLogs {
    async fn open(&self, channel: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, Error> {
        loop {
            let (channel, _gate) = self.hold(channel).await?;
            match self.store.claim(&channel, Claim::Term(term)).await {
                Ok(fence) => {
                    let next = fence.next;
                    info!(channel = %channel.life.channel, term, next, "log channel opened");
                    return Ok(self.start_writer(&channel, fence));
                }
                Err(Error::Removed { .. }) => self.forget(&channel),
                Err(error) => return Err(error),
            }
        }
    }

    async fn read(&self, channel: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, Error> {
        loop {
            let channel = self.channel(channel).await?;
            match self.read_life(&channel, from).await? {
                Some(reader) => return Ok(Box::new(reader)),
                None => self.forget(&channel),
            }
        }
    }

    async fn truncate(&self, channel: &ChannelName, before: Position) -> Result<(), Error> {
        loop {
            let (channel, _gate) = self.hold(channel).await?;
            match self.store.give_up(&channel, before.0).await {
                Err(Error::Removed { .. }) => self.forget(&channel),
                ended => return ended,
            }
        }
    }

    fn let_go(&self, channel: &ChannelName, before: Position) {
        let known = self.channels.lock().by_name.get(channel).map(|channel| channel.id);
        if let Some(id) = known {
            self.recent.forget_before(id, before.0);
        }
    }

    async fn remove(&self, channel: &ChannelName) -> Result<(), Error> {
        let (channel, _gate) = self.hold(channel).await?;
        if self.store.end_life(&channel).await? {
            self.forget(&channel);
        }
        Ok(())
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, Error> {
        let nobody = Life::new(&ChannelName("".into()), 0);
        let entries = self.store.list(&nobody, MARKERS).await?;
        let lives = entries.iter().filter_map(|entry| Life::of_marker(&entry.key));
        let lives = self.store.lasting(lives.collect()).await?;
        let mut channels = lives.into_iter().map(|life| life.channel).collect::<Vec<_>>();
        channels.sort_unstable();
        channels.dedup();
        Ok(channels)
    }
}
