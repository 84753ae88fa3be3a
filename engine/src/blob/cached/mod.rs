//! Copies of a store's objects in a local folder, within a budget.
//!
//! Objects never change, so a copy is as good as the object as long as it is whole: its length is checked at the start,
//! its CRC at the first use after a start and at every whole read. The folder may be lost, full, torn or wiped at any
//! time; then reads go to the store.

mod files;
mod inside;
mod shelf;

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, WeakShared};
use parking_lot::Mutex;
use tracing::warn;

use crate::base::{Clock, chain};

use super::key::check_key;
use super::{BlobEntry, Blobs, Error, Outside};
use files::{Disk, Folder};
use inside::{adopt, blocking};
use shelf::Shelf;

/// Settings of a cache on the local disk.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct DiskCacheSettings {
    /// The folder; made if missing, and used by one process at a time.
    pub folder: PathBuf,
    /// The files never take more than this. Unit: bytes.
    pub budget_bytes: u64,
    /// Larger objects are not kept. Percent of the budget. Range: 1 to 100.
    pub largest_percent: u64,
    /// Only keys that begin with one of these are kept.
    pub prefixes: Vec<String>,
    /// Keep a copy of what this process creates, too: for a process that reads what it wrote.
    pub keep_created: bool,
}

impl Default for DiskCacheSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            budget_bytes: 20 << 30,
            largest_percent: 25,
            prefixes: Vec::new(),
            keep_created: false,
        }
    }
}

/// What a cache has done since it was opened, and what it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Reads of cacheable keys that a copy answered.
    pub hits: u64,
    /// Reads of cacheable keys that the store answered.
    pub misses: u64,
    /// Reads of other keys.
    pub passed: u64,
    /// What copies answered. Unit: bytes.
    pub hit_bytes: u64,
    /// What was read from the store for misses. Unit: bytes.
    pub miss_bytes: u64,
    /// Copies that made way.
    pub evicted: u64,
    /// Copies that were not whole.
    pub torn: u64,
    /// Copies that could not be written.
    pub failed_writes: u64,
    /// Copies in the folder.
    pub kept_objects: u64,
    /// What they take, with those being written. Unit: bytes.
    pub kept_bytes: u64,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    passed: AtomicU64,
    hit_bytes: AtomicU64,
    miss_bytes: AtomicU64,
    evicted: AtomicU64,
    torn: AtomicU64,
    failed_writes: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

type Download = BoxFuture<'static, Result<Bytes, Arc<Error>>>;

/// What keeps a key's copy from being made twice, and from being made of an object that was deleted meanwhile.
struct Flight {
    number: u64,
    /// None for a create, which nobody can join.
    download: Option<WeakShared<Download>>,
}

struct State {
    shelf: Shelf,
    flights: HashMap<String, Flight>,
    /// Keys of objects that are too large.
    large: HashSet<String>,
    next_number: u64,
    /// Monotonic time before which nothing is written.
    quiet_until: Option<Duration>,
}

struct Inside {
    blobs: Arc<dyn Blobs>,
    settings: DiskCacheSettings,
    clock: Arc<dyn Clock>,
    /// None if the folder cannot be used.
    disk: Option<Arc<dyn Disk>>,
    state: Mutex<State>,
    counters: Counters,
}

/// A store whose objects are kept in a local folder once they were read. Cloning shares the folder.
///
/// Reads of one key at the same time download it once. A ranged read of a key that is not kept downloads the whole
/// object if it may be kept. `delete` drops the copy; an object that another client deletes may still be read here
/// until its copy makes way, which harms nobody, since no key is ever used again for other content.
#[derive(Clone)]
pub struct CachedBlobs {
    inside: Arc<Inside>,
}

impl CachedBlobs {
    /// `inner` with the copies that are in the folder already. A folder that cannot be used means a warning and a
    /// cache that keeps nothing.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for settings that cannot work.
    pub async fn open(
        inner: Arc<dyn Blobs>,
        settings: DiskCacheSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        let folder = settings.folder.clone();
        let opened = blocking(move || Folder::open(folder)).await;
        let disk = opened.map(|folder| Arc::new(folder) as Arc<dyn Disk>);
        Self::over(inner, settings, clock, disk).await
    }

    async fn over(
        inner: Arc<dyn Blobs>,
        settings: DiskCacheSettings,
        clock: Arc<dyn Clock>,
        disk: io::Result<Arc<dyn Disk>>,
    ) -> Result<Arc<Self>, Error> {
        let refused = |setting, why: &str| Err(Error::BadSetting { setting, why: why.to_owned() });
        if settings.budget_bytes == 0 {
            return refused("budget_bytes", "it is 0");
        }
        if !(1..=100).contains(&settings.largest_percent) {
            return refused("largest_percent", "it is not within 1 to 100");
        }
        let mut state = State {
            shelf: Shelf::new(settings.budget_bytes),
            flights: HashMap::new(),
            large: HashSet::new(),
            next_number: 0,
            quiet_until: None,
        };
        let counters = Counters::default();
        let disk = match disk {
            Ok(disk) => match adopt(&disk, &settings, &mut state, &counters).await {
                Ok(()) => Ok(disk),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let disk = disk.inspect_err(|error| {
            let folder = settings.folder.display();
            warn!(%folder, error = chain(error), "the disk cache cannot be used; objects are not kept");
        });
        let inside =
            Inside { blobs: inner, settings, clock, disk: disk.ok(), state: Mutex::new(state), counters };
        Ok(Arc::new(Self { inside: Arc::new(inside) }))
    }

    /// What the cache has done and has.
    #[must_use]
    pub fn counters(&self) -> CacheCounters {
        let counters = &self.inside.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = self.inside.state.lock();
        CacheCounters {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            passed: read(&counters.passed),
            hit_bytes: read(&counters.hit_bytes),
            miss_bytes: read(&counters.miss_bytes),
            evicted: read(&counters.evicted),
            torn: read(&counters.torn),
            failed_writes: read(&counters.failed_writes),
            kept_objects: state.shelf.len() as u64,
            kept_bytes: state.shelf.used_bytes(),
        }
    }
}

#[async_trait]
impl Blobs for CachedBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let inside = &self.inside;
        inside.blobs.create(key, body.clone()).await?;
        if inside.settings.keep_created && inside.keeps(key) {
            let number = {
                let mut state = inside.state.lock();
                let number = state.next_number;
                state.next_number += 1;
                state.flights.insert(key.to_owned(), Flight { number, download: None });
                number
            };
            inside.keep(key, &body, number).await;
        }
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        check_key(key)?;
        if self.inside.keeps(key) {
            return self.inside.get(key, None).await;
        }
        add(&self.inside.counters.passed, 1);
        self.inside.blobs.read(key).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        check_key(key)?;
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        if self.inside.keeps(key) {
            return self.inside.get(key, Some(&range)).await;
        }
        add(&self.inside.counters.passed, 1);
        self.inside.blobs.read_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        self.inside.blobs.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.inside.drop_copy(key).await;
        let deleted = self.inside.blobs.delete(key).await;
        // What was downloaded before the object was gone.
        self.inside.drop_copy(key).await;
        deleted
    }

    async fn distrust(&self, key: &str) {
        self.inside.drop_copy(key).await;
        self.inside.blobs.distrust(key).await;
    }

    fn outside(&self) -> Option<Outside> {
        // What others put there may change: nothing is kept of it.
        self.inside.blobs.outside()
    }

    fn guards_creates(&self) -> bool {
        self.inside.blobs.guards_creates()
    }
}

#[cfg(test)]
mod tests;
