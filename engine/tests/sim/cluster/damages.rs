//! Manifests of one collection in which a bit flips, and what becomes of that collection and of all others.

use std::sync::Arc;
use std::time::Duration;

use contract::role::Role;
use engine::assembly::Door;
use engine::base::SeededRng;
use engine::meta::Txn;
use engine::plan::QueryKind;
use engine::rpc::{CollectionInfo, Consistency, Error};
use futures::{FutureExt as _, future};
use tokio::time::Instant;

use super::clients::Clients;
use super::faults::{self, span};
use super::plans::{MINUTE, change_the_catalog, load_another};
use super::rows::{self, Change, Found, SHARDS};
use super::site::Site;
use super::weather::Fault;

/// How long nobody changes the catalog after a leader was killed, at most.
const LEADERLESS: Duration = Duration::from_secs(10);
/// Within this time everything has arrived that was sent before. Nobody leads so soon after a leader.
const ARRIVED: Duration = Duration::from_secs(1);
/// How long a collection takes to be written and read again once its manifest is whole, at most.
const BACK: Duration = Duration::from_secs(15);

/// A collection with a manifest that is damaged now and then.
struct Hurt<'a> {
    clients: &'a Clients,
    info: Arc<CollectionInfo>,
    /// What was acknowledged.
    rows: Vec<(i64, i64)>,
}

/// A bit flips in the record of a manifest of each channel in turn while the leader is killed, and again while the next one is:
/// changes of the catalog go on, and of that collection every read and write is refused by name. Once the record is put back,
/// it is read and written again, with every row.
pub async fn flip(clients: &Clients, rng: &SeededRng) {
    let world = &clients.world;
    let Some(info) = load_another(clients, "hurt", SHARDS as u32).await else { return };
    world.watch(info.id);
    let mut hurt = Hurt { clients, info, rows: Vec::new() };
    let mut longest = Duration::ZERO;
    for shard in 0..SHARDS as usize {
        hurt.fill(shard).await;
        hurt.look().await;
        let channel = hurt.info.channels[shard].clone();
        let key = format!("channels/{channel}");
        let Ok(Some(whole)) = world.metas().get(&key).await else {
            return world.violated(format!("there is no record {key}"));
        };
        for turn in 0..2 {
            let Some(leader) = world.leader().await else {
                return world.violated("nobody leads".to_owned());
            };
            let killed = faults::kill_for(world, &leader, Fault::KillLeader, span(rng, 200, 5_000));
            let name = format!("after_{shard}_{turn}");
            let change = async {
                // The leader is dead, and what it had sent has arrived: it would write what it knows over this.
                tokio::time::sleep(ARRIVED).await;
                let mut damaged = whole.value.to_vec();
                let middle = damaged.len() / 2;
                damaged[middle] ^= 0x10;
                let put = Txn::new().put(key.clone(), damaged);
                world.metas().commit(put).await.expect("a record is written");
                change_the_catalog(clients, &name, LEADERLESS).await;
            };
            future::join(killed, change).await;
            // The leader has listened, and whoever goes by the routes of the one before has heard of it.
            tokio::time::sleep(span(rng, 12_000, 18_000)).await;
            hurt.is_refused(&key).await;
        }
        let put_back = Txn::new().put(key.clone(), whole.value.clone());
        world.metas().commit(put_back).await.expect("a record is written");
        let began = Instant::now();
        hurt.look_within(BACK).await;
        longest = longest.max(began.elapsed());
    }
    world.note(format!("a collection was back {longest:?} after its manifest at the latest"));
}

impl Hurt<'_> {
    fn proxies(&self) -> Vec<Arc<Site>> {
        self.clients.world.sites_of(Role::Proxy)
    }

    async fn write(&self, shard: usize, rows: Vec<(i64, i64)>) -> Result<(), Error> {
        let write = Change::Upsert(rows).write(&self.info, shard, self.info.partitions[0].id);
        let wrote = |door: Door| async move { door.writer.write(write).await.map(drop) }.boxed();
        self.clients.world.ask(&self.proxies()[0], "write to the hurt", MINUTE, wrote).await
    }

    async fn read(&self, proxy: &Site) -> Result<Result<Found, String>, Error> {
        let plan = rows::query(self.info.id, QueryKind::Rows);
        let read = |door: Door| async move { door.reader.query(plan, Consistency::Strong).await }.boxed();
        let answer = self.clients.world.ask(proxy, "query of the hurt", MINUTE, read).await?;
        Ok(rows::read_back(&answer.rows))
    }

    /// Writes rows, of which some are sealed and some are only in the log.
    async fn fill(&mut self, shard: usize) {
        let world = &self.clients.world;
        for round in 0..2 {
            let first = (shard as i64) * 1_000 + round * 100;
            let rows: Vec<_> = (first..first + 20).map(|key| (key, key)).collect();
            if let Err(error) = self.write(shard, rows.clone()).await {
                return world.violated(format!("a write before any damage: {error}"));
            }
            self.rows.extend(rows);
            if round > 0 {
                return;
            }
            let channel = self.info.channels[shard].clone();
            let flush = |door: Door| async move { door.writer.flush(&channel).await }.boxed();
            if let Err(error) = world.ask(&self.proxies()[0], "flush of the hurt", MINUTE, flush).await {
                return world.violated(format!("a flush before any damage: {error}"));
            }
        }
    }

    /// Every proxy shows every row.
    async fn look(&self) {
        let wanted = Found::new(self.rows.clone()).expect("each key is given once");
        for proxy in self.proxies() {
            match self.read(&proxy).await {
                Ok(found) if found.as_ref() == Ok(&wanted) => {}
                other => {
                    let text = format!("{} shows of {} rows: {other:?}", proxy.address, wanted.len());
                    self.clients.world.violated(text);
                }
            }
        }
    }

    /// The same, once it is read and written again.
    async fn look_within(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        for shard in 0..SHARDS as usize {
            let row = (10_000 + self.rows.len() as i64, 1);
            loop {
                match self.write(shard, vec![row]).await {
                    Ok(()) => break,
                    Err(error) if Instant::now() > until => {
                        return self.clients.world.violated(format!("not back within {limit:?}: {error}"));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
            self.rows.push(row);
        }
        for proxy in self.proxies() {
            while let Err(error) = self.read(&proxy).await {
                if Instant::now() > until {
                    return self.clients.world.violated(format!("not back within {limit:?}: {error}"));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        self.look().await;
    }

    /// Nobody reads or writes it, and is told why.
    async fn is_refused(&self, key: &str) {
        let world = &self.clients.world;
        let is_named = |error: &Error| {
            let text = error.to_string();
            text.contains("is damaged or lost") && text.contains(key)
        };
        for proxy in self.proxies() {
            match self.read(&proxy).await {
                Err(error) if is_named(&error) => {}
                other => world.violated(format!("a read by {} of what is damaged: {other:?}", proxy.address)),
            }
        }
        for shard in 0..SHARDS as usize {
            match self.write(shard, vec![(-1, -1)]).await {
                Err(error) if is_named(&error) => {}
                other => world.violated(format!("a write to what is damaged: {other:?}")),
            }
        }
    }
}
