//! The composition root: reads settings, builds each seam once, makes the duties of the role, introduces them to each
//! other, starts and stops them. No logic on data.

mod adopt;
mod altered;
mod duties;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod growth;
mod identity;
mod leave;
mod lookout;
mod machine;
mod management;
mod meter;
mod operations;
mod process;
mod reread;
mod seams;
mod settings;
mod stores;
mod usage;
mod wire;

pub use adopt::{adopt, rebuild_catalog};
pub use duties::{Door, Node, NodeCalls, NodeSeams, Publish};
pub use growth::{Idle, MoveParts, Moved, Source, move_directory};
pub use process::{Running, Surroundings, run, trace_settings};
pub use reread::Sources;
pub use seams::open_seams;
pub use settings::{Flags, Loaded, default_of, load};

use std::path::PathBuf;
use std::time::Duration;

use crate::base::Kinded;
use crate::{blob, coord, log, meta, rpc, secure};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    ReadFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A configuration file is not YAML.
    #[error("the configuration file {} is not valid{}", path.display(), line.map_or(String::new(), |line| format!(" at line {line}")))]
    BadFile {
        /// Which file.
        path: PathBuf,
        /// Where, if that is known.
        line: Option<usize>,
        /// Why.
        #[source]
        source: serde_yaml::Error,
    },
    /// A setting has a value of the wrong type.
    #[error("the setting {key} from {origin} is not usable")]
    BadSetting {
        /// Which setting.
        key: String,
        /// Where it came from.
        origin: String,
        /// Why.
        #[source]
        source: Box<figment::Error>,
    },
    /// A setting is another one than at the start, and cannot change without a restart.
    #[error("the setting {key} cannot change while the process runs")]
    FixedSetting {
        /// Which setting.
        key: &'static str,
    },
    /// A section of texts is something else. What it is is not shown: it may be a secret.
    #[error("the setting {key} from {origin} should be a section of texts")]
    NotTexts {
        /// Which setting.
        key: String,
        /// Where it came from.
        origin: String,
    },
    /// A setting is out of its range.
    #[error("a setting is out of its range")]
    OutOfRange {
        /// Which, and how.
        #[source]
        source: contract::settings::OutOfRange,
    },
    /// The data directory could not be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDirectory {
        /// Which directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data directory was moved to a cluster.
    #[error("the data directory {} was moved to {to}, and only what is there counts", path.display())]
    DataMoved {
        /// Which directory.
        path: PathBuf,
        /// Where it was moved to.
        to: String,
    },
    /// What is to be moved somewhere would be mixed with something else.
    #[error("{place} is not empty: it has {found}")]
    TargetNotEmpty {
        /// Where it was to go.
        place: String,
        /// What is there.
        found: String,
    },
    /// The source of a move does not do its part.
    #[error("cannot {doing} the source")]
    Source {
        /// What was asked of it.
        doing: &'static str,
        /// Why not.
        #[source]
        source: rpc::Error,
    },
    /// What is new in the source comes faster than it can be moved.
    #[error("what is new cannot be copied within {} s", pause.as_secs_f64())]
    TooSlow {
        /// The longest time without writes.
        pause: Duration,
    },
    /// Progress could not be shown.
    #[error("cannot write the progress")]
    Output {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("the data directory {} is in use by another process", path.display())]
    DataDirectoryInUse {
        /// Which directory.
        path: PathBuf,
    },
    /// The blob store could not be opened.
    #[error("cannot open the blob store")]
    OpenBlobs {
        /// Why.
        #[source]
        source: blob::Error,
    },
    /// A store or log does not let us in: nobody but who wrote the settings can change that.
    #[error("{what} refuses us: look at {settings}")]
    Refused {
        /// What, and where.
        what: String,
        /// Which settings say who we are.
        settings: &'static str,
        /// What it said.
        #[source]
        source: Box<Error>,
    },
    /// The blob store belongs to another cluster, or the metadata of this one was lost.
    #[error("the blob store belongs to the cluster {theirs}, but the metadata is of {ours}")]
    ForeignStore {
        /// Whose it is.
        theirs: String,
        /// Who we are.
        ours: String,
    },
    /// The metadata of the blob store's cluster is not where it should be.
    #[error(
        "the blob store belongs to the cluster {cluster}, and the metadata is empty: restore it, or make it anew with `redkite ctl rebuild`"
    )]
    CatalogLost {
        /// Whose store it is.
        cluster: String,
    },
    /// The metadata was replaced by one that was made anew from the blob store.
    #[error(
        "this metadata is of generation {own}; the catalog was moved, or made anew, and is of generation {newest} elsewhere"
    )]
    CatalogMoved {
        /// What is here.
        own: u64,
        /// What the blob store says.
        newest: u64,
    },
    /// The catalog is being made anew, or waits for a coordinator to take it over.
    #[error("the catalog is being made anew")]
    CatalogWaits,
    /// The copy of the catalog in the blob store is of no use.
    #[error("cannot work on the catalog in the blob store")]
    Catalog {
        /// Why.
        #[source]
        source: coord::Error,
    },
    /// The blob store was written by a later version.
    #[error("the blob store has layout {layout}, which needs a version that reads {oldest_reader} or later")]
    NewerStore {
        /// Its layout.
        layout: u32,
        /// Layout that a reader must know at least.
        oldest_reader: u32,
    },
    /// The object that says whose the blob store is makes no sense.
    #[error("the object redkite.json of the blob store cannot be understood")]
    BadIdentity {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The metadata is of a cluster that writes later formats, or does not say which.
    #[error("this version cannot take part in the cluster")]
    Format {
        /// Why.
        #[source]
        source: coord::Error,
    },
    /// The metadata could not be opened.
    #[error("cannot open the metadata")]
    OpenMetas {
        /// Why.
        #[source]
        source: meta::Error,
    },
    /// The log could not be opened.
    #[error("cannot open the log")]
    OpenLogs {
        /// Why.
        #[source]
        source: log::Error,
    },
    /// A role needs metadata that every process of its cluster sees, and none is set.
    #[error("the role {role} needs etcd.endpoints, or a coordinator that has it")]
    NoCatalog {
        /// Which role.
        role: &'static str,
    },
    /// The object store cannot hold the log.
    #[error("the object store cannot hold the log: {why}; set mq.type to kafka, or use another store")]
    UnfitForLog {
        /// What was seen.
        why: String,
    },
    /// A certificate, key or token cannot be used.
    #[error("cannot secure {what}")]
    Secure {
        /// Which connections.
        what: &'static str,
        /// Why.
        #[source]
        source: secure::Error,
    },
    /// Models cannot be asked.
    #[error("cannot call services that compute with models: {why}")]
    ModelCalls {
        /// Why.
        why: String,
    },
    /// A role of a cluster needs an object store.
    #[error("the role {role} needs minio.address: sealed data of a cluster is in an object store")]
    NoBucket {
        /// Which role.
        role: &'static str,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Kinded for Error {
    fn kind(&self) -> crate::base::Kind {
        match self {
            Self::ReadFile { source, .. }
            | Self::Output { source }
            | Self::DataDirectory { source, .. }
            | Self::Listen { source, .. } => Kinded::kind(source),
            Self::BadFile { .. }
            | Self::BadSetting { .. }
            | Self::NotTexts { .. }
            | Self::OutOfRange { .. } => crate::base::Kind::Invalid,
            Self::DataDirectoryInUse { .. }
            | Self::ForeignStore { .. }
            | Self::CatalogLost { .. }
            | Self::DataMoved { .. }
            | Self::TargetNotEmpty { .. }
            | Self::CatalogMoved { .. } => crate::base::Kind::Conflict,
            Self::Source { source, .. } => source.kind(),
            Self::TooSlow { .. } => crate::base::Kind::Exhausted,
            Self::CatalogWaits => crate::base::Kind::Unavailable,
            Self::Catalog { source } => source.kind(),
            Self::NewerStore { .. }
            | Self::UnfitForLog { .. }
            | Self::NoCatalog { .. }
            | Self::NoBucket { .. } => crate::base::Kind::Invalid,
            Self::FixedSetting { .. } | Self::ModelCalls { .. } => crate::base::Kind::Invalid,
            Self::Refused { source, .. } => source.kind(),
            Self::BadIdentity { .. } => crate::base::Kind::Corrupt,
            Self::OpenBlobs { source } => source.kind(),
            Self::Format { source } => source.kind(),
            Self::OpenMetas { source } => source.kind(),
            Self::OpenLogs { source } => source.kind(),
            Self::Secure { source, .. } => source.kind(),
        }
    }
}
