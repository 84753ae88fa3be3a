//! Reads of copies.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::twin::{C, World, query, search};
use crate::base::{FieldId, Kind, Kinded as _, PartitionId, Timestamp};
use crate::model::{Keys, Value};
use crate::plan::{Aggregate, AggregateOp, Aggregated, Aggregates, GroupField, QueryKind, QueryPlan};
use crate::router::{CatalogCache, ReplicaPolicy, Router, RouterSettings};
use crate::rpc::{
    CollectionRef, Consistency, Coord as _, Error, Follower as _, Orders, ReadAfter, Reader as _, Refusal,
    TimeSpan,
};

fn hold(world: &World, held: &[(i64, &[i64])]) {
    for (node, keys) in held {
        *world.node(*node).keys.lock() = keys.to_vec();
    }
}

fn reads(world: &World, node: i64) -> usize {
    world.node(node).reads.load(Relaxed)
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_copy_are_merged() {
    let world = World::new();
    world.publish(None, &[&[1, 2, 3]]);
    hold(&world, &[(1, &[5, 1]), (2, &[2]), (3, &[])]);

    let rows = world.router().query(query(), Consistency::Strong).await.unwrap();

    assert_eq!(rows.keys, Keys::Int(vec![1, 2, 5]));
    assert_eq!(world.node(2).after.lock().clone(), [ReadAfter::Everything]);
}

/// Keys as groups, and their sums.
fn by_key(limit: Option<usize>) -> (Aggregates, QueryPlan) {
    let field = FieldId(100);
    let by = vec![GroupField { field, descending: false }];
    let aggregates =
        Aggregates { by, of: vec![Aggregate { op: AggregateOp::Sum, field: Some(field) }], limit };
    let kind = QueryKind::Aggregates(aggregates.clone());
    (aggregates, QueryPlan { limit: Some(0), kind, ..query() })
}

fn ints(values: impl IntoIterator<Item = i64>) -> Vec<Value> {
    values.into_iter().map(Value::Int).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_groups_of_the_parts_of_a_copy_are_put_together_few_or_many() {
    let world = World::new();
    world.publish(None, &[&[1, 2]]);
    hold(&world, &[(1, &[5, 1, 5]), (2, &[2, 5])]);
    let (aggregates, plan) = by_key(None);

    let rows = world.router().query(plan.clone(), Consistency::Strong).await.unwrap();
    let few = Aggregated { groups: 3, by: vec![ints([1, 2, 5])], of: vec![ints([1, 2, 15])] };
    assert_eq!(aggregates.finish(&rows), Ok(Some(few)));

    let many: Vec<i64> = (0..5_000).collect();
    hold(&world, &[(1, &many[..4_000]), (2, &many[2_000..])]);
    let rows = world.router().query(plan, Consistency::Strong).await.unwrap();
    let sum = |key: i64| if (2_000..4_000).contains(&key) { 2 * key } else { key };
    let all = Aggregated { groups: 5_000, by: vec![ints(0..5_000)], of: vec![ints((0..5_000).map(sum))] };
    assert!(aggregates.finish(&rows) == Ok(Some(all)), "every group is there once");
}

#[tokio::test(start_paused = true)]
async fn more_groups_than_there_may_be_are_refused_when_they_come_together() {
    let world = World::new();
    world.publish(None, &[&[1, 2]]);
    let many: Vec<i64> = (0..120_000).collect();
    hold(&world, &[(1, &many[..60_000]), (2, &many[60_000..])]);

    let error = world.router().query(by_key(None).1, Consistency::Strong).await.unwrap_err();

    let text = "a query has at most 100000 groups, set a limit of no more or narrow the filter".to_owned();
    assert_eq!(error, Refusal::BadSearch { text }.into());
    let (aggregates, plan) = by_key(Some(2));
    let rows = world.router().query(plan, Consistency::Strong).await.unwrap();
    assert_eq!(aggregates.finish(&rows).unwrap().unwrap().by, [ints([0, 1])]);
}

#[tokio::test(start_paused = true)]
async fn where_a_node_knows_no_aggregates_another_copy_is_asked() {
    let world = World::new();
    world.publish(None, &[&[1], &[2]]);
    hold(&world, &[(1, &[7]), (2, &[7])]);
    world.node(1).old.store(true, Relaxed);
    let (aggregates, plan) = by_key(None);
    let router = world.router();

    for _ in 0..8 {
        let rows = router.query(plan.clone(), Consistency::Strong).await.unwrap();
        assert_eq!(aggregates.finish(&rows).unwrap().unwrap().of, [ints([7])]);
    }

    world.node(2).old.store(true, Relaxed);
    let error = router.query(plan, Consistency::Strong).await.unwrap_err();
    assert!(crate::base::chain(&error).contains("knows no aggregates of queries"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_read_of_what_is_damaged_says_what_that_is() {
    let world = World::new();
    world.publish_harm("the vectors of segment 4 are damaged");

    let error = world.router().query(query(), Consistency::Eventually).await.unwrap_err();

    assert_eq!(error.kind(), Kind::Unavailable);
    let text = crate::base::chain(&error);
    assert!(text.ends_with("is not fully loaded: the vectors of segment 4 are damaged"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_copy_has_not_loaded_yet_is_waited_for_or_read_of_another_copy() {
    let of = |ids: &[i64]| QueryPlan {
        partitions: Some(ids.iter().copied().map(PartitionId).collect()),
        ..query()
    };
    let world = World::new();
    world.publish(None, &[&[1]]);
    world.publish_part(1, &[5], &[5, 6]);
    let router = world.router();

    router.query(of(&[5]), Consistency::Strong).await.unwrap();
    let later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let before = reads(&world, 1);
        world.publish_part(1, &[5, 6], &[5, 6]);
        before
    };
    let reads_before = {
        let (one, all) =
            (router.query(of(&[5, 6]), Consistency::Strong), router.query(query(), Consistency::Strong));
        let (one, all, before) = tokio::join!(one, all, later);
        one.unwrap();
        all.unwrap();
        before
    };
    assert_eq!((reads_before, reads(&world, 1)), (1, 3), "nothing is read in part");

    world.publish(None, &[&[1], &[2]]);
    world.publish_part(2, &[5], &[5, 6]);
    let router = world.router();
    for _ in 0..8 {
        router.query(query(), Consistency::Strong).await.unwrap();
    }
    assert_eq!((reads(&world, 1), reads(&world, 2)), (11, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_loaded_goes_on_being_read_while_more_is_also_under_a_leader_that_listens() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    world.publish_part(1, &[5], &[5, 6]);
    world.publish_readable(&[5]);
    let cache = CatalogCache::new(world.clone());
    let router = world.router_with(RouterSettings::default(), Some(Arc::clone(&cache)));
    let started = tokio::time::Instant::now();

    router.query(query(), Consistency::Strong).await.unwrap();
    cache.obey(&Orders { rerouted: vec![C], ..Orders::default() }, Duration::ZERO);
    world.publish_listening(Some(vec![PartitionId(5), PartitionId(6)]));
    router.query(query(), Consistency::Strong).await.unwrap();

    assert_eq!(reads(&world, 1), 2);
    assert!(started.elapsed() <= Duration::from_millis(10), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_not_loaded_is_refused_at_once_by_whoever_is_asked() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    world.publish_part(1, &[5], &[5]);
    let refusal = Refusal::PartitionNotLoaded { partition: "[7]".to_owned() };
    *world.node(1).refuses.lock() = Some(refusal.clone());
    let started = tokio::time::Instant::now();

    let named = QueryPlan { partitions: Some(vec![PartitionId(5), PartitionId(7)]), ..query() };
    let refused = world.router().query(named, Consistency::Strong).await;

    assert_eq!(refused, Err(refusal.into()));
    assert!(started.elapsed() <= Duration::from_millis(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nodes_with_parts_of_one_channel_read_it_at_one_time() {
    let world = World::new();
    world.publish(None, &[&[1, 2, 3]]);
    world.spread();
    for (node, from, to) in [(1, 0, 50), (2, 10, 40), (3, 0, 60)] {
        *world.node(node).span.lock() = TimeSpan { from: Timestamp(from), to: Timestamp(to) };
    }

    world.router().query(query(), Consistency::Strong).await.unwrap();

    for node in 1..=3 {
        let node = world.node(node);
        // The waiting is done before; what is read is bound to a time.
        assert_eq!(node.after.lock().clone(), [ReadAfter::Everything, ReadAfter::Nothing]);
        assert_eq!(node.shares.lock()[0].times, [Timestamp(40)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_bound_to_a_time_needs_no_other() {
    let world = World::new();
    world.publish(None, &[&[1, 2]]);
    world.spread();
    let pinned = QueryPlan { read_at: Timestamp(9), ..query() };

    world.router().query(pinned, Consistency::Session(Timestamp(9))).await.unwrap();

    assert_eq!(world.node(2).after.lock().clone(), [ReadAfter::Time(Timestamp(9))]);
    assert_eq!(world.node(2).shares.lock()[0].times, []);
}

#[tokio::test(start_paused = true)]
async fn one_part_is_returned_as_it_is() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[5, 1])]);

    let rows = world.router().query(query(), Consistency::Eventually).await.unwrap();

    assert_eq!(rows.keys, Keys::Int(vec![5, 1]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_whole_or_there_is_none() {
    let world = World::new();
    world.publish(None, &[&[1, 2]]);
    hold(&world, &[(1, &[1]), (2, &[2])]);
    world.node(2).dead.store(true, Relaxed);

    let error = world.router().query(query(), Consistency::Strong).await.unwrap_err();

    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_dead_copy_costs_no_failed_read() {
    for policy in [ReplicaPolicy::LookAside, ReplicaPolicy::RoundRobin] {
        let world = World::new();
        world.publish(None, &[&[1, 2], &[3]]);
        hold(&world, &[(1, &[1]), (2, &[2]), (3, &[1, 2])]);
        let settings = RouterSettings { policy, ..RouterSettings::default() };
        let router = world.router_with(settings, Some(CatalogCache::new(world.clone())));
        for _ in 0..100 {
            router.query(query(), Consistency::Strong).await.unwrap();
        }
        let before = reads(&world, 2);
        assert!((30..70).contains(&before), "{before}");

        world.node(2).dead.store(true, Relaxed);
        for _ in 0..100 {
            let rows = router.query(query(), Consistency::Strong).await.unwrap();
            assert_eq!(rows.keys, Keys::Int(vec![1, 2]));
        }

        // It is left alone once that is known.
        assert!(reads(&world, 2) <= before + 2, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_moved_on_is_found_again_by_fresh_routes() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[1]), (2, &[1])]);
    let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));
    router.query(query(), Consistency::Strong).await.unwrap();
    world.node(1).stale.store(true, Relaxed);
    world.publish(None, &[&[2]]);
    let started = tokio::time::Instant::now();

    router.query(query(), Consistency::Strong).await.unwrap();
    router.query(query(), Consistency::Strong).await.unwrap();

    assert_eq!((reads(&world, 1), reads(&world, 2)), (2, 2));
    // Without a pause: the fresh routes are other ones.
    assert!(started.elapsed() <= Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_a_copy_that_is_being_loaded() {
    let world = World::new();
    world.publish(None, &[]);
    hold(&world, &[(1, &[1])]);
    let router = world.router();

    let loading = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.publish(None, &[&[1]]);
    };
    let (rows, ()) = futures::join!(router.query(query(), Consistency::Strong), loading);

    assert_eq!(rows.unwrap().keys, Keys::Int(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_collection_that_is_not_to_be_loaded_is_refused() {
    let world = World::new();
    world.publish_as(None, &[], false);

    let refused = world.router().query(query(), Consistency::Strong).await.unwrap_err();

    assert_eq!(refused, Error::Refused(Refusal::CollectionNotLoaded { collection: "1".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn a_load_by_way_of_another_proxy_is_noticed() {
    let world = World::new();
    world.publish_as(None, &[], false);
    let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));
    let before = router.query(query(), Consistency::Strong).await;
    world.publish(None, &[&[1]]);

    let after = router.query(query(), Consistency::Strong).await;

    assert!(before.is_err() && after.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_goes_back_at_once() {
    let world = World::new();
    world.publish(None, &[&[1], &[2]]);
    for node in [1, 2] {
        *world.node(node).refuses.lock() = Some(Refusal::BadSearch { text: "no".to_owned() });
    }

    let refused = world.router().query(query(), Consistency::Strong).await.unwrap_err();

    assert!(matches!(refused, Error::Refused(Refusal::BadSearch { .. })));
    assert_eq!(reads(&world, 1) + reads(&world, 2), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_go_on_while_the_coordinator_is_away() {
    let world = World::new();
    world.publish(None, &[&[1], &[2]]);
    hold(&world, &[(1, &[1]), (2, &[1])]);
    let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));
    router.query(query(), Consistency::Strong).await.unwrap();
    world.away.store(true, Relaxed);
    world.node(1).stale.store(true, Relaxed);

    for _ in 0..20 {
        router.query(query(), Consistency::Strong).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_is_asked_of_a_second_copy_within_the_budget() {
    let world = World::new();
    world.publish(None, &[&[1], &[2]]);
    hold(&world, &[(1, &[1]), (2, &[1])]);
    for node in [1, 2] {
        world.node(node).slow_ms.store(10, Relaxed);
    }
    let settings = RouterSettings { policy: ReplicaPolicy::RoundRobin, ..RouterSettings::default() };
    let router = world.router_with(settings, None);
    for _ in 0..100 {
        router.query(query(), Consistency::Strong).await.unwrap();
    }
    assert_eq!(reads(&world, 1) + reads(&world, 2), 100);
    world.node(1).slow_ms.store(1_000, Relaxed);

    let mut quick = 0;
    for _ in 0..200 {
        let started = tokio::time::Instant::now();
        router.query(query(), Consistency::Strong).await.unwrap();
        quick += usize::from(started.elapsed() < Duration::from_millis(100));
    }

    let extra = reads(&world, 1) + reads(&world, 2) - 300;
    assert!((5..=15).contains(&extra), "{extra}");
    assert!(quick >= 100 + extra / 2, "{quick} of 200, {extra} extra");
}

#[tokio::test(start_paused = true)]
async fn one_copy_is_never_asked_twice_at_once() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[1])]);
    let router = world.router();

    for turn in 0..200 {
        world.node(1).slow_ms.store(if turn > 100 { 500 } else { 10 }, Relaxed);
        router.query(query(), Consistency::Strong).await.unwrap();
    }

    assert_eq!(reads(&world, 1), 200);
}

#[tokio::test(start_paused = true)]
async fn a_search_gives_up_when_its_routes_stay_old() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    let started = tokio::time::Instant::now();

    let error = world.router().search(search(), Consistency::Strong).await.unwrap_err();

    assert!(error.is_stale());
    assert!(started.elapsed() >= Duration::from_secs(10) && started.elapsed() < Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_after_two_deadlines_however_late_its_last_try_began() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    let (router, node) = (world.router(), world.node(1));
    node.behind.store(true, Relaxed);
    let started = tokio::time::Instant::now();
    let away = async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        node.dead.store(true, Relaxed);
        tokio::time::sleep(Duration::from_secs(10)).await;
        node.dead.store(false, Relaxed);
    };

    let (read, ()) = futures::join!(router.query(query(), Consistency::Strong), away);

    assert_eq!(read.unwrap_err().kind(), Kind::Unavailable);
    assert!(started.elapsed() >= Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_millis(20_100), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waited_in_vain_once_gets_an_answer_that_takes_long() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[1])]);
    let (router, node) = (world.router(), world.node(1));
    node.behind.store(true, Relaxed);
    node.slow_ms.store(15_000, Relaxed);
    let there = async {
        tokio::time::sleep(Duration::from_secs(16)).await;
        node.behind.store(false, Relaxed);
    };

    let (read, ()) = futures::join!(router.query(query(), Consistency::Strong), there);

    assert_eq!(read.unwrap().keys, Keys::Int(vec![1]));
    assert_eq!(*node.after.lock(), [ReadAfter::Everything, ReadAfter::Everything, ReadAfter::Nothing]);
}

/// A router that has read once, from one of two copies, before the coordinator stopped to answer.
async fn read_before_silence(world: &Arc<World>) -> Arc<Router> {
    world.publish(None, &[&[1], &[2]]);
    hold(world, &[(1, &[1]), (2, &[1])]);
    world.load();
    let cache = CatalogCache::new(world.clone());
    cache.collection(CollectionRef::Id(C)).await.unwrap();
    let router = world.router_with(RouterSettings::default(), Some(Arc::clone(&cache)));
    router.query(query(), Consistency::Strong).await.unwrap();
    world.slow_ms.store(3_600_000, Relaxed);
    router
}

#[tokio::test(start_paused = true)]
async fn no_read_waits_for_a_silent_coordinator_while_a_copy_is_known() {
    let world = World::new();
    let router = read_before_silence(&world).await;
    world.node(1).stale.store(true, Relaxed);

    let mut longest = Duration::ZERO;
    for _ in 0..50 {
        let started = tokio::time::Instant::now();
        router.query(query(), Consistency::Strong).await.unwrap();
        longest = longest.max(started.elapsed());
    }

    assert!(reads(&world, 1) > 1, "the copy that is none any more was asked too");
    assert!(longest <= Duration::from_millis(150), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn routes_that_had_to_be_forgotten_serve_until_there_are_others() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[1])]);
    world.load();
    let cache = CatalogCache::new(world.clone());
    cache.collection(CollectionRef::Id(C)).await.unwrap();
    let router = world.router_with(RouterSettings::default(), Some(Arc::clone(&cache)));
    router.query(query(), Consistency::Strong).await.unwrap();
    cache.obey(&Orders { rerouted: vec![C], ..Orders::default() }, Duration::ZERO);
    world.slow_ms.store(3_600_000, Relaxed);
    let started = tokio::time::Instant::now();

    let rows = router.query(query(), Consistency::Strong).await.unwrap();

    assert_eq!(rows.keys, Keys::Int(vec![1]));
    assert!(started.elapsed() <= Duration::from_millis(150), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_still_listens_does_not_make_reads_wait() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[1])]);
    let cache = CatalogCache::new(world.clone());
    let router = world.router_with(RouterSettings::default(), Some(Arc::clone(&cache)));
    router.query(query(), Consistency::Strong).await.unwrap();
    cache.obey(&Orders { rerouted: vec![C], ..Orders::default() }, Duration::ZERO);
    world.publish_listening(None);
    let started = tokio::time::Instant::now();

    let rows = router.query(query(), Consistency::Strong).await.unwrap();

    assert_eq!(rows.keys, Keys::Int(vec![1]));
    assert!(started.elapsed() <= Duration::from_millis(5), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_that_still_listens_is_waited_for_if_more_is_loaded_now() {
    let world = World::new();
    world.publish(None, &[&[1]]);
    hold(&world, &[(1, &[1]), (2, &[1, 2])]);
    let cache = CatalogCache::new(world.clone());
    let router = world.router_with(RouterSettings::default(), Some(Arc::clone(&cache)));
    router.query(query(), Consistency::Strong).await.unwrap();
    cache.obey(&Orders { changed: vec![C], ..Orders::default() }, Duration::ZERO);
    world.publish_listening(Some(vec![PartitionId(1), PartitionId(2)]));

    let settling = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        world.publish(None, &[&[2]]);
    };
    let (rows, ()) = futures::join!(router.query(query(), Consistency::Strong), settling);

    assert_eq!(rows.unwrap().keys, Keys::Int(vec![1, 2]));
}
