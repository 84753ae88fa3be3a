//! Where calls to a node go: into this process if it is this node, else over the network.

use std::sync::Arc;

use parking_lot::RwLock;

use super::link::Links;
use super::remote::Remote;
use super::{NetSettings, Security, Served};
use crate::base::Clock;
use crate::rpc::{Builder, Coord, Dial, Querier, Writer};

/// Clients of other nodes' duties. One connection per address, made at the first call, kept while there are calls and
/// made anew after it broke.
///
/// What a call comes to that the peer did not answer: [`crate::rpc::Error::Stale`] if no connection could be made, so that nothing was
/// done; kind `Unavailable` if the connection broke or the deadline came after sending, so that it may have been done;
/// kind `Denied` if the peer does not accept our token.
pub struct NetDial {
    links: Arc<Links>,
    own: RwLock<Own>,
}

#[derive(Default)]
struct Own {
    address: String,
    served: Served,
}

impl NetDial {
    /// Knows the way to every other node, and not yet which one is its own.
    #[must_use]
    pub fn new(security: Security, settings: NetSettings, clock: Arc<dyn Clock>) -> Arc<Self> {
        let links = Arc::new(Links::new(security.credentials(), settings, clock));
        Arc::new(Self { links, own: RwLock::default() })
    }

    /// From now on, calls to `address` go to `served` and stay in this process. Duties call each other, so they exist only
    /// after the dial that they are given.
    pub fn stay(&self, address: String, served: Served) {
        *self.own.write() = Own { address, served };
    }

    /// The coordinator of the node at `address`, without looking for another one when that does not lead.
    #[must_use]
    pub fn coord(&self, address: &str) -> Arc<dyn Coord> {
        match self.own(address, |served| served.coord.clone()) {
            Some(coord) => coord,
            None => self.remote(address),
        }
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(self.links.clock())
    }

    pub(super) fn settings(&self) -> &NetSettings {
        self.links.settings()
    }

    fn own<T>(&self, address: &str, duty: impl Fn(&Served) -> Option<T>) -> Option<T> {
        let own = self.own.read();
        if own.address == address { duty(&own.served) } else { None }
    }

    fn remote(&self, address: &str) -> Arc<Remote> {
        Arc::new(Remote::new(Arc::clone(&self.links), address.into()))
    }
}

impl Dial for NetDial {
    fn writer(&self, address: &str) -> Arc<dyn Writer> {
        match self.own(address, |served| served.writer.clone()) {
            Some(writer) => writer,
            None => self.remote(address),
        }
    }

    fn querier(&self, address: &str) -> Arc<dyn Querier> {
        match self.own(address, |served| served.querier.clone()) {
            Some(querier) => querier,
            None => self.remote(address),
        }
    }

    fn builder(&self, address: &str) -> Arc<dyn Builder> {
        match self.own(address, |served| served.builder.clone()) {
            Some(builder) => builder,
            None => self.remote(address),
        }
    }
}
