//! Every index type against a naive search, on made data and on the real set.

mod made;
mod real;

use std::sync::Arc;

use super::{Hit, IndexSpec, SearchParams, VectorBlock, VectorIndex, build};
use crate::base::{Rng, SeededRng};
use crate::model::{Bitset, Metric};

const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// The score by the textbook, in double precision.
fn naive_score(metric: Metric, left: &[f32], right: &[f32]) -> f64 {
    let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
        left.iter().zip(right).map(|(&left, &right)| term(f64::from(left), f64::from(right))).sum()
    };
    match metric {
        Metric::L2 => sum(&|left, right| (left - right).powi(2)),
        Metric::Ip => sum(&|left, right| left * right),
        _ => {
            let norms = (sum(&|left, _| left * left) * sum(&|_, right| right * right)).sqrt();
            if norms == 0.0 { 0.0 } else { sum(&|left, right| left * right) / norms }
        }
    }
}

/// The scores of the nearest `k` allowed rows by the textbook, nearest first.
fn naive_scores(
    block: &VectorBlock,
    metric: Metric,
    query: &[f32],
    k: usize,
    allowed: Option<&Bitset>,
) -> Vec<f64> {
    let mut scores: Vec<f64> = (0..block.rows())
        .filter(|&row| allowed.is_none_or(|allowed| allowed.contains(row)))
        .map(|row| naive_score(metric, query, block.row(row)))
        .collect();
    scores.sort_by(
        |left, right| if metric.larger_is_nearer() { right.total_cmp(left) } else { left.total_cmp(right) },
    );
    scores.truncate(k);
    scores
}

/// Checks what every answer promises, however approximate: no row twice, all allowed, exact scores, nearest first.
fn check_hits(index: &dyn VectorIndex, query: &[f32], hits: &[Hit], allowed: Option<&Bitset>) {
    let metric = index.metric();
    let mut rows: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
    rows.sort_unstable();
    assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "a row came twice");
    for hit in hits {
        assert!(allowed.is_none_or(|allowed| allowed.contains(hit.row as usize)));
        let row = index.block().row(hit.row as usize);
        let wanted = naive_score(metric, query, row);
        let scale = 1.0 + naive_score(Metric::Ip, row, row) + naive_score(Metric::Ip, query, query);
        assert!((f64::from(hit.score) - wanted).abs() <= 1e-5 * scale, "{metric}: {hit:?} for {wanted}");
    }
    for pair in hits.windows(2) {
        let order = metric.nearest_first(pair[0].score, pair[1].score);
        assert!(order.is_lt() || (order.is_eq() && pair[0].row < pair[1].row), "{metric}: {pair:?}");
    }
}

/// `count` vectors around `centres` random centres.
fn clustered(count: usize, dim: usize, centres: usize, seed: u64) -> Vec<f32> {
    let rng = SeededRng::new(seed);
    let unit = || (rng.next_u64() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    let middles: Vec<f32> = (0..centres * dim).map(|_| unit() * 4.0).collect();
    (0..count)
        .flat_map(|_| {
            let centre = rng.below(centres as u64) as usize;
            middles[centre * dim..][..dim].iter().map(|middle| middle + unit() + unit()).collect::<Vec<f32>>()
        })
        .collect()
}

/// An index built by one thread: it is the same each time, and what it finds too.
fn built(spec: &IndexSpec, block: &Arc<VectorBlock>) -> Box<dyn VectorIndex> {
    build(spec, block.clone(), 1, &|| false).unwrap()
}

fn ef(ef: usize) -> SearchParams {
    SearchParams { ef: Some(ef), ..SearchParams::default() }
}

fn nprobe(nprobe: usize) -> SearchParams {
    SearchParams { nprobe: Some(nprobe), ..SearchParams::default() }
}
