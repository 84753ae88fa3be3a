//! Empties collections, and answers once no read goes by what was there.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::{CollectionId, Kind, Position, SegmentId};
use crate::coord::Error;
use crate::coord::catalog::Catalog;
use crate::coord::decide;
use crate::coord::drive::{Coordinator, HEARD_WITHIN};
use crate::rpc::{self, CollectionRef};

/// The call, as errors name it.
const CALL: &str = "truncate collection";
/// How long a truncation waits until query nodes have said that they can do without what was dropped: some beats of theirs.
const LEFT_WITHIN: Duration = Duration::from_secs(10);

impl Coordinator {
    /// Drops all sealed rows of a collection. Returns once no proxy reads them any more.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the rows are dropped but may still be read; asking again waits again.
    pub(super) async fn truncate(&self, collection: CollectionRef) -> Result<(), rpc::Error> {
        self.check_named(CALL, &collection)?;
        let fresh = self.fresh(CALL, 1).await?;
        let grace = u64::try_from(self.parts.limits.compaction.grace.as_millis()).unwrap_or(u64::MAX);
        let not_before = self.parts.clock.unix_ms().saturating_add(grace);
        // By its id from here on: what is waited for is what was emptied, whatever it is called by then.
        let id = self.catalog.read().collection(&collection)?.id;
        let truncate = |catalog: &Catalog| {
            decide::truncate_collection(catalog, &CollectionRef::Id(id), fresh, not_before)
        };
        self.settle(truncate).await.map_err(|error| error.answer(CALL))??;
        let (left, _late) = tokio::join!(self.left_behind(id), self.mirrored_within(HEARD_WITHIN));
        left
    }

    /// Waits until no proxy reads anything of a collection that was dropped or replaced before now.
    async fn left_behind(&self, id: CollectionId) -> Result<(), rpc::Error> {
        let (checkpoints, gone): (Vec<Position>, BTreeSet<SegmentId>) = {
            let catalog = self.catalog.read();
            let manifests = catalog.manifests.get(&id).into_iter().flatten();
            // Also what an earlier attempt dropped, and what was compacted into it: an older route may still name either.
            (manifests.map(|manifest| manifest.checkpoint).collect(), decide::leaving(&catalog, id))
        };
        let mut reported = self.reported.subscribe();
        let left = async {
            while !self.placer.lock().has_left(id, &checkpoints, &gone) {
                if reported.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = left => {}
            () = self.deposed.cancelled() => return Err(Error::Deposed.answer(CALL)),
            () = self.parts.clock.sleep(LEFT_WITHIN) => {
                let reason = "the rows are dropped, but query nodes have not moved on in time, try again".to_owned();
                return Err(rpc::Error::Failed { call: CALL, kind: Kind::Unavailable, reason });
            }
        }
        let number = self.placer.lock().number();
        self.heard(number).await;
        Ok(())
    }
}
