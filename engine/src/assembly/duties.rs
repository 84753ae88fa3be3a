//! One node: the duties of its role over its seams.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use contract::settings::Settings;

use crate::assembly::Error;
use crate::base::{Clock, TaskSet};
use crate::blob::Blobs;
use crate::builder::Workshop;
use crate::coord::{Coordinator, Limits, Peers};
use crate::log::Logs;
use crate::meta::Metas;
use crate::querier::{QuerierParts, QueryNode};
use crate::rpc::{Builder, Coord, Querier, Writer};
use crate::writer::{ChannelWriter, FlushLimits};

/// What a node stands on.
pub struct NodeSeams {
    /// Sealed data.
    pub blobs: Arc<dyn Blobs>,
    /// The catalog.
    pub metas: Arc<dyn Metas>,
    /// What is not sealed yet.
    pub logs: Arc<dyn Logs>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Keeps other processes out of the data directory as long as it lives.
    pub lock: Option<File>,
}

/// A running node with all duties. Dropping it does not stop its tasks; their [`TaskSet`] does.
pub struct Node {
    /// Catalog, ids, time.
    pub coord: Arc<dyn Coord>,
    /// Channels.
    pub writer: Arc<dyn Writer>,
    /// Reads.
    pub querier: Arc<QueryNode>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    _lock: Option<File>,
}

impl Node {
    /// Makes all duties, introduces them to each other and starts what they do by themselves in `tasks`.
    ///
    /// # Errors
    /// If the catalog cannot be read or taken over.
    pub async fn start(seams: NodeSeams, settings: &Settings, tasks: &TaskSet) -> Result<Self, Error> {
        let NodeSeams { blobs, metas, logs, clock, lock } = seams;
        let coordinator = Coordinator::start(metas, Arc::clone(&clock), limits(settings))
            .await
            .map_err(|source| Error::StartCoordinator { source })?;
        let coord: Arc<dyn Coord> = Arc::clone(&coordinator) as _;
        let channels = ChannelWriter::new(
            Arc::clone(&coord),
            Arc::clone(&logs),
            Arc::clone(&blobs),
            Arc::clone(&clock),
            flush_limits(settings),
        );
        let writer: Arc<dyn Writer> = Arc::clone(&channels) as _;
        let querier = QueryNode::new(QuerierParts {
            blobs: Arc::clone(&blobs),
            logs,
            writer: Arc::clone(&writer),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
        });
        let builder: Arc<dyn Builder> = Workshop::new(blobs, build_threads(settings));
        coordinator.connect(Peers {
            writer: Arc::clone(&writer),
            querier: Arc::clone(&querier) as Arc<dyn Querier>,
            builder,
        });
        tasks.start("keep channels", |stop| channels.keep(stop));
        tasks.start("place collections", |stop| Arc::clone(&coordinator).place(Arc::clone(&clock), stop));
        tasks.start("do jobs", |stop| coordinator.work(Arc::clone(&clock), stop));
        Ok(Self { coord, writer, querier, clock, _lock: lock })
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        databases: settings.root_coord.max_database_num,
        collections: settings.root_coord.max_general_capacity,
        partitions: settings.root_coord.max_partition_num,
        min_rows_to_index: settings.index_coord.segment.min_segment_num_rows_to_enable_index,
        query_nodes: 1,
    }
}

const fn flush_limits(settings: &Settings) -> FlushLimits {
    let segment = &settings.data_coord.segment;
    FlushLimits { bytes: segment.max_size << 20, age: Duration::from_secs(segment.max_idle_time) }
}

fn build_threads(settings: &Settings) -> usize {
    match settings.redkite.build_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}
