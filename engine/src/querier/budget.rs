//! How much memory loaded segments may take.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::QuerierSettings;
use crate::model::{IndexDefinition, IndexRef, Schema, SegmentManifest, memory};

/// What is left of the memory for segments, and who has the rest.
#[derive(Debug)]
pub(super) struct Budget {
    /// Memory of the node. Unit: bytes; 0 for no limit.
    memory: u64,
    /// What may be taken of it. Unit: bytes; the greatest number for no limit.
    limit: u64,
    taken: Mutex<u64>,
    /// Counts how often something was given back.
    freed: watch::Sender<u64>,
}

/// What was free when something did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// Unit: bytes.
    pub(super) free: u64,
    /// Unit: bytes.
    pub(super) limit: u64,
}

impl Budget {
    pub(super) fn new(settings: &QuerierSettings) -> Arc<Self> {
        let limit = match settings.memory_bytes {
            0 => u64::MAX,
            bytes => (bytes as f64 * settings.memory_share.clamp(0.0, 1.0)) as u64,
        };
        Arc::new(Self {
            memory: settings.memory_bytes,
            limit,
            taken: Mutex::new(0),
            freed: watch::Sender::new(0),
        })
    }

    /// Takes `bytes`, if so much is left beside what rooms and `besides` have.
    pub(super) fn take(self: &Arc<Self>, bytes: u64, besides: u64) -> Result<Room, Full> {
        let room = Room { budget: Arc::clone(self), bytes: Mutex::new(0) };
        room.grow(bytes, besides)?;
        Ok(room)
    }

    /// The part of the node's memory that rooms and `besides` take; 0 without a limit.
    pub(super) fn fullness(&self, besides: u64) -> f64 {
        let taken = self.taken.lock().saturating_add(besides);
        if self.memory == 0 { 0.0 } else { taken as f64 / self.memory as f64 }
    }

    /// Something that rooms do not count was given back.
    pub(super) fn tell_freed(&self) {
        self.freed.send_modify(|times| *times += 1);
    }

    /// Changes each time that something was given back.
    pub(super) fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }
}

/// Memory that is spoken for; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    budget: Arc<Budget>,
    bytes: Mutex<u64>,
}

impl Room {
    /// Takes `more` bytes, if so much is left beside what rooms and `besides` have.
    pub(super) fn grow(&self, more: u64, besides: u64) -> Result<(), Full> {
        let limit = self.budget.limit;
        let mut bytes = self.bytes.lock();
        let mut taken = self.budget.taken.lock();
        let free = limit.saturating_sub(*taken).saturating_sub(besides);
        if more > free {
            return Err(Full { free, limit });
        }
        *taken += more;
        *bytes += more;
        Ok(())
    }

    /// What it turned out to need; that may be more than there is.
    pub(super) fn set(&self, exactly: u64) {
        let mut bytes = self.bytes.lock();
        let mut taken = self.budget.taken.lock();
        *taken = taken.saturating_sub(*bytes) + exactly;
        let is_less = exactly < *bytes;
        *bytes = exactly;
        drop((bytes, taken));
        if is_less {
            self.budget.tell_freed();
        }
    }

    /// Unit: bytes.
    pub(super) fn bytes(&self) -> u64 {
        *self.bytes.lock()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What indexes over a segment are taken to need in memory. Unit: bytes.
pub(super) fn index_bytes(
    schema: &Schema,
    segment: &SegmentManifest,
    indexes: &[(IndexRef, IndexDefinition)],
) -> u64 {
    indexes.iter().map(|(built, definition)| memory::index_bytes(schema, segment, built, definition)).sum()
}

/// What loading indexes takes at most besides their objects and what stays. Unit: bytes.
pub(super) fn index_passing_bytes(
    schema: &Schema,
    segment: &SegmentManifest,
    indexes: &[(IndexRef, IndexDefinition)],
) -> u64 {
    indexes.iter().map(|(built, _)| memory::index_passing_bytes(schema, segment, built)).max().unwrap_or(0)
}

/// The built indexes of a segment that the collection has, with what they were asked to be.
pub(super) fn known_indexes(
    segment: &SegmentManifest,
    definitions: &[IndexDefinition],
) -> Vec<(IndexRef, IndexDefinition)> {
    let definition = |built: &IndexRef| definitions.iter().find(|one| one.id == built.index).cloned();
    segment.indexes.iter().filter_map(|built| Some((built.clone(), definition(built)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: u64) -> Arc<Budget> {
        Budget::new(&QuerierSettings { memory_bytes: bytes, memory_share: 0.5, ..Default::default() })
    }

    #[test]
    fn what_does_not_fit_is_refused_until_something_is_given_back() {
        let budget = budget(200);
        let first = budget.take(60, 0).unwrap();

        assert_eq!(budget.take(50, 0).unwrap_err(), Full { free: 40, limit: 100 });
        assert_eq!(budget.take(30, 20).unwrap_err(), Full { free: 20, limit: 100 });
        let freed = budget.freed();
        drop(first);

        assert!(freed.has_changed().unwrap());
        assert_eq!(budget.take(100, 0).unwrap().bytes(), 100);
    }

    #[test]
    fn what_is_there_already_is_counted_even_beyond_the_limit() {
        let budget = budget(200);
        let room = budget.take(60, 0).unwrap();

        room.set(150);

        assert_eq!(budget.take(1, 0).unwrap_err(), Full { free: 0, limit: 100 });
    }

    #[test]
    fn fullness_counts_what_rooms_do_not() {
        let budget = budget(200);
        let _room = budget.take(60, 0).unwrap();

        assert_eq!((budget.fullness(0), budget.fullness(120)), (0.3, 0.9));
        assert_eq!(super::Budget::new(&QuerierSettings::default()).fullness(1 << 40), 0.0);
    }

    #[test]
    fn no_limit_fits_everything() {
        assert!(budget(0).take(1 << 60, 1 << 40).is_ok());
    }
}
