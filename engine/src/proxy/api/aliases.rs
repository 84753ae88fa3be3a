//! Calls about aliases.

use contract::pb::common::Status;
use contract::pb::milvus::{
    AlterAliasRequest, CreateAliasRequest, DescribeAliasRequest, DescribeAliasResponse, DropAliasRequest,
    ListAliasesRequest, ListAliasesResponse,
};

use super::Caller;
use crate::proxy::convert::schema::{check_alias_name, check_collection_name};
use crate::proxy::convert::status::success;
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{AliasChange, Refusal};

/// Gives a collection another name.
pub async fn create(proxy: &Proxy, caller: Caller, request: CreateAliasRequest) -> Result<Status, Error> {
    check_alias_name(&request.alias)?;
    check_collection_name(&request.collection_name)?;
    let change = AliasChange::Create { collection: request.collection_name };
    change_alias(proxy, &caller, &request.db_name, &request.alias, change).await?;
    Ok(success())
}

/// Removes an alias.
pub async fn drop(proxy: &Proxy, caller: Caller, request: DropAliasRequest) -> Result<Status, Error> {
    check_alias_name(&request.alias)?;
    change_alias(proxy, &caller, &request.db_name, &request.alias, AliasChange::Drop).await?;
    Ok(success())
}

/// Points an alias at another collection.
pub async fn alter(proxy: &Proxy, caller: Caller, request: AlterAliasRequest) -> Result<Status, Error> {
    check_alias_name(&request.alias)?;
    check_collection_name(&request.collection_name)?;
    let change = AliasChange::Alter { collection: request.collection_name };
    change_alias(proxy, &caller, &request.db_name, &request.alias, change).await?;
    Ok(success())
}

async fn change_alias(
    proxy: &Proxy,
    caller: &Caller,
    database: &str,
    alias: &str,
    change: AliasChange,
) -> Result<(), Error> {
    let database = caller.database(database);
    proxy.admit_one(caller, Asked::Alteration, About::database(&database))?;
    Ok(proxy.coord().alter_alias(&database, alias, change).await?)
}

/// Which collection an alias means.
pub async fn describe(
    proxy: &Proxy,
    caller: Caller,
    request: DescribeAliasRequest,
) -> Result<DescribeAliasResponse, Error> {
    check_alias_name(&request.alias)?;
    let database = caller.database(&request.db_name);
    let collections = proxy.coord().collections(&database).await?;
    let Some(info) = collections.iter().find(|info| info.aliases.contains(&request.alias)) else {
        return Err(Refusal::AliasNotFound { database, alias: request.alias }.into());
    };
    Ok(DescribeAliasResponse {
        status: Some(success()),
        db_name: database,
        alias: request.alias,
        collection: info.name.clone(),
    })
}

/// The aliases of one collection, or of all collections of a database.
pub async fn list(
    proxy: &Proxy,
    caller: Caller,
    request: ListAliasesRequest,
) -> Result<ListAliasesResponse, Error> {
    let database = caller.database(&request.db_name);
    let aliases = if request.collection_name.is_empty() {
        let collections = proxy.coord().collections(&database).await?;
        collections.iter().flat_map(|info| info.aliases.iter().cloned()).collect()
    } else {
        proxy.info(&caller, &request.db_name, &request.collection_name).await?.aliases.clone()
    };
    Ok(ListAliasesResponse {
        status: Some(success()),
        db_name: database,
        collection_name: request.collection_name,
        aliases,
    })
}
