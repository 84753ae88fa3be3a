//! Calls about databases.

use contract::pb::common::Status;
use contract::pb::milvus::{
    AlterDatabaseRequest, CreateDatabaseRequest, DescribeDatabaseRequest, DescribeDatabaseResponse,
    DropDatabaseRequest, ListDatabasesRequest, ListDatabasesResponse,
};

use super::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::convert::{params, schema, times};
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::Refusal;

/// Makes a database.
pub async fn create(proxy: &Proxy, caller: Caller, request: CreateDatabaseRequest) -> Result<Status, Error> {
    schema::check_database_name(&request.db_name)?;
    let properties = params::pairs(request.properties);
    times::check_properties(&properties)?;
    proxy.admit_one(&caller, Asked::Database, About::database(&request.db_name))?;
    proxy.coord().create_database(&request.db_name, properties).await?;
    proxy.databases_changed().await;
    Ok(success())
}

/// Drops an empty database.
pub async fn drop(proxy: &Proxy, caller: Caller, request: DropDatabaseRequest) -> Result<Status, Error> {
    schema::check_database_name(&request.db_name)?;
    proxy.admit_one(&caller, Asked::Database, About::database(&request.db_name))?;
    proxy.coord().drop_database(&request.db_name).await?;
    Ok(success())
}

/// All databases that the caller is shown.
pub async fn list(
    proxy: &Proxy,
    caller: Caller,
    _: ListDatabasesRequest,
) -> Result<ListDatabasesResponse, Error> {
    let view = proxy.visible(caller.login.as_ref()).await?;
    let mut databases = proxy.coord().databases().await?;
    databases.retain(|database| view.shows(&database.name, None));
    Ok(ListDatabasesResponse {
        status: Some(success()),
        db_names: databases.iter().map(|database| database.name.clone()).collect(),
        created_timestamp: databases.iter().map(|database| database.created.0).collect(),
        db_ids: databases.iter().map(|database| database.id.0).collect(),
    })
}

/// Sets or removes properties.
pub async fn alter(proxy: &Proxy, caller: Caller, request: AlterDatabaseRequest) -> Result<Status, Error> {
    match (request.properties.is_empty(), request.delete_keys.is_empty()) {
        (true, true) => return Err(Error::AlterDatabaseEmpty),
        (false, false) => return Err(Error::AlterBoth),
        _ => {}
    }
    let name = caller.database(&request.db_name);
    let properties = params::pairs(request.properties);
    times::check_properties(&properties)?;
    proxy.admit_one(&caller, Asked::Database, About::database(&name))?;
    proxy.coord().alter_database(&name, properties, request.delete_keys).await?;
    proxy.databases_changed().await;
    Ok(success())
}

/// One database.
pub async fn describe(
    proxy: &Proxy,
    caller: Caller,
    request: DescribeDatabaseRequest,
) -> Result<DescribeDatabaseResponse, Error> {
    let name = caller.database(&request.db_name);
    let databases = proxy.coord().databases().await?;
    let Some(database) = databases.into_iter().find(|database| database.name == name) else {
        return Err(Refusal::DatabaseNotFound { database: name }.into());
    };
    Ok(DescribeDatabaseResponse {
        status: Some(success()),
        db_name: database.name,
        db_id: database.id.0,
        created_timestamp: database.created.0,
        properties: params::to_wire(&database.properties),
    })
}
