//! Merging against naive twins: all hits in one list, sorted, cut.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::{CollectionId, FieldId, Timestamp};
use crate::model::{Batch, Bitset, Column, ColumnData, Keys, Metric};

const GROUP: FieldId = FieldId(101);

/// A row: key, score (or the value that it is sorted by), group.
type Row = (i64, i32, Option<i64>);

fn columns(rows: &[Row]) -> Batch {
    let column = |field, values: Vec<Option<i64>>| Column {
        field,
        valid: Some(Bitset::from_fn(values.len(), |row| values[row].is_some())),
        data: ColumnData::Int64(values.into_iter().map(Option::unwrap_or_default).collect()),
    };
    Batch { rows: rows.len(), columns: vec![column(GROUP, rows.iter().map(|row| row.2).collect())] }
}

fn hits(rows: &[Row]) -> SearchHits {
    SearchHits {
        counts: vec![rows.len()],
        keys: Keys::Int(rows.iter().map(|row| row.0).collect()),
        scores: rows.iter().map(|row| row.1 as f32).collect(),
        rows: columns(rows),
    }
}

fn search(count: usize, metric: Metric, grouping: Option<Grouping>) -> SearchPlan {
    SearchPlan {
        collection: CollectionId(1),
        partitions: None,
        field: FieldId(102),
        metric,
        queries: vec![vec![0.0].into()],
        count,
        grouping,
        params: BTreeMap::new(),
        range: None,
        filter: None,
        output: vec![GROUP],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
    }
}

/// Rows in the order of a search, each key once.
fn sorted(mut rows: Vec<Row>, metric: Metric) -> Vec<Row> {
    rows.sort_by_key(|row| (if metric == Metric::L2 { row.1 } else { -row.1 }, row.0));
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert(row.0));
    rows
}

/// Rows that come by groups, by the letter of the specification.
fn naive_groups(rows: &[Row], count: usize, size: usize) -> Vec<Row> {
    let mut order: Vec<Option<i64>> = Vec::new();
    for row in rows {
        if !order.contains(&row.2) {
            order.push(row.2);
        }
    }
    let of = |group: &Option<i64>| rows.iter().filter(|row| row.2 == *group).take(size).copied().collect();
    order.iter().take(count).map(of).collect::<Vec<Vec<Row>>>().concat()
}

fn parts() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let group = prop::option::weighted(0.9, 0_i64..6);
    prop::collection::vec(prop::collection::vec((0_i64..60, -9_i32..9, group), 0..25), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn groups_are_the_same_however_their_rows_are_spread(
        parts in parts(), count in 1_usize..8, size in 1_usize..4, is_l2 in any::<bool>(),
    ) {
        let metric = if is_l2 { Metric::L2 } else { Metric::Ip };
        // A key is on one node only, or a row's group would depend on who is asked.
        let mut seen = BTreeSet::new();
        let parts: Vec<Vec<Row>> = parts
            .into_iter()
            .map(|rows| sorted(rows.into_iter().filter(|row| seen.insert(row.0)).collect(), metric))
            .collect();
        let plan = search(count, metric, Some(Grouping { field: GROUP, size, strict: false }));
        let answers = parts.iter().map(|rows| hits(&naive_groups(rows, count, size))).collect();

        let merged = merge_search(&plan, answers).unwrap();

        let all = naive_groups(&sorted(parts.concat(), metric), count, size);
        let groups = |rows: &[Row]| -> Vec<(Group, f32)> {
            let hits = hits(rows);
            let first = |(group, range): &(Group, std::ops::Range<usize>)| (group.clone(), hits.scores[range.start]);
            groups_of(&hits, GROUP)[0].iter().map(first).collect()
        };
        let found: Vec<Row> = (0..merged.scores.len())
            .map(|hit| {
                let Keys::Int(keys) = &merged.keys else { panic!("integer keys") };
                let group = match merged.rows.columns[0].value(hit) {
                    crate::model::Value::Int(group) => Some(group),
                    _ => None,
                };
                (keys[hit], merged.scores[hit] as i32, group)
            })
            .collect();
        prop_assert_eq!(groups(&found), groups(&all), "the best groups with their best hits");
        if size == 1 || count >= 7 {
            prop_assert_eq!(found, all, "where no part was cut short, every hit");
        }
    }

    #[test]
    fn rows_come_in_their_order_however_they_are_spread(
        parts in parts(), limit in prop::option::of(1_usize..30), descending in any::<bool>(),
    ) {
        let mut seen = BTreeSet::new();
        let parts: Vec<Vec<Row>> =
            parts.into_iter().map(|rows| rows.into_iter().filter(|row| seen.insert(row.0)).collect()).collect();
        let plan = QueryPlan {
            collection: CollectionId(1),
            partitions: None,
            filter: None,
            limit,
            order: Some(Order { by: vec![Sorting { field: GROUP, path: Vec::new(), descending }] }),
            output: vec![GROUP],
            read_at: Timestamp::MAX,
            expired_before: Timestamp::ZERO,
            ignore_growing: false,
            kind: QueryKind::Rows,
        };
        let answer = |rows: &Vec<Row>| QueryRows {
            keys: Keys::Int(rows.iter().map(|row| row.0).collect()),
            times: vec![Timestamp(1); rows.len()],
            rows: columns(rows),
            count: rows.len() as u64,
        };

        let merged = merge_query(&plan, parts.iter().map(answer).collect()).unwrap();

        let mut all = parts.concat();
        // Without a value is more than every value.
        all.sort_by_key(|row| {
            let value = row.2.unwrap_or(i64::MAX);
            (if descending { -value } else { value }, row.0)
        });
        all.truncate(limit.unwrap_or(usize::MAX));
        prop_assert_eq!(merged.rows, columns(&all).take(&(0..all.len()).collect::<Vec<_>>()));
        prop_assert_eq!(merged.keys, Keys::Int(all.iter().map(|row| row.0).collect()));
    }
}

#[test]
fn of_each_text_key_the_newest_row_stays() {
    let answer = |rows: &[(&str, u64, i64)]| QueryRows {
        keys: Keys::Text(rows.iter().map(|row| row.0).collect()),
        times: rows.iter().map(|row| Timestamp(row.1)).collect(),
        rows: columns(&rows.iter().map(|row| (0, 0, Some(row.2))).collect::<Vec<_>>()),
        count: rows.len() as u64,
    };
    let plan = QueryPlan {
        collection: CollectionId(1),
        partitions: None,
        filter: None,
        limit: Some(3),
        order: None,
        output: vec![GROUP],
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
        kind: QueryKind::Rows,
    };
    let parts = vec![
        answer(&[("b", 1, 10), ("c", 9, 11), ("e", 1, 12)]),
        answer(&[("a", 2, 20), ("b", 3, 21), ("c", 4, 22)]),
    ];

    let merged = merge_query(&plan, parts).unwrap();

    assert_eq!(merged, answer(&[("a", 2, 20), ("b", 3, 21), ("c", 9, 11)]));
}

#[test]
fn a_path_into_json_leads_to_truths_numbers_texts_and_else_to_nothing() {
    let json =
        ["{\"a\":{\"b\":2}}", "{\"a\":{\"b\":\"x\"}}", "{}", "{\"a\":{\"b\":1.5}}", "{\"a\":{\"b\":true}}"];
    let data = ColumnData::Json(json.into_iter().collect());
    let rows = Batch { rows: 5, columns: vec![Column { field: GROUP, data, valid: None }] };
    let by = |descending| {
        let path = vec!["a".to_owned(), "b".to_owned()];
        let order = Order { by: vec![Sorting { field: GROUP, path, descending }] };
        let keys = order.keys(&rows);
        let mut places: Vec<usize> = (0..5).collect();
        places.sort_by(|&left, &right| order.compare(&keys[left], &keys[right]));
        places
    };

    assert_eq!(by(false), [4, 3, 0, 1, 2]);
    assert_eq!(by(true), [2, 1, 0, 3, 4]);
}

#[test]
fn numbers_of_all_kinds_have_one_order() {
    let data = ["9007199254740992.0", "9007199254740993", "9007199254740992", "-1", "0.5"];
    let data = ColumnData::Json(data.into_iter().collect());
    let rows = Batch { rows: 5, columns: vec![Column { field: GROUP, data, valid: None }] };
    let order = Order { by: vec![Sorting { field: GROUP, path: Vec::new(), descending: false }] };
    let keys = order.keys(&rows);

    let mut places: Vec<usize> = (0..5).collect();
    places.sort_by(|&left, &right| order.compare(&keys[left], &keys[right]));

    // The first three are the same as doubles.
    assert_eq!(places, [3, 4, 2, 1, 0]);
}

#[test]
fn hits_that_changed_places_come_by_groups_again() {
    let all = hits(&[(1, 1, Some(7)), (2, 2, Some(8)), (3, 3, Some(7)), (4, 4, None), (5, 5, Some(8))]);

    let grouped = all.by_groups(Grouping { field: GROUP, size: 2, strict: false });

    assert_eq!(grouped, all.chosen(vec![5], &[0, 2, 1, 4, 3]));
}

#[test]
fn rows_have_the_sum_of_their_best_elements() {
    // Two queries; the elements of a row share its key.
    let rows: [Row; 7] =
        [(1, 9, None), (2, 8, None), (2, 7, None), (2, 6, None), (1, 1, None), (3, 5, None), (4, 4, None)];
    let found = SearchHits { counts: vec![5, 2], ..hits(&rows) };
    let summed = |metric, most| {
        let summed = found.summed(metric, most);
        (summed.counts, summed.keys, summed.scores)
    };
    let keys = |keys: &[i64]| Keys::Int(keys.to_vec());

    assert_eq!(summed(Metric::Ip, 2), (vec![2, 2], keys(&[2, 1, 3, 4]), vec![15.0, 10.0, 5.0, 4.0]));
    assert_eq!(summed(Metric::Ip, usize::MAX).2, [21.0, 10.0, 5.0, 4.0]);
    assert_eq!(summed(Metric::Ip, 1), (vec![2, 2], keys(&[1, 2, 3, 4]), vec![9.0, 8.0, 5.0, 4.0]));
}
