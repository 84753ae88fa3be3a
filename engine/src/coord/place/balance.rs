//! Moving segments and followers for balance, or because somebody asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Placer;
use super::assign::Site;
use super::collection::Follow;
use super::split::Piece;
use crate::base::{CollectionId, NodeId, SegmentId};

/// A segment that can be moved: which, of which replica and channel, how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Movable {
    pub collection: CollectionId,
    pub replica: usize,
    pub channel: usize,
    pub piece: Piece,
}

/// What a node of a group should have and may have. Unit: bytes of memory.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    mean: u64,
    allowed: u64,
}

/// How many moves are under way to and from each node.
type Moving = BTreeMap<NodeId, usize>;

impl Placer {
    /// Moves segments of a collection from one node to others of the same replica.
    ///
    /// No target named: any; no segment named: all there are.
    ///
    /// # Errors
    /// What of it cannot be, as text for the user; nothing is moved then.
    pub fn balance(
        &mut self,
        collection: CollectionId,
        from: NodeId,
        to: &[NodeId],
        segments: &[SegmentId],
        now: Duration,
    ) -> Result<(), String> {
        self.now = self.now.max(now);
        if !self.nodes.contains_key(&from) {
            return Err(format!("there is no query node {from}"));
        }
        let movable: Vec<_> = self.movable_pieces(collection, from).collect();
        let chosen: Vec<_> = movable
            .into_iter()
            .filter(|one| segments.is_empty() || segments.contains(&one.piece.id))
            .collect();
        let known: BTreeSet<_> = chosen.iter().map(|one| one.piece.id).collect();
        if let Some(missing) = segments.iter().find(|segment| !known.contains(segment)) {
            return Err(format!("segment {missing} of collection {collection} is not on query node {from}"));
        }
        self.move_pieces(&chosen, from, to)?;
        self.work();
        Ok(())
    }

    /// Moves pieces off a node, each to the emptiest of `to` (none named: any) in its replica.
    ///
    /// # Errors
    /// What of it cannot be, as text for the user; nothing is moved then.
    pub(super) fn move_pieces(
        &mut self,
        chosen: &[Movable],
        from: NodeId,
        to: &[NodeId],
    ) -> Result<(), String> {
        let open = |node: NodeId| node != from && (to.is_empty() || to.contains(&node));
        // What is chosen first takes room from what comes after it.
        let mut coming: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut moves = Vec::with_capacity(chosen.len());
        for one in chosen {
            let site = self.site_of(one);
            self.check_targets(&site, from, to)?;
            let Piece { id, bytes } = one.piece;
            let more = |node: NodeId| coming.get(&node).copied().unwrap_or(0);
            let seats = site.slots.iter().map(|slot| self.seats.at(*slot));
            let fitting = seats
                .filter(|seat| open(seat.node) && seat.fits(bytes.saturating_add(more(seat.node))))
                .min_by_key(|seat| (seat.load.saturating_add(more(seat.node)), seat.node));
            let Some(target) = fitting.map(|seat| seat.node) else {
                return Err(format!(
                    "no query node that is meant has room for segment {id} of {bytes} bytes"
                ));
            };
            *coming.entry(target).or_default() += bytes;
            moves.push((one, target));
        }
        for (one, target) in moves {
            self.move_piece(one, from, target);
        }
        Ok(())
    }

    /// Whether something of a replica may go from one of its nodes to some others (none named: any).
    ///
    /// # Errors
    /// Why not, as text for the user.
    pub(super) fn check_targets(&self, site: &Site, from: NodeId, to: &[NodeId]) -> Result<(), String> {
        if let Some(stranger) = to.iter().find(|node| !self.may_use(site, **node)) {
            return Err(format!(
                "query node {stranger} is in another replica or group than query node {from}"
            ));
        }
        if let Some(node) = to.iter().find(|node| self.suspended.contains(node)) {
            return Err(format!("query node {node} is suspended"));
        }
        if site.slots.iter().all(|slot| self.seats.at(*slot).node == from) {
            return Err(format!("there is no other query node in the replica of query node {from}"));
        }
        Ok(())
    }

    fn site_of(&self, one: &Movable) -> Site {
        self.site_at(one.collection, one.replica)
    }

    /// The site of a replica by its number in its collection.
    pub(super) fn site_at(&self, collection: CollectionId, replica: usize) -> Site {
        let replica = self.collections.get(&collection).and_then(|known| known.replicas.get(replica));
        replica.map_or_else(
            || self.site(0, "", None),
            |replica| self.site(replica.id, &replica.group, replica.pool.clone()),
        )
    }

    /// The least loaded node of a replica that has room for a piece.
    fn emptiest(&self, site: &Site, piece: Piece, open: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let seats = site.slots.iter().map(|slot| self.seats.at(*slot));
        let fitting = seats.filter(|seat| open(seat.node) && seat.fits(piece.bytes));
        fitting.min_by_key(|seat| (seat.load, seat.node)).map(|seat| seat.node)
    }

    /// Segments on a node.
    pub(super) fn movable_pieces(
        &self,
        id: CollectionId,
        node: NodeId,
    ) -> impl Iterator<Item = Movable> + '_ {
        let replicas =
            self.collections.get(&id).into_iter().flat_map(|known| known.replicas.iter().enumerate());
        replicas.flat_map(move |(replica, known)| {
            known.follows.iter().enumerate().flat_map(move |(channel, follow)| {
                let pieces = follow.target.pieces(node).iter();
                pieces.map(move |piece| Movable { collection: id, replica, channel, piece: *piece })
            })
        })
    }

    fn follow_mut(&mut self, id: CollectionId, replica: usize, channel: usize) -> Option<&mut Follow> {
        self.collections.get_mut(&id)?.replicas.get_mut(replica)?.follows.get_mut(channel)
    }

    fn move_piece(&mut self, one: &Movable, from: NodeId, to: NodeId) {
        let Some(follow) = self.follow_mut(one.collection, one.replica, one.channel) else { return };
        let mut split = (*follow.target).clone();
        let Some(piece) = split.take(from, one.piece.id) else { return };
        split.give(to, piece);
        follow.target = Arc::new(split);
        if let Some(seat) = self.seats.get_mut(from) {
            seat.load = seat.load.saturating_sub(piece.bytes);
        }
        if let Some(seat) = self.seats.get_mut(to) {
            seat.load += piece.bytes;
        }
        self.dirty.insert(one.collection);
    }

    /// Takes load from nodes that have more than their share, a few things at a time.
    pub(super) fn balance_holders(&mut self) {
        let mut moving = self.moves_under_way();
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in names {
            self.balance_segments(&name, &mut moving);
            self.balance_followers(&name, &mut moving);
        }
    }

    /// Moves that are not finished, by node.
    fn moves_under_way(&self) -> Moving {
        let mut moving = Moving::new();
        for id in &self.pending {
            let Some(known) = self.collections.get(id) else { continue };
            let follows = known.replicas.iter().flat_map(|replica| &replica.follows);
            for follow in follows.filter(|follow| !follow.is_quiet()) {
                let Some(live) = &follow.live else { continue };
                let places = live.by_piece();
                for (node, pieces) in &follow.target.shares {
                    let sources = pieces.iter().filter_map(|piece| places.get(&piece.id));
                    for source in sources.filter(|source| *source != node) {
                        *moving.entry(*node).or_default() += 1;
                        *moving.entry(*source).or_default() += 1;
                    }
                }
            }
        }
        moving
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mean of sizes, which are never negative"
    )]
    fn balance_segments(&mut self, group: &str, moving: &mut Moving) {
        let Some(known) = self.groups.get(group).filter(|known| known.nodes.len() > 1) else { return };
        let loads = known.slots.iter().map(|slot| self.seats.at(*slot));
        let total: u64 = loads.clone().map(|seat| seat.load).sum();
        let mean = total / known.nodes.len() as u64;
        let allowed = (mean as f64 * self.settings.balance_above) as u64;
        let mut heavy: Vec<_> = loads
            .filter(|seat| seat.load > allowed.min(seat.limit))
            .map(|seat| (seat.load, seat.node, Bounds { mean, allowed: allowed.min(seat.limit) }))
            .collect();
        heavy.sort_unstable_by_key(|(load, node, _)| (std::cmp::Reverse(*load), *node));
        for (_, node, bounds) in heavy {
            self.relieve(node, bounds, moving);
        }
    }

    /// Moves as much off a node as brings it down to what is allowed, or as much as may move at a time.
    fn relieve(&mut self, node: NodeId, bounds: Bounds, moving: &mut Moving) {
        let allowed = bounds.allowed;
        let limit = self.settings.loads_per_node;
        let at_work = |moving: &Moving, node: NodeId| moving.get(&node).copied().unwrap_or(0) >= limit;
        if at_work(moving, node) {
            return;
        }
        let Some(known) = self.nodes.get(&node) else { return };
        let collections = known.log.last.keys();
        let mut pieces: Vec<_> = collections.flat_map(|id| self.movable_pieces(*id, node)).collect();
        pieces.retain(|one| self.is_quiet(one));
        pieces.sort_unstable_by_key(|one| (std::cmp::Reverse(one.piece.bytes), one.piece.id, one.replica));
        // A few tries in each tick: with many full nodes and few empty ones most of them fail.
        for _ in 0..limit * 2 {
            let Some(seat) = self.seats.get(node).filter(|seat| seat.load > allowed) else { return };
            if at_work(moving, node) {
                return;
            }
            let load = seat.load;
            // The largest one that is not too much, else the smallest one.
            let at = pieces
                .partition_point(|one| one.piece.bytes > load - allowed)
                .min(pieces.len().saturating_sub(1));
            if pieces.is_empty() {
                return;
            }
            let one = pieces.remove(at);
            let site = self.site_of(&one);
            let Some(target) =
                self.emptiest(&site, one.piece, |other| other != node && !at_work(moving, other))
            else {
                continue;
            };
            let after = self.seats.get(target).map_or(u64::MAX, |seat| seat.load + one.piece.bytes);
            // A busy node that is emptier is worth waiting for, or things would move twice.
            let best = self.emptiest(&site, one.piece, |other| other != node);
            if after >= load || (after > bounds.mean && best != Some(target)) {
                continue;
            }
            *moving.entry(node).or_default() += 1;
            *moving.entry(target).or_default() += 1;
            self.move_piece(&one, node, target);
        }
    }

    /// Whether nothing else is under way where the piece is.
    fn is_quiet(&self, one: &Movable) -> bool {
        let replica = self.collections.get(&one.collection).and_then(|known| known.replicas.get(one.replica));
        replica.is_some_and(|replica| replica.follows[one.channel].is_quiet())
    }

    /// Moves followers from nodes that follow too many channels.
    fn balance_followers(&mut self, group: &str, moving: &mut Moving) {
        let Some(known) = self.groups.get(group).filter(|known| known.nodes.len() > 1) else { return };
        let seats: Vec<_> = known.slots.iter().map(|slot| self.seats.at(*slot)).collect();
        let total: usize = seats.iter().map(|seat| seat.follows).sum();
        let allowed = total.div_ceil(seats.len()).max(total * 11 / 10 / seats.len());
        let heavy: Vec<_> =
            seats.iter().filter(|seat| seat.follows > allowed).map(|seat| seat.node).collect();
        for node in heavy {
            let Some(known) = self.nodes.get(&node) else { continue };
            let followed: Vec<_> = known.log.last.keys().flat_map(|id| self.followed(*id, node)).collect();
            for (id, replica, channel) in followed {
                if self.seats.get(node).is_none_or(|seat| seat.follows <= allowed) {
                    break;
                }
                self.move_follower(id, replica, channel, node, moving);
            }
        }
    }

    /// What a node follows of a collection and may give away.
    fn followed(&self, id: CollectionId, node: NodeId) -> Vec<(CollectionId, usize, usize)> {
        let rested = |follow: &Follow| {
            follow
                .moved
                .is_none_or(|moved| self.now.saturating_sub(moved) >= self.settings.channel_move_pause)
        };
        let replicas =
            self.collections.get(&id).into_iter().flat_map(|known| known.replicas.iter().enumerate());
        let follows = replicas.flat_map(|(at, replica)| {
            let follows = replica.follows.iter().enumerate();
            follows.map(move |(channel, follow)| (at, channel, follow))
        });
        follows
            .filter(|(_, _, follow)| {
                follow.target.growing == Some(node) && follow.is_quiet() && rested(follow)
            })
            .map(|(replica, channel, _)| (id, replica, channel))
            .collect()
    }

    fn move_follower(
        &mut self,
        id: CollectionId,
        replica: usize,
        channel: usize,
        from: NodeId,
        moving: &mut Moving,
    ) {
        let site = self.site_at(id, replica);
        let limit = self.settings.loads_per_node;
        let seats = site.slots.iter().map(|slot| self.seats.at(*slot));
        let open = seats.filter(|seat| moving.get(&seat.node).copied().unwrap_or(0) < limit);
        let least = open.min_by_key(|seat| (seat.follows, seat.node)).map(|seat| (seat.follows, seat.node));
        let most = self.seats.get(from).map_or(0, |seat| seat.follows);
        let Some((_, to)) = least.filter(|(follows, _)| follows + 2 <= most) else { return };
        self.give_follower((id, replica, channel), from, to);
        *moving.entry(to).or_default() += 1;
    }

    /// Has another node of a replica follow a channel, given as collection, replica and number of the channel.
    pub(super) fn give_follower(
        &mut self,
        (id, replica, channel): (CollectionId, usize, usize),
        from: NodeId,
        to: NodeId,
    ) {
        let now = self.now;
        let Some(follow) = self.follow_mut(id, replica, channel) else { return };
        let mut split = (*follow.target).clone();
        split.growing = Some(to);
        follow.target = Arc::new(split);
        follow.moved = Some(now);
        if let Some(seat) = self.seats.get_mut(from) {
            seat.follows = seat.follows.saturating_sub(1);
        }
        if let Some(seat) = self.seats.get_mut(to) {
            seat.follows += 1;
        }
        self.dirty.insert(id);
    }
}
