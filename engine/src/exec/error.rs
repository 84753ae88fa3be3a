//! Why a plan could not be run.

use crate::base::{FieldId, Kind, Kinded};
use crate::{expr, model, plan, segment};

/// Why a plan could not be run. Texts of kind `Invalid` are in the words that Milvus's clients know.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index refuses a parameter or a query vector, or failed.
    #[error(transparent)]
    Search {
        /// What the index said.
        source: segment::SearchError,
    },
    /// The filter could not be evaluated.
    #[error(transparent)]
    Filter {
        /// What the filter said.
        source: expr::Error,
    },
    /// Columns of two segments differ in type.
    #[error("cannot put the output of segments together")]
    Columns {
        /// Which types.
        #[source]
        source: model::TypeMismatch,
    },
    /// Rows have aggregates that may not be.
    #[error(transparent)]
    Aggregates {
        /// Which.
        source: plan::Error,
    },
    /// The plan names a field that the schema lacks.
    #[error("field {field} is not in the schema")]
    NoField {
        /// The field.
        field: FieldId,
    },
    /// A thread of the search ended by a defect.
    #[error("a search thread broke off")]
    Broke,
}

impl Error {
    /// The field that the plan names and this schema lacks: a later one may have it, or it was dropped.
    #[must_use]
    pub const fn lacking(&self) -> Option<FieldId> {
        match self {
            Self::NoField { field } | Self::Filter { source: expr::Error::Column { field } } => Some(*field),
            _ => None,
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Search { source } => source.kind(),
            Self::Filter { source } => source.kind(),
            Self::Aggregates { source } => source.kind(),
            Self::Columns { .. } | Self::Broke => Kind::Internal,
            Self::NoField { .. } => Kind::Invalid,
        }
    }
}
