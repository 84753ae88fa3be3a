//! Calls about partitions.

use contract::pb::common::Status;
use contract::pb::milvus::{
    BoolResponse, CreatePartitionRequest, DropPartitionRequest, GetPartitionStatisticsRequest,
    GetPartitionStatisticsResponse, HasPartitionRequest, ShowPartitionsRequest, ShowPartitionsResponse,
    ShowType,
};

use super::Caller;
use super::collections::{row_count, stored_rows};
use crate::base::{CollectionId, Timestamp};
use crate::model::Partition;
use crate::proxy::convert::schema::check_partition_name;
use crate::proxy::convert::status::success;
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{CollectionInfo, CollectionRef, Refusal};

/// Makes a partition; an existing one is fine.
pub async fn create(proxy: &Proxy, caller: Caller, request: CreatePartitionRequest) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_partition_name(&request.partition_name)?;
    check_manual(&info, "create")?;
    proxy.admit_one(&caller, Asked::Partition, About::collection(&info))?;
    proxy.coord().create_partition(CollectionRef::Id(info.id), &request.partition_name).await?;
    Ok(success())
}

/// Drops a partition and its rows; one that does not exist is fine.
pub async fn drop(proxy: &Proxy, caller: Caller, request: DropPartitionRequest) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_partition_name(&request.partition_name)?;
    check_manual(&info, "drop")?;
    proxy.admit_one(&caller, Asked::Partition, About::collection(&info))?;
    proxy.coord().drop_partition(CollectionRef::Id(info.id), &request.partition_name).await?;
    Ok(success())
}

/// Partitions that a partition key fills are not for people to handle.
pub fn check_manual(info: &CollectionInfo, verb: &'static str) -> Result<(), Error> {
    if info.schema.partition_key().is_some() { Err(Error::PartitionKeyMode { verb }) } else { Ok(()) }
}

/// Whether there is such a partition.
pub async fn has(proxy: &Proxy, caller: Caller, request: HasPartitionRequest) -> Result<BoolResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_partition_name(&request.partition_name)?;
    Ok(BoolResponse { status: Some(success()), value: info.partition(&request.partition_name).is_some() })
}

/// A named partition, or Milvus's words for one that is not there.
pub fn find<'a>(info: &'a CollectionInfo, name: &str) -> Result<&'a Partition, Error> {
    info.partition(name).ok_or_else(|| Refusal::PartitionNotFound { partition: name.to_owned() }.into())
}

/// The partitions of a collection, or those named, in the order named.
#[expect(deprecated, reason = "clients still send and read what newer ones leave out")]
pub async fn show(
    proxy: &Proxy,
    caller: Caller,
    request: ShowPartitionsRequest,
) -> Result<ShowPartitionsResponse, Error> {
    let info = if request.collection_name.is_empty() && request.collection_id != 0 {
        proxy.coord().collection(CollectionRef::Id(CollectionId(request.collection_id))).await?
    } else {
        proxy.info(&caller, &request.db_name, &request.collection_name).await?
    };
    let partitions: Vec<&Partition> = if request.partition_names.is_empty() {
        info.partitions.iter().collect()
    } else {
        request.partition_names.iter().map(|name| find(&info, name)).collect::<Result<_, _>>()?
    };
    let mut answer = ShowPartitionsResponse { status: Some(success()), ..Default::default() };
    let mut percent = None;
    if request.r#type == ShowType::InMemory as i32 {
        let progress = proxy.coord().load_progress(CollectionRef::Id(info.id)).await?;
        percent =
            Some(progress.ok_or_else(|| Refusal::CollectionNotLoaded { collection: info.id.to_string() })?);
    }
    for partition in partitions {
        if percent.is_some() && !is_loaded(&info, partition) {
            continue;
        }
        answer.partition_names.push(partition.name.clone());
        answer.partition_i_ds.push(partition.id.0);
        answer.created_timestamps.push(Timestamp::from_unix_ms(partition.created_unix_ms).0);
        answer.created_utc_timestamps.push(partition.created_unix_ms);
        answer.in_memory_percentages.extend(percent.map(i64::from));
    }
    Ok(answer)
}

/// Whether a partition is wanted in memory.
pub fn is_loaded(info: &CollectionInfo, partition: &Partition) -> bool {
    let Some(load) = &info.load else { return false };
    load.partitions.as_ref().is_none_or(|wanted| wanted.contains(&partition.id))
}

/// How many rows of a partition are stored in sealed segments, deleted ones included.
pub async fn statistics(
    proxy: &Proxy,
    caller: Caller,
    request: GetPartitionStatisticsRequest,
) -> Result<GetPartitionStatisticsResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    let partition = find(&info, &request.partition_name)?;
    let stats = row_count(stored_rows(proxy, info.id, Some(partition.id)).await?);
    Ok(GetPartitionStatisticsResponse { status: Some(success()), stats })
}
