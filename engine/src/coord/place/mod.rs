//! Placement: which node owns a channel, holds a segment, follows a log; and when a read may be sent there.
//!
//! One deterministic state machine: facts go in (catalog, reports, time), orders and routes come out. No I/O, no clock,
//! no randomness. Make before break: a node is told to let go of something only after a route without it is published
//! and every live proxy has forgotten the older ones. The driver makes terms durable and carries beats.

mod assign;
mod balance;
mod beat;
mod collection;
mod groups;
mod hold;
mod node;
mod orders;
mod owners;
mod pools;
mod replicas;
mod seats;
mod show;
mod split;
mod steer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::collection::Collection;
use self::groups::Group;
use self::node::{Node, OrderLog};
use self::seats::Seats;
#[cfg(test)]
use self::show::Hindrance;
use crate::base::{ChannelName, CollectionId, NodeId, Timestamp};
use crate::model::ChannelManifest;
use crate::rpc::{CollectionInfo, DEFAULT_GROUP, GroupConfig, OrderNumber};

/// How placement behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceSettings {
    /// A node that has not reported for so long is gone.
    pub lost_after: Duration,
    /// How long a new leader listens before it gives orders, moves anything or declares a node lost. At least
    /// `lost_after` in a cluster; zero where no other process can hold anything.
    pub settle: Duration,
    /// The part of a node's memory that placement fills. Range: 0 to 1.
    pub memory_share: f64,
    /// Balancing moves under way at a time, to or from one node.
    pub loads_per_node: usize,
    /// A channel is moved for balance at most once in this time.
    pub channel_move_pause: Duration,
    /// A node with more than this times the mean load of its group gives segments away.
    pub balance_above: f64,
    /// Collections divided anew in one tick after a resource group's nodes changed.
    pub plans_per_tick: usize,
    /// Lets go before proxies have forgotten the older routes. Only tests set it, to see that it is found.
    pub releases_early: bool,
}

impl Default for PlaceSettings {
    fn default() -> Self {
        Self {
            lost_after: Duration::from_secs(5),
            settle: Duration::from_secs(5),
            memory_share: 0.85,
            loads_per_node: 2,
            channel_move_pause: Duration::from_secs(60),
            balance_above: 1.1,
            plans_per_tick: 256,
            releases_early: false,
        }
    }
}

/// A channel by its place in the catalog: its collection and its number there.
type ChannelAt = (CollectionId, usize);

/// The leader's picture of the cluster and everything it decided.
#[derive(Debug)]
pub struct Placer {
    epoch: u64,
    settings: PlaceSettings,
    started: Duration,
    /// The wall time at `started`.
    started_at: Timestamp,
    now: Duration,
    /// Whether this leader has heard enough to decide anything.
    settled: bool,
    /// Whether channels are moved for balance.
    moves_channels: bool,
    /// Nodes of the record that it has not heard of yet; `None` if it has no such record.
    expected: Option<BTreeSet<NodeId>>,
    /// Nodes to be emptied, also those that are not there.
    drains: BTreeSet<NodeId>,
    /// Query nodes that are given nothing more to hold, also those that are not there.
    suspended: BTreeSet<NodeId>,
    /// Whether anything is moved only for balance.
    balances: bool,
    /// The newest order number.
    number: u64,
    /// Grows with each route of any collection.
    version: u64,
    nodes: BTreeMap<NodeId, Node>,
    /// Whether all query nodes put on their disks what need not be in memory.
    maps_vectors: bool,
    seats: Seats,
    configs: BTreeMap<String, GroupConfig>,
    groups: BTreeMap<String, Group>,
    collections: BTreeMap<CollectionId, Collection>,
    channels: BTreeMap<ChannelName, ChannelAt>,
    /// Collections of which a manifest is damaged, with what is said of that: nobody owns or reads them, and nodes keep what
    /// they have.
    unreadable: BTreeMap<CollectionId, String>,
    /// Who reports to hold something of a collection.
    holders: BTreeMap<CollectionId, BTreeSet<NodeId>>,
    /// Channels that need an owner.
    unowned: BTreeSet<ChannelAt>,
    /// Ownerships that are to be granted.
    wanted: BTreeMap<ChannelName, NodeId>,
    /// What proxies must forget.
    news: OrderLog,
    /// Those among the news that the catalog changed: proxies must forget more than routes.
    redefined: OrderLog,
    /// When it last changed who may do what: the number by which proxies hear of it.
    policy: u64,
    /// Routes that some proxy may still use.
    retiring: BTreeSet<(u64, CollectionId)>,
    /// Collections to plan before the current call returns.
    dirty: BTreeSet<CollectionId>,
    /// Collections to plan in later ticks.
    later: BTreeSet<CollectionId>,
    /// Collections that are not as they are wanted to be.
    pending: BTreeSet<CollectionId>,
    /// Memory promised to pieces since the orders were last brought up to date.
    promised: Vec<(NodeId, u64)>,
    /// The number since which nothing of an earlier leader is known to any proxy that has seen it.
    first: u64,
    #[cfg(test)]
    defect: Option<tests::Defect>,
}

impl Placer {
    /// A leader that knows nothing yet.
    ///
    /// - `epoch`: greater than that of every leader before it.
    /// - `now`: the clock's reading, on which all later ones are based; `at`: the same moment as wall time.
    #[must_use]
    pub fn new(epoch: u64, settings: PlaceSettings, now: Duration, at: Timestamp) -> Self {
        let groups = BTreeMap::from([(DEFAULT_GROUP.to_owned(), Group::default())]);
        Self {
            epoch,
            settings,
            started: now,
            started_at: at,
            now,
            settled: false,
            moves_channels: true,
            expected: None,
            drains: BTreeSet::new(),
            suspended: BTreeSet::new(),
            balances: true,
            number: 1,
            version: epoch << 32,
            nodes: BTreeMap::new(),
            maps_vectors: false,
            seats: Seats::default(),
            configs: BTreeMap::new(),
            groups,
            collections: BTreeMap::new(),
            channels: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            holders: BTreeMap::new(),
            unowned: BTreeSet::new(),
            wanted: BTreeMap::new(),
            news: OrderLog::default(),
            redefined: OrderLog::default(),
            policy: 0,
            retiring: BTreeSet::new(),
            dirty: BTreeSet::new(),
            later: BTreeSet::new(),
            pending: BTreeSet::new(),
            promised: Vec::new(),
            first: 1,
            #[cfg(test)]
            defect: None,
        }
    }

    /// Takes over a collection as it is now, new or changed, to be loaded or not.
    ///
    /// `manifests` are in the order of `info.channels`. The whole catalog must be put before the first report.
    pub fn put_collection(
        &mut self,
        info: Arc<CollectionInfo>,
        manifests: Vec<Arc<ChannelManifest>>,
        now: Duration,
    ) {
        self.now = self.now.max(now);
        self.take_collection(info, manifests);
        self.work();
    }

    /// Takes over that a manifest of a collection is damaged, in words for clients. To be called before the collection is put;
    /// after that only to say it in other words.
    pub fn set_aside(&mut self, id: CollectionId, what: String) {
        self.unreadable.insert(id, what);
    }

    /// Takes over a collection of which all manifests can be read again; as [`Self::put_collection`].
    pub fn mend_collection(
        &mut self,
        info: Arc<CollectionInfo>,
        manifests: Vec<Arc<ChannelManifest>>,
        now: Duration,
    ) {
        self.now = self.now.max(now);
        let (id, channels) = (info.id, info.channels.len());
        let keepers = self.end_keeping(id);
        self.take_collection(info, manifests);
        // Whoever has not let go of a channel yet goes on with it: by its lease it may still answer for it.
        let open: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|(node, known)| known.opened.iter().map(move |open| (*node, open.clone())))
            .filter(|(_, open)| self.channels.get(&open.channel).is_some_and(|at| at.0 == id))
            .collect();
        for (node, open) in &open {
            self.absorb(*node, open);
        }
        self.unowned.extend((0..channels).map(|at| (id, at)));
        self.announce(id);
        self.work();
        // Only now it is known what of it they are to have.
        for node in keepers {
            self.take_rest(node, Some(id));
        }
    }

    /// Takes over which nodes may hold something from an earlier leader's time; `None` if nobody knows. To be called
    /// once, after the whole catalog was put. While it listens, no change counts as seen before all of them were heard.
    pub fn expect(&mut self, nodes: Option<BTreeSet<NodeId>>, now: Duration) {
        self.now = self.now.max(now);
        self.expected = nodes;
        self.work();
    }

    /// Takes over that a collection is gone.
    pub fn remove_collection(&mut self, id: CollectionId, now: Duration) {
        self.now = self.now.max(now);
        self.end_keeping(id);
        self.drop_collection(id);
        self.work();
    }

    /// Takes over all resource groups but the default one, which always exists.
    pub fn put_groups(&mut self, groups: BTreeMap<String, GroupConfig>, now: Duration) {
        self.now = self.now.max(now);
        self.configs = groups;
        self.configs.remove(DEFAULT_GROUP);
        self.regroup();
        self.work();
    }

    /// Lets time pass: declares silent nodes lost, ends pauses, balances unless that is suspended. To be called about once a second.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.work();
        if !self.settled {
            return;
        }
        let silent: Vec<_> =
            self.nodes.iter().filter(|(_, node)| self.is_silent(node)).map(|(id, _)| *id).collect();
        for node in silent {
            self.lose(node);
        }
        self.retry_unplaced();
        for _ in 0..self.settings.plans_per_tick {
            let Some(id) = self.later.pop_first() else { break };
            self.dirty.insert(id);
        }
        self.work();
        if self.balances {
            self.balance_owners();
            self.balance_holders();
        }
        self.work();
    }

    /// Whether this leader has heard enough to know which nodes there are.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.settled
    }

    fn has_heard_all(&self) -> bool {
        self.expected.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Since when this leader leads, by its wall clock.
    #[must_use]
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The nodes that take part.
    #[must_use]
    pub fn present(&self) -> BTreeSet<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// The newest order number.
    #[must_use]
    pub const fn number(&self) -> OrderNumber {
        OrderNumber { epoch: self.epoch, number: self.number }
    }

    /// Does what the facts ask for: ends the settling time, regroups nodes, gives channels owners, plans collections.
    fn work(&mut self) {
        if !self.settled {
            if self.now < self.started + self.settings.settle {
                return;
            }
            self.settle();
        }
        self.place_owners();
        while let Some(id) = self.dirty.pop_first() {
            self.plan(id);
        }
        self.let_go();
    }

    /// Ends the settling time: from here on this leader decides.
    fn settle(&mut self) {
        self.settled = true;
        self.first = self.next_number();
        // Proxies that heard early news begin anew: only now are there routes for them.
        self.news.floor = self.first;
        self.regroup();
        let ids: Vec<_> = self.collections.keys().copied().collect();
        for id in ids {
            self.adopt(id);
            self.dirty.insert(id);
        }
    }

    const fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn is_silent(&self, node: &Node) -> bool {
        self.now.saturating_sub(node.beat) >= self.settings.lost_after
    }
}
