//! What calls failed, and whether that ends the run.

use anyhow::{Error, Result};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Different texts kept; more of them say nothing new.
const KEPT: usize = 5;

/// What the first failed call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It ends the run.
    Stop,
    /// It is counted.
    Count,
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "stop" => Ok(Self::Stop),
            "count" => Ok(Self::Count),
            _ => Err(()),
        }
    }
}

/// Failed calls: how many, and how often each of some texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Failures {
    count: u64,
    texts: BTreeMap<String, u64>,
}

impl Failures {
    /// Counts a failed call.
    ///
    /// # Errors
    /// The failure itself, if it is to end the run.
    pub fn add(&mut self, failure: Error, policy: Policy) -> Result<()> {
        if policy == Policy::Stop {
            return Err(failure);
        }
        self.count += 1;
        self.note(format!("{failure:#}"), 1);
        Ok(())
    }

    /// Takes over what another client has counted.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        other.texts.into_iter().for_each(|(text, times)| self.note(text, times));
    }

    /// How many calls failed.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Some of the texts, each with how often it came.
    pub const fn texts(&self) -> &BTreeMap<String, u64> {
        &self.texts
    }

    fn note(&mut self, text: String, times: u64) {
        if self.texts.len() < KEPT || self.texts.contains_key(&text) {
            *self.texts.entry(text).or_default() += times;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, Policy};
    use anyhow::anyhow;
    use std::collections::BTreeMap;

    #[test]
    fn failures_are_counted_by_text_or_end_the_run() {
        let mut failures = Failures::default();
        for text in ["a", "b", "a"] {
            failures.add(anyhow!("{text}"), Policy::Count).expect("counted");
        }
        let mut all = Failures::default();
        all.add(anyhow!("b"), Policy::Count).expect("counted");
        all.append(failures);

        assert_eq!(all.count(), 4);
        assert_eq!(*all.texts(), BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2)]));
        assert!(all.add(anyhow!("c"), Policy::Stop).is_err());
    }
}
