//! Records in memory, for tests and simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::txn::check_key;
use super::{Error, Metas, Txn, Versioned, Write};

/// Records in memory. They last as long as this value.
#[derive(Debug, Default)]
pub struct MemoryMetas {
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    records: BTreeMap<String, Versioned>,
    last_version: u64,
}

impl MemoryMetas {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
}

#[async_trait]
impl Metas for MemoryMetas {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, Error> {
        check_key(key)?;
        Ok(self.store.lock().records.get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, Error> {
        let store = self.store.lock();
        let found = store
            .records
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, record)| (key.clone(), record.clone()));
        Ok(found.collect())
    }

    async fn commit(&self, txn: Txn) -> Result<u64, Error> {
        txn.check()?;
        let mut store = self.store.lock();
        let broken = txn.expect.iter().find(|expect| {
            let found = store.records.get(expect.key()).map(|record| record.version);
            !expect.holds(found)
        });
        if let Some(broken) = broken {
            return Err(Error::Conflict { key: broken.key().to_owned() });
        }
        store.last_version += 1;
        let version = store.last_version;
        for write in txn.writes {
            match write {
                Write::Put { key, value } => {
                    store.records.insert(key, Versioned { value, version });
                }
                Write::Delete { key } => {
                    store.records.remove(&key);
                }
            }
        }
        Ok(version)
    }
}
