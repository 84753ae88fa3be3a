//! Which rows were written when, where and by which record: kept once per run of rows that came together.

use std::ops::Range;

use crate::base::{PartitionId, Position, Timestamp};

/// What the rows of one run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// When they were written.
    pub(super) at: Timestamp,
    /// Their partition.
    pub(super) partition: PartitionId,
    /// The log record they came in; sealed rows have none and carry the first.
    pub(super) position: Position,
}

/// Runs of rows that share their origin, in row order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// The row after each run.
    ends: Vec<u32>,
    origins: Vec<Origin>,
}

impl Runs {
    /// One run.
    pub(super) fn one(rows: usize, origin: Origin) -> Self {
        let mut runs = Self::default();
        runs.push(rows, origin);
        runs
    }

    /// Rows of one partition with a time each.
    pub(super) fn sealed(partition: PartitionId, times: &[Timestamp]) -> Self {
        let mut runs = Self::default();
        for together in times.chunk_by(|left, right| left == right) {
            runs.push(together.len(), Origin { at: together[0], partition, position: Position::default() });
        }
        runs
    }

    /// Adds `rows` rows at the end.
    pub(super) fn push(&mut self, rows: usize, origin: Origin) {
        if rows == 0 {
            return;
        }
        let end = (self.rows() + rows) as u32;
        match (self.ends.last_mut(), self.origins.last()) {
            (Some(last), Some(same)) if *same == origin => *last = end,
            _ => {
                self.ends.push(end);
                self.origins.push(origin);
            }
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.last().map_or(0, |&end| end as usize)
    }

    /// The runs in row order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Range<usize>, Origin)> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .zip(&self.origins)
            .map(|((start, &end), &origin)| (start as usize..end as usize, origin))
    }

    /// The origin of row `row`, which must exist.
    pub(super) fn origin(&self, row: usize) -> Origin {
        self.origins[self.run_of(row)]
    }

    /// The number of the run that row `row`, which must exist, is in.
    fn run_of(&self, row: usize) -> usize {
        self.ends.partition_point(|&end| end as usize <= row)
    }

    /// The same, looked for first in run `near` and in the next.
    pub(super) fn run_near(&self, near: usize, row: usize) -> usize {
        let start = |run: usize| run.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        let is_in = |run: usize| run < self.ends.len() && start(run) <= row && row < self.ends[run] as usize;
        if is_in(near) {
            near
        } else if is_in(near + 1) {
            near + 1
        } else {
            self.run_of(row)
        }
    }

    /// The origin of the rows of a run, which must exist.
    pub(super) fn origin_of_run(&self, run: usize) -> Origin {
        self.origins[run]
    }

    /// The first row whose record is not before `position`; the number of rows if there is none. Positions ascend.
    pub(super) fn first_from(&self, position: Position) -> usize {
        let run = self.origins.partition_point(|origin| origin.position < position);
        run.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&end| end as usize)
    }

    /// Some of the rows.
    pub(super) fn slice(&self, wanted: Range<usize>) -> Self {
        let mut some = Self::default();
        for (rows, origin) in self.iter() {
            some.push(rows.end.min(wanted.end).saturating_sub(rows.start.max(wanted.start)), origin);
        }
        some
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.ends.capacity() * 4 + self.origins.capacity() * size_of::<Origin>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_of_a_row_is_found_wherever_one_looks_first() {
        let mut runs = Runs::default();
        for (rows, at) in [(1, 5), (3, 2), (2, 9), (1, 4)] {
            let origin =
                Origin { at: Timestamp(at), partition: PartitionId(1), position: Position::default() };
            runs.push(rows, origin);
        }
        for near in 0..5 {
            let found: Vec<usize> = (0..7).map(|row| runs.run_near(near, row)).collect();
            assert_eq!(found, [0, 1, 1, 1, 2, 2, 3], "from run {near}");
        }
    }
}
