//! How nodes have answered of late.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::base::NodeId;

/// Over how long a node's time to answer is smoothed. Unit: seconds.
const SMOOTH_S: f64 = 1.0;
/// How fast an old time stops to count against a node, so that it is tried again. Unit: seconds.
const FADE_S: f64 = 10.0;
/// Nodes remembered before those that were not asked for a while are forgotten.
const MANY: usize = 1024;

/// One node.
#[derive(Debug, Default)]
pub struct NodeRecord {
    asked: AtomicU32,
    past: Mutex<Past>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// Smoothed time to answer in milliseconds, and when it was last measured.
    latency: Option<(f64, Duration)>,
    /// When it last could not be reached.
    failed: Option<Duration>,
}

/// A question under way; it is over when this is dropped.
#[derive(Debug)]
pub struct Asked(Arc<NodeRecord>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Ordering::Relaxed);
    }
}

impl NodeRecord {
    /// A question is on its way to the node.
    pub fn ask(self: &Arc<Self>) -> Asked {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asked(Arc::clone(self))
    }

    /// Questions under way.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// It answered at `now` after `took`.
    pub fn answered(&self, took: Duration, now: Duration) {
        let took_ms = took.as_secs_f64() * 1e3;
        let mut past = self.past.lock();
        let smoothed = match past.latency {
            None => took_ms,
            Some((before_ms, at)) => {
                // The longer nothing was measured, the more the new time counts.
                let weight = 1.0 - (-now.saturating_sub(at).as_secs_f64() / SMOOTH_S).exp();
                before_ms + (took_ms - before_ms) * weight
            }
        };
        *past = Past { latency: Some((smoothed, now)), failed: None };
    }

    /// It could not be reached at `now`.
    pub fn failed(&self, now: Duration) {
        self.past.lock().failed = Some(now);
    }

    /// Its smoothed time to answer, fading while it is not asked. Unit: milliseconds.
    pub fn latency_ms(&self, now: Duration) -> Option<f64> {
        let (latency_ms, at) = self.past.lock().latency?;
        Some(latency_ms * (-now.saturating_sub(at).as_secs_f64() / FADE_S).exp())
    }

    fn failed_after(&self, time: Duration) -> bool {
        self.past.lock().failed.is_some_and(|at| at >= time)
    }
}

/// All nodes.
#[derive(Debug)]
pub struct Board {
    avoid: Duration,
    nodes: RwLock<HashMap<NodeId, Arc<NodeRecord>>>,
}

impl Board {
    /// A board on which a failure counts for `avoid`.
    pub fn new(avoid: Duration) -> Self {
        Self { avoid, nodes: RwLock::default() }
    }

    /// The record of a node.
    pub fn node(&self, node: NodeId) -> Arc<NodeRecord> {
        if let Some(record) = self.nodes.read().get(&node) {
            return Arc::clone(record);
        }
        let mut nodes = self.nodes.write();
        if nodes.len() >= MANY {
            // Numbers are never reused: those of nodes that are gone would pile up.
            nodes.retain(|_, record| Arc::strong_count(record) > 1);
        }
        Arc::clone(nodes.entry(node).or_default())
    }

    /// Whether a node could not be reached lately.
    pub fn is_avoided(&self, record: &NodeRecord, now: Duration) -> bool {
        record.failed_after(now.saturating_sub(self.avoid))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Board, NodeRecord};
    use crate::base::NodeId;

    #[test]
    fn a_node_that_failed_is_avoided_for_a_while_or_until_it_answers() {
        let board = Board::new(Duration::from_secs(3));
        let node = board.node(NodeId(1));
        let at = Duration::from_secs;

        node.failed(at(10));
        let soon = [board.is_avoided(&node, at(12)), board.is_avoided(&node, at(14))];
        node.failed(at(20));
        node.answered(Duration::from_millis(1), at(21));

        assert_eq!((soon, board.is_avoided(&node, at(21))), ([true, false], false));
    }

    #[test]
    fn a_time_to_answer_is_smoothed_and_fades() {
        let node = Arc::new(NodeRecord::default());
        let at = Duration::from_millis;
        assert_eq!(node.latency_ms(at(1)), None);

        node.answered(at(10), at(1_000));
        node.answered(at(110), at(1_100));
        let smoothed = node.latency_ms(at(1_100)).unwrap();
        let faded = node.latency_ms(at(21_100)).unwrap();

        assert!((smoothed - 19.5).abs() < 0.1, "{smoothed}");
        assert!(faded < smoothed / 7.0, "{faded}");
    }

    #[test]
    fn questions_under_way_are_counted() {
        let node = Arc::new(NodeRecord::default());
        let first = node.ask();
        let second = node.ask();
        let both = node.asked();
        drop((first, second));

        assert_eq!((both, node.asked()), (2, 0));
    }
}
