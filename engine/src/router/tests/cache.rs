//! What a proxy remembers of the catalog.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures::FutureExt as _;

use super::twin::{C, World, info};
use crate::base::{Kind, Kinded as _};
use crate::model::access::User;
use crate::router::CatalogCache;
use crate::rpc::{
    CollectionChange, CollectionRef, Coord as _, Error, Follower as _, OrderNumber, Orders, PolicyChange,
    Refusal, Report,
};

fn named(name: &str) -> CollectionRef {
    CollectionRef::Name { database: "d".to_owned(), name: name.to_owned() }
}

fn changed() -> Orders {
    Orders { changed: vec![C], ..Orders::default() }
}

/// Changes the collection behind the cache's back.
fn change(world: &World, updated: u64) {
    *world.info.lock() = Some(Arc::new(info("c", updated)));
}

async fn updated(cache: &CatalogCache, collection: CollectionRef) -> u64 {
    cache.collection(collection).await.unwrap().updated.0
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_once_is_answered_also_while_the_coordinator_is_away() {
    let world = World::new();
    world.publish(Some(1), &[]);
    let cache = CatalogCache::new(world.clone());
    updated(&cache, named("c")).await;
    updated(&cache, named("a")).await;
    cache.routes(C).await.unwrap();
    let asked = world.asked.load(Relaxed);
    world.away.store(true, Relaxed);

    updated(&cache, named("c")).await;
    updated(&cache, named("a")).await;
    updated(&cache, CollectionRef::Id(C)).await;
    cache.routes(C).await.unwrap();

    assert_eq!((asked, world.asked.load(Relaxed)), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_changed_collection_is_asked_for_anew_under_all_its_names() {
    let world = World::new();
    let cache = CatalogCache::new(world.clone());
    for collection in [named("c"), named("a"), CollectionRef::Id(C)] {
        updated(&cache, collection).await;
    }
    for (orders, now) in [(changed(), 2), (Orders { whole: true, ..Orders::default() }, 3)] {
        change(&world, now);
        cache.obey(&orders, Duration::ZERO);

        for collection in [named("c"), named("a"), CollectionRef::Id(C)] {
            assert_eq!(updated(&cache, collection).await, now);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_when_the_collection_changed_is_not_kept() {
    for collection in [named("c"), CollectionRef::Id(C)] {
        let world = World::new();
        world.slow_ms.store(100, Relaxed);
        let cache = CatalogCache::new(world.clone());

        let early = updated(&cache, collection.clone());
        let later = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            change(&world, 2);
            cache.obey(&changed(), Duration::ZERO);
            // Not the answer that is still on its way.
            updated(&cache, collection.clone()).await
        };
        let (early, later) = futures::join!(early, later);

        assert_eq!((early, later, updated(&cache, collection).await), (1, 2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn routes_on_their_way_when_they_changed_are_not_kept() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.slow_ms.store(100, Relaxed);
    let cache = CatalogCache::new(world.clone());

    let change = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.publish(Some(2), &[]);
        cache.obey(&changed(), Duration::ZERO);
    };
    let (early, ()) = futures::join!(cache.routes(C), change);

    assert_eq!((early.unwrap().version, cache.routes(C).await.unwrap().version), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_cost_one_call() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.slow_ms.store(10, Relaxed);
    let cache = CatalogCache::new(world.clone());

    let answers = futures::future::join_all((0..100).map(|_| cache.routes(C))).await;
    let renewed = futures::future::join_all((0..100).map(|_| cache.renew_routes(C, 1))).await;

    assert!(answers.iter().chain(&renewed).all(Result::is_ok));
    assert_eq!(world.asked.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn one_who_stops_waiting_does_not_stop_the_others() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.slow_ms.store(100, Relaxed);
    let cache = CatalogCache::new(world.clone());

    let first = tokio::time::timeout(Duration::from_millis(10), cache.routes(C));
    let (first, second) = futures::join!(first, cache.routes(C));

    assert!(first.is_err() && second.is_ok());
    assert_eq!(world.asked.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_are_not_remembered() {
    let world = World::new();
    world.away.store(true, Relaxed);
    let cache = CatalogCache::new(world.clone());
    let away = cache.collection(named("c")).await.is_err();
    world.away.store(false, Relaxed);
    *world.info.lock() = None;
    let missing = cache.collection(named("c")).await;
    change(&world, 5);

    assert!(away);
    assert!(matches!(missing, Err(Error::Refused(Refusal::CollectionNotFound { .. }))));
    assert_eq!(updated(&cache, named("c")).await, 5);
}

#[tokio::test(start_paused = true)]
async fn old_routes_have_to_do_while_there_are_no_new_ones() {
    let world = World::new();
    world.publish(Some(1), &[]);
    let cache = CatalogCache::new(world.clone());
    cache.routes(C).await.unwrap();
    world.away.store(true, Relaxed);
    cache.forget(C);

    let old = cache.routes(C).await.map(|routes| routes.version);
    world.away.store(false, Relaxed);
    *world.routes.lock() = None;
    let dropped = cache.routes(C).await;
    world.away.store(true, Relaxed);

    assert_eq!(old, Ok(1));
    assert!(dropped.is_err() && cache.routes(C).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_through_the_cache_is_seen_when_it_returns() {
    let world = World::new();
    let cache = CatalogCache::new(world.clone());
    for collection in [named("c"), named("a"), CollectionRef::Id(C)] {
        updated(&cache, collection).await;
    }

    let change = CollectionChange::SetProperties(Vec::new());
    cache.alter_collection(named("a"), change).await.unwrap();
    for collection in [named("c"), named("a"), CollectionRef::Id(C)] {
        assert_eq!(updated(&cache, collection).await, 2);
    }
    let rename = CollectionChange::Rename { database: "d".to_owned(), name: "b".to_owned() };
    cache.alter_collection(CollectionRef::Id(C), rename).await.unwrap();

    assert!(cache.collection(named("c")).await.is_err());
    assert_eq!(updated(&cache, named("b")).await, 3);
    cache.drop_collection("d", "b").await.unwrap();
    for collection in [named("b"), named("a"), CollectionRef::Id(C)] {
        assert!(cache.collection(collection).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn ids_come_from_ranges_and_never_twice() {
    let world = World::new();
    world.slow_ms.store(10, Relaxed);
    let cache = CatalogCache::new(world.clone());
    let counts = [1, 1 << 25, 3, 1 << 25, 1 << 26, (1 << 26) + 1, 7];

    let firsts = futures::future::join_all(counts.iter().map(|count| cache.allocate_ids(*count))).await;

    let mut ranges: Vec<(i64, i64)> =
        firsts.into_iter().map(Result::unwrap).zip(counts.map(i64::from)).collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{ranges:?}");
    let asked = world.asked.load(Relaxed);
    for _ in 0..1_000 {
        cache.allocate_ids(1_000).await.unwrap();
    }
    assert!(world.asked.load(Relaxed) <= asked + 1);
}

#[tokio::test(start_paused = true)]
async fn a_cache_reports_that_it_must_be_told() {
    let mut report = Report::default();

    CatalogCache::new(World::new()).report(&mut report);

    let mut expected = Report::default();
    expected.node.duties.proxies = true;
    assert_eq!(report, expected);
}

/// Makes a user behind the cache's back.
fn make_user(world: &World, name: &str) {
    let mut policy = world.policy.lock();
    Arc::make_mut(&mut policy).users.insert(name.to_owned(), User::default());
}

async fn users(cache: &CatalogCache) -> usize {
    cache.policy().await.unwrap().users.len()
}

#[tokio::test(start_paused = true)]
async fn who_may_do_what_is_asked_once_and_again_when_it_changed() {
    let world = World::new();
    let cache = CatalogCache::new(world.clone());
    assert_eq!(users(&cache).await, 0);
    make_user(&world, "a");
    assert_eq!(users(&cache).await, 0);

    for (orders, known, next) in [
        (Orders { policy: true, ..Orders::default() }, 1, "b"),
        (changed(), 1, "c"),
        (Orders { whole: true, ..Orders::default() }, 3, "d"),
    ] {
        cache.obey(&orders, Duration::ZERO);

        assert_eq!(users(&cache).await, known);
        make_user(&world, next);
    }
    cache.change_policy(PolicyChange::DropUser { user: "x".to_owned() }).await.unwrap();
    assert_eq!(users(&cache).await, 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_last_of_who_may_do_what_counts_while_the_coordinator_is_away() {
    let world = World::new();
    make_user(&world, "a");
    let cache = CatalogCache::new(world.clone());
    assert_eq!(users(&cache).await, 1);
    world.away.store(true, Relaxed);

    cache.obey(&Orders { whole: true, ..Orders::default() }, Duration::ZERO);

    assert_eq!(users(&cache).await, 1);
    let fresh = CatalogCache::new(world.clone());
    assert_eq!(fresh.policy().await.unwrap_err().kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn routes_in_use_that_are_replaced_are_asked_for_at_once_and_said_to_be_in_use_until_they_are_there() {
    let number = |number| OrderNumber { epoch: 1, number };
    let replaced = |at| Orders { rerouted: vec![C], number: number(at), ..Orders::default() };
    let reads_since = |cache: &CatalogCache| {
        let mut report = Report::default();
        cache.report(&mut report);
        report.reads_since
    };
    let world = World::new();
    world.publish(Some(1), &[]);
    let cache = CatalogCache::new(world.clone());
    cache.routes(C).await.unwrap();

    world.publish(Some(2), &[]);
    world.away.store(true, Relaxed);
    cache.obey(&replaced(1), Duration::ZERO);
    let while_away = (cache.changed().now_or_never(), reads_since(&cache));
    world.away.store(false, Relaxed);
    let then = (cache.changed().now_or_never(), reads_since(&cache));

    assert_eq!(while_away, (None, Some(OrderNumber::default())));
    assert_eq!(then, (Some(()), None));
    world.away.store(true, Relaxed);
    assert_eq!(cache.routes(C).await.unwrap().version, 2, "nobody had asked for them yet");

    // Nobody looks at them now, so that nothing is asked.
    world.away.store(false, Relaxed);
    cache.obey(&replaced(2), Duration::ZERO);
    assert_eq!(cache.changed().now_or_never(), Some(()), "the second ones were looked at");
    let asked = world.asked.load(Relaxed);
    cache.obey(&replaced(3), Duration::ZERO);
    let unused = (cache.changed().now_or_never(), reads_since(&cache), world.asked.load(Relaxed));
    assert_eq!(unused, (None, None, asked));
}
