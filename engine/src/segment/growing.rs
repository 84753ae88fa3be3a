//! Rows that are not sealed yet.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tracing::error;

use super::Error;
use super::keys::key_at;
use super::part::Part;
use super::runs::Origin;
use crate::base::{PartitionId, Position, Timestamp};
use crate::model::{Batch, Keys, Schema};

/// Parts are not joined beyond this many rows: it bounds how long an append takes and how much memory it needs besides.
const JOIN_ROWS: usize = 16_384;

/// The rows of one channel that are not sealed yet, in the order of its log.
///
/// One task appends, deletes and releases, in log order; any number of others read meanwhile. Rows are kept in parts
/// that are joined as a binary counter carries, so that `n` small appends leave about `log n` parts to search.
pub struct Growing {
    /// The newest schema that was heard of.
    schema: RwLock<Arc<Schema>>,
    /// Held while parts are replaced, so that a delete never misses a row that is just moved. Has the positions that no
    /// part may reach over.
    writing: Mutex<Vec<Position>>,
    parts: RwLock<Arc<Vec<Arc<Part>>>>,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Growing({} rows)", self.rows())
    }
}

impl Growing {
    /// No rows yet.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        Self { schema: RwLock::new(schema), writing: Mutex::default(), parts: RwLock::default() }
    }

    /// Takes over a newer schema. Rows that are there lack fields that came, and readers see defaults or no value; of fields that went they
    /// keep what nobody asks for.
    pub fn set_schema(&self, schema: Arc<Schema>) {
        *self.schema.write() = schema;
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema.read())
    }

    /// Adds the rows of the log record at `position`, written to `partition` at `at`. Positions never go back. The rows
    /// are whole rows of the schema, as the codec of records gives them; others would be a defect, and are reported and
    /// left out. Returns whether there is one more of [`Self::full_parts`].
    pub fn append(&self, position: Position, partition: PartitionId, at: Timestamp, rows: &Batch) -> bool {
        self.try_append(position, partition, at, rows).unwrap_or_else(|cause| {
            error!(%position, rows = rows.rows, cause = &cause as &dyn std::error::Error, "rows do not fit the schema");
            false
        })
    }

    /// As [`Self::append`], for rows that were not checked.
    ///
    /// # Errors
    /// [`Error::Ragged`], [`Error::Columns`] or [`Error::Block`] if the rows are not whole rows of the schema; nothing is
    /// added then.
    pub fn try_append(
        &self,
        position: Position,
        partition: PartitionId,
        at: Timestamp,
        rows: &Batch,
    ) -> Result<bool, Error> {
        if rows.rows == 0 {
            return Ok(false);
        }
        let schema = self.schema();
        let new = Part::of_batch(&schema, rows, Origin { at, partition, position })?;
        let borders = self.writing.lock();
        let border = borders.iter().copied().filter(|border| *border <= position).max().unwrap_or_default();
        let mut parts = self.parts().to_vec();
        let first = first_to_join(&parts, new.rows(), border);
        parts.push(Arc::new(new));
        let joined = parts.split_off(first);
        match joined.as_slice() {
            [one] => parts.push(Arc::clone(one)),
            several => parts.push(Arc::new(Part::join(&schema, several)?)),
        }
        let is_full = parts.last().is_some_and(|last| is_full(last.rows()));
        *self.parts.write() = Arc::new(parts);
        Ok(is_full)
    }

    /// The parts that appends do not change any more, as far as they are large: worth an index of their own.
    #[must_use]
    pub fn full_parts(&self) -> Vec<Arc<Part>> {
        self.parts().iter().filter(|part| is_full(part.rows())).cloned().collect()
    }

    /// Hides the rows of `keys` that are older than `at`, in `partition` or in all.
    pub fn delete(&self, keys: &Keys, at: Timestamp, partition: Option<PartitionId>) {
        let _writing = self.writing.lock();
        for part in self.parts().iter() {
            part.hide((0..keys.len()).map(|row| (key_at(keys, row), at, partition)));
        }
    }

    /// Drops exactly the rows of records before `position`: they are sealed now.
    ///
    /// A reader that took its parts before goes on seeing them; see [`Self::snapshot`].
    pub fn release_before(&self, position: Position) {
        let mut borders = self.writing.lock();
        borders.retain(|border| *border > position);
        let schema = self.schema();
        let mut kept = Vec::new();
        for part in self.parts().iter() {
            match part.first_from(position) {
                0 => kept.push(Arc::clone(part)),
                first if first < part.rows() => {
                    kept.push(Arc::new(part.slice(&schema, first..part.rows())));
                }
                _ => {}
            }
        }
        *self.parts.write() = Arc::new(kept);
    }

    /// Sees to it that no part has rows of records both before `position` and from it on, now and until a release passes
    /// it: then [`Self::snapshot_from`] has nothing to copy. Copies the rows of at most one part.
    pub fn split_at(&self, position: Position) {
        let mut borders = self.writing.lock();
        if !borders.contains(&position) {
            borders.push(position);
        }
        let parts = self.parts();
        let reaches_over = |part: &Arc<Part>| (1..part.rows()).contains(&part.first_from(position));
        let Some(at) = parts.iter().position(reaches_over) else { return };
        let mut split = parts.to_vec();
        let (schema, part) = (self.schema(), split.remove(at));
        let first = part.first_from(position);
        split.insert(at, Arc::new(part.slice(&schema, 0..first)));
        split.insert(at + 1, Arc::new(part.slice(&schema, first..part.rows())));
        *self.parts.write() = Arc::new(split);
    }

    /// The rows as they are now, shared and not copied: what is appended or released later does not show in it. Whoever
    /// swaps released rows for a sealed segment takes this together with its list of sealed segments, so that a reader
    /// sees each row exactly once.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        self.of_parts(self.parts())
    }

    /// As [`Self::snapshot`], but only the rows of records from `position` on. Cheap unless a part reaches over
    /// `position`: the first call has that split, see [`Self::split_at`].
    #[must_use]
    pub fn snapshot_from(&self, position: Position) -> Self {
        let mut parts = self.parts();
        let mut first = parts.partition_point(|part| part.first_from(position) == part.rows());
        if parts.get(first).is_some_and(|part| part.first_from(position) > 0) {
            self.split_at(position);
            parts = self.parts();
            first = parts.partition_point(|part| part.first_from(position) == part.rows());
        }
        self.of_parts(if first == 0 { parts } else { Arc::new(parts[first..].to_vec()) })
    }

    fn of_parts(&self, parts: Arc<Vec<Arc<Part>>>) -> Self {
        Self { schema: RwLock::new(self.schema()), writing: Mutex::default(), parts: RwLock::new(parts) }
    }

    /// The parts, in log order.
    #[must_use]
    pub fn parts(&self) -> Arc<Vec<Arc<Part>>> {
        Arc::clone(&self.parts.read())
    }

    /// How many rows there are, hidden ones included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts().iter().map(|part| part.rows()).sum()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.parts().iter().map(|part| part.memory_bytes()).sum()
    }
}

/// Whether a part of so many rows is never joined with later ones: together with as many they would be too many.
const fn is_full(rows: usize) -> bool {
    rows * 2 > JOIN_ROWS
}

/// From which part on the last parts are joined with `rows` new rows; none with rows before `border`.
fn first_to_join(parts: &[Arc<Part>], mut rows: usize, border: Position) -> usize {
    let mut first = parts.len();
    while let Some(part) = first.checked_sub(1).and_then(|before| parts.get(before)) {
        if part.rows() > rows || part.rows() + rows > JOIN_ROWS || part.first_from(border) > 0 {
            break;
        }
        rows += part.rows();
        first -= 1;
    }
    first
}
