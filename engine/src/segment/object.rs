//! Objects of segments: their names, and how they are written and read whole with their checksums.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::Error;
use crate::base::{ChannelName, CollectionId, FieldId, IndexId, SegmentId};
use crate::blob::Blobs;
use crate::model::{DESCRIPTION, ObjectRef};

/// Why bytes are not the object that they are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Damaged(&'static str),
    TooNew(u32),
}

impl Wrong {
    pub(super) const SHORT: Self = Self::Damaged("it ends too early");

    /// What is wrong with the object under `key`.
    pub(super) fn at(self, key: &str) -> Error {
        let key = key.to_owned();
        match self {
            Self::Damaged(what) => Error::Damaged { key, what },
            Self::TooNew(version) => Error::TooNew { key, version },
        }
    }
}

/// Unit: bytes.
const HEAD_BYTES: usize = 16;

/// How objects of one kind begin: magic, version `u32`, CRC-32 of everything from byte 16 on `u32`, zero `u32`.
pub(super) struct Form {
    pub(super) magic: [u8; 4],
    /// At least 1.
    pub(super) version: u32,
    /// What is wrong with bytes that begin otherwise.
    pub(super) stranger: &'static str,
}

impl Form {
    /// Begins an object, of which `more` bytes are to follow. It needs [`Self::finish`].
    pub(super) fn begin(&self, more: usize) -> BytesMut {
        let mut out = BytesMut::with_capacity(HEAD_BYTES + more);
        out.put_slice(&self.magic);
        out.put_u32_le(self.version);
        out.put_u64_le(0);
        out
    }

    pub(super) fn finish(mut out: BytesMut) -> Bytes {
        let crc = crc32fast::hash(&out[HEAD_BYTES..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out.freeze()
    }

    /// What follows the head, if the object is as it was written.
    pub(super) fn open<'o>(&self, object: &'o [u8]) -> Result<&'o [u8], Wrong> {
        let (head, body) = object.split_first_chunk::<HEAD_BYTES>().ok_or(Wrong::SHORT)?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        if head[..4] != self.magic || word(12) != 0 {
            return Err(Wrong::Damaged(self.stranger));
        }
        match word(4) {
            0 => return Err(Wrong::Damaged("it has no version")),
            version if version != self.version => return Err(Wrong::TooNew(version)),
            _ => {}
        }
        if crc32fast::hash(body) != word(8) {
            return Err(Wrong::Damaged("its checksum is wrong"));
        }
        Ok(body)
    }
}

pub(super) fn scalars_key(collection: CollectionId, segment: SegmentId) -> String {
    format!("segments/{collection}/{segment}/scalars.parquet")
}

pub(super) fn vector_key(collection: CollectionId, segment: SegmentId, field: FieldId) -> String {
    format!("segments/{collection}/{segment}/vector-{field}.bin")
}

pub(super) fn stats_key(collection: CollectionId, segment: SegmentId) -> String {
    format!("segments/{collection}/{segment}/stats.bin")
}

pub(super) fn index_key(collection: CollectionId, segment: SegmentId, index: IndexId, serial: i64) -> String {
    format!("segments/{collection}/{segment}/index-{index}-{serial}.bin")
}

pub(super) fn manifest_key(collection: CollectionId, segment: SegmentId) -> String {
    format!("segments/{collection}/{segment}/{DESCRIPTION}")
}

pub(super) fn deletes_key(collection: CollectionId, channel: &ChannelName, serial: i64) -> String {
    format!("deletes/{collection}/{channel}/{serial}.bin")
}

/// What an object has, by its name.
pub(super) fn part_of(key: &str) -> &'static str {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    match name {
        _ if key.starts_with("deletes/") => "deletes",
        "scalars.parquet" => "scalars",
        "stats.bin" => "statistics",
        DESCRIPTION => "description",
        _ if name.starts_with("vector-") => "vectors",
        _ if name.starts_with("index-") => "index",
        _ => "object",
    }
}

/// Stores an object under a name that must be free.
pub(super) async fn create(blobs: &dyn Blobs, key: String, body: Bytes) -> Result<ObjectRef, Error> {
    let object = ObjectRef { size_bytes: body.len() as u64, crc32: crc32fast::hash(&body), key };
    match blobs.create(&object.key, body).await {
        Ok(()) => Ok(object),
        Err(source) => Err(Error::Write { key: object.key, source }),
    }
}

/// Reads a whole object and checks that it is the one that was written. What is not is asked for once more, past every
/// copy: it may have been damaged on its way.
pub(super) async fn read(blobs: &dyn Blobs, object: &ObjectRef) -> Result<Bytes, Error> {
    let mut what = "";
    for _ in 0..2 {
        let body = blobs
            .read(&object.key)
            .await
            .map_err(|source| Error::Read { key: object.key.clone(), source })?;
        what = if body.len() as u64 != object.size_bytes {
            "its length is not the one recorded"
        } else if crc32fast::hash(&body) != object.crc32 {
            "its checksum is not the one recorded"
        } else {
            return Ok(body);
        };
        blobs.distrust(&object.key).await;
    }
    Err(Error::Damaged { key: object.key.clone(), what })
}

/// Appends fixed-width values through a small block, which compilers turn into plain copies.
pub(super) fn put_values<T: Copy, const W: usize>(
    out: &mut BytesMut,
    values: &[T],
    bytes_of: impl Fn(T) -> [u8; W],
) {
    let mut block = [[0_u8; W]; 512];
    for values in values.chunks(block.len()) {
        for (place, &value) in block.iter_mut().zip(values) {
            *place = bytes_of(value);
        }
        out.extend_from_slice(block[..values.len()].as_flattened());
    }
}
