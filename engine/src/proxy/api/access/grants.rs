//! Calls about what roles were granted: by object (the first form), and by database and collection (the second).

use contract::pb::common::Status;
use contract::pb::milvus::{
    GrantEntity, GrantorEntity, ObjectEntity, OperatePrivilegeRequest, OperatePrivilegeType,
    OperatePrivilegeV2Request, PrivilegeEntity, RoleEntity, SelectGrantRequest, SelectGrantResponse,
    UserEntity,
};

use super::{bad, role_name};
use crate::model::access::privilege::{Level, level_of, object_of};
use crate::model::access::{ANY, Grant, Object, Policy};
use crate::proxy::api::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::{PolicyChange, Refusal};

/// Grants a privilege on an object, or revokes it.
pub async fn operate(
    proxy: &Proxy,
    caller: Caller,
    request: OperatePrivilegeRequest,
) -> Result<Status, Error> {
    let entity = request.entity.ok_or_else(|| bad("the entity in the request is nil"))?;
    let object = object(entity.object)?;
    if entity.object_name.is_empty() {
        return Err(bad("the object name in the request is empty"));
    }
    let role = role_name(entity.role)?;
    let privilege = privilege(entity.grantor)?;
    if privilege != ANY && object_of(&privilege) != Some(object) {
        return Err(Refusal::PrivilegeNotFound { privilege }.into());
    }
    let grant = Grant {
        object,
        name: entity.object_name,
        database: caller.database(&entity.db_name),
        privilege,
        grantor: caller.user().to_owned(),
    };
    apply(proxy, role, grant, request.r#type).await
}

/// Grants a privilege, or a group of them, in a database and on a collection, or revokes it.
pub async fn operate_v2(
    proxy: &Proxy,
    caller: Caller,
    request: OperatePrivilegeV2Request,
) -> Result<Status, Error> {
    let role = role_name(request.role)?;
    let privilege = privilege(request.grantor)?;
    if request.db_name.is_empty() || request.collection_name.is_empty() {
        return Err(bad("dbName or collectionName can't be empty"));
    }
    let policy = proxy.coord().policy().await?;
    let level = level(&policy, &privilege)?;
    let (database, name) = (request.db_name, request.collection_name);
    match level {
        Some(Level::Cluster) if database != ANY || name != ANY => {
            let text = "dbName and collectionName should be * for the cluster level privilege";
            return Err(bad(format!("{text}: {privilege}")));
        }
        Some(Level::Database) if name != ANY => {
            let text = "collectionName should be * for the database level privilege";
            return Err(bad(format!("{text}: {privilege}")));
        }
        _ => {}
    }
    let by_level = if level == Some(Level::Collection) { Object::Collection } else { Object::Global };
    let object = object_of(&privilege).unwrap_or(by_level);
    let grant = Grant { object, name, database, privilege, grantor: caller.user().to_owned() };
    apply(proxy, role, grant, request.r#type).await
}

/// What a role was granted in a database, on one object if that is named.
pub async fn select(
    proxy: &Proxy,
    caller: Caller,
    request: SelectGrantRequest,
) -> Result<SelectGrantResponse, Error> {
    let entity = request.entity.ok_or_else(|| bad("the grant entity in the request is nil"))?;
    let role = role_name(entity.role)?;
    let object = match entity.object {
        Some(named) => Some(self::object(Some(named))?),
        None if !entity.object_name.is_empty() => return Err(no_object()),
        None => None,
    };
    let policy = proxy.coord().policy().await?;
    if !policy.has_role(&role) {
        return Err(Refusal::RoleNotFound.into());
    }
    let database = caller.database(&entity.db_name);
    let is_meant = |grant: &&Grant| {
        (database == ANY || grant.database == ANY || grant.database == database)
            && object.is_none_or(|object| grant.object == object)
            && (entity.object_name.is_empty() || grant.name == entity.object_name)
    };
    let grants = policy.roles.get(&role).map_or(&[][..], |role| &role.grants);
    let entities = grants.iter().filter(is_meant).map(|grant| to_wire(&role, grant)).collect();
    Ok(SelectGrantResponse { status: Some(success()), entities })
}

async fn apply(proxy: &Proxy, role: String, grant: Grant, kind: i32) -> Result<Status, Error> {
    let change = match OperatePrivilegeType::try_from(kind) {
        Ok(OperatePrivilegeType::Grant) => PolicyChange::Grant { role, grant },
        Ok(OperatePrivilegeType::Revoke) => PolicyChange::Revoke { role, grant },
        Err(_) => return Err(bad("invalid operate privilege type")),
    };
    proxy.coord().change_policy(change).await?;
    Ok(success())
}

/// How much a privilege or a group is about; `None` for an empty group of a user and for [`ANY`].
fn level(policy: &Policy, privilege: &str) -> Result<Option<Level>, Refusal> {
    if let Some(group) = policy.groups.get(privilege) {
        return Ok(group.iter().find_map(|member| level_of(member)));
    }
    match level_of(privilege) {
        Some(level) => Ok(Some(level)),
        None if privilege == ANY => Ok(None),
        None => Err(Refusal::PrivilegeNotFound { privilege: privilege.to_owned() }),
    }
}

fn no_object() -> Error {
    bad("the object entity in the request is nil or invalid")
}

fn object(named: Option<ObjectEntity>) -> Result<Object, Error> {
    named.and_then(|named| Object::of(&named.name)).ok_or_else(no_object)
}

fn privilege(grantor: Option<GrantorEntity>) -> Result<String, Error> {
    let grantor = grantor.ok_or_else(|| bad("the grantor entity in the request is nil"))?;
    let named = grantor.privilege.ok_or_else(|| bad("the privilege entity in the grantor entity is nil"))?;
    if named.name.is_empty() {
        return Err(bad("the privilege name in the request is empty"));
    }
    Ok(named.name)
}

/// A grant as clients see it.
pub(super) fn to_wire(role: &str, grant: &Grant) -> GrantEntity {
    GrantEntity {
        role: Some(RoleEntity { name: role.to_owned(), ..Default::default() }),
        object: Some(ObjectEntity { name: grant.object.name().to_owned() }),
        object_name: grant.name.clone(),
        grantor: Some(GrantorEntity {
            user: Some(UserEntity { name: grant.grantor.clone() }),
            privilege: Some(PrivilegeEntity { name: grant.privilege.clone() }),
        }),
        db_name: grant.database.clone(),
    }
}

/// A grant that a client saved, and the role that has it.
pub(super) fn from_wire(entity: GrantEntity) -> Result<(String, Grant), Error> {
    let object = object(entity.object)?;
    let role = role_name(entity.role)?;
    let user = entity.grantor.as_ref().and_then(|grantor| grantor.user.as_ref());
    let grantor = user.map(|user| user.name.clone()).unwrap_or_default();
    let privilege = privilege(entity.grantor)?;
    let grant = Grant { object, name: entity.object_name, database: entity.db_name, privilege, grantor };
    Ok((role, grant))
}
