//! What can go wrong with a segment.

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
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { source, .. } | Self::Read { source, .. } | Self::Remove { source, .. } => {
                source.kind()
            }
            Self::Damaged { .. } | Self::Parquet { reading: true, .. } => Kind::Corrupt,
            Self::Index { source, .. } | Self::Interim { source, .. } | Self::Block { source } => {
                source.kind()
            }
            Self::TooNew { .. } | Self::NoVectors { .. } => Kind::Invalid,
            Self::Columns { .. }
            | Self::Ragged { .. }
            | Self::Broke { .. }
            | Self::Parquet { reading: false, .. } => Kind::Internal,
        }
    }
}
