//! Has segments compacted: those that were asked for first, then those that are worth it.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::base::{CollectionId, Kind, Kinded as _, SegmentId};
use crate::coord::catalog::Catalog;
use crate::coord::decide::{self, CompactPlan, Pace, Sizes};
use crate::coord::drive::Coordinator;
use crate::coord::jobs::Step;
use crate::model::SegmentManifest;
use crate::rpc::{
    self, ClusterBy, CompactJob, CompactionPlan, CompactionState, CompactionStep, IndexJob, Place, Refusal,
};

/// A plan of a compaction that was asked for: which one, and its place there.
pub(super) type Asked = (i64, usize);

/// What this leader knows of compactions beyond the catalog.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    /// Plans that a node is at.
    begun: BTreeSet<Asked>,
    /// Segments whose compaction failed for good; not tried again before a restart.
    refused: BTreeSet<SegmentId>,
}

impl Compactions {
    /// Segments not to plan for: they are in a plan already, or cannot be compacted.
    fn claimed(&self, catalog: &Catalog) -> BTreeSet<SegmentId> {
        let plans = catalog.compactions.values().flat_map(|compaction| &compaction.plans);
        let open = plans.filter(|plan| is_open(plan)).flat_map(|plan| &plan.sources);
        open.chain(&self.refused).copied().collect()
    }

    /// The plans that wait for a node, oldest first.
    fn waiting(&self, catalog: &Catalog) -> Vec<(Asked, CollectionId, CompactionPlan)> {
        let each = catalog.compactions.values().flat_map(|compaction| {
            let plans = compaction.plans.iter().enumerate();
            plans.map(|(at, plan)| ((compaction.id, at), compaction.collection, plan.clone()))
        });
        each.filter(|(asked, collection, plan)| {
            // While it is not known which segments there are, none of them is gone.
            let is_known = !catalog.unreadable.contains_key(collection);
            is_known && is_open(plan) && !self.begun.contains(asked)
        })
        .collect()
    }
}

fn is_open(plan: &CompactionPlan) -> bool {
    plan.step == CompactionStep::Executing
}

impl Coordinator {
    /// Plans the compaction of a collection as it is now, to be known as `id`.
    ///
    /// # Errors
    /// If there is no such collection, compaction is turned off, or the plans cannot be made durable.
    pub(super) async fn ask_compaction(
        &self,
        id: i64,
        collection: CollectionId,
        major: bool,
    ) -> Result<(), rpc::Error> {
        let limits = &self.parts.limits.compaction;
        if !limits.enabled {
            let text = "compaction is turned off: dataCoord.enableCompaction is false".to_owned();
            return Err(Refusal::BadParameter { text }.into());
        }
        if major && !limits.clusters {
            let text = "clustering is turned off: dataCoord.compaction.clustering.enable is false".to_owned();
            return Err(Refusal::BadParameter { text }.into());
        }
        self.check_readable("compact", collection)?;
        let (sizes, when) = (self.sizes(), self.moment());
        self.change("compact", |catalog| {
            let claimed = self.compactions.lock().claimed(catalog);
            decide::ask_compaction(catalog, collection, (id, when), major, sizes, &claimed)
        })
        .await?;
        info!(%collection, id, "compaction asked for");
        self.wake.notify_one();
        Ok(())
    }

    /// How far a compaction is.
    pub(super) fn compaction_state(&self, id: i64) -> CompactionState {
        let catalog = self.catalog.read();
        let plans = catalog.compactions.get(&id).map_or(&[][..], |compaction| &compaction.plans);
        let count = |step| plans.iter().filter(|plan| plan.step == step).count() as u32;
        CompactionState {
            executing: count(CompactionStep::Executing),
            completed: count(CompactionStep::Completed),
            failed: count(CompactionStep::Failed),
            plans: plans.to_vec(),
        }
    }

    /// Plans that were asked for and whose segments somebody else has replaced or dropped: nothing is left to do.
    pub(super) fn overtaken(&self) -> Vec<Asked> {
        let when = self.moment();
        let catalog = self.catalog.read();
        let waiting = self.compactions.lock().waiting(&catalog);
        let is_gone = |(_, collection, plan): &(Asked, CollectionId, CompactionPlan)| {
            decide::plan_of(&catalog, *collection, plan, when).is_none()
        };
        waiting.into_iter().filter(is_gone).map(|(asked, _, _)| asked).collect()
    }

    /// Notes what has nothing left to do. What cannot be noted now is noted later.
    pub(super) async fn note_overtaken(&self, overtaken: Vec<Asked>) -> Step {
        for asked in overtaken {
            if let Err(error) = self.note(Some(asked), CompactionStep::Completed).await {
                warn!(id = asked.0, %error, "the state of a compaction was not noted");
                return Step::Failed;
            }
        }
        Step::More
    }

    /// Notes how a plan that was asked for has ended, without a new segment.
    async fn note(&self, asked: Option<Asked>, step: CompactionStep) -> Result<(), rpc::Error> {
        let Some(asked) = asked else { return Ok(()) };
        self.change("note a compaction", |catalog| {
            Ok(decide::note_compaction(catalog, asked, step, Vec::new()).into_iter().collect())
        })
        .await
    }

    /// How large segments are made now. Looks at where things are placed.
    fn sizes(&self) -> Sizes {
        let room = self.placer.lock().room();
        self.parts.limits.compaction.sizes.within(room)
    }

    /// What to compact next, of segments that no job has.
    pub(super) fn next_compaction(&self) -> Option<(CompactPlan, Option<Asked>)> {
        let limits = &self.parts.limits.compaction;
        if !limits.enabled {
            return None;
        }
        let (sizes, when) = (self.sizes(), self.moment());
        let catalog = self.catalog.read();
        let mut compactions = self.compactions.lock();
        let running = self.running.lock();
        for (asked, collection, plan) in compactions.waiting(&catalog) {
            if plan.sources.iter().any(|id| running.has(*id)) {
                continue;
            }
            if let Some(plan) = decide::plan_of(&catalog, collection, &plan, when) {
                compactions.begun.insert(asked);
                return Some((plan, Some(asked)));
            }
        }
        let taken = compactions.claimed(&catalog);
        self.worthwhile(&catalog, sizes, taken, running.segments()).map(|plan| (plan, None))
    }

    /// How many compactions wait for a node; of those that nobody asked for at most one.
    pub(super) fn waiting_compactions(&self) -> usize {
        if !self.parts.limits.compaction.enabled {
            return 0;
        }
        let (sizes, when) = (self.sizes(), self.moment());
        let catalog = self.catalog.read();
        let compactions = self.compactions.lock();
        let running = self.running.lock();
        let asked = compactions.waiting(&catalog).into_iter().filter(|(_, collection, plan)| {
            decide::plan_of(&catalog, *collection, plan, when).is_some()
                && !plan.sources.iter().any(|id| running.has(*id))
        });
        let own = self.worthwhile(&catalog, sizes, compactions.claimed(&catalog), running.segments());
        asked.count() + usize::from(own.is_some())
    }

    /// A compaction that nobody asked for and that is worth it, of segments that are neither claimed nor worked on.
    fn worthwhile(
        &self,
        catalog: &Catalog,
        sizes: Sizes,
        claimed: BTreeSet<SegmentId>,
        worked_on: BTreeSet<SegmentId>,
    ) -> Option<CompactPlan> {
        let limits = &self.parts.limits.compaction;
        if !limits.automatic {
            return None;
        }
        let mut taken = claimed;
        taken.extend(worked_on);
        let pace = (Pace::Automatic, self.moment());
        catalog.collections.values().find_map(|info| {
            let manifests = catalog.manifests.get(&info.id)?;
            let is_taken = |id| taken.contains(&id);
            let merged = decide::next_compaction(info, manifests, sizes, pace, is_taken);
            let clustered = || decide::next_clustering(info, manifests, sizes.any, pace, is_taken);
            if limits.clusters && limits.clusters_by_itself { merged.or_else(clustered) } else { merged }
        })
    }

    /// Has a plan carried out at a node, and commits what comes of it. Doing it again is safe: what is not committed is
    /// garbage.
    pub(super) async fn compact_at(
        &self,
        place: Place,
        job: u64,
        plan: CompactPlan,
        asked: Option<Asked>,
    ) -> Step {
        let collection = plan.collection;
        let outcome = self.compact_and_commit(&place, job, &plan, asked).await;
        let is_current = decide::still_there(&self.catalog.read(), &plan);
        let (noted, step) = match outcome {
            Ok(()) => (Ok(()), Step::More),
            // It was read while it went away.
            Err(_) if !is_current => (self.note(asked, CompactionStep::Completed).await, Step::More),
            Err(error) if is_final(error.kind()) => {
                warn!(%collection, channel = %plan.channel, %error, "segments cannot be compacted");
                self.compactions.lock().refused.extend(plan.sources.iter().map(|source| source.id));
                (self.note(asked, CompactionStep::Failed).await, Step::More)
            }
            Err(error) => {
                warn!(%collection, channel = %plan.channel, node = %place.node, %error, "segments were not compacted");
                (Ok(()), Step::Failed)
            }
        };
        if let Err(error) = noted {
            warn!(%collection, %error, "the state of a compaction was not noted");
        }
        if let Some(asked) = asked {
            self.compactions.lock().begun.remove(&asked);
        }
        step
    }

    async fn compact_and_commit(
        &self,
        place: &Place,
        job: u64,
        plan: &CompactPlan,
        asked: Option<Asked>,
    ) -> Result<(), rpc::Error> {
        let collection = plan.collection;
        let max_bytes = self.parts.limits.compaction.sizes.any;
        let cluster = plan.cluster_by.map(|field| ClusterBy { field, max_bytes });
        let most = decide::most_outputs(plan, max_bytes);
        let output = SegmentId(self.fresh("compact", most).await?.as_id());
        (0..i64::from(most)).for_each(|at| self.running.lock().makes(job, SegmentId(output.0 + at)));
        let Some(info) = self.catalog.read().collections.get(&collection).cloned() else { return Ok(()) };
        let builder = self.parts.dial.builder(&place.address);
        let job = CompactJob {
            collection,
            schema: std::sync::Arc::clone(&info.schema),
            sources: plan.sources.clone(),
            deletes: plan.deletes.clone(),
            output,
            cluster,
            expiry: plan.expiry,
            keeps_since: plan.keeps_since,
        };
        let mut outputs = if plan.leaves_nothing() { Vec::new() } else { builder.compact(job).await? };
        if outputs.iter().any(|made| plan.expiry.may_be_of(made)) {
            // It would be planned again and again.
            let reason = "a node of an earlier version has kept what has expired".to_owned();
            return Err(rpc::Error::Failed { call: "compact", kind: Kind::Unavailable, reason });
        }
        for made in &mut outputs {
            self.index_new(builder.as_ref(), &info, made).await;
        }
        let fresh = self.fresh("compact", 1).await?;
        let grace = self.parts.limits.compaction.grace.as_millis() as u64;
        let not_before = self.parts.clock.unix_ms() + grace;
        let (mut taken, when) = (false, self.moment());
        self.change("commit a compaction", |catalog| {
            let done = if decide::has_still_expired(catalog, plan, when) {
                decide::commit_compaction(catalog, plan, &outputs, fresh, not_before)
            } else {
                decide::give_up_compaction(plan, &outputs, fresh)
            };
            taken = done.taken;
            let targets = outputs.iter().filter(|_| taken).map(|made| made.id).collect();
            let noted = asked.and_then(|asked| {
                decide::note_compaction(catalog, asked, CompactionStep::Completed, targets)
            });
            Ok(done.changes.into_iter().chain(noted).collect())
        })
        .await?;
        let (before, after) = (rows(&plan.sources), rows(&outputs));
        let segments = plan.sources.len();
        if taken {
            info!(%collection, channel = %plan.channel, segments, before, after, "segments compacted");
        } else {
            info!(%collection, channel = %plan.channel, segments, "compacted segments were gone already, or what had expired is seen again");
        }
        Ok(())
    }

    /// Builds the indexes of a segment before anybody reads it, so that searches need not scan it for a while. One that
    /// cannot be built is left to the later search for work.
    async fn index_new(
        &self,
        builder: &dyn rpc::Builder,
        info: &rpc::CollectionInfo,
        made: &mut SegmentManifest,
    ) {
        let min_rows = self.parts.limits.min_rows_to_index;
        for index in &info.indexes {
            if decide::is_scanned(made, index, min_rows) {
                continue;
            }
            let Ok(serial) = self.fresh("compact", 1).await else { return };
            let job = IndexJob {
                collection: info.id,
                schema: std::sync::Arc::clone(&info.schema),
                segment: made.clone(),
                index: index.clone(),
                serial: serial.as_id(),
            };
            match builder.build_index(job).await {
                Ok(built) => made.indexes.push(built),
                Err(error) => {
                    warn!(collection = %info.id, segment = %made.id, index = %index.id, %error, "index of a compacted segment was not built");
                    return;
                }
            }
        }
    }
}

fn rows(segments: &[SegmentManifest]) -> u64 {
    segments.iter().map(|segment| segment.rows).sum()
}

/// Whether trying again is of no use.
const fn is_final(kind: Kind) -> bool {
    matches!(kind, Kind::Invalid | Kind::Corrupt | Kind::Internal | Kind::NotFound)
}
