//! Deletes as objects.
//!
//! Version 1, all numbers little-endian: magic `RKDL`, version `u32`, CRC-32 of everything from byte 16 on `u32`, zero
//! `u32`; from byte 16 on the number of deletes `u64`, the type of the keys `u8` (5 integers, 8 texts), seven zeros, the
//! times `u64`, for each a flag whether it is for one partition `u8`, the partitions `i64`, then the keys: integers
//! `i64`, or the ends of the texts `u64` and their bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::object::{create, deletes_key, put_values, read};
use super::{Error, KeyRef, key_at};
use crate::base::{ChannelName, CollectionId, PartitionId, Timestamp};
use crate::blob::Blobs;
use crate::model::{DeleteManifest, Keys, Texts};

const MAGIC: [u8; 4] = *b"RKDL";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16;
const INTS: u8 = 5;
const TEXTS: u8 = 8;

/// Deleted keys. The three lists have one entry a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletes {
    /// The keys.
    pub keys: Keys,
    /// When each was deleted: older rows of the key are hidden.
    pub times: Vec<Timestamp>,
    /// In which partition, or in all.
    pub partitions: Vec<Option<PartitionId>>,
}

impl Deletes {
    /// Each delete, as far as all three lists go.
    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyRef<'_>, Timestamp, Option<PartitionId>)> {
        let keys = (0..self.keys.len()).map(|at| key_at(&self.keys, at));
        keys.zip(&self.times).zip(&self.partitions).map(|((key, &at), &partition)| (key, at, partition))
    }
}

/// Stores deletes of a channel. `serial` is fresh.
///
/// # Errors
/// [`Error::Write`] if the store fails or the name is taken, [`Error::Ragged`] if the lists differ in length.
pub async fn write_deletes(
    blobs: &dyn Blobs,
    collection: CollectionId,
    channel: &ChannelName,
    serial: i64,
    deletes: &Deletes,
) -> Result<DeleteManifest, Error> {
    let rows = deletes.keys.len();
    if deletes.times.len() != rows || deletes.partitions.len() != rows {
        return Err(Error::Ragged { what: "keys, times and partitions of deletes differ in length" });
    }
    let object = create(blobs, deletes_key(collection, channel, serial), encode(deletes)).await?;
    let newest = deletes.times.iter().copied().max().unwrap_or_default();
    Ok(DeleteManifest { rows: rows as u64, newest, object })
}

/// The deletes of an object.
///
/// # Errors
/// [`Error::Read`] if the store fails, [`Error::Damaged`] or [`Error::TooNew`] if the object is not what was written.
pub async fn read_deletes(blobs: &dyn Blobs, manifest: &DeleteManifest) -> Result<Deletes, Error> {
    let body = read(blobs, &manifest.object).await?;
    let key = &manifest.object.key;
    match decode(&body) {
        Ok(deletes) => Ok(deletes),
        Err(Wrong::TooNew(version)) => Err(Error::TooNew { key: key.clone(), version }),
        Err(Wrong::Damaged(what)) => Err(Error::Damaged { key: key.clone(), what }),
    }
}

/// Removes the object of deletes; none is fine.
///
/// # Errors
/// [`Error::Remove`] if the store fails; calling again is safe.
pub async fn remove_deletes(blobs: &dyn Blobs, manifest: &DeleteManifest) -> Result<(), Error> {
    let key = &manifest.object.key;
    blobs.delete(key).await.map_err(|source| Error::Remove { key: key.clone(), source })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Damaged(&'static str),
    TooNew(u32),
}

pub(super) fn encode(deletes: &Deletes) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + 16 + deletes.keys.len() * 25);
    out.put_slice(&MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(0);
    out.put_u64_le(deletes.keys.len() as u64);
    out.put_u64_le(u64::from(if matches!(deletes.keys, Keys::Int(_)) { INTS } else { TEXTS }));
    put_values(&mut out, &deletes.times, |time| time.0.to_le_bytes());
    put_values(&mut out, &deletes.partitions, |partition| [u8::from(partition.is_some())]);
    put_values(&mut out, &deletes.partitions, |partition| {
        partition.map_or(0, |partition| partition.0).to_le_bytes()
    });
    match &deletes.keys {
        Keys::Int(keys) => put_values(&mut out, keys, i64::to_le_bytes),
        Keys::Text(keys) => {
            let (bytes, ends) = keys.parts();
            put_values(&mut out, ends, u64::to_le_bytes);
            out.put_slice(bytes);
        }
    }
    let crc = crc32fast::hash(&out[HEAD_BYTES..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out.freeze()
}

pub(super) fn decode(body: &[u8]) -> Result<Deletes, Wrong> {
    const SHORT: Wrong = Wrong::Damaged("it ends too early");
    let (head, body) = body.split_first_chunk::<HEAD_BYTES>().ok_or(SHORT)?;
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    if head[..4] != MAGIC || word(12) != 0 {
        return Err(Wrong::Damaged("it does not begin as deletes do"));
    }
    match word(4) {
        VERSION => {}
        0 => return Err(Wrong::Damaged("it has no version")),
        version => return Err(Wrong::TooNew(version)),
    }
    if crc32fast::hash(body) != word(8) {
        return Err(Wrong::Damaged("its checksum is wrong"));
    }
    let (rows, body) = body.split_first_chunk::<8>().ok_or(SHORT)?;
    let rows = usize::try_from(u64::from_le_bytes(*rows)).map_err(|_| SHORT)?;
    let (&[kind, ..], body) = body.split_first_chunk::<8>().ok_or(SHORT)?;
    let (times, body) = words(body, rows).ok_or(SHORT)?;
    let (flags, body) = body.split_at_checked(rows).ok_or(SHORT)?;
    let (partitions, body) = words(body, rows).ok_or(SHORT)?;
    let (keys, body) = words(body, rows).ok_or(SHORT)?;
    let keys = match kind {
        INTS if body.is_empty() => Keys::Int(keys.map(u64::cast_signed).collect()),
        TEXTS => Texts::from_parts(body.to_vec(), keys.collect())
            .map(Keys::Text)
            .ok_or(Wrong::Damaged("its texts are not texts"))?,
        _ => return Err(Wrong::Damaged("it has keys of an unknown type, or too many bytes")),
    };
    let partitions = flags.iter().zip(partitions);
    Ok(Deletes {
        keys,
        times: times.map(Timestamp).collect(),
        partitions: partitions
            .map(|(flag, id)| (*flag != 0).then_some(PartitionId(id.cast_signed())))
            .collect(),
    })
}

/// `count` numbers, and the bytes after them.
fn words(body: &[u8], count: usize) -> Option<(impl Iterator<Item = u64> + '_, &[u8])> {
    let (taken, rest) = body.split_at_checked(count.checked_mul(8)?)?;
    Some((taken.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Deletes {
        Deletes {
            keys: Keys::Int(vec![5, -1]),
            times: vec![Timestamp(7), Timestamp(9)],
            partitions: vec![None, Some(PartitionId(3))],
        }
    }

    #[test]
    fn the_format_is_this() {
        let mut body =
            b"\x02\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\x01".to_vec();
        body.extend(b"\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
        let mut expected = b"RKDL\x01\0\0\0".to_vec();
        expected.extend(crc32fast::hash(&body).to_le_bytes());
        expected.extend([0; 4]);
        expected.extend(body);

        assert_eq!(encode(&example()), expected);
    }

    #[test]
    fn what_was_written_is_read() {
        let texts = Deletes { keys: Keys::Text(["é", ""].into_iter().collect()), ..example() };
        for deletes in [example(), texts] {
            assert_eq!(decode(&encode(&deletes)), Ok(deletes));
        }
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        let whole = encode(&example());
        for at in 0..whole.len() {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x21;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
