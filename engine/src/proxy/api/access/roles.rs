//! Calls about roles, and which user has which.

use contract::pb::common::Status;
use contract::pb::milvus::{
    AlterRoleRequest, CreateRoleRequest, DropRoleRequest, OperateUserRoleRequest, OperateUserRoleType,
    RoleEntity, RoleResult, SelectRoleRequest, SelectRoleResponse, UserEntity,
};

use super::users::check_description;
use super::{bad, check_role, role_name};
use crate::proxy::api::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::PolicyChange;

/// Makes a role.
pub async fn create(proxy: &Proxy, _: Caller, request: CreateRoleRequest) -> Result<Status, Error> {
    let description = request.entity.as_ref().map(|role| role.description.clone()).unwrap_or_default();
    check_description(&description)?;
    let role = role_name(request.entity)?;
    proxy.coord().change_policy(PolicyChange::CreateRole { role, description }).await?;
    Ok(success())
}

/// Says what a role is for.
pub async fn alter(proxy: &Proxy, _: Caller, request: AlterRoleRequest) -> Result<Status, Error> {
    check_role(&request.role_name)?;
    check_description(&request.description)?;
    let change = PolicyChange::DescribeRole { role: request.role_name, description: request.description };
    proxy.coord().change_policy(change).await?;
    Ok(success())
}

/// Drops a role.
pub async fn drop(proxy: &Proxy, _: Caller, request: DropRoleRequest) -> Result<Status, Error> {
    check_role(&request.role_name)?;
    let change = PolicyChange::DropRole { role: request.role_name, force: request.force_drop };
    proxy.coord().change_policy(change).await?;
    Ok(success())
}

/// Gives a user a role or takes it away.
pub async fn operate(proxy: &Proxy, _: Caller, request: OperateUserRoleRequest) -> Result<Status, Error> {
    let (user, role) = (request.username, request.role_name);
    check_role(&role)?;
    if user.is_empty() {
        return Err(bad("the user name in the request is empty"));
    }
    let change = match OperateUserRoleType::try_from(request.r#type) {
        Ok(OperateUserRoleType::AddUserToRole) => PolicyChange::Bind { user, role },
        Ok(OperateUserRoleType::RemoveUserFromRole) => PolicyChange::Unbind { user, role },
        Err(_) => return Err(bad("invalid operate user role type")),
    };
    proxy.coord().change_policy(change).await?;
    Ok(success())
}

/// One role, or all, with their users. A role that does not exist is no error.
pub async fn select(
    proxy: &Proxy,
    _: Caller,
    request: SelectRoleRequest,
) -> Result<SelectRoleResponse, Error> {
    let policy = proxy.coord().policy().await?;
    let wanted = request.role.map(|role| role.name);
    let names =
        policy.role_names().into_iter().filter(|name| wanted.as_deref().is_none_or(|one| one == *name));
    let with_users = request.include_user_info;
    let result = |name: &str| RoleResult {
        role: Some(RoleEntity {
            name: name.to_owned(),
            description: policy.roles.get(name).map(|role| role.description.clone()).unwrap_or_default(),
        }),
        users: policy
            .users_of(name)
            .filter(|_| with_users)
            .map(|user| UserEntity { name: user.to_owned() })
            .collect(),
    };
    let results = names.map(result).collect();
    Ok(SelectRoleResponse { status: Some(success()), results })
}
