//! Claims about segments as a whole: what is written is loaded, damage is noticed, deletes and releases are exact.

use std::sync::Arc;

use bytes::Bytes;

use super::fixture::{ADDED, KEY, NOTE, NUMBER, Row, VECTOR, batch, field, keys, schema};
use super::*;
use crate::base::{
    ChannelName, CollectionId, IndexId, Kind, Kinded, PartitionId, Position, SegmentId, Timestamp,
};
use crate::blob::{Blobs, MemoryBlobs};
use crate::disk::{Reads, Scratch};
use crate::model::fixture::schema_of;
use crate::model::{
    Batch, Column, ColumnData, DataType, IndexDefinition, Metric, Schema, SegmentManifest, Value, Vector,
    memory,
};

const COLLECTION: CollectionId = CollectionId(1);
const PARTITION: PartitionId = PartitionId(2);

fn rows(count: i64) -> Vec<Row> {
    (0..count).map(|row| Row::of((row * 7) % count, row)).collect()
}

async fn write(blobs: &dyn Blobs, schema: &Schema, rows: &[Row], id: i64) -> Result<SegmentManifest, Error> {
    write_batch(blobs, schema, &batch(schema, rows), id).await
}

async fn write_batch(
    blobs: &dyn Blobs,
    schema: &Schema,
    rows: &Batch,
    id: i64,
) -> Result<SegmentManifest, Error> {
    let times: Vec<Timestamp> = (0..rows.rows as u64).map(|row| Timestamp(10 + row / 3)).collect();
    write_segment(blobs, COLLECTION, SegmentId(id), PARTITION, schema, rows, &times).await
}

fn hnsw() -> IndexDefinition {
    IndexDefinition {
        id: IndexId(7),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::L2),
        params: vec![("M".to_owned(), "8".to_owned())],
    }
}

/// The rows of a part, in row order, with their times.
fn stored(part: &Part) -> Vec<(Value, Value, Value, Value, Timestamp)> {
    let value = |field, row| part.column(field).map_or(Value::Null, |column| column.value(row));
    let vector = |row| {
        let vectors = part.vectors(VECTOR).unwrap();
        let is_valid = vectors.valid.as_ref().is_none_or(|valid| valid.contains(row));
        if is_valid { vectors.block.value(row) } else { Value::Null }
    };
    let all = 0..part.rows();
    all.map(|row| (value(KEY, row), value(NUMBER, row), value(NOTE, row), vector(row), part.time(row)))
        .collect()
}

#[tokio::test]
async fn what_was_written_is_loaded() {
    for key in [DataType::Int64, DataType::VarChar] {
        for count in [0, 1, 500] {
            let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(key)));
            let rows = rows(count);
            let manifest = write(blobs.as_ref(), &schema, &rows, 5).await.unwrap();

            let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[]).await.unwrap();

            let expected: Vec<_> = rows
                .iter()
                .enumerate()
                .map(|(at, row)| {
                    let key = crate::model::Column {
                        field: KEY,
                        data: batch(&schema, std::slice::from_ref(row)).columns[0].data.clone(),
                        valid: None,
                    };
                    let time = Timestamp(10 + at as u64 / 3);
                    (key.value(0), Value::Int(row.number), row.note_value(), row.vector_value(), time)
                })
                .collect();
            assert_eq!(stored(sealed.part()), expected);
            assert_eq!(
                (sealed.rows(), sealed.id(), sealed.partition()),
                (count as usize, SegmentId(5), PARTITION)
            );
            assert_eq!(sealed.manifest(), &manifest);
        }
    }
}

#[tokio::test]
async fn objects_are_where_the_layout_says_and_go_away_with_the_segment() {
    let (blobs, schema) = (MemoryBlobs::new(), schema(DataType::Int64));
    let manifest = write(blobs.as_ref(), &schema, &rows(20), 5).await.unwrap();
    let other = write(blobs.as_ref(), &schema, &rows(20), 50).await.unwrap();
    let built = build_index(blobs.as_ref(), COLLECTION, &schema, &manifest, &hnsw(), 9, 1).await.unwrap();

    assert_eq!(built.object.key, "segments/1/5/index-7-9.bin");
    let names =
        |entries: Vec<crate::blob::BlobEntry>| entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>();
    let found = names(blobs.list("segments/1/5/").await.unwrap());
    assert_eq!(
        found,
        [
            "segments/1/5/index-7-9.bin",
            "segments/1/5/manifest.json",
            "segments/1/5/scalars.parquet",
            "segments/1/5/stats.bin",
            "segments/1/5/vector-103.bin"
        ]
    );

    remove_segment(blobs.as_ref(), &manifest).await.unwrap();
    assert_eq!(blobs.list("segments/1/5/").await.unwrap(), []);
    assert_eq!(blobs.list("").await.unwrap().len(), 4, "another segment is left alone: {}", other.id);
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_written_over() {
    let (blobs, schema) = (MemoryBlobs::new(), schema(DataType::Int64));
    write(blobs.as_ref(), &schema, &rows(3), 5).await.unwrap();

    let second = write(blobs.as_ref(), &schema, &rows(4), 5).await;

    assert_eq!(second.unwrap_err().kind(), Kind::Exists);
}

/// A schema of a key and vectors of so many components, and rows of it.
fn wide_rows(dim: usize, count: usize) -> (Arc<Schema>, Batch) {
    let mut vectors = field(VECTOR, "v", DataType::FloatVector);
    vectors.type_params = vec![("dim".to_owned(), dim.to_string())];
    let schema = schema(DataType::Int64);
    let keys: Vec<Row> = rows(count as i64);
    let mut batch = batch(&schema, &keys);
    let schema = Schema { fields: vec![schema.primary().clone(), vectors], ..schema };
    batch.columns.truncate(1);
    let values = (0..count * dim).map(|at| ((at * 7_919) % 1_009) as f32 / 1_009.0).collect();
    batch.columns.push(Column { field: VECTOR, data: ColumnData::FloatVector { dim, values }, valid: None });
    (Arc::new(schema), batch)
}

#[tokio::test]
async fn vectors_on_the_disk_are_found_as_those_in_memory_and_take_none() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(folder.path().to_owned()).unwrap();
    let (schema, rows) = wide_rows(128, 3_000);
    let blobs = MemoryBlobs::new();
    let mut manifest = write_batch(blobs.as_ref(), &schema, &rows, 5).await.unwrap();
    let fields = [(VECTOR, Reads::Single)];
    let disk = Some(OnDisk { scratch: &scratch, fields: &fields });
    for (serial, index_type) in
        ["FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "HNSW_SQ", "HNSW_PQ", "DISKANN", "AISAQ", "SVS_VAMANA"]
            .into_iter()
            .enumerate()
    {
        let definition = IndexDefinition { index_type: index_type.to_owned(), params: Vec::new(), ..hnsw() };
        let build =
            build_index(blobs.as_ref(), COLLECTION, &schema, &manifest, &definition, serial as i64, 1);
        manifest.indexes = vec![build.await.unwrap()];
        let definitions = [definition];
        let load =
            |disk| Sealed::load_onto(blobs.as_ref(), Arc::clone(&schema), &manifest, &definitions, disk);

        let (held, mapped) = (load(None).await.unwrap(), load(disk).await.unwrap());

        let found = |sealed: &Sealed| {
            let part = sealed.part();
            let vectors = part.vectors(VECTOR).unwrap();
            let search = FieldSearch::new(part, vectors, Metric::L2);
            let Value::Vector(query) = vectors.block.value(77) else { panic!("it is a vector") };
            let params = search.params(&serde_json::Map::new(), 20).unwrap();
            search.search(&[&Vector::Dense(query)], 20, &params, None).unwrap()
        };
        assert_eq!(found(&held), found(&mapped), "{index_type}");
        let (held, mapped) = (held.memory_bytes() as u64, mapped.memory_bytes() as u64);
        assert_eq!(held - mapped, 3_000 * 128 * 4, "{index_type}");
        let foretold = memory::Needs::new(&schema, &definitions, &[VECTOR]).segment_bytes(&manifest);
        assert!(
            mapped <= foretold && (foretold - mapped) * 100 <= foretold * 25,
            "{index_type}: foretold {foretold}, taken {mapped} bytes"
        );
        assert_eq!(
            memory::fields_on_disk(&schema, &definitions).is_empty(),
            matches!(index_type, "FLAT" | "AISAQ" | "SVS_VAMANA"),
            "{index_type}"
        );
    }
}

#[tokio::test]
async fn a_segment_whose_vectors_find_no_place_on_the_disk_may_be_loaded_later() {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(folder.path().join("scratch")).unwrap();
    let (schema, rows) = wide_rows(32, 10);
    let blobs = MemoryBlobs::new();
    let manifest = write_batch(blobs.as_ref(), &schema, &rows, 5).await.unwrap();
    let load = || {
        let disk = Some(OnDisk { scratch: &scratch, fields: &[(VECTOR, Reads::InOrder)] });
        Sealed::load_onto(blobs.as_ref(), Arc::clone(&schema), &manifest, &[], disk)
    };

    std::fs::remove_dir(folder.path().join("scratch")).unwrap();
    let refused = load().await.unwrap_err();
    std::fs::create_dir(folder.path().join("scratch")).unwrap();
    let loaded = load().await.unwrap();

    assert!(matches!(refused, Error::Scratch { .. }) && refused.kind() == Kind::Unavailable, "{refused:?}");
    assert_eq!((loaded.rows(), refused.harm()), (10, None));
}

#[tokio::test]
async fn what_a_loaded_segment_takes_is_foretold() {
    let wide = |key| {
        let mut vectors = field(VECTOR, "v", DataType::FloatVector);
        vectors.type_params = vec![("dim".to_owned(), "256".to_owned())];
        let fields = vec![field(KEY, "id", key), vectors];
        schema_of(fields)
    };
    // Key, whether rows are mostly vector, and how much less may be taken than was foretold, in percent.
    for (key, is_wide, most) in [
        (DataType::Int64, false, 60),
        (DataType::VarChar, false, 60),
        (DataType::Int64, true, 3),
        (DataType::VarChar, true, 3),
    ] {
        let (mut schema, mut rows) = (schema(key), batch(&schema(key), &rows(2_000)));
        if is_wide {
            schema = wide(key);
            let values = (0..2_000 * 256).map(|at| (at % 1_009) as f32).collect();
            rows.columns.truncate(1);
            let data = ColumnData::FloatVector { dim: 256, values };
            rows.columns.push(Column { field: VECTOR, data, valid: None });
        }
        let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema));
        let manifest = write_batch(blobs.as_ref(), &schema, &rows, 5).await.unwrap();

        let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[]).await.unwrap();

        let (foretold, taken) = (manifest.loaded_bytes(&schema), sealed.memory_bytes() as u64);
        let is_near = taken <= foretold && (foretold - taken) * 100 <= foretold * most;
        assert!(is_near, "{key:?}, wide: {is_wide}: foretold {foretold}, taken {taken} bytes");
    }
}

#[tokio::test]
async fn what_an_index_of_sparse_rows_takes_is_foretold() {
    let mut of = schema(DataType::Int64);
    of.fields = vec![field(KEY, "id", DataType::Int64), field(VECTOR, "v", DataType::SparseFloatVector)];
    let of = Arc::new(of);
    // Indices that many rows have, and such as two have, rows apart.
    for (words, pairs) in [(500, 60_u32), (20_000, 20)] {
        let mut vectors = ColumnData::none_of(DataType::SparseFloatVector);
        for row in 0..2_000_u32 {
            let mut indices: Vec<u32> = (0..pairs).map(|at| (row * pairs + at) % words).collect();
            indices.sort_unstable();
            let values = vec![1.0; indices.len()];
            vectors.push(&Value::Sparse(crate::model::SparseVector { indices, values })).unwrap();
        }
        let keys = ColumnData::Int64((0..2_000).collect());
        let column = |field, data| Column { field, data, valid: None };
        let rows = Batch { rows: 2_000, columns: vec![column(KEY, keys), column(VECTOR, vectors)] };
        for algorithm in ["DAAT_MAXSCORE", "SINDI"] {
            let blobs = MemoryBlobs::new();
            let manifest = write_batch(blobs.as_ref(), &of, &rows, 5).await.unwrap();
            let params = [("inverted_index_algo", algorithm), ("sindi_window_size", "1024")];
            let definition = IndexDefinition {
                index_type: "SPARSE_INVERTED_INDEX".to_owned(),
                metric: Some(Metric::Ip),
                params: params.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
                ..hnsw()
            };
            let built =
                build_index(blobs.as_ref(), COLLECTION, &of, &manifest, &definition, 9, 1).await.unwrap();
            let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&of), &manifest, &[]).await.unwrap();
            let before = sealed.memory_bytes();
            sealed.attach_index(blobs.as_ref(), &built, &definition).await.unwrap();

            let taken = (sealed.memory_bytes() - before) as u64;
            let foretold = memory::index_bytes(&of, &manifest, &built, &definition);

            // Windows of rows that share indices take a quarter of those of rows that do not.
            let is_near = taken <= foretold && foretold <= 5 * taken;
            assert!(is_near, "{algorithm}, {words} words: foretold {foretold}, taken {taken} bytes");
        }
    }
}

#[tokio::test]
async fn damage_of_any_object_is_noticed() {
    let schema = Arc::new(schema(DataType::Int64));
    let whole = MemoryBlobs::new();
    let mut manifest = write(whole.as_ref(), &schema, &rows(40), 5).await.unwrap();
    manifest
        .indexes
        .push(build_index(whole.as_ref(), COLLECTION, &schema, &manifest, &hnsw(), 9, 1).await.unwrap());
    let undamaged = Sealed::load(whole.as_ref(), Arc::clone(&schema), &manifest, &[hnsw()]).await.unwrap();
    let expected = stored(undamaged.part());
    assert!(undamaged.lost_stats().is_none());
    for entry in whole.list("").await.unwrap().iter().filter(|entry| !entry.key.ends_with("manifest.json")) {
        for at in (0..entry.size_bytes as usize).step_by(37) {
            let blobs = MemoryBlobs::new();
            for other in whole.list("").await.unwrap() {
                let mut body = whole.read(&other.key).await.unwrap().to_vec();
                if other.key == entry.key {
                    body[at] ^= 0x04;
                }
                blobs.create(&other.key, Bytes::from(body)).await.unwrap();
            }
            let loaded = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[hnsw()]).await;
            let noticed = if entry.key.ends_with("stats.bin") {
                // Statistics only spare work: the rows are read without them.
                let loaded = loaded.unwrap();
                assert_eq!(stored(loaded.part()), expected, "byte {at} of {}", entry.key);
                loaded.lost_stats().map(Kinded::kind)
            } else {
                Some(loaded.unwrap_err().kind())
            };
            assert_eq!(noticed, Some(Kind::Corrupt), "byte {at} of {}", entry.key);
        }
    }
}

#[tokio::test]
async fn rows_are_read_without_statistics_that_are_lost_or_of_a_later_version() {
    let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
    let mut manifest = write(blobs.as_ref(), &schema, &rows(40), 5).await.unwrap();
    let whole = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[]).await.unwrap();
    let object = manifest.stats.clone().unwrap();
    let mut later = blobs.read(&object.key).await.unwrap().to_vec();
    later[4] = 2;
    blobs.delete(&object.key).await.unwrap();

    let lost = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[]).await.unwrap();
    manifest.stats = Some(crate::model::ObjectRef { crc32: crc32fast::hash(&later), ..object.clone() });
    blobs.create(&object.key, Bytes::from(later)).await.unwrap();
    let too_new = Sealed::load(blobs.as_ref(), schema, &manifest, &[]).await.unwrap();

    let kinds = [&whole, &lost, &too_new].map(|sealed| sealed.lost_stats().map(Kinded::kind));
    assert_eq!(kinds, [None, Some(Kind::NotFound), Some(Kind::Invalid)]);
    for sealed in [&lost, &too_new] {
        assert_eq!(stored(sealed.part()), stored(whole.part()));
    }
}

/// A store that hands out objects damaged until it is distrusted, as a cache with a bad copy does.
struct BadCopies(Arc<MemoryBlobs>, std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl Blobs for BadCopies {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), crate::blob::Error> {
        self.0.create(key, body).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, crate::blob::Error> {
        let mut body = self.0.read(key).await?.to_vec();
        if !self.1.load(std::sync::atomic::Ordering::SeqCst) {
            body[3] ^= 1;
        }
        Ok(body.into())
    }

    async fn read_range(&self, key: &str, range: std::ops::Range<u64>) -> Result<Bytes, crate::blob::Error> {
        self.0.read_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<crate::blob::BlobEntry>, crate::blob::Error> {
        self.0.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), crate::blob::Error> {
        self.0.delete(key).await
    }

    async fn distrust(&self, _: &str) {
        self.1.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test]
async fn what_was_damaged_on_its_way_is_read_again_past_every_copy() {
    let (whole, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
    let manifest = write(whole.as_ref(), &schema, &rows(40), 5).await.unwrap();
    let blobs = BadCopies(whole, false.into());

    let sealed = Sealed::load(&blobs, schema, &manifest, &[]).await.unwrap();

    assert_eq!(sealed.rows(), 40);
}

#[tokio::test]
async fn a_lost_object_is_not_found() {
    let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
    let manifest = write(blobs.as_ref(), &schema, &rows(4), 5).await.unwrap();
    blobs.delete("segments/1/5/scalars.parquet").await.unwrap();

    let loaded = Sealed::load(blobs.as_ref(), schema, &manifest, &[]).await;

    assert_eq!(loaded.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_field_added_later_reads_as_its_default() {
    let (blobs, old) = (MemoryBlobs::new(), schema(DataType::Int64));
    let manifest = write(blobs.as_ref(), &old, &rows(3), 5).await.unwrap();
    let mut added = field(ADDED, "added", DataType::Int32);
    added.default = Some(Value::Int(42));
    let mut new = old.clone();
    new.fields.push(added);

    let sealed = Sealed::load(blobs.as_ref(), Arc::new(new), &manifest, &[]).await.unwrap();

    let column = sealed.part().column(ADDED).unwrap();
    assert_eq!((0..3).map(|row| column.value(row)).collect::<Vec<_>>(), vec![Value::Int(42); 3]);
}

#[tokio::test]
async fn an_index_is_attached_to_a_loaded_segment() {
    let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
    let manifest = write(blobs.as_ref(), &schema, &rows(40), 5).await.unwrap();
    let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[hnsw()]).await.unwrap();
    assert!(!sealed.has_index(VECTOR));
    let built = build_index(blobs.as_ref(), COLLECTION, &schema, &manifest, &hnsw(), 9, 1).await.unwrap();

    sealed.attach_index(blobs.as_ref(), &built, &hnsw()).await.unwrap();

    assert!(sealed.has_index(VECTOR));
}

#[tokio::test]
async fn deletes_are_stored_and_read() {
    let blobs = MemoryBlobs::new();
    let deletes = Deletes {
        keys: crate::model::Keys::Int(vec![3, 1]),
        times: vec![Timestamp(5), Timestamp(4)],
        partitions: vec![None, Some(PARTITION)],
    };
    let channel = ChannelName::of(COLLECTION, 0);

    let manifest = write_deletes(blobs.as_ref(), COLLECTION, &channel, 8, &deletes).await.unwrap();

    assert_eq!(manifest.object.key, format!("deletes/1/{channel}/8.bin"));
    assert_eq!((manifest.rows, manifest.newest), (2, Timestamp(5)));
    assert_eq!(read_deletes(blobs.as_ref(), &manifest).await.unwrap(), deletes);
    remove_deletes(blobs.as_ref(), &manifest).await.unwrap();
    assert_eq!(read_deletes(blobs.as_ref(), &manifest).await.unwrap_err().kind(), Kind::NotFound);
}

fn visible_keys(parts: &[Arc<Part>], read_at: u64) -> Vec<i64> {
    let mut found = Vec::new();
    for part in parts {
        let visible = part.visible(None, Timestamp::ZERO, Timestamp(read_at));
        let seen = (0..part.rows()).filter(|row| visible.contains(*row));
        found.extend(seen.map(|row| match part.key(row) {
            KeyRef::Int(key) => key,
            KeyRef::Text(_) => panic!("keys are numbers here"),
        }));
    }
    found
}

#[test]
fn a_delete_hides_older_rows_from_its_time_on_whatever_the_order() {
    let schema = Arc::new(schema(DataType::Int64));
    for order in [[20, 12], [12, 20]] {
        let growing = Growing::new(Arc::clone(&schema));
        let append = |position, at, key| {
            growing.append(Position(position), PARTITION, Timestamp(at), &batch(&schema, &[Row::of(key, 1)]));
        };
        append(0, 10, 1);
        append(1, 11, 2);
        append(2, 15, 1);
        for at in order {
            growing.delete(&keys(&schema, &[1]), Timestamp(at), None);
        }

        let seen: Vec<Vec<i64>> =
            [9, 10, 11, 12, 15, 19, 20].map(|at| visible_keys(&growing.parts(), at)).to_vec();

        let expected: [&[i64]; 7] = [&[], &[1], &[1, 2], &[2], &[2, 1], &[2, 1], &[2]];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_delete_in_a_partition_leaves_the_others_alone() {
    let schema = Arc::new(schema(DataType::Int64));
    let growing = Growing::new(Arc::clone(&schema));
    for partition in [1, 2] {
        growing.append(
            Position(0),
            PartitionId(partition),
            Timestamp(1),
            &batch(&schema, &[Row::of(partition, 0)]),
        );
    }
    growing.delete(&keys(&schema, &[1, 2]), Timestamp(5), Some(PartitionId(2)));

    assert_eq!(visible_keys(&growing.parts(), 9), [1]);
}

#[test]
fn many_small_appends_leave_few_parts() {
    let schema = Arc::new(schema(DataType::VarChar));
    let growing = Growing::new(Arc::clone(&schema));
    for row in 0..1000 {
        growing.append(
            Position(row),
            PARTITION,
            Timestamp(row),
            &batch(&schema, &[Row::of(row as i64 * 37 % 1000, 1)]),
        );
    }

    assert_eq!(growing.rows(), 1000);
    assert!(growing.parts().len() <= 10, "{} parts", growing.parts().len());
}

#[test]
fn a_release_drops_exactly_the_rows_before_a_position() {
    let schema = Arc::new(schema(DataType::Int64));
    for before in 0..40 {
        let growing = Growing::new(Arc::clone(&schema));
        for position in 0..37 {
            let rows: Vec<Row> =
                (0..=position % 3).map(|row| Row::of((position * 10 + row) as i64, 1)).collect();
            growing.append(Position(position), PARTITION, Timestamp(position), &batch(&schema, &rows));
        }
        let deleted: Vec<i64> = (0..37).map(|position| position * 10).collect();
        growing.delete(&keys(&schema, &deleted), Timestamp(100), None);
        let snapshot = growing.snapshot();

        growing.release_before(Position(before));

        let expected: Vec<i64> = (before.min(37)..37)
            .flat_map(|position| (1..=position % 3).map(move |row| (position * 10 + row) as i64))
            .collect();
        assert_eq!(visible_keys(&growing.parts(), 100), expected);
        let kept: usize = (before.min(37)..37).map(|position| position as usize % 3 + 1).sum();
        assert_eq!((growing.rows(), snapshot.rows()), (kept, 73));
    }
}

#[test]
fn rows_that_are_not_whole_are_refused() {
    let schema = Arc::new(schema(DataType::Int64));
    let growing = Growing::new(Arc::clone(&schema));
    let mut ragged = batch(&schema, &[Row::of(1, 1)]);
    ragged.rows = 2;

    let refused = growing.try_append(Position(0), PARTITION, Timestamp(1), &ragged);

    assert!(matches!(refused, Err(Error::Ragged { .. })));
    assert_eq!(growing.rows(), 0);
}

#[test]
fn a_snapshot_from_a_position_has_exactly_the_rows_from_there_on() {
    let schema = Arc::new(schema(DataType::Int64));
    for from in 0..12 {
        let growing = Growing::new(Arc::clone(&schema));
        let append = |position: u64| {
            let rows: Vec<Row> = (0..3).map(|row| Row::of((position * 10 + row) as i64, 1)).collect();
            growing.append(Position(position), PARTITION, Timestamp(position), &batch(&schema, &rows));
        };
        (0..9).for_each(append);
        growing.delete(&keys(&schema, &[20, 51, 80]), Timestamp(50), None);
        let whole = visible_keys(&growing.parts(), 100);

        let some = growing.snapshot_from(Position(from));

        let expected: Vec<i64> = whole.iter().copied().filter(|key| *key >= from as i64 * 10).collect();
        assert_eq!(visible_keys(&some.parts(), 100), expected, "from {from}");
        assert_eq!(visible_keys(&growing.parts(), 100), whole, "nothing is lost by looking");
        (9..12).for_each(append);
        let crosses = |part: &Arc<Part>| (1..part.rows()).contains(&part.first_from(Position(from)));
        assert!(from >= 9 || !growing.parts().iter().any(crosses), "a split lasts");
    }
}

proptest::proptest! {
    /// Rows that came before a field have its default, those that came after their own values, however parts are joined,
    /// split and released.
    #[test]
    fn rows_before_and_after_a_new_field_are_told_apart(
        counts in proptest::collection::vec(1_usize..9, 1..30),
        at in 0_usize..30,
        released in 0_u64..30,
    ) {
        let old = Arc::new(schema(DataType::Int64));
        let mut added = field(ADDED, "added", DataType::Int64);
        added.default = Some(Value::Int(-1));
        let fields = old.fields.iter().cloned().chain([added.clone()]).collect();
        let new = Arc::new(Schema { fields, ..Schema::clone(&old) });
        let growing = Growing::new(Arc::clone(&old));
        let mut expected = Vec::new();
        for (position, count) in counts.iter().enumerate() {
            if position == at {
                growing.set_schema(Arc::clone(&new));
            }
            let first = position as i64 * 10;
            let rows: Vec<Row> = (0..*count as i64).map(|row| Row::of(first + row, row)).collect();
            let mut batch = batch(&old, &rows);
            if position >= at {
                let mut column = crate::model::Column::empty(&added);
                rows.iter().for_each(|row| column.data.push(&Value::Int(row.key * 2)).unwrap());
                batch.columns.push(column);
            }
            growing.append(Position(position as u64), PARTITION, Timestamp(position as u64 + 1), &batch);
            if position as u64 >= released {
                let value = |key: i64| if position >= at { key * 2 } else { -1 };
                expected.extend(rows.iter().map(|row| (Value::Int(row.key), Value::Int(value(row.key)))));
            }
        }
        growing.split_at(Position(released / 2));
        growing.release_before(Position(released));

        let mut found = Vec::new();
        for part in growing.parts().iter() {
            let value = |row| part.column(ADDED).map_or(Value::Int(-1), |column| column.value(row));
            found.extend((0..part.rows()).map(|row| (part.column(KEY).unwrap().value(row), value(row))));
        }
        proptest::prop_assert_eq!(found, expected);
    }
}
