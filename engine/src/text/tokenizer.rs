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
    /// At the word boundaries of Unicode, Chinese characters by a dictionary; punctuation and white space stay.
    Icu(Words),
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
            Self::Icu(words) => tokens(segments(text, words).into_iter()),
        }
    }
}

/// All of a text between word boundaries, each part with the byte it starts at. Unicode has a boundary on both sides of every
/// Chinese character: these are put together again and cut by a dictionary.
fn segments<'a>(text: &'a str, words: &Words) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    let mut rest = text.split_word_bound_indices().peekable();
    while let Some((start, segment)) = rest.next() {
        if !is_chinese(segment) {
            found.push((start, segment));
            continue;
        }
        let mut end = start + segment.len();
        while let Some((_, next)) = rest.next_if(|(_, next)| is_chinese(next)) {
            end += next.len();
        }
        found.extend(words.cut(&text[start..end]).into_iter().map(|(at, word)| (start + at, word)));
    }
    found
}

/// Whether a part begins with a Chinese character: Japanese and older Korean texts have them, too.
fn is_chinese(segment: &str) -> bool {
    let is_one = |letter: char| matches!(letter, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    segment.chars().next().is_some_and(is_one)
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
