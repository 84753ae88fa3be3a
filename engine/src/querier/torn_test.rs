//! Reads through a router of a channel that two nodes hold together, one of which is behind the other again and again: what
//! an upsert replaces is seen until what replaces it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::QuerierSettings;
use super::fixture::{COLLECTION, Node, Owner, all_rows, channel, hold, order};
use crate::base::{NodeId, PartitionId, Position, Rng as _, SeededRng, SegmentId, TaskSet, Timestamp};
use crate::blob::MemoryBlobs;
use crate::model::{ChannelManifest, DataType, Keys, Metric, SegmentManifest};
use crate::plan::{QueryKind, SearchPlan};
use crate::router::Router;
use crate::router::tests::twin::World;
use crate::rpc::{ChannelShare, Consistency, NodeShare, Place, Reader as _, ReplicaRoute, Routes, Share};
use crate::segment::fixture::{NUMBER, Row, VECTOR, batch, schema};
use crate::segment::{Clustering, Deletes, compact, write_deletes, write_segment};

const KEYS: i64 = 6;

/// A row of `key` with a vector, which follows from the time.
fn row(key: i64, at: u64) -> Row {
    Row { vector: Some([1.0, key as f32, at as f32]), ..Row::of(key, at as i64) }
}

/// Two nodes with one channel: the first has the rows that are not sealed, the second the segments.
struct Pair {
    owner: Arc<Owner>,
    blobs: Arc<MemoryBlobs>,
    nodes: Vec<Node>,
    manifest: ChannelManifest,
    world: Arc<World>,
    router: Arc<Router>,
}

impl Pair {
    /// All keys, sealed.
    async fn new(tasks: &TaskSet) -> Self {
        let (owner, blobs) = (Arc::new(Owner::default()), MemoryBlobs::new());
        let node = |number| Node::numbered(number, &owner, &blobs, tasks, QuerierSettings::default());
        let nodes = vec![node(0), node(1)];
        let world = World::new();
        for (number, node) in nodes.iter().enumerate() {
            world.queriers.lock().insert(number.to_string(), Arc::clone(&node.querier) as _);
        }
        let router = world.router();
        let mut pair = Self { owner, blobs, nodes, manifest: ChannelManifest::default(), world, router };
        let rows: Vec<Row> = (0..KEYS).map(|key| row(key, 10)).collect();
        pair.owner.insert(&channel(0), 10, 1, &rows);
        pair.seal(1, &[(10, rows)]).await;
        pair.hold(&[1], pair.manifest.checkpoint).await;
        pair.publish(&[1], pair.manifest.checkpoint);
        pair
    }

    /// Adds a segment and a file of deletes to the manifest: everything that was written since the checkpoint, upserts but
    /// for the first rows.
    async fn seal(&mut self, id: i64, writes: &[(u64, Vec<Row>)]) {
        let schema = schema(DataType::Int64);
        let each = || writes.iter().flat_map(|(at, rows)| rows.iter().map(move |row| (Timestamp(*at), row)));
        let times: Vec<Timestamp> = each().map(|(at, _)| at).collect();
        let rows: Vec<Row> = each().map(|(_, row)| row.clone()).collect();
        let deletes = Deletes {
            keys: Keys::Int(rows.iter().map(|row| row.key).collect()),
            partitions: vec![None; rows.len()],
            times: times.clone(),
        };
        let (id, partition, rows) = (SegmentId(id), PartitionId(1), batch(&schema, &rows));
        let blobs = self.blobs.as_ref();
        let written = write_segment(blobs, COLLECTION, id, partition, &schema, &rows, &times).await.unwrap();
        self.manifest.segments.push(written);
        if id != SegmentId(1) {
            let file = write_deletes(blobs, COLLECTION, &channel(0), id.0, &deletes).await.unwrap();
            self.manifest.deletes.push(file);
        }
        self.manifest.checkpoint = self.owner.end(&channel(0));
    }

    /// Has the nodes hold segments, and the rows from a position on.
    async fn hold(&mut self, segments: &[i64], from: Position) {
        let wanted = [hold(&self.manifest, &[], Some(from.0)), hold(&self.manifest, segments, None)];
        for (node, wanted) in self.nodes.iter_mut().zip(&wanted) {
            node.order(vec![order(vec![wanted.clone()])]);
            node.until_ready(wanted).await;
        }
    }

    fn publish(&self, segments: &[i64], from: Position) {
        let part = |number: usize| {
            let is_first = number == 0;
            let segments = segments.iter().filter(|_| !is_first).copied().map(SegmentId).collect();
            let part = ChannelShare { channel: channel(0), segments, growing_from: is_first.then_some(from) };
            NodeShare {
                place: Place { node: NodeId(number as i64), address: number.to_string().into() },
                share: Arc::new(Share { channels: vec![part], ..Share::default() }),
            }
        };
        let nodes = (0..2).map(part).collect();
        *self.world.routes.lock() = Some(Arc::new(Routes {
            collection: COLLECTION,
            version: self.manifest.checkpoint.0,
            owners: Vec::new(),
            replicas: vec![ReplicaRoute {
                id: 1,
                group: String::new(),
                zone: String::new(),
                nodes,
                partitions: None,
            }],
            wanted: true,
            partitions: None,
            readable: crate::rpc::Extent::Unsaid,
            listening: false,
            harm: None,
        }));
    }

    /// Replaces the rows of all keys.
    fn upsert(&self, at: u64) -> (u64, Vec<Row>) {
        let rows: Vec<Row> = (0..KEYS).map(|key| row(key, at)).collect();
        self.owner.upsert(&channel(0), at, 1, &rows);
        (at, rows)
    }

    async fn until_applied(&self, node: usize) {
        let end = self.owner.end(&channel(0));
        let is_there = |node: &Node| node.channel(&channel(0)).is_some_and(|held| held.applied >= end);
        while !is_there(&self.nodes[node]) {
            tokio::task::yield_now().await;
        }
    }
}

/// The keys that a query and a search find.
async fn found(router: &Router, level: Consistency) -> (Vec<i64>, Vec<i64>) {
    let ints = |keys: Keys| match keys {
        Keys::Int(keys) => keys,
        Keys::Text(_) => panic!("keys are integers"),
    };
    let rows = router.query(all_rows(QueryKind::Rows), level).await.unwrap();
    let search = SearchPlan {
        collection: COLLECTION,
        partitions: None,
        field: VECTOR,
        metric: Metric::L2,
        queries: vec![vec![1.0, 0.0, 0.0].into()],
        count: 100,
        grouping: None,
        params: Default::default(),
        range: None,
        filter: None,
        output: Vec::new(),
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    };
    let mut hits = ints(router.search(search, level).await.unwrap().keys);
    hits.sort_unstable();
    (ints(rows.keys), hits)
}

fn all() -> (Vec<i64>, Vec<i64>) {
    ((0..KEYS).collect(), (0..KEYS).collect())
}

#[tokio::test]
async fn a_row_that_an_upsert_replaces_is_seen_until_the_one_that_replaces_it_is() {
    // Whichever of the two nodes is behind: one has deleted the old row, or one has the new row beside the old one.
    for behind in [0, 1] {
        let tasks = TaskSet::new();
        let pair = Pair::new(&tasks).await;
        pair.owner.set_paused(behind, true);
        pair.upsert(20);
        pair.until_applied(1 - behind).await;

        let count =
            pair.router.query(all_rows(QueryKind::Count), Consistency::Eventually).await.unwrap().count;
        for level in [Consistency::Eventually, Consistency::Session(Timestamp(10))] {
            assert_eq!((found(&pair.router, level).await, count), (all(), KEYS as u64), "{behind}");
        }
        tasks.stop();
        tasks.join().await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_is_behind_what_a_compaction_dropped_is_waited_for() {
    // Whether rows became one segment, or several by their values.
    for (clustering, made) in [(None, 1), (Some(Clustering { field: NUMBER, max_bytes: 1 }), KEYS - 1)] {
        read_beside_a_compaction(clustering, made as usize).await;
    }
}

/// Reads while a node is behind what the compaction of the other node's segments dropped, which makes so many.
async fn read_beside_a_compaction(clustering: Option<Clustering>, segments: usize) {
    let tasks = TaskSet::new();
    let mut pair = Pair::new(&tasks).await;
    // The first key is written anew and sealed, then its old row is dropped; only one of the nodes hears of all that.
    pair.owner.set_paused(0, true);
    pair.owner.upsert(&channel(0), 20, 1, &[row(0, 20)]);
    let from = pair.manifest.checkpoint;
    let (mut later, checkpoint) = (pair.manifest.clone(), pair.manifest.checkpoint);
    pair.seal(2, &[(20, vec![row(0, 20)])]).await;
    let schema = Arc::new(schema(DataType::Int64));
    let (old, deletes): (Vec<SegmentManifest>, _) =
        (pair.manifest.segments[..1].to_vec(), &pair.manifest.deletes);
    let blobs = pair.blobs.as_ref();
    let rules = crate::segment::Rules { clustering, ..Default::default() };
    let made = compact(blobs, COLLECTION, SegmentId(3), &schema, &old, deletes, rules).await.unwrap();
    let ids: Vec<i64> = made.iter().map(|one| one.id.0).collect();
    assert_eq!(ids.len(), segments);
    later.segments = made;
    later.deletes = pair.manifest.deletes.clone();
    later.checkpoint = pair.manifest.checkpoint;
    assert!(later.checkpoint > checkpoint);
    let wanted = hold(&later, &ids, None);
    pair.nodes[1].order(vec![order(vec![wanted.clone()])]);
    pair.nodes[1].until_ready(&wanted).await;
    // The new row is still read where it is not sealed: by the node that is behind.
    pair.publish(&ids, from);
    let (owner, began) = (Arc::clone(&pair.owner), tokio::sync::oneshot::channel::<()>());
    let release = async {
        began.1.await.unwrap();
        // Long enough for a read that does not wait to be over.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        owner.set_paused(0, false);
    };
    let read = async {
        began.0.send(()).unwrap();
        found(&pair.router, Consistency::Eventually).await
    };

    let (found, ()) = tokio::join!(read, release);

    assert_eq!(found, all());
    tasks.stop();
    tasks.join().await.unwrap();
}

/// What the readers and the one that writes share.
struct Readers {
    router: Arc<Router>,
    /// Time of the newest write.
    newest: AtomicU64,
    /// Reads that have ended.
    reads: AtomicUsize,
    wrong: Mutex<BTreeSet<String>>,
}

impl Readers {
    async fn read(&self, rng: &SeededRng) {
        let now = Timestamp(self.newest.load(Ordering::SeqCst));
        let levels = [Consistency::Strong, Consistency::Session(now), Consistency::Eventually];
        let level = levels[rng.below(3) as usize];
        let found = found(&self.router, level).await;
        if found != all() {
            self.wrong.lock().insert(format!("{level:?}: {found:?}"));
        }
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }

    /// Waits until some reads more have ended, or others have had so many turns.
    async fn let_read(&self, more: usize, turns: usize) {
        let goal = self.reads.load(Ordering::SeqCst) + more;
        let mut turn = 0;
        while self.reads.load(Ordering::SeqCst) < goal && turn < turns {
            tokio::task::yield_now().await;
            turn += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_amid_upserts_and_flushes_finds_every_key_of_two_nodes_once() {
    let tasks = TaskSet::new();
    let mut pair = Pair::new(&tasks).await;
    let readers = Arc::new(Readers {
        router: Arc::clone(&pair.router),
        newest: AtomicU64::new(10),
        reads: AtomicUsize::new(0),
        wrong: Mutex::default(),
    });
    for seed in 0..2 {
        let readers = Arc::clone(&readers);
        tasks.start("read", move |stop| async move {
            let rng = SeededRng::new(seed);
            while !stop.is_cancelled() {
                readers.read(&rng).await;
            }
            Ok(())
        });
    }

    let rng = SeededRng::new(9);
    for round in 2..40 {
        let old_from = pair.manifest.checkpoint;
        let mut writes = Vec::new();
        for _ in 0..2 {
            let behind = rng.below(2) as usize;
            pair.owner.set_paused(behind, true);
            let write = pair.upsert(readers.newest.load(Ordering::SeqCst) + 10);
            readers.newest.store(write.0, Ordering::SeqCst);
            writes.push(write);
            readers.let_read(2, 300).await;
            pair.owner.set_paused(behind, false);
        }
        pair.seal(round, &writes).await;
        pair.hold(&[round - 1, round], old_from).await;
        pair.manifest.segments.remove(0);
        pair.publish(&[round], pair.manifest.checkpoint);
        // Each reader has begun with the new route.
        readers.let_read(6, usize::MAX).await;
        pair.hold(&[round], pair.manifest.checkpoint).await;
    }

    tasks.stop();
    tasks.join().await.unwrap();
    assert_eq!(readers.wrong.lock().clone(), BTreeSet::new());
}
