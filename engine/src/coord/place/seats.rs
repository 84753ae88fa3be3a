//! How full every node is: the dense table that planning looks at.

use std::collections::BTreeMap;

use super::node;
use super::split::Split;
use crate::base::NodeId;

/// How full one node is.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub node: NodeId,
    /// Its number, spread over all bits.
    pub hash: u64,
    /// Segments that are to be there in the end. Unit: bytes of memory.
    pub load: u64,
    /// Segments it is ordered to hold now, those on their way out included. Unit: bytes of memory.
    pub held: u64,
    /// What it may hold; `u64::MAX` for no limit. Unit: bytes of memory.
    pub limit: u64,
    /// Channels it follows in the end.
    pub follows: usize,
}

impl Seat {
    /// Whether so many bytes more have room.
    pub const fn fits(&self, bytes: u64) -> bool {
        self.held.saturating_add(bytes) <= self.limit
    }
}

/// Every node's seat, under a small number that does not change while the node is there.
#[derive(Debug, Default)]
pub(super) struct Seats {
    list: Vec<Seat>,
    index: BTreeMap<NodeId, usize>,
    free: Vec<usize>,
}

impl Seats {
    /// Gives a node a seat, or changes the limit of the one it has.
    pub fn put(&mut self, node: NodeId, limit: u64) {
        if let Some(&slot) = self.index.get(&node) {
            self.list[slot].limit = limit;
            return;
        }
        let seat = Seat { node, hash: node::hash(node), limit, ..Seat::default() };
        let slot = self.free.pop().unwrap_or(self.list.len());
        if slot == self.list.len() {
            self.list.push(seat);
        } else {
            self.list[slot] = seat;
        }
        self.index.insert(node, slot);
    }

    /// Takes a node's seat away.
    pub fn remove(&mut self, node: NodeId) {
        if let Some(slot) = self.index.remove(&node) {
            self.list[slot] = Seat::default();
            self.free.push(slot);
        }
    }

    /// The number of a node's seat.
    pub fn slot(&self, node: NodeId) -> Option<usize> {
        self.index.get(&node).copied()
    }

    /// A seat by its number.
    pub fn at(&self, slot: usize) -> &Seat {
        &self.list[slot]
    }

    /// A seat by its number, to be changed.
    pub fn at_mut(&mut self, slot: usize) -> &mut Seat {
        &mut self.list[slot]
    }

    /// A node's seat.
    pub fn get(&self, node: NodeId) -> Option<&Seat> {
        self.slot(node).map(|slot| &self.list[slot])
    }

    /// A node's seat, to be changed.
    pub fn get_mut(&mut self, node: NodeId) -> Option<&mut Seat> {
        let slot = self.slot(node)?;
        self.list.get_mut(slot)
    }

    /// Counts what is to be where.
    pub fn charge(&mut self, split: &Split) {
        for (node, pieces) in &split.shares {
            let bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
            if let Some(seat) = self.get_mut(*node) {
                seat.load += bytes;
            }
        }
        if let Some(seat) = split.growing.and_then(|node| self.get_mut(node)) {
            seat.follows += 1;
        }
    }

    /// Takes back what [`Self::charge`] counted.
    pub fn discharge(&mut self, split: &Split) {
        for (node, pieces) in &split.shares {
            let bytes: u64 = pieces.iter().map(|piece| piece.bytes).sum();
            if let Some(seat) = self.get_mut(*node) {
                seat.load = seat.load.saturating_sub(bytes);
            }
        }
        if let Some(seat) = split.growing.and_then(|node| self.get_mut(node)) {
            seat.follows = seat.follows.saturating_sub(1);
        }
    }
}
