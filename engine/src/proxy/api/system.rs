//! Calls about the server itself.

mod health;
mod metrics;
mod nodes;

use std::fmt::Display;
use std::time::Duration;

use contract::pb::common::ServerInfo;
use contract::pb::milvus::{
    AllocTimestampRequest, AllocTimestampResponse, CheckHealthRequest, CheckHealthResponse, ComponentStates,
    ConnectRequest, ConnectResponse, GetComponentStatesRequest, GetMetricsRequest, GetMetricsResponse,
    GetVersionRequest, GetVersionResponse,
};

use super::Caller;
use crate::proxy::convert::status::success;
use crate::proxy::{Error, Proxy, ProxySettings};
use crate::rpc::{LeadInfo, NodeStatus, Refusal};

/// How long the coordinator may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is said of the version of Go that built the server.
const NO_GO: &str = "none";

/// What the coordinator says of itself and of the nodes.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cluster {
    lead: LeadInfo,
    /// Ascending by id.
    nodes: Vec<NodeStatus>,
}

/// Why the coordinator did not say anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unheard(String);

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
        go_version: NO_GO.to_owned(),
        deploy_mode: settings.deploy_mode().to_owned(),
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

/// Whether the database can do what is asked of it. Answers soon, whoever does not.
pub async fn check_health(
    proxy: &Proxy,
    caller: Caller,
    _: CheckHealthRequest,
) -> Result<CheckHealthResponse, Error> {
    // Asked often, and so for what the leader has at hand, not for everything that each node holds.
    let view = proxy.soon(proxy.visible(caller.login.as_ref()));
    let (view, lead) = tokio::join!(view, proxy.soon(proxy.coord().lead()));
    // Of whom it is not known what they may see nothing is shown by name.
    let shows =
        |database: &str, name: Option<&str>| view.as_ref().is_ok_and(|view| view.shows(database, name));
    let mut reasons = health::ailments(&lead, |database, name| shows(database, Some(name)));
    let is_healthy = reasons.is_empty();
    let (states, denied) = health::quotas(&proxy.limits().denied(), |database| shows(database, None));
    reasons.extend(denied);
    Ok(CheckHealthResponse {
        status: Some(success()),
        is_healthy,
        reasons,
        quota_states: states.into_iter().map(i32::from).collect(),
    })
}

/// The states of this component and of all others that are known.
pub async fn component_states(
    proxy: &Proxy,
    _: Caller,
    _: GetComponentStatesRequest,
) -> Result<ComponentStates, Error> {
    let (own, cluster) = (proxy.node(), proxy.cluster().await);
    let all = nodes::components(own, &cluster);
    let shown: Vec<_> = all.iter().map(|one| nodes::shown(one, own.id, &cluster)).collect();
    // A proxy's own first component is the proxy.
    Ok(ComponentStates { state: shown.first().cloned(), subcomponent_states: shown, status: Some(success()) })
}

/// What the nodes are and how they do.
pub async fn metrics(
    proxy: &Proxy,
    _: Caller,
    request: GetMetricsRequest,
) -> Result<GetMetricsResponse, Error> {
    metrics::check(&request.request)?;
    let cluster = proxy.cluster().await;
    let picture = metrics::Picture {
        own: proxy.node(),
        usage: proxy.usage().map(|usage| usage()),
        cluster: &cluster,
        settings: proxy.settings(),
        now: proxy.now(),
    };
    Ok(GetMetricsResponse {
        status: Some(success()),
        response: picture.draw().to_string(),
        component_name: format!("proxy{}", proxy.node().id),
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

impl Unheard {
    fn late() -> Self {
        Self(format!("it did not answer in {} s", PATIENCE.as_secs()))
    }
}

impl ProxySettings {
    /// Milvus's word for how the database runs.
    const fn deploy_mode(&self) -> &'static str {
        if self.is_alone { "STANDALONE" } else { "DISTRIBUTED" }
    }
}

impl Proxy {
    /// The cluster's time, as this node has it: good enough to show, not to order by.
    pub(super) fn now(&self) -> crate::base::Timestamp {
        self.time().now()
    }

    /// What the coordinator says of itself and of the nodes, or why it says nothing. Ends soon in any case.
    async fn cluster(&self) -> Result<Cluster, Unheard> {
        let asked = async { tokio::try_join!(self.coord().lead(), self.coord().nodes()) };
        let (lead, nodes) = self.soon(asked).await?;
        Ok(Cluster { lead, nodes })
    }

    /// What the coordinator answers, or why it does not. Ends soon in any case.
    async fn soon<T, E: Display>(&self, asked: impl Future<Output = Result<T, E>>) -> Result<T, Unheard> {
        tokio::select! {
            answer = asked => answer.map_err(|error| Unheard(error.to_string())),
            () = self.clock().sleep(PATIENCE) => Err(Unheard::late()),
        }
    }
}
