//! What may be read, from what was written: for each key everything that was done to it, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::Found;

/// How one write of a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Under way.
    Open,
    /// Acknowledged at this time.
    Done(u64),
    /// It failed in a way that leaves open whether it was done.
    Unknown,
}

/// A write, shared by all keys that it changes.
#[derive(Debug)]
pub struct Deed {
    pub number: u64,
    pub began: u64,
    /// Through which proxy's process.
    pub via: (usize, u64),
    pub outcome: parking_lot::Mutex<Outcome>,
}

#[derive(Clone, Debug)]
struct Step {
    deed: Arc<Deed>,
    /// What the key has afterwards.
    value: Option<i64>,
}

#[derive(Debug, Default)]
struct Story {
    steps: Vec<Step>,
    /// What Strong reads have shown: at a time, at least so many steps had happened.
    shown: Vec<(u64, usize)>,
    /// What the key has after the last step.
    value: Option<i64>,
    /// When the last step was acknowledged, once that was seen.
    settled: Option<u64>,
    /// Whether a Strong read has shown the last step.
    is_shown: bool,
}

/// What a read is held to.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// Everything acknowledged before it began, and nothing older than what another Strong read has shown.
    Strong,
    /// What this worker did.
    Session { worker: i64 },
    /// What was acknowledged before this time, or through this proxy's process.
    Bounded { before: u64, via: (usize, u64) },
    /// Anything that was ever there.
    Eventually,
}

/// All keys.
#[derive(Debug, Default)]
pub struct Oracle {
    stories: BTreeMap<i64, Story>,
    deeds: u64,
}

/// Keys of a worker are those that leave its number.
pub const WORKERS: i64 = 15;
/// The worker that only looks whether writes go on once all is healed.
pub const PROBE: i64 = WORKERS - 1;

impl Oracle {
    /// A write begins.
    pub fn begin(&mut self, now: u64, via: (usize, u64), changes: &[(i64, Option<i64>)]) -> Arc<Deed> {
        self.deeds += 1;
        let outcome = parking_lot::Mutex::new(Outcome::Open);
        let deed = Arc::new(Deed { number: self.deeds, began: now, via, outcome });
        for (key, value) in changes {
            let story = self.stories.entry(*key).or_default();
            let is_open = !story.steps.is_empty() && story.settled().is_none();
            assert!(!is_open, "a key of unknown state is not written again");
            story.steps.push(Step { deed: Arc::clone(&deed), value: *value });
            (story.value, story.settled, story.is_shown) = (*value, None, false);
        }
        deed
    }

    /// Keys of a worker that certainly exist.
    pub fn keys_of(&mut self, worker: i64) -> Vec<i64> {
        let own = self.stories.iter_mut().filter(|(key, _)| **key % WORKERS == worker);
        let there = own
            .filter_map(|(key, story)| (story.value.is_some() && story.settled().is_some()).then_some(*key));
        there.collect()
    }

    /// Compares a read of all keys with what it may show.
    ///
    /// # Errors
    /// The first key that cannot be like that, with its story.
    pub fn check(&mut self, level: Level, began: u64, ended: u64, found: &Found) -> Result<(), String> {
        let is_strong = matches!(level, Level::Strong);
        let mut rows = found.iter().peekable();
        for (key, story) in &mut self.stories {
            // Both ascend: a row before this key has no story.
            let row = rows.next_if(|row| row.0 <= *key);
            if let Some((stray, _)) = row.filter(|row| row.0 < *key) {
                return Err(never_written(stray));
            }
            let value = row.map(|row| row.1);
            let place = if story.is_as_it_ended(value, if is_strong { began } else { ended }) {
                Ok(story.steps.len())
            } else {
                story.place(*key, level, began, ended, value)
            };
            match place {
                Ok(place) if is_strong => story.show(ended, place),
                Ok(_) => {}
                Err(least) => {
                    return Err(format!(
                        "a {level:?} read from {began} to {ended} shows key {key} as {value:?}, at least step {least} was due: {}",
                        story.tell()
                    ));
                }
            }
        }
        rows.next().map_or(Ok(()), |(key, _)| Err(never_written(key)))
    }

    /// Compares rows that were found, with nothing said of those that were not.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_some(&self, level: Level, began: u64, ended: u64, found: &Found) -> Result<(), String> {
        for (key, value) in found.iter() {
            let Some(story) = self.stories.get(&key) else {
                return Err(never_written(key));
            };
            if let Err(least) = story.place(key, level, began, ended, Some(value)) {
                return Err(format!(
                    "a {level:?} read from {began} to {ended} shows key {key} as {value}, at least step {least} was due: {}",
                    story.tell()
                ));
            }
        }
        Ok(())
    }

    /// Once all is at rest: what a write of unknown outcome changed it changed as a whole or not at all.
    ///
    /// # Errors
    /// Which write is half there.
    pub fn check_whole(&self, found: &Found) -> Result<(), String> {
        let mut seen: BTreeMap<u64, (bool, i64)> = BTreeMap::new();
        for (key, story) in &self.stories {
            let Some(last) = story.steps.last() else { continue };
            let before = story.steps.len().checked_sub(2).and_then(|at| story.steps[at].value);
            if before == last.value {
                continue;
            }
            let is_done = found.get(*key) == last.value;
            let (first, other) = *seen.entry(last.deed.number).or_insert((is_done, *key));
            // A later write of another key of the same batch says nothing about this one.
            if first != is_done {
                return Err(format!("write {} is half there: keys {other} and {key}", last.deed.number));
            }
        }
        Ok(())
    }
}

fn never_written(key: i64) -> String {
    format!("key {key} was never written")
}

impl Story {
    /// When the last step was acknowledged, if it was.
    fn settled(&mut self) -> Option<u64> {
        if self.settled.is_none()
            && let Some(last) = self.steps.last()
            && let Outcome::Done(at) = *last.deed.outcome.lock()
        {
            self.settled = Some(at);
        }
        self.settled
    }

    /// Whether `value` is what the last step left, which was acknowledged at `due` at the latest: what any level allows to be
    /// shown then, and the only thing that a Strong read which began then may show. Most keys are like that in most reads.
    fn is_as_it_ended(&mut self, value: Option<i64>, due: u64) -> bool {
        value == self.value && self.settled().is_some_and(|at| at <= due)
    }

    /// A Strong read that ended then has shown `place` steps.
    fn show(&mut self, ended: u64, place: usize) {
        if !self.is_shown && self.shown.last().is_none_or(|last| last.1 < place) {
            self.shown.push((ended, place));
            self.is_shown = place == self.steps.len();
        }
    }

    /// How many steps had happened at least when the key looked like `value`. What it must have been at least if that cannot
    /// be.
    fn place(
        &self,
        key: i64,
        level: Level,
        began: u64,
        ended: u64,
        value: Option<i64>,
    ) -> Result<usize, usize> {
        let acknowledged = |before: u64, via: Option<(usize, u64)>| {
            let is_due = |step: &Step| match *step.deed.outcome.lock() {
                Outcome::Done(at) => at <= before || (at <= began && via == Some(step.deed.via)),
                Outcome::Open | Outcome::Unknown => false,
            };
            self.steps.iter().rposition(is_due).map_or(0, |at| at + 1)
        };
        let least = match level {
            Level::Strong => {
                let shown =
                    self.shown.iter().rev().find(|(at, _)| *at <= began).map_or(0, |(_, place)| *place);
                acknowledged(began, None).max(shown)
            }
            Level::Session { worker } if key % WORKERS == worker => acknowledged(began, None),
            Level::Bounded { before, via } => acknowledged(before, Some(via)),
            Level::Session { .. } | Level::Eventually => 0,
        };
        let is_like = |place: usize| {
            let there = place.checked_sub(1).map_or(Some(None), |at| {
                let step = &self.steps[at];
                (step.deed.began <= ended).then_some(step.value)
            });
            there == Some(value)
        };
        (least..=self.steps.len()).find(|place| is_like(*place)).ok_or(least)
    }

    fn tell(&self) -> String {
        let step = |step: &Step| {
            format!(
                "[write {} at {} {:?} via {:?} -> {:?}]",
                step.deed.number,
                step.deed.began,
                *step.deed.outcome.lock(),
                step.deed.via,
                step.value
            )
        };
        let steps: Vec<String> = self.steps.iter().map(step).collect();
        format!("{}; shown {:?}", steps.join(" "), self.shown)
    }
}
