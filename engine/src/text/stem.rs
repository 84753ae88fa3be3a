//! Words to their stems.

use rust_stemmers::{Algorithm, Stemmer};

/// Longer words are left as they are: some stemmers take time by the square of the length. Unit: bytes.
const LONGEST_BYTES: usize = 255;

/// The stemmer of one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stemming(Algorithm);

impl Stemming {
    /// Every language, by Milvus's name.
    pub(super) const LANGUAGES: [(&str, Algorithm); 18] = [
        ("arabic", Algorithm::Arabic),
        ("danish", Algorithm::Danish),
        ("dutch", Algorithm::Dutch),
        ("english", Algorithm::English),
        ("finnish", Algorithm::Finnish),
        ("french", Algorithm::French),
        ("german", Algorithm::German),
        ("greek", Algorithm::Greek),
        ("hungarian", Algorithm::Hungarian),
        ("italian", Algorithm::Italian),
        ("norwegian", Algorithm::Norwegian),
        ("portuguese", Algorithm::Portuguese),
        ("romanian", Algorithm::Romanian),
        ("russian", Algorithm::Russian),
        ("spanish", Algorithm::Spanish),
        ("swedish", Algorithm::Swedish),
        ("tamil", Algorithm::Tamil),
        ("turkish", Algorithm::Turkish),
    ];

    /// The stemmer of `language`, whatever its case.
    pub(super) fn of(language: &str) -> Option<Self> {
        let known = Self::LANGUAGES.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(language));
        known.map(|(_, algorithm)| Self(algorithm))
    }

    pub(super) const fn english() -> Self {
        Self(Algorithm::English)
    }

    /// The stem of each word; one that would be nothing stays as it is.
    pub(super) fn stem<'a>(self, words: impl Iterator<Item = &'a mut String>) {
        let stemmer = Stemmer::create(self.0);
        for word in words.filter(|word| word.len() <= LONGEST_BYTES) {
            let stem = stemmer.stem(word);
            if !stem.is_empty() && *stem != **word {
                *word = stem.into_owned();
            }
        }
    }
}
