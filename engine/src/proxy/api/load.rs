//! Calls about what is in memory.

use std::time::Duration;

use contract::pb::common::{LoadState, Status};
use contract::pb::milvus::{
    GetLoadStateRequest, GetLoadStateResponse, GetLoadingProgressRequest, GetLoadingProgressResponse,
    LoadCollectionRequest, LoadPartitionsRequest, ReleaseCollectionRequest, ReleasePartitionsRequest,
};

use super::Caller;
use super::partitions::{check_manual, find, is_loaded};
use crate::base::{CollectionId, Kind, Kinded as _};
use crate::proxy::convert::schema::check_load_fields;
use crate::proxy::convert::status::success;
use crate::proxy::limits::{About, Asked};
use crate::proxy::{Error, Proxy};
use crate::rpc::{self, CollectionInfo, CollectionRef, Refusal};

/// How often it is asked about a collection that fits nowhere, and how long after the last time.
const FULL_TIMES: usize = 20;
const FULL_AGAIN: Duration = Duration::from_millis(500);

/// Wants a collection in memory; the client asks for the progress.
pub async fn load(proxy: &Proxy, caller: Caller, request: LoadCollectionRequest) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_load_fields(&info.schema, &request.load_fields)?;
    proxy.admit_one(&caller, Asked::Collection, About::collection(&info))?;
    load_admitted(proxy, &info, request).await
}

/// Wants a collection in memory for a call that was let through.
pub(super) async fn load_admitted(
    proxy: &Proxy,
    info: &CollectionInfo,
    request: LoadCollectionRequest,
) -> Result<Status, Error> {
    let Copies { number, groups } =
        copies(proxy, info, request.replica_number, request.resource_groups).await?;
    proxy.coord().load(CollectionRef::Id(info.id), None, number, groups).await?;
    Ok(success())
}

/// Wants some partitions in memory.
pub async fn load_partitions(
    proxy: &Proxy,
    caller: Caller,
    request: LoadPartitionsRequest,
) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_manual(&info, "load")?;
    check_partitions(&info, &request.partition_names)?;
    check_load_fields(&info.schema, &request.load_fields)?;
    proxy.admit_one(&caller, Asked::Partition, About::collection(&info))?;
    let Copies { number, groups } =
        copies(proxy, &info, request.replica_number, request.resource_groups).await?;
    let partitions = Some(request.partition_names);
    proxy.coord().load(CollectionRef::Id(info.id), partitions, number, groups).await?;
    Ok(success())
}

/// The copies that a load makes.
#[derive(Debug, PartialEq, Eq)]
struct Copies {
    number: u32,
    groups: Vec<String>,
}

/// What a load that does not say it takes from properties, the collection's before the database's.
const NUMBER: [&str; 2] = ["collection.replica.number", "database.replica.number"];
const GROUPS: [&str; 2] = ["collection.resource_groups", "database.resource_groups"];

/// So many copies may be asked for without a look at how many nodes there are.
const FEW: u32 = 64;

/// The copies that a request asks for, or that the collection or its database has by default.
async fn copies(
    proxy: &Proxy,
    info: &CollectionInfo,
    number: i32,
    groups: Vec<String>,
) -> Result<Copies, Error> {
    let mut asked = Copies { number: u32::try_from(number).unwrap_or(0), groups };
    complete(&mut asked, &info.properties, (NUMBER[0], GROUPS[0]));
    if asked.number == 0 || asked.groups.is_empty() {
        let databases = proxy.coord().databases().await?;
        if let Some(database) = databases.iter().find(|known| known.id == info.database) {
            complete(&mut asked, &database.properties, (NUMBER[1], GROUPS[1]));
        }
    }
    asked.number = asked.number.max(1);
    if asked.number > FEW {
        // Each copy costs the coordinator a number and a name before it sees that there is no node for it.
        let nodes = proxy.coord().nodes().await?.iter().filter(|node| node.info.duties.queries).count();
        let wanted = asked.number as usize;
        if wanted > nodes {
            return Err(Refusal::TooManyReplicas { wanted, nodes }.into());
        }
    }
    if asked.groups.len() > 1 && asked.groups.len() != asked.number as usize {
        let text = "resource group num can only be 0, 1 or same as replica number".to_owned();
        return Err(Refusal::BadParameter { text }.into());
    }
    Ok(asked)
}

/// Takes from properties what is not said yet; one that says nothing sensible is as good as none.
fn complete(copies: &mut Copies, properties: &[(String, String)], (number, groups): (&str, &str)) {
    let value = |name: &str| properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    if copies.number == 0 {
        copies.number = value(number).and_then(|number| number.parse().ok()).unwrap_or(0);
    }
    if copies.groups.is_empty() {
        let names = value(groups).unwrap_or_default().split(',').map(str::trim);
        copies.groups = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    }
}

fn check_partitions(info: &CollectionInfo, names: &[String]) -> Result<(), Error> {
    if names.is_empty() {
        return Err(Error::EmptyPartitionList);
    }
    names.iter().try_for_each(|name| find(info, name).map(drop))
}

/// No longer wants a collection in memory.
pub async fn release(
    proxy: &Proxy,
    caller: Caller,
    request: ReleaseCollectionRequest,
) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    proxy.admit_one(&caller, Asked::Collection, About::collection(&info))?;
    proxy.coord().release(CollectionRef::Id(info.id), None).await?;
    Ok(success())
}

/// No longer wants some partitions in memory.
pub async fn release_partitions(
    proxy: &Proxy,
    caller: Caller,
    request: ReleasePartitionsRequest,
) -> Result<Status, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    check_manual(&info, "release")?;
    check_partitions(&info, &request.partition_names)?;
    proxy.admit_one(&caller, Asked::Partition, About::collection(&info))?;
    proxy.coord().release(CollectionRef::Id(info.id), Some(request.partition_names)).await?;
    Ok(success())
}

/// Whether a collection (or all of some partitions) can be searched. A missing collection is an answer, not an error.
pub async fn state(
    proxy: &Proxy,
    caller: Caller,
    request: GetLoadStateRequest,
) -> Result<GetLoadStateResponse, Error> {
    let answer = |state: LoadState| GetLoadStateResponse { status: Some(success()), state: state.into() };
    let info = match proxy.info(&caller, &request.db_name, &request.collection_name).await {
        Ok(info) => info,
        Err(Error::Peer(rpc::Error::Refused(Refusal::CollectionNotFound { .. }))) => {
            return Ok(answer(LoadState::NotExist));
        }
        Err(error) => return Err(error),
    };
    for name in &request.partition_names {
        if !is_loaded(&info, find(&info, name)?) {
            return Ok(answer(LoadState::NotLoad));
        }
    }
    Ok(answer(match loaded(proxy, info.id).await? {
        None => LoadState::NotLoad,
        Some(100) => LoadState::Loaded,
        Some(_) => LoadState::Loading,
    }))
}

/// How far a collection is loaded. One that fits nowhere is asked about for a while: memory may just be given back.
async fn loaded(proxy: &Proxy, id: CollectionId) -> Result<Option<u8>, rpc::Error> {
    let mut times = 0;
    loop {
        times += 1;
        match proxy.coord().load_progress(CollectionRef::Id(id)).await {
            Err(error) if error.kind() == Kind::Exhausted && times < FULL_TIMES => {
                proxy.clock().sleep(FULL_AGAIN).await;
            }
            answered => return answered,
        }
    }
}

/// How far a collection (or some partitions) is loaded, in percent.
pub async fn progress(
    proxy: &Proxy,
    caller: Caller,
    request: GetLoadingProgressRequest,
) -> Result<GetLoadingProgressResponse, Error> {
    let info = proxy.info(&caller, &request.db_name, &request.collection_name).await?;
    for name in &request.partition_names {
        if !is_loaded(&info, find(&info, name)?) && info.load.is_some() {
            return Err(Refusal::PartitionNotLoaded { partition: name.clone() }.into());
        }
    }
    let Some(percent) = loaded(proxy, info.id).await? else {
        return Err(Refusal::CollectionNotLoaded { collection: info.id.to_string() }.into());
    };
    let progress = i64::from(percent);
    Ok(GetLoadingProgressResponse { status: Some(success()), progress, refresh_progress: progress })
}
