//! One node: the duties of its role over its seams.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use contract::role::{Duty, Role};
use contract::settings::Settings;
use tracing::{info, warn};

use crate::agent::{Agent, AgentParts};
use crate::assembly::usage::Telling;
use crate::assembly::{Error, machine};
use crate::base::{Clock, NodeId, NodeTime, Passing, Rng, Shares, TaskSet, newest_format};
use crate::blob::Blobs;
use crate::builder::Workshop;
use crate::coord::{self, Candidacy, CandidacyParts, CompactionLimits, LeadSettings, Limits, Sizes};
use crate::disk::Scratch;
use crate::log::Logs;
use crate::meta::Metas;
use crate::querier::{QuerierParts, QuerierSettings, QueryNode};
use crate::router::{CatalogCache, ReplicaPolicy, Router, RouterParts, RouterSettings};
use crate::rpc::net::WholeCalls;
use crate::rpc::{
    Builder, Coord, Dial, Duties, Follower, Measured, NodeInfo, Querier, Reader, Served, Writer,
};
use crate::segment::InterimSettings;
use crate::writer::{ChannelWriter, FlushLimits, Water, WriteLimits, WriterParts};

/// Label by which a resource group claims a node, and how labels are given to a process.
const LABEL_PREFIX: &str = "MILVUS_SERVER_LABEL_";
/// How long after a failed call to the coordinator a starting node tries again.
const RETRY: Duration = Duration::from_millis(50);

/// What a node stands on.
pub struct NodeSeams {
    /// Sealed data.
    pub blobs: Arc<dyn Blobs>,
    /// The catalog; only for a role that may lead.
    pub metas: Option<Arc<dyn Metas>>,
    /// Where a query node puts vectors that need not be in memory; `None` for one that holds all there.
    pub scratch: Option<Arc<Scratch>>,
    /// What is not sealed yet.
    pub logs: Arc<dyn Logs>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Whether no other process can have the same metadata.
    pub alone: bool,
    /// Keeps other processes out of the data directory as long as it lives; the catalog and the log hold it too.
    pub lock: Option<Arc<File>>,
    /// A rule that a test has the coordinator leave out.
    pub flaw: Option<coord::Flaw>,
    /// Says what the process takes of its machine; `None` where several nodes are in one process.
    pub usage: Option<Measured>,
}

/// Makes duties reachable, beside them those of a proxy, if there is one.
pub type Publish = Box<dyn FnOnce(Served, Option<&Door>) + Send>;

/// How a node reaches others and is reached.
pub struct NodeCalls {
    /// Where calls to it go.
    pub address: String,
    /// Reaches every node, this one too.
    pub dial: Arc<dyn Dial>,
    /// Reaches whoever leads; `None` for a node that can only be led by itself.
    pub coord: Option<Arc<dyn Coord>>,
    /// Makes its duties reachable for others, and what a proxy of the process works with. Called once they are all there.
    pub publish: Publish,
}

/// A running node. Dropping it does not stop its tasks; their [`TaskSet`] does.
pub struct Node {
    /// Catalog, ids, time, wherever they are.
    pub coord: Arc<dyn Coord>,
    /// What a proxy needs besides; `None` without that duty.
    pub door: Option<Door>,
    /// Writes, if that is its duty.
    pub writer: Option<Arc<ChannelWriter>>,
    /// Reads, if that is its duty.
    pub querier: Option<Arc<QueryNode>>,
    /// The candidate for the lead, if it is one.
    pub candidacy: Option<Arc<Candidacy>>,
    /// Keeps it in step; `None` for a node that only coordinates.
    pub agent: Option<Arc<Agent>>,
    /// Its number; 0 for a node that only coordinates.
    pub id: NodeId,
    /// The memory that its work shares.
    pub memory: Passing,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    _lock: Option<Arc<File>>,
}

/// What a proxy does its work with.
#[derive(Clone)]
pub struct Door {
    /// The catalog, cached.
    pub coord: Arc<dyn Coord>,
    /// Writes, wherever a channel's owner is.
    pub writer: Arc<dyn Writer>,
    /// Reads, wherever a collection's copies are.
    pub reader: Arc<dyn Reader>,
    /// The cluster's time.
    pub time: Arc<NodeTime>,
    /// The node, as it introduces itself.
    pub node: NodeInfo,
    /// Says what the process takes of its machine, if that is measured.
    pub usage: Option<Measured>,
}

impl Node {
    /// Makes the duties of `role`, introduces them to each other and starts what they do by themselves in `tasks`.
    /// Waits until a coordinator has numbered the node.
    ///
    /// # Errors
    /// [`Error::NoCatalog`] if the role leads and there is no metadata, or nobody can lead it.
    pub async fn start(
        role: Role,
        seams: NodeSeams,
        calls: NodeCalls,
        settings: &Settings,
        tasks: &TaskSet,
    ) -> Result<Self, Error> {
        let duties = duties_of(role, settings);
        let candidacy = if role.duties().contains(&Duty::Coord) {
            Some(candidacy(&seams, &calls, role, settings)?)
        } else {
            None
        };
        if let Some(candidacy) = &candidacy {
            let candidacy = Arc::clone(candidacy);
            tasks.start("lead or stand by", |stop| candidacy.run(stop));
        }
        let leads =
            candidacy.clone().map(|candidacy| WholeCalls::new(candidacy, tasks.clone()) as Arc<dyn Coord>);
        let mut served = Served { coord: leads.clone(), ..Served::default() };
        let coord = calls.coord.clone().or(leads).ok_or(Error::NoCatalog { role: role.name() })?;
        let clock = &seams.clock;
        if duties == Duties::default() {
            (calls.publish)(served, None);
            let (door, writer, querier, agent, clock) = (None, None, None, None, Arc::clone(clock));
            return Ok(Self {
                coord,
                door,
                writer,
                querier,
                candidacy,
                agent,
                id: NodeId(0),
                memory: Passing::default(),
                clock,
                _lock: seams.lock,
            });
        }
        let info = introduce(
            coord.as_ref(),
            role,
            duties,
            &calls.address,
            seams.scratch.is_some(),
            settings,
            clock.as_ref(),
        )
        .await;
        let id = info.id;
        let (followers, own) = assemble(&seams, &calls, &coord, &info, settings, tasks, &mut served);
        let Own { door, writer, querier, memory } = own;
        (calls.publish)(served, door.as_ref());
        let agent = Agent::new(AgentParts {
            coord: Arc::clone(&coord),
            clock: Arc::clone(&seams.clock),
            time: followers.time,
            node: info,
            followers: followers.all,
        });
        let beating = Arc::clone(&agent);
        tasks.start("keep in step", |stop| beating.run(stop));
        let clock = Arc::clone(&seams.clock);
        Ok(Self {
            coord,
            door,
            writer,
            querier,
            candidacy,
            agent: Some(agent),
            id,
            memory,
            clock,
            _lock: seams.lock,
        })
    }
}

/// The duties that the process asks by itself.
struct Own {
    door: Option<Door>,
    writer: Option<Arc<ChannelWriter>>,
    querier: Option<Arc<QueryNode>>,
    memory: Passing,
}

/// What the agent looks after.
struct Followers {
    time: Arc<NodeTime>,
    all: Vec<Arc<dyn Follower>>,
}

fn assemble(
    seams: &NodeSeams,
    calls: &NodeCalls,
    coord: &Arc<dyn Coord>,
    info: &NodeInfo,
    settings: &Settings,
    tasks: &TaskSet,
    served: &mut Served,
) -> (Followers, Own) {
    let clock = &seams.clock;
    let time = NodeTime::new(Arc::clone(clock));
    let memory = Passing::new(memory_of(machine::memory_bytes(), info.duties, settings).passing);
    let mut all: Vec<Arc<dyn Follower>> = Vec::new();
    let mut writer = None;
    if info.duties.writes {
        let channels = ChannelWriter::new(WriterParts {
            coord: Arc::clone(coord),
            logs: Arc::clone(&seams.logs),
            blobs: Arc::clone(&seams.blobs),
            clock: Arc::clone(clock),
            time: Arc::clone(&time),
            limits: flush_limits(info.memory_bytes, settings),
            writes: write_limits(info.memory_bytes, settings),
            memory: memory.clone(),
            node: info.id,
        });
        served.writer = Some(Arc::clone(&channels) as _);
        all.push(Arc::clone(&channels) as _);
        writer = Some(Arc::clone(&channels));
        tasks.start("keep channels", |stop| channels.keep(stop));
    }
    let cache = CatalogCache::new(Arc::clone(coord));
    let router = Router::new(RouterParts {
        coord: Arc::clone(&cache) as _,
        cache: Some(Arc::clone(&cache)),
        dial: Arc::clone(&calls.dial),
        clock: Arc::clone(clock),
        time: Arc::clone(&time),
        rng: Arc::clone(&seams.rng),
        settings: router_settings(settings, info.zone()),
    });
    let mut querier = None;
    if info.duties.queries {
        let node = QueryNode::new(QuerierParts {
            blobs: Arc::clone(&seams.blobs),
            writer: Arc::clone(&router) as _,
            clock: Arc::clone(clock),
            tasks: tasks.clone(),
            memory: memory.clone(),
            scratch: seams.scratch.clone(),
            settings: querier_settings(info.memory_bytes, settings),
        });
        served.querier = Some(Arc::clone(&node) as Arc<dyn Querier>);
        all.push(Arc::clone(&node) as _);
        querier = Some(node);
    }
    if info.duties.builds {
        let (blobs, threads) = (Arc::clone(&seams.blobs), build_threads(settings));
        let builder: Arc<dyn Builder> = Workshop::sharing(blobs, threads, memory.clone(), Arc::clone(clock));
        served.builder = Some(builder);
    }
    let door = info.duties.proxies.then(|| {
        all.push(Arc::clone(&cache) as _);
        let (writer, reader) = (Arc::clone(&router) as _, router as _);
        let (node, usage) = (info.clone(), seams.usage.clone());
        Door { coord: cache as _, writer, reader, time: Arc::clone(&time), node, usage }
    });
    all.extend(seams.usage.clone().map(|usage| Arc::new(Telling(usage)) as Arc<dyn Follower>));
    (Followers { time, all }, Own { door, writer, querier, memory })
}

/// Asks for a number until there is one.
async fn introduce(
    coord: &dyn Coord,
    role: Role,
    duties: Duties,
    address: &str,
    maps_vectors: bool,
    settings: &Settings,
    clock: &dyn Clock,
) -> NodeInfo {
    let mut told = false;
    let id = loop {
        match coord.allocate_node().await {
            Ok(id) => break id,
            Err(error) => {
                // The first tries come before a coordinator in the same process has taken the lead.
                if !told && !error.is_stale() {
                    warn!(%error, "waiting for the coordinator");
                    told = true;
                }
                clock.sleep(RETRY).await;
            }
        }
    };
    info!(node = %id, role = role.name(), address, "node is numbered");
    let machine_bytes = machine::memory_bytes();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    NodeInfo {
        id,
        address: address.to_owned(),
        host: machine::host(),
        role: role.name().to_owned(),
        duties,
        labels: labels(std::env::vars()),
        memory_bytes: memory_of(machine_bytes, duties, settings).data,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        newest_format: newest_format(),
        maps_vectors,
        processors: u32::try_from(processors).unwrap_or(u32::MAX),
        machine_bytes,
    }
}

/// Labels by Milvus's convention: each `MILVUS_SERVER_LABEL_<KEY>` of the environment is one.
fn labels(environment: impl Iterator<Item = (String, String)>) -> std::collections::BTreeMap<String, String> {
    let label = |(name, value): (String, String)| Some((name.strip_prefix(LABEL_PREFIX)?.to_owned(), value));
    environment.filter_map(label).collect()
}

fn duties_of(role: Role, settings: &Settings) -> Duties {
    let has = |duty| role.duties().contains(&duty);
    Duties {
        proxies: has(Duty::Proxy),
        writes: has(Duty::Writer) && (role != Role::DataNode || settings.redkite.datanode.writes),
        queries: has(Duty::Querier),
        builds: has(Duty::Builder),
    }
}

fn candidacy(
    seams: &NodeSeams,
    calls: &NodeCalls,
    role: Role,
    settings: &Settings,
) -> Result<Arc<Candidacy>, Error> {
    let metas = seams.metas.clone().ok_or(Error::NoCatalog { role: role.name() })?;
    let cluster = &settings.redkite.cluster;
    let ttl = Duration::from_millis(cluster.leader_ttl_ms);
    Ok(Candidacy::new(CandidacyParts {
        metas,
        blobs: Arc::clone(&seams.blobs),
        clock: Arc::clone(&seams.clock),
        dial: Arc::clone(&calls.dial),
        limits: limits(settings, seams.lock.is_some().then(|| duties_of(role, settings))),
        lost_after: Duration::from_millis(cluster.lost_after_ms),
        lead: LeadSettings {
            ttl,
            every: ttl / 6,
            alone: seams.lock.is_some(),
            address: calls.address.clone(),
        },
        flaw: seams.flaw,
    }))
}

/// `alone` are the duties of a process that does all work itself.
fn limits(settings: &Settings, alone: Option<Duties>) -> Limits {
    let clustering = &settings.data_coord.compaction.clustering;
    Limits {
        databases: settings.root_coord.max_database_num,
        collections: settings.root_coord.max_general_capacity,
        partitions: settings.root_coord.max_partition_num,
        min_rows_to_index: settings.index_coord.segment.min_segment_num_rows_to_enable_index,
        groups: 1_024,
        compaction: CompactionLimits {
            enabled: settings.data_coord.enable_compaction,
            automatic: settings.data_coord.compaction.enable_auto_compaction,
            clusters: clustering.enable,
            clusters_by_itself: clustering.auto_enable,
            sizes: compacted(machine::memory_bytes(), alone, settings),
            retention_s: settings.common.retention_duration,
            ..CompactionLimits::default()
        },
    }
}

fn router_settings(settings: &Settings, zone: &str) -> RouterSettings {
    let stays_near = settings.redkite.cluster.prefer_own_zone;
    let call = settings.redkite.cluster.call_timeout_ms;
    RouterSettings {
        write_deadline_ms: call,
        read_deadline_ms: call,
        graceful_ms: settings.common.graceful_time,
        policy: ReplicaPolicy::from_name(&settings.proxy.replica_selection_policy).unwrap_or_default(),
        zone: if stays_near { zone.to_owned() } else { String::new() },
        ..RouterSettings::default()
    }
}

fn querier_settings(memory_bytes: u64, settings: &Settings) -> QuerierSettings {
    let interim = &settings.query_node.segcore.interim_index;
    QuerierSettings {
        memory_bytes,
        memory_share: settings.redkite.memory.load_share,
        interim: interim
            .enable_index
            .then_some(InterimSettings { lists: interim.nlist, probed: interim.nprobe }),
        ..QuerierSettings::default()
    }
}

/// How large compaction makes segments. A search pays for each segment, so few large ones are better than what channels are
/// sealed with, as far as jobs have the memory to make them: that is known where this process builds, with its duties `alone`.
fn compacted(all: u64, alone: Option<Duties>, settings: &Settings) -> Sizes {
    let any = part_of_memory(settings.data_coord.segment.max_size << 20, all);
    let Some(duties) = alone.filter(|_| all > 0) else { return Sizes::of(any) };
    let jobs = memory_of(all, duties, settings).passing.jobs;
    Sizes { any, merged: largest_merge(all, settings).min(jobs / 5 * 2).max(any) }
}

/// What a process that does all work itself merges at most, if its jobs have two and a half times that. Unit: bytes.
fn largest_merge(all: u64, settings: &Settings) -> u64 {
    part_of_memory(4 * (settings.data_coord.segment.max_size << 20), all)
}

/// So much, or the part of the memory that one job may read: of other builders is only known that they are about as large as this
/// machine. Unit: bytes.
fn part_of_memory(wanted: u64, all: u64) -> u64 {
    wanted.min(share_of(all, 1.0 / 16.0)).max(1 << 20)
}

/// How the memory of a process is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    /// Loaded data and rows that are not sealed. Unit: bytes; 0 for no limit.
    data: u64,
    /// The work of its duties, while it lasts.
    passing: Shares,
}

/// Divides the memory that a process may use, of which it needs some for itself; 0 if it is not known how much there is.
fn memory_of(all: u64, duties: Duties, settings: &Settings) -> Memory {
    /// What a process needs that holds nothing.
    const PROGRAM: u64 = 64 << 20;
    let limit = settings.redkite.memory.limit_mb << 20;
    if all == 0 {
        return Memory { data: limit, passing: Shares::UNLIMITED };
    }
    // A job has up to four times what it reads in memory, and so has a step of a flush; both are bounded by the memory too. Merged
    // segments that are larger are so of vectors, which a job has twice and some more of.
    let most = 4 * (settings.data_coord.segment.max_size << 20);
    let merges = if duties.queries { largest_merge(all, settings) / 2 * 5 } else { 0 };
    let jobs = if duties.builds { most.max(merges).min(all / 4) } else { 0 };
    let flushes = if duties.writes { most.min(all / 8) } else { 0 };
    let data = if limit == 0 { all.saturating_sub(PROGRAM + jobs + flushes).max(all / 4) } else { limit };
    // Where data has been given its share, work gets what is left. With nothing left one piece comes after the other.
    let left = all.saturating_sub(PROGRAM).saturating_sub(data);
    let jobs = jobs.min(left.saturating_sub(flushes.min(left / 3)));
    let flushes = flushes.min(left - jobs);
    // What loading may not fill is for what loading needs in passing, and for reads.
    let loads =
        if duties.queries { data - (data as f64 * settings.redkite.memory.load_share) as u64 } else { 0 };
    Memory { data, passing: Shares { flushes, loads: loads / 2, jobs } }
}

/// A part of the memory; all there is if that is not known.
pub(super) fn share_of(memory_bytes: u64, share: f64) -> u64 {
    if memory_bytes == 0 { u64::MAX } else { (memory_bytes as f64 * share) as u64 }
}

fn flush_limits(memory_bytes: u64, settings: &Settings) -> FlushLimits {
    let segment = &settings.data_coord.segment;
    let flush = &settings.streaming.flush;
    let bytes = segment.max_size << 20;
    FlushLimits {
        bytes,
        age: Duration::from_secs(segment.max_idle_time),
        // A step is in memory about three times: as records, as columns and as objects.
        step_bytes: bytes.min(share_of(memory_bytes, 1.0 / 32.0)).max(1 << 20),
        high_bytes: share_of(memory_bytes, flush.growing_segment_bytes_hwm_threshold),
        low_bytes: share_of(memory_bytes, flush.growing_segment_bytes_lwm_threshold),
    }
}

fn write_limits(memory_bytes: u64, settings: &Settings) -> WriteLimits {
    let (growing, memory) = (
        &settings.quota_and_limits.limit_writing.growing_segments_size_protection,
        &settings.quota_and_limits.limit_writing.mem_protection,
    );
    let water = |is_on: bool, low, high| if is_on { Water { low, high } } else { Water::NONE };
    let bytes = memory_bytes as f64;
    WriteLimits {
        unsealed_bytes: water(
            growing.enabled && memory_bytes > 0,
            bytes * growing.low_water_level,
            bytes * growing.high_water_level,
        ),
        memory: water(
            memory.enabled,
            memory.query_node_memory_low_water_level,
            memory.query_node_memory_high_water_level,
        ),
    }
}

fn build_threads(settings: &Settings) -> usize {
    match settings.redkite.build_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contract::settings::Settings;

    use super::{compacted, labels, memory_of};
    use crate::base::Shares;
    use crate::coord::Sizes;
    use crate::rpc::Duties;

    const MIB: u64 = 1 << 20;
    const QUERIES: Duties = Duties { queries: true, builds: false, writes: false, proxies: false };
    const ALL: Duties = Duties { queries: true, builds: true, writes: true, proxies: true };

    #[test]
    fn work_and_program_leave_part_of_the_memory_for_data() {
        let settings = Settings::default();
        let for_data = |all, duties| memory_of(all, duties, &settings).data;

        assert_eq!(for_data(0, ALL), 0);
        assert_eq!(for_data(1_024 * MIB, QUERIES), 960 * MIB);
        assert_eq!(for_data(1_024 * MIB, ALL), (960 - 256 - 128) * MIB);
        assert_eq!(for_data(8_192 * MIB, ALL), (8_192 - 64 - 2_048 - 1_024) * MIB);
        assert_eq!(for_data(65_536 * MIB, ALL), (65_536 - 64 - 5 * 1_024 - 2_048) * MIB);
        assert_eq!(for_data(80 * MIB, QUERIES), 20 * MIB, "little is better than nothing");
    }

    #[test]
    fn segments_become_as_large_as_there_is_memory_to_make_them() {
        let mut settings = Settings::default();
        let made = |all, alone, settings: &_| {
            let Sizes { any, merged } = compacted(all * MIB, alone, settings);
            (any / MIB, merged / MIB)
        };

        let memory = [0, 8, 600, 8_192, 16_384, 24_576, 65_536];
        assert_eq!(
            memory.map(|all| made(all, Some(ALL), &settings)),
            [(512, 512), (1, 1), (37, 37), (512, 512), (512, 1_024), (512, 1_536), (512, 2_048)]
        );
        assert_eq!(
            memory.map(|all| made(all, None, &settings)),
            [(512, 512), (1, 1), (37, 37), (512, 512), (512, 512), (512, 512), (512, 512)]
        );
        settings.data_coord.segment.max_size = 64;
        assert_eq!([600, 65_536].map(|all| made(all, Some(ALL), &settings)), [(37, 37), (64, 256)]);
    }

    #[test]
    fn what_is_given_to_data_is_no_memory_to_make_segments_in() {
        let mut settings = Settings::default();
        let merged = [0, 16_384, 20_480, 24_000].map(|limit_mb| {
            settings.redkite.memory.limit_mb = limit_mb;
            compacted(24_576 * MIB, Some(ALL), &settings).merged / MIB
        });

        assert_eq!(merged, [1_536, 1_536, 1_075, 512]);
    }

    #[test]
    fn work_in_passing_gets_what_data_leaves() {
        let mut settings = Settings::default();
        settings.redkite.memory.load_share = 0.75;
        let mut with_limit = settings.clone();
        let passing = |all, duties, settings: &_| {
            let Shares { flushes, loads, jobs } = memory_of(all * MIB, duties, settings).passing;
            (flushes / MIB, loads / MIB, jobs / MIB)
        };

        assert_eq!(memory_of(0, ALL, &settings).passing, Shares::UNLIMITED);
        assert_eq!(passing(1_024, ALL, &settings), (128, 576 / 8, 256));
        assert_eq!(passing(1_024, QUERIES, &settings), (0, 120, 0));
        with_limit.redkite.memory.limit_mb = 840;
        assert_eq!(passing(1_024, ALL, &with_limit), (40, 105, 80), "120 MiB are left");
        assert_eq!(passing(2_048, ALL, &with_limit), (256, 105, 512));
        assert_eq!(passing(800, ALL, &with_limit), (0, 105, 0), "more is promised than there is");
    }

    #[test]
    fn labels_come_from_the_environment() {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = [
            of("MILVUS_SERVER_LABEL_RESOURCE_GROUP", "gold"),
            of("PATH", "/bin"),
            of("MILVUS_SERVER_LABEL_ZONE", "a"),
        ];

        let expected = BTreeMap::from([of("RESOURCE_GROUP", "gold"), of("ZONE", "a")]);
        assert_eq!(labels(environment.into_iter()), expected);
    }
}
