//! Words and phrases in texts.

use crate::base::FieldId;
use crate::expr::{Filter, Literal, Templates, parse};
use crate::model::fixture::schema_of;
use crate::model::{Batch, Bitset, Column, ColumnData, DataType, Field, Schema, Texts};

/// A key, `t` whose English words are matched, `s` whose words are not.
fn schema() -> Schema {
    let field = |id, name: &str, data_type, params: &[(&str, &str)]| Field {
        id: FieldId(id),
        name: name.to_owned(),
        description: String::new(),
        data_type,
        is_primary: id == 100,
        auto_id: false,
        is_dynamic: false,
        nullable: id == 101,
        default: None,
        is_partition_key: false,
        is_clustering_key: false,
        type_params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let english = [("enable_match", "true"), ("analyzer_params", r#"{"type": "english"}"#)];
    let fields = vec![
        field(100, "id", DataType::Int64, &[]),
        field(101, "t", DataType::VarChar, &english),
        field(102, "s", DataType::VarChar, &[]),
    ];
    schema_of(fields)
}

/// Rows of `t`; the last one has no value.
fn rows(texts: &[&str]) -> Batch {
    let count = texts.len() + 1;
    let mut all: Texts = texts.iter().copied().collect();
    all.push("");
    let ids = ColumnData::Int64((0..count as i64).collect());
    let valid = Some(Bitset::from_fn(count, |row| row + 1 < count));
    let columns = vec![
        Column { field: FieldId(100), data: ids, valid: None },
        Column { field: FieldId(101), data: ColumnData::VarChar(all), valid },
    ];
    Batch { rows: count, columns }
}

fn found(text: &str, templates: &Templates) -> Vec<usize> {
    let texts = ["The quick foxes run", "A fox was running quickly", "quick brown dogs", ""];
    let filter = parse(text, &schema(), templates).unwrap_or_else(|error| panic!("{text}: {error}"));
    let again = parse(&filter.to_string(), &schema(), &Templates::new()).unwrap();
    assert_eq!(again, filter, "{filter} says the same");
    assert_eq!(Filter::from_bytes(&filter.to_bytes()).unwrap(), filter, "{filter} arrives as it was sent");
    assert_eq!(filter.fields().contains(&FieldId(101)), filter.is_long_work());
    filter.evaluate(&rows(&texts)).unwrap().iter().collect()
}

#[test]
fn texts_are_found_by_their_words() {
    let cases: [(&str, &[usize]); 13] = [
        ("text_match(t, \"fox\")", &[0, 1]),
        ("text_match(t, 'Dog RUN')", &[0, 1, 2]),
        ("text_match(t, 'fox quick brown', minimum_should_match=2)", &[0, 1, 2]),
        ("TEXT_MATCH(t, 'fox quick brown', minimum_should_match=3)", &[]),
        ("text_match(t, 'the was')", &[]),
        ("text_match(t, '')", &[]),
        ("not text_match(t, 'fox')", &[2, 3]),
        ("text_match(t, 'fox') and id > 0", &[1]),
        ("text_match(t, 'brown') or id == 4", &[2, 4]),
        ("phrase_match(t, 'quick fox')", &[0]),
        ("phrase_match(t, 'quick dog')", &[]),
        ("phrase_match(t, 'quick dog', 1)", &[2]),
        ("phrase_match(t, 'fox running', 1)", &[0, 1]),
    ];
    for (text, wanted) in cases {
        assert_eq!(found(text, &Templates::new()), wanted, "{text}");
    }
    let templates = [("words".to_owned(), Literal::Text("dogs".to_owned()))].into();
    assert_eq!(found("text_match(t, {words})", &templates), [2]);
}

#[test]
fn what_cannot_be_matched_is_refused_in_milvus_words() {
    let long = format!("phrase_match(t, '{}')", "a ".repeat(2100));
    let cases = [
        ("text_match(s, 'a')", "field \"s\" does not enable match"),
        ("phrase_match(s, 'a')", "field \"s\" does not enable match"),
        ("text_match(id, 'a')", "text match operation on non-string is unsupported"),
        ("phrase_match(id, 'a')", "phrase match operation on non-string is unsupported"),
        (
            "text_match(t, 'a', minimum_should_match=0)",
            "minimum_should_match should be a const integer in range [1, 1000]",
        ),
        (
            "text_match(t, 'a', minimum_should_match=1001)",
            "minimum_should_match should be a const integer in range",
        ),
        (
            "text_match(t, 'a', minimum_should_match='x')",
            "minimum_should_match should be a const integer in range",
        ),
        ("phrase_match(t, 'a', -1)", "\"slop\" should be a const integer expression with \"uint32\" value"),
        ("phrase_match(t, 'a', 4294967296)", "\"slop\" should be a const integer expression"),
        (long.as_str(), "cannot match texts of field t: the phrase has 4200 bytes"),
        ("text_match(x, 'a')", "field x not exist"),
    ];
    for (text, wanted) in cases {
        let refused = parse(text, &schema(), &Templates::new()).unwrap_err().to_string();
        assert!(refused.contains(wanted), "{text}: {refused}");
    }
    for text in ["text_match(t)", "text_match(t, s)", "text_match('a', 'b')", "phrase_match(t, 'a', 1, 2)"] {
        assert!(parse(text, &schema(), &Templates::new()).is_err(), "{text}");
    }
}
