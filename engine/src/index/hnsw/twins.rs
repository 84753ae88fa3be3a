//! Rows with equal vectors, which share one node of the graph.

use crate::index::artifact::Reader;
use crate::index::{Error, VectorBlock};
use crate::model::Bitset;

/// All rows whose vector an earlier row has too, by that first row.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Twins {
    /// The first row and the later one, ascending.
    pairs: Vec<(u32, u32)>,
}

impl Twins {
    /// Compares all rows of `block`, bit by bit.
    pub(super) fn find(block: &VectorBlock) -> Self {
        let mut rows: Vec<(u64, u32)> =
            (0..block.rows()).map(|row| (digest(block.row(row)), row as u32)).collect();
        rows.sort_unstable();
        let mut pairs = Vec::new();
        for group in rows.chunk_by(|left, right| left.0 == right.0) {
            // Rows of one digest are few or equal, so there is seldom more than one first among them.
            let mut firsts: Vec<u32> = Vec::new();
            for &(_, row) in group {
                let same = |&&first: &&u32| {
                    let (first, row) = (block.row(first as usize), block.row(row as usize));
                    first.iter().zip(row).all(|(left, right)| left.to_bits() == right.to_bits())
                };
                match firsts.iter().find(same) {
                    Some(&first) => pairs.push((first, row)),
                    None => firsts.push(row),
                }
            }
        }
        pairs.sort_unstable();
        Self { pairs }
    }

    /// The rows of `0..rows` that have a node of their own.
    pub(super) fn firsts(&self, rows: usize) -> Vec<u32> {
        let mut own = Bitset::all(rows);
        for &(_, later) in &self.pairs {
            own.remove(later as usize);
        }
        own.iter().map(|row| row as u32).collect()
    }

    fn later(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let start = self.pairs.partition_point(|pair| pair.0 < first);
        self.pairs[start..].iter().take_while(move |pair| pair.0 == first).map(|pair| pair.1)
    }

    /// The allowed rows of `nodes`, at most `k` of each node: the first ones, since all of a node score the same.
    pub(super) fn expand(
        &self,
        nodes: impl Iterator<Item = u32>,
        k: usize,
        allowed: Option<&Bitset>,
    ) -> Vec<u32> {
        if self.pairs.is_empty() {
            return nodes.collect();
        }
        let is_allowed = |row: &u32| allowed.is_none_or(|allowed| allowed.contains(*row as usize));
        nodes
            .flat_map(|node| std::iter::once(node).chain(self.later(node)).filter(is_allowed).take(k))
            .collect()
    }

    /// The nodes with a row in `allowed`, if they differ from the rows.
    pub(super) fn nodes_of(&self, allowed: &Bitset) -> Option<Bitset> {
        if self.pairs.is_empty() {
            return None;
        }
        let mut nodes = allowed.clone();
        for &(first, later) in &self.pairs {
            if allowed.contains(later as usize) {
                nodes.insert(first as usize);
            }
        }
        Some(nodes)
    }

    /// Bytes of memory held.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.pairs.len() * 8
    }

    /// How long the stored form is. Unit: bytes.
    pub(super) const fn stored_bytes(&self) -> usize {
        4 + self.pairs.len() * 8
    }

    /// Appends the stored form: the number of pairs, and the pairs.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.pairs.len() as u32).to_le_bytes());
        for (first, later) in &self.pairs {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&later.to_le_bytes());
        }
    }

    /// Reads what [`Self::encode`] wrote for `rows` rows.
    pub(super) fn decode(reader: &mut Reader<'_>, rows: usize) -> Result<Self, Error> {
        let count = reader.u32()? as usize;
        let words = reader.words(count.saturating_mul(2))?;
        let pairs: Vec<(u32, u32)> = words
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[first, later]| (u32::from_le_bytes(*first), u32::from_le_bytes(*later)))
            .collect();
        if !pairs.is_sorted() || pairs.iter().any(|&(first, later)| first >= later || later as usize >= rows)
        {
            return Err(Error::Corrupt { what: "its equal rows are out of order" });
        }
        Ok(Self { pairs })
    }
}

/// A number that equal vectors share and others hardly ever.
fn digest(vector: &[f32]) -> u64 {
    vector.iter().fold(0xcbf2_9ce4_8422_2325, |state: u64, value| {
        (state.rotate_left(23) ^ u64::from(value.to_bits())).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}
