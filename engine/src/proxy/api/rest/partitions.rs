//! `partitions/…`: the REST form of the calls about partitions.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::{
    CreatePartitionRequest, DropPartitionRequest, GetPartitionStatisticsRequest, HasPartitionRequest,
    LoadPartitionsRequest, ReleasePartitionsRequest, ShowPartitionsRequest,
};
use http::{Extensions, HeaderMap, Uri};
use serde_json::json;

use super::collections::row_count;
use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::proxy::Proxy;
use crate::proxy::access::table::Asks;
use crate::proxy::api::{load, partitions};

/// Milvus's names of the requests, in complaints about missing keys.
const COLLECTION: &str = "CollectionNameReq";
const ONE: &str = "PartitionReq";
const SEVERAL: &str = "PartitionsReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/list", endpoint!("RestListPartitions", ShowPartitionsRequest, list))
        .route("/has", endpoint!("RestHasPartition", HasPartitionRequest, has))
        .route("/get_stats", endpoint!("RestGetPartitionStats", GetPartitionStatisticsRequest, stats))
        .route("/create", endpoint!("RestCreatePartition", CreatePartitionRequest, create))
        .route("/drop", endpoint!("RestDropPartition", DropPartitionRequest, drop))
        .route("/load", endpoint!("RestLoadPartitions", LoadPartitionsRequest, load))
        .route("/release", endpoint!("RestReleasePartitions", ReleasePartitionsRequest, release))
}

async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.required(COLLECTION, "collectionName")?;
    let request = ShowPartitionsRequest { collection_name, ..Default::default() };
    Ok(data(json!(partitions::show(proxy, visit.caller, request).await?.partition_names)))
}

async fn has(proxy: &Proxy, visit: Visit) -> Data {
    let request = HasPartitionRequest {
        collection_name: visit.required(ONE, "collectionName")?,
        partition_name: visit.required(ONE, "partitionName")?,
        ..Default::default()
    };
    Ok(data(json!({ "has": partitions::has(proxy, visit.caller, request).await?.value })))
}

async fn stats(proxy: &Proxy, visit: Visit) -> Data {
    let request = GetPartitionStatisticsRequest {
        collection_name: visit.required(ONE, "collectionName")?,
        partition_name: visit.required(ONE, "partitionName")?,
        ..Default::default()
    };
    Ok(row_count(&partitions::statistics(proxy, visit.caller, request).await?.stats))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let request = CreatePartitionRequest {
        collection_name: visit.required(ONE, "collectionName")?,
        partition_name: visit.required(ONE, "partitionName")?,
        ..Default::default()
    };
    partitions::create(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop(proxy: &Proxy, visit: Visit) -> Data {
    let request = DropPartitionRequest {
        collection_name: visit.required(ONE, "collectionName")?,
        partition_name: visit.required(ONE, "partitionName")?,
        ..Default::default()
    };
    partitions::drop(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn load(proxy: &Proxy, visit: Visit) -> Data {
    let request = LoadPartitionsRequest {
        collection_name: visit.required(SEVERAL, "collectionName")?,
        partition_names: visit.required_texts(SEVERAL, "partitionNames")?,
        ..Default::default()
    };
    load::load_partitions(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn release(proxy: &Proxy, visit: Visit) -> Data {
    let request = ReleasePartitionsRequest {
        collection_name: visit.required(SEVERAL, "collectionName")?,
        partition_names: visit.required_texts(SEVERAL, "partitionNames")?,
        ..Default::default()
    };
    load::release_partitions(proxy, visit.caller, request).await?;
    Ok(nothing())
}
