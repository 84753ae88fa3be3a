//! The duty that keeps the catalog, hands out ids and time, and places work.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Error, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, LeadInfo, NewImport, NodeStatus, Orders,
    PolicyChange, ReplicaInfo, Report, Routes, SteerChange, Steering,
};
use crate::base::{
    ChannelName, CollectionId, DatabaseId, FieldId, IndexId, NodeId, PartitionId, Position, SegmentId,
    Timestamp,
};
use crate::model::access::Policy;
use crate::model::{
    ChannelManifest, DataType, DeleteManifest, Expiry, Field, Function, FunctionOutput, IndexDefinition,
    Partition, Schema, SegmentManifest, StructField,
};

/// The property with how long rows live, in seconds; for ever where it is not positive.
pub const TTL: &str = "collection.ttl.seconds";
/// The property with how long what is gone can still be read as it was, in seconds.
pub const RETENTION: &str = "timetravel.retention.seconds";
/// The property that names the field with the instant at which a row ends.
pub const TTL_FIELD: &str = "ttl_field";

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DatabaseInfo {
    /// Its id.
    pub id: DatabaseId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The user's properties, in order.
    pub properties: Vec<(String, String)>,
}

/// How a collection is to be held in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LoadSpec {
    /// Only these partitions; `None` for all, also those to come.
    pub partitions: Option<Vec<PartitionId>>,
    /// The copies, each with the resource group it is in; at least one.
    pub replicas: Vec<ReplicaSpec>,
}

/// One copy of a collection that is wanted in memory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReplicaSpec {
    /// Its id, never reused.
    pub id: i64,
    /// Its resource group.
    pub group: String,
}

/// Everything the catalog knows of a collection, as of one instant. A later change makes a new value.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CollectionInfo {
    /// Its id.
    pub id: CollectionId,
    /// Its name.
    pub name: String,
    /// Its database.
    pub database: DatabaseId,
    /// Its database's name.
    pub database_name: String,
    /// Its shape.
    pub schema: Arc<Schema>,
    /// Its shards, in order.
    pub channels: Vec<ChannelName>,
    /// Its partitions, `_default` first.
    pub partitions: Vec<Partition>,
    /// How many partitions rows are spread over by the partition key; 0 without one.
    pub partitions_by_key: u32,
    /// Other names of it, ascending.
    pub aliases: Vec<String>,
    /// The user's properties, in order.
    pub properties: Vec<(String, String)>,
    /// Default consistency level, Milvus's number.
    pub consistency: i32,
    /// When it was made.
    pub created: Timestamp,
    /// When its schema or properties last changed.
    pub updated: Timestamp,
    /// When a partition was last made or dropped: one that is older and not among `partitions` is gone.
    #[serde(default)]
    pub partitioned: Timestamp,
    /// Its indexes, in order of creation.
    pub indexes: Vec<IndexDefinition>,
    /// How it is to be loaded; `None` when it is not.
    pub load: Option<LoadSpec>,
    /// Whether each of its channels has had a record of what is sealed since the collection was made, so that one without is
    /// damaged. A collection that an earlier version made or changed does not say so.
    #[serde(default)]
    pub recorded: bool,
}

impl CollectionInfo {
    /// Whether rows may bring keys although the server makes them.
    #[must_use]
    pub fn allows_given_keys(&self) -> bool {
        let is_on = |(key, value): &(String, String)| {
            key == "allow_insert_auto_id" && value.eq_ignore_ascii_case("true")
        };
        self.properties.iter().any(is_on)
    }

    /// Whether rows may bring what a model would be asked for.
    #[must_use]
    pub fn allows_given_outputs(&self) -> bool {
        let is_on = |(key, value): &(String, String)| {
            key == "collection.function.allowInsertNonBM25FunctionOutputs"
                && value.eq_ignore_ascii_case("true")
        };
        self.properties.iter().any(is_on)
    }

    /// The rows that have expired at `now`, the cluster's time.
    #[must_use]
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        let value =
            |key: &str| self.properties.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        let ttl_s =
            value(TTL).and_then(|ttl| ttl.parse::<i64>().ok()).and_then(|ttl| u64::try_from(ttl).ok());
        let written_before = match ttl_s.unwrap_or(0) {
            0 => Timestamp::ZERO,
            // One that was written at the first instant of the span has lived as long as it may.
            ttl_s => now.minus_ms(ttl_s.min(u64::from(u32::MAX)) * 1_000).next(),
        };
        let field = value(TTL_FIELD).and_then(|name| self.schema.field(name));
        let field = field.filter(|field| field.data_type == DataType::Timestamptz);
        let now_us = i64::try_from(now.unix_ms().saturating_mul(1_000)).unwrap_or(i64::MAX);
        Expiry { written_before, by_field: field.map(|field| (field.id, now_us)) }
    }

    /// How long rows that were deleted, replaced or have expired can still be read as they were: what the collection says, or
    /// else `default_s`. Unit: seconds; 0 for not at all.
    #[must_use]
    pub fn retention_s(&self, default_s: u64) -> u64 {
        let value = self.properties.iter().find(|(known, _)| known == RETENTION);
        value.and_then(|(_, text)| text.parse().ok()).unwrap_or(default_s)
    }

    /// The time from which on readers are shown what was there then, if it is `now`; none where only what is there now is kept.
    #[must_use]
    pub fn keeps_since(&self, now: Timestamp, default_s: u64) -> Option<Timestamp> {
        match self.retention_s(default_s) {
            0 => None,
            retention_s => Some(now.minus_ms(retention_s.saturating_mul(1_000).min(now.unix_ms()))),
        }
    }

    /// The partition called `name`.
    #[must_use]
    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// The partitions that are to be loaded, if it is; `None` for all.
    #[must_use]
    pub fn loaded_partitions(&self) -> Option<&[PartitionId]> {
        self.load.as_ref()?.partitions.as_deref()
    }

    /// Whether a partition was dropped, as far as this knows: one that is younger than this may just have been made.
    #[must_use]
    pub fn has_dropped(&self, partition: PartitionId) -> bool {
        partition.0 <= self.partitioned.as_id() && self.partitions.iter().all(|known| known.id != partition)
    }

    /// The index on `field`.
    #[must_use]
    pub fn index_on(&self, field: FieldId) -> Option<&IndexDefinition> {
        self.indexes.iter().find(|index| index.field == field)
    }
}

/// Which collection is meant.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum CollectionRef {
    /// By name or alias, in a database.
    Name {
        /// The database's name.
        database: String,
        /// The collection's name or alias.
        name: String,
    },
    /// By id.
    Id(CollectionId),
}

/// A collection to make; the schema has been checked and its ids given.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NewCollection {
    /// The database's name.
    pub database: String,
    /// The collection's name.
    pub name: String,
    /// Its shape.
    pub schema: Schema,
    /// How many shards, 1 to 16.
    pub shards: u32,
    /// How many partitions a partition key spreads rows over; 0 without a partition key.
    pub partitions_by_key: u32,
    /// Default consistency level, Milvus's number.
    pub consistency: i32,
    /// The user's properties.
    pub properties: Vec<(String, String)>,
}

/// A change of a collection.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum CollectionChange {
    /// Sets properties, keeping the others.
    SetProperties(Vec<(String, String)>),
    /// Removes properties; those that do not exist are ignored.
    DeleteProperties(Vec<String>),
    /// Gives it another name, maybe in another database.
    Rename {
        /// The new database's name.
        database: String,
        /// The new name.
        name: String,
    },
    /// Adds a field that was checked by itself; its number is given. Rows that are there have its default or no value.
    AddField {
        /// The field.
        field: Field,
    },
    /// Adds an array of structs that was checked by itself; its numbers are given. Rows that are there lack it.
    AddStruct {
        /// The array.
        of: StructField,
        /// Its parts, in its order.
        parts: Vec<Field>,
    },
    /// Drops a field or an array of structs with its parts, and their indexes. Nobody reads what is stored of it any more.
    DropField {
        /// Its number; one that was dropped before is fine.
        field: FieldId,
    },
    /// Adds a function that was checked by itself; its number is given.
    AddFunction {
        /// The function.
        function: Function,
        /// The field that it fills with the index on it, if that is to be added, too: what rows that are there lack of it is
        /// computed by compaction. Else it fills a field that is there, in rows that are written from now on.
        output: Option<NewOutput>,
    },
    /// Puts a function in the place of the one of its name. Rows that are there keep what is in them.
    AlterFunction {
        /// The function.
        function: Function,
    },
    /// Drops a function.
    DropFunction {
        /// Its name.
        function: String,
        /// What becomes of the field that it fills.
        output: FunctionOutput,
    },
    /// Drops all rows that are sealed, and keeps everything else: schema, partitions, indexes, and what is loaded.
    Truncate,
    /// Sets type parameters of a field (`max_length`, `mmap.enabled`, …).
    SetFieldParams {
        /// The field's name.
        field: String,
        /// What to set.
        params: Vec<(String, String)>,
        /// What to remove.
        removed: Vec<String>,
    },
}

/// A field that comes with the function that fills it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NewOutput {
    /// The field; its number is given.
    pub field: Field,
    /// Name of the index on it; empty for the field's.
    pub index: String,
    /// The index's parameters, as in [`NewIndex`].
    pub params: Vec<(String, String)>,
}

/// A change of an alias.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum AliasChange {
    /// Makes it, for a collection.
    Create {
        /// The collection's name.
        collection: String,
    },
    /// Points it elsewhere.
    Alter {
        /// The collection's name.
        collection: String,
    },
    /// Removes it.
    Drop,
}

/// An index to make.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewIndex {
    /// The collection.
    pub collection: CollectionRef,
    /// The index's name; empty for the field's, see [`IndexDefinition::wanted`].
    pub name: String,
    /// The field's name.
    pub field: String,
    /// The user's parameters, flat and verbatim: what the client sees again. `index_type` and `metric_type` are among
    /// them once the proxy has filled in defaults.
    pub params: Vec<(String, String)>,
}

/// An index and how far it is built.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct IndexProgress {
    /// The index.
    pub index: IndexDefinition,
    /// Sealed rows it covers.
    pub indexed_rows: u64,
    /// Sealed rows there are.
    pub total_rows: u64,
    /// Why building cannot go on, if so.
    pub failure: Option<String>,
}

/// How far a part of a compaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum CompactionStep {
    /// It waits for a node, or is under way.
    Executing,
    /// Its result is committed, or its segments are gone.
    Completed,
    /// It cannot be done.
    Failed,
}

/// Segments that a compaction makes one, or spreads over several.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "PlanRecord", into = "PlanRecord")]
pub struct CompactionPlan {
    /// What is replaced.
    pub sources: Vec<SegmentId>,
    /// What replaces it, once that is committed; none also if no row was left.
    pub targets: Vec<SegmentId>,
    /// By which field's values rows are spread over the new segments; `None` where they become one.
    pub cluster_by: Option<FieldId>,
    /// Rows that had expired when it was planned.
    pub expiry: Expiry,
    /// How far it is.
    pub step: CompactionStep,
}

/// A plan as it is kept and sent. Earlier versions know of one new segment only: nodes of both versions speak with each
/// other during an upgrade, so both fields are written and read.
#[derive(serde::Serialize, serde::Deserialize)]
struct PlanRecord {
    sources: Vec<SegmentId>,
    #[serde(default)]
    target: Option<SegmentId>,
    #[serde(default)]
    targets: Vec<SegmentId>,
    #[serde(default)]
    cluster_by: Option<FieldId>,
    #[serde(default, skip_serializing_if = "Expiry::is_never")]
    expiry: Expiry,
    step: CompactionStep,
}

impl From<PlanRecord> for CompactionPlan {
    fn from(PlanRecord { sources, target, targets, cluster_by, expiry, step }: PlanRecord) -> Self {
        let targets = if targets.is_empty() { target.into_iter().collect() } else { targets };
        Self { sources, targets, cluster_by, expiry, step }
    }
}

impl From<CompactionPlan> for PlanRecord {
    fn from(CompactionPlan { sources, targets, cluster_by, expiry, step }: CompactionPlan) -> Self {
        Self { sources, target: targets.first().copied(), targets, cluster_by, expiry, step }
    }
}

/// How far a compaction that was asked for is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CompactionState {
    /// Plans that are not done.
    pub executing: u32,
    /// Plans that are done.
    pub completed: u32,
    /// Plans that cannot be done.
    pub failed: u32,
    /// All of them.
    pub plans: Vec<CompactionPlan>,
}

/// What a flush of a channel made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Flushed {
    /// The collection.
    pub collection: CollectionId,
    /// The channel.
    pub channel: ChannelName,
    /// The checkpoint that the flush started from; it is refused if that has moved meanwhile.
    pub from: Position,
    /// Records before this position are in the new objects.
    pub to: Position,
    /// New sealed segments.
    pub segments: Vec<SegmentManifest>,
    /// New files of deletes.
    pub deletes: Vec<DeleteManifest>,
    /// The newest time of an insert among them that its client has named; 0 if there is none.
    #[serde(default)]
    pub named_through: Timestamp,
}

/// How those who follow a channel are doing, as they said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Followed {
    /// None of them needs a record before this one; the greatest position if there are none. `None` if that is not known
    /// of all of them.
    pub needs_from: Option<Position>,
    /// How full the memory of the fullest one is: 1 is full, 0 is empty or without a limit.
    pub fullness: f64,
}

/// The catalog's only writer; also ids, time, placement and jobs.
#[async_trait]
pub trait Coord: Send + Sync + 'static {
    /// Says that who answered last may have been replaced: the next call finds out who leads now, where that can change.
    /// Returns at once.
    fn doubt(&self) {}

    /// The first of `count` timestamps that are later than every one handed out before.
    ///
    /// # Errors
    /// If the range cannot be made durable.
    async fn allocate_timestamps(&self, count: u32) -> Result<Timestamp, Error>;

    /// The first of `count` ids that were never handed out before.
    ///
    /// # Errors
    /// If the range cannot be made durable.
    async fn allocate_ids(&self, count: u32) -> Result<i64, Error>;

    /// Makes a database. # Errors: `DatabaseExists`, `TooManyDatabases`.
    async fn create_database(&self, name: &str, properties: Vec<(String, String)>) -> Result<(), Error>;
    /// Drops an empty database. # Errors: `DatabaseNotFound`, `DatabaseNotEmpty`, `DropDefaultDatabase`.
    async fn drop_database(&self, name: &str) -> Result<(), Error>;
    /// Sets and removes properties. # Errors: `DatabaseNotFound`.
    async fn alter_database(
        &self,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), Error>;
    /// All databases, in order of creation. # Errors: none today.
    async fn databases(&self) -> Result<Vec<DatabaseInfo>, Error>;

    /// Makes a collection; an identical one is fine. # Errors: `DatabaseNotFound`, `CollectionDiffers`, `TooManyCollections`.
    async fn create_collection(&self, collection: NewCollection) -> Result<Arc<CollectionInfo>, Error>;
    /// Drops a collection and its data; one that does not exist is fine. # Errors: `DropByAlias`, `CollectionHasAliases`.
    async fn drop_collection(&self, database: &str, name: &str) -> Result<(), Error>;
    /// Changes a collection. # Errors: `CollectionNotFound` and what the change names.
    async fn alter_collection(
        &self,
        collection: CollectionRef,
        change: CollectionChange,
    ) -> Result<(), Error>;
    /// One collection. # Errors: `DatabaseNotFound`, `CollectionNotFound`.
    async fn collection(&self, collection: CollectionRef) -> Result<Arc<CollectionInfo>, Error>;
    /// All collections of a database, in order of creation. # Errors: `DatabaseNotFound`.
    async fn collections(&self, database: &str) -> Result<Vec<Arc<CollectionInfo>>, Error>;

    /// Makes a partition; an existing one is fine. # Errors: `CollectionNotFound`, `TooManyPartitions`.
    async fn create_partition(&self, collection: CollectionRef, name: &str) -> Result<(), Error>;
    /// Drops a partition and its rows; one that does not exist is fine. # Errors: `DropDefaultPartition`, `DropLoadedPartition`.
    async fn drop_partition(&self, collection: CollectionRef, name: &str) -> Result<(), Error>;

    /// Changes an alias. # Errors: `AliasTaken`, `AliasIsCollection`, `AliasNotFound`, `CollectionNotFound`.
    async fn alter_alias(&self, database: &str, alias: &str, change: AliasChange) -> Result<(), Error>;

    /// Makes an index; an identical one is fine. # Errors: `IndexFieldNotFound`, `IndexDiffers`, `SecondIndexOnField`.
    async fn create_index(&self, index: NewIndex) -> Result<(), Error>;
    /// Drops the index called `name` (or on the field of that name); none is fine. # Errors: `DropIndexOfLoaded`, `ManyIndexes`.
    async fn drop_index(&self, collection: CollectionRef, name: &str) -> Result<(), Error>;
    /// Changes parameters of an index. # Errors: `IndexNotFound`.
    async fn alter_index(
        &self,
        collection: CollectionRef,
        name: &str,
        set: Vec<(String, String)>,
        removed: Vec<String>,
    ) -> Result<(), Error>;
    /// All indexes of a collection and how far they are built. # Errors: `CollectionNotFound`.
    async fn indexes(&self, collection: CollectionRef) -> Result<Vec<IndexProgress>, Error>;

    /// Wants a collection (or some partitions, added to those loaded) in memory; returns before it is.
    /// # Errors: `NoVectorIndex`, `TooManyReplicas`, `PartitionNotFound`.
    async fn load(
        &self,
        collection: CollectionRef,
        partitions: Option<Vec<String>>,
        replicas: u32,
        resource_groups: Vec<String>,
    ) -> Result<(), Error>;
    /// No longer wants a collection (or some partitions) in memory. # Errors: `CollectionNotFound`, `PartitionNotFound`.
    async fn release(&self, collection: CollectionRef, partitions: Option<Vec<String>>) -> Result<(), Error>;
    /// How far a collection is loaded, 0 to 100; `None` when it is not to be. # Errors: `CollectionNotFound`, a load failure; of
    /// kind `Exhausted` if it fits nowhere now.
    async fn load_progress(&self, collection: CollectionRef) -> Result<Option<u8>, Error>;

    /// What is sealed, by channel in the order of the collection's channels. # Errors: `CollectionNotFound`.
    async fn manifests(&self, collection: CollectionId) -> Result<Vec<Arc<ChannelManifest>>, Error>;
    /// Commits a flush. Once it returns, the log before `flushed.to` may go.
    /// # Errors: kind `Conflict` if the checkpoint has moved; `CollectionNotFound` if it was dropped meanwhile: in both cases
    /// nothing names what the flush wrote. After any other error something may.
    async fn commit_flush(&self, flushed: Flushed) -> Result<(), Error>;
    /// Says that objects of a flush of `channel` which have the number `since` or later are still being written, however
    /// long that takes: they are spared and taken. Holds until a flush of the channel is committed.
    /// # Errors: kind `Conflict` if the number is so old that objects may be gone; `CollectionNotFound`.
    async fn keep_flush(&self, channel: &ChannelName, since: i64) -> Result<(), Error>;
    /// How those who follow channels are doing, in the order of `channels`. # Errors: none today.
    async fn followed(&self, channels: Vec<ChannelName>) -> Result<Vec<Followed>, Error>;
    /// A term for a channel, greater than every one before: its holder may write, older holders may not.
    /// # Errors: kind `Conflict` if `node` is not to own the channel; if the term cannot be made durable.
    async fn channel_term(&self, channel: &ChannelName, node: NodeId) -> Result<u64, Error>;
    /// The same, and the time now as the coordinator that gives the term may say it: no owner before has shown a later one, but for
    /// what it was ahead by. Where a term is there already, nothing has to be made durable for either.
    /// # Errors: the same.
    async fn open_channel(&self, channel: &ChannelName, node: NodeId) -> Result<(u64, Timestamp), Error> {
        let term = self.channel_term(channel, node).await?;
        Ok((term, self.allocate_timestamps(1).await?))
    }
    /// A number for a node that starts. # Errors: if it cannot be made durable.
    async fn allocate_node(&self) -> Result<NodeId, Error>;
    /// Takes a node's report and answers with what changed of its orders since `report.seen`: at once if something
    /// did, else as soon as something does, else after about a second. A node beats again as soon as it has its answer
    /// or its own state changes. Cancel safe. # Errors: [`Error::is_stale`] from a coordinator that does not lead.
    async fn beat(&self, report: Report) -> Result<Orders, Error>;
    /// How a collection is written and read now. # Errors: `CollectionNotFound`.
    async fn routes(&self, collection: CollectionId) -> Result<Arc<Routes>, Error>;

    /// Makes a resource group; an identical one is fine. # Errors: `GroupExists`, `TooManyGroups`, `BadGroup`.
    async fn create_group(&self, name: &str, config: GroupConfig) -> Result<(), Error>;
    /// Drops an empty resource group; one that does not exist is fine. # Errors: `BadGroup`.
    async fn drop_group(&self, name: &str) -> Result<(), Error>;
    /// Replaces the configurations of groups, all or none. # Errors: `ResourceGroupNotFound`, `BadGroup`.
    async fn update_groups(&self, configs: Vec<(String, GroupConfig)>) -> Result<(), Error>;
    /// All resource groups, the default one first, then by name. # Errors: none today.
    async fn groups(&self) -> Result<Vec<GroupInfo>, Error>;
    /// Moves the claim on `count` nodes between groups. # Errors: `ResourceGroupNotFound`, `GroupTooSmall`.
    async fn transfer_nodes(&self, from: &str, to: &str, count: u32) -> Result<(), Error>;
    /// Moves `count` replicas of a collection between groups. # Errors: `ResourceGroupNotFound`, `BadParameter`.
    async fn transfer_replicas(
        &self,
        from: &str,
        to: &str,
        collection: CollectionRef,
        count: u32,
    ) -> Result<(), Error>;
    /// How a collection is placed. # Errors: `CollectionNotFound`.
    async fn replicas(&self, collection: CollectionId) -> Result<Vec<ReplicaInfo>, Error>;
    /// Every node that takes part. # Errors: none today.
    async fn nodes(&self) -> Result<Vec<NodeStatus>, Error>;
    /// Moves segments (none named: all of the collection's) from one query node to some others of the same replica
    /// (none named: any). # Errors: `BadParameter`.
    async fn balance(
        &self,
        collection: CollectionId,
        from: NodeId,
        to: Vec<NodeId>,
        segments: Vec<SegmentId>,
    ) -> Result<(), Error>;
    /// Asks a node to hand over everything, as its own `Draining` does; `false` takes that back.
    /// # Errors: `BadParameter` for a node that is not there.
    async fn drain(&self, node: NodeId, on: bool) -> Result<(), Error>;
    /// Changes what operators steer by hand, under this leader and the next ones. Once a pause of garbage is answered, nothing is
    /// being removed any more.
    /// # Errors: `BadParameter` for a node that is not there or holds no data.
    async fn steer(&self, change: SteerChange) -> Result<(), Error>;
    /// What operators steer by hand, as it is now. # Errors: none today.
    async fn steering(&self) -> Result<Steering, Error>;
    /// Has a query node hand parts of what it holds to others of the same replica, all or nothing; returns before it has. It holds
    /// them until the others do. # Errors: `BadParameter`.
    async fn transfer_held(&self, transfer: HeldTransfer) -> Result<(), Error>;
    /// Compacts what can be compacted of a collection as it is now: small segments together, and those that deletes apply
    /// to; a `major` one spreads rows over segments by the collection's clustering key instead. Returns at once with a
    /// number to ask [`Self::compaction`] about.
    /// # Errors: `CollectionNotFound`, `BadParameter` if compaction is turned off or there is no clustering key.
    async fn compact(&self, collection: CollectionId, major: bool) -> Result<i64, Error>;
    /// How far that is, whichever leader was asked. One that is not known has no plans: there is nothing to wait for.
    /// # Errors: none today.
    async fn compaction(&self, id: i64) -> Result<CompactionState, Error>;
    /// Has rows of files put into a collection, all at one instant or none. Returns at once with a number to ask
    /// [`Self::imports`] about.
    /// # Errors: `CollectionNotFound`, `PartitionNotFound`, `Rule` where there are too many or the format is too old.
    async fn import(&self, import: NewImport) -> Result<i64, Error>;
    /// Imports that are under way and those that ended lately, oldest first; or the one of a number, if it is known.
    /// # Errors: none today.
    async fn imports(&self, id: Option<i64>) -> Result<Vec<ImportInfo>, Error>;
    /// Lets the rows of an import be seen (`true`), or gives it up with all its rows (`false`). Returns once that will happen whoever
    /// leads, and may be said again.
    /// # Errors: `Import` if there is no such import, its files are not read yet, or the opposite was said or happened before.
    async fn end_import(&self, id: i64, commits: bool) -> Result<(), Error>;
    /// Who may do what. # Errors: none today.
    async fn policy(&self) -> Result<Arc<Policy>, Error>;
    /// Changes who may do what. Returns once all proxies have heard of it. # Errors: what the change names.
    async fn change_policy(&self, change: PolicyChange) -> Result<(), Error>;
    /// Who leads. # Errors: [`Error::is_stale`] from a coordinator that does not.
    async fn lead(&self) -> Result<LeadInfo, Error>;
    /// Gives up the lead, so that a standby takes over at once; returns who led.
    /// # Errors: `NoOtherCandidate`; [`Error::is_stale`] from a coordinator that does not lead.
    async fn resign(&self) -> Result<LeadInfo, Error>;
    /// Compares what is stored with the catalog; removes nothing. Lists all sealed objects, which takes long where there
    /// are many. # Errors: if no node can list the objects.
    async fn fsck(&self) -> Result<Fsck, Error>;
    /// Raises the version of the formats that the cluster writes; 0 means the newest that the leader knows. Raising to the
    /// one that is in force is fine. Returns the version before and the one now.
    /// # Errors: `NotFinal` while a process takes part that does not read it, or to go back.
    async fn finalize(&self, format: u32) -> Result<(u32, u32), Error>;
    /// Fresh segment ids, as [`Self::allocate_ids`]. # Errors: the same.
    async fn allocate_segment(&self) -> Result<SegmentId, Error> {
        Ok(SegmentId(self.allocate_ids(1).await?))
    }
    /// Fresh index ids, as [`Self::allocate_ids`]. # Errors: the same.
    async fn allocate_index(&self) -> Result<IndexId, Error> {
        Ok(IndexId(self.allocate_ids(1).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(targets: &[i64]) -> CompactionPlan {
        CompactionPlan {
            sources: vec![SegmentId(1), SegmentId(2)],
            targets: targets.iter().copied().map(SegmentId).collect(),
            cluster_by: None,
            expiry: Expiry::default(),
            step: CompactionStep::Completed,
        }
    }

    #[test]
    fn a_plan_of_an_earlier_version_is_read_with_its_new_segment() {
        let of = |target: &str| format!(r#"{{"sources":[1,2],"target":{target},"step":"Completed"}}"#);

        let read = |text: &str| serde_json::from_str::<CompactionPlan>(text).unwrap();

        assert_eq!(read(&of("7")), plan(&[7]));
        assert_eq!(read(&of("null")), plan(&[]));
    }

    #[test]
    fn an_earlier_version_reads_the_first_new_segment_of_a_plan() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Earlier {
            sources: Vec<SegmentId>,
            target: Option<SegmentId>,
            step: CompactionStep,
        }
        for (targets, target) in [(&[][..], None), (&[7], Some(7)), (&[8, 9], Some(8))] {
            let text = serde_json::to_string(&plan(targets)).unwrap();

            let expected = Earlier {
                sources: vec![SegmentId(1), SegmentId(2)],
                target: target.map(SegmentId),
                step: CompactionStep::Completed,
            };
            assert_eq!(serde_json::from_str::<Earlier>(&text).unwrap(), expected);
            assert_eq!(serde_json::from_str::<CompactionPlan>(&text).unwrap(), plan(targets));
        }
    }
}
