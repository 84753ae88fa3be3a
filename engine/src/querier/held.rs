//! What a query node holds, and what all its keepers and reads share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Full, Room};
use super::load::Gauge;
use super::node::HeldFigures;
use super::shard::Shard;
use super::{Error, QuerierParts};
use crate::base::{ChannelName, CollectionId, FieldId, SegmentId, chain};
use crate::model::{IndexDefinition, Schema, memory};
use crate::rpc::{CollectionInfo, Extent, HeldChannel, HeldCollection, HoldOrder};

/// One collection of which something is held, or is to be.
pub(super) struct Held {
    pub(super) id: CollectionId,
    /// The collection as the newest order has it. Reads go by it at once; data follows behind.
    pub(super) info: ArcSwap<CollectionInfo>,
    pub(super) order: watch::Sender<Arc<HoldOrder>>,
    /// The channels that are ready, ascending by name.
    pub(super) shards: ArcSwap<Vec<Arc<Shard>>>,
    /// What is to take the place of some of them, or of none, once it has caught up.
    pub(super) coming: ArcSwap<Vec<Arc<Shard>>>,
    /// Why not everything that is ordered is held.
    pub(super) failure: Mutex<Option<Failed>>,
    /// Segments whose index is damaged or lost, with the key of its object.
    pub(super) damaged: Mutex<Vec<(SegmentId, String)>>,
    /// What of the data that is ordered is damaged or lost, for clients.
    pub(super) harm: Mutex<Option<String>>,
    /// What is ordered and not loaded yet. Unit: bytes.
    pub(super) to_load: AtomicU64,
    /// Wakes the keeper.
    pub(super) news: Arc<Notify>,
    /// Ends the keeper and all followers.
    pub(super) stop: CancellationToken,
}

/// Why something is not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) text: String,
    /// What is damaged or lost, for clients.
    pub(super) harm: Option<String>,
    /// To be tried again when memory is given back, and not before.
    pub(super) is_full: bool,
}

impl Failed {
    pub(super) fn by(error: &Error) -> Self {
        let is_full = matches!(error, Error::NoMemory { .. });
        Self { text: chain(error), harm: error.harm(), is_full }
    }
}

impl Held {
    pub(super) fn new(order: HoldOrder, stop: CancellationToken) -> Self {
        Self {
            id: order.info.id,
            info: ArcSwap::from(Arc::clone(&order.info)),
            order: watch::Sender::new(Arc::new(order)),
            shards: ArcSwap::default(),
            coming: ArcSwap::default(),
            failure: Mutex::new(None),
            damaged: Mutex::default(),
            harm: Mutex::default(),
            to_load: AtomicU64::new(0),
            news: Arc::default(),
            stop,
        }
    }

    /// The shard of a channel, if it is ready.
    pub(super) fn shard(&self, channel: &ChannelName) -> Option<Arc<Shard>> {
        let shards = self.shards.load();
        let place = shards.binary_search_by(|shard| shard.channel.cmp(channel)).ok()?;
        shards.get(place).cloned()
    }

    /// Memory of the rows that are not sealed, also of those that are not ready. Unit: bytes.
    fn growing_bytes(&self) -> u64 {
        let (ready, coming) = (self.shards.load(), self.coming.load());
        ready.iter().chain(coming.iter()).map(|shard| shard.growing_bytes()).sum()
    }

    /// Memory of everything that is ready. Unit: bytes.
    pub(super) fn bytes(&self) -> u64 {
        let sealed = |shard: &Arc<Shard>| -> u64 {
            shard.table().entries().iter().map(|entry| entry.room.bytes()).sum()
        };
        self.shards.load().iter().map(sealed).sum::<u64>() + self.growing_bytes()
    }

    pub(super) fn figures(&self) -> HeldFigures {
        let shards = self.shards.load();
        let tables: Vec<_> = shards.iter().map(|shard| shard.table()).collect();
        let sealed = || tables.iter().flat_map(|table| table.entries());
        let growing = || shards.iter().filter_map(|shard| shard.growing_rows());
        HeldFigures {
            info: self.info.load_full(),
            channels: shards.len(),
            sealed: sealed().count(),
            sealed_rows: sealed().map(|entry| entry.sealed.rows() as u64).sum(),
            growing: growing().count(),
            growing_rows: growing().sum(),
        }
    }

    fn report_of(&self, shard: &Shard) -> HeldChannel {
        let mut report = shard.report();
        let coming = self.coming.load();
        for other in coming.iter().filter(|other| other.channel == shard.channel) {
            report.needs_from = report.needs_from.min(other.applied());
        }
        report
    }

    pub(super) fn report(&self) -> HeldCollection {
        let failure = self.failure.lock().clone();
        HeldCollection {
            collection: self.id,
            channels: self.shards.load().iter().map(|shard| self.report_of(shard)).collect(),
            bytes: self.bytes(),
            is_full: failure.as_ref().is_some_and(|failed| failed.is_full),
            failure: failure.map(|failed| failed.text),
            damaged: self.damaged.lock().clone(),
            harm: self.harm.lock().clone(),
            extent: Extent::of(self.info.load().loaded_partitions()),
        }
    }
}

/// What the reads and the keepers of one node share.
pub(super) struct Shared {
    pub(super) parts: QuerierParts,
    pub(super) held: RwLock<HashMap<CollectionId, Arc<Held>>>,
    pub(super) budget: Arc<Budget>,
    /// One permit for each segment that may be loaded at a time.
    pub(super) loads: Semaphore,
    /// One permit: interim indexes are built one at a time, so that reads keep the other processors.
    pub(super) builds: Semaphore,
    pub(super) gauge: Gauge,
    /// When the next load may begin, on the monotonic clock.
    next_load: Mutex<Duration>,
    /// Counts changes of the report.
    pub(super) version: watch::Sender<u64>,
    /// The version that was reported last.
    pub(super) reported: AtomicU64,
}

impl Shared {
    pub(super) fn new(parts: QuerierParts) -> Arc<Self> {
        Arc::new(Self {
            held: RwLock::default(),
            budget: Budget::new(&parts.settings),
            loads: Semaphore::new(parts.settings.load_parallel.max(1)),
            builds: Semaphore::new(1),
            gauge: Gauge::new(),
            next_load: Mutex::new(Duration::ZERO),
            version: watch::Sender::new(1),
            reported: AtomicU64::new(0),
            parts,
        })
    }

    /// The fields whose vectors this node puts on its disk.
    pub(super) fn on_disk(&self, schema: &Schema, indexes: &[IndexDefinition]) -> Vec<FieldId> {
        if self.parts.scratch.is_some() { memory::fields_on_disk(schema, indexes) } else { Vec::new() }
    }

    /// The report is not what it was.
    pub(super) fn tell_changed(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Completes when the report has changed since it was last asked for. Cancel safe.
    pub(super) async fn changed(&self) {
        let mut version = self.version.subscribe();
        let is_news = |version: &u64| *version != self.reported.load(Ordering::Acquire);
        // The sender lives as long as this does, so waiting ends by being satisfied.
        let _ = version.wait_for(is_news).await;
    }

    /// The part of the node's memory that is taken; 0 without a limit.
    pub(super) fn fullness(&self) -> f64 {
        self.budget.fullness(self.growing_bytes())
    }

    /// Memory of all rows that are not sealed. Unit: bytes.
    fn growing_bytes(&self) -> u64 {
        self.held.read().values().map(|held| held.growing_bytes()).sum()
    }

    /// Takes memory for something that is no segment.
    ///
    /// # Errors
    /// What is free, if that is too little.
    pub(super) fn reserve(&self, wanted: u64) -> Result<Room, Full> {
        self.budget.take(wanted, self.growing_bytes())
    }

    /// Takes memory for a segment.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(super) fn admit(&self, segment: SegmentId, wanted: u64) -> Result<Room, Error> {
        let full = self.budget.take(wanted, self.growing_bytes());
        full.map_err(|full| Error::NoMemory { segment, wanted, free: full.free, limit: full.limit })
    }

    /// Takes more memory for a segment.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(super) fn admit_more(&self, segment: SegmentId, room: &Room, wanted: u64) -> Result<(), Error> {
        let full = room.grow(wanted, self.growing_bytes());
        full.map_err(|full| Error::NoMemory { segment, wanted, free: full.free, limit: full.limit })
    }

    /// Waits for this load's turn, so that all together fetch no more bytes a second than is allowed.
    pub(super) async fn pace(&self, bytes: u64) {
        let Some(rate) = self.parts.settings.load_bytes_per_s else { return };
        let now = self.parts.clock.monotonic();
        let wait = {
            let mut next = self.next_load.lock();
            let begin = now.max(*next);
            *next = begin + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            begin - now
        };
        if !wait.is_zero() {
            self.parts.clock.sleep(wait).await;
        }
    }
}
