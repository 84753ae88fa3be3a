//! Serves collections: one task each keeps what is held equal to the newest target.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{ChannelName, Clock, CollectionId, Kind, Kinded, PartitionId, TaskSet, Timestamp};
use crate::blob::Blobs;
use crate::exec;
use crate::log::{Logs, record};
use crate::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan, merge_query, merge_search};
use crate::querier::Error;
use crate::querier::shard::Shard;
use crate::rpc::{self, CollectionInfo, LoadProgress, Querier, Refusal, Target, Writer};

/// How long after a failure loading is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Searches over more rows than this leave the thread that answers requests.
const INLINE_ROWS: u64 = 200_000;

/// What a querier needs.
pub struct QuerierParts {
    /// Sealed data.
    pub blobs: Arc<dyn Blobs>,
    /// What is not sealed yet.
    pub logs: Arc<dyn Logs>,
    /// Says what has been acknowledged.
    pub writer: Arc<dyn Writer>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where followers of the log run.
    pub tasks: TaskSet,
}

/// One collection that is served or being loaded.
struct Served {
    target: watch::Sender<Target>,
    info: ArcSwap<CollectionInfo>,
    /// By channel, in the order of the collection's channels; empty until the first load is complete.
    shards: ArcSwap<Vec<Arc<Shard>>>,
    failure: Mutex<Option<String>>,
    /// The log went on without a follower: everything has to be loaded again.
    lost: Notify,
    stop: CancellationToken,
}

/// The querier duty.
pub struct QueryNode {
    parts: QuerierParts,
    served: RwLock<HashMap<CollectionId, Arc<Served>>>,
}

impl QueryNode {
    /// A querier that serves nothing yet.
    #[must_use]
    pub fn new(parts: QuerierParts) -> Arc<Self> {
        Arc::new(Self { parts, served: RwLock::default() })
    }

    /// Rows and collections held, for metrics.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        let served = self.served.read();
        let rows = served
            .values()
            .flat_map(|one| one.shards.load().iter().map(|shard| shard.rows()).collect::<Vec<_>>());
        (served.len(), rows.sum())
    }

    fn find(&self, id: CollectionId) -> Result<Arc<Served>, rpc::Error> {
        let not_loaded = || Refusal::CollectionNotLoaded { collection: id.to_string() };
        Ok(self.served.read().get(&id).cloned().ok_or_else(not_loaded)?)
    }
}

/// Shards that have applied everything acknowledged so far.
async fn caught_up(
    served: &Served,
    writer: &dyn Writer,
    id: CollectionId,
) -> Result<Vec<Arc<Shard>>, rpc::Error> {
    let shards = served.shards.load_full();
    if shards.is_empty() {
        return Err(Refusal::CollectionNotLoaded { collection: id.to_string() }.into());
    }
    for shard in shards.iter() {
        let end = writer.durable_end(&shard.channel).await?;
        shard.wait_applied(end).await;
    }
    Ok(shards.as_ref().clone())
}

/// The partitions to read, given those asked for and those loaded.
fn readable_partitions(
    info: &CollectionInfo,
    wanted: Option<&[PartitionId]>,
) -> Result<Option<Vec<PartitionId>>, Refusal> {
    let loaded = info.load.as_ref().and_then(|load| load.partitions.as_deref());
    match (wanted, loaded) {
        (None, None) => Ok(None),
        (None, Some(loaded)) => Ok(Some(loaded.to_vec())),
        (Some(wanted), None) => Ok(Some(wanted.to_vec())),
        (Some(wanted), Some(loaded)) => match wanted.iter().find(|id| !loaded.contains(id)) {
            Some(missing) => Err(Refusal::PartitionNotLoaded { partition: format!("[{missing}]") }),
            None => Ok(Some(wanted.to_vec())),
        },
    }
}

fn exec_failed(call: &'static str, error: &exec::Error) -> rpc::Error {
    if error.kind() == Kind::Invalid {
        return Refusal::BadSearch { text: error.to_string() }.into();
    }
    rpc::Error::failed(call, error)
}

/// What `read` gives for each shard, with the time up to which records have been applied to it as a whole.
fn read_each<T>(
    call: &'static str,
    shards: &[Arc<Shard>],
    mut read: impl FnMut(&exec::Readable, Timestamp) -> Result<T, exec::Error>,
) -> Result<Vec<T>, rpc::Error> {
    let one = |shard: &Arc<Shard>| shard.read(&mut read).map_err(|error| exec_failed(call, &error));
    shards.iter().map(one).collect()
}

/// Runs `work` here if it is short, else on a thread that may be busy for long.
async fn compute<T: Send + 'static>(
    rows: u64,
    work: impl FnOnce() -> Result<T, rpc::Error> + Send + 'static,
) -> Result<T, rpc::Error> {
    if rows <= INLINE_ROWS {
        return work();
    }
    let broke = |error: tokio::task::JoinError| rpc::Error::Failed {
        call: "search",
        kind: Kind::Internal,
        reason: error.to_string(),
    };
    tokio::task::spawn_blocking(work).await.map_err(broke)?
}

#[async_trait]
impl Querier for QueryNode {
    async fn serve(&self, target: Target) -> Result<(), rpc::Error> {
        let id = target.info.id;
        let mut all = self.served.write();
        if let Some(served) = all.get(&id) {
            served.target.send_if_modified(|known| {
                let newer = target.version > known.version;
                if newer {
                    // Reads go by the newest load state at once; data follows behind.
                    served.info.store(Arc::clone(&target.info));
                    *known = target;
                }
                newer
            });
            return Ok(());
        }
        let served = Arc::new(Served {
            info: ArcSwap::from(Arc::clone(&target.info)),
            target: watch::Sender::new(target),
            shards: ArcSwap::from_pointee(Vec::new()),
            failure: Mutex::new(None),
            lost: Notify::new(),
            stop: self.parts.tasks.stop_token().child_token(),
        });
        all.insert(id, Arc::clone(&served));
        let keeper = Keeper {
            blobs: Arc::clone(&self.parts.blobs),
            logs: Arc::clone(&self.parts.logs),
            writer: Arc::clone(&self.parts.writer),
            clock: Arc::clone(&self.parts.clock),
            tasks: self.parts.tasks.clone(),
            tails: served.stop.child_token(),
            served,
        };
        self.parts.tasks.start("serve a collection", |_| keeper.keep());
        Ok(())
    }

    async fn release(&self, collection: CollectionId) -> Result<(), rpc::Error> {
        if let Some(served) = self.served.write().remove(&collection) {
            served.stop.cancel();
            info!(%collection, "collection released");
        }
        Ok(())
    }

    async fn progress(&self, collection: CollectionId) -> Result<Option<LoadProgress>, rpc::Error> {
        let Some(served) = self.served.read().get(&collection).cloned() else { return Ok(None) };
        if let Some(reason) = served.failure.lock().clone() {
            return Err(rpc::Error::Failed { call: "load", kind: Kind::Unavailable, reason });
        }
        let percent = if served.shards.load().is_empty() { 0 } else { 100 };
        Ok(Some(LoadProgress { percent }))
    }

    async fn search(&self, mut plan: SearchPlan) -> Result<SearchHits, rpc::Error> {
        let served = self.find(plan.collection)?;
        let info = served.info.load_full();
        plan.partitions = readable_partitions(&info, plan.partitions.as_deref())?;
        let shards = caught_up(&served, self.parts.writer.as_ref(), plan.collection).await?;
        let rows = shards.iter().map(|shard| shard.rows()).sum::<u64>() * plan.queries.len() as u64;
        compute(rows, move || {
            let asked = plan.read_at;
            let mut parts = read_each("search", &shards, |on, visible| {
                plan.read_at = asked.min(visible);
                exec::search(&plan, &info.schema, on)
            })?;
            if parts.len() == 1 {
                return Ok(parts.swap_remove(0));
            }
            merge_search(&plan, parts).map_err(|error| mismatch("search", &error))
        })
        .await
    }

    async fn query(&self, mut plan: QueryPlan) -> Result<QueryRows, rpc::Error> {
        let served = self.find(plan.collection)?;
        let info = served.info.load_full();
        plan.partitions = readable_partitions(&info, plan.partitions.as_deref())?;
        let shards = caught_up(&served, self.parts.writer.as_ref(), plan.collection).await?;
        let rows = shards.iter().map(|shard| shard.rows()).sum();
        compute(rows, move || {
            let asked = plan.read_at;
            let mut parts = read_each("query", &shards, |on, visible| {
                plan.read_at = asked.min(visible);
                exec::query(&plan, &info.schema, on)
            })?;
            if parts.len() == 1 {
                return Ok(parts.swap_remove(0));
            }
            merge_query(&plan, parts).map_err(|error| mismatch("query", &error))
        })
        .await
    }
}

fn mismatch(call: &'static str, error: &crate::model::TypeMismatch) -> rpc::Error {
    rpc::Error::Failed { call, kind: Kind::Internal, reason: error.to_string() }
}

/// Keeps one collection equal to its newest target.
struct Keeper {
    blobs: Arc<dyn Blobs>,
    logs: Arc<dyn Logs>,
    writer: Arc<dyn Writer>,
    clock: Arc<dyn Clock>,
    tasks: TaskSet,
    served: Arc<Served>,
    /// Stops the followers of the current load.
    tails: CancellationToken,
}

impl Keeper {
    async fn keep(mut self) -> anyhow::Result<()> {
        let mut targets = self.served.target.subscribe();
        let mut lost = false;
        loop {
            let target = targets.borrow_and_update().clone();
            let stop = self.served.stop.clone();
            let result = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                result = self.follow(&target, lost) => result,
            };
            lost &= result.is_err();
            let failed = result.is_err();
            let id = target.info.id;
            *self.served.failure.lock() = result.err().map(|error| {
                warn!(collection = %id, %error, "collection was not loaded");
                error.to_string()
            });
            tokio::select! {
                () = self.served.stop.cancelled() => return Ok(()),
                changed = targets.changed() => changed.unwrap_or(()),
                () = self.served.lost.notified() => lost = true,
                () = self.clock.sleep(RETRY), if failed => {}
            }
        }
    }

    async fn follow(&mut self, target: &Target, lost: bool) -> Result<(), rpc::Error> {
        let failed = |error: Error| rpc::Error::failed("load", &error);
        let info = &target.info;
        let shards = self.served.shards.load_full();
        if shards.is_empty() || lost {
            return self.load(target).await;
        }
        for (shard, manifest) in shards.iter().zip(&target.manifests) {
            shard.advance(&self.blobs, manifest, &info.indexes).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn load(&mut self, target: &Target) -> Result<(), rpc::Error> {
        // Followers of an earlier load end; what they fed is served until the new shards take its place.
        self.tails.cancel();
        self.tails = self.served.stop.child_token();
        let failed = |error: Error| rpc::Error::failed("load", &error);
        let info = &target.info;
        let started = self.clock.monotonic();
        let mut shards = Vec::with_capacity(info.channels.len());
        for (channel, manifest) in info.channels.iter().zip(&target.manifests) {
            let end = self.writer.durable_end(channel).await?;
            let schema = Arc::clone(&info.schema);
            let loaded = Shard::load(&self.blobs, channel.clone(), schema, manifest, &info.indexes).await;
            let shard = Arc::new(loaded.map_err(failed)?);
            self.start_tail(&shard, info, channel);
            shard.wait_applied(end).await;
            shards.push(shard);
        }
        let rows: u64 = shards.iter().map(|shard| shard.rows()).sum();
        self.served.shards.store(Arc::new(shards));
        let took_ms = self.clock.monotonic().saturating_sub(started).as_millis();
        info!(collection = %info.id, rows, took_ms, "collection loaded");
        Ok(())
    }

    fn start_tail(&self, shard: &Arc<Shard>, info: &Arc<CollectionInfo>, channel: &ChannelName) {
        let tail = Tail {
            logs: Arc::clone(&self.logs),
            clock: Arc::clone(&self.clock),
            shard: Arc::clone(shard),
            info: Arc::clone(info),
            channel: channel.clone(),
            served: Arc::clone(&self.served),
        };
        let stop = self.tails.clone();
        self.tasks.start("follow a log", |_| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tail.run() => {}
            }
            Ok(())
        });
    }
}

/// Follows one log.
struct Tail {
    logs: Arc<dyn Logs>,
    clock: Arc<dyn Clock>,
    shard: Arc<Shard>,
    info: Arc<CollectionInfo>,
    channel: ChannelName,
    served: Arc<Served>,
}

impl Tail {
    async fn run(self) {
        loop {
            if let Err(error) = self.follow().await {
                warn!(channel = %self.channel, %error, "following the log broke off");
                if error.kind() == Kind::NotFound {
                    // The log was sealed and truncated past this follower: a new load starts from the new checkpoint.
                    self.served.lost.notify_one();
                    return;
                }
            }
            self.clock.sleep(RETRY).await;
        }
    }

    async fn follow(&self) -> Result<(), Error> {
        let failed = |source| Error::Follow { channel: self.channel.clone(), source };
        let mut reader = self.logs.read(&self.channel, self.shard.applied()).await.map_err(failed)?;
        loop {
            let (position, payload) = reader.next().await.map_err(failed)?;
            let message = record::decode(&payload, &self.info.schema)
                .map_err(|source| Error::BadRecord { channel: self.channel.clone(), source })?;
            self.shard.apply(position, message);
        }
    }
}
