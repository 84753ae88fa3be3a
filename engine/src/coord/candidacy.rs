//! A process that may lead: stands by, takes over, leads, and stands by again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::base::{ChannelName, Clock, CollectionId, NodeId, SegmentId, TaskSet, Timestamp, sooner};
use crate::blob::Blobs;
use crate::coord::drive::{Coordinator, CoordinatorParts};
use crate::coord::format;
use crate::coord::lead::{self, Heard, LeadSettings, Leader, Next, Seen};
use crate::coord::place::PlaceSettings;
use crate::coord::time::{self, Former};
use crate::coord::{Error, Flaw, Limits};
use crate::meta::Metas;
use crate::model::ChannelManifest;
use crate::model::access::Policy;
use crate::rpc::{
    self, AliasChange, CollectionChange, CollectionInfo, CollectionRef, CompactionState, Coord, DatabaseInfo,
    Dial, Flushed, Followed, Fsck, GroupConfig, GroupInfo, HeldTransfer, ImportInfo, IndexProgress, LeadInfo,
    NewCollection, NewImport, NewIndex, NodeStatus, Orders, PolicyChange, ReplicaInfo, Report, Routes,
    SteerChange, Steering,
};

/// What a candidacy needs.
pub struct CandidacyParts {
    /// Where the lead and the catalog are recorded.
    pub metas: Arc<dyn Metas>,
    /// Where that of the catalog is kept that is too large for a record.
    pub blobs: Arc<dyn Blobs>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Reaches the nodes that do the work.
    pub dial: Arc<dyn Dial>,
    /// How much of everything there may be.
    pub limits: Limits,
    /// After how long a silent node is lost. A leader's lead lasts at least as long.
    pub lost_after: Duration,
    /// When a leader is replaced.
    pub lead: LeadSettings,
    /// A rule that a test leaves out.
    pub flaw: Option<Flaw>,
}

/// A candidate for the lead. While it leads, its calls are the coordinator's; else they fail with
/// [`rpc::Error::is_stale`].
pub struct Candidacy {
    parts: CandidacyParts,
    leading: ArcSwapOption<Coordinator>,
}

/// The lead, as it was renewed last.
struct Held {
    epoch: u64,
    /// The version of the record of who leads; `None` while that is not known.
    version: Option<u64>,
    /// Renewals so far.
    renewals: u64,
}

/// How a term as leader ended.
enum Ended {
    /// Told to stop; the lead was given up.
    Stopped,
    /// Another one leads, or the lead was given up on request.
    Deposed,
}

impl Candidacy {
    /// A candidate that does not lead yet.
    #[must_use]
    pub fn new(parts: CandidacyParts) -> Arc<Self> {
        Arc::new(Self { parts, leading: ArcSwapOption::empty() })
    }

    /// Whether this process leads, as far as it knows.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leading.load().is_some()
    }

    /// Stands by and leads in turn until `stop`.
    ///
    /// # Errors
    /// Only if the process is the only candidate there can be and the catalog cannot be read: nothing would ever change.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut heard = Heard::default();
        loop {
            let taken = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                taken = self.stand_by(&mut heard) => taken,
            };
            let led = match taken {
                Ok((epoch, former)) => self.lead(epoch, former, &stop).await,
                Err(error) => Err(error),
            };
            match led {
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::Deposed) => info!("another coordinator leads"),
                Err(error) if self.parts.lead.alone => return Err(error.into()),
                Err(error) => warn!(error = crate::base::chain(&error), "could not lead; trying again"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.parts.clock.sleep(self.parts.lead.every) => {}
            }
        }
    }

    /// Who leads, with the version of that record. Notes how far leaders may go in what they say; one that is alone has no
    /// bound of that.
    async fn look(&self, heard: &mut Heard) -> Result<Option<(u64, Leader)>, Error> {
        let CandidacyParts { metas, clock, lead: settings, .. } = &self.parts;
        let found = lead::read(metas.as_ref()).await?;
        if !settings.alone {
            // Read after the record, with which it is replaced: so it is the newest if that is still the same when it is taken over.
            let said = lead::said(metas.as_ref()).await?;
            heard.note(said, clock.monotonic());
        }
        Ok(found)
    }

    /// Returns the new epoch once this process has taken over, and what it knows of the time of the leaders before.
    async fn stand_by(&self, heard: &mut Heard) -> Result<(u64, Option<Former>), Error> {
        let CandidacyParts { metas, clock, lead: settings, .. } = &self.parts;
        let mut seen = Seen::default();
        let mut unreachable = false;
        loop {
            let found = match self.look(heard).await {
                Ok(found) => found,
                Err(error) if settings.alone => return Err(error),
                Err(error) => {
                    if !unreachable {
                        warn!(error = crate::base::chain(&error), "cannot see who leads");
                    }
                    unreachable = true;
                    // What was seen before the silence says nothing about the time in between.
                    seen = Seen::default();
                    clock.sleep(settings.every).await;
                    continue;
                }
            };
            unreachable = false;
            let found = found.as_ref().map(|(version, leader)| (*version, leader));
            match seen.decide(found, settings, clock.monotonic()) {
                // Twice as often as the leader renews, so that its end is seen soon.
                Next::Wait => clock.sleep(settings.every / 2).await,
                Next::TakeOver(version) => {
                    // A build that could not read the catalog must not keep others from leading.
                    format::read(metas.as_ref()).await?;
                    let span = sooner(settings.ttl);
                    let former = heard.former(span).filter(|_| self.parts.flaw != Some(Flaw::OwnTime));
                    let said = former.map(|former| former.next_bound(time::Seen::on(clock.as_ref()), span));
                    match lead::take_over(metas.as_ref(), version, &settings.address, said).await {
                        Ok(epoch) => return Ok((epoch, former)),
                        Err(Error::Deposed) => {
                            seen = Seen::default();
                            clock.sleep(settings.every).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    async fn lead(
        &self,
        epoch: u64,
        former: Option<Former>,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        let CandidacyParts { metas, blobs, clock, dial, limits, lost_after, lead: settings, flaw } =
            &self.parts;
        let placing = PlaceSettings {
            lost_after: *lost_after,
            releases_early: *flaw == Some(Flaw::EarlyRelease),
            // A node alone with its coordinator has nobody to wait for.
            settle: if settings.alone { Duration::ZERO } else { *lost_after },
            ..PlaceSettings::default()
        };
        let parts = CoordinatorParts {
            metas: Arc::clone(metas),
            blobs: Arc::clone(blobs),
            clock: Arc::clone(clock),
            dial: Arc::clone(dial),
            limits: limits.clone(),
            placing,
            address: settings.address.clone(),
            alone: settings.alone,
            former,
            flaw: *flaw,
        };
        let coordinator = Coordinator::start(parts, epoch).await?;
        let mut held = Held { epoch, version: Some(epoch), renewals: 0 };
        if settings.alone {
            coordinator.leads_until(Duration::MAX);
            // Nobody may have made the catalog anew elsewhere while this process was not there to be seen.
            coordinator.prove_current(stop).await?;
        } else {
            // Nothing is said before it is durable up to where.
            self.renew(&coordinator, &mut held).await?;
        }
        let tasks = TaskSet::new();
        tasks.start("watch nodes", |stop| Arc::clone(&coordinator).watch(stop));
        tasks.start("keep the record of nodes", |stop| Arc::clone(&coordinator).keep_members(stop));
        tasks.start("make terms", |stop| Arc::clone(&coordinator).keep_terms(stop));
        tasks.start("do jobs", |stop| Arc::clone(&coordinator).work(stop));
        tasks.start("keep the copy in the bucket", |stop| Arc::clone(&coordinator).keep_mirror(stop));
        tasks.start("read damaged manifests again", |stop| Arc::clone(&coordinator).watch_damage(stop));
        tasks.start("sweep orphans", |stop| Arc::clone(&coordinator).sweep(stop));
        self.leading.store(Some(Arc::clone(&coordinator)));
        let ended = self.keep_leading(&coordinator, held, stop).await;
        self.leading.store(None);
        // However it ended: whoever waits for nodes is to ask the next leader, to whom they report.
        coordinator.deposed().cancel();
        tasks.stop();
        // Whatever its tasks still do fails to commit; they end at their next wait.
        drop(tasks.join().await);
        Ok(ended)
    }

    async fn keep_leading(
        &self,
        coordinator: &Arc<Coordinator>,
        mut held: Held,
        stop: &CancellationToken,
    ) -> Ended {
        let CandidacyParts { clock, lead: settings, .. } = &self.parts;
        let (deposed, resigning) = (coordinator.deposed(), coordinator.resigning());
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    self.give_up(coordinator, held.epoch).await;
                    return Ended::Stopped;
                }
                () = resigning.cancelled() => {
                    self.give_up(coordinator, held.epoch).await;
                    // Leaves a standby the time to be first.
                    clock.sleep(settings.ttl).await;
                    return Ended::Deposed;
                }
                () = deposed.cancelled() => return Ended::Deposed,
                () = clock.sleep(settings.every), if !settings.alone || coordinator.is_unsure() => {}
                () = coordinator.doubted.notified() => {}
            }
            match self.renew(coordinator, &mut held).await {
                Ok(()) if coordinator.is_unsure() => {
                    // What is stored is read again, under an epoch that a late commit does not expect.
                    self.give_up(coordinator, held.epoch).await;
                    return Ended::Deposed;
                }
                Ok(()) => {}
                Err(Error::Deposed) => return Ended::Deposed,
                // Nobody else can commit either: what needs no commit goes on.
                Err(error) => warn!(error = crate::base::chain(&error), "the lead was not renewed"),
            }
        }
    }

    /// Renews the lead, and how far the coordinator may go in what it says. One that is alone has no end of either. By its own
    /// clock, the lead ends before a candidate's can have counted to the end.
    async fn renew(&self, coordinator: &Coordinator, held: &mut Held) -> Result<(), Error> {
        let CandidacyParts { metas, lead: settings, .. } = &self.parts;
        let version = match held.version {
            Some(version) => version,
            None => lead::version(metas.as_ref(), held.epoch).await?,
        };
        // Not known again before it is read again, unless this one is known to have happened.
        held.version = None;
        held.renewals += 1;
        let said = (!settings.alone).then(|| coordinator.say(sooner(settings.ttl)));
        let leader = Leader { address: settings.address.clone(), resigned: false };
        let bound = said.map(|said| said.bound);
        match lead::renew(metas.as_ref(), held.epoch, version, held.renewals, &leader, bound).await {
            Ok(version) => held.version = Some(version),
            Err(Error::Deposed) => {
                // Or only an earlier renewal happened late.
                held.version = Some(lead::version(metas.as_ref(), held.epoch).await?);
                return Err(Error::NotRenewed);
            }
            Err(error) => return Err(error),
        }
        if let Some(said) = said {
            coordinator.renewed(said);
        }
        Ok(())
    }

    /// Takes no call any more and says in the record that nobody need wait. Changes under way that are not committed by then
    /// do nothing, and whoever asked for them hears that the next leader is the one to ask; those that are committed are
    /// answered as ever, but for what would wait for nodes, which report to the next leader from here on.
    async fn give_up(&self, coordinator: &Coordinator, epoch: u64) {
        self.leading.store(None);
        let (metas, address) = (self.parts.metas.as_ref(), &self.parts.lead.address);
        if let Err(error) = lead::give_up(metas, epoch, address).await {
            warn!(error = crate::base::chain(&error), "the lead could not be given up; it ends by itself");
        }
        coordinator.deposed().cancel();
    }

    /// Says in the bucket that nothing is in any log that is not sealed, so that a cluster may take over the catalog; or
    /// takes that back.
    ///
    /// # Errors
    /// [`rpc::Error::is_stale`] if this process does not lead; if the bucket cannot be written.
    pub async fn seal_mirror(&self, on: bool) -> Result<(), rpc::Error> {
        self.leader()?.seal_mirror(on).await
    }

    fn leader(&self) -> Result<Arc<Coordinator>, rpc::Error> {
        let stale = || rpc::Error::Stale { what: "the lead of the cluster".to_owned() };
        self.leading.load_full().ok_or_else(stale)
    }
}

/// The address of the leader, as the metadata says; `None` while there is none.
///
/// # Errors
/// If the metadata cannot be read.
pub async fn find_leader(metas: &dyn Metas) -> Result<Option<String>, Error> {
    let found = lead::read(metas).await?;
    Ok(found.filter(|(_, leader)| !leader.resigned).map(|(_, leader)| leader.address))
}

/// Hands each call to the coordinator, while this process leads.
macro_rules! hand_on {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Coord for Candidacy {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, rpc::Error> {
                self.leader()?.$name($($arg),*).await
            })+
        }
    };
}

hand_on! {
    fn allocate_timestamps(count: u32) -> Timestamp;
    fn allocate_ids(count: u32) -> i64;
    fn create_database(name: &str, properties: Vec<(String, String)>) -> ();
    fn drop_database(name: &str) -> ();
    fn alter_database(name: &str, set: Vec<(String, String)>, removed: Vec<String>) -> ();
    fn databases() -> Vec<DatabaseInfo>;
    fn create_collection(collection: NewCollection) -> Arc<CollectionInfo>;
    fn drop_collection(database: &str, name: &str) -> ();
    fn alter_collection(collection: CollectionRef, change: CollectionChange) -> ();
    fn collection(collection: CollectionRef) -> Arc<CollectionInfo>;
    fn collections(database: &str) -> Vec<Arc<CollectionInfo>>;
    fn create_partition(collection: CollectionRef, name: &str) -> ();
    fn drop_partition(collection: CollectionRef, name: &str) -> ();
    fn alter_alias(database: &str, alias: &str, change: AliasChange) -> ();
    fn create_index(index: NewIndex) -> ();
    fn drop_index(collection: CollectionRef, name: &str) -> ();
    fn alter_index(collection: CollectionRef, name: &str, set: Vec<(String, String)>, removed: Vec<String>) -> ();
    fn indexes(collection: CollectionRef) -> Vec<IndexProgress>;
    fn load(collection: CollectionRef, partitions: Option<Vec<String>>, replicas: u32, resource_groups: Vec<String>) -> ();
    fn release(collection: CollectionRef, partitions: Option<Vec<String>>) -> ();
    fn load_progress(collection: CollectionRef) -> Option<u8>;
    fn manifests(collection: CollectionId) -> Vec<Arc<ChannelManifest>>;
    fn commit_flush(flushed: Flushed) -> ();
    fn keep_flush(channel: &ChannelName, since: i64) -> ();
    fn followed(channels: Vec<ChannelName>) -> Vec<Followed>;
    fn channel_term(channel: &ChannelName, node: NodeId) -> u64;
    fn open_channel(channel: &ChannelName, node: NodeId) -> (u64, Timestamp);
    fn allocate_node() -> NodeId;
    fn beat(report: Report) -> Orders;
    fn routes(collection: CollectionId) -> Arc<Routes>;
    fn create_group(name: &str, config: GroupConfig) -> ();
    fn drop_group(name: &str) -> ();
    fn update_groups(configs: Vec<(String, GroupConfig)>) -> ();
    fn groups() -> Vec<GroupInfo>;
    fn transfer_nodes(from: &str, to: &str, count: u32) -> ();
    fn transfer_replicas(from: &str, to: &str, collection: CollectionRef, count: u32) -> ();
    fn replicas(collection: CollectionId) -> Vec<ReplicaInfo>;
    fn nodes() -> Vec<NodeStatus>;
    fn balance(collection: CollectionId, from: NodeId, to: Vec<NodeId>, segments: Vec<SegmentId>) -> ();
    fn drain(node: NodeId, on: bool) -> ();
    fn steer(change: SteerChange) -> ();
    fn steering() -> Steering;
    fn transfer_held(transfer: HeldTransfer) -> ();
    fn compact(collection: CollectionId, major: bool) -> i64;
    fn compaction(id: i64) -> CompactionState;
    fn import(import: NewImport) -> i64;
    fn imports(id: Option<i64>) -> Vec<ImportInfo>;
    fn end_import(id: i64, commits: bool) -> ();
    fn policy() -> Arc<Policy>;
    fn change_policy(change: PolicyChange) -> ();
    fn lead() -> LeadInfo;
    fn resign() -> LeadInfo;
    fn fsck() -> Fsck;
    fn finalize(format: u32) -> (u32, u32);
}
