//! Tokens of a text, and how terms are numbered and counted.

use std::collections::BTreeMap;

/// One word of a text, as an analyzer gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The word after all filters; never empty.
    pub text: String,
    /// Where what it was made of starts in the text. Unit: bytes.
    pub start: usize,
    /// Where that ends. Unit: bytes.
    pub end: usize,
    /// Number of the word among those that the tokenizer found: filters that take words away leave gaps.
    pub position: usize,
}

/// The number of a term: CRC-32 (IEEE) of its bytes, and one less for the one number that no component of a sparse vector
/// may have. Written into segments, so it never changes. Terms that share a number are counted as one.
#[must_use]
pub fn term_hash(term: &str) -> u32 {
    crc32fast::hash(term.as_bytes()).min(u32::MAX - 1)
}

/// How often each term is in a text.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TermCounts {
    /// Numbers of the terms, ascending, see [`term_hash`].
    pub terms: Vec<u32>,
    /// How often each is there, at least once.
    pub counts: Vec<f32>,
}

/// Counts the terms of some tokens.
#[must_use]
pub fn counts(tokens: &[Token]) -> TermCounts {
    let mut all: BTreeMap<u32, u32> = BTreeMap::new();
    for token in tokens {
        *all.entry(term_hash(&token.text)).or_default() += 1;
    }
    let (terms, counts) = all.into_iter().map(|(term, count)| (term, count as f32)).unzip();
    TermCounts { terms, counts }
}
