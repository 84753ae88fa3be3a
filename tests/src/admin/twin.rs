//! A cluster in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::admin as pb;
use pb::admin_server::Admin;
use tonic::{Request, Response, Status};

/// The resource group that always exists.
const DEFAULT_GROUP: &str = "__default_resource_group";
/// The only format that a twin knows.
const FORMAT: u32 = 1;

/// A cluster whose nodes are what a test says they are. Cloning shares it.
#[derive(Clone)]
pub struct Twin {
    state: Arc<Mutex<State>>,
}

struct State {
    nodes: Vec<pb::DrainProgress>,
    groups: BTreeMap<String, pb::ResourceGroupConfig>,
    loads: BTreeMap<i64, pb::NodeLoad>,
    leader: pb::Leader,
    /// Whether another coordinator stands by.
    stands_by: bool,
    /// How many looks at a drain find nobody who leads.
    away: u64,
}

type Answer<T> = Result<Response<T>, Status>;

impl Twin {
    /// A cluster with one query node for each of `addresses`, numbered from 1 on, and no coordinator that stands by.
    #[must_use]
    pub fn new(addresses: &[&str]) -> Self {
        let node = |(address, id): (&&str, i64)| pb::DrainProgress {
            node: Some(pb::Node {
                id,
                role: "querynode".to_owned(),
                address: (*address).to_owned(),
                host: address.split(':').next().unwrap_or_default().to_owned(),
                resource_group: DEFAULT_GROUP.to_owned(),
                state: pb::NodeState::Ready.into(),
                newest_format: FORMAT,
                ..pb::Node::default()
            }),
            ..pb::DrainProgress::default()
        };
        let leader = pb::Leader {
            address: "coordinator:19529".to_owned(),
            epoch: 1,
            settled: true,
            version: "0.0.0".to_owned(),
        };
        let state = State {
            nodes: addresses.iter().zip(1..).map(node).collect(),
            groups: BTreeMap::new(),
            loads: BTreeMap::new(),
            leader,
            stands_by: false,
            away: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Gives a node things to hand over; each look at a drain takes one of each away.
    pub fn burden(&self, node: i64, channels: u64, segments: u64) {
        let mut state = self.state();
        if let Some(known) = state.nodes.iter_mut().find(|known| id_of(known) == node) {
            (known.channels, known.segments) = (channels, segments);
        }
    }

    /// Lets so many looks at a drain find nobody who leads.
    pub fn be_away(&self, looks: u64) {
        self.state().away = looks;
    }

    /// Says how busy a node is.
    pub fn report(&self, load: pb::NodeLoad) {
        self.state().loads.insert(load.node, load);
    }

    /// Lets another coordinator stand by.
    pub fn stand_by(&self) {
        self.state().stands_by = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id_of(progress: &pb::DrainProgress) -> i64 {
    progress.node.as_ref().map_or(0, |node| node.id)
}

impl State {
    fn find(&mut self, named: &str) -> Result<&mut pb::DrainProgress, Status> {
        let is_meant = |known: &&mut pb::DrainProgress| {
            known.node.as_ref().is_some_and(|node| {
                node.id.to_string() == named || node.address == named || node.host == named
            })
        };
        let found = self.nodes.iter_mut().find(is_meant);
        found.ok_or_else(|| Status::invalid_argument(format!("there is no node {named}")))
    }

    fn drain(&mut self, named: &str, state: pb::NodeState) -> Result<pb::DrainProgress, Status> {
        let known = self.find(named)?;
        if let Some(node) = &mut known.node {
            node.state = state.into();
        }
        known.done =
            state == pb::NodeState::Draining && known.channels + known.segments + known.followed == 0;
        Ok(known.clone())
    }
}

#[tonic::async_trait]
impl Admin for Twin {
    async fn get_process(&self, _: Request<pb::GetProcessRequest>) -> Answer<pb::GetProcessResponse> {
        let address = self.state().leader.address.clone();
        Ok(Response::new(pb::GetProcessResponse {
            role: "mixcoord".to_owned(),
            address,
            ready: true,
            health: "OK".to_owned(),
            leads: true,
            newest_format: FORMAT,
            ..pb::GetProcessResponse::default()
        }))
    }

    async fn list_settings(&self, _: Request<pb::ListSettingsRequest>) -> Answer<pb::ListSettingsResponse> {
        let setting = |key: &contract::settings::Key| pb::Setting {
            key: key.name.to_owned(),
            components: contract::settings::components(key.name)
                .iter()
                .map(|role| role.name().to_owned())
                .collect(),
            meaning: key.meaning.to_owned(),
            ..pb::Setting::default()
        };
        let settings = contract::settings::KEYS.iter().map(setting).collect();
        Ok(Response::new(pb::ListSettingsResponse { settings }))
    }

    async fn get_cluster(&self, _: Request<pb::GetClusterRequest>) -> Answer<pb::GetClusterResponse> {
        Ok(Response::new(pb::GetClusterResponse {
            leader: Some(self.state().leader.clone()),
            format: FORMAT,
            newest_format: FORMAT,
            cluster: "twin".to_owned(),
            jobs: Some(pb::Jobs::default()),
        }))
    }

    async fn list_nodes(&self, _: Request<pb::ListNodesRequest>) -> Answer<pb::ListNodesResponse> {
        let state = self.state();
        let nodes = state.nodes.iter().filter_map(|known| known.node.clone()).collect();
        Ok(Response::new(pb::ListNodesResponse { nodes, leader: Some(state.leader.clone()) }))
    }

    async fn resign(&self, _: Request<pb::ResignRequest>) -> Answer<pb::ResignResponse> {
        let mut state = self.state();
        if !state.stands_by {
            return Err(Status::failed_precondition("no other process can take over the lead"));
        }
        let was = state.leader.clone();
        state.leader.epoch += 1;
        Ok(Response::new(pb::ResignResponse { was: Some(was) }))
    }

    async fn start_drain(&self, request: Request<pb::StartDrainRequest>) -> Answer<pb::StartDrainResponse> {
        let progress = self.state().drain(&request.into_inner().node, pb::NodeState::Draining)?;
        Ok(Response::new(pb::StartDrainResponse { progress: Some(progress) }))
    }

    async fn stop_drain(&self, request: Request<pb::StopDrainRequest>) -> Answer<pb::StopDrainResponse> {
        let progress = self.state().drain(&request.into_inner().node, pb::NodeState::Ready)?;
        Ok(Response::new(pb::StopDrainResponse { progress: Some(progress) }))
    }

    async fn get_drain(&self, request: Request<pb::GetDrainRequest>) -> Answer<pb::GetDrainResponse> {
        let mut state = self.state();
        if state.away > 0 {
            state.away -= 1;
            return Err(Status::unavailable("nobody leads"));
        }
        let named = request.into_inner().node;
        let known = state.find(&named)?;
        let draining = known.node.as_ref().is_some_and(|node| node.state() == pb::NodeState::Draining);
        if draining {
            known.channels = known.channels.saturating_sub(1);
            known.segments = known.segments.saturating_sub(1);
            known.done = known.channels + known.segments + known.followed == 0;
        }
        Ok(Response::new(pb::GetDrainResponse { progress: Some(known.clone()) }))
    }

    async fn list_loads(&self, _: Request<pb::ListLoadsRequest>) -> Answer<pb::ListLoadsResponse> {
        let state = self.state();
        let load = |known: &pb::DrainProgress| {
            let reported = state.loads.get(&id_of(known)).cloned();
            reported.unwrap_or_else(|| pb::NodeLoad { node: id_of(known), ..pb::NodeLoad::default() })
        };
        Ok(Response::new(pb::ListLoadsResponse { loads: state.nodes.iter().map(load).collect() }))
    }

    async fn list_collections(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Answer<pb::ListCollectionsResponse> {
        match request.into_inner().filter {
            Some(filter) if !filter.collection.is_empty() => {
                Err(Status::not_found(format!("collection not found[collection={}]", filter.collection)))
            }
            _ => Ok(Response::new(pb::ListCollectionsResponse::default())),
        }
    }

    async fn list_resource_groups(
        &self,
        _: Request<pb::ListResourceGroupsRequest>,
    ) -> Answer<pb::ListResourceGroupsResponse> {
        let state = self.state();
        let group = |name: &str, config: pb::ResourceGroupConfig| pb::ResourceGroup {
            name: name.to_owned(),
            config: Some(config),
            nodes: state
                .nodes
                .iter()
                .filter_map(|known| known.node.as_ref())
                .filter(|node| node.resource_group == name)
                .map(|node| node.id)
                .collect(),
            replicas: 0,
        };
        let default =
            group(DEFAULT_GROUP, pb::ResourceGroupConfig { limits: 1_000_000, ..Default::default() });
        let others = state.groups.iter().map(|(name, config)| group(name, config.clone()));
        let groups = std::iter::once(default).chain(others).collect();
        Ok(Response::new(pb::ListResourceGroupsResponse { groups }))
    }

    async fn create_resource_group(
        &self,
        request: Request<pb::CreateResourceGroupRequest>,
    ) -> Answer<pb::CreateResourceGroupResponse> {
        let pb::CreateResourceGroupRequest { name, config } = request.into_inner();
        if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(Status::invalid_argument(format!("{name} is no name of a resource group")));
        }
        let config = config.unwrap_or_default();
        let mut state = self.state();
        match state.groups.get(&name) {
            Some(known) if *known != config => {
                Err(Status::already_exists(format!("resource group {name} is another one")))
            }
            _ => {
                state.groups.insert(name, config);
                Ok(Response::new(pb::CreateResourceGroupResponse {}))
            }
        }
    }

    async fn update_resource_groups(
        &self,
        request: Request<pb::UpdateResourceGroupsRequest>,
    ) -> Answer<pb::UpdateResourceGroupsResponse> {
        let configs = request.into_inner().configs;
        let mut state = self.state();
        if let Some(unknown) = configs.keys().find(|name| !state.groups.contains_key(*name)) {
            return Err(Status::not_found(format!("resource group not found[rg={unknown}]")));
        }
        state.groups.extend(configs);
        Ok(Response::new(pb::UpdateResourceGroupsResponse {}))
    }

    async fn drop_resource_group(
        &self,
        request: Request<pb::DropResourceGroupRequest>,
    ) -> Answer<pb::DropResourceGroupResponse> {
        self.state().groups.remove(&request.into_inner().name);
        Ok(Response::new(pb::DropResourceGroupResponse {}))
    }

    async fn finalize(&self, request: Request<pb::FinalizeRequest>) -> Answer<pb::FinalizeResponse> {
        if request.into_inner().format > FORMAT {
            return Err(Status::failed_precondition("the leader does not write that"));
        }
        Ok(Response::new(pb::FinalizeResponse { from: FORMAT, to: FORMAT }))
    }
}
