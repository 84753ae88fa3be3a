//! The duty that holds data in memory and answers searches.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Error, ReadAfter, Share, TimeSpan};
use crate::base::CollectionId;
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};

/// The duty that loads segments, follows the log and answers reads of what it holds. What to hold it learns from the
/// orders of its node.
#[async_trait]
pub trait Querier: Send + Sync + 'static {
    /// Searches `share`, all of it or not at all, once what `after` asks for has been applied. Cancel safe.
    ///
    /// # Errors
    /// [`Error::is_stale`] if the node does not hold the share (any more, or yet): the caller's routes are old. Refusals:
    /// a bad parameter. Kind `Unavailable` if the log could not be followed far enough in time.
    async fn search(
        &self,
        plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, Error>;

    /// Queries `share`, as [`Self::search`].
    ///
    /// # Errors
    /// As for [`Self::search`].
    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error>;

    /// The times that `share` can be read at, by channel, once what `after` asks for has been applied. Nodes that have
    /// parts of one channel are asked this before a read, so that all of them read at one time. Cancel safe.
    ///
    /// # Errors
    /// As for [`Self::search`].
    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error>;
}
