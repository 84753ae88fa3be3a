//! Which chunks of a channel count: the pure rules that every reader and every owner applies.
//!
//! Looking at the numbers one after the other from the boundary on:
//! - a fence with a higher term than all before, linked to the last chunk that counts, counts and begins its term;
//! - records of the term's own writer, linked to the last chunk that counts, count;
//! - a chunk with a smaller term than the highest so far is stale, whoever wrote it: it does not count;
//! - anything else cannot have been written by a sound owner.

use super::chunk::{Body, HEADER_BYTES, Header, What};
use super::names::Life;

/// Most chunks that any version of a writer has under way. So many numbers after a fence, chunks of the owner before
/// may still land.
pub(super) const MAX_PIPELINE: u64 = 8;

/// How far somebody has looked, and what counted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Chain {
    /// The last number looked at; 0 before the first.
    pub sequence: u64,
    /// Number of the last chunk that counts; 0 for none.
    pub live: u64,
    /// Hash of its header.
    pub link: u128,
    /// The highest term so far; without meaning while `live` is 0.
    pub term: u64,
    /// Whose term that is.
    pub writer: u128,
    /// Number of the term's fence.
    pub began: u64,
    /// The position after the last record that counts.
    pub next: u64,
}

/// What a chunk is to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It counts; this is the chain with it.
    Counts(Chain),
    /// It does not count; this is the chain after it.
    Stale(Chain),
    /// The channel's life ends with it.
    Ends,
    /// No owner wrote this here, for this reason.
    Broken(&'static str),
}

/// What a writer learns from a chunk that has the number it wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the writer's own.
    Own,
    /// It does not count: the next number is to be tried.
    Stale,
    /// It belongs to a newer owner with this term.
    Fenced(u64),
    /// The channel was removed.
    Removed,
}

impl Chain {
    /// Before the first chunk.
    pub const START: Self = Self { sequence: 0, live: 0, link: 0, term: 0, writer: 0, began: 0, next: 0 };

    /// The highest term so far; `None` before the first.
    pub fn term(&self) -> Option<u64> {
        (self.live > 0).then_some(self.term)
    }

    /// Whether `sequence` is so soon after the term's fence that a chunk of the owner before may have had it.
    pub fn is_early(&self, sequence: u64) -> bool {
        sequence <= self.began + MAX_PIPELINE
    }

    /// How many chunks an owner may have under way, of which the next follows this chain.
    pub fn slots(&self, pipeline: u64) -> u64 {
        // A stale chunk in its way moves a chunk to the next number, so there must be none behind it.
        if self.is_early(self.sequence + 1) { 1 } else { pipeline.clamp(1, MAX_PIPELINE) }
    }

    /// What the chunk with the next number is.
    pub fn step(&self, header: &Header, life: &Life) -> Step {
        let stale = Self { sequence: header.sequence, ..*self };
        let linked = header.previous == self.live && header.link == self.link && header.base == self.next;
        match header.what {
            What::Removal if linked => return Step::Ends,
            What::Removal => return Step::Broken("a removal is not linked to the chunk before it"),
            What::Fence if self.term().is_some_and(|term| header.term <= term) => return Step::Stale(stale),
            What::Records if self.term().is_some_and(|term| header.term < term) => return Step::Stale(stale),
            What::Records if self.term() != Some(header.term) => {
                return Step::Broken("its term begins without a fence");
            }
            What::Records if self.writer != header.writer => return Step::Broken("its term is another's"),
            What::Fence | What::Records => {}
        }
        if !linked {
            return Step::Broken("it is not linked to the chunk before it");
        }
        Step::Counts(self.with(header, life))
    }

    /// The chain with a chunk that counts.
    pub fn with(&self, header: &Header, life: &Life) -> Self {
        Self {
            sequence: header.sequence,
            live: header.sequence,
            link: header.hash(life),
            term: header.term,
            writer: header.writer,
            began: if header.what == What::Fence { header.sequence } else { self.began },
            next: header.end(),
        }
    }

    /// The header of a chunk with `body` that would come next and count, if its term and writer are the chain's or
    /// it begins a higher term.
    pub fn following(&self, what: What, term: u64, writer: u128, body: &Body, written_ms: u64) -> Header {
        Header {
            what,
            sequence: self.sequence + 1,
            term,
            writer,
            previous: self.live,
            link: self.link,
            base: self.next,
            count: body.count,
            body_bytes: body.bytes,
            body_hash: body.hash,
            written_ms,
        }
    }
}

impl Step {
    /// Whether the chunk with this header may be one that a zombie wrote under a freed number, so that who reads it believes
    /// it only above the boundary.
    pub fn is_doubtful(&self, header: &Header) -> bool {
        match self {
            Self::Counts(chain) => header.what != What::Records || chain.is_early(header.sequence),
            Self::Stale(_) => false,
            Self::Ends | Self::Broken(_) => true,
        }
    }
}

/// Whether the chunk `sequence`, of this length, goes when what lies up to the number `last` was given up: fences and
/// removals, which are headers only, stay for ever.
pub(super) fn is_freed(sequence: u64, size_bytes: u64, last: u64) -> bool {
    sequence <= last && size_bytes != HEADER_BYTES as u64
}

/// What the writer of `wanted` learns from `found`, which has the same number.
pub(super) fn judge(found: &Header, wanted: &Header) -> Verdict {
    if found == wanted {
        Verdict::Own
    } else if found.what == What::Removal {
        Verdict::Removed
    } else if found.term < wanted.term {
        Verdict::Stale
    } else {
        // The same term from another writer would be a second owner; then this one gives way, too.
        Verdict::Fenced(found.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ChannelName;
    use bytes::Bytes;

    fn life() -> Life {
        Life::new(&ChannelName("c".into()), 0)
    }

    fn fence(chain: &Chain, term: u64, writer: u128) -> Header {
        chain.following(What::Fence, term, writer, &Body::empty(), 0)
    }

    fn records(chain: &Chain, count: usize) -> Header {
        let body = Body::new(vec![Bytes::from("x"); count]);
        chain.following(What::Records, chain.term, chain.writer, &body, 0)
    }

    fn counts(chain: &Chain, header: &Header) -> Chain {
        match chain.step(header, &life()) {
            Step::Counts(chain) => chain,
            step @ (Step::Stale(_) | Step::Ends | Step::Broken(_)) => panic!("{step:?}"),
        }
    }

    #[test]
    fn a_zombies_chunks_behind_a_fence_do_not_count() {
        let old = counts(&Chain::START, &fence(&Chain::START, 1, 10));
        let lost = counts(&old, &records(&old, 2));
        let zombie = records(&lost, 3);

        let new = counts(&old, &fence(&old, 2, 20));

        assert_eq!(zombie.sequence, 3);
        let after = Chain { sequence: 3, ..new };
        assert_eq!(new.step(&zombie, &life()), Step::Stale(after));
        let own = counts(&after, &records(&after, 1));
        assert_eq!((own.sequence, own.live, own.next), (4, 4, 1));
    }

    #[test]
    fn what_no_owner_writes_is_broken() {
        let start = counts(&Chain::START, &fence(&Chain::START, 1, 10));
        let one = counts(&start, &records(&start, 1));
        let broken = |chain: &Chain, header: Header| {
            assert!(matches!(chain.step(&header, &life()), Step::Broken(_)), "{header:?}");
        };

        broken(&Chain::START, records(&start, 1));
        broken(&one, Header { link: 1, ..records(&one, 1) });
        broken(&one, Header { base: 5, ..records(&one, 1) });
        broken(&one, Header { previous: 1, ..records(&one, 1) });
        broken(&one, Header { writer: 11, ..records(&one, 1) });
        broken(&one, Header { term: 2, ..records(&one, 1) });
        broken(&one, Header { sequence: 3, ..fence(&start, 2, 20) });
    }

    #[test]
    fn a_taken_number_is_ones_own_stale_or_a_newer_owners() {
        let chain = counts(&Chain::START, &fence(&Chain::START, 5, 10));
        let wanted = records(&chain, 1);

        assert_eq!(judge(&wanted, &wanted), Verdict::Own);
        assert_eq!(judge(&Header { term: 4, ..wanted.clone() }, &wanted), Verdict::Stale);
        assert_eq!(judge(&fence(&chain, 6, 20), &wanted), Verdict::Fenced(6));
        assert_eq!(judge(&Header { writer: 11, ..wanted.clone() }, &wanted), Verdict::Fenced(5));
        assert_eq!(judge(&Header { what: What::Removal, ..wanted.clone() }, &wanted), Verdict::Removed);
    }
}
