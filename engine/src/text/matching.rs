//! Whether a text has some words, or a phrase.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use super::{Analyzer, Error, MAX_PHRASE_BYTES, MAX_QUERY_BYTES};

/// What is wanted of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// So many different ones of them are there.
    Words {
        /// At least; 1 or more.
        least: u32,
    },
    /// They are there as they follow each other.
    Phrase {
        /// By how much, altogether, they may be farther apart or in another order.
        slop: u32,
    },
}

/// A wish for texts with some words.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMatch {
    analyzer: Arc<Analyzer>,
    text: String,
    rule: Rule,
}

impl TextMatch {
    /// Texts that have the words of `text` as `rule` says, all analysed by `params`.
    ///
    /// # Errors
    /// As [`Analyzer::new`]; [`Error::TextTooLong`], [`Error::PhraseTooLong`].
    pub fn new(params: &str, text: &str, rule: Rule) -> Result<Self, Error> {
        let bytes = text.len();
        match rule {
            Rule::Words { .. } if bytes > MAX_QUERY_BYTES => return Err(Error::TextTooLong { bytes }),
            Rule::Phrase { .. } if bytes > MAX_PHRASE_BYTES => return Err(Error::PhraseTooLong { bytes }),
            Rule::Words { .. } | Rule::Phrase { .. } => {}
        }
        Ok(Self { analyzer: Analyzer::kept(params)?, text: text.to_owned(), rule })
    }

    /// The parameters of the analyzer.
    #[must_use]
    pub fn params(&self) -> &str {
        self.analyzer.params()
    }

    /// The text with the words.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wanted of the words.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// Analyses the words, to compare many texts with them.
    #[must_use]
    pub fn matcher(&self) -> Matcher<'_> {
        let mut terms = HashMap::new();
        let mut places: Vec<Place> = Vec::new();
        for token in self.analyzer.analyze(&self.text) {
            let number = terms.len();
            let (term, count): &mut (usize, usize) = terms.entry(token.text).or_insert((number, 0));
            *count += 1;
            match places.last_mut() {
                Some(place) if place.offset == token.position => place.terms.push(*term),
                _ => places.push(Place { offset: token.position, terms: vec![*term] }),
            }
        }
        Matcher { analyzer: &self.analyzer, rule: self.rule, terms, places }
    }
}

/// One place of a phrase.
#[derive(Clone, Debug)]
struct Place {
    /// Position in the phrase.
    offset: usize,
    /// Numbers of the terms of which one must be there.
    terms: Vec<usize>,
}

/// The analysed words of a [`TextMatch`].
#[derive(Debug)]
pub struct Matcher<'a> {
    analyzer: &'a Analyzer,
    rule: Rule,
    /// Number of each term, and how often the words have it.
    terms: HashMap<String, (usize, usize)>,
    places: Vec<Place>,
}

impl Matcher<'_> {
    /// Whether a text has the words. No text has none: words that the analyzer leaves nothing of match nothing.
    ///
    /// Takes memory for the text's own words. A phrase with slop is found as sloppy phrases usually are: each word of it is
    /// taken at some place, places are compared less the word's place in the phrase, and the greatest and least may differ by
    /// `slop`. So two words in the other order are two apart.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if self.terms.is_empty() {
            return false;
        }
        let mut found: Vec<Vec<usize>> = vec![Vec::new(); self.terms.len()];
        for token in self.analyzer.analyze(text) {
            if let Some((term, _)) = self.terms.get(&token.text) {
                found[*term].push(token.position);
            }
        }
        match self.rule {
            Rule::Words { least } => {
                found.iter().filter(|places| !places.is_empty()).count() >= least as usize
            }
            Rule::Phrase { slop } => self.has_phrase(&found, i64::from(slop)),
        }
    }

    /// Looks for the least span with a word of each place in it, by walking through the places of all at once.
    fn has_phrase(&self, found: &[Vec<usize>], slop: i64) -> bool {
        // Where synonyms share a place, one of them is enough.
        let has_synonyms = self.places.iter().any(|place| place.terms.len() > 1);
        let is_short = |(term, count): &(usize, usize)| found[*term].len() < *count;
        if !has_synonyms && self.terms.values().any(is_short) {
            return false;
        }
        let mut walks: Vec<Walk<'_>> = self.places.iter().map(|place| Walk::new(place, found)).collect();
        let mut least = BinaryHeap::with_capacity(walks.len());
        let mut greatest = i64::MIN;
        for (number, walk) in walks.iter().enumerate() {
            let Some(at) = walk.at() else { return false };
            greatest = greatest.max(at);
            least.push(Reverse((at, number)));
        }
        while let Some(Reverse((at, number))) = least.pop() {
            if greatest - at <= slop {
                return true;
            }
            walks[number].step();
            let Some(next) = walks[number].at() else { return false };
            greatest = greatest.max(next);
            least.push(Reverse((next, number)));
        }
        false
    }
}

/// A walk through the places of a text that one place of a phrase may take.
struct Walk<'a> {
    offset: usize,
    /// The places of each term, ascending, and how many of them are behind.
    lists: Vec<(&'a [usize], usize)>,
}

impl<'a> Walk<'a> {
    fn new(place: &Place, found: &'a [Vec<usize>]) -> Self {
        let lists = place.terms.iter().map(|term| (found[*term].as_slice(), 0)).collect();
        Self { offset: place.offset, lists }
    }

    /// The list that is at the least place.
    fn nearest(&self) -> Option<usize> {
        let here = |list: usize| {
            let (places, behind) = self.lists[list];
            places.get(behind).map(|place| (*place, list))
        };
        (0..self.lists.len()).filter_map(here).min().map(|(_, list)| list)
    }

    /// The place it is at, less the place in the phrase.
    fn at(&self) -> Option<i64> {
        let (places, behind) = self.lists[self.nearest()?];
        Some(places[behind] as i64 - self.offset as i64)
    }

    fn step(&mut self) {
        if let Some(list) = self.nearest() {
            self.lists[list].1 += 1;
        }
    }
}
