//! Claims about fields, arrays of structs and functions that come to and go from collections with rows.

use contract::pb::milvus::alter_collection_schema_request::action::Op;
use contract::pb::milvus::alter_collection_schema_request::drop_request::Identifier;
use contract::pb::milvus::alter_collection_schema_request::{Action, AddRequest, DropRequest, FieldInfo};
use contract::pb::schema::{FunctionSchema, FunctionType, StructArrayFieldSchema};

use super::models::{asks, loaded, loaded_by, schema_of_meanings};
use super::texts::{by_text, texts};
use super::*;
use crate::inference::fake::FakeModel;

async fn alter(proxy: &Proxy, op: Op) -> (i32, String) {
    let request = AlterCollectionSchemaRequest {
        collection_name: "c".to_owned(),
        action: Some(Action { op: Some(op) }),
        ..Default::default()
    };
    said(proxy.alter_collection_schema(Request::new(request)).await.unwrap().into_inner().alter_status)
}

fn info(field: FieldSchema, params: &[(&str, &str)]) -> FieldInfo {
    let extra_params = params.iter().map(|(key, value)| pair(key, value)).collect();
    FieldInfo { field_schema: Some(field), extra_params, ..Default::default() }
}

async fn add(proxy: &Proxy, field_infos: Vec<FieldInfo>, func_schema: Vec<FunctionSchema>) -> (i32, String) {
    alter(proxy, Op::AddRequest(AddRequest { field_infos, func_schema, ..Default::default() })).await
}

async fn drop_by(proxy: &Proxy, identifier: Identifier, drop_function_output_fields: bool) -> (i32, String) {
    let identifier = Some(identifier);
    alter(proxy, Op::DropRequest(DropRequest { identifier, drop_function_output_fields })).await
}

async fn drop_field(proxy: &Proxy, name: &str) -> (i32, String) {
    drop_by(proxy, Identifier::FieldName(name.to_owned()), false).await
}

fn good() -> (i32, String) {
    (0, String::new())
}

fn refused(text: &str) -> (i32, String) {
    (1100, format!("{text}: invalid parameter"))
}

async fn described(proxy: &Proxy) -> CollectionSchema {
    let request = DescribeCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };
    proxy.describe_collection(Request::new(request)).await.unwrap().into_inner().schema.unwrap()
}

async fn fields(proxy: &Proxy) -> Vec<(i64, String)> {
    described(proxy).await.fields.into_iter().map(|field| (field.field_id, field.name)).collect()
}

async fn keys(proxy: &Proxy, expr: &str) -> Vec<i64> {
    let found = query(proxy, expr, &["id"], &[("limit", "10")]).await;
    assert_good(found.status.as_ref().unwrap());
    found.fields_data.iter().find(|column| column.field_name == "id").map(longs).unwrap_or_default()
}

async fn found_by(proxy: &Proxy, text: &str) -> Vec<i64> {
    let found = search(proxy, by_text(text, &[])).await;
    assert_good(&found.status.unwrap());
    match found.results.unwrap().ids.and_then(|ids| ids.id_field) {
        Some(i_ds::IdField::IntId(ids)) => ids.data,
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_dropped_field_is_gone_and_one_of_its_name_has_none_of_its_values() {
    let proxy = with_collection(false, 2).await;
    let sent = vec![ids(&[1, 2]), vectors(2, &[1.0, 0.0, 2.0, 0.0]), names(&["a", "b"]), meta(&["{}", "{}"])];
    assert_good(&insert(&proxy, 2, sent).await.status.unwrap());
    assert_eq!(keys(&proxy, "name == 'b'").await, [2]);

    assert_eq!(drop_field(&proxy, "name").await, good());

    assert_eq!(
        fields(&proxy).await,
        [(100, "id"), (101, "vector"), (103, "age")].map(|(id, name)| (id, name.to_owned()))
    );
    assert_eq!(
        keys(&proxy, "name == 'b'").await,
        Vec::<i64>::new(),
        "it is a dynamic key now, which no row has"
    );
    let dynamic = vec![ids(&[3]), vectors(2, &[3.0, 0.0]), meta(&[r#"{"name": "dyn"}"#])];
    assert_good(&insert(&proxy, 1, dynamic).await.status.unwrap());
    assert_eq!(keys(&proxy, "name == 'dyn'").await, [3]);
    let again = FieldSchema { nullable: true, ..field("name", Wire::VarChar, &[("max_length", "9")]) };
    assert_eq!(add(&proxy, vec![info(again, &[])], Vec::new()).await, good());

    assert_eq!(keys(&proxy, "name is null").await, [1, 2, 3]);
    assert_eq!(keys(&proxy, "$meta['name'] == 'dyn'").await, [3]);
    assert!(fields(&proxy).await.contains(&(105, "name".to_owned())), "a number is never given again");
    assert_eq!(drop_by(&proxy, Identifier::FieldId(105), false).await, good());
    assert_eq!(drop_by(&proxy, Identifier::FieldId(105), false).await.0, 1700);
}

#[tokio::test]
async fn a_vector_field_goes_with_its_index_while_it_is_loaded_but_never_the_last() {
    let proxy = with_collection(false, 1).await;
    assert_eq!(drop_field(&proxy, "vector").await, refused("cannot drop the last vector field: vector"));
    let other = FieldSchema { nullable: true, ..field("other", Wire::FloatVector, &[("dim", "2")]) };
    assert_eq!(add(&proxy, vec![info(other, &[])], Vec::new()).await, good());

    assert_eq!(drop_field(&proxy, "vector").await, good());

    let request = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let indexes = proxy.describe_index(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(said(indexes.status).0, 700);
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_nothing_is_half_done() {
    let proxy = with_collection(false, 1).await;
    let before = described(&proxy).await;
    let nullable = |name: &str| FieldSchema { nullable: true, ..field(name, Wire::Int64, &[]) };
    let words = |input: &str| FunctionSchema {
        name: "words".to_owned(),
        r#type: FunctionType::Bm25.into(),
        input_field_names: vec![input.to_owned()],
        output_field_names: vec!["sparse".to_owned()],
        ..Default::default()
    };
    let sparse = || field("sparse", Wire::SparseFloatVector, &[]);
    let by_words = [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "BM25")];

    let drops = [
        (Identifier::FieldName("id".to_owned()), refused("cannot drop primary key field: id")),
        (Identifier::FieldName("$meta".to_owned()), refused("cannot drop dynamic field: $meta")),
        (Identifier::FieldName("nope".to_owned()), (1700, "field not found[field=nope]".to_owned())),
        (Identifier::FieldName(String::new()), refused("a field or a function to drop must be named")),
        (Identifier::FieldId(-1), refused("a field or a function to drop must be named")),
        (Identifier::FieldId(999), (1700, "field not found[field=999]".to_owned())),
        (Identifier::FunctionName("nope".to_owned()), refused("function not found: nope")),
    ];
    for (identifier, expected) in drops {
        assert_eq!(drop_by(&proxy, identifier.clone(), true).await, expected, "{identifier:?}");
    }
    let adds = [
        (vec![], vec![], "exactly one field must be added at a time"),
        (
            vec![info(nullable("x"), &[]), info(nullable("y"), &[])],
            vec![],
            "exactly one field must be added at a time",
        ),
        (vec![], vec![words("name")], "exactly one field must be added at a time"),
        (vec![FieldInfo::default()], vec![], "the field to add has no schema"),
        (
            vec![info(nullable("x"), &by_words)],
            vec![],
            "an index can only be added with a field that a function fills",
        ),
        (
            vec![info(sparse(), &by_words)],
            vec![words("name"), words("name")],
            "at most one function can be added at a time",
        ),
        (
            vec![info(nullable("x"), &[])],
            vec![words("name")],
            "function words does not fill field x that is to be added with it",
        ),
    ];
    for (infos, functions, text) in adds {
        assert_eq!(add(&proxy, infos, functions).await, refused(text));
    }
    let others = [
        (nullable("age"), vec![], "duplicated field name age"),
        (FieldSchema { nullable: false, ..nullable("x") }, vec![], "added field must be nullable"),
        (sparse(), vec![words("nope")], "function input field not found: nope"),
        (sparse(), vec![words("age")], "must be a VARCHAR/TEXT field"),
        (sparse(), vec![words("name")], "must set enable_analyzer to true"),
    ];
    for (field, functions, text) in others {
        let params = if functions.is_empty() { &[][..] } else { &by_words };
        let (code, reason) = add(&proxy, vec![info(field, params)], functions).await;
        assert!(code == 1100 && reason.contains(text), "{text} is not in {code} {reason}");
    }
    let nothing = AlterCollectionSchemaRequest { collection_name: "c".to_owned(), ..Default::default() };
    let answer = proxy.alter_collection_schema(Request::new(nothing)).await.unwrap().into_inner();
    assert_eq!(said(answer.alter_status), refused("a change of the schema must add or drop something"));
    let nowhere = AlterCollectionSchemaRequest { collection_name: "nope".to_owned(), ..Default::default() };
    let answer = proxy.alter_collection_schema(Request::new(nowhere)).await.unwrap().into_inner();
    assert_eq!(said(answer.alter_status).0, 100);
    assert_eq!(described(&proxy).await, before);
}

#[tokio::test]
async fn rows_that_are_there_lack_an_array_of_structs_that_comes_later() {
    let proxy = with_collection(false, 1).await;
    let sent = vec![ids(&[1]), vectors(2, &[1.0, 0.0]), meta(&["{}"])];
    assert_good(&insert(&proxy, 1, sent).await.status.unwrap());
    let add = async |nullable: bool| {
        let part = FieldSchema {
            element_type: Wire::Int64.into(),
            nullable,
            ..field("n", Wire::Array, &[("max_capacity", "3")])
        };
        let of = StructArrayFieldSchema {
            name: "s".to_owned(),
            fields: vec![part],
            nullable,
            ..Default::default()
        };
        let request = AddCollectionStructFieldRequest {
            collection_name: "c".to_owned(),
            struct_array_field_schema: Some(of),
            ..Default::default()
        };
        let answer = proxy.add_collection_struct_field(Request::new(request)).await.unwrap().into_inner();
        (answer.code, answer.reason)
    };

    assert_eq!(add(false).await.1, "added field must be nullable, please check it, field name = s");
    assert_eq!(add(true).await, good());
    assert_eq!(add(true).await.1, "duplicated field name s");

    assert_eq!(keys(&proxy, "s is null").await, [1]);
    let shown = described(&proxy).await.struct_array_fields;
    assert_eq!((shown[0].field_id, shown[0].fields[0].field_id, shown[0].nullable), (105, 106, true));
    assert_eq!(
        drop_field(&proxy, "s[n]").await,
        refused("cannot drop sub-field s[n] of struct field s, drop the struct field")
    );
    assert_eq!(drop_field(&proxy, "s").await, good());
    assert!(described(&proxy).await.struct_array_fields.is_empty());
    assert_eq!(add(true).await, good());
}

/// A loaded collection of texts with words that nobody counts yet, and rows 1 to 3.
async fn with_plain_texts() -> (Proxy, Arc<Twin>) {
    let twin = Twin::new();
    let schema = CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, ..field("id", Wire::Int64, &[]) },
            field("vector", Wire::FloatVector, &[("dim", "2")]),
            FieldSchema {
                nullable: true,
                ..field("text", Wire::VarChar, &[("max_length", "200"), ("enable_analyzer", "true")])
            },
        ],
        ..Default::default()
    };
    let proxy = loaded_by(Proxy::new(twin.parts()), &schema, &[], "vector").await;
    let sent =
        vec![ids(&[1, 2, 3]), vectors(2, &[0.0; 6]), texts(&["a fox", "a dog", "the fox and the dog"])];
    assert_good(&insert(&proxy, 3, sent).await.status.unwrap());
    (proxy, twin)
}

fn counting() -> FunctionSchema {
    FunctionSchema {
        name: "count".to_owned(),
        r#type: FunctionType::Bm25.into(),
        input_field_names: vec!["text".to_owned()],
        output_field_names: vec!["words".to_owned()],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_function_comes_with_its_field_and_index_and_goes_with_them() {
    let (proxy, twin) = with_plain_texts().await;
    let words = field("words", Wire::SparseFloatVector, &[]);
    let by_words = [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "BM25")];
    let unbound = add(&proxy, vec![info(words.clone(), &[])], vec![counting()]).await;
    assert_eq!(unbound, refused("index_type must be specified for the function output field words"));
    let wrong = [("index_type", "SPARSE_INVERTED_INDEX"), ("metric_type", "IP")];
    assert_eq!(add(&proxy, vec![info(words.clone(), &wrong)], vec![counting()]).await.0, 1100);

    assert_eq!(add(&proxy, vec![info(words, &by_words)], vec![counting()]).await, good());

    assert_eq!(twin.flushed.lock().len(), 2, "rows that are not sealed are, so that they are computed");
    assert_eq!(found_by(&proxy, "fox").await, [1, 3]);
    let sent = vec![ids(&[4]), vectors(2, &[0.0; 2]), texts(&["fox fox"])];
    assert_good(&insert(&proxy, 1, sent).await.status.unwrap());
    let mut found = found_by(&proxy, "fox").await;
    found.sort_unstable();
    assert_eq!(found, [1, 3, 4]);
    let shown = described(&proxy).await;
    assert_eq!(
        (shown.functions[0].name.as_str(), shown.functions[0].output_field_ids.as_slice()),
        ("count", &[103][..])
    );
    let stays = drop_by(&proxy, Identifier::FunctionName("count".to_owned()), false).await;
    assert_eq!(
        stays,
        refused("function count of type BM25 can only be dropped together with its output field")
    );
    assert_eq!(
        drop_field(&proxy, "words").await,
        refused("cannot drop field words: it is the output of function count")
    );
    assert_eq!(
        drop_field(&proxy, "text").await,
        refused("cannot drop field text: it is the input of function count")
    );

    assert_eq!(drop_by(&proxy, Identifier::FunctionName("count".to_owned()), true).await, good());

    let shown = described(&proxy).await;
    assert_eq!((shown.functions.len(), shown.fields.len()), (0, 3));
    let request = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let indexes = proxy.describe_index(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(indexes.index_descriptions.len(), 1);
}

async fn function_calls(proxy: &Proxy, name: &str, function: FunctionSchema) -> [(i32, String); 2] {
    let collection_name = "c".to_owned();
    let add = AddCollectionFunctionRequest {
        collection_name: collection_name.clone(),
        function_schema: Some(function.clone()),
        ..Default::default()
    };
    let alter = AlterCollectionFunctionRequest {
        collection_name,
        function_name: name.to_owned(),
        function_schema: Some(function),
        ..Default::default()
    };
    let added = proxy.add_collection_function(Request::new(add)).await.unwrap().into_inner();
    let altered = proxy.alter_collection_function(Request::new(alter)).await.unwrap().into_inner();
    [added, altered].map(|status| (status.code, status.reason))
}

async fn drop_function(proxy: &Proxy, name: &str) -> (i32, String) {
    let request = DropCollectionFunctionRequest {
        collection_name: "c".to_owned(),
        function_name: name.to_owned(),
        ..Default::default()
    };
    let status = proxy.drop_collection_function(Request::new(request)).await.unwrap().into_inner();
    (status.code, status.reason)
}

#[tokio::test]
async fn functions_that_ask_a_model_come_change_and_go_by_themselves() {
    let model = FakeModel::new(3);
    let proxy = loaded(model.models(), &schema_of_meanings("3"), &[]).await;

    assert_eq!(drop_function(&proxy, "meaning").await, good());
    assert_eq!(drop_function(&proxy, "meaning").await, refused("function not found: meaning"));
    assert_eq!(described(&proxy).await.fields.len(), 4, "the field that it filled stays");
    let [added, altered] = function_calls(&proxy, "meaning", asks("http://models")).await;
    assert_eq!((added, altered), (good(), good()));
    let mut params = asks("http://models");
    params.params.push(pair("truncate", "true"));
    let [twice, altered] = function_calls(&proxy, "meaning", params.clone()).await;
    assert_eq!((twice.1.as_str(), altered), ("duplicate function name meaning", good()));
    assert_eq!(described(&proxy).await.functions[0].params, params.params);
    let [_, renamed] =
        function_calls(&proxy, "meaning", FunctionSchema { name: "other".to_owned(), ..params }).await;
    assert_eq!(renamed, refused("function name cannot be altered from meaning to other"));
    let [_, missing] = function_calls(&proxy, "other", asks("http://models")).await;
    assert_eq!(missing, refused("function not found: other"));
}

#[tokio::test]
async fn functions_whose_results_are_stored_neither_come_nor_change_by_themselves() {
    let proxy = super::texts::with_texts(&[("index_type", "AUTOINDEX")]).await;
    let counting = |name: &str, output: &str| FunctionSchema {
        name: name.to_owned(),
        output_field_names: vec![output.to_owned()],
        ..counting()
    };

    let [_, altered] = function_calls(&proxy, "words of text", counting("words of text", "words")).await;
    assert_eq!(
        altered,
        refused(
            "only functions of type TextEmbedding can be altered, function words of text is of type BM25"
        )
    );
    let [shared, _] = function_calls(&proxy, "second", counting("second", "words")).await;
    assert_eq!(shared.1, "duplicate function output field words");
    let (plain, _) = with_plain_texts().await;
    let own = FieldSchema { nullable: true, ..field("own", Wire::SparseFloatVector, &[]) };
    assert_eq!(add(&plain, vec![info(own, &[])], Vec::new()).await, good());
    let [onto, _] = function_calls(&plain, "count", counting("count", "own")).await;
    assert!(onto.1.contains("function output field cannot be nullable"), "{}", onto.1);
    assert_eq!(
        drop_function(&proxy, "words of text").await,
        refused("function words of text of type BM25 can only be dropped together with its output field")
    );
    let meaning = field("meaning", Wire::FloatVector, &[("dim", "3")]);
    let asked = FunctionSchema { output_field_names: vec!["meaning".to_owned()], ..asks("http://models") };
    let by_l2 = [("index_type", "FLAT"), ("metric_type", "L2")];
    let (code, reason) = add(&plain, vec![info(meaning, &by_l2)], vec![asked]).await;
    assert!(code == 1100 && reason.contains("cannot be added with its output field"), "{reason}");
}
