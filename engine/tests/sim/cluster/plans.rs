//! Named plans: one fault at the size for which something is promised, and the promise at its figures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contract::role::Role;
use engine::base::{Rng as _, SeededRng};
use engine::rpc::{CollectionInfo, Error};
use futures::FutureExt as _;

use super::clients::{Clients, Promises, USE, Works};
use super::damages;
use super::faults::{self, Plan, one_of, span};
use super::lives;
use super::plays;
use super::rows::{self, DATABASE, SHARDS};
use super::run::Report;
use super::site::Site;
use super::weather::Fault;
use super::world::World;
use super::{PLAN_SEEDS, Special, all, number};

pub const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// How long the channels of a lost owner take no writes, at most.
const OWNERLESS: Duration = Duration::from_secs(15);
/// How long a change of the catalog takes once the metadata is back, at most.
const BACK: Duration = Duration::from_secs(15);
/// How long writes fail after the store is back, at most.
const STORE_BACK: Duration = Duration::from_secs(30);
/// When a write ends at the latest, with what its answer takes.
const DEADLINE: Duration = Duration::from_millis(10_500);
/// The same of a read: it is tried once more when a node has waited in vain for word of an owner.
const READ_DEADLINE: Duration = Duration::from_millis(20_500);

/// How long a channel stays where it was moved for balance, less what an order may take longer than the one before.
const REST: Duration = Duration::from_secs(59);

/// Reads of every level, and those that need no mark of an owner.
const READS: &[&str] =
    &["query", "query of a session", "search", "query by key", "bounded query", "eventual query"];
const LOOSE: &[&str] = &["bounded query", "eventual query"];
/// Workers that do nothing but write, so that writes tell how writes do.
const WRITERS: i64 = 4;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Owners of channels are killed, each long after the one before.
    OwnerKilled,
    /// Five within half a minute, three times.
    FiveKills,
    /// Owners are stopped for a minute and go on.
    Zombie,
    /// The metadata is away for ten minutes.
    MetadataAway,
    /// The object store is away for five minutes.
    StoreDown,
    /// Owners and query nodes come and go every ten seconds, with more channels than nodes.
    Flapping,
    /// Processes are killed amid flushes and compactions; an hour later nothing is left of what they had begun.
    Orphans,
    /// Rows live for half a minute, while clocks are off by up to an hour, step and run wrong, and leaders are killed.
    TimeToLive,
    /// The leader is killed every 20 s for ten minutes.
    LeaderKilled,
    /// The object store refuses 15 of 100 calls for ten minutes.
    BusyStore,
    /// The object store is slow for ten minutes, breaks calls off and is away again and again.
    SlowStore,
    /// Owners leave one after the other and others come, with more channels than nodes.
    ComeAndGo,
    /// A bit flips in a manifest of a collection while the leader is killed, and later the record is put back.
    DamagedManifest,
    /// Clients insert and repeat under the same name what is not answered at once, while owners are killed and stopped and messages are lost.
    BlindRepeats,
}

impl Script {
    const ALL: [(&str, Self); 14] = [
        ("damaged-manifest", Self::DamagedManifest),
        ("owner-killed", Self::OwnerKilled),
        ("five-kills", Self::FiveKills),
        ("zombie", Self::Zombie),
        ("metadata-away", Self::MetadataAway),
        ("store-down", Self::StoreDown),
        ("flapping", Self::Flapping),
        ("orphans", Self::Orphans),
        ("time-to-live", Self::TimeToLive),
        ("leader-killed", Self::LeaderKilled),
        ("busy-store", Self::BusyStore),
        ("slow-store", Self::SlowStore),
        ("come-and-go", Self::ComeAndGo),
        ("blind-repeats", Self::BlindRepeats),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, script)| *script)
    }

    /// The cluster and what is promised of it.
    pub fn plan(self) -> Plan {
        let mut roles = [
            [Role::Coordinator; 2],
            [Role::Proxy; 2],
            [Role::StreamingNode; 2],
            [Role::QueryNode; 2],
            [Role::DataNode; 2],
        ]
        .concat();
        if self == Self::Flapping {
            roles.extend([Role::StreamingNode, Role::QueryNode]);
        }
        if self == Self::ComeAndGo {
            roles.push(Role::StreamingNode);
        }
        let nothing = Promises::NOTHING;
        let used = Promises { works: Works::These(USE), ..nothing };
        let owners = Promises { works: Works::These(LOOSE), writes_within: Some(OWNERLESS), ..nothing };
        let (fault, promises) = match self {
            Self::TimeToLive => (Fault::ClockSkew, nothing),
            Self::OwnerKilled => (Fault::Kill, owners),
            Self::FiveKills => (Fault::Kill, Promises { works: Works::These(LOOSE), ..nothing }),
            Self::Zombie => (Fault::Pause, owners),
            Self::MetadataAway => (Fault::MetaAway, Promises { writes_within: Some(OWNERLESS), ..used }),
            Self::StoreDown => (
                Fault::StoreDown,
                Promises { works: Works::These(READS), writes_fail_within: Some(DEADLINE), ..nothing },
            ),
            Self::Flapping => (Fault::Kill, owners),
            Self::Orphans => (Fault::Kill, nothing),
            Self::LeaderKilled | Self::DamagedManifest => {
                (Fault::KillLeader, Promises { writes_within: Some(OWNERLESS), ..used })
            }
            Self::BusyStore => (Fault::StoreErrors, used),
            Self::SlowStore => (
                Fault::StoreSlow,
                Promises {
                    writes_fail_within: Some(DEADLINE),
                    use_ends_within: Some(READ_DEADLINE),
                    ..nothing
                },
            ),
            Self::ComeAndGo => (Fault::Kill, Promises { writes_take: Some(plays::MOVE), ..used }),
            Self::BlindRepeats => (Fault::Kill, nothing),
        };
        let mut faults = vec![fault];
        match self {
            Self::TimeToLive => faults.extend([Fault::ClockStep, Fault::KillLeader]),
            Self::SlowStore => {
                faults.extend([Fault::StoreErrors, Fault::StoreLostAnswer, Fault::StoreDown]);
            }
            Self::BusyStore => faults.push(Fault::StoreSlow),
            Self::BlindRepeats => faults.extend([Fault::Pause, Fault::Loss, Fault::Reset]),
            _ => {}
        }
        Plan {
            roles,
            faults,
            replicas: 2,
            think_ms: 4_000,
            writers: WRITERS,
            operations: 0,
            script: Some(self),
            promises,
        }
    }

    /// Does it, and looks at what is promised of this moment or that.
    pub async fn play(self, clients: &Arc<Clients>, rng: &SeededRng) {
        let world = &clients.world;
        tokio::time::sleep(span(rng, 5_000, 15_000)).await;
        match self {
            Self::OwnerKilled => {
                for _ in 0..6 {
                    faults::kill(world, rng, &owner(clients, rng), Fault::Kill).await;
                    tokio::time::sleep(span(rng, 15_000, 25_000)).await;
                }
            }
            Self::FiveKills => {
                for _ in 0..3 {
                    for _ in 0..5 {
                        let site = owner(clients, rng);
                        faults::kill_for(world, &site, Fault::Kill, span(rng, 200, 3_000)).await;
                        tokio::time::sleep(span(rng, 1_000, 3_000)).await;
                    }
                    tokio::time::sleep(span(rng, 15_000, 30_000)).await;
                }
            }
            Self::Zombie => {
                for _ in 0..3 {
                    let site = owner(clients, rng);
                    faults::pause(world, &site, span(rng, 60_000, 65_000)).await;
                    tokio::time::sleep(span(rng, 5_000, 20_000)).await;
                }
                if world.fenced() == 0 {
                    world.violated("nothing that a stopped owner had left to do was fenced".to_owned());
                }
            }
            Self::MetadataAway => {
                move_a_channel(clients, rng).await;
                world.weather.lock().is_meta_away = true;
                tokio::time::sleep(10 * MINUTE).await;
                world.weather.lock().is_meta_away = false;
                change_the_catalog(clients, "after", BACK).await;
                tokio::time::sleep(span(rng, 5_000, 15_000)).await;
            }
            Self::StoreDown => {
                world.weather.lock().is_store_down = true;
                tokio::time::sleep(5 * MINUTE).await;
                world.weather.lock().is_store_down = false;
                let back = world.now_us();
                tokio::time::sleep(STORE_BACK).await;
                if !clients.all_written_since(back) {
                    world.violated(format!("no writes {STORE_BACK:?} after the store is back"));
                }
            }
            Self::Flapping => {
                load_another(clients, "many", 9).await;
                world.have_channels_rest(REST);
                let [owners, queriers] =
                    [Role::StreamingNode, Role::QueryNode].map(|role| world.sites_of(role));
                for turn in 0..30 {
                    let next = tokio::time::Instant::now() + Duration::from_secs(10);
                    let gone = [&owners, &queriers].map(|sites| {
                        let span = span(rng, 1_000, 9_000);
                        faults::kill_for(world, &sites[turn % sites.len()], Fault::Kill, span)
                    });
                    futures::future::join_all(gone).await;
                    tokio::time::sleep_until(next).await;
                }
                world.tell(format_args!("-- {} moves", world.moves()));
                if world.moves() == 0 {
                    world.violated("nothing was moved to who came back".to_owned());
                }
            }
            Self::LeaderKilled => plays::kill_leaders(clients, rng).await,
            Self::BusyStore => plays::refuse(clients).await,
            Self::SlowStore => plays::slow_down(clients).await,
            Self::ComeAndGo => plays::come_and_go(clients, rng).await,
            Self::BlindRepeats => plays::repeat_blindly(clients, rng).await,
            Self::DamagedManifest => damages::flip(clients, rng).await,
            Self::TimeToLive => {
                let strikes = [Fault::ClockStep, Fault::KillLeader].map(|fault| {
                    let own = SeededRng::new(rng.next_u64());
                    faults::strike_on(Arc::clone(world), own, fault)
                });
                let played = std::pin::pin!(lives::play(clients, rng));
                futures::future::select(played, futures::future::join_all(strikes).boxed()).await;
            }
            Self::Orphans => {
                let roles = [Role::StreamingNode, Role::DataNode];
                let sites: Vec<_> = roles.into_iter().flat_map(|role| world.sites_of(role)).collect();
                for _ in 0..10 {
                    tokio::time::sleep(span(rng, 2_000, 8_000)).await;
                    faults::kill_for(world, &one_of(rng, &sites), Fault::Kill, span(rng, 200, 5_000)).await;
                }
            }
        }
    }
}

/// The owner of some channel, or whoever might be one if there is none.
pub fn owner(clients: &Clients, rng: &SeededRng) -> Arc<Site> {
    let world = &clients.world;
    let channel = &clients.info.channels[rng.below(SHARDS as u64) as usize];
    let others = || {
        let there = world.sites_of(Role::StreamingNode).into_iter().filter(|site| site.life().is_some());
        there.collect::<Vec<_>>()
    };
    world.owner_of(channel).unwrap_or_else(|| one_of(rng, &others()))
}

/// A collection besides.
pub async fn load_another(clients: &Clients, name: &'static str, shards: u32) -> Option<Arc<CollectionInfo>> {
    let world = &clients.world;
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    let wanted = rows::new_collection(name, shards);
    let make = world.ask(&proxy, "make a collection", MINUTE, |door| {
        async move {
            let info = door.coord.create_collection(wanted).await?;
            door.coord.create_index(rows::new_index(name)).await?;
            door.coord.load(rows::named(name), None, 2, Vec::new()).await?;
            Ok(info)
        }
        .boxed()
    });
    let made = make.await;
    if let Err(error) = &made {
        world.violated(format!("no collection with {shards} channels: {error}"));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    made.ok()
}

/// An owner is emptied and then owns again, for which a channel comes back to it. Returns about when the channel does, or
/// while nobody owns it.
async fn move_a_channel(clients: &Clients, rng: &SeededRng) {
    let world = &clients.world;
    let (proxy, site) = (Arc::clone(&world.sites_of(Role::Proxy)[0]), owner(clients, rng));
    let node = world.node_at(&site);
    for on in [true, false] {
        let drain =
            move |door: engine::assembly::Door| async move { door.coord.drain(node, on).await }.boxed();
        if let Err(error) = world.ask(&proxy, "drain", MINUTE, drain).await {
            return world.violated(format!("{} cannot be emptied: {error}", site.address));
        }
        world.tell(format_args!("-- {} is to own {}", site.address, if on { "nothing" } else { "again" }));
        if on {
            tokio::time::sleep(span(rng, 4_000, 8_000)).await;
        }
    }
    if rng.below(2) == 0 {
        return tokio::time::sleep(span(rng, 0, 2_000)).await;
    }
    for _ in 0..3_000 {
        if clients.info.channels.iter().any(|channel| world.owner_of(channel).is_none()) {
            return world.tell(format_args!("-- a channel is on its way"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Makes and drops a collection, within this time; how long that took.
pub async fn change_the_catalog(clients: &Clients, name: &str, within: Duration) -> Option<Duration> {
    let world = &clients.world;
    let began = tokio::time::Instant::now();
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    let work = async {
        loop {
            let wanted = rows::new_collection(name, 1);
            let dropped = name.to_owned();
            let make = world.ask(&proxy, "make a collection", within, |door| {
                async move {
                    door.coord.create_collection(wanted).await?;
                    door.coord.drop_collection(DATABASE, &dropped).await
                }
                .boxed()
            });
            match make.await {
                Ok(()) => return,
                Err(error) => world.tell(format_args!("not yet: {error}")),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    if tokio::time::timeout(within, work).await.is_err() {
        world.violated(format!("no change of the catalog within {within:?}"));
        return None;
    }
    Some(began.elapsed())
}

/// Whether all that nobody names is gone within an hour: what killed processes have left, and two objects more.
pub async fn sweep(clients: &Clients) {
    let world = &clients.world;
    let id = clients.info.id;
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    let serial = match world.ask(&proxy, "number", MINUTE, fresh).await {
        Ok(serial) => serial,
        Err(error) => return world.violated(format!("no number: {error}")),
    };
    let channel = &clients.info.channels[0];
    for key in
        [format!("segments/{id}/{serial}/scalars.parquet"), format!("deletes/{id}/{channel}/{serial}.bin")]
    {
        world.blobs().create(&key, bytes::Bytes::from_static(b"left")).await.expect("an object is put");
    }
    let unnamed = unnamed(clients).await;
    world.tell(format_args!("-- {} objects that nobody names: {unnamed:?}", unnamed.len()));
    if unnamed.len() < 2 {
        world.violated("the objects that were left are named".to_owned());
    }
    tokio::time::sleep(HOUR).await;
    let left = self::unnamed(clients).await;
    let left: Vec<_> = left.intersection(&unnamed).collect();
    if !left.is_empty() {
        world.violated(format!("still there after an hour: {left:?}"));
    }
}

fn fresh(door: engine::assembly::Door) -> futures::future::BoxFuture<'static, Result<i64, Error>> {
    async move { door.coord.allocate_ids(1).await }.boxed()
}

/// Objects of rows, deletes and indexes that no collection names.
async fn unnamed(clients: &Clients) -> BTreeSet<String> {
    let world: &Arc<World> = &clients.world;
    let proxy = Arc::clone(&world.sites_of(Role::Proxy)[0]);
    let named = world
        .ask(&proxy, "list", MINUTE, |door| {
            async move {
                let mut named = BTreeSet::new();
                for collection in door.coord.collections(DATABASE).await? {
                    for manifest in door.coord.manifests(collection.id).await? {
                        named.extend(manifest.segments.iter().flat_map(|segment| segment.objects()));
                        named.extend(manifest.deletes.iter().map(|file| file.object.key.clone()));
                    }
                }
                Ok(named)
            }
            .boxed()
        })
        .await;
    let named = named.unwrap_or_else(|error| {
        world.violated(format!("what is named cannot be listed: {error}"));
        BTreeSet::new()
    });
    let mut stored = BTreeSet::new();
    for prefix in ["segments/", "deletes/"] {
        let entries = world.blobs().list(prefix).await.expect("objects are listed");
        stored.extend(entries.into_iter().map(|entry| entry.key));
    }
    &stored - &named
}

/// A named plan keeps what is promised, by so many seeds, if nobody asks for another number.
fn is_kept(plan: &str, usual: u64) {
    let seeds = 1..1 + number(PLAN_SEEDS).unwrap_or(usual);
    let reports = all(seeds, Special { plan: Some(plan), ..Special::default() }, |_| false);
    for report in &reports {
        let Report { seed, operations, failed, fenced, progress_ms, fired, notes, .. } = report;
        println!(
            "{plan}, seed {seed}: {operations} operations, {failed} failed, {fenced} fenced, all went on within \
             {progress_ms} ms, faults {fired:?}"
        );
        notes.iter().for_each(|note| println!("    {note}"));
    }
    let wrong: Vec<_> = reports.iter().filter(|report| !report.violations.is_empty()).collect();
    for report in &wrong {
        println!("make sim PLAN={plan} SEED={}\n    {}", report.seed, report.violations.join("\n    "));
    }
    assert!(wrong.is_empty(), "{} seeds of {} went wrong", wrong.len(), reports.len());
}

#[test]
fn writes_go_on_within_15_s_after_an_owner_was_killed() {
    is_kept("owner-killed", 1);
}

#[test]
fn of_five_owners_killed_within_half_a_minute_each_write_is_whole_or_absent() {
    is_kept("five-kills", 1);
}

#[test]
fn an_owner_that_was_stopped_for_a_minute_is_fenced_and_nobody_sees_it() {
    is_kept("zombie", 1);
}

#[test]
fn ten_minutes_without_metadata_fail_no_read_and_no_write() {
    is_kept("metadata-away", 4);
}

#[test]
fn five_minutes_without_a_store_end_writes_in_time_and_reads_go_on() {
    is_kept("store-down", 1);
}

#[test]
fn while_nodes_come_and_go_a_channel_is_moved_for_balance_at_most_once_a_minute() {
    is_kept("flapping", 1);
}

#[test]
fn rows_live_as_long_as_they_are_to_whatever_the_clocks_say() {
    is_kept("time-to-live", 1);
}

#[test]
fn what_killed_processes_have_left_is_gone_within_an_hour() {
    is_kept("orphans", 1);
}

#[test]
fn a_leader_that_is_killed_every_20_s_fails_no_read_and_no_write_and_changes_go_on_within_10_s() {
    is_kept("leader-killed", 1);
}

#[test]
fn a_store_that_refuses_15_of_100_calls_fails_no_write_and_is_asked_little_more() {
    is_kept("busy-store", 1);
}

#[test]
fn with_a_store_that_is_slow_and_breaks_off_every_call_ends_in_time_and_writes_go_on() {
    is_kept("slow-store", 1);
}

#[test]
fn while_owners_come_and_go_no_write_fails_and_none_waits_for_more_than_a_second() {
    is_kept("come-and-go", 1);
}

#[test]
fn a_damaged_manifest_keeps_only_its_collection_away_and_all_else_goes_on() {
    is_kept("damaged-manifest", 1);
}

#[test]
fn inserts_that_are_repeated_blindly_under_a_name_are_there_once() {
    is_kept("blind-repeats", 1);
}
