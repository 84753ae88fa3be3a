//! Claims about jobs that share memory with each other and with other work.

use std::sync::Arc;

use super::{PATIENCE, Workshop};
use crate::base::{
    CollectionId, IndexId, Kind, Kinded as _, PartitionId, Passing, SegmentId, Shares, TestClock, Timestamp,
    Work,
};
use crate::blob::MemoryBlobs;
use crate::model::{DataType, Expiry, IndexDefinition, Metric, Schema, SegmentManifest};
use crate::rpc::{Builder as _, CompactJob, IndexJob};
use crate::segment::fixture::{Row, VECTOR, batch, schema};
use crate::segment::{build_bytes, compaction_bytes, write_segment};

const COLLECTION: CollectionId = CollectionId(1);

/// A store with segments 1 and 2, and a builder with little memory.
struct World {
    schema: Arc<Schema>,
    segments: Vec<SegmentManifest>,
    memory: Passing,
    workshop: Arc<Workshop>,
}

impl World {
    async fn new() -> Self {
        let (blobs, schema) = (MemoryBlobs::new(), Arc::new(schema(DataType::Int64)));
        let rows: Vec<Row> = (0..200).map(|key| Row::of(key, key)).collect();
        let (rows, times) = (batch(&schema, &rows), vec![Timestamp(5); 200]);
        let mut segments = Vec::new();
        for id in [1, 2] {
            let (id, partition) = (SegmentId(id), PartitionId(1));
            let made = write_segment(blobs.as_ref(), COLLECTION, id, partition, &schema, &rows, &times);
            segments.push(made.await.unwrap());
        }
        let memory = Passing::new(Shares { flushes: 0, loads: 0, jobs: 1_000 });
        let workshop = Workshop::sharing(blobs, 1, memory.clone(), TestClock::starting_at(1));
        Self { schema, segments, memory, workshop }
    }

    fn index_job(&self) -> IndexJob {
        let index = IndexDefinition {
            id: IndexId(7),
            name: "v".to_owned(),
            field: VECTOR,
            index_type: "HNSW".to_owned(),
            metric: Some(Metric::L2),
            params: vec![("M".to_owned(), "8".to_owned())],
        };
        let (schema, segment) = (Arc::clone(&self.schema), self.segments[0].clone());
        IndexJob { collection: COLLECTION, schema, segment, index, serial: 9 }
    }

    fn compact_job(&self) -> CompactJob {
        let (schema, sources) = (Arc::clone(&self.schema), self.segments.clone());
        let (deletes, output, cluster) = (Vec::new(), SegmentId(3), None);
        let (expiry, keeps_since) = (Expiry::default(), None);
        CompactJob { collection: COLLECTION, schema, sources, deletes, output, cluster, expiry, keeps_since }
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_and_a_compaction_that_do_not_fit_together_come_one_after_the_other_and_both_end() {
    let world = World::new().await;
    let (build, compact) = (world.index_job(), world.compact_job());
    let building = build_bytes(&world.schema, &build.segment, &build.index, 1);
    let compacting = compaction_bytes(&world.schema, &world.segments, &[]);
    let held = world.memory.admit(Work::Job, 1).await;
    let memory = world.memory.clone();

    let (built, compacted, ()) = tokio::join!(biased; world.workshop.build_index(build), world.workshop.compact(compact), async move {
        assert_eq!(memory.figures(Work::Job), (1, building + compacting));
        drop(held);
        assert_eq!(memory.figures(Work::Job), (building, compacting));
    });

    assert_eq!(built.unwrap().index, IndexId(7));
    assert_eq!(compacted.unwrap()[0].rows, 400);
    assert_eq!(world.memory.figures(Work::Job), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_without_memory_for_long_goes_back_to_who_gave_it_and_may_be_tried_again() {
    let world = World::new().await;
    let held = world.memory.admit(Work::Job, 1).await;
    let began = tokio::time::Instant::now();

    let refused = world.workshop.compact(world.compact_job()).await.unwrap_err();

    assert_eq!((refused.kind(), began.elapsed() >= PATIENCE), (Kind::Exhausted, true));
    assert_eq!(world.memory.figures(Work::Job), (1, 0));
    drop(held);
    assert_eq!(world.workshop.compact(world.compact_job()).await.unwrap().len(), 1);
}
