//! What can go wrong with a segment.

use std::fmt;

use super::object::part_of;
use crate::base::{Kind, Kinded, SegmentId};
use crate::{blob, index, model};

/// Why a segment could not be written, loaded or indexed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store could not keep an object.
    #[error("cannot write the object {key} of a segment")]
    Write {
        /// The object's key.
        key: String,
        /// What the store said.
        #[source]
        source: blob::Error,
    },
    /// The object store could not give an object.
    #[error("cannot read the object {key} of a segment")]
    Read {
        /// The object's key.
        key: String,
        /// What the store said.
        #[source]
        source: blob::Error,
    },
    /// The object store could not remove an object.
    #[error("cannot remove the object {key} of a segment")]
    Remove {
        /// The object's key, or the prefix of several.
        key: String,
        /// What the store said.
        #[source]
        source: blob::Error,
    },
    /// The vectors of an object could not be put on the disk, where they are to lie.
    #[error("cannot put the vectors of {key} on the disk")]
    Scratch {
        /// The object's key.
        key: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An object is not what was written.
    #[error("the object {key} is damaged: {what}")]
    Damaged {
        /// The object's key.
        key: String,
        /// What did not fit.
        what: &'static str,
    },
    /// An object was written by a later version.
    #[error("the object {key} has format version {version}, which this program does not read")]
    TooNew {
        /// The object's key.
        key: String,
        /// Its version.
        version: u32,
    },
    /// Scalar columns could not be encoded or decoded.
    #[error("cannot convert the scalar columns of {key}")]
    Parquet {
        /// The object's key.
        key: String,
        /// Whether bytes were read, so that the object is to blame.
        reading: bool,
        /// What the Parquet library said.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Columns that belong together differ in type.
    #[error("cannot put the columns of some rows together")]
    Columns {
        /// Which types.
        #[source]
        source: model::TypeMismatch,
    },
    /// Vectors of some rows could not be put into a block.
    #[error("cannot hold the vectors of some rows")]
    Block {
        /// What the block said.
        #[source]
        source: index::Error,
    },
    /// An index could not be made, or not be read.
    #[error("cannot index segment {segment}")]
    Index {
        /// The segment.
        segment: SegmentId,
        /// What the index said.
        #[source]
        source: index::Error,
    },
    /// An interim index could not be made.
    #[error("cannot index rows that are not sealed by their field {field}")]
    Interim {
        /// The field.
        field: crate::base::FieldId,
        /// What the index said.
        #[source]
        source: index::Error,
    },
    /// The field to index is not among the segment's vectors.
    #[error("segment {segment} has no vectors of field {field} to index")]
    NoVectors {
        /// The segment.
        segment: SegmentId,
        /// The field.
        field: crate::base::FieldId,
    },
    /// A column or the times have another length than the rows.
    #[error("some rows are not whole: {what}")]
    Ragged {
        /// What did not fit.
        what: &'static str,
    },
    /// A thread ended by a defect.
    #[error("the work on segment {segment} broke off: {cause}")]
    Broke {
        /// The segment.
        segment: SegmentId,
        /// What the runtime said.
        cause: String,
    },
    /// What a function fills could not be computed.
    #[error("cannot compute what a function fills in segment {segment}: {cause}")]
    Compute {
        /// The segment.
        segment: SegmentId,
        /// What the function said.
        cause: String,
    },
}

impl Error {
    /// What is to blame if an object is not there or not what was written, in words for whoever asks for data: which part of
    /// a segment, and no more.
    #[must_use]
    pub fn harm(&self) -> Option<Harm> {
        let (key, is_lost) = match self {
            Self::Read { key, source } => match source.kind() {
                Kind::NotFound => (key, true),
                Kind::Corrupt => (key, false),
                _ => return None,
            },
            Self::Damaged { key, .. } | Self::Parquet { key, reading: true, .. } => (key, false),
            Self::Write { .. }
            | Self::Remove { .. }
            | Self::Scratch { .. }
            | Self::TooNew { .. }
            | Self::Parquet { reading: false, .. }
            | Self::Columns { .. }
            | Self::Block { .. }
            | Self::Index { .. }
            | Self::Interim { .. }
            | Self::NoVectors { .. }
            | Self::Ragged { .. }
            | Self::Broke { .. }
            | Self::Compute { .. } => return None,
        };
        Some(Harm { part: part_of(key), is_lost })
    }
}

/// What is damaged or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Harm {
    /// Such as "vectors".
    pub part: &'static str,
    /// Whether the object is not there at all.
    pub is_lost: bool,
}

impl fmt::Display for Harm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.is_lost { "lost" } else { "damaged" })
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { source, .. } | Self::Read { source, .. } | Self::Remove { source, .. } => {
                source.kind()
            }
            Self::Scratch { .. } => Kind::Unavailable,
            Self::Damaged { .. } | Self::Parquet { reading: true, .. } => Kind::Corrupt,
            Self::Index { source, .. } | Self::Interim { source, .. } | Self::Block { source } => {
                source.kind()
            }
            Self::TooNew { .. } | Self::NoVectors { .. } => Kind::Invalid,
            Self::Columns { .. }
            | Self::Ragged { .. }
            | Self::Broke { .. }
            | Self::Compute { .. }
            | Self::Parquet { reading: false, .. } => Kind::Internal,
        }
    }
}
