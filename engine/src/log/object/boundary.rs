//! The boundary of a channel: what was given up, and where those begin who look at the rest.
//!
//! Boundaries are numbered from 1 without gaps, each is written once and stays as long as the channel's life; the
//! newest counts. Positions and sequences never go back from one to the next.

use bytes::{BufMut as _, Bytes};
use xxhash_rust::xxh3::xxh3_128;

use super::chain::Chain;
use super::chunk::{u32_at, u64_at, u128_at};
use super::names::Life;

const MAGIC: [u8; 8] = *b"RKLOGBND";
const VERSION: u32 = 1;
const BOUNDARY_BYTES: usize = 128;

/// An owner notes where it is once in so many chunks.
pub(super) const WAYPOINT_EVERY: u64 = 256;

/// One boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Boundary {
    /// 0 for the one that stands for none.
    pub number: u64,
    /// The first position that can be read.
    pub first: u64,
    /// The chain at the last chunk that was given up: a number up to its `sequence` may have been freed.
    pub chain: Chain,
}

impl Boundary {
    /// Nothing was given up.
    pub const NONE: Self = Self { number: 0, first: 0, chain: Chain::START };

    /// Whether `sequence` was given up: there may have been another chunk, which was freed.
    pub fn has_given_up(&self, sequence: u64) -> bool {
        sequence <= self.chain.sequence
    }

    /// The note that the chain came by here. It has the bytes of a boundary, under a key of its own, and gives up nothing: whoever
    /// opens the channel begins to look here.
    pub fn waypoint(chain: Chain) -> Self {
        Self { number: chain.sequence / WAYPOINT_EVERY, first: chain.next, chain }
    }

    /// The object's bytes in `life`.
    pub fn encode(&self, life: &Life) -> Bytes {
        let mut bytes = Vec::with_capacity(BOUNDARY_BYTES);
        bytes.put_slice(&MAGIC);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(crc32fast::hash(life.channel.as_str().as_bytes()));
        bytes.put_u64_le(life.number);
        bytes.put_u64_le(self.number);
        bytes.put_u64_le(self.first);
        bytes.put_u64_le(self.chain.sequence);
        bytes.put_u64_le(self.chain.live);
        bytes.put_u128_le(self.chain.link);
        bytes.put_u64_le(self.chain.term);
        bytes.put_u128_le(self.chain.writer);
        bytes.put_u64_le(self.chain.next);
        bytes.put_u64_le(self.chain.began);
        let hash = xxh3_128(&bytes);
        bytes.put_u128_le(hash);
        bytes.into()
    }

    /// Boundary `number` of `life` from its object's bytes; otherwise why they are not that.
    pub fn decode(bytes: &[u8], life: &Life, number: u64) -> Result<Self, &'static str> {
        if bytes.len() != BOUNDARY_BYTES || bytes[..8] != MAGIC {
            return Err("it does not look like a boundary");
        }
        if u128_at(bytes, BOUNDARY_BYTES - 16) != xxh3_128(&bytes[..BOUNDARY_BYTES - 16]) {
            return Err("its hash is wrong");
        }
        if u32_at(bytes, 8) != VERSION {
            return Err("it has a format that this version does not know");
        }
        let chain = Chain {
            sequence: u64_at(bytes, 40),
            live: u64_at(bytes, 48),
            link: u128_at(bytes, 56),
            term: u64_at(bytes, 72),
            writer: u128_at(bytes, 80),
            next: u64_at(bytes, 96),
            began: u64_at(bytes, 104),
        };
        let boundary = Self { number: u64_at(bytes, 24), first: u64_at(bytes, 32), chain };
        if boundary.number != number || boundary.encode(life) != bytes {
            return Err("it belongs to another channel or place");
        }
        Ok(boundary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ChannelName;

    #[test]
    fn a_boundary_is_read_back_and_a_flipped_bit_is_found() {
        let life = Life::new(&ChannelName("c".into()), 1);
        let chain = Chain { sequence: 1, live: 2, link: 3, term: 4, writer: 5, began: 8, next: 6 };
        let boundary = Boundary { number: 9, first: 7, chain };
        let bytes = boundary.encode(&life);

        assert_eq!(Boundary::decode(&bytes, &life, 9), Ok(boundary));
        assert!(Boundary::decode(&bytes, &life, 8).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Boundary::decode(&damaged, &life, 9).is_err(), "bit {bit}");
        }
    }
}
