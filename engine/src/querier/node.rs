//! The querier duty as others see it: takes orders, reports what it has.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tracing::info;

use super::QuerierParts;
use super::held::{Held, Shared};
use super::keeper::Keeper;
use crate::base::CollectionId;
use crate::rpc::{CollectionInfo, Follower, HoldOrder, OrderNumber, Orders, Report};

/// What a node holds of a collection.
#[derive(Clone, Debug)]
pub struct HeldFigures {
    /// The collection.
    pub info: Arc<CollectionInfo>,
    /// Channels that are followed.
    pub channels: usize,
    /// Sealed segments.
    pub sealed: usize,
    /// Rows in them, deleted ones included.
    pub sealed_rows: u64,
    /// Channels whose rows that are not sealed are held.
    pub growing: usize,
    /// Such rows, deleted ones included.
    pub growing_rows: u64,
}

/// The querier duty.
pub struct QueryNode {
    pub(super) shared: Arc<Shared>,
    /// The newest orders that were taken over.
    seen: Mutex<OrderNumber>,
}

impl QueryNode {
    /// A querier that holds nothing yet.
    #[must_use]
    pub fn new(parts: QuerierParts) -> Arc<Self> {
        Arc::new(Self { shared: Shared::new(parts), seen: Mutex::default() })
    }

    /// What is held of each collection, ascending by collection, for metrics.
    #[must_use]
    pub fn figures(&self) -> Vec<HeldFigures> {
        let held = self.shared.held.read();
        let mut figures: Vec<_> = held.values().map(|one| one.figures()).collect();
        figures.sort_unstable_by_key(|one| one.info.id);
        figures
    }

    /// Memory that each collection takes, ascending by collection, for metrics. Unit: bytes.
    #[must_use]
    pub fn held_bytes(&self) -> Vec<(CollectionId, u64)> {
        let held = self.shared.held.read();
        let mut bytes: Vec<_> = held.iter().map(|(&id, one)| (id, one.bytes())).collect();
        bytes.sort_unstable();
        bytes
    }

    fn hold(&self, order: &HoldOrder) {
        let id = order.info.id;
        let mut all = self.shared.held.write();
        if let Some(held) = all.get(&id) {
            let before = held.info.swap(Arc::clone(&order.info));
            held.order.send_replace(Arc::new(order.clone()));
            if before.loaded_partitions() != order.info.loaded_partitions() {
                self.shared.tell_changed();
            }
            return;
        }
        let tasks = &self.shared.parts.tasks;
        let held = Arc::new(Held::new(order.clone(), tasks.stop_token().child_token()));
        all.insert(id, Arc::clone(&held));
        drop(all);
        let keeper = Keeper::new(Arc::clone(&self.shared), held);
        tasks.start("hold a collection", |_| keeper.keep());
    }

    fn release(&self, id: CollectionId) {
        let released = self.shared.held.write().remove(&id);
        if let Some(held) = released {
            held.stop.cancel();
            info!(collection = %id, "collection released");
        }
    }
}

#[async_trait]
impl Follower for QueryNode {
    fn report(&self, report: &mut Report) {
        // First the version, then what it is the version of: a change in between is told once more.
        let version = *self.shared.version.borrow();
        self.shared.reported.store(version, Ordering::Release);
        let mut held: Vec<Arc<Held>> = self.shared.held.read().values().cloned().collect();
        held.sort_by_key(|one| one.id);
        let shown = self.shared.gauge.show(self.shared.parts.clock.monotonic());
        report.load.reads = shown.reads;
        report.load.queue_wait_ms = shown.queue_wait_ms;
        report.load.p99_ms = shown.p99_ms;
        report.load.search_cpu = shown.search_cpu;
        report.load.fullness = self.shared.fullness();
        report.load.bytes_to_load = held.iter().map(|one| one.to_load.load(Ordering::Relaxed)).sum();
        let first = report.held.len();
        report.held.extend(held.iter().map(|one| one.report()));
        report.load.held_bytes = report.held[first..].iter().map(|one| one.bytes).sum();
    }

    fn obey(&self, orders: &Orders, _sent: Duration) {
        let mut seen = self.seen.lock();
        if orders.number < *seen {
            return;
        }
        *seen = orders.number;
        if orders.whole {
            let is_ordered = |id: &CollectionId| {
                orders.hold.iter().any(|order| order.info.id == *id) || orders.keep.contains(id)
            };
            let known: Vec<CollectionId> = self.shared.held.read().keys().copied().collect();
            known.into_iter().filter(|id| !is_ordered(id)).for_each(|id| self.release(id));
        }
        orders.release.iter().for_each(|&id| self.release(id));
        orders.hold.iter().for_each(|order| self.hold(order));
        drop(seen);
        self.shared.tell_changed();
    }

    async fn changed(&self) {
        self.shared.changed().await;
    }
}
