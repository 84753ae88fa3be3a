//! What can go wrong with an object.

use std::fmt;

use crate::base::{Kind, Kinded};

/// What the store was asked to do when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Opening the store.
    Open,
    /// Storing an object.
    Create,
    /// Reading an object or a part of it.
    Read,
    /// Listing objects.
    List,
    /// Deleting an object.
    Delete,
}

impl fmt::Display for Doing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Open => "open the object store at",
            Self::Create => "store the object",
            Self::Read => "read the object",
            Self::List => "list the objects under",
            Self::Delete => "delete the object",
        })
    }
}

/// Why a call of [`super::Blobs`] failed. Texts name keys, never credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key to create is taken.
    #[error("the object {key} exists already")]
    Exists {
        /// The key.
        key: String,
    },
    /// There is no such object.
    #[error("there is no object {key}")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The key or prefix breaks the rules of [`super::Blobs`].
    #[error("{key:?} is no object key: {why}")]
    BadKey {
        /// The key or prefix.
        key: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The range is not within the object.
    #[error("bytes {start}..{end} are not within the object {key}")]
    BadRange {
        /// The key.
        key: String,
        /// First byte asked for.
        start: u64,
        /// First byte not asked for.
        end: u64,
    },
    /// A setting of the store cannot be used.
    #[error("the object store's setting {setting} cannot be used: {why}")]
    BadSetting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The local file system failed.
    #[error("cannot {doing} {key}")]
    Local {
        /// What was attempted.
        doing: Doing,
        /// On which key, prefix or directory.
        key: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The remote store failed or refused.
    #[error("cannot {doing} {key}")]
    Remote {
        /// What was attempted.
        doing: Doing,
        /// On which key, prefix or bucket.
        key: String,
        /// The kind that the store's answer stands for.
        kind: Kind,
        /// What the client library said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } => Kind::Exists,
            Self::NotFound { .. } => Kind::NotFound,
            Self::BadKey { .. } | Self::BadRange { .. } | Self::BadSetting { .. } => Kind::Invalid,
            Self::Local { source, .. } => Kinded::kind(source),
            Self::Remote { kind, .. } => *kind,
        }
    }
}
