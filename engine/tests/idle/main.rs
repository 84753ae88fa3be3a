//! What a collection that nobody uses costs: memory of the coordinator that leads, and records of the metadata store.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unsafe_code,
    reason = "a test fails by panicking and tells its figures on the terminal; an allocator that counts is unsafe by its trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use engine::base::{
    ChannelName, CollectionId, FieldId, PartitionId, Position, RealClock, SegmentId, TaskSet, Timestamp,
};
use engine::blob::MemoryBlobs;
use engine::coord::{Candidacy, CandidacyParts, CompactionLimits, LeadSettings, Limits};
use engine::meta::{MemoryMetas, Metas as _};
use engine::model::{ColumnRef, DataType, Field, ObjectRef, Schema, SegmentManifest};
use engine::rpc::{CollectionRef, Coord as _, Flushed, LocalNodes, NewCollection, NewIndex};

const COLLECTIONS: usize = 10_000;
/// What is promised of the coordinator. Unit: bytes.
const MEMORY: i64 = 10 << 10;
/// What is promised of the metadata store. Unit: bytes.
const RECORDS: usize = 4 << 10;

/// The system's allocator, which counts what is in use.
struct Counting;

static IN_USE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is handed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct World {
    metas: Arc<MemoryMetas>,
    blobs: Arc<MemoryBlobs>,
}

impl World {
    /// A coordinator that leads and has written what it has to write.
    async fn lead(&self) -> (Arc<Candidacy>, TaskSet) {
        let candidacy = Candidacy::new(CandidacyParts {
            metas: Arc::clone(&self.metas) as _,
            blobs: Arc::clone(&self.blobs) as _,
            clock: RealClock::new(),
            dial: LocalNodes::new(),
            flaw: None,
            limits: Limits {
                databases: 9,
                collections: 2 * COLLECTIONS,
                partitions: 9,
                min_rows_to_index: 1_000_000,
                groups: 9,
                compaction: CompactionLimits::default(),
            },
            lost_after: Duration::from_secs(5),
            lead: LeadSettings {
                ttl: Duration::from_secs(6),
                every: Duration::from_secs(1),
                alone: true,
                address: "local".to_owned(),
            },
        });
        let tasks = TaskSet::new();
        let leads = Arc::clone(&candidacy);
        tasks.start("lead", |stop| leads.run(stop));
        while candidacy
            .alter_database("default", vec![("k".to_owned(), "v".to_owned())], Vec::new())
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (candidacy, tasks)
    }
}

fn field(id: i64, name: &str, data_type: DataType) -> Field {
    let dim = vec![("dim".to_owned(), "768".to_owned())];
    Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary: id == 100,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: if data_type.is_vector() { dim } else { Vec::new() },
    }
}

/// A collection with an index and one sealed segment.
async fn make(coord: &Candidacy, number: usize) {
    let fields = vec![
        field(100, "id", DataType::Int64),
        field(101, "text", DataType::VarChar),
        field(102, "vector", DataType::FloatVector),
    ];
    let made = coord.create_collection(NewCollection {
        database: String::new(),
        name: format!("documents_of_tenant_{number}"),
        schema: Schema {
            description: String::new(),
            fields,
            enable_dynamic_field: false,
            functions: Vec::new(),
            structs: Vec::new(),
            youngest_dropped: None,
        },
        shards: 1,
        properties: Vec::new(),
        consistency: 0,
        partitions_by_key: 0,
    });
    let made = made.await.unwrap();
    let param = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let index = NewIndex {
        collection: CollectionRef::Id(made.id),
        name: String::new(),
        field: "vector".to_owned(),
        params: vec![param("index_type", "HNSW"), param("metric_type", "COSINE"), param("M", "16")],
    };
    coord.create_index(index).await.unwrap();
    let segment = SegmentId(coord.allocate_ids(1).await.unwrap());
    let flushed = Flushed {
        collection: made.id,
        channel: ChannelName::of(made.id, 0),
        from: Position(0),
        to: Position(9),
        segments: vec![sealed(made.id, made.partitions[0].id, segment)],
        deletes: Vec::new(),
        named_through: Timestamp::ZERO,
    };
    coord.commit_flush(flushed).await.unwrap();
}

fn sealed(collection: CollectionId, partition: PartitionId, id: SegmentId) -> SegmentManifest {
    let object = |name: &str| ObjectRef {
        key: format!("segments/{collection}/{id}/{name}"),
        size_bytes: 9_000,
        crc32: 7,
    };
    let column = |name: &str| ColumnRef { fields: vec![FieldId(100)], object: object(name) };
    SegmentManifest {
        id,
        partition,
        rows: 1_000,
        oldest: Timestamp(5),
        newest: Timestamp(6),
        clean_through: Timestamp::ZERO,
        clustered_by: None,
        instants: Vec::new(),
        columns: vec![column("scalars.parquet"), column("vector-102.bin")],
        stats: Some(object("stats.bin")),
        indexes: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_collection_costs_little_memory_and_few_bytes_of_metadata() {
    let world = World { metas: MemoryMetas::new(), blobs: MemoryBlobs::new() };
    let (coord, tasks) = world.lead().await;
    for first in (0..COLLECTIONS).step_by(500) {
        futures::future::join_all((first..first + 500).map(|number| make(&coord, number))).await;
    }
    tasks.stop();
    tasks.join().await.unwrap();
    drop((coord, tasks));

    let before = IN_USE.load(Ordering::Relaxed);
    let (coord, tasks) = world.lead().await;
    let memory = (IN_USE.load(Ordering::Relaxed) - before) / COLLECTIONS as i64;

    let records = world.metas.list("").await.unwrap();
    let records: usize = records.iter().map(|(key, record)| key.len() + record.value.len()).sum();
    let records = records / COLLECTIONS;
    println!(
        "of each of {COLLECTIONS} idle collections: {memory} bytes of memory, {records} bytes of metadata"
    );
    assert!(memory > 0 && memory <= MEMORY, "{memory} bytes of memory");
    assert!(records <= RECORDS, "{records} bytes of metadata");
    tasks.stop();
    tasks.join().await.unwrap();
    drop(coord);
}
