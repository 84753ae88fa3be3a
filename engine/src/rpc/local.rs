//! Calls within one process: duties are found by their node's address in a table.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use super::{
    Builder, CompactJob, Coord, Dial, Error, ImportDone, ImportJob, IndexJob, Mark, Querier, ReadAfter,
    Share, StoredObject, Tail, TimeSpan, Write, Writer, Written,
};
use crate::base::{ChannelName, CollectionId, Position};
use crate::model::{IndexRef, SegmentManifest};
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};

/// The duties of one node that others may call.
#[derive(Clone, Default)]
pub struct Served {
    /// Catalog, placement, time.
    pub coord: Option<Arc<dyn Coord>>,
    /// Channels.
    pub writer: Option<Arc<dyn Writer>>,
    /// Reads.
    pub querier: Option<Arc<dyn Querier>>,
    /// Heavy work on sealed data.
    pub builder: Option<Arc<dyn Builder>>,
    /// What administrators may call: the admin API, and Milvus's own where there is a proxy. Not a duty, and not called by
    /// other nodes, but behind the same port.
    pub admin: Option<axum::Router>,
}

/// The nodes of one process.
#[derive(Default)]
pub struct LocalNodes {
    nodes: Arc<RwLock<HashMap<String, Served>>>,
}

impl LocalNodes {
    /// No nodes yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Makes a node's duties reachable, in place of those that had the address before.
    pub fn open(&self, address: &str, served: Served) {
        self.nodes.write().insert(address.to_owned(), served);
    }

    /// Lets go of a node's duties, which hold this table themselves.
    pub fn close(&self, address: &str) {
        self.nodes.write().remove(address);
    }

    fn peer(&self, address: &str) -> Arc<Peer> {
        Arc::new(Peer { nodes: Arc::clone(&self.nodes), address: address.to_owned() })
    }
}

impl Dial for LocalNodes {
    fn writer(&self, address: &str) -> Arc<dyn Writer> {
        self.peer(address)
    }

    fn querier(&self, address: &str) -> Arc<dyn Querier> {
        self.peer(address)
    }

    fn builder(&self, address: &str) -> Arc<dyn Builder> {
        self.peer(address)
    }
}

/// One node, looked up anew for each call.
struct Peer {
    nodes: Arc<RwLock<HashMap<String, Served>>>,
    address: String,
}

impl Peer {
    fn find<T>(&self, duty: impl FnOnce(&Served) -> Option<T>) -> Result<T, Error> {
        let absent = || Error::Stale { what: format!("a node at {}", self.address) };
        self.nodes.read().get(&self.address).and_then(duty).ok_or_else(absent)
    }
}

#[async_trait]
impl Writer for Peer {
    async fn write(&self, write: Write) -> Result<Written, Error> {
        self.find(|served| served.writer.clone())?.write(write).await
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), Error> {
        self.find(|served| served.writer.clone())?.flush(channel).await
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error> {
        self.find(|served| served.writer.clone())?.mark(channel).await
    }

    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, Error> {
        self.find(|served| served.writer.clone())?.tail(channel, from).await
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error> {
        self.find(|served| served.writer.clone())?.forget(channels).await
    }
}

#[async_trait]
impl Querier for Peer {
    async fn search(
        &self,
        plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, Error> {
        self.find(|served| served.querier.clone())?.search(plan, share, after).await
    }

    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error> {
        self.find(|served| served.querier.clone())?.query(plan, share, after).await
    }

    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error> {
        self.find(|served| served.querier.clone())?.reach(collection, share, after).await
    }
}

#[async_trait]
impl Builder for Peer {
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error> {
        self.find(|served| served.builder.clone())?.build_index(job).await
    }

    async fn import(&self, job: ImportJob) -> Result<ImportDone, Error> {
        self.find(|served| served.builder.clone())?.import(job).await
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, Error> {
        self.find(|served| served.builder.clone())?.compact(job).await
    }

    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, Error> {
        self.find(|served| served.builder.clone())?.list_objects(prefix).await
    }

    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error> {
        self.find(|served| served.builder.clone())?.remove_objects(keys).await
    }
}
