//! Calls between machines: they take their time, get lost, and break off as the weather has it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::base::{ChannelName, CollectionId, Kind, Kinded as _, Position, Rng as _};
use engine::model::{IndexRef, SegmentManifest};
use engine::plan::{QueryPlan, QueryRows, SearchHits, SearchPlan};
use engine::rpc::net::ReachCoord;
use engine::rpc::{
    Builder, CompactJob, Coord, Dial, Error, ImportDone, ImportJob, IndexJob, Mark, Querier, ReadAfter,
    Share, StoredObject, Tail, TimeSpan, Write, Writer, Written,
};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::coord::PeerCoord;
use super::site::{Life, Site};
use super::weather::{End, Fault};
use super::world::{Defect, World};

/// How long nothing is heard before a connection counts as broken.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a connection is tried to be made.
const CONNECT: Duration = Duration::from_secs(3);
const BRIEF: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(600);

/// What happens to one call.
#[derive(Clone, Copy, Debug)]
struct Fate {
    there: Duration,
    back: Duration,
    lost: Option<Lost>,
    coin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Request,
    Answer,
    Reset(Duration),
}

fn broke(call: &'static str) -> Error {
    let reason = "the connection broke".to_owned();
    Error::Failed { call, kind: Kind::Unavailable, reason }
}

fn unreachable(address: &str) -> Error {
    Error::Stale { what: format!("a node at {address}") }
}

/// Ends what a caller that went away had asked for, if word of that gets through.
struct Asking {
    world: Arc<World>,
    from: End,
    to: Arc<Site>,
    work: AbortHandle,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.to.gate.is_open() && !self.world.is_blocked(self.from, End::Site(self.to.number)) {
            self.work.abort();
        }
    }
}

impl World {
    fn fate(&self) -> Fate {
        let weather = self.weather.lock();
        let [there, back, lost, which, coin] = std::array::from_fn(|_| self.rng.next_u64());
        let most_us = if weather.slow_network_ms > 0 { weather.slow_network_ms * 1_000 } else { 900 };
        let lost = if lost % 1_000 < weather.loss_permille {
            Some(if which % 2 == 0 { Lost::Request } else { Lost::Answer })
        } else if lost % 1_000 < weather.loss_permille + weather.reset_permille {
            Some(Lost::Reset(Duration::from_micros(which % 30_000)))
        } else {
            None
        };
        if weather.slow_network_ms > 0 {
            self.fired(Fault::SlowNetwork);
        }
        let span = |bits: u64| Duration::from_micros(100 + bits % most_us);
        Fate { there: span(there), back: span(back), lost, coin: coin % 2 == 0 }
    }

    /// Nothing gets from one to the other, or nothing back.
    pub fn is_cut(&self, one: End, other: End) -> bool {
        self.is_blocked(one, other) || self.is_blocked(other, one)
    }

    /// A call from one machine, or from clients, to the process on another.
    pub async fn call<T, W>(
        self: &Arc<Self>,
        from: Option<Arc<Site>>,
        address: &str,
        call: &'static str,
        limit: Duration,
        work: W,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Life) -> Option<BoxFuture<'static, Result<T, Error>>> + Send,
    {
        let wait = |from: Option<Arc<Site>>| async move {
            if let Some(from) = from {
                from.gate.open().await;
            }
        };
        wait(from.clone()).await;
        let to = self.site_at(address).ok_or_else(|| unreachable(address))?;
        let here = from.as_ref().map_or(End::Clients, |site| End::Site(site.number));
        let there = End::Site(to.number);
        if here == there {
            let life = to.life().ok_or_else(|| unreachable(address))?;
            return work(&life).ok_or_else(|| unreachable(address))?.await;
        }
        let fate = self.fate();
        if self.is_cut(here, there) {
            self.fired(Fault::Partition);
            let (wait_for, outcome) =
                if fate.coin { (CONNECT, unreachable(address)) } else { (SILENCE.min(limit), broke(call)) };
            tokio::time::sleep(wait_for).await;
            wait(from).await;
            return Err(outcome);
        }
        tokio::time::sleep(fate.there).await;
        if fate.lost == Some(Lost::Request) {
            self.fired(Fault::Loss);
            tokio::time::sleep(SILENCE.min(limit)).await;
            wait(from).await;
            return Err(broke(call));
        }
        let begun = to.life().and_then(|life| work(&life).map(|work| (life, work)));
        let Some((life, work)) = begun else {
            wait(from).await;
            return Err(unreachable(address));
        };
        let (tell, told) = oneshot::channel();
        let (gate, looking) = (Arc::clone(&to.gate), Arc::clone(self));
        let handle = life.serve(async move {
            gate.open().await;
            let outcome = work.await;
            if outcome.as_ref().is_err_and(|error| error.kind() == Kind::Fenced) {
                looking.saw_fence(call);
            }
            gate.open().await;
            drop(tell.send(outcome));
        });
        drop(life);
        let asking = Asking { world: Arc::clone(self), from: here, to: Arc::clone(&to), work: handle };
        let outcome = tokio::select! {
            biased;
            outcome = told => outcome.ok(),
            () = self.silence(here, &to) => None,
            () = async {
                match fate.lost {
                    Some(Lost::Reset(after)) => tokio::time::sleep(after).await,
                    _ => std::future::pending().await,
                }
            } => {
                self.fired(Fault::Reset);
                None
            }
            () = tokio::time::sleep(limit) => None,
        };
        drop(asking);
        let Some(outcome) = outcome else {
            wait(from).await;
            return Err(broke(call));
        };
        tokio::time::sleep(fate.back).await;
        let is_cut = self.is_cut(here, there);
        if is_cut || fate.lost == Some(Lost::Answer) {
            self.fired(if is_cut { Fault::Partition } else { Fault::Loss });
            tokio::time::sleep(SILENCE.min(limit)).await;
            wait(from).await;
            return Err(broke(call));
        }
        wait(from).await;
        outcome
    }

    /// Completes when the other side has not been heard of for long.
    async fn silence(&self, from: End, to: &Site) {
        loop {
            for since in 1.. {
                tokio::time::sleep(SILENCE / 3).await;
                if to.gate.is_open() && !self.is_cut(from, End::Site(to.number)) {
                    break;
                }
                if since >= 3 {
                    return;
                }
            }
        }
    }
}

/// The way from one machine to the others.
pub struct SiteDial {
    pub world: Arc<World>,
    pub from: Arc<Site>,
}

impl SiteDial {
    fn peer(&self, address: &str) -> Arc<Peer> {
        Arc::new(Peer {
            world: Arc::clone(&self.world),
            from: Arc::clone(&self.from),
            address: address.to_owned(),
        })
    }
}

impl Dial for SiteDial {
    fn writer(&self, address: &str) -> Arc<dyn Writer> {
        self.peer(address)
    }

    fn querier(&self, address: &str) -> Arc<dyn Querier> {
        self.peer(address)
    }

    fn builder(&self, address: &str) -> Arc<dyn Builder> {
        self.peer(address)
    }
}

impl ReachCoord for SiteDial {
    fn coord(&self, address: &str) -> Arc<dyn Coord> {
        Arc::new(PeerCoord(self.peer(address)))
    }
}

/// One machine as another one calls it.
pub struct Peer {
    pub world: Arc<World>,
    pub from: Arc<Site>,
    pub address: String,
}

impl Peer {
    async fn writer<T: Send + 'static, F>(
        &self,
        call: &'static str,
        limit: Duration,
        work: impl FnOnce(Arc<dyn Writer>) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let make = |life: &Life| {
            let duty = life.served.lock().as_ref()?.writer.clone()?;
            Some(work(duty).boxed())
        };
        self.world.call(Some(Arc::clone(&self.from)), &self.address, call, limit, make).await
    }

    async fn querier<T: Send + 'static, F>(
        &self,
        call: &'static str,
        work: impl FnOnce(Arc<dyn Querier>) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let make = |life: &Life| {
            let duty = life.served.lock().as_ref()?.querier.clone()?;
            Some(work(duty).boxed())
        };
        let answer = self.world.call(Some(Arc::clone(&self.from)), &self.address, call, LONG, make).await;
        if answer.as_ref().is_err_and(Error::is_stale) {
            self.world.refused_read(&answer.as_ref().err().map(ToString::to_string).unwrap_or_default());
        }
        answer
    }

    async fn builder<T: Send + 'static, F>(
        &self,
        call: &'static str,
        work: impl FnOnce(Arc<dyn Builder>) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let make = |life: &Life| {
            let duty = life.served.lock().as_ref()?.builder.clone()?;
            Some(work(duty).boxed())
        };
        self.world.call(Some(Arc::clone(&self.from)), &self.address, call, LONGEST, make).await
    }
}

#[async_trait]
impl Writer for Peer {
    async fn write(&self, mut write: Write) -> Result<Written, Error> {
        if self.world.defect == Some(Defect::Nameless) {
            write.request = None;
        }
        self.writer("write", LONG, |duty| async move { duty.write(write).await }).await
    }

    async fn flush(&self, channel: &ChannelName) -> Result<(), Error> {
        let channel = channel.clone();
        self.writer("flush", LONGEST, |duty| async move { duty.flush(&channel).await }).await
    }

    async fn mark(&self, channel: &ChannelName) -> Result<Mark, Error> {
        let channel = channel.clone();
        self.writer("mark", BRIEF, |duty| async move { duty.mark(&channel).await }).await
    }

    async fn tail(&self, channel: &ChannelName, from: Position) -> Result<Tail, Error> {
        let channel = channel.clone();
        let tail = self.writer("tail", BRIEF, |duty| async move { duty.tail(&channel, from).await }).await?;
        Ok(carry(Arc::clone(&self.world), Arc::clone(&self.from), &self.address, tail))
    }

    async fn forget(&self, channels: &[ChannelName]) -> Result<(), Error> {
        let channels = channels.to_vec();
        self.writer("forget", LONG, |duty| async move { duty.forget(&channels).await }).await
    }
}

/// A stream that another machine sends. Each item takes its time; when the connection is silent for long it breaks.
fn carry(world: Arc<World>, from: Arc<Site>, address: &str, mut tail: Tail) -> Tail {
    let Some(to) = world.site_at(address) else { return tail };
    if to.number == from.number {
        return tail;
    }
    let (here, there) = (End::Site(from.number), End::Site(to.number));
    let (send, receive) = mpsc::unbounded_channel();
    if let Some(life) = to.life() {
        let (world, to) = (Arc::clone(&world), Arc::clone(&to));
        life.serve(async move {
            loop {
                let item = tokio::select! {
                    biased;
                    item = tail.next() => item,
                    () = world.silence(here, &to) => return,
                    () = send.closed() => return,
                };
                to.gate.open().await;
                let Some(item) = item else { return };
                tokio::time::sleep(world.fate().there).await;
                let mut silent = Duration::ZERO;
                while world.is_cut(here, there) {
                    world.fired(Fault::Partition);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    silent += Duration::from_millis(500);
                    if silent > SILENCE {
                        return;
                    }
                }
                if send.send(item).is_err() {
                    return;
                }
            }
        });
    }
    let broken = || Some((Err(broke("tail")), None));
    futures::stream::unfold(Some(receive), move |receive| {
        let from = Arc::clone(&from);
        async move {
            let mut receive = receive?;
            let item = receive.recv().await;
            from.gate.open().await;
            match item {
                Some(item) => Some((item, Some(receive))),
                None => broken(),
            }
        }
    })
    .boxed()
}

#[async_trait]
impl Querier for Peer {
    async fn search(
        &self,
        plan: SearchPlan,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<SearchHits, Error> {
        self.querier("search", |duty| async move { duty.search(plan, share, after).await }).await
    }

    async fn query(&self, plan: QueryPlan, share: Arc<Share>, after: ReadAfter) -> Result<QueryRows, Error> {
        self.querier("query", |duty| async move { duty.query(plan, share, after).await }).await
    }

    async fn reach(
        &self,
        collection: CollectionId,
        share: Arc<Share>,
        after: ReadAfter,
    ) -> Result<Vec<TimeSpan>, Error> {
        self.querier("reach", |duty| async move { duty.reach(collection, share, after).await }).await
    }
}

#[async_trait]
impl Builder for Peer {
    async fn build_index(&self, job: IndexJob) -> Result<IndexRef, Error> {
        self.builder("build an index", |duty| async move { duty.build_index(job).await }).await
    }

    async fn import(&self, job: ImportJob) -> Result<ImportDone, Error> {
        self.builder("import", |duty| async move { duty.import(job).await }).await
    }

    async fn compact(&self, job: CompactJob) -> Result<Vec<SegmentManifest>, Error> {
        self.builder("compact", |duty| async move { duty.compact(job).await }).await
    }

    async fn list_objects(&self, prefix: &str) -> Result<Vec<StoredObject>, Error> {
        let prefix = prefix.to_owned();
        self.builder("list objects", |duty| async move { duty.list_objects(&prefix).await }).await
    }

    async fn remove_objects(&self, keys: Vec<String>) -> Result<(), Error> {
        self.builder("remove objects", |duty| async move { duty.remove_objects(keys).await }).await
    }
}
