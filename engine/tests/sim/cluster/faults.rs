//! Which faults a seed has, and what each of them does to the world.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::role::Role;
use engine::base::{Rng as _, SeededRng};

use super::clients::{Promises, Works};
use super::plans::Script;
use super::site::Site;
use super::weather::{End, Fault, Weather};
use super::world::World;

/// The most that a wall clock is off. Unit: ms.
const HOUR_MS: i64 = 3_600_000;

/// What a seed is made of.
#[derive(Debug)]
pub struct Plan {
    pub roles: Vec<Role>,
    /// What has to happen; empty for a run without faults.
    pub faults: Vec<Fault>,
    pub replicas: u64,
    /// Longest pause of a worker between two operations. Unit: ms.
    pub think_ms: u64,
    /// Workers that only write.
    pub writers: i64,
    /// Operations of clients, at least.
    pub operations: u64,
    /// What is done; `None` for each of the faults again and again.
    pub script: Option<Script>,
    pub promises: Promises,
}

impl Plan {
    /// Every fourth seed is without faults, and larger.
    pub fn of(seed: u64, rng: &SeededRng) -> Self {
        let is_calm = seed.is_multiple_of(4);
        let queries = if is_calm { 3 } else { 2 + rng.below(2) };
        let mut roles = vec![Role::Coordinator, Role::Coordinator, Role::Proxy, Role::Proxy];
        roles.extend([Role::StreamingNode, Role::StreamingNode]);
        roles.extend((0..queries).map(|_| Role::QueryNode));
        roles.extend((0..1 + rng.below(2)).map(|_| Role::DataNode));
        let mut left = Fault::ALL.to_vec();
        let kinds = if is_calm { 0 } else { 3 + rng.below(3) };
        let faults = (0..kinds).map(|_| left.swap_remove(rng.below(left.len() as u64) as usize)).collect();
        let (think_ms, operations) = if is_calm { (1_500, 4_000) } else { (2_000, 2_000) };
        let works = if is_calm { Works::Everything } else { Works::These(&[]) };
        let promises = Promises { works, ..Promises::NOTHING };
        let replicas = queries.min(2);
        Self { roles, faults, replicas, think_ms, writers: 0, operations, script: None, promises }
    }

    /// Whether wall clocks can be relied on.
    pub fn has_true_clocks(&self) -> bool {
        !self.faults.iter().any(|fault| matches!(fault, Fault::ClockStep | Fault::ClockSkew))
    }
}

pub fn span(rng: &SeededRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(from_ms + rng.below(to_ms - from_ms))
}

pub fn one_of(rng: &SeededRng, sites: &[Arc<Site>]) -> Arc<Site> {
    Arc::clone(&sites[rng.below(sites.len() as u64) as usize])
}

/// Clocks that are wrong from the start, one of them by far.
pub fn skew(world: &World, rng: &SeededRng) {
    let worst = one_of(rng, &world.sites);
    for site in &world.sites {
        let ahead_ms = rng.below(2 * HOUR_MS as u64) as i64 - HOUR_MS;
        site.error.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        let most_ppm = if site.number == worst.number { 50_000 } else { 500 };
        site.error.fast_ppm.store(rng.below(2 * most_ppm) as i64 - most_ppm as i64, Ordering::Relaxed);
        world.fired(Fault::ClockSkew);
    }
}

/// Has one kind of fault happen again and again.
pub async fn strike_on(world: Arc<World>, rng: Arc<SeededRng>, fault: Fault) {
    loop {
        tokio::time::sleep(span(&rng, 2_000, 25_000)).await;
        strike(&world, &rng, fault).await;
    }
}

async fn strike(world: &Arc<World>, rng: &SeededRng, fault: Fault) {
    match fault {
        Fault::Kill => {
            let others: Vec<_> =
                world.sites.iter().filter(|site| site.role != Role::Coordinator).cloned().collect();
            kill(world, rng, &one_of(rng, &others), fault).await;
        }
        Fault::KillLeader => {
            if let Some(leader) = world.leader().await {
                kill(world, rng, &leader, fault).await;
            }
        }
        Fault::Pause => {
            let site = one_of(rng, &world.sites);
            let is_long = rng.below(8) == 0;
            let span = if is_long { span(rng, 60_000, 70_000) } else { span(rng, 500, 25_000) };
            pause(world, &site, span).await;
        }
        Fault::Partition => partition(world, rng).await,
        Fault::ClockStep => {
            let site = one_of(rng, &world.sites);
            let step = rng.below(2 * HOUR_MS as u64) as i64 - HOUR_MS;
            let ahead_ms = (site.error.ahead_ms.load(Ordering::Relaxed) + step).clamp(-HOUR_MS, HOUR_MS);
            site.error.ahead_ms.store(ahead_ms, Ordering::Relaxed);
            world.fired(fault);
            world.tell(format_args!("-- the clock of {} is {ahead_ms} ms ahead", site.address));
        }
        Fault::ClockSkew => {}
        weather => {
            world.tell(format_args!("-- {weather:?}"));
            change(&mut world.weather.lock(), rng, weather);
            tokio::time::sleep(span(rng, 1_000, 20_000)).await;
            calm(&mut world.weather.lock(), weather);
            world.tell(format_args!("-- no more {weather:?}"));
        }
    }
}

/// Stops a process for a while.
pub async fn pause(world: &World, site: &Site, span: Duration) {
    if site.life().is_none() {
        return;
    }
    site.gate.set(false);
    world.fired(Fault::Pause);
    world.tell(format_args!("-- {} is stopped", site.address));
    tokio::time::sleep(span).await;
    site.gate.set(true);
    world.tell(format_args!("-- {} goes on", site.address));
}

/// Ends a process; it is started again after some time.
pub async fn kill(world: &Arc<World>, rng: &SeededRng, site: &Arc<Site>, fault: Fault) {
    kill_for(world, site, fault, span(rng, 200, 12_000)).await;
}

/// Ends a process; it is started again after this time.
pub async fn kill_for(world: &Arc<World>, site: &Arc<Site>, fault: Fault, span: Duration) {
    if !site.kill() {
        return;
    }
    world.fired(fault);
    world.tell(format_args!("-- {} is killed", site.address));
    tokio::time::sleep(span).await;
    if site.life().is_none() {
        world.tell(format_args!("-- {} is started again", site.address));
        world.boot(site);
    }
}

/// Cuts one machine off from some others, or only one way, maybe from the stores too.
async fn partition(world: &Arc<World>, rng: &SeededRng) {
    let site = one_of(rng, &world.sites);
    let one = End::Site(site.number);
    let mut others: Vec<End> =
        world.sites.iter().map(|other| End::Site(other.number)).filter(|other| *other != one).collect();
    if rng.below(2) == 0 {
        others.retain(|_| rng.below(2) == 0);
    }
    if rng.below(3) == 0 {
        others.extend([End::Metas, End::Store]);
    }
    if rng.below(4) == 0 {
        others.push(End::Clients);
    }
    let way = rng.below(4);
    let mut cut = Vec::new();
    for other in others {
        if way != 0 {
            cut.push((one, other));
        }
        if way != 1 {
            cut.push((other, one));
        }
    }
    world.tell(format_args!("-- cut: {cut:?}"));
    world.weather.lock().blocked.extend(cut.iter().copied());
    tokio::time::sleep(span(rng, 1_000, 25_000)).await;
    for pair in &cut {
        world.weather.lock().blocked.remove(pair);
    }
    world.tell(format_args!("-- {} is no more cut off", site.address));
}

fn change(weather: &mut Weather, rng: &SeededRng, fault: Fault) {
    match fault {
        Fault::Loss => weather.loss_permille = 5 + rng.below(60),
        Fault::Reset => weather.reset_permille = 5 + rng.below(100),
        Fault::SlowNetwork => weather.slow_network_ms = 20 + rng.below(600),
        Fault::StoreErrors => weather.store_errors_permille = 50 + rng.below(300),
        Fault::StoreSlow => weather.store_slow_ms = 100 + rng.below(3_000),
        Fault::StoreLostAnswer => weather.store_lost_permille = 20 + rng.below(200),
        Fault::StoreDown => weather.is_store_down = true,
        Fault::MetaAway if rng.below(2) == 0 => weather.is_meta_away = true,
        Fault::MetaAway => weather.meta_lost_permille = 100 + rng.below(400),
        _ => {}
    }
}

fn calm(weather: &mut Weather, fault: Fault) {
    match fault {
        Fault::Loss => weather.loss_permille = 0,
        Fault::Reset => weather.reset_permille = 0,
        Fault::SlowNetwork => weather.slow_network_ms = 0,
        Fault::StoreErrors => weather.store_errors_permille = 0,
        Fault::StoreSlow => weather.store_slow_ms = 0,
        Fault::StoreLostAnswer => weather.store_lost_permille = 0,
        Fault::StoreDown => weather.is_store_down = false,
        Fault::MetaAway => (weather.is_meta_away, weather.meta_lost_permille) = (false, 0),
        _ => {}
    }
}

/// Nothing is wrong any more but the clocks, and everything runs.
pub fn heal(world: &Arc<World>) {
    world.tell(format_args!("-- healed"));
    *world.weather.lock() = Weather::default();
    for site in &world.sites {
        site.gate.set(true);
        if site.life().is_none() {
            world.boot(site);
        }
    }
}
