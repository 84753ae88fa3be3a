//! What the coordinator does by itself: tell queriers what to serve, have indexes built, have garbage removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{Clock, CollectionId, Kind, Kinded};
use crate::coord::catalog::Garbage;
use crate::coord::change::Change;
use crate::coord::decide;
use crate::coord::drive::{Coordinator, Peers};
use crate::model::{ChannelManifest, IndexRef};
use crate::rpc::{CollectionInfo, IndexJob};

/// How long after a failure the work is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a querier was last told of a collection: serving follows only when it differs.
type Told = HashMap<CollectionId, (Arc<CollectionInfo>, Vec<Arc<ChannelManifest>>)>;

impl Coordinator {
    /// Keeps queriers told until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn place(
        self: Arc<Self>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut told = Told::new();
        loop {
            let woken = self.changed.notified();
            let complete = match self.peers.get() {
                Some(peers) => self.tell(peers, &mut told).await,
                None => false,
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = woken => {}
                () = clock.sleep(RETRY), if !complete => {}
            }
        }
    }

    /// Tells the querier everything that changed; false if something has to be tried again.
    async fn tell(&self, peers: &Peers, told: &mut Told) -> bool {
        let mut complete = true;
        let wanted: Vec<CollectionId> = self.catalog.read().collections.keys().copied().collect();
        let gone: Vec<CollectionId> = told.keys().filter(|id| !wanted.contains(id)).copied().collect();
        for id in wanted.into_iter().chain(gone) {
            let Some(target) = self.target(id) else {
                if told.contains_key(&id) {
                    match peers.querier.release(id).await {
                        Ok(()) => drop(told.remove(&id)),
                        Err(error) => {
                            warn!(collection = %id, %error, "querier did not release");
                            complete = false;
                        }
                    }
                }
                continue;
            };
            let state = (Arc::clone(&target.info), target.manifests.clone());
            let known = told.get(&id).is_some_and(|(info, manifests)| {
                Arc::ptr_eq(info, &state.0)
                    && manifests.iter().zip(&state.1).all(|(old, new)| Arc::ptr_eq(old, new))
            });
            if known {
                continue;
            }
            match peers.querier.serve(target).await {
                Ok(()) => drop(told.insert(id, state)),
                Err(error) => {
                    warn!(collection = %id, %error, "querier did not take its target");
                    complete = false;
                }
            }
        }
        complete
    }

    /// Has indexes built and garbage removed until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn work(self: Arc<Self>, clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let woken = self.wake.notified();
            let step = match self.peers.get() {
                Some(peers) => tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    step = self.next_step(peers) => step,
                },
                None => Step::Idle,
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = std::future::ready(()), if step == Step::More => {}
                () = clock.sleep(RETRY), if step == Step::Failed => {}
                () = woken, if step == Step::Idle => {}
            }
        }
    }

    /// Does one piece of work.
    async fn next_step(&self, peers: &Peers) -> Step {
        let garbage = self.catalog.read().garbage.values().next().cloned();
        if let Some(garbage) = garbage {
            return self.remove(peers, garbage).await;
        }
        match self.next_job().await {
            Ok(Some(job)) => self.build(peers, job).await,
            Ok(None) => Step::Idle,
            Err(error) => {
                warn!(%error, "no number for an index object");
                Step::Failed
            }
        }
    }

    async fn next_job(&self) -> Result<Option<IndexJob>, crate::rpc::Error> {
        let Some(job) = self.job_without_serial() else { return Ok(None) };
        let serial = crate::rpc::Coord::allocate_ids(self, 1).await?;
        Ok(Some(IndexJob { serial, ..job }))
    }

    fn job_without_serial(&self) -> Option<IndexJob> {
        let catalog = self.catalog.read();
        let failures = self.failures.lock();
        catalog.collections.values().find_map(|info| {
            let mut wanted = CollectionInfo::clone(info);
            // What cannot be built is shown to the user and not tried again before a restart.
            wanted.indexes.retain(|index| !failures.keys().any(|(_, failed)| *failed == index.id));
            let manifests = catalog.manifests.get(&info.id)?;
            let (segment, index) = decide::next_index_job(&wanted, manifests, self.limits.min_rows_to_index)?;
            let schema = Arc::clone(&info.schema);
            let (segment, index) = (segment.clone(), index.clone());
            Some(IndexJob { collection: info.id, schema, segment, index, serial: 0 })
        })
    }

    async fn build(&self, peers: &Peers, job: IndexJob) -> Step {
        let (collection, segment, index) = (job.collection, job.segment.id, job.index.id);
        let rows = job.segment.rows;
        let built: IndexRef = match peers.builder.build_index(job).await {
            Ok(built) => built,
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Corrupt | Kind::Internal) => {
                warn!(%collection, %segment, %index, %error, "index cannot be built");
                self.failures.lock().insert((segment, index), error.to_string());
                return Step::More;
            }
            Err(error) => {
                warn!(%collection, %segment, %index, %error, "index was not built");
                return Step::Failed;
            }
        };
        let key = built.object.key.clone();
        let mut taken = false;
        let committed = self
            .change("commit an index", |catalog| {
                let change = decide::commit_index(catalog, collection, segment, &built);
                taken = change.is_some();
                Ok(change.into_iter().collect())
            })
            .await;
        if let Err(error) = committed {
            warn!(%collection, %segment, %index, %error, "index was built but not committed");
            return Step::Failed;
        }
        if taken {
            info!(%collection, %segment, %index, rows, "index built");
        } else if let Err(error) = peers.builder.remove_objects(vec![key]).await {
            warn!(%collection, %segment, %index, %error, "an index nobody wants any more was not removed");
        }
        Step::More
    }

    async fn remove(&self, peers: &Peers, garbage: Garbage) -> Step {
        let removed = async {
            peers.writer.forget(&garbage.channels).await?;
            peers.builder.remove_objects(garbage.objects.clone()).await?;
            self.change("forget garbage", |_| Ok(vec![Change::RemoveGarbage(garbage.id)])).await
        };
        match removed.await {
            Ok(()) => Step::More,
            Err(error) => {
                warn!(id = garbage.id, %error, "garbage was not removed");
                Step::Failed
            }
        }
    }
}

/// How a round of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    More,
    /// Nothing to do until the catalog changes.
    Idle,
    /// Try again in a while.
    Failed,
}
