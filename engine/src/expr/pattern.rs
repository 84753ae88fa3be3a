//! Patterns of `like` and of `=~`.

use regex::{Regex, RegexBuilder};

/// Longest regular expression, and most of all of one filter. What a set of letters comes to, in either case of them, takes
/// milliseconds whatever is left of it, so that this bounds the time of reading. Unit: bytes.
pub(super) const REGEX_BYTES: usize = 2 << 10;
/// The most memory that a regular expression may take, and again what it remembers while it searches. Unit: bytes.
const REGEX_MEMORY: usize = 1 << 20;
/// How deep a regular expression may be nested.
const REGEX_DEPTH: u32 = 100;

/// A pattern. Of `like`: `%` is any run of characters, `_` one character, `\` takes the next character as it is. Of `=~`: a
/// regular expression in RE2's syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    shape: Shape,
}

/// What the pattern comes down to. The first four need no search for wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Infix(String),
    Any(Vec<Part>),
    Search(Search),
}

/// A regular expression that is looked for anywhere in a text; two of one text are equal.
#[derive(Clone, Debug)]
struct Search(Regex);

impl PartialEq for Search {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Search {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Run,
    One,
    Letter(char),
}

impl Pattern {
    /// The pattern of a text.
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '%' if parts.last() == Some(&Part::Run) => {}
                '%' => parts.push(Part::Run),
                '_' => parts.push(Part::One),
                '\\' => parts.push(Part::Letter(letters.next().unwrap_or('\\'))),
                plain => parts.push(Part::Letter(plain)),
            }
        }
        Self { text: text.to_owned(), shape: Shape::of(parts) }
    }

    /// The pattern that texts starting with `start` match.
    pub(super) fn prefix(start: &str) -> Self {
        let mut text = String::with_capacity(start.len() + 1);
        for letter in start.chars() {
            if matches!(letter, '%' | '_' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('%');
        Self::new(&text)
    }

    /// The pattern that texts match in which the regular expression `text` is found. Searching takes time linear in the text,
    /// whatever the expression.
    ///
    /// # Errors
    /// Why it is none, or that it would take too much memory.
    pub(super) fn regex(text: &str) -> Result<Self, String> {
        if text.len() > REGEX_BYTES {
            return Err(format!("it is longer than {REGEX_BYTES} bytes"));
        }
        let built = RegexBuilder::new(&translated(text))
            .dot_matches_new_line(true)
            .size_limit(REGEX_MEMORY)
            .dfa_size_limit(REGEX_MEMORY)
            .nest_limit(REGEX_DEPTH)
            .build();
        match built {
            Ok(regex) => Ok(Self { text: text.to_owned(), shape: Shape::Search(Search(regex)) }),
            Err(regex::Error::CompiledTooBig(bytes)) => {
                Err(format!("it takes more than {bytes} bytes of memory"))
            }
            Err(error) => {
                // Its last line says what is wrong, those before show where in what this made of the text.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                Err(reason.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// Whether it is a regular expression.
    pub(super) const fn is_regex(&self) -> bool {
        matches!(self.shape, Shape::Search(_))
    }

    /// The text of the pattern.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether exactly one text matches.
    pub(super) const fn is_exact(&self) -> bool {
        matches!(self.shape, Shape::Exact(_))
    }

    /// What every text that matches begins with, and whether every text that begins so matches. `None` of a regular
    /// expression.
    pub(super) fn start(&self) -> Option<(String, bool)> {
        match &self.shape {
            Shape::Exact(text) => Some((text.clone(), false)),
            Shape::Prefix(start) => Some((start.clone(), true)),
            Shape::Suffix(_) | Shape::Infix(_) => Some((String::new(), false)),
            Shape::Any(parts) => {
                let letter = |part: &Part| if let Part::Letter(letter) = part { Some(*letter) } else { None };
                Some((parts.iter().map_while(letter).collect(), false))
            }
            Shape::Search(_) => None,
        }
    }

    /// Pieces that every text that matches has in it; none are known of a regular expression.
    pub(super) fn pieces(&self) -> Vec<String> {
        match &self.shape {
            Shape::Exact(text) | Shape::Prefix(text) | Shape::Suffix(text) | Shape::Infix(text) => {
                vec![text.clone()]
            }
            Shape::Any(parts) => {
                let letter = |part: &Part| if let Part::Letter(letter) = part { Some(*letter) } else { None };
                let runs = parts.split(|part| letter(part).is_none());
                runs.map(|run| run.iter().filter_map(letter).collect()).collect()
            }
            Shape::Search(_) => Vec::new(),
        }
    }

    /// Whether all of `text` matches, or holds a match of a regular expression.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Exact(exact) => text == exact,
            Shape::Prefix(start) => text.starts_with(start.as_str()),
            Shape::Suffix(end) => text.ends_with(end.as_str()),
            Shape::Infix(middle) => text.contains(middle.as_str()),
            Shape::Any(parts) => matches_parts(parts, text),
            Shape::Search(search) => search.0.is_match(text),
        }
    }
}

impl Shape {
    fn of(parts: Vec<Part>) -> Self {
        let letters = |parts: &[Part]| {
            parts
                .iter()
                .map(|part| if let Part::Letter(letter) = part { Some(*letter) } else { None })
                .collect::<Option<String>>()
        };
        let simple = match parts.as_slice() {
            [Part::Run] => Some(Self::Prefix(String::new())),
            [Part::Run, middle @ .., Part::Run] => letters(middle).map(Self::Infix),
            [Part::Run, end @ ..] => letters(end).map(Self::Suffix),
            [start @ .., Part::Run] => letters(start).map(Self::Prefix),
            all => letters(all).map(Self::Exact),
        };
        simple.unwrap_or(Self::Any(parts))
    }
}

/// A regular expression of RE2 as one of the library's: there `\d`, `\w` and `\s` are of ASCII, a brace that counts nothing is
/// a letter, and sets have no operators.
fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.char_indices().peekable();
    let mut is_set = false;
    // Where in a set the library would take a `-` for a part of an operator: at its beginning, and behind one that spans a range.
    let (mut begins, mut spans) = (false, false);
    while let Some((at, letter)) = rest.next() {
        let (first, behind) = (std::mem::take(&mut begins), std::mem::take(&mut spans));
        match letter {
            '-' if is_set && (first || behind) => out.push_str(r"\-"),
            '-' if is_set => {
                spans = true;
                out.push('-');
            }
            '\\' => match rest.next().map(|(_, name)| name) {
                Some('d') => out.push_str("[0-9]"),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str("[0-9A-Za-z_]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => out.push_str(r"[\t\n\f\r ]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !is_set => out.push_str(r"(?-u:\b)"),
                Some(name @ ('<' | '>')) => out.push(name),
                Some(name) => {
                    out.extend(['\\', name]);
                    // A class of letters, or a letter by its number: this brace is part of its name.
                    if matches!(name, 'p' | 'P' | 'x') && rest.next_if(|(_, next)| *next == '{').is_some() {
                        out.push('{');
                    }
                }
                None => out.push('\\'),
            },
            '[' if !is_set => {
                (is_set, begins) = (true, true);
                out.push('[');
                if rest.next_if(|(_, next)| *next == '^').is_some() {
                    out.push('^');
                }
                // First in a set it is a member.
                if rest.next_if(|(_, next)| *next == ']').is_some() {
                    begins = false;
                    out.push_str(r"\]");
                }
            }
            '[' if !text[at..].starts_with("[:") => out.push_str(r"\["),
            '[' => {
                // A class by name, up to its end.
                let end = text[at..].find(":]").map_or(text.len(), |length| at + length + 2);
                out.push_str(&text[at..end]);
                while rest.next_if(|(next, _)| *next < end).is_some() {}
            }
            ']' if is_set => {
                is_set = false;
                out.push(']');
            }
            '&' | '~' if is_set => out.extend(['\\', letter]),
            '{' if !is_set && !counts(&text[at..]) => out.push_str(r"\{"),
            other => out.push(other),
        }
    }
    out
}

/// Whether `text` begins with `{n}`, `{n,}` or `{n,m}`.
fn counts(text: &str) -> bool {
    let Some(inner) = text[1..].split_once('}').map(|(inner, _)| inner) else { return false };
    let (low, high) = inner.split_once(',').unwrap_or((inner, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number(low) && (high.is_empty() || is_number(high))
}

/// Greedy match that goes back to the last run only: linear but for the product of run and rest.
fn matches_parts(parts: &[Part], text: &str) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let letter = text.get(at..).and_then(|rest| rest.chars().next());
        let matched = match (parts.get(part), letter) {
            (Some(Part::Run), _) => {
                part += 1;
                retry = Some((part, at));
                continue;
            }
            (None, None) => return true,
            (Some(Part::One), Some(letter)) => Some(letter.len_utf8()),
            (Some(Part::Letter(wanted)), Some(letter)) if *wanted == letter => Some(letter.len_utf8()),
            _ => None,
        };
        match (matched, retry) {
            (Some(length), _) => {
                part += 1;
                at += length;
            }
            (None, Some((after, from))) => {
                let Some(skipped) = text.get(from..).and_then(|rest| rest.chars().next()) else {
                    return false;
                };
                let next = from + skipped.len_utf8();
                retry = Some((after, next));
                part = after;
                at = next;
            }
            (None, None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_whole_texts() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("ab%", "abc", true),
            ("ab%", "ab", true),
            ("ab%", "xab", false),
            ("%bc", "abc", true),
            ("%b%", "abc", true),
            ("%", "", true),
            ("%%", "x", true),
            ("", "", true),
            ("", "x", false),
            ("_", "文", true),
            ("_", "", false),
            ("A_", "Ab", true),
            ("A_", "Abc", false),
            ("a%c%e", "abcde", true),
            ("a%c%e", "abcd", false),
            ("%a_c%", "xxabcxx", true),
            (r"\%", "%", true),
            (r"\%", "x", false),
            (r"a\_b", "a_b", true),
            (r"a\_b", "axb", false),
            (r"\\", r"\", true),
            ("%文_档%", "一文b档二", true),
            ("%aab", "aaaab", true),
            ("_%b", "b", false),
            ("_%b", "ab", true),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), matches, "{text:?} like {pattern:?}");
        }
    }

    #[test]
    fn a_prefix_pattern_takes_its_start_literally() {
        assert!(Pattern::prefix(r"5%_\").matches(r"5%_\x"));
        assert!(!Pattern::prefix("5%").matches("50"));
    }

    #[test]
    fn a_regular_expression_is_found_anywhere_and_means_what_it_means_in_re2() {
        let cases = [
            ("b", "abc", true),
            ("^b", "abc", false),
            ("", "", true),
            ("a.c", "a\nc", true),
            (r"^\d+$", "12", true),
            (r"^\d+$", "٣", false),
            (r"^[\d_]+$", "1_2", true),
            (r"^\w+$", "über", false),
            (r"\bcat\b", "a cat!", true),
            (r"\p{Han}+", "a文", true),
            ("(?i)GMAIL", "x@gmail.com", true),
            ("(?P<code>E[0-9]{4}):", "E1234:", true),
            ("(a+)+b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
            ("a{,2}", "a{,2}", true),
            ("{x}", "{x}", true),
            ("[[:digit:]]x", "1x", true),
            ("^[[a]$", "[", true),
            ("^[]a]$", "]", true),
            ("^[a&&b]$", "&", true),
            ("^[^]]$", "]", false),
            ("^[+--]$", ",", true),
            ("^[--/]$", ".", true),
            ("^[--/]$", "a", false),
            ("^[^--/]$", ".", false),
            ("^[a-]$", "-", true),
            (r"\.com$", "a.com", true),
            (r"\.com$", "axcom", false),
        ];
        for (pattern, text, found) in cases {
            assert_eq!(Pattern::regex(pattern).unwrap().matches(text), found, "{text:?} =~ {pattern:?}");
        }
    }

    #[test]
    fn what_is_no_regular_expression_or_takes_too_much_is_refused() {
        for text in ["(", "[a", "*", r"\1", "(?=a)", "a{1000}{1000}{1000}", &"(".repeat(1_000), "\\"] {
            assert!(Pattern::regex(text).is_err(), "{text}");
        }
        assert_eq!(Pattern::regex(&"a".repeat(100_000)), Err("it is longer than 2048 bytes".to_owned()));
    }
}
