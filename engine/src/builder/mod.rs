//! The duty that does heavy work on sealed data: index building, compaction, importing, and the removal of objects.
//!
//! No metadata, no log, no serving: jobs come in over `rpc` and results go back as values.

mod import;

#[cfg(any(test, feature = "fuzz"))]
pub use import::fuzz;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::import::Buffers;
use crate::base::{Clock, Kind, Passing, Permit, Work};
use crate::blob::{BlobEntry, Blobs};
use crate::intake::functions;
use crate::model::{IndexRef, SegmentManifest};
use crate::rpc::{self, Builder, CompactJob, ImportDone, ImportJob, IndexJob, StoredObject};
use crate::segment;

/// So long a job waits for memory. Then whoever gave it may give it to another node; and what it makes must not be so late
/// that it is taken for garbage, which is so fifteen minutes after its numbers were given out.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The builder duty.
pub struct Workshop {
    blobs: Arc<dyn Blobs>,
    threads: usize,
    /// The memory that jobs share with other work, and the clock by which they wait for it.
    shared: Option<(Passing, Arc<dyn Clock>)>,
}

impl Workshop {
    /// A builder that works with `threads` threads and as much memory as it takes.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, threads: usize) -> Arc<Self> {
        Arc::new(Self { blobs, threads, shared: None })
    }

    /// The same, but jobs wait until there is memory for them beside other work.
    #[must_use]
    pub fn sharing(
        blobs: Arc<dyn Blobs>,
        threads: usize,
        memory: Passing,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self { blobs, threads, shared: Some((memory, clock)) })
    }

    /// Waits until there is memory for a job. Cancel safe.
    ///
    /// # Errors
    /// Kind `Exhausted` if that takes long.
    async fn admit(&self, call: &'static str, bytes: u64) -> Result<Option<Permit>, rpc::Error> {
        let Some((memory, clock)) = &self.shared else { return Ok(None) };
        tokio::select! {
            biased;
            permit = memory.admit(Work::Job, bytes) => Ok(Some(permit)),
            () = clock.sleep(PATIENCE) => {
                let reason = format!("there was no memory for {bytes} bytes beside other work");
                Err(rpc::Error::Failed { call, kind: Kind::Exhausted, reason })
            }
        }
    }

    /// The memory that jobs have in all. Unit: bytes.
    fn job_bytes(&self) -> u64 {
        self.shared.as_ref().map_or(u64::MAX, |(memory, _)| memory.share(Work::Job))
    }
}

#[async_trait]
impl Builder for Workshop {
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, rpc::Error> {
        const CALL: &str = "build an index";
        let IndexJob { collection, schema, segment, index, serial } = &job;
        let _memory = self.admit(CALL, segment::build_bytes(schema, segment, index, self.threads)).await?;
        segment::build_index(self.blobs.as_ref(), *collection, schema, segment, index, *serial, self.threads)
            .await
            .map_err(|error| rpc::Error::failed(CALL, &error))
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, rpc::Error> {
        const CALL: &str = "compact segments";
        let CompactJob { collection, schema, sources, deletes, output, cluster, expiry, keeps_since } = &job;
        let _memory = self.admit(CALL, segment::compaction_bytes(schema, sources, deletes)).await?;
        let clustering = cluster.map(|by| segment::Clustering { field: by.field, max_bytes: by.max_bytes });
        let rules = segment::Rules {
            clustering,
            expiry: *expiry,
            keeps_since: *keeps_since,
            compute: Some(functions::fill),
        };
        segment::compact(self.blobs.as_ref(), *collection, *output, schema, sources, deletes, rules)
            .await
            .map_err(|error| rpc::Error::failed(CALL, &error))
    }

    async fn import(&self, job: ImportJob) -> Result<ImportDone, rpc::Error> {
        const CALL: &str = "import";
        let buffers = Buffers::within(self.job_bytes());
        let memory = self.admit(CALL, buffers.needs()).await?;
        let done = import::run(Arc::clone(&self.blobs), job, buffers, memory).await;
        done.map_err(|error| rpc::Error::failed(CALL, &error))
    }

    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, rpc::Error> {
        let listed = self.blobs.list(prefix).await;
        let listed = listed.map_err(|error| rpc::Error::failed("list objects", &error))?;
        let stored = |entry: BlobEntry| StoredObject { key: entry.key, size_bytes: entry.size_bytes };
        Ok(listed.into_iter().map(stored).collect())
    }

    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), rpc::Error> {
        for key in &keys {
            let removed = self.blobs.delete(key).await;
            removed.map_err(|error| rpc::Error::failed("remove an object", &error))?;
        }
        Ok(())
    }
}
