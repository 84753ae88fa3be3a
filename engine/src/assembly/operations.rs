//! The port for operators: `/healthz` and `/metrics`, read only, without credentials. The client API, which Milvus once had
//! here too, is not: who looks for it is told where it is.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Passing, Work};
use crate::coord::Candidacy;
use crate::obs::{Health, Metrics};
use crate::querier::{HeldFigures, QueryNode};
use crate::rpc::{CollectionInfo, Coord};

/// How often gauges follow what they measure.
const MEASURE: Duration = Duration::from_secs(5);
/// Milvus's names of segments that are sealed and of rows that are not.
const SEALED: &str = "Sealed";
const GROWING: &str = "Growing";

#[derive(Clone)]
struct Shown {
    health: Health,
    metrics: Arc<Metrics>,
    /// The port where clients are served, here or by the proxies.
    client_port: u16,
}

/// Serves until `stop`. `client_port` is told to who looks for the client API.
///
/// # Errors
/// If the listener fails.
pub async fn serve_operations(
    listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    client_port: u16,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = routes(Shown { health, metrics, client_port });
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

fn routes(shown: Shown) -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/metrics", get(show_metrics))
        .route("/api/v1/health", get(legacy_health))
        .fallback(elsewhere)
        .method_not_allowed_fallback(elsewhere)
        .with_state(shown)
}

/// Health in the words of Milvus's older API.
async fn legacy_health(State(shown): State<Shown>) -> impl IntoResponse {
    let (well, text) = shown.health.report();
    let status = if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let word = if well { "ok".to_owned() } else { text };
    (status, [(header::CONTENT_TYPE, "application/json")], serde_json::json!({ "status": word }).to_string())
}

/// Nothing is changed here, and nothing of clients is shown.
async fn elsewhere(State(shown): State<Shown>, method: Method, uri: Uri) -> Response {
    let reads = matches!(method, Method::GET | Method::HEAD);
    let is_legacy = uri.path() == "/api/v1" || uri.path().starts_with("/api/v1/");
    if reads && !is_legacy {
        return StatusCode::NOT_FOUND.into_response();
    }
    let port = shown.client_port;
    let message =
        format!("there is no such path on this port: the client API, REST among it, is on port {port}");
    let body = serde_json::json!({ "code": 404, "message": message }).to_string();
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], body).into_response()
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
    /// The memory that work in passing shares.
    pub memory: Passing,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Keeps the gauges of the catalog and of what is held equal to what they measure, until `stop`.
///
/// # Errors
/// None.
pub async fn measure(gauges: Gauges, stop: CancellationToken) -> anyhow::Result<()> {
    let mut shown = Vec::new();
    loop {
        show_passing(&gauges.metrics, &gauges.memory);
        if let Some(querier) = &gauges.querier {
            let now = querier.figures();
            shown = show_held(&gauges.metrics, &now, &shown);
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

/// Shows what work in passing has of the memory, and what it waits for.
fn show_passing(metrics: &Metrics, memory: &Passing) {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    for work in Work::ALL {
        let (held, waiting) = memory.figures(work);
        metrics.passing_bytes.with([work.name()]).set(bytes(held));
        metrics.passing_waiting_bytes.with([work.name()]).set(bytes(waiting));
    }
}

/// Shows what is held, and forgets what was `shown` of collections that are not any more; returns what is shown now.
fn show_held(
    metrics: &Metrics,
    held: &[HeldFigures],
    shown: &[Arc<CollectionInfo>],
) -> Vec<Arc<CollectionInfo>> {
    let to_rows = |rows: u64| i64::try_from(rows).unwrap_or(i64::MAX);
    metrics.querynode_collection_num.with([]).set(to_gauge(held.len()));
    // A collection that was renamed is shown anew.
    let is_held = |old: &CollectionInfo| held.iter().any(|one| *one.info == *old);
    for old in shown.iter().filter(|old| !is_held(old)) {
        let id = old.id.to_string();
        metrics.querynode_dml_vchannel_num.forget([&id]);
        for state in [SEALED, GROWING] {
            metrics.querynode_segment_num.forget([&id, state]);
            metrics.querynode_entity_num.forget([&old.database_name, &old.name, &id, state]);
        }
    }
    for one in held {
        let (info, id) = (&one.info, one.info.id.to_string());
        metrics.querynode_dml_vchannel_num.with([&id]).set(to_gauge(one.channels));
        for (state, segments, rows) in
            [(SEALED, one.sealed, one.sealed_rows), (GROWING, one.growing, one.growing_rows)]
        {
            metrics.querynode_segment_num.with([&id, state]).set(to_gauge(segments));
            let labels = [info.database_name.as_str(), &info.name, &id, state];
            metrics.querynode_entity_num.with(labels).set(to_rows(rows));
        }
    }
    held.iter().map(|one| Arc::clone(&one.info)).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::{Method, Request, StatusCode};
    use tower::ServiceExt as _;

    use futures::FutureExt as _;

    use super::{Shown, routes, show_held, show_passing};
    use crate::base::{CollectionId, DatabaseId, NodeId, Passing, Shares, Timestamp, Work};
    use crate::model::Schema;
    use crate::obs::{Health, Metrics};
    use crate::querier::HeldFigures;
    use crate::rpc::CollectionInfo;

    fn shown() -> Shown {
        let health = Health::new();
        health.ok("proxy");
        Shown { health, metrics: Metrics::new(NodeId(1)), client_port: 19_530 }
    }

    async fn answer(method: Method, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
        let answer = routes(shown()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn who_looks_for_the_client_api_is_told_its_port() {
        let text = "there is no such path on this port: the client API, REST among it, is on port 19530";
        let elsewhere = (StatusCode::NOT_FOUND, format!(r#"{{"code":404,"message":"{text}"}}"#));

        for (method, path) in [
            (Method::GET, "/api/v1"),
            (Method::GET, "/api/v1/collections"),
            (Method::POST, "/api/v1/health"),
            (Method::POST, "/v2/vectordb/collections/list"),
            (Method::DELETE, "/metrics"),
            (Method::PUT, "/log/level"),
        ] {
            assert_eq!(answer(method.clone(), path).await, elsewhere, "{method} {path}");
        }
        assert_eq!(answer(Method::GET, "/none").await, (StatusCode::NOT_FOUND, String::new()));
        assert_eq!(
            answer(Method::GET, "/api/v1/health").await,
            (StatusCode::OK, r#"{"status":"ok"}"#.to_owned())
        );
    }

    #[tokio::test]
    async fn nothing_that_needs_credentials_is_on_the_port_without_any() {
        let mut answers = Vec::new();
        for path in ["/livez", "/redkite.admin.v1.Admin/ListNodes", "/redkite.internal.v1.Coord/Ask"] {
            let routes = routes(shown());
            let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
            answers.push(routes.oneshot(request).await.unwrap().status());
        }

        assert_eq!(answers, [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::NOT_FOUND]);
    }

    fn held(id: i64, name: &str, sealed: usize) -> HeldFigures {
        let info = CollectionInfo {
            id: CollectionId(id),
            name: name.to_owned(),
            database: DatabaseId(1),
            database_name: "default".to_owned(),
            schema: Arc::new(Schema {
                description: String::new(),
                fields: Vec::new(),
                enable_dynamic_field: false,
                functions: Vec::new(),
            }),
            channels: Vec::new(),
            partitions: Vec::new(),
            partitions_by_key: 0,
            aliases: Vec::new(),
            properties: Vec::new(),
            consistency: 0,
            created: Timestamp::ZERO,
            updated: Timestamp::ZERO,
            partitioned: Timestamp::ZERO,
            indexes: Vec::new(),
            load: None,
        };
        let info = Arc::new(info);
        HeldFigures { info, channels: 2, sealed, sealed_rows: 100, growing: 1, growing_rows: 7 }
    }

    /// The lines about segments and rows, without the name of the node.
    fn lines(metrics: &Metrics) -> Vec<String> {
        let is_wanted = |line: &&str| {
            line.starts_with("milvus_querynode")
                && !line.contains("_bucket")
                && line.contains("collection_id")
        };
        let text = String::from_utf8_lossy(metrics.encode().as_ref()).into_owned();
        text.lines().filter(is_wanted).map(|line| line.replace(",node_id=\"1\"", "")).collect()
    }

    #[test]
    fn what_a_node_holds_is_shown_until_it_is_held_no_longer() {
        let metrics = Metrics::new(NodeId(1));

        let shown = show_held(&metrics, &[held(7, "old", 3), held(8, "gone", 1)], &[]);
        show_held(&metrics, &[held(7, "new", 4)], &shown);

        let entity =
            "milvus_querynode_entity_num{collection_id=\"7\",collection_name=\"new\",db_name=\"default\"";
        assert_eq!(
            lines(&metrics),
            [
                "milvus_querynode_dml_vchannel_num{collection_id=\"7\"} 2".to_owned(),
                format!("{entity},segment_state=\"Growing\"}} 7"),
                format!("{entity},segment_state=\"Sealed\"}} 100"),
                "milvus_querynode_segment_num{collection_id=\"7\",segment_state=\"Growing\"} 1".to_owned(),
                "milvus_querynode_segment_num{collection_id=\"7\",segment_state=\"Sealed\"} 4".to_owned(),
            ]
        );
    }
    #[tokio::test]
    async fn what_work_in_passing_has_and_waits_for_is_shown_by_kind() {
        let metrics = Metrics::new(NodeId(1));
        let memory = Passing::new(Shares { flushes: 10, loads: 10, jobs: 10 });
        let _held = (memory.admit(Work::Job, 40).await, memory.admit(Work::Flush, 3).await);
        let mut waiting = Box::pin(memory.admit(Work::Job, 5));
        assert!((&mut waiting).now_or_never().is_none());

        show_passing(&metrics, &memory);

        let text = metrics.encode();
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("redkite_passing"))
            .map(|line| line.replace("node_id=\"1\",", ""))
            .collect();
        assert_eq!(
            lines,
            [
                "redkite_passing_bytes{work=\"flush\"} 3",
                "redkite_passing_bytes{work=\"job\"} 40",
                "redkite_passing_bytes{work=\"load\"} 0",
                "redkite_passing_waiting_bytes{work=\"flush\"} 0",
                "redkite_passing_waiting_bytes{work=\"job\"} 5",
                "redkite_passing_waiting_bytes{work=\"load\"} 0",
            ]
        );
    }
}
