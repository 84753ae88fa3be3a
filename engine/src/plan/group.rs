//! Searches that want a few hits of each of many groups: rows with one value of a field are one group.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use super::SearchHits;
use crate::base::FieldId;
use crate::model::{Column, Keys, Metric, Value};

/// What a search by groups wants. Its `count` counts groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// The scalar field whose values are the groups; rows without a value are a group as well.
    pub field: FieldId,
    /// Most hits of one group, at least 1.
    pub size: usize,
    /// Whether every group gets as many hits as there are, up to `size`. Else it gets at least its best.
    pub strict: bool,
}

/// The value that the rows of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// No value.
    None,
    /// Whole numbers and truth values.
    Int(i64),
    /// Texts.
    Text(String),
}

impl Group {
    /// The group of row `row` of the field's column.
    #[must_use]
    pub fn of(column: &Column, row: usize) -> Self {
        match column.value(row) {
            Value::Int(number) => Self::Int(number),
            Value::Bool(truth) => Self::Int(i64::from(truth)),
            Value::Text(text) => Self::Text(text),
            // No other type is a group's; a column of one is one group.
            _ => Self::None,
        }
    }
}

/// Of `hits`, which come best first, the best `size` of each of the first `count` groups: group after group, the one with
/// the best hit first, hits of a group in the order they came.
pub fn best_of_groups<H: Copy, G: Eq + Hash>(
    hits: impl IntoIterator<Item = H>,
    group_of: impl Fn(H) -> G,
    count: usize,
    size: usize,
) -> Vec<Vec<H>> {
    let mut places: HashMap<G, usize> = HashMap::new();
    let mut groups: Vec<Vec<H>> = Vec::new();
    for hit in hits {
        let next = groups.len();
        let place = *places.entry(group_of(hit)).or_insert(next);
        if place == next {
            groups.push(Vec::new());
        }
        if place < count && groups[place].len() < size {
            groups[place].push(hit);
        }
    }
    groups.truncate(count);
    groups
}

impl SearchHits {
    /// The same hits, which come best first, group after group: the one with the best hit first.
    #[must_use]
    pub fn by_groups(&self, grouping: Grouping) -> Self {
        let group_of = groups_by(self, grouping.field);
        let spans = self.spans().into_iter();
        let chosen: Vec<Vec<usize>> = spans
            .map(|span| {
                best_of_groups(span, &group_of, usize::MAX, grouping.size).into_iter().flatten().collect()
            })
            .collect();
        self.chosen(chosen.iter().map(Vec::len).collect(), &chosen.concat())
    }

    /// The same hits of each query by their scores, the nearest first; equal ones in the order they came.
    #[must_use]
    pub fn nearest_first(&self, metric: Metric) -> Self {
        let mut chosen: Vec<usize> = (0..self.scores.len()).collect();
        for span in self.spans() {
            chosen[span].sort_by(|&left, &right| metric.nearest_first(self.scores[left], self.scores[right]));
        }
        self.chosen(self.counts.clone(), &chosen)
    }

    /// One hit of each key instead of those of its elements, which come best first: with the sum of the scores of its best
    /// `most`. The nearest come first.
    #[must_use]
    pub fn summed(&self, metric: Metric, most: usize) -> Self {
        let (mut counts, mut chosen, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for span in self.spans() {
            let groups = match &self.keys {
                Keys::Int(keys) => best_of_groups(span, |hit| keys[hit], usize::MAX, most),
                Keys::Text(keys) => best_of_groups(span, |hit| keys.get(hit), usize::MAX, most),
            };
            let sum = |group: &Vec<usize>| group.iter().map(|&hit| self.scores[hit]).sum::<f32>();
            let mut rows: Vec<(usize, f32)> =
                groups.iter().filter_map(|group| Some((*group.first()?, sum(group)))).collect();
            rows.sort_by(|(_, left), (_, right)| metric.nearest_first(*left, *right));
            counts.push(rows.len());
            for (hit, score) in rows {
                chosen.push(hit);
                scores.push(score);
            }
        }
        Self { scores, ..self.chosen(counts, &chosen) }
    }
}

/// Tells the group of a hit by the column of `field`.
pub(super) fn groups_by(hits: &SearchHits, field: FieldId) -> impl Fn(usize) -> Group {
    let column = hits.rows.column(field);
    move |hit| column.map_or(Group::None, |column| Group::of(column, hit))
}

/// Where the groups of each query are among the hits of a search by groups, whose field is among the columns.
#[must_use]
pub fn groups_of(hits: &SearchHits, field: FieldId) -> Vec<Vec<(Group, Range<usize>)>> {
    let group_of = groups_by(hits, field);
    let one = |span: Range<usize>| {
        let mut groups: Vec<(Group, Range<usize>)> = Vec::new();
        for hit in span {
            let group = group_of(hit);
            match groups.last_mut() {
                Some((last, range)) if *last == group => range.end = hit + 1,
                _ => groups.push((group, hit..hit + 1)),
            }
        }
        groups
    };
    hits.spans().into_iter().map(one).collect()
}
