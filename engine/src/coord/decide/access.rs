//! Users, roles, what these were granted, and groups of privileges.

use std::collections::BTreeSet;

use super::Decision;
use crate::coord::catalog::Catalog;
use crate::coord::change::Change;
use crate::model::access::privilege::{Level, built_in, is_built_in, level_of, object_of};
use crate::model::access::{ANY, Grant, PasswordHash, Policy, ROOT, Role, User, is_default_role};
use crate::rpc::{PolicyChange, Refusal};

/// Users there may be, root among them. Source: wire specification 2.18.
const USERS: usize = 100;
/// Roles that users may make. Source: wire specification 2.18.
const ROLES: usize = 10;

/// What a change of the policy means for the catalog.
pub fn change_policy(catalog: &Catalog, change: &PolicyChange) -> Decision {
    let policy = &catalog.policy;
    match change {
        PolicyChange::CreateUser { user, password, description } => {
            create_user(policy, user, password, description)
        }
        PolicyChange::SetPassword { user, password, replaces } => {
            set_password(policy, user, password, replaces.as_ref())
        }
        PolicyChange::DescribeUser { user, description } => {
            if !policy.has_user(user) {
                return Err(Refusal::UserNotFound);
            }
            let known = policy.users.get(user).cloned().unwrap_or_default();
            put_user(user, User { description: description.clone(), ..known })
        }
        PolicyChange::DropUser { user } => drop_user(policy, user),
        PolicyChange::CreateRole { role, description } => create_role(policy, role, description),
        PolicyChange::DescribeRole { role, description } => {
            let known = role_of(policy, role)?;
            put_role(role, Role { description: description.clone(), ..known })
        }
        PolicyChange::DropRole { role, force } => drop_role(policy, role, *force),
        PolicyChange::Bind { user, role } => bind(policy, user, role, true),
        PolicyChange::Unbind { user, role } => bind(policy, user, role, false),
        PolicyChange::Grant { role, grant } => grant_to(policy, role, grant),
        PolicyChange::Revoke { role, grant } => revoke(policy, role, grant),
        PolicyChange::CreateGroup { group } => create_group(policy, group),
        PolicyChange::DropGroup { group } => drop_group(policy, group),
        PolicyChange::AddToGroup { group, privileges } => add_to_group(policy, group, privileges),
        PolicyChange::RemoveFromGroup { group, privileges } => {
            let mut members = group_of(policy, group)?;
            members.retain(|member| !privileges.contains(member));
            Ok(vec![Change::PutPrivileges { group: group.clone(), privileges: members }])
        }
        PolicyChange::Restore(saved) => restore(policy, saved),
    }
}

fn create_user(policy: &Policy, name: &str, password: &PasswordHash, description: &str) -> Decision {
    if policy.has_user(name) {
        return Err(Refusal::UserExists { user: name.to_owned() });
    }
    if policy.user_names().len() >= USERS {
        return Err(Refusal::TooManyUsers { limit: USERS });
    }
    let password = Some(password.clone());
    put_user(name, User { password, description: description.to_owned(), ..User::default() })
}

fn set_password(
    policy: &Policy,
    name: &str,
    password: &PasswordHash,
    replaces: Option<&PasswordHash>,
) -> Decision {
    let known = match policy.users.get(name) {
        Some(known) => known.clone(),
        None if name == ROOT => User::default(),
        None => return Err(Refusal::WrongPassword { user: name.to_owned() }),
    };
    if known.password.as_ref() != replaces {
        return Err(Refusal::WrongPassword { user: name.to_owned() });
    }
    put_user(name, User { password: Some(password.clone()), ..known })
}

fn drop_user(policy: &Policy, name: &str) -> Decision {
    if name == ROOT {
        return Err(Refusal::DropRoot);
    }
    let known = policy.users.contains_key(name);
    Ok(known.then(|| Change::RemoveUser(name.to_owned())).into_iter().collect())
}

fn create_role(policy: &Policy, name: &str, description: &str) -> Decision {
    if policy.has_role(name) {
        return Err(Refusal::RoleExists { role: name.to_owned() });
    }
    if policy.roles.keys().filter(|role| !is_default_role(role)).count() >= ROLES {
        return Err(Refusal::TooManyRoles { limit: ROLES });
    }
    put_role(name, Role { description: description.to_owned(), grants: Vec::new() })
}

fn drop_role(policy: &Policy, name: &str, force: bool) -> Decision {
    if is_default_role(name) {
        return Err(Refusal::DropDefaultRole { role: name.to_owned() });
    }
    let role = role_of(policy, name)?;
    if !role.grants.is_empty() && !force {
        return Err(Refusal::RoleHasGrants);
    }
    let mut changes = vec![Change::RemoveRole(name.to_owned())];
    for (user, known) in policy.users.iter().filter(|(_, user)| user.roles.contains(name)) {
        let mut left = known.clone();
        left.roles.remove(name);
        changes.push(Change::PutUser { name: user.clone(), user: left });
    }
    Ok(changes)
}

fn bind(policy: &Policy, name: &str, role: &str, on: bool) -> Decision {
    role_of(policy, role)?;
    if !policy.has_user(name) {
        return Err(Refusal::UserNotFound);
    }
    let mut user = policy.users.get(name).cloned().unwrap_or_default();
    let changed = if on { user.roles.insert(role.to_owned()) } else { user.roles.remove(role) };
    if changed { put_user(name, user) } else { Ok(Vec::new()) }
}

fn grant_to(policy: &Policy, name: &str, grant: &Grant) -> Decision {
    let mut role = role_of(policy, name)?;
    check_privilege(policy, &grant.privilege)?;
    if role.grants.iter().any(|known| known.is_same(grant)) {
        return Ok(Vec::new());
    }
    role.grants.push(grant.clone());
    put_role(name, role)
}

fn revoke(policy: &Policy, name: &str, grant: &Grant) -> Decision {
    let mut role = role_of(policy, name)?;
    check_privilege(policy, &grant.privilege)?;
    let before = role.grants.len();
    role.grants.retain(|known| !known.is_same(grant));
    if role.grants.len() == before { Ok(Vec::new()) } else { put_role(name, role) }
}

fn create_group(policy: &Policy, name: &str) -> Decision {
    if is_built_in(name) || object_of(name).is_some() {
        let text = format!(
            "privilege group name [{name}] is defined by built in privileges or privilege groups in system"
        );
        return Err(Refusal::BadParameter { text: format!("{text}: invalid parameter") });
    }
    if policy.groups.contains_key(name) {
        return Err(Refusal::PrivilegeGroupExists { group: name.to_owned() });
    }
    Ok(vec![Change::PutPrivileges { group: name.to_owned(), privileges: BTreeSet::new() }])
}

fn drop_group(policy: &Policy, name: &str) -> Decision {
    let uses = |role: &Role| role.grants.iter().any(|grant| grant.privilege == name);
    if let Some((role, _)) = policy.roles.iter().find(|(_, role)| uses(role)) {
        return Err(Refusal::PrivilegeGroupInUse { group: name.to_owned(), role: role.clone() });
    }
    let known = policy.groups.contains_key(name);
    Ok(known.then(|| Change::RemovePrivileges(name.to_owned())).into_iter().collect())
}

/// The privileges of groups that are named are put in one by one: a later change of those groups is not followed.
fn add_to_group(policy: &Policy, name: &str, added: &BTreeSet<String>) -> Decision {
    let mut members = group_of(policy, name)?;
    for one in added {
        match policy.groups.get(one) {
            Some(group) => members.extend(group.iter().cloned()),
            None if is_built_in(one) => {
                let all = built_in().filter(|(group, _)| group == one).flat_map(|(_, members)| members);
                members.extend(all.map(str::to_owned));
            }
            None if object_of(one).is_some() => {
                members.insert(one.clone());
            }
            None => return Err(Refusal::PrivilegeNotFound { privilege: one.clone() }),
        }
    }
    let levels: BTreeSet<Level> = members.iter().filter_map(|member| level_of(member)).collect();
    if levels.len() > 1 {
        return Err(Refusal::PrivilegeLevels);
    }
    Ok(vec![Change::PutPrivileges { group: name.to_owned(), privileges: members }])
}

fn restore(policy: &Policy, saved: &Policy) -> Decision {
    let mut changes = Vec::new();
    for (name, user) in saved.users.iter().filter(|(name, _)| *name != ROOT) {
        if policy.has_user(name) {
            return Err(Refusal::UserExists { user: name.clone() });
        }
        changes.push(Change::PutUser { name: name.clone(), user: user.clone() });
    }
    for (name, role) in &saved.roles {
        match policy.roles.get(name) {
            Some(_) if !is_default_role(name) => {
                return Err(Refusal::RoleExists { role: name.clone() });
            }
            known => {
                let mut all = known.cloned().unwrap_or_default();
                let new = role.grants.iter().filter(|grant| !all.grants.iter().any(|had| had.is_same(grant)));
                let new: Vec<Grant> = new.cloned().collect();
                all.grants.extend(new);
                if !role.description.is_empty() {
                    all.description.clone_from(&role.description);
                }
                changes.push(Change::PutRole { name: name.clone(), role: all });
            }
        }
    }
    for (name, privileges) in &saved.groups {
        if policy.groups.contains_key(name) {
            return Err(Refusal::PrivilegeGroupExists { group: name.clone() });
        }
        changes.push(Change::PutPrivileges { group: name.clone(), privileges: privileges.clone() });
    }
    Ok(changes)
}

/// Refuses a privilege that is none and no group either.
fn check_privilege(policy: &Policy, name: &str) -> Result<(), Refusal> {
    let known =
        name == ANY || object_of(name).is_some() || is_built_in(name) || policy.groups.contains_key(name);
    if known { Ok(()) } else { Err(Refusal::PrivilegeNotFound { privilege: name.to_owned() }) }
}

fn role_of(policy: &Policy, name: &str) -> Result<Role, Refusal> {
    match policy.roles.get(name) {
        Some(role) => Ok(role.clone()),
        None if is_default_role(name) => Ok(Role::default()),
        None => Err(Refusal::RoleNotFound),
    }
}

fn group_of(policy: &Policy, name: &str) -> Result<BTreeSet<String>, Refusal> {
    let missing = || Refusal::PrivilegeGroupNotFound { group: name.to_owned() };
    policy.groups.get(name).cloned().ok_or_else(missing)
}

fn put_user(name: &str, user: User) -> Decision {
    Ok(vec![Change::PutUser { name: name.to_owned(), user }])
}

fn put_role(name: &str, role: Role) -> Decision {
    Ok(vec![Change::PutRole { name: name.to_owned(), role }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Object;

    fn hash(text: &str) -> PasswordHash {
        PasswordHash::new(text.to_owned())
    }

    fn user(name: &str) -> PolicyChange {
        PolicyChange::CreateUser { user: name.to_owned(), password: hash(name), description: String::new() }
    }

    fn role(name: &str) -> PolicyChange {
        PolicyChange::CreateRole { role: name.to_owned(), description: String::new() }
    }

    fn search() -> Grant {
        Grant {
            object: Object::Collection,
            name: "books".to_owned(),
            database: "default".to_owned(),
            privilege: "Search".to_owned(),
            grantor: ROOT.to_owned(),
        }
    }

    fn named<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.into_iter().map(str::to_owned).collect()
    }

    /// A catalog after changes that are all taken.
    fn after(changes: &[PolicyChange]) -> Catalog {
        let mut catalog = Catalog::default();
        for change in changes {
            for change in change_policy(&catalog, change).unwrap() {
                catalog.apply(change);
            }
        }
        catalog
    }

    #[test]
    fn users_are_made_once_and_root_is_always_there() {
        let catalog = after(&[user("ann")]);
        let taken = |name: &str| Err(Refusal::UserExists { user: name.to_owned() });

        assert_eq!(change_policy(&catalog, &user("ann")), taken("ann"));
        assert_eq!(change_policy(&catalog, &user("root")), taken("root"));
        let drop = |name: &str| change_policy(&catalog, &PolicyChange::DropUser { user: name.to_owned() });
        assert_eq!(drop("ann"), Ok(vec![Change::RemoveUser("ann".to_owned())]));
        assert_eq!((drop("bob"), drop("root")), (Ok(Vec::new()), Err(Refusal::DropRoot)));
    }

    #[test]
    fn there_are_no_more_users_and_roles_than_may_be() {
        let users: Vec<_> = (1..USERS).map(|number| user(&format!("u{number}"))).collect();
        let roles: Vec<_> = (0..ROLES).map(|number| role(&format!("r{number}"))).collect();
        let catalog = after(&[users, roles].concat());

        assert_eq!(change_policy(&catalog, &user("one")), Err(Refusal::TooManyUsers { limit: USERS }));
        assert_eq!(change_policy(&catalog, &role("one")), Err(Refusal::TooManyRoles { limit: ROLES }));
    }

    #[test]
    fn a_password_is_replaced_only_if_it_is_still_the_one_that_was_seen() {
        let set = |user: &str, replaces: Option<PasswordHash>| PolicyChange::SetPassword {
            user: user.to_owned(),
            password: hash("new"),
            replaces,
        };
        let catalog = after(&[user("ann"), set("ann", Some(hash("ann"))), set("root", None)]);
        let wrong = |user: &str| Err(Refusal::WrongPassword { user: user.to_owned() });

        assert_eq!(catalog.policy.users["ann"].password, Some(hash("new")));
        assert_eq!(catalog.policy.users["root"].password, Some(hash("new")));
        assert_eq!(change_policy(&catalog, &set("ann", Some(hash("ann")))), wrong("ann"));
        assert_eq!(change_policy(&catalog, &set("root", None)), wrong("root"));
        assert_eq!(change_policy(&catalog, &set("bob", None)), wrong("bob"));
    }

    #[test]
    fn a_role_with_grants_goes_only_by_force_and_leaves_its_users() {
        let bind = PolicyChange::Bind { user: "ann".to_owned(), role: "reader".to_owned() };
        let grant = PolicyChange::Grant { role: "reader".to_owned(), grant: search() };
        let catalog = after(&[user("ann"), role("reader"), bind, grant.clone()]);
        let drop = |role: &str, force| {
            change_policy(&catalog, &PolicyChange::DropRole { role: role.to_owned(), force })
        };

        assert_eq!(change_policy(&catalog, &grant), Ok(Vec::new()));
        assert_eq!(drop("reader", false), Err(Refusal::RoleHasGrants));
        assert_eq!(drop("gone", true), Err(Refusal::RoleNotFound));
        assert_eq!(drop("admin", true), Err(Refusal::DropDefaultRole { role: "admin".to_owned() }));
        let ann = User { password: Some(hash("ann")), ..User::default() };
        let expected =
            [Change::RemoveRole("reader".to_owned()), Change::PutUser { name: "ann".to_owned(), user: ann }];
        assert_eq!(drop("reader", true), Ok(expected.to_vec()));
    }

    #[test]
    fn what_is_revoked_is_gone_and_what_is_not_there_is_fine() {
        let name = || "reader".to_owned();
        let catalog = after(&[
            role("reader"),
            PolicyChange::Grant { role: name(), grant: search() },
            PolicyChange::Revoke { role: name(), grant: Grant { grantor: "x".to_owned(), ..search() } },
            PolicyChange::Revoke { role: name(), grant: search() },
        ]);

        assert_eq!(catalog.policy.roles["reader"].grants, Vec::new());
        let odd = Grant { privilege: "Sleep".to_owned(), ..search() };
        let refused = change_policy(&catalog, &PolicyChange::Grant { role: name(), grant: odd });
        assert_eq!(refused, Err(Refusal::PrivilegeNotFound { privilege: "Sleep".to_owned() }));
        let gone = change_policy(&catalog, &PolicyChange::Grant { role: "x".to_owned(), grant: search() });
        assert_eq!(gone, Err(Refusal::RoleNotFound));
    }

    #[test]
    fn a_user_is_bound_to_roles_that_exist() {
        let catalog = after(&[user("ann"), role("reader")]);
        let bind = |user: &str, role: &str| {
            change_policy(&catalog, &PolicyChange::Bind { user: user.to_owned(), role: role.to_owned() })
        };

        assert_eq!(bind("ann", "writer"), Err(Refusal::RoleNotFound));
        assert_eq!(bind("bob", "reader"), Err(Refusal::UserNotFound));
        let root = User { roles: named(["admin"]), ..User::default() };
        assert_eq!(bind("root", "admin"), Ok(vec![Change::PutUser { name: "root".to_owned(), user: root }]));
    }

    #[test]
    fn a_group_holds_privileges_of_one_level() {
        let add = |names: BTreeSet<String>| PolicyChange::AddToGroup {
            group: "mine".to_owned(),
            privileges: names,
        };
        let make = PolicyChange::CreateGroup { group: "mine".to_owned() };
        let catalog = after(&[make.clone(), add(named(["Search", "Query"]))]);
        let decide = |change| change_policy(&catalog, &change);

        assert_eq!(catalog.policy.groups["mine"], named(["Query", "Search"]));
        assert_eq!(decide(make), Err(Refusal::PrivilegeGroupExists { group: "mine".to_owned() }));
        assert_eq!(decide(add(named(["CreateDatabase"]))), Err(Refusal::PrivilegeLevels));
        assert_eq!(
            decide(add(named(["Sleep"]))),
            Err(Refusal::PrivilegeNotFound { privilege: "Sleep".to_owned() })
        );
        let whole = named(["CollectionReadOnly"]);
        let Ok(changes) = decide(add(whole)) else { panic!("a whole group can be added") };
        assert!(matches!(&changes[..], [Change::PutPrivileges { privileges, .. }] if privileges.len() == 16));
    }

    #[test]
    fn a_group_that_a_role_uses_stays() {
        let grant = Grant { privilege: "mine".to_owned(), ..search() };
        let catalog = after(&[
            role("reader"),
            PolicyChange::CreateGroup { group: "mine".to_owned() },
            PolicyChange::Grant { role: "reader".to_owned(), grant },
        ]);

        let dropped = change_policy(&catalog, &PolicyChange::DropGroup { group: "mine".to_owned() });

        let refused = Refusal::PrivilegeGroupInUse { group: "mine".to_owned(), role: "reader".to_owned() };
        assert_eq!(dropped, Err(refused));
    }

    #[test]
    fn what_was_saved_comes_back_whole_or_not_at_all() {
        let bind = PolicyChange::Bind { user: "ann".to_owned(), role: "reader".to_owned() };
        let grant = PolicyChange::Grant { role: "reader".to_owned(), grant: search() };
        let saved = Box::new(Policy::clone(&after(&[user("ann"), role("reader"), bind, grant]).policy));
        let restore = PolicyChange::Restore(saved.clone());

        assert_eq!(*after(std::slice::from_ref(&restore)).policy, *saved);
        let refused = change_policy(&after(&[role("reader")]), &restore);
        assert_eq!(refused, Err(Refusal::RoleExists { role: "reader".to_owned() }));
    }
}
