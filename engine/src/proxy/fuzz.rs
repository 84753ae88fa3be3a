//! Fuzz targets of both APIs, over the naive duties of [`super::twin`].

#![expect(clippy::panic, reason = "how a target says what it has found")]

use axum::body::Body;
use axum::response::Response;
use contract::pb::common::{KeyValuePair, PlaceholderGroup, PlaceholderType, PlaceholderValue};
use contract::pb::milvus::milvus_service_server::MilvusService as _;
use contract::pb::milvus::search_request::SearchInput;
use contract::pb::milvus::{
    AlterCollectionRequest, CreateAliasRequest, CreateCollectionRequest, CreateDatabaseRequest,
    CreateIndexRequest, CreatePartitionRequest, DeleteRequest, DescribeCollectionRequest,
    HybridSearchRequest, InsertRequest, LoadCollectionRequest, QueryRequest, RunAnalyzerRequest,
    SearchRequest, UpsertRequest,
};
use contract::pb::schema::{CollectionSchema, DataType as Wire, FieldSchema};
use http::{HeaderValue, header};
use prost::Message;
use tonic::Request;
use tower::ServiceExt as _;

use super::serve::router;
use super::twin::Twin;
use super::{Proxy, convert};

/// Does `work` on simulated time: who waits for something that does not come is told so at once.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap_or_else(|error| panic!("a runtime without I/O: {error}")).block_on(work)
}

fn pair(key: &str, value: &str) -> KeyValuePair {
    KeyValuePair { key: key.to_owned(), value: value.to_owned() }
}

fn schema() -> CollectionSchema {
    let field = |name: &str, data_type: Wire, params: &[(&str, &str)]| FieldSchema {
        name: name.to_owned(),
        data_type: data_type.into(),
        is_primary_key: name == "id",
        nullable: name == "name" || name == "age",
        type_params: params.iter().map(|(key, value)| pair(key, value)).collect(),
        ..Default::default()
    };
    let text = [("max_length", "64"), ("enable_analyzer", "true"), ("enable_match", "true")];
    CollectionSchema {
        name: "c".to_owned(),
        fields: vec![
            field("id", Wire::Int64, &[]),
            field("vector", Wire::FloatVector, &[("dim", "2")]),
            field("name", Wire::VarChar, &text),
            field("age", Wire::Int8, &[]),
        ],
        enable_dynamic_field: true,
        ..Default::default()
    }
}

fn create() -> CreateCollectionRequest {
    let schema = schema().encode_to_vec();
    CreateCollectionRequest { collection_name: "c".to_owned(), schema, shards_num: 1, ..Default::default() }
}

fn create_index() -> CreateIndexRequest {
    CreateIndexRequest {
        collection_name: "c".to_owned(),
        field_name: "vector".to_owned(),
        extra_params: vec![pair("index_type", "FLAT"), pair("metric_type", "L2")],
        ..Default::default()
    }
}

fn load() -> LoadCollectionRequest {
    LoadCollectionRequest { collection_name: "c".to_owned(), ..Default::default() }
}

const ROWS: &str =
    r#"[{"id":1,"vector":[0,1],"name":"one word","age":7,"k":1},{"id":2,"vector":[1,1],"z":[2]}]"#;

/// Two rows for the collection, as an insert has them.
fn insert() -> InsertRequest {
    let of_rows = || {
        let made = convert::schema::new_collection("default".to_owned(), None, create()).ok()?;
        convert::json_rows::columns(&made.schema, ROWS, convert::json_rows::Rows::Whole).ok()
    };
    let (num_rows, fields_data) = of_rows().unwrap_or_default();
    InsertRequest { collection_name: "c".to_owned(), fields_data, num_rows, ..Default::default() }
}

/// A proxy with the loaded collection `c` of two rows.
async fn proxy() -> Proxy {
    let proxy = Proxy::new(Twin::new().parts());
    let created = proxy.create_collection(Request::new(create())).await;
    let indexed = proxy.create_index(Request::new(create_index())).await;
    let loaded = proxy.load_collection(Request::new(load())).await;
    for answer in [created, indexed, loaded] {
        let status = answer.unwrap_or_else(|error| panic!("{error}")).into_inner();
        assert_eq!((status.code, status.reason.as_str()), (0, ""));
    }
    drop(proxy.insert(Request::new(insert())).await);
    proxy
}

/// Any request over HTTP has an answer that is no failure of the server's own, and one in JSON can be read. The input is a request
/// as text: method and path, headers, an empty line, the body.
pub fn rest(data: &[u8]) {
    let Some(request) = request_of(data) else { return };
    let (status, kind, body) = run(async {
        let answer = router(proxy().await).oneshot(request).await;
        whole(answer.unwrap_or_else(|never| match never {})).await
    });
    assert!(!status.is_server_error(), "{status}");
    if kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok(), "{body:?}");
    }
}

async fn whole(answer: Response) -> (http::StatusCode, Option<HeaderValue>, bytes::Bytes) {
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
    (status, kind, body.unwrap_or_else(|error| panic!("the answer breaks off: {error}")))
}

fn request_of(data: &[u8]) -> Option<http::Request<Body>> {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = (&data[..end], data.get(end + 2..).unwrap_or_default());
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = http::Request::builder().method(method).uri(path);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        request = request.header(name, value.trim());
    }
    request.body(Body::from(body.to_vec())).ok()
}

/// Any message to any call has an answer over gRPC that is no failure of the server's own. The first line names the call.
pub fn grpc(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(call) = std::str::from_utf8(&data[..end]) else { return };
    let message = &data[end + 1..];
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let request = http::Request::post(format!("/milvus.proto.milvus.MilvusService/{call}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::from([&[0], &length[..], message].concat()));
    let Ok(request) = request else { return };
    let code = run(async {
        let answer = router(proxy().await).oneshot(request).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        let code = answer.headers().get("grpc-status").cloned();
        drop(whole(answer).await);
        code
    });
    // 2 is what a call that was broken off by a panic would have, 15 loss of data.
    assert!(code.is_none_or(|code| ![&b"2"[..], b"15"].contains(&code.as_bytes())));
}

/// Inputs for [`rest`] to begin with: a path and a body each.
pub fn requests() -> Vec<Vec<u8>> {
    const V2: &[(&str, &str)] = &[
        ("collections/create", r#"{"collectionName":"d","dimension":2,"metricType":"L2"}"#),
        (
            "collections/create",
            r#"{"collectionName":"e","schema":{"autoId":false,"enableDynamicField":true,"fields":[{"fieldName":"id","dataType":"Int64","isPrimary":true},{"fieldName":"v","dataType":"FloatVector","elementTypeParams":{"dim":2}}]},"indexParams":[{"fieldName":"v","indexName":"v","metricType":"COSINE","params":{"index_type":"HNSW","M":4,"efConstruction":8}}]}"#,
        ),
        ("collections/describe", r#"{"collectionName":"c"}"#),
        (
            "collections/alter_properties",
            r#"{"collectionName":"c","properties":{"collection.ttl.seconds":9}}"#,
        ),
        (
            "entities/insert",
            r#"{"collectionName":"c","data":[{"id":3,"vector":[0,1],"name":"x","age":null,"k":{"a":[1]}}]}"#,
        ),
        ("entities/upsert", r#"{"collectionName":"c","data":[{"id":1,"vector":[0.5,1e3]}]}"#),
        ("entities/upsert", r#"{"collectionName":"c","partialUpdate":true,"data":[{"id":1,"name":"y"}]}"#),
        ("entities/delete", r#"{"collectionName":"c","filter":"id in [1,2]"}"#),
        ("entities/get", r#"{"collectionName":"c","id":[1],"outputFields":["*"]}"#),
        (
            "entities/query",
            r#"{"collectionName":"c","filter":"id > {n}","exprParams":{"n":0},"outputFields":["name","k"],"limit":3}"#,
        ),
        ("entities/query", r#"{"collectionName":"c","outputFields":["count(*)"],"groupByFields":["age"]}"#),
        (
            "entities/search",
            r#"{"collectionName":"c","data":[[0,1]],"annsField":"vector","limit":2,"filter":"age < 9","outputFields":["id"],"searchParams":{"metricType":"L2","params":{"radius":5,"range_filter":0}}}"#,
        ),
        (
            "entities/search",
            r#"{"collectionName":"c","data":[[0,1]],"limit":2,"groupingField":"age","groupSize":2,"strictGroupSize":true}"#,
        ),
        (
            "entities/hybrid_search",
            r#"{"collectionName":"c","search":[{"data":[[0,1]],"annsField":"vector","limit":2},{"data":[[1,1]],"annsField":"vector","limit":1}],"rerank":{"strategy":"rrf","params":{"k":10}},"limit":2}"#,
        ),
        (
            "indexes/create",
            r#"{"collectionName":"c","indexParams":[{"fieldName":"age","indexName":"i","params":{"index_type":"INVERTED"}}]}"#,
        ),
        ("indexes/describe", r#"{"collectionName":"c","indexName":"vector"}"#),
        ("partitions/create", r#"{"collectionName":"c","partitionName":"p"}"#),
        ("aliases/create", r#"{"collectionName":"c","aliasName":"a"}"#),
        ("databases/create", r#"{"dbName":"shop","properties":{"mmap.enabled":true}}"#),
        ("databases/list", "{}"),
        ("users/list", "{}"),
        ("roles/create", r#"{"roleName":"r"}"#),
        (
            "roles/grant_privilege_v2",
            r#"{"roleName":"r","privilege":"Search","collectionName":"c","dbName":"default"}"#,
        ),
        (
            "resource_groups/create",
            r#"{"name":"g","config":{"requests":{"nodeNum":1},"limits":{"nodeNum":2}}}"#,
        ),
        ("jobs/import/create", r#"{"collectionName":"c","files":[["a.json"]],"options":{"timeout":"5s"}}"#),
        ("jobs/import/get_progress", r#"{"jobId":"1"}"#),
        ("common/run_analyzer", r#"{"text":["a word"],"analyzerParams":"{\"type\":\"english\"}"}"#),
        (
            "collections/fields/add",
            r#"{"collectionName":"c","schema":{"fieldName":"n","dataType":"Int64","nullable":true}}"#,
        ),
        ("collections/flush", r#"{"collectionName":"c"}"#),
        ("collections/list", "null"),
    ];
    let mut all: Vec<String> = Vec::new();
    for (path, body) in V2 {
        all.push(format!("POST /v2/vectordb/{path}\nAccept-Type-Allow-Int64: true\n\n{body}"));
    }
    all.extend(
        [
            "GET /v1/vector/collections/describe?collectionName=c\n\n",
            "POST /v1/vector/search\nrequest-timeout: 5\n\n{\"collectionName\":\"c\",\"vector\":[0,1],\"limit\":1}",
            "POST /v1/vector/insert\n\n{\"collectionName\":\"c\",\"data\":{\"id\":4,\"vector\":[0,1]}}",
            "GET /api/v1/health\n\n",
            "DELETE /api/v1/entities\n\n{\"collection_name\":\"c\",\"expr\":\"id in [1]\"}",
        ]
        .map(str::to_owned),
    );
    all.into_iter().map(String::into_bytes).collect()
}

fn queries() -> bytes::Bytes {
    let values = vec![[0.0_f32, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect()];
    let r#type = PlaceholderType::FloatVector.into();
    let tag = "$0".to_owned();
    PlaceholderGroup { placeholders: vec![PlaceholderValue { tag, r#type, values, ..Default::default() }] }
        .encode_to_vec()
        .into()
}

fn search() -> SearchRequest {
    SearchRequest {
        collection_name: "c".to_owned(),
        dsl: "age < 9 and name like \"one%\"".to_owned(),
        nq: 1,
        output_fields: vec!["name".to_owned(), "k".to_owned()],
        search_params: vec![
            pair("anns_field", "vector"),
            pair("topk", "2"),
            pair("metric_type", "L2"),
            pair("params", "{\"nprobe\":4}"),
            pair("round_decimal", "3"),
        ],
        search_input: Some(SearchInput::PlaceholderGroup(queries())),
        ..Default::default()
    }
}

/// Inputs for [`grpc`] to begin with.
pub fn calls() -> Vec<Vec<u8>> {
    fn of(call: &str, message: &impl Message) -> Vec<u8> {
        [call.as_bytes(), b"\n", &message.encode_to_vec()].concat()
    }
    let name = || "c".to_owned();
    let inserted = insert();
    let upsert = UpsertRequest {
        collection_name: name(),
        fields_data: inserted.fields_data.clone(),
        num_rows: inserted.num_rows,
        ..Default::default()
    };
    let delete =
        DeleteRequest { collection_name: name(), expr: "id in [1]".to_owned(), ..Default::default() };
    let query = QueryRequest {
        collection_name: name(),
        expr: "id > 0".to_owned(),
        output_fields: vec!["*".to_owned()],
        query_params: vec![pair("limit", "2"), pair("offset", "1")],
        ..Default::default()
    };
    let hybrid = HybridSearchRequest {
        collection_name: name(),
        requests: vec![search(), search()],
        rank_params: vec![
            pair("strategy", "weighted"),
            pair("params", "{\"weights\":[0.5,1]}"),
            pair("limit", "2"),
        ],
        ..Default::default()
    };
    let alter = AlterCollectionRequest {
        collection_name: name(),
        properties: vec![pair("collection.ttl.seconds", "9")],
        ..Default::default()
    };
    let second = CreateCollectionRequest { collection_name: "d".to_owned(), ..create() };
    let analyze = RunAnalyzerRequest {
        analyzer_params: "{\"type\":\"english\"}".to_owned(),
        placeholder: vec![b"two words".to_vec()],
        ..Default::default()
    };
    vec![
        of("CreateCollection", &second),
        of("Insert", &inserted),
        of("Upsert", &upsert),
        of("Delete", &delete),
        of("Query", &query),
        of("Search", &search()),
        of("HybridSearch", &hybrid),
        of("CreateIndex", &create_index()),
        of("LoadCollection", &load()),
        of("AlterCollection", &alter),
        of("RunAnalyzer", &analyze),
        of("CreateDatabase", &CreateDatabaseRequest { db_name: "shop".to_owned(), ..Default::default() }),
        of(
            "DescribeCollection",
            &DescribeCollectionRequest { collection_name: name(), ..Default::default() },
        ),
        of(
            "CreateAlias",
            &CreateAliasRequest { collection_name: name(), alias: "a".to_owned(), ..Default::default() },
        ),
        of(
            "CreatePartition",
            &CreatePartitionRequest {
                collection_name: name(),
                partition_name: "p".to_owned(),
                ..Default::default()
            },
        ),
        b"ShowCollections\n".to_vec(),
        b"GetVersion\n".to_vec(),
        b"ListResourceGroups\n".to_vec(),
    ]
}
