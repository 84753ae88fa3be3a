//! One process: a node with the ports for clients, for other nodes and for operators.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use contract::role::Role;
use contract::settings::{LogFile, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, AdminParts, Marking, Standing};
use crate::agent::Agent;
use crate::assembly::altered::Altered;
use crate::assembly::identity::mark_finalized;
use crate::assembly::leave::Leave;
use crate::assembly::lookout::Lookout;
use crate::assembly::management::Management;
use crate::assembly::meter::{ProxyMeter, measured, measured_reader};
use crate::assembly::reread::Sources;
use crate::assembly::usage::Taken;
use crate::assembly::{
    Door, Error, Node, NodeCalls, NodeSeams, Publish, machine, open_seams, operations, wire,
};
use crate::base::{Clock, NodeId, Rng, TaskSet, chain};
use crate::blob::Blobs;
use crate::inference::Models;
use crate::obs::{Compat, Health, Lines, LogFileSettings, Metrics, TraceFormat, TraceSettings};
use crate::proxy::{self, Gate, ProxyParts, ProxySettings, StoreSeen};
use crate::rpc::Served;
use crate::secure::Acceptor;

/// Where a role of a cluster listens for other nodes unless it is told otherwise.
const INTERNAL_LISTEN: &str = "0.0.0.0:19529";

/// Where a standalone listens for its operator unless it is told otherwise and can tell who that is.
const ADMIN_LISTEN: &str = "127.0.0.1:19529";
/// What `/healthz` says while a node hands over what it has.
const DRAINING: &str = "draining";

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
    /// What `/metrics` says. It is told the node's number once there is one.
    pub metrics: Arc<Metrics>,
    /// What the settings are by now.
    pub sources: Sources,
    /// The log lines.
    pub lines: Lines,
}

/// A process that serves.
pub struct Running {
    role: Role,
    /// Where it listens for clients, if it does.
    pub clients: Option<SocketAddr>,
    /// Where it listens for other nodes and for the admin API, if it does.
    pub inside: Option<SocketAddr>,
    /// Cancelled once an administrator asks it to stop, as SIGTERM does. The caller sees to that.
    pub asked_to_stop: CancellationToken,
    agent: Option<Arc<Agent>>,
    health: Health,
    patience: Duration,
    leave: Option<Leave>,
    door: Option<ClientDoor>,
}

/// The port of clients, which can be closed before everything else is.
#[derive(Clone, Default)]
struct ClientDoor {
    /// Nobody is let in any more; what was asked is answered.
    closing: CancellationToken,
    /// Everything that was asked has been answered.
    closed: CancellationToken,
}

impl ClientDoor {
    async fn serve(
        self,
        listener: TcpListener,
        parts: ProxyParts,
        acceptor: Option<Arc<Acceptor>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut served = std::pin::pin!(proxy::serve(listener, parts, acceptor, self.closing.clone()));
        let outcome = tokio::select! {
            biased;
            outcome = &mut served => outcome,
            () = stop.cancelled() => {
                self.closing.cancel();
                served.await
            }
        };
        self.closed.cancel();
        Ok(outcome?)
    }

    /// Returns once everything that was asked has been answered.
    async fn close(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }
}

impl Running {
    /// Hands over what the node has to other nodes, where its role can; to be called before the tasks are stopped. Ends
    /// when nothing is left, or once nothing has been taken over for the time of `queryNode.gracefulStopTimeout`.
    pub async fn hand_over(&self) {
        if self.role == Role::Standalone {
            self.health.failing(self.role.name(), "stopping");
            self.leave().await;
            return;
        }
        let Some(agent) = &self.agent else { return };
        self.health.failing(self.role.name(), DRAINING);
        agent.drain();
        let left = agent.drained(self.patience).await;
        info!(left, "handed over");
    }

    /// Of a standalone: what clients have asked for is done while everything is there that does it.
    async fn leave(&self) {
        let Some(leave) = &self.leave else { return self.close_door().await };
        match leave.seal(self.close_door()).await {
            Ok(()) => info!("everything is sealed: a cluster may begin on this bucket"),
            Err(error) => warn!(%error, "not everything is sealed: only this data directory has it all"),
        }
    }

    async fn close_door(&self) {
        if let Some(door) = &self.door {
            door.close().await;
        }
    }
}

/// Starts a process in the role; it serves once this returns.
///
/// # Errors
/// Whatever keeps it from starting, with the name of the setting, file or address.
pub async fn run(role: Role, settings: &Settings, around: Surroundings) -> Result<Running, Error> {
    let altered = Altered::new(settings.clone(), Arc::clone(&around.sources), around.lines.clone());
    let seams_around = Surroundings { sources: altered.sources(), ..around.clone() };
    let name = role.name();
    around.health.failing(name, "starting");
    // The operators' port answers first, so that a slow start can be watched.
    let operators = Operators::serve(role, settings, altered, &around).await?;
    let Surroundings { clock, tasks, health, metrics, .. } = around;
    let clients = match role {
        Role::Proxy | Role::Standalone => Some(listen(&settings.proxy.listen).await?),
        _ => None,
    };
    let internal = listen_inside(role, settings).await?;
    let bound = |listener: &Option<TcpListener>| listener.as_ref().and_then(|one| one.local_addr().ok());
    let (clients_at, inside_at) = (bound(&clients), bound(&internal));
    let address = own_address(settings, internal.as_ref())?;
    let taken = Taken::new();
    let seams = open_seams(role, settings, &seams_around).await?;
    let seams = NodeSeams { usage: Some(taken.measured()), ..seams };
    let calls = wire::open(role, settings, &seams, address, internal, &tasks).await?;
    let about = Arc::new(About {
        role,
        health: health.clone(),
        metrics: Arc::clone(&metrics),
        agent: OnceLock::new(),
    });
    let public = Public {
        settings: settings.clone(),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        models: wire::model_calls(settings, &clock)?,
        store: look_out(settings, &seams, &health, &tasks),
    };
    let calls = administered(calls, &seams, &public, &about);
    let node = Node::start(role, seams, calls, settings, &tasks).await?;
    about.know(&node);
    metrics.number(node.id);
    operators.know(&node, settings, &clock);
    let mut client_door = None;
    if let (Some(listener), Some(door)) = (clients, node.door.clone()) {
        let parts = public.parts(&door);
        let acceptor = wire::client_tls(settings, &clock).await?;
        let door = ClientDoor::default();
        client_door = Some(door.clone());
        tasks.start("serve clients", |stop| door.serve(listener, parts, acceptor, stop));
    }
    measure(&node, taken, settings, (&metrics, &clock), &tasks);
    report_health(&node, name, &health, &tasks);
    let running = Running {
        role,
        clients: clients_at,
        inside: inside_at,
        asked_to_stop: operators.asked_to_stop,
        agent: node.agent.clone(),
        health,
        patience: Duration::from_secs(settings.query_node.graceful_stop_timeout),
        leave: Leave::of(role, settings, &node),
        door: client_door,
    };
    // The lock of the data directory outlives the node: the catalog and the log hold it until they are closed.
    tasks.start("hold the node", |stop| async move {
        stop.cancelled().await;
        drop(node);
        Ok(())
    });
    let (clients, operators) = (&settings.proxy.listen, &settings.redkite.metrics_listen);
    info!(role = name, %clients, %operators, data = settings.local_storage.path, "process serves");
    Ok(running)
}

/// The port of operators, which answers before there is a node.
struct Operators {
    keeper: Arc<operations::Keeper>,
    management: Arc<Management>,
    asked_to_stop: CancellationToken,
}

impl Operators {
    async fn serve(
        role: Role,
        settings: &Settings,
        altered: Altered,
        around: &Surroundings,
    ) -> Result<Self, Error> {
        let listener = listen(&settings.redkite.metrics_listen).await?;
        let client_port = settings.proxy.listen.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let keeper = Arc::new(operations::Keeper {
            checks_users: wire::access(settings).enabled,
            tokens: wire::tokens_of_operators(settings, &around.clock).await,
            gate: OnceLock::new(),
        });
        let asked_to_stop = CancellationToken::new();
        let management = Arc::new(Management {
            role,
            health: around.health.clone(),
            settings: altered,
            coord: OnceLock::new(),
            stop: asked_to_stop.clone(),
        });
        let operated = operations::Operated {
            role,
            health: around.health.clone(),
            metrics: Arc::clone(&around.metrics),
            client_port: client_port.unwrap_or(contract::names::API_PORT),
            lines: around.lines.clone(),
            keeper: Arc::clone(&keeper),
            management: Arc::clone(&management),
        };
        around.tasks.start("serve operators", |stop| operations::serve_operations(listener, operated, stop));
        Ok(Self { keeper, management, asked_to_stop })
    }

    /// From here on users are known, and whoever leads.
    fn know(&self, node: &Node, settings: &Settings, clock: &Arc<dyn Clock>) {
        let gate = Gate::new(Arc::clone(&node.coord), wire::access(settings), Arc::clone(clock));
        // Nobody else sets it.
        let _ = self.keeper.gate.set(gate);
        let _ = self.management.coord.set(Arc::clone(&node.coord));
    }
}

/// Measures from here on what the node holds and what the process takes of its machine.
fn measure(
    node: &Node,
    taken: Arc<Taken>,
    settings: &Settings,
    (metrics, clock): (&Arc<Metrics>, &Arc<dyn Clock>),
    tasks: &TaskSet,
) {
    let machine = operations::Machine {
        metrics: Arc::clone(metrics),
        folder: PathBuf::from(&settings.local_storage.path),
        taken,
        clock: Arc::clone(clock),
    };
    tasks.start("measure the machine", |stop| operations::measure_machine(machine, stop));
    let gauges = operations::Gauges {
        metrics: Arc::clone(metrics),
        coord: node.candidacy.clone(),
        querier: node.querier.clone(),
        memory: node.memory.clone(),
        clock: Arc::clone(clock),
    };
    tasks.start("measure", |stop| operations::measure(gauges, stop));
}

/// What Milvus's API is made of, at each port that carries it.
#[derive(Clone)]
struct Public {
    settings: Settings,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    models: Arc<Models>,
    store: Option<StoreSeen>,
}

impl Public {
    fn parts(&self, door: &Door) -> ProxyParts {
        ProxyParts {
            coord: Arc::clone(&door.coord),
            writer: Arc::clone(&door.writer),
            reader: measured_reader(Arc::clone(&door.reader), &self.metrics, &self.clock),
            clock: Arc::clone(&self.clock),
            time: Arc::clone(&door.time),
            meter: Some(Arc::new(ProxyMeter::new(Arc::clone(&self.metrics)))),
            access: wire::access(&self.settings),
            settings: ProxySettings {
                slow_query: slow_query(&self.settings),
                is_alone: door.node.role == Role::Standalone.name(),
                ..wire::proxy(&self.settings)
            },
            limits: wire::limits(&self.settings),
            models: Arc::clone(&self.models),
            node: door.node.clone(),
            usage: door.usage.clone(),
            store: self.store.clone(),
        }
    }
}

/// Looks from here on whether the object store answers; a store in a directory is not looked at.
fn look_out(settings: &Settings, seams: &NodeSeams, health: &Health, tasks: &TaskSet) -> Option<StoreSeen> {
    if !settings.stores_remotely() {
        return None;
    }
    let lookout = Lookout::new(Arc::clone(&seams.blobs), Arc::clone(&seams.clock), health.clone());
    let seen = lookout.seen();
    tasks.start("look at the object store", |stop| lookout.run(stop));
    Some(seen)
}

/// What the admin API says of this process.
struct About {
    role: Role,
    health: Health,
    metrics: Arc<Metrics>,
    /// Known once the node is numbered.
    agent: OnceLock<Arc<Agent>>,
}

impl About {
    fn know(&self, node: &Node) {
        if let Some(agent) = &node.agent {
            // Nobody else sets it.
            let _ = self.agent.set(Arc::clone(agent));
        }
    }

    fn standing(&self) -> Standing {
        let (ready, health) = self.health.report();
        let node = self.agent.get().map_or(NodeId(0), |agent| agent.node());
        let draining = self.agent.get().is_some_and(|agent| agent.drains());
        let calls = self.metrics.proxy_ended_total.with([]).count();
        let failed_calls = self.metrics.proxy_failed_total.with([]).count();
        Standing { node, ready, health, draining, calls, failed_calls }
    }
}

/// Makes the admin API, and Milvus's own for administrators, reachable together with the duties.
fn administered(calls: NodeCalls, seams: &NodeSeams, public: &Public, about: &Arc<About>) -> NodeCalls {
    let NodeCalls { address, dial, coord, publish } = calls;
    let (own_address, own_coord, about) = (address.clone(), coord.clone(), Arc::clone(about));
    let (blobs, logs) = (Arc::clone(&seams.blobs), Arc::clone(&seams.logs));
    let (table, public) = (admin::table(&public.settings), public.clone());
    // Where this port tells nobody apart, it is no way around the passwords that clients are asked for.
    let opens = wire::knows_callers(&public.settings) || !wire::access(&public.settings).enabled;
    let publish: Publish = Box::new(move |served: Served, door: Option<&Door>| {
        let mut served = measured(served, &public.metrics, &public.clock);
        let candidate = served.coord.clone();
        if let Some(coord) = own_coord.or_else(|| candidate.clone()) {
            let own = admin::routes(AdminParts {
                coord,
                candidate,
                mark: marking(&blobs),
                blobs,
                logs,
                role: about.role.name(),
                address: own_address,
                host: machine::host(),
                standing: Box::new(move || about.standing()),
                settings: table,
            });
            served.admin = Some(match door {
                Some(door) if opens => own.merge(proxy::administrators(public.parts(door))),
                _ => own,
            });
        }
        publish(served, door);
    });
    NodeCalls { address, dial, coord, publish }
}

/// Says in the store to which format its cluster was finalized.
fn marking(blobs: &Arc<dyn Blobs>) -> Box<dyn Fn(String, u32) -> Marking + Send + Sync> {
    let blobs = Arc::clone(blobs);
    Box::new(move |cluster, format| {
        let blobs = Arc::clone(&blobs);
        Box::pin(async move { mark_finalized(blobs.as_ref(), &cluster, format).await })
    })
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

/// The port for other nodes and for the admin API.
async fn listen_inside(role: Role, settings: &Settings) -> Result<Option<TcpListener>, Error> {
    let asked = settings.redkite.internal_listen.as_str();
    if !asked.is_empty() {
        return listen(asked).await.map(Some);
    }
    if role != Role::Standalone {
        return listen(INTERNAL_LISTEN).await.map(Some);
    }
    let address = if wire::knows_callers(settings) { INTERNAL_LISTEN } else { ADMIN_LISTEN };
    match listen(address).await {
        Ok(listener) => Ok(Some(listener)),
        // Nobody asked for it, and there may be several on one machine.
        Err(error) => {
            warn!(error = chain(&error), "the admin API is not served: set redkite.internalListen");
            Ok(None)
        }
    }
}

async fn listen(address: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address: address.to_owned(), source })
}

/// From when on a read is slow.
fn slow_query(settings: &Settings) -> Option<Duration> {
    let span = settings.proxy.slow_query_span_in_seconds;
    Duration::try_from_secs_f64(span).ok().filter(|span| !span.is_zero())
}

/// How log lines of the role are to look, and where they go.
#[must_use]
pub fn trace_settings(role: Role, settings: &Settings) -> TraceSettings {
    let log = &settings.log;
    let compat = if log.compat == "guide" { Compat::Guide } else { Compat::Milvus };
    let format = if log.format == "json" { TraceFormat::Json(compat) } else { TraceFormat::Text };
    let LogFile { root_path, max_size, max_age, max_backups } = &log.file;
    // As in Milvus, nothing is what is usual.
    let max_size = if *max_size == 0 { LogFile::default().max_size } else { *max_size };
    let file = (!root_path.is_empty()).then(|| LogFileSettings {
        folder: root_path.into(),
        name: role.name().to_owned(),
        max_bytes: max_size << 20,
        max_age: u64::try_from(*max_age)
            .ok()
            .filter(|days| *days > 0)
            .map(|days| Duration::from_secs(days * 86_400)),
        max_backups: usize::try_from(*max_backups).ok().filter(|most| *most > 0),
    });
    TraceSettings { format, level: log.level.clone(), stdout: log.stdout, file }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_of_nothing_is_the_usual_one_and_fewer_backups_than_none_are_all() {
        let mut settings = Settings::default();
        settings.log.file =
            LogFile { root_path: "/logs".to_owned(), max_size: 0, max_age: -1, max_backups: -1 };
        settings.validate().unwrap();

        let file = trace_settings(Role::Proxy, &settings).file.unwrap();

        assert_eq!((file.max_bytes, file.max_age, file.max_backups), (300 << 20, None, None));
    }

    #[test]
    fn lines_go_where_the_settings_say() {
        let mut settings = Settings::default();
        assert_eq!(trace_settings(Role::Proxy, &settings), TraceSettings::default());

        settings.log.format = "json".to_owned();
        settings.log.compat = "guide".to_owned();
        settings.log.stdout = false;
        settings.log.file =
            LogFile { root_path: "/logs".to_owned(), max_size: 2, max_age: 1, max_backups: 0 };

        let file = LogFileSettings {
            folder: "/logs".into(),
            name: "mixcoord".to_owned(),
            max_bytes: 2 << 20,
            max_age: Some(Duration::from_secs(86_400)),
            max_backups: None,
        };
        assert_eq!(
            trace_settings(Role::Coordinator, &settings),
            TraceSettings {
                format: TraceFormat::Json(Compat::Guide),
                level: "info".to_owned(),
                stdout: false,
                file: Some(file),
            }
        );
    }
}
