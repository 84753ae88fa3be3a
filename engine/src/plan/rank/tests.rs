use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::FieldId;
use crate::model::{Batch, Column, ColumnData, Keys};
use crate::plan::Curve;

const FIELD: FieldId = FieldId(101);

/// One row that a search found: its key and its score. Its field holds `key % 3`.
type Found = (i64, f32);

fn answer(queries: &[&[Found]]) -> SearchHits {
    let all: Vec<Found> = queries.iter().flat_map(|hits| hits.iter().copied()).collect();
    let data = ColumnData::Int64(all.iter().map(|(key, _)| key % 3).collect());
    SearchHits {
        counts: queries.iter().map(|hits| hits.len()).collect(),
        keys: Keys::Int(all.iter().map(|(key, _)| *key).collect()),
        scores: all.iter().map(|(_, score)| *score).collect(),
        rows: Batch { rows: all.len(), columns: vec![Column { field: FIELD, data, valid: None }] },
    }
}

fn plan(fusion: Fusion) -> RankPlan {
    let metrics = vec![Metric::Cosine, Metric::L2];
    RankPlan { metrics, queries: 1, fusion, count: 4, grouping: None }
}

/// Keys with their scores in hundred-thousandths.
fn ranked(plan: &RankPlan, answers: Vec<SearchHits>) -> Vec<(i64, i64)> {
    let hits = rank(plan, answers).unwrap();
    let Keys::Int(keys) = hits.keys else { panic!("integer keys") };
    keys.into_iter().zip(hits.scores.iter().map(|score| (f64::from(*score) * 1e5).round() as i64)).collect()
}

const TEXT: &[Found] = &[(1, 1.0), (2, 0.6), (3, 0.0), (4, -1.0)];
const IMAGE: &[Found] = &[(3, 0.16), (2, 2.56), (1, 6.76), (4, 19.36)];

fn both() -> Vec<SearchHits> {
    vec![answer(&[TEXT]), answer(&[IMAGE])]
}

#[test]
fn reciprocal_ranks_add_up() {
    let few = || vec![answer(&[TEXT]), answer(&[&IMAGE[..2]])];

    let of_60 = ranked(&plan(Fusion::Reciprocal { k: 60.0 }), few());
    assert_eq!(of_60, [(3, 3_227), (2, 3_226), (1, 1_639), (4, 1_563)]);
    let of_1 = ranked(&plan(Fusion::Reciprocal { k: 1.0 }), few());
    assert_eq!(of_1, [(3, 75_000), (2, 66_667), (1, 50_000), (4, 20_000)]);
}

#[test]
fn weighted_scores_are_brought_into_one_range_if_that_is_wanted() {
    let weighted = |weights: [f32; 2], normalised| Fusion::Weighted { weights: weights.to_vec(), normalised };

    let normal = ranked(&plan(weighted([0.6, 0.4], true)), both());
    assert_eq!(normal, [(3, 65_960), (1, 63_740), (2, 57_483), (4, 1_314)]);
    let one = ranked(&plan(weighted([1.0, 0.0], true)), both());
    assert_eq!(one, [(1, 100_000), (2, 80_000), (3, 50_000), (4, 0)]);
    let raw = ranked(&plan(weighted([0.6, 0.4], false)), both());
    assert_eq!(raw, [(1, 63_740), (2, 45_483), (3, 35_960), (4, -58_686)]);
}

#[test]
fn distances_alone_stay_distances() {
    let fusion = Fusion::Weighted { weights: vec![0.5, 0.5], normalised: false };
    let plan = RankPlan { metrics: vec![Metric::L2, Metric::L2], ..plan(fusion) };

    let found = ranked(&plan, vec![answer(&[&[(1, 2.0), (2, 4.0)]]), answer(&[&[(2, 1.0), (1, 3.0)]])]);

    // Equal scores come by key.
    assert_eq!(found, [(1, 250_000), (2, 250_000)]);
    let found = ranked(&plan, vec![answer(&[&[(1, 2.0), (2, 4.0)]]), answer(&[&[(2, 1.0), (1, 5.0)]])]);
    assert_eq!(found, [(2, 250_000), (1, 350_000)]);
}

#[test]
fn a_decay_lessens_what_is_far_from_its_origin() {
    let decay =
        Decay { field: FIELD, curve: Curve::Linear, origin: 0.0, scale: 1.0, offset: 0.0, decay: 0.5 };
    let plan = plan(Fusion::Decayed { decay, mode: Mode::Max });

    // The field is the key's remainder by 3; row 3 is at the origin, the others are at least 1 away.
    let found = ranked(&plan, vec![answer(&[TEXT]), answer(&[&[]])]);

    assert_eq!(found, [(1, 50_000), (3, 50_000), (2, 40_000), (4, 0)]);
}

#[test]
fn a_model_judges_texts_and_not_what_searches_say() {
    let with_texts = |queries: &[&[Found]]| {
        let mut hits = answer(queries);
        let mut texts = crate::model::Texts::new();
        let Keys::Int(keys) = &hits.keys else { panic!("integer keys") };
        keys.iter().for_each(|key| texts.push(if key % 2 == 0 { "even" } else { "odd" }));
        // Row 4 has none.
        let valid = crate::model::Bitset::from_fn(keys.len(), |row| keys[row] != 4);
        hits.rows.columns[0] = Column { field: FIELD, data: ColumnData::VarChar(texts), valid: Some(valid) };
        hits
    };
    let scores = |all: &[(&str, f32)]| all.iter().map(|(text, score)| ((*text).to_owned(), *score)).collect();
    let first = scores(&[("even", 0.5), ("odd", 0.25), ("", 0.75)]);
    let second = scores(&[("even", -1.0), ("odd", 2.0)]);
    let fusion = Fusion::Judged { field: FIELD, scores: vec![first, second] };
    let plan = RankPlan { queries: 2, ..plan(fusion) };

    let found = ranked(&plan, vec![with_texts(&[TEXT, &TEXT[..2]]), with_texts(&[&IMAGE[..2], &[]])]);

    let expected = [(4, 75_000), (2, 50_000), (1, 25_000), (3, 25_000), (1, 200_000), (2, -100_000)];
    assert_eq!(found, expected);
}

#[test]
fn groups_are_compared_by_one_score() {
    let found = |mode| {
        let grouping = Grouping { field: FIELD, size: 2, strict: false };
        let fusion = Fusion::Weighted { weights: vec![1.0, 0.0], normalised: false };
        let plan = RankPlan { grouping: Some((grouping, mode)), count: 2, ..plan(fusion) };
        let hits: &[Found] = &[(1, 9.0), (2, 8.0), (5, 7.0), (4, 1.0), (8, 0.5), (3, 0.1)];
        ranked(&plan, vec![answer(&[hits]), answer(&[&[]])])
            .into_iter()
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
    };

    assert_eq!(found(Mode::Max), [1, 4, 2, 5]);
    assert_eq!(found(Mode::Sum), [2, 5, 1, 4]);
    assert_eq!(found(Mode::Average), [2, 5, 1, 4]);
}

/// The same by the letter of the specification, over a map, for one query.
fn naive(plan: &RankPlan, answers: &[&[Found]]) -> Vec<(i64, f32)> {
    let mut sums: BTreeMap<i64, f32> = BTreeMap::new();
    for (search, hits) in answers.iter().enumerate() {
        for (place, (key, score)) in hits.iter().enumerate() {
            *sums.entry(*key).or_default() += match &plan.fusion {
                Fusion::Reciprocal { k } => 1.0 / (k + (place + 1) as f32),
                Fusion::Weighted { weights, .. } => weights[search] * normal(plan.metrics[search], *score),
                Fusion::Decayed { .. } | Fusion::Judged { .. } => 0.0,
            };
        }
    }
    let mut rows: Vec<(i64, f32)> = sums.into_iter().collect();
    rows.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    rows.truncate(plan.count);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranking_agrees_with_the_naive_ranking(
        found in prop::collection::vec(prop::collection::btree_map(0_i64..20, -50_i32..50, 0..12), 2 * 3),
        by_rank in any::<bool>(),
        count in 1_usize..15,
    ) {
        let fusion = if by_rank {
            Fusion::Reciprocal { k: 7.0 }
        } else {
            Fusion::Weighted { weights: vec![0.5, 0.25, 1.0], normalised: true }
        };
        let metrics = vec![Metric::Cosine, Metric::L2, Metric::Ip];
        let plan = RankPlan { metrics, queries: 2, fusion, count, grouping: None };
        let lists: Vec<Vec<Found>> = found
            .into_iter()
            .map(|hits| hits.into_iter().map(|(key, score)| (key, score as f32 / 8.0)).collect())
            .collect();
        // Two queries of three searches.
        let answers = (0..3).map(|search| answer(&[&lists[search], &lists[3 + search]])).collect();

        let hits = rank(&plan, answers).unwrap();

        let expected: Vec<Vec<(i64, f32)>> = (0..2)
            .map(|query| naive(&plan, &[&lists[3 * query], &lists[3 * query + 1], &lists[3 * query + 2]]))
            .collect();
        let Keys::Int(keys) = &hits.keys else { panic!("integer keys") };
        let given: Vec<(i64, f32)> = keys.iter().copied().zip(hits.scores.iter().copied()).collect();
        prop_assert_eq!(&hits.counts, &expected.iter().map(Vec::len).collect::<Vec<_>>());
        prop_assert_eq!(given, expected.concat());
        let of_keys = ColumnData::Int64(keys.iter().map(|key| key % 3).collect());
        prop_assert!(keys.is_empty() || hits.rows.columns[0].data == of_keys, "a hit brings its own row");
    }
}
