//! Whether the object store answers: looked at every few seconds, so that whoever asks is told at once.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::assembly::identity::OBJECT;
use crate::base::{Clock, Kind, Kinded as _, chain};
use crate::blob::Blobs;
use crate::obs::Health;
use crate::proxy::StoreSeen;

/// The store as `/healthz` names it.
const NAME: &str = "object store";
/// How long after a look the next one begins.
const EVERY: Duration = Duration::from_secs(3);
/// How long the store may take to answer. Only the look waits.
const LIMIT: Duration = Duration::from_secs(2);
/// As many looks in a row must fail before the store is said to: one may meet a single lost or slow answer.
const FAILURES: u32 = 2;

/// How a look failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    kind: Kind,
    /// The whole chain of causes, for operators.
    why: String,
}

/// What the looks so far come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outlook {
    /// As many of the last looks failed.
    failures: u32,
    /// How the last one did.
    last: Option<Failure>,
}

impl Outlook {
    /// What it is after one more look.
    fn after(&self, look: Result<(), Failure>) -> Self {
        match look {
            Ok(()) => Self::default(),
            Err(failure) => Self { failures: self.failures.saturating_add(1), last: Some(failure) },
        }
    }

    /// How the store fails; nothing while that is not sure.
    fn failure(&self) -> Option<&Failure> {
        self.last.as_ref().filter(|_| self.failures >= FAILURES)
    }
}

/// Looks at the store now and then: reads the small object that says whose it is. A process that has started serves on whatever
/// is found; `/healthz` says it and stays 200.
pub struct Lookout {
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    health: Health,
    outlook: Mutex<Outlook>,
}

impl Lookout {
    /// Has not looked yet, and so says nothing. `blobs` keeps no copy of the object.
    pub fn new(blobs: Arc<dyn Blobs>, clock: Arc<dyn Clock>, health: Health) -> Arc<Self> {
        Arc::new(Self { blobs, clock, health, outlook: Mutex::default() })
    }

    /// Says what was seen last.
    pub fn seen(self: &Arc<Self>) -> StoreSeen {
        let lookout = Arc::clone(self);
        Arc::new(move || lookout.outlook.lock().failure().map(|failure| failure.kind))
    }

    /// Looks until `stop`; returns then.
    ///
    /// # Errors
    /// None: failures are what is looked for.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.clock.sleep(EVERY) => {}
            }
            let look = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                look = self.look() => look,
            };
            self.note(look);
        }
    }

    async fn look(&self) -> Result<(), Failure> {
        tokio::select! {
            read = self.blobs.read(OBJECT) => match read {
                // Whoever says that it is not there has answered.
                Err(error) if error.kind() != Kind::NotFound => {
                    Err(Failure { kind: error.kind(), why: chain(&error) })
                }
                _ => Ok(()),
            },
            () = self.clock.sleep(LIMIT) => {
                let why = format!("no answer within {} s", LIMIT.as_secs());
                Err(Failure { kind: Kind::Unavailable, why })
            }
        }
    }

    /// Takes over what a look found, and tells operators what is new.
    fn note(&self, look: Result<(), Failure>) {
        let mut outlook = self.outlook.lock();
        let next = outlook.after(look);
        match (outlook.failure(), next.failure()) {
            (None, Some(failure)) => {
                warn!(error = failure.why, "the object store fails; serving on without it")
            }
            (Some(_), None) => info!("the object store answers again"),
            _ => {}
        }
        match next.failure() {
            Some(failure) => self.health.degraded(NAME, failure.why.as_str()),
            None => self.health.forget(NAME),
        }
        *outlook = next;
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::base::{TaskSet, TestClock};
    use crate::blob::{BlobEntry, Doing, Error, MemoryBlobs};

    #[test]
    fn a_store_fails_after_two_failures_in_a_row_and_answers_with_the_first_answer() {
        let failure = |why: &str| Failure { kind: Kind::Unavailable, why: why.to_owned() };
        let looks = [Err("a"), Ok(()), Err("b"), Err("c"), Err("d"), Ok(())];

        let mut outlook = Outlook::default();
        let found = looks.map(|look| {
            outlook = outlook.after(look.map_err(failure));
            outlook.failure().cloned()
        });

        assert_eq!(found, [None, None, None, Some(failure("c")), Some(failure("d")), None]);
    }

    #[derive(Clone, Copy)]
    enum Mood {
        Answers,
        HasNothing,
        Refuses,
        IsSilent,
    }

    /// A store in a mood; nothing is asked of it but to read.
    struct Moody {
        inner: Arc<MemoryBlobs>,
        mood: Mutex<Mood>,
    }

    #[async_trait]
    impl Blobs for Moody {
        async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
            self.inner.create(key, body).await
        }

        async fn read(&self, key: &str) -> Result<Bytes, Error> {
            let mood = *self.mood.lock();
            match mood {
                Mood::Answers => self.inner.read(key).await,
                Mood::HasNothing => Err(Error::NotFound { key: key.to_owned() }),
                Mood::Refuses => {
                    let (doing, key, source) = (Doing::Read, key.to_owned(), "no".into());
                    Err(Error::Remote { doing, key, kind: Kind::Denied, source })
                }
                Mood::IsSilent => std::future::pending().await,
            }
        }

        async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
            self.inner.read_range(key, range).await
        }

        async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
            self.inner.list(prefix).await
        }

        async fn delete(&self, key: &str) -> Result<(), Error> {
            self.inner.delete(key).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_whose_store_is_away_says_so_and_serves_on() {
        let inner = MemoryBlobs::new();
        inner.create(OBJECT, Bytes::from_static(b"{}")).await.unwrap();
        let store = Arc::new(Moody { inner, mood: Mutex::new(Mood::Answers) });
        let health = Health::new();
        health.ok("proxy");
        let lookout = Lookout::new(Arc::clone(&store) as _, TestClock::starting_at(1), health.clone());
        let (seen, tasks) = (lookout.seen(), TaskSet::new());
        tasks.start("look", |stop| lookout.run(stop));
        let later = async |mood: Mood| {
            *store.mood.lock() = mood;
            // Longer than two looks take that are not answered.
            tokio::time::sleep(Duration::from_secs(11)).await;
            (seen(), health.report())
        };
        let well = || (None::<Kind>, (true, "OK".to_owned()));
        let ill = |kind, why: &str| (Some(kind), (true, format!("OK, but object store: {why}")));

        assert_eq!(later(Mood::Answers).await, well());
        assert_eq!(later(Mood::IsSilent).await, ill(Kind::Unavailable, "no answer within 2 s"));
        assert_eq!(later(Mood::HasNothing).await, well());
        let refused = "cannot read the object redkite.json: no";
        assert_eq!(later(Mood::Refuses).await, ill(Kind::Denied, refused));
        assert_eq!(later(Mood::Answers).await, well());
        tasks.stop();
        tasks.join().await.unwrap();
    }
}
