//! Claims about query nodes: what they answer, what they refuse, and when they say that they are ready.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::QuerierSettings;
use super::fixture::{COLLECTION, Node, Owner, all_rows, channel, hold, info, order, share};
use crate::base::{
    FieldId, IndexId, Kind, Kinded, PartitionId, Passing, Position, SegmentId, Shares, TaskSet, Timestamp,
    Work,
};
use crate::blob::MemoryBlobs;
use crate::disk::Scratch;
use crate::model::{
    ChannelManifest, Column, ColumnData, DataType, IndexDefinition, Keys, Metric, Partition, Schema,
    SegmentManifest, Value,
};
use crate::plan::{QueryKind, QueryPlan, SearchPlan};
use crate::rpc::{
    CollectionInfo, Error, Extent, HoldOrder, LoadSpec, Querier as _, ReadAfter, Refusal, Share,
};
use crate::segment::fixture::{ADDED, NOTE, NUMBER, Row, VECTOR, batch, field, schema};
use crate::segment::{Deletes, build_index, load_bytes, write_deletes, write_segment};

/// After so long a test has failed.
const LONG: Duration = Duration::from_secs(60);

/// An owner, a store and a node.
struct World {
    owner: Arc<Owner>,
    blobs: Arc<MemoryBlobs>,
    tasks: TaskSet,
    node: Node,
}

impl World {
    fn new() -> Self {
        Self::with(QuerierSettings::default())
    }

    fn with(settings: QuerierSettings) -> Self {
        let settings = QuerierSettings { retry: Duration::from_millis(20), ..settings };
        let (owner, blobs, tasks) = (Arc::new(Owner::default()), MemoryBlobs::new(), TaskSet::new());
        let node = Node::new(&owner, &blobs, &tasks, settings);
        Self { owner, blobs, tasks, node }
    }

    /// Seals rows with these keys, all written at `at`; their number is their key.
    async fn seal(&self, id: i64, at: u64, keys: &[i64]) -> SegmentManifest {
        let rows: Vec<Row> = keys.iter().map(|key| Row::of(*key, *key)).collect();
        let (schema, times) = (schema(DataType::Int64), vec![Timestamp(at); rows.len()]);
        let (id, partition, rows) = (SegmentId(id), PartitionId(1), batch(&schema, &rows));
        write_segment(self.blobs.as_ref(), COLLECTION, id, partition, &schema, &rows, &times).await.unwrap()
    }

    async fn seal_deletes(&self, serial: i64, at: u64, keys: &[i64]) -> crate::model::DeleteManifest {
        let deletes = Deletes {
            keys: Keys::Int(keys.to_vec()),
            times: vec![Timestamp(at); keys.len()],
            partitions: vec![None; keys.len()],
        };
        write_deletes(self.blobs.as_ref(), COLLECTION, &channel(0), serial, &deletes).await.unwrap()
    }

    /// The keys of the rows of segment 1 that match.
    async fn matching(&self, filter: &str) -> Keys {
        let mut plan = all_rows(QueryKind::Rows);
        let filter = crate::expr::parse(filter, &schema(DataType::Int64), &BTreeMap::new());
        plan.filter = Some(filter.unwrap());
        self.node.querier.query(plan, share(&[1], None), ALL).await.unwrap().keys
    }

    fn insert(&self, at: u64, key: i64) -> Position {
        self.owner.insert(&channel(0), at, 1, &[Row::of(key, key)])
    }

    async fn read(&self, share: Arc<Share>, after: ReadAfter) -> Result<Vec<i64>, Error> {
        read(&self.node, share, after).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// The keys of all rows of a share.
async fn read(node: &Node, share: Arc<Share>, after: ReadAfter) -> Result<Vec<i64>, Error> {
    let rows = node.querier.query(all_rows(QueryKind::Rows), share, after).await?;
    let Keys::Int(keys) = rows.keys else { panic!("keys are numbers") };
    Ok(keys)
}

fn manifest(checkpoint: u64, segments: &[&SegmentManifest]) -> ChannelManifest {
    ChannelManifest {
        checkpoint: Position(checkpoint),
        segments: segments.iter().copied().cloned().collect(),
        deletes: Vec::new(),
        ..ChannelManifest::default()
    }
}

const ALL: ReadAfter = ReadAfter::Everything;

#[tokio::test]
async fn which_part_of_which_segment_is_damaged_or_lost_is_said_in_words_for_clients() {
    let channel_name = channel(0);
    for part in ["scalars", "vectors", "deletes"] {
        for is_lost in [false, true] {
            let mut world = World::new();
            let sealed = world.seal(1, 5, &[1, 2, 3]).await;
            let mut manifest = manifest(0, &[&sealed]);
            manifest.deletes.push(world.seal_deletes(9, 6, &[2]).await);
            let mut keys = sealed.objects().into_iter().chain([manifest.deletes[0].object.key.clone()]);
            let name = if part == "deletes" { "deletes/" } else { &part[..6] };
            let key = keys.find(|key| key.contains(name)).expect("an object of this part");
            let blobs = world.blobs.clone() as Arc<dyn crate::blob::Blobs>;
            let mut body = blobs.read(&key).await.unwrap().to_vec();
            blobs.delete(&key).await.unwrap();
            if !is_lost {
                let middle = body.len() / 2;
                body[middle] ^= 4;
                blobs.create(&key, body.into()).await.unwrap();
            }

            let order = HoldOrder { info: info(1, Vec::new()), channels: vec![hold(&manifest, &[1], None)] };
            world.node.order(vec![order]);
            world
                .node
                .until("what is wrong", |node| node.held().is_some_and(|held| held.harm.is_some()))
                .await;

            let how = if is_lost { "lost" } else { "damaged" };
            let of = if part == "deletes" { channel_name.to_string() } else { "segment 1".to_owned() };
            assert_eq!(world.node.held().unwrap().harm, Some(format!("the {part} of {of} are {how}")));
        }
    }
}

#[tokio::test]
async fn that_the_log_is_damaged_is_said_in_words_for_clients_until_it_is_not() {
    let mut world = World::new();
    world.insert(10, 1);
    world.insert(20, 2);
    world.owner.damage(&channel(0), Some(1));
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);

    let is_harmed = |node: &Node| node.held().is_some_and(|held| held.harm.is_some());
    world.node.until("what is wrong", is_harmed).await;
    let held = world.node.held().unwrap();
    assert_eq!(held.harm, Some(format!("the log of {} is damaged", channel(0))));
    assert!(held.failure.unwrap().contains("a checksum is wrong"));

    world.owner.damage(&channel(0), None);
    world.node.until_ready(&wanted).await;
    world.node.until("nothing wrong", |node| node.held().is_some_and(|held| held.harm.is_none())).await;
    assert_eq!(world.read(share(&[], Some(0)), ALL).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn what_is_to_be_kept_is_read_on_though_no_order_names_it() {
    let mut world = World::new();
    let sealed = world.seal(1, 5, &[1, 2, 3]).await;
    world.insert(60, 9);
    let wanted = hold(&manifest(0, &[&sealed]), &[1], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;

    world.node.keep(vec![COLLECTION]);
    assert_eq!(world.read(share(&[1], Some(0)), ALL).await, Ok(vec![1, 2, 3, 9]));

    world.node.keep(Vec::new());
    assert_eq!(world.node.held(), None);
}

#[tokio::test]
async fn what_is_not_kept_of_the_past_is_refused_and_what_is_kept_is_read() {
    let mut world = World::new();
    let sealed = world.seal(1, 5, &[1, 2, 3]).await;
    let mut known = manifest(0, &[&sealed]);
    known.history_from = Timestamp(1);
    let wanted = hold(&known, &[1], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;
    world.insert(60, 9);
    world.owner.delete(&channel(0), 70, None, &[2]);
    world.insert(80, 2);
    let read = async |time| {
        let plan = QueryPlan { read_at: Timestamp(time), ..all_rows(QueryKind::Rows) };
        let after = ReadAfter::History(Timestamp(time));
        let rows = world.node.querier.query(plan, share(&[1], Some(0)), after).await?;
        let Keys::Int(keys) = rows.keys else { panic!("keys are numbers") };
        Ok::<_, Error>(keys)
    };
    let then = [read(4).await, read(5).await, read(60).await, read(70).await, read(80).await];
    assert_eq!(then, [vec![], vec![1, 2, 3], vec![1, 2, 3, 9], vec![1, 3, 9], vec![1, 2, 3, 9]].map(Ok));

    // As after a compaction that has dropped what was deleted up to then.
    known.history_from = Timestamp(65);
    world.node.obey(world.node.number + 1, vec![order(vec![hold(&known, &[1], Some(0))])]);
    let learned = async {
        while !matches!(read(64).await, Err(Error::Refused(Refusal::BadSearch { .. }))) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, learned).await.expect("the newer manifest counts");
    assert_eq!([read(65).await, read(70).await], [vec![1, 2, 3, 9], vec![1, 3, 9]].map(Ok));
}

#[tokio::test]
async fn a_share_that_is_not_held_is_refused_as_stale() {
    let mut world = World::new();
    assert!(world.read(share(&[1], None), ALL).await.unwrap_err().is_stale());
    let sealed = world.seal(1, 5, &[1, 2]).await;
    world.insert(1, 0);
    world.insert(10, 3);
    world.insert(20, 4);
    let wanted = hold(&manifest(1, &[&sealed]), &[1], Some(2));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;

    assert_eq!(world.read(share(&[1], Some(2)), ALL).await, Ok(vec![1, 2, 4]));
    assert_eq!(world.read(share(&[1], None), ALL).await, Ok(vec![1, 2]));
    for (segments, from) in [(&[2][..], None), (&[1, 2], Some(2)), (&[1], Some(1)), (&[], Some(0))] {
        let refused = world.read(share(segments, from), ALL).await;
        assert!(refused.unwrap_err().is_stale(), "{segments:?} from {from:?}");
    }
    world.node.order(Vec::new());
    assert!(world.read(share(&[1], None), ReadAfter::Nothing).await.unwrap_err().is_stale());
}

#[tokio::test]
async fn rows_before_a_share_begins_are_not_returned() {
    let mut world = World::new();
    for key in 0..9 {
        world.insert(10 + key as u64, key);
    }
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;

    for from in 0..10 {
        let expected: Vec<i64> = (from as i64..9).collect();
        assert_eq!(world.read(share(&[], Some(from)), ALL).await, Ok(expected));
    }
    let mut plan = all_rows(QueryKind::Rows);
    plan.ignore_growing = true;
    let sealed = world.node.querier.query(plan, share(&[], Some(0)), ALL).await.unwrap();
    assert_eq!(sealed.keys.len(), 0, "rows that are not sealed were not asked for");
}

#[tokio::test]
async fn a_node_is_not_ready_before_it_has_caught_up() {
    let mut world = World::new();
    let sealed = world.seal(1, 5, &[1, 2]).await;
    world.insert(10, 3);
    world.owner.delete(&channel(0), 20, None, &[1]);
    world.owner.set_gate(&channel(0), Some(1));
    let wanted = hold(&manifest(0, &[&sealed]), &[1], None);

    world.node.order(vec![order(vec![wanted.clone()])]);
    let loaded = |node: &Node| node.report().load.bytes_to_load == 0;
    tokio::time::timeout(Duration::from_millis(200), world.node.until("loading", loaded)).await.ok();

    assert_eq!(world.node.channel(&channel(0)), None, "a delete is missing");
    assert!(world.read(share(&[1], None), ReadAfter::Nothing).await.unwrap_err().is_stale());
    world.owner.set_gate(&channel(0), None);
    world.node.until_ready(&wanted).await;
    assert_eq!(world.read(share(&[1], None), ReadAfter::Nothing).await, Ok(vec![2]));
}

#[tokio::test]
async fn a_segment_gets_the_deletes_of_files_and_of_the_log() {
    let mut world = World::new();
    let (first, second) = (world.seal(1, 5, &[1, 2, 3, 4]).await, world.seal(2, 15, &[1, 5, 6]).await);
    let mut both = manifest(0, &[&first, &second]);
    both.deletes.push(world.seal_deletes(1, 10, &[1, 2]).await);
    world.owner.delete(&channel(0), 20, None, &[3]);
    let one = hold(&both, &[1], None);
    world.node.order(vec![order(vec![one.clone()])]);
    world.node.until_ready(&one).await;
    world.owner.delete(&channel(0), 30, None, &[5]);
    assert_eq!(world.read(share(&[1], None), ALL).await, Ok(vec![4]));

    let two = hold(&both, &[1, 2], None);
    world.node.order(vec![order(vec![two.clone()])]);
    world.node.until_ready(&two).await;

    assert_eq!(world.read(share(&[1, 2], None), ReadAfter::Nothing).await, Ok(vec![1, 4, 6]));
}

#[tokio::test]
async fn a_read_waits_for_what_it_must_see_and_no_longer_than_its_deadline() {
    let deadline = Duration::from_millis(100);
    let mut world = World::with(QuerierSettings { follow_deadline: deadline, ..Default::default() });
    world.insert(10, 1);
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;
    world.owner.set_gate(&channel(0), Some(1));
    world.insert(20, 2);
    let part = share(&[], Some(0));

    let late = world.read(Arc::clone(&part), ALL).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Unavailable);
    assert!(!late.is_stale() && late.to_string().contains(channel(0).as_str()), "{late}");
    assert!(world.read(Arc::clone(&part), ReadAfter::Time(Timestamp(20))).await.is_err());
    assert_eq!(world.read(Arc::clone(&part), ReadAfter::Nothing).await, Ok(vec![1]));
    assert_eq!(world.read(Arc::clone(&part), ReadAfter::Time(Timestamp(10))).await, Ok(vec![1]));

    world.owner.set_gate(&channel(0), None);
    assert_eq!(world.read(Arc::clone(&part), ReadAfter::Time(Timestamp(20))).await, Ok(vec![1, 2]));
    assert_eq!(world.read(part, ALL).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn reads_of_the_present_do_not_wait_for_writes_that_are_under_way_and_reads_of_the_past_do() {
    let mut world = World::new();
    world.insert(10, 1);
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;
    // The owner's time goes on by what it writes elsewhere.
    world.owner.insert(&channel(1), 20, 1, &[Row::of(2, 2)]);
    world.owner.is_busy.store(true, Ordering::SeqCst);
    let part = share(&[], Some(0));

    let (session, strong) = (ReadAfter::Time(Timestamp(20)), ALL);
    let past = ReadAfter::History(Timestamp(20));
    assert_eq!(world.read(Arc::clone(&part), session).await, Ok(vec![1]));
    assert_eq!(world.read(Arc::clone(&part), strong).await, Ok(vec![1]));
    assert_eq!(world.read(Arc::clone(&part), past).await.unwrap_err().kind(), Kind::Unavailable);

    world.owner.is_busy.store(false, Ordering::SeqCst);
    assert_eq!(world.read(part, past).await, Ok(vec![1]));
}

#[tokio::test]
async fn reads_that_wait_together_ask_the_owner_together() {
    let mut world = World::new();
    world.insert(10, 1);
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;
    let before = world.owner.marks.load(Ordering::SeqCst);

    let reads = (0..50).map(|_| world.read(share(&[], Some(0)), ALL));
    let answers = futures::future::join_all(reads).await;

    assert!(answers.iter().all(|keys| *keys == Ok(vec![1])));
    let asked = world.owner.marks.load(Ordering::SeqCst) - before;
    assert!((1..=3).contains(&asked), "the owner was asked {asked} times");
}

#[tokio::test]
async fn a_segment_without_room_is_reported_and_loaded_once_there_is_room() {
    let keys: Vec<i64> = (0..2_000).collect();
    let probe = World::new();
    let size = probe.seal(1, 5, &keys).await.loaded_bytes(&info(1, Vec::new()).schema);
    let memory_bytes = size * 2;
    let mut world = World::with(QuerierSettings { memory_bytes, memory_share: 0.7, ..Default::default() });
    let (first, second) = (world.seal(1, 5, &keys).await, world.seal(2, 5, &keys).await);
    let both = manifest(0, &[&first, &second]);
    world.node.order(vec![order(vec![hold(&both, &[1], None)])]);
    world.node.until_ready(&hold(&both, &[1], None)).await;

    world.node.order(vec![order(vec![hold(&both, &[1, 2], None)])]);
    let is_full = |node: &Node| node.held().is_some_and(|held| held.failure.is_some());
    world.node.until("a failure", is_full).await;

    let held = world.node.held().unwrap();
    assert!(held.is_full && held.failure.unwrap().contains("segment 2"));
    assert_eq!(held.channels[0].segments, [SegmentId(1)]);
    let load = world.node.report().load;
    assert!(load.bytes_to_load >= size && load.held_bytes > 0 && load.held_bytes < memory_bytes);
    assert_eq!(world.node.querier.held_bytes(), [(COLLECTION, load.held_bytes)]);
    let [figures] = <[_; 1]>::try_from(world.node.querier.figures()).unwrap();
    let shown = (figures.info.id, figures.channels, figures.sealed, figures.sealed_rows, figures.growing);
    assert_eq!(shown, (COLLECTION, 1, 1, 2_000, 0));

    world.node.order(vec![order(vec![hold(&both, &[2], None)])]);
    world.node.until_ready(&hold(&both, &[2], None)).await;
    world.node.until("no failure", |node| node.held().is_some_and(|held| held.failure.is_none())).await;
    assert_eq!(world.node.report().load.bytes_to_load, 0);
}

#[tokio::test]
async fn loads_that_do_not_fit_together_come_one_after_the_other_and_do_not_wait_for_a_job() {
    let mut world = World::new();
    let memory = Passing::new(Shares { flushes: 0, loads: 0, jobs: 0 });
    world.node = Node::having(
        memory.clone(),
        None,
        0,
        (&world.owner, &world.blobs, &world.tasks),
        QuerierSettings::default(),
    );
    let (first, second) = (world.seal(1, 5, &[1, 2]).await, world.seal(2, 5, &[3, 4]).await);
    let wanted = hold(&manifest(0, &[&first, &second]), &[1, 2], None);
    let _job = memory.admit(Work::Job, 1_000_000).await;
    let other = memory.admit(Work::Load, 7).await;

    world.node.order(vec![order(vec![wanted.clone()])]);
    let sizes = [&first, &second].map(|one| load_bytes(&one.columns, &one.stats, []));
    let asked = async {
        while memory.figures(Work::Load) != (7, sizes[0] + sizes[1]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asked).await.expect("both ask for memory");
    drop(other);
    assert_eq!(memory.figures(Work::Load), (sizes[0], sizes[1]));
    world.node.until_ready(&wanted).await;

    assert_eq!(memory.figures(Work::Load), (0, 0));
}

#[tokio::test]
async fn vectors_lie_on_the_disk_where_they_may_and_in_memory_where_it_takes_none() {
    let keys: Vec<i64> = (0..2_000).collect();
    let mut world = World::new();
    let segments = [world.seal(1, 5, &keys).await, world.seal(2, 5, &keys).await];
    let all = manifest(0, &[&segments[0], &segments[1]]);
    let mapped = IndexDefinition {
        id: IndexId(3),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: "FLAT".to_owned(),
        metric: Some(Metric::L2),
        params: vec![("mmap.enabled".to_owned(), "true".to_owned())],
    };
    let held_of = |wanted: &[i64]| HoldOrder {
        info: info(1, vec![mapped.clone()]),
        channels: vec![hold(&all, wanted, None)],
    };
    let held = |node: &Node| node.report().load.held_bytes;
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(folder.path().join("scratch")).unwrap();
    let seams = (&world.owner, &world.blobs, &world.tasks);
    let mut on_disk = Node::having(Passing::default(), Some(scratch), 1, seams, QuerierSettings::default());

    for node in [&mut world.node, &mut on_disk] {
        node.order(vec![held_of(&[1])]);
        node.until_ready(&hold(&all, &[1], None)).await;
    }
    let in_memory = held(&world.node);
    let column = segments[0].columns.iter().find(|column| column.fields == [VECTOR]).unwrap();
    // Its head is not held.
    let vectors = column.object.size_bytes - 64;
    assert_eq!(held(&on_disk), in_memory - vectors);
    let read = |node: &Node| {
        let querier = Arc::clone(&node.querier);
        let plan = QueryPlan { output: vec![VECTOR], ..all_rows(QueryKind::Rows) };
        async move { querier.query(plan, share(&[1], None), ReadAfter::Nothing).await.unwrap() }
    };
    assert_eq!(read(&on_disk).await, read(&world.node).await);

    // What finds no place there is held in memory.
    std::fs::remove_dir(folder.path().join("scratch")).unwrap();
    on_disk.order(vec![held_of(&[1, 2])]);
    on_disk.until_ready(&hold(&all, &[1, 2], None)).await;
    assert_eq!(held(&on_disk), 2 * in_memory - vectors);

    on_disk.order(Vec::new());
    on_disk.until("nothing", |node| held(node) == 0).await;
}

#[tokio::test]
async fn a_log_truncated_past_a_follower_is_made_up_for_from_a_newer_manifest() {
    let mut world = World::new();
    let first = world.seal(1, 5, &[1, 2, 3]).await;
    let old = hold(&manifest(0, &[&first]), &[1], Some(0));
    world.node.order(vec![order(vec![old.clone()])]);
    world.node.until_ready(&old).await;
    world.owner.set_gate(&channel(0), Some(0));
    world.owner.delete(&channel(0), 10, None, &[2]);
    world.insert(20, 7);
    world.owner.truncate(&channel(0), Position(2));

    world.node.until("not being ready", |node| node.channel(&channel(0)).is_none()).await;
    assert!(world.read(share(&[1], None), ALL).await.unwrap_err().is_stale());
    let has_failed = |node: &Node| node.held().is_some_and(|held| held.failure.is_some());
    world.node.until("a failure", has_failed).await;

    let second = world.seal(2, 20, &[7]).await;
    let mut newer = manifest(2, &[&first, &second]);
    newer.deletes.push(world.seal_deletes(1, 10, &[2]).await);
    world.owner.set_gate(&channel(0), None);
    world.insert(30, 8);
    let wanted = hold(&newer, &[1, 2], Some(2));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;

    assert_eq!(world.read(share(&[1, 2], Some(2)), ALL).await, Ok(vec![1, 3, 7, 8]));
    world.node.until("no failure", |node| node.held().is_some_and(|held| held.failure.is_none())).await;
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was_when_its_owner_comes_back() {
    let mut world = World::new();
    world.insert(10, 1);
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;

    world.owner.set_down(true);
    world.insert(20, 2);
    assert_eq!(world.read(share(&[], Some(0)), ReadAfter::Nothing).await, Ok(vec![1]));
    world.owner.set_down(false);

    assert_eq!(world.read(share(&[], Some(0)), ALL).await, Ok(vec![1, 2]));
    assert_eq!(world.node.held().unwrap().failure, None, "a change of the owner is no failure");
}

#[tokio::test]
async fn what_an_owner_had_taken_and_lost_keeps_no_follower_from_being_ready() {
    let mut world = World::new();
    world.insert(10, 1);
    let at_least_one = async |count: &AtomicUsize| {
        while count.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    world.owner.doomed.store(3, Ordering::SeqCst);
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    at_least_one(&world.owner.marks).await;

    world.owner.set_down(true);
    at_least_one(&world.owner.refusals).await;
    world.owner.doomed.store(0, Ordering::SeqCst);
    world.owner.set_down(false);

    world.node.until_ready(&wanted).await;
    assert_eq!(world.read(share(&[], Some(0)), ALL).await, Ok(vec![1]));
}

#[tokio::test]
async fn a_follower_whose_owner_has_fallen_silent_goes_on_with_the_next_one() {
    let mut world = World::new();
    world.insert(10, 1);
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;

    world.owner.fall_silent();
    world.insert(20, 2);

    assert_eq!(world.read(share(&[], Some(0)), ALL).await, Ok(vec![1, 2]));
}

#[tokio::test]
async fn rows_of_a_partition_that_was_dropped_before_they_were_sealed_are_not_read() {
    let mut world = World::new();
    for (partition, key) in [(1, 1), (2, 2), (3, 3)] {
        world.owner.insert(&channel(0), 10, partition, &[Row::of(key, key)]);
    }
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    let known = Partition { id: PartitionId(1), name: "p".to_owned(), created_unix_ms: 0 };
    let before = order(vec![wanted.clone()]);
    let info = CollectionInfo {
        partitions: vec![known],
        partitioned: Timestamp(2),
        ..CollectionInfo::clone(&before.info)
    };
    world.node.order(vec![HoldOrder { info: Arc::new(info), ..before }]);
    world.node.until_ready(&wanted).await;

    // The third is younger than what the node knows: it was made a moment ago.
    assert_eq!(world.read(share(&[], Some(0)), ALL).await, Ok(vec![1, 3]));
}

#[tokio::test]
async fn what_is_being_loaded_is_not_read_in_part() {
    let mut world = World::new();
    for (partition, key) in [(1, 1), (2, 2), (3, 3)] {
        world.owner.insert(&channel(0), 10, partition, &[Row::of(key, key)]);
    }
    let wanted = hold(&manifest(0, &[]), &[], Some(0));
    let some = |ids: &[i64]| ids.iter().copied().map(PartitionId).collect::<Vec<_>>();
    let order_of = |partitions: Option<&[i64]>| {
        let before = order(vec![wanted.clone()]);
        let load = Some(LoadSpec { partitions: partitions.map(some), ..LoadSpec::default() });
        HoldOrder { info: Arc::new(CollectionInfo { load, ..CollectionInfo::clone(&before.info) }), ..before }
    };
    world.node.order(vec![order_of(Some(&[1, 2]))]);
    world.node.until_ready(&wanted).await;
    let read = async |world: &World, named: Option<&[i64]>, extent: Extent| {
        let plan = QueryPlan { partitions: named.map(some), ..all_rows(QueryKind::Rows) };
        let share = Share { extent, ..Share::clone(&share(&[], Some(0))) };
        let rows = world.node.querier.query(plan, Arc::new(share), ALL).await?;
        let Keys::Int(keys) = rows.keys else { panic!("keys are numbers") };
        Ok::<_, Error>(keys)
    };
    let these = |ids: &[i64]| Extent::These(some(ids));
    let not_loaded = Err(Refusal::PartitionNotLoaded { partition: "[3]".to_owned() }.into());

    assert_eq!(world.node.held().unwrap().extent, these(&[1, 2]));
    assert_eq!(read(&world, None, Extent::Unsaid).await, Ok(vec![1, 2]));
    assert_eq!(read(&world, None, these(&[1, 2])).await, Ok(vec![1, 2]));
    assert_eq!(read(&world, None, these(&[1])).await, Ok(vec![1]), "the second is being loaded");
    assert_eq!(read(&world, None, these(&[1, 3])).await, Ok(vec![1]), "the third was released");
    assert_eq!(read(&world, Some(&[1]), these(&[1])).await, Ok(vec![1]));
    assert!(read(&world, Some(&[1, 2]), these(&[1])).await.unwrap_err().is_stale());
    assert_eq!(read(&world, Some(&[3]), these(&[1])).await, not_loaded);

    let number = world.node.number + 1;
    world.node.obey(number, vec![order_of(None)]);
    world.node.until("all", |node| node.held().is_some_and(|held| held.extent == Extent::All)).await;
    assert_eq!(read(&world, None, these(&[1, 2])).await, Ok(vec![1, 2]));
    assert_eq!(read(&world, None, Extent::All).await, Ok(vec![1, 2, 3]));
}

#[tokio::test]
async fn orders_come_twice_or_late_and_do_no_harm() {
    let mut world = World::new();
    let (first, second) = (world.seal(1, 5, &[1]).await, world.seal(2, 5, &[2]).await);
    let both = manifest(0, &[&first, &second]);
    let newest = |segments: &[i64]| -> Vec<HoldOrder> { vec![order(vec![hold(&both, segments, Some(0))])] };
    world.node.order(newest(&[1]));
    world.node.order(newest(&[1, 2]));
    world.node.until_ready(&hold(&both, &[1, 2], Some(0))).await;
    let held = world.node.held();

    world.node.obey(2, newest(&[1, 2]));
    world.node.obey(1, newest(&[1]));
    world.node.obey(1, Vec::new());
    world.insert(10, 3);

    assert_eq!(world.read(share(&[1, 2], Some(0)), ALL).await, Ok(vec![1, 2, 3]));
    let now = world.node.held();
    assert_eq!(
        now.map(|held| held.channels[0].segments.clone()),
        held.map(|held| held.channels[0].segments.clone())
    );
}

#[tokio::test]
async fn a_node_that_follows_for_deletes_becomes_the_one_that_keeps_rows_and_stops_again() {
    let mut world = World::new();
    let sealed = world.seal(1, 5, &[1, 2]).await;
    let one = manifest(0, &[&sealed]);
    world.insert(10, 3);
    let without = hold(&one, &[1], None);
    world.node.order(vec![order(vec![without.clone()])]);
    world.node.until_ready(&without).await;
    world.owner.delete(&channel(0), 20, None, &[2]);
    assert!(world.read(share(&[1], Some(0)), ALL).await.unwrap_err().is_stale());

    let with = hold(&one, &[1], Some(0));
    world.node.order(vec![order(vec![with.clone()])]);
    world.node.until_ready(&with).await;
    assert_eq!(world.read(share(&[1], Some(0)), ALL).await, Ok(vec![1, 3]));

    world.node.order(vec![order(vec![without.clone()])]);
    world.node.until_ready(&without).await;
    assert!(world.read(share(&[1], Some(0)), ALL).await.unwrap_err().is_stale());
    world.owner.delete(&channel(0), 30, None, &[1]);
    assert_eq!(world.read(share(&[1], None), ALL).await, Ok(vec![]));
}

#[tokio::test]
async fn an_index_of_a_newer_manifest_is_used_and_a_damaged_segment_is_tried_again() {
    let mut world = World::new();
    let mut sealed = world.seal(1, 5, &(0..300).collect::<Vec<_>>()).await;
    let definition = IndexDefinition {
        id: IndexId(3),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::L2),
        params: vec![("M".to_owned(), "8".to_owned())],
    };
    let order_of = |sealed: &SegmentManifest| HoldOrder {
        info: info(1, vec![definition.clone()]),
        channels: vec![hold(&manifest(0, &[sealed]), &[1], None)],
    };
    let lost = crate::blob::Blobs::read(world.blobs.as_ref(), &sealed.columns[0].object.key).await.unwrap();
    crate::blob::Blobs::delete(world.blobs.as_ref(), &sealed.columns[0].object.key).await.unwrap();
    world.node.order(vec![order_of(&sealed)]);
    let has_failed = |node: &Node| node.held().is_some_and(|held| held.failure.is_some());
    world.node.until("a failure", has_failed).await;
    crate::blob::Blobs::create(world.blobs.as_ref(), &sealed.columns[0].object.key, lost).await.unwrap();
    world.node.until_ready(&order_of(&sealed).channels[0]).await;

    let schema = schema(DataType::Int64);
    let built = build_index(world.blobs.as_ref(), COLLECTION, &schema, &sealed, &definition, 1, 1).await;
    sealed.indexes.push(built.unwrap());
    world.node.order(vec![order_of(&sealed)]);

    world
        .node
        .until("the index", |node| {
            let held = node.querier.shared.held.read();
            let table = held[&COLLECTION].shards.load()[0].table();
            table.entries()[0].sealed.has_index(VECTOR)
        })
        .await;
    let plan = SearchPlan {
        collection: COLLECTION,
        partitions: None,
        field: VECTOR,
        metric: Metric::L2,
        queries: vec![Row::of(33, 33).vector.unwrap().to_vec().into()],
        count: 1,
        grouping: None,
        params: std::collections::BTreeMap::new(),
        range: None,
        filter: None,
        output: vec![NUMBER],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    };
    let hits = world.node.querier.search(plan, share(&[1], None), ALL).await.unwrap();
    assert_eq!(hits.keys, Keys::Int(vec![33]));
    assert_eq!(hits.rows.columns[0].data, ColumnData::Int64(vec![33]));
    assert!(world.node.report().load.p99_ms > 0.0);
}

#[tokio::test]
async fn indexes_of_scalar_columns_come_with_a_segment_and_go_and_come_while_it_is_held() {
    let mut world = World::new();
    let sealed = world.seal(1, 5, &(0..300).collect::<Vec<_>>()).await;
    let definition = |id: i64, field: FieldId| IndexDefinition {
        id: IndexId(id),
        name: id.to_string(),
        field,
        index_type: "INVERTED".to_owned(),
        metric: None,
        params: Vec::new(),
    };
    let order_of = |indexes: Vec<IndexDefinition>| HoldOrder {
        info: info(1, indexes),
        channels: vec![hold(&manifest(0, &[&sealed]), &[1], None)],
    };
    let fields = |node: &Node| -> Vec<FieldId> {
        let held = node.querier.shared.held.read();
        let table = held[&COLLECTION].shards.load()[0].table();
        let indexes = table.entries()[0].sealed.part().column_indexes();
        indexes.iter().map(|index| index.field()).collect()
    };
    let expected = Keys::Int(vec![7, 40]);

    world.node.order(vec![order_of(vec![definition(3, NUMBER)])]);
    world.node.until_ready(&order_of(Vec::new()).channels[0]).await;
    assert_eq!(fields(&world.node), [NUMBER], "it comes with the segment");
    assert_eq!(world.matching("n == 7 or n == 40").await, expected);

    world.node.order(vec![order_of(vec![definition(4, NOTE)])]);
    world.node.until("another index", |node| fields(node) == [NOTE]).await;
    assert_eq!(world.matching("n == 7 or n == 40").await, expected);
}

#[tokio::test]
async fn a_segment_whose_index_is_damaged_is_read_without_it_and_the_index_is_named() {
    let mut world = World::new();
    let mut sealed = world.seal(1, 5, &(0..300).collect::<Vec<_>>()).await;
    let definition = IndexDefinition {
        id: IndexId(3),
        name: "v".to_owned(),
        field: VECTOR,
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::L2),
        params: vec![("M".to_owned(), "8".to_owned())],
    };
    let (blobs, schema) = (world.blobs.as_ref(), schema(DataType::Int64));
    let built = build_index(blobs, COLLECTION, &schema, &sealed, &definition, 1, 1).await.unwrap();
    let key = built.object.key.clone();
    sealed.indexes.push(built);
    let mut body = crate::blob::Blobs::read(blobs, &key).await.unwrap().to_vec();
    body[100] ^= 0x10;
    crate::blob::Blobs::delete(blobs, &key).await.unwrap();
    crate::blob::Blobs::create(blobs, &key, body.into()).await.unwrap();
    let order_of = |sealed: &SegmentManifest| HoldOrder {
        info: info(1, vec![definition.clone()]),
        channels: vec![hold(&manifest(0, &[sealed]), &[1], None)],
    };

    world.node.order(vec![order_of(&sealed)]);
    world.node.until_ready(&order_of(&sealed).channels[0]).await;
    let named = |node: &Node| node.held().is_some_and(|held| held.damaged == [(SegmentId(1), key.clone())]);
    world.node.until("the damaged index", named).await;

    assert_eq!(world.read(share(&[1], None), ALL).await.unwrap().len(), 300);
    sealed.indexes.clear();
    world.node.order(vec![order_of(&sealed)]);
    world.node.until("peace", |node| node.held().is_some_and(|held| held.damaged.is_empty())).await;
}

#[tokio::test]
async fn rows_of_a_later_schema_wait_for_the_order_that_has_it() {
    let mut world = World::new();
    let sealed = world.seal(1, 5, &[1]).await;
    world.insert(10, 2);
    let wanted = hold(&manifest(0, &[&sealed]), &[1], Some(0));
    world.node.order(vec![order(vec![wanted.clone()])]);
    world.node.until_ready(&wanted).await;
    let old = schema(DataType::Int64);
    let added = field(ADDED, "added", DataType::VarChar);
    let later = Schema { fields: old.fields.iter().cloned().chain([added.clone()]).collect(), ..old.clone() };

    let mut rows = batch(&old, &[Row::of(3, 3)]);
    let mut column = Column::empty(&added);
    column.data.push(&Value::Text("x".to_owned())).unwrap();
    rows.columns.push(column);
    world.owner.insert_batch(&channel(0), 20, &rows);
    let mut plan = all_rows(QueryKind::Rows);
    plan.output = vec![ADDED];
    let refused = world.node.querier.query(plan.clone(), share(&[1], Some(0)), ReadAfter::Nothing).await;
    assert!(refused.unwrap_err().is_stale(), "whoever asks knows more than the node");
    assert_eq!(world.read(share(&[1], Some(0)), ReadAfter::Nothing).await, Ok(vec![1, 2]));

    let info = CollectionInfo { schema: Arc::new(later), ..CollectionInfo::clone(&info(1, Vec::new())) };
    world.node.order(vec![HoldOrder { info: Arc::new(info), channels: vec![wanted] }]);
    let found = world.node.querier.query(plan, share(&[1], Some(0)), ALL).await.unwrap();

    assert_eq!(found.keys, Keys::Int(vec![1, 2, 3]));
    let values: Vec<Value> = (0..3).map(|row| found.rows.columns[0].value(row)).collect();
    assert_eq!(values, [Value::Null, Value::Null, Value::Text("x".to_owned())]);
}
