//! What a correct database holds: a map, and the one operation of each worker whose fate is not known.

use std::collections::BTreeMap;

/// One operation of one worker, whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// These rows are added or replaced: key and value.
    Put(Vec<(i64, i64)>),
    /// These keys go.
    Remove(Vec<i64>),
}

/// The rows of each worker, which owns its keys alone.
#[derive(Clone, Debug, Default)]
pub struct Model {
    rows: BTreeMap<usize, BTreeMap<i64, i64>>,
    unknown: BTreeMap<usize, Change>,
}

impl Model {
    /// The worker begins an operation: from here on it may have happened.
    pub fn begin(&mut self, worker: usize, change: Change) {
        assert_eq!(self.unknown.insert(worker, change), None, "a worker does one thing at a time");
    }

    /// The operation was acknowledged: it has happened.
    pub fn acknowledge(&mut self, worker: usize) {
        let change = self.unknown.remove(&worker).expect("only what has begun is acknowledged");
        apply(self.rows.entry(worker).or_default(), change);
    }

    /// Keys of one worker.
    pub fn keys(&self, worker: usize) -> Vec<i64> {
        self.rows.get(&worker).map(|rows| rows.keys().copied().collect()).unwrap_or_default()
    }

    /// Operations whose fate is not known.
    pub fn in_flight(&self) -> usize {
        self.unknown.len()
    }

    /// Compares what was found with what must be there. An operation of unknown fate is found whole or not at all, and
    /// from then on the model says which.
    pub fn compare(&mut self, worker_of: impl Fn(i64) -> usize, found: &BTreeMap<i64, i64>, story: &str) {
        let mut by_worker: BTreeMap<usize, BTreeMap<i64, i64>> = BTreeMap::new();
        for (&key, &value) in found {
            by_worker.entry(worker_of(key)).or_default().insert(key, value);
        }
        let workers: Vec<usize> =
            self.rows.keys().chain(self.unknown.keys()).chain(by_worker.keys()).copied().collect();
        for worker in workers {
            let found = by_worker.get(&worker).cloned().unwrap_or_default();
            let expected = self.rows.entry(worker).or_default();
            if let Some(change) = self.unknown.remove(&worker) {
                let mut after = expected.clone();
                apply(&mut after, change.clone());
                assert!(
                    found == *expected || found == after,
                    "{story}: worker {worker} has neither the state before nor after {change:?}\n found {found:?}\nbefore {expected:?}"
                );
                *expected = found;
            } else {
                assert_eq!(found, *expected, "{story}: rows of worker {worker}");
            }
        }
    }
}

fn apply(rows: &mut BTreeMap<i64, i64>, change: Change) {
    match change {
        Change::Put(put) => rows.extend(put),
        Change::Remove(keys) => {
            for key in keys {
                rows.remove(&key);
            }
        }
    }
}
