//! A real engine, over Milvus's gRPC API and its own admin API.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use contract::admin;
use contract::admin::admin_client::AdminClient;
use contract::pb::common::{KeyValuePair, LoadState, Status};
use contract::pb::milvus::milvus_service_client::MilvusServiceClient;
use contract::pb::milvus::{
    AlterAliasRequest, AlterCollectionRequest, CreateAliasRequest, CreateIndexRequest,
    CreateResourceGroupRequest, DescribeAliasRequest, DescribeCollectionRequest, DescribeIndexRequest,
    DescribeResourceGroupRequest, DropAliasRequest, DropCollectionRequest, DropIndexRequest,
    DropResourceGroupRequest, GetLoadStateRequest, GetLoadingProgressRequest, GetReplicasRequest,
    ListResourceGroupsRequest, LoadCollectionRequest, ReleaseCollectionRequest, ReplicaInfo, ResourceGroup,
    UpdateResourceGroupsRequest,
};
use contract::pb::rg::{
    ResourceGroupConfig, ResourceGroupLimit, ResourceGroupNodeFilter, ResourceGroupTransfer,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::{
    ALIAS_NOT_FOUND, AliasChange, COLLECTION_NOT_FOUND, DATABASE_NOT_FOUND, Door, Engine, Error,
    GROUP_NOT_FOUND, INDEX_NOT_FOUND, Target, wire,
};
use crate::crd::GroupNode;
use crate::reach::secure;
use crate::rollout::Calls;
use crate::scaling::{Jobs, LoadReport, NodeLoad};
use crate::topology::{
    EngineAlias, EngineCollection, EngineGroup, EngineIndex, EngineReplica, Loading, NewCollection,
    NodeClaims,
};

/// How long a connection may take. Unit: seconds.
const CONNECT_SECONDS: u64 = 3;
/// How long a call may take. Unit: seconds.
const CALL_SECONDS: u64 = 10;

/// Engines, reached over the network. A connection lives as long as what it was made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetEngine;

/// One connection, and what it is for.
struct Line {
    client: MilvusServiceClient<InterceptedService<Channel, Shown>>,
    attempt: String,
    address: String,
}

impl Line {
    async fn to(at: &Door, attempt: String) -> Result<Self, Error> {
        let address = at.address.clone();
        match connect(at).await {
            Ok(channel) => {
                let client = MilvusServiceClient::with_interceptor(channel, Shown::of(at));
                Ok(Self { client, attempt, address })
            }
            Err(source) => Err(Error::Unreachable { attempt, address, source }),
        }
    }

    /// To what has to do with a collection.
    async fn about(of: Target<'_>, what: &str) -> Result<Self, Error> {
        Self::to(of.at, format!("{what} collection {} of database {}", of.name, of.database)).await
    }

    /// The indexes of a collection.
    async fn indexes(&mut self, database: &str, name: &str) -> Result<Vec<EngineIndex>, Error> {
        let request = DescribeIndexRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            ..Default::default()
        };
        let answer = self.client.describe_index(request).await;
        let found = unless(self.read(answer, |answer| answer.status.as_ref()), &[INDEX_NOT_FOUND])?;
        let found = found.map(|found| found.index_descriptions).unwrap_or_default();
        Ok(found.into_iter().map(wire::index_from).collect())
    }

    /// Whether a collection is in memory, and why it cannot be, if that is so.
    async fn loading(&mut self, database: &str, name: &str) -> Result<(Loading, Option<String>), Error> {
        let request = GetLoadStateRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            ..Default::default()
        };
        let answer = self.client.get_load_state(request).await;
        match self.read(answer, |answer| answer.status.as_ref()).map(|answer| answer.state()) {
            Ok(LoadState::Loaded) => return Ok((Loading::Done, None)),
            Ok(LoadState::NotLoad | LoadState::NotExist) => return Ok((Loading::Not, None)),
            Ok(LoadState::Loading) => {}
            // A load that cannot go on is told as a refusal.
            Err(Error::Refused { text, .. }) => return Ok((Loading::Under(0), Some(text))),
            Err(error) => return Err(error),
        }
        let request = GetLoadingProgressRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            ..Default::default()
        };
        let answer = self.client.get_loading_progress(request).await;
        match self.read(answer, |answer| answer.status.as_ref()) {
            Ok(answer) => Ok((Loading::Under(answer.progress), None)),
            Err(Error::Refused { text, .. }) => Ok((Loading::Under(0), Some(text))),
            Err(error) => Err(error),
        }
    }

    /// The copies of a collection in memory.
    async fn replicas(&mut self, database: &str, name: &str) -> Result<Vec<EngineReplica>, Error> {
        let request = GetReplicasRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            ..Default::default()
        };
        let answer = self.client.get_replicas(request).await;
        match self.read(answer, |answer| answer.status.as_ref()) {
            Ok(answer) => Ok(answer.replicas.into_iter().map(replica).collect()),
            // It was released meanwhile, or none has a place yet.
            Err(Error::Refused { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The answer of a call, which may carry a refusal of its own.
    fn read<T>(
        &self,
        answer: Result<tonic::Response<T>, tonic::Status>,
        status: impl Fn(&T) -> Option<&Status>,
    ) -> Result<T, Error> {
        let answer = answer.map_err(|status| failed(&self.attempt, &self.address, status))?;
        let answer = answer.into_inner();
        match status(&answer).filter(|status| status.code != 0) {
            None => Ok(answer),
            Some(status) => Err(Error::Refused {
                attempt: self.attempt.clone(),
                code: status.code,
                text: status.reason.clone(),
            }),
        }
    }
}

/// A call that was not answered with what it asks for.
fn failed(attempt: &str, address: &str, status: tonic::Status) -> Error {
    match status.code() {
        tonic::Code::Unimplemented
        | tonic::Code::InvalidArgument
        | tonic::Code::PermissionDenied
        | tonic::Code::Unauthenticated => Error::Refused {
            attempt: attempt.to_owned(),
            code: i32::from(status.code()),
            text: status.message().to_owned(),
        },
        _ => Error::Unreachable {
            attempt: attempt.to_owned(),
            address: address.to_owned(),
            source: Box::new(status),
        },
    }
}

/// Shows the token of a door in every call.
#[derive(Clone)]
struct Shown(Option<MetadataValue<Ascii>>);

impl Shown {
    fn of(at: &Door) -> Self {
        // What no header can carry is no token; the engine says so.
        Self(at.token.as_ref().and_then(|token| format!("Bearer {token}").parse().ok()))
    }
}

impl Interceptor for Shown {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A channel to the engine; over TLS where its door asks for it.
async fn connect(at: &Door) -> Result<Channel, Cause> {
    let limit = Duration::from_secs(CONNECT_SECONDS);
    let endpoint = Endpoint::from_shared(format!("http://{}", at.address))?
        .connect_timeout(limit)
        .timeout(Duration::from_secs(CALL_SECONDS));
    let Some(trust) = &at.trust else { return Ok(endpoint.connect().await?) };
    let made = async {
        let stream = TcpStream::connect(&at.address).await?;
        Ok::<_, Cause>(secure(stream, trust).await?)
    };
    // A channel lives as long as what it was made for, so that one stream is enough.
    let mut stream = Some(TokioIo::new(timeout(limit, made).await??));
    let once = tower::service_fn(move |_| {
        std::future::ready(stream.take().ok_or_else(|| std::io::Error::other("the connection has ended")))
    });
    Ok(endpoint.connect_with_connector(once).await?)
}

/// `None` for a refusal with one of these codes.
fn unless<T>(result: Result<T, Error>, codes: &[i32]) -> Result<Option<T>, Error> {
    match result {
        Err(Error::Refused { code, .. }) if codes.contains(&code) => Ok(None),
        other => other.map(Some),
    }
}

#[async_trait]
impl Engine for NetEngine {
    async fn groups(&self, at: &Door) -> Result<BTreeMap<String, EngineGroup>, Error> {
        let mut line = Line::to(at, "list resource groups".to_owned()).await?;
        let answer = line.client.list_resource_groups(ListResourceGroupsRequest::default()).await;
        let names = line.read(answer, |answer| answer.status.as_ref())?.resource_groups;
        let mut groups = BTreeMap::new();
        for name in names {
            let request = DescribeResourceGroupRequest { resource_group: name.clone(), ..Default::default() };
            let answer = line.client.describe_resource_group(request).await;
            // One that went meanwhile is not there.
            let found = unless(line.read(answer, |answer| answer.status.as_ref()), &[GROUP_NOT_FOUND])?;
            if let Some(found) = found.and_then(|found| found.resource_group) {
                groups.insert(name, group(found));
            }
        }
        Ok(groups)
    }

    async fn create_group(&self, at: &Door, name: &str, claims: &NodeClaims) -> Result<(), Error> {
        let mut line = Line::to(at, format!("make resource group {name}")).await?;
        let request = CreateResourceGroupRequest {
            resource_group: name.to_owned(),
            config: Some(config(claims)),
            ..Default::default()
        };
        let answer = line.client.create_resource_group(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn update_group(&self, at: &Door, name: &str, claims: &NodeClaims) -> Result<(), Error> {
        let mut line = Line::to(at, format!("change resource group {name}")).await?;
        let resource_groups = HashMap::from([(name.to_owned(), config(claims))]);
        let request = UpdateResourceGroupsRequest { resource_groups, ..Default::default() };
        let answer = line.client.update_resource_groups(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn drop_group(&self, at: &Door, name: &str) -> Result<(), Error> {
        let mut line = Line::to(at, format!("drop resource group {name}")).await?;
        let request = DropResourceGroupRequest { resource_group: name.to_owned(), ..Default::default() };
        let answer = line.client.drop_resource_group(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn collection(
        &self,
        at: &Door,
        database: &str,
        name: &str,
    ) -> Result<Option<EngineCollection>, Error> {
        let mut line = Line::to(at, format!("look at collection {name} of database {database}")).await?;
        let request = DescribeCollectionRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            ..Default::default()
        };
        let answer = line.client.describe_collection(request).await;
        let described = line.read(answer, |answer| answer.status.as_ref());
        let Some(described) = unless(described, &[COLLECTION_NOT_FOUND, DATABASE_NOT_FOUND])? else {
            return Ok(None);
        };
        let mut found = EngineCollection {
            id: described.collection_id,
            name: described.collection_name,
            schema: described.schema.map(wire::schema_from).unwrap_or_default(),
            aliases: described.aliases,
            properties: wire::pairs_from(described.properties),
            ..EngineCollection::default()
        };
        found.aliases.sort();
        // From here on by its own name: an alias may lead elsewhere meanwhile.
        let name = found.name.clone();
        found.indexes = line.indexes(database, &name).await?;
        (found.loading, found.trouble) = line.loading(database, &name).await?;
        if found.loading != Loading::Not {
            found.replicas = line.replicas(database, &name).await?;
        }
        Ok(Some(found))
    }

    async fn create_collection(&self, of: Target<'_>, collection: &NewCollection) -> Result<(), Error> {
        let mut line = Line::about(of, "make").await?;
        let answer = line.client.create_collection(wire::create(of.database, of.name, collection)).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn drop_collection(&self, of: Target<'_>) -> Result<(), Error> {
        let mut line = Line::about(of, "drop").await?;
        let request = DropCollectionRequest {
            db_name: of.database.to_owned(),
            collection_name: of.name.to_owned(),
            ..Default::default()
        };
        let answer = line.client.drop_collection(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn set_properties(
        &self,
        of: Target<'_>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let mut line = Line::about(of, "set properties of").await?;
        let request = AlterCollectionRequest {
            db_name: of.database.to_owned(),
            collection_name: of.name.to_owned(),
            properties: wire::pairs_to(properties),
            ..Default::default()
        };
        let answer = line.client.alter_collection(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn delete_properties(&self, of: Target<'_>, names: &[String]) -> Result<(), Error> {
        let mut line = Line::about(of, "remove properties of").await?;
        let request = AlterCollectionRequest {
            db_name: of.database.to_owned(),
            collection_name: of.name.to_owned(),
            delete_keys: names.to_vec(),
            ..Default::default()
        };
        let answer = line.client.alter_collection(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn create_index(&self, of: Target<'_>, index: &EngineIndex) -> Result<(), Error> {
        let mut line = Line::about(of, &format!("make index {} of", index.name)).await?;
        let request = CreateIndexRequest {
            db_name: of.database.to_owned(),
            collection_name: of.name.to_owned(),
            field_name: index.field.clone(),
            index_name: index.name.clone(),
            extra_params: wire::pairs_to(&index.params),
            ..Default::default()
        };
        let answer = line.client.create_index(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn drop_index(&self, of: Target<'_>, name: &str) -> Result<(), Error> {
        let mut line = Line::about(of, &format!("drop index {name} of")).await?;
        let request = DropIndexRequest {
            db_name: of.database.to_owned(),
            collection_name: of.name.to_owned(),
            index_name: name.to_owned(),
            ..Default::default()
        };
        let answer = line.client.drop_index(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn alias(&self, at: &Door, database: &str, alias: &str) -> Result<Option<EngineAlias>, Error> {
        let mut line = Line::to(at, format!("look at alias {alias} of database {database}")).await?;
        let request = DescribeAliasRequest {
            db_name: database.to_owned(),
            alias: alias.to_owned(),
            ..Default::default()
        };
        let answer = line.client.describe_alias(request).await;
        let found = line.read(answer, |answer| answer.status.as_ref());
        let Some(found) = unless(found, &[ALIAS_NOT_FOUND, DATABASE_NOT_FOUND])? else { return Ok(None) };
        let (loading, _) = line.loading(database, &found.collection).await?;
        Ok(Some(EngineAlias { collection: found.collection, loaded: loading != Loading::Not }))
    }

    async fn change_alias(&self, of: Target<'_>, alias: &str, change: AliasChange) -> Result<(), Error> {
        let (db_name, collection_name, alias) =
            (of.database.to_owned(), of.name.to_owned(), alias.to_owned());
        let mut line = Line::about(of, &format!("change alias {alias} of")).await?;
        let answer = match change {
            AliasChange::Create => {
                let request = CreateAliasRequest { db_name, collection_name, alias, ..Default::default() };
                line.client.create_alias(request).await
            }
            AliasChange::Move => {
                let request = AlterAliasRequest { db_name, collection_name, alias, ..Default::default() };
                line.client.alter_alias(request).await
            }
            AliasChange::Drop => {
                let request = DropAliasRequest { db_name, alias, ..Default::default() };
                line.client.drop_alias(request).await
            }
        };
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn load(&self, at: &Door, database: &str, name: &str, groups: &[String]) -> Result<(), Error> {
        let mut line = Line::to(at, format!("load collection {name} of database {database}")).await?;
        let same = groups.iter().all(|group| groups.first() == Some(group));
        let request = LoadCollectionRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            replica_number: i32::try_from(groups.len()).unwrap_or(i32::MAX),
            // The API takes one group for all copies, or as many as there are copies.
            resource_groups: if same { groups.iter().take(1).cloned().collect() } else { groups.to_vec() },
            ..Default::default()
        };
        let answer = line.client.load_collection(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn release(&self, at: &Door, database: &str, name: &str) -> Result<(), Error> {
        let mut line = Line::to(at, format!("release collection {name} of database {database}")).await?;
        let request = ReleaseCollectionRequest {
            db_name: database.to_owned(),
            collection_name: name.to_owned(),
            ..Default::default()
        };
        let answer = line.client.release_collection(request).await;
        line.read(answer, |status| Some(status)).map(drop)
    }

    async fn calls(&self, at: &Door) -> Result<Calls, Error> {
        let (attempt, address) = ("count the requests", at.address.clone());
        let channel = connect(at).await.map_err(|source| Error::Unreachable {
            attempt: attempt.to_owned(),
            address: address.clone(),
            source,
        })?;
        let mut client = AdminClient::with_interceptor(channel, Shown::of(at));
        let answer = client.get_process(admin::GetProcessRequest {}).await;
        let process = answer.map_err(|status| failed(attempt, &address, status))?.into_inner();
        Ok(Calls { ended: process.calls, failed: process.failed_calls })
    }

    async fn load_report(&self, at: &Door) -> Result<LoadReport, Error> {
        let (attempt, address) = ("read the load", at.address.clone());
        let channel = connect(at).await.map_err(|source| Error::Unreachable {
            attempt: attempt.to_owned(),
            address: address.clone(),
            source,
        })?;
        let mut client = AdminClient::with_interceptor(channel, Shown::of(at));
        let failed = |status| failed(attempt, &address, status);
        let cluster = client.get_cluster(admin::GetClusterRequest {}).await.map_err(failed)?;
        let loads = client.list_loads(admin::ListLoadsRequest {}).await.map_err(failed)?;
        let cluster = cluster.into_inner();
        Ok(LoadReport {
            settled: cluster.leader.is_some_and(|leader| leader.settled),
            nodes: loads.into_inner().loads.into_iter().map(load).collect(),
            jobs: cluster.jobs.map(|jobs| Jobs { waiting: jobs.waiting, running: jobs.running }),
        })
    }
}

fn load(found: admin::NodeLoad) -> NodeLoad {
    NodeLoad {
        stays: found.state() == admin::NodeState::Ready,
        host: found.host,
        address: found.address,
        queue_wait_ms: found.queue_wait_ms,
        p99_ms: found.p99_ms,
        search_cpu: found.search_cpu,
        held_bytes: found.held_bytes,
        memory_bytes: found.memory_bytes,
        bytes_to_load: found.bytes_to_load,
    }
}

fn config(claims: &NodeClaims) -> ResourceGroupConfig {
    let limit = |node_num| Some(ResourceGroupLimit { node_num });
    let others = |names: &[String]| {
        names.iter().map(|name| ResourceGroupTransfer { resource_group: name.clone() }).collect()
    };
    let labels = claims.node_filter.iter();
    let labels = labels.map(|(key, value)| KeyValuePair { key: key.clone(), value: value.clone() });
    ResourceGroupConfig {
        requests: limit(claims.requests),
        limits: limit(claims.limits),
        transfer_from: others(&claims.transfer_from),
        transfer_to: others(&claims.transfer_to),
        node_filter: Some(ResourceGroupNodeFilter { node_labels: labels.collect() }),
    }
}

fn group(found: ResourceGroup) -> EngineGroup {
    let config = found.config.unwrap_or_default();
    let count = |limit: Option<ResourceGroupLimit>| limit.map_or(0, |limit| limit.node_num);
    let others =
        |list: Vec<ResourceGroupTransfer>| list.into_iter().map(|other| other.resource_group).collect();
    let labels = config.node_filter.unwrap_or_default().node_labels;
    let mut nodes: Vec<GroupNode> =
        found.nodes.into_iter().map(|node| GroupNode { id: node.node_id, host: node.hostname }).collect();
    nodes.sort();
    EngineGroup {
        claims: NodeClaims {
            requests: count(config.requests),
            limits: count(config.limits),
            transfer_from: others(config.transfer_from),
            transfer_to: others(config.transfer_to),
            node_filter: labels.into_iter().map(|label| (label.key, label.value)).collect(),
        },
        nodes,
        replicas: found.num_loaded_replica.into_iter().filter(|(_, count)| *count > 0).collect(),
    }
}

fn replica(found: ReplicaInfo) -> EngineReplica {
    let mut nodes = found.node_ids;
    nodes.sort_unstable();
    EngineReplica {
        id: found.replica_id,
        group: found.resource_group_name,
        partial: !found.partition_ids.is_empty(),
        nodes,
        followed: found.shard_replicas.iter().map(|shard| shard.leader_id != 0).collect(),
    }
}
