//! Keeps one node in step with the coordinator: reports what its duties have, and hands them their orders.
//!
//! Knows no duty's room: duties are [`Follower`]s. Decides nothing about data.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{Clock, NodeId, NodeTime, Timestamp};
use crate::rpc::{Coord, Follower, NodeInfo, NodeState, OrderNumber, Orders, Report};

/// How long after a failed beat the next one is tried.
const RETRY: Duration = Duration::from_millis(300);
/// A node whose own state changes all the time beats no more often than this.
const PAUSE: Duration = Duration::from_millis(5);
/// An answer that was longer on its way says nothing of now: its node stood still meanwhile, or its network nearly does. The
/// coordinator waits a second for news, and the call has three.
const LATE: Duration = Duration::from_secs(2);
/// How long a node that leaves tries to say so.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an agent needs.
pub struct AgentParts {
    /// Whom to report to.
    pub coord: Arc<dyn Coord>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Told the coordinator's time.
    pub time: Arc<NodeTime>,
    /// The node, as it introduces itself.
    pub node: NodeInfo,
    /// Its duties.
    pub followers: Vec<Arc<dyn Follower>>,
}

/// How a node stands with the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has ever been given orders.
    pub joined: bool,
    /// Its resource group; empty for none.
    pub group: String,
    /// What it still has: channels, and segments and rows of collections. Shrinks to 0 while it hands over.
    pub has: u64,
}

/// One node's agent.
pub struct Agent {
    parts: AgentParts,
    state: watch::Sender<NodeState>,
    standing: watch::Sender<Standing>,
    seen: Mutex<OrderNumber>,
}

impl Agent {
    /// An agent that has not reported yet.
    #[must_use]
    pub fn new(parts: AgentParts) -> Arc<Self> {
        Arc::new(Self {
            parts,
            state: watch::Sender::new(NodeState::Serving),
            standing: watch::Sender::default(),
            seen: Mutex::default(),
        })
    }

    /// How the node stands, now and from now on.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The node's number.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.parts.node.id
    }

    /// Whether the node hands over what it has.
    #[must_use]
    pub fn drains(&self) -> bool {
        *self.state.borrow() == NodeState::Draining
    }

    /// Asks the coordinator to take everything away from this node.
    pub fn drain(&self) {
        self.state.send_replace(NodeState::Draining);
    }

    /// Completes once the node has nothing left, or has got rid of nothing for `patience`: then waiting longer would not
    /// help. Call [`Self::drain`] first. Returns what is left.
    pub async fn drained(&self, patience: Duration) -> u64 {
        let mut standing = self.standing();
        loop {
            let left = standing.borrow_and_update().has;
            if left == 0 {
                return 0;
            }
            let less = async {
                // The sender lives as long as this agent does.
                let _ = standing.wait_for(|standing| standing.has < left).await;
            };
            tokio::select! {
                () = less => {}
                () = self.parts.clock.sleep(patience) => return left,
            }
        }
    }

    /// Beats until `stop`, then says farewell.
    ///
    /// # Errors
    /// None: failures are logged and tried again.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut state = self.state.subscribe();
        let mut failing = false;
        loop {
            let report = self.report(*state.borrow_and_update());
            let sent = self.parts.clock.monotonic();
            tokio::select! {
                () = stop.cancelled() => break,
                answer = self.parts.coord.beat(report) => match answer {
                    Ok(orders) => {
                        failing = false;
                        if orders.lease.is_zero() {
                            // It leads no more for sure; whoever does must hear of this node.
                            self.parts.coord.doubt();
                        }
                        self.obey(orders, sent);
                    }
                    Err(error) => {
                        if !failing {
                            warn!(%error, "the coordinator cannot be reached; going on with the last orders");
                        }
                        failing = true;
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = self.parts.clock.sleep(RETRY) => {}
                        }
                    }
                },
                () = self.changed() => self.parts.clock.sleep(PAUSE).await,
                _ = state.changed() => {}
            }
        }
        let farewell = self.parts.coord.beat(self.report(NodeState::Leaving));
        tokio::select! {
            _ = farewell => {}
            () = self.parts.clock.sleep(FAREWELL) => {}
        }
        Ok(())
    }

    fn report(&self, state: NodeState) -> Report {
        let seen = *self.seen.lock();
        let mut report = Report { node: self.parts.node.clone(), state, seen, ..Report::default() };
        for follower in &self.parts.followers {
            follower.report(&mut report);
        }
        let has = has(&report);
        self.standing.send_if_modified(|standing| std::mem::replace(&mut standing.has, has) != has);
        report
    }

    fn obey(&self, orders: Orders, sent: Duration) {
        let took = self.parts.clock.monotonic().saturating_sub(sent);
        let (now, orders) = still_true(orders, took);
        if let Some(now) = now {
            self.parts.time.hear(now);
        }
        for follower in &self.parts.followers {
            follower.obey(&orders, sent);
        }
        *self.seen.lock() = orders.number;
        self.standing.send_if_modified(|standing| {
            if standing.joined && standing.group == orders.group {
                return false;
            }
            if !standing.joined {
                info!(node = %self.parts.node.id, group = orders.group, "node has joined");
            }
            standing.joined = true;
            standing.group.clone_from(&orders.group);
            true
        });
    }

    /// Completes when some duty's state has changed.
    async fn changed(&self) {
        let duties: Vec<_> = self.parts.followers.iter().map(|follower| follower.changed().boxed()).collect();
        if duties.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(duties).await;
    }
}

/// What is still true of an answer that took so long, and the coordinator's time if that is. A late one gives neither that
/// nor a lease: they go together, since how far a node's time may be off is reckoned for one lease.
fn still_true(orders: Orders, took: Duration) -> (Option<Timestamp>, Orders) {
    if took <= LATE {
        return (Some(orders.now), orders);
    }
    (None, Orders { lease: Duration::ZERO, ..orders })
}

/// Everything a node would have to hand over.
fn has(report: &Report) -> u64 {
    let held = report.held.iter().flat_map(|collection| &collection.channels);
    let held: usize =
        held.map(|channel| channel.segments.len() + usize::from(channel.growing_from.is_some())).sum();
    (held + report.channels.len()) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::still_true;
    use crate::base::{CollectionId, Timestamp};
    use crate::rpc::Orders;

    #[test]
    fn an_answer_that_waited_for_a_node_that_stood_still_tells_it_what_to_do_and_not_what_time_it_is() {
        let second = Duration::from_secs(1);
        let release = vec![CollectionId(7)];
        let orders = Orders { now: Timestamp(77), lease: 5 * second, release, ..Orders::default() };
        let without_lease = Orders { lease: Duration::ZERO, ..orders.clone() };

        let [prompt, late] = [2, 22].map(|seconds| still_true(orders.clone(), seconds * second));

        assert_eq!(prompt, (Some(Timestamp(77)), orders));
        assert_eq!(late, (None, without_lease));
    }
}
