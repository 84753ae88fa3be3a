//! The file log: one directory per channel, files of records, one writing task per open channel.
//!
//! Group commit: the task writes all that waits in one go, syncs once, shows the records to readers and acknowledges
//! them all. Records near the tail are read from memory, older ones from files, so a slow reader costs no memory.
//!
//! What a start can tell: `codec` has each record say how far the log was durable when it was written. A bad record
//! is torn and cut if nothing after it shows that it was durable, else it is damage and refused. Damage in the very
//! last group, which nothing came after, cannot be told from a torn tail.

mod channel;
mod codec;
mod cursor;
#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;
pub(super) mod names;
mod reader;
mod recover;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

use crate::base::{ChannelName, Clock, TaskSet};
use crate::disk::Disk;
use crate::obs::LogMetrics;

use super::error::{Doing, Error};
use super::queue::{Queue, Writer};
use super::recent::Recent;
use super::{LogReader, LogWriter, Logs, Position, check_name};
use channel::{Channel, Files};
use cursor::failed;
use names::{Name, decode_channel};
use reader::Reader;
use writer::Writing;

/// A file that has this part of its full size is left once all its records are given up. A smaller one goes on: a new file costs
/// two syncs.
const LEFT_PART: u64 = 64;

/// Sizes of the file log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct FileLogSettings {
    /// A new file is begun when the present one has reached this; one group may go over it. Unit: bytes.
    pub segment_bytes: u64,
    /// What all channels together keep of their latest records in memory for readers. Unit: bytes.
    pub recent_bytes: usize,
    /// Appends are refused (kind `Exhausted`) while more than this waits in a channel. Unit: bytes.
    pub queue_bytes: usize,
    /// Appends are written in groups of at most about this. Unit: bytes.
    pub batch_bytes: usize,
}

impl Default for FileLogSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            recent_bytes: 64 << 20,
            queue_bytes: 256 << 20,
            batch_bytes: 16 << 20,
        }
    }
}

/// Logs in files of one disk, which no other process uses.
///
/// After a failed write the writer is poisoned; opening the channel again with a greater term cuts what the write
/// left, so only acknowledged records remain.
pub struct FileLogs {
    disk: Arc<dyn Disk>,
    tasks: TaskSet,
    clock: Arc<dyn Clock>,
    metrics: LogMetrics,
    settings: FileLogSettings,
    recent: Arc<Recent<()>>,
    channels: Mutex<Channels>,
}

/// The channels that were asked for, and the number of the next one.
#[derive(Default)]
struct Channels {
    by_name: BTreeMap<ChannelName, Arc<Channel>>,
    next: u64,
}

impl FileLogs {
    /// The logs on `disk`. Writing tasks run in `tasks`: told to stop, they write what waits and end.
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        tasks: TaskSet,
        clock: Arc<dyn Clock>,
        metrics: LogMetrics,
        settings: FileLogSettings,
    ) -> Arc<Self> {
        let recent = Arc::new(Recent::new(settings.recent_bytes));
        Arc::new(Self { disk, tasks, clock, metrics, settings, recent, channels: Mutex::default() })
    }

    /// The channel of this name with its directory read, and its files, held.
    async fn hold(&self, name: &ChannelName) -> Result<(Arc<Channel>, OwnedMutexGuard<Files>), Error> {
        check_name(name)?;
        loop {
            let channel = {
                let mut channels = self.channels.lock();
                let Channels { by_name, next } = &mut *channels;
                let made = || {
                    *next += 1;
                    Channel::new(name, *next, &self.recent, &self.disk)
                };
                by_name.entry(name.clone()).or_insert_with(made).clone()
            };
            let mut files = channel.files.clone().lock_owned().await;
            if channel.tail.lock().removed {
                // It was removed while this call waited; the name stands for a new channel by now.
                continue;
            }
            channel.ensure_recovered(&mut files).await?;
            return Ok((channel, files));
        }
    }

    /// Makes `term` the channel's, durably.
    async fn take_term(&self, channel: &Channel, files: &mut Files, term: u64) -> Result<(), Error> {
        let dir = &channel.dir;
        if let Some(seen) = files.term.filter(|seen| *seen >= term) {
            return Err(Error::Fenced { channel: channel.name.clone(), term, seen });
        }
        if files.term.is_none() {
            files.has_directory = true;
            let made = self.disk.create_dir(&dir.path).await;
            made.map_err(|source| failed(Doing::Create, &dir.path, source))?;
            self.disk.sync_dir("").await.map_err(|source| failed(Doing::Sync, "", source))?;
        }
        dir.mark(Name::Term(term)).await?;
        if let Some(before) = files.term.replace(term) {
            // Left behind, a lower term does no harm.
            if let Err(error) = dir.remove(Name::Term(before)).await {
                warn!(channel = %channel.name, %error, "an old term's marker stays");
            }
        }
        Ok(())
    }

    /// Starts the task of a new writer and gives its handle.
    fn start_writer(&self, channel: Arc<Channel>, queue: Arc<Queue>) -> Arc<dyn LogWriter> {
        let writing = Writing {
            channel,
            queue: queue.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            segment_bytes: self.settings.segment_bytes,
            batch_bytes: self.settings.batch_bytes.max(1),
        };
        self.tasks.start("log writer", |stop| writing.run(stop));
        Arc::new(Writer { queue, clock: self.clock.clone() })
    }
}

#[async_trait]
impl Logs for FileLogs {
    async fn open(&self, channel: &ChannelName, term: u64) -> Result<Arc<dyn LogWriter>, Error> {
        let (channel, mut files) = self.hold(channel).await?;
        let name = channel.name.clone();
        self.take_term(&channel, &mut files, term).await?;
        if let Some(owner) = files.owner.take() {
            owner.close(Error::Fenced { channel: name.clone(), term: owner.term, seen: term });
        }
        channel.cut_dirty(&mut files).await?;
        files.active = None;
        let next = channel.tail.lock().next;
        let queue = Arc::new(Queue::new(name, term, next, self.settings.queue_bytes));
        files.owner = Some(queue.clone());
        info!(channel = %channel.name, term, next, "log channel opened");
        Ok(self.start_writer(channel.clone(), queue))
    }

    async fn read(&self, channel: &ChannelName, from: Position) -> Result<Box<dyn LogReader>, Error> {
        let (channel, _files) = self.hold(channel).await?;
        let (first, next) = {
            let tail = channel.tail.lock();
            (Position(tail.first), Position(tail.next))
        };
        let name = channel.name.clone();
        if from < first {
            return Err(Error::Truncated { channel: name, position: from, first });
        }
        if from > next {
            return Err(Error::Ahead { channel: name, position: from, next });
        }
        Ok(Box::new(Reader::new(channel.clone(), from)))
    }

    async fn truncate(&self, channel: &ChannelName, before: Position) -> Result<(), Error> {
        let (channel, mut files) = self.hold(channel).await?;
        channel.give_up(&mut files, before.0, self.settings.segment_bytes / LEFT_PART).await
    }

    fn let_go(&self, channel: &ChannelName, before: Position) {
        let known = self.channels.lock().by_name.get(channel).cloned();
        if let Some(channel) = known {
            channel.let_go(before.0);
        }
    }

    async fn remove(&self, channel: &ChannelName) -> Result<(), Error> {
        let (channel, mut files) = self.hold(channel).await?;
        let name = &channel.name;
        if let Some(owner) = files.owner.take() {
            owner.close(Error::Removed { channel: name.clone() });
        }
        if files.has_directory {
            channel.dir.clear().await?;
        }
        channel.end();
        self.channels.lock().by_name.remove(name);
        Ok(())
    }

    async fn channels(&self) -> Result<Vec<ChannelName>, Error> {
        let entries = self.disk.list("").await.map_err(|source| failed(Doing::List, "", source))?;
        let dirs = entries.into_iter().filter(|entry| entry.is_dir);
        let mut channels = dirs.filter_map(|entry| decode_channel(&entry.name)).collect::<Vec<_>>();
        channels.sort_unstable();
        Ok(channels)
    }
}
