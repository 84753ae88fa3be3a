//! What nodes are ordered to hold: all that the wanted placement, the published route and older routes in use need.

use std::collections::{BTreeMap, BTreeSet};

use super::Placer;
use super::collection::Collection;
use super::node::Taken;
use super::split::{Piece, Split};
use crate::base::{CollectionId, NodeId, Position, SegmentId};

/// What a node is ordered to hold of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    /// The channel's number in its collection.
    pub channel: usize,
    /// Ascending.
    pub segments: Vec<SegmentId>,
    pub growing_from: Option<Position>,
    /// What the segments take. Unit: bytes of memory.
    pub bytes: u64,
}

/// By node and channel: pieces, maybe more than once, and the lowest position to follow from.
type Needs = BTreeMap<NodeId, BTreeMap<usize, (Vec<Piece>, Option<Position>)>>;

fn need(needs: &mut Needs, channel: usize, split: &Split) {
    for (node, pieces) in &split.shares {
        let entry = needs.entry(*node).or_default().entry(channel).or_default();
        entry.0.extend_from_slice(pieces);
    }
    if let Some(node) = split.growing {
        let from = &mut needs.entry(node).or_default().entry(channel).or_default().1;
        *from = Some(from.map_or(split.checkpoint, |known| known.min(split.checkpoint)));
    }
}

/// What every node needs of a collection.
fn holds(collection: &Collection) -> BTreeMap<NodeId, Vec<Hold>> {
    let mut needs = Needs::new();
    for replica in &collection.replicas {
        for (channel, follow) in replica.follows.iter().enumerate() {
            need(&mut needs, channel, &follow.target);
            if let Some(live) = follow.live.as_ref().filter(|_| !follow.is_quiet()) {
                need(&mut needs, channel, live);
            }
        }
    }
    for retired in &collection.retired {
        need(&mut needs, retired.channel, &retired.split);
    }
    let by_node = needs.into_iter().map(|(node, channels)| {
        let holds = channels.into_iter().map(|(channel, (pieces, from))| hold(channel, pieces, from));
        (node, holds.collect())
    });
    by_node.collect()
}

fn hold(channel: usize, mut pieces: Vec<Piece>, growing_from: Option<Position>) -> Hold {
    // The larger size of two is the newer one often enough, and the safe one always.
    pieces.sort_unstable_by_key(|piece| (piece.id, std::cmp::Reverse(piece.bytes)));
    pieces.dedup_by_key(|piece| piece.id);
    let bytes = pieces.iter().map(|piece| piece.bytes).sum();
    Hold { channel, segments: pieces.into_iter().map(|piece| piece.id).collect(), growing_from, bytes }
}

fn bytes(holds: Option<&Vec<Hold>>) -> u64 {
    holds.map_or(0, |holds| holds.iter().map(|hold| hold.bytes).sum())
}

impl Placer {
    /// Brings the orders up to date with what is needed of a collection; nodes whose orders change get them anew.
    pub(super) fn refresh_holds(&mut self, collection: &mut Collection) {
        let mut fresh = holds(collection);
        fresh.retain(|node, _| self.nodes.contains_key(node));
        let nodes: BTreeSet<_> = fresh.keys().chain(collection.holds.keys()).copied().collect();
        for node in nodes {
            let (before, after) = (collection.holds.get(&node), fresh.get(&node));
            if before == after {
                continue;
            }
            if let Some(seat) = self.seats.get_mut(node) {
                seat.held = seat.held.saturating_sub(bytes(before)) + bytes(after);
            }
            self.touch(node, collection.info.id, after.is_none());
            self.take_missing(node, collection, after);
        }
        collection.holds = fresh;
    }

    /// Notes what a node's new orders do not name any more.
    fn take_missing(&mut self, id: NodeId, collection: &Collection, after: Option<&Vec<Hold>>) {
        let number = self.number;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for hold in collection.holds.get(&id).into_iter().flatten() {
            let kept = after.and_then(|after| after.iter().find(|other| other.channel == hold.channel));
            let ordered = kept.map(|kept| kept.segments.as_slice()).unwrap_or_default();
            let mut segments = hold.segments.clone();
            segments.retain(|segment| ordered.binary_search(segment).is_err());
            let growing = hold.growing_from.is_some() && kept.is_none_or(|kept| kept.growing_from.is_none());
            if growing || !segments.is_empty() {
                let channel = collection.channels[hold.channel].name.clone();
                node.take(Taken { number, collection: collection.info.id, channel, segments, growing });
            }
        }
    }

    /// Notes that the orders of nodes that hold what `which` chooses have changed otherwise.
    pub(super) fn touch_holders(&mut self, collection: &Collection, which: impl Fn(&Hold) -> bool) {
        for (node, holds) in &collection.holds {
            if holds.iter().any(&which) {
                self.touch(*node, collection.info.id, false);
            }
        }
    }

    /// Notes that a node's orders about a collection have changed.
    pub(super) fn touch(&mut self, node: NodeId, collection: CollectionId, released: bool) {
        let number = self.number + 1;
        if let Some(node) = self.nodes.get_mut(&node) {
            self.number = number;
            node.log.note(collection, number, released);
        }
    }

    /// Lets go of what only routes needed that no proxy uses any more.
    pub(super) fn let_go(&mut self) {
        let seen = if self.settings.releases_early { self.number } else { self.read_by_proxies() };
        let mut freed = BTreeSet::new();
        while let Some(&(number, collection)) = self.retiring.first() {
            if number > seen {
                break;
            }
            self.retiring.pop_first();
            freed.insert(collection);
        }
        for id in freed {
            let Some(mut collection) = self.collections.remove(&id) else { continue };
            collection.retired.retain(|retired| retired.number > seen);
            self.refresh_holds(&mut collection);
            if !collection.removed || !collection.retired.is_empty() {
                self.collections.insert(id, collection);
            }
        }
    }
}
