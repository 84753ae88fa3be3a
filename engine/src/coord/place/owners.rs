//! Who owns which channel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::collection::Channel;
use super::{ChannelAt, Placer};
use crate::base::{ChannelName, CollectionId, NodeId};
use crate::rpc::{OpenChannel, OwnOrder};

impl Placer {
    /// Ownerships that can be granted, by channel: nobody has the channel any more.
    #[must_use]
    pub fn wanted_terms(&self) -> Vec<(ChannelName, NodeId)> {
        let closed = |(name, _): &(&ChannelName, &NodeId)| {
            self.channels
                .get(*name)
                .and_then(|at| self.channel(*at))
                .is_some_and(|channel| self.is_closed(channel))
        };
        self.wanted.iter().filter(closed).map(|(channel, node)| (channel.clone(), *node)).collect()
    }

    /// Channels that are to go from one node to another and for which no term of the log is kept: their owners go on until then.
    /// Without a term the next owner could not open the channel, and to get one is a commit, which may not be possible.
    pub fn missing_terms(&self) -> impl Iterator<Item = &ChannelName> {
        self.wanted.keys().filter(|name| {
            let channel = self.channels.get(*name).and_then(|at| self.channel(*at));
            channel.is_some_and(|channel| {
                channel.owner.is_some() && channel.closing.is_none() && channel.spare.is_none()
            })
        })
    }

    /// Takes over that a term of a channel's log is durable that nobody has been given, greater than all that were. If another
    /// node is to own the channel, its owner is told to let go.
    pub fn keep_term(&mut self, channel: &ChannelName, term: u64, now: Duration) {
        self.now = self.now.max(now);
        let Some(&at) = self.channels.get(channel) else { return };
        self.with_channel(at, |channel| {
            if channel.given < term {
                channel.spare = channel.spare.max(Some(term));
            }
        });
        self.close(at);
    }

    /// Gives the owner of a channel the term that is kept for it, if one is. No term is given twice.
    pub fn take_term(&mut self, channel: &ChannelName, node: NodeId) -> Option<u64> {
        self.owner(channel).filter(|owner| *owner == node)?;
        let &at = self.channels.get(channel)?;
        let term = self.channel(at)?.spare?;
        self.note_term(channel, term);
        Some(term)
    }

    /// Takes over that `term`, greater than every one before, is given to who is to own the channel: from now on the node owns it
    /// and its last owner does not. Returns `false` if it is not wanted any more; the term is then spent.
    pub fn grant(&mut self, channel: &ChannelName, node: NodeId, term: u64, now: Duration) -> bool {
        self.now = self.now.max(now);
        let Some(&at) = self.channels.get(channel) else { return false };
        let known = self.channel(at).is_some_and(|known| known.wanted == Some(node) && known.term < term);
        if !known || !self.nodes.contains_key(&node) {
            return false;
        }
        self.wanted.remove(channel);
        self.make_owner(at, node, term);
        self.work();
        true
    }

    /// Whether the last owner has let go of a channel that is to move, or is gone. Until then nobody else may own it: the
    /// last owner's lease could still let it answer for the whole channel.
    fn is_closed(&self, channel: &Channel) -> bool {
        let Some((node, number)) = channel.closing else { return channel.owner.is_none() };
        let Some(node) = self.nodes.get(&node) else { return true };
        let told = node.seen.epoch == self.epoch && node.seen.number >= number;
        told && !node.open.contains(&channel.name)
    }

    /// The node that owns a channel; `None` while there is none, or it is about to let go.
    #[must_use]
    pub fn owner(&self, channel: &ChannelName) -> Option<NodeId> {
        let channel = self.channel(*self.channels.get(channel)?)?;
        channel.owner.filter(|_| channel.closing.is_none())
    }

    fn channel(&self, (id, at): ChannelAt) -> Option<&Channel> {
        self.collections.get(&id)?.channels.get(at)
    }

    /// Changes a channel's ownership; the nodes' counts follow.
    fn with_channel(&mut self, (id, at): ChannelAt, change: impl FnOnce(&mut Channel)) {
        let Some(channel) =
            self.collections.get_mut(&id).and_then(|collection| collection.channels.get_mut(at))
        else {
            return;
        };
        let before = channel.counts_for();
        change(channel);
        let after = channel.counts_for();
        if let Some(node) = before.and_then(|node| self.nodes.get_mut(&node)) {
            node.owns = node.owns.saturating_sub(1);
        }
        if let Some(node) = after.and_then(|node| self.nodes.get_mut(&node)) {
            node.owns += 1;
        }
    }

    fn make_owner(&mut self, at: ChannelAt, node: NodeId, term: u64) {
        let Some(channel) = self.channel(at) else { return };
        let (name, before) = (channel.name.clone(), channel.owner);
        self.with_channel(at, |channel| {
            channel.owner = Some(node);
            channel.term = term;
            channel.wanted = channel.wanted.filter(|wanted| *wanted != node);
            channel.closing = None;
        });
        if before != Some(node) {
            self.take_order(before, &name);
        }
        let number = self.next_number();
        if let Some(node) = self.nodes.get_mut(&node) {
            node.log.own = number;
            node.owned.insert(name.clone(), OwnOrder { channel: name, collection: at.0, term });
        }
        self.announce(at.0);
    }

    fn take_order(&mut self, node: Option<NodeId>, channel: &ChannelName) {
        let number = self.number + 1;
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(&node)) {
            self.number = number;
            node.owned.remove(channel);
            node.log.own = number;
        }
    }

    /// Takes over that this term of a channel's log has been given out, or may have been. One that is not greater is not kept.
    pub fn note_term(&mut self, channel: &ChannelName, term: u64) {
        if let Some(&at) = self.channels.get(channel) {
            self.with_channel(at, |channel| {
                channel.given = channel.given.max(term);
                channel.spare = channel.spare.filter(|spare| *spare > channel.given);
            });
        }
    }

    /// Takes over that a node has a channel open: by the greatest order, it is the owner. But not if a later term of the log was
    /// given out than the one that it has: somebody else may have opened it since and acknowledge writes, and the node
    /// would not know before it writes itself.
    pub(super) fn absorb(&mut self, node: NodeId, open: &OpenChannel) {
        let Some(&at) = self.channels.get(&open.channel) else { return };
        if self.unreadable.contains_key(&at.0) {
            // Nothing that is written could be sealed. Whoever has it open lets go of it with its next orders.
            return;
        }
        let Some(channel) = self.channel(at) else { return };
        if open.opened != 0 && open.opened < channel.given {
            return;
        }
        let newer = open.term > channel.term;
        if !newer && (open.term < channel.term || channel.owner.is_some()) {
            return;
        }
        if channel.wanted == Some(node) || channel.owner.is_none() {
            // It has what it waits for, or comes back before anybody else got it.
            self.wanted.remove(&open.channel);
            self.with_channel(at, |channel| channel.wanted = None);
        }
        self.make_owner(at, node, open.term);
        self.unowned.insert(at);
    }

    /// Takes a channel of a dropped collection from everybody.
    pub(super) fn disown(&mut self, id: CollectionId, at: usize) {
        let Some(channel) = self.channel((id, at)) else { return };
        let (name, owner) = (channel.name.clone(), channel.owner);
        self.wanted.remove(&name);
        self.with_channel((id, at), |channel| {
            channel.owner = None;
            channel.wanted = None;
            channel.closing = None;
        });
        self.take_order(owner, &name);
    }

    /// Takes all channels from a node that is gone; to be called while it is still known.
    pub(super) fn lose_owner(&mut self, node: NodeId) {
        let Some(known) = self.nodes.get(&node) else { return };
        let owned: Vec<_> = known.owned.keys().cloned().collect();
        self.unwant(node);
        // Channels that it was told to let go of are not among its orders any more.
        let wanted = self.wanted.keys().filter_map(|name| self.channels.get(name));
        let leaving: BTreeSet<_> = wanted.chain(&self.unowned).copied().collect();
        for at in leaving {
            if self.channel(at).is_some_and(|channel| channel.owner == Some(node)) {
                self.with_channel(at, |channel| (channel.owner, channel.closing) = (None, None));
                self.announce(at.0);
            }
        }
        for name in owned {
            let Some(&at) = self.channels.get(&name) else { continue };
            self.with_channel(at, |channel| channel.owner = None);
            self.unowned.insert(at);
            self.announce(at.0);
        }
    }

    /// Takes back what was wanted for a node.
    fn unwant(&mut self, node: NodeId) {
        let wanted: Vec<_> =
            self.wanted.iter().filter(|(_, to)| **to == node).map(|(name, _)| name.clone()).collect();
        for name in wanted {
            self.wanted.remove(&name);
            if let Some(&at) = self.channels.get(&name) {
                self.with_channel(at, |channel| channel.wanted = None);
                self.unowned.insert(at);
            }
        }
    }

    /// Looks for other owners for the channels of a node that takes nothing any more.
    pub(super) fn replace_owner_of(&mut self, node: NodeId) {
        let Some(known) = self.nodes.get(&node).filter(|known| !known.writes()) else { return };
        let owned: Vec<_> = known.owned.keys().cloned().collect();
        self.unowned.extend(owned.iter().filter_map(|name| self.channels.get(name)));
        self.unwant(node);
    }

    /// Wants owners for channels that have none, or one that goes.
    pub(super) fn place_owners(&mut self) {
        if self.unowned.is_empty() {
            return;
        }
        let mut writers = self.writers();
        if writers.is_empty() {
            return;
        }
        for at in std::mem::take(&mut self.unowned) {
            let Some(channel) = self.channel(at).filter(|_| !self.unreadable.contains_key(&at.0)) else {
                continue;
            };
            let stays = channel
                .counts_for()
                .and_then(|node| self.nodes.get(&node))
                .is_some_and(super::node::Node::writes);
            if stays {
                if let (None, Some(_), Some(owner)) = (channel.wanted, channel.closing, channel.owner) {
                    // Whoever was to get it is gone: it stays where it was.
                    let term = channel.term;
                    self.make_owner(at, owner, term);
                }
                self.close(at);
                continue;
            }
            let Some((count, node)) = writers.pop_first() else { continue };
            self.want(at, node);
            writers.insert((count + 1, node));
        }
    }

    /// Nodes that may own channels, those with fewest first.
    fn writers(&self) -> BTreeSet<(usize, NodeId)> {
        let writers = self.nodes.values().filter(|node| node.writes());
        writers.map(|node| (node.owns, node.info.id)).collect()
    }

    fn want(&mut self, at: ChannelAt, node: NodeId) {
        let Some(channel) = self.channel(at) else { return };
        self.wanted.insert(channel.name.clone(), node);
        self.with_channel(at, |channel| channel.wanted = Some(node));
        self.close(at);
    }

    /// Tells the owner of a channel to let go, if another node is to own it and there is a term for that one.
    fn close(&mut self, at: ChannelAt) {
        let Some(channel) = self.channel(at) else { return };
        let (Some(before), Some(wanted), None, Some(_)) =
            (channel.owner, channel.wanted, channel.closing, channel.spare)
        else {
            return;
        };
        if before == wanted {
            return;
        }
        let name = channel.name.clone();
        self.take_order(Some(before), &name);
        let number = self.number;
        self.with_channel(at, |channel| channel.closing = Some((before, number)));
    }

    /// Whether channels are moved for balance from now on. While nothing can be committed there is no term for the next owner, and
    /// by the time there is one something else may be better.
    pub const fn may_move_channels(&mut self, may: bool) {
        self.moves_channels = may;
    }

    /// Moves channels from nodes that own most to nodes that own fewest, few at a time and none twice in a pause.
    pub(super) fn balance_owners(&mut self) {
        if !self.moves_channels {
            return;
        }
        let mut arriving: BTreeMap<NodeId, usize> = BTreeMap::new();
        for node in self.wanted.values() {
            *arriving.entry(*node).or_default() += 1;
        }
        let mut writers = self.writers();
        while let (Some(&(least, to)), Some(&(most, from))) = (writers.first(), writers.last()) {
            if most < least + 2 {
                return;
            }
            let coming = arriving.entry(to).or_default();
            if *coming >= self.settings.loads_per_node {
                writers.pop_first();
                continue;
            }
            let Some(at) = self.movable_channel(from) else {
                writers.pop_last();
                continue;
            };
            *coming += 1;
            let now = self.now;
            self.want(at, to);
            self.with_channel(at, |channel| channel.moved = Some(now));
            writers.pop_first();
            writers.pop_last();
            writers.insert((least + 1, to));
            writers.insert((most - 1, from));
        }
    }

    /// A channel of a node that may be moved for balance.
    fn movable_channel(&self, node: NodeId) -> Option<ChannelAt> {
        let rested = |channel: &Channel| {
            channel
                .moved
                .is_none_or(|moved| self.now.saturating_sub(moved) >= self.settings.channel_move_pause)
        };
        let mut owned = self.nodes.get(&node)?.owned.keys().filter_map(|name| self.channels.get(name));
        owned
            .find(|at| self.channel(**at).is_some_and(|channel| channel.wanted.is_none() && rested(channel)))
            .copied()
    }
}
