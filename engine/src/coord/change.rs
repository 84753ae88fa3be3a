//! The only ways in which the catalog changes.

use std::collections::BTreeSet;

use crate::base::{ChannelName, CollectionId, DatabaseId};
use crate::coord::catalog::{Compaction, Garbage, Import};
use crate::coord::stored::Stored;
use crate::model::ChannelManifest;
use crate::model::access::{Role, User};
use crate::rpc::{CollectionInfo, DatabaseInfo, GroupConfig};

/// One change; several are committed together.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Makes a database or replaces what is known of it.
    PutDatabase(DatabaseInfo),
    /// Forgets a database.
    RemoveDatabase(DatabaseId),
    /// Makes a collection or replaces what is known of it.
    PutCollection(CollectionInfo),
    /// Forgets a collection and its manifests.
    RemoveCollection(CollectionInfo),
    /// Replaces what is sealed of one channel.
    PutManifest {
        /// Whose channel it is.
        collection: CollectionId,
        /// Its place among the collection's channels.
        shard: usize,
        /// Its name.
        channel: ChannelName,
        /// What is sealed now.
        manifest: ChannelManifest,
    },
    /// The same, with the manifest in objects. No decision says so: a manifest is put there when it is committed.
    PutStored {
        /// Whose channel it is.
        collection: CollectionId,
        /// Its place among the collection's channels.
        shard: usize,
        /// Its name.
        channel: ChannelName,
        /// What is sealed now.
        manifest: ChannelManifest,
        /// Where that is.
        stored: Stored,
    },
    /// Remembers a compaction that was asked for, or how far it is.
    PutCompaction(Compaction),
    /// Forgets a compaction.
    RemoveCompaction(i64),
    /// Remembers an import that was asked for, or how far it is.
    PutImport(Import),
    /// Forgets an import.
    RemoveImport(i64),
    /// Spares and takes objects of a channel's flush that have this number or a later one.
    KeepFlush {
        /// Its name.
        channel: ChannelName,
        /// The number.
        since: i64,
    },
    /// No flush of the channel is spared any more.
    ForgetFlush(ChannelName),
    /// Adds something to be removed.
    PutGarbage(Garbage),
    /// Forgets what has been removed.
    RemoveGarbage(i64),
    /// Makes a resource group or replaces what it asks for.
    PutGroup {
        /// Its name.
        name: String,
        /// What it asks for.
        config: GroupConfig,
    },
    /// Forgets a resource group.
    RemoveGroup(String),
    /// Makes a user or replaces what is known of it.
    PutUser {
        /// Its name.
        name: String,
        /// What is known of it.
        user: User,
    },
    /// Forgets a user.
    RemoveUser(String),
    /// Makes a role or replaces what is known of it.
    PutRole {
        /// Its name.
        name: String,
        /// What is known of it.
        role: Role,
    },
    /// Forgets a role.
    RemoveRole(String),
    /// Makes a group of privileges or replaces what is in it.
    PutPrivileges {
        /// The group's name.
        group: String,
        /// What is in it.
        privileges: BTreeSet<String>,
    },
    /// Forgets a group of privileges.
    RemovePrivileges(String),
}
