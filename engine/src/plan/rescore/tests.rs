use super::*;
use crate::expr::Templates;
use crate::model::fixture::schema_of;
use crate::model::{Column, ColumnData, DataType, Field, Keys, Schema};

const KEY: FieldId = FieldId(100);
const PRICE: FieldId = FieldId(101);

fn schema() -> Schema {
    let field = |id: FieldId, name: &str| Field {
        id,
        name: name.to_owned(),
        description: String::new(),
        data_type: DataType::Int64,
        is_primary: id == KEY,
        auto_id: false,
        is_dynamic: false,
        nullable: false,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: Vec::new(),
    };
    schema_of(vec![field(KEY, "id"), field(PRICE, "price")])
}

fn hits(metric_scores: &[f32]) -> SearchHits {
    let count = metric_scores.len();
    let prices = ColumnData::Int64((0..count as i64).map(|at| at * 10).collect());
    SearchHits {
        counts: vec![count],
        keys: Keys::Int((1..=count as i64).collect()),
        scores: metric_scores.to_vec(),
        rows: Batch { rows: count, columns: vec![Column { field: PRICE, data: prices, valid: None }] },
    }
}

fn boost(filter: &str, weight: f32) -> Boost {
    let filter = (!filter.is_empty()).then(|| expr::parse(filter, &schema(), &Templates::new()).unwrap());
    Boost { filter, weight, random: None }
}

fn boosted(boosting: &Boosting, metric: Metric, scores: &[f32]) -> (Vec<i64>, Vec<f32>) {
    let hits = boosting.apply(metric, hits(scores)).unwrap();
    let Keys::Int(keys) = hits.keys else { panic!("integer keys") };
    (keys, hits.scores)
}

#[test]
fn each_curve_is_one_at_its_origin_and_decays_at_its_scale() {
    for curve in [Curve::Gauss, Curve::Exponential, Curve::Linear] {
        let decay = Decay { field: PRICE, curve, origin: 100.0, scale: 20.0, offset: 5.0, decay: 0.25 };

        for near in [95.0, 100.0, 105.0] {
            assert_eq!(decay.of(near), 1.0, "{curve:?}");
        }
        for at_scale in [75.0, 125.0] {
            assert!((decay.of(at_scale) - 0.25).abs() < 1e-12, "{curve:?}");
        }
    }
}

#[test]
fn beyond_its_scale_only_a_line_stops_to_fall() {
    let of = |curve| Decay { field: PRICE, curve, origin: 0.0, scale: 1.0, offset: 0.0, decay: 0.5 };

    assert!((of(Curve::Gauss).of(2.0) - 0.0625).abs() < 1e-12);
    assert!((of(Curve::Exponential).of(2.0) - 0.25).abs() < 1e-12);
    assert_eq!(of(Curve::Linear).of(2.0), 0.5);
    assert_eq!(of(Curve::Linear).of(0.5), 0.75);
}

#[test]
fn a_row_without_a_number_is_infinitely_far() {
    let of = |curve| Decay { field: FieldId(9), curve, origin: 0.0, scale: 1.0, offset: 0.0, decay: 0.5 };
    let rows = Batch { rows: 1, columns: Vec::new() };

    assert_eq!(of(Curve::Gauss).factor(&rows, 0), 0.0);
    assert_eq!(of(Curve::Exponential).factor(&rows, 0), 0.0);
    assert_eq!(of(Curve::Linear).factor(&rows, 0), 0.5);
}

#[test]
fn only_rows_that_match_are_boosted() {
    let boosting = Boosting {
        boosts: vec![boost("price >= 20", 3.0)],
        functions: Combine::Multiply,
        score: Combine::Multiply,
    };

    assert_eq!(boosted(&boosting, Metric::Ip, &[4.0, 3.0, 2.0]), (vec![3, 1, 2], vec![6.0, 4.0, 3.0]));
    // A distance that is multiplied is farther away.
    assert_eq!(boosted(&boosting, Metric::L2, &[1.0, 2.0, 3.0]), (vec![1, 2, 3], vec![1.0, 2.0, 9.0]));
    let added = Boosting { score: Combine::Sum, ..boosting };
    assert_eq!(boosted(&added, Metric::Ip, &[4.0, 3.0, 2.0]), (vec![3, 1, 2], vec![5.0, 4.0, 3.0]));
    assert_eq!(boosted(&added, Metric::L2, &[1.0, 2.0, 3.0]), (vec![3, 1, 2], vec![0.0, 1.0, 2.0]));
}

#[test]
fn several_boosts_become_one_before_they_change_the_score() {
    let boosts = vec![boost("", 2.0), boost("price > 0", 5.0)];
    let of = |functions, score| Boosting { boosts: boosts.clone(), functions, score };

    let found = boosted(&of(Combine::Sum, Combine::Sum), Metric::Ip, &[1.0, 1.0]);
    assert_eq!(found, (vec![2, 1], vec![8.0, 3.0]));
    let found = boosted(&of(Combine::Multiply, Combine::Sum), Metric::Ip, &[1.0, 1.0]);
    assert_eq!(found, (vec![2, 1], vec![11.0, 3.0]));
    let found = boosted(&of(Combine::Multiply, Combine::Multiply), Metric::Ip, &[1.0, 1.0]);
    assert_eq!(found, (vec![2, 1], vec![10.0, 2.0]));
}

#[test]
fn chance_is_the_same_for_a_row_every_time_and_another_under_another_seed() {
    let scores = vec![1.0; 50];
    let of = |seed, field| Boosting {
        boosts: vec![Boost { random: Some(Random { seed, field }), ..boost("", 1.0) }],
        functions: Combine::Multiply,
        score: Combine::Multiply,
    };

    let (keys, one) = boosted(&of(7, None), Metric::Ip, &scores);
    assert_eq!(boosted(&of(7, None), Metric::Ip, &scores), (keys.clone(), one.clone()));
    assert_ne!(boosted(&of(8, None), Metric::Ip, &scores).0, keys);
    assert_ne!(boosted(&of(7, Some(PRICE)), Metric::Ip, &scores).0, keys);
    assert!(one.iter().all(|score| (0.0..1.0).contains(score)), "{one:?}");
    assert!(one.windows(2).all(|pair| pair[0] >= pair[1]), "{one:?}");
}

#[test]
fn a_hit_without_the_column_that_a_filter_reads_is_an_error() {
    let boosting =
        Boosting { boosts: vec![boost("price > 0", 2.0)], functions: Combine::Sum, score: Combine::Sum };
    let mut bare = hits(&[1.0]);
    bare.rows.columns.clear();

    assert_eq!(boosting.fields().collect::<Vec<_>>(), [PRICE]);
    assert!(boosting.apply(Metric::Ip, bare).is_err());
}
