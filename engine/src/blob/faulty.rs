//! A store that fails by a seeded plan, for tests and simulation.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::base::{Clock, Kind, Rng};

use super::{BlobEntry, Blobs, Doing, Error, Outside};

/// What may happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It fails and did not reach the store.
    Before,
    /// The store did it, and the answer is lost.
    After,
    /// It waits before it reaches the store.
    Delay,
}

/// How often what happens. Chances are in thousandths of all calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The calls that faults happen to; empty for all.
    pub doings: Vec<Doing>,
    /// Chance of [`Fault::Before`]. Range: 0 to 1000.
    pub fail_before_permille: u64,
    /// Chance of [`Fault::After`], of the calls that were not failed before. Range: 0 to 1000.
    pub fail_after_permille: u64,
    /// Chance of [`Fault::Delay`]. Range: 0 to 1000.
    pub delay_permille: u64,
    /// Longest delay; each is drawn between 0 and this. Unit: ms.
    pub max_delay_ms: u64,
}

impl FaultPlan {
    /// Nothing happens.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    /// Nothing happens yet, and what is set on top of it happens to these calls only.
    #[must_use]
    pub fn of(doings: &[Doing]) -> Self {
        Self { doings: doings.to_vec(), ..Self::default() }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("injected: {0:?}")]
struct Injected(Fault);

/// A store whose calls fail, lose their answers and wait by a plan. The same seed and the same calls in the same order
/// give the same faults. Failed calls have kind `Unavailable`.
pub struct FaultyBlobs {
    inner: Arc<dyn Blobs>,
    plan: Mutex<FaultPlan>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    injected: Mutex<BTreeMap<(Doing, Fault), u64>>,
}

/// What was drawn for one call.
struct Fate {
    delay: Option<Duration>,
    failure: Option<Fault>,
}

impl FaultyBlobs {
    /// `inner` with the faults of `plan`.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Blobs>,
        plan: FaultPlan,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Arc<Self> {
        Arc::new(Self { inner, plan: Mutex::new(plan), clock, rng, injected: Mutex::default() })
    }

    /// From now on the faults of `plan` happen.
    pub fn follow(&self, plan: FaultPlan) {
        *self.plan.lock() = plan;
    }

    /// How often each fault has happened to each sort of call.
    #[must_use]
    pub fn injected(&self) -> BTreeMap<(Doing, Fault), u64> {
        self.injected.lock().clone()
    }

    /// Draws the same number of random bits for every call, so that changing one chance moves no other fault.
    fn draw(&self, doing: Doing) -> Fate {
        let plan = self.plan.lock();
        let [delayed, long, before, after] = std::array::from_fn(|_| self.rng.next_u64());
        if !plan.doings.is_empty() && !plan.doings.contains(&doing) {
            return Fate { delay: None, failure: None };
        }
        let happens = |bits: u64, permille: u64| bits % 1000 < permille;
        let delay_ms = long % (plan.max_delay_ms + 1);
        let failure = if happens(before, plan.fail_before_permille) {
            Some(Fault::Before)
        } else {
            happens(after, plan.fail_after_permille).then_some(Fault::After)
        };
        let delay = happens(delayed, plan.delay_permille).then(|| Duration::from_millis(delay_ms));
        Fate { delay, failure }
    }

    fn count(&self, doing: Doing, fault: Fault) {
        *self.injected.lock().entry((doing, fault)).or_default() += 1;
    }

    async fn call<T>(
        &self,
        doing: Doing,
        key: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let fate = self.draw(doing);
        if let Some(span) = fate.delay {
            self.count(doing, Fault::Delay);
            self.clock.sleep(span).await;
        }
        if fate.failure != Some(Fault::Before) {
            let done = work.await;
            if fate.failure.is_none() {
                return done;
            }
        }
        let fault = fate.failure.unwrap_or(Fault::After);
        self.count(doing, fault);
        let source = Box::new(Injected(fault));
        Err(Error::Remote { doing, key: key.to_owned(), kind: Kind::Unavailable, source })
    }
}

#[async_trait]
impl Blobs for FaultyBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        self.call(Doing::Create, key, self.inner.create(key, body)).await
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        self.call(Doing::Read, key, self.inner.read(key)).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        self.call(Doing::Read, key, self.inner.read_range(key, range)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        self.call(Doing::List, prefix, self.inner.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.call(Doing::Delete, key, self.inner.delete(key)).await
    }

    async fn distrust(&self, key: &str) {
        self.inner.distrust(key).await;
    }

    fn outside(&self) -> Option<Outside> {
        self.inner.outside()
    }

    fn guards_creates(&self) -> bool {
        self.inner.guards_creates()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Kinded as _, SeededRng, TestClock};
    use crate::blob::{MemoryBlobs, conformance};

    fn faulty(seed: u64, plan: FaultPlan) -> (Arc<MemoryBlobs>, Arc<FaultyBlobs>) {
        let inner = MemoryBlobs::new();
        let clock = TestClock::starting_at(1);
        (inner.clone(), FaultyBlobs::new(inner, plan, clock, SeededRng::new(seed)))
    }

    #[tokio::test(start_paused = true)]
    async fn calm_and_merely_slow_stores_keep_the_contract() {
        let slow = FaultPlan { delay_permille: 500, max_delay_ms: 3000, ..FaultPlan::calm() };
        for plan in [FaultPlan::calm(), slow] {
            let (_, blobs) = faulty(1, plan);
            conformance::run(blobs).await;
        }
    }

    #[tokio::test]
    async fn a_call_failed_before_did_nothing_and_one_failed_after_did_its_work() {
        let before = FaultPlan { fail_before_permille: 1000, ..FaultPlan::of(&[Doing::Create]) };
        let after = FaultPlan { fail_after_permille: 1000, ..FaultPlan::of(&[Doing::Create]) };
        let (inner, blobs) = faulty(1, before);

        assert_eq!(blobs.create("a", Bytes::new()).await.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(inner.list("").await.unwrap(), []);
        blobs.follow(after);
        assert_eq!(blobs.create("a", Bytes::new()).await.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(blobs.read("a").await.unwrap(), Bytes::new());

        let counted =
            BTreeMap::from([((Doing::Create, Fault::Before), 1), ((Doing::Create, Fault::After), 1)]);
        assert_eq!(blobs.injected(), counted);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_gives_the_same_faults_and_another_seed_others() {
        let plan = FaultPlan {
            doings: Vec::new(),
            fail_before_permille: 200,
            fail_after_permille: 200,
            delay_permille: 300,
            max_delay_ms: 50,
        };
        let run = async |seed| {
            let (_, blobs) = faulty(seed, plan.clone());
            let mut failed = Vec::new();
            for number in 0..200 {
                let key = format!("k/{number}");
                failed.push(blobs.create(&key, Bytes::new()).await.is_err());
                failed.push(blobs.read(&key).await.is_err());
            }
            (failed, blobs.injected())
        };

        let first = run(7).await;

        assert_eq!(run(7).await, first);
        assert_ne!(run(8).await, first);
        let kinds = first.1.keys().map(|(_, fault)| *fault).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(kinds.len(), 3, "{:?}", first.1);
    }
}
