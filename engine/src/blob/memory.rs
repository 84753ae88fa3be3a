//! Objects in memory, for tests and simulation.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::key::{bad_range, check_key, check_prefix};
use super::{BlobEntry, Blobs, Error};

/// Objects in memory. They last as long as this value.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryBlobs {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn create(&self, key: &str, body: Bytes) -> Result<(), Error> {
        check_key(key)?;
        let mut objects = self.objects.lock();
        if objects.contains_key(key) {
            return Err(Error::Exists { key: key.to_owned() });
        }
        objects.insert(key.to_owned(), body);
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        check_key(key)?;
        self.objects.lock().get(key).cloned().ok_or_else(|| Error::NotFound { key: key.to_owned() })
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        check_key(key)?;
        if range.start == range.end {
            return Ok(Bytes::new());
        }
        let body = self.read(key).await?;
        let start = usize::try_from(range.start).unwrap_or(usize::MAX);
        let end = usize::try_from(range.end).unwrap_or(usize::MAX);
        if start > end || end > body.len() {
            return Err(bad_range(key, &range));
        }
        Ok(body.slice(start..end))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        check_prefix(prefix)?;
        let objects = self.objects.lock();
        let found = objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, body)| BlobEntry { key: key.clone(), size_bytes: body.len() as u64 });
        Ok(found.collect())
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.objects.lock().remove(key);
        Ok(())
    }
}
