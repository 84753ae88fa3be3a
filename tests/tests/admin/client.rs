//! Rows, put there by a real client.

use std::collections::HashMap;

use milvus::v2 as sdk;
use milvus::v2::prelude::*;
use sdk::request::collection::{CreateCollectionRequest, LoadCollectionRequest};
use sdk::request::index::CreateIndexRequest;
use serde_json::json;

/// A loaded collection of so many sealed rows with an index, of which the first three were deleted after that.
pub async fn fill(address: &str, name: &str, rows: i64) {
    let client = ClientV2::new(&ConnectConfig::new().uri(format!("http://{address}"))).await.unwrap();
    let schema = sdk::CollectionSchema::new()
        .add_field(sdk::FieldSchema::new().name("id").data_type(sdk::DataType::Int64).primary_key(true))
        .add_field(sdk::FieldSchema::new().name("title").data_type(sdk::DataType::VarChar).max_length(100))
        .add_field(sdk::FieldSchema::new().name("vec").data_type(sdk::DataType::FloatVector).dimension(8));
    let create = CreateCollectionRequest::builder().collection_name(name).schema(schema).build().unwrap();
    client.create_collection(create).await.unwrap();
    let row = |id: i64| json!({"id": id, "title": format!("title {id}"), "vec": vec![id as f32 / 100.0; 8]});
    let insert = InsertRequest::builder().collection_name(name).rows((0..rows).map(row).collect::<Vec<_>>());
    client.insert(insert.build().unwrap()).await.unwrap();
    let params = HashMap::from([("M".into(), "8".into()), ("efConstruction".into(), "40".into())]);
    let index = IndexParam::new()
        .field_name("vec")
        .index_type(IndexType::Hnsw)
        .metric_type(MetricType::L2)
        .extra_params(params);
    let index = CreateIndexRequest::builder().collection_name(name).index_param(index).build().unwrap();
    client.create_index(index).await.unwrap();
    client
        .flush(sdk::request::utility::FlushRequest::builder().collection_names([name]).build().unwrap())
        .await
        .unwrap();
    client
        .load_collection(LoadCollectionRequest::builder().collection_name(name).build().unwrap())
        .await
        .unwrap();
    let delete = DeleteRequest::builder().collection_name(name).filter("id in [0, 1, 2]");
    client.delete(delete.build().unwrap()).await.unwrap();
}
