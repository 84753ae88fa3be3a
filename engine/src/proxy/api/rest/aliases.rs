//! `aliases/…`: the REST form of the calls about aliases.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::{
    AlterAliasRequest, CreateAliasRequest, DescribeAliasRequest, DropAliasRequest, ListAliasesRequest,
};
use http::{Extensions, HeaderMap, Uri};
use serde_json::json;

use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::proxy::Proxy;
use crate::proxy::access::table::Asks;
use crate::proxy::api::aliases;

/// Milvus's names of the requests, in complaints about missing keys.
const REQUEST: &str = "AliasReq";
const WITH_COLLECTION: &str = "AliasCollectionReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/list", endpoint!("RestListAliases", ListAliasesRequest, list))
        .route("/describe", endpoint!("RestDescribeAlias", DescribeAliasRequest, describe))
        .route("/create", endpoint!("RestCreateAlias", CreateAliasRequest, create))
        .route("/alter", endpoint!("RestAlterAlias", AlterAliasRequest, alter))
        .route("/drop", endpoint!("RestDropAlias", DropAliasRequest, drop))
}

async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let collection_name = visit.text("collectionName");
    let request = ListAliasesRequest { collection_name, ..Default::default() };
    Ok(data(json!(aliases::list(proxy, visit.caller, request).await?.aliases)))
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let alias = visit.required(REQUEST, "aliasName")?;
    let request = DescribeAliasRequest { alias, ..Default::default() };
    let shown = aliases::describe(proxy, visit.caller, request).await?;
    Ok(data(json!({
        "dbName": shown.db_name,
        "collectionName": shown.collection,
        "aliasName": shown.alias,
    })))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let request = CreateAliasRequest {
        collection_name: visit.required(WITH_COLLECTION, "collectionName")?,
        alias: visit.required(WITH_COLLECTION, "aliasName")?,
        ..Default::default()
    };
    aliases::create(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn alter(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterAliasRequest {
        collection_name: visit.required(WITH_COLLECTION, "collectionName")?,
        alias: visit.required(WITH_COLLECTION, "aliasName")?,
        ..Default::default()
    };
    aliases::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop(proxy: &Proxy, visit: Visit) -> Data {
    let alias = visit.required(REQUEST, "aliasName")?;
    aliases::drop(proxy, visit.caller, DropAliasRequest { alias, ..Default::default() }).await?;
    Ok(nothing())
}
