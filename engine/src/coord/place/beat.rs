//! What reports change: who is there, what is held, what was seen.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Placer;
use super::node::{Node, Taken};
use crate::base::{CollectionId, NodeId};
use crate::rpc::{Duties, HeldChannel, HeldCollection, NodeInfo, NodeState, Report};

impl Placer {
    /// Takes over a node's report, also its first. One that is older than what is known is ignored.
    pub fn report(&mut self, report: Report, now: Duration) {
        self.now = self.now.max(now);
        let id = report.node.id;
        if let Some(expected) = &mut self.expected {
            expected.remove(&id);
        }
        if report.state == NodeState::Leaving {
            self.lose(id);
            self.work();
            return;
        }
        let late =
            |node: &Node| report.seen.epoch == node.seen.epoch && report.seen.number < node.seen.number;
        if self.nodes.get(&id).is_some_and(late) {
            return;
        }
        let is_new = !self.nodes.contains_key(&id);
        let served = self.nodes.get(&id).is_some_and(Node::serves);
        let regroup = self.greet(&report);
        if is_new {
            self.lose_former(&report.node);
        }
        for open in &report.channels {
            self.absorb(id, open);
        }
        self.take_held(id, report.held);
        if served {
            self.empty_of_kept(id);
        }
        self.note_seen(id);
        if self.settled && regroup {
            self.regroup();
        }
        self.work();
        if is_new && self.settled {
            self.take_rest(id, None);
        }
    }

    /// Notes that a node which is back will let go of all that its orders do not name; or only what it has of one collection.
    pub(super) fn take_rest(&mut self, id: NodeId, only: Option<CollectionId>) {
        let number = self.next_number();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut taken = Vec::new();
        for (collection, held) in &node.held {
            if only.is_some_and(|only| only != *collection) || self.unreadable.contains_key(collection) {
                continue;
            }
            let Some(known) = self.collections.get(collection) else { continue };
            let holds = known.holds.get(&id).map(Vec::as_slice).unwrap_or_default();
            for held in &held.channels {
                let hold = holds.iter().find(|hold| known.channels[hold.channel].name == held.channel);
                let ordered = hold.map(|hold| hold.segments.as_slice()).unwrap_or_default();
                let mut segments = held.segments.clone();
                segments.retain(|segment| ordered.binary_search(segment).is_err());
                let growing = hold.is_none_or(|hold| hold.growing_from.is_none());
                taken.push(Taken {
                    number,
                    collection: *collection,
                    channel: held.channel.clone(),
                    segments,
                    growing,
                });
            }
        }
        for taken in taken {
            node.take(taken);
        }
    }

    /// Nodes are not to keep what they have of a collection any more whatever its manifests say: those that have something are
    /// told to let go of it, unless they are ordered to hold it before they hear that. Returns these.
    pub(super) fn end_keeping(&mut self, id: CollectionId) -> Vec<NodeId> {
        if self.unreadable.remove(&id).is_none() || !self.settled {
            return Vec::new();
        }
        let keepers: Vec<NodeId> = self.holders.get(&id).into_iter().flatten().copied().collect();
        for node in &keepers {
            self.touch(*node, id, true);
            if let Some(known) = self.nodes.get(node) {
                self.seats.put(*node, self.limit(&known.info, known.held.values()));
            }
        }
        keepers
    }

    /// A node that is to be emptied is told to let go of what it keeps whatever the manifests say: nobody can take it over from
    /// there, and whoever is to have it loads it from the bucket once they are whole. To be called when it is to be emptied from
    /// now on; one that is before its first orders is not told to keep anything.
    fn empty_of_kept(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id).filter(|node| self.settled && !node.serves()) else { return };
        let kept = node.held.values().filter(|held| self.unreadable.contains_key(&held.collection));
        let kept: Vec<HeldCollection> = kept.cloned().collect();
        for HeldCollection { collection, channels, .. } in kept {
            self.touch(id, collection, true);
            let number = self.number;
            let Some(node) = self.nodes.get_mut(&id) else { return };
            for HeldChannel { channel, segments, .. } in channels {
                node.take(Taken { number, collection, channel, segments, growing: true });
            }
        }
    }

    /// Goes on with what an earlier leader was asked for. Call it before the first report.
    pub fn keep_drains(&mut self, drains: BTreeSet<NodeId>) {
        self.drains = drains;
    }

    /// Nodes to be emptied, also those that are not there.
    pub const fn drains(&self) -> &BTreeSet<NodeId> {
        &self.drains
    }

    /// Asks for a node to be emptied, or takes that back. `false` if there is no such node.
    pub fn drain(&mut self, node: NodeId, on: bool) -> bool {
        let Some(known) = self.nodes.get_mut(&node) else { return false };
        if on {
            self.drains.insert(node)
        } else {
            self.drains.remove(&node)
        };
        if known.drained != on {
            known.drained = on;
            self.empty_of_kept(node);
            if self.settled {
                self.replace_owner_of(node);
                self.regroup();
            }
            self.work();
        }
        true
    }

    /// Takes over who a node is and how it does. Returns whether that may change its group.
    fn greet(&mut self, report: &Report) -> bool {
        let id = report.node.id;
        let limit = self.limit(&report.node, &report.held);
        let mut changed = false;
        if !self.nodes.contains_key(&id) {
            // Whatever it has seen before, it gets all of its orders anew.
            let number = self.next_number();
            let mut node = Node::new(report.node.clone(), self.now, number);
            node.drained = self.drains.contains(&id);
            self.nodes.insert(id, node);
            changed = true;
        }
        self.seats.put(id, limit);
        let Some(node) = self.nodes.get_mut(&id) else { return false };
        let served = node.serves();
        if node.info != report.node {
            changed = true;
            node.place.address = report.node.address.as_str().into();
            node.info.clone_from(&report.node);
        }
        node.state = report.state;
        node.beat = self.now;
        node.seen = report.seen;
        let known = node.reads_since;
        node.reads_since = report
            .reads_since
            .map(|orders| known.filter(|(known, _)| *known == orders).unwrap_or((orders, node.beat)));
        node.load = report.load;
        node.opened.clone_from(&report.channels);
        node.open = report.channels.iter().map(|open| open.channel.clone()).collect();
        changed |= node.serves() != served;
        if changed {
            self.note_maps();
            if self.settled {
                self.replace_owner_of(id);
            }
        }
        changed
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size, which is never negative"
    )]
    fn limit<'a>(&self, info: &NodeInfo, held: impl IntoIterator<Item = &'a HeldCollection>) -> u64 {
        // What it keeps without being ordered to is in none of the sums.
        let kept = held.into_iter().filter(|held| self.unreadable.contains_key(&held.collection));
        let kept: u64 = kept.map(|held| held.bytes).sum();
        match info.memory_bytes {
            0 => u64::MAX,
            bytes => ((bytes as f64 * self.settings.memory_share) as u64).saturating_sub(kept),
        }
    }

    /// Takes over what a node holds; collections where that matters are planned anew.
    fn take_held(&mut self, id: NodeId, held: Vec<HeldCollection>) {
        let epoch = self.epoch;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let seen = node.seen;
        node.taken.retain(|taken| seen.epoch != epoch || taken.number > seen.number);
        let mut before = std::mem::take(&mut node.held);
        let mut changed = BTreeSet::new();
        for mut held in held {
            for taken in &node.taken {
                taken.strike(&mut held);
            }
            let collection = held.collection;
            if before.remove(&collection).is_none_or(|known| known != held) {
                changed.insert(collection);
            }
            node.held.insert(collection, held);
        }
        for collection in before.into_keys() {
            if let Some(holders) = self.holders.get_mut(&collection) {
                holders.remove(&id);
                if holders.is_empty() {
                    self.holders.remove(&collection);
                }
            }
            self.note_held(collection, id);
        }
        let adopts = self.settled && !changed.is_empty() && self.read_by_proxies() < self.first;
        for collection in changed {
            if self.holders.entry(collection).or_default().insert(id) && self.settled {
                if adopts {
                    self.adopt_from(collection, id);
                }
                // One that comes back may still have what former routes need.
                if self.collections.get(&collection).is_some_and(|known| !known.retired.is_empty()) {
                    self.dirty.insert(collection);
                }
            }
            self.note_held(collection, id);
        }
    }

    /// Looks at what a node holds of a collection now; plans only if that makes a difference.
    fn note_held(&mut self, id: CollectionId, node: NodeId) {
        let Some(collection) = self.collections.get_mut(&id) else { return };
        let Some(known) = self.nodes.get(&node) else { return };
        let mut matters = false;
        for replica in &mut collection.replicas {
            for (follow, channel) in replica.follows.iter_mut().zip(&collection.channels) {
                let held = known.held_channel(id, &channel.name);
                let has_part = |split: &super::split::Split| {
                    split.growing == Some(node) || split.shares.contains_key(&node)
                };
                let live = follow.live.as_ref().filter(|live| has_part(live));
                matters |= live.is_some_and(|live| !live.is_ready(node, held));
                if follow.is_quiet() || !has_part(&follow.target) {
                    continue;
                }
                if follow.target.is_ready(node, held) {
                    follow.waiting.remove(&node);
                    matters |= follow.waiting.is_empty();
                } else {
                    follow.waiting.insert(node);
                }
            }
        }
        if matters {
            self.dirty.insert(id);
        }
    }

    /// Forgets what was kept only until this node had seen it.
    fn note_seen(&mut self, id: NodeId) {
        let epoch = self.epoch;
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.seen.epoch == epoch) {
            node.log.forget(node.seen.number);
        }
        if !self.news.released.is_empty() || !self.redefined.released.is_empty() {
            let seen = self.seen_by_proxies();
            self.news.forget(seen);
            self.redefined.forget(seen);
        }
    }

    /// Takes over that a node is gone: everything it had goes elsewhere.
    pub(super) fn lose(&mut self, id: NodeId) {
        self.lose_owner(id);
        let Some(node) = self.nodes.remove(&id) else { return };
        self.seats.remove(id);
        self.note_maps();
        for collection in node.held.keys() {
            if let Some(holders) = self.holders.get_mut(collection) {
                holders.remove(&id);
            }
        }
        self.holders.retain(|_, holders| !holders.is_empty());
        self.dirty.extend(node.log.last.keys().copied());
        if self.settled {
            self.regroup();
            self.replan_groups(&BTreeSet::from([node.group]));
        }
    }

    /// Takes over that another process is where former ones were: those that only held data are gone, however lately they were heard,
    /// and what they had is placed again at once. The numbers of nodes grow, so who comes back under an older one drives nobody out.
    ///
    /// Who owns channels is waited for, and so is who reads: were such a process alive all the same, at a name that is another's by now,
    /// it might answer for its channels until its lease is over, or go by routes of before.
    fn lose_former(&mut self, node: &NodeInfo) {
        if node.address.is_empty() {
            return;
        }
        let is_former = |known: &&NodeInfo| known.id < node.id && known.address == node.address;
        let only_holds = |known: &&NodeInfo| {
            let Duties { proxies, writes, queries, .. } = known.duties;
            queries && !proxies && !writes
        };
        let known = self.nodes.values().map(|known| &known.info);
        let former: Vec<NodeId> = known.filter(is_former).filter(only_holds).map(|known| known.id).collect();
        former.into_iter().for_each(|id| self.lose(id));
    }

    /// Tries again, bit by bit, to find room for what had none.
    pub(super) fn retry_unplaced(&mut self) {
        for id in &self.pending {
            let Some(collection) = self.collections.get(id) else { continue };
            let unplaced = collection.replicas.iter().any(|replica| {
                let nodes = self.groups.get(&replica.group).map_or(0, |group| group.nodes.len());
                nodes > 0 && replica.follows.iter().any(|follow| !follow.target.is_placed())
            });
            if unplaced {
                self.later.insert(*id);
            }
        }
    }
}
