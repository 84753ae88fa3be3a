//! Queries by filter or key.

use std::sync::Arc;

use super::aggregate::aggregate;
use super::allow::{Allowed, Rule};
use super::gather::{self, Chosen};
use super::{Error, Readable};
use crate::base::FieldId;
use crate::model::{Batch, Bitset, Keys, Metric, Schema};
use crate::plan::{Groups, Order, QueryKind, QueryPlan, QueryRows, TermStatistics};
use crate::segment::{FieldSearch, Part};

/// The rows of `on` that `plan` asks for, ascending by key or in the plan's order, each key once (its newest row), at most `plan.limit`; or how
/// many rows match or what their aggregates are, duplicates of a key included.
///
/// # Errors
/// [`Error::Filter`] or [`Error::NoField`] for a plan that does not fit the schema; [`Error::Aggregates`].
pub fn query(plan: &QueryPlan, schema: &Schema, on: &Readable) -> Result<QueryRows, Error> {
    let parts = on.parts(plan.ignore_growing);
    let times = (plan.expired_before, plan.read_at);
    let rule = Rule::new(schema, plan.partitions.as_deref(), times, plan.filter.as_ref());
    match &plan.kind {
        QueryKind::Rows => {}
        QueryKind::Count => return count(&rule, schema, &parts),
        QueryKind::Terms { field, terms } => {
            schema.field_by_id(*field).ok_or(Error::NoField { field: *field })?;
            return Ok(statistics(&parts, *field, terms).into_rows());
        }
        QueryKind::Aggregates(aggregates) => {
            let mut groups = Groups::new(aggregates);
            aggregate(plan, schema, on, &mut groups)?;
            return Ok(groups.into_rows());
        }
    }
    let mut chosen = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some(allowed) = rule.allow(part)? {
            // In another order than that of keys, any row may be among the first.
            let limit = if plan.order.is_some() { usize::MAX } else { plan.limit.unwrap_or(usize::MAX) };
            let rows = first_by_key(part, &allowed, limit);
            chosen.extend(rows.into_iter().map(|row| Chosen { part: at as u32, row: row as u32 }));
        }
    }
    let mut chosen = newest_by_key(&parts, chosen);
    if let Some(order) = &plan.order {
        chosen = in_order(order, schema, &parts, chosen)?;
    }
    chosen.truncate(plan.limit.unwrap_or(usize::MAX));
    Ok(QueryRows {
        keys: gather::keys(schema, &parts, &chosen),
        times: gather::times(&parts, &chosen),
        rows: gather::columns(schema, &plan.output, &parts, &chosen)?,
        count: chosen.len() as u64,
    })
}

/// Rows ascending by key, of each key the newest.
fn newest_by_key(parts: &[Arc<Part>], chosen: Vec<Chosen>) -> Vec<Chosen> {
    match gather::int_keys(parts) {
        Some(keys) => in_key_order(parts, chosen, |chosen| keys[chosen.part as usize][chosen.row as usize]),
        None => in_key_order(parts, chosen, |chosen| parts[chosen.part as usize].key(chosen.row as usize)),
    }
}

fn in_key_order<K: Ord>(parts: &[Arc<Part>], chosen: Vec<Chosen>, key: impl Fn(Chosen) -> K) -> Vec<Chosen> {
    let time = |chosen: Chosen| parts[chosen.part as usize].time(chosen.row as usize);
    // With the keys at hand, so that comparing two rows looks at nothing else.
    let mut keyed: Vec<(K, Chosen)> = chosen.into_iter().map(|chosen| (key(chosen), chosen)).collect();
    keyed.sort_by(|left, right| left.0.cmp(&right.0).then_with(|| time(right.1).cmp(&time(left.1))));
    keyed.dedup_by(|later, earlier| later.0 == earlier.0);
    keyed.into_iter().map(|(_, chosen)| chosen).collect()
}

/// About how many rows [`query`] looks at: few where indexes or keys lead to them, or where rows are only counted.
pub fn query_weight(plan: &QueryPlan, schema: &Schema, on: &Readable) -> u64 {
    let parts = on.parts(plan.ignore_growing);
    let is_led = match plan.kind {
        QueryKind::Count => true,
        QueryKind::Rows | QueryKind::Aggregates(_) => {
            plan.filter.as_ref().is_some_and(|filter| !filter.is_always_true())
        }
        QueryKind::Terms { .. } => false,
    };
    if !is_led {
        return parts.iter().map(|part| part.rows() as u64).sum();
    }
    let times = (plan.expired_before, plan.read_at);
    let rule = Rule::new(schema, plan.partitions.as_deref(), times, plan.filter.as_ref());
    parts.iter().map(|part| rule.weight(part) as u64).sum()
}

/// Rows, which ascend by key, by other values; equal ones stay as they are.
fn in_order(
    order: &Order,
    schema: &Schema,
    parts: &[Arc<Part>],
    chosen: Vec<Chosen>,
) -> Result<Vec<Chosen>, Error> {
    let fields: Vec<_> = order.fields().collect();
    let keys = order.keys(&gather::columns(schema, &fields, parts, &chosen)?);
    let mut places: Vec<usize> = (0..chosen.len()).collect();
    places.sort_by(|&left, &right| order.compare(&keys[left], &keys[right]));
    Ok(places.into_iter().map(|place| chosen[place]).collect())
}

fn count(rule: &Rule<'_>, schema: &Schema, parts: &[Arc<Part>]) -> Result<QueryRows, Error> {
    let mut count = 0;
    for part in parts {
        count += match rule.allow(part)? {
            None => 0,
            Some(Allowed::All) => part.rows(),
            Some(Allowed::Some(rows)) => rows.count(),
            Some(Allowed::Few(rows)) => rows.len(),
        };
    }
    Ok(QueryRows {
        keys: Keys::empty(schema.primary().data_type),
        times: Vec::new(),
        rows: Batch::default(),
        count: count as u64,
    })
}

/// How often terms are in all rows of the parts, seen or not. Rows of which nothing was counted, since they were written before that
/// was asked for, are no texts: else all others would seem long, and their words rare.
fn statistics(parts: &[Arc<Part>], field: FieldId, terms: &[u32]) -> TermStatistics {
    let mut all = TermStatistics::none(terms.len());
    for part in parts {
        let Some(vectors) = part.vectors(field) else { continue };
        let found = FieldSearch::new(part, vectors, Metric::Bm25).term_statistics(terms);
        let (words, having) = found.unwrap_or_else(|| (0, vec![0; terms.len()]));
        let documents = vectors.valid.as_ref().map_or(part.rows(), Bitset::count) as u64;
        all.add(&TermStatistics { documents, words, having });
    }
    all
}

/// The allowed rows of a part that have one of its `limit` least allowed keys, ascending by key.
fn first_by_key(part: &Part, allowed: &Allowed, limit: usize) -> Vec<usize> {
    match allowed {
        Allowed::All => walk(part, limit, |_| true),
        Allowed::Some(rows) => {
            let count = rows.count();
            // Sorting a few rows is cheaper than walking past all the others.
            if count.saturating_mul(16) < part.rows() {
                first_of(part, rows.iter().collect(), limit)
            } else {
                walk(part, limit, |row| rows.contains(row))
            }
        }
        Allowed::Few(rows) => first_of(part, rows.clone(), limit),
    }
}

fn walk(part: &Part, limit: usize, is_allowed: impl Fn(usize) -> bool) -> Vec<usize> {
    let rows = (0..part.rows()).map(|rank| part.row_by_key_order(rank)).filter(|&row| is_allowed(row));
    up_to(part, rows, limit)
}

fn first_of(part: &Part, mut rows: Vec<usize>, limit: usize) -> Vec<usize> {
    rows.sort_by(|&left, &right| part.key(left).cmp(&part.key(right)));
    up_to(part, rows.into_iter(), limit)
}

/// Rows, which ascend by key, up to the last one of the first `limit` keys.
fn up_to(part: &Part, rows: impl Iterator<Item = usize>, limit: usize) -> Vec<usize> {
    if limit >= part.rows() {
        return rows.collect();
    }
    let mut kept = Vec::new();
    let mut keys = 0;
    let mut last = None;
    for row in rows {
        let key = part.key(row);
        if last != Some(key) {
            if keys == limit {
                break;
            }
            keys += 1;
            last = Some(key);
        }
        kept.push(row);
    }
    kept
}
