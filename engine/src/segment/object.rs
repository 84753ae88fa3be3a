//! Objects of segments: their names, and how they are written and read whole with their checksums.

use bytes::{Bytes, BytesMut};

use super::Error;
use crate::base::{ChannelName, CollectionId, FieldId, IndexId, SegmentId};
use crate::blob::Blobs;
use crate::model::{DESCRIPTION, ObjectRef};

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
