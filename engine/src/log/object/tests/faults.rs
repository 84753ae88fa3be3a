//! An object store with faults, and how nodes are set up on one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::base::{NodeId, Rng, SeededRng, TaskSet, TestClock};
use crate::blob::{BlobEntry, Blobs, Doing, Error};
use crate::obs::Metrics;

use super::super::flaw::{Flaw, Flaws};
use super::super::store::Store;
use super::super::{ObjectLogSettings, ObjectLogs};

/// How often what goes wrong. Units: ms, and calls in a hundred.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Longest delay before a call takes effect, and again before it answers.
    pub delay_ms: u64,
    /// Calls that fail without effect.
    pub failing: u64,
    /// Creations and deletions that happen but do not answer.
    pub answer_lost: u64,
    /// Creations that fail and happen up to 20 delays later nevertheless.
    pub late: u64,
}

/// A store in front of another one.
pub struct FaultyBlobs {
    inner: Arc<dyn Blobs>,
    rng: Arc<SeededRng>,
    tasks: TaskSet,
    faults: Mutex<Faults>,
    held: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    /// Creations that got to the inner store.
    pub creates: AtomicU64,
    /// All calls.
    pub calls: AtomicU64,
}

impl FaultyBlobs {
    pub fn new(inner: Arc<dyn Blobs>, seed: u64, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            inner,
            rng: SeededRng::new(seed),
            tasks: TaskSet::new(),
            faults: Mutex::new(faults),
            held: Mutex::default(),
            creates: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        })
    }

    pub fn set(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    /// Holds back creations of `key` until a permit is added to what this returns.
    pub fn hold(&self, key: &str) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.held.lock().insert(key.to_owned(), gate.clone());
        gate
    }

    fn happens(&self, in_a_hundred: u64) -> bool {
        in_a_hundred > 0 && self.rng.below(100) < in_a_hundred
    }

    async fn delay(&self, most_ms: u64) {
        if most_ms > 0 {
            tokio::time::sleep(Duration::from_micros(self.rng.below(most_ms * 1000 + 1))).await;
        }
    }

    async fn before(&self, doing: Doing, key: &str) -> Result<Faults, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let faults = *self.faults.lock();
        self.delay(faults.delay_ms).await;
        if self.happens(faults.failing) { Err(injected(doing, key)) } else { Ok(faults) }
    }

    async fn after<T>(&self, faults: Faults, doing: Doing, key: &str, value: T) -> Result<T, Error> {
        self.delay(faults.delay_ms).await;
        if self.happens(faults.answer_lost) { Err(injected(doing, key)) } else { Ok(value) }
    }
}

fn injected(doing: Doing, key: &str) -> Error {
    Error::Local { doing, key: key.to_owned(), source: std::io::Error::other("injected") }
}

#[async_trait]
impl Blobs for FaultyBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        let faults = self.before(Doing::Create, key).await?;
        let gate = self.held.lock().get(key).cloned();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.happens(faults.late) {
            let (inner, key_too) = (self.inner.clone(), key.to_owned());
            let later = Duration::from_millis(self.rng.below(20 * faults.delay_ms + 1));
            self.tasks.start("late creation", |_| async move {
                tokio::time::sleep(later).await;
                drop(inner.create(&key_too, body).await);
                Ok(())
            });
            return Err(injected(Doing::Create, key));
        }
        self.creates.fetch_add(1, Ordering::Relaxed);
        let created = self.inner.create(key, body).await;
        self.after(faults, Doing::Create, key, ()).await?;
        created
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        let faults = self.before(Doing::Read, key).await?;
        let read = self.inner.read(key).await;
        self.delay(faults.delay_ms).await;
        read
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let faults = self.before(Doing::Read, key).await?;
        let read = self.inner.read_range(key, range).await;
        self.delay(faults.delay_ms).await;
        read
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        let faults = self.before(Doing::List, prefix).await?;
        let listed = self.inner.list(prefix).await;
        self.delay(faults.delay_ms).await;
        listed
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        let faults = self.before(Doing::Delete, key).await?;
        let deleted = self.inner.delete(key).await;
        self.after(faults, Doing::Delete, key, ()).await?;
        deleted
    }
}

/// One process: its logs, and the set that its tasks die with.
pub struct Node {
    pub logs: Arc<ObjectLogs>,
    pub tasks: TaskSet,
}

/// A node on `blobs`. Call it inside a runtime.
pub fn node(blobs: Arc<dyn Blobs>, seed: u64, settings: ObjectLogSettings) -> Node {
    flawed_node(blobs, seed, settings, None)
}

/// A node that leaves a rule out.
pub fn flawed_node(
    blobs: Arc<dyn Blobs>,
    seed: u64,
    settings: ObjectLogSettings,
    left_out: Option<Flaw>,
) -> Node {
    let tasks = TaskSet::new();
    let clock = TestClock::starting_at(1_000_000);
    let rng = SeededRng::new(seed);
    let store = Store { blobs, clock, rng, settings, flaws: Flaws { left_out } };
    let metrics = Metrics::new(NodeId(1)).log.clone();
    Node { logs: ObjectLogs::with_flaws(store, tasks.clone(), metrics), tasks }
}

/// Small enough that everything is met soon.
pub fn small() -> ObjectLogSettings {
    ObjectLogSettings {
        max_chunk_bytes: 60,
        recent_bytes: 300,
        queue_bytes: 1 << 20,
        deadline_ms: 3_000,
        stall_limit_ms: 1_000,
        ..ObjectLogSettings::default()
    }
}
