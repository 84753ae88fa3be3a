//! Reaching another node.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Builder, Consistency, Error, Querier, Writer};
use crate::base::{CollectionId, Timestamp};
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};

/// Makes clients of other nodes' duties. In one process it hands out the duties themselves.
///
/// Handing out a client is cheap and never fails: whether the node is there shows when it is called.
pub trait Dial: Send + Sync + 'static {
    /// The writer duty of the node at `address`.
    fn writer(&self, address: &str) -> Arc<dyn Writer>;
    /// The querier duty of the node at `address`.
    fn querier(&self, address: &str) -> Arc<dyn Querier>;
    /// The builder duty of the node at `address`.
    fn builder(&self, address: &str) -> Arc<dyn Builder>;
}

/// Reads of a whole collection, wherever its parts are.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// Searches all of a collection. Cancel safe.
    ///
    /// # Errors
    /// `CollectionNotLoaded`, `PartitionNotLoaded`, a bad parameter; kind `Unavailable` if no copy could be read in time.
    async fn search(&self, plan: SearchPlan, consistency: Consistency) -> Result<SearchHits, Error>;

    /// Queries all of a collection. Cancel safe.
    ///
    /// # Errors
    /// As for [`Self::search`].
    async fn query(&self, plan: QueryPlan, consistency: Consistency) -> Result<QueryRows, Error>;

    /// A time at which a collection can be read again and again: every write acknowledged before the call is at or
    /// before it, every later one after it.
    ///
    /// # Errors
    /// Kind `Unavailable` if an owner of a channel could not be reached in time.
    async fn pin(&self, collection: CollectionId) -> Result<Timestamp, Error>;
}
