//! The standalone role: all duties over a data directory, with the ports for clients and for operators.

use std::sync::Arc;

use contract::settings::Settings;
use tokio::net::TcpListener;
use tracing::info;

use crate::assembly::meter::ProxyMeter;
use crate::assembly::{Error, Node, open_seams, operations};
use crate::base::{Clock, Rng, TaskSet};
use crate::obs::{Health, Metrics, TraceFormat, TraceSettings};
use crate::proxy::{self, ProxyParts, ProxySettings};
use crate::rpc::Querier;

/// The name of this process among the components of `/healthz`.
const COMPONENT: &str = "standalone";

/// Starts a standalone node in `tasks`; it serves once this returns.
///
/// # Errors
/// Whatever keeps it from starting, with the name of the setting, file or address.
pub async fn standalone(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    tasks: &TaskSet,
    health: &Health,
    metrics: &Arc<Metrics>,
) -> Result<(), Error> {
    health.failing(COMPONENT, "starting");
    // The operators' port answers first, so that a slow start can be watched.
    let operators = listen(&settings.redkite.metrics_listen).await?;
    tasks.start("serve operators", |stop| {
        operations::serve_operations(operators, health.clone(), Arc::clone(metrics), stop)
    });
    let clients = listen(&settings.proxy.listen).await?;
    let seams = open_seams(settings, Arc::clone(&clock), rng, metrics, tasks).await?;
    let node = Node::start(seams, settings, tasks).await?;
    let parts = ProxyParts {
        coord: Arc::clone(&node.coord),
        writer: Arc::clone(&node.writer),
        querier: Arc::clone(&node.querier) as Arc<dyn Querier>,
        clock: Arc::clone(&clock),
        meter: Some(Arc::new(ProxyMeter(Arc::clone(metrics)))),
        settings: ProxySettings {
            version: settings.redkite.reported_version.clone(),
            ..ProxySettings::default()
        },
    };
    tasks.start("serve clients", |stop| async move { Ok(proxy::serve(clients, parts, stop).await?) });
    let (coord, querier) = (Arc::clone(&node.coord), Arc::clone(&node.querier));
    let gauges = Arc::clone(metrics);
    tasks.start("measure", |stop| operations::measure(gauges, coord, querier, clock, stop));
    // The node, and with it the lock of the data directory, lives as long as the process's tasks do.
    tasks.start("hold the data directory", |stop| async move {
        stop.cancelled().await;
        drop(node);
        Ok(())
    });
    health.ok(COMPONENT);
    let (clients, operators) = (&settings.proxy.listen, &settings.redkite.metrics_listen);
    info!(%clients, %operators, data = settings.local_storage.path, "standalone serves");
    Ok(())
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
