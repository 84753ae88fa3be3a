//! Every way to search sparse vectors against the comparison of all rows.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Algorithm, Saturation, SparseBlock, SparseIndex};
use crate::base::{Rng as _, SeededRng};
use crate::index::artifact::{self, Head};
use crate::index::{Error, Hit, IndexSpec, IndexType, Range, SearchParams};
use crate::model::{Bitset, Metric, SparseRow, SparseRows, SparseVector};

fn spec(algorithm: Algorithm) -> IndexSpec {
    IndexSpec { index_type: IndexType::SparseInverted, algorithm, ..IndexSpec::flat(Metric::Ip) }
}

/// Every algorithm; the one with windows also with so small ones that there are several.
fn ways() -> Vec<IndexSpec> {
    let small = [1, 7, 1024].map(|window| IndexSpec { window, ..spec(Algorithm::Sindi) });
    Algorithm::ALL.map(spec).into_iter().chain(small).collect()
}

fn built(spec: &IndexSpec, block: &Arc<SparseBlock>) -> SparseIndex {
    SparseIndex::build(spec, Arc::clone(block), &|| false).unwrap()
}

fn block(rows: &[SparseVector]) -> Arc<SparseBlock> {
    SparseBlock::new(rows.iter().map(SparseVector::as_row).collect()).unwrap()
}

/// The definition, with the sum in the order that is promised.
fn naive(
    rows: &[SparseVector],
    query: &SparseVector,
    k: usize,
    is_wanted: impl Fn(usize, f32) -> bool,
) -> Vec<Hit> {
    let score = |row: &SparseVector| {
        query.as_row().iter().fold(0.0_f32, |sum, (index, value)| {
            let found = row.indices.iter().position(|known| *known == index);
            found.map_or(sum, |at| sum + value * row.values[at])
        })
    };
    let all = (0..).zip(rows).map(|(row, vector)| Hit { row, score: score(vector) });
    let mut hits: Vec<Hit> =
        all.filter(|hit| hit.score > 0.0 && is_wanted(hit.row as usize, hit.score)).collect();
    hits.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.row.cmp(&right.row)));
    hits.truncate(k);
    hits
}

/// Vectors over few indices, so that lists are long, with values of all sizes, equal ones and zeros.
fn vector() -> impl Strategy<Value = SparseVector> {
    let value = prop_oneof![Just(0.0_f32), Just(1.0), Just(0.5), 0.0_f32..3.0, 1e-30_f32..1e30];
    let index = prop_oneof![4 => 0_u32..12, 1 => Just(u32::MAX - 1)];
    prop::collection::btree_map(index, value, 0..9).prop_map(|pairs| {
        let (indices, values) = pairs.into_iter().unzip();
        SparseVector { indices, values }
    })
}

/// Counts of few words.
fn words() -> impl Strategy<Value = SparseVector> {
    prop::collection::btree_map(0_u32..12, 1_u8..6, 0..9).prop_map(|pairs| {
        let (indices, values) = pairs.into_iter().map(|(index, count)| (index, f32::from(count))).unzip();
        SparseVector { indices, values }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_way_answers_as_the_definition_does(
        (rows, allowed) in (0_usize..80).prop_flat_map(|rows| (
            prop::collection::vec(vector(), rows),
            prop::collection::vec(prop::bool::weighted(0.4), rows),
        )),
        query in vector(),
        k in 0_usize..9,
    ) {
        let set = Bitset::from_fn(rows.len(), |row| allowed[row]);
        let block = block(&rows);
        let (all, some) = (naive(&rows, &query, k, |_, _| true), naive(&rows, &query, k, |row, _| allowed[row]));
        let band = Range { radius: 0.4, range_filter: Some(3.0) };
        let within = naive(&rows, &query, k, |row, score| allowed[row] && band.contains(Metric::Ip, score));
        let row = query.as_row();
        prop_assert_eq!(block.search(row, k, None, None), all.clone());
        prop_assert_eq!(block.search(row, k, None, Some(&set)), some.clone());
        prop_assert_eq!(block.range_search(row, &band, k, None, Some(&set)), within.clone());
        let mut shortened = None;
        for spec in ways() {
            let built = built(&spec, &block);
            let index = SparseIndex::decode(&built.encode(), Arc::clone(&block), Some(&spec)).unwrap();
            let params = SearchParams::default();
            prop_assert_eq!(index.algorithm, spec.algorithm);
            prop_assert_eq!(index.encode(), built.encode());
            prop_assert_eq!(index.search(row, k, &params, None), all.clone(), "{:?}", spec);
            prop_assert_eq!(index.search(row, k, &params, Some(&set)), some.clone(), "{:?}", spec);
            prop_assert_eq!(index.range_search(row, &band, k, None, Some(&set)), within.clone());
            let params = SearchParams { drop_ratio: Some(0.4), ..params };
            let found = index.search(row, k, &params, Some(&set));
            prop_assert_eq!(shortened.get_or_insert_with(|| found.clone()), &found, "{:?}", spec);
        }
    }

    #[test]
    fn every_way_weighs_counts_of_words_alike(
        rows in prop::collection::vec(words(), 0..60),
        query in vector(),
        k in 0_usize..9,
        k1 in 0.0_f32..3.0,
        b in 0.0_f32..=1.0,
        average in 0.5_f32..20.0,
    ) {
        let block = block(&rows);
        let saturation = Some(Saturation { k1, b, average });
        let row = query.as_row();
        let wanted = block.search(row, k, saturation, None);
        let of = |row: &SparseVector| {
            let length: f32 = row.values.iter().sum();
            row.values.iter().map(|count| count * (k1 + 1.0) / (count + k1 * (1.0 - b + b * length / average))).collect()
        };
        let weighed = |row: &SparseVector| SparseVector { indices: row.indices.clone(), values: of(row) };
        let weighed: Vec<SparseVector> = rows.iter().map(weighed).collect();
        prop_assert_eq!(&wanted, &naive(&weighed, &query, k, |_, _| true));
        for spec in ways() {
            let spec = IndexSpec { metric: Metric::Bm25, ..spec };
            let built = built(&spec, &block);
            let index = SparseIndex::decode(&built.encode(), Arc::clone(&block), Some(&spec)).unwrap();
            let params = SearchParams { saturation, ..SearchParams::default() };
            prop_assert_eq!(index.metric(), Metric::Bm25);
            prop_assert_eq!(index.search(row, k, &params, None), wanted.clone(), "{:?}", spec);
            prop_assert_eq!(index.having(&query.indices), block.having(&query.indices));
        }
    }

    #[test]
    fn seek_counts_what_is_below(mut sorted in prop::collection::vec(0_u32..200, 0..90), bound in 0_u32..210) {
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(super::seek(&sorted, bound), sorted.iter().filter(|one| **one < bound).count());
    }
}

/// Rows whose indices are as unevenly common as words are.
fn texts(rows: usize) -> Vec<SparseVector> {
    let rng = SeededRng::new(7);
    let row = |_| {
        let mut pairs = std::collections::BTreeMap::new();
        for _ in 0..40 {
            let unit = rng.below(1 << 20) as f32 / (1 << 20) as f32;
            pairs.insert((unit * unit * unit * 3000.0) as u32, rng.below(1000) as f32 / 300.0);
        }
        let (indices, values) = pairs.into_iter().unzip();
        SparseVector { indices, values }
    };
    (0..rows).map(row).collect()
}

#[test]
fn pruned_searches_of_long_lists_find_the_same() {
    let rows = texts(6000);
    let block = block(&rows);
    let indexes: Vec<SparseIndex> = ways().iter().map(|spec| built(spec, &block)).collect();
    // So many terms that nothing is pruned.
    let words = rows[..60].iter().flat_map(|row| row.indices.iter().copied());
    let indices: Vec<u32> = words.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    let long = SparseVector { values: vec![1.0; indices.len()], indices };
    for query in [&rows[17], &rows[400], &rows[5999], &long] {
        let wanted = naive(&rows, query, 10, |_, _| true);
        for index in &indexes {
            let found = index.search(query.as_row(), 10, &SearchParams::default(), None);
            assert_eq!(found, wanted, "{:?}", index.algorithm);
        }
    }
}

#[test]
fn a_shorter_query_finds_what_the_whole_one_scores() {
    let rows = texts(3000);
    let block = block(&rows);
    let index = built(&spec(Algorithm::MaxScore), &block);
    let params = SearchParams { drop_ratio: Some(0.3), ..SearchParams::default() };
    let mut found = 0;
    for query in &rows[..40] {
        let wanted = naive(&rows, query, 10, |_, _| true);
        let hits = index.search(query.as_row(), 10, &params, None);
        assert_eq!(hits.len(), 10);
        found += hits.iter().filter(|hit| wanted.contains(hit)).count();
    }
    assert!(found >= 390, "{found} of 400 found");
}

#[test]
fn a_share_left_out_changes_what_every_way_finds() {
    let vector = |pairs: &[(u32, f32)]| {
        let (indices, values) = pairs.iter().copied().unzip();
        SparseVector { indices, values }
    };
    let block = block(&[vector(&[(1, 1.0)]), vector(&[(4, 3.0), (5, 3.0)]), vector(&[(2, 1.0), (3, 1.0)])]);
    let query = vector(&[(1, 1.0), (2, 0.39), (3, 0.38), (4, 0.37), (5, 0.36)]);
    for spec in ways() {
        let index = built(&spec, &block);
        let found = |share| {
            let params = SearchParams { drop_ratio: Some(share), ..SearchParams::default() };
            let hits = index.search(query.as_row(), 3, &params, None);
            hits.into_iter().map(|hit| hit.row).collect::<Vec<_>>()
        };

        assert_eq!((found(0.0), found(0.4)), (vec![1, 0, 2], vec![0, 2]), "{spec:?}");
    }
}

#[test]
fn windows_take_less_memory_than_whole_lists() {
    let block = block(&texts(6000));
    let bytes = |algorithm| built(&spec(algorithm), &block).memory_bytes();

    assert!(bytes(Algorithm::Sindi) + block.pairs() < bytes(Algorithm::MaxScore));
}

#[test]
fn the_smallest_of_a_query_go_first() {
    let query = SparseVector { indices: vec![1, 3, 5, 9], values: vec![0.5, 2.0, 0.5, 0.1] };
    let left = super::without_smallest(query.as_row(), 2);

    let wanted: SparseRows = [SparseRow { indices: &[1, 3], values: &[0.5, 2.0] }].into_iter().collect();
    assert_eq!(left, wanted);
}

#[test]
fn damage_is_refused() {
    let rows = texts(3);
    let block = block(&rows);
    for spec in ways() {
        let bytes = built(&spec, &block).encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x20;
            assert!(SparseIndex::decode(&damaged, Arc::clone(&block), None).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_no_algorithm_writes_is_refused() {
    let block = block(&texts(3));
    let head = Head { index_type: IndexType::SparseInverted, metric: Metric::Ip };
    for body in [&[][..], &[3], &[9], &[3, 0, 4], &[0, 0, 4]] {
        let bytes = artifact::seal(head, (0, 3), body);
        assert!(SparseIndex::decode(&bytes, Arc::clone(&block), None).is_err(), "{body:?}");
    }
}

#[test]
fn windows_are_stored_as_a_version_without_them_reads() {
    let block = block(&texts(3));
    let windows = built(&spec(Algorithm::Sindi), &block);

    let plain = SparseIndex::decode(&windows.encode(), Arc::clone(&block), None).unwrap();

    assert_eq!(windows.encode(), built(&spec(Algorithm::MaxScore), &block).encode());
    assert_eq!(plain.algorithm, Algorithm::MaxScore);
}

#[test]
fn a_build_ends_when_it_is_told_to() {
    let block = block(&texts(3000));
    for spec in ways() {
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == 1;
        let stopped = SparseIndex::build(&spec, Arc::clone(&block), &stop);
        assert_eq!((stopped.err(), asked.get()), (Some(Error::Stopped), 2), "{spec:?}");
    }
}

#[test]
fn rare_words_in_later_windows_find_the_same_with_ties_and_filters() {
    let mut rows = texts(5000);
    // Few rows have these; equal ones in several windows, the later of a window named by the later list.
    for (row, index, value) in [(1030, 9001, 2.0), (1100, 9000, 2.0), (2060, 9000, 2.0), (4999, 9001, 3.0)] {
        rows[row].indices.push(index);
        rows[row].values.push(value);
    }
    let block = block(&rows);
    let query = SparseVector { indices: vec![9000, 9001, 9002], values: vec![1.0, 1.0, 1.0] };
    for first in [0, 1031, 2048] {
        let allowed = Bitset::from_fn(rows.len(), |row| row >= first);
        for k in [1, 2, 3, 9] {
            let wanted = naive(&rows, &query, k, |row, _| row >= first);
            for spec in ways() {
                let index = built(&spec, &block);
                let found = |allowed| index.search(query.as_row(), k, &SearchParams::default(), allowed);
                assert_eq!(found(Some(&allowed)), wanted, "{spec:?} from {first}");
                if first == 0 {
                    assert_eq!(found(None), wanted, "{spec:?}");
                }
            }
        }
    }
}
