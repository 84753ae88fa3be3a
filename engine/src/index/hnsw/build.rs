//! Builds a graph, on several threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::graph::{Graph, GrowingGraph, Layout, Links, MAX_LEVEL};
use super::walk::{Scratch, descend, distance_to, diverse, nearest};
use crate::base::{Rng, SeededRng};
use crate::index::space::Space;
use crate::index::top::Near;
use crate::index::{Error, IndexSpec};

/// Rows a thread takes at a time; between them it asks whether to stop.
const BATCH_ROWS: usize = 32;
/// Locks for the nodes' lists; a node's lock is the one of its row number modulo this.
const LOCKS: usize = 4096;

/// A graph over `members` of `rows` rows; other rows get no links.
pub(super) fn build<S: Space>(
    spec: &IndexSpec,
    space: &S,
    rows: usize,
    members: &[u32],
    threads: usize,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Graph, Error> {
    let Some((&first, others)) = members.split_first() else {
        return Ok(GrowingGraph::new(Layout::new(spec.m, vec![0; rows])).finish(0));
    };
    let layout = Layout::new(spec.m, levels(spec, rows, members));
    let builder = Builder {
        space,
        ef: spec.ef_construction.max(spec.m),
        entry: Mutex::new((first, layout.levels[first as usize])),
        locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
        graph: GrowingGraph::new(layout),
    };
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let work = || {
        let mut scratch = Scratch::<S>::new(rows);
        loop {
            let start = next.fetch_add(BATCH_ROWS, Ordering::Relaxed);
            if start >= others.len() || stopped.load(Ordering::Relaxed) {
                return;
            }
            if stop() {
                stopped.store(true, Ordering::Relaxed);
                return;
            }
            for &row in &others[start..others.len().min(start + BATCH_ROWS)] {
                builder.insert(row, &mut scratch);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    if stopped.load(Ordering::Relaxed) {
        return Err(Error::Stopped);
    }
    let entry = builder.entry.into_inner().0;
    Ok(builder.graph.finish(entry))
}

/// The highest layer of each row: each layer has about one in `m` of the rows below.
fn levels(spec: &IndexSpec, rows: usize, members: &[u32]) -> Vec<u8> {
    let rng = SeededRng::new(spec.seed);
    let scale = 1.0 / (spec.m as f64).ln();
    let mut levels = vec![0; rows];
    for &row in members {
        // In (0, 1]: 53 random bits, and never 0.
        let chance = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        levels[row as usize] = ((-chance.ln() * scale) as u8).min(MAX_LEVEL);
    }
    levels
}

struct Builder<'a, S: Space> {
    space: &'a S,
    ef: usize,
    graph: GrowingGraph,
    /// Where walks start, and its layer.
    entry: Mutex<(u32, u8)>,
    locks: Vec<Mutex<()>>,
}

impl<S: Space> Builder<'_, S> {
    fn insert(&self, row: u32, scratch: &mut Scratch<S>) {
        let level = self.graph.layout.levels[row as usize];
        let mut entry = self.entry.lock();
        let (start, top) = *entry;
        if level > top {
            // Linked before anybody else may start at it.
            self.link(row, level, start, top, scratch);
            *entry = (row, level);
        } else {
            drop(entry);
            self.link(row, level, start, top, scratch);
        }
    }

    fn link(&self, row: u32, level: u8, start: u32, top: u8, scratch: &mut Scratch<S>) {
        self.space.prepare_row(row, &mut scratch.query);
        let mut near = distance_to(self.space, start, scratch);
        for above in (level + 1..=top).rev() {
            near = descend(self.space, &self.graph, above, near, scratch);
        }
        for level in (0..=level.min(top)).rev() {
            let mut found = nearest(self.space, &self.graph, level, near, self.ef, scratch);
            found.retain(|found| found.row() != row);
            let Some(&closest) = found.first() else { continue };
            near = closest;
            // As many as there is room for, twice `m` on the lowest layer: better recall at less cost than `m` (measured).
            let chosen = diverse(self.space, &found, self.graph.layout.room(level), scratch);
            self.link_from(row, level, &chosen);
            for &neighbour in &chosen {
                self.link_back(neighbour, level, row, scratch);
            }
        }
    }

    /// Gives `row` its own links, beside those that others may have given it meanwhile.
    fn link_from(&self, row: u32, level: u8, chosen: &[u32]) {
        let _guard = self.locks[row as usize % LOCKS].lock();
        let mut links = chosen.to_vec();
        self.graph.each(row, level, |link| {
            if links.len() < self.graph.layout.room(level) && !links.contains(&link) {
                links.push(link);
            }
        });
        self.graph.write(row, level, &links);
    }

    /// Links `row` to `newcomer`; a full row chooses anew among all it has.
    fn link_back(&self, row: u32, level: u8, newcomer: u32, scratch: &mut Scratch<S>) {
        let _guard = self.locks[row as usize % LOCKS].lock();
        let mut links = Vec::with_capacity(self.graph.layout.room(level) + 1);
        self.graph.each(row, level, |link| links.push(link));
        if links.contains(&newcomer) || self.graph.push(row, level, newcomer) {
            return;
        }
        links.push(newcomer);
        let mut distances = Vec::with_capacity(links.len());
        self.space.prepare_row(row, &mut scratch.other);
        self.space.distances(&scratch.other, &links, &mut distances);
        let mut candidates: Vec<Near> =
            links.iter().zip(distances).map(|(&link, distance)| Near::new(distance, link)).collect();
        candidates.sort_unstable();
        let chosen = diverse(self.space, &candidates, self.graph.layout.room(level), scratch);
        self.graph.write(row, level, &chosen);
    }
}
