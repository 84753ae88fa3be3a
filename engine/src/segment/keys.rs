//! From primary keys to rows.

use std::cmp::Ordering;

use crate::model::{ColumnData, Keys, Texts};

/// A primary key by reference. Ordered as [`crate::model::Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyRef<'a> {
    /// Of an `Int64` key.
    Int(i64),
    /// Of a `VarChar` key.
    Text(&'a str),
}

/// The primary keys of some rows, by reference.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyColumn<'a> {
    Int(&'a [i64]),
    Text(&'a Texts),
}

impl<'a> KeyColumn<'a> {
    /// The keys in a column; no keys in one whose type cannot be a key's.
    pub(super) const fn of(data: &'a ColumnData) -> Self {
        match data {
            ColumnData::Int64(keys) => Self::Int(keys.as_slice()),
            ColumnData::VarChar(keys) => Self::Text(keys),
            _ => Self::Int(&[]),
        }
    }

    pub(super) fn len(self) -> usize {
        match self {
            Self::Int(keys) => keys.len(),
            Self::Text(keys) => keys.len(),
        }
    }

    /// The key of row `row`, which must exist.
    #[inline]
    pub(crate) fn get(self, row: usize) -> KeyRef<'a> {
        match self {
            Self::Int(keys) => KeyRef::Int(keys[row]),
            Self::Text(keys) => KeyRef::Text(keys.get(row)),
        }
    }

    fn compare(self, left: usize, right: usize) -> Ordering {
        self.get(left).cmp(&self.get(right))
    }
}

/// The rows of a column of keys in the order of their keys; rows of equal keys ascend.
#[derive(Debug)]
pub(super) enum KeyOrder {
    /// Keys ascend with the rows, so nothing needs to be kept.
    AsRows,
    /// Integer keys in order, and the row of each.
    Ints { keys: Vec<i64>, rows: Vec<u32> },
    /// The rows of text keys in order.
    Texts { rows: Vec<u32> },
}

impl KeyOrder {
    pub(super) fn new(column: KeyColumn<'_>) -> Self {
        let count = column.len();
        match column {
            KeyColumn::Int(keys) => {
                if keys.is_sorted() {
                    return Self::AsRows;
                }
                let mut pairs: Vec<(i64, u32)> = keys.iter().copied().zip(0..).collect();
                pairs.sort_unstable();
                Self::Ints {
                    keys: pairs.iter().map(|pair| pair.0).collect(),
                    rows: pairs.iter().map(|pair| pair.1).collect(),
                }
            }
            KeyColumn::Text(_) => {
                if (1..count).all(|row| column.compare(row - 1, row) != Ordering::Greater) {
                    return Self::AsRows;
                }
                let mut rows: Vec<u32> = (0..count as u32).collect();
                rows.sort_by(|&left, &right| column.compare(left as usize, right as usize));
                Self::Texts { rows }
            }
        }
    }

    /// The row whose key has rank `rank`, which must be below the number of rows.
    #[inline]
    pub(super) fn row(&self, rank: usize) -> usize {
        match self {
            Self::AsRows => rank,
            Self::Ints { rows, .. } | Self::Texts { rows } => rows[rank] as usize,
        }
    }

    /// Calls `visit` with each row that has `key`, ascending.
    pub(super) fn each_row(&self, column: KeyColumn<'_>, key: KeyRef<'_>, mut visit: impl FnMut(usize)) {
        let count = column.len();
        let first = match (self, column, key) {
            (Self::AsRows, KeyColumn::Int(keys), KeyRef::Int(key)) => {
                keys.partition_point(|&other| other < key)
            }
            (Self::Ints { keys, .. }, _, KeyRef::Int(key)) => keys.partition_point(|&other| other < key),
            (_, KeyColumn::Text(_), KeyRef::Text(_)) => {
                let (mut low, mut high) = (0, count);
                while low < high {
                    let middle = usize::midpoint(low, high);
                    if column.get(self.row(middle)) < key { low = middle + 1 } else { high = middle }
                }
                low
            }
            _ => return,
        };
        for rank in first..count {
            let row = self.row(rank);
            if column.get(row) != key {
                break;
            }
            visit(row);
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::AsRows => 0,
            Self::Ints { keys, rows } => keys.len() * 8 + rows.len() * 4,
            Self::Texts { rows } => rows.len() * 4,
        }
    }
}

/// Key `at` of `keys`, which must exist.
pub(crate) fn key_at(keys: &Keys, at: usize) -> KeyRef<'_> {
    match keys {
        Keys::Int(keys) => KeyRef::Int(keys[at]),
        Keys::Text(keys) => KeyRef::Text(keys.get(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(data: &ColumnData, key: KeyRef<'_>) -> Vec<usize> {
        let column = KeyColumn::of(data);
        let mut rows = Vec::new();
        KeyOrder::new(column).each_row(column, key, |row| rows.push(row));
        rows
    }

    #[test]
    fn every_row_of_a_key_is_found_whatever_the_order() {
        for keys in [vec![1, 2, 2, 2, 9], vec![2, 9, 2, 1, 2]] {
            let texts = keys.iter().map(|key| format!("k{key}")).collect::<Vec<_>>();
            let texts = ColumnData::VarChar(texts.iter().map(String::as_str).collect());
            for wanted in 0..11_i64 {
                let expected: Vec<usize> = (0..keys.len()).filter(|&row| keys[row] == wanted).collect();
                assert_eq!(rows_of(&ColumnData::Int64(keys.clone()), KeyRef::Int(wanted)), expected);
                assert_eq!(rows_of(&texts, KeyRef::Text(&format!("k{wanted}"))), expected);
            }
        }
    }
}
