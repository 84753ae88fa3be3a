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
        self.origins[self.ends.partition_point(|&end| end as usize <= row)]
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
