//! What a router remembers of each collection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::pace::Pace;
use crate::base::{CollectionId, Timestamp};

/// Collections remembered before those that nothing was written to for a while are forgotten.
const MANY: usize = 4096;

/// What is remembered of one collection.
#[derive(Debug, Default)]
pub struct Memory {
    newest: AtomicU64,
    turn: AtomicUsize,
    /// How fast its reads are.
    pub pace: Mutex<Pace>,
}

impl Memory {
    /// Time of the newest write that went through.
    pub fn newest(&self) -> Timestamp {
        Timestamp(self.newest.load(Ordering::Acquire))
    }

    /// A write was acknowledged.
    pub fn written(&self, at: Timestamp) {
        self.newest.fetch_max(at.0, Ordering::AcqRel);
    }

    /// Counts up with each read.
    pub fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

/// All collections.
#[derive(Debug, Default)]
pub struct Memories(RwLock<HashMap<CollectionId, Arc<Memory>>>);

impl Memories {
    /// What is remembered of `collection`. Entries whose newest write is before `old` may be forgotten: nothing that a
    /// reader relies on is lost with them.
    pub fn of(&self, collection: CollectionId, old: Timestamp) -> Arc<Memory> {
        if let Some(memory) = self.0.read().get(&collection) {
            return Arc::clone(memory);
        }
        let mut all = self.0.write();
        if all.len() >= MANY {
            all.retain(|_, memory| Arc::strong_count(memory) > 1 || memory.newest() >= old);
        }
        Arc::clone(all.entry(collection).or_default())
    }
}
