//! Fuzz targets of files to import.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use std::sync::{Arc, LazyLock};

use super::*;
use crate::base::{ChannelName, CollectionId, DatabaseId};
use crate::blob::MemoryBlobs;
use crate::model::Partition;
use crate::model::check_schema::{FieldRequest, SchemaRequest, check_schema};
use crate::model::fuzz::{chosen, fixture, tagged};
use crate::rpc::CollectionInfo;

/// A key, and a number that may be lacking, a text, a vector and a list: little to get right, so that files get far.
fn small() -> &'static Schema {
    static SMALL: LazyLock<Schema> = LazyLock::new(|| {
        let field = |name: &str, data_type, params: &[(&str, &str)]| FieldRequest {
            name: name.to_owned(),
            data_type,
            element_type: if data_type == 22 { 21 } else { 0 },
            is_primary: name == "id",
            nullable: name != "id" && data_type < 100,
            type_params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..FieldRequest::default()
        };
        let fields = vec![
            field("id", 5, &[]),
            field("n", 4, &[]),
            field("s", 21, &[("max_length", "64")]),
            field("v", 101, &[("dim", "2")]),
            field("at", 22, &[("max_length", "64"), ("max_capacity", "9")]),
        ];
        let request = SchemaRequest { name: "c".to_owned(), fields, ..SchemaRequest::default() };
        check_schema(&request).unwrap_or_else(|error| panic!("the schema is good: {error}"))
    });
    &SMALL
}

fn collection(schema: &Schema) -> CollectionInfo {
    let partition = Partition { id: PartitionId(2), name: "_default".to_owned(), created_unix_ms: 0 };
    CollectionInfo {
        id: CollectionId(1),
        name: "c".to_owned(),
        database: DatabaseId(1),
        database_name: "default".to_owned(),
        schema: Arc::new(schema.clone()),
        channels: vec![ChannelName("c0".into()), ChannelName("c1".into())],
        partitions: vec![partition],
        partitions_by_key: 0,
        aliases: Vec::new(),
        properties: Vec::new(),
        consistency: 0,
        created: Timestamp::ZERO,
        updated: Timestamp::ZERO,
        partitioned: Timestamp::ZERO,
        indexes: Vec::new(),
        load: None,
        recorded: true,
    }
}

/// Imports the files; what was done, or `None` for a refusal. Nothing but the files is to blame for that.
fn imported(schema: &Schema, files: &[(&str, &[u8])], piece: usize) -> Option<ImportDone> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime without I/O: {error}"));
    let blobs = MemoryBlobs::new();
    for (name, body) in files {
        let created = runtime.block_on(blobs.create(name, body.to_vec().into()));
        created.unwrap_or_else(|error| panic!("memory takes objects: {error}"));
    }
    let bucket = Bucket::new(blobs.clone(), runtime.handle().clone());
    let job = ImportJob {
        collection: collection(schema),
        partition: Some(PartitionId(2)),
        files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
        options: ImportOptions::default(),
        from: Some(ImportPlace::default()),
        first_segment: SegmentId(1),
        segments: 1 << 20,
        first_key: 1,
        keys: 1 << 20,
    };
    match import(&bucket, blobs.as_ref(), &job, Buffers { piece, rows: 1 << 20 }) {
        Ok(done) => Some(done),
        Err(Error::Broke { why }) => panic!("{why}"),
        Err(error) => {
            drop(error.to_string());
            None
        }
    }
}

/// However little is converted at once, all rows of the files are in segments, or there is a refusal.
fn check(schema: &Schema, files: &[(&str, &[u8])]) {
    let whole = imported(schema, files, 1 << 20);
    if let Some(done) = &whole {
        assert_eq!(done.segments.iter().map(|(_, segment)| segment.rows).sum::<u64>(), done.rows);
        assert!(done.next.is_none());
    }
    let rows = |done: &ImportDone| (done.rows, done.bytes, done.total);
    let narrow = imported(schema, files, 1);
    assert_eq!(narrow.as_ref().map(rows), whole.as_ref().map(rows));
}

/// Any bytes as a file of Parquet.
pub fn parquet(data: &[u8]) {
    check(small(), &[("a.parquet", data)]);
}

/// Any bytes as files of NumPy, CSV or JSON, a list or lines.
pub fn files(data: &[u8]) {
    let Some((choice, data)) = chosen(data) else { return };
    match choice % 4 {
        0 => npy(data),
        1 => check(small(), &[("a.csv", data)]),
        2 => both(|schema| check(schema, &[("a.json", data)])),
        _ => both(|schema| check(schema, &[("a.jsonl", data)])),
    }
}

fn both(check: impl Fn(&Schema)) {
    check(small());
    check(&fixture().0);
}

/// Two bytes say how long that of the keys is, the rest is that of the vectors.
fn npy(data: &[u8]) {
    let Some((length, data)) = data.split_first_chunk::<2>() else { return };
    let (keys, vectors) = data.split_at(data.len().min(usize::from(u16::from_le_bytes(*length))));
    check(small(), &[("id.npy", keys), ("v.npy", vectors)]);
    // As each of the others, too, so that every type meets every field.
    for name in ["n.npy", "s.npy", "at.npy"] {
        check(small(), &[("id.npy", keys), (name, vectors)]);
    }
}

/// Inputs for [`parquet`] to begin with.
pub fn parquets() -> Vec<Vec<u8>> {
    use ::parquet::arrow::ArrowWriter;
    use ::parquet::basic::Compression;
    use ::parquet::file::properties::WriterProperties;
    use arrow_array::builder::{Float32Builder, Int32Builder, ListBuilder, StringBuilder};
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    let rows = |count: usize| {
        let mut numbers = Int32Builder::new();
        let (mut vectors, mut texts) =
            (ListBuilder::new(Float32Builder::new()), ListBuilder::new(StringBuilder::new()));
        for row in 0..count {
            numbers.append_option((row % 2 == 0).then_some(row as i32));
            vectors.values().append_slice(&[row as f32, 0.5]);
            vectors.append(true);
            (0..row % 3).for_each(|at| texts.values().append_value(format!("w{at}")));
            texts.append(row % 4 != 3);
        }
        let keys = Int64Array::from_iter_values(0..count as i64);
        let notes: StringArray = (0..count).map(|row| (row % 3 > 0).then(|| format!("t{row}"))).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(keys)),
            ("n", Arc::new(numbers.finish())),
            ("s", Arc::new(notes)),
            ("v", Arc::new(vectors.finish())),
            ("at", Arc::new(texts.finish())),
        ];
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
    };
    let packings = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW];
    let files = packings.iter().zip([6, 3, 0]).filter_map(|(packing, count)| {
        let rows = rows(count).ok()?;
        let properties = WriterProperties::builder().set_compression(*packing).build();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, rows.schema(), Some(properties)).ok()?;
        writer.write(&rows).ok()?;
        writer.close().ok()?;
        Some(out)
    });
    files.collect()
}

/// Inputs for [`npy`].
fn npys() -> Vec<Vec<u8>> {
    let file = |descr: &str, shape: &str, values: &[u8]| {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], text.as_bytes(), values].concat()
    };
    let both =
        |keys: Vec<u8>, vectors: Vec<u8>| [&(keys.len() as u16).to_le_bytes()[..], &keys, &vectors].concat();
    let keys = || file("<i8", "(2,)", &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    vec![
        both(keys(), file("<f4", "(2, 2)", &[0; 16])),
        both(keys(), file(">f8", "(2, 2)", &[0; 32])),
        both(keys(), file("<f2", "(2, 2)", &[0; 8])),
        both(keys(), file("<i4", "(2,)", &[0; 8])),
        both(
            keys(),
            file("<U3", "(2,)", &[97, 0, 0, 0, 98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        both(keys(), file("|S2", "(2,)", b"ab\0\0")),
        both(keys(), file("|b1", "(2,)", &[0, 1])),
        both(file("|u1", "(2,)", &[3, 4]), file("<f4", "(2, 2)", &[0; 16])),
    ]
}

fn csvs() -> Vec<Vec<u8>> {
    let texts = [
        "id,n,s,v,at\n1,2,one,\"[0.5, 1]\",\"[\"\"a\"\"]\"\n2,,\"two, \"\"x\"\"\",\"[1,2]\",\n",
        "v,id\n\"[0,1]\",7\r\n\"[2,3]\",8\r\n",
        "\u{feff} id , v \n1,\"[1e1,-0]\"\n",
        "id,v,more\n1,\"[1,2]\",3\n",
        "id,id\n1,1\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Inputs for [`files`] to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    let row = r#"{"id":1,"n":2,"s":"one","v":[0.5,1],"at":["a"]}"#;
    let all = r#"{"id":1,"b":true,"i8":-1,"i16":2,"i32":3,"i64":4,"f":0.5,"d":1e3,"s":"t","j":{"k":[1]},"g":"POINT (1 2)","ts":"2024-01-01T00:00:00Z","ai":[1],"at":["x"],"ab":[true],"v":[0,1],"h":[0.5,2],"bits":[1,255],"pairs":{"1":0.5},"clips":[{"n":1,"e":[0,1]}],"more":null}"#;
    let lists = [
        format!("[{row},{row}]"),
        format!("{{ \"rows\" : [ {row} ] }}"),
        format!("[{all}]"),
        "[]".to_owned(),
    ];
    let lines = [format!("{row}\n{row}\n"), format!("{all}\n{all}")];
    [
        tagged(b'0', npys()),
        tagged(b'1', csvs()),
        tagged(b'2', lists.map(String::into_bytes).to_vec()),
        tagged(b'3', lines.map(String::into_bytes).to_vec()),
    ]
    .concat()
}
