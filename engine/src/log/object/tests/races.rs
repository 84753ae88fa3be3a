//! Races of two owners, one step after the other.

use std::time::Duration;

use super::super::chain::{Chain, Step};
use super::super::chunk::Header;
use super::*;

fn life() -> Life {
    Life::new(&name(), 0)
}

/// Waits until `what` is so.
async fn until(what: impl AsyncFn() -> bool) {
    let waiting = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it comes about");
}

async fn chain_of(blobs: &MemoryBlobs) -> Vec<Step> {
    let mut chain = Chain::START;
    let mut steps = Vec::new();
    while let Ok(object) = blobs.read(&life().chunk(chain.sequence + 1)).await {
        let header = Header::decode(&object, &life(), chain.sequence + 1).unwrap();
        let step = chain.step(&header, &life());
        match step {
            Step::Counts(next) | Step::Stale(next) => chain = next,
            Step::Ends | Step::Broken(_) => {}
        }
        steps.push(step);
    }
    steps
}

#[tokio::test(start_paused = true)]
async fn chunks_of_a_zombie_behind_the_fence_do_not_count() {
    let blobs = MemoryBlobs::new();
    let slow = FaultyBlobs::new(blobs.clone(), 1, Faults::default());
    let settings = || ObjectLogSettings { deadline_ms: 60_000, ..small() };
    let (old_node, new_node) = (node(slow.clone(), 1, settings()), node(blobs.clone(), 2, settings()));
    let old = old_node.logs.open(&name(), 1).await.unwrap();
    // The first chunks go one by one.
    for _ in 0..8 {
        append(&old, "kept").await.unwrap();
    }
    let gates = [10, 11, 12].map(|sequence| slow.hold(&life().chunk(sequence)));
    let lost = [1, 2, 3].map(|number| old.append(Bytes::from(vec![number; 50])).unwrap());
    // Two of its chunks land behind the one that does not.
    gates[1].add_permits(1);
    gates[2].add_permits(1);
    until(async || blobs.read(&life().chunk(12)).await.is_ok()).await;

    let new = new_node.logs.open(&name(), 2).await.unwrap();
    gates[0].add_permits(1);

    for appending in lost {
        assert_eq!(appending.durable().await.unwrap_err().kind(), Kind::Fenced);
    }
    assert_eq!(append(&new, "new").await.unwrap(), Position(8));
    assert_eq!(old.append(Bytes::from("late")).unwrap_err().kind(), Kind::Fenced);
    for node in [&old_node, &new_node] {
        let records = read_all(&node.logs, Position(7)).await.unwrap();
        assert_eq!(records, [(7, Bytes::from("kept")), (8, Bytes::from("new"))]);
    }
    let steps = chain_of(&blobs).await;
    let stale = steps.iter().filter(|step| matches!(step, Step::Stale(_))).count();
    assert_eq!((steps.len(), stale), (13, 2));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_slept_through_takeover_and_truncation_acknowledges_nothing() {
    let blobs = MemoryBlobs::new();
    let nodes = [node(blobs.clone(), 1, small()), node(blobs.clone(), 2, small())];
    let zombie = nodes[0].logs.open(&name(), 1).await.unwrap();
    append(&zombie, "a").await.unwrap();
    let new = nodes[1].logs.open(&name(), 2).await.unwrap();
    for payload in ["b", "c", "d"] {
        append(&new, payload).await.unwrap();
    }
    nodes[1].logs.truncate(&name(), Position(4)).await.unwrap();
    assert_eq!(blobs.list(&life().chunks()).await.unwrap().len(), 2, "the fences are left");

    let late = append(&zombie, "late").await;

    assert_eq!(late.unwrap_err().kind(), Kind::Fenced);
    assert_eq!(append(&new, "e").await.unwrap(), Position(4));
    assert_eq!(read_all(&nodes[0].logs, Position(4)).await.unwrap(), [(4, Bytes::from("e"))]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_next_number_had_a_stale_chunk_that_was_freed_acknowledges_nothing() {
    for pause_ms in [0, 2_000] {
        let blobs = MemoryBlobs::new();
        let slow = FaultyBlobs::new(blobs.clone(), 1, Faults::default());
        let settings = || ObjectLogSettings { deadline_ms: 60_000, ..small() };
        let first_node = node(slow.clone(), 1, settings());
        let nodes = [2, 3, 4].map(|seed| node(blobs.clone(), seed, settings()));
        let first = first_node.logs.open(&name(), 1).await.unwrap();
        for _ in 0..8 {
            append(&first, "kept").await.unwrap();
        }
        // Of the first owner's chunks 10 and 11 the latter lands behind the second owner's fence.
        let gates = [10, 11].map(|sequence| slow.hold(&life().chunk(sequence)));
        let _lost = [1, 2].map(|number| first.append(Bytes::from(vec![number; 50])).unwrap());
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let second = nodes[0].logs.open(&name(), 2).await.unwrap();
        gates[1].add_permits(1);
        until(async || blobs.read(&life().chunk(11)).await.is_ok()).await;
        let mut reader = nodes[2].logs.read(&name(), Position(8)).await.unwrap();
        assert_eq!(reader.try_next().await.unwrap(), None);
        // A third owner passes it, and it is freed before the second owner has seen it.
        let third = nodes[1].logs.open(&name(), 3).await.unwrap();
        for payload in ["a", "b", "c"] {
            append(&third, payload).await.unwrap();
        }
        nodes[1].logs.truncate(&name(), Position(10)).await.unwrap();
        assert!(blobs.read(&life().chunk(11)).await.is_err());
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;

        let late = append(&second, "late").await;

        assert!(blobs.read(&life().chunk(11)).await.is_ok(), "the freed number is used again");
        assert_eq!(late.unwrap_err().kind(), Kind::Fenced);
        assert!(matches!(reader.next().await, Err(Error::Truncated { first: Position(10), .. })));
        assert_eq!(append(&third, "d").await.unwrap(), Position(11));
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_own_chunk_was_given_up_does_not_write_it_again_behind_a_zombies() {
    let blobs = MemoryBlobs::new();
    let slow = [1, 2].map(|seed| FaultyBlobs::new(blobs.clone(), seed, Faults::default()));
    let settings = || ObjectLogSettings { deadline_ms: 60_000, ..small() };
    let nodes = [0, 1].map(|at: usize| node(slow[at].clone(), 3 + at as u64, settings()));
    let other = node(blobs.clone(), 5, settings());
    let first = nodes[0].logs.open(&name(), 1).await.unwrap();
    for _ in 0..8 {
        append(&first, "kept").await.unwrap();
    }
    // Of the first owner's chunks 10 and 11 neither lands before the second owner's fence.
    let gates = [10, 11].map(|sequence| slow[0].hold(&life().chunk(sequence)));
    let _lost = [1, 2].map(|number| first.append(Bytes::from(vec![number; 50])).unwrap());
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let second = nodes[1].logs.open(&name(), 2).await.unwrap();
    // The second owner's chunk 11 lands, is read and freed elsewhere, and its owner is not told.
    slow[1].set(Faults { answer_lost: 100, ..Faults::default() });
    let appending = second.append(Bytes::from("read")).unwrap();
    until(async || blobs.read(&life().chunk(11)).await.is_ok()).await;
    other.logs.truncate(&name(), Position(9)).await.unwrap();
    assert!(blobs.read(&life().chunk(11)).await.is_err());
    gates[1].add_permits(1);
    until(async || blobs.read(&life().chunk(11)).await.is_ok()).await;
    slow[1].set(Faults::default());

    assert_eq!(appending.durable().await.unwrap_err().kind(), Kind::Fenced);
    let third = other.logs.open(&name(), 3).await.unwrap();
    assert_eq!(append(&third, "next").await.unwrap(), Position(9));
    assert_eq!(read_all(&other.logs, Position(9)).await.unwrap(), [(9, Bytes::from("next"))]);
}

#[tokio::test(start_paused = true)]
async fn an_opening_whose_number_was_freed_meanwhile_begins_again_at_the_tail() {
    let blobs = MemoryBlobs::new();
    let slow = FaultyBlobs::new(blobs.clone(), 1, Faults::default());
    let settings = || ObjectLogSettings { deadline_ms: 60_000, ..small() };
    let (late_node, node) = (node(slow.clone(), 1, settings()), node(blobs.clone(), 2, settings()));
    let writer = node.logs.open(&name(), 1).await.unwrap();
    append(&writer, "a").await.unwrap();
    let gate = slow.hold(&life().chunk(3));
    let name_too = name();
    let opening = late_node.logs.open(&name_too, 2);
    let meanwhile = async {
        // The opening waits to put its fence behind "a".
        tokio::time::sleep(Duration::from_millis(100)).await;
        for payload in ["b", "c", "d"] {
            append(&writer, payload).await.unwrap();
        }
        node.logs.truncate(&name(), Position(3)).await.unwrap();
        gate.add_permits(1);
    };

    let (late, ()) = tokio::join!(opening, meanwhile);

    let late = late.unwrap();
    assert_eq!(late.next_position(), Position(4));
    assert_eq!(append(&writer, "zombie").await.unwrap_err().kind(), Kind::Fenced);
    assert_eq!(append(&late, "e").await.unwrap(), Position(4));
    let expected = [(3, Bytes::from("d")), (4, Bytes::from("e"))];
    assert_eq!(read_all(&node.logs, Position(3)).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_not_misled_by_a_fence_under_a_freed_number() {
    let blobs = MemoryBlobs::new();
    let slow = FaultyBlobs::new(blobs.clone(), 1, Faults::default());
    let settings = || ObjectLogSettings { deadline_ms: 60_000, ..small() };
    let (late_node, owner) = (node(slow.clone(), 1, settings()), node(blobs.clone(), 2, settings()));
    let third = node(blobs.clone(), 3, settings());
    let writer = owner.logs.open(&name(), 1).await.unwrap();
    append(&writer, "a").await.unwrap();
    let mut reader = third.logs.read(&name(), Position::FIRST).await.unwrap();
    assert_eq!(reader.next().await.unwrap(), (Position(0), Bytes::from("a")));
    let gate = slow.hold(&life().chunk(3));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        append(&writer, "b").await.unwrap();
        append(&writer, "c").await.unwrap();
        owner.logs.truncate(&name(), Position(2)).await.unwrap();
        gate.add_permits(1);
    };
    let name_too = name();
    let (late, ()) = tokio::join!(late_node.logs.open(&name_too, 2), meanwhile);
    late.unwrap();
    assert!(blobs.read(&life().chunk(3)).await.is_ok(), "the freed number is used again");

    let error = reader.next().await.unwrap_err();

    assert!(matches!(error, Error::Truncated { position: Position(1), first: Position(2), .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_took_too_long_is_not_acknowledged_if_its_number_was_given_up() {
    let blobs = MemoryBlobs::new();
    let slow = FaultyBlobs::new(blobs.clone(), 1, Faults::default());
    let settings = || ObjectLogSettings { deadline_ms: 60_000, ..small() };
    let (old_node, new_node) = (node(slow.clone(), 1, settings()), node(blobs.clone(), 2, settings()));
    let old = old_node.logs.open(&name(), 1).await.unwrap();
    let gate = slow.hold(&life().chunk(2));
    let lost = old.append(Bytes::from("lost")).unwrap();
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let new = new_node.logs.open(&name(), 2).await.unwrap();
    append(&new, "a").await.unwrap();
    new_node.logs.truncate(&name(), Position(1)).await.unwrap();
    // Somebody clears the bucket of what looks superfluous.
    blobs.delete(&life().chunk(2)).await.unwrap();

    gate.add_permits(1);

    let error = lost.durable().await.unwrap_err();
    assert!(matches!(error, Error::Outlived { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_neither_a_failure_nor_a_second_chunk() {
    let blobs = MemoryBlobs::new();
    let faults = Faults { answer_lost: 50, ..Faults::default() };
    let node = node(FaultyBlobs::new(blobs.clone(), 3, faults), 1, ObjectLogSettings::default());
    let writer = node.logs.open(&name(), 1).await.unwrap();

    for number in 0..50 {
        assert_eq!(append(&writer, "x").await.unwrap(), Position(number));
    }

    assert_eq!(blobs.list(&life().chunks()).await.unwrap().len(), 51);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_now_and_then_fails_no_append() {
    let faults = Faults { failing: 15, delay_ms: 30, ..Faults::default() };
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 3, faults);
    let node = node(blobs.clone(), 1, ObjectLogSettings::default());
    let writer = node.logs.open(&name(), 1).await.unwrap();
    let before = blobs.calls.load(std::sync::atomic::Ordering::Relaxed);

    for number in 0..200 {
        assert_eq!(append(&writer, "x").await.unwrap(), Position(number));
    }

    let calls = blobs.calls.load(std::sync::atomic::Ordering::Relaxed) - before;
    assert!(calls <= 2 * 200, "{calls} calls for 200 chunks");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_poisons_the_writer_at_the_deadline_and_a_new_term_goes_on() {
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 3, Faults::default());
    let node = node(blobs.clone(), 1, small());
    let writer = node.logs.open(&name(), 1).await.unwrap();
    append(&writer, "good").await.unwrap();
    blobs.set(Faults { failing: 100, ..Faults::default() });
    let began = tokio::time::Instant::now();

    let error = append(&writer, "lost").await.unwrap_err();

    assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(began.elapsed() <= Duration::from_millis(3_100), "{:?}", began.elapsed());
    assert!(matches!(writer.append(Bytes::from("more")), Err(Error::Poisoned { .. })));
    blobs.set(Faults::default());
    let writer = node.logs.open(&name(), 2).await.unwrap();
    assert_eq!(append(&writer, "next").await.unwrap(), Position(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_answers_ends_at_the_deadline() {
    let blobs = FaultyBlobs::new(MemoryBlobs::new(), 3, Faults::default());
    let node = node(blobs.clone(), 1, small());
    let writer = node.logs.open(&name(), 1).await.unwrap();
    let _gate = blobs.hold(&life().chunk(2));

    let error = append(&writer, "x").await.unwrap_err();

    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(matches!(error, Error::Poisoned { source, .. } if matches!(*source, Error::Late { .. })));
}

#[tokio::test(start_paused = true)]
async fn of_two_openings_with_one_term_one_wins() {
    for seed in 0..50 {
        let blobs = MemoryBlobs::new();
        let faults = Faults { delay_ms: 20, answer_lost: 20, ..Faults::default() };
        let nodes = [seed * 2, seed * 2 + 1]
            .map(|seed| node(FaultyBlobs::new(blobs.clone(), seed, faults), seed, small()));

        let name = name();
        let (one, other) = tokio::join!(nodes[0].logs.open(&name, 7), nodes[1].logs.open(&name, 7));

        let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
        assert_eq!(lost.err().unwrap().kind(), Kind::Fenced, "seed {seed}");
        assert_eq!(append(&won.unwrap(), "x").await.unwrap(), Position(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_elsewhere_fences_writer_and_readers_and_the_name_begins_anew() {
    let blobs = MemoryBlobs::new();
    let nodes = [1, 2, 3].map(|seed| node(blobs.clone(), seed, small()));
    let writer = nodes[0].logs.open(&name(), 5).await.unwrap();
    append(&writer, "a").await.unwrap();
    append(&writer, "b").await.unwrap();
    nodes[0].logs.truncate(&name(), Position(1)).await.unwrap();
    let mut reader = nodes[2].logs.read(&name(), Position(2)).await.unwrap();
    assert_eq!(reader.try_next().await.unwrap(), None);

    nodes[1].logs.remove(&name()).await.unwrap();

    assert!(matches!(append(&writer, "late").await, Err(Error::Removed { .. })));
    assert!(matches!(reader.next().await, Err(Error::Removed { .. })));
    assert_eq!(nodes[2].logs.channels().await.unwrap(), []);
    let left = blobs.list("wal").await.unwrap().into_iter().map(|entry| entry.key).collect::<Vec<_>>();
    assert_eq!(left, [life().chunk(1), life().chunk(4), life().removed()]);

    for (number, node) in nodes.iter().enumerate() {
        let term = number as u64 + 1;
        let writer = node.logs.open(&name(), term).await.unwrap();
        assert_eq!(append(&writer, "again").await.unwrap(), Position(number as u64));
    }
    assert_eq!(nodes[0].logs.channels().await.unwrap(), [name()]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_broke_off_after_its_chunk_is_finished_by_whoever_comes() {
    let blobs = MemoryBlobs::new();
    let faulty = FaultyBlobs::new(blobs.clone(), 1, Faults::default());
    let nodes = [node(faulty.clone(), 1, small()), node(blobs.clone(), 2, small())];
    let writer = nodes[1].logs.open(&name(), 5).await.unwrap();
    append(&writer, "a").await.unwrap();
    let _never = faulty.hold(&life().removed());
    assert_eq!(nodes[0].logs.remove(&name()).await.unwrap_err().kind(), Kind::Unavailable);

    assert!(matches!(append(&writer, "late").await, Err(Error::Removed { .. })));
    let writer = nodes[1].logs.open(&name(), 1).await.unwrap();

    assert_eq!(append(&writer, "again").await.unwrap(), Position(0));
    nodes[1].logs.remove(&name()).await.unwrap();
    assert_eq!(nodes[1].logs.channels().await.unwrap(), []);
}
