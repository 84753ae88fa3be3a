//! REST, as `curl` sees it: whole answers, through the same router as in a process.

use axum::body::Body;
use contract::settings::Secret;
use http::{Method, StatusCode};
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

use super::*;
use crate::model::access::{Grant, Object, Role, User};
use crate::proxy::serve::router;
use crate::proxy::{AccessSettings, Ended, Meter, ProxyParts, ProxySettings};
use crate::rpc::ImportState;

/// The status and the body that a request is answered.
pub async fn ask(
    proxy: &Proxy,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, Json) {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let answer = router(proxy.clone()).oneshot(request).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Json::Null))
}

/// What a path of version 2 answers, with numbers of 64 bits as numbers.
async fn v2(proxy: &Proxy, path: &str, body: Json) -> Json {
    let path = format!("/v2/vectordb/{path}");
    let headers = [("accept-type-allow-int64", "true")];
    let (status, answer) = ask(proxy, (Method::POST, &path), &headers, &body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{path} {answer}");
    answer
}

/// The data of an answer of version 2 without a failure.
async fn good(proxy: &Proxy, path: &str, body: Json) -> Json {
    let answer = v2(proxy, path, body).await;
    assert_eq!(answer["code"], 0, "{path} {answer}");
    answer["data"].clone()
}

/// The code and the text of an answer of version 2 that is a failure.
async fn bad(proxy: &Proxy, path: &str, body: Json) -> (i64, String) {
    let answer = v2(proxy, path, body).await;
    assert!(answer.get("data").is_none(), "{path} {answer}");
    (answer["code"].as_i64().unwrap(), answer["message"].as_str().unwrap().to_owned())
}

fn open() -> Proxy {
    Proxy::new(Twin::new().parts())
}

/// A proxy with the loaded collection `books`: a key, a vector of 2, dynamic keys.
async fn with_books() -> Proxy {
    let proxy = open();
    let body = json!({ "collectionName": "books", "dimension": 2, "metricType": "L2" });
    assert_eq!(v2(&proxy, "collections/create", body).await, json!({ "code": 0, "data": {} }));
    proxy
}

#[tokio::test]
async fn databases_are_made_shown_changed_and_dropped() {
    let proxy = open();
    let shown = async || {
        let mut shown = good(&proxy, "databases/describe", json!({ "dbName": "shop" })).await;
        assert!(shown["dbID"].is_i64());
        shown["dbID"] = json!(0);
        shown
    };

    let properties = json!({ "dbName": "shop", "properties": { "mmap.enabled": true } });
    assert_eq!(good(&proxy, "databases/create", properties).await, json!({}));
    let described = json!({
        "dbName": "shop", "dbID": 0, "properties": [{ "key": "mmap.enabled", "value": "true" }],
    });
    assert_eq!(shown().await, described);
    let changed = json!({ "dbName": "shop", "properties": { "mmap.enabled": false } });
    assert_eq!(good(&proxy, "databases/alter", changed.clone()).await, json!({}));
    assert_eq!(shown().await["properties"], json!([{ "key": "mmap.enabled", "value": "false" }]));
    assert_eq!(good(&proxy, "databases/alter_properties", changed).await, json!({}));
    let keys = json!({ "dbName": "shop", "propertyKeys": ["mmap.enabled"] });
    assert_eq!(good(&proxy, "databases/drop_properties", keys).await, json!({}));
    assert_eq!(shown().await["properties"], json!([]));
    assert_eq!(good(&proxy, "databases/list", json!({})).await, json!(["default", "shop"]));
    good(&proxy, "databases/drop", json!({ "dbName": "shop" })).await;
    assert_eq!(good(&proxy, "databases/list", json!({})).await, json!(["default"]));

    assert_eq!(bad(&proxy, "databases/describe", json!({ "dbName": "shop" })).await.0, 800);
    assert_eq!(bad(&proxy, "databases/create", json!({})).await.0, 1802);
}

#[tokio::test]
async fn a_collection_in_short_form_is_indexed_loaded_and_described() {
    let proxy = with_books().await;

    let mut described = good(&proxy, "collections/describe", json!({ "collectionName": "books" })).await;

    assert!(described["collectionID"].is_i64());
    described["collectionID"] = json!(0);
    let field = |id: i64, name: &str, data_type: &str, is_key: bool| {
        json!({
            "name": name, "id": id, "type": data_type, "primaryKey": is_key, "partitionKey": false,
            "clusteringKey": false, "autoId": false, "nullable": false, "description": "",
        })
    };
    let mut vector = field(101, "vector", "FloatVector", false);
    vector["params"] = json!([{ "key": "dim", "value": "2" }]);
    assert_eq!(
        described,
        json!({
            "collectionName": "books", "collectionID": 0, "description": "", "autoId": false,
            "enableDynamicField": true, "fields": [field(100, "id", "Int64", true), vector],
            "structFields": [], "functions": [],
            "indexes": [{ "indexName": "vector", "fieldName": "vector", "metricType": "L2" }],
            "load": "LoadStateLoaded", "shardsNum": 1, "partitionsNum": 1, "consistencyLevel": "Bounded",
            "aliases": [], "properties": [{ "key": "timezone", "value": "UTC" }],
            "externalSource": "", "externalSpec": "",
        })
    );
}

#[tokio::test]
async fn a_collection_in_long_form_has_what_its_schema_says() {
    let proxy = open();
    let body = json!({
        "collectionName": "long",
        "schema": {
            "autoId": true,
            "enableDynamicField": false,
            "description": null,
            "fields": [
                { "fieldName": "key", "dataType": "VarChar", "isPrimary": true,
                  "elementTypeParams": { "max_length": 8 } },
                { "fieldName": "tags", "dataType": "Array", "elementDataType": "Int64", "nullable": true,
                  "elementTypeParams": { "max_capacity": "4" } },
                { "fieldName": "age", "dataType": "Int8", "defaultValue": 7, "isClusteringKey": true },
                { "fieldName": "part", "dataType": "Int64", "isPartitionKey": true, "description": "d" },
                { "fieldName": "half", "dataType": "Float16Vector", "elementTypeParams": { "dim": "4" } },
            ],
        },
        "indexParams": [
            { "fieldName": "half", "metricType": "L2", "indexName": "by_half",
              "params": { "index_type": "IVF_FLAT", "nlist": 8 } },
            { "fieldName": "age", "indexName": "by_age", "params": { "index_type": "INVERTED" } },
        ],
        "params": {
            "shardsNum": "2", "partitionsNum": 3, "consistencyLevel": "Strong", "ttlSeconds": 60,
            "partitionKeyIsolation": true,
        },
    });

    assert_eq!(good(&proxy, "collections/create", body).await, json!({}));

    let described = good(&proxy, "collections/describe", json!({ "collectionName": "long" })).await;
    let of = |key: &str| described[key].clone();
    let kinds: Vec<Json> = of("fields")
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            json!([
                field["name"],
                field["type"],
                field["elementType"],
                field["params"],
                field["defaultValue"]
            ])
        })
        .collect();
    assert_eq!(
        json!(kinds),
        json!([
            ["key", "VarChar", null, [{ "key": "max_length", "value": "8" }], null],
            ["tags", "Array", "Int64", [{ "key": "max_capacity", "value": "4" }], null],
            ["age", "Int8", null, null, { "Data": { "IntData": 7 } }],
            ["part", "Int64", null, null, null],
            ["half", "Float16Vector", null, [{ "key": "dim", "value": "4" }], null],
        ])
    );
    assert_eq!(json!([of("autoId"), of("shardsNum"), of("partitionsNum")]), json!([true, 2, 3]));
    assert_eq!(json!([of("consistencyLevel"), of("load")]), json!(["Strong", "LoadStateLoaded"]));
    let property = |key: &str, value: &str| json!({ "key": key, "value": value });
    assert_eq!(
        of("properties"),
        json!([
            property("collection.ttl.seconds", "60"),
            property("partitionkey.isolation", "true"),
            property("timezone", "UTC"),
        ])
    );
    let index = json!({ "collectionName": "long", "indexName": "by_half" });
    let param = property;
    assert_eq!(
        good(&proxy, "indexes/describe", index).await,
        json!([{
            "indexName": "by_half", "fieldName": "half", "indexType": "IVF_FLAT", "metricType": "L2",
            "totalRows": 0, "indexedRows": 0, "pendingRows": 0, "indexState": "Finished", "failReason": "",
            "minIndexVersion": 0, "maxIndexVersion": 0,
            "indexParams": [param("metric_type", "L2"), param("index_type", "IVF_FLAT"),
                param("params", r#"{"nlist":8}"#)],
        }])
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_new_collection_is_said_and_nothing_is_made() {
    let proxy = open();
    let fields = json!([
        { "fieldName": "id", "dataType": "Int64", "isPrimary": true },
        { "fieldName": "v", "dataType": "FloatVector", "elementTypeParams": { "dim": 2 } },
    ]);
    let with = |key: &str, value: Json| {
        let mut body = json!({ "collectionName": "c", "schema": { "fields": fields } });
        body[key] = value;
        body
    };
    let field = |field: Json| with("schema", json!({ "fields": [field] }));
    let long = "x".repeat(1 << 16);
    let cases = [
        (json!({ "dimension": 2 }), 1802, "'CollectionName' failed on the 'required' tag"),
        (
            json!({ "collectionName": "c" }),
            1802,
            "dimension is required for quickly create collection(default metric type: COSINE)",
        ),
        (
            json!({ "collectionName": "c", "dimension": 2, "idType": "Int8" }),
            1100,
            "idType can only be [Int64, VarChar]: invalid parameter[expected=[Int64, VarChar]][actual=Int8]",
        ),
        (json!({ "collectionName": "c", "dimension": i64::MAX }), 1100, "dim"),
        (json!({ "collectionName": "c", "dimension": 1e300 }), 1100, "dimension must be a whole number"),
        (
            field(json!({ "fieldName": "id", "dataType": "int64" })),
            1100,
            "data type int64 is invalid(case sensitive)",
        ),
        (field(json!({ "fieldName": "id", "dataType": long })), 1100, "data type xxxx"),
        (field(json!({ "dataType": "Int64" })), 1802, "'FieldName' failed on the 'required' tag"),
        (
            field(json!({ "fieldName": "a", "dataType": "Int8", "defaultValue": "x" })),
            1100,
            "cannot use \"x\" as Int8 default value of field a",
        ),
        (with("schema", json!([1])), 1100, "schema must be an object, got [1]"),
        (with("indexParams", json!([{ "fieldName": "w" }])), 1100, "`w` hasn't defined in schema"),
        (
            with("indexParams", json!([{ "fieldName": "v", "metricType": "HAMMING" }])),
            1100,
            "float vector index does not support metric type: HAMMING",
        ),
        (
            with("params", json!({ "consistencyLevel": "Sometimes" })),
            1100,
            "consistencyLevel can only be [Strong, Session, Bounded, Eventually, Customized]",
        ),
        (with("params", json!({ "shardsNum": 17 })), 1100, "maximum shards's number should be limited to 16"),
    ];

    for (body, code, text) in cases {
        let (found, said) = bad(&proxy, "collections/create", body).await;
        assert!(said.contains(text) && said.len() < 400, "{text} is not in {said}");
        assert_eq!(found, code, "{said}");
    }
    assert_eq!(good(&proxy, "collections/list", json!({})).await, json!([]));
}

#[tokio::test]
async fn collections_are_counted_loaded_released_renamed_changed_and_dropped() {
    let proxy = with_books().await;
    let books = json!({ "collectionName": "books" });
    let call = async |path: &str, body: &Json| good(&proxy, path, body.clone()).await;

    assert_eq!(call("collections/has", &books).await, json!({ "has": true }));
    assert_eq!(call("collections/get_stats", &books).await, json!({ "rowCount": 0 }));
    let loaded = json!({ "loadState": "LoadStateLoaded", "loadProgress": 100, "message": "" });
    assert_eq!(call("collections/get_load_state", &books).await, loaded);
    assert_eq!(call("collections/release", &books).await, json!({}));
    let released = json!({ "loadState": "LoadStateNotLoad", "loadProgress": 0, "message": "" });
    assert_eq!(call("collections/get_load_state", &books).await, released);
    for path in ["load", "refresh_load", "flush"] {
        assert_eq!(call(&format!("collections/{path}"), &books).await, json!({}), "{path}");
    }
    let none = json!({ "loadState": "LoadStateNotExist", "loadProgress": 0, "message": "" });
    assert_eq!(call("collections/get_load_state", &json!({ "collectionName": "none" })).await, none);

    let ttl = json!({ "collectionName": "books", "properties": { "collection.ttl.seconds": 60 } });
    assert_eq!(call("collections/alter_properties", &ttl).await, json!({}));
    let pair = |key: &str, value: &str| json!({ "key": key, "value": value });
    let shown = call("collections/describe", &books).await["properties"].clone();
    assert_eq!(shown, json!([pair("timezone", "UTC"), pair("collection.ttl.seconds", "60")]));
    let keys = json!({ "collectionName": "books", "propertyKeys": ["collection.ttl.seconds"] });
    assert_eq!(call("collections/drop_properties", &keys).await, json!({}));
    let shown = call("collections/describe", &books).await["properties"].clone();
    assert_eq!(shown, json!([pair("timezone", "UTC")]));
    call("collections/release", &books).await;
    let mmap =
        json!({ "collectionName": "books", "fieldName": "vector", "fieldParams": { "mmap.enabled": true } });
    assert_eq!(call("collections/fields/alter_properties", &mmap).await, json!({}));

    let rename = json!({ "collectionName": "books", "newCollectionName": "films" });
    assert_eq!(call("collections/rename", &rename).await, json!({}));
    assert_eq!(call("collections/list", &json!({})).await, json!(["films"]));
    assert_eq!(call("collections/has", &books).await, json!({ "has": false }));
    assert_eq!(call("collections/drop", &json!({ "collectionName": "films" })).await, json!({}));
    assert_eq!(call("collections/list", &json!({ "dbName": null })).await, json!([]));

    let missing = (100, "can't find collection[database=default][collection=books]".to_owned());
    assert_eq!(bad(&proxy, "collections/describe", books.clone()).await, missing);
    assert_eq!(bad(&proxy, "collections/get_stats", books).await.0, 100);
    assert_eq!(bad(&proxy, "collections/alter_properties", json!({ "collectionName": "c" })).await.0, 1802);
}

#[tokio::test]
async fn partitions_are_made_listed_loaded_and_dropped() {
    let proxy = with_books().await;
    let one = json!({ "collectionName": "books", "partitionName": "new" });
    let several = json!({ "collectionName": "books", "partitionNames": ["new"] });
    let call =
        async |path: &str, body: &Json| good(&proxy, &format!("partitions/{path}"), body.clone()).await;

    assert_eq!(call("has", &one).await, json!({ "has": false }));
    assert_eq!(call("create", &one).await, json!({}));
    assert_eq!(call("has", &one).await, json!({ "has": true }));
    assert_eq!(call("list", &json!({ "collectionName": "books" })).await, json!(["_default", "new"]));
    let row = json!({
        "collectionName": "books", "partitionName": "new", "data": { "id": 1, "vector": [1, 2] },
    });
    good(&proxy, "entities/insert", row).await;
    assert_eq!(call("get_stats", &one).await, json!({ "rowCount": 1 }));
    assert_eq!(call("release", &several).await, json!({}));
    assert_eq!(call("load", &several).await, json!({}));
    assert_eq!(call("drop", &one).await, json!({}));
    assert_eq!(call("list", &json!({ "collectionName": "books" })).await, json!(["_default"]));

    let missing = "Key: 'PartitionsReq.PartitionNames' Error:Field validation for 'PartitionNames' failed on the 'required' tag";
    let refused = bad(&proxy, "partitions/load", json!({ "collectionName": "books" })).await;
    assert_eq!(refused, (1802, format!("missing required parameters, error: {missing}")));
}

#[tokio::test]
async fn indexes_and_aliases_are_made_listed_and_dropped() {
    let proxy = with_books().await;
    let books = json!({ "collectionName": "books" });
    let call = async |path: &str, body: &Json| good(&proxy, path, body.clone()).await;
    let vector = json!({ "collectionName": "books", "indexName": "vector" });

    assert_eq!(call("indexes/list", &books).await, json!(["vector"]));
    call("collections/release", &books).await;
    let mmap =
        json!({ "collectionName": "books", "indexName": "vector", "properties": { "mmap.enabled": true } });
    assert_eq!(call("indexes/alter_properties", &mmap).await, json!({}));
    let keys = json!({ "collectionName": "books", "indexName": "vector", "propertyKeys": ["mmap.enabled"] });
    assert_eq!(call("indexes/drop_properties", &keys).await, json!({}));
    assert_eq!(call("indexes/drop", &vector).await, json!({}));
    assert_eq!(call("indexes/list", &books).await, json!([]));
    assert_eq!(
        bad(&proxy, "indexes/describe", vector).await,
        (700, "index not found[indexName=vector]".to_owned())
    );
    let params = json!({ "collectionName": "books", "indexParams": [
        { "fieldName": "vector", "indexName": "v", "metricType": "IP", "indexType": "HNSW",
          "params": { "M": 8, "efConstruction": 64 } },
    ] });
    assert_eq!(call("indexes/create", &params).await, json!({}));
    assert_eq!(call("indexes/list", &books).await, json!(["v"]));

    let alias = json!({ "collectionName": "books", "aliasName": "b" });
    assert_eq!(call("aliases/create", &alias).await, json!({}));
    assert_eq!(call("aliases/list", &json!({})).await, json!(["b"]));
    let shown = json!({ "dbName": "default", "collectionName": "books", "aliasName": "b" });
    assert_eq!(call("aliases/describe", &json!({ "aliasName": "b" })).await, shown);
    assert_eq!(call("aliases/alter", &alias).await, json!({}));
    assert_eq!(call("aliases/drop", &json!({ "aliasName": "b" })).await, json!({}));
    assert_eq!(call("aliases/list", &books).await, json!([]));
    assert_eq!(bad(&proxy, "aliases/describe", json!({ "aliasName": "b" })).await.0, 1600);
}

#[tokio::test]
async fn an_index_is_not_dropped_where_several_may_be_meant() {
    let proxy = with_books().await;
    let params = json!({ "collectionName": "books", "indexParams": [
        { "fieldName": "id", "indexName": "other", "indexType": "INVERTED" },
    ] });
    good(&proxy, "indexes/create", params).await;
    let drop = async |field_name: &str| {
        let (collection_name, field_name) = ("books".to_owned(), field_name.to_owned());
        let request = DropIndexRequest { collection_name, field_name, ..Default::default() };
        said(Some(proxy.drop_index(Request::new(request)).await.unwrap().into_inner()))
    };

    let text = "there are multiple indexes, please specify the index_name: invalid parameter";
    assert_eq!(drop("").await, (1100, text.to_owned()));
    assert_eq!(drop("id").await, (0, String::new()));
    assert_eq!(good(&proxy, "indexes/list", json!({ "collectionName": "books" })).await, json!(["vector"]));
    assert_eq!(bad(&proxy, "indexes/drop", json!({ "collectionName": "books" })).await.0, 1802);
}

#[tokio::test]
async fn rows_are_written_read_replaced_and_deleted() {
    let proxy = with_books().await;
    let books = |more: Json| {
        let mut body = json!({ "collectionName": "books", "consistencyLevel": "Strong" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        body
    };
    let rows = json!([
        { "id": 9_007_199_254_740_993_i64, "vector": [1, 0], "k": { "n": [1.50, null] }, "none": null },
        { "id": "2", "vector": [2.5, 0] },
    ]);

    let inserted = v2(&proxy, "entities/insert", books(json!({ "data": rows }))).await;
    let count = json!({ "insertCount": 2, "insertIds": [9_007_199_254_740_993_i64, 2] });
    assert_eq!(inserted, json!({ "code": 0, "cost": 0, "data": count }));
    let found = v2(&proxy, "entities/get", books(json!({ "id": ["9007199254740993", 2, 3] }))).await;
    assert_eq!(
        found,
        json!({ "code": 0, "cost": 0, "data": [
            { "id": 2, "vector": [2.5, 0.0] },
            { "id": 9_007_199_254_740_993_i64, "vector": [1.0, 0.0], "k": { "n": [1.5, null] }, "none": null },
        ] })
    );
    let query =
        books(json!({ "filter": "id == {wanted}", "exprParams": { "wanted": 2 }, "outputFields": ["id"] }));
    assert_eq!(good(&proxy, "entities/query", query).await, json!([{ "id": 2 }]));
    let page = books(json!({ "limit": 1, "offset": 1, "outputFields": ["id"], "filter": null }));
    assert_eq!(good(&proxy, "entities/query", page).await, json!([{ "id": 9_007_199_254_740_993_i64 }]));
    let ordered = books(json!({ "orderByFields": ["id:desc"], "outputFields": ["id"], "limit": 1 }));
    assert_eq!(good(&proxy, "entities/query", ordered).await, json!([{ "id": 9_007_199_254_740_993_i64 }]));
    let count = books(json!({ "outputFields": ["count(*)"], "limit": 1 }));
    assert_eq!(good(&proxy, "entities/query", count.clone()).await, json!([{ "count(*)": 2 }]));
    for no_groups in [json!([]), json!(""), json!(null)] {
        let all = books(json!({ "outputFields": ["count(*)"], "groupByFields": no_groups }));
        assert_eq!(good(&proxy, "entities/query", all).await, json!([{ "count(*)": 2 }]));
    }
    let outputs = json!(["count(*)", "max(id)"]);
    let grouped = books(
        json!({ "outputFields": outputs, "groupByFields": ["id"], "orderByFields": ["id:desc"], "limit": 1 }),
    );
    let largest = json!([{ "count(*)": 1, "max(id)": 9_007_199_254_740_993_i64 }]);
    assert_eq!(good(&proxy, "entities/query", grouped).await, largest);

    let replaced = books(json!({ "data": { "id": 2, "vector": [0, 0], "a": 1, "b": 2 } }));
    let answer = json!({ "code": 0, "cost": 0, "data": { "upsertCount": 1, "upsertIds": [2] } });
    assert_eq!(v2(&proxy, "entities/upsert", replaced).await, answer);
    let merged = books(json!({ "data": [{ "id": 2, "b": 3 }], "partialUpdate": true }));
    assert_eq!(v2(&proxy, "entities/upsert", merged).await, answer);
    let shown = good(&proxy, "entities/get", books(json!({ "id": 2 }))).await;
    assert_eq!(shown, json!([{ "id": 2, "vector": [0.0, 0.0], "a": 1, "b": 3 }]));
    let deleted = v2(&proxy, "entities/delete", books(json!({ "filter": "id in [2, 7]" }))).await;
    assert_eq!(deleted, json!({ "code": 0, "cost": 0, "data": { "deleteCount": 2 } }));
    assert_eq!(good(&proxy, "entities/query", count).await, json!([{ "count(*)": 1 }]));
}

#[tokio::test]
async fn numbers_of_64_bits_are_texts_to_who_does_not_take_them() {
    let proxy = with_books().await;
    let row = json!({ "collectionName": "books", "data": [{ "id": 7, "vector": [1, 0] }] });
    let post = async |path: &str, body: &Json| {
        let path = format!("/v2/vectordb/entities/{path}");
        ask(&proxy, (Method::POST, &path), &[], &body.to_string()).await.1["data"].clone()
    };

    assert_eq!(post("insert", &row).await, json!({ "insertCount": 1, "insertIds": ["7"] }));
    let all = json!({ "collectionName": "books", "consistencyLevel": "Strong" });
    assert_eq!(post("query", &all).await, json!([{ "id": "7", "vector": [1.0, 0.0] }]));
    let count = json!({ "collectionName": "books", "outputFields": ["count(*)"] });
    assert_eq!(post("query", &count).await, json!([{ "count(*)": "1" }]));
    let search = json!({ "collectionName": "books", "data": [[1, 0]], "limit": 5, "outputFields": ["id"] });
    assert_eq!(post("search", &search).await, json!([{ "id": "7", "distance": 0.0 }]));
}

#[tokio::test]
async fn a_search_takes_what_a_search_over_grpc_takes() {
    let proxy = with_books().await;
    let rows: Vec<Json> =
        (0..4).map(|id| json!({ "id": id, "vector": [id, 0], "even": id % 2 == 0 })).collect();
    good(&proxy, "entities/insert", json!({ "collectionName": "books", "data": rows })).await;
    let search = async |more: Json| {
        let mut body = json!({ "collectionName": "books", "annsField": "vector", "data": [[3, 0], [0, 0]] });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        v2(&proxy, "entities/search", body).await
    };
    let hit = |id: i64, distance: f64| json!({ "id": id, "distance": distance });

    assert_eq!(
        search(json!({ "limit": 2, "filter": null, "partitionNames": null, "searchParams": null })).await,
        json!({
            "code": 0, "cost": 0, "topks": [2, 2],
            "data": [hit(3, 0.0), hit(2, 1.0), hit(0, 0.0), hit(1, 1.0)],
        })
    );
    let ranged = json!({ "limit": 9, "searchParams": { "params": { "radius": 4.5, "range_filter": 0.5 } } });
    assert_eq!(search(ranged).await["data"], json!([hit(2, 1.0), hit(1, 4.0), hit(1, 1.0), hit(2, 4.0)]));
    let shown = json!({
        "limit": 1, "offset": 1, "filter": "even == {e}", "exprParams": { "e": true }, "outputFields": ["even"],
    });
    assert_eq!(
        search(shown).await["data"],
        json!([{ "even": true, "id": 0, "distance": 9.0 }, { "even": true, "id": 2, "distance": 4.0 }])
    );
    let wide = search(json!({ "limit": i64::MAX })).await;
    assert_eq!(wide["code"], 1100, "{wide}");
    let bodies = [
        (json!({ "limit": "many" }), 1100),
        (json!({ "data": [[1, "x"]] }), 1801),
        (json!({ "data": [] }), 1802),
        (json!({ "consistencyLevel": "Sometimes" }), 1100),
        (json!({ "filter": "even == {e}", "exprParams": { "e": null } }), 1100),
        (json!({ "filter": "id == {e}", "exprParams": { "e": u64::MAX } }), 1100),
        (json!({ "exprParams": 1 }), 1100),
    ];
    for (body, code) in bodies {
        let answer = search(body.clone()).await;
        assert_eq!(answer["code"], code, "{body} {answer}");
    }
}

#[tokio::test]
async fn bad_bodies_are_refused_in_few_words() {
    let proxy = with_books().await;
    let insert = async |body: &str| {
        let path = (Method::POST, "/v2/vectordb/entities/insert");
        let (status, answer) = ask(&proxy, path, &[], body).await;
        assert_eq!(status, StatusCode::OK);
        (answer["code"].as_i64().unwrap(), answer["message"].as_str().unwrap().to_owned())
    };
    let long = "x".repeat(1 << 20);
    let row = |row: &str| format!(r#"{{"collectionName": "books", "data": {row}}}"#);
    let not_json = "can only accept json format request, error: ";
    let not_rows = "fail to deal the insert data, error: ";
    let cases = [
        (String::new(), 1801, "the request body should be nil, however {} is valid"),
        ("{".to_owned(), 1801, not_json),
        ("[1]".to_owned(), 1801, "expected an object"),
        (format!("\"{long}\""), 1801, not_json),
        ("{}".to_owned(), 1802, "Key: 'CollectionDataReq.CollectionName'"),
        (r#"{"collectionName": "books"}"#.to_owned(), 1802, "Key: 'CollectionDataReq.Data'"),
        (r#"{"collectionName": "books", "data": null}"#.to_owned(), 1802, "Key: 'CollectionDataReq.Data'"),
        (r#"{"collectionName": "none", "data": []}"#.to_owned(), 100, "collection not found"),
        (row("[]"), 1100, "num_rows should be greater than 0"),
        (row("7"), 1801, "expected an object"),
        (row(&format!("[\"{long}\"]")), 1801, not_json),
        (row(r#"[{"id": 1}]"#), 1100, "fieldSchema(vector) has no corresponding fieldData pass in"),
        (row(r#"[{"id": 1, "vector": [1]}]"#), 1100, "the dim (1) of field data(vector)"),
        (row(r#"[{"id": 1, "vector": null}]"#), 1804, not_rows),
        (row(&format!(r#"[{{"id": "{long}", "vector": [1, 2]}}]"#)), 1804, not_rows),
        (row(r#"[{"id": 1, "vector": [1, 1e39]}]"#), 1804, not_rows),
        (row(r#"[{"id": 1, "vector": [1, 2], "$meta": {}}]"#), 1100, "cannot set json key to: $meta"),
    ];

    for (body, code, text) in cases {
        let (found, said) = insert(&body).await;
        assert!(said.contains(text) && said.len() < 300, "{text} is not in {said}");
        assert_eq!(found, code, "{said}");
    }
    let filter = json!({ "collectionName": "books", "filter": format!("id == {long}") });
    assert!(bad(&proxy, "entities/query", filter).await.1.len() < 4_100);
    let none =
        good(&proxy, "entities/query", json!({ "collectionName": "books", "outputFields": ["count(*)"] }));
    assert_eq!(none.await, json!([{ "count(*)": 0 }]));
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let proxy = open();

    let answer = v2(&proxy, "jobs/snapshot/list", json!({ "collectionName": "books" })).await;

    let message = "jobs/snapshot/list is not supported yet: service unimplemented";
    assert_eq!(answer, json!({ "code": 10, "message": message }));
    let (status, _) = ask(&proxy, (Method::POST, "/v2/vectordb/jobs/none"), &[], "{}").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_import_asked_for_over_rest_is_followed_over_rest() {
    let twin = Twin::new();
    let proxy = Proxy::new(twin.parts());
    let made = json!({ "collectionName": "books", "dimension": 2 });
    good(&proxy, "collections/create", made).await;

    let files = json!([["a/1.parquet"], ["a/2.json"]]);
    let asked = json!({ "collectionName": "books", "files": files, "options": { "timeout": "300s" } });
    let job = good(&proxy, "jobs/import/create", asked).await["jobId"].clone();
    {
        let mut known = twin.imports.lock();
        known[0].state = ImportState::Importing;
        known[0].tasks[0] = crate::rpc::ImportTask {
            bytes: 100,
            read: 50,
            rows: 5,
            total: 10,
            next: Some(crate::rpc::ImportPlace { row: 5, byte: 0 }),
            ..known[0].tasks[0].clone()
        };
    }
    let found = good(&proxy, "jobs/import/describe", json!({ "jobId": job })).await;

    let detail = |file: &str, size: u64, state: &str, progress: u64, rows: u64, total: u64| {
        json!({
            "fileName": file,
            "fileSize": size,
            "state": state,
            "progress": progress,
            "importedRows": rows,
            "totalRows": total,
        })
    };
    let expected = json!({
        "jobId": job,
        "collectionName": "books",
        "state": "Importing",
        "progress": 24,
        "importedRows": 5,
        "totalRows": 10,
        "createTime": "2024-05-06T07:08:09Z",
        "fileSize": 100,
        "details": [
            detail("[a/1.parquet]", 100, "Importing", 50, 5, 10),
            detail("[a/2.json]", 0, "Pending", 0, 0, 0),
        ],
    });
    assert_eq!(found, expected);
    let listed = good(&proxy, "jobs/import/list", json!({ "collectionName": "books" })).await;
    let record = json!({ "jobId": job, "collectionName": "books", "state": "Importing", "progress": 24 });
    assert_eq!(listed, json!({ "records": [record] }));
    let missing = v2(&proxy, "jobs/import/describe", json!({ "jobId": "1" })).await;
    let message = "import job not found, jobID=1: importing data failed";
    assert_eq!(missing, json!({ "code": 2100, "message": message }));
    assert_eq!(v2(&proxy, "jobs/import/describe", json!({})).await["code"], 1802);
    assert_eq!(good(&proxy, "jobs/import/get_progress", json!({ "jobID": job })).await["jobId"], job);
    let backup = |mut options: Json| {
        options["backup"] = json!("true");
        json!({ "partitionName": "_default", "options": options })
    };
    let refused = [
        (json!({ "options": { "l0_import": "true" } }), "the collection is loaded"),
        (json!({ "options": { "backup": "true" } }), "must be specified"),
        (backup(json!({ "start_ts": "soon" })), "parse start_ts failed, invalid number soon"),
        (backup(json!({ "storage_version": "abc" })), "parse storage_version failed, invalid number abc"),
        (backup(json!({ "startTs": "2", "endTs": "1" })), "start_ts is larger than end_ts"),
        (backup(json!({ "storage_version": "2" })), "option backup is not supported"),
    ];
    for (more, told) in refused {
        let mut asked = json!({ "collectionName": "books", "files": [["a.parquet"]] });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = v2(&proxy, "jobs/import/create", asked).await;
        let text = answer["message"].as_str().unwrap();
        assert!(answer["code"] != 0 && text.contains(told), "{told} is not in {answer}");
    }
    assert_eq!(good(&proxy, "jobs/import/abort", json!({ "jobId": job })).await, json!({}));
    assert_eq!(good(&proxy, "jobs/import/describe", json!({ "jobId": job })).await["state"], "Failed");
}

#[tokio::test]
async fn an_import_that_waits_says_so_and_says_when_it_waits_no_more() {
    let twin = Twin::new();
    let proxy = Proxy::new(twin.parts());
    good(&proxy, "collections/create", json!({ "collectionName": "books", "dimension": 2 })).await;
    let options = json!({ "auto_commit": "FALSE" });
    let asked = json!({ "collectionName": "books", "files": [["a.json"]], "options": options });
    let job = good(&proxy, "jobs/import/create", asked).await["jobId"].clone();
    let shown = async |of: &[(ImportState, bool)]| {
        let mut states = Vec::new();
        for (state, may_commit) in of {
            {
                let mut known = twin.imports.lock();
                assert!(!known[0].options.commits);
                (known[0].state, known[0].may_commit) = (*state, *may_commit);
            }
            let found = good(&proxy, "jobs/import/get_progress", json!({ "jobID": job })).await;
            let listed = good(&proxy, "jobs/import/list", json!({})).await;
            assert_eq!(listed["records"][0]["state"], found["state"]);
            states.push(found["state"].as_str().unwrap().to_owned());
        }
        states
    };

    let held = ImportState::Uncommitted;
    let states =
        [(ImportState::Importing, false), (held, false), (held, true), (ImportState::Completed, true)];
    assert_eq!(shown(&states).await, ["Importing", "Uncommitted", "Committing", "Completed"]);
}

#[tokio::test]
async fn a_job_has_a_number_as_a_text_or_a_number_and_nothing_else() {
    let twin = Twin::new();
    let proxy = Proxy::new(twin.parts());
    good(&proxy, "collections/create", json!({ "collectionName": "books", "dimension": 2 })).await;
    let asked = json!({ "collectionName": "books", "files": [["a.json"]] });
    let job = good(&proxy, "jobs/import/create", asked).await["jobId"].clone();
    let number: i64 = job.as_str().unwrap().parse().unwrap();
    let kind = |kind: &str| {
        (1801, format!("can only accept json format request, error: jobId must be a string, got {kind}"))
    };
    let missing = "missing required parameters, error: Key: 'JobIDReq.JobId' Error:Field validation for 'JobId' failed on the 'required' tag";
    let no_number = "parse job id failed, jobID=not-a-number: invalid parameter";
    let cases = [
        (json!({}), (1802, missing.to_owned())),
        (json!({ "jobId": null }), (1802, missing.to_owned())),
        (json!({ "jobId": "" }), (1802, missing.to_owned())),
        (json!({ "jobId": true }), kind("bool")),
        (json!({ "jobID": ["1"] }), kind("array")),
        (json!({ "jobId": { "id": "1" } }), kind("object")),
        (json!({ "jobId": "not-a-number" }), (1100, no_number.to_owned())),
    ];

    for path in ["describe", "get_progress", "commit", "abort"] {
        let path = format!("jobs/import/{path}");
        for (body, refusal) in &cases {
            assert_eq!(bad(&proxy, &path, body.clone()).await, *refusal, "{path} {body}");
        }
    }
    for body in [json!({ "jobId": job }), json!({ "jobID": job }), json!({ "jobId": number })] {
        assert_eq!(good(&proxy, "jobs/import/describe", body).await["jobId"], job);
    }
}

#[tokio::test]
async fn an_import_of_another_shape_is_refused_and_none_is_begun() {
    let twin = Twin::new();
    let proxy = Proxy::new(twin.parts());
    good(&proxy, "collections/create", json!({ "collectionName": "books", "dimension": 2 })).await;
    let with = |key: &str, value: Json| {
        let mut body = json!({ "collectionName": "books", "files": [["a.json"]] });
        body[key] = value;
        body
    };
    let option = |key: &str, value: Json| {
        let mut options = json!({ "auto_commit": "false" });
        options[key] = value;
        with("options", options)
    };
    let cases = [
        (with("collectionName", json!(12_345)), "collectionName must be a string, got number"),
        (with("collectionName", json!(["books"])), "collectionName must be a string, got array"),
        (with("partitionName", json!(12_345)), "partitionName must be a string, got number"),
        (with("partitionName", json!(["_default"])), "partitionName must be a string, got array"),
        (with("files", json!("a.json")), "files must be an array of arrays of strings, got string"),
        (
            with("files", json!({ "path": "a.json" })),
            "files must be an array of arrays of strings, got object",
        ),
        (with("files", json!(["a.json"])), "files[0] must be an array of strings, got string"),
        (with("files", json!([["a.json"], [7]])), "a path of files[1] must be a string, got number"),
        (with("options", json!("auto_commit=false")), "options must be an object, got string"),
        (with("options", json!(["auto_commit=false"])), "options must be an object, got array"),
        (with("options", json!(12_345)), "options must be an object, got number"),
        (option("auto_commit", json!(false)), "options.auto_commit must be a string, got bool"),
        (option("auto_commit", json!(null)), "options.auto_commit must be a string, got null"),
        (option("auto_commit", json!(["false"])), "options.auto_commit must be a string, got array"),
        (option("timeout", json!(12_345)), "options.timeout must be a string, got number"),
        (option("sep", json!(true)), "options.sep must be a string, got bool"),
        (option("backup", json!({ "enabled": "true" })), "options.backup must be a string, got object"),
        (option("ezk", json!({ "key": "abc" })), "options.ezk must be a string, got object"),
    ];

    for (body, reason) in cases {
        let refusal = (1801, format!("can only accept json format request, error: {reason}"));
        assert_eq!(bad(&proxy, "jobs/import/create", body.clone()).await, refusal, "{body}");
    }
    assert_eq!(bad(&proxy, "jobs/import/create", with("files", json!(null))).await.0, 1802);
    assert_eq!(bad(&proxy, "jobs/import/create", with("collectionName", json!(null))).await.0, 1802);
    assert_eq!(bad(&proxy, "jobs/import/list", json!({ "collectionName": 12_345 })).await.0, 1801);
    assert!(twin.imports.lock().is_empty());
}

/// A proxy over a twin that checks users: `ann` has the privileges named, on everything of the default database.
fn guarded(twin: &Arc<Twin>, privileges: &[&str]) -> Proxy {
    let access = AccessSettings {
        enabled: true,
        root_password: Secret::new("rootpass".to_owned()),
        public: false,
        cost: 4,
        ..AccessSettings::default()
    };
    let grant = |privilege: &&str| Grant {
        object: crate::model::access::privilege::object_of(privilege).unwrap_or(Object::Global),
        name: "*".to_owned(),
        database: "default".to_owned(),
        privilege: (*privilege).to_owned(),
        grantor: "root".to_owned(),
    };
    let role = Role { grants: privileges.iter().map(grant).collect(), ..Role::default() };
    let mut policy = twin.policy.lock();
    let policy = Arc::make_mut(&mut policy);
    policy.roles.insert("some".to_owned(), role);
    let ann = User { roles: ["some".to_owned()].into(), ..User::default() };
    policy.users.insert("ann".to_owned(), ann);
    Proxy::new(ProxyParts { access, ..twin.parts() })
}

/// A proxy to which `ann` has given her password.
async fn by_ann(privileges: &[&str]) -> Proxy {
    let twin = Twin::new();
    let proxy = guarded(&twin, privileges);
    let password = proxy.access().hash("secret-1").await.unwrap();
    Arc::make_mut(&mut twin.policy.lock()).users.get_mut("ann").unwrap().password = Some(password);
    proxy
}

const ANN: (&str, &str) = ("authorization", "Bearer ann:secret-1");

#[tokio::test]
async fn every_path_takes_the_privilege_of_its_call_before_it_looks_at_the_body() {
    let proxy = by_ann(&[]).await;
    // `-` is a path that everybody may go who is known.
    let table = "
        collections/list - collections/has - collections/describe DescribeCollection
        collections/get_stats GetStatistics collections/get_load_state GetLoadState
        collections/create CreateCollection collections/drop DropCollection
        collections/rename RenameCollection collections/load Load collections/refresh_load Load
        collections/release Release collections/flush Flush collections/alter_properties CreateCollection
        collections/drop_properties CreateCollection collections/fields/alter_properties CreateCollection
        collections/compact Compaction collections/get_compaction_state -
        collections/truncate DropCollection collections/fields/add AddCollectionField
        collections/add_function CreateCollection collections/alter_function CreateCollection
        collections/drop_function CreateCollection collections/struct_fields/add AddCollectionField
        collections/fields/drop AlterCollectionSchema collections/add_function_field AlterCollectionSchema
        collections/drop_function_field AlterCollectionSchema jobs/import/create Import
        databases/list - databases/describe DescribeDatabase databases/create CreateDatabase
        databases/drop DropDatabase databases/alter AlterDatabase databases/alter_properties AlterDatabase
        databases/drop_properties AlterDatabase
        partitions/list ShowPartitions partitions/has HasPartition partitions/get_stats GetStatistics
        partitions/create CreatePartition partitions/drop DropPartition partitions/load Load
        partitions/release Release
        entities/insert Insert entities/upsert Upsert entities/delete Delete entities/get Query
        entities/query Query entities/search Search entities/hybrid_search Search entities/advanced_search Search
        indexes/list IndexDetail indexes/describe IndexDetail indexes/create CreateIndex indexes/drop DropIndex
        indexes/alter_properties CreateIndex indexes/drop_properties CreateIndex
        aliases/list ListAliases aliases/describe DescribeAlias aliases/create CreateAlias
        aliases/alter CreateAlias aliases/drop DropAlias
        users/list SelectOwnership users/create CreateOwnership users/drop DropOwnership
        users/describe SelectUser users/update_password UpdateUser
        users/grant_role ManageOwnership users/revoke_role ManageOwnership
        roles/list SelectOwnership roles/describe SelectOwnership roles/create CreateOwnership
        roles/alter CreateOwnership roles/drop DropOwnership roles/grant_privilege ManageOwnership
        roles/revoke_privilege ManageOwnership roles/grant_privilege_v2 ManageOwnership
        roles/revoke_privilege_v2 ManageOwnership
        privilege_groups/list ListPrivilegeGroups privilege_groups/create CreatePrivilegeGroup
        privilege_groups/drop DropPrivilegeGroup
        privilege_groups/add_privileges_to_group OperatePrivilegeGroup
        privilege_groups/remove_privileges_from_group OperatePrivilegeGroup
        resource_groups/list ListResourceGroups resource_groups/describe DescribeResourceGroup
        resource_groups/create CreateResourceGroup resource_groups/alter UpdateResourceGroups
        resource_groups/drop DropResourceGroup resource_groups/transfer_replica TransferReplica
        file_resources/list ListFileResources segments/describe - common/run_analyzer -
    ";
    let words: Vec<&str> = table.split_whitespace().collect();

    for pair in words.chunks(2) {
        let path = format!("/v2/vectordb/{}", pair[0]);
        for body in ["{}", "{", r#"{"dbName": "default", "collectionName": "books", "userName": "bob"}"#] {
            let (status, answer) = ask(&proxy, (Method::POST, &path), &[ANN], body).await;
            if pair[1] == "-" {
                assert_eq!(status, StatusCode::OK, "{path} {body} {answer}");
            } else {
                let text = format!("Privilege{}: permission deny to ann in the `default` database", pair[1]);
                assert_eq!(
                    (status, answer),
                    (StatusCode::FORBIDDEN, json!({ "code": 1401, "message": text })),
                    "{path} {body}"
                );
            }
        }
        let (status, answer) = ask(&proxy, (Method::POST, &path), &[], "{}").await;
        let unknown = json!({ "code": 1800, "message": "user hasn't authenticated" });
        assert_eq!((status, answer), (StatusCode::UNAUTHORIZED, unknown), "{path}");
    }
    assert!(words.len() / 2 > 75);
}

#[tokio::test]
async fn an_import_is_seen_and_ended_only_by_who_may_do_that_with_its_collection() {
    const ROOT: (&str, &str) = ("authorization", "Bearer root:rootpass");
    // What the paths answer that ann goes, which has these privileges on one collection, while the import is for `books`.
    let answers = async |privileges: &[&str], on: &str| {
        let twin = Twin::new();
        let proxy = guarded(&twin, privileges);
        let password = proxy.access().hash("secret-1").await.unwrap();
        {
            let mut policy = twin.policy.lock();
            let policy = Arc::make_mut(&mut policy);
            policy.users.get_mut("ann").unwrap().password = Some(password);
            let grants = &mut policy.roles.get_mut("some").unwrap().grants;
            grants.iter_mut().for_each(|grant| on.clone_into(&mut grant.name));
        }
        let post = async |who: (&str, &str), path: &str, body: Json| {
            let path = format!("/v2/vectordb/{path}");
            ask(&proxy, (Method::POST, &path), &[who], &body.to_string()).await.1
        };
        let made = json!({ "collectionName": "books", "dimension": 2 });
        assert_eq!(post(ROOT, "collections/create", made).await["code"], 0);
        let options = json!({ "auto_commit": "false" });
        let asked = json!({ "collectionName": "books", "files": [["a.json"]], "options": options });
        let job = post(ROOT, "jobs/import/create", asked).await["data"]["jobId"].clone();

        let mut codes = Vec::new();
        for path in ["describe", "get_progress", "commit", "abort"] {
            // Another collection that is named does not count.
            for body in [json!({ "jobId": job }), json!({ "jobId": job, "collectionName": "films" })] {
                codes.push(post(ANN, &format!("jobs/import/{path}"), body).await["code"].as_i64().unwrap());
            }
        }
        let listed = post(ANN, "jobs/import/list", json!({ "collectionName": "books" })).await;
        codes.push(listed["code"].as_i64().unwrap());
        let all = post(ANN, "jobs/import/list", json!({})).await;
        codes.push(all["data"]["records"].as_array().unwrap().len() as i64);
        (codes, twin.imports.lock()[0].state)
    };

    let (no, yes) = (1401, 0);
    let nothing = (vec![no, no, no, no, no, no, no, no, no, 0], ImportState::Pending);
    assert_eq!(answers(&[], "books").await, nothing);
    assert_eq!(answers(&["Import", "GetImportProgress", "ListImport"], "films").await, nothing);
    let looks = (vec![yes, yes, yes, yes, no, no, no, no, yes, 1], ImportState::Pending);
    assert_eq!(answers(&["GetImportProgress", "ListImport"], "books").await, looks);
    let ends = (vec![no, no, no, no, yes, yes, yes, yes, no, 0], ImportState::Failed);
    assert_eq!(answers(&["Import"], "books").await, ends);
}

#[tokio::test]
async fn a_collection_with_an_index_takes_the_rights_to_index_and_to_load_before_it_is_made() {
    let body = json!({ "collectionName": "books", "dimension": 2 }).to_string();
    let path = (Method::POST, "/v2/vectordb/collections/create");
    let made = async |privileges: &[&str]| {
        let proxy = by_ann(privileges).await;
        let (status, answer) = ask(&proxy, path.clone(), &[ANN], &body).await;
        let list = (Method::POST, "/v2/vectordb/collections/list");
        let root = [("authorization", "Bearer root:rootpass")];
        let listed = ask(&proxy, list, &root, "{}").await.1["data"].clone();
        (status, answer["code"].clone(), listed)
    };

    let refused = (StatusCode::FORBIDDEN, json!(1401), json!([]));
    assert_eq!(made(&["CreateCollection"]).await, refused);
    assert_eq!(made(&["CreateCollection", "CreateIndex"]).await, refused);
    let done = (StatusCode::OK, json!(0), json!(["books"]));
    assert_eq!(made(&["CreateCollection", "CreateIndex", "Load"]).await, done);
}

#[tokio::test]
async fn a_database_in_the_body_is_where_rights_count_only_as_over_grpc() {
    let proxy = by_ann(&["CreateDatabase", "DescribeDatabase"]).await;
    let post = async |path: &str, headers: &[(&str, &str)]| {
        let path = format!("/v2/vectordb/databases/{path}");
        ask(&proxy, (Method::POST, &path), headers, r#"{"dbName": "shop"}"#).await.0
    };

    // Over gRPC a database is made in the connection's, and described in its own.
    assert_eq!(post("create", &[ANN]).await, StatusCode::OK);
    assert_eq!(post("create", &[ANN, ("db-name", "shop")]).await, StatusCode::FORBIDDEN);
    assert_eq!(post("describe", &[ANN]).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn version_1_makes_fills_searches_and_drops_a_collection() {
    let proxy = open();
    let headers = [("accept-type-allow-int64", "true")];
    let post = async |path: &str, body: Json| {
        let path = format!("/v1/vector/{path}");
        ask(&proxy, (Method::POST, &path), &headers, &body.to_string()).await.1
    };
    let get =
        async |path: &str| ask(&proxy, (Method::GET, &format!("/v1/vector/{path}")), &headers, "").await.1;
    let books = |more: Json| {
        let mut body = json!({ "collectionName": "books" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        body
    };
    let nothing = json!({ "code": 200, "data": {} });

    assert_eq!(
        post("collections/create", books(json!({ "dimension": 2, "metricType": "L2" }))).await,
        nothing
    );
    assert_eq!(get("collections").await, json!({ "code": 200, "data": ["books"] }));
    assert_eq!(get("collections?dbName=none").await["data"], json!([]));
    let field = |name: &str, data_type: &str, is_key: bool| json!({ "name": name, "type": data_type, "primaryKey": is_key, "autoId": is_key, "description": "" });
    let described = json!({
        "collectionName": "books", "description": "",
        "fields": [field("id", "Int64", true), field("vector", "FloatVector(2)", false)],
        "indexes": [{ "indexName": "vector", "fieldName": "vector", "metricType": "L2" }],
        "load": "LoadStateLoaded", "shardsNum": 1, "enableDynamicField": true,
    });
    assert_eq!(
        get("collections/describe?collectionName=books").await,
        json!({ "code": 200, "data": described })
    );
    let rows = json!({ "data": [{ "vector": [1, 0], "k": "a" }, { "vector": [2, 0], "k": "b" }] });
    let inserted = post("insert", books(rows)).await;
    assert_eq!((&inserted["code"], &inserted["data"]["insertCount"]), (&json!(200), &json!(2)));
    let ids = inserted["data"]["insertIds"].as_array().unwrap().clone();
    let search =
        books(json!({ "vector": [2, 0], "limit": 1, "outputFields": ["k"], "params": { "radius": 9 } }));
    assert_eq!(
        post("search", search).await,
        json!({ "code": 200, "data": [{ "k": "b", "id": ids[1], "distance": 0.0 }] })
    );
    let query = books(json!({ "filter": "k == 'a'", "outputFields": ["k"] }));
    assert_eq!(post("query", query).await, json!({ "code": 200, "data": [{ "id": ids[0], "k": "a" }] }));
    let upsert = books(json!({ "data": { "id": ids[0], "vector": [0, 0], "k": "c" } }));
    let upserted = post("upsert", upsert).await;
    assert_eq!(upserted["data"]["upsertCount"], 1, "{upserted}");
    assert_eq!(post("delete", books(json!({ "id": ids[1] }))).await, nothing);
    let new = upserted["data"]["upsertIds"][0].clone();
    assert_eq!(
        post("get", books(json!({ "id": [ids[1], new], "outputFields": ["k"] }))).await,
        json!({ "code": 200, "data": [{ "id": new, "k": "c" }] })
    );
    assert_eq!(post("delete", books(json!({}))).await["code"], 1802);
    assert_eq!(post("collections/drop", books(json!({}))).await, nothing);
    assert_eq!(post("search", books(json!({ "vector": [1, 2] }))).await["code"], 100);
}

#[tokio::test]
async fn the_oldest_api_works_with_its_own_messages() {
    let proxy = open();
    let call = async |method: Method, path: &str, mut body: Json| {
        body["collection_name"] = json!("rest_example");
        let path = format!("/api/v1/{path}");
        let (status, answer) = ask(&proxy, (method, &path), &[], &body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{path} {answer}");
        answer
    };
    let schema = json!({ "name": "rest_example", "fields": [
        { "name": "id", "data_type": 5, "is_primary_key": true },
        { "name": "vector", "data_type": 101, "type_params": [{ "key": "dim", "value": "4" }] },
    ] });
    let vectors = json!([[0.1, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2], [0.3, 0.3, 0.3, 0.3]]);

    assert_eq!(call(Method::POST, "collection", json!({ "schema": schema })).await, json!({}));
    let exists = call(Method::GET, "collection/existence", json!({})).await;
    assert_eq!(exists, json!({ "status": {}, "value": true }));
    let rows = json!({ "num_rows": 3, "fields_data": [
        { "field_name": "id", "type": 5, "field": [1, 2, 3] },
        { "field_name": "vector", "type": 101, "field": vectors },
    ] });
    let mut inserted = call(Method::POST, "entities", rows).await;
    assert!(inserted["timestamp"].is_u64());
    inserted["timestamp"] = json!(0);
    assert_eq!(
        inserted,
        json!({
            "status": {}, "IDs": { "IdField": { "IntId": { "data": [1, 2, 3] } } }, "succ_index": [0, 1, 2],
            "insert_cnt": 3, "timestamp": 0,
        })
    );
    let flush = json!({ "collection_names": ["rest_example"] });
    assert_eq!(call(Method::POST, "persist", flush).await, json!({ "status": {} }));
    let params = json!({ "field_name": "vector", "extra_params": [
        { "key": "index_type", "value": "FLAT" }, { "key": "metric_type", "value": "L2" },
    ] });
    assert_eq!(call(Method::POST, "index", params).await, json!({}));
    assert_eq!(call(Method::POST, "collection/load", json!({})).await, json!({}));
    let search = json!({
        "output_fields": ["id"], "vectors": [[0.15, 0.15, 0.15, 0.16]], "dsl": "", "dsl_type": 1,
        "search_params": [
            { "key": "anns_field", "value": "vector" }, { "key": "topk", "value": "2" },
            { "key": "params", "value": "{\"nprobe\":10}" }, { "key": "metric_type", "value": "L2" },
            { "key": "round_decimal", "value": "2" },
        ],
    });
    let found = call(Method::POST, "search", search).await;
    assert_eq!(found["results"]["ids"], json!({ "IdField": { "IntId": { "data": [2, 1] } } }));
    assert_eq!(found["results"]["scores"], json!([0.01, 0.01]));
    let query = json!({ "expr": "id > 1", "output_fields": ["id"] });
    let column = json!({
        "type": 5, "field_name": "id", "field_id": 100,
        "Field": { "Scalars": { "Data": { "LongData": { "data": [2, 3] } } } },
    });
    assert_eq!(
        call(Method::POST, "query", query).await,
        json!({ "status": {}, "fields_data": [column], "collection_name": "rest_example" })
    );
    assert_eq!(
        call(Method::GET, "collection/statistics", json!({})).await,
        json!({ "status": {}, "stats": [{ "key": "row_count", "value": "3" }] })
    );
    assert_eq!(call(Method::DELETE, "entities", json!({ "expr": "id in [1]" })).await["delete_cnt"], 1);
    assert_eq!(call(Method::DELETE, "collection", json!({})).await, json!({}));
    assert_eq!(
        call(Method::POST, "query", json!({ "expr": "id > 1" })).await,
        json!({
            "error_code": 4, "code": 100,
            "reason": "collection not found[database=default][collection=rest_example]",
        })
    );
}

#[tokio::test]
async fn the_four_requests_of_the_guide_are_answered() {
    let proxy = open();
    let post = async |path: &str, body: Json| {
        let path = format!("/api/v1/{path}");
        ask(&proxy, (Method::POST, &path), &[], &body.to_string()).await
    };
    let vectors = |values: &[f64]| values.iter().map(|value| vec![*value; 128]).collect::<Vec<_>>();

    let schema = json!({ "fields": [
        { "name": "id", "dtype": "Int64", "is_primary": true },
        { "name": "vector", "dtype": "FloatVector", "params": { "dim": 128 } },
    ] });
    let made = post("collection", json!({ "collection_name": "rest_example", "schema": schema })).await;
    let rows = json!({ "collection_name": "rest_example", "fields_data": [
        { "field_name": "id", "type": "Int64", "field": [1, 2, 3] },
        { "field_name": "vector", "type": "FloatVector", "field": vectors(&[0.1, 0.2, 0.3]) },
    ] });
    let (_, inserted) = post("entities", rows).await;
    let search = json!({
        "collection_name": "rest_example", "vectors": vectors(&[0.15]), "dsl_type": "Dsl",
        "params": { "nprobe": 10 }, "limit": 5,
    });
    let (status, searched) = post("search", search).await;
    let info = "/api/v1/collection/info?collection_name=rest_example";
    let (_, described) = ask(&proxy, (Method::GET, info), &[], "").await;

    assert_eq!(made, (StatusCode::OK, json!({})));
    assert_eq!(inserted["insert_cnt"], 3, "{inserted}");
    // Nobody has loaded it.
    assert_eq!((status, &searched["code"]), (StatusCode::OK, &json!(101)), "{searched}");
    assert_eq!(described["schema"]["fields"][1]["type_params"], json!([{ "key": "dim", "value": "128" }]));
    let (status, refused) = ask(&proxy, (Method::POST, "/api/v1/search"), &[], "{").await;
    assert_eq!((status, &refused["code"]), (StatusCode::BAD_REQUEST, &json!(1801)));
}

#[tokio::test]
async fn the_oldest_api_is_behind_the_same_checks() {
    let proxy = by_ann(&[]).await;
    let body = r#"{"collection_name": "books", "collectionName": "", "collection_names": ["books"]}"#;
    let unknown = ask(&proxy, (Method::GET, "/api/v1/collections"), &[], "").await;

    assert_eq!(unknown.0, StatusCode::UNAUTHORIZED);
    for (method, path) in [
        (Method::POST, "collection"),
        (Method::DELETE, "collection"),
        (Method::GET, "collection"),
        (Method::GET, "collection/statistics"),
        (Method::POST, "collection/load"),
        (Method::POST, "entities"),
        (Method::DELETE, "entities"),
        (Method::POST, "persist"),
        (Method::POST, "index"),
        (Method::POST, "search"),
        (Method::POST, "query"),
    ] {
        let path = format!("/api/v1/{path}");
        assert_eq!(
            ask(&proxy, (method.clone(), &path), &[ANN], body).await.0,
            StatusCode::FORBIDDEN,
            "{method} {path}"
        );
    }
}

/// What the proxy says of rows and reads.
#[derive(Default)]
struct Noted(parking_lot::Mutex<Vec<String>>);

impl Meter for Noted {
    fn began(&self, _: &'static str) {}

    fn ended(&self, call: &'static str, kind: Option<&'static str>, _: Ended, _: Duration) {
        self.0.lock().push(format!("{call} {}", kind.unwrap_or("-")));
    }

    fn changed(&self, _: &'static str, _: usize) {}

    fn searched(&self, _: usize) {}

    fn received(&self, kind: &'static str, bytes: usize) {
        assert!(bytes > 0);
        self.0.lock().push(format!("received {kind}"));
    }

    fn sent(&self, bytes: usize) {
        assert!(bytes > 0);
        self.0.lock().push("sent".to_owned());
    }

    fn slow(&self, kind: &'static str) {
        self.0.lock().push(format!("slow {kind}"));
    }
}

#[tokio::test]
async fn reads_and_writes_over_rest_are_measured_as_what_they_are_over_grpc() {
    let (_, twin) = with_twin(false, 1).await;
    let meter = Arc::new(Noted::default());
    let settings = ProxySettings { slow_query: Some(Duration::ZERO), ..ProxySettings::default() };
    let proxy = Proxy::new(ProxyParts { meter: Some(Arc::clone(&meter) as _), settings, ..twin.parts() });

    for path in
        ["entities/get", "entities/search", "entities/hybrid_search", "entities/insert", "collections/list"]
    {
        v2(&proxy, path, json!({"collectionName": "c"})).await;
    }
    ask(&proxy, (Method::POST, "/v1/vector/query"), &[], r#"{"collectionName": "c"}"#).await;
    ask(
        &proxy,
        (Method::DELETE, "/api/v1/entities"),
        &[],
        r#"{"collection_name": "c", "expr": "id in [1]"}"#,
    )
    .await;

    let said: Vec<String> = meter.0.lock().iter().filter(|said| *said != "sent").cloned().collect();
    assert_eq!(
        said,
        [
            "received query",
            "RestGet query",
            "slow query",
            "received search",
            "RestSearch search",
            "slow search",
            "received hybrid_search",
            "RestHybridSearch hybrid_search",
            "slow hybrid_search",
            "received insert",
            "RestInsert insert",
            "RestListCollections -",
            "received query",
            "RestQuery query",
            "slow query",
            "received delete",
            "LegacyDelete delete",
        ]
    );
    assert!(meter.0.lock().iter().any(|said| said == "sent"));
}

#[tokio::test]
async fn arrays_of_structs_are_lists_of_objects() {
    let proxy = open();
    let part = |name: &str, data_type: &str, element: &str, params: Json| json!({ "fieldName": name, "dataType": data_type, "elementDataType": element, "elementTypeParams": params });
    let schema = json!({
        "fields": [
            { "fieldName": "id", "dataType": "Int64", "isPrimary": true },
            { "fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": { "dim": "2" } },
        ],
        "structFields": [{
            "fieldName": "s",
            "nullable": true,
            "typeParams": { "max_capacity": "3" },
            "fields": [
                part("n", "Array", "Int64", json!({ "max_capacity": "3" })),
                part("v", "ArrayOfVector", "FloatVector", json!({ "max_capacity": "3", "dim": "2" })),
            ],
        }],
    });
    let indexes = json!([
        { "fieldName": "vector", "indexType": "FLAT", "metricType": "L2" },
        { "fieldName": "s[v]", "indexType": "HNSW", "metricType": "MAX_SIM_IP" },
    ]);
    let create = json!({ "collectionName": "c", "schema": schema, "indexParams": indexes });
    good(&proxy, "collections/create", create).await;
    let rows = json!([
        { "id": 1, "vector": [0.0, 1.0], "s": [{ "n": 1, "v": [1.0, 2.0] }, { "n": 2, "v": [3.0, 4.5] }] },
        { "id": 2, "vector": [0.0, 1.0], "s": [] },
        { "id": 3, "vector": [0.0, 1.0], "s": null },
    ]);
    good(&proxy, "entities/insert", json!({ "collectionName": "c", "data": rows })).await;

    let asked = json!({ "collectionName": "c", "filter": "id > 0", "outputFields": ["id", "vector", "s"] });
    assert_eq!(good(&proxy, "entities/query", asked).await, rows);
    let asked =
        json!({ "collectionName": "c", "filter": "element_filter(s, $[n] == 2)", "outputFields": ["s[n]"] });
    let found = good(&proxy, "entities/query", asked).await;
    assert_eq!(found, json!([{ "id": 1, "s": [{ "n": 1 }, { "n": 2 }] }]));
    let described = good(&proxy, "collections/describe", json!({ "collectionName": "c" })).await;
    let shown = &described["structFields"][0];
    assert_eq!(
        (&shown["name"], &shown["nullable"], &shown["fields"][1]["type"]),
        (&json!("s"), &json!(true), &json!("ArrayOfVector"))
    );
    assert_eq!(shown["fields"][1]["elementType"], "FloatVector");
}

#[tokio::test]
async fn fields_arrays_of_structs_and_functions_come_and_go() {
    let proxy = with_books().await;
    let books = |body: Json| {
        let mut body = body;
        body["collectionName"] = json!("books");
        body
    };
    let names = async || {
        let described = good(&proxy, "collections/describe", books(json!({}))).await;
        ["fields", "structFields", "functions"].map(|key| {
            let all = described[key].as_array().cloned().unwrap_or_default();
            all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        })
    };
    let text = json!({
        "fieldName": "text", "dataType": "VarChar", "nullable": true,
        "elementTypeParams": { "max_length": 64, "enable_analyzer": true },
    });
    let part = json!({
        "fieldName": "n", "dataType": "Array", "elementDataType": "Int64", "elementTypeParams": { "max_capacity": 3 },
    });
    let of_structs = json!({ "fieldName": "s", "nullable": true, "fields": [part] });
    let count = json!({
        "name": "count", "type": "BM25", "inputFieldNames": ["text"], "outputFieldNames": ["words"],
    });
    let words = json!({ "fieldName": "words", "dataType": "SparseFloatVector" });
    let index = |field: &str| json!([{ "fieldName": field, "indexType": "AUTOINDEX", "metricType": "BM25" }]);
    let with_output =
        |index: Json| books(json!({ "schema": words, "function": count, "indexParams": index }));

    good(&proxy, "collections/fields/add", books(json!({ "schema": text }))).await;
    good(&proxy, "collections/struct_fields/add", books(json!({ "schema": of_structs }))).await;
    let unbound = bad(&proxy, "collections/add_function_field", with_output(index("text"))).await;
    assert_eq!(
        unbound,
        (
            1100,
            "indexParams must have exactly one index, on the function output field words: invalid parameter"
                .to_owned()
        )
    );
    good(&proxy, "collections/add_function_field", with_output(index("words"))).await;

    assert_eq!(names().await, [vec!["id", "vector", "text", "words"], vec!["s"], vec!["count"]]);
    let cases = [
        ("fields/drop", json!({}), 1802, "Key: 'CollectionFieldReq.FieldName'"),
        ("fields/drop", json!({ "fieldName": "none" }), 1700, "field not found[field=none]"),
        ("fields/drop", json!({ "fieldName": "text" }), 1100, "it is the input of function count"),
        ("struct_fields/add", json!({}), 1802, "Key: 'CollectionFieldReqWithSchema.Schema'"),
        ("struct_fields/add", json!({ "schema": of_structs }), 1100, "duplicated field name s"),
        ("add_function", json!({}), 1802, "Key: 'CollectionAddFunction.Function'"),
        ("add_function", json!({ "function": count }), 1100, "duplicate function name count"),
        ("alter_function", json!({ "function": count }), 1802, "Key: 'CollectionAlterFunction.FunctionName'"),
        (
            "alter_function",
            json!({ "functionName": "count", "function": count }),
            1100,
            "only functions of type TextEmbedding can be altered",
        ),
        ("drop_function", json!({}), 1802, "Key: 'CollectionDropFunction.FunctionName'"),
        ("drop_function", json!({ "functionName": "count" }), 1100, "can only be dropped together"),
        (
            "add_function_field",
            json!({ "schema": words, "function": count }),
            1802,
            "Key: 'CollectionAddFunctionField.IndexParams'",
        ),
        ("drop_function_field", json!({ "functionName": "none" }), 1100, "function not found: none"),
    ];
    for (path, body, code, text) in cases {
        let (found, said) = bad(&proxy, &format!("collections/{path}"), books(body)).await;
        assert!(found == code && said.contains(text), "{path}: {code} {text} is not in {found} {said}");
    }
    let nowhere = json!({ "collectionName": "none", "fieldName": "text" });
    assert_eq!(bad(&proxy, "collections/fields/drop", nowhere).await.0, 100);

    good(&proxy, "collections/drop_function_field", books(json!({ "functionName": "count" }))).await;
    good(&proxy, "collections/fields/drop", books(json!({ "fieldName": "s" }))).await;
    good(&proxy, "collections/fields/drop", books(json!({ "fieldId": 103 }))).await;

    assert_eq!(names().await, [vec!["id", "vector"], vec![], vec![]]);
}
