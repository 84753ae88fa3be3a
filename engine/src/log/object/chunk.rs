//! A chunk's bytes.
//!
//! A header of fixed length, then for each record its length, then the payloads one after the other. The header has a
//! hash of the rest and ends with a hash of itself; the next chunk carries that one, so headers alone show whether a
//! chain is whole. A chunk without records is a header only, and nothing else has that length.

use bytes::{BufMut as _, Bytes};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::names::Life;

const MAGIC: [u8; 8] = *b"RKLOGOBJ";
const VERSION: u32 = 1;

/// Length of a header. Unit: bytes.
pub(super) const HEADER_BYTES: usize = 144;

/// What frames a record. Unit: bytes.
pub(super) const FRAMING_BYTES: usize = 4;

/// What a chunk is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Records.
    Records,
    /// The beginning of a term; no records.
    Fence,
    /// The end of the channel's life; no records.
    Removal,
}

/// What a chunk's header says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Header {
    pub what: What,
    pub sequence: u64,
    pub term: u64,
    /// Drawn at random by each opening.
    pub writer: u128,
    /// Number of the chunk before this one in the chain; 0 for none.
    pub previous: u64,
    /// Hash of that chunk's header.
    pub link: u128,
    /// Position of the first record, or of the next to come if there is none.
    pub base: u64,
    /// How many records.
    pub count: u32,
    /// Length of what follows the header. Unit: bytes.
    pub body_bytes: u64,
    pub body_hash: u128,
    /// When the writer made it. Unix milliseconds.
    pub written_ms: u64,
}

impl Header {
    /// The header's bytes in `life`.
    pub fn encode(&self, life: &Life) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_slice(&MAGIC);
        bytes.put_u32_le(VERSION);
        bytes.put_u32_le(match self.what {
            What::Records => 0,
            What::Fence => 1,
            What::Removal => 2,
        });
        bytes.put_u32_le(crc32fast::hash(life.channel.as_str().as_bytes()));
        bytes.put_u32_le(self.count);
        bytes.put_u64_le(life.number);
        bytes.put_u64_le(self.sequence);
        bytes.put_u64_le(self.term);
        bytes.put_u128_le(self.writer);
        bytes.put_u64_le(self.previous);
        bytes.put_u128_le(self.link);
        bytes.put_u64_le(self.base);
        bytes.put_u64_le(self.body_bytes);
        bytes.put_u64_le(self.written_ms);
        bytes.put_u128_le(self.body_hash);
        let hash = xxh3_128(&bytes);
        bytes.put_u128_le(hash);
        bytes
    }

    /// The hash at the header's end, which the next chunk links to.
    pub fn hash(&self, life: &Life) -> u128 {
        u128_at(&self.encode(life), HEADER_BYTES - 16)
    }

    /// The header of the chunk at `sequence` of `life`, which `bytes` begin with; otherwise why they do not.
    pub fn decode(bytes: &[u8], life: &Life, sequence: u64) -> Result<Self, &'static str> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Err("the header is incomplete") };
        if bytes[..8] != MAGIC {
            return Err("it does not begin like a chunk");
        }
        if u128_at(bytes, HEADER_BYTES - 16) != xxh3_128(&bytes[..HEADER_BYTES - 16]) {
            return Err("the header's hash is wrong");
        }
        if u32_at(bytes, 8) != VERSION {
            return Err("it has a format that this version does not know");
        }
        let header = Self {
            what: match u32_at(bytes, 12) {
                0 => What::Records,
                1 => What::Fence,
                2 => What::Removal,
                _ => return Err("it is of a sort that this version does not know"),
            },
            count: u32_at(bytes, 20),
            sequence: u64_at(bytes, 32),
            term: u64_at(bytes, 40),
            writer: u128_at(bytes, 48),
            previous: u64_at(bytes, 64),
            link: u128_at(bytes, 72),
            base: u64_at(bytes, 88),
            body_bytes: u64_at(bytes, 96),
            written_ms: u64_at(bytes, 104),
            body_hash: u128_at(bytes, 112),
        };
        if header.sequence != sequence || header.encode(life) != bytes {
            return Err("it belongs to another channel or place");
        }
        Ok(header)
    }

    /// The position after the last record.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.count))
    }
}

/// The records of a chunk, ready to be put behind a header.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub count: u32,
    pub bytes: u64,
    pub hash: u128,
    payloads: Vec<Bytes>,
}

impl Body {
    /// The body with these records: at most 2^32 - 1, each within the limit of a log.
    pub fn new(payloads: Vec<Bytes>) -> Self {
        let mut hasher = Xxh3::new();
        let mut bytes = 0;
        for payload in &payloads {
            hasher.update(&length_of(payload).to_le_bytes());
            bytes += (payload.len() + FRAMING_BYTES) as u64;
        }
        for payload in &payloads {
            hasher.update(payload);
        }
        let count = u32::try_from(payloads.len()).unwrap_or(u32::MAX);
        Self { count, bytes, hash: hasher.digest128(), payloads }
    }

    /// No records.
    pub fn empty() -> Self {
        Self::new(Vec::new())
    }

    /// The records.
    pub fn payloads(&self) -> &[Bytes] {
        &self.payloads
    }

    /// The whole object with `header`, which is this body's, before it.
    pub fn object(&self, header: &Header, life: &Life) -> Bytes {
        let mut object = header.encode(life);
        object.reserve_exact(usize::try_from(self.bytes).unwrap_or_default());
        for payload in &self.payloads {
            object.put_u32_le(length_of(payload));
        }
        for payload in &self.payloads {
            object.put_slice(payload);
        }
        object.into()
    }
}

fn length_of(payload: &Bytes) -> u32 {
    u32::try_from(payload.len()).unwrap_or(u32::MAX)
}

/// The records in `object`, whose header is `header`; otherwise why they are not what was written.
pub(super) fn records(object: &Bytes, header: &Header) -> Result<Vec<Bytes>, &'static str> {
    let body = object.slice(HEADER_BYTES.min(object.len())..);
    if body.len() as u64 != header.body_bytes {
        return Err("its length is wrong");
    }
    if xxh3_128(&body) != header.body_hash {
        return Err("the hash of its records is wrong");
    }
    let count = usize::try_from(header.count).unwrap_or(usize::MAX);
    let mut at = count.saturating_mul(FRAMING_BYTES);
    if at > body.len() {
        return Err("it has no room for its lengths");
    }
    let mut records = Vec::with_capacity(count);
    for number in 0..count {
        let length = usize::try_from(u32_at(&body, number * FRAMING_BYTES)).unwrap_or(usize::MAX);
        let end = at.saturating_add(length);
        if end > body.len() {
            return Err("a record is longer than the chunk");
        }
        records.push(body.slice(at..end));
        at = end;
    }
    if at == body.len() { Ok(records) } else { Err("it goes on after its records") }
}

/// The four bytes at `at` as a number. `bytes` has them.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The eight bytes at `at` as a number. `bytes` has them.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The sixteen bytes at `at` as a number. `bytes` has them.
pub(super) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    bytes[at..at + 16].iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ChannelName;

    fn chunk() -> (Life, Header, Bytes) {
        let life = Life::new(&ChannelName("c".into()), 1);
        let body = Body::new(vec![Bytes::from("abc"), Bytes::new(), Bytes::from("de")]);
        let header = Header {
            what: What::Records,
            sequence: 7,
            term: 3,
            writer: 5,
            previous: 6,
            link: 9,
            base: 20,
            count: body.count,
            body_bytes: body.bytes,
            body_hash: body.hash,
            written_ms: 1_000,
        };
        let object = body.object(&header, &life);
        (life, header, object)
    }

    fn read(life: &Life, object: &Bytes) -> Result<Vec<Bytes>, &'static str> {
        records(object, &Header::decode(object, life, 7)?)
    }

    #[test]
    fn a_chunk_is_read_back() {
        let (life, header, object) = chunk();

        assert_eq!(Header::decode(&object, &life, 7), Ok(header.clone()));
        assert_eq!(read(&life, &object), Ok(vec![Bytes::from("abc"), Bytes::new(), Bytes::from("de")]));
        assert_eq!(header.end(), 23);
    }

    #[test]
    fn a_flipped_bit_and_a_missing_byte_are_always_found() {
        let (life, _, object) = chunk();
        for bit in 0..object.len() * 8 {
            let mut damaged = object.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&life, &damaged.into()).is_err(), "bit {bit}");
        }
        for length in 0..object.len() {
            assert!(read(&life, &object.slice(..length)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_chunk_at_another_place_is_not_taken_for_this_one() {
        let (life, _, object) = chunk();
        let why = Err("it belongs to another channel or place");

        assert_eq!(Header::decode(&object, &life, 8), why);
        assert_eq!(Header::decode(&object, &Life::new(&life.channel, 2), 7), why);
        assert_eq!(Header::decode(&object, &Life::new(&ChannelName("d".into()), 1), 7), why);
    }

    #[test]
    fn a_chunk_without_records_is_as_long_as_a_header() {
        let (life, header, _) = chunk();
        let body = Body::empty();
        let header = Header { count: 0, body_bytes: 0, body_hash: body.hash, ..header };

        assert_eq!(body.object(&header, &life).len(), HEADER_BYTES);
    }
}
