//! Aggregates against a naive twin: all rows in one list.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::{CollectionId, FieldId, Timestamp};
use crate::model::wire::{decode_rows, encode_rows};
use crate::model::{Batch, Bitset, Column, ColumnData, DataType, Keys, Value};

/// The values of a row; none where a field is absent.
pub(crate) type Row = BTreeMap<FieldId, Value>;

fn value(row: &Row, field: FieldId) -> Value {
    row.get(&field).cloned().unwrap_or(Value::Null)
}

fn compared(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (left, right) => double(left).total_cmp(&double(right)),
    }
}

fn double(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => f64::from(*value),
        Value::Double(value) => *value,
        other => panic!("no number: {other:?}"),
    }
}

fn measured(op: AggregateOp, values: Vec<Value>) -> Value {
    let count = values.len();
    let sum = || values.iter().map(double).sum::<f64>();
    match op {
        AggregateOp::Count => Value::Int(count as i64),
        _ if values.is_empty() => Value::Null,
        AggregateOp::Average => Value::Double(sum() / count as f64),
        AggregateOp::Sum if matches!(values[0], Value::Int(_)) => Value::Int(sum() as i64),
        AggregateOp::Sum => Value::Double(sum()),
        AggregateOp::Least => values.into_iter().min_by(compared).unwrap(),
        AggregateOp::Greatest => values.into_iter().max_by(compared).unwrap(),
    }
}

/// What `plan` finds, by the letter of the specification. Sums are small enough for a double to be exact.
pub(crate) fn naive(plan: &Aggregates, rows: &[Row]) -> Aggregated {
    let mut groups: Vec<(Vec<Value>, Vec<&Row>)> = Vec::new();
    if plan.by.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    for row in rows {
        let key: Vec<Value> = plan.by.iter().map(|group| value(row, group.field)).collect();
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    groups.sort_by(|(left, _), (right, _)| {
        let pairs = plan.by.iter().zip(left.iter().zip(right));
        let mut orders = pairs.map(|(group, (left, right))| {
            let order = compared(left, right);
            if group.descending { order.reverse() } else { order }
        });
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    groups.truncate(plan.limit.unwrap_or(usize::MAX));
    let of = |aggregate: &Aggregate| {
        let one = |(_, rows): &(_, Vec<&Row>)| match aggregate.field {
            None => Value::Int(rows.len() as i64),
            Some(field) => {
                let values = rows.iter().map(|row| value(row, field)).filter(|value| *value != Value::Null);
                measured(aggregate.op, values.collect())
            }
        };
        groups.iter().map(one).collect()
    };
    Aggregated {
        groups: groups.len(),
        by: (0..plan.by.len())
            .map(|at| groups.iter().map(|(key, _)| key[at].clone()).collect::<Vec<_>>())
            .filter(|values| !values.is_empty())
            .collect(),
        of: plan.of.iter().map(of).filter(|values: &Vec<Value>| !values.is_empty()).collect(),
    }
}

const FIELDS: [(FieldId, DataType); 8] = [
    (FieldId(100), DataType::Int64),
    (FieldId(101), DataType::VarChar),
    (FieldId(102), DataType::Bool),
    (FieldId(103), DataType::Int8),
    (FieldId(104), DataType::Int32),
    (FieldId(105), DataType::Double),
    (FieldId(106), DataType::Float),
    (FieldId(107), DataType::VarChar),
];

fn some_value(data_type: DataType) -> BoxedStrategy<Value> {
    let small = -3_i64..4;
    match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::VarChar => {
            let texts = ["", "\0", "a", "a\0", "a\0b", "ab", "ä", "b"];
            prop::sample::select(texts.to_vec()).prop_map(|text| Value::Text(text.to_owned())).boxed()
        }
        DataType::Double => small.prop_map(|value| Value::Double(value as f64 / 4.0)).boxed(),
        DataType::Float => small.prop_map(|value| Value::Float(value as f32 / 4.0)).boxed(),
        DataType::Int64 => {
            let far = prop::sample::select(vec![i64::MIN >> 20, i64::MAX >> 20]);
            prop_oneof![3 => small, 1 => far].prop_map(Value::Int).boxed()
        }
        _ => small.prop_map(Value::Int).boxed(),
    }
}

fn rows() -> impl Strategy<Value = Vec<(usize, Row)>> {
    let values = FIELDS.map(|(field, data_type)| {
        prop::option::weighted(0.8, some_value(data_type)).prop_map(move |value| (field, value))
    });
    let row = values.to_vec().prop_map(|values| {
        values.into_iter().filter_map(|(field, value)| Some((field, value?))).collect::<Row>()
    });
    prop::collection::vec((0_usize..5, row), 0..60)
}

fn plans() -> impl Strategy<Value = Aggregates> {
    let by = prop::sample::subsequence((0..4).collect::<Vec<usize>>(), 0..4).prop_shuffle();
    let by = by.prop_flat_map(|by| by.into_iter().map(|at| (Just(at), any::<bool>())).collect::<Vec<_>>());
    let of = prop::sample::subsequence(every_aggregate(), 0..6);
    (by, of, prop::option::of(1_usize..7)).prop_map(|(by, of, limit)| Aggregates {
        by: by.into_iter().map(|(at, descending)| GroupField { field: FIELDS[at].0, descending }).collect(),
        of,
        limit,
    })
}

fn every_aggregate() -> Vec<Aggregate> {
    let mut all = vec![Aggregate { op: AggregateOp::Count, field: None }];
    for (field, data_type) in FIELDS {
        let field = Some(field);
        all.push(Aggregate { op: AggregateOp::Count, field });
        if data_type.is_number() {
            all.extend([AggregateOp::Sum, AggregateOp::Average].map(|op| Aggregate { op, field }));
        }
        if data_type != DataType::Bool {
            all.extend([AggregateOp::Least, AggregateOp::Greatest].map(|op| Aggregate { op, field }));
        }
    }
    all
}

fn columns(rows: &[&Row]) -> Batch {
    let column = |(field, data_type): (FieldId, DataType)| {
        let mut data = ColumnData::none_of(data_type);
        rows.iter().for_each(|row| data.push(&value(row, field)).unwrap());
        let valid = Some(Bitset::from_fn(rows.len(), |at| rows[at].contains_key(&field)));
        Column { field, data, valid }
    };
    Batch { rows: rows.len(), columns: FIELDS.map(column).to_vec() }
}

/// What a node finds in its rows, as it arrives elsewhere.
fn of_node(plan: &Aggregates, rows: &Batch) -> QueryRows {
    let column = |field| Operand::Column(rows.column(field).unwrap());
    let by: Vec<Operand<'_>> = plan.by.iter().map(|group| column(group.field)).collect();
    let of = plan.of.iter().map(|aggregate| aggregate.field.map_or(Operand::Rows, column));
    let mut groups = Groups::new(plan);
    groups.add(0..rows.rows, &by, &of.collect::<Vec<_>>()).unwrap();
    let found = groups.into_rows();
    QueryRows { rows: decode_rows(&encode_rows(&found.rows)).unwrap(), ..found }
}

fn query(plan: &Aggregates) -> QueryPlan {
    QueryPlan {
        collection: CollectionId(1),
        partitions: None,
        filter: None,
        limit: Some(0),
        order: None,
        output: Vec::new(),
        read_at: Timestamp::MAX,
        expired_before: Timestamp::ZERO,
        ignore_growing: false,
        kind: QueryKind::Aggregates(plan.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_aggregates_are_put_together_in_any_order(plan in plans(), rows in rows(), first in 0_usize..6) {
        let part = |at: usize| {
            let rows: Vec<&Row> = rows.iter().filter(|(part, _)| *part == at).map(|(_, row)| row).collect();
            of_node(&plan, &columns(&rows))
        };
        let query = query(&plan);

        let some = merge_query(&query, (0..first).filter(|at| *at < 5).map(part).collect()).unwrap();
        let mut rest: Vec<QueryRows> = (first..5).rev().map(part).collect();
        rest.insert(rest.len() / 2, some);
        let all = merge_query(&query, rest).unwrap();

        let rows: Vec<Row> = rows.iter().map(|(_, row)| row.clone()).collect();
        prop_assert_eq!(plan.finish(&all).unwrap().unwrap(), naive(&plan, &rows));
    }
}

fn numbers(values: impl Iterator<Item = i64>) -> Batch {
    let data = ColumnData::Int64(values.collect());
    Batch { rows: data.len(), columns: vec![Column { field: FieldId(100), data, valid: None }] }
}

/// Numbers as groups, and their sum.
fn by_number(limit: Option<usize>, descending: bool) -> Aggregates {
    let field = FieldId(100);
    let sum = Aggregate { op: AggregateOp::Sum, field: Some(field) };
    Aggregates { by: vec![GroupField { field, descending }], of: vec![sum], limit }
}

fn added(plan: &Aggregates, rows: &Batch) -> Result<QueryRows, Error> {
    let column = Operand::Column(&rows.columns[0]);
    let mut groups = Groups::new(plan);
    groups.add(0..rows.rows, &[column], &[column])?;
    Ok(groups.into_rows())
}

#[test]
fn more_groups_than_there_may_be_are_refused_unless_a_few_are_wanted() {
    let rows = numbers((0..250_000).map(|row| row * 7_919 % 125_000));

    assert_eq!(added(&by_number(None, false), &rows).unwrap_err(), Error::ManyGroups);
    let plan = by_number(Some(2), true);
    let found = plan.finish(&added(&plan, &rows).unwrap()).unwrap().unwrap();
    let ints = |values: [i64; 2]| values.map(Value::Int).to_vec();
    let wanted =
        Aggregated { groups: 2, by: vec![ints([124_999, 124_998])], of: vec![ints([249_998, 249_996])] };
    assert_eq!(found, wanted);
}

#[test]
fn a_limit_beyond_the_most_groups_there_may_be_is_no_help() {
    let rows = numbers(0..150_000);
    assert_eq!(added(&by_number(Some(100_001), false), &rows).unwrap_err(), Error::ManyGroups);
    assert_eq!(added(&by_number(Some(100_000), false), &rows).unwrap().rows.rows, 100_000);
}

#[test]
fn a_field_that_a_part_lacks_has_the_same_value_in_all_its_rows() {
    let by = [100, 101].map(|id| GroupField { field: FieldId(id), descending: false });
    let least = Aggregate { op: AggregateOp::Least, field: Some(FieldId(101)) };
    let plan = Aggregates { by: by.to_vec(), of: vec![least], limit: None };
    let text = |values: &[&str], valid: Option<Bitset>| {
        let mut data = ColumnData::none_of(DataType::VarChar);
        values.iter().for_each(|value| data.push(&Value::Text((*value).to_owned())).unwrap());
        Column { field: FieldId(101), data, valid }
    };
    let (numbers, there) = (numbers([1, 2, 2].into_iter()), text(&["b", "a", "b"], None));
    let (default, none) = (text(&["a"], None), text(&[""], Some(Bitset::none(1))));
    let number = Operand::Column(&numbers.columns[0]);
    let mut groups = Groups::new(&plan);

    for texts in [Operand::Same(&default), Operand::Column(&there), Operand::Same(&none)] {
        groups.add(0..3, &[number, texts], &[texts]).unwrap();
    }

    let found = groups.into_rows();
    let texts = ["a", "b", "", "a", "b", ""].map(|text| match text {
        "" => Value::Null,
        text => Value::Text(text.to_owned()),
    });
    let wanted = Aggregated {
        groups: 6,
        by: vec![[1, 1, 1, 2, 2, 2].map(Value::Int).to_vec(), texts.to_vec()],
        of: vec![texts.to_vec()],
    };
    assert_eq!(plan.finish(&found).unwrap().unwrap(), wanted);
    assert_eq!(found.rows.columns[0].data, ColumnData::Int64(vec![1, 1, 1, 3, 1, 2]));
}

#[test]
fn groups_that_are_too_large_are_refused() {
    let text = "x".repeat(60_000);
    let mut texts = ColumnData::none_of(DataType::VarChar);
    (0..1_000).for_each(|row| texts.push(&Value::Text(format!("{row} {text}"))).unwrap());
    let rows = Batch { rows: 1_000, columns: vec![Column { field: FieldId(100), data: texts, valid: None }] };
    let groups = Aggregates { of: Vec::new(), ..by_number(None, false) };
    assert_eq!(added(&groups, &rows).unwrap_err(), Error::LargeGroups);

    let least = Aggregate { op: AggregateOp::Least, field: Some(FieldId(100)) };
    let one = Aggregates { by: Vec::new(), of: vec![least], limit: None };
    let found = one.finish(&added(&one, &rows).unwrap()).unwrap().unwrap();
    assert_eq!(found.of, [[Value::Text(format!("0 {text}"))]]);
}

#[test]
fn a_sum_is_exact_or_refused() {
    let all = Aggregates { by: Vec::new(), ..by_number(None, false) };
    let of = |values: &[i64]| all.finish(&added(&all, &numbers(values.iter().copied())).unwrap());

    let found = of(&[i64::MAX, i64::MAX, i64::MIN, i64::MIN, 2]).unwrap().unwrap();
    assert_eq!(found.of, [[Value::Int(0)]]);
    assert_eq!(of(&[i64::MAX, 1]), Err(Error::Sum));
}

#[test]
fn what_a_node_answers_that_knows_no_aggregates_is_none() {
    let plan = by_number(None, false);
    let other =
        QueryRows { keys: Keys::Int(Vec::new()), times: Vec::new(), rows: Batch::default(), count: 0 };
    let good = added(&plan, &numbers(0..3)).unwrap();

    let merged = merge_query(&query(&plan), vec![good, other]).unwrap();

    assert_eq!(plan.finish(&merged), Ok(None));
}
