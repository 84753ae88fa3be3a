//! What is known of one node, and which of its orders changed when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{ChannelName, CollectionId, NodeId, SegmentId};
use crate::rpc::{
    HeldChannel, HeldCollection, LoadReport, NodeInfo, NodeState, OpenChannel, OrderNumber, OwnOrder, Place,
};

/// A node that reports.
#[derive(Debug)]
pub(super) struct Node {
    pub info: NodeInfo,
    pub place: Place,
    pub state: NodeState,
    /// Whether an operator asked for it to be emptied.
    pub drained: bool,
    /// When it last reported.
    pub beat: Duration,
    /// When it first did.
    pub since: Duration,
    pub seen: OrderNumber,
    /// Reads of a proxy go by orders as old as these, since when they are known to.
    pub reads_since: Option<(OrderNumber, Duration)>,
    pub load: LoadReport,
    /// Its resource group; empty for none.
    pub group: String,
    pub held: BTreeMap<CollectionId, HeldCollection>,
    /// Channels it reports to have open.
    pub open: BTreeSet<ChannelName>,
    /// The same with what it says of them.
    pub opened: Vec<OpenChannel>,
    /// Channels it is ordered to own.
    pub owned: BTreeMap<ChannelName, OwnOrder>,
    /// Channels it owns or is about to own, less those that are about to leave it.
    pub owns: usize,
    pub log: OrderLog,
    /// What it was told to let go of and may still report.
    pub taken: Vec<Taken>,
}

/// Something a node was told to let go of. Until it has seen that, its reports of it do not count: it would be gone by
/// the time somebody relies on it.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The number of the order.
    pub number: u64,
    pub collection: CollectionId,
    pub channel: ChannelName,
    /// Ascending.
    pub segments: Vec<SegmentId>,
    /// Whether it is not to follow the channel either.
    pub growing: bool,
}

impl Taken {
    /// Takes it out of what a node reports.
    pub fn strike(&self, held: &mut HeldCollection) {
        for held in held.channels.iter_mut().filter(|held| held.channel == self.channel) {
            held.segments.retain(|segment| self.segments.binary_search(segment).is_err());
            if self.growing {
                held.growing_from = None;
            }
        }
    }
}

impl Node {
    /// A node that reports for the first time.
    pub fn new(info: NodeInfo, now: Duration, number: u64) -> Self {
        let place = Place { node: info.id, address: info.address.as_str().into() };
        Self {
            info,
            place,
            state: NodeState::Serving,
            drained: false,
            beat: now,
            since: now,
            seen: OrderNumber::default(),
            reads_since: None,
            load: LoadReport::default(),
            group: String::new(),
            held: BTreeMap::new(),
            open: BTreeSet::new(),
            opened: Vec::new(),
            owned: BTreeMap::new(),
            owns: 0,
            log: OrderLog { floor: number, ..OrderLog::default() },
            taken: Vec::new(),
        }
    }

    /// Whether it may be given something new.
    pub const fn serves(&self) -> bool {
        !self.drained && matches!(self.state, NodeState::Serving)
    }

    /// Whether it may be given channels.
    pub const fn writes(&self) -> bool {
        self.serves() && self.info.duties.writes
    }

    /// Notes that it was told to let go of something.
    pub fn take(&mut self, taken: Taken) {
        if let Some(held) = self.held.get_mut(&taken.collection) {
            taken.strike(held);
        }
        self.taken.push(taken);
    }

    /// What it holds of a channel, less what it was told to let go of.
    pub fn held_channel(&self, collection: CollectionId, channel: &ChannelName) -> Option<&HeldChannel> {
        let held = self.held.get(&collection)?;
        held.channels.iter().find(|held| held.channel == *channel)
    }
}

/// When which part of a node's orders last changed.
#[derive(Debug, Default)]
pub(super) struct OrderLog {
    /// Collections whose orders changed, by number of the newest change.
    pub changes: BTreeMap<u64, CollectionId>,
    /// The same the other way round.
    pub last: BTreeMap<CollectionId, u64>,
    /// Those among them that are not to be held any more.
    pub released: BTreeMap<u64, CollectionId>,
    /// When the channels to own changed.
    pub own: u64,
    /// When the resource group changed.
    pub group: u64,
    /// Whoever has seen less than this may have missed changes that are no longer kept.
    pub floor: u64,
}

impl OrderLog {
    /// Notes that the orders for a collection changed with `number`.
    pub fn note(&mut self, collection: CollectionId, number: u64, released: bool) {
        if let Some(before) = self.last.insert(collection, number) {
            self.changes.remove(&before);
            self.released.remove(&before);
        }
        self.changes.insert(number, collection);
        if released {
            self.released.insert(number, collection);
        }
    }

    /// Forgets releases that the node has seen.
    pub fn forget(&mut self, seen: u64) {
        while let Some((&number, &collection)) = self.released.first_key_value() {
            if number > seen {
                break;
            }
            self.released.remove(&number);
            self.changes.remove(&number);
            self.last.remove(&collection);
            self.floor = self.floor.max(number);
        }
    }

    /// Whether anything but proxies' news changed after `seen`.
    pub fn changed_since(&self, seen: u64) -> bool {
        self.own > seen
            || self.group > seen
            || self.changes.last_key_value().is_some_and(|(number, _)| *number > seen)
    }
}

/// Mixes numbers into one that looks random: the final step of `SplitMix64`.
pub(super) const fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The number of a node, spread over all bits.
pub(super) const fn hash(node: NodeId) -> u64 {
    mix(node.0.cast_unsigned())
}
