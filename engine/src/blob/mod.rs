//! Object storage: whole immutable objects under keys. Knows keys and bytes, not what an object means.
//!
//! A key is relative, its parts joined by `/`; the implementation puts its own root before it. An object is written
//! once and never changed: who wants another content writes another key. There is no rename, no append and no lock;
//! ordering between objects is the business of `meta`.

mod cached;
mod cloud;
#[cfg(test)]
mod conformance;
mod error;
#[cfg(any(test, feature = "sim"))]
mod faulty;
mod key;
mod local;
mod memory;
mod probe;
mod s3;
mod trust;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use cached::{CacheCounters, CachedBlobs, DiskCacheSettings};
pub use cloud::{AzureCredentials, CloudBlobs, CloudSettings, GoogleCredentials, Provider};
pub use error::{Doing, Error};
#[cfg(any(test, feature = "sim"))]
pub use faulty::{Fault, FaultPlan, FaultyBlobs};
pub use local::LocalBlobs;
pub use memory::MemoryBlobs;
pub use probe::{ProbeSettings, Verdict, keeps_creates_apart};
pub use s3::{Addressing, S3Blobs, S3Credentials, S3Settings};
pub use trust::client_config;

/// One object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// The key, relative to the store's root as in every call.
    pub key: String,
    /// Length of the object. Unit: bytes.
    pub size_bytes: u64,
}

/// The whole bucket of a store, in which others put their objects.
#[derive(Clone)]
pub struct Outside {
    /// Only to read and to list. Keys are those of the bucket.
    pub blobs: Arc<dyn Blobs>,
    /// What the keys of our own objects begin with there; ends with a slash.
    pub root: String,
}

/// Object storage as this engine needs it: immutable objects, conditional create.
///
/// Keys: 1 to 900 bytes of UTF-8 without control characters and backslashes; parts between `/` are not empty, at most
/// 200 bytes long and do not begin with `.`. A key must not be another key followed by `/` and more, since a directory
/// cannot be a file. A key outside these rules is [`Error::BadKey`] in every call.
///
/// After `create` has returned, every call of every client sees the object, whatever is switched off. Every call ends
/// within the implementation's time limits. All calls are cancel safe in this sense: a dropped `create` has stored
/// the whole object or nothing, a dropped `delete` may have happened.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores `body` durably under `key` unless the key is taken. Of several concurrent calls for one key one wins.
    ///
    /// # Errors
    /// [`Error::Exists`] if the key is taken, and nothing was changed: the caller lost a race and must look again.
    /// Kind `Unavailable` leaves open whether the object was stored.
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error>;

    /// The whole object.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    async fn read(&self, key: &str) -> Result<Bytes, Error>;

    /// The bytes `range` of the object, exactly as many as asked for. An empty range gives no bytes without asking
    /// the store whether the object exists.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such object, [`Error::BadRange`] if the range runs backwards or ends after
    /// the object does.
    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error>;

    /// Every object whose key starts with `prefix` as text (`a/1` finds `a/1` and `a/10/x`; an empty prefix finds
    /// all), ascending by the bytes of the key. Objects created or deleted meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`Error::BadKey`] for a prefix that no key can start with; kinds of the store otherwise.
    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error>;

    /// Removes the object; no error if there is none. A crash of the machine may bring it back.
    ///
    /// # Errors
    /// Kinds of the store.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// What was read under `key` is not what was written: whatever is kept of it between here and the store is forgotten.
    /// Keys and their objects stay as they are.
    async fn distrust(&self, _key: &str) {}

    /// Objects of others in the same bucket; `None` where there is no place for them but among ours.
    fn outside(&self) -> Option<Outside> {
        None
    }

    /// Whether `create` is guarded against races as far as this client knows; `false` once the server has said that it
    /// knows no conditional writes. [`keeps_creates_apart`] finds out what a server does in truth.
    fn guards_creates(&self) -> bool {
        true
    }
}
