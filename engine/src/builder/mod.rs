//! The duty that does heavy work on sealed data: index building, compaction, importing, and the removal of objects.
//!
//! No metadata, no log, no serving: jobs come in over `rpc` and results go back as values.

mod import;

use std::sync::Arc;

use async_trait::async_trait;

use crate::blob::{BlobEntry, Blobs};
use crate::model::{IndexRef, SegmentManifest};
use crate::rpc::{self, Builder, CompactJob, ImportDone, ImportJob, IndexJob, StoredObject};
use crate::segment;

/// The builder duty.
pub struct Workshop {
    blobs: Arc<dyn Blobs>,
    threads: usize,
}

impl Workshop {
    /// A builder that works with `threads` threads.
    #[must_use]
    pub fn new(blobs: Arc<dyn Blobs>, threads: usize) -> Arc<Self> {
        Arc::new(Self { blobs, threads })
    }
}

#[async_trait]
impl Builder for Workshop {
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, rpc::Error> {
        let IndexJob { collection, schema, segment, index, serial } = &job;
        segment::build_index(self.blobs.as_ref(), *collection, schema, segment, index, *serial, self.threads)
            .await
            .map_err(|error| rpc::Error::failed("build an index", &error))
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, rpc::Error> {
        let CompactJob { collection, schema, sources, deletes, output, cluster, expiry } = &job;
        let clustering = cluster.map(|by| segment::Clustering { field: by.field, max_bytes: by.max_bytes });
        let rules = segment::Rules { clustering, expiry: *expiry };
        segment::compact(self.blobs.as_ref(), *collection, *output, schema, sources, deletes, rules)
            .await
            .map_err(|error| rpc::Error::failed("compact segments", &error))
    }

    async fn import(&self, job: ImportJob) -> Result<ImportDone, rpc::Error> {
        import::run(Arc::clone(&self.blobs), job).await.map_err(|error| rpc::Error::failed("import", &error))
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
