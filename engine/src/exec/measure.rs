//! Measurements, run by hand: `cargo test --release -p engine --lib exec::measure -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Readable, query, search};
use crate::base::{CollectionId, IndexId, PartitionId, Position, Rng as _, SeededRng, SegmentId, Timestamp};
use crate::blob::MemoryBlobs;
use crate::expr;
use crate::model::fixture::schema_of;
use crate::model::{Batch, ColumnData, DataType, IndexDefinition, Keys, Metric, Schema};
use crate::plan::{QueryKind, QueryPlan, SearchPlan};
use crate::segment::fixture::{KEY, NUMBER, VECTOR, field};
use crate::segment::{
    Deletes, Growing, InterimSettings, InterimSpec, Sealed, SearchParams, build_index, write_segment,
};

const ROWS: usize = 63_000;
const WIDE: usize = 384;

fn wide_schema() -> Schema {
    let mut vector = field(VECTOR, "v", DataType::FloatVector);
    vector.type_params = vec![("dim".to_owned(), WIDE.to_string())];
    let fields = vec![field(KEY, "id", DataType::Int64), vector];
    schema_of(fields)
}

/// Numbers that look random and are the same each time.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn rows(schema: &Schema, start: usize, count: usize, values: &[f32]) -> Batch {
    let mut batch = Batch::empty(schema);
    batch.rows = count;
    batch.columns[0].data = ColumnData::Int64((start as i64..(start + count) as i64).collect());
    let values = values[start * WIDE..(start + count) * WIDE].to_vec();
    batch.columns[1].data = ColumnData::FloatVector { dim: WIDE, values };
    batch
}

fn plan(queries: Vec<Vec<f32>>, params: &[(&str, &str)]) -> SearchPlan {
    SearchPlan {
        collection: CollectionId(1),
        partitions: None,
        field: VECTOR,
        metric: Metric::L2,
        queries: queries.into_iter().map(Into::into).collect(),
        count: 10,
        grouping: None,
        params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        range: None,
        filter: None,
        output: vec![KEY],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

/// The median of the times that `work` takes for each of `queries`.
fn median(queries: &[Vec<f32>], mut work: impl FnMut(&Vec<f32>)) -> Duration {
    let mut times: Vec<Duration> = queries
        .iter()
        .map(|query| {
            let start = Instant::now();
            work(query);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
#[ignore = "measures"]
async fn what_exec_adds_to_an_index() {
    let (blobs, schema) = (MemoryBlobs::new(), Arc::new(wide_schema()));
    let values = noise(ROWS * WIDE);
    let batch = rows(&schema, 0, ROWS, &values);
    let id = SegmentId(1);
    let start = Instant::now();
    let times = vec![Timestamp(1); ROWS];
    let mut manifest =
        write_segment(blobs.as_ref(), CollectionId(1), id, PartitionId(1), &schema, &batch, &times)
            .await
            .unwrap();
    println!("write {:?}", start.elapsed());
    let definition = IndexDefinition {
        id: IndexId(7),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::L2),
        params: vec![("M".to_owned(), "16".to_owned()), ("efConstruction".to_owned(), "100".to_owned())],
    };
    let start = Instant::now();
    let built =
        build_index(blobs.as_ref(), CollectionId(1), &schema, &manifest, &definition, 1, 2).await.unwrap();
    println!("build {:?}", start.elapsed());
    manifest.indexes.push(built);
    let start = Instant::now();
    let sealed = Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[definition]).await.unwrap();
    println!("load {:?}, {} bytes in memory", start.elapsed(), sealed.memory_bytes());
    let index = sealed.part().index(VECTOR).unwrap();
    let on = Readable { sealed: vec![Arc::new(sealed)], growing: Vec::new() };
    let queries: Vec<Vec<f32>> = noise(2000 * WIDE).chunks(WIDE).map(<[f32]>::to_vec).collect();
    let params = SearchParams { ef: Some(64), ..SearchParams::default() };
    for _ in 0..3 {
        let alone =
            median(&queries, |query| drop(index.search(&query.clone().into(), 10, &params, None).unwrap()));
        let whole = median(&queries, |query| {
            drop(search(&plan(vec![query.clone()], &[("ef", "64")]), &schema, &on).unwrap());
        });
        println!("index alone {alone:?}, with exec {whole:?}");
    }
    let many = plan(queries[..1000].to_vec(), &[("ef", "64")]);
    let start = Instant::now();
    drop(search(&many, &schema, &on).unwrap());
    println!("1000 queries at once {:?}", start.elapsed());
}

#[test]
#[ignore = "measures"]
fn growing_rows_are_compared_at_the_speed_of_memory() {
    let schema = Arc::new(wide_schema());
    let values = noise(ROWS * WIDE);
    for step in [1, 100, 5000] {
        let growing = Growing::new(Arc::clone(&schema));
        let batches: Vec<Batch> = (0..ROWS)
            .step_by(step)
            .map(|first| rows(&schema, first, step.min(ROWS - first), &values))
            .collect();
        let start = Instant::now();
        let mut longest = Duration::ZERO;
        for (batch, position) in batches.iter().zip(0..) {
            let start = Instant::now();
            growing.append(Position(position), PartitionId(1), Timestamp(position + 1), batch);
            longest = longest.max(start.elapsed());
        }
        let (parts, bytes) = (growing.parts().len(), growing.memory_bytes());
        println!(
            "{step} rows each: append {:?}, at most {longest:?}, {parts} parts, {bytes} bytes",
            start.elapsed()
        );
        let on = Readable { sealed: Vec::new(), growing: vec![Arc::new(growing)] };
        let queries: Vec<Vec<f32>> = noise(100 * WIDE).chunks(WIDE).map(<[f32]>::to_vec).collect();
        let one =
            median(&queries, |query| drop(search(&plan(vec![query.clone()], &[]), &schema, &on).unwrap()));
        let start = Instant::now();
        drop(search(&plan(queries.clone(), &[]), &schema, &on).unwrap());
        println!("  one query {one:?}, 100 queries at once {:?}", start.elapsed());
    }
}

/// Real vectors of `name` in the folder `REDKITE_DATA` (see `index::tests::real`), or numbers that look random.
fn vectors(name: &str, count: usize) -> Vec<f32> {
    let folder = std::env::var("REDKITE_DATA").ok();
    let Some(bytes) = folder.and_then(|folder| std::fs::read(format!("{folder}/{name}")).ok()) else {
        println!("no real vectors: measured on noise");
        return noise(count * WIDE);
    };
    let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let pairs = bytes[head..].chunks_exact(2).take(count * WIDE);
    pairs.map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
}

#[test]
#[ignore = "measures"]
fn what_interim_indexes_change() {
    let schema = Arc::new(wide_schema());
    let values = vectors("debian-f16.npy", ROWS);
    let count = values.len() / WIDE;
    let growing = Growing::new(Arc::clone(&schema));
    for (first, position) in (0..count).step_by(100).zip(0..) {
        let batch = rows(&schema, first, 100.min(count - first), &values);
        growing.append(Position(position), PartitionId(1), Timestamp(position + 1), &batch);
    }
    let queries: Vec<Vec<f32>> = vectors("queries-f16.npy", 200).chunks(WIDE).map(<[f32]>::to_vec).collect();
    let on = Readable { sealed: Vec::new(), growing: vec![Arc::new(growing.snapshot())] };
    let ask = |query: &Vec<f32>| {
        let plan = SearchPlan { metric: Metric::Ip, ..plan(vec![query.clone()], &[]) };
        search(&plan, &schema, &on).unwrap().keys
    };
    let truth: Vec<Keys> = queries.iter().map(ask).collect();
    println!(
        "{count} rows, {} parts, scanned: {:?}",
        on.growing[0].parts().len(),
        median(&queries, |query| drop(ask(query)))
    );
    for (lists, probed) in [(128, 8), (128, 16), (128, 32), (64, 8), (256, 32)] {
        for part in growing.full_parts() {
            let definition = IndexDefinition {
                id: IndexId(7),
                name: "v".to_owned(),
                field: VECTOR,
                index_type: "HNSW".to_owned(),
                metric: Some(Metric::Ip),
                params: Vec::new(),
            };
            let spec = InterimSpec::of(&definition, InterimSettings { lists, probed }).unwrap();
            let start = Instant::now();
            part.build_interim(&spec, &|| false).unwrap();
            if probed == 8 && part.rows() == growing.full_parts()[0].rows() {
                println!("  {} rows indexed in {:?}", part.rows(), start.elapsed());
            }
        }
        let mut hits = 0;
        for (query, truth) in queries.iter().zip(&truth) {
            let (Keys::Int(found), Keys::Int(truth)) = (ask(query), truth) else { return };
            hits += found.iter().filter(|key| truth.contains(key)).count();
        }
        let share = hits as f64 / (queries.len() * 10) as f64;
        let took = median(&queries, |query| drop(ask(query)));
        println!("{lists} lists, {probed} read: {took:?}, recall {share}");
    }
}

#[tokio::test]
#[ignore = "measures"]
async fn what_statistics_spare() {
    const SEGMENTS: usize = 200;
    const EACH: usize = 10_000;
    let (blobs, rng) = (MemoryBlobs::new(), SeededRng::new(1));
    let fields = vec![field(KEY, "id", DataType::Int64), field(NUMBER, "n", DataType::Int64)];
    let schema = Arc::new(schema_of(fields));
    let mut known = Vec::new();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for number in 0..SEGMENTS {
        let keys: Vec<i64> = (0..EACH).map(|_| rng.next_u64() as i64).collect();
        known.push(keys[0]);
        let mut batch = Batch::empty(&schema);
        batch.rows = EACH;
        batch.columns[0].data = ColumnData::Int64(keys);
        // As after clustering: each segment has a range.
        batch.columns[1].data =
            ColumnData::Int64((0..EACH as i64).map(|row| number as i64 * 1_000 + row % 1_000).collect());
        let (id, times) = (SegmentId(number as i64 + 1), vec![Timestamp(1); EACH]);
        let written =
            write_segment(blobs.as_ref(), CollectionId(1), id, PartitionId(1), &schema, &batch, &times);
        let mut manifest = written.await.unwrap();
        with.push(Arc::new(Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[]).await.unwrap()));
        manifest.stats = None;
        without
            .push(Arc::new(Sealed::load(blobs.as_ref(), Arc::clone(&schema), &manifest, &[]).await.unwrap()));
    }
    for (name, sealed) in [("without", without), ("with", with)] {
        let bytes: usize = sealed.iter().map(|one| one.memory_bytes()).sum();
        let deletes = Deletes {
            keys: Keys::Int((0..1_000).map(|_| rng.next_u64() as i64).collect()),
            times: vec![Timestamp(9); 1_000],
            partitions: vec![None; 1_000],
        };
        let start = Instant::now();
        sealed.iter().for_each(|one| one.delete(&deletes));
        let deleted = start.elapsed();
        let on = Readable { sealed, growing: Vec::new() };
        let ask = |text: &str, kind| {
            let plan = QueryPlan {
                collection: CollectionId(1),
                partitions: None,
                filter: (!text.is_empty()).then(|| expr::parse(text, &schema, &Default::default()).unwrap()),
                limit: Some(10_000),
                order: None,
                output: vec![KEY],
                read_at: Timestamp::MAX,
                expired_before: Timestamp::ZERO,
                ignore_growing: false,
                kind,
            };
            let start = Instant::now();
            let found = query(&plan, &schema, &on).unwrap();
            (start.elapsed(), found.count)
        };
        let list: Vec<String> = known.iter().take(100).map(i64::to_string).collect();
        println!("{name} statistics, {SEGMENTS} segments of {EACH} rows, {bytes} bytes:");
        println!("  1,000 deletes of other keys: {deleted:?}");
        println!("  100 rows by key: {:?}", ask(&format!("id in [{}]", list.join(",")), QueryKind::Rows));
        println!("  a range in one segment: {:?}", ask("n >= 5000 and n < 5100", QueryKind::Rows));
        println!("  count(*): {:?}", ask("", QueryKind::Count));
        println!("  count of a range: {:?}", ask("n >= 5000 and n < 6000", QueryKind::Count));
    }
}
