//! Where a text is cut.

use unicode_segmentation::UnicodeSegmentation as _;

use super::Token;
use super::jieba::Words;

/// How a text is cut into words.
#[derive(Debug)]
pub(super) enum Tokenizer {
    /// At the word boundaries of Unicode (UAX 29); what has neither a letter nor a digit is left out.
    Standard,
    /// At white space.
    Whitespace,
    /// By a Chinese dictionary; punctuation stays, white space does not.
    Jieba(Words),
}

impl Tokenizer {
    pub(super) fn cut(&self, text: &str) -> Vec<Token> {
        match self {
            Self::Standard => tokens(text.unicode_word_indices()),
            Self::Whitespace => {
                let start_of = |word: &str| word.as_ptr() as usize - text.as_ptr() as usize;
                tokens(text.split_whitespace().map(|word| (start_of(word), word)))
            }
            Self::Jieba(words) => tokens(words.cut(text).into_iter()),
        }
    }
}

fn tokens<'a>(words: impl Iterator<Item = (usize, &'a str)>) -> Vec<Token> {
    words
        .enumerate()
        .map(|(position, (start, word))| Token {
            text: word.to_owned(),
            start,
            end: start + word.len(),
            position,
        })
        .collect()
}
