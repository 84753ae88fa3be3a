//! Calls about groups of privileges.

use contract::pb::common::Status;
use contract::pb::milvus::{
    CreatePrivilegeGroupRequest, DropPrivilegeGroupRequest, ListPrivilegeGroupsRequest,
    ListPrivilegeGroupsResponse, OperatePrivilegeGroupRequest, OperatePrivilegeGroupType, PrivilegeEntity,
    PrivilegeGroupInfo,
};

use super::{bad, check_group};
use crate::model::access::privilege::built_in;
use crate::proxy::api::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::PolicyChange;

/// Makes an empty group.
pub async fn create(proxy: &Proxy, _: Caller, request: CreatePrivilegeGroupRequest) -> Result<Status, Error> {
    check_group(&request.group_name)?;
    proxy.coord().change_policy(PolicyChange::CreateGroup { group: request.group_name }).await?;
    Ok(success())
}

/// Drops a group; one that does not exist is fine.
pub async fn drop(proxy: &Proxy, _: Caller, request: DropPrivilegeGroupRequest) -> Result<Status, Error> {
    check_group(&request.group_name)?;
    proxy.coord().change_policy(PolicyChange::DropGroup { group: request.group_name }).await?;
    Ok(success())
}

/// All groups: those that are built in, then those that users made.
pub async fn list(
    proxy: &Proxy,
    _: Caller,
    _: ListPrivilegeGroupsRequest,
) -> Result<ListPrivilegeGroupsResponse, Error> {
    let policy = proxy.coord().policy().await?;
    let mut privilege_groups: Vec<_> = built_in().map(|(name, members)| info(name, members)).collect();
    privilege_groups
        .extend(policy.groups.iter().map(|(name, members)| info(name, members.iter().map(String::as_str))));
    Ok(ListPrivilegeGroupsResponse { status: Some(success()), privilege_groups })
}

/// Puts privileges into a group or takes them out.
pub async fn operate(
    proxy: &Proxy,
    _: Caller,
    request: OperatePrivilegeGroupRequest,
) -> Result<Status, Error> {
    let group = request.group_name;
    check_group(&group)?;
    let privileges = request.privileges.into_iter().map(|privilege| privilege.name).collect();
    let change = match OperatePrivilegeGroupType::try_from(request.r#type) {
        Ok(OperatePrivilegeGroupType::AddPrivilegesToGroup) => PolicyChange::AddToGroup { group, privileges },
        Ok(OperatePrivilegeGroupType::RemovePrivilegesFromGroup) => {
            PolicyChange::RemoveFromGroup { group, privileges }
        }
        Err(_) => return Err(bad("invalid operate privilege group type")),
    };
    proxy.coord().change_policy(change).await?;
    Ok(success())
}

/// A group as clients see it.
pub(super) fn info<'a>(name: &str, members: impl Iterator<Item = &'a str>) -> PrivilegeGroupInfo {
    let entity = |member: &str| PrivilegeEntity { name: member.to_owned() };
    PrivilegeGroupInfo { group_name: name.to_owned(), privileges: members.map(entity).collect() }
}
