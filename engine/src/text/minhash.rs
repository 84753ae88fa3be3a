//! Signatures of texts: two of them agree in about the share of runs of letters or words that their texts have in common.
//!
//! Numbers are Milvus's, so that signatures that were computed elsewhere fit: runs are hashed to 32 bits, each place of a
//! signature permutes the hashes by a line modulo a prime, and keeps the least. The lines come from a generator with a seed.

use xxhash_rust::xxh3::xxh3_64;

/// 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

/// What hashes a run of letters or words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunHash {
    /// The low 32 bits of XXH3.
    #[default]
    Xxh3,
    /// The first four bytes of SHA-1.
    Sha1,
}

impl RunHash {
    fn of(self, bytes: &[u8]) -> u32 {
        match self {
            Self::Xxh3 => (xxh3_64(bytes) & 0xffff_ffff) as u32,
            Self::Sha1 => u32::from_le_bytes(sha1_start(bytes)),
        }
    }
}

/// Computes signatures.
#[derive(Clone, Debug)]
pub struct MinHash {
    /// Factor and summand of each place.
    lines: Vec<(u64, u64)>,
    /// Letters, in bytes, or words of a run; at least 1.
    run: usize,
    hash: RunHash,
}

impl MinHash {
    /// Signatures of `places` numbers over runs of `run` bytes or words.
    #[must_use]
    pub fn new(places: usize, run: usize, seed: u64, hash: RunHash) -> Self {
        let mut random = Twister::new(seed);
        let mut line = || {
            let (factor, summand) = (random.next(), random.next());
            (factor % (PRIME - 1) + 1, summand % PRIME)
        };
        Self { lines: (0..places).map(|_| line()).collect(), run: run.max(1), hash }
    }

    /// The signature of the runs of bytes in a text: four bytes a place. A text shorter than a run is one.
    #[must_use]
    pub fn of_letters(&self, text: &str) -> Vec<u8> {
        let bytes = text.as_bytes();
        if bytes.len() < self.run {
            return self.signature([self.hash.of(bytes)]);
        }
        self.signature(bytes.windows(self.run).map(|run| self.hash.of(run)))
    }

    /// The signature of the runs of words: four bytes a place. Fewer words than a run has are one run, none are no run.
    #[must_use]
    pub fn of_words(&self, words: &[&str]) -> Vec<u8> {
        let hash = |words: &[&str]| self.hash.of(words.concat().as_bytes());
        match words.len() {
            0 => self.signature([]),
            count if count < self.run => self.signature([hash(words)]),
            _ => self.signature(words.windows(self.run).map(hash)),
        }
    }

    /// The signature of nothing.
    #[must_use]
    pub fn of_nothing(&self) -> Vec<u8> {
        self.signature([])
    }

    fn signature(&self, hashes: impl IntoIterator<Item = u32>) -> Vec<u8> {
        let mut least = vec![u32::MAX; self.lines.len()];
        for hash in hashes {
            for (least, (factor, summand)) in least.iter_mut().zip(&self.lines) {
                let product = factor.wrapping_mul(u64::from(hash)).wrapping_add(*summand);
                let folded = (product & PRIME) + (product >> 61);
                let rest = if folded >= PRIME { folded - PRIME } else { folded };
                *least = (*least).min((rest & 0xffff_ffff) as u32);
            }
        }
        least.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

/// Words of the state of the generator.
const STATE: usize = 312;
/// How far apart the words are that make a new one.
const APART: usize = 156;
const LOWER: u64 = (1 << 31) - 1;

/// The 64-bit Mersenne twister, MT19937-64.
struct Twister {
    state: Vec<u64>,
    at: usize,
}

impl Twister {
    fn new(seed: u64) -> Self {
        let mut state = Vec::with_capacity(STATE);
        let mut last = seed;
        state.push(last);
        for at in 1..STATE as u64 {
            last = (last ^ (last >> 62)).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at);
            state.push(last);
        }
        Self { state, at: STATE }
    }

    fn refill(&mut self) {
        for at in 0..STATE {
            let both = (self.state[at] & !LOWER) | (self.state[(at + 1) % STATE] & LOWER);
            let twist = if both & 1 == 1 { 0xB502_6F5A_A966_19E9 } else { 0 };
            self.state[at] = self.state[(at + APART) % STATE] ^ (both >> 1) ^ twist;
        }
        self.at = 0;
    }

    fn next(&mut self) -> u64 {
        if self.at >= STATE {
            self.refill();
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= (word >> 29) & 0x5555_5555_5555_5555;
        word ^= (word << 17) & 0x71D6_7FFF_EDA6_0000;
        word ^= (word << 37) & 0xFFF7_EEE0_0000_0000;
        word ^ (word >> 43)
    }
}

/// The first four bytes of the SHA-1 of `bytes`: a way to spread runs, not a proof of anything.
fn sha1_start(bytes: &[u8]) -> [u8; 4] {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut message = bytes.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    // The length takes the last eight bytes of a block.
    if (bytes.len() % 64) >= 56 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len() - 8;
    message[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in message.as_chunks::<64>().0 {
        mix(&mut state, block);
    }
    state[0].to_be_bytes()
}

fn mix(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for at in 16..80 {
        words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (at, word) in words.iter().enumerate() {
        let (chosen, constant) = match at {
            0..20 => ((b & c) | (!b & d), 0x5A82_7999),
            20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
        };
        let next =
            a.rotate_left(5).wrapping_add(chosen).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (kept, new) in state.iter_mut().zip([a, b, c, d, e]) {
        *kept = kept.wrapping_add(new);
    }
}

#[cfg(test)]
mod tests {
    use super::{MinHash, RunHash, Twister, sha1_start};

    #[test]
    fn the_generator_gives_the_numbers_of_its_definition() {
        // The standard library of C++ says what the 10000th number of a generator with its default seed is.
        let mut random = Twister::new(5489);

        let last = (0..10_000).map(|_| random.next()).last();

        assert_eq!(last, Some(9_981_545_732_273_789_042));
    }

    #[test]
    fn sha1_begins_as_its_test_vectors() {
        assert_eq!(sha1_start(b""), [0xda, 0x39, 0xa3, 0xee]);
        assert_eq!(sha1_start(b"abc"), [0xa9, 0x99, 0x3e, 0x36]);
        let long = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(sha1_start(long), [0x84, 0x98, 0x3e, 0x44]);
    }

    fn agreeing(left: &[u8], right: &[u8]) -> usize {
        left.chunks(4).zip(right.chunks(4)).filter(|(left, right)| left == right).count()
    }

    #[test]
    fn signatures_agree_as_far_as_their_texts_do() {
        let texts = ["the quick brown fox", "the quick brown cat", "lorem ipsum dolor si"];
        for hash in [RunHash::Xxh3, RunHash::Sha1] {
            let function = MinHash::new(256, 3, 1234, hash);
            let [first, near, far] = texts.map(|text| function.of_letters(text));

            assert_eq!(first.len(), 1024);
            assert_eq!(function.of_letters(texts[0]), first);
            assert!(agreeing(&first, &near) > 2 * agreeing(&first, &far), "{hash:?}");
            assert_ne!(MinHash::new(256, 3, 42, hash).of_letters(texts[0]), first);
        }
    }

    #[test]
    fn short_texts_are_one_run_and_no_words_are_none() {
        let function = MinHash::new(2, 3, 0, RunHash::Xxh3);

        assert_eq!(function.of_words(&[]), [0xff; 8]);
        assert_eq!(function.of_words(&["a", "b"]), function.of_letters("ab"));
        assert_eq!(function.of_words(&["a", "b", "c"]), function.of_letters("abc"));
    }
}
