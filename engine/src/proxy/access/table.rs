//! Every call of the public API, once: which privilege it takes, what that is about, and where its request names it.
//!
//! The test below compares the table with what the protocol files say of themselves.

#![expect(deprecated, reason = "old clients still name a database where newer ones do not")]

use contract::pb::feder;
use contract::pb::milvus::*;

use crate::model::access::Object;

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The call.
    pub call: &'static str,
    /// What the privilege is about and its name; `None` for a call that everybody may make who is known.
    pub needs: Option<(Object, &'static str)>,
    /// Whether the request may name the database that it is about; else it is the connection's.
    pub names_database: bool,
}

/// What a request is about, as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The database; empty for the connection's.
    pub database: String,
    /// The names of the objects. Empty if there are none; an empty name is an object that the request has no name of.
    pub names: Vec<String>,
}

/// A request of the public API.
pub trait Asks {
    /// What its call takes.
    const RULE: Rule;

    /// What it is about.
    fn target(&self) -> Target;
}

/// Where a request has the names of its objects.
macro_rules! names {
    ($request:ident) => {{
        let _: &Self = $request;
        Vec::new()
    }};
    ($request:ident one $field:ident) => {
        vec![$request.$field.clone()]
    };
    ($request:ident entity $field:ident) => {
        vec![$request.$field.as_ref().map(|entity| entity.name.clone()).unwrap_or_default()]
    };
    ($request:ident each $field:ident) => {
        $request.$field.clone()
    };
    // What is named by number is known only to who may do it with everything.
    ($request:ident each $field:ident or $numbers:ident) => {{
        let mut names = $request.$field.clone();
        if !$request.$numbers.is_empty() {
            names.push(String::new());
        }
        names
    }};
}

macro_rules! guarded {
    ($($call:ident($request:ty): $object:ident $privilege:ident [$($database:ident)?] [$($name:tt)*];)+) => {
        /// The calls that take a privilege.
        #[cfg(test)]
        const GUARDED: &[(&str, Rule, &str)] = &[
            $((stringify!($call), <$request as Asks>::RULE, stringify!($($name)*))),+
        ];

        $(impl Asks for $request {
            const RULE: Rule = Rule {
                call: stringify!($call),
                needs: Some((Object::$object, stringify!($privilege))),
                names_database: !stringify!($($database)?).is_empty(),
            };

            fn target(&self) -> Target {
                let request = self;
                let database = None$(.or(Some(request.$database.clone())))?.unwrap_or_default();
                Target { database, names: names!(request $($name)*) }
            }
        })+
    };
}

macro_rules! open {
    ($($call:ident($request:ty);)+) => {
        /// The calls that everybody may make who is known.
        #[cfg(test)]
        const OPEN: &[(&str, Rule)] = &[$((stringify!($call), <$request as Asks>::RULE)),+];

        $(impl Asks for $request {
            const RULE: Rule = Rule { call: stringify!($call), needs: None, names_database: true };

            fn target(&self) -> Target {
                Target::default()
            }
        })+
    };
}

open! {
    HasCollection(HasCollectionRequest);
    ShowCollections(ShowCollectionsRequest);
    DescribePrewarmTask(DescribePrewarmTaskRequest);
    CalcDistance(CalcDistanceRequest);
    GetFlushAllState(GetFlushAllStateRequest);
    GetPersistentSegmentInfo(GetPersistentSegmentInfoRequest);
    GetQuerySegmentInfo(GetQuerySegmentInfoRequest);
    GetReplicas(GetReplicasRequest);
    Dummy(DummyRequest);
    RegisterLink(RegisterLinkRequest);
    GetMetrics(GetMetricsRequest);
    GetComponentStates(GetComponentStatesRequest);
    GetCompactionState(GetCompactionStateRequest);
    GetCompactionStateWithPlans(GetCompactionPlansRequest);
    GetImportState(GetImportStateRequest);
    ListImportTasks(ListImportTasksRequest);
    GetVersion(GetVersionRequest);
    CheckHealth(CheckHealthRequest);
    ListIndexedSegment(feder::ListIndexedSegmentRequest);
    DescribeSegmentIndexData(feder::DescribeSegmentIndexDataRequest);
    Connect(ConnectRequest);
    AllocTimestamp(AllocTimestampRequest);
    ListDatabases(ListDatabasesRequest);
    ReplicateMessage(ReplicateMessageRequest);
    RunAnalyzer(RunAnalyzerRequest);
    GetReplicateInfo(GetReplicateInfoRequest);
    CreateReplicateStream(ReplicateRequest);
    DumpMessages(DumpMessagesRequest);
    ComputePhraseMatchSlop(ComputePhraseMatchSlopRequest);
    GetRestoreSnapshotState(GetRestoreSnapshotStateRequest);
    GetRefreshExternalCollectionProgress(GetRefreshExternalCollectionProgressRequest);
    ListRefreshExternalCollectionJobs(ListRefreshExternalCollectionJobsRequest);
}

guarded! {
    CreateCollection(CreateCollectionRequest): Global CreateCollection [db_name] [];
    DropCollection(DropCollectionRequest): Global DropCollection [db_name] [one collection_name];
    LoadCollection(LoadCollectionRequest): Collection Load [db_name] [one collection_name];
    ReleaseCollection(ReleaseCollectionRequest): Collection Release [db_name] [one collection_name];
    DescribeCollection(DescribeCollectionRequest): Global DescribeCollection [db_name] [one collection_name];
    BatchDescribeCollection(BatchDescribeCollectionRequest): Global DescribeCollection [db_name] [each collection_name or collection_id];
    GetCollectionStatistics(GetCollectionStatisticsRequest): Collection GetStatistics [db_name] [one collection_name];
    AlterCollection(AlterCollectionRequest): Global CreateCollection [db_name] [one collection_name];
    AlterCollectionField(AlterCollectionFieldRequest): Global CreateCollection [db_name] [one collection_name];
    AddCollectionFunction(AddCollectionFunctionRequest): Global CreateCollection [db_name] [one collection_name];
    AlterCollectionFunction(AlterCollectionFunctionRequest): Global CreateCollection [db_name] [one collection_name];
    DropCollectionFunction(DropCollectionFunctionRequest): Global CreateCollection [db_name] [one collection_name];
    TruncateCollection(TruncateCollectionRequest): Global DropCollection [db_name] [one collection_name];
    CreatePartition(CreatePartitionRequest): Collection CreatePartition [db_name] [one collection_name];
    DropPartition(DropPartitionRequest): Collection DropPartition [db_name] [one collection_name];
    HasPartition(HasPartitionRequest): Collection HasPartition [db_name] [one collection_name];
    LoadPartitions(LoadPartitionsRequest): Collection Load [db_name] [one collection_name];
    Prewarm(PrewarmRequest): Collection Load [db_name] [one collection_name];
    ReleasePartitions(ReleasePartitionsRequest): Collection Release [db_name] [one collection_name];
    GetPartitionStatistics(GetPartitionStatisticsRequest): Collection GetStatistics [db_name] [one collection_name];
    ShowPartitions(ShowPartitionsRequest): Collection ShowPartitions [db_name] [one collection_name];
    CreateNamespace(CreateNamespaceRequest): Collection CreatePartition [db_name] [one collection_name];
    DescribeNamespace(DescribeNamespaceRequest): Collection ShowPartitions [db_name] [one collection_name];
    ListNamespaces(ListNamespacesRequest): Collection ShowPartitions [db_name] [one collection_name];
    DropNamespace(DropNamespaceRequest): Collection DropPartition [db_name] [one collection_name];
    HasNamespace(HasNamespaceRequest): Collection HasPartition [db_name] [one collection_name];
    GetNamespaceStats(GetNamespaceStatsRequest): Collection ShowPartitions [db_name] [one collection_name];
    GetLoadingProgress(GetLoadingProgressRequest): Collection GetLoadState [db_name] [one collection_name];
    GetLoadState(GetLoadStateRequest): Collection GetLoadState [db_name] [one collection_name];
    CreateAlias(CreateAliasRequest): Global CreateAlias [db_name] [one collection_name];
    DropAlias(DropAliasRequest): Global DropAlias [db_name] [];
    AlterAlias(AlterAliasRequest): Global CreateAlias [db_name] [one collection_name];
    DescribeAlias(DescribeAliasRequest): Global DescribeAlias [db_name] [];
    ListAliases(ListAliasesRequest): Global ListAliases [db_name] [one collection_name];
    CreateIndex(CreateIndexRequest): Collection CreateIndex [db_name] [one collection_name];
    AlterIndex(AlterIndexRequest): Collection CreateIndex [db_name] [one collection_name];
    DescribeIndex(DescribeIndexRequest): Collection IndexDetail [db_name] [one collection_name];
    GetIndexStatistics(GetIndexStatisticsRequest): Collection IndexDetail [db_name] [one collection_name];
    GetIndexState(GetIndexStateRequest): Collection IndexDetail [db_name] [one collection_name];
    GetIndexBuildProgress(GetIndexBuildProgressRequest): Collection IndexDetail [db_name] [one collection_name];
    DropIndex(DropIndexRequest): Collection DropIndex [db_name] [one collection_name];
    Insert(InsertRequest): Collection Insert [db_name] [one collection_name];
    Delete(DeleteRequest): Collection Delete [db_name] [one collection_name];
    Upsert(UpsertRequest): Collection Upsert [db_name] [one collection_name];
    Search(SearchRequest): Collection Search [db_name] [one collection_name];
    HybridSearch(HybridSearchRequest): Collection Search [db_name] [one collection_name];
    Flush(FlushRequest): Collection Flush [db_name] [each collection_names];
    Query(QueryRequest): Collection Query [db_name] [one collection_name];
    FlushAll(FlushAllRequest): Global FlushAll [db_name] [];
    AddCollectionField(AddCollectionFieldRequest): Collection AddCollectionField [db_name] [one collection_name];
    AddCollectionStructField(AddCollectionStructFieldRequest): Collection AddCollectionField [db_name] [one collection_name];
    GetFlushState(GetFlushStateRequest): Collection GetFlushState [db_name] [one collection_name];
    LoadBalance(LoadBalanceRequest): Collection LoadBalance [db_name] [one collection_name];
    ManualCompaction(ManualCompactionRequest): Collection Compaction [db_name] [one collection_name];
    Import(ImportRequest): Collection Import [db_name] [one collection_name];
    CreateCredential(CreateCredentialRequest): Global CreateOwnership [] [];
    UpdateCredential(UpdateCredentialRequest): User UpdateUser [] [one username];
    DeleteCredential(DeleteCredentialRequest): Global DropOwnership [] [];
    ListCredUsers(ListCredUsersRequest): Global SelectOwnership [] [];
    CreateRole(CreateRoleRequest): Global CreateOwnership [] [];
    AlterRole(AlterRoleRequest): Global CreateOwnership [] [];
    DropRole(DropRoleRequest): Global DropOwnership [] [];
    OperateUserRole(OperateUserRoleRequest): Global ManageOwnership [] [];
    SelectRole(SelectRoleRequest): Global SelectOwnership [] [];
    SelectUser(SelectUserRequest): User SelectUser [] [entity user];
    OperatePrivilege(OperatePrivilegeRequest): Global ManageOwnership [] [];
    OperatePrivilegeV2(OperatePrivilegeV2Request): Global ManageOwnership [] [];
    SelectGrant(SelectGrantRequest): Global SelectOwnership [] [];
    CreateResourceGroup(CreateResourceGroupRequest): Global CreateResourceGroup [] [];
    DropResourceGroup(DropResourceGroupRequest): Global DropResourceGroup [] [];
    UpdateResourceGroups(UpdateResourceGroupsRequest): Global UpdateResourceGroups [] [];
    TransferNode(TransferNodeRequest): Global TransferNode [] [];
    TransferReplica(TransferReplicaRequest): Global TransferReplica [db_name] [];
    ListResourceGroups(ListResourceGroupsRequest): Global ListResourceGroups [] [];
    DescribeResourceGroup(DescribeResourceGroupRequest): Global DescribeResourceGroup [] [];
    RenameCollection(RenameCollectionRequest): Global RenameCollection [db_name] [one old_name];
    CreateDatabase(CreateDatabaseRequest): Global CreateDatabase [] [];
    DropDatabase(DropDatabaseRequest): Global DropDatabase [] [];
    AlterDatabase(AlterDatabaseRequest): Global AlterDatabase [db_name] [];
    DescribeDatabase(DescribeDatabaseRequest): Global DescribeDatabase [db_name] [];
    BackupRBAC(BackupRbacMetaRequest): Global BackupRBAC [] [];
    RestoreRBAC(RestoreRbacMetaRequest): Global RestoreRBAC [] [];
    CreatePrivilegeGroup(CreatePrivilegeGroupRequest): Global CreatePrivilegeGroup [] [];
    DropPrivilegeGroup(DropPrivilegeGroupRequest): Global DropPrivilegeGroup [] [];
    ListPrivilegeGroups(ListPrivilegeGroupsRequest): Global ListPrivilegeGroups [] [];
    OperatePrivilegeGroup(OperatePrivilegeGroupRequest): Global OperatePrivilegeGroup [] [];
    AddFileResource(AddFileResourceRequest): Global AddFileResource [] [];
    RemoveFileResource(RemoveFileResourceRequest): Global RemoveFileResource [] [];
    ListFileResources(ListFileResourcesRequest): Global ListFileResources [] [];
    AddUserTags(AddUserTagsRequest): User UpdateUser [] [one user_name];
    DeleteUserTags(DeleteUserTagsRequest): User UpdateUser [] [one user_name];
    GetUserTags(GetUserTagsRequest): User SelectUser [] [one user_name];
    ListUsersWithTag(ListUsersWithTagRequest): User SelectUser [] [];
    CreateRowPolicy(CreateRowPolicyRequest): Collection ManageRLS [db_name] [one collection_name];
    DropRowPolicy(DropRowPolicyRequest): Collection ManageRLS [db_name] [one collection_name];
    ListRowPolicies(ListRowPoliciesRequest): Collection ViewRLS [db_name] [one collection_name];
    UpdateRowPolicy(UpdateRowPolicyRequest): Collection ManageRLS [db_name] [one collection_name];
    SetRLSPrincipalTags(SetRlsPrincipalTagsRequest): Collection ManageRLS [db_name] [one collection_name];
    GetRLSPrincipalTags(GetRlsPrincipalTagsRequest): Collection ViewRLS [db_name] [one collection_name];
    ListRLSPrincipals(ListRlsPrincipalsRequest): Collection ViewRLS [db_name] [one collection_name];
    DeleteRLSPrincipalTags(DeleteRlsPrincipalTagsRequest): Collection ManageRLS [db_name] [one collection_name];
    UpdateReplicateConfiguration(UpdateReplicateConfigurationRequest): Global UpdateReplicateConfiguration [] [];
    GetReplicateConfiguration(GetReplicateConfigurationRequest): Global GetReplicateConfiguration [] [];
    CreateSnapshot(CreateSnapshotRequest): Collection CreateSnapshot [db_name] [one collection_name];
    DropSnapshot(DropSnapshotRequest): Collection DropSnapshot [db_name] [one collection_name];
    ListSnapshots(ListSnapshotsRequest): Collection ListSnapshots [db_name] [one collection_name];
    DescribeSnapshot(DescribeSnapshotRequest): Collection DescribeSnapshot [db_name] [one collection_name];
    RestoreSnapshot(RestoreSnapshotRequest): Collection RestoreSnapshot [db_name] [one collection_name];
    RestoreExternalSnapshot(RestoreExternalSnapshotRequest): Global RestoreExternalSnapshot [db_name] [];
    ExportSnapshot(ExportSnapshotRequest): Global ExportSnapshot [db_name] [one collection_name];
    GetExportSnapshotState(GetExportSnapshotStateRequest): Global ExportSnapshot [] [];
    ListRestoreSnapshotJobs(ListRestoreSnapshotJobsRequest): Collection RestoreSnapshot [db_name] [one collection_name];
    PinSnapshotData(PinSnapshotDataRequest): Global PinSnapshotData [db_name] [one collection_name];
    UnpinSnapshotData(UnpinSnapshotDataRequest): Global UnpinSnapshotData [] [];
    AlterCollectionSchema(AlterCollectionSchemaRequest): Collection AlterCollectionSchema [db_name] [one collection_name];
    BatchUpdateManifest(BatchUpdateManifestRequest): Collection Insert [db_name] [one collection_name];
    RefreshExternalCollection(RefreshExternalCollectionRequest): Collection RefreshExternalCollection [db_name] [one collection_name];
}

#[cfg(test)]
mod tests {
    use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

    use super::*;

    /// What the protocol says of a call: what its privilege is about, its name, and the field that names the object.
    fn described(
        pool: &DescriptorPool,
        method: &MethodDescriptor,
    ) -> Option<(String, String, Option<String>)> {
        let extension = pool.get_extension_by_name("milvus.proto.common.privilege_ext_obj").unwrap();
        let input = method.input();
        let options = input.options();
        if !options.has_extension(&extension) {
            return None;
        }
        let said = options.get_extension(&extension);
        let said: &DynamicMessage = said.as_message().unwrap();
        let name_of = |field: &str, list: &str| {
            let number = said.get_field_by_name(field).unwrap().as_enum_number().unwrap();
            let values = pool.get_enum_by_name(&format!("milvus.proto.common.{list}")).unwrap();
            values.get_value(number).unwrap().name().to_owned()
        };
        let number = |field: &str| said.get_field_by_name(field).as_deref().and_then(Value::as_i32).unwrap();
        let place = number("object_name_index").max(number("object_name_indexs"));
        let field = u32::try_from(place).ok().filter(|number| *number > 0);
        let field = field.map(|number| input.get_field(number).unwrap().name().to_owned());
        Some((name_of("object_type", "ObjectType"), name_of("object_privilege", "ObjectPrivilege"), field))
    }

    /// A field as the generated code calls it.
    fn snake(name: &str) -> String {
        let letters = name.chars().map(|letter| {
            if letter.is_uppercase() { format!("_{}", letter.to_lowercase()) } else { letter.to_string() }
        });
        letters.collect()
    }

    #[test]
    fn the_table_has_every_call_of_the_protocol_with_the_privilege_that_it_says() {
        let pool = DescriptorPool::decode(contract::PUBLIC_PROTOCOL).unwrap();
        let service = pool.get_service_by_name("milvus.proto.milvus.MilvusService").unwrap();
        let mut missing: Vec<String> = Vec::new();
        for method in service.methods() {
            let name = method.name();
            let open = OPEN.iter().find(|(call, _)| *call == name).map(|(_, rule)| *rule);
            let guarded = GUARDED.iter().find(|(call, ..)| *call == name);
            match (described(&pool, &method), open, guarded) {
                (None, Some(rule), None) => assert_eq!(rule, Rule { needs: None, ..rule }),
                (Some((object, privilege, field)), None, Some((_, rule, place))) => {
                    let (known, taken) = rule.needs.unwrap();
                    assert_eq!((known.name(), format!("Privilege{taken}")), (&*object, privilege), "{name}");
                    if let Some(field) = field {
                        assert!(place.ends_with(&snake(&field)), "{name} {place} {field}");
                    }
                }
                (said, ..) => missing.push(format!("{name}: {said:?}")),
            }
        }

        assert_eq!(missing, Vec::<String>::new());
        assert_eq!(OPEN.len() + GUARDED.len(), service.methods().len());
    }

    #[test]
    fn every_privilege_that_a_call_takes_can_be_granted() {
        for (call, rule, _) in GUARDED {
            let (object, privilege) = rule.needs.unwrap();
            assert_eq!(crate::model::access::privilege::object_of(privilege), Some(object), "{call}");
        }
    }

    #[test]
    fn a_request_says_what_it_is_about() {
        let named = |database: &str, names: &[&str]| Target {
            database: database.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let text = |text: &str| text.to_owned();

        let search =
            SearchRequest { db_name: text("d"), collection_name: text("books"), ..Default::default() };
        let flush =
            FlushRequest { collection_names: vec![text("books"), text("films")], ..Default::default() };
        let several = BatchDescribeCollectionRequest {
            collection_name: vec![text("books")],
            collection_id: vec![7],
            ..Default::default()
        };
        let user = SelectUserRequest { user: Some(UserEntity { name: text("ann") }), ..Default::default() };

        assert_eq!(search.target(), named("d", &["books"]));
        assert_eq!(flush.target(), named("", &["books", "films"]));
        assert_eq!(several.target(), named("", &["books", ""]));
        assert_eq!(user.target(), named("", &["ann"]));
        assert_eq!(CreateRoleRequest::default().target(), named("", &[]));
    }
}
