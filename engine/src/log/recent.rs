//! Records that this process wrote lately, kept for readers in the same process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// What keeping one record costs besides its payload. Unit: bytes.
const RECORD_BYTES: usize = 32;
/// What keeping records that became durable together costs besides them. Unit: bytes.
const CHUNK_BYTES: usize = 160;
/// So many places of chunks that are gone may stay in the order.
const STALE_PLACES: usize = 1_024;

/// Records that became durable together.
#[derive(Debug)]
pub(super) struct Kept<T> {
    /// Position of the first record.
    pub base: u64,
    pub records: Vec<Bytes>,
    /// What the log knows after them.
    pub after: T,
}

impl<T> Kept<T> {
    /// The position after the last record.
    fn end(&self) -> u64 {
        self.base + self.records.len() as u64
    }
}

/// The latest records of all channels within one budget; the oldest go first, whichever channel they are of.
#[derive(Debug)]
pub(super) struct Recent<T> {
    budget_bytes: usize,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// By channel and position of the first record.
    chunks: BTreeMap<(u64, u64), Arc<Kept<T>>>,
    order: VecDeque<(u64, u64)>,
    bytes: usize,
}

impl<T> Recent<T> {
    /// Keeps at most this much. Unit: bytes.
    pub fn new(budget_bytes: usize) -> Self {
        let state = State { chunks: BTreeMap::new(), order: VecDeque::new(), bytes: 0 };
        Self { budget_bytes, state: Mutex::new(state) }
    }

    /// Keeps records of the channel that has this id in this process.
    pub fn keep(&self, channel: u64, kept: Kept<T>) {
        if size_of(&kept) > self.budget_bytes {
            // It would only drive out all others.
            return;
        }
        let key = (channel, kept.base);
        let mut state = self.state.lock();
        state.bytes += size_of(&kept);
        if let Some(before) = state.chunks.insert(key, Arc::new(kept)) {
            state.bytes -= size_of(&before);
        } else {
            state.order.push_back(key);
        }
        while state.bytes > self.budget_bytes {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(gone) = state.chunks.remove(&oldest) {
                state.bytes -= size_of(&gone);
            }
        }
    }

    /// The records with the one at `position`, if they are kept.
    pub fn find(&self, channel: u64, position: u64) -> Option<Arc<Kept<T>>> {
        let state = self.state.lock();
        let (_, kept) = state.chunks.range((channel, 0)..=(channel, position)).next_back()?;
        (position < kept.end()).then(|| Arc::clone(kept))
    }

    /// Keeps nothing of this channel any more.
    pub fn forget(&self, channel: u64) {
        self.forget_before(channel, u64::MAX);
    }

    /// Keeps nothing of this channel any more that ends at or before `first`.
    pub fn forget_before(&self, channel: u64, first: u64) {
        let mut state = self.state.lock();
        let State { chunks, order, bytes } = &mut *state;
        let gone: Vec<(u64, u64)> = chunks
            .range((channel, 0)..=(channel, u64::MAX))
            .take_while(|(_, kept)| kept.end() <= first)
            .map(|(key, _)| *key)
            .collect();
        for key in &gone {
            *bytes -= chunks.remove(key).map_or(0, |kept| size_of(&kept));
        }
        // Places of what is gone are passed over; all are looked at only once there are many of them.
        if order.len() > 2 * chunks.len() + STALE_PLACES {
            order.retain(|key| chunks.contains_key(key));
        }
    }
}

fn size_of<T>(kept: &Kept<T>) -> usize {
    CHUNK_BYTES + kept.records.iter().map(|record| record.len() + RECORD_BYTES).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(base: u64, records: usize) -> Kept<()> {
        Kept { base, records: vec![Bytes::from(vec![0; 100 - RECORD_BYTES]); records], after: () }
    }

    #[test]
    fn what_is_larger_than_all_that_may_be_kept_drives_nothing_out() {
        let recent = Recent::new(200 + CHUNK_BYTES);
        recent.keep(1, kept(0, 2));

        recent.keep(1, kept(2, 3));

        assert!(recent.find(1, 1).is_some() && recent.find(1, 2).is_none());
    }

    #[test]
    fn what_was_given_up_is_kept_no_more_and_leaves_its_place() {
        let recent = Recent::new(1 << 20);
        (0..5_000).for_each(|base| recent.keep(1, kept(base, 1)));

        recent.forget_before(1, 4_999);

        let state = recent.state.lock();
        assert_eq!((state.chunks.len(), state.order.len(), state.bytes), (1, 1, 100 + CHUNK_BYTES));
    }

    #[test]
    fn the_oldest_chunk_of_any_channel_goes_first() {
        let recent = Recent::new(500 + 3 * CHUNK_BYTES);
        recent.keep(1, kept(0, 2));
        recent.keep(2, kept(0, 2));
        recent.keep(1, kept(2, 1));
        let has = |channel, position| recent.find(channel, position).is_some();
        assert!(has(1, 1) && has(2, 0) && has(1, 2) && !has(1, 3) && !has(3, 0));

        recent.keep(2, kept(2, 1));

        assert!(!has(1, 1) && has(2, 0) && has(1, 2) && has(2, 2));
        recent.forget(2);
        assert!(!has(2, 0) && has(1, 2));
        assert_eq!(recent.state.lock().bytes, 100 + CHUNK_BYTES);
    }
}
