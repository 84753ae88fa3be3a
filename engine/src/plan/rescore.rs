//! Scores changed by what a row holds: decay and boost.

use super::SearchHits;
use super::joined::compare_keys;
use crate::base::FieldId;
use crate::expr::{self, Filter};
use crate::model::{Batch, Bitset, Key, Metric, Value};

/// A factor that falls with the distance of a number from where it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// Whose numbers.
    pub field: FieldId,
    /// How the factor falls.
    pub curve: Curve,
    /// Where the factor is 1.
    pub origin: f64,
    /// How far beyond `offset` the factor is `decay`; more than 0.
    pub scale: f64,
    /// How far from the origin the factor is still 1; at least 0.
    pub offset: f64,
    /// Between 0 and 1.
    pub decay: f64,
}

/// How a factor falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// Slowly first, then fast, then slowly.
    Gauss,
    /// By the same share on every step.
    Exponential,
    /// By the same amount on every step, down to `decay`.
    Linear,
}

impl Decay {
    /// The factor of a number. Source: wire specification 2.11.
    #[must_use]
    pub fn of(&self, number: f64) -> f64 {
        let distance = ((number - self.origin).abs() - self.offset).max(0.0);
        match self.curve {
            Curve::Gauss => {
                let ratio = distance / self.scale;
                (ratio * ratio * self.decay.ln()).exp()
            }
            Curve::Exponential => (distance * self.decay.ln() / self.scale).exp(),
            Curve::Linear => (1.0 - distance * (1.0 - self.decay) / self.scale).max(self.decay),
        }
    }

    /// The factor of a row. One without a number is infinitely far away.
    #[expect(clippy::cast_possible_truncation, reason = "scores are singles")]
    pub(super) fn factor(&self, rows: &Batch, row: usize) -> f32 {
        let number = match rows.column(self.field).map(|column| column.value(row)) {
            Some(Value::Int(number)) => number as f64,
            Some(Value::Float(number)) => f64::from(number),
            Some(Value::Double(number)) => number,
            _ => f64::INFINITY,
        };
        self.of(number) as f32
    }
}

/// A factor, or a number to add, for the rows that match.
#[derive(Clone, Debug, PartialEq)]
pub struct Boost {
    /// Which rows; `None` for all.
    pub filter: Option<Filter>,
    /// The factor.
    pub weight: f32,
    /// Set for a random part of the weight.
    pub random: Option<Random>,
}

/// Chance that is the same for a row every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    /// Another seed, other numbers.
    pub seed: i64,
    /// Whose values give each row its number; `None` for the key.
    pub field: Option<FieldId>,
}

/// How two numbers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// Their product.
    #[default]
    Multiply,
    /// Their sum.
    Sum,
}

impl Combine {
    const fn of(self, left: f32, right: f32) -> f32 {
        match self {
            Self::Multiply => left * right,
            Self::Sum => left + right,
        }
    }
}

/// How the scores of one search change for the rows that match something.
#[derive(Clone, Debug, PartialEq)]
pub struct Boosting {
    /// All that may match a row.
    pub boosts: Vec<Boost>,
    /// How those that match become one number.
    pub functions: Combine,
    /// How that number changes the score.
    pub score: Combine,
}

impl Boosting {
    /// The columns that are needed of every hit.
    pub fn fields(&self) -> impl Iterator<Item = FieldId> {
        self.boosts.iter().flat_map(|boost| {
            let of_filter = boost.filter.iter().flat_map(Filter::fields);
            of_filter.chain(boost.random.and_then(|random| random.field))
        })
    }

    /// The hits of a search under `metric` with their new scores, in their new order.
    ///
    /// # Errors
    /// If the hits lack one of [`Self::fields`].
    pub fn apply(&self, metric: Metric, mut hits: SearchHits) -> Result<SearchHits, expr::Error> {
        let factors = self.factors(&hits)?;
        // A boost raises what is near: distances count as their negatives.
        let sign = if metric.larger_is_nearer() { 1.0 } else { -1.0 };
        for (score, factor) in hits.scores.iter_mut().zip(factors) {
            if let Some(factor) = factor {
                *score = sign * self.score.of(sign * *score, factor);
            }
        }
        let mut order: Vec<usize> = Vec::with_capacity(hits.scores.len());
        for span in hits.spans() {
            let mut span: Vec<usize> = span.collect();
            span.sort_by(|&left, &right| {
                let order = metric.nearest_first(hits.scores[left], hits.scores[right]);
                order.then_with(|| compare_keys(&hits.keys, left, right))
            });
            order.extend(span);
        }
        Ok(hits.chosen(hits.counts.clone(), &order))
    }

    /// What changes the score of each hit; `None` for those that nothing matches.
    fn factors(&self, hits: &SearchHits) -> Result<Vec<Option<f32>>, expr::Error> {
        let mut factors: Vec<Option<f32>> = vec![None; hits.scores.len()];
        for boost in &self.boosts {
            let matching = match &boost.filter {
                Some(filter) => filter.evaluate(&hits.rows)?,
                None => Bitset::all(hits.scores.len()),
            };
            for hit in matching.iter() {
                let chance = boost.random.map_or(1.0, |random| random.of(hits, hit));
                let factor = boost.weight * chance;
                factors[hit] = Some(factors[hit].map_or(factor, |before| self.functions.of(before, factor)));
            }
        }
        Ok(factors)
    }
}

impl Random {
    /// A number from 0 up to 1 for a hit.
    fn of(self, hits: &SearchHits, hit: usize) -> f32 {
        let value = self.field.and_then(|field| hits.rows.column(field)).map(|column| column.value(hit));
        let bytes = match (value, hits.keys.get(hit)) {
            (Some(Value::Int(number)), _) | (None, Key::Int(number)) => number.to_le_bytes().to_vec(),
            (Some(Value::Text(text)), _) => text.into_bytes(),
            (Some(other), _) => format!("{other:?}").into_bytes(),
            (None, Key::Text(text)) => text.as_bytes().to_vec(),
        };
        let bits = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, self.seed.cast_unsigned());
        // 24 bits are what a single holds.
        (bits >> 40) as f32 / (1_u32 << 24) as f32
    }
}

#[cfg(test)]
mod tests;
