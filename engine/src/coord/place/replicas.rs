//! Planning a collection: its replicas' nodes, what each is to hold, and when a new route is published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Placer;
use super::assign::Site;
use super::collection::{Collection, Follow, Replica, Retired};
use super::node;
use super::pools::{self, Member};
use super::split::{Piece, Split};
use crate::base::{CollectionId, NodeId};
use crate::rpc::{HeldChannel, covers};

/// What planning a collection changed in its routes.
#[derive(Debug, Default)]
struct Outcome {
    /// Parts of routes that are not used for new reads any more.
    retired: Vec<(usize, Arc<Split>)>,
    changed: bool,
}

impl Outcome {
    fn retire(&mut self, channel: usize, split: Option<Arc<Split>>) {
        if let Some(split) = split {
            self.retired.push((channel, split));
            self.changed = true;
        }
    }
}

impl Placer {
    /// Brings a collection's placement up to date with everything that is known.
    pub(super) fn plan(&mut self, id: CollectionId) {
        let Some(mut collection) = self.collections.remove(&id) else { return };
        let mut outcome = Outcome::default();
        self.sync_replicas(&mut collection, &mut outcome);
        self.divide_groups(&mut collection);
        let mut replicas = std::mem::take(&mut collection.replicas);
        for replica in &mut replicas {
            let site = self.site(replica.id, &replica.group, replica.pool.clone());
            replica.follows.resize_with(collection.channels.len(), Follow::default);
            for (channel, follow) in replica.follows.iter_mut().enumerate() {
                self.plan_follow(&site, &collection, channel, follow, &mut outcome);
            }
        }
        self.close_poor(&mut replicas, &mut outcome);
        let quiet = replicas.iter().all(Replica::is_quiet);
        collection.replicas = replicas;
        // What is released is not to be read any more, whether or not any route changes by it.
        outcome.changed |= collection.routes.readable != collection.readable()
            || collection.routes.partitions.as_deref() != collection.wanted_partitions();
        if quiet {
            self.pending.remove(&id);
        } else {
            self.pending.insert(id);
        }
        self.finish_plan(collection, outcome);
    }

    /// Gives up replicas that have no nodes of their own while their group has some, once another one can be read: what
    /// they still hold is on nodes that are to be emptied or belong to others.
    fn close_poor(&mut self, replicas: &mut [Replica], outcome: &mut Outcome) {
        let is_poor = |replica: &Replica| {
            let members = self.groups.get(&replica.group).map_or(0, |group| group.nodes.len());
            members > 0 && replica.pool.as_ref().is_some_and(Vec::is_empty)
        };
        let poor: Vec<bool> = replicas.iter().map(is_poor).collect();
        if !replicas.iter().zip(&poor).any(|(replica, poor)| !poor && replica.is_complete()) {
            return;
        }
        for (replica, _) in replicas.iter_mut().zip(&poor).filter(|(_, poor)| **poor) {
            for (channel, follow) in replica.follows.iter_mut().enumerate() {
                outcome.retire(channel, follow.live.take());
                let target = std::mem::take(&mut follow.target);
                self.seats.discharge(&target);
            }
        }
    }

    /// Publishes what changed and brings the orders up to date.
    fn finish_plan(&mut self, mut collection: Collection, outcome: Outcome) {
        let id = collection.info.id;
        let removed = collection.removed;
        if outcome.changed || removed {
            let number = self.announce_as(&mut collection);
            if !outcome.retired.is_empty() {
                self.retiring.insert((number, id));
            }
            let retired = outcome.retired.into_iter();
            collection.retired.extend(retired.map(|(channel, split)| Retired { number, channel, split }));
        }
        #[cfg(test)]
        if self.defect == Some(super::tests::Defect::ReleaseEarly) {
            collection.retired.clear();
        }
        for (node, bytes) in std::mem::take(&mut self.promised) {
            if let Some(seat) = self.seats.get_mut(node) {
                seat.held = seat.held.saturating_sub(bytes);
            }
        }
        self.refresh_holds(&mut collection);
        if !removed || !collection.retired.is_empty() {
            self.collections.insert(id, collection);
        }
    }

    /// Adds and removes replicas as the catalog says.
    fn sync_replicas(&mut self, collection: &mut Collection, outcome: &mut Outcome) {
        let is_known = !self.unreadable.contains_key(&collection.info.id);
        let load = collection.info.load.as_ref().filter(|_| !collection.removed && is_known);
        let specs = load.map(|load| load.replicas.clone()).unwrap_or_default();
        let mut known: BTreeMap<i64, Replica> = std::mem::take(&mut collection.replicas)
            .into_iter()
            .map(|replica| (replica.id, replica))
            .collect();
        for spec in specs {
            let fresh =
                || Replica { id: spec.id, group: spec.group.clone(), pool: None, follows: Vec::new() };
            let mut replica = known.remove(&spec.id).unwrap_or_else(fresh);
            if replica.group != spec.group {
                replica.group.clone_from(&spec.group);
                replica.pool = None;
            }
            collection.replicas.push(replica);
        }
        for replica in known.into_values() {
            for (channel, follow) in replica.follows.into_iter().enumerate() {
                self.seats.discharge(&follow.target);
                outcome.retire(channel, follow.live);
            }
            outcome.changed = true;
        }
    }

    /// Divides the nodes of each group between the replicas that share it.
    fn divide_groups(&self, collection: &mut Collection) {
        let mut by_group: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, replica) in collection.replicas.iter().enumerate() {
            by_group.entry(replica.group.clone()).or_default().push(at);
        }
        for (group, ats) in by_group {
            if let [at] = ats.as_slice() {
                collection.replicas[*at].pool = None;
                continue;
            }
            let members = self.members_of(&group, collection.info.id);
            let mut has: Vec<_> = ats.iter().map(|at| self.has(&collection.replicas[*at])).collect();
            if has.iter().all(BTreeMap::is_empty) {
                has = self.had(collection, &members, ats.len());
            }
            for (at, pool) in ats.iter().zip(pools::divide(&members, &has)) {
                collection.replicas[*at].pool = Some(pool);
            }
        }
    }

    fn members_of(&self, group: &str, collection: CollectionId) -> Vec<Member> {
        let nodes = self.groups.get(group).map(|group| group.nodes.as_slice()).unwrap_or_default();
        let known = nodes.iter().filter_map(|id| self.nodes.get(id));
        known
            .map(|known| {
                let zone = known.info.zone().to_owned();
                let draw = node::mix(node::hash(known.info.id) ^ collection.0.cast_unsigned());
                Member { id: known.info.id, zone, host: known.info.host.clone(), draw }
            })
            .collect()
    }

    /// The nodes that are a replica's own, and how many things each has of it.
    fn has(&self, replica: &Replica) -> BTreeMap<NodeId, usize> {
        let mut has: BTreeMap<NodeId, usize> = replica.pool.iter().flatten().map(|node| (*node, 0)).collect();
        for follow in &replica.follows {
            for (node, pieces) in &follow.target.shares {
                *has.entry(*node).or_default() += pieces.len();
            }
            if let Some(node) = follow.target.growing {
                *has.entry(node).or_default() += 1;
            }
        }
        has.retain(|node, _| self.nodes.contains_key(node));
        has
    }

    /// Which replica an earlier leader gave each node to, told from what the nodes hold: those of one replica hold
    /// different things.
    fn had(
        &self,
        collection: &Collection,
        members: &[Member],
        replicas: usize,
    ) -> Vec<BTreeMap<NodeId, usize>> {
        let id = collection.info.id;
        let things = |node: &NodeId| -> Option<BTreeSet<(usize, i64)>> {
            let held = self.nodes.get(node)?.held.get(&id)?;
            let at =
                |held: &HeldChannel| collection.channels.iter().position(|known| known.name == held.channel);
            let channels = held.channels.iter().filter_map(|held| at(held).map(|at| (at, held)));
            let list = channels.flat_map(|(at, held)| {
                let growing = held.growing_from.map(|_| (at, i64::MIN));
                held.segments.iter().map(move |segment| (at, segment.0)).chain(growing)
            });
            Some(list.collect())
        };
        let mut holding: Vec<_> =
            members.iter().filter_map(|member| Some((member.id, things(&member.id)?))).collect();
        holding.sort_by_key(|(node, things)| (std::cmp::Reverse(things.len()), *node));
        let mut had = vec![BTreeMap::new(); replicas];
        let mut sets = vec![BTreeSet::new(); replicas];
        for (node, things) in holding {
            let overlap = |at: &usize| (things.intersection(&sets[*at]).count(), had[*at].len(), *at);
            if let Some(at) = (0..replicas).min_by_key(overlap) {
                had[at].insert(node, things.len());
                sets[at].extend(things);
            }
        }
        had
    }

    /// Plans one channel of one replica, and publishes what is ready.
    fn plan_follow(
        &mut self,
        site: &Site,
        collection: &Collection,
        channel: usize,
        follow: &mut Follow,
        outcome: &mut Outcome,
    ) {
        if follow.live.as_ref().is_some_and(|live| !self.is_held(collection, channel, live)) {
            outcome.retire(channel, follow.live.take());
        }
        // Once more after a plan is finished that was made for an older manifest.
        for _ in 0..2 {
            if !self.goes_on(site, collection, channel, follow) {
                self.retarget(site, collection, channel, follow);
            }
            self.find_waiting(collection, channel, follow);
            if follow.is_quiet() || !follow.waiting.is_empty() || !follow.target.is_placed() {
                return;
            }
            outcome.retire(channel, follow.live.replace(follow.target.clone()));
            outcome.changed = true;
        }
    }

    /// Whether an unfinished plan is still worth finishing: its nodes are there, and nothing is missing for it that can
    /// no longer be had. Otherwise manifests that follow each other fast would keep any plan from being finished.
    fn goes_on(&self, site: &Site, collection: &Collection, channel: usize, follow: &Follow) -> bool {
        let target = &follow.target;
        if follow.is_quiet() || !target.is_placed() {
            return false;
        }
        if !target.nodes().iter().all(|node| self.may_use(site, *node)) {
            return false;
        }
        // No node will say that it knows of partitions that were released meanwhile.
        if !covers(collection.wanted_partitions(), target.partitions.as_deref()) {
            return false;
        }
        let manifest = &collection.channels[channel].manifest;
        if manifest.checkpoint == target.checkpoint && self.wants_same(collection, channel, target) {
            return false;
        }
        let listed: BTreeSet<_> = manifest.segments.iter().map(|segment| segment.id).collect();
        target.nodes().into_iter().all(|node| {
            let held = self.held_by(collection, channel, node);
            let follows = target.growing != Some(node)
                || target.checkpoint == manifest.checkpoint
                || held.and_then(|held| held.growing_from).is_some_and(|from| from <= target.checkpoint);
            let there =
                |piece: &Piece| held.is_some_and(|held| held.segments.binary_search(&piece.id).is_ok());
            follows && target.pieces(node).iter().all(|piece| listed.contains(&piece.id) || there(piece))
        })
    }

    /// Whether the target has just the pieces that are wanted now.
    fn wants_same(&self, collection: &Collection, channel: usize, target: &Split) -> bool {
        let wanted = collection.wanted_pieces(channel, self.maps_vectors);
        let mut placed: Vec<_> = target.shares.values().flatten().copied().collect();
        placed.sort_unstable();
        wanted == placed && target.partitions.as_deref() == collection.wanted_partitions()
    }

    /// Plans for the newest manifest.
    fn retarget(&mut self, site: &Site, collection: &Collection, channel: usize, follow: &mut Follow) {
        self.seats.discharge(&follow.target);
        let fresh = self.assign(site, collection, channel, &follow.target);
        if fresh == *follow.target {
            return;
        }
        let fresh = Arc::new(fresh);
        if let Some(live) = follow.live.as_mut().filter(|live| live.reads_like(&fresh)) {
            *live = fresh.clone();
        }
        follow.target = fresh;
    }

    fn find_waiting(&self, collection: &Collection, channel: usize, follow: &mut Follow) {
        let nodes = follow.target.nodes().into_iter();
        #[cfg(test)]
        if self.defect == Some(super::tests::Defect::PublishEarly) {
            follow.waiting.clear();
            return;
        }
        follow.waiting = nodes
            .filter(|node| {
                !follow.target.is_ready(*node, self.held_by(collection, channel, *node))
                    || !self.knows_extent(collection, *node, &follow.target)
            })
            .collect();
    }

    /// Whether a node has heard that all partitions of a split are loaded: before, it leaves out or refuses what it has of some.
    fn knows_extent(&self, collection: &Collection, node: NodeId, split: &Split) -> bool {
        let held = self.nodes.get(&node).and_then(|known| known.held.get(&collection.info.id));
        held.is_some_and(|held| held.extent.covers(split.partitions.as_deref()))
    }

    fn held_by(&self, collection: &Collection, channel: usize, node: NodeId) -> Option<&HeldChannel> {
        self.nodes.get(&node)?.held_channel(collection.info.id, &collection.channels[channel].name)
    }

    /// Whether every node of a split still has its part.
    fn is_held(&self, collection: &Collection, channel: usize, split: &Split) -> bool {
        #[cfg(test)]
        if self.defect == Some(super::tests::Defect::PublishEarly) {
            return true;
        }
        split.nodes().into_iter().all(|node| split.is_ready(node, self.held_by(collection, channel, node)))
    }

    /// Keeps what nodes hold from an earlier leader's time until no proxy uses that leader's routes.
    pub(super) fn adopt(&mut self, id: CollectionId) {
        let nodes: Vec<_> = self.holders.get(&id).into_iter().flatten().copied().collect();
        for node in nodes {
            self.adopt_from(id, node);
        }
    }

    /// The same for one node.
    pub(super) fn adopt_from(&mut self, id: CollectionId, node: NodeId) {
        if self.unreadable.contains_key(&id) {
            // It keeps all of it anyway.
            return;
        }
        let number = self.first;
        let Some(collection) = self.collections.get_mut(&id) else { return };
        let Some(held) = self.nodes.get(&node).and_then(|known| known.held.get(&id)) else { return };
        for held in &held.channels {
            let Some(channel) = collection.channels.iter().position(|known| known.name == held.channel)
            else {
                continue;
            };
            let pieces: Vec<_> =
                held.segments.iter().map(|segment| Piece { id: *segment, bytes: 0 }).collect();
            let shares = if pieces.is_empty() { BTreeMap::new() } else { BTreeMap::from([(node, pieces)]) };
            let growing = held.growing_from.map(|_| node);
            let checkpoint = held.growing_from.unwrap_or_default();
            let split = Arc::new(Split { checkpoint, growing, shares, ..Split::default() });
            collection.retired.push(Retired { number, channel, split });
        }
        self.retiring.insert((number, id));
    }
}
