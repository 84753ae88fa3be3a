//! Every order of steps of a few owners, a truncation and a reader, explored to the last state. The decisions are those
//! of the product (`chain`, `boundary`); what is modelled is who does which call of the store when.
//!
//! Any process may stand still between any two steps for as long as it likes, so no state of the model has a clock. A
//! creation may come to the store again at any time later, as one does whose answer was lost. Not modelled: removals and
//! lives, whose claims compete as fences do, and a reader in the owner's process.

use std::collections::BTreeMap;

use bytes::Bytes;
use stateright::{Checker as _, Expectation, HasDiscoveries, Model, Property};

use crate::base::ChannelName;

use super::super::boundary::Boundary;
use super::super::chain::{Chain, Step, Verdict, is_freed, judge};
use super::super::chunk::{Body, HEADER_BYTES, Header, What};
use super::super::flaw::{Flaw, Flaws};
use super::super::names::Life;

/// Most chunks of an owner under way.
const PIPELINE: u64 = 2;

/// How much there is of what.
#[derive(Clone, Copy)]
struct Size {
    /// Chunks that the first owner has written when the model begins.
    before: u64,
    /// Chunks that each owner writes.
    chunks: &'static [u8],
    /// Truncations after the one of which the model begins.
    cuts: u64,
    /// Creations that come again.
    again: u8,
    /// Whether there is a reader.
    reads: bool,
}

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// As in the product.
    Of(Flaw),
    /// An opening counts as soon as its fence is created.
    OpeningLooksAgain,
    /// A reader believes what it finds.
    ReaderLooks,
}

struct Log {
    life: Life,
    bodies: Vec<Body>,
    left_out: Option<Rule>,
    size: Size,
}

/// The state of all there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    store: BTreeMap<u64, Header>,
    boundary: Boundary,
    /// Everything that anybody has sent to be created.
    sent: BTreeMap<(u64, u128, u128), Header>,
    /// How often something may come again.
    again: u8,
    truth: Truth,
    owners: Vec<Owner>,
    cutter: Cutter,
    reader: Reader,
    wrong: Option<&'static str>,
}

/// What somebody knows who has looked at every number as soon as it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Truth {
    chain: Chain,
    passed: BTreeMap<u64, Chain>,
}

/// A look at the chain that goes number by number, as others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Walk {
    start: Chain,
    at: Chain,
    ended: Option<Result<(), &'static str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Waiting,
    Walking(Walk),
    /// It has looked, and is about to create its fence.
    Claiming(Chain, Box<Header>),
    Owning {
        fence: Chain,
        tip: Chain,
        flights: Vec<Flight>,
        left: u8,
    },
    Gone(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Why {
    Fenced,
    Outlived,
    Poisoned,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    header: Header,
    before: Chain,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Sent,
    Taken,
    /// It is there, and it is to be looked whether its number had been given up.
    Doubtful,
    /// The same of a number under which a stale chunk lies.
    StaleDoubtful,
    Durable,
    Stale,
    Failed(Why),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Cutter {
    Idle,
    /// It is about to create this.
    Cutting(Boundary),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reader {
    chain: Chain,
    /// What it does not believe before it has looked at the boundary.
    doubtful: Option<Header>,
}

/// A step of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// The next call of an opening.
    Opens(usize),
    Sends(usize),
    /// The next call of a chunk under way.
    Flies(usize, usize),
    ComesAgain(Header),
    Cuts,
    Frees(u64),
    Reads,
}

impl Log {
    fn new(size: Size, left_out: Option<Rule>) -> Self {
        let body = |owner: usize| Body::new(vec![Bytes::from(format!("of {owner}"))]);
        let life = Life::new(&ChannelName("c".into()), 0);
        Self { life, bodies: (0..size.chunks.len()).map(body).collect(), left_out, size }
    }

    fn flaws(&self) -> Flaws {
        match self.left_out {
            Some(Rule::Of(flaw)) => Flaws { left_out: Some(flaw) },
            Some(Rule::OpeningLooksAgain | Rule::ReaderLooks) | None => Flaws::default(),
        }
    }

    fn step(&self, chain: &Chain, header: &Header) -> Step {
        match chain.step(header, &self.life) {
            Step::Stale(_) if self.flaws().has(Flaw::StaleCounts) => {
                Step::Counts(chain.with(header, &self.life))
            }
            step => step,
        }
    }

    fn writer(owner: usize) -> u128 {
        owner as u128 + 10
    }

    /// A chunk comes to the store; says whether it was created.
    fn create(&self, world: &mut World, header: &Header) -> bool {
        if world.store.contains_key(&header.sequence) {
            return false;
        }
        world.store.insert(header.sequence, header.clone());
        let truth = &mut world.truth;
        while let Some(next) = world.store.get(&(truth.chain.sequence + 1)) {
            match truth.chain.step(next, &self.life) {
                Step::Counts(chain) | Step::Stale(chain) => truth.chain = chain,
                Step::Ends | Step::Broken(_) => {
                    world.wrong = Some("a chunk is none that an owner writes");
                    break;
                }
            }
            truth.passed.insert(truth.chain.sequence, truth.chain);
        }
        true
    }

    fn send(&self, world: &mut World, header: &Header) {
        world.sent.insert((header.sequence, header.writer, header.link), header.clone());
    }

    /// One call of a walk; the chain once it has come to an end that counts.
    fn walk(&self, world: &mut World, walk: &mut Walk) -> Option<Chain> {
        match walk.ended {
            None => match world.store.get(&(walk.at.sequence + 1)) {
                None => walk.ended = Some(Ok(())),
                Some(header) => match self.step(&walk.at, header) {
                    Step::Counts(chain) | Step::Stale(chain) => walk.at = chain,
                    Step::Ends => walk.ended = Some(Err("a removal is found")),
                    Step::Broken(why) => walk.ended = Some(Err(why)),
                },
            },
            Some(ended) => {
                // As `Store::catch_up` does: the walk counts unless the boundary has passed where it began.
                if world.boundary.chain.sequence > walk.start.sequence {
                    *walk = Walk::from(world.boundary.chain);
                    return None;
                }
                if let Err(why) = ended {
                    world.wrong = Some(why);
                } else if !world.truth.has(&walk.at) {
                    world.wrong = Some("a walk comes to a place that is none");
                }
                return Some(walk.at);
            }
        }
        None
    }

    /// One call of an opening.
    fn open(&self, world: &mut World, number: usize) {
        let mut owner = world.owners[number].clone();
        let (term, writer) = (number as u64 + 1, Self::writer(number));
        match &mut owner {
            Owner::Waiting => owner = Owner::Walking(Walk::from(world.boundary.chain)),
            Owner::Walking(walk) => {
                if let Some(tail) = self.walk(world, walk) {
                    owner = if tail.live > 0 && tail.writer == writer {
                        self.own(world, number, tail)
                    } else if tail.term().is_some_and(|seen| seen >= term) {
                        Owner::Gone(Why::Fenced)
                    } else {
                        let fence = tail.following(What::Fence, term, writer, &Body::empty(), 0);
                        self.send(world, &fence);
                        Owner::Claiming(tail, Box::new(fence))
                    };
                }
            }
            Owner::Claiming(tail, fence) => {
                let is_new = self.create(world, fence);
                owner = if is_new && self.left_out == Some(Rule::OpeningLooksAgain) {
                    let fence = tail.with(fence, &self.life);
                    self.own(world, number, fence)
                } else {
                    // It knows as much as before, and what the boundary says.
                    let known = world.boundary.chain;
                    Owner::Walking(Walk::from(if known.sequence > tail.sequence { known } else { *tail }))
                };
            }
            Owner::Owning { .. } | Owner::Gone(_) => {}
        }
        world.owners[number] = owner;
    }

    fn own(&self, world: &mut World, number: usize, fence: Chain) -> Owner {
        if !world.truth.has(&fence) {
            world.wrong = Some("a term begins where others see none");
        }
        Owner::Owning { fence, tip: fence, flights: Vec::new(), left: self.size.chunks[number] }
    }

    fn flight(&self, world: &mut World, number: usize, fence: &Chain, before: Chain) -> Flight {
        let body = &self.bodies[number];
        let header = before.following(What::Records, fence.term, fence.writer, body, 0);
        self.send(world, &header);
        Flight { header, before, stage: Stage::Sent }
    }

    fn launch(&self, world: &mut World, number: usize) {
        let mut owner = world.owners[number].clone();
        if let Owner::Owning { fence, tip, flights, left } = &mut owner {
            let flight = self.flight(world, number, fence, *tip);
            *tip = tip.with(&flight.header, &self.life);
            *left -= 1;
            if self.flaws().has(Flaw::EarlyAcknowledgement) {
                self.acknowledge(world, &flight);
            }
            flights.push(flight);
        }
        world.owners[number] = owner;
    }

    /// One call of a chunk under way, as in `Writing::put`.
    fn fly(&self, world: &mut World, number: usize, at: usize) {
        let mut owner = world.owners[number].clone();
        let Owner::Owning { fence, flights, .. } = &mut owner else { return };
        let flight = &mut flights[at];
        let is_doubtful = fence.is_early(flight.header.sequence) && !self.flaws().has(Flaw::EarlyUnchecked);
        let stored = if is_doubtful { Stage::Doubtful } else { Stage::Durable };
        flight.stage = match flight.stage {
            Stage::Sent if self.create(world, &flight.header) => stored,
            Stage::Sent if self.flaws().has(Flaw::TakenIsOwn) => stored,
            Stage::Sent => Stage::Taken,
            Stage::Taken => match world.store.get(&flight.header.sequence) {
                None => Stage::Sent,
                Some(found) => match judge(found, &flight.header) {
                    Verdict::Own => stored,
                    Verdict::Stale if self.flaws().has(Flaw::StaleUnchecked) => Stage::Stale,
                    Verdict::Stale => Stage::StaleDoubtful,
                    Verdict::Fenced(_) | Verdict::Removed => Stage::Failed(Why::Fenced),
                },
            },
            Stage::Doubtful | Stage::StaleDoubtful if world.boundary.has_given_up(flight.header.sequence) => {
                Stage::Failed(Why::Outlived)
            }
            Stage::Doubtful => Stage::Durable,
            Stage::StaleDoubtful => Stage::Stale,
            ended @ (Stage::Durable | Stage::Stale | Stage::Failed(_)) => ended,
        };
        world.owners[number] = self.settle(world, number, owner);
    }

    /// Takes up what has landed, in order, as `Writing::run` does.
    fn settle(&self, world: &mut World, number: usize, mut owner: Owner) -> Owner {
        let Owner::Owning { fence, tip, flights, .. } = &mut owner else { return owner };
        while let Some(first) = flights.first().cloned() {
            match first.stage {
                Stage::Sent | Stage::Taken | Stage::Doubtful | Stage::StaleDoubtful => break,
                Stage::Durable => {
                    flights.remove(0);
                    if !self.flaws().has(Flaw::EarlyAcknowledgement) {
                        self.acknowledge(world, &first);
                    }
                }
                Stage::Stale if flights.len() == 1 => {
                    let after = Chain { sequence: first.header.sequence, ..first.before };
                    let again = self.flight(world, number, fence, after);
                    *tip = after.with(&again.header, &self.life);
                    *flights = vec![again];
                    break;
                }
                Stage::Stale => return Owner::Gone(Why::Poisoned),
                Stage::Failed(why) => return Owner::Gone(why),
            }
        }
        owner
    }

    fn acknowledge(&self, world: &mut World, flight: &Flight) {
        let chain = flight.before.with(&flight.header, &self.life);
        if world.truth.passed.get(&chain.sequence) != Some(&chain) {
            world.wrong = Some("a chunk is acknowledged that nobody will read");
        }
    }

    /// Looks, or creates a boundary. Its looks are those of an opening, and done at once here.
    fn cut(&self, world: &mut World) {
        world.cutter = match &world.cutter {
            Cutter::Idle => {
                let Some(tail) = self.end(world, world.boundary.chain) else {
                    world.wrong = Some("a truncation finds damage");
                    return;
                };
                if tail.next == world.boundary.first {
                    return;
                }
                let number = world.boundary.number + 1;
                Cutter::Cutting(Boundary { number, first: tail.next, chain: tail })
            }
            Cutter::Cutting(wanted) => {
                world.boundary = *wanted;
                Cutter::Idle
            }
        };
    }

    /// Where a look ends that begins at `chain` and takes no time.
    fn end(&self, world: &World, mut chain: Chain) -> Option<Chain> {
        while let Some(header) = world.store.get(&(chain.sequence + 1)) {
            match self.step(&chain, header) {
                Step::Counts(next) | Step::Stale(next) => chain = next,
                Step::Ends | Step::Broken(_) => return None,
            }
        }
        Some(chain)
    }

    /// One call of a reader, as in `Reader::pass`.
    fn read(&self, world: &mut World) {
        let mut reader = world.reader.clone();
        let header = match reader.doubtful.take() {
            Some(_) if world.boundary.chain.sequence > reader.chain.sequence => {
                reader.chain = world.boundary.chain;
                None
            }
            Some(header) => Some(header),
            None => {
                let found = world.store.get(&(reader.chain.sequence + 1)).cloned();
                let is_doubtful = |header: &Header| {
                    self.left_out != Some(Rule::ReaderLooks)
                        && self.step(&reader.chain, header).is_doubtful(header)
                };
                if let Some(header) = found.clone().filter(is_doubtful) {
                    reader.doubtful = Some(header);
                    None
                } else {
                    found
                }
            }
        };
        if let Some(header) = header {
            match self.step(&reader.chain, &header) {
                Step::Counts(chain) => {
                    reader.chain = chain;
                    if !world.truth.has(&chain) {
                        world.wrong = Some("a reader is served what is not there");
                    }
                }
                // It may be overtaken, and finds out by the next chunk that counts.
                Step::Stale(chain) => reader.chain = chain,
                Step::Ends | Step::Broken(_) => world.wrong = Some("a reader finds damage"),
            }
        }
        world.reader = reader;
    }
}

impl Walk {
    fn from(start: Chain) -> Self {
        Self { start, at: start, ended: None }
    }
}

impl Truth {
    /// Whether a chain is one that was passed, or what the model began with.
    fn has(&self, chain: &Chain) -> bool {
        self.passed.get(&chain.sequence) == Some(chain)
    }
}

impl Model for Log {
    type State = World;
    type Action = Action;

    /// The first owner has its fence and some chunks, which were given up and freed.
    fn init_states(&self) -> Vec<World> {
        let writer = Self::writer(0);
        let fence = Chain::START.following(What::Fence, 1, writer, &Body::empty(), 0);
        let began = Chain::START.with(&fence, &self.life);
        let mut chain = began;
        for _ in 0..self.size.before {
            let header = chain.following(What::Records, 1, writer, &self.bodies[0], 0);
            chain = chain.with(&header, &self.life);
        }
        let first =
            Owner::Owning { fence: began, tip: chain, flights: Vec::new(), left: self.size.chunks[0] };
        let mut owners = vec![Owner::Waiting; self.size.chunks.len()];
        owners[0] = first;
        vec![World {
            store: BTreeMap::from([(1, fence)]),
            boundary: Boundary { number: 1, first: chain.next, chain },
            sent: BTreeMap::new(),
            again: self.size.again,
            truth: Truth { chain, passed: BTreeMap::from([(chain.sequence, chain)]) },
            owners,
            cutter: Cutter::Idle,
            reader: Reader { chain, doubtful: None },
            wrong: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.wrong.is_some() {
            return;
        }
        for (number, owner) in world.owners.iter().enumerate() {
            match owner {
                Owner::Waiting | Owner::Walking(_) | Owner::Claiming(..) => {
                    actions.push(Action::Opens(number))
                }
                Owner::Owning { tip, flights, left, .. } => {
                    if *left > 0 && (flights.len() as u64) < tip.slots(PIPELINE) {
                        actions.push(Action::Sends(number));
                    }
                    actions.extend((0..flights.len()).map(|at| Action::Flies(number, at)));
                }
                Owner::Gone(_) => {}
            }
        }
        let missing = world.sent.values().filter(|header| !world.store.contains_key(&header.sequence));
        let missing = missing.filter(|_| world.again > 0);
        actions.extend(missing.cloned().map(Action::ComesAgain));
        if world.boundary.number <= self.size.cuts {
            actions.push(Action::Cuts);
        }
        for (sequence, header) in &world.store {
            let size_bytes = HEADER_BYTES as u64 + header.body_bytes;
            let last = world.boundary.chain.sequence;
            let frees_fences = self.flaws().has(Flaw::FencesFreed) && *sequence <= last;
            if is_freed(*sequence, size_bytes, last) || frees_fences {
                actions.push(Action::Frees(*sequence));
            }
        }
        if self.size.reads {
            actions.push(Action::Reads);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Opens(owner) => self.open(&mut next, owner),
            Action::Sends(owner) => self.launch(&mut next, owner),
            Action::Flies(owner, at) => self.fly(&mut next, owner, at),
            Action::ComesAgain(header) => {
                next.again -= 1;
                self.create(&mut next, &header);
            }
            Action::Cuts => self.cut(&mut next),
            Action::Frees(sequence) => {
                next.store.remove(&sequence);
            }
            Action::Reads => self.read(&mut next),
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nobody goes wrong", |_: &Self, world: &World| world.wrong.is_none()),
            Property::always(
                "who begins at the boundary finds all that was not given up",
                |log: &Self, world: &World| log.end(world, world.boundary.chain) == Some(world.truth.chain),
            ),
            Property::sometimes("an owner is fenced", |_: &Self, world: &World| {
                world.owners.contains(&Owner::Gone(Why::Fenced))
            }),
            Property::sometimes("an owner learns that its number was given up", |_: &Self, world: &World| {
                world.owners.contains(&Owner::Gone(Why::Outlived))
            }),
            Property::sometimes("a freed number is used again", |log: &Self, world: &World| {
                world.store.values().any(|header| {
                    let passed = world.truth.passed.get(&header.sequence);
                    passed.is_some_and(|chain| {
                        let has_counted = chain.live == chain.sequence;
                        has_counted && chain.link != header.hash(&log.life)
                            || !has_counted && header.term >= chain.term
                    })
                })
            }),
            Property::sometimes("a later owner writes", |_: &Self, world: &World| {
                world.truth.chain.writer != Log::writer(0) && world.truth.chain.live > world.truth.chain.began
            }),
        ]
    }
}

/// Three owners of which the first is far from its fence, and so looks at no boundary.
const OWNERS: Size = Size { before: 8, chunks: &[2, 1, 0], cuts: 1, again: 0, reads: false };
/// Each of three writes.
const THREE: Size = Size { before: 8, chunks: &[2, 1, 1], cuts: 1, again: 0, reads: false };
/// The same with all that can go on among three; explored with `REDKITE_MODEL=all`.
const ALL: Size = Size { before: 8, chunks: &[2, 1, 1], cuts: 1, again: 1, reads: false };
/// One truncation more, of two owners.
const CUTS: Size = Size { before: 8, chunks: &[2, 1], cuts: 2, again: 2, reads: false };
/// A first owner that has just begun.
const BEGUN: Size = Size { before: 0, chunks: &[2, 1], cuts: 1, again: 1, reads: false };
/// Two owners and a reader.
const READER: Size = Size { before: 8, chunks: &[2, 1], cuts: 1, again: 1, reads: true };

fn explore(size: Size) -> Vec<&'static str> {
    let began = std::time::Instant::now();
    let checker = Log::new(size, None).checker().threads(2).spawn_bfs().join();
    println!(
        "{} states, {} steps deep, {:?}",
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed()
    );
    let found = checker.discoveries();
    for property in checker.model().properties() {
        if let (Expectation::Always, Some(path)) = (property.expectation, found.get(property.name)) {
            panic!("not so: {}: {:#?}", property.name, path.clone().into_actions());
        }
    }
    found.into_keys().collect()
}

#[test]
fn no_order_of_steps_loses_or_replaces_what_was_acknowledged() {
    let mut sizes = vec![OWNERS, CUTS, BEGUN];
    if std::env::var("REDKITE_MODEL").is_ok_and(|which| which == "all") {
        sizes.extend([THREE, ALL]);
    }
    let seen = sizes.into_iter().flat_map(explore).collect::<Vec<_>>();
    for property in Log::new(OWNERS, None).properties() {
        let is_seen = property.expectation == Expectation::Always || seen.contains(&property.name);
        assert!(is_seen, "the model is too small: never {}", property.name);
    }
}

#[test]
fn in_no_order_of_steps_a_reader_is_served_what_is_not_there() {
    explore(READER);
}

fn is_found(rule: Rule, size: Size) {
    let checker = Log::new(size, Some(rule)).checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries();
    let mut broken =
        checker.model().properties().into_iter().filter(|property| {
            property.expectation == Expectation::Always && found.contains_key(property.name)
        });
    let broken = broken.next().unwrap_or_else(|| panic!("{rule:?} is not missed")).name;
    let path = found[broken].clone();
    let (wrong, steps) = (path.last_state().wrong, path.into_actions().len());
    println!(
        "{rule:?}: not so after {steps} steps: {broken}; {wrong:?}, {} states",
        checker.unique_state_count()
    );
}

#[test]
fn every_rule_of_owners_and_truncations_is_missed_when_it_is_left_out() {
    is_found(Rule::Of(Flaw::EarlyAcknowledgement), OWNERS);
    is_found(Rule::Of(Flaw::TakenIsOwn), OWNERS);
    is_found(Rule::Of(Flaw::StaleCounts), OWNERS);
    is_found(Rule::Of(Flaw::FencesFreed), OWNERS);
    is_found(Rule::Of(Flaw::EarlyUnchecked), THREE);
    is_found(Rule::Of(Flaw::StaleUnchecked), CUTS);
    is_found(Rule::OpeningLooksAgain, OWNERS);
}

#[test]
fn a_reader_that_believes_what_it_finds_is_found() {
    is_found(Rule::ReaderLooks, READER);
}
