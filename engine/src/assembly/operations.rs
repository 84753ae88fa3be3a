//! The port for operators: `/healthz`, `/metrics`, `/log/level` and `/management`. The first two are read without credentials; the
//! others, which change something, take an administrator's. The client API, which Milvus once had here too, is not: who looks for it is told where it is.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use contract::role::Role;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::machine::{self, Disk};
use super::management::Management;
use super::usage::Taken;
use crate::base::{Clock, Kind, Kinded as _, Passing, Work, chain};
use crate::coord::Candidacy;
use crate::obs::{ComponentHealth, Health, Lines, Metrics, ProcessFigures};
use crate::proxy::{Gate, Refused};
use crate::querier::{HeldFigures, QueryNode};
use crate::rpc::{CollectionInfo, Coord, Duties};
use crate::secure::Tokens;

/// How often gauges follow what they measure.
const MEASURE: Duration = Duration::from_secs(2);
/// Measuring takes no more than one part in so many of the time.
const SHARE: u32 = 50;
/// The longest pause between two measurements.
const STALE: Duration = Duration::from_secs(30);
/// How often the machine is looked at.
const MACHINE: Duration = Duration::from_secs(10);
/// Milvus's names of segments that are sealed and of rows that are not.
const SEALED: &str = "Sealed";
const GROWING: &str = "Growing";
/// Longest body of a request. Unit: bytes.
const MAX_BODY: usize = 1024;
/// Longest body of a request to `/management`: a setting may be a key in a text. Unit: bytes.
const MAX_MANAGEMENT_BODY: usize = 64 << 10;
/// Headers of requests that somebody passes on, so that who made them is not who is connected; and of those that a browser
/// makes, maybe for a page from elsewhere.
const NOT_DIRECT: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-real-ip", "origin", "referer", "sec-fetch-site"];
/// Milvus's codes of components that work and of those that do not.
const HEALTHY: u8 = 1;
const ABNORMAL: u8 = 2;

/// Who may change something at the port for operators.
pub struct Keeper {
    /// Whether users are told apart at all.
    pub checks_users: bool,
    /// The token of the cluster: whoever has it is an administrator.
    pub tokens: Option<Arc<Tokens>>,
    /// Knows the users, as soon as the catalog can be asked.
    pub gate: OnceLock<Gate>,
}

impl Keeper {
    /// The answer to everybody but administrators. Where nobody is told apart, whoever is on this machine is one, but no page
    /// that a browser has loaded from somewhere else, and nobody whose request was passed on.
    async fn refuses(&self, headers: &HeaderMap, from: Option<SocketAddr>) -> Option<Response> {
        if let (Some(tokens), Some(shown)) = (&self.tokens, bearer(headers))
            && tokens.accepts(shown).await
        {
            return None;
        }
        if !self.checks_users {
            let is_here = from.is_some_and(|from| from.ip().to_canonical().is_loopback());
            let is_direct = NOT_DIRECT.iter().all(|name| !headers.contains_key(*name));
            return (!is_here || !is_direct || !names_this_machine(headers)).then(|| Refused::Nothing.json());
        }
        let Some(gate) = self.gate.get() else {
            let body = json!({ "code": 503, "message": "users are not known yet" });
            return Some(json_answer(StatusCode::SERVICE_UNAVAILABLE, &body));
        };
        gate.admits(headers, from.map(|from| from.ip())).await.err().map(|refused| refused.json())
    }
}

/// Whether whoever asks calls this machine by an address or as `localhost`. A page from elsewhere whose own name was made to
/// lead here uses that name.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

/// What is shown behind `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
}

/// What the port shows and changes.
#[derive(Clone)]
pub struct Operated {
    /// What the process is.
    pub role: Role,
    /// What `/healthz` says.
    pub health: Health,
    /// What `/metrics` says.
    pub metrics: Arc<Metrics>,
    /// The port where clients are served, here or by the proxies.
    pub client_port: u16,
    /// The log lines.
    pub lines: Lines,
    /// Who may change something.
    pub keeper: Arc<Keeper>,
    /// What administrators steer by hand.
    pub management: Arc<Management>,
}

/// Serves until `stop`.
///
/// # Errors
/// If the listener fails.
pub async fn serve_operations(
    listener: TcpListener,
    operated: Operated,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = routes(operated).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await?;
    Ok(())
}

fn routes(shown: Operated) -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/metrics", get(show_metrics))
        .route("/log/level", get(log_level).put(log_level))
        .route("/api/v1/health", get(legacy_health))
        .route("/management", any(management))
        .route("/management/", any(management))
        .route("/management/{*path}", any(management))
        .fallback(elsewhere)
        .method_not_allowed_fallback(elsewhere)
        .with_state(shown)
}

/// An answer of JSON.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// Health in the words of Milvus's older API.
async fn legacy_health(State(shown): State<Operated>) -> Response {
    let (well, text) = shown.health.report();
    let status = if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let word = if well { "ok".to_owned() } else { text };
    json_answer(status, &json!({ "status": word }))
}

/// Nothing is changed here, and nothing of clients is shown.
async fn elsewhere(State(shown): State<Operated>, method: Method, uri: Uri) -> Response {
    let reads = matches!(method, Method::GET | Method::HEAD);
    let is_legacy = uri.path() == "/api/v1" || uri.path().starts_with("/api/v1/");
    if reads && !is_legacy {
        return StatusCode::NOT_FOUND.into_response();
    }
    let port = shown.client_port;
    let message =
        format!("there is no such path on this port: the client API, REST among it, is on port {port}");
    json_answer(StatusCode::NOT_FOUND, &json!({ "code": 404, "message": message }))
}

/// `OK`, or what is wrong, in Milvus's words; the same as JSON for who asks for it, which they do by `Content-Type` too.
async fn healthz(State(shown): State<Operated>, headers: HeaderMap) -> Response {
    let (well, text) = shown.health.report();
    let status = if well { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let components = shown.health.components();
    let serving = components.iter().filter(|one| one.serves).count();
    let state = if well {
        "OK".to_owned()
    } else {
        format!("Not all components are healthy, {serving}/{}", components.len().max(1))
    };
    let is_json = |name| {
        let value = headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        value.is_some_and(|value| value.contains("application/json"))
    };
    if is_json(header::CONTENT_TYPE) || is_json(header::ACCEPT) {
        let detail: Vec<_> = components.iter().flat_map(|one| detail(shown.role, one)).collect();
        return json_answer(status, &json!({ "state": state, "detail": detail }));
    }
    (status, if well { text } else { format!("{state}: {text}") }).into_response()
}

/// A component as Milvus shows it; a standalone is every role.
fn detail(role: Role, component: &ComponentHealth) -> Vec<Value> {
    let all = [Role::Proxy, Role::Coordinator, Role::StreamingNode, Role::QueryNode, Role::DataNode];
    let names = if role == Role::Standalone && component.name == role.name() {
        all.map(Role::name).to_vec()
    } else {
        vec![component.name]
    };
    let code = if component.serves { HEALTHY } else { ABNORMAL };
    let show = |name| {
        let mut shown = json!({ "name": name, "code": code });
        if !component.reason.is_empty() {
            shown["reason"] = component.reason.as_str().into();
        }
        shown
    };
    names.into_iter().map(show).collect()
}

async fn livez() -> &'static str {
    "OK"
}

async fn show_metrics(State(shown): State<Operated>) -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], shown.metrics.encode())
}

/// The level of the log, shown and changed as by Milvus: `{"level":"debug"}`, or `level=debug` as a form.
async fn log_level(State(shown): State<Operated>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let from = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    if let Some(refused) = shown.keeper.refuses(&head.headers, from).await {
        return refused;
    }
    if head.method == Method::PUT {
        let bad = |error: String| json_answer(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
            return bad("the body is too long, or was broken off".to_owned());
        };
        let Some(level) = level_in(&String::from_utf8_lossy(&body)) else {
            return bad("the body names no level".to_owned());
        };
        let from = from.map(|from| from.to_string()).unwrap_or_default();
        info!(new = level, from, "the level of the log is about to change");
        if let Err(error) = shown.lines.set_level(&level) {
            return bad(chain(&error));
        }
    }
    json_answer(StatusCode::OK, &json!({ "level": shown.lines.level() }))
}

/// Whatever is below `/management`, for administrators; also that there is no such path.
async fn management(State(shown): State<Operated>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let from = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
    if let Some(refused) = shown.keeper.refuses(&head.headers, from).await {
        return refused;
    }
    let Ok(body) = axum::body::to_bytes(body, MAX_MANAGEMENT_BODY).await else {
        let body = json!({ "msg": "the body is too long, or was broken off" });
        return json_answer(StatusCode::BAD_REQUEST, &body);
    };
    let from = from.map(|from| from.to_string()).unwrap_or_default();
    shown.management.answer(&head, &body, &from).await
}

/// The level that a body names.
fn level_in(body: &str) -> Option<String> {
    let body = body.trim();
    if body.starts_with('{') {
        let read: Value = serde_json::from_str(body).ok()?;
        return read.get("level")?.as_str().map(str::to_owned);
    }
    body.split('&').find_map(|pair| pair.strip_prefix("level=")).map(str::to_owned)
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

/// What of the machine is measured.
pub struct Machine {
    /// Where the figures go.
    pub metrics: Arc<Metrics>,
    /// The folder that local files are in.
    pub folder: PathBuf,
    /// Where what the coordinator is told goes.
    pub taken: Arc<Taken>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// Keeps the gauges of the catalog and of what is held equal to what they measure, until `stop`.
///
/// # Errors
/// None.
pub async fn measure(gauges: Gauges, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut shown, mut stored, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let started = gauges.clock.monotonic();
        show_passing(&gauges.metrics, &gauges.memory);
        if let Some(querier) = &gauges.querier {
            let now = querier.figures();
            shown = show_held(&gauges.metrics, &now, &shown);
        }
        if let Some(coord) = gauges.coord.as_ref().filter(|coord| coord.leads()) {
            measure_catalog(&gauges.metrics, coord.as_ref(), &mut stored).await;
            measure_nodes(&gauges.metrics, coord.as_ref(), &mut nodes).await;
        }
        let took = gauges.clock.monotonic().saturating_sub(started);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = gauges.clock.sleep(pause(took)) => {}
        }
    }
}

/// Keeps the figures of the machine equal to what there is, until `stop`. By itself and on a thread of its own, since a volume that is away
/// may keep whoever asks about it waiting for good.
///
/// # Errors
/// None.
pub async fn measure_machine(gauges: Machine, stop: CancellationToken) -> anyhow::Result<()> {
    loop {
        let folder = gauges.folder.clone();
        let look = tokio::task::spawn_blocking(move || {
            (machine::memory_bytes(), machine::disk(&folder), ProcessFigures::now())
        });
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            looked = look => {
                if let Ok((memory_bytes, disk, process)) = looked {
                    show_machine(&gauges.metrics, memory_bytes, disk);
                    gauges.taken.note(gauges.clock.monotonic(), &process, disk);
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = gauges.clock.sleep(MACHINE) => {}
        }
    }
}

/// Shows what this process may have of its machine; nothing of what is not known.
fn show_machine(metrics: &Metrics, memory_bytes: u64, disk: Option<Disk>) {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    if memory_bytes > 0 {
        metrics.memory_limit_bytes.with([]).set(bytes(memory_bytes));
    }
    if let Some(disk) = disk {
        metrics.disk_used_bytes.with([]).set(bytes(disk.used));
        metrics.disk_limit_bytes.with([]).set(bytes(disk.limit));
    }
}

/// How long nothing is measured after a measurement that took so long. Much of that may be waiting for others, and gauges
/// that stand still for minutes are taken for the truth.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(SHARE).clamp(MEASURE, STALE)
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

/// Labels of a collection's gauges: its database, number and name.
type Labels = [String; 3];

/// What a collection has in the store.
#[derive(Clone, Copy, Default)]
struct Stored {
    rows: u64,
    bytes: u64,
    index_bytes: u64,
}

/// Shows what the catalog has, and forgets what was `shown` of collections that are gone; returns what is shown now.
async fn measure_catalog(metrics: &Metrics, coord: &dyn Coord, shown: &mut Vec<Labels>) {
    let Ok(databases) = coord.databases().await else { return };
    let (mut partitions, mut segments, mut all, mut loaded, mut damaged) = (0, 0, 0, 0, 0);
    let mut now = Vec::new();
    for database in databases {
        let Ok(infos) = coord.collections(&database.name).await else { continue };
        metrics.rootcoord_collection_num.with([&database.name]).set(to_gauge(infos.len()));
        all += infos.len();
        for info in infos {
            partitions += info.partitions.len();
            loaded += usize::from(info.load.is_some());
            let manifests = match coord.manifests(info.id).await {
                Ok(manifests) => manifests,
                Err(error) => {
                    damaged += usize::from(error.kind() == Kind::Corrupt);
                    continue;
                }
            };
            let mut stored = Stored::default();
            for segment in manifests.iter().flat_map(|manifest| &manifest.segments) {
                segments += 1;
                stored.rows += segment.rows;
                stored.bytes += segment.stored_bytes();
                stored.index_bytes +=
                    segment.indexes.iter().map(|index| index.object.size_bytes).sum::<u64>();
            }
            now.push(([database.name.clone(), info.id.to_string(), info.name.clone()], stored));
        }
    }
    show_stored(metrics, now, shown);
    metrics.rootcoord_partition_num.with([]).set(to_gauge(partitions));
    metrics.datacoord_collection_num.with([]).set(to_gauge(all));
    metrics.querycoord_collection_num.with([]).set(to_gauge(loaded));
    metrics.damaged_collections.with([]).set(to_gauge(damaged));
    metrics.datacoord_segment_num.with(["Flushed"]).set(to_gauge(segments));
    if let Ok(policy) = coord.policy().await {
        metrics.rootcoord_credential_num.with([]).set(to_gauge(policy.user_names().len()));
        metrics.rootcoord_num_of_roles.with([]).set(to_gauge(policy.role_names().len()));
    }
}

/// Shows what collections have in the store.
fn show_stored(metrics: &Metrics, now: Vec<(Labels, Stored)>, shown: &mut Vec<Labels>) {
    let gauges = [
        &metrics.datacoord_stored_rows_num,
        &metrics.datacoord_stored_binlog_size,
        &metrics.datacoord_stored_index_files_size,
    ];
    for old in shown.iter().filter(|old| !now.iter().any(|(labels, _)| labels == *old)) {
        gauges.iter().for_each(|gauge| gauge.forget(old.each_ref().map(String::as_str)));
    }
    for (labels, Stored { rows, bytes, index_bytes }) in &now {
        for (gauge, number) in gauges.iter().zip([rows, bytes, index_bytes]) {
            gauge.with(labels.each_ref().map(String::as_str)).set(i64::try_from(*number).unwrap_or(i64::MAX));
        }
    }
    *shown = now.into_iter().map(|(labels, _)| labels).collect();
}

/// Shows which nodes there are, and forgets what was `shown` of those that are gone.
async fn measure_nodes(metrics: &Metrics, coord: &dyn Coord, shown: &mut Vec<[String; 2]>) {
    let Ok(nodes) = coord.nodes().await else { return };
    let count =
        |has: fn(&Duties) -> bool| to_gauge(nodes.iter().filter(|node| has(&node.info.duties)).count());
    metrics.rootcoord_proxy_num.with([]).set(count(|duties| duties.proxies));
    metrics.querycoord_querynode_num.with([]).set(count(|duties| duties.queries));
    metrics.datacoord_datanode_num.with([]).set(count(|duties| duties.builds));
    metrics.datacoord_index_node_num.with([]).set(count(|duties| duties.builds));
    let now: Vec<_> = nodes.iter().map(|node| [node.info.id.to_string(), node.info.role.clone()]).collect();
    for old in shown.iter().filter(|old| !now.contains(old)) {
        metrics.num_node.forget(old.each_ref().map(String::as_str));
    }
    for labels in &now {
        metrics.num_node.with(labels.each_ref().map(String::as_str)).set(1);
    }
    *shown = now;
}

fn to_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, OnceLock};

    use axum::extract::ConnectInfo;
    use axum::http::{Method, Request, StatusCode};
    use contract::role::Role;
    use tower::ServiceExt as _;

    use futures::FutureExt as _;

    use super::{
        Disk, Keeper, MEASURE, Operated, STALE, Stored, machine, measure_catalog, pause, routes, show_held,
        show_machine, show_passing, show_stored,
    };
    use crate::base::{CollectionId, DatabaseId, NodeId, Passing, RealClock, Shares, Timestamp, Work};
    use crate::model::Schema;
    use crate::obs::{Health, Lines, Metrics, TraceSettings};
    use crate::querier::HeldFigures;
    use crate::rpc::CollectionInfo;
    use crate::secure::Tokens;

    fn shown() -> Operated {
        let health = Health::new();
        health.ok("proxy");
        let keeper = Keeper { checks_users: false, tokens: None, gate: OnceLock::new() };
        Operated {
            role: Role::Proxy,
            health,
            metrics: Metrics::new(NodeId(1)),
            client_port: 19_530,
            lines: Lines::unstarted(&TraceSettings::default(), RealClock::new()),
            keeper: Arc::new(keeper),
            management: Arc::new(super::super::management::fixture(Role::Proxy)),
        }
    }

    const HERE: &str = "127.0.0.1:5";

    /// What a request from somewhere is answered.
    async fn asked(
        operated: &Operated,
        (method, path, body): (Method, &str, &str),
        from: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(axum::body::Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(ConnectInfo(from.parse::<SocketAddr>().unwrap()));
        let answer = routes(operated.clone()).oneshot(request).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn answer(method: Method, path: &str) -> (StatusCode, String) {
        asked(&shown(), (method, path, ""), HERE, &[]).await
    }

    fn ok(text: &str) -> (StatusCode, String) {
        (StatusCode::OK, text.to_owned())
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
            (Method::POST, "/log/level"),
        ] {
            assert_eq!(answer(method.clone(), path).await, elsewhere, "{method} {path}");
        }
        assert_eq!(answer(Method::GET, "/none").await, (StatusCode::NOT_FOUND, String::new()));
        assert_eq!(answer(Method::GET, "/api/v1/health").await, ok(r#"{"status":"ok"}"#));
    }

    #[tokio::test]
    async fn health_is_one_word_or_json_with_every_role() {
        let mut operated = shown();
        operated.role = Role::Standalone;
        operated.health.forget("proxy");
        let asks_json = [("content-type", "application/json")];
        let ask = async |headers: &[(&str, &str)]| {
            asked(&operated, (Method::GET, "/healthz", ""), HERE, headers).await
        };
        let sick = |text: &str| (StatusCode::INTERNAL_SERVER_ERROR, text.to_owned());

        assert_eq!(ask(&[]).await, sick("Not all components are healthy, 0/1: starting"));
        operated.health.failing("standalone", "no etcd");
        assert_eq!(ask(&[]).await, sick("Not all components are healthy, 0/1: standalone: no etcd"));
        let entry = |name: &str| format!(r#"{{"name":"{name}","code":2,"reason":"no etcd"}}"#);
        let entries = ["proxy", "mixcoord", "streamingnode", "querynode", "datanode"].map(entry).join(",");
        let state = "Not all components are healthy, 0/1";
        assert_eq!(ask(&asks_json).await, sick(&format!(r#"{{"state":"{state}","detail":[{entries}]}}"#)));

        operated.health.ok("standalone");
        operated.health.degraded("meta", "away");
        assert_eq!(ask(&[]).await, ok("OK, but meta: away"));
        let (status, body) = ask(&[("accept", "application/json")]).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["state"]), (StatusCode::OK, &"OK".into()));
        assert_eq!(body["detail"][0], serde_json::json!({"name": "meta", "code": 1, "reason": "away"}));
        assert_eq!(body["detail"][1], serde_json::json!({"name": "proxy", "code": 1}));
    }

    #[tokio::test]
    async fn the_level_of_the_log_is_shown_and_changed_from_this_machine_alone() {
        let operated = shown();
        let put = async |body: &str, from: &str, headers: &[(&str, &str)]| {
            asked(&operated, (Method::PUT, "/log/level", body), from, headers).await
        };

        assert_eq!(put("level=debug", HERE, &[]).await, ok(r#"{"level":"debug"}"#));
        assert_eq!(put(r#"{"level":"FATAL"}"#, "[::1]:5", &[]).await, ok(r#"{"level":"fatal"}"#));
        let refused = r#"{"code":1800,"message":"user hasn't authenticated"}"#;
        let refused = (StatusCode::UNAUTHORIZED, refused.to_owned());
        assert_eq!(put("level=debug", "10.0.0.1:5", &[]).await, refused);
        assert_eq!(put("level=debug", HERE, &[("origin", "http://elsewhere")]).await, refused);
        assert_eq!(put("level=debug", HERE, &[("x-forwarded-for", "10.0.0.1")]).await, refused);
        assert_eq!(put("level=debug", HERE, &[("sec-fetch-site", "cross-site")]).await, refused);
        assert_eq!(put("level=debug", HERE, &[("host", "elsewhere:9091")]).await, refused);
        assert_eq!(put("level=fatal", HERE, &[("host", "localhost:9091")]).await.0, StatusCode::OK);
        assert_eq!(put("level=fatal", HERE, &[("host", "[::1]:9091")]).await.0, StatusCode::OK);
        assert_eq!(put("level=loud", HERE, &[]).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(put("", HERE, &[]).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(put(&"x".repeat(2_000), HERE, &[]).await.0, StatusCode::BAD_REQUEST);

        assert_eq!(answer(Method::GET, "/log/level").await, ok(r#"{"level":"info"}"#));
        let shown = asked(&operated, (Method::GET, "/log/level", ""), HERE, &[]).await;
        assert_eq!(shown, ok(r#"{"level":"fatal"}"#));
    }

    #[tokio::test]
    async fn where_users_are_checked_the_level_takes_the_token_or_waits_for_the_catalog() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "secret\n").unwrap();
        let tokens = Tokens::open(file, std::time::Duration::from_secs(10), RealClock::new()).await.unwrap();
        let mut operated = shown();
        operated.keeper =
            Arc::new(Keeper { checks_users: true, tokens: Some(Arc::new(tokens)), gate: OnceLock::new() });
        let put = async |headers: &[(&str, &str)]| {
            asked(&operated, (Method::PUT, "/log/level", "level=warn"), HERE, headers).await.0
        };

        assert_eq!(put(&[]).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(put(&[("authorization", "Bearer wrong")]).await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(put(&[("authorization", "bearer secret")]).await, StatusCode::OK);
    }

    #[tokio::test]
    async fn whoever_is_no_administrator_hears_of_no_path_of_management_whether_there_is_one() {
        let operated = shown();
        let refused = r#"{"code":1800,"message":"user hasn't authenticated"}"#;
        let refused = (StatusCode::UNAUTHORIZED, refused.to_owned());

        for (method, path) in [
            (Method::GET, "/management"),
            (Method::GET, "/management/"),
            (Method::GET, "/management/querycoord/balance/status"),
            (Method::POST, "/management/stop?role=proxy"),
            (Method::DELETE, "/management/none"),
        ] {
            let answer = asked(&operated, (method.clone(), path, ""), "10.0.0.1:5", &[]).await;
            assert_eq!(answer, refused, "{method} {path}");
        }
        let none = r#"{"msg":"there is no such path on this port"}"#;
        let none = (StatusCode::NOT_FOUND, none.to_owned());
        assert_eq!(answer(Method::DELETE, "/management/stop?role=proxy").await, none);
        assert_eq!(answer(Method::GET, "/management/").await, none);
        assert!(!operated.management.stop.is_cancelled());
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
                structs: Vec::new(),
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
            recorded: true,
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

    #[test]
    fn what_a_collection_has_in_the_store_is_shown_until_it_is_gone() {
        let metrics = Metrics::new(NodeId(1));
        let labels = |id: &str, name: &str| ["default", id, name].map(str::to_owned);
        let stored = Stored { rows: 3, bytes: 40, index_bytes: 500 };
        let mut shown = Vec::new();

        show_stored(&metrics, vec![(labels("7", "old"), stored), (labels("8", "gone"), stored)], &mut shown);
        show_stored(&metrics, vec![(labels("7", "new"), stored)], &mut shown);

        let text = metrics.encode();
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("milvus_datacoord_stored")).collect();
        let line = |name: &str, number: u64| {
            format!(
                "milvus_datacoord_stored_{name}{{collection_id=\"7\",collection_name=\"new\",db_name=\"default\"}} {number}"
            )
        };
        assert_eq!(lines, [line("binlog_size", 40), line("index_files_size", 500), line("rows_num", 3)]);
        assert_eq!(shown, [labels("7", "new")]);
    }

    #[tokio::test]
    async fn collections_with_a_damaged_manifest_are_counted_and_all_others_measured() {
        let metrics = Metrics::new(NodeId(1));
        let (coord, _) = crate::coord::beside_damaged().await;
        let line = |metrics: &Metrics| {
            let text = metrics.encode();
            text.lines().find(|line| line.starts_with("redkite_damaged_collections ")).map(str::to_owned)
        };
        let mut shown = Vec::new();

        measure_catalog(&metrics, coord.as_ref(), &mut shown).await;

        assert_eq!(line(&metrics).as_deref(), Some("redkite_damaged_collections 1"));
        let names: Vec<&str> = shown.iter().map(|[_, _, name]| name.as_str()).collect();
        assert_eq!(names, ["other"]);

        coord.drop_collection("", "hurt").await.unwrap();
        measure_catalog(&metrics, coord.as_ref(), &mut shown).await;
        assert_eq!(line(&metrics).as_deref(), Some("redkite_damaged_collections 0"));
    }

    #[test]
    fn how_full_memory_and_disk_are_can_be_told_from_the_figures() {
        let metrics = Metrics::new(NodeId(1));
        show_machine(&metrics, 0, None);
        assert!(!metrics.encode().contains("_limit_bytes"), "what is not known is not shown");

        let disk = machine::disk("/no/such/folder".as_ref()).unwrap();
        assert!(disk.used > 0 && disk.used <= disk.limit, "{disk:?}");
        show_machine(&metrics, 7, Some(Disk { used: 3, limit: 9 }));

        let text = metrics.encode();
        let names = ["redkite_memory_limit", "redkite_disk"];
        let lines: Vec<&str> =
            text.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect();
        let shown =
            ["redkite_disk_limit_bytes 9", "redkite_disk_used_bytes 3", "redkite_memory_limit_bytes 7"];
        assert_eq!(lines, shown);
    }

    #[test]
    fn gauges_follow_however_long_it_takes_to_measure() {
        let ms = std::time::Duration::from_millis;

        assert_eq!([0, 200, 5_000_000].map(|took| pause(ms(took))), [MEASURE, ms(10_000), STALE]);
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
