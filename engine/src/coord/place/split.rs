//! One channel of one replica, split over nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{ChannelName, NodeId, PartitionId, Position, SegmentId};
use crate::rpc::{ChannelShare, HeldChannel};

/// A segment as placement sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub id: SegmentId,
    /// What it takes when loaded. Unit: bytes of memory.
    pub bytes: u64,
}

/// Who holds what of a channel: with every piece placed, each row once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Rows before it are in the pieces.
    pub checkpoint: Position,
    /// Who holds the rows from the checkpoint on.
    pub growing: Option<NodeId>,
    /// Pieces by node, ascending by id; no node without any.
    pub shares: BTreeMap<NodeId, Vec<Piece>>,
    /// Pieces that have no room anywhere, ascending.
    pub unplaced: Vec<Piece>,
    /// Of which partitions these are the rows; `None` for all.
    pub partitions: Option<Vec<PartitionId>>,
}

impl Split {
    /// Whether every row has a node.
    pub const fn is_placed(&self) -> bool {
        self.growing.is_some() && self.unplaced.is_empty()
    }

    /// The nodes that have a part of it.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.shares.keys().copied().chain(self.growing).collect()
    }

    /// What `node` has of it.
    pub fn pieces(&self, node: NodeId) -> &[Piece] {
        self.shares.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Which node each piece is on.
    pub fn by_piece(&self) -> BTreeMap<SegmentId, NodeId> {
        let pairs =
            self.shares.iter().flat_map(|(node, pieces)| pieces.iter().map(|piece| (piece.id, *node)));
        pairs.collect()
    }

    /// Whether reads go the same ways, whatever the pieces' sizes.
    pub fn reads_like(&self, other: &Self) -> bool {
        let ids = |split: &Self| -> Vec<(NodeId, Vec<SegmentId>)> {
            let by_node = split.shares.iter();
            by_node.map(|(node, pieces)| (*node, pieces.iter().map(|piece| piece.id).collect())).collect()
        };
        let is_alike = self.checkpoint == other.checkpoint && self.growing == other.growing;
        is_alike && self.partitions == other.partitions && ids(self) == ids(other)
    }

    /// Whether `node`, holding `held`, can do its part. It has also applied what is before the checkpoint if it holds only
    /// segments: a compaction may have dropped rows that are deleted there, and where none was left there is no segment
    /// that says so. A copy is read at a time that all of its nodes have come to, and this is none before such a delete.
    pub fn is_ready(&self, node: NodeId, held: Option<&HeldChannel>) -> bool {
        let Some(held) = held else { return false };
        let has_rows =
            self.growing != Some(node) || held.growing_from.is_some_and(|from| from <= self.checkpoint);
        let follows = has_rows && held.applied >= self.checkpoint;
        follows && self.pieces(node).iter().all(|piece| held.segments.binary_search(&piece.id).is_ok())
    }

    /// What a read asks of `node`; `None` for nothing.
    pub fn share(&self, node: NodeId, channel: &ChannelName) -> Option<ChannelShare> {
        let segments: Vec<_> = self.pieces(node).iter().map(|piece| piece.id).collect();
        let growing_from = (self.growing == Some(node)).then_some(self.checkpoint);
        let some = growing_from.is_some() || !segments.is_empty();
        some.then(|| ChannelShare { channel: channel.clone(), segments, growing_from })
    }

    /// Gives `piece` to `node`, keeping the order.
    pub fn give(&mut self, node: NodeId, piece: Piece) {
        let pieces = self.shares.entry(node).or_default();
        let at = pieces.partition_point(|known| known.id < piece.id);
        pieces.insert(at, piece);
    }

    /// Takes a piece from `node`.
    pub fn take(&mut self, node: NodeId, id: SegmentId) -> Option<Piece> {
        let pieces = self.shares.get_mut(&node)?;
        let at = pieces.binary_search_by_key(&id, |piece| piece.id).ok()?;
        let piece = pieces.remove(at);
        if pieces.is_empty() {
            self.shares.remove(&node);
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::CollectionId;

    /// Whether nodes 1 and 2 can do their parts of a channel, the first with the rows from 10 on, the second with a
    /// segment, once they have applied so much.
    fn are_ready(applied: u64) -> [bool; 2] {
        let mut split = Split { checkpoint: Position(10), growing: Some(NodeId(1)), ..Split::default() };
        split.give(NodeId(2), Piece { id: SegmentId(5), bytes: 1 });
        let held = |segments: &[i64], growing_from| HeldChannel {
            channel: ChannelName::of(CollectionId(1), 0),
            segments: segments.iter().copied().map(SegmentId).collect(),
            growing_from,
            applied: Position(applied),
            needs_from: Position(applied),
        };
        let rows = held(&[], Some(Position(4)));
        [split.is_ready(NodeId(1), Some(&rows)), split.is_ready(NodeId(2), Some(&held(&[5], None)))]
    }

    #[test]
    fn nobody_reads_beside_what_a_compaction_dropped_without_a_trace_before_knowing_its_deletes() {
        assert_eq!(are_ready(9), [false, false]);
        assert_eq!(are_ready(10), [true, true]);
    }
}
