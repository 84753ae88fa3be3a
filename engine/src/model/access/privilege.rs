//! The names of privileges, what each is about, and the groups that are built in.
//!
//! Source: wire specification 2.18. Names come without the word `Privilege`, as clients say them.

use super::Object;

/// How much a privilege is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The cluster as a whole.
    Cluster,
    /// One database.
    Database,
    /// One collection.
    Collection,
}

/// Privileges of the object type `Collection`, and the groups that may be granted on it.
const OF_COLLECTIONS: &[&str] = &[
    "Load",
    "Release",
    "Compaction",
    "Insert",
    "Delete",
    "Upsert",
    "GetStatistics",
    "CreateIndex",
    "IndexDetail",
    "DropIndex",
    "Search",
    "Flush",
    "Query",
    "LoadBalance",
    "Import",
    "ImportBinlog",
    "GetLoadingProgress",
    "GetLoadState",
    "CreatePartition",
    "DropPartition",
    "ShowPartitions",
    "HasPartition",
    "GetFlushState",
    "GroupReadOnly",
    "GroupReadWrite",
    "GetImportProgress",
    "ListImport",
    "AddCollectionField",
    "AlterCollectionSchema",
    "RefreshExternalCollection",
    "CreateSnapshot",
    "DropSnapshot",
    "DescribeSnapshot",
    "RestoreSnapshot",
    "ListSnapshots",
    "SkipRLS",
    "ViewRLS",
    "ManageRLS",
];

/// Privileges of the object type `Global`, and the group that may be granted on it.
const OF_ALL: &[&str] = &[
    "All",
    "CreateCollection",
    "DropCollection",
    "DescribeCollection",
    "ShowCollections",
    "RenameCollection",
    "CreateOwnership",
    "DropOwnership",
    "SelectOwnership",
    "ManageOwnership",
    "BackupRBAC",
    "RestoreRBAC",
    "CreateResourceGroup",
    "UpdateResourceGroups",
    "DropResourceGroup",
    "DescribeResourceGroup",
    "ListResourceGroups",
    "TransferReplica",
    "TransferNode",
    "FlushAll",
    "CreateDatabase",
    "DropDatabase",
    "ListDatabases",
    "AlterDatabase",
    "DescribeDatabase",
    "CreateAlias",
    "DropAlias",
    "DescribeAlias",
    "ListAliases",
    "GroupAdmin",
    "CreatePrivilegeGroup",
    "DropPrivilegeGroup",
    "ListPrivilegeGroups",
    "OperatePrivilegeGroup",
    "UpdateReplicateConfiguration",
    "GetReplicateConfiguration",
    "AddFileResource",
    "RemoveFileResource",
    "ListFileResources",
    "PinSnapshotData",
    "UnpinSnapshotData",
    "RestoreExternalSnapshot",
    "ExportSnapshot",
];

/// Privileges of the object type `User`.
const OF_USERS: &[&str] = &["UpdateUser", "SelectUser"];

/// Privileges that a group of collections has and the smaller ones have not.
const COLLECTION_READ: &[&str] = &[
    "Query",
    "Search",
    "IndexDetail",
    "GetFlushState",
    "GetLoadState",
    "GetLoadingProgress",
    "HasPartition",
    "ShowPartitions",
    "DescribeCollection",
    "DescribeAlias",
    "GetStatistics",
    "ListAliases",
    "GetImportProgress",
    "ListImport",
    "DescribeSnapshot",
    "ListSnapshots",
];
const COLLECTION_WRITE: &[&str] = &[
    "Load",
    "Release",
    "Insert",
    "Delete",
    "Upsert",
    "Import",
    "Flush",
    "Compaction",
    "LoadBalance",
    "CreateIndex",
    "DropIndex",
    "CreatePartition",
    "DropPartition",
    "AddCollectionField",
    "AlterCollectionSchema",
    "RefreshExternalCollection",
    "CreateSnapshot",
    "DropSnapshot",
];
const COLLECTION_ADMIN: &[&str] = &["CreateAlias", "DropAlias", "RestoreSnapshot"];

const DATABASE_READ: &[&str] = &["ShowCollections", "DescribeDatabase"];
const DATABASE_WRITE: &[&str] = &["AlterDatabase"];
const DATABASE_ADMIN: &[&str] = &["CreateCollection", "DropCollection"];

const CLUSTER_READ: &[&str] = &[
    "ListDatabases",
    "SelectOwnership",
    "SelectUser",
    "DescribeResourceGroup",
    "ListResourceGroups",
    "ListPrivilegeGroups",
    "GetReplicateConfiguration",
    "ListFileResources",
];
const CLUSTER_WRITE: &[&str] = &[
    "FlushAll",
    "TransferNode",
    "TransferReplica",
    "UpdateResourceGroups",
    "AddFileResource",
    "RemoveFileResource",
    "PinSnapshotData",
    "UnpinSnapshotData",
];
const CLUSTER_ADMIN: &[&str] = &[
    "BackupRBAC",
    "RestoreRBAC",
    "CreateDatabase",
    "DropDatabase",
    "CreateOwnership",
    "DropOwnership",
    "ManageOwnership",
    "CreateResourceGroup",
    "DropResourceGroup",
    "UpdateUser",
    "RenameCollection",
    "CreatePrivilegeGroup",
    "DropPrivilegeGroup",
    "OperatePrivilegeGroup",
    "UpdateReplicateConfiguration",
];

/// A group that is always there: its name, its level and what is in it, in parts.
type BuiltIn = (&'static str, Level, &'static [&'static [&'static str]]);

/// The groups that are always there.
const BUILT_IN: &[BuiltIn] = &[
    ("ClusterReadOnly", Level::Cluster, &[CLUSTER_READ]),
    ("ClusterReadWrite", Level::Cluster, &[CLUSTER_READ, CLUSTER_WRITE]),
    ("ClusterAdmin", Level::Cluster, &[CLUSTER_READ, CLUSTER_WRITE, CLUSTER_ADMIN]),
    ("DatabaseReadOnly", Level::Database, &[DATABASE_READ]),
    ("DatabaseReadWrite", Level::Database, &[DATABASE_READ, DATABASE_WRITE]),
    ("DatabaseAdmin", Level::Database, &[DATABASE_READ, DATABASE_WRITE, DATABASE_ADMIN]),
    ("CollectionReadOnly", Level::Collection, &[COLLECTION_READ]),
    ("CollectionReadWrite", Level::Collection, &[COLLECTION_READ, COLLECTION_WRITE]),
    ("CollectionAdmin", Level::Collection, &[COLLECTION_READ, COLLECTION_WRITE, COLLECTION_ADMIN]),
];

/// The older groups, which only the first form of a grant knows. Their members are not listed anywhere: they are taken for
/// what their names say.
const OLDER: &[BuiltIn] = &[
    ("GroupReadOnly", Level::Collection, &[COLLECTION_READ]),
    ("GroupReadWrite", Level::Collection, &[COLLECTION_READ, COLLECTION_WRITE]),
    (
        "GroupAdmin",
        Level::Cluster,
        &[
            COLLECTION_READ,
            COLLECTION_WRITE,
            COLLECTION_ADMIN,
            DATABASE_READ,
            DATABASE_WRITE,
            DATABASE_ADMIN,
            CLUSTER_READ,
            CLUSTER_WRITE,
            CLUSTER_ADMIN,
        ],
    ),
];

/// What a privilege is about, as the first form of a grant names it; `None` for a name that is none.
#[must_use]
pub fn object_of(privilege: &str) -> Option<Object> {
    let lists = [(Object::Collection, OF_COLLECTIONS), (Object::Global, OF_ALL), (Object::User, OF_USERS)];
    lists.into_iter().find(|(_, names)| names.contains(&privilege)).map(|(object, _)| object)
}

/// How much a privilege or a group that is built in is about; `None` for a name that is neither.
#[must_use]
pub fn level_of(name: &str) -> Option<Level> {
    if let Some((_, level, _)) = BUILT_IN.iter().find(|(group, ..)| *group == name) {
        return Some(*level);
    }
    let in_parts = |parts: &[&[&str]]| parts.iter().any(|part| part.contains(&name));
    if let Some((_, level, _)) = BUILT_IN.iter().find(|(_, _, parts)| in_parts(parts)) {
        return Some(*level);
    }
    object_of(name).map(|object| match object {
        Object::Collection => Level::Collection,
        Object::Global | Object::User => Level::Cluster,
    })
}

/// Whether a name is that of a group that is built in.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(group, ..)| *group == name)
}

/// The groups that are built in, with what is in each.
pub fn built_in() -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'static str>)> {
    BUILT_IN.iter().map(|(group, _, parts)| (*group, parts.iter().copied().flatten().copied()))
}

/// Whether the group called `name` that is built in, new or old, has `privilege`.
#[must_use]
pub fn built_in_has(name: &str, privilege: &str) -> bool {
    let group = BUILT_IN.iter().chain(OLDER).find(|(group, ..)| *group == name);
    group.is_some_and(|(_, _, parts)| parts.iter().any(|part| part.contains(&privilege)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_privilege_of_a_group_is_one_that_can_be_granted() {
        let parts = BUILT_IN.iter().chain(OLDER).flat_map(|(_, _, parts)| parts.iter().copied().flatten());
        let unknown: Vec<_> = parts.filter(|name| object_of(name).is_none()).collect();

        assert_eq!(unknown, Vec::<&&str>::new());
    }

    #[test]
    fn a_larger_group_has_what_the_smaller_ones_have() {
        for (small, large) in [
            ("CollectionReadOnly", "CollectionReadWrite"),
            ("CollectionReadWrite", "CollectionAdmin"),
            ("DatabaseReadOnly", "DatabaseAdmin"),
            ("ClusterReadOnly", "ClusterAdmin"),
        ] {
            let (_, mut members) = built_in().find(|(name, _)| *name == small).unwrap();
            assert!(members.all(|privilege| built_in_has(large, privilege)), "{small} {large}");
        }
        assert!(!built_in_has("CollectionReadOnly", "Insert"));
    }

    #[test]
    fn levels_are_those_of_the_groups() {
        for (name, level) in [
            ("Search", Level::Collection),
            ("DescribeCollection", Level::Collection),
            ("CreateCollection", Level::Database),
            ("CreateDatabase", Level::Cluster),
            ("UpdateUser", Level::Cluster),
            ("DatabaseAdmin", Level::Database),
        ] {
            assert_eq!(level_of(name), Some(level), "{name}");
        }
        assert_eq!(level_of("Sleep"), None);
    }
}
