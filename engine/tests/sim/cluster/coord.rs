//! The coordinator of another machine.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::base::{ChannelName, CollectionId, NodeId, SegmentId, Timestamp};
use engine::model::ChannelManifest;
use engine::model::access::Policy;
use engine::rpc::{
    AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Error, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress,
    LeadInfo, NewCollection, NewImport, NewIndex, NodeStatus, Orders, PolicyChange, ReplicaInfo, Report,
    Routes, SteerChange, Steering,
};
use futures::FutureExt as _;

use super::net::Peer;
use super::site::Life;

/// As long as a real call of the coordinator may take.
const BRIEF: Duration = Duration::from_secs(10);

/// The coordinator of one machine, as another calls it.
pub struct PeerCoord(pub Arc<Peer>);

impl PeerCoord {
    async fn ask<T: Send + 'static, F>(
        &self,
        call: &'static str,
        work: impl FnOnce(Arc<dyn Coord>) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let make = |life: &Life| {
            let duty = life.served.lock().as_ref()?.coord.clone()?;
            Some(work(duty).boxed())
        };
        self.0.world.call(Some(Arc::clone(&self.0.from)), &self.0.address, call, BRIEF, make).await
    }
}

impl PeerCoord {
    /// Asks for `count` numbers of a series and compares them with all that anybody has heard.
    async fn number<T: Send + 'static, F>(
        &self,
        series: &str,
        call: &'static str,
        count: u32,
        work: impl FnOnce(Arc<dyn Coord>) -> F + Send,
        first: impl FnOnce(&T) -> u64 + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let since = self.0.world.numbered(series);
        let given = self.ask(call, work).await?;
        self.0.world.number(series, since, first(&given), u64::from(count));
        Ok(given)
    }
}

/// An argument that is kept until the call is made, as the trait wants it.
trait Lend {
    type Lent<'a>
    where
        Self: 'a;
    fn lend(&self) -> Self::Lent<'_>;
}

impl Lend for String {
    type Lent<'a> = &'a str;
    fn lend(&self) -> &str {
        self
    }
}

impl Lend for ChannelName {
    type Lent<'a> = &'a Self;
    fn lend(&self) -> &Self {
        self
    }
}

type Pairs = Vec<(String, String)>;
type Names = Vec<String>;

macro_rules! lend_clones {
    ($($kept:ty),+ $(,)?) => {$(
        impl Lend for $kept {
            type Lent<'a> = Self;
            fn lend(&self) -> Self {
                self.clone()
            }
        }
    )+};
}

lend_clones!(
    u32,
    i64,
    bool,
    Pairs,
    Names,
    Vec<(String, GroupConfig)>,
    Option<Names>,
    Option<i64>,
    NewImport,
    Vec<NodeId>,
    Vec<SegmentId>,
    Vec<ChannelName>,
    NewCollection,
    CollectionRef,
    CollectionChange,
    AliasChange,
    NewIndex,
    CollectionId,
    NodeId,
    Flushed,
    GroupConfig,
    PolicyChange,
    SteerChange,
    HeldTransfer,
);

macro_rules! travel {
    ($($call:ident($($name:ident: $taken:ty as $kept:ty),*) -> $value:ty;)+) => {
        #[async_trait]
        impl Coord for PeerCoord {
            $(async fn $call(&self, $($name: $taken),*) -> Result<$value, Error> {
                $(let $name = <$kept>::from($name);)*
                self.ask(stringify!($call), |coord| async move { coord.$call($($name.lend()),*).await }).await
            })+

            async fn beat(&self, report: Report) -> Result<Orders, Error> {
                let (world, from) = (Arc::clone(&self.0.world), self.0.from.number);
                let life = self.0.from.life().map_or(0, |life| life.number);
                world.reported(from, life, &report);
                let sent = tokio::time::Instant::now();
                let orders = self.ask("beat", |coord| async move { coord.beat(report).await }).await?;
                world.ordered(from, life, sent, &orders);
                Ok(orders)
            }

            async fn allocate_timestamps(&self, count: u32) -> Result<Timestamp, Error> {
                let work = |coord: Arc<dyn Coord>| async move { coord.allocate_timestamps(count).await };
                self.number("time", "allocate_timestamps", count, work, |first: &Timestamp| first.0).await
            }

            async fn allocate_ids(&self, count: u32) -> Result<i64, Error> {
                // Of one series with times.
                let work = |coord: Arc<dyn Coord>| async move { coord.allocate_ids(count).await };
                self.number("time", "allocate_ids", count, work, |first: &i64| first.unsigned_abs()).await
            }

            async fn channel_term(&self, channel: &ChannelName, node: NodeId) -> Result<u64, Error> {
                let (series, channel) = (format!("the term of {channel}"), channel.clone());
                let work = |coord: Arc<dyn Coord>| async move { coord.channel_term(&channel, node).await };
                let term = self.ask("channel_term", work).await?;
                // A former leader may give one that it had made before: a log that was opened by a later one does not take it.
                self.0.world.number(&series, 0, term, 1);
                Ok(term)
            }

            async fn open_channel(&self, channel: &ChannelName, node: NodeId) -> Result<(u64, Timestamp), Error> {
                let (series, channel) = (format!("the term of {channel}"), channel.clone());
                let work = |coord: Arc<dyn Coord>| async move { coord.open_channel(&channel, node).await };
                let (term, now) = self.ask("open_channel", work).await?;
                self.0.world.number(&series, 0, term, 1);
                Ok((term, now))
            }

            async fn allocate_node(&self) -> Result<NodeId, Error> {
                let work = |coord: Arc<dyn Coord>| async move { coord.allocate_node().await };
                self.number("node", "allocate_node", 1, work, |node: &NodeId| node.0.unsigned_abs()).await
            }

            async fn routes(&self, collection: CollectionId) -> Result<Arc<Routes>, Error> {
                let (world, from) = (Arc::clone(&self.0.world), self.0.from.number);
                let life = self.0.from.life().map_or(0, |life| life.number);
                let forgotten = world.forgotten(from);
                let routes = self.ask("routes", |coord| async move { coord.routes(collection).await }).await?;
                world.routed(from, life, forgotten, &routes);
                Ok(routes)
            }
        }
    };
}

travel! {
    create_database(name: &str as String, properties: Pairs as Pairs) -> ();
    drop_database(name: &str as String) -> ();
    alter_database(name: &str as String, set: Pairs as Pairs, removed: Names as Names) -> ();
    databases() -> Vec<DatabaseInfo>;
    create_collection(collection: NewCollection as NewCollection) -> Arc<CollectionInfo>;
    drop_collection(database: &str as String, name: &str as String) -> ();
    alter_collection(collection: CollectionRef as CollectionRef, change: CollectionChange as CollectionChange) -> ();
    collection(collection: CollectionRef as CollectionRef) -> Arc<CollectionInfo>;
    collections(database: &str as String) -> Vec<Arc<CollectionInfo>>;
    create_partition(collection: CollectionRef as CollectionRef, name: &str as String) -> ();
    drop_partition(collection: CollectionRef as CollectionRef, name: &str as String) -> ();
    alter_alias(database: &str as String, alias: &str as String, change: AliasChange as AliasChange) -> ();
    create_index(index: NewIndex as NewIndex) -> ();
    drop_index(collection: CollectionRef as CollectionRef, name: &str as String) -> ();
    alter_index(collection: CollectionRef as CollectionRef, name: &str as String, set: Pairs as Pairs, removed: Names as Names) -> ();
    indexes(collection: CollectionRef as CollectionRef) -> Vec<IndexProgress>;
    load(collection: CollectionRef as CollectionRef, partitions: Option<Names> as Option<Names>, replicas: u32 as u32, resource_groups: Names as Names) -> ();
    release(collection: CollectionRef as CollectionRef, partitions: Option<Names> as Option<Names>) -> ();
    load_progress(collection: CollectionRef as CollectionRef) -> Option<u8>;
    manifests(collection: CollectionId as CollectionId) -> Vec<Arc<ChannelManifest>>;
    commit_flush(flushed: Flushed as Flushed) -> ();
    keep_flush(channel: &ChannelName as ChannelName, since: i64 as i64) -> ();
    followed(channels: Vec<ChannelName> as Vec<ChannelName>) -> Vec<Followed>;
    create_group(name: &str as String, config: GroupConfig as GroupConfig) -> ();
    drop_group(name: &str as String) -> ();
    update_groups(configs: Vec<(String, GroupConfig)> as Vec<(String, GroupConfig)>) -> ();
    groups() -> Vec<GroupInfo>;
    transfer_nodes(from: &str as String, to: &str as String, count: u32 as u32) -> ();
    transfer_replicas(from: &str as String, to: &str as String, collection: CollectionRef as CollectionRef, count: u32 as u32) -> ();
    replicas(collection: CollectionId as CollectionId) -> Vec<ReplicaInfo>;
    nodes() -> Vec<NodeStatus>;
    balance(collection: CollectionId as CollectionId, from: NodeId as NodeId, to: Vec<NodeId> as Vec<NodeId>, segments: Vec<SegmentId> as Vec<SegmentId>) -> ();
    drain(node: NodeId as NodeId, on: bool as bool) -> ();
    steer(change: SteerChange as SteerChange) -> ();
    steering() -> Steering;
    transfer_held(transfer: HeldTransfer as HeldTransfer) -> ();
    compact(collection: CollectionId as CollectionId, major: bool as bool) -> i64;
    compaction(id: i64 as i64) -> CompactionState;
    import(import: NewImport as NewImport) -> i64;
    imports(id: Option<i64> as Option<i64>) -> Vec<ImportInfo>;
    end_import(id: i64 as i64, commits: bool as bool) -> ();
    policy() -> Arc<Policy>;
    change_policy(change: PolicyChange as PolicyChange) -> ();
    lead() -> LeadInfo;
    resign() -> LeadInfo;
    fsck() -> Fsck;
    finalize(format: u32 as u32) -> (u32, u32);
}
