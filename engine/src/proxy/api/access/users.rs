//! Calls about users. Passwords come as base64, are hashed at once, and are neither kept nor logged.

use contract::pb::common::Status;
use contract::pb::milvus::{
    CreateCredentialRequest, DeleteCredentialRequest, ListCredUsersRequest, ListCredUsersResponse,
    RoleEntity, SelectUserRequest, SelectUserResponse, UpdateCredentialRequest, UserEntity, UserResult,
};

use super::{bad, check_user};
use crate::model::access::Policy;
use crate::proxy::access::decode;
use crate::proxy::api::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::{PolicyChange, Refusal};

/// Lengths that a password may have, as Milvus says them. Unit: bytes. Source: user's guide 1, 0.4.
const LENGTHS: std::ops::RangeInclusive<usize> = 6..=256;
/// What the hash takes; a longer one would be cut off unseen. Unit: bytes. Source: wire specification 7.
const HASHED: usize = 72;
/// Longest description of a user or a role. Unit: bytes. Source: wire specification 7.
pub(super) const DESCRIPTION: usize = 1024;

/// Makes a user.
pub async fn create(proxy: &Proxy, _: Caller, request: CreateCredentialRequest) -> Result<Status, Error> {
    check_user(&request.username)?;
    let password = new_password(&request.password)?;
    let description = request.description.unwrap_or_default();
    check_description(&description)?;
    // Before the hash, which is dear.
    if proxy.coord().policy().await?.has_user(&request.username) {
        return Err(Refusal::UserExists { user: request.username }.into());
    }
    let password = proxy.access().hash(&password).await?;
    let change = PolicyChange::CreateUser { user: request.username, password, description };
    proxy.coord().change_policy(change).await?;
    Ok(success())
}

/// Gives a user another password, or says what it is for.
pub async fn update(
    proxy: &Proxy,
    caller: Caller,
    request: UpdateCredentialRequest,
) -> Result<Status, Error> {
    let user = request.username;
    let (old, new) = (plain(&request.old_password)?, plain(&request.new_password)?);
    let described = request.description;
    if let Some(description) = &described {
        check_description(description)?;
        if old.is_empty() && new.is_empty() {
            let change = PolicyChange::DescribeUser { user, description: description.clone() };
            proxy.coord().change_policy(change).await?;
            return Ok(success());
        }
    }
    check_password(&new)?;
    let policy = proxy.coord().policy().await?;
    let is_super = caller
        .login
        .as_ref()
        .is_some_and(|login| proxy.access().settings.super_users.iter().any(|name| **name == *login.user));
    if !is_super && !proxy.access().is_right(&policy, &user, &old, caller.from).await {
        return Err(Refusal::WrongPassword { user }.into());
    }
    let replaces = policy.users.get(&user).and_then(|known| known.password.clone());
    let password = proxy.access().hash(&new).await?;
    let change = PolicyChange::SetPassword { user: user.clone(), password, replaces };
    proxy.coord().change_policy(change).await?;
    if let Some(description) = described {
        proxy.coord().change_policy(PolicyChange::DescribeUser { user, description }).await?;
    }
    Ok(success())
}

/// Removes a user; one that does not exist is fine.
pub async fn delete(proxy: &Proxy, _: Caller, request: DeleteCredentialRequest) -> Result<Status, Error> {
    proxy.coord().change_policy(PolicyChange::DropUser { user: request.username }).await?;
    Ok(success())
}

/// The names of all users.
pub async fn list(proxy: &Proxy, _: Caller, _: ListCredUsersRequest) -> Result<ListCredUsersResponse, Error> {
    let policy = proxy.coord().policy().await?;
    let usernames = policy.user_names().into_iter().map(str::to_owned).collect();
    Ok(ListCredUsersResponse { status: Some(success()), usernames })
}

/// One user, or all, with their roles. A user that does not exist is no error.
pub async fn select(
    proxy: &Proxy,
    _: Caller,
    request: SelectUserRequest,
) -> Result<SelectUserResponse, Error> {
    let policy = proxy.coord().policy().await?;
    let wanted = request.user.map(|user| user.name);
    let names =
        policy.user_names().into_iter().filter(|name| wanted.as_deref().is_none_or(|one| one == *name));
    let results = names.map(|name| shown(&policy, name, request.include_role_info)).collect();
    Ok(SelectUserResponse { status: Some(success()), results })
}

fn shown(policy: &Policy, name: &str, with_roles: bool) -> UserResult {
    let role = |role: &str| RoleEntity { name: role.to_owned(), ..Default::default() };
    UserResult {
        user: Some(UserEntity { name: name.to_owned() }),
        roles: policy.roles_of(name).filter(|_| with_roles).map(role).collect(),
        description: policy.users.get(name).map(|user| user.description.clone()).unwrap_or_default(),
    }
}

/// A password that is to be set, from its base64.
fn new_password(encoded: &str) -> Result<String, Error> {
    let password = plain(encoded)?;
    check_password(&password)?;
    Ok(password)
}

fn plain(encoded: &str) -> Result<String, Error> {
    decode(encoded).ok_or_else(|| bad("decode password failed"))
}

fn check_password(password: &str) -> Result<(), Error> {
    let bytes = password.len();
    if !LENGTHS.contains(&bytes) {
        let range = format!("{} <= value <= {}", LENGTHS.start(), LENGTHS.end());
        let text = format!("invalid password length: invalid parameter[{bytes} out of range {range}]");
        return Err(Error::Checked { code: 1100, text });
    }
    if bytes > HASHED {
        return Err(bad(format!("invalid password: it has {bytes} bytes, and no more than {HASHED} count")));
    }
    Ok(())
}

/// Refuses a description that is too long.
pub(super) fn check_description(text: &str) -> Result<(), Error> {
    if text.len() > DESCRIPTION {
        let bytes = text.len();
        return Err(bad(format!(
            "the length of a description must be less than {DESCRIPTION} bytes, got {bytes}"
        )));
    }
    Ok(())
}
