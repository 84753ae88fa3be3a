//! Binary vectors against the definition of their metrics.

use std::sync::Arc;

use proptest::prelude::*;

use super::{BitBlock, BitIndex};
use crate::index::{Hit, IndexSpec, IndexType, Range, SearchParams};
use crate::model::{Bitset, Metric};

fn distance(metric: Metric, left: &[u8], right: &[u8]) -> f32 {
    let count = |both: fn(u8, u8) -> u8| -> u32 {
        left.iter().zip(right).map(|(left, right)| both(*left, *right).count_ones()).sum()
    };
    if metric == Metric::Hamming {
        return count(|left, right| left ^ right) as f32;
    }
    let (common, either) = (count(|left, right| left & right), count(|left, right| left | right));
    if either == 0 { 1.0 } else { (either - common) as f32 / either as f32 }
}

fn naive(
    metric: Metric,
    rows: &[Vec<u8>],
    query: &[u8],
    k: usize,
    is_allowed: impl Fn(usize, f32) -> bool,
) -> Vec<Hit> {
    let all = (0..).zip(rows).map(|(row, bytes)| Hit { row, score: distance(metric, bytes, query) });
    let mut hits: Vec<Hit> = all.filter(|hit| is_allowed(hit.row as usize, hit.score)).collect();
    hits.sort_by(|left, right| left.score.total_cmp(&right.score).then(left.row.cmp(&right.row)));
    hits.truncate(k);
    hits
}

fn block(width: usize, rows: &[Vec<u8>]) -> Arc<BitBlock> {
    BitBlock::from_chunks(width * 8, rows.iter().map(Vec::as_slice)).unwrap()
}

fn spec(index_type: IndexType, metric: Metric, nlist: usize) -> IndexSpec {
    IndexSpec { index_type, nlist, ..IndexSpec::flat(metric) }
}

/// Rows of `width` bytes each, a query, and which rows are allowed.
fn cases() -> impl Strategy<Value = (usize, Vec<Vec<u8>>, Vec<u8>, Vec<bool>)> {
    (1_usize..20, 0_usize..60).prop_flat_map(|(width, rows)| {
        // Few bits, so that there are equal distances and empty rows.
        let byte = prop_oneof![Just(0), Just(1), Just(0x81), any::<u8>()];
        let row = prop::collection::vec(byte, width);
        (
            Just(width),
            prop::collection::vec(row.clone(), rows),
            row,
            prop::collection::vec(any::<bool>(), rows),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn scans_and_all_lists_answer_as_the_definition_does(
        (width, rows, query, allowed) in cases(), k in 0_usize..12, nlist in 1_usize..9,
    ) {
        let set = Bitset::from_fn(rows.len(), |row| allowed[row]);
        let block = block(width, &rows);
        let every = SearchParams { nprobe: Some(65_536), ..SearchParams::default() };
        for metric in [Metric::Hamming, Metric::Jaccard] {
            let wanted = naive(metric, &rows, &query, k, |_, _| true);
            let some = naive(metric, &rows, &query, k, |row, _| allowed[row]);
            prop_assert_eq!(block.search(metric, &query, k, None).unwrap(), wanted.clone());
            let band = Range { radius: 5.0, range_filter: Some(0.5) };
            let within = |row: usize, score| allowed[row] && band.contains(metric, score);
            prop_assert_eq!(
                block.range_search(metric, &query, &band, k, Some(&set)).unwrap(),
                naive(metric, &rows, &query, k, within)
            );
            for index_type in [IndexType::BinFlat, IndexType::BinIvfFlat] {
                let spec = spec(index_type, metric, nlist);
                let built = BitIndex::build(&spec, Arc::clone(&block), 1, &|| false).unwrap();
                let read = BitIndex::decode(&built.encode(), Arc::clone(&block)).unwrap();
                for index in [&built, &read] {
                    prop_assert_eq!(index.search(&query, k, &every, None).unwrap(), wanted.clone());
                    prop_assert_eq!(index.search(&query, k, &every, Some(&set)).unwrap(), some.clone());
                }
                // However few lists are read, there are as many rows as there can be.
                let few = SearchParams { nprobe: Some(1), ..SearchParams::default() };
                prop_assert_eq!(built.search(&query, k, &few, Some(&set)).unwrap().len(), some.len());
            }
        }
    }

    #[test]
    fn bytes_come_back_as_they_were_given((width, rows, _, _) in cases()) {
        let block = block(width, &rows);

        prop_assert_eq!(block.rows(), rows.len());
        for (row, bytes) in rows.iter().enumerate() {
            prop_assert_eq!(&block.bytes_of(row).collect::<Vec<u8>>(), bytes);
        }
    }
}

#[test]
fn rows_lie_in_the_lists_of_their_kind() {
    let kinds = [0x00u8, 0x0f, 0xff];
    let rows: Vec<Vec<u8>> =
        (0..300).map(|row| (0..16).map(|at| kinds[row % 3] ^ u8::from(at == row % 16)).collect()).collect();
    let block = block(16, &rows);
    let spec = spec(IndexType::BinIvfFlat, Metric::Hamming, 3);
    let one_thread = BitIndex::build(&spec, Arc::clone(&block), 1, &|| false).unwrap();
    let two_threads = BitIndex::build(&spec, Arc::clone(&block), 2, &|| false).unwrap();

    let one_list = SearchParams { nprobe: Some(1), ..SearchParams::default() };
    for query in [0, 1, 2, 77] {
        let found = one_thread.search(&rows[query], 10, &one_list, None).unwrap();
        assert_eq!(found, naive(Metric::Hamming, &rows, &rows[query], 10, |_, _| true));
    }
    assert_eq!(one_thread.encode(), two_threads.encode());
}

#[test]
fn a_stopped_build_a_wrong_query_and_damage_are_refused() {
    let rows = vec![vec![1u8, 2]; 100];
    let block = block(2, &rows);
    let spec = spec(IndexType::BinIvfFlat, Metric::Jaccard, 4);
    let stopped = BitIndex::build(&spec, Arc::clone(&block), 1, &|| true);
    assert_eq!(stopped.unwrap_err().to_string(), "the index build was stopped");
    let index = BitIndex::build(&spec, Arc::clone(&block), 1, &|| false).unwrap();
    assert_eq!(
        index.search(&[1], 1, &SearchParams::default(), None).unwrap_err().to_string(),
        "vector dimension mismatch, expected vector size(byte) 2, actual 1"
    );
    assert!(BitBlock::from_chunks(16, [&[1u8, 2, 3][..]]).is_err());
    let bytes = index.encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        assert!(BitIndex::decode(&damaged, Arc::clone(&block)).is_err(), "byte {at}");
    }
}

#[test]
fn signatures_are_compared_place_by_place() {
    let signature = |places: [u32; 3]| places.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let rows: Vec<Vec<u8>> = [[1, 2, 3], [1, 9, 3], [0, 0, 0], [9, 9, 3]].map(signature).to_vec();
    let block = block(12, &rows);
    let found = |query: [u32; 3], allowed: Option<&Bitset>| {
        let hits = block.search(Metric::MhJaccard, &signature(query), 4, allowed).unwrap();
        hits.into_iter().map(|hit| (hit.row, (hit.score * 3.0).round() as i32)).collect::<Vec<_>>()
    };

    assert_eq!(found([1, 2, 3], None), [(0, 3), (1, 2), (3, 1), (2, 0)]);
    let some = Bitset::from_fn(4, |row| row != 0);
    assert_eq!(found([1, 2, 3], Some(&some)), [(1, 2), (3, 1), (2, 0)]);
    assert_eq!(found([0, 0, 0], None)[0], (2, 3));
}

#[test]
fn structures_are_found_within_each_other() {
    let rows: Vec<Vec<u8>> = [0b0111, 0b0001, 0b1100, 0].map(|bits| vec![bits]).to_vec();
    let block = block(1, &rows);
    let found = |metric| {
        let hits = block.search(metric, &[0b0011], 4, None).unwrap();
        hits.into_iter().map(|hit| (hit.row, hit.score)).collect::<Vec<_>>()
    };

    assert_eq!(found(Metric::Substructure), [(0, 0.0)]);
    assert_eq!(found(Metric::Superstructure), [(1, 0.0), (3, 0.0)]);
}
