//! Chunks that this process wrote lately, kept for readers in the same process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::chain::Chain;

/// What keeping one record costs besides its payload. Unit: bytes.
const RECORD_BYTES: usize = 32;

/// A durable chunk with records.
#[derive(Debug)]
pub(super) struct Kept {
    /// Position of the first record.
    pub base: u64,
    pub records: Vec<Bytes>,
    /// The chain with the chunk.
    pub chain: Chain,
}

/// The latest chunks of all channels within one budget; the oldest goes first, whichever channel it is of.
#[derive(Debug)]
pub(super) struct Recent {
    budget_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    chunks: BTreeMap<(u64, u64), Arc<Kept>>,
    order: VecDeque<(u64, u64)>,
    bytes: usize,
}

impl Recent {
    /// Keeps at most this much. Unit: bytes.
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, state: Mutex::default() }
    }

    /// Keeps a chunk of the channel that has this id in this process.
    pub fn keep(&self, channel: u64, kept: Kept) {
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

    /// The chunk with the record at `position`, if it is kept.
    pub fn find(&self, channel: u64, position: u64) -> Option<Arc<Kept>> {
        let state = self.state.lock();
        let (_, kept) = state.chunks.range((channel, 0)..=(channel, position)).next_back()?;
        (position < kept.chain.next).then(|| kept.clone())
    }

    /// Keeps nothing of this channel any more.
    pub fn forget(&self, channel: u64) {
        let mut state = self.state.lock();
        let State { chunks, order, bytes } = &mut *state;
        order.retain(|key| {
            let goes = key.0 == channel;
            if goes && let Some(gone) = chunks.remove(key) {
                *bytes -= size_of(&gone);
            }
            !goes
        });
    }
}

fn size_of(kept: &Kept) -> usize {
    kept.records.iter().map(|record| record.len() + RECORD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(base: u64, records: usize) -> Kept {
        let chain = Chain { next: base + records as u64, ..Chain::START };
        Kept { base, records: vec![Bytes::from(vec![0; 100 - RECORD_BYTES]); records], chain }
    }

    #[test]
    fn the_oldest_chunk_of_any_channel_goes_first() {
        let recent = Recent::new(500);
        recent.keep(1, kept(0, 2));
        recent.keep(2, kept(0, 2));
        recent.keep(1, kept(2, 1));
        let has = |channel, position| recent.find(channel, position).is_some();
        assert!(has(1, 1) && has(2, 0) && has(1, 2) && !has(1, 3) && !has(3, 0));

        recent.keep(2, kept(2, 1));

        assert!(!has(1, 1) && has(2, 0) && has(1, 2) && has(2, 2));
        recent.forget(2);
        assert!(!has(2, 0) && has(1, 2));
        assert_eq!(recent.state.lock().bytes, 100);
    }
}
