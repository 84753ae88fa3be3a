//! The stored form of a vector field: a head of 64 bytes, then the rows.
//!
//! Version 1, all numbers little-endian: magic `RKVC`, version `u32`, field `i64`, rows `u64`, dimension `u32`, CRC-32 of
//! the rows `u32`, zeros up to byte 60, CRC-32 of the 60 bytes before it; from byte 64 on the components, `f32`, row after
//! row without gaps, so that every row is as aligned as its length allows.
//!
//! Version 2 is for other vectors than those of numbers: byte 32 is their kind. 1, bits: from byte 64 on the rows, eight bits
//! a byte. 2, sparse: the dimension is 0; from byte 64 on the end of each row `u64`, then the indices `u32`, then the values
//! `f32`.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::object::put_values;
use crate::base::FieldId;
use crate::disk::{Reads, Scratch, ScratchFile};
use crate::index::{BitBlock, Block, Filling, SparseBlock, VectorBlock};
use crate::model::{ColumnData, SparseRows};

const MAGIC: [u8; 4] = *b"RKVC";
const VERSION: u32 = 1;
/// The version of other kinds than numbers.
const VERSION_OF_KINDS: u32 = 2;
const BITS: u8 = 1;
const SPARSE: u8 = 2;
const HEAD_BYTES: usize = 64;

/// Why bytes are not a stored vector field, or not where they are to be.
#[derive(Debug)]
pub(super) enum Wrong {
    Damaged(&'static str),
    TooNew(u32),
    /// The file that they are to lie in cannot be written.
    Scratch(io::Error),
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

/// What the head of an object says.
#[derive(Clone, Copy)]
struct Head {
    version: u32,
    kind: u8,
    rows: u64,
    dim: usize,
    rows_crc: u32,
}

impl Head {
    /// The head of an object of `field`.
    fn of(field: FieldId, head: &[u8; HEAD_BYTES]) -> Result<Self, Wrong> {
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
        if u64_at(head, 8) != field.0.cast_unsigned() {
            return Err(Wrong::Damaged("it belongs to another field"));
        }
        let (rows, dim) = (u64_at(head, 16), u32_at(head, 24) as usize);
        Ok(Self { version, kind: head[32], rows, dim, rows_crc: u32_at(head, 28) })
    }

    /// `block`, if it is what the head says.
    fn check(self, rows_crc: u32, block: Result<Block, crate::index::Error>) -> Result<Block, Wrong> {
        if rows_crc != self.rows_crc {
            return Err(Wrong::Damaged("the checksum of its rows is wrong"));
        }
        let block = block.map_err(|_| Wrong::Damaged("it has no whole rows"))?;
        if block.rows() as u64 != self.rows {
            return Err(Wrong::Damaged("it has another number of rows than its head says"));
        }
        Ok(block)
    }
}

/// The vectors in an object of `field`.
pub(super) fn decode(field: FieldId, body: &[u8]) -> Result<Block, Wrong> {
    let (head, rows) =
        body.split_first_chunk::<HEAD_BYTES>().ok_or(Wrong::Damaged("it is shorter than its head"))?;
    let head = Head::of(field, head)?;
    let block = match (head.version, head.kind) {
        (VERSION, _) => VectorBlock::from_le_bytes(head.dim, rows).map(Block::Dense),
        (_, BITS) => BitBlock::from_chunks(head.dim, [rows]).map(Block::Bits),
        (_, SPARSE) => {
            let rows = sparse(head.rows, rows).ok_or(Wrong::Damaged("it has no whole rows"))?;
            SparseBlock::new(rows).map(Block::Sparse)
        }
        _ => return Err(Wrong::Damaged("its vectors are of an unknown kind")),
    };
    head.check(crc32fast::hash(rows), block)
}

/// Vectors are to lie in a file, and are read in this way there.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    pub(super) scratch: Arc<Scratch>,
    pub(super) reads: Reads,
}

/// Where vectors go that come piece by piece.
enum Place {
    Memory(Filling),
    File(ScratchFile, Reads),
}

impl Place {
    fn of(bytes: usize, mapped: Option<&Mapped>) -> Result<Self, Wrong> {
        match mapped {
            None => Ok(Self::Memory(VectorBlock::filling(bytes))),
            Some(Mapped { scratch, reads }) => {
                scratch.file().map(|file| Self::File(file, *reads)).map_err(Wrong::Scratch)
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        match self {
            Self::Memory(filling) => filling.push(bytes).map_err(|_| Wrong::Damaged("it has no whole rows")),
            Self::File(file, _) => file.push(bytes).map_err(Wrong::Scratch),
        }
    }

    fn finish(self, dim: usize) -> Result<Result<Block, crate::index::Error>, Wrong> {
        Ok(match self {
            Self::Memory(filling) => filling.finish(dim).map(Block::Dense),
            Self::File(file, reads) => {
                VectorBlock::shared(dim, file.finish(reads).map_err(Wrong::Scratch)?).map(Block::Dense)
            }
        })
    }
}

/// The vectors of an object that comes piece by piece, so that no more than a piece is in memory besides them; mapped
/// they are not even that.
pub(super) struct Pieces {
    head: Head,
    /// Of the whole object so far.
    crc: crc32fast::Hasher,
    /// Of the rows so far.
    rows_crc: crc32fast::Hasher,
    place: Place,
}

impl Pieces {
    /// The object of `field`, of `size` bytes, that begins with `first`. `None` for vectors that are not numbers: they are
    /// read whole.
    pub(super) fn begin(
        field: FieldId,
        size: u64,
        first: &[u8],
        mapped: Option<&Mapped>,
    ) -> Result<Option<Self>, Wrong> {
        let short = || Wrong::Damaged("it is shorter than its head");
        let (head, rows) = first.split_first_chunk::<HEAD_BYTES>().ok_or_else(short)?;
        let decoded = Head::of(field, head)?;
        if decoded.version != VERSION {
            return Ok(None);
        }
        let rest = usize::try_from(size).ok().and_then(|size| size.checked_sub(HEAD_BYTES));
        let rest = rest.ok_or_else(short)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(head);
        let place = Place::of(rest, mapped)?;
        let mut pieces = Self { head: decoded, crc, rows_crc: crc32fast::Hasher::new(), place };
        pieces.push(rows)?;
        Ok(Some(pieces))
    }

    /// Takes the bytes that come next: whole components.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Wrong> {
        self.crc.update(bytes);
        self.rows_crc.update(bytes);
        self.place.push(bytes)
    }

    /// The vectors, if all came and the whole object has the checksum `crc32`.
    pub(super) fn finish(self, crc32: u32) -> Result<Block, Wrong> {
        if self.crc.finalize() != crc32 {
            return Err(Wrong::Damaged("its checksum is not the one recorded"));
        }
        let block = self.place.finish(self.head.dim)?;
        self.head.check(self.rows_crc.finalize(), block)
    }
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

    /// The block of an object that comes in pieces that end at `ends`.
    fn in_pieces(whole: &[u8], ends: &[usize], mapped: Option<&Mapped>) -> Result<Block, Wrong> {
        let crc = crc32fast::hash(&whole[..ends[ends.len() - 1]]);
        let mut pieces = Pieces::begin(FieldId(7), whole.len() as u64, &whole[..ends[0]], mapped)?.unwrap();
        for pair in ends.windows(2) {
            pieces.push(&whole[pair[0]..pair[1]])?;
        }
        pieces.finish(crc)
    }

    #[test]
    fn what_comes_in_pieces_is_what_was_written() {
        let column = dense(2, &[1.0, 2.0, 3.0, 4.0]);
        let whole = encode(FieldId(7), &column);

        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(folder.path().to_owned()).unwrap();
        let mapped = Mapped { scratch, reads: Reads::Single };
        for (mapped, held) in [(None, 16), (Some(&mapped), 0)] {
            for ends in [&[80][..], &[64, 80], &[64, 68, 76, 80], &[72, 80]] {
                let block = in_pieces(&whole, ends, mapped).unwrap();
                let mut rows = block.no_rows();
                (0..block.rows()).for_each(|row| assert!(block.try_push_row(row, &mut rows)));
                assert_eq!((rows, block.memory_bytes()), (column.clone(), held));
            }
            let short = in_pieces(&whole, &[64, 76], mapped).unwrap_err();
            assert!(matches!(short, Wrong::Damaged(_)), "{short:?}");
            let [bits, _] = others();
            assert!(Pieces::begin(FieldId(7), 70, &encode(FieldId(7), &bits), mapped).unwrap().is_none());
        }
        drop(folder);
        let gone = in_pieces(&whole, &[80], Some(&mapped)).unwrap_err();
        assert!(matches!(gone, Wrong::Scratch(_)), "{gone:?}");
    }

    #[test]
    fn a_damaged_byte_in_a_piece_is_noticed() {
        let whole = encode(FieldId(7), &dense(2, &[1.0, 2.0, 3.0, 4.0])).to_vec();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let crc = crc32fast::hash(&whole);
            let read = Pieces::begin(FieldId(7), 80, &damaged[..68], None).and_then(|pieces| {
                // A version that is not this one's is read whole, and found out then.
                let Some(mut pieces) = pieces else { return Err(Wrong::Damaged("")) };
                pieces.push(&damaged[68..])?;
                pieces.finish(crc)
            });
            assert!(read.is_err(), "byte {at}");
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
