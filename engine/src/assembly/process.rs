//! One process: a node with the ports for clients, for other nodes and for operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::role::Role;
use contract::settings::Settings;
use tokio::net::TcpListener;
use tracing::info;

use crate::agent::Agent;
use crate::assembly::meter::ProxyMeter;
use crate::assembly::reread::Sources;
use crate::assembly::{Error, Node, machine, open_seams, operations, wire};
use crate::base::{Clock, Rng, TaskSet};
use crate::obs::{Health, Metrics, TraceFormat, TraceSettings};
use crate::proxy::{self, ProxyParts, ProxySettings};

/// Where a role of a cluster listens for other nodes unless it is told otherwise.
const INTERNAL_LISTEN: &str = "0.0.0.0:19529";

/// What a process runs in.
#[derive(Clone)]
pub struct Surroundings {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Where everything runs.
    pub tasks: TaskSet,
    /// What `/healthz` says.
    pub health: Health,
    /// What `/metrics` says.
    pub metrics: Arc<Metrics>,
    /// What the settings are by now.
    pub sources: Sources,
}

/// A process that serves.
pub struct Running {
    role: Role,
    agent: Option<Arc<Agent>>,
    health: Health,
    patience: Duration,
}

impl Running {
    /// Hands over what the node has to other nodes, where its role can; to be called before the tasks are stopped. Ends
    /// when nothing is left, or once nothing has been taken over for the time of `queryNode.gracefulStopTimeout`.
    pub async fn hand_over(&self) {
        let Some(agent) = self.agent.as_ref().filter(|_| self.role != Role::Standalone) else { return };
        self.health.failing(self.role.name(), "draining");
        agent.drain();
        let left = agent.drained(self.patience).await;
        info!(left, "handed over");
    }
}

/// Starts a process in the role; it serves once this returns.
///
/// # Errors
/// Whatever keeps it from starting, with the name of the setting, file or address.
pub async fn run(role: Role, settings: &Settings, around: Surroundings) -> Result<Running, Error> {
    let seams_around = around.clone();
    let Surroundings { clock, tasks, health, metrics, .. } = around;
    let name = role.name();
    health.failing(name, "starting");
    // The operators' port answers first, so that a slow start can be watched.
    let operators = listen(&settings.redkite.metrics_listen).await?;
    tasks.start("serve operators", |stop| {
        operations::serve_operations(operators, health.clone(), Arc::clone(&metrics), stop)
    });
    let clients = match role {
        Role::Proxy | Role::Standalone => Some(listen(&settings.proxy.listen).await?),
        _ => None,
    };
    let internal = match (settings.redkite.internal_listen.as_str(), role) {
        ("", Role::Standalone) => None,
        ("", _) => Some(listen(INTERNAL_LISTEN).await?),
        (address, _) => Some(listen(address).await?),
    };
    let address = own_address(settings, internal.as_ref())?;
    let seams = open_seams(role, settings, &seams_around).await?;
    let calls = wire::open(role, settings, &seams, address, internal, &tasks).await?;
    let node = Node::start(role, seams, calls, settings, &tasks).await?;
    if let (Some(listener), Some(door)) = (clients, node.door.clone()) {
        let parts = ProxyParts {
            coord: door.coord,
            writer: door.writer,
            reader: door.reader,
            clock: Arc::clone(&clock),
            time: door.time,
            meter: Some(Arc::new(ProxyMeter(Arc::clone(&metrics)))),
            settings: ProxySettings {
                version: settings.redkite.reported_version.clone(),
                ..ProxySettings::default()
            },
        };
        let acceptor = wire::client_tls(settings, &clock).await?;
        tasks.start("serve clients", |stop| async move {
            Ok(proxy::serve(listener, parts, acceptor, stop).await?)
        });
    }
    let gauges = operations::Gauges {
        metrics,
        coord: node.candidacy.clone(),
        querier: node.querier.clone(),
        clock: Arc::clone(&clock),
    };
    tasks.start("measure", |stop| operations::measure(gauges, stop));
    report_health(&node, name, &health, &tasks);
    let running = Running {
        role,
        agent: node.agent.clone(),
        health,
        patience: Duration::from_secs(settings.query_node.graceful_stop_timeout),
    };
    // The node, and with it the lock of the data directory, lives as long as the process's tasks do.
    tasks.start("hold the data directory", |stop| async move {
        stop.cancelled().await;
        drop(node);
        Ok(())
    });
    let (clients, operators) = (&settings.proxy.listen, &settings.redkite.metrics_listen);
    info!(role = name, %clients, %operators, data = settings.local_storage.path, "process serves");
    Ok(running)
}

/// A node is well once it has joined, and stays so while the coordinator is away; a coordinator is well also while it
/// stands by.
fn report_health(node: &Node, name: &'static str, health: &Health, tasks: &TaskSet) {
    let Some(agent) = &node.agent else {
        health.ok(name);
        return;
    };
    let (mut standing, health) = (agent.standing(), health.clone());
    health.failing(name, "waiting for the coordinator");
    tasks.start("report health", |stop| async move {
        tokio::select! {
            () = stop.cancelled() => {}
            joined = standing.wait_for(|standing| standing.joined) => {
                if joined.is_ok() {
                    health.ok(name);
                }
            }
        }
        Ok(())
    });
}

/// Where other nodes call this one.
fn own_address(settings: &Settings, internal: Option<&TcpListener>) -> Result<String, Error> {
    if !settings.redkite.advertise.is_empty() {
        return Ok(settings.redkite.advertise.clone());
    }
    let Some(listener) = internal else { return Ok("local".to_owned()) };
    let unknown = |source| Error::Listen { address: settings.redkite.internal_listen.clone(), source };
    let bound: SocketAddr = listener.local_addr().map_err(unknown)?;
    let own = if bound.ip().is_unspecified() { machine::own_ip() } else { None };
    Ok(SocketAddr::new(own.unwrap_or_else(|| bound.ip()), bound.port()).to_string())
}

async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_owned(), source })
}

/// How log lines are to look.
#[must_use]
pub fn trace_settings(settings: &Settings) -> TraceSettings {
    let format = if settings.log.format == "json" { TraceFormat::Json } else { TraceFormat::Text };
    // Milvus knows levels above `error`, which mean as little output as there is.
    let filter = match settings.log.level.to_ascii_lowercase().as_str() {
        "fatal" | "panic" => "error".to_owned(),
        level => level.to_owned(),
    };
    TraceSettings { format, filter }
}
