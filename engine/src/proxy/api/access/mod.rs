//! Calls about users, roles, what these were granted, and groups of privileges.

pub mod backup;
pub mod grants;
pub mod privileges;
pub mod roles;
pub mod users;

use contract::pb::milvus::RoleEntity;

use crate::model::name::{private_flaw, user_flaw};
use crate::proxy::Error;

/// Refuses a name that no role can have.
fn check_role(name: &str) -> Result<(), Error> {
    refuse(private_flaw("role", name), 1100)
}

/// Refuses a name that no user can have.
fn check_user(name: &str) -> Result<(), Error> {
    refuse(user_flaw(name), 1100)
}

/// Refuses a name that no group of privileges can have.
fn check_group(name: &str) -> Result<(), Error> {
    let flaw = private_flaw("privilege group", name);
    refuse(flaw.map(|text| text.replace("invalid parameter", "invalid privilege group name")), 1402)
}

fn refuse(flaw: Option<String>, code: i32) -> Result<(), Error> {
    match flaw {
        Some(text) => Err(Error::Checked { code, text }),
        None => Ok(()),
    }
}

/// Something that is wrong in a request by itself.
fn bad(text: impl Into<String>) -> Error {
    Error::Checked { code: 1100, text: format!("{}: invalid parameter", text.into()) }
}

/// The name of a role that a request must have.
fn role_name(role: Option<RoleEntity>) -> Result<String, Error> {
    let role = role.ok_or_else(|| bad("the role entity in the request is nil"))?;
    check_role(&role.name)?;
    Ok(role.name)
}
