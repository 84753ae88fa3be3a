//! One list out of the hits of several searches: hybrid search.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::group::{Grouping, best_of_groups, groups_by};
use super::joined::{Joined, compare_keys};
use super::{Decay, SearchHits};
use crate::base::FieldId;
use crate::model::{ColumnData, Key, Metric, TypeMismatch};

/// How the scores of one row in several searches become one score.
#[derive(Clone, Debug, PartialEq)]
pub enum Fusion {
    /// The sum of `1 / (k + rank)`, ranks from 1: only the order within each search counts.
    Reciprocal {
        /// Milvus's `k`.
        k: f32,
    },
    /// The sum of weighted scores.
    Weighted {
        /// By search.
        weights: Vec<f32>,
        /// Whether scores are brought into 0 ..= 1 first. Else they are taken as they are, distances turned round where
        /// other searches have similarities.
        normalised: bool,
    },
    /// Scores brought into 0 ..= 1, put together by `mode`, and lessened with the distance of a number from where it should
    /// be.
    Decayed {
        /// By how much.
        decay: Decay,
        /// How the scores of one row become one.
        mode: Mode,
    },
    /// What a model says of each row's text, whatever its scores were.
    Judged {
        /// The field of the texts, among the columns of the answers. A row without one has an empty text.
        field: FieldId,
        /// By query, the score of each text.
        scores: Vec<HashMap<String, f32>>,
    },
}

/// How several numbers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The largest.
    #[default]
    Max,
    /// All together.
    Sum,
    /// Their mean.
    Average,
}

impl Mode {
    /// One number for several; 0 for none.
    #[must_use]
    pub fn of(self, numbers: &[f32]) -> f32 {
        let sum = || numbers.iter().sum::<f32>();
        match self {
            Self::Max => numbers.iter().copied().reduce(f32::max).unwrap_or_default(),
            Self::Sum => sum(),
            Self::Average => sum() / numbers.len().max(1) as f32,
        }
    }
}

/// What is to come out of several searches.
#[derive(Clone, Debug, PartialEq)]
pub struct RankPlan {
    /// The metrics of the searches, in the order of their answers.
    pub metrics: Vec<Metric>,
    /// How many queries each search has.
    pub queries: usize,
    /// How scores are put together.
    pub fusion: Fusion,
    /// Hits wanted per query, or groups; limit and offset together.
    pub count: usize,
    /// Set if hits come by groups; their field is among the columns of the answers.
    pub grouping: Option<(Grouping, Mode)>,
}

impl RankPlan {
    /// Whether a smaller score is better: only where all searches have distances that are kept as they are.
    fn smaller_is_better(&self) -> bool {
        matches!(self.fusion, Fusion::Weighted { normalised: false, .. })
            && self.metrics.iter().all(|metric| !metric.larger_is_nearer())
    }

    /// What hit number `rank`, counted from 0, of search `search` adds to its row's score.
    fn share(&self, search: usize, rank: usize, score: f32) -> f32 {
        let metric = self.metrics[search];
        match &self.fusion {
            Fusion::Reciprocal { k } => 1.0 / (k + rank as f32 + 1.0),
            Fusion::Weighted { weights, normalised } => {
                let is_turned = !metric.larger_is_nearer() && !self.smaller_is_better();
                weights[search] * if *normalised || is_turned { normal(metric, score) } else { score }
            }
            Fusion::Decayed { .. } => normal(metric, score),
            Fusion::Judged { .. } => 0.0,
        }
    }

    fn put_together(&self, shares: &[f32]) -> f32 {
        match &self.fusion {
            Fusion::Reciprocal { .. } | Fusion::Weighted { .. } | Fusion::Judged { .. } => {
                Mode::Sum.of(shares)
            }
            Fusion::Decayed { mode, .. } => mode.of(shares),
        }
    }
}

/// A score as a similarity within 0 ..= 1. Source: wire specification 2.11.
#[must_use]
pub fn normal(metric: Metric, score: f32) -> f32 {
    use std::f32::consts::PI;
    match metric {
        Metric::Cosine => f32::midpoint(1.0, score),
        // A sum of cosines is no cosine.
        Metric::Ip | Metric::MaxSim | Metric::MaxSimCosine | Metric::MaxSimIp => 0.5 + score.atan() / PI,
        // It is one already.
        Metric::MhJaccard => score,
        Metric::Bm25 => 2.0 * score.atan() / PI,
        Metric::L2
        | Metric::Hamming
        | Metric::Jaccard
        | Metric::Substructure
        | Metric::Superstructure
        | Metric::MaxSimL2
        | Metric::MaxSimHamming
        | Metric::MaxSimJaccard => 1.0 - 2.0 * score.atan() / PI,
    }
}

/// Puts the hits of several searches together, each key once: best first, equal scores by key. Where all searches were of
/// elements of one array, each element of a key is a hit of its own.
///
/// A row's columns are those of the first search that found it. The answers must be as many as the plan has metrics.
///
/// # Errors
/// [`TypeMismatch`] if the answers carry different output columns, which would be a defect of a node.
pub fn rank(plan: &RankPlan, answers: Vec<SearchHits>) -> Result<SearchHits, TypeMismatch> {
    let Some(mut joined) = Joined::new(answers)? else { return Ok(SearchHits::none(plan.queries)) };
    let (mut counts, mut chosen, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for query in 0..plan.queries {
        let found = fused(plan, &joined, query);
        let best = match plan.grouping {
            None => found.into_iter().take(plan.count).collect(),
            Some((grouping, mode)) => by_groups(plan, &joined, found, grouping, mode),
        };
        counts.push(best.len());
        chosen.extend(best.iter().map(|(hit, _)| *hit));
        scores.extend(best.iter().map(|(_, score)| *score));
    }
    // A hit may be chosen by one query only, so the old scores are needed no more.
    joined.all = joined.all.chosen(counts, &chosen);
    joined.all.scores = scores;
    Ok(joined.all)
}

/// The rows that the searches found for one query, best first, each with its score.
fn fused(plan: &RankPlan, joined: &Joined, query: usize) -> Vec<(usize, f32)> {
    let mut rows: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut places: HashMap<(Key, Option<i64>), usize> = HashMap::new();
    let elements = joined.all.elements();
    for (search, hits) in joined.answers(query).enumerate() {
        for (rank, hit) in hits.enumerate() {
            let next = rows.len();
            let one = (joined.all.keys.get(hit), elements.map(|elements| elements[hit]));
            let place = *places.entry(one).or_insert(next);
            if place == next {
                rows.push((hit, Vec::new()));
            }
            rows[place].1.push(plan.share(search, rank, joined.all.scores[hit]));
        }
    }
    let mut found: Vec<(usize, f32)> =
        rows.into_iter().map(|(hit, shares)| (hit, plan.put_together(&shares))).collect();
    if let Fusion::Decayed { decay, .. } = &plan.fusion {
        for (hit, score) in &mut found {
            *score *= decay.factor(&joined.all.rows, *hit);
        }
    }
    if let Fusion::Judged { field, scores } = &plan.fusion {
        for (hit, score) in &mut found {
            let text = text_of(&joined.all, *field, *hit);
            *score = scores.get(query).and_then(|scores| scores.get(text)).copied().unwrap_or_default();
        }
    }
    found.sort_by(|left, right| {
        best_first(plan, left.1, right.1).then_with(|| compare_keys(&joined.all.keys, left.0, right.0))
    });
    found
}

/// The text of a hit; empty if it has none.
#[must_use]
pub fn text_of(hits: &SearchHits, field: FieldId, hit: usize) -> &str {
    match hits.rows.column(field) {
        Some(column) if column.is_valid(hit) => match &column.data {
            ColumnData::VarChar(texts) => texts.get(hit),
            _ => "",
        },
        _ => "",
    }
}

fn best_first(plan: &RankPlan, left: f32, right: f32) -> Ordering {
    if plan.smaller_is_better() { left.total_cmp(&right) } else { right.total_cmp(&left) }
}

/// The best groups of the rows that were found, each with its best rows; groups are compared by one score of their rows.
fn by_groups(
    plan: &RankPlan,
    joined: &Joined,
    found: Vec<(usize, f32)>,
    grouping: Grouping,
    mode: Mode,
) -> Vec<(usize, f32)> {
    let group_of = groups_by(&joined.all, grouping.field);
    let mut groups = best_of_groups(found, |(hit, _)| group_of(hit), usize::MAX, grouping.size);
    let score =
        |group: &Vec<(usize, f32)>| mode.of(&group.iter().map(|(_, score)| *score).collect::<Vec<_>>());
    // Stable: groups of one score stay in the order of their best rows.
    groups.sort_by(|left, right| best_first(plan, score(left), score(right)));
    groups.into_iter().take(plan.count).flatten().collect()
}

#[cfg(test)]
mod tests;
