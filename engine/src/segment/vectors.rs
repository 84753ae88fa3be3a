//! The stored form of a vector field: a head of 64 bytes, then the rows.
//!
//! Version 1, all numbers little-endian: magic `RKVC`, version `u32`, field `i64`, rows `u64`, dimension `u32`, CRC-32 of
//! the rows `u32`, zeros up to byte 60, CRC-32 of the 60 bytes before it; from byte 64 on the components, `f32`, row after
//! row without gaps, so that every row is as aligned as its length allows.
//!
//! Version 2 is for other vectors than those of numbers: byte 32 is their kind. 1, bits: from byte 64 on the rows, eight bits
//! a byte. 2, sparse: the dimension is 0; from byte 64 on the end of each row `u64`, then the indices `u32`, then the values
//! `f32`.

use bytes::{BufMut, Bytes, BytesMut};

use super::object::put_values;
use crate::base::FieldId;
use crate::index::{BitBlock, Block, SparseBlock, VectorBlock};
use crate::model::{ColumnData, SparseRows};

const MAGIC: [u8; 4] = *b"RKVC";
const VERSION: u32 = 1;
/// The version of other kinds than numbers.
const VERSION_OF_KINDS: u32 = 2;
const BITS: u8 = 1;
const SPARSE: u8 = 2;
const HEAD_BYTES: usize = 64;

/// Why bytes are not a stored vector field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Damaged(&'static str),
    TooNew(u32),
}

/// The object for the vectors of `field` in a column; empty for a column of something else.
pub(super) fn encode(field: FieldId, column: &ColumnData) -> Bytes {
    let (version, kind, dim) = match column {
        ColumnData::FloatVector { dim, .. } => (VERSION, 0, *dim),
        ColumnData::BinaryVector { dim, .. } => (VERSION_OF_KINDS, BITS, *dim),
        _ => (VERSION_OF_KINDS, SPARSE, 0),
    };
    let mut out = BytesMut::with_capacity(HEAD_BYTES + column.memory_bytes());
    out.put_slice(&MAGIC);
    out.put_u32_le(version);
    out.put_i64_le(field.0);
    out.put_u64_le(column.len() as u64);
    out.put_u32_le(dim as u32);
    out.put_bytes(0, HEAD_BYTES - out.len());
    out[32] = kind;
    match column {
        ColumnData::FloatVector { values, .. } => put_values(&mut out, values, f32::to_le_bytes),
        ColumnData::BinaryVector { bytes, .. } => out.extend_from_slice(bytes),
        ColumnData::SparseVector(rows) => {
            let (indices, values, ends) = rows.parts();
            put_values(&mut out, ends, u64::to_le_bytes);
            put_values(&mut out, indices, u32::to_le_bytes);
            put_values(&mut out, values, f32::to_le_bytes);
        }
        _ => {}
    }
    let rows_crc = crc32fast::hash(&out[HEAD_BYTES..]);
    out[28..32].copy_from_slice(&rows_crc.to_le_bytes());
    let head_crc = crc32fast::hash(&out[..60]);
    out[60..64].copy_from_slice(&head_crc.to_le_bytes());
    out.freeze()
}

/// The vectors in an object of `field`.
pub(super) fn decode(field: FieldId, body: &[u8]) -> Result<Block, Wrong> {
    let (head, rows) =
        body.split_first_chunk::<HEAD_BYTES>().ok_or(Wrong::Damaged("it is shorter than its head"))?;
    if head[..4] != MAGIC {
        return Err(Wrong::Damaged("it does not begin as vectors do"));
    }
    let version = u32_at(head, 4);
    if version > VERSION_OF_KINDS {
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
    let no_rows = |_| Wrong::Damaged("it has no whole rows");
    let block = match (version, head[32]) {
        (VERSION, _) => VectorBlock::from_le_bytes(dim, rows).map(Block::Dense).map_err(no_rows)?,
        (_, BITS) => BitBlock::from_chunks(dim, [rows]).map(Block::Bits).map_err(no_rows)?,
        (_, SPARSE) => {
            let rows = sparse(u64_at(head, 16), rows).ok_or(Wrong::Damaged("it has no whole rows"))?;
            SparseBlock::new(rows).map(Block::Sparse).map_err(no_rows)?
        }
        _ => return Err(Wrong::Damaged("its vectors are of an unknown kind")),
    };
    if block.rows() as u64 != u64_at(head, 16) {
        return Err(Wrong::Damaged("it has another number of rows than its head says"));
    }
    Ok(block)
}

/// So many sparse rows.
fn sparse(count: u64, body: &[u8]) -> Option<SparseRows> {
    let (ends, pairs) = body.split_at_checked(usize::try_from(count).ok()?.checked_mul(8)?)?;
    let ends: Vec<u64> = ends.as_chunks::<8>().0.iter().map(|end| u64::from_le_bytes(*end)).collect();
    let (indices, values) = pairs.split_at(pairs.len() / 2);
    if !indices.len().is_multiple_of(4) || indices.len() != values.len() {
        return None;
    }
    let words = |bytes: &[u8]| -> Vec<u32> {
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
    };
    SparseRows::from_parts(words(indices), words(values).into_iter().map(f32::from_bits).collect(), ends)
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
    use crate::model::{SparseVector, Value};

    fn dense(dim: usize, values: &[f32]) -> ColumnData {
        ColumnData::FloatVector { dim, values: values.to_vec() }
    }

    fn others() -> [ColumnData; 2] {
        let bits = ColumnData::BinaryVector { dim: 24, bytes: vec![1, 2, 3, 4, 5, 6] };
        let mut sparse = ColumnData::SparseVector(SparseRows::new());
        for (indices, values) in [(vec![2, 7], vec![0.5, 1.0]), (vec![], vec![]), (vec![7], vec![2.0])] {
            sparse.push(&Value::Sparse(SparseVector { indices, values })).unwrap();
        }
        [bits, sparse]
    }

    /// The head of version, rows, dimension and kind, without its checksum, and the rows.
    fn object(version: u8, count: u8, dim: u8, kind: u8, rows: &[u8]) -> Vec<u8> {
        let mut all = b"RKVC\x01\0\0\0\x65\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x02\0\0\0".to_vec();
        (all[4], all[16], all[24]) = (version, count, dim);
        all.extend(crc32fast::hash(rows).to_le_bytes());
        all.push(kind);
        all.extend([0; 27]);
        all.extend(crc32fast::hash(&all).to_le_bytes());
        all.extend(rows);
        all
    }

    #[test]
    fn the_format_is_this() {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let [bits, sparse] = others();

        let rows = words(&[0x3f80_0000, 0xc000_0000, 0x3f00_0000, 0]);
        assert_eq!(encode(FieldId(101), &dense(2, &[1.0, -2.0, 0.5, 0.0])), object(1, 2, 2, 0, &rows));
        assert_eq!(encode(FieldId(101), &bits), object(2, 2, 24, 1, &[1, 2, 3, 4, 5, 6]));
        let rows = words(&[2, 0, 2, 0, 3, 0, 2, 7, 7, 0x3f00_0000, 0x3f80_0000, 0x4000_0000]);
        assert_eq!(encode(FieldId(101), &sparse), object(2, 3, 0, 2, &rows));
    }

    #[test]
    fn what_was_written_is_read() {
        for column in [dense(3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])].iter().chain(&others()) {
            let block = decode(FieldId(7), &encode(FieldId(7), column)).unwrap();

            let mut rows = block.no_rows();
            (0..block.rows()).for_each(|row| assert!(block.try_push_row(row, &mut rows)));
            assert_eq!(&rows, column);
        }
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        for column in [dense(2, &[1.0, 2.0, 3.0, 4.0])].iter().chain(&others()) {
            let whole = encode(FieldId(7), column);
            for at in 0..whole.len() {
                let mut damaged = whole.to_vec();
                damaged[at] ^= 0x10;
                assert!(decode(FieldId(7), &damaged).is_err(), "byte {at}");
                assert!(decode(FieldId(7), &whole[..at]).is_err(), "cut at {at}");
            }
            assert!(decode(FieldId(8), &whole).is_err());
        }
    }
}
