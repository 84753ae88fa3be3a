//! What operators steer by hand: whether anything is moved for balance, who takes nothing more, and what is to go elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Placer;
use super::balance::Movable;
use crate::base::{ChannelName, CollectionId, NodeId, SegmentId};

impl Placer {
    /// Takes over whether anything is moved for balance, and which query nodes are given nothing more to hold. What those have
    /// stays there; what had no other node is placed again when one of them takes something again.
    pub fn steer(&mut self, balances: bool, suspended: BTreeSet<NodeId>) {
        self.balances = balances;
        self.suspended = suspended;
    }

    /// Query nodes that take part and are given nothing more to hold, ascending.
    pub(super) fn suspended_here(&self) -> Vec<NodeId> {
        self.suspended.iter().filter(|node| self.nodes.contains_key(node)).copied().collect()
    }

    /// Moves segments of all collections (none named: all there are) from a query node to another (none named: the emptiest
    /// in each replica).
    ///
    /// # Errors
    /// What of it cannot be, as text for the user; nothing is moved then.
    pub fn transfer_segments(
        &mut self,
        from: NodeId,
        to: Option<NodeId>,
        segments: &[SegmentId],
        now: Duration,
    ) -> Result<(), String> {
        self.now = self.now.max(now);
        let collections = self.check_ends(from, to)?;
        let all = collections.iter().flat_map(|id| self.movable_pieces(*id, from));
        let chosen: Vec<Movable> =
            all.filter(|one| segments.is_empty() || segments.contains(&one.piece.id)).collect();
        let known: BTreeSet<_> = chosen.iter().map(|one| one.piece.id).collect();
        if let Some(missing) = segments.iter().find(|segment| !known.contains(segment)) {
            return Err(format!("segment {missing} is not on query node {from}"));
        }
        self.move_pieces(&chosen, from, to.as_slice())?;
        self.work();
        Ok(())
    }

    /// Has another query node (none named: the one of each replica that follows fewest channels) hold the rows that are not
    /// sealed of channels which `from` follows (none named: all of them).
    ///
    /// # Errors
    /// What of it cannot be, as text for the user; nothing is moved then.
    pub fn transfer_followers(
        &mut self,
        from: NodeId,
        to: Option<NodeId>,
        channels: &[ChannelName],
        now: Duration,
    ) -> Result<(), String> {
        self.now = self.now.max(now);
        let collections = self.check_ends(from, to)?;
        let mut chosen = Vec::new();
        let mut known = BTreeSet::new();
        for (at, name) in collections.iter().flat_map(|id| self.followed_by(*id, from)) {
            if channels.is_empty() || channels.contains(&name) {
                self.check_targets(&self.site_at(at.0, at.1), from, to.as_slice())?;
                known.insert(name);
                chosen.push(at);
            }
        }
        if let Some(missing) = channels.iter().find(|channel| !known.contains(channel)) {
            return Err(format!("channel {missing} is not followed by query node {from}"));
        }
        for at in chosen {
            let site = self.site_at(at.0, at.1);
            let others = site.slots.iter().map(|slot| self.seats.at(*slot)).filter(|seat| seat.node != from);
            let least = others.min_by_key(|seat| (seat.follows, seat.node)).map(|seat| seat.node);
            if let Some(target) = to.or(least) {
                self.give_follower(at, from, target);
            }
        }
        self.work();
        Ok(())
    }

    /// The collections of which `from` is to hold something.
    fn check_ends(&self, from: NodeId, to: Option<NodeId>) -> Result<Vec<CollectionId>, String> {
        let queries = |node: NodeId| self.nodes.get(&node).filter(|known| known.info.duties.queries);
        let Some(known) = queries(from) else { return Err(format!("there is no query node {from}")) };
        if let Some(to) = to {
            if queries(to).is_none() {
                return Err(format!("there is no query node {to}"));
            }
            if to == from {
                return Err(format!("query node {from} cannot hand anything to itself"));
            }
        }
        Ok(known.log.last.keys().copied().collect())
    }

    /// What a node is to follow of a collection: replica and channel by their numbers, and the channel's name.
    fn followed_by(
        &self,
        id: CollectionId,
        node: NodeId,
    ) -> Vec<((CollectionId, usize, usize), ChannelName)> {
        let Some(collection) = self.collections.get(&id) else { return Vec::new() };
        let replicas = collection.replicas.iter().enumerate();
        let follows = replicas.flat_map(|(replica, known)| {
            known.follows.iter().zip(&collection.channels).enumerate().map(move |one| (replica, one))
        });
        follows
            .filter(|(_, (_, (follow, _)))| follow.target.growing == Some(node))
            .map(|(replica, (channel, (_, known)))| ((id, replica, channel), known.name.clone()))
            .collect()
    }
}
