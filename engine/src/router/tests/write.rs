//! Calls to owners.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::twin::{C, World, channel, delete, insert, query, upsert};
use crate::base::{ChannelName, Kind, Kinded as _, Position, Timestamp};
use crate::model::Keys;
use crate::router::{CatalogCache, RouterSettings};
use crate::rpc::{Consistency, Error, Operation, ReadAfter, Reader as _, Refusal, Request, Writer as _};

/// Keys that were inserted at some nodes.
fn inserted(world: &World, nodes: &[i64]) -> Vec<i64> {
    let mut keys = Vec::new();
    for node in nodes {
        for write in world.node(*node).written.lock().iter() {
            if let Operation::Insert { rows, .. } = &write.operation
                && let Some(Keys::Int(of_rows)) = Keys::from_column(&rows.columns[0].data)
            {
                keys.extend(of_rows);
            }
        }
    }
    keys.sort_unstable();
    keys
}

#[tokio::test(start_paused = true)]
async fn an_owner_moves_and_no_write_fails_or_happens_twice() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.node(1).owns.store(true, Relaxed);
    let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));

    let writes = (0..200).map(|key| {
        let router = Arc::clone(&router);
        async move {
            tokio::time::sleep(Duration::from_millis(key)).await;
            router.write(insert(i64::try_from(key).unwrap())).await
        }
    });
    let moves = async {
        for (from, to) in [(1, 2), (2, 1), (1, 3)] {
            tokio::time::sleep(Duration::from_millis(30)).await;
            // Nobody owns the channel for a while, and the routes say so only later.
            world.node(from).owns.store(false, Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.publish(None, &[]);
            world.node(to).owns.store(true, Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.publish(Some(to), &[]);
        }
    };
    let (outcomes, ()) = futures::join!(futures::future::join_all(writes), moves);

    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(inserted(&world, &[1, 2, 3]), (0..200).collect::<Vec<_>>());
}

/// The requests of the writes that a node was sent.
fn requests(world: &World, node: i64) -> Vec<Request> {
    world.node(node).written.lock().iter().map(|write| write.request.unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_outcome_is_unknown_is_sent_again_as_the_same_request() {
    // What may be done twice is no repeat: an owner that does not know it does it, also one of an earlier version.
    for (write, is_repeat) in
        [(insert(1), true), (upsert(1, 2), true), (upsert(1, 1), false), (delete(1), false)]
    {
        let world = World::new();
        world.publish(Some(1), &[]);
        world.node(1).owns.store(true, Relaxed);
        world.node(1).loses.store(true, Relaxed);
        world.time.hear(Timestamp(77));

        let outcome = world.router().write(write).await;

        assert!(outcome.is_ok(), "{outcome:?}");
        let [first, again] = requests(&world, 1)[..] else { panic!("it is sent twice") };
        assert_eq!((first.since, first.is_repeat), (Timestamp(77), false));
        assert_eq!(again, Request { is_repeat, ..first });
    }
}

#[tokio::test(start_paused = true)]
async fn every_write_is_a_request_of_its_own_and_one_that_nobody_did_is_no_repeat() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.node(2).owns.store(true, Relaxed);
    let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));

    let (first, second, ()) = futures::join!(router.write(insert(1)), router.write(insert(1)), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.publish(Some(2), &[]);
    });

    assert!(first.is_ok() && second.is_ok());
    let [one, other] = requests(&world, 2)[..] else { panic!("each is done once") };
    assert!(one.id != other.id && !one.is_repeat && !other.is_repeat);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_that_no_owner_can_answer_ends_as_of_unknown_outcome() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.node(1).owns.store(true, Relaxed);
    world.node(1).loses.store(true, Relaxed);
    world.node(1).forgets.store(true, Relaxed);
    let started = tokio::time::Instant::now();

    let error = world.router().write(insert(1)).await.unwrap_err();

    assert_eq!((error.kind(), inserted(&world, &[1])), (Kind::Unavailable, vec![1]));
    assert!(error.to_string().contains("took effect is unknown"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_nothing_that_an_owner_says_is_taken_for_nothing_done() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.node(1).owns.store(true, Relaxed);
    world.node(1).loses.store(true, Relaxed);
    let router = world.router_with(RouterSettings::default(), None);

    let (written, ()) = futures::join!(router.write(insert(1)), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.node(1).owns.store(false, Relaxed);
    });

    let error = written.unwrap_err();
    assert!(error.to_string().contains("took effect is unknown"), "{error}");
    assert_eq!(inserted(&world, &[1]), [1]);
}

#[tokio::test(start_paused = true)]
async fn flush_mark_and_tail_find_the_next_owner_after_a_failure() {
    let world = World::new();
    world.publish(Some(1), &[]);
    world.node(1).dead.store(true, Relaxed);
    world.node(2).owns.store(true, Relaxed);
    let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));

    let (channel, takeover) = (channel(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.publish(Some(2), &[]);
    });
    let (flushed, marked, tailed, ()) = futures::join!(
        router.flush(&channel),
        router.mark(&channel),
        router.tail(&channel, Position(0)),
        takeover
    );

    assert_eq!(flushed, Ok(()));
    assert_eq!(marked.unwrap().at, Timestamp(3));
    assert!(tailed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_write_to_what_is_damaged_says_what_that_is() {
    let world = World::new();
    world.publish_harm("the manifest of channel c is damaged");
    // The last time that somebody asks, there is no time left for the answer.
    world.slow_ms.store(20, Relaxed);

    let error = world.router().write(insert(1)).await.unwrap_err();

    assert_eq!(error.kind(), Kind::Unavailable);
    let text = crate::base::chain(&error);
    assert!(text.ends_with("has no owner: the manifest of channel c is damaged"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_write_gives_up_when_no_owner_comes() {
    let world = World::new();
    world.publish(None, &[]);
    let started = tokio::time::Instant::now();

    let error = world.router().write(insert(1)).await.unwrap_err();

    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("has no owner"), "{error}");
    assert!(started.elapsed() >= Duration::from_secs(10) && started.elapsed() < Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_replaced_before_it_answers_is_not_waited_for() {
    for (write, is_repeat) in [(upsert(1, 1), false), (insert(1), true)] {
        let world = World::new();
        world.publish(Some(1), &[]);
        world.node(1).hangs.store(true, Relaxed);
        world.node(2).owns.store(true, Relaxed);
        let router = world.router_with(RouterSettings::default(), None);
        let started = tokio::time::Instant::now();

        let takeover = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            world.publish(Some(2), &[]);
        };
        let (written, ()) = futures::join!(router.write(write), takeover);

        assert!(written.is_ok(), "{written:?}");
        assert!(requests(&world, 2).iter().all(|request| request.is_repeat == is_repeat));
        assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_is_asked_of_the_next_owner_once_there_is_one_although_nobody_tells_of_it() {
    for keeps_routes in [false, true] {
        let world = World::new();
        world.publish(Some(1), &[]);
        world.node(1).hangs.store(true, Relaxed);
        world.node(2).owns.store(true, Relaxed);
        let cache = keeps_routes.then(|| CatalogCache::new(world.clone()));
        let router = world.router_with(RouterSettings::default(), cache);
        let started = tokio::time::Instant::now();

        let takeover = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            world.publish(Some(2), &[]);
        };
        let channel = upsert(1, 1).channel;
        let (marked, ()) = futures::join!(router.mark(&channel), takeover);

        assert!(marked.is_ok(), "{marked:?}");
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_within_its_deadline_whatever_its_owner_does() {
    for write in [delete(1), upsert(1, 1), insert(1)] {
        let world = World::new();
        world.publish(Some(1), &[]);
        world.node(1).hangs.store(true, Relaxed);
        let started = tokio::time::Instant::now();

        let error = world.router().write(write).await.unwrap_err();

        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(started.elapsed() <= Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_within_its_deadline_although_the_coordinator_does_not_say_who_owns_the_channel() {
    let knows_none = World::new();
    let knows_a_former_one = World::new();
    knows_a_former_one.publish(Some(1), &[]);
    for (world, asks_first) in [(knows_none, false), (knows_a_former_one, true)] {
        let router = world.router_with(RouterSettings::default(), Some(CatalogCache::new(world.clone())));
        if asks_first {
            world.node(1).owns.store(true, Relaxed);
            router.write(insert(1)).await.unwrap();
            world.node(1).owns.store(false, Relaxed);
        }
        world.slow_ms.store(60_000, Relaxed);
        let started = tokio::time::Instant::now();

        let error = router.write(delete(1)).await.unwrap_err();

        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("has not said in time"), "{error}");
        assert!(started.elapsed() <= Duration::from_secs(10), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_to_what_is_not_there_is_refused_at_once() {
    let world = World::new();
    let strange = crate::rpc::Write { channel: ChannelName("strange".into()), ..insert(1) };

    let missing = world.router().write(insert(1)).await.unwrap_err();
    let strange = world.router().write(strange).await.unwrap_err();

    assert!(matches!(missing, Error::Refused(Refusal::CollectionNotFound { .. })));
    assert_eq!(strange.kind(), Kind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn logs_are_removed_by_any_node_that_can() {
    let world = World::new();
    world.node(1).dead.store(true, Relaxed);
    world.node(2);

    assert_eq!(world.router().forget(&[channel()]).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_bounded_read_sees_what_was_written_through_the_same_router() {
    let world = World::new();
    world.publish(Some(1), &[&[2]]);
    world.node(1).owns.store(true, Relaxed);
    let newest = Timestamp::from_unix_ms(99_999);
    world.node(1).at.store(newest.0, Relaxed);
    let router = world.router();

    router.query(query(), Consistency::Bounded).await.unwrap();
    router.write(insert(1)).await.unwrap();
    router.query(query(), Consistency::Bounded).await.unwrap();

    let after = world.node(2).after.lock().clone();
    assert_eq!(after, [ReadAfter::Time(Timestamp::from_unix_ms(95_000)), ReadAfter::Time(newest)]);
    assert_eq!(router.pin(C).await, Ok(Timestamp(3)));
}

#[tokio::test(start_paused = true)]
async fn a_bounded_read_goes_by_the_time_of_the_cluster_and_not_by_the_clock_of_its_machine() {
    let world = World::new();
    world.publish(Some(1), &[&[1]]);
    world.time.hear(Timestamp::from_unix_ms(3_700_000));

    world.router().query(query(), Consistency::Bounded).await.unwrap();

    let after = world.node(1).after.lock().clone();
    assert_eq!(after, [ReadAfter::Time(Timestamp::from_unix_ms(3_695_000))]);
}
