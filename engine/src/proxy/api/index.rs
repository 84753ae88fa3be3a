//! Calls about indexes.

use contract::pb::common::{IndexState, Status};
use contract::pb::milvus::{
    AlterIndexRequest, CreateIndexRequest, DescribeIndexRequest, DescribeIndexResponse, DropIndexRequest,
    GetIndexBuildProgressRequest, GetIndexBuildProgressResponse, GetIndexStateRequest, GetIndexStateResponse,
    GetIndexStatisticsRequest, GetIndexStatisticsResponse, IndexDescription,
};

use super::Caller;
use crate::proxy::convert::schema::check_index_name;
use crate::proxy::convert::status::success;
use crate::proxy::convert::{index, params};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, CollectionRef, IndexProgress, NewIndex, Refusal};

/// Makes an index; an identical one is fine.
pub async fn create(proxy: &Proxy, caller: Caller, request: CreateIndexRequest) -> Result<Status, Error> {
    let info = proxy.info_unchecked(&caller, &request.db_name, &request.collection_name).await?;
    check_index_name(&request.index_name)?;
    let Some(field) = info.schema.field(&request.field_name) else {
        return Err(Refusal::IndexFieldNotFound { field: request.field_name }.into());
    };
    let is_computed = info.schema.function_of(field.id).is_some();
    let params = index::checked(field, is_computed, params::pairs(request.extra_params))?;
    let index = NewIndex {
        collection: CollectionRef::Id(info.id),
        name: request.index_name,
        field: request.field_name,
        params,
    };
    proxy.coord().create_index(index).await?;
    Ok(success())
}

/// Sets or removes the parameters of an index that may change.
pub async fn alter(proxy: &Proxy, caller: Caller, request: AlterIndexRequest) -> Result<Status, Error> {
    match (request.extra_params.is_empty(), request.delete_keys.is_empty()) {
        (true, true) => return Err(Error::NothingToAlter),
        (false, false) => return Err(Error::AlterBoth),
        _ => {}
    }
    let set = params::pairs(request.extra_params);
    index::check_alterable(set.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))))?;
    index::check_alterable(request.delete_keys.iter().map(|key| (key.as_str(), None)))?;
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    if info.load.is_some() {
        return Err(Error::AlterIndexLoaded { collection: info.name.clone() });
    }
    proxy
        .coord()
        .alter_index(CollectionRef::Id(info.id), &request.index_name, set, request.delete_keys)
        .await?;
    Ok(success())
}

/// The indexes of a collection, or the one of a name.
pub async fn describe(
    proxy: &Proxy,
    caller: Caller,
    request: DescribeIndexRequest,
) -> Result<DescribeIndexResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let index_descriptions = descriptions(&info, &indexes(proxy, &info, &request.index_name, "").await?);
    Ok(DescribeIndexResponse { status: Some(success()), index_descriptions })
}

/// The same as [`describe`], for clients that ask by this call.
pub async fn statistics(
    proxy: &Proxy,
    caller: Caller,
    request: GetIndexStatisticsRequest,
) -> Result<GetIndexStatisticsResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let index_descriptions = descriptions(&info, &indexes(proxy, &info, &request.index_name, "").await?);
    Ok(GetIndexStatisticsResponse { status: Some(success()), index_descriptions })
}

/// Whether an index is built, for old clients.
pub async fn state(
    proxy: &Proxy,
    caller: Caller,
    request: GetIndexStateRequest,
) -> Result<GetIndexStateResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let found = indexes(proxy, &info, &request.index_name, &request.field_name).await?;
    let worst = found.iter().max_by_key(|progress| (progress.failure.is_some(), pending(progress)));
    Ok(GetIndexStateResponse {
        status: Some(success()),
        state: worst.map_or(IndexState::None, state_of).into(),
        fail_reason: worst.and_then(|progress| progress.failure.clone()).unwrap_or_default(),
    })
}

/// How many rows an index covers, for old clients.
pub async fn progress(
    proxy: &Proxy,
    caller: Caller,
    request: GetIndexBuildProgressRequest,
) -> Result<GetIndexBuildProgressResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let found = indexes(proxy, &info, &request.index_name, &request.field_name).await?;
    Ok(GetIndexBuildProgressResponse {
        status: Some(success()),
        indexed_rows: found.iter().map(|progress| to_i64(progress.indexed_rows)).sum(),
        total_rows: found.iter().map(|progress| to_i64(progress.total_rows)).sum(),
    })
}

/// Drops an index by its name, or by its field's where no name is given.
pub async fn drop(proxy: &Proxy, caller: Caller, request: DropIndexRequest) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let name = if request.index_name.is_empty() { &request.field_name } else { &request.index_name };
    proxy.coord().drop_index(CollectionRef::Id(info.id), name).await?;
    Ok(success())
}

/// The indexes meant by a name, else by a field, else all of them; at least one.
async fn indexes(
    proxy: &Proxy,
    info: &CollectionInfo,
    name: &str,
    field: &str,
) -> Result<Vec<IndexProgress>, Error> {
    let mut found = proxy.coord().indexes(CollectionRef::Id(info.id)).await?;
    if !name.is_empty() {
        found.retain(|progress| progress.index.name == name);
    } else if let Some(field) = info.schema.field(field) {
        found.retain(|progress| progress.index.field == field.id);
    }
    if found.is_empty() {
        let what =
            if name.is_empty() { format!("collection={}", info.name) } else { format!("indexName={name}") };
        return Err(Refusal::IndexNotFound { what }.into());
    }
    Ok(found)
}

fn descriptions(info: &CollectionInfo, indexes: &[IndexProgress]) -> Vec<IndexDescription> {
    let describe = |progress: &IndexProgress| IndexDescription {
        index_name: progress.index.name.clone(),
        index_id: progress.index.id.0,
        params: params::to_wire(&progress.index.params),
        field_name: info
            .schema
            .field_by_id(progress.index.field)
            .map(|field| field.name.clone())
            .unwrap_or_default(),
        indexed_rows: to_i64(progress.indexed_rows),
        total_rows: to_i64(progress.total_rows),
        pending_index_rows: to_i64(pending(progress)),
        state: state_of(progress).into(),
        index_state_fail_reason: progress.failure.clone().unwrap_or_default(),
        ..Default::default()
    };
    indexes.iter().map(describe).collect()
}

const fn pending(progress: &IndexProgress) -> u64 {
    progress.total_rows.saturating_sub(progress.indexed_rows)
}

const fn state_of(progress: &IndexProgress) -> IndexState {
    if progress.failure.is_some() {
        IndexState::Failed
    } else if pending(progress) > 0 {
        IndexState::InProgress
    } else {
        IndexState::Finished
    }
}

fn to_i64(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
