//! Searches by groups in one part: deeper and deeper, past the groups that are full, until there are enough.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::Error;
use super::search::{Target, ask};
use crate::model::{Bitset, Column, Schema, Vector};
use crate::plan::{Group, Grouping, SearchPlan, best_of_groups};
use crate::segment::{Hit, Part};

/// The groups of the rows of one part.
pub(super) struct Groups<'a> {
    grouping: Grouping,
    column: Cow<'a, Column>,
    /// Whether `column` is one row that stands for all.
    is_absent: bool,
    rows: usize,
    /// The number of each row's group, made when it is needed: most searches find enough at once.
    numbers: OnceLock<Numbers>,
}

#[derive(Default)]
struct Numbers {
    of_rows: Vec<usize>,
    of_groups: HashMap<Group, usize>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(part: &'a Part, schema: &Schema, grouping: Grouping) -> Result<Self, Error> {
        let field = schema.field_by_id(grouping.field).ok_or(Error::NoField { field: grouping.field })?;
        let column = part.column(grouping.field);
        Ok(Self {
            grouping,
            is_absent: column.is_none(),
            column: column.map_or_else(|| Cow::Owned(Column::absent(field, 1)), Cow::Borrowed),
            rows: part.rows(),
            numbers: OnceLock::new(),
        })
    }

    /// The group of a row.
    pub(super) fn of(&self, row: usize) -> Group {
        Group::of(&self.column, if self.is_absent { 0 } else { row })
    }

    /// The best hits of the part's best groups, nearest first.
    ///
    /// If there are as many groups as wanted, that many are found, however small the share of the index that a search
    /// usually looks at. A strict search fills the best groups as far as their rows go.
    pub(super) fn search(
        &self,
        plan: &SearchPlan,
        target: &Target<'_>,
        query: &Vector,
    ) -> Result<Vec<Hit>, Error> {
        let mut params = target.params.clone();
        let mut allowed = target.allowed.as_deref().map(Cow::Borrowed);
        let mut asked = plan.count.saturating_mul(self.grouping.size).min(self.rows + 1);
        let mut found: Vec<Hit> = Vec::new();
        loop {
            params.ef = params.ef.map(|ef| ef.max(asked));
            let hits = ask(plan, target, &[query], asked, &params, allowed.as_deref())?;
            let hits: Vec<Hit> = hits.into_iter().flatten().collect();
            let is_end = hits.is_empty();
            found.extend(hits);
            // An index may find a nearer row when it looks further.
            found.sort_by(|left, right| {
                plan.metric.nearest_first(left.score, right.score).then(left.row.cmp(&right.row))
            });
            let best = best_of_groups(
                found.iter().copied(),
                |hit| self.of(hit.row as usize),
                plan.count,
                self.grouping.size,
            );
            let rest =
                (!self.is_enough(plan, &best) && !is_end).then(|| self.rest(plan, target, &best, &found));
            let Some(rest) = rest.filter(|rest| rest.count() > 0) else {
                return Ok(best.into_iter().flatten().collect());
            };
            allowed = Some(Cow::Owned(rest));
            asked = asked.saturating_mul(2).min(self.rows + 1);
        }
    }

    fn is_enough(&self, plan: &SearchPlan, best: &[Vec<Hit>]) -> bool {
        let is_full = |group: &Vec<Hit>| group.len() >= self.grouping.size;
        best.len() >= plan.count && (!self.grouping.strict || best.iter().all(is_full))
    }

    /// The rows that can still make a difference: not seen, and not of a group that is full; once there are enough groups,
    /// only rows of these.
    fn rest(&self, plan: &SearchPlan, target: &Target<'_>, best: &[Vec<Hit>], found: &[Hit]) -> Bitset {
        let numbers = self.numbers.get_or_init(|| self.number());
        // Rows of groups that were not found yet.
        let mut is_wanted = vec![best.len() < plan.count; numbers.of_groups.len()];
        for group in best {
            let number = group.first().and_then(|hit| numbers.of_groups.get(&self.of(hit.row as usize)));
            if let Some(&number) = number {
                is_wanted[number] = group.len() < self.grouping.size;
            }
        }
        let is_allowed = |row| target.allowed.as_ref().is_none_or(|allowed| allowed.contains(row));
        let mut rest = Bitset::from_fn(self.rows, |row| is_wanted[numbers.of_rows[row]] && is_allowed(row));
        found.iter().for_each(|hit| rest.remove(hit.row as usize));
        rest
    }

    fn number(&self) -> Numbers {
        let mut numbers = Numbers { of_rows: Vec::with_capacity(self.rows), of_groups: HashMap::new() };
        for row in 0..self.rows {
            let next = numbers.of_groups.len();
            numbers.of_rows.push(*numbers.of_groups.entry(self.of(row)).or_insert(next));
        }
        numbers
    }
}
