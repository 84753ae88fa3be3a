//! Every call of the coordinator, once: how it travels, and whether it may be done twice.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::convert;
use super::remote::Remote;
use crate::base::{ChannelName, CollectionId, NodeId, SegmentId, Timestamp};
use crate::model::ChannelManifest;
use crate::model::access::Policy;
use crate::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Error, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress,
    LeadInfo, NewCollection, NewImport, NewIndex, NodeStatus, Orders, PolicyChange, ReplicaInfo, Report,
    Routes, SteerChange, Steering,
};
use contract::internal as pb;

/// Whether a call whose outcome is unknown may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Doing it twice is as good as once.
    Safe,
    /// Only if nothing was done: the second time would do more, or would be refused because of the first.
    Unsafe,
}

/// A change of name and what is added are refused the second time, a function that is dropped is not found, and rows that came between
/// would go with the first; the others set what they name.
pub(super) const fn of_change(change: &CollectionChange) -> Repeat {
    match change {
        CollectionChange::Rename { .. }
        | CollectionChange::AddField { .. }
        | CollectionChange::AddStruct { .. }
        | CollectionChange::AddFunction { .. }
        | CollectionChange::DropFunction { .. }
        | CollectionChange::Truncate => Repeat::Unsafe,
        CollectionChange::SetProperties(_)
        | CollectionChange::DropField { .. }
        | CollectionChange::AlterFunction { .. }
        | CollectionChange::DeleteProperties(_)
        | CollectionChange::SetFieldParams { .. } => Repeat::Safe,
    }
}

/// Making and dropping are refused the second time; pointing elsewhere sets what it names.
pub(super) const fn of_alias(change: &AliasChange) -> Repeat {
    match change {
        AliasChange::Create { .. } | AliasChange::Drop => Repeat::Unsafe,
        AliasChange::Alter { .. } => Repeat::Safe,
    }
}

/// Making a user, a role or a group, setting a password that is expected to be another one, dropping a role, and restoring are
/// refused the second time; the others say what is to be.
pub(super) const fn of_policy(change: &PolicyChange) -> Repeat {
    match change {
        PolicyChange::CreateUser { .. }
        | PolicyChange::SetPassword { .. }
        | PolicyChange::CreateRole { .. }
        | PolicyChange::DropRole { .. }
        | PolicyChange::CreateGroup { .. }
        | PolicyChange::Restore(_) => Repeat::Unsafe,
        PolicyChange::DescribeUser { .. }
        | PolicyChange::DropUser { .. }
        | PolicyChange::DescribeRole { .. }
        | PolicyChange::Bind { .. }
        | PolicyChange::Unbind { .. }
        | PolicyChange::Grant { .. }
        | PolicyChange::Revoke { .. }
        | PolicyChange::DropGroup { .. }
        | PolicyChange::AddToGroup { .. }
        | PolicyChange::RemoveFromGroup { .. } => Repeat::Safe,
    }
}

pub(super) type Pairs = Vec<(String, String)>;
pub(super) type Names = Vec<String>;
pub(super) type Groups = Vec<(String, GroupConfig)>;
pub(super) type SomeNames = Option<Vec<String>>;
pub(super) type Channels = Vec<ChannelName>;
pub(super) type Nodes = Vec<NodeId>;
pub(super) type Segments = Vec<SegmentId>;
pub(super) type SomeNumber = Option<i64>;

/// A choice that callers of earlier versions do not send: for them it is no.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct LaterChoice(Option<bool>);

impl From<bool> for LaterChoice {
    fn from(choice: bool) -> Self {
        Self(Some(choice))
    }
}

impl Lend for LaterChoice {
    type Lent<'a> = bool;
    fn lend(&self) -> bool {
        self.0.unwrap_or_default()
    }
}

/// An argument that is kept, as the trait wants it.
pub(super) trait Lend {
    /// What the trait takes.
    type Lent<'a>
    where
        Self: 'a;
    /// The argument for one try.
    fn lend(&self) -> Self::Lent<'_>;
}

impl Lend for String {
    type Lent<'a> = &'a str;
    fn lend(&self) -> &str {
        self
    }
}

impl Lend for ChannelName {
    type Lent<'a> = &'a Self;
    fn lend(&self) -> &Self {
        self
    }
}

macro_rules! lend_clones {
    ($($kept:ty),+ $(,)?) => {$(
        impl Lend for $kept {
            type Lent<'a> = Self;
            fn lend(&self) -> Self {
                self.clone()
            }
        }
    )+};
}

lend_clones!(
    u32,
    i64,
    bool,
    Pairs,
    Names,
    Groups,
    SomeNames,
    Channels,
    Nodes,
    Segments,
    NewCollection,
    CollectionRef,
    CollectionChange,
    AliasChange,
    NewIndex,
    CollectionId,
    NodeId,
    Flushed,
    Report,
    GroupConfig,
    PolicyChange,
    NewImport,
    SomeNumber,
    SteerChange,
    HeldTransfer,
);

/// Hands the table of calls to another macro: name, arguments (`taken as kept`), value, [`Repeat`].
///
/// What is [`Repeat::Safe`], and why:
/// - Reads change nothing. Numbers that were allocated and never arrived are merely never used.
/// - What sets a state that it names whole (properties, parameters, groups, an alias' target, draining, what is steered by hand, load, release)
///   sets the same state again. What another caller set in between is overwritten, as if this call had come after that
///   one: calls made at the same time have no order.
/// - Making or dropping what the contract calls fine when it is there, or gone, already. What another caller made under the
///   name in between is dropped by the second try, again as if this call had come after that one.
/// - A beat is the whole state of a node.
///
/// What is [`Repeat::Unsafe`], and why:
/// - `create_database`, `drop_database`: the second time is refused because of the first.
/// - `alter_collection` to another name, and `alter_alias` to make or drop one: likewise.
/// - `change_policy` to make something or to set a password: likewise.
/// - `commit_flush`: the second time conflicts with the first. The writer looks at the checkpoint and knows.
/// - `compact`: what the first time found to do is no longer to be found.
/// - `import`: the second time would import the same rows again.
/// - `resign`: the second time would meet the successor.
/// - `transfer_nodes`, `transfer_replicas`, `balance`, `transfer_held`: moves so many, or from where they then no longer are.
macro_rules! coord_calls {
    ($with:ident) => {
        $with! {
            allocate_timestamps(count: u32 as u32) -> Timestamp, Safe;
            allocate_ids(count: u32 as u32) -> i64, Safe;
            create_database(name: &str as String, properties: Pairs as Pairs) -> (), Unsafe;
            drop_database(name: &str as String) -> (), Unsafe;
            alter_database(name: &str as String, set: Pairs as Pairs, removed: Names as Names) -> (), Safe;
            databases() -> Vec<DatabaseInfo>, Safe;
            create_collection(collection: NewCollection as NewCollection) -> Arc<CollectionInfo>, Safe;
            drop_collection(database: &str as String, name: &str as String) -> (), Safe;
            alter_collection(collection: CollectionRef as CollectionRef, change: CollectionChange as CollectionChange) -> (), of_change(&change);
            collection(collection: CollectionRef as CollectionRef) -> Arc<CollectionInfo>, Safe;
            collections(database: &str as String) -> Vec<Arc<CollectionInfo>>, Safe;
            create_partition(collection: CollectionRef as CollectionRef, name: &str as String) -> (), Safe;
            drop_partition(collection: CollectionRef as CollectionRef, name: &str as String) -> (), Safe;
            alter_alias(database: &str as String, alias: &str as String, change: AliasChange as AliasChange) -> (), of_alias(&change);
            create_index(index: NewIndex as NewIndex) -> (), Safe;
            drop_index(collection: CollectionRef as CollectionRef, name: &str as String) -> (), Safe;
            alter_index(collection: CollectionRef as CollectionRef, name: &str as String, set: Pairs as Pairs, removed: Names as Names) -> (), Safe;
            indexes(collection: CollectionRef as CollectionRef) -> Vec<IndexProgress>, Safe;
            load(collection: CollectionRef as CollectionRef, partitions: SomeNames as SomeNames, replicas: u32 as u32, resource_groups: Names as Names) -> (), Safe;
            release(collection: CollectionRef as CollectionRef, partitions: SomeNames as SomeNames) -> (), Safe;
            load_progress(collection: CollectionRef as CollectionRef) -> Option<u8>, Safe;
            manifests(collection: CollectionId as CollectionId) -> Vec<Arc<ChannelManifest>>, Safe;
            commit_flush(flushed: Flushed as Flushed) -> (), Unsafe;
            keep_flush(channel: &ChannelName as ChannelName, since: i64 as i64) -> (), Safe;
            followed(channels: Channels as Channels) -> Vec<Followed>, Safe;
            channel_term(channel: &ChannelName as ChannelName, node: NodeId as NodeId) -> u64, Safe;
            open_channel(channel: &ChannelName as ChannelName, node: NodeId as NodeId) -> (u64, Timestamp), Safe;
            allocate_node() -> NodeId, Safe;
            beat(report: Report as Report) -> Orders, Safe;
            routes(collection: CollectionId as CollectionId) -> Arc<Routes>, Safe;
            create_group(name: &str as String, config: GroupConfig as GroupConfig) -> (), Safe;
            drop_group(name: &str as String) -> (), Safe;
            update_groups(configs: Groups as Groups) -> (), Safe;
            groups() -> Vec<GroupInfo>, Safe;
            transfer_nodes(from: &str as String, to: &str as String, count: u32 as u32) -> (), Unsafe;
            transfer_replicas(from: &str as String, to: &str as String, collection: CollectionRef as CollectionRef, count: u32 as u32) -> (), Unsafe;
            replicas(collection: CollectionId as CollectionId) -> Vec<ReplicaInfo>, Safe;
            nodes() -> Vec<NodeStatus>, Safe;
            balance(collection: CollectionId as CollectionId, from: NodeId as NodeId, to: Nodes as Nodes, segments: Segments as Segments) -> (), Unsafe;
            drain(node: NodeId as NodeId, on: bool as bool) -> (), Safe;
            steer(change: SteerChange as SteerChange) -> (), Safe;
            steering() -> Steering, Safe;
            transfer_held(transfer: HeldTransfer as HeldTransfer) -> (), Unsafe;
            compact(collection: CollectionId as CollectionId, major: bool as LaterChoice) -> i64, Unsafe;
            compaction(id: i64 as i64) -> CompactionState, Safe;
            import(import: NewImport as NewImport) -> i64, Unsafe;
            imports(id: Option<i64> as SomeNumber) -> Vec<ImportInfo>, Safe;
            end_import(id: i64 as i64, commits: bool as bool) -> (), Safe;
            policy() -> Arc<Policy>, Safe;
            change_policy(change: PolicyChange as PolicyChange) -> (), of_policy(&change);
            lead() -> LeadInfo, Safe;
            resign() -> LeadInfo, Unsafe;
            fsck() -> Fsck, Safe;
            finalize(format: u32 as u32) -> (u32, u32), Safe;
        }
    };
}
pub(super) use coord_calls;

macro_rules! travel {
    ($($call:ident($($name:ident: $taken:ty as $kept:ty),*) -> $value:ty, $repeat:expr;)+) => {
        /// A call of the coordinator with its arguments, as it travels. An argument that is added later needs a default.
        #[derive(Debug, Serialize, Deserialize)]
        #[expect(non_camel_case_types, reason = "a variant is named as its call")]
        pub(super) enum CoordCall {
            $($call { $($name: $kept),* },)+
        }

        impl CoordCall {
            /// Makes the call.
            pub(super) async fn make(self, coord: &dyn Coord) -> pb::Answer {
                match self {
                    $(Self::$call { $($name),* } => {
                        convert::answer(stringify!($call), coord.$call($($name.lend()),*).await)
                    })+
                }
            }
        }

        #[async_trait]
        impl Coord for Remote {
            $(async fn $call(&self, $($name: $taken),*) -> Result<$value, Error> {
                self.ask(stringify!($call), &CoordCall::$call { $($name: <$kept>::from($name)),* }).await
            })+
        }
    };
}

coord_calls!(travel);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compaction_that_an_earlier_version_asks_for_does_not_cluster() {
        let asked = |text: &str| match serde_json::from_str(text).unwrap() {
            CoordCall::compact { collection, major } => (collection, major.lend()),
            other => panic!("{other:?}"),
        };

        assert_eq!(asked(r#"{"compact":{"collection":7}}"#), (CollectionId(7), false));
        assert_eq!(asked(r#"{"compact":{"collection":7,"major":true}}"#), (CollectionId(7), true));
    }
}
