//! Which of several copies is asked. Pure: what is known of them goes in, a place in the list comes out.

use crate::base::Rng;

/// Scores closer than this ratio are equal: else the least difference would send everything to one copy.
const ALIKE: f64 = 0.8;

/// How one of several copies of a collection is chosen for a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplicaPolicy {
    /// The better of two that are drawn: fewer questions under way and faster answers.
    #[default]
    LookAside,
    /// One after the other.
    RoundRobin,
}

impl ReplicaPolicy {
    /// The policy of this name, as in Milvus's `proxy.replicaSelectionPolicy`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "look_aside" => Some(Self::LookAside),
            "round_robin" => Some(Self::RoundRobin),
            _ => None,
        }
    }
}

/// What is known of one copy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Expected time to answer, in no particular unit; that of its slowest node. Smaller is better.
    pub score: f64,
    /// Whether one of its nodes could not be reached lately.
    pub avoided: bool,
    /// Whether this read has failed there already.
    pub tried: bool,
    /// Whether it is in the zone of whoever asks.
    pub near: bool,
}

/// The copy to ask: one that works and was not tried, of those the near ones if there are any; else one that was not
/// tried. `None` if all were.
///
/// `turn` counts the reads of the collection.
#[must_use]
pub fn choose(policy: ReplicaPolicy, candidates: &[Candidate], turn: usize, rng: &dyn Rng) -> Option<usize> {
    let usable = usable(candidates);
    let near: Vec<usize> = usable.iter().copied().filter(|&at| candidates[at].near).collect();
    let best = if near.is_empty() { usable } else { near };
    among(policy, &best, candidates, turn, rng).or_else(|| {
        let untried: Vec<usize> = (0..candidates.len()).filter(|&at| !candidates[at].tried).collect();
        among(policy, &untried, candidates, turn, rng)
    })
}

/// The copy to ask beside the one at `first`: only one that works.
#[must_use]
pub fn choose_second(
    policy: ReplicaPolicy,
    candidates: &[Candidate],
    first: usize,
    rng: &dyn Rng,
) -> Option<usize> {
    let others: Vec<usize> = usable(candidates).into_iter().filter(|&at| at != first).collect();
    // Any number will do in place of a turn.
    among(policy, &others, candidates, first, rng)
}

fn usable(candidates: &[Candidate]) -> Vec<usize> {
    (0..candidates.len()).filter(|&at| !candidates[at].tried && !candidates[at].avoided).collect()
}

fn among(
    policy: ReplicaPolicy,
    places: &[usize],
    candidates: &[Candidate],
    turn: usize,
    rng: &dyn Rng,
) -> Option<usize> {
    match (places, policy) {
        ([], _) => None,
        ([only], _) => Some(*only),
        (places, ReplicaPolicy::RoundRobin) => Some(places[turn % places.len()]),
        (places, ReplicaPolicy::LookAside) => {
            let one = draw(places.len(), rng);
            // Any other than the first drawn.
            let other = (one + 1 + draw(places.len() - 1, rng)) % places.len();
            let (one, other) = (places[one], places[other]);
            // The draw has made the order of the two a matter of chance, so equals share evenly.
            Some(if candidates[other].score < candidates[one].score * ALIKE { other } else { one })
        }
    }
}

fn draw(count: usize, rng: &dyn Rng) -> usize {
    // The result is below `count`, which is a `usize`.
    usize::try_from(rng.below(count as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Candidate, ReplicaPolicy, choose, choose_second};
    use crate::base::SeededRng;

    fn candidate(score: f64) -> Candidate {
        Candidate { score, avoided: false, tried: false, near: false }
    }

    fn shares(policy: ReplicaPolicy, candidates: &[Candidate]) -> Vec<usize> {
        let rng = SeededRng::new(3);
        let mut counts = vec![0; candidates.len()];
        for turn in 0..3_000 {
            counts[choose(policy, candidates, turn, rng.as_ref()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn equal_copies_share_evenly() {
        let near = [candidate(1.0), candidate(1.1), candidate(0.95)];

        let aside = shares(ReplicaPolicy::LookAside, &near);
        let round = shares(ReplicaPolicy::RoundRobin, &near);

        assert!(aside.iter().all(|count| (850..1_150).contains(count)), "{aside:?}");
        assert_eq!(round, [1_000, 1_000, 1_000]);
    }

    #[test]
    fn the_slowest_copy_is_spared() {
        let counts = shares(ReplicaPolicy::LookAside, &[candidate(1.0), candidate(5.0), candidate(1.0)]);

        assert_eq!(counts[1], 0);
    }

    #[test]
    fn a_copy_that_failed_is_the_last_resort() {
        let rng = SeededRng::new(3);
        let choose = |candidates: &[Candidate]| choose(ReplicaPolicy::LookAside, candidates, 0, rng.as_ref());
        let avoided = Candidate { avoided: true, ..candidate(1.0) };
        let tried = Candidate { tried: true, ..candidate(1.0) };

        assert_eq!(choose(&[avoided, candidate(9.0), tried]), Some(1));
        assert_eq!(choose(&[avoided, tried]), Some(0));
        assert_eq!(choose(&[tried, tried]), None);
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn a_second_copy_is_another_one_that_works() {
        let rng = SeededRng::new(3);
        let second =
            |candidates: &[Candidate]| choose_second(ReplicaPolicy::LookAside, candidates, 0, rng.as_ref());
        let avoided = Candidate { avoided: true, ..candidate(1.0) };

        assert_eq!(second(&[candidate(1.0), avoided, candidate(9.0)]), Some(2));
        assert_eq!(second(&[candidate(1.0), avoided]), None);
        assert_eq!(second(&[candidate(1.0)]), None);
    }

    #[test]
    fn near_copies_are_asked_as_long_as_one_of_them_works() {
        for policy in [ReplicaPolicy::LookAside, ReplicaPolicy::RoundRobin] {
            let near = Candidate { near: true, ..candidate(9.0) };
            let gone = Candidate { avoided: true, ..near };

            let served = shares(policy, &[candidate(1.0), near, near]);
            let alone = shares(policy, &[candidate(1.0), gone, gone]);

            assert_eq!(
                (served[0], served[1] + served[2], alone),
                (0, 3_000, vec![3_000, 0, 0]),
                "{policy:?}"
            );
        }
    }

    #[test]
    fn policies_go_by_milvus_names() {
        let names = ["look_aside", "round_robin", "other"];

        let policies = names.map(ReplicaPolicy::from_name);

        assert_eq!(policies, [Some(ReplicaPolicy::LookAside), Some(ReplicaPolicy::RoundRobin), None]);
    }
}
