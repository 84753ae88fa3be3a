//! What is stored where: plain records of immutable objects.

use crate::base::{FieldId, IndexId, PartitionId, SegmentId, Timestamp};

/// One immutable object in the blob store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ObjectRef {
    /// Key, below the store's root.
    pub key: String,
    /// Whole size of the object.
    pub size_bytes: u64,
    /// CRC-32 of the whole object.
    pub crc32: u32,
}

/// The stored values of one field of a segment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ColumnRef {
    /// The fields inside, more than one for the object of all scalar columns.
    pub fields: Vec<FieldId>,
    /// Where they are.
    pub object: ObjectRef,
}

/// One built index over one segment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexRef {
    /// Which index of the collection.
    pub index: IndexId,
    /// The field it is on.
    pub field: FieldId,
    /// Where the built form is.
    pub object: ObjectRef,
}

/// One sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SegmentManifest {
    /// Its id.
    pub id: SegmentId,
    /// The partition all its rows are in.
    pub partition: PartitionId,
    /// Stored rows, deleted ones included.
    pub rows: u64,
    /// Timestamp of the oldest row.
    pub oldest: Timestamp,
    /// Timestamp of the newest row.
    pub newest: Timestamp,
    /// The columns.
    pub columns: Vec<ColumnRef>,
    /// The indexes built so far.
    pub indexes: Vec<IndexRef>,
}

/// One file of deletes: keys with the time of their deletion. They hide older rows of the same channel.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeleteManifest {
    /// Deletes inside.
    pub rows: u64,
    /// Deletes of one partition only, or of all.
    pub newest: Timestamp,
    /// Where the file is.
    pub object: ObjectRef,
}

/// Everything of one channel that is sealed; the log holds the rest, from `checkpoint` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ChannelManifest {
    /// Records of the log before this position are in the segments and deletes below.
    pub checkpoint: crate::base::Position,
    /// The sealed segments, oldest first.
    pub segments: Vec<SegmentManifest>,
    /// The delete files, oldest first.
    pub deletes: Vec<DeleteManifest>,
}
