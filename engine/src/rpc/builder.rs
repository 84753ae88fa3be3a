//! The duty that does heavy work on sealed data.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Error, ImportDone, ImportJob};
use crate::base::{CollectionId, FieldId, SegmentId, Timestamp};
use crate::model::{DeleteManifest, Expiry, IndexDefinition, IndexRef, Schema, SegmentManifest};

/// An index to build over one sealed segment.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
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

/// By which field, and into how large segments, rows are to be spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClusterBy {
    /// A scalar field; each segment gets a range of its values.
    pub field: FieldId,
    /// About so many stored bytes go into one segment. Not 0.
    pub max_bytes: u64,
}

/// Segments of one partition of one channel to be made one, or as many as clustering asks for, without the rows that
/// deletes hide or that have expired.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CompactJob {
    /// Whose segments they are.
    pub collection: CollectionId,
    /// The collection's shape.
    pub schema: Arc<Schema>,
    /// The segments, oldest first.
    pub sources: Vec<SegmentManifest>,
    /// All delete files of the channel, from the manifest that the sources are from.
    pub deletes: Vec<DeleteManifest>,
    /// Fresh id of the segment to make; with clustering the first of as many as there are stored bytes for, rounded up.
    pub output: SegmentId,
    /// How to spread rows over several segments; `None` for one.
    #[serde(default)]
    pub cluster: Option<ClusterBy>,
    /// Rows that do not stay: the same however often the job is done. A node of an earlier version keeps them.
    #[serde(default, skip_serializing_if = "Expiry::is_never")]
    pub expiry: Expiry,
    /// Rows that were deleted later than this stay, with their deletes; `None` for none. A node of an earlier version drops them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps_since: Option<Timestamp>,
}

/// An object that is stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// Its length. Unit: bytes.
    pub size_bytes: u64,
}

/// The duty that builds indexes, compacts, and removes what nobody needs.
#[async_trait]
pub trait Builder: Send + Sync + 'static {
    /// Builds an index and stores it. Takes as long as it takes; dropping the call wastes the work and nothing else.
    ///
    /// # Errors
    /// Kind `Invalid` if the index can never be built like this.
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error>;

    /// Makes new segments out of old ones and stores them; none if no row is left. The old ones are not touched. Takes as
    /// long as it takes; dropping the call wastes the work and may leave objects that no manifest names.
    ///
    /// # Errors
    /// If an object cannot be read, is damaged, or cannot be written.
    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, Error>;

    /// Makes segments of some rows of files and stores them; ends soon, and says where to go on. The files are not touched.
    /// Dropping the call wastes the work and may leave objects that no manifest names.
    ///
    /// # Errors
    /// Kind `Invalid` if the files or their rows can never be taken; the text says which file and which row.
    async fn import(&self, job: ImportJob) -> Result<ImportDone, Error>;

    /// All objects whose keys begin with `prefix`, ascending. Objects made or removed meanwhile may be in it or not.
    ///
    /// # Errors
    /// If the store fails.
    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, Error>;

    /// Removes objects from the blob store; those that are gone already are fine.
    ///
    /// # Errors
    /// If the store fails; calling again is safe.
    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error>;
}
