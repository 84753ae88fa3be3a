//! Query nodes under a load, with the time it takes until they serve, leave, and take over what others hold.

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::{Decision, Held, NodeLoad, QueryRule, QueryWindow, query_nodes};
use crate::crd::{QueryScaling, QueryTargets, ScalingStatus};

/// Unit: seconds.
const TICK: i64 = 10;
/// Unit: bytes.
const GIB: u64 = 1 << 30;
/// What a node may hold. Unit: bytes.
const MEMORY: u64 = 8 * GIB;
/// What a node loads in a tick. Unit: bytes.
const LOADS: u64 = GIB;

#[derive(Clone, Debug)]
struct World {
    rule: QueryRule,
    /// Processor time that searches ask for.
    demand: f64,
    /// What is to be in memory. Unit: bytes.
    data: u64,
    /// What is. Unit: bytes.
    loaded: u64,
    /// Nodes that serve.
    nodes: i32,
    /// Ticks until the pods that were asked for serve, or the one that leaves has left.
    busy: u32,
    /// Ticks until nobody takes over from anybody.
    moving: u32,
    window: QueryWindow,
    status: Option<ScalingStatus>,
    now: i64,
    /// Each number with the tick it was decided in.
    numbers: Vec<(i64, i32)>,
    last: Option<Decision>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

impl World {
    fn new(rule: &QueryScaling, begins: i32) -> Self {
        let rule = QueryRule::of(rule, Some(2.0));
        let nodes = begins.clamp(rule.min, rule.max);
        Self {
            rule,
            demand: 0.0,
            data: 0,
            loaded: 0,
            nodes,
            busy: 0,
            moving: 0,
            window: QueryWindow::default(),
            status: None,
            now: 0,
            numbers: Vec::new(),
            last: None,
        }
    }

    fn wanted(&self) -> i32 {
        self.status.as_ref().map_or(self.nodes, |status| status.replicas)
    }

    /// Pods come and go, data is loaded.
    fn turn(&mut self) {
        let wanted = self.wanted();
        self.moving = self.moving.saturating_sub(1);
        if self.busy > 0 {
            self.busy -= 1;
            if self.busy == 0 {
                self.nodes = if wanted > self.nodes { wanted } else { self.nodes - 1 };
                self.moving = 3;
            }
        } else if wanted != self.nodes {
            self.busy = 3;
        }
        let nodes = u64::from(self.nodes.unsigned_abs());
        let room = (nodes * MEMORY).min(self.data);
        self.loaded = room.min(self.loaded + nodes * LOADS);
    }

    #[expect(clippy::cast_precision_loss, reason = "a few nodes")]
    fn report(&self) -> Vec<NodeLoad> {
        let leaving = self.busy > 0 && self.wanted() < self.nodes;
        let nodes = u64::from(self.nodes.unsigned_abs());
        let busy = (self.demand / (2.0 * nodes as f64)).min(1.0);
        let waits = if busy < 1.0 { 3.0 * busy / (1.0 - busy) } else { 1_000.0 };
        let moves = if self.moving > 0 { self.loaded / (3 * nodes) } else { 0 };
        let node = |number: u64| NodeLoad {
            host: format!("pod-{number}"),
            address: format!("10.0.0.{number}:19529"),
            stays: !(leaving && number + 1 == nodes),
            queue_wait_ms: waits,
            p99_ms: 5.0 + waits,
            search_cpu: 2.0 * busy,
            held_bytes: self.loaded / nodes,
            memory_bytes: MEMORY,
            bytes_to_load: (self.data - self.loaded) / nodes + moves,
        };
        (0..nodes).map(node).collect()
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.turn();
        let report = self.report();
        self.window.add(at(self.now), report, self.rule.down_after_seconds);
        let decided = query_nodes(&self.window, &self.rule, self.status.as_ref(), self.nodes, at(self.now));
        let number = decided.status.replicas;
        if self.numbers.last().is_none_or(|(_, last)| *last != number) {
            self.numbers.push((self.now, number));
        }
        self.status = Some(decided.status.clone());
        self.last = Some(decided);
    }

    fn run(&mut self, minutes: i64) {
        (0..minutes * 60 / TICK).for_each(|_| self.tick());
    }

    /// The numbers since the last call, and why the last was chosen.
    fn went(&mut self) -> (Vec<i32>, String) {
        let numbers = std::mem::take(&mut self.numbers).into_iter().map(|(_, number)| number).collect();
        let reason = self.status.as_ref().map(|status| status.reason.clone()).unwrap_or_default();
        if let Some(status) = &self.status {
            self.numbers.push((self.now, status.replicas));
        }
        (numbers, reason)
    }
}

fn rule(max: i32) -> QueryScaling {
    QueryScaling { max, ..QueryScaling::default() }
}

#[test]
fn a_load_that_steps_up_and_down_is_followed_there_and_back() {
    let mut world = World::new(&rule(8), 1);
    world.demand = 0.5;
    world.run(20);
    assert_eq!(world.went(), (vec![1], "Began".into()));

    world.demand = 6.0;
    world.run(20);
    // 6 processors at 70 % of 2 each.
    let (up, _) = world.went();
    assert_eq!((up[0], up.last().copied()), (1, Some(5)));

    // Less, but not so little that four were enough with room to spare.
    world.demand = 5.0;
    world.run(60);
    assert_eq!(world.went().0, [5]);

    world.demand = 0.5;
    world.run(60);
    assert_eq!(world.went(), (vec![5, 4, 3, 2, 1], "Calm".into()));
}

#[test]
fn a_load_that_does_not_fit_gets_its_nodes_before_it_is_there() {
    let mut world = World::new(&rule(8), 1);
    world.run(5);
    world.data = 20 * GIB;

    world.tick();

    // 20 GiB at 70 % of 8 GiB each.
    let (numbers, reason) = world.went();
    assert_eq!((numbers, reason.as_str()), (vec![1, 4], "Memory"));
    assert!(world.loaded < 2 * GIB, "nothing had to be full first");
    world.run(60);
    assert_eq!(world.went().0, [4], "what moves to the new nodes is no load");
}

#[test]
fn what_moves_for_longer_than_a_short_rule_waits_is_no_load() {
    let targets = QueryTargets { memory_percent: Some(52), ..QueryTargets::default() };
    let (up_after_seconds, down_after_seconds) = (Some(10), Some(30));
    let short = QueryScaling {
        min: Some(2),
        targets: Some(targets),
        up_after_seconds,
        down_after_seconds,
        ..rule(11)
    };
    let mut world = World::new(&short, 1);
    world.data = 16 * GIB;
    world.run(4 * 60);

    // 16 GiB at 52 % of 8 GiB each.
    assert_eq!(world.went().0, [2, 4]);
}

#[test]
fn what_is_released_frees_nodes_one_after_another() {
    let mut world = World::new(&QueryScaling { min: Some(2), ..rule(8) }, 2);
    world.data = 20 * GIB;
    world.run(20);
    assert_eq!(world.went().0, [2, 4]);

    (world.data, world.loaded) = (GIB, GIB);
    world.run(60);

    assert_eq!(world.went().0, [4, 3, 2]);
    let changes: Vec<i64> = world.numbers.iter().map(|(at, _)| *at).collect();
    assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 300), "{changes:?}");
}

#[test]
fn a_peak_shorter_than_the_span_changes_nothing() {
    let mut world = World::new(&rule(8), 1);
    for _ in 0..30 {
        world.demand = 0.1;
        world.run(1);
        world.demand = 9.0;
        world.tick();
        world.tick();
    }
    assert_eq!(world.went().0, [1]);
}

#[test]
fn a_load_beyond_the_bounds_is_said() {
    let mut world = World::new(&rule(2), 1);
    world.demand = 50.0;
    world.run(10);

    assert_eq!(world.went().0, [1, 2]);
    let held = Held::AtMax("the load asks for more nodes than the 2 of max".into());
    assert_eq!(world.last.unwrap().held, Some(held));
}

#[test]
fn other_bounds_hold_at_once() {
    let mut world = World::new(&rule(8), 6);
    world.run(1);
    world.rule.max = 3;
    world.tick();
    assert_eq!(world.went(), (vec![6, 3], "Bounds".into()));
}

fn rules() -> impl Strategy<Value = QueryScaling> {
    let targets = (10..=95, 10..=85, 1..=200, proptest::option::of(1..=500));
    (1..=3, 0..=9, 10..=120, 30..=600, targets).prop_map(
        |(min, more, up, down, (cpu, memory, queue, p99))| QueryScaling {
            min: Some(min),
            max: min + more,
            targets: Some(QueryTargets {
                cpu_percent: Some(cpu),
                memory_percent: Some(memory),
                queue_wait_ms: Some(queue),
                p99_ms: p99,
            }),
            up_after_seconds: Some(up),
            down_after_seconds: Some(down),
        },
    )
}

/// Nodes that the loaded data needs, at the share that the rule allows.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a few nodes")]
fn needed(world: &World) -> i32 {
    (world.loaded as f64 / (MEMORY as f64 * world.rule.memory_share)).ceil() as i32
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn under_a_load_that_stays_a_number_never_falls_again_after_it_rose(
        rule in rules(), begins in 1..12_i32, demand in 0.0..20.0_f64, data in 0..60_u64,
    ) {
        let mut world = World::new(&rule, begins);
        (world.demand, world.data) = (demand, data * GIB);
        world.run(4 * 60);

        let numbers: Vec<i32> = world.numbers.iter().map(|(_, number)| *number).collect();
        let rose = numbers.windows(2).position(|pair| pair[1] > pair[0]).unwrap_or(numbers.len());
        prop_assert!(numbers[rose.min(numbers.len() - 1)..].is_sorted(), "{numbers:?}");
    }

    #[test]
    fn a_number_stays_in_its_bounds_and_moves_by_bounded_steps_that_are_apart(
        rule in rules(), begins in 1..12_i32, loads in proptest::collection::vec((0.0..20.0_f64, 0..60_u64, 1..40_i64), 1..12),
    ) {
        let mut world = World::new(&rule, begins);
        for (demand, data, minutes) in loads {
            world.demand = demand;
            world.data = data * GIB;
            world.loaded = world.loaded.min(world.data);
            world.run(minutes);
        }

        let (min, max) = (rule.min.unwrap(), rule.max);
        for pair in world.numbers.windows(2) {
            let ((then, before), (now, after)) = (pair[0], pair[1]);
            prop_assert!((min..=max).contains(&after));
            prop_assert!(after == before - 1 || (after > before && after <= before + before.max(4)), "{before} to {after}");
            let apart = if after < before { i64::from(rule.down_after_seconds.unwrap()) } else { TICK };
            prop_assert!(now - then >= apart, "{before} to {after} after {} s", now - then);
        }
    }

    #[test]
    fn none_is_removed_that_the_loaded_data_needs(
        rule in rules(), begins in 1..12_i32, loads in proptest::collection::vec((0.0..20.0_f64, 0..60_u64), 1..6),
    ) {
        let mut world = World::new(&rule, begins);
        for (demand, data) in loads {
            (world.demand, world.data) = (demand, data * GIB);
            world.loaded = world.loaded.min(world.data);
            for _ in 0..180 {
                let before = world.wanted();
                world.tick();
                let after = world.wanted();
                prop_assert!(after >= before || after >= needed(&world), "{before} to {after}, needs {}", needed(&world));
            }
        }
    }
}
