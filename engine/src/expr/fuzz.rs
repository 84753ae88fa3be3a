//! Fuzz targets of filters: their texts, and their bytes between nodes.

#![expect(clippy::panic, reason = "how a target says what it has found")]

use super::{Filter, Literal, Templates, parse};
use crate::model::fuzz::fixture;
use crate::model::{Bitset, Zone};

/// Any text is refused, or a filter whose own text and bytes say the same, and that chooses the same rows in every way in which
/// rows are chosen.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (schema, rows) = fixture();
    let Ok(filter) = parse(text, schema, &templates()) else { return };
    let canonical = filter.to_string();
    assert_eq!(parse(&canonical, schema, &Templates::new()).as_ref(), Ok(&filter), "{canonical}");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()).as_ref(), Ok(&filter), "{canonical}");

    let found = filter.evaluate(rows).unwrap_or_else(|error| panic!("all columns are there: {error}"));
    if let Ok(Some(few)) = filter.evaluate_few(rows) {
        assert_eq!(few, found.iter().collect::<Vec<_>>(), "{canonical}");
    }
    let scalars = rows.columns.iter().filter(|column| !column.data.data_type().is_vector());
    let zones: Vec<Zone> = scalars.map(Zone::of).collect();
    let zone_of = |field| zones.iter().find(|zone| zone.field == field);
    assert!(found.count() == 0 || filter.may_hold(&zone_of), "{canonical}");
    let elements = filter.elements(rows, None);
    assert_eq!(elements.is_ok_and(|chosen| chosen.is_some()), filter.struct_of_elements().is_some());
    drop((filter.keys(schema), filter.explain(rows), filter.few_rows(rows), filter.is_long_work()));
    assert!(filter.fields().windows(2).all(|pair| pair[0] < pair[1]));
    let both = filter.clone().and(filter);
    let again: Bitset = both.evaluate(rows).unwrap_or_else(|error| panic!("both have columns: {error}"));
    assert_eq!(again, found, "{canonical}");
}

/// Any bytes are refused, or a filter that is written in one way.
pub fn filter(data: &[u8]) {
    let Ok(filter) = Filter::from_bytes(data) else { return };
    let written = filter.to_bytes();
    let again =
        Filter::from_bytes(&written).unwrap_or_else(|error| panic!("what is written is read: {error}"));
    assert_eq!(again.to_bytes(), written);
    drop((filter.to_string(), filter.fields(), filter.is_long_work(), filter.struct_of_elements().is_some()));
}

fn templates() -> Templates {
    let list = vec![Literal::Int(1), Literal::Int(5)];
    let values = [
        ("n", Literal::Int(5)),
        ("l", Literal::List(list)),
        ("t", Literal::Text("a%".to_owned())),
        ("h", Literal::Double(0.5)),
        ("y", Literal::Bool(true)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// One expression for nearly every form of the language.
const EXPRESSIONS: &[&str] = &[
    "id == 3",
    "3 <= id",
    "1 < i32 <= 5",
    "i8 != -1 && i16 >= 0x2",
    "not (b == true) or f > 0.5",
    "d < 1e3 and d > -.5e-2",
    "id in [1, 2, 3]",
    "id not in {l}",
    "s in [\"word 1 a%b\", 'x\\n']",
    "s == {t}",
    "i64 == {n} + 1",
    "d == {h} * 2",
    "b == {y}",
    "s like \"word%\"",
    "s like \"%a\\\\%b\"",
    "s like \"_ord _ a%\"",
    "s =~ \"^w.*[0-9]\"",
    "s is null",
    "s is not null",
    "j[\"k\"] == 3",
    "j[\"o\"][\"p\"] > 1.5",
    "j[\"l\"][1] == \"x\"",
    "json_contains(j[\"l\"], 2)",
    "json_contains_all(j[\"l\"], [1, \"x\"])",
    "JSON_CONTAINS_ANY(j[\"l\"], [1, 2])",
    "exists j[\"o\"]",
    "j[\"s\"] like \"a%\"",
    "$meta[\"k\"] == 1",
    "k > 1",
    "array_contains(ai, 3)",
    "array_contains_all(at, [\"word 1 a%b\"])",
    "array_contains_any(ai, [1, 2])",
    "array_length(ai) == 2",
    "ai[0] == 1",
    "at[1] like \"w%\"",
    "ai == [1, 2]",
    "i64 % 3 == 1",
    "i32 * 2 + 1 == 5",
    "(i64 - 1) / 2 > 0",
    "i8 ** 2 == 4",
    "text_match(s, 'word 3')",
    "text_match(s, 'word b', minimum_should_match=2)",
    "phrase_match(s, 'word a', 2)",
    "ts > ISO '2024-01-01T00:00:00Z'",
    "ts + INTERVAL 'P1D' < ISO '2025-01-01T00:00:00+08:00'",
    "st_within(g, 'POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))')",
    "ST_DWITHIN(g, 'POINT (1 1)', 5.5)",
    "st_intersects(g, 'LINESTRING (0 0, 4 4)')",
    "st_isvalid(g)",
    "element_filter(clips, $[n] > 1)",
    "match_any(clips, $[n] == 2)",
    "match_all(clips, $[n] < 9)",
    "match_least(clips, $[n] > 0, threshold=1)",
    "clips[0][n] == 1",
    "array_contains(clips[n], 2)",
    "clips is null",
    "random_sample(0.5)",
];

/// Inputs for [`expression`] to begin with.
pub fn expressions() -> Vec<Vec<u8>> {
    EXPRESSIONS.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Inputs for [`filter`] to begin with.
pub fn filters() -> Vec<Vec<u8>> {
    let (schema, _) = fixture();
    let parsed = EXPRESSIONS.iter().filter_map(|text| parse(text, schema, &templates()).ok());
    parsed.map(|filter| filter.to_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_expressions_to_begin_with_are_of_the_language() {
        let (schema, _) = fixture();
        let refused =
            EXPRESSIONS.iter().filter_map(|text| Some((text, parse(text, schema, &templates()).err()?)));
        let refused: Vec<String> = refused.map(|(text, error)| format!("{text}: {error}")).collect();

        assert!(refused.len() <= 4, "{}", refused.join("\n"));
    }
}
