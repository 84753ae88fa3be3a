//! What work on segments takes in memory while it lasts, by manifests. Estimates from above, of the greatest moment of each
//! piece of work; see there for what it holds when.

use super::build::spec_of;
use crate::base::FieldId;
use crate::model::{
    ColumnRef, DataType, DeleteManifest, Field, IndexDefinition, ObjectRef, Schema, SegmentManifest,
};

/// Numbers of a row while segments are joined: where it comes from and goes to, and its place in their order.
const ROW_BYTES: u64 = 48;
/// How many times larger than stored scalar values are taken to be that are not of a fixed length.
const UNPACKED: u64 = 2;

/// Making segments out of `sources`, see [`compact`](super::compact). Unit: bytes.
#[must_use]
pub fn compaction_bytes(schema: &Schema, sources: &[SegmentManifest], deletes: &[DeleteManifest]) -> u64 {
    let rows: u64 = sources.iter().map(|source| source.rows).sum();
    let scalars: u64 = sources.iter().map(|source| scalar_bytes(schema, source)).sum();
    let vectors = schema.vectors().map(|field| {
        let objects = sources.iter().flat_map(|source| &source.columns);
        let of_field = objects.filter(|column| is_vectors(column) && column.fields == [field.id]);
        let sizes = || of_field.clone().map(|column| column.object.size_bytes);
        // Where they come together and encoded; sparse ones as they came, too. Of the last source something may be left.
        let times = if field.data_type == DataType::SparseFloatVector { 3 } else { 2 };
        sizes().sum::<u64>() * times + sizes().max().unwrap_or(0)
    });
    // Computed where some lack it: signatures of one length, or counts of words, each about twice a word; and encoded.
    let computed = schema.recomputed().map(|function| {
        let dim = schema.field_by_id(function.output).map_or(0, Field::dim) as u64;
        if sources.iter().all(|source| source.has_vectors(function.output)) {
            0
        } else if dim > 0 {
            2 * rows * (dim / 8)
        } else {
            4 * scalars
        }
    });
    // As columns twice, and encoded.
    let while_scalars = 2 * scalars;
    let most = while_scalars.max(vectors.max().unwrap_or(0)).max(computed.max().unwrap_or(0));
    scalars + rows * ROW_BYTES + most + largest_file(deletes)
}

/// Building an index over a segment on `threads` threads, see [`build_index`](super::build_index). Unit: bytes.
#[must_use]
pub fn build_bytes(
    schema: &Schema,
    manifest: &SegmentManifest,
    definition: &IndexDefinition,
    threads: usize,
) -> u64 {
    let Some(field) = schema.field_by_id(definition.field) else { return 0 };
    let vectors = vector_bytes(manifest, definition.field);
    let building = spec_of(field.data_type, definition)
        .map_or(0, |spec| spec.build_bytes(vectors, manifest.rows, threads as u64));
    // While they are read they may be there twice: as an object, and as vectors.
    vectors + building.max(vectors)
}

/// Loading `columns` of a segment, or some of its indexes, one object after the other: what is needed besides that which
/// stays. With the deletes that are applied to it. Unit: bytes.
pub fn load_bytes<'a>(
    columns: impl IntoIterator<Item = &'a ColumnRef>,
    others: impl IntoIterator<Item = &'a ObjectRef>,
    deletes: impl IntoIterator<Item = &'a DeleteManifest>,
) -> u64 {
    let column = |column: &ColumnRef| {
        // Scalar columns are unpacked a stretch at a time, and move as they grow.
        let times = if is_vectors(column) { 1 } else { 1 + UNPACKED };
        column.object.size_bytes * times
    };
    let columns = columns.into_iter().map(column).max().unwrap_or(0);
    let others = others.into_iter().map(|object| object.size_bytes).max().unwrap_or(0);
    columns.max(others).max(largest_file(deletes))
}

/// The largest file of deletes, as it is stored and as it is read.
fn largest_file<'a>(deletes: impl IntoIterator<Item = &'a DeleteManifest>) -> u64 {
    deletes.into_iter().map(|file| 2 * file.object.size_bytes).max().unwrap_or(0)
}

fn is_vectors(column: &ColumnRef) -> bool {
    column.fields.len() == 1 && column.object.key.ends_with(".bin")
}

fn vector_bytes(manifest: &SegmentManifest, field: FieldId) -> u64 {
    let column = manifest.columns.iter().find(|column| column.fields == [field] && is_vectors(column));
    column.map_or(0, |column| column.object.size_bytes)
}

/// The scalar columns of a segment with its times, unpacked.
fn scalar_bytes(schema: &Schema, manifest: &SegmentManifest) -> u64 {
    let stored = manifest.columns.iter().filter(|column| !is_vectors(column));
    let stored: u64 = stored.map(|column| column.object.size_bytes).sum();
    let fixed: u64 = schema.fields.iter().map(|field| fixed_bytes(field.data_type)).sum();
    UNPACKED * stored + manifest.rows * (fixed + 8)
}

/// What every value of a type takes: all of a number, of a text where it ends.
const fn fixed_bytes(data_type: DataType) -> u64 {
    match data_type {
        DataType::Bool | DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 | DataType::Float => 4,
        DataType::Int64
        | DataType::Double
        | DataType::Timestamptz
        | DataType::VarChar
        | DataType::Text
        | DataType::Json
        | DataType::Array(_)
        | DataType::ArrayOfVector(_)
        | DataType::Geometry => 8,
        DataType::FloatVector
        | DataType::Float16Vector
        | DataType::BFloat16Vector
        | DataType::Int8Vector
        | DataType::BinaryVector
        | DataType::SparseFloatVector => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::{CollectionId, IndexId, PartitionId, Rng as _, SeededRng, SegmentId, Timestamp};
    use crate::blob::MemoryBlobs;
    use crate::model::{Batch, Column, ColumnData, Metric};
    use crate::segment::fixture::{DIM, KEY, Row, VECTOR, batch, field, schema};
    use crate::segment::{Rules, build_index, compact, write_segment};

    const COLLECTION: CollectionId = CollectionId(1);

    fn definition(index_type: &str) -> IndexDefinition {
        IndexDefinition {
            id: IndexId(1),
            name: "v".to_owned(),
            field: VECTOR,
            index_type: index_type.to_owned(),
            metric: Some(Metric::L2),
            params: Vec::new(),
        }
    }

    async fn segment(blobs: &MemoryBlobs, id: i64, rows: usize) -> SegmentManifest {
        let schema = schema(DataType::Int64);
        let all: Vec<Row> = (0..rows as i64).map(|key| Row::of(key, key)).collect();
        let (times, partition) = (vec![Timestamp(3); rows], PartitionId(1));
        let (id, all) = (SegmentId(id), batch(&schema, &all));
        write_segment(blobs, COLLECTION, id, partition, &schema, &all, &times).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_larger_is_taken_to_need_more_and_never_less_than_it_has() {
        let (blobs, schema) = (MemoryBlobs::new(), schema(DataType::Int64));
        let (small, large) = (segment(&blobs, 1, 500).await, segment(&blobs, 2, 4_000).await);
        let vectors = 4_000 * DIM as u64 * 4;

        for index_type in ["FLAT", "HNSW", "AUTOINDEX", "DISKANN", "IVF_FLAT", "IVF_SQ8"] {
            let needs = |one| build_bytes(&schema, one, &definition(index_type), 2);
            assert!(needs(&large) > needs(&small) && needs(&large) > vectors, "{index_type}");
        }
        let both = [small.clone(), large.clone()];
        let needs = |some| compaction_bytes(&schema, some, &[]);
        assert!(needs(&both) > needs(&both[..1]) && needs(&both) > 2 * vectors);
        let needs = |one: &SegmentManifest| load_bytes(&one.columns, &one.stats, []);
        assert!(needs(&large) > needs(&small) && needs(&large) > vectors);
        assert_eq!(load_bytes([], [], []), 0);
    }

    /// Kilobytes of the process: resident at most since it was last asked, and resident now.
    fn resident() -> (u64, u64) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap()
        };
        let now = (of("VmHWM:"), of("VmRSS:"));
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        now
    }

    async fn wide(blobs: &MemoryBlobs, id: i64, schema: &Schema, rows: usize, dim: usize) -> SegmentManifest {
        let rng = SeededRng::new(id as u64);
        let mut values = Vec::with_capacity(rows * dim);
        values.extend((0..rows * dim).map(|_| rng.below(1_000) as f32));
        let keys = ColumnData::Int64((0..rows as i64).collect());
        let vectors = ColumnData::FloatVector { dim, values };
        let column = |field, data| Column { field, data, valid: None };
        let all = Batch { rows, columns: vec![column(KEY, keys), column(VECTOR, vectors)] };
        let (id, times) = (SegmentId(id), vec![Timestamp(3); rows]);
        write_segment(blobs, COLLECTION, id, PartitionId(1), schema, &all, &times).await.unwrap()
    }

    /// What one kind of work takes, by the kernel, beside what it is taken to need. A process of its own for each:
    /// `WORK=HNSW ROWS=40000 cargo test --lib -- --ignored --nocapture needs::tests::measure`.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "measures"]
    async fn measure() {
        let work = std::env::var("WORK").unwrap_or_else(|_| "HNSW".to_owned());
        let rows = std::env::var("ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(40_000);
        let dim = 256;
        let mut of = schema(DataType::Int64);
        of.fields = vec![field(KEY, "id", DataType::Int64), field(VECTOR, "v", DataType::FloatVector)];
        of.fields[1].type_params = vec![("dim".to_owned(), dim.to_string())];
        let (blobs, of) = (MemoryBlobs::new(), Arc::new(of));
        let sources = [wide(&blobs, 1, &of, rows, dim).await, wide(&blobs, 2, &of, rows, dim).await];
        let (_, before) = resident();
        let needs = if work == "compact" {
            let id = SegmentId(3);
            let rules = Rules::default();
            compact(blobs.as_ref(), COLLECTION, id, &of, &sources, &[], rules).await.unwrap();
            compaction_bytes(&of, &sources, &[])
        } else {
            let wanted = definition(&work);
            build_index(blobs.as_ref(), COLLECTION, &of, &sources[0], &wanted, 1, 2).await.unwrap();
            build_bytes(&of, &sources[0], &wanted, 2)
        };
        let (most, _) = resident();
        println!("{work}: took {} MiB, taken to need {} MiB", (most - before) >> 10, needs >> 20);
    }
}
