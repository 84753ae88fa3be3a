//! Fuzz target of the objects of segments.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use bytes::Bytes;

use super::deletes::{self, Deletes};
use super::{scalars, stats, vectors};
use crate::base::{FieldId, PartitionId, Timestamp};
use crate::index::Block;
use crate::model::fuzz::{chosen, fixture};
use crate::model::{Batch, Column, ColumnData, Keys};
use crate::segment::keys::KeyRef;

/// The vector field of objects of vectors.
const FIELD: FieldId = FieldId(9);

/// Any bytes are refused as an object of scalar columns, vectors, statistics or deletes, or are one whose values would be
/// written so that they are read as the same. Checksums are put right first, so that what lies behind them is reached.
pub fn object(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    match choice % 4 {
        0 => of_scalars(data),
        1 => of_vectors(data),
        2 => of_stats(data),
        _ => of_deletes(data),
    }
}

fn of_scalars(data: &[u8]) {
    let (schema, _) = fixture();
    let Ok(read) = scalars::decode(Bytes::copy_from_slice(data), schema) else { return };
    let rows = read.times.len();
    assert!(read.columns.iter().all(|column| column.data.len() == rows));
    let batch = Batch { rows, columns: read.columns };
    let written = scalars::encode(&batch, &read.times);
    let written = written.unwrap_or_else(|error| panic!("what is read can be written: {error}"));
    let again = scalars::decode(written, schema);
    let again = again.unwrap_or_else(|error| panic!("what is written is read: {error}"));
    assert_eq!((debug(&again.columns), again.times), (debug(&batch.columns), read.times));
}

/// As text, in which what is no number equals itself.
fn debug(columns: &[Column]) -> String {
    format!("{columns:?}")
}

/// The object with the checksums that its bytes ask for.
fn vouched_for(data: &[u8]) -> Vec<u8> {
    let mut object = data.to_vec();
    if object.len() >= 64 {
        let rows = crc32fast::hash(&object[64..]);
        object[28..32].copy_from_slice(&rows.to_le_bytes());
        let head = crc32fast::hash(&object[..60]);
        object[60..64].copy_from_slice(&head.to_le_bytes());
    }
    object
}

fn of_vectors(data: &[u8]) {
    drop(vectors::decode(FIELD, data));
    let object = vouched_for(data);
    let whole = vectors::decode(FIELD, &object);
    if let Ok(block) = &whole {
        assert!(block.memory_bytes() <= 64 + 8 * object.len(), "{} bytes", block.memory_bytes());
        let values = (0..block.rows()).map(|row| format!("{:?}", block.value(row)));
        assert_eq!(values.count(), block.rows());
    }
    // In pieces it comes to the same.
    let cut = object.len().min(100);
    let Ok(Some(mut pieces)) = vectors::Pieces::begin(FIELD, object.len() as u64, &object[..cut], None)
    else {
        return;
    };
    let pushed = object[cut..].chunks(70).try_for_each(|piece| pieces.push(piece));
    let piecewise = pushed.and_then(|()| pieces.finish(crc32fast::hash(&object)));
    assert_eq!(piecewise.as_ref().ok().map(shown), whole.as_ref().ok().map(shown));
}

fn shown(block: &Block) -> Vec<String> {
    (0..block.rows()).map(|row| format!("{:?}", block.value(row))).collect()
}

/// The object with the checksum of what follows its head of 16 bytes.
fn summed(data: &[u8]) -> Vec<u8> {
    let mut object = data.to_vec();
    if object.len() >= 16 {
        let sum = crc32fast::hash(&object[16..]);
        object[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    object
}

fn of_stats(data: &[u8]) {
    let (schema, _) = fixture();
    let primary = schema.primary().id;
    drop(stats::Stats::decode(data, primary));
    let Ok(read) = stats::Stats::decode(&summed(data), primary) else { return };
    let _ = (read.may_have(KeyRef::Int(3)), read.may_have(KeyRef::Text("a")), read.memory_bytes());
    drop(schema.fields.iter().map(|field| read.zone(field.id)).collect::<Vec<_>>());
    let written = read.encode();
    let again = stats::Stats::decode(&written, primary);
    let again = again.unwrap_or_else(|wrong| panic!("what is written is read: {wrong:?}"));
    assert_eq!(again.encode(), written);
}

fn of_deletes(data: &[u8]) {
    drop(deletes::decode(data));
    let Ok(read) = deletes::decode(&summed(data)) else { return };
    assert_eq!((read.keys.len(), read.partitions.len()), (read.times.len(), read.times.len()));
    assert_eq!(deletes::decode(&deletes::encode(&read)).as_ref(), Ok(&read));
}

/// Inputs for [`object`] to begin with.
pub fn objects() -> Vec<Vec<u8>> {
    let (schema, rows) = fixture();
    let times: Vec<Timestamp> = (0..rows.rows as u64).map(Timestamp).collect();
    let of = |choice: u8, object: &[u8]| [&[choice][..], object].concat();
    let mut all = Vec::new();
    for rows in [rows.clone(), rows.take(&[0])] {
        let scalars = scalars::encode(&rows, &times[..rows.rows]);
        all.extend(scalars.iter().map(|object| of(0, object)));
        let vectors = rows.columns.iter().filter(|column| {
            let data = &column.data;
            matches!(
                data,
                ColumnData::FloatVector { .. }
                    | ColumnData::BinaryVector { .. }
                    | ColumnData::SparseVector(_)
            )
        });
        all.extend(vectors.map(|column| of(1, &vectors::encode(FIELD, &column.data))));
        let stats = stats::Stats::of(&rows, schema.primary().id);
        all.extend(stats.iter().map(|stats| of(2, &stats.encode())));
    }
    let partitions = vec![None, Some(PartitionId(3))];
    let (ints, texts) = (Keys::Int(vec![5, -1]), Keys::Text(["é", ""].into_iter().collect()));
    for keys in [ints, texts] {
        let times = vec![Timestamp(7), Timestamp(9)];
        all.push(of(3, &deletes::encode(&Deletes { keys, times, partitions: partitions.clone() })));
    }
    all
}
