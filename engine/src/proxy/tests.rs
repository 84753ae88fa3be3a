//! Claims about the API as clients see it, over the naive duties of [`super::twin`].

mod access;
mod compaction;
mod fields;
mod growth;
mod highlights;
mod indexes;
mod limits;
mod lives;
mod models;
mod past;
mod placement;
mod reading;
mod requests;
mod rest;
mod structs;
mod system;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use contract::pb::common::{
    ErrorCode, KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue, Status,
};
use contract::pb::milvus::milvus_service_server::MilvusService as _;
use contract::pb::milvus::search_request::SearchInput;
use contract::pb::milvus::*;
use contract::pb::schema::{
    CollectionSchema, DataType as Wire, FieldData, FieldSchema, FloatArray, IntArray, JsonArray, LongArray,
    ScalarField, StringArray, ValueField, VectorField, field_data, i_ds, scalar_field, value_field,
    vector_field,
};
use prost::Message as _;
use tonic::Request;

use super::convert::status::failure;
use super::twin::Twin;
use super::{Error, Proxy};
use crate::base::Kind;
use crate::rpc::{self, Refusal};

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_owned() }
}

fn field(name: &str, data_type: Wire, params: &[(&str, &str)]) -> FieldSchema {
    FieldSchema {
        name: name.to_owned(),
        data_type: data_type.into(),
        type_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    }
}

/// `id` Int64 key, `vector` of 2, `name` VarChar(4) or null, `age` Int8 by default 7, dynamic keys.
fn schema(auto_id: bool) -> CollectionSchema {
    let default_value = Some(ValueField { data: Some(value_field::Data::IntData(7)) });
    CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            FieldSchema { is_primary_key: true, auto_id, ..field("id", Wire::Int64, &[]) },
            field("vector", Wire::FloatVector, &[("dim", "2")]),
            FieldSchema { nullable: true, ..field("name", Wire::VarChar, &[("max_length", "4")]) },
            FieldSchema { default_value, ..field("age", Wire::Int8, &[]) },
        ],
        enable_dynamic_field: true,
        functions: Vec::new(),
        ..Default::default()
    }
}

/// A proxy with the loaded collection `c`.
async fn with_collection(auto_id: bool, shards_num: i32) -> Proxy {
    with_twin(auto_id, shards_num).await.0
}

/// The same with what is behind it.
async fn with_twin(auto_id: bool, shards_num: i32) -> (Proxy, Arc<Twin>) {
    let twin = Twin::new();
    let proxy = Proxy::new(twin.parts());
    make_loaded(&proxy, "c", auto_id, shards_num).await;
    (proxy, twin)
}

/// Makes and loads a collection.
async fn make_loaded(proxy: &Proxy, name: &str, auto_id: bool, shards_num: i32) {
    let create = CreateCollectionRequest {
        collection_name: name.to_owned(),
        schema: CollectionSchema { name: name.to_owned(), ..schema(auto_id) }.encode_to_vec(),
        shards_num,
        ..Default::default()
    };
    assert_good(&proxy.create_collection(Request::new(create)).await.unwrap().into_inner());
    let index = CreateIndexRequest {
        collection_name: name.to_owned(),
        field_name: "vector".to_owned(),
        extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
        ..Default::default()
    };
    assert_good(&proxy.create_index(Request::new(index)).await.unwrap().into_inner());
    let load = LoadCollectionRequest { collection_name: name.to_owned(), ..Default::default() };
    assert_good(&proxy.load_collection(Request::new(load)).await.unwrap().into_inner());
}

fn assert_good(status: &Status) {
    assert_eq!((status.code, status.reason.as_str()), (0, ""));
}

fn scalars(name: &str, data_type: Wire, data: scalar_field::Data) -> FieldData {
    FieldData {
        r#type: data_type.into(),
        field_name: name.to_owned(),
        field: Some(field_data::Field::Scalars(ScalarField { data: Some(data), ..Default::default() })),
        ..Default::default()
    }
}

fn ids(data: &[i64]) -> FieldData {
    scalars("id", Wire::Int64, scalar_field::Data::LongData(LongArray { data: data.to_vec() }))
}

fn names(data: &[&str]) -> FieldData {
    let data = data.iter().map(|&text| text.to_owned()).collect();
    scalars("name", Wire::VarChar, scalar_field::Data::StringData(StringArray { data }))
}

fn ages(data: &[i32]) -> FieldData {
    scalars("age", Wire::Int8, scalar_field::Data::IntData(IntArray { data: data.to_vec() }))
}

fn meta(data: &[&str]) -> FieldData {
    let data = data.iter().map(|text| bytes::Bytes::copy_from_slice(text.as_bytes())).collect();
    FieldData {
        is_dynamic: true,
        ..scalars("$meta", Wire::Json, scalar_field::Data::JsonData(JsonArray { data }))
    }
}

fn vectors(dim: i64, data: &[f32]) -> FieldData {
    let data = Some(vector_field::Data::FloatVector(FloatArray { data: data.to_vec() }));
    FieldData {
        r#type: Wire::FloatVector.into(),
        field_name: "vector".to_owned(),
        field: Some(field_data::Field::Vectors(VectorField { dim, data, ..Default::default() })),
        ..Default::default()
    }
}

async fn insert(proxy: &Proxy, num_rows: u32, fields_data: Vec<FieldData>) -> MutationResult {
    let request =
        InsertRequest { collection_name: "c".to_owned(), num_rows, fields_data, ..Default::default() };
    proxy.insert(Request::new(request)).await.unwrap().into_inner()
}

async fn upsert(
    proxy: &Proxy,
    num_rows: u32,
    fields_data: Vec<FieldData>,
    partial_update: bool,
) -> MutationResult {
    let request = UpsertRequest {
        collection_name: "c".to_owned(),
        num_rows,
        fields_data,
        partial_update,
        ..Default::default()
    };
    proxy.upsert(Request::new(request)).await.unwrap().into_inner()
}

async fn query(proxy: &Proxy, expr: &str, output: &[&str], params: &[(&str, &str)]) -> QueryResults {
    let request = QueryRequest {
        collection_name: "c".to_owned(),
        expr: expr.to_owned(),
        output_fields: output.iter().map(|&name| name.to_owned()).collect(),
        query_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    proxy.query(Request::new(request)).await.unwrap().into_inner()
}

fn search_request(params: &[(&str, &str)], queries: &[&[f32]]) -> SearchRequest {
    let bytes = |query: &&[f32]| query.iter().flat_map(|component| component.to_le_bytes()).collect();
    let placeholder = PlaceholderValue {
        tag: "$0".to_owned(),
        r#type: PlaceholderType::FloatVector.into(),
        values: queries.iter().map(bytes).collect(),
        ..Default::default()
    };
    let group = PlaceholderGroup { placeholders: vec![placeholder] };
    SearchRequest {
        collection_name: "c".to_owned(),
        nq: i64::try_from(queries.len()).unwrap(),
        search_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        search_input: Some(SearchInput::PlaceholderGroup(group.encode_to_vec().into())),
        ..Default::default()
    }
}

async fn search(proxy: &Proxy, request: SearchRequest) -> SearchResults {
    proxy.search(Request::new(request)).await.unwrap().into_inner()
}

fn longs(column: &FieldData) -> Vec<i64> {
    match &column.field {
        Some(field_data::Field::Scalars(ScalarField {
            data: Some(scalar_field::Data::LongData(values)),
            ..
        })) => values.data.clone(),
        other => panic!("not 64-bit integers: {other:?}"),
    }
}

fn said(status: Option<Status>) -> (i32, String) {
    let status = status.unwrap();
    (status.code, status.reason)
}

#[tokio::test]
async fn rows_come_back_as_they_went_in() {
    let proxy = with_collection(false, 3).await;
    let mut some_names = names(&["b"]);
    some_names.valid_data = vec![false, true, false];
    let sent = vec![
        ids(&[3, 1, 2]),
        vectors(2, &[3.0, 0.0, 1.0, 0.0, 2.0, 0.0]),
        some_names,
        meta(&[r#"{"k":1,"z":2}"#, "{}", r#"{"k":"x"}"#]),
    ];

    let inserted = insert(&proxy, 3, sent).await;
    let found = query(&proxy, "id > 0", &["name", "age", "k"], &[("limit", "10")]).await;

    assert_eq!((inserted.insert_cnt, inserted.succ_index), (3, vec![0, 1, 2]));
    let mut sorted_names = names(&["b", "", ""]);
    sorted_names.valid_data = vec![true, false, false];
    let with_id = |number: i64, column: FieldData| FieldData { field_id: number, ..column };
    assert_eq!(
        found.fields_data,
        vec![
            with_id(100, ids(&[1, 2, 3])),
            with_id(102, sorted_names),
            with_id(103, ages(&[7, 7, 7])),
            with_id(104, meta(&["{}", r#"{"k":"x"}"#, r#"{"k":1}"#])),
        ]
    );
    assert_eq!(found.output_fields, ["id", "name", "age", "k"]);
}

#[tokio::test]
async fn bad_rows_are_refused_in_milvus_words() {
    let proxy = with_collection(false, 1).await;
    let vector = || vectors(2, &[0.0, 1.0]);
    let mut short_mask = names(&["a"]);
    short_mask.valid_data = vec![true, false];
    let mut dense = names(&["a", "b"]);
    dense.valid_data = vec![false];
    let cases: Vec<(u32, Vec<FieldData>, &str)> = vec![
        (0, vec![], "num_rows should be greater than 0"),
        (1, vec![vector()], "fieldSchema(id) has no corresponding fieldData pass in: invalid parameter"),
        (1, vec![ids(&[1])], "fieldSchema(vector) has no corresponding fieldData pass in: invalid parameter"),
        (
            2,
            vec![ids(&[1, 2]), vector()],
            "the num_rows (1) of field (vector) is not equal to passed num_rows (2): invalid parameter[expected=2][actual=1]",
        ),
        (
            1,
            vec![ids(&[1]), vectors(3, &[0.0; 3])],
            "the dim (3) of field data(vector) is not equal to schema dim (2)",
        ),
        (1, vec![ids(&[1]), vectors(2, &[0.0; 3])], "the length(3) of float data should divide the dim(2)"),
        (1, vec![ids(&[1]), vectors(2, &[f32::NAN, 0.0])], "value 'NaN' is not a number or infinity"),
        (1, vec![ids(&[1]), vectors(2, &[0.0, f32::INFINITY])], "value '+Inf' is not a number or infinity"),
        (1, vec![ids(&[1]), vector(), ages(&[128])], "the 0th element (128) out of range: [-128, 127]"),
        (
            1,
            vec![ids(&[1]), vector(), names(&["abcde"])],
            "length of varchar field name exceeds max length, row number: 0, length: 5, max length: 4",
        ),
        (1, vec![ids(&[1]), vector(), short_mask], "the length of valid_data of field(name) is wrong"),
        (1, vec![ids(&[1]), vector(), dense], "the length of field is wrong"),
        (1, vec![ids(&[1]), vector(), meta(&["[1]"])], "dynamic field only accepts json maps"),
        (1, vec![ids(&[1]), vector(), meta(&[r#"{"$meta":1}"#])], "cannot set json key to: $meta"),
        (
            1,
            vec![ids(&[1]), vector(), meta(&[r#"{"age":1}"#])],
            "dynamic field name cannot include the static field name: age",
        ),
        (
            1,
            vec![ids(&[1]), vector(), FieldData { field_name: "x".to_owned(), ..ages(&[1]) }],
            "more fieldData has pass in",
        ),
    ];

    for (rows, fields, expected) in cases {
        let (code, text) = said(insert(&proxy, rows, fields).await.status);
        assert!(text.contains(expected), "{expected} is not in {text}");
        assert!(matches!(code, 1100 | 65_535), "{code} {text}");
    }
    assert_eq!(longs(&query(&proxy, "", &["count(*)"], &[]).await.fields_data[0]), [0]);
}

#[tokio::test]
async fn the_server_makes_keys_where_the_schema_says_so() {
    let proxy = with_collection(true, 2).await;

    let refused = insert(&proxy, 1, vec![ids(&[1]), vectors(2, &[0.0, 1.0])]).await;
    let made = insert(&proxy, 2, vec![vectors(2, &[0.0, 1.0, 1.0, 0.0])]).await;

    assert!(said(refused.status).1.contains("can not assign primary field data when auto id enabled"));
    let Some(i_ds::IdField::IntId(keys)) = made.i_ds.unwrap().id_field else { panic!("integer keys") };
    assert_eq!((keys.data.len(), keys.data[1] - keys.data[0]), (2, 1));
}

#[tokio::test]
async fn an_upsert_by_a_made_key_replaces_the_row_under_a_new_key() {
    let proxy = with_collection(true, 4).await;
    let made = insert(&proxy, 3, vec![vectors(2, &[0.0, 1.0, 1.0, 0.0, 1.0, 1.0])]).await;
    let Some(i_ds::IdField::IntId(old)) = made.i_ds.unwrap().id_field else { panic!("integer keys") };

    let replaced = upsert(&proxy, 1, vec![ids(&old.data[..1]), vectors(2, &[9.0, 9.0])], false).await;

    let Some(i_ds::IdField::IntId(new)) = replaced.i_ds.unwrap().id_field else { panic!("integer keys") };
    let left = query(&proxy, "id > 0", &[], &[]).await;
    assert_eq!(longs(&left.fields_data[0]), [old.data[1], old.data[2], new.data[0]]);
}

#[tokio::test]
async fn a_partial_upsert_keeps_what_was_not_sent() {
    let proxy = with_collection(false, 1).await;
    let sent = vec![ids(&[1]), vectors(2, &[5.0, 6.0]), names(&["n"]), meta(&[r#"{"a":1,"b":2}"#])];
    insert(&proxy, 1, sent).await;

    upsert(&proxy, 1, vec![ids(&[1]), ages(&[40]), meta(&[r#"{"b":3}"#])], true).await;

    let found = query(&proxy, "id == 1", &["*"], &[]).await;
    let payload =
        |name: &str| found.fields_data.iter().find(|column| column.field_name == name).unwrap().field.clone();
    assert_eq!(payload("vector"), vectors(2, &[5.0, 6.0]).field);
    assert_eq!(payload("age"), ages(&[40]).field);
    assert_eq!(payload("name"), names(&["n"]).field);
    assert_eq!(payload("$meta"), meta(&[r#"{"a":1,"b":3}"#]).field);
}

#[tokio::test]
async fn keys_may_not_repeat_in_an_upsert() {
    let proxy = with_collection(false, 1).await;

    let refused = upsert(&proxy, 2, vec![ids(&[1, 1]), vectors(2, &[0.0; 4])], false).await;

    assert!(said(refused.status).1.contains("duplicate primary keys are not allowed in the same batch"));
}

#[tokio::test]
async fn a_delete_counts_keys_sent_and_rows_matched() {
    let proxy = with_collection(false, 2).await;
    insert(&proxy, 3, vec![ids(&[1, 2, 3]), vectors(2, &[0.0; 6]), ages(&[1, 2, 3])]).await;
    let delete = async |expr: &str| {
        let request =
            DeleteRequest { collection_name: "c".to_owned(), expr: expr.to_owned(), ..Default::default() };
        proxy.delete(Request::new(request)).await.unwrap().into_inner()
    };

    assert_eq!(delete("id in [1, 1000, 1001]").await.delete_cnt, 3);
    assert_eq!(delete("age >= 3").await.delete_cnt, 1);
    assert!(said(delete("").await.status).1.starts_with("delete plan can't be empty or always true"));
    assert!(
        said(delete("id >").await.status)
            .1
            .starts_with("failed to create delete plan: cannot parse expression: id >")
    );
    assert_eq!(longs(&query(&proxy, "id > 0", &["id"], &[]).await.fields_data[0]), [2]);
}

#[tokio::test]
async fn hits_are_skipped_rounded_and_named() {
    let proxy = with_collection(false, 1).await;
    insert(&proxy, 3, vec![ids(&[1, 2, 3]), vectors(2, &[1.01, 0.0, 2.02, 0.0, 3.03, 0.0])]).await;
    let params = [("topk", "2"), ("offset", "1"), ("round_decimal", "1"), ("params", "{}")];

    let found = search(&proxy, search_request(&params, &[&[0.0, 0.0], &[4.0, 0.0]])).await.results.unwrap();

    assert_eq!((found.num_queries, found.top_k, found.topks), (2, 2, vec![2, 2]));
    let Some(i_ds::IdField::IntId(keys)) = found.ids.unwrap().id_field else { panic!("integer keys") };
    assert_eq!(keys.data, [2, 3, 2, 1]);
    assert_eq!(found.scores, [4.1, 9.2, 3.9, 8.9]);
    assert_eq!((found.primary_field_name.as_str(), found.fields_data), ("id", vec![]));
}

#[tokio::test]
async fn bad_searches_are_refused_in_milvus_words() {
    let proxy = with_collection(false, 1).await;
    let good: &[&[f32]] = &[&[0.0, 0.0]];
    let cases: Vec<(&[(&str, &str)], &[&[f32]], i32, &str)> = vec![
        (&[("topk", "0")], good, 1100, "topk [0] is invalid, it should be in range [1, 16384], but got 0"),
        (
            &[("topk", "16385")],
            good,
            1100,
            "topk [16385] is invalid, it should be in range [1, 16384], but got 16385",
        ),
        (
            &[("topk", "1"), ("offset", "-1")],
            good,
            1100,
            "offset [-1] is invalid, it should be in range [1, 16384], but got -1",
        ),
        (&[("topk", "16384"), ("offset", "1")], good, 1100, "offset+topk [16385] is invalid"),
        (
            &[("topk", "1"), ("metric_type", "IP")],
            good,
            1100,
            "metric type not match: invalid parameter[expected=L2][actual=IP]",
        ),
        (
            &[("topk", "1"), ("anns_field", "x")],
            good,
            1100,
            "failed to get field schema by name: fieldName(x) not found",
        ),
        (
            &[("topk", "1"), ("anns_field", "age")],
            good,
            1100,
            "field (age) to search is not of vector data type",
        ),
        (&[("topk", "1"), ("ignore_growing", "x")], good, 1100, "parse ignore growing field failed"),
        (&[("topk", "1"), ("round_decimal", "7")], good, 1100, "round_decimal [7] is invalid"),
        (&[("topk", "1"), ("hints", "x")], good, 1100, "hints: x not supported"),
        (&[("topk", "1"), ("params", r#"{"radius": "x"}"#)], good, 1100, "type must be number"),
        (
            &[("topk", "1"), ("params", r#"{"radius": 1, "range_filter": 2}"#)],
            good,
            65_535,
            "must be less than radius",
        ),
        (
            &[("topk", "1"), ("params", r#"{"range_filter": 2}"#)],
            good,
            1100,
            "range_filter requires radius to be set",
        ),
        (
            &[("topk", "1")],
            &[&[0.0]],
            65_535,
            "vector dimension mismatch, expected vector size(byte) 8, actual 4",
        ),
        (
            &[("topk", "1")],
            &[],
            1100,
            "nq [0] is invalid, nq (number of search vector per search request) should be in range",
        ),
    ];

    for (params, queries, code, expected) in cases {
        let (found, text) = said(search(&proxy, search_request(params, queries)).await.status);
        assert!(text.contains(expected), "{expected} is not in {text}");
        assert_eq!(found, code, "{text}");
    }
    let unparsable = SearchRequest { dsl: "age >".to_owned(), ..search_request(&[("topk", "1")], good) };
    let text = said(search(&proxy, unparsable).await.status).1;
    assert!(
        text.starts_with("failed to create query plan: cannot parse expression: age >, error: "),
        "{text}"
    );
}

#[tokio::test]
async fn bad_queries_are_refused_in_milvus_words() {
    let proxy = with_collection(false, 1).await;
    let window = "invalid max query result window";
    let cases: Vec<(&str, &[&str], &[(&str, &str)], String)> = vec![
        ("", &["id"], &[], "empty expression should be used with limit".to_owned()),
        ("", &["id"], &[("limit", "0")], format!("{window}, limit [0] is invalid, should be greater than 0")),
        (
            "",
            &["id"],
            &[("limit", "1"), ("offset", "-1")],
            format!("{window}, offset [-1] is invalid, should be gte than 0"),
        ),
        (
            "",
            &["id"],
            &[("limit", "16385")],
            format!("{window}, (offset+limit) should be in range [1, 16384], but got 16385"),
        ),
        ("", &["count(*)"], &[("limit", "1")], "count entities with pagination is not allowed".to_owned()),
        ("id > 0", &["a-b"], &[], "parse output field name failed: a-b".to_owned()),
        (
            "id >",
            &["id"],
            &[],
            "failed to create query plan: cannot parse expression: id >, error: ".to_owned(),
        ),
    ];

    for (expr, output, params, expected) in cases {
        let (code, text) = said(query(&proxy, expr, output, params).await.status);
        assert!(text.contains(&expected), "{expected} is not in {text}");
        assert_eq!(code, 1100, "{text}");
    }
}

#[tokio::test]
async fn the_pages_of_an_iterator_see_one_instant() {
    let proxy = with_collection(false, 1).await;
    insert(&proxy, 1, vec![ids(&[1]), vectors(2, &[0.0, 0.0])]).await;
    let first = query(&proxy, "id > 0", &["id"], &[("limit", "1"), ("iterator", "True")]).await;
    insert(&proxy, 1, vec![ids(&[2]), vectors(2, &[0.0, 0.0])]).await;
    let page = QueryRequest {
        collection_name: "c".to_owned(),
        expr: "id > 0".to_owned(),
        guarantee_timestamp: first.session_ts,
        query_params: vec![pair("iterator", "True"), pair("limit", "10")],
        ..Default::default()
    };

    let pinned = proxy.query(Request::new(page)).await.unwrap().into_inner();
    let unpinned = query(&proxy, "id > 0", &["id"], &[("limit", "10")]).await;

    assert_eq!((longs(&pinned.fields_data[0]), pinned.session_ts), (vec![1], first.session_ts));
    assert_eq!(longs(&unpinned.fields_data[0]), [1, 2]);
}

#[tokio::test]
async fn a_search_iterator_goes_on_strictly_beyond_the_last_score() {
    let proxy = with_collection(false, 1).await;
    insert(&proxy, 4, vec![ids(&[1, 2, 3, 4]), vectors(2, &[1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0])]).await;
    let mut last_bound = None;
    let mut seen = Vec::new();

    for _ in 0..3 {
        let bound = last_bound.map(|bound: f32| bound.to_string()).unwrap_or_default();
        let params = [
            ("topk", "1"),
            ("iterator", "True"),
            ("search_iter_v2", "True"),
            ("search_iter_batch_size", "2"),
            ("search_iter_last_bound", bound.as_str()),
        ];
        let found = search(&proxy, search_request(&params, &[&[0.0, 0.0]])).await.results.unwrap();
        let Some(i_ds::IdField::IntId(keys)) = found.ids.unwrap().id_field else { panic!("integer keys") };
        let stand = found.search_iterator_v2_results.unwrap();
        assert_eq!(stand.token.len(), 36);
        last_bound = Some(stand.last_bound);
        seen.push(keys.data);
    }

    assert_eq!(seen, [vec![1, 2], vec![3, 4], vec![]]);
}

#[tokio::test]
async fn a_search_by_keys_takes_their_vectors() {
    let proxy = with_collection(false, 1).await;
    insert(&proxy, 2, vec![ids(&[1, 2]), vectors(2, &[1.0, 0.0, 5.0, 0.0])]).await;
    let by = |data: &[i64]| {
        let id_field = Some(i_ds::IdField::IntId(LongArray { data: data.to_vec() }));
        let input = SearchInput::Ids(contract::pb::schema::IDs { id_field });
        SearchRequest { search_input: Some(input), ..search_request(&[("topk", "1")], &[]) }
    };

    let found = search(&proxy, by(&[2, 1])).await.results.unwrap();
    let missing = said(search(&proxy, by(&[1, 4, 7])).await.status).1;
    let twice = said(search(&proxy, by(&[1, 1])).await.status).1;

    let Some(i_ds::IdField::IntId(keys)) = found.ids.unwrap().id_field else { panic!("integer keys") };
    assert_eq!(keys.data, [2, 1]);
    assert!(
        missing.contains("some of the provided primary key IDs do not exist: missing IDs = [4 7]"),
        "{missing}"
    );
    assert!(twice.contains("duplicate IDs found in search request"), "{twice}");
}

#[tokio::test]
async fn a_described_collection_hides_what_is_not_the_users() {
    let proxy = with_collection(false, 2).await;
    let request = DescribeCollectionRequest { collection_name: "c".to_owned(), ..Default::default() };

    let described = proxy.describe_collection(Request::new(request)).await.unwrap().into_inner();

    let schema = described.schema.unwrap();
    let fields: Vec<(&str, i64)> =
        schema.fields.iter().map(|field| (field.name.as_str(), field.field_id)).collect();
    assert_eq!(fields, [("id", 100), ("vector", 101), ("name", 102), ("age", 103)]);
    assert_eq!(schema.fields[1].type_params, [pair("dim", "2")]);
    assert_eq!(
        schema.fields[3].default_value,
        Some(ValueField { data: Some(value_field::Data::IntData(7)) })
    );
    assert!(schema.enable_dynamic_field);
    assert_eq!((described.shards_num, described.num_partitions), (2, 1));
    assert!(described.physical_channel_names[0].ends_with("dml_0"));
}

#[tokio::test]
async fn a_missing_collection_has_words_of_its_own_when_described() {
    let proxy = Proxy::new(Twin::new().parts());
    let missing = || "x".to_owned();

    let described = proxy
        .describe_collection(Request::new(DescribeCollectionRequest {
            collection_name: missing(),
            ..Default::default()
        }))
        .await;
    let counted = proxy
        .get_collection_statistics(Request::new(GetCollectionStatisticsRequest {
            collection_name: missing(),
            ..Default::default()
        }))
        .await;
    let state = proxy
        .get_load_state(Request::new(GetLoadStateRequest {
            collection_name: missing(),
            ..Default::default()
        }))
        .await;

    let status = described.unwrap().into_inner().status.unwrap();
    assert_eq!(status.reason, "can't find collection[database=default][collection=x]");
    assert_eq!((status.error_code(), status.code), (ErrorCode::CollectionNotExists, 100));
    let counted = said(counted.unwrap().into_inner().status);
    assert_eq!(counted, (100, "collection not found[database=default][collection=x]".to_owned()));
    assert_eq!(said(state.unwrap().into_inner().status), (0, String::new()));
}

#[tokio::test(start_paused = true)]
async fn what_fits_nowhere_is_waited_for_and_then_refused_for_lack_of_memory_with_the_hint_to_try_again() {
    let (proxy, twin) = with_twin(false, 1).await;
    let ask = async |times| {
        *twin.full_for.lock() = times;
        let request = GetLoadingProgressRequest { collection_name: "c".to_owned(), ..Default::default() };
        let answer = proxy.get_loading_progress(Request::new(request)).await.unwrap().into_inner();
        let status = answer.status.unwrap();
        (answer.progress, status.code, status.retriable, status.reason)
    };

    let begun = tokio::time::Instant::now();
    let refused = ask(usize::MAX).await;
    let waited = begun.elapsed();
    let passing = ask(3).await;

    assert_eq!((refused.1, refused.2, refused.3.contains("no room")), (12, true, true), "{refused:?}");
    assert!(waited < Duration::from_secs(11), "{waited:?}");
    assert_eq!((passing.0, passing.1), (100, 0));
}

#[tokio::test]
async fn an_impossible_name_is_that_of_a_missing_collection_to_some_calls_and_refused_by_others() {
    let proxy = Proxy::new(Twin::new().parts());
    let name = || "12-s".to_owned();
    let missing = (100, "collection not found[database=default][collection=12-s]".to_owned());

    let searched =
        search(&proxy, SearchRequest { collection_name: name(), ..search_request(&[], &[&[0.0, 0.0]]) })
            .await;
    let indexed = proxy
        .create_index(Request::new(CreateIndexRequest {
            collection_name: name(),
            field_name: "vector".to_owned(),
            ..Default::default()
        }))
        .await;
    let renamed = proxy
        .rename_collection(Request::new(RenameCollectionRequest {
            old_name: name(),
            new_name: "d".to_owned(),
            ..Default::default()
        }))
        .await;
    let loaded = proxy
        .load_collection(Request::new(LoadCollectionRequest {
            collection_name: name(),
            ..Default::default()
        }))
        .await;

    assert_eq!(said(searched.status), missing);
    assert_eq!(said(Some(indexed.unwrap().into_inner())), missing);
    assert_eq!(said(Some(renamed.unwrap().into_inner())), missing);
    assert_eq!(
        said(Some(loaded.unwrap().into_inner())),
        (1100, "Invalid collection name: 12-s. the first character of a collection name must be an underscore or letter: invalid parameter".to_owned())
    );
}

#[test]
fn the_table_of_failures_is_as_agreed() {
    let failed =
        |kind: Kind| Error::Peer(rpc::Error::Failed { call: "Search", kind, reason: "r".to_owned() });
    let refused = |refusal: Refusal| Error::Peer(rpc::Error::Refused(refusal));
    let text = || "t".to_owned();
    let cases = [
        (Error::Peer(rpc::Error::Stale { what: text() }), (2, 1, true, false)),
        (refused(Refusal::ResourceGroupNotFound { group: text() }), (300, 1, false, true)),
        (Error::GroupConfig { text: text() }, (303, 1, false, true)),
        (Error::NoReplicas { collection: text() }, (400, 15, false, true)),
        (failed(Kind::Unavailable), (2, 1, true, false)),
        (failed(Kind::Fenced), (2, 1, true, false)),
        (failed(Kind::Conflict), (2, 1, true, false)),
        (failed(Kind::Exhausted), (12, 1, true, false)),
        (failed(Kind::Corrupt), (1009, 1, false, false)),
        (failed(Kind::Internal), (5, 1, false, false)),
        (failed(Kind::Denied), (1401, 1, false, true)),
        (failed(Kind::NotFound), (1000, 1, false, true)),
        (failed(Kind::Exists), (1100, 5, false, true)),
        (failed(Kind::Invalid), (1100, 5, false, true)),
        (
            refused(Refusal::CollectionNotFound { database: text(), collection: text() }),
            (100, 4, false, true),
        ),
        (refused(Refusal::CollectionNotLoaded { collection: text() }), (101, 1, false, true)),
        (refused(Refusal::PartitionNotFound { partition: text() }), (200, 15, false, true)),
        (refused(Refusal::IndexNotFound { what: text() }), (700, 25, false, true)),
        (refused(Refusal::BadSearch { text: text() }), (65_535, 1, false, true)),
        (Error::SchemaMismatch { collection: text() }, (109, 62, false, true)),
        (Error::DescribeNotFound { database: text(), collection: text() }, (100, 4, false, true)),
        (Error::IndexNotBuilt { index_type: text() }, (701, 1, false, true)),
        (Error::Intake(crate::intake::Error::NoRows), (1100, 5, false, true)),
    ];

    for (error, expected) in cases {
        let status = failure(&error);
        let by_user = status.extra_info.contains_key("is_input_error");
        let legacy = status.error_code() as i32;
        assert_eq!((status.code, legacy, status.retriable, by_user), expected, "{error}");
        assert_eq!((&status.reason, &status.detail), (&error.to_string(), &error.to_string()));
    }
}

#[tokio::test]
async fn index_parameters_are_checked_and_shown_as_given() {
    let proxy = with_collection(false, 1).await;
    let create = async |field: &str, params: &[(&str, &str)]| {
        let request = CreateIndexRequest {
            collection_name: "c".to_owned(),
            field_name: field.to_owned(),
            extra_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
            ..Default::default()
        };
        proxy.create_index(Request::new(request)).await.unwrap().into_inner()
    };
    let cases: Vec<(&str, &[(&str, &str)], &str)> = vec![
        (
            "vector",
            &[("index_type", "X")],
            "invalid parameter[expected=valid index][actual=invalid index type: X]",
        ),
        ("vector", &[("index_type", "HNSW"), ("M", "1")], "param 'M' (1) should be in range [2, 2048]"),
        (
            "vector",
            &[("index_type", "HNSW"), ("params", r#"{"M": true}"#)],
            "invalid integer value, key: 'M', value: 'true': invalid parameter",
        ),
        (
            "vector",
            &[("index_type", "IVF_FLAT"), ("nlist", "0")],
            "param 'nlist' (0) should be in range [1, 65536]",
        ),
        (
            "vector",
            &[("index_type", "FAISS"), ("metric_type", "L2"), ("faiss_index_name", "IVF8,Best")],
            "invalid faiss_index_name: IVF8,Best",
        ),
        (
            "vector",
            &[("index_type", "IVF_SQ8"), ("nlist", "0")],
            "param 'nlist' (0) should be in range [1, 65536]",
        ),
        ("vector", &[("index_type", "HNSW_SQ"), ("M", "1")], "param 'M' (1) should be in range [2, 2048]"),
        ("vector", &[("index_type", "HNSW_SQ"), ("sq_type", "SQ5")], "invalid scalar quantizer type"),
        (
            "vector",
            &[("index_type", "HNSW_SQ"), ("sq_type", "SQ8"), ("refine", "true"), ("refine_type", "x")],
            "invalid refine type : x, optional types are [sq4u, sq6, sq8, fp16, bf16, fp32, flat]",
        ),
        (
            "vector",
            &[("index_type", "IVF_RABITQ"), ("refine", "maybe")],
            "invalid bool value, key: 'refine', value: 'maybe': invalid parameter",
        ),
        (
            "vector",
            &[("index_type", "IVF_PQ"), ("m", "7")],
            "The dimension of a vector (dim) should be a multiple of the number of subquantizers (m). Dimension:2, m:7",
        ),
        (
            "vector",
            &[("index_type", "HNSW_PRQ"), ("nrq", "17")],
            "param 'nrq' (17) should be in range [1, 16]",
        ),
        ("vector", &[("metric_type", "HAMMING")], "float vector index does not support metric type: HAMMING"),
        (
            "vector",
            &[("index_type", "AUTOINDEX"), ("nlist", "8")],
            "only metric type can be passed when use AutoIndex",
        ),
        (
            "vector",
            &[("index_type", "BIN_FLAT")],
            "data type FloatVector can't build with this index BIN_FLAT",
        ),
        ("nope", &[], "json index must specify cast type: missing parameter"),
        ("id", &[("index_type", "BITMAP")], "create bitmap index on primary key not supported"),
        ("age", &[("index_type", "TRIE")], "TRIE are only supported on varchar field"),
        ("age", &[("index_type", "HNSW")], "only supports vector data type"),
    ];

    for (field, params, expected) in cases {
        let status = create(field, params).await;
        assert!(status.reason.contains(expected), "{expected} is not in {}", status.reason);
    }
    assert_good(&create("age", &[("index_type", "INVERTED")]).await);
    let request = DescribeIndexRequest { collection_name: "c".to_owned(), ..Default::default() };
    let shown = proxy.describe_index(Request::new(request)).await.unwrap().into_inner().index_descriptions;
    let params: Vec<_> = shown.into_iter().map(|index| (index.index_name, index.params)).collect();
    assert_eq!(
        params,
        [
            ("vector".to_owned(), vec![pair("index_type", "FLAT"), pair("metric_type", "L2")]),
            ("age".to_owned(), vec![pair("index_type", "INVERTED")]),
        ]
    );
}
