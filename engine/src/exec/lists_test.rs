//! Claims about searches of arrays of vectors, over rows that grow and rows that are sealed, against a naive twin.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Readable, search};
use crate::base::{CollectionId, FieldId, PartitionId, Position, SegmentId, Timestamp};
use crate::blob::MemoryBlobs;
use crate::expr::{self, Templates};
use crate::model::{
    Batch, Bitset, DataType, ElementType, Field, Keys, Metric, Schema, StructField, Value, VectorElement,
};
use crate::plan::{Grouping, Range, SearchHits, SearchPlan, merge_search};
use crate::segment::fixture::{KEY, field};
use crate::segment::{Growing, Sealed, write_segment};

const COLLECTION: CollectionId = CollectionId(1);
const NUMBERS: FieldId = FieldId(121);
const VECTORS: FieldId = FieldId(122);

fn part(id: FieldId, name: &str, data_type: DataType) -> Field {
    Field { type_params: vec![("dim".to_owned(), "2".to_owned())], ..field(id, name, data_type) }
}

/// A key, and a nullable struct `s` of numbers `n` and vectors `v`.
fn schema() -> Arc<Schema> {
    let fields = vec![
        field(KEY, "id", DataType::Int64),
        part(NUMBERS, "s[n]", DataType::Array(ElementType::Int64)),
        part(VECTORS, "s[v]", DataType::ArrayOfVector(VectorElement::Float)),
    ];
    let structs = vec![StructField {
        id: FieldId(120),
        name: "s".to_owned(),
        description: String::new(),
        nullable: true,
        parts: vec![NUMBERS, VECTORS],
        type_params: Vec::new(),
    }];
    Arc::new(Schema {
        description: String::new(),
        fields,
        enable_dynamic_field: false,
        functions: Vec::new(),
        structs,
        youngest_dropped: None,
    })
}

type Element = (i64, [f32; 2]);

/// One row: its key, and its elements, if it has an array at all.
#[derive(Clone, Debug)]
struct Row {
    key: i64,
    elements: Option<Vec<Element>>,
}

fn batch(schema: &Schema, rows: &[Row]) -> Batch {
    let mut batch = Batch::empty(schema);
    batch.rows = rows.len();
    let each = |row: &Row, value: fn(&Element) -> Value| match &row.elements {
        Some(elements) => Value::Array(elements.iter().map(value).collect()),
        None => Value::Null,
    };
    for row in rows {
        batch.columns[0].data.push(&Value::Int(row.key)).unwrap();
        batch.columns[1].data.push(&each(row, |(number, _)| Value::Int(*number))).unwrap();
        batch.columns[2].data.push(&each(row, |(_, vector)| Value::Vector(vector.to_vec()))).unwrap();
    }
    let valid = Bitset::from_fn(rows.len(), |row| rows[row].elements.is_some());
    if valid.count() < rows.len() {
        batch.columns[1].valid = Some(valid.clone());
        batch.columns[2].valid = Some(valid);
    }
    batch
}

fn plan(metric: Metric, queries: &[Vec<f32>], count: usize) -> SearchPlan {
    SearchPlan {
        collection: COLLECTION,
        partitions: None,
        field: VECTORS,
        metric,
        queries: queries.iter().cloned().map(Into::into).collect(),
        count,
        grouping: None,
        params: std::collections::BTreeMap::new(),
        range: None,
        filter: None,
        output: vec![KEY, NUMBERS],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

/// The first `sealed` rows in a sealed segment, the others growing in two parts.
async fn readable(schema: &Arc<Schema>, rows: &[Row], sealed: usize) -> Readable {
    let blobs = MemoryBlobs::new();
    let (first, rest) = rows.split_at(sealed);
    let mut on = Readable::default();
    if !first.is_empty() {
        let (id, times) = (SegmentId(1), vec![Timestamp(1); first.len()]);
        let batch = batch(schema, first);
        let written = write_segment(blobs.as_ref(), COLLECTION, id, PartitionId(1), schema, &batch, &times);
        let manifest = written.await.unwrap();
        let loaded = Sealed::load(blobs.as_ref(), Arc::clone(schema), &manifest, &[]).await.unwrap();
        on.sealed.push(Arc::new(loaded));
    }
    let growing = Growing::new(Arc::clone(schema));
    for (some, position) in rest.chunks(2).zip(10..) {
        growing.append(Position(position), PartitionId(1), Timestamp(position), &batch(schema, some));
    }
    on.growing.push(Arc::new(growing));
    on
}

fn keys(hits: &SearchHits) -> Vec<i64> {
    match &hits.keys {
        Keys::Int(keys) => keys.clone(),
        Keys::Text(_) => panic!("keys are numbers"),
    }
}

fn one(metric: Metric, left: &[f32], right: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a[0] * b[0] + a[1] * b[1];
    match metric {
        Metric::L2 => (left[0] - right[0]).powi(2) + (left[1] - right[1]).powi(2),
        Metric::Cosine => {
            let norms = dot(left, left).sqrt() * dot(right, right).sqrt();
            if norms == 0.0 { 0.0 } else { dot(left, right) / norms }
        }
        _ => dot(left, right),
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    // Whole numbers, so that scores are exact but for cosines.
    let component = || (-3_i8..4).prop_map(f32::from);
    let element = (0_i64..6, [component(), component()]);
    let elements = prop::option::weighted(0.9, prop::collection::vec(element, 0..4));
    prop::collection::vec(elements, 1..14)
        .prop_map(|all| (0..).zip(all).map(|(key, elements)| Row { key, elements }).collect())
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn near(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| (left - right).abs() < 1e-4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_found_as_by_comparing_them_all(
        rows in rows(),
        sealed in any::<prop::sample::Index>(),
        query in prop::collection::vec(-3_i8..4, 1..4),
        which in 0_usize..3,
        count in 1_usize..8,
        least in 0_i64..6,
    ) {
        let metric = [Metric::MaxSimIp, Metric::MaxSimL2, Metric::MaxSimCosine][which];
        let schema = schema();
        let on = run(readable(&schema, &rows, sealed.index(rows.len() + 1)));
        let query: Vec<[f32; 2]> = query.iter().map(|at| [f32::from(*at), 1.0]).collect();
        let single = metric.of_lists().unwrap();
        let mut plan = plan(metric, &[query.concat()], count);
        let text = format!("match_any(s, $[n] >= {least})");
        plan.filter = Some(expr::parse(&text, &schema, &Templates::new()).unwrap());

        let found = search(&plan, &schema, &on).unwrap();

        let mut wanted: Vec<(f32, i64)> = Vec::new();
        for row in &rows {
            let elements = row.elements.as_deref().unwrap_or_default();
            if !elements.iter().any(|(number, _)| *number >= least) {
                continue;
            }
            let best = |vector: &[f32; 2]| {
                let scores = elements.iter().map(|(_, one_of)| one(single, vector, one_of));
                if single == Metric::L2 {
                    scores.fold(f32::INFINITY, f32::min)
                } else {
                    scores.fold(f32::NEG_INFINITY, f32::max)
                }
            };
            wanted.push((query.iter().map(best).sum(), row.key));
        }
        wanted.sort_by(|left, right| metric.nearest_first(left.0, right.0));
        let scores: Vec<f32> = wanted.iter().take(count).map(|(score, _)| *score).collect();
        prop_assert!(near(&found.scores, &scores), "{:?} and not {:?}", found.scores, scores);
        for (key, score) in keys(&found).iter().zip(&found.scores) {
            prop_assert!(wanted.iter().any(|(known, of)| of == key && (known - score).abs() < 1e-4));
        }
        prop_assert_eq!(found.elements(), None);
    }

    #[test]
    fn elements_are_found_as_by_comparing_them_all(
        rows in rows(),
        sealed in any::<prop::sample::Index>(),
        (x, y) in (-3_i8..4, -3_i8..4),
        is_l2 in any::<bool>(),
        count in 1_usize..12,
        (least, farthest) in (0_i64..6, prop::option::of(-8_i8..20)),
    ) {
        let metric = if is_l2 { Metric::L2 } else { Metric::Ip };
        let schema = schema();
        let on = run(readable(&schema, &rows, sealed.index(rows.len() + 1)));
        let query = [f32::from(x), f32::from(y)];
        let mut plan = plan(metric, &[query.to_vec()], count);
        let text = format!("id >= 1 and element_filter(s, $[n] >= {least})");
        plan.filter = Some(expr::parse(&text, &schema, &Templates::new()).unwrap());
        plan.range = farthest.map(|outer| Range { outer: f32::from(outer), inner: None });

        let found = search(&plan, &schema, &on).unwrap();

        let mut wanted: Vec<(f32, i64, i64)> = Vec::new();
        for row in rows.iter().filter(|row| row.key >= 1) {
            for ((number, vector), at) in row.elements.iter().flatten().zip(0..) {
                let score = one(metric, &query, vector);
                let is_near = farthest.is_none_or(|outer| metric.nearest_first(score, f32::from(outer)).is_lt());
                if *number >= least && is_near {
                    wanted.push((score, row.key, at));
                }
            }
        }
        wanted.sort_by(|left, right| {
            metric.nearest_first(left.0, right.0).then(left.1.cmp(&right.1)).then(left.2.cmp(&right.2))
        });
        wanted.truncate(count);
        let elements = found.elements().unwrap().to_vec();
        let hits: Vec<(f32, i64, i64)> =
            found.scores.iter().zip(keys(&found)).zip(elements).map(|((score, key), at)| (*score, key, at)).collect();
        prop_assert_eq!(hits, wanted);
        // Answers of two nodes are put together element by element.
        let merged = merge_search(&plan, vec![found.clone(), found.clone()]).unwrap();
        prop_assert_eq!(merged, found);
    }
}

/// Scores, keys and elements of the hits; of hits of whole rows the elements are 0.
fn hits(found: &SearchHits) -> Vec<(f32, i64, i64)> {
    let elements = found.elements().map_or_else(|| vec![0; found.scores.len()], <[i64]>::to_vec);
    found.scores.iter().zip(keys(found)).zip(elements).map(|((score, key), at)| (*score, key, at)).collect()
}

/// The nearest of `all`, equal scores by key and element, each element of a key once.
fn nearest(metric: Metric, mut all: Vec<(f32, i64, i64)>, count: usize) -> Vec<(f32, i64, i64)> {
    all.sort_by(|left, right| {
        let by_key = (left.1, left.2).cmp(&(right.1, right.2));
        metric.nearest_first(left.0, right.0).then(by_key)
    });
    let mut seen = std::collections::HashSet::new();
    all.retain(|(_, key, element)| seen.insert((*key, *element)));
    all.truncate(count);
    all
}

/// Rows of two elements each, with many equal scores; the last fifty have the keys of the first fifty.
fn many() -> Vec<Row> {
    let element = |row: i64, at: i64| {
        let vector = [((row * 7 + at * 3) % 11 - 5) as f32, ((row * 5 + at) % 7 - 3) as f32];
        ((row + at) % 4, vector)
    };
    let row = |row: i64| Row {
        key: if row < 1450 { row } else { row - 1450 },
        elements: Some((0..2).map(|at| element(row, at)).collect()),
    };
    (0..1500).map(row).collect()
}

#[tokio::test]
async fn the_best_of_more_elements_than_are_kept_come_in_order() {
    let (schema, rows) = (schema(), many());
    let on = readable(&schema, &rows, 1400).await;
    let query = [2.0_f32, 1.0];
    let filter = expr::parse("element_filter(s, $[n] != 2)", &schema, &Templates::new()).unwrap();

    for (metric, count) in [(Metric::Ip, 1), (Metric::L2, 40), (Metric::Ip, 700), (Metric::L2, 5000)] {
        for filter in [None, Some(&filter)] {
            let mut plan = plan(metric, &[query.to_vec()], count);
            plan.filter = filter.cloned();

            let found = search(&plan, &schema, &on).unwrap();

            let mut all = Vec::new();
            for row in &rows {
                for ((number, vector), at) in row.elements.iter().flatten().zip(0..) {
                    if filter.is_none() || *number != 2 {
                        all.push((one(metric, &query, vector), row.key, at));
                    }
                }
            }
            assert_eq!(hits(&found), nearest(metric, all, count), "{metric} {count} {filter:?}");
        }
    }
}

#[tokio::test]
async fn rows_of_many_elements_come_by_their_best_ones() {
    let (schema, rows) = (schema(), many());
    let on = readable(&schema, &rows, 1400).await;
    let query = [2.0_f32, 1.0];
    let mut plan = plan(Metric::Ip, &[query.to_vec()], 30);
    plan.grouping = Some(Grouping { field: KEY, size: 1, strict: false });

    let found = search(&plan, &schema, &on).unwrap();

    let mut all = Vec::new();
    for row in &rows {
        for ((_, vector), at) in row.elements.iter().flatten().zip(0..) {
            all.push((one(Metric::Ip, &query, vector), row.key, at));
        }
    }
    let mut expected = nearest(Metric::Ip, all, usize::MAX);
    let mut seen = std::collections::HashSet::new();
    expected.retain(|(_, key, _)| seen.insert(*key));
    expected.truncate(30);
    assert_eq!(hits(&found), expected);
}

#[tokio::test]
async fn the_best_of_more_lists_than_are_kept_come_in_order() {
    let (schema, rows) = (schema(), many());
    let on = readable(&schema, &rows, 1400).await;
    let query = [[2.0_f32, 1.0], [-1.0, 3.0]];

    for (metric, count) in [(Metric::MaxSimIp, 40), (Metric::MaxSimL2, 600), (Metric::MaxSimIp, 5000)] {
        let single = metric.of_lists().unwrap();
        let found = search(&plan(metric, &[query.concat()], count), &schema, &on).unwrap();

        let score = |row: &Row| {
            let best = |vector: &[f32; 2]| {
                let scores = row.elements.iter().flatten().map(|(_, known)| one(single, vector, known));
                scores.min_by(|left, right| single.nearest_first(*left, *right)).unwrap()
            };
            query.iter().map(best).sum::<f32>()
        };
        let all = rows.iter().map(|row| (score(row), row.key, 0)).collect();
        assert_eq!(hits(&found), nearest(metric, all, count), "{metric} {count}");
    }
}

#[tokio::test]
async fn chosen_elements_have_the_cosines_that_they_have_among_all() {
    let (schema, rows) = (schema(), many());
    let rows = &rows[..60];
    let on = readable(&schema, rows, 40).await;
    let query = [2.0_f32, 1.0];
    let mut plan = plan(Metric::Cosine, &[query.to_vec()], 500);
    plan.filter = Some(expr::parse("element_filter(s, $[n] == 3)", &schema, &Templates::new()).unwrap());

    let found = search(&plan, &schema, &on).unwrap();

    let mut left = 0;
    for row in rows {
        for ((number, vector), at) in row.elements.iter().flatten().zip(0..) {
            let of_element: Vec<f32> = hits(&found)
                .into_iter()
                .filter(|(_, key, element)| (*key, *element) == (row.key, at))
                .map(|(score, ..)| score)
                .collect();
            let expected = if *number == 3 { vec![one(Metric::Cosine, &query, vector)] } else { Vec::new() };
            assert!(near(&of_element, &expected), "{of_element:?} and not {expected:?}");
            left += of_element.len();
        }
    }
    assert_eq!(left, found.scores.len());
}

#[tokio::test]
async fn elements_come_by_rows_if_that_is_asked_for() {
    let schema = schema();
    let row = |key, vectors: &[[f32; 2]]| Row {
        key,
        elements: Some(vectors.iter().map(|vector| (0, *vector)).collect()),
    };
    let rows = [
        row(1, &[[5.0, 0.0], [4.0, 0.0], [3.0, 0.0]]),
        row(2, &[[1.0, 0.0], [4.5, 0.0]]),
        row(3, &[[0.5, 0.0]]),
    ];
    let on = readable(&schema, &rows, 1).await;
    let mut plan = plan(Metric::Ip, &[vec![1.0, 0.0]], 2);
    plan.grouping = Some(Grouping { field: KEY, size: 2, strict: false });

    let found = search(&plan, &schema, &on).unwrap();

    assert_eq!((keys(&found), found.scores.clone()), (vec![1, 1, 2, 2], vec![5.0, 4.0, 4.5, 1.0]));
    assert_eq!(found.elements(), Some(&[0, 1, 1, 0][..]));
    assert_eq!(merge_search(&plan, vec![found.clone()]).unwrap(), found);
}

#[tokio::test]
async fn a_query_of_another_dimension_is_refused() {
    let schema = schema();
    let rows = [Row { key: 1, elements: Some(vec![(0, [1.0, 2.0])]) }];
    let on = readable(&schema, &rows, 0).await;

    assert!(search(&plan(Metric::MaxSimIp, &[vec![1.0; 3]], 1), &schema, &on).is_err());
    assert!(search(&plan(Metric::MaxSimIp, &[Vec::new()], 1), &schema, &on).is_err());
    assert_eq!(search(&plan(Metric::MaxSimIp, &[vec![1.0; 4]], 1), &schema, &on).unwrap().scores, [6.0]);
}
