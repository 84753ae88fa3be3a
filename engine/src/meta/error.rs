//! What can go wrong with a metadata record.

use std::fmt;

use crate::base::{Kind, Kinded};

/// What the store was asked to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Opening the store.
    Open,
    /// Reading records.
    Read,
    /// Committing a transaction.
    Commit,
}

impl fmt::Display for Doing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Open => "open the metadata store",
            Self::Read => "read metadata",
            Self::Commit => "commit metadata",
        })
    }
}

/// Why a call of [`super::Metas`] failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expectation of a transaction does not hold.
    #[error("the metadata record {key} is not what the transaction expects")]
    Conflict {
        /// The first such key.
        key: String,
    },
    /// A key or transaction breaks the rules of [`super::Metas`].
    #[error("the metadata call on {key:?} is malformed: {why}")]
    Malformed {
        /// The key.
        key: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The store holds bytes that this store did not write.
    #[error("the metadata record {key} is damaged: {why}")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A setting cannot work.
    #[error("the setting {setting} of the metadata store does not work: {why}")]
    BadSetting {
        /// The setting, by the name that users know.
        setting: &'static str,
        /// What is wrong with it; never a secret.
        why: String,
    },
    /// A file that one process at a time may use is open already.
    #[error("the metadata store {place} is in use by another process")]
    InUse {
        /// Which file.
        place: String,
    },
    /// The store failed.
    #[error("cannot {doing}: {place}")]
    Store {
        /// What was attempted.
        doing: Doing,
        /// File or address.
        place: String,
        /// The kind that the failure stands for.
        kind: Kind,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Conflict { .. } => Kind::Conflict,
            Self::Malformed { .. } | Self::BadSetting { .. } => Kind::Invalid,
            Self::Damaged { .. } => Kind::Corrupt,
            Self::InUse { .. } => Kind::Unavailable,
            Self::Store { kind, .. } => *kind,
        }
    }
}
