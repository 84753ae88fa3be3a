//! Finds out whether a store keeps concurrent creates of one key apart, before anything is built on that.

use bytes::Bytes;

use crate::base::Rng;

use super::{Blobs, Error};

/// How hard [`keeps_creates_apart`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Creates of one key at the same time. Range: 2 and up; fewer count as 2.
    pub writers: u32,
    /// Keys that are tried, one after the other. Range: 1 and up; 0 counts as 1.
    pub rounds: u32,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self { writers: 8, rounds: 5 }
    }
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Of every race exactly one create won, and its body is what a read gives.
    Apart,
    /// The store has said itself that it does not guard creates.
    Unguarded,
    /// Several creates of one key were told that they had won.
    SeveralWon {
        /// How many.
        winners: usize,
    },
    /// All creates of a free key were told that it is taken.
    NoneWon,
    /// A read gives another body than the winner's.
    OtherBody,
}

impl Verdict {
    /// Whether an object log may be kept in the store.
    #[must_use]
    pub fn is_apart(self) -> bool {
        self == Self::Apart
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Apart => out.write_str("of concurrent creates of one key exactly one wins"),
            Self::Unguarded => out.write_str("the store knows no conditional creates"),
            Self::SeveralWon { winners } => {
                write!(out, "{winners} concurrent creates of one key were all told that they won")
            }
            Self::NoneWon => out.write_str("concurrent creates of a free key were all told that it is taken"),
            Self::OtherBody => {
                out.write_str("after a race of creates a read gives another body than the winner's")
            }
        }
    }
}

/// Races creates of fresh keys below `probe/` and looks who won. Removes what it makes, also when it fails.
///
/// [`Verdict::Apart`] is no proof: a store that loses a race rarely can pass. A store that checks and writes in two
/// steps does not pass in practice, since all writers are on their way before the first one ends.
///
/// # Errors
/// Kinds of the store; then nothing is known, and the probe can be repeated. Dropped midway it may leave an object.
pub async fn keeps_creates_apart(
    blobs: &dyn Blobs,
    rng: &dyn Rng,
    settings: ProbeSettings,
) -> Result<Verdict, Error> {
    for _ in 0..settings.rounds.max(1) {
        let key = format!("probe/{:016x}{:016x}", rng.next_u64(), rng.next_u64());
        let verdict = race(blobs, &key, settings.writers.max(2)).await;
        let deleted = blobs.delete(&key).await;
        match verdict? {
            Verdict::Apart => deleted?,
            found => return Ok(found),
        }
    }
    Ok(if blobs.guards_creates() { Verdict::Apart } else { Verdict::Unguarded })
}

/// One race for one key.
async fn race(blobs: &dyn Blobs, key: &str, writers: u32) -> Result<Verdict, Error> {
    let bodies = (0..writers).map(|writer| Bytes::from(format!("{key} by writer {writer}")));
    let racing = bodies.map(|body| async move { (blobs.create(key, body.clone()).await, body) });
    let ended = futures::future::join_all(racing).await;
    let mut winners = Vec::new();
    for (ended, body) in ended {
        match ended {
            Ok(()) => winners.push(body),
            Err(Error::Exists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    match &winners[..] {
        [] => Ok(Verdict::NoneWon),
        [winner] if blobs.read(key).await? == winner => Ok(Verdict::Apart),
        [_] => Ok(Verdict::OtherBody),
        several => Ok(Verdict::SeveralWon { winners: several.len() }),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::base::{RealClock, SeededRng};
    use crate::blob::{BlobEntry, Doing, FaultPlan, FaultyBlobs, LocalBlobs, MemoryBlobs};

    /// A store that looks first and writes later.
    struct RacyBlobs {
        inner: Arc<MemoryBlobs>,
    }

    #[async_trait]
    impl Blobs for RacyBlobs {
        async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
            if self.inner.read(key).await.is_ok() {
                return Err(Error::Exists { key: key.to_owned() });
            }
            // Every other writer looks before this one writes.
            tokio::task::yield_now().await;
            self.inner.delete(key).await?;
            self.inner.create(key, body).await
        }

        async fn read(&self, key: &str) -> Result<Bytes, Error> {
            self.inner.read(key).await
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

    async fn probe(blobs: &dyn Blobs) -> Result<Verdict, Error> {
        keeps_creates_apart(blobs, &*SeededRng::new(1), ProbeSettings::default()).await
    }

    #[tokio::test]
    async fn stores_that_guard_creates_pass_and_are_left_empty() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalBlobs::open(dir.path(), SeededRng::new(1)).await.unwrap();
        let memory = MemoryBlobs::new();
        for blobs in [&*local as &dyn Blobs, &*memory] {
            assert_eq!(probe(blobs).await.unwrap(), Verdict::Apart);
            assert_eq!(blobs.list("").await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_store_that_looks_first_and_writes_later_is_found() {
        let inner = MemoryBlobs::new();
        let racy = RacyBlobs { inner: inner.clone() };

        assert_eq!(probe(&racy).await.unwrap(), Verdict::SeveralWon { winners: 8 });

        assert_eq!(inner.list("").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_key_that_is_always_taken_and_a_body_that_changed_are_told() {
        struct Fixed(Arc<MemoryBlobs>, bool);
        #[async_trait]
        impl Blobs for Fixed {
            async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
                if self.1 {
                    return Err(Error::Exists { key: key.to_owned() });
                }
                self.0.create(key, body).await
            }
            async fn read(&self, _: &str) -> Result<Bytes, Error> {
                Ok(Bytes::from_static(b"another"))
            }
            async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
                self.0.read_range(key, range).await
            }
            async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
                self.0.list(prefix).await
            }
            async fn delete(&self, key: &str) -> Result<(), Error> {
                self.0.delete(key).await
            }
        }

        assert_eq!(probe(&Fixed(MemoryBlobs::new(), true)).await.unwrap(), Verdict::NoneWon);
        assert_eq!(probe(&Fixed(MemoryBlobs::new(), false)).await.unwrap(), Verdict::OtherBody);
    }

    #[tokio::test]
    async fn a_probe_that_failed_is_an_error_and_leaves_nothing() {
        let inner = MemoryBlobs::new();
        let plan = FaultPlan { fail_after_permille: 1000, ..FaultPlan::of(&[Doing::Create]) };
        let faulty = FaultyBlobs::new(inner.clone(), plan, RealClock::new(), SeededRng::new(1));

        let error = probe(&*faulty).await.unwrap_err();

        assert!(matches!(error, Error::Remote { doing: Doing::Create, .. }), "{error:?}");
        assert_eq!(inner.list("").await.unwrap(), []);
    }
}
