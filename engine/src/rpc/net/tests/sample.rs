//! One value of everything that travels, with nothing left at its default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{
    ChannelName, CollectionId, DatabaseId, FieldId, IndexId, NodeId, PartitionId, Position, SegmentId,
    Timestamp,
};
use crate::model::access::{Grant, Object, PasswordHash, Policy, Role, User};
use crate::model::{
    Batch, Bitset, ChannelManifest, Column, ColumnData, ColumnRef, DataType, DeleteManifest, Expiry, Field,
    IndexDefinition, IndexRef, Instants, Keys, Metric, ObjectRef, Partition, Schema, SegmentManifest, Value,
};
use crate::plan::{Grouping, Order, QueryKind, QueryPlan, QueryRows, Range, SearchHits, SearchPlan, Sorting};
use crate::rpc::*;

/// Something to send.
pub(super) trait Sample {
    fn sample() -> Self;
}

/// Writes `impl Sample` for values without parameters.
macro_rules! samples {
    ($($of:ty => $value:expr;)+) => {$(
        impl Sample for $of {
            fn sample() -> Self {
                $value
            }
        }
    )+};
}

impl<T: Sample> Sample for Vec<T> {
    fn sample() -> Self {
        vec![T::sample(), T::sample()]
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample() -> Self {
        Some(T::sample())
    }
}

impl<T: Sample> Sample for Arc<T> {
    fn sample() -> Self {
        Self::new(T::sample())
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn sample() -> Self {
        (A::sample(), B::sample())
    }
}

impl<A: Sample + Ord, B: Sample> Sample for BTreeMap<A, B> {
    fn sample() -> Self {
        [(A::sample(), B::sample())].into()
    }
}

samples! {
    () => ();
    bool => true;
    u8 => 99;
    u32 => u32::MAX - 4;
    usize => 4096;
    i64 => i64::MIN + 3;
    u64 => u64::MAX - 2;
    String => "nämlich \"so\"\n".to_owned();
    Duration => Duration::new(9, 123_456_789);
    Timestamp => Timestamp(450_000_000_000_000_003);
    Position => Position(u64::MAX - 9);
    CollectionId => CollectionId(450_000_000_000_000_001);
    DatabaseId => DatabaseId(3);
    PartitionId => PartitionId(450_000_000_000_000_002);
    SegmentId => SegmentId(i64::MAX);
    IndexId => IndexId(77);
    FieldId => FieldId(101);
    NodeId => NodeId(-5);
    ChannelName => ChannelName::of(CollectionId(450_000_000_000_000_001), 3);
    Field => Field {
        id: FieldId(101),
        name: "v".to_owned(),
        description: String::sample(),
        data_type: DataType::Double,
        is_primary: true,
        auto_id: true,
        is_dynamic: true,
        nullable: true,
        default: Some(Value::Double(0.5)),
        is_partition_key: true,
        is_clustering_key: true,
        type_params: Vec::sample(),
    };
    Schema => Schema { description: String::sample(), fields: Vec::sample(), enable_dynamic_field: true, functions: Vec::new(), structs: Vec::new() };
    Partition => Partition { id: PartitionId::sample(), name: String::sample(), created_unix_ms: 9 };
    IndexDefinition => IndexDefinition {
        id: IndexId::sample(),
        name: String::sample(),
        field: FieldId::sample(),
        index_type: "HNSW".to_owned(),
        metric: Some(Metric::Cosine),
        params: Vec::sample(),
    };
    ObjectRef => ObjectRef { key: String::sample(), size_bytes: u64::sample(), crc32: u32::MAX };
    ColumnRef => ColumnRef { fields: Vec::sample(), object: ObjectRef::sample() };
    IndexRef => IndexRef {
        index: IndexId::sample(),
        field: FieldId::sample(),
        object: ObjectRef::sample(),
    };
    SegmentManifest => SegmentManifest {
        id: SegmentId::sample(),
        partition: PartitionId::sample(),
        rows: u64::sample(),
        oldest: Timestamp(1),
        newest: Timestamp::sample(),
        clean_through: Timestamp::sample(),
        clustered_by: Option::sample(),
        instants: vec![Instants { field: FieldId::sample(), nulls: 1, span: Some((-3, i64::MAX)) }],
        stats: Option::sample(),
        columns: Vec::sample(),
        indexes: Vec::sample(),
    };
    DeleteManifest => DeleteManifest {
        rows: u64::sample(),
        newest: Timestamp::sample(),
        object: ObjectRef::sample(),
    };
    ChannelManifest => ChannelManifest {
        checkpoint: Position::sample(),
        segments: Vec::sample(),
        deletes: Vec::sample(),
        expired_through: Timestamp::sample(),
        history_from: Timestamp::sample(),
        named_through: Timestamp::sample(),
        emptied: Timestamp::sample(),
    };
    Expiry => Expiry {
        written_before: Timestamp::sample(),
        by_field: Some((FieldId::sample(), 5)),
    };
    CompactionStep => CompactionStep::Executing;
    CompactionPlan => CompactionPlan {
        sources: Vec::sample(),
        targets: Vec::sample(),
        cluster_by: Option::sample(),
        expiry: Expiry::sample(),
        step: CompactionStep::sample(),
    };
    CompactionState => CompactionState {
        executing: u32::sample(),
        completed: 1,
        failed: 2,
        plans: Vec::sample(),
    };
    ClusterBy => ClusterBy { field: FieldId::sample(), max_bytes: u64::sample() };
    CompactJob => CompactJob {
        collection: CollectionId::sample(),
        schema: Arc::sample(),
        sources: Vec::sample(),
        deletes: Vec::sample(),
        output: SegmentId::sample(),
        cluster: Option::sample(),
        expiry: Expiry::sample(),
        keeps_since: Option::sample(),
    };
    ImportOptions => ImportOptions {
        separator: '|',
        null: String::sample(),
        timeout_ms: Option::sample(),
        commits: bool::sample(),
    };
    NewImport => NewImport {
        collection: CollectionId::sample(),
        partition: Option::sample(),
        files: Vec::sample(),
        options: ImportOptions::sample(),
        named: String::sample(),
    };
    ImportPlace => ImportPlace { row: u64::sample(), byte: 3 };
    ImportTask => ImportTask {
        files: Vec::sample(),
        bytes: u64::sample(),
        read: 4,
        rows: 5,
        total: 6,
        next: Option::sample(),
        ended_unix_ms: 7,
    };
    ImportInfo => ImportInfo {
        id: i64::sample(),
        collection: CollectionId::sample(),
        collection_name: String::sample(),
        database: String::sample(),
        partition: Option::sample(),
        partition_name: String::sample(),
        options: ImportOptions::sample(),
        may_commit: bool::sample(),
        state: ImportState::Uncommitted,
        reason: String::sample(),
        tasks: Vec::sample(),
        created_unix_ms: 8,
        ended_unix_ms: 9,
    };
    ImportJob => ImportJob {
        collection: CollectionInfo::sample(),
        partition: Option::sample(),
        files: Vec::sample(),
        options: ImportOptions::sample(),
        from: Option::sample(),
        first_segment: SegmentId::sample(),
        segments: u32::sample(),
        first_key: i64::sample(),
        keys: u32::sample(),
    };
    ImportDone => ImportDone {
        segments: vec![(1, SegmentManifest::sample())],
        rows: u64::sample(),
        files: Vec::sample(),
        bytes: 10,
        read: 11,
        total: 12,
        next: Option::sample(),
    };
    StoredObject => StoredObject { key: String::sample(), size_bytes: u64::sample() };
    DatabaseInfo => DatabaseInfo {
        id: DatabaseId::sample(),
        name: String::sample(),
        created: Timestamp::sample(),
        properties: Vec::sample(),
    };
    ReplicaSpec => ReplicaSpec { id: i64::sample(), group: String::sample() };
    LoadSpec => LoadSpec { partitions: Option::sample(), replicas: Vec::sample() };
    CollectionInfo => CollectionInfo {
        id: CollectionId::sample(),
        name: String::sample(),
        database: DatabaseId::sample(),
        database_name: String::sample(),
        schema: Arc::sample(),
        channels: Vec::sample(),
        partitions: Vec::sample(),
        partitions_by_key: 16,
        aliases: Vec::sample(),
        properties: Vec::sample(),
        consistency: -2,
        created: Timestamp::sample(),
        updated: Timestamp(8),
        partitioned: Timestamp(9),
        indexes: Vec::sample(),
        load: Option::sample(),
        recorded: true,
    };
    CollectionRef => CollectionRef::Name { database: String::sample(), name: String::sample() };
    NewCollection => NewCollection {
        database: String::sample(),
        name: String::sample(),
        schema: Schema::sample(),
        shards: 16,
        partitions_by_key: 64,
        consistency: 3,
        properties: Vec::sample(),
    };
    CollectionChange => CollectionChange::SetProperties(Vec::sample());
    AliasChange => AliasChange::Create { collection: String::sample() };
    NewIndex => NewIndex {
        collection: CollectionRef::Id(CollectionId::sample()),
        name: String::sample(),
        field: String::sample(),
        params: Vec::sample(),
    };
    IndexProgress => IndexProgress {
        index: IndexDefinition::sample(),
        indexed_rows: u64::sample(),
        total_rows: u64::sample(),
        failure: Option::sample(),
    };
    Flushed => Flushed {
        collection: CollectionId::sample(),
        channel: ChannelName::sample(),
        from: Position(4),
        to: Position::sample(),
        segments: Vec::sample(),
        deletes: Vec::sample(),
        named_through: Timestamp::sample(),
    };
    IndexJob => IndexJob {
        collection: CollectionId::sample(),
        schema: Arc::sample(),
        segment: SegmentManifest::sample(),
        index: IndexDefinition::sample(),
        serial: i64::sample(),
    };
    Duties => Duties { proxies: true, writes: true, queries: true, builds: true };
    NodeInfo => NodeInfo {
        id: NodeId::sample(),
        address: "127.0.0.1:9".to_owned(),
        host: String::sample(),
        role: String::sample(),
        duties: Duties::sample(),
        labels: BTreeMap::sample(),
        memory_bytes: u64::sample(),
        version: String::sample(),
        newest_format: 2,
        maps_vectors: true,
        processors: 8,
        machine_bytes: u64::sample(),
    };
    NodeState => NodeState::Draining;
    OrderNumber => OrderNumber { epoch: 3, number: u64::sample() };
    OpenChannel => OpenChannel { channel: ChannelName::sample(), term: u64::sample(), opened: 7, unsealed_bytes: 5 };
    HeldChannel => HeldChannel {
        channel: ChannelName::sample(),
        segments: Vec::sample(),
        growing_from: Option::sample(),
        applied: Position::sample(),
        needs_from: Position::sample(),
    };
    HeldCollection => HeldCollection {
        collection: CollectionId::sample(),
        channels: Vec::sample(),
        bytes: u64::sample(),
        failure: Option::sample(),
        is_full: true,
        damaged: vec![(SegmentId::sample(), String::sample())],
        harm: Option::sample(),
        extent: Extent::sample(),
    };
    Followed => Followed { needs_from: Option::sample(), fullness: 0.5 };
    LoadReport => LoadReport {
        reads: u32::sample(),
        queue_wait_ms: 0.25,
        p99_ms: 1e9,
        search_cpu: 1.5,
        held_bytes: u64::sample(),
        bytes_to_load: u64::sample(),
        fullness: 0.75,
        jobs: 4,
        usage: Usage::sample(),
    };
    Usage => Usage { processors: 0.5, memory_bytes: u64::sample(), disk_bytes: 3, disk_limit_bytes: 9 };
    Report => Report {
        node: NodeInfo::sample(),
        state: NodeState::sample(),
        seen: OrderNumber::sample(),
        reads_since: Option::sample(),
        channels: Vec::sample(),
        held: Vec::sample(),
        load: LoadReport::sample(),
    };
    OwnOrder => OwnOrder {
        channel: ChannelName::sample(),
        collection: CollectionId::sample(),
        term: u64::sample(),
    };
    HoldChannel => HoldChannel {
        channel: ChannelName::sample(),
        manifest: Arc::sample(),
        segments: Vec::sample(),
        growing_from: Option::sample(),
    };
    HoldOrder => HoldOrder { info: Arc::sample(), channels: Vec::sample() };
    Orders => Orders {
        number: OrderNumber::sample(),
        whole: true,
        hold: Vec::sample(),
        release: Vec::sample(),
        keep: Vec::sample(),
        own: Option::sample(),
        changed: Vec::sample(),
        rerouted: Vec::sample(),
        policy: true,
        now: Timestamp::sample(),
        lease: Duration::sample(),
        group: String::sample(),
        format: 2,
    };
    Policy => Policy {
        users: [(String::sample(), User::sample())].into(),
        roles: [(String::sample(), Role::sample())].into(),
        groups: [(String::sample(), [String::sample()].into())].into(),
    };
    User => User {
        password: Some(PasswordHash::new(String::sample())),
        roles: [String::sample()].into(),
        description: String::sample(),
    };
    Role => Role { description: String::sample(), grants: Vec::sample() };
    Grant => Grant {
        object: Object::User,
        name: String::sample(),
        database: String::sample(),
        privilege: String::sample(),
        grantor: String::sample(),
    };
    PolicyChange => PolicyChange::Restore(Box::new(Policy::sample()));
    Place => Place { node: NodeId::sample(), address: "somewhere:1".into() };
    Owner => Owner { channel: ChannelName::sample(), place: Option::sample(), term: u64::sample() };
    ChannelShare => ChannelShare {
        channel: ChannelName::sample(),
        segments: Vec::sample(),
        growing_from: Option::sample(),
    };
    Extent => Extent::These(Vec::sample());
    Share => Share { channels: Vec::sample(), times: Vec::sample(), extent: Extent::sample() };
    NodeShare => NodeShare { place: Place::sample(), share: Arc::sample() };
    ReplicaRoute => ReplicaRoute {
        id: i64::sample(),
        group: String::sample(),
        zone: String::sample(),
        nodes: Vec::sample(),
        partitions: Option::sample(),
    };
    Routes => Routes {
        collection: CollectionId::sample(),
        version: u64::sample(),
        owners: Vec::sample(),
        replicas: Vec::sample(),
        wanted: true,
        partitions: Option::sample(),
        readable: Extent::sample(),
        listening: true,
        harm: Option::sample(),
    };
    GroupConfig => GroupConfig {
        requests: 1,
        limits: 2,
        transfer_from: Vec::sample(),
        transfer_to: Vec::sample(),
        node_filter: BTreeMap::sample(),
    };
    GroupNode => GroupNode { id: NodeId::sample(), address: String::sample(), host: String::sample() };
    GroupInfo => GroupInfo {
        name: String::sample(),
        config: GroupConfig::sample(),
        nodes: Vec::sample(),
        replicas: BTreeMap::sample(),
        outgoing: BTreeMap::sample(),
        incoming: BTreeMap::sample(),
    };
    ReplicaShard => ReplicaShard {
        channel: ChannelName::sample(),
        leader: NodeId::sample(),
        address: String::sample(),
        nodes: Vec::sample(),
    };
    ReplicaInfo => ReplicaInfo {
        id: i64::sample(),
        collection: CollectionId::sample(),
        partitions: Vec::sample(),
        group: String::sample(),
        nodes: Vec::sample(),
        shards: Vec::sample(),
        segments: Vec::sample(),
        complete: true,
    };
    NodeStatus => NodeStatus {
        info: NodeInfo::sample(),
        state: NodeState::Leaving,
        group: String::sample(),
        since: Timestamp::sample(),
        channels: Vec::sample(),
        collections: Vec::sample(),
        segments: 5,
        remaining: 6,
        load: LoadReport::sample(),
        open: Vec::sample(),
        held: Vec::sample(),
        left: Left { channels: 1, segments: 2, followed: 3 },
    };
    LeadInfo => LeadInfo {
        address: String::sample(),
        epoch: u64::sample(),
        settled: true,
        version: String::sample(),
        format: 7,
        newest_format: 8,
        cluster: String::sample(),
        jobs: Some(JobCount { waiting: 1, running: 2 }),
        since: Timestamp::sample(),
        wants: Some(Wants {
            collections: 5,
            to_load: 3,
            ownerless: 2,
            readers: 7,
            writers: 4,
            damaged: Vec::sample(),
        }),
    };
    DamagedCollection => DamagedCollection {
        id: CollectionId::sample(),
        database: String::sample(),
        name: String::sample(),
        what: String::sample(),
    };
    SteerChange => SteerChange::SuspendNode { node: NodeId::sample(), on: true };
    Steering => Steering {
        balance_suspended: true,
        garbage_paused_ms: 7,
        suspended: [NodeId::sample()].into(),
    };
    HeldTransfer => HeldTransfer {
        from: NodeId(1),
        to: Some(NodeId(2)),
        parts: HeldParts::Channels(Vec::sample()),
    };
    Resized => Resized { key: String::sample(), expected: 1, found: 2 };
    Unread => Unread { key: String::sample(), why: String::sample() };
    Fsck => Fsck {
        orphans: Vec::sample(),
        missing: Vec::sample(),
        strange: Vec::sample(),
        resized: Vec::sample(),
        unread: Vec::sample(),
        named: 3,
    };
    Batch => Batch {
        rows: 2,
        columns: vec![
            Column {
                field: FieldId(7),
                data: ColumnData::VarChar(["ü", ""].into_iter().collect()),
                valid: Some(Bitset::from_fn(2, |row| row == 0)),
            },
            Column {
                field: FieldId(8),
                data: ColumnData::FloatVector { dim: 2, values: vec![0.1, -0.0, f32::MAX, 1e-40] },
                valid: None,
            },
        ],
    };
    SearchPlan => SearchPlan {
        collection: CollectionId::sample(),
        partitions: Option::sample(),
        field: FieldId::sample(),
        metric: Metric::Ip,
        queries: vec![vec![0.1, f32::NAN].into(), vec![f32::NEG_INFINITY, -0.0].into()],
        count: 10,
        grouping: Some(Grouping { field: FieldId(8), size: 3, strict: true }),
        params: BTreeMap::sample(),
        range: Some(Range { outer: f32::INFINITY, inner: Some(-0.1) }),
        filter: None,
        output: Vec::sample(),
        read_at: Timestamp::sample(),
        expired_before: Timestamp(6),
        ignore_growing: true,
    };
    QueryPlan => QueryPlan {
        collection: CollectionId::sample(),
        partitions: Option::sample(),
        filter: None,
        limit: Some(5),
        order: Some(Order { by: vec![Sorting { field: FieldId(7), path: Vec::sample(), descending: true }]}),
        output: Vec::sample(),
        read_at: Timestamp::sample(),
        expired_before: Timestamp(6),
        ignore_growing: true,
        kind: QueryKind::Count,
    };
    SearchHits => SearchHits {
        counts: vec![0, 2],
        keys: Keys::Text(["a", "ü"].into_iter().collect()),
        scores: vec![f32::INFINITY, -0.25],
        rows: Batch::sample(),
    };
    QueryRows => QueryRows {
        keys: Keys::Int(vec![i64::MIN, 4]),
        times: Vec::sample(),
        rows: Batch { rows: 2, columns: Vec::new() },
        count: u64::sample(),
    };
}

/// All refusals, each with a sample in every field.
macro_rules! refusals {
    ($($variant:ident { $($field:ident),* })+) => {
        pub(super) fn refusals() -> Vec<Refusal> {
            // A refusal that is new fails to compile here until it is below.
            let _is_listed = |refusal: &Refusal| match refusal {
                $(Refusal::$variant { .. } => (),)+
            };
            vec![$(Refusal::$variant { $($field: Sample::sample()),* },)+]
        }
    };
}

refusals! {
    DatabaseNotFound { database }
    DatabaseExists { database }
    DropDefaultDatabase {}
    DatabaseNotEmpty { database }
    TooManyDatabases { limit }
    CollectionNotFound { database, collection }
    CollectionDiffers { collection }
    CollectionNameTaken { database, name }
    RenameByAlias { alias }
    RenameToItself {}
    DropByAlias { alias }
    CollectionHasAliases { collection, aliases }
    TooManyCollections { limit }
    CollectionNotLoaded { collection }
    PartitionNotFound { partition }
    PartitionNotLoaded { partition }
    DropDefaultPartition {}
    DropLoadedPartition {}
    TooManyPartitions { limit, collection }
    AliasTaken { database, alias, collection }
    AliasIsCollection { database, alias }
    AliasNotFound { database, alias }
    IndexFieldNotFound { field }
    IndexDiffers {}
    SecondIndexOnField {}
    ManyIndexes {}
    IndexNotFound { what }
    DropIndexOfLoaded { collection }
    NoVectorIndex { fields }
    TooManyReplicas { wanted, nodes }
    ResourceGroupNotFound { group }
    GroupExists { group }
    TooManyGroups { limit }
    GroupTooSmall { group, current, expected }
    BadGroup { text }
    IndexTypeNotSupported { index_type }
    BadParameter { text }
    BadSearch { text }
    NoOtherCandidate {}
    NotFinal { format, why }
    Rule { text }
    Import { text }
    RateLimited { reason }
    QuotaExceeded { reason }
    UserExists { user }
    TooManyUsers { limit }
    WrongPassword { user }
    DropRoot {}
    UserNotFound {}
    RoleExists { role }
    TooManyRoles { limit }
    RoleNotFound {}
    DropDefaultRole { role }
    RoleHasGrants {}
    PrivilegeNotFound { privilege }
    PrivilegeGroupExists { group }
    PrivilegeGroupNotFound { group }
    PrivilegeGroupInUse { group, role }
    PrivilegeLevels {}
}
