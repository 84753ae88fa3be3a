//! One channel in memory: what is sealed, what is not yet, and how far the log has been applied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::fresh::Marks;
use super::held::Failed;
use super::plan::Side;
use super::table::{Entry, Table};
use crate::base::{ChannelName, PartitionId, Position, SegmentId, Timestamp};
use crate::exec::Readable;
use crate::log::record::Message;
use crate::model::{ChannelManifest, Keys, Schema};
use crate::rpc::{ChannelShare, HeldChannel};
use crate::segment::{Deletes, Growing, Part, Sealed};

/// Deletes that came over the log, kept so that a segment loaded later can catch up on them.
struct Recent {
    position: Position,
    deletes: Arc<Deletes>,
}

/// Rows that are not sealed.
#[derive(Clone)]
struct Kept {
    /// All rows of records from here on are in `rows`.
    from: Position,
    /// Whether `rows` has none before that.
    is_exact: bool,
    rows: Arc<Growing>,
}

/// What reads look at. Guarded by a lock that is held for moments only.
struct View {
    table: Arc<Table>,
    growing: Option<Kept>,
}

/// What changes only together: guarded by one lock, which serializes the log against segments that join.
struct Following {
    /// `recent` has the deletes of all records applied from this position on.
    from: Position,
    recent: VecDeque<Recent>,
    /// Once everything before this is applied, this has caught up.
    goal: Option<Position>,
}

/// One channel in memory, fed by one follower of its log.
///
/// A segment in the table has had all deletes that were applied to the channel: it joins under the lock that the
/// follower applies records under. So the rows that a read finds are exact for the time up to which records have been
/// applied, which it learns before it looks.
pub(super) struct Shard {
    pub(super) channel: ChannelName,
    /// The newest schema that an order had.
    schema: RwLock<Arc<Schema>>,
    /// How far the channel had come when its owner was last asked.
    pub(super) marks: Marks,
    /// Told when there may be rows that are worth an interim index.
    pub(super) grown: Notify,
    /// Ends the follower: something else has taken this one's place, or nothing needs it.
    pub(super) retired: CancellationToken,
    view: RwLock<View>,
    following: Mutex<Following>,
    /// Position after the last applied record.
    applied: watch::Sender<Position>,
    /// Time of the last applied record: later than this nothing is visible.
    visible: AtomicU64,
    /// From this time on, a reader is shown all that was there.
    history_from: AtomicU64,
    caught_up: AtomicBool,
    lost: AtomicBool,
    /// Why the log is not followed now.
    trouble: Mutex<Option<Failed>>,
}

/// What a read gets of one channel.
#[derive(Debug)]
pub(super) struct Taken {
    /// The rows, which do not change any more under the reader.
    pub(super) on: Readable,
    /// Before this time, rows that were deleted since may be missing.
    pub(super) clean: Timestamp,
    /// From this time on, all that was there at some time is there.
    pub(super) history_from: Timestamp,
    /// Up to this time records have been applied, each as a whole.
    pub(super) visible: Timestamp,
    /// How many rows there are, deleted ones included.
    pub(super) rows: u64,
}

/// A part of a share that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A sealed segment.
    Segment(SegmentId),
    /// The rows from a position on that are not sealed.
    Rows(Position),
}

impl Shard {
    /// A channel without segments, whose log is to be followed from `from` on. `manifest` may be older than what the log
    /// has there, but not newer than the log.
    pub(super) fn new(
        channel: ChannelName,
        schema: Arc<Schema>,
        manifest: &ChannelManifest,
        from: Position,
        with_rows: bool,
        retired: CancellationToken,
    ) -> Self {
        let growing = with_rows.then(|| Kept {
            from,
            is_exact: true,
            rows: Arc::new(Growing::new(Arc::clone(&schema))),
        });
        Self {
            channel,
            schema: RwLock::new(schema),
            marks: Marks::default(),
            grown: Notify::new(),
            retired,
            view: RwLock::new(View { table: Arc::default(), growing }),
            following: Mutex::new(Following { from, recent: VecDeque::new(), goal: None }),
            applied: watch::Sender::new(from),
            visible: AtomicU64::new(manifest.newest().0),
            history_from: AtomicU64::new(manifest.history().0),
            caught_up: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            trouble: Mutex::new(None),
        }
    }

    /// A newer manifest may keep less of the past.
    pub(super) fn learn_history(&self, manifest: &ChannelManifest) {
        self.history_from.fetch_max(manifest.history().0, Ordering::AcqRel);
    }

    /// The schema that records are read by.
    pub(super) fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema.read())
    }

    /// Takes over the schema of a newer order.
    pub(super) fn set_schema(&self, schema: &Arc<Schema>) {
        if Arc::ptr_eq(&self.schema.read(), schema) {
            return;
        }
        // The rows first: they take what is read by the schema.
        if let Some(growing) = &self.view.read().growing {
            growing.rows.set_schema(Arc::clone(schema));
        }
        *self.schema.write() = Arc::clone(schema);
    }

    /// The position after the last applied record.
    pub(super) fn applied(&self) -> Position {
        *self.applied.borrow()
    }

    /// Time of the last applied record.
    pub(super) fn visible(&self) -> Timestamp {
        Timestamp(self.visible.load(Ordering::Acquire))
    }

    /// Waits until every record before `end` is applied; `false` if this is retired before. Cancel safe.
    pub(super) async fn wait_applied(&self, end: Position) -> bool {
        if self.applied() >= end {
            return true;
        }
        let mut applied = self.applied.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as this does, so waiting ends by being satisfied.
            reached = applied.wait_for(|position| *position >= end) => reached.is_ok(),
            () = self.retired.cancelled() => false,
        }
    }

    /// Whether somebody waits for more of the log.
    pub(super) fn is_awaited(&self) -> bool {
        // Whoever waits listens, and nobody else does.
        self.applied.receiver_count() > 0 || !self.caught_up.load(Ordering::Acquire)
    }

    /// How it is doing.
    pub(super) fn side(&self) -> Side {
        Side {
            caught_up: self.caught_up.load(Ordering::Acquire),
            lost: self.lost.load(Ordering::Acquire),
            rows: self.view.read().growing.is_some(),
        }
    }

    /// The log no longer has what would be applied next.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Why the log is not followed now, if there is more to it than waiting.
    pub(super) fn trouble(&self) -> Option<Failed> {
        self.trouble.lock().clone()
    }

    /// Says why the log is not followed, or that it is; returns whether that is news.
    pub(super) fn set_trouble(&self, trouble: Option<Failed>) -> bool {
        let mut known = self.trouble.lock();
        let is_news = *known != trouble;
        *known = trouble;
        is_news
    }

    /// Says what there is to catch up to; returns whether that is done.
    pub(super) fn set_goal(&self, goal: Position) -> bool {
        let mut following = self.following.lock();
        following.goal = Some(goal);
        let is_there = self.applied() >= goal;
        if is_there {
            self.caught_up.store(true, Ordering::Release);
        }
        is_there
    }

    /// Applies the next record of the log; returns whether this caught up by it.
    pub(super) fn apply(&self, position: Position, message: Message) -> bool {
        let mut following = self.following.lock();
        let (table, growing) = {
            let view = self.view.read();
            (Arc::clone(&view.table), view.growing.clone())
        };
        let delete = |following: &mut Following, at, partition, keys| {
            let deletes = Arc::new(deletes_of(at, partition, keys));
            if let Some(growing) = &growing {
                growing.rows.delete(&deletes.keys, at, partition);
            }
            table.entries().iter().for_each(|entry| entry.sealed.delete(&deletes));
            following.recent.push_back(Recent { position, deletes });
        };
        let append = |at, partition, rows| {
            if let Some(growing) = growing.as_ref().filter(|growing| position >= growing.from)
                && growing.rows.append(position, partition, at, rows)
            {
                self.grown.notify_one();
            }
        };
        let at = match message {
            Message::Insert { at, partition, rows } => {
                append(at, partition, &rows);
                at
            }
            Message::Delete { at, partition, keys } => {
                delete(&mut following, at, partition, keys);
                at
            }
            Message::Upsert { at, partition, replaced, rows } => {
                delete(&mut following, at, None, replaced);
                append(at, partition, &rows);
                at
            }
        };
        // Only now is the whole record visible, never a part of it.
        self.visible.fetch_max(at.0, Ordering::AcqRel);
        self.applied.send_replace(position.next());
        let is_there = following.goal.is_some_and(|goal| position.next() >= goal);
        is_there && !self.caught_up.swap(true, Ordering::AcqRel)
    }

    /// Applies to a segment that has had every delete before `since` all others that came over the log by now, and
    /// returns the position before which it has them all then. `None` if some have been forgotten already: the segment
    /// needs files of a newer manifest. May take long.
    pub(super) fn catch_up(&self, sealed: &Sealed, since: Position) -> Option<Position> {
        let (missed, until) = {
            let following = self.following.lock();
            if following.from > since {
                return None;
            }
            let missed: Vec<_> = following.recent.iter().map(|recent| Arc::clone(&recent.deletes)).collect();
            (missed, self.applied().max(following.from))
        };
        // One that it had already does nothing.
        missed.iter().for_each(|deletes| sealed.delete(deletes));
        Some(until)
    }

    /// Adds a segment that has had every delete before `since`; from now on reads find it. `false` if deletes that it
    /// lacks have been forgotten.
    pub(super) fn join(&self, entry: Entry, since: Position) -> bool {
        let following = self.following.lock();
        if following.from > since {
            return false;
        }
        for recent in following.recent.iter().rev().take_while(|recent| recent.position >= since) {
            entry.sealed.delete(&recent.deletes);
        }
        let mut view = self.view.write();
        view.table = Arc::new(view.table.with(entry));
        true
    }

    /// Forgets deletes of records before `position`: segments that join later have them from files.
    pub(super) fn forget_deletes(&self, position: Position) {
        let mut following = self.following.lock();
        following.from = following.from.max(position);
        while following.recent.front().is_some_and(|recent| recent.position < position) {
            following.recent.pop_front();
        }
    }

    /// From where on the deletes of the log are remembered.
    pub(super) fn remembers_from(&self) -> Position {
        self.following.lock().from
    }

    /// Lets go of all segments but `wanted`, which ascend; returns whether there were any.
    pub(super) fn keep_only(&self, wanted: &[SegmentId]) -> bool {
        let Some(kept) = self.table().only(wanted) else { return false };
        self.view.write().table = Arc::new(kept);
        true
    }

    /// Lets go of rows that are not sealed: of records before a position, or of all; returns whether there was anything
    /// to do.
    pub(super) fn keep_rows(&self, from: Option<Position>) -> bool {
        // No record is applied meanwhile, which might otherwise be one of those that go away.
        let _following = self.following.lock();
        let mut view = self.view.write();
        let Some(from) = from else {
            let dropped = view.growing.take();
            drop(view);
            return dropped.is_some();
        };
        let Some(kept) = view.growing.as_mut().filter(|kept| kept.from < from) else { return false };
        // Readers that come now are refused what goes away; those that came before have it.
        kept.from = from;
        kept.is_exact = false;
        let rows = Arc::clone(&kept.rows);
        drop(view);
        rows.release_before(from);
        self.grown.notify_one();
        if let Some(kept) = self.view.write().growing.as_mut() {
            kept.is_exact = true;
        }
        true
    }

    /// Parts of rows that are not sealed and large.
    pub(super) fn full_parts(&self) -> Vec<Arc<Part>> {
        let kept = self.view.read().growing.clone();
        kept.map_or_else(Vec::new, |kept| kept.rows.full_parts())
    }

    /// Gets ready for reads of the rows from `position` on. Copies some rows.
    pub(super) fn split_rows(&self, position: Position) {
        let kept = self.view.read().growing.clone();
        if let Some(kept) = kept.filter(|kept| kept.from < position) {
            kept.rows.split_at(position);
            self.grown.notify_one();
        }
    }

    /// The segments.
    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.view.read().table)
    }

    /// What `share` names, as it is now.
    ///
    /// # Errors
    /// The first thing that is not here.
    pub(super) fn take(&self, share: &ChannelShare, with_growing: bool) -> Result<Taken, Missing> {
        // First the time, then the rows: what is applied in between is newer than the time and so not seen.
        let visible = self.visible();
        let growing_from = share.growing_from.filter(|_| with_growing);
        let (table, growing) = {
            let view = self.view.read();
            let growing = growing_from.map(|from| Self::find_rows(&view, from)).transpose()?;
            (Arc::clone(&view.table), growing)
        };
        let sealed = table.find(&share.segments).map_err(Missing::Segment)?;
        let clean = sealed.iter().map(|segment| segment.manifest().clean_through).max().unwrap_or_default();
        let mut rows: u64 = sealed.iter().map(|segment| segment.rows() as u64).sum();
        let growing = match growing {
            None => Vec::new(),
            Some((rows, from, true)) => vec![self.cut(&rows, from)?],
            Some((rows, _, false)) => vec![rows],
        };
        rows += growing.iter().map(|one| one.rows() as u64).sum::<u64>();
        let history_from = Timestamp(self.history_from.load(Ordering::Acquire));
        Ok(Taken { on: Readable { sealed, growing }, clean, history_from, visible, rows })
    }

    /// The rows from `from` on, and whether there may be others before them that have to be cut off.
    fn find_rows(view: &View, from: Position) -> Result<(Arc<Growing>, Position, bool), Missing> {
        match &view.growing {
            Some(kept) if kept.from == from && kept.is_exact => {
                Ok((Arc::new(kept.rows.snapshot()), from, false))
            }
            Some(kept) if kept.from <= from => Ok((Arc::clone(&kept.rows), from, true)),
            _ => Err(Missing::Rows(from)),
        }
    }

    fn cut(&self, rows: &Growing, from: Position) -> Result<Arc<Growing>, Missing> {
        let cut = Arc::new(rows.snapshot_from(from));
        // Rows that were let go of meanwhile may be missing in it.
        let is_whole = self.view.read().growing.as_ref().is_some_and(|kept| kept.from <= from);
        if is_whole { Ok(cut) } else { Err(Missing::Rows(from)) }
    }

    /// Rows held that are not sealed, deleted ones included; `None` if such rows are not held.
    pub(super) fn growing_rows(&self) -> Option<u64> {
        let kept = self.view.read().growing.clone();
        kept.map(|kept| kept.rows.rows() as u64)
    }

    /// Memory of the rows that are not sealed. Unit: bytes.
    pub(super) fn growing_bytes(&self) -> u64 {
        let kept = self.view.read().growing.clone();
        kept.map_or(0, |kept| kept.rows.memory_bytes() as u64)
    }

    /// What a report says of this.
    pub(super) fn report(&self) -> HeldChannel {
        let applied = self.applied();
        let view = self.view.read();
        HeldChannel {
            channel: self.channel.clone(),
            segments: view.table.entries().iter().map(Entry::id).collect(),
            growing_from: view.growing.as_ref().map(|kept| kept.from),
            applied,
            needs_from: applied,
        }
    }
}

fn deletes_of(at: Timestamp, partition: Option<PartitionId>, keys: Keys) -> Deletes {
    let count = keys.len();
    Deletes { keys, times: vec![at; count], partitions: vec![partition; count] }
}
