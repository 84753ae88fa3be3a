//! The duty that holds data in memory and answers searches.

use async_trait::async_trait;

use super::{Error, Target};
use crate::base::CollectionId;
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};

/// How far a collection is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// 0 to 100; 100 once every segment of the target is served and the log is followed.
    pub percent: u8,
}

/// The duty that loads segments, follows the log and serves reads.
#[async_trait]
pub trait Querier: Send + Sync + 'static {
    /// Says what the querier should serve of one collection from now on; newer targets replace older ones. Returns at
    /// once, the work goes on behind it. What is served already goes on being served meanwhile.
    ///
    /// # Errors
    /// If the target cannot be taken on at all.
    async fn serve(&self, target: Target) -> Result<(), Error>;

    /// Stops serving a collection and frees what it held. Not serving it is fine.
    ///
    /// # Errors
    /// None today; a remote querier may be unreachable.
    async fn release(&self, collection: CollectionId) -> Result<(), Error>;

    /// How far a collection is loaded; `None` if it is not to be served.
    ///
    /// # Errors
    /// [`Error::Failed`] with the reason why loading cannot go on.
    async fn progress(&self, collection: CollectionId) -> Result<Option<LoadProgress>, Error>;

    /// Searches. Sees every write acknowledged before the call, up to `plan.read_at`. Cancel safe.
    ///
    /// # Errors
    /// `CollectionNotLoaded`, `PartitionNotLoaded`, a bad parameter, or a failure to read.
    async fn search(&self, plan: SearchPlan) -> Result<SearchHits, Error>;

    /// Queries. Sees every write acknowledged before the call, up to `plan.read_at`. Cancel safe.
    ///
    /// # Errors
    /// As for [`Self::search`].
    async fn query(&self, plan: QueryPlan) -> Result<QueryRows, Error>;
}
