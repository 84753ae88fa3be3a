//! Everything about users and roles as one value, for tools that copy it to another cluster. Passwords go as their hashes.

use std::collections::BTreeMap;

use contract::pb::common::Status;
use contract::pb::milvus::{
    BackupRbacMetaRequest, BackupRbacMetaResponse, RbacMeta, RestoreRbacMetaRequest, RoleEntity, UserInfo,
};

use super::{bad, check_group, check_role, check_user, grants, privileges};
use crate::model::access::{PasswordHash, Policy, ROOT, Role, User};
use crate::proxy::api::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::PolicyChange;

/// Saves users, roles, grants and groups. Root is not among them: it keeps its password where it is.
pub async fn save(
    proxy: &Proxy,
    _: Caller,
    _: BackupRbacMetaRequest,
) -> Result<BackupRbacMetaResponse, Error> {
    let policy = proxy.coord().policy().await?;
    let role = |name: &str, description: &str| RoleEntity {
        name: name.to_owned(),
        description: description.to_owned(),
    };
    let user = |(name, user): (&String, &User)| UserInfo {
        user: name.clone(),
        password: user.password.as_ref().map(|hash| hash.reveal().to_owned()).unwrap_or_default(),
        roles: user.roles.iter().map(|name| role(name, "")).collect(),
    };
    let granted = |(name, role): (&String, &Role)| {
        let name = name.clone();
        role.grants.iter().map(move |grant| grants::to_wire(&name, grant)).collect::<Vec<_>>()
    };
    let group = |(name, members): (&String, &_)| {
        let members: &std::collections::BTreeSet<String> = members;
        privileges::info(name, members.iter().map(String::as_str))
    };
    let meta = RbacMeta {
        users: policy.users.iter().filter(|(name, _)| *name != ROOT).map(user).collect(),
        roles: policy.roles.iter().map(|(name, known)| role(name, &known.description)).collect(),
        grants: policy.roles.iter().flat_map(granted).collect(),
        privilege_groups: policy.groups.iter().map(group).collect(),
    };
    Ok(BackupRbacMetaResponse { status: Some(success()), rbac_meta: Some(meta) })
}

/// Adds what was saved, all or nothing.
pub async fn restore(proxy: &Proxy, _: Caller, request: RestoreRbacMetaRequest) -> Result<Status, Error> {
    let meta = request.rbac_meta.ok_or_else(|| bad("restore RBAC meta request is nil"))?;
    let mut saved = Policy::default();
    for user in meta.users {
        check_user(&user.user)?;
        let known = User {
            password: Some(PasswordHash::new(user.password)),
            roles: user.roles.into_iter().map(|role| role.name).collect(),
            description: String::new(),
        };
        saved.users.insert(user.user, known);
    }
    for role in meta.roles {
        check_role(&role.name)?;
        let known = Role { description: role.description, grants: Vec::new() };
        saved.roles.insert(role.name, known);
    }
    for grant in meta.grants {
        let (role, grant) = grants::from_wire(grant)?;
        saved.roles.entry(role).or_default().grants.push(grant);
    }
    let mut groups = BTreeMap::new();
    for group in meta.privilege_groups {
        check_group(&group.group_name)?;
        let members = group.privileges.into_iter().map(|privilege| privilege.name).collect();
        groups.insert(group.group_name, members);
    }
    saved.groups = groups;
    proxy.coord().change_policy(PolicyChange::Restore(Box::new(saved))).await?;
    Ok(success())
}
