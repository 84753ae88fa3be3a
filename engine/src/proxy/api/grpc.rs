//! The gRPC door: one method per call, all alike. What is not here answers UNIMPLEMENTED.

use std::future::Future;

use contract::pb::common::Status as Answer;
use contract::pb::milvus::milvus_service_server::MilvusService;
use contract::pb::milvus::*;
use prost::Message;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::counting::rows_kind;
use super::{
    Caller, access, aliases, collections, compaction, databases, groups, hybrid, imports, index, load,
    partitions, placement, reads, rows, search, system, texts,
};
use crate::base::Kinded as _;
use crate::proxy::access::table::Asks;
use crate::proxy::access::{Login, Peer};
use crate::proxy::convert::status;
use crate::proxy::{Error, Proxy};

/// An answer that can say that the call failed.
trait Failed: Sized {
    /// The answer of a failed call: nothing but its status.
    fn failed(status: Answer) -> Self;
}

impl Failed for Answer {
    fn failed(status: Answer) -> Self {
        status
    }
}

macro_rules! answers_with_status {
    ($($answer:ident),+ $(,)?) => {$(
        impl Failed for $answer {
            fn failed(status: Answer) -> Self {
                Self { status: Some(status), ..Default::default() }
            }
        }
    )+};
}

answers_with_status!(
    AllocTimestampResponse,
    BackupRbacMetaResponse,
    BatchDescribeCollectionResponse,
    BoolResponse,
    CheckHealthResponse,
    ComponentStates,
    ConnectResponse,
    DescribeAliasResponse,
    DescribeCollectionResponse,
    DescribeDatabaseResponse,
    DescribeIndexResponse,
    DescribeResourceGroupResponse,
    FlushAllResponse,
    FlushResponse,
    GetCollectionStatisticsResponse,
    GetCompactionPlansResponse,
    GetCompactionStateResponse,
    GetFlushAllStateResponse,
    GetFlushStateResponse,
    GetImportStateResponse,
    GetIndexBuildProgressResponse,
    GetIndexStateResponse,
    GetIndexStatisticsResponse,
    GetLoadStateResponse,
    GetLoadingProgressResponse,
    GetMetricsResponse,
    GetPartitionStatisticsResponse,
    GetPersistentSegmentInfoResponse,
    GetQuerySegmentInfoResponse,
    GetReplicasResponse,
    GetVersionResponse,
    ImportResponse,
    ListAliasesResponse,
    ListCredUsersResponse,
    ListDatabasesResponse,
    ListImportTasksResponse,
    ListPrivilegeGroupsResponse,
    ListResourceGroupsResponse,
    ManualCompactionResponse,
    MutationResult,
    QueryResults,
    RunAnalyzerResponse,
    SearchResults,
    SelectGrantResponse,
    SelectRoleResponse,
    SelectUserResponse,
    ShowCollectionsResponse,
    ShowPartitionsResponse,
);

impl Failed for TruncateCollectionResponse {
    fn failed(status: Answer) -> Self {
        Self { status: Some(status) }
    }
}

impl Proxy {
    /// Runs one call: takes the headers apart, times it, and turns a failure into a status inside the answer. A gRPC
    /// error is never returned, clients would repeat the call for minutes.
    async fn answer<Q, A, W>(
        &self,
        call: &'static str,
        request: Request<Q>,
        run: impl FnOnce(Caller, Q) -> W,
    ) -> Result<Response<A>, Status>
    where
        Q: Asks + Message,
        A: Failed + Message,
        W: Future<Output = Result<A, Error>>,
    {
        let (metadata, extensions, request) = request.into_parts();
        let said = |header| {
            let text = metadata.get(header).and_then(|text| text.to_str().ok());
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let caller = Caller {
            database: said("dbname"),
            login: extensions.get::<Login>().cloned(),
            from: extensions.get::<Peer>().map(|peer| peer.0.ip()),
            // pymilvus 2.4 has another name for it.
            request: said("client-request-id").or_else(|| said("client_request_id")),
        };
        let counting = self.began(call, Q::RULE.call, || {
            let mut about = request.target();
            about.database = caller.database(&about.database);
            about
        });
        if let (Some(meter), Some(kind)) = (self.meter(), rows_kind(Q::RULE.call)) {
            meter.received(kind, request.encoded_len());
        }
        let span = tracing::debug_span!("call", call);
        let check = self.check(&caller, Q::RULE, || request.target());
        let checked = match check.await {
            Ok(checked) => checked,
            Err(refused) => {
                counting.ended(Some(refused.kind()));
                return Err(refused.status());
            }
        };
        let outcome = run(caller, request).instrument(span.clone()).await;
        counting.ended(outcome.as_ref().err().map(Error::kind));
        checked.ended(self, outcome.as_ref().err().map(Error::code));
        let answer = outcome.unwrap_or_else(|error| {
            tracing::debug!(parent: &span, code = error.code(), reason = %error, "call failed");
            A::failed(status::failure(&error))
        });
        if let (Some(meter), Some(_)) = (self.meter(), rows_kind(Q::RULE.call)) {
            meter.sent(answer.encoded_len());
        }
        Ok(Response::new(answer))
    }
}

macro_rules! calls {
    ($($method:ident($request:ty) -> $answer:ty = $run:path, $name:literal;)+) => {
        #[tonic::async_trait]
        impl MilvusService for Proxy {$(
            async fn $method(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                self.answer($name, request, |caller, request| $run(self, caller, request)).await
            }
        )+}
    };
}

calls! {
    connect(ConnectRequest) -> ConnectResponse = system::connect, "Connect";
    get_version(GetVersionRequest) -> GetVersionResponse = system::version, "GetVersion";
    check_health(CheckHealthRequest) -> CheckHealthResponse = system::check_health, "CheckHealth";
    get_component_states(GetComponentStatesRequest) -> ComponentStates = system::component_states, "GetComponentStates";
    get_metrics(GetMetricsRequest) -> GetMetricsResponse = system::metrics, "GetMetrics";
    alloc_timestamp(AllocTimestampRequest) -> AllocTimestampResponse = system::timestamp, "AllocTimestamp";

    import(ImportRequest) -> ImportResponse = imports::import, "Import";
    get_import_state(GetImportStateRequest) -> GetImportStateResponse = imports::state, "GetImportState";
    list_import_tasks(ListImportTasksRequest) -> ListImportTasksResponse = imports::list, "ListImportTasks";

    run_analyzer(RunAnalyzerRequest) -> RunAnalyzerResponse = texts::run_analyzer, "RunAnalyzer";

    create_database(CreateDatabaseRequest) -> Answer = databases::create, "CreateDatabase";
    drop_database(DropDatabaseRequest) -> Answer = databases::drop, "DropDatabase";
    list_databases(ListDatabasesRequest) -> ListDatabasesResponse = databases::list, "ListDatabases";
    alter_database(AlterDatabaseRequest) -> Answer = databases::alter, "AlterDatabase";
    describe_database(DescribeDatabaseRequest) -> DescribeDatabaseResponse = databases::describe, "DescribeDatabase";

    create_collection(CreateCollectionRequest) -> Answer = collections::create, "CreateCollection";
    drop_collection(DropCollectionRequest) -> Answer = collections::drop, "DropCollection";
    has_collection(HasCollectionRequest) -> BoolResponse = collections::has, "HasCollection";
    describe_collection(DescribeCollectionRequest) -> DescribeCollectionResponse = collections::describe, "DescribeCollection";
    batch_describe_collection(BatchDescribeCollectionRequest) -> BatchDescribeCollectionResponse
        = collections::batch_describe, "BatchDescribeCollection";
    show_collections(ShowCollectionsRequest) -> ShowCollectionsResponse = collections::show, "ShowCollections";
    rename_collection(RenameCollectionRequest) -> Answer = collections::rename, "RenameCollection";
    alter_collection(AlterCollectionRequest) -> Answer = collections::alter, "AlterCollection";
    alter_collection_field(AlterCollectionFieldRequest) -> Answer = collections::alter_field, "AlterCollectionField";
    add_collection_field(AddCollectionFieldRequest) -> Answer = collections::add_field, "AddCollectionField";
    truncate_collection(TruncateCollectionRequest) -> TruncateCollectionResponse
        = collections::truncate, "TruncateCollection";
    get_collection_statistics(GetCollectionStatisticsRequest) -> GetCollectionStatisticsResponse
        = collections::statistics, "GetCollectionStatistics";

    create_partition(CreatePartitionRequest) -> Answer = partitions::create, "CreatePartition";
    drop_partition(DropPartitionRequest) -> Answer = partitions::drop, "DropPartition";
    has_partition(HasPartitionRequest) -> BoolResponse = partitions::has, "HasPartition";
    show_partitions(ShowPartitionsRequest) -> ShowPartitionsResponse = partitions::show, "ShowPartitions";
    get_partition_statistics(GetPartitionStatisticsRequest) -> GetPartitionStatisticsResponse
        = partitions::statistics, "GetPartitionStatistics";

    create_alias(CreateAliasRequest) -> Answer = aliases::create, "CreateAlias";
    drop_alias(DropAliasRequest) -> Answer = aliases::drop, "DropAlias";
    alter_alias(AlterAliasRequest) -> Answer = aliases::alter, "AlterAlias";
    describe_alias(DescribeAliasRequest) -> DescribeAliasResponse = aliases::describe, "DescribeAlias";
    list_aliases(ListAliasesRequest) -> ListAliasesResponse = aliases::list, "ListAliases";

    create_index(CreateIndexRequest) -> Answer = index::create, "CreateIndex";
    alter_index(AlterIndexRequest) -> Answer = index::alter, "AlterIndex";
    describe_index(DescribeIndexRequest) -> DescribeIndexResponse = index::describe, "DescribeIndex";
    get_index_statistics(GetIndexStatisticsRequest) -> GetIndexStatisticsResponse = index::statistics, "GetIndexStatistics";
    get_index_state(GetIndexStateRequest) -> GetIndexStateResponse = index::state, "GetIndexState";
    get_index_build_progress(GetIndexBuildProgressRequest) -> GetIndexBuildProgressResponse
        = index::progress, "GetIndexBuildProgress";
    drop_index(DropIndexRequest) -> Answer = index::drop, "DropIndex";

    load_collection(LoadCollectionRequest) -> Answer = load::load, "LoadCollection";
    release_collection(ReleaseCollectionRequest) -> Answer = load::release, "ReleaseCollection";
    load_partitions(LoadPartitionsRequest) -> Answer = load::load_partitions, "LoadPartitions";
    release_partitions(ReleasePartitionsRequest) -> Answer = load::release_partitions, "ReleasePartitions";
    get_load_state(GetLoadStateRequest) -> GetLoadStateResponse = load::state, "GetLoadState";
    get_loading_progress(GetLoadingProgressRequest) -> GetLoadingProgressResponse = load::progress, "GetLoadingProgress";

    get_replicas(GetReplicasRequest) -> GetReplicasResponse = placement::replicas, "GetReplicas";
    load_balance(LoadBalanceRequest) -> Answer = placement::balance, "LoadBalance";
    get_query_segment_info(GetQuerySegmentInfoRequest) -> GetQuerySegmentInfoResponse
        = placement::loaded_segments, "GetQuerySegmentInfo";
    get_persistent_segment_info(GetPersistentSegmentInfoRequest) -> GetPersistentSegmentInfoResponse
        = placement::stored_segments, "GetPersistentSegmentInfo";

    create_resource_group(CreateResourceGroupRequest) -> Answer = groups::create, "CreateResourceGroup";
    drop_resource_group(DropResourceGroupRequest) -> Answer = groups::drop, "DropResourceGroup";
    update_resource_groups(UpdateResourceGroupsRequest) -> Answer = groups::update, "UpdateResourceGroups";
    describe_resource_group(DescribeResourceGroupRequest) -> DescribeResourceGroupResponse
        = groups::describe, "DescribeResourceGroup";
    list_resource_groups(ListResourceGroupsRequest) -> ListResourceGroupsResponse
        = groups::list, "ListResourceGroups";
    transfer_node(TransferNodeRequest) -> Answer = groups::transfer_nodes, "TransferNode";
    transfer_replica(TransferReplicaRequest) -> Answer = groups::transfer_replicas, "TransferReplica";

    insert(InsertRequest) -> MutationResult = rows::insert, "Insert";
    upsert(UpsertRequest) -> MutationResult = rows::upsert, "Upsert";
    delete(DeleteRequest) -> MutationResult = rows::delete, "Delete";
    flush(FlushRequest) -> FlushResponse = rows::flush, "Flush";
    get_flush_state(GetFlushStateRequest) -> GetFlushStateResponse = rows::flush_state, "GetFlushState";
    flush_all(FlushAllRequest) -> FlushAllResponse = rows::flush_all, "FlushAll";
    get_flush_all_state(GetFlushAllStateRequest) -> GetFlushAllStateResponse = rows::flush_all_state, "GetFlushAllState";

    manual_compaction(ManualCompactionRequest) -> ManualCompactionResponse = compaction::compact, "ManualCompaction";
    get_compaction_state(GetCompactionStateRequest) -> GetCompactionStateResponse
        = compaction::state, "GetCompactionState";
    get_compaction_state_with_plans(GetCompactionPlansRequest) -> GetCompactionPlansResponse
        = compaction::plans, "GetCompactionStateWithPlans";

    create_credential(CreateCredentialRequest) -> Answer = access::users::create, "CreateCredential";
    update_credential(UpdateCredentialRequest) -> Answer = access::users::update, "UpdateCredential";
    delete_credential(DeleteCredentialRequest) -> Answer = access::users::delete, "DeleteCredential";
    list_cred_users(ListCredUsersRequest) -> ListCredUsersResponse = access::users::list, "ListCredUsers";
    select_user(SelectUserRequest) -> SelectUserResponse = access::users::select, "SelectUser";
    create_role(CreateRoleRequest) -> Answer = access::roles::create, "CreateRole";
    alter_role(AlterRoleRequest) -> Answer = access::roles::alter, "AlterRole";
    drop_role(DropRoleRequest) -> Answer = access::roles::drop, "DropRole";
    operate_user_role(OperateUserRoleRequest) -> Answer = access::roles::operate, "OperateUserRole";
    select_role(SelectRoleRequest) -> SelectRoleResponse = access::roles::select, "SelectRole";
    operate_privilege(OperatePrivilegeRequest) -> Answer = access::grants::operate, "OperatePrivilege";
    operate_privilege_v2(OperatePrivilegeV2Request) -> Answer = access::grants::operate_v2, "OperatePrivilegeV2";
    select_grant(SelectGrantRequest) -> SelectGrantResponse = access::grants::select, "SelectGrant";
    create_privilege_group(CreatePrivilegeGroupRequest) -> Answer
        = access::privileges::create, "CreatePrivilegeGroup";
    drop_privilege_group(DropPrivilegeGroupRequest) -> Answer = access::privileges::drop, "DropPrivilegeGroup";
    list_privilege_groups(ListPrivilegeGroupsRequest) -> ListPrivilegeGroupsResponse
        = access::privileges::list, "ListPrivilegeGroups";
    operate_privilege_group(OperatePrivilegeGroupRequest) -> Answer
        = access::privileges::operate, "OperatePrivilegeGroup";
    backup_rbac(BackupRbacMetaRequest) -> BackupRbacMetaResponse = access::backup::save, "BackupRBAC";
    restore_rbac(RestoreRbacMetaRequest) -> Answer = access::backup::restore, "RestoreRBAC";

    search(SearchRequest) -> SearchResults = search::search, "Search";
    hybrid_search(HybridSearchRequest) -> SearchResults = hybrid::search, "HybridSearch";
    query(QueryRequest) -> QueryResults = reads::query, "Query";
}
