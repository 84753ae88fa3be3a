//! Filters that indexes narrow down to few rows: these are looked at, and no set of all rows is made.

use std::collections::BTreeSet;

use crate::base::FieldId;
use crate::expr::evaluate::evaluate;
use crate::expr::lookup::{self, Answer};
use crate::expr::predicate::Predicate;
use crate::expr::{Error, Rows};
use crate::model::{Bitset, Column};

/// One row in so many is few.
const SHARE: usize = 64;
/// So many are always few.
const ALWAYS: usize = 16;
/// More than one row in so many are put in order by a set of all rows quicker than by sorting them.
const SORTED_SHARE: usize = 512;

/// A copy of some rows, with the columns that some statements are about.
pub(super) struct Taken {
    rows: usize,
    columns: Vec<Column>,
}

impl Taken {
    /// A copy of `which` of `rows`, for `parts`; `None` if one of their columns is not there row by row.
    pub(super) fn of(parts: &[&Predicate], rows: &dyn Rows, which: &[usize]) -> Option<Self> {
        let mut fields = BTreeSet::new();
        parts.iter().for_each(|part| part.collect_fields(&mut fields));
        let column = |field: FieldId| {
            let values = rows.values(field).filter(|values| values.data.len() == rows.len())?;
            let taken = |valid: &Bitset| Bitset::from_fn(which.len(), |at| valid.contains(which[at]));
            Some(Column { field, data: values.data.take(which), valid: values.valid.map(taken) })
        };
        let columns = fields.into_iter().map(column).collect::<Option<_>>()?;
        Some(Self { rows: which.len(), columns })
    }
}

impl Rows for Taken {
    fn len(&self) -> usize {
        self.rows
    }

    fn column(&self, field: FieldId) -> Option<&Column> {
        self.columns.iter().find(|column| column.field == field)
    }
}

/// Rows that indexes name, among which all are that a predicate is true of.
pub(super) struct Plan<'i> {
    /// One of them has each row.
    answers: Vec<Answer<'i>>,
    /// Whether the predicate is true of all of them.
    is_exact: bool,
}

impl<'i> Plan<'i> {
    /// The plan with the fewest rows for `predicate`; `None` if indexes do not leave few.
    pub(super) fn of(predicate: &Predicate, rows: &'i dyn Rows) -> Option<Self> {
        if rows.indexes().is_empty() {
            return None;
        }
        let most = ALWAYS.max(rows.len() / SHARE);
        Self::least(predicate, rows, most).filter(|plan| plan.count() <= most)
    }

    /// The plan with the fewest rows; `None` once alternatives have more than `most` together.
    fn least(predicate: &Predicate, rows: &'i dyn Rows, most: usize) -> Option<Self> {
        match predicate {
            Predicate::All(parts) => {
                let plans = parts.iter().filter_map(|part| Self::least(part, rows, most));
                let least = plans.min_by_key(Self::count)?;
                Some(Self { is_exact: false, ..least })
            }
            Predicate::Any(parts) => {
                let mut any = Self { answers: Vec::new(), is_exact: true };
                for part in parts {
                    let part = Self::least(part, rows, most)?;
                    any.answers.extend(part.answers);
                    if any.count() > most {
                        return None;
                    }
                    any.is_exact &= part.is_exact;
                }
                Some(any)
            }
            leaf => {
                let answer = lookup::find(leaf, rows).filter(Answer::is_listed)?;
                let is_exact = answer.is_exact;
                Some(Self { answers: vec![answer], is_exact })
            }
        }
    }

    /// How many rows there are, at most.
    pub(super) fn count(&self) -> usize {
        self.answers.iter().map(|answer| answer.count).sum()
    }

    /// The rows, of `len`, ascending, each once.
    fn rows(&self, len: usize) -> Vec<usize> {
        let named = self.answers.iter().flat_map(Answer::list);
        if self.count() > len / SORTED_SHARE {
            let mut set = Bitset::none(len);
            named.for_each(|row| set.insert(row));
            return set.iter().collect();
        }
        let mut rows: Vec<usize> = named.collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }
}

/// The rows for which `predicate` is true, if indexes leave few to look at.
pub(super) fn few(predicate: &Predicate, rows: &dyn Rows) -> Result<Option<Vec<usize>>, Error> {
    let Some(plan) = Plan::of(predicate, rows) else { return Ok(None) };
    let found = plan.rows(rows.len());
    if plan.is_exact {
        return Ok(Some(found));
    }
    let Some(taken) = Taken::of(&[predicate], rows, &found) else { return Ok(None) };
    let chosen = evaluate(predicate, &taken)?;
    Ok(Some(chosen.iter().map(|at| found[at]).collect()))
}

/// How `predicate` is evaluated, for people.
pub(super) fn explain(predicate: &Predicate, rows: &dyn Rows) -> String {
    if let Some(plan) = Plan::of(predicate, rows) {
        let rest = if plan.is_exact { "none compared" } else { "each compared" };
        return format!("{} of {} rows looked up, {rest}", plan.count(), rows.len());
    }
    let mut leaves = Vec::new();
    describe(predicate, rows, &mut leaves);
    leaves.join("; ")
}

fn describe(predicate: &Predicate, rows: &dyn Rows, leaves: &mut Vec<String>) {
    match predicate {
        Predicate::Not(inner) => describe(inner, rows, leaves),
        Predicate::All(parts) | Predicate::Any(parts) => {
            parts.iter().for_each(|part| describe(part, rows, leaves));
        }
        leaf => leaves.push(match lookup::find(leaf, rows) {
            Some(answer) if answer.is_exact => format!("{leaf}: an index has {} rows", answer.count),
            Some(answer) => format!("{leaf}: an index has at most {} rows", answer.count),
            None => format!("{leaf}: rows are compared"),
        }),
    }
}
