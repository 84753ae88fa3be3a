//! Keeps what is held of one collection equal to its newest order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Error;
use super::budget::known_indexes;
use super::held::{Failed, Held, Shared};
use super::interim::Indexer;
use super::jobs::{self, Done, Source};
use super::plan::{self, Sides, Turn};
use super::shard::Shard;
use super::table::Entry;
use super::tail::Follower;
use crate::base::{ChannelName, Position, SegmentId, chain, heavy};
use crate::model::memory::Needs;
use crate::rpc::{HoldChannel, HoldOrder};

/// A load that is under way, until its segment has joined a shard.
struct Loading {
    /// The checkpoint of the manifest it goes by: deletes since then must not be forgotten.
    checkpoint: Position,
    stop: CancellationToken,
}

/// One channel of which something is ordered.
#[derive(Default)]
struct Place {
    /// What is read.
    serving: Option<Arc<Shard>>,
    /// What is to take its place once it has caught up.
    coming: Option<Arc<Shard>>,
    /// Segments that the coming shard was offered by the serving one.
    offered: HashSet<SegmentId>,
    is_adopting: bool,
    loading: HashMap<SegmentId, Loading>,
    /// Loaded segments for which there is no shard yet that they could join.
    loaded: Vec<Entry>,
    indexing: HashSet<SegmentId>,
    failed: BTreeMap<SegmentId, Failed>,
    /// Keys of indexes that are damaged or lost.
    damaged: BTreeMap<SegmentId, String>,
    /// Why the channel cannot be followed.
    trouble: Option<Failed>,
    /// The last position of which is known that the log no longer has it.
    gone: Option<Position>,
    is_pausing: bool,
}

impl Place {
    /// The shard that loaded segments join: the one that is read as long as it is right.
    fn target(&self) -> Option<&Arc<Shard>> {
        let serving = self.serving.as_ref().filter(|shard| !shard.side().lost);
        serving.or(self.coming.as_ref()).or(self.serving.as_ref())
    }

    /// Why its log is not followed, if there is more to it than waiting.
    fn following(&self) -> Option<Failed> {
        self.target().and_then(|shard| shard.trouble()).or_else(|| self.trouble.clone())
    }

    fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.serving.iter().chain(&self.coming)
    }

    fn sides(&self) -> Sides {
        Sides {
            serving: self.serving.as_ref().map(|shard| shard.side()),
            coming: self.coming.as_ref().map(|shard| shard.side()),
            gone: self.gone,
            pausing: self.is_pausing,
        }
    }

    fn is_there(&self, id: SegmentId) -> bool {
        self.shards().any(|shard| shard.table().get(id).is_some())
    }

    fn retire(&mut self) {
        self.shards().for_each(|shard| shard.retired.cancel());
        self.loading.values().for_each(|loading| loading.stop.cancel());
    }

    /// Puts the coming shard in the place of the serving one.
    fn take_over(&mut self) {
        if let Some(old) = std::mem::replace(&mut self.serving, self.coming.take()) {
            old.retired.cancel();
        }
        self.offered.clear();
        self.gone = None;
        self.trouble = None;
    }

    /// Gives the coming shard up.
    fn give_up(&mut self) {
        if let Some(shard) = self.coming.take() {
            shard.retired.cancel();
            self.gone = self.gone.max(shard.side().lost.then(|| shard.applied()));
        }
        self.offered.clear();
    }
}

/// Works towards the newest order of one collection.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    held: Arc<Held>,
    places: BTreeMap<ChannelName, Place>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    is_retry_set: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, held: Arc<Held>) -> Self {
        Self { shared, held, places: BTreeMap::new(), jobs: FuturesUnordered::new(), is_retry_set: false }
    }

    /// Until the collection is released.
    pub(super) async fn keep(mut self) -> anyhow::Result<()> {
        let mut orders = self.held.order.subscribe();
        let mut freed = self.shared.budget.freed();
        let (held, stop) = (Arc::clone(&self.held), self.held.stop.clone());
        let mut order = Arc::clone(&orders.borrow_and_update());
        let mut is_fresh = true;
        loop {
            let newest = Arc::clone(&orders.borrow_and_update());
            if !Arc::ptr_eq(&newest, &order) {
                order = newest;
                self.try_again(|_| true);
                is_fresh = true;
            }
            self.look(&order, is_fresh);
            is_fresh = false;
            let is_full = self.places.values().any(|place| place.failed.values().any(|one| one.is_full));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = orders.changed() => changed.unwrap_or(()),
                () = held.news.notified() => {}
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => match done {
                    Done::RetryDue => {
                        self.is_retry_set = false;
                        self.try_again(|failed| !failed.is_full);
                        is_fresh = true;
                    }
                    done => self.finish(&order, done),
                },
                changed = freed.changed(), if is_full => {
                    changed.unwrap_or(());
                    self.try_again(|failed| failed.is_full);
                    is_fresh = true;
                }
            }
        }
    }

    /// Forgets failures, so that what failed is tried again.
    fn try_again(&mut self, which: impl Fn(&Failed) -> bool) {
        for place in self.places.values_mut() {
            place.failed.retain(|_, failed| !which(failed));
            place.is_pausing = false;
        }
    }

    /// Starts whatever has to be done now. `is_fresh` if the order is new or failures were forgotten.
    fn look(&mut self, order: &HoldOrder, is_fresh: bool) {
        let mut places = std::mem::take(&mut self.places);
        let (schema, indexes) = (&order.info.schema, &order.info.indexes);
        let on_disk = self.shared.on_disk(schema, indexes);
        let needs = Needs::new(schema, indexes, &on_disk);
        let mut to_load = 0;
        for wanted in order.channels.iter().filter(|wanted| plan::is_wanted(wanted)) {
            let mut place = places.remove(&wanted.channel).unwrap_or_default();
            self.let_go(&mut place, wanted);
            place.shards().for_each(|shard| shard.set_schema(&order.info.schema));
            self.follow(&mut place, order, wanted);
            self.load(&mut place, order, wanted);
            if is_fresh {
                self.prepare(&mut place, order, wanted);
            }
            let missing = plan::to_load(wanted, |id| place.is_there(id));
            to_load += missing.map(|segment| needs.segment_bytes(segment)).sum::<u64>();
            self.places.insert(wanted.channel.clone(), place);
        }
        places.values_mut().for_each(Place::retire);
        self.held.to_load.store(to_load, Ordering::Relaxed);
        self.publish();
    }

    /// Lets go of what the order no longer lists, and only of that.
    fn let_go(&self, place: &mut Place, wanted: &HoldChannel) {
        let mut has_changed = false;
        for shard in place.shards() {
            has_changed |= shard.keep_only(&wanted.segments);
            if shard.keep_rows(wanted.growing_from) {
                has_changed = true;
                self.shared.budget.tell_freed();
            }
        }
        place.loading.retain(|id, loading| {
            let is_ordered = wanted.segments.binary_search(id).is_ok();
            if !is_ordered {
                loading.stop.cancel();
            }
            is_ordered
        });
        place.loaded.retain(|entry| place.loading.contains_key(&entry.id()));
        place.failed.retain(|id, _| wanted.segments.binary_search(id).is_ok());
        place.damaged.retain(|id, key| {
            let segment = wanted.manifest.segments.iter().find(|segment| segment.id == *id);
            segment.is_some_and(|segment| segment.indexes.iter().any(|built| built.object.key == *key))
        });
        if let Some(shard) = place.serving.as_ref().filter(|shard| !shard.side().lost) {
            // Segments that load now need the deletes since their manifest's checkpoint.
            let loading = place.loading.values().map(|loading| loading.checkpoint);
            let needed = loading.chain([wanted.manifest.checkpoint]).min();
            shard.forget_deletes(needed.unwrap_or_default());
        }
        if has_changed {
            self.shared.tell_changed();
        }
    }

    /// Sees to it that the log is followed as ordered.
    fn follow(&mut self, place: &mut Place, order: &HoldOrder, wanted: &HoldChannel) {
        if let Some(lost) = place.serving.as_ref().filter(|shard| shard.side().lost) {
            place.gone = place.gone.max(Some(lost.applied()));
        }
        for shard in place.serving.iter().chain(&place.coming) {
            shard.learn_history(&wanted.manifest);
        }
        if plan::turn(place.sides(), wanted) == Turn::GiveUp {
            place.give_up();
            let begins_later = matches!(
                plan::turn(place.sides(), wanted),
                Turn::Begin { from, .. } if place.gone.is_none_or(|gone| from > gone)
            );
            if !begins_later {
                // Only a newer manifest helps, or there never was a gap.
                let position = place.gone.unwrap_or_default();
                let channel = wanted.channel.clone();
                place.trouble = Some(Failed::by(&Error::Truncated { channel, position }));
                self.pause(place);
            }
        }
        match plan::turn(place.sides(), wanted) {
            Turn::Begin { from, rows } => {
                let (manifest, stop) = (&wanted.manifest, self.held.stop.child_token());
                let (channel, schema) = (wanted.channel.clone(), Arc::clone(&order.info.schema));
                let shard = Arc::new(Shard::new(channel, schema, manifest, from, rows, stop));
                place.coming = Some(Arc::clone(&shard));
                self.start_following(shard);
            }
            Turn::TakeOver => {
                self.take_over(place, order, wanted);
                if place.coming.is_none() {
                    // What it was begun for may not be all that is ordered by now, and nothing else may happen for long.
                    self.follow(place, order, wanted);
                }
            }
            Turn::Stay | Turn::GiveUp => {}
        }
    }

    fn start_following(&self, shard: Arc<Shard>) {
        let parts = &self.shared.parts;
        if let Some(settings) = parts.settings.interim.filter(|_| shard.side().rows) {
            let (shared, held, shard) =
                (Arc::clone(&self.shared), Arc::clone(&self.held), Arc::clone(&shard));
            parts.tasks.start("index rows that are not sealed", |_| async move {
                Indexer { shared, held, shard, settings }.run().await;
                Ok(())
            });
        }
        let follower = Follower {
            writer: Arc::clone(&parts.writer),
            clock: Arc::clone(&parts.clock),
            shard,
            news: Arc::clone(&self.held.news),
        };
        parts.tasks.start("follow a log", |_| async move {
            follower.run().await;
            Ok(())
        });
    }

    /// Moves segments from the serving shard to the coming one, which has caught up; then the coming one serves.
    fn take_over(&self, place: &mut Place, order: &HoldOrder, wanted: &HoldChannel) {
        let Some(coming) = place.coming.clone() else { return };
        if place.is_adopting {
            return;
        }
        let Some(old) = place.serving.clone() else {
            place.take_over();
            return;
        };
        let table = old.table();
        let entries = table.entries().iter().filter(|entry| !place.offered.contains(&entry.id()));
        let entries: Vec<Entry> = entries.cloned().collect();
        if entries.is_empty() && (old.side().lost || coming.applied() >= old.applied()) {
            place.take_over();
            info!(channel = %wanted.channel, "a new follower of the log has taken over");
            return;
        }
        place.offered.extend(entries.iter().map(Entry::id));
        place.is_adopting = true;
        let (shared, source) = (Arc::clone(&self.shared), source_of(order, wanted));
        self.jobs.push(Box::pin(async move {
            let result = jobs::adopt(&shared, &source, &old, &coming, entries).await;
            Done::Adopted { channel: source.channel, target: coming, result }
        }));
    }

    /// Starts to load what is missing, and lets what is loaded join.
    fn load(&self, place: &mut Place, order: &HoldOrder, wanted: &HoldChannel) {
        if let Some(target) = place.target().cloned() {
            for entry in std::mem::take(&mut place.loaded) {
                let Some(loading) = place.loading.get(&entry.id()) else { continue };
                let (target, channel) = (Arc::clone(&target), wanted.channel.clone());
                let (checkpoint, stop) = (loading.checkpoint, loading.stop.clone());
                self.jobs.push(Box::pin(async move {
                    tokio::select! {
                        () = stop.cancelled() => Done::Nothing,
                        since = jobs::catch_up(&target, &entry, checkpoint) => {
                            Done::Caught { channel, entry: entry.clone(), target: Arc::clone(&target), since }
                        }
                    }
                }));
            }
        }
        let is_busy =
            |id| place.is_there(id) || place.loading.contains_key(&id) || place.failed.contains_key(&id);
        let missing: Vec<_> = plan::to_load(wanted, is_busy).cloned().collect();
        for segment in missing {
            let (shared, source) = (Arc::clone(&self.shared), source_of(order, wanted));
            let (id, stop) = (segment.id, CancellationToken::new());
            let loading = Loading { checkpoint: wanted.manifest.checkpoint, stop: stop.clone() };
            place.loading.insert(id, loading);
            self.jobs.push(Box::pin(async move {
                tokio::select! {
                    () = stop.cancelled() => Done::Nothing,
                    result = jobs::load(&shared, &source, &segment) => {
                        Done::Loaded { channel: source.channel.clone(), segment: id, result }
                    }
                }
            }));
        }
    }

    /// Starts what a newer manifest asks for of segments that are there: indexes, and reads from its checkpoint on.
    fn prepare(&self, place: &mut Place, order: &HoldOrder, wanted: &HoldChannel) {
        let checkpoint = wanted.manifest.checkpoint;
        for shard in place.shards().filter(|shard| shard.side().rows) {
            let shard = Arc::clone(shard);
            self.jobs.push(Box::pin(async move {
                // If it fails, the first read does it.
                let _ = heavy("split rows", move || shard.split_rows(checkpoint)).await;
                Done::Nothing
            }));
        }
        let Some(target) = place.target().cloned() else { return };
        for entry in target.table().entries() {
            self.index(place, order, wanted, entry);
        }
    }

    /// Starts to load the indexes of a segment that it lacks.
    fn index(&self, place: &mut Place, order: &HoldOrder, wanted: &HoldChannel, entry: &Entry) {
        let id = entry.id();
        let Some(segment) = wanted.manifest.segments.iter().find(|one| one.id == id) else { return };
        // A job that is under way has memory taken that is not used yet, and counts it itself in the end.
        if entry.sealed.drop_column_indexes(&order.info.indexes) && !place.indexing.contains(&id) {
            entry.room.set(entry.sealed.memory_bytes() as u64);
        }
        let lacking = entry.sealed.lacking_column_indexes(&order.info.schema, &order.info.indexes);
        let indexes = known_indexes(segment, &order.info.indexes);
        let is_complete =
            lacking.is_empty() && indexes.iter().all(|(built, _)| entry.sealed.uses_index(built));
        if is_complete || place.failed.contains_key(&id) || !place.indexing.insert(id) {
            return;
        }
        let (shared, source) = (Arc::clone(&self.shared), source_of(order, wanted));
        let (segment, entry) = (segment.clone(), entry.clone());
        self.jobs.push(Box::pin(async move {
            let result = jobs::load_indexes(&shared, &source, &segment, &entry).await;
            let (result, damaged) = match result {
                Ok(()) => (Ok(()), None),
                Err((error, damaged)) => (Err(error), damaged),
            };
            Done::Indexed { channel: source.channel, segment: id, of: source.indexes, result, damaged }
        }));
    }

    /// Takes over what a job brought.
    fn finish(&mut self, order: &HoldOrder, done: Done) {
        let (Done::Loaded { channel, .. }
        | Done::Caught { channel, .. }
        | Done::Indexed { channel, .. }
        | Done::Adopted { channel, .. }) = &done
        else {
            return;
        };
        // What came for a channel that is not ordered any more is dropped.
        let Some(wanted) = order.channels.iter().find(|wanted| wanted.channel == *channel) else { return };
        let Some(mut place) = self.places.remove(channel) else { return };
        match done {
            Done::Loaded { segment, result, .. } => match result {
                _ if !place.loading.contains_key(&segment) => {}
                Ok(entry) => place.loaded.push(entry),
                Err(error) => {
                    place.loading.remove(&segment);
                    self.fail(&mut place, segment, &error);
                }
            },
            Done::Caught { entry, target, since, .. } => {
                self.join(&mut place, order, wanted, entry, &target, since);
            }
            Done::Indexed { segment, of, result, damaged, .. } => {
                place.indexing.remove(&segment);
                match damaged {
                    Some(key) => drop(place.damaged.insert(segment, key)),
                    None => drop(place.damaged.remove(&segment)),
                }
                match result {
                    Err(error) => self.fail(&mut place, segment, &error),
                    // Indexes of scalar columns come with one order each, perhaps while the job was under way.
                    Ok(()) if of != order.info.indexes => {
                        let target = place.target().cloned();
                        let entry = target.and_then(|target| target.table().get(segment).cloned());
                        if let Some(entry) = entry {
                            self.index(&mut place, order, wanted, &entry);
                        }
                    }
                    Ok(()) => {}
                }
                self.shared.tell_changed();
            }
            Done::Adopted { target, result, .. } => self.adopted(&mut place, wanted, &target, result),
            Done::RetryDue | Done::Nothing => {}
        }
        self.places.insert(wanted.channel.clone(), place);
    }

    /// Lets a segment join the shard that it was made ready for, if that is still the one.
    fn join(
        &self,
        place: &mut Place,
        order: &HoldOrder,
        wanted: &HoldChannel,
        entry: Entry,
        target: &Arc<Shard>,
        since: Option<Position>,
    ) {
        let id = entry.id();
        if !place.loading.contains_key(&id) {
            return;
        }
        if !place.target().is_some_and(|current| Arc::ptr_eq(current, target)) {
            place.loaded.push(entry);
            return;
        }
        let has_joined = since.is_some_and(|since| target.join(entry.clone(), since));
        // One that could not join lacks deletes that only a newer manifest has: it is loaded again.
        place.loading.remove(&id);
        if has_joined {
            self.index(place, order, wanted, &entry);
            self.shared.tell_changed();
        }
    }

    /// Lets segments of the serving shard join the one that is to take its place.
    fn adopted(
        &mut self,
        place: &mut Place,
        wanted: &HoldChannel,
        target: &Arc<Shard>,
        result: Result<Vec<(Entry, Position)>, Error>,
    ) {
        place.is_adopting = false;
        if !place.coming.as_ref().is_some_and(|coming| Arc::ptr_eq(coming, target)) {
            return;
        }
        match result {
            Ok(ready) => {
                let is_ordered = |id| wanted.segments.binary_search(&id).is_ok();
                for (entry, since) in ready.into_iter().filter(|(entry, _)| is_ordered(entry.id())) {
                    target.join(entry, since);
                }
            }
            Err(error) => {
                place.trouble = Some(Failed::by(&error));
                place.give_up();
                self.pause(place);
            }
        }
    }

    fn fail(&mut self, place: &mut Place, segment: SegmentId, error: &Error) {
        warn!(collection = %self.held.id, %segment, error = chain(error), "a segment was not loaded");
        let failed = Failed::by(error);
        let is_full = failed.is_full;
        place.failed.insert(segment, failed);
        if !is_full {
            self.set_retry();
        }
    }

    fn pause(&mut self, place: &mut Place) {
        place.is_pausing = true;
        self.set_retry();
    }

    fn set_retry(&mut self) {
        if !std::mem::replace(&mut self.is_retry_set, true) {
            let shared = Arc::clone(&self.shared);
            self.jobs.push(Box::pin(async move {
                shared.parts.clock.sleep(shared.parts.settings.retry).await;
                Done::RetryDue
            }));
        }
    }

    /// Shows reads and reports what there is now.
    fn publish(&self) {
        let ready = self.places.values().filter_map(|place| place.serving.as_ref());
        let ready: Vec<Arc<Shard>> = ready.filter(|shard| !shard.side().lost).cloned().collect();
        let known = self.held.shards.load();
        let is_same = known.len() == ready.len()
            && known.iter().zip(&ready).all(|(known, ready)| Arc::ptr_eq(known, ready));
        if !is_same {
            self.held.shards.store(Arc::new(ready));
        }
        let coming: Vec<Arc<Shard>> = self.places.values().filter_map(|place| place.coming.clone()).collect();
        if !(coming.is_empty() && self.held.coming.load().is_empty()) {
            self.held.coming.store(Arc::new(coming));
        }
        let failure = self.places.values().find_map(|place| {
            let broken = place.following();
            broken.or_else(|| place.failed.values().min_by_key(|failed| failed.is_full).cloned())
        });
        let damaged: Vec<_> = self.places.values().flat_map(|place| place.damaged.clone()).collect();
        // An index is done without; a segment that is held has all else.
        let is_missing = |place: &Place, id: &SegmentId| {
            let table = place.serving.as_ref().map(|shard| shard.table());
            table.is_none_or(|table| table.get(*id).is_none())
        };
        let harm = self.places.values().find_map(|place| {
            let missing = place.failed.iter().filter(|(id, _)| is_missing(place, id));
            let of_segments = missing.filter_map(|(_, failed)| failed.harm.clone()).next();
            of_segments.or_else(|| place.following()?.harm)
        });
        *self.held.harm.lock() = harm;
        let mut known = self.held.failure.lock();
        let mut known_damage = self.held.damaged.lock();
        let is_news = *known != failure || *known_damage != damaged;
        *known = failure;
        *known_damage = damaged;
        drop((known, known_damage));
        if !is_same || is_news {
            self.shared.tell_changed();
        }
    }
}

fn source_of(order: &HoldOrder, wanted: &HoldChannel) -> Source {
    Source {
        channel: wanted.channel.clone(),
        schema: Arc::clone(&order.info.schema),
        manifest: Arc::clone(&wanted.manifest),
        indexes: order.info.indexes.clone(),
    }
}
