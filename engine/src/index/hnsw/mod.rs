//! The index type `HNSW`: a layered proximity graph (Malkov and Yashunin, arXiv 1603.09320).
//!
//! Where vectors are long enough to pay for it, the graph is built and walked over byte codes, and what a walk finds is
//! compared again with the full vectors; scores are always exact. Equal vectors share one node, since a node's links must
//! not drown in copies of itself. A filtered search compares all survivors when they are few, and walks the graph through
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
use super::space::{FullSpace, Space};
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
    /// Byte codes.
    Coded(Box<Coded>),
    /// The vectors themselves; scratch of such walks is cheap enough to make anew.
    Full,
}

/// Codes, and scratch of earlier walks over them.
struct Coded {
    codes: Codes,
    pool: Mutex<Vec<Scratch<Codes>>>,
}

/// A built graph.
pub struct Hnsw {
    metric: Metric,
    block: Arc<VectorBlock>,
    graph: Graph,
    twins: Twins,
    rows: Rows,
}

impl std::fmt::Debug for Hnsw {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Hnsw({} over {:?})", self.metric, self.block)
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
        let rows = Rows::new(&block, metric);
        let graph = match &rows {
            Rows::Coded(coded) => build::build(spec, &coded.codes, count, &members, threads, stop)?,
            Rows::Full => {
                build::build(spec, &FullSpace { block: &block, metric }, count, &members, threads, stop)?
            }
        };
        Ok(Self { metric, block, graph, twins, rows })
    }

    /// Reads the body that [`VectorIndex::encode`] wrote.
    pub(super) fn decode(metric: Metric, body: &[u8], block: Arc<VectorBlock>) -> Result<Self, Error> {
        let mut reader = Reader(body);
        let graph = Graph::decode(&mut reader, block.rows())?;
        let twins = Twins::decode(&mut reader, block.rows())?;
        reader.end()?;
        let rows = Rows::new(&block, metric);
        Ok(Self { metric, block, graph, twins, rows })
    }

    /// The nearest `k` by walking the graph; nothing if too few were found or a walk is no use.
    fn walk(&self, query: &[f32], k: usize, ef: usize, allowed: Option<&Filter<'_>>) -> Option<Vec<Near>> {
        let exact = Exact::new(&self.block, self.metric, query);
        let (candidates, refined) = match &self.rows {
            Rows::Coded(coded) => {
                // Taken out in its own statement, so that the lock is not held while walking.
                let kept = coded.pool.lock().pop();
                let mut scratch = kept.unwrap_or_else(|| Scratch::new(self.block.rows()));
                let found = self.walk_over(&coded.codes, query, ef, allowed, &mut scratch);
                coded.pool.lock().push(scratch);
                (found?, k + k / 2 + REFINE_EXTRA)
            }
            Rows::Full => {
                let space = FullSpace { block: &self.block, metric: self.metric };
                let mut scratch = Scratch::new(self.block.rows());
                (self.walk_over(&space, query, ef, allowed, &mut scratch)?, k)
            }
        };
        let nodes = candidates.iter().take(refined).map(|near| near.row());
        let rows = self.twins.expand(nodes, k, allowed.map(|filter| filter.rows));
        let mut ranked = exact.rank(&rows);
        ranked.truncate(k);
        Some(ranked)
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
            Rows::Coded(coded) => coded.codes.nearest(query, &exact, k, allowed),
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

impl Rows {
    fn new(block: &VectorBlock, metric: Metric) -> Self {
        match Codes::if_they_pay(block, metric) {
            Some(codes) => Self::Coded(Box::new(Coded { codes, pool: Mutex::new(Vec::new()) })),
            None => Self::Full,
        }
    }
}

impl VectorIndex for Hnsw {
    fn index_type(&self) -> IndexType {
        IndexType::Hnsw
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
        let ef = params.ef_for(k);
        // A walk for survivors that are one row in s costs about s times as much as one without a filter.
        let walk_cost = (ef * SCANNED_PER_EF).saturating_mul(count) / survivors;
        // To a query without direction all rows are equally near: a walk would not know where to go.
        let aimless = self.metric == Metric::Cosine && query.iter().all(|&value| value == 0.0);
        let walked = if survivors <= walk_cost || aimless {
            None
        } else if let Some(allowed) = allowed.filter(|_| survivors < count) {
            let nodes = self.twins.nodes_of(allowed);
            let filter =
                Filter { rows: allowed, nodes: nodes.as_ref().unwrap_or(allowed), budget: survivors / 2 };
            self.walk(query, k, ef, Some(&filter))
        } else {
            self.walk(query, k, ef, None)
        };
        let found = match walked {
            Some(found) if found.len() >= wanted => found,
            _ => self.compare_all(query, k, allowed),
        };
        Ok(found.into_iter().map(|near| near.hit(self.metric)).collect())
    }

    fn memory_bytes(&self) -> usize {
        let codes = match &self.rows {
            Rows::Coded(coded) => coded.codes.memory_bytes(),
            Rows::Full => 0,
        };
        codes + self.graph.memory_bytes() + self.twins.memory_bytes()
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.graph.encode(&mut body);
        self.twins.encode(&mut body);
        artifact::seal(Head { index_type: IndexType::Hnsw, metric: self.metric }, &self.block, &body)
    }
}
