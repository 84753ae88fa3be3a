//! Who may do what, as a value: users, roles, what these were granted, and groups of privileges.
//!
//! Everything here is pure; who asks is known elsewhere.

pub mod privilege;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use privilege::built_in_has;

/// The user that always exists.
pub const ROOT: &str = "root";
/// The role that may do everything. It always exists.
pub const ADMIN: &str = "admin";
/// The role that every user has without being given it. It always exists.
pub const PUBLIC: &str = "public";
/// Stands for every object, database or privilege.
pub const ANY: &str = "*";

/// What everybody may do where the role `public` is in force: see what there is.
const OF_PUBLIC: &[&str] = &["DescribeCollection", "ListAliases", "IndexDetail"];

/// A hashed password. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash with its algorithm, cost and salt, as its library writes it.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the library that made it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash(…)")
    }
}

/// What a privilege can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Object {
    /// A collection.
    Collection,
    /// The server, or everything of a kind.
    Global,
    /// A user.
    User,
}

impl Object {
    /// The name that clients say.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collection => "Collection",
            Self::Global => "Global",
            Self::User => "User",
        }
    }

    /// What clients mean by `name`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Collection, Self::Global, Self::User].into_iter().find(|object| object.name() == name)
    }
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// Its password; `None` only for root, as long as its password is the one of the settings.
    pub password: Option<PasswordHash>,
    /// The roles it was given.
    pub roles: BTreeSet<String>,
    /// What it is for, for people.
    pub description: String,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// What it is for, for people.
    pub description: String,
    /// What it may do, in the order in which it was granted.
    pub grants: Vec<Grant>,
}

/// A privilege that a role has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What it is about.
    pub object: Object,
    /// The object's name, or [`ANY`].
    pub name: String,
    /// The database it holds in, or [`ANY`].
    pub database: String,
    /// A privilege, a group of them, or [`ANY`].
    pub privilege: String,
    /// Who granted it, for people.
    pub grantor: String,
}

impl Grant {
    /// Whether both allow the same, whoever granted them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.object == other.object
            && self.name == other.name
            && self.database == other.database
            && self.privilege == other.privilege
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// What it is about.
    pub object: Object,
    /// The privilege that it takes.
    pub privilege: &'a str,
    /// The database it is in.
    pub database: &'a str,
    /// The name of the object; empty where there is none, or where it is not known by name: then only a grant on
    /// [`ANY`] allows it.
    pub name: &'a str,
}

/// Who may do what, as of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Users by name. Root is there even if it is not here.
    pub users: BTreeMap<String, User>,
    /// Roles by name. [`ADMIN`] and [`PUBLIC`] are there even if they are not here.
    pub roles: BTreeMap<String, Role>,
    /// Groups of privileges that users made, by name.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

impl Policy {
    /// Whether there is such a user.
    #[must_use]
    pub fn has_user(&self, name: &str) -> bool {
        name == ROOT || self.users.contains_key(name)
    }

    /// Whether there is such a role.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        is_default_role(name) || self.roles.contains_key(name)
    }

    /// The names of all users, ascending.
    #[must_use]
    pub fn user_names(&self) -> BTreeSet<&str> {
        self.users.keys().map(String::as_str).chain([ROOT]).collect()
    }

    /// The names of all roles, ascending.
    #[must_use]
    pub fn role_names(&self) -> BTreeSet<&str> {
        self.roles.keys().map(String::as_str).chain([ADMIN, PUBLIC]).collect()
    }

    /// The roles that a user was given. [`PUBLIC`] is not among them unless it was given, too.
    pub fn roles_of(&self, user: &str) -> impl Iterator<Item = &str> {
        self.users.get(user).into_iter().flat_map(|user| user.roles.iter().map(String::as_str))
    }

    /// The users that were given a role, ascending.
    pub fn users_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a str> {
        self.users.iter().filter(move |(_, user)| user.roles.contains(role)).map(|(name, _)| name.as_str())
    }

    /// Whether a user may do everything by its roles.
    #[must_use]
    pub fn is_admin(&self, user: &str) -> bool {
        self.roles_of(user).any(|role| role == ADMIN)
    }

    /// Whether `user` may do what is wanted. Users who see everything by `open_to_public` may look at what there is.
    #[must_use]
    pub fn permits(&self, user: &str, wanted: Wanted<'_>, open_to_public: bool) -> bool {
        let is_self = wanted.object == Object::User && wanted.name == user;
        let by_public = open_to_public && OF_PUBLIC.contains(&wanted.privilege);
        is_self
            || by_public
            || self.is_admin(user)
            || self.grants_of(user).any(|grant| self.allows(grant, wanted))
    }

    /// Whether `user` is shown a database, and a collection of it if one is named: only where it was granted anything.
    #[must_use]
    pub fn shows(&self, user: &str, database: &str, collection: Option<&str>) -> bool {
        let covers = |grant: &Grant| {
            let is_in = grant.database == ANY || grant.database == database;
            let names = match (grant.object, collection) {
                (Object::User, _) => false,
                (_, None) => true,
                (_, Some(collection)) => grant.name == ANY || grant.name == collection,
            };
            is_in && names
        };
        self.is_admin(user) || self.grants_of(user).any(covers)
    }

    /// Everything that the roles of a user were granted, [`PUBLIC`] among them.
    fn grants_of(&self, user: &str) -> impl Iterator<Item = &Grant> {
        let roles = self.roles_of(user).chain([PUBLIC]);
        roles.filter_map(|role| self.roles.get(role)).flat_map(|role| &role.grants)
    }

    fn allows(&self, grant: &Grant, wanted: Wanted<'_>) -> bool {
        let is_in = grant.database == ANY || grant.database == wanted.database;
        let is_named = grant.name == ANY || !wanted.name.is_empty() && grant.name == wanted.name;
        is_in && is_named && self.includes(grant, wanted)
    }

    /// Whether the privilege of a grant is the wanted one, or has it in it.
    fn includes(&self, grant: &Grant, wanted: Wanted<'_>) -> bool {
        let name = grant.privilege.as_str();
        if name == ANY || name == "All" {
            return grant.object == wanted.object;
        }
        name == wanted.privilege
            || built_in_has(name, wanted.privilege)
            || self.groups.get(name).is_some_and(|group| group.contains(wanted.privilege))
    }
}

/// Whether a role always exists.
#[must_use]
pub fn is_default_role(name: &str) -> bool {
    name == ADMIN || name == PUBLIC
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(object: Object, database: &str, name: &str, privilege: &str) -> Grant {
        let (database, name, privilege) = (database.to_owned(), name.to_owned(), privilege.to_owned());
        Grant { object, name, database, privilege, grantor: ROOT.to_owned() }
    }

    /// A policy with the user `ann`, whose one role has these grants.
    fn policy(grants: Vec<Grant>) -> Policy {
        let ann = User { roles: ["reader".to_owned()].into(), ..User::default() };
        Policy {
            users: [("ann".to_owned(), ann)].into(),
            roles: [("reader".to_owned(), Role { grants, ..Role::default() })].into(),
            groups: [("both".to_owned(), ["Search".to_owned(), "Query".to_owned()].into())].into(),
        }
    }

    fn wants<'a>(object: Object, database: &'a str, name: &'a str, privilege: &'a str) -> Wanted<'a> {
        Wanted { object, privilege, database, name }
    }

    #[test]
    fn a_grant_allows_what_it_names_and_nothing_beside_it() {
        use Object::{Collection, Global, User};
        let search = wants(Collection, "default", "books", "Search");
        let cases = [
            (grant(Collection, "default", "books", "Search"), search, true),
            (grant(Collection, "*", "*", "Search"), search, true),
            (grant(Collection, "default", "*", "*"), search, true),
            (grant(Collection, "default", "books", "both"), search, true),
            (grant(Collection, "default", "books", "CollectionReadOnly"), search, true),
            (grant(Collection, "default", "books", "GroupReadOnly"), search, true),
            (grant(Collection, "other", "books", "Search"), search, false),
            (grant(Collection, "default", "book", "Search"), search, false),
            (grant(Collection, "default", "books", "Insert"), search, false),
            (grant(Global, "default", "*", "*"), search, false),
            (grant(Global, "*", "*", "All"), search, false),
            (grant(Global, "*", "*", "All"), wants(Global, "default", "", "CreateCollection"), true),
            (
                grant(Collection, "default", "books", "Search"),
                wants(Collection, "default", "", "Search"),
                false,
            ),
            (grant(Collection, "default", "*", "Search"), wants(Collection, "default", "", "Search"), true),
            (grant(User, "*", "*", "UpdateUser"), wants(User, "default", "bob", "UpdateUser"), true),
            (grant(User, "*", "bob", "UpdateUser"), wants(User, "default", "eve", "UpdateUser"), false),
        ];
        for (granted, wanted, allowed) in cases {
            let policy = policy(vec![granted.clone()]);
            assert_eq!(policy.permits("ann", wanted, true), allowed, "{granted:?} {wanted:?}");
            assert!(!policy.permits("bob", wanted, true) || wanted.name == "bob", "{granted:?}");
        }
    }

    #[test]
    fn everybody_may_see_what_there_is_and_change_themselves() {
        let policy = Policy::default();
        let describe = wants(Object::Global, "default", "books", "DescribeCollection");
        let own = wants(Object::User, "default", "ann", "UpdateUser");

        assert!(policy.permits("ann", describe, true) && policy.permits("ann", own, false));
        assert!(!policy.permits("ann", describe, false) && !policy.permits("bob", own, true));
    }

    #[test]
    fn what_is_granted_to_public_is_granted_to_all_and_admins_need_nothing() {
        let mut policy = policy(Vec::new());
        let search = wants(Object::Collection, "default", "books", "Search");
        policy.users.insert("bob".to_owned(), User { roles: [ADMIN.to_owned()].into(), ..User::default() });
        assert!(!policy.permits("ann", search, true) && policy.permits("bob", search, true));

        let grants = vec![grant(Object::Collection, "default", "books", "Search")];
        policy.roles.insert(PUBLIC.to_owned(), Role { grants, ..Role::default() });

        assert!(policy.permits("ann", search, true));
    }

    #[test]
    fn a_user_is_shown_only_where_it_has_something() {
        let one = policy(vec![grant(Object::Collection, "default", "books", "Search")]);
        let wide = policy(vec![grant(Object::Global, "default", "*", "CreateCollection")]);
        let shown = |policy: &Policy| {
            [("default", Some("books")), ("default", Some("films")), ("default", None), ("other", None)]
                .map(|(database, collection)| policy.shows("ann", database, collection))
        };

        assert_eq!(shown(&one), [true, false, true, false]);
        assert_eq!(shown(&wide), [true, true, true, false]);
        assert_eq!(shown(&policy(Vec::new())), [false; 4]);
    }

    #[test]
    fn a_hash_is_not_shown() {
        let user = User { password: Some(PasswordHash::new("$2b$secret".to_owned())), ..User::default() };

        assert!(!format!("{user:?}").contains("secret"));
    }
}
