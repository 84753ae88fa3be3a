//! Plans over segments against a naive evaluator: a list of rows and a list of deletes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Readable, query, search};
use crate::base::{
    CollectionId, FieldId, IndexId, Kind, Kinded, PartitionId, Position, SegmentId, Timestamp,
};
use crate::blob::MemoryBlobs;
use crate::expr::{self, Filter};
use crate::model::{DataType, IndexDefinition, Metric, Schema, Value};
use crate::plan::{
    Aggregate, AggregateOp, Aggregates, GroupField, QueryKind, QueryPlan, Range, SearchPlan, naive_aggregates,
};
use crate::segment::fixture::{DIM, KEY, NOTE, NUMBER, Row, VECTOR, batch, keys, schema, text_key};
use crate::segment::{Deletes, Growing, Sealed, build_index, write_segment};

const COLLECTION: CollectionId = CollectionId(1);

/// One write of a history.
#[derive(Clone, Debug)]
enum Step {
    Insert {
        partition: i64,
        keys: Vec<i64>,
    },
    Delete {
        partition: Option<i64>,
        keys: Vec<i64>,
    },
    Upsert {
        partition: i64,
        keys: Vec<i64>,
    },
    /// Seals all rows that are growing.
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some_keys = |most| prop::collection::vec(0_i64..12, 1..most);
    let step = prop_oneof![
        4 => (1_i64..3, some_keys(6)).prop_map(|(partition, keys)| Step::Insert { partition, keys }),
        2 => (prop::option::of(1_i64..3), some_keys(4)).prop_map(|(partition, keys)| Step::Delete { partition, keys }),
        3 => (1_i64..3, some_keys(4)).prop_map(|(partition, keys)| Step::Upsert { partition, keys }),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 1..40)
}

/// A row of the naive model.
#[derive(Clone, Debug)]
struct Known {
    row: Row,
    at: u64,
    partition: i64,
    is_sealed: bool,
}

/// The naive model.
#[derive(Default)]
struct History {
    rows: Vec<Known>,
    deletes: Vec<(i64, u64, Option<i64>)>,
}

impl History {
    fn visible(&self, expired_before: u64, read_at: u64, partitions: Option<&[i64]>) -> Vec<&Known> {
        let hides = |row: &Known, (key, at, partition): &(i64, u64, Option<i64>)| {
            *key == row.row.key
                && row.at < *at
                && *at <= read_at
                && partition.is_none_or(|one| one == row.partition)
        };
        let wanted = |row: &&Known| {
            (expired_before..=read_at).contains(&row.at)
                && partitions.is_none_or(|some| some.contains(&row.partition))
                && !self.deletes.iter().any(|delete| hides(row, delete))
        };
        self.rows.iter().filter(wanted).collect()
    }
}

/// An index of the scalar column `field`.
fn column_index(field: FieldId) -> IndexDefinition {
    IndexDefinition {
        id: IndexId(field.0),
        name: field.to_string(),
        field,
        index_type: "INVERTED".to_owned(),
        metric: None,
        params: Vec::new(),
    }
}

/// Plays a history into the model and into segments, in the way a querier does. Record `n` has time `10 * n`.
struct World {
    schema: Arc<Schema>,
    history: History,
    on: Readable,
    /// Rows of each partition since the last flush, with their times.
    unsealed: BTreeMap<i64, (Vec<Row>, Vec<Timestamp>)>,
    deletes: Vec<Deletes>,
    blobs: Arc<MemoryBlobs>,
    position: u64,
    number: i64,
}

impl World {
    fn new(key: DataType) -> Self {
        let schema = Arc::new(schema(key));
        let on = Readable { sealed: Vec::new(), growing: vec![Arc::new(Growing::new(Arc::clone(&schema)))] };
        Self {
            schema,
            history: History::default(),
            on,
            unsealed: BTreeMap::new(),
            deletes: Vec::new(),
            blobs: MemoryBlobs::new(),
            position: 0,
            number: 0,
        }
    }

    async fn play(key: DataType, steps: &[Step]) -> Self {
        let mut world = Self::new(key);
        for step in steps {
            world.position += 1;
            match step {
                Step::Insert { partition, keys } => world.insert(*partition, keys),
                Step::Delete { partition, keys } => world.delete(*partition, keys),
                Step::Upsert { partition, keys } => {
                    let mut keys = keys.clone();
                    keys.sort_unstable();
                    keys.dedup();
                    world.delete(None, &keys);
                    world.insert(*partition, &keys);
                }
                Step::Flush => world.flush().await,
            }
        }
        world
    }

    fn now(&self) -> u64 {
        self.position * 10
    }

    fn insert(&mut self, partition: i64, keys: &[i64]) {
        let rows: Vec<Row> =
            keys.iter().zip(self.number..).map(|(&key, number)| Row::of(key, number)).collect();
        self.number += rows.len() as i64;
        let (at, position) = (Timestamp(self.now()), Position(self.position));
        self.on.growing[0].append(position, PartitionId(partition), at, &batch(&self.schema, &rows));
        let (unsealed, times) = self.unsealed.entry(partition).or_default();
        unsealed.extend_from_slice(&rows);
        times.extend(rows.iter().map(|_| at));
        let known = rows.into_iter().map(|row| Known { row, at: at.0, partition, is_sealed: false });
        self.history.rows.extend(known);
    }

    fn delete(&mut self, partition: Option<i64>, deleted: &[i64]) {
        let at = Timestamp(self.now());
        let keys = keys(&self.schema, deleted);
        let count = keys.len();
        self.on.growing[0].delete(&keys, at, partition.map(PartitionId));
        let deletes =
            Deletes { keys, times: vec![at; count], partitions: vec![partition.map(PartitionId); count] };
        self.on.sealed.iter().for_each(|sealed| sealed.delete(&deletes));
        self.deletes.push(deletes);
        self.history.deletes.extend(deleted.iter().map(|&key| (key, at.0, partition)));
    }

    async fn flush(&mut self) {
        for (partition, (rows, times)) in std::mem::take(&mut self.unsealed) {
            let id = SegmentId(self.position as i64 * 100 + partition);
            let rows = batch(&self.schema, &rows);
            let partition = PartitionId(partition);
            let blobs = self.blobs.as_ref();
            let manifest =
                write_segment(blobs, COLLECTION, id, partition, &self.schema, &rows, &times).await.unwrap();
            let sealed = Sealed::load(blobs, Arc::clone(&self.schema), &manifest, &[]).await.unwrap();
            // A second time, and newest first: neither may matter.
            self.deletes.iter().chain(self.deletes.iter().rev()).for_each(|deletes| sealed.delete(deletes));
            let column_indexes = [NUMBER, NOTE].map(column_index);
            for (id, spec) in sealed.lacking_column_indexes(&self.schema, &column_indexes) {
                sealed.make_column_index(id, spec).await.unwrap();
            }
            self.on.sealed.push(Arc::new(sealed));
        }
        self.on.growing[0].release_before(Position(self.position));
        self.history.rows.iter_mut().for_each(|row| row.is_sealed = true);
    }

    fn key_value(&self, key: i64) -> Value {
        if self.schema.primary().data_type == DataType::Int64 {
            Value::Int(key)
        } else {
            Value::Text(text_key(key))
        }
    }

    fn filter(&self, which: usize, key: i64) -> Option<(Filter, Box<dyn Fn(&Row) -> bool>)> {
        let literal = |key: i64| match self.key_value(key) {
            Value::Int(key) => key.to_string(),
            value => format!(
                "{:?}",
                match value {
                    Value::Text(text) => text,
                    _ => String::new(),
                }
            ),
        };
        let (text, test): (String, Box<dyn Fn(&Row) -> bool>) = match which {
            0 => return None,
            1 => (
                format!("id in [{}, {}]", literal(key), literal(key + 5)),
                Box::new(move |row| row.key == key || row.key == key + 5),
            ),
            2 => (format!("id > {}", literal(key)), Box::new(move |row| row.key > key)),
            3 => ("n % 2 == 0".to_owned(), Box::new(|row| row.number % 2 == 0)),
            4 => (format!("n == {key}"), Box::new(move |row| row.number == key)),
            5 => (
                "note like 'note 1%' and n < 15".to_owned(),
                Box::new(|row| {
                    row.number < 15 && row.note.as_ref().is_some_and(|note| note.starts_with("note 1"))
                }),
            ),
            6 => (
                format!("n in [{key}, 3] or note == 'note 4'"),
                Box::new(move |row| {
                    row.number == key || row.number == 3 || row.note.as_deref() == Some("note 4")
                }),
            ),
            _ => ("note is null".to_owned(), Box::new(|row| row.note.is_none())),
        };
        Some((expr::parse(&text, &self.schema, &BTreeMap::new()).unwrap(), test))
    }
}

/// What is asked of a world.
#[derive(Clone, Debug)]
struct Question {
    /// Of all time there was, in thousandths, and beyond.
    read_at: u64,
    /// So many thousandths of all time before that; more than there were for no end.
    ttl: u64,
    partitions: Option<Vec<i64>>,
    filter: (usize, i64),
    limit: usize,
    ignore_growing: bool,
    center: i64,
    metric: Metric,
}

fn questions() -> impl Strategy<Value = Vec<Question>> {
    let partitions = prop::option::weighted(0.4, prop::collection::vec(1_i64..4, 1..3));
    let metric = prop_oneof![Just(Metric::L2), Just(Metric::Ip)];
    let question = (
        (0_u64..1100, 0_u64..1500),
        partitions,
        (0_usize..8, 0_i64..12),
        1_usize..9,
        any::<bool>(),
        0_i64..40,
        metric,
    );
    let question =
        question.prop_map(|((read_at, ttl), partitions, filter, limit, ignore_growing, center, metric)| {
            Question { read_at, ttl, partitions, filter, limit, ignore_growing, center, metric }
        });
    prop::collection::vec(question, 12)
}

/// The rows that the model would choose from.
fn candidates<'a>(world: &'a World, question: &Question) -> ((u64, u64), Vec<&'a Known>) {
    let read_at = world.now() * question.read_at / 1000;
    let expired_before = read_at.saturating_sub(world.now() * question.ttl / 1000);
    let test = world.filter(question.filter.0, question.filter.1);
    let mut rows = world.history.visible(expired_before, read_at, question.partitions.as_deref());
    rows.retain(|row| {
        (row.is_sealed || !question.ignore_growing) && test.as_ref().is_none_or(|(_, test)| test(&row.row))
    });
    ((expired_before, read_at), rows)
}

fn check_query(world: &World, question: &Question) {
    let ((expired_before, read_at), mut rows) = candidates(world, question);
    let mut plan = QueryPlan {
        collection: COLLECTION,
        partitions: question.partitions.as_ref().map(|ids| ids.iter().copied().map(PartitionId).collect()),
        filter: world.filter(question.filter.0, question.filter.1).map(|(filter, _)| filter),
        limit: (question.center % 4 != 0).then_some(question.limit),
        order: None,
        output: vec![NUMBER, NOTE, VECTOR, KEY],
        read_at: Timestamp(read_at),
        expired_before: Timestamp(expired_before),
        ignore_growing: question.ignore_growing,
        kind: QueryKind::Count,
    };
    assert_eq!(query(&plan, &world.schema, &world.on).unwrap().count, rows.len() as u64, "{question:?}");

    plan.kind = QueryKind::Rows;
    let found = query(&plan, &world.schema, &world.on).unwrap();
    // Rows of one key and one time may come in any order, so only keys and times are compared, and each row must exist.
    rows.sort_by_key(|row| (row.row.key, std::cmp::Reverse(row.at)));
    rows.dedup_by_key(|row| row.row.key);
    rows.truncate(plan.limit.unwrap_or(usize::MAX));
    let expected: Vec<(Value, u64)> = rows.iter().map(|row| (world.key_value(row.row.key), row.at)).collect();
    let column = |field: FieldId, row| found.rows.column(field).unwrap().value(row);
    let given: Vec<(Value, u64)> =
        (0..found.rows.rows).map(|row| (column(KEY, row), found.times[row].0)).collect();
    assert_eq!(given, expected, "{question:?}");
    for row in 0..found.rows.rows {
        let given = (column(NUMBER, row), column(NOTE, row), column(VECTOR, row));
        let is_row = |known: &&Known| {
            let row = &known.row;
            (Value::Int(row.number), row.note_value(), row.vector_value()) == given
        };
        let (_, visible) = candidates(world, question);
        assert!(visible.iter().any(is_row), "{given:?} is no row of {question:?}");
    }
    assert_eq!(found.count, found.rows.rows as u64);
    assert_eq!(found.keys.len(), found.rows.rows);
}

fn check_aggregates(world: &World, question: &Question) {
    let ((expired_before, read_at), rows) = candidates(world, question);
    let by = [NOTE, KEY, NUMBER].into_iter().filter(|field| (question.center >> (field.0 - KEY.0)) % 2 == 1);
    let of = |(op, field)| Aggregate { op, field };
    let aggregates = Aggregates {
        by: by.map(|field| GroupField { field, descending: question.ignore_growing }).collect(),
        of: [
            (AggregateOp::Count, None),
            (AggregateOp::Count, Some(VECTOR)),
            (AggregateOp::Sum, Some(NUMBER)),
            (AggregateOp::Average, Some(NUMBER)),
            (AggregateOp::Least, Some(NOTE)),
            (AggregateOp::Greatest, Some(KEY)),
        ]
        .map(of)
        .to_vec(),
        limit: (question.center % 3 == 0).then_some(question.limit),
    };
    let plan = QueryPlan {
        collection: COLLECTION,
        partitions: question.partitions.as_ref().map(|ids| ids.iter().copied().map(PartitionId).collect()),
        filter: world.filter(question.filter.0, question.filter.1).map(|(filter, _)| filter),
        limit: Some(0),
        order: None,
        output: Vec::new(),
        read_at: Timestamp(read_at),
        expired_before: Timestamp(expired_before),
        ignore_growing: question.ignore_growing,
        kind: QueryKind::Aggregates(aggregates.clone()),
    };
    let row = |known: &&Known| {
        let row = &known.row;
        let all = [
            (KEY, world.key_value(row.key)),
            (NUMBER, Value::Int(row.number)),
            (NOTE, row.note_value()),
            (VECTOR, row.vector_value()),
        ];
        BTreeMap::from(all)
    };

    let found = query(&plan, &world.schema, &world.on).unwrap();

    let expected = naive_aggregates(&aggregates, &rows.iter().map(row).collect::<Vec<_>>());
    assert_eq!(aggregates.finish(&found).unwrap().unwrap(), expected, "{question:?}");
}

fn score(metric: Metric, left: &[f32; DIM], right: &[f32; DIM]) -> f32 {
    let pairs = left.iter().zip(right);
    match metric {
        Metric::L2 => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
        _ => pairs.map(|(a, b)| a * b).sum(),
    }
}

/// Keys with their best score, nearest first. Values are small multiples of a quarter, so that scores are exact.
fn naive_search(
    world: &World,
    question: &Question,
    center: &[f32; DIM],
    range: Option<Range>,
) -> Vec<(Value, f32)> {
    let (_, rows) = candidates(world, question);
    let in_range = |score: f32| {
        range.is_none_or(|range| match question.metric {
            Metric::L2 => score < range.outer && range.inner.is_none_or(|inner| score >= inner),
            _ => score > range.outer && range.inner.is_none_or(|inner| score <= inner),
        })
    };
    let mut hits: Vec<(i64, f32)> = rows
        .iter()
        .filter_map(|row| Some((row.row.key, score(question.metric, row.row.vector.as_ref()?, center))))
        .filter(|hit| in_range(hit.1))
        .collect();
    hits.sort_by(|left, right| question.metric.nearest_first(left.1, right.1).then(left.0.cmp(&right.0)));
    let mut seen = std::collections::HashSet::new();
    hits.retain(|hit| seen.insert(hit.0));
    hits.into_iter().map(|(key, score)| (world.key_value(key), score)).collect()
}

fn check_search(world: &World, question: &Question) {
    let centers: Vec<[f32; DIM]> =
        (0..5).map(|query| [question.center as f32, query as f32, question.limit as f32]).collect();
    let (expired_before, read_at) = candidates(world, question).0;
    let ranges = [
        None,
        Some(Range { outer: 60.0, inner: None }),
        Some(Range { outer: 80.0, inner: Some(10.0) }),
        Some(Range { outer: 10.0, inner: Some(200.0) }),
    ];
    for range in ranges {
        let plan = SearchPlan {
            collection: COLLECTION,
            partitions: question
                .partitions
                .as_ref()
                .map(|ids| ids.iter().copied().map(PartitionId).collect()),
            field: VECTOR,
            metric: question.metric,
            queries: centers.iter().map(|center| center.to_vec().into()).collect(),
            count: question.limit,
            grouping: None,
            params: BTreeMap::new(),
            range,
            filter: world.filter(question.filter.0, question.filter.1).map(|(filter, _)| filter),
            output: vec![KEY, NUMBER],
            read_at: Timestamp(read_at),
            expired_before: Timestamp(expired_before),
            ignore_growing: question.ignore_growing,
        };
        let found = search(&plan, &world.schema, &world.on).unwrap();
        let mut start = 0;
        for (center, &count) in centers.iter().zip(&found.counts) {
            let expected = naive_search(world, question, center, range);
            let hits = start..start + count;
            start += count;
            // Which of several rows with the last score are given is open; all other keys are not.
            let scores: Vec<f32> = expected.iter().take(question.limit).map(|hit| hit.1).collect();
            assert_eq!(found.scores[hits.clone()], scores, "{question:?} {range:?}");
            for at in hits {
                let given = (found.rows.columns[0].value(at), found.scores[at]);
                assert!(expected.contains(&given), "{given:?} of {question:?} {range:?}");
            }
        }
        assert_eq!((start, found.keys.len(), found.rows.rows), (found.scores.len(), start, start));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_agree_with_the_naive_evaluator(steps in steps(), questions in questions(), is_text in any::<bool>()) {
        let key = if is_text { DataType::VarChar } else { DataType::Int64 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = runtime.block_on(World::play(key, &steps));
        for question in &questions {
            check_query(&world, question);
            check_aggregates(&world, question);
            check_search(&world, question);
        }
    }
}

/// One sealed segment of 200 rows in one partition, indexed by HNSW.
async fn indexed() -> (Arc<Schema>, Readable) {
    let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
    let rows: Vec<Row> = (0..200).map(|row| Row::of(row, row)).collect();
    let times = vec![Timestamp(1); rows.len()];
    let (id, partition) = (SegmentId(1), PartitionId(1));
    let rows = batch(&schema, &rows);
    let written = write_segment(blobs.as_ref(), COLLECTION, id, partition, &schema, &rows, &times).await;
    let mut manifest = written.unwrap();
    let definition = IndexDefinition {
        id: IndexId(7),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::L2),
        params: vec![("M".to_owned(), "8".to_owned())],
    };
    let built = build_index(blobs.as_ref(), COLLECTION, &schema, &manifest, &definition, 1, 1).await.unwrap();
    manifest.indexes.push(built);
    let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[definition]).await.unwrap();
    (schema, Readable { sealed: vec![Arc::new(sealed)], growing: Vec::new() })
}

fn simple_search(count: usize, params: &[(&str, &str)]) -> SearchPlan {
    SearchPlan {
        collection: COLLECTION,
        partitions: None,
        field: VECTOR,
        metric: Metric::L2,
        queries: vec![vec![50.0, 3.0, 12.5].into()],
        count,
        grouping: None,
        params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        range: None,
        filter: None,
        output: Vec::new(),
        read_at: Timestamp(1),
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

#[tokio::test]
async fn an_index_answers_with_visible_rows_only() {
    let (schema, on) = indexed().await;
    let plan = simple_search(5, &[("ef", "64")]);
    let before = search(&plan, &schema, &on).unwrap();
    assert_eq!((before.keys.get(0), before.scores[0]), (crate::model::Key::Int(50), 0.0));

    let keys = keys(&schema, &[50]);
    on.sealed[0].delete(&Deletes { keys, times: vec![Timestamp(5)], partitions: vec![None] });

    let later = SearchPlan { read_at: Timestamp(5), ..plan.clone() };
    assert_eq!(search(&later, &schema, &on).unwrap().keys.iter().next(), before.keys.iter().nth(1));
    assert_eq!(search(&plan, &schema, &on).unwrap(), before, "the older snapshot stays as it was");
}

#[tokio::test]
async fn a_parameter_that_the_index_refuses_is_the_clients_fault() {
    let (schema, on) = indexed().await;

    let refused = search(&simple_search(10, &[("ef", "1")]), &schema, &on).unwrap_err();

    assert_eq!(
        (refused.kind(), refused.to_string()),
        (Kind::Invalid, "ef(1) should be larger than k(10)".to_owned())
    );
}

#[tokio::test]
async fn a_query_of_another_dimension_is_refused() {
    let (schema, on) = indexed().await;
    let plan = SearchPlan { queries: vec![vec![1.0].into()], ..simple_search(3, &[]) };

    assert_eq!(search(&plan, &schema, &on).unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn many_queries_at_once_answer_as_each_alone() {
    let (schema, on) = indexed().await;
    let queries: Vec<Vec<f32>> = (0..100).map(|query| vec![query as f32 * 1.7, 3.0, 4.0]).collect();
    let together = SearchPlan {
        queries: queries.iter().cloned().map(Into::into).collect(),
        output: vec![NUMBER],
        ..simple_search(3, &[])
    };

    let found = search(&together, &schema, &on).unwrap();

    let mut start = 0;
    for (query, count) in queries.into_iter().zip(&found.counts) {
        let alone = SearchPlan { queries: vec![query.into()], ..together.clone() };
        let one = search(&alone, &schema, &on).unwrap();
        let hits: Vec<usize> = (start..start + count).collect();
        assert_eq!((found.keys.take(&hits), found.rows.take(&hits)), (one.keys, one.rows));
        start += count;
    }
}

#[test]
fn nothing_to_read_gives_empty_columns() {
    let schema = schema(DataType::VarChar);
    let plan = SearchPlan { output: vec![NUMBER, VECTOR], ..simple_search(3, &[]) };

    let found = search(&plan, &schema, &Readable::default()).unwrap();

    assert_eq!(found.counts, [0]);
    assert_eq!(found.keys, keys(&schema, &[]));
    assert_eq!(
        found.rows,
        crate::model::Batch {
            rows: 0,
            columns: vec![
                crate::model::Column::empty(&schema.fields[1]),
                crate::model::Column::empty(&schema.fields[3]),
            ],
        }
    );
}
