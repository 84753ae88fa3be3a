//! Calls between the nodes of a cluster: gRPC over one HTTP/2 connection per pair of nodes.
//!
//! [`serve`] carries calls to the duties of this node, [`NetDial`] those of this node to others, [`CoordClient`] those to
//! whichever node leads. Knows how a call travels and when it may be repeated, not what it does. How messages may change
//! from version to version: `docs/decisions/0003-calls-between-nodes.md`.

mod convert;
mod coord_call;
mod dial;
mod leader;
mod link;
mod remote;
mod serve;
mod server;
#[cfg(test)]
mod tests;
mod whole;

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(test, feature = "fuzz"))]
pub use convert::fuzz;
pub use dial::NetDial;
pub use leader::{CoordClient, FindLeader, ReachCoord};
pub use link::{Carrier, reach};
pub use serve::{ServeParts, serve};
pub use whole::WholeCalls;

pub use super::Served;
use crate::base::{Kind, Kinded, TaskError};
use crate::secure::{Acceptor, Connector, Tokens};

/// Largest message either way. Unit: bytes.
const MAX_MESSAGE: usize = 256 << 20;
/// What a stream may send before it is read. Unit: bytes. Rows come in megabytes.
const STREAM_WINDOW: u32 = 4 << 20;
/// What a connection may send before it is read. Unit: bytes.
const CONNECTION_WINDOW: u32 = 32 << 20;
/// Largest frame. Unit: bytes.
const MAX_FRAME: u32 = 1 << 20;
/// How long a connection is silent before the peer is asked whether it is still there.
const PING_AFTER: Duration = Duration::from_secs(2);
/// How long the peer has to answer that.
const PING_LIMIT: Duration = Duration::from_secs(4);

/// How nodes know each other. The same on every node of a cluster.
#[derive(Clone)]
pub enum Security {
    /// Whoever reaches the port is trusted: on loopback, or where a network policy says who does.
    Trusted,
    /// In clear text, with a shared token in every call.
    Token(Arc<Tokens>),
    /// Each shows a certificate of the cluster's authority.
    MutualTls {
        /// For connections from others.
        acceptor: Arc<Acceptor>,
        /// For connections to others.
        connector: Arc<Connector>,
    },
}

/// What a caller shows of itself, and whom it trusts.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Shown in every call.
    pub token: Option<Arc<Tokens>>,
    /// Makes connections secure; `None` for clear text.
    pub connector: Option<Arc<Connector>>,
}

impl Security {
    /// What calls to other nodes show.
    fn credentials(&self) -> Credentials {
        match self {
            Self::Trusted => Credentials::default(),
            Self::Token(tokens) => Credentials { token: Some(Arc::clone(tokens)), connector: None },
            Self::MutualTls { connector, .. } => {
                Credentials { token: None, connector: Some(Arc::clone(connector)) }
            }
        }
    }
}

/// How long calls may take, and how connections are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetSettings {
    /// To make a connection, handshake included.
    pub connect: Duration,
    /// For what a peer answers from memory, and for each try of a call to the coordinator.
    pub brief: Duration,
    /// For a beat, which waits a second for news. Short, so that a leader that stands still is left soon.
    pub beat: Duration,
    /// To search or query. The reader's own deadline is usually shorter.
    pub read: Duration,
    /// To write. Its end leaves open whether the write was done.
    pub write: Duration,
    /// To remove logs and objects.
    pub remove: Duration,
    /// To seal a channel.
    pub flush: Duration,
    /// How long a call to the coordinator is tried again before its caller hears of it.
    pub patience: Duration,
    /// First wait after a connection could not be made; doubles up to [`Self::backoff_most`].
    pub backoff: Duration,
    /// Longest such wait.
    pub backoff_most: Duration,
    /// A connection without calls for so long is given up.
    pub idle: Duration,
}

impl Default for NetSettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            brief: Duration::from_secs(10),
            beat: Duration::from_secs(3),
            read: Duration::from_secs(60),
            write: Duration::from_secs(10),
            remove: Duration::from_secs(60),
            flush: Duration::from_secs(600),
            patience: Duration::from_secs(30),
            backoff: Duration::from_millis(50),
            backoff_most: Duration::from_secs(2),
            idle: Duration::from_secs(300),
        }
    }
}

/// What ended serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No further connection can be taken.
    #[error("cannot accept connections of other nodes")]
    Accept(#[source] std::io::Error),
    /// A connection ended by a defect.
    #[error("serving other nodes broke off")]
    Serve(#[source] TaskError),
}

impl Kinded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Accept(source) => Kinded::kind(source),
            Self::Serve(_) => Kind::Internal,
        }
    }
}
