//! What the coordinator does by itself: looks after nodes, has indexes built and segments compacted, has garbage removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{CollectionId, IndexId, Kind, Kinded, NodeId, SegmentId};
use crate::coord::Flaw;
use crate::coord::catalog::Garbage;
use crate::coord::change::Change;
use crate::coord::compaction::Asked;
use crate::coord::decide::{self, CompactPlan};
use crate::coord::drive::Coordinator;
use crate::coord::sweep::AT_ONCE;
use crate::coord::{record, stored};
use crate::model::IndexRef;
use crate::rpc::{IndexJob, JobCount, Place, Report};

/// How long after a failure the work is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the placer is told the time.
const TICK: Duration = Duration::from_millis(500);

/// Work on segments that is under way. No two jobs have a segment in common.
#[derive(Debug, Default)]
pub(super) struct Running {
    last: u64,
    jobs: BTreeMap<u64, (NodeId, BTreeSet<SegmentId>)>,
}

impl Running {
    /// Notes a job at `node` on `segments`; returns its number.
    pub(super) fn begin(&mut self, node: NodeId, segments: BTreeSet<SegmentId>) -> u64 {
        self.last += 1;
        self.jobs.insert(self.last, (node, segments));
        self.last
    }

    /// Notes that a job makes a segment.
    pub(super) fn makes(&mut self, job: u64, segment: SegmentId) {
        if let Some((_, segments)) = self.jobs.get_mut(&job) {
            segments.insert(segment);
        }
    }

    fn end(&mut self, job: u64) {
        self.jobs.remove(&job);
    }

    /// Whether some job works on a segment.
    pub(super) fn has(&self, segment: SegmentId) -> bool {
        self.jobs.values().any(|(_, segments)| segments.contains(&segment))
    }

    /// All segments that are worked on.
    pub(super) fn segments(&self) -> BTreeSet<SegmentId> {
        self.jobs.values().flat_map(|(_, segments)| segments).copied().collect()
    }

    /// How many jobs each node has.
    fn busy(&self) -> BTreeMap<NodeId, usize> {
        let mut busy = BTreeMap::new();
        self.jobs.values().for_each(|(node, _)| *busy.entry(*node).or_default() += 1);
        busy
    }
}

/// Work for a builder.
enum Job {
    Index(IndexJob),
    Compact(CompactPlan, Option<Asked>),
    /// A step of an import: its number, and which of its sets of files.
    Import((i64, usize)),
}

/// An index of which a node has found that its object is damaged or lost: collection, segment, key of the object.
pub(super) type Lost = (CollectionId, SegmentId, String);

/// Work that has ended, and how.
struct Ended {
    work: Work,
    step: Step,
}

/// What was worked on.
enum Work {
    /// A builder's job.
    Job(u64),
    /// The removal of garbage.
    Garbage,
    /// A lost index.
    Loss,
    /// Compactions that have nothing left to do.
    Notes,
    /// Something about an import that needs no builder.
    Import,
    /// Nothing, for a while after a failure.
    Rest,
}

/// What is under way of which there is one at a time.
#[derive(Default)]
struct Going {
    removal: bool,
    notes: bool,
    rest: bool,
    /// Which kind of job is looked for first.
    turn: usize,
}

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more to do.
    More,
    /// Try again in a while.
    Failed,
}

impl Coordinator {
    /// Finds out which nodes are lost and what is to be moved, until `stop`; returns then.
    ///
    /// # Errors
    /// None.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut longest = Duration::ZERO;
        loop {
            // Renewed not long ago, so that the next commit is likely to happen, too.
            let leads_for = self.leads_for();
            longest = longest.max(leads_for);
            let commits = leads_for > longest / 2 || longest.is_zero();
            self.place(|placer, now| {
                placer.may_move_channels(commits);
                placer.tick(now);
            });
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(TICK) => {}
            }
        }
    }

    /// Has indexes built, segments compacted and garbage removed until `stop`; returns then. A node has one job at a time.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        // All that takes time is among these, also a rest: one that is not polled may hold the right to commit.
        let mut jobs: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
        let mut going = Going::default();
        loop {
            let woken = self.wake.notified();
            if !going.rest {
                self.begin_due(&mut going, &jobs);
            }
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = jobs.next() => ended,
                () = woken => continue,
                // A builder may have come, or a time been reached, without any change of the catalog.
                () = self.parts.clock.sleep(RETRY) => continue,
            };
            match ended.work {
                Work::Job(job) => self.running.lock().end(job),
                Work::Garbage => going.removal = false,
                Work::Loss | Work::Import => {}
                Work::Notes => going.notes = false,
                Work::Rest => going.rest = false,
            }
            if ended.step == Step::Failed && !going.rest {
                going.rest = true;
                jobs.push(Box::pin(async {
                    self.parts.clock.sleep(RETRY).await;
                    Ended { work: Work::Rest, step: Step::More }
                }));
            }
        }
    }

    /// Begins all that is to be done and that nobody is at.
    fn begin_due<'a>(&'a self, going: &mut Going, jobs: &FuturesUnordered<BoxFuture<'a, Ended>>) {
        if !going.removal
            && let Some(garbage) = self.next_garbage()
        {
            going.removal = true;
            let work = self.remove(garbage);
            jobs.push(Box::pin(async move { Ended { work: Work::Garbage, step: work.await } }));
        }
        while let Some(lost) = self.next_lost() {
            let work = self.give_up(lost);
            jobs.push(Box::pin(async move { Ended { work: Work::Loss, step: work.await } }));
        }
        let overtaken = if going.notes { Vec::new() } else { self.overtaken() };
        if !overtaken.is_empty() {
            going.notes = true;
            let work = self.note_overtaken(overtaken);
            jobs.push(Box::pin(async move { Ended { work: Work::Notes, step: work.await } }));
        }
        while let Some(errand) = self.next_import_errand() {
            jobs.push(Box::pin(async move {
                let step = self.run_import_errand(errand).await;
                Ended { work: Work::Import, step }
            }));
        }
        while let Some((place, job)) = self.next_job(going.turn) {
            // In turn, so that no kind waits for ever.
            going.turn += 1;
            jobs.push(self.begin(place, job));
        }
    }

    /// A job that nobody does yet, and a node that has none.
    fn next_job(&self, turn: usize) -> Option<(Place, Job)> {
        let busy = self.running.lock().busy();
        let place = self.placer.lock().builder(&busy).filter(|place| !busy.contains_key(&place.node))?;
        let look = |kind: usize| match kind % 3 {
            0 => self.next_compaction().map(|(plan, asked)| Job::Compact(plan, asked)),
            1 => self.next_index().map(Job::Index),
            _ => self.next_import_step().map(Job::Import),
        };
        let job = (turn..turn + 3).find_map(look);
        job.map(|job| (place, job))
    }

    fn begin(&self, place: Place, job: Job) -> BoxFuture<'_, Ended> {
        let note = |segments| self.running.lock().begin(place.node, segments);
        match job {
            Job::Index(job) => {
                let number = note(BTreeSet::from([job.segment.id]));
                let work = self.build(place, job);
                Box::pin(async move { Ended { work: Work::Job(number), step: work.await } })
            }
            Job::Import(step) => {
                let number = note(BTreeSet::new());
                Box::pin(async move {
                    let step = self.import_at(place, step).await;
                    Ended { work: Work::Job(number), step }
                })
            }
            Job::Compact(plan, asked) => {
                let number = note(plan.sources.iter().map(|source| source.id).collect());
                Box::pin(async move {
                    let step = self.compact_at(place, number, plan, asked).await;
                    Ended { work: Work::Job(number), step }
                })
            }
        }
    }

    /// An index to build that nobody builds yet.
    fn next_index(&self) -> Option<IndexJob> {
        let catalog = self.catalog.read();
        let (min_rows, taken) = (self.parts.limits.min_rows_to_index, self.taken_for_indexes());
        catalog.collections.values().find_map(|info| {
            let manifests = catalog.manifests.get(&info.id)?;
            let (segment, index) = decide::next_index_job(info, manifests, min_rows, &taken)?;
            let schema = Arc::clone(&info.schema);
            let (segment, index) = (segment.clone(), index.clone());
            Some(IndexJob { collection: info.id, schema, segment, index, serial: 0 })
        })
    }

    /// Whether an index of a segment is not to be begun: somebody is at the segment, or the index cannot be built, which is
    /// shown to the user and not tried again before a restart.
    fn taken_for_indexes(&self) -> impl Fn(SegmentId, IndexId) -> bool + '_ {
        let (failures, running) = (self.failures.lock(), self.running.lock());
        move |segment, index| running.has(segment) || failures.keys().any(|(_, failed)| *failed == index)
    }

    /// Notes the indexes that a node found damaged, as far as the catalog still names them.
    pub(super) fn note_lost(&self, report: &Report) {
        let damaged = report.held.iter().flat_map(|held| {
            held.damaged.iter().map(|(segment, key)| (held.collection, *segment, key.clone()))
        });
        let mut damaged = damaged.peekable();
        if damaged.peek().is_some() {
            let catalog = self.catalog.read();
            let is_named = |lost: &Lost| decide::lose_index(&catalog, lost.0, lost.1, &lost.2).is_some();
            self.lost.lock().extend(damaged.filter(is_named));
            self.wake.notify_one();
        }
    }

    fn next_lost(&self) -> Option<Lost> {
        self.lost.lock().pop_first()
    }

    /// Takes a lost index off its segment; then it is one that is to be built.
    async fn give_up(&self, (collection, segment, key): Lost) -> Step {
        let decide =
            |catalog: &_| Ok(decide::lose_index(catalog, collection, segment, &key).into_iter().collect());
        match self.change("give up a damaged index", decide).await {
            Ok(()) => {
                warn!(%collection, %segment, key, "an index is damaged or lost and is built again");
                Step::More
            }
            Err(error) => {
                // The node reports it again.
                warn!(%collection, %segment, key, %error, "a damaged index was not given up");
                Step::Failed
            }
        }
    }

    /// Work for the nodes that build: what they are at, and what waits for one.
    pub(super) fn job_count(&self) -> JobCount {
        // Looked at before and after, as a job that begins or fails meanwhile must not be missed by both.
        let before = self.running.lock().jobs.len();
        let garbage = self.with_due_garbage(|due| due.count());
        let waiting = self.waiting_indexes() + self.waiting_compactions() + self.waiting_imports() + garbage;
        let running = self.running.lock().jobs.len().max(before);
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        JobCount { waiting: count(waiting), running: count(running) }
    }

    fn waiting_indexes(&self) -> usize {
        let catalog = self.catalog.read();
        let (min_rows, taken) = (self.parts.limits.min_rows_to_index, self.taken_for_indexes());
        let each = catalog.collections.values().filter_map(|info| {
            let manifests = catalog.manifests.get(&info.id)?;
            Some(decide::index_jobs(info, manifests, min_rows, &taken).count())
        });
        each.sum()
    }

    /// Garbage whose time has come and that nobody holds; none while an operator has it stay.
    pub(super) fn next_garbage(&self) -> Option<Garbage> {
        self.with_due_garbage(|due| due.next().cloned())
    }

    /// Lets somebody look at all of it.
    fn with_due_garbage<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = &Garbage>) -> T) -> T {
        if self.is_unsure() || self.pauses_garbage() {
            return look(&mut std::iter::empty());
        }
        let catalog = self.catalog.read();
        let now = self.parts.clock.unix_ms();
        let placer = self.placer.lock();
        let is_held = |garbage: &Garbage| {
            garbage.collection.is_some_and(|collection| placer.holds_any(collection, &garbage.segments))
        };
        if self.parts.flaw == Some(Flaw::EarlyGarbage) {
            return look(&mut catalog.garbage.values());
        }
        let is_due = |garbage: &&Garbage| {
            // What the bucket's copy of the catalog still names must be there.
            garbage.not_before_unix_ms <= now && self.mirror.has(&record::garbage_key(garbage.id))
        };
        let due = catalog.garbage.values().filter(is_due);
        let is_free = |garbage: &&Garbage| !is_held(garbage) && !decide::may_be_named(&catalog, garbage);
        look(&mut due.filter(is_free))
    }

    async fn build(&self, place: Place, job: IndexJob) -> Step {
        let (collection, segment, index) = (job.collection, job.segment.id, job.index.id);
        let rows = job.segment.rows;
        let builder = self.parts.dial.builder(&place.address);
        let serial = match crate::rpc::Coord::allocate_ids(self, 1).await {
            Ok(serial) => serial,
            Err(error) => {
                warn!(%error, "no number for an index object");
                return Step::Failed;
            }
        };
        let built: IndexRef = match builder.build_index(IndexJob { serial, ..job }).await {
            Ok(built) => built,
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Corrupt | Kind::Internal) => {
                warn!(%collection, %segment, %index, %error, "index cannot be built");
                self.failures.lock().insert((segment, index), error.to_string());
                return Step::More;
            }
            Err(error) => {
                warn!(%collection, %segment, %index, node = %place.node, %error, "index was not built");
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
        } else if let Err(error) = builder.remove_objects(vec![key]).await {
            warn!(%collection, %segment, %index, %error, "an index nobody wants any more was not removed");
        }
        Step::More
    }

    async fn remove(&self, mut garbage: Garbage) -> Step {
        let _one_at_a_time = self.removing.lock().await;
        if self.pauses_garbage() {
            return Step::More;
        }
        let spared = decide::spared(&self.catalog.read(), &garbage);
        if !spared.is_empty() {
            // A record can say too much if a commit was believed to have failed and had not.
            warn!(id = garbage.id, objects = spared.len(), "garbage names objects in use, which stay");
            garbage.objects.retain(|key| !spared.contains(key));
        }
        let removed = async {
            let (writer, builder) = {
                let placer = self.placer.lock();
                (placer.any_writer(), placer.builder(&BTreeMap::new()))
            };
            let missing = |what| crate::rpc::Error::Failed {
                call: "remove garbage",
                kind: Kind::Unavailable,
                reason: format!("there is no {what}"),
            };
            if !garbage.channels.is_empty() {
                let writer = writer.ok_or_else(|| missing("node that writes"))?;
                self.parts.dial.writer(&writer.address).forget(&garbage.channels).await?;
            }
            if !garbage.objects.is_empty() {
                let builder = builder.ok_or_else(|| missing("node that builds"))?;
                let builder = self.parts.dial.builder(&builder.address);
                for some in garbage.objects.chunks(AT_ONCE) {
                    // A leader that may have been replaced does not know whether its successor was told to keep things.
                    self.check_lead().map_err(|error| error.answer("remove garbage"))?;
                    if self.pauses_garbage() {
                        return Ok(());
                    }
                    builder.remove_objects(some.to_vec()).await?;
                }
            }
            self.change("forget garbage", |_| Ok(vec![Change::RemoveGarbage(garbage.id)])).await?;
            // While the bucket's copy still names the list, it stays; the sweep of orphans finds it later.
            if self.mirror.has(&record::garbage_key(garbage.id)) {
                let list = garbage.list.map(|list| stored::garbage_key(list.number));
                self.shelf.discard(list.as_slice()).await;
            }
            Ok::<_, crate::rpc::Error>(())
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
