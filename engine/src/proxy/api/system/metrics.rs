//! What `GetMetrics` says of the nodes. Source: wire specification 2.19.

use serde_json::{Map, Value as Json, json};

use super::nodes::{self, Component};
use super::{Cluster, Unheard};
use crate::base::{NodeId, Timestamp};
use crate::calendar::{self, TimeZone};
use crate::proxy::{Error, ProxySettings};
use crate::rpc::{NodeInfo, Usage};

/// The only kind of metrics there is: what the nodes are and how they do.
const SYSTEM_INFO: &str = "system_info";
/// As much of an unknown kind is said again. Unit: characters.
const MOST_SAID: usize = 64;
/// As much is said of why a request cannot be read, which may have all of it in it. Unit: characters.
const MOST_WHY: usize = 200;
/// Milvus gives sizes of disks in these. Unit: bytes.
const GB: f64 = 1e9;

/// Reads a request: nothing but the one kind passes.
///
/// # Errors
/// [`Error::MetricRequest`] for what is no JSON object with a `metric_type`, [`Error::MetricNotFound`] for another kind.
pub fn check(request: &str) -> Result<(), Error> {
    let unread = |reason: String| Error::MetricRequest { reason };
    let request: Map<String, Json> = serde_json::from_str(request)
        .map_err(|error| unread(error.to_string().chars().take(MOST_WHY).collect()))?;
    let asked =
        request.get("metric_type").ok_or_else(|| unread("metric_type not found in request".to_owned()))?;
    let asked = asked.as_str().ok_or_else(|| unread("metric_type is not a text".to_owned()))?;
    if asked == SYSTEM_INFO {
        return Ok(());
    }
    Err(Error::MetricNotFound { metric: asked.chars().take(MOST_SAID).collect() })
}

/// Everything that the answer is made of.
pub struct Picture<'a> {
    /// The node that was asked.
    pub own: &'a NodeInfo,
    /// What its process takes now, if that is measured.
    pub usage: Option<Usage>,
    /// What is known of the others.
    pub cluster: &'a Result<Cluster, Unheard>,
    /// What the proxy says of itself.
    pub settings: &'a ProxySettings,
    /// When this was asked.
    pub now: Timestamp,
}

impl Picture<'_> {
    /// The answer: one entry for each component. Numbers are 0 where they are not known.
    pub fn draw(&self) -> Json {
        let all = nodes::components(self.own, self.cluster);
        let entries: Vec<Json> = all.iter().map(|one| self.entry(one, &all)).collect();
        json!({ "nodes_info": entries })
    }

    fn entry(&self, of: &Component<'_>, all: &[Component<'_>]) -> Json {
        let connected: Vec<Json> = all
            .iter()
            .filter_map(|to| {
                let relation = nodes::relation(of.name, to.name)?;
                Some(json!({ "connected_identifier": to.id.0, "type": relation, "target_type": to.name }))
            })
            .collect();
        json!({
            "identifier": of.id.0,
            "connected": if connected.is_empty() { Json::Null } else { Json::Array(connected) },
            "infos": self.infos(of),
        })
    }

    fn infos(&self, of: &Component<'_>) -> Json {
        let unheard = self.cluster.as_ref().err().filter(|_| nodes::coordinates(of));
        let lead = self.cluster.as_ref().ok().map(|cluster| &cluster.lead).filter(|_| nodes::coordinates(of));
        // Who leads is shown since when it does.
        let since = lead.map(|lead| lead.since).or(of.status.map(|status| status.since)).unwrap_or_default();
        let version = of.info.map(|info| info.version.as_str()).or(lead.map(|lead| lead.version.as_str()));
        let settings = self.settings;
        json!({
            "has_error": unheard.is_some(),
            "error_reason": unheard.map_or("", |unheard| unheard.0.as_str()),
            "name": of.name,
            "hardware_infos": self.hardware(of, lead.map_or("", |lead| lead.address.as_str())),
            "system_info": {
                "system_version": version.unwrap_or_default(),
                "deploy_mode": settings.deploy_mode(),
                "build_version": settings.version,
                "build_time": settings.built_at,
                "used_go_version": super::NO_GO,
            },
            "system_configurations": configurations(of),
            "created_time": time(since),
            "updated_time": time(self.now),
            "type": of.name,
            "id": of.id.0,
        })
    }

    fn hardware(&self, of: &Component<'_>, address: &str) -> Json {
        let own = self.usage.filter(|_| of.id == self.own.id && of.id != NodeId(0));
        let usage = own.or(of.status.map(|status| status.load.usage)).unwrap_or_default();
        let processors = of.info.map_or(0, |info| info.processors);
        let busy = if processors == 0 { 0.0 } else { 100.0 * usage.processors / f64::from(processors) };
        json!({
            "ip": of.info.map_or(host_of(address), ip),
            "cpu_core_count": processors,
            // In hundredths of all of them.
            "cpu_core_usage": busy,
            "memory": of.info.map_or(0, |info| info.machine_bytes),
            "memory_usage": usage.memory_bytes,
            "disk": usage.disk_limit_bytes as f64 / GB,
            "disk_usage": usage.disk_bytes as f64 / GB,
        })
    }
}

/// What a component is set up to do.
fn configurations(of: &Component<'_>) -> Json {
    let mut shown = Map::new();
    if let Some(info) = of.info {
        shown.insert("role".to_owned(), json!(info.role));
        shown.insert("hostname".to_owned(), json!(info.host));
        shown.insert("data_memory_bytes".to_owned(), json!(info.memory_bytes));
    }
    if let Some(status) = of.status {
        shown.insert("resource_group".to_owned(), json!(status.group));
    }
    Json::Object(shown)
}

/// The machine part of an address.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or("", |(host, _)| host)
}

/// Where a node is. One that no other calls has no address: it is where it was asked.
fn ip(info: &NodeInfo) -> &str {
    let host = host_of(&info.address);
    if host.is_empty() { &info.host } else { host }
}

/// A time as text in UTC; empty if it is not known.
fn time(at: Timestamp) -> String {
    if at == Timestamp::ZERO {
        return String::new();
    }
    let micros = i64::try_from(at.unix_ms()).unwrap_or(0).saturating_mul(1000);
    calendar::show(micros, &TimeZone::default())
}
