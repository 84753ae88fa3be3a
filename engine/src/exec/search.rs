//! Nearest-neighbour search over parts.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::allow::{Allowed, Rule};
use super::gather::{self, Chosen};
use super::groups::Groups;
use super::share::share_out;
use super::{Cost, Error, Readable, lists};
use crate::model::{Bitset, DataType, Schema, Vector};
use crate::plan::{SearchHits, SearchPlan, best_of_groups};
use crate::segment::{FieldSearch, Hit, Part, ScoreRange, SearchParams};

/// Components that one search of an index is taken to read.
const INDEX_COMPONENTS: usize = 128 << 10;

/// One part that may have hits.
pub(super) struct Target<'a> {
    /// Number of the part.
    part: u32,
    pub(super) field: FieldSearch<'a>,
    pub(super) allowed: Option<Arc<Bitset>>,
    pub(super) params: SearchParams,
    /// Set if hits are wanted by groups.
    groups: Option<Groups<'a>>,
}

/// One hit of one part.
#[derive(Clone, Copy)]
struct Candidate {
    score: f32,
    chosen: Chosen,
}

/// Some queries over one target.
struct Unit {
    target: usize,
    queries: Range<usize>,
}

/// The hits of each query of a unit.
type Answers = Vec<Vec<Hit>>;

/// As [`search_at_cost`], whatever it costs.
#[cfg(test)]
pub fn search(plan: &SearchPlan, schema: &Schema, on: &Readable) -> Result<SearchHits, Error> {
    let clock = crate::base::RealClock::new();
    search_at_cost(plan, schema, on, &Cost::new(clock.as_ref()))
}

/// The nearest rows of `on` to each query of `plan`: nearest first, equal scores by key, each key once (its nearest row);
/// or the nearest groups of them, see [`SearchPlan::grouping`].
///
/// Uses a second thread and more if there is much to do; `cost` is told what these used.
///
/// # Errors
/// [`Error::Search`] for a search parameter or a query vector that the index refuses, [`Error::Filter`] or
/// [`Error::NoField`] for a plan that does not fit the schema.
pub fn search_at_cost(
    plan: &SearchPlan,
    schema: &Schema,
    on: &Readable,
    cost: &Cost<'_>,
) -> Result<SearchHits, Error> {
    let parts = on.parts(plan.ignore_growing);
    // Also where parts have such vectors still: nobody is shown what was dropped.
    let field = schema.field_by_id(plan.field).ok_or(Error::NoField { field: plan.field })?;
    if matches!(field.data_type, DataType::ArrayOfVector(_)) {
        return lists::search(plan, schema, &parts, cost);
    }
    let targets = targets(plan, schema, &parts)?;
    let mut found: Vec<Found> = plan.queries.iter().map(|_| Found::default()).collect();
    let units = units(plan, &targets);
    for (unit, answers) in run(plan, &targets, &units, cost)? {
        let part = targets[units[unit].target].part;
        for (query, hits) in units[unit].queries.clone().zip(answers) {
            found[query].add(plan, part, &hits, plan.count);
        }
    }
    let mut counts = Vec::with_capacity(found.len());
    let mut all: Vec<Candidate> = Vec::new();
    for (query, found) in found.into_iter().enumerate() {
        let mut nearest = match found.nearest(plan, &parts) {
            Nearest::Final(nearest) if plan.grouping.is_some() => by_groups(plan, &targets, nearest),
            Nearest::Final(nearest) => nearest,
            Nearest::Unsure => search_deeper(plan, &parts, &targets, query)?,
        };
        counts.push(nearest.len());
        all.append(&mut nearest);
    }
    let chosen: Vec<Chosen> = all.iter().map(|candidate| candidate.chosen).collect();
    Ok(SearchHits {
        counts,
        keys: gather::keys(schema, &parts, &chosen),
        scores: all.iter().map(|candidate| candidate.score).collect(),
        rows: gather::columns(schema, &plan.output, &parts, &chosen)?,
    })
}

/// The hits of one query in all parts.
#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    /// Some part may have more hits, none of them nearer than this; the nearest such score.
    more_from: Option<f32>,
}

/// The best hits of one query, as far as is known.
enum Nearest {
    /// No row that was not looked at can be among them.
    Final(Vec<Candidate>),
    /// Hits had keys in common, so that rows which were cut off may be among them.
    Unsure,
}

impl Found {
    /// Adds the hits of one part, which was asked for `asked`.
    fn add(&mut self, plan: &SearchPlan, part: u32, hits: &[Hit], asked: usize) {
        let of_part = |hit: &Hit| Candidate { score: hit.score, chosen: Chosen { part, row: hit.row } };
        self.candidates.extend(hits.iter().map(of_part));
        // A part that was asked for groups has searched as deep as it takes.
        if let Some(last) = hits.last().filter(|_| hits.len() >= asked && plan.grouping.is_none()) {
            let is_nearer = |bound: f32| plan.metric.nearest_first(last.score, bound).is_lt();
            if self.more_from.is_none_or(is_nearer) {
                self.more_from = Some(last.score);
            }
        }
    }

    /// The best candidates, nearest first, equal scores by key, each key once, at most `plan.count`.
    fn nearest(self, plan: &SearchPlan, parts: &[Arc<Part>]) -> Nearest {
        match gather::int_keys(parts) {
            Some(keys) => self.nearest_by(plan, |row| keys[row.part as usize][row.row as usize]),
            None => self.nearest_by(plan, |row| parts[row.part as usize].key(row.row as usize)),
        }
    }

    fn nearest_by<K: Ord + Hash>(mut self, plan: &SearchPlan, key: impl Fn(Chosen) -> K) -> Nearest {
        self.candidates.sort_by(|left, right| {
            let by_key = || key(left.chosen).cmp(&key(right.chosen));
            plan.metric.nearest_first(left.score, right.score).then_with(by_key)
        });
        let wanted = if plan.grouping.is_some() { usize::MAX } else { plan.count };
        let mut seen = HashSet::with_capacity(wanted.min(self.candidates.len()));
        self.candidates.retain(|candidate| seen.len() < wanted && seen.insert(key(candidate.chosen)));
        let is_final = match (self.more_from, self.candidates.last()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(bound), Some(last)) => {
                self.candidates.len() >= plan.count && plan.metric.nearest_first(last.score, bound).is_le()
            }
        };
        if is_final { Nearest::Final(self.candidates) } else { Nearest::Unsure }
    }
}

/// The parts that may have hits, with the rows that may be hits.
fn targets<'a>(plan: &SearchPlan, schema: &Schema, parts: &'a [Arc<Part>]) -> Result<Vec<Target<'a>>, Error> {
    let times = (plan.expired_before, plan.read_at);
    let rule = Rule::new(schema, plan.partitions.as_deref(), times, plan.filter.as_ref());
    let given = json_params(plan);
    // A range search looks at as many rows as it takes, so nothing is too small for `count`.
    let k = if plan.range.is_some() { 1 } else { plan.count };
    let mut targets = Vec::with_capacity(parts.len());
    for (part, number) in parts.iter().zip(0..) {
        let Some(vectors) = part.vectors(plan.field) else { continue };
        let field = FieldSearch::new(part, vectors, plan.metric);
        let params = field.params(&given, k).map_err(|source| Error::Search { source })?;
        let Some(allowed) = rule.allow(part)? else { continue };
        let mut allowed = match allowed {
            Allowed::All => None,
            Allowed::Some(rows) => Some(rows),
            Allowed::Few(rows) => {
                let mut set = Bitset::none(part.rows());
                rows.into_iter().for_each(|row| set.insert(row));
                Some(Arc::new(set))
            }
        };
        if let Some(valid) = &vectors.valid {
            let mut both = valid.clone();
            if let Some(allowed) = &allowed {
                both.intersect(allowed);
            }
            allowed = Some(Arc::new(both));
        }
        let groups = plan.grouping.map(|grouping| Groups::new(part, schema, grouping)).transpose()?;
        targets.push(Target { part: number, field, allowed, params, groups });
    }
    Ok(targets)
}

/// The client's parameters as JSON; the bounds of a range come with the plan.
fn json_params(plan: &SearchPlan) -> Map<String, Value> {
    let given = plan.params.iter().filter(|(key, _)| !matches!(key.as_str(), "radius" | "range_filter"));
    given
        .map(|(key, text)| {
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
            (key.clone(), value)
        })
        .collect()
}

/// The work cut into units, few enough to share passes over vectors and enough for all threads.
fn units(plan: &SearchPlan, targets: &[Target<'_>]) -> Vec<Unit> {
    let queries = plan.queries.len();
    let mut units = Vec::new();
    for (target, at) in targets.iter().zip(0..) {
        // A pass over vectors is shared by the queries of a unit; an index is asked for each query alone.
        let step = if target.field.is_indexed() { 16 } else { queries.div_ceil(8).max(16) };
        for start in (0..queries).step_by(step) {
            units.push(Unit { target: at, queries: start..queries.min(start + step) });
        }
    }
    units
}

/// How many components the units read, about.
fn components(targets: &[Target<'_>], units: &[Unit]) -> usize {
    units.iter().fold(0_usize, |sum, unit| {
        let target = &targets[unit.target];
        let rows = target.allowed.as_ref().map_or(target.field.rows(), |rows| rows.count());
        let all = rows * target.field.words_per_row();
        let each = if target.field.is_indexed() { all.min(INDEX_COMPONENTS) } else { all };
        sum.saturating_add(each.saturating_mul(unit.queries.len()))
    })
}

/// The answers of all units, in any order, each with the unit's number.
fn run(
    plan: &SearchPlan,
    targets: &[Target<'_>],
    units: &[Unit],
    cost: &Cost<'_>,
) -> Result<Vec<(usize, Answers)>, Error> {
    share_out(
        units.len(),
        || components(targets, units),
        cost,
        |number| {
            let unit = &units[number];
            let target = &targets[unit.target];
            let queries: Vec<&Vector> = plan.queries[unit.queries.clone()].iter().collect();
            let answers = match &target.groups {
                None => ask(plan, target, &queries, plan.count, &target.params, target.allowed.as_deref())?,
                Some(groups) => {
                    let one = |query: &&Vector| groups.search(plan, target, query);
                    queries.iter().map(one).collect::<Result<_, _>>()?
                }
            };
            Ok((number, answers))
        },
    )
}

/// The best groups of some candidates, which come nearest first: the hits of one group after those of another.
fn by_groups(plan: &SearchPlan, targets: &[Target<'_>], nearest: Vec<Candidate>) -> Vec<Candidate> {
    let size = plan.grouping.map_or(1, |grouping| grouping.size);
    let groups = |part: u32| targets.iter().find(|target| target.part == part)?.groups.as_ref();
    let group_of = |hit: Candidate| groups(hit.chosen.part).map(|groups| groups.of(hit.chosen.row as usize));
    best_of_groups(nearest, group_of, plan.count, size).into_iter().flatten().collect()
}

/// Up to `count` hits among the `allowed` rows of each query in one target.
pub(super) fn ask(
    plan: &SearchPlan,
    target: &Target<'_>,
    queries: &[&Vector],
    count: usize,
    params: &SearchParams,
    allowed: Option<&Bitset>,
) -> Result<Answers, Error> {
    let answers = match plan.range {
        None => target.field.search(queries, count, params, allowed),
        Some(range) => {
            let range = ScoreRange { radius: range.outer, range_filter: range.inner };
            target.field.range_search(queries, &range, count, params, allowed)
        }
    };
    answers.map_err(|source| Error::Search { source })
}

/// Searches on for a query whose hits had keys in common, until nothing better can come or no row is left.
fn search_deeper(
    plan: &SearchPlan,
    parts: &[Arc<Part>],
    targets: &[Target<'_>],
    query: usize,
) -> Result<Vec<Candidate>, Error> {
    let rows = targets.iter().map(|target| target.field.rows()).max().unwrap_or(0);
    let mut asked = plan.count;
    loop {
        // Asked for one more than there are rows, no part can be cut short.
        asked = asked.saturating_mul(2).min(rows + 1);
        let mut found = Found::default();
        for target in targets {
            let mut params = target.params.clone();
            params.ef = params.ef.map(|ef| ef.max(asked));
            let allowed = target.allowed.as_deref();
            for hits in ask(plan, target, &[&plan.queries[query]], asked, &params, allowed)? {
                found.add(plan, target.part, &hits, asked);
            }
        }
        if let Nearest::Final(nearest) = found.nearest(plan, parts) {
            return Ok(nearest);
        }
    }
}
