//! Compares what is stored with the catalog, and removes what nobody names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{Kind, Kinded as _, Timestamp, heavy};
use crate::coord::decide::{self, SPARED_MS};
use crate::coord::drive::Coordinator;
use crate::rpc::{self, Fsck};

/// How often orphans are looked for. With the time for which objects are spared, and with one look that fails, all are gone
/// within an hour.
const EVERY: Duration = Duration::from_secs(20 * 60);
/// How long after a failure.
const AGAIN: Duration = Duration::from_secs(30);
/// Objects removed with one call.
pub(super) const AT_ONCE: usize = 1_000;

impl Coordinator {
    /// Removes orphans, at once and then again and again, until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn sweep(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let pause = match self.remove_orphans().await {
                Ok(()) => EVERY,
                Err(error) if error.kind() == Kind::Unavailable => AGAIN,
                Err(error) => {
                    warn!(%error, "orphans were not looked for");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(pause) => {}
            }
        }
    }

    /// Compares what is stored with the catalog; removes nothing.
    ///
    /// # Errors
    /// If no node can list the objects.
    pub async fn compare_stored(&self) -> Result<Fsck, rpc::Error> {
        self.compare_before(self.timestamps_now()).await
    }

    /// Compares what is stored with the catalog, at a time that is not later than `now` when this begins.
    async fn compare_before(&self, now: Timestamp) -> Result<Fsck, rpc::Error> {
        // Whatever is begun from here on is younger.
        let until = now.minus_ms(SPARED_MS);
        let mut in_work = self.running.lock().segments();
        let before = self.catalog.read().clone();
        let builder = self.any_builder()?;
        let mut listed = BTreeMap::new();
        for prefix in decide::LISTED {
            let objects = builder.list_objects(prefix).await?.into_iter();
            listed.extend(objects.map(|object| (object.key, object.size_bytes)));
        }
        in_work.extend(self.running.lock().segments());
        let after = self.catalog.read().clone();
        let compared = heavy("compare", move || decide::compare(&before, &after, &listed, &in_work, until));
        compared.await.map_err(|error| rpc::Error::Failed {
            call: "compare objects with the catalog",
            kind: Kind::Internal,
            reason: error.to_string(),
        })
    }

    /// Removes what nothing names; nothing while an operator has it stay.
    pub(super) async fn remove_orphans(&self) -> Result<(), rpc::Error> {
        if self.pauses_garbage() {
            return Ok(());
        }
        // Taken and so durable: whoever leads next begins after it, and takes no object any more that counts as an orphan by
        // it, even if a clock of this machine was ahead by hours.
        let now = self.fresh("remove orphans", 1).await?;
        // Whatever is taken over was decided on before, and is in the catalog, or will be decided on by a time after this.
        drop(self.writing.lock().await);
        let Fsck { orphans, missing, strange, resized, .. } = self.compare_before(now).await?;
        if let Some(first) = missing.first() {
            tracing::error!(objects = missing.len(), first, "objects are lost");
        }
        if let Some(first) = resized.first() {
            tracing::error!(
                objects = resized.len(),
                first = first.key,
                "objects have another size than was written"
            );
        }
        if let Some(first) = strange.first() {
            warn!(objects = strange.len(), first, "there are objects of an unknown kind");
        }
        let builder = self.any_builder()?;
        // What only an old page of the bucket's copy names is no orphan before a newer one is there.
        self.mirrored_flush().await?;
        let _one_at_a_time = self.removing.lock().await;
        for some in orphans.chunks(AT_ONCE) {
            if self.pauses_garbage() {
                return Ok(());
            }
            // What another leader takes over is no orphan by its time, which is later; but this one would not see it any more.
            if self.deposed().is_cancelled() || self.leads_for().is_zero() || self.is_unsure() {
                return Err(rpc::Error::Stale { what: "the lead of the cluster".to_owned() });
            }
            builder.remove_objects(some.to_vec()).await?;
        }
        if let Some(first) = orphans.first() {
            info!(objects = orphans.len(), first, "orphans removed");
        }
        Ok(())
    }

    fn any_builder(&self) -> Result<Arc<dyn rpc::Builder>, rpc::Error> {
        let place = self.placer.lock().builder(&BTreeMap::new());
        let place = place.ok_or_else(|| rpc::Error::Failed {
            call: "find a node that builds",
            kind: Kind::Unavailable,
            reason: "there is none".to_owned(),
        })?;
        Ok(self.parts.dial.builder(&place.address))
    }
}
