//! From records of the log to sealed segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{PartitionId, Position, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::log::record::{self, Message};
use crate::log::{LogReader, Logs};
use crate::model::{Batch, DataType, Keys};
use crate::rpc::{CollectionInfo, Coord, Flushed};
use crate::segment::{self, Deletes};
use crate::writer::Error;
use crate::writer::channel::Channel;

/// Rows of one partition, in the order they were written.
struct Rows {
    batch: Batch,
    times: Vec<Timestamp>,
}

/// How far the reading of a stretch has come, its present record included. Unit: bytes.
#[derive(Clone, Copy)]
struct Progress {
    read: u64,
    /// About what is still to come.
    left: u64,
}

impl Progress {
    /// About how many rows are to come where there have been so many, and some more: what is taken in vain is never touched.
    fn rows_to_come(self, rows: usize) -> usize {
        let ahead = (rows as u64).saturating_mul(self.left) / self.read.max(1);
        usize::try_from(ahead.saturating_add(ahead / 16)).unwrap_or(usize::MAX)
    }

    /// What is to come, in bytes: a vector takes as many in a record as in a column.
    fn bytes_to_come(self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }
}

/// What a stretch of the log holds.
pub struct Stretch {
    /// Its first position.
    pub from: Position,
    /// The position after its last.
    pub to: Position,
    /// Bytes of those of its records that came since the channel was opened.
    pub fresh_bytes: u64,
    /// The newest time of an insert that its client has named; 0 if there is none.
    pub named_through: Timestamp,
    rows: BTreeMap<PartitionId, Rows>,
    deletes: Deletes,
}

impl Stretch {
    /// Nothing yet, from `from` on.
    fn empty(from: Position, primary: DataType) -> Self {
        let deletes = Deletes { keys: Keys::empty(primary), times: Vec::new(), partitions: Vec::new() };
        let (fresh_bytes, named_through) = (0, Timestamp::ZERO);
        Self { from, to: from, fresh_bytes, named_through, rows: BTreeMap::new(), deletes }
    }

    /// Adds the next record.
    fn take(&mut self, message: Message, progress: Progress) -> Result<(), crate::model::TypeMismatch> {
        match message {
            Message::Insert { at, partition, rows } => self.add_rows(at, partition, rows, progress)?,
            Message::Delete { at, partition, keys } => self.add_deletes(at, partition, &keys),
            Message::Upsert { at, partition, replaced, rows } => {
                self.add_deletes(at, None, &replaced);
                self.add_rows(at, partition, rows, progress)?;
            }
        }
        Ok(())
    }

    fn add_rows(
        &mut self,
        at: Timestamp,
        partition: PartitionId,
        rows: Batch,
        progress: Progress,
    ) -> Result<(), crate::model::TypeMismatch> {
        let count = rows.rows;
        match self.rows.get_mut(&partition) {
            Some(known) => {
                let ahead = progress.rows_to_come(known.batch.rows + count);
                known.batch.reserve(count, ahead, progress.bytes_to_come());
                known.batch.extend(&rows)?;
                known.times.extend(std::iter::repeat_n(at, count));
            }
            None => {
                self.rows.insert(partition, Rows { batch: rows, times: vec![at; count] });
            }
        }
        Ok(())
    }

    fn add_deletes(&mut self, at: Timestamp, partition: Option<PartitionId>, keys: &Keys) {
        for key in keys.iter() {
            self.deletes.keys.push(&key);
        }
        self.deletes.times.extend(std::iter::repeat_n(at, keys.len()));
        self.deletes.partitions.extend(std::iter::repeat_n(partition, keys.len()));
    }
}

/// Reads the records of a channel in `from .. to`; fewer once they are `most_bytes`, but at least one.
///
/// # Errors
/// If the log cannot be read or a record makes no sense.
pub async fn read(
    logs: &dyn Logs,
    channel: &Channel,
    info: &CollectionInfo,
    from: Position,
    to: Position,
    most_bytes: u64,
) -> Result<Stretch, Error> {
    let read_failed = |source| Error::ReadLog { channel: channel.of.name.clone(), source };
    let mut reader: Box<dyn LogReader> = logs.read(&channel.of.name, from).await.map_err(read_failed)?;
    let mut stretch = Stretch::empty(from, info.schema.primary().data_type);
    let expected = channel.unsealed.lock().bytes.min(most_bytes);
    let mut bytes = 0;
    while reader.position() < to && bytes < most_bytes.max(1) {
        let (position, payload) = reader.next().await.map_err(read_failed)?;
        bytes += payload.len() as u64;
        if position >= channel.of.end {
            stretch.fresh_bytes += payload.len() as u64;
        }
        if record::is_insert(&payload) && record::origin_of(&payload).is_some_and(|of| of.client.is_some()) {
            stretch.named_through = record::stamp_of(&payload).unwrap_or_default();
        }
        let message = record::decode(&payload, &info.schema)
            .map_err(|source| Error::BadRecord { channel: channel.of.name.clone(), source })?;
        let progress = Progress { read: bytes, left: expected.saturating_sub(bytes) };
        stretch
            .take(message, progress)
            .map_err(|source| Error::Mismatch { channel: channel.of.name.clone(), source })?;
        stretch.to = reader.position();
    }
    Ok(stretch)
}

/// What a step that seals `bytes` of records takes in memory: as columns that grow, and as objects. Unit: bytes.
pub const fn needs(bytes: u64) -> u64 {
    bytes.saturating_mul(3)
}

/// Stores what `stretch` holds as sealed objects.
///
/// # Errors
/// If ids are not to be had or the store fails; objects written before the failure stay as garbage without a name in
/// any manifest.
pub async fn seal(
    blobs: &Arc<dyn Blobs>,
    coord: &dyn Coord,
    channel: &Channel,
    info: &CollectionInfo,
    stretch: Stretch,
) -> Result<Flushed, Error> {
    let seal_failed = |source: segment::Error| Error::Seal { channel: channel.of.name.clone(), source };
    let mut segments = Vec::new();
    for (partition, rows) in stretch.rows {
        let exists = info.partitions.iter().any(|known| known.id == partition);
        if !exists || rows.batch.rows == 0 {
            continue;
        }
        let id: SegmentId = coord.allocate_segment().await.map_err(|source| channel.no_help(source))?;
        let written = segment::write_segment(
            blobs.as_ref(),
            channel.of.collection,
            id,
            partition,
            &info.schema,
            &rows.batch,
            &rows.times,
        );
        segments.push(written.await.map_err(seal_failed)?);
    }
    let mut deletes = Vec::new();
    if !stretch.deletes.keys.is_empty() {
        let serial = coord.allocate_ids(1).await.map_err(|source| channel.no_help(source))?;
        let written = segment::write_deletes(
            blobs.as_ref(),
            channel.of.collection,
            &channel.of.name,
            serial,
            &stretch.deletes,
        );
        deletes.push(written.await.map_err(seal_failed)?);
    }
    let (from, to, named_through) = (stretch.from, stretch.to, stretch.named_through);
    Ok(Flushed {
        collection: channel.of.collection,
        channel: channel.of.name.clone(),
        from,
        to,
        segments,
        deletes,
        named_through,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_are_to_come_as_there_were_in_as_many_bytes_and_some_more() {
        let of = |rows, read, left| Progress { read, left }.rows_to_come(rows);

        assert_eq!(of(10, 1_000, 9_600), 96 + 6);
        assert_eq!(of(5, 1_000, 9_600), 48 + 3, "half the rows were of another partition");
        assert_eq!(of(10, 1_000, 0), 0);
        assert_eq!(of(0, 0, 9_600), 0);
    }
}
