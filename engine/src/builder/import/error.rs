//! Why files are not imported.

use crate::base::{Kind, Kinded};
use crate::{blob, intake, segment};

/// What is wrong with files or their rows; the texts are shown to whoever asked for the import.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("file {file} is not there")]
    Missing {
        /// Its path.
        file: String,
    },
    /// A path that names no file that may be imported.
    #[error("file {file} cannot be imported: {why}")]
    BadPath {
        /// The path.
        file: String,
        /// Why not.
        why: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read file {file}")]
    Read {
        /// Its path.
        file: String,
        /// Why not.
        #[source]
        source: blob::Error,
    },
    /// A file is larger than files may be.
    #[error("file {file} has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its path.
        file: String,
        /// Its size.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// There are more files in folders than there may be.
    #[error("there are more than {limit} files")]
    TooMany {
        /// The most.
        limit: usize,
    },
    /// Files of no known format, of several, or too many of one.
    #[error("{why}")]
    Format {
        /// What is wrong.
        why: String,
    },
    /// A file that is not what its name says.
    #[error("file {file} is no {format} file: {why}")]
    Malformed {
        /// Its path.
        file: String,
        /// The format that it should have.
        format: &'static str,
        /// What is wrong.
        why: String,
    },
    /// What a file has does not fit the collection.
    #[error("file {file}: {why}")]
    Unfit {
        /// Its path.
        file: String,
        /// What does not fit.
        why: String,
    },
    /// A value that is not of its field's type.
    #[error("file {file}, row {row}: {why}")]
    Value {
        /// The file's path.
        file: String,
        /// The row, from 0.
        row: u64,
        /// What is wrong.
        why: String,
    },
    /// Rows that the collection does not take.
    #[error("file {file}, counting rows from row {first}")]
    Rows {
        /// The file's path.
        file: String,
        /// The row, from 0, that is row 0 of what is said of it.
        first: u64,
        /// What is wrong.
        #[source]
        source: intake::Error,
    },
    /// New segments could not be stored.
    #[error("cannot store imported rows")]
    Store {
        /// Why not.
        #[source]
        source: segment::Error,
    },
    /// The work ended by a defect.
    #[error("the import broke off: {why}")]
    Broke {
        /// How.
        why: String,
    },
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } => match source.kind() {
                // It was there a moment ago, or its name is none: neither gets better.
                Kind::NotFound => Kind::Invalid,
                kind => kind,
            },
            Self::Store { source } => source.kind(),
            Self::Rows { source, .. } => source.kind(),
            Self::Broke { .. } => Kind::Internal,
            Self::Missing { .. }
            | Self::BadPath { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Format { .. }
            | Self::Malformed { .. }
            | Self::Unfit { .. }
            | Self::Value { .. } => Kind::Invalid,
        }
    }
}
