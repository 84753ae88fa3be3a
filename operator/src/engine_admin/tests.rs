//! What every engine does, asked of the twin directly and over gRPC.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::pb::common::{LoadState, NodeInfo, Status};
use contract::pb::milvus::milvus_service_server::{MilvusService, MilvusServiceServer};
use contract::pb::milvus::{
    AlterAliasRequest, AlterCollectionRequest, CreateAliasRequest, CreateCollectionRequest,
    CreateIndexRequest, CreateResourceGroupRequest, DescribeAliasRequest, DescribeAliasResponse,
    DescribeCollectionRequest, DescribeCollectionResponse, DescribeIndexRequest, DescribeIndexResponse,
    DescribeResourceGroupRequest, DescribeResourceGroupResponse, DropAliasRequest, DropCollectionRequest,
    DropIndexRequest, DropResourceGroupRequest, GetLoadStateRequest, GetLoadStateResponse,
    GetReplicasRequest, GetReplicasResponse, IndexDescription, ListResourceGroupsRequest,
    ListResourceGroupsResponse, LoadCollectionRequest, ReleaseCollectionRequest, ReplicaInfo, ResourceGroup,
    ShardReplica, UpdateResourceGroupsRequest,
};
use contract::pb::rg::{ResourceGroupConfig, ResourceGroupLimit, ResourceGroupTransfer};
use k8s_openapi::jiff::Timestamp;
use prost::Message as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::{Request, Response};

use super::*;
use crate::certificates::{Credentials, Order, authority, certificate, new_key};
use crate::crd::FieldType;
use crate::topology::{EngineField, EngineSchema, Loading};

/// The twin behind Milvus's gRPC API.
struct Served(Arc<MemoryEngine>);

fn status(result: Result<(), Error>) -> Status {
    match result {
        Err(Error::Refused { code, text, .. }) => Status { code, reason: text, ..Status::default() },
        _ => Status::default(),
    }
}

fn claims(config: Option<ResourceGroupConfig>) -> NodeClaims {
    let config = config.unwrap();
    let names = |list: Vec<ResourceGroupTransfer>| list.into_iter().map(|one| one.resource_group).collect();
    NodeClaims {
        requests: config.requests.unwrap().node_num,
        limits: config.limits.unwrap().node_num,
        transfer_from: names(config.transfer_from),
        transfer_to: names(config.transfer_to),
        node_filter: BTreeMap::new(),
    }
}

fn shown(name: String, group: EngineGroup) -> ResourceGroup {
    let limit = |node_num| Some(ResourceGroupLimit { node_num });
    let names = |list: Vec<String>| {
        list.into_iter().map(|resource_group| ResourceGroupTransfer { resource_group }).collect()
    };
    let node = |node: crate::crd::GroupNode| NodeInfo {
        node_id: node.id,
        hostname: node.host,
        ..NodeInfo::default()
    };
    ResourceGroup {
        name,
        num_loaded_replica: group.replicas.into_iter().collect(),
        config: Some(ResourceGroupConfig {
            requests: limit(group.claims.requests),
            limits: limit(group.claims.limits),
            transfer_from: names(group.claims.transfer_from),
            transfer_to: names(group.claims.transfer_to),
            node_filter: None,
        }),
        nodes: group.nodes.into_iter().map(node).collect(),
        ..ResourceGroup::default()
    }
}

type Answer<T> = Result<Response<T>, tonic::Status>;

#[tonic::async_trait]
impl MilvusService for Served {
    async fn list_resource_groups(
        &self,
        _: Request<ListResourceGroupsRequest>,
    ) -> Answer<ListResourceGroupsResponse> {
        let resource_groups = self.0.groups(&nowhere()).await.unwrap().into_keys().collect();
        Ok(Response::new(ListResourceGroupsResponse { status: None, resource_groups }))
    }

    async fn describe_resource_group(
        &self,
        request: Request<DescribeResourceGroupRequest>,
    ) -> Answer<DescribeResourceGroupResponse> {
        let name = request.into_inner().resource_group;
        let found = self.0.groups(&nowhere()).await.unwrap().remove(&name);
        let status = Status { code: if found.is_some() { 0 } else { GROUP_NOT_FOUND }, ..Status::default() };
        let resource_group = found.map(|found| shown(name, found));
        Ok(Response::new(DescribeResourceGroupResponse { status: Some(status), resource_group }))
    }

    async fn create_resource_group(&self, request: Request<CreateResourceGroupRequest>) -> Answer<Status> {
        let request = request.into_inner();
        let done = self.0.create_group(&nowhere(), &request.resource_group, &claims(request.config)).await;
        Ok(Response::new(status(done)))
    }

    async fn update_resource_groups(&self, request: Request<UpdateResourceGroupsRequest>) -> Answer<Status> {
        for (name, config) in request.into_inner().resource_groups {
            let done = self.0.update_group(&nowhere(), &name, &claims(Some(config))).await;
            if done.is_err() {
                return Ok(Response::new(status(done)));
            }
        }
        Ok(Response::new(Status::default()))
    }

    async fn drop_resource_group(&self, request: Request<DropResourceGroupRequest>) -> Answer<Status> {
        Ok(Response::new(status(self.0.drop_group(&nowhere(), &request.into_inner().resource_group).await)))
    }

    async fn describe_collection(
        &self,
        request: Request<DescribeCollectionRequest>,
    ) -> Answer<DescribeCollectionResponse> {
        let request = request.into_inner();
        let found = self.0.collection(&nowhere(), &request.db_name, &request.collection_name).await.unwrap();
        let code = if found.is_some() { 0 } else { COLLECTION_NOT_FOUND };
        let found = found.unwrap_or_default();
        let made = NewCollection { schema: found.schema, ..NewCollection::default() };
        let schema = wire::create(&request.db_name, &found.name, &made).schema;
        Ok(Response::new(DescribeCollectionResponse {
            status: Some(Status { code, ..Status::default() }),
            collection_id: found.id,
            collection_name: found.name,
            schema: Some(contract::pb::schema::CollectionSchema::decode(schema.as_slice()).unwrap()),
            aliases: found.aliases,
            properties: wire::pairs_to(&found.properties),
            ..DescribeCollectionResponse::default()
        }))
    }

    async fn create_collection(&self, request: Request<CreateCollectionRequest>) -> Answer<Status> {
        let request = request.into_inner();
        let schema = contract::pb::schema::CollectionSchema::decode(request.schema.as_slice()).unwrap();
        let new = NewCollection {
            schema: wire::schema_from(schema),
            properties: wire::pairs_from(request.properties.clone()),
            ..NewCollection::default()
        };
        let door = nowhere();
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        Ok(Response::new(status(self.0.create_collection(of, &new).await)))
    }

    async fn drop_collection(&self, request: Request<DropCollectionRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        Ok(Response::new(status(self.0.drop_collection(of).await)))
    }

    async fn alter_collection(&self, request: Request<AlterCollectionRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        let done = match request.delete_keys.is_empty() {
            true => self.0.set_properties(of, &wire::pairs_from(request.properties.clone())).await,
            false => self.0.delete_properties(of, &request.delete_keys).await,
        };
        Ok(Response::new(status(done)))
    }

    async fn create_index(&self, request: Request<CreateIndexRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        let index = EngineIndex {
            name: request.index_name.clone(),
            field: request.field_name.clone(),
            params: wire::pairs_from(request.extra_params.clone()),
        };
        Ok(Response::new(status(self.0.create_index(of, &index).await)))
    }

    async fn describe_index(&self, request: Request<DescribeIndexRequest>) -> Answer<DescribeIndexResponse> {
        let request = request.into_inner();
        let found = self.0.collection(&nowhere(), &request.db_name, &request.collection_name).await.unwrap();
        let index = |index: &EngineIndex| IndexDescription {
            index_name: index.name.clone(),
            field_name: index.field.clone(),
            params: wire::pairs_to(&index.params),
            ..IndexDescription::default()
        };
        let index_descriptions: Vec<_> = found.unwrap().indexes.iter().map(index).collect();
        let code = if index_descriptions.is_empty() { INDEX_NOT_FOUND } else { 0 };
        let status = Some(Status { code, ..Status::default() });
        Ok(Response::new(DescribeIndexResponse { status, index_descriptions }))
    }

    async fn drop_index(&self, request: Request<DropIndexRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        Ok(Response::new(status(self.0.drop_index(of, &request.index_name).await)))
    }

    async fn describe_alias(&self, request: Request<DescribeAliasRequest>) -> Answer<DescribeAliasResponse> {
        let request = request.into_inner();
        let found = self.0.alias(&nowhere(), &request.db_name, &request.alias).await.unwrap();
        let code = if found.is_some() { 0 } else { ALIAS_NOT_FOUND };
        Ok(Response::new(DescribeAliasResponse {
            status: Some(Status { code, ..Status::default() }),
            collection: found.map(|found| found.collection).unwrap_or_default(),
            ..DescribeAliasResponse::default()
        }))
    }

    async fn create_alias(&self, request: Request<CreateAliasRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        Ok(Response::new(status(self.0.change_alias(of, &request.alias, AliasChange::Create).await)))
    }

    async fn alter_alias(&self, request: Request<AlterAliasRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: &request.collection_name };
        Ok(Response::new(status(self.0.change_alias(of, &request.alias, AliasChange::Move).await)))
    }

    async fn drop_alias(&self, request: Request<DropAliasRequest>) -> Answer<Status> {
        let (request, door) = (request.into_inner(), nowhere());
        let of = Target { at: &door, database: &request.db_name, name: "" };
        Ok(Response::new(status(self.0.change_alias(of, &request.alias, AliasChange::Drop).await)))
    }

    async fn get_load_state(&self, request: Request<GetLoadStateRequest>) -> Answer<GetLoadStateResponse> {
        let request = request.into_inner();
        let found = self.0.collection(&nowhere(), &request.db_name, &request.collection_name).await.unwrap();
        let state = match found.unwrap().loading {
            Loading::Not => LoadState::NotLoad,
            Loading::Under(_) => LoadState::Loading,
            Loading::Done => LoadState::Loaded,
        };
        Ok(Response::new(GetLoadStateResponse { status: None, state: state.into() }))
    }

    async fn get_replicas(&self, request: Request<GetReplicasRequest>) -> Answer<GetReplicasResponse> {
        let request = request.into_inner();
        let found =
            self.0.collection(&nowhere(), &request.db_name, &request.collection_name).await.unwrap().unwrap();
        let replica = |replica: crate::topology::EngineReplica| ReplicaInfo {
            replica_id: replica.id,
            resource_group_name: replica.group,
            node_ids: replica.nodes,
            shard_replicas: replica
                .followed
                .into_iter()
                .map(|followed| ShardReplica { leader_id: i64::from(followed), ..ShardReplica::default() })
                .collect(),
            ..ReplicaInfo::default()
        };
        let replicas = found.replicas.into_iter().map(replica).collect();
        Ok(Response::new(GetReplicasResponse { status: None, replicas }))
    }

    async fn load_collection(&self, request: Request<LoadCollectionRequest>) -> Answer<Status> {
        let request = request.into_inner();
        let count = usize::try_from(request.replica_number).unwrap();
        let groups = match request.resource_groups.as_slice() {
            [one] => vec![one.clone(); count],
            each => each.to_vec(),
        };
        let done = self.0.load(&nowhere(), &request.db_name, &request.collection_name, &groups).await;
        Ok(Response::new(status(done)))
    }

    async fn release_collection(&self, request: Request<ReleaseCollectionRequest>) -> Answer<Status> {
        let request = request.into_inner();
        Ok(Response::new(status(
            self.0.release(&nowhere(), &request.db_name, &request.collection_name).await,
        )))
    }
}

/// Runs `test` against the twin, served on a port of its own.
async fn served(engine: Arc<MemoryEngine>, test: impl AsyncFnOnce(String)) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(MilvusServiceServer::new(Served(engine)));
    tokio::select! {
        ended = server.serve_with_incoming(incoming) => panic!("the server ended: {ended:?}"),
        () = test(address) => {}
    }
}

fn nowhere() -> Door {
    Door::plain("")
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn code(result: Result<(), Error>) -> i32 {
    match result {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

async fn groups_are_made_changed_and_dropped_by_their_rules(engine: &dyn Engine, at: &Door) {
    let one = NodeClaims { requests: 1, limits: 2, ..NodeClaims::default() };
    let pair = NodeClaims { transfer_from: named(&["silver"]), ..one.clone() };

    assert_eq!(code(engine.create_group(at, "gold", &pair).await), GROUP_ILLEGAL);
    engine.create_group(at, "gold", &one).await.unwrap();
    engine.create_group(at, "gold", &one).await.unwrap();
    assert_eq!(code(engine.create_group(at, "gold", &NodeClaims::default()).await), GROUP_EXISTS);
    engine.create_group(at, "silver", &NodeClaims::default()).await.unwrap();
    engine.update_group(at, "gold", &pair).await.unwrap();

    let groups = engine.groups(at).await.unwrap();
    let claims: Vec<_> = groups.into_iter().map(|(name, group)| (name, group.claims)).collect();
    let none = NodeClaims::default();
    assert_eq!(
        claims,
        [
            (contract::names::DEFAULT_RESOURCE_GROUP.to_owned(), none.clone()),
            ("gold".to_owned(), pair),
            ("silver".to_owned(), none.clone()),
        ]
    );
    assert_eq!(code(engine.drop_group(at, "gold").await), GROUP_ILLEGAL);
    engine.update_group(at, "gold", &none).await.unwrap();
    engine.drop_group(at, "gold").await.unwrap();
    engine.drop_group(at, "gold").await.unwrap();
    assert!(!engine.groups(at).await.unwrap().contains_key("gold"));
}

async fn a_collection_is_loaded_moved_and_released(engine: &dyn Engine, at: &Door) {
    assert_eq!(engine.collection(at, "default", "none").await.unwrap(), None);
    engine.create_group(at, "gold", &NodeClaims::default()).await.unwrap();
    assert_eq!(engine.collection(at, "default", "rows").await.unwrap().unwrap().loading, Loading::Not);

    assert_eq!(code(engine.load(at, "default", "rows", &named(&["iron"])).await), GROUP_NOT_FOUND);
    let default = contract::names::DEFAULT_RESOURCE_GROUP;
    engine.load(at, "default", "rows", &named(&[default])).await.unwrap();
    engine.load(at, "default", "rows", &named(&["gold", "gold"])).await.unwrap();

    let found = engine.collection(at, "default", "rows").await.unwrap().unwrap();
    let replicas: Vec<_> =
        found.replicas.iter().map(|replica| (replica.group.as_str(), replica.id)).collect();
    assert_eq!((found.loading, replicas), (Loading::Done, vec![("gold", 101), ("gold", 102)]));
    assert_eq!(found.replicas[0].followed, [true]);
    let group = engine.groups(at).await.unwrap().remove("gold").unwrap();
    assert_eq!(group.replicas, BTreeMap::from([("rows".to_owned(), 2)]));
    engine.release(at, "default", "rows").await.unwrap();
    let found = engine.collection(at, "default", "rows").await.unwrap().unwrap();
    assert_eq!((found.loading, found.replicas.len()), (Loading::Not, 0));
}

/// A key, a vector, and two fields with defaults.
fn books() -> NewCollection {
    let field =
        |name: &str, kind| EngineField { name: name.to_owned(), kind: Some(kind), ..EngineField::default() };
    let limit = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let schema = EngineSchema {
        description: "books".to_owned(),
        dynamic: true,
        fields: vec![
            EngineField { primary: true, auto_id: true, ..field("id", FieldType::Int64) },
            EngineField {
                nullable: true,
                default: Some("none".to_owned()),
                params: limit("max_length", "64"),
                ..field("title", FieldType::VarChar)
            },
            EngineField { default: Some("0.1".to_owned()), ..field("price", FieldType::Float) },
            EngineField { params: limit("dim", "4"), ..field("vector", FieldType::FloatVector) },
        ],
    };
    let properties = limit("collection.ttl.seconds", "60");
    NewCollection { schema, properties, shards: 1, ..NewCollection::default() }
}

async fn a_collection_gets_its_fields_indexes_names_and_properties(engine: &dyn Engine, at: &Door) {
    let of = Target { at, database: "default", name: "books" };
    let older = Target { name: "books_v0", ..of };
    let index = EngineIndex {
        name: "v".to_owned(),
        field: "vector".to_owned(),
        params: [("index_type", "HNSW"), ("metric_type", "L2"), ("M", "8")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };

    for of in [of, older] {
        engine.create_collection(of, &books()).await.unwrap();
        engine.create_collection(of, &books()).await.unwrap();
    }
    let other = NewCollection { schema: EngineSchema::default(), ..books() };
    assert_eq!(code(engine.create_collection(of, &other).await), 1100);
    engine.create_index(of, &index).await.unwrap();
    let ttl = BTreeMap::from([("collection.ttl.seconds".to_owned(), "90".to_owned())]);
    engine.set_properties(of, &ttl).await.unwrap();
    engine.change_alias(older, "live", AliasChange::Create).await.unwrap();
    assert_eq!(code(engine.change_alias(of, "live", AliasChange::Create).await), 1602);
    engine.change_alias(of, "live", AliasChange::Move).await.unwrap();

    let by_alias = engine.collection(at, "default", "live").await.unwrap().unwrap();
    let expected = EngineCollection {
        id: by_alias.id,
        name: "books".to_owned(),
        schema: books().schema,
        indexes: vec![index],
        aliases: named(&["live"]),
        properties: ttl,
        ..EngineCollection::default()
    };
    assert_eq!(by_alias, expected);
    let leads = EngineAlias { collection: "books".to_owned(), loaded: false };
    assert_eq!(engine.alias(at, "default", "live").await.unwrap(), Some(leads));
    assert_eq!(engine.alias(at, "default", "none").await.unwrap(), None);
    let default = named(&[contract::names::DEFAULT_RESOURCE_GROUP]);
    engine.load(at, "default", "books", &default).await.unwrap();
    assert_eq!(code(engine.drop_index(of, "v").await), 1100);
    engine.release(at, "default", "books").await.unwrap();
    engine.drop_index(of, "v").await.unwrap();
    engine.drop_index(of, "v").await.unwrap();
    engine.delete_properties(of, &named(&["collection.ttl.seconds"])).await.unwrap();
    assert_eq!(code(engine.drop_collection(of).await), 1100);
    engine.change_alias(of, "live", AliasChange::Drop).await.unwrap();
    engine.drop_collection(of).await.unwrap();
    engine.drop_collection(of).await.unwrap();
    assert_eq!(engine.collection(at, "default", "books").await.unwrap(), None);
}

fn twin() -> Arc<MemoryEngine> {
    let twin = MemoryEngine::default();
    twin.add_collection("default", "rows");
    Arc::new(twin)
}

async fn all_claims(engine: &dyn Engine, at: &Door) {
    groups_are_made_changed_and_dropped_by_their_rules(engine, at).await;
    a_collection_is_loaded_moved_and_released(engine, at).await;
    a_collection_gets_its_fields_indexes_names_and_properties(engine, at).await;
}

#[tokio::test]
async fn the_twin_does_what_an_engine_does() {
    all_claims(twin().as_ref(), &nowhere()).await;
}

#[tokio::test]
async fn an_engine_over_the_wire_does_the_same() {
    served(twin(), async |at| all_claims(&NetEngine, &Door::plain(at)).await).await;
}

#[tokio::test]
async fn an_engine_that_is_away_is_named_with_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    drop(listener);

    let error = NetEngine.groups(&Door::plain(&at)).await.unwrap_err();

    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.line().starts_with(&format!("cannot list resource groups at {at}: ")), "{}", error.line());
    assert!(error.line().contains("refused"), "{}", error.line());
}

/// Runs `test` against the twin behind TLS, with a certificate for `engine.example` of `by`.
#[expect(clippy::disallowed_methods, reason = "the test's own server, stopped with it")]
async fn served_over_tls(by: &Credentials, test: impl AsyncFnOnce(String)) {
    let order = Order {
        owner: "db",
        serial: "2".repeat(20),
        key: new_key().unwrap(),
        now: Timestamp::now(),
        days: 1,
    };
    let own = certificate(by, &["engine.example".to_owned()], order).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(own.pem.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(own.key.pem().as_bytes()).unwrap(),
        );
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = futures::stream::unfold((listener, acceptor), async |(listener, acceptor)| {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let (mut near, far) = tokio::io::duplex(1 << 16);
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut near).await });
                break Some((Ok::<_, std::io::Error>(far), (listener, acceptor)));
            }
        }
    });
    let server = tonic::transport::Server::builder().add_service(MilvusServiceServer::new(Served(twin())));
    tokio::select! {
        ended = server.serve_with_incoming(incoming) => panic!("the server ended: {ended:?}"),
        () = test(address) => {}
    }
}

#[tokio::test]
async fn an_engine_over_tls_does_the_same_and_an_impostor_is_told_nothing() {
    let order = |owner| Order {
        owner,
        serial: "1".repeat(20),
        key: new_key().unwrap(),
        now: Timestamp::now(),
        days: 1,
    };
    let (ours, others) = (authority(order("ours")).unwrap(), authority(order("others")).unwrap());
    let door = |address: String, by: &Credentials, name: &str| Door {
        token: None,
        address,
        trust: Some(Trust { authorities: by.pem.clone(), name: name.to_owned(), identity: None }),
    };

    served_over_tls(&ours, async |at| {
        all_claims(&NetEngine, &door(at.clone(), &ours, "engine.example")).await;
        for wrong in [door(at.clone(), &others, "engine.example"), door(at.clone(), &ours, "another.example")]
        {
            let error = NetEngine.groups(&wrong).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(error.line().contains("no TLS with"), "{}", error.line());
        }
    })
    .await;
}
