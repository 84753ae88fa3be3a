//! The admin API (`redkite.admin.v1`): what operators, people and programs may see and ask of a running process.
//!
//! Says what the coordinator, the object store and this process know, in words that stay the same over versions. Decides
//! nothing: whatever changes something is a call of the coordinator. Who may call is decided by the port, in `rpc::net`.

mod checksums;
mod drain;
mod dump;
mod pick;
mod rows;
mod service;
mod settings;
mod show;
mod status;

use std::sync::Arc;

use contract::admin::admin_server::AdminServer;
use tonic::body::Body;
use tower::ServiceExt as _;

use self::service::Desk;
pub use self::settings::table;
use crate::base::NodeId;
use crate::blob::{self, Blobs};
use crate::log::Logs;
use crate::rpc::Coord;

/// Where the calls are.
const CALLS: &str = "/redkite.admin.v1.Admin/{call}";

/// How the process that serves stands, as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its number; 0 for one that only coordinates or was not numbered yet.
    pub node: NodeId,
    /// Whether `/healthz` says that all is well.
    pub ready: bool,
    /// What `/healthz` says.
    pub health: String,
    /// Whether it is handing over what it has, so as to stop.
    pub draining: bool,
    /// Requests of clients that have ended here since it started.
    pub calls: u64,
    /// Those of them that failed, and not by the client's doing.
    pub failed_calls: u64,
}

/// The store being marked.
pub type Marking = futures::future::BoxFuture<'static, Result<(), blob::Error>>;

/// What the admin API of a process stands on.
pub struct AdminParts {
    /// Whoever leads.
    pub coord: Arc<dyn Coord>,
    /// This process's candidate for the lead, if it has one.
    pub candidate: Option<Arc<dyn Coord>>,
    /// Sealed data.
    pub blobs: Arc<dyn Blobs>,
    /// What is not sealed.
    pub logs: Arc<dyn Logs>,
    /// Says in the store, for a cluster and a format, that readers must know that.
    pub mark: Box<dyn Fn(String, u32) -> Marking + Send + Sync>,
    /// The role that this process was started in.
    pub role: &'static str,
    /// Where other nodes call it.
    pub address: String,
    /// The name of its machine or pod.
    pub host: String,
    /// How it stands.
    pub standing: Box<dyn Fn() -> Standing + Send + Sync>,
    /// Its settings, as [`table`] makes them.
    pub settings: Vec<contract::admin::Setting>,
}

/// The API as routes for the port of calls between nodes.
pub fn routes(parts: AdminParts) -> axum::Router {
    let server = AdminServer::new(Desk::new(parts));
    let server = server.map_request(|request: http::Request<axum::body::Body>| request.map(Body::new));
    axum::Router::new().route_service(CALLS, server)
}
