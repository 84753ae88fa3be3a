//! The catalog made anew from the bucket, by seeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::catalog::Compaction;
use super::change::Change;
use super::large_test::{World, commit, create_named};
use super::page::{self, Image, is_mirrored};
use super::rebuild::{LogEnds, Rebuilt, rebuild};
use super::{Error, record, stored};
use crate::base::{
    ChannelName, FIRST_FORMAT, Kind, Kinded as _, NodeId, Position, Rng as _, SeededRng, SegmentId,
};
use crate::blob::Blobs as _;
use crate::meta::{self, MemoryMetas, Metas, Txn, Versioned};
use crate::model::access::{ANY, Grant, Object, PasswordHash, ROOT};
use crate::rpc::{
    self, AliasChange, CollectionChange, CollectionRef, CompactionPlan, CompactionStep, Coord as _, Duties,
    GroupConfig, NewIndex, NodeInfo, PolicyChange, Report,
};

/// Logs that all go on, or that are all gone.
struct All(bool);

#[async_trait]
impl LogEnds for All {
    async fn reaches(&self, _: &ChannelName, _: Position) -> Result<bool, rpc::Error> {
        Ok(self.0)
    }
}

/// The records that a copy has, by value.
async fn records(metas: &dyn Metas) -> BTreeMap<String, bytes::Bytes> {
    let all = metas.list("").await.unwrap().into_iter();
    all.filter(|(key, _)| is_mirrored(key)).map(|(key, record)| (key, record.value)).collect()
}

async fn make_anew(world: &World, metas: &dyn Metas) -> Result<Rebuilt, Error> {
    rebuild(metas, Arc::clone(&world.blobs) as _, "us", FIRST_FORMAT, &All(true), 1).await
}

/// A change of who may do what, whatever comes of it.
fn policy_change(rng: &SeededRng, number: u64) -> PolicyChange {
    let pick = |below: u64| rng.next_u64() % below;
    let (user, role, group) = (format!("u{}", pick(3)), format!("r{}", pick(3)), format!("g{}", pick(2)));
    let grant = Grant {
        object: Object::Collection,
        name: format!("c{}", pick(4)),
        database: ANY.to_owned(),
        privilege: "Search".to_owned(),
        grantor: ROOT.to_owned(),
    };
    match pick(9) {
        0 | 1 => {
            let password = PasswordHash::new(number.to_string());
            PolicyChange::CreateUser { user, password, description: String::new() }
        }
        2 => PolicyChange::DropUser { user },
        3 => PolicyChange::CreateRole { role, description: number.to_string() },
        4 => PolicyChange::DropRole { role, force: pick(2) == 0 },
        5 => PolicyChange::Bind { user, role },
        6 => PolicyChange::Grant { role, grant },
        7 => PolicyChange::CreateGroup { group },
        _ => PolicyChange::AddToGroup { group, privileges: ["Search".to_owned()].into() },
    }
}

/// A change of the catalog, whatever comes of it.
async fn step(coord: &super::drive::Coordinator, rng: &SeededRng, number: u64) {
    let pick = |below: u64| rng.next_u64() % below;
    let name = format!("c{}", pick(4));
    let named = || CollectionRef::Name { database: String::new(), name: name.clone() };
    let other = format!("x{}", pick(3));
    match pick(18) {
        0 => drop(coord.create_database(&other, vec![("k".to_owned(), number.to_string())]).await),
        1 => drop(coord.drop_database(&other).await),
        2 | 3 => drop(create_named(coord, &name).await),
        4 => drop(coord.drop_collection("", &name).await),
        5 => drop(coord.create_partition(named(), &other).await),
        6 => drop(coord.drop_partition(named(), &other).await),
        7 => {
            let change = AliasChange::Create { collection: name.clone() };
            drop(coord.alter_alias("", &format!("a{}", pick(3)), change).await);
        }
        8 => drop(coord.alter_alias("", &format!("a{}", pick(3)), AliasChange::Drop).await),
        9 => {
            let params = ["index_type", "metric_type"].map(str::to_owned).into_iter();
            let params = params.zip(["FLAT".to_owned(), "L2".to_owned()]).collect();
            let index =
                NewIndex { collection: named(), name: String::new(), field: "vector".to_owned(), params };
            drop(coord.create_index(index).await);
            drop(coord.load(named(), None, 1, Vec::new()).await);
        }
        10 => drop(coord.release(named(), None).await),
        11 => drop(coord.create_group(&other, GroupConfig { limits: 3, ..GroupConfig::default() }).await),
        12 => {
            let set = vec![("p".to_owned(), number.to_string())];
            drop(coord.alter_collection(named(), CollectionChange::SetProperties(set)).await);
        }
        14..18 => drop(coord.change_policy(policy_change(rng, number)).await),
        _ => {
            if let Ok(info) = coord.collection(named()).await {
                let place = (info.id, info.partitions[0].id);
                drop(commit(coord, place, 1 + pick(60) as u32).await);
            }
        }
    }
}

#[tokio::test]
async fn whatever_was_committed_is_there_again() {
    for seed in 0..20 {
        let (world, rng) = (World::new(), SeededRng::new(seed));
        let mut coord = world.lead().await.unwrap();
        for number in 0..120 {
            step(&coord, &rng, number).await;
            if rng.next_u64().is_multiple_of(40) {
                coord = world.lead().await.unwrap();
                coord.mirrored().await.unwrap();
            }
        }
        let given = coord.allocate_ids(10).await.unwrap() + 10;
        coord.mirrored().await.unwrap();

        let metas = MemoryMetas::new();
        let rebuilt = make_anew(&world, metas.as_ref()).await.unwrap();

        assert_eq!(records(metas.as_ref()).await, records(world.metas.as_ref()).await, "seed {seed}");
        assert_eq!((rebuilt.generation, rebuilt.new_logs), (1, 0));
        let next = world.lead_with(Arc::clone(&metas) as _).await.unwrap();
        assert_eq!(next.catalog.read().manifests, coord.catalog.read().manifests);
        assert_eq!(next.catalog.read().stored, coord.catalog.read().stored);
        assert_eq!(next.catalog.read().garbage, coord.catalog.read().garbage);
        assert_eq!(next.catalog.read().policy, coord.catalog.read().policy);
        assert!(next.allocate_ids(1).await.unwrap() > given, "seed {seed}: an id is given twice");
    }
}

#[tokio::test]
async fn terms_go_on_above_all_that_were_given() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create_named(&coord, "c").await.unwrap();
    let channel = ChannelName::of(place.0, 0);
    let own = async |coord: &super::drive::Coordinator| loop {
        if let Ok(term) = coord.channel_term(&channel, NodeId(1)).await {
            return term;
        }
        let duties = Duties { writes: true, ..Duties::default() };
        let node = NodeInfo { id: NodeId(1), address: "a".to_owned(), duties, ..NodeInfo::default() };
        coord.beat(Report { node, ..Report::default() }).await.unwrap();
        coord.place(|placer, now| placer.tick(now));
    };
    for _ in 0..50 {
        own(&coord).await;
    }
    let before = own(&coord).await;
    coord.mirrored().await.unwrap();

    let (first, second) = (MemoryMetas::new(), MemoryMetas::new());
    make_anew(&world, first.as_ref()).await.unwrap();
    let next = world.lead_with(first as _).await.unwrap();
    let after = own(&next).await;
    next.mirrored().await.unwrap();
    make_anew(&world, second.as_ref()).await.unwrap();
    let again = own(&world.lead_with(second as _).await.unwrap()).await;

    assert!(before < after && after < again, "{before} {after} {again}");
    assert_eq!(again >> 40, 2);
}

#[tokio::test]
async fn a_catalog_or_a_leader_is_never_written_over() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    create_named(&coord, "c").await.unwrap();

    let led = make_anew(&world, world.metas.as_ref()).await.unwrap_err();
    assert!(matches!(&led, Error::NotEmpty { found } if found.contains("coordinator")), "{led}");

    let catalog = MemoryMetas::new();
    catalog.commit(Txn::new().put("collections/5", "{}")).await.unwrap();
    let kept = make_anew(&world, catalog.as_ref()).await.unwrap_err();
    assert!(matches!(&kept, Error::NotEmpty { found } if found.contains("collections/5")), "{kept}");
    assert_eq!(catalog.list("").await.unwrap().len(), 1);

    let nothing = make_anew(&World::new(), MemoryMetas::new().as_ref()).await.unwrap_err();
    assert!(matches!(nothing, Error::NoMirror), "{nothing}");
}

/// Metadata that fails for good after some commits.
struct Failing {
    inner: Arc<MemoryMetas>,
    left: AtomicUsize,
}

#[async_trait]
impl Metas for Failing {
    async fn get(&self, key: &str) -> Result<Option<Versioned>, meta::Error> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, meta::Error> {
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<u64, meta::Error> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            let (place, kind) = ("here".to_owned(), Kind::Unavailable);
            let source = "the process was killed".into();
            return Err(meta::Error::Store { doing: meta::Doing::Commit, place, kind, source });
        }
        self.inner.commit(txn).await
    }
}

#[tokio::test]
async fn a_rebuild_that_was_killed_at_any_step_is_begun_again_and_nobody_leads_before() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    for number in 0..260 {
        coord.create_group(&format!("g{number}"), GroupConfig::default()).await.unwrap();
    }
    let place = create_named(&coord, "c").await.unwrap();
    commit(&coord, place, 100).await.unwrap();
    let expected = records(world.metas.as_ref()).await;
    let mut steps = 0;
    loop {
        let inner = MemoryMetas::new();
        let metas = Failing { inner: Arc::clone(&inner), left: AtomicUsize::new(steps) };
        if make_anew(&world, &metas).await.is_ok() {
            break;
        }
        if steps > 0 {
            let leads = super::lead::take_over(inner.as_ref(), None, "a", None).await;
            assert!(matches!(leads, Err(Error::Deposed)), "step {steps}");
        }
        make_anew(&world, inner.as_ref()).await.unwrap();
        assert_eq!(records(inner.as_ref()).await, expected, "step {steps}");
        assert_eq!(inner.get(page::REBUILDING).await.unwrap(), None);
        steps += 1;
    }
    assert!(steps > 3, "there are few steps: {steps}");
}

#[tokio::test]
async fn a_missing_or_damaged_page_or_manifest_is_named() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create_named(&coord, "c").await.unwrap();
    for _ in 0..5 {
        commit(&coord, place, 100).await.unwrap();
    }
    let pages = world.stored(page::PAGES).await;
    assert!(pages.len() > 3);
    let mut keys: Vec<String> = pages.into_iter().collect();
    keys.push(world.stored("manifests/").await.pop_last().unwrap());
    // All but the last page: without that one, the one before is the end of the chain.
    let last = keys.remove(keys.len() - 2);
    for key in keys {
        let body = world.blobs.read(&key).await.unwrap();
        world.blobs.delete(&key).await.unwrap();
        let missing = make_anew(&world, MemoryMetas::new().as_ref()).await.unwrap_err();
        assert!(missing.to_string().contains(&key), "{missing}");
        let mut damaged = body.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        world.blobs.create(&key, damaged.into()).await.unwrap();
        let damaged = make_anew(&world, MemoryMetas::new().as_ref()).await.unwrap_err();
        assert_eq!(damaged.kind(), Kind::Corrupt, "{damaged}");
        world.blobs.delete(&key).await.unwrap();
        world.blobs.create(&key, body).await.unwrap();
    }
    assert!(world.blobs.read(&last).await.is_ok());
    make_anew(&world, MemoryMetas::new().as_ref()).await.unwrap();
}

#[tokio::test]
async fn channels_whose_log_is_gone_begin_a_new_one() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let (small, large) = (create_named(&coord, "s").await.unwrap(), create_named(&coord, "l").await.unwrap());
    commit(&coord, small, 1).await.unwrap();
    for _ in 0..3 {
        commit(&coord, large, 100).await.unwrap();
    }

    let metas = MemoryMetas::new();
    let blobs = Arc::clone(&world.blobs) as _;
    let rebuilt = rebuild(metas.as_ref(), blobs, "us", FIRST_FORMAT, &All(false), 1).await.unwrap();

    assert_eq!((rebuilt.new_logs, rebuilt.segments), (2, 301));
    let next = world.lead_with(metas as _).await.unwrap();
    for place in [small, large] {
        let (was, is) = (coord.manifests(place.0).await.unwrap(), next.manifests(place.0).await.unwrap());
        assert_eq!((is[0].checkpoint, &is[0].segments), (Position::FIRST, &was[0].segments));
        commit(&next, place, 1).await.unwrap();
        assert_eq!(next.manifests(place.0).await.unwrap()[0].checkpoint, Position(1));
    }
    let key = record::channel_key(&ChannelName::of(large.0, 0));
    assert!(world.metas.get(&key).await.unwrap().unwrap().value.len() < 4_096);
}

#[tokio::test]
async fn a_copy_in_a_later_format_is_refused_before_anything_is_written() {
    let world = World::new();
    let record = r#"{"version":1,"value":{"format":9}}"#;
    let records = [("cluster/format".to_owned(), record.to_owned())].into();
    let page = Image { records, ..Image::default() }.page();
    world.blobs.create(&page::page_key(1), stored::seal(&page).unwrap()).await.unwrap();
    let metas = MemoryMetas::new();

    let refused = make_anew(&world, metas.as_ref()).await.unwrap_err();

    assert!(matches!(refused, Error::NewerFormat { format: 9 }), "{refused}");
    assert_eq!(metas.list("").await.unwrap(), []);
    assert_eq!(world.stored("generations/").await.len(), 0);
}

#[tokio::test]
async fn compactions_go_on_and_no_flush_is_under_way_any_more() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let (collection, _) = create_named(&coord, "c").await.unwrap();
    let plan = CompactionPlan {
        sources: vec![SegmentId(5), SegmentId(6)],
        targets: Vec::new(),
        cluster_by: None,
        expiry: Default::default(),
        step: CompactionStep::Executing,
    };
    let compaction = Compaction { id: 7, collection, plans: vec![plan] };
    let kept = Change::KeepFlush { channel: ChannelName::of(collection, 0), since: 5 };
    coord.commit(vec![Change::PutCompaction(compaction.clone()), kept]).await.unwrap();
    coord.mirrored().await.unwrap();

    let metas = MemoryMetas::new();
    make_anew(&world, metas.as_ref()).await.unwrap();

    let next = world.lead_with(metas as _).await.unwrap();
    assert_eq!(next.catalog.read().compactions, BTreeMap::from([(7, compaction)]));
    assert_eq!(next.catalog.read().flushes, BTreeMap::new());
}

#[tokio::test]
async fn a_long_chain_becomes_one_page_and_says_the_same() {
    let world = World::new();
    let coord = world.lead().await.unwrap();
    let place = create_named(&coord, "c").await.unwrap();
    for number in 0..600 {
        let set = vec![("p".to_owned(), number.to_string())];
        let named = CollectionRef::Id(place.0);
        coord.alter_collection(named, CollectionChange::SetProperties(set)).await.unwrap();
        coord.tidy_mirror().await.unwrap();
    }

    let pages = world.stored(page::PAGES).await;

    assert!(pages.len() < 300, "{} pages", pages.len());
    let metas = MemoryMetas::new();
    make_anew(&world, metas.as_ref()).await.unwrap();
    assert_eq!(records(metas.as_ref()).await, records(world.metas.as_ref()).await);
}
