//! Runs the steps of a reconcile, picks the delay of the next one, and writes the status.
//!
//! fetch → check → render → apply → report; for resource groups and collections: look → decide → act → look again → report.
//! Builds no object and decides no step itself.

mod apply;
mod beside;
mod certificates;
mod collection;
mod controller;
mod doors;
mod find;
mod group;
mod meters;
mod milvus;
mod remove;
mod requeue;
mod rollout;
mod scaling;
mod serve;
mod superseded;
#[cfg(test)]
mod tests;
mod topology;
#[cfg(test)]
mod topology_tests;
mod upgrade;

use thiserror::Error;

use crate::cluster;
use crate::crd::BadObject;

pub use controller::{RunError, Settings, run};
pub use meters::Meters;
pub use milvus::Driver;
pub use requeue::{Next, delay};
pub use scaling::Windows;

/// Why a reconcile ended early.
#[derive(Debug, Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("cannot {step} the Milvus object")]
    Step {
        /// The step that failed.
        step: &'static str,
        /// Why.
        #[source]
        source: cluster::Error,
    },
    /// The object is not a `Milvus`.
    #[error("cannot read the Milvus object")]
    Read {
        /// Why.
        #[source]
        source: BadObject,
    },
    /// The machine has no randomness to give.
    #[error("cannot draw a secret for the Milvus object")]
    Random {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate could not be issued.
    #[error("cannot issue certificates for the Milvus object")]
    Certificate {
        /// Why.
        #[source]
        source: crate::certificates::Error,
    },
    /// The image catalog is wrong.
    #[error("cannot read the image catalog")]
    Catalog {
        /// Why.
        #[source]
        source: crate::render::BadCatalog,
    },
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> cluster::Kind {
        match self {
            Self::Step { source, .. } => source.kind(),
            Self::Random { .. } => cluster::Kind::Unavailable,
            Self::Certificate { .. } => cluster::Kind::Internal,
            Self::Read { .. } | Self::Catalog { .. } => cluster::Kind::Invalid,
        }
    }
}

/// Names the step in a failed call.
fn step(step: &'static str) -> impl FnOnce(cluster::Error) -> Error {
    move |source| Error::Step { step, source }
}
