//! Fuzz target of records of the catalog, and of manifests in objects.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::record::{decode, encode};
use super::stored::{Content, Delta, Stored, assemble, seal, unseal};
use crate::base::{FieldId, PartitionId, Position, SegmentId, Timestamp};
use crate::model::fuzz::{chosen, fixture};
use crate::model::{
    ChannelManifest, ColumnRef, DeleteManifest, Instants, ObjectRef, Partition, SegmentManifest,
};
use crate::rpc::{CollectionInfo, DatabaseInfo, ImportInfo};

const KEY: &str = "k";

/// Any bytes are refused as a record or as pieces of a manifest, one a line, or they are values that are written and read as the
/// same. A manifest is what it was of any other one and what changed.
pub fn catalog(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    match choice % 6 {
        0 => record::<CollectionInfo>(data),
        1 => record::<DatabaseInfo>(data),
        2 => record::<ChannelManifest>(data),
        3 => record::<Stored>(data),
        4 => record::<ImportInfo>(data),
        _ => manifest(data),
    }
}

fn record<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(value) = decode::<T>(KEY, data) else { return };
    let written = encode(KEY, &value).unwrap_or_else(|error| panic!("what is read can be written: {error}"));
    let again = decode::<T>(KEY, &written).unwrap_or_else(|error| panic!("what is written is read: {error}"));
    assert_eq!(encode(KEY, &again).ok(), Some(written));
}

fn manifest(data: &[u8]) {
    drop(unseal::<Content>(KEY, data, None));
    let piece = |line: &[u8]| {
        let json: &RawValue = serde_json::from_slice(line).ok()?;
        unseal::<Content>(KEY, &seal(&json).ok()?, None).ok()
    };
    let Some(pieces) = data.split(|byte| *byte == b'\n').map(piece).collect::<Option<Vec<_>>>() else {
        return;
    };
    let Ok(manifest) = assemble(KEY, pieces) else { return };
    let whole = Content::Whole(manifest.clone());
    assert_eq!(read_back(&whole), whole);
    let mut other = manifest.clone();
    let mut number = 0;
    other.segments.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    other.deletes.reverse();
    for (old, new) in [(&other, &manifest), (&manifest, &other)] {
        let delta = read_back(&Content::Delta(Delta::between(old, new)));
        let assembled = assemble(KEY, vec![Content::Whole(old.clone()), delta]);
        assert_eq!(assembled.as_ref().ok(), Some(new));
    }
    for segment in &manifest.segments {
        assert!(segment.objects().len() - segment.refs().count() <= 1);
        let _ = (segment.unhidden_through(), manifest.deletes.iter().any(|deletes| segment.needs(deletes)));
    }
}

fn read_back(content: &Content) -> Content {
    let sealed = seal(content).unwrap_or_else(|error| panic!("what is read can be written: {error}"));
    unseal(KEY, &sealed, None).unwrap_or_else(|error| panic!("what is written is read: {error}"))
}

fn sample() -> ChannelManifest {
    let object = |key: &str| ObjectRef { key: key.to_owned(), size_bytes: 10, crc32: 7 };
    let segment = |id: i64| SegmentManifest {
        id: SegmentId(id),
        partition: PartitionId(2),
        rows: 3,
        oldest: Timestamp(4),
        newest: Timestamp(5),
        clean_through: Timestamp(6),
        clustered_by: Some(FieldId(101)),
        instants: vec![Instants { field: FieldId(102), nulls: 1, span: Some((-1, 2)) }],
        columns: vec![ColumnRef {
            fields: vec![FieldId(100)],
            object: object("segments/1/2/scalars.parquet"),
        }],
        stats: Some(object("segments/1/2/stats.bin")),
        indexes: Vec::new(),
    };
    ChannelManifest {
        checkpoint: Position(8),
        segments: vec![segment(1), segment(2)],
        deletes: vec![DeleteManifest { rows: 1, newest: Timestamp(9), object: object("deletes/1/c/3.bin") }],
        ..ChannelManifest::default()
    }
}

/// Inputs for [`catalog`] to begin with.
pub fn catalogs() -> Vec<Vec<u8>> {
    fn of<T: Serialize>(choice: u8, value: &T) -> Vec<u8> {
        [&[choice][..], &encode(KEY, value).unwrap_or_default()].concat()
    }
    let (schema, _) = fixture();
    let partition = Partition { id: PartitionId(2), name: "_default".to_owned(), created_unix_ms: 1 };
    let collection = CollectionInfo {
        id: crate::base::CollectionId(1),
        name: "c".to_owned(),
        database: crate::base::DatabaseId(1),
        database_name: "default".to_owned(),
        schema: std::sync::Arc::new(schema.clone()),
        channels: vec![crate::base::ChannelName("c".into())],
        partitions: vec![partition],
        partitions_by_key: 0,
        aliases: vec!["a".to_owned()],
        properties: vec![("collection.ttl.seconds".to_owned(), "9".to_owned())],
        consistency: 2,
        created: Timestamp(1),
        updated: Timestamp(2),
        partitioned: Timestamp(1),
        indexes: Vec::new(),
        load: None,
        recorded: true,
    };
    let whole = sample();
    let mut less = sample();
    less.segments.remove(0);
    less.checkpoint = Position(9);
    let line = |content: &Content| serde_json::to_vec(content).unwrap_or_default();
    let base = line(&Content::Whole(whole.clone()));
    let delta = line(&Content::Delta(Delta::between(&whole, &less)));
    vec![
        of(0, &collection),
        of(2, &whole),
        [&[5][..], &base].concat(),
        [&[5][..], &base, b"\n", &delta].concat(),
        [&[5][..], &seal(&Content::Whole(less)).unwrap_or_default()].concat(),
        b"\x01{\"version\":1,\"value\":{\"id\":1,\"name\":\"default\",\"created\":1,\"properties\":[]}}"
            .to_vec(),
        b"\x03{\"version\":1,\"value\":{\"base\":{\"number\":1,\"size_bytes\":2,\"crc32\":3},\"deltas\":[]}}"
            .to_vec(),
    ]
}
