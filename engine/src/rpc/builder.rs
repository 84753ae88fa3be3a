//! The duty that does heavy work on sealed data.

use std::sync::Arc;

use async_trait::async_trait;

use super::Error;
use crate::base::CollectionId;
use crate::model::{IndexDefinition, IndexRef, Schema, SegmentManifest};

/// An index to build over one sealed segment.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexJob {
    /// Whose segment it is.
    pub collection: CollectionId,
    /// The collection's shape.
    pub schema: Arc<Schema>,
    /// The segment.
    pub segment: SegmentManifest,
    /// The index.
    pub index: IndexDefinition,
    /// Fresh number that makes the object's name unique.
    pub serial: i64,
}

/// The duty that builds indexes and removes what nobody needs.
#[async_trait]
pub trait Builder: Send + Sync + 'static {
    /// Builds an index and stores it. Takes as long as it takes; dropping the call wastes the work and nothing else.
    ///
    /// # Errors
    /// Kind `Invalid` if the index can never be built like this.
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error>;

    /// Removes objects from the blob store; those that are gone already are fine.
    ///
    /// # Errors
    /// If the store fails; calling again is safe.
    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error>;
}
