//! Which member is asked when. Reads go to one member after another, the next one already while a slow one is awaited,
//! and the first answer counts. A commit does so only if doing it twice is the same as doing it once; it then goes on
//! asking, round by round: what a member has taken is lost without a word when the member it passed that on to dies.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::base::Clock;

use super::fault::{Fault, What};

/// Pause before every member is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// Attempts at one commit that are waited for at the same time.
const OPEN_AT_MOST: usize = 16;

/// When to ask whom.
pub(super) struct Race<'a> {
    pub clock: &'a dyn Clock,
    /// The member to begin with.
    pub first: usize,
    /// There are so many.
    pub members: usize,
    /// Ask the next one too after this.
    pub overtake_after: Duration,
    /// Everything ends after this.
    pub limit: Duration,
    /// Ask every member so often at most.
    pub rounds: usize,
}

/// How one attempt at a commit ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Done, at this version.
    Done(u64),
    /// The expectation on this key did not hold.
    Conflict(String),
}

/// Whether a commit may be attempted while the outcome of another attempt is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// At most one of any number of attempts can ever succeed: a success ends what each of them expects, forever.
    Harmless,
    /// A late attempt could undo what others did since.
    Harmful,
}

impl Race<'_> {
    fn order(&self) -> impl Iterator<Item = usize> {
        let (first, members) = (self.first, self.members);
        (0..members).map(move |step| (first + step) % members)
    }

    /// The first answer to `ask`. `overtaken` hears of members that took too long.
    pub(super) async fn read<T, A: Future<Output = Result<T, Fault>>>(
        &self,
        ask: impl Fn(usize) -> A,
        overtaken: impl Fn(usize),
    ) -> Result<T, Fault> {
        let mut worst = None;
        let mut limit = self.clock.sleep(self.limit);
        let mut rounds = 0;
        loop {
            rounds += 1;
            let mut order = self.order();
            let mut running = FuturesUnordered::new();
            let mut newest = order.next();
            running.extend(newest.map(&ask));
            while !running.is_empty() {
                tokio::select! {
                                    biased;
                                    Some(ended) = running.next() => match ended {
                                        Ok(answer) => return Ok(answer),
                                        Err(fault) => {
                                            worst = Some(worse(worst, fault));
                                            newest = order.next();
                running.extend(newest.map(&ask));
                                        }
                                    },
                                    () = &mut limit => return Err(worst.unwrap_or_else(|| Fault::late(self.limit))),
                                    () = self.clock.sleep(self.overtake_after), if newest.is_some() => {
                                        newest.into_iter().for_each(&overtaken);
                                        newest = order.next();
                running.extend(newest.map(&ask));
                                    }
                                }
            }
            if let Some(fault) = worst.take_if(|fault| rounds == self.rounds || !fault.what.may_pass()) {
                return Err(fault);
            }
            tokio::select! {
                biased;
                () = &mut limit => return Err(worst.unwrap_or_else(|| Fault::late(self.limit))),
                () = self.clock.sleep(PAUSE) => {}
            }
        }
    }

    /// Commits by `ask`. An error says truly whether the commit is certain not to have happened.
    pub(super) async fn commit<A: Future<Output = Result<Ended, Fault>>>(
        &self,
        repeat: Repeat,
        ask: impl Fn(usize) -> A,
        overtaken: impl Fn(usize),
    ) -> Result<Ended, Fault> {
        let mut seen = Seen::default();
        let mut limit = self.clock.sleep(self.limit);
        let mut running = FuturesUnordered::new();
        loop {
            let mut order = self.order();
            let mut newest = order.next();
            running.extend(newest.map(&ask));
            while !running.is_empty() {
                let may_ask = seen.conflict.is_none() && running.len() < OPEN_AT_MOST;
                let asks_on = newest.is_some() || repeat == Repeat::Harmless && may_ask;
                tokio::select! {
                    biased;
                    Some(ended) = running.next() => {
                        if let Ok(Ended::Done(version)) = ended {
                            return Ok(Ended::Done(version));
                        }
                        seen.add(ended);
                        match seen.step(repeat, running.len()) {
                            Step::End => return seen.end(),
                            Step::Wait => newest = None,
                            Step::Next => {
                                newest = order.next();
                                running.extend(newest.map(&ask));
                            }
                        }
                    },
                    () = &mut limit => return Err(seen.late(self.limit, running.len())),
                    () = self.clock.sleep(self.overtake_after), if asks_on => {
                        newest.into_iter().for_each(&overtaken);
                        newest = if repeat == Repeat::Harmless && may_ask {
                            order.next().or_else(|| {
                                order = self.order();
                                order.next()
                            })
                        } else {
                            None
                        };
                        running.extend(newest.map(&ask));
                    }
                }
            }
            if !seen.may_pass() {
                return seen.end();
            }
            tokio::select! {
                biased;
                () = &mut limit => return Err(seen.late(self.limit, 0)),
                () = self.clock.sleep(PAUSE) => {}
            }
        }
    }
}

/// The fault that says more about what to change: one that lasts before one that passes.
fn worse(before: Option<Fault>, fault: Fault) -> Fault {
    match before {
        Some(before) if !before.what.may_pass() || fault.what.may_pass() => before,
        _ => fault,
    }
}

/// What the attempts at one commit said so far, none of which succeeded.
#[derive(Default)]
struct Seen {
    conflict: Option<String>,
    /// An attempt whose outcome is open.
    lost: Option<Fault>,
    /// An attempt that certainly did nothing.
    undone: Option<Fault>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing better can be known.
    End,
    /// Those under way may know more.
    Wait,
    /// Try the next member.
    Next,
}

impl Seen {
    fn add(&mut self, ended: Result<Ended, Fault>) {
        match ended {
            Ok(Ended::Conflict(key)) => self.conflict = Some(key),
            Ok(Ended::Done(_)) => {}
            Err(fault) if fault.what.is_undone() => self.undone = Some(worse(self.undone.take(), fault)),
            Err(fault) => self.lost = Some(fault),
        }
    }

    /// What to do after an attempt failed while `running` others are under way.
    fn step(&self, repeat: Repeat, running: usize) -> Step {
        if self.conflict.is_some() {
            // One of those under way may be why the expectation does not hold any more.
            return if running > 0 { Step::Wait } else { Step::End };
        }
        match self.lost {
            Some(_) if repeat == Repeat::Harmful => Step::End,
            _ => Step::Next,
        }
    }

    /// Whether another round may do better.
    fn may_pass(&self) -> bool {
        self.conflict.is_none() && self.undone.as_ref().is_none_or(|fault| fault.what == What::Unreached)
    }

    /// A conflict counts only if no attempt of ours can have been its cause.
    fn end(self) -> Result<Ended, Fault> {
        match (self.lost, self.conflict, self.undone) {
            (Some(lost), _, _) => Err(lost),
            (None, Some(key), _) => Ok(Ended::Conflict(key)),
            (None, None, Some(undone)) => Err(undone),
            (None, None, None) => Err(Fault::late(Duration::ZERO)),
        }
    }

    fn late(self, limit: Duration, running: usize) -> Fault {
        match (self.lost, self.undone) {
            (Some(lost), _) => lost,
            (None, Some(undone)) if running == 0 => undone,
            (None, Some(undone)) if !undone.what.may_pass() => undone.lost(),
            _ => Fault::late(limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tonic::Code;

    use crate::base::TestClock;

    use super::super::fault::Said;
    use super::*;

    /// What a member answers, and after how many milliseconds; never if none.
    type Script<T> = Option<(u64, Result<T, What>)>;

    struct World {
        clock: Arc<TestClock>,
        asked: Mutex<Vec<usize>>,
        overtaken: Mutex<Vec<usize>>,
    }

    fn world() -> World {
        World { clock: TestClock::starting_at(0), asked: Mutex::default(), overtaken: Mutex::default() }
    }

    fn fault(what: What) -> Fault {
        let said = Said::Status { member: "a:1".to_owned(), code: Code::Unknown, message: String::new() };
        Fault { what, said }
    }

    impl World {
        fn race(&self, first: usize) -> Race<'_> {
            Race {
                clock: &*self.clock,
                first,
                members: 3,
                overtake_after: Duration::from_millis(500),
                limit: Duration::from_secs(5),
                rounds: usize::MAX,
            }
        }

        async fn answer<T: Clone>(&self, script: &[Script<T>; 3], member: usize) -> Result<T, Fault> {
            self.asked.lock().push(member);
            let Some((after_ms, answer)) = script[member].clone() else {
                return std::future::pending().await;
            };
            self.clock.sleep(Duration::from_millis(after_ms)).await;
            answer.map_err(fault)
        }

        async fn read(&self, first: usize, script: [Script<&'static str>; 3]) -> Result<&'static str, What> {
            let ask = |member| self.answer(&script, member);
            let ended = self.race(first).read(ask, |member| self.overtaken.lock().push(member)).await;
            ended.map_err(|fault| fault.what)
        }

        async fn commit(&self, repeat: Repeat, script: [Script<u64>; 3]) -> Result<u64, What> {
            let ask = async |member| match self.answer(&script, member).await? {
                0 => Ok(Ended::Conflict("key".to_owned())),
                version => Ok(Ended::Done(version)),
            };
            let ended = self.race(0).commit(repeat, ask, |member| self.overtaken.lock().push(member)).await;
            ended.map_err(|fault| fault.what).map(|ended| match ended {
                Ended::Done(version) => version,
                Ended::Conflict(_) => 0,
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_goes_on_to_the_next_member() {
        let refused = Some((1, Err(What::Unreached)));
        let world = world();
        let answer = world.read(1, [Some((1, Ok("a"))), refused, None]).await;
        assert_eq!((answer, &*world.asked.lock()), (Ok("a"), &vec![1, 2, 0]));
        assert_eq!(*world.overtaken.lock(), [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_if_it_is_the_first() {
        let answer = world().read(0, [Some((2_000, Ok("slow"))), None, None]).await;
        assert_eq!(answer, Ok("slow"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_ends_at_its_limit() {
        let world = world();
        assert_eq!(world.read(0, [None, None, None]).await, Err(What::Lost));
        assert!(world.clock.monotonic() < Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_by_all_ends_a_read_at_once() {
        let denied = Some((1, Err(What::Denied)));
        let world = world();
        assert_eq!(world.read(0, [denied, Some((1, Err(What::Unreached))), denied]).await, Err(What::Denied));
        assert!(world.clock.monotonic() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_harmful_repeat_is_never_sent_while_the_first_is_open() {
        let world = world();
        assert_eq!(world.commit(Repeat::Harmful, [None, Some((1, Ok(7))), None]).await, Err(What::Lost));
        assert_eq!((&*world.asked.lock(), &*world.overtaken.lock()), (&vec![0], &vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_was_not_sent_is_sent_to_another_member() {
        for repeat in [Repeat::Harmful, Repeat::Harmless] {
            let script = [Some((1, Err(What::Unreached))), Some((1, Ok(7))), None];
            assert_eq!(world().commit(repeat, script).await, Ok(7));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_commit_is_repeated_only_if_that_is_harmless() {
        let script = || [Some((1, Err(What::Lost))), Some((1, Ok(7))), None];
        assert_eq!(world().commit(Repeat::Harmless, script()).await, Ok(7));
        assert_eq!(world().commit(Repeat::Harmful, script()).await, Err(What::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_members_took_and_lost_is_sent_again_and_none_is_waited_for_alone() {
        let world = world();
        // Whatever is asked at first is lost with the member that led; the last one never answers.
        let ask = async |member: usize| {
            world.asked.lock().push(member);
            if world.clock.monotonic() < Duration::from_millis(1_200) || member == 2 {
                std::future::pending::<()>().await;
            }
            Ok(Ended::Done(7))
        };

        let ended = world.race(2).commit(Repeat::Harmless, ask, |_| {}).await;

        assert_eq!((ended.unwrap(), &*world.asked.lock()), (Ended::Done(7), &vec![2, 0, 1, 2, 0]));
        assert!(world.clock.monotonic() < Duration::from_millis(2_500), "{:?}", world.clock.monotonic());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_attempts_at_a_commit_are_open_than_may_be() {
        let world = world();
        let race = Race { limit: Duration::from_secs(600), ..world.race(0) };
        let script: [Script<u64>; 3] = [None, None, None];
        let ask = async |member| world.answer(&script, member).await.map(Ended::Done);

        let ended = race.commit(Repeat::Harmless, ask, |_| {}).await;

        assert_eq!((ended.unwrap_err().what, world.asked.lock().len()), (What::Lost, OPEN_AT_MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn a_conflict_that_an_open_attempt_may_have_caused_is_none() {
        let conflict = || Some((1, Ok(0)));
        let lost = Some((1, Err(What::Lost)));
        assert_eq!(world().commit(Repeat::Harmless, [lost, conflict(), None]).await, Err(What::Lost));
        assert_eq!(world().commit(Repeat::Harmless, [None, conflict(), None]).await, Err(What::Lost));
        assert_eq!(world().commit(Repeat::Harmless, [Some((900, Ok(7))), conflict(), None]).await, Ok(7));
        assert_eq!(world().commit(Repeat::Harmless, [Some((900, Ok(0))), conflict(), None]).await, Ok(0));
        assert_eq!(world().commit(Repeat::Harmless, [conflict(), None, None]).await, Ok(0));
    }
}
