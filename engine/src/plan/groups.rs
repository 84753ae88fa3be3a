//! Groups of rows as they are found, in memory that has a bound.

use std::collections::HashMap;
use std::sync::Arc;

use super::QueryRows;
use super::aggregate::{Aggregates, Error, MOST_BYTES, MOST_GROUPS, Part, into_rows};
use super::tally::{Operand, Placed, Tally};
use crate::model::{Bitset, Column, ColumnData, DataType, TypeMismatch, Value};

/// Most rows that are added in one step, after which memory is looked at: as few as that, since each may have long texts.
const STEP: usize = if cfg!(test) { 4 } else { 256 };
/// A step ends early once new groups take so much. Unit: bytes.
const STEP_BYTES: usize = 8 << 20;
/// So many more groups than twice the wanted ones are kept until those that are not wanted are looked for.
const SLACK: usize = if cfg!(test) { 2 } else { 4_096 };
/// One part of so many is what the bounds of groups are passed by where a limit is set, until those that are not wanted are let go of.
const ROOM: usize = 8;
/// What a group takes beside its values and each aggregate, about. Unit: bytes.
const GROUP_BYTES: usize = 96;
/// What a value of a group or an aggregate takes, about. Unit: bytes.
const VALUE_BYTES: usize = 32;

/// Groups of rows and what was found of each.
///
/// Where a limit is set, groups that cannot be among the first any more are let go of, so that any number of them may go by.
#[derive(Debug)]
pub struct Groups<'a> {
    plan: &'a Aggregates,
    /// Places of groups by what they are ordered by.
    places: HashMap<Arc<[u8]>, usize>,
    /// By place.
    keys: Vec<Arc<[u8]>>,
    /// By place, rows of the group.
    rows: Vec<i64>,
    /// By field, the values that make the groups, by place; nothing before the first row.
    by: Vec<Option<(DataType, Vec<Value>)>>,
    /// By aggregate; nothing before the first row, and for those of rows.
    of: Vec<Option<Tally>>,
    /// The last group of the first ones that are wanted: those after it are not.
    last: Option<Arc<[u8]>>,
    /// What all of it takes, about.
    bytes: usize,
}

impl<'a> Groups<'a> {
    /// None yet.
    #[must_use]
    pub fn new(plan: &'a Aggregates) -> Self {
        Self {
            plan,
            places: HashMap::new(),
            keys: Vec::new(),
            rows: Vec::new(),
            by: vec![None; plan.by.len()],
            of: vec![None; plan.of.len()],
            last: None,
            bytes: 0,
        }
    }

    /// What is wanted of them.
    #[must_use]
    pub const fn aggregates(&self) -> &'a Aggregates {
        self.plan
    }

    /// Adds rows, with their values by field of [`Aggregates::by`] and by aggregate.
    ///
    /// # Errors
    /// [`Error::ManyGroups`] and [`Error::LargeGroups`]; types that differ or have no aggregates.
    pub fn add(
        &mut self,
        rows: impl Iterator<Item = usize>,
        by: &[Operand<'_>],
        of: &[Operand<'_>],
    ) -> Result<(), Error> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let placed = self.placed(&mut rows, by)?;
            for (_, place) in &placed {
                if let Some(place) = place {
                    self.rows[*place] += 1;
                }
            }
            for ((tally, aggregate), operand) in self.of.iter_mut().zip(&self.plan.of).zip(of) {
                if aggregate.field.is_none() {
                    continue;
                }
                let mut all = match tally.take() {
                    Some(tally) => tally,
                    None => Tally::new(aggregate.op, operand)?,
                };
                all.grow(self.keys.len());
                let grown = all.add(aggregate.op, operand, &placed)?;
                *tally = Some(all);
                self.bytes = self.bytes.saturating_add_signed(grown);
                check_texts(self.bytes)?;
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Adds what a node found.
    pub(super) fn add_part(&mut self, part: &Part<'_>) -> Result<(), Error> {
        let by: Vec<Operand<'_>> = part.by.iter().map(|column| Operand::Column(column)).collect();
        let mut groups = (0..part.rows.len()).peekable();
        while groups.peek().is_some() {
            let placed = self.placed(&mut groups, &by)?;
            for (at, place) in &placed {
                if let Some(place) = place {
                    self.rows[*place] = self.rows[*place].saturating_add(part.rows[*at]);
                }
            }
            for ((tally, aggregate), found) in self.of.iter_mut().zip(&self.plan.of).zip(&part.of) {
                let Some(found) = found else { continue };
                let all = tally.get_or_insert_with(|| Tally::like(*found));
                all.grow(self.keys.len());
                let grown = all.add_part(aggregate.op, *found, &placed)?;
                self.bytes = self.bytes.saturating_add_signed(grown);
                check_texts(self.bytes)?;
            }
            self.settle()?;
        }
        Ok(())
    }

    /// What was found, as the answer of a query: the first groups in their order.
    #[must_use]
    pub fn into_rows(mut self) -> QueryRows {
        self.keep_first(self.plan.limit.unwrap_or(usize::MAX));
        // Each is let go of before the next is made, so that not all of it is there twice.
        drop((self.places, self.keys, self.last));
        let by = self.by.into_iter().flatten().map(|(data_type, values)| column_of(data_type, &values));
        into_rows(self.rows, by.collect(), self.of)
    }

    /// The next rows, at least one if there is any, and the places of their groups, new ones among them.
    fn placed(
        &mut self,
        rows: &mut impl Iterator<Item = usize>,
        by: &[Operand<'_>],
    ) -> Result<Vec<Placed>, Error> {
        for (known, operand) in self.by.iter_mut().zip(by) {
            let Some((column, _)) = operand.at(0) else { continue };
            let found = column.data.data_type();
            let (expected, _) = known.get_or_insert_with(|| (found, Vec::new()));
            if *expected != found {
                let source = TypeMismatch { expected: *expected, found };
                return Err(Error::Columns { source });
            }
        }
        let most = self.bytes.saturating_add(STEP_BYTES);
        let (mut key, mut placed) = (Vec::new(), Vec::new());
        while placed.len() < STEP && self.bytes <= most {
            let Some(row) = rows.next() else { break };
            key.clear();
            for (group, operand) in self.plan.by.iter().zip(by) {
                put_key(&mut key, operand, row, group.descending);
            }
            let place = match self.places.get(key.as_slice()) {
                Some(place) => Some(*place),
                None if self.last.as_ref().is_some_and(|last| key.as_slice() > &**last) => None,
                None => Some(self.open(&key, row, by)),
            };
            placed.push((row, place));
        }
        Ok(placed)
    }

    fn open(&mut self, key: &[u8], row: usize, by: &[Operand<'_>]) -> usize {
        let (place, key) = (self.keys.len(), Arc::<[u8]>::from(key));
        self.bytes += group_bytes(self.plan, &key);
        self.places.insert(Arc::clone(&key), place);
        self.keys.push(key);
        self.rows.push(0);
        for (known, operand) in self.by.iter_mut().zip(by) {
            if let (Some((_, values)), Some((column, at))) = (known, operand.at(row)) {
                values.push(column.value(at));
            }
        }
        place
    }

    /// Lets go of what is not wanted any more, and sees to it that what is left is not too much.
    fn settle(&mut self) -> Result<(), Error> {
        if let Some(limit) = self.plan.limit.filter(|limit| self.keys.len() > *limit && *limit <= MOST_GROUPS)
        {
            // A part more than there may be, which is what each look at all groups then lets go of at least: else there would be
            // one for every few rows.
            let is_much = self.keys.len() > limit.saturating_mul(2).saturating_add(SLACK)
                || self.keys.len() > MOST_GROUPS + MOST_GROUPS / ROOM
                || self.bytes > MOST_BYTES + MOST_BYTES / ROOM;
            if !is_much {
                return Ok(());
            }
            self.keep_first(limit);
            self.last = self.keys.last().cloned();
        }
        if self.keys.len() > MOST_GROUPS {
            return Err(Error::ManyGroups);
        }
        if self.bytes > MOST_BYTES {
            return Err(Error::LargeGroups);
        }
        Ok(())
    }

    /// Keeps the first groups, in their order.
    fn keep_first(&mut self, limit: usize) {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by(|left, right| self.keys[*left].cmp(&self.keys[*right]));
        order.truncate(limit);
        self.keys = order.iter().map(|place| Arc::clone(&self.keys[*place])).collect();
        self.rows = order.iter().map(|place| self.rows[*place]).collect();
        for (_, values) in self.by.iter_mut().flatten() {
            *values = order.iter().map(|place| std::mem::replace(&mut values[*place], Value::Null)).collect();
        }
        self.of.iter_mut().flatten().for_each(|tally| tally.take(&order));
        self.places = (0..).zip(&self.keys).map(|(place, key)| (Arc::clone(key), place)).collect();
        let groups: usize = self.keys.iter().map(|key| group_bytes(self.plan, key)).sum();
        self.bytes = groups + self.of.iter().flatten().map(Tally::text_bytes).sum::<usize>();
    }
}

/// Within a step the least and greatest texts of groups may take twice what they may take after it.
const fn check_texts(bytes: usize) -> Result<(), Error> {
    if bytes > 2 * MOST_BYTES { Err(Error::LargeGroups) } else { Ok(()) }
}

fn group_bytes(plan: &Aggregates, key: &[u8]) -> usize {
    // The values that make a group are in its key, and beside it.
    GROUP_BYTES + 2 * key.len() + VALUE_BYTES * (plan.by.len() + plan.of.len())
}

/// A column of values, all of which are of its type or none.
pub(super) fn column_of(data_type: DataType, values: &[Value]) -> Column {
    let mut data = ColumnData::none_of(data_type);
    // Whatever does not fit becomes no value, which fits every type.
    let fits: Vec<bool> =
        values.iter().map(|value| data.push(value).is_ok() || data.push(&Value::Null).is_err()).collect();
    let is_valid = |row: usize| fits[row] && values[row] != Value::Null;
    let valid = Bitset::from_fn(values.len(), is_valid);
    let valid = (valid.count() < values.len()).then_some(valid);
    Column { field: crate::base::FieldId(0), data, valid }
}

/// Adds a value to what groups are ordered by: bytes that compare as the values do, whatever comes after them. No value is
/// larger than all; descending, all bytes are turned around. Values of other types are none.
fn put_key(key: &mut Vec<u8>, operand: &Operand<'_>, row: usize, descending: bool) {
    const VALUE: u8 = 0;
    const NONE: u8 = 1;
    let start = key.len();
    let int = |key: &mut Vec<u8>, value: i64| {
        key.push(VALUE);
        // Numbers below zero come before those above.
        key.extend_from_slice(&((value as u64) ^ (1 << 63)).to_be_bytes());
    };
    match operand.at(row).filter(|(column, at)| column.is_valid(*at)) {
        Some((column, at)) => match &column.data {
            ColumnData::Bool(values) => int(key, i64::from(values[at])),
            ColumnData::Int8(values) => int(key, i64::from(values[at])),
            ColumnData::Int16(values) => int(key, i64::from(values[at])),
            ColumnData::Int32(values) => int(key, i64::from(values[at])),
            ColumnData::Int64(values) => int(key, values[at]),
            ColumnData::VarChar(texts) => {
                key.push(VALUE);
                for (part, piece) in texts.get(at).as_bytes().split(|byte| *byte == 0).enumerate() {
                    if part > 0 {
                        // A zero; so that the end, two of them, comes before whatever a longer text goes on with.
                        key.extend_from_slice(&[0, 0xff]);
                    }
                    key.extend_from_slice(piece);
                }
                key.extend_from_slice(&[0, 0]);
            }
            _ => key.push(NONE),
        },
        None => key.push(NONE),
    }
    if descending {
        key[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::FieldId;
    use crate::plan::GroupField;

    #[test]
    fn near_a_bound_groups_are_looked_through_a_few_times_only() {
        let field = FieldId(100);
        let plan = Aggregates {
            by: vec![GroupField { field, descending: false }],
            of: Vec::new(),
            limit: Some(MOST_GROUPS - 10),
        };
        // Each group comes before all that were there.
        let data = ColumnData::Int64((0..140_000).rev().collect());
        let column = Column { field, data, valid: None };
        let mut groups = Groups::new(&plan);

        let mut passes = 0;
        for start in (0..140_000).step_by(64) {
            let before = groups.last.clone();
            let rows = start..(start + 64).min(140_000);
            groups.add(rows, &[Operand::Column(&column)], &[]).unwrap();
            passes += usize::from(groups.last != before);
        }

        assert_eq!(passes, 3);
        let found = plan.finish(&groups.into_rows()).unwrap().unwrap();
        let first: Vec<Value> = (0..MOST_GROUPS as i64 - 10).map(Value::Int).collect();
        assert!(found.by == [first], "the first groups are there");
    }
}
