//! Where a call goes: finds the owner of a channel and the copies of a collection, asks them, tries again when they
//! have moved, and puts the parts of an answer together.
//!
//! [`Router`] is the [`Writer`] and the [`Reader`] of a proxy; [`CatalogCache`] is the [`Coord`] of a proxy that lives
//! away from the coordinator. Holds no rows, knows no wire API and decides nothing about placement: it follows
//! [`Routes`](crate::rpc::Routes).

mod after;
mod board;
mod cache;
mod catalog;
mod choose;
mod ids;
mod instant;
mod memory;
mod pace;
mod patience;
mod read;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod under_way;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;

pub use cache::CatalogCache;
pub use choose::ReplicaPolicy;

use self::board::Board;
use self::memory::Memories;
use self::patience::Patience;
use crate::base::{ChannelName, Clock, CollectionId, Kind, Kinded, NodeTime, Rng};
use crate::plan;
use crate::rpc::{self, Coord, Dial, Routes};
#[cfg(doc)]
use crate::rpc::{Reader, Writer};

/// What a router finds by itself. It reaches callers as [`rpc::Error::Failed`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call about a channel whose name no collection has.
    #[error("{channel} is not the channel of a collection")]
    NotAChannel {
        /// The name.
        channel: ChannelName,
    },
    /// No node owns a channel at the moment.
    #[error("{channel} has no owner{}", because(harm.as_deref()))]
    NoOwner {
        /// Which one.
        channel: ChannelName,
        /// What is damaged or lost of the collection, if anything is.
        harm: Option<String>,
    },
    /// The coordinator has not said in time who owns a channel.
    #[error("the coordinator has not said in time who owns {channel}")]
    NoRoutes {
        /// Which one.
        channel: ChannelName,
    },
    /// The collection is wanted in memory and no copy of it is complete.
    #[error("collection {collection} is not fully loaded{}", because(harm.as_deref()))]
    NoReplica {
        /// Which one.
        collection: CollectionId,
        /// What is damaged or lost, if that is why.
        harm: Option<String>,
    },
    /// No node that writes takes part.
    #[error("no node is there to remove logs")]
    NoWriter,
    /// The owner that was asked does not own the channel any more, and has not answered.
    #[error("{address} has not answered and does not own {channel} any more")]
    Replaced {
        /// The channel.
        channel: ChannelName,
        /// The former owner.
        address: String,
    },
    /// The owner that was asked has not answered in time.
    #[error("{address}, which owns {channel}, has not answered in time")]
    NoAnswer {
        /// The channel.
        channel: ChannelName,
        /// The owner.
        address: String,
    },
    /// The connection to the owner, or the owner, failed while it had the write, and nobody who was asked since could say what
    /// became of it.
    #[error("whether the write to {channel} took effect is unknown; it may be sent again")]
    UnknownOutcome {
        /// The channel.
        channel: ChannelName,
        /// What failed.
        #[source]
        source: rpc::Error,
    },
    /// Nodes answered one read with different columns, which is a defect of theirs.
    #[error("the parts of an answer about collection {collection} do not fit together")]
    Merge {
        /// Which one.
        collection: CollectionId,
        /// What does not fit.
        #[source]
        source: plan::Error,
    },
    /// A node of an earlier version was asked for aggregates.
    #[error("a query node is of an earlier version, which knows no aggregates of queries")]
    NoAggregates,
    /// A copy had not applied what a read must see when its time was up.
    #[error("what a read of {collection} must see could not be waited for any longer")]
    Behind {
        /// Which collection.
        collection: CollectionId,
    },
    /// A node of a copy did not say how far it has come with each channel of its part.
    #[error("a node did not say at which time its part of {collection} can be read")]
    Times {
        /// Which collection.
        collection: CollectionId,
    },
}

fn because(harm: Option<&str>) -> String {
    harm.map(|harm| format!(": {harm}")).unwrap_or_default()
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::NotAChannel { .. } => Kind::Invalid,
            Self::NoOwner { .. }
            | Self::NoRoutes { .. }
            | Self::Replaced { .. }
            | Self::NoAnswer { .. }
            | Self::NoReplica { .. }
            | Self::NoWriter
            | Self::Behind { .. }
            | Self::UnknownOutcome { .. } => Kind::Unavailable,
            Self::Merge { source, .. } => source.kind(),
            Self::Times { .. } | Self::NoAggregates => Kind::Internal,
        }
    }
}

/// How long and how a router tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSettings {
    /// How long a write is tried, and how long any other call to the owner of a channel is tried again, from its first
    /// failure on. Unit: milliseconds.
    pub write_deadline_ms: u64,
    /// How long a read is tried again, from its first failure on. Unit: milliseconds.
    pub read_deadline_ms: u64,
    /// How old writes through other proxies may be before a `Bounded` read must see them. Unit: milliseconds.
    /// Milvus's `common.gracefulTime`.
    pub graceful_ms: u64,
    /// How one of several copies is chosen. Milvus's `proxy.replicaSelectionPolicy`.
    pub policy: ReplicaPolicy,
    /// The zone that copies are chosen in while one there works; empty for no matter.
    pub zone: String,
    /// How long a node that could not be reached is asked only if no other can answer. Unit: milliseconds.
    pub avoid_ms: u64,
    /// A read that takes longer than most and longer than this is sent to a second copy. Unit: milliseconds.
    pub hedge_after_ms: u64,
    /// Second copies asked like that, in percent of all reads, at most.
    pub hedge_percent: u32,
    /// How long a read waits for fresh routes, which come at once from a coordinator that is there, before it goes on with
    /// others; ten times as long if nothing is left to be tried by those, and longer each further time. Unit: milliseconds.
    pub fresh_ms: u64,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            write_deadline_ms: 10_000,
            read_deadline_ms: 10_000,
            graceful_ms: 5_000,
            policy: ReplicaPolicy::LookAside,
            zone: String::new(),
            avoid_ms: 3_000,
            hedge_after_ms: 5,
            hedge_percent: 5,
            fresh_ms: 100,
        }
    }
}

/// What a router is made of.
#[derive(Clone)]
pub struct RouterParts {
    /// Who knows the routes.
    pub coord: Arc<dyn Coord>,
    /// The cache, if `coord` is one: it must be told when routes turn out to be old.
    pub cache: Option<Arc<CatalogCache>>,
    /// Reaches nodes.
    pub dial: Arc<dyn Dial>,
    /// How long things take.
    pub clock: Arc<dyn Clock>,
    /// What time it is, as the cluster has it: the clock of this machine may be wrong.
    pub time: Arc<NodeTime>,
    /// Chance: choices among copies, lengths of pauses.
    pub rng: Arc<dyn Rng>,
    /// How long and how.
    pub settings: RouterSettings,
}

/// The way from a proxy to whoever can do what a client asks.
///
/// What is retried: a node that answers [`rpc::Error::Stale`] did nothing (a client of [`Dial`] that could not even
/// connect says the same), so every call goes on to the next one the routes name. A call that failed in any other
/// passing way is repeated, which can do no harm: a write is sent again under the number that it has, by which an owner
/// knows whether it is in the log. If no owner could say so in time it ends with [`Error::UnknownOutcome`], kind
/// `Unavailable`.
pub struct Router {
    parts: RouterParts,
    board: Board,
    memories: Memories,
}

impl Router {
    /// A router over `parts`.
    #[must_use]
    pub fn new(parts: RouterParts) -> Arc<Self> {
        let board = Board::new(Duration::from_millis(parts.settings.avoid_ms));
        Arc::new(Self { parts, board, memories: Memories::default() })
    }

    /// The routes of a collection; other ones than `seen`, if there are any by now.
    ///
    /// While the coordinator cannot say, those that were seen have to do.
    async fn routes(
        &self,
        collection: CollectionId,
        seen: Option<&Arc<Routes>>,
    ) -> Result<Arc<Routes>, rpc::Error> {
        let found = match (seen, &self.parts.cache) {
            (Some(seen), Some(cache)) => cache.renew_routes(collection, seen.version).await,
            _ => self.parts.coord.routes(collection).await,
        };
        match (found, seen) {
            (Err(error), Some(seen)) if passes(&error) => {
                tracing::debug!(%collection, reason = %error, "no fresh routes, going on with old ones");
                Ok(Arc::clone(seen))
            }
            (found, _) => found,
        }
    }

    /// The same for a read, which goes on with what is known once it has waited for `wait`: any node that those routes name
    /// and that has not its part says so.
    async fn routes_to_read(
        &self,
        collection: CollectionId,
        seen: Option<&Arc<Routes>>,
        wait: Duration,
    ) -> Result<Arc<Routes>, rpc::Error> {
        let Some(cache) = &self.parts.cache else { return self.routes(collection, seen).await };
        let (fresh, usable) = match seen {
            Some(seen) => {
                (Either::Left(cache.renew_routes(collection, seen.version)), Some(Arc::clone(seen)))
            }
            None => (Either::Right(cache.sound_routes(collection)), cache.last_routes(collection)),
        };
        let Some(usable) = usable.filter(|routes| routes.wanted) else { return fresh.await };
        tokio::select! {
            biased;
            found = fresh => match found {
                Err(error) if passes(&error) => {
                    tracing::debug!(%collection, reason = %error, "no fresh routes, going on with old ones");
                    Ok(usable)
                }
                found => found,
            },
            () = self.parts.clock.sleep(wait) => {
                tracing::debug!(%collection, wait_ms = wait.as_millis(), "fresh routes are late, going on with old ones");
                Ok(usable)
            }
        }
    }

    fn patience(&self, deadline_ms: u64) -> Patience {
        Patience::new(Duration::from_millis(deadline_ms))
    }

    /// Waits before the next try, or gives `failure` back when the time is up.
    async fn pause(&self, patience: &mut Patience, failure: rpc::Error) -> Result<(), rpc::Error> {
        match patience.next(self.parts.clock.monotonic(), self.parts.rng.as_ref()) {
            Some(pause) => {
                tracing::debug!(reason = %failure, pause_ms = pause.as_millis(), "trying again");
                self.parts.clock.sleep(pause).await;
                Ok(())
            }
            None => Err(failure),
        }
    }
}

/// Whether a failure may be over soon: the node or the coordinator is gone, has been replaced, or is being replaced.
fn passes(error: &rpc::Error) -> bool {
    match error {
        rpc::Error::Refused(_) => false,
        rpc::Error::Stale { .. } => true,
        rpc::Error::Failed { kind, .. } => matches!(kind, Kind::Unavailable | Kind::Fenced | Kind::Conflict),
    }
}
