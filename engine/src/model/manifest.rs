//! What is stored where: plain records of immutable objects.

use super::schema::{DataType, Schema};
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

impl IndexRef {
    /// What it is taken to need in memory: a fifth more than it is stored with, for what is made of it as it is loaded. Unit: bytes.
    #[must_use]
    pub const fn loaded_bytes(&self) -> u64 {
        self.object.size_bytes + self.object.size_bytes / 5
    }
}

/// What is known of the instants in one `Timestamptz` column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Instants {
    /// The field.
    pub field: FieldId,
    /// Rows without one.
    pub nulls: u64,
    /// The least and the greatest, in microseconds since 1970, if there are any.
    pub span: Option<(i64, i64)>,
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
    /// No delete up to this time hides any of the rows: they were dropped when the segment was made out of others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clean_through: Timestamp,
    /// The field by whose values rows were spread over this segment and others, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clustered_by: Option<FieldId>,
    /// What is known of columns of instants, by which rows may end; nothing in segments of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instants: Vec<Instants>,
    /// The columns.
    pub columns: Vec<ColumnRef>,
    /// What is known of keys and values without reading the rows; segments of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<ObjectRef>,
    /// The indexes built so far.
    pub indexes: Vec<IndexRef>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(time: &Timestamp) -> bool {
    time.0 == 0
}

impl SegmentManifest {
    /// Deletes up to this time hide none of the rows.
    #[must_use]
    pub fn unhidden_through(&self) -> Timestamp {
        self.oldest.max(self.clean_through)
    }

    /// Whether a file of deletes may hide some of the rows.
    #[must_use]
    pub fn needs(&self, deletes: &DeleteManifest) -> bool {
        deletes.newest > self.unhidden_through()
    }

    /// Stored bytes of the rows, without indexes.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.object.size_bytes).sum()
    }

    /// Of [`Self::stored_bytes`] those of vectors that are stored as they are held, as many bytes in each row.
    #[must_use]
    pub fn dense_bytes(&self, schema: &Schema) -> u64 {
        let is_dense = |column: &&ColumnRef| {
            let [id] = column.fields.as_slice() else { return false };
            let held = schema.field_by_id(*id).map(|field| field.data_type);
            held.is_some_and(|held| held.is_dense() || held == DataType::BinaryVector)
        };
        self.columns.iter().filter(is_dense).map(|column| column.object.size_bytes).sum()
    }

    /// What the rows are taken to need in memory, without indexes of vectors. Vectors are stored as they are held, and so is what
    /// is said of keys; scalars are stored packed: those of a fixed width are counted, others are taken for three times what the
    /// object has that they are in. Unit: bytes.
    #[must_use]
    pub fn loaded_bytes(&self, schema: &Schema) -> u64 {
        /// For each row: its key once more, in the order of the keys, its place there, and its time.
        const BESIDES: u64 = 32;
        let column = |column: &ColumnRef| {
            let of = |id: &FieldId| schema.field_by_id(*id).map(|field| field.data_type);
            let is_vector =
                matches!(column.fields.as_slice(), [id] if of(id).is_some_and(DataType::is_vector));
            if is_vector {
                return column.object.size_bytes;
            }
            let widths = column.fields.iter().map(|id| of(id).and_then(DataType::width));
            let (fixed, others): (Vec<_>, Vec<_>) = widths.partition(Option::is_some);
            let fixed: u64 = fixed.into_iter().flatten().sum();
            let packed = if others.is_empty() { 0 } else { 3 * column.object.size_bytes };
            // Where each text ends, besides.
            (fixed + 8 * others.len() as u64) * self.rows + packed
        };
        let stats = self.stats.as_ref().map_or(0, |stats| stats.size_bytes);
        self.columns.iter().map(column).sum::<u64>() + stats + BESIDES * self.rows
    }

    /// The keys of all objects of the segment, also that of its own description, which nothing else names.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        let folder = self.columns.first().and_then(|column| column.object.key.rsplit_once('/'));
        let description = folder.map(|(folder, _)| format!("{folder}/{DESCRIPTION}"));
        self.refs().map(|object| object.key.clone()).chain(description).collect()
    }

    /// All objects that the segment names with size and checksum.
    pub fn refs(&self) -> impl Iterator<Item = &ObjectRef> {
        // Every field is named, so that a new one is thought of here.
        let Self {
            columns,
            indexes,
            stats,
            id: _,
            partition: _,
            rows: _,
            oldest: _,
            newest: _,
            clean_through: _,
            clustered_by: _,
            instants: _,
        } = self;
        let columns = columns.iter().map(|column| &column.object);
        columns.chain(indexes.iter().map(|index| &index.object)).chain(stats)
    }
}

/// Name of the object, beside the columns, that describes a segment.
pub const DESCRIPTION: &str = "manifest.json";

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
    /// The newest time of segments that were rewritten or dropped because rows of theirs had expired.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expired_through: Timestamp,
    /// A reader at this time or later is shown all that was there then, as long as rows live: only what nobody saw any more by then
    /// was dropped. 0 from versions that do not say it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub history_from: Timestamp,
    /// The newest time of a sealed insert that its client has named: the log keeps it for a while. 0 if there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub named_through: Timestamp,
    /// Rows up to this time were dropped with all others of the collection: who inserts them again means it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub emptied: Timestamp,
}

impl ChannelManifest {
    /// The newest time of anything that is sealed, or was before it was compacted. Every record up to it lies before the
    /// checkpoint.
    #[must_use]
    pub fn newest(&self) -> Timestamp {
        let rows = self.segments.iter().map(|segment| segment.newest.max(segment.clean_through));
        let newest = rows.chain(self.deletes.iter().map(|file| file.newest)).max().unwrap_or_default();
        newest.max(self.expired_through)
    }

    /// A reader at this time or later is shown all that was there then.
    #[must_use]
    pub fn history(&self) -> Timestamp {
        let is_new = self.checkpoint == crate::base::Position(0) && self.segments.is_empty();
        match self.history_from {
            Timestamp::ZERO if is_new => Timestamp::ZERO,
            // Of an earlier version, which does not say what it has dropped.
            Timestamp::ZERO => self.newest(),
            from => from,
        }
    }

    /// Has it say from when on all is there, which is `from` at the earliest.
    pub fn pin_history(&mut self, from: Timestamp) {
        self.history_from = self.history().max(from).max(Timestamp(1));
    }

    /// All objects that it names with size and checksum: everything but the segments' own descriptions.
    pub fn refs(&self) -> impl Iterator<Item = &ObjectRef> {
        let segments = self.segments.iter().flat_map(SegmentManifest::refs);
        segments.chain(self.deletes.iter().map(|file| &file.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let old = r#"{"id":1,"partition":2,"rows":2,"oldest":3,"newest":4,"columns":[],"indexes":[]}"#;

        let read: SegmentManifest = serde_json::from_str(old).unwrap();

        assert_eq!((read.clean_through, read.unhidden_through()), (Timestamp::ZERO, Timestamp(3)));
        assert_eq!(serde_json::to_string(&read).unwrap(), old);
    }
}
