//! Model nodes: they carry out orders, sooner or later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{ChannelName, CollectionId, NodeId, Position, SegmentId};
use crate::model::ChannelManifest;
use crate::rpc::{
    Extent, HeldChannel, HeldCollection, HoldChannel, NodeInfo, NodeState, OpenChannel, OrderNumber, Orders,
    OwnOrder, Report, Routes,
};

/// A sequence that follows from its seed.
#[derive(Debug)]
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        super::super::node::mix(self.0) % bound.max(1)
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap();
        from.get(at).copied()
    }
}

/// What really is in a channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub manifest: Arc<ChannelManifest>,
    /// After the newest record.
    pub tip: u64,
}

pub(super) type Logs = BTreeMap<ChannelName, Log>;

/// What a node has of a channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Has {
    pub segments: BTreeSet<SegmentId>,
    pub growing_from: Option<Position>,
    pub applied: u64,
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    pub info: NodeInfo,
    pub state: NodeState,
    /// Whether an operator asked for it to be emptied.
    pub drained: bool,
    pub seen: OrderNumber,
    pub hold: BTreeMap<CollectionId, Vec<HoldChannel>>,
    /// Which partitions it knows to be loaded.
    pub extents: BTreeMap<CollectionId, Extent>,
    pub own: Vec<OwnOrder>,
    pub has: BTreeMap<(CollectionId, ChannelName), Has>,
    /// A proxy's table.
    pub table: BTreeMap<CollectionId, Arc<Routes>>,
    /// A proxy's reads: under which orders each began, by which routes, and how many steps it still takes.
    pub reads: Vec<(OrderNumber, Arc<Routes>, u64)>,
    /// Whether the coordinator has to wait for this proxy.
    pub trusted: bool,
    pub beat: std::time::Duration,
    /// Beats that it stays silent.
    pub silent: u64,
}

impl Process {
    pub fn new(info: NodeInfo) -> Self {
        Self {
            info,
            state: NodeState::Serving,
            drained: false,
            seen: OrderNumber::default(),
            hold: BTreeMap::new(),
            extents: BTreeMap::new(),
            own: Vec::new(),
            has: BTreeMap::new(),
            table: BTreeMap::new(),
            reads: Vec::new(),
            trusted: false,
            beat: std::time::Duration::ZERO,
            silent: 0,
        }
    }

    pub const fn id(&self) -> NodeId {
        self.info.id
    }

    pub fn report(&self) -> Report {
        let mut held: BTreeMap<CollectionId, HeldCollection> = BTreeMap::new();
        for ((collection, channel), has) in &self.has {
            let entry = held.entry(*collection).or_insert_with(|| HeldCollection {
                collection: *collection,
                channels: Vec::new(),
                bytes: 0,
                failure: None,
                is_full: false,
                damaged: Vec::new(),
                harm: None,
                extent: self.extents.get(collection).cloned().unwrap_or_default(),
            });
            entry.channels.push(HeldChannel {
                channel: channel.clone(),
                segments: has.segments.iter().copied().collect(),
                growing_from: has.growing_from,
                applied: Position(has.applied),
                needs_from: Position(has.applied),
            });
        }
        let open = self.own.iter().map(|own| OpenChannel {
            channel: own.channel.clone(),
            term: own.term,
            opened: 0,
            unsealed_bytes: 0,
        });
        let reading = self.reads.iter().map(|(orders, ..)| *orders).filter(|orders| *orders != self.seen);
        Report {
            node: self.info.clone(),
            state: self.state,
            seen: self.seen,
            reads_since: reading.min(),
            channels: open.collect(),
            held: held.into_values().collect(),
            ..Report::default()
        }
    }

    /// Begins a read by what is known of a collection, if anything is.
    pub fn read(&mut self, collection: CollectionId, steps: u64) {
        if let Some(routes) = self.table.get(&collection) {
            self.reads.push((self.seen, routes.clone(), steps));
        }
    }

    /// Reads come to their end.
    pub fn go_on_reading(&mut self) {
        for (.., steps) in &mut self.reads {
            *steps = steps.saturating_sub(1);
        }
        self.reads.retain(|(.., steps)| *steps > 0);
    }

    /// The routes that it may go by.
    pub fn uses(&self) -> impl Iterator<Item = &Arc<Routes>> {
        self.table.values().chain(self.reads.iter().map(|(_, routes, _)| routes))
    }

    /// Takes over orders; what is not to be held is gone at once.
    pub fn obey(&mut self, orders: &Orders) {
        if orders.number.epoch < self.seen.epoch {
            return;
        }
        if orders.whole {
            self.hold.retain(|collection, _| orders.keep.contains(collection));
            self.table.clear();
            if !self.trusted {
                // What it read while nobody knew of it was promised nothing.
                self.reads.clear();
            }
            self.trusted = true;
        }
        for collection in orders.changed.iter().chain(&orders.rerouted) {
            self.table.remove(collection);
        }
        for collection in &orders.release {
            self.hold.remove(collection);
        }
        for order in &orders.hold {
            self.hold.insert(order.info.id, order.channels.clone());
            self.extents.insert(order.info.id, Extent::of(order.info.loaded_partitions()));
        }
        if let Some(own) = &orders.own {
            self.own.clone_from(own);
        }
        self.seen = orders.number;
        self.drop_rest();
    }

    fn drop_rest(&mut self) {
        let hold = &self.hold;
        self.has.retain(|(collection, channel), has| {
            let channels = hold.get(collection).map(Vec::as_slice).unwrap_or_default();
            let Some(order) = channels.iter().find(|order| order.channel == *channel) else { return false };
            has.segments.retain(|segment| order.segments.contains(segment));
            has.growing_from = match (has.growing_from, order.growing_from) {
                (Some(from), Some(to)) => Some(from.max(to)),
                _ => None,
            };
            true
        });
    }

    /// Works on its orders for a while: each thing gets done with a chance of `percent`.
    pub fn work(&mut self, logs: &Logs, dice: &mut Dice, percent: u64) {
        for (collection, channels) in &self.hold {
            for order in channels {
                let Some(log) = logs.get(&order.channel) else { continue };
                let has = self.has.entry((*collection, order.channel.clone())).or_default();
                let listed: BTreeSet<_> = log.manifest.segments.iter().map(|segment| segment.id).collect();
                for segment in &order.segments {
                    if listed.contains(segment) && !has.segments.contains(segment) && dice.percent(percent) {
                        has.segments.insert(*segment);
                    }
                }
                // The log before the checkpoint is gone.
                let from = order.growing_from.filter(|from| *from >= log.manifest.checkpoint);
                if has.growing_from.is_none() && from.is_some() && dice.percent(percent) {
                    has.growing_from = from;
                    has.applied = log.tip;
                }
                if dice.percent(percent) {
                    has.applied = log.tip;
                }
            }
        }
    }

    /// The part of a route that this node should have and has not, if any.
    pub fn lacks(&self, routes: &Routes) -> Option<String> {
        let mine = routes.replicas.iter().flat_map(|replica| &replica.nodes);
        for share in mine.filter(|share| share.place.node == self.id()) {
            for part in &share.share.channels {
                let key = (routes.collection, part.channel.clone());
                let nothing = Has::default();
                let has = self.has.get(&key).unwrap_or(&nothing);
                let missing = part.segments.iter().find(|segment| !has.segments.contains(segment));
                let grows = part.growing_from.is_none_or(|from| {
                    has.growing_from.is_some_and(|mine| mine <= from) && has.applied >= from.0
                });
                if missing.is_some() || !grows {
                    let (id, channel) = (self.id(), &part.channel);
                    return Some(format!(
                        "node {id} lacks {missing:?} or {:?} of {channel}: has {has:?}",
                        part.growing_from
                    ));
                }
            }
        }
        None
    }
}
