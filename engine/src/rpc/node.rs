//! What nodes tell the coordinator, and what it tells them: one call, the beat, in both directions.
//!
//! A node reports everything it has, each time; the coordinator answers with what changed of its orders. Both are whole
//! states and not events, so a lost, repeated or late call does no harm and a new leader learns everything in one round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CollectionInfo, Extent};
use crate::base::{ChannelName, CollectionId, NodeId, Position, SegmentId, Timestamp};
use crate::model::ChannelManifest;

/// What a node can be asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Duties {
    /// Takes calls of clients, and so has tables to be kept fresh.
    pub proxies: bool,
    /// Owns channels.
    pub writes: bool,
    /// Holds data and answers reads.
    pub queries: bool,
    /// Builds indexes and compacts.
    pub builds: bool,
}

/// One running process, as it introduces itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInfo {
    /// Its number: new at each start, never reused.
    pub id: NodeId,
    /// Where calls to it go; meaningful to [`super::Dial`].
    pub address: String,
    /// The name of its machine or pod, for people.
    pub host: String,
    /// The role it was started as, for people.
    pub role: String,
    /// What it can be asked to do.
    pub duties: Duties,
    /// Its labels, by which resource groups choose it.
    pub labels: BTreeMap<String, String>,
    /// What it may hold of loaded data. Unit: bytes; 0 for no limit.
    pub memory_bytes: u64,
    /// Its version, for people and for upgrades.
    pub version: String,
    /// The newest version of the formats that it reads; 0 from a node that is too old to say.
    pub newest_format: u32,
    /// Whether it puts vectors on its disk that need not be in memory; a node that is too old to say does not.
    pub maps_vectors: bool,
    /// Processors that it may use; 0 from a node that does not say.
    pub processors: u32,
    /// Memory that its machine or container has for it, for people: what it may hold of data is less. Unit: bytes; 0 if it is not
    /// known.
    pub machine_bytes: u64,
}

impl NodeInfo {
    /// Where it stands, as its labels say; empty if they do not.
    #[must_use]
    pub fn zone(&self) -> &str {
        ZONES.iter().find_map(|label| self.labels.get(*label)).map_or("", String::as_str)
    }
}

/// Labels that name a node's zone, the usual one first.
const ZONES: [&str; 2] = ["topology.kubernetes.io/zone", "ZONE"];

/// Whether a node wants work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Takes what it is given.
    #[default]
    Serving,
    /// Wants to hand over everything it has; is given nothing new.
    Draining,
    /// Is gone on purpose once this is received: nobody need wait for it.
    Leaving,
}

/// A channel that a node has open for writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenChannel {
    /// Which one.
    pub channel: ChannelName,
    /// Under which order.
    pub term: u64,
    /// The term of its log: the log takes nothing more under it once it was opened by a greater one. 0 from nodes of versions
    /// that do not say it.
    #[serde(default)]
    pub opened: u64,
    /// Log records that no sealed segment holds yet. Unit: bytes.
    #[serde(default)]
    pub unsealed_bytes: u64,
}

/// What a node holds of one channel, ready to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldChannel {
    /// Which one.
    pub channel: ChannelName,
    /// Sealed segments that are loaded and have caught up with deletes, ascending.
    pub segments: Vec<SegmentId>,
    /// Rows that are not sealed are held from this position on; `None` if they are not held, or have not caught up yet.
    pub growing_from: Option<Position>,
    /// Every record before this one is applied.
    pub applied: Position,
    /// No record before this one is needed any more, also not for what is still catching up.
    #[serde(default)]
    pub needs_from: Position,
}

/// What a node holds of one collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldCollection {
    /// Which one.
    pub collection: CollectionId,
    /// Channels of which it holds something.
    pub channels: Vec<HeldChannel>,
    /// Memory that all of it takes. Unit: bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Why the rest of its orders cannot be carried out; it goes on trying.
    #[serde(default)]
    pub failure: Option<String>,
    /// Whether that is only for lack of memory.
    #[serde(default)]
    pub is_full: bool,
    /// Segments that do without an index, since its object, whose key this is, is damaged or lost.
    #[serde(default)]
    pub damaged: Vec<(SegmentId, String)>,
    /// What of the rest of its orders is damaged or lost, in words for clients.
    #[serde(default)]
    pub harm: Option<String>,
    /// Which partitions a read may name there, and sees if it names none, as far as the held segments go.
    #[serde(default)]
    pub extent: Extent,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadReport {
    /// Reads under way or waiting.
    pub reads: u32,
    /// How long a read waited for a thread, 99th percentile of the last seconds. Unit: milliseconds.
    #[serde(deserialize_with = "number")]
    pub queue_wait_ms: f64,
    /// How long a read took, 99th percentile of the last seconds. Unit: milliseconds.
    #[serde(deserialize_with = "number")]
    pub p99_ms: f64,
    /// Processor time of the threads that read, in the last seconds, in processors.
    #[serde(deserialize_with = "number")]
    pub search_cpu: f64,
    /// Loaded data. Unit: bytes.
    pub held_bytes: u64,
    /// What is ordered and not loaded yet. Unit: bytes.
    pub bytes_to_load: u64,
    /// The part of its memory that loaded data and rows that are not sealed take: 1 is full, 0 is empty or without a limit.
    #[serde(deserialize_with = "number")]
    pub fullness: f64,
    /// Jobs of a builder under way.
    pub jobs: u32,
    /// What its process takes of its machine.
    pub usage: Usage,
}

/// What a process takes of its machine or container, and how full its disk is, as measured lately; 0 where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Processor time of all its threads, in processors.
    #[serde(deserialize_with = "number")]
    pub processors: f64,
    /// Its memory, without pages of files that the system can read again. Unit: bytes.
    pub memory_bytes: u64,
    /// What anybody has stored on the volume of its data directory. Unit: bytes.
    pub disk_bytes: u64,
    /// The same and what it may still store there. Unit: bytes.
    pub disk_limit_bytes: u64,
}

/// Says what the process takes now. Returns at once.
pub type Measured = Arc<dyn Fn() -> Usage + Send + Sync>;

/// A number; JSON has none that is not finite and writes `null`, which must not lose the whole report.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(from).map(Option::unwrap_or_default)
}

/// Which orders: those of a later leader, or later ones of the same leader, are newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderNumber {
    /// The leader's epoch.
    pub epoch: u64,
    /// Counted up by that leader.
    pub number: u64,
}

/// Everything the coordinator has to know of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Who it is.
    pub node: NodeInfo,
    /// Whether it wants work.
    pub state: NodeState,
    /// The newest orders it has taken over; a proxy's tables are as fresh as that.
    pub seen: OrderNumber,
    /// Of a proxy: reads are still under way that began when these were the newest orders. `None` if all that are under
    /// way go by the newest.
    pub reads_since: Option<OrderNumber>,
    /// Channels it has open.
    pub channels: Vec<OpenChannel>,
    /// Data it holds.
    pub held: Vec<HeldCollection>,
    /// How busy it is.
    pub load: LoadReport,
}

/// A channel that a node is to own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnOrder {
    /// Which one.
    pub channel: ChannelName,
    /// Whose it is.
    pub collection: CollectionId,
    /// Under which term; greater than every one before it.
    pub term: u64,
}

/// What a node is to hold of one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldChannel {
    /// Which one.
    pub channel: ChannelName,
    /// What is sealed of it, newest state. Also lists segments that others hold.
    pub manifest: Arc<ChannelManifest>,
    /// Segments to hold, ascending. One that the manifest no longer lists is kept if it is there, and not loaded.
    pub segments: Vec<SegmentId>,
    /// Hold rows that are not sealed, from this position on; `None` for none. Moves forward only.
    pub growing_from: Option<Position>,
}

/// What a node is to hold of one collection. A later one replaces it whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldOrder {
    /// The collection as of now.
    pub info: Arc<CollectionInfo>,
    /// Channels of which it is to hold something.
    pub channels: Vec<HoldChannel>,
}

/// What changed of a node's orders since those it had seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orders {
    /// Their number, to be reported as seen once they are taken over.
    pub number: OrderNumber,
    /// Whether these are all there are: whatever is not in them, nor to be kept, is not to be held.
    pub whole: bool,
    /// Collections to hold, each in its newest form.
    pub hold: Vec<HoldOrder>,
    /// Collections not to be held any more.
    pub release: Vec<CollectionId>,
    /// With `whole`: collections of which a node goes on holding what it has, if it has any. The leader does not know what is to
    /// be held of them.
    pub keep: Vec<CollectionId>,
    /// All channels to own, if that changed.
    pub own: Option<Vec<OwnOrder>>,
    /// Collections of which a proxy must forget what it knows; with `whole`, all of them.
    pub changed: Vec<CollectionId>,
    /// Collections of which a proxy must forget the routes, and no more.
    pub rerouted: Vec<CollectionId>,
    /// Whether a proxy must forget who may do what, as it also must with `whole`.
    pub policy: bool,
    /// The coordinator's time when it answered.
    pub now: Timestamp,
    /// How long after the beat was sent its answer proves that nobody else has been made owner of the node's channels. Zero
    /// from a leader that may have been replaced without knowing.
    pub lease: Duration,
    /// The resource group that the node is in; empty for none.
    pub group: String,
    /// The version of the formats that the cluster writes; 0 from a leader that is too old to say.
    pub format: u32,
}

/// A duty's side of the beats: it says what it has and does what it is told.
#[async_trait::async_trait]
pub trait Follower: Send + Sync + 'static {
    /// Adds what this duty has to the node's report.
    fn report(&self, report: &mut Report);

    /// Takes over orders. Returns at once; the work goes on behind it.
    fn obey(&self, orders: &Orders, sent: Duration);

    /// Completes when the report has changed since it was last asked for. Cancel safe.
    async fn changed(&self);
}
