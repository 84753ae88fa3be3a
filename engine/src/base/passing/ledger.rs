//! Who has memory for work in passing, and who waits for it. Decisions over values: no clock, nobody is woken here.

use std::collections::{BTreeMap, VecDeque};

/// What a piece of work is for. Each kind has a share of its own, so that none ever waits for a piece of another kind that
/// takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A step of a flush: seals what is acknowledged and gives memory back. Takes moments.
    Flush,
    /// The loading of a segment for readers. Takes moments to a minute.
    Load,
    /// A compaction, the building of an index, a step of an import. Takes up to many minutes.
    Job,
}

impl Work {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Flush, Self::Load, Self::Job];

    const fn place(self) -> usize {
        match self {
            Self::Flush => 0,
            Self::Load => 1,
            Self::Job => 2,
        }
    }

    /// What metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Load => "load",
            Self::Job => "job",
        }
    }
}

/// How much memory work in passing may take, by what it is for; together all that there is for it. Unit: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Steps of flushes.
    pub flushes: u64,
    /// Loads.
    pub loads: u64,
    /// Compactions, builds and imports. While none of them waits, flushes and loads may take what they leave.
    pub jobs: u64,
}

impl Shares {
    /// Everything fits.
    pub const UNLIMITED: Self = Self { flushes: u64::MAX, loads: u64::MAX, jobs: u64::MAX };

    const fn of(&self, work: Work) -> u64 {
        match work {
            Work::Flush => self.flushes,
            Work::Load => self.loads,
            Work::Job => self.jobs,
        }
    }
}

/// A piece of work that has memory.
#[derive(Clone, Copy, Debug)]
struct Held {
    work: Work,
    bytes: u64,
    /// Whether it is of what jobs leave.
    is_borrowed: bool,
}

/// What pieces of one kind have of their own share.
#[derive(Clone, Copy, Debug, Default)]
struct Own {
    pieces: usize,
    bytes: u64,
}

/// All pieces of work that have memory or wait for it.
///
/// - Pieces of a kind get memory in the order in which they asked.
/// - A piece gets memory if it fits into the share of its kind, or if no other piece has any of that share, however large
///   it is: so whoever is first always gets on.
/// - While no job waits, the next flush or load may also take of what jobs leave. What it took so counts against them.
#[derive(Debug)]
pub(super) struct Ledger {
    shares: Shares,
    last: u64,
    held: BTreeMap<u64, Held>,
    own: [Own; 3],
    borrowed: u64,
    waiting: [VecDeque<(u64, u64)>; 3],
}

impl Ledger {
    pub(super) const fn new(shares: Shares) -> Self {
        let none = Own { pieces: 0, bytes: 0 };
        Self {
            shares,
            last: 0,
            held: BTreeMap::new(),
            own: [none; 3],
            borrowed: 0,
            waiting: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
        }
    }

    pub(super) const fn share(&self, work: Work) -> u64 {
        self.shares.of(work)
    }

    /// A piece asks for `bytes`; returns its number.
    pub(super) fn ask(&mut self, work: Work, bytes: u64) -> u64 {
        self.last += 1;
        self.waiting[work.place()].push_back((self.last, bytes));
        self.admit();
        self.last
    }

    /// Whether a piece has its memory.
    pub(super) fn has(&self, number: u64) -> bool {
        self.held.contains_key(&number)
    }

    /// A piece is done, or waits no longer. Whether others may have got memory by that.
    pub(super) fn leave(&mut self, number: u64) -> bool {
        match self.held.remove(&number) {
            Some(held) if held.is_borrowed => self.borrowed -= held.bytes,
            Some(held) => {
                let own = &mut self.own[held.work.place()];
                own.pieces -= 1;
                own.bytes = if own.pieces == 0 { 0 } else { own.bytes.saturating_sub(held.bytes) };
                self.give_back(held.work);
            }
            None => self.waiting.iter_mut().for_each(|queue| queue.retain(|(other, _)| *other != number)),
        }
        self.admit()
    }

    /// Counts against the share of a kind what was borrowed for it and fits there by now.
    fn give_back(&mut self, work: Work) {
        let (own, share) = (&mut self.own[work.place()], self.shares.of(work));
        for held in self.held.values_mut().filter(|held| held.work == work && held.is_borrowed) {
            if own.bytes.checked_add(held.bytes).is_some_and(|all| all <= share) {
                held.is_borrowed = false;
                self.borrowed -= held.bytes;
                own.pieces += 1;
                own.bytes += held.bytes;
            }
        }
    }

    /// Bytes that pieces of a kind have, and bytes that others wait for.
    pub(super) fn figures(&self, work: Work) -> (u64, u64) {
        let add = |sum: u64, bytes: u64| sum.saturating_add(bytes);
        let held = self.held.values().filter(|held| held.work == work).map(|held| held.bytes);
        let waiting = self.waiting[work.place()].iter().map(|(_, bytes)| *bytes);
        (held.fold(0, add), waiting.fold(0, add))
    }

    /// Gives memory to all that may have it now; whether there was one.
    fn admit(&mut self) -> bool {
        let mut any = false;
        // A job that waits no longer may let others borrow.
        while Work::ALL.into_iter().any(|work| self.admit_first(work)) {
            any = true;
        }
        any
    }

    /// Gives memory to the first piece of a kind that waits, if it may have it.
    fn admit_first(&mut self, work: Work) -> bool {
        let Some(&(number, bytes)) = self.waiting[work.place()].front() else { return false };
        let Some(is_borrowed) = self.fits(work, bytes) else { return false };
        self.waiting[work.place()].pop_front();
        if is_borrowed {
            self.borrowed += bytes;
        } else {
            let own = &mut self.own[work.place()];
            own.pieces += 1;
            own.bytes = own.bytes.saturating_add(bytes);
        }
        self.held.insert(number, Held { work, bytes, is_borrowed });
        true
    }

    /// Whether the first piece of a kind may have memory, and whether of what jobs leave.
    fn fits(&self, work: Work, bytes: u64) -> Option<bool> {
        let (own, jobs) = (self.own[work.place()], self.own[Work::Job.place()]);
        let taken = if work == Work::Job { self.borrowed } else { 0 };
        let is_first = own.pieces == 0 && taken == 0;
        let fits = |taken: u64, share: u64| taken.checked_add(bytes).is_some_and(|all| all <= share);
        if is_first || fits(own.bytes.saturating_add(taken), self.shares.of(work)) {
            return Some(false);
        }
        let is_lent = work != Work::Job && self.waiting[Work::Job.place()].is_empty();
        let is_free = fits(jobs.bytes.saturating_add(self.borrowed), self.shares.jobs);
        (is_lent && is_free).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Work::{Flush, Job, Load};
    use super::*;

    const SHARES: Shares = Shares { flushes: 20, loads: 10, jobs: 70 };

    fn all_have(ledger: &Ledger, numbers: &[u64]) -> Vec<bool> {
        numbers.iter().map(|number| ledger.has(*number)).collect()
    }

    #[test]
    fn two_jobs_that_do_not_fit_together_come_one_after_the_other() {
        let mut ledger = Ledger::new(SHARES);
        let pieces = [ledger.ask(Job, 40), ledger.ask(Job, 40), ledger.ask(Job, 30)];

        assert_eq!(
            all_have(&ledger, &pieces),
            [true, false, false],
            "the last one would fit, but is not first"
        );
        assert!(ledger.leave(pieces[0]));
        assert_eq!(all_have(&ledger, &pieces), [false, true, true]);
    }

    #[test]
    fn a_piece_that_fits_nowhere_comes_once_it_is_alone() {
        let mut ledger = Ledger::new(SHARES);
        let (small, large) = (ledger.ask(Job, 1), ledger.ask(Job, u64::MAX));

        assert!(!ledger.has(large));
        ledger.leave(small);
        assert!(ledger.has(large));
        let next = ledger.ask(Job, 1);
        ledger.leave(large);
        assert!(ledger.has(next));
    }

    #[test]
    fn a_flush_and_a_load_do_not_wait_for_a_job_however_large() {
        let mut ledger = Ledger::new(SHARES);
        ledger.ask(Job, 1_000);
        ledger.ask(Job, 1_000);

        let pieces =
            [ledger.ask(Flush, 15), ledger.ask(Load, 500), ledger.ask(Flush, 5), ledger.ask(Flush, 1)];

        assert_eq!(all_have(&ledger, &pieces), [true, true, true, false]);
    }

    #[test]
    fn what_jobs_leave_is_lent_until_one_of_them_waits_for_it() {
        let mut ledger = Ledger::new(SHARES);
        let flushes = [ledger.ask(Flush, 20), ledger.ask(Flush, 30), ledger.ask(Flush, 30)];
        assert_eq!(all_have(&ledger, &flushes), [true; 3]);

        let job = ledger.ask(Job, 50);
        let later = ledger.ask(Flush, 1);
        assert_eq!(all_have(&ledger, &[job, later]), [false, false], "60 of 70 are lent");
        ledger.leave(flushes[1]);
        assert_eq!(all_have(&ledger, &[job, later]), [false, false], "30 of 70 are lent, and no more");
        ledger.leave(flushes[2]);
        assert_eq!(all_have(&ledger, &[job, later]), [true, true]);
    }

    #[test]
    fn who_gives_up_waiting_is_forgotten_and_lets_others_pass() {
        let mut ledger = Ledger::new(SHARES);
        let pieces = [ledger.ask(Job, 60), ledger.ask(Job, 60), ledger.ask(Job, 10)];

        assert!(ledger.leave(pieces[1]));

        assert_eq!(all_have(&ledger, &pieces), [true, false, true]);
        assert_eq!(ledger.figures(Job), (70, 0));
    }

    #[test]
    fn without_a_limit_everything_fits() {
        let mut ledger = Ledger::new(Shares::UNLIMITED);
        for work in Work::ALL {
            assert!((0..9).all(|_| {
                let number = ledger.ask(work, 1 << 60);
                ledger.has(number)
            }));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask(Work, u64),
        /// One of those that are there, whether it has memory or waits.
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let work = prop_oneof![Just(Flush), Just(Load), Just(Job)];
        let ask = (work, 0..120_u64).prop_map(|(work, bytes)| Step::Ask(work, bytes));
        prop::collection::vec(prop_oneof![3 => ask, 2 => (0..50_usize).prop_map(Step::Leave)], 1..80)
    }

    /// What holds after every step. `there` has number, kind and size of all pieces, in the order in which they asked.
    fn check(ledger: &Ledger, there: &[(u64, Work, u64)]) {
        let has = |work: Work| there.iter().filter(move |piece| piece.1 == work && ledger.has(piece.0));
        let sum = |work: Work| has(work).map(|piece| piece.2).sum::<u64>();
        let first = |work: Work| there.iter().find(|piece| piece.1 == work && !ledger.has(piece.0));
        for work in Work::ALL {
            let waiting: Vec<u64> = there
                .iter()
                .filter(|piece| piece.1 == work && !ledger.has(piece.0))
                .map(|piece| piece.0)
                .collect();
            assert!(
                has(work).all(|piece| waiting.iter().all(|other| *other > piece.0)),
                "{work:?} out of turn: {there:?}"
            );
            assert!(
                first(work).is_none() || has(work).count() > 0 || work == Job,
                "{work:?} waits for others"
            );
            assert_eq!(ledger.figures(work).0, sum(work));
        }
        let of_jobs = |work: Work, share: u64| sum(work).saturating_sub(share);
        let lent = of_jobs(Flush, SHARES.flushes) + of_jobs(Load, SHARES.loads);
        assert!(first(Job).is_none() || has(Job).count() > 0 || lent > 0, "a job waits for nothing");
        // Above its share is only one that is alone in it.
        let over = [(Flush, SHARES.flushes), (Load, SHARES.loads), (Job, SHARES.jobs)]
            .iter()
            .map(|(work, share)| has(*work).map(|piece| piece.2.saturating_sub(*share)).max().unwrap_or(0))
            .sum::<u64>();
        let all = sum(Flush) + sum(Load) + sum(Job);
        assert!(all <= SHARES.flushes + SHARES.loads + SHARES.jobs + over, "{all} bytes at once: {there:?}");
    }

    proptest! {
        #[test]
        fn no_more_is_held_than_there_is_and_everything_is_admitted_in_the_end(steps in steps()) {
            let mut ledger = Ledger::new(SHARES);
            let mut there: Vec<(u64, Work, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Ask(work, bytes) => there.push((ledger.ask(work, bytes), work, bytes)),
                    Step::Leave(at) if !there.is_empty() => {
                        let piece = there.remove(at % there.len());
                        ledger.leave(piece.0);
                    }
                    Step::Leave(_) => {}
                }
                check(&ledger, &there);
            }
            let mut left: BTreeSet<u64> = there.iter().map(|piece| piece.0).collect();
            while let Some(number) = left.iter().copied().find(|number| ledger.has(*number)) {
                left.remove(&number);
                ledger.leave(number);
            }
            prop_assert!(left.is_empty(), "never admitted: {left:?}");
            prop_assert_eq!(Work::ALL.map(|work| ledger.figures(work)), [(0, 0); 3]);
        }

        #[test]
        fn a_flush_waits_for_other_flushes_only(
            jobs in prop::collection::vec(0..200_u64, 0..6),
            loads in prop::collection::vec(0..200_u64, 0..6),
            flushes in prop::collection::vec(1..30_u64, 1..6),
            later in prop::collection::vec(0..200_u64, 0..6),
        ) {
            let mut ledger = Ledger::new(SHARES);
            for (work, sizes) in [(Job, &jobs), (Load, &loads)] {
                sizes.iter().for_each(|bytes| assert_ne!(ledger.ask(work, *bytes), 0));
            }
            let mut flushes: VecDeque<u64> = flushes.iter().map(|bytes| ledger.ask(Flush, *bytes)).collect();
            later.iter().for_each(|bytes| assert_ne!(ledger.ask(Job, *bytes), 0));

            // No job and no load ever ends.
            while let Some(first) = flushes.pop_front() {
                prop_assert!(ledger.has(first));
                ledger.leave(first);
            }
        }
    }
}
