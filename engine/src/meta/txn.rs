//! A transaction as a value.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Error;

const MAX_KEY_BYTES: usize = 1024;
const MAX_VALUE_BYTES: usize = 1 << 20;
const MAX_STEPS: usize = 128;

/// What must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no record under the key.
    Absent {
        /// The key.
        key: String,
    },
    /// The record under the key has exactly this version.
    Version {
        /// The key.
        key: String,
        /// The version that a read gave.
        version: u64,
    },
}

impl Expect {
    /// The key it is about.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Absent { key } | Self::Version { key, .. } => key,
        }
    }

    /// Whether it holds for a key whose record has the version `found`.
    pub(super) fn holds(&self, found: Option<u64>) -> bool {
        match self {
            Self::Absent { .. } => found.is_none(),
            Self::Version { version, .. } => found == Some(*version),
        }
    }
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The key gets this value and the transaction's version.
    Put {
        /// The key.
        key: String,
        /// The new content.
        value: Bytes,
    },
    /// The key has no record any more.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// The key it changes.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Changes that happen together if all expectations hold.
///
/// `Txn::new().expect_absent("a").put("a", value).delete("b")`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold, all of it.
    pub expect: Vec<Expect>,
    /// What then happens, all of it. A key appears at most once.
    pub writes: Vec<Write>,
    /// A key of `writes` under which it puts what no other transaction ever puts: where that is found, this one has happened.
    /// A store that asks twice knows by it what became of the first time.
    pub mark: Option<String>,
}

impl Txn {
    /// Nothing expected, nothing to write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Expects that `key` has no record.
    #[must_use]
    pub fn expect_absent(mut self, key: impl Into<String>) -> Self {
        self.expect.push(Expect::Absent { key: key.into() });
        self
    }

    /// Expects that the record under `key` still has `version`.
    #[must_use]
    pub fn expect_version(mut self, key: impl Into<String>, version: u64) -> Self {
        self.expect.push(Expect::Version { key: key.into(), version });
        self
    }

    /// Puts `value` under `key`.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    /// Deletes the record under `key`.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Puts `value` under `key`, where no other transaction ever puts the same.
    #[must_use]
    pub fn mark(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        let key = key.into();
        self.mark = Some(key.clone());
        self.put(key, value)
    }

    /// What it puts under the key that marks it.
    pub(super) fn marked(&self) -> Option<(&str, &Bytes)> {
        let mark = self.mark.as_ref()?;
        self.writes.iter().find_map(|write| match write {
            Write::Put { key, value } if key == mark => Some((key.as_str(), value)),
            Write::Put { .. } | Write::Delete { .. } => None,
        })
    }

    /// Refuses what not every implementation could do.
    pub(super) fn check(&self) -> Result<(), Error> {
        let looks = self.expect.len() + usize::from(self.mark.is_some());
        if looks > MAX_STEPS || self.writes.len() > MAX_STEPS {
            let first = self.writes.first().map(Write::key).or(self.expect.first().map(Expect::key));
            let why = "a transaction has at most 128 expectations, its mark among them, and 128 writes";
            return Err(Error::Malformed { key: first.unwrap_or_default().to_owned(), why });
        }
        for expect in &self.expect {
            check_key(expect.key())?;
        }
        let mut written = BTreeSet::new();
        for write in &self.writes {
            let key = write.key();
            check_key(key)?;
            if !written.insert(key) {
                let why = "a transaction writes a key at most once";
                return Err(Error::Malformed { key: key.to_owned(), why });
            }
            if matches!(write, Write::Put { value, .. } if value.len() > MAX_VALUE_BYTES) {
                return Err(Error::Malformed { key: key.to_owned(), why: "a value is at most 1 MiB" });
            }
        }
        Ok(())
    }
}

/// Refuses a key that not every implementation could hold.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let why = "a key has 1 to 1024 bytes";
        return Err(Error::Malformed { key: key.chars().take(64).collect(), why });
    }
    Ok(())
}
