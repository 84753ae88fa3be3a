//! Reads while rows are written, sealed and let go of: each sees exactly the rows of its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::QuerierSettings;
use super::fixture::{COLLECTION, Node, Owner, all_rows, channel, hold, order};
use crate::base::{PartitionId, Position, SegmentId, TaskSet, Timestamp};
use crate::blob::MemoryBlobs;
use crate::model::{ChannelManifest, DataType, Keys};
use crate::plan::QueryKind;
use crate::rpc::{ChannelShare, Error, Querier as _, ReadAfter, Share};
use crate::segment::fixture::{Row, batch, schema};
use crate::segment::{Deletes, write_deletes, write_segment};

const KEYS: i64 = 20;
/// Writes in each round, at most.
const WRITES: usize = 300;

/// What the writer, the readers and the one that seals share.
struct World {
    /// Time of the newest write.
    now: AtomicU64,
    /// Every write: its time and its rows, each of which replaced the older ones of its key.
    written: Mutex<Vec<(u64, Vec<Row>)>>,
    route: Mutex<Arc<Share>>,
    reads: AtomicUsize,
    /// How often rows were sealed.
    round: AtomicUsize,
}

fn share(segments: Vec<SegmentId>, from: Position) -> Arc<Share> {
    Arc::new(Share {
        channels: vec![ChannelShare { channel: channel(0), segments, growing_from: Some(from) }],
        ..Share::default()
    })
}

fn write(owner: &Owner, now: &AtomicU64, written: &Mutex<Vec<(u64, Vec<Row>)>>, keys: &[i64]) {
    let at = now.load(Ordering::SeqCst) + 10;
    let rows: Vec<Row> = keys.iter().map(|key| Row::of(*key, at as i64)).collect();
    let mut written = written.lock();
    owner.upsert(&channel(0), at, 1, &rows);
    written.push((at, rows));
    drop(written);
    now.store(at, Ordering::SeqCst);
}

/// Seals everything written since the last time and adds it to the manifest.
async fn seal(blobs: &MemoryBlobs, manifest: &mut ChannelManifest, writes: &[(u64, Vec<Row>)], id: i64) {
    let schema = schema(DataType::Int64);
    let rows: Vec<Row> = writes.iter().flat_map(|(_, rows)| rows.clone()).collect();
    let times: Vec<Timestamp> =
        writes.iter().flat_map(|(at, rows)| vec![Timestamp(*at); rows.len()]).collect();
    let deletes = Deletes {
        keys: Keys::Int(rows.iter().map(|row| row.key).collect()),
        partitions: vec![None; rows.len()],
        times: times.clone(),
    };
    let (id, partition, rows) = (SegmentId(id), PartitionId(1), batch(&schema, &rows));
    let segment = write_segment(blobs, COLLECTION, id, partition, &schema, &rows, &times).await.unwrap();
    manifest.segments.push(segment);
    manifest.deletes.push(write_deletes(blobs, COLLECTION, &channel(0), id.0, &deletes).await.unwrap());
    manifest.checkpoint = Position(manifest.checkpoint.0 + writes.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_exact_while_rows_are_written_sealed_and_let_go_of() {
    let (tasks, blobs, owner) = (TaskSet::new(), MemoryBlobs::new(), Arc::new(Owner::default()));
    let world = Arc::new(World {
        now: AtomicU64::new(0),
        written: Mutex::default(),
        route: Mutex::new(share(Vec::new(), Position(0))),
        reads: AtomicUsize::new(0),
        round: AtomicUsize::new(0),
    });
    write(&owner, &world.now, &world.written, &(0..KEYS).collect::<Vec<_>>());
    let mut node = Node::new(&owner, &blobs, &tasks, QuerierSettings::default());
    let mut manifest = ChannelManifest::default();
    node.order(vec![order(vec![hold(&manifest, &[], Some(0))])]);
    node.until_ready(&hold(&manifest, &[], Some(0))).await;
    let (writer, its_owner) = (Arc::clone(&world), Arc::clone(&owner));
    tasks.start("write", |stop| async move {
        let mut key = 0;
        while !stop.is_cancelled() {
            // A writer without a bound can keep two busy processors from ever catching up with it.
            if writer.written.lock().len() < WRITES * (1 + writer.round.load(Ordering::SeqCst)) {
                key = (key + 7) % (KEYS - 1);
                write(&its_owner, &writer.now, &writer.written, &[key, key + 1]);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    });
    for _ in 0..2 {
        let (world, querier) = (Arc::clone(&world), Arc::clone(&node.querier));
        tasks.start("read", |stop| async move {
            while !stop.is_cancelled() {
                let route = Arc::clone(&world.route.lock());
                let at = Timestamp(world.now.load(Ordering::SeqCst));
                let mut plan = all_rows(QueryKind::Count);
                plan.read_at = at;
                match querier.query(plan, route, ReadAfter::Time(at)).await {
                    Ok(found) => anyhow::ensure!(found.count == KEYS as u64, "{} rows at {at}", found.count),
                    Err(Error::Stale { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                world.reads.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            Ok(())
        });
    }

    for id in 1..=8 {
        world.round.fetch_add(1, Ordering::SeqCst);
        let old_from = manifest.checkpoint;
        while world.written.lock().len() <= old_from.0 as usize {
            tokio::task::yield_now().await;
        }
        let writes: Vec<_> = world.written.lock()[old_from.0 as usize..].to_vec();
        seal(&blobs, &mut manifest, &writes, id).await;
        let segments: Vec<i64> = (1..=id).collect();
        let both = hold(&manifest, &segments, Some(old_from.0));
        node.order(vec![order(vec![both.clone()])]);
        node.until_ready(&both).await;
        *world.route.lock() = share(both.segments, manifest.checkpoint);
        let reads = world.reads.load(Ordering::SeqCst);
        while world.reads.load(Ordering::SeqCst) < reads + 6 {
            tokio::task::yield_now().await;
        }
        node.order(vec![order(vec![hold(&manifest, &segments, Some(manifest.checkpoint.0))])]);
    }

    tasks.stop();
    tasks.join().await.unwrap();
    assert!(world.reads.load(Ordering::SeqCst) > 50);
}
