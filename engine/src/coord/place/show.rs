//! What others ask: routes, progress, and what people look at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Placer;
use super::collection::{Channel, Collection, Follow, Replica};
use super::node::{Node, Taken};
use super::split::Split;
use crate::base::{ChannelName, CollectionId, NodeId, Position, SegmentId, Timestamp};
use crate::rpc::{
    DEFAULT_GROUP, Extent, Followed, GroupConfig, GroupInfo, GroupNode, Left, NodeShare, NodeState,
    NodeStatus, Owner, Place, ReplicaInfo, ReplicaRoute, ReplicaShard, Routes, Share, Wants,
};

/// Nodes that the default group takes. Source: Milvus's default.
const DEFAULT_LIMIT: u32 = 1_000_000;

/// Why a collection cannot be loaded now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindrance {
    /// What is in the way.
    pub reason: String,
    /// Whether that is only the lack of memory.
    pub is_full: bool,
}

impl Placer {
    /// The resource group of a node; empty for none.
    #[must_use]
    pub fn group_of(&self, node: NodeId) -> String {
        self.nodes.get(&node).map(|node| node.group.clone()).unwrap_or_default()
    }

    /// How a collection is written and read now; `None` if there is no such collection.
    #[must_use]
    pub fn routes(&self, collection: CollectionId) -> Option<Arc<Routes>> {
        let known = self.collections.get(&collection).filter(|known| !known.removed)?;
        if self.settled {
            let is_missing = known.routes.wanted && known.routes.replicas.is_empty();
            let damage = self.unreadable.get(&collection).cloned();
            let harm = || damage.or_else(|| is_missing.then(|| self.harm(collection)).flatten());
            return Some(match harm() {
                // Not news of the routes: who asks because there is no copy is told.
                Some(harm) => Arc::new(Routes { harm: Some(harm), ..(*known.routes).clone() }),
                None => known.routes.clone(),
            });
        }
        Some(Arc::new(Routes { listening: true, ..(*known.routes).clone() }))
    }

    /// What nodes say that is damaged or lost of a collection.
    fn harm(&self, collection: CollectionId) -> Option<String> {
        self.nodes.values().find_map(|known| known.held.get(&collection)?.harm.clone())
    }

    pub(super) fn draw_routes(&self, collection: &Collection) -> Routes {
        let place = |node: NodeId| self.nodes.get(&node).map(|node| node.place.clone());
        let owners = collection.channels.iter().map(|channel| Owner {
            channel: channel.name.clone(),
            place: channel.owner.and_then(place),
            term: channel.term,
        });
        let replicas = collection.replicas.iter().filter(|replica| replica.is_complete());
        Routes {
            collection: collection.info.id,
            version: self.version,
            owners: owners.collect(),
            replicas: replicas.filter_map(|replica| self.draw_replica(collection, replica)).collect(),
            wanted: collection.info.load.is_some() && !collection.removed,
            partitions: collection.wanted_partitions().map(<[_]>::to_vec),
            readable: collection.readable(),
            listening: false,
            harm: None,
        }
    }

    /// A replica's route; `None` if one of its nodes is gone.
    fn draw_replica(&self, collection: &Collection, replica: &Replica) -> Option<ReplicaRoute> {
        let mut shares: BTreeMap<NodeId, Share> = BTreeMap::new();
        for (follow, channel) in replica.follows.iter().zip(&collection.channels) {
            let live = follow.live.as_ref()?;
            for node in live.nodes() {
                shares.entry(node).or_default().channels.extend(live.share(node, &channel.name));
            }
        }
        let zones: BTreeSet<_> =
            shares.keys().filter_map(|node| self.nodes.get(node)).map(|node| node.info.zone()).collect();
        let zone = if zones.len() == 1 { zones.into_iter().collect() } else { String::new() };
        let partitions = replica.partitions();
        let extent = Extent::of(partitions.as_deref());
        let nodes = shares.into_iter().map(|(node, share)| {
            let place = self.nodes.get(&node)?.place.clone();
            let share = Arc::new(Share { extent: extent.clone(), ..share });
            Some(NodeShare { place, share })
        });
        let nodes: Option<Vec<_>> = nodes.collect();
        let (id, group) = (replica.id, replica.group.clone());
        Some(ReplicaRoute { id, group, zone, nodes: nodes?, partitions })
    }

    /// Whether no route of a collection goes by anything of `gone` or by an older state than `checkpoints`, one for each
    /// channel, and none will; also if there is no such collection or it is not loaded. What proxies still use is another
    /// question.
    #[must_use]
    pub fn has_left(
        &self,
        collection: CollectionId,
        checkpoints: &[Position],
        gone: &BTreeSet<SegmentId>,
    ) -> bool {
        let Some(known) = self.collections.get(&collection).filter(|known| !known.removed) else {
            return true;
        };
        if known.info.load.is_none() {
            return true;
        }
        let is_past = |split: &Split, checkpoint: Position| {
            let mut pieces = split.shares.values().flatten();
            split.checkpoint >= checkpoint && !pieces.any(|piece| gone.contains(&piece.id))
        };
        let has_left = |(follow, checkpoint): (&Follow, &Position)| match &follow.live {
            Some(live) => is_past(live, *checkpoint),
            // A plan that is not finished may be published as it is; one that has no place for something is made anew.
            None => !follow.target.is_placed() || is_past(&follow.target, *checkpoint),
        };
        // Before this leader has decided anything, routes of a former one are used.
        self.settled
            && known.replicas.iter().all(|replica| replica.follows.iter().zip(checkpoints).all(has_left))
    }

    /// How far a collection is loaded, 0 to 100; 100 once every replica that has nodes can be read.
    ///
    /// # Errors
    /// Why it cannot be loaded now, as a node or the lack of memory says; it is tried again.
    pub fn loaded(&self, collection: CollectionId) -> Result<u8, Hindrance> {
        let Some(known) = self.collections.get(&collection) else { return Ok(0) };
        let is_loaded = |replica: &&Replica| replica.has_all_of(known.wanted_partitions());
        let waits = |replica: &&Replica| !is_loaded(replica);
        let (mut ready, mut all) = (0_usize, 0_usize);
        let placed = known.replicas.iter().filter(|replica| self.has_nodes(replica));
        for replica in placed.clone().filter(waits) {
            for (at, follow) in replica.follows.iter().enumerate() {
                self.check_follow(known, at, follow)?;
                let (done, of) = self.progress(known, at, follow);
                ready += done;
                all += of;
            }
        }
        if placed.clone().next().is_none() {
            return Ok(0);
        }
        if placed.clone().all(|replica| is_loaded(&replica)) {
            // Whoever is told so may read by any proxy, and all of them must know what there is to read.
            let is_known = known.readable_since.is_none_or(|number| self.proxies_saw(number));
            return Ok(if is_known { 100 } else { 99 });
        }
        let complete = placed.clone().filter(is_loaded).count() * 100;
        let waiting = placed.filter(waits).count();
        let part = (ready * 100 * waiting).checked_div(all).unwrap_or(0);
        let percent = (complete + part) / (complete / 100 + waiting).max(1);
        Ok(u8::try_from(percent.min(99)).unwrap_or(99))
    }

    fn has_nodes(&self, replica: &Replica) -> bool {
        let members = self.groups.get(&replica.group).is_some_and(|group| !group.nodes.is_empty());
        replica.is_complete() || (members && replica.pool.as_ref().is_none_or(|pool| !pool.is_empty()))
    }

    /// Pieces that are where they are to be, and pieces; a follower counts as one.
    fn progress(&self, collection: &Collection, channel: usize, follow: &Follow) -> (usize, usize) {
        let target = &follow.target;
        let name = &collection.channels[channel].name;
        let mut ready = 0;
        for node in target.nodes() {
            let held = self.nodes.get(&node).and_then(|known| known.held_channel(collection.info.id, name));
            let Some(held) = held else { continue };
            let there =
                target.pieces(node).iter().filter(|piece| held.segments.binary_search(&piece.id).is_ok());
            ready += there.count() + usize::from(target.growing == Some(node) && held.growing_from.is_some());
        }
        let pieces: usize = target.shares.values().map(Vec::len).sum();
        (ready, pieces + target.unplaced.len() + 1)
    }

    fn check_follow(
        &self,
        collection: &Collection,
        channel: usize,
        follow: &Follow,
    ) -> Result<(), Hindrance> {
        if let Some(piece) = follow.target.unplaced.first() {
            let (count, name) = (follow.target.unplaced.len(), &collection.channels[channel].name);
            let mut reason = format!(
                "no query node has memory for {count} segments of channel {name}, such as {} of {} bytes",
                piece.id, piece.bytes
            );
            let suspended = self.suspended_here();
            if !suspended.is_empty() {
                let names: Vec<_> = suspended.iter().map(NodeId::to_string).collect();
                reason = format!("{reason}; suspended query nodes take nothing: {}", names.join(", "));
            }
            return Err(Hindrance { reason, is_full: suspended.is_empty() });
        }
        let held = |node: &NodeId| {
            let held = self.nodes.get(node)?.held.get(&collection.info.id)?;
            Some(Hindrance { reason: held.failure.clone()?, is_full: held.is_full })
        };
        // What more memory does not help comes first.
        match follow.waiting.iter().filter_map(held).min_by_key(|one| one.is_full) {
            Some(hindrance) => Err(hindrance),
            None => Ok(()),
        }
    }

    /// Whether something that is to be loaded has no node.
    #[cfg(test)]
    pub fn has_unplaced(&self) -> bool {
        let pending = self.pending.iter().filter_map(|id| self.collections.get(id));
        let mut follows = pending.flat_map(|known| &known.replicas).flat_map(|replica| &replica.follows);
        follows.any(|follow| !follow.target.is_placed())
    }

    /// All resource groups, the default one first, then by name.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupInfo> {
        let default = GroupConfig { limits: DEFAULT_LIMIT, ..GroupConfig::default() };
        let others = self.configs.iter().map(|(name, config)| (name.as_str(), config.clone()));
        let all = std::iter::once((DEFAULT_GROUP, default)).chain(others);
        let mut infos: Vec<_> = all.map(|(name, config)| self.group_info(name, config)).collect();
        let at: BTreeMap<_, _> = infos.iter().enumerate().map(|(at, info)| (info.name.clone(), at)).collect();
        for (id, collection) in &self.collections {
            for replica in &collection.replicas {
                let used = used(replica).into_iter().filter_map(|node| self.nodes.get(&node));
                let outside = used.map(|node| node.group.as_str()).filter(|group| *group != replica.group);
                if let Some(at) = at.get(&replica.group) {
                    *infos[*at].replicas.entry(*id).or_default() += 1;
                }
                for group in outside {
                    if let Some(at) = at.get(&replica.group) {
                        *infos[*at].outgoing.entry(*id).or_default() += 1;
                    }
                    if let Some(at) = at.get(group) {
                        *infos[*at].incoming.entry(*id).or_default() += 1;
                    }
                }
            }
        }
        infos
    }

    fn group_info(&self, name: &str, config: GroupConfig) -> GroupInfo {
        let nodes = self.groups.get(name).map(|group| group.nodes.as_slice()).unwrap_or_default();
        let nodes = nodes.iter().filter_map(|id| self.nodes.get(id)).map(|node| GroupNode {
            id: node.info.id,
            address: node.info.address.clone(),
            host: node.info.host.clone(),
        });
        GroupInfo {
            name: name.to_owned(),
            config,
            nodes: nodes.collect(),
            replicas: BTreeMap::new(),
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }

    /// How a collection is placed: as it is read now, or as it is to be while it cannot be read.
    #[must_use]
    pub fn replicas(&self, collection: CollectionId) -> Vec<ReplicaInfo> {
        let Some(known) = self.collections.get(&collection) else { return Vec::new() };
        known.replicas.iter().map(|replica| self.replica_info(known, replica)).collect()
    }

    fn replica_info(&self, collection: &Collection, replica: &Replica) -> ReplicaInfo {
        let members = self.groups.get(&replica.group).map(|group| group.nodes.clone()).unwrap_or_default();
        let mut nodes: BTreeSet<_> = replica.pool.clone().unwrap_or(members).into_iter().collect();
        nodes.extend(used(replica));
        let mut shards = Vec::new();
        let mut segments = BTreeSet::new();
        for (follow, channel) in replica.follows.iter().zip(&collection.channels) {
            let split = follow.live.as_ref().unwrap_or(&follow.target);
            let leader = split.growing.and_then(|node| self.nodes.get(&node));
            shards.push(ReplicaShard {
                channel: channel.name.clone(),
                leader: leader.map(|node| node.info.id).unwrap_or_default(),
                address: leader.map(|node| node.info.address.clone()).unwrap_or_default(),
                nodes: split.nodes().into_iter().collect(),
            });
            let pieces = split.shares.iter();
            segments.extend(pieces.flat_map(|(node, pieces)| pieces.iter().map(|piece| (*node, piece.id))));
        }
        let partitions = collection.info.load.as_ref().and_then(|load| load.partitions.clone());
        ReplicaInfo {
            id: replica.id,
            collection: collection.info.id,
            partitions: partitions.unwrap_or_default(),
            group: replica.group.clone(),
            nodes: nodes.into_iter().collect(),
            shards,
            segments: segments.into_iter().collect(),
            complete: replica.is_complete(),
        }
    }

    /// What the fullest of the nodes that hold data has room for beside what it is ordered to hold. Unit: bytes of memory; `u64::MAX`
    /// for no limit.
    #[must_use]
    pub fn room(&self) -> u64 {
        let readers = self.nodes.values().filter(|node| node.info.duties.queries);
        let seats = readers.filter_map(|node| self.seats.get(node.info.id));
        let rooms = seats
            .map(|seat| if seat.limit == u64::MAX { u64::MAX } else { seat.limit.saturating_sub(seat.held) });
        rooms.min().unwrap_or(u64::MAX)
    }

    /// What the collections ask of the nodes, and how many of those there are; not what is damaged.
    #[must_use]
    pub fn wants(&self) -> Wants {
        let duties = || self.nodes.values().map(|node| node.info.duties);
        let readers = duties().filter(|duties| duties.queries).count() as u64;
        let writers = duties().filter(|duties| duties.writes).count() as u64;
        let mut wants = Wants { readers, writers, ..Wants::default() };
        for known in self.collections.values().filter(|known| !known.removed) {
            wants.collections += 1;
            wants.to_load += u64::from(known.info.load.is_some());
            if self.unreadable.contains_key(&known.info.id) {
                continue;
            }
            let is_owned =
                |channel: &&Channel| channel.counts_for().is_some_and(|node| self.nodes.contains_key(&node));
            let owned = known.channels.iter().filter(is_owned).count();
            wants.ownerless += (known.channels.len() - owned) as u64;
        }
        wants
    }

    /// Every node that takes part, ascending by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        self.nodes.values().map(|node| self.node_status(node)).collect()
    }

    fn node_status(&self, node: &Node) -> NodeStatus {
        let id = node.info.id;
        let ordered = node.log.last.keys().filter_map(|collection| self.collections.get(collection));
        let holds = ordered.filter_map(|collection| collection.holds.get(&id)).flatten();
        let mut left = Left {
            channels: node.owned.keys().chain(&node.open).collect::<BTreeSet<_>>().len() as u64,
            ..Left::default()
        };
        for hold in holds {
            left.segments += hold.segments.len() as u64;
            left.followed += u64::from(hold.growing_from.is_some());
        }
        let held = node.held.values().flat_map(|held| &held.channels);
        let segments: u64 = held.clone().map(|held| held.segments.len() as u64).sum();
        if !self.settled {
            // A leader that still listens does not know what it will need.
            left.segments += segments;
            left.followed += held.count() as u64;
        }
        let joined = u64::try_from((node.since.saturating_sub(self.started)).as_millis()).unwrap_or(0);
        NodeStatus {
            info: node.info.clone(),
            state: if node.drained { NodeState::Draining } else { node.state },
            group: node.group.clone(),
            since: Timestamp::from_unix_ms(self.started_at.unix_ms() + joined),
            channels: node.owned.keys().cloned().collect(),
            collections: node.held.keys().copied().collect(),
            segments,
            remaining: left.channels + left.segments + left.followed,
            load: node.load,
            open: node.opened.clone(),
            held: node.held.values().cloned().collect(),
            left,
        }
    }

    /// The builder with the fewest jobs, `busy` counting those it has been given.
    #[must_use]
    pub fn builder(&self, busy: &BTreeMap<NodeId, usize>) -> Option<Place> {
        let builders = self.nodes.values().filter(|node| node.serves() && node.info.duties.builds);
        let least = builders.min_by_key(|node| (busy.get(&node.info.id).copied().unwrap_or(0), node.info.id));
        least.map(|node| node.place.clone())
    }

    /// Whether some node may still read one of these segments of a collection: it is ordered to hold it, reports that it
    /// does, or may not know yet that it is not to. Also while this leader has not heard of all nodes yet.
    #[must_use]
    pub fn holds_any(&self, collection: CollectionId, segments: &[SegmentId]) -> bool {
        let is_meant = |held: &[SegmentId]| held.iter().any(|id| segments.contains(id));
        let ordered = self.collections.get(&collection).into_iter().flat_map(|known| known.holds.values());
        let may_hold = |node: &Node| {
            // A node that goes by older orders may be about to load whatever these said, and does not report that.
            let is_behind = node.seen.epoch != self.epoch || node.seen.number < node.log.floor;
            let is_taken = |taken: &Taken| taken.collection == collection && is_meant(&taken.segments);
            let mut held = node.held.get(&collection).into_iter().flat_map(|held| &held.channels);
            node.info.duties.queries && is_behind
                || node.taken.iter().any(is_taken)
                || held.any(|channel| is_meant(&channel.segments))
        };
        !self.settled
            || ordered.flatten().any(|hold| is_meant(&hold.segments))
            || self.nodes.values().any(may_hold)
    }

    /// How those who follow a channel are doing.
    #[must_use]
    pub fn followers_of(&self, channel: &ChannelName) -> Followed {
        let at = self.channels.get(channel).filter(|_| self.settled);
        // Of what nodes keep without orders it is not known what they need.
        let at = at.filter(|(collection, _)| !self.unreadable.contains_key(collection));
        let known = at.and_then(|(collection, at)| Some((self.collections.get(collection)?, *at)));
        let Some((collection, at)) = known else { return Followed::default() };
        let mut followed = Followed { needs_from: Some(Position(u64::MAX)), fullness: 0.0 };
        for (node, holds) in &collection.holds {
            let Some(hold) = holds.iter().find(|hold| hold.channel == at) else { continue };
            let Some(node) = self.nodes.get(node) else { continue };
            let held = node.held_channel(collection.info.id, channel);
            followed.needs_from =
                followed.needs_from.zip(held).map(|(known, held)| known.min(held.needs_from));
            if hold.growing_from.is_some() {
                followed.fullness = followed.fullness.max(node.load.fullness);
            }
        }
        followed
    }

    /// A node that takes writes: the one that owns fewest channels.
    #[must_use]
    pub fn any_writer(&self) -> Option<Place> {
        let writers = self.nodes.values().filter(|node| node.writes());
        writers.min_by_key(|node| (node.owns, node.info.id)).map(|node| node.place.clone())
    }

    /// How many query nodes a resource group has.
    #[must_use]
    pub fn query_nodes(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, |group| group.nodes.len())
    }
}

/// Nodes that a replica is read from or is to be.
pub(super) fn used(replica: &Replica) -> BTreeSet<NodeId> {
    let splits = replica.follows.iter().flat_map(|follow| follow.live.iter().chain([&follow.target]));
    splits.flat_map(|split| split.nodes()).collect()
}
