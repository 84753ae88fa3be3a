//! Metadata of a coordinator that dies at one of its commits, for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::base::Kind;
use crate::meta::{self, Doing, MemoryMetas, Metas, Txn, Versioned};

/// Metadata as a process sees it that dies at its `dies_at`-th commit.
pub(super) struct Mortal {
    metas: Arc<MemoryMetas>,
    pub(super) commits: AtomicUsize,
    pub(super) dies_at: usize,
    /// Whether that commit still happens.
    afterwards: bool,
}

fn dead() -> meta::Error {
    let kind = Kind::Unavailable;
    meta::Error::Store { doing: Doing::Commit, place: "nowhere".to_owned(), kind, source: "dead".into() }
}

impl Mortal {
    pub(super) fn new(metas: &Arc<MemoryMetas>, dies_at: usize, afterwards: bool) -> Arc<Self> {
        Arc::new(Self { metas: Arc::clone(metas), commits: AtomicUsize::new(0), dies_at, afterwards })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.commits.load(Ordering::Relaxed) >= self.dies_at
    }
}

#[async_trait]
impl Metas for Mortal {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        if self.is_dead() { Err(dead()) } else { self.metas.get(key).await }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        if self.is_dead() { Err(dead()) } else { self.metas.list(prefix).await }
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        if self.is_dead() {
            return Err(dead());
        }
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if number < self.dies_at {
            return self.metas.commit(txn).await;
        }
        if self.afterwards {
            self.metas.commit(txn).await?;
        }
        Err(dead())
    }
}
