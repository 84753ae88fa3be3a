//! Changes of who may do what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::access::{Grant, PasswordHash, Policy};

/// One change. Names have been checked; passwords come hashed and never in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyChange {
    /// Makes a user.
    CreateUser {
        /// Its name.
        user: String,
        /// Its password.
        password: PasswordHash,
        /// What it is for.
        description: String,
    },
    /// Gives a user another password.
    SetPassword {
        /// Its name.
        user: String,
        /// The new one.
        password: PasswordHash,
        /// The one that whoever asks has seen; the change is refused if it is another by now.
        replaces: Option<PasswordHash>,
    },
    /// Says what a user is for.
    DescribeUser {
        /// Its name.
        user: String,
        /// What it is for.
        description: String,
    },
    /// Removes a user; one that does not exist is fine.
    DropUser {
        /// Its name.
        user: String,
    },
    /// Makes a role.
    CreateRole {
        /// Its name.
        role: String,
        /// What it is for.
        description: String,
    },
    /// Says what a role is for.
    DescribeRole {
        /// Its name.
        role: String,
        /// What it is for.
        description: String,
    },
    /// Removes a role, also from its users.
    DropRole {
        /// Its name.
        role: String,
        /// Also if it was granted anything.
        force: bool,
    },
    /// Gives a user a role.
    Bind {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Takes a role from a user.
    Unbind {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// Grants a role something; what it has already is fine.
    Grant {
        /// The role.
        role: String,
        /// What.
        grant: Grant,
    },
    /// Takes something from a role; what it has not is fine.
    Revoke {
        /// The role.
        role: String,
        /// What.
        grant: Grant,
    },
    /// Makes an empty group of privileges.
    CreateGroup {
        /// Its name.
        group: String,
    },
    /// Removes a group of privileges; one that does not exist is fine.
    DropGroup {
        /// Its name.
        group: String,
    },
    /// Puts privileges, or everything that is in other groups, into a group.
    AddToGroup {
        /// The group.
        group: String,
        /// What to put in.
        privileges: BTreeSet<String>,
    },
    /// Takes privileges out of a group.
    RemoveFromGroup {
        /// The group.
        group: String,
        /// What to take out.
        privileges: BTreeSet<String>,
    },
    /// Adds users, roles, grants and groups that were saved; refused whole if one of their names is taken.
    Restore(Box<Policy>),
}
