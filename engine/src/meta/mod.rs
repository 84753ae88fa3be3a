//! Metadata: small records under keys, changed by compare-and-swap. Knows keys and bytes, decides nothing.
//!
//! Not for vectors, segments or anything that grows with the data: the whole store should fit in memory.

#[cfg(test)]
mod conformance;
mod error;
mod etcd;
mod memory;
mod redb;
mod txn;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::{Doing, Error};
pub use etcd::{EtcdMetas, EtcdSettings, EtcdTls, EtcdUser};
pub use memory::MemoryMetas;
pub use redb::RedbMetas;
pub use txn::{Expect, Txn, Write};

/// A record's content and the version it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// What was put.
    pub value: Bytes,
    /// Given by the commit that put it. Every commit gives a greater one than all before it in this store, so a
    /// version never comes back, not even after the key was deleted and put again.
    pub version: u64,
}

/// A store of small records with atomic, durable transactions.
///
/// Keys are non-empty UTF-8 text of at most 1024 bytes; values are at most 1 MiB and a transaction has at most 128
/// expectations and writes (what etcd accepts), else kind `Invalid`. Reads see every commit that has returned. `get`
/// and `list` are cancel safe; a dropped `commit` may or may not have happened, but never by half.
#[async_trait]
pub trait Metas: Send + Sync + 'static {
    /// The record under `key`, if there is one.
    ///
    /// # Errors
    /// Kinds of the store.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error>;

    /// Every record whose key starts with `prefix` as text, as of one moment, ascending by the bytes of the key.
    ///
    /// # Errors
    /// Kinds of the store.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Error>;

    /// Does all writes of `txn` if all its expectations hold, else nothing; durable on return. Returns the version
    /// that every put of this transaction got. Deleting a key that does not exist is no error.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an expectation does not hold: read again, then decide again. Kind `Invalid` for a
    /// transaction that names a key twice in its writes or is too large. Kind `Unavailable` leaves open whether the
    /// transaction happened; one with a [mark](Txn::mark) that replaces a record of an expected version is asked for again
    /// before that is said.
    async fn commit(&self, txn: Txn) -> Result<u64, Error>;
}
