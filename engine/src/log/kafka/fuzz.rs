//! What is promised of the bytes of messages.

use bytes::Bytes;

use super::codec::{HEADER_BYTES, Header, Kind, cut};

/// Any bytes are no message, or the one message that would be written; also where their checksum is right. A record that is cut
/// into messages is those put together.
pub fn message(data: &[u8]) {
    let Some((key, payload)) = data.split_at_checked(HEADER_BYTES) else { return };
    if let Ok(header) = Header::decode(7, Some(key), payload) {
        assert_eq!(header.message(7, Bytes::copy_from_slice(payload)).header, *key);
    }
    let at = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte]));
    let kind = [Kind::Record, Kind::Opened, Kind::Kept][usize::from(key[0] % 3)];
    let header = Header { kind, term: at(0), position: at(8), piece: at(16) as u32, pieces: at(24) as u32 };
    let message = header.message(7, Bytes::copy_from_slice(payload));
    assert_eq!(Header::decode(7, Some(&message.header), payload), Ok(header));
    let _ = header.begins_at();
    let pieces = cut(7, at(0), at(8), &message.payload);
    let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.payload.to_vec()).collect();
    assert_eq!(joined, payload);
}

/// Inputs for [`message`] to begin with.
pub fn messages() -> Vec<Vec<u8>> {
    let header = Header { kind: Kind::Record, term: 2, position: 3, piece: 0, pieces: 1 };
    let message = header.message(7, Bytes::from_static(b"payload"));
    vec![[&message.header[..], b"payload"].concat(), vec![0; HEADER_BYTES]]
}
