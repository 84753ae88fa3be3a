//! Numbers that coordinators give out, as everybody together hears of them: none twice, and none that is below one that was
//! heard of before it was asked for.

use std::collections::BTreeMap;

/// One kind of numbers.
#[derive(Debug, Default)]
pub struct Series {
    /// First of what was given at once, and what follows its last.
    given: BTreeMap<u64, u64>,
    end: u64,
}

impl Series {
    /// What follows the greatest number that anybody has heard.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Somebody hears `count` numbers from `first` on, and had asked for them when `since` was the [end](Self::end).
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn take(&mut self, since: u64, first: u64, count: u64) -> Result<(), String> {
        let end = first + count;
        if first < since {
            return Err(format!("{first} is given after {} was", since - 1));
        }
        let before = self.given.range(..end).next_back();
        if let Some((other, _)) = before.filter(|(_, other_end)| **other_end > first) {
            return Err(format!("{first} to {end} and those from {other} on are given twice"));
        }
        self.given.insert(first, end);
        self.end = self.end.max(end);
        Ok(())
    }
}
