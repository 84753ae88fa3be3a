//! Has files imported: a step at a time at the nodes that build, and at the end all rows at once.
//!
//! Each step is committed with what it made and with where the next one goes on, in one transaction. So a leader that takes
//! over goes on from there, and no row comes twice. What a step made that was not committed is swept as an orphan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::base::{ChannelName, CollectionId, Kind, PartitionId, SegmentId, Timestamp};
use crate::coord::Error;
use crate::coord::catalog::{Catalog, Import};
use crate::coord::decide::{self, ImportWork};
use crate::coord::drive::{Coordinator, HEARD_WITHIN};
use crate::coord::jobs::Step;
use crate::coord::stored;
use crate::model::Keys;
use crate::rpc::{self, ImportDone, ImportInfo, ImportJob, NewImport, Operation, Place, Refusal, Write};

/// Most segments of one step.
const SEGMENTS: u32 = 32_768;
/// Most keys that one step may give.
const KEYS: u32 = 131_072;
/// How long it is waited for those who read a collection, before its rows are said to be there all the same.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
/// How often a channel is asked for a later time, before the import rests.
const ATTEMPTS: usize = 200;

/// What this leader knows of imports beyond the catalog.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Those that something is being done about.
    busy: BTreeSet<i64>,
    /// The one that a node was last given work for.
    last: i64,
    /// Segments that were committed and are to be seen, by import.
    unseen: BTreeMap<i64, Vec<(SegmentId, PartitionId)>>,
}

impl Coordinator {
    /// Begins an import.
    ///
    /// # Errors
    /// If there is no such collection or partition, there are too many imports, or it cannot be made durable.
    pub(super) async fn begin_import(&self, new: NewImport) -> Result<i64, rpc::Error> {
        let id = self.fresh("import", 1).await?.as_id();
        let now = self.parts.clock.unix_ms();
        let mut begun = None;
        let begin = |catalog: &Catalog| {
            begun = decide::begun_import(catalog, &new, now);
            if begun.is_some() { Ok(Vec::new()) } else { decide::create_import(catalog, &new, id, now) }
        };
        self.change("import", begin).await?;
        if let Some(known) = begun {
            info!(collection = %new.collection, id = known, "import asked for again");
            return Ok(known);
        }
        info!(collection = %new.collection, id, "import asked for");
        self.wake.notify_one();
        Ok(id)
    }

    /// Imports that are known, oldest first.
    pub(super) fn known_imports(&self, id: Option<i64>) -> Vec<ImportInfo> {
        let catalog = self.catalog.read();
        match id {
            Some(id) => catalog.imports.get(&id).map(|import| import.info.clone()).into_iter().collect(),
            None => catalog.imports.values().map(|import| import.info.clone()).collect(),
        }
    }

    /// Notes what somebody says about an import.
    ///
    /// # Errors
    /// If it is not known, or over with the other outcome.
    pub(super) async fn end_known_import(&self, id: i64, commits: bool) -> Result<(), rpc::Error> {
        let fresh = self.fresh("end an import", 1).await?;
        let now = self.parts.clock.unix_ms();
        self.change("end an import", |catalog| decide::end_import(catalog, id, commits, fresh, now)).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// What a node is to do next for an import that nobody is at: each import in its turn.
    pub(super) fn next_import_step(&self) -> Option<(i64, usize)> {
        let catalog = self.catalog.read();
        let mut imports = self.imports.lock();
        let now = self.parts.clock.unix_ms();
        let step = |import: &Import| match decide::work_of(&catalog, import, now) {
            Some(ImportWork::Step { id, task }) if !imports.busy.contains(&id) => Some((id, task)),
            _ => None,
        };
        let after = catalog.imports.range(imports.last + 1..).find_map(|(_, import)| step(import));
        let found = after.or_else(|| catalog.imports.values().find_map(step))?;
        imports.busy.insert(found.0);
        imports.last = found.0;
        Some(found)
    }

    /// How many imports wait for a node.
    pub(super) fn waiting_imports(&self) -> usize {
        let catalog = self.catalog.read();
        let imports = self.imports.lock();
        let now = self.parts.clock.unix_ms();
        let waits = |import: &&Import| {
            !imports.busy.contains(&import.info.id)
                && matches!(decide::work_of(&catalog, import, now), Some(ImportWork::Step { .. }))
        };
        catalog.imports.values().filter(waits).count()
    }

    /// What is to be done about an import without a node, by nobody yet.
    pub(super) fn next_import_errand(&self) -> Option<ImportWork> {
        let catalog = self.catalog.read();
        let mut imports = self.imports.lock();
        let now = self.parts.clock.unix_ms();
        let errands = catalog.imports.values().filter(|import| !imports.busy.contains(&import.info.id));
        let mut errands =
            errands.filter_map(|import| Some((import.info.id, decide::work_of(&catalog, import, now)?)));
        let (id, work) = errands.find(|(_, work)| !matches!(work, ImportWork::Step { .. }))?;
        imports.busy.insert(id);
        Some(work)
    }

    /// Does what needs no node that builds.
    pub(super) async fn run_import_errand(&self, work: ImportWork) -> Step {
        let (id, done) = match work {
            ImportWork::Step { id, .. } => (id, Ok(())),
            ImportWork::Fail { id, reason } => (id, self.fail_import(id, &reason).await),
            ImportWork::Hold { id } => {
                let held = self.change("note an import", |catalog| {
                    Ok(decide::hold_import(catalog, id, None).into_iter().collect())
                });
                (id, held.await)
            }
            ImportWork::Commit { id } => (id, self.commit_import(id).await),
            ImportWork::Publish { id } => (id, self.publish_import(id).await),
        };
        self.imports.lock().busy.remove(&id);
        match done {
            Ok(()) => Step::More,
            Err(error) => {
                warn!(id, %error, "an import waits");
                Step::Failed
            }
        }
    }

    /// Has a node do a step of an import, and commits what comes of it.
    pub(super) async fn import_at(&self, place: Place, (id, task): (i64, usize)) -> Step {
        let done = self.import_step(&place, id, task).await;
        let step = match done {
            Ok(()) => Step::More,
            Err(error) if is_final(&error) => {
                let reason = match &error {
                    rpc::Error::Failed { reason, .. } => reason.clone(),
                    other => other.to_string(),
                };
                match self.fail_import(id, &reason).await {
                    Ok(()) => Step::More,
                    Err(error) => {
                        warn!(id, %error, "that an import failed was not noted");
                        Step::Failed
                    }
                }
            }
            Err(error) => {
                warn!(id, node = %place.node, %error, "a step of an import was not done");
                Step::Failed
            }
        };
        self.imports.lock().busy.remove(&id);
        step
    }

    async fn import_step(&self, place: &Place, id: i64, task: usize) -> Result<(), rpc::Error> {
        const CALL: &str = "import";
        let job = {
            let catalog = self.catalog.read();
            let Some(import) = catalog.imports.get(&id) else { return Ok(()) };
            let info = &import.info;
            let Some(of) = info.tasks.get(task) else { return Ok(()) };
            let Some(collection) = catalog.collections.get(&info.collection) else { return Ok(()) };
            ImportJob {
                collection: collection.as_ref().clone(),
                partition: info.partition,
                files: of.files.clone(),
                options: info.options.clone(),
                from: of.next,
                first_segment: SegmentId(0),
                segments: SEGMENTS,
                first_key: 0,
                keys: KEYS,
            }
        };
        let from = job.from;
        let collection = job.collection.id;
        let first_segment = SegmentId(self.fresh(CALL, SEGMENTS).await?.as_id());
        let first_key = self.fresh(CALL, KEYS).await?.as_id();
        let builder = self.parts.dial.builder(&place.address);
        let done = builder.import(ImportJob { first_segment, first_key, ..job }).await?;
        let piece = self.store_piece(first_segment, &done).await?;
        let now = self.parts.clock.unix_ms();
        let (mut taken, mut refused) = (false, None);
        let committed = self.change("commit a step of an import", |catalog| {
            let is_late = first_segment.0 < self.timestamps_now().minus_ms(decide::TAKEN_FOR_MS).as_id();
            let change =
                decide::commit_step(catalog, (id, task), from, &done, piece, now).filter(|_| !is_late);
            taken = matches!(change, Some(Ok(_)));
            match change {
                Some(Ok(change)) => Ok(vec![change]),
                Some(Err(reason)) => {
                    refused = Some(reason);
                    Ok(Vec::new())
                }
                None => Ok(Vec::new()),
            }
        });
        committed.await?;
        if !taken {
            self.throw_away(builder.as_ref(), &done, piece.as_ref()).await;
        }
        if let Some(reason) = refused {
            return Err(rpc::Error::Failed { call: CALL, kind: Kind::Invalid, reason });
        }
        info!(%collection, id, task, rows = done.rows, segments = done.segments.len(), taken, "import step");
        Ok(())
    }

    /// Stores which segments a step has made; none for none.
    async fn store_piece(
        &self,
        number: SegmentId,
        done: &ImportDone,
    ) -> Result<Option<stored::Piece>, rpc::Error> {
        if done.segments.is_empty() {
            return Ok(None);
        }
        let failed = |error: Error| error.answer("store a step of an import");
        let body = stored::seal(&done.segments).map_err(failed)?;
        let piece = stored::piece_of(number.0, &body);
        self.shelf.put(&stored::import_key(number.0), body).await.map_err(failed)?;
        Ok(Some(piece))
    }

    /// Removes what a step has made and nobody wants. What stays is swept as an orphan.
    async fn throw_away(&self, builder: &dyn rpc::Builder, done: &ImportDone, piece: Option<&stored::Piece>) {
        let objects: Vec<String> = done.segments.iter().flat_map(|(_, segment)| segment.objects()).collect();
        if !objects.is_empty()
            && let Err(error) = builder.remove_objects(objects).await
        {
            warn!(%error, "segments of an import that nobody wants were not removed");
        }
        let pieces: Vec<String> = piece.map(|piece| stored::import_key(piece.number)).into_iter().collect();
        self.shelf.discard(&pieces).await;
    }

    async fn fail_import(&self, id: i64, reason: &str) -> Result<(), rpc::Error> {
        let fresh = self.fresh("fail an import", 1).await?;
        let now = self.parts.clock.unix_ms();
        self.change("fail an import", |catalog| Ok(decide::fail_import(catalog, id, reason, fresh, now)))
            .await?;
        warn!(id, reason, "import failed");
        Ok(())
    }

    /// Puts all rows into the collection. They get a time; before that every channel has to have come so far and to have
    /// sealed what is older: then all later writes, and no earlier ones, count for them.
    async fn commit_import(&self, id: i64) -> Result<(), rpc::Error> {
        const CALL: &str = "commit an import";
        let at = self.fresh(CALL, 1).await?;
        self.change(CALL, |catalog| Ok(decide::hold_import(catalog, id, Some(at)).into_iter().collect()))
            .await?;
        let (collection, segments) = {
            let catalog = self.catalog.read();
            let Some(import) = catalog.imports.get(&id) else { return Ok(()) };
            let segments = import.segments.iter().flat_map(|some| some.iter());
            let segments: Vec<_> = segments.map(|(_, segment)| (segment.id, segment.partition)).collect();
            (import.info.collection, segments)
        };
        self.pass(collection, at).await?;
        let fresh = self.fresh(CALL, 1).await?;
        let now = self.parts.clock.unix_ms();
        let settled = self.settle(|catalog| decide::commit_import(catalog, id, at, fresh, now));
        let settled = settled.await.map_err(|error| error.answer(CALL))?;
        match settled {
            Ok(number) => {
                let count = segments.len();
                self.imports.lock().unseen.insert(id, segments);
                let ((), _late) = tokio::join!(self.heard(number), self.mirrored_within(HEARD_WITHIN));
                info!(%collection, id, segments = count, "import committed");
                Ok(())
            }
            Err(reason) => self.fail_import(id, &reason).await,
        }
    }

    /// Has every channel of a collection come to a time, and what is not later sealed.
    async fn pass(&self, collection: CollectionId, at: Timestamp) -> Result<(), rpc::Error> {
        const CALL: &str = "pass a time";
        let unavailable = |reason: String| rpc::Error::Failed { call: CALL, kind: Kind::Unavailable, reason };
        let info = self.catalog.read().collections.get(&collection).cloned();
        let Some(info) = info else { return Ok(()) };
        let none = Keys::empty(info.schema.primary().data_type);
        for channel in &info.channels {
            let owner = self.owner_of(collection, channel);
            let owner = owner.ok_or_else(|| unavailable(format!("nobody owns {channel}")))?;
            let writer = self.parts.dial.writer(&owner.address);
            let mut attempts = 0;
            loop {
                // A delete of nothing: what tells those who follow the channel how far it has come.
                let operation = Operation::Delete { partition: None, keys: Arc::new(none.clone()) };
                let write = Write::new(collection, channel.clone(), operation);
                if writer.write(write).await?.at >= at {
                    break;
                }
                attempts += 1;
                if attempts == ATTEMPTS {
                    return Err(unavailable(format!("{channel} has not come to the time of the import")));
                }
                self.parts.clock.sleep(Duration::from_millis(10)).await;
            }
            writer.flush(channel).await?;
        }
        Ok(())
    }

    fn owner_of(&self, collection: CollectionId, channel: &ChannelName) -> Option<Place> {
        let routes = self.placer.lock().routes(collection)?;
        routes.owners.iter().find(|owner| owner.channel == *channel)?.place.clone()
    }

    /// Waits until those who read a collection know of the rows of an import; says that it is done then.
    async fn publish_import(&self, id: i64) -> Result<(), rpc::Error> {
        let segments = self.imports.lock().unseen.remove(&id).unwrap_or_default();
        let info = {
            let catalog = self.catalog.read();
            let import = catalog.imports.get(&id);
            import.and_then(|import| catalog.collections.get(&import.info.collection)).cloned()
        };
        if let Some(info) = info {
            let wanted = decide::wanted_of(&info, &segments);
            self.read_by_all(info.id, &wanted).await;
        }
        let now = self.parts.clock.unix_ms();
        self.change("end an import", |catalog| {
            Ok(decide::publish_import(catalog, id, now).into_iter().collect())
        })
        .await?;
        info!(id, "import completed");
        Ok(())
    }

    /// Waits until every copy of a collection is read with these segments, or have gone again, but not for ever.
    async fn read_by_all(&self, collection: CollectionId, wanted: &BTreeSet<SegmentId>) {
        if wanted.is_empty() {
            return;
        }
        let mut reported = self.reported.subscribe();
        let all_seen = async {
            loop {
                let Some(routes) = self.placer.lock().routes(collection) else { return };
                let named = self.named_segments(collection);
                let is_read = |replica: &rpc::ReplicaRoute| {
                    let shares = replica.nodes.iter().flat_map(|node| &node.share.channels);
                    let read: BTreeSet<SegmentId> =
                        shares.flat_map(|share| share.segments.iter().copied()).collect();
                    wanted.iter().all(|id| read.contains(id) || !named.contains(id))
                };
                if routes.replicas.iter().all(is_read) || reported.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = all_seen => {}
            () = self.deposed.cancelled() => {}
            () = self.parts.clock.sleep(SEEN_WITHIN) => {}
        }
        let number = self.placer.lock().number();
        self.heard(number).await;
    }

    fn named_segments(&self, collection: CollectionId) -> BTreeSet<SegmentId> {
        let catalog = self.catalog.read();
        let manifests = catalog.manifests.get(&collection).into_iter().flatten();
        manifests.flat_map(|manifest| manifest.segments.iter().map(|segment| segment.id)).collect()
    }
}

/// Whether trying again is of no use.
fn is_final(error: &rpc::Error) -> bool {
    match error {
        rpc::Error::Refused(refusal) => !matches!(refusal, Refusal::CollectionNotFound { .. }),
        rpc::Error::Stale { .. } => false,
        rpc::Error::Failed { kind, .. } => {
            matches!(kind, Kind::Invalid | Kind::Corrupt | Kind::Internal | Kind::NotFound | Kind::Denied)
        }
    }
}
