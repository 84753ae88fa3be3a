//! Range search for indexes that can only search for the nearest.

use super::{Error, Hit, Range, SearchParams, VectorIndex};
use crate::model::Bitset;

/// Asks for ever more neighbours until the range is left, enough are found or no row is left.
pub(super) fn by_growing_k<I: VectorIndex + ?Sized>(
    index: &I,
    query: &[f32],
    range: &Range,
    limit: usize,
    params: &SearchParams,
    allowed: Option<&Bitset>,
) -> Result<Vec<Hit>, Error> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let metric = index.metric();
    let rows = allowed.map_or(index.block().rows(), Bitset::count);
    let mut k = limit.max(64);
    loop {
        let wider = SearchParams { ef: params.ef.map(|ef| ef.max(k)), ..params.clone() };
        let mut hits = index.search(query, k, &wider, allowed)?;
        let left = hits.last().is_none_or(|last| range.is_beyond(metric, last.score));
        let all = k >= rows || hits.len() < k;
        hits.retain(|hit| range.contains(metric, hit.score));
        if left || all || hits.len() >= limit {
            hits.truncate(limit);
            return Ok(hits);
        }
        k = k.saturating_mul(4);
    }
}
