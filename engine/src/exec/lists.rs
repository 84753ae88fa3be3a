//! Searches of lists of vectors, one a row: by whole lists, or by their single elements. Every allowed row is compared.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use super::allow::{Allowed, FilledRows, Rule};
use super::gather::{self, Chosen};
use super::share::share_out;
use super::{Cost, Error};
use crate::model::{Bitset, Column, ColumnData, Schema};
use crate::plan::{ELEMENT, SearchHits, SearchPlan, best_of_groups};
use crate::segment::{Lists, Part, ScoreRange};

/// One part that may have hits.
struct Target<'a> {
    /// Number of the part.
    part: u32,
    lists: Lists<'a>,
    /// The rows that may be hits, ascending.
    rows: Vec<u32>,
    /// The elements of those rows that may be, counted over all rows; `None` for all.
    elements: Option<Bitset>,
}

impl Target<'_> {
    /// The next run of elements in `rest` that may be hits, which is taken off; `None` if there is none left.
    fn next_run(&self, rest: &mut Range<usize>) -> Option<Range<usize>> {
        let Some(elements) = &self.elements else {
            let run = rest.clone();
            rest.start = rest.end;
            return (!run.is_empty()).then_some(run);
        };
        let start = rest.clone().find(|place| elements.contains(*place))?;
        let end = (start..rest.end).find(|place| !elements.contains(*place)).unwrap_or(rest.end);
        rest.start = end;
        Some(start..end)
    }
}

/// One hit, or what may become one.
#[derive(Clone, Copy)]
struct Candidate {
    score: f32,
    chosen: Chosen,
    /// Which element of the row; 0 where whole lists are searched.
    element: u32,
}

/// As [`super::search_at_cost`], for a field of arrays of vectors.
pub(super) fn search(
    plan: &SearchPlan,
    schema: &Schema,
    parts: &[Arc<Part>],
    cost: &Cost<'_>,
) -> Result<SearchHits, Error> {
    let targets = targets(plan, schema, parts)?;
    let mut found: Vec<Vec<Candidate>> = plan.queries.iter().map(|_| Vec::new()).collect();
    for (query, mut candidates) in run(plan, &targets, parts, cost)? {
        found[query].append(&mut candidates);
    }
    let mut counts = Vec::with_capacity(found.len());
    let mut all: Vec<Candidate> = Vec::new();
    for candidates in found {
        let mut nearest = nearest(plan, parts, candidates);
        counts.push(nearest.len());
        all.append(&mut nearest);
    }
    let chosen: Vec<Chosen> = all.iter().map(|candidate| candidate.chosen).collect();
    let mut rows = gather::columns(schema, &plan.output, parts, &chosen)?;
    if plan.metric.of_lists().is_none() {
        let elements = all.iter().map(|candidate| i64::from(candidate.element)).collect();
        rows.columns.push(Column { field: ELEMENT, data: ColumnData::Int64(elements), valid: None });
    }
    Ok(SearchHits {
        counts,
        keys: gather::keys(schema, parts, &chosen),
        scores: all.iter().map(|candidate| candidate.score).collect(),
        rows,
    })
}

/// The parts that may have hits, with the rows and elements that may be hits.
fn targets<'a>(plan: &SearchPlan, schema: &Schema, parts: &'a [Arc<Part>]) -> Result<Vec<Target<'a>>, Error> {
    let times = (plan.expired_before, plan.read_at);
    let rule = Rule::new(schema, plan.partitions.as_deref(), times, plan.filter.as_ref());
    let mut targets = Vec::with_capacity(parts.len());
    for (part, number) in parts.iter().zip(0..) {
        let Some(column) = part.column(plan.field) else { continue };
        let ColumnData::Array(arrays) = &column.data else { continue };
        let Some(allowed) = rule.allow(part)? else { continue };
        let is_hit = |row: &usize| column.is_valid(*row) && !arrays.range(*row).is_empty();
        let number_of = |row: usize| u32::try_from(row).unwrap_or(u32::MAX);
        let rows: Vec<u32> = match &allowed {
            Allowed::All => (0..part.rows()).filter(is_hit).map(number_of).collect(),
            Allowed::Some(rows) => rows.iter().filter(is_hit).map(number_of).collect(),
            Allowed::Few(rows) => rows.iter().copied().filter(is_hit).map(number_of).collect(),
        };
        if rows.is_empty() {
            continue;
        }
        let elements = match &plan.filter {
            Some(filter) if plan.metric.of_lists().is_none() && filter.struct_of_elements().is_some() => {
                let mut wanted = Bitset::none(part.rows());
                rows.iter().for_each(|row| wanted.insert(*row as usize));
                let filled = FilledRows::new(part, schema, &filter.fields());
                filter.elements(&filled, Some(&wanted)).map_err(|source| Error::Filter { source })?
            }
            _ => None,
        };
        let Some(lists) = Lists::new(arrays, &rows, elements.as_ref(), plan.metric) else { continue };
        targets.push(Target { part: number, lists, rows, elements });
    }
    Ok(targets)
}

/// What is near each query in each target, by the number of the query, in any order.
fn run(
    plan: &SearchPlan,
    targets: &[Target<'_>],
    parts: &[Arc<Part>],
    cost: &Cost<'_>,
) -> Result<Vec<(usize, Vec<Candidate>)>, Error> {
    let words: usize = targets.iter().map(|target| target.lists.words()).sum();
    let all = || words.saturating_mul(plan.queries.len());
    share_out(targets.len() * plan.queries.len(), all, cost, |unit| {
        let (query, target) = (unit / targets.len(), &targets[unit % targets.len()]);
        Ok((query, compared(plan, parts, target, query)?))
    })
}

/// The best rows, or elements, of a target for one query, in the order of [`nearest`].
fn compared(
    plan: &SearchPlan,
    parts: &[Arc<Part>],
    target: &Target<'_>,
    query: usize,
) -> Result<Vec<Candidate>, Error> {
    let mut query = target.lists.query(&plan.queries[query]).map_err(|source| Error::Search { source })?;
    let range = plan.range.map(|range| ScoreRange { radius: range.outer, range_filter: range.inner });
    let is_wanted = |score: f32| range.as_ref().is_none_or(|range| range.contains(plan.metric, score));
    let mut best = Best::new(plan, parts);
    for &row in &target.rows {
        let chosen = Chosen { part: target.part, row };
        if plan.metric.of_lists().is_some() {
            let score = target.lists.max_sim(&mut query, row as usize);
            if let Some(score) = score.filter(|score| is_wanted(*score)) {
                best.offer(Candidate { score, chosen, element: 0 });
            }
            continue;
        }
        let mut rest = target.lists.range(row as usize);
        let (start, before) = (rest.start, best.kept.len());
        while let Some(run) = target.next_run(&mut rest) {
            let first = u32::try_from(run.start - start).unwrap_or(u32::MAX);
            for (&score, element) in target.lists.scores(&mut query, run).iter().zip(first..) {
                if is_wanted(score) {
                    best.offer(Candidate { score, chosen, element });
                }
            }
        }
        best.end_row(before);
    }
    Ok(best.finish())
}

/// Candidates that are kept at least before the best of them are looked for.
const LEAST_ROOM: usize = 1024;

/// The best candidates of one query so far, and some that may not be: about twice as many as are wanted, however many come; of
/// groups those of every row.
struct Best<'a> {
    plan: &'a SearchPlan,
    parts: &'a [Arc<Part>],
    kept: Vec<Candidate>,
    /// How many are kept until the best of them are looked for.
    room: usize,
    /// As many as are wanted are at least as near as this.
    bar: Option<f32>,
}

impl<'a> Best<'a> {
    fn new(plan: &'a SearchPlan, parts: &'a [Arc<Part>]) -> Self {
        // A group whose best hit is among the best may have its next one anywhere.
        let room = match plan.grouping {
            Some(_) => usize::MAX,
            None => plan.count.saturating_mul(2).max(LEAST_ROOM),
        };
        Self { plan, parts, kept: Vec::new(), room, bar: None }
    }

    fn offer(&mut self, candidate: Candidate) {
        // What is as near as the bar may still come before it by its key.
        if self.bar.is_some_and(|bar| self.plan.metric.nearest_first(candidate.score, bar).is_gt()) {
            return;
        }
        self.kept.push(candidate);
        if self.kept.len() >= self.room {
            self.kept = nearest(self.plan, self.parts, std::mem::take(&mut self.kept));
            if self.kept.len() >= self.plan.count {
                self.bar = self.kept.last().map(|farthest| farthest.score);
            }
        }
    }

    /// Ends a row whose candidates, where groups are wanted, are those behind the first `before`: with more of them than a group
    /// has, the others are behind these in the group of any key.
    fn end_row(&mut self, before: usize) {
        let Some(grouping) = self.plan.grouping else { return };
        self.kept[before..].sort_by(|left, right| {
            let by_element = left.element.cmp(&right.element);
            self.plan.metric.nearest_first(left.score, right.score).then(by_element)
        });
        self.kept.truncate(before.saturating_add(grouping.size));
    }

    fn finish(self) -> Vec<Candidate> {
        nearest(self.plan, self.parts, self.kept)
    }
}

/// The best candidates, nearest first, equal scores by key, each element of a key once; by groups if that is asked for: then
/// a key is a group.
fn nearest(plan: &SearchPlan, parts: &[Arc<Part>], candidates: Vec<Candidate>) -> Vec<Candidate> {
    match gather::int_keys(parts) {
        Some(keys) => nearest_by(plan, candidates, |at| keys[at.part as usize][at.row as usize]),
        None => nearest_by(plan, candidates, |at| parts[at.part as usize].key(at.row as usize)),
    }
}

fn nearest_by<K: Ord + Hash + Copy>(
    plan: &SearchPlan,
    mut all: Vec<Candidate>,
    key: impl Fn(Chosen) -> K,
) -> Vec<Candidate> {
    all.sort_by(|left, right| {
        let by_key = || key(left.chosen).cmp(&key(right.chosen)).then(left.element.cmp(&right.element));
        plan.metric.nearest_first(left.score, right.score).then_with(by_key)
    });
    let wanted = if plan.grouping.is_some() { usize::MAX } else { plan.count };
    let mut seen = HashSet::with_capacity(wanted.min(all.len()));
    all.retain(|one| seen.len() < wanted && seen.insert((key(one.chosen), one.element)));
    match plan.grouping {
        None => all,
        Some(grouping) => {
            let groups = best_of_groups(all, |one| key(one.chosen), plan.count, grouping.size);
            groups.into_iter().flatten().collect()
        }
    }
}
