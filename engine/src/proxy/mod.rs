//! The door: Milvus's public gRPC API and REST API over the calls between duties.
//!
//! Converts requests to plans and rows, routes rows to channels, and turns every failure into Milvus's words and code.
//! Holds no data and decides nothing about it; storage, indexes and the catalog are other duties' rooms.

mod access;
mod api;
mod convert;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod limits;
mod serve;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "fuzz"))]
#[cfg_attr(not(test), allow(dead_code, reason = "some of it is for claims of tests"))]
mod twin;

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(test, feature = "fuzz"))]
pub use access::fuzz as access_fuzz;
pub use access::{AccessSettings, Gate, Refused};
pub use error::Error;
pub use limits::{Asked, LimitSettings, MB, Rate};
pub use serve::{administrators, serve};

use access::Access;
use limits::Limits;

use crate::base::{Clock, Kind, NodeTime};
use crate::inference::Models;
use crate::rpc::{Coord, Measured, NodeInfo, Reader, Writer};

/// What the proxy tells clients about itself, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// The version of Milvus that clients are told: they switch features by it.
    pub version: String,
    /// What was built, for people: `git_commit` of `Connect`.
    pub commit: String,
    /// When it was built, for people.
    pub built_at: String,
    /// Whether its process is all there is of the database.
    pub is_alone: bool,
    /// Largest request over gRPC. Unit: bytes.
    pub max_request_bytes: usize,
    /// Largest answer over gRPC. Unit: bytes.
    pub max_answer_bytes: usize,
    /// Reads that take so long are told in the log.
    pub slow_query: Option<Duration>,
    /// How far back reads may go in collections that do not say so. Unit: seconds.
    pub retention_s: u64,
}

impl Default for ProxySettings {
    /// Milvus 3.0.1, 64 MiB in, 256 MiB out. Source: wire specification 1.0.
    fn default() -> Self {
        Self {
            version: "3.0.1".to_owned(),
            commit: "unknown".to_owned(),
            built_at: "unknown".to_owned(),
            is_alone: true,
            max_request_bytes: 64 << 20,
            max_answer_bytes: 256 << 20,
            slow_query: Some(Duration::from_secs(5)),
            retention_s: 0,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was done.
    Done,
    /// It failed, by a failure of this kind.
    Failed(Kind),
    /// Nobody waited for its end any more.
    GivenUp,
}

/// Where the proxy counts what it does. `call` is the RPC's name (`Search`), `kind` Milvus's name of what carries rows
/// (`search`).
pub trait Meter: Send + Sync + 'static {
    /// A request came.
    fn began(&self, call: &'static str);

    /// A request ended. `kind` is of those that carry rows.
    fn ended(&self, call: &'static str, kind: Option<&'static str>, end: Ended, took: Duration);

    /// Rows went in (`Insert`, `Upsert`) or keys went out (`Delete`).
    fn changed(&self, call: &'static str, rows: usize);

    /// Nearest neighbours of so many vectors are looked for.
    fn searched(&self, queries: usize);

    /// A request of so many bytes came.
    fn received(&self, kind: &'static str, bytes: usize);

    /// An answer of so many bytes goes out.
    fn sent(&self, bytes: usize);

    /// A read took longer than one should.
    fn slow(&self, kind: &'static str);
}

/// Says how the object store failed when its process looked last; nothing if it answered, or too few looks have failed. At
/// once: nobody is waited for.
pub type StoreSeen = Arc<dyn Fn() -> Option<Kind> + Send + Sync>;

/// What the proxy is made of.
#[derive(Clone)]
pub struct ProxyParts {
    /// The catalog.
    pub coord: Arc<dyn Coord>,
    /// Where rows go.
    pub writer: Arc<dyn Writer>,
    /// Who answers reads.
    pub reader: Arc<dyn Reader>,
    /// How long things take.
    pub clock: Arc<dyn Clock>,
    /// What time it is, as the cluster has it.
    pub time: Arc<NodeTime>,
    /// Limits and versions.
    pub settings: ProxySettings,
    /// Counters, if anybody wants them.
    pub meter: Option<Arc<dyn Meter>>,
    /// How users are checked.
    pub access: AccessSettings,
    /// How much may be asked for.
    pub limits: LimitSettings,
    /// Who is asked for what models compute.
    pub models: Arc<Models>,
    /// The node that the proxy is on, as it introduces itself.
    pub node: NodeInfo,
    /// Says what its process takes of its machine, if that is measured.
    pub usage: Option<Measured>,
    /// Says whether the object store fails, if its process looks at it.
    pub store: Option<StoreSeen>,
}

/// The proxy's service. Cloning shares it.
#[derive(Clone)]
pub struct Proxy {
    parts: Arc<ProxyParts>,
    access: Arc<Access>,
    limits: Arc<Limits>,
}

impl Proxy {
    /// A proxy over `parts`.
    #[must_use]
    pub fn new(parts: ProxyParts) -> Self {
        let access = Access::new(parts.access.clone(), Arc::clone(&parts.clock));
        let limits = Limits::new(parts.limits.clone());
        Self { parts: Arc::new(parts), access: Arc::new(access), limits: Arc::new(limits) }
    }

    pub(in crate::proxy) fn access(&self) -> &Access {
        &self.access
    }

    pub(in crate::proxy) const fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(in crate::proxy) fn coord(&self) -> &dyn Coord {
        self.parts.coord.as_ref()
    }

    pub(in crate::proxy) fn writer(&self) -> &dyn Writer {
        self.parts.writer.as_ref()
    }

    pub(in crate::proxy) fn reader(&self) -> &dyn Reader {
        self.parts.reader.as_ref()
    }

    pub(in crate::proxy) fn models(&self) -> &Models {
        &self.parts.models
    }

    pub(in crate::proxy) fn clock(&self) -> &dyn Clock {
        self.parts.clock.as_ref()
    }

    pub(in crate::proxy) fn time(&self) -> &NodeTime {
        &self.parts.time
    }

    pub(in crate::proxy) fn settings(&self) -> &ProxySettings {
        &self.parts.settings
    }

    pub(in crate::proxy) fn node(&self) -> &NodeInfo {
        &self.parts.node
    }

    pub(in crate::proxy) fn usage(&self) -> Option<&Measured> {
        self.parts.usage.as_ref()
    }

    pub(in crate::proxy) fn store_failure(&self) -> Option<Kind> {
        self.parts.store.as_ref().and_then(|seen| seen())
    }

    pub(in crate::proxy) fn meter(&self) -> Option<&dyn Meter> {
        self.parts.meter.as_deref()
    }
}
