//! Loss of power: seeded work of a standalone, with log, catalog and objects on disks that forget what was not synced, its end
//! at a random moment or amid a step of a file, restart, and the rows found
//! compared by value with a model. `make sim POWER=1000` runs more seeds, `REDKITE_POWER_SEED=7` one.

mod model;
mod world;

use model::Model;
use world::World;

/// Seeds in an ordinary run of the tests.
const SEEDS: u64 = 200;
/// Losses of power per seed.
const LIVES: usize = 3;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("REDKITE_POWER_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("REDKITE_POWER_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn no_acknowledged_write_is_lost_and_none_is_half_done_when_the_power_fails() {
    let mut totals = world::Totals::default();
    for seed in seeds() {
        println!("seed {seed}");
        let mut world = World::new(seed);
        let mut model = Model::default();
        for _ in 0..LIVES {
            totals.add(world.live_and_lose_power(&mut model));
        }
        world.check(&mut model);
    }
    println!("{totals:?}");
    assert!(totals.acknowledged > totals.crashes * 10, "the work is too thin to prove anything: {totals:?}");
    assert!(totals.unsealed_at_crash > totals.crashes / 4, "too few crashes with unsealed rows: {totals:?}");
    assert!(totals.amid_a_step > totals.crashes / 10, "too few crashes amid a step: {totals:?}");
    assert!(totals.in_flight_at_crash > 0 && totals.flushes > 0, "nothing was under way: {totals:?}");
}

/// In an ordinary run one crash in so many calls is tried; with many seeds every one.
const STRIDE: usize = 5;

#[test]
fn a_crash_at_any_step_of_a_flush_an_index_build_or_a_compaction_brings_no_row_back_and_leaves_nothing() {
    let (seeds, mut crashes) = (seeds(), 0);
    let stride = if seeds.len() > 500 { 1 } else { STRIDE };
    for takes_effect in [false, true] {
        // Other calls each time, and none twice in the two rounds.
        let first = i64::from(takes_effect) * 2;
        for calls in (first..).step_by(stride) {
            let seed = calls as u64 * 2 + u64::from(takes_effect);
            println!("call {calls}, which takes effect: {takes_effect}");
            let mut world = World::new(seed);
            let mut model = Model::default();
            if !world.live_until_call(&mut model, calls, takes_effect) {
                break;
            }
            crashes += 1;
            world.settle(&mut model);
        }
    }
    println!("{crashes} crashes");
    assert!(crashes > 300 / stride, "the story has too few steps to prove anything: {crashes} crashes");
}
