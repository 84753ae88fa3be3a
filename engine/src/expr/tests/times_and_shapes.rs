//! Filters over instants and shapes: against a naive look at each row, with indexes and without.

use std::cmp::Ordering;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::field;
use crate::base::{FieldId, IndexId};
use crate::calendar::{self, EARLIEST, Interval, LATEST, TimeZone};
use crate::expr::{ColumnIndex, ColumnIndexSpec, Filter, Rows, Templates, parse, parse_in};
use crate::model::fixture::schema_of;
use crate::model::{Batch, Bitset, Column, DataType, IndexDefinition, Schema, Value};
use crate::shape;

fn schema() -> Schema {
    let fields = vec![
        field(1, "id", DataType::Int64, false),
        field(2, "made", DataType::Timestamptz, false),
        field(3, "seen", DataType::Timestamptz, true),
        field(4, "geo", DataType::Geometry, true),
    ];
    schema_of(fields)
}

struct Indexed {
    rows: Batch,
    indexes: Vec<Arc<ColumnIndex>>,
}

impl Rows for Indexed {
    fn len(&self) -> usize {
        self.rows.rows
    }

    fn column(&self, field: FieldId) -> Option<&Column> {
        self.rows.column(field)
    }

    fn indexes(&self) -> &[Arc<ColumnIndex>] {
        &self.indexes
    }
}

fn indexed(rows: &Batch) -> Indexed {
    let schema = schema();
    let index = |(name, kind): (&str, &str)| {
        let field = schema.field(name).unwrap();
        let params = vec![("index_type".to_owned(), kind.to_owned())];
        let spec =
            ColumnIndexSpec::of(&IndexDefinition::wanted(IndexId(1), "", field, params), field).unwrap();
        Arc::new(ColumnIndex::build(&spec, rows.column(field.id).unwrap()).unwrap())
    };
    let indexes = [("made", "STL_SORT"), ("seen", "AUTOINDEX"), ("geo", "RTREE")].map(index).to_vec();
    Indexed { rows: rows.clone(), indexes }
}

/// Rows of an instant, an instant or none, and a shape or none.
fn batch(rows: &[(i64, Option<i64>, Option<String>)]) -> Batch {
    let schema = schema();
    let mut batch = Batch::empty(&schema);
    batch.rows = rows.len();
    for (id, (made, seen, geo)) in rows.iter().enumerate() {
        let shape = geo.as_ref().map(|text| Value::Shape(shape::parse(text).unwrap()));
        let values = [
            Value::Int(id as i64),
            Value::Int(*made),
            seen.map_or(Value::Null, Value::Int),
            shape.unwrap_or(Value::Null),
        ];
        for (column, value) in batch.columns.iter_mut().zip(&values) {
            column.data.push(value).unwrap();
        }
    }
    batch.columns[2].valid = Some(Bitset::from_fn(rows.len(), |row| rows[row].1.is_some()));
    batch.columns[3].valid = Some(Bitset::from_fn(rows.len(), |row| rows[row].2.is_some()));
    batch
}

fn filter(text: &str) -> Filter {
    parse(text, &schema(), &Templates::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The rows by a filter, which are the same by its text, by its bytes, and with indexes.
fn found(text: &str, rows: &Batch) -> Vec<usize> {
    let filter = filter(text);
    let chosen = filter.evaluate(rows).unwrap();
    let indexed = indexed(rows);
    assert_eq!(filter.evaluate(&indexed).unwrap(), chosen, "{text}");
    if let Some(few) = filter.evaluate_few(&indexed).unwrap() {
        assert_eq!(few, chosen.iter().collect::<Vec<_>>(), "{text}");
    }
    let again = parse(&filter.to_string(), &schema(), &Templates::new());
    assert_eq!(again.as_ref(), Ok(&filter), "{text}: {filter}");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter), "{text}");
    chosen.iter().collect()
}

#[test]
fn refusals_name_what_is_wrong() {
    let cases = [
        ("id > ISO '2025-01-01T00:00:00Z'", "field 'id' is not a timestamptz datatype"),
        ("ISO '2025-01-01T00:00:00Z' == geo", "field 'geo' is not a timestamptz datatype"),
        ("id + INTERVAL 'P1D' > 5", "field 'id' is not a timestamptz datatype"),
        ("made > ISO 'soon'", "invalid timestamp string: 'soon'. Does not match any known format"),
        ("made + INTERVAL '1D' > ISO '2025-01-01T00:00:00Z'", "invalid ISO 8601 duration: '1D'"),
        (
            "made * INTERVAL 'P1D' > 5",
            "INTERVAL can only be added to or subtracted from a timestamptz field: made * INTERVAL 'P1D'",
        ),
        ("made + 1 > 5", "add cannot apply on timestamptz field"),
        ("made > '2025-01-01T00:00:00Z'", "comparisons between Timestamptz and VarChar are not supported"),
        ("made > 1.5", "comparisons between Timestamptz and Double are not supported"),
        ("made", "predicate is not a boolean expression: made, data type: Timestamptz"),
        ("made == id", "comparisons between Timestamptz and Int64 are not supported"),
        ("made like 'a%'", "like operation on non-string or no-json field is unsupported"),
        ("geo == 'POINT (1 1)'", "comparisons between Geometry and VarChar are not supported"),
        ("geo == geo", "comparisons between Geometry and Geometry are not supported"),
        ("geo in ['POINT (1 1)']", "value ''POINT (1 1)'' in list cannot be casted to Geometry"),
        ("st_within(geo)", "function st_within does not accept these parameters: st_within(geo)"),
        ("st_within(id, 'POINT (1 1)')", "st_within: field 'id' is not a geometry datatype"),
        (
            "st_within(geo, 'POINT')",
            "failed to parse the geometry of st_within: cannot parse WKT: expected '(', found ''",
        ),
        ("st_around(geo, 'POINT (1 1)')", "function st_around(Geometry, string) not found"),
        ("St_Within(geo, 'POINT (1 1)')", "function st_within(Geometry, string) not found"),
        (
            "st_dwithin(geo, 'LINESTRING (0 0, 1 1)', 5)",
            "st_dwithin only supports a POINT geometry, but got: 'LINESTRING (0 0, 1 1)'",
        ),
        (
            "st_dwithin(geo, 'POINT (0 0)', '5')",
            "the distance of st_dwithin must be a number of meters that is not negative, but got: '5'",
        ),
        (
            "st_dwithin(geo, 'POINT (0 0)', -5)",
            "the distance of st_dwithin must be a number of meters that is not negative, but got: -5",
        ),
    ];
    for (text, expected) in cases {
        let refused = parse(text, &schema(), &Templates::new()).unwrap_err().to_string();
        assert_eq!(refused, expected, "{text}");
    }
}

#[test]
fn a_time_without_offset_is_one_of_the_zone() {
    let shanghai = TimeZone::named("Asia/Shanghai").unwrap();
    let text = "made >= ISO '1970-01-01T08:00:00' and ISO '1970-01-01T00:00:01Z' > made";
    let rows = batch(&[(-1, None, None), (0, None, None), (1_000_000, None, None)]);

    let in_shanghai = parse_in(text, &schema(), &Templates::new(), &shanghai).unwrap();

    assert_eq!(in_shanghai.evaluate(&rows).unwrap().iter().collect::<Vec<_>>(), [1]);
    assert_eq!(found(text, &rows), Vec::<usize>::new());
}

fn instant() -> impl Strategy<Value = i64> {
    let near = (-40_i64..40).prop_map(|hours| 1_709_164_800_000_000 + hours * 3_600_000_000);
    prop_oneof![8 => near, 1 => EARLIEST..=LATEST, 1 => Just(EARLIEST), 1 => Just(LATEST)]
}

fn place() -> impl Strategy<Value = (i32, i32)> {
    (-6_i32..7, -6_i32..7)
}

fn shape_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => place().prop_map(|(x, y)| format!("POINT ({x} {y})")),
        1 => (place(), place()).prop_map(|((x, y), (a, b))| format!("LINESTRING ({x} {y}, {a} {b})")),
        1 => (place(), 1_i32..5).prop_map(|((x, y), side)| {
            let (right, top) = (x + side, y + side);
            format!("POLYGON (({x} {y}, {right} {y}, {right} {top}, {x} {top}, {x} {y}))")
        }),
        1 => (place(), place()).prop_map(|((x, y), (a, b))| format!("MULTIPOINT (({x} {y}), ({a} {b}))")),
        1 => Just("POINT EMPTY".to_owned()),
        1 => Just("POLYGON ((0 0, 5 5, 5 0, 0 5, 0 0))".to_owned()),
        1 => Just("POINT (300 95)".to_owned()),
    ]
}

type Row = (i64, Option<i64>, Option<String>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    vec((instant(), prop::option::of(instant()), prop::option::of(shape_text())), 0..80)
}

fn accepts(sign: &str, order: Ordering) -> bool {
    match sign {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "==" => order.is_eq(),
        _ => order.is_ne(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn instants_compare_as_numbers(
        all in rows(),
        bound in instant(),
        sign in select(&["<", "<=", ">", ">=", "==", "!="]),
        by in prop::option::of((0_i64..3, 0_i64..100_000_000_000, any::<bool>())),
        negated in any::<bool>(),
    ) {
        let by = by.map(|(months, micros, back)| {
            let by = Interval { months, micros };
            if back { by.reversed() } else { by }
        });
        let operand = |name: &str| by.map_or(name.to_owned(), |by| format!("{name} + INTERVAL '{by}'"));
        let batch = batch(&all);
        for nullable in [false, true] {
            let name = if nullable { "seen" } else { "made" };
            let shown = calendar::show(bound, &TimeZone::default());
            let text = format!("{} {sign} ISO '{shown}'", operand(name));
            let text = if negated { format!("not ({text})") } else { text };
            let is = |row: &Row| {
                let value = if nullable { row.1? } else { row.0 };
                let value = by.map_or(value, |by| by.after(value));
                Some(accepts(sign, value.cmp(&bound)) != negated)
            };
            let expected: Vec<usize> = (0..all.len()).filter(|&row| is(&all[row]) == Some(true)).collect();
            prop_assert_eq!(found(&text, &batch), expected, "{}", text);
        }
    }

    #[test]
    fn lists_of_instants_have_those_that_are_in_them(all in rows(), wanted in vec(instant(), 0..4)) {
        let texts: Vec<String> =
            wanted.iter().map(|one| format!("ISO '{}'", calendar::show(*one, &TimeZone::default()))).collect();
        let text = format!("seen in [{}]", texts.join(", "));
        let is = |row: &usize| all[*row].1.is_some_and(|seen| wanted.contains(&seen));
        let expected: Vec<usize> = (0..all.len()).filter(is).collect();
        prop_assert_eq!(found(&text, &batch(&all)), expected);
    }

    #[test]
    fn shapes_are_found_whether_there_is_an_index_or_not(
        all in rows(),
        given in shape_text(),
        function in select(&["st_equals", "st_touches", "st_overlaps", "st_crosses", "st_contains", "st_intersects", "st_within"]),
        negated in any::<bool>(),
    ) {
        let (_, relation) = shape::Relation::ALL.into_iter().find(|(name, _)| *name == function).unwrap();
        let to = shape::Shape::read(&shape::parse(&given).unwrap()).unwrap();
        let is = |row: &usize| {
            let text = all[*row].2.as_ref()?;
            Some(to.prepared(relation).holds(relation, &shape::parse(text).unwrap()) != negated)
        };
        let expected: Vec<usize> = (0..all.len()).filter(|row| is(row) == Some(true)).collect();
        let text = format!("{function}(geo, '{given}')");
        let text = if negated { format!("not {text}") } else { text };
        prop_assert_eq!(found(&text, &batch(&all)), expected, "{}", text);
    }

    #[test]
    fn what_is_near_is_found_whether_there_is_an_index_or_not(
        all in rows(),
        (x, y) in prop_oneof![place(), Just((180, 0)), Just((0, 90)), Just((-60, 95))],
        metres in prop_oneof![Just(0.0), 0.0..1e6_f64, Just(1e30)],
    ) {
        let near = shape::Near { center: [f64::from(x), f64::from(y)], metres };
        let is = |row: &usize| all[*row].2.as_ref().is_some_and(|text| near.holds(&shape::parse(text).unwrap()));
        let expected: Vec<usize> = (0..all.len()).filter(is).collect();
        let text = format!("st_dwithin(geo, 'POINT ({x} {y})', {metres:?})");
        prop_assert_eq!(found(&text, &batch(&all)), expected, "{}", text);
    }
}
