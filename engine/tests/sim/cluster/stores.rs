//! The object store and the metadata as one machine reaches them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine::base::{Kind, Rng as _};
use engine::blob::{self, BlobEntry, Blobs};
use engine::meta::{self, Metas, Txn, Versioned};
use tokio::sync::oneshot;

use super::site::Site;
use super::weather::{End, Fault};
use super::world::World;

/// The longest pause before a call is repeated for the first time, as the clients of stores have it. Unit: ms.
const FIRST_PAUSE_MS: u64 = 20;

#[derive(Debug, thiserror::Error)]
#[error("injected: {0:?}")]
struct Injected(Fault);

/// What happens to one call.
struct Fate {
    before: Duration,
    fails: Option<Fault>,
    /// It was done, and nobody hears of it.
    answer_lost: Option<Fault>,
}

/// The object store from one machine.
pub struct SiteBlobs {
    pub world: Arc<World>,
    pub site: Arc<Site>,
}

impl SiteBlobs {
    fn fate(&self) -> Fate {
        let weather = self.world.weather.lock();
        let [slow, fails, lost] = std::array::from_fn(|_| self.world.rng.next_u64());
        let end = End::Site(self.site.number);
        let least_us =
            if weather.store_slow_from_ms > 0 { weather.store_slow_from_ms * 1_000 } else { 2_000 };
        let most_us = if weather.store_slow_ms > 0 { weather.store_slow_ms * 1_000 } else { 8_000 };
        let over_us = most_us.saturating_sub(weather.store_slow_from_ms * 1_000).max(1);
        let happens = |bits: u64, permille: u64| bits % 1_000 < permille;
        let is_cut =
            weather.blocked.contains(&(end, End::Store)) || weather.blocked.contains(&(End::Store, end));
        let failure = if weather.is_store_down {
            Some(Fault::StoreDown)
        } else if is_cut {
            Some(Fault::Partition)
        } else {
            happens(fails, weather.store_errors_permille).then_some(Fault::StoreErrors)
        };
        if weather.store_slow_ms > 0 {
            self.world.fired(Fault::StoreSlow);
        }
        Fate {
            before: Duration::from_micros(least_us + slow % over_us),
            fails: failure,
            answer_lost: happens(lost, weather.store_lost_permille).then_some(Fault::StoreLostAnswer),
        }
    }

    async fn call<T, F>(
        &self,
        doing: blob::Doing,
        key: &str,
        work: impl FnOnce(Arc<dyn Blobs>) -> F + Send,
    ) -> Result<T, blob::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, blob::Error>> + Send + 'static,
    {
        let failed = |fault| {
            let source = Box::new(Injected(fault));
            blob::Error::Remote { doing, key: key.to_owned(), kind: Kind::Unavailable, source }
        };
        let mut repeats = 0;
        let fate = loop {
            self.site.gate.open().await;
            self.world.asked_of_store(doing, key);
            let fate = self.fate();
            let Some(fault) = fate.fails else { break fate };
            // A store that is away does not even say so at once.
            let wait = if fault == Fault::StoreErrors { fate.before } else { Duration::from_secs(2) };
            tokio::time::sleep(wait).await;
            self.site.gate.open().await;
            self.world.fired(fault);
            if fault != Fault::StoreErrors || repeats >= self.world.weather.lock().store_repeats {
                return Err(failed(fault));
            }
            let pause = self.world.rng.below(FIRST_PAUSE_MS << repeats);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            repeats += 1;
        };
        // What was sent arrives, whatever becomes of the sender.
        let (tell, told) = oneshot::channel();
        let work = work(self.world.blobs());
        self.world.start(async move {
            tokio::time::sleep(fate.before).await;
            drop(tell.send(work.await));
        });
        let outcome = told.await;
        if let Some(fault) = fate.answer_lost {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.site.gate.open().await;
            self.world.fired(fault);
            return Err(failed(fault));
        }
        self.site.gate.open().await;
        outcome.expect("the store answers")
    }
}

#[async_trait]
impl Blobs for SiteBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), blob::Error> {
        let owned = key.to_owned();
        self.call(blob::Doing::Create, key, |blobs| async move { blobs.create(&owned, body).await }).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, blob::Error> {
        let owned = key.to_owned();
        self.call(blob::Doing::Read, key, |blobs| async move { blobs.read(&owned).await }).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, blob::Error> {
        let owned = key.to_owned();
        self.call(blob::Doing::Read, key, |blobs| async move { blobs.read_range(&owned, range).await }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, blob::Error> {
        let owned = prefix.to_owned();
        self.call(blob::Doing::List, prefix, |blobs| async move { blobs.list(&owned).await }).await
    }

    async fn delete(&self, key: &str) -> Result<(), blob::Error> {
        let (owned, world) = (key.to_owned(), Arc::clone(&self.world));
        self.call(blob::Doing::Delete, key, |blobs| async move {
            world.look_at_removal(&owned);
            blobs.delete(&owned).await
        })
        .await
    }
}

/// The metadata from one machine.
pub struct SiteMetas {
    pub world: Arc<World>,
    pub site: Arc<Site>,
}

impl SiteMetas {
    async fn call<T, F>(
        &self,
        doing: meta::Doing,
        work: impl FnOnce(Arc<dyn Metas>) -> F + Send,
    ) -> Result<T, meta::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, meta::Error>> + Send + 'static,
    {
        self.site.gate.open().await;
        let (away, lost, before) = {
            let weather = self.world.weather.lock();
            let [slow, lost] = std::array::from_fn(|_| self.world.rng.next_u64());
            let end = End::Site(self.site.number);
            let is_cut =
                weather.blocked.contains(&(end, End::Metas)) || weather.blocked.contains(&(End::Metas, end));
            let away =
                if weather.is_meta_away { Some(Fault::MetaAway) } else { is_cut.then_some(Fault::Partition) };
            let lost = doing == meta::Doing::Commit && lost % 1_000 < weather.meta_lost_permille;
            (away, lost, Duration::from_micros(500 + slow % 3_000))
        };
        let failed = |fault| {
            self.world.fired(fault);
            let source = Box::new(Injected(fault));
            meta::Error::Store { doing, place: "simulated".to_owned(), kind: Kind::Unavailable, source }
        };
        if let Some(fault) = away {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.site.gate.open().await;
            return Err(failed(fault));
        }
        let (tell, told) = oneshot::channel();
        let work = work(self.world.metas());
        self.world.start(async move {
            tokio::time::sleep(before).await;
            drop(tell.send(work.await));
        });
        let outcome = told.await;
        if lost {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.site.gate.open().await;
            return Err(failed(Fault::MetaAway));
        }
        self.site.gate.open().await;
        outcome.expect("the metadata answers")
    }
}

#[async_trait]
impl Metas for SiteMetas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        let owned = key.to_owned();
        self.call(meta::Doing::Read, |metas| async move { metas.get(&owned).await }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        let owned = prefix.to_owned();
        self.call(meta::Doing::Read, |metas| async move { metas.list(&owned).await }).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        self.call(meta::Doing::Commit, |metas| async move { metas.commit(txn).await }).await
    }
}
