//! What is done to words once a text is cut.

use std::collections::{HashMap, HashSet};

use regex::Regex;

use super::stem::Stemming;
use super::{Error, Token, fold};

/// Most words that one word may become by synonyms, itself among them.
const MAX_SYNONYMS: usize = 8;
/// Most bytes of a compiled regular expression; bounds what matching a word takes.
const REGEX_BYTES: usize = 256 << 10;

/// The commonest words of English, which say nothing about a text.
const ENGLISH: &str = "a an and are as at be but by for if in into is it no not of on or such that the their then \
                       there these they this to was will with";

/// One step, which words pass in order.
#[derive(Debug)]
pub(super) enum Filter {
    /// Small letters.
    Lowercase,
    /// Letters of ASCII.
    AsciiFolding,
    /// Digits of ASCII.
    DecimalDigit,
    /// Only words in which the expression is found.
    Keep(Regex),
    /// Without these words.
    Stop(HashSet<String>),
    /// Only words of so many characters.
    Length {
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// Words to their stems.
    Stem(Stemming),
    /// Compounds to the words they consist of.
    Decompound(Compounds),
    /// Words to others that mean the same.
    Synonyms(HashMap<String, Vec<String>>),
}

impl Filter {
    /// Only words that consist of letters and digits of ASCII.
    pub(super) fn ascii_words() -> Result<Self, Error> {
        Self::keep("^[A-Za-z0-9]+$")
    }

    /// Only words with a Chinese character, or a letter or digit of ASCII, among theirs.
    pub(super) fn chinese_words() -> Result<Self, Error> {
        Self::keep(r"[\p{Han}A-Za-z0-9]")
    }

    /// Only words with a Chinese character among theirs.
    pub(super) fn chinese_characters() -> Result<Self, Error> {
        Self::keep(r"\p{Han}")
    }

    /// Only words with something else than punctuation.
    pub(super) fn no_punctuation() -> Result<Self, Error> {
        Self::keep(r"[^\p{P}$+<=>^`|~]")
    }

    /// Only words in which `expression` is found.
    pub(super) fn keep(expression: &str) -> Result<Self, Error> {
        let mut builder = regex::RegexBuilder::new(expression);
        builder.size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).nest_limit(64);
        // The last line of the parser's words says what is wrong, those before it show where.
        let reason =
            |error: regex::Error| error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        builder.build().map(Self::Keep).map_err(|error| Error::Regex { reason: reason(error) })
    }

    /// Without `words`, of which those between underscores stand for lists.
    pub(super) fn stop(words: &[&str]) -> Result<Self, Error> {
        let mut all = HashSet::new();
        for word in words {
            match *word {
                "_english_" => all.extend(ENGLISH.split_whitespace().map(str::to_owned)),
                name if name.len() > 2 && name.starts_with('_') && name.ends_with('_') => {
                    return Err(Error::StopWords { name: name.to_owned() });
                }
                word => {
                    all.insert(word.to_owned());
                }
            }
        }
        Ok(Self::Stop(all))
    }

    /// Words to what `rules` say: `a, b` (they mean the same) or `a, b => c` (the left ones become the right ones). Without
    /// `expand` those of the first form become the first of them.
    pub(super) fn synonyms(rules: &[&str], expand: bool) -> Result<Self, Error> {
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for rule in rules {
            let bad = || Error::Synonym { rule: (*rule).to_owned() };
            let (left, right) = match rule.split_once("=>") {
                Some((left, right)) => (words_of(left).ok_or_else(bad)?, words_of(right).ok_or_else(bad)?),
                None => {
                    let words = words_of(rule).ok_or_else(bad)?;
                    let right = if expand { words.clone() } else { vec![words[0].clone()] };
                    (words, right)
                }
            };
            for word in left {
                let known = all.entry(word.clone()).or_default();
                let mut add = |word: &String| {
                    if !known.contains(word) {
                        known.push(word.clone());
                    }
                };
                if right.contains(&word) {
                    add(&word);
                }
                right.iter().for_each(&mut add);
                if known.len() > MAX_SYNONYMS {
                    return Err(Error::TooMany { what: "synonyms of one word", limit: MAX_SYNONYMS });
                }
            }
        }
        Ok(Self::Synonyms(all))
    }

    /// Changes the words, takes some away, or puts others in their place.
    pub(super) fn apply(&self, tokens: &mut Vec<Token>) {
        match self {
            Self::Lowercase => tokens.iter_mut().for_each(|token| token.text = token.text.to_lowercase()),
            Self::AsciiFolding => change(tokens, |word| (!word.is_ascii()).then(|| fold::to_ascii(word))),
            Self::DecimalDigit => {
                change(tokens, |word| (!word.is_ascii()).then(|| fold::to_ascii_digits(word)))
            }
            Self::Keep(expression) => tokens.retain(|token| expression.is_match(&token.text)),
            Self::Stop(words) => tokens.retain(|token| !words.contains(&token.text)),
            Self::Length { min, max } => {
                tokens.retain(|token| (*min..=*max).contains(&token.text.chars().count()));
            }
            Self::Stem(stemming) => stemming.stem(tokens.iter_mut().map(|token| &mut token.text)),
            Self::Decompound(compounds) => replace(tokens, |word| compounds.parts(word)),
            Self::Synonyms(all) => replace(tokens, |word| all.get(word).cloned()),
        }
    }
}

/// The words of one side of a synonym rule: at least one, none of them of several words.
fn words_of(side: &str) -> Option<Vec<String>> {
    let words: Vec<String> = side.split(',').map(|word| word.trim().to_owned()).collect();
    let is_word = |word: &String| !word.is_empty() && !word.contains(char::is_whitespace);
    words.iter().all(is_word).then_some(words)
}

fn change(tokens: &mut [Token], new: impl Fn(&str) -> Option<String>) {
    for token in tokens {
        if let Some(text) = new(&token.text) {
            token.text = text;
        }
    }
}

/// Puts several words at the place of one.
fn replace(tokens: &mut Vec<Token>, new: impl Fn(&str) -> Option<Vec<String>>) {
    let mut all = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        match new(&token.text) {
            Some(words) => all.extend(words.into_iter().map(|text| Token { text, ..token })),
            None => all.push(token),
        }
    }
    *tokens = all;
}

/// The words that compounds consist of.
#[derive(Debug)]
pub(super) struct Compounds {
    words: HashSet<String>,
    /// Of the longest word. Unit: bytes.
    longest: usize,
}

impl Compounds {
    /// Compounds of `words`.
    pub(super) fn new(words: &[&str]) -> Self {
        let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), longest }
    }

    /// The words that `compound` consists of from its start to its end, the longest first where several would do; `None` if
    /// some of it is none of them.
    fn parts(&self, compound: &str) -> Option<Vec<String>> {
        let mut parts = Vec::new();
        let mut rest = compound;
        while !rest.is_empty() {
            let mut ends = (1..=self.longest.min(rest.len())).rev();
            let end = ends.find(|end| rest.get(..*end).is_some_and(|word| self.words.contains(word)))?;
            parts.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        (parts.len() > 1).then_some(parts)
    }
}
