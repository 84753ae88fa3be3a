//! Loss of power: seeded work of a standalone, with log, catalog and objects on disks that forget what was not synced, its end
//! at a random moment or amid a step of a file, restart, and the rows found compared by value with a model; and the end of the
//! process at a call of a story that flushes, builds indexes and compacts. `make sim POWER=1000` tries more seeds and all calls.
//!
//! What a life had is gone before the next one begins, and that is looked at each time: many lives take the memory of one.

mod model;
mod world;

use std::time::{Duration, Instant};

use model::Model;
use world::World;

/// How many seeds, the first of them, and how long new ones and new calls are begun. Unit of the last: seconds.
const SEEDS: &str = "REDKITE_POWER_SEEDS";
const FIRST: &str = "REDKITE_POWER_FIRST";
const SECONDS: &str = "REDKITE_POWER_SECONDS";
/// The one call of the story that is to break off.
const CALL: &str = "REDKITE_POWER_CALL";
/// Seeds in an ordinary run of the tests.
const USUAL: u64 = 200;
/// Losses of power per seed.
const LIVES: usize = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Says whether it is time to begin nothing more.
fn time_limit() -> impl Fn() -> bool {
    let (began, limit) = (Instant::now(), number(SECONDS).map(Duration::from_secs));
    move || limit.is_some_and(|limit| began.elapsed() >= limit)
}

#[test]
fn no_acknowledged_write_is_lost_and_none_is_half_done_when_the_power_fails() {
    let (is_over, mut totals) = (time_limit(), world::Totals::default());
    let (first, count) = (number(FIRST).unwrap_or(0), number(SEEDS).unwrap_or(USUAL));
    for seed in first..first + count {
        if is_over() {
            println!("the time is over: go on with FIRST={seed}");
            break;
        }
        println!("seed {seed}");
        let mut world = World::new(seed);
        let mut model = Model::default();
        for _ in 0..LIVES {
            totals.add(world.live_and_lose_power(&mut model));
        }
        world.check(&mut model);
    }
    println!("{totals:?}");
    if count == 1 {
        // It is looked at again for what it shows by itself.
        return;
    }
    assert!(totals.acknowledged > totals.crashes * 10, "the work is too thin to prove anything: {totals:?}");
    assert!(totals.unsealed_at_crash > totals.crashes / 4, "too few crashes with unsealed rows: {totals:?}");
    assert!(totals.amid_a_step > totals.crashes / 10, "too few crashes amid a step: {totals:?}");
    assert!(totals.in_flight_at_crash > 0 && totals.flushes > 0, "nothing was under way: {totals:?}");
}

/// A round tries one call in so many, each round others. An ordinary run of the tests has one; with many seeds all calls have
/// their round, and what there is no time for is spread over the whole story.
const STRIDE: i64 = 5;
/// The story has more calls than this.
const CALLS: i64 = 150;

/// The power goes at this call of the story; `false` if there are no so many.
fn crash_at(call: i64, takes_effect: bool) -> bool {
    println!("call {call}, which takes effect: {takes_effect}");
    let mut world = World::new(call as u64 * 2 + u64::from(takes_effect));
    let mut model = Model::default();
    let has_broken = world.live_until_call(&mut model, call, takes_effect);
    if has_broken {
        world.settle(&mut model);
    }
    has_broken
}

#[test]
fn a_crash_at_any_step_of_a_flush_an_index_build_or_a_compaction_brings_no_row_back_and_leaves_nothing() {
    if let Some(call) = number(CALL) {
        let broken = [false, true].map(|takes_effect| crash_at(call as i64, takes_effect));
        assert_eq!(broken, [true, true], "the story has no call {call}");
        return;
    }
    let (is_over, mut crashes, mut done) = (time_limit(), 0, 0);
    let rounds = if number(SEEDS).is_some_and(|seeds| seeds > 500) { STRIDE } else { 1 };
    'rounds: for round in 0..rounds {
        for takes_effect in [false, true] {
            // Other calls with effect than without.
            let first = (round + i64::from(takes_effect) * 2) % STRIDE;
            for call in (first..).step_by(STRIDE as usize) {
                if is_over() {
                    break 'rounds;
                }
                if !crash_at(call, takes_effect) {
                    break;
                }
                crashes += 1;
            }
        }
        done += 1;
    }
    println!("{crashes} crashes; {done} of {rounds} rounds are done");
    assert!(done > 0, "the time was over before the story was tried from its beginning to its end");
    assert!(crashes > 2 * CALLS / STRIDE * done, "the story has too few calls to prove anything: {crashes}");
}
