//! Letters and digits to those of ASCII.

use unicode_normalization::UnicodeNormalization as _;

/// Letters that fall apart into none of ASCII, and what they are written as without it.
const LETTERS: [(char, &str); 40] = [
    ('Æ', "AE"),
    ('æ', "ae"),
    ('Œ', "OE"),
    ('œ', "oe"),
    ('Ø', "O"),
    ('ø', "o"),
    ('ß', "ss"),
    ('ẞ', "SS"),
    ('Þ', "TH"),
    ('þ', "th"),
    ('Ð', "D"),
    ('ð', "d"),
    ('Đ', "D"),
    ('đ', "d"),
    ('Ł', "L"),
    ('ł', "l"),
    ('Ħ', "H"),
    ('ħ', "h"),
    ('ı', "i"),
    ('Ŧ', "T"),
    ('ŧ', "t"),
    ('Ŋ', "N"),
    ('ŋ', "n"),
    ('ĸ', "q"),
    ('Ƀ', "B"),
    ('ƀ', "b"),
    ('Ɨ', "I"),
    ('ɨ', "i"),
    ('Ƶ', "Z"),
    ('ƶ', "z"),
    ('ə', "a"),
    ('‘', "'"),
    ('’', "'"),
    ('“', "\""),
    ('”', "\""),
    ('«', "\""),
    ('»', "\""),
    ('‐', "-"),
    ('–', "-"),
    ('—', "-"),
];

/// The zeros of every script's decimal digits, ascending; the nine others follow each. Source: Unicode, category Nd.
const ZEROS: [char; 65] = [
    '\u{660}',
    '\u{6f0}',
    '\u{7c0}',
    '\u{966}',
    '\u{9e6}',
    '\u{a66}',
    '\u{ae6}',
    '\u{b66}',
    '\u{be6}',
    '\u{c66}',
    '\u{ce6}',
    '\u{d66}',
    '\u{de6}',
    '\u{e50}',
    '\u{ed0}',
    '\u{f20}',
    '\u{1040}',
    '\u{1090}',
    '\u{17e0}',
    '\u{1810}',
    '\u{1946}',
    '\u{19d0}',
    '\u{1a80}',
    '\u{1a90}',
    '\u{1b50}',
    '\u{1bb0}',
    '\u{1c40}',
    '\u{1c50}',
    '\u{a620}',
    '\u{a8d0}',
    '\u{a900}',
    '\u{a9d0}',
    '\u{a9f0}',
    '\u{aa50}',
    '\u{abf0}',
    '\u{ff10}',
    '\u{104a0}',
    '\u{10d30}',
    '\u{11066}',
    '\u{110f0}',
    '\u{11136}',
    '\u{111d0}',
    '\u{112f0}',
    '\u{11450}',
    '\u{114d0}',
    '\u{11650}',
    '\u{116c0}',
    '\u{11730}',
    '\u{118e0}',
    '\u{11950}',
    '\u{11c50}',
    '\u{11d50}',
    '\u{11da0}',
    '\u{16a60}',
    '\u{16ac0}',
    '\u{16b50}',
    '\u{1d7ce}',
    '\u{1d7d8}',
    '\u{1d7e2}',
    '\u{1d7ec}',
    '\u{1d7f6}',
    '\u{1e140}',
    '\u{1e2f0}',
    '\u{1e950}',
    '\u{1fbf0}',
];

/// `word` with each letter as ASCII writes it, where it does; others stay.
pub(super) fn to_ascii(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for letter in word.chars() {
        if letter.is_ascii() {
            folded.push(letter);
        } else if let Some((_, written)) = LETTERS.iter().find(|(known, _)| *known == letter) {
            folded.push_str(written);
        } else {
            let start = folded.len();
            folded.extend(std::iter::once(letter).nfkd().filter(char::is_ascii));
            let is_whole = std::iter::once(letter).nfkd().all(|part| part.is_ascii() || is_mark(part));
            if start == folded.len() || !is_whole {
                folded.truncate(start);
                folded.push(letter);
            }
        }
    }
    folded
}

/// Whether a character only marks the one before it.
fn is_mark(letter: char) -> bool {
    unicode_normalization::char::is_combining_mark(letter)
}

/// `word` with the decimal digits of every script as those of ASCII.
pub(super) fn to_ascii_digits(word: &str) -> String {
    word.chars().map(ascii_digit).collect()
}

fn ascii_digit(letter: char) -> char {
    let place = ZEROS.partition_point(|&zero| zero <= letter);
    let zero = place.checked_sub(1).map(|at| ZEROS[at]);
    let digit = zero.map(|zero| u32::from(letter) - u32::from(zero)).filter(|digit| *digit < 10);
    digit.and_then(|digit| char::from_digit(digit, 10)).unwrap_or(letter)
}
