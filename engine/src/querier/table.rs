//! The sealed segments that are ready, by id.

use std::sync::Arc;

use super::budget::Room;
use crate::base::SegmentId;
use crate::segment::Sealed;

/// One segment that is held, with the memory it is allowed.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) sealed: Arc<Sealed>,
    pub(super) room: Arc<Room>,
}

impl Entry {
    pub(super) fn id(&self) -> SegmentId {
        self.sealed.id()
    }
}

/// Segments ascending by id. Never changes: another one takes its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Vec<Entry>);

impl Table {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(super) fn get(&self, id: SegmentId) -> Option<&Entry> {
        let place = self.0.binary_search_by_key(&id, Entry::id).ok()?;
        self.0.get(place)
    }

    /// The segments `wanted`, which ascend, or the first that is not here.
    pub(super) fn find(&self, wanted: &[SegmentId]) -> Result<Vec<Arc<Sealed>>, SegmentId> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut rest = self.0.as_slice();
        for &id in wanted {
            // The next one is nearly always the one that is wanted.
            let place = match rest.first() {
                Some(next) if next.id() == id => 0,
                _ => rest.binary_search_by_key(&id, Entry::id).map_err(|_| id)?,
            };
            let (entry, after) = rest.get(place..).and_then(<[Entry]>::split_first).ok_or(id)?;
            found.push(Arc::clone(&entry.sealed));
            rest = after;
        }
        Ok(found)
    }

    /// These and one more.
    pub(super) fn with(&self, entry: Entry) -> Self {
        let mut entries = self.0.clone();
        match entries.binary_search_by_key(&entry.id(), Entry::id) {
            Ok(place) => entries[place] = entry,
            Err(place) => entries.insert(place, entry),
        }
        Self(entries)
    }

    /// Those of `wanted`, which ascend; `None` if that is all of them.
    pub(super) fn only(&self, wanted: &[SegmentId]) -> Option<Self> {
        let is_wanted = |entry: &&Entry| wanted.binary_search(&entry.id()).is_ok();
        let kept: Vec<Entry> = self.0.iter().filter(is_wanted).cloned().collect();
        (kept.len() < self.0.len()).then_some(Self(kept))
    }
}
