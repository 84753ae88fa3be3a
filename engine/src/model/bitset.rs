//! A fixed-length set of row numbers.

/// Which of `len` rows are chosen. Bit `i` of word `i / 64` is row `i`; bits past `len` are always zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitset {
    words: Vec<u64>,
    len: usize,
}

impl Bitset {
    /// No row of `len`.
    #[must_use]
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// Every row of `len`.
    #[must_use]
    pub fn all(len: usize) -> Self {
        let mut set = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        set.clear_past_end();
        set
    }

    /// The rows for which `choose` says so, asked in ascending order.
    #[must_use]
    pub fn from_fn(len: usize, mut choose: impl FnMut(usize) -> bool) -> Self {
        let mut set = Self::none(len);
        for (number, word) in set.words.iter_mut().enumerate() {
            let start = number * 64;
            for bit in 0..64.min(len - start) {
                *word |= u64::from(choose(start + bit)) << bit;
            }
        }
        set
    }

    /// The set of `len` rows that [`Self::words`] was taken from; bits past the end are dropped, missing words are zero.
    #[must_use]
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        let mut set = Self { words, len };
        set.clear_past_end();
        set
    }

    /// How many rows the set is about.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the set is about no row at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether row `row` is chosen; false past the end.
    #[must_use]
    #[inline]
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Chooses row `row`; nothing past the end.
    #[inline]
    pub fn insert(&mut self, row: usize) {
        if row < self.len {
            self.words[row / 64] |= 1 << (row % 64);
        }
    }

    /// Chooses the rows of `rows`; nothing past the end.
    pub fn insert_range(&mut self, rows: std::ops::Range<usize>) {
        let end = rows.end.min(self.len);
        let mut row = rows.start;
        while row < end {
            let bits = (64 - row % 64).min(end - row);
            self.words[row / 64] |= (u64::MAX >> (64 - bits)) << (row % 64);
            row += bits;
        }
    }

    /// Drops row `row`; nothing past the end.
    #[inline]
    pub fn remove(&mut self, row: usize) {
        if row < self.len {
            self.words[row / 64] &= !(1 << (row % 64));
        }
    }

    /// How many rows are chosen.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Keeps only what `other` has too. Rows past the end of `other` are dropped.
    pub fn intersect(&mut self, other: &Self) {
        for (number, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(number).copied().unwrap_or(0);
        }
    }

    /// Adds what `other` has; what `other` has past this set's end is ignored.
    pub fn unite(&mut self, other: &Self) {
        for (word, theirs) in self.words.iter_mut().zip(&other.words) {
            *word |= theirs;
        }
        self.clear_past_end();
    }

    /// Turns the choice of every row around.
    pub fn invert(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        self.clear_past_end();
    }

    /// The chosen rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(number, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(number * 64 + bit)
            })
        })
    }

    /// The words behind the set, 64 rows each, lowest row in the lowest bit.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn clear_past_end(&mut self) {
        let used = self.len % 64;
        if used != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << used) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bitset;

    #[test]
    fn a_set_holds_exactly_what_was_put_in() {
        let set = Bitset::from_fn(130, |row| row % 3 == 0);

        assert_eq!(set.iter().collect::<Vec<_>>(), (0..130).step_by(3).collect::<Vec<_>>());
        assert_eq!(set.count(), 44);
    }

    #[test]
    fn a_range_chooses_its_rows_and_none_past_the_end() {
        for (start, end) in [(0, 0), (0, 64), (3, 61), (60, 70), (1, 130), (64, 128), (5, 900), (140, 150)] {
            let mut set = Bitset::none(130);
            set.insert_range(start..end);

            assert_eq!(set, Bitset::from_fn(130, |row| (start..end).contains(&row)));
        }
    }

    #[test]
    fn inverting_never_chooses_a_row_past_the_end() {
        let mut set = Bitset::none(70);
        set.invert();

        assert_eq!(set, Bitset::all(70));
        assert_eq!(set.count(), 70);
    }
}
