//! Searches of rows that are not sealed, with and without interim indexes over them: the same rows are seen, and nearly
//! the same are found.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Readable, search};
use crate::base::{CollectionId, IndexId, PartitionId, Position, Rng as _, SeededRng, Timestamp};
use crate::expr;
use crate::model::fixture::schema_of;
use crate::model::{Batch, ColumnData, DataType, IndexDefinition, Keys, Metric, Schema};
use crate::plan::{SearchHits, SearchPlan};
use crate::segment::fixture::{KEY, NUMBER, VECTOR, field};
use crate::segment::{Growing, InterimSettings, InterimSpec};

const DIM: usize = 40;
const ROWS: usize = 30_000;
const BATCH: usize = 700;

fn wide_schema() -> Schema {
    let mut vector = field(VECTOR, "v", DataType::FloatVector);
    vector.type_params = vec![("dim".to_owned(), DIM.to_string())];
    vector.nullable = false;
    let fields = vec![field(KEY, "id", DataType::Int64), field(NUMBER, "n", DataType::Int64), vector];
    schema_of(fields)
}

/// `count` vectors around 60 centres.
fn clustered(count: usize, rng: &SeededRng) -> Vec<f32> {
    let unit = || (rng.next_u64() >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
    let middles: Vec<f32> = (0..60 * DIM).map(|_| unit() * 4.0).collect();
    let around = |_| {
        let centre = rng.below(60) as usize;
        middles[centre * DIM..][..DIM].iter().map(|middle| middle + unit() + unit()).collect::<Vec<f32>>()
    };
    (0..count).flat_map(around).collect()
}

/// The same history twice: rows in records of [`BATCH`], of two partitions, of which some are deleted and some written
/// again. Record `n` has position `n` and time `10 * n`.
fn twice(schema: &Arc<Schema>, values: &[f32]) -> [Growing; 2] {
    [(), ()].map(|()| {
        let growing = Growing::new(Arc::clone(schema));
        for (nth, values) in values.chunks(BATCH * DIM).enumerate() {
            let (count, first) = (values.len() / DIM, nth * BATCH);
            let mut batch = Batch::empty(schema);
            batch.rows = count;
            batch.columns[0].data = ColumnData::Int64((first as i64..(first + count) as i64).collect());
            batch.columns[1].data = ColumnData::Int64((0..count as i64).map(|row| row % 100).collect());
            batch.columns[2].data = ColumnData::FloatVector { dim: DIM, values: values.to_vec() };
            let (position, at) = (Position(nth as u64), Timestamp(nth as u64 * 10));
            growing.append(position, PartitionId(nth as i64 % 2), at, &batch);
            let deleted = (0..first as i64).filter(|key| key % 170 == nth as i64).collect();
            growing.delete(&Keys::Int(deleted), Timestamp(nth as u64 * 10 + 5), None);
        }
        growing
    })
}

fn definition(index_type: &str, metric: Metric) -> IndexDefinition {
    IndexDefinition {
        id: IndexId(7),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: index_type.to_owned(),
        metric: Some(metric),
        params: Vec::new(),
    }
}

/// Indexes every part that is large enough; returns how many there were.
fn index(growing: &Growing, definition: &IndexDefinition) -> usize {
    let spec = InterimSpec::of(definition, InterimSettings::default()).unwrap();
    let parts = growing.full_parts();
    for part in &parts {
        assert!(part.lacks_interim(&spec));
        part.build_interim(&spec, &|| false).unwrap();
        assert!(!part.lacks_interim(&spec));
    }
    parts.len()
}

/// One way to look at the rows.
struct Look {
    partitions: Option<Vec<PartitionId>>,
    filter: Option<&'static str>,
    read_at: Timestamp,
    count: usize,
}

fn looks() -> Vec<Look> {
    let all = || Look { partitions: None, filter: None, read_at: Timestamp::MAX, count: 10 };
    vec![
        all(),
        Look { count: 500, ..all() },
        Look { partitions: Some(vec![PartitionId(1)]), ..all() },
        Look { filter: Some("n < 5"), ..all() },
        Look { filter: Some("n == 5"), count: 50, ..all() },
        Look { filter: Some("id in [12, 9000, 16001, 29000]"), ..all() },
        Look { read_at: Timestamp(215), ..all() },
        Look { filter: Some("n > 40"), read_at: Timestamp(301), ..all() },
    ]
}

fn plan(schema: &Schema, metric: Metric, look: &Look, queries: Vec<Vec<f32>>) -> SearchPlan {
    SearchPlan {
        collection: CollectionId(1),
        partitions: look.partitions.clone(),
        field: VECTOR,
        metric,
        queries: queries.into_iter().map(Into::into).collect(),
        count: look.count,
        grouping: None,
        // Of another type of index, and too small: neither concerns rows that are not sealed.
        params: BTreeMap::from([("ef".to_owned(), "1".to_owned())]),
        range: None,
        filter: look.filter.map(|text| expr::parse(text, schema, &BTreeMap::new()).unwrap()),
        output: vec![KEY],
        read_at: look.read_at,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

fn answer(plan: &SearchPlan, schema: &Schema, growing: &Growing) -> SearchHits {
    search(plan, schema, &Readable { sealed: Vec::new(), growing: vec![Arc::new(growing.snapshot())] })
        .unwrap()
}

/// The keys found for each query.
fn keys_of(hits: &SearchHits) -> Vec<Vec<i64>> {
    let Keys::Int(keys) = &hits.keys else { panic!("keys are numbers") };
    let mut rest = keys.as_slice();
    let take = |count: &usize| {
        let (taken, after) = rest.split_at(*count);
        rest = after;
        taken.to_vec()
    };
    hits.counts.iter().map(take).collect()
}

#[test]
fn an_interim_index_sees_the_same_rows_and_finds_19_of_20() {
    let schema = Arc::new(wide_schema());
    let rng = SeededRng::new(5);
    let values = clustered(ROWS + 40, &rng);
    let (values, queries) = values.split_at(ROWS * DIM);
    let queries: Vec<Vec<f32>> = queries.chunks(DIM).map(<[f32]>::to_vec).collect();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let [scanned, indexed] = twice(&schema, values);
        assert_eq!(index(&indexed, &definition("HNSW", metric)), 2, "of three parts one is still small");
        for (nth, look) in looks().iter().enumerate() {
            let plan = plan(&schema, metric, look, queries.clone());
            let (truth, found) = (answer(&plan, &schema, &scanned), answer(&plan, &schema, &indexed));

            assert_eq!(found.counts, truth.counts, "{metric}, look {nth}: as many rows as there are");
            let (truth, found) = (keys_of(&truth), keys_of(&found));
            let both = |(truth, found): (&Vec<i64>, &Vec<i64>)| {
                found.iter().filter(|key| truth.contains(key)).count()
            };
            let hits: usize = truth.iter().zip(&found).map(both).sum();
            let all: usize = truth.iter().map(Vec::len).sum();
            assert!(hits * 20 >= all * 19, "{metric}, look {nth}: {hits} of {all}");
        }
    }
}

#[test]
fn where_an_exact_index_was_asked_for_the_interim_one_is_exact_too() {
    let schema = Arc::new(wide_schema());
    let rng = SeededRng::new(6);
    let values = clustered(ROWS + 10, &rng);
    let (values, queries) = values.split_at(ROWS * DIM);
    let queries: Vec<Vec<f32>> = queries.chunks(DIM).map(<[f32]>::to_vec).collect();
    for metric in [Metric::L2, Metric::Cosine] {
        let [scanned, indexed] = twice(&schema, values);
        index(&indexed, &definition("FLAT", metric));
        for look in looks() {
            let plan = plan(&schema, metric, &look, queries.clone());

            assert_eq!(answer(&plan, &schema, &indexed), answer(&plan, &schema, &scanned));
        }
    }
}

#[test]
fn an_index_for_another_metric_is_left_aside_and_replaced() {
    let schema = Arc::new(wide_schema());
    let values = clustered(ROWS, &SeededRng::new(7));
    let [_, growing] = twice(&schema, &values);
    index(&growing, &definition("HNSW", Metric::L2));
    let (l2, ip) = (definition("HNSW", Metric::L2), definition("HNSW", Metric::Ip));
    let lacking = |growing: &Growing, definition| {
        let spec = InterimSpec::of(definition, InterimSettings::default()).unwrap();
        growing.full_parts().iter().filter(|part| part.lacks_interim(&spec)).count()
    };

    assert_eq!((lacking(&growing, &l2), lacking(&growing, &ip)), (0, 2));
    index(&growing, &ip);
    assert_eq!((lacking(&growing, &l2), lacking(&growing, &ip)), (2, 0));
    growing.split_at(Position(30));
    assert_eq!(
        lacking(&growing, &ip),
        1,
        "rows that were cut apart are indexed anew where they are many enough"
    );
}
