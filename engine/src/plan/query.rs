//! Queries by filter or key.

use super::{Aggregates, Error, Order, TermStatistics};
use crate::base::{CollectionId, FieldId, PartitionId, Timestamp};
use crate::expr::Filter;
use crate::model::{Batch, Keys};

/// What a query wants back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryKind {
    /// Rows.
    Rows,
    /// How many rows there are (`count(*)`), duplicates of a key included.
    Count,
    /// How often terms are in the texts of a field: a [`TermStatistics`], whatever the filter and the partitions. Comes with a
    /// limit of 0, for nodes that know of no such kind.
    Terms {
        /// The field with the counts of words.
        field: FieldId,
        /// The terms by their numbers.
        terms: Vec<u32>,
    },
    /// What is counted and measured of groups of rows, duplicates of a key included. Comes with a limit of 0, for nodes that know
    /// of no such kind.
    Aggregates(Aggregates),
}

/// One query over one collection.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// Where to look.
    pub collection: CollectionId,
    /// Only in these partitions; `None` for all loaded ones.
    pub partitions: Option<Vec<PartitionId>>,
    /// Only rows that match.
    pub filter: Option<Filter>,
    /// At most so many rows, limit and offset together.
    pub limit: Option<usize>,
    /// Set if rows come by other values than their keys; its fields are among `output`.
    pub order: Option<Order>,
    /// Fields to return.
    pub output: Vec<FieldId>,
    /// Rows and deletes after this time are not seen.
    pub read_at: Timestamp,
    /// Rows from before this time have expired and are not seen; [`Timestamp::ZERO`] where none has.
    pub expired_before: Timestamp,
    /// Whether rows that are not sealed yet are left out.
    pub ignore_growing: bool,
    /// Rows, or what is known of them.
    pub kind: QueryKind,
}

/// Rows of a query, ascending by key or in the plan's order, each key once (its newest row).
#[derive(Clone, Debug, PartialEq)]
pub struct QueryRows {
    /// Primary keys of the rows.
    pub keys: Keys,
    /// When each row was written.
    pub times: Vec<Timestamp>,
    /// The output fields of the rows.
    pub rows: Batch,
    /// For [`QueryKind::Count`]: how many rows match. Otherwise the number of rows.
    pub count: u64,
}

/// Puts partial results of one query together: ascending by key or in the plan's order and then by key, each key once, at
/// most `plan.limit` rows.
///
/// # Errors
/// [`Error::Columns`] if parts carry different output columns, which would be a defect of a node; what aggregates may not be.
pub fn merge_query(plan: &QueryPlan, parts: Vec<QueryRows>) -> Result<QueryRows, Error> {
    if let QueryKind::Aggregates(aggregates) = &plan.kind {
        return aggregates.merge(parts);
    }
    if let QueryKind::Terms { terms, .. } = &plan.kind {
        let mut all = TermStatistics::none(terms.len());
        for part in parts {
            match TermStatistics::of_rows(&part, terms.len()) {
                Some(counted) => all.add(&counted),
                // Who asked sees that it is none; a node of an earlier version answers so.
                None => return Ok(part),
            }
        }
        return Ok(all.into_rows());
    }
    let mut parts = parts.into_iter();
    let Some(mut all) = parts.next() else {
        return Ok(QueryRows {
            keys: Keys::Int(Vec::new()),
            times: Vec::new(),
            rows: Batch::default(),
            count: 0,
        });
    };
    for part in parts {
        all.count += part.count;
        all.times.extend_from_slice(&part.times);
        all.rows.extend(&part.rows).map_err(|source| Error::Columns { source })?;
        all.keys.extend(&part.keys);
    }
    if plan.kind == QueryKind::Count {
        return Ok(all);
    }
    let mut order = match &all.keys {
        Keys::Int(keys) => newest_by_key(keys.iter().copied(), &all.times),
        Keys::Text(keys) => newest_by_key((0..keys.len()).map(|row| keys.get(row)), &all.times),
    };
    if let Some(wanted) = &plan.order {
        let keys = wanted.keys(&all.rows);
        // Stable: rows that are equal here stay in the order of their keys.
        order.sort_by(|&left, &right| wanted.compare(&keys[left], &keys[right]));
    }
    order.truncate(plan.limit.unwrap_or(usize::MAX));
    Ok(QueryRows {
        keys: all.keys.take(&order),
        times: order.iter().map(|&row| all.times[row]).collect(),
        rows: all.rows.take(&order),
        count: order.len() as u64,
    })
}

/// The rows ascending by key, of each key the newest.
fn newest_by_key<K: Ord>(keys: impl Iterator<Item = K>, times: &[Timestamp]) -> Vec<usize> {
    // With the keys at hand, so that comparing two rows looks at nothing else; answers ascend, which the sort makes use of.
    let mut rows: Vec<(K, usize)> = keys.zip(0..).collect();
    rows.sort_by(|left, right| left.0.cmp(&right.0).then_with(|| times[right.1].cmp(&times[left.1])));
    rows.dedup_by(|later, earlier| later.0 == earlier.0);
    rows.into_iter().map(|(_, row)| row).collect()
}
