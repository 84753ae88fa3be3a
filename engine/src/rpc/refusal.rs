//! What a duty refuses to do for a user, with Milvus's words and code.

use crate::base::{Kind, Kinded};

/// A refusal that goes to the client as it is. `Display` is the text on the wire, [`Refusal::code`] the number.
///
/// Source: wire specification, codes (1.2) and texts of each call (1.3, 2.13, 2.14, 2.17, 2.20).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each refusal is; the fields are what they name")]
pub enum Refusal {
    #[error("database not found[database={database}]")]
    DatabaseNotFound { database: String },
    #[error("database already exist: {database}")]
    DatabaseExists { database: String },
    #[error("can not drop default database")]
    DropDefaultDatabase,
    #[error("database:{database} not empty, must drop all collections before drop database")]
    DatabaseNotEmpty { database: String },
    #[error("exceeded the limit number of database[limit={limit}]")]
    TooManyDatabases { limit: usize },
    #[error("collection not found[database={database}][collection={collection}]")]
    CollectionNotFound { database: String, collection: String },
    #[error("create duplicate collection with different parameters, collection: {collection}")]
    CollectionDiffers { collection: String },
    #[error("duplicated new collection name {database}:{name} with other collection name or alias")]
    CollectionNameTaken { database: String, name: String },
    #[error("unsupported use an alias to rename collection, alias:{alias}")]
    RenameByAlias { alias: String },
    #[error("collection name or database name should be different")]
    RenameToItself,
    #[error("cannot drop the collection via alias = {alias}")]
    DropByAlias { alias: String },
    #[error(
        "unable to drop the collection [{collection}] because it has associated aliases [{aliases}], please remove all aliases before dropping the collection"
    )]
    CollectionHasAliases { collection: String, aliases: String },
    #[error("exceeded the limit number of collections[limit={limit}]")]
    TooManyCollections { limit: usize },
    #[error("collection not loaded[collection={collection}]")]
    CollectionNotLoaded { collection: String },
    #[error("partition not found[partition={partition}]")]
    PartitionNotFound { partition: String },
    #[error("partition not loaded[partition={partition}]")]
    PartitionNotLoaded { partition: String },
    #[error("default partition cannot be deleted")]
    DropDefaultPartition,
    #[error("partition cannot be dropped, partition is loaded, please release it first")]
    DropLoadedPartition,
    #[error("partition number ({limit}) exceeds max configuration ({limit}), collection: {collection}")]
    TooManyPartitions { limit: usize, collection: String },
    #[error(
        "{alias} is alias to another collection: {collection}: alias already exist[database={database}][alias={alias}]"
    )]
    AliasTaken { database: String, alias: String, collection: String },
    #[error("alias and collection name conflict[database={database}][alias={alias}]")]
    AliasIsCollection { database: String, alias: String },
    #[error("alias not found[database={database}][alias={alias}]")]
    AliasNotFound { database: String, alias: String },
    #[error("cannot create index on non-exist field: {field}")]
    IndexFieldNotFound { field: String },
    #[error("at most one distinct index is allowed per field")]
    IndexDiffers,
    #[error("CreateIndex failed: creating multiple indexes on same field is not supported")]
    SecondIndexOnField,
    #[error("there are multiple indexes, please specify the index_name")]
    ManyIndexes,
    #[error("index not found[{what}]")]
    IndexNotFound { what: String },
    #[error("vector index cannot be dropped on loaded collection: {collection}")]
    DropIndexOfLoaded { collection: String },
    #[error("there is no vector index on field: [{fields}], please create index firstly")]
    NoVectorIndex { fields: String },
    #[error(
        "when load {wanted} replica count: service resource insufficient[currentStreamingNode={nodes}][expectedStreamingNode={wanted}]"
    )]
    TooManyReplicas { wanted: usize, nodes: usize },
    #[error("resource group not found[rg={group}]")]
    ResourceGroupNotFound { group: String },
    #[error("resource group already exist, but create with different config[rg={group}]")]
    GroupExists { group: String },
    #[error("resource group num reach limit[limit={limit}]")]
    TooManyGroups { limit: usize },
    #[error(
        "resource group node not enough[rg={group}][currentNodeNum={current}][expectedNodeNum={expected}]"
    )]
    GroupTooSmall { group: String, current: usize, expected: usize },
    /// A configuration that contradicts itself; the text is the one that says how.
    #[error("{text}")]
    BadGroup { text: String },
    /// For now; the same may be done a little later.
    #[error("rate limit exceeded[reason={reason}]")]
    RateLimited { reason: String },
    /// Until somebody makes room.
    #[error("quota exceeded[reason={reason}]")]
    QuotaExceeded { reason: String },
    #[error("index type not supported[indexType={index_type}]")]
    IndexTypeNotSupported { index_type: String },
    /// A parameter that is wrong by itself; the text is the one that names it.
    #[error("{text}")]
    BadParameter { text: String },
    /// A parameter that only the search engine can judge.
    #[error("{text}")]
    BadSearch { text: String },
    #[error("user already exists: {user}")]
    UserExists { user: String },
    #[error("unable to add user because the number of users has reached the limit {limit}")]
    TooManyUsers { limit: usize },
    #[error("old password not correct for {user}: not authenticated")]
    WrongPassword { user: String },
    #[error("root user cannot be deleted")]
    DropRoot,
    #[error("not found the user, maybe the user isn't existed or internal system error")]
    UserNotFound,
    #[error("role [{role}] already exists")]
    RoleExists { role: String },
    #[error("unable to create role because the number of roles has reached the limit {limit}")]
    TooManyRoles { limit: usize },
    #[error("not found the role, maybe the role isn't existed or internal system error")]
    RoleNotFound,
    #[error("the role[{role}] is a default role, which can't be dropped")]
    DropDefaultRole { role: String },
    #[error("fail to drop the role that it has privileges. Use REVOKE API to revoke privileges")]
    RoleHasGrants,
    #[error("not found the privilege name[{privilege}]")]
    PrivilegeNotFound { privilege: String },
    #[error("privilege group name [{group}] already exists")]
    PrivilegeGroupExists { group: String },
    #[error("there is no privilege group name [{group}] defined in system to be operated")]
    PrivilegeGroupNotFound { group: String },
    #[error("privilege group [{group}] is used by role [{role}], Use REVOKE API to revoke it first")]
    PrivilegeGroupInUse { group: String, role: String },
    #[error("privileges are not the same privilege level")]
    PrivilegeLevels,
    #[error("no other process can take over the lead")]
    NoOtherCandidate,
    #[error("the cluster cannot be finalized to format {format}: {why}")]
    NotFinal { format: u32, why: String },
    /// A rule of the service that the request breaks, without a code of its own in Milvus.
    #[error("{text}")]
    Rule { text: String },
    #[error("{text}")]
    Import { text: String },
}

impl Refusal {
    /// Milvus's code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::CollectionNotFound { .. } => 100,
            Self::Import { .. } => 2100,
            Self::CollectionNotLoaded { .. } => 101,
            Self::TooManyCollections { .. } => 102,
            Self::PartitionNotFound { .. } => 200,
            Self::PartitionNotLoaded { .. } => 201,
            Self::RateLimited { .. } => 8,
            Self::QuotaExceeded { .. } => 9,
            Self::TooManyReplicas { .. } => 12,
            Self::ResourceGroupNotFound { .. } => 300,
            Self::GroupExists { .. } => 301,
            Self::TooManyGroups { .. } => 302,
            Self::BadGroup { .. } => 303,
            Self::GroupTooSmall { .. } => 304,
            Self::IndexNotFound { .. } => 700,
            Self::IndexTypeNotSupported { .. } => 701,
            Self::ManyIndexes => 702,
            Self::DatabaseNotFound { .. } => 800,
            Self::TooManyDatabases { .. } => 801,
            Self::AliasNotFound { .. } => 1600,
            Self::AliasIsCollection { .. } => 1601,
            Self::AliasTaken { .. } => 1602,
            Self::WrongPassword { .. } => 1400,
            Self::DropRoot => 1401,
            Self::BadSearch { .. }
            | Self::UserNotFound
            | Self::RoleNotFound
            | Self::RoleExists { .. }
            | Self::DropDefaultRole { .. }
            | Self::RoleHasGrants
            | Self::PrivilegeNotFound { .. } => 65_535,
            Self::DatabaseExists { .. }
            | Self::DropDefaultDatabase
            | Self::DatabaseNotEmpty { .. }
            | Self::CollectionDiffers { .. }
            | Self::CollectionNameTaken { .. }
            | Self::RenameByAlias { .. }
            | Self::RenameToItself
            | Self::DropByAlias { .. }
            | Self::CollectionHasAliases { .. }
            | Self::DropDefaultPartition
            | Self::DropLoadedPartition
            | Self::TooManyPartitions { .. }
            | Self::IndexFieldNotFound { .. }
            | Self::IndexDiffers
            | Self::SecondIndexOnField
            | Self::DropIndexOfLoaded { .. }
            | Self::NoVectorIndex { .. }
            | Self::UserExists { .. }
            | Self::TooManyUsers { .. }
            | Self::TooManyRoles { .. }
            | Self::PrivilegeGroupExists { .. }
            | Self::PrivilegeGroupNotFound { .. }
            | Self::PrivilegeGroupInUse { .. }
            | Self::PrivilegeLevels
            | Self::NoOtherCandidate
            | Self::NotFinal { .. }
            | Self::BadParameter { .. }
            | Self::Rule { .. } => 1100,
        }
    }
}

impl Kinded for Refusal {
    fn kind(&self) -> Kind {
        match self.code() {
            100 | 200 | 300 | 700 | 800 | 1600 => Kind::NotFound,
            1601 | 1602 => Kind::Exists,
            301 => Kind::Exists,
            1400 | 1401 => Kind::Denied,
            8 | 9 | 12 | 102 | 302 | 304 | 801 => Kind::Exhausted,
            _ => Kind::Invalid,
        }
    }
}
