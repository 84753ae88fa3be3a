//! Buckets of tokens. Pure: the time goes in, and whether there is enough comes out.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Most buckets at a time. One that has filled up is as good as none.
const MOST: usize = 65_536;

/// Tokens that come at a rate, as many as come in a second at most, but at least one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    /// What is in it; less than nothing where it owes.
    tokens: f64,
    /// When that was so.
    at: Duration,
}

/// What a bucket holds that gets so many tokens a second.
const fn capacity(rate: f64) -> f64 {
    if rate > 1.0 { rate } else { 1.0 }
}

impl Bucket {
    const fn full(rate: f64, now: Duration) -> Self {
        Self { tokens: capacity(rate), at: now }
    }

    /// The bucket at `now`.
    fn filled(self, rate: f64, now: Duration) -> Self {
        let more = now.saturating_sub(self.at).as_secs_f64() * rate;
        Self { tokens: (self.tokens + more).min(capacity(rate)), at: now.max(self.at) }
    }

    /// Whether `cost` may be taken. What costs more than a bucket holds may be taken from a full one, which then owes: else
    /// it never could.
    fn has(self, rate: f64, cost: f64) -> bool {
        rate > 0.0 && self.tokens >= cost.min(capacity(rate))
    }
}

/// A bucket that something is to be taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted<K> {
    /// Which one.
    pub key: K,
    /// Its tokens a second; none can be taken if it is 0.
    pub rate: f64,
    /// The tokens that are to be taken.
    pub cost: f64,
}

/// Buckets by what they are for. One that is not known is full.
#[derive(Debug)]
pub struct Buckets<K> {
    known: HashMap<K, (Bucket, f64)>,
    most: usize,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self { known: HashMap::new(), most: MOST }
    }
}

impl<K: Clone + Eq + Hash> Buckets<K> {
    /// Takes tokens from each of some buckets, no two of them the same, at `now`; from none if one has too few.
    ///
    /// # Errors
    /// The place of the first that has too few.
    pub fn take(&mut self, now: Duration, wanted: &[Wanted<K>]) -> Result<(), usize> {
        let bucket = |known: &HashMap<K, (Bucket, f64)>, one: &Wanted<K>| {
            let bucket = known.get(&one.key).map(|(bucket, _)| bucket.filled(one.rate, now));
            bucket.unwrap_or_else(|| Bucket::full(one.rate, now))
        };
        let mut new = 0;
        for (place, one) in wanted.iter().enumerate() {
            if !bucket(&self.known, one).has(one.rate, one.cost) {
                return Err(place);
            }
            new += usize::from(!self.known.contains_key(&one.key));
        }
        self.make_room(now, new).map_err(|Crowded| 0_usize)?;
        for one in wanted {
            let Bucket { tokens, at } = bucket(&self.known, one);
            self.known.insert(one.key.clone(), (Bucket { tokens: tokens - one.cost, at }, one.rate));
        }
        Ok(())
    }

    /// Forgets what is full where there are too many.
    fn make_room(&mut self, now: Duration, new: usize) -> Result<(), Crowded> {
        if self.known.len() + new <= self.most {
            return Ok(());
        }
        self.known.retain(|_, (bucket, rate)| bucket.filled(*rate, now).tokens < capacity(*rate));
        if self.known.len() + new <= self.most { Ok(()) } else { Err(Crowded) }
    }
}

/// Too many buckets are in use.
struct Crowded;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(rate: f64, cost: f64) -> [Wanted<&'static str>; 1] {
        [Wanted { key: "one", rate, cost }]
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Asks one after the other; which are let through.
    fn admitted(rate: f64, asked: &[(Duration, f64)]) -> Vec<bool> {
        let mut buckets = Buckets::default();
        asked.iter().map(|(at, cost)| buckets.take(*at, &one(rate, *cost)).is_ok()).collect()
    }

    #[test]
    fn a_second_of_requests_may_come_at_once_and_then_so_many_a_second() {
        let asked: Vec<_> = [0, 0, 0, 500, 500, 1_000, 9_000, 9_000, 9_000].map(|at| (ms(at), 1.0)).to_vec();

        assert_eq!(admitted(2.0, &asked), [true, true, false, true, false, true, true, true, false]);
    }

    #[test]
    fn a_request_larger_than_a_second_is_let_through_and_paid_for() {
        let asked = [(ms(0), 1.0), (ms(0), 30.0), (ms(100), 30.0), (ms(2_000), 1.0), (ms(2_200), 1.0)];

        assert_eq!(admitted(10.0, &asked), [true, false, true, false, true]);
    }

    #[test]
    fn less_than_one_a_second_is_one_in_several_and_nothing_is_nothing() {
        let asked = [(ms(0), 1.0), (ms(9_000), 1.0), (ms(10_000), 1.0)];

        assert_eq!(admitted(0.1, &asked), [true, false, true]);
        assert_eq!(admitted(0.0, &asked), [false, false, false]);
    }

    #[test]
    fn what_one_bucket_refuses_is_taken_from_none() {
        let mut buckets = Buckets::default();
        let wide = Wanted { key: "wide", rate: 2.0, cost: 1.0 };
        let narrow = Wanted { key: "narrow", rate: 1.0, cost: 1.0 };
        let both = [wide.clone(), narrow];

        let taken = [1, 2, 3].map(|_| buckets.take(ms(0), &both));
        let left = [1, 2].map(|_| buckets.take(ms(0), std::slice::from_ref(&wide)));

        assert_eq!(taken, [Ok(()), Err(1), Err(1)]);
        assert_eq!(left, [Ok(()), Err(0)]);
    }

    #[test]
    fn full_buckets_are_forgotten_where_there_are_many() {
        let mut buckets = Buckets { most: 2, ..Buckets::default() };
        let mut ask =
            |key: u32, at: u64, rate: f64| buckets.take(ms(at), &[Wanted { key, rate, cost: 1.0 }]).is_ok();

        assert!(ask(1, 0, 1.0) && ask(2, 0, 0.1));
        assert!(!ask(3, 500, 1.0), "both are in use");
        assert!(ask(3, 1_000, 1.0), "the first has filled up");
        assert!(!ask(2, 1_000, 0.1), "the other is remembered");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Since when it was last full, a bucket has what it holds, and what came in, less what was taken: the least of that
        /// over all instants that may have been the last. Eighths of seconds and whole rates are exact.
        #[test]
        fn as_much_is_let_through_as_is_counted_over_every_span(
            rate in 1_u32..20,
            asked in prop::collection::vec((0_u64..12, 1_u32..30), 1..80),
        ) {
            let rate = f64::from(rate);
            let mut at = 0;
            let asked: Vec<(Duration, f64)> = asked
                .into_iter()
                .map(|(eighths, cost)| {
                    at += eighths;
                    (ms(at * 125), f64::from(cost))
                })
                .collect();
            let mut taken: Vec<(Duration, f64)> = Vec::new();
            let mut naive = Vec::new();
            for (now, cost) in &asked {
                let since = |first: usize| {
                    let spent: f64 = taken[first..].iter().map(|(_, cost)| cost).sum();
                    rate + rate * (*now - taken[first].0).as_secs_f64() - spent
                };
                let left = (0..taken.len()).map(since).fold(rate, f64::min);
                let is_let = left >= cost.min(rate);
                if is_let {
                    taken.push((*now, *cost));
                }
                naive.push(is_let);
            }

            prop_assert_eq!(admitted(rate, &asked), naive);
        }
    }
}
