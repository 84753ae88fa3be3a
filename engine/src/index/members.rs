//! Which rows are in which list of an inverted file.

use super::Error;

/// Every row is in one list.
#[derive(Debug)]
pub(super) struct Members {
    /// Where each list starts in `rows`, and the end of the last.
    starts: Vec<u32>,
    /// The rows of the lists, ascending within each.
    rows: Vec<u32>,
}

impl Members {
    /// Given the list of each row, below `lists`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a list that is not there.
    pub(super) fn of(lists: usize, groups: &[u32]) -> Result<Self, Error> {
        let mut starts = vec![0u32; lists + 1];
        for &group in groups {
            let next =
                starts.get_mut(group as usize + 1).ok_or(Error::Corrupt { what: "a list is unknown" })?;
            *next += 1;
        }
        for list in 1..starts.len() {
            starts[list] += starts[list - 1];
        }
        let mut places = starts.clone();
        let mut rows = vec![0; groups.len()];
        for (row, &group) in (0..).zip(groups) {
            let place = &mut places[group as usize];
            rows[*place as usize] = row;
            *place += 1;
        }
        Ok(Self { starts, rows })
    }

    /// The rows of a list.
    pub(super) fn list(&self, list: usize) -> &[u32] {
        &self.rows[self.starts[list] as usize..self.starts[list + 1] as usize]
    }

    /// The list of each row, as [`Self::of`] takes them.
    pub(super) fn groups(&self) -> Vec<u32> {
        let mut groups = vec![0u32; self.rows.len()];
        for list in 0..self.starts.len() - 1 {
            self.list(list).iter().for_each(|&row| groups[row as usize] = list as u32);
        }
        groups
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        (self.starts.len() + self.rows.len()) * 4
    }
}
