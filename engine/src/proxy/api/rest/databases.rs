//! `databases/…`: the REST form of the calls about databases.

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use contract::pb::milvus::{
    AlterDatabaseRequest, CreateDatabaseRequest, DescribeDatabaseRequest, DropDatabaseRequest,
    ListDatabasesRequest,
};
use http::{Extensions, HeaderMap, Uri};
use serde_json::json;

use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::proxy::access::table::Asks;
use crate::proxy::api::databases;
use crate::proxy::convert::json_schema::shown_pairs;
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, Refusal};

/// Milvus's names of the requests, in complaints about missing keys.
const REQUEST: &str = "DatabaseReq";
const WITH_PROPERTIES: &str = "DatabaseReqWithProperties";
const WITHOUT_PROPERTIES: &str = "DropDatabasePropertiesReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    Router::new()
        .route("/list", endpoint!("RestListDatabases", ListDatabasesRequest, list))
        .route("/describe", endpoint!("RestDescribeDatabase", DescribeDatabaseRequest, describe))
        .route("/create", endpoint!("RestCreateDatabase", CreateDatabaseRequest, create))
        .route("/drop", endpoint!("RestDropDatabase", DropDatabaseRequest, drop))
        .route("/alter", endpoint!("RestAlterDatabase", AlterDatabaseRequest, alter))
        .route("/alter_properties", endpoint!("RestAlterDatabase", AlterDatabaseRequest, alter))
        .route("/drop_properties", endpoint!("RestAlterDatabase", AlterDatabaseRequest, drop_properties))
}

async fn list(proxy: &Proxy, visit: Visit) -> Data {
    let shown = databases::list(proxy, visit.caller, ListDatabasesRequest::default()).await?;
    Ok(data(json!(shown.db_names)))
}

async fn describe(proxy: &Proxy, visit: Visit) -> Data {
    let db_name = visit.required(REQUEST, "dbName")?;
    let request = DescribeDatabaseRequest { db_name, ..Default::default() };
    let shown = databases::describe(proxy, visit.caller, request).await?;
    Ok(data(json!({
        "dbName": shown.db_name,
        "dbID": shown.db_id,
        "properties": shown_pairs(&shown.properties),
    })))
}

async fn create(proxy: &Proxy, visit: Visit) -> Data {
    let request = CreateDatabaseRequest {
        db_name: visit.required(WITH_PROPERTIES, "dbName")?,
        properties: visit.pairs("properties"),
        ..Default::default()
    };
    databases::create(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop(proxy: &Proxy, visit: Visit) -> Data {
    let db_name = visit.required(REQUEST, "dbName")?;
    match databases::drop(proxy, visit.caller, DropDatabaseRequest { db_name, ..Default::default() }).await {
        // Over REST, one that is not there is gone as it was to be.
        Ok(_) | Err(Error::Peer(rpc::Error::Refused(Refusal::DatabaseNotFound { .. }))) => Ok(nothing()),
        Err(error) => Err(error),
    }
}

async fn alter(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterDatabaseRequest {
        db_name: visit.required(WITH_PROPERTIES, "dbName")?,
        properties: visit.pairs("properties"),
        ..Default::default()
    };
    databases::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_properties(proxy: &Proxy, visit: Visit) -> Data {
    let request = AlterDatabaseRequest {
        db_name: visit.required(WITHOUT_PROPERTIES, "dbName")?,
        delete_keys: visit.texts("propertyKeys"),
        ..Default::default()
    };
    databases::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}
