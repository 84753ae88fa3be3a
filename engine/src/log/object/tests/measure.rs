//! What a million rows cost. Run by hand: `cargo test --workspace --lib -- --ignored --nocapture object::tests::measure`.

use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::faults::flawed_node;
use super::*;

const ROW_BYTES: usize = 1_600;

async fn measure(rows: u64, rows_per_append: u64, waiting: usize) {
    // Half before and half after: 10 ms on average.
    let faults = Faults { delay_ms: 10, ..Faults::default() };
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 1, faults);
    let settings = ObjectLogSettings { recent_bytes: 64 << 20, ..ObjectLogSettings::default() };
    let node = flawed_node(blobs.clone(), 1, settings, None);
    let writer = node.logs.open(&name(), 1).await.unwrap();
    let before = blobs.calls.load(Ordering::Relaxed);
    let payload = Bytes::from(vec![7; ROW_BYTES * usize::try_from(rows_per_append).unwrap()]);
    let began = std::time::Instant::now();
    let mut under_way = FuturesUnordered::new();
    let (mut sent, mut done) = (0, 0);
    while done < rows {
        while sent < rows && under_way.len() < waiting {
            under_way.push(writer.append(payload.clone()).unwrap().durable());
            sent += rows_per_append;
        }
        under_way.next().await.unwrap().unwrap();
        done += rows_per_append;
        // Room as a truncation would make it; a store in memory keeps what it has.
    }
    let took = began.elapsed().as_secs_f64();
    let requests = blobs.calls.load(Ordering::Relaxed) - before;
    println!(
        "{rows_per_append} rows an append, {waiting} waiting: {:.0} appends/s, {:.0} rows/s, {:.0} requests per million rows",
        (rows / rows_per_append) as f64 / took,
        rows as f64 / took,
        requests as f64 * 1e6 / rows as f64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn appends_and_requests() {
    for (rows, rows_per_append, waiting) in
        [(1_000, 1, 1), (10_000, 1, 64), (100_000, 1, 1_000), (200_000, 1, 40_000), (200_000, 100, 400)]
    {
        measure(rows, rows_per_append, waiting).await;
    }
}
