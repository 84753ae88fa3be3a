//! Crashes at each step of flushes, index builds, compactions and removals: the process ends with the n-th call that
//! changes the store or the metadata, just before or just after it has had its effect.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::ops::Range;
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use bytes::Bytes;
use engine::blob::{BlobEntry, Error as BlobError};
use engine::meta::{Error as MetaError, Txn, Versioned};
use engine::model::SegmentManifest;
use tokio::sync::watch;

use super::*;

/// Lets some calls through. The next one is the last thing that happens.
pub(super) struct Wire {
    left: AtomicI64,
    /// Whether the last call has its effect.
    takes_effect: bool,
    broken: watch::Sender<bool>,
}

impl Wire {
    fn new(left: i64, takes_effect: bool) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(left), takes_effect, broken: watch::Sender::new(false) })
    }

    async fn pass<T>(&self, call: impl Future<Output = T> + Send) -> T {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 0 {
            return call.await;
        }
        if left == 0 && self.takes_effect {
            call.await;
        }
        self.broken.send_replace(true);
        pending().await
    }

    pub(super) fn around(
        self: &Arc<Self>,
        blobs: Arc<dyn Blobs>,
        metas: Arc<dyn Metas>,
    ) -> (Arc<dyn Blobs>, Arc<dyn Metas>) {
        let blobs = WiredBlobs { inner: blobs, wire: Arc::clone(self) };
        (Arc::new(blobs), Arc::new(WiredMetas { inner: metas, wire: Arc::clone(self) }))
    }

    async fn broken(&self) {
        let mut broken = self.broken.subscribe();
        broken.wait_for(|broken| *broken).await.expect("the wire is there");
    }
}

struct WiredBlobs {
    inner: Arc<dyn Blobs>,
    wire: Arc<Wire>,
}

#[async_trait]
impl Blobs for WiredBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), BlobError> {
        self.wire.pass(self.inner.create(key, body)).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, BlobError> {
        self.inner.read(key).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.inner.read_range(key, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, BlobError> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.wire.pass(self.inner.delete(key)).await
    }
}

struct WiredMetas {
    inner: Arc<dyn Metas>,
    wire: Arc<Wire>,
}

#[async_trait]
impl Metas for WiredMetas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, MetaError> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, MetaError> {
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, MetaError> {
        self.wire.pass(self.inner.commit(txn)).await
    }
}

impl World {
    /// Lives through [`story`] until the call number `calls` breaks off; `false` if there are no so many calls.
    pub fn live_until_call(&mut self, model: &mut Model, calls: i64, takes_effect: bool) -> bool {
        let wire = Wire::new(calls, takes_effect);
        self.wire = Some(Arc::clone(&wire));
        let runtime = runtime();
        let process = self.begin(&runtime);
        let shared = Arc::new(Mutex::new(std::mem::take(model)));
        let has_broken = runtime.block_on(async {
            let told = self.soon(async {
                let life = self.start(&process, Arc::clone(&shared), Arc::default()).await;
                tell(&life).await;
            });
            tokio::select! {
                () = wire.broken() => true,
                () = told => false,
            }
        });
        drop(runtime);
        self.wire = None;
        self.disk = self.disk.crash(self.rng.as_ref());
        self.files = self.files.crash(self.rng.as_ref());
        self.end(process);
        self.unix_ms += 1_000;
        *model = std::mem::take(&mut *shared.lock());
        has_broken
    }

    /// Starts the node once more: the rows are those of the model at once, after all that was begun is done, and when two
    /// hours have gone by, after which nothing is left that nobody names.
    pub fn settle(&mut self, model: &mut Model) {
        let runtime = runtime();
        let process = self.begin(&runtime);
        let story = self.story();
        let shared = Arc::new(Mutex::new(std::mem::take(model)));
        *model = runtime.block_on(async {
            let life = self.start_and_compare(&process, &shared, &Arc::default()).await;
            self.soon(async {
                compact(&life).await;
                indexed(&life).await;
                self.find_and_compare(&life).await;
            })
            .await;
            tokio::time::sleep(Duration::from_secs(2 * 3_600 + 600)).await;
            self.soon(self.find_and_compare(&life)).await;
            let manifests = life.door.coord.manifests(life.info.id).await.expect("manifests");
            let segments = manifests.iter().flat_map(|manifest| &manifest.segments);
            let mut named: BTreeSet<String> = segments.flat_map(SegmentManifest::objects).collect();
            let files = manifests.iter().flat_map(|manifest| &manifest.deletes);
            named.extend(files.map(|file| file.object.key.clone()));
            let mut stored = BTreeSet::new();
            for prefix in ["segments/", "deletes/"] {
                let listed = life.blobs.list(prefix).await.expect("a listing");
                stored.extend(listed.into_iter().map(|entry| entry.key));
            }
            assert_eq!(stored, named, "{story}: what is stored, and what is named");
            std::mem::take(&mut *life.model.lock())
        });
        drop(runtime);
        self.end(process);
    }
}

/// Rows that are written, replaced and deleted, each time with a flush; then indexes, a compaction, and what that leaves.
async fn tell(life: &Life) {
    for round in 0..3 {
        let put =
            |from: i64, to: i64| Change::Put((from..to).map(|key| (key * 4, round * 100 + key)).collect());
        for change in [put(0, 12), Change::Remove(vec![round * 4, 24, 28]), put(10, 22)] {
            life.model.lock().begin(0, change.clone());
            life.door
                .writer
                .write(write_of(&life.info, 0, &change))
                .await
                .expect("the write is acknowledged");
            life.model.lock().acknowledge(0);
            flush(life).await;
        }
    }
    indexed(life).await;
    compact(life).await;
    // What the compaction replaced goes after a minute.
    tokio::time::sleep(Duration::from_secs(120)).await;
}

async fn flush(life: &Life) {
    for channel in &life.info.channels {
        life.door.writer.flush(channel).await.expect("the flush is done");
    }
}

/// Waits until all sealed rows that can be are indexed.
async fn indexed(life: &Life) {
    loop {
        let progress = life.door.coord.indexes(CollectionRef::Id(life.info.id)).await.expect("progress");
        if progress.iter().all(|index| index.indexed_rows >= index.total_rows) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Compacts what there is, and waits until that is done.
async fn compact(life: &Life) {
    let id = life.door.coord.compact(life.info.id, false).await.expect("a compaction is begun");
    while life.door.coord.compaction(id).await.expect("its state").executing > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
