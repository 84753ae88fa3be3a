//! Bytes of a Kafka message of the log. The header is the message's key, the payload its value.
//!
//! | bytes | what |
//! | --- | --- |
//! | 2 | `rk` |
//! | 1 | version of this layout, 1 |
//! | 1 | kind |
//! | 8 | term of the writer |
//! | 8 | position |
//! | 4 | which piece of the record this is, from 0 |
//! | 4 | number of pieces of the record |
//! | 4 | CRC-32 of the header before it and of the payload, begun with the CRC-32 of the channel's name |
//!
//! Numbers are little endian. The name in the checksum tells a message of another channel.

use bytes::Bytes;

/// Length of a header. Unit: bytes.
pub(super) const HEADER_BYTES: usize = 32;

/// A record longer than this is cut into pieces, so that any broker's limit of messages (1 MB unless lowered) holds.
/// Unit: bytes.
pub(super) const PIECE_BYTES: usize = 960_000;

const MAGIC: [u8; 2] = *b"rk";
const VERSION: u8 = 1;
const CRC_AT: usize = HEADER_BYTES - 4;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record, or a piece of one.
    Record,
    /// A writer opened the channel; its first record gets `position`. Written inside the writer's fence, so exact.
    Opened,
    /// Records were given up when the next position was at least `position`. Written outside any fence, so a bound.
    Kept,
}

/// What is known of a message besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: Kind,
    pub term: u64,
    pub position: u64,
    pub piece: u32,
    pub pieces: u32,
}

/// A message on its way to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub header: [u8; HEADER_BYTES],
    pub payload: Bytes,
}

impl Header {
    /// A header of a message that is no record.
    pub fn note(kind: Kind, term: u64, position: u64) -> Self {
        Self { kind, term, position, piece: 0, pieces: 1 }
    }

    /// The lowest position that this message and those after it can have.
    pub fn begins_at(&self) -> u64 {
        match self.kind {
            Kind::Record if self.piece > 0 => self.position.saturating_add(1),
            Kind::Record | Kind::Opened | Kind::Kept => self.position,
        }
    }

    /// The message of this header and `payload`, on the channel whose name has the checksum `channel_crc`.
    pub fn message(self, channel_crc: u32, payload: Bytes) -> Message {
        let mut header = [0; HEADER_BYTES];
        header[0..2].copy_from_slice(&MAGIC);
        header[2] = VERSION;
        header[3] = match self.kind {
            Kind::Record => 0,
            Kind::Opened => 1,
            Kind::Kept => 2,
        };
        header[4..12].copy_from_slice(&self.term.to_le_bytes());
        header[12..20].copy_from_slice(&self.position.to_le_bytes());
        header[20..24].copy_from_slice(&self.piece.to_le_bytes());
        header[24..28].copy_from_slice(&self.pieces.to_le_bytes());
        let crc = checksum(channel_crc, &header, &payload);
        header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        Message { header, payload }
    }

    /// What a message says, once its checksum was found right; else what is wrong with it.
    pub fn decode(channel_crc: u32, key: Option<&[u8]>, payload: &[u8]) -> Result<Self, &'static str> {
        let header: [u8; HEADER_BYTES] =
            key.and_then(|key| key.try_into().ok()).ok_or("the message was not written by this log")?;
        if header[0..2] != MAGIC {
            return Err("the message was not written by this log");
        }
        if u32::from_le_bytes(array(&header, CRC_AT)) != checksum(channel_crc, &header, payload) {
            return Err("the checksum is wrong");
        }
        if header[2] != VERSION {
            return Err("the version of the message is not known");
        }
        let kind = match header[3] {
            0 => Kind::Record,
            1 => Kind::Opened,
            2 => Kind::Kept,
            _ => return Err("the kind of the message is not known"),
        };
        Ok(Self {
            kind,
            term: u64::from_le_bytes(array(&header, 4)),
            position: u64::from_le_bytes(array(&header, 12)),
            piece: u32::from_le_bytes(array(&header, 20)),
            pieces: u32::from_le_bytes(array(&header, 24)),
        })
    }
}

/// The messages of the record at `position`, in order.
pub(super) fn cut(channel_crc: u32, term: u64, position: u64, payload: &Bytes) -> Vec<Message> {
    let count = payload.len().div_ceil(PIECE_BYTES).max(1);
    // A payload is at most `MAX_PAYLOAD_BYTES`, so the number of pieces is small.
    let pieces = u32::try_from(count).unwrap_or(u32::MAX);
    let piece = |piece: u32| {
        let begin = piece as usize * PIECE_BYTES;
        let end = payload.len().min(begin + PIECE_BYTES);
        let header = Header { kind: Kind::Record, term, position, piece, pieces };
        header.message(channel_crc, payload.slice(begin..end))
    };
    (0..pieces).map(piece).collect()
}

fn checksum(channel_crc: u32, header: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(channel_crc);
    hasher.update(&header[..CRC_AT]);
    hasher.update(payload);
    hasher.finalize()
}

fn array<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|index| header[at + index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_does_not_change_by_accident() {
        let header = Header { kind: Kind::Opened, term: 2, position: 3, piece: 4, pieces: 5 };
        let message = header.message(7, Bytes::from_static(b"payload"));

        let golden =
            [0x72, 0x6b, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0];
        assert_eq!(message.header[..CRC_AT], golden);
        assert_eq!(Header::decode(7, Some(&message.header), b"payload"), Ok(header));
    }

    #[test]
    fn a_large_record_is_cut_and_a_small_one_is_not() {
        let large = Bytes::from(vec![1; PIECE_BYTES * 2 + 1]);
        let lengths = cut(0, 1, 9, &large).iter().map(|message| message.payload.len()).collect::<Vec<_>>();
        assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, 1]);
        assert_eq!(cut(0, 1, 9, &Bytes::new()).len(), 1);
        assert_eq!(cut(0, 1, 9, &large.slice(..PIECE_BYTES)).len(), 1);
    }

    proptest! {
        #[test]
        fn no_flipped_bit_is_served(at in 0..HEADER_BYTES + 5, bit in 0..8) {
            let header = Header { kind: Kind::Record, term: 9, position: 77, piece: 0, pieces: 1 };
            let Message { mut header, payload } = header.message(3, Bytes::from_static(b"bytes"));
            let mut payload = payload.to_vec();
            match header.get_mut(at) {
                Some(byte) => *byte ^= 1u8 << bit,
                None => payload[at - HEADER_BYTES] ^= 1u8 << bit,
            }

            prop_assert!(Header::decode(3, Some(&header), &payload).is_err());
        }
    }

    #[test]
    fn a_message_of_another_channel_is_refused() {
        let message = Header::note(Kind::Kept, 1, 1).message(1, Bytes::new());
        assert_eq!(Header::decode(2, Some(&message.header), b""), Err("the checksum is wrong"));
        assert_eq!(Header::decode(1, None, b""), Err("the message was not written by this log"));
    }
}
