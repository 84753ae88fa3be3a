//! The official Rust client against a running server: create, insert, index, load, search, query, upsert, delete, count, alias,
//! drop. `REDKITE_URI` names the server; without it the test says so and passes, unless `REDKITE_REQUIRE_ALL=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells its story on the terminal"
)]

use anyhow::Result;
use milvus::v2 as sdk;
use milvus::v2::prelude::*;
use sdk::request::alias::{CreateAliasRequest, DescribeAliasRequest, DropAliasRequest};
use sdk::request::collection::{
    CreateCollectionRequest, DropCollectionRequest, HasCollectionRequest, LoadCollectionRequest,
};
use sdk::request::index::CreateIndexRequest;
use serde_json::{Value, json};
use std::collections::HashMap;

const NAME: &str = "rust_client_rows";
const ALIAS: &str = "rust_client_alias";
const ROWS: i64 = 1000;
const DIM: usize = 8;

#[tokio::test]
async fn the_rust_client_runs_from_create_to_drop() {
    let Ok(uri) = std::env::var("REDKITE_URI") else {
        assert_ne!(std::env::var("REDKITE_REQUIRE_ALL").as_deref(), Ok("1"), "REDKITE_URI names no server");
        eprintln!("skipped: REDKITE_URI names no server");
        return;
    };
    let client = ClientV2::new(&ConnectConfig::new().uri(uri)).await.expect("a connection");
    run(&client).await.expect("every call succeeds");
}

async fn run(client: &ClientV2) -> Result<()> {
    let _ = client.drop_alias(DropAliasRequest::builder().alias(ALIAS).build()?).await;
    client.drop_collection(DropCollectionRequest::builder().collection_name(NAME).build()?).await?;
    create(client).await?;
    let inserted = client.insert(insert_of((0..ROWS).map(|id| row(id, &format!("title {id}"))))?).await?;
    assert_eq!(inserted.insert_count(), ROWS);
    index_and_load(client).await?;
    search(client).await?;

    let changed = UpsertRequest::builder().insert(insert_of([row(7, "changed")])?).build()?;
    client.upsert(changed).await?;
    assert_eq!(
        query(client, NAME, "id == 7", &["id", "title"]).await?,
        [json!({"id": 7, "title": "changed"})]
    );
    client.delete(DeleteRequest::builder().collection_name(NAME).filter("id in [1, 2, 3]").build()?).await?;
    assert_eq!(query(client, NAME, "", &["count(*)"]).await?, [json!({"count(*)": ROWS - 3})]);

    client.create_alias(CreateAliasRequest::builder().collection_name(NAME).alias(ALIAS).build()?).await?;
    let alias = client.describe_alias(DescribeAliasRequest::builder().alias(ALIAS).build()?).await?;
    assert_eq!(alias.collection_name(), NAME);
    assert_eq!(query(client, ALIAS, "id == 9", &["id"]).await?, [json!({"id": 9})]);
    client.drop_alias(DropAliasRequest::builder().alias(ALIAS).build()?).await?;

    client.drop_collection(DropCollectionRequest::builder().collection_name(NAME).build()?).await?;
    let there = client.has_collection(HasCollectionRequest::builder().collection_name(NAME).build()?).await?;
    assert!(!there.exists(), "the collection is gone");
    Ok(())
}

async fn create(client: &ClientV2) -> Result<()> {
    let schema = sdk::CollectionSchema::new()
        .add_field(sdk::FieldSchema::new().name("id").data_type(sdk::DataType::Int64).primary_key(true))
        .add_field(sdk::FieldSchema::new().name("title").data_type(sdk::DataType::VarChar).max_length(100))
        .add_field(sdk::FieldSchema::new().name("vec").data_type(sdk::DataType::FloatVector).dimension(8));
    client
        .create_collection(CreateCollectionRequest::builder().collection_name(NAME).schema(schema).build()?)
        .await?;
    Ok(())
}

async fn index_and_load(client: &ClientV2) -> Result<()> {
    let params = HashMap::from([("M".into(), "8".into()), ("efConstruction".into(), "100".into())]);
    let index = IndexParam::new()
        .field_name("vec")
        .index_type(IndexType::Hnsw)
        .metric_type(MetricType::L2)
        .extra_params(params);
    client
        .create_index(CreateIndexRequest::builder().collection_name(NAME).index_param(index).build()?)
        .await?;
    client.load_collection(LoadCollectionRequest::builder().collection_name(NAME).build()?).await?;
    Ok(())
}

async fn search(client: &ClientV2) -> Result<()> {
    let request = SearchRequest::builder()
        .collection_name(NAME)
        .vector_field("vec")
        .vectors(SearchVectors::Float(vec![vector(42), vector(900)]))
        .output_fields(["title"])
        .extra_params(HashMap::from([("ef".into(), "100".into())]))
        .limit(1)
        .consistency_level(sdk::ConsistencyLevel::Strong)
        .build()?;
    let response = client.search(request).await?;
    let mut titles = Vec::new();
    for answer in response.results() {
        for hit in answer.rows()? {
            titles.push(Value::Object(hit.to_entity_row()?)["title"].clone());
        }
    }
    assert_eq!(titles, [json!("title 42"), json!("title 900")]);
    Ok(())
}

async fn query(client: &ClientV2, name: &str, filter: &str, fields: &[&str]) -> Result<Vec<Value>> {
    let request = QueryRequest::builder()
        .collection_name(name)
        .filter(filter)
        .output_fields(fields.iter().copied())
        .consistency_level(sdk::ConsistencyLevel::Strong)
        .build()?;
    let response = client.query(request).await?;
    response.results().rows()?.map(|row| Ok(Value::Object(row.to_entity_row()?))).collect()
}

fn insert_of(rows: impl IntoIterator<Item = Value>) -> Result<InsertRequest> {
    Ok(InsertRequest::builder().collection_name(NAME).rows(rows.into_iter().collect::<Vec<_>>()).build()?)
}

fn row(id: i64, title: &str) -> Value {
    json!({"id": id, "title": title, "vec": vector(id)})
}

/// A vector that no other row has.
#[expect(clippy::cast_precision_loss, reason = "row numbers are small")]
fn vector(id: i64) -> Vec<f32> {
    (0..DIM as i64).map(|place| ((id * (place + 3) * 7919) % 1013) as f32 / 1013.0).collect()
}
