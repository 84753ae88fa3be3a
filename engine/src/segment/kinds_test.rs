//! Vectors of bits and of pairs through a segment's life: growing, joined, cut, interim, sealed, indexed, compacted.

use std::sync::Arc;

use super::fixture::{KEY, field};
use super::{
    FieldSearch, Growing, Hit, InterimSettings, InterimSpec, Part, Sealed, SearchParams, build_index,
    compact, write_segment,
};
use crate::base::{CollectionId, FieldId, IndexId, PartitionId, Position, SegmentId, Timestamp};
use crate::blob::MemoryBlobs;
use crate::model::fixture::schema_of;
use crate::model::{Batch, Bitset, DataType, IndexDefinition, Metric, Schema, SparseVector, Value, Vector};

const BITS: FieldId = FieldId(110);
const PAIRS: FieldId = FieldId(111);
const PARTITION: PartitionId = PartitionId(2);
const COLLECTION: CollectionId = CollectionId(1);

fn schema() -> Arc<Schema> {
    let mut bits = field(BITS, "bits", DataType::BinaryVector);
    bits.type_params = vec![("dim".to_owned(), "24".to_owned())];
    let mut pairs = field(PAIRS, "pairs", DataType::SparseFloatVector);
    pairs.type_params.clear();
    let fields = vec![field(KEY, "id", DataType::Int64), bits, pairs];
    Arc::new(schema_of(fields))
}

/// The vectors of a row; every seventh has none, every eleventh of the sparse ones is empty.
fn bits(key: i64) -> Value {
    if key % 7 == 3 { Value::Null } else { Value::Bits(vec![key as u8, (key * 37) as u8, (key / 3) as u8]) }
}

fn pairs(key: i64) -> Value {
    let indices: Vec<u32> = (0..9).filter(|index| (key >> (index % 5)) % 3 != 0 && key % 11 != 5).collect();
    let values =
        indices.iter().map(|index| ((key + 3) * (i64::from(*index) + 1) % 17) as f32 / 4.0).collect();
    if key % 7 == 4 { Value::Null } else { Value::Sparse(SparseVector { indices, values }) }
}

fn rows(schema: &Schema, keys: std::ops::Range<i64>) -> Batch {
    let mut batch = Batch::empty(schema);
    let values: [fn(i64) -> Value; 3] = [Value::Int, bits, pairs];
    for (column, value) in batch.columns.iter_mut().zip(values) {
        let all: Vec<Value> = keys.clone().map(value).collect();
        all.iter().for_each(|value| column.data.push(value).unwrap());
        let is_whole = all.iter().all(|value| *value != Value::Null);
        column.valid = (!is_whole).then(|| Bitset::from_fn(all.len(), |row| all[row] != Value::Null));
    }
    batch.rows = (keys.end - keys.start) as usize;
    batch
}

/// Keys and scores of the nearest 8 rows of some parts, by the searches of the parts.
fn found(parts: &[Arc<Part>], field: FieldId, metric: Metric, query: &Vector) -> Vec<(i64, f32)> {
    let mut all: Vec<(i64, f32)> = Vec::new();
    for part in parts {
        let vectors = part.vectors(field).unwrap();
        let search = FieldSearch::new(part, vectors, metric);
        let hits: Vec<Hit> =
            search.search(&[query], 8, &SearchParams::default(), vectors.valid.as_ref()).unwrap().remove(0);
        let keys = part.keys_of(&hits.iter().map(|hit| hit.row as usize).collect::<Vec<usize>>()).unwrap();
        all.extend(keys.iter().zip(&hits).map(|(key, hit)| match key {
            crate::model::Key::Int(key) => (key, hit.score),
            crate::model::Key::Text(_) => panic!("a key of another type"),
        }));
    }
    all.sort_by(|left, right| metric.nearest_first(left.1, right.1).then(left.0.cmp(&right.0)));
    all.truncate(8);
    all
}

/// The same by the definition, over all rows of `keys`.
fn wanted(keys: std::ops::Range<i64>, metric: Metric, query: &Vector) -> Vec<(i64, f32)> {
    let count = |left: &[u8], right: &[u8], both: fn(u8, u8) -> u8| -> f32 {
        left.iter().zip(right).map(|(left, right)| both(*left, *right).count_ones()).sum::<u32>() as f32
    };
    let score = |key: i64| match query {
        Vector::Bits(query) => match bits(key) {
            Value::Bits(row) if metric == Metric::Hamming => Some(count(query, &row, |a, b| a ^ b)),
            Value::Bits(row) => {
                let either = count(query, &row, |a, b| a | b);
                Some((either - count(query, &row, |a, b| a & b)) / either)
            }
            _ => None,
        },
        Vector::Sparse(query) => match pairs(key) {
            Value::Sparse(row) => {
                let at = |index| row.as_row().iter().find(|(known, _)| *known == index);
                let sum = query.as_row().iter().filter_map(|(index, value)| Some(value * at(index)?.1)).sum();
                Some(sum).filter(|sum: &f32| *sum > 0.0)
            }
            _ => None,
        },
        Vector::Dense(_) => None,
    };
    let mut all: Vec<(i64, f32)> = keys.filter_map(|key| Some((key, score(key)?))).collect();
    all.sort_by(|left, right| metric.nearest_first(left.1, right.1).then(left.0.cmp(&right.0)));
    all.truncate(8);
    all
}

fn questions() -> Vec<(FieldId, Metric, Vector)> {
    let bits = Vector::Bits(vec![0b101, 0xf0, 7]);
    let pairs = SparseVector { indices: vec![0, 2, 3, 40], values: vec![0.5, 1.0, 0.25, 1.0] };
    vec![
        (BITS, Metric::Hamming, bits.clone()),
        (BITS, Metric::Jaccard, bits),
        (PAIRS, Metric::Ip, Vector::Sparse(pairs)),
    ]
}

fn definitions(metric: Metric) -> [IndexDefinition; 2] {
    let of = |id, field, index_type: &str, metric, params: &[(&str, &str)]| IndexDefinition {
        id: IndexId(id),
        name: "i".to_owned(),
        field,
        index_type: index_type.to_owned(),
        metric: Some(metric),
        params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let of_bits = if metric == Metric::Ip { Metric::Hamming } else { metric };
    let sindi: [_; 2] = [("inverted_index_algo", "SINDI"), ("sindi_window_size", "1024")];
    let (name, params) = match metric {
        Metric::Ip => ("SPARSE_INVERTED_INDEX", &sindi[..]),
        _ => ("SPARSE_WAND", &[("drop_ratio_build", "0.2")][..]),
    };
    [of(1, BITS, "BIN_IVF_FLAT", of_bits, &[("nlist", "4")]), of(2, PAIRS, name, Metric::Ip, params)]
}

/// Every row's vectors as they are read.
fn assert_values(parts: &[Arc<Part>], keys: std::ops::Range<i64>) {
    let mut all = Vec::new();
    for part in parts {
        let value = |field, row: usize| {
            let vectors = part.vectors(field).unwrap();
            let is_valid = vectors.valid.as_ref().is_none_or(|valid| valid.contains(row));
            if is_valid { vectors.block.value(row) } else { Value::Null }
        };
        all.extend(
            (0..part.rows())
                .map(|row| (part.column(KEY).unwrap().value(row), value(BITS, row), value(PAIRS, row))),
        );
    }
    let wanted: Vec<_> = keys.map(|key| (Value::Int(key), bits(key), pairs(key))).collect();
    assert_eq!(all, wanted);
}

#[test]
fn growing_rows_are_found_while_parts_are_joined_cut_and_indexed_meanwhile() {
    let schema = schema();
    let growing = Growing::new(Arc::clone(&schema));
    let mut next = 0;
    for (position, count) in (1..).zip([1, 1, 5, 3, 40, 7, 200]) {
        growing.append(Position(position), PARTITION, Timestamp(9), &rows(&schema, next..next + count));
        next += count;
        growing.split_at(Position(5));
        assert_values(&growing.parts(), 0..next);
    }
    for (field, metric, query) in questions() {
        let parts = growing.parts();
        assert_eq!(found(&parts, field, metric, &query), wanted(0..next, metric, &query), "{metric}");
        for definition in definitions(metric) {
            let spec = InterimSpec::of(&definition, InterimSettings::default()).unwrap();
            for part in parts.iter() {
                let wants_one = definition.field == PAIRS && part.interim(PAIRS).is_none();
                assert_eq!(part.lacks_interim(&spec), wants_one);
                if wants_one {
                    assert!(part.interim_bytes(&spec) > 0);
                    part.build_interim(&spec, &|| false).unwrap();
                }
            }
        }
        assert_eq!(found(&parts, field, metric, &query), wanted(0..next, metric, &query), "{metric}");
    }
    growing.release_before(Position(5));
    assert_values(&growing.parts(), 10..next);
}

#[tokio::test]
async fn sealed_rows_are_found_by_their_indexes_and_kept_by_a_compaction() {
    let (blobs, schema) = (MemoryBlobs::new(), schema());
    let mut sources = Vec::new();
    for (id, keys) in [(1, 0..90), (2, 90..150)] {
        let (batch, times) = (rows(&schema, keys.clone()), keys.map(|key| Timestamp(key as u64 + 1)));
        let times: Vec<Timestamp> = times.collect();
        let made =
            write_segment(blobs.as_ref(), COLLECTION, SegmentId(id), PARTITION, &schema, &batch, &times)
                .await;
        sources.push(made.unwrap());
    }
    let id = SegmentId(3);
    let one = compact(blobs.as_ref(), COLLECTION, id, &schema, &sources, &[], Default::default())
        .await
        .unwrap()
        .remove(0);

    for (field, metric, query) in questions() {
        let mut with_index = one.clone();
        let all = definitions(metric);
        for (definition, serial) in all.iter().zip(40 + 10 * metric as i64..) {
            let built = build_index(blobs.as_ref(), COLLECTION, &schema, &one, definition, serial, 1).await;
            with_index.indexes.push(built.unwrap());
        }
        for manifest in [&one, &with_index] {
            let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&schema), manifest, &all).await.unwrap();
            let parts = [Arc::clone(sealed.part())];
            assert_eq!(sealed.has_index(field), manifest.indexes.len() == 2);
            assert_values(&parts, 0..150);
            assert_eq!(found(&parts, field, metric, &query), wanted(0..150, metric, &query), "{metric}");
        }
    }
}
