//! `/management/...` on the port for operators: Milvus's paths for those who steer a cluster by hand. Each is a call of the
//! coordinator, or about this process; who may ask is seen to before.
//!
//! Parameters come in the query, as a form, or as an object of JSON. Every answer is JSON: what was asked for, or `msg`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use contract::role::Role;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::altered::Altered;
use super::operations::json_answer;
use crate::base::{ChannelName, Kind, Kinded as _, NodeId, SegmentId};
use crate::obs::Health;
use crate::rpc::{
    self, Coord, HeldCollection, HeldParts, HeldTransfer, NodeState, NodeStatus, SteerChange, Steering,
};

/// All paths begin so.
pub const PREFIX: &str = "/management";
/// The longest pause of garbage. Unit: seconds. Milvus's number has 32 bits.
const LONGEST_PAUSE_S: u64 = i32::MAX as u64;

/// What the paths stand on.
pub struct Management {
    /// What the process is.
    pub role: Role,
    /// How it is.
    pub health: Health,
    /// Its settings.
    pub settings: Altered,
    /// Whoever leads, as soon as the process knows how to ask.
    pub coord: OnceLock<Arc<dyn Coord>>,
    /// Cancelled once the process is asked to stop.
    pub stop: CancellationToken,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    /// There is no such path.
    #[error("there is no such path on this port")]
    NoPath,
    /// A parameter is missing.
    #[error("the parameter {name} is missing")]
    Missing { name: &'static str },
    /// A parameter is not what it should be.
    #[error("the parameter {name} is {text}, and should be {wanted}")]
    Parameter { name: &'static str, text: String, wanted: &'static str },
    /// It cannot be done as it was asked for.
    #[error("{text}")]
    Wrong { text: String },
    /// It is not so, or not now.
    #[error("{text}")]
    NotNow { text: String },
    /// The coordinator did not do it.
    #[error("{0}")]
    Coord(rpc::Error),
}

impl NotDone {
    fn answer(&self) -> Response {
        let status = match self {
            Self::NoPath => StatusCode::NOT_FOUND,
            Self::Missing { .. } | Self::Parameter { .. } | Self::Wrong { .. } => StatusCode::BAD_REQUEST,
            Self::NotNow { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Coord(error) => match error.kind() {
                Kind::Invalid => StatusCode::BAD_REQUEST,
                Kind::Denied => StatusCode::FORBIDDEN,
                Kind::NotFound => StatusCode::NOT_FOUND,
                Kind::Exists | Kind::Conflict => StatusCode::CONFLICT,
                Kind::Exhausted | Kind::Fenced | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Corrupt | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        json_answer(status, &json!({ "msg": self.to_string() }))
    }
}

/// A request that an administrator made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    method: Method,
    /// What comes after the prefix.
    path: String,
    parameters: BTreeMap<String, String>,
}

impl Asked {
    /// Reads a request. A parameter of the body counts before one of the same name in the query.
    ///
    /// # Errors
    /// [`NotDone::Wrong`] for one that cannot be read.
    fn read(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Self, NotDone> {
        let bad = |text: &str| Err(NotDone::Wrong { text: text.to_owned() });
        let path = uri.path().strip_prefix(PREFIX).unwrap_or_default().trim_matches('/').to_owned();
        let Some(mut parameters) = pairs(uri) else { return bad("the query cannot be read") };
        let body = String::from_utf8_lossy(body);
        let body = body.trim();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if kind.contains("json") || body.starts_with('{') {
            if !body.is_empty() {
                let Some(members) = members(body) else { return bad("the body is not an object of JSON") };
                parameters.extend(members);
            }
        } else if !body.is_empty() {
            let read = Uri::from_str(&format!("/?{body}")).ok().as_ref().and_then(pairs);
            let Some(more) = read else { return bad("the body is neither a form nor JSON") };
            parameters.extend(more);
        }
        Ok(Self { method: method.clone(), path, parameters })
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn text(&self, name: &'static str) -> Result<&str, NotDone> {
        self.find(name).ok_or(NotDone::Missing { name })
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, NotDone> {
        let Some(text) = self.find(name) else { return Ok(None) };
        let wrong =
            |_| NotDone::Parameter { name, text: text.to_owned(), wanted: "a whole number that fits" };
        text.parse().map(Some).map_err(wrong)
    }

    fn node(&self, name: &'static str) -> Result<NodeId, NotDone> {
        self.number(name)?.map(NodeId).ok_or(NotDone::Missing { name })
    }
}

/// The parameters of a query.
fn pairs(uri: &Uri) -> Option<BTreeMap<String, String>> {
    let read = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    Some(read.0.into_iter().collect())
}

/// The members of an object of JSON, as text.
fn members(body: &str) -> Option<BTreeMap<String, String>> {
    let Ok(Value::Object(read)) = serde_json::from_str(body) else { return None };
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(read.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// What is answered to what was done.
fn done() -> Value {
    json!({ "msg": "OK" })
}

impl Management {
    /// Does what is asked for. `from`: who asks, for the log.
    pub async fn answer(&self, head: &Parts, body: &[u8], from: &str) -> Response {
        let read = Asked::read(&head.method, &head.uri, &head.headers, body);
        let said = match read {
            Ok(asked) => self.run(&asked, from).await,
            Err(wrong) => Err(wrong),
        };
        match said {
            Ok(said) => json_answer(StatusCode::OK, &said),
            Err(wrong) => wrong.answer(),
        }
    }

    async fn run(&self, asked: &Asked, from: &str) -> Result<Value, NotDone> {
        if !matches!(asked.method, Method::GET | Method::POST | Method::PUT) {
            return Err(NotDone::NoPath);
        }
        match asked.path.as_str() {
            "check/ready" => self.check_ready(asked).await,
            "config/get" => self.show_settings(asked),
            "datacoord/garbage_collection/status" => Ok(garbage(&self.steering().await?)),
            "querycoord/balance/status" => Ok(balance(&self.steering().await?)),
            "querycoord/node/list" => self.list_nodes().await,
            "querycoord/distribution/get" => self.distribution(asked).await,
            "querycoord/distribution/check" => self.check_distribution(asked).await,
            _ => self.change(asked, from).await,
        }
    }

    /// What changes something.
    async fn change(&self, asked: &Asked, from: &str) -> Result<Value, NotDone> {
        let path = asked.path.as_str();
        match path {
            "stop" => self.ask_to_stop(asked)?,
            "config/alter" => self.alter(asked)?,
            "datacoord/garbage_collection/pause" => self.steer(pause(asked)?).await?,
            "datacoord/garbage_collection/resume" => {
                refuse_collection(asked)?;
                self.steer(SteerChange::ResumeGarbage).await?;
            }
            "querycoord/balance/suspend" => self.steer(SteerChange::SuspendBalance(true)).await?,
            "querycoord/balance/resume" => self.steer(SteerChange::SuspendBalance(false)).await?,
            "querycoord/node/suspend" => self.suspend(asked, true).await?,
            "querycoord/node/resume" => self.suspend(asked, false).await?,
            "querycoord/transfer/segment" | "querycoord/transfer/channel" => {
                let transfer = transfer(asked, path.ends_with("segment"))?;
                self.coord()?.transfer_held(transfer).await.map_err(NotDone::Coord)?;
            }
            _ => return Err(NotDone::NoPath),
        }
        info!(path, from, "an administrator asked for it");
        Ok(done())
    }

    fn coord(&self) -> Result<&dyn Coord, NotDone> {
        let coord = self.coord.get().map(Arc::as_ref);
        coord.ok_or_else(|| NotDone::NotNow { text: "the process is starting".to_owned() })
    }

    async fn steer(&self, change: SteerChange) -> Result<(), NotDone> {
        self.coord()?.steer(change).await.map_err(NotDone::Coord)
    }

    async fn steering(&self) -> Result<Steering, NotDone> {
        self.coord()?.steering().await.map_err(NotDone::Coord)
    }

    async fn suspend(&self, asked: &Asked, on: bool) -> Result<(), NotDone> {
        self.steer(SteerChange::SuspendNode { node: asked.node("node_id")?, on }).await
    }

    /// The role that is meant, and whether this process has it.
    fn meant(&self, asked: &Asked) -> Result<(Role, bool), NotDone> {
        let text = asked.text("role")?;
        let wrong = || NotDone::Parameter { name: "role", text: text.to_owned(), wanted: "one of the roles" };
        let role = Role::from_name(text).ok_or_else(wrong)?;
        Ok((role, role == self.role || self.role == Role::Standalone))
    }

    /// As on SIGTERM: what the process has is handed over first.
    fn ask_to_stop(&self, asked: &Asked) -> Result<(), NotDone> {
        let (role, _) = self.meant(asked)?;
        if role != self.role {
            let own = self.role.name();
            let text = format!("this process is a {own}: to stop a {}, ask it at its own port", role.name());
            return Err(NotDone::Wrong { text });
        }
        self.stop.cancel();
        Ok(())
    }

    /// Whether this process, or some other one of a role, does its work.
    async fn check_ready(&self, asked: &Asked) -> Result<Value, NotDone> {
        let (role, is_own) = self.meant(asked)?;
        if is_own {
            let (well, text) = self.health.report();
            return if well { Ok(done()) } else { Err(NotDone::NotNow { text }) };
        }
        let coord = self.coord()?;
        let ready = match role {
            Role::Coordinator => coord.lead().await.map_err(NotDone::Coord)?.settled,
            other => {
                let nodes = coord.nodes().await.map_err(NotDone::Coord)?;
                nodes.iter().any(|node| node.state == NodeState::Serving && node.info.role == other.name())
            }
        };
        let text = || format!("no {} is ready", role.name());
        if ready { Ok(done()) } else { Err(NotDone::NotNow { text: text() }) }
    }

    fn show_settings(&self, asked: &Asked) -> Result<Value, NotDone> {
        let rows = self.settings.table().map_err(|error| NotDone::NotNow { text: error.to_string() })?;
        let shown = |row: &contract::admin::Setting| json!({ "key": row.key, "value": row.value });
        let configs: Vec<Value> = match asked.find("keys") {
            None => rows.iter().map(shown).collect(),
            Some(keys) => {
                let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
                let one = |key: &str| {
                    let row = rows.iter().find(|row| row.key.eq_ignore_ascii_case(key));
                    let unknown = || json!({ "key": key, "error": format!("there is no setting {key}") });
                    // The key as it was asked for, by which it is looked for in the answer.
                    row.map_or_else(unknown, |row| json!({ "key": key, "value": row.value }))
                };
                keys.map(one).collect()
            }
        };
        Ok(json!({ "configs": configs }))
    }

    fn alter(&self, asked: &Asked) -> Result<(), NotDone> {
        if asked.method == Method::GET {
            return Err(NotDone::NoPath);
        }
        let key = asked.text("key")?;
        let value = asked.parameters.get("value").ok_or(NotDone::Missing { name: "value" })?;
        let altered = self.settings.alter(key, value);
        altered.map_err(|error| NotDone::Wrong { text: error.to_string() })?;
        info!(key, "a setting was changed until the next start");
        Ok(())
    }

    async fn query_nodes(&self) -> Result<Vec<NodeStatus>, NotDone> {
        let mut nodes = self.coord()?.nodes().await.map_err(NotDone::Coord)?;
        nodes.retain(|node| node.info.duties.queries);
        Ok(nodes)
    }

    async fn list_nodes(&self) -> Result<Value, NotDone> {
        let (nodes, steering) = (self.query_nodes().await?, self.steering().await?);
        let shown = nodes.iter().map(|node| {
            let state = match node.state {
                NodeState::Draining | NodeState::Leaving => "Stopping",
                NodeState::Serving if steering.suspended.contains(&node.info.id) => "Suspend",
                NodeState::Serving => "Normal",
            };
            json!({ "ID": node.info.id.0, "address": node.info.address, "state": state })
        });
        Ok(json!({ "nodeInfos": shown.collect::<Vec<_>>() }))
    }

    async fn distribution(&self, asked: &Asked) -> Result<Value, NotDone> {
        let id = asked.node("node_id")?;
        let held = held(&self.query_nodes().await?, "node_id", id)?;
        let channels: Vec<_> = held.channels.iter().map(ChannelName::as_str).collect();
        let segments: Vec<_> = held.segments.iter().map(|segment| segment.0).collect();
        Ok(json!({ "ID": id.0, "channel_names": channels, "sealed_segmentIDs": segments }))
    }

    /// Whether one node holds all that another does.
    async fn check_distribution(&self, asked: &Asked) -> Result<Value, NotDone> {
        let nodes = self.query_nodes().await?;
        let [one, other] = ["source_node_id", "target_node_id"]
            .map(|name| asked.node(name).and_then(|id| held(&nodes, name, id)));
        let (one, other) = (one?, other?);
        let channels: Vec<_> = one.channels.difference(&other.channels).map(ChannelName::as_str).collect();
        let segments: Vec<_> = one.segments.difference(&other.segments).map(ToString::to_string).collect();
        if channels.is_empty() && segments.is_empty() {
            return Ok(done());
        }
        let text = format!(
            "the target does not hold channels [{}] and segments [{}]",
            channels.join(", "),
            segments.join(", ")
        );
        Err(NotDone::NotNow { text })
    }
}

/// What a query node holds, ready to be read.
#[derive(Debug, Default)]
struct Held {
    /// Channels whose rows that are not sealed it has.
    channels: BTreeSet<ChannelName>,
    segments: BTreeSet<SegmentId>,
}

/// What a node among these holds.
fn held(nodes: &[NodeStatus], name: &'static str, id: NodeId) -> Result<Held, NotDone> {
    let node = nodes.iter().find(|node| node.info.id == id);
    let wrong = || NotDone::Parameter { name, text: id.to_string(), wanted: "the number of a query node" };
    let mut held = Held::default();
    for channel in node.ok_or_else(wrong)?.held.iter().flat_map(|held: &HeldCollection| &held.channels) {
        held.segments.extend(&channel.segments);
        if channel.growing_from.is_some() {
            held.channels.insert(channel.channel.clone());
        }
    }
    Ok(held)
}

fn garbage(steering: &Steering) -> Value {
    let seconds = steering.garbage_paused_ms.div_ceil(1_000);
    json!({ "msg": "OK", "is_paused": seconds > 0, "time_remaining_seconds": seconds })
}

fn balance(steering: &Steering) -> Value {
    let status = if steering.balance_suspended { "suspended" } else { "active" };
    json!({ "msg": "OK", "status": status })
}

/// The pause that is asked for.
fn pause(asked: &Asked) -> Result<SteerChange, NotDone> {
    const NAME: &str = "pause_seconds";
    refuse_collection(asked)?;
    let seconds: u64 = asked.number(NAME)?.ok_or(NotDone::Missing { name: NAME })?;
    if !(1..=LONGEST_PAUSE_S).contains(&seconds) {
        let wanted = "a number of seconds from 1 to 2147483647";
        return Err(NotDone::Parameter { name: NAME, text: seconds.to_string(), wanted });
    }
    Ok(SteerChange::PauseGarbage { seconds })
}

/// Whoever means one collection must not end the pause that another one relies on. Milvus takes 0 and less for all of them.
fn refuse_collection(asked: &Asked) -> Result<(), NotDone> {
    let named = asked.number::<i64>("collection_id")?.filter(|id| *id > 0);
    let text = "garbage is paused of all collections together: leave collection_id out";
    named.map_or(Ok(()), |_| Err(NotDone::Wrong { text: text.to_owned() }))
}

/// The transfer that is asked for, of segments or else of channels.
fn transfer(asked: &Asked, is_of_segments: bool) -> Result<HeldTransfer, NotDone> {
    let copies = asked.find("copy_mode").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    if copies {
        let text = "nothing is copied: what is moved is held by its node until the other one has it";
        return Err(NotDone::Wrong { text: text.to_owned() });
    }
    let parts = if is_of_segments {
        let segment = asked.number("segment_id")?.map(SegmentId);
        HeldParts::Segments(segment.into_iter().collect())
    } else {
        let channel = asked.find("channel_name").map(|name| ChannelName(name.into()));
        HeldParts::Channels(channel.into_iter().collect())
    };
    let (from, to) = (asked.node("source_node_id")?, asked.number("target_node_id")?.map(NodeId));
    Ok(HeldTransfer { from, to, parts })
}

#[cfg(test)]
pub(super) use tests::fixture;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::Request;
    use contract::settings::Settings;

    use super::*;
    use crate::base::{CollectionId, Position, RealClock, TaskSet};
    use crate::blob::MemoryBlobs;
    use crate::coord::{Candidacy, CandidacyParts, CompactionLimits, LeadSettings, Limits};
    use crate::meta::MemoryMetas;
    use crate::obs::{Lines, TraceSettings};
    use crate::rpc::{Duties, HeldChannel, LocalNodes, NodeInfo, Report};

    /// The paths of a process that does not know yet how to ask the leader.
    pub(in crate::assembly) fn fixture(role: Role) -> Management {
        let lines = Lines::unstarted(&TraceSettings::default(), RealClock::new());
        let health = Health::new();
        health.ok(role.name());
        Management {
            role,
            health,
            settings: Altered::new(Settings::default(), Arc::new(|| Ok(Settings::default())), lines),
            coord: OnceLock::new(),
            stop: CancellationToken::new(),
        }
    }

    /// A coordinator that leads alone.
    async fn leader(tasks: &TaskSet) -> Arc<Candidacy> {
        let ttl = Duration::from_secs(600);
        let candidacy = Candidacy::new(CandidacyParts {
            metas: MemoryMetas::new(),
            blobs: MemoryBlobs::new(),
            clock: RealClock::new(),
            dial: LocalNodes::new(),
            limits: Limits {
                databases: 9,
                collections: 9,
                partitions: 9,
                min_rows_to_index: 1_000,
                groups: 9,
                compaction: CompactionLimits::default(),
            },
            lost_after: ttl,
            lead: LeadSettings { ttl, every: ttl / 6, alone: true, address: "a".to_owned() },
            flaw: None,
        });
        let standing = Arc::clone(&candidacy);
        tasks.start("lead", |stop| standing.run(stop));
        while !candidacy.leads() {
            tokio::task::yield_now().await;
        }
        candidacy
    }

    fn channel(shard: u32) -> ChannelName {
        ChannelName::of(CollectionId(5), shard)
    }

    /// A query node reports that it holds these segments, and rows of the first channel that are not sealed.
    async fn report(coord: &Candidacy, id: i64, segments: &[i64]) {
        let held = HeldChannel {
            channel: channel(0),
            segments: segments.iter().copied().map(SegmentId).collect(),
            growing_from: (!segments.is_empty()).then_some(Position(3)),
            applied: Position(9),
            needs_from: Position(3),
        };
        let held = HeldCollection {
            collection: CollectionId(5),
            channels: vec![held],
            bytes: 0,
            failure: None,
            is_full: false,
            damaged: Vec::new(),
            harm: None,
            extent: rpc::Extent::Unsaid,
        };
        let node = NodeInfo {
            id: NodeId(id),
            address: format!("n{id}:1"),
            role: "querynode".to_owned(),
            duties: Duties { queries: true, ..Duties::default() },
            ..NodeInfo::default()
        };
        coord.beat(Report { node, held: vec![held], ..Report::default() }).await.unwrap();
    }

    async fn ask(
        management: &Management,
        method: Method,
        path: &str,
        (kind, body): (&'static str, &str),
    ) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(format!("{PREFIX}/{path}"));
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let answer = management.answer(&head, body.as_bytes(), "test").await;
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn get(management: &Management, path: &str) -> (u16, Value) {
        ask(management, Method::GET, path, ("", "")).await
    }

    fn ok() -> (u16, Value) {
        (200, json!({ "msg": "OK" }))
    }

    fn bad(text: &str) -> (u16, Value) {
        (400, json!({ "msg": text }))
    }

    #[test]
    fn parameters_are_read_from_query_form_and_json() {
        let read = |path: &str, kind: &'static str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
            let asked = Asked::read(&Method::POST, &path.parse().unwrap(), &headers, body.as_bytes());
            asked.map(|asked| (asked.path, asked.parameters)).map_err(|wrong| wrong.to_string())
        };
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Ok(("a/b".to_owned(), pairs.collect::<BTreeMap<_, _>>()))
        };
        let form = "application/x-www-form-urlencoded";

        assert_eq!(read("/management/a/b?x=1&y=a%20b", "", ""), of(&[("x", "1"), ("y", "a b")]));
        assert_eq!(read("/management/a/b/?x=1", form, "x=2&y=%2F\n"), of(&[("x", "2"), ("y", "/")]));
        let json = r#"{"x": 3, "y": "z"}"#;
        assert_eq!(read("/management/a/b", "application/json", json), of(&[("x", "3"), ("y", "z")]));
        assert_eq!(read("/management/a/b", form, json), of(&[("x", "3"), ("y", "z")]));
        assert_eq!(
            read("/management/a/b", "application/json", "[1]"),
            Err("the body is not an object of JSON".to_owned())
        );
        assert_eq!(read("/management/a/b", "", "a b"), Err("the body is neither a form nor JSON".to_owned()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_steered_by_hand_is_done_by_the_leader_and_shown() {
        let (tasks, management) = (TaskSet::new(), fixture(Role::Proxy));
        let starting = (503, json!({ "msg": "the process is starting" }));
        assert_eq!(get(&management, "querycoord/balance/suspend").await, starting);
        let coord = leader(&tasks).await;
        assert!(management.coord.set(Arc::clone(&coord) as _).is_ok());
        report(&coord, 1, &[11, 12]).await;
        report(&coord, 2, &[12]).await;

        assert_eq!(get(&management, "datacoord/garbage_collection/pause?pause_seconds=60").await, ok());
        let (status, paused) = get(&management, "datacoord/garbage_collection/status").await;
        assert_eq!((status, &paused["is_paused"]), (200, &json!(true)));
        assert!((55..=60).contains(&paused["time_remaining_seconds"].as_u64().unwrap()), "{paused}");
        assert_eq!(get(&management, "datacoord/garbage_collection/resume").await, ok());
        let (_, resumed) = get(&management, "datacoord/garbage_collection/status").await;
        assert_eq!(resumed, json!({ "msg": "OK", "is_paused": false, "time_remaining_seconds": 0 }));

        assert_eq!(get(&management, "querycoord/balance/suspend").await, ok());
        let (_, status) = get(&management, "querycoord/balance/status").await;
        assert_eq!(status["status"], json!("suspended"));
        assert_eq!(get(&management, "querycoord/balance/resume").await, ok());
        let (_, status) = get(&management, "querycoord/balance/status").await;
        assert_eq!(status["status"], json!("active"));

        let form = ("application/x-www-form-urlencoded", "node_id=2");
        assert_eq!(ask(&management, Method::POST, "querycoord/node/suspend", form).await, ok());
        let node = |id: i64, state: &str| json!({ "ID": id, "address": format!("n{id}:1"), "state": state });
        let (_, nodes) = get(&management, "querycoord/node/list").await;
        assert_eq!(nodes, json!({ "nodeInfos": [node(1, "Normal"), node(2, "Suspend")] }));
        assert_eq!(ask(&management, Method::POST, "querycoord/node/resume", form).await, ok());
        let (_, nodes) = get(&management, "querycoord/node/list").await;
        assert_eq!(nodes, json!({ "nodeInfos": [node(1, "Normal"), node(2, "Normal")] }));
        tasks.stop();
        tasks.join().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_query_nodes_hold_is_shown_and_compared() {
        let (tasks, management) = (TaskSet::new(), fixture(Role::QueryNode));
        let coord = leader(&tasks).await;
        assert!(management.coord.set(Arc::clone(&coord) as _).is_ok());
        report(&coord, 1, &[11, 12]).await;
        report(&coord, 2, &[12]).await;
        report(&coord, 3, &[]).await;

        let (status, held) = get(&management, "querycoord/distribution/get?node_id=1").await;
        let name = channel(0).to_string();
        let expected = json!({ "ID": 1, "channel_names": [name], "sealed_segmentIDs": [11, 12] });
        assert_eq!((status, held), (200, expected));
        let check = async |source: i64, target: i64| {
            let ids = format!("source_node_id={source}&target_node_id={target}");
            get(&management, &format!("querycoord/distribution/check?{ids}")).await
        };
        assert_eq!(check(2, 1).await, ok());
        let text = "the target does not hold channels [] and segments [11]";
        assert_eq!(check(1, 2).await, (503, json!({ "msg": text })));
        let text = format!("the target does not hold channels [{name}] and segments [12]");
        assert_eq!(check(2, 3).await, (503, json!({ "msg": text })));
        let text = "the parameter target_node_id is 9, and should be the number of a query node";
        assert_eq!(check(1, 9).await, bad(text));

        let transfer = async |path: &str| get(&management, &format!("querycoord/transfer/{path}")).await;
        assert_eq!(
            transfer("segment?source_node_id=1&target_node_id=2&segment_id=11").await,
            bad("segment 11 is not on query node 1"),
            "no order says that it should be"
        );
        assert_eq!(
            transfer(&format!("channel?source_node_id=1&channel_name={name}")).await,
            bad(&format!("channel {name} is not followed by query node 1"))
        );
        assert_eq!(
            transfer("segment?source_node_id=1&target_node_id=2").await,
            ok(),
            "there is nothing to move"
        );
        tasks.stop();
        tasks.join().await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_meant_so_is_refused_by_what_is_wrong_with_it() {
        let management = fixture(Role::Proxy);

        for (path, text) in [
            ("datacoord/garbage_collection/pause", "the parameter pause_seconds is missing"),
            (
                "datacoord/garbage_collection/pause?pause_seconds=0",
                "the parameter pause_seconds is 0, and should be a number of seconds from 1 to 2147483647",
            ),
            (
                "datacoord/garbage_collection/pause?pause_seconds=soon",
                "the parameter pause_seconds is soon, and should be a whole number that fits",
            ),
            (
                "datacoord/garbage_collection/resume?collection_id=7",
                "garbage is paused of all collections together: leave collection_id out",
            ),
            ("querycoord/node/suspend", "the parameter node_id is missing"),
            (
                "querycoord/transfer/segment?source_node_id=1&copy_mode=True",
                "nothing is copied: what is moved is held by its node until the other one has it",
            ),
            ("querycoord/transfer/channel", "the parameter source_node_id is missing"),
            ("stop", "the parameter role is missing"),
            ("stop?role=driver", "the parameter role is driver, and should be one of the roles"),
            ("stop?role=querynode", "this process is a proxy: to stop a querynode, ask it at its own port"),
        ] {
            assert_eq!(get(&management, path).await, bad(text), "{path}");
        }
        let none = (404, json!({ "msg": "there is no such path on this port" }));
        assert_eq!(get(&management, "rootcoord/none").await, none);
        assert_eq!(get(&management, "config/alter?key=log.level&value=debug").await, none);
        assert!(!management.stop.is_cancelled());
    }

    #[tokio::test]
    async fn settings_are_shown_by_the_keys_that_are_asked_for_and_changed_by_post() {
        let management = fixture(Role::Proxy);
        let alter = async |body: &str| {
            ask(&management, Method::POST, "config/alter", ("application/json", body)).await
        };

        assert_eq!(alter(r#"{"key":"log.level","value":"warn"}"#).await, ok());
        let refused = alter(r#"{"key":"minio.bucketName","value":"b"}"#).await;
        assert_eq!(refused.0, 400);
        assert_eq!(alter(r#"{"key":"log.level"}"#).await, bad("the parameter value is missing"));

        let (status, shown) = get(&management, "config/get?keys=LOG.level,minio.bucketName,no.such").await;
        let expected = json!({ "configs": [
            { "key": "LOG.level", "value": "warn" },
            { "key": "minio.bucketName", "value": "a-bucket" },
            { "key": "no.such", "error": "there is no setting no.such" },
        ] });
        assert_eq!((status, shown), (200, expected));
        let (_, all) = get(&management, "config/get").await;
        assert_eq!(all["configs"].as_array().unwrap().len(), contract::settings::KEYS.len());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_role_is_ready_here_or_at_some_other_process_and_stops_where_it_is() {
        let (tasks, management) = (TaskSet::new(), fixture(Role::Proxy));
        let coord = leader(&tasks).await;
        assert!(management.coord.set(Arc::clone(&coord) as _).is_ok());
        let ready = async |role: &str| get(&management, &format!("check/ready?role={role}")).await;

        assert_eq!(ready("querynode").await, (503, json!({ "msg": "no querynode is ready" })));
        report(&coord, 1, &[]).await;
        assert_eq!(ready("querynode").await, ok());
        assert_eq!(ready("rootcoord").await, ok());
        assert_eq!(ready("proxy").await, ok());
        management.health.failing("proxy", "draining");
        assert_eq!(ready("proxy").await, (503, json!({ "msg": "proxy: draining" })));

        assert_eq!(get(&management, "stop?role=proxy").await, ok());
        assert!(management.stop.is_cancelled());
        tasks.stop();
        tasks.join().await.unwrap();
    }
}
