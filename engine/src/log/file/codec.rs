//! The bytes of a log file: a header, then records one after the other. All numbers are little-endian.
//!
//! File header, 36 bytes: magic `RKLOGSEG`, format version `u32`, CRC-32 of the channel's name `u32`, position of the
//! first record `u64`, term of the writer `u64`, CRC-32 of the 32 bytes before `u32`.
//!
//! Record: payload length `u32`, CRC-32 `u32`, position `u64`, term `u64`, durable `u64`, payload. The CRC starts from
//! the file header's, so that a record counts only in the file that it was written to, and covers everything but
//! itself. `durable` is the position before which all records were durable when this one was written: where such a
//! record is found, damage before that position is no torn tail.

use bytes::Bytes;

/// The format that this code writes and the only one so far.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"RKLOGSEG";

/// Length of a file's header. Unit: bytes.
pub(super) const FILE_HEADER_BYTES: usize = 36;
/// Length of a record without its payload. Unit: bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 32;

/// What a file's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    /// CRC-32 of the channel's name.
    pub channel_crc: u32,
    /// Position of the first record.
    pub base: u64,
    /// Term of the writer.
    pub term: u64,
}

impl FileHeader {
    /// The header's bytes.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(FILE_HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.channel_crc.to_le_bytes());
        bytes.extend_from_slice(&self.base.to_le_bytes());
        bytes.extend_from_slice(&self.term.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.into()
    }

    /// The CRC that the file's records start from.
    pub fn seed(&self) -> u32 {
        let encoded = self.encode();
        u32_at(&encoded, FILE_HEADER_BYTES - 4)
    }

    /// Whether `bytes` are this header, and if not, why.
    pub fn check(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let expected = self.encode();
        if bytes == expected {
            return Ok(());
        }
        Err(if bytes.len() < FILE_HEADER_BYTES {
            "the file header is incomplete"
        } else if bytes[..8] != MAGIC {
            "the file does not begin like a log file"
        } else if u32_at(bytes, FILE_HEADER_BYTES - 4) != crc32fast::hash(&bytes[..FILE_HEADER_BYTES - 4]) {
            "the file header's checksum is wrong"
        } else if u32_at(bytes, 8) != VERSION {
            "the file has a format that this version does not know"
        } else {
            "the file belongs to another channel, position or term"
        })
    }
}

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// Length of the payload. Unit: bytes.
    pub length: u32,
    /// The record's position.
    pub position: u64,
    /// Term of its writer.
    pub term: u64,
    /// Everything before this position was durable when the record was written.
    pub durable: u64,
}

impl RecordHeader {
    /// The header's bytes for `payload`, whose length it must have.
    pub fn encode(&self, seed: u32, payload: &[u8]) -> Bytes {
        let mut bytes = Vec::with_capacity(RECORD_HEADER_BYTES);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.crc(seed, payload).to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.term.to_le_bytes());
        bytes.extend_from_slice(&self.durable.to_le_bytes());
        bytes.into()
    }

    /// The header and checksum in the first bytes of `bytes`, unchecked; `None` if there are too few.
    pub fn decode(bytes: &[u8]) -> Option<(Self, u32)> {
        if bytes.len() < RECORD_HEADER_BYTES {
            return None;
        }
        let header = Self {
            length: u32_at(bytes, 0),
            position: u64_at(bytes, 8),
            term: u64_at(bytes, 16),
            durable: u64_at(bytes, 24),
        };
        Some((header, u32_at(bytes, 4)))
    }

    /// The checksum of a record with this header and `payload`.
    pub fn crc(&self, seed: u32, payload: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(seed);
        hasher.update(&self.length.to_le_bytes());
        hasher.update(&self.position.to_le_bytes());
        hasher.update(&self.term.to_le_bytes());
        hasher.update(&self.durable.to_le_bytes());
        hasher.update(payload);
        hasher.finalize()
    }
}

/// Whether `bytes`, which follow a bad record at `position`, prove that it was durable once: a whole record in them
/// was written when everything up to and with `position` was durable.
pub(super) fn proves_durable(bytes: &[u8], seed: u32, position: u64) -> bool {
    let starts = 0..bytes.len().saturating_sub(RECORD_HEADER_BYTES - 1);
    starts.into_iter().any(|start| {
        let Some((header, crc)) = RecordHeader::decode(&bytes[start..]) else { return false };
        // Cheap tests first: at most offsets they decide.
        if header.durable <= position || header.durable > header.position {
            return false;
        }
        let payload = &bytes[start + RECORD_HEADER_BYTES..];
        let payload = usize::try_from(header.length).ok().and_then(|length| payload.get(..length));
        payload.is_some_and(|payload| header.crc(seed, payload) == crc)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_of_header_and_record_do_not_change() {
        let file = FileHeader { channel_crc: 0x0102_0304, base: 5, term: 6 };
        let record = RecordHeader { length: 3, position: 7, term: 8, durable: 2 };

        assert_eq!(
            hex(&file.encode()),
            "524b4c4f47534547010000000403020105000000000000000600000000000000418902d1"
        );
        assert_eq!(
            hex(&record.encode(file.seed(), b"abc")),
            "030000001c79526c070000000000000008000000000000000200000000000000"
        );
    }

    #[test]
    fn a_header_of_another_file_is_told_from_a_damaged_one() {
        let header = FileHeader { channel_crc: 1, base: 2, term: 3 };
        let mut damaged = header.encode().to_vec();
        damaged[20] ^= 1;

        assert_eq!(header.check(&header.encode()), Ok(()));
        assert_eq!(header.check(&damaged), Err("the file header's checksum is wrong"));
        let other = FileHeader { base: 9, ..header };
        assert_eq!(
            header.check(&other.encode()),
            Err("the file belongs to another channel, position or term")
        );
    }

    #[test]
    fn only_a_record_written_after_the_sync_proves_that_a_bad_one_was_durable() {
        let seed = 77;
        let framed = |durable| {
            let header = RecordHeader { length: 2, position: 9, term: 1, durable };
            let mut bytes = vec![0xab; 13];
            bytes.extend_from_slice(&header.encode(seed, b"ok"));
            bytes.extend_from_slice(b"ok");
            bytes
        };

        assert!(!proves_durable(&framed(5), seed, 5), "the same batch");
        assert!(proves_durable(&framed(6), seed, 5), "a later batch");
        assert!(!proves_durable(&framed(6), seed + 1, 5), "another file");
    }
}
