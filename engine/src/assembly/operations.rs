//! The port for operators: `/healthz` and `/metrics`, read only, without credentials.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::base::Clock;
use crate::coord::Candidacy;
use crate::obs::{Health, Metrics};
use crate::querier::QueryNode;
use crate::rpc::Coord;

/// How often gauges follow what they measure.
const MEASURE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Shown {
    health: Health,
    metrics: Arc<Metrics>,
}

/// Serves until `stop`.
///
/// # Errors
/// If the listener fails.
pub async fn serve_operations(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = axum::Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/metrics", get(show_metrics))
        .with_state(Shown { health, metrics });
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

async fn healthz(State(shown): State<Shown>) -> impl IntoResponse {
    let (well, text) = shown.health.report();
    (if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, text)
}

async fn livez() -> &'static str {
    "OK"
}

async fn show_metrics(State(shown): State<Shown>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], shown.metrics.encode())
}

/// What is measured.
pub struct Gauges {
    /// Where the figures go.
    pub metrics: Arc<Metrics>,
    /// The catalog, where this process may lead it.
    pub coord: Option<Arc<Candidacy>>,
    /// What is held, where this process holds something.
    pub querier: Option<Arc<QueryNode>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Keeps the gauges of the catalog and of what is held equal to what they measure, until `stop`.
///
/// # Errors
/// None.
pub async fn measure(gauges: Gauges, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Some(querier) = &gauges.querier {
            let (collections, _) = querier.held();
            gauges.metrics.querynode_collection_num.with([]).set(to_gauge(collections));
        }
        if let Some(coord) = gauges.coord.as_ref().filter(|coord| coord.leads()) {
            measure_catalog(&gauges.metrics, coord.as_ref()).await;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = gauges.clock.sleep(MEASURE) => {}
        }
    }
}

async fn measure_catalog(metrics: &Metrics, coord: &dyn Coord) {
    let Ok(databases) = coord.databases().await else { return };
    let (mut partitions, mut segments, mut all) = (0, 0, 0);
    for database in databases {
        let Ok(infos) = coord.collections(&database.name).await else { continue };
        metrics.rootcoord_collection_num.with([&database.name]).set(to_gauge(infos.len()));
        all += infos.len();
        for info in infos {
            partitions += info.partitions.len();
            let Ok(manifests) = coord.manifests(info.id).await else { continue };
            let sealed = manifests.iter().flat_map(|manifest| &manifest.segments);
            let (count, rows) = sealed.fold((0, 0), |(count, rows), one| (count + 1, rows + one.rows));
            segments += count;
            let labels = [database.name.as_str(), &info.id.to_string(), &info.name];
            metrics.datacoord_stored_rows_num.with(labels).set(i64::try_from(rows).unwrap_or(i64::MAX));
        }
    }
    metrics.rootcoord_partition_num.with([]).set(to_gauge(partitions));
    metrics.datacoord_collection_num.with([]).set(to_gauge(all));
    metrics.datacoord_segment_num.with(["Flushed"]).set(to_gauge(segments));
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
