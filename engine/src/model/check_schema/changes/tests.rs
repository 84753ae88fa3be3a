//! Claims about changes of a schema, as far as they are not decided with a collection beside them.

use super::super::{SchemaRequest, check_schema};
use super::*;

fn field(name: &str, data_type: i32, params: &[(&str, &str)]) -> FieldRequest {
    FieldRequest {
        name: name.to_owned(),
        data_type,
        is_primary: name == "id",
        type_params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..FieldRequest::default()
    }
}

fn schema(fields: Vec<FieldRequest>) -> Schema {
    let mut all = vec![field("id", 5, &[]), field("v", 101, &[("dim", "4")])];
    all.extend(fields);
    check_schema(&SchemaRequest { name: "c".to_owned(), fields: all, ..SchemaRequest::default() }).unwrap()
}

fn drop(schema: &Schema, name: &str) -> Result<Schema, String> {
    let id = schema.field(name).map(|field| field.id).unwrap();
    drop_field(schema, id).map_err(|error| error.to_string())
}

#[test]
fn keys_and_what_chooses_an_analyzer_are_not_dropped() {
    let analyzers = r#"{"analyzers": {"default": {}}, "by_field": "language"}"#;
    let schema = schema(vec![
        FieldRequest { is_partition_key: true, ..field("tenant", 5, &[]) },
        FieldRequest { is_clustering_key: true, ..field("time", 5, &[]) },
        field("language", 21, &[("max_length", "9")]),
        field(
            "text",
            21,
            &[("max_length", "9"), ("enable_analyzer", "true"), ("multi_analyzer_params", analyzers)],
        ),
    ]);

    for (name, text) in [
        ("tenant", "cannot drop partition key field: tenant: invalid parameter"),
        ("time", "cannot drop clustering key field: time: invalid parameter"),
        ("language", "cannot drop field language: it chooses the analyzer of field text: invalid parameter"),
        ("v", "cannot drop the last vector field: v: invalid parameter"),
    ] {
        assert_eq!(drop(&schema, name), Err(text.to_owned()));
    }
    let without = drop(&schema, "text").and_then(|schema| drop(&schema, "language")).unwrap();
    let names: Vec<&str> = without.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["id", "v", "tenant", "time"]);
    assert_eq!((without.newest(), without.youngest_dropped), (Some(FieldId(105)), Some(FieldId(105))));
}

#[test]
fn only_what_was_given_and_is_not_there_any_more_was_dropped() {
    let schema = drop(&schema(vec![field("a", 5, &[]), field("b", 5, &[])]), "a").unwrap();

    let dropped: Vec<i64> = (-1..110).filter(|id| schema.is_dropped(FieldId(*id))).collect();

    assert_eq!(dropped, [102]);
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
    let never = self::schema(Vec::new());
    assert!(!serde_json::to_string(&never).unwrap().contains("dropped"), "records stay as they were");
}

#[test]
fn a_struct_of_too_many_parts_does_not_fit() {
    let schema = schema((0..60).map(|at| field(&format!("f{at}"), 5, &[])).collect());
    let part = |name: &str| FieldRequest { element_type: 5, ..field(name, 22, &[("max_capacity", "4")]) };
    let of = |parts: &[&str]| StructRequest {
        name: "s".to_owned(),
        nullable: true,
        parts: parts.iter().map(|name| part(name)).collect(),
        ..StructRequest::default()
    };
    let fits = |parts: &[&str]| {
        let (of, parts) = check_added_struct(&of(parts), "c").map_err(|error| error.to_string())?;
        add_struct(&schema, of, parts).map(|new| new.fields.len()).map_err(|error| error.to_string())
    };

    assert_eq!(fits(&["a", "b"]), Ok(64));
    assert_eq!(
        fits(&["a", "b", "c"]),
        Err("The number of fields has reached the maximum value 64".to_owned())
    );
    assert_eq!(fits(&["a", "a"]), Err("duplicated field name s[a]".to_owned()));
    assert_eq!(fits(&[]), Err("struct array field s has no sub-field: invalid parameter".to_owned()));
}
