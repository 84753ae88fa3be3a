//! The stored form of a vector field: a head of 64 bytes, then the rows.
//!
//! Version 1, all numbers little-endian: magic `RKVC`, version `u32`, field `i64`, rows `u64`, dimension `u32`, CRC-32 of
//! the rows `u32`, zeros up to byte 60, CRC-32 of the 60 bytes before it; from byte 64 on the components, `f32`, row after
//! row without gaps, so that every row is as aligned as its length allows.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::object::put_values;
use crate::base::FieldId;
use crate::index::VectorBlock;

const MAGIC: [u8; 4] = *b"RKVC";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 64;

/// Why bytes are not a stored vector field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Damaged(&'static str),
    TooNew(u32),
}

/// The object for vectors of `field`: `values` are whole rows of `dim` components.
pub(super) fn encode(field: FieldId, dim: usize, values: &[f32]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + values.len() * 4);
    out.put_slice(&MAGIC);
    out.put_u32_le(VERSION);
    out.put_i64_le(field.0);
    out.put_u64_le((values.len() / dim.max(1)) as u64);
    out.put_u32_le(dim as u32);
    out.put_bytes(0, HEAD_BYTES - out.len());
    put_values(&mut out, values, f32::to_le_bytes);
    let rows_crc = crc32fast::hash(&out[HEAD_BYTES..]);
    out[28..32].copy_from_slice(&rows_crc.to_le_bytes());
    let head_crc = crc32fast::hash(&out[..60]);
    out[60..64].copy_from_slice(&head_crc.to_le_bytes());
    out.freeze()
}

/// The vectors in an object of `field`.
pub(super) fn decode(field: FieldId, body: &[u8]) -> Result<Arc<VectorBlock>, Wrong> {
    let (head, rows) =
        body.split_first_chunk::<HEAD_BYTES>().ok_or(Wrong::Damaged("it is shorter than its head"))?;
    if head[..4] != MAGIC {
        return Err(Wrong::Damaged("it does not begin as vectors do"));
    }
    let version = u32_at(head, 4);
    if version > VERSION {
        return Err(Wrong::TooNew(version));
    }
    if crc32fast::hash(&head[..60]) != u32_at(head, 60) {
        return Err(Wrong::Damaged("the checksum of its head is wrong"));
    }
    if crc32fast::hash(rows) != u32_at(head, 28) {
        return Err(Wrong::Damaged("the checksum of its rows is wrong"));
    }
    if u64_at(head, 8) != field.0.cast_unsigned() {
        return Err(Wrong::Damaged("it belongs to another field"));
    }
    let dim = u32_at(head, 24) as usize;
    let block = VectorBlock::from_le_bytes(dim, rows).map_err(|_| Wrong::Damaged("it has no whole rows"))?;
    if block.rows() as u64 != u64_at(head, 16) {
        return Err(Wrong::Damaged("it has another number of rows than its head says"));
    }
    Ok(block)
}

fn u32_at(head: &[u8; HEAD_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]))
}

fn u64_at(head: &[u8; HEAD_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_this() {
        let object = encode(FieldId(101), 2, &[1.0, -2.0, 0.5, 0.0]);

        let mut expected = b"RKVC\x01\0\0\0\x65\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0".to_vec();
        let rows = [0x3f80_0000_u32, 0xc000_0000, 0x3f00_0000, 0].map(u32::to_le_bytes).concat();
        expected.extend(crc32fast::hash(&rows).to_le_bytes());
        expected.extend([0; 28]);
        expected.extend(crc32fast::hash(&expected).to_le_bytes());
        expected.extend(rows);
        assert_eq!(object, expected);
    }

    #[test]
    fn what_was_written_is_read() {
        let block = decode(FieldId(7), &encode(FieldId(7), 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap();

        assert_eq!((block.dim(), block.rows()), (3, 2));
        assert_eq!(block.values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        let whole = encode(FieldId(7), 2, &[1.0, 2.0, 3.0, 4.0]);
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x10;
            assert!(decode(FieldId(7), &damaged).is_err(), "byte {at}");
            assert!(decode(FieldId(7), &whole[..at]).is_err(), "cut at {at}");
        }
        assert!(decode(FieldId(8), &whole).is_err());
    }
}
