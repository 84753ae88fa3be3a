//! Filters over columns with indexes give what they give without, for any expression and any set of indexes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::random::{expression, row};
use super::{batch, filter, schema};
use crate::base::{FieldId, IndexId};
use crate::expr::{ColumnIndex, ColumnIndexSpec, Rows, Templates, parse};
use crate::model::{Batch, Bitset, Column, ColumnData, DataType, IndexDefinition, Value};

/// Rows with indexes of some of their columns.
struct Indexed {
    rows: Batch,
    indexes: Vec<Arc<ColumnIndex>>,
}

impl Indexed {
    fn new(rows: Batch, specs: &[ColumnIndexSpec]) -> Self {
        let build = |spec: &ColumnIndexSpec| {
            let column = rows.column(spec.field()).unwrap();
            Arc::new(ColumnIndex::build(spec, column).unwrap())
        };
        Self { indexes: specs.iter().map(build).collect(), rows }
    }
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

fn spec(field: &str, params: &[(&str, &str)]) -> Option<ColumnIndexSpec> {
    let schema = schema();
    let field = schema.field(field).unwrap();
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ColumnIndexSpec::of(&IndexDefinition::wanted(IndexId(1), "", field, params), field)
}

/// One of every kind of index on every field and path that random expressions name.
fn specs() -> Vec<ColumnIndexSpec> {
    let columns =
        ["id", "b", "i8", "i16", "i32", "i64", "f", "d", "s", "t", "ab", "ai", "as", "af", "ad", "at"];
    let mut all: Vec<_> = columns.iter().map(|name| spec(name, &[])).collect();
    for (name, letters) in [("s", "1"), ("t", "2")] {
        let params = [("index_type", "NGRAM"), ("min_gram", letters), ("max_gram", "3")];
        all.push(spec(name, &params));
    }
    let paths = [
        ("j", "j['k']"),
        ("j", "j['a'][1]"),
        ("j", "j[0]"),
        ("j", "j['文\\n\"']['k']"),
        ("$meta", "k"),
        ("$meta", "a"),
        ("$meta", "a['k']"),
        ("$meta", "k[0][0]"),
    ];
    for (field, path) in paths {
        for cast in ["BOOL", "DOUBLE", "VARCHAR", "ARRAY_DOUBLE"] {
            all.push(spec(field, &[("json_path", path), ("json_cast_type", cast)]));
        }
        let grams =
            [("json_path", path), ("json_cast_type", "VARCHAR"), ("index_type", "NGRAM"), ("min_gram", "1")];
        all.push(spec(field, &grams));
    }
    all.into_iter().map(Option::unwrap).collect()
}

/// Checks that `filter` has the same answer with and without indexes, and the same as a list where it gives one.
fn check(text: &str, rows: &Indexed) -> Result<(), TestCaseError> {
    let filter =
        parse(text, &schema(), &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let expected = filter.evaluate(&rows.rows).unwrap();
    prop_assert_eq!(filter.evaluate(rows).unwrap(), expected.clone(), "{}", filter.explain(rows));
    if let Some(few) = filter.evaluate_few(rows).unwrap() {
        prop_assert_eq!(few, expected.iter().collect::<Vec<_>>(), "{}", filter.explain(rows));
    }
    Ok(())
}

/// `rows`, over and over, until there are `count`.
fn tiled(rows: &[Vec<Value>], count: usize) -> Batch {
    let once = batch(&schema(), rows);
    let which: Vec<usize> = (0..count).map(|at| (at * 7) % rows.len()).collect();
    once.take(&which)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn indexes_change_no_answer(
        case in expression(),
        rows in vec(row(), 0..70),
        chosen in vec(any::<bool>(), 58),
    ) {
        let specs: Vec<_> = specs().into_iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(spec, _)| spec).collect();
        check(&case.text, &Indexed::new(batch(&schema(), &rows), &specs))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rows_that_few_are_left_of_are_copied_and_compared_alike(
        cases in vec(expression(), 4),
        rows in vec(row(), 1..70),
        keys in vec(0..4300_i64, 3),
    ) {
        let mut rows = tiled(&rows, 4200);
        // Few rows have each of these keys, so that the rest of a filter is looked at for few.
        rows.columns[0].data = ColumnData::Int64((0..4200).map(|at| (at * 11) % 4200 / 3).collect());
        let rows = Indexed::new(rows, &specs());
        for case in cases {
            check(&case.text, &rows)?;
            check(&format!("id in {keys:?} and ({})", case.text), &rows)?;
            check(&format!("(id == {} and ({})) or id == {}", keys[0], case.text, keys[1]), &rows)?;
            check(&format!("not (id >= 3 and ({}))", case.text), &rows)?;
        }
    }

    #[test]
    fn numbers_that_are_none_and_zeros_of_either_sign_are_found_as_they_are_compared(
        values in vec(select(vec![f64::NAN, -0.0, 0.0, 1.5, -2.0, f64::INFINITY, f64::NEG_INFINITY, 3.0, 1e300]), 0..200),
        many in vec(-300..300_i32, 0..200),
        valid in vec(any::<bool>(), 400),
    ) {
        let all: Vec<f64> = values.iter().copied().chain(many.iter().map(|&one| f64::from(one) / 4.0)).collect();
        let valid = Bitset::from_fn(all.len(), |row| valid[row]);
        let column = |name: &str, data| Column { field: schema().field(name).unwrap().id, data, valid: Some(valid.clone()) };
        let columns = vec![
            column("f", ColumnData::Float(all.iter().map(|&value| value as f32).collect())),
            column("d", ColumnData::Double(all.clone())),
        ];
        let rows = Batch { rows: all.len(), columns };
        let rows = Indexed::new(rows, &[spec("f", &[]).unwrap(), spec("d", &[]).unwrap()]);
        for name in ["f", "d"] {
            for sign in ["<", "<=", ">", ">=", "==", "!="] {
                for value in ["0", "0.0", "1.5", "-2", "1e300", "-1e300", "3", "17.25"] {
                    check(&format!("{name} {sign} {value}"), &rows)?;
                    check(&format!("not ({name} {sign} {value})"), &rows)?;
                }
            }
            check(&format!("{name} in [0, 3.0, 1.5, 100]"), &rows)?;
        }
    }
}

#[test]
fn the_form_of_an_index_follows_from_field_type_and_parameters() {
    let none = [
        spec("v", &[]),
        spec("j", &[("json_cast_type", "JSON"), ("json_path", "j['k']")]),
        spec("j", &[]),
        spec("s", &[("index_type", "NGRAM")]),
        spec("i64", &[("index_type", "RTREE")]),
    ];
    assert_eq!(none, [None, None, None, None, None]);
    let kinds = ["INVERTED", "BITMAP", "STL_SORT", "Trie", "AUTOINDEX"]
        .map(|kind| spec("s", &[("index_type", kind)]));
    assert!(kinds.iter().all(|one| one.is_some() && *one == kinds[0]));
    assert_ne!(spec("s", &[("index_type", "NGRAM"), ("min_gram", "2")]), kinds[0]);
}

/// 3000 rows: keys, numbers from 0 to 9, texts, and the number as JSON.
fn some_rows(specs: &[ColumnIndexSpec]) -> Indexed {
    let rows: Vec<Vec<Value>> = (0..3000_i64)
        .map(|at| {
            let value = |name: &str, data_type| match name {
                "id" => Value::Int(at * 17 % 3000),
                "i8" => Value::Int(at % 10),
                "s" => Value::Text(format!("word{} of {at}", at % 100)),
                "j" => Value::Json(format!("{{\"k\": {at}}}")),
                "$meta" => Value::Json("{}".to_owned()),
                _ => match data_type {
                    DataType::VarChar => Value::Text(String::new()),
                    DataType::FloatVector => Value::Vector(vec![0.0, 1.0]),
                    DataType::Array(_) => Value::Array(Vec::new()),
                    DataType::Int16 => Value::Int(0),
                    DataType::Double => Value::Double(0.0),
                    _ => Value::Null,
                },
            };
            schema().fields.iter().map(|field| value(&field.name, field.data_type)).collect()
        })
        .collect();
    Indexed::new(batch(&schema(), &rows), specs)
}

#[test]
fn a_plan_says_what_is_looked_up_and_what_is_compared() {
    let specs = [
        spec("id", &[]),
        spec("i8", &[]),
        spec("s", &[("index_type", "NGRAM"), ("min_gram", "4")]),
        spec("j", &[("json_path", "j['k']"), ("json_cast_type", "DOUBLE")]),
    ];
    let rows = some_rows(&specs.map(Option::unwrap));
    let explain = |text: &str| filter(text).explain(&rows);

    assert_eq!(explain("id in [5, 7]"), "2 of 3000 rows looked up, none compared");
    assert_eq!(explain("id == 5 or j['k'] > 2990"), "10 of 3000 rows looked up, none compared");
    assert_eq!(explain("i16 == 0 and id < 20 and i8 == 3"), "20 of 3000 rows looked up, each compared");
    assert_eq!(
        explain("i8 == 3 and i16 == 0"),
        "i8 == 3: an index has 300 rows; i16 == 0: rows are compared"
    );
    assert_eq!(explain("not (id == 1)"), "id == 1: an index has 1 rows");
    assert_eq!(explain("i8 + 1 == 3"), "i8 + 1 == 3: rows are compared");
    assert!(explain("s like '%17 of 1017'").ends_with("rows looked up, each compared"));
    assert_eq!(filter("id == 5 and i16 == 1").few_rows(&rows), Some(1));
    assert_eq!(filter("i16 == 1").few_rows(&rows), None);
}

#[test]
fn an_index_of_sorted_or_few_values_takes_little_memory() {
    let build = |data: ColumnData| {
        let column = Column { field: schema().field("i64").unwrap().id, data, valid: None };
        ColumnIndex::build(&spec("i64", &[]).unwrap(), &column).unwrap().memory_bytes()
    };
    let count = 64_000;

    assert!(build(ColumnData::Int64((0..count).collect())) < 1_000, "rows are in order");
    assert!(build(ColumnData::Int64((0..count).map(|at| at % 2).collect())) < 20_000, "two sets of rows");
    assert!(build(ColumnData::Int64((0..count).rev().collect())) < 257_000, "four bytes a row");
}

/// `cargo test -p engine --lib expr::tests::indexed -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn how_much_faster_indexes_are() {
    let count = 1_000_000_i64;
    let column = |name: &str, data| Column { field: schema().field(name).unwrap().id, data, valid: None };
    let mixed = |at: i64| at * 7_919 % count;
    let texts = (0..count).map(|at| format!("word{} {}", mixed(at) % 1000, mixed(at))).collect::<Vec<_>>();
    let json = (0..count).map(|at| format!("{{\"a\": 1, \"k\": {}}}", mixed(at))).collect::<Vec<_>>();
    let columns = vec![
        column("i64", ColumnData::Int64((0..count).map(mixed).collect())),
        column("i8", ColumnData::Int8((0..count).map(|at| (at % 100) as i8).collect())),
        column("s", ColumnData::VarChar(texts.iter().map(String::as_str).collect())),
        column("j", ColumnData::Json(json.iter().map(String::as_str).collect())),
    ];
    let rows = Batch { rows: count as usize, columns };
    let specs = [
        spec("i64", &[]),
        spec("i8", &[]),
        spec("s", &[]),
        spec("s", &[("index_type", "NGRAM"), ("min_gram", "4")]),
        spec("j", &[("json_path", "j['k']"), ("json_cast_type", "DOUBLE")]),
    ];
    let start = Instant::now();
    let indexed = Indexed::new(rows, &specs.map(Option::unwrap));
    let bytes: usize = indexed.indexes.iter().map(|index| index.memory_bytes()).sum();
    println!("built in {:?}, {bytes} bytes", start.elapsed());
    let timed = |work: &dyn Fn() -> usize| {
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < 1_000 && start.elapsed() < Duration::from_millis(500) {
            work();
            rounds += 1;
        }
        start.elapsed() / rounds.max(1)
    };
    for text in [
        "i64 == 77",
        "i64 < 10000",
        "i64 < 500000",
        "i64 != 3",
        "i8 == 7",
        "i8 == 7 and i64 < 1000",
        "s == 'word77 77'",
        "s like 'word77%'",
        "s like '%99999%'",
        "j['k'] < 10000",
        "i64 < 10000 and s like '%7'",
        "i64 in [1, 2, 3] or j['k'] == 9",
    ] {
        let filter = filter(text);
        let compared = timed(&|| filter.evaluate(&indexed.rows).unwrap().count());
        let looked_up = timed(&|| match filter.evaluate_few(&indexed).unwrap() {
            Some(few) => few.len(),
            None => filter.evaluate(&indexed).unwrap().count(),
        });
        let ratio = compared.as_secs_f64() / looked_up.as_secs_f64();
        println!(
            "{text}: compared {compared:?}, looked up {looked_up:?}, {ratio:.1} times: {}",
            filter.explain(&indexed)
        );
    }
}
