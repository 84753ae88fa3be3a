//! Calls about the server itself.

use contract::pb::common::{ServerInfo, StateCode};
use contract::pb::milvus::{
    AllocTimestampRequest, AllocTimestampResponse, CheckHealthRequest, CheckHealthResponse, ComponentInfo,
    ComponentStates, ConnectRequest, ConnectResponse, GetComponentStatesRequest, GetVersionRequest,
    GetVersionResponse,
};

use super::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy};
use crate::rpc::Refusal;

/// Greets a client. Its database must exist.
pub async fn connect(proxy: &Proxy, caller: Caller, _: ConnectRequest) -> Result<ConnectResponse, Error> {
    let wanted = caller.database("");
    if wanted != super::DEFAULT_DATABASE
        && !proxy.coord().databases().await?.iter().any(|known| known.name == wanted)
    {
        return Err(Refusal::DatabaseNotFound { database: wanted }.into());
    }
    let settings = proxy.settings();
    let server_info = ServerInfo {
        build_tags: settings.version.clone(),
        build_time: settings.built_at.clone(),
        git_commit: settings.commit.clone(),
        go_version: "none".to_owned(),
        deploy_mode: "STANDALONE".to_owned(),
        ..Default::default()
    };
    // Clients send the number back with every call; zero would make some of them believe in a much older server.
    let identifier = i64::try_from(proxy.now().0).unwrap_or(1).max(1);
    Ok(ConnectResponse { status: Some(success()), server_info: Some(server_info), identifier })
}

/// The version that clients switch features by.
pub async fn version(proxy: &Proxy, _: Caller, _: GetVersionRequest) -> Result<GetVersionResponse, Error> {
    Ok(GetVersionResponse { status: Some(success()), version: proxy.settings().version.clone() })
}

/// Whether the server can work: a proxy that answers can.
pub async fn check_health(_: &Proxy, _: Caller, _: CheckHealthRequest) -> Result<CheckHealthResponse, Error> {
    Ok(CheckHealthResponse { status: Some(success()), is_healthy: true, ..Default::default() })
}

/// The state of this component.
pub async fn component_states(
    _: &Proxy,
    _: Caller,
    _: GetComponentStatesRequest,
) -> Result<ComponentStates, Error> {
    let proxy = ComponentInfo {
        node_id: 1,
        role: "proxy".to_owned(),
        state_code: StateCode::Healthy.into(),
        extra_info: Vec::new(),
    };
    Ok(ComponentStates {
        state: Some(proxy.clone()),
        subcomponent_states: vec![proxy],
        status: Some(success()),
    })
}

/// A timestamp later than every one handed out before.
pub async fn timestamp(
    proxy: &Proxy,
    _: Caller,
    _: AllocTimestampRequest,
) -> Result<AllocTimestampResponse, Error> {
    let timestamp = proxy.coord().allocate_timestamps(1).await?;
    Ok(AllocTimestampResponse { status: Some(success()), timestamp: timestamp.0 })
}

impl Proxy {
    /// The cluster's time, as this node has it: good enough to show, not to order by.
    pub(super) fn now(&self) -> crate::base::Timestamp {
        self.time().now()
    }
}
