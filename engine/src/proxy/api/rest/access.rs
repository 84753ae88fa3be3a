//! `users/…`, `roles/…` and `privilege_groups/…`: the REST form of the calls about who may do what.

use axum::Router;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contract::pb::milvus::*;
use http::{Extensions, HeaderMap, Uri};
use serde_json::{Value as Json, json};

use super::{Data, Door, Version, Visit, answer, data, nothing};
use crate::proxy::access::table::Asks;
use crate::proxy::api::access::{grants, privileges, roles, users};
use crate::proxy::{Error, Proxy};

/// Milvus's names of the requests, in complaints about missing keys.
const USER: &str = "UserReq";
const PASSWORD: &str = "PasswordReq";
const NEW_PASSWORD: &str = "NewPasswordReq";
const ROLE: &str = "RoleReq";
const USER_ROLE: &str = "UserRoleReq";
const GRANT: &str = "GrantReq";
const GRANT_V2: &str = "GrantV2Req";
const GROUP: &str = "PrivilegeGroupReq";

/// These paths.
pub fn router() -> Router<Proxy> {
    let users = Router::new()
        .route("/list", endpoint!("RestListUsers", ListCredUsersRequest, list_users))
        .route("/describe", endpoint!("RestDescribeUser", SelectUserRequest, describe_user))
        .route("/create", endpoint!("RestCreateUser", CreateCredentialRequest, create_user))
        .route("/update_password", endpoint!("RestUpdatePassword", UpdateCredentialRequest, update_password))
        .route("/drop", endpoint!("RestDropUser", DeleteCredentialRequest, drop_user))
        .route("/grant_role", endpoint!("RestGrantRole", OperateUserRoleRequest, grant_role))
        .route("/revoke_role", endpoint!("RestRevokeRole", OperateUserRoleRequest, revoke_role));
    let roles = Router::new()
        .route("/list", endpoint!("RestListRoles", SelectRoleRequest, list_roles))
        .route("/describe", endpoint!("RestDescribeRole", SelectGrantRequest, describe_role))
        .route("/create", endpoint!("RestCreateRole", CreateRoleRequest, create_role))
        .route("/alter", endpoint!("RestAlterRole", AlterRoleRequest, alter_role))
        .route("/drop", endpoint!("RestDropRole", DropRoleRequest, drop_role))
        .route("/grant_privilege", endpoint!("RestGrantPrivilege", OperatePrivilegeRequest, grant))
        .route("/revoke_privilege", endpoint!("RestRevokePrivilege", OperatePrivilegeRequest, revoke))
        .route("/grant_privilege_v2", endpoint!("RestGrantPrivilegeV2", OperatePrivilegeV2Request, grant_v2))
        .route(
            "/revoke_privilege_v2",
            endpoint!("RestRevokePrivilegeV2", OperatePrivilegeV2Request, revoke_v2),
        );
    let groups = Router::new()
        .route("/create", endpoint!("RestCreatePrivilegeGroup", CreatePrivilegeGroupRequest, create_group))
        .route("/drop", endpoint!("RestDropPrivilegeGroup", DropPrivilegeGroupRequest, drop_group))
        .route("/list", endpoint!("RestListPrivilegeGroups", ListPrivilegeGroupsRequest, list_groups))
        .route(
            "/add_privileges_to_group",
            endpoint!("RestAddPrivilegesToGroup", OperatePrivilegeGroupRequest, add_to_group),
        )
        .route(
            "/remove_privileges_from_group",
            endpoint!("RestRemovePrivilegesFromGroup", OperatePrivilegeGroupRequest, remove_from_group),
        );
    Router::new().nest("/users", users).nest("/roles", roles).nest("/privilege_groups", groups)
}

/// Passwords are in clear in REST and in base64 in gRPC.
fn encoded(visit: &Visit, request: &str, key: &str) -> Result<String, Error> {
    Ok(STANDARD.encode(visit.required(request, key)?))
}

async fn list_users(proxy: &Proxy, visit: Visit) -> Data {
    let shown = users::list(proxy, visit.caller, ListCredUsersRequest::default()).await?;
    Ok(data(json!(shown.usernames)))
}

async fn describe_user(proxy: &Proxy, visit: Visit) -> Data {
    let name = visit.required(USER, "userName")?;
    let request =
        SelectUserRequest { user: Some(UserEntity { name }), include_role_info: true, ..Default::default() };
    let shown = users::select(proxy, visit.caller, request).await?;
    let Some(user) = shown.results.into_iter().next() else { return Ok(data(json!([]))) };
    let roles: Vec<String> = user.roles.into_iter().map(|role| role.name).collect();
    let mut fields = data(json!(roles));
    if !user.description.is_empty() {
        fields.insert("description".to_owned(), json!(user.description));
    }
    Ok(fields)
}

async fn create_user(proxy: &Proxy, visit: Visit) -> Data {
    let request = CreateCredentialRequest {
        username: visit.required(PASSWORD, "userName")?,
        password: encoded(&visit, PASSWORD, "password")?,
        description: Some(visit.text("description")),
        ..Default::default()
    };
    users::create(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn update_password(proxy: &Proxy, visit: Visit) -> Data {
    let request = UpdateCredentialRequest {
        username: visit.required(NEW_PASSWORD, "userName")?,
        old_password: encoded(&visit, NEW_PASSWORD, "password")?,
        new_password: encoded(&visit, NEW_PASSWORD, "newPassword")?,
        description: visit.body.get("description").and_then(Json::as_str).map(str::to_owned),
        ..Default::default()
    };
    users::update(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_user(proxy: &Proxy, visit: Visit) -> Data {
    let username = visit.required(USER, "userName")?;
    users::delete(proxy, visit.caller, DeleteCredentialRequest { username, ..Default::default() }).await?;
    Ok(nothing())
}

async fn grant_role(proxy: &Proxy, visit: Visit) -> Data {
    operate_role(proxy, visit, OperateUserRoleType::AddUserToRole).await
}

async fn revoke_role(proxy: &Proxy, visit: Visit) -> Data {
    operate_role(proxy, visit, OperateUserRoleType::RemoveUserFromRole).await
}

async fn operate_role(proxy: &Proxy, visit: Visit, kind: OperateUserRoleType) -> Data {
    let request = OperateUserRoleRequest {
        username: visit.required(USER_ROLE, "userName")?,
        role_name: visit.required(USER_ROLE, "roleName")?,
        r#type: kind.into(),
        ..Default::default()
    };
    roles::operate(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn list_roles(proxy: &Proxy, visit: Visit) -> Data {
    let shown = roles::select(proxy, visit.caller, SelectRoleRequest::default()).await?;
    let names: Vec<String> = shown.results.into_iter().filter_map(|one| Some(one.role?.name)).collect();
    Ok(data(json!(names)))
}

async fn describe_role(proxy: &Proxy, visit: Visit) -> Data {
    let name = visit.required(ROLE, "roleName")?;
    let described = SelectRoleRequest { role: Some(role(name.clone())), ..Default::default() };
    let described = roles::select(proxy, visit.caller.clone(), described).await?;
    let entity = GrantEntity { role: Some(role(name)), db_name: visit.text("dbName"), ..Default::default() };
    let request = SelectGrantRequest { entity: Some(entity), ..Default::default() };
    let shown = grants::select(proxy, visit.caller, request).await?;
    let grant = |grant: GrantEntity| {
        let grantor = grant.grantor.unwrap_or_default();
        json!({
            "objectType": grant.object.unwrap_or_default().name,
            "objectName": grant.object_name,
            "dbName": grant.db_name,
            "privilege": grantor.privilege.unwrap_or_default().name,
            "grantor": grantor.user.unwrap_or_default().name,
        })
    };
    let mut fields = data(shown.entities.into_iter().map(grant).collect());
    let description = described.results.into_iter().find_map(|one| Some(one.role?.description));
    if let Some(description) = description.filter(|text| !text.is_empty()) {
        fields.insert("description".to_owned(), json!(description));
    }
    Ok(fields)
}

async fn create_role(proxy: &Proxy, visit: Visit) -> Data {
    let name = visit.required(ROLE, "roleName")?;
    let entity = Some(RoleEntity { name, description: visit.text("description") });
    roles::create(proxy, visit.caller, CreateRoleRequest { entity, ..Default::default() }).await?;
    Ok(nothing())
}

async fn alter_role(proxy: &Proxy, visit: Visit) -> Data {
    let (role_name, description) = (visit.required(ROLE, "roleName")?, visit.text("description"));
    let request = AlterRoleRequest { role_name, description, ..Default::default() };
    roles::alter(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_role(proxy: &Proxy, visit: Visit) -> Data {
    let force_drop = visit.body.get("forceDrop").and_then(Json::as_bool).unwrap_or_default();
    let role_name = visit.required(ROLE, "roleName")?;
    let request = DropRoleRequest { role_name, force_drop, ..Default::default() };
    roles::drop(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn grant(proxy: &Proxy, visit: Visit) -> Data {
    operate_privilege(proxy, visit, OperatePrivilegeType::Grant).await
}

async fn revoke(proxy: &Proxy, visit: Visit) -> Data {
    operate_privilege(proxy, visit, OperatePrivilegeType::Revoke).await
}

async fn operate_privilege(proxy: &Proxy, visit: Visit, kind: OperatePrivilegeType) -> Data {
    let entity = GrantEntity {
        role: Some(role(visit.required(GRANT, "roleName")?)),
        object: Some(ObjectEntity { name: visit.required(GRANT, "objectType")? }),
        object_name: visit.required(GRANT, "objectName")?,
        grantor: Some(privilege(visit.required(GRANT, "privilege")?)),
        db_name: visit.text("dbName"),
    };
    let request = OperatePrivilegeRequest { entity: Some(entity), r#type: kind.into(), ..Default::default() };
    grants::operate(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn grant_v2(proxy: &Proxy, visit: Visit) -> Data {
    operate_privilege_v2(proxy, visit, OperatePrivilegeType::Grant).await
}

async fn revoke_v2(proxy: &Proxy, visit: Visit) -> Data {
    operate_privilege_v2(proxy, visit, OperatePrivilegeType::Revoke).await
}

async fn operate_privilege_v2(proxy: &Proxy, visit: Visit, kind: OperatePrivilegeType) -> Data {
    let request = OperatePrivilegeV2Request {
        role: Some(role(visit.required(GRANT_V2, "roleName")?)),
        grantor: Some(privilege(visit.required(GRANT_V2, "privilege")?)),
        r#type: kind.into(),
        db_name: visit.caller.database(&visit.text("dbName")),
        collection_name: visit.required(GRANT_V2, "collectionName")?,
        ..Default::default()
    };
    grants::operate_v2(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn create_group(proxy: &Proxy, visit: Visit) -> Data {
    let group_name = visit.required(GROUP, "privilegeGroupName")?;
    let request = CreatePrivilegeGroupRequest { group_name, ..Default::default() };
    privileges::create(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn drop_group(proxy: &Proxy, visit: Visit) -> Data {
    let group_name = visit.required(GROUP, "privilegeGroupName")?;
    let request = DropPrivilegeGroupRequest { group_name, ..Default::default() };
    privileges::drop(proxy, visit.caller, request).await?;
    Ok(nothing())
}

async fn list_groups(proxy: &Proxy, visit: Visit) -> Data {
    let shown = privileges::list(proxy, visit.caller, ListPrivilegeGroupsRequest::default()).await?;
    let group = |group: PrivilegeGroupInfo| {
        let names: Vec<String> = group.privileges.into_iter().map(|one| one.name).collect();
        json!({ "privilegeGroupName": group.group_name, "privileges": names })
    };
    Ok(data(shown.privilege_groups.into_iter().map(group).collect()))
}

async fn add_to_group(proxy: &Proxy, visit: Visit) -> Data {
    operate_group(proxy, visit, OperatePrivilegeGroupType::AddPrivilegesToGroup).await
}

async fn remove_from_group(proxy: &Proxy, visit: Visit) -> Data {
    operate_group(proxy, visit, OperatePrivilegeGroupType::RemovePrivilegesFromGroup).await
}

async fn operate_group(proxy: &Proxy, visit: Visit, kind: OperatePrivilegeGroupType) -> Data {
    let group_name = visit.required(GROUP, "privilegeGroupName")?;
    let names = visit.texts("privileges");
    if names.is_empty() {
        return Err(Error::missing(GROUP, "privileges"));
    }
    let privileges = names.into_iter().map(|name| PrivilegeEntity { name }).collect();
    let request =
        OperatePrivilegeGroupRequest { group_name, privileges, r#type: kind.into(), ..Default::default() };
    self::privileges::operate(proxy, visit.caller, request).await?;
    Ok(nothing())
}

fn role(name: String) -> RoleEntity {
    RoleEntity { name, ..Default::default() }
}

fn privilege(name: String) -> GrantorEntity {
    GrantorEntity { privilege: Some(PrivilegeEntity { name }), ..Default::default() }
}
