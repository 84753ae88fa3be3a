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
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, CollectionRef, IndexProgress, NewIndex, Refusal};

/// Makes an index; an identical one is fine.
pub async fn create(proxy: &Proxy, caller: Caller, request: CreateIndexRequest) -> Result<Status, Error> {
    let info = proxy.info_unchecked(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Index, About::collection(&info))?;
    create_admitted(proxy, &info, request).await
}

/// Makes an index for a call that was let through.
pub(super) async fn create_admitted(
    proxy: &Proxy,
    info: &CollectionInfo,
    request: CreateIndexRequest,
) -> Result<Status, Error> {
    check_index_name(&request.index_name)?;
    // What no field is called is a key of the dynamic field.
    let named = info.schema.field(&request.field_name).or_else(|| info.schema.dynamic());
    let Some(field) = named else {
        return Err(Refusal::IndexFieldNotFound { field: request.field_name }.into());
    };
    let params = params::pairs(request.extra_params);
    let params = index::checked(&info.schema, field, &request.field_name, params)?;
    let index = NewIndex {
        collection: CollectionRef::Id(info.id),
        name: request.index_name,
        field: field.name.clone(),
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
    if let Some(known) = info.indexes.iter().find(|known| known.name == request.index_name) {
        index::check_offsets(&known.index_type, &set)?;
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

/// Drops an index by its name; where none is given, the only one of the field, or of the collection if none is named either.
pub async fn drop(proxy: &Proxy, caller: Caller, request: DropIndexRequest) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Index, About::collection(&info))?;
    let name = if request.index_name.is_empty() {
        only_index(proxy, &info, &request.field_name).await?
    } else {
        request.index_name
    };
    proxy.coord().drop_index(CollectionRef::Id(info.id), &name).await?;
    Ok(success())
}

/// The name of the one index that a field, or no field, means. A field without one may be the name of an index itself.
async fn only_index(proxy: &Proxy, info: &CollectionInfo, field: &str) -> Result<String, Error> {
    let mut found = proxy.coord().indexes(CollectionRef::Id(info.id)).await?;
    if !field.is_empty() {
        let id = info.schema.field(field).map(|field| field.id);
        found.retain(|progress| Some(progress.index.field) == id);
    }
    match found.as_slice() {
        [] => Ok(field.to_owned()),
        [one] => Ok(one.index.name.clone()),
        _ => Err(Error::AmbiguousIndex),
    }
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
    } else if !field.is_empty() {
        let is_on =
            |one: &IndexProgress| one.index.field_name(&info.schema).is_some_and(|name| name == field);
        if info.schema.field(field).is_some() || found.iter().any(is_on) {
            found.retain(is_on);
        }
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
        field_name: progress.index.field_name(&info.schema).unwrap_or_default(),
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
