//! One channel in memory: what is sealed, what is not yet, and how far the log has been applied.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::base::{ChannelName, PartitionId, Position, SegmentId, Timestamp};
use crate::blob::Blobs;
use crate::exec::Readable;
use crate::log::record::Message;
use crate::model::{ChannelManifest, IndexDefinition, Keys, Schema};
use crate::querier::Error;
use crate::segment::{self, Deletes, Growing, Sealed};

/// Deletes that came over the log and are in no file yet, so that a segment loaded later can catch up on them.
struct Recent {
    position: Position,
    deletes: Arc<Deletes>,
}

/// What reads look at.
struct View {
    sealed: Vec<Arc<Sealed>>,
    growing: Arc<Growing>,
}

/// What changes only together: guarded by one lock, which serializes the log against hand-overs.
struct Following {
    /// Records before this position are in sealed objects that are being served.
    checkpoint: Position,
    recent: VecDeque<Recent>,
}

/// One channel in memory.
pub struct Shard {
    /// Its name.
    pub channel: ChannelName,
    schema: Arc<Schema>,
    view: RwLock<View>,
    following: Mutex<Following>,
    /// Position after the last applied record.
    applied: watch::Sender<Position>,
    /// Time of the last applied record: later than this nothing is visible.
    visible: AtomicU64,
}

impl Shard {
    /// Loads what is sealed. The log is to be followed from the manifest's checkpoint on.
    ///
    /// # Errors
    /// If a segment or a file of deletes cannot be loaded.
    pub async fn load(
        blobs: &Arc<dyn Blobs>,
        channel: ChannelName,
        schema: Arc<Schema>,
        manifest: &ChannelManifest,
        indexes: &[IndexDefinition],
    ) -> Result<Self, Error> {
        let mut sealed = Vec::with_capacity(manifest.segments.len());
        for segment in &manifest.segments {
            let loaded = Sealed::load(blobs.as_ref(), Arc::clone(&schema), segment, indexes).await;
            let failed = |source| Error::LoadSegment { segment: segment.id, source };
            sealed.push(Arc::new(loaded.map_err(failed)?));
        }
        let mut newest = newest_of(manifest);
        for file in &manifest.deletes {
            let deletes = read_deletes(blobs, &channel, file).await?;
            sealed.iter().for_each(|segment| segment.delete(&deletes));
            newest = newest.max(file.newest);
        }
        let growing = Arc::new(Growing::new(Arc::clone(&schema)));
        Ok(Self {
            channel,
            schema,
            view: RwLock::new(View { sealed, growing }),
            following: Mutex::new(Following { checkpoint: manifest.checkpoint, recent: VecDeque::new() }),
            applied: watch::Sender::new(manifest.checkpoint),
            visible: AtomicU64::new(newest.0),
        })
    }

    /// The position after the last applied record.
    pub fn applied(&self) -> Position {
        *self.applied.borrow()
    }

    /// Waits until every record before `end` is applied. Cancel safe.
    pub async fn wait_applied(&self, end: Position) {
        if self.applied() >= end {
            return;
        }
        let mut applied = self.applied.subscribe();
        // The sender lives as long as this shard does, so waiting ends by being satisfied or by being dropped.
        let _ = applied.wait_for(|position| *position >= end).await;
    }

    /// Applies the next record of the log.
    pub fn apply(&self, position: Position, message: Message) {
        let mut following = self.following.lock();
        let sealed_already = position < following.checkpoint;
        let at = match message {
            Message::Insert { at, partition, rows } => {
                if !sealed_already {
                    self.view.read().growing.append(position, partition, at, &rows);
                }
                at
            }
            Message::Delete { at, partition, keys } => {
                self.delete(&mut following, position, at, partition, keys);
                at
            }
            Message::Upsert { at, partition, replaced, rows } => {
                self.delete(&mut following, position, at, None, replaced);
                if !sealed_already {
                    self.view.read().growing.append(position, partition, at, &rows);
                }
                at
            }
        };
        // Only now is the whole record visible, never a part of it.
        self.visible.fetch_max(at.0, Ordering::AcqRel);
        self.applied.send_replace(position.next());
    }

    fn delete(
        &self,
        following: &mut Following,
        position: Position,
        at: Timestamp,
        partition: Option<PartitionId>,
        keys: Keys,
    ) {
        let count = keys.len();
        let deletes = Deletes { keys, times: vec![at; count], partitions: vec![partition; count] };
        let view = self.view.read();
        view.growing.delete(&deletes.keys, at, partition);
        view.sealed.iter().for_each(|segment| segment.delete(&deletes));
        following.recent.push_back(Recent { position, deletes: Arc::new(deletes) });
    }

    /// Takes over a newer manifest: loads what is new, then swaps it in and lets go of what it replaces, at one
    /// instant. Reads see every row exactly once all the while. Not cancel safe only in that work is lost.
    ///
    /// # Errors
    /// If something cannot be loaded; what was served goes on being served.
    pub async fn advance(
        &self,
        blobs: &Arc<dyn Blobs>,
        manifest: &ChannelManifest,
        indexes: &[IndexDefinition],
    ) -> Result<(), Error> {
        self.attach_indexes(blobs, manifest, indexes).await?;
        let known: Vec<SegmentId> = self.view.read().sealed.iter().map(|segment| segment.id()).collect();
        let mut fresh = Vec::new();
        for segment in manifest.segments.iter().filter(|segment| !known.contains(&segment.id)) {
            let loaded = Sealed::load(blobs.as_ref(), Arc::clone(&self.schema), segment, indexes).await;
            let failed = |source| Error::LoadSegment { segment: segment.id, source };
            fresh.push(Arc::new(loaded.map_err(failed)?));
        }
        if !fresh.is_empty() {
            let oldest =
                manifest.segments.iter().filter(|one| !known.contains(&one.id)).map(|one| one.oldest).min();
            let oldest = oldest.unwrap_or_default();
            for file in manifest.deletes.iter().filter(|file| file.newest > oldest) {
                let deletes = read_deletes(blobs, &self.channel, file).await?;
                fresh.iter().for_each(|segment| segment.delete(&deletes));
            }
        }
        // Older segments rely on the log for deletes, so nothing before the checkpoint may be skipped.
        self.wait_applied(manifest.checkpoint).await;
        self.swap(manifest, fresh);
        Ok(())
    }

    fn swap(&self, manifest: &ChannelManifest, fresh: Vec<Arc<Sealed>>) {
        let mut following = self.following.lock();
        for recent in &following.recent {
            fresh.iter().for_each(|segment| segment.delete(&recent.deletes));
        }
        let mut view = self.view.write();
        view.sealed.extend(fresh);
        view.sealed.retain(|segment| manifest.segments.iter().any(|known| known.id == segment.id()));
        view.growing.release_before(manifest.checkpoint);
        drop(view);
        following.recent.retain(|recent| recent.position >= manifest.checkpoint);
        following.checkpoint = following.checkpoint.max(manifest.checkpoint);
    }

    async fn attach_indexes(
        &self,
        blobs: &Arc<dyn Blobs>,
        manifest: &ChannelManifest,
        indexes: &[IndexDefinition],
    ) -> Result<(), Error> {
        let served: Vec<Arc<Sealed>> = self.view.read().sealed.clone();
        for segment in &served {
            let Some(wanted) = manifest.segments.iter().find(|known| known.id == segment.id()) else {
                continue;
            };
            for built in &wanted.indexes {
                let Some(definition) = indexes.iter().find(|index| index.id == built.index) else { continue };
                let attached = segment.attach_index(blobs.as_ref(), built, definition).await;
                attached.map_err(|source| Error::LoadSegment { segment: segment.id(), source })?;
            }
        }
        Ok(())
    }

    /// Runs `read` on what is there now, with the time up to which records have been applied as a whole.
    ///
    /// A hand-over waits for `read`, so it should compute and not wait.
    pub fn read<T>(&self, read: impl FnOnce(&Readable, Timestamp) -> T) -> T {
        let view = self.view.read();
        let visible = Timestamp(self.visible.load(Ordering::Acquire));
        let on = Readable { sealed: view.sealed.clone(), growing: vec![Arc::clone(&view.growing)] };
        read(&on, visible)
    }

    /// Rows held, sealed and not, deleted ones included.
    pub fn rows(&self) -> u64 {
        let view = self.view.read();
        let sealed: u64 = view.sealed.iter().map(|segment| segment.rows() as u64).sum();
        sealed + view.growing.rows() as u64
    }
}

fn newest_of(manifest: &ChannelManifest) -> Timestamp {
    manifest.segments.iter().map(|segment| segment.newest).max().unwrap_or_default()
}

async fn read_deletes(
    blobs: &Arc<dyn Blobs>,
    channel: &ChannelName,
    file: &crate::model::DeleteManifest,
) -> Result<Deletes, Error> {
    let failed = |source| Error::LoadDeletes { channel: channel.clone(), source };
    segment::read_deletes(blobs.as_ref(), file).await.map_err(failed)
}
