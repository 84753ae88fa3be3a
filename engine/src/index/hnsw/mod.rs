//! The index type `HNSW`: a layered proximity graph (Malkov and Yashunin, arXiv 1603.09320).
//!
//! Also the types that differ from it only in how rows are held while walking: `HNSW_SQ`, `HNSW_PQ`, `HNSW_PRQ`, and
//! `AUTOINDEX`. Where vectors are long enough to pay for it, the graph is built over byte codes and walked over codes of a
//! byte or half a byte a component, and what a walk finds is compared again with the full vectors; scores are always exact.
//! Equal vectors share one node, since a node's links must not drown in copies of itself. A filtered search compares all survivors when they are few, and walks the graph through
//! the others when they are many; a walk that comes back short is followed by a comparison of all.

mod build;
mod graph;
mod twins;
mod walk;

use std::sync::Arc;

use graph::Graph;
use parking_lot::Mutex;
use twins::Twins;
use walk::Scratch;

use super::artifact::{self, Head, Reader};
use super::codes::Codes;
use super::exact::Exact;
use super::nibbles::Nibbles;
use super::space::{FullSpace, Space};
use super::spec::Width;
use super::top::{Near, Top};
use super::{Error, Hit, IndexSpec, IndexType, SearchParams, VectorBlock, VectorIndex, flat};
use crate::model::{Bitset, Metric};

/// A walk costs about as much per candidate it keeps as a scan does for so many rows. It compares 14 to 18 rows for each
/// (measured), in no order that memory likes.
const SCANNED_PER_EF: usize = 48;
/// Full vectors compared after a walk over codes: `k`, half of `k`, and this many.
const REFINE_EXTRA: usize = 22;

/// What the graph was built over, and is walked over.
enum Rows {
    /// Byte codes, for building and scanning, and for walking where there are no shorter ones.
    Coded {
        /// A byte a component.
        bytes: Box<Pooled<Codes>>,
        /// Half a byte a component.
        halves: Option<Box<Pooled<Nibbles>>>,
    },
    /// The vectors themselves; scratch of such walks is cheap enough to make anew.
    Full,
}

/// Codes, and scratch of earlier walks over them.
struct Pooled<S: Space> {
    codes: S,
    pool: Mutex<Vec<Scratch<S>>>,
}

impl<S: Space> Pooled<S> {
    fn new(codes: S) -> Box<Self> {
        Box::new(Self { codes, pool: Mutex::new(Vec::new()) })
    }
}

/// A built graph.
pub struct Hnsw {
    index_type: IndexType,
    metric: Metric,
    width: Width,
    block: Arc<VectorBlock>,
    graph: Graph,
    twins: Twins,
    rows: Rows,
}

impl std::fmt::Debug for Hnsw {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}({} over {:?})", self.index_type.name(), self.metric, self.block)
    }
}

impl Hnsw {
    /// Builds a graph over `block`.
    pub(super) fn build(
        spec: &IndexSpec,
        block: Arc<VectorBlock>,
        threads: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        let (metric, count) = (spec.metric, block.rows());
        let twins = Twins::find(&block);
        let members = twins.firsts(count);
        let width = spec.width;
        let rows = Rows::new(&block, metric, width);
        let graph = match &rows {
            Rows::Coded { bytes, .. } => build::build(spec, &bytes.codes, count, &members, threads, stop)?,
            Rows::Full => {
                build::build(spec, &FullSpace { block: &block, metric }, count, &members, threads, stop)?
            }
        };
        Ok(Self { index_type: spec.index_type, metric, width, block, graph, twins, rows })
    }

    /// Reads the body that [`VectorIndex::encode`] wrote.
    pub(super) fn decode(head: Head, body: &[u8], block: Arc<VectorBlock>) -> Result<Self, Error> {
        let Head { index_type, metric } = head;
        let mut reader = Reader(body);
        let graph = Graph::decode(&mut reader, block.rows())?;
        let twins = Twins::decode(&mut reader, block.rows())?;
        let width = if has_width(index_type) { Width::of_code(reader.u32()?)? } else { Width::Measured };
        reader.end()?;
        let rows = Rows::new(&block, metric, width);
        Ok(Self { index_type, metric, width, block, graph, twins, rows })
    }

    /// The nearest `k` by walking the graph; nothing if too few were found or a walk is no use.
    fn walk(&self, query: &[f32], k: usize, reach: Reach, allowed: Option<&Filter<'_>>) -> Option<Vec<Near>> {
        let exact = Exact::new(&self.block, self.metric, query);
        let (candidates, refined) = match &self.rows {
            Rows::Coded { halves: Some(halves), .. } => {
                (self.walk_pooled(halves, query, reach.ef, allowed)?, reach.refined)
            }
            Rows::Coded { bytes, halves: None } => {
                (self.walk_pooled(bytes, query, reach.ef, allowed)?, reach.refined)
            }
            Rows::Full => {
                let space = FullSpace { block: &self.block, metric: self.metric };
                let mut scratch = Scratch::new(self.block.rows());
                (self.walk_over(&space, query, reach.ef, allowed, &mut scratch)?, k)
            }
        };
        let nodes = candidates.iter().take(refined).map(|near| near.row());
        let rows = self.twins.expand(nodes, k, allowed.map(|filter| filter.rows));
        let mut ranked = exact.rank(&rows);
        ranked.truncate(k);
        Some(ranked)
    }

    fn walk_pooled<S: Space>(
        &self,
        rows: &Pooled<S>,
        query: &[f32],
        ef: usize,
        allowed: Option<&Filter<'_>>,
    ) -> Option<Vec<Near>> {
        // Taken out in its own statement, so that the lock is not held while walking.
        let kept = rows.pool.lock().pop();
        let mut scratch = kept.unwrap_or_else(|| Scratch::new(self.block.rows()));
        let found = self.walk_over(&rows.codes, query, ef, allowed, &mut scratch);
        rows.pool.lock().push(scratch);
        found
    }

    fn walk_over<S: Space>(
        &self,
        space: &S,
        query: &[f32],
        ef: usize,
        allowed: Option<&Filter<'_>>,
        scratch: &mut Scratch<S>,
    ) -> Option<Vec<Near>> {
        space.prepare(query, &mut scratch.query);
        let mut near = walk::distance_to(space, self.graph.entry, scratch);
        for level in (1..=self.graph.top_level()).rev() {
            near = walk::descend(space, &self.graph, level, near, scratch);
        }
        match allowed {
            None => Some(walk::nearest(space, &self.graph, 0, near, ef, scratch)),
            Some(filter) => {
                walk::nearest_allowed(space, &self.graph, near, ef, filter.nodes, filter.budget, scratch)
            }
        }
    }

    /// The nearest `k` by comparing every allowed row.
    fn compare_all(&self, query: &[f32], k: usize, allowed: Option<&Bitset>) -> Vec<Near> {
        let exact = Exact::new(&self.block, self.metric, query);
        match &self.rows {
            Rows::Coded { bytes, .. } => bytes.codes.nearest(query, &exact, k, allowed),
            Rows::Full => {
                let mut top = Top::new(k, self.block.rows());
                flat::scan(&exact, self.block.rows(), allowed, |near| top.offer(near));
                top.into_sorted()
            }
        }
    }
}

/// A filter, and what it means for a walk.
struct Filter<'a> {
    /// The allowed rows.
    rows: &'a Bitset,
    /// The nodes with an allowed row.
    nodes: &'a Bitset,
    /// After comparing so many rows a walk gives up.
    budget: usize,
}

/// How far a walk looks.
#[derive(Clone, Copy)]
struct Reach {
    /// Candidates that it keeps.
    ef: usize,
    /// How many of them are compared by their full vectors.
    refined: usize,
}

impl Reach {
    /// What the client named, and for the rest what serves `k` rows well.
    fn of(params: &SearchParams, k: usize) -> Self {
        let refined = params.refined_for(k);
        let ef = params.ef_for(k).max(refined.unwrap_or(0));
        Self { ef, refined: refined.unwrap_or(k + k / 2 + REFINE_EXTRA) }
    }
}

impl Rows {
    fn new(block: &VectorBlock, metric: Metric, width: Width) -> Self {
        let Some(bytes) = Codes::if_they_pay(block, metric) else { return Self::Full };
        let halves = match width {
            Width::Byte => None,
            Width::Measured => Nibbles::if_they_lead(block, metric),
        };
        Self::Coded { bytes: Pooled::new(bytes), halves: halves.map(Pooled::new) }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Full => 0,
            Self::Coded { bytes, halves } => {
                bytes.codes.memory_bytes() + halves.as_ref().map_or(0, |halves| halves.codes.memory_bytes())
            }
        }
    }
}

/// Whether the width of the codes is the user's choice, and stored.
const fn has_width(index_type: IndexType) -> bool {
    matches!(index_type, IndexType::HnswSq)
}

impl VectorIndex for Hnsw {
    fn index_type(&self) -> IndexType {
        self.index_type
    }

    fn metric(&self) -> Metric {
        self.metric
    }

    fn block(&self) -> &Arc<VectorBlock> {
        &self.block
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allowed: Option<&Bitset>,
    ) -> Result<Vec<Hit>, Error> {
        self.block.check_query(query)?;
        params.check_ef(k)?;
        let count = self.block.rows();
        let survivors = allowed.map_or(count, |allowed| allowed.count().min(count));
        let wanted = k.min(survivors);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        let reach = Reach::of(params, k);
        // A walk for survivors that are one row in s costs about s times as much as one without a filter.
        let walk_cost = reach.ef.saturating_mul(SCANNED_PER_EF).saturating_mul(count) / survivors;
        // To a query without direction all rows are equally near: a walk would not know where to go.
        let aimless = self.metric == Metric::Cosine && query.iter().all(|&value| value == 0.0);
        let walked = if survivors <= walk_cost || aimless {
            None
        } else if let Some(allowed) = allowed.filter(|_| survivors < count) {
            let nodes = self.twins.nodes_of(allowed);
            let filter =
                Filter { rows: allowed, nodes: nodes.as_ref().unwrap_or(allowed), budget: survivors / 2 };
            self.walk(query, k, reach, Some(&filter))
        } else {
            self.walk(query, k, reach, None)
        };
        let found = match walked {
            Some(found) if found.len() >= wanted => found,
            _ => self.compare_all(query, k, allowed),
        };
        Ok(found.into_iter().map(|near| near.hit(self.metric)).collect())
    }

    fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.graph.memory_bytes() + self.twins.memory_bytes()
    }

    fn encode(&self) -> Vec<u8> {
        let width = has_width(self.index_type).then(|| self.width.code().to_le_bytes());
        let width = width.as_ref().map(<[u8; 4]>::as_slice).unwrap_or_default();
        artifact::seal_written(
            Head { index_type: self.index_type, metric: self.metric },
            (self.block.dim(), self.block.rows()),
            self.graph.stored_bytes() + self.twins.stored_bytes() + width.len(),
            |body| {
                self.graph.encode(body);
                self.twins.encode(body);
                body.extend_from_slice(width);
            },
        )
    }
}
