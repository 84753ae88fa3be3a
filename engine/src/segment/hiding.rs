//! Which rows deletes have hidden, and when.

use std::ops::Range;
use std::sync::Arc;

use crate::base::Timestamp;
use crate::model::Bitset;

/// The deletes applied to some rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Hiding {
    /// Set with the first delete that hides a row.
    hidden: Option<Hidden>,
}

#[derive(Clone, Debug)]
struct Hidden {
    /// Rows that no delete hides. Shared with readers; copied before a change while one of them holds it.
    live: Arc<Bitset>,
    /// When each row was hidden: the oldest delete that does so, [`Timestamp::MAX`] for none.
    times: Vec<Timestamp>,
    /// The newest of `times` but for `MAX`.
    newest: Timestamp,
}

impl Hidden {
    fn none(rows: usize) -> Self {
        Self { live: Arc::new(Bitset::all(rows)), times: vec![Timestamp::MAX; rows], newest: Timestamp::ZERO }
    }
}

impl Hiding {
    /// Hides row `row` of `rows` from `at` on. Doing it again, in any order, changes nothing.
    pub(super) fn hide(&mut self, rows: usize, row: usize, at: Timestamp) {
        let hidden = self.hidden.get_or_insert_with(|| Hidden::none(rows));
        if let Some(time) = hidden.times.get_mut(row)
            && at < *time
        {
            // A row that was hidden at a later time is hidden earlier now, so `newest` may be too new: that costs time only.
            *time = at;
            hidden.newest = hidden.newest.max(at);
            if hidden.live.contains(row) {
                Arc::make_mut(&mut hidden.live).remove(row);
            }
        }
    }

    /// The rows not hidden at `read_at`; `None` if that is all of them.
    pub(super) fn live_at(&self, read_at: Timestamp) -> Option<Arc<Bitset>> {
        let hidden = self.hidden.as_ref()?;
        if hidden.newest <= read_at {
            return Some(Arc::clone(&hidden.live));
        }
        let mut live = (*hidden.live).clone();
        for (number, word) in hidden.live.words().iter().enumerate() {
            let mut gone = !word;
            while gone != 0 {
                let row = number * 64 + gone.trailing_zeros() as usize;
                if hidden.times.get(row).is_some_and(|time| *time > read_at) {
                    live.insert(row);
                }
                gone &= gone - 1;
            }
        }
        Some(Arc::new(live))
    }

    /// Takes over what hides the rows of `other`, which are `rows` rows that come after `before` rows; there are `total`.
    pub(super) fn adopt(&mut self, other: &Self, before: usize, total: usize) {
        let Some(theirs) = &other.hidden else { return };
        for (row, &time) in theirs.times.iter().enumerate().filter(|(_, time)| **time != Timestamp::MAX) {
            self.hide(total, before + row, time);
        }
    }

    /// What hides some of the rows.
    pub(super) fn slice(&self, rows: Range<usize>) -> Self {
        let mut rest = Self::default();
        if let Some(hidden) = &self.hidden {
            let times = hidden.times.get(rows).unwrap_or_default();
            for (row, &time) in times.iter().enumerate().filter(|(_, time)| **time != Timestamp::MAX) {
                rest.hide(times.len(), row, time);
            }
        }
        rest
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.hidden.as_ref().map_or(0, |hidden| hidden.times.len() * 8 + hidden.live.len() / 8)
    }
}
