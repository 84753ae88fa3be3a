//! Has segments compacted: those that were asked for first, then those that are worth it.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use crate::base::{CollectionId, Kind, Kinded as _, SegmentId};
use crate::coord::catalog::DEFAULT_DATABASE;
use crate::coord::decide::{self, CompactPlan, Pace};
use crate::coord::drive::Coordinator;
use crate::coord::jobs::Step;
use crate::model::SegmentManifest;
use crate::rpc::{
    self, CompactJob, CompactionPlan, CompactionState, CompactionStep, IndexJob, Place, Refusal,
};

/// Compactions that were asked for and are remembered.
const REMEMBERED: usize = 1_000;

/// A plan of a compaction that was asked for: which one, and its place there.
pub(super) type Asked = (i64, usize);

/// Compactions that were asked for, and what cannot be compacted.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    asked: BTreeMap<i64, Request>,
    /// Segments whose compaction failed for good; not tried again before a restart.
    refused: BTreeSet<SegmentId>,
}

#[derive(Debug)]
struct Request {
    collection: CollectionId,
    plans: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    plan: CompactionPlan,
    /// Whether a node is at it.
    begun: bool,
}

impl Planned {
    fn is_open(&self) -> bool {
        self.plan.step == CompactionStep::Executing
    }
}

impl Compactions {
    /// Remembers a compaction that is to make each of `groups` one segment.
    fn ask(&mut self, id: i64, collection: CollectionId, groups: Vec<Vec<SegmentId>>) {
        let planned = |sources| Planned {
            plan: CompactionPlan { sources, target: None, step: CompactionStep::Executing },
            begun: false,
        };
        self.asked.insert(id, Request { collection, plans: groups.into_iter().map(planned).collect() });
        while self.asked.len() > REMEMBERED {
            self.asked.pop_first();
        }
    }

    /// How far a compaction is.
    pub(super) fn state(&self, id: i64) -> CompactionState {
        let plans = self.asked.get(&id).map_or(&[][..], |request| &request.plans);
        let plans: Vec<CompactionPlan> = plans.iter().map(|planned| planned.plan.clone()).collect();
        let count = |step| plans.iter().filter(|plan| plan.step == step).count() as u32;
        CompactionState {
            executing: count(CompactionStep::Executing),
            completed: count(CompactionStep::Completed),
            failed: count(CompactionStep::Failed),
            plans,
        }
    }

    /// Segments not to plan for: they are in a plan already, or cannot be compacted.
    fn claimed(&self) -> BTreeSet<SegmentId> {
        let plans = self.asked.values().flat_map(|request| &request.plans);
        let open = plans.filter(|planned| planned.is_open()).flat_map(|planned| &planned.plan.sources);
        open.chain(&self.refused).copied().collect()
    }

    /// The plans that wait for a node, oldest first.
    fn waiting(&self) -> Vec<(Asked, CollectionId, Vec<SegmentId>)> {
        let each = self.asked.iter().flat_map(|(id, request)| {
            let plans =
                request.plans.iter().enumerate().filter(|(_, planned)| planned.is_open() && !planned.begun);
            plans.map(|(at, planned)| ((*id, at), request.collection, planned.plan.sources.clone()))
        });
        each.collect()
    }

    fn planned(&mut self, asked: Asked) -> Option<&mut Planned> {
        self.asked.get_mut(&asked.0)?.plans.get_mut(asked.1)
    }

    fn begin(&mut self, asked: Asked) {
        if let Some(planned) = self.planned(asked) {
            planned.begun = true;
        }
    }

    fn end(&mut self, asked: Option<Asked>, step: CompactionStep, target: Option<SegmentId>) {
        if let Some(planned) = asked.and_then(|asked| self.planned(asked)) {
            planned.begun = false;
            planned.plan.step = step;
            planned.plan.target = target;
        }
    }
}

impl Coordinator {
    /// Plans the compaction of a collection as it is now, to be known as `id`.
    ///
    /// # Errors
    /// If there is no such collection, or compaction is turned off.
    pub(super) fn ask_compaction(&self, id: i64, collection: CollectionId) -> Result<(), Refusal> {
        let limits = &self.parts.limits.compaction;
        if !limits.enabled {
            let text = "compaction is turned off: dataCoord.enableCompaction is false".to_owned();
            return Err(Refusal::BadParameter { text });
        }
        let catalog = self.catalog.read();
        let not_found = || Refusal::CollectionNotFound {
            database: DEFAULT_DATABASE.to_owned(),
            collection: collection.to_string(),
        };
        let info = catalog.collections.get(&collection).ok_or_else(not_found)?;
        let manifests = catalog.manifests.get(&collection).map_or(&[][..], Vec::as_slice);
        let mut compactions = self.compactions.lock();
        let mut claimed = compactions.claimed();
        let mut groups: Vec<Vec<SegmentId>> = Vec::new();
        // Segments whose index is built now are planned for all the same, and wait for that.
        while let Some(plan) =
            decide::next_compaction(info, manifests, limits.max_bytes, Pace::Manual, |id| {
                claimed.contains(&id)
            })
        {
            let group: Vec<SegmentId> = plan.sources.iter().map(|source| source.id).collect();
            claimed.extend(&group);
            groups.push(group);
        }
        info!(%collection, id, plans = groups.len(), "compaction asked for");
        compactions.ask(id, collection, groups);
        self.wake.notify_one();
        Ok(())
    }

    /// What to compact next, of segments that no job has.
    pub(super) fn next_compaction(&self) -> Option<(CompactPlan, Option<Asked>)> {
        let limits = &self.parts.limits.compaction;
        if !limits.enabled {
            return None;
        }
        let catalog = self.catalog.read();
        let mut compactions = self.compactions.lock();
        let running = self.running.lock();
        for (asked, collection, sources) in compactions.waiting() {
            match decide::plan_of(&catalog, collection, &sources) {
                // Somebody else has replaced or dropped them: nothing is left to do.
                None => compactions.end(Some(asked), CompactionStep::Completed, None),
                Some(_) if sources.iter().any(|id| running.has(*id)) => {}
                Some(plan) => {
                    compactions.begin(asked);
                    return Some((plan, Some(asked)));
                }
            }
        }
        if !limits.automatic {
            return None;
        }
        let mut taken = compactions.claimed();
        taken.extend(running.segments());
        catalog.collections.values().find_map(|info| {
            let manifests = catalog.manifests.get(&info.id)?;
            let plan = decide::next_compaction(info, manifests, limits.max_bytes, Pace::Automatic, |id| {
                taken.contains(&id)
            })?;
            Some((plan, None))
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
        let outcome = self.compact_and_commit(&place, job, &plan).await;
        let is_current = decide::still_there(&self.catalog.read(), &plan);
        let mut compactions = self.compactions.lock();
        match outcome {
            Ok(target) => {
                compactions.end(asked, CompactionStep::Completed, target);
                Step::More
            }
            // It was read while it went away.
            Err(_) if !is_current => {
                compactions.end(asked, CompactionStep::Completed, None);
                Step::More
            }
            Err(error) if is_final(error.kind()) => {
                warn!(%collection, channel = %plan.channel, %error, "segments cannot be compacted");
                compactions.refused.extend(plan.sources.iter().map(|source| source.id));
                compactions.end(asked, CompactionStep::Failed, None);
                Step::More
            }
            Err(error) => {
                warn!(%collection, channel = %plan.channel, node = %place.node, %error, "segments were not compacted");
                compactions.end(asked, CompactionStep::Executing, None);
                Step::Failed
            }
        }
    }

    async fn compact_and_commit(
        &self,
        place: &Place,
        job: u64,
        plan: &CompactPlan,
    ) -> Result<Option<SegmentId>, rpc::Error> {
        let collection = plan.collection;
        let output = SegmentId(self.fresh("compact", 1).await?.as_id());
        self.running.lock().makes(job, output);
        let Some(info) = self.catalog.read().collections.get(&collection).cloned() else { return Ok(None) };
        let builder = self.parts.dial.builder(&place.address);
        let (sources, deletes) = (plan.sources.clone(), plan.deletes.clone());
        let schema = std::sync::Arc::clone(&info.schema);
        let mut outputs =
            builder.compact(CompactJob { collection, schema, sources, deletes, output }).await?;
        for made in &mut outputs {
            self.index_new(builder.as_ref(), &info, made).await;
        }
        let fresh = self.fresh("compact", decide::RECORDS).await?;
        let grace = self.parts.limits.compaction.grace.as_millis() as u64;
        let not_before = self.parts.clock.unix_ms() + grace;
        let mut taken = false;
        self.change("commit a compaction", |catalog| {
            let done = decide::commit_compaction(catalog, plan, &outputs, fresh, not_before);
            taken = done.taken;
            Ok(done.changes)
        })
        .await?;
        let (before, after) = (rows(&plan.sources), rows(&outputs));
        let segments = plan.sources.len();
        if taken {
            info!(%collection, channel = %plan.channel, segments, before, after, "segments compacted");
        } else {
            info!(%collection, channel = %plan.channel, segments, "compacted segments were gone already");
        }
        Ok(outputs.first().filter(|_| taken).map(|made| made.id))
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
