//! Rows that live for a while only, by true time, while clocks are wrong and leaders change.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::role::Role;
use engine::assembly::Door;
use engine::base::{Rng as _, SeededRng, Timestamp};
use engine::plan::QueryKind;
use engine::rpc::{CollectionChange, CollectionInfo, Consistency, Error, TTL};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::clients::Clients;
use super::faults::{one_of, span};
use super::rows::{self, Change, Found, SHARDS, named};
use super::site::Site;
use super::weather::Fault;
use super::world::World;

const NAME: &str = "brief";
/// How long rows live.
const LIFE: Duration = Duration::from_secs(30);
/// How much a row's age may be taken for more or less than it is. The time of the cluster goes by the monotonic clock of who
/// leads, of which the worst runs 5 % fast or slow, and leaves out one part in 1,024 while the wall clock is behind: 1.6 s of a life.
/// A node that reckons on from what it was told, for as long as nobody leads, adds as much of those seconds again.
const BOUND: Duration = Duration::from_secs(3);
/// What may be shown too late besides.
const LATE: Duration = Duration::from_secs(1);
/// How much later for each leader that was killed meanwhile: a candidate looks twice a second what the leader says of the time, and
/// goes on from when it saw that first.
const LOST: Duration = Duration::from_secs(1);
/// Until every node knows what a clock that was set, or a leader that was killed, has done to the time: there is another leader
/// after 7 s, and nodes hear of it within another two, or look for it again.
const SETTLES: Duration = Duration::from_secs(20);
/// An answer that took longer may have waited for a leader, and does not say when its time was.
const PROMPT: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(30);
/// Until something that is tried again works.
const PATIENCE: Duration = Duration::from_secs(120);
/// For how long rows are written and read.
const SPAN: Duration = Duration::from_secs(240);

/// A row that is there.
#[derive(Clone, Copy)]
struct Row {
    key: i64,
    /// When its write began and ended. Unit: microseconds.
    written: (u64, u64),
    at: Timestamp,
}

/// How far the time of the cluster had come by its leader, and when that was asked and answered. Unit of the latter: microseconds.
#[derive(Clone, Copy)]
struct Told {
    at: Timestamp,
    asked: (u64, u64),
}

/// What has been done to the time of the cluster, and when that was noticed. Unit: microseconds.
#[derive(Default)]
struct Upsets {
    /// How far ahead the wall clocks of coordinators were at the last look. Unit: milliseconds.
    ahead_ms: Vec<i64>,
    /// When one of them was set forward.
    steps: Vec<u64>,
    /// When leaders were killed.
    kills: Vec<u64>,
}

impl Upsets {
    fn notice(&mut self, world: &World) {
        let now = world.now_us();
        let coordinators = world.sites_of(Role::Coordinator);
        let ahead_ms: Vec<i64> =
            coordinators.iter().map(|site| site.error.ahead_ms.load(Ordering::Relaxed)).collect();
        if ahead_ms.iter().zip(&self.ahead_ms).any(|(now, before)| now > before) {
            self.steps.push(now);
        }
        self.ahead_ms = ahead_ms;
        let kills = world.all_fired().get(&Fault::KillLeader).copied().unwrap_or_default();
        self.kills.resize(kills as usize, now);
    }

    fn steps_since(&self, from: u64) -> u32 {
        self.steps.iter().filter(|at| **at >= from).count() as u32
    }

    fn kills_since(&self, from: u64) -> u32 {
        self.kills.iter().filter(|at| **at >= from).count() as u32
    }
}

/// What a read has shown, before it is known how far the time of the cluster had come.
struct Seen {
    read: (u64, u64),
    via: String,
    found: Found,
}

struct Lives<'a> {
    clients: &'a Clients,
    rng: &'a SeededRng,
    info: Arc<CollectionInfo>,
    rows: Vec<Row>,
    seen: Vec<Seen>,
    upsets: Upsets,
    next: i64,
    /// Rows that had to be shown, and those that must not be.
    had_to: u64,
    must_not: u64,
}

/// Plays it.
pub async fn play(clients: &Clients, rng: &SeededRng) {
    let Some(info) = make(clients).await else { return };
    clients.world.watch(info.id);
    let (rows, seen, upsets) = (Vec::new(), Vec::new(), Upsets::default());
    let mut lives = Lives { clients, rng, info, rows, seen, upsets, next: 1, had_to: 0, must_not: 0 };
    let until = tokio::time::Instant::now() + SPAN;
    while tokio::time::Instant::now() < until {
        lives.upsets.notice(&clients.world);
        lives.write().await;
        lives.read_all().await;
        lives.judge_all().await;
        lives.flush_sometimes().await;
        tokio::time::sleep(span(rng, 100, 1_500)).await;
    }
    let Lives { had_to, must_not, .. } = lives;
    clients.world.tell(format_args!("-- {had_to} had to be shown, {must_not} must not be"));
    if had_to < 100 || must_not < 100 {
        clients.world.violated(format!("too little was looked at: {had_to} and {must_not}"));
    }
    lives.change().await;
    lives.compact().await;
}

/// Tries until it works.
async fn patiently<T: Send + 'static>(
    clients: &Clients,
    what: &'static str,
    work: impl Fn(Door) -> BoxFuture<'static, Result<T, Error>> + Clone + Send,
) -> Option<T> {
    let until = tokio::time::Instant::now() + PATIENCE;
    let proxies = clients.world.sites_of(Role::Proxy);
    for proxy in proxies.iter().cycle() {
        match clients.world.ask(proxy, what, LIMIT, work.clone()).await {
            Ok(done) => return Some(done),
            Err(error) if tokio::time::Instant::now() > until => {
                clients.world.violated(format!("{what}: {error}"));
                return None;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    None
}

async fn make(clients: &Clients) -> Option<Arc<CollectionInfo>> {
    let life = LIFE.as_secs().to_string();
    patiently(clients, "make a brief collection", move |door| {
        let mut wanted = rows::new_collection(NAME, SHARDS as u32);
        wanted.properties.push((TTL.to_owned(), life.clone()));
        async move {
            // One that was made although the answer was lost is fine.
            match door.coord.collection(named(NAME)).await {
                Ok(info) => Ok(info),
                Err(_) => door.coord.create_collection(wanted).await,
            }
        }
        .boxed()
    })
    .await?;
    patiently(clients, "load a brief collection", |door| {
        async move {
            door.coord.create_index(rows::new_index(NAME)).await?;
            door.coord.load(named(NAME), None, 2, Vec::new()).await
        }
        .boxed()
    })
    .await?;
    patiently(clients, "see a brief collection loaded", |door| {
        async move {
            let progress = door.coord.load_progress(named(NAME)).await?;
            let slow = || Error::Stale { what: format!("all of it ({progress:?})") };
            (progress == Some(100)).then_some(()).ok_or_else(slow)?;
            door.coord.collection(named(NAME)).await
        }
        .boxed()
    })
    .await
}

/// The keys that a proxy shows, as it does for a client: what has expired follows from what it knows of the collection and
/// of the time.
async fn shown(door: Door, searches: bool) -> Result<Result<Found, String>, Error> {
    let info = door.coord.collection(named(NAME)).await?;
    let expired_before = info.expiry(door.time.now()).written_before;
    let rows = if searches {
        let mut plan = rows::search(info.id);
        plan.expired_before = expired_before;
        door.reader.search(plan, Consistency::Strong).await?.rows
    } else {
        let mut plan = rows::query(info.id, QueryKind::Rows);
        plan.expired_before = expired_before;
        door.reader.query(plan, Consistency::Strong).await?.rows
    };
    Ok(rows::read_back(&rows))
}

impl Lives<'_> {
    fn now_us(&self) -> u64 {
        self.clients.world.now_us()
    }

    fn proxies(&self) -> Vec<Arc<Site>> {
        self.clients.world.sites_of(Role::Proxy)
    }

    /// Writes a row.
    async fn write(&mut self) {
        let shard = self.rng.below(SHARDS as u64) as usize;
        let key = self.next;
        self.next += 1;
        let partition = self.info.partitions[0].id;
        let write = Change::Upsert(vec![(key, key)]).write(&self.info, shard, partition);
        let began = self.now_us();
        let proxy = one_of(self.rng, &self.proxies());
        let wrote = |door: Door| async move { door.writer.write(write).await }.boxed();
        let Ok(written) = self.clients.world.ask(&proxy, "write", LIMIT, wrote).await else { return };
        self.rows.push(Row { key, written: (began, self.now_us()), at: written.at });
    }

    async fn read(&self, proxy: &Site, searches: bool) -> Option<Seen> {
        let began = self.now_us();
        let look = move |door: Door| shown(door, searches).boxed();
        match self.clients.world.ask(proxy, "read", LIMIT, look).await.ok()? {
            Ok(found) => {
                let read = (began, self.now_us());
                Some(Seen { read, via: proxy.address.clone(), found })
            }
            Err(wrong) => {
                self.clients.world.violated(wrong);
                None
            }
        }
    }

    async fn read_all(&mut self) {
        for proxy in self.proxies() {
            let searches = self.rng.below(2) == 0;
            let seen = self.read(&proxy, searches).await;
            self.seen.extend(seen);
        }
    }

    /// Asks the leader how far the time of the cluster has come, and judges by that what was read before: no node has heard of a
    /// later time, though some may not have heard of it yet. What cannot be judged now is later.
    async fn judge_all(&mut self) {
        let proxy = one_of(self.rng, &self.proxies());
        let began = self.now_us();
        let look = |door: Door| async move { door.coord.allocate_timestamps(1).await }.boxed();
        let Ok(at) = self.clients.world.ask(&proxy, "time", LIMIT, look).await else { return };
        let told = Told { at, asked: (began, self.now_us()) };
        if told.asked.1 - told.asked.0 > PROMPT.as_micros() as u64 {
            return;
        }
        self.upsets.notice(&self.clients.world);
        for seen in std::mem::take(&mut self.seen) {
            self.judge(&seen, told);
        }
    }

    /// Holds what was shown against true time.
    fn judge(&mut self, seen: &Seen, told: Told) {
        let us = |span: Duration| span.as_micros() as u64;
        for row in &self.rows {
            let (began, ended) = row.written;
            if ended > seen.read.0 {
                continue;
            }
            let is_shown = seen.found.get(row.key).is_some();
            let (youngest, oldest) = (seen.read.0 - ended, seen.read.1 - began);
            let from = began.saturating_sub(us(SETTLES));
            if youngest > us(LIFE + LATE + BOUND + self.upsets.kills_since(from) * LOST) {
                self.must_not += 1;
                if is_shown {
                    let age = Duration::from_micros(youngest);
                    self.clients
                        .world
                        .violated(format!("{} shows key {} at an age of {age:?}", seen.via, row.key));
                }
            }
            // Where the wall clock of who leads is set forward it takes the time of the cluster along, and all that is there is as
            // much older. Nothing else makes it leap: not the wall clock of who leads next either.
            let leap = match self.upsets.steps_since(from) {
                0 => 0,
                _ => {
                    let by_cluster = 1_000 * told.at.unix_ms().saturating_sub(row.at.unix_ms());
                    by_cluster.saturating_sub(told.asked.0.saturating_sub(ended))
                }
            };
            if oldest + leap < us(LIFE - BOUND) {
                self.had_to += 1;
                if !is_shown {
                    let age = Duration::from_micros(oldest);
                    self.clients
                        .world
                        .violated(format!("{} hides key {} at an age of {age:?}", seen.via, row.key));
                }
            }
        }
        self.rows.retain(|row| seen.read.0.saturating_sub(row.written.1) < us(4 * LIFE));
    }

    async fn flush_sometimes(&self) {
        if self.rng.below(8) == 0 {
            let channel = self.info.channels[self.rng.below(SHARDS as u64) as usize].clone();
            let proxy = one_of(self.rng, &self.proxies());
            let flush = move |door: Door| async move { door.writer.flush(&channel).await }.boxed();
            drop(self.clients.world.ask(&proxy, "flush", LIMIT, flush).await);
        }
    }

    async fn set_life(&self, seconds: u64) -> Option<()> {
        patiently(self.clients, "change how long rows live", move |door| {
            let set = CollectionChange::SetProperties(vec![(TTL.to_owned(), seconds.to_string())]);
            async move { door.coord.alter_collection(named(NAME), set).await }.boxed()
        })
        .await
    }

    /// What every proxy shows.
    async fn everywhere(&self) -> Vec<Seen> {
        let mut all = Vec::new();
        for proxy in self.proxies() {
            for _ in 0..100 {
                if let Some(seen) = self.read(&proxy, false).await {
                    all.push(seen);
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        all
    }

    /// Without an end rows stay, and with one they are gone, at every proxy once the change is answered.
    async fn change(&mut self) {
        if self.set_life(0).await.is_none() {
            return;
        }
        self.rows.clear();
        while self.rows.len() < 5 {
            self.write().await;
        }
        tokio::time::sleep(2 * LIFE).await;
        for seen in self.everywhere().await {
            if let Some(row) = self.rows.iter().find(|row| seen.found.get(row.key).is_none()) {
                self.clients.world.violated(format!("{} hides key {} that has no end", seen.via, row.key));
            }
        }
        if self.set_life(LIFE.as_secs()).await.is_none() {
            return;
        }
        for seen in self.everywhere().await {
            if let Some(row) = self.rows.iter().find(|row| seen.found.get(row.key).is_some()) {
                self.clients.world.violated(format!("{} shows key {} that has ended", seen.via, row.key));
            }
        }
    }

    /// Once all rows have ended and are sealed, a compaction leaves none.
    async fn compact(&self) {
        for channel in &self.info.channels {
            let flush = |door: Door| {
                let channel = channel.clone();
                async move { door.writer.flush(&channel).await.map(drop) }.boxed()
            };
            patiently(self.clients, "flush", flush).await;
        }
        tokio::time::sleep(LIFE + BOUND).await;
        let id = self.info.id;
        let none_left = patiently(self.clients, "compact until no row is left", move |door| {
            async move {
                let asked = door.coord.compact(id, false).await?;
                for _ in 0..100 {
                    if door.coord.compaction(asked).await?.executing == 0 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                let manifests = door.coord.manifests(id).await?;
                let rows: u64 =
                    manifests.iter().flat_map(|manifest| &manifest.segments).map(|one| one.rows).sum();
                (rows == 0).then_some(()).ok_or_else(|| Error::Stale { what: format!("{rows} rows") })
            }
            .boxed()
        });
        if none_left.await.is_some() {
            self.clients.world.tell(format_args!("-- no row is left"));
        }
    }
}
