//! Chinese words by a dictionary.

use std::fmt::Formatter;
use std::io::BufReader;
use std::sync::OnceLock;

use flate2::bufread::GzDecoder;
use jieba_rs::{Jieba, TokenizeMode};

/// The dictionary of the crate `jieba-rs` (MIT licence), as it comes with version 0.11.
static PACKED: &[u8] = include_bytes!("jieba.txt.gz");

/// Weight of a word that a user names where there is no other dictionary to weigh it by.
const OWN_WEIGHT: usize = 1000;

/// Words that a user names, and whether they come on top of the dictionary that comes along.
type Own = (Vec<String>, bool);

/// How Chinese is cut.
pub(super) struct Words {
    /// `None` for the dictionary that comes along, alone.
    own: Option<Own>,
    mode: TokenizeMode,
    /// Whether words that are in no dictionary are guessed.
    guess: bool,
    /// The dictionary of `own`, once a text was cut; about 30 MB if it is on top of the one that comes along.
    made: OnceLock<Box<Jieba>>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Words").field("own", &self.own).field("guess", &self.guess).finish_non_exhaustive()
    }
}

/// The dictionary that comes along: read once, by whoever first cuts a text with it, which takes a third of a second and 28 MB.
fn default() -> &'static Jieba {
    static DEFAULT: OnceLock<Jieba> = OnceLock::new();
    DEFAULT.get_or_init(|| {
        let mut lines = BufReader::new(GzDecoder::new(PACKED));
        // What is packed into the executable is a dictionary: a test reads it.
        Jieba::with_dict(&mut lines).unwrap_or_else(|_| Jieba::empty())
    })
}

fn made((words, with_default): &Own) -> Jieba {
    let mut dictionary = if *with_default { default().clone() } else { Jieba::empty() };
    for word in words.iter().filter(|word| !word.trim().is_empty()) {
        // Beside others, a word is weighed so that it is cut out.
        dictionary.add_word(word, (!with_default).then_some(OWN_WEIGHT), None);
    }
    dictionary
}

impl Words {
    /// - `own`: words of a user, and whether they come on top of the dictionary that comes along; `None` for that alone.
    /// - `search`: whether the words inside of long words come too.
    pub(super) fn new(own: Option<(Vec<String>, bool)>, search: bool, guess: bool) -> Self {
        let mode = if search { TokenizeMode::Search } else { TokenizeMode::Default };
        Self { own, mode, guess, made: OnceLock::new() }
    }

    /// The words of a text, each with the byte it starts at.
    pub(super) fn cut<'a>(&self, text: &'a str) -> Vec<(usize, &'a str)> {
        let dictionary = match &self.own {
            None => default(),
            Some(own) => self.made.get_or_init(|| Box::new(made(own))),
        };
        let words = dictionary.tokenize(text, self.mode, self.guess).into_iter();
        words
            .filter(|token| !token.word.chars().all(char::is_whitespace))
            .map(|token| (token.byte_start, token.word))
            .collect()
    }
}
