//! Several owners contend for one channel on a bad store; all from one seed, which a failure names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;

use crate::base::Rng;

use super::super::flaw::Flaw;
use super::faults::flawed_node;
use super::*;

/// For how long owners contend, in the run's own time.
const CONTENTION: Duration = Duration::from_secs(20);
const OWNERS: u64 = 3;

struct World {
    blobs: Arc<MemoryBlobs>,
    stores: Mutex<Vec<Arc<FaultyBlobs>>>,
    faults: Faults,
    rng: Arc<SeededRng>,
    left_out: Option<Flaw>,
    term: AtomicU64,
    numbers: AtomicU64,
    is_over: AtomicBool,
    acknowledged: Mutex<BTreeMap<u64, Bytes>>,
    /// What one reader has read from the very beginning.
    followed: Mutex<Vec<Bytes>>,
    /// What must not happen and did.
    complaint: Mutex<Option<String>>,
}

/// How much went on in a run.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    acknowledged: usize,
    records: usize,
    terms: u64,
    given_up: u64,
}

impl World {
    fn new(seed: u64, left_out: Option<Flaw>) -> Arc<Self> {
        let rng = SeededRng::new(seed);
        let faults = Faults {
            delay_ms: 1 + rng.below(120),
            failing: rng.below(12),
            answer_lost: rng.below(12),
            late: rng.below(16),
        };
        Arc::new(Self {
            blobs: MemoryBlobs::new(),
            stores: Mutex::default(),
            faults,
            rng,
            left_out,
            term: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            acknowledged: Mutex::default(),
            followed: Mutex::default(),
            complaint: Mutex::default(),
        })
    }

    fn node(&self) -> faults::Node {
        let store = FaultyBlobs::new(self.blobs.clone(), self.rng.next_u64(), self.faults);
        self.stores.lock().push(store.clone());
        let pipeline = 1 + self.rng.below(8);
        flawed_node(
            store,
            self.rng.next_u64(),
            ObjectLogSettings { pipeline, poll_max_ms: 200, ..small() },
            self.left_out,
        )
    }

    async fn pause(&self, most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.rng.below(most_ms + 1))).await;
    }

    fn complain(&self, complaint: String) {
        self.complaint.lock().get_or_insert(complaint);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) || self.complaint.lock().is_some()
    }

    /// Takes the channel again and again, and appends as long as it may. Now and then the process dies.
    async fn own(&self) {
        let mut node = self.node();
        while !self.is_over() {
            self.pause(1_500).await;
            let term = self.term.fetch_add(1, Ordering::Relaxed) + 1;
            let floor = self.acknowledged.lock().last_key_value().map_or(0, |(position, _)| position + 1);
            match node.logs.open(&name(), term).await {
                Ok(writer) => {
                    let next = writer.next_position().0;
                    if next < floor {
                        self.complain(format!("term {term} begins at {next} after {floor} acknowledged"));
                    }
                    // Some owners sleep at once, among what the one before had under way.
                    if self.rng.below(3) == 0 {
                        self.pause(5_000).await;
                    }
                    let life_ms = 200 + self.rng.below(12_000);
                    tokio::select! {
                        () = self.write(&writer) => {}
                        () = tokio::time::sleep(Duration::from_millis(life_ms)) => node = self.node(),
                    }
                }
                Err(error) if matches!(error.kind(), Kind::Fenced | Kind::Unavailable) => {}
                Err(error) => self.complain(format!("term {term} cannot open: {error:?}")),
            }
        }
    }

    async fn write(&self, writer: &Arc<dyn LogWriter>) {
        while !self.is_over() {
            let appends = (0..1 + self.rng.below(24)).map(|_| {
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                let payload = Bytes::from(format!("record {number:08}"));
                (payload.clone(), writer.append(payload))
            });
            let appends = appends.collect::<Vec<_>>();
            let outcomes = join_all(appends.into_iter().map(async |(payload, appending)| {
                let position = appending?.durable().await?;
                let before = self.acknowledged.lock().insert(position.0, payload);
                if before.is_some() {
                    self.complain(format!("position {position} was acknowledged twice"));
                }
                Ok::<_, Error>(())
            }));
            if outcomes.await.into_iter().any(|outcome| outcome.is_err()) {
                return;
            }
            // Mostly busy, sometimes long enough for others to take over and truncate.
            let most_ms = if self.rng.below(6) == 0 { 4_000 } else { 60 };
            self.pause(most_ms).await;
        }
    }

    /// Reads everything as it comes, through faults.
    async fn follow(&self) {
        let node = self.node();
        let mut reader = loop {
            match node.logs.read(&name(), Position::FIRST).await {
                Ok(reader) => break reader,
                Err(error) if error.kind() == Kind::Unavailable => {}
                Err(error) => return self.complain(format!("the follower cannot begin: {error:?}")),
            }
        };
        while self.complaint.lock().is_none() {
            match reader.next().await {
                Ok((position, payload)) => {
                    let mut followed = self.followed.lock();
                    if position.0 != followed.len() as u64 {
                        return self.complain(format!("{position} follows {} records", followed.len()));
                    }
                    followed.push(payload);
                }
                Err(error) if error.kind() == Kind::Unavailable => {}
                Err(error) => return self.complain(format!("the follower fails: {error:?}")),
            }
        }
    }

    /// Gives up what the follower has read.
    async fn truncate(&self) {
        let node = self.node();
        while !self.is_over() {
            self.pause(300).await;
            let read = self.followed.lock().len() as u64;
            let before = read.saturating_sub(self.rng.below(3));
            match node.logs.truncate(&name(), Position(before)).await {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Unavailable => {}
                Err(error) => self.complain(format!("the truncation fails: {error:?}")),
            }
        }
    }

    /// What a new process finds, and whether it is what was promised.
    async fn compare(&self) -> Result<Totals, String> {
        for store in self.stores.lock().iter() {
            store.set(Faults::default());
        }
        // What is late has come by then.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let node = node(self.blobs.clone(), self.rng.next_u64(), small());
        let term = self.term.load(Ordering::Relaxed) + 1;
        let writer = node.logs.open(&name(), term).await.map_err(|error| format!("at the end: {error:?}"))?;
        let next = writer.next_position().0;
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while self.complaint.lock().is_none() && (self.followed.lock().len() as u64) < next {
            if tokio::time::Instant::now() > end {
                let read = self.followed.lock().len();
                return Err(format!("the follower stays at {read} of {next}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if let Some(complaint) = self.complaint.lock().take() {
            return Err(complaint);
        }
        let first = match node.logs.read(&name(), Position::FIRST).await {
            Ok(_) => Position::FIRST,
            Err(Error::Truncated { first, .. }) => first,
            Err(error) => return Err(format!("at the end: {error:?}")),
        };
        let replay =
            read_all(&node.logs, first).await.map_err(|error| format!("in the replay: {error:?}"))?;
        self.check(first.0, next, &replay)?;
        let (acknowledged, given_up) = (self.acknowledged.lock().len(), first.0);
        Ok(Totals { acknowledged, records: self.followed.lock().len(), terms: term, given_up })
    }

    fn check(&self, first: u64, next: u64, replay: &[(u64, Bytes)]) -> Result<(), String> {
        let followed = self.followed.lock();
        let expected = (0..).zip(followed.iter().cloned()).skip(usize::try_from(first).unwrap());
        if replay != expected.collect::<Vec<_>>() || followed.len() as u64 != next {
            return Err(format!("a replay from {first} is not what the follower read"));
        }
        if followed.iter().collect::<BTreeSet<_>>().len() != followed.len() {
            return Err("a record is there twice".to_owned());
        }
        for (position, payload) in self.acknowledged.lock().iter() {
            let found = usize::try_from(*position).ok().and_then(|index| followed.get(index));
            if found != Some(payload) {
                return Err(format!("{payload:?} was acknowledged at {position}, where {found:?} is"));
            }
        }
        Ok(())
    }

    async fn run(&self) -> Result<Totals, String> {
        let owners = join_all((0..OWNERS).map(|_| self.own()));
        let stop = async {
            tokio::time::sleep(CONTENTION).await;
            self.is_over.store(true, Ordering::Relaxed);
        };
        let contention = async { tokio::join!(owners, self.truncate(), stop) };
        let all = async {
            tokio::select! {
                compared = async { contention.await; self.compare().await } => compared,
                () = async { self.follow().await; std::future::pending().await } => Ok(Totals::default()),
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(600), all).await;
        ended.unwrap_or_else(|_| Err("something hangs".to_owned()))
    }
}

fn run(seed: u64, left_out: Option<Flaw>) -> Result<Totals, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { World::new(seed, left_out).run().await })
}

/// Seeds to run: `REDKITE_SEED` alone, or as many as `REDKITE_SEEDS` says from 0 on.
fn seeds(otherwise: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("REDKITE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("REDKITE_SEEDS").unwrap_or(otherwise),
    }
}

#[test]
fn what_contending_owners_acknowledge_is_there_once_and_in_order() {
    let mut totals = Vec::new();
    for seed in seeds(40) {
        match run(seed, None) {
            Ok(of_seed) => totals.push(of_seed),
            Err(complaint) => panic!("REDKITE_SEED={seed}: {complaint}"),
        }
    }
    let sum = |of: fn(&Totals) -> u64| totals.iter().map(of).sum::<u64>();
    let acknowledged = sum(|totals| totals.acknowledged as u64);
    println!(
        "{} seeds: {acknowledged} acknowledged of {} records, {} terms, {} given up",
        totals.len(),
        sum(|totals| totals.records as u64),
        sum(|totals| totals.terms),
        sum(|totals| totals.given_up)
    );
    assert!(acknowledged > 20 * totals.len() as u64, "the runs do something");
    assert!(acknowledged < sum(|totals| totals.records as u64), "some die between storing and acknowledging");
}

fn is_found(flaw: Flaw) {
    let found = (0..200).find_map(|seed| run(seed, Some(flaw)).err().map(|complaint| (seed, complaint)));
    let (seed, complaint) = found.expect("some seed shows that the rule is missing");
    println!("{flaw:?} is found by seed {seed}: {complaint}");
}

#[test]
fn an_early_acknowledgement_is_found() {
    is_found(Flaw::EarlyAcknowledgement);
}

#[test]
fn a_writer_that_takes_every_chunk_for_its_own_is_found() {
    is_found(Flaw::TakenIsOwn);
}

#[test]
fn a_reader_that_does_not_skip_stale_chunks_is_found() {
    is_found(Flaw::StaleCounts);
}

#[test]
fn a_truncation_that_frees_fences_is_found() {
    is_found(Flaw::FencesFreed);
}

#[test]
fn a_writer_that_trusts_its_first_chunks_is_found() {
    is_found(Flaw::EarlyUnchecked);
}
