//! Which node takes which segment: rendezvous hashing with bounded load, and nothing moves that can stay.

use std::collections::{BTreeMap, BTreeSet};

use super::Placer;
use super::collection::Collection;
use super::node;
use super::split::{Piece, Split};
use crate::base::{NodeId, Position, SegmentId};
use crate::rpc::GroupConfig;

/// The replica that is planned, and the nodes it may use.
#[derive(Debug)]
pub(super) struct Site {
    pub replica: i64,
    pub group: String,
    /// Its part of the group's nodes, ascending; `None` for all of them.
    pub pool: Option<Vec<NodeId>>,
    /// The seats of those nodes that may be given something new.
    pub slots: Vec<usize>,
    /// Whether the group has no nodes: then what is held stays where it is.
    pub is_deserted: bool,
    /// What is a node's fair load, with some room. Unit: bytes of memory.
    pub fair: u64,
}

impl Placer {
    /// The site of a replica.
    pub(super) fn site(&self, replica: i64, group: &str, pool: Option<Vec<NodeId>>) -> Site {
        let known = self.groups.get(group);
        let mut slots: Vec<_> = match (&pool, known) {
            (Some(pool), _) => {
                let inside = pool.iter().filter(|node| self.is_member(**node, group));
                inside.filter_map(|node| self.seats.slot(*node)).collect()
            }
            (None, Some(known)) => known.slots.clone(),
            (None, None) => Vec::new(),
        };
        slots.retain(|slot| !self.suspended.contains(&self.seats.at(*slot).node));
        let (nodes, wanted) = known.map_or((0, 0), |group| (group.nodes.len(), group.wanted));
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of sizes, which are never negative"
        )]
        // Half of the slack that balancing allows, so that what is placed is not moved soon after.
        let fair =
            (wanted as f64 / nodes.max(1) as f64 * f64::midpoint(1.0, self.settings.balance_above)) as u64;
        Site { replica, group: group.to_owned(), pool, slots, is_deserted: nodes == 0, fair }
    }

    fn is_member(&self, node: NodeId, group: &str) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.group == group)
    }

    /// Whether the replica may use the node: one of its own, or any that its group would take while it has none at all. A
    /// group that is a zone takes nobody from elsewhere even then.
    pub(super) fn may_use(&self, site: &Site, node: NodeId) -> bool {
        if site.is_deserted {
            let Some(node) = self.nodes.get(&node) else { return false };
            let fits = |config: &GroupConfig| {
                config.node_filter.iter().all(|(key, value)| node.info.labels.get(key) == Some(value))
            };
            return self.configs.get(&site.group).is_none_or(fits);
        }
        self.is_member(node, &site.group)
            && site.pool.as_ref().is_none_or(|pool| pool.binary_search(&node).is_ok())
    }

    /// Splits a channel over a replica's nodes. What `before` placed stays where it may; what a node holds already is
    /// best left there; the rest goes by hash, within the bounds of load and memory.
    ///
    /// The caller has taken the loads of `before` off the seats; those of the result are on them afterwards.
    pub(super) fn assign(
        &mut self,
        site: &Site,
        collection: &Collection,
        channel: usize,
        before: &Split,
    ) -> Split {
        let checkpoint = collection.channels[channel].manifest.checkpoint;
        let wanted = collection.wanted_pieces(channel, self.maps_vectors);
        let partitions = collection.wanted_partitions().map(<[_]>::to_vec);
        let mut split = Split { checkpoint, partitions, ..Split::default() };
        let places = before.by_piece();
        let mut rest = Vec::new();
        for piece in wanted {
            match places.get(&piece.id).filter(|node| self.may_use(site, **node)) {
                Some(node) => split.shares.entry(*node).or_default().push(piece),
                None => rest.push(piece),
            }
        }
        split.growing = before.growing.filter(|node| self.may_use(site, *node));
        self.seats.charge(&split);
        if !rest.is_empty() {
            self.place_pieces(site, collection, channel, rest, &mut split);
        }
        if split.growing.is_none() {
            split.growing = self.place_follower(site, collection, channel, checkpoint);
            if let Some(seat) = split.growing.and_then(|node| self.seats.get_mut(node)) {
                seat.follows += 1;
            }
        }
        split
    }

    fn place_pieces(
        &mut self,
        site: &Site,
        collection: &Collection,
        channel: usize,
        mut rest: Vec<Piece>,
        split: &mut Split,
    ) {
        let held = self.held_pieces(site, collection, channel, &rest);
        // Large ones first: small ones fill the gaps.
        rest.sort_unstable_by_key(|piece| (std::cmp::Reverse(piece.bytes), piece.id));
        for piece in rest {
            let there = held.get(&piece.id).copied();
            let slot = there.and_then(|node| self.seats.slot(node)).or_else(|| self.choose(site, piece));
            let Some(slot) = slot else {
                split.unplaced.push(piece);
                continue;
            };
            let seat = self.seats.at_mut(slot);
            seat.load += piece.bytes;
            if there.is_none() {
                // Until the orders are brought up to date, so that the next piece sees a full node as full.
                seat.held += piece.bytes;
                self.promised.push((seat.node, piece.bytes));
            }
            let node = seat.node;
            split.give(node, piece);
        }
        split.unplaced.sort_unstable();
    }

    /// Nodes of the replica that report to hold wanted pieces. Where several do, the one that holds least of the channel
    /// gets its chance last.
    fn held_pieces(
        &self,
        site: &Site,
        collection: &Collection,
        channel: usize,
        wanted: &[Piece],
    ) -> BTreeMap<SegmentId, NodeId> {
        let id = collection.info.id;
        let mut held = BTreeMap::new();
        let Some(holders) = self.holders.get(&id) else { return held };
        let wanted: BTreeSet<_> = wanted.iter().map(|piece| piece.id).collect();
        for node in holders.iter().filter(|node| self.may_use(site, **node)) {
            let known = self.nodes.get(node);
            let Some(there) =
                known.and_then(|node| node.held_channel(id, &collection.channels[channel].name))
            else {
                continue;
            };
            for segment in there.segments.iter().filter(|segment| wanted.contains(segment)) {
                held.entry(*segment).or_insert(*node);
            }
        }
        held
    }

    /// The seat for a piece: by hash among those that stay within their fair load, else the least loaded one.
    pub(super) fn choose(&self, site: &Site, piece: Piece) -> Option<usize> {
        let seed = node::mix(piece.id.0.cast_unsigned() ^ node::mix(site.replica.cast_unsigned()));
        let mut best: Option<(u64, usize)> = None;
        let mut emptiest: Option<(u64, u64, usize)> = None;
        for &slot in &site.slots {
            let seat = self.seats.at(slot);
            if !seat.fits(piece.bytes) {
                continue;
            }
            let score = node::mix(seed ^ seat.hash);
            if seat.load + piece.bytes <= site.fair {
                if best.is_none_or(|(known, _)| score > known) {
                    best = Some((score, slot));
                }
            } else if best.is_none() && emptiest.is_none_or(|known| (seat.load, score, slot) < known) {
                emptiest = Some((seat.load, score, slot));
            }
        }
        best.map(|(_, slot)| slot).or(emptiest.map(|(_, _, slot)| slot))
    }

    /// The node to follow a channel: one that does, else the one that follows fewest.
    fn place_follower(
        &self,
        site: &Site,
        collection: &Collection,
        channel: usize,
        checkpoint: Position,
    ) -> Option<NodeId> {
        let id = collection.info.id;
        let name = &collection.channels[channel].name;
        let follows = |node: &&NodeId| {
            let held = self.nodes.get(node).and_then(|known| known.held_channel(id, name));
            held.and_then(|held| held.growing_from).is_some_and(|from| from <= checkpoint)
        };
        let holders = self.holders.get(&id).into_iter().flatten();
        if let Some(node) = holders.filter(|node| self.may_use(site, **node)).find(follows) {
            return Some(*node);
        }
        let seed = node::mix(node::mix(id.0.cast_unsigned()) ^ channel as u64);
        let seats = site.slots.iter().map(|slot| self.seats.at(*slot));
        seats.min_by_key(|seat| (seat.follows, node::mix(seed ^ seat.hash), seat.node)).map(|seat| seat.node)
    }
}
