//! Searches by groups over segments of every kind against a naive evaluator.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::{Readable, search};
use crate::base::{CollectionId, IndexId, PartitionId, Position, SegmentId, Timestamp};
use crate::blob::MemoryBlobs;
use crate::model::{DataType, IndexDefinition, Metric, Schema, Value, Vector};
use crate::plan::{Grouping, SearchHits, SearchPlan};
use crate::segment::fixture::{KEY, NOTE, NUMBER, Row, VECTOR, batch, schema};
use crate::segment::{Growing, Sealed, build_index, write_segment};

const COLLECTION: CollectionId = CollectionId(1);

/// A row with a key of its own; many rows have one number, and one note or none.
fn row(key: i64, group: i64, at: i64) -> Row {
    Row {
        key,
        number: group,
        note: (group % 3 != 0).then(|| format!("note {}", group % 3)),
        vector: Some([at as f32, (key % 3) as f32, 0.0]),
    }
}

/// Segments of some rows each, the last one growing.
async fn world(parts: &[Vec<Row>], index: Option<&str>) -> (Arc<Schema>, Readable) {
    let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
    let mut on = Readable { sealed: Vec::new(), growing: vec![Arc::new(Growing::new(Arc::clone(&schema)))] };
    for (number, rows) in (1_i64..).zip(parts).filter(|(_, rows)| !rows.is_empty()) {
        let (partition, batch) = (PartitionId(1), batch(&schema, rows));
        if number as usize == parts.len() {
            on.growing[0].append(Position(1), partition, Timestamp(1), &batch);
            continue;
        }
        let times = vec![Timestamp(1); rows.len()];
        let id = SegmentId(number);
        let written = write_segment(blobs.as_ref(), COLLECTION, id, partition, &schema, &batch, &times).await;
        let mut manifest = written.unwrap();
        let mut definitions = Vec::new();
        if let Some(index_type) = index {
            let definition = IndexDefinition {
                id: IndexId(7),
                name: "v".to_owned(),
                field: VECTOR,
                index_type: index_type.to_owned(),
                metric: Some(Metric::L2),
                params: if index_type == "HNSW" {
                    vec![("M".to_owned(), "8".to_owned())]
                } else {
                    vec![("nlist".to_owned(), "4".to_owned())]
                },
            };
            let built = build_index(blobs.as_ref(), COLLECTION, &schema, &manifest, &definition, 1, 1);
            manifest.indexes.push(built.await.unwrap());
            definitions.push(definition);
        }
        let sealed =
            Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &definitions).await.unwrap();
        on.sealed.push(Arc::new(sealed));
    }
    (schema, on)
}

fn plan(count: usize, grouping: Grouping, params: &[(&str, &str)]) -> SearchPlan {
    SearchPlan {
        collection: COLLECTION,
        partitions: None,
        field: VECTOR,
        metric: Metric::L2,
        queries: vec![vec![0.0, 0.0, 0.0].into(), vec![30.0, 1.0, 0.0].into()],
        count,
        grouping: Some(grouping),
        params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        range: None,
        filter: None,
        output: vec![KEY, grouping.field],
        read_at: Timestamp(1),
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

/// By query, the groups in their order, each with the scores of its hits; every hit is checked to be a row.
fn found(hits: &SearchHits, plan: &SearchPlan, rows: &[Row]) -> Vec<Vec<(Value, Vec<f32>)>> {
    let mut start = 0;
    let mut all = Vec::new();
    for (query, &count) in plan.queries.iter().zip(&hits.counts) {
        let mut groups: Vec<(Value, Vec<f32>)> = Vec::new();
        for hit in start..start + count {
            let (key, group) = (hits.rows.columns[0].value(hit), hits.rows.columns[1].value(hit));
            let known = rows.iter().find(|row| Value::Int(row.key) == key).unwrap();
            assert_eq!((distance(known, query), value(known, plan)), (hits.scores[hit], group.clone()));
            match groups.last_mut() {
                Some((last, scores)) if *last == group => scores.push(hits.scores[hit]),
                _ => groups.push((group, vec![hits.scores[hit]])),
            }
        }
        start += count;
        let names: HashSet<String> = groups.iter().map(|(group, _)| format!("{group:?}")).collect();
        assert_eq!(names.len(), groups.len(), "the hits of a group stand together");
        all.push(groups);
    }
    all
}

fn distance(row: &Row, query: &Vector) -> f32 {
    let Vector::Dense(query) = query else { panic!("queries are dense") };
    row.vector.iter().flatten().zip(query).map(|(left, right)| (left - right) * (left - right)).sum()
}

fn value(row: &Row, plan: &SearchPlan) -> Value {
    if plan.output[1] == NUMBER { Value::Int(row.number) } else { row.note_value() }
}

/// Scores of the groups in the order of their best: the groups themselves are open where two are equally good.
fn naive(rows: &[Row], plan: &SearchPlan, query: &Vector, size: usize) -> Vec<Vec<f32>> {
    let mut groups: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for row in rows {
        groups.entry(format!("{:?}", value(row, plan))).or_default().push(distance(row, query));
    }
    let mut groups: Vec<Vec<f32>> = groups.into_values().collect();
    for scores in &mut groups {
        scores.sort_by(f32::total_cmp);
        scores.truncate(size);
    }
    groups.sort_by(|left, right| left[0].total_cmp(&right[0]));
    groups
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_agree_with_the_naive_evaluator(
        parts in prop::collection::vec(prop::collection::vec((0_i64..9, 0_i64..200), 1..60), 1..4),
        index in prop_oneof![Just(None), Just(Some("IVF_FLAT")), Just(Some("HNSW"))],
        count in 1_usize..12,
        size in 1_usize..4,
        by_note in any::<bool>(),
    ) {
        let mut keys = 0..;
        let parts: Vec<Vec<Row>> = parts
            .into_iter()
            .map(|rows| rows.into_iter().zip(keys.by_ref()).map(|((group, at), key)| row(key, group, at)).collect())
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (schema, on) = runtime.block_on(world(&parts, index));
        let rows = parts.concat();
        let field = if by_note { NOTE } else { NUMBER };
        // As wide as it takes for a graph to be exact; what is tested is the way to the groups.
        let given: &[(&str, &str)] = if index == Some("HNSW") { &[("ef", "400")] } else { &[("nprobe", "4")] };
        for strict in [false, true] {
            let plan = plan(count, Grouping { field, size, strict }, given);
            let hits = search(&plan, &schema, &on).unwrap();
            for (query, groups) in plan.queries.iter().zip(found(&hits, &plan, &rows)) {
                let expected = naive(&rows, &plan, query, size);
                let best = |groups: Vec<Vec<f32>>| groups.iter().map(|scores| scores[0]).take(count).collect::<Vec<_>>();
                let given: Vec<Vec<f32>> = groups.into_iter().map(|(_, scores)| scores).collect();
                prop_assert_eq!(best(given.clone()), best(expected.clone()));
                // Where every group is wanted, no part leaves one out, and a strict search fills them all.
                if strict && count >= expected.len() {
                    let sorted = |mut groups: Vec<Vec<f32>>| { groups.sort_by(|a, b| a.partial_cmp(b).unwrap()); groups };
                    prop_assert_eq!(sorted(given), sorted(expected));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_group_behind_a_thousand_nearer_rows_of_another_is_found_by_a_narrow_search() {
    for (index, params) in [("HNSW", ("ef", "10")), ("IVF_FLAT", ("nprobe", "1"))] {
        let mut rows: Vec<Row> = (0..1000).map(|key| row(key, 1, key % 10)).collect();
        rows.extend((1000..1003).map(|key| row(key, key - 998, 100 + key)));
        let (schema, on) = world(&[rows.clone(), Vec::new()], Some(index)).await;
        let plan = plan(4, Grouping { field: NUMBER, size: 1, strict: false }, &[params]);

        let hits = search(&plan, &schema, &on).unwrap();

        let groups: Vec<Vec<Value>> = found(&hits, &plan, &rows)
            .into_iter()
            .map(|groups| groups.into_iter().map(|(group, _)| group).collect())
            .collect();
        assert_eq!(groups, vec![[1, 2, 3, 4].map(Value::Int).to_vec(); 2], "{index}");
    }
}
