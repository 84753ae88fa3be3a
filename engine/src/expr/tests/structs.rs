//! Claims about filters of arrays of structs.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::model::{StructField, VectorElement};

/// A key and a nullable struct `s` of numbers `n`, texts `t` and vectors `v`, beside a number `d`.
fn of_structs() -> Schema {
    let fields = [
        ("id", DataType::Int64, false),
        ("d", DataType::Int64, false),
        ("s[n]", DataType::Array(ElementType::Int64), true),
        ("s[t]", DataType::Array(ElementType::VarChar), true),
        ("s[v]", DataType::ArrayOfVector(VectorElement::Float), true),
    ];
    let fields: Vec<Field> = (100..)
        .zip(fields)
        .map(|(id, (name, data_type, nullable))| field(id, name, data_type, nullable))
        .collect();
    let structs = vec![StructField {
        id: FieldId(200),
        name: "s".to_owned(),
        description: String::new(),
        nullable: true,
        parts: fields[2..].iter().map(|field| field.id).collect(),
        type_params: Vec::new(),
    }];
    Schema {
        description: String::new(),
        fields,
        enable_dynamic_field: false,
        functions: Vec::new(),
        structs,
        youngest_dropped: None,
    }
}

/// A row whose elements have these `n` and `t`; its `d` is ten times its key.
fn row(id: i64, elements: Option<&[(i64, &str)]>) -> Vec<Value> {
    let array = |value: fn(&(i64, &str)) -> Value| match elements {
        Some(elements) => Value::Array(elements.iter().map(value).collect()),
        None => Value::Null,
    };
    vec![
        Value::Int(id),
        Value::Int(id * 10),
        array(|(number, _)| Value::Int(*number)),
        array(|(_, text)| Value::Text((*text).to_owned())),
        array(|(number, _)| Value::Vector(vec![*number as f32])),
    ]
}

/// Rows with the elements `n`, `t` each: two of a kind, mixed, none, and no array at all.
fn rows() -> Batch {
    batch(
        &of_structs(),
        &[
            row(0, Some(&[(1, "red"), (5, "red")])),
            row(1, Some(&[(5, "blue"), (1, "red"), (7, "blue")])),
            row(2, Some(&[])),
            row(3, None),
            row(4, Some(&[(9, "green")])),
        ],
    )
}

fn parsed(text: &str) -> Filter {
    parse(text, &of_structs(), &Templates::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    match parse(text, &of_structs(), &Templates::new()) {
        Ok(filter) => panic!("{text} is {filter}"),
        Err(error) => error.to_string(),
    }
}

const CASES: [(&str, &[usize]); 29] = [
    ("match_any(s, $[n] == 5)", &[0, 1]),
    ("MATCH_ANY(s, $[n] == 5 && $[t] == 'red')", &[0]),
    ("match_all(s, $[t] == 'red')", &[0, 2]),
    ("match_all(s, $[t] == 'red' || $[n] > 4)", &[0, 1, 2, 4]),
    ("match_least(s, $[t] == 'blue', threshold=2)", &[1]),
    ("match_most(s, $[t] == 'red', threshold=0)", &[2, 4]),
    ("match_most(s, $[t] == 'red', threshold=1)", &[1, 2, 4]),
    ("match_exact(s, $[n] > 4, threshold=1)", &[0, 4]),
    ("not match_any(s, $[n] == 5)", &[2, 4]),
    ("d >= 10 and match_any(s, $[n] == 5)", &[1]),
    ("match_any(s, $[n] == 9) or d == 30", &[3, 4]),
    ("match_any(s, 4 < $[n] <= 7)", &[0, 1]),
    ("match_any(s, $[n] in [9, 10])", &[4]),
    ("match_any(s, $[t] like 'gr%')", &[4]),
    ("match_any(s, $[t] =~ '^b')", &[1]),
    ("match_any(s, $[n] + 1 == 10)", &[4]),
    ("match_any(s, not ($[n] < 9))", &[4]),
    ("match_all(s, true)", &[0, 1, 2, 4]),
    ("element_filter(s, $[n] >= 7)", &[1, 4]),
    ("d < 20 && element_filter(s, $[n] >= 7)", &[1]),
    ("array_contains(s[n], 9)", &[4]),
    ("array_contains_all(s[t], ['red', 'blue'])", &[1]),
    ("array_length(s[n]) == 0", &[2]),
    ("s[0][n] == 1", &[0]),
    ("s[n][1] == 1", &[1]),
    ("s[0][t] in ['blue', 'green']", &[1, 4]),
    ("1 < s[0][n] < 9", &[1]),
    ("s is null", &[3]),
    ("s is not null and s[n] is not null", &[0, 1, 2, 4]),
];

#[test]
fn statements_about_elements_choose_their_rows() {
    for (text, expected) in CASES {
        let filter = parsed(text);
        let found: Vec<usize> = filter.evaluate(&rows()).unwrap().iter().collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn statements_about_elements_come_back_from_text_and_from_bytes() {
    for (text, _) in CASES {
        let filter = parsed(text);
        assert_eq!(parsed(&filter.to_string()), filter, "{text} as {filter}");
        assert_eq!(Filter::from_bytes(&filter.to_bytes()), Ok(filter), "{text}");
    }
}

#[test]
fn statements_about_elements_are_long_work_and_those_about_whole_arrays_are_not() {
    for (text, _) in CASES {
        let filter = parsed(text);
        let of_elements = text.to_ascii_lowercase();
        let of_elements = of_elements.contains("match_") || of_elements.contains("element_filter");
        assert_eq!(filter.is_long_work(), of_elements, "{text}");
    }
}

#[test]
fn a_filter_of_elements_tells_which() {
    let chosen = |text: &str| {
        let elements = parsed(text).elements(&rows(), None).unwrap();
        elements.map(|elements| elements.iter().collect::<Vec<usize>>())
    };

    // All elements on end: 1 5, 5 1 7, 9.
    assert_eq!(chosen("element_filter(s, $[n] == 5)"), Some(vec![1, 2]));
    assert_eq!(chosen("d > 0 and element_filter(s, $[n] >= 5)"), Some(vec![2, 4, 5]));
    assert_eq!(chosen("d == 40 or element_filter(s, $[n] == 1)"), Some(vec![0, 3, 5]));
    assert_eq!(chosen("match_any(s, $[n] == 5)"), None);
    assert_eq!(parsed("d > 0 and element_filter(s, $[n] == 5)").struct_of_elements(), Some("s"));
}

#[test]
fn what_is_no_statement_about_elements_is_refused() {
    let cases = [
        ("match_any(x, $[n] > 0)", "struct array field not found: x"),
        ("match_any(s, $[x] > 0)", "field s[x] not exist"),
        ("match_any(s, d > 0)", "only sub-fields of the element"),
        ("match_any(s, s[n][0] > 0)", "only sub-fields of the element"),
        ("$[n] > 0", "$[n] can only be used inside element_filter or match expressions"),
        ("match_any(s, match_all(s, $[n] > 0))", "cannot be nested"),
        ("element_filter(s, element_filter(s, $[n] > 0))", "cannot be nested"),
        ("element_filter(s, $[n] > 0) and d > 1", "can only be the last operand"),
        ("element_filter(s, $[n] > 0) or d > 1", "can only be the last operand"),
        ("not element_filter(s, $[n] > 0)", "can only be the last operand"),
        ("match_least(s, $[n] > 0, threshold=0)", "a whole number of at least 1"),
        ("match_most(s, $[n] > 0, threshold=-1)", "a whole number of at least 0"),
        ("match_exact(s, $[n] > 0, threshold=1.5)", "a whole number of at least 0"),
        ("match_least(s, $[n] > 0)", "does not accept these parameters"),
        ("match_all(s)", "does not accept these parameters"),
        ("element_filter()", "does not accept these parameters"),
        ("match_any(s, $[n])", "not a boolean expression"),
        ("match_any(s, $[v] == 1)", ""),
        ("s[v][0] == 1", ""),
    ];
    for (text, part) in cases {
        let found = refusal(text);
        assert!(found.contains(part), "{text}: {found}");
    }
}

/// What may be said of an element, and whether it is true of one.
const SAID: [(&str, fn(i64, &str) -> bool); 6] = [
    ("$[n] > 2", |number, _| number > 2),
    ("$[t] == 'a'", |_, text| text == "a"),
    ("$[n] > 1 and $[t] != 'b'", |number, text| number > 1 && text != "b"),
    ("$[n] == 3 or $[t] like 'a%'", |number, text| number == 3 || text.starts_with('a')),
    ("not ($[n] in [1, 2])", |number, _| number != 1 && number != 2),
    ("$[n] * 2 <= 4", |number, _| number * 2 <= 4),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn elements_are_looked_at_as_one_by_one(
        all in prop::collection::vec(
            prop::option::weighted(0.9, prop::collection::vec((0_i64..6, 0_usize..3), 0..5)),
            1..60,
        ),
        (which, from) in (0_usize..6, 0_i64..60),
        wanted in prop::option::of(prop::collection::vec(any::<Index>(), 0..6)),
    ) {
        let named = |(number, text): &(i64, usize)| (*number, ["a", "ab", "b"][*text]);
        let all: Vec<Option<Vec<(i64, &str)>>> = all
            .iter()
            .map(|elements| elements.as_ref().map(|elements| elements.iter().map(named).collect()))
            .collect();
        let rows: Vec<Vec<Value>> =
            (0..).zip(&all).map(|(id, elements)| row(id, elements.as_deref())).collect();
        let rows = batch(&of_structs(), &rows);
        let (said, is_so) = SAID[which];
        let from = from.min(all.len() as i64 - 1);
        let wanted = wanted.map(|picked| {
            let mut rows = Bitset::none(all.len());
            picked.iter().for_each(|index| rows.insert(index.index(all.len())));
            rows
        });

        let filter = parsed(&format!("id >= {from} and element_filter(s, {said})"));
        let chosen = filter.elements(&rows, wanted.as_ref()).unwrap().unwrap();

        let mut expected = Vec::new();
        let mut place = 0;
        for (at, elements) in all.iter().enumerate() {
            let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(at)) && at as i64 >= from;
            for (number, text) in elements.iter().flatten() {
                if is_wanted && is_so(*number, text) {
                    expected.push(place);
                }
                place += 1;
            }
        }
        prop_assert_eq!(chosen.iter().collect::<Vec<usize>>(), expected);
        prop_assert_eq!(chosen.len(), place);
        let cases: [(&str, fn(usize, usize) -> bool); 4] = [
            ("element_filter(s, SAID)", |passed, _| passed > 0),
            ("match_all(s, SAID)", |passed, length| passed == length),
            ("match_least(s, SAID, threshold=2)", |passed, _| passed >= 2),
            ("not match_any(s, SAID)", |passed, _| passed == 0),
        ];
        for (text, is_met) in cases {
            let text = format!("id >= {from} and {}", text.replace("SAID", said));
            let found: Vec<usize> = parsed(&text).evaluate(&rows).unwrap().iter().collect();
            let is_hit = |at: &usize| {
                let passed = |elements: &Vec<(i64, &str)>| {
                    let count = elements.iter().filter(|(number, text)| is_so(*number, text)).count();
                    is_met(count, elements.len())
                };
                *at as i64 >= from && all[*at].as_ref().is_some_and(passed)
            };
            let expected: Vec<usize> = (0..all.len()).filter(is_hit).collect();
            prop_assert_eq!(found, expected, "{}", text);
        }
    }
}
