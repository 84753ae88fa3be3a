//! One channel of the file log: what readers see, and what the one who works on its files holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::base::ChannelName;
use crate::disk::Disk;
use crate::log::Position;
use crate::log::error::{Doing, Error};
use crate::log::queue::Queue;
use crate::log::recent::{Kept, Recent};

use super::codec::{FILE_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use super::cursor::failed;
use super::names::{Name, encode_channel};
use super::recover::{Dir, FileInfo, recover};

/// One channel.
pub(super) struct Channel {
    pub name: ChannelName,
    /// Its id in this process.
    id: u64,
    /// The latest records of all channels.
    recent: Arc<Recent<()>>,
    pub dir: Dir,
    /// Held by whoever works on the files: a writer for one batch, or a call that opens, truncates or removes.
    pub files: Arc<tokio::sync::Mutex<Files>>,
    /// What readers see.
    pub tail: Mutex<Tail>,
    /// Told after every change of `tail` that a waiting reader could care for.
    pub changed: watch::Sender<()>,
}

/// What is on disk besides what readers see.
#[derive(Default)]
pub(super) struct Files {
    /// Whether the channel has a directory, perhaps one that a failed call left half made.
    pub has_directory: bool,
    /// Whether the directory was read since the start.
    pub recovered: bool,
    /// Highest term that opened the channel.
    pub term: Option<u64>,
    /// Queue of the present writer.
    pub owner: Option<Arc<Queue>>,
    /// The file that the present writer appends to.
    pub active: Option<Active>,
    /// A file whose bytes after its durable length are of a write that failed.
    pub dirty: Option<Active>,
}

/// The file that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    pub base: u64,
    pub term: u64,
    /// Length of header and durable records. Unit: bytes.
    pub size_bytes: u64,
}

/// What readers see: durable records only.
#[derive(Default)]
pub(super) struct Tail {
    /// The first position that can be read.
    pub first: u64,
    /// The next position to come.
    pub next: u64,
    /// Files by the position of their first record.
    pub files: BTreeMap<u64, FileInfo>,
    pub removed: bool,
}

/// Where a reader finds its next record.
pub(super) enum Look {
    /// Nowhere yet.
    NotYet,
    /// In the file that begins at `base`.
    InFile { base: u64, info: FileInfo },
}

impl Tail {
    /// Where the record at `position` is.
    pub fn look(&self, channel: &ChannelName, position: u64) -> Result<Look, Error> {
        if self.removed {
            return Err(Error::Removed { channel: channel.clone() });
        }
        if position < self.first {
            let (position, first) = (Position(position), Position(self.first));
            return Err(Error::Truncated { channel: channel.clone(), position, first });
        }
        if position >= self.next {
            return Ok(Look::NotYet);
        }
        match self.files.range(..=position).next_back() {
            Some((base, info)) => Ok(Look::InFile { base: *base, info: info.clone() }),
            None => Err(Error::Damaged {
                file: channel.to_string(),
                offset: 0,
                why: "the file of a record is missing",
            }),
        }
    }

    /// Files of which every record was given up, but not the one that begins at `kept`.
    fn given_up_files(&self, kept: Option<u64>) -> Vec<(u64, FileInfo)> {
        let ends = self.files.keys().skip(1).copied().chain([self.next]);
        let files = self.files.iter().zip(ends);
        let given_up = files.filter(|((base, _), end)| *end <= self.first && Some(**base) != kept);
        given_up.map(|((base, info), _)| (*base, info.clone())).collect()
    }
}

impl Channel {
    /// A channel whose directory was not read yet.
    pub fn new(name: &ChannelName, id: u64, recent: &Arc<Recent<()>>, disk: &Arc<dyn Disk>) -> Arc<Self> {
        let channel_crc = crc32fast::hash(name.as_str().as_bytes());
        Arc::new(Self {
            name: name.clone(),
            id,
            recent: Arc::clone(recent),
            dir: Dir { disk: disk.clone(), path: encode_channel(name), channel_crc },
            files: Arc::default(),
            tail: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    /// The record at `position`, if it is one of the latest. Whether it may still be read is not looked at.
    pub fn recent(&self, position: u64) -> Option<Bytes> {
        let kept = self.recent.find(self.id, position)?;
        kept.records.get(usize::try_from(position - kept.base).ok()?).cloned()
    }

    /// The channel is no more: nothing of it is kept, and whoever reads it is told.
    pub fn end(&self) {
        self.tail.lock().removed = true;
        self.recent.forget(self.id);
        self.changed.send_replace(());
    }

    /// Reads the directory unless that was done.
    pub async fn ensure_recovered(&self, files: &mut Files) -> Result<(), Error> {
        if files.recovered {
            return Ok(());
        }
        let found = recover(&self.dir).await?;
        {
            let mut tail = self.tail.lock();
            tail.first = found.first;
            tail.next = found.next;
            tail.files = found.files;
        }
        files.term = found.term;
        files.has_directory = found.has_directory;
        files.recovered = true;
        Ok(())
    }

    /// Keeps none of the records before `before` in memory any more.
    pub fn let_go(&self, before: u64) {
        self.recent.forget_before(self.id, before);
    }

    /// Gives up the records before `before`, durably, and removes the files that then hold nothing else; the one that is being
    /// written only if it has `leave_bytes`.
    pub async fn give_up(&self, files: &mut Files, before: u64, leave_bytes: u64) -> Result<(), Error> {
        let (first_before, first, next) = {
            let tail = self.tail.lock();
            (tail.first, before.min(tail.next), tail.next)
        };
        if first > first_before {
            self.dir.mark(Name::First(first)).await?;
            self.tail.lock().first = first;
            self.recent.forget_before(self.id, first);
            self.dir.remove(Name::First(first_before)).await?;
        }
        // Nobody knows when the next record comes, and until then it would stay.
        files.active = files.active.filter(|active| first < next || active.size_bytes < leave_bytes);
        let kept = files.active.map(|active| active.base);
        let given_up = self.tail.lock().given_up_files(kept);
        for (base, info) in given_up {
            self.dir.remove(Name::Records { base, term: info.term }).await?;
            self.tail.lock().files.remove(&base);
        }
        Ok(())
    }

    /// Cuts what a failed write may have left after the durable records of a file.
    pub async fn cut_dirty(&self, files: &mut Files) -> Result<(), Error> {
        let Some(dirty) = files.dirty else { return Ok(()) };
        let disk = &self.dir.disk;
        let name = Name::Records { base: dirty.base, term: dirty.term };
        let file = self.dir.file(name);
        if self.tail.lock().files.contains_key(&dirty.base) {
            let cut = disk.truncate(&file, dirty.size_bytes).await;
            cut.map_err(|source| failed(Doing::Truncate, &file, source))?;
            disk.sync(&file).await.map_err(|source| failed(Doing::Sync, &file, source))?;
        } else {
            self.dir.remove(name).await?;
            self.dir.sync().await?;
        }
        files.dirty = None;
        Ok(())
    }

    /// Writes records at the end of the channel, makes them durable and shows them to readers. After an error the
    /// writer must not go on: what was written is cut off by the next [`Self::cut_dirty`].
    ///
    /// Returns how many bytes were written.
    pub async fn write(
        &self,
        files: &mut Files,
        term: u64,
        payloads: &[Bytes],
        segment_bytes: u64,
    ) -> Result<u64, Error> {
        let mut active = match files.active {
            Some(active) if active.size_bytes < segment_bytes => active,
            Some(_) | None => self.begin_file(files, term).await?,
        };
        let disk = &self.dir.disk;
        let file = self.dir.file(Name::Records { base: active.base, term });
        let seed = self.dir.header(active.base, term).seed();
        let base = self.tail.lock().next;
        let (frames, written) = frame(payloads, seed, term, base);

        files.dirty = Some(active);
        disk.append(&file, frames).await.map_err(|source| failed(Doing::Append, &file, source))?;
        disk.sync(&file).await.map_err(|source| failed(Doing::Sync, &file, source))?;
        files.dirty = None;

        active.size_bytes += written;
        files.active = Some(active);
        self.recent.keep(self.id, Kept { base, records: payloads.to_vec(), after: () });
        {
            let mut tail = self.tail.lock();
            tail.files.insert(active.base, FileInfo { term, size_bytes: active.size_bytes });
            tail.next = base + payloads.len() as u64;
        }
        self.changed.send_replace(());
        Ok(written)
    }

    /// Makes the file for the next record, durable with its header.
    async fn begin_file(&self, files: &mut Files, term: u64) -> Result<Active, Error> {
        let disk = &self.dir.disk;
        let base = self.tail.lock().next;
        let active = Active { base, term, size_bytes: FILE_HEADER_BYTES as u64 };
        let file = self.dir.file(Name::Records { base, term });
        files.dirty = Some(active);
        disk.create(&file).await.map_err(|source| failed(Doing::Create, &file, source))?;
        let header = self.dir.header(base, term).encode();
        disk.append(&file, vec![header]).await.map_err(|source| failed(Doing::Append, &file, source))?;
        disk.sync(&file).await.map_err(|source| failed(Doing::Sync, &file, source))?;
        self.dir.sync().await?;
        Ok(active)
    }
}

/// The bytes of records that begin at position `next`, which is also what is durable before them, and their number.
fn frame(payloads: &[Bytes], seed: u32, term: u64, next: u64) -> (Vec<Bytes>, u64) {
    let mut frames = Vec::with_capacity(payloads.len() * 2);
    let mut written = 0;
    for (position, payload) in (next..).zip(payloads) {
        // A payload is at most `MAX_PAYLOAD_BYTES`, which was checked when it was appended.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let header = RecordHeader { length, position, term, durable: next };
        frames.push(header.encode(seed, payload));
        frames.push(payload.clone());
        written += RECORD_HEADER_BYTES as u64 + payload.len() as u64;
    }
    (frames, written)
}
